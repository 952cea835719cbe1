//! `/accounts/{account}/users`: users, searched and sorted, page by page.

use askama::Template;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::asking::{CLAUSES_MAX, Failure, Params, weight};
use crate::http::{Request, Response};
use crate::ingest::Reject;
use crate::jobs::Weight;
use crate::model::{DataType, Date, Overrides};
use crate::query::answers;
use crate::query::users::{Answer, Question};
use crate::schema;
use crate::web::answer::{address, sentence};
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::{Choice, Moment};
use crate::web::values::{CELL_CHARS_MAX, cut, short};
use crate::web::visit::Visit;

/// Users of a page.
const ROWS: usize = 50;

/// Attributes that have a column: those that most of the page's users have.
const COLUMNS_MAX: usize = 3;

/// Attributes that are offered to sort by: those that were sent most often.
const SORTS_MAX: usize = 50;

/// What else users are sorted by: as addresses have it, how it is called, and whether the greatest comes first unless
/// somebody says otherwise.
const SORTS: [(&str, &str, bool); 5] = [
    ("id", "Id", false),
    ("email", "E-mail", false),
    ("created_at", "First seen", true),
    ("updated_at", "Last seen", true),
    ("event_count", "Events", true),
];

#[derive(Template)]
#[template(path = "users.html")]
struct Page {
    frame: Frame,
    /// Where the form leads.
    path: String,
    q: String,
    clauses: Vec<String>,
    has_room: bool,
    sorts: Vec<Choice>,
    orders: Vec<Choice>,
    columns: Vec<Column>,
    rows: Vec<Row>,
    first: String,
    next: String,
    /// Whether it asks for some of them only.
    is_narrow: bool,
    /// How to track users.
    snippets: String,
}

/// The head of a column.
struct Column {
    label: String,
    /// Where users are sorted by it; the other way round, if they are already.
    href: String,
    /// How they are sorted by it: as ARIA has it, or empty.
    sorted: &'static str,
    is_number: bool,
}

struct Row {
    id: String,
    href: String,
    email: String,
    first_seen: Moment,
    last_seen: Moment,
    events: String,
    attributes: Vec<String>,
}

/// A user, as the answer to the question has it.
#[derive(Deserialize)]
struct Found<'a> {
    id: String,
    #[serde(borrow)]
    email: Option<&'a RawValue>,
    #[serde(borrow)]
    attributes: &'a RawValue,
    created_at: String,
    updated_at: String,
    event_count: u64,
}

/// How much it is likely to read: all users, unless they are asked for by id.
pub(in crate::web) fn of_users(request: &Request) -> Weight {
    let params = Params::of(request.query());
    let is_by_id = params.text("sort").is_none_or(|sort| sort == "id");
    if is_by_id { weight(&params, &["q", "where"]) } else { Weight::Heavy }
}

/// The page.
pub(in crate::web) fn users(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (store, account) = (&visit.rooms.store, visit.account()?.id);
    let asked = Asked::of(visit);
    let ask = |question: Question| -> Result<Answer, Failure> {
        Ok(Question { limit: ROWS, ..question }.answer(store, visit.stop)?)
    };
    let answer = visit.params().users(account).map_err(Failure::from).and_then(ask);
    let (answer, wrong) = match answer {
        Ok(answer) => (answer, None),
        Err(Failure::Reject(reject)) if reject.code.status() == 400 => {
            let nothing =
                Answer { users: Vec::new(), next_cursor: None, not_converted: 0, missing: 0 };
            (nothing, Some(reject))
        }
        Err(why) => return Err(why),
    };
    let found: Vec<Found<'_>> =
        answer.users.iter().filter_map(|text| serde_json::from_str(text.get()).ok()).collect();
    let attributes = asked.attributes(&found);
    let overrides = store.overrides(account);
    let rows = found.iter().map(|user| row(visit, user, &attributes, &overrides)).collect();
    let next = answer.next_cursor.as_deref().map(|cursor| asked.address(&[("cursor", cursor)]));
    let page = Page {
        frame: frame(visit, wrong.as_ref(), answer.missing),
        rows,
        columns: asked.columns(&attributes),
        sorts: asked.sorts(visit)?,
        orders: Choice::of(
            &[("", "as usual"), ("asc", "ascending"), ("desc", "descending")],
            &asked.order,
        ),
        has_room: asked.clauses.len() < CLAUSES_MAX,
        is_narrow: !asked.q.is_empty() || !asked.clauses.is_empty() || wrong.is_some(),
        first: if asked.is_later { asked.address(&[]) } else { String::new() },
        next: next.unwrap_or_default(),
        path: asked.path,
        q: asked.q,
        clauses: asked.clauses,
        snippets: visit.path("profile#snippets"),
    };
    visit.page_as(wrong.map_or(200, |reject| reject.code.status()), &page)
}

