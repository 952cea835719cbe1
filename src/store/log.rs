//! The log behind its narrow seam: append batches, read records from a `seq`.
//!
//! Everything above it (committer, state, readers) asks for no more than [`Log`]. Here it lies in tiers: see `tiers`.
//! Where several servers share it, each has all of it like that, and another engine says in which order: see `shared`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{ControlFlow, RangeInclusive};

use super::Error;
use super::batch::EncodedBatch;
use crate::model::{AccountId, Date, EventFilter, Record, Seq};

/// In which order records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// What a visitor of records says after each: go on or stop, or what went wrong.
pub type Step = Result<ControlFlow<()>, Error>;

/// What is shown each record.
pub type Visit<'v> = &'v mut dyn FnMut(Seq, &Record<'_>) -> Step;

/// Which part of the log is read. All but the range are hints: they let a reader leave out what can't
/// matter, and he may still be shown some of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// These positions.
    pub range: RangeInclusive<Seq>,
    /// Records of this account only.
    pub account: Option<AccountId>,
    /// Events or updates of this user only.
    pub user_id: Option<String>,
    /// Events from this date on only; asks for no updates of users.
    pub from: Option<Date>,
    /// Events before this date only; asks for no updates of users.
    pub to: Option<Date>,
    /// Events of this type only, where [`Selection::kind`] is of events; asks for no keys of submissions.
    pub event_type: Option<String>,
    /// One kind only; one of events asks for no keys of submissions.
    pub kind: Option<Kind>,
    /// Also what is said of accounts and of the store itself, in the sealed part of the log.
    pub controls: bool,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something happened.
    Events,
    /// Whatever the keyed state follows from: a user was described, or a submission had a key.
    State,
    /// Neither: only what is said of accounts and of the store itself.
    None,
}

impl Selection {
    /// All records of a range.
    #[must_use]
    pub fn of(range: RangeInclusive<Seq>) -> Selection {
        Selection {
            range,
            account: None,
            user_id: None,
            from: None,
            to: None,
            event_type: None,
            kind: None,
            controls: true,
        }
    }

    /// The same, of one account's events.
    #[must_use]
    pub fn events_of(self, account: AccountId) -> Selection {
        let kind = Some(Kind::Events);
        Selection { account: Some(account), kind, controls: false, ..self }
    }

    /// The events that a filter may want, wherever they lie.
    #[must_use]
    pub fn matching(filter: &EventFilter) -> Selection {
        let EventFilter { account, kind, user_id, from, to } = filter;
        let all = Selection::of(1..=Seq::MAX).events_of(*account);
        let (event_type, user_id) = (kind.clone(), user_id.clone());
        Selection { event_type, user_id, from: *from, to: *to, ..all }
    }

    /// The same, within a range.
    #[must_use]
    pub fn within(self, range: RangeInclusive<Seq>) -> Selection {
        Selection { range, ..self }
    }
}

/// What could not be read and was left out, since it is damaged. Shown, it is a sentence for the person
/// who runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Records, at the most: what was looked for need not have been among them.
    pub records: u64,
    /// The files under `segments/` that are damaged.
    pub files: BTreeSet<String>,
}

impl Missing {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.records == 0
    }

    /// Adds records of a file.
    pub(super) fn add(&mut self, records: u64, file: String) {
        self.records += records;
        self.files.insert(file);
    }

    /// Adds what was missing elsewhere.
    pub(super) fn join(&mut self, other: Missing) {
        self.records += other.records;
        self.files.extend(other.files);
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Files that are named.
        const NAMED_MAX: usize = 3;
        let records = if self.records == 1 { "record" } else { "records" };
        write!(f, "up to {} {records} could not be read, because of damage in ", self.records)?;
        for (number, file) in self.files.iter().take(NAMED_MAX).enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}segments/{file}")?;
        }
        match self.files.len().saturating_sub(NAMED_MAX) {
            0 => {}
            others => write!(f, " and {others} more")?,
        }
        f.write_str("; `triggerly verify` tells what to do")
    }
}

/// An append-only sequence of records.
pub trait Log: Send + Sync {
    /// The `seq` that the next record will get.
    fn next_seq(&self) -> Seq;

    /// Puts batches behind all others, all of them or none. They are read from then on, and durable
    /// after the next flush.
    ///
    /// # Errors
    /// [`Error`] if they could not be written; then nothing is known about them.
    ///
    /// # Panics
    /// If they don't follow on [`Log::next_seq`]: there is one appending thread, and it knows.
    fn append(&self, batches: &[EncodedBatch]) -> Result<(), Error>;

    /// Shows `visit` the selected records in either order, in bounded memory. What is erased may still
    /// be among them. A sealed part that is damaged is left out, and counted.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or its hot end is damaged, and whatever `visit` returns.
    fn read(&self, selection: &Selection, order: Order, visit: Visit<'_>)
    -> Result<Missing, Error>;
}
