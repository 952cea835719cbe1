//! Walks by cursor while 32 connections track and segments are sealed and merged under them: whatever was
//! there at the beginning is met exactly once, in order, whichever way and by whatever filter one goes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::random::Random;
use support::server::verb;
use support::{Server, escape, post};

const CONNECTIONS: usize = 32;

const KINDS: [&str; 4] = ["view", "click", "buy", "seldom"];

#[test]
fn every_event_once() {
    walks(2_000, Duration::from_secs(5));
}

#[test]
#[ignore = "takes two minutes"]
fn every_event_once_among_many() {
    walks(60_000, Duration::from_secs(100));
}

/// What was there at the beginning, by a filter of events.
struct There {
    filter: String,
    seqs: BTreeSet<u64>,
}

fn walks(count: u64, time: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let server = &Server::start(dir.path());
    let mut random = Random::new();
    let (there, users) = furnish(server, count, &mut random);
    let over = &AtomicBool::new(false);
    let (walked, compacted) = (&AtomicU64::new(0), &AtomicU64::new(0));
    let tracked = thread::scope(|scope| {
        let _ending = Ending(over);
        let tracked = scope.spawn(|| track(server, time));
        scope.spawn(move || {
            while !over.load(SeqCst) {
                let output = verb(&server.dir, &["compact"]);
                assert!(output.status.success(), "{output:?}");
                compacted.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut walkers = Vec::new();
        for order in ["asc", "desc"] {
            let (there, mut random) = (&there, random.split());
            walkers.push(scope.spawn(move || {
                let began = Instant::now();
                while began.elapsed() < time {
                    for there in there {
                        walk_events(server, there, order, &mut random);
                        walked.fetch_add(1, SeqCst);
                    }
                }
            }));
        }
        let (users, mut random) = (&users, random.split());
        walkers.push(scope.spawn(move || {
            let began = Instant::now();
            while began.elapsed() < time {
                for sort in ["", "&sort=created_at", "&sort=id&order=desc", "&sort=n"] {
                    walk_users(server, users, sort, &mut random);
                }
            }
        }));
        for walker in walkers {
            walker.join().unwrap();
        }
        let tracked = tracked.join().unwrap();
        over.store(true, SeqCst);
        tracked
    });
    let (walked, compacted) = (walked.load(SeqCst), compacted.load(SeqCst));
    println!("{walked} walks, {compacted} compactions, {tracked} calls meanwhile");
    assert!(walked >= 6 && compacted >= 2 && tracked > 100);
}

/// Ends the threads that work until told, also when one of the others panics.
struct Ending<'f>(&'f AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Events and users, two thirds sealed, in several segments, and the rest hot.
fn furnish(server: &Server, count: u64, random: &mut Random) -> (Vec<There>, BTreeSet<String>) {
    let parts = 6;
    let mut users = BTreeSet::new();
    for part in 0..parts {
        let mut events = Vec::new();
        for n in part * count / parts..(part + 1) * count / parts {
            let kind = if n % 97 == 0 { "seldom" } else { random.pick(&KINDS[..3]) };
            let user = format!("u{}", random.within(0..40));
            events.push(json!({"type": kind, "user_id": user, "n": n, "part": part}));
            if n % 20 == 0 {
                let id = format!("user-{n}");
                server.track("users", &json!({"id": id, "n": n % 7}).to_string());
                users.insert(id);
            }
        }
        for events in events.chunks(1000) {
            let target = format!("/v1/events/track?api_token={}", server.api_token);
            let headers = [("Content-Type", "application/json")];
            let body = Value::from(events.to_vec()).to_string();
            let reply = post(server.address, &target, &headers, body.as_bytes());
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        if part < parts * 2 / 3 {
            assert!(verb(&server.dir, &["compact"]).status.success());
        }
    }
    let all = server.all_events();
    assert_eq!(all.len() as u64, count);
    let of = |filter: &str, wanted: &dyn Fn(&Value) -> bool| There {
        filter: filter.to_owned(),
        seqs: all.iter().filter(|event| wanted(event)).map(seq).collect(),
    };
    let there = vec![
        of("", &|_| true),
        of("&type=seldom", &|event| event["type"] == "seldom"),
        of("&user_id=u7", &|event| event["user_id"] == "u7"),
        of(&format!("&where={}", escape("part<3")), &|event| {
            event["attributes"]["part"].as_u64().unwrap() < 3
        }),
        of("&type=buy&user_id=u3", &|event| event["type"] == "buy" && event["user_id"] == "u3"),
    ];
    assert!(there.iter().all(|there| !there.seqs.is_empty()));
    (there, users)
}

/// Tracks events of the same kinds, and users among the others.
fn track(server: &Server, time: Duration) -> u64 {
    let load = load::Load { connections: CONNECTIONS, time, ..load::Load::at(server.address) };
    let report = load.run(
        |request, connection, sequence| {
            let n = sequence * CONNECTIONS as u64 + connection as u64;
            let target = if n.is_multiple_of(50) {
                let id = format!("user-{n}-later");
                server.target("users", &json!({"id": id, "n": n % 7}).to_string())
            } else {
                let kind = KINDS[n as usize % KINDS.len()];
                let user = format!("u{}", n % 40);
                let event = json!({"type": kind, "user_id": user, "n": n, "part": n % 9 + 3});
                server.target("events", &event.to_string())
            };
            write!(request, "GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        },
        |_, _, _| {},
    );
    assert_eq!(report.failed(), 0, "{report:?}");
    report.calls
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().expect("a position")
}

/// Each row of a list by its pages, until there is no more or `enough` of them.
fn walk(
    server: &Server,
    target: &str,
    list: &str,
    random: &mut Random,
    mut row: impl FnMut(&Value) -> bool,
) {
    let mut cursor = String::new();
    loop {
        let limit = random.pick(&[3, 50, 100, 333, 1000]);
        let reply = server.read(&format!("{target}&limit={limit}{cursor}"));
        if reply.status == 503 {
            // There were too many questions; one asks again.
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        let page = reply.json();
        assert!(page.get("missing").is_none(), "{target}: {page:.300}");
        let rows = page[list].as_array().expect("a list");
        assert!(rows.len() <= limit);
        if rows.iter().any(|one| !row(one)) {
            return;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", escape(next)),
            None => return,
        }
    }
}

fn walk_events(server: &Server, there: &There, order: &str, random: &mut Random) {
    let last = *there.seqs.last().unwrap();
    let target = format!("/v1/events?order={order}{}", there.filter);
    let mut met: Vec<u64> = Vec::new();
    walk(server, &target, "events", random, |event| {
        met.push(seq(event));
        // What comes later comes without an end.
        order == "desc" || seq(event) <= last
    });
    let in_order =
        |pair: &[u64]| if order == "asc" { pair[0] < pair[1] } else { pair[0] > pair[1] };
    assert!(met.windows(2).all(in_order), "{target}: each once, in order");
    met.retain(|seq| *seq <= last);
    if order == "desc" {
        met.reverse();
    }
    assert!(met.iter().eq(&there.seqs), "{target}: {} for {}", met.len(), there.seqs.len());
}

fn walk_users(server: &Server, users: &BTreeSet<String>, sort: &str, random: &mut Random) {
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    walk(server, &format!("/v1/users?q=user{sort}"), "users", random, |user| {
        *met.entry(user["id"].as_str().expect("text").to_owned()).or_default() += 1;
        true
    });
    for user in users {
        assert_eq!(met.get(user), Some(&1), "{sort}: {user}");
    }
    assert!(met.values().all(|times| *times == 1), "{sort}: nobody twice");
}
