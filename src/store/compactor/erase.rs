//! Erasing at rest: what erasures and retention took out of sight is taken out of every file.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::indexing::index_room;
use super::{Compacted, Done, ERASE_AFTER, Error, Halt, Pace, Store, Urgency, age};
use crate::model::erasure::Scope;
use crate::model::{AccountId, Date, Erasures};
use crate::store::fault;
use crate::store::hot::Hot;
use crate::store::manifest::{self, Edit, PendingErasure, Position, Sealed};

/// From one try to the next.
const ERASE_AGAIN: Duration = Duration::from_secs(10 * 60);

/// A segment is rewritten for retention when so large a part of it would go: a whole one a day would be
/// written for a day's records otherwise.
const EXPIRED_PART: u64 = 4;

impl Store {
    pub(super) fn erase_due(
        &self,
        urgency: Urgency,
        now: Date,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        let pending = manifest::pending(&self.tiers.hot().manifest)?;
        let (expired, erased): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|erasure| matches!(erasure.scope, Scope::Expired { .. }));
        let due = urgency == Urgency::Now
            || erased.iter().any(|erasure| age(now, erasure.at) >= ERASE_AFTER);
        if due && !erased.is_empty() && self.may_erase(urgency) {
            // Whatever of it is in the hot end is left behind in sealing.
            self.seal_all(pace, compacted)?;
            self.erase(urgency, &erased, true, pace, compacted)?;
        }
        // Unless something has changed since it was looked at, there is no more to be done for it.
        let newest = expired.iter().map(|erasure| erasure.seq).max().unwrap_or_default();
        let state = (newest, self.tiers.view().position.sealed_through);
        let mut looked_at = self.expired_looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !expired.is_empty() && (urgency == Urgency::Now || *looked_at != state) {
            *looked_at = state;
            self.erase(urgency, &expired, urgency == Urgency::Now, pace, compacted)?;
        }
        Ok(())
    }

    /// Whether it is time to try. What keeps an erasure from being done (a damaged file, a reader) does
    /// so for a while, and each try reads all that an account has.
    fn may_erase(&self, urgency: Urgency) -> bool {
        let mut tried = self.erasing_tried.lock().unwrap_or_else(PoisonError::into_inner);
        let may = urgency == Urgency::Now || tried.is_none_or(|at| at.elapsed() >= ERASE_AGAIN);
        if may {
            *tried = Some(Instant::now());
        }
        may
    }

    /// Rewrites the segments that hold something of it. `thorough`: however little.
    fn erase(
        &self,
        urgency: Urgency,
        due: &[PendingErasure],
        thorough: bool,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        let mut erasures = Erasures::default();
        let mut accounts: Vec<AccountId> = Vec::new();
        for erasure in due {
            erasures.add(erasure.seq, erasure.account, erasure.scope);
            accounts.push(erasure.account);
        }
        accounts.sort_unstable();
        accounts.dedup();
        let newest = due.iter().map(|erasure| erasure.seq).max().unwrap_or_default();
        let mut whole = self.tiers.view().position.sealed_through >= newest;
        let mut replaced: Vec<Weak<Sealed>> = Vec::new();
        for account in accounts {
            let segments = self.tiers.view().of(account).to_vec();
            for sealed in segments {
                if !may_hold(&sealed, account, due) {
                    continue;
                }
                match self.erase_in(&sealed, &erasures, thorough, pace, compacted) {
                    Ok(true) => replaced.push(Arc::downgrade(&sealed)),
                    Ok(false) => {}
                    Err(Halt::Failed(Error::Damaged { place, .. })) => {
                        whole = false;
                        compacted
                            .left
                            .push(format!("nothing was erased in {place}: it is damaged"));
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        fault::point("erase-rewritten");
        // Those that took less than what was worth it stay in force.
        whole &= thorough || !self.any_left(due, &erasures, pace)?;
        if !whole {
            return Ok(());
        }
        if !self.wait_for_readers(urgency, &replaced) {
            compacted.left.push("somebody still reads segments that were replaced".to_owned());
            return Ok(());
        }
        // Keys and values that were removed are still in sled's file.
        if due.iter().any(|erasure| !matches!(erasure.scope, Scope::Expired { .. })) {
            let before: Weak<Hot> = self.renew(super::Renewal::Copy, pace)?;
            compacted.renewed = true;
            if !self.wait_for_readers(urgency, &[before]) {
                compacted.left.push("somebody still reads sled's file before this one".to_owned());
            }
        }
        fault::point("erase-renewed");
        self.erasures_done(due)?;
        Ok(())
    }

    /// Rewrites one segment if it holds enough of what is erased; whether it did.
    fn erase_in(
        &self,
        sealed: &Arc<Sealed>,
        erasures: &Erasures,
        thorough: bool,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<bool> {
        let taken = self.count_taken(sealed, erasures, pace)?;
        if taken == 0 || (!thorough && taken * EXPIRED_PART < sealed.rows()) {
            return Ok(false);
        }
        let bytes = sealed.summary.bytes;
        if !self.has_room(bytes + index_room(bytes, sealed.rows()), compacted) {
            return Err(Halt::Stopped);
        }
        let view = self.tiers.view();
        let mut next_file = view.position.next_file;
        let run = [Arc::clone(sealed)];
        let (rewritten, holes) = self.rewrite(&run, erasures, &mut next_file, pace)?;
        self.sync_segments()?;
        fault::point("erase-files");
        let position = Position { next_file, ..view.position };
        drop(view);
        let added = rewritten.into_iter().collect();
        self.commit_step(Edit::default(), &holes, position, &run, added)?;
        compacted.erased += taken;
        Ok(true)
    }

    /// Whether a segment still holds something of it.
    fn any_left(&self, due: &[PendingErasure], erasures: &Erasures, pace: &Pace<'_>) -> Done<bool> {
        let view = self.tiers.view();
        for (account, of) in view.segments.iter() {
            for sealed in of.iter().filter(|sealed| may_hold(sealed, *account, due)) {
                if self.count_taken(sealed, erasures, pace)? > 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes erasures off the list: there is nothing left that they could take.
    fn erasures_done(&self, done: &[PendingErasure]) -> Result<(), Error> {
        let mut edit = Edit::default();
        done.iter().for_each(|erasure| edit.erasure_done(erasure.seq));
        // No new one may come between reading the list and showing it.
        let _committing = self.committing();
        let hot = self.tiers.hot();
        edit.write(&hot.manifest)?;
        self.flush_or_fail(&hot)?;
        let mut left = Erasures::default();
        for erasure in manifest::pending(&hot.manifest)? {
            left.add(erasure.seq, erasure.account, erasure.scope);
        }
        self.tiers.change_view(|view| view.erasures = Arc::new(left));
        Ok(())
    }
}

/// Whether a segment can hold something that is erased, by what is known without reading it.
fn may_hold(sealed: &Sealed, account: AccountId, due: &[PendingErasure]) -> bool {
    let summary = &sealed.summary;
    due.iter().filter(|erasure| erasure.account == account).any(|erasure| {
        summary.first_seq < erasure.seq
            && match erasure.scope {
                // The first of the dates is that of an arrival, if one was earlier.
                Scope::Expired { before } => summary.dates.is_some_and(|(first, _)| first < before),
                Scope::Events { from, to, .. } => summary.dates.is_some_and(|(first, last)| {
                    from.is_none_or(|from| from <= last) && to.is_none_or(|to| first < to)
                }),
                Scope::User(_) => true,
            }
    })
}
