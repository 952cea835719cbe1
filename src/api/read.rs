//! Reading back: users, events, counts. For the holder of a `secret_key` only.
//!
//! Every answer is made from a walk through the state or the log, streamed and in bounded memory. A
//! page ends when it has its rows, when it has [`PAGE_BYTES_MAX`], or when [`WALK_MAX`] records were
//! looked at, and says where to go on; counts look at all that may match. What is damaged at rest is left
//! out, and the answer says of how many records that was. The walks are jobs, so that no worker is held up.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardinality_estimator::CardinalityEstimator;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::query::Params;
use super::{Api, Reply, answer};
use crate::context;
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::Room;
use crate::model::{AccountId, Change, Date, Seq, User};
use crate::store::{Error, Order, Selection, Store, Visit};
use crate::view::{EMAIL, EventView, Shown, UserView, is_zero};

/// Records that one page looks at, at the most.
const WALK_MAX: u64 = 1_000_000;

/// Bytes of rows after which a page ends.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rows of a count, at the most.
const STATS_ROWS_MAX: usize = 10_000;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    User(String),
    Users,
    Events,
    Stats,
}

impl Question {
    /// Whether what it is about can be erased.
    pub(super) fn is_erasable(&self) -> bool {
        matches!(self, Question::User(_) | Question::Events)
    }

    fn methods(&self) -> &'static str {
        if self.is_erasable() { "GET, DELETE" } else { "GET" }
    }
}

impl Api {
    /// Checks who asks, and has the question answered by a job.
    pub(super) fn read(&self, question: Question, request: Request, answer: Reply) {
        if request.method != Method::Get {
            let allowed = question.methods();
            let refuse = answer::method_not_allowed(request.method, allowed, answer::problem);
            return answer.send(&refuse);
        }
        let account = match self.reader(&request) {
            Ok(principal) => principal.account,
            Err(reject) => return answer.send(&answer::problem(&reject)),
        };
        let room = match self.room() {
            Ok(room) => room,
            Err(reject) => return answer.send(&answer::problem(&reject)),
        };
        let desk =
            Desk { store: Arc::clone(&self.store), stopping: Arc::clone(&self.stopping), account };
        room.put(move || answer.send(&desk.respond(&question, &request)));
    }

    /// Room for what walks through the log.
    pub(super) fn room(&self) -> Result<Room, Reject> {
        self.jobs.room().ok_or_else(|| {
            let code = if self.is_stopping() { Code::ShuttingDown } else { Code::Overloaded };
            Reject::new(code, "too many questions are being answered; ask again")
        })
    }
}

/// What one question is answered from.
struct Desk {
    store: Arc<Store>,
    stopping: Arc<AtomicBool>,
    account: AccountId,
}

