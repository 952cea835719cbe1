//! What clients know of the calls that they made, held against what a server exports: all that was acknowledged is
//! there once, nothing twice, nothing in part, and nothing that was refused.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// What the clients know at the end.
pub struct Ledger {
    pub calls: Vec<Call>,
    /// By their kind.
    pub answers: BTreeMap<String, Answers>,
}

/// How many there were, and how long the slowest took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers {
    pub count: u64,
    pub longest: Duration,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub what: What,
    /// Whether it bore a key, so that it may have been sent more than once.
    pub keyed: bool,
    /// Whether it has to be refused.
    pub wrong: bool,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub enum What {
    /// Events by their numbers, which no other call has.
    Events(Vec<u64>),
    /// A user, and the number that the user is to have.
    User { id: String, n: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// It may have been stored or not.
    Uncertain,
    /// Refused for good, or never sent.
    NotTaken,
}

impl Ledger {
    /// Holds exports in JSON lines against it; says what is wrong first.
    pub fn check(&self, events: &[u8], users: &[u8]) -> Result<(), String> {
        let stored = numbers(events);
        let mut expected = 0;
        for call in &self.calls {
            let What::Events(numbers) = &call.what else { continue };
            let times: Vec<_> =
                numbers.iter().map(|number| stored.get(number).copied().unwrap_or(0)).collect();
            if times.iter().any(|each| *each != times[0]) {
                return Err(format!("stored in part, {times:?}: {call:?}"));
            }
            let allowed: &[u64] = match call.outcome {
                Outcome::Acknowledged => &[1],
                Outcome::Uncertain if !call.wrong => &[0, 1],
                Outcome::Uncertain | Outcome::NotTaken => &[0],
            };
            if !allowed.contains(&times[0]) {
                return Err(format!("stored {} times: {call:?}", times[0]));
            }
            expected += times.iter().sum::<u64>();
        }
        let all: u64 = stored.values().sum();
        if all != expected {
            return Err(format!(
                "{all} events are stored, of which {} nobody sent",
                all - expected
            ));
        }
        self.check_users(users)
    }

    /// A user has the number of the last call that was acknowledged, or one that may have come later.
    fn check_users(&self, users: &[u8]) -> Result<(), String> {
        let mut allowed: BTreeMap<&str, Allowed> = BTreeMap::new();
        for call in &self.calls {
            let What::User { id, n } = &call.what else { continue };
            let allowed = allowed.entry(id).or_default();
            match call.outcome {
                Outcome::Acknowledged => allowed.last = Some(*n),
                Outcome::Uncertain => allowed.uncertain.push(*n),
                Outcome::NotTaken => {}
            }
        }
        let stored: BTreeMap<String, u64> = lines(users)
            .map(|user| {
                let n = user["attributes"]["n"].as_u64().expect("a number");
                (user["id"].as_str().expect("text").to_owned(), n)
            })
            .collect();
        for (id, allowed) in &allowed {
            let n = stored.get(*id).copied();
            let uncertain = n.is_some_and(|n| allowed.uncertain.contains(&n));
            if n != allowed.last && !uncertain {
                return Err(format!("user {id} has {n:?} in place of {:?}", allowed.last));
            }
        }
        match stored.keys().find(|id| !allowed.contains_key(id.as_str())) {
            Some(id) => Err(format!("user {id} was never sent")),
            None => Ok(()),
        }
    }

    /// For whoever watches.
    pub fn summary(&self) -> String {
        let count = |outcome| self.calls.iter().filter(|call| call.outcome == outcome).count();
        let (acknowledged, uncertain) = (count(Outcome::Acknowledged), count(Outcome::Uncertain));
        let mut text =
            format!("{acknowledged} calls acknowledged, {uncertain} uncertain; answers:");
        for (kind, Answers { count, longest }) in &self.answers {
            text += &format!("\n  {kind}: {count}, the slowest after {longest:.2?}");
        }
        text
    }
}

/// Of one user: what the last acknowledged call said, and what others may have.
#[derive(Default)]
struct Allowed {
    last: Option<u64>,
    uncertain: Vec<u64>,
}

/// How often each number is there.
fn numbers(events: &[u8]) -> BTreeMap<u64, u64> {
    let mut numbers = BTreeMap::new();
    for event in lines(events) {
        let number = event["attributes"]["n"].as_u64().expect("a number");
        *numbers.entry(number).or_default() += 1;
    }
    numbers
}

fn lines(export: &[u8]) -> impl Iterator<Item = Value> {
    let lines = export.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a line of JSON"))
}

#[test]
fn a_ledger_sees_what_is_lost_doubled_or_made_up() {
    let call = |numbers: &[u64], outcome| {
        let what = What::Events(numbers.to_vec());
        Call { what, keyed: false, wrong: false, outcome }
    };
    let user = |n, outcome| {
        let what = What::User { id: "u".to_owned(), n };
        Call { what, keyed: false, wrong: false, outcome }
    };
    use Outcome::{Acknowledged, NotTaken, Uncertain};
    let ledger = Ledger {
        calls: vec![
            call(&[1], Acknowledged),
            call(&[2, 3], Acknowledged),
            call(&[4, 5], Uncertain),
            call(&[6], NotTaken),
            user(1, Acknowledged),
            user(2, Uncertain),
            user(3, Acknowledged),
        ],
        answers: BTreeMap::new(),
    };
    for (events, n, fine) in [
        (&[1, 2, 3][..], 3, true),
        (&[1, 2, 3, 4, 5], 2, true),
        (&[2, 3], 3, false),
        (&[1, 2], 3, false),
        (&[1, 1, 2, 3], 3, false),
        (&[1, 2, 3, 4], 3, false),
        (&[1, 2, 3, 4, 4, 5, 5], 3, false),
        (&[1, 2, 3, 6], 3, false),
        (&[1, 2, 3, 7], 3, false),
        (&[1, 2, 3], 1, false),
    ] {
        let lines: Vec<_> =
            events.iter().map(|n| format!(r#"{{"attributes":{{"n":{n}}}}}"#)).collect();
        let users = format!(r#"{{"id":"u","attributes":{{"n":{n}}}}}"#);
        let checked = ledger.check(lines.join("\n").as_bytes(), users.as_bytes());
        assert_eq!(checked.is_ok(), fine, "{events:?} {n}: {checked:?}");
    }
}
