//! The reading calls, over a socket: who may ask, what is found, how pages follow each other.
//!
//! Promises that an `api_token` never reads, that accounts don't see each other, that a walk by
//! pages meets everything that was there when it began exactly once, and that a parameter that
//! makes no sense is named.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};
use support::server::verb;
use support::{Reply, Server, request};

/// Every path that reads.
const ROUTES: [&str; 4] = ["/v1/users/u1", "/v1/users", "/v1/events", "/v1/stats"];

/// Asks with a credential of one's own.
fn ask(server: &Server, target: &str, authorization: &str) -> Reply {
    let headers = [("Authorization", authorization)];
    let headers = if authorization.is_empty() { &[][..] } else { &headers };
    request(server.address, "GET", target, headers)
}

fn found(server: &Server, target: &str) -> Value {
    let reply = server.read(target);
    assert_eq!(reply.status, 200, "{target}: {reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/json"), "{target}");
    reply.json()
}

/// Ends a thread that works until told, also when the test that should tell it panics.
struct Ending<'f>(&'f AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The values of one member of each row.
fn column(rows: &Value, member: &str) -> Vec<String> {
    let text = |row: &Value| row[member].as_str().expect("text").to_owned();
    rows.as_array().expect("a list").iter().map(text).collect()
}

/// Another account of the same server: its token and its key.
fn other_account(dir: &Path) -> (String, String) {
    let output = verb(dir, &["account", "add", "other", "--json"]);
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let value = |key: &str| made[key].as_str().expect("text").to_owned();
    (value("api_token"), value("secret_key"))
}

#[test]
fn only_a_secret_key_reads() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1"}"#);
    let (token, secret) = (server.api_token.as_str(), server.secret_key.as_str());
    for route in ROUTES {
        for (query, authorization, status, code) in [
            (String::new(), format!("Bearer {secret}"), 200, ""),
            (String::new(), format!("bearer  {secret}"), 200, ""),
            (format!("?api_token={token}"), format!("Bearer {secret}"), 200, ""),
            (String::new(), String::new(), 401, "missing_token"),
            (String::new(), "Bearer".to_owned(), 401, "missing_token"),
            (String::new(), format!("Basic {secret}"), 401, "missing_token"),
            (String::new(), secret.to_owned(), 401, "missing_token"),
            (format!("?api_token={token}"), String::new(), 401, "missing_token"),
            // A key in an address would end up in logs and histories.
            (format!("?api_token={secret}"), String::new(), 401, "missing_token"),
            (String::new(), format!("Bearer {token}"), 401, "unknown_token"),
            (format!("?api_token={secret}"), format!("Bearer {token}"), 401, "unknown_token"),
            (String::new(), format!("Bearer {secret}0"), 401, "unknown_token"),
            (String::new(), format!("Bearer {}", secret.to_uppercase()), 401, "unknown_token"),
            (String::new(), format!("Bearer {}", &secret[3..]), 401, "unknown_token"),
        ] {
            let target = format!("{route}{query}");
            let reply = ask(&server, &target, &authorization);
            assert_eq!(reply.status, status, "{target} {authorization}: {reply:?}");
            if status == 401 {
                assert_eq!(reply.code(), code, "{target} {authorization}");
                assert!(reply.header("WWW-Authenticate").is_some());
            }
        }
    }
}

#[test]
fn the_pages_of_others_can_not_read_and_nothing_can_be_changed_here() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let bearer = format!("Bearer {}", server.secret_key);
    let headers = [("Authorization", bearer.as_str()), ("Origin", "https://shop.example")];
    for route in ROUTES {
        let reply = request(server.address, "GET", route, &headers);
        assert!([200, 404].contains(&reply.status));
        let allowed = reply.headers.iter().find(|(name, _)| name.starts_with("Access-Control"));
        assert_eq!(allowed, None, "{route}");
        for method in ["HEAD", "POST", "PUT", "PATCH"] {
            let reply = request(server.address, method, route, &headers);
            let erasable = ["/v1/users/u1", "/v1/events"].contains(&route);
            let allowed = if erasable { "GET, DELETE" } else { "GET" };
            assert_eq!((reply.status, reply.header("Allow")), (405, Some(allowed)), "{method}");
            assert_eq!(reply.body.is_empty(), method == "HEAD");
        }
    }
}

