//! Sealing: a stretch of the hot end becomes segments, one for each account that occurs in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::indexing::index_room;
use super::rewrite::Output;
use super::{Compacted, Done, Error, Pace, SEAL_AGE, SEAL_BYTES, Store, Urgency, age};
use crate::model::{AccountId, Date, Seq};
use crate::store::fault;
use crate::store::holes::Holes;
use crate::store::log::Order;
use crate::store::manifest::{Edit, Position};
use crate::store::segment::Effort;

/// Bytes of batches that are sealed at a time.
const STRETCH_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Segments that are written at a time; each buffers a row group.
const OUTPUTS_MAX: usize = 8;

/// Bytes of memory that their indexes take meanwhile, all together. Beyond, the one that takes most is left to be
/// built by itself.
const INDEXES_MEMORY_MAX: usize = 24 * 1024 * 1024;

/// Bytes of batches after which it is looked what they take, but for what is in the last batch.
const LOOK_BYTES: usize = 128 * 1024;

impl Store {
    /// Seals what is due: what there is too much of, or what is too old; or everything.
    pub(super) fn seal_due(
        &self,
        urgency: Urgency,
        now: Date,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        self.tiers.remove_sealed()?;
        self.count_hot_once()?;
        let due = urgency == Urgency::Now
            || self.tiers.hot_bytes() >= SEAL_BYTES
            || self.oldest_hot()?.is_some_and(|at| age(now, at) >= SEAL_AGE);
        if due { self.seal_all(pace, compacted) } else { Ok(()) }
    }

    /// Seals everything that is applied.
    pub(super) fn seal_all(&self, pace: &Pace<'_>, compacted: &mut Compacted) -> Done<()> {
        {
            let _committing = self.committing();
            let (hot, last_seq) = (self.tiers.hot(), self.last_seq());
            if self.failure().is_none() && hot.state.marked() < last_seq {
                hot.state.write_mark(last_seq)?;
            }
        }
        let limit = self.slowest_cursor();
        while self.seal_stretch(limit, pace, compacted)? {}
        Ok(())
    }

