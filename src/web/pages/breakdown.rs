//! The breakdown of `/accounts/{account}/events`: which values of an attribute, or of what a browser tells, come to
//! most.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::events::tabs;
use super::filter::{self, Filter, Said, clause_of, clause_of_context};
use super::period::Period;
use crate::asking::Failure;
use crate::http::Response;
use crate::model::{DataType, Date};
use crate::query::breakdown::{self, By};
use crate::query::measure::{Measure, Outcome};
use crate::query::types;
use crate::schema::{CONTEXT, CONTEXTS, Clause, Interval, Zone};
use crate::web::chart::{Spark, beginnings};
use crate::web::format::{Format, NOTHING, heading};
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::{Bar, Choice, Tab, cut};
use crate::web::visit::Visit;

/// Of what time events are broken down, unless the address says: each of them is read.
const PERIOD: Period = Period::days(7);

/// Attributes that are offered to be chosen from: those with the most values.
const OFFERED_MAX: usize = 60;

/// Characters of a value in a list.
const VALUE_CHARS_MAX: usize = 120;

/// Values whose numbers are shown over time.
const SERIES_MAX: usize = 10;

/// Intervals whose numbers are shown; of more, the newest.
const INTERVALS_MAX: usize = 400;

#[derive(Template)]
#[template(path = "breakdown.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    filter: Filter,
    said: Vec<Said>,
    by: String,
    measure: String,
    tops: Vec<Choice>,
    intervals: Vec<Choice>,
    /// Links to break down by.
    offered: Vec<Offered>,
    measures: Vec<String>,
    found: Option<Result<Found, String>>,
}

/// What can be broken down by.
struct Offered {
    name: String,
    href: String,
    data_type: &'static str,
}

/// What came out.
struct Found {
    bars: Vec<Bar>,
    /// What the numbers are, as `events`.
    unit: String,
    sums: Vec<(String, String)>,
    notes: Vec<String>,
    series: Option<Series>,
}

/// The same by interval.
struct Series {
    heading: &'static str,
    sparks: Vec<(String, Spark)>,
    rows: Vec<(String, Vec<String>)>,
}

/// The page.
pub(super) fn breakdown(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (params, format, account) = (visit.params(), visit.format(), visit.account()?.id);
    let filter = Filter::of(visit, "events", PERIOD)?
        .with_types(filter::types(visit)?)
        .with_others(&["by", "measure", "top", "interval"]);
    let mut frame = visit.frame_of(Section::Events, "Events", &[]);
    let known =
        visit.part(types::all(&visit.rooms.store, account, visit.stop).map_err(Failure::from))?;
    let known = Known::of(&known.map(|known| known.types).unwrap_or_default(), &filter);
    let is_asked = params.text("by").is_some();
    let asked = filter.question().and_then(|asked| {
        let question = is_asked.then(|| params.breakdown(account)).transpose()?;
        Ok(question.map(|question| breakdown::Question { filter: asked, ..question }))
    });
    let mut status = 200;
    let found = match asked {
        Ok(None) => None,
        Ok(Some(question)) => Some(visit.part(find(visit, &filter, &question, &format))?),
        Err(reject) => {
            status = 400;
            frame.notice = Some(Notice::refused(&reject));
            None
        }
    };
    let text = |name: &str| params.text(name).unwrap_or_default();
    let tops = [("10", "10"), ("25", "25"), ("100", "100")];
    let intervals = [
        ("", "No"),
        ("hour", "By hour"),
        ("day", "By day"),
        ("week", "By week"),
        ("month", "By month"),
    ];
    let page = Page {
        tabs: tabs(&filter, true),
        said: filter.said(&format),
        by: text("by"),
        measure: text("measure"),
        tops: Choice::of(&tops, &text("top")),
        intervals: Choice::of(&intervals, &text("interval")),
        offered: known.offered,
        measures: known.measures,
        found,
        filter,
        frame,
    };
    visit.page_as(status, &page)
}

/// What events are known to have.
struct Known {
    offered: Vec<Offered>,
    measures: Vec<String>,
}

