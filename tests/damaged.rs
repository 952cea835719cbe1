//! A sealed segment that is damaged, as those see it who call and who run it: everything else is served,
//! every answer says what is missing from it, and nothing that comes is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use support::server::verb;
use support::{Server, raw, request};

fn segments(dir: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(dir.join("segments")).unwrap();
    let parquet = |path: &PathBuf| path.extension().is_some_and(|end| end == "parquet");
    entries.map(|entry| entry.unwrap().path()).filter(parquet).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn done(output: Output) -> String {
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{output:?}");
    text(&output.stdout).to_owned()
}

/// What a verb wrote before it failed, and the one line that says why.
fn failed(output: Output) -> (Vec<u8>, String) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = text(&output.stderr).strip_prefix("triggerly: ").expect("it says who it is");
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line}");
    (output.stdout, line.to_owned())
}

/// The credentials of an account that is made now.
fn add_account(dir: &Path, name: &str) -> (String, String) {
    let printed = done(verb(dir, &["account", "add", name]));
    let value = |key: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.expect(key).to_owned()
    };
    (value("api_token"), value("secret_key"))
}

/// Has the server go on as another account, and gives the credentials of the one before.
fn become_account(server: &mut Server, (token, key): (String, String)) -> (String, String) {
    (
        std::mem::replace(&mut server.api_token, token),
        std::mem::replace(&mut server.secret_key, key),
    )
}

