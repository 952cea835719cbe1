//! What one user did, newest first, and between it how the user's attributes changed.
//!
//! A page holds what its rows take, and of the updates before it one merged user: old values are told by
//! merging the user's updates again, from the first one on.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{Failure, PAGE_BYTES_MAX, Stop, WALK_MAX};
use crate::model::limits::DEPTH_MAX;
use crate::model::record::Event;
use crate::model::{AccountId, Change, Date, Object, Record, Seq, Via, json, merge};
use crate::schema::{self, OfKind, Zone};
use crate::store::{Error, Order, Store};
use crate::view::{EventView, Shown, is_zero};

/// Updates before a page that are merged to know what its own have replaced, at the most. Where there are
/// more, its changes are shown without the old values.
pub const REPLAY_MAX: u64 = 50_000;

/// Bytes of these, at the most.
const REPLAY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose user.
    pub account: AccountId,
    /// The user; need not have been tracked.
    pub user_id: String,
    /// Events from this date on, and changes that came from then on.
    pub from: Option<Date>,
    /// Events before this date, and changes that came before.
    pub to: Option<Date>,
    /// Records before this one: what [`Answer::next_cursor`] of the page before said.
    pub before: Option<Seq>,
    /// Rows at the most.
    pub limit: usize,
}

/// A page. An update that changes nothing has no row, so that there may be fewer than asked for, and more
/// all the same.
#[derive(Serialize)]
pub struct Answer {
    /// Rows: an event, or a change. By `seq`, newest first.
    pub timeline: Vec<Box<RawValue>>,
    /// Where the next page goes on, if there may be one.
    pub next_cursor: Option<String>,
    /// Values that don't convert to the type that is set, and are shown as sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_converted: u64,
    /// Records that could not be read, at the most. What one of these set is not known in later changes.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// One row.
#[derive(Serialize)]
struct Row<'a> {
    seq: Seq,
    at: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<ChangeView>,
}

/// How an update changed the user: by name, where a name within an object has the object's and a dot in front.
#[derive(Serialize)]
struct ChangeView {
    via: &'static str,
    set: BTreeMap<String, Set>,
    /// What was there; null if that isn't known.
    removed: BTreeMap<String, Box<RawValue>>,
}

/// What an attribute was and is.
#[derive(Serialize)]
struct Set {
    /// Null if it wasn't set, which no attribute is; left out if that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Box<RawValue>>,
    to: Box<RawValue>,
}

impl Question {
    /// Answers it; from time to time it asks whether to stop.
    ///
    /// # Errors
    /// [`Failure`] if the store can't be read.
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Answer, Failure> {
        let mut page = Page::default();
        page.gather(self, store, stop)?;
        page.replay(self, store, stop)?;
        let next_cursor = page.go_on_behind.map(|seq| seq.to_string());
        let (mut timeline, mut not_converted) = (Vec::new(), 0);
        for (_, found) in page.found {
            if let Found::Row(row) = found {
                not_converted += row.not_converted;
                timeline.push(row.text);
            }
        }
        Ok(Answer { timeline, next_cursor, not_converted, missing: page.missing })
    }