/// The frame, with what went wrong or was done before.
fn frame(visit: &Visit<'_>, wrong: Option<&Reject>, missing: u64) -> Frame {
    let mut frame = visit.frame_of(Section::Users, "Users", &[]);
    let error = |text| Some(Notice { is_error: true, text });
    if let Some(reject) = wrong {
        frame.notice = error(sentence(&reject.detail));
    } else if missing > 0 {
        let missing = visit.format().count(missing);
        frame.notice = error(format!(
            "Up to {missing} records are damaged and weren't counted. `triggerly verify` tells what to do."
        ));
    } else if visit.params().text("done").as_deref() == Some("erased") {
        frame.notice = Some(Notice { is_error: false, text: erased(visit) });
    }
    frame
}

/// What was erased, without saying who: an address is kept in many places.
fn erased(visit: &Visit<'_>) -> String {
    let number = |name| visit.params().text(name).and_then(|text| text.parse::<u64>().ok());
    let (users, events) = (number("users").unwrap_or(0), number("events").unwrap_or(0));
    let (events, have) = match events {
        1 => ("1 event".to_owned(), "has"),
        events => (format!("{} events", visit.format().count(events)), "have"),
    };
    let (what, have) =
        if users == 0 { (events, have) } else { (format!("The user and {events}"), "have") };
    format!("{what} {have} been erased, and the account's refused calls forgotten.")
}

fn row(visit: &Visit<'_>, user: &Found<'_>, columns: &[String], set: &Overrides) -> Row {
    let format = visit.format();
    let moment = |text: &str| Date::parse(text).map(|date| format.ago(date)).unwrap_or_default();
    let attribute = |name: &String| {
        let value = schema::members(user.attributes.get()).find(|(key, _)| key.is(name));
        let text = value.map_or_else(String::new, |(_, raw)| short(raw, CELL_CHARS_MAX));
        let is_date = set.of_users().get(name) == Some(DataType::Date);
        let date = Date::parse(&text).filter(|_| is_date);
        date.map_or(text, |date| format.exactly(date).text)
    };
    Row {
        href: visit.user_path(&user.id),
        email: user.email.map_or_else(String::new, |email| short(email.get(), CELL_CHARS_MAX)),
        first_seen: moment(&user.created_at),
        last_seen: moment(&user.updated_at),
        events: format.count(user.event_count),
        attributes: columns.iter().map(attribute).collect(),
        id: user.id.clone(),
    }
}

/// What the address asks for, as it was written.
struct Asked {
    path: String,
    q: String,
    clauses: Vec<String>,
    sort: String,
    order: String,
    /// It isn't the first page.
    is_later: bool,
}

impl Asked {
    fn of(visit: &Visit<'_>) -> Asked {
        let params = visit.params();
        let text = |name| params.text(name).unwrap_or_default();
        Asked {
            path: visit.path("users"),
            q: text("q"),
            clauses: params.texts("where").take(CLAUSES_MAX).collect(),
            sort: text("sort"),
            order: text("order"),
            is_later: params.text("cursor").is_some(),
        }
    }

