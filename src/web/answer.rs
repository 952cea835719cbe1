//! Answers of the pages: their headers, and the page that says what is wrong.
//!
//! Promises that a page runs no script, takes no style and asks for nothing but from this server, isn't shown
//! within another, isn't kept by any cache, and tells no other site where somebody came from.

use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::frame::Frame;
use super::visit::Entrance;
use super::{Rooms, assets, visit};
use crate::asking::Failure;
use crate::http::{Request, Response};
use crate::ingest::{Code, Reject};
use crate::store::Refusal;

/// What a page may load and do: nothing but what comes from this server (Content Security Policy, level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What isn't escaped in a value of a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as a value of a query, or a piece of a path.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A path with a query of these names and values; what is empty is left out.
pub(super) fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let sign = if address.contains('?') { '&' } else { '?' };
        address.push_str(&format!("{sign}{name}={}", escaped(value)));
    }
    address
}

/// The headers that all answers have.
pub(super) fn guarded(response: Response) -> Response {
    response
        .with_header("Content-Security-Policy", POLICY)
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "same-origin")
        .with_header("Cross-Origin-Opener-Policy", "same-origin")
        .with_header("Cross-Origin-Resource-Policy", "same-origin")
        .with_header("Cache-Control", "no-store")
}

/// A page.
pub(super) fn page(status: u16, template: &impl Template) -> Result<Response, Failure> {
    let text = template.render().map_err(|error| {
        Reject::new(Code::Internal, format!("The page can't be written: {error}"))
    })?;
    Ok(guarded(Response::new(status, "text/html; charset=utf-8", text.into_bytes())))
}

/// Has the browser load the page that its header `Location` is to name.
pub(super) fn moved() -> Response {
    guarded(Response::new(303, "", Vec::new()))
}

/// Has the browser load another page.
pub(super) fn see(path: &str) -> Response {
    moved().with_header("Location", path.to_owned())
}

/// Why a change was not stored, as whoever asked for it is told.
pub(super) fn refused(refusal: Refusal) -> Reject {
    match refusal {
        // These say what the person asked for and can't have.
        Refusal::Person(_) | Refusal::NameTaken(_) | Refusal::TooManyTypes => {
            Reject::new(Code::InvalidParameter, refusal.to_string())
        }
        other => other.into(),
    }
}

/// What is made if a page can't be: too much waits, or the server stops.
pub(super) struct Lost {
    frame: Frame,
}

impl Lost {
    pub fn page(self, reject: &Reject) -> Response {
        Problem::of(reject).page(self.frame)
    }
}

/// Keeps what [`Lost`] needs.
pub(super) fn lost(rooms: &Rooms, entrance: &Entrance) -> Lost {
    Lost { frame: entrance.frame(rooms, "") }
}

/// What is wrong, to be shown.
pub(super) struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Why, for the records.
    pub code: &'static str,
    /// Why, for people.
    pub detail: String,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u32>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    detail: String,
}

impl Problem {
    pub fn of(reject: &Reject) -> Problem {
        Problem {
            status: reject.code.status(),
            code: reject.code.name(),
            detail: sentence(&reject.detail),
            retry_after: reject.retry_after_seconds.or(reject.code.retry_after_seconds()),
        }
    }

    /// The page. A frame without a title gets that of the status.
    pub fn page(self, mut frame: Frame) -> Response {
        let Problem { status, code, detail, retry_after } = self;
        if frame.title.is_empty() {
            frame.title = title(status).to_owned();
        }
        let template = ProblemPage { frame, detail: detail.clone() };
        let plain = || guarded(Response::new(status, "text/plain", detail.clone().into_bytes()));
        let response = page(status, &template).unwrap_or_else(|_| plain());
        let response = response.with_reason(code, detail);
        match retry_after {
            Some(seconds) => response.with_header("Retry-After", seconds.to_string()),
            None => response,
        }
    }
}

/// A refusal as a sentence of a page.
pub(super) fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if detail.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "That can't be answered",
        401 => "Signed out",
        403 => "Not allowed",
        404 => "Nothing here",
        405 => "Not this way",
        413 | 414 | 431 => "Too large",
        429 => "Too many calls",
        503 => "Not now",
        _ => "Something went wrong",
    }
}

/// A page that says what is wrong before it is known who asks.
pub(super) fn plain(rooms: &Rooms, request: &Request, reject: &Reject) -> Response {
    let frame = Frame {
        base: visit::url(rooms, request).base().to_owned(),
        css: assets::CSS.name(),
        js: assets::JS.name(),
        icon: assets::ICON.name(),
        ..Frame::default()
    };
    Problem::of(reject).page(frame)
}
