//! Positions of the log in answers, and waiting for them.
//!
//! Promises that who was told a position finds what lies there with `min_seq`, that whoever asks for one that isn't
//! there is told so within a named time, and that those who wait keep nobody else waiting.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::server::verb;
use support::{Reply, Server, base64, escape, parse, post, raw, request};

/// The header.
const SEQ: &str = "X-Triggerly-Seq";

/// How long a question waits at the most, and what a busy machine may add.
const WAITS: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(20);

/// Every path that reads the log.
const READS: [&str; 11] = [
    "/v1/users/u",
    "/v1/users/nobody",
    "/v1/users/u/timeline",
    "/v1/users",
    "/v1/events",
    "/v1/stats",
    "/v1/breakdown?by=n",
    "/v1/funnel?steps=e,e",
    "/v1/retention?first=e&back=e",
    "/v1/types",
    "/v1/export?what=events&format=csv",
];

fn seq(reply: &Reply) -> u64 {
    let value = reply.header(SEQ).unwrap_or_else(|| panic!("no position: {reply:?}"));
    value.parse().expect("a number")
}

/// The same target with a parameter more.
fn with(target: &str, parameter: &str) -> String {
    format!("{target}{}{parameter}", if target.contains('?') { '&' } else { '?' })
}

/// Sends it with the secret key.
fn send(server: &Server, method: &str, target: &str) -> Reply {
    let bearer = format!("Bearer {}", server.secret_key);
    request(server.address, method, target, &[("Authorization", &bearer)])
}

fn last_event(server: &Server) -> u64 {
    server.all_events().last().expect("an event")["seq"].as_u64().expect("a number")
}

