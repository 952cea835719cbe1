//! The rows of a Parquet file as lines.
//!
//! A row becomes the line that an export in JSON lines has of the same event or user, to the byte: so
//! one is known as the other, and whatever is wrong with a row is found where it is found of lines. A
//! table that lacks what only exports have (`seq`, `received_at`, `created_at` …) gives objects as a
//! call would send them.
//!
//! A thread decodes ahead, some hundred kilobytes at a time.

use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::source::{Line, Source, Unit};
use crate::commands::Exported;
use crate::model::json;
use crate::model::limits::DEPTH_MAX;
use crate::store::segment::{EventRow, Moment, SegmentError, Table, UserRow};
use crate::view::{EMAIL, Shown, WithoutEmail};

/// Bytes and lines of what is handed over at once.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_LINES: usize = 1_024;

/// Batches that may wait.
const AHEAD_MAX: usize = 2;

/// What an empty column `attributes` means.
const NOTHING: &str = "{}";

/// Rows of a table.
pub(super) struct Rows {
    what: Exported,
    table: Arc<Table>,
    /// Rows that were given as lines.
    row: u64,
    batch: Batch,
    /// Lines of the batch that were given.
    given: usize,
    reading: Option<Reading>,
}

/// Some lines, end to end.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    ends: Vec<usize>,
}

enum Read {
    Batch(Batch),
    End,
    Failed(SegmentError),
}

/// The thread that decodes.
struct Reading {
    /// None once nothing more is wanted.
    read: Option<Receiver<Read>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    fn begin(what: Exported, table: Arc<Table>, behind: u64) -> io::Result<Reading> {
        let (tell, read) = bounded(AHEAD_MAX);
        let decode = move || decode(what, &table, behind, &tell);
        let thread = thread::Builder::new().name("rows".into()).spawn(decode)?;
        Ok(Reading { read: Some(read), thread: Some(thread) })
    }

    fn next(&self) -> io::Result<Option<Batch>> {
        match self.read.as_ref().map(Receiver::recv) {
            Some(Ok(Read::Batch(batch))) => Ok(Some(batch)),
            Some(Ok(Read::End)) => Ok(None),
            Some(Ok(Read::Failed(error))) => Err(io::Error::other(error)),
            // It says so when it has come to the end.
            None | Some(Err(_)) => Err(io::Error::other("a thread panicked")),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // Without a receiver it ends at its next batch.
        self.read = None;
        if let Some(thread) = self.thread.take() {
            // Whoever waited for what it read was told if it panicked.
            let _ = thread.join();
        }
    }
}

impl Rows {
    /// Those of a table of events or users.
    pub fn new(what: Exported, table: Table) -> Rows {
        let (table, batch) = (Arc::new(table), Batch::default());
        Rows { what, table, row: 0, batch, given: 0, reading: None }
    }

