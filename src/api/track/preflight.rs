//! `OPTIONS`: what a browser asks before it sends a page's call to us (Fetch standard, CORS protocol).

use super::METHODS;
use super::manner::Manner;
use crate::http::{Request, Response};

/// What calls may bear, where nobody asks for anything else.
const HEADERS: &str = "Authorization, Content-Type, Content-Encoding, Idempotency-Key";

/// Bytes of a list of headers that is said back.
const HEADERS_BYTES_MAX: usize = 1_024;

/// For how many seconds a browser need not ask again: a day, of which browsers take what they like.
const MAX_AGE_SECONDS: &str = "86400";

/// Everything asked for is allowed: the token says what a call may do, and no cookie is looked at.
pub(super) fn answer(request: &Request, manner: &Manner) -> Response {
    let asked = request.header("access-control-request-headers").filter(|list| is_list(list));
    let response = Response::new(204, "", Vec::new())
        .with_header("Allow", METHODS)
        .with_header("Access-Control-Allow-Methods", METHODS)
        .with_header("Access-Control-Allow-Headers", asked.unwrap_or(HEADERS).to_owned())
        .with_header("Access-Control-Max-Age", MAX_AGE_SECONDS)
        .with_header(
            "Vary",
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
        );
    let response = match request.header("access-control-request-private-network") {
        Some("true") => response.with_header("Access-Control-Allow-Private-Network", "true"),
        _ => response,
    };
    manner.allow_origin(response)
}

/// Whether it is a list of header names (RFC 9110, sections 5.1 and 5.6.2).
fn is_list(text: &str) -> bool {
    let is_token = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    text.len() <= HEADERS_BYTES_MAX && text.split(',').all(|name| is_token(name.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn what_is_asked_for_is_allowed_if_it_makes_sense() {
        for (asked, allowed) in [
            (None, HEADERS),
            (Some("content-type"), "content-type"),
            (Some("content-type, X-Mine"), "content-type, X-Mine"),
            (Some(""), HEADERS),
            (Some("a,,b"), HEADERS),
            (Some("a b"), HEADERS),
            (Some("a: b"), HEADERS),
            (Some(&"a".repeat(HEADERS_BYTES_MAX + 1)), HEADERS),
        ] {
            for (origin, private) in [(None, None), (Some("https://a.example"), Some("true"))] {
                let mut request = Request::new(Method::Options, "/");
                for (name, value) in [
                    ("Access-Control-Request-Headers", asked),
                    ("Origin", origin),
                    ("Access-Control-Request-Private-Network", private),
                ] {
                    if let Some(value) = value {
                        request = request.with_header(name, value);
                    }
                }
                let manner = Manner { image: false, origin: origin.map(str::to_owned) };
                let answer = answer(&request, &manner);
                assert_eq!((answer.status(), answer.body().len()), (204, 0));
                let header = |name: &str| answer.header(&format!("Access-Control-{name}"));
                assert_eq!(header("Allow-Headers"), Some(allowed));
                assert_eq!(header("Allow-Origin"), Some(origin.unwrap_or("*")));
                assert_eq!(header("Allow-Credentials"), origin.map(|_| "true"));
                assert_eq!(header("Allow-Methods"), Some("GET, POST, OPTIONS"));
                assert_eq!(header("Allow-Private-Network"), private);
                assert_eq!(header("Max-Age"), Some("86400"));
            }
        }
    }
}
