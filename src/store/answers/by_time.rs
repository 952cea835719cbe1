//! Events by the hour, users and visitors by the day: from indexes, or by reading what these don't answer.
//!
//! Promises sums and sketches of whole hours and days of UTC. Knows nothing of zones.

use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range, RangeInclusive};

use super::{Answers, Question, VisitCount, VisitSketches};
use crate::model::erasure::{Digest, Scope};
use crate::model::{AccountId, Date, Seq};
use crate::store::index::{self, Circumstances, Count, Hot, Index, IndexError, Sketch};
use crate::store::log::Missing;
use crate::store::scan::{Columns, Scan};
use crate::store::segment::Summary;
use crate::store::{Error, Store};

/// Sketches that are held while a segment is read, in pairs; some 6 MB.
const PAIRS_MAX: usize = 1_024;

/// Which events a question is about, by the numbers of hours or days.
pub(super) struct Span<'q> {
    pub account: AccountId,
    kind: Option<&'q str>,
    pub numbers: Range<i64>,
    /// Of an hour or a day.
    millis: i64,
}

impl<'q> Span<'q> {
    /// What overlaps `from..to`, by hours or days of so many milliseconds.
    pub fn of(
        account: AccountId,
        kind: Option<&'q str>,
        from: Option<Date>,
        to: Option<Date>,
        millis: i64,
    ) -> Span<'q> {
        let end = |to: Date| to.millis().saturating_add(millis - 1).div_euclid(millis);
        let numbers = from.map_or(i64::MIN, |from| from.millis().div_euclid(millis))
            ..to.map_or(i64::MAX, end);
        Span { account, kind, numbers, millis }
    }

    fn begin(&self, number: i64) -> Date {
        Date::from_millis(number.saturating_mul(self.millis))
    }

    fn number(&self, date: Date) -> i64 {
        date.millis().div_euclid(self.millis)
    }

    pub fn concerns(&self, summary: &Summary) -> bool {
        summary.dates.is_some_and(|(first, last)| {
            self.numbers.start <= self.number(last) && self.number(first) < self.numbers.end
        })
    }

    pub fn is_touched_by(&self, scope: &Scope) -> bool {
        match scope {
            // What is too old may be so by its arrival, whatever its date.
            Scope::User(_) | Scope::Expired { .. } => true,
            Scope::Events { kind, from, to, .. } => {
                from.is_none_or(|from| self.number(from) < self.numbers.end)
                    && to.is_none_or(|to| self.numbers.start <= self.number(to))
                    && kind.is_none_or(|taken| {
                        self.kind.is_none_or(|kind| Digest::of_kind(self.account, kind) == taken)
                    })
            }
        }
    }

    pub fn scan(&self, range: RangeInclusive<Seq>, columns: Columns) -> Scan {
        let bound = |number| match number {
            i64::MIN | i64::MAX => None,
            number => Some(self.begin(number)),
        };
        Scan {
            account: self.account,
            range,
            from: bound(self.numbers.start),
            to: bound(self.numbers.end),
            kinds: self.kind.map(|kind| vec![kind.to_owned()]),
            columns,
        }
    }
}

pub(super) struct Counts<'q> {
    pub span: Span<'q>,
    pub visit: VisitCount<'q>,
}

/// Counts of hours, by type as they were shown.
#[derive(Default)]
struct Told(Vec<(String, Vec<(i64, Count)>)>);

impl Told {
    fn add(&mut self, kind: &str, hour: i64, count: Count) {
        match self.0.last_mut() {
            Some((last, hours)) if last == kind => hours.push((hour, count)),
            _ => self.0.push((kind.to_owned(), vec![(hour, count)])),
        }
    }
}

impl Counts<'_> {
    fn show(&mut self, told: &Told) {
        for (kind, hours) in &told.0 {
            for (hour, count) in hours {
                (self.visit)(kind, self.span.begin(*hour), *count);
            }
        }
    }
}