    fn address(&self, more: &[(&str, &str)]) -> String {
        let mut pairs = vec![("q", self.q.as_str())];
        pairs.extend(self.clauses.iter().map(|clause| ("where", clause.as_str())));
        for (name, value) in [("sort", &self.sort), ("order", &self.order)] {
            if !more.iter().any(|(other, _)| *other == name) {
                pairs.push((name, value));
            }
        }
        pairs.extend(more);
        address(&self.path, &pairs)
    }

    /// The attributes that have a column.
    fn attributes(&self, found: &[Found<'_>]) -> Vec<String> {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for user in found {
            for (key, _) in schema::members(user.attributes.get()) {
                match counts.iter_mut().find(|(name, _)| key.is(name)) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((key.name().into_owned(), 1)),
                }
            }
        }
        // Of those that are as many, the ones that came first.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let is_of_all = SORTS.iter().any(|(name, ..)| *name == self.sort);
        let sorted = Some(self.sort.clone()).filter(|name| !name.is_empty() && !is_of_all);
        let others = counts.into_iter().map(|(name, _)| name);
        let others = others.filter(|name| *name != self.sort).take(COLUMNS_MAX);
        sorted.into_iter().chain(others).collect()
    }

    fn columns(&self, attributes: &[String]) -> Vec<Column> {
        let column = |name: &str, label: &str, falls: bool| {
            let is_by = if self.sort.is_empty() { name == "id" } else { name == self.sort };
            let is_falling = self.order == "desc";
            // The other way round than it is, or as one would want it first.
            let order = match is_by {
                true if is_falling => "asc",
                true => "desc",
                false if falls => "desc",
                false => "asc",
            };
            Column {
                label: cut(label, CELL_CHARS_MAX),
                href: self.address(&[("sort", name), ("order", order)]),
                sorted: match (is_by, is_falling) {
                    (false, _) => "",
                    (true, true) => "descending",
                    (true, false) => "ascending",
                },
                is_number: name == "event_count",
            }
        };
        let all = SORTS.iter().map(|(name, label, falls)| column(name, label, *falls));
        all.chain(attributes.iter().map(|name| column(name, name, false))).collect()
    }

    /// What users can be sorted by: what all have, and the attributes that were sent most often.
    fn sorts(&self, visit: &Visit<'_>) -> Result<Vec<Choice>, Failure> {
        let mut names: Vec<(String, String)> = SORTS
            .iter()
            .map(|(name, label, _)| ((*name).to_owned(), (*label).to_owned()))
            .collect();
        let mut sent = user_attributes(visit)?;
        if !self.sort.is_empty() {
            sent.insert(0, self.sort.clone());
        }
        for name in sent {
            if !names.iter().any(|(known, _)| *known == name) && names.len() < SORTS_MAX {
                names.push((name.clone(), cut(&name, CELL_CHARS_MAX)));
            }
        }
        let chosen = if self.sort.is_empty() { "id" } else { &self.sort };
        Ok(names
            .into_iter()
            .map(|(value, label)| Choice { is_chosen: value == chosen, value, label })
            .collect())
    }
}

/// The names of users' attributes, those first that were sent most often; none if too much would have to be read to
/// know.
fn user_attributes(visit: &Visit<'_>) -> Result<Vec<String>, Failure> {
    let (store, account) = (&visit.rooms.store, visit.account()?.id);
    let stop = visit.stop.anew();
    match answers(store, &stop).attribute_statistics(account) {
        Ok((counted, _)) => {
            let mut names: Vec<_> = counted
                .into_iter()
                .filter(|one| one.kind.is_none())
                .filter_map(|one| Some((one.values.iter().sum::<u64>(), one.name?)))
                .collect();
            names.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
            Ok(names.into_iter().map(|(_, name)| name).collect())
        }
        Err(crate::store::Error::TooMuch { .. }) => Ok(Vec::new()),
        Err(why) => Err(why.into()),
    }
}
