//! `/accounts/{account}/users/{user}`, or `/accounts/{account}/user?id=`: one user: attributes, what happened, taking all
//! of it along, and erasing it.
//!
//! Ids are of any characters. One that a browser or a proxy would take for parts of a path goes by the query (see
//! [`Visit::user_path`]); what is done with a user always has it there, or in its form.

use std::collections::BTreeMap;

use askama::Template;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::types;
use crate::asking::Failure;
use crate::calls::Call;
use crate::erasing::Target;
use crate::export::{Exported, Format as Written, Wanted};
use crate::http::{Answer, Request, Response};
use crate::ingest::{Code, Reject};
use crate::model::overrides::Kind;
use crate::model::{AccountId, Date, Id, User, json};
use crate::query::{Filter, Stop, answers, timeline};
use crate::schema;
use crate::store::Store;
use crate::web::Rooms;
use crate::web::answer::{Problem, address, escaped, sentence};
use crate::web::download::{Download, file_name};
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::Moment;
use crate::web::values::{self, Attribute, CELL_CHARS_MAX, WHOLE_CHARS_MAX, cut, short};
use crate::web::visit::{Entrance, Visit};
use crate::web::{erasure, format::Format};

/// Events and changes of a page.
const ROWS: usize = 50;

/// Attributes that are shown.
const ATTRIBUTES_SHOWN_MAX: usize = 600;

/// Attributes of an event, or of a change, that are shown.
const PARTS_MAX: usize = 8;

#[derive(Template)]
#[template(path = "user.html")]
struct Page {
    frame: Frame,
    id: String,
    /// Without the rest of the address.
    path: String,
    /// Whether the form of the dates has to send the id along, since the path doesn't name the user.
    id_in_query: bool,
    /// Whether a form can: browsers write line ends in fields their own way.
    has_form: bool,
    email: String,
    /// Of somebody who is described; else only events name the id.
    known: Option<Known>,
    events: String,
    events_href: String,
    export: String,
    erase: String,
    /// Each with the page of its type.
    attributes: Vec<(String, Attribute)>,
    attributes_beyond: usize,
    from: String,
    to: String,
    rows: Vec<Row>,
    first: String,
    next: String,
}

struct Known {
    first_seen: Moment,
    last_seen: Moment,
}

/// A line of the timeline.
struct Row {
    at: Moment,
    /// The type of an event; empty: it is a change.
    kind: String,
    href: String,
    parts: Vec<Part>,
    beyond: usize,
}

/// An attribute of an event, or one that has changed.
struct Part {
    name: String,
    /// What it was; empty if it wasn't there, or an event has it.
    before: String,
    /// What it is; empty if it is gone.
    after: String,
}

/// A row of the timeline, as the answer to the question has it.
#[derive(Deserialize)]
struct Found<'a> {
    seq: u64,
    at: String,
    #[serde(borrow)]
    event: Option<Event<'a>>,
    #[serde(borrow)]
    change: Option<Change<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: String,
    #[serde(borrow)]
    attributes: &'a RawValue,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    set: BTreeMap<String, Set<'a>>,
    #[serde(borrow)]
    removed: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Set<'a> {
    /// None: it isn't known.
    #[serde(borrow, default, deserialize_with = "values::there")]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: &'a RawValue,
}

/// The id that the path names, or the query.
fn id_of(path: &str, request: &Request) -> Result<Id, Reject> {
    let id = if path.is_empty() {
        request.query().get("id").unwrap_or_default().into_owned()
    } else {
        path.to_owned()
    };
    Id::new(&id).map_err(|_| nobody())
}

fn nobody() -> Reject {
    Reject::new(Code::NotFound, "There is neither a user nor an event with this id.")
}

