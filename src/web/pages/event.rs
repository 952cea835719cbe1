//! `/accounts/{account}/events/{seq}`: one event, as it was sent and as it is read.

use askama::Template;
use serde::Deserialize;

use super::types;
use crate::asking::Failure;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::model::overrides::Kind;
use crate::model::{Seq, Via};
use crate::query::event::{self, Found};
use crate::web::answer::escaped;
use crate::web::format;
use crate::web::frame::{Frame, Section};
use crate::web::json::laid_out;
use crate::web::parts::{Moment, cut};
use crate::web::values::{self, Attribute};
use crate::web::visit::Visit;

/// Attributes of the table, those within objects too.
const ROWS_MAX: usize = 600;

/// Milliseconds between when it happened and when it arrived that are said.
const LATE_MILLIS: u64 = 60_000;

#[derive(Template)]
#[template(path = "event.html")]
struct Page {
    frame: Frame,
    seq: String,
    kind: String,
    kind_href: String,
    date: Moment,
    received: Moment,
    late: String,
    via: &'static str,
    user: String,
    user_href: String,
    of_user: String,
    before: String,
    after: String,
    page: String,
    context: Vec<(&'static str, String)>,
    /// Each with where its type is set.
    rows: Vec<(String, Attribute)>,
    more: usize,
    not_converted: usize,
    sent: String,
    sent_context: String,
}

/// What is known of the circumstances.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    page: String,
    browser: String,
    os: String,
    device: String,
    visitor: String,
    bot: bool,
    prefetch: bool,
}

/// The page.
pub(in crate::web) fn event(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (account, store, format) = (visit.account()?.id, &visit.rooms.store, visit.format());
    let named: Option<Seq> = visit.value(0).parse().ok().filter(|seq: &Seq| *seq > 0);
    let found = named.map(|seq| event::find(store, account, seq)).transpose()?.flatten();
    let found = found.ok_or_else(|| {
        let why = "This account has no event at this position. It may be a user's record, or have been erased.";
        Failure::from(Reject::new(Code::NotFound, why))
    })?;
    let beside = match &found.user_id {
        Some(user) => visit
            .part(
                event::beside(store, account, user, found.seq, visit.stop).map_err(Failure::from),
            )?
            .unwrap_or_default(),
        None => event::Beside::default(),
    };
    let overrides = store.overrides(account);
    let set = overrides.of_events(&found.kind);
    let (rows, more) = values::attributes(&found.attributes, set, &format, ROWS_MAX);
    let kind = Kind::Event(found.kind.clone());
    let rows: Vec<_> =
        rows.into_iter().map(|row| (types::path_of(visit, &kind, &row.name), row)).collect();
    let link =
        |seq: Option<Seq>| seq.map(|seq| visit.path(&format!("events/{seq}"))).unwrap_or_default();
    let title = cut(&found.kind, 80).into_owned();
    let user = found.user_id.clone().unwrap_or_default();
    let context: Context = found
        .context
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    visit.page(&Page {
        frame: visit.frame_of(Section::Events, &title, &[]),
        seq: format.count(found.seq),
        kind_href: visit.path(&format!("events?bots=1&type={}", escaped(&found.kind))),
        date: format.exactly(found.date),
        received: format.exactly(found.received_at),
        late: late(&found),
        via: via(found.via),
        user_href: visit.user_path(&user),
        of_user: visit.path(&format!("events?period=all&bots=1&user_id={}", escaped(&user))),
        user,
        before: link(beside.before),
        after: link(beside.after),
        not_converted: rows.iter().filter(|(_, row)| row.fails).count(),
        rows,
        more,
        context: told(&context),
        page: context.page,
        sent: laid_out(&found.attributes),
        sent_context: found.context.as_deref().map(laid_out).unwrap_or_default(),
        kind: found.kind,
    })
}

/// How long after it happened it came, if that is worth saying.
fn late(found: &Found) -> String {
    let apart = found.received_at.millis().abs_diff(found.date.millis());
    match apart {
        ..LATE_MILLIS => String::new(),
        _ if found.date < found.received_at => {
            format!("{} after it happened", format::duration(apart))
        }
        _ => format!("{} before it happens", format::duration(apart)),
    }
}

fn via(via: Via) -> &'static str {
    match via {
        Via::Public => "With the API token, which is public: whoever reads a page can send with it",
        Via::Secret => "With the secret key",
        Via::Import => "By an import",
    }
}

fn told(context: &Context) -> Vec<(&'static str, String)> {
    let Context { browser, os, device, visitor, bot, prefetch, .. } = context;
    let marks = match (bot, prefetch) {
        (true, true) => "A bot, and a prefetch; it isn't counted unless bots are",
        (true, false) => "A bot; it isn't counted unless bots are",
        (false, true) => "A prefetch; it isn't counted unless bots are",
        (false, false) => "",
    };
    let all = [
        ("Browser", browser.clone()),
        ("System", os.clone()),
        ("Device", device.clone()),
        ("Visitor of that day", visitor.clone()),
        ("Marked as", marks.to_owned()),
    ];
    all.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}
