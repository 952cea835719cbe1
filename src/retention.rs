//! Retention: from which date on an account's events are kept, and what has to go by now.
//!
//! An event's age counts from its date, or from its arrival where its date lies behind that; which
//! those are is said by [`Erasures::take`](crate::model::Erasures::take) alone. Users stay, with all that was merged into them.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use crate::model::erasure::Scope;
use crate::model::{AccountId, Change, Date, Erasures, Seq};
use crate::store::{Draft, Error, HOUR_MILLIS, Order, Selection, Standing, Store};
use crate::view::EventView;

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
    // Servers that share a log look at different moments. All who do so within an hour mean the same erasure, so that there
    // is nothing left to be erased for those who come later.
    let now = match store.standing() {
        Standing::Alone => now,
        _ => Date::from_millis(now.millis() - now.millis().rem_euclid(HOUR_MILLIS)),
    };
    let mut due = Vec::new();
    for account in store.accounts().list() {
        let Some(days) = account.retention_days else { continue };
        if store.has_events_before(account.id, kept_from(days, now))? {
            due.push(Draft::event_erasure(account.id, expired(days, now), now));
        }
    }
    Ok(due)
}

/// How much a retention would take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Going {
    /// Events.
    pub events: u64,
    /// Bytes of these as they are exported.
    pub bytes: u64,
    /// Records that could not be looked at, since they are damaged.
    #[serde(skip_serializing_if = "crate::view::is_zero")]
    pub missing: u64,
}

