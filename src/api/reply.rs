//! The right to answer one request, with what is kept of it: figures, the line of the access log, and, of a
//! refused call, the entry for its account's owner.
//!
//! It stands for [`Answer`] wherever something is answered, so that nobody has to think of these. What
//! is kept holds no address, no token, no query, and no id of a user.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use super::Route;
use super::figures::Figures;
use super::read::Question;
use crate::clock;
use crate::context;
use crate::http::{Answer, Job, Method, Request, Response, Stream};
use crate::ingest::Kind;
use crate::model::AccountId;
use crate::refused::{Refusal, Refused};

/// The target of the access log's lines.
pub(super) const ACCESS: &str = "access";

/// Where what is kept goes.
pub(super) struct Records {
    pub figures: Figures,
    pub refused: Arc<Refused>,
}

/// The right to answer one request, once, from any thread.
pub(super) struct Reply {
    answer: Answer,
    call: Call,
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
        let line = log::log_enabled!(target: ACCESS, log::Level::Info)
            .then(|| Line { method: name(request.method), path: path(request, route) });
        let call = Call {
            began: Instant::now(),
            route: route.name(),
            tracked,
            line,
            records: Arc::clone(records),
            ended: false,
        };
        Reply { answer, call }
    }

    /// Says whose call it is, as soon as that is known: if it is refused, its owner is told.
    pub fn belongs_to(&mut self, account: AccountId) {
        if let Some(tracked) = &mut self.call.tracked {
            tracked.account = Some(account);
        }
    }

    /// Sends the answer.
    pub fn send(self, response: &Response) {
        let Reply { answer, call } = self;
        // Before the answer, so that whoever was refused and asks is told.
        call.note(response);
        answer.send(response);
        let reason = response.reason().map(|(code, _)| code);
        call.end(response.status(), reason.unwrap_or_default(), response.body().len() as u64);
    }

    /// Sends an answer that is made meanwhile; see [`Answer::stream`].
    pub fn stream(self, stream: Stream, run: impl FnOnce(Job) + Send + 'static) {
        let Reply { answer, call } = self;
        let Stream { head, stop, make } = stream;
        let status = head.status();
        let make = Box::new(move |out: &mut dyn Write| {
            let mut out = Counter { out, bytes: 0 };
            let made = make(&mut out);
            let (status, reason) = match &made {
                Ok(()) => (status, ""),
                // The client has gone; nobody gets this answer.
                Err(response) if response.status() == 500 => (status, "broken_off"),
                Err(response) => {
                    (response.status(), response.reason().map_or("broken_off", |(code, _)| code))
                }
            };
            call.end(status, reason, out.bytes);
            made
        });
        answer.stream(Stream { head, stop, make }, run);
    }
}

/// What is known of a request. Dropped before its end it counts as a mistake of ours, which is what its
/// sender is answered then.
struct Call {
    began: Instant,
    route: &'static str,
    tracked: Option<Tracked>,
    line: Option<Line>,
    records: Arc<Records>,
    ended: bool,
}

/// Of a call that tracks.
struct Tracked {
    kind: Kind,
    /// None: nobody's, as far as is known.
    account: Option<AccountId>,
    page: Option<String>,
}

/// Of a call that is logged.
struct Line {
    method: &'static str,
    path: String,
}

impl Call {
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
                route: self.route.to_owned(),
            };
            self.records.refused.note(*account, refusal);
        }
    }

    fn end(mut self, status: u16, reason: &'static str, bytes: u64) {
        self.ended = true;
        self.record(status, reason, bytes);
    }

    fn record(&self, status: u16, reason: &'static str, bytes: u64) {
        let took = self.began.elapsed();
        self.records.figures.answered(self.route, status, reason, took);
        if let Some(Line { method, path }) = &self.line {
            let code = if reason.is_empty() { "-" } else { reason };
            let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            log::info!(
                target: ACCESS, method, path, status, code, bytes, ms;
                "{method} {path} {status} {code} {bytes} B {ms} ms"
            );
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.record(500, "internal", 0);
        }
    }
}

/// Counts what goes through it.
struct Counter<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
}

impl Write for Counter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Other => "OTHER",
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
