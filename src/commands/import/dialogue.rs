//! What the two sides of an import say to each other.
//!
//! ```text
//! store: a Greeting as a line of JSON       caller: chunks, each a Head as a line of JSON and then
//! store: an Answer as a line of JSON                its text; an empty line behind the last
//!        for each chunk, in order
//! ```
//! The caller may be some chunks ahead of the answers.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use crate::commands::Exported;

/// Bytes of a line that is taken at all.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a head.
const HEAD_BYTES_MAX: u64 = 4 * 1024;

/// How much a chunk may hold. It is closed by the line that reaches one of these.
#[derive(Clone, Copy, Debug)]
pub struct ChunkBounds {
    /// Lines.
    pub lines: u64,
    /// Bytes of text.
    pub bytes: usize,
    /// Bytes of one line; the caller puts an empty one in the place of a longer one.
    pub line_bytes: usize,
}

/// The bounds of a chunk: what it holds is written as one submission, between two flushes.
#[must_use]
pub const fn chunk_bounds(what: Exported) -> ChunkBounds {
    match what {
        Exported::Events => {
            ChunkBounds { lines: 1_000, bytes: 192 * 1024, line_bytes: LINE_BYTES_MAX }
        }
        // Each may write a whole user, however short the line.
        Exported::Users => ChunkBounds { lines: 64, bytes: 64 * 1024, line_bytes: LINE_BYTES_MAX },
    }
}

/// How far an earlier import has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Lines that were dealt with.
    pub lines: u64,
    /// What they hash to.
    pub digest: [u8; 16],
}

/// What the store says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The earlier imports.
    pub known: Vec<Known>,
}

/// What the store says to a chunk, when it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the chunk's last line.
    pub lines: u64,
    /// Lines that were stored.
    pub stored: u64,
    /// Lines that were not.
    pub refused: Vec<Refused>,
}

/// A line that was not stored, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its number, from 1.
    pub line: u64,
    /// Why, for machines.
    pub code: String,
    /// Why, for people.
    pub detail: String,
}

/// Some lines of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The number of the first, from 1.
    pub first_line: u64,
    /// How many they are.
    pub lines: u64,
    /// What all lines up to the last of these hash to.
    pub digest: [u8; 16],
    /// Whether the last line may not be all there yet: if it isn't stored, it counts as not dealt
    /// with.
    pub open: bool,
    /// The lines, each with a line feed behind it.
    pub text: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    first_line: u64,
    lines: u64,
    digest: [u8; 16],
    open: bool,
    bytes: usize,
}

impl Chunk {
    /// The number of its last line.
    #[must_use]
    pub fn last_line(&self) -> u64 {
        self.first_line.saturating_add(self.lines).saturating_sub(1)
    }

    /// Sends it.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let Chunk { first_line, lines, digest, open, ref text } = *self;
        let mut head =
            serde_json::to_vec(&Head { first_line, lines, digest, open, bytes: text.len() })?;
        head.push(b'\n');
        to.write_all(&head)?;
        to.write_all(text)
    }

    /// Says that there are no more.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_end_to(to: &mut dyn Write) -> io::Result<()> {
        to.write_all(b"\n")
    }

    /// Takes one, or the end.
    ///
    /// # Errors
    /// Those of `from`, an end that wasn't announced, and what is no chunk or beyond the bounds.
    pub(crate) fn read_from(
        from: &mut dyn BufRead,
        bounds: ChunkBounds,
    ) -> io::Result<Option<Chunk>> {
        let mut head = Vec::new();
        from.take(HEAD_BYTES_MAX).read_until(b'\n', &mut head)?;
        match head.as_slice() {
            b"\n" => return Ok(None),
            [.., b'\n'] => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        let Head { first_line, lines, digest, open, bytes } = serde_json::from_slice(&head)?;
        if lines > bounds.lines || bytes > bounds.bytes + bounds.line_bytes + 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is too large"));
        }
        let mut text = vec![0; bytes];
        from.read_exact(&mut text)?;
        if text.iter().filter(|byte| **byte == b'\n').count() as u64 != lines {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk has other lines"));
        }
        Ok(Some(Chunk { first_line, lines, digest, open, text }))
    }
}
