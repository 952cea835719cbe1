//! Calls from outside, from the socket to what is kept of them: keys under which they count once, contexts,
//! how fast they may come, from which sites, what of them is refused, and what the figures say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "front_door/addresses.rs"]
mod addresses;
#[path = "front_door/contexts.rs"]
mod contexts;
#[path = "front_door/figures.rs"]
mod figures;
#[path = "front_door/keys.rs"]
mod keys;
#[path = "front_door/keys_kept.rs"]
mod keys_kept;
#[path = "front_door/rates.rs"]
mod rates;
#[path = "front_door/sites.rs"]
mod sites;

use std::path::Path;

use support::server::verb;
use support::{Reply, Server, base64, escape, post, request};

/// The same event sent in each way that there is; some of them send it as a batch of one.
const WAYS: [Way; 8] =
    [Way::Query, Way::Pixel, Way::Bearer, Way::Form, Way::Json, Way::List, Way::Lines, Way::Beacon];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Query,
    Pixel,
    Bearer,
    Form,
    Json,
    List,
    Lines,
    Beacon,
}

impl Way {
    fn is_image(self) -> bool {
        self == Way::Pixel
    }

    fn is_batch(self) -> bool {
        matches!(self, Way::List | Way::Lines)
    }

    /// Sends an object with these headers.
    fn send(self, server: &Server, kind: &str, json: &str, headers: &[(&str, &str)]) -> Reply {
        let bearer = format!("Bearer {}", server.api_token);
        let path = format!("/v1/{kind}/track");
        let with_token = format!("{path}?api_token={}", server.api_token);
        let data = format!("data={}", escape(&base64(json)));
        let with = |more: &[(&'static str, &str)]| -> Vec<(String, String)> {
            let own = headers.iter().chain(more);
            own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let get = |target: String, headers: Vec<(String, String)>| {
            request(server.address, "GET", &target, &lent(&headers))
        };
        let post = |target: &str, kind: &'static str, more: &[(&'static str, &str)], body: &str| {
            let headers = with(&[&[("Content-Type", kind)], more].concat());
            post(server.address, target, &lent(&headers), body.as_bytes())
        };
        let authorised = [("Authorization", &*bearer)];
        match self {
            Way::Query => get(format!("{with_token}&{data}"), with(&[])),
            Way::Pixel => get(format!("{with_token}&{data}&image=1"), with(&[])),
            Way::Bearer => get(format!("{path}?{data}"), with(&authorised)),
            Way::Form => {
                let form = format!("api_token={}&{data}", server.api_token);
                post(&path, "application/x-www-form-urlencoded", &[], &form)
            }
            Way::Json => post(&path, "application/json", &authorised, json),
            Way::List => post(&path, "application/json", &authorised, &format!("[{json}]")),
            Way::Lines => post(&path, "application/x-ndjson", &authorised, &format!("{json}\n")),
            Way::Beacon => post(&with_token, "text/plain;charset=UTF-8", &[], json),
        }
    }

    /// Checks that it was accepted, with so many objects in the answer if it was a batch.
    #[track_caller]
    fn check_accepted(self, reply: &Reply, count: u64) {
        assert_eq!(reply.status, 200, "{self:?}: {reply:?}");
        if self.is_image() {
            assert_eq!(reply.header("Content-Type"), Some("image/gif"), "{self:?}");
        } else if self.is_batch() {
            assert_eq!(reply.text(), format!(r#"{{"status":"ok","accepted":{count}}}"#));
        } else {
            assert_eq!(reply.text(), r#"{"status":"ok"}"#, "{self:?}");
        }
    }

    /// Checks that it was refused so, for a page to read.
    #[track_caller]
    fn check_refused(self, reply: &Reply, status: u16, code: &str) {
        assert_eq!(reply.status, status, "{self:?}: {reply:?}");
        assert!(reply.header("Access-Control-Allow-Origin").is_some(), "{self:?}: {reply:?}");
        if self.is_image() {
            assert_eq!(reply.header("Content-Type"), Some("image/gif"));
            assert_eq!(reply.header("X-Triggerly-Error"), Some(code));
        } else {
            assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
            assert_eq!(reply.code(), code, "{self:?}: {reply:?}");
        }
    }
}

fn lent(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// Runs a verb that has to succeed, and gives what it printed.
#[track_caller]
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
