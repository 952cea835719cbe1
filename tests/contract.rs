//! The contract of the tracking calls, case by case, over a socket.
//!
//! Promises that every row of `contract/track.txt` holds: what is accepted is read back text for
//! text, what is refused has its status and code, is told as a problem document, is told again as a
//! pixel to whoever asked for one and with CORS headers to every page, and leaves no trace. What
//! doesn't fit into a row follows below.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::value::RawValue;

use support::server::verb;
use support::{Reply, Server, base64, escape, post, request};

/// The pixel of 1x1, as browsers have to get it.
const GIF_HEAD: &[u8] = b"GIF89a\x01\0\x01\0";

/// What the tracking paths answer to.
const METHODS: &str = "GET, POST, OPTIONS";

/// What DATA stands for in a row.
const GOOD: &str = r#"{"type":"good"}"#;

/// A row of the table, taken apart.
struct Row {
    /// How to name it when it fails.
    line: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    outcome: Outcome,
}

enum Outcome {
    Refused {
        status: u16,
        code: String,
        index: Option<u64>,
        detail: String,
    },
    /// What is read back, and of a batch how many objects it has.
    Kept {
        pattern: String,
        count: Option<u64>,
    },
}

impl Row {
    fn parse(server: &Server, number: usize, line: &str) -> Row {
        let (call, outcome) = line.split_once(" => ").unwrap_or_else(|| panic!("{number}: {line}"));
        let (word, rest) = call.split_once(' ').unwrap_or_else(|| panic!("{number}: {line}"));
        let track = |kind: &str, data: &str| {
            format!("/v1/{kind}/track?api_token={}&data={data}", server.api_token)
        };
        let mut headers = Vec::new();
        let mut body = None;
        let mut send = |media: &str| {
            headers.push(("Content-Type".to_owned(), media.to_owned()));
            body = Some(bytes(rest));
            ("POST", format!("/v1/events/track?api_token={}", server.api_token))
        };
        let (method, target) = match word {
            "event" => ("GET", track("events", &escape(&base64(bytes(rest))))),
            "user" => ("GET", track("users", &escape(&base64(bytes(rest))))),
            "data" => ("GET", track("events", rest)),
            "json" => send("application/json"),
            "lines" => send("application/x-ndjson"),
            "form" => send("application/x-www-form-urlencoded"),
            "text" => send("text/plain;charset=UTF-8"),
            method => {
                let fill = |text: &str| {
                    text.replace("TOKEN", &server.api_token)
                        .replace("SECRET", &server.secret_key)
                        .replace("=DATA", &format!("={}", escape(&base64(GOOD))))
                };
                let (rest, sent) = match rest.split_once(" sends ") {
                    Some((rest, sent)) => (rest, Some(bytes(&fill(sent)))),
                    None => (rest, None),
                };
                body = sent;
                let mut parts = rest.split(" with ");
                let target = parts.next().unwrap_or_default();
                for named in parts {
                    let (name, value) = named.split_once(':').unwrap_or_else(|| panic!("{named}"));
                    headers.push((name.to_owned(), fill(&expand(value.trim()))));
                }
                // An upper-case name is a parameter's own, not a placeholder.
                (method, fill(&expand(&target.replace("API_TOKEN", "Api_Token"))))
            }
        };
        let outcome = match outcome.split_once(' ') {
            Some((count, pattern)) if count.starts_with('+') => Outcome::Kept {
                pattern: expand(pattern),
                count: Some(count[1..].parse().expect("digits")),
            },
            Some((status, rest)) if status.parse::<u16>().is_ok() => {
                let (code, detail) = rest.split_once(": ").unwrap_or((rest, ""));
                let (code, index) = match code.split_once(" at ") {
                    Some((code, index)) => (code, Some(index.parse().expect("digits"))),
                    None => (code, None),
                };
                Outcome::Refused {
                    status: status.parse().expect("digits"),
                    code: code.to_owned(),
                    index,
                    detail: detail.to_owned(),
                }
            }
            _ => Outcome::Kept { pattern: expand(outcome), count: None },
        };
        Row {
            line: format!("track.txt:{number}: {line:.200}"),
            method: method.to_owned(),
            target,
            headers,
            body,
            outcome,
        }
    }

