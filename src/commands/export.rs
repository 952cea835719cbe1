//! Export: everything, streamed, one JSON object a line.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use super::{Context, Export, Exported, Failure, accounts};
use crate::model::{AccountId, Change, Date, EventFilter, Seq};
use crate::store::{Error, Order};
use crate::view::{EventView, UserView};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

impl Export {
    pub(super) fn write(&self, context: &Context<'_>, out: &mut dyn Write) -> Result<(), Failure> {
        let account = accounts::named(context, self.account.as_deref())?.id;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        match self.what {
            Exported::Events => self.events(context, account, &mut out)?,
            Exported::Users => self.users(context, account, &mut out)?,
        }
        out.flush()?;
        Ok(())
    }

    fn events(
        &self,
        context: &Context<'_>,
        account: AccountId,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let filter = EventFilter {
            account,
            kind: self.kind.clone(),
            user_id: self.user_id.clone(),
            from: self.from.map(Date::from_millis),
            to: self.to.map(Date::from_millis),
        };
        let mut written = Ok(());
        context.store.scan(1..=Seq::MAX, Order::Ascending, &mut |seq, record| {
            let Change::Event(event) = record.change else { return Ok(ControlFlow::Continue(())) };
            if !filter.wants(&event) {
                return Ok(ControlFlow::Continue(()));
            }
            let view = EventView::new(seq, record, &event).with_via(&event);
            written = line(&view, || format!("record {seq} of the log"), out);
            Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        written
    }

    fn users(
        &self,
        context: &Context<'_>,
        account: AccountId,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        if let Some(id) = &self.user_id {
            return match context.store.user(account, id)? {
                Some(user) => line(&UserView::new(id, &user), || format!("user {id:?}"), out),
                None => Ok(()),
            };
        }
        for entry in context.store.users(account, None) {
            let (id, user) = entry?;
            line(&UserView::new(&id, &user), || format!("user {id:?}"), out)?;
        }
        Ok(())
    }
}

/// Writes one line. What can't be written though the output takes it isn't what was stored.
fn line(
    value: &impl Serialize,
    place: impl Fn() -> String,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(|error| {
        if error.is_io() {
            Failure::Output(error.into())
        } else {
            Failure::Store(Error::Damaged { place: place(), why: error.to_string() })
        }
    })?;
    out.write_all(b"\n")?;
    Ok(())
}