fn kinds(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// A server on a store of which the segment named is damaged: 5 events and a user of the account
/// `default`, from July 2001. Another account's, `other`, is whole.
fn damaged(dir: &Path) -> (Server, String, (String, String)) {
    let mut server = Server::start(dir);
    server.track("users", r#"{"id":"u1","email":"u1@example.com"}"#);
    for n in 0..5 {
        server.track(
            "events",
            &format!(r#"{{"type":"old","user_id":"u{n}","date":"2001-07-0{}"}}"#, n + 1),
        );
    }
    done(verb(dir, &["compact"]));
    let mine = segments(dir);
    let other = add_account(dir, "other");
    let default = become_account(&mut server, other);
    server.track("events", r#"{"type":"elsewhere","user_id":"u1"}"#);
    done(verb(dir, &["compact"]));
    let other = become_account(&mut server, default);
    assert!(server.terminate().success());

    assert!(segments(dir).len() > mine.len(), "each account has its own");
    let [file] = mine.into_iter().collect::<Vec<_>>().try_into().expect("one segment");
    let mut bytes = fs::read(&file).unwrap();
    bytes[20] ^= 4;
    fs::write(&file, bytes).unwrap();
    let name = format!("segments/{}", file.file_name().unwrap().to_str().unwrap());
    (server.again(), name, other)
}

#[test]
fn everything_else_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, file, other) = damaged(dir.path());

    // Calls are accepted and kept.
    server.track("events", r#"{"type":"new","user_id":"u1"}"#);
    server.track("users", r#"{"id":"u1","plan":"pro"}"#);

    // What is asked for and may be damaged is said to be missing.
    let page = server.read("/v1/events").json();
    assert_eq!((kinds(&page), &page["missing"]), (vec!["new"], &Value::from(6)));
    for target in ["/v1/breakdown?by=plan", "/v1/stats?where=plan+not+exists"] {
        assert_eq!(server.read(target).json()["missing"], 6, "{target}");
    }

    // Whoever counts leaves out the same, though an index has counted it.
    let stats = server.read("/v1/stats").json();
    assert_eq!((&stats["count"], &stats["missing"]), (&1.into(), &6.into()));
    let user = server.read("/v1/users/u1").json();
    assert_eq!((&user["email"], &user["missing"]), (&"u1@example.com".into(), &6.into()));
    assert_eq!((&user["attributes"]["plan"], &user["event_count"]), (&"pro".into(), &1.into()));
    let users = server.read("/v1/users").json();
    assert_eq!((users["users"].as_array().unwrap().len(), &users["missing"]), (1, &6.into()));

    // What can't be there isn't.
    for target in [
        "/v1/events?from=2001-08-01",
        "/v1/events?to=2001-07-01",
        "/v1/events?user_id=u9",
        "/v1/events?type=new",
    ] {
        assert_eq!(server.read(target).json()["missing"], Value::Null, "{target}");
    }
    let default = become_account(&mut server, other);
    let page = server.read("/v1/events").json();
    assert_eq!((kinds(&page), &page["missing"]), (vec!["elsewhere"], &Value::Null));
    let other = become_account(&mut server, default);

    let health = server.get("/healthz");
    assert_eq!(health.status, 200);
    let told = health.json()["damaged"].as_array().expect("what is damaged").clone();
    assert_eq!(told.len(), 1);
    assert!(told[0].as_str().unwrap().starts_with(&format!("{file}: ")), "{told:?}");

    // It stays so after yet another start.
    let mut server = server.again();
    assert_eq!(server.read("/v1/events").json()["missing"], 6);
    assert_eq!(server.read("/v1/stats").json()["count"], 1);
    become_account(&mut server, other);
    assert_eq!(kinds(&server.read("/v1/events").json()), ["elsewhere"]);
}

#[test]
fn an_export_holds_the_rest_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, file, other) = damaged(dir.path());
    server.track("events", r#"{"type":"new","user_id":"u1"}"#);
    let export = |more: &[&str]| verb(dir.path(), &[&["export"], more].concat());
    let check = || {
        for format in ["jsonl", "csv", "parquet"] {
            let default = ["events", "--account", "default", "--format", format];
            let (written, why) = failed(export(&default));
            for said in ["up to 6 records", &file, "triggerly verify"] {
                assert!(why.contains(said), "{format}: {why}");
            }
            match format {
                "parquet" => {
                    let path = dir.path().join("rest.parquet");
                    fs::write(&path, written).unwrap();
                    let table = triggerly::store::segment::Table::open(&path).expect("it is whole");
                    assert_eq!(table.rows(), 1);
                }
                _ => assert!(text(&written).contains("new") && !text(&written).contains("old")),
            }
            let from = [&default[..], &["--from", "2001-08-01"]].concat();
            assert!(!export(&from).stdout.is_empty());
            assert_eq!(export(&from).status.code(), Some(0), "nothing is missing there");
        }
        let whole = done(export(&["events", "--account", "other"]));
        assert_eq!(whole.lines().count(), 1);
        let users = done(export(&["users", "--account", "default"]));
        assert!(users.contains("u1@example.com"));
    };
    check();

    // Over HTTP: told, as long as nothing was sent, and broken off then.
    let refused = server.read("/v1/export?what=events");
    assert_eq!((refused.status, refused.code().as_str()), (503, "storage_failed"));
    assert!(refused.text().contains(&file), "{refused:?}");
    for n in 0..20 {
        let event = format!(r#"{{"type":"large","n":{n},"x":"{}"}}"#, "x".repeat(60_000));
        server.track("events", &event);
    }
    let begun = format!(
        "GET /v1/export?what=events HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        server.secret_key
    );
    let answer = raw(server.address, begun.as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.len());
    assert!(!answer.ends_with(b"0\r\n\r\n"), "it has no end");
    become_account(&mut server, other);
    let answer = raw(
        server.address,
        format!(
            "GET /v1/export?what=events HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            server.secret_key
        )
        .as_bytes(),
    );
    assert!(answer.ends_with(b"0\r\n\r\n"), "the other account's has");

    assert!(server.terminate().success());
    let default = ["events", "--account", "default", "--type", "old"];
    assert!(failed(export(&default)).1.contains(&file), "without a server as well");
}

#[test]
fn who_runs_it_is_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, file, _) = damaged(dir.path());
    for with_server in [true, false] {
        if !with_server {
            assert!(server.terminate().success());
        }
        let (report, why) = failed(verb(dir.path(), &["verify"]));
        assert!(text(&report).contains(&format!("damaged: {file}: ")), "{}", text(&report));
        assert!(why.contains(&file) && why.contains("restore a backup"), "{why}");
    }
}

#[test]
fn erasing_says_that_there_may_be_more() {
    let dir = tempfile::tempdir().unwrap();
    let (server, ..) = damaged(dir.path());
    server.track("events", r#"{"type":"new","user_id":"u3"}"#);
    let delete = |target: &str| {
        let bearer = format!("Bearer {}", server.secret_key);
        request(server.address, "DELETE", target, &[("Authorization", &bearer)])
    };
    let counted = delete("/v1/users/u3?dry_run=1");
    assert_eq!(
        counted.text(),
        r#"{"status":"ok","dry_run":true,"users":0,"events":1,"missing":6}"#
    );
    let counted = done(verb(
        dir.path(),
        &["delete", "events", "--account", "default", "--type", "old", "--dry-run"],
    ));
    assert_eq!(counted, "events=0\nmissing=6\n");
    let nobody = delete("/v1/users/u9");
    assert_eq!(nobody.status, 404, "he can't be among what is damaged");

    let erased = delete("/v1/users/u3");
    assert_eq!(erased.text(), r#"{"status":"ok","users":0,"events":1,"missing":6}"#);
    // Of nothing that could be counted, too: it stands if a backup of the file is put back.
    assert_eq!(
        delete("/v1/users/u4").text(),
        r#"{"status":"ok","users":0,"events":0,"missing":6}"#
    );
    assert_eq!(server.read("/v1/events").json()["events"], Value::Array(vec![]));
}
