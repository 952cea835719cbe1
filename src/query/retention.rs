//! Coming back: of those who did something first, how many do something again, interval by interval.
//!
//! Exact, and in bounded memory: of a user 32 bytes are kept beside the id. Where the users are too many at
//! once, the events are walked through several times, for a part of the users each time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::numbering::{Numbering, Part, Walk, in_parts};
use super::{Failure, Filter, Interval, Stop, Zone};
use crate::model::{Date, Seq};
use crate::store::{Columns, Store};
use crate::view::{ShownIn, is_zero};

/// Intervals from the first cohort to the last event, at the most.
pub const INTERVALS_MAX: usize = 100;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The type of the events that make a cohort.
    pub first: String,
    /// The type of the events that mean coming back. It may be the same.
    pub back: String,
    /// A day, week or month.
    pub interval: Interval,
    /// Where an interval begins.
    pub zone: Zone,
    /// Which events count at all, of both types. Its own type isn't looked at.
    pub filter: Filter,
}

/// Who comes back.
///
/// A user is of the cohort of the interval in which the first event of [`Question::first`] lies: by date, then by
/// `seq`. Events of [`Question::back`] count if they are behind it in that order. Events that name no user count
/// for nobody.
#[derive(Serialize)]
pub struct Answer {
    /// As asked.
    pub interval: &'static str,
    /// Those that have users, oldest first.
    pub cohorts: Vec<Cohort>,
    /// Records that no index has yet; the answer is right all the same.
    pub lag: u64,
    /// Records that could not be read, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// Users who began in the same interval.
#[derive(Serialize)]
pub struct Cohort {
    /// Where the interval begins.
    pub from: ShownIn,
    /// How many they are.
    pub users: u64,
    /// How many of them came back in the same interval, in the next one, and so on, to the last interval in
    /// which anybody, of this cohort or another, began or came back.
    pub back: Vec<u64>,
}

impl Question {
    /// Answers it; between pieces of the log it asks whether to stop.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] if there are more than [`INTERVALS_MAX`] intervals, or too many users even for
    /// parts of them at a time; those of [`Filter::read`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Answer, Failure> {
        let table = in_parts(TOO_LARGE, |part, table| self.count(store, stop, part, table))?;
        table.answer(self, store.lag().records)
    }

    /// Adds what a part of the users did.
    fn count(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        part: &Part,
        table: &mut Table,
    ) -> Result<Result<(), f64>, Failure> {
        let columns = Columns { dates: true, users: true, ..Columns::default() };
        let mut scan = self.filter.scan(columns);
        // Both walks are through the same log.
        scan.range = 1..=store.last_seq();
        scan.kinds = Some(vec![self.first.clone()]);
        let mut numbering = Numbering::new(part);
        let mut users: Vec<User> = Vec::new();
        let (mut walk, mut no_room) = (Walk::to(*scan.range.end()), false);
        let read = self.filter.read(store, scan.clone(), &stop.anew(), &mut |piece, rows| {
            walk.come_to(piece.seq(0));
            numbering.turn_to(piece);
            for row in rows.iter().map(|row| *row as usize) {
                let Some(user) = piece.user(row) else { continue };
                let Ok(number) = numbering.number_of(piece, user) else {
                    no_room = true;
                    // Ends the walk; nobody is told.
                    return Err(Failure::TooLarge(String::new()));
                };
                let Some(number) = number else { continue };
                let place = (piece.date(row), piece.seq(row));
                match users.get_mut(number as usize) {
                    Some(user) => user.first = user.first.min(place),
                    None => users.push(User { first: place, back: 0 }),
                }
            }
            Ok(())
        });
        if no_room {
            return Ok(Err(walk.share()));
        }
        let missing = read?.records;
        let Some(earliest) = users.iter().map(|user| user.first.0).min() else { return Ok(Ok(())) };
        let mut calendar = Calendar::from(earliest, self.interval, self.zone);
        scan.kinds = Some(vec![self.back.clone()]);
        let missing_back = self
            .filter
            .read(store, scan, &stop.anew(), &mut |piece, rows| {
                numbering.turn_to(piece);
                for row in rows.iter().map(|row| *row as usize) {
                    let Some(user) = piece.user(row) else { continue };
                    let Some(number) = numbering.find_of(piece, user) else { continue };
                    if let Some(user) = users.get_mut(number as usize)
                        && user.first < (piece.date(row), piece.seq(row))
                    {
                        user.back |= 1 << calendar.number(piece.date(row))?;
                    }
                }
                Ok(())
            })?
            .records;
        // The same files, mostly: added up, each record would be told twice.
        table.missing = missing.max(missing_back);
        for user in &users {
            table.add(user, &mut calendar)?;
        }
        Ok(Ok(()))
    }
}

const TOO_LARGE: &str =
    "more users than 16 times 500000 did this first; narrow it with `from`, `to` and `where`";

