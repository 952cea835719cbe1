//! Submissions that are stored once: under a key of its own a call may be sent again, and is answered as the
//! first time.
//!
//! The key travels in the log with the submission's first record ([`Keyed`]); what follows for the state is
//! a row for each, found again by the day that it came and the key. A key counts for
//! [`IDEMPOTENCY_DAYS`]. Each new row takes up to two away that are older, so that there are never many more
//! than the last days' calls had. Rows beyond their time are irrelevant: whether they are still there
//! depends on what else came.
//!
//! Knows keys and values of the state; must not know who writes them.

use sled::IVec;

use super::codec::{Malformed, open_as, put_date, put_u64, seal_as};
use super::outcome::Receipt;
use crate::model::erasure::Digest;
use crate::model::limits::IDEMPOTENCY_DAYS;
use crate::model::record::Keyed;
use crate::model::{Date, Seq};

const FORMAT: u8 = 1;
const ROW: u8 = b'k';

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// Days that a row is kept beyond its own, since clocks are set back now and then.
const SPARE_DAYS: i64 = 1;

/// Rows that a new one takes away.
pub(super) const REMOVED_MAX: usize = 2;

/// A submission that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub first_seq: Seq,
    pub count: u64,
    pub received_at: Date,
}

impl Stored {
    pub fn receipt(&self) -> Receipt {
        Receipt { first_seq: self.first_seq, count: self.count }
    }

    /// Whether its key still counts.
    pub fn is_in_force(&self, now: Date) -> bool {
        now.millis().saturating_sub(self.received_at.millis()) < IDEMPOTENCY_DAYS * DAY_MILLIS
    }
}

/// From when on keys are worth being kept.
pub(super) fn kept_from(now: Date) -> Date {
    let days = IDEMPOTENCY_DAYS + SPARE_DAYS;
    Date::from_millis(now.millis().saturating_sub(days * DAY_MILLIS))
}

fn day(date: Date) -> i64 {
    date.millis().div_euclid(DAY_MILLIS)
}

/// What the rows of a day begin with, in the order of the days.
fn prefix(day: i64) -> Vec<u8> {
    let mut key = vec![ROW];
    key.extend_from_slice(&(day as u64 ^ 1 << 63).to_be_bytes());
    key
}

/// Where the row of a key lies that came then.
pub(super) fn row_key(received_at: Date, key: Digest) -> Vec<u8> {
    of_day(day(received_at), key)
}

fn of_day(day: i64, key: Digest) -> Vec<u8> {
    let mut row = prefix(day);
    row.extend_from_slice(&key.0);
    row
}

/// Where a row of a key may lie that is in force, or came by a clock that was ahead of this one.
pub(super) fn places(now: Date, key: Digest) -> impl Iterator<Item = Vec<u8>> {
    let today = day(now);
    (today - IDEMPOTENCY_DAYS..=today + SPARE_DAYS).rev().map(move |day| of_day(day, key))
}

/// The rows that are too old to matter.
pub(super) fn too_old(now: Date) -> std::ops::Range<Vec<u8>> {
    vec![ROW]..prefix(day(kept_from(now)))
}

pub(super) fn is_row(key: &[u8]) -> bool {
    key.first() == Some(&ROW)
}

pub(super) fn encode(key: &[u8], keyed: Keyed, first_seq: Seq, received_at: Date) -> Vec<u8> {
    seal_as(FORMAT, key, |out| {
        put_u64(out, first_seq);
        put_u64(out, keyed.count);
        put_date(out, received_at);
    })
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Stored, Malformed> {
    let mut input = open_as(FORMAT, key, value)?;
    let stored =
        Stored { first_seq: input.u64()?, count: input.u64()?, received_at: input.date()? };
    input.end()?;
    Ok(stored)
}

/// Whether an entry of the state is a row that no longer counts, or is that of a record that is gone:
/// it need not be the same in two states of the same log.
pub(super) fn is_irrelevant(
    key: &[u8],
    value: &IVec,
    now: Date,
    is_gone: &dyn Fn(Seq) -> bool,
) -> bool {
    is_row(key)
        && decode(key, value)
            .is_ok_and(|stored| !stored.is_in_force(now) || is_gone(stored.first_seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_as_long_as_it_counts_and_taken_away_when_it_does_not() {
        let key = Digest([7; 16]);
        for came in [-1, 0, DAY_MILLIS - 1, 1_700_000_000_000] {
            let row = row_key(Date::from_millis(came), key);
            let stored = Stored { first_seq: 1, count: 1, received_at: Date::from_millis(came) };
            let week = IDEMPOTENCY_DAYS * DAY_MILLIS;
            for (later, counts) in [
                (-DAY_MILLIS, true),
                (0, true),
                (DAY_MILLIS, true),
                (week - 1, true),
                (week, false),
                (week + 3 * DAY_MILLIS, false),
            ] {
                let now = Date::from_millis(came + later);
                assert_eq!(stored.is_in_force(now), counts, "{came} {later}");
                assert!(!counts || places(now, key).any(|place| place == row), "{came} {later}");
                assert!(!counts || !too_old(now).contains(&row), "{came} {later}");
                assert!(!counts || kept_from(now) <= stored.received_at);
            }
            assert!(too_old(Date::from_millis(came + week + 2 * DAY_MILLIS)).contains(&row));
        }
    }

    #[test]
    fn what_a_row_says_comes_back() {
        let (key, at) = (Digest([1; 16]), Date::from_millis(-5));
        let row = row_key(at, key);
        let value = encode(&row, Keyed { key, count: 1_000 }, 77, at);
        let stored = Stored { first_seq: 77, count: 1_000, received_at: at };
        assert_eq!(decode(&row, &value), Ok(stored));
        assert!(decode(b"k", &value).is_err() && is_row(&row));
    }
}
