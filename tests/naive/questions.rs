//! The questions, asked of a list of events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Event;
use super::values::{Clause, Decimal, Overrides, Reading, Typed, read, recognised};
use super::zones::{Interval, Zone};
use crate::support::escape;

/// What is common to the questions.
#[derive(Clone, Debug)]
pub struct Filter {
    pub kind: Option<String>,
    pub user: Option<String>,
    /// As it is written, and what it is.
    pub from: Option<(String, i64)>,
    pub to: Option<(String, i64)>,
    pub clauses: Vec<Clause>,
    pub zone: Zone,
    pub bots: bool,
}

impl Filter {
    /// As parameters; each begins with `&`.
    pub fn parameters(&self) -> String {
        let mut text = String::new();
        let mut put = |name: &str, value: &str| text += &format!("&{name}={}", escape(value));
        if let Some(kind) = &self.kind {
            put("type", kind);
        }
        if let Some(user) = &self.user {
            put("user_id", user);
        }
        for (name, date) in [("from", &self.from), ("to", &self.to)] {
            if let Some((written, _)) = date {
                put(name, written);
            }
        }
        for clause in &self.clauses {
            put("where", &clause.text());
        }
        if self.zone != Zone::Utc {
            put("tz", self.zone.name());
        }
        if self.bots {
            put("bots", "1");
        }
        text
    }

    /// Those that are meant, but for what they are left out for as somebody's.
    pub fn all<'e>(&self, events: &'e [Event], overrides: &Overrides) -> Vec<&'e Event> {
        let wanted = |event: &&Event| {
            let of_kind = format!("event:{}", event.kind);
            self.kind.as_ref().is_none_or(|kind| *kind == event.kind)
                && self.user.as_ref().is_none_or(|user| Some(user) == event.user.as_ref())
                && self.from.as_ref().is_none_or(|(_, from)| event.date >= *from)
                && self.to.as_ref().is_none_or(|(_, to)| event.date < *to)
                && self.clauses.iter().all(|clause| {
                    let reading = read(&event.attributes, &clause.name, &of_kind, overrides);
                    clause.holds(&reading)
                })
        };
        events.iter().filter(wanted).collect()
    }

    /// Those that are counted.
    pub fn counted<'e>(&self, events: &'e [Event], overrides: &Overrides) -> Vec<&'e Event> {
        let mut counted = self.all(events, overrides);
        counted.retain(|event| self.bots || !event.is_nobodys());
        counted
    }
}

/// How many events, and who they are of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub count: u64,
    pub users: BTreeSet<String>,
    pub visitors: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, event: &Event) {
        self.count += 1;
        self.users.extend(event.user.clone());
        let visitor = event.context.get("visitor").and_then(|visitor| visitor.as_str());
        self.visitors.extend(visitor.map(str::to_owned));
    }
}

/// By beginning and type.
pub fn stats(
    events: &[&Event],
    zone: Zone,
    interval: Interval,
) -> (Tally, BTreeMap<(i64, String), Tally>) {
    let (mut all, mut rows) = (Tally::default(), BTreeMap::<_, Tally>::new());
    for event in events {
        all.add(event);
        let start = zone.start(event.date, interval);
        rows.entry((start, event.kind.clone())).or_default().add(event);
    }
    (all, rows)
}

/// How many users come to each step.
pub fn funnel(events: &[&Event], steps: &[String], within: i64) -> Vec<u64> {
    let mut reached = vec![0; steps.len()];
    for events in by_user(events).values() {
        // Every beginning is tried, and from there the next of each step taken.
        let mut furthest = 0;
        for (first, start) in events.iter().enumerate().filter(|(_, event)| event.kind == steps[0])
        {
            let mut at = first;
            let mut came = 1;
            for step in &steps[1..] {
                let next = (at + 1..events.len()).find(|next| events[*next].kind == *step);
                let Some(next) = next else { break };
                if events[next].date - start.date > within {
                    break;
                }
                (at, came) = (next, came + 1);
            }
            furthest = furthest.max(came);
        }
        reached[..furthest].iter_mut().for_each(|users| *users += 1);
    }
    reached
}

/// Each user's events by date, then by position.
fn by_user<'e>(events: &[&'e Event]) -> BTreeMap<&'e str, Vec<&'e Event>> {
    let mut users: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        if let Some(user) = &event.user {
            users.entry(user).or_default().push(event);
        }
    }
    for events in users.values_mut() {
        events.sort_by_key(|event| (event.date, event.seq));
    }
    users
}

/// By the beginning of an interval: how many began in it, and how many of them came back in it and in those
/// that follow.
pub fn retention(
    events: &[&Event],
    first: &str,
    back: &str,
    zone: Zone,
    interval: Interval,
) -> BTreeMap<i64, (u64, Vec<u64>)> {
    let mut users: Vec<(i64, BTreeSet<i64>)> = Vec::new();
    for events in by_user(events).values() {
        let Some(begun) = events.iter().position(|event| event.kind == first) else { continue };
        let later = events[begun + 1..].iter().filter(|event| event.kind == back);
        let later = later.map(|event| zone.start(event.date, interval)).collect();
        users.push((zone.start(events[begun].date, interval), later));
    }
    let last = users.iter().flat_map(|(begun, later)| later.iter().chain([begun])).max().copied();
    let mut cohorts = BTreeMap::new();
    for (begun, _) in &users {
        let of_it: Vec<_> = users.iter().filter(|(other, _)| other == begun).collect();
        let (mut back, mut start) = (Vec::new(), *begun);
        while Some(start) <= last {
            back.push(of_it.iter().filter(|(_, later)| later.contains(&start)).count() as u64);
            start = zone.next(start, interval);
        }
        cohorts.insert(*begun, (of_it.len() as u64, back));
    }
    cohorts
}

