//! `/accounts/{account}/retention`: of the users who did something first, how many come back, interval by interval.

use askama::Template;

use super::filter::{self, Fields, Filter, Said};
use super::period::Period;
use crate::asking::Failure;
use crate::http::Response;
use crate::query::{Interval, retention};
use crate::web::chart::Grid;
use crate::web::format::Format;
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::{Choice, Tab};
use crate::web::visit::Visit;

/// Of what time it is, unless the address says.
const PERIOD: Period = Period::days(7);

/// What users can begin in together.
const COHORTS: [Interval; 3] = [Interval::Day, Interval::Week, Interval::Month];

/// Days from which on weeks are shown rather than days, and months rather than weeks, unless the address says.
const WEEKS_FROM_DAYS: i64 = 31;
const MONTHS_FROM_DAYS: i64 = 366;

#[derive(Template)]
#[template(path = "retention.html")]
struct Page {
    frame: Frame,
    filter: Filter,
    said: Vec<Said>,
    first: String,
    back: String,
    intervals: Vec<Choice>,
    /// Percent, or users.
    tabs: Vec<Tab>,
    words: Words,
    found: Option<Result<Found, String>>,
    is_begun: bool,
    is_new: bool,
}

/// What an interval is called.
struct Words {
    began: &'static str,
    after: &'static str,
    one: &'static str,
}

struct Found {
    grid: Grid,
    users: String,
    notes: Vec<String>,
}

/// The page.
pub(in crate::web) fn retention(visit: &Visit<'_>) -> Result<Response, Failure> {
    let types = filter::types(visit)?;
    let filter = Filter::of(visit, "retention", PERIOD)?
        .with_fields(Fields { kind: false, user: false, ..Fields::ALL })
        .with_others(&["first", "back", "interval"])
        .with_types(types);
    let (params, format) = (visit.params(), visit.format());
    let mut frame = visit.frame_of(Section::Retention, "Retention", &[]);
    let chosen = |name| params.text(name);
    let is_begun = chosen("first").is_none() && chosen("back").is_none();
    let most = filter.types.first().cloned().unwrap_or_default();
    // Who says one of them means the same with the other.
    let first = chosen("first").or_else(|| chosen("back")).unwrap_or(most);
    let back = chosen("back").unwrap_or_else(|| first.clone());
    let is_counts = chosen("show").as_deref() == Some("users");
    let interval = params.interval(&COHORTS);
    let asked = filter.question().and_then(|asked| Ok((asked, interval?)));
    let (mut found, mut status, mut interval) = (None, 200, default_interval(&filter, &format));
    match asked {
        Ok((asked, given)) => {
            interval = given.unwrap_or(interval);
            if !first.is_empty() {
                let question = retention::Question {
                    first: first.clone(),
                    back: back.clone(),
                    interval,
                    zone: filter.zone(),
                    filter: asked,
                };
                let answer = question.answer(&visit.rooms.store, visit.stop);
                let answer = visit.part(answer.map_err(Failure::from))?;
                found = Some(answer.map(|answer| shown(&answer, interval, is_counts, &format)));
            }
        }
        Err(reject) => {
            frame.notice = Some(Notice::refused(&reject));
            status = 400;
        }
    }
    let tab = |label: &str, show, is_current| Tab {
        href: filter.with("show", show),
        label: label.to_owned(),
        is_current,
    };
    let page = Page {
        said: filter.said(&format),
        first,
        back,
        intervals: Choice::of(
            &[("day", "Days"), ("week", "Weeks"), ("month", "Months")],
            interval.name(),
        ),
        tabs: vec![tab("Percent", "", !is_counts), tab("Users", "users", is_counts)],
        words: words(interval),
        found,
        is_begun,
        is_new: filter.types.is_empty() && status == 200,
        filter,
        frame,
    };
    visit.page_as(status, &page)
}

fn default_interval(filter: &Filter, format: &Format) -> Interval {
    let (from, to) = filter.span();
    let Some(from) = from else { return Interval::Month };
    let end = to.unwrap_or(format.now);
    match (end.millis() - from.millis()) / 86_400_000 {
        ..WEEKS_FROM_DAYS => Interval::Day,
        WEEKS_FROM_DAYS..MONTHS_FROM_DAYS => Interval::Week,
        _ => Interval::Month,
    }
}

fn words(interval: Interval) -> Words {
    match interval {
        Interval::Week => Words { began: "Week they began", after: "Weeks after", one: "week" },
        Interval::Month => Words { began: "Month they began", after: "Months after", one: "month" },
        // Hours are no cohorts.
        Interval::Day | Interval::Hour => {
            Words { began: "Day they began", after: "Days after", one: "day" }
        }
    }
}

fn shown(
    answer: &retention::Answer,
    interval: Interval,
    is_counts: bool,
    format: &Format,
) -> Found {
    let rows: Vec<(String, u64, &[u64])> = answer
        .cohorts
        .iter()
        .map(|cohort| {
            (format.bucket(interval, cohort.from.0), cohort.users, cohort.back.as_slice())
        })
        .collect();
    let mut grid = Grid::new(&rows, format);
    if is_counts {
        for (row, cohort) in grid.rows.iter_mut().zip(&answer.cohorts) {
            for (cell, back) in row.cells.iter_mut().zip(&cohort.back) {
                cell.share = format.count(*back);
            }
        }
    }
    let mut notes = Vec::new();
    if answer.missing > 0 {
        notes.push(format!("Up to {} records could not be read.", format.count(answer.missing)));
    }
    let users = answer.cohorts.iter().map(|cohort| cohort.users).sum();
    Found { grid, users: format.count(users), notes }
}