    /// Has lines to give, unless there are none.
    fn load(&mut self) -> io::Result<bool> {
        while self.given == self.batch.ends.len() {
            let reading = match &self.reading {
                Some(reading) => reading,
                None => {
                    let reading = Reading::begin(self.what, Arc::clone(&self.table), self.row)?;
                    self.reading.insert(reading)
                }
            };
            let Some(batch) = reading.next()? else {
                // Asked again, it looks again, and finds nothing.
                self.reading = None;
                return Ok(false);
            };
            (self.batch, self.given) = (batch, 0);
        }
        Ok(true)
    }
}

impl Source for Rows {
    fn line(
        &mut self,
        bytes_max: usize,
        text: &mut Vec<u8>,
        overflow: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Line> {
        if !self.load()? {
            return Ok(Line::End);
        }
        let start = self.given.checked_sub(1).map_or(0, |before| self.batch.ends[before]);
        let line = &self.batch.text[start..self.batch.ends[self.given]];
        self.given += 1;
        self.row += 1;
        if line.len() > bytes_max {
            overflow(line);
            return Ok(Line::TooLong);
        }
        text.extend_from_slice(line);
        Ok(Line::Whole)
    }

    fn place(&self) -> u64 {
        self.row
    }

    fn go_to(&mut self, place: u64) -> io::Result<()> {
        if place != self.row {
            (self.reading, self.batch, self.given) = (None, Batch::default(), 0);
            self.row = place;
        }
        Ok(())
    }

    fn end(&self) -> u64 {
        self.table.rows()
    }

    fn unit(&self) -> Unit {
        Unit::Rows
    }
}

/// Decodes until nobody wants more.
fn decode(what: Exported, table: &Table, behind: u64, tell: &Sender<Read>) {
    let mut batch = Batch::default();
    let mut put = |write: &dyn Fn(&mut Vec<u8>)| {
        let start = batch.text.len();
        write(&mut batch.text);
        // Outside of strings a line break is as good as a space, and inside there is none.
        let breaks = batch.text[start..].iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r'));
        breaks.for_each(|byte| *byte = b' ');
        batch.ends.push(batch.text.len());
        if batch.text.len() < BATCH_BYTES && batch.ends.len() < BATCH_LINES {
            return ControlFlow::Continue(());
        }
        match tell.send(Read::Batch(mem::take(&mut batch))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let decoded = match what {
        Exported::Events => {
            table.events_behind(behind, &mut |row| put(&|text| write_event(&row, text)))
        }
        Exported::Users => {
            table.users_behind(behind, &mut |row| put(&|text| write_user(&row, text)))
        }
    };
    let last = match decoded {
        Ok(()) => Read::End,
        Err(error) => Read::Failed(error),
    };
    // If nobody hears it, nobody waits for it.
    let _ = tell.send(Read::Batch(batch));
    let _ = tell.send(last);
}

/// As exports have it.
#[derive(Serialize)]
struct EventLine<'a, A> {
    seq: i64,
    r#type: Option<&'a str>,
    user_id: Option<&'a str>,
    date: Option<Written<'a>>,
    received_at: Written<'a>,
    attributes: A,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<A>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'a str>,
}

/// As exports have it.
#[derive(Serialize)]
struct UserLine<'a, E, A> {
    id: Option<&'a str>,
    email: E,
    attributes: A,
    created_at: Written<'a>,
    updated_at: Written<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Date(Shown),
    Text(&'a str),
}

impl<'a> From<Moment<'a>> for Written<'a> {
    fn from(moment: Moment<'a>) -> Written<'a> {
        match moment {
            Moment::Date(date) => Written::Date(Shown(date)),
            Moment::Text(text) => Written::Text(text),
        }
    }
}

/// Puts the line of an event behind `out`: an empty one, if the row says to be an update of a user,
/// as there are in segments.
fn write_event(row: &EventRow<'_>, out: &mut Vec<u8>) {
    if row.record == Some("user") {
        return;
    }
    let attributes = row.attributes.unwrap_or(NOTHING);
    if let (Some(seq), Some(received_at)) = (row.seq, row.received_at) {
        let Some(attributes) = object(attributes) else { return refuse(attributes, out) };
        let context = match row.context.map(|text| object(text).ok_or(text)).transpose() {
            Ok(context) => context,
            Err(text) => return refuse_as("context", text, out),
        };
        let line = EventLine {
            seq,
            r#type: row.kind,
            user_id: row.user_id,
            date: row.date.map(Written::from),
            received_at: received_at.into(),
            attributes,
            context,
            via: row.via,
        };
        return write(&line, out);
    }
    let Ok(mut object) = json::parse_object(attributes, DEPTH_MAX) else {
        return refuse(attributes, out);
    };
    let date = row.date.map(|date| match date {
        Moment::Date(date) => date.to_string(),
        Moment::Text(text) => text.to_owned(),
    });
    let text = |text: Option<&str>| text.map(str::to_owned);
    for (name, value) in [("type", text(row.kind)), ("user_id", text(row.user_id)), ("date", date)]
    {
        // The columns say what these are, whatever is among the attributes.
        object.insert(name.to_owned(), value.map_or(Value::Null, Value::String));
    }
    out.extend_from_slice(json::to_text(&object).as_bytes());
}

/// Puts the line of a user behind `out`.
fn write_user(row: &UserRow<'_>, out: &mut Vec<u8>) {
    let attributes = row.attributes.unwrap_or(NOTHING);
    let (created_at, updated_at) = (row.created_at, row.updated_at);
    let exported = created_at.zip(updated_at);
    // What is no text has stayed among the attributes.
    let mixed = row.email.is_none() && attributes.contains("email");
    if let Some((created_at, updated_at)) = exported.filter(|_| !mixed) {
        let Some(attributes) = object(attributes) else { return refuse(attributes, out) };
        let (created_at, updated_at) = (created_at.into(), updated_at.into());
        let line = UserLine { id: row.id, email: row.email, attributes, created_at, updated_at };
        return write(&line, out);
    }
    let Ok(mut object) = json::parse_object(attributes, DEPTH_MAX) else {
        return refuse(attributes, out);
    };
    if let Some((created_at, updated_at)) = exported {
        let (created_at, updated_at) = (created_at.into(), updated_at.into());
        let (email, attributes) = (object.get(EMAIL), WithoutEmail(&object));
        return write(&UserLine { id: row.id, email, attributes, created_at, updated_at }, out);
    }
    let text = |text: &str| Value::String(text.to_owned());
    object.insert("id".to_owned(), row.id.map_or(Value::Null, text));
    if let Some(email) = row.email {
        object.insert(EMAIL.to_owned(), text(email));
    }
    out.extend_from_slice(json::to_text(&object).as_bytes());
}

/// A text that is one JSON object.
fn object(text: &str) -> Option<&RawValue> {
    let json: &RawValue = serde_json::from_str(text).ok()?;
    json.get().starts_with('{').then_some(json)
}

fn write(line: &impl Serialize, out: &mut Vec<u8>) {
    // Texts, numbers and JSON can't fail to be written to memory.
    let _ = serde_json::to_writer(out, line);
}

/// Puts a line behind `out` that is no JSON, whatever the attributes are, and says of what.
fn refuse(attributes: &str, out: &mut Vec<u8>) {
    refuse_as("attributes", attributes, out);
}

fn refuse_as(column: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{column} should be a JSON object: {text}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Date;

    const EVENT: EventRow<'_> = EventRow {
        row: 1,
        seq: None,
        record: None,
        kind: Some("view"),
        user_id: None,
        date: None,
        received_at: None,
        attributes: None,
        context: None,
        via: None,
    };

    const USER: UserRow<'_> = UserRow {
        row: 1,
        id: Some("u"),
        email: None,
        attributes: None,
        created_at: None,
        updated_at: None,
    };

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_with_and_without_what_only_exports_have() {
        let date = |millis| Some(Moment::Date(Date::from_millis(millis)));
        let (seq, received_at) = (Some(7), date(1));
        for (row, line) in [
            (EVENT, r#"{"type":"view","user_id":null,"date":null}"#),
            (
                EventRow { attributes: Some(r#"{"type":"x","z":1.0}"#), date: date(0), ..EVENT },
                r#"{"type":"view","z":1.0,"user_id":null,"date":"1970-01-01T00:00:00.000Z"}"#,
            ),
            (EventRow { seq, kind: None, ..EVENT }, r#"{"type":null,"user_id":null,"date":null}"#),
            (
                EventRow { seq, received_at, attributes: Some(r#"{"z": 1E5}"#), ..EVENT },
                r#"{"seq":7,"type":"view","user_id":null,"date":null,"received_at":"1970-01-01T00:00:00.001Z","attributes":{"z": 1E5}}"#,
            ),
            (
                EventRow {
                    seq,
                    received_at: Some(Moment::Text("2001-07-04")),
                    date: Some(Moment::Text("\"")),
                    user_id: Some("u"),
                    via: Some("public"),
                    record: Some("event"),
                    ..EVENT
                },
                r#"{"seq":7,"type":"view","user_id":"u","date":"\"","received_at":"2001-07-04","attributes":{},"via":"public"}"#,
            ),
            (
                EventRow { seq, received_at, context: Some(r#"{"page":"p"}"#), ..EVENT },
                r#"{"seq":7,"type":"view","user_id":null,"date":null,"received_at":"1970-01-01T00:00:00.001Z","attributes":{},"context":{"page":"p"}}"#,
            ),
            (
                EventRow { seq, received_at, context: Some("[1]"), ..EVENT },
                "context should be a JSON object: [1]",
            ),
            (EventRow { record: Some("user"), ..EVENT }, ""),
            (
                EventRow { attributes: Some("{}{}"), ..EVENT },
                "attributes should be a JSON object: {}{}",
            ),
        ] {
            assert_eq!(text(|out| write_event(&row, out)), line, "{row:?}");
        }
    }

    #[test]
    fn users_with_and_without_what_only_exports_have() {
        let created_at = Some(Moment::Text("2001-07-04"));
        let updated_at = Some(Moment::Date(Date::from_millis(1)));
        let whole = UserRow { created_at, updated_at, ..USER };
        let end = r#""created_at":"2001-07-04","updated_at":"1970-01-01T00:00:00.001Z"}"#;
        for (row, line) in [
            (USER.clone(), r#"{"id":"u"}"#.to_owned()),
            (
                UserRow {
                    created_at,
                    email: Some("e"),
                    attributes: Some(r#"{"id":1,"a":2}"#),
                    ..USER
                },
                r#"{"id":"u","a":2,"email":"e"}"#.to_owned(),
            ),
            (whole.clone(), format!(r#"{{"id":"u","email":null,"attributes":{{}},{end}"#)),
            (
                UserRow { attributes: Some(r#"{"a":1.0,"email":[1E5]}"#), ..whole.clone() },
                format!(r#"{{"id":"u","email":[1E5],"attributes":{{"a":1.0}},{end}"#),
            ),
            (
                UserRow { attributes: Some(r#"{"about":{"email":1}}"#), ..whole.clone() },
                format!(r#"{{"id":"u","email":null,"attributes":{{"about":{{"email":1}}}},{end}"#),
            ),
            (
                UserRow { attributes: Some("7"), ..whole },
                "attributes should be a JSON object: 7".to_owned(),
            ),
        ] {
            assert_eq!(text(|out| write_user(&row, out)), line, "{row:?}");
        }
    }
}
