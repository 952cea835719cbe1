//! Events, newest first or oldest first, page by page.
//!
//! A page goes on behind the last position that was looked at, so that a walk meets each event once,
//! whatever arrives or is sealed meanwhile. It ends when it has its rows, when it has [`PAGE_BYTES_MAX`], or when
//! it took as long as to read [`WALK_MAX`] records, and says where to go on.

use std::ops::{ControlFlow, RangeInclusive};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Failure, Filter, PAGE_BYTES_MAX, Stop, WALK_MAX, Zone};
use crate::model::record::Event;
use crate::model::{Change, Record, Seq};
use crate::schema;
use crate::store::{Error, Order, Selection, Store};
use crate::view::{EventView, is_zero};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which events.
    pub filter: Filter,
    /// Which of them first, by `seq`.
    pub order: Order,
    /// Those behind this one, in that order: what [`Page::next_cursor`] of the page before said.
    pub behind: Option<Seq>,
    /// Rows at the most.
    pub limit: usize,
    /// The zone that dates are shown in.
    pub zone: Zone,
    /// Whether each says how it came.
    pub with_via: bool,
}

/// Some events.
#[derive(Debug, Default, Serialize)]
pub struct Page {
    /// The events, as they are shown.
    pub events: Vec<Box<RawValue>>,
    /// Where the next page goes on, if there may be one.
    pub next_cursor: Option<String>,
    /// Values that didn't convert to the type that is set, and are shown as sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_converted: u64,
    /// Records that could not be read, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

impl Question {
    /// Answers it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Page, Failure> {
        let Question { filter, order, behind, limit, zone, with_via } = self;
        let range = behind_cursor(*order, *behind);
        let overrides = store.overrides(filter.account);
        let mut page = Page::default();
        let (mut looked_at, mut bytes) = (0, 0);
        // Behind which position the next page goes on.
        let (mut last, mut rest) = (0, None);
        let mut show = |seq: Seq, record: &Record<'_>| {
            if stop.is_due() {
                return Ok(ControlFlow::Break(()));
            }
            let wanted = match &record.change {
                Change::Event(event) if filter.wants(event, &overrides) => Some(event),
                _ => None,
            };
            // The page is known to go on only when there is something for the next one, or when
            // looking for it would take too long.
            let full = page.events.len() == *limit || bytes >= PAGE_BYTES_MAX;
            if full && wanted.is_some() || looked_at == WALK_MAX {
                rest = Some(last);
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            last = seq;
            if let Some(event) = wanted {
                let set = overrides.of_events(event.kind);
                let shown = schema::shown(event.attributes, set, zone);
                let event = Event { attributes: &shown.text, ..*event };
                let mut view = EventView::new(seq, record, &event).with_zone(*zone);
                if *with_via {
                    view = view.with_via(&event);
                }
                let row = to_raw_value(&view).map_err(|why| Error::damaged_record(seq, &why))?;
                bytes += row.get().len();
                page.not_converted += shown.not_converted;
                page.events.push(row);
            }
            Ok(ControlFlow::Continue(()))
        };
        let (missing, unread) = match &filter.user_id {
            Some(id) => {
                let missing = store.of_user(filter.account, id, *order, range, stop, &mut show)?;
                (missing.records, None)
            }
            None => {
                let selection = Selection::matching(&filter.plain()).within(range);
                let (missing, unread) =
                    store.select_some(&selection, *order, WALK_MAX, &mut show)?;
                (missing.records, unread)
            }
        };
        stop.check()?;
        page.missing = missing;
        page.next_cursor = rest.or(unread).map(|seq| seq.to_string());
        Ok(page)
    }
}

/// The positions that are still to come behind those of the page before.
fn behind_cursor(order: Order, behind: Option<Seq>) -> RangeInclusive<Seq> {
    match (order, behind) {
        (_, None) => 1..=Seq::MAX,
        (Order::Ascending, Some(seq)) => seq.saturating_add(1)..=Seq::MAX,
        (Order::Descending, Some(seq)) => 1..=seq.saturating_sub(1),
    }
}
