//! What is known of the hot end: the same as indexes know of segments, in memory.
//!
//! Promises that whoever asks is told of everything that was durable when he asked, and of nothing that is
//! erased; and that the thread that commits never waits for it. It is a reader of the log with a cursor of
//! its own, and whoever asks moves the cursor as far as he needs it, as does the compactor's thread behind
//! everything else.
//!
//! It lies in memory alone: it is a function of the hot end, which is bounded and lies in sled. Written there
//! too, it would double what each commit flushes; built from there, it takes as long as reading that.

use std::collections::HashMap;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::index::{Hot, IndexError};
use super::log::Order;
use super::manifest::View;
use super::tiers::Tiers;
use super::{Error, Pace, Store};
use crate::model::{AccountId, Change, Erasures, Seq};

/// Bytes of memory from which on it isn't kept: the hot end is read itself until it is sealed.
pub const NEWEST_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Records that are read at a time, before it is looked what they take.
const STRIDE: Seq = 1_024;

/// Bytes of their texts after which that is looked at too: of texts that are names of attributes, thirty times as
/// many bytes may be kept.
const LOOK_BYTES: usize = 128 * 1024;

/// The hot end, as far as it was read.
#[derive(Default)]
pub(super) struct Newest {
    read: Mutex<Read>,
    /// How far that is, for those who want no more than that, and had better not wait for it.
    through: AtomicU64,
}

impl Newest {
    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without waiting: none if somebody is at it.
    fn try_lock(&self) -> Option<MutexGuard<'_, Read>> {
        match self.read.try_lock() {
            Ok(read) => Some(read),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn note(&self, read: &Read) {
        let through = if read.is_full { read.base } else { read.through };
        self.through.store(through, SeqCst);
    }
}

#[derive(Default)]
struct Read {
    /// Up to where the log is sealed: what comes behind is in here.
    base: Seq,
    /// The last record that is in here.
    through: Seq,
    /// What it was read without.
    erasures: Arc<Erasures>,
    by_account: HashMap<AccountId, Hot>,
    /// It took too much memory.
    is_full: bool,
}

impl Read {
    /// Begins anew behind what is sealed.
    fn reset(&mut self, view: &View) {
        let (base, erasures) = (view.position.sealed_through, Arc::clone(&view.erasures));
        *self = Read { base, through: base, erasures, ..Read::default() };
    }

    /// Reads up to `last`, of a view whose hot end reaches so far. Told to stop, it goes no further.
    fn follow(
        &mut self,
        tiers: &Tiers,
        last: Seq,
        stop: &dyn Fn() -> bool,
    ) -> Result<Arc<View>, Error> {
        loop {
            if stop() {
                return Err(Error::Stopped);
            }
            let view = tiers.view();
            if view.position.sealed_through != self.base || !self.is_without(&view) {
                self.reset(&view);
            }
            if last <= self.through || self.is_full {
                self.through = self.through.max(last);
                return Ok(view);
            }
            let next = last.min(self.through + STRIDE);
            let is_overtaken = self.read_on(tiers, &view, next)?;
            if self.takes_too_much() {
                self.by_account = HashMap::new();
                self.is_full = true;
            }
            if is_overtaken && tiers.view().position.sealed_through == self.base {
                return Err(Error::Damaged {
                    place: format!("record {} of the log", self.through + 1),
                    why: "it is neither in the hot end nor sealed".to_owned(),
                });
            }
        }
    }

