//! Events by type and interval: how many, of how many users and visitors.
//!
//! Counts are exact. Those of distinct users and visitors are estimates of a [`Sketch`](crate::store::Sketch), the same whichever
//! way they come about: from the store's counts by the hour and sketches by the day where nothing but type
//! and time is asked, and by reading events for what isn't made of whole hours or days of UTC, or asks for more.
//!
//! Events are counted first and those behind them told apart after that, a moment later. What came meanwhile is
//! in no count, though its user may be. Promises that nothing has more users or visitors than events all the same.

mod book;

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Failure, Filter, Interval, Stop, Zone, answers};
use crate::model::Date;
use crate::store::{Columns, DAY_MILLIS, HOUR_MILLIS, Scan, Store};
use crate::view::{ShownIn, is_zero};
use book::{Book, Distinct};

/// Rows of an answer, at the most.
pub const ROWS_MAX: usize = 10_000;

/// Bytes that sketches take at once, at the most; where they would take more, they are made some intervals at
/// a time.
const SKETCHES_BYTES_MAX: u64 = 12 * 1024 * 1024;

/// Stretches that are read apart, at the most: where there are more, or reading them apart is more, all that lies
/// between is read.
const SLICES_MAX: usize = 128;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which events.
    pub filter: Filter,
    /// How long the stretches are that they are counted in.
    pub interval: Interval,
    /// Where they begin.
    pub zone: Zone,
    /// Whether each type is counted by itself; else a row is of all types, and its type is empty.
    pub by_type: bool,
    /// Who is told apart; others are 0. Where days aren't those of UTC, users are found by reading events, and
    /// visitors by reading what browsers told beside them, which takes several times as long.
    pub who: Who,
}

/// Who is behind some events, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody.
    Nobody,
    /// Users.
    Users,
    /// Users and visitors.
    Everybody,
}

/// How many events there are.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// As asked.
    pub interval: &'static str,
    /// All events.
    pub count: u64,
    /// All distinct users, about.
    pub users: u64,
    /// All distinct visitors, about.
    pub visitors: u64,
    /// By beginning, then by type; those without an event are left out.
    pub rows: Vec<Row>,
    /// Records that no index has yet; they are counted all the same.
    pub lag: u64,
    /// Records that could not be read, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// Events of one type in one stretch.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Their type.
    pub r#type: String,
    /// Where the stretch begins.
    pub from: ShownIn,
    /// How many.
    pub count: u64,
    /// Distinct users, about.
    pub users: u64,
    /// Distinct visitors, about.
    pub visitors: u64,
}

impl Question {
    /// Counts.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::TooLarge`] if there would be more than [`ROWS_MAX`] rows.
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Stats, Failure> {
        let mut counting = Counting {
            question: self,
            store,
            stop,
            book: Book::new(self),
            all: Distinct::default(),
            all_known: false,
            missing: 0,
        };
        counting.run()?;
        let Counting { book, all, missing, .. } = counting;
        let rows = book.into_rows();
        let count = rows.iter().map(|row| row.count).sum();
        let (users, visitors) = all.estimates(count);
        Ok(Stats {
            interval: self.interval.name(),
            count,
            users,
            visitors,
            rows,
            lag: store.lag().records,
            missing,
        })
    }
}

/// A question that is being answered.
struct Counting<'q> {
    question: &'q Question,
    store: &'q Store,
    stop: &'q Stop<'q>,
    book: Book,
    /// Of all rows that are done, or of all of them before any is.
    all: Distinct,
    all_known: bool,
    missing: u64,
}

/// What is made of events that are read.
#[derive(Clone, Copy)]
struct Wanted {
    counts: bool,
    sketches: Who,
}

