//! A test event: sent by a button, and read back from the log to show that it has arrived.

use std::ops::ControlFlow;

use super::{Failure, Moment, Response, Visit};
use crate::context::Headers;
use crate::model::record::Event;
use crate::model::{Change, Seq, Via};
use crate::store::{Draft, Order, Selection};

/// The type of the event.
const KIND: &str = "test";

/// What it says.
const ATTRIBUTES: &str = r#"{"sent_from":"profile page"}"#;

/// A test event that lies in the log.
pub(super) struct Arrived {
    pub seq: Seq,
    pub at: Moment,
    /// Where it is shown.
    pub path: String,
}

/// Tracks it, as a call of this browser.
pub(in crate::web) fn send(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (account, request, at) = (visit.account()?.id, visit.request(), visit.at());
    let headers = Headers::read(|name| request.header(name));
    let door = &visit.rooms.door;
    let context = door.context(&headers, false, account, door.client(request), at);
    let event = Event {
        account,
        via: Via::Secret,
        kind: KIND,
        user_id: None,
        date: at,
        attributes: ATTRIBUTES,
        context: context.as_deref(),
    };
    let receipt = visit.change(vec![Draft::event(event, at)])?;
    Ok(visit.see(&format!("{}?sent={}#test", visit.path("profile"), receipt.first_seq)))
}

/// The one that the address names, as the log has it.
pub(super) fn arrived(visit: &Visit<'_>) -> Result<Option<Arrived>, Failure> {
    let named = visit.request().query().get("sent").and_then(|text| text.parse::<Seq>().ok());
    let Some(seq) = named else { return Ok(None) };
    let account = visit.account()?.id;
    let mut found = None;
    let selection = Selection::of(seq..=seq).events_of(account);
    visit.rooms.store.select(&selection, Order::Ascending, &mut |seq, record| {
        if let Change::Event(event) = &record.change
            && event.account == account
            && event.kind == KIND
        {
            found = Some((seq, record.received_at));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let format = visit.format();
    Ok(found.map(|(seq, at)| Arrived {
        seq,
        at: format.exactly(at),
        path: visit.path(&format!("events/{seq}")),
    }))
}