/// The page.
pub(in crate::web) fn user(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (store, account) = (&visit.rooms.store, visit.account()?.id);
    let id = id_of(visit.value(0), visit.request())?;
    let id = id.as_str();
    let user = store.user(account, id)?;
    let events = event_count(store, visit.stop, account, id)?;
    if user.is_none() && events == 0 {
        return Err(nobody().into());
    }
    let format = visit.format();
    let asked = visit.params().timeline(account, id);
    let wrong = asked.as_ref().err().cloned();
    let question = asked.unwrap_or_else(|_| timeline::Question {
        account,
        user_id: id.to_owned(),
        from: None,
        to: None,
        before: None,
        limit: ROWS,
    });
    let question = timeline::Question { limit: ROWS, ..question };
    let answer = question.answer(store, visit.stop)?;
    let set = store.overrides(account);
    let (attributes, attributes_beyond) = match &user {
        Some(user) => {
            let text = json::to_text(&user.attributes);
            values::attributes(&text, set.of_users(), &format, ATTRIBUTES_SHOWN_MAX)
        }
        None => (Vec::new(), 0),
    };
    let path = visit.user_path(id);
    let text = |name| visit.params().text(name).unwrap_or_default();
    let (from, to) = (text("from"), text("to"));
    let at = |cursor: &str| address(&path, &[("from", &from), ("to", &to), ("cursor", cursor)]);
    let by_id = |below: &str| visit.path(&format!("{below}{}", escaped(id)));
    let of_type = |name: &str| types::path_of(visit, &Kind::User, name);
    let mut frame = visit.frame_of(Section::Users, "User", &[]);
    let error = |text| Some(Notice { is_error: true, text });
    if let Some(reject) = &wrong {
        frame.notice = error(sentence(&reject.detail));
    } else if answer.missing > 0 {
        let missing = format.count(answer.missing);
        frame.notice = error(format!(
            "Up to {missing} records are damaged and left out. `triggerly verify` tells what to do."
        ));
    }
    let page = Page {
        frame,
        email: user.as_ref().map_or_else(String::new, email),
        known: user.as_ref().map(|user| Known {
            first_seen: format.at(user.created_at),
            last_seen: format.at(user.updated_at),
        }),
        events: format.count(events),
        events_href: by_id("events?period=all&bots=1&user_id="),
        export: by_id("user/export?id="),
        erase: by_id("user/erase?id="),
        attributes: attributes.into_iter().map(|one| (of_type(&one.name), one)).collect(),
        attributes_beyond,
        rows: rows(visit, &answer, &format),
        first: text("cursor").is_empty().then(String::new).unwrap_or_else(|| at("")),
        next: answer.next_cursor.as_deref().map(at).unwrap_or_default(),
        id_in_query: path.contains('?'),
        has_form: !id.contains(['\r', '\n']),
        id: id.to_owned(),
        path,
        from,
        to,
    };
    visit.page_as(wrong.map_or(200, |reject| reject.code.status()), &page)
}

fn email(user: &User) -> String {
    let email = user.attributes.get(crate::view::EMAIL);
    email.map_or_else(String::new, |email| short(&email.to_string(), WHOLE_CHARS_MAX))
}

fn event_count(
    store: &Store,
    stop: &Stop<'_>,
    account: AccountId,
    id: &str,
) -> Result<u64, Failure> {
    let (counts, _) = answers(store, stop).event_counts(account, &[id])?;
    Ok(counts.iter().sum())
}

