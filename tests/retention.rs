//! Retention, from a shell: how long events are kept, shown, tried out, set.
//!
//! Promises that a trial changes nothing and tells what would go, that what was set outlives the
//! process, and that only the events of the account it was set for go by their age.

mod support;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::Server;
use support::furnished::{
    furnish, last_seq, left, run, text, told, track_event, track_user, with_other_account,
};

/// What a verb printed; it must have succeeded.
#[track_caller]
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

#[test]
fn it_is_shown_and_set_with_and_without_a_server() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        done(dir.path(), &["account", "add", "my shop"]);
        if !with_server {
            server.terminate();
        }
        let done = |arguments: &[&str]| done(dir.path(), arguments);
        let off = "name=default\nretention_days=off\n";
        assert_eq!(done(&["retention", "show", "default"]), off);
        assert_eq!(
            done(&["retention", "show"]),
            format!("{off}\nname=my shop\nretention_days=off\n")
        );
        assert!(!done(&["account", "list"]).contains("retention_days"), "for ever goes unsaid");

        let set = run(dir.path(), &["retention", "set", "my shop", "365"]);
        assert_eq!(text(&set.stdout), "name=my shop\nretention_days=365\n");
        let advice = text(&set.stderr);
        assert!(advice.contains("`triggerly compact`") && advice.lines().count() == 1, "{advice}");
        let seq = last_seq(dir.path());
        assert_eq!(
            done(&["retention", "set", "my shop", "365", "--json"]),
            "{\"name\":\"my shop\",\"retention_days\":365}\n"
        );
        assert_eq!(last_seq(dir.path()), seq, "what is so already isn't written again");
        assert_eq!(
            done(&["retention", "show", "--json"]),
            "[{\"name\":\"default\",\"retention_days\":null},\
             {\"name\":\"my shop\",\"retention_days\":365}]\n"
        );
        assert!(done(&["account", "show", "my shop"]).ends_with("\nretention_days=365\n"));
        let listed: Value = serde_json::from_str(&done(&["account", "list", "--json"])).unwrap();
        assert_eq!(listed[0].get("retention_days"), None);
        assert_eq!(listed[1]["retention_days"], 365);

        // It stays with the account through new credentials, kill -9 and an orderly end.
        done(&["account", "rotate", "my shop"]);
        let mut server = server.again();
        let shown = "name=my shop\nretention_days=365\n";
        assert_eq!(done(&["retention", "show", "my shop"]), shown);
        server.kill();
        assert_eq!(done(&["retention", "show", "my shop"]), shown);
        let mut server = server.again();
        server.terminate();
        assert_eq!(done(&["retention", "show", "my shop"]), shown);

        let off = run(dir.path(), &["retention", "set", "my shop", "off"]);
        assert_eq!(text(&off.stdout), "name=my shop\nretention_days=off\n");
        assert_eq!(text(&off.stderr), "");
        for days in ["1", "36500"] {
            let shown = format!("name=default\nretention_days={days}\n");
            assert_eq!(done(&["retention", "set", "default", days]), shown);
            assert_eq!(done(&["retention", "show", "default"]), shown);
        }
    }
}

