//! How many events, users and visitors there are in a time, all types together: three numbers for any two instants.
//!
//! Events are counted by the store's counts of whole hours of UTC, users and visitors by its sketches of whole days; only
//! what is left over at both ends is read, less than a day each. Promises the same numbers as
//! [`stats`](super::stats) has of the same time.

use super::{Failure, Filter, Stop, answers};
use crate::model::Date;
use crate::store::index::{Circumstances, hash_of_user, hash_of_visitor};
use crate::store::{Columns, DAY_MILLIS, HOUR_MILLIS, Sketch, Store};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Whose events.
    pub account: crate::model::AccountId,
    /// Of this type only.
    pub kind: Option<&'q str>,
    /// From this date on.
    pub from: Date,
    /// Before this date.
    pub to: Date,
    /// Whether those of bots and prefetches count too.
    pub bots: bool,
    /// Whether users and visitors are told too; else they are 0, and hardly anything is read.
    pub who: bool,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Distinct users, about.
    pub users: u64,
    /// Distinct visitors, about.
    pub visitors: u64,
    /// Records that could not be read, at the most.
    pub missing: u64,
}

/// The whole stretches of so many milliseconds within a time, if there is one.
pub(super) fn whole(from: Date, to: Date, millis: i64) -> Option<(Date, Date)> {
    let first = -(-from.millis()).div_euclid(millis) * millis;
    let last = to.millis().div_euclid(millis) * millis;
    (first < last).then(|| (Date::from_millis(first), Date::from_millis(last)))
}

/// What of a time is left over by a stretch within it.
pub(super) fn ends(from: Date, to: Date, whole: Option<(Date, Date)>) -> Vec<(Date, Date)> {
    let ends = match whole {
        Some((first, last)) => vec![(from, first), (last, to)],
        None => vec![(from, to)],
    };
    ends.into_iter().filter(|(start, end)| start < end).collect()
}

impl<'q> Question<'q> {
    /// All that a filter says of type, time and bots; of conditions it knows nothing.
    #[must_use]
    pub fn of(filter: &'q Filter) -> Question<'q> {
        let Filter { account, kind, from, to, bots, .. } = filter;
        Question {
            account: *account,
            kind: kind.as_deref(),
            from: from.unwrap_or(Date::MIN),
            to: to.unwrap_or(Date::from_millis(Date::MAX.millis() + 1)),
            bots: *bots,
            who: true,
        }
    }

    /// Counts.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Totals, Failure> {
        let Question { account, kind, from, to, bots, who } = *self;
        let (mut totals, answers) = (Totals::default(), answers(store, stop));
        let (mut users, mut visitors) = (Sketch::default(), Sketch::default());
        let hours = whole(from, to, HOUR_MILLIS);
        if let Some((first, last)) = hours {
            let events = &mut totals.events;
            let missing =
                answers.counts(account, kind, Some(first), Some(last), &mut |_, _, count| {
                    *events += count.people + if bots { count.nobodys } else { 0 };
                })?;
            totals.missing = missing.records;
        }
        let days = if who { whole(from, to, DAY_MILLIS) } else { hours };
        if let Some((first, last)) = days.filter(|_| who) {
            let (first, last) = (Some(first), Some(last));
            let missing = answers.distinct(account, kind, first, last, bots, &mut |u, v| {
                users.merge(u);
                visitors.merge(v);
            })?;
            totals.missing = totals.missing.max(missing.records);
        }
        let columns = Columns { dates: true, users: who, contexts: who, ..Columns::default() };
        for (start, end) in ends(from, to, days) {
            let kind = kind.map(str::to_owned);
            let filter =
                Filter { kind, from: Some(start), to: Some(end), bots, ..Filter::of(account) };
            let scan = filter.scan(columns);
            let missing = filter.read(store, scan, stop, &mut |piece, rows| {
                let mut known_users = vec![false; piece.users().len()];
                let mut known_contexts = vec![false; piece.contexts().len()];
                for row in rows {
                    let row = *row as usize;
                    let date = piece.date(row);
                    let is_counted =
                        hours.is_some_and(|(first, last)| first <= date && date < last);
                    totals.events += u64::from(!is_counted);
                    if !who {
                        continue;
                    }
                    if let Some(user) = piece.user(row)
                        && !std::mem::replace(&mut known_users[user as usize], true)
                    {
                        users.insert(hash_of_user(account, piece.users()[user as usize]));
                    }
                    if let Some(context) = piece.context_number(row)
                        && !std::mem::replace(&mut known_contexts[context as usize], true)
                        && let Some(visitor) =
                            Circumstances::of(piece.contexts()[context as usize]).visitor
                    {
                        visitors.insert(hash_of_visitor(&visitor));
                    }
                }
                Ok(())
            })?;
            totals.missing = totals.missing.max(missing.records);
        }
        totals.users = users.estimate().min(totals.events);
        totals.visitors = visitors.estimate().min(totals.events);
        Ok(totals)
    }
}