fn rows(visit: &Visit<'_>, answer: &timeline::Answer, format: &Format) -> Vec<Row> {
    let found = answer.timeline.iter();
    let found = found.filter_map(|text| serde_json::from_str::<Found<'_>>(text.get()).ok());
    found
        .map(|found| {
            let at = Date::parse(&found.at).map(|at| format.at(at)).unwrap_or_default();
            let mut parts = Vec::new();
            let mut beyond = 0;
            let mut add = |part: Part| match parts.len() {
                0..PARTS_MAX => parts.push(part),
                _ => beyond += 1,
            };
            let (mut kind, mut href) = (String::new(), String::new());
            let value = |raw: &RawValue| short(raw.get(), CELL_CHARS_MAX);
            let name = |name: &str| cut(name, CELL_CHARS_MAX);
            if let Some(event) = found.event {
                href = visit.path(&format!("events/{}", found.seq));
                kind = event.r#type;
                for (key, raw) in schema::members(event.attributes.get()) {
                    let after = short(raw, CELL_CHARS_MAX);
                    add(Part { name: name(&key.name()), before: String::new(), after });
                }
            }
            if let Some(change) = found.change {
                for (of, Set { from, to }) in &change.set {
                    let before = match from {
                        None => "unknown".to_owned(),
                        Some(from) if from.get() == "null" => String::new(),
                        Some(from) => value(from),
                    };
                    add(Part { name: name(of), before, after: value(to) });
                }
                for (of, before) in &change.removed {
                    add(Part { name: name(of), before: value(before), after: String::new() });
                }
            }
            Row { at, kind, href, parts, beyond }
        })
        .collect()
}

/// The user and all events of the user, as a file of JSON lines: as they were sent, so that they can be imported.
pub(in crate::web) fn export(
    rooms: &Rooms,
    request: &Request,
    entrance: &Entrance,
    call: Call,
    answer: Answer,
) {
    let named = id_of("", request).and_then(|id| Ok((id, entrance.account()?.id)));
    let (id, account) = match named {
        Ok(named) => named,
        Err(reject) => {
            let page = Problem::of(&reject).page(entrance.frame(rooms, ""));
            return call.send(answer, &page);
        }
    };
    let id = id.as_str().to_owned();
    let zone = entrance.zone();
    let wanted = |what| Wanted {
        what,
        filter: Filter { user_id: Some(id.clone()), ..Filter::of(account) },
        zone,
        raw: true,
    };
    let download = Download {
        name: file_name("user-", &id),
        format: Written::Jsonl,
        wanted: [Exported::Users, Exported::Events].map(wanted).into(),
    };
    let check = move |store: &Store, stop: &Stop<'_>| {
        let is_there = store.user(account, &id)?.is_some();
        let is_there = is_there || event_count(store, stop, account, &id)? > 0;
        if is_there { Ok(()) } else { Err(nobody().into()) }
    };
    download.send(rooms, entrance, (call, answer), Box::new(check));
}

#[derive(Template)]
#[template(path = "user_erase.html")]
struct Erase {
    frame: Frame,
    id: String,
    /// What is to be typed.
    typed: String,
    back: String,
    action: String,
    is_user: bool,
    events: String,
    error: String,
}

/// What somebody can type into a field of one line, or copy from a page: line ends don't get there, and a zero has a sign
/// instead.
fn typed(id: &str) -> String {
    id.replace(['\r', '\n'], "").replace('\0', "\u{fffd}")
}

/// Asks whether the user is to be erased.
pub(in crate::web) fn ask(visit: &Visit<'_>) -> Result<Response, Failure> {
    let id = id_of("", visit.request())?;
    ask_for(visit, &id, String::new())
}

fn ask_for(visit: &Visit<'_>, id: &Id, error: String) -> Result<Response, Failure> {
    let (store, account) = (&visit.rooms.store, visit.account()?.id);
    let is_user = store.user(account, id.as_str())?.is_some();
    let events = event_count(store, visit.stop, account, id.as_str())?;
    if !is_user && events == 0 {
        return Err(nobody().into());
    }
    let status = if error.is_empty() { 200 } else { 422 };
    let page = Erase {
        frame: visit.frame_of(Section::Users, "Erase a user", &[]),
        id: id.as_str().to_owned(),
        typed: typed(id.as_str()),
        back: visit.user_path(id.as_str()),
        // Browsers write line ends in fields their own way.
        action: visit.path(&format!("user/erase?id={}", escaped(id.as_str()))),
        is_user,
        events: match events {
            1 => "1 event".to_owned(),
            events => format!("{} events", visit.format().count(events)),
        },
        error,
    };
    visit.page_as(status, &page)
}

/// Erases the user, if the id was typed as well.
pub(in crate::web) fn erase(visit: &Visit<'_>) -> Result<Response, Failure> {
    let id = id_of("", visit.request())?;
    if typed(&visit.field("confirm")) != typed(id.as_str()) {
        let error = "This is not the id. Nothing was erased.";
        return ask_for(visit, &id, error.to_owned());
    }
    let count = erasure::erase(visit, Target::User { account: visit.account()?.id, id })?;
    if count.is_nothing() {
        return Err(nobody().into());
    }
    let (users, events) = (count.users.to_string(), count.events.to_string());
    let pairs = [("done", "erased"), ("users", users.as_str()), ("events", events.as_str())];
    Ok(visit.see(&address(&visit.path("users"), &pairs)))
}