impl Counting<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let who = self.question.who;
        let sketched = if self.question.filter.is_plain() && self.count_by_hours()? {
            false
        } else {
            self.book = Book::new(self.question);
            let Filter { from, to, .. } = self.question.filter;
            self.read(from, to, Wanted { counts: true, sketches: who }, &self.stop.anew())?
        };
        if who == Who::Nobody {
            return Ok(());
        }
        if sketched {
            self.finish(0..self.book.tallies.len());
            return Ok(());
        }
        if self.question.filter.is_plain() && who == Who::Everybody {
            self.sketch_all()?;
        }
        for rows in self.book.portions()? {
            if self.stop.is_due() {
                return Err(Failure::Stopping);
            }
            for row in &rows {
                self.book.tallies[*row].distinct = Some(Box::default());
            }
            self.sketch(&rows)?;
            self.finish(rows);
        }
        Ok(())
    }

    /// Estimates users and visitors of rows, and lets go of what that took.
    fn finish(&mut self, rows: impl IntoIterator<Item = usize>) {
        for row in rows {
            let tally = &mut self.book.tallies[row];
            if let Some(distinct) = tally.distinct.take() {
                (tally.users, tally.visitors) = distinct.estimates(tally.count);
                if !self.all_known {
                    self.all.users.merge(&distinct.users);
                    self.all.visitors.merge(&distinct.visitors);
                }
            }
        }
    }

    /// Sketches all users and visitors at once, if what is asked for are whole days: that is less than merging
    /// those of each.
    fn sketch_all(&mut self) -> Result<(), Failure> {
        let Filter { account, kind, from, to, bots, .. } = &self.question.filter;
        let begins_day = |at: &Option<Date>| at.is_none_or(|at| at.millis() % DAY_MILLIS == 0);
        if !begins_day(from) || !begins_day(to) {
            return Ok(());
        }
        let (answers, all) = (answers(self.store, self.stop), &mut self.all);
        let kind = kind.as_deref();
        let missing =
            answers.distinct(*account, kind, *from, *to, *bots, &mut |users, visitors| {
                all.users.merge(users);
                all.visitors.merge(visitors);
            })?;
        self.missing = self.missing.max(missing.records);
        self.all_known = true;
        Ok(())
    }

    /// Counts by the store's counts of hours; hours that aren't within one stretch are read. Says whether that
    /// did: it doesn't pay where there are many of them.
    fn count_by_hours(&mut self) -> Result<bool, Failure> {
        let Filter { account, kind, from, to, bots, .. } = &self.question.filter;
        let (book, mut torn) = (&mut self.book, BTreeSet::new());
        let missing = answers(self.store, self.stop).counts(
            *account,
            kind.as_deref(),
            *from,
            *to,
            &mut |kind, hour, count| {
                let count = count.people + if *bots { count.nobodys } else { 0 };
                if count == 0 || book.is_full() || torn.len() > SLICES_MAX {
                    return;
                }
                match book.holding(hour, HOUR_MILLIS) {
                    Some(bucket) => book.add(bucket, kind, count),
                    None => drop(torn.insert(hour)),
                }
            },
        )?;
        self.missing = self.missing.max(missing.records);
        let book = &self.book;
        let clip = |hour: Date| book.clip(hour, Date::from_millis(hour.millis() + HOUR_MILLIS));
        let torn: Vec<_> = torn.into_iter().map(clip).collect();
        if !self.is_read_apart(&torn, (*from, *to))? {
            return Ok(false);
        }
        self.book.check()?;
        let stop = self.stop.anew();
        for (start, end) in torn {
            let counts = Wanted { counts: true, sketches: Who::Nobody };
            self.read(Some(start), Some(end), counts, &stop)?;
        }
        Ok(true)
    }

    /// Whether stretches of time are read each by itself, instead of all that lies between them. They may be as many
    /// as there may be events, taken together: where dates aren't in the order of the log, each is nearly all of it.
    fn is_read_apart(
        &self,
        stretches: &[(Date, Date)],
        (from, to): (Option<Date>, Option<Date>),
    ) -> Result<bool, Failure> {
        if stretches.len() > SLICES_MAX {
            return Ok(false);
        }
        let rows = |from, to| {
            let filter = Filter { from, to, ..self.question.filter.clone() };
            self.store.rows_to_scan(&filter.scan(Columns::default()))
        };
        let apart = stretches.iter().map(|(start, end)| rows(Some(*start), Some(*end))).sum();
        if apart > rows(from, to) {
            return Ok(false);
        }
        self.stop.anew().take(apart)?;
        Ok(true)
    }

    /// Sketches users and visitors of rows by the store's sketches of days; days that aren't within one stretch
    /// are read.
    fn sketch(&mut self, rows: &[usize]) -> Result<(), Failure> {
        let book = &mut self.book;
        let mut stretches: Vec<(Date, Date)> = rows
            .iter()
            .map(|row| {
                let bucket = book.buckets.bounds(book.tallies[*row].bucket);
                book.clip(bucket.start, bucket.end)
            })
            .collect();
        stretches.sort_unstable();
        stretches.dedup();
        let (Some((start, _)), Some((_, end))) = (stretches.first(), stretches.last()) else {
            return Ok(());
        };
        let (start, end) = (*start, *end);
        let torn = torn(&stretches);
        let who = self.question.who;
        let sketches = Wanted { counts: false, sketches: who };
        let stop = self.stop.anew();
        if !self.question.filter.is_plain()
            || !self.is_read_apart(&torn, (Some(start), Some(end)))?
        {
            self.read(Some(start), Some(end), sketches, &stop)?;
            return Ok(());
        }
        let book = &mut self.book;
        let Filter { account, kind, bots, .. } = &self.question.filter;
        let missing = answers(self.store, &stop).sketches(
            *account,
            kind.as_deref(),
            Some(start),
            Some(end),
            *bots,
            &mut |kind, day, users, visitors| {
                let bucket = book.holding(day, DAY_MILLIS);
                if let Some(row) = bucket.and_then(|bucket| book.find(bucket, kind))
                    && let Some(distinct) = &mut book.tallies[row].distinct
                {
                    distinct.users.merge(users);
                    if who == Who::Everybody {
                        distinct.visitors.merge(visitors);
                    }
                }
            },
        )?;
        self.missing = self.missing.max(missing.records);
        for (start, end) in torn {
            self.read(Some(start), Some(end), sketches, &stop)?;
        }
        Ok(())
    }

    /// Reads the events of a stretch of time. Says whether they are sketched as well, if that was wanted: along
    /// with counting it is given up when it takes too much.
    fn read(
        &mut self,
        from: Option<Date>,
        to: Option<Date>,
        wanted: Wanted,
        stop: &Stop<'_>,
    ) -> Result<bool, Failure> {
        let Counting { question, store, book, .. } = self;
        let columns = Columns {
            dates: true,
            kinds: true,
            users: wanted.sketches >= Who::Users,
            contexts: wanted.sketches == Who::Everybody,
            ..Columns::default()
        };
        let scan = Scan { from, to, ..question.filter.scan(columns) };
        let mut sketching = wanted.sketches;
        let missing = question.filter.read(store, scan, stop, &mut |piece, rows| {
            book.tell(piece, rows, Wanted { sketches: sketching, ..wanted });
            let is_much = || book.sketches_bytes() > SKETCHES_BYTES_MAX;
            if wanted.counts && sketching != Who::Nobody && is_much() {
                sketching = Who::Nobody;
                book.tallies.iter_mut().for_each(|tally| tally.distinct = None);
            }
            book.check()
        })?;
        self.missing = self.missing.max(missing.records);
        Ok(sketching != Who::Nobody)
    }
}

/// What of some stretches of time, ascending, isn't whole days of UTC.
fn torn(stretches: &[(Date, Date)]) -> Vec<(Date, Date)> {
    let mut torn: Vec<(Date, Date)> = Vec::new();
    let mut push = |start: i64, end: i64| {
        let (start, end) = (Date::from_millis(start), Date::from_millis(end));
        match torn.last_mut() {
            Some((_, before)) if *before == start => *before = end,
            _ if start < end => torn.push((start, end)),
            _ => {}
        }
    };
    for (start, end) in stretches {
        let (start, end) = (start.millis(), end.millis());
        let first = -(-start).div_euclid(DAY_MILLIS) * DAY_MILLIS;
        let last = end.div_euclid(DAY_MILLIS) * DAY_MILLIS;
        if first < last {
            push(start, first);
            push(last, end);
        } else {
            push(start, end);
        }
    }
    torn
}
