//! How many events of each type each hour has, those of people and those of nobody apart.
//!
//! A piece is runs of one type each: the type · how many hours · the first · and of each hour how far it is
//! from the one before, times 2, plus 1 if nobody did some of it · what people did · what nobody did.

use std::collections::BTreeMap;
use std::ops::Range;

use super::layout::{PIECE_BYTES, Put, key, of_key};
use super::{Count, IndexError};
use crate::store::codec::{Input, Malformed, put_i64, put_u64};

/// Types and hours that are kept: 12 MB while they are collected. A year has 8,766 hours.
pub(super) const CELLS_MAX: usize = 512 * 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    people: u32,
    nobodys: u32,
}

/// Collects counts.
#[derive(Default)]
pub(super) struct Counts {
    cells: BTreeMap<u64, Cell>,
    /// Of each type, the hour that was last counted in: most events are of the same as the one before.
    recent: Vec<(u64, Cell)>,
    /// There were more than are kept.
    pub full: bool,
}

impl Counts {
    pub fn add(&mut self, kind: u32, hour: i32, nobodys: bool) {
        if self.full {
            return;
        }
        let key = key(kind, hour);
        let kind = kind as usize;
        if self.recent.len() <= kind {
            self.recent.resize(kind + 1, (0, Cell::default()));
        }
        let (recent, cell) = &mut self.recent[kind];
        if *recent != key {
            put(&mut self.cells, *recent, *cell);
            (*recent, *cell) = (key, Cell::default());
            if self.cells.len() > CELLS_MAX {
                *self = Counts { full: true, ..Counts::default() };
                return;
            }
        }
        let count = if nobodys { &mut cell.nobodys } else { &mut cell.people };
        *count = count.saturating_add(1);
    }

    /// To be called before what was collected is asked for.
    pub fn settle(&mut self) {
        for (key, cell) in self.recent.drain(..) {
            put(&mut self.cells, key, cell);
        }
    }

    pub fn len(&self) -> usize {
        self.cells.len() + self.recent.len()
    }

    /// Shows what was collected, of one type or of all.
    pub fn visit(
        &self,
        kind: Option<u32>,
        hours: &Range<i64>,
        visit: &mut dyn FnMut(u32, i32, Count),
    ) {
        let range = kind.map_or(0..=u64::MAX, |kind| key(kind, i32::MIN)..=key(kind, i32::MAX));
        for (key, cell) in self.cells.range(range) {
            let (kind, hour) = of_key(*key);
            if hours.contains(&i64::from(hour)) {
                let (people, nobodys) = (u64::from(cell.people), u64::from(cell.nobodys));
                visit(kind, hour, Count { people, nobodys });
            }
        }
    }

    /// Gives each piece with its key.
    pub fn encode(&self, piece: Put<'_>) -> Result<(), IndexError> {
        let mut out = Vec::new();
        let mut begin = 0;
        let mut cells = self.cells.iter().peekable();
        while let Some((first, _)) = cells.peek().copied() {
            let (kind, hour) = of_key(*first);
            if out.is_empty() {
                begin = *first;
            }
            let (mut run, mut count, mut before) = (Vec::new(), 0, hour);
            while let Some((key, cell)) = cells.peek().copied()
                && of_key(*key).0 == kind
                && out.len() + run.len() < PIECE_BYTES
            {
                let hour = of_key(*key).1;
                let apart = (i64::from(hour) - i64::from(before)) as u64;
                put_u64(&mut run, apart << 1 | u64::from(cell.nobodys > 0));
                put_u64(&mut run, u64::from(cell.people));
                if cell.nobodys > 0 {
                    put_u64(&mut run, u64::from(cell.nobodys));
                }
                (count, before) = (count + 1, hour);
                cells.next();
            }
            put_u64(&mut out, u64::from(kind));
            put_u64(&mut out, count);
            put_i64(&mut out, i64::from(hour));
            out.append(&mut run);
            if out.len() >= PIECE_BYTES || cells.peek().is_none() {
                piece(begin, &out)?;
                out.clear();
            }
        }
        Ok(())
    }
}

fn put(cells: &mut BTreeMap<u64, Cell>, key: u64, cell: Cell) {
    if cell.people > 0 || cell.nobodys > 0 {
        let at = cells.entry(key).or_default();
        at.people = at.people.saturating_add(cell.people);
        at.nobodys = at.nobodys.saturating_add(cell.nobodys);
    }
}

/// Shows what is in a piece.
pub(super) fn decode(
    bytes: &[u8],
    visit: &mut dyn FnMut(u32, i64, Count),
) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    while input.end().is_err() {
        let kind = u32::try_from(input.u64()?).map_err(|_| Malformed("a type isn't one"))?;
        let count = input.u64()?;
        let mut hour = input.i64()?;
        for _ in 0..count {
            let word = input.u64()?;
            hour = hour.wrapping_add((word >> 1) as i64);
            let people = input.u64()?;
            let nobodys = if word & 1 == 1 { input.u64()? } else { 0 };
            visit(kind, hour, Count { people, nobodys });
        }
    }
    Ok(())
}
