//! `/accounts/{account}/events`: what happened, newest first, and how many there were over time; with `view=breakdown`
//! what it comes to by a value (see [`breakdown`](super::breakdown)).

use std::collections::BTreeMap;

use askama::Template;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::breakdown;
use super::filter::{self, Filter, Said};
use super::period::Period;
use crate::asking::{self, Failure, Params};
use crate::http::{Request, Response};
use crate::jobs::Weight;
use crate::model::{Date, Seq};
use crate::query::{events, stats, totals};
use crate::schema::{Interval, members};
use crate::store::Order;
use crate::web::chart::{Chart, Input, Point, beginnings};
use crate::web::format::{Format, heading};
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::{Bar, Moment, Tab, cut};
use crate::web::visit::Visit;

/// Rows of the list.
const ROWS_MAX: usize = 50;

/// Attributes that a row tells.
const SUMMARY_MAX: usize = 4;

/// Characters of a name or a value in a row.
const SUMMARY_CHARS_MAX: usize = 60;

/// Characters of what stands in a cell.
const CELL_CHARS_MAX: usize = 120;

/// Types that are shown beside the chart.
const KINDS_MAX: usize = 8;

/// The longest time in which the events of one user are counted: a bit more than a month.
const OF_USER_MILLIS_MAX: i64 = 32 * 86_400_000;

/// Of what time events are shown, unless the address says.
const PERIOD: Period = Period::days(30);

#[derive(Template)]
#[template(path = "events.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    filter: Filter,
    said: Vec<Said>,
    /// How many there are, or why that can't be told.
    counted: Result<Counted, String>,
    /// The list.
    rows: Vec<Row>,
    newest: String,
    older: String,
    notes: Vec<String>,
    /// Whether the account has no event at all.
    is_new: bool,
    all_time: String,
}

/// How many events there are.
struct Counted {
    count: String,
    users: String,
    visitors: String,
    chart: Chart,
    interval: &'static str,
    kinds: Vec<Bar>,
}

/// An event of the list.
struct Row {
    href: String,
    at: Moment,
    kind: String,
    kind_href: String,
    user: String,
    user_href: String,
    page: String,
    attributes: Vec<(String, String)>,
    more: usize,
    is_nobodys: bool,
}

/// An event as the query has it.
#[derive(Deserialize)]
struct Told<'a> {
    seq: Seq,
    r#type: String,
    user_id: Option<String>,
    date: String,
    #[serde(borrow)]
    attributes: &'a RawValue,
    #[serde(default)]
    context: Context,
}

/// What is shown of the circumstances.
#[derive(Default, Deserialize)]
pub(super) struct Context {
    #[serde(default)]
    pub page: String,
    #[serde(default)]
    pub bot: bool,
    #[serde(default)]
    pub prefetch: bool,
}

/// How much the page reads, most likely.
pub(in crate::web) fn weight(request: &Request) -> Weight {
    asking::weight(&Params::of(request.query()), &["where", "from", "to", "by"])
}

/// The page.
pub(in crate::web) fn events(visit: &Visit<'_>) -> Result<Response, Failure> {
    let params = visit.params();
    if params.text("view").as_deref() == Some("breakdown") || params.text("by").is_some() {
        return breakdown::breakdown(visit);
    }
    let filter = Filter::of(visit, "events", PERIOD)?.with_types(filter::types(visit)?);
    let format = visit.format();
    let mut frame = visit.frame_of(Section::Events, "Events", &[]);
    let account = visit.account()?.id;
    let asked = filter.question().and_then(|asked| Ok((asked, params.events(account)?)));
    let (counted, list, status) = match asked {
        Ok((asked, list)) => {
            let list = events::Question {
                filter: asked,
                limit: ROWS_MAX,
                zone: filter.zone(),
                order: Order::Descending,
                ..list
            };
            let counted = if is_counted(&filter, params.text("cursor").is_some()) {
                visit.part(count(visit, &filter, &format))?
            } else {
                Err(String::new())
            };
            let list =
                visit.part(list.answer(&visit.rooms.store, visit.stop).map_err(Failure::from))?;
            (counted, list, 200)
        }
        Err(reject) => {
            frame.notice = Some(Notice::refused(&reject));
            (Err(String::new()), Err(String::new()), 400)
        }
    };
    let mut notes = Vec::new();
    let list = list.unwrap_or_else(|why| {
        notes.push(why);
        events::Page::default()
    });
    if list.not_converted > 0 {
        notes.push(format!(
            "{} values don't convert to the type that is set for them, and are shown as they were sent.",
            format.count(list.not_converted)
        ));
    }
    if list.missing > 0 {
        notes.push(format!(
            "Up to {} records could not be read; `triggerly verify` says which.",
            format.count(list.missing)
        ));
    }
    notes.retain(|note| !note.is_empty());
    let rows = list.events.iter().map(|row| row_of(row, visit, &filter, &format));
    let page = Page {
        tabs: tabs(&filter, false),
        said: filter.said(&format),
        counted,
        rows: rows.collect::<Result<_, _>>()?,
        newest: params.text("cursor").map(|_| filter.href()).unwrap_or_default(),
        older: list.next_cursor.map(|cursor| filter.with("cursor", &cursor)).unwrap_or_default(),
        notes,
        is_new: status == 200 && filter.types.is_empty(),
        all_time: filter.with_all(&[("period", "all"), ("from", ""), ("to", "")]),
        filter,
        frame,
    };
    visit.page_as(status, &page)
}

