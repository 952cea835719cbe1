//! How an index file is laid out: pieces end to end, each read by itself and only after its checksum, and a
//! tail that says where they are.
//!
//! ```text
//! "trly idx"                       8 bytes
//! pieces                           as the tail lists them, without gaps; blocks of users too (see `users`)
//! tail                             format · the segment's length · its CRC-32 · rows · nine sections
//! ```
//! A section of the tail is 0 if it isn't kept, else the number of its pieces plus 1, and for each its key (what
//! it is found by, less that of the one before), its offset, its length and its CRC-32.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use crc32fast::Hasher;

use super::{FORMAT, IndexError, Of, Summary};
use crate::store::codec::{Input, Malformed, put_u64};

const MAGIC: &[u8; 8] = b"trly idx";

/// Bytes after which a piece ends, where that can be chosen.
pub(super) const PIECE_BYTES: usize = 16 * 1024;

/// Bytes of a piece that is read: the names of all types there may be are one.
pub(super) const PIECE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Bytes of a tail that is read.
const TAIL_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A stretch of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// What is in it is at or behind this, and what is behind it isn't before.
    pub key: u64,
    pub offset: u64,
    pub bytes: u64,
    pub crc: u32,
}

/// Takes pieces, each with its key.
pub(super) type Put<'p> = &'p mut dyn FnMut(u64, &[u8]) -> Result<(), IndexError>;

/// Pieces of one sort, ascending by key; none if they aren't kept, and why not.
pub(super) type Section = Option<Vec<Piece>>;

/// What a tail says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub rows: u64,
    /// The types of events.
    pub kinds: Section,
    /// By type and hour.
    pub counts: Section,
    /// By type and day.
    pub sketches: Section,
    /// By type and stretch of days.
    pub stretches: Section,
    pub groups: Section,
    pub attributes: Section,
    /// By facet.
    pub texts: Section,
    /// By facet and day.
    pub facets: Section,
    /// By the hash of the first user.
    pub users: Section,
}

impl Tail {
    fn sections(&self) -> [&Section; 9] {
        let Tail {
            rows: _,
            kinds,
            counts,
            sketches,
            stretches,
            groups,
            attributes,
            users,
            texts,
            facets,
        } = self;
        [kinds, counts, sketches, stretches, groups, attributes, texts, facets, users]
    }

    fn sections_mut(&mut self) -> [&mut Section; 9] {
        let Tail {
            rows: _,
            kinds,
            counts,
            sketches,
            stretches,
            groups,
            attributes,
            users,
            texts,
            facets,
        } = self;
        [kinds, counts, sketches, stretches, groups, attributes, texts, facets, users]
    }

    pub fn encode(&self, of: Of) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, u64::from(FORMAT));
        put_u64(&mut out, of.bytes);
        put_u64(&mut out, u64::from(of.crc));
        put_u64(&mut out, self.rows);
        for section in self.sections() {
            let Some(pieces) = section else {
                out.push(0);
                continue;
            };
            put_u64(&mut out, pieces.len() as u64 + 1);
            let mut key = 0;
            for piece in pieces {
                put_u64(&mut out, piece.key.wrapping_sub(key));
                put_u64(&mut out, piece.offset);
                put_u64(&mut out, piece.bytes);
                out.extend_from_slice(&piece.crc.to_le_bytes());
                key = piece.key;
            }
        }
        out
    }

    /// The segment that it is of, and the rest; or why it can't be used.
    pub fn decode(bytes: &[u8]) -> Result<(Of, Tail), Malformed> {
        let mut input = Input(bytes);
        if input.u64()? != u64::from(FORMAT) {
            return Err(Malformed("it is of another format"));
        }
        let of = Of {
            bytes: input.u64()?,
            crc: u32::try_from(input.u64()?).map_err(|_| Malformed("a checksum is too large"))?,
        };
        let mut tail = Tail { rows: input.u64()?, ..Tail::default() };
        if tail.rows > u64::from(u32::MAX) {
            return Err(Malformed("it has too many rows"));
        }
        // Pieces lie one behind the other, so that all of them together are no longer than the file.
        let mut end = 0;
        for section in tail.sections_mut() {
            let Some(count) = input.u64()?.checked_sub(1) else { continue };
            let mut pieces: Vec<Piece> = Vec::new();
            for _ in 0..count {
                let key = pieces.last().map_or(0, |piece| piece.key);
                let key = key.checked_add(input.u64()?);
                let (offset, bytes) = (input.u64()?, input.u64()?);
                let crc = u32::from_le_bytes(input.array()?);
                let key =
                    key.filter(|_| end <= offset).ok_or(Malformed("pieces aren't in order"))?;
                end = offset.checked_add(bytes).ok_or(Malformed("a piece is too long"))?;
                pieces.push(Piece { key, offset, bytes, crc });
            }
            *section = Some(pieces);
        }
        input.end()?;
        Ok((of, tail))
    }
}

/// A file that is being written.
pub(super) struct Out<W> {
    out: W,
    at: u64,
    crc: Hasher,
}

