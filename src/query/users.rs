//! Users, searched and sorted, page by page.
//!
//! A page takes memory for its own rows only. By id, a page goes through the users from where the last one
//! ended; in any other order it goes through all of them, and keeps the best.
//!
//! A cursor names the order, and the last row by what it is sorted by and its id, so that whoever stays as is comes
//! exactly once. Who changes between two pages may move, and come twice or not at all.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Failure, PAGE_BYTES_MAX, Stop, WALK_MAX, answers};
use crate::model::overrides::NONE;
use crate::model::{AccountId, DataType, Date};
use crate::schema::{self, Clause, Number, OfKind, Overrides, Path, Reading, Typed, Zone};
use crate::store::{Error, Order, Store, UserText};
use crate::view::{EMAIL, UserView, converted, is_zero};

/// What users are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The id, as bytes.
    Id,
    /// When the first call that named the user came.
    CreatedAt,
    /// When the last one did.
    UpdatedAt,
    /// How many events name the user.
    EventCount,
    /// An attribute, `email` among them: by type in the order of [`DataType`], as recognised
    /// or set, then by value; of a text, list or object by its first [`KEY_BYTES_MAX`] bytes. Users who don't have it
    /// come last in either order, before them those whose value doesn't convert to the type that was set.
    Attribute(Path),
}

impl Sort {
    /// Reads `id`, `created_at`, `updated_at`, `event_count` or else the name of an attribute.
    #[must_use]
    pub fn parse(text: &str) -> Sort {
        match text {
            "id" => Sort::Id,
            "created_at" => Sort::CreatedAt,
            "updated_at" => Sort::UpdatedAt,
            "event_count" => Sort::EventCount,
            name => Sort::Attribute(Path::new(name)),
        }
    }

    /// What [`Sort::parse`] reads it from.
    fn name(&self) -> &str {
        match self {
            Sort::Id => "id",
            Sort::CreatedAt => "created_at",
            Sort::UpdatedAt => "updated_at",
            Sort::EventCount => "event_count",
            Sort::Attribute(path) => path.name(),
        }
    }

    /// Whether users who are sorted by it have such keys.
    fn has(&self, key: &Key<'_>) -> bool {
        match self {
            Sort::Id => *key == Key::NotSet,
            Sort::CreatedAt | Sort::UpdatedAt => matches!(key, Key::Typed(Typed::Date(_))),
            Sort::EventCount => matches!(key, Key::Count(_)),
            Sort::Attribute(_) => !matches!(key, Key::Count(_)),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose users.
    pub account: AccountId,
    /// Those whose id or e-mail holds this, whatever its case.
    pub q: Option<String>,
    /// Those of whose attributes all of this holds. `id` is the user's id, which is no attribute.
    pub clauses: Vec<Clause>,
    /// In which order. Users who are equal in it are in the order of their ids.
    pub sort: Sort,
    /// Whether from the greatest to the least, also by id.
    pub descending: bool,
    /// Rows at the most.
    pub limit: usize,
    /// Those behind what [`Answer::next_cursor`] of the page before said, which had the same order.
    pub cursor: Option<String>,
}

/// A page.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Users as [`UserView`] shows them, with the types that were set.
    pub users: Vec<Box<RawValue>>,
    /// Where the next page goes on, if there may be one.
    pub next_cursor: Option<String>,
    /// Values that don't convert to the type that is set, and are shown as sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_converted: u64,
    /// Records that could not be read while events were counted, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// Bytes of a text by which users are sorted, and digits of a number; a longer number counts as the nearest
/// double.
pub const KEY_BYTES_MAX: usize = 256;

/// Users who pass for pages in another order, at the most.
const SORTED_MAX: usize = 1_000_000;

/// Users whose events are counted to sort by that, at the most.
const COUNTED_MAX: usize = 250_000;

/// Users whose events are counted at a time.
const COUNTED_AT_A_TIME: usize = 65_536;

/// What a user is sorted by.
#[derive(Clone, Debug, PartialEq)]
enum Key<'v> {
    Count(u64),
    Typed(Typed<'v>),
    /// Its text, as sent.
    NotConverted(Cow<'v, str>),
    NotSet,
}

impl Key<'_> {
    fn of_attribute(raw: Option<&str>, set: Option<DataType>) -> Key<'_> {
        match schema::read(raw, set) {
            Reading::Typed(value) => Key::Typed(shortened(value)),
            Reading::NotConverted(raw) => Key::NotConverted(beginning(Cow::Borrowed(raw))),
            Reading::NotSet => Key::NotSet,
        }
    }

    fn into_owned(self) -> Key<'static> {
        match self {
            Key::Count(count) => Key::Count(count),
            Key::Typed(value) => Key::Typed(value.into_owned()),
            Key::NotConverted(text) => Key::NotConverted(Cow::Owned(text.into_owned())),
            Key::NotSet => Key::NotSet,
        }
    }

