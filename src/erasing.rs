//! Erasing: how much of an account a person or a program asks to have gone, and the change that does it.
//!
//! What is counted is asked of the same predicate that hides it afterwards
//! ([`Erasures::take`]). Must not know who asks, nor how it is answered.

use std::ops::ControlFlow;

use crate::model::erasure::{Digest, Scope};
use crate::model::{AccountId, Change, Date, Erasures, EventFilter, Id, Seq};
use crate::store::{Draft, Error, Order, Selection, Store};

/// What is to be gone, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A user, and all events of that user.
    User {
        /// Whose.
        account: AccountId,
        /// Which.
        id: Id,
    },
    /// The events that a filter wants.
    Events(EventFilter),
}

/// How much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Users: one or none.
    pub users: u64,
    /// Events.
    pub events: u64,
    /// Records that could not be looked at, since they are damaged: some may belong to it.
    pub missing: u64,
}

impl Count {
    /// Whether there is nothing to erase.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Count::default()
    }
}

impl Target {
    /// Whose.
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            Target::User { account, .. } => *account,
            Target::Events(filter) => filter.account,
        }
    }

    /// Counts by one walk through the log, for as long as `go_on` says; `None` if it was ended.
    ///
    /// # Errors
    /// [`Error`] if the store can't be read.
    pub fn count(&self, store: &Store, go_on: &dyn Fn() -> bool) -> Result<Option<Count>, Error> {
        let (account, scope) = self.scope();
        let users = match self {
            Target::User { account, id } => u64::from(store.user(*account, id.as_str())?.is_some()),
            Target::Events(_) => 0,
        };
        let erasure = Erasures::of(account, scope);
        let mut events = 0;
        let mut ended = false;
        let missing = store.select(&self.selection(), Order::Ascending, &mut |seq, record| {
            ended = !go_on();
            let is_event = matches!(record.change, Change::Event(_));
            events += u64::from(is_event && erasure.take(seq, record));
            Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok((!ended).then_some(Count { users, events, missing: missing.records }))
    }

    /// The change that erases it, with whatever of it came meanwhile.
    #[must_use]
    pub fn draft(self, at: Date) -> Draft {
        let (account, scope) = self.scope();
        match self {
            Target::User { account, id } => Draft::user_erasure(account, id, at),
            Target::Events(_) => Draft::event_erasure(account, scope, at),
        }
    }

    fn selection(&self) -> Selection {
        match self {
            Target::User { account, id } => Selection {
                user_id: Some(id.as_str().to_owned()),
                ..Selection::of(1..=Seq::MAX).events_of(*account)
            },
            Target::Events(filter) => Selection::matching(filter),
        }
    }

    fn scope(&self) -> (AccountId, Scope) {
        match self {
            Target::User { account, id } => {
                (*account, Scope::User(Digest::of_user(*account, id.as_str())))
            }
            Target::Events(EventFilter { account, kind, user_id, from, to }) => {
                let kind = kind.as_deref().map(|kind| Digest::of_kind(*account, kind));
                let user_id = user_id.as_deref().map(|id| Digest::of_user(*account, id));
                (*account, Scope::Events { kind, user_id, from: *from, to: *to })
            }
        }
    }
}
