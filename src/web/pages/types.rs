//! `/accounts/{account}/types`: the attributes of users and of each type of events, with the types that their values
//! were recognised as; `/accounts/{account}/types/one`: one of them, its values, and another type for it, tried first.
//!
//! Names and types of events are of any characters, so that they go by the query.

use std::collections::BTreeMap;

use askama::Template;

use crate::asking::{Failure, Params};
use crate::clock;
use crate::http::{Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::DataType;
use crate::model::overrides::{AttributeName, Kind};
use crate::query::sample::{self, Most};
use crate::query::types::{self, AttributeType};
use crate::schema::Path;
use crate::store::{Draft, Refusal};
use crate::web::answer::{self, address, sentence};
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::{Bar, Choice, Tab};
use crate::web::values::{CELL_CHARS_MAX, WHOLE_CHARS_MAX, cut, short, typed};
use crate::web::visit::Visit;

/// Attributes of a page.
const ROWS: usize = 100;

/// Kinds of a page whose newest records are looked at for examples; those beyond have none.
const SAMPLED_MAX: usize = 24;

/// Records of each that are.
const SAMPLED_RECORDS: u64 = 50;

/// Examples of an attribute in the list, and letters of each.
const EXAMPLES: usize = 3;
const EXAMPLE_CHARS_MAX: usize = 40;

/// Records, or users, that are looked at to find values of one attribute.
const LOOKED_AT: u64 = 500;

/// The same to count how many convert, unless all are asked for.
const COUNTED: u64 = 4_000;

/// Kinds that are offered to choose from.
const KINDS_MAX: usize = 500;

#[derive(Template)]
#[template(path = "types.html")]
struct Page {
    frame: Frame,
    path: String,
    kinds: Vec<Choice>,
    q: String,
    only_set: bool,
    groups: Vec<Group>,
    previous: String,
    next: String,
    is_narrow: bool,
    snippets: String,
}

/// Attributes of one kind.
struct Group {
    title: String,
    /// The type of the events, apart from the words around it.
    kind: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    /// None stands for all that aren't kept apart.
    href: String,
    data_type: &'static str,
    is_set: bool,
    recognised: String,
    values: String,
    examples: Vec<String>,
}

/// The page of one attribute's type.
pub(super) fn path_of(visit: &Visit<'_>, kind: &Kind, name: &str) -> String {
    let kind = kind.to_string();
    address(&visit.path("types/one"), &[("kind", &kind), ("attribute", name)])
}

/// The page.
pub(in crate::web) fn types(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (store, account) = (&visit.rooms.store, visit.account()?.id);
    let params = visit.params();
    let text = |name| params.text(name).unwrap_or_default();
    let (kind, q, only_set) = (text("kind"), text("q"), text("set") == "1");
    let from: usize = text("from").parse().unwrap_or(0);
    let all = types::all(store, account, visit.stop)?;
    let mut kinds: Vec<String> = all.types.iter().map(|row| row.kind.clone()).collect();
    kinds.dedup();
    let wanted = q.to_lowercase();
    let mut found = all.types.into_iter().filter(|row| {
        (kind.is_empty() || row.kind == kind)
            && (!only_set || row.r#override.is_some())
            && (wanted.is_empty() || name_of(row).to_lowercase().contains(&wanted))
    });
    let page: Vec<_> = found.by_ref().skip(from).take(ROWS).collect();
    let is_last = found.next().is_none();
    let path = visit.path("types");
    let set = if only_set { "1" } else { "" };
    let at = |from: usize| {
        let from = if from == 0 { String::new() } else { from.to_string() };
        address(&path, &[("kind", &kind), ("q", &q), ("set", set), ("from", &from)])
    };
    let mut frame = visit.frame_of(Section::Types, "Data types", &[]);
    if all.missing > 0 {
        let missing = visit.format().count(all.missing);
        let text = format!(
            "Up to {missing} records are damaged and weren't counted. `triggerly verify` tells what to do."
        );
        frame.notice = Some(Notice { is_error: true, text });
    }
    let page = Page {
        frame,
        groups: groups(visit, &page)?,
        kinds: choices(&kinds, &kind),
        is_narrow: !kind.is_empty() || !q.is_empty() || only_set || from > 0,
        previous: if from == 0 { String::new() } else { at(from.saturating_sub(ROWS)) },
        next: if is_last { String::new() } else { at(from.saturating_add(ROWS)) },
        path: path.clone(),
        q: q.clone(),
        only_set,
        snippets: visit.path("profile#snippets"),
    };
    visit.page(&page)
}

fn name_of(row: &AttributeType) -> &str {
    row.attribute.as_deref().unwrap_or_default()
}

/// Kinds to choose from.
fn choices(kinds: &[String], chosen: &str) -> Vec<Choice> {
    let label = |kind: &str| match kind.parse() {
        Ok(Kind::Event(of)) => format!("Events: {}", cut(&of, CELL_CHARS_MAX)),
        _ => "Users".to_owned(),
    };
    let all =
        Choice { value: String::new(), label: "All".to_owned(), is_chosen: chosen.is_empty() };
    let one = |kind: &String| Choice {
        value: kind.clone(),
        label: label(kind),
        is_chosen: kind == chosen,
    };
    std::iter::once(all).chain(kinds.iter().take(KINDS_MAX).map(one)).collect()
}

/// The rows of a page by their kind, with examples.
fn groups(visit: &Visit<'_>, page: &[AttributeType]) -> Result<Vec<Group>, Failure> {
    let mut groups: Vec<Group> = Vec::new();
    let format = visit.format();
    for (number, rows) in page.chunk_by(|a, b| a.kind == b.kind).enumerate() {
        let Ok(kind) = rows[0].kind.parse::<Kind>() else { continue };
        let names: Vec<&str> = rows.iter().filter_map(|row| row.attribute.as_deref()).collect();
        let mut examples = match number {
            0..SAMPLED_MAX => examples(visit, &kind, &names)?,
            _ => BTreeMap::new(),
        };
        let row = |row: &AttributeType| {
            let name = name_of(row).to_owned();
            let is_one = row.attribute.is_some();
            Row {
                href: if is_one { path_of(visit, &kind, &name) } else { String::new() },
                data_type: row.r#type.map_or("", DataType::name),
                is_set: row.r#override.is_some(),
                recognised: recognised(visit, row),
                values: format.count(row.values),
                examples: examples.remove(&name).unwrap_or_default(),
                name,
            }
        };
        let rows = rows.iter().map(row).collect();
        let (title, kind) = match kind {
            Kind::User => ("Users", String::new()),
            Kind::Event(of) => ("Events", of),
        };
        groups.push(Group { title: title.to_owned(), kind, rows });
    }
    Ok(groups)
}

/// What values were recognised as, if that isn't one type: `Number 98%, String 2%`.
fn recognised(visit: &Visit<'_>, row: &AttributeType) -> String {
    let mut all: Vec<_> = row.recognised.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let share = |count| visit.format().share(count, row.values);
    match all.as_slice() {
        [] => "never sent".to_owned(),
        [(one, _)] => one.name().to_owned(),
        several => {
            let texts = several.iter().map(|(of, count)| format!("{of} {}", share(**count)));
            texts.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Some values of these attributes that the newest records of a kind have.
fn examples(
    visit: &Visit<'_>,
    kind: &Kind,
    names: &[&str],
) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let account = visit.account()?.id;
    let paths: Vec<Path> = names.iter().map(|name| Path::new(name)).collect();
    let mut examples: BTreeMap<String, Vec<String>> = BTreeMap::new();
    sample::newest(&visit.rooms.store, account, kind, SAMPLED_RECORDS, visit.stop, &mut |sent| {
        for path in &paths {
            let Some(raw) = crate::schema::find(sent, path).filter(|raw| *raw != "null") else {
                continue;
            };
            let found = examples.entry(path.name().to_owned()).or_default();
            let text = short(raw, EXAMPLE_CHARS_MAX);
            if found.len() < EXAMPLES && !found.contains(&text) {
                found.push(text);
            }
        }
    })?;
    Ok(examples)
}

#[derive(Template)]
#[template(path = "type.html")]
struct One {
    frame: Frame,
    /// The type of the events; empty: it is of users.
    of: String,
    name: String,
    back: String,
    set_path: String,
    unset_path: String,
    /// The type that holds; empty if there is none.
    data_type: &'static str,
    /// The one that is set; empty if none is.
    set: &'static str,
    values: String,
    recognised: Vec<Bar>,
    can_be_set: bool,
    /// Where each type is tried.
    types: Vec<Tab>,
    error: String,
    /// The type that is tried; empty if none is.
    to: String,
    tried: Option<Tried>,
    examples: Vec<Shown>,
}

/// What trying a type gave.
struct Tried {
    /// In words.
    converted: String,
    not_converted: String,
    all_convert: bool,
    /// What was looked at, if that wasn't all.
    of: String,
    /// Where all are looked at; empty if they were.
    whole: String,
}

/// A value, as it was sent and as it is read.
struct Shown {
    sent: String,
    read: String,
    data_type: &'static str,
    fails: bool,
}

/// How much it is likely to read.
pub(in crate::web) fn of_one(request: &Request) -> Weight {
    match Params::of(request.query()).flag("all") {
        Ok(Some(true)) => Weight::Heavy,
        _ => Weight::Light,
    }
}

/// An attribute, as an address names it.
struct Named {
    kind: Kind,
    attribute: String,
}

impl Named {
    fn of(visit: &Visit<'_>) -> Result<Named, Reject> {
        let text = |name| visit.request().query().get(name).unwrap_or_default().into_owned();
        let none = |_| Reject::new(Code::NotFound, "There is no such kind of attributes.");
        Ok(Named { kind: text("kind").parse().map_err(none)?, attribute: text("attribute") })
    }
}

/// The page of one attribute.
pub(in crate::web) fn one(visit: &Visit<'_>) -> Result<Response, Failure> {
    let named = Named::of(visit)?;
    let to = visit.request().query().get("to").unwrap_or_default();
    match to.as_ref() {
        "" => page(visit, &named, None, None),
        to => match to.parse() {
            Ok(to) => page(visit, &named, Some(to), None),
            Err(_) => page(visit, &named, None, Some((400, NO_TYPE.to_owned()))),
        },
    }
}

const NO_TYPE: &str = "Choose one of the types.";

fn page(
    visit: &Visit<'_>,
    named: &Named,
    to: Option<DataType>,
    wrong: Option<(u16, String)>,
) -> Result<Response, Failure> {
    let Named { kind, attribute } = named;
    let (store, account, format) = (&visit.rooms.store, visit.account()?.id, visit.format());
    let set = store.overrides(account).get(kind, attribute);
    let row = types::one(store, account, kind, attribute, set, visit.stop)?;
    let is_all = of_one(visit.request()) == Weight::Heavy;
    let question = sample::Question {
        account,
        kind: kind.clone(),
        attribute: Path::new(attribute),
        to: to.or(set),
        most: match to {
            None => Most::Few(LOOKED_AT),
            Some(_) if is_all => Most::All,
            Some(_) => Most::Some(COUNTED),
        },
    };
    let found = question.answer(store, visit.stop)?;
    let own = path_of(visit, kind, attribute);
    let tried = to.map(|to| tried(visit, kind, &found, &address(&own, &[("to", to.name())])));
    let shown = |one: &sample::Example| Shown {
        sent: cut(&one.sent, WHOLE_CHARS_MAX),
        read: one
            .read
            .as_ref()
            .map_or_else(String::new, |value| typed(value, &format, WHOLE_CHARS_MAX)),
        data_type: one.read.as_ref().map_or("", |value| value.data_type().name()),
        fails: one.read.is_none(),
    };
    let greatest = row.recognised.values().max().copied().unwrap_or(0);
    let bar = |(of, count): (&DataType, &u64)| Bar {
        label: of.name().to_owned(),
        href: String::new(),
        value: format.count(*count),
        share: format.share(*count, row.values),
        length: Bar::length(*count, greatest),
    };
    let done = [
        (
            "set",
            "The type is set. Values that were sent before and those to come are read as it, on every page and in every answer.",
        ),
        ("unset", "The type is taken back. Values are what they are recognised as again."),
    ];
    let mut frame = visit.frame_of(Section::Types, "Data type", &done);
    if found.missing > 0 {
        let missing = format.count(found.missing);
        let text = format!("Up to {missing} records are damaged and weren't looked at.");
        frame.notice = Some(Notice { is_error: true, text });
    }
    let try_as = |of: DataType| Tab {
        href: address(&own, &[("to", of.name())]),
        label: of.name().to_owned(),
        is_current: to == Some(of),
    };
    let kind_name = kind.to_string();
    // By the address: browsers write line ends in fields their own way.
    let names_it = [("kind", kind_name.as_str()), ("attribute", attribute.as_str())];
    let (status, error) = wrong.unwrap_or((200, String::new()));
    let one = One {
        frame,
        of: kind.events().unwrap_or_default().to_owned(),
        name: attribute.clone(),
        back: address(&visit.path("types"), &names_it[..1]),
        set_path: address(&visit.path("types/set"), &names_it),
        unset_path: address(&visit.path("types/unset"), &names_it),
        data_type: row.r#type.map_or("", DataType::name),
        set: set.map_or("", DataType::name),
        values: format.count(row.values),
        recognised: row.recognised.iter().map(bar).collect(),
        can_be_set: AttributeName::new(attribute).is_ok(),
        types: DataType::ALL.map(try_as).into(),
        error,
        to: to.map_or("", DataType::name).to_owned(),
        tried,
        examples: found.examples.iter().map(shown).collect(),
    };
    visit.page_as(status, &one)
}

fn tried(visit: &Visit<'_>, kind: &Kind, found: &sample::Answer, own: &str) -> Tried {
    let format = visit.format();
    let sum = found.converted + found.not_converted;
    let count = |number| format!("{} ({})", format.count(number), format.share(number, sum));
    let (unit, which) = match kind {
        Kind::User => ("users", "the first"),
        Kind::Event(_) => ("events", "the newest"),
    };
    Tried {
        converted: count(found.converted),
        not_converted: count(found.not_converted),
        all_convert: found.not_converted == 0,
        of: match found.is_whole {
            true => String::new(),
            false => format!("{} values of {which} {unit}", format.count(sum)),
        },
        whole: match found.is_whole {
            true => String::new(),
            false => address(own, &[("all", "1")]),
        },
    }
}

/// Sets a type.
pub(in crate::web) fn set(visit: &Visit<'_>) -> Result<Response, Failure> {
    let named = Named::of(visit)?;
    let Ok(to) = visit.field("to").parse::<DataType>() else {
        return page(visit, &named, None, Some((422, NO_TYPE.to_owned())));
    };
    change(visit, named, Some(to), "set")
}

/// Takes it back.
pub(in crate::web) fn unset(visit: &Visit<'_>) -> Result<Response, Failure> {
    let named = Named::of(visit)?;
    let set = visit.rooms.store.overrides(visit.account()?.id).get(&named.kind, &named.attribute);
    if set.is_none() {
        // It is as it was to become.
        return Ok(visit.see(&path_of(visit, &named.kind, &named.attribute)));
    }
    change(visit, named, None, "unset")
}

fn change(
    visit: &Visit<'_>,
    named: Named,
    to: Option<DataType>,
    done: &str,
) -> Result<Response, Failure> {
    let attribute = match AttributeName::new(&named.attribute) {
        Ok(attribute) => attribute,
        Err(error) => return page(visit, &named, None, Some((422, sentence(&error.to_string())))),
    };
    let account = visit.account()?.id;
    let draft = Draft::data_type(account, named.kind.clone(), attribute, to, clock::now());
    match visit.rooms.writer.submit_and_wait(vec![draft]) {
        Ok(_) => {
            let own = path_of(visit, &named.kind, &named.attribute);
            Ok(visit.see(&address(&own, &[("done", done)])))
        }
        Err(refusal @ Refusal::TooManyTypes) => {
            page(visit, &named, None, Some((422, sentence(&refusal.to_string()))))
        }
        Err(refusal) => Err(answer::refused(refusal).into()),
    }
}
