//! Calls with an idempotency key: whoever sends one twice, in whatever ways, it counts once.

use std::thread;

use serde_json::json;

use crate::support::furnished::with_other_account;
use crate::support::{Reply, Server, base64, escape, post, request};
use crate::{WAYS, Way};

const CONNECTIONS: usize = 16;

#[test]
fn sixteen_at_once_count_once_in_each_way() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (round, way) in WAYS.into_iter().enumerate() {
        let key = format!("at once, {way:?}");
        let send = |n: usize| {
            let json = json!({"type": "t", "round": round, "n": n}).to_string();
            way.send(&server, "events", &json, &[("Idempotency-Key", &key)])
        };
        let replies: Vec<Reply> = thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS).map(|n| scope.spawn(move || send(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for reply in &replies {
            way.check_accepted(reply, 1);
        }
        assert_eq!(server.all_events().len(), round + 1, "{way:?}");
        way.check_accepted(&send(CONNECTIONS), 1);
        assert_eq!(server.all_events().len(), round + 1, "{way:?}");
    }
}

/// A batch and calls of one, with one key: as many as the first had are told, and stored.
#[test]
fn the_first_is_what_counts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let bearer = format!("Bearer {}", server.api_token);
    let batch = |key: &str, count: usize| {
        let list: Vec<_> = (0..count).map(|n| json!({"type": key, "n": n})).collect();
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        post(server.address, "/v1/events/track", &headers, json!(list).to_string().as_bytes())
    };
    let told = |reply: &Reply| (reply.status, reply.json()["accepted"].as_u64());
    assert_eq!(told(&batch("three", 3)), (200, Some(3)));
    for count in [1, 3, 1000] {
        assert_eq!(told(&batch("three", count)), (200, Some(3)), "{count}");
    }
    for way in WAYS {
        let reply =
            way.send(&server, "events", r#"{"type":"another"}"#, &[("Idempotency-Key", "three")]);
        way.check_accepted(&reply, 3);
        // A key is the account's, whatever is tracked under it.
        let reply =
            way.send(&server, "users", r#"{"id":"another"}"#, &[("Idempotency-Key", "three")]);
        way.check_accepted(&reply, 3);
    }
    assert_eq!(server.all_events().len(), 3);
    assert_eq!(server.read("/v1/users/another").status, 404);

    // Batches that race are told one count, and that many are there.
    let replies: Vec<_> = thread::scope(|scope| {
        let batch = &batch;
        let threads: Vec<_> =
            (1..=CONNECTIONS).map(|n| scope.spawn(move || told(&batch("race", n)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let stored = server.all_events().len() - 3;
    assert!((1..=CONNECTIONS).contains(&stored));
    assert!(replies.iter().all(|told| *told == (200, Some(stored as u64))), "{replies:?}");
}

/// The query says it first, then the form, then the header; all three mean the same key.
#[test]
fn a_key_is_one_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let data = escape(&base64(r#"{"type":"t"}"#));
    let token = &server.api_token;
    let path = "/v1/events/track";
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let own = format!("api_token={token}&data={data}");
    for key in ["k", "a b+c", &"~".repeat(64)] {
        let before = server.all_events().len();
        let escaped = escape(key);
        let header = [("Idempotency-Key", key)];
        let get = |target: &str, headers: &[(&str, &str)]| {
            request(server.address, "GET", target, headers).status
        };
        let in_query = format!("{path}?{own}&idempotency_key={escaped}");
        assert_eq!(get(&in_query, &[]), 200);
        assert_eq!(get(&in_query, &[("Idempotency-Key", "other")]), 200);
        assert_eq!(get(&format!("{path}?{own}"), &header), 200);
        assert_eq!(get(&format!("{path}?{own}&idempotency_key="), &header), 200);
        let body = format!("{own}&idempotency_key={escaped}");
        assert_eq!(post(server.address, path, &form, body.as_bytes()).status, 200);
        assert_eq!(post(server.address, &in_query, &form, b"idempotency_key=third").status, 200);
        assert_eq!(server.all_events().len(), before + 1, "{key}");
    }
    // What a header has beyond ASCII means its percent-encoding.
    let before = server.all_events().len();
    for header in ["zë", "z%C3%AB", &"ë".repeat(32)] {
        let reply =
            Way::Query.send(&server, "events", r#"{"type":"t"}"#, &[("Idempotency-Key", header)]);
        Way::Query.check_accepted(&reply, 1);
    }
    assert_eq!(server.all_events().len(), before + 2);
    // Without one, or with an empty one, each counts.
    let before = server.all_events().len();
    for target in [format!("{path}?{own}"), format!("{path}?{own}&idempotency_key=")] {
        assert_eq!((server.get(&target).status, server.get(&target).status), (200, 200));
    }
    assert_eq!(server.all_events().len(), before + 4);
}

#[test]
fn what_is_no_key_is_refused_and_what_is_refused_uses_none_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for way in WAYS {
        for key in ["x".repeat(65), "a\tb".to_owned(), "ë".repeat(33)] {
            let header = [("Idempotency-Key", &*key)];
            let reply = way.send(&server, "events", r#"{"type":"t"}"#, &header);
            way.check_refused(&reply, 400, "invalid_parameter");
        }
    }
    for key in ["%0A", "%00", "z%C3%AB", "%FF", &"x".repeat(65)] {
        let target = server.target("events", r#"{"type":"t"}"#);
        let reply = server.get(&format!("{target}&idempotency_key={key}"));
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_parameter"), "{key}");
    }
    assert_eq!(server.all_events().len(), 0);

    for (way, stored) in WAYS.into_iter().zip(1..) {
        let key = format!("{way:?}");
        let header = [("Idempotency-Key", &*key)];
        let send = |json: &str| way.send(&server, "events", json, &header);
        for (json, code) in [
            (r#"{"user_id":"u"}"#, "missing_type"),
            (r#"{"type":"t","date":"never"}"#, "invalid_date"),
            ("{", "invalid_json"),
        ] {
            way.check_refused(&send(json), 400, code);
        }
        way.check_accepted(&send(r#"{"type":"t"}"#), 1);
        assert_eq!(server.all_events().len(), stored, "{way:?}");
        // It is used up now, but what is wrong with a call is still told.
        way.check_refused(&send("{"), 400, "invalid_json");
    }
}

#[test]
fn accounts_share_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let header = [("Idempotency-Key", "ours")];
    let send = |server: &Server| {
        for _ in 0..2 {
            let reply = Way::Query.send(server, "events", r#"{"type":"t"}"#, &header);
            Way::Query.check_accepted(&reply, 1);
        }
        assert_eq!(server.all_events().len(), 1);
    };
    send(&server);
    with_other_account(&mut server, send);
    // The secret key is another way to the same account.
    let bearer = format!("Bearer {}", server.secret_key);
    let headers = [("Authorization", &*bearer), header[0]];
    assert_eq!(
        request(server.address, "GET", "/v1/events/track?data={%22type%22:%22t%22}", &headers)
            .status,
        200
    );
    assert_eq!(server.all_events().len(), 1);
}
