//! Answers that more than one call gives.

use serde::Serialize;

use crate::http::{Method, Response};
use crate::ingest::{Code, Reject};
use crate::model::Seq;

#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

/// A refusal as `application/problem+json` (RFC 9457).
pub(super) fn problem(reject: &Reject) -> Response {
    let problem = Problem {
        title: reject.code.title(),
        status: reject.code.status(),
        detail: &reject.detail,
        code: reject.code.name(),
        index: reject.index,
    };
    // Texts and numbers can't fail to be written.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    with_hints(Response::new(reject.code.status(), "application/problem+json", body), reject)
}

/// The headers that a refusal's status asks for, whatever its body; and why it refuses, for the records.
pub(super) fn with_hints(response: Response, reject: &Reject) -> Response {
    let detail = match reject.index {
        Some(index) => format!("object {index}: {}", reject.detail),
        None => reject.detail.clone(),
    };
    let response = response.with_reason(reject.code.name(), detail);
    let seconds = reject.retry_after_seconds.or(reject.code.retry_after_seconds());
    match (reject.code, seconds) {
        (_, Some(seconds)) => response.with_header("Retry-After", seconds.to_string()),
        (Code::MissingToken | Code::UnknownToken, _) => {
            response.with_header("WWW-Authenticate", "Bearer")
        }
        (Code::UnsupportedMediaType, _) => response.with_header("Accept-Encoding", "gzip"),
        _ => response,
    }
}

/// Refuses a method; `refuse` makes the answer, which then says what is `allowed`.
pub(super) fn method_not_allowed(
    method: Method,
    allowed: &'static str,
    refuse: impl FnOnce(&Reject) -> Response,
) -> Response {
    let method = if method == Method::Head { "HEAD" } else { "this method" };
    let detail = format!("{method} is not answered here; allowed: {allowed}");
    refuse(&Reject::new(Code::MethodNotAllowed, detail)).with_header("Allow", allowed)
}

/// The same answer, with the position of the log that it is of: what was stored up to there is in what it says.
pub(super) fn as_of(response: Response, seq: Seq) -> Response {
    response.with_header("X-Triggerly-Seq", seq.to_string())
}

/// What a reading call found, as JSON.
pub(super) fn found(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => Response::json(200, text).with_header("Cache-Control", "no-store"),
        Err(error) => problem(&Reject::new(Code::Internal, error.to_string())),
    }
}
