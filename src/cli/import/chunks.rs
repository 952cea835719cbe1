//! An input as chunks, each with the digest of all that was read up to its end.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::source::{Line, Source};
use crate::commands::{Chunk, ChunkBounds, Known};

/// Bytes that are shown of a line that is too long to be held.
const EXCERPT_BYTES: usize = 256;

/// A line that was not even sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// Its number, from 1.
    pub line: u64,
    /// How long it is.
    pub bytes: u64,
    /// How it begins.
    pub begin: Vec<u8>,
}

/// A chunk as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// What is sent.
    pub chunk: Arc<Chunk>,
    /// Lines in whose place an empty one is sent.
    pub too_long: Vec<TooLong>,
    /// Where the input stands behind it.
    pub place: u64,
}

/// Reads chunks.
pub(super) struct Chunks<'s> {
    source: &'s mut dyn Source,
    bounds: ChunkBounds,
    /// Lines that were read.
    lines: u64,
    /// What they hash to, so far.
    hasher: Sha256,
    /// A line that nothing ended yet, kept for a chunk of its own.
    open: Option<Vec<u8>>,
}

impl<'s> Chunks<'s> {
    /// From the beginning of an input.
    pub fn new(source: &'s mut dyn Source, bounds: ChunkBounds) -> Chunks<'s> {
        Chunks { source, bounds, lines: 0, hasher: Sha256::new(), open: None }
    }

    /// Lines that were read, or gone past.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Where the input stands.
    pub fn place(&self) -> u64 {
        self.source.place()
    }

    /// Goes past the longest beginning of the input that an earlier import has dealt with.
    pub fn go_past(&mut self, known: &[Known]) -> io::Result<()> {
        let mut known: Vec<_> = known.iter().filter(|known| known.lines > 0).collect();
        known.sort_unstable_by_key(|known| known.lines);
        let mut best = (0, Sha256::new(), 0);
        for known in known {
            while self.lines < known.lines && self.read(known.lines - self.lines)?.is_some() {}
            if self.lines == known.lines && digest(&self.hasher) == known.digest {
                best = (self.lines, self.hasher.clone(), self.source.place());
            }
        }
        let place;
        (self.lines, self.hasher, place) = best;
        self.open = None;
        self.source.go_to(place)
    }

    /// The next chunk.
    pub fn next(&mut self) -> io::Result<Option<Read>> {
        self.read(u64::MAX)
    }

    fn read(&mut self, lines_max: u64) -> io::Result<Option<Read>> {
        let first_line = self.lines + 1;
        let lines_max = lines_max.min(self.bounds.lines);
        let mut too_long = Vec::new();
        let mut lines = 0;
        let open = self.open.take();
        let is_open = open.is_some();
        let mut text = open.unwrap_or_else(|| Vec::with_capacity(self.bounds.bytes * 5 / 4));
        if is_open {
            text.push(b'\n');
            self.hasher.update(&text);
            lines = 1;
        }
        while !is_open && lines < lines_max && text.len() < self.bounds.bytes {
            let start = text.len();
            let mut long = TooLong { line: first_line + lines, bytes: 0, begin: Vec::new() };
            let mut overflow = |piece: &[u8]| {
                self.hasher.update(piece);
                let shown = piece.len().min(EXCERPT_BYTES - long.begin.len());
                long.begin.extend_from_slice(&piece[..shown]);
                long.bytes += piece.len() as u64;
            };
            match self.source.line(self.bounds.line_bytes, &mut text, &mut overflow)? {
                Line::Whole => {}
                Line::TooLong => too_long.push(long),
                Line::Open if lines == 0 => {
                    self.open = Some(text);
                    return self.read(lines_max);
                }
                Line::Open => {
                    self.open = Some(text.split_off(start));
                    break;
                }
                Line::End => break,
            }
            text.push(b'\n');
            self.hasher.update(&text[start..]);
            lines += 1;
        }
        if lines == 0 {
            return Ok(None);
        }
        self.lines += lines;
        let digest = digest(&self.hasher);
        let chunk = Arc::new(Chunk { first_line, lines, digest, open: is_open, text });
        Ok(Some(Read { chunk, too_long, place: self.source.place() }))
    }
}

/// What was hashed so far, as it is recorded.
fn digest(hasher: &Sha256) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.clone().finalize()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::super::source::Lines;
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: ChunkBounds = ChunkBounds { lines: 3, bytes: 20, line_bytes: 12 };

