//! Deleting: a user, or events, counted or erased.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{Context, Delete, Deleted, Failure, accounts};
use crate::clock;
use crate::erasing::Target;
use crate::model::{AccountId, Date, EventFilter, Id};
use crate::view::is_zero;

/// How much was erased, or would be. Travels as a line of JSON, so that whoever asked can ask a
/// person back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Users, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub users: Option<u64>,
    /// Events.
    pub events: u64,
    /// Records that could not be looked at, since they are damaged: some may belong to it.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub missing: u64,
}

impl Counted {
    /// Whether there was nothing to erase.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.users.unwrap_or_default() == 0 && self.events == 0 && self.missing == 0
    }

    /// Writes it as `key=value` lines, or as one JSON object.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn write(&self, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
        if json {
            serde_json::to_writer(&mut *out, self).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        if let Some(users) = self.users {
            writeln!(out, "users={users}")?;
        }
        writeln!(out, "events={}", self.events)?;
        if self.missing > 0 {
            writeln!(out, "missing={}", self.missing)?;
        }
        Ok(())
    }
}

impl Delete {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Counted, Failure> {
        let account = accounts::named(context, self.account.as_deref())?.id;
        let target = self.what.target(account)?;
        if !self.dry_run {
            // They may quote what is to be gone, if it was never taken too.
            let forgot = context.refused.forget(account);
            forgot.map_err(|error| {
                Failure::Refused(format!("can't take away what was refused: {error}"))
            })?;
        }
        // Nobody ends the count.
        let count = target.count(context.store, &|| true)?.unwrap_or_default();
        if !self.dry_run && !count.is_nothing() {
            context.writer.submit_and_wait(vec![target.draft(clock::now())])?;
        }
        let users = matches!(self.what, Deleted::User(_)).then_some(count.users);
        Ok(Counted { users, events: count.events, missing: count.missing })
    }
}

impl Deleted {
    fn target(&self, account: AccountId) -> Result<Target, Failure> {
        match self {
            Deleted::User(id) => {
                let id = Id::new(id).map_err(|error| Failure::Refused(error.to_string()))?;
                Ok(Target::User { account, id })
            }
            Deleted::Events { from, to, kind, user_id } => {
                let filter = EventFilter {
                    account,
                    kind: kind.clone(),
                    user_id: user_id.clone(),
                    from: from.map(Date::from_millis),
                    to: to.map(Date::from_millis),
                };
                if filter.is_of_all() {
                    return Err(Failure::Refused("say which events".to_owned()));
                }
                Ok(Target::Events(filter))
            }
        }
    }
}
