//! How many events of each type each row group of the segment has.
//!
//! A piece is row groups: how many types · and of each how far its number is from the one before · how many events.
//! Row groups lie one after the other, and in the piece after the one before.

use std::collections::BTreeMap;

use super::layout::PIECE_BYTES;
use crate::store::codec::{Input, Malformed, put_u64};

/// Bytes in which they are kept; those of the largest segment of 8 types have 8 KB.
pub(super) const BYTES_MAX: usize = 1024 * 1024;

/// Collects row groups, as they are written.
#[derive(Default)]
pub(super) struct Groups {
    current: BTreeMap<u32, u32>,
    rows: u32,
    pieces: Vec<Vec<u8>>,
    bytes: usize,
    /// There were more than are kept.
    pub full: bool,
}

impl Groups {
    /// Counts a row: an event of a type, or an update.
    pub fn add(&mut self, kind: Option<u32>) {
        self.rows += 1;
        if let Some(kind) = kind.filter(|_| !self.full) {
            *self.current.entry(kind).or_default() += 1;
        }
    }

    /// Ends a row group, if there is a row in it.
    pub fn end(&mut self) {
        if self.rows == 0 {
            return;
        }
        self.rows = 0;
        if self.full {
            return;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE_BYTES) {
            self.pieces.push(Vec::new());
        }
        let Some(out) = self.pieces.last_mut() else { return };
        let begin = out.len();
        put_u64(out, self.current.len() as u64);
        let mut before = 0;
        for (kind, count) in std::mem::take(&mut self.current) {
            put_u64(out, u64::from(kind - before));
            put_u64(out, u64::from(count));
            before = kind;
        }
        self.bytes += out.len() - begin;
        if self.bytes > BYTES_MAX {
            *self = Groups { full: true, ..Groups::default() };
        }
    }

    pub fn pieces(&self) -> &[Vec<u8>] {
        &self.pieces
    }
}

/// Appends how many events of types that are wanted each row group in a piece has.
pub(super) fn decode(
    bytes: &[u8],
    wanted: &dyn Fn(u32) -> bool,
    groups: &mut Vec<u32>,
) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    while input.end().is_err() {
        let (mut kind, mut sum) = (0u32, 0u32);
        for _ in 0..input.u64()? {
            let apart = u32::try_from(input.u64()?).map_err(|_| Malformed("a type isn't one"))?;
            kind = kind.checked_add(apart).ok_or(Malformed("a type isn't one"))?;
            let count = u32::try_from(input.u64()?).map_err(|_| Malformed("too many events"))?;
            if wanted(kind) {
                sum = sum.saturating_add(count);
            }
        }
        groups.push(sum);
    }
    Ok(())
}
