//! Murders while indexes are built anew, and while a server takes calls, answers questions and seals: what is
//! counted afterwards is what an export holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;
mod naive;
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use naive::Event;
use naive::questions::stats;
use naive::zones::{Interval, Zone, millis};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::connection::Connection;
use support::random::Random;
use support::server::{triggerly, verb};
use support::{Server, escape, post};

const KINDS: [&str; 4] = ["view", "click", "buy", "seldom"];

const USERS: u64 = 60;

#[test]
fn a_few_murders() {
    murders(&mut Random::new(), 6, 4_000);
}

#[test]
#[ignore = "takes minutes"]
fn fifty_murders() {
    let mut random = Random::new();
    for store in 0..5 {
        println!("store {store}");
        murders(&mut random, 10, 30_000);
    }
}

#[test]
fn built_anew_it_answers_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server, 3_000, &mut Random::new());
    check(&server);
    done(&server, &["reindex"]);
    check(&server);
    server.terminate();
    done(&server, &["reindex"]);
    check(&server.again());
}

#[test]
fn without_its_indexes_a_store_answers_the_same_and_gets_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server, 3_000, &mut Random::new());
    let indexes = |server: &Server| {
        let mut files = support::files::all(&server.dir.join("segments"));
        files.retain(|path| path.extension().is_some_and(|name| name == "index"));
        files
    };
    let before = indexes(&server);
    assert!(!before.is_empty(), "a sealed segment has one");
    for damage in ["gone", "cut short", "other bytes"] {
        server.terminate();
        for path in &before {
            let mut bytes = std::fs::read(path).unwrap();
            match damage {
                "gone" => std::fs::remove_file(path).unwrap(),
                "cut short" => std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
                _ => {
                    bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
        server = server.again();
        println!("{damage}");
        check(&server);
        done(&server, &["reindex"]);
        check(&server);
        assert_eq!(indexes(&server).len(), before.len(), "{damage}");
    }
}

fn murders(random: &mut Random, rounds: u64, count: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server, count, random);
    let began = Instant::now();
    done(&server, &["reindex"]);
    let time = began.elapsed();
    println!("reindex takes {time:?}");
    for round in 0..rounds {
        let moment = Duration::from_micros(random.within(1..time.as_micros() as u64 * 5 / 4));
        let what = match round % 3 {
            0 => {
                server.terminate();
                let mut command = triggerly();
                command.args(["reindex", "--data"]).arg(dir.path());
                let mut child = command.stdout(Stdio::null()).spawn().unwrap();
                thread::sleep(moment);
                let _ = child.kill();
                let _ = child.wait();
                "while a verb builds them"
            }
            1 => {
                thread::scope(|scope| {
                    // Its end by the server's is as good as any.
                    scope.spawn(|| verb(dir.path(), &["reindex"]));
                    thread::sleep(moment);
                    server.signal(Signal::KILL);
                });
                "while the server builds them"
            }
            _ => {
                everybody_at_work(&server, random);
                "while everybody is at work"
            }
        };
        println!("round {round}: {what}, at {moment:?}");
        server.kill();
        if random.one_in(3) {
            done(&server, &["verify"]);
        }
        server = server.again();
        check(&server);
    }
    server.terminate();
    done(&server, &["compact"]);
    done(&server, &["verify"]);
    check(&server.again());
}

fn done(server: &Server, arguments: &[&str]) {
    let output = verb(&server.dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Calls, questions and sealing, until the server is killed.
fn everybody_at_work(server: &Server, random: &mut Random) {
    let moment = Duration::from_millis(random.within(200..1200));
    let over = &AtomicBool::new(false);
    let asked = &AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(moment);
            over.store(true, SeqCst);
            server.signal(Signal::KILL);
        });
        scope.spawn(move || {
            while !over.load(SeqCst) {
                verb(&server.dir, &["compact"]);
            }
        });
        for n in 0..2 {
            scope.spawn(move || {
                let key = &server.secret_key;
                let Ok(mut connection) = Connection::open(server.address) else { return };
                for target in questions().iter().cycle().skip(n * 3) {
                    let request = format!(
                        "GET {target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key}\r\n\r\n"
                    );
                    let reply = connection.send(request).and_then(|()| connection.reply());
                    let Ok(Some(reply)) = reply else { return };
                    assert!([200, 503].contains(&reply.status), "{target}: {reply:?}");
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        let load = load::Load {
            connections: 24,
            time: Duration::from_secs(20),
            ..load::Load::at(server.address)
        };
        let mut random = random.split();
        load.run(
            |request, _, _| {
                let (kind, text) = one(&mut random);
                let target = server.target(kind, &text.to_string());
                write!(request, "GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            },
            |_, _, _| {},
        );
    });
    println!("{} questions meanwhile", asked.load(SeqCst));
}

fn questions() -> [String; 6] {
    [
        "/v1/stats?interval=hour&type=buy".to_owned(),
        "/v1/breakdown?type=view&by=page&measure=users".to_owned(),
        "/v1/events?type=seldom&limit=20".to_owned(),
        "/v1/users/u7/timeline?limit=50".to_owned(),
        "/v1/users?sort=event_count&order=desc&limit=10".to_owned(),
        "/v1/types".to_owned(),
    ]
}

/// An event, or a user's update, and which it is.
fn one(random: &mut Random) -> (&'static str, Value) {
    let user = format!("u{}", random.within(0..USERS));
    if random.one_in(20) {
        return ("users", json!({"id": user, "plan": random.within(0..4), "seen": true}));
    }
    let kind = if random.one_in(60) { "seldom" } else { random.pick(&KINDS[..3]) };
    let hour = random.within(0..24);
    let day = random.within(1..11);
    let event = json!({
        "type": kind, "user_id": user, "date": format!("2025-06-{day:02}T{hour:02}:30:00Z"),
        "page": format!("/{}", random.within(0..9)), "n": random.within(0..50),
    });
    ("events", event)
}

/// Five segments, and a hot end.
fn furnish(server: &Server, count: u64, random: &mut Random) {
    for part in 0..6 {
        let mut events = Vec::new();
        for _ in 0..count / 6 {
            match one(random) {
                ("users", patch) if random.one_in(10) => server.track("users", &patch.to_string()),
                ("users", _) => {}
                (_, event) => events.push(event),
            }
        }
        for events in events.chunks(1000) {
            let target = format!("/v1/events/track?api_token={}", server.api_token);
            let headers = [("Content-Type", "application/json")];
            let body = Value::from(events.to_vec()).to_string();
            let reply = post(server.address, &target, &headers, body.as_bytes());
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        if part < 5 {
            done(server, &["compact"]);
        }
    }
}

/// Whether every count is what the export makes of it.
fn check(server: &Server) {
    let events = naive::exported(server);
    check_stats(server, &events);
    check_users(server, &events);
    check_pages(server, &events);
    check_types(server, &events);
}

fn found(server: &Server, target: &str) -> Value {
    let reply = server.read(target);
    assert_eq!(reply.status, 200, "{target}: {reply:?}");
    let answer = reply.json();
    assert!(answer.get("missing").is_none(), "{target}: {answer:.300}");
    answer
}

fn check_stats(server: &Server, events: &[Event]) {
    let all: Vec<&Event> = events.iter().collect();
    for (interval, name) in [(Interval::Hour, "hour"), (Interval::Day, "day")] {
        let (tally, rows) = stats(&all, Zone::Utc, interval);
        let answer = found(server, &format!("/v1/stats?interval={name}"));
        assert_eq!(answer["count"], tally.count, "{name}");
        let told = answer["rows"].as_array().unwrap().iter().map(|row| {
            let start = millis(row["from"].as_str().unwrap());
            let kind = row["type"].as_str().unwrap().to_owned();
            ((start, kind), row["count"].as_u64().unwrap())
        });
        let told: BTreeMap<_, _> = told.collect();
        let counts: BTreeMap<_, _> =
            rows.into_iter().map(|(key, tally)| (key, tally.count)).collect();
        assert!(told == counts, "{name}:\n{told:?}\nshould be\n{counts:?}");
    }
    for kind in KINDS {
        let count = events.iter().filter(|event| event.kind == kind).count();
        assert_eq!(found(server, &format!("/v1/stats?type={kind}"))["count"], count, "{kind}");
    }
}

fn check_users(server: &Server, events: &[Event]) {
    let mut seqs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for event in events.iter().rev() {
        seqs.entry(event.user.as_deref().unwrap()).or_default().push(event.seq);
    }
    let users = found(server, "/v1/users?limit=1000");
    let users = users["users"].as_array().unwrap();
    assert!(!users.is_empty());
    for user in users {
        let id = user["id"].as_str().unwrap();
        assert_eq!(user["event_count"], seqs.get(id).map_or(0, Vec::len), "{id}");
    }
    for (id, seqs) in seqs.iter().step_by(7) {
        let mut told = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = found(server, &format!("/v1/users/{id}/timeline?limit=500{cursor}"));
            let rows = page["timeline"].as_array().unwrap();
            let of_events = rows.iter().filter(|row| row.get("event").is_some());
            told.extend(of_events.map(|row| row["seq"].as_u64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", escape(next)),
                None => break,
            }
        }
        assert_eq!(&told, seqs, "{id}");
    }
}

fn check_pages(server: &Server, events: &[Event]) {
    for kind in KINDS {
        let newest = events.iter().rev().filter(|event| event.kind == kind).take(30);
        let newest: Vec<_> = newest.map(|event| event.seq).collect();
        let page = found(server, &format!("/v1/events?type={kind}&limit=30"));
        let told: Vec<_> = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(told, newest, "{kind}");

        let mut pages: BTreeMap<String, u64> = BTreeMap::new();
        for event in events.iter().filter(|event| event.kind == kind) {
            *pages.entry(event.attributes["page"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let answer = found(server, &format!("/v1/breakdown?type={kind}&by=page&top=1000"));
        let told = answer["rows"].as_array().unwrap().iter().map(|row| {
            (row["value"].as_str().unwrap().to_owned(), row["result"].as_u64().unwrap())
        });
        assert_eq!(told.collect::<BTreeMap<_, _>>(), pages, "{kind}");
    }
}

fn check_types(server: &Server, events: &[Event]) {
    let types = found(server, "/v1/types");
    let types = types["types"].as_array().unwrap();
    for kind in KINDS {
        let count = events.iter().filter(|event| event.kind == kind).count();
        for (name, data_type) in [("page", "String"), ("n", "Number")] {
            let row = types
                .iter()
                .find(|row| row["kind"] == format!("event:{kind}") && row["attribute"] == name);
            let row = row.unwrap_or_else(|| panic!("{kind} {name}: {types:?}"));
            assert_eq!(
                (&row["values"], &row["recognised"]),
                (&json!(count), &json!({data_type: count})),
                "{kind} {name}"
            );
        }
    }
}