    /// Ascending: first what has the lower rank.
    fn rank(&self) -> u8 {
        match self {
            Key::Count(_) | Key::Typed(_) => 0,
            Key::NotConverted(_) => 1,
            Key::NotSet => 2,
        }
    }

    fn compare(&self, other: &Key<'_>, descending: bool) -> Ordering {
        let values = match (self, other) {
            (Key::Count(a), Key::Count(b)) => a.cmp(b),
            (Key::Typed(a), Key::Typed(b)) => a.cmp(b),
            (Key::NotConverted(a), Key::NotConverted(b)) => a.cmp(b),
            _ => Ordering::Equal,
        };
        let values = if descending { values.reverse() } else { values };
        self.rank().cmp(&other.rank()).then(values)
    }

    /// As a cursor has it: what it is, and its text.
    fn to_text(&self) -> (Cow<'static, str>, String) {
        match self {
            Key::Count(count) => ("count".into(), count.to_string()),
            Key::NotConverted(text) => ("not converted".into(), text.to_string()),
            Key::NotSet => ("not set".into(), String::new()),
            Key::Typed(value) => {
                let mut text = String::new();
                value.write_text(&mut text);
                (value.data_type().name().into(), text)
            }
        }
    }

    fn from_text(what: &str, text: String) -> Option<Key<'static>> {
        Some(match what {
            "count" => Key::Count(text.parse().ok()?),
            "not converted" => Key::NotConverted(text.into()),
            "not set" => Key::NotSet,
            name => Key::Typed(match name.parse().ok()? {
                DataType::String => Typed::String(text.into()),
                DataType::Number => Typed::Number(Number::new(text)?),
                DataType::Boolean => Typed::Boolean(text.parse().ok()?),
                DataType::Date => Typed::Date(Date::parse(&text)?),
                DataType::List => Typed::List(text.into()),
                DataType::Object => Typed::Object(text.into()),
            }),
        })
    }
}

/// A value of at most [`KEY_BYTES_MAX`], so that a page and its cursor stay small.
fn shortened(value: Typed<'_>) -> Typed<'_> {
    match value {
        Typed::String(text) => Typed::String(beginning(text)),
        Typed::List(text) => Typed::List(beginning(text)),
        Typed::Object(text) => Typed::Object(beginning(text)),
        Typed::Number(number) if number.text().len() > KEY_BYTES_MAX => {
            // A double has a text that is a number.
            Number::new(format!("{:e}", number.as_f64()))
                .map_or(Typed::Number(number), Typed::Number)
        }
        value => value,
    }
}

fn beginning(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= KEY_BYTES_MAX {
        return text;
    }
    let ends = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=KEY_BYTES_MAX).rev().find(ends).unwrap_or_default();
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

/// Where a user stands in the order that is asked for.
#[derive(Clone, Debug)]
struct Place<'v> {
    key: Key<'v>,
    id: Cow<'v, str>,
}

impl Place<'_> {
    fn into_owned(self) -> Place<'static> {
        Place { key: self.key.into_owned(), id: Cow::Owned(self.id.into_owned()) }
    }
}

impl Question {
    fn compare(&self, a: &Place<'_>, b: &Place<'_>) -> Ordering {
        a.key.compare(&b.key, self.descending).then_with(|| a.id.cmp(&b.id))
    }

