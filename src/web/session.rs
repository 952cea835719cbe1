//! Sessions as browsers have them: cookies, and the mark by which a form of ours is known.
//!
//! A cookie holds a random token. Of a session's the store keeps the hash. The mark of a form is a keyed hash under
//! that token, so that nobody who doesn't have the cookie can make one, and nothing of it needs to be kept (a
//! synchroniser token; see OWASP's cheat sheet on cross-site request forgery). Who isn't signed in has a token
//! too, which belongs to nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::http::Request;
use crate::model::limits::SESSION_DAYS;
use crate::public_url::PublicUrl;

/// The cookie of a session.
pub(super) const SESSION: &str = "triggerly_session";

/// The cookie of who isn't signed in.
pub(super) const VISITOR: &str = "triggerly_form";

/// Bytes of a cookie's value; ours are 43.
const VALUE_BYTES_MAX: usize = 64;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// What a cookie is called. By the prefix a browser takes it from this host alone, over `https`: no neighbouring host can
/// put one of its own in the place (RFC 6265bis, section 4.1.3.2). Such a cookie is of the whole host.
fn called(name: &str, url: &PublicUrl) -> String {
    let prefix = if url.is_secure() && url.base().is_empty() { "__Host-" } else { "" };
    format!("{prefix}{name}")
}

/// What a cookie holds, if the browser sent it.
pub(super) fn cookie<'r>(request: &'r Request, name: &str, url: &PublicUrl) -> Option<&'r str> {
    let name = called(name, url);
    let mut pairs = request.header_lines("cookie").flat_map(|line| line.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(&*name)?.strip_prefix('='))?;
    (1..=VALUE_BYTES_MAX).contains(&value.len()).then_some(value)
}

/// What sets a cookie. A session's lives as long as the session, the other as long as the browser.
pub(super) fn set_cookie(name: &str, value: &str, url: &PublicUrl) -> String {
    let age =
        if name == SESSION { format!("; Max-Age={}", SESSION_DAYS * DAY) } else { String::new() };
    format!("{}={value}{age}{}", called(name, url), attributes(url))
}

/// What takes a cookie away.
pub(super) fn end_cookie(name: &str, url: &PublicUrl) -> String {
    format!("{}=; Max-Age=0{}", called(name, url), attributes(url))
}

fn attributes(url: &PublicUrl) -> String {
    let secure = if url.is_secure() { "; Secure" } else { "" };
    // Lax: who follows a link from a mail is still signed in. Forms have their mark.
    format!("; Path={}/; HttpOnly; SameSite=Lax{secure}", url.base())
}

/// The mark that forms bear of whose cookie holds this token.
pub(super) fn mark(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(keyed(token))
}

/// Whether a form bears the mark.
pub(super) fn is_marked(token: &str, given: &str) -> bool {
    let given = URL_SAFE_NO_PAD.decode(given).unwrap_or_default();
    keyed(token)[..].ct_eq(&given[..]).into()
}

fn keyed(token: &str) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(token.as_bytes()) {
        Ok(mut mac) => {
            mac.update(b"form of triggerly");
            mac.finalize().into_bytes().into()
        }
        // It takes keys of any length.
        Err(_) => [0; 32],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn cookies() {
        for (header, value) in [
            ("triggerly_session=abc", Some("abc")),
            ("a=b; triggerly_session=abc; c=d", Some("abc")),
            ("triggerly_session=", None),
            ("xtriggerly_session=abc", None),
            ("triggerly_sessions=abc", None),
            ("", None),
        ] {
            let request = Request::new(Method::Get, "/").with_header("Cookie", header);
            assert_eq!(cookie(&request, SESSION, &PublicUrl::localhost()), value, "{header}");
        }
        let long = format!("triggerly_session={}", "x".repeat(65));
        let request = Request::new(Method::Get, "/").with_header("Cookie", &long);
        assert_eq!(cookie(&request, SESSION, &PublicUrl::localhost()), None);
        let url = PublicUrl::parse("https://example.com/sub").expect("an address");
        assert_eq!(
            set_cookie(SESSION, "abc", &url),
            "triggerly_session=abc; Max-Age=2592000; Path=/sub/; HttpOnly; SameSite=Lax; Secure"
        );
        let url = PublicUrl::parse("https://example.com").expect("an address");
        assert_eq!(
            set_cookie(VISITOR, "abc", &url),
            "__Host-triggerly_form=abc; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(end_cookie(SESSION, &url).starts_with("__Host-triggerly_session=; Max-Age=0;"));
        // What a neighbour put beside it.
        let header = "triggerly_session=theirs; __Host-triggerly_session=ours";
        let request = Request::new(Method::Get, "/").with_header("Cookie", header);
        assert_eq!(cookie(&request, SESSION, &url), Some("ours"));
        let url = PublicUrl::of_host("localhost:8080", false).expect("a host");
        assert_eq!(
            set_cookie(VISITOR, "abc", &url),
            "triggerly_form=abc; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn marks_are_of_one_token() {
        let ours = mark("one");
        assert!(is_marked("one", &ours));
        for wrong in ["", "x", &mark("two"), &ours[1..], &format!("{ours}A")] {
            assert!(!is_marked("one", wrong), "{wrong}");
        }
    }
}
