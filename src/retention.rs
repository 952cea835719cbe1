//! Retention: from which date on an account's events are kept, and what has to go by now.
//!
//! An event's age counts from its date, or from its arrival where its date lies behind that; which
//! those are is said by [`Erasures::take`](crate::model::Erasures::take) alone. Users stay, with all that was merged into them.

use crate::model::Date;
use crate::model::erasure::Scope;
use crate::store::{Draft, Error, Store};

/// Days for which events can be kept, at the most: a hundred years. Who wants more wants for ever.
pub const DAYS_MAX: u32 = 36_500;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What has to go `now` where events are kept for so many days.
#[must_use]
pub fn expired(days: u32, now: Date) -> Scope {
    Scope::Expired { before: kept_from(days, now) }
}

fn kept_from(days: u32, now: Date) -> Date {
    Date::from_millis(now.millis().saturating_sub(i64::from(days) * DAY_MILLIS))
}

/// The erasures that are due `now`: one for each account that keeps its events for so many days and
/// has older ones.
///
/// # Errors
/// [`Error`] if the store can't be read.
pub fn due(store: &Store, now: Date) -> Result<Vec<Draft>, Error> {
    let mut due = Vec::new();
    for account in store.accounts().list() {
        let Some(days) = account.retention_days else { continue };
        if store.has_events_before(account.id, kept_from(days, now))? {
            due.push(Draft::event_erasure(account.id, expired(days, now), now));
        }
    }
    Ok(due)
}
