//! The users and visitors of each type and day, those who did something and those who are nobody apart; and those
//! of each type and stretch of [`STRETCH_DAYS`] days, so that those of years are merged of few.
//!
//! A piece is days, or stretches, of types: the type · the day or the stretch · which of its four sketches there are (bits, in the order
//! of [`Which`]) · these, as `sketch` writes them.

use std::collections::HashMap;
use std::ops::Range;

use super::IndexError;
use super::layout::{PIECE_BYTES, Put, key, of_key};
use super::sketch::{HASH_BITS, Sketch};
use crate::store::codec::{Input, Malformed, put_i64, put_u64};

/// Types and days that are kept: at most some 100 bytes each while they are collected, and their sketches.
pub(super) const CELLS_MAX: usize = 64 * 1024;

/// Bytes of all sketches that are kept.
const BYTES_MAX: usize = 24 * 1024 * 1024;

/// Days of a stretch; stretches are numbered as days are.
pub(super) const STRETCH_DAYS: i64 = 32;

/// Hashes that wait to be sorted in: 4 MiB. Whenever there are so many, each sketch that one of them belongs to is
/// read and written again, which takes 30 µs. Days come mostly as they pass, so that these are few; whoever sends dates
/// as he likes has them be all. Of 4 million events, each with a user and a visitor, to collect and to write takes
///
/// | days | time | at most | with 1 MiB that wait |
/// | --- | --- | --- | --- |
/// | 730, as they pass | 0.5 s | 6.6 MB | 0.9 s |
/// | 730, in any order | 1.8 s | 6.6 MB | 5.7 s |
/// | 7,000, in any order | 6.3 s | 11 MB | 24 s |
/// | 30,000, in any order | 8.5 s | 18 MB | 17 s |
/// | 60,000, in any order | 8.2 s | 28 MB | |
///
/// and beyond [`CELLS_MAX`] nothing is kept: the events are read then.
const WAITING_MAX: usize = 512 * 1024;

/// The four sketches of a type and day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Users,
    Visitors,
    NobodysUsers,
    NobodysVisitors,
}

/// Collects sketches. They are kept as they are written, which takes least; hashes wait, so that one isn't
/// read and written again for each.
#[derive(Default)]
pub(super) struct Sketches {
    /// By number.
    cells: Vec<(u64, [Box<[u8]>; 4])>,
    numbers: HashMap<u64, u32>,
    /// Of each type, the day that came last, and its number.
    recent: Vec<Option<(u64, u32)>>,
    /// The number of a type and day, which of its sketches, and the hash.
    waiting: Vec<u64>,
    /// Bytes of all sketches.
    bytes: usize,
    /// There were more than are kept.
    pub full: bool,
}

impl Sketches {
    pub fn add(&mut self, kind: u32, day: i32, which: Which, hash: u64) {
        let Some(number) = self.number(kind, day) else { return };
        let cell = u64::from(number) << 2 | which as u64;
        self.waiting.push(cell << HASH_BITS | hash >> (64 - HASH_BITS));
        if self.waiting.len() >= WAITING_MAX {
            self.sort_in();
        }
    }

    fn number(&mut self, kind: u32, day: i32) -> Option<u32> {
        if self.full {
            return None;
        }
        let (key, kind) = (key(kind, day), kind as usize);
        if self.recent.len() <= kind {
            self.recent.resize(kind + 1, None);
        }
        if let Some((recent, number)) = self.recent[kind]
            && recent == key
        {
            return Some(number);
        }
        let next = self.cells.len();
        let number = *self.numbers.entry(key).or_insert(next as u32);
        if number as usize == next {
            if next >= CELLS_MAX {
                *self = Sketches { full: true, ..Sketches::default() };
                return None;
            }
            self.cells.push((key, Default::default()));
        }
        self.recent[kind] = Some((key, number));
        Some(number)
    }

    /// To be called before what was collected is asked for, and whether it is full.
    pub fn settle(&mut self) {
        self.sort_in();
        self.waiting = Vec::new();
    }

