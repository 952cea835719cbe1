//! Values of one attribute as they were sent, and what they count as under a type: a few that differ, and how many
//! convert.
//!
//! Either the newest of them are looked at, as far as so many records go, or all. Of users there is but one value each:
//! the one that they have now. Holds a few values, whatever is looked at.

use std::ops::ControlFlow;

use super::{Failure, Filter, Stop};
use crate::model::overrides::Kind;
use crate::model::{AccountId, Change, DataType, Record, Seq};
use crate::schema::{self, Path, Reading, Typed};
use crate::store::{Columns, Order, Selection, Store};

/// Different values that are given.
pub const EXAMPLES_MAX: usize = 10;

/// Of them, those that don't convert get so many places at least.
const FAILING_MIN: usize = 5;

/// How many records may be read for each event that is wanted.
const READ_PER_EVENT: u64 = 4;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    /// So many users, or newest events of the type, but no more than it takes to find as many different values as are
    /// given.
    Few(u64),
    /// So many; fewer events where finding them takes long.
    Some(u64),
    /// All.
    All,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose.
    pub account: AccountId,
    /// Of users, or of the events of a type.
    pub kind: Kind,
    /// The attribute.
    pub attribute: Path,
    /// The type that its values are tried as; without one, as recognised.
    pub to: Option<DataType>,
    /// How much is looked at.
    pub most: Most,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its JSON text, as it was sent.
    pub sent: String,
    /// What it counts as; none if it doesn't convert.
    pub read: Option<Typed<'static>>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Different values, at most [`EXAMPLES_MAX`]: those that convert first.
    pub examples: Vec<Example>,
    /// Values that convert.
    pub converted: u64,
    /// Values that don't.
    pub not_converted: u64,
    /// Whether all values were looked at.
    pub is_whole: bool,
    /// Records that could not be read, at the most.
    pub missing: u64,
}

impl Question {
    /// Answers it. All of an event's attribute are read as [`Filter::read`] does.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Answer, Failure> {
        let mut tally = Tally { question: self, answer: Answer::default(), failing: Vec::new() };
        match (&self.kind, self.most) {
            (Kind::User, most) => tally.users(store, stop, most)?,
            (Kind::Event(kind), Most::All) => tally.all_events(store, stop, kind)?,
            (Kind::Event(kind), Most::Few(most) | Most::Some(most)) => {
                tally.newest_events(store, stop, kind, most)?;
            }
        }
        Ok(tally.end())
    }
}

/// Shows `visit` the attributes of the newest events of a type, or of some users: `most` at the most, fewer where finding
/// them takes long.
///
/// # Errors
/// [`Failure`].
pub fn newest(
    store: &Store,
    account: AccountId,
    kind: &Kind,
    most: u64,
    stop: &Stop<'_>,
    visit: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let mut show = |attributes: &str| {
        visit(attributes);
        ControlFlow::Continue(())
    };
    match kind {
        Kind::User => users(store, account, most, stop, &mut show).map(drop),
        Kind::Event(of) => newest_events(store, account, of, most, stop, &mut show).map(drop),
    }
}

/// What is shown attributes, and says whether it wants more.
type Visit<'v> = &'v mut dyn FnMut(&str) -> ControlFlow<()>;

/// Shows those of users, and says whether they were all.
fn users(
    store: &Store,
    account: AccountId,
    most: u64,
    stop: &Stop<'_>,
    visit: Visit<'_>,
) -> Result<bool, Failure> {
    let (mut looked_at, mut ended) = (0, false);
    store.each_user(account, Order::Ascending, None, &mut |user| {
        if stop.is_due() || looked_at == most {
            ended = true;
            return Ok(ControlFlow::Break(()));
        }
        looked_at += 1;
        let flow = visit(user.attributes);
        ended = flow.is_break();
        Ok(flow)
    })?;
    stop.check()?;
    Ok(!ended)
}

