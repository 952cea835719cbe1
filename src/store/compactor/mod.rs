//! The compactor: moves stretches of the log from the hot end into segments, merges small segments,
//! and takes out at rest what retention and erasure took out of sight.
//!
//! # Every step is safe to crash at
//! A step writes new files, then changes the manifest by one atomic batch, flushes, and only then
//! lets go of what is no longer needed. What a crash can leave, and what the next opening does:
//! ```text
//! left behind                          because it came              then
//! N.new, N.index.new in segments/      while a segment, or its      removed
//!                                        index, was written
//! a segment that isn't in the          before the manifest had it,  removed: all it holds is still
//!   manifest                           or after another took its      in the hot end, or in the
//!                                      place                          other
//! an index that isn't in the manifest  the same, or because all      removed: it is built again where
//!                                        indexes were dropped          it is missing
//! batches in the hot end that are      before they were removed     passed over by readers, removed
//!   sealed already                                                    with the next step
//! an erasure that is pending though    before it was taken off the  done again, to no effect
//!   nothing is left to take out          list
//! a generation of sled that isn't the  before or after CURRENT was  removed
//!   one in force                         written
//! ```
//! Files are removed only when the log reaches as far as it was known to ([`super::high_water`]): a
//! manifest that lost its end would take good segments for left ones.
//!
//! # What it never does
//! It seals nothing above the slowest reader's position (the state's mark), reorders nothing, and
//! drops nothing but what an erasure that is in force takes; each position that goes is recorded as a
//! hole. A damaged segment is left as it is.

mod erase;
mod indexing;
mod merge;
mod renew;
mod rewrite;
mod seal;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use super::fault;
use super::holes::Holes;
use super::manifest::{Edit, Position, Sealed};
use super::segment::Segment;
use super::{Error, Store};
use crate::model::{Date, Seq};

pub use indexing::Reindexed;
pub use renew::Renewal;

/// Bytes of the hot end from which on it is sealed.
pub const SEAL_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of the hot end at which whoever can wait does, until some of it is sealed.
pub const HOT_BYTES_MAX: u64 = 4 * SEAL_BYTES;

/// How old the oldest record of the hot end may get before it is sealed.
pub const SEAL_AGE: Duration = Duration::from_secs(60 * 60);

/// Within which time after it was accepted an erasure is done at rest.
pub const ERASED_WITHIN: Duration = Duration::from_secs(60 * 60);

/// When it is begun at the latest. Erasures gather meanwhile, since each takes a rewrite.
const ERASE_AFTER: Duration = Duration::from_secs(45 * 60);

/// How long `Now` waits for those who still read what was replaced.
const READERS_MAX: Duration = Duration::from_secs(30);

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// What is due.
    InTime,
    /// Everything that can be done.
    Now,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Records that were moved out of the hot end.
    pub sealed: u64,
    /// Segments that were merged into fewer.
    pub merged: u64,
    /// Records that were taken out.
    pub erased: u64,
    /// Records of segments that had no index and have one now.
    pub indexed: u64,
    /// Whether sled's file was written anew.
    pub renewed: bool,
    /// What could not be done yet, and why.
    pub left: Vec<String>,
}

/// How the compactor is told to go easy, or to stop.
pub struct Pace<'p> {
    /// Called between pieces of work; may take its time. `false` means to stop.
    pub go_on: &'p dyn Fn() -> bool,
}

/// Stopped before its end, or failed.
enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}

impl Halt {
    fn into_error(self) -> Error {
        match self {
            Halt::Stopped => Error::Stopped,
            Halt::Failed(error) => error,
        }
    }
}

type Done<T> = Result<T, Halt>;

impl Pace<'_> {
    fn check(&self) -> Done<()> {
        if (self.go_on)() { Ok(()) } else { Err(Halt::Stopped) }
    }
}