    /// The place that the cursor names.
    fn behind(&self) -> Result<Option<Place<'static>>, Failure> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let read = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            let (sort, order, what, text, id): (String, String, String, String, String) =
                serde_json::from_str(&text).ok()?;
            let key = Key::from_text(&what, text)?;
            let fits = (sort.as_str(), order.as_str()) == self.order() && self.sort.has(&key);
            fits.then_some(Place { key, id: id.into() })
        };
        let why = "takes what `next_cursor` of the page before said, in the same order".to_owned();
        read().map(Some).ok_or(Failure::Parameter { name: "cursor", why })
    }

    fn cursor_behind(&self, place: &Place<'_>) -> String {
        let ((sort, order), (what, text)) = (self.order(), place.key.to_text());
        URL_SAFE_NO_PAD.encode(serde_json::json!([sort, order, what, text, place.id]).to_string())
    }

    /// By what, and in which direction.
    fn order(&self) -> (&str, &'static str) {
        (self.sort.name(), if self.descending { "desc" } else { "asc" })
    }

    /// Answers it; between users it asks whether to stop.
    ///
    /// # Errors
    /// [`Failure::Parameter`] for a cursor that isn't one; [`Failure::TooLarge`] if there are more users than
    /// can be sorted.
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Answer, Failure> {
        let behind = self.behind()?;
        let found = match &self.sort {
            Sort::Id => self.by_id(store, stop, behind)?,
            Sort::EventCount => self.by_event_count(store, stop, behind)?,
            _ => self.sorted(store, stop, behind, SORTED_MAX)?,
        };
        self.page(store, stop, found)
    }
}

