//! Steps in order: how many users come how far.
//!
//! Exact, and in bounded memory: of an event that is a step, 16 bytes are kept. Where these or the users are
//! too many at once, the events are walked through several times, for a part of the users each time.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::numbering::{NoRoom, Numbering, Part, Walk, in_parts};
use super::{Failure, Filter, Stop, read_for};
use crate::model::{Date, Overrides};
use crate::schema::Clause;
use crate::store::{Columns, Piece, Store};
use crate::view::is_zero;

/// Steps of a funnel, at the least.
pub const STEPS_MIN: usize = 2;

/// Steps of a funnel, at the most.
pub const STEPS_MAX: usize = 10;

/// Events that are steps of a part of the users, at the most. Few under test, so that parts are tried there.
const EVENTS_MAX: usize = if cfg!(test) { 500 } else { 1_000_000 };

const TOO_LARGE: &str = "more events than 16 times 1000000 are steps, or of more users than 16 times 500000; \
                         narrow it with `from`, `to` and `where`";

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The type of its events. The same may stand in several steps; no event is two steps of one user's way.
    pub kind: String,
    /// What has to hold of them, beside what the question says of all.
    pub clauses: Vec<Clause>,
}

/// How long after the first step the last one counts, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    millis: i64,
    number: u32,
    unit: char,
}

impl Within {
    /// Days at the most: a hundred years.
    pub const DAYS_MAX: u32 = 36_500;

    /// What [`Within::parse`] takes, for a sentence.
    pub const FORMS: &'static str = "a time as `30m`, `12h` or `7d`, of at most 36500 days";

    /// Reads a whole number of minutes, hours or days: `30m`, `12h`, `7d`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Within> {
        let unit = text.chars().next_back()?;
        let unit_millis = match unit {
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        let digits = text.strip_suffix(unit)?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| digits.parse().ok()).flatten().filter(|number| *number > 0)?;
        let millis = i64::from(number) * unit_millis;
        (millis <= i64::from(Within::DAYS_MAX) * 86_400_000).then_some(Within {
            millis,
            number,
            unit,
        })
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit)
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// [`STEPS_MIN`] to [`STEPS_MAX`] of them, in order.
    pub steps: Vec<Step>,
    /// How long a user may take from the first step to the last.
    pub within: Within,
    /// Which events count at all. Its type isn't looked at: the steps have theirs.
    pub filter: Filter,
}

/// How far users come.
///
/// A user's events are in order by date, those of the same date by `seq`. A user has come to a step if there
/// are events of this step and of all before it, each behind the one of the step before, and this one at most
/// [`Question::within`] after that of the first. Of several beginnings the one counts that gets furthest. Events
/// that name no user count for nobody.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// As asked, in order.
    pub steps: Vec<StepAnswer>,
    /// As asked.
    #[serde(serialize_with = "shown")]
    pub within: Within,
    /// Records that no index has yet; the answer is right all the same.
    pub lag: u64,
    /// Records that could not be read, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// How many come to one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepAnswer {
    /// The type of its events.
    pub r#type: String,
    /// Users who come to it.
    pub users: u64,
    /// Their share in those of the first step, from 0 to 1; 0 if there are none.
    pub of_first: f64,
    /// Their share in those of the step before; of the first, in themselves.
    pub of_previous: f64,
}

fn shown<S: serde::Serializer>(within: &Within, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(within)
}

impl Question {
    /// Answers it; between pieces of the log it asks whether to stop.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] if there are too many users or events of these types, even for parts of the users
    /// at a time; those of [`Filter::read`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Answer, Failure> {
        let tally = in_parts(TOO_LARGE, |part, tally| self.count(store, stop, part, tally))?;
        let reached = |step: usize| tally.users.get(step).copied().unwrap_or_default();
        let share =
            |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let steps = self.steps.iter().enumerate().map(|(number, step)| StepAnswer {
            r#type: step.kind.clone(),
            users: reached(number),
            of_first: share(reached(number), reached(0)),
            of_previous: share(reached(number), reached(number.saturating_sub(1))),
        });
        let (lag, missing) = (store.lag().records, tally.missing);
        Ok(Answer { steps: steps.collect(), within: self.within, lag, missing })
    }

    /// Adds how far a part of the users come.
    fn count(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        part: &Part,
        tally: &mut Tally,
    ) -> Result<Result<(), f64>, Failure> {
        let mut gathered = Gathered::new(self, store, part);
        let columns = Columns { dates: true, kinds: true, users: true, ..Columns::default() };
        let mut scan = self.filter.scan(columns);
        self.steps.iter().for_each(|step| read_for(&step.clauses, &mut scan.columns));
        let mut kinds: Vec<String> = self.steps.iter().map(|step| step.kind.clone()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        scan.kinds = Some(kinds);
        let (mut walk, mut no_room) = (Walk::to(store.last_seq()), false);
        let read = self.filter.read(store, scan, &stop.anew(), &mut |piece, rows| {
            walk.come_to(piece.seq(0));
            gathered.add(piece, rows).map_err(|NoRoom| {
                no_room = true;
                // Ends the walk; nobody is told.
                Failure::TooLarge(String::new())
            })
        });
        if no_room {
            return Ok(Err(walk.share()));
        }
        tally.missing = read?.records;
        let mut events = gathered.events;
        events.sort_unstable();
        for events in events.chunk_by(|a, b| a.user() == b.user()) {
            let steps = furthest(events, self.steps.len(), self.within.millis);
            tally.users.iter_mut().take(steps).for_each(|users| *users += 1);
        }
        Ok(Ok(()))
    }
}