/// What is measured.
#[derive(Clone, Debug)]
pub enum Measure {
    Count,
    Users,
    Sum(String),
    Avg(String),
    Min(String),
    Max(String),
}

impl Measure {
    pub fn text(&self) -> String {
        match self {
            Measure::Count => "count".to_owned(),
            Measure::Users => "users".to_owned(),
            Measure::Sum(name) => format!("sum:{name}"),
            Measure::Avg(name) => format!("avg:{name}"),
            Measure::Min(name) => format!("min:{name}"),
            Measure::Max(name) => format!("max:{name}"),
        }
    }

    /// What it comes to; none where there is nothing that it could come to.
    pub fn of(&self, events: &[&Event], overrides: &Overrides) -> Option<f64> {
        let users =
            || events.iter().filter_map(|event| event.user.as_ref()).collect::<BTreeSet<_>>();
        let (numbers, _) = self.numbers(events, overrides);
        let sum: f64 = numbers.iter().sum();
        match self {
            Measure::Count => Some(events.len() as f64),
            Measure::Users => Some(users().len() as f64),
            Measure::Sum(_) => Some(sum),
            Measure::Avg(_) => (!numbers.is_empty()).then(|| sum / numbers.len() as f64),
            Measure::Min(_) => numbers.into_iter().reduce(f64::min),
            Measure::Max(_) => numbers.into_iter().reduce(f64::max),
        }
    }

    /// What is measured, and how many values aren't numbers.
    pub fn numbers(&self, events: &[&Event], overrides: &Overrides) -> (Vec<f64>, u64) {
        let name = match self {
            Measure::Count | Measure::Users => return (Vec::new(), 0),
            Measure::Sum(name) | Measure::Avg(name) | Measure::Min(name) | Measure::Max(name) => {
                name
            }
        };
        let (mut numbers, mut others) = (Vec::new(), 0);
        for event in events {
            match read(&event.attributes, name, &format!("event:{}", event.kind), overrides) {
                Reading::NotSet => {}
                Reading::Typed(Typed::Number(number)) => numbers.push(number.float()),
                Reading::Typed(_) | Reading::NotConverted(_) => others += 1,
            }
        }
        (numbers, others)
    }
}

/// A value that events are told apart by, in the order of values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    String(String),
    Number(Decimal),
    Boolean(bool),
    Date(i64),
    List(String),
    Object(String),
}

impl Key {
    pub fn of(value: Typed) -> Key {
        match value {
            Typed::String(text) => Key::String(text),
            Typed::Number(number) => Key::Number(number),
            Typed::Boolean(truth) => Key::Boolean(truth),
            Typed::Date(at) => Key::Date(at),
            Typed::List(values) => Key::List(Value::from(values).to_string()),
            Typed::Object(map) => Key::Object(Value::from(map).to_string()),
        }
    }

    /// As an answer tells it.
    pub fn told(data_type: &str, value: &Value) -> Key {
        let text = value.as_str().map(str::to_owned);
        match data_type {
            "String" => Key::String(text.expect("text")),
            "Number" => Key::Number(Decimal::of(&value.to_string())),
            "Boolean" => Key::Boolean(value.as_bool().expect("a truth")),
            "Date" => Key::Date(super::zones::millis(&text.expect("a date"))),
            "List" => Key::List(value.to_string()),
            "Object" => Key::Object(value.to_string()),
            other => panic!("{other} is no type"),
        }
    }
}

/// Events by value, those without one, and how many have one that doesn't convert.
pub fn by_value<'e>(
    events: &[&'e Event],
    by: &str,
    overrides: &Overrides,
) -> (BTreeMap<Key, Vec<&'e Event>>, Vec<&'e Event>, u64) {
    let (mut values, mut without, mut as_sent) = (BTreeMap::<_, Vec<&Event>>::new(), Vec::new(), 0);
    for event in events.iter().copied() {
        let key = match by.strip_prefix("context:") {
            Some(name) => event
                .context
                .get(name)
                .map(|text| Key::String(text.as_str().expect("text").to_owned())),
            None => {
                match read(&event.attributes, by, &format!("event:{}", event.kind), overrides) {
                    Reading::NotSet => None,
                    Reading::Typed(value) => Some(Key::of(value)),
                    Reading::NotConverted(value) => {
                        as_sent += 1;
                        recognised(&value).map(Key::of)
                    }
                }
            }
        };
        match key {
            Some(key) => values.entry(key).or_default().push(event),
            None => without.push(event),
        }
    }
    (values, without, as_sent)
}
