//! Users told apart exactly, as small numbers, while a question walks through events.
//!
//! Their ids lie end to end in one piece of memory, so that an id takes its own bytes and some ten more.
//! Where there are more users than there is room for, a question is answered for a part of them at a time:
//! [`in_parts`].

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::Failure;
use crate::model::Seq;
use crate::store::Piece;

/// Users who are numbered at a time, at the most. Few under test, so that parts are tried there.
pub(super) const USERS_MAX: usize = if cfg!(test) { 600 } else { 500_000 };

/// Bytes of their ids, at the most.
pub(super) const ID_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Walks through the events for one question, at the most, those among them that are given up.
const WALKS_MAX: usize = 20;

/// One part of the users. Each user belongs to one, by a hash that is the same for all parts of a question.
#[derive(Clone, Debug)]
pub(super) struct Part {
    hasher: DefaultHashBuilder,
    number: u64,
    of: u64,
}

/// There is no room for what is kept of so many users; there is for smaller parts of them.
pub(super) struct NoRoom;

/// How far a walk through the log has come.
pub(super) struct Walk {
    first: Option<Seq>,
    at: Seq,
    last: Seq,
}

impl Walk {
    /// One that ends at `last` or before.
    pub fn to(last: Seq) -> Walk {
        Walk { first: None, at: 0, last }
    }

    /// It has come to this row.
    pub fn come_to(&mut self, seq: Seq) {
        self.first.get_or_insert(seq);
        self.at = seq;
    }

    /// The share of its way that it has gone, from 0 to 1.
    pub fn share(&self) -> f64 {
        let gone = |to: Seq| to.saturating_sub(self.first.unwrap_or_default()) as f64 + 1.0;
        (gone(self.at) / gone(self.last)).min(1.0)
    }
}

/// Has a question answered for all users at once, or else for so few parts of them as there is room for, one
/// after the other; `answer` adds to `sum` what holds for its part, or adds nothing and says which share of the
/// walk there was room for.
///
/// That tells into how many parts the one is to be divided that was too large; those that are done stay done. Of
/// ten million events of which six million are steps, which takes eight parts, that took 4.0 s of a processor; to
/// double the number of parts until they do, and begin anew each time, took 6.4 s.
///
/// # Errors
/// What `answer` fails with; [`Failure::TooLarge`] saying `too_large` if [`WALKS_MAX`] walks don't do.
pub(super) fn in_parts<T: Default>(
    too_large: &str,
    mut answer: impl FnMut(&Part, &mut T) -> Result<Result<(), f64>, Failure>,
) -> Result<T, Failure> {
    /// Parts aren't all of a size, since users aren't.
    const SPARE: f64 = 1.2;
    let hasher = DefaultHashBuilder::default();
    let (mut left, mut sum) = (vec![(0, 1)], T::default());
    let mut walks = 0;
    while let Some((number, of)) = left.pop() {
        walks += 1;
        let Err(share) = answer(&Part { hasher: hasher.clone(), number, of }, &mut sum)? else {
            continue;
        };
        let most = WALKS_MAX.saturating_sub(walks + left.len());
        if most < 2 {
            return Err(Failure::TooLarge(too_large.to_owned()));
        }
        let needed = (SPARE / share).ceil() as usize;
        let by = needed.clamp(2, most) as u64;
        left.extend((0..by).map(|n| (number + n * of, of * by)));
    }
    Ok(sum)
}

/// The users of one part, each with the number of those who were met before.
pub(super) struct Numbering {
    part: Part,
    numbers: HashTable<u32>,
    /// Where each id ends; it begins where the one before ends.
    ends: Vec<u32>,
    ids: String,
    /// The numbers of those whom a piece of the log numbers otherwise; [`UNKNOWN`] until they are asked for.
    in_piece: Vec<u32>,
}

/// No number that was given.
const UNKNOWN: u32 = u32::MAX;

/// Stands for the users that aren't to be numbered.
const OTHER: u32 = u32::MAX - 1;

impl Numbering {
    pub fn new(part: &Part) -> Numbering {
        Numbering {
            part: part.clone(),
            numbers: HashTable::new(),
            ends: Vec::new(),
            ids: String::new(),
            in_piece: Vec::new(),
        }
    }

    /// Says that users are of this piece from now on.
    pub fn turn_to(&mut self, piece: &Piece<'_>) {
        self.in_piece.clear();
        self.in_piece.resize(piece.users().len(), UNKNOWN);
    }

    /// The number of a user of the piece, by the piece's own number: as [`Numbering::number`].
    pub fn number_of(&mut self, piece: &Piece<'_>, user: u32) -> Result<Option<u32>, NoRoom> {
        self.lookup(piece, user, |numbering, id| numbering.number(id))
    }

    /// The number of a user of the piece, if that one was met before: as [`Numbering::find`].
    pub fn find_of(&mut self, piece: &Piece<'_>, user: u32) -> Option<u32> {
        self.lookup(piece, user, |numbering, id| Ok(numbering.find(id))).ok().flatten()
    }

    fn lookup(
        &mut self,
        piece: &Piece<'_>,
        user: u32,
        number: impl FnOnce(&mut Numbering, &str) -> Result<Option<u32>, NoRoom>,
    ) -> Result<Option<u32>, NoRoom> {
        let user = user as usize;
        match self.in_piece.get(user) {
            None | Some(&UNKNOWN) => {}
            Some(&OTHER) => return Ok(None),
            Some(number) => return Ok(Some(*number)),
        }
        let Some(id) = piece.users().get(user) else { return Ok(None) };
        let number = number(self, id)?;
        if let Some(known) = self.in_piece.get_mut(user) {
            *known = number.unwrap_or(OTHER);
        }
        Ok(number)
    }