    /// Sends the row's request with more parameters and headers than it has.
    fn send(&self, server: &Server, parameter: &str, more: &[(&str, &str)]) -> Reply {
        let mut headers: Vec<(&str, &str)> = more.to_vec();
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut target = self.target.clone();
        if !parameter.is_empty() {
            target.push(if target.contains('?') { '&' } else { '?' });
            target += parameter;
        }
        match &self.body {
            Some(body) => post(server.address, &target, &headers, body),
            None => request(server.address, &self.method, &target, &headers),
        }
    }

    fn is_tracking(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        ["/v1/events/track", "/v1/users/track"].contains(&path.trim_end_matches('/'))
            && !path.ends_with("//")
    }
}

/// Repetitions written out: `<3*ab#>` is `ab0ab1ab2`.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let piece = rest[at + 1..].split_once('*').and_then(|(count, after)| {
            let (part, after) = after.split_once('>')?;
            Some((count.parse::<usize>().ok()?, part, after))
        });
        match piece {
            Some((count, part, after)) => {
                out += &rest[..at];
                (0..count).for_each(|i| out += &part.replace('#', &i.to_string()));
                rest = after;
            }
            None => {
                out += &rest[..=at];
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// The bytes of a row's JSON: repetitions written out, and `\xED` made that byte.
fn bytes(text: &str) -> Vec<u8> {
    let text = expand(text);
    let mut pieces = text.split("\\x");
    let mut out = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        out.push(u8::from_str_radix(digits, 16).expect("two digits after \\x"));
        out.extend_from_slice(rest.as_bytes());
    }
    out
}

/// Whether `text` is `pattern`, in which `...` stands for anything.
fn fits(text: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split("...");
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        (rest, last) = (&rest[at + piece.len()..], Some(piece));
    }
    // The last piece has to be at the end, wherever it was found first.
    rest.is_empty() || last.is_some_and(|piece| rest.ends_with(piece))
}

/// The problem document of a refusal (RFC 9457), whose members are ours to the last.
fn check_problem(reply: &Reply, status: u16, code: &str, index: Option<u64>, detail: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
    let problem = reply.json();
    let members: BTreeSet<&str> =
        problem.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = BTreeSet::from(["title", "status", "detail", "code"]);
    expected.extend(index.map(|_| "index"));
    assert_eq!(members, expected);
    assert_eq!(problem["index"].as_u64(), index);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["code"], code);
    assert!(!problem["title"].as_str().expect("text").is_empty());
    let told = problem["detail"].as_str().expect("text");
    assert!(!told.is_empty() && told.contains(detail), "{told:?} doesn't tell {detail:?}");
    check_hints(reply);
}

/// The headers that HTTP asks for with a status (RFC 9110, sections 11.6.1 and 15.5.6).
fn check_hints(reply: &Reply) {
    assert_eq!(reply.header("Allow"), (reply.status == 405).then_some(METHODS), "{reply:?}");
    assert_eq!(reply.header("WWW-Authenticate").is_some(), reply.status == 401, "{reply:?}");
    assert_eq!(reply.header("Accept-Encoding"), (reply.status == 415).then_some("gzip"));
}

fn check_pixel(reply: &Reply, status: u16, code: Option<&str>) {
    assert_eq!(reply.status, status);
    assert_eq!(reply.header("Content-Type"), Some("image/gif"));
    assert!(reply.body.starts_with(GIF_HEAD) && reply.body.ends_with(b";"), "{reply:?}");
    let caching = reply.header("Cache-Control");
    assert_eq!(caching, Some("no-store, no-cache, must-revalidate"));
    assert_eq!(reply.header("Cross-Origin-Resource-Policy"), Some("cross-origin"));
    assert_eq!(reply.header("X-Triggerly-Error"), code);
    check_hints(reply);
}

