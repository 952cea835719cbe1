//! The file of lines that were refused: made when the first one is.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chunks::Read;
use crate::commands::Refused;

/// Lines that were refused, each with its number, the reason and the line itself, as JSON.
pub(super) struct Rejected {
    path: PathBuf,
    /// Whether to write behind what an earlier part of the same import has left.
    append: bool,
    file: Option<BufWriter<std::fs::File>>,
    /// How many there were.
    pub count: u64,
}

#[derive(Serialize)]
struct Entry<'a> {
    line: u64,
    code: &'a str,
    detail: &'a str,
    text: &'a str,
}

impl Rejected {
    /// For an input, or for standard input.
    pub fn beside(input: Option<&Path>) -> Rejected {
        let mut path = input.map_or_else(|| "stdin".into(), Path::to_owned).into_os_string();
        path.push(".rejected");
        Rejected { path: path.into(), append: false, file: None, count: 0 }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether the input goes on where an earlier import has come to, which left its own.
    pub fn goes_on(&mut self, append: bool) {
        self.append = append;
    }

    /// Writes what was refused of a chunk.
    pub fn write(&mut self, read: &Read, refused: &[Refused]) -> io::Result<()> {
        let mut lines = read.chunk.text.split(|byte| *byte == b'\n');
        let mut next = read.chunk.first_line;
        let (mut refused, mut too_long) =
            (refused.iter().peekable(), read.too_long.iter().peekable());
        loop {
            let before = match (refused.peek(), too_long.peek()) {
                (None, None) => break,
                (Some(refused), Some(long)) => refused.line < long.line,
                (refused, None) => refused.is_some(),
                (None, Some(_)) => false,
            };
            if before && let Some(Refused { line, code, detail }) = refused.next() {
                let text = lines.nth((line.saturating_sub(next)) as usize).unwrap_or_default();
                next = line + 1;
                let text = String::from_utf8_lossy(text);
                self.put(&Entry { line: *line, code, detail, text: &text })?;
            } else if let Some(long) = too_long.next() {
                let detail = format!(
                    "the line has {} bytes, which is more than any object may have; it begins as in `text`",
                    long.bytes
                );
                let text = String::from_utf8_lossy(&long.begin);
                let code = "payload_too_large";
                self.put(&Entry { line: long.line, code, detail: &detail, text: &text })?;
            }
        }
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    fn put(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.count += 1;
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = OpenOptions::new();
                options.create(true).append(self.append).write(true).truncate(!self.append);
                none.insert(BufWriter::new(options.open(&self.path)?))
            }
        };
        serde_json::to_writer(&mut *file, entry)?;
        file.write_all(b"\n")
    }
}