impl Store {
    /// Does what is due at `now`, or everything. One at a time: a second caller waits if it is for
    /// everything, and does nothing if not.
    ///
    /// # Errors
    /// [`Error`] of the step that failed; those before it are done.
    pub fn compact(
        &self,
        urgency: Urgency,
        now: Date,
        pace: &Pace<'_>,
    ) -> Result<Compacted, Error> {
        let mut compacted = Compacted::default();
        let _compacting = match (urgency, self.compacting.try_lock()) {
            (_, Ok(held)) => held,
            (_, Err(TryLockError::Poisoned(poisoned))) => poisoned.into_inner(),
            // Whoever is at it may take long, and who only looks now and then can look again.
            (Urgency::InTime, Err(TryLockError::WouldBlock)) => return Ok(compacted),
            (Urgency::Now, Err(TryLockError::WouldBlock)) => {
                self.compacting.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        match self.compact_here(urgency, now, pace, &mut compacted) {
            Ok(()) => Ok(compacted),
            Err(Halt::Stopped) => {
                compacted.left.push("it was told to stop".to_owned());
                Ok(compacted)
            }
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    fn compact_here(
        &self,
        urgency: Urgency,
        now: Date,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        if self.failure().is_some() {
            compacted.left.push("the disk has failed".to_owned());
            return Ok(());
        }
        self.compacted_at.store(now.millis(), SeqCst);
        self.seal_due(urgency, now, pace, compacted)?;
        self.erase_due(urgency, now, pace, compacted)?;
        self.merge_due(urgency, pace, compacted)?;
        self.renew_if_bloated(urgency, pace, compacted)?;
        self.index_due(urgency, pace, compacted)?;
        // In the middle of an import what was read would be sealed a moment later.
        if compacted.sealed == 0 {
            self.follow_if_free(pace)?;
        }
        if urgency == Urgency::InTime && !self.looked_through.swap(true, SeqCst) {
            self.look_through(pace)?;
        }
        Ok(())
    }

    /// Looks once, behind everything else, whether all that is sealed is as it was written, so that
    /// damage is known before somebody asks for what it holds.
    fn look_through(&self, pace: &Pace<'_>) -> Done<()> {
        for sealed in self.tiers.view().all() {
            if let Some((summary, index)) = sealed.index().zip(self.tiers.index_of(sealed))
                && let Err(error) = index.verify()
            {
                self.tiers.index_failed(sealed, &summary, &error);
            }
            let checked = Segment::open(&sealed.path, Some(&sealed.summary)).and_then(|segment| {
                for group in 0..segment.groups().len() {
                    segment.check(group)?;
                    if pace.check().is_err() {
                        break;
                    }
                }
                Ok(())
            });
            pace.check()?;
            if let Err(error) = checked {
                self.tiers.note_unread(sealed, &error);
            }
        }
        Ok(())
    }

    /// Whether a step may write so many bytes; if not, that is said.
    fn has_room(&self, bytes: u64, compacted: &mut Compacted) -> bool {
        let has = self.space.has_room_for(bytes);
        if !has {
            compacted.left.push(format!("the disk has no room for {bytes} bytes"));
        }
        has
    }

    /// Records a step durably, and shows it to readers.
    fn commit_step(
        &self,
        mut edit: Edit,
        holes: &Holes,
        position: Position,
        removed: &[Arc<Sealed>],
        added: Vec<Sealed>,
    ) -> Result<(), Error> {
        let position = Position { step: position.step + 1, ..position };
        edit.position(position);
        edit.holes(holes);
        for sealed in removed {
            edit.remove(sealed.number);
        }
        for sealed in &added {
            edit.add(sealed.number, &sealed.summary);
            if let Some(index) = sealed.index() {
                edit.add_index(sealed.number, &index);
            }
        }
        let hot = self.tiers.hot();
        edit.write(&hot.manifest)?;
        fault::point("step-written");
        self.flush_or_fail(&hot)?;
        self.high_water.note_step(position.step);
        fault::point("step-recorded");
        self.tiers.change_view(|view| {
            view.position = position;
            let segments = Arc::make_mut(&mut view.segments);
            for sealed in removed {
                if let Some(of) = segments.get_mut(&sealed.summary.account) {
                    of.retain(|one| one.number != sealed.number);
                }
            }
            for sealed in added {
                segments.entry(sealed.summary.account).or_default().push(Arc::new(sealed));
            }
            segments.retain(|_, of| !of.is_empty());
            for of in segments.values_mut() {
                of.sort_unstable_by_key(|sealed| sealed.summary.first_seq);
            }
        });
        for sealed in removed {
            sealed.retire();
            // Kept open, it would stay on disk.
            sealed.index().iter().for_each(|index| self.tiers.close_index(sealed, index));
        }
        Ok(())
    }

    /// A flush that fails means that nothing more is accepted, whoever called for it.
    fn flush_or_fail(&self, hot: &super::hot::Hot) -> Result<(), Error> {
        hot.flush().map_err(|source| {
            self.fail(format!("flushing to disk failed: {source}"));
            Error::Io { doing: "sync", path: hot.path().to_owned(), source }
        })
    }

    /// Waits until nobody reads what was replaced; `false` if somebody still does.
    fn wait_for_readers<T>(&self, urgency: Urgency, replaced: &[Weak<T>]) -> bool {
        let began = Instant::now();
        loop {
            if replaced.iter().all(|one| one.strong_count() == 0) {
                return true;
            }
            if urgency == Urgency::InTime || began.elapsed() > READERS_MAX {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Up to where the log may be sealed: the slowest of its readers has come so far.
    fn slowest_cursor(&self) -> Seq {
        self.tiers.hot().state.marked().min(self.last_seq())
    }
}

fn age(now: Date, at: Date) -> Duration {
    Duration::from_millis(u64::try_from(now.millis().saturating_sub(at.millis())).unwrap_or(0))
}