/// Shows those of the newest events of a type, and says whether they were all, and how many records are missing.
fn newest_events(
    store: &Store,
    account: AccountId,
    kind: &str,
    most: u64,
    stop: &Stop<'_>,
    visit: Visit<'_>,
) -> Result<(bool, u64), Failure> {
    let filter = Filter { kind: Some(kind.to_owned()), ..Filter::of(account) };
    let selection = Selection::matching(&filter.plain());
    let (mut looked_at, mut ended) = (0, false);
    let mut show = |_: Seq, record: &Record<'_>| {
        let Change::Event(event) = &record.change else {
            return Ok(ControlFlow::Continue(()));
        };
        if event.account != account || event.kind != kind {
            return Ok(ControlFlow::Continue(()));
        }
        if looked_at == most || stop.is_due() {
            ended = true;
            return Ok(ControlFlow::Break(()));
        }
        looked_at += 1;
        let flow = visit(event.attributes);
        ended = flow.is_break();
        Ok(flow)
    };
    // Where there are few, others lie between.
    let reads = most.saturating_mul(READ_PER_EVENT);
    let (missing, unread) = store.select_some(&selection, Order::Descending, reads, &mut show)?;
    stop.check()?;
    Ok((!ended && unread.is_none(), missing.records))
}

struct Tally<'q> {
    question: &'q Question,
    /// Its examples convert.
    answer: Answer,
    failing: Vec<Example>,
}

