//! What was erased is gone from every count, breakdown, path, list and statistic: at once, once it is gone
//! from the disk, after a restart and after the indexes were built anew.
//!
//! Beside each store stands one that was never told of it. The two must answer alike.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::server::verb;
use support::{Server, files, request};
use triggerly::model::AccountId;
use triggerly::model::erasure::Digest;

/// What begins so is to be erased.
const GONE: &str = "gone-";

const DAY_COUNT: u64 = 40;

/// Everything that is told of an account, by every question there is.
const QUESTIONS: [&str; 33] = [
    "/v1/stats",
    "/v1/stats?interval=hour",
    "/v1/stats?interval=week&tz=Europe/Berlin",
    "/v1/stats?interval=month&bots=1",
    "/v1/stats?type=view",
    "/v1/stats?type=gone-kind",
    "/v1/stats?user_id=gone-user-1",
    "/v1/stats?from=2025-03-05&to=2025-03-20",
    "/v1/stats?where=n%3E3",
    "/v1/stats?where=gone-name+exists",
    "/v1/breakdown?type=view&by=page&top=1000",
    "/v1/breakdown?type=view&by=page&interval=day&top=1000",
    "/v1/breakdown?by=page&measure=users",
    "/v1/breakdown?by=page&measure=sum:n",
    "/v1/breakdown?by=page&measure=avg:n",
    "/v1/breakdown?by=page&measure=min:n",
    "/v1/breakdown?by=page&measure=max:n",
    "/v1/breakdown?by=gone-name",
    "/v1/breakdown?by=context:page",
    "/v1/breakdown?by=context:browser&measure=users",
    "/v1/funnel?steps=view,buy&within=7d",
    "/v1/funnel?steps=view,gone-kind&within=30d",
    "/v1/funnel?steps=gone-kind,view,buy&within=30d",
    "/v1/retention?first=view&back=buy&interval=week",
    "/v1/retention?first=gone-kind&back=view&interval=day",
    "/v1/events?limit=1000",
    "/v1/events?limit=1000&order=asc&type=view",
    "/v1/events?limit=1000&user_id=gone-user-1",
    "/v1/events?limit=1000&type=gone-kind",
    "/v1/users?limit=1000",
    "/v1/users?q=gone&limit=1000",
    "/v1/users?sort=event_count&order=desc&limit=1000",
    "/v1/types",
];

/// Who is asked about by name, those erased too.
const USERS: [&str; 6] =
    ["gone-user-1", "gone-user-2", "gone-untracked", "gone-by-date", "u1", "u2"];

#[test]
fn erased_once_sealed() {
    check(|_, day| day == DAY_COUNT - 1);
}

#[test]
fn erased_while_hot() {
    check(|_, _| false);
}

#[test]
fn erased_while_part_is_sealed() {
    check(|round, day| day % 13 == 12 && round == 0 || day == DAY_COUNT / 2);
}

/// `sealed` tells, by a number of the round and the day, whether to seal behind it.
fn check(sealed: fn(u64, u64) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let (told, never) = (dir.path().join("told"), dir.path().join("never"));
    let (mut told, mut never) = (Server::start(&told), Server::start(&never));
    for (server, all) in [(&told, true), (&never, false)] {
        for round in 0..2 {
            furnish(server, all, |day| sealed(round, day));
        }
    }
    let there = told.read("/v1/stats").json();
    assert!(there.to_string().contains("gone-kind"), "there is something to erase: {there}");
    for target in [
        "/v1/users/gone-user-1",
        "/v1/users/gone-user-2",
        "/v1/users/gone-untracked",
        "/v1/events?type=gone-kind",
        "/v1/events?to=2025-02-01",
        "/v1/events?type=buy&from=2030-01-01",
    ] {
        let bearer = format!("Bearer {}", told.secret_key);
        let reply = request(told.address, "DELETE", target, &[("Authorization", &bearer)]);
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
    }
    alike(&told, &never, "at once");
    told = told.again();
    alike(&told, &never, "after kill -9");
    compact(&told);
    compact(&never);
    alike(&told, &never, "after compacting");
    for server in [&told, &never] {
        let output = verb(&server.dir, &["reindex"]);
        assert!(output.status.success(), "{output:?}");
    }
    alike(&told, &never, "after building the indexes anew");
    told.terminate();
    never.terminate();
    let found = files::texts_in(&told.dir, GONE, GONE.len() + 4);
    assert!(found.is_empty(), "bytes of what was erased: {found:?}");
    no_hash_in_an_index(&told);
    told = told.again();
    alike(&told, &never.again(), "after an orderly end");
}

