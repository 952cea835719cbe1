//! Erasing, over a socket: what goes, what stays, and who may have it gone.
//!
//! Promises that what was erased is in no answer from then on, whatever the process goes through,
//! that nothing else goes with it, and that a call which could mean more than was meant erases
//! nothing.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::furnished::{
    furnish, last_seq, left, run, text, told, track_event, track_user, with_other_account,
};
use support::server::verb;
use support::{Reply, Server, escape, request};

/// DELETE with a credential.
fn delete_as(server: &Server, credential: &str, target: &str) -> Reply {
    let bearer = format!("Bearer {credential}");
    request(server.address, "DELETE", target, &[("Authorization", &bearer)])
}

/// DELETE with the secret key.
fn delete(server: &Server, target: &str) -> Reply {
    delete_as(server, &server.secret_key, target)
}

#[track_caller]
fn check(reply: &Reply, body: &str) {
    assert_eq!((reply.status, reply.text()), (200, body), "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    assert_eq!(reply.header("Cache-Control"), Some("no-store"));
}

#[track_caller]
fn check_refused(reply: &Reply, status: u16, code: &str) -> String {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
    reply.json()["detail"].as_str().expect("a detail").to_owned()
}

#[test]
fn a_user_goes_with_all_that_is_known_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server);
    let others = with_other_account(&mut server, |other| {
        furnish(other);
        told(other)
    });
    check(&delete(&server, "/v1/users/u1"), r#"{"status":"ok","users":1,"events":2}"#);
    let check_gone = |server: &Server| {
        check_refused(&server.read("/v1/users/u1"), 404, "not_found");
        assert_eq!(server.read("/v1/users?q=u1").json()["users"], json!([]));
        assert_eq!(server.read("/v1/events?user_id=u1").json()["events"], json!([]));
        assert_eq!(server.read("/v1/stats").json()["count"], 3);
        assert_eq!(left(server), ["view u2 05", "view - 07", "buy never tracked 08"]);
        assert_eq!(server.read("/v1/users").json()["users"].as_array().unwrap().len(), 1);
    };
    check_gone(&server);
    let users = verb(dir.path(), &["export", "users", "--account", "default"]);
    assert!(!text(&users.stdout).contains(r#""id":"u1""#));
    let events = verb(dir.path(), &["export", "events", "--account", "default"]);
    assert!(!text(&events.stdout).contains("u1"));
    check_refused(&delete(&server, "/v1/users/u1"), 404, "not_found");

    // The other account has a user of that id, who stays.
    let other = verb(dir.path(), &["account", "rotate", "other", "--only", "secret", "--json"]);
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    let own =
        std::mem::replace(&mut server.secret_key, other["secret_key"].as_str().unwrap().into());
    assert_eq!(told(&server), others);
    server.secret_key = own;

    // Gone for good: after kill -9, and after an orderly end.
    let mut server = server.again();
    check_gone(&server);
    server.terminate();
    check_gone(&server.again());
}

#[test]
fn events_of_nobody_tracked_go_and_so_does_a_user_without_events() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    furnish(&server);
    track_user(&server, "quiet");
    check(&delete(&server, "/v1/users/never%20tracked"), r#"{"status":"ok","users":0,"events":1}"#);
    check(&delete(&server, "/v1/users/quiet"), r#"{"status":"ok","users":1,"events":0}"#);
    let before = last_seq(dir.path());
    for nobody in ["never%20tracked", "quiet", "U1", "u", "u1%20", "u11"] {
        check_refused(&delete(&server, &format!("/v1/users/{nobody}")), 404, "not_found");
    }
    assert_eq!(last_seq(dir.path()), before, "nothing is written where nothing is erased");
    assert_eq!(left(&server).len(), 4);
}

#[test]
fn whoever_is_tracked_again_is_somebody_new() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    furnish(&server);
    for round in 0..3 {
        assert_eq!(delete(&server, "/v1/users/u1").status, 200, "{round}");
        server.track("users", r#"{"id":"u1","fresh":true}"#);
        track_event(&server, "back", "u1", "2001-07-04");
        let user = server.read("/v1/users/u1").json();
        assert_eq!(user["attributes"], json!({"fresh": true}), "nothing is left of the one before");
        assert_eq!((&user["email"], &user["event_count"]), (&Value::Null, &json!(1)));
        assert_eq!(left(&server).iter().filter(|event| event.contains("u1")).count(), 1);
    }
    let before = told(&server);
    let mut server = server.again();
    assert_eq!(told(&server), before, "after kill -9");
    server.terminate();
    assert_eq!(told(&server.again()), before, "after an orderly end");
}

#[test]
fn ids_that_are_hard_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let long = "é".repeat(127) + "e";
    let hostile = [
        "a/b",
        "/",
        "%",
        "%2F",
        "%41",
        "100%",
        "a b",
        "a+b",
        "a?b=c",
        "a#b",
        "..",
        "track",
        "😀",
        "\u{fffd}",
        "a\nb",
        "\u{0}",
        "\"",
        "\\",
        "A",
        &"x".repeat(255),
        &long,
    ];
    for id in hostile {
        track_user(&server, id);
        track_event(&server, "of it", id, "2001-07-04");
    }
    // Not a text, so nobody's id; above all not that of U+FFFD.
    for none in ["%ff", "%c3", &"x".repeat(256), &escape(&"é".repeat(128))] {
        check_refused(&delete(&server, &format!("/v1/users/{none}")), 404, "not_found");
    }
    let mut rest = hostile.len();
    for id in hostile {
        let target = if id == "track" { "%74rack".to_owned() } else { escape(id) };
        let reply = delete(&server, &format!("/v1/users/{target}"));
        check(&reply, r#"{"status":"ok","users":1,"events":1}"#);
        rest -= 1;
        assert_eq!(server.all_events().len(), rest, "{id:?}");
        let page = server.read("/v1/users?limit=1000").json();
        assert_eq!(page["users"].as_array().unwrap().len(), rest, "{id:?}");
    }
    // An integer is its digits, and a slash behind the id is none of it.
    server.track("users", r#"{"id":5}"#);
    check(&delete(&server, "/v1/users/5/"), r#"{"status":"ok","users":1,"events":0}"#);
}

#[test]
fn events_go_by_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    for (query, gone) in [
        ("type=view", &["view u1 04", "view u2 05", "view - 07"][..]),
        ("type=View", &[]),
        ("user_id=u1", &["view u1 04", "buy u1 06"]),
        ("user_id=never+tracked", &["buy never tracked 08"]),
        ("type=view&user_id=u1", &["view u1 04"]),
        ("from=2001-07-07", &["view - 07", "buy never tracked 08"]),
        ("to=2001-07-05", &["view u1 04"]),
        ("from=2001-07-05&to=2001-07-07&type=buy", &["buy u1 06"]),
        ("from=2001-07-05T02:00:00+02:00&to=2001-07-05T00:00:00.001Z", &["view u2 05"]),
        ("from=2001-07-07&to=2001-07-05", &[]),
        (
            "to=2100-01-01",
            &["view u1 04", "view u2 05", "buy u1 06", "view - 07", "buy never tracked 08"],
        ),
    ] {
        let dir = dir.path().join(escape(query));
        let server = Server::start(&dir);
        furnish(&server);
        let (before, seq) = (left(&server), last_seq(&dir));
        let told_before = told(&server);
        let dry = delete(&server, &format!("/v1/events?{query}&dry_run=1"));
        check(&dry, &format!(r#"{{"status":"ok","dry_run":true,"events":{}}}"#, gone.len()));
        assert_eq!(told(&server), told_before, "{query}");
        assert_eq!(last_seq(&dir), seq, "a dry run writes nothing");

        let reply = delete(&server, &format!("/v1/events/?dry_run=0&{query}"));
        check(&reply, &format!(r#"{{"status":"ok","events":{}}}"#, gone.len()));
        let rest: Vec<_> = before.into_iter().filter(|one| !gone.contains(&one.as_str())).collect();
        assert_eq!(left(&server), rest, "{query}");
        assert_eq!(last_seq(&dir) == seq, gone.is_empty(), "one record, if there is anything");
        let users = server.read("/v1/users").json();
        assert_eq!(users["users"].as_array().unwrap().len(), 2, "users stay");
        assert_eq!(left(&server.again()), rest, "{query}: after kill -9");
    }
}

#[test]
fn what_comes_after_an_erasure_of_events_stays() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    furnish(&server);
    check(&delete(&server, "/v1/events?type=view"), r#"{"status":"ok","events":3}"#);
    track_event(&server, "view", "u1", "2001-07-04");
    assert_eq!(left(&server), ["buy u1 06", "buy never tracked 08", "view u1 04"]);
    check(
        &delete(&server, "/v1/events?type=view&dry_run=1"),
        r#"{"status":"ok","dry_run":true,"events":1}"#,
    );
}

#[test]
fn a_slip_of_the_pen_erases_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    furnish(&server);
    let (before, seq) = (told(&server), last_seq(dir.path()));
    for (target, says) in [
        ("/v1/events", "`type`, `user_id`, `from` and `to`"),
        ("/v1/events/", "`type`, `user_id`, `from` and `to`"),
        ("/v1/events?", "`type`, `user_id`, `from` and `to`"),
        ("/v1/events?dry_run=1", "`type`, `user_id`, `from` and `to`"),
        ("/v1/events?user-id=u1&type=view", "`user-id`"),
        ("/v1/events?type=view&userid=u1", "`userid`"),
        ("/v1/events?type=view&dryrun=1", "`dryrun`"),
        ("/v1/events?type=view&limit=1", "`limit`"),
        ("/v1/events?type=view&cursor=9", "`cursor`"),
        ("/v1/events?type=view&account=other", "`account`"),
        ("/v1/events?type=view&from=", "`from`"),
        ("/v1/events?type=view&user_id=", "`user_id`"),
        ("/v1/events?type=&user_id=u1", "`type`"),
        ("/v1/events?type", "`type`"),
        ("/v1/events?type=view&type=buy", "`type`"),
        ("/v1/events?type=view&dry_run=0&dry_run=1", "`dry_run`"),
        ("/v1/events?type=view&dry_run=true", "`dry_run`"),
        ("/v1/events?type=view&dry_run=", "`dry_run`"),
        ("/v1/events?from=yesterday", "`from`"),
        ("/v1/events?type=view&to=2001-02-30", "`to`"),
        ("/v1/events?type=%ff", "UTF-8"),
        ("/v1/users/u1?dryrun=1", "`dryrun`"),
        ("/v1/users/u1?dry_run=yes", "`dry_run`"),
        ("/v1/users/u1?type=view", "`type`"),
        ("/v1/users/u1?from=2001-07-05", "`from`"),
    ] {
        let detail = check_refused(&delete(&server, target), 400, "invalid_parameter");
        assert!(detail.contains(says), "{target}: {detail}");
    }
    check(
        &delete(&server, "/v1/users/u1?dry_run=1"),
        r#"{"status":"ok","dry_run":true,"users":1,"events":2}"#,
    );
    // What no method takes out, and what has no such method.
    for (target, allow) in [
        ("/v1/users", "GET"),
        ("/v1/users/", "GET"),
        ("/v1/stats", "GET"),
        ("/v1/events/track", "GET, POST, OPTIONS"),
        ("/v1/users/track", "GET, POST, OPTIONS"),
    ] {
        let reply = delete(&server, target);
        check_refused(&reply, 405, "method_not_allowed");
        assert_eq!(reply.header("Allow"), Some(allow), "{target}");
    }
    for target in ["/v1/users/u1", "/v1/events?type=view"] {
        for method in ["POST", "PUT", "PATCH", "HEAD", "OPTIONS"] {
            let bearer = format!("Bearer {}", server.secret_key);
            let reply = request(server.address, method, target, &[("Authorization", &bearer)]);
            assert_eq!(
                (reply.status, reply.header("Allow")),
                (405, Some("GET, DELETE")),
                "{method}"
            );
        }
    }
    assert_eq!(told(&server), before);
    assert_eq!(last_seq(dir.path()), seq);
}

#[test]
fn only_the_secret_key_erases_and_only_what_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server);
    let before = told(&server);
    let (token, secret) = (server.api_token.clone(), server.secret_key.clone());
    for target in ["/v1/users/u1", "/v1/events?type=view", "/v1/events", "/v1/users/nobody"] {
        check_refused(&delete_as(&server, &token, target), 401, "unknown_token");
        check_refused(&delete_as(&server, &format!("{secret}0"), target), 401, "unknown_token");
        check_refused(&request(server.address, "DELETE", target, &[]), 401, "missing_token");
        // A key in an address would end up in logs, so it counts for nothing there.
        let queried =
            format!("{target}{}api_token={secret}", if target.contains('?') { '&' } else { '?' });
        check_refused(&request(server.address, "DELETE", &queried, &[]), 401, "missing_token");
    }
    with_other_account(&mut server, |other| {
        check_refused(&delete(other, "/v1/users/u1"), 404, "not_found");
        check(&delete(other, "/v1/events?to=2100-01-01"), r#"{"status":"ok","events":0}"#);
        furnish(other);
        check(&delete(other, "/v1/users/u1"), r#"{"status":"ok","users":1,"events":2}"#);
        check(&delete(other, "/v1/events?to=2100-01-01"), r#"{"status":"ok","events":3}"#);
        assert_eq!(left(other), [""; 0]);
    });
    assert_eq!(told(&server), before);
}

#[test]
fn a_body_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    furnish(&server);
    let mut connection = support::connection::Connection::open(server.address).unwrap();
    for (target, bytes) in
        [("/v1/users/u1", 2), ("/v1/users/u2", 5_000), ("/v1/events?type=view", 9)]
    {
        let head = format!(
            "DELETE {target} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nContent-Length: {bytes}\r\n\r\n",
            server.secret_key
        );
        connection.send(head).unwrap();
        connection.send("{".repeat(bytes)).unwrap();
        let reply = connection.reply().unwrap().expect("an answer");
        assert_eq!(reply.status, 200, "{target} {reply:?}");
    }
    assert_eq!(left(&server), ["buy never tracked 08"]);
}

/// Erased at the very moment of the answer: a kill right behind it doesn't bring it back.
#[test]
fn a_kill_right_behind_the_answer_brings_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    for round in 0..5 {
        let id = format!("u{round}");
        track_user(&server, &id);
        track_event(&server, "of it", &id, "2001-07-04");
        track_event(&server, "stays", "", "2001-07-04");
        check(
            &delete(&server, &format!("/v1/users/{id}")),
            r#"{"status":"ok","users":1,"events":1}"#,
        );
        server.kill();
        server = server.again();
        assert_eq!(left(&server), vec!["stays - 04"; round + 1]);
        assert_eq!(server.read("/v1/users").json()["users"], json!([]));
    }
}

/// Files under a directory that hold a text, as bytes.
fn files_with(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            found.extend(files_with(&path, needle));
        } else if kind.is_file() {
            let bytes = fs::read(&path).expect("it can be read");
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// No byte of it stays at rest: not in segments, not in sled's files. Segments are compressed, so
/// what is left is also read back, and the store is looked into both before and after it is closed.
#[test]
fn after_compacting_no_byte_is_left() {
    let erased = [
        "gone-user-7c1f",
        "gone.mail.7c1f@example.com",
        "gone-attribute-7c1f",
        "gone-event-7c1f",
        "gone-type-7c1f",
    ];
    let stays =
        ["stay-user-52ab", "stay.mail.52ab@example.com", "stay-attribute-52ab", "stay-event-52ab"];
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        for part in 0..20 {
            for (who, names) in [("gone", &erased[..]), ("stay", &stays[..])] {
                let [id, mail, attribute, event, ..] = names else { unreachable!("{who}") };
                let user = json!({"id": id, "email": mail, "a": format!("{attribute} {part}")});
                server.track("users", &user.to_string());
                let what =
                    json!({"type": event, "user_id": id, "a": format!("{attribute} {part}")});
                server.track("events", &what.to_string());
            }
            server.track("events", &json!({"type": erased[4], "user_id": stays[0]}).to_string());
        }
        for needle in erased.iter().chain(&stays) {
            assert_ne!(files_with(dir.path(), needle), [""; 0], "{needle} is at rest");
        }
        let told_before = told_of(&server, stays[0]);
        if !with_server {
            server.terminate();
        }
        for arguments in [
            &["delete", "user", erased[0], "--yes"][..],
            &["delete", "events", "--type", erased[4], "--yes"],
            &["compact"],
        ] {
            let output = run(dir.path(), arguments);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        }
        let check_bytes = || {
            for needle in erased {
                assert_eq!(files_with(dir.path(), needle), [""; 0], "{needle}");
            }
        };
        check_bytes();
        if with_server {
            server.terminate();
            check_bytes();
        }
        let server = server.again();
        assert_eq!(told_of(&server, stays[0]), told_before, "all else is as it was");
        assert_eq!(server.all_events().len(), 20);
        let events = verb(dir.path(), &["export", "events"]);
        let users = verb(dir.path(), &["export", "users"]);
        let exported = text(&events.stdout).to_owned() + text(&users.stdout);
        for needle in erased {
            assert!(!exported.contains(needle), "{needle}");
        }
        for needle in stays {
            assert!(exported.contains(needle), "{needle}");
        }
    }
}

/// A user and that user's events of its own type.
fn told_of(server: &Server, id: &str) -> (Value, Value) {
    let mut user = server.read(&format!("/v1/users/{id}")).json();
    // Events of the erased type are counted before, and gone after.
    user["event_count"].take();
    (user, server.read(&format!("/v1/events?limit=1000&type=stay-event-52ab&user_id={id}")).json())
}
