//! One event, by its position in the log: as it was sent, and which of the same user's stand beside it.

use std::ops::{ControlFlow, RangeInclusive};

use super::{Failure, Stop};
use crate::model::record::Via;
use crate::model::{AccountId, Change, Date, EventFilter, Record, Seq};
use crate::store::{Order, Selection, Store};

/// An event, as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its position.
    pub seq: Seq,
    /// When it arrived.
    pub received_at: Date,
    /// How it came.
    pub via: Via,
    /// Its type.
    pub kind: String,
    /// Whose it is.
    pub user_id: Option<String>,
    /// When it happened.
    pub date: Date,
    /// One JSON object, as sent.
    pub attributes: String,
    /// What is known of the circumstances, one JSON object.
    pub context: Option<String>,
}

/// The events of the same user beside one, by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The last one before it.
    pub before: Option<Seq>,
    /// The first one after it.
    pub after: Option<Seq>,
}

/// An account's event at a position, if there is one and it isn't erased.
///
/// # Errors
/// [`Failure`].
pub fn find(store: &Store, account: AccountId, seq: Seq) -> Result<Option<Found>, Failure> {
    let of_account = EventFilter { account, kind: None, user_id: None, from: None, to: None };
    let mut found = None;
    let selection = Selection::matching(&of_account).within(seq..=seq);
    store.select(&selection, Order::Ascending, &mut |seq, record: &Record<'_>| {
        if let Change::Event(event) = &record.change
            && event.account == account
        {
            found = Some(Found {
                seq,
                received_at: record.received_at,
                via: event.via,
                kind: event.kind.to_owned(),
                user_id: event.user_id.map(str::to_owned),
                date: event.date,
                attributes: event.attributes.to_owned(),
                context: event.context.map(str::to_owned),
            });
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// What stands beside the event of a user.
///
/// # Errors
/// [`Failure`], also if records would have to be read that no index leads to, and more than may be.
pub fn beside(
    store: &Store,
    account: AccountId,
    user_id: &str,
    seq: Seq,
    stop: &Stop<'_>,
) -> Result<Beside, Failure> {
    let first = |order, range: RangeInclusive<Seq>| -> Result<Option<Seq>, Failure> {
        let mut first = None;
        if !range.is_empty() {
            store.of_user(account, user_id, order, range, stop, &mut |seq, record| {
                match &record.change {
                    Change::Event(_) => first = Some(seq),
                    _ => return Ok(ControlFlow::Continue(())),
                }
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(first)
    };
    Ok(Beside {
        before: first(Order::Descending, 1..=seq.saturating_sub(1))?,
        after: first(Order::Ascending, seq.saturating_add(1)..=Seq::MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::trial::{ACCOUNT, Trial, event};

    #[test]
    fn an_event_and_what_stands_beside_it() {
        let trial = Trial::new();
        let attributes = r#"{"z":1.0,"a":1}"#;
        let first = trial.put(vec![
            event("a", Some("u"), 3, attributes, Some(r#"{"page":"p"}"#)),
            event("b", Some("v"), 2, "{}", None),
            event("c", Some("u"), 1, "{}", None),
        ]);
        for is_sealed in [false, true] {
            if is_sealed {
                trial.seal();
            }
            let at = |seq| find(&trial.store, ACCOUNT, seq).unwrap();
            let found = at(first).unwrap();
            assert_eq!((found.seq, found.kind.as_str()), (first, "a"));
            assert_eq!(found.user_id.as_deref(), Some("u"));
            assert_eq!(
                (found.date, found.received_at),
                (Date::from_millis(3), Date::from_millis(3))
            );
            assert_eq!(found.attributes, attributes, "as it was sent");
            assert_eq!(found.context.as_deref(), Some(r#"{"page":"p"}"#));
            assert!([0, ACCOUNT.0, first + 3, Seq::MAX].map(at).iter().all(Option::is_none));
            assert_eq!(find(&trial.store, AccountId(2), first).unwrap(), None, "another's");
            let of = |user: &str, seq| {
                let beside = beside(&trial.store, ACCOUNT, user, seq, &Stop::never()).unwrap();
                (beside.before, beside.after)
            };
            assert_eq!(of("u", first), (None, Some(first + 2)), "by position, not by date");
            assert_eq!(of("u", first + 2), (Some(first), None));
            assert_eq!(of("v", first + 1), (None, None));
            assert_eq!(
                (of("u", 0), of("u", Seq::MAX)),
                ((None, Some(first)), (Some(first + 2), None))
            );
        }
    }
}