impl Known {
    fn of(types: &[types::AttributeType], filter: &Filter) -> Known {
        let kind = format!("event:{}", filter.kind);
        let is_wanted = |of: &str| match filter.kind.as_str() {
            "" => of.starts_with("event:"),
            _ => of == kind,
        };
        let mut counts = BTreeMap::<&str, (u64, Option<DataType>)>::new();
        for one in types.iter().filter(|one| is_wanted(&one.kind)) {
            let Some(name) = one.attribute.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let (count, data_type) = counts.entry(name).or_default();
            *count += one.values;
            *data_type = data_type.or(one.r#type);
        }
        let mut names: Vec<_> = counts.into_iter().collect();
        names.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(b.0)));
        names.truncate(OFFERED_MAX);
        let offered = |name: &str, data_type: &'static str| Offered {
            name: name.to_owned(),
            href: filter.with_all(&[("view", "breakdown"), ("by", name)]),
            data_type,
        };
        let contexts = CONTEXTS.iter().map(|name| offered(&format!("{CONTEXT}{name}"), ""));
        let attributes = names
            .iter()
            .map(|(name, (_, data_type))| offered(name, data_type.map_or("", DataType::name)));
        let numbers = names.iter().filter(|(_, (_, of))| *of == Some(DataType::Number));
        let of_numbers = numbers.flat_map(|(name, _)| {
            ["sum", "avg", "min", "max"].map(|word| format!("{word}:{name}"))
        });
        Known {
            offered: contexts.chain(attributes).collect(),
            measures: ["count".to_owned(), "users".to_owned()]
                .into_iter()
                .chain(of_numbers)
                .collect(),
        }
    }
}