#[test]
fn accounts_are_invisible_to_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","of":"default"}"#);
    server.track("events", r#"{"type":"seen","user_id":"u1","of":"default"}"#);
    let (token, secret) = other_account(dir.path());
    let seen = |secret: &str| {
        let bearer = format!("Bearer {secret}");
        ROUTES.map(|route| {
            let reply = ask(&server, route, &bearer);
            (reply.status, reply.text().to_owned())
        })
    };
    let ours = seen(&server.secret_key);
    let [user, users, events, stats] = seen(&secret);
    assert_eq!(user.0, 404);
    assert_eq!(users.1, r#"{"users":[],"next_cursor":null}"#);
    assert_eq!(events.1, r#"{"events":[],"next_cursor":null}"#);
    assert_eq!(stats.1, r#"{"interval":"day","count":0,"users":0,"visitors":0,"rows":[],"lag":0}"#);

    // The same id, a cursor of ours, and the user's events leave each account its own.
    let of_others = server.target("users", r#"{"id":"u1","of":"other"}"#);
    let of_others = of_others.replace(&server.api_token, &token);
    assert_eq!(server.get(&of_others).status, 200);
    assert_eq!(seen(&server.secret_key), ours);
    server.secret_key = secret;
    let user = found(&server, "/v1/users/u1");
    assert_eq!((&user["attributes"], &user["event_count"]), (&json!({"of":"other"}), &json!(0)));
    assert_eq!(found(&server, "/v1/events?cursor=99&user_id=u1")["events"], json!([]));
}

#[test]
fn a_user_is_found_by_its_id_however_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (id, path) in [
        ("u1", "u1"),
        ("u1", "%751"),
        ("u1", "u1/"),
        ("u1", "u1?unknown=1"),
        ("track", "%74rack"),
        ("5", "5"),
        ("a/b", "a%2Fb"),
        ("a/b", "a%2fb"),
        ("a b+c", "a%20b+c"),
        ("100%", "100%25"),
        ("zoë@example.com", "zo%C3%AB@example.com"),
        ("😀", "%F0%9F%98%80"),
        ("?#&", "%3F%23%26"),
        (".", "%2E"),
        ("..", ".."),
    ] {
        server.track("users", &json!({"id": id}).to_string());
        let user = found(&server, &format!("/v1/users/{path}"));
        assert_eq!(user["id"], id, "{path}");
    }
    for path in ["nobody", "U1", "u", "%", "%FF", "u1%00"] {
        let reply = server.read(&format!("/v1/users/{path}"));
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{path}");
        assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
    }
}

#[test]
fn a_user_has_its_dates_and_its_events_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("events", r#"{"type":"early","user_id":"u1"}"#);
    assert_eq!(server.read("/v1/users/u1").status, 404, "an event makes no user");
    server.track("users", r#"{"id":"u1","email":"u1@example.com","a":1}"#);
    let first = found(&server, "/v1/users/u1");
    server.track("events", r#"{"type":"late","user_id":"u1"}"#);
    server.track("events", r#"{"type":"late","user_id":"u2"}"#);
    server.track("events", r#"{"type":"late"}"#);
    server.track("users", r#"{"id":"u1","a":2}"#);
    let second = found(&server, "/v1/users/u1");
    assert_eq!((&first["event_count"], &second["event_count"]), (&json!(1), &json!(2)));
    assert_eq!(first["created_at"], first["updated_at"]);
    assert_eq!(second["created_at"], first["created_at"]);
    assert!(second["updated_at"].as_str() >= first["updated_at"].as_str());
    assert_eq!(found(&server, "/v1/users?q=u1")["users"], json!([second]), "the same in a page");
}

#[test]
fn users_are_searched_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (id, email) in [
        ("b", "\"Bob@Example.com\""),
        ("a", "\"ann@example.com\""),
        ("Carl", "null"),
        ("d+e f", "5"),
        ("zoë", "\"zoe@example.org\""),
    ] {
        server.track("users", &format!(r#"{{"id":"{id}","email":{email},"x":"hidden"}}"#));
    }
    for (query, ids) in [
        ("", vec!["Carl", "a", "b", "d+e f", "zoë"]),
        ("q=", vec!["Carl", "a", "b", "d+e f", "zoë"]),
        ("q=ann", vec!["a"]),
        ("q=EXAMPLE.com", vec!["a", "b"]),
        ("q=carl", vec!["Carl"]),
        ("q=ZO%C3%8B", vec!["zoë"]),
        ("q=d%2Be+f", vec!["d+e f"]),
        ("q=hidden", vec![]),
        ("q=nobody", vec![]),
        ("limit=2", vec!["Carl", "a"]),
        ("limit=2&limit=3&unknown=1", vec!["Carl", "a"]),
    ] {
        let page = found(&server, &format!("/v1/users?{query}"));
        assert_eq!(column(&page["users"], "id"), ids, "{query}");
        assert_eq!(page["next_cursor"].is_null(), !query.contains("limit=2"), "{query}");
    }
    for limit in 1..=5 {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = found(&server, &format!("/v1/users?limit={limit}{cursor}"));
            let rows = column(&page["users"], "id");
            assert!(rows.len() <= limit);
            ids.extend(rows);
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(ids, ["Carl", "a", "b", "d+e f", "zoë"], "by {limit}");
    }
}

#[test]
fn events_are_chosen_and_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (n, kind, user_id, date) in [
        ("1", "view", "u1", "2001-07-04T00:00:00Z"),
        ("2", "view", "u2", "2001-07-04T12:00:00.001Z"),
        ("3", "buy now", "u1", "2001-07-05"),
        ("4", "view", "5", "1999-12-31T23:59:59.999Z"),
        ("5", "View", "zoë", "2001-07-06T01:00:00+02:00"),
    ] {
        server.track(
            "events",
            &json!({"type": kind, "user_id": user_id, "date": date, "n": n}).to_string(),
        );
    }
    for (query, expected) in [
        ("", "54321"),
        ("order=desc", "54321"),
        ("order=asc", "12345"),
        ("type=view", "421"),
        ("type=view&order=asc", "124"),
        ("type=buy+now", "3"),
        ("type=buy%20now", "3"),
        ("type=nothing", ""),
        ("type=", "54321"),
        ("user_id=u1", "31"),
        ("user_id=5", "4"),
        ("user_id=zo%C3%AB", "5"),
        ("type=view&user_id=u1", "1"),
        ("type=view&type=View", "421"),
        // `from` is in, `to` is not.
        ("from=2001-07-05", "53"),
        ("to=2001-07-05", "421"),
        ("from=2001/07/04&to=2001/07/05", "21"),
        ("from=2001-07-04T12:00:00.001Z&to=2001-07-04T12:00:00.002Z", "2"),
        ("from=2001-07-04T14:00:00.001%2B02:00&to=2001-07-05", "2"),
        ("from=2001-07-04T14:00:00.001+02:00&to=2001-07-05", "2"),
        ("from=Wed,%2004%20Jul%202001%2012:08:56%20GMT", "53"),
        ("from=2001-07-06&to=2001-07-04", ""),
        ("limit=2", "54"),
        ("limit=2&order=asc", "12"),
        ("limit=1000", "54321"),
        ("unknown=1&api_token=x", "54321"),
    ] {
        let page = found(&server, &format!("/v1/events?{query}"));
        let events = page["events"].as_array().unwrap();
        let seen: String =
            events.iter().map(|event| event["attributes"]["n"].as_str().unwrap()).collect();
        assert_eq!(seen, expected, "{query}");
        assert_eq!(page["next_cursor"].is_null(), !query.contains("limit=2"), "{query}");
    }
}

#[test]
fn a_walk_by_pages_meets_each_event_once_while_more_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for n in 0..120 {
        server.track("events", &format!(r#"{{"type":"{}"}}"#, ["even", "odd"][n % 2]));
    }
    let seqs = |page: &Value| -> Vec<u64> {
        let events = page["events"].as_array().expect("a list");
        events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
    };
    let all = seqs(&found(&server, "/v1/events?order=asc&limit=1000"));
    let even = seqs(&found(&server, "/v1/events?order=asc&limit=1000&type=even"));
    assert_eq!((all.len(), even.len()), (120, 60));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let target = server.target("events", r#"{"type":"even"}"#);
        let (server, over) = (&server, &over);
        let writer = scope.spawn(move || {
            let mut count = 0;
            while !over.load(SeqCst) {
                assert_eq!(server.get(&target).status, 200);
                count += 1;
            }
            count
        });
        let ending = Ending(over);
        for (question, began_with) in
            [("", &all), ("order=asc", &all), ("type=even", &even), ("order=asc&type=even", &even)]
        {
            let newest_at_begin = *began_with.last().expect("not empty");
            let (mut met, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = found(server, &format!("/v1/events?limit=7&{question}{cursor}"));
                met.extend(seqs(&page));
                // Upwards a walk could go on as long as more arrives.
                let far = question.contains("asc") && met.last() > Some(&newest_at_begin);
                match page["next_cursor"].as_str() {
                    Some(next) if !far => cursor = format!("&cursor={next}"),
                    _ => break,
                }
            }
            let once: BTreeSet<u64> = met.iter().copied().collect();
            assert_eq!(once.len(), met.len(), "{question}: met twice");
            let ordered = if question.contains("asc") {
                met.is_sorted()
            } else {
                met.iter().rev().is_sorted()
            };
            assert!(ordered, "{question}: out of order");
            let kept: Vec<u64> = once.into_iter().filter(|seq| *seq <= newest_at_begin).collect();
            assert_eq!(&kept, began_with, "{question}: not all met");
        }
        drop(ending);
        assert!(writer.join().expect("no panic") > 0, "nothing arrived meanwhile");
    });
}

#[test]
fn cursors_at_the_ends_are_pages_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("events", r#"{"type":"a"}"#);
    for order in ["asc", "desc"] {
        for cursor in ["0", "1", "2", "3", "18446744073709551615"] {
            found(&server, &format!("/v1/events?order={order}&cursor={cursor}"));
        }
    }
    for cursor in ["YQ", "AA", "_w"] {
        let reply = server.read(&format!("/v1/users?cursor={cursor}"));
        assert!([200, 400].contains(&reply.status), "{cursor}: {reply:?}");
    }
}

#[test]
fn counts_by_type_and_interval() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (kind, user_id, date) in [
        ("view", json!("u1"), "2001-07-04T10:00:00Z"),
        ("view", json!("u1"), "2001-07-04T10:59:59.999Z"),
        ("view", json!("u2"), "2001-07-04T11:00:00Z"),
        ("view", json!(null), "2001-07-04T23:59:59.999Z"),
        ("buy", json!("u2"), "2001-07-04T11:30:00Z"),
        ("view", json!("u1"), "2001-07-05T00:00:00Z"),
        ("view", json!("u3"), "1969-12-31T23:30:00Z"),
    ] {
        let event = json!({"type": kind, "user_id": user_id, "date": date});
        server.track("events", &event.to_string());
    }
    let row = |kind: &str, from: &str, count: u64, users: u64| json!({"type": kind, "from": format!("{from}:00:00.000Z"), "count": count, "users": users, "visitors": 0});
    for (query, interval, count, users, rows) in [
        (
            "",
            "day",
            7,
            3,
            vec![
                row("view", "1969-12-31T00", 1, 1),
                row("buy", "2001-07-04T00", 1, 1),
                row("view", "2001-07-04T00", 4, 2),
                row("view", "2001-07-05T00", 1, 1),
            ],
        ),
        (
            "interval=hour&from=2001-07-04&to=2001-07-05",
            "hour",
            5,
            2,
            vec![
                row("view", "2001-07-04T10", 2, 1),
                row("buy", "2001-07-04T11", 1, 1),
                row("view", "2001-07-04T11", 1, 1),
                row("view", "2001-07-04T23", 1, 0),
            ],
        ),
        ("interval=day&type=buy", "day", 1, 1, vec![row("buy", "2001-07-04T00", 1, 1)]),
        ("interval=hour&to=1970-01-01", "hour", 1, 1, vec![row("view", "1969-12-31T23", 1, 1)]),
        ("type=nothing", "day", 0, 0, vec![]),
    ] {
        let expected = json!({"interval": interval, "count": count, "users": users, "visitors": 0, "rows": rows});
        let mut stats = found(&server, &format!("/v1/stats?{query}"));
        assert!(stats.as_object_mut().and_then(|stats| stats.remove("lag")).is_some());
        assert_eq!(stats, expected, "{query}");
    }
}

#[test]
fn a_parameter_that_makes_no_sense_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (target, name) in [
        ("/v1/users?limit=0", "limit"),
        ("/v1/users?limit=1001", "limit"),
        ("/v1/users?limit=-1", "limit"),
        ("/v1/users?limit=ten", "limit"),
        ("/v1/users?cursor=!", "cursor"),
        ("/v1/users?cursor=_w", "cursor"),
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=1e2", "limit"),
        ("/v1/events?limit=99999999999999999999", "limit"),
        ("/v1/events?order=up", "order"),
        ("/v1/events?order=ASC", "order"),
        ("/v1/events?from=yesterday", "from"),
        ("/v1/events?from=2001-02-30", "from"),
        ("/v1/events?to=5", "to"),
        ("/v1/events?cursor=x", "cursor"),
        ("/v1/events?cursor=-1", "cursor"),
        ("/v1/events?cursor=18446744073709551616", "cursor"),
        ("/v1/stats?interval=year", "interval"),
        ("/v1/stats?from=x", "from"),
        ("/v1/stats?to=x", "to"),
    ] {
        let reply = server.read(target);
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_parameter"), "{target}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("`{name}`")), "{target}: {detail}");
    }
}

#[test]
fn health_is_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let get = server.get("/healthz");
    assert_eq!((get.status, get.text()), (200, r#"{"status":"ok"}"#));
    assert_eq!(server.get("/healthz/?x=1").status, 200);
    let head = request(server.address, "HEAD", "/healthz", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("Content-Length"), get.header("Content-Length"));
    for method in ["POST", "DELETE"] {
        let reply = request(server.address, method, "/healthz", &[]);
        assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"));
        let allowed = reply.header("Allow").expect("RFC 9110 asks for it");
        assert!(allowed.contains("GET") && allowed.contains("HEAD"), "HEAD is answered: {allowed}");
    }
}

/// A page of large users ends before it has its rows; none is left out, none comes twice.
#[test]
fn a_page_of_large_users_is_cut_where_the_next_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let large = "x".repeat(60_000);
    let ids: Vec<String> = (0..100).map(|n| format!("u{n:03}")).collect();
    for id in &ids {
        server.track("users", &format!(r#"{{"id":"{id}","large":"{large}"}}"#));
    }
    let mut seen = Vec::new();
    let mut pages = 0;
    let mut cursor = String::new();
    loop {
        let page = found(&server, &format!("/v1/users?limit=1000{cursor}"));
        let users = page["users"].as_array().unwrap();
        seen.extend(users.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(pages, 2, "4 MiB a page");
}
