//! Retention: how long an account's events are kept, shown and set.

use std::io::{self, Write};

use serde::Serialize;

use super::{Context, Failure, accounts};
use crate::clock;
use crate::model::Account;
use crate::retention::{DAYS_MAX, Going};
use crate::store::Draft;

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
    let account = accounts::named(context, Some(name))?.id;
    let going = match days {
        // Nobody ends the count.
        Some(days) => Going::count(context.store, account, days, clock::now(), &|| true)?,
        None => None,
    };
    let going = going.unwrap_or_default();
    if json {
        return write_json(&going, out);
    }
    writeln!(out, "events={}\nbytes={}", going.events, going.bytes)?;
    if going.missing > 0 {
        writeln!(out, "missing={}", going.missing)?;
    }
    Ok(())
}

fn write_one(shown: &Shown<'_>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json { write_json(shown, out) } else { shown.write(out) }
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