impl Question for Counts<'_> {
    fn account(&self) -> AccountId {
        self.span.account
    }

    fn concerns(&self, summary: &Summary) -> bool {
        self.span.concerns(summary)
    }

    fn is_touched_by(&self, scope: &Scope) -> bool {
        self.span.is_touched_by(scope)
    }

    fn rows(&self, store: &Store, range: &RangeInclusive<Seq>, _: u64) -> u64 {
        store.rows_to_scan(&self.span.scan(range.clone(), Columns::default()))
    }

    fn ask(&mut self, index: &Index) -> Result<(), IndexError> {
        // Shown when all was read: what was added up can't be taken back.
        let mut told = Told::default();
        let hours = self.span.numbers.clone();
        index
            .counts(self.span.kind, hours, &mut |kind, hour, count| told.add(kind, hour, count))?;
        self.show(&told);
        Ok(())
    }

    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError> {
        let mut told = Told::default();
        let hours = self.span.numbers.clone();
        hot.counts(self.span.kind, hours, &mut |kind, hour, count| told.add(kind, hour, count))?;
        self.show(&told);
        Ok(())
    }

    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error> {
        let columns = Columns { dates: true, kinds: true, contexts: true, ..Columns::default() };
        from.store.scan(&self.span.scan(range, columns), from.stop.asked(), &mut |piece| {
            let nobodys: Vec<bool> =
                piece.contexts().iter().map(|context| Circumstances::of(context).nobodys).collect();
            // Neighbours are of the same hour, mostly.
            let mut hours: BTreeMap<(u32, i64), Count> = BTreeMap::new();
            for row in 0..piece.len() {
                let hour = self.span.number(piece.date(row));
                let count = hours.entry((piece.kind(row), hour)).or_default();
                let of = piece.context_number(row);
                if of.is_some_and(|of| nobodys.get(of as usize) == Some(&true)) {
                    count.nobodys += 1;
                } else {
                    count.people += 1;
                }
            }
            for ((kind, hour), count) in hours {
                let kind = piece.kinds().get(kind as usize).copied().unwrap_or_default();
                (self.visit)(kind, self.span.begin(hour), count);
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

pub(super) struct Sketches<'q> {
    pub span: Span<'q>,
    pub with_nobodys: bool,
    pub visit: VisitSketches<'q>,
}

impl Question for Sketches<'_> {
    fn account(&self) -> AccountId {
        self.span.account
    }

    fn concerns(&self, summary: &Summary) -> bool {
        self.span.concerns(summary)
    }

    fn is_touched_by(&self, scope: &Scope) -> bool {
        self.span.is_touched_by(scope)
    }

    fn rows(&self, store: &Store, range: &RangeInclusive<Seq>, _: u64) -> u64 {
        store.rows_to_scan(&self.span.scan(range.clone(), Columns::default()))
    }

    fn ask(&mut self, index: &Index) -> Result<(), IndexError> {
        // Shown at once: who is counted twice counts once.
        let Sketches { span, with_nobodys, visit } = self;
        let days = span.numbers.clone();
        index.sketches(span.kind, days, *with_nobodys, &mut |kind, day, users, visitors| {
            visit(kind, span.begin(day), users, visitors);
        })
    }

    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError> {
        let Sketches { span, with_nobodys, visit } = self;
        let days = span.numbers.clone();
        hot.sketches(span.kind, days, *with_nobodys, &mut |kind, day, users, visitors| {
            visit(kind, span.begin(day), users, visitors);
        })
    }

    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error> {
        let Sketches { span, with_nobodys, visit } = self;
        let columns =
            Columns { dates: true, kinds: true, users: true, contexts: true, ..Columns::default() };
        let mut pairs: HashMap<(String, i64), (Sketch, Sketch)> = HashMap::new();
        let mut show = |pairs: &mut HashMap<(String, i64), (Sketch, Sketch)>| {
            for ((kind, day), (users, visitors)) in pairs.drain() {
                visit(&kind, span.begin(day), &users, &visitors);
            }
        };
        let missing =
            from.store.scan(&span.scan(range, columns), from.stop.asked(), &mut |piece| {
                let users: Vec<u64> =
                    piece.users().iter().map(|id| index::hash_of_user(span.account, id)).collect();
                let contexts: Vec<(bool, Option<u64>)> =
                    piece.contexts().iter().map(|context| told_by(context)).collect();
                for row in 0..piece.len() {
                    let context =
                        piece.context_number(row).and_then(|of| contexts.get(of as usize));
                    if !*with_nobodys && context.is_some_and(|(nobodys, _)| *nobodys) {
                        continue;
                    }
                    let kind =
                        piece.kinds().get(piece.kind(row) as usize).copied().unwrap_or_default();
                    let key = (kind.to_owned(), span.number(piece.date(row)));
                    if pairs.len() >= PAIRS_MAX && !pairs.contains_key(&key) {
                        show(&mut pairs);
                    }
                    let pair = pairs.entry(key).or_default();
                    if let Some(user) = piece.user(row).and_then(|of| users.get(of as usize)) {
                        pair.0.insert(*user);
                    }
                    if let Some((_, Some(visitor))) = context {
                        pair.1.insert(*visitor);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        show(&mut pairs);
        Ok(missing)
    }
}

/// As [`Sketches`], but the days don't matter.
pub(super) struct Distinct<'q>(pub Sketches<'q>);

impl Question for Distinct<'_> {
    fn account(&self) -> AccountId {
        self.0.account()
    }

    fn concerns(&self, summary: &Summary) -> bool {
        self.0.concerns(summary)
    }

    fn is_touched_by(&self, scope: &Scope) -> bool {
        self.0.is_touched_by(scope)
    }

    fn rows(&self, store: &Store, range: &RangeInclusive<Seq>, all: u64) -> u64 {
        self.0.rows(store, range, all)
    }

    fn ask(&mut self, index: &Index) -> Result<(), IndexError> {
        let Sketches { span, with_nobodys, visit } = &mut self.0;
        let (days, begin) = (span.numbers.clone(), span.begin(span.numbers.start));
        index.distinct(span.kind, days, *with_nobodys, &mut |users, visitors| {
            visit("", begin, users, visitors);
        })
    }

    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError> {
        self.0.ask_hot(hot)
    }

    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error> {
        self.0.read(from, range)
    }
}

/// Whether a context is nobody's, and the visitor that it names.
fn told_by(context: &str) -> (bool, Option<u64>) {
    let Circumstances { nobodys, visitor } = Circumstances::of(context);
    (nobodys, visitor.map(|visitor| index::hash_of_visitor(&visitor)))
}
