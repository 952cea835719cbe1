//! The web pages: what a person sees of an account, and changes there.
//!
//! ```text
//! Request ─routes─> Route, what its path names ─visit─> Visit: who, which account ─page─> Response
//! ```
//! Pages are made on the server and work without JavaScript. Each is made by a job, like a question ([`asking`]), and
//! nothing but a form that bears its session's mark changes anything. HTTP ends here as it does in `api`, of which
//! these pages know nothing; nor do they know sled.

mod answer;
mod assets;
pub mod chart;
mod download;
mod erasure;
pub mod format;
pub mod frame;
mod json;
mod pages;
pub mod parts;
pub mod routes;
mod session;
pub mod snippets;
#[cfg(test)]
mod specimen;
pub mod tag;
mod values;
mod visit;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::asking::{self, Desk};
use crate::auth::attempts::Attempts;
use crate::calls::{Call, Figures};
use crate::clock;
use crate::door::{self, Door};
use crate::http::{Answer, Handler, Method, Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::{Jobs, Weight};
use crate::public_url::PublicUrl;
use crate::query::Stop;
use crate::refused::Refused;
use crate::store::{Store, Writer};
use answer::Problem;
use routes::{Found, Work};
use visit::{Entrance, Visit};

/// Bytes of a page's address, path and query: its links repeat it, and there may be many.
pub const ADDRESS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a form. The longest, of an account's sites, has a quarter of that.
pub const FORM_BYTES_MAX: usize = 128 * 1024;

/// What the pages work with.
pub struct Rooms {
    /// To read.
    pub store: Arc<Store>,
    /// To change.
    pub writer: Arc<Writer>,
    /// Has pages made.
    pub desk: Desk,
    /// Has passwords checked: few at a time, for each takes 19 MiB and some time.
    pub passwords: Desk,
    /// Threads for exports.
    pub exports: Arc<Jobs>,
    /// The last refused calls.
    pub refused: Arc<Refused>,
    /// What is counted of calls.
    pub figures: Arc<Figures>,
    /// What is asked of each call first.
    pub door: Arc<Door>,
    /// Wrong passwords.
    pub attempts: Attempts,
    /// Where it is reached from outside, if that was said.
    pub public_url: Option<PublicUrl>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Everything that answers requests for pages.
#[derive(Clone)]
pub struct Web {
    rooms: Arc<Rooms>,
}

impl Web {
    /// Puts it together.
    #[must_use]
    pub fn new(rooms: Rooms) -> Web {
        Web { rooms: Arc::new(rooms) }
    }

    /// Whether a request is one for these pages: there is one at its path, or a person asks for what isn't there.
    #[must_use]
    pub fn is_for(request: &Request) -> bool {
        routes::find(request.path()).is_some()
            || request.header("accept").is_some_and(|types| types.contains("text/html"))
    }

    /// Has the page made that a route leads to.
    fn make(&self, found: Found, request: Request, call: Call, answer: Answer) {
        let Found { route, values } = found;
        let (rooms, work) = (Arc::clone(&self.rooms), route.work);
        let entrance = match Entrance::of(&rooms, route, values, &request, clock::now()) {
            Ok(entrance) => entrance,
            Err(response) => return call.send(answer, &response),
        };
        match work {
            Work::Now(page) => {
                let stop = Stop::new(0, &|| false);
                let visit = Visit::new(&rooms, &request, &entrance, &stop);
                let response = page(&visit).unwrap_or_else(|why| problem(&visit, why));
                call.send(answer, &response);
            }
            // What would be in it isn't known before it is made.
            Work::Stream(_) if request.method == Method::Head => {
                call.send(answer, &answer::guarded(Response::new(200, "", Vec::new())));
            }
            Work::Stream(page) => page(&rooms, &request, &entrance, call, answer),
            Work::Job(weight, page) => {
                self.put(&rooms.desk, weight(&request), page, request, entrance, call, answer);
            }
            Work::Password(page) => {
                self.put(&rooms.passwords, Weight::Light, page, request, entrance, call, answer);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are all that a page is made from")]
    fn put(
        &self,
        desk: &Desk,
        weight: Weight,
        page: routes::Page,
        request: Request,
        entrance: Entrance,
        call: Call,
        answer: Answer,
    ) {
        let rooms = Arc::clone(&self.rooms);
        let lost = answer::lost(&rooms, &entrance);
        let find = move |stop: &Stop<'_>| {
            let visit = Visit::new(&rooms, &request, &entrance, stop);
            match page(&visit) {
                // It is begun again where more may be read.
                Err(why @ asking::Failure::TooMuch(_)) if weight == Weight::Light => Err(why),
                Err(why) => Ok(problem(&visit, why)),
                Ok(response) => Ok(response),
            }
        };
        desk.ask(weight, find, move |made| {
            call.send(answer, &made.unwrap_or_else(|reject| lost.page(&reject)));
        });
    }
}

/// Why a request is larger than any of a page's, before anything is made of it.
fn too_large(request: &Request) -> Option<Reject> {
    let (address, form) = (request.target_bytes(), request.body().len());
    let of = |code, what, bytes, most| {
        Reject::new(code, format!("{what} has {bytes} bytes, at most {most} are taken"))
    };
    if address > ADDRESS_BYTES_MAX {
        return Some(of(Code::UriTooLong, "the address", address, ADDRESS_BYTES_MAX));
    }
    let is_too_long = form > FORM_BYTES_MAX;
    is_too_long.then(|| of(Code::PayloadTooLarge, "the form", form, FORM_BYTES_MAX))
}

/// The page that says what is wrong.
fn problem(visit: &Visit<'_>, why: asking::Failure) -> Response {
    Problem::of(&why.into_reject()).page(visit.frame(""))
}

impl Handler for Web {
    fn handle(&self, request: Request, answer: Answer) {
        let found = routes::find(request.path());
        let (name, path) = found.as_ref().map_or(("page_nowhere", "(nowhere)"), |found| {
            (found.routes[0].name, found.routes[0].path)
        });
        let call = Call::new(request.method, name, || path.to_owned(), &self.rooms.figures);
        let client = self.rooms.door.client(&request);
        let counted = self.rooms.door.call(client, &request);
        let refused = counted.err().or_else(|| door::too_large(&request));
        if let Some(reject) = refused.or_else(|| too_large(&request)) {
            return call.send(answer, &answer::plain(&self.rooms, &request, &reject));
        }
        let Some(found) = found else {
            let reject = Reject::new(Code::NotFound, "There is no page at this address.");
            return call.send(answer, &answer::plain(&self.rooms, &request, &reject));
        };
        match found.of(request.method) {
            Ok(found) => self.make(found, request, call, answer),
            Err(allowed) => {
                let reject =
                    Reject::new(Code::MethodNotAllowed, format!("This address takes {allowed}."));
                let response = answer::plain(&self.rooms, &request, &reject);
                call.send(answer, &response.with_header("Allow", allowed));
            }
        }
    }

    fn refuse(&self, fault: crate::http::Fault, request: Option<&Request>) -> Response {
        let reject = door::refusal(fault);
        let nobody = Request::new(Method::Get, "/");
        answer::plain(&self.rooms, request.unwrap_or(&nobody), &reject)
    }
}
