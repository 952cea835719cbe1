//! How many events users have: by their hashes in indexes, or by reading.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, RangeInclusive};

use super::{Answers, Question, hash_of_digest};
use crate::model::erasure::Scope;
use crate::model::{AccountId, Seq};
use crate::store::Error;
use crate::store::index::{self, Hot, Index, IndexError};
use crate::store::log::Missing;
use crate::store::scan::{Columns, Scan};
use crate::store::segment::Summary;

pub(super) struct EventCounts<'q> {
    account: AccountId,
    ids: &'q [&'q str],
    hashes: Vec<u64>,
    asked: HashSet<u64>,
    pub counts: Vec<u64>,
}

impl<'q> EventCounts<'q> {
    pub fn of(account: AccountId, ids: &'q [&'q str]) -> EventCounts<'q> {
        let hashes: Vec<u64> = ids.iter().map(|id| index::hash_of_user(account, id)).collect();
        let asked = hashes.iter().copied().collect();
        EventCounts { account, ids, hashes, asked, counts: vec![0; ids.len()] }
    }

    fn add(&mut self, counts: &[u64]) {
        self.counts.iter_mut().zip(counts).for_each(|(all, more)| *all += more);
    }
}

impl Question for EventCounts<'_> {
    fn account(&self) -> AccountId {
        self.account
    }

    fn concerns(&self, summary: &Summary) -> bool {
        summary.events > 0
    }

    fn is_touched_by(&self, scope: &Scope) -> bool {
        match scope {
            // What is taken of one user is nothing to others.
            Scope::User(user) | Scope::Events { user_id: Some(user), .. } => {
                self.asked.contains(&hash_of_digest(user))
            }
            Scope::Events { user_id: None, .. } | Scope::Expired { .. } => true,
        }
    }

    fn ask(&mut self, index: &Index) -> Result<(), IndexError> {
        self.add(&index.events_of(&self.hashes)?);
        Ok(())
    }

    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError> {
        self.add(&hot.events_of(&self.hashes));
        Ok(())
    }

    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error> {
        let columns = Columns { users: true, ..Columns::default() };
        let scan = Scan { range, columns, ..Scan::of(self.account) };
        // One that is asked for twice counts twice.
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, id) in self.ids.iter().enumerate() {
            places.entry(id).or_default().push(place);
        }
        from.store.scan(&scan, from.stop.asked(), &mut |piece| {
            let wanted: Vec<Option<&Vec<usize>>> =
                piece.users().iter().map(|id| places.get(id)).collect();
            for row in 0..piece.len() {
                let Some(user) = piece.user(row) else { continue };
                for place in wanted.get(user as usize).copied().flatten().into_iter().flatten() {
                    self.counts[*place] += 1;
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}
