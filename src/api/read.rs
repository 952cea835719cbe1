//! Reading back: users, events, counts. For the holder of a `secret_key` only.
//!
//! Every answer is made from a walk through the state, the log or the indexes, streamed and in bounded memory (see
//! [`query`]). What is damaged at rest is left out, and the answer says of how many records that was. The walks are
//! jobs, so that no worker is held up.

use std::sync::Arc;

use super::{Api, Reply, answer};
use crate::asking::{Failure, Params, weight};
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::AccountId;
use crate::query::{self, Stop, types};
use crate::schema::Zone;
use crate::store::{Error, Missing, Store};
use crate::view::{UserView, converted};

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
        match self {
            Question::User(_) | Question::Timeline(_) | Question::Types => Weight::Light,
            Question::Users => weight(params, &["q", "where", "sort"]),
            Question::Events => weight(params, &["where", "from", "to"]),
            Question::Stats => weight(params, &["where", "user_id"]),
            Question::Breakdown | Question::Funnel | Question::Retention => Weight::Heavy,
        }
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
        let params = Params::of(request.query());
        let (weight, min_seq) = (question.weight(&params), params.min_seq());
        let store = Arc::clone(&self.store);
        let desk = self.desk.clone();
        self.when_seen(min_seq, move |seq, seen| {
            let send = move |found: Result<Response, Reject>| {
                let found = found.unwrap_or_else(|reject| answer::problem(&reject));
                answer.send(&answer::as_of(found, seq));
            };
            if let Err(reject) = seen {
                return send(Err(reject));
            }
            let find = move |stop: &Stop<'_>| {
                let params = Params::of(request.query());
                Reader { store: &store, stop, account }.respond(&question, &params)
            };
            desk.ask(weight, find, send);
        });
    }
}

/// What one question is answered from.
struct Reader<'d> {
    store: &'d Store,
    stop: &'d Stop<'d>,
    account: AccountId,
}

impl Reader<'_> {
    fn respond(&self, question: &Question, params: &Params<'_>) -> Result<Response, Failure> {
        self.stop.check()?;
        let (store, stop, account) = (self.store, self.stop, self.account);
        Ok(match question {
            Question::User(id) => self.user(id)?,
            Question::Timeline(id) => self.timeline(id, params)?,
            Question::Users => answer::found(&params.users(account)?.answer(store, stop)?),
            Question::Events => answer::found(&params.events(account)?.answer(store, stop)?),
            Question::Stats => answer::found(&params.stats(account)?.answer(store, stop)?),
            Question::Breakdown => answer::found(&params.breakdown(account)?.answer(store, stop)?),
            Question::Funnel => answer::found(&params.funnel(account)?.answer(store, stop)?),
            Question::Retention => answer::found(&params.retention(account)?.answer(store, stop)?),
            Question::Types => answer::found(&types::all(store, account, stop)?),
        })
    }

    fn user(&self, id: &str) -> Result<Response, Failure> {
        let Some(user) = self.store.user(self.account, id)? else {
            let detail = format!("there is no user with the id {id:?}");
            return Err(Reject::new(Code::NotFound, detail).into());
        };
        let overrides = self.store.overrides(self.account);
        let converted = converted(user, overrides.of_users(), &Zone::UTC);
        let (user, not_converted) = converted.map_err(|error| Error::damaged_user(id, &error))?;
        let (count, missing) = self.event_count(id)?;
        let view = UserView::new(id, &user).with_event_count(count);
        let view = view.with_not_converted(not_converted).with_missing(missing.records);
        Ok(answer::found(&view))
    }

    fn timeline(&self, id: &str, params: &Params<'_>) -> Result<Response, Failure> {
        let found = params.timeline(self.account, id)?.answer(self.store, self.stop)?;
        if found.timeline.is_empty() && found.next_cursor.is_none() && !self.is_known(id)? {
            let detail = format!("there is neither a user nor an event with the id {id:?}");
            return Err(Reject::new(Code::NotFound, detail).into());
        }
        Ok(answer::found(&found))
    }

    /// Whether there is such a user, or an event that names one.
    fn is_known(&self, id: &str) -> Result<bool, Failure> {
        if self.store.user(self.account, id)?.is_some() {
            return Ok(true);
        }
        let (count, missing) = self.event_count(id)?;
        Ok(count > 0 || !missing.is_nothing())
    }

    /// How many events a user has, and how many records were missing.
    fn event_count(&self, id: &str) -> Result<(u64, Missing), Failure> {
        let answers = query::answers(self.store, self.stop);
        let (counts, missing) = answers.event_counts(self.account, &[id])?;
        Ok((counts.iter().sum(), missing))
    }
}