/// Why there is no answer.
enum Failure {
    Reject(Reject),
    Store(Error),
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Failure {
        Failure::Reject(reject)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl Desk {
    fn respond(&self, question: &Question, request: &Request) -> Response {
        let params = Params(request);
        let answered = match question {
            Question::User(id) => self.user(id),
            Question::Users => self.users(&params),
            Question::Events => self.events(&params),
            Question::Stats => self.stats(&params),
        };
        answered.unwrap_or_else(|failure| {
            answer::problem(&match failure {
                Failure::Reject(reject) => reject,
                Failure::Store(error) => answer::unreadable(&error),
            })
        })
    }

    fn check_stopping(&self) -> Result<(), Failure> {
        if self.stopping.load(SeqCst) {
            let reject = Reject::new(Code::ShuttingDown, "the server is stopping; ask again soon");
            return Err(reject.into());
        }
        Ok(())
    }

    fn user(&self, id: &str) -> Result<Response, Failure> {
        let Some(user) = self.store.user(self.account, id)? else {
            let detail = format!("there is no user with the id {id:?}");
            return Err(Reject::new(Code::NotFound, detail).into());
        };
        let (counts, missing) = self.event_counts(&[id])?;
        let view = UserView::new(id, &user).with_event_count(counts[0]);
        Ok(answer::found(&view.with_missing(missing)))
    }

    /// How many events name each of these users, by one walk through the account's events; and how many
    /// records were missing there.
    fn event_counts(&self, ids: &[&str]) -> Result<(Vec<u64>, u64), Failure> {
        let places: HashMap<&str, usize> = ids.iter().copied().zip(0..).collect();
        let mut counts = vec![0; places.len()];
        let mut missing = 0;
        if !places.is_empty() {
            let mut events = Selection::of(1..=Seq::MAX).events_of(self.account);
            if let [id] = ids {
                events.user_id = Some((*id).to_owned());
            }
            missing = self.walk(&events, Order::Ascending, &mut |_, record| {
                if let Change::Event(event) = record.change
                    && event.account == self.account
                    && let Some(place) = event.user_id.and_then(|id| places.get(id))
                {
                    counts[*place] += 1;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok((counts, missing))
    }

    /// Walks through what is selected, unless the server stops meanwhile. How many records were missing.
    fn walk(&self, selection: &Selection, order: Order, visit: Visit<'_>) -> Result<u64, Failure> {
        let missing = self.store.select(selection, order, &mut |seq, record| {
            if self.stopping.load(SeqCst) { Ok(ControlFlow::Break(())) } else { visit(seq, record) }
        })?;
        self.check_stopping()?;
        Ok(missing.records)
    }

    fn users(&self, params: &Params<'_>) -> Result<Response, Failure> {
        #[derive(Serialize)]
        struct Page {
            users: Vec<Box<RawValue>>,
            next_cursor: Option<String>,
            #[serde(skip_serializing_if = "is_zero")]
            missing: u64,
        }
        let limit = params.limit()?;
        let wanted = params.text("q").map(|q| q.to_lowercase());
        let after = params.read("cursor", CURSOR, |text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            String::from_utf8(bytes).ok()
        })?;
        let mut ids = Vec::new();
        let mut last = None;
        let mut more = false;
        for (looked_at, entry) in (0..).zip(self.store.users(self.account, after.as_deref())) {
            if ids.len() == limit || looked_at == WALK_MAX {
                more = true;
                break;
            }
            self.check_stopping()?;
            let (id, user) = entry?;
            last = Some(id.clone());
            if wanted.as_ref().is_none_or(|wanted| matches(wanted, &id, &user)) {
                ids.push(id);
            }
        }
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        let (counts, missing) = self.event_counts(&names)?;
        // Users are read again one by one and kept as text: parsed, one can take 50 times that.
        let mut users = Vec::new();
        let mut bytes = 0;
        let mut go_on_behind = last.filter(|_| more);
        let mut shown: Option<&String> = None;
        for (id, event_count) in ids.iter().zip(counts) {
            if bytes >= PAGE_BYTES_MAX {
                go_on_behind = shown.cloned();
                break;
            }
            if let Some(user) = self.store.user(self.account, id)? {
                let view = UserView::new(id, &user).with_event_count(event_count);
                let view = row(&view, || format!("user {id:?}"))?;
                bytes += view.get().len();
                users.push(view);
            }
            shown = Some(id);
        }
        let next_cursor = go_on_behind.map(|id| URL_SAFE_NO_PAD.encode(id));
        Ok(answer::found(&Page { users, next_cursor, missing }))
    }

    fn events(&self, params: &Params<'_>) -> Result<Response, Failure> {
        #[derive(Serialize)]
        struct Page {
            events: Vec<Box<RawValue>>,
            next_cursor: Option<String>,
            #[serde(skip_serializing_if = "is_zero")]
            missing: u64,
        }
        let limit = params.limit()?;
        let order = params.read("order", "`asc` or `desc`", |text| match text {
            "asc" => Some(Order::Ascending),
            "desc" => Some(Order::Descending),
            _ => None,
        })?;
        let order = order.unwrap_or(Order::Descending);
        let filter = params.filter(self.account)?;
        let behind: Option<Seq> = params.read("cursor", CURSOR, |text| text.parse().ok())?;
        let range = match (order, behind) {
            (_, None) => 1..=Seq::MAX,
            (Order::Ascending, Some(seq)) => seq.saturating_add(1)..=Seq::MAX,
            (Order::Descending, Some(seq)) => 1..=seq.saturating_sub(1),
        };
        let mut events = Vec::new();
        let (mut looked_at, mut bytes) = (0, 0);
        let mut last = 0;
        let mut more = false;
        let selection = Selection::matching(&filter).within(range);
        let missing = self.walk(&selection, order, &mut |seq, record| {
            let wanted = match &record.change {
                Change::Event(event) if filter.wants(event) => Some(event),
                _ => None,
            };
            // The page is known to go on only when there is something for the next one, or when
            // looking for it would take too long.
            let full = events.len() == limit || bytes >= PAGE_BYTES_MAX;
            if full && wanted.is_some() || looked_at == WALK_MAX {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            last = seq;
            if let Some(event) = wanted {
                let view = row(&EventView::new(seq, record, event), || {
                    format!("record {seq} of the log")
                })?;
                bytes += view.get().len();
                events.push(view);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let next_cursor = more.then(|| last.to_string());
        Ok(answer::found(&Page { events, next_cursor, missing }))
    }

    fn stats(&self, params: &Params<'_>) -> Result<Response, Failure> {
        #[derive(Serialize)]
        struct Row<'a> {
            r#type: &'a str,
            from: Shown,
            count: u64,
            users: usize,
        }
        #[derive(Serialize)]
        struct Stats<'a> {
            interval: &'static str,
            count: u64,
            users: usize,
            rows: Vec<Row<'a>>,
            #[serde(skip_serializing_if = "is_zero")]
            missing: u64,
        }
        #[derive(Default)]
        struct Tally {
            count: u64,
            users: CardinalityEstimator<str>,
        }
        impl Tally {
            fn add(&mut self, user_id: Option<&str>) {
                self.count += 1;
                if let Some(id) = user_id {
                    self.users.insert(id);
                }
            }
        }
        let interval = params.read("interval", "`hour` or `day`", |text| match text {
            "hour" => Some(("hour", 3_600_000)),
            "day" => Some(("day", 86_400_000)),
            _ => None,
        })?;
        let (interval, interval_millis) = interval.unwrap_or(("day", 86_400_000));
        let bots =
            params.read("bots", "`1`, or `0` which means the same as none", |text| match text {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            })?;
        let with_bots = bots.unwrap_or(false);
        let filter = params.filter(self.account)?;
        let mut rows: BTreeMap<(i64, String), Tally> = BTreeMap::new();
        let mut all = Tally::default();
        let mut too_many = false;
        let selection = Selection::matching(&filter);
        let missing = self.walk(&selection, Order::Ascending, &mut |_, record| {
            if let Change::Event(event) = record.change
                && filter.wants(&event)
                && (with_bots || !event.context.is_some_and(context::is_nobodys))
            {
                let start = event.date.millis().div_euclid(interval_millis) * interval_millis;
                all.add(event.user_id);
                rows.entry((start, event.kind.to_owned())).or_default().add(event.user_id);
                too_many = rows.len() > STATS_ROWS_MAX;
            }
            Ok(if too_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if too_many {
            let detail = format!(
                "the answer would have more than {STATS_ROWS_MAX} rows; narrow it with `from`, `to` \
                 and `type`, or count by `interval=day`"
            );
            return Err(Reject::new(Code::InvalidParameter, detail).into());
        }
        Ok(answer::found(&Stats {
            interval,
            count: all.count,
            users: all.users.estimate(),
            rows: rows
                .iter()
                .map(|((start, kind), tally)| Row {
                    r#type: kind,
                    from: Shown(Date::from_millis(*start)),
                    count: tally.count,
                    users: tally.users.estimate(),
                })
                .collect(),
            missing,
        }))
    }
}

const CURSOR: &str = "what `next_cursor` of the page before said";

/// A row of a page, as text. What can't be written isn't what was stored.
fn row(view: &impl Serialize, place: impl Fn() -> String) -> Result<Box<RawValue>, Error> {
    to_raw_value(view).map_err(|error| Error::Damaged { place: place(), why: error.to_string() })
}

/// Whether a search by id or e-mail finds a user. `wanted` is in lower case.
fn matches(wanted: &str, id: &str, user: &User) -> bool {
    let holds = |text: &str| text.to_lowercase().contains(wanted);
    holds(id) || user.attributes.get(EMAIL).and_then(|email| email.as_str()).is_some_and(holds)
}
