//! HTTP's calls: tracking, reading, exporting, erasing, health. The last place that sees HTTP; must not
//! know sled.

mod answer;
mod erase;
mod export;
mod health;
mod metrics;
mod openapi;
mod read;
mod refused;
mod reply;
mod track;
mod types;

#[cfg(any(test, fuzzing))]
pub(crate) use track::fuzzing;

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::asking::{Desk, Waiting};
use crate::auth::{self, Principal};
use crate::calls::Figures;
use crate::clock;
use crate::door::{self, Door};
use crate::http::{self, Answer, Fault, Handler, Method, Request, Response};
use crate::ingest::{Code, Kind, Reject};
use crate::jobs::Jobs;
use crate::model::{Seq, Via};
use crate::refused::Refused;
use crate::store::{Store, Writer};
use read::Question;
use reply::{Records, Reply};
use types::Overridden;

/// What the calls work with.
pub struct Rooms {
    /// To read.
    pub store: Arc<Store>,
    /// To change.
    pub writer: Arc<Writer>,
    /// Has questions answered.
    pub desk: Desk,
    /// Holds those that wait for what isn't here yet.
    pub waiting: Arc<Waiting>,
    /// Threads for exports.
    pub exports: Arc<Jobs>,
    /// What is counted of calls.
    pub figures: Arc<Figures>,
    /// Where refused calls are kept for their owners.
    pub refused: Arc<Refused>,
    /// What is asked of each call first.
    pub door: Arc<Door>,
    /// What the transport counts.
    pub transport: Arc<http::Figures>,
}

/// Everything that answers requests.
pub struct Api {
    store: Arc<Store>,
    writer: Arc<Writer>,
    desk: Desk,
    waiting: Arc<Waiting>,
    exports: Arc<Jobs>,
    records: Arc<Records>,
    door: Arc<Door>,
    transport: Arc<http::Figures>,
}

/// Where a path leads.
#[derive(Debug, PartialEq)]
enum Route {
    Track(Kind),
    Read(Question),
    Override(Overridden),
    Export,
    Refused,
    Health,
    Metrics,
    Description,
    Nowhere,
}

impl Route {
    fn of(path: &str) -> Route {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path {
            "/v1/events/track" => Route::Track(Kind::Event),
            "/v1/users/track" => Route::Track(Kind::User),
            "/v1/events" => Route::Read(Question::Events),
            "/v1/users" => Route::Read(Question::Users),
            "/v1/stats" => Route::Read(Question::Stats),
            "/v1/breakdown" => Route::Read(Question::Breakdown),
            "/v1/funnel" => Route::Read(Question::Funnel),
            "/v1/retention" => Route::Read(Question::Retention),
            "/v1/types" => Route::Read(Question::Types),
            "/v1/export" => Route::Export,
            "/v1/refused" => Route::Refused,
            "/metrics" => Route::Metrics,
            "/healthz" => Route::Health,
            "/openapi.json" => Route::Description,
            _ => Route::named(path).unwrap_or(Route::Nowhere),
        }
    }

    /// Where a path leads that names something. What it names is percent-encoded, so that a user called
    /// `track` is reached as `%74rack`, and one called `a/timeline` as `a%2Ftimeline`. What isn't text then names
    /// nothing; read leniently it could name something else.
    fn named(path: &str) -> Option<Route> {
        let text = |piece: &str| percent_decode_str(piece).decode_utf8().ok().map(Cow::into_owned);
        let pieces: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
        match pieces[..] {
            ["users", id] if !id.is_empty() => Some(Route::Read(Question::User(text(id)?))),
            ["users", id, "timeline"] if !id.is_empty() => {
                Some(Route::Read(Question::Timeline(text(id)?)))
            }
            ["types", kind, attribute] if !kind.is_empty() && !attribute.is_empty() => {
                let (kind, attribute) = (text(kind)?, text(attribute)?);
                Some(Route::Override(Overridden { kind, attribute }))
            }
            _ => None,
        }
    }
}

