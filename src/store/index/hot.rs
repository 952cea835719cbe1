//! The same answers for records that no segment has yet.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use super::tally::Tally;
use super::{Attribute, Facet, IndexError, Sketch, VisitCounts, VisitFacets, VisitSketches};
use crate::model::{AccountId, Record, Seq};

/// What an index has, of the records of one account in the hot end, in memory. Whoever has it holds a lock while
/// asking, since what came last is sorted in when it is asked for. Nothing is ever taken out: when a stretch
/// was sealed, a new one is made of what is left.
///
/// It takes 12 bytes for each record of a user and some 40 for each user, beside what [`Builder`](super::Builder)
/// keeps by type: of 16 MiB of batches, at most some 20 MB.
pub struct Hot {
    tally: Tally,
    users: HashMap<u64, OfUser>,
    records: Vec<OfRecord>,
}

#[derive(Clone, Copy, Default)]
struct OfUser {
    events: u32,
    /// The place of its last record, counted from 1.
    last: u32,
}

struct OfRecord {
    seq: Seq,
    /// The place of the record before of the same user, counted from 1; 0 if there is none.
    before: u32,
}

impl Hot {
    /// Nothing yet, of an account.
    #[must_use]
    pub fn new(account: AccountId) -> Hot {
        Hot { tally: Tally::new(account), users: HashMap::new(), records: Vec::new() }
    }

    /// Adds a record behind all that were added: an event or an update of a user of that account. Others are
    /// passed over.
    pub fn put(&mut self, seq: Seq, record: &Record<'_>) {
        let put = self.tally.put(record);
        if let Some(user) = put.user {
            let of = self.users.entry(user).or_default();
            self.records.push(OfRecord { seq, before: of.last });
            of.last = self.records.len() as u32;
            of.events += u32::from(!put.update);
        }
    }

    /// Bytes of memory it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<OfRecord>()
            + self.users.capacity() * (size_of::<(u64, OfUser)>() + 1)
            + self.tally.memory()
    }

    /// As [`Index::counts`](super::Index::counts).
    ///
    /// # Errors
    /// [`IndexError::NotKept`].
    pub fn counts(
        &mut self,
        kind: Option<&str>,
        hours: Range<i64>,
        visit: VisitCounts<'_>,
    ) -> Result<(), IndexError> {
        let full = self.tally.counts.full;
        self.check(full, "there are too many hours with events")?;
        self.tally.counts.settle();
        let kinds = &self.tally.kinds;
        let number = kind.and_then(|kind| kinds.find(kind));
        if kind.is_none() || number.is_some() {
            self.tally.counts.visit(number, &hours, &mut |kind, hour, count| {
                visit(kinds.name(kind), i64::from(hour), count);
            });
        }
        Ok(())
    }

    /// As [`Index::sketches`](super::Index::sketches).
    ///
    /// # Errors
    /// [`IndexError::NotKept`].
    pub fn sketches(
        &mut self,
        kind: Option<&str>,
        days: Range<i64>,
        with_nobodys: bool,
        visit: VisitSketches<'_>,
    ) -> Result<(), IndexError> {
        self.tally.sketches.settle();
        let full = self.tally.sketches.full;
        self.check(full, "there are too many days with events")?;
        let kinds = &self.tally.kinds;
        let number = kind.and_then(|kind| kinds.find(kind));
        if kind.is_none() || number.is_some() {
            self.tally.sketches.visit(
                number,
                &days,
                with_nobodys,
                &mut |kind, day, users, visitors| {
                    visit(kinds.name(kind), day, users, visitors);
                },
            );
        }
        Ok(())
    }

    /// As [`Index::distinct`](super::Index::distinct).
    ///
    /// # Errors
    /// [`IndexError::NotKept`].
    pub fn distinct(
        &mut self,
        kind: Option<&str>,
        days: Range<i64>,
        with_nobodys: bool,
        visit: &mut dyn FnMut(&Sketch, &Sketch),
    ) -> Result<(), IndexError> {
        self.sketches(kind, days, with_nobodys, &mut |_, _, users, visitors| visit(users, visitors))
    }

    /// As [`Index::facets`](super::Index::facets).
    ///
    /// # Errors
    /// [`IndexError::NotKept`].
    pub fn facets(
        &self,
        facets: &[Facet],
        days: &Range<i64>,
        visit: VisitFacets<'_>,
    ) -> Result<(), IndexError> {
        self.tally.facets.visit(facets, days, visit)
    }

    /// The `seq` of the records of the user with this [`hash_of_user`](super::hash_of_user), newest first, until
    /// told to stop.
    pub fn records_of(&self, user: u64, visit: &mut dyn FnMut(Seq) -> ControlFlow<()>) {
        let mut place = self.users.get(&user).map_or(0, |of| of.last);
        while let Some(record) = (place as usize).checked_sub(1).and_then(|at| self.records.get(at))
        {
            if visit(record.seq).is_break() {
                return;
            }
            place = record.before;
        }
    }

    /// As [`Index::events_of`](super::Index::events_of).
    #[must_use]
    pub fn events_of(&self, users: &[u64]) -> Vec<u64> {
        let events = |user| self.users.get(user).map_or(0, |of| u64::from(of.events));
        users.iter().map(events).collect()
    }

    /// As [`Index::attributes`](super::Index::attributes).
    ///
    /// # Errors
    /// [`IndexError::NotKept`].
    pub fn attributes(&self, visit: &mut dyn FnMut(Attribute<'_>)) -> Result<(), IndexError> {
        self.check(false, "")?;
        let kinds = &self.tally.kinds;
        self.tally.attributes.visit(&mut |kind, name, values| {
            let kind = kind.checked_sub(1).map(|kind| kinds.name(kind));
            visit(Attribute { kind, name, values: *values });
            Ok(())
        })
    }

    fn check(&self, full: bool, why: &'static str) -> Result<(), IndexError> {
        if self.tally.kinds.full {
            return Err(IndexError::NotKept("there are too many types of events"));
        }
        if full { Err(IndexError::NotKept(why)) } else { Ok(()) }
    }
}