impl Going {
    /// Counts what would go `now` if an account's events were kept for so many days, by one walk through the old
    /// part of the log, for as long as `go_on` says; `None` if it was ended.
    ///
    /// # Errors
    /// [`Error`] if the store can't be read.
    pub fn count(
        store: &Store,
        account: AccountId,
        days: u32,
        now: Date,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Going>, Error> {
        let (mut going, mut ended) = (Going::default(), false);
        let scope = expired(days, now);
        let erasure = Erasures::of(account, scope);
        let mut events = Selection::of(1..=Seq::MAX).events_of(account);
        if let Scope::Expired { before } = scope {
            events.to = Some(before);
        }
        let missing = store.select(&events, Order::Ascending, &mut |seq, record| {
            if !go_on() {
                ended = true;
                return Ok(ControlFlow::Break(()));
            }
            if let Change::Event(event) = &record.change
                && erasure.take(seq, record)
            {
                going.events += 1;
                let view = EventView::new(seq, record, event).with_via(event);
                going.bytes +=
                    line_bytes(&view).map_err(|error| Error::damaged_record(seq, &error))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        going.missing = missing.records;
        Ok((!ended).then_some(going))
    }
}

/// Bytes of a line of JSON, its end included.
fn line_bytes(value: &impl Serialize) -> Result<u64, serde_json::Error> {
    struct Counter(u64);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(1);
    serde_json::to_writer(&mut counter, value)?;
    Ok(counter.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Opened;
    use crate::auth;
    use crate::model::record::Event;
    use crate::model::{AccountId, AccountName, Change, Id, Object, Seq, Via};
    use crate::store::{Answers, Directory, Order, Pace, Scan, Selection, Stop, Urgency};
    use std::ops::ControlFlow;

    const NOW: i64 = 1_000 * DAY_MILLIS;

    fn date(days_ago: i64) -> Date {
        Date::from_millis(NOW - days_ago * DAY_MILLIS)
    }

    /// Submits one draft; where it lies.
    fn put(opened: &Opened, draft: Draft) -> Seq {
        opened.writer.submit_and_wait(vec![draft]).expect("stored").first_seq
    }

    fn account(opened: &Opened, name: &str) -> AccountId {
        let name = AccountName::new(name).expect("a name");
        let token = auth::new_api_token().expect("randomness");
        let (_, hash) = auth::new_secret_key().expect("randomness");
        AccountId(put(opened, Draft::account(name, token, hash, date(900))))
    }

    fn event(opened: &Opened, account: AccountId, happened: Date, came: Date) -> Seq {
        let via = Via::Secret;
        let (user_id, context) = (None, None);
        let (kind, date, attributes) = ("e", happened, "{}");
        let event = Event { account, via, kind, user_id, date, attributes, context };
        put(opened, Draft::event(event, came))
    }

    fn events(opened: &Opened) -> Vec<Seq> {
        let mut seqs = Vec::new();
        let visit = &mut |seq, record: &crate::model::Record<'_>| {
            seqs.extend(matches!(record.change, Change::Event(_)).then_some(seq));
            Ok(ControlFlow::Continue(()))
        };
        let all = Selection::of(1..=Seq::MAX);
        opened.store.select(&all, Order::Ascending, visit).expect("readable");
        seqs
    }

    #[test]
    fn what_is_due_goes_and_is_due_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Opened::open(Directory::lock(dir.path()).unwrap()).unwrap();
        let now = Date::from_millis(NOW);
        let due = || due(&opened.store, now).expect("readable");
        let (mine, other) = (account(&opened, "mine"), account(&opened, "other"));
        let just_older = Date::from_millis(NOW - 10 * DAY_MILLIS - 1);
        let gone = [
            event(&opened, mine, just_older, now),
            event(&opened, mine, date(500), date(0)),
            // Dates that lie behind the arrival count for nothing.
            event(&opened, mine, date(-500), just_older),
            event(&opened, mine, date(0), date(500)),
        ];
        let stays = [
            event(&opened, mine, date(10), now),
            event(&opened, mine, date(0), date(10)),
            event(&opened, mine, date(-500), date(0)),
            event(&opened, other, date(500), date(500)),
        ];
        let id = Id::new("old").unwrap();
        put(&opened, Draft::user(mine, Via::Secret, &id, &Object::new(), None, date(900)));
        assert_eq!(due().len(), 0, "events are kept for ever, unless it is set");

        put(&opened, Draft::retention(mine, Some(10), now));
        let drafts = due();
        assert_eq!(drafts.len(), 1);
        opened.writer.submit_and_wait(drafts).unwrap();
        let left = events(&opened);
        assert!(gone.iter().all(|seq| !left.contains(seq)), "{left:?}");
        assert_eq!(left, stays);
        assert!(opened.store.user(mine, "old").unwrap().is_some(), "users stay");
        assert_eq!(due().len(), 0);

        // One that is older than what is kept comes when the days were made more.
        put(&opened, Draft::retention(mine, Some(100), now));
        event(&opened, mine, date(50), now);
        assert_eq!(due().len(), 0);
        event(&opened, mine, date(101), now);
        opened.writer.submit_and_wait(due()).unwrap();
        assert_eq!(events(&opened).len(), stays.len() + 1);
        assert_eq!(due().len(), 0, "it is not erased again and again");

        put(&opened, Draft::retention(mine, None, now));
        event(&opened, mine, date(900), now);
        assert_eq!(due().len(), 0);
        put(&opened, Draft::retention(other, Some(DAYS_MAX), now));
        assert_eq!(due().len(), 0);
        put(&opened, Draft::retention(other, Some(1), now));
        assert_eq!(due().len(), 1);
        opened.close();
    }

    /// While it isn't at rest yet that it is gone: too little of a segment to rewrite it for.
    #[test]
    fn what_came_too_long_ago_is_due_and_out_of_sight_whatever_its_date() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Opened::open(Directory::lock(dir.path()).unwrap()).unwrap();
        let store = &opened.store;
        let now = Date::from_millis(NOW);
        let mine = account(&opened, "mine");
        put(&opened, Draft::retention(mine, Some(10), now));
        event(&opened, mine, date(-500), date(11));
        let stays: Vec<Seq> = (0..9).map(|n| event(&opened, mine, date(-500 - n), now)).collect();
        store.compact(Urgency::Now, now, &Pace { go_on: &|| true }).expect("compacted");
        let counted = || {
            let (mut counted, mut scanned) = (0, 0);
            let answers = Answers { store, stop: &Stop::new(20, &|| false) };
            answers
                .counts(mine, None, None, None, &mut |_, _, count| counted += count.people)
                .expect("counted");
            let scan = Scan { from: Some(now), ..Scan::of(mine) };
            store
                .scan(&scan, &|| false, &mut |piece| {
                    scanned += piece.len() as u64;
                    Ok(ControlFlow::Continue(()))
                })
                .expect("scanned");
            (counted, scanned, events(&opened).len() as u64)
        };
        assert_eq!(counted(), (10, 10, 10));
        opened.writer.submit_and_wait(due(store, now).expect("readable")).expect("one is due");
        store.compact(Urgency::InTime, now, &Pace { go_on: &|| true }).expect("compacted");
        assert_eq!(store.sizes().expect("sizes").erasures_pending, 1);
        assert_eq!(counted(), (9, 9, 9));
        assert_eq!(events(&opened), stays);
        store.compact(Urgency::Now, now, &Pace { go_on: &|| true }).expect("compacted");
        assert_eq!(store.sizes().expect("sizes").erasures_pending, 0);
        assert_eq!(counted(), (9, 9, 9));
        assert_eq!(due(store, now).expect("readable").len(), 0);
        opened.close();
    }
}
