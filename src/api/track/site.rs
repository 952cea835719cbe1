//! Which site a browser's call is from, and whether the account takes calls from there.

use crate::http::Request;
use crate::ingest::{Code, Reject};

/// Whether a browser made the call, for a page.
fn is_browsers(request: &Request, image: bool) -> bool {
    image || request.header("origin").is_some() || request.header("referer").is_some()
}

/// Refuses a browser's call unless the host that it is from is allowed. Without a list (`None`) each is, and
/// with one none is that can't be told where it is from. Calls of servers and scripts are not asked.
pub(super) fn check(
    request: &Request,
    image: bool,
    allows: Option<impl Fn(&str) -> bool>,
) -> Result<(), Reject> {
    let Some(allows) = allows.filter(|_| is_browsers(request, image)) else { return Ok(()) };
    let from = ["origin", "referer"].into_iter().find_map(|name| host(request.header(name)?));
    let detail = match from {
        Some(host) if allows(&host) => return Ok(()),
        Some(host) => format!(
            "the account takes no calls of browsers from {host:.255}; \
             `triggerly account sites` sets from where it does"
        ),
        None => {
            "the account takes calls of browsers from its own sites alone, and this one doesn't \
                 say where it is from: it has neither Origin nor Referer"
                .to_owned()
        }
    };
    Err(Reject::new(Code::ForbiddenSite, detail))
}

/// The host of a web address, in lower case, without port, brackets kept, no dot at its end.
fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.trim_ascii().split_once("://")?;
    if !["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let address = authority.rsplit('@').next()?;
    let host = match address.find(']') {
        Some(end) if address.starts_with('[') => &address[..=end],
        _ => address.split(':').next()?,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn hosts() {
        for (url, expected) in [
            ("https://a.example", Some("a.example")),
            ("HTTPS://A.Example:8443/b?c=//d#e", Some("a.example")),
            ("http://a.example.", Some("a.example")),
            ("http://a.example?x@b.example", Some("a.example")),
            ("http://a.example@b.example/", Some("b.example")),
            ("http://a.example\\@b.example/", Some("a.example")),
            ("http://[::1]:80/", Some("[::1]")),
            ("http://127.0.0.1:80", Some("127.0.0.1")),
            ("http://", None),
            ("http://:80", None),
            ("null", None),
            ("", None),
            ("about:client", None),
            ("chrome-extension://a.example/", None),
            ("a.example", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn only_browsers_are_asked_and_only_if_there_is_a_list() {
        let own = |host: &str| host == "a.example";
        for (origin, referer, image, allowed) in [
            (None, None, false, true),
            (None, None, true, false),
            (Some("https://a.example"), None, false, true),
            (Some("https://a.example"), Some("https://b.example/"), true, true),
            (Some("https://b.example"), Some("https://a.example/"), false, false),
            (None, Some("https://a.example/x"), true, true),
            (None, Some("https://b.example/?https://a.example"), true, false),
            (Some("null"), None, false, false),
            (Some("null"), Some("https://a.example/"), false, true),
            (None, Some(""), false, false),
            (Some("https://a.example.b.example"), None, false, false),
        ] {
            let mut request = Request::new(Method::Get, "/");
            for (name, value) in [("Origin", origin), ("Referer", referer)] {
                if let Some(value) = value {
                    request = request.with_header(name, value);
                }
            }
            let refused = check(&request, image, Some(own)).err().map(|reject| reject.code);
            assert_eq!(
                refused,
                (!allowed).then_some(Code::ForbiddenSite),
                "{origin:?} {referer:?}"
            );
            assert_eq!(check(&request, image, None::<fn(&str) -> bool>), Ok(()));
        }
    }
}
