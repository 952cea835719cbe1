//! Events, newest first or oldest first.
//!
//! A page goes on behind the last position that was looked at, so that a walk meets each event once,
//! whatever arrives or is sealed meanwhile.

use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURSOR, Desk, Failure};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::model::record::Event;
use crate::model::{Change, Record, Seq};
use crate::query::{PAGE_BYTES_MAX, WALK_MAX};
use crate::schema::{self, Zone};
use crate::store::{Error, Order, Selection};
use crate::view::{EventView, is_zero};

#[derive(Default, Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    /// Values that didn't convert to the type that is set, and are shown as sent.
    #[serde(skip_serializing_if = "is_zero")]
    not_converted: u64,
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
}

impl Desk<'_> {
    pub(super) fn events(&self, params: &Params<'_>) -> Result<Response, Failure> {
        let limit = params.limit()?;
        let order = params.order()?.unwrap_or(Order::Descending);
        let filter = params.question(self.account, params.zone()?, true)?;
        let behind: Option<Seq> = params.read("cursor", CURSOR, |text| text.parse().ok())?;
        let range = behind_cursor(order, behind);
        let overrides = self.store.overrides(self.account);
        let mut page = Page::default();
        let (mut looked_at, mut bytes) = (0, 0);
        // Behind which position the next page goes on.
        let (mut last, mut rest) = (0, None);
        let mut show = |seq: Seq, record: &Record<'_>| {
            let wanted = match &record.change {
                Change::Event(event) if filter.wants(event, &overrides) => Some(event),
                _ => None,
            };
            // The page is known to go on only when there is something for the next one, or when
            // looking for it would take too long.
            let full = page.events.len() == limit || bytes >= PAGE_BYTES_MAX;
            if full && wanted.is_some() || looked_at == WALK_MAX {
                rest = Some(last);
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            last = seq;
            if let Some(event) = wanted {
                let set = overrides.of_events(event.kind);
                let shown = schema::shown(event.attributes, set, &Zone::UTC);
                let event = Event { attributes: &shown.text, ..*event };
                let view = event_row(seq, record, &event)?;
                bytes += view.get().len();
                page.not_converted += shown.not_converted;
                page.events.push(view);
            }
            Ok(ControlFlow::Continue(()))
        };
        let (missing, unread) = match &filter.user_id {
            Some(id) => (self.walk_user(id, order, range, &mut show)?, None),
            None => {
                let selection = Selection::matching(&filter.plain()).within(range);
                self.walk(&selection, order, &mut show)?
            }
        };
        page.missing = missing;
        page.next_cursor = rest.or(unread).map(|seq| seq.to_string());
        Ok(answer::found(&page))
    }
}

/// The positions that are still to come behind those of the page before.
pub(super) fn behind_cursor(order: Order, behind: Option<Seq>) -> std::ops::RangeInclusive<Seq> {
    match (order, behind) {
        (_, None) => 1..=Seq::MAX,
        (Order::Ascending, Some(seq)) => seq.saturating_add(1)..=Seq::MAX,
        (Order::Descending, Some(seq)) => 1..=seq.saturating_sub(1),
    }
}

fn event_row(seq: Seq, record: &Record<'_>, event: &Event<'_>) -> Result<Box<RawValue>, Error> {
    let view = EventView::new(seq, record, event);
    to_raw_value(&view).map_err(|error| Error::damaged_record(seq, &error))
}