impl Route {
    /// What figures call it: one of few words, whatever the path was.
    fn name(&self) -> &'static str {
        match self {
            Route::Track(Kind::Event) => "events_track",
            Route::Track(Kind::User) => "users_track",
            Route::Read(Question::User(_)) => "user",
            Route::Read(Question::Users) => "users",
            Route::Read(Question::Events) => "events",
            Route::Read(Question::Stats) => "stats",
            Route::Read(Question::Timeline(_)) => "timeline",
            Route::Read(Question::Breakdown) => "breakdown",
            Route::Read(Question::Funnel) => "funnel",
            Route::Read(Question::Retention) => "retention",
            Route::Read(Question::Types) => "types",
            Route::Override(_) => "type",
            Route::Export => "export",
            Route::Refused => "refused",
            Route::Health => "healthz",
            Route::Metrics => "metrics",
            Route::Description => "openapi",
            Route::Nowhere => "nowhere",
        }
    }
}

impl Api {
    /// Puts it together.
    #[must_use]
    pub fn new(rooms: Rooms) -> Api {
        let Rooms { store, writer, desk, waiting, exports, figures, refused, door, transport } =
            rooms;
        let records = Arc::new(Records { figures, refused });
        Api { store, writer, desk, waiting, exports, records, door, transport }
    }

    /// Whether there is something for programs at a request's path.
    #[must_use]
    pub fn is_for(request: &Request) -> bool {
        Route::of(request.path()) != Route::Nowhere
    }

    /// Who calls; `how` tells those without a credential to give one.
    fn principal(&self, credential: Option<&str>, how: &str) -> Result<Principal, Reject> {
        let credential = credential.ok_or_else(|| Reject::new(Code::MissingToken, how))?;
        auth::identify(&self.store.accounts(), credential, clock::now()).ok_or_else(|| {
            Reject::new(
                Code::UnknownToken,
                "no account has this token or key; was it rotated? `triggerly account show` tells \
                 the token in force, and `triggerly account rotate NAME --only secret` makes a new key",
            )
        })
    }

    /// Who reads: only a `secret_key` may.
    fn reader(&self, request: &Request) -> Result<Principal, Reject> {
        let principal = self.principal(
            bearer(request),
            "give the header `Authorization: Bearer …` with the account's secret_key",
        )?;
        if principal.via == Via::Secret {
            return Ok(principal);
        }
        Err(Reject::new(
            Code::UnknownToken,
            "an api_token may only write; reading and erasing take the account's secret_key",
        ))
    }

    /// Calls `then` when the store has what a question asks it to have seen, or with why it hasn't; and with how far it
    /// is.
    fn when_seen(
        &self,
        min_seq: Result<Option<Seq>, Reject>,
        then: impl FnOnce(Seq, Result<(), Reject>) + Send + 'static,
    ) {
        let store = Arc::clone(&self.store);
        let then = move |seen| then(store.last_seq(), seen);
        match min_seq {
            Ok(seq) => self.waiting.put(seq.unwrap_or_default(), then),
            Err(reject) => then(Err(reject)),
        }
    }
}

impl Handler for Api {
    fn handle(&self, request: Request, answer: Answer) {
        let route = Route::of(request.path());
        let mut answer = Reply::new(&request, &route, answer, &self.records);
        if let Some(reject) = self.turned_away(&request, &route) {
            return match route {
                Route::Track(_) => {
                    let token = request.query().get("api_token").filter(|token| !token.is_empty());
                    let token = token.as_deref().or_else(|| bearer(&request));
                    if let Ok(principal) = self.principal(token, "") {
                        answer.belongs_to(principal.account);
                    }
                    track::refuse(&request, &reject, answer);
                }
                _ => answer.send(&answer::problem(&reject)),
            };
        }
        match route {
            Route::Track(kind) => self.track(kind, &request, answer),
            Route::Read(question)
                if request.method == Method::Delete && question.is_erasable() =>
            {
                self.erase(&question, &request, answer);
            }
            Route::Read(question) => self.read(question, request, answer),
            Route::Override(overridden) => self.set_type(overridden, &request, answer),
            Route::Export => self.export(&request, answer),
            Route::Refused => answer.send(&self.last_refused(&request)),
            Route::Metrics => answer.send(&self.metrics(&request)),
            Route::Health => answer.send(&self.health(&request)),
            Route::Description => answer.send(&openapi::description(&request)),
            Route::Nowhere => answer.send(&answer::problem(&Reject::new(
                Code::NotFound,
                "there is nothing at this path; tracking is at /v1/events/track and /v1/users/track",
            ))),
        }
    }