/// What is kept of a user.
struct User {
    /// Where the first event stands, by date and then in the log.
    first: (Date, Seq),
    /// In which intervals, counted from that of the earliest user, this one came back.
    back: u128,
}

/// Users by the beginning of their cohort, and of each cohort how many came back so many intervals later.
#[derive(Default)]
struct Table {
    cohorts: BTreeMap<Date, (u64, Vec<u64>)>,
    /// Where the last interval begins in which anybody began or came back.
    last: Option<Date>,
    missing: u64,
}

impl Table {
    fn add(&mut self, user: &User, calendar: &mut Calendar) -> Result<(), Failure> {
        let cohort = calendar.number(user.first.0)?;
        let last = user.back.checked_ilog2().map_or(cohort, |last| last as usize);
        self.last = self.last.max(calendar.starts.get(last).copied());
        let from = calendar.starts.get(cohort).copied().unwrap_or(user.first.0);
        let (users, back) = self.cohorts.entry(from).or_default();
        *users += 1;
        if back.len() <= last - cohort {
            back.resize(last - cohort + 1, 0);
        }
        for (later, count) in back.iter_mut().enumerate() {
            *count += (user.back >> (cohort + later) & 1) as u64;
        }
        Ok(())
    }

    fn answer(self, question: &Question, lag: u64) -> Result<Answer, Failure> {
        let Question { interval, zone, .. } = question;
        let earliest = self.cohorts.keys().next().copied();
        let mut calendar = earliest.map(|earliest| Calendar::from(earliest, *interval, *zone));
        let mut cohorts = Vec::new();
        for (from, (users, mut back)) in self.cohorts {
            let (Some(calendar), Some(last)) = (&mut calendar, self.last) else { break };
            back.resize(calendar.number(last)? + 1 - calendar.number(from)?, 0);
            cohorts.push(Cohort { from: ShownIn(from, *zone), users, back });
        }
        Ok(Answer { interval: interval.name(), cohorts, lag, missing: self.missing })
    }
}

/// Intervals that follow on one another.
struct Calendar {
    interval: Interval,
    zone: Zone,
    /// Where they begin.
    starts: Vec<Date>,
    /// Where the last one ends.
    end: Date,
}

impl Calendar {
    /// The interval that a moment lies in, and those behind it as they are needed.
    fn from(moment: Date, interval: Interval, zone: Zone) -> Calendar {
        let first = zone.bucket(interval, moment);
        Calendar { interval, zone, starts: vec![first.start], end: first.end }
    }