/// What is shown users, and whether they pass.
type Visit<'v> = &'v mut dyn FnMut(&UserText<'_>, bool) -> Result<ControlFlow<()>, Failure>;

/// The users of a page, in order.
#[derive(Default)]
struct Found {
    places: Vec<Place<'static>>,
    /// Behind whom the next page goes on.
    go_on_behind: Option<Place<'static>>,
    missing: u64,
}

impl Question {
    /// Shows `visit` the users behind `behind`, by id, and whether they pass.
    fn walk(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        order: Order,
        behind: Option<&str>,
        visit: Visit<'_>,
    ) -> Result<(), Failure> {
        let overrides = store.overrides(self.account);
        let sieve = Sieve::new(self, &overrides);
        let mut failure = None;
        store.each_user(self.account, order, behind, &mut |user| {
            let flow = if stop.is_due() {
                Err(Failure::Stopping)
            } else {
                visit(user, sieve.passes(user))
            };
            Ok(flow.unwrap_or_else(|why| {
                failure = Some(why);
                ControlFlow::Break(())
            }))
        })?;
        failure.map_or(Ok(()), Err)
    }

    fn by_id(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        behind: Option<Place<'static>>,
    ) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut last = None;
        let mut looked_at = 0;
        let order = if self.descending { Order::Descending } else { Order::Ascending };
        let behind = behind.as_ref().map(|place| &*place.id);
        self.walk(store, stop, order, behind, &mut |user, passes| {
            // The page is known to go on only when there is somebody for the next one, or when looking
            // for them would take too long.
            if found.places.len() == self.limit && passes || looked_at == WALK_MAX {
                found.go_on_behind = last.take();
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            let place = Place { key: Key::NotSet, id: user.id.to_owned().into() };
            if passes {
                found.places.push(place.clone());
            }
            last = Some(place);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn sorted(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        behind: Option<Place<'static>>,
        sorted_max: usize,
    ) -> Result<Found, Failure> {
        let overrides = store.overrides(self.account);
        let set = match &self.sort {
            Sort::Attribute(path) => overrides.of_users().get(path.name()),
            _ => None,
        };
        let mut best = Best::new(self, behind);
        let mut sorted = 0;
        self.walk(store, stop, Order::Ascending, None, &mut |user, passes| {
            if passes {
                if sorted == sorted_max {
                    return Err(too_many("sorted", sorted_max));
                }
                sorted += 1;
                let key = match &self.sort {
                    Sort::CreatedAt => Key::Typed(Typed::Date(user.created_at)),
                    Sort::UpdatedAt => Key::Typed(Typed::Date(user.updated_at)),
                    Sort::Attribute(path) => {
                        Key::of_attribute(schema::find(user.attributes, path), set)
                    }
                    Sort::Id | Sort::EventCount => Key::NotSet,
                };
                best.offer(Place { key, id: Cow::Borrowed(user.id) });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(best.found())
    }

    fn by_event_count(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        behind: Option<Place<'static>>,
    ) -> Result<Found, Failure> {
        let mut best = Best::new(self, behind);
        let mut missing = 0;
        let mut ids: Vec<String> = Vec::new();
        let mut counted = 0;
        let mut count = |ids: &mut Vec<String>| -> Result<(), Failure> {
            counted += ids.len();
            if counted > COUNTED_MAX {
                return Err(too_many("sorted by the number of their events", COUNTED_MAX));
            }
            let names: Vec<&str> = ids.iter().map(String::as_str).collect();
            let (counts, left_out) = answers(store, stop).event_counts(self.account, &names)?;
            missing = left_out.records.max(missing);
            for (id, count) in names.into_iter().zip(counts) {
                best.offer(Place { key: Key::Count(count), id: Cow::Borrowed(id) });
            }
            ids.clear();
            Ok(())
        };
        self.walk(store, stop, Order::Ascending, None, &mut |user, passes| {
            if passes {
                ids.push(user.id.to_owned());
            }
            if ids.len() == COUNTED_AT_A_TIME {
                count(&mut ids)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        count(&mut ids)?;
        Ok(Found { missing, ..best.found() })
    }

    /// The users of a page as they are shown.
    fn page(&self, store: &Store, stop: &Stop<'_>, found: Found) -> Result<Answer, Failure> {
        let ids: Vec<&str> = found.places.iter().map(|place| &*place.id).collect();
        let (counts, left_out) = answers(store, stop).event_counts(self.account, &ids)?;
        let overrides = store.overrides(self.account);
        let mut users = Vec::new();
        let (mut bytes, mut not_converted) = (0, 0);
        let mut go_on_behind = found.go_on_behind.as_ref();
        // Users are read again one by one and kept as text: parsed, one can take 50 times that.
        for (number, (place, count)) in found.places.iter().zip(counts).enumerate() {
            if bytes >= PAGE_BYTES_MAX {
                go_on_behind = number.checked_sub(1).and_then(|last| found.places.get(last));
                break;
            }
            let id = &*place.id;
            let Some(user) = store.user(self.account, id)? else { continue };
            let converted = converted(user, overrides.of_users(), &Zone::UTC);
            let (user, as_sent) = converted.map_err(|error| Error::damaged_user(id, &error))?;
            not_converted += as_sent;
            let view = UserView::new(id, &user).with_event_count(count);
            let view = to_raw_value(&view).map_err(|error| Error::damaged_user(id, &error))?;
            bytes += view.get().len();
            users.push(view);
        }
        let next_cursor = go_on_behind.map(|place| self.cursor_behind(place));
        let missing = found.missing.max(left_out.records);
        Ok(Answer { users, next_cursor, not_converted, missing })
    }
}

fn too_many(done: &str, max: usize) -> Failure {
    Failure::TooLarge(format!(
        "more than {max} users can't be {done}; narrow it with `q` and `where`, or leave out `sort`"
    ))
}

/// Whether all clauses hold of a user with these attributes, one JSON object. `id` is the user's id, which is
/// no attribute.
#[must_use]
pub fn hold(clauses: &[Clause], id: &str, attributes: &str, set: &OfKind) -> bool {
    clauses.iter().all(|clause| match clause.path().name() {
        "id" => clause.holds(&serde_json::json!({ "id": id }).to_string(), &NONE),
        _ => clause.holds(attributes, set),
    })
}

/// Who passes.
struct Sieve<'q> {
    /// In lower case.
    wanted: Option<String>,
    email: Path,
    clauses: &'q [Clause],
    overrides: &'q OfKind,
}

impl<'q> Sieve<'q> {
    fn new(question: &'q Question, overrides: &'q Overrides) -> Sieve<'q> {
        Sieve {
            wanted: question.q.as_ref().map(|q| q.to_lowercase()),
            email: Path::new(EMAIL),
            clauses: &question.clauses,
            overrides: overrides.of_users(),
        }
    }

    fn passes(&self, user: &UserText<'_>) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| self.finds(wanted, user))
            && hold(self.clauses, user.id, user.attributes, self.overrides)
    }

    fn finds(&self, wanted: &str, user: &UserText<'_>) -> bool {
        let holds = |text: &str| text.to_lowercase().contains(wanted);
        holds(user.id)
            || schema::find(user.attributes, &self.email)
                .and_then(|email| serde_json::from_str::<String>(email).ok())
                .is_some_and(|email| holds(&email))
    }
}

/// The first rows of those that are offered, one more than a page has.
struct Best<'q> {
    question: &'q Question,
    behind: Option<Place<'static>>,
    places: Vec<Place<'static>>,
}

impl<'q> Best<'q> {
    fn new(question: &'q Question, behind: Option<Place<'static>>) -> Best<'q> {
        Best { question, behind, places: Vec::new() }
    }

    fn offer(&mut self, place: Place<'_>) {
        let before = |other: &Place<'_>| self.question.compare(other, &place).is_lt();
        if self.behind.as_ref().is_some_and(|behind| !before(behind)) {
            return;
        }
        // The last one of those in order is as good as any of the wanted has to be.
        let wanted = self.question.limit + 1;
        if self.places.get(wanted - 1).is_some_and(before) {
            return;
        }
        self.places.push(place.into_owned());
        if self.places.len() == wanted || self.places.len() >= 2 * wanted {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.places.sort_by(|a, b| self.question.compare(a, b));
        self.places.truncate(self.question.limit + 1);
    }

    fn found(mut self) -> Found {
        self.tidy();
        let more = self.places.len() > self.question.limit;
        self.places.truncate(self.question.limit);
        let go_on_behind = self.places.last().filter(|_| more).cloned();
        Found { places: self.places, go_on_behind, missing: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::trial::{ACCOUNT, Trial, event, set, update};
    use proptest::prelude::*;
    use serde_json::Value;
    use std::collections::BTreeMap;

    fn of(sort: &str, descending: bool, limit: usize) -> Question {
        let (account, sort) = (ACCOUNT, Sort::parse(sort));
        Question { account, q: None, clauses: Vec::new(), sort, descending, limit, cursor: None }
    }

    /// All rows, page by page.
    fn walk(trial: &Trial, mut question: Question) -> Vec<Value> {
        let mut rows = Vec::new();
        loop {
            let answer = question.answer(&trial.store, &Stop::never()).unwrap();
            assert!(answer.users.len() <= question.limit);
            rows.extend(
                answer
                    .users
                    .iter()
                    .map(|row| -> Value { serde_json::from_str(row.get()).unwrap() }),
            );
            match answer.next_cursor {
                Some(cursor) => question.cursor = Some(cursor),
                None => return rows,
            }
            assert!(rows.len() < 1_000, "it has an end");
        }
    }

    fn ids(trial: &Trial, question: Question) -> Vec<String> {
        let id = |row: Value| row["id"].as_str().unwrap().to_owned();
        walk(trial, question).into_iter().map(id).collect()
    }

    /// The value of `x`, and where it stands among others: type, then value.
    const VALUES: [(&str, (u8, i32)); 9] = [
        ("\"a\"", (0, 1)),
        ("\"b\"", (0, 2)),
        ("2", (1, 2)),
        ("1e1", (1, 10)),
        ("10", (1, 10)),
        ("false", (2, 0)),
        ("\"2001-07-04\"", (3, 4)),
        ("\"2001-07-05T00:00:00+02:00\"", (3, 4_5)),
        ("[1]", (4, 1)),
    ];

    /// A user: updates (value of `x`, e-mail) and events, each at its time.
    type Tracked = (usize, Option<usize>, bool, usize);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pages_are_the_whole_in_order(
            records in proptest::collection::vec(
                (0_usize..12, proptest::option::of(0..VALUES.len()), any::<bool>(), 0_usize..3), 1..40),
            sort in prop_oneof![Just("id"), Just("x"), Just("created_at"), Just("updated_at"), Just("event_count")],
            descending in any::<bool>(),
            limit in 1_usize..6,
            q in prop_oneof![3 => Just(None), 1 => Just(Some("U1")), 1 => Just(Some("@Ex"))],
            clause in prop_oneof![
                3 => Just(None), 1 => Just(Some("x exists")), 1 => Just(Some("email!=u1@example.com")),
                1 => Just(Some("id>u3"))],
        ) {
            struct Known {
                created: i64,
                updated: i64,
                x: Option<usize>,
                email: bool,
            }
            let trial = Trial::new();
            let mut known: BTreeMap<String, Known> = BTreeMap::new();
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for (at, (who, x, email, events)) in (0..).zip(&records) {
                let (who, x, email, events): &Tracked = &(*who, *x, *email, *events);
                let id = format!("u{who}");
                let value = x.map_or("null", |x| VALUES[x].0);
                let email_text = if *email { format!("\"{id}@example.com\"") } else { "null".to_owned() };
                let mut drafts = vec![update(&id, &format!("{{\"x\":{value},\"email\":{email_text}}}"), at)];
                for _ in 0..*events {
                    drafts.push(event("e", Some(&id), at, "{}", None));
                    *counts.entry(id.clone()).or_default() += 1;
                }
                trial.put(drafts);
                let new = || Known { created: at, updated: at, x: None, email: false };
                let user = known.entry(id).or_insert_with(new);
                (user.updated, user.x, user.email) = (at, *x, *email);
            }
            let email = |id: &str, user: &Known| user.email.then(|| format!("{id}@example.com"));
            let mut wanted: Vec<_> = known.iter().filter(|(id, user)| {
                let email = email(id, user);
                let found = match q {
                    Some("U1") => id.starts_with("u1") || email.is_some_and(|email| email.starts_with("u1")),
                    Some(_) => email.is_some(),
                    None => true,
                };
                found && match clause {
                    Some("x exists") => user.x.is_some(),
                    Some("id>u3") => id.as_str() > "u3",
                    Some(_) => !(*id == "u1" && user.email),
                    None => true,
                }
            }).collect();
            // It is stable, and they are in the order of their ids.
            wanted.sort_by(|(a, known_a), (b, known_b)| {
                let count = |id: &String| counts.get(id).copied().unwrap_or(0);
                let order = match sort {
                    "id" => a.cmp(b),
                    "created_at" => known_a.created.cmp(&known_b.created),
                    "updated_at" => known_a.updated.cmp(&known_b.updated),
                    "event_count" => count(a).cmp(&count(b)),
                    _ => match (known_a.x, known_b.x) {
                        (Some(a), Some(b)) => VALUES[a].1.cmp(&VALUES[b].1),
                        (Some(_), None) if descending => Ordering::Greater,
                        (None, Some(_)) if descending => Ordering::Less,
                        (Some(_), None) => Ordering::Less,
                        (None, Some(_)) => Ordering::Greater,
                        (None, None) => Ordering::Equal,
                    },
                };
                if descending { order.reverse() } else { order }
            });
            let question = Question {
                q: q.map(str::to_owned),
                clauses: clause.map(|text| Clause::parse(text, &Zone::UTC).unwrap()).into_iter().collect(),
                ..of(sort, descending, limit)
            };
            let rows = walk(&trial, question);
            let shown: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            let wanted_ids: Vec<_> = wanted.iter().map(|(id, _)| id.as_str()).collect();
            prop_assert_eq!(shown, wanted_ids);
            for (row, (id, user)) in rows.iter().zip(&wanted) {
                prop_assert_eq!(row["event_count"].as_u64(), Some(counts.get(*id).copied().unwrap_or(0)));
                prop_assert_eq!(row["email"].as_str().map(str::to_owned), email(id, user));
                prop_assert_eq!(&row["created_at"], &Value::from(Date::from_millis(user.created).to_string()));
            }
        }
    }

    #[test]
    fn as_the_types_that_were_set() {
        let trial = Trial::new();
        trial.put(vec![
            update("a", r#"{"n":"10"}"#, 0),
            update("b", r#"{"n":9}"#, 0),
            update("c", r#"{"n":"x"}"#, 0),
            update("d", "{}", 0),
            update("e", r#"{"n":"8"}"#, 0),
        ]);
        let by = |descending, clause: &str| {
            let clauses = vec![Clause::parse(clause, &Zone::UTC).unwrap()];
            ids(&trial, Question { clauses, ..of("n", descending, 1) }).concat()
        };
        assert_eq!((by(false, "n!=1"), by(true, "n!=1")), ("aecbd".into(), "bcead".into()));
        assert_eq!(by(false, "n>=9"), "cb");
        trial.put(vec![set("user", "n", DataType::Number)]);
        assert_eq!((by(false, "n!=1"), by(true, "n!=1")), ("ebacd".into(), "abecd".into()));
        assert_eq!(by(false, "n>=9"), "ba");
        let rows = walk(&trial, of("n", false, 9));
        let shown: Vec<_> = rows.iter().map(|row| row["attributes"]["n"].to_string()).collect();
        assert_eq!(shown, ["8", "9", "10", "\"x\"", "null"]);
    }

    #[test]
    fn keys_come_back_from_a_cursor() {
        let long = format!("\"{}é\"", "x".repeat(KEY_BYTES_MAX - 1));
        let digits = "7".repeat(300);
        for (raw, set) in [
            ("\"a\"", None),
            ("\"\"", None),
            ("\"2001-07-04\"", None),
            ("\"2001-07-04\"", Some(DataType::String)),
            ("\"1.50\"", Some(DataType::Number)),
            ("\"yes\"", Some(DataType::Boolean)),
            ("\"no\"", Some(DataType::Number)),
            ("1e400", None),
            ("[1,\"é\"]", None),
            ("{\"a\":1}", None),
            ("null", None),
            (&long, None),
            (&digits, None),
        ] {
            let key = Key::of_attribute(Some(raw), set);
            let (what, text) = key.to_text();
            assert!(text.len() <= KEY_BYTES_MAX + 2, "{raw}");
            let back = Key::from_text(&what, text).expect(raw);
            assert_eq!(back.compare(&key, false), Ordering::Equal, "{raw}");
        }
        assert_eq!(Key::from_text("Number", "x".to_owned()), None);
        assert_eq!(Key::from_text("", String::new()), None);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let trial = Trial::new();
        trial.put(vec![update("a", "{\"n\":1}", 0), update("b", "{\"n\":2}", 0)]);
        let good = of("n", false, 1).answer(&trial.store, &Stop::never()).unwrap().next_cursor;
        let refused = |sort: &str, descending, cursor: &str| {
            let cursor = Some(cursor.to_owned());
            let refused =
                Question { cursor, ..of(sort, descending, 1) }.answer(&trial.store, &Stop::never());
            let named = matches!(refused, Err(Failure::Parameter { name: "cursor", .. }));
            assert!(named, "{sort} {descending}: {refused:?}");
        };
        for (sort, cursor) in [("id", "%"), ("id", "_w"), ("id", "YQ"), ("n", "YQ")] {
            refused(sort, false, cursor);
        }
        for (sort, what, text) in [
            ("n", "Number", "x"),
            ("n", "Color", "x"),
            ("n", "count", "1"),
            ("created_at", "String", "x"),
            ("updated_at", "not set", ""),
            ("event_count", "Number", "1"),
            ("id", "String", "a"),
        ] {
            let of_its_own = serde_json::json!([sort, "asc", what, text, "a"]).to_string();
            refused(sort, false, &URL_SAFE_NO_PAD.encode(of_its_own));
        }
        // That of one order is none of any other.
        let orders = ["id", "created_at", "updated_at", "event_count", "n", "m"];
        let orders = orders.into_iter().flat_map(|sort| [(sort, false), (sort, true)]);
        for order in orders.clone() {
            let answer = of(order.0, order.1, 1).answer(&trial.store, &Stop::never()).unwrap();
            let cursor = answer.next_cursor.expect("there is another user");
            for other in orders.clone().filter(|other| *other != order) {
                refused(other.0, other.1, &cursor);
            }
        }
        let next = Question { cursor: good, ..of("n", false, 1) };
        assert_eq!(ids(&trial, next), ["b"]);
        let stopped = of("n", false, 1).answer(&trial.store, &Stop::new(u64::MAX, &|| true));
        assert!(matches!(stopped, Err(Failure::Stopping)));
    }

    /// Who is left out is no reason to refuse.
    #[test]
    fn those_who_pass_are_sorted() {
        let trial = Trial::new();
        let plan = |n| if n % 4 == 0 { "pro" } else { "free" };
        let users =
            (0..12).map(|n| update(&format!("u{n}"), &format!("{{\"plan\":\"{}\"}}", plan(n)), n));
        trial.put(users.collect());
        for (q, clause, number) in [
            (None, "plan=pro", 3),
            (Some("U1"), "plan exists", 3),
            (Some("nobody"), "plan exists", 0),
        ] {
            let question = Question {
                q: q.map(str::to_owned),
                clauses: vec![Clause::parse(clause, &Zone::UTC).unwrap()],
                ..of("plan", false, 12)
            };
            let found = |max| question.sorted(&trial.store, &Stop::never(), None, max);
            assert_eq!(found(3).unwrap().places.len(), number, "{q:?} {clause}");
            assert_eq!(matches!(found(2), Err(Failure::TooLarge(_))), number > 2, "{q:?} {clause}");
        }
        let stopped = of("n", false, 1).answer(&trial.store, &Stop::new(u64::MAX, &|| true));
        assert!(matches!(stopped, Err(Failure::Stopping)));
    }
}