    /// Reads up to `next`, or until it takes too much; whether what comes was sealed meanwhile.
    fn read_on(&mut self, tiers: &Tiers, view: &View, next: Seq) -> Result<bool, Error> {
        let (mut is_overtaken, mut unlooked) = (true, 0);
        tiers.hot_batches(self.through + 1..=next, Order::Ascending, &mut |batch, _| {
            is_overtaken = batch.first_seq() > self.through + 1;
            if is_overtaken {
                return Ok(ControlFlow::Break(()));
            }
            for entry in batch.records() {
                let (seq, record) = entry.map_err(|error| Error::Damaged {
                    place: format!("the batch that ends before record {}", batch.end_seq()),
                    why: error.0.to_owned(),
                })?;
                if seq <= self.through || next < seq {
                    continue;
                }
                self.through = seq;
                let Some(account) = record.change.sender() else { continue };
                if !view.erasures.take(seq, &record) {
                    let hot = self.by_account.entry(account);
                    hot.or_insert_with(|| Hot::new(account)).put(seq, &record);
                }
                unlooked += text_bytes(&record.change);
                if unlooked >= LOOK_BYTES {
                    unlooked = 0;
                    if self.takes_too_much() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(is_overtaken)
    }

    fn takes_too_much(&self) -> bool {
        self.by_account.values().map(Hot::bytes).sum::<usize>() > NEWEST_BYTES_MAX
    }

    /// Whether nothing is in here that an erasure takes which came since.
    fn is_without(&mut self, view: &View) -> bool {
        if Arc::ptr_eq(&self.erasures, &view.erasures) {
            return true;
        }
        let accounts = self.by_account.keys();
        let is_without = accounts.into_iter().all(|account| !view.erasures.concern(*account));
        if is_without {
            self.erasures = Arc::clone(&view.erasures);
        }
        is_without
    }
}

/// Bytes of what somebody may make long in a record.
fn text_bytes(change: &Change<'_>) -> usize {
    match change {
        Change::Event(event) => event.attributes.len() + event.context.map_or(0, str::len),
        Change::User(user) => user.patch.len(),
        _ => 0,
    }
}

/// What came of asking about the hot end.
pub(super) struct Asked {
    /// What readers are to go by for all that is sealed.
    pub view: Arc<View>,
    /// Which stretch of the log was asked about: what comes behind that.
    pub range: RangeInclusive<Seq>,
    /// What was answered.
    pub answered: Result<(), IndexError>,
}

impl Store {
    /// Brings what is known of the hot end up to date, and asks it about an account, of which there may be
    /// nothing. Others who ask wait meanwhile.
    pub(super) fn with_newest(
        &self,
        account: AccountId,
        stop: &dyn Fn() -> bool,
        ask: impl FnOnce(Option<&mut Hot>) -> Result<(), IndexError>,
    ) -> Result<Asked, Error> {
        let last = self.last_seq();
        let mut read = self.newest.lock();
        let followed = read.follow(&self.tiers, last, stop);
        self.newest.note(&read);
        let view = followed?;
        let range = read.base + 1..=read.through;
        let answered = if read.is_full {
            Err(IndexError::NotKept("the hot end takes too much memory"))
        } else {
            ask(read.by_account.get_mut(&account))
        };
        Ok(Asked { view, range, answered })
    }

    /// Brings what is known of the hot end up to date, piece by piece.
    ///
    /// # Errors
    /// [`Error`] if the hot end can't be read or is damaged.
    pub fn follow(&self, pace: &Pace<'_>) -> Result<(), Error> {
        self.follow_while(pace, || Some(self.newest.lock()))
    }

    /// The same until somebody else is at it, whom the rest is left to: threads of questions give way to all
    /// others, so that whoever waits for one may wait for long.
    pub(super) fn follow_if_free(&self, pace: &Pace<'_>) -> Result<(), Error> {
        self.follow_while(pace, || self.newest.try_lock())
    }

    fn follow_while<'s>(
        &'s self,
        pace: &Pace<'_>,
        mut lock: impl FnMut() -> Option<MutexGuard<'s, Read>>,
    ) -> Result<(), Error> {
        let last = self.last_seq();
        let mut through = 0;
        while through < last && (pace.go_on)() {
            let Some(mut read) = lock() else { return Ok(()) };
            let next = last.min(read.through + STRIDE);
            read.follow(&self.tiers, next, &|| false)?;
            self.newest.note(&read);
            through = read.through;
        }
        Ok(())
    }

    /// Forgets what is known of the hot end, to read it anew.
    pub(super) fn forget_newest(&self) {
        let mut read = self.newest.lock();
        *read = Read::default();
        self.newest.note(&read);
    }

    /// As if what is known of the hot end took too much memory.
    #[cfg(test)]
    pub(super) fn fill_newest(&self) {
        let mut read = self.newest.lock();
        read.reset(&self.tiers.view());
        read.is_full = true;
        self.newest.note(&read);
    }

    /// Reads it anew, but keeps what took too much: the bytes of memory that took.
    #[cfg(test)]
    pub(super) fn read_newest_until_full(&self) -> Result<usize, Error> {
        let (mut read, view) = (Read::default(), self.tiers.view());
        read.reset(&view);
        while read.through < self.last_seq() && !read.takes_too_much() {
            let next = self.last_seq().min(read.through + STRIDE);
            read.read_on(&self.tiers, &view, next)?;
        }
        Ok(read.by_account.values().map(Hot::bytes).sum())
    }

    /// Records of the hot end that weren't read yet.
    pub(super) fn unread(&self, view: &View) -> u64 {
        let through = self.newest.through.load(SeqCst);
        self.last_seq().saturating_sub(through.max(view.position.sealed_through))
    }
}
