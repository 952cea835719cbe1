//! Writing the index of a segment.

use std::io::Write;
use std::path::PathBuf;

use super::groups::Groups;
use super::layout::{Out, Piece, Put, Section, Tail};
use super::tally::Tally;
use super::users::{self, Users};
use super::{IndexError, Of, Summary, kinds};
use crate::model::{AccountId, Record};

/// Collects what the index of one segment holds, and writes it.
///
/// Of the largest segment that takes some 23 MB: 8 in which rows and hashes wait to be sorted, 12 of what was sorted
/// (3 bytes for each row of a user; 12 if each is another's, of which those beyond wait in a file), and what will be
/// written. 5 of facets. Of what anybody may send, the types, hours, days, names of attributes and texts of facets are bounded; beyond, an index
/// doesn't keep them ([`IndexError::NotKept`]).
pub struct Builder {
    tally: Tally,
    users: Users,
    groups: Groups,
    rows: u32,
}

impl Builder {
    /// Begins the index of a segment of an account's.
    #[must_use]
    pub fn new(account: AccountId) -> Builder {
        Builder {
            tally: Tally::new(account),
            users: Users::default(),
            groups: Groups::default(),
            rows: 0,
        }
    }

    /// What memory shall not hold waits in a file that is made at `path` when it is needed, and removed at once;
    /// otherwise memory holds all. If it can't be written, that is what comes of [`Builder::finish`].
    #[must_use]
    pub fn spilling_to(mut self, path: PathBuf) -> Builder {
        self.users.spill_to(path);
        self
    }

    /// Bytes of memory it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.tally.memory() + self.users.memory()
    }

    /// Adds the segment's next row: an event or an update of a user. They come in the segment's order, from
    /// the first on.
    pub fn put(&mut self, record: &Record<'_>) {
        let put = self.tally.put(record);
        self.groups.add(put.kind);
        if let Some(user) = put.user {
            self.users.add(user, self.rows, put.update);
        }
        self.rows += 1;
    }

    /// A row group of the segment ends behind the last row. To be called whenever
    /// [`SegmentWriter::put`](crate::store::segment::SegmentWriter::put) has said so; the last one ends by itself.
    pub fn end_group(&mut self) {
        self.groups.end();
    }

    /// Writes the file. Whether it is on disk is up to the caller. The same records give the same file.
    ///
    /// # Errors
    /// [`IndexError::Io`] if it can't be written, or what waited in a file couldn't.
    pub fn finish<W: Write>(mut self, of: Of, out: W) -> Result<(W, Summary), IndexError> {
        self.groups.end();
        let mut tally = self.tally;
        tally.settle();
        let mut out = Out::new(out)?;
        let mut tail = Tail { rows: u64::from(self.rows), ..Tail::default() };
        let few_kinds = !tally.kinds.full;
        if few_kinds {
            tail.kinds = section(|put| put(0, &kinds::encode(&tally.kinds)), &mut out)?;
            if !tally.counts.full {
                tail.counts = section(|put| tally.counts.encode(put), &mut out)?;
            }
            if !tally.sketches.full {
                tail.sketches = section(|put| tally.sketches.encode(put), &mut out)?;
                tail.stretches = section(|put| tally.sketches.encode_stretches(put), &mut out)?;
            }
            if !self.groups.full {
                let groups = self.groups.pieces();
                let all = |put: Put<'_>| groups.iter().try_for_each(|piece| put(0, piece));
                tail.groups = section(all, &mut out)?;
            }
            tail.attributes = section(|put| tally.attributes.encode(put), &mut out)?;
        }
        tail.texts = section(|put| tally.facets.encode_texts(put), &mut out)?;
        tail.facets = section(|put| tally.facets.encode_days(put), &mut out)?;
        // They take most, so nothing else is kept meanwhile.
        drop(tally);
        let users = self.users;
        let blocks = section(|put| users.encode(put), &mut out)?.unwrap_or_default();
        let pages =
            |put: Put<'_>| users::pages(&blocks).try_for_each(|(user, page)| put(user, &page));
        tail.users = section(pages, &mut out)?;
        out.finish(&tail.encode(of))
    }
}

/// Writes the pieces that `all` gives.
fn section<W: Write>(
    all: impl FnOnce(Put<'_>) -> Result<(), IndexError>,
    out: &mut Out<W>,
) -> Result<Section, IndexError> {
    let mut pieces: Vec<Piece> = Vec::new();
    all(&mut |key, bytes| {
        pieces.push(out.piece(key, bytes)?);
        Ok(())
    })?;
    Ok(Some(pieces))
}
