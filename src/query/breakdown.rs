//! Events by the value of an attribute, or by what a browser told: which values come to most.
//!
//! If it is asked by intervals too, the events are gone through a second time, unless all values together have
//! few points: the first time tells which values are shown, the second what these come to in each interval. So
//! what is kept is bounded by the number of values, and by that of the points that are shown.

mod series;
mod values;

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::measure::{Groups, Measure, Outcome};
use super::{Failure, Filter, Interval, Stop, Zone};
use crate::model::{DataType, Overrides, Seq};
use crate::schema::{CONTEXT, CONTEXTS, Path, find};
use crate::store::{Piece, Scan, Store};
use crate::view::{ShownIn, is_zero};
use series::{Points, TooMany};
use values::{Found, NOT_SET};

pub(super) use values::Values;

pub use values::{VALUES_BYTES_MAX, VALUES_MAX};

/// Values that are shown, at the most.
pub const TOP_MAX: usize = 1_000;

/// Values that are shown, unless it is said how many.
pub const TOP_DEFAULT: usize = 10;

/// Points of all series of an answer, at the most.
pub const POINTS_MAX: usize = 10_000;

/// What events are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The value of an attribute.
    Attribute(Path),
    /// A text that a browser's call came with: `page`, `browser`, `os` or `device`.
    Context(Path),
}

impl By {
    /// What [`By::parse`] takes, for a sentence.
    pub const FORMS: &'static str = "the name of an attribute, or `context:page`, `context:browser`, \
                                     `context:os` or `context:device`";

    /// Reads the name of an attribute, or `context:` and one of what there is.
    #[must_use]
    pub fn parse(text: &str) -> Option<By> {
        match text.strip_prefix(CONTEXT) {
            Some(name) => CONTEXTS.contains(&name).then(|| By::Context(Path::new(name))),
            None => (!text.is_empty()).then(|| By::Attribute(Path::new(text))),
        }
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            By::Attribute(path) => serializer.serialize_str(path.name()),
            By::Context(path) => serializer.collect_str(&format_args!("{CONTEXT}{}", path.name())),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which events.
    pub filter: Filter,
    /// By what they are told apart.
    pub by: By,
    /// What is told of those of one value.
    pub measure: Measure,
    /// In which stretches of time too, if in any.
    pub interval: Option<Interval>,
    /// Where these begin.
    pub zone: Zone,
    /// How many values are shown: 1 to [`TOP_MAX`].
    pub top: usize,
}

/// What the values come to.
#[derive(Debug, Serialize)]
pub struct Breakdown {
    /// As asked.
    pub by: By,
    /// As asked.
    pub measure: Measure,
    /// As asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<&'static str>,
    /// What all events come to, those without a value too.
    pub result: Outcome,
    /// How many they are.
    pub events: u64,
    /// The values that come to most (to least, of the least of numbers), that first; of those that come to the
    /// same, by their order.
    pub rows: Vec<Row>,
    /// All other values.
    pub other: Other,
    /// Events without a value.
    pub not_set: NotSet,
    /// Values that don't convert to the type that is set, and are shown as sent, and values that should be
    /// measured but are no numbers.
    pub not_converted: u64,
    /// Records that no index has yet; they are looked at all the same.
    pub lag: u64,
    /// Records that could not be read, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// One value.
#[derive(Debug, Serialize)]
pub struct Row {
    /// It, as JSON: a number by its fewest digits, a date in UTC.
    pub value: Box<RawValue>,
    /// Its type.
    pub r#type: &'static str,
    /// What its events come to.
    pub result: Outcome,
    /// How many they are.
    pub events: u64,
    /// By interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Point>>,
}

/// Values that aren't shown by themselves.
#[derive(Debug, Serialize)]
pub struct Other {
    /// How many values.
    pub values: usize,
    /// What their events come to.
    pub result: Outcome,
    /// How many they are.
    pub events: u64,
    /// By interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Point>>,
}

/// Events without a value.
#[derive(Debug, Serialize)]
pub struct NotSet {
    /// What they come to.
    pub result: Outcome,
    /// How many they are.
    pub events: u64,
    /// By interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Point>>,
}

/// What events of one stretch of time come to; those without an event are left out.
#[derive(Debug, Serialize)]
pub struct Point {
    /// Where it begins.
    pub from: ShownIn,
    /// What they come to.
    pub result: Outcome,
}

impl Question {
    /// Breaks down.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::TooLarge`] beyond [`VALUES_MAX`], [`VALUES_BYTES_MAX`] or [`POINTS_MAX`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Breakdown, Failure> {
        let mut walk = Walk::new(self, store, stop);
        let Totals { groups, points, not_converted, missing } = Totals::of(&mut walk)?;
        let (shown, others) = ranked(&groups, self.top, &walk.values);
        let row = |number: &u32| Row {
            value: walk.values.json(*number),
            r#type: walk.values.data_type(*number).name(),
            result: groups.outcome(*number as usize),
            events: groups.events[*number as usize],
            series: None,
        };
        let mut rows: Vec<Row> = shown.iter().map(row).collect();
        let (events, result) = groups.all();
        let of = |numbers: &[u32]| groups.together(numbers.iter().map(|number| *number as usize));
        let (other, not_set) = (of(&others), of(&[NOT_SET]));
        let mut other =
            Other { values: others.len(), result: other.1, events: other.0, series: None };
        let mut not_set = NotSet { result: not_set.1, events: not_set.0, series: None };
        drop(groups);
        if let Some(interval) = self.interval {
            let mut series = walk.series(interval, points, &shown)?;
            not_set.series = series.pop();
            other.series = series.pop();
            rows.iter_mut().zip(series).for_each(|(row, series)| row.series = Some(series));
        }
        Ok(Breakdown {
            by: self.by.clone(),
            measure: self.measure.clone(),
            interval: self.interval.map(Interval::name),
            result,
            events,
            rows,
            other,
            not_set,
            not_converted,
            lag: store.lag().records,
            missing,
        })
    }
}

/// A way through the events that are asked about.
struct Walk<'q> {
    question: &'q Question,
    store: &'q Store,
    stop: &'q Stop<'q>,
    overrides: Arc<Overrides>,
    /// So that all ways go through the same events.
    last_seq: Seq,
    values: Values,
}

