//! Pieces of code to copy, each of which tracks something for one account as it stands.
//!
//! Promises that nothing of an address or a token can end the text or the attribute that it stands in, in any of
//! the languages. Pure. The code is text: whatever shows it on a page escapes it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::ApiToken;

/// A piece of code to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// What tells it from the others, as a part of a page's address.
    pub slug: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub purpose: &'static str,
    /// What it is written in, as the languages of fenced blocks are called: `html`, `sh`, `js`, `python`, `ruby`.
    pub language: &'static str,
    /// The code, with a line break behind each line but the last.
    pub code: String,
}

/// What stands in a mail where the id of each reader belongs.
pub const READER_ID: &str = "READER_ID";

/// All but what an address needs, and what has no meaning in any of the languages.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'[')
    .remove(b']')
    .remove(b'%');

/// The snippets for the account with this token, on a server that is reached at `address`, which has the scheme
/// and, where a proxy has the server under a path, that path: `https://example.com/sub`.
#[must_use]
pub fn snippets(address: &str, token: &ApiToken) -> [Snippet; 7] {
    let address = utf8_percent_encode(address.trim_end_matches('/'), UNSAFE).to_string();
    let filled = |code: &str| {
        code.trim().replace("{address}", &address).replace("{token}", &token.to_string())
    };
    let pixel = |data: &str, more: &str| {
        filled(&format!(
            "<img src=\"{{address}}/v1/events/track?api_token={{token}}&amp;data={data}&amp;image=1\" \
             width=\"1\" height=\"1\" alt=\"\" {more}>"
        ))
    };
    [
        Snippet {
            slug: "script",
            name: "Script",
            purpose: "Counts page views of a site, with their title and where the visitor came from, and lets the \
                      page say triggerly.track(\"sign-up\", { plan: \"pro\" }). It belongs at the end of the head \
                      of each page.",
            language: "html",
            code: filled(r#"<script async src="{address}/t.js" data-token="{token}"></script>"#),
        },
        Snippet {
            slug: "pixel",
            name: "Pixel",
            purpose: "Counts views of a page without JavaScript, wherever HTML can be put.",
            language: "html",
            code: pixel(
                &utf8_percent_encode(&STANDARD.encode(PAGE_VIEW), NON_ALPHANUMERIC).to_string(),
                // Else browsers tell of the page's address only the host.
                "referrerpolicy=\"no-referrer-when-downgrade\"",
            ),
        },
        Snippet {
            slug: "e-mail",
            name: "E-mail",
            purpose: "Tells that a mail was opened, and by whom. It belongs at the end of the mail's HTML, in each \
                      mail with the reader's id, URL-encoded, in place of READER_ID.",
            language: "html",
            code: pixel(
                // Base64 would have no place to put the id in.
                &utf8_percent_encode(E_MAIL_OPENED, NON_ALPHANUMERIC)
                    .to_string()
                    .replace("READER%5FID", READER_ID),
                "style=\"display:block;border:0\"",
            ),
        },
        Snippet {
            slug: "javascript",
            name: "JavaScript",
            purpose: "Tracks users and events from a page's own script, or from Node.",
            language: "js",
            code: filled(JAVASCRIPT),
        },
        Snippet {
            slug: "curl",
            name: "curl",
            purpose: "Tracks users and events from a shell.",
            language: "sh",
            code: filled(CURL),
        },
        Snippet {
            slug: "python",
            name: "Python",
            purpose: "Tracks users and events from a program in Python, with its standard library alone.",
            language: "python",
            code: filled(PYTHON),
        },
        Snippet {
            slug: "ruby",
            name: "Ruby",
            purpose: "Tracks users and events from a program in Ruby, with its standard library alone.",
            language: "ruby",
            code: filled(RUBY),
        },
    ]
}

const PAGE_VIEW: &str = r#"{"type":"page view"}"#;

const E_MAIL_OPENED: &str =
    r#"{"type":"e-mail opened","user_id":"READER_ID","campaign":"welcome"}"#;

const JAVASCRIPT: &str = r#"
function track(kind, object) {
  const url = `{address}/v1/${kind}/track?api_token={token}`;
  // With keepalive it is sent though the page is left.
  return fetch(url, { method: "POST", body: JSON.stringify(object), keepalive: true });
}

track("users", { id: "zoe@example.com", name: "Zoë", plan: "pro" });
track("events", { type: "purchase", user_id: "zoe@example.com", item: "Tea ☕", price: 9.5 });
"#;

const CURL: &str = r#"
track() { # KIND, JSON
  curl -sS --fail-with-body '{address}/v1/'"$1"'/track' \
    -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' --data "$2"
}

track users '{"id": "zoe@example.com", "name": "Zoë", "plan": "pro"}'
track events '{"type": "purchase", "user_id": "zoe@example.com", "item": "Tea ☕", "price": 9.5}'
"#;

const PYTHON: &str = r#"
import json
from urllib.request import Request, urlopen

def track(kind, **attributes):
    headers = {"Authorization": "Bearer {token}", "Content-Type": "application/json"}
    request = Request(f"{address}/v1/{kind}/track", json.dumps(attributes).encode(), headers)
    urlopen(request, timeout=10).close()  # raises if refused

track("users", id="zoe@example.com", name="Zoë", plan="pro")
track("events", type="purchase", user_id="zoe@example.com", item="Tea ☕", price=9.5)
"#;

const RUBY: &str = r##"
require "json"
require "net/http"

def track(kind, **attributes)
  headers = { "Authorization" => "Bearer {token}", "Content-Type" => "application/json" }
  uri = URI("{address}/v1/#{kind}/track")
  Net::HTTP.post(uri, attributes.to_json, headers).value # raises if refused
end

track "users", id: "zoe@example.com", name: "Zoë", plan: "pro"
track "events", type: "purchase", user_id: "zoe@example.com", item: "Tea ☕", price: 9.5
"##;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn of(address: &str) -> [Snippet; 7] {
        snippets(address, &ApiToken::parse(TOKEN).unwrap())
    }

    fn code(address: &str, slug: &str) -> String {
        of(address).into_iter().find(|snippet| snippet.slug == slug).unwrap().code
    }

    #[test]
    fn pieces_of_html_to_the_letter() {
        let tracked = format!("https://host:8443/sub/v1/events/track?api_token={TOKEN}&amp;data=");
        for (slug, expected) in [
            (
                "script",
                format!(
                    "<script async src=\"https://host:8443/sub/t.js\" data-token=\"{TOKEN}\"></script>"
                ),
            ),
            (
                "pixel",
                format!(
                    "<img src=\"{tracked}eyJ0eXBlIjoicGFnZSB2aWV3In0%3D&amp;image=1\" width=\"1\" height=\"1\" \
                     alt=\"\" referrerpolicy=\"no-referrer-when-downgrade\">"
                ),
            ),
            (
                "e-mail",
                format!(
                    "<img src=\"{tracked}%7B%22type%22%3A%22e%2Dmail%20opened%22%2C%22user%5Fid%22%3A%22READER_ID%22\
                     %2C%22campaign%22%3A%22welcome%22%7D&amp;image=1\" width=\"1\" height=\"1\" alt=\"\" \
                     style=\"display:block;border:0\">"
                ),
            ),
        ] {
            for address in ["https://host:8443/sub", "https://host:8443/sub/"] {
                assert_eq!(code(address, slug), expected);
            }
        }
    }

    #[test]
    fn all_name_the_address_and_the_token_and_are_told_apart() {
        let snippets = of("http://[::1]:8080");
        for snippet in &snippets {
            assert!(snippet.code.contains("http://[::1]:8080/") && snippet.code.contains(TOKEN));
            assert!(!snippet.code.contains("{address}") && !snippet.code.contains("{token}"));
            assert_eq!(snippet.code.trim(), snippet.code);
            let same = snippets
                .iter()
                .filter(|other| other.slug == snippet.slug || other.name == snippet.name);
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn no_address_ends_what_it_stands_in() {
        let hostile = "https://host/\"'`\\><&;${x}#{x}\n\u{202e}ä{token}";
        let encoded = "https://host/%22%27%60%5C%3E%3C%26%3B%24%7Bx%7D%23%7Bx%7D%0A%E2%80%AE%C3%A4%7Btoken%7D";
        for (plain, snippet) in of("https://host").iter().zip(of(hostile)) {
            assert_eq!(snippet.code, plain.code.replace("https://host", encoded));
        }
    }
}