impl Tally<'_> {
    /// Takes in the value that some attributes have, if they have it.
    fn add(&mut self, attributes: &str) {
        let Question { attribute, to, .. } = self.question;
        let Some(raw) = schema::find(attributes, attribute) else { return };
        let (read, examples) = match schema::read(Some(raw), *to) {
            Reading::NotSet => return,
            Reading::Typed(value) => {
                self.answer.converted += 1;
                (Some(value), &mut self.answer.examples)
            }
            Reading::NotConverted(_) => {
                self.answer.not_converted += 1;
                (None, &mut self.failing)
            }
        };
        if examples.len() < EXAMPLES_MAX && !examples.iter().any(|known| known.sent == raw) {
            let read = read.map(Typed::into_owned);
            examples.push(Example { sent: raw.to_owned(), read });
        }
    }

    /// Whether nothing more is to be learnt.
    fn is_enough(&self) -> bool {
        let found = self.answer.examples.len() + self.failing.len();
        matches!(self.question.most, Most::Few(_)) && found >= EXAMPLES_MAX
    }

    /// Takes in a value, and says whether more are wanted.
    fn take(&mut self, attributes: &str) -> ControlFlow<()> {
        self.add(attributes);
        if self.is_enough() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn users(&mut self, store: &Store, stop: &Stop<'_>, most: Most) -> Result<(), Failure> {
        let most = match most {
            Most::Few(most) | Most::Some(most) => most,
            Most::All => u64::MAX,
        };
        let account = self.question.account;
        let is_whole = users(store, account, most, stop, &mut |sent| self.take(sent))?;
        self.answer.is_whole = is_whole;
        Ok(())
    }

    fn newest_events(
        &mut self,
        store: &Store,
        stop: &Stop<'_>,
        kind: &str,
        most: u64,
    ) -> Result<(), Failure> {
        let account = self.question.account;
        let found = newest_events(store, account, kind, most, stop, &mut |sent| self.take(sent))?;
        (self.answer.is_whole, self.answer.missing) = found;
        Ok(())
    }

    fn all_events(&mut self, store: &Store, stop: &Stop<'_>, kind: &str) -> Result<(), Failure> {
        let filter = Filter { kind: Some(kind.to_owned()), ..Filter::of(self.question.account) };
        let scan = filter.scan(Columns { attributes: true, ..Columns::default() });
        let missing = filter.read(store, scan, stop, &mut |piece, rows| {
            rows.iter().for_each(|row| self.add(piece.attributes(*row as usize)));
            Ok(())
        })?;
        self.answer.missing = missing.records;
        self.answer.is_whole = true;
        Ok(())
    }

    fn end(mut self) -> Answer {
        let examples = &mut self.answer.examples;
        let failing = self.failing.len().min(FAILING_MIN.max(EXAMPLES_MAX - examples.len()));
        examples.truncate(EXAMPLES_MAX - failing);
        examples.extend(self.failing.drain(..failing));
        self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::trial::{ACCOUNT, Trial, event, update};

    fn of(kind: Kind, to: Option<DataType>, most: Most) -> Question {
        Question { account: ACCOUNT, kind, attribute: Path::new("n"), to, most }
    }

    fn texts(answer: &Answer) -> Vec<(&str, bool)> {
        answer.examples.iter().map(|one| (one.sent.as_str(), one.read.is_some())).collect()
    }

    #[test]
    fn values_that_differ_and_how_many_convert() {
        let trial = Trial::new();
        let value =
            |n: i64| if n % 4 == 0 { "\"x\"".to_owned() } else { format!("\"{}\"", n % 20) };
        let events =
            (0..100).map(|n| event("buy", None, n, &format!("{{\"n\":{}}}", value(n)), None));
        let others = (0..100).map(|n| event("view", None, n, "{\"n\":[]}", None));
        trial.put(events.chain(others).collect());
        trial.put(vec![
            event("buy", None, 1, "{\"n\":null}", None),
            event("buy", None, 1, "{}", None),
        ]);
        let buy = || Kind::Event("buy".to_owned());
        for most in [Most::All, Most::Some(1_000)] {
            let number = of(buy(), Some(DataType::Number), most);
            let answer = number.answer(&trial.store, &Stop::never()).expect("an answer");
            assert_eq!((answer.converted, answer.not_converted), (75, 25), "{most:?}");
            assert!(answer.is_whole && answer.missing == 0);
            let examples = texts(&answer);
            assert_eq!(examples.len(), EXAMPLES_MAX);
            assert_eq!(examples[9], ("\"x\"", false), "one that doesn't convert is among them");
            assert!(examples[..9].iter().all(|(_, is_read)| *is_read));
            let read = answer.examples[0].read.as_ref().expect("a number");
            assert_eq!(read.data_type(), DataType::Number);
        }
        let few = of(buy(), None, Most::Few(1_000)).answer(&trial.store, &Stop::never()).unwrap();
        assert!(few.examples.len() == EXAMPLES_MAX && !few.is_whole);
        let some = of(buy(), None, Most::Some(5)).answer(&trial.store, &Stop::never()).unwrap();
        // The two newest have no value.
        assert_eq!((some.is_whole, some.converted), (false, 3));
        let none = of(Kind::Event("none".to_owned()), None, Most::All);
        let none = none.answer(&trial.store, &Stop::never()).unwrap();
        assert_eq!(none, Answer { is_whole: true, ..Answer::default() });
        let stopped =
            of(buy(), None, Most::All).answer(&trial.store, &Stop::new(u64::MAX, &|| true));
        assert!(matches!(stopped, Err(Failure::Stopping)));
    }

    #[test]
    fn of_users_there_is_one_value_each() {
        let trial = Trial::new();
        let users = (0..20).map(|n| update(&format!("u{n}"), &format!("{{\"n\":{}}}", n % 7), n));
        trial.put(users.collect());
        trial.put(vec![update("u1", "{\"n\":\"late\"}", 99)]);
        let number = of(Kind::User, Some(DataType::Number), Most::All);
        let answer = number.answer(&trial.store, &Stop::never()).expect("an answer");
        assert_eq!((answer.converted, answer.not_converted, answer.is_whole), (19, 1, true));
        assert_eq!(texts(&answer).last(), Some(&("\"late\"", false)));
        let some = of(Kind::User, None, Most::Some(20)).answer(&trial.store, &Stop::never());
        assert!(some.unwrap().is_whole);
        let some = of(Kind::User, None, Most::Some(19)).answer(&trial.store, &Stop::never());
        let some = some.unwrap();
        assert_eq!((some.converted, some.is_whole), (19, false));
        let stopped =
            of(Kind::User, None, Most::All).answer(&trial.store, &Stop::new(u64::MAX, &|| true));
        assert!(matches!(stopped, Err(Failure::Stopping)));
    }
}
