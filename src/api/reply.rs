//! The right to answer one request, with what is kept of it: figures, the line of the access log, and, of a
//! refused call, the entry for its account's owner.
//!
//! It stands for [`Answer`] wherever something is answered, so that nobody has to think of these. What
//! is kept holds no address, no token, no query, and no id of a user.

use std::sync::Arc;

use super::Route;
use super::read::Question;
use crate::calls::{Call, Figures};
use crate::clock;
use crate::context;
use crate::http::{Answer, Job, Request, Response, Stream};
use crate::ingest::Kind;
use crate::model::AccountId;
use crate::refused::{Refusal, Refused};

/// Where what is kept goes.
pub(super) struct Records {
    pub figures: Arc<Figures>,
    pub refused: Arc<Refused>,
}

/// The right to answer one request, once, from any thread.
pub(super) struct Reply {
    answer: Answer,
    call: Call,
    tracked: Option<Tracked>,
    records: Arc<Records>,
}

/// Of a call that tracks.
struct Tracked {
    kind: Kind,
    /// None: nobody's, as far as is known.
    account: Option<AccountId>,
    page: Option<String>,
}

impl Reply {
    pub fn new(request: &Request, route: &Route, answer: Answer, records: &Arc<Records>) -> Reply {
        let tracked = match route {
            Route::Track(kind) => Some(Tracked {
                kind: *kind,
                account: None,
                page: request.header("referer").and_then(context::page),
            }),
            _ => None,
        };
        let path = || path(request, route);
        let call = Call::new(request.method, route.name(), path, &records.figures);
        Reply { answer, call, tracked, records: Arc::clone(records) }
    }

    /// Says whose call it is, as soon as that is known: if it is refused, its owner is told.
    pub fn belongs_to(&mut self, account: AccountId) {
        if let Some(tracked) = &mut self.tracked {
            tracked.account = Some(account);
        }
    }

    /// Sends the answer.
    pub fn send(self, response: &Response) {
        // Before the answer, so that whoever was refused and asks is told.
        self.note(response);
        self.call.send(self.answer, response);
    }

    /// Sends an answer that is made meanwhile; see [`Answer::stream`].
    pub fn stream(self, stream: Stream, run: impl FnOnce(Job) + Send + 'static) {
        self.call.stream(self.answer, stream, run);
    }

    fn note(&self, response: &Response) {
        if let Some(Tracked { kind, account: Some(account), page }) = &self.tracked
            && let Some((code, detail)) = response.reason()
        {
            let kind = match kind {
                Kind::Event => "events",
                Kind::User => "users",
            };
            let refusal = Refusal {
                at: clock::now(),
                status: response.status(),
                code: code.to_owned(),
                detail: detail.to_owned(),
                page: page.clone(),
                kind: kind.to_owned(),
                route: self.call.route().to_owned(),
            };
            self.records.refused.note(*account, refusal);
        }
    }
}

/// A path as it may be logged: as it is where there is something, but for what it names; where there is
/// nothing, it may hold whatever somebody mistyped, a key too.
fn path(request: &Request, route: &Route) -> String {
    match route {
        Route::Read(Question::User(_)) => "/v1/users/{id}".to_owned(),
        Route::Read(Question::Timeline(_)) => "/v1/users/{id}/timeline".to_owned(),
        Route::Override(_) => "/v1/types/{kind}/{attribute}".to_owned(),
        Route::Nowhere => "(nowhere)".to_owned(),
        _ => request.path().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn paths() {
        for (target, logged) in [
            ("/v1/events/track?api_token=secret&data=x", "/v1/events/track"),
            ("/v1/users/jo%40example.com?x", "/v1/users/{id}"),
            ("/v1/users/", "/v1/users/"),
            ("/v1/events/track&api_token=secret", "(nowhere)"),
            ("/v1/users/jo@example.com/timeline?limit=1", "/v1/users/{id}/timeline"),
            ("/v1/types/event:private/thing", "/v1/types/{kind}/{attribute}"),
            ("/v1/users/jo@example.com/events", "(nowhere)"),
            ("/a\u{1b}[2J b\u{e9}", "(nowhere)"),
            ("*", "(nowhere)"),
        ] {
            let request = Request::new(Method::Get, target);
            assert_eq!(path(&request, &Route::of(request.path())), logged);
        }
    }
}