    fn refuse(&self, fault: Fault, request: Option<&Request>) -> Response {
        let reject = door::refusal(fault);
        match request {
            Some(request) if !matches!(Route::of(request.path()), Route::Track(_)) => {
                answer::problem(&reject)
            }
            // Without a head it may have been a tracking call, so any page may read why it failed.
            Some(request) => track::refusal(request, &reject),
            None => answer::problem(&reject).with_header("Access-Control-Allow-Origin", "*"),
        }
    }
}

/// The credential of the `Authorization` header. One that isn't Bearer is none.
fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl Api {
    /// Why a request isn't looked at any further.
    fn turned_away(&self, request: &Request, route: &Route) -> Option<Reject> {
        // Who watches the server has to be told whatever else comes from there.
        let is_counted = *route != Route::Health;
        let counted =
            if is_counted { self.door.call(self.door.client(request), request) } else { Ok(()) };
        counted.err().or_else(|| door::too_large(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let user = |id: &str| Route::Read(Question::User(id.to_owned()));
        let timeline = |id: &str| Route::Read(Question::Timeline(id.to_owned()));
        let overridden = |kind: &str, attribute: &str| {
            Route::Override(Overridden { kind: kind.to_owned(), attribute: attribute.to_owned() })
        };
        for (path, route) in [
            ("/v1/events/track", Route::Track(Kind::Event)),
            ("/v1/events/track/", Route::Track(Kind::Event)),
            ("/v1/users/track", Route::Track(Kind::User)),
            ("/v1/users/track//", Route::Nowhere),
            ("/v1/users/%74rack", user("track")),
            ("/v1/users/a%2Fb%20c", user("a/b c")),
            ("/v1/users/a/b", Route::Nowhere),
            ("/v1/users/%FF", Route::Nowhere),
            ("/v1/users/%EF%BF%BD", user("\u{fffd}")),
            ("/v1/users/a%C3/timeline", Route::Nowhere),
            ("/v1/types/user/%FF", Route::Nowhere),
            ("/v1/types/event:%FF/a", Route::Nowhere),
            ("/v1/users/a/timeline", timeline("a")),
            ("/v1/users/a/timeline/", timeline("a")),
            ("/v1/users/a%2Fb/timeline", timeline("a/b")),
            ("/v1/users/track/timeline", timeline("track")),
            ("/v1/users/timeline", user("timeline")),
            ("/v1/users/a%2Ftimeline", user("a/timeline")),
            ("/v1/users/a/%74imeline", Route::Nowhere),
            ("/v1/users//timeline", Route::Nowhere),
            ("/v1/users/a/timeline/b", Route::Nowhere),
            ("/v1/breakdown", Route::Read(Question::Breakdown)),
            ("/v1/funnel/", Route::Read(Question::Funnel)),
            ("/v1/retention", Route::Read(Question::Retention)),
            ("/v1/types", Route::Read(Question::Types)),
            ("/v1/types/", Route::Read(Question::Types)),
            ("/v1/types/user", Route::Nowhere),
            ("/v1/types/user/", Route::Nowhere),
            ("/v1/types/user/plan", overridden("user", "plan")),
            ("/v1/types/event%3Abuy%20now/a%2Fb.c", overridden("event:buy now", "a/b.c")),
            ("/v1/types/user/a/b", Route::Nowhere),
            ("/v1/users", Route::Read(Question::Users)),
            ("/v1/users/", Route::Read(Question::Users)),
            ("/v1/events", Route::Read(Question::Events)),
            ("/v1/stats", Route::Read(Question::Stats)),
            ("/v1/export", Route::Export),
            ("/v1/refused", Route::Refused),
            ("/metrics", Route::Metrics),
            ("/healthz", Route::Health),
            ("/openapi.json", Route::Description),
            ("/V1/events", Route::Nowhere),
            ("", Route::Nowhere),
            ("/", Route::Nowhere),
            ("*", Route::Nowhere),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn credentials() {
        for (value, expected) in [
            ("Bearer x", Some("x")),
            ("bearer  x ", Some("x")),
            ("Basic x", None),
            ("Bearer", None),
            ("Bearer  ", None),
            ("", None),
            ("x", None),
        ] {
            let request = Request::new(Method::Get, "/").with_header("Authorization", value);
            assert_eq!(bearer(&request), expected, "{value:?}");
        }
        assert_eq!(bearer(&Request::new(Method::Get, "/?api_token=q")), None);
    }
}