    fn wants(&self, at: Date) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// A page in the making.
#[derive(Default)]
struct Page {
    /// Newest first.
    found: Vec<(Seq, Found)>,
    /// Of all that was found.
    bytes: usize,
    go_on_behind: Option<Seq>,
    missing: u64,
}

enum Found {
    Row(Written),
    /// It isn't known yet what it changed.
    Update(Update),
}

/// A row as text.
struct Written {
    text: Box<RawValue>,
    not_converted: u64,
}

struct Update {
    at: Date,
    via: Via,
    patch: String,
}

impl Page {
    /// Takes the newest records that are wanted. Events become rows.
    fn gather(
        &mut self,
        question: &Question,
        store: &Store,
        stop: &Stop<'_>,
    ) -> Result<(), Failure> {
        let Question { account, user_id, .. } = question;
        let overrides = store.overrides(*account);
        let range = 1..=question.before.map_or(Seq::MAX, |before| before.saturating_sub(1));
        let (mut looked_at, mut last, mut stopped) = (0, 0, false);
        let missing = store.of_user(
            *account,
            user_id,
            Order::Descending,
            range,
            stop,
            &mut |seq, record| {
                let at = match &record.change {
                    Change::Event(event) => event.date,
                    _ => record.received_at,
                };
                let wanted = question.wants(at);
                stopped = stop.is_due();
                // The page is known to go on only when there is something for the next one, or when
                // looking for it would take too long.
                let full = self.found.len() >= question.limit || self.bytes >= PAGE_BYTES_MAX;
                if full && wanted || looked_at == WALK_MAX {
                    self.go_on_behind = Some(last);
                    return Ok(ControlFlow::Break(()));
                }
                if stopped {
                    return Ok(ControlFlow::Break(()));
                }
                looked_at += 1;
                last = seq;
                let found = match &record.change {
                    Change::Event(event) if wanted => {
                        Found::Row(event_row(seq, record, event, overrides.of_events(event.kind))?)
                    }
                    Change::User(user) if wanted => {
                        Found::Update(Update { at, via: user.via, patch: user.patch.to_owned() })
                    }
                    _ => return Ok(ControlFlow::Continue(())),
                };
                self.bytes += found.bytes();
                self.found.push((seq, found));
                Ok(ControlFlow::Continue(()))
            },
        )?;
        self.missing += missing.records;
        if stopped { Err(Failure::Stopping) } else { Ok(()) }
    }

