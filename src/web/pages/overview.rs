//! `/accounts/{account}/overview`: what happens, over time and against before, and what comes up most.
//!
//! All numbers are of questions that cost little however much there is: counts and sketches that the store keeps, and
//! less than a day of events read at each end of a time.

mod lists;

use askama::Template;

use crate::asking::Failure;
use crate::http::Response;
use crate::ingest::Reject;
use crate::model::Date;
use crate::query::{live, stats, tops, totals};
use crate::schema::Interval;
use crate::web::answer::address;
use crate::web::chart::{Chart, Input, Point, beginnings};
use crate::web::format::{Format, heading};
use crate::web::frame::{Frame, Notice, Section};
use crate::web::pages::live::{Row, rows};
use crate::web::pages::period::Stretch;
use crate::web::parts::{Stat, Tab};
use crate::web::visit::Visit;
use lists::{LIST_MAX, List};

/// The newest events that are shown.
const NEWEST_MAX: usize = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    periods: Vec<Tab>,
    /// As in the form.
    from: String,
    to: String,
    /// Whether the time has a name, else the form has it.
    is_named: bool,
    bots: bool,
    /// The same address without bots, or with them.
    bots_href: String,
    /// What the account's pages begin with.
    path: String,
    /// None where there isn't anything yet, or nothing that can be shown.
    seen: Option<Shown>,
    is_fresh: bool,
}

/// What there is.
struct Shown {
    stats: Vec<Stat>,
    chart: Chart,
    chart_first: &'static str,
    lists: Vec<List>,
    newest: Vec<Row>,
    /// Records that could not be read, as a sentence.
    missing: Option<String>,
    is_nothing: bool,
}

/// The page.
pub(in crate::web) fn overview(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (params, zone, now) = (visit.params(), visit.zone(), visit.at());
    let bots = params.flag("bots");
    let period = Stretch::asked(&params, zone, now);
    match (period, bots) {
        (Ok(period), Ok(bots)) => {
            let shown = shown(visit, &period, bots.unwrap_or(false))?;
            page(visit, Some(&period), bots.unwrap_or(false), Some(shown), None)
        }
        (Err(why), _) | (_, Err(why)) => page(visit, None, false, None, Some(&why)),
    }
}

fn page(
    visit: &Visit<'_>,
    period: Option<&Stretch>,
    bots: bool,
    shown: Option<Shown>,
    why: Option<&Reject>,
) -> Result<Response, Failure> {
    let params = visit.params();
    let mut frame = visit.frame_of(Section::Overview, "Overview", &[]);
    if let Some(why) = why {
        frame.notice = Some(Notice::refused(why));
    }
    let given = |name: &str| params.text(name).unwrap_or_default();
    let (from, to) = (given("from"), given("to"));
    let path = visit.path("overview");
    let (with, without) = (("bots", "1"), ("bots", ""));
    let (same, other) = if bots { (with, without) } else { (without, with) };
    let named = period.and_then(|period| period.period);
    let periods = Stretch::offered()
        .map(|known| Tab {
            href: address(&path, &[("period", &known.name()), same]),
            label: known.label(),
            is_current: named == Some(known),
        })
        .collect();
    let bots_href = match named {
        Some(named) => address(&path, &[("period", &named.name()), other]),
        None => address(&path, &[("from", &from), ("to", &to), other]),
    };
    let is_fresh = shown.as_ref().is_some_and(|shown| shown.newest.is_empty() && shown.is_nothing);
    let page = Page {
        frame,
        periods,
        from,
        to,
        is_named: named.is_some(),
        bots,
        bots_href,
        path: visit.path(""),
        seen: shown,
        is_fresh,
    };
    visit.page_as(if why.is_some() { 400 } else { 200 }, &page)
}