/// What is shown the rows of a piece that pass, each with its value; and how many values there are so far.
type Visit<'v> = &'v mut dyn FnMut(&Piece<'_>, &[(u32, Found)], usize) -> Result<(), Failure>;

impl<'q> Walk<'q> {
    fn new(question: &'q Question, store: &'q Store, stop: &'q Stop<'q>) -> Walk<'q> {
        let overrides = store.overrides(question.filter.account);
        let (last_seq, values) = (store.last_seq(), Values::default());
        Walk { question, store, stop, overrides, last_seq, values }
    }

    /// Goes through them. How many records could not be read.
    fn go(&mut self, dates: bool, visit: Visit<'_>) -> Result<u64, Failure> {
        let Walk { question, store, stop, overrides, last_seq, values } = self;
        let Question { filter, by, measure, .. } = question;
        let by_attribute = matches!(by, By::Attribute(_));
        let mut columns = measure.columns();
        columns.dates = dates;
        columns.attributes |= by_attribute;
        columns.kinds |= by_attribute;
        columns.contexts |= !by_attribute;
        let scan = Scan { range: 1..=*last_seq, ..filter.scan(columns) };
        let mut found = Vec::new();
        let missing = filter.read(store, scan, stop, &mut |piece, rows| {
            found.clear();
            match by {
                By::Attribute(path) => {
                    let set: Vec<_> = piece
                        .kinds()
                        .iter()
                        .map(|kind| overrides.of_events(kind).get(path.name()))
                        .collect();
                    for row in rows {
                        let at = *row as usize;
                        found.push((
                            *row,
                            match find(piece.attributes(at), path) {
                                Some(raw) => values.find(raw, set[piece.kind(at) as usize])?,
                                None => Found::NONE,
                            },
                        ));
                    }
                }
                By::Context(path) => {
                    let mut known = vec![None; piece.contexts().len()];
                    for row in rows {
                        let value = match piece.context_number(*row as usize) {
                            None => Found::NONE,
                            Some(number) => match known[number as usize] {
                                Some(found) => found,
                                None => {
                                    let context = piece.contexts()[number as usize];
                                    let text = Some(DataType::String);
                                    *known[number as usize].insert(match find(context, path) {
                                        Some(raw) => values.find(raw, text)?,
                                        None => Found::NONE,
                                    })
                                }
                            },
                        };
                        found.push((*row, value));
                    }
                }
            }
            visit(piece, &found, values.len())
        })?;
        Ok(missing.records)
    }
}