/// Whether the page counts what it lists: not again further back, and not what one user did in a long time, for
/// which each of those events would be read.
fn is_counted(filter: &Filter, is_further_back: bool) -> bool {
    let (from, to) = filter.span();
    let end = to.map_or(i64::MAX, Date::millis);
    let is_long = from.is_none_or(|from| end.saturating_sub(from.millis()) > OF_USER_MILLIS_MAX);
    !is_further_back && (filter.user.is_empty() || !is_long)
}

/// The two ways to look at events.
pub(super) fn tabs(filter: &Filter, is_breakdown: bool) -> Vec<Tab> {
    let without = [("view", ""), ("by", ""), ("measure", ""), ("top", ""), ("interval", "")];
    let (list, values) = ("List".to_owned(), "Breakdown".to_owned());
    vec![
        Tab { href: filter.with_all(&without), label: list, is_current: !is_breakdown },
        Tab { href: filter.with("view", "breakdown"), label: values, is_current: is_breakdown },
    ]
}

fn row_of(
    row: &RawValue,
    visit: &Visit<'_>,
    filter: &Filter,
    format: &Format,
) -> Result<Row, Failure> {
    let told: Told<'_> = serde_json::from_str(row.get()).map_err(|error| {
        crate::ingest::Reject::new(
            crate::ingest::Code::Internal,
            format!("An event can't be read: {error}"),
        )
    })?;
    let (attributes, more) = summary(told.attributes.get());
    let user = told.user_id.unwrap_or_default();
    let at = Date::parse(&told.date).unwrap_or(Date::MIN);
    Ok(Row {
        href: visit.path(&format!("events/{}", told.seq)),
        at: format.at(at),
        kind_href: filter.with("type", &told.r#type),
        kind: cut(&told.r#type, CELL_CHARS_MAX).into_owned(),
        user_href: visit.user_path(&user),
        user: cut(&user, CELL_CHARS_MAX).into_owned(),
        page: told.context.page,
        attributes,
        more,
        is_nobodys: told.context.bot || told.context.prefetch,
    })
}

/// The first attributes as text, and how many there are more.
fn summary(attributes: &str) -> (Vec<(String, String)>, usize) {
    let mut all = members(attributes);
    let first = all
        .by_ref()
        .take(SUMMARY_MAX)
        .map(|(name, value)| (cut(&name.name(), SUMMARY_CHARS_MAX).into_owned(), value_of(value)));
    let first: Vec<_> = first.collect();
    (first, all.count())
}

/// A value in a row: a text as such, else its JSON.
fn value_of(raw: &str) -> String {
    let text = serde_json::from_str::<String>(raw);
    let text = text.as_deref().unwrap_or(raw);
    if text.is_empty() { "(empty)".to_owned() } else { cut(text, SUMMARY_CHARS_MAX).into_owned() }
}

/// Counts what is asked, over time and by type.
fn count(visit: &Visit<'_>, filter: &Filter, format: &Format) -> Result<Counted, Failure> {
    let (interval, asked) = (filter.interval(), filter.question()?);
    let (store, stop) = (&visit.rooms.store, visit.stop);
    // Who is behind them is told of the whole alone. Where nothing but type and time is asked, what the store
    // keeps of whole days tells it, whichever zone the intervals are of.
    let who = if asked.is_plain() { stats::Who::Nobody } else { stats::Who::Everybody };
    let question =
        stats::Question { filter: asked, interval, zone: filter.zone(), by_type: true, who };
    let stats = question.answer(store, stop)?;
    let (users, visitors) = match who {
        stats::Who::Nobody => {
            let all = totals::Question::of(&question.filter).answer(store, stop)?;
            (all.users, all.visitors)
        }
        _ => (stats.users, stats.visitors),
    };
    let (mut kinds, mut times) = (BTreeMap::<&str, u64>::new(), BTreeMap::<Date, u64>::new());
    for row in &stats.rows {
        *kinds.entry(&row.r#type).or_default() += row.count;
        *times.entry(row.from.0).or_default() += row.count;
    }
    let (points, is_last_open) = points(filter, visit.at(), interval, &times);
    let chart = Input {
        title: "Events over time",
        series: &["Events"],
        points: &points,
        interval,
        is_last_open,
    };
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let greatest = kinds.first().map_or(0, |kind| kind.1);
    let bar = |(kind, count): &(&str, u64)| Bar {
        label: cut(kind, CELL_CHARS_MAX).into_owned(),
        href: filter.with("type", kind),
        value: format.count(*count),
        share: format.share(*count, stats.count),
        length: Bar::length(*count, greatest),
    };
    let many = |count: u64, noun: &str| {
        format!("{} {noun}{}", format.count(count), if count == 1 { "" } else { "s" })
    };
    Ok(Counted {
        count: many(stats.count, "event"),
        users: many(users, "user"),
        visitors: many(visitors, "visitor"),
        chart: Chart::new(&chart, format),
        interval: heading(interval),
        kinds: if kinds.len() > 1 {
            kinds.iter().take(KINDS_MAX).map(bar).collect()
        } else {
            Vec::new()
        },
    })
}

/// A number for each interval that the filter's time has had so far, and whether the last one isn't over.
fn points(
    filter: &Filter,
    now: Date,
    interval: Interval,
    times: &BTreeMap<Date, u64>,
) -> (Vec<Point>, bool) {
    let (from, to) = filter.span();
    let soon = Date::from_millis(now.millis() + 1);
    let end = to.map_or(soon, |to| to.min(soon));
    let from = from.or(times.keys().next().copied()).unwrap_or(end);
    let point = |from: Date| {
        let count = times.get(&from).copied().unwrap_or(0);
        Point { from, values: vec![count as f64] }
    };
    let begin = beginnings(filter.zone(), interval, from, end);
    (begin.into_iter().map(point).collect(), end == soon)
}
