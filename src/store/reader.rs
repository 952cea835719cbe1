//! Reading: users and accounts by key, records by `seq`, always streamed.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use super::log::{Missing, Order, Selection, Step, Visit};
use super::state::{UserEntry, UserText};
use super::{Error, Store};
use crate::model::erasure::Scope;
use crate::model::record::Progress;
use crate::model::{AccountId, Date, Erasures, Record, Seq, User};

/// Records after which a reader looks for erasures that came meanwhile.
const ERASURES_EVERY: u32 = 1_024;

/// How much lies on disk, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of every file in the data directory, as the file system accounts for them.
    pub disk_bytes: u64,
    /// Bytes of sled's files: the hot end of the log, and the keyed state.
    pub hot_bytes: u64,
    /// Sealed segments.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Segments that have no index yet: questions about what they hold take longer.
    pub segments_unindexed: usize,
    /// Bytes of indexes.
    pub index_bytes: u64,
    /// Up to where the log is sealed.
    pub sealed_through: Seq,
    /// Up to where the log is certainly applied to the keyed state.
    pub applied: Seq,
    /// Erasures that aren't done at rest yet.
    pub erasures_pending: usize,
}

impl Store {
    /// A user's merged state.
    ///
    /// # Errors
    /// [`Error`] if it can't be read or is damaged.
    pub fn user(&self, account: AccountId, id: &str) -> Result<Option<User>, Error> {
        self.tiers.hot().state.user(account, id)
    }

    /// An account's users in the order of their ids (as bytes), those behind `after` if given.
    pub fn users(
        &self,
        account: AccountId,
        after: Option<&str>,
    ) -> impl Iterator<Item = Result<UserEntry, Error>> + use<> {
        self.tiers.hot().state.users(account, after)
    }

    /// Shows `visit` an account's users in the order of their ids (as bytes), those behind `behind` if given,
    /// until it says to stop. They aren't parsed, so that all can be looked through at once.
    ///
    /// # Errors
    /// [`Error`] if they can't be read or are damaged, and whatever `visit` returns.
    pub fn each_user(
        &self,
        account: AccountId,
        order: Order,
        behind: Option<&str>,
        visit: &mut dyn FnMut(&UserText<'_>) -> Step,
    ) -> Result<(), Error> {
        self.tiers.hot().state.each_user(account, order, behind, visit)
    }

    /// How far imports of users, or of events, into an account have come.
    ///
    /// # Errors
    /// [`Error`] if it can't be read or is damaged.
    pub fn imports(&self, account: AccountId, users: bool) -> Result<Vec<Progress>, Error> {
        self.tiers.hot().state.imports(account, users)
    }

    /// Shows `visit` the durable records that are selected, in order, until it says to stop. What is
    /// erased isn't among them. Says how much was left out because it is damaged.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or its hot end is damaged, and whatever `visit` returns.
    pub fn select(
        &self,
        selection: &Selection,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<Missing, Error> {
        self.select_some(selection, order, u64::MAX, visit).map(|(missing, _)| missing)
    }

    /// As [`Store::select`], of one account's events, but reads no more than takes about as long as `most` records
    /// that are read one by one. If that isn't all, says behind which position the next selection is to go on:
    /// everything up to there was shown, `visit` having stopped nowhere.
    ///
    /// # Errors
    /// As [`Store::select`].
    pub fn select_some(
        &self,
        selection: &Selection,
        order: Order,
        most: u64,
        visit: Visit<'_>,
    ) -> Result<(Missing, Option<Seq>), Error> {
        let (start, end) = (*selection.range.start(), *selection.range.end());
        let selection = Selection { range: start..=end.min(self.last_seq()), ..selection.clone() };
        if selection.range.is_empty() {
            return Ok((Missing::default(), None));
        }
        let mut view = self.tiers.view();
        let mut since = 0;
        self.tiers.read_some(&selection, order, most, &mut |seq: Seq,
                                                            record: &Record<'_>|
         -> Step {
            since += 1;
            if since == ERASURES_EVERY {
                since = 0;
                view = self.tiers.view();
            }
            if view.erasures.take(seq, record) {
                return Ok(ControlFlow::Continue(()));
            }
            visit(seq, record)
        })
    }

    /// How many events there are, without looking at what is sealed; those that are erased but not yet
    /// gone count.
    ///
    /// # Errors
    /// [`Error`] if the hot end can't be read or is damaged.
    pub fn event_count(&self) -> Result<u64, Error> {
        let view = self.tiers.view();
        let mut events = view.all().map(|sealed| sealed.summary.events).sum();
        let from = view.position.sealed_through + 1;
        let hot = Selection::of(from..=Seq::MAX);
        self.select(&hot, Order::Ascending, &mut |_, record| {
            events += u64::from(matches!(record.change, crate::model::Change::Event(_)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(events)
    }

    /// Whether an account has an event that counts as older than a date: by its own date, or by its
    /// arrival if it claims to come from after it.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or is damaged.
    pub fn has_events_before(&self, account: AccountId, before: Date) -> Result<bool, Error> {
        let erasure = Erasures::of(account, Scope::Expired { before });
        let events = Selection::of(1..=Seq::MAX).events_of(account);
        let older = Selection { to: Some(before), ..events };
        let mut found = false;
        self.select(&older, Order::Ascending, &mut |seq, record| {
            found = erasure.take(seq, record);
            Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// Bytes of the log's hot end.
    #[must_use]
    pub fn hot_bytes(&self) -> u64 {
        self.tiers.hot_bytes()
    }

    /// Wakes a thread whenever the hot end has grown enough to be sealed. The first one to ask is it.
    pub fn wake_when_hot(&self, thread: std::thread::Thread) {
        self.tiers.wake_when_hot(thread);
    }

    /// The files that were found damaged, and why. What they hold is left out of every answer.
    #[must_use]
    pub fn damage(&self) -> Vec<(String, String)> {
        self.tiers.damage()
    }

    /// How much lies on disk.
    ///
    /// # Errors
    /// [`Error`] if the manifest can't be read.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        let (view, hot) = (self.tiers.view(), self.tiers.hot());
        Ok(Sizes {
            disk_bytes: disk_bytes(self.dir()),
            hot_bytes: disk_bytes(hot.path()),
            segments: view.all().count(),
            segment_bytes: view.all().map(|sealed| sealed.summary.bytes).sum(),
            segments_unindexed: view.all().filter(|sealed| sealed.index().is_none()).count(),
            index_bytes: view.all().filter_map(|sealed| Some(sealed.index()?.bytes)).sum(),
            sealed_through: view.position.sealed_through,
            applied: hot.state.marked(),
            erasures_pending: super::manifest::pending(&hot.manifest)?.len(),
        })
    }
}

/// What can't be looked at (removed a moment ago, say) counts as nothing.
pub(super) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| if meta.is_dir() { disk_bytes(&path) } else { meta.blocks() * 512 })
        .sum()
}