/// What each value comes to.
struct Totals<'q> {
    /// By the number of the value.
    groups: Groups<'q>,
    /// By the number of the value too, if they are asked for and few.
    points: Option<Points<'q>>,
    not_converted: u64,
    missing: u64,
}

impl<'q> Totals<'q> {
    fn of(walk: &mut Walk<'q>) -> Result<Totals<'q>, Failure> {
        let question = walk.question;
        let mut groups = Groups::new(&question.measure, question.filter.account);
        groups.grow(1);
        // Sketches of values and those of points would take too much together.
        let interval = question.interval.filter(|_| question.measure != Measure::Users);
        let mut points = interval.map(|interval| Points::new(question, interval));
        let (mut as_sent, overrides) = (0, Arc::clone(&walk.overrides));
        let missing = walk.go(interval.is_some(), &mut |piece, found, values| {
            groups.grow(values);
            let mut measured = groups.measured(piece, &overrides);
            for (row, value) in found {
                let row = *row as usize;
                as_sent += u64::from(value.as_sent);
                groups.add(value.number as usize, &mut measured, row);
                if let Some(few) = &mut points
                    && few.add(value.number, piece.date(row), &mut measured, row).is_err()
                {
                    points = None;
                }
            }
            groups.check()
        })?;
        let not_converted = as_sent + groups.not_converted;
        Ok(Totals { groups, points, not_converted, missing })
    }
}

/// The values that are shown, in order, and all others.
fn ranked(groups: &Groups<'_>, top: usize, values: &Values) -> (Vec<u32>, Vec<u32>) {
    let ascending = groups.is_ascending();
    let mut all: Vec<(Outcome, u32)> = (NOT_SET + 1..values.len() as u32)
        .filter(|number| groups.events[*number as usize] > 0)
        .map(|number| (groups.outcome(number as usize), number))
        .collect();
    let order = |(a, x): &(Outcome, u32), (b, y): &(Outcome, u32)| {
        let size = if ascending { a.order(b, true) } else { b.order(a, false) };
        size.then_with(|| values.order(*x, *y))
    };
    if all.len() > top {
        all.select_nth_unstable_by(top, order);
    }
    let others = all.split_off(top.min(all.len()));
    all.sort_unstable_by(order);
    let numbers = |ranked: Vec<(Outcome, u32)>| ranked.into_iter().map(|(_, number)| number);
    (numbers(all).collect(), numbers(others).collect())
}

impl Walk<'_> {
    /// What the lines of an answer come to in each stretch of time: one for each value that is shown, then that
    /// of all others, then that of events without a value. Goes through the events again unless the points of
    /// all values are there.
    fn series(
        &mut self,
        interval: Interval,
        points: Option<Points<'_>>,
        shown: &[u32],
    ) -> Result<Vec<Vec<Point>>, Failure> {
        let (other, not_set) = (shown.len(), shown.len() + 1);
        let mut lines = vec![other; self.values.len()];
        lines[NOT_SET as usize] = not_set;
        for (line, number) in shown.iter().enumerate() {
            lines[*number as usize] = line;
        }
        let line = |number: u32| lines.get(number as usize).copied().unwrap_or(other);
        if let Some(points) = points {
            return Ok(points.series(not_set + 1, line));
        }
        let mut points = Points::new(self.question, interval);
        let overrides = Arc::clone(&self.overrides);
        self.go(true, &mut |piece, found, _| {
            let mut measured = points.measured(piece, &overrides);
            for (row, value) in found {
                let row = *row as usize;
                let key = line(value.number) as u32;
                points.add(key, piece.date(row), &mut measured, row).map_err(|TooMany| {
                    Failure::TooLarge(format!(
                        "the series of the answer would have more than {POINTS_MAX} points; narrow it with \
                         `from`, `to` and `top`, or ask for a longer `interval`"
                    ))
                })?;
            }
            points.groups.check()
        })?;
        Ok(points.series(not_set + 1, |line| line as usize))
    }
}
