//! `/accounts/{account}/live`: the newest events as they arrive, and how many people are there.
//!
//! The page asks for `live/rows`, a piece of itself, every few seconds while somebody looks at it.

use askama::Template;

use crate::asking::Failure;
use crate::http::Response;
use crate::model::Date;
use crate::query::live::{Arrived, Live, Question};
use crate::store::index::Facet;
use crate::web::format::Format;
use crate::web::frame::{Frame, Section};
use crate::web::parts::{Moment, Stat};
use crate::web::visit::Visit;

/// Events that are shown.
const SHOWN_MAX: usize = 30;

/// Seconds after which the page asks again.
const SECONDS: u32 = 3;

/// Minutes of which is told who was there.
const MINUTES: [i64; 2] = [30, 5];

#[derive(Template)]
#[template(path = "live.html")]
struct Page {
    frame: Frame,
    path: String,
    query: &'static str,
    seconds: u32,
    most: usize,
    bots: bool,
    seen: Shown,
}

#[derive(Template)]
#[template(path = "live_rows.html")]
struct Piece {
    path: String,
    seen: Shown,
}

/// What changes.
struct Shown {
    stats: Vec<Stat>,
    rows: Vec<Row>,
    is_cut: bool,
}

/// A line of the newest events.
pub(super) struct Row {
    pub href: String,
    pub at: Moment,
    pub kind: String,
    pub user: String,
    /// Where the user leads to.
    pub user_href: String,
    pub page: String,
    pub browser: String,
    pub is_nobodys: bool,
}

/// Lines of events.
pub(super) fn rows(visit: &Visit<'_>, events: &[Arrived]) -> Vec<Row> {
    let format = visit.format();
    events.iter().map(|event| row(visit, event, &format)).collect()
}

fn row(visit: &Visit<'_>, event: &Arrived, format: &Format) -> Row {
    let facet = |facet| event.facet(facet).unwrap_or_default().to_owned();
    let browser = match (event.facet(Facet::Browser), event.facet(Facet::Os)) {
        (Some(browser), Some(os)) => format!("{browser} on {os}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    };
    let user = event.user_id.clone().unwrap_or_default();
    Row {
        href: visit.path(&format!("events/{}", event.seq)),
        at: format.ago(event.at),
        kind: event.kind.clone(),
        user_href: visit.user_path(&user),
        user,
        page: event.facet(Facet::Page).map_or_else(|| facet(Facet::ContextPage), str::to_owned),
        browser,
        is_nobodys: event.is_nobodys,
    }
}

/// The page.
pub(in crate::web) fn live(visit: &Visit<'_>) -> Result<Response, Failure> {
    let bots = bots(visit);
    let seen = look(visit, bots)?;
    let frame = visit.frame_of(Section::Live, "Live", &[]);
    let query = if bots { "?bots=1" } else { "" };
    let path = visit.path("");
    visit.page(&Page { frame, path, query, seconds: SECONDS, most: SHOWN_MAX, bots, seen })
}

/// The piece of it that changes.
pub(in crate::web) fn live_rows(visit: &Visit<'_>) -> Result<Response, Failure> {
    visit.page(&Piece { path: visit.path(""), seen: look(visit, bots(visit))? })
}

/// Whether bots are shown. What makes no sense is no reason to show nothing.
fn bots(visit: &Visit<'_>) -> bool {
    visit.params().flag("bots").ok().flatten().unwrap_or(false)
}

fn look(visit: &Visit<'_>, bots: bool) -> Result<Shown, Failure> {
    let (account, now, format) = (visit.account()?.id, visit.at(), visit.format());
    let since = MINUTES.map(|minutes| Date::from_millis(now.millis() - minutes * 60_000)).to_vec();
    let question = Question { account, now, since, limit: SHOWN_MAX, bots };
    let Live { events, who, is_cut, .. } = question.answer(&visit.rooms.store, visit.stop)?;
    let stat = |label: &str, number: u64| Stat {
        label: label.to_owned(),
        value: format.compact(number),
        exact: format.count(number),
        ..Stat::default()
    };
    let mut stats = Vec::new();
    for (minutes, who) in MINUTES.iter().zip(&who).rev() {
        stats.push(stat(&format!("Users, last {minutes} minutes"), who.users));
        stats.push(stat(&format!("Visitors, last {minutes} minutes"), who.visitors));
    }
    Ok(Shown { stats, rows: rows(visit, &events), is_cut })
}
