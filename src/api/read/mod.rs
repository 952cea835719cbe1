//! Reading back: users, events, counts. For the holder of a `secret_key` only.
//!
//! Every answer is made from a walk through the state or the log, streamed and in bounded memory. A
//! page ends when it has its rows, when it has [`query::PAGE_BYTES_MAX`], or when it took as long as to read [`WALK_MAX`]
//! records, and says where to go on; counts look at all that may match. What is damaged at rest is left
//! out, and the answer says of how many records that was. The walks are jobs, so that no worker is held up.

mod breakdown;
mod events;
mod funnel;
mod retention;
mod stats;
mod timeline;
mod types;
mod users;

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::query::Params;
use super::{Api, Reply, answer};
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::{AccountId, Record, Seq};
use crate::query::{self, Interval, Stop, WALK_MAX};
use crate::store::{Error, Missing, Order, Selection, Step, Store, Visit};

/// What a count can be by.
const INTERVALS: [Interval; 4] = [Interval::Hour, Interval::Day, Interval::Week, Interval::Month];

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    User(String),
    Timeline(String),
    Users,
    Events,
    Stats,
    Breakdown,
    Funnel,
    Retention,
    Types,
}

impl Question {
    /// Whether what it is about can be erased.
    pub(super) fn is_erasable(&self) -> bool {
        matches!(self, Question::User(_) | Question::Events)
    }

    fn methods(&self) -> &'static str {
        if self.is_erasable() { "GET, DELETE" } else { "GET" }
    }

    /// How much it is likely to read: little, where indexes lead to what is asked for or have it counted.
    fn weight(&self, params: &Params<'_>) -> Weight {
        let narrows = |names: &[&str]| names.iter().any(|name| params.texts(name).next().is_some());
        let is_heavy = match self {
            Question::User(_) | Question::Timeline(_) | Question::Types => false,
            Question::Users => narrows(&["q", "where", "sort"]),
            Question::Events => narrows(&["where", "from", "to"]),
            Question::Stats => narrows(&["where", "user_id"]),
            Question::Breakdown | Question::Funnel | Question::Retention => true,
        };
        if is_heavy { Weight::Heavy } else { Weight::Light }
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
        let (weight, store) = (question.weight(&Params(&request)), Arc::clone(&self.store));
        let find = move |stop: &Stop<'_>| {
            Desk { store: &store, stop, account }.respond(&question, &Params(&request))
        };
        self.ask(weight, find, move |found| {
            answer.send(&found.unwrap_or_else(|reject| answer::problem(&reject)));
        });
    }
}

/// What one question is answered from.
struct Desk<'d> {
    store: &'d Store,
    stop: &'d Stop<'d>,
    account: AccountId,
}

/// Why there is no answer.
pub(super) enum Failure {
    Reject(Reject),
    /// It would read more than it may.
    TooMuch(Reject),
    Store(Error),
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Failure {
        Failure::Reject(reject)
    }
}

impl From<query::Failure> for Failure {
    fn from(failure: query::Failure) -> Failure {
        let code = match &failure {
            query::Failure::Parameter { .. } => Code::InvalidParameter,
            query::Failure::TooLarge(_) | query::Failure::TooMuch { .. } => Code::QuestionTooLarge,
            query::Failure::Stopping => return answer::stopping().into(),
            query::Failure::Store(_) => Code::StorageFailed,
        };
        match failure {
            query::Failure::Store(error) => Failure::Store(error),
            query::Failure::TooMuch { .. } => {
                Failure::TooMuch(Reject::new(code, failure.to_string()))
            }
            other => Reject::new(code, other.to_string()).into(),
        }
    }
}

impl Failure {
    /// What is told of it to the caller, and to the owner where it is the owner's business.
    pub(super) fn into_reject(self) -> Reject {
        match self {
            Failure::Reject(reject) | Failure::TooMuch(reject) => reject,
            Failure::Store(error) => answer::unreadable(&error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        query::Failure::from(error).into()
    }
}

impl Desk<'_> {
    fn respond(&self, question: &Question, params: &Params<'_>) -> Result<Response, Failure> {
        self.stop.check()?;
        match question {
            Question::User(id) => self.user(id),
            Question::Timeline(id) => self.timeline(id, params),
            Question::Users => self.users(params),
            Question::Events => self.events(params),
            Question::Stats => self.stats(params),
            Question::Breakdown => self.breakdown(params),
            Question::Funnel => self.funnel(params),
            Question::Retention => self.retention(params),
            Question::Types => self.types(),
        }
    }

    /// How many events a user has, and how many records were missing.
    fn event_count(&self, id: &str) -> Result<(u64, Missing), Failure> {
        let answers = query::answers(self.store, self.stop);
        let (counts, missing) = answers.event_counts(self.account, &[id])?;
        Ok((counts.iter().sum(), missing))
    }

    /// Walks through what is selected of the account's events, unless the server stops meanwhile, as far as
    /// [`WALK_MAX`]. How many records were missing, and behind which position the rest lies, if there is one.
    fn walk(
        &self,
        selection: &Selection,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(u64, Option<Seq>), Failure> {
        let mut visit = self.unless_stopping(visit);
        let (missing, rest) = self.store.select_some(selection, order, WALK_MAX, &mut visit)?;
        self.stop.check()?;
        Ok((missing.records, rest))
    }

    /// The same through what one user did and was said to be.
    fn walk_user(
        &self,
        id: &str,
        order: Order,
        range: RangeInclusive<Seq>,
        visit: Visit<'_>,
    ) -> Result<u64, Failure> {
        let missing = self.store.of_user(self.account, id, order, range, self.stop, visit)?;
        Ok(missing.records)
    }

    fn unless_stopping(&self, visit: Visit<'_>) -> impl FnMut(Seq, &Record<'_>) -> Step {
        move |seq, record| {
            if self.stop.is_due() { Ok(ControlFlow::Break(())) } else { visit(seq, record) }
        }
    }
}

const CURSOR: &str = "what `next_cursor` of the page before said";