/// Breaks down.
fn find(
    visit: &Visit<'_>,
    filter: &Filter,
    question: &breakdown::Question,
    format: &Format,
) -> Result<Found, Failure> {
    let found = question.answer(&visit.rooms.store, visit.stop)?;
    let all = match found.result {
        Outcome::Count(count) if question.measure == Measure::Count => Some(count),
        _ => None,
    };
    let rows = found.rows.iter();
    let greatest = rows.map(|row| number(row.result)).fold(0.0, f64::max);
    let bar = |label: String, href: String, result: Outcome| Bar {
        label,
        href,
        value: shown(result, format),
        share: match (result, all) {
            (Outcome::Count(count), Some(all)) => format.share(count, all),
            _ => String::new(),
        },
        length: length(number(result), greatest),
    };
    let mut bars: Vec<Bar> = found
        .rows
        .iter()
        .map(|row| {
            let href = link(&question.by, row.value.get(), filter);
            bar(label(row.value.get(), row.r#type), href, row.result)
        })
        .collect();
    if found.other.values > 0 {
        let label = format!("{} other values", format.count(found.other.values as u64));
        bars.push(Bar { length: 0, ..bar(label, String::new(), found.other.result) });
    }
    if found.not_set.events > 0 {
        let href = not_set(&question.by, filter);
        bars.push(Bar { length: 0, ..bar("Not set".to_owned(), href, found.not_set.result) });
    }
    let mut notes = Vec::new();
    if found.not_converted > 0 {
        notes.push(format!(
            "{} values don't convert to the type that is set, or are no numbers where one is measured.",
            format.count(found.not_converted)
        ));
    }
    if found.missing > 0 {
        notes.push(format!("Up to {} records could not be read.", format.count(found.missing)));
    }
    Ok(Found {
        unit: match &question.measure {
            Measure::Count => "events".to_owned(),
            Measure::Users => "users".to_owned(),
            Measure::Of(..) => String::new(),
        },
        sums: sums(&found, &question.measure, format),
        series: question
            .interval
            .map(|interval| series(&found, interval, filter, visit.at(), format)),
        bars,
        notes,
    })
}

/// What all events together come to.
fn sums(found: &breakdown::Breakdown, measure: &Measure, format: &Format) -> Vec<(String, String)> {
    let values = (found.rows.len() + found.other.values) as u64;
    let set = found.events.saturating_sub(found.not_set.events);
    let mut sums = vec![
        ("Events".to_owned(), format.count(found.events)),
        ("With a value".to_owned(), format.count(set)),
        ("Values".to_owned(), format.count(values)),
    ];
    match measure {
        Measure::Count => {}
        Measure::Users => sums.push(("Users, about".to_owned(), shown(found.result, format))),
        Measure::Of(..) => {
            let text = serde_json::to_value(measure).unwrap_or_default();
            let name = text.as_str().unwrap_or_default().replacen(':', " of ", 1);
            sums.push((name, shown(found.result, format)));
        }
    }
    sums
}

fn number(outcome: Outcome) -> f64 {
    match outcome {
        Outcome::Count(count) => count as f64,
        Outcome::Number(number) => number.unwrap_or(0.0),
    }
}

fn shown(outcome: Outcome, format: &Format) -> String {
    match outcome {
        Outcome::Count(count) => format.count(count),
        Outcome::Number(None) => NOTHING.to_owned(),
        Outcome::Number(Some(number)) => {
            format.decimal(number, if number.fract() == 0.0 { 0 } else { 2 })
        }
    }
}

/// How long a bar is, of 1,000.
fn length(number: f64, greatest: f64) -> u16 {
    if number > 0.0 && greatest > 0.0 {
        // Within 0 and 1,000.
        ((number / greatest).min(1.0) * 1_000.0).max(1.0) as u16
    } else {
        0
    }
}

/// A value as it stands in a list: a text without quotes, unless it reads as something else then.
pub(super) fn label(value: &str, data_type: &str) -> String {
    let text = match serde_json::from_str::<String>(value) {
        Ok(text) if text.is_empty() => "(empty)".to_owned(),
        Ok(text)
            if data_type == "String"
                && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() =>
        {
            value.to_owned()
        }
        Ok(text) => text,
        Err(_) => value.to_owned(),
    };
    cut(&text, VALUE_CHARS_MAX).into_owned()
}

/// The list of the events that have a value.
fn link(by: &By, value: &str, filter: &Filter) -> String {
    let clause = match by {
        By::Attribute(path) => clause_of(path.name(), value),
        By::Context(path) => clause_of_context(path.name(), value),
    };
    to_list(&clause, filter)
}

/// The list of those without.
fn not_set(by: &By, filter: &Filter) -> String {
    to_list(&format!("{} not exists", name_of(by)), filter)
}

/// What it is by, as a condition begins.
fn name_of(by: &By) -> String {
    let clause = match by {
        By::Attribute(path) => clause_of(path.name(), "0"),
        By::Context(path) => clause_of_context(path.name(), "0"),
    };
    clause.strip_suffix("=0").unwrap_or_default().to_owned()
}

/// The list with one condition more, if that can be written.
fn to_list(clause: &str, filter: &Filter) -> String {
    if !filter.has_room() || Clause::parse(clause, &Zone::UTC).is_err() {
        return String::new();
    }
    filter.and_at(&filter.path, clause)
}

/// The values over time.
fn series(
    found: &breakdown::Breakdown,
    interval: Interval,
    filter: &Filter,
    now: Date,
    format: &Format,
) -> Series {
    let rows = &found.rows[..found.rows.len().min(SERIES_MAX)];
    let points = |row: &breakdown::Row| -> BTreeMap<Date, Outcome> {
        row.series.iter().flatten().map(|point| (point.from.0, point.result)).collect()
    };
    let values: Vec<_> = rows.iter().map(points).collect();
    let met: BTreeSet<Date> = values.iter().flat_map(|row| row.keys().copied()).collect();
    let (from, to) = filter.span();
    let end = to.unwrap_or(Date::MAX).min(Date::from_millis(now.millis() + 1));
    let from = from.or(met.first().copied()).unwrap_or(end);
    let mut times = beginnings(filter.zone(), interval, from, end);
    times.drain(..times.len().saturating_sub(INTERVALS_MAX));
    let labels = rows.iter().map(|row| label(row.value.get(), row.r#type));
    let spark = |(name, row): (String, &BTreeMap<Date, Outcome>)| {
        let counts =
            times.iter().map(|time| row.get(time).map_or(0, |it| number(*it).max(0.0) as u64));
        let counts: Vec<u64> = counts.collect();
        let spark = Spark::new(&format!("{name} over time"), &counts);
        (name, spark)
    };
    let cell = |row: &BTreeMap<Date, Outcome>, time: &Date| match row.get(time) {
        Some(outcome) => shown(*outcome, format),
        None => NOTHING.to_owned(),
    };
    Series {
        heading: heading(interval),
        sparks: labels.zip(&values).map(spark).collect(),
        rows: times
            .iter()
            .rev()
            .map(|time| {
                let cells = values.iter().map(|row| cell(row, time)).collect();
                (format.bucket(interval, *time), cells)
            })
            .collect(),
    }
}