/// Asks for all that is shown.
fn shown(visit: &Visit<'_>, period: &Stretch, bots: bool) -> Result<Shown, Failure> {
    let (account, zone, now) = (visit.account()?.id, visit.zone(), visit.at());
    let (store, stop, format) = (&*visit.rooms.store, visit.stop, visit.format());
    let Stretch { from, to, interval, .. } = *period;
    let filter = crate::query::Filter {
        from: Some(from),
        to: Some(to),
        bots,
        ..crate::query::Filter::of(account)
    };
    // Of the whole the store's sketches of days tell users and visitors, of the chart's intervals users alone: in
    // other zones than UTC those are read.
    let who = stats::Who::Users;
    let counted =
        stats::Question { filter, interval, zone, by_type: false, who }.answer(store, stop)?;
    let total = |from, to, who| {
        totals::Question { account, kind: None, from, to, bots, who }.answer(store, stop)
    };
    let all = total(from, to, true)?;
    let before = match period.before {
        Some((start, end)) => Some(total(start, end, true)?),
        None => None,
    };
    let today = zone.bucket(Interval::Day, now).start;
    let yesterday = zone.bucket(Interval::Day, Date::from_millis(today.millis() - 1)).start;
    let by_now = Date::from_millis(yesterday.millis() + now.millis() - today.millis()).min(today);
    // Whole hours are counted already, and nothing is expected of the rest of this one.
    let soon = zone.bucket(Interval::Hour, now).end;
    let (today, yesterday) = (total(today, soon, false)?, total(yesterday, by_now, false)?);
    let tops = tops::Question { account, from, to, bots, top: LIST_MAX }.answer(store, stop)?;
    let newest = live::Question { account, now, since: Vec::new(), limit: NEWEST_MAX, bots };
    let newest = newest.answer(store, stop)?;

    let stat = |label: &str, now: u64, before: Option<u64>, what: &str| {
        stat(&format, label, now, before, what)
    };
    let stats = vec![
        stat("Today", today.events, Some(yesterday.events), "yesterday by this time"),
        stat("Events", counted.count, before.map(|all| all.events), period.before_name),
        stat("Users", all.users, before.map(|all| all.users), period.before_name),
        stat("Visitors", all.visitors, before.map(|all| all.visitors), period.before_name),
    ];
    let missing = [counted.missing, tops.missing, newest.missing].into_iter().max().unwrap_or(0);
    Ok(Shown {
        stats,
        chart: chart(&counted, period, &format),
        chart_first: heading(interval),
        lists: lists::all(visit, period, bots, &tops, counted.count),
        newest: rows(visit, &newest.events),
        missing: (missing > 0).then(|| {
            format!("Up to {} records could not be read and are left out.", format.count(missing))
        }),
        is_nothing: counted.count == 0,
    })
}

fn stat(format: &Format, label: &str, now: u64, before: Option<u64>, what: &str) -> Stat {
    let change = before.map(|before| format.change(now, before)).unwrap_or_default();
    Stat {
        label: label.to_owned(),
        value: format.compact(now),
        exact: format.count(now),
        change: change.text,
        trend: change.trend,
        before: before.map(|n| format!("{} {what}", format.compact(n))).unwrap_or_default(),
    }
}

fn chart(counted: &stats::Stats, period: &Stretch, format: &Format) -> Chart {
    let Stretch { from, to, interval, is_open, .. } = *period;
    let mut rows = counted.rows.iter().peekable();
    let points: Vec<Point> = beginnings(format.zone, interval, from, to)
        .into_iter()
        .map(|start| {
            // Rows ascend as these do, and some have none.
            while rows.next_if(|row| row.from.0 < start).is_some() {}
            let row = rows.next_if(|row| row.from.0 == start);
            let values = row.map_or((0, 0), |row| (row.count, row.users));
            Point { from: start, values: vec![values.0 as f64, values.1 as f64] }
        })
        .collect();
    let is_last_open = is_open
        && points
            .last()
            .is_some_and(|last| format.zone.bucket(interval, format.now).start == last.from);
    let input = Input {
        title: "Events and users",
        series: &["Events", "Users"],
        points: &points,
        interval,
        is_last_open,
    };
    Chart::new(&input, format)
}