    /// Makes rows of the updates that changed something.
    fn replay(
        &mut self,
        question: &Question,
        store: &Store,
        stop: &Stop<'_>,
    ) -> Result<(), Failure> {
        let is_update = |(_, found): &&(Seq, Found)| matches!(found, Found::Update(_));
        let Some((last, _)) = self.found.iter().find(is_update) else { return Ok(()) };
        let overrides = store.overrides(question.account);
        let of_users = overrides.of_users();
        let mut user = Object::new();
        // What of the page lies ahead, as updates are met from the first one on.
        let mut ahead = self.found.len();
        let (mut replayed, mut bytes, mut stopped) = (0, 0, false);
        let Question { account, user_id, .. } = question;
        let range = 1..=*last;
        let missing = store.updates_of_user(
            *account,
            user_id,
            Order::Ascending,
            range,
            stop,
            &mut |seq, record| {
                let Change::User(update) = &record.change else {
                    return Ok(ControlFlow::Continue(()));
                };
                stopped = stop.is_due();
                if stopped || replayed == REPLAY_MAX || bytes >= REPLAY_BYTES_MAX {
                    return Ok(ControlFlow::Break(()));
                }
                replayed += 1;
                bytes += update.patch.len();
                let patch = parse(seq, update.patch)?;
                while ahead > 0 && self.found[ahead - 1].0 < seq {
                    ahead -= 1;
                }
                if ahead > 0 && self.found[ahead - 1].0 == seq {
                    ahead -= 1;
                    self.make_row(ahead, Some(&user), &patch, of_users)?;
                }
                merge::merge(&mut user, patch);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        self.missing += missing.records;
        if stopped {
            return Err(Failure::Stopping);
        }
        if replayed == REPLAY_MAX || bytes >= REPLAY_BYTES_MAX {
            for place in (0..ahead).rev() {
                if let (seq, Found::Update(update)) = &self.found[place] {
                    let patch = parse(*seq, &update.patch)?;
                    self.make_row(place, None, &patch, of_users)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a row of an update, if it changed something. Where old values make the page too large, it loses
    /// its oldest rows to the next one.
    fn make_row(
        &mut self,
        place: usize,
        before: Option<&Object>,
        patch: &Object,
        overrides: &OfKind,
    ) -> Result<(), Error> {
        let Some((seq, found)) = self.found.get_mut(place) else { return Ok(()) };
        let Found::Update(update) = found else { return Ok(()) };
        let changes = Changes::of(before, patch);
        if changes.is_nothing() {
            return Ok(());
        }
        let row = Found::Row(update.row(*seq, &changes, overrides)?);
        self.bytes = self.bytes - found.bytes() + row.bytes();
        *found = row;
        while self.bytes > 2 * PAGE_BYTES_MAX && self.found.len() > place + 1 {
            self.bytes -= self.found.pop().map_or(0, |(_, found)| found.bytes());
            self.go_on_behind = self.found.last().map(|(seq, _)| *seq);
        }
        Ok(())
    }
}

impl Found {
    fn bytes(&self) -> usize {
        match self {
            Found::Row(row) => row.text.get().len(),
            Found::Update(update) => update.patch.len(),
        }
    }
}

fn event_row(
    seq: Seq,
    record: &Record<'_>,
    event: &Event<'_>,
    overrides: &OfKind,
) -> Result<Written, Error> {
    let shown = schema::shown(event.attributes, overrides, &Zone::UTC);
    let event = Event { attributes: &shown.text, ..*event };
    let view = EventView::new(seq, record, &event);
    let row = Row { seq, at: Shown(event.date), event: Some(view), change: None };
    written(&row, shown.not_converted)
}

fn written(row: &Row<'_>, not_converted: u64) -> Result<Written, Error> {
    let text = to_raw_value(row).map_err(|error| Error::damaged_record(row.seq, &error))?;
    Ok(Written { text, not_converted })
}

fn parse(seq: Seq, patch: &str) -> Result<Object, Error> {
    json::parse_object(patch, DEPTH_MAX).map_err(|error| Error::damaged_record(seq, &error))
}

impl Update {
    fn row(&self, seq: Seq, changes: &Changes, overrides: &OfKind) -> Result<Written, Error> {
        let not_converted = Cell::new(0);
        let shown = |name: &str, value: &Value| {
            let (value, as_sent) = shown(name, value, overrides)?;
            not_converted.set(not_converted.get() + as_sent);
            Ok(value)
        };
        let set = changes.set.iter().map(|(name, (from, to))| {
            let from = from.as_ref().map(|from| shown(name, from)).transpose()?;
            Ok((name.clone(), Set { from, to: shown(name, to)? }))
        });
        let removed =
            changes.removed.iter().map(|(name, value)| Ok((name.clone(), shown(name, value)?)));
        let change = || -> Result<ChangeView, serde_json::Error> {
            Ok(ChangeView {
                via: self.via.name(),
                set: set.collect::<Result<_, _>>()?,
                removed: removed.collect::<Result<_, _>>()?,
            })
        };
        let change = change().map_err(|error| Error::damaged_record(seq, &error))?;
        let row = Row { seq, at: Shown(self.at), event: None, change: Some(change) };
        written(&row, not_converted.get())
    }
}

/// A value of a user's attribute, and what lies within it, as of the types that were set; and how many of them
/// didn't convert.
fn shown(
    name: &str,
    value: &Value,
    overrides: &OfKind,
) -> Result<(Box<RawValue>, u64), serde_json::Error> {
    let raw = to_raw_value(value)?;
    if overrides.is_empty() || value.is_null() {
        return Ok((raw, 0));
    }
    // Types are set by the whole name, which may as well be that of one attribute.
    let alone = format!("{{{}:{}}}", Value::from(name), raw.get());
    let shown = schema::shown(&alone, overrides, &Zone::UTC);
    let value = match schema::members(&shown.text).next() {
        Some((_, value)) => RawValue::from_string(value.to_owned())?,
        None => raw,
    };
    Ok((value, shown.not_converted))
}

/// What differs behind an update, by name: old value (if known) and new one; old values that are gone.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    set: BTreeMap<String, (Option<Value>, Value)>,
    removed: BTreeMap<String, Value>,
}

impl Changes {
    /// What a merge patch (RFC 7396) changes of what was there `before`. If that isn't known, whatever the
    /// patch names.
    fn of(before: Option<&Object>, patch: &Object) -> Changes {
        let mut changes = Changes::default();
        changes.add("", before, patch);
        changes
    }

    fn is_nothing(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    fn add(&mut self, within: &str, before: Option<&Object>, patch: &Object) {
        // Of several that have the same whole name the first is told which that name means (see `schema::find`):
        // of those that are set, and of those that are gone.
        let mut members: Vec<_> = patch.iter().collect();
        members.sort_by_key(|(name, value)| (value.is_object(), Reverse(name.len())));
        for (name, value) in members {
            let old = before.map(|before| before.get(name));
            let name = format!("{within}{name}");
            match (old, value) {
                (Some(None), Value::Null) => {}
                (old, Value::Null) => {
                    let old = || old.flatten().cloned().unwrap_or_default();
                    self.removed.entry(name).or_insert_with(old);
                }
                (Some(Some(Value::Object(old))), Value::Object(patch)) => {
                    self.add(&format!("{name}."), Some(old), patch);
                }
                (None, Value::Object(patch)) if !patch.is_empty() => {
                    self.add(&format!("{name}."), None, patch);
                }
                (old, value) => {
                    let from = old.map(|old| old.cloned().unwrap_or_default());
                    let mut to = Value::Null;
                    merge::merge_value(&mut to, value.clone());
                    if from.as_ref() != Some(&to) {
                        self.set.entry(name).or_insert((from, to));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DataType;
    use crate::query::trial::{ACCOUNT, Trial, event, set, update};
    use proptest::prelude::*;

    fn ask(trial: &Trial, question: &Question) -> (Vec<Value>, Option<Seq>) {
        let answer = question.answer(&trial.store, &Stop::never()).unwrap();
        let rows = answer.timeline.iter().map(|row| serde_json::from_str(row.get()).unwrap());
        (rows.collect(), answer.next_cursor.map(|cursor| cursor.parse().unwrap()))
    }

    fn of(user_id: &str, limit: usize) -> Question {
        let (account, user_id) = (ACCOUNT, user_id.to_owned());
        Question { account, user_id, from: None, to: None, before: None, limit }
    }

    /// How two states of a user differ, whatever made them so.
    fn differ(
        within: &str,
        before: &Object,
        after: &Object,
        set: &mut Object,
        removed: &mut Object,
    ) {
        for (name, old) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            removed.insert(format!("{within}{name}"), old.clone());
        }
        for (name, new) in after {
            let path = format!("{within}{name}");
            match (before.get(name), new) {
                (Some(old), new) if old == new => {}
                (Some(Value::Object(old)), Value::Object(new)) => {
                    differ(&format!("{path}."), old, new, set, removed);
                }
                (old, new) => {
                    set.insert(path, serde_json::json!({ "from": old, "to": new }));
                }
            }
        }
    }

    fn any_patch() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![Just("null"), Just("1"), Just("1.0"), Just("[null]"), Just("\"x\"")];
        let value = leaf.prop_map(str::to_owned).prop_recursive(3, 8, 3, |inner| {
            proptest::collection::vec(("[a-c]", inner), 0..3).prop_map(|members| {
                let written = members.iter().map(|(k, v)| format!("\"{k}\":{v}"));
                format!("{{{}}}", written.collect::<Vec<_>>().join(","))
            })
        });
        proptest::collection::vec(("[a-c]", value), 0..3).prop_map(|members| {
            let written = members.iter().map(|(k, v)| format!("\"{k}\":{v}"));
            format!("{{{}}}", written.collect::<Vec<_>>().join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pages_are_the_whole(
            records in proptest::collection::vec(
                (0_usize..2, 0_i64..20, proptest::option::of(any_patch())), 1..40),
            sealed in 1_usize..40,
            limit in 1_usize..8,
            times in (proptest::option::of(0_i64..10), proptest::option::of(10_i64..20)),
        ) {
            let ids = ["u", "v"];
            let trial = Trial::new();
            let mut wanted = Vec::new();
            let mut user = Object::new();
            let is_in = |at: i64| times.0.is_none_or(|from| from <= at) && times.1.is_none_or(|to| at < to);
            for (number, (who, at, patch)) in records.iter().enumerate() {
                let id = ids[*who];
                let seq = trial.put(vec![match patch {
                    Some(patch) => update(id, patch, *at),
                    None => event("e", Some(id), *at, "{\"n\":1E5}", None),
                }]);
                if number + 1 == sealed {
                    trial.seal();
                }
                if *who != 0 {
                    continue;
                }
                let shown = Shown(Date::from_millis(*at));
                let Some(patch) = patch else {
                    if is_in(*at) {
                        wanted.push(serde_json::json!({ "seq": seq, "at": shown, "event": {
                            "seq": seq, "type": "e", "user_id": "u", "date": shown, "received_at": shown,
                            "attributes": serde_json::from_str::<Value>("{\"n\":1E5}").unwrap(),
                        }}));
                    }
                    continue;
                };
                let mut after = user.clone();
                merge::merge(&mut after, json::parse_object(patch, DEPTH_MAX).unwrap());
                let (mut set, mut removed) = (Object::new(), Object::new());
                differ("", &user, &after, &mut set, &mut removed);
                user = after;
                if is_in(*at) && !(set.is_empty() && removed.is_empty()) {
                    let change = serde_json::json!({ "via": "secret", "set": set, "removed": removed });
                    wanted.push(serde_json::json!({ "seq": seq, "at": shown, "change": change }));
                }
            }
            wanted.reverse();

            let mut shown = Vec::new();
            let (from, to) = (times.0.map(Date::from_millis), times.1.map(Date::from_millis));
            let mut question = Question { from, to, ..of("u", limit) };
            for _ in 0..=records.len() {
                let (rows, next) = ask(&trial, &question);
                prop_assert!(rows.len() <= limit);
                shown.extend(rows);
                question.before = next;
                if next.is_none() {
                    break;
                }
            }
            prop_assert_eq!(question.before, None);
            prop_assert_eq!(shown, wanted);
        }
    }

    #[test]
    fn what_was_sent_goes_out_as_it_was() {
        let trial = Trial::new();
        trial.put(vec![update("u", r#"{"plan":"free","big":1E400,"on":{"a":1.0}}"#, 0)]);
        trial.put(vec![update("u", r#"{"plan":"pro","big":null,"on":{"a":1,"b":[1E5]}}"#, 5)]);
        trial.put(vec![update("u", r#"{"plan":"pro"}"#, 6)]);
        let answer = of("u", 1).answer(&trial.store, &Stop::never()).unwrap();
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"timeline":[],"next_cursor":"4"}"#,
            "the newest update changes nothing"
        );
        let question = Question { before: Some(4), ..of("u", 1) };
        let answer = question.answer(&trial.store, &Stop::never()).unwrap();
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"timeline":[{"seq":3,"at":"1970-01-01T00:00:00.005Z","change":{"via":"secret","set":{"#
                .to_owned()
                + r#""on.a":{"from":1.0,"to":1},"on.b":{"from":null,"to":[1E5]},"plan":{"from":"free","to":"pro"}},"#
                + r#""removed":{"big":1E400}}}],"next_cursor":"3"}"#
        );
        assert_eq!(ask(&trial, &of("nobody", 9)), (Vec::new(), None));
        for before in [0, 1] {
            let question = Question { before: Some(before), ..of("u", 9) };
            assert_eq!(ask(&trial, &question), (Vec::new(), None));
        }
        assert!(matches!(
            of("u", 9).answer(&trial.store, &Stop::new(u64::MAX, &|| true)),
            Err(Failure::Stopping)
        ));
    }

    #[test]
    fn as_the_types_that_were_set() {
        let trial = Trial::new();
        trial.put(vec![
            update("u", r#"{"seen":0,"on":{"a":"1"},"a.b":"7","n":"x"}"#, 0),
            event("e", Some("u"), 0, r#"{"n":"1.50","seen":0}"#, None),
            event("f", Some("u"), 0, r#"{"n":"1.50"}"#, None),
            update("u", r#"{"seen":1,"on":{"a":"yes"},"a.b":null,"n":"y"}"#, 0),
            set("user", "seen", DataType::Date),
            set("user", "on.a", DataType::Boolean),
            set("user", "a.b", DataType::Number),
            set("user", "n", DataType::Number),
            set("event:e", "n", DataType::Number),
        ]);
        let (rows, _) = ask(&trial, &of("u", 9));
        let json = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        assert_eq!(
            rows[0]["change"],
            json(
                r#"{"via":"secret","set":{"seen":{"from":"1970-01-01T00:00:00.000Z","to":"1970-01-01T00:00:01.000Z"},
                "on.a":{"from":true,"to":true},"n":{"from":"x","to":"y"}},"removed":{"a.b":7}}"#
            )
        );
        assert_eq!(rows[1]["event"]["attributes"], json(r#"{"n":"1.50"}"#));
        assert_eq!(rows[2]["event"]["attributes"], json(r#"{"n":1.50,"seen":0}"#));
        assert_eq!(rows[3]["change"]["set"]["on"]["to"], json(r#"{"a":true}"#));
    }

    /// Old values can be many times what set them.
    #[test]
    fn a_page_stays_small() {
        let trial = Trial::new();
        let long = "x".repeat(60_000);
        for _ in 0..200 {
            trial.put(vec![
                update("u", &format!("{{\"a\":\"{long}\"}}"), 0),
                update("u", "{\"a\":null}", 0),
            ]);
        }
        let mut question = of("u", 1_000);
        let mut seqs = Vec::new();
        loop {
            let answer = question.answer(&trial.store, &Stop::never()).unwrap();
            let bytes: usize = answer.timeline.iter().map(|row| row.get().len()).sum();
            assert!(bytes <= 2 * PAGE_BYTES_MAX, "{bytes}");
            assert!(!answer.timeline.is_empty());
            let (rows, next) = ask(&trial, &question);
            seqs.extend(rows.iter().map(|row| row["seq"].as_u64().unwrap()));
            question.before = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seqs, (2..402).rev().collect::<Vec<_>>());
    }

    /// Whatever their order is.
    #[test]
    fn of_two_of_one_name_that_one_is_told_which_it_means() {
        for (before, patch, set, removed) in [
            (r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":3},"a.b":4}"#, &["a.b=4"][..], &[][..]),
            (r#"{"a.b":2,"a":{"b":1}}"#, r#"{"a.b":4,"a":{"b":3}}"#, &["a.b=4"], &[]),
            (r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":3},"a.b":null}"#, &["a.b=3"], &["a.b"]),
            (r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":null},"a.b":3}"#, &["a.b=3"], &["a.b"]),
            (r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":null},"a.b":null}"#, &[], &["a.b"]),
            (r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":3},"a.b":2}"#, &["a.b=3"], &[]),
            (
                r#"{"a":{"b.c":1,"d":1},"a.b":{"c":2}}"#,
                r#"{"a":{"b.c":3,"d":2},"a.b":{"c":4}}"#,
                &["a.b.c=4", "a.d=2"],
                &[],
            ),
        ] {
            let changes = Changes::of(Some(&parse(1, before).unwrap()), &parse(1, patch).unwrap());
            let told: Vec<_> =
                changes.set.iter().map(|(name, (_, to))| format!("{name}={to}")).collect();
            assert_eq!(told, set, "{before} {patch}");
            assert_eq!(changes.removed.keys().collect::<Vec<_>>(), removed, "{before} {patch}");
        }
    }

    #[test]
    fn names_of_a_patch_alone() {
        let patch = parse(1, r#"{"a":null,"b":{"c":{"d":2},"e":null},"f":{},"g":[1]}"#).unwrap();
        let changes = Changes::of(None, &patch);
        let set: Vec<_> = changes
            .set
            .iter()
            .map(|(name, (from, to))| {
                assert_eq!(*from, None);
                format!("{name}={to}")
            })
            .collect();
        assert_eq!(set, ["b.c.d=2", "f={}", "g=[1]"]);
        assert_eq!(changes.removed.keys().collect::<Vec<_>>(), ["a", "b.e"]);
        assert!(changes.removed.values().all(Value::is_null));
    }

    /// Few updates may have many bytes: old values are told while all that is merged for them is little enough.
    #[test]
    fn what_is_merged_for_old_values_has_a_bound_in_bytes() {
        const BYTES: usize = 60_000;
        let trial = Trial::new();
        let large = format!("{{\"x\":\"{}\"}}", "y".repeat(BYTES));
        let plan = |plan: &str| {
            trial.put(vec![update("u", &format!("{{\"plan\":\"{plan}\"}}"), 0)]);
            ask(&trial, &of("u", 1)).0[0]["change"]["set"]["plan"].clone()
        };
        plan("free");
        trial.put(vec![update("u", &large, 0)]);
        assert_eq!(plan("pro"), serde_json::json!({ "from": "free", "to": "pro" }));
        for _ in 0..=REPLAY_BYTES_MAX / BYTES / 10 {
            trial.put((0..10).map(|_| update("u", &large, 0)).collect());
        }
        assert_eq!(plan("free"), serde_json::json!({ "to": "free" }));
    }
}