    /// The number of the interval that a moment lies in.
    fn number(&mut self, moment: Date) -> Result<usize, Failure> {
        while self.end <= moment {
            if self.starts.len() == INTERVALS_MAX {
                return Err(Failure::TooLarge(format!(
                    "it spans more than {INTERVALS_MAX} intervals; narrow it with `from` and `to`, or \
                     take a longer `interval`"
                )));
            }
            let next = self.zone.bucket(self.interval, self.end);
            self.starts.push(next.start);
            self.end = next.end;
        }
        Ok(self.starts.partition_point(|start| *start <= moment).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::trial::{ACCOUNT, BOT, Trial, event};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const HOUR: i64 = 3_600_000;

    /// Type, user (0 is none), hour, whether it is a bot's.
    type Happened = (usize, usize, i64, bool);

    const KINDS: [&str; 3] = ["a", "b", "c"];

    /// Straight from the definition, with all events at hand, by (date, place).
    fn naive(
        events: &[(Date, usize, usize, usize)],
        (first, back): (usize, usize),
        interval: Interval,
        zone: Zone,
    ) -> Vec<(Date, u64, Vec<u64>)> {
        let start = |date: Date| zone.bucket(interval, date).start;
        let mut came: Vec<(Date, BTreeSet<Date>)> = Vec::new();
        for user in 1..5 {
            let of_user = || events.iter().filter(|event| event.3 == user);
            let Some(began) = of_user().filter(|event| event.2 == first).min() else { continue };
            let back = of_user().filter(|event| event.2 == back && *event > began);
            came.push((start(began.0), back.map(|event| start(event.0)).collect()));
        }
        let all = || came.iter().flat_map(|(start, back)| back.iter().chain([start]).copied());
        let Some(last) = all().max() else { return Vec::new() };
        let cohorts: BTreeSet<Date> = came.iter().map(|(start, _)| *start).collect();
        let answer = cohorts.into_iter().map(|cohort| {
            let of_cohort = || came.iter().filter(|(start, _)| *start == cohort);
            let mut back = Vec::new();
            let mut at = cohort;
            while at <= last {
                back.push(of_cohort().filter(|(_, back)| back.contains(&at)).count() as u64);
                at = zone.bucket(interval, at).end;
            }
            (cohort, of_cohort().count() as u64, back)
        });
        answer.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn as_counted_by_hand(
            events in proptest::collection::vec(
                (0_usize..3, 0_usize..5, 0_i64..24 * 60, proptest::bool::weighted(0.2)), 0..80),
            sealed in 0_usize..80,
            kinds in (0_usize..2, 0_usize..2),
            interval in prop_oneof![Just(Interval::Day), Just(Interval::Week), Just(Interval::Month)],
            zone in prop_oneof![Just("UTC"), Just("America/New_York"), Just("Asia/Kathmandu")],
            times in (proptest::option::of(0_i64..600), proptest::option::of(600_i64..1440)),
            bots in any::<bool>(),
        ) {
            // Two months over which New York sets its clocks.
            let date = |hour: i64| Date::from_millis(1_709_251_200_000 + hour * HOUR);
            let zone: Zone = zone.parse().unwrap();
            let trial = Trial::new();
            let sealed = sealed.min(events.len());
            for (part, seal) in [(&events[..sealed], true), (&events[sealed..], false)] {
                let draft = |(kind, user, at, bot): &Happened| {
                    let user = (*user > 0).then(|| format!("u{user}"));
                    event(KINDS[*kind], user.as_deref(), date(*at).millis(), "{}", bot.then_some(BOT))
                };
                if !part.is_empty() {
                    trial.put(part.iter().map(draft).collect());
                }
                if seal {
                    trial.seal();
                }
            }
            let (from, to) = (times.0.map(date), times.1.map(date));
            let question = Question {
                first: KINDS[kinds.0].to_owned(),
                back: KINDS[kinds.1].to_owned(),
                interval,
                zone,
                filter: Filter { from, to, bots, ..Filter::of(ACCOUNT) },
            };
            let answer = question.answer(&trial.store, &Stop::never()).unwrap();
            let mut wanted = Vec::new();
            for (place, (kind, user, at, bot)) in events.iter().enumerate() {
                let at = date(*at);
                if (bots || !bot) && from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to) {
                    wanted.push((at, place, *kind, *user));
                }
            }
            let cohorts: Vec<_> = answer.cohorts.into_iter()
                .map(|cohort| (cohort.from.0, cohort.users, cohort.back)).collect();
            prop_assert_eq!(cohorts, naive(&wanted, kinds, interval, zone));
        }
    }

    #[test]
    fn part_by_part_as_at_once() {
        let trial = Trial::new();
        for (kind, at) in [("a", 0), ("b", 24 * HOUR)] {
            let event = |user: i64| {
                let at = at + user % 2 * 24 * HOUR;
                event(kind, Some(&format!("user {user}")), at, "{}", None)
            };
            trial.put((0..700).map(event).collect());
            trial.seal();
        }
        let (first, back) = ("a".to_owned(), "b".to_owned());
        let (interval, zone, filter) = (Interval::Day, Zone::UTC, Filter::of(ACCOUNT));
        let question = Question { first, back, interval, zone, filter };
        let answer = question.answer(&trial.store, &Stop::never()).unwrap();
        let cohort = |cohort: &Cohort| (cohort.users, cohort.back.clone());
        let cohorts: Vec<_> = answer.cohorts.iter().map(cohort).collect();
        assert_eq!(cohorts, [(350, vec![0, 350, 0]), (350, vec![0, 350])]);
    }

    #[test]
    fn not_over_too_many_intervals() {
        let trial = Trial::new();
        let day = |day: i64| day * 24 * HOUR;
        trial.put(vec![
            event("a", Some("u"), day(5), "{}", None),
            event("b", Some("u"), day(3), "{}", None),
            event("b", Some("u"), day(5), "{}", None),
            event("b", Some("u"), day(104), "{}", None),
            event("b", Some("v"), day(500), "{}", None),
        ]);
        let question = |back: &str, interval| Question {
            first: "a".to_owned(),
            back: back.to_owned(),
            interval,
            zone: Zone::UTC,
            filter: Filter::of(ACCOUNT),
        };
        let answer = question("b", Interval::Day).answer(&trial.store, &Stop::never()).unwrap();
        let back = &answer.cohorts[0].back;
        assert_eq!(
            (back.len(), back[0], back[99], back.iter().sum()),
            (INTERVALS_MAX, 1, 1, 2_u64)
        );
        trial.put(vec![event("b", Some("u"), day(105), "{}", None)]);
        let refused = question("b", Interval::Day).answer(&trial.store, &Stop::never());
        assert!(matches!(refused, Err(Failure::TooLarge(why)) if why.contains("100 intervals")));
        assert!(question("b", Interval::Week).answer(&trial.store, &Stop::never()).is_ok());
        assert!(matches!(
            question("b", Interval::Day).answer(&trial.store, &Stop::new(u64::MAX, &|| true)),
            Err(Failure::Stopping)
        ));
        let nobody = question("none", Interval::Day).answer(&trial.store, &Stop::never()).unwrap();
        let nobody = Answer { lag: 0, ..nobody };
        assert_eq!(
            serde_json::to_string(&nobody).unwrap(),
            r#"{"interval":"day","cohorts":[{"from":"1970-01-06T00:00:00.000Z","users":1,"back":[0]}],"lag":0}"#
        );
    }
}