fn check_cors(reply: &Reply, origin: Option<&str>) {
    assert_eq!(reply.header("Access-Control-Allow-Origin"), Some(origin.unwrap_or("*")));
    let credentials = reply.header("Access-Control-Allow-Credentials");
    assert_eq!(credentials, origin.map(|_| "true"));
    assert_eq!(reply.header("Vary"), origin.map(|_| "Origin"));
}

/// The position of the newest record of any kind, which no refused call moves.
fn last_seq(dir: &Path) -> u64 {
    let output = verb(dir, &["stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    stats["last_seq"].as_u64().expect("a number")
}

/// The newest event, as the text of an object.
fn newest(server: &Server) -> String {
    let page = server.read("/v1/events?limit=1");
    let page: BTreeMap<&str, &RawValue> = serde_json::from_str(page.text()).expect("a page");
    let events: Vec<&RawValue> = serde_json::from_str(page["events"].get()).expect("a list");
    events.first().expect("an event").get().to_owned()
}

fn check_refused(
    server: &Server,
    row: &Row,
    status: u16,
    code: &str,
    index: Option<u64>,
    detail: &str,
) {
    let origin = "https://shop.example";
    let plain = row.send(server, "", &[]);
    if row.method == "HEAD" {
        assert_eq!((plain.status, plain.body.len()), (status, 0), "{plain:?}");
        check_hints(&plain);
    } else {
        check_problem(&plain, status, code, index, detail);
    }
    let from_page = row.send(server, "", &[("Origin", origin)]);
    if row.method != "HEAD" {
        check_problem(&from_page, status, code, index, detail);
    }
    if !row.is_tracking() {
        assert_eq!(plain.header("Access-Control-Allow-Origin"), None);
        assert_eq!(from_page.header("Access-Control-Allow-Origin"), None);
        return;
    }
    check_cors(&plain, None);
    check_cors(&from_page, Some(origin));
    for image in ["image=1", "img=1"] {
        let pixel = row.send(server, image, &[("Origin", origin)]);
        if row.method == "HEAD" {
            assert_eq!((pixel.status, pixel.body.len()), (status, 0));
        } else {
            check_pixel(&pixel, status, Some(code));
        }
        check_cors(&pixel, Some(origin));
    }
}

fn check_kept(server: &Server, row: &Row, pattern: &str, count: Option<u64>) {
    let reply = row.send(server, "", &[]);
    let said = match count {
        None => r#"{"status":"ok"}"#.to_owned(),
        Some(count) => format!(r#"{{"status":"ok","accepted":{count}}}"#),
    };
    assert_eq!((reply.status, reply.text()), (200, said.as_str()), "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    check_cors(&reply, None);
    let kept = match pattern.strip_prefix(r#"{"id":"#) {
        None => newest(server),
        Some(id) => {
            let id = serde_json::Deserializer::from_str(id).into_iter::<String>().next();
            let id = id.expect("an id").expect("a String");
            // Every byte, so that `track` is a user and not the path.
            let id: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
            server.read(&format!("/v1/users/{id}")).text().to_owned()
        }
    };
    assert!(fits(&kept, pattern), "kept {kept:.1000}\ninstead {pattern:.1000}");
}

#[test]
fn every_row_of_the_table_holds() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut failed, mut kept, mut refused) = (Vec::new(), 0, 0);
    let begin = last_seq(dir.path());
    for (number, line) in include_str!("contract/track.txt").lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let row = Row::parse(&server, number + 1, line);
        let check = std::panic::AssertUnwindSafe(|| match &row.outcome {
            Outcome::Refused { status, code, index, detail } => {
                check_refused(&server, &row, *status, code, *index, detail);
            }
            Outcome::Kept { pattern, count } => check_kept(&server, &row, pattern, *count),
        });
        match &row.outcome {
            Outcome::Refused { .. } => refused += 1,
            Outcome::Kept { count, .. } => kept += count.unwrap_or(1),
        }
        if std::panic::catch_unwind(check).is_err() {
            failed.push(row.line);
        }
    }
    assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
    assert!(kept > 100 && refused > 100, "the table was read: {kept} kept, {refused} refused");
    assert_eq!(last_seq(dir.path()), begin + kept, "what was refused left a trace");
}

#[test]
fn what_is_accepted_is_a_pixel_too_and_for_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut count = 0;
    for (parameters, origin, image) in [
        ("", None, false),
        ("", Some("https://shop.example"), false),
        ("", Some("null"), false),
        ("&image=0", None, false),
        ("&image=true", None, false),
        ("&image=", None, false),
        ("&image=0&image=1", None, false),
        ("&image=1", None, true),
        ("&image=1", Some("https://shop.example"), true),
        ("&image=%31", None, true),
        ("&img=1", Some("https://shop.example:8443"), true),
        ("&image=0&img=1", None, true),
    ] {
        for (kind, json) in [("events", r#"{"type":"seen"}"#), ("users", r#"{"id":"seen"}"#)] {
            let target = server.target(kind, json) + parameters;
            let headers: Vec<_> = origin.iter().map(|origin| ("Origin", *origin)).collect();
            let reply = request(server.address, "GET", &target, &headers);
            if image {
                check_pixel(&reply, 200, None);
            } else {
                assert_eq!((reply.status, reply.text()), (200, r#"{"status":"ok"}"#), "{target}");
            }
            check_cors(&reply, origin);
        }
        count += 1;
    }
    assert_eq!(server.all_events().len(), count, "each is stored, pixel or not");
}

#[test]
fn the_last_byte_that_fits_and_the_first_that_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let target = server.target("events", GOOD) + "&x=";
    for (over, status) in [(0, 200), (1, 414)] {
        let target = target.clone() + &"x".repeat(96 * 1024 - target.len() + over);
        assert_eq!(server.get(&target).status, status);
    }
    // Names and values count: Host and Connection are sent with every request here.
    let sent = "Host".len() + server.address.to_string().len() + "Connectionclose".len();
    for (over, status) in [(0, 200), (1, 431)] {
        let long = "x".repeat(32 * 1024 - sent - "X-Long".len() + over);
        let target = server.target("events", GOOD);
        assert_eq!(request(server.address, "GET", &target, &[("X-Long", &long)]).status, status);
    }
    assert_eq!(server.all_events().len(), 2);
}

#[test]
fn each_record_tells_how_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let data = escape(&base64(GOOD));
    let (token, secret) = (&server.api_token, &server.secret_key);
    let by_token = format!("Bearer {token}");
    let by_secret = format!("Bearer {secret}");
    let cases = [
        (format!("&api_token={token}"), "", "public"),
        (String::new(), by_token.as_str(), "public"),
        (format!("&api_token={secret}"), "", "secret"),
        (String::new(), by_secret.as_str(), "secret"),
        // The query speaks first.
        (format!("&api_token={token}"), by_secret.as_str(), "public"),
    ];
    for (parameter, bearer, _) in &cases {
        let headers = [("Authorization", *bearer)];
        let headers = if bearer.is_empty() { &[][..] } else { &headers };
        let target = format!("/v1/events/track?data={data}{parameter}");
        assert_eq!(request(server.address, "GET", &target, headers).status, 200);
    }
    let output = verb(dir.path(), &["export", "events"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let vias: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["via"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(vias, cases.map(|(_, _, via)| via));
}

#[test]
fn a_preflight_is_answered_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for kind in ["events", "users"] {
        for target in [format!("/v1/{kind}/track"), server.target(kind, r#"{"type":"x","id":"x"}"#)]
        {
            let reply = request(server.address, "OPTIONS", &target, &[]);
            assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
            assert_eq!(reply.header("Allow"), Some(METHODS));
            assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"));
            let headers = [
                ("Origin", "https://shop.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "content-type,idempotency-key"),
                ("Access-Control-Request-Private-Network", "true"),
            ];
            let reply = request(server.address, "OPTIONS", &target, &headers);
            assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
            for (name, value) in [
                ("Allow-Origin", "https://shop.example"),
                ("Allow-Credentials", "true"),
                ("Allow-Methods", METHODS),
                ("Allow-Headers", "content-type,idempotency-key"),
                ("Allow-Private-Network", "true"),
            ] {
                assert_eq!(
                    reply.header(&format!("Access-Control-{name}")),
                    Some(value),
                    "{reply:?}"
                );
            }
            assert!(reply.header("Vary").is_some_and(|vary| vary.starts_with("Origin")));
            // It has no body, and says so by its status alone.
            assert_eq!(reply.header("Content-Length"), None);
        }
    }
    assert!(server.all_events().is_empty());
    // What isn't for pages isn't allowed to them.
    let reply =
        request(server.address, "OPTIONS", "/v1/events", &[("Origin", "https://a.example")]);
    assert_eq!((reply.status, reply.header("Access-Control-Allow-Origin")), (405, None));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_bodies_are_unpacked_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let send = |media: &str, coding: &str, body: &[u8]| {
        let headers = [("Content-Type", media), ("Content-Encoding", coding)];
        post(server.address, &target, &headers, body)
    };
    let json = "application/json";
    let event = |n: usize| format!(r#"{{"type":"packed","n":{n}}}"#);
    let list = format!("[{}]", (0..1_000).map(event).collect::<Vec<_>>().join(","));
    let lines = (0..1_000).map(|n| event(n) + "\n").collect::<String>();
    let form = format!("data={}", escape(&base64(event(7))));
    let packed = gzip(event(0).as_bytes());
    for (media, coding, body, said) in [
        (json, "gzip", packed.clone(), r#"{"status":"ok"}"#),
        (json, "X-GZIP", gzip(list.as_bytes()), r#"{"status":"ok","accepted":1000}"#),
        (
            "application/x-ndjson",
            "gzip",
            gzip(lines.as_bytes()),
            r#"{"status":"ok","accepted":1000}"#,
        ),
        ("application/x-www-form-urlencoded", "gzip", gzip(form.as_bytes()), r#"{"status":"ok"}"#),
        (json, "identity", event(0).into_bytes(), r#"{"status":"ok"}"#),
    ] {
        let reply = send(media, coding, &body);
        assert_eq!((reply.status, reply.text()), (200, said), "{reply:?}");
    }
    let stored = server.all_events();
    let numbers: Vec<_> =
        stored.iter().map(|one| one["attributes"]["n"].as_u64().unwrap()).collect();
    let expected: Vec<_> = [0].into_iter().chain(0..1_000).chain(0..1_000).chain([7, 0]).collect();
    assert_eq!(numbers, expected, "each, and in its order");

    let mib = 1024 * 1024;
    let most = |bytes: usize| gzip(format!("[{}]", " ".repeat(bytes - 2)).as_bytes());
    for (coding, body, status, code) in [
        ("gzip", event(0).into_bytes(), 400, "invalid_json"),
        ("gzip", packed[..packed.len() - 1].to_vec(), 400, "invalid_json"),
        ("gzip", [packed.as_slice(), b"x"].concat(), 400, "invalid_json"),
        ("gzip, gzip", gzip(&packed), 415, "unsupported_media_type"),
        ("br", packed.clone(), 415, "unsupported_media_type"),
        ("deflate", packed.clone(), 415, "unsupported_media_type"),
        // What it unpacks to is what counts: to the last byte that may be, and to one more.
        ("gzip", most(5 * mib), 400, "missing_data"),
        ("gzip", most(5 * mib + 1), 413, "payload_too_large"),
        ("gzip", gzip(&vec![b'['; 500 * mib]), 413, "payload_too_large"),
    ] {
        check_problem(&send(json, coding, &body), status, code, None, "");
    }
    assert_eq!(server.all_events().len(), stored.len(), "what was refused left a trace");
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let target = |kind: &str| format!("/v1/{kind}/track?api_token={}", server.api_token);
    let send = |kind: &str, objects: &[String], lines: bool| {
        let (media, body) = if lines {
            ("application/x-ndjson", objects.join("\r\n\r\n"))
        } else {
            ("application/json", format!("[{}]", objects.join(" , ")))
        };
        post(server.address, &target(kind), &[("Content-Type", media)], body.as_bytes())
    };
    let event = |n: usize, more: &str| format!(r#"{{"type":"b","n":{n}{more}}}"#);
    let begin = last_seq(dir.path());
    for lines in [false, true] {
        let mut events: Vec<_> = (0..1_000).map(|n| event(n, "")).collect();
        // The last one of all, or one in between.
        for (at, bad, status, code) in [
            (999, event(999, r#","user_id":"""#), 400, "invalid_user_id"),
            (500, "[1]".to_owned(), 400, "not_an_object"),
            (500, event(500, ","), 400, "invalid_json"),
            (
                3,
                event(3, &format!(r#","x":"{}""#, "x".repeat(64 * 1024))),
                413,
                "payload_too_large",
            ),
            (0, r#"{"type":"\u00"}"#.to_owned(), 400, "invalid_json"),
        ] {
            let good = std::mem::replace(&mut events[at], bad);
            check_problem(&send("events", &events, lines), status, code, Some(at as u64), "");
            events[at] = good;
        }
        events.push(event(1_000, ""));
        check_problem(&send("events", &events, lines), 413, "payload_too_large", None, "1000");
        assert_eq!(last_seq(dir.path()), begin, "nothing of any of them is kept");
    }
    let events: Vec<_> = (0..1_000).map(|n| event(n, "")).collect();
    let reply = send("events", &events, false);
    assert_eq!((reply.status, reply.text()), (200, r#"{"status":"ok","accepted":1000}"#));
    assert_eq!(last_seq(dir.path()), begin + 1_000);
    // A user may come again and again in one.
    let users: Vec<_> = (0..10).map(|n| format!(r#"{{"id":"u","n":{n},"k{n}":1.0}}"#)).collect();
    assert_eq!(send("users", &users, true).text(), r#"{"status":"ok","accepted":10}"#);
    let user = server.read("/v1/users/u").text().to_owned();
    assert!(user.contains(r#""attributes":{"n":9,"k0":1.0,"k1":1.0,"#), "{user}");
    // What a user becomes is looked at too, and takes everything with it.
    let filler = "x".repeat(40 * 1024);
    let users: Vec<_> = (0..3).map(|n| format!(r#"{{"id":"full","x{n}":"{filler}"}}"#)).collect();
    check_problem(&send("users", &users, false), 413, "payload_too_large", Some(1), "");
    assert_eq!(server.read("/v1/users/full").status, 404);
}

#[test]
fn a_pixel_may_be_asked_for_in_a_form() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let data = escape(&base64(GOOD));
    let headers =
        [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", "https://shop.example")];
    let body = format!("image=1&api_token={}&data={data}", server.api_token);
    let reply = post(server.address, "/v1/events/track", &headers, body.as_bytes());
    check_pixel(&reply, 200, None);
    check_cors(&reply, Some("https://shop.example"));
    let reply = post(server.address, "/v1/events/track", &headers, b"img=1&data=e");
    check_pixel(&reply, 401, Some("missing_token"));
    assert_eq!(server.all_events().len(), 1);
}

#[test]
fn a_date_that_is_not_given_is_the_arrival() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("events", GOOD);
    server.track("events", r#"{"type":"good","date":null}"#);
    for event in server.all_events() {
        assert_eq!(event["date"], event["received_at"]);
        let date = event["date"].as_str().unwrap();
        assert!(date.len() == 24 && date.ends_with('Z'), "{date}");
    }
}

#[test]
fn a_pattern_fits_what_it_describes_and_nothing_else() {
    for (text, pattern, does) in [
        ("abc", "abc", true),
        ("abcd", "abc", false),
        ("abc", "a...", true),
        ("abc", "...c", true),
        ("abcb", "...b", true),
        ("abc", "...b", false),
        ("abc", "b...", false),
        ("a1b2c", "a...b...c", true),
        ("a1b2c", "a...c...b", false),
    ] {
        assert_eq!(fits(text, pattern), does, "{text} {pattern}");
    }
    assert_eq!(expand("<2*k#,>z<x>"), "k0,k1,z<x>");
    assert_eq!(bytes("a\\xFFb"), b"a\xFFb");
}
