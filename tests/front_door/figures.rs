//! What the figures and the list of refused calls say, after calls that are known.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::connection::Connection;
use crate::support::{Server, request};
use crate::{WAYS, Way, done};

/// Samples by their whole names.
fn samples(server: &Server) -> Vec<(String, f64)> {
    let reply = server.read("/metrics");
    assert_eq!(reply.status, 200, "{reply:?}");
    let lines = reply.text().lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[track_caller]
fn of(samples: &[(String, f64)], name: &str) -> f64 {
    let name = format!("triggerly_{name}");
    let found = samples.iter().find(|(own, _)| *own == name);
    found.unwrap_or_else(|| panic!("no {name}: {samples:#?}")).1
}

/// Looks at the figures until it is so: an answer is counted when it was sent, a connection when it has ended.
#[track_caller]
fn until(server: &Server, is_so: impl Fn(&[(String, f64)]) -> bool) -> Vec<(String, f64)> {
    let began = Instant::now();
    loop {
        let samples = samples(server);
        if is_so(&samples) {
            return samples;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it never comes: {samples:#?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_counted_is_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--rate", "1,off", "--trust-proxy", "127.0.0.0/8"];
    let server = Server::start_with(dir.path(), &options);
    done(dir.path(), &["account", "sites", "default", "a.example"]);
    let start = samples(&server);
    for way in WAYS {
        let own = [("Referer", "https://a.example/")];
        way.check_accepted(&way.send(&server, "events", r#"{"type":"t"}"#, &own), 1);
        for n in 0..2 {
            let key = format!("{way:?}{n}");
            let headers = [own[0], ("Idempotency-Key", &*key)];
            for _ in 0..3 {
                let reply = way.send(&server, "users", r#"{"id":"u"}"#, &headers);
                way.check_accepted(&reply, 1);
            }
        }
        let reply = way.send(&server, "events", r#"{"type":""}"#, &own);
        way.check_refused(&reply, 400, "invalid_type");
        let other = [("Referer", "https://b.example/")];
        let reply = way.send(&server, "users", r#"{"id":"u"}"#, &other);
        way.check_refused(&reply, 403, "forbidden_site");
    }
    let client = [("X-Forwarded-For", "192.0.2.1"), ("Referer", "https://a.example/")];
    for n in 0..15 {
        let reply = Way::Query.send(&server, "events", r#"{"type":"u"}"#, &client);
        assert_eq!(reply.status, if n < 10 { 200 } else { 429 }, "{n}");
    }
    assert_eq!(request(server.address, "OPTIONS", "/v1/events/track", &[]).status, 204);
    assert_eq!(request(server.address, "PUT", "/v1/events/track", &[]).status, 405);

    let ways = WAYS.len() as f64;
    let requests = |route: &str, code: u16, reason: &str| {
        format!("requests_total{{code=\"{code}\",reason=\"{reason}\",route=\"{route}\"}}")
    };
    let end = until(&server, |samples| {
        let name = format!("triggerly_{}", requests("events_track", 405, "method_not_allowed"));
        samples.iter().any(|(own, _)| *own == name)
    });
    for (name, value) in [
        (requests("events_track", 200, ""), ways + 10.0),
        (requests("users_track", 200, ""), 6.0 * ways),
        (requests("events_track", 400, "invalid_type"), ways),
        (requests("users_track", 403, "forbidden_site"), ways),
        (requests("events_track", 429, "rate_limited"), 5.0),
        (requests("events_track", 204, ""), 1.0),
        (requests("events_track", 405, "method_not_allowed"), 1.0),
        ("request_seconds_count{route=\"events_track\"}".to_owned(), 2.0 * ways + 10.0 + 5.0 + 2.0),
        ("request_seconds_count{route=\"users_track\"}".to_owned(), 7.0 * ways),
        ("requests_under_way".to_owned(), 1.0),
        ("connections".to_owned(), 1.0),
    ] {
        assert_eq!(of(&end, &name), value, "{name}");
    }
    let grown = |name: &str| of(&end, name) - of(&start, name);
    // One event and two users of each way, and the first ten of the client.
    let records = 3.0 * ways + 10.0;
    assert_eq!(grown("log_last_seq"), records);
    assert_eq!(grown("commit_records_sum"), records);
    let commits = grown("commits_total");
    assert!((1.0..=9.0 * ways + 10.0).contains(&commits), "{commits}");
    assert_eq!(grown("flush_seconds_count"), commits);
    let bytes = grown("accepted_bytes_total");
    assert!((20.0 * records..400.0 * records).contains(&bytes), "{bytes} of {records}");
    // A connection for each call, and for each look at the figures.
    let looks = of(&end, &requests("metrics", 200, ""));
    let calls = ways * 9.0 + 15.0 + 2.0;
    assert_eq!(of(&end, "connections_accepted_total"), calls + looks + 1.0);
    assert!(grown("received_bytes_total") > 100.0 * calls);
    assert!(grown("sent_bytes_total") > 100.0 * calls);
    for (name, value) in &end {
        if name.contains("_cut_total") || name.contains("_malformed_total") {
            assert_eq!(*value, 0.0, "{name}");
        }
    }
}

#[test]
fn connections_that_are_cut_are_counted_by_why() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--request-timeout", "200ms", "--keep-alive", "300ms"];
    let server = Server::start_with(dir.path(), &options);
    // One is idle behind an answer, one says nothing at all, one doesn't end what it has begun.
    let mut kept = Connection::open(server.address).unwrap();
    assert_eq!(kept.get("/healthz").unwrap().unwrap().status, 200);
    let mut silent = Connection::open(server.address).unwrap();
    let mut slow = Connection::open(server.address).unwrap();
    slow.send("GET /healthz HTTP/1.1\r\nHost:").unwrap();
    let mut wrong = Connection::open(server.address).unwrap();
    wrong.send("GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n").unwrap();
    let mut newer = Connection::open(server.address).unwrap();
    newer.send("GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n").unwrap();
    for (connection, status, code) in [
        (&mut slow, 408, "request_timeout"),
        (&mut wrong, 400, "bad_request"),
        (&mut newer, 505, "version_not_supported"),
    ] {
        let reply = connection.reply().unwrap().unwrap();
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert!(connection.reply().unwrap().is_none(), "it is ended");
    }
    assert!(kept.reply().unwrap().is_none() && silent.reply().unwrap().is_none());
    let reason = |name: &str, reason: &str| format!("{name}{{reason=\"{reason}\"}}");
    let end = until(&server, |samples| of(samples, "connections") == 1.0);
    for (name, value) in [
        (reason("connections_cut_total", "idle"), 2.0),
        (reason("connections_cut_total", "unread"), 0.0),
        (reason("connections_cut_total", "evicted"), 0.0),
        (reason("requests_malformed_total", "late"), 1.0),
        (reason("requests_malformed_total", "malformed"), 1.0),
        (reason("requests_malformed_total", "version"), 1.0),
        (reason("requests_malformed_total", "body_too_large"), 0.0),
    ] {
        assert_eq!(of(&end, &name), value, "{name}: {end:#?}");
    }
}

/// The list of refused calls says why, for all manners of calls, and over every end.
#[test]
fn refused_calls_are_told_to_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--rate", "1", "--trust-proxy", "127.0.0.0/8"];
    let mut server = Server::start_with(dir.path(), &options);
    let client = [("X-Forwarded-For", "192.0.2.1"), ("Referer", "https://a.example/#x")];
    for _ in 0..10 {
        Way::Query.check_accepted(&Way::Query.send(&server, "users", r#"{"id":1}"#, &client), 1);
    }
    for way in WAYS {
        way.check_refused(&way.send(&server, "users", r#"{"id":[]}"#, &[]), 400, "invalid_id");
        let reply = way.send(&server, "users", r#"{"id":1}"#, &client);
        if reply.status != 200 {
            way.check_refused(&reply, 429, "rate_limited");
        }
    }
    let of_key = |server: &Server, key: &str| {
        let bearer = format!("Bearer {key}");
        request(server.address, "GET", "/v1/refused", &[("Authorization", &bearer)])
    };
    let list = |server: &Server| -> Vec<Value> {
        let reply = of_key(server, &server.secret_key);
        assert_eq!(reply.header("Access-Control-Allow-Origin"), None);
        reply.json()["refused"].as_array().unwrap().clone()
    };
    let told = list(&server);
    let count = |code: &str| told.iter().filter(|one| one["code"] == code).count();
    assert_eq!(count("invalid_id"), WAYS.len());
    // One is the way whose token stands in a form, which isn't read of who comes too often.
    assert!((WAYS.len() - 2..=WAYS.len()).contains(&count("rate_limited")), "{told:#?}");
    assert_eq!(told.len(), count("invalid_id") + count("rate_limited"));
    for one in &told {
        let limited = one["code"] == "rate_limited";
        assert_eq!(one["status"], if limited { 429 } else { 400 });
        assert_eq!(one["page"], if limited { json!("https://a.example/") } else { Value::Null });
        assert_eq!((&one["kind"], &one["route"]), (&json!("users"), &json!("users_track")));
    }
    assert_eq!(of_key(&server, &server.api_token.clone()).status, 401);
    assert_eq!(server.get("/v1/refused").status, 401);
    let other: Value =
        serde_json::from_str(&done(dir.path(), &["account", "add", "other", "--json"])).unwrap();
    let others = of_key(&server, other["secret_key"].as_str().unwrap());
    assert_eq!(others.json(), json!({"refused": []}));

    let shown = |account: &str| -> Vec<Value> {
        let text = done(dir.path(), &["refused", "--account", account, "--json"]);
        serde_json::from_str(&text).unwrap()
    };
    let mut of_verb = shown("default");
    for row in &mut of_verb {
        assert_eq!(row.as_object_mut().unwrap().shift_remove("account"), Some(json!("default")));
    }
    assert_eq!(of_verb, told);
    assert_eq!(shown("other"), [] as [Value; 0]);
    assert!(server.terminate().success());
    assert_eq!(shown("default").len(), told.len());
    let server = server.again();
    assert_eq!(list(&server), told);
}
