//! What is told of some events: how many they are, of how many users, what an attribute of theirs comes to.
//!
//! Numbers are computed as 64-bit floating point, with what a sum loses by rounding carried along, so that the
//! order of events matters little. A value counts as a number if that is its type, recognised or set; others
//! are told apart, as are numbers beyond what floating point holds.

use serde::{Serialize, Serializer};

use super::Failure;
use crate::model::{AccountId, DataType, Overrides};
use crate::schema::{Path, Reading, Typed, find, read};
use crate::store::index::hash_of_user;
use crate::store::{Columns, Piece, Sketch};

/// Bytes that the sketches of one question take, at the most.
const SKETCHES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How many events.
    Count,
    /// How many distinct users, about: see [`Sketch`].
    Users,
    /// What the values of an attribute come to.
    Of(Aggregate, Path),
}

/// What values come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The least of them.
    Min,
    /// The greatest of them.
    Max,
}

impl Aggregate {
    const ALL: [Aggregate; 4] = [Aggregate::Sum, Aggregate::Avg, Aggregate::Min, Aggregate::Max];

    fn name(self) -> &'static str {
        match self {
            Aggregate::Sum => "sum",
            Aggregate::Avg => "avg",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
        }
    }
}

impl Measure {
    /// What [`Measure::parse`] takes, for a sentence.
    pub const FORMS: &'static str =
        "`count`, `users`, or `sum:NAME`, `avg:NAME`, `min:NAME`, `max:NAME` of an attribute";

    /// Reads `count`, `users`, or `sum`, `avg`, `min` or `max` with a colon and an attribute's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Measure> {
        match text {
            "count" => Some(Measure::Count),
            "users" => Some(Measure::Users),
            _ => {
                let (word, name) = text.split_once(':')?;
                let of = Aggregate::ALL.into_iter().find(|aggregate| aggregate.name() == word)?;
                (!name.is_empty()).then(|| Measure::Of(of, Path::new(name)))
            }
        }
    }

    /// What has to be read for it.
    pub(super) fn columns(&self) -> Columns {
        let numbers = matches!(self, Measure::Of(..));
        Columns {
            users: *self == Measure::Users,
            attributes: numbers,
            kinds: numbers,
            ..Columns::default()
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Measure::Count => serializer.serialize_str("count"),
            Measure::Users => serializer.serialize_str("users"),
            Measure::Of(of, path) => {
                serializer.collect_str(&format_args!("{}:{}", of.name(), path.name()))
            }
        }
    }
}

/// What a measure comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// A number of events or users.
    Count(u64),
    /// A number, unless there was none to be measured.
    Number(Option<f64>),
}

impl Outcome {
    /// By size; none is less than any, or if `ascending`, greater.
    pub(super) fn order(&self, other: &Outcome, ascending: bool) -> std::cmp::Ordering {
        let none = if ascending { f64::INFINITY } else { f64::NEG_INFINITY };
        match (self, other) {
            (Outcome::Count(a), Outcome::Count(b)) => a.cmp(b),
            (Outcome::Number(a), Outcome::Number(b)) => {
                a.unwrap_or(none).total_cmp(&b.unwrap_or(none))
            }
            // All are of one measure.
            _ => std::cmp::Ordering::Equal,
        }
    }
}

/// A whole number is shown as one.
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here, floating point has all whole numbers.
        const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
        match self {
            Outcome::Count(count) => serializer.serialize_u64(*count),
            Outcome::Number(Some(x)) if x.fract() == 0.0 && x.abs() <= WHOLE_MAX => {
                serializer.serialize_i64(*x as i64)
            }
            Outcome::Number(Some(x)) if x.is_finite() => serializer.serialize_f64(*x),
            Outcome::Number(_) => serializer.serialize_none(),
        }
    }
}

