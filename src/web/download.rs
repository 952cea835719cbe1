//! Downloads: files that are made while they are sent, however long they are.
//!
//! What is wrong is told by a page as long as nothing was sent; after that by breaking the connection off, so that what
//! arrived is never taken for whole.

use std::io::Write;

use super::answer::Problem;
use super::visit::Entrance;
use super::{Rooms, answer};
use crate::asking::{Failure, not_exported, stream};
use crate::calls::Call;
use crate::export::{self, Format, Wanted};
use crate::http::{Answer, Response};
use crate::ingest::Reject;
use crate::query::{READ_ROWS_MAX, Stop};
use crate::store::Store;

/// Letters of a name that outsiders chose which go into that of a file, at the most.
const NAME_CHARS_MAX: usize = 60;

/// A file to be sent.
pub(super) struct Download {
    /// Its name without what it ends in, as [`file_name`] has it.
    pub name: String,
    /// How it is written, which is also what its name ends in.
    pub format: Format,
    /// What it holds, one after the other: more than one only of a format whose files can be put together.
    pub wanted: Vec<Wanted>,
}

/// Looks whether there is what is asked for, before anything is sent.
pub(super) type Check = Box<dyn FnOnce(&Store, &Stop<'_>) -> Result<(), Failure> + Send>;

impl Download {
    fn head(&self) -> Response {
        let file = format!("attachment; filename=\"{}.{}\"", self.name, self.format.name());
        let head = Response::new(200, self.format.content_type(), b"".as_slice());
        answer::guarded(head).with_header("Content-Disposition", file)
    }

    /// Has it sent by a thread of its own.
    pub fn send(
        self,
        rooms: &Rooms,
        entrance: &Entrance,
        (call, answer): (Call, Answer),
        check: Check,
    ) {
        let frame = entrance.frame(rooms, "");
        let refuse = move |reject: &Reject| Problem::of(reject).page(frame.clone());
        let head = self.head();
        let write = move |store: &Store, stop: &dyn Fn() -> bool, out: &mut dyn Write| {
            check(store, &Stop::new(READ_ROWS_MAX, stop)).map_err(Failure::into_reject)?;
            self.wanted.iter().try_for_each(|wanted| {
                let written = export::write(store, wanted, self.format, stop, out);
                written.map(drop).map_err(not_exported)
            })
        };
        match stream(&rooms.store, &rooms.desk, &rooms.exports, head, write, refuse.clone()) {
            Ok((stream, run)) => call.stream(answer, stream, run),
            Err(reject) => call.send(answer, &refuse(&reject)),
        }
    }
}

/// The name of a file out of a text of any characters: letters, digits and a few others; the rest counts as a hyphen.
pub(super) fn file_name(before: &str, text: &str) -> String {
    let mut name = before.to_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '.');
    for c in text.chars().take(NAME_CHARS_MAX) {
        if is_plain(c) {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for (text, name) in [
            ("u-17", "user-u-17"),
            ("ada@example.com", "user-ada@example.com"),
            ("", "user"),
            ("../../etc/passwd", "user-..-..-etc-passwd"),
            ("a\"; filename=\"b.exe\r\nX: y", "user-a-filename-b.exe-X-y"),
            ("😀", "user"),
            (".", "user"),
            (&"x".repeat(255), &format!("user-{}", "x".repeat(NAME_CHARS_MAX))),
        ] {
            assert_eq!(file_name("user-", text), name, "{text}");
        }
    }
}
