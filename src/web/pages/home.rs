//! `/`: where one goes from there.

use askama::Template;

use crate::asking::Failure;
use crate::http::Response;
use crate::web::frame::Frame;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "home.html")]
struct Page {
    frame: Frame,
}

/// A page that has nothing but its frame's sentence.
#[derive(Template)]
#[template(path = "nothing.html")]
pub(super) struct Nothing {
    pub frame: Frame,
}

/// Who is signed in goes to the first of his accounts, who isn't to the page for that.
pub(in crate::web) fn home(visit: &Visit<'_>) -> Result<Response, Failure> {
    let base = visit.url().base();
    if !visit.is_signed_in() {
        return Ok(visit.see(&format!("{base}/sign-in")));
    }
    let frame = visit.frame("No account yet");
    let first = frame.person.as_ref().and_then(|person| person.accounts.first());
    match first {
        Some(account) => Ok(visit.see(&account.href(base))),
        None => visit.page(&Page { frame }),
    }
}