/// Numbers that were measured.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    count: u64,
    sum: f64,
    /// What the sum lost (Neumaier).
    lost: f64,
    min: f64,
    max: f64,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers { count: 0, sum: 0.0, lost: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Numbers {
    fn add(&mut self, x: f64) {
        // There is one zero: two would have an order.
        let x = x + 0.0;
        self.count += 1;
        self.add_to_sum(x);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    fn add_to_sum(&mut self, x: f64) {
        let sum = self.sum + x;
        self.lost +=
            if self.sum.abs() >= x.abs() { (self.sum - sum) + x } else { (x - sum) + self.sum };
        self.sum = sum;
    }

    fn merge(&mut self, other: &Numbers) {
        self.count += other.count;
        self.add_to_sum(other.sum);
        self.add_to_sum(other.lost);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    fn outcome(&self, of: Aggregate) -> Option<f64> {
        let sum = self.sum + self.lost;
        // Beyond all numbers, what was lost is none.
        let sum = if sum.is_nan() { self.sum } else { sum };
        if self.count == 0 {
            return (of == Aggregate::Sum).then_some(0.0);
        }
        Some(match of {
            Aggregate::Sum => sum,
            Aggregate::Avg => sum / self.count as f64,
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
        })
    }
}

/// About how many users so many events are of: each is of one at the most.
fn users_of(events: u64, users: &Sketch) -> Outcome {
    Outcome::Count(users.estimate().min(events))
}

/// What is measured of several groups of events, by the group's number.
pub(super) struct Groups<'q> {
    measure: &'q Measure,
    account: AccountId,
    pub events: Vec<u64>,
    numbers: Vec<Numbers>,
    sketches: Vec<Sketch>,
    /// Bytes that the sketches take at most.
    bytes: usize,
    /// Values that were no numbers.
    pub not_converted: u64,
}

/// What of a piece is needed to measure its rows.
pub(super) struct Measured<'p> {
    piece: &'p Piece<'p>,
    /// By type: which data type is set for what is measured.
    set: Vec<Option<DataType>>,
    /// By user: what is sketched, once it was needed.
    users: Vec<Option<u64>>,
}

impl<'q> Groups<'q> {
    /// Of an account's events.
    pub fn new(measure: &'q Measure, account: AccountId) -> Groups<'q> {
        let (events, numbers, sketches) = (Vec::new(), Vec::new(), Vec::new());
        Groups { measure, account, events, numbers, sketches, bytes: 0, not_converted: 0 }
    }

    /// Makes room for so many.
    pub fn grow(&mut self, count: usize) {
        if self.events.len() < count {
            self.events.resize(count, 0);
            match self.measure {
                Measure::Count => {}
                Measure::Users => self.sketches.resize_with(count, Sketch::default),
                Measure::Of(..) => self.numbers.resize_with(count, Numbers::default),
            }
        }
    }

    pub fn measured<'p>(&self, piece: &'p Piece<'p>, overrides: &Overrides) -> Measured<'p> {
        let set = match self.measure {
            Measure::Of(_, path) => {
                let set = |kind: &&str| overrides.of_events(kind).get(path.name());
                piece.kinds().iter().map(set).collect()
            }
            _ => Vec::new(),
        };
        let users = vec![None; piece.users().len()];
        Measured { piece, set, users }
    }

    /// Adds an event to a group that there is room for.
    pub fn add(&mut self, group: usize, measured: &mut Measured<'_>, row: usize) {
        self.events[group] += 1;
        let piece = measured.piece;
        match self.measure {
            Measure::Count => {}
            Measure::Users => {
                if let Some(user) = piece.user(row) {
                    let user = user as usize;
                    // As counts do it: the same users are as many there.
                    let hash = || hash_of_user(self.account, piece.users()[user]);
                    self.sketches[group].insert(*measured.users[user].get_or_insert_with(hash));
                    self.bytes += Sketch::ITEM_BYTES_MAX;
                }
            }
            Measure::Of(_, path) => {
                let set = measured.set.get(piece.kind(row) as usize).copied().flatten();
                match read(find(piece.attributes(row), path), set) {
                    Reading::NotSet => {}
                    Reading::Typed(Typed::Number(number)) => match number.text().parse::<f64>() {
                        Ok(x) if x.is_finite() => self.numbers[group].add(x),
                        _ => self.not_converted += 1,
                    },
                    Reading::Typed(_) | Reading::NotConverted(_) => self.not_converted += 1,
                }
            }
        }
    }

    /// Refuses to go on if the sketches take too much. To be called now and then.
    pub fn check(&mut self) -> Result<(), Failure> {
        // So much more than there may be that it isn't worked out anew for each piece.
        if self.bytes <= SKETCHES_BYTES_MAX / 2 * 3 {
            return Ok(());
        }
        // Many events may have been of few users.
        self.bytes = self.sketches.iter().map(|sketch| Sketch::bytes_of(sketch.estimate())).sum();
        if self.bytes > SKETCHES_BYTES_MAX {
            return Err(Failure::TooLarge(format!(
                "the users of so many values can't be told apart in the {} MiB that a question has for that; \
                 narrow it with `from`, `to` and `where`, or ask for `measure=count`",
                SKETCHES_BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    /// Whether the group that comes first is the one that comes to least.
    pub fn is_ascending(&self) -> bool {
        matches!(self.measure, Measure::Of(Aggregate::Min, _))
    }

    /// The events of all groups, and what the measure comes to in them.
    pub fn all(&self) -> (u64, Outcome) {
        self.together(0..self.events.len())
    }

    /// What the measure comes to in a group.
    pub fn outcome(&self, group: usize) -> Outcome {
        match self.measure {
            Measure::Count => Outcome::Count(self.events[group]),
            Measure::Users => users_of(self.events[group], &self.sketches[group]),
            Measure::Of(of, _) => Outcome::Number(self.numbers[group].outcome(*of)),
        }
    }

    /// The events of several groups, and what the measure comes to in them together.
    pub fn together(&self, groups: impl Iterator<Item = usize>) -> (u64, Outcome) {
        let (mut events, mut users, mut numbers) = (0, Sketch::default(), Numbers::default());
        for group in groups {
            events += self.events[group];
            match self.measure {
                Measure::Count => {}
                Measure::Users => users.merge(&self.sketches[group]),
                Measure::Of(..) => numbers.merge(&self.numbers[group]),
            }
        }
        let outcome = match self.measure {
            Measure::Count => Outcome::Count(events),
            Measure::Users => users_of(events, &users),
            Measure::Of(of, _) => Outcome::Number(numbers.outcome(*of)),
        };
        (events, outcome)
    }
}
