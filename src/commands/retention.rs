//! Retention: how long an account's events are kept, shown and set.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use super::{Context, Failure, accounts};
use crate::clock;
use crate::model::erasure::Scope;
use crate::model::{Account, Change, Erasures, Seq};
use crate::retention::{DAYS_MAX, expired};
use crate::store::{Draft, Error, Order, Selection};
use crate::view::EventView;

/// An account's retention as a person sees it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// None: for ever.
    retention_days: Option<u32>,
}

impl<'a> Shown<'a> {
    fn of(account: &'a Account) -> Shown<'a> {
        Shown { name: account.name.as_str(), retention_days: account.retention_days }
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "name={}", self.name)?;
        match self.retention_days {
            Some(days) => writeln!(out, "retention_days={days}")?,
            None => writeln!(out, "retention_days=off")?,
        }
        Ok(())
    }
}

pub(super) fn show(
    context: &Context<'_>,
    name: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if name.is_some() {
        let account = accounts::named(context, name)?;
        return write_one(&Shown::of(&account), json, out);
    }
    let accounts = context.store.accounts().list();
    let shown: Vec<_> = accounts.iter().map(|account| Shown::of(account)).collect();
    if json {
        return write_json(&shown, out);
    }
    for (number, account) in shown.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        account.write(out)?;
    }
    Ok(())
}

pub(super) fn set(
    context: &Context<'_>,
    name: &str,
    days: Option<u32>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let account = accounts::named(context, Some(name))?;
    if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        return Err(Failure::Refused(format!(
            "events are kept for 1 to {DAYS_MAX} days, or for ever"
        )));
    }
    if account.retention_days != days {
        let draft = Draft::retention(account.id, days, clock::now());
        context.writer.submit_and_wait(vec![draft])?;
    }
    write_one(&Shown { name: account.name.as_str(), retention_days: days }, json, out)
}

/// How much a retention of so many days would take now.
pub(super) fn try_out(
    context: &Context<'_>,
    name: &str,
    days: Option<u32>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    #[derive(Default, Serialize)]
    struct Going {
        events: u64,
        bytes: u64,
        #[serde(skip_serializing_if = "crate::view::is_zero")]
        missing: u64,
    }
    let account = accounts::named(context, Some(name))?;
    let mut going = Going::default();
    if let Some(days) = days {
        let scope = expired(days, clock::now());
        let erasure = Erasures::of(account.id, scope);
        let mut events = Selection::of(1..=Seq::MAX).events_of(account.id);
        if let Scope::Expired { before } = scope {
            events.to = Some(before);
        }
        let missing = context.store.select(&events, Order::Ascending, &mut |seq, record| {
            if let Change::Event(event) = &record.change
                && erasure.take(seq, record)
            {
                going.events += 1;
                let view = EventView::new(seq, record, event).with_via(event);
                going.bytes +=
                    line_bytes(&view).map_err(|error| Error::damaged_record(seq, &error))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        going.missing = missing.records;
    }
    if json {
        return write_json(&going, out);
    }
    writeln!(out, "events={}\nbytes={}", going.events, going.bytes)?;
    if going.missing > 0 {
        writeln!(out, "missing={}", going.missing)?;
    }
    Ok(())
}

/// Bytes of a line of JSON, its end included.
fn line_bytes(value: &impl Serialize) -> Result<u64, serde_json::Error> {
    struct Counter(u64);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(1);
    serde_json::to_writer(&mut counter, value)?;
    Ok(counter.0)
}

fn write_one(shown: &Shown<'_>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json { write_json(shown, out) } else { shown.write(out) }
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
