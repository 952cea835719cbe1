//! A store with a believable small site in it: three thousand events of the last sixty days with what browsers told
//! beside them, three hundred users, some calls that were refused, and a type that a person has set.
//!
//! Include it by `#[path = "support/small_site.rs"] mod small_site;` beside `mod support;`.

#[path = "../../benches/generator/mod.rs"]
mod generator;

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};
use triggerly::clock;
use triggerly::model::Date;

use crate::support::furnished::run;
use crate::support::server::Server;
use crate::support::{escape, request};

/// Days of which the events are, up to now.
pub const DAYS: i64 = 60;

/// All users, of whom not everybody did something.
pub const USERS: u64 = 300;

const DAY_MILLIS: i64 = 86_400_000;

/// Of so many events over two years about three thousand are in the first sixty days.
const OF_TWO_YEARS: u64 = 36_500;

/// Puts all of it into the account of a server that runs; the same again for the same seed, but for the dates.
pub fn furnish(server: &Server, seed: u64) {
    let files = tempfile::tempdir().expect("a folder");
    let (users, events) = (files.path().join("users.jsonl"), files.path().join("events.jsonl"));
    std::fs::write(&users, user_lines(seed)).expect("room");
    std::fs::write(&events, event_lines(seed, clock::now())).expect("room");
    import(server, "users", &users);
    import(server, "events", &events);
    be_wrong(server);
    // Widths are numbers; here they count as texts.
    set_type(server, "event:page view", "width", "String");
}

fn import(server: &Server, what: &str, file: &Path) {
    let file = file.display().to_string();
    let done = run(&server.dir, &["import", what, &file]);
    assert!(done.status.success(), "{done:?}");
}

fn user_lines(seed: u64) -> String {
    let mut lines = String::new();
    for (id, patch) in generator::users(seed, USERS) {
        let _ = writeln!(lines, r#"{{"id":"{id}",{}"#, &patch[1..]);
    }
    lines
}

/// As an export has them, the last one now.
fn event_lines(seed: u64, now: Date) -> String {
    let span = DAYS * DAY_MILLIS;
    let later = now.millis() - generator::FROM - span;
    let mut lines = String::new();
    let all = generator::events(seed, OF_TWO_YEARS, USERS);
    let within = all.take_while(|event| event.date < generator::FROM + span);
    for (seq, event) in (1..).zip(within) {
        let date = Date::from_millis(event.date + later);
        let user_id = event.user_id.map_or(Value::Null, Value::from);
        let (kind, attributes) = (event.kind, event.attributes);
        let _ = write!(
            lines,
            r#"{{"seq":{seq},"type":"{kind}","user_id":{user_id},"date":"{date}","received_at":"{date}","attributes":{attributes}"#
        );
        if let Some(context) = event.context {
            let _ = write!(lines, r#","context":{context}"#);
        }
        lines.push_str("}\n");
    }
    lines
}

/// Calls as people get them wrong.
fn be_wrong(server: &Server) {
    let page = [
        ("Referer", "https://cafe.example/checkout"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ];
    let token = &server.api_token;
    for (kind, data, status) in [
        ("events", Some(r#"{"name":"purchase","total":12.5}"#), 400),
        ("events", Some(r#"{"type":"purchase","date":"last Tuesday"}"#), 400),
        ("events", Some(r#"{"type":"purchase","total":}"#), 400),
        ("events", Some(r#"["purchase"]"#), 400),
        ("events", None, 400),
        ("users", Some(r#"{"email":"anna@example.com"}"#), 400),
    ] {
        let data = data.map_or_else(String::new, |data| format!("&data={}", escape(data)));
        let target = format!("/v1/{kind}/track?api_token={token}{data}&image=1");
        let reply = request(server.address, "GET", &target, &page);
        assert_eq!(reply.status, status, "{target}: {reply:?}");
    }
}

/// Sets what an attribute counts as.
pub fn set_type(server: &Server, kind: &str, attribute: &str, name: &str) {
    let target = format!("/v1/types/{}/{}", escape(kind), escape(attribute));
    let bearer = format!("Bearer {}", server.secret_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({ "type": name }).to_string();
    let mut text = format!("PUT {target} HTTP/1.1\r\nHost: {}\r\n", server.address);
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = crate::support::raw(server.address, text.as_bytes());
    let reply = crate::support::parse(&answer).expect("an answer");
    assert!((200..300).contains(&reply.status), "{target}: {reply:?}");
}