/// How many come to each step, and what could not be read.
#[derive(Default)]
struct Tally {
    users: [u64; STEPS_MAX],
    missing: u64,
}

/// An event that is a step. They sort by user, then by date, then by their place in the log.
///
/// From the highest bit on: 20 of the user's number, 64 of the date, 32 of the place among those gathered, 12 of
/// which steps it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event(u128);

impl Event {
    fn new(user: u32, date: Date, place: u32, steps: u16) -> Event {
        // Dates before 1970 are negative, and sort before the others when their sign is turned.
        let date = date.millis() as u64 ^ (1 << 63);
        Event(
            u128::from(user) << 108
                | u128::from(date) << 44
                | u128::from(place) << 12
                | u128::from(steps),
        )
    }

    fn user(self) -> u32 {
        (self.0 >> 108) as u32
    }

    fn millis(self) -> i64 {
        ((self.0 >> 44) as u64 ^ (1 << 63)) as i64
    }

    fn is(self, step: usize) -> bool {
        self.0 >> step & 1 == 1
    }
}

const _: () = {
    assert!(super::numbering::USERS_MAX <= 1 << 20);
    assert!(EVENTS_MAX <= u32::MAX as usize);
    assert!(STEPS_MAX <= 12);
};

/// The steps that one user comes to, from all events of that user in order.
///
/// Of all ways to a step only the one that began last matters: whatever lies in time for another does for it.
fn furthest(events: &[Event], steps: usize, within_millis: i64) -> usize {
    let mut began = [None; STEPS_MAX];
    let mut reached = 0;
    for event in events {
        // From the last step on, so that an event follows on none that it made itself.
        for step in (0..steps.min(reached + 1)).rev() {
            if !event.is(step) {
                continue;
            }
            let start = match step.checked_sub(1) {
                None => Some(event.millis()),
                Some(before) => began[before]
                    .filter(|start| event.millis().saturating_sub(*start) <= within_millis),
            };
            if start.is_some() {
                began[step] = start;
                reached = reached.max(step + 1);
            }
        }
        if reached == steps {
            break;
        }
    }
    reached
}

/// Events that are steps of a part of the users.
struct Gathered<'q> {
    steps: &'q [Step],
    overrides: Arc<Overrides>,
    numbering: Numbering,
    events: Vec<Event>,
}