    /// When the oldest record of the hot end came.
    fn oldest_hot(&self) -> Result<Option<Date>, Error> {
        let from = self.tiers.view().position.sealed_through + 1;
        let mut oldest = None;
        self.tiers.hot_batches(from..=Seq::MAX, Order::Ascending, &mut |batch, _| {
            oldest = batch.records().next().and_then(Result::ok).map(|(_, r)| r.received_at);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(oldest)
    }

    /// Counts what lay in the hot end when it was opened; that isn't done then, since it takes time.
    fn count_hot_once(&self) -> Result<(), Error> {
        let Some(opened_at) = self.uncounted.lock().map_or(None, |mut until| until.take()) else {
            return Ok(());
        };
        let from = self.tiers.view().position.sealed_through + 1;
        let mut bytes = 0;
        if from <= opened_at {
            self.tiers.hot_batches(from..=opened_at, Order::Ascending, &mut |_, batch_bytes| {
                bytes += batch_bytes as u64;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        self.tiers.count_hot_bytes(bytes);
        Ok(())
    }

    /// Seals one stretch; `false` if there is nothing to seal.
    fn seal_stretch(&self, limit: Seq, pace: &Pace<'_>, compacted: &mut Compacted) -> Done<bool> {
        pace.check()?;
        let view = self.tiers.view();
        let from = view.position.sealed_through + 1;
        let mut edit = Edit::default();
        let (end, accounts) = self.survey(from, limit, &mut edit)?;
        if end < from {
            return Ok(false);
        }
        // Text becomes a fifth or so of itself.
        let bytes = self.tiers.hot_bytes().min(STRETCH_BYTES_MAX) / 4;
        if !self.has_room(bytes + index_room(bytes, end + 1 - from), compacted) {
            return Ok(false);
        }
        let (mut added, mut holes) = (Vec::new(), Holes::default());
        let mut next_file = view.position.next_file;
        for some in accounts.chunks(OUTPUTS_MAX) {
            let mut outputs: BTreeMap<AccountId, Option<Output>> =
                some.iter().map(|account| (*account, None)).collect();
            let mut gone = Holes::default();
            let (mut halted, mut unlooked) = (Ok(()), 0);
            self.tiers.hot_batches(from..=end, Order::Ascending, &mut |batch, batch_bytes| {
                for entry in batch.records() {
                    let (seq, record) = entry.map_err(|error| Error::Damaged {
                        place: format!("the batch that ends before record {}", batch.end_seq()),
                        why: error.0.to_owned(),
                    })?;
                    let Some(account) = record.change.sender() else { continue };
                    let Some(output) = outputs.get_mut(&account) else { continue };
                    if view.erasures.take(seq, &record) {
                        gone.add(seq);
                        continue;
                    }
                    let output = match output {
                        Some(output) => output,
                        None => output.insert(self.new_output(
                            account,
                            &mut next_file,
                            Effort::Quick,
                        )?),
                    };
                    if output.put(seq, &record)? {
                        halted = pace.check();
                        if halted.is_err() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                unlooked += batch_bytes;
                if unlooked >= LOOK_BYTES {
                    unlooked = 0;
                    bound_indexes(&mut outputs);
                }
                Ok(ControlFlow::Continue(()))
            })?;
            halted?;
            for output in outputs.into_values().flatten() {
                added.push(output.finish()?);
            }
            holes.join(&gone);
        }
        self.sync_segments()?;
        fault::point("seal-files");
        let count = end + 1 - from;
        compacted.sealed += count;
        compacted.erased += holes.count();
        log::debug!("sealed {count} records up to {end} into {} segments", added.len());
        let position = Position { sealed_through: end, next_file, ..view.position };
        self.commit_step(edit, &holes, position, &[], added)?;
        self.tiers.remove_sealed()?;
        fault::point("seal-removed");
        Ok(true)
    }

    /// Which stretch is sealed: its last position, and the accounts in it. Control records go into the
    /// manifest.
    fn survey(
        &self,
        from: Seq,
        limit: Seq,
        edit: &mut Edit,
    ) -> Result<(Seq, Vec<AccountId>), Error> {
        let (mut end, mut bytes) = (from - 1, 0);
        let mut accounts = BTreeSet::new();
        if limit < from {
            return Ok((end, Vec::new()));
        }
        self.tiers.hot_batches(from..=limit, Order::Ascending, &mut |batch, batch_bytes| {
            if batch.end_seq() - 1 > limit || bytes >= STRETCH_BYTES_MAX {
                return Ok(ControlFlow::Break(()));
            }
            if batch.first_seq() != end + 1 {
                return Err(Error::Damaged {
                    place: format!("record {} of the log", end + 1),
                    why: "it is missing in the hot end".to_owned(),
                });
            }
            for entry in batch.records() {
                let (seq, record) = entry.map_err(|error| Error::Damaged {
                    place: format!("the batch that ends before record {}", batch.end_seq()),
                    why: error.0.to_owned(),
                })?;
                match record.change.sender() {
                    Some(account) => drop(accounts.insert(account)),
                    None => edit.control(seq, &record),
                }
            }
            end = batch.end_seq() - 1;
            bytes += batch_bytes as u64;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((end, accounts.into_iter().collect()))
    }
}

/// Drops the indexes that take most, until all take no more than they may.
fn bound_indexes(outputs: &mut BTreeMap<AccountId, Option<Output>>) {
    loop {
        let memory = outputs.values().flatten().map(Output::index_memory).sum::<usize>();
        if memory <= INDEXES_MEMORY_MAX {
            return;
        }
        match outputs.values_mut().flatten().max_by_key(|output| output.index_memory()) {
            Some(output) => output.drop_index(),
            None => return,
        }
    }
}