    fn sort_in(&mut self) {
        self.waiting.sort_unstable();
        self.waiting.dedup();
        for of in self.waiting.chunk_by(|a, b| a >> HASH_BITS == b >> HASH_BITS) {
            let cell = of[0] >> HASH_BITS;
            let stored = &mut self.cells[(cell >> 2) as usize].1[(cell & 3) as usize];
            // What was written here can be read.
            let mut sketch = Sketch::decode_whole(stored).unwrap_or_default();
            of.iter().for_each(|hash| sketch.insert(hash << (64 - HASH_BITS)));
            self.bytes -= stored.len();
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            *stored = bytes.into();
            self.bytes += stored.len();
        }
        self.waiting.clear();
        if self.bytes > BYTES_MAX {
            *self = Sketches { full: true, ..Sketches::default() };
        }
    }

    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.cells.len() * 128 + self.bytes + self.waiting.capacity() * 8
    }

    fn ascending(&self) -> Vec<&(u64, [Box<[u8]>; 4])> {
        let mut cells: Vec<_> = self.cells.iter().collect();
        cells.sort_unstable_by_key(|(key, _)| *key);
        cells
    }

    /// Shows what was collected, of one type or of all.
    pub fn visit(
        &self,
        kind: Option<u32>,
        days: &Range<i64>,
        with_nobodys: bool,
        visit: &mut dyn FnMut(u32, i64, &Sketch, &Sketch),
    ) {
        let read = |bytes: &[u8]| Sketch::decode_whole(bytes).unwrap_or_default();
        for (key, [users, visitors, nobodys_users, nobodys_visitors]) in &self.cells {
            let (of, day) = of_key(*key);
            let day = i64::from(day);
            if kind.is_some_and(|kind| kind != of) || !days.contains(&day) {
                continue;
            }
            if !users.is_empty() || !visitors.is_empty() {
                visit(of, day, &read(users), &read(visitors));
            }
            if with_nobodys && (!nobodys_users.is_empty() || !nobodys_visitors.is_empty()) {
                visit(of, day, &read(nobodys_users), &read(nobodys_visitors));
            }
        }
    }

    /// Gives each piece of days with its key.
    pub fn encode(&self, piece: Put<'_>) -> Result<(), IndexError> {
        let mut out = Pieces { out: Vec::new(), begin: 0, piece };
        self.ascending().into_iter().try_for_each(|(key, sketches)| out.put(*key, sketches))?;
        out.end()
    }

    /// The same of stretches.
    pub fn encode_stretches(&self, piece: Put<'_>) -> Result<(), IndexError> {
        let mut out = Pieces { out: Vec::new(), begin: 0, piece };
        let stretch = |packed: u64| {
            let (kind, day) = of_key(packed);
            key(kind, i64::from(day).div_euclid(STRETCH_DAYS) as i32)
        };
        for days in self.ascending().chunk_by(|a, b| stretch(a.0) == stretch(b.0)) {
            let mut merged: [Sketch; 4] = Default::default();
            for (_, day) in days {
                for (merged, sketch) in merged.iter_mut().zip(day) {
                    // What was written here can be read.
                    merged.merge(&Sketch::decode_whole(sketch).unwrap_or_default());
                }
            }
            let encoded = merged.map(|sketch| {
                let mut bytes = Vec::new();
                if sketch.estimate() > 0 {
                    sketch.encode(&mut bytes);
                }
                bytes.into()
            });
            out.put(stretch(days[0].0), &encoded)?;
        }
        out.end()
    }
}

/// Pieces in the making.
struct Pieces<'p> {
    out: Vec<u8>,
    begin: u64,
    piece: Put<'p>,
}

impl Pieces<'_> {
    fn put(&mut self, key: u64, sketches: &[Box<[u8]>; 4]) -> Result<(), IndexError> {
        let out = &mut self.out;
        if out.is_empty() {
            self.begin = key;
        }
        let (kind, number) = of_key(key);
        put_u64(out, u64::from(kind));
        put_i64(out, i64::from(number));
        let there = sketches.iter().enumerate();
        out.push(there.fold(0, |bits, (n, of)| bits | u8::from(!of.is_empty()) << n));
        sketches.iter().for_each(|sketch| out.extend_from_slice(sketch));
        if out.len() >= PIECE_BYTES { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), IndexError> {
        if !self.out.is_empty() {
            (self.piece)(self.begin, &self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// Shows what is in a piece, of what is `wanted`: type, day or stretch, and whether it is nobody's.
pub(super) fn decode(
    bytes: &[u8],
    wanted: &dyn Fn(u32, i64, bool) -> bool,
    visit: &mut dyn FnMut(u32, i64, &Sketch, &Sketch),
) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    while input.end().is_err() {
        let kind = u32::try_from(input.u64()?).map_err(|_| Malformed("a type isn't one"))?;
        let (day, there) = (input.i64()?, input.byte()?);
        for (bits, nobodys) in [(there & 3, false), (there >> 2 & 3, true)] {
            let read = wanted(kind, day, nobodys);
            let mut next = |there: bool| match (there, read) {
                (true, true) => Sketch::decode(&mut input),
                (true, false) => Sketch::skip(&mut input).map(|()| Sketch::default()),
                (false, _) => Ok(Sketch::default()),
            };
            let (users, visitors) = (next(bits & 1 > 0)?, next(bits & 2 > 0)?);
            if read && bits > 0 {
                visit(kind, day, &users, &visitors);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// What it takes to collect the largest segment that is made, 4 million events with a user and a visitor
    /// each, in whatever order they come.
    ///
    /// ```text
    /// cargo test --release --lib -- --ignored --nocapture store::index::sketches
    /// ```
    #[test]
    #[ignore = "measures; takes half a minute"]
    fn how_long_hostile_dates_take() {
        const EVENTS: u64 = 4_000_000;
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n << 17;
        for (what, days, run) in [
            ("730 days, as they pass", 730, EVENTS / 730 + 1),
            ("730 days, any", 730, 1),
            ("7,000 days, any", 7_000, 1),
            ("30,000 days, any", 30_000, 1),
            ("60,000 days, any", 60_000, 1),
        ] {
            let began = Instant::now();
            let (mut sketches, mut memory) = (Sketches::default(), 0);
            for n in 0..EVENTS {
                let day = if run > 1 { n / run } else { hash(n) >> 33 } % days;
                // A fifth of them are nobody's.
                let (users, visitors) = if n.is_multiple_of(5) {
                    (Which::NobodysUsers, Which::NobodysVisitors)
                } else {
                    (Which::Users, Which::Visitors)
                };
                sketches.add(0, day as i32, users, hash(n | 1 << 40));
                sketches.add(0, day as i32, visitors, hash(n | 1 << 41));
                if n.is_multiple_of(65_536) {
                    memory = memory.max(sketches.memory());
                }
            }
            sketches.settle();
            let collected = began.elapsed();
            let mut bytes = 0;
            let mut count = |_, piece: &[u8]| {
                bytes += piece.len();
                Ok(())
            };
            sketches.encode(&mut count).expect("nothing fails");
            sketches.encode_stretches(&mut count).expect("nothing fails");
            println!(
                "{what}: {collected:?}, {:?} with writing {bytes} bytes, {} KB at most, full: {}",
                began.elapsed(),
                memory / 1024,
                sketches.full
            );
        }
    }
}
