//! `/sign-in` and `/sign-out`.
//!
//! Whether there is a person of an e-mail isn't told, nor does the time say: a wrong e-mail has a password hashed
//! as well. Who fails often waits, whether there is such a person or not.

use askama::Template;

use super::super::frame::{Frame, Notice};
use crate::asking::Failure;
use crate::auth::{self, password};
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::model::person::{Email, PersonChange, PersonId, TokenHash};
use crate::store::Draft;
use crate::web::session;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    frame: Frame,
    mark: String,
    email: String,
    next: String,
}

/// The form.
pub(in crate::web) fn form(visit: &Visit<'_>) -> Result<Response, Failure> {
    let next = visit.request().query().get("next").unwrap_or_default().into_owned();
    if visit.is_signed_in() {
        return Ok(visit.see(&onward(visit, &next)));
    }
    let done = [
        ("out", "You are signed out."),
        ("link", "The link has done its work. Sign in with your e-mail and password."),
    ];
    let mut frame = visit.frame("Sign in");
    frame.notice = visit.done(&done);
    visit.page(&Page { frame, mark: visit.mark(), email: String::new(), next })
}

/// Checks who it is, and begins a session.
pub(in crate::web) fn sign_in(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (given, next) = (visit.field("email"), visit.field("next"));
    let refused = |status, text: String| {
        let mut frame = visit.frame("Sign in");
        frame.notice = Some(Notice { is_error: true, text });
        let (email, next) = (given.clone().into_owned(), next.clone().into_owned());
        visit.page_as(status, &Page { frame, mark: visit.mark(), email, next })
    };
    let email = Email::new(given.trim());
    let key = email.as_ref().map_or_else(|_| String::new(), Email::key);
    let client = visit.rooms.door.client(visit.request());
    if let Some(seconds) = visit.rooms.attempts.wait(&key, client, visit.at()) {
        let text = format!("There were too many wrong tries. Try again in {seconds} seconds.");
        return refused(429, text).map(|page| page.with_header("Retry-After", seconds.to_string()));
    }
    let people = visit.rooms.store.people();
    let person = email.ok().and_then(|email| people.by_email(&email).cloned());
    let hash = person.as_ref().map(|person| &person.password);
    let is_right = password::verify(hash, &visit.field("password"));
    let Some(person) = person.filter(|_| is_right) else {
        visit.rooms.attempts.failed(&key, client, visit.at());
        return refused(403, "This e-mail and this password don't belong together.".to_owned());
    };
    visit.rooms.attempts.succeeded(&key, client, visit.at());
    let response = begin(visit, person.id)?;
    Ok(response.with_header("Location", onward(visit, &next)))
}

/// Ends the session.
pub(in crate::web) fn sign_out(visit: &Visit<'_>) -> Result<Response, Failure> {
    let change = PersonChange::SessionEnded { hash: visit.who()?.session };
    visit.change(vec![Draft::person(change, visit.at())])?;
    let response = visit.see(&format!("{}/sign-in?done=out", visit.url().base()));
    Ok(response.with_header("Set-Cookie", session::end_cookie(session::SESSION, visit.url())))
}

/// Begins a session of a person: an answer that sets its cookie, and leads nowhere yet.
pub(super) fn begin(visit: &Visit<'_>, person: PersonId) -> Result<Response, Failure> {
    let token = auth::new_token().map_err(no_randomness)?;
    let label = visit.rooms.door.browser(visit.request());
    let change = PersonChange::SessionBegun { person, hash: TokenHash::of(&token), label: &label };
    visit.change(vec![Draft::person(change, visit.at())])?;
    let cookie = session::set_cookie(session::SESSION, &token, visit.url());
    Ok(visit.moved().with_header("Set-Cookie", cookie))
}

pub(super) fn no_randomness(error: impl std::fmt::Display) -> Reject {
    Reject::new(Code::Internal, format!("The operating system has no randomness: {error}"))
}

/// Where to after signing in: a page of ours, else the first one.
fn onward(visit: &Visit<'_>, next: &str) -> String {
    // Browsers take tabs and line breaks out of an address, and a backslash for a slash.
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_ours = next.starts_with('/') && !next.starts_with("//") && is_plain;
    format!("{}{}", visit.url().base(), if is_ours { next } else { "/" })
}
