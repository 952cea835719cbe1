//! Export: everything, streamed, one JSON object a line.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use super::{Context, Export, Exported, Failure, accounts};
use crate::model::record::Event;
use crate::model::{AccountId, Change, Seq};
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
        let mut written = Ok(());
        context.store.scan(1..=Seq::MAX, Order::Ascending, &mut |seq, record| {
            let Change::Event(event) = record.change else { return Ok(ControlFlow::Continue(())) };
            if event.account != account || !self.wants(&event) {
                return Ok(ControlFlow::Continue(()));
            }
            let view = EventView::new(seq, record, &event).ok_or_else(|| Error::Damaged {
                place: format!("record {seq} of the log"),
                why: "its attributes aren't JSON".to_owned(),
            })?;
            written = line(&view.with_via(&event), out);
            Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        written
    }

    fn wants(&self, event: &Event<'_>) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == event.kind)
            && self.user_id.as_deref().is_none_or(|id| Some(id) == event.user_id)
            && self.from.is_none_or(|from| from <= event.date.millis())
            && self.to.is_none_or(|to| event.date.millis() < to)
    }

    fn users(
        &self,
        context: &Context<'_>,
        account: AccountId,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        if let Some(id) = &self.user_id {
            return match context.store.user(account, id)? {
                Some(user) => line(&UserView::new(id, &user), out),
                None => Ok(()),
            };
        }
        for entry in context.store.users(account, None) {
            let (id, user) = entry?;
            line(&UserView::new(&id, &user), out)?;
        }
        Ok(())
    }
}

fn line(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}
