//! Where the lines of an import come from.
//!
//! Promises one line at a time, a bounded part of it in memory however long it is, and that one can
//! go back to a place.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::store::segment::Table;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 128 * 1024;

/// What a Parquet file begins with.
const PARQUET: &[u8] = b"PAR1";

/// Something that lines can be read from.
pub(super) trait Source: Send {
    /// Puts the next line behind `text`, without what ends it, or hands it to `overflow` piece by
    /// piece if it has more than `bytes_max` bytes.
    fn line(
        &mut self,
        bytes_max: usize,
        text: &mut Vec<u8>,
        overflow: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Line>;

    /// Where the next line begins; for [`Source::go_to`].
    fn place(&self) -> u64;

    /// Goes to a place.
    fn go_to(&mut self, place: u64) -> io::Result<()>;

    /// The place behind the last line.
    fn end(&self) -> u64;

    /// What places are counted in.
    fn unit(&self) -> Unit;
}

/// What tells how far an input was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Rows,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line.
    Whole,
    /// A line that nothing ends: more of it may come.
    Open,
    /// A line that was handed to `overflow`.
    TooLong,
    /// Nothing: the last line was the one before.
    End,
}

/// What an input holds.
pub(super) enum Input {
    /// Lines of text.
    Lines(Lines),
    /// Rows of a table.
    Table(Table),
}

impl Input {
    /// Whether a path names a file, and not a pipe.
    pub fn is_file(path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// Opens a file; without one, standard input. What can be read only once is kept in a file that
    /// has no name.
    pub fn open(path: Option<&Path>) -> io::Result<Input> {
        let mut file = match path {
            Some(path) if Input::is_file(path) => File::open(path)?,
            Some(path) => spool(&mut File::open(path)?)?,
            None => spool(&mut io::stdin().lock())?,
        };
        let mut begin = Vec::new();
        (&mut file).take(PARQUET.len() as u64).read_to_end(&mut begin)?;
        file.seek(SeekFrom::Start(0))?;
        if begin == PARQUET {
            let name = path.unwrap_or(Path::new("standard input"));
            let unfit = |error| io::Error::other(format!("it begins as Parquet, but {error}"));
            return Ok(Input::Table(Table::of(file, name).map_err(unfit)?));
        }
        let end = file.metadata()?.len();
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Input::Lines(Lines { reader, place: 0, end }))
    }
}

/// Copies what comes into a temporary file whose name is gone before anything is in it.
fn spool(from: &mut dyn Read) -> io::Result<File> {
    let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let name = format!("triggerly-import-{number:016x}");
    let path = std::env::temp_dir().join(name);
    let failed = |error: io::Error| {
        let hint = "what comes through a pipe is kept in a temporary file; TMPDIR says where";
        io::Error::new(error.kind(), format!("{}: {error} ({hint})", path.display()))
    };
    let open = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let mut file = open.map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    io::copy(from, &mut file).map_err(failed)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Lines of text, ended by a line feed, or by a carriage return and a line feed.
pub(super) struct Lines<R = File> {
    reader: BufReader<R>,
    place: u64,
    end: u64,
}

impl<R: Read + Seek + Send> Source for Lines<R> {
    fn line(
        &mut self,
        bytes_max: usize,
        text: &mut Vec<u8>,
        overflow: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Line> {
        let start = text.len();
        // Room for what ends it.
        let mut limited = (&mut self.reader).take(bytes_max as u64 + 2);
        self.place += limited.read_until(b'\n', text)? as u64;
        let ended = text.len() > start && text.ends_with(b"\n");
        if ended {
            text.pop();
        }
        let len = text[start..].strip_suffix(b"\r").map_or(text.len() - start, <[u8]>::len);
        if len > bytes_max {
            overflow(&text[start..]);
            text.truncate(start);
            if !ended {
                self.rest(overflow)?;
            }
            return Ok(Line::TooLong);
        }
        let empty = text.len() == start;
        text.truncate(start + len);
        Ok(match (ended, empty) {
            (true, _) => Line::Whole,
            (false, false) => Line::Open,
            (false, true) => Line::End,
        })
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn go_to(&mut self, place: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(place))?;
        self.place = place;
        Ok(())
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }
}

#[cfg(test)]
impl Lines<io::Cursor<Vec<u8>>> {
    /// Those of a text, through a buffer that most lines are longer than.
    pub fn of(text: &[u8]) -> Self {
        let reader = BufReader::with_capacity(3, io::Cursor::new(text.to_vec()));
        Lines { reader, place: 0, end: text.len() as u64 }
    }
}

impl<R: Read> Lines<R> {
    /// Hands over the rest of a line.
    fn rest(&mut self, overflow: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let piece = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                piece => piece?,
            };
            let end = piece.iter().position(|byte| *byte == b'\n');
            overflow(&piece[..end.unwrap_or(piece.len())]);
            let taken = end.map_or(piece.len(), |end| end + 1);
            self.reader.consume(taken);
            self.place += taken as u64;
            if end.is_some() || taken == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, and what its lines are.
    type Case<'a> = (&'a [u8], &'a [(Line, &'a [u8])]);

    #[test]
    fn lines_and_what_ends_them() {
        let cases: &[Case<'_>] = &[
            (b"", &[]),
            (b"\n", &[(Line::Whole, b"")]),
            (b"a\nbc\n", &[(Line::Whole, b"a"), (Line::Whole, b"bc")]),
            (b"a\r\n\r\nb", &[(Line::Whole, b"a"), (Line::Whole, b""), (Line::Open, b"b")]),
            (b"b\r", &[(Line::Open, b"b")]),
            (b"12345678\n", &[(Line::Whole, b"12345678")]),
            (b"12345678\r\n1", &[(Line::Whole, b"12345678"), (Line::Open, b"1")]),
            (b"12345678", &[(Line::Open, b"12345678")]),
            (b"123456789\n1", &[(Line::TooLong, b"123456789"), (Line::Open, b"1")]),
            (b"123456789\r\n1", &[(Line::TooLong, b"123456789\r"), (Line::Open, b"1")]),
            (b"1234567890abc\n", &[(Line::TooLong, b"1234567890abc")]),
            (b"1234567890abc", &[(Line::TooLong, b"1234567890abc")]),
        ];
        for (text, expected) in cases {
            let mut source = Lines::of(text);
            let mut places = Vec::new();
            for round in 0..2 {
                for (number, (line, content)) in expected.iter().enumerate() {
                    places.push(source.place());
                    let (mut text, mut long) = (b"before".to_vec(), Vec::new());
                    let read =
                        source.line(8, &mut text, &mut |piece| long.extend_from_slice(piece));
                    assert_eq!(read.unwrap(), *line, "{expected:?}, {number}");
                    let text = text.strip_prefix(b"before").expect("it stays");
                    assert_eq!([text, &long].concat(), *content);
                }
                let end = source.line(8, &mut Vec::new(), &mut |_| panic!("no line"));
                assert_eq!(end.unwrap(), Line::End);
                assert_eq!(source.place(), source.end());
                if round == 0
                    && let Some(first) = places.first()
                {
                    source.go_to(*first).unwrap();
                }
                if expected.is_empty() {
                    break;
                }
            }
            let (first, second) = places.split_at(places.len() / 2);
            assert_eq!(first, second);
        }
    }
}
