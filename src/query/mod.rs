//! Questions about an account's events: counts, breakdowns, steps, coming back.
//!
//! Each is a checked struct that is answered from a [`Store`] by one with a JSON form. Knows the store, the
//! schema and the model; must not know HTTP, nor how a question is spelled beyond the words of its parts.
//!
//! Promises that an answer is of what was durable when it was asked for, takes bounded memory, ends soon when
//! it is told to stop, and that a question that would read more events than its [`Stop`] allows is refused before
//! it reads them.

pub mod breakdown;
mod count;
pub mod event;
pub mod events;
pub mod funnel;
pub mod interval;
pub mod live;
pub mod measure;
mod numbering;
pub mod retention;
pub mod sample;
mod sieve;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod timeline;
pub mod tops;
pub mod totals;
#[cfg(test)]
mod trial;
pub mod types;
pub mod users;

use std::ops::ControlFlow;

use crate::context;
use crate::model::record::Event;
use crate::model::{AccountId, Date, EventFilter, Overrides};
use crate::schema::Clause;
use crate::store::{self, Answers, Columns, Missing, Piece, Scan, Store};

pub use crate::store::Stop;
pub use interval::{Interval, Zone};
use sieve::Sieve;

/// Events that a question reads in one walk, at the most: those of the segments that may hold what it asks for.
pub const READ_ROWS_MAX: u64 = 20_000_000;

/// The same of a question that is to be answered at once. One that reads more has to wait for others that do.
pub const READ_ROWS_LIGHT: u64 = 200_000;

/// Records or users that one page looks at, at the most. Records that are skipped aren't looked at: see
/// [`Store::select_some`].
pub const WALK_MAX: u64 = 1_000_000;

/// Bytes of rows after which a page ends.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A parameter makes no sense.
    #[error("the parameter `{name}` {why}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it should be, after its name.
        why: String,
    },
    /// The question goes over a bound; the sentence names it and what to narrow.
    #[error("{0}")]
    TooLarge(String),
    /// It would read more than it may.
    #[error(
        "up to {rows} events would have to be read, and {rows_max} are the most that one question reads; \
         {what_to_do}"
    )]
    TooMuch {
        /// How much.
        rows: u64,
        /// How much it may.
        rows_max: u64,
        /// What to narrow.
        what_to_do: &'static str,
    },
    /// The store can't be read.
    #[error(transparent)]
    Store(store::Error),
    /// It was told to stop.
    #[error("the server is stopping; ask again soon")]
    Stopping,
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        match error {
            store::Error::Stopped => Failure::Stopping,
            store::Error::TooMuch { rows, rows_max } => {
                let what_to_do = "narrow it with `from` and `to` if it has them, or ask again when all is indexed and \
                                  what was erased is gone";
                Failure::TooMuch { rows, rows_max, what_to_do }
            }
            error => Failure::Store(error),
        }
    }
}

/// What to do about a question that reads all that it asks about.
fn narrow(error: store::Error) -> Failure {
    match Failure::from(error) {
        Failure::TooMuch { rows, rows_max, .. } => {
            Failure::TooMuch { rows, rows_max, what_to_do: "narrow it with `from` and `to`" }
        }
        failure => failure,
    }
}

/// What a question may ask the store itself.
pub fn answers<'s>(store: &'s Store, stop: &'s Stop<'s>) -> Answers<'s> {
    Answers { store, stop }
}

/// Which events a question is about.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose.
    pub account: AccountId,
    /// Of this type.
    pub kind: Option<String>,
    /// Of this user.
    pub user_id: Option<String>,
    /// From this date on.
    pub from: Option<Date>,
    /// Before this date.
    pub to: Option<Date>,
    /// All of these hold of their attributes.
    pub clauses: Vec<Clause>,
    /// Whether those of bots and prefetches count too.
    pub bots: bool,
}

/// Adds the columns that clauses look at.
fn read_for(clauses: &[Clause], columns: &mut Columns) {
    for clause in clauses {
        // Which types are set is said of a type of events.
        columns.kinds = true;
        columns.contexts |= clause.is_of_context();
        columns.attributes |= !clause.is_of_context();
    }
}

/// What is shown events: a piece, and the rows of it that pass, ascending. There is at least one.
pub type Visit<'v> = &'v mut dyn FnMut(&Piece<'_>, &[u32]) -> Result<(), Failure>;

impl Filter {
    /// All of an account's events, bots' too.
    #[must_use]
    pub fn of(account: AccountId) -> Filter {
        Filter {
            account,
            kind: None,
            user_id: None,
            from: None,
            to: None,
            clauses: Vec::new(),
            bots: true,
        }
    }

    /// Whether it asks for nothing but type, time and bots, which the store counts by itself.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.clauses.is_empty() && self.user_id.is_none()
    }

    /// Whether an event passes.
    #[must_use]
    pub fn wants(&self, event: &Event<'_>, overrides: &Overrides) -> bool {
        event.account == self.account
            && self.kind.as_deref().is_none_or(|kind| kind == event.kind)
            && self.user_id.as_deref().is_none_or(|id| Some(id) == event.user_id)
            && self.from.is_none_or(|from| from <= event.date)
            && self.to.is_none_or(|to| event.date < to)
            && (self.bots || !event.context.is_some_and(context::is_nobodys))
            && (self.clauses.is_empty() || {
                let overrides = overrides.of_events(event.kind);
                self.clauses
                    .iter()
                    .all(|clause| clause.holds_of_event(event.attributes, event.context, overrides))
            })
    }

    /// The part of it that the store can be asked by; others than it wants pass it too.
    #[must_use]
    pub fn plain(&self) -> EventFilter {
        EventFilter {
            account: self.account,
            kind: self.kind.clone(),
            user_id: self.user_id.clone(),
            from: self.from,
            to: self.to,
        }
    }

    /// A scan of what it asks for, to be narrowed further; [`Filter::read`] adds the columns that it looks at
    /// itself.
    #[must_use]
    pub fn scan(&self, columns: Columns) -> Scan {
        Scan {
            from: self.from,
            to: self.to,
            kinds: self.kind.clone().map(|kind| vec![kind]),
            columns,
            ..Scan::of(self.account)
        }
    }

    /// Shows `visit` the events of a scan (of [`Filter::scan`]) that pass, in pieces, ascending by `seq`. Says how
    /// much was left out because it is damaged.
    ///
    /// # Errors
    /// [`Failure`], also that of `visit`.
    pub fn read(
        &self,
        store: &Store,
        mut scan: Scan,
        stop: &Stop<'_>,
        visit: Visit<'_>,
    ) -> Result<Missing, Failure> {
        // One user's events are found without reading others'.
        if self.user_id.is_none() {
            stop.take(store.rows_to_scan(&scan)).map_err(narrow)?;
        }
        scan.columns.users |= self.user_id.is_some();
        scan.columns.contexts |= !self.bots;
        read_for(&self.clauses, &mut scan.columns);
        let mut sieve = Sieve::new(self, store);
        let mut failure = None;
        let mut step = |piece: &Piece<'_>| {
            stop.check()?;
            Ok(match sieve.show(piece, visit) {
                Ok(()) => ControlFlow::Continue(()),
                Err(why) => {
                    failure = Some(why);
                    ControlFlow::Break(())
                }
            })
        };
        let missing = match &self.user_id {
            Some(id) => store.scan_of_user(&scan, id, stop, &mut step)?,
            None => store.scan(&scan, stop.asked(), &mut step)?,
        };
        failure.map_or(Ok(missing), Err)
    }
}
