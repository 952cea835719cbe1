//! Export: everything of an account, streamed, in a format that others read.
//!
//! One walk through the log or the users for all formats, one file a format: each is a `Sink`
//! that is told records and writes them. Bounded memory whatever there is: nothing is kept of a
//! record that was written. Must not know where the output goes, nor who asks.

mod csv;
mod jsonl;
mod parquet;

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::model::overrides::NONE;
use crate::model::record::Event;
use crate::model::{Change, Overrides, Record, Seq, User, json};
use crate::query::{self, Filter};
use crate::schema::{self, OfKind, Zone};
use crate::store::{self, Missing, Order, Selection, Store};
use crate::view::converted;

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// A table for spreadsheets.
    Csv,
    /// A table for programs, typed and compressed.
    Parquet,
}

impl Format {
    /// What [`Format::parse`] takes, for a sentence.
    pub const NAMES: &'static str = "jsonl, csv or parquet";

    /// The format of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Format> {
        [Format::Jsonl, Format::Csv, Format::Parquet]
            .into_iter()
            .find(|format| format.name() == name)
    }

    /// Its name, which is also what a file of it ends in.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jsonl => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }

    fn sink<'o>(
        self,
        store: &Store,
        wanted: &Wanted,
        out: &'o mut dyn Write,
    ) -> Result<Box<dyn Sink + 'o>, Error> {
        let Wanted { what, zone, .. } = *wanted;
        Ok(match self {
            Format::Jsonl => Box::new(jsonl::Jsonl::new(zone, out)),
            Format::Csv => Box::new(csv::Csv::new(what, zone, out)?),
            Format::Parquet => {
                let (accounts, account) = (store.accounts(), wanted.filter.account);
                let name = accounts.get(account).map_or("", |account| account.name.as_str());
                Box::new(parquet::Parquet::new(what, account, name, out)?)
            }
        })
    }
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exported {
    /// Every event, oldest first.
    Events,
    /// Every user, by id.
    Users,
}

impl Exported {
    /// What [`Exported::parse`] takes, for a sentence.
    pub const NAMES: &'static str = "events or users";

    /// What has this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Exported> {
        [Exported::Events, Exported::Users].into_iter().find(|what| what.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Exported::Events => "events",
            Exported::Users => "users",
        }
    }
}

/// What an export is to hold, and how it shows that.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Events, oldest first, or users, by id.
    pub what: Exported,
    /// Which of them pass. Of users only whose, the id and the clauses count.
    pub filter: Filter,
    /// The zone that dates are shown in. In Parquet they are instants, which have none.
    pub zone: Zone,
    /// Attributes as they were sent, whatever types are set for them.
    pub raw: bool,
}

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was to be written could not be.
    #[error("can't write the output: {0}")]
    Output(#[from] io::Error),
    /// It was told to stop.
    #[error("the export was stopped before its end; ask again")]
    Stopped,
    /// Everything was written but what is damaged.
    #[error("the export is not whole: {0}")]
    Missing(Missing),
}

/// What a format is told. It writes to the output as it goes.
trait Sink {
    /// An event comes.
    fn event(&mut self, seq: Seq, record: &Record<'_>, event: &Event<'_>) -> Result<(), Error>;

    /// A user comes.
    fn user(&mut self, id: &str, user: &User) -> Result<(), Error>;

    /// That was all; what was held back is written now. Without this call what was written is no
    /// whole export.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Writes to `out` what is wanted, as of now: what comes while it runs is not in it. Before each
/// record it asks whether to `stop`.
///
/// Where no type is set for an attribute, or with [`Wanted::raw`], what is written as JSON lines or Parquet
/// can be imported to the same again. Says how many values didn't convert to the type that is set, and were
/// written as they were sent.
///
/// # Errors
/// [`Error`]; what was written is cut short then, but with [`Error::Missing`]: all that can still be read
/// was written.
pub fn write(
    store: &Store,
    wanted: &Wanted,
    format: Format,
    stop: &dyn Fn() -> bool,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let mut sink = format.sink(store, wanted, out)?;
    let overrides = store.overrides(wanted.filter.account);
    let (not_converted, missing) = match wanted.what {
        Exported::Events => events(store, wanted, &overrides, stop, sink.as_mut())?,
        Exported::Users => {
            let of_users = overrides.of_users();
            (users(store, wanted, of_users, stop, sink.as_mut())?, Missing::default())
        }
    };
    sink.finish()?;
    if missing.is_nothing() { Ok(not_converted) } else { Err(Error::Missing(missing)) }
}

fn events(
    store: &Store,
    wanted: &Wanted,
    overrides: &Overrides,
    stop: &dyn Fn() -> bool,
    sink: &mut dyn Sink,
) -> Result<(u64, Missing), Error> {
    let Wanted { filter, zone, raw, .. } = wanted;
    let (mut written, mut not_converted) = (Ok(()), 0);
    let selection = Selection::matching(&filter.plain());
    let missing = store.select(&selection, Order::Ascending, &mut |seq, record| {
        if stop() {
            written = Err(Error::Stopped);
        } else if let Change::Event(event) = &record.change
            && filter.wants(event, overrides)
        {
            let set = if *raw { &NONE } else { overrides.of_events(event.kind) };
            let shown = schema::shown(event.attributes, set, zone);
            let event = Event { attributes: &shown.text, ..*event };
            written = sink.event(seq, record, &event);
            not_converted += shown.not_converted;
        }
        Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    written.map(|()| (not_converted, missing))
}

fn users(
    store: &Store,
    wanted: &Wanted,
    set: &OfKind,
    stop: &dyn Fn() -> bool,
    sink: &mut dyn Sink,
) -> Result<u64, Error> {
    let Wanted { filter, zone, raw, .. } = wanted;
    let mut not_converted = 0;
    let mut write = |id: &str, user: User| -> Result<(), Error> {
        if stop() {
            return Err(Error::Stopped);
        }
        if !filter.clauses.is_empty() {
            let text = json::to_text(&user.attributes);
            if !query::users::hold(&filter.clauses, id, &text, set) {
                return Ok(());
            }
        }
        let set = if *raw { &NONE } else { set };
        let (user, as_sent) =
            converted(user, set, zone).map_err(|error| store::Error::damaged_user(id, &error))?;
        not_converted += as_sent;
        sink.user(id, &user)
    };
    if let Some(id) = &filter.user_id {
        if let Some(user) = store.user(filter.account, id)? {
            write(id, user)?;
        }
        return Ok(not_converted);
    }
    for entry in store.users(filter.account, None) {
        let (id, user) = entry?;
        write(&id, user)?;
    }
    Ok(not_converted)
}

/// What can't be written though the output takes it isn't what was stored.
fn unwritten(error: serde_json::Error, place: impl FnOnce() -> String) -> Error {
    if error.is_io() {
        Error::Output(error.into())
    } else {
        Error::Store(store::Error::Damaged { place: place(), why: error.to_string() })
    }
}

/// Where an event lies, for the person who has to mend it.
fn event_place(seq: Seq) -> String {
    format!("record {seq} of the log")
}

/// Where a user lies.
fn user_place(id: &str) -> String {
    format!("user {id:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
            assert_eq!(Format::parse(format.name()), Some(format));
            assert!(Format::NAMES.contains(format.name()));
        }
        for what in [Exported::Events, Exported::Users] {
            assert_eq!(Exported::parse(what.name()), Some(what));
            assert!(Exported::NAMES.contains(what.name()));
        }
        for nothing in ["", "JSONL", "xml", " csv"] {
            assert_eq!((Format::parse(nothing), Exported::parse(nothing)), (None, None));
        }
    }
}