    /// Lines as they were sent, their digests, and which were too long.
    fn read(text: &str, past: &[Known]) -> (u64, Vec<Read>) {
        let mut source = Lines::of(text.as_bytes());
        let mut chunks = Chunks::new(&mut source, BOUNDS);
        chunks.go_past(past).unwrap();
        let skipped = chunks.lines();
        let mut read = Vec::new();
        while let Some(chunk) = chunks.next().unwrap() {
            read.push(chunk);
        }
        assert!(chunks.next().unwrap().is_none());
        assert_eq!(chunks.place(), text.len() as u64);
        (skipped, read)
    }

    fn known(read: &Read) -> Known {
        Known { lines: read.chunk.last_line(), digest: read.chunk.digest }
    }

    proptest! {
        #[test]
        fn every_line_is_in_one_chunk(lines in prop::collection::vec("[a-c]{0,16}", 0..20), ended: bool) {
            let mut text = lines.join("\n");
            text += if ended && !lines.is_empty() { "\n" } else { "" };
            let expected: Vec<_> = text.lines().collect();
            let (_, all) = read(&text, &[]);
            let mut sent = Vec::new();
            for Read { chunk, too_long, .. } in &all {
                prop_assert_eq!(chunk.first_line, sent.len() as u64 + 1);
                let lines: Vec<_> = std::str::from_utf8(&chunk.text).unwrap().lines().collect();
                prop_assert_eq!(lines.len() as u64, chunk.lines);
                prop_assert!(chunk.lines <= BOUNDS.lines && chunk.text.len() <= 20 + 13);
                sent.extend(lines.iter().map(|line| line.to_string()));
                for long in too_long {
                    sent[long.line as usize - 1] = String::from_utf8(long.begin.clone()).unwrap();
                    prop_assert_eq!(long.bytes as usize, long.begin.len());
                    prop_assert!(long.bytes > 12);
                }
            }
            prop_assert_eq!(&sent, &expected);

            // Begun anywhere, the rest is read, and hashes to the same.
            for (index, after) in all.iter().enumerate() {
                let (skipped, rest) = read(&text, &[known(after)]);
                prop_assert_eq!(skipped, after.chunk.last_line());
                let digests = |read: &[Read]| read.last().map(known);
                prop_assert_eq!(digests(&rest), digests(&all[index + 1..]));
            }
        }
    }

    #[test]
    fn the_longest_beginning_that_is_known_is_gone_past() {
        let text = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let (_, all) = read(text, &[]);
        let (first, second) = (known(&all[0]), known(&all[1]));
        let wrong = Known { lines: 7, digest: [7; 16] };
        let beyond = Known { lines: 9, digest: first.digest };
        let nothing = Known { lines: 0, digest: [0; 16] };
        for (past, skipped) in [
            (vec![], 0),
            (vec![first.clone()], 3),
            (vec![wrong.clone(), second.clone(), nothing, first.clone(), beyond.clone()], 6),
            (vec![beyond, wrong], 0),
        ] {
            let (found, rest) = read(text, &past);
            assert_eq!(found, skipped);
            assert_eq!(rest[0].chunk.first_line, skipped + 1);
            assert_eq!(rest.last().map(known), all.last().map(known));
        }
        // A change before its end makes it another input.
        assert_eq!(read(&text.replace('2', "x"), &[first]).0, 0);
    }

    #[test]
    fn what_ends_a_line_makes_no_difference() {
        let (_, lines) = read("a\nb\n", &[]);
        for text in ["a\r\nb\r\n", "a\nb", "a\nb\r", "a\r\nb"] {
            assert_eq!(read(text, &[known(&lines[0])]), (2, vec![]), "{text:?}");
            assert_eq!(read(text, &[]).1.last().map(known), lines.last().map(known), "{text:?}");
        }
        let (_, chunks) = read("a\nb", &[]);
        assert_eq!(chunks.iter().map(|read| read.chunk.open).collect::<Vec<_>>(), [false, true]);
    }
}