impl<'q> Gathered<'q> {
    fn new(question: &'q Question, store: &Store, part: &Part) -> Gathered<'q> {
        Gathered {
            steps: &question.steps,
            overrides: store.overrides(question.filter.account),
            numbering: Numbering::new(part),
            events: Vec::new(),
        }
    }

    fn add(&mut self, piece: &Piece<'_>, rows: &[u32]) -> Result<(), NoRoom> {
        let steps_of_kind = |kind: &&str| -> u16 {
            let steps = self.steps.iter().enumerate().filter(|(_, step)| step.kind == *kind);
            steps.map(|(number, _)| 1 << number).sum()
        };
        let steps_of_kinds: Vec<u16> = piece.kinds().iter().map(steps_of_kind).collect();
        self.numbering.turn_to(piece);
        for row in rows.iter().map(|row| *row as usize) {
            let Some(user) = piece.user(row) else { continue };
            let steps = steps_of_kinds.get(piece.kind(row) as usize).copied().unwrap_or_default();
            let steps = self.that_hold(steps, piece.attributes(row), piece.context(row));
            if steps == 0 {
                continue;
            }
            let Some(user) = self.numbering.number_of(piece, user)? else { continue };
            if self.events.len() == EVENTS_MAX {
                return Err(NoRoom);
            }
            self.events.push(Event::new(user, piece.date(row), self.events.len() as u32, steps));
        }
        Ok(())
    }

    /// Those of the steps whose own clauses hold.
    fn that_hold(&self, mut steps: u16, attributes: &str, context: Option<&str>) -> u16 {
        for (number, step) in self.steps.iter().enumerate() {
            if steps >> number & 1 == 1 && !step.clauses.is_empty() {
                let overrides = self.overrides.of_events(&step.kind);
                let holds = |clause: &Clause| clause.holds_of_event(attributes, context, overrides);
                let hold = step.clauses.iter().all(holds);
                steps &= !(u16::from(!hold) << number);
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::trial::{ACCOUNT, BOT, Trial, event};
    use crate::schema::Zone;
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (text, millis) in [
            ("1m", Some(60_000)),
            ("90m", Some(5_400_000)),
            ("12h", Some(43_200_000)),
            ("7d", Some(604_800_000)),
            ("36500d", Some(36_500 * 86_400_000)),
            ("36501d", None),
            ("0d", None),
            ("", None),
            ("d", None),
            ("7", None),
            ("7w", None),
            ("7D", None),
            ("+7d", None),
            (" 7d", None),
            ("1.5d", None),
            ("99999999999d", None),
            ("7é", None),
        ] {
            let within = Within::parse(text);
            assert_eq!(within.map(|within| within.millis), millis, "{text}");
            assert!(within.is_none_or(|within| within.to_string() == text), "{text}");
        }
    }

    #[test]
    fn events_sort_by_user_then_date_then_place() {
        let mut events = Vec::new();
        for user in [0, 1, super::super::numbering::USERS_MAX as u32 - 1] {
            for millis in [i64::MIN, -5, -1, 0, 1, 1_700_000_000_000, i64::MAX] {
                for place in [0, 1, EVENTS_MAX as u32 - 1] {
                    let event = Event::new(user, Date::from_millis(millis), place, 0b10_0000_0001);
                    assert_eq!((event.user(), event.millis()), (user, millis));
                    assert!(event.is(0) && event.is(9) && !event.is(1) && !event.is(10));
                    events.push(event);
                }
            }
        }
        assert!(events.is_sorted_by(|a, b| a < b));
    }

    /// Tries every way there is.
    fn naive(events: &[(i64, u16)], steps: usize, within: i64) -> usize {
        fn go_on(events: &[(i64, u16)], step: usize, steps: usize, until: i64) -> usize {
            if step == steps {
                return step;
            }
            let next = events
                .iter()
                .enumerate()
                .filter(|(_, (at, is))| is >> step & 1 == 1 && *at <= until);
            let furthest =
                next.map(|(place, _)| go_on(&events[place + 1..], step + 1, steps, until));
            furthest.max().unwrap_or(step)
        }
        let starts = events.iter().enumerate().filter(|(_, (_, is))| is & 1 == 1);
        let from = |(place, (at, _)): (usize, &(i64, u16))| {
            go_on(&events[place + 1..], 1, steps, at + within)
        };
        starts.map(from).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_other_way_gets_further(
            mut events in proptest::collection::vec((0_i64..12, 0_u16..16), 0..14),
            steps in 2_usize..5,
            within in 0_i64..8,
        ) {
            events.sort_by_key(|(at, _)| *at);
            let kept: Vec<Event> = (0..).zip(&events)
                .map(|(place, (at, is))| Event::new(3, Date::from_millis(*at), place, *is))
                .collect();
            prop_assert_eq!(furthest(&kept, steps, within), naive(&events, steps, within));
        }
    }

    const MINUTE: i64 = 60_000;

    /// Type, user (0 is none), minute, attribute, whether it is a bot's.
    type Happened = (usize, usize, i64, i64, bool);

    fn any_events() -> impl Strategy<Value = Vec<Happened>> {
        let event = (0_usize..4, 0_usize..4, 0_i64..30, 0_i64..4, proptest::bool::weighted(0.2));
        proptest::collection::vec(event, 0..80)
    }

    const KINDS: [&str; 4] = ["a", "b", "c", "d"];

    fn clauses(least: Option<i64>) -> Vec<Clause> {
        let clause = |least| Clause::parse(&format!("n>={least}"), &Zone::UTC).unwrap();
        least.map(clause).into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn as_counted_by_hand(
            events in any_events(),
            sealed in 0_usize..80,
            steps in proptest::collection::vec((0_usize..4, proptest::option::of(0_i64..4)), 2..5),
            within in 1_u32..12,
            times in (proptest::option::of(0_i64..15), proptest::option::of(15_i64..30)),
            least in proptest::option::of(0_i64..3),
            bots in any::<bool>(),
        ) {
            let trial = Trial::new();
            let drafts = |events: &[Happened]| -> Vec<_> {
                let draft = |(kind, user, at, n, bot): &Happened| {
                    let user = (*user > 0).then(|| format!("u{user}"));
                    let attributes = format!("{{\"n\":{n}}}");
                    let context = bot.then_some(BOT);
                    event(KINDS[*kind], user.as_deref(), at * MINUTE, &attributes, context)
                };
                events.iter().map(draft).collect()
            };
            let sealed = sealed.min(events.len());
            for (part, seal) in [(&events[..sealed], true), (&events[sealed..], false)] {
                if !part.is_empty() {
                    trial.put(drafts(part));
                }
                if seal {
                    trial.seal();
                }
            }
            let (from, to) = times;
            let date = |minute: i64| Date::from_millis(minute * MINUTE);
            let question = Question {
                steps: steps.iter().map(|(kind, least)| Step {
                    kind: KINDS[*kind].to_owned(),
                    clauses: clauses(*least),
                }).collect(),
                within: Within::parse(&format!("{within}m")).unwrap(),
                filter: Filter {
                    from: from.map(date),
                    to: to.map(date),
                    clauses: clauses(least),
                    bots,
                    ..Filter::of(ACCOUNT)
                },
            };
            let answer = question.answer(&trial.store, &Stop::never()).unwrap();

            let mut users = [0; STEPS_MAX];
            for user in 1..4 {
                let mut of_user: Vec<(i64, u16)> = events.iter()
                    .filter(|(_, of, at, n, bot)| *of == user && (bots || !bot)
                        && from.is_none_or(|from| from <= *at) && to.is_none_or(|to| *at < to)
                        && least.is_none_or(|least| *n >= least))
                    .map(|(kind, _, at, n, _)| {
                        let is = |(of, least): &(usize, Option<i64>)| {
                            of == kind && least.is_none_or(|least| *n >= least)
                        };
                        let steps = steps.iter().enumerate().filter(|(_, step)| is(step));
                        (at * MINUTE, steps.map(|(number, _)| 1 << number).sum())
                    })
                    .collect();
                of_user.sort_by_key(|(at, _)| *at);
                let reached = naive(&of_user, steps.len(), i64::from(within) * MINUTE);
                users[..reached].iter_mut().for_each(|users| *users += 1);
            }
            let counted: Vec<u64> = answer.steps.iter().map(|step| step.users).collect();
            prop_assert_eq!(&counted, &users[..steps.len()]);
            for (number, step) in answer.steps.iter().enumerate() {
                prop_assert_eq!(&step.r#type, KINDS[steps[number].0]);
                let share = |of: u64| if of == 0 { 0.0 } else { users[number] as f64 / of as f64 };
                prop_assert_eq!(step.of_first, share(users[0]));
                prop_assert_eq!(step.of_previous, share(users[number.saturating_sub(1)]));
            }
        }
    }

    #[test]
    fn part_by_part_as_at_once() {
        let trial = Trial::new();
        let users = || (0..700).map(|user| format!("user {user}"));
        for (kind, at) in [("a", 0), ("b", 1), ("b", 2)] {
            trial.put(users().map(|user| event(kind, Some(&user), at, "{}", None)).collect());
            trial.seal();
        }
        let step = |kind: &str| Step { kind: kind.to_owned(), clauses: Vec::new() };
        let question = Question {
            steps: vec![step("a"), step("b"), step("b"), step("b")],
            within: Within::parse("1m").unwrap(),
            filter: Filter::of(ACCOUNT),
        };
        let answer = question.answer(&trial.store, &Stop::never()).unwrap();
        let counts: Vec<u64> = answer.steps.iter().map(|step| step.users).collect();
        assert_eq!(counts, [700, 700, 700, 0]);
        // One user is no less however many parts there are.
        let many = (0..=EVENTS_MAX).map(|_| event("a", Some("user 1"), 0, "{}", None));
        trial.put(many.collect());
        let refused = question.answer(&trial.store, &Stop::never());
        assert!(matches!(refused, Err(Failure::TooLarge(why)) if why == TOO_LARGE));
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let trial = Trial::new();
        trial.put(vec![event("a", Some("u"), 0, "{}", None)]);
        let step = |kind: &str| Step { kind: kind.to_owned(), clauses: Vec::new() };
        let within = Within::parse("1d").unwrap();
        let steps = vec![step("a"), step("b")];
        let question = Question { steps, within, filter: Filter::of(ACCOUNT) };
        assert!(matches!(
            question.answer(&trial.store, &Stop::new(u64::MAX, &|| true)),
            Err(Failure::Stopping)
        ));
        let answer = Answer { lag: 0, ..question.answer(&trial.store, &Stop::never()).unwrap() };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"steps":[{"type":"a","users":1,"of_first":1.0,"of_previous":1.0},"#.to_owned()
                + r#"{"type":"b","users":0,"of_first":0.0,"of_previous":0.0}],"within":"1d","lag":0}"#
        );
    }
}
