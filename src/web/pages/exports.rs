//! `/accounts/{account}/exports`: taking events and users out, as files or for good; counted first.

use askama::Template;

use super::filter::{Fields, Filter, Said};
use super::period::Period;
use crate::asking::{Failure, Params, Plan, weight};
use crate::calls::Call;
use crate::erasing::Target;
use crate::export::Format;
use crate::http::{Answer, Query, Request, Response, Stream};
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::{Date, EventFilter};
use crate::query;
use crate::web::answer::Problem;
use crate::web::frame::{Frame, Notice, Section};
use crate::web::visit::{Entrance, Visit};
use crate::web::{Rooms, answer, erasure};

/// What is to be typed before events are deleted.
const WORD: &str = "delete";

const DONE: [(&str, &str); 2] = [
    (
        "deleted",
        "The events are deleted. No page shows them any more, and within a day they are gone from the disk too.",
    ),
    ("nothing", "There was nothing to delete."),
];

#[derive(Template)]
#[template(path = "exports.html")]
struct Page {
    frame: Frame,
    filter: Filter,
    said: Vec<Said>,
    /// How many events there are; none if the filter makes no sense.
    count: Option<String>,
    /// Where they can be had, and as what.
    events: Vec<Download>,
    users: Vec<Download>,
    deletion: Deletion,
    /// Where the form to delete goes.
    action: String,
    word: &'static str,
    confirm_error: String,
}

struct Download {
    href: String,
    name: &'static str,
    purpose: &'static str,
}

/// Whether what is filtered can be deleted.
enum Deletion {
    /// It is everything.
    Everything,
    /// Conditions on attributes can't be part of it.
    Conditions,
    /// There is nothing.
    Nothing,
    /// These fields say what.
    Fields(Vec<(&'static str, String)>),
}

const FORMATS: [(Format, &str); 3] = [
    (Format::Jsonl, "a line of JSON each, as an import takes it"),
    (Format::Csv, "a table for spreadsheets"),
    (Format::Parquet, "columns for DuckDB, pandas, Polars"),
];

/// How much the page reads.
pub(in crate::web) fn page_weight(request: &Request) -> Weight {
    weight(&Params::of(request.query()), &["where", "user_id"])
}

/// The page.
pub(in crate::web) fn exports(visit: &Visit<'_>) -> Result<Response, Failure> {
    page(visit, visit.request().query(), String::new())
}

fn page(visit: &Visit<'_>, query: Query<'_>, confirm_error: String) -> Result<Response, Failure> {
    let fields = Fields { bots: false, ..Fields::ALL };
    let filter = Filter::of_query(visit, query, "exports", Period::All)?.with_fields(fields);
    let mut frame = visit.frame_of(Section::Exports, "Export and delete", &DONE);
    let asked = filter.question().map(|asked| query::Filter { bots: true, ..asked });
    let (mut status, mut count, mut deletion) = (200, None, Deletion::Nothing);
    match &asked {
        Ok(asked) => {
            let (found, _) = asked.count(&visit.rooms.store, visit.stop)?;
            deletion = Deletion::of(asked, found);
            count = Some(visit.format().count(found));
        }
        Err(reject) => {
            status = 400;
            frame.notice = Some(Notice { is_error: true, text: answer::sentence(&reject.detail) });
        }
    }
    if !confirm_error.is_empty() {
        status = 422;
    }
    let path = visit.path("exports/download");
    let span = asked.as_ref().map_or((None, None), |asked| (asked.from, asked.to));
    let date = |date: Option<Date>| date.map_or_else(String::new, |date| date.to_string());
    let (from, to) = (date(span.0), date(span.1));
    let download = |what: &str, (format, purpose): (Format, &'static str)| {
        let (name, events) = (format.name(), what == "events");
        let href = if events {
            let changes =
                [("what", what), ("format", name), ("period", ""), ("from", &from), ("to", &to)];
            filter.at(&path, &changes)
        } else {
            format!("{path}?what={what}&format={name}")
        };
        Download { href, name, purpose }
    };
    let [events, users] = ["events", "users"]
        .map(|what| FORMATS.map(|format| download(what, format)).into_iter().collect());
    let page = Page {
        frame,
        count,
        events,
        users,
        deletion,
        action: visit.path("exports/delete"),
        word: WORD,
        confirm_error,
        said: filter.said(&visit.format()),
        filter,
    };
    visit.page_as(status, &page)
}

impl Deletion {
    fn of(asked: &query::Filter, count: u64) -> Deletion {
        let plain = asked.plain();
        if !asked.clauses.is_empty() {
            return Deletion::Conditions;
        }
        if plain.is_of_all() {
            return Deletion::Everything;
        }
        if count == 0 {
            return Deletion::Nothing;
        }
        let EventFilter { kind, user_id, from, to, .. } = plain;
        let date = |date: Option<Date>| date.map(|date| date.to_string());
        let fields = [("type", kind), ("user_id", user_id), ("from", date(from)), ("to", date(to))];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Deletion::Fields(given.collect())
    }
}

/// Sends the file.
pub(in crate::web) fn download(
    rooms: &Rooms,
    request: &Request,
    entrance: &Entrance,
    call: Call,
    answer: Answer,
) {
    let frame = entrance.frame(rooms, "");
    let refuse = move |reject: &Reject| Problem::of(reject).page(frame.clone());
    let started = entrance.account().and_then(|account| {
        let params = Params::of(request.query()).in_zone(entrance.zone());
        let plan = Plan::of(&params, account.id)?;
        plan.start(&rooms.store, &rooms.desk, &rooms.exports, refuse.clone())
    });
    match started {
        Ok((stream, run)) => {
            let stream = Stream { head: answer::guarded(stream.head), ..stream };
            call.stream(answer, stream, run)
        }
        Err(reject) => call.send(answer, &refuse(&reject)),
    }
}

/// Deletes what the form names.
pub(in crate::web) fn delete(visit: &Visit<'_>) -> Result<Response, Failure> {
    let form = std::str::from_utf8(visit.request().body()).unwrap_or_default();
    let filter = Params::of(Query::of(form)).filter(visit.account()?.id)?;
    if filter.is_of_all() {
        let detail = "Say which events: of a type, of a user, or of a time";
        return Err(Reject::new(Code::InvalidParameter, detail).into());
    }
    if visit.field("confirm") != WORD {
        return page(visit, Query::of(form), format!("Type {WORD}, as it is."));
    }
    let count = erasure::erase(visit, Target::Events(filter))?;
    let word = if count.is_nothing() { "nothing" } else { "deleted" };
    Ok(visit.see(&format!("{}?done={word}", visit.path("exports"))))
}