impl<W: Write> Out<W> {
    pub fn new(out: W) -> Result<Out<W>, IndexError> {
        let mut out = Out { out, at: 0, crc: Hasher::new() };
        out.write(MAGIC)?;
        Ok(out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.out.write_all(bytes).map_err(unwritten)?;
        self.crc.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub fn piece(&mut self, key: u64, bytes: &[u8]) -> Result<Piece, IndexError> {
        let (offset, length) = (self.at, bytes.len() as u64);
        self.write(bytes)?;
        Ok(Piece { key, offset, bytes: length, crc: crc32fast::hash(bytes) })
    }

    pub fn finish(mut self, tail: &[u8]) -> Result<(W, Summary), IndexError> {
        self.write(tail)?;
        self.out.flush().map_err(unwritten)?;
        let summary = Summary {
            bytes: self.at,
            crc: self.crc.finalize(),
            tail_bytes: tail.len() as u64,
            tail_crc: crc32fast::hash(tail),
        };
        Ok((self.out, summary))
    }
}

fn unwritten(source: io::Error) -> IndexError {
    IndexError::Io { doing: "write", place: "an index".to_owned(), source }
}

/// A file that is read, in pieces.
pub(super) struct Source {
    file: File,
    place: String,
}

impl Source {
    /// Opens a file and reads its tail.
    pub fn open(
        file: File,
        place: String,
        of: Of,
        summary: &Summary,
    ) -> Result<(Source, Tail), IndexError> {
        let source = Source { file, place };
        let found = source.file.metadata().map_err(|error| source.io("look at", error))?.len();
        let offset = summary.bytes.checked_sub(summary.tail_bytes);
        let (true, Some(offset)) = (found == summary.bytes, offset) else {
            return Err(source.damaged("it hasn't the length that it was written with"));
        };
        if summary.tail_bytes > TAIL_BYTES_MAX {
            return Err(source.damaged("its tail is too long"));
        }
        let (bytes, crc) = (summary.tail_bytes, summary.tail_crc);
        let bytes = source.read(&Piece { key: 0, offset, bytes, crc })?;
        let (found, tail) = Tail::decode(&bytes).map_err(|Malformed(why)| source.unfit(why))?;
        if found != of {
            return Err(source.unfit("it is another segment's"));
        }
        Ok((source, tail))
    }

    /// What is in a piece.
    pub fn read(&self, piece: &Piece) -> Result<Vec<u8>, IndexError> {
        let Some(length) =
            usize::try_from(piece.bytes).ok().filter(|_| piece.bytes <= PIECE_BYTES_MAX)
        else {
            return Err(self.damaged("a piece is too long"));
        };
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, piece.offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.damaged("it ends too early")
            } else {
                self.io("read", error)
            }
        })?;
        if crc32fast::hash(&bytes) != piece.crc {
            return Err(self.damaged("the checksum of a piece doesn't match"));
        }
        Ok(bytes)
    }

    /// Reads all of it.
    pub fn verify(&self, summary: &Summary) -> Result<(), IndexError> {
        let mut crc = Hasher::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut at = 0;
        loop {
            match self.file.read_at(&mut buffer, at) {
                Ok(0) => break,
                Ok(read) => {
                    crc.update(&buffer[..read]);
                    at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io("read", error)),
            }
        }
        if at != summary.bytes || crc.finalize() != summary.crc {
            return Err(self.damaged("its checksum doesn't match"));
        }
        Ok(())
    }

    pub fn damaged(&self, why: &str) -> IndexError {
        IndexError::Damaged { place: self.place.clone(), why: why.to_owned() }
    }

    pub fn malformed(&self) -> impl Fn(Malformed) -> IndexError {
        |Malformed(why)| self.damaged(why)
    }

    fn unfit(&self, why: &str) -> IndexError {
        IndexError::Unfit { place: self.place.clone(), why: why.to_owned() }
    }

    fn io(&self, doing: &'static str, source: io::Error) -> IndexError {
        IndexError::Io { doing, place: self.place.clone(), source }
    }
}

/// The key of a type and the number of an hour or day: ascending by both.
pub(super) fn key(kind: u32, number: i32) -> u64 {
    u64::from(kind) << 32 | u64::from(number as u32 ^ 1 << 31)
}

/// The type and the number that a key is of.
pub(super) fn of_key(key: u64) -> (u32, i32) {
    ((key >> 32) as u32, (key as u32 ^ 1 << 31) as i32)
}

/// Whether what lies at or behind `key`, and before `end`, may be of this type and of those numbers.
pub(super) fn may_hold(
    key: u64,
    end: Option<u64>,
    kind: Option<u32>,
    numbers: &std::ops::Range<i64>,
) -> bool {
    let (first, from) = of_key(key);
    let (last, to) = end.map_or((u32::MAX, i32::MAX), of_key);
    if kind.is_some_and(|kind| kind < first || last < kind) {
        return false;
    }
    // The last one before `end` is of the same type or of an earlier one.
    first != last || (i64::from(from) < numbers.end && numbers.start <= i64::from(to))
}

/// The number of what an instant lies in, of so many milliseconds each.
pub(super) fn number(millis: i64, each: i64) -> i32 {
    let number = millis.div_euclid(each);
    // Dates that can be written are far within.
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}