#[test]
fn what_was_stored_has_the_position_of_its_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let first = seq(&server.get(&server.target("events", r#"{"type":"e"}"#)));
    assert_eq!(first, last_event(&server));
    let pixel = server.get(&(server.target("events", r#"{"type":"e"}"#) + "&image=1"));
    assert_eq!((pixel.status, seq(&pixel)), (200, first + 1));
    let json = [("Content-Type", "application/json")];
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let of_three = br#"[{"type":"e"},{"type":"e"},{"type":"e"}]"#;
    let batch = post(server.address, &target, &json, of_three);
    assert_eq!((batch.status, seq(&batch)), (200, first + 4));
    assert_eq!(last_event(&server), first + 4);
    // Under one key: each is told where the first lies.
    let keyed = with(&target, "idempotency_key=once");
    let told: Vec<_> = (0..2)
        .map(|_| {
            let reply = post(server.address, &keyed, &json, of_three);
            server.track("users", r#"{"id":"u","n":1}"#);
            seq(&reply)
        })
        .collect();
    assert_eq!(told, [first + 7; 2]);
    assert_eq!(server.all_events().len(), 8);
    // What isn't stored lies nowhere, and who may not read isn't told how far it is.
    for (target, status) in [
        (server.target("events", "{}"), 400),
        (format!("/v1/events/track?api_token=x&data={}", escape(&base64("{}"))), 401),
        ("/v1/events".to_owned(), 401),
        ("/v1/events?min_seq=x".to_owned(), 401),
        (format!("/v1/export?what=events&api_token={}", server.api_token), 401),
        ("/healthz".to_owned(), 200),
    ] {
        let reply = server.get(&target);
        assert_eq!((reply.status, reply.header(SEQ)), (status, None), "{target}");
    }
}

#[test]
fn every_answer_of_the_log_says_how_far_it_was_and_waits_for_what_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("users", r#"{"id":"u","n":1}"#);
    let at = seq(&server.get(&server.target("events", r#"{"type":"e","user_id":"u","n":1}"#)));
    for target in READS {
        let status = if target.ends_with("nobody") { 404 } else { 200 };
        for asked in [String::new(), "min_seq=".to_owned(), format!("min_seq={at}")] {
            let target = with(target, &asked);
            let reply = server.read(&target);
            assert_eq!((reply.status, seq(&reply)), (status, at), "{target}: {reply:?}");
        }
        for wrong in ["x", "-1", "1.5", "%2B1", "18446744073709551616"] {
            let target = with(target, &format!("min_seq={wrong}"));
            let reply = server.read(&target);
            assert_eq!((reply.status, seq(&reply)), (400, at), "{target}: {reply:?}");
            assert_eq!(reply.code(), "invalid_parameter", "{target}");
            assert!(reply.text().contains("`min_seq`"), "{reply:?}");
        }
    }
    // All at once, more than there are threads for questions; meanwhile others are answered.
    let began = Instant::now();
    thread::scope(|scope| {
        let waiting: Vec<_> = READS
            .into_iter()
            .map(|target| {
                let (server, target) = (&server, with(target, &format!("min_seq={}", at + 1)));
                scope.spawn(move || server.read(&target))
            })
            .collect();
        for target in &READS[..5] {
            assert_eq!(seq(&server.read(target)), at, "{target}");
        }
        for one in waiting {
            let reply = one.join().unwrap();
            assert_eq!((reply.status, reply.code().as_str()), (503, "behind"), "{reply:?}");
            assert_eq!((reply.header("Retry-After"), seq(&reply)), (Some("1"), at));
            assert!(reply.text().contains(&format!("record {at},")), "{reply:?}");
            assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
        }
    });
    assert!((WAITS..WAITS + BUSY).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn who_waits_is_answered_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for _ in 0..20 {
        let at = seq(&server.read("/v1/stats"));
        let waiting = thread::scope(|scope| {
            let (events, export) = ("/v1/events?limit=1", "/v1/export?what=events");
            let waiting = [events, export].map(|target| {
                let (server, target) = (&server, with(target, &format!("min_seq={}", at + 1)));
                scope.spawn(move || server.read(&target))
            });
            server.track("events", &format!(r#"{{"type":"e","n":{at}}}"#));
            waiting.map(|one| one.join().unwrap())
        });
        for reply in waiting {
            assert_eq!((reply.status, seq(&reply)), (200, at + 1), "{reply:?}");
            assert!(reply.text().contains(&format!(r#""n":{at}"#)), "{reply:?}");
        }
    }
}

#[test]
fn changes_say_where_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("users", r#"{"id":"u","n":1}"#);
    server.track("events", r#"{"type":"e","user_id":"u"}"#);
    let at = seq(&server.read("/v1/stats"));
    // A PUT with a body, which the plain client of the tests has no way for.
    let body = r#"{"type":"String"}"#;
    let put = format!(
        "PUT /v1/types/user/n HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.secret_key,
        body.len()
    );
    let set = parse(&raw(server.address, put.as_bytes())).expect("an answer");
    assert_eq!((set.status, seq(&set)), (200, at + 1), "{set:?}");
    for (target, status, further) in [
        ("/v1/types/user/n", 200, 2),
        ("/v1/events?type=e&dry_run=1", 200, 2),
        ("/v1/events?type=nothing", 200, 2),
        ("/v1/events?type=e", 200, 3),
        ("/v1/users/u?dry_run=1", 200, 3),
        ("/v1/users/u", 200, 4),
    ] {
        let reply = send(&server, "DELETE", target);
        assert_eq!((reply.status, seq(&reply)), (status, at + further), "{target}: {reply:?}");
    }
    // What could mean something else than it says is refused.
    let refused = send(&server, "DELETE", "/v1/events?type=e&min_seq=1");
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameter"));
    // An account that is added takes a place in the log too.
    let output = verb(dir.path(), &["account", "add", "other"]);
    assert!(output.status.success(), "{output:?}");
    assert!(seq(&server.read("/v1/stats")) > at + 4);
}

#[test]
fn who_waits_is_told_that_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let (address, secret) = (server.address, server.secret_key.clone());
    let waiting = thread::spawn(move || {
        let bearer = format!("Bearer {secret}");
        let headers = [("Authorization", bearer.as_str())];
        request(address, "GET", "/v1/stats?min_seq=1000000", &headers)
    });
    thread::sleep(Duration::from_millis(200));
    assert!(server.terminate().success());
    let reply = waiting.join().unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (503, "shutting_down"), "{reply:?}");
}