    /// A user's number: that which was given when the id was first met, or else the next one. None for
    /// users of other parts.
    fn number(&mut self, id: &str) -> Result<Option<u32>, NoRoom> {
        let Numbering { part, numbers, ends, ids, .. } = self;
        let hash = part.hasher.hash_one(id);
        if !part.holds(hash) {
            return Ok(None);
        }
        if let Some(number) = numbers.find(hash, |number| at(ends, ids, *number) == id) {
            return Ok(Some(*number));
        }
        if ends.len() == USERS_MAX || ids.len() + id.len() > ID_BYTES_MAX {
            return Err(NoRoom);
        }
        let number = ends.len() as u32;
        ids.push_str(id);
        ends.push(ids.len() as u32);
        let rehash = |number: &u32| part.hasher.hash_one(at(ends, ids, *number));
        numbers.insert_unique(hash, number, rehash);
        Ok(Some(number))
    }

    /// The number of a user who was met.
    fn find(&self, id: &str) -> Option<u32> {
        let Numbering { part, numbers, ends, ids, .. } = self;
        let hash = part.hasher.hash_one(id);
        numbers.find(hash, |number| at(ends, ids, *number) == id).copied()
    }
}

impl Part {
    fn holds(&self, hash: u64) -> bool {
        // The table goes by the lowest bits and the seven highest.
        (hash >> 40) % self.of == self.number
    }
}

/// The id of a number; that of one which wasn't given is empty.
fn at<'t>(ends: &[u32], ids: &'t str, number: u32) -> &'t str {
    let number = number as usize;
    let end = |number: usize| ends.get(number).copied().unwrap_or_default() as usize;
    let start = number.checked_sub(1).map_or(0, end);
    ids.get(start..end(number)).unwrap_or_default()
}

const _: () = assert!(USERS_MAX < OTHER as usize && ID_BYTES_MAX <= u32::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    fn whole() -> Numbering {
        Numbering::new(&Part { hasher: DefaultHashBuilder::default(), number: 0, of: 1 })
    }

    proptest! {
        #[test]
        fn as_a_map_would(ids in proptest::collection::vec("[ab]{0,4}|\\PC{0,3}", 0..200)) {
            let mut naive = HashMap::new();
            let mut numbering = whole();
            for id in &ids {
                prop_assert_eq!(numbering.find(id), naive.get(id).copied());
                let next = naive.len() as u32;
                let number = *naive.entry(id.clone()).or_insert(next);
                prop_assert_eq!(numbering.number(id).ok(), Some(Some(number)));
            }
        }
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let mut numbering = whole();
        for number in 0..USERS_MAX {
            assert_eq!(numbering.number(&number.to_string()).ok(), Some(Some(number as u32)));
        }
        assert!(numbering.number("one more").is_err());
        assert_eq!(numbering.number("7").ok(), Some(Some(7)));
        let mut numbering = whole();
        let long = "x".repeat(ID_BYTES_MAX);
        assert_eq!(numbering.number(&long).ok(), Some(Some(0)));
        assert!(numbering.number("y").is_err());
        assert_eq!(numbering.number(&long).ok(), Some(Some(0)));
    }

    #[test]
    fn each_user_is_of_one_part() {
        let ids: Vec<String> = (0..1900).map(|number| format!("user {number}")).collect();
        let mut tries = 0;
        let met: Vec<String> = in_parts("", |part, met: &mut Vec<String>| {
            let mut numbering = Numbering::new(part);
            tries += 1;
            let mut here = Vec::new();
            for (at, id) in ids.iter().enumerate() {
                match numbering.number(id) {
                    Ok(Some(_)) => here.push(id.clone()),
                    Ok(None) => {}
                    Err(NoRoom) => return Ok(Err(at as f64 / ids.len() as f64)),
                }
            }
            met.extend(here);
            Ok(Ok(()))
        })
        .unwrap_or_else(|_| panic!("four parts do"));
        assert_eq!(met.len(), ids.len());
        assert_eq!(met.into_iter().collect::<HashSet<_>>(), ids.into_iter().collect());
        // Of 1,900 there is room for 600, which says that it takes four parts.
        assert_eq!(tries, 1 + 4);
    }

    #[test]
    fn how_many_walks_there_are() {
        for (shares, walks) in [
            (vec![], 1),
            (vec![0.9], 1 + 2),
            (vec![0.3], 1 + 4),
            (vec![0.01], 1 + 19),
            (vec![0.0], 1 + 19),
            (vec![f64::NAN], 1 + 2),
            // Of four parts the second one that is looked at is divided again.
            (vec![0.3, 2.0, 0.7], 1 + 3 + 1 + 2),
        ] {
            let (mut told, mut done) = (shares.iter(), 0);
            let answered = in_parts("too many", |_, (): &mut ()| {
                done += 1;
                let share = told.next().copied().unwrap_or(2.0);
                Ok(if share > 1.0 { Ok(()) } else { Err(share) })
            });
            assert!(answered.is_ok(), "{shares:?}");
            assert_eq!(done, walks, "{shares:?}");
        }
        for share in [0.0, 0.5, 1.0] {
            let mut walks = 0;
            let never = in_parts("too many", |_, (): &mut ()| {
                walks += 1;
                Ok(Err(share))
            });
            assert!(matches!(never, Err(Failure::TooLarge(why)) if why == "too many"));
            assert!(walks <= WALKS_MAX, "{walks}");
        }
    }

    #[test]
    fn how_far_a_walk_has_come() {
        let mut walk = Walk::to(1_000);
        for (seq, share) in [(501, 0.002), (750, 0.5), (1_000, 1.0), (2_000, 1.0)] {
            walk.come_to(seq);
            assert!((walk.share() - share).abs() < 1e-9, "{seq}: {}", walk.share());
        }
    }
}
