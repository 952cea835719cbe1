//! Contexts, as a shell sees them: what a browser's call told beside stays with its event, wherever the
//! event lies, in whatever it is exported, and comes back from there.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::Server;
use support::furnished::text;
use support::server::verb;

const TOLD: &str = r#"{"page":"https://a.example/?q=\"1\"","n":1.0,"visitor":"😀"}"#;

fn lines() -> String {
    let line = |seq: u64, context: &str| {
        format!(
            r#"{{"seq":{seq},"type":"view","user_id":"u","date":"2001-07-04T00:00:00.000Z","received_at":"2001-07-05T00:00:00.000Z","attributes":{{"n":{seq}}}{context},"via":"import"}}"#
        ) + "\n"
    };
    (1..=40)
        .map(|seq| {
            line(seq, &if seq % 3 == 0 { String::new() } else { format!(r#","context":{TOLD}"#) })
        })
        .collect()
}

fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

/// An export but for the positions, which are the store's own.
fn exported(dir: &Path) -> String {
    let lines = done(dir, &["export", "events"]);
    let (mut shown, accounts) = (String::new(), 1);
    for line in lines.lines() {
        let (seq, rest) = line.strip_prefix(r#"{"seq":"#).unwrap().split_once(',').unwrap();
        let seq = seq.parse::<u64>().unwrap() - accounts;
        shown += &format!("{{\"seq\":{seq},{rest}\n");
    }
    shown
}

#[test]
fn a_context_stays_with_its_event_and_comes_back_as_it_was() {
    let below = tempfile::tempdir().unwrap();
    let at = |name: &str| below.path().join(name);
    let store = at("store");
    fs::write(at("events.jsonl"), lines()).unwrap();
    done(&store, &["account", "add", "default"]);
    let import = |dir: &Path, name: &str| {
        let said = verb(dir, &["import", "events", at(name).to_str().unwrap()]);
        assert!(said.status.success(), "{said:?}");
    };
    import(&store, "events.jsonl");
    assert_eq!(exported(&store), lines());
    import(&store, "events.jsonl");
    assert_eq!(exported(&store), lines(), "twice is once");
    for arguments in [&["compact"][..], &["rebuild"], &["verify"], &["compact"]] {
        done(&store, arguments);
        assert_eq!(exported(&store), lines(), "{arguments:?}");
    }
    done(&store, &["backup", at("backup").to_str().unwrap()]);
    done(&at("restored"), &["restore", at("backup").to_str().unwrap()]);
    assert_eq!(exported(&at("restored")), lines());

    let csv = done(&store, &["export", "events", "--format", "csv"]);
    let first = csv.lines().next().unwrap();
    assert!(first.ends_with(",via,attributes,context"), "{first}");
    let rows: Vec<_> =
        csv::Reader::from_reader(csv.as_bytes()).into_records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 40);
    assert_eq!((&rows[0][7], &rows[2][7]), (TOLD, ""));

    let parquet = verb(&store, &["export", "events", "--format", "parquet"]).stdout;
    fs::write(at("events.parquet"), parquet).unwrap();
    let other = at("other");
    done(&other, &["account", "add", "default"]);
    import(&other, "events.parquet");
    assert_eq!(exported(&other), lines());

    let server = Server::start(&store);
    let key = done(&store, &["account", "rotate", "default", "--only", "secret"]);
    let key = key.lines().find_map(|line| line.strip_prefix("secret_key=")).unwrap();
    let bearer = format!("Bearer {key}");
    let reply = support::request(
        server.address,
        "GET",
        "/v1/events?order=asc&limit=1000",
        &[("Authorization", &bearer)],
    );
    let reply = reply.json();
    let events = reply["events"].as_array().unwrap();
    let told: Value = serde_json::from_str(TOLD).unwrap();
    assert_eq!((events.len(), &events[0]["context"]), (40, &told));
    assert_eq!(events[2].get("context"), None);
}

#[test]
fn what_is_no_context_of_ours_is_not_taken_for_one() {
    let below = tempfile::tempdir().unwrap();
    let store = below.path().join("store");
    done(&store, &["account", "add", "default"]);
    let whole = lines();
    let line = whole.lines().next().unwrap();
    let long = format!(r#"{{"page":"{}"}}"#, "x".repeat(2 * 1024));
    let file = below.path().join("events.jsonl");
    let text = [line.replace(TOLD, &long), line.replace(TOLD, "7"), line.to_owned()].join("\n");
    fs::write(&file, text).unwrap();
    let output = verb(&store, &["import", "events", file.to_str().unwrap()]);
    let rejected = fs::read_to_string(below.path().join("events.jsonl.rejected")).unwrap();
    let rejected: Vec<_> = rejected.lines().collect();
    assert!(
        rejected.len() == 1 && rejected[0].contains("payload_too_large"),
        "{output:?} {rejected:?}"
    );
    // A line that isn't as exports write it is an object as a call sends it.
    let exported = done(&store, &["export", "events"]);
    let exported: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported.len(), 2);
    assert_eq!(
        (&exported[0]["attributes"]["context"], exported[0].get("context")),
        (&7.into(), None)
    );
    assert_eq!(exported[1]["attributes"]["n"], 1);
}