#[test]
fn a_trial_tells_what_would_go_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server);
    with_other_account(&mut server, furnish);
    server.track("events", r#"{"type":"now","text":"😀","n":1.0}"#);
    // It claims to come from after it came, so its age counts from its arrival.
    track_event(&server, "ahead", "u1", "2100-01-01");
    // So many days ago a day of July 2001 began, or less than one more. The first was day 11,504.
    let now = loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Not right before a day ends, which would end within the trials.
        if now % 86_400 < 86_400 - 20 {
            break now;
        }
        sleep(Duration::from_secs(1));
    };
    let days_since = |day: u64| now / 86_400 - (11_504 + day - 1);
    let exported = done(dir.path(), &["export", "events", "--account", "default"]);
    let bytes_of =
        |events: usize| exported.lines().take(events).map(|line| line.len() + 1).sum::<usize>();
    let (before, seq) = (told(&server), last_seq(dir.path()));
    let mut alone = false;
    loop {
        for (days, events) in [
            ("1".to_owned(), 5),
            // An event at the midnight of the 6th is older than the days since, unless it is midnight.
            (days_since(9).to_string(), 5),
            (days_since(6).to_string(), 3),
            (days_since(4).to_string(), 1),
            ((days_since(4) + 1).to_string(), 0),
            ("36500".to_owned(), 0),
            ("off".to_owned(), 0),
        ] {
            let tried = ["retention", "set", "default", &days, "--dry-run"];
            let (bytes, said) = (bytes_of(events), run(dir.path(), &tried));
            assert_eq!(text(&said.stdout), format!("events={events}\nbytes={bytes}\n"), "{days}");
            assert_eq!(text(&said.stderr), "");
            let tried = [&tried[..], &["--json"]].concat();
            let as_json = format!("{{\"events\":{events},\"bytes\":{bytes}}}\n");
            assert_eq!(done(dir.path(), &tried), as_json);
        }
        assert_eq!(last_seq(dir.path()), seq);
        if alone {
            break;
        }
        server.terminate();
        alone = true;
    }
    assert!(done(dir.path(), &["retention", "show", "default"]).ends_with("=off\n"));
    assert_eq!(told(&server.again()), before);
}

#[test]
fn wrong_usage_and_what_can_not_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path());
    let seq = last_seq(dir.path());
    for (arguments, status, says) in [
        (&["retention"][..], 2, ""),
        (&["retention", "keep"], 2, ""),
        (&["retention", "set"], 2, ""),
        (&["retention", "set", "default"], 2, ""),
        (&["retention", "set", "default", "0"], 2, "from 1 to 36500, or off"),
        (&["retention", "set", "default", "36501"], 2, "from 1 to 36500, or off"),
        (&["retention", "set", "default", "99999999999999999999"], 2, "off"),
        (&["retention", "set", "default", "1.5"], 2, "off"),
        (&["retention", "set", "default", "+5"], 2, "off"),
        (&["retention", "set", "default", "-5"], 2, "-5"),
        (&["retention", "set", "default", "1y"], 2, "off"),
        (&["retention", "set", "default", ""], 2, "off"),
        (&["retention", "set", "default", "OFF"], 2, "off"),
        (&["retention", "set", "default", "5", "6"], 2, ""),
        (&["retention", "show", "default", "other"], 2, ""),
        (&["retention", "show", "nobody"], 1, "nobody"),
        (&["retention", "set", "nobody", "5"], 1, "nobody"),
        (&["retention", "set", "nobody", "5", "--dry-run"], 1, "nobody"),
    ] {
        let output = run(dir.path(), arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), stdout), (Some(status), ""), "{arguments:?} {stderr}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
    assert_eq!(last_seq(dir.path()), seq);
}

#[test]
fn compacting_takes_what_is_older_and_nothing_else() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        furnish(&server);
        track_user(&server, "u3");
        track_event(&server, "ahead", "u1", "2100-01-01");
        server.track("events", r#"{"type":"now","user_id":"u1","date":null}"#);
        let others = with_other_account(&mut server, |other| {
            furnish(other);
            left(other)
        });
        let users = |server: &Server| {
            let page = server.read("/v1/users").json();
            let users = page["users"].as_array().expect("a list").clone();
            users
                .into_iter()
                .map(|mut user| {
                    user["event_count"].take();
                    user
                })
                .collect::<Vec<_>>()
        };
        let before = users(&server);
        if !with_server {
            server.terminate();
        }
        done(dir.path(), &["retention", "set", "default", "30"]);
        done(dir.path(), &["compact"]);
        let after = done(dir.path(), &["retention", "set", "default", "30", "--dry-run"]);
        assert_eq!(after, "events=0\nbytes=0\n");
        let seq = last_seq(dir.path());
        done(dir.path(), &["compact"]);
        assert_eq!(last_seq(dir.path()), seq, "what is gone is not erased again");
        let server = server.again();
        let kept: Vec<Value> =
            server.all_events().iter().map(|event| event["type"].clone()).collect();
        assert_eq!(kept, ["ahead", "now"]);
        assert_eq!(users(&server), before, "users stay as they are");
        let exported = done(dir.path(), &["export", "events", "--account", "other"]);
        assert_eq!(exported.lines().count(), others.len());
    }
}
