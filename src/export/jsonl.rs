//! JSON lines: one object a line, everything exactly as it was sent, unless a type is set for it. What
//! imports read again.

use std::io::Write;

use serde::Serialize;

use super::{Error, Sink, event_place, unwritten, user_place};
use crate::model::record::Event;
use crate::model::{Record, Seq, User};
use crate::schema::Zone;
use crate::view::{EventView, UserView};

pub(super) struct Jsonl<'o> {
    zone: Zone,
    out: &'o mut dyn Write,
}

impl<'o> Jsonl<'o> {
    pub fn new(zone: Zone, out: &'o mut dyn Write) -> Jsonl<'o> {
        Jsonl { zone, out }
    }

    fn line(
        &mut self,
        value: &impl Serialize,
        place: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        serde_json::to_writer(&mut *self.out, value).map_err(|error| unwritten(error, place))?;
        self.out.write_all(b"\n")?;
        Ok(())
    }
}

impl Sink for Jsonl<'_> {
    fn event(&mut self, seq: Seq, record: &Record<'_>, event: &Event<'_>) -> Result<(), Error> {
        let view = EventView::new(seq, record, event).with_via(event).with_zone(self.zone);
        self.line(&view, || event_place(seq))
    }

    fn user(&mut self, id: &str, user: &User) -> Result<(), Error> {
        self.line(&UserView::new(id, user).with_zone(self.zone), || user_place(id))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}