/// Four weeks and more of views, purchases and updates of users. `all`: those to be erased too.
fn furnish(server: &Server, all: bool, sealed: impl Fn(u64) -> bool) {
    let mut posted = Vec::new();
    for day in 0..DAY_COUNT {
        let date = |hour: u64| {
            let (month, day) = (3 + day / 30, 1 + day % 30);
            format!("2025-{month:02}-{day:02}T{hour:02}:15:00Z")
        };
        for n in 0..4 {
            let user = format!("u{}", (day + n) % 5);
            let page = format!("/{}", n % 3);
            let kind = if (day + n) % 4 == 3 { "buy" } else { "view" };
            posted.push(json!({"type": kind, "user_id": user, "date": date(n * 5), "page": page, "n": n + day}));
        }
        if all {
            for user in ["gone-user-1", "gone-user-2", "gone-untracked"] {
                posted.push(json!({"type": "view", "user_id": user, "date": date(3), "page": "gone-page", "n": 1000}));
                posted.push(json!({"type": "buy", "user_id": user, "date": date(7), "page": "/1", "gone-name": 1}));
            }
            posted.push(json!({"type": "gone-kind", "user_id": "u1", "date": date(4), "page": "/0", "n": -5}));
            posted.push(json!({"type": "view", "user_id": "u2", "date": "2025-01-09", "page": "/0", "n": 7}));
            posted.push(json!({"type": "buy", "user_id": "gone-by-date", "date": "2031-01-09", "gone-name": "x"}));
        }
        if day % 10 == 0 {
            post(server, &mut posted);
            for user in ["u1", "u2"] {
                server.track(
                    "users",
                    &json!({"id": user, "plan": day, "email": "a@b.c"}).to_string(),
                );
            }
            if all {
                for user in ["gone-user-1", "gone-user-2"] {
                    let patch = json!({"id": user, "gone-name": day, "email": "gone-mail@b.c"});
                    server.track("users", &patch.to_string());
                }
                pixel(server, "gone-user-1", "gone-seen", &date(5));
            }
            pixel(server, "u1", "seen", &date(6));
        }
        if sealed(day) {
            post(server, &mut posted);
            compact(server);
        }
    }
    post(server, &mut posted);
}

fn post(server: &Server, events: &mut Vec<Value>) {
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let headers = [("Content-Type", "application/json")];
    let body = Value::from(std::mem::take(events)).to_string();
    if body != "[]" {
        let reply = support::post(server.address, &target, &headers, body.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// A call as a browser makes it, but for what makes it a visitor, which no two servers call the same.
fn pixel(server: &Server, user: &str, page: &str, date: &str) {
    let event = json!({"type": "view", "user_id": user, "date": date, "page": page});
    let target = server.target("events", &event.to_string());
    let referer = format!("https://example.com/{page}");
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let headers = [("Referer", &*referer), ("User-Agent", agent), ("Sec-GPC", "1")];
    let reply = request(server.address, "GET", &target, &headers);
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn compact(server: &Server) {
    let output = verb(&server.dir, &["compact"]);
    assert!(output.status.success(), "{output:?}");
}

/// Whether both answer everything alike, but for positions and times of arrival.
fn alike(told: &Server, never: &Server, when: &str) {
    let mut targets: Vec<String> = QUESTIONS.map(str::to_owned).into();
    for user in USERS {
        targets.push(format!("/v1/users/{user}"));
        targets.push(format!("/v1/users/{user}/timeline?limit=1000"));
    }
    for target in targets {
        let (own, other) = (told.read(&target), never.read(&target));
        assert_eq!(own.status, other.status, "{when}: {target}: {own:?}");
        if own.status == 200 {
            let (own, other) = (bare(own.json()), bare(other.json()));
            assert!(own == other, "{when}: {target}:\n{own}\nshould be\n{other}");
            assert!(
                !own.to_string().contains(GONE) || target.contains(GONE),
                "{when}: {target}: {own}"
            );
        } else {
            assert_eq!(own.status, 404, "{when}: {target}: {own:?}");
        }
    }
    for what in ["events", "users"] {
        let export = |server: &Server| {
            let output = verb(&server.dir, &["export", what, "--account", "default"]);
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(|line| bare(serde_json::from_str(line).unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(export(told), export(never), "{when}: export {what}");
    }
}

/// Without what differs between two stores that were told the same.
fn bare(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for name in ["seq", "received_at", "created_at", "updated_at", "at", "next_cursor"] {
                map.shift_remove(name);
            }
            map.values_mut().for_each(|value| *value = bare(value.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = bare(value.take())),
        _ => {}
    }
    value
}

/// Indexes name users by the beginning of a hash. It goes with the user, too.
fn no_hash_in_an_index(server: &Server) {
    for path in files::all(&server.dir.join("segments")) {
        if path.extension().is_some_and(|name| name == "parquet") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for user in USERS.iter().filter(|user| user.starts_with(GONE)) {
            let Digest(digest) = Digest::of_user(AccountId(1), user);
            let digest = &digest[..8];
            let backwards: Vec<u8> = digest.iter().rev().copied().collect();
            let is_there = |hash: &[u8]| bytes.windows(hash.len()).any(|window| window == hash);
            assert!(!is_there(digest) && !is_there(&backwards), "{user} in {}", path.display());
        }
    }
}
