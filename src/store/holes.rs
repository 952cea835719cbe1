//! Positions of the log that hold nothing any more, as ranges.
//!
//! ```text
//! holes    count · (gap behind the range before · length - 1)*
//! ```
//! in LEB128. A hole that stands alone takes two bytes.

use std::ops::RangeInclusive;

use super::codec::{Input, Malformed, put_u64};
use crate::model::Seq;

/// Ascending ranges that don't touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holes(Vec<RangeInclusive<Seq>>);

impl Holes {
    /// Adds a position. Those that ascend are added in no time.
    pub fn add(&mut self, seq: Seq) {
        match self.0.last_mut() {
            Some(last) if *last.end() + 1 == seq => *last = *last.start()..=seq,
            Some(last) if last.contains(&seq) => {}
            Some(last) if seq < *last.start() => {
                self.0.push(seq..=seq);
                self.tidy();
            }
            _ => self.0.push(seq..=seq),
        }
    }

    /// Adds all of `other`.
    pub fn join(&mut self, other: &Holes) {
        self.0.extend(other.0.iter().cloned());
        self.tidy();
    }

    fn tidy(&mut self) {
        self.0.sort_unstable_by_key(|range| *range.start());
        let mut tidy: Vec<RangeInclusive<Seq>> = Vec::with_capacity(self.0.len());
        for range in self.0.drain(..) {
            match tidy.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*range.end().max(last.end());
                }
                _ => tidy.push(range),
            }
        }
        self.0 = tidy;
    }

    /// How many positions.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end() - range.start() + 1).sum()
    }

    pub fn ranges(&self) -> &[RangeInclusive<Seq>] {
        &self.0
    }

    /// Takes pieces of at most `ranges_max` ranges, to be kept under their first positions.
    pub fn pieces(&self, ranges_max: usize) -> impl Iterator<Item = Holes> + '_ {
        self.0.chunks(ranges_max.max(1)).map(|ranges| Holes(ranges.to_vec()))
    }

    /// The first position; 0 if there is none.
    pub fn first(&self) -> Seq {
        self.0.first().map_or(0, |range| *range.start())
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.0.len() as u64);
        let mut behind = 0;
        for range in &self.0 {
            put_u64(out, range.start() - behind);
            put_u64(out, range.end() - range.start());
            behind = *range.end();
        }
    }

    pub fn decode(input: &mut Input<'_>) -> Result<Holes, Malformed> {
        let count = input.u64()?;
        let mut ranges = Vec::new();
        let mut behind: Seq = 0;
        for _ in 0..count {
            let (gap, more) = (input.u64()?, input.u64()?);
            let far = || Malformed("a hole lies beyond all positions");
            let start = behind.checked_add(gap).ok_or_else(far)?;
            let end = start.checked_add(more).ok_or_else(far)?;
            if gap == 0 && behind != 0 {
                return Err(Malformed("holes lie over each other"));
            }
            ranges.push(start..=end);
            behind = end;
        }
        Ok(Holes(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn they_are_a_set(positions in prop::collection::vec(1_u64..200, 0..100), pieces in 1_usize..9) {
            let mut holes = Holes::default();
            positions.iter().for_each(|seq| holes.add(*seq));
            let expected: BTreeSet<u64> = positions.into_iter().collect();
            let all: Vec<u64> = holes.ranges().iter().cloned().flatten().collect();
            prop_assert!(expected.iter().eq(all.iter()));
            prop_assert!(holes.ranges().windows(2).all(|two| two[0].end() + 1 < *two[1].start()));
            let mut bytes = Vec::new();
            holes.encode(&mut bytes);
            let mut input = Input(&bytes);
            prop_assert_eq!(Holes::decode(&mut input), Ok(holes.clone()));
            prop_assert_eq!(input.end(), Ok(()));
            let mut joined = Holes::default();
            for piece in holes.pieces(pieces) {
                prop_assert!(piece.ranges().len() <= pieces && piece.first() > 0);
                joined.join(&piece);
            }
            prop_assert_eq!(joined.count(), expected.len() as u64);
            prop_assert_eq!(joined, holes);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Holes::decode(&mut Input(&bytes));
        }
    }
}
