//! Merging: many small segments of an account become one.
//!
//! By tiers, each eight times as large as the one below: a run of eight neighbours of a tier (or below)
//! becomes one of the next. So a record is written some three times more on its way to the top, and
//! there are never more than some dozens of segments an account.

use std::sync::Arc;

use super::indexing::index_room;
use super::{Compacted, Done, Error, Halt, Pace, SEAL_BYTES, Store, Urgency};
use crate::model::{AccountId, Erasures};
use crate::store::fault;
use crate::store::manifest::{Edit, Position, Sealed};

/// Rows of a merged segment, at the most.
const ROWS_MAX: u64 = 4_000_000;

/// Neighbours that make a merge worth it.
const RUN_MIN: usize = 8;

/// Neighbours merged at a time.
const RUN_MAX: usize = 64;

/// Rows that are written again in no time.
const FEW_ROWS: u64 = 100_000;

/// Rows up to which a segment is in the lowest tier.
const TIER_ROWS: u64 = 8_192;

impl Store {
    /// Merges as long as there is something to merge.
    pub(super) fn merge_due(
        &self,
        urgency: Urgency,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        let accounts: Vec<AccountId> = self.tiers.view().segments.keys().copied().collect();
        for account in accounts {
            loop {
                pace.check()?;
                // Merging can wait; what isn't sealed takes memory.
                if urgency == Urgency::InTime && self.tiers.hot_bytes() >= SEAL_BYTES {
                    return Ok(());
                }
                let view = self.tiers.view();
                let of = view.of(account);
                let damaged = self.tiers.damage();
                let is_damaged = |sealed: &Arc<Sealed>| {
                    let name = sealed.name();
                    damaged.iter().any(|(file, _)| *file == name)
                };
                let Some(run) = find_run(of, urgency, &is_damaged) else { break };
                let bytes: u64 = run.iter().map(|sealed| sealed.summary.bytes).sum();
                let rows = run.iter().map(|sealed| sealed.rows()).sum();
                if !self.has_room(bytes + index_room(bytes, rows), compacted) {
                    return Ok(());
                }
                match self.merge_run(run, pace) {
                    Ok(()) => compacted.merged += run.len() as u64,
                    Err(Halt::Failed(Error::Damaged { .. })) => {
                        compacted.left.push(format!(
                            "segments of account {} were not merged: one is damaged",
                            account.0
                        ));
                        // Noted, so that the next look passes it over.
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(())
    }

    fn merge_run(&self, run: &[Arc<Sealed>], pace: &Pace<'_>) -> Done<()> {
        let view = self.tiers.view();
        let mut next_file = view.position.next_file;
        // What erasures take is their own step's business.
        let (merged, holes) = self.rewrite(run, &Erasures::default(), &mut next_file, pace)?;
        self.sync_segments()?;
        fault::point("merge-files");
        let position = Position { next_file, ..view.position };
        drop(view);
        self.commit_step(Edit::default(), &holes, position, run, merged.into_iter().collect())?;
        fault::point("merge-removed");
        Ok(())
    }
}

fn tier(rows: u64) -> u32 {
    (rows / TIER_ROWS).checked_ilog(RUN_MIN as u64).map_or(0, |tier| tier + 1)
}

/// Neighbours that are to become one.
fn find_run<'s>(
    of: &'s [Arc<Sealed>],
    urgency: Urgency,
    is_damaged: &dyn Fn(&Arc<Sealed>) -> bool,
) -> Option<&'s [Arc<Sealed>]> {
    let run_min = match urgency {
        Urgency::InTime => RUN_MIN,
        Urgency::Now => 2,
    };
    let top = tier(ROWS_MAX);
    for level in 0..top {
        let fits = |sealed: &Arc<Sealed>| tier(sealed.rows()) <= level && !is_damaged(sealed);
        let mut start = 0;
        while start < of.len() {
            let mut rows = 0;
            let run = of[start..].iter().take(RUN_MAX).take_while(|sealed| {
                rows += sealed.rows();
                fits(sealed) && rows <= ROWS_MAX
            });
            let len = run.count();
            let whole: u64 = of[start..start + len].iter().map(|sealed| sealed.rows()).sum();
            let largest = of[start..start + len].iter().map(|sealed| sealed.rows()).max();
            // A large one isn't written again for a few records more.
            let worth = whole <= FEW_ROWS
                || largest.is_some_and(|largest| (whole - largest) * RUN_MIN as u64 >= largest);
            if len >= run_min && worth {
                return Some(&of[start..start + len]);
            }
            start += len.max(1);
        }
    }
    None
}
