//! A crash at each place where the compactor or a renewal can be cut short, on a store of known
//! content: the next opening finds all of it, once, nothing of what was erased, and no leftovers.
//!
//! The process ends by itself at the place that `TRIGGERLY_FAULT` names, which only programs built
//! with debug assertions do.
#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use support::connection::Connection;
use support::random::Random;
use support::server::{triggerly, verb};
use support::{Server, files, merge};
use tempfile::TempDir;
use triggerly::model::{AccountId, Change, Record, Seq};
use triggerly::query::answers;
use triggerly::store::{Count, Order, Selection, Stop, Store};

/// Where `compact` can end, and how many times it comes there with the store of [`Prepared`].
const OF_COMPACT: [(&str, u32); 12] = [
    ("seal-files", 1),
    ("seal-removed", 1),
    // Sealing once, each segment that loses something, and a merge of each account that has any left.
    ("step-written", 1 + 8 + 2),
    ("step-recorded", 1 + 8 + 2),
    ("erase-files", 8),
    // Once for what was erased, once for what is too old.
    ("erase-rewritten", 2),
    ("erase-renewed", 2),
    ("merge-files", 2),
    ("merge-removed", 2),
    ("renew-copied", 1),
    ("renew-flushed", 1),
    ("renew-current", 1),
];

/// Where `rebuild` can.
const OF_REBUILD: [(&str, u32); 3] =
    [("renew-copied", 1), ("renew-flushed", 1), ("renew-current", 1)];

/// Where `reindex` can, and how many times: it drops them, and builds that of each of the six segments.
const OF_REINDEX: [(&str, u32); 2] = [("reindex-dropped", 1), ("index-files", 6)];

const ACCOUNTS: [&str; 3] = ["default", "other", "brief"];

/// What begins so was erased before the store is compacted.
const GONE: &str = "gone-";

/// Who is erased too, and tracked again.
const BACK: &str = "back-user";

#[test]
fn every_place_is_known() {
    let mut places = BTreeSet::new();
    for path in files::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")) {
        let text = fs::read_to_string(&path).unwrap();
        for part in text.split("fault::point(").skip(1) {
            let name = part.strip_prefix('"').and_then(|part| part.split('"').next());
            let name = name.unwrap_or_else(|| panic!("a name in {}", path.display()));
            assert!(places.insert(name.to_owned()), "{name} is the name of two places");
        }
    }
    let known = OF_COMPACT.iter().chain(&OF_REINDEX);
    let known: BTreeSet<_> = known.map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(places, known, "a crash at each is tried");
}

#[test]
fn a_crash_at_each_place_of_compact() {
    let prepared = Prepared::new();
    for (place, times) in OF_COMPACT {
        prepared.check_crash("compact", &format!("{place}:{times}"));
    }
}

#[test]
#[ignore = "takes half a minute"]
fn a_crash_each_time_that_compact_comes_to_a_place() {
    let prepared = Prepared::new();
    for (place, times) in OF_COMPACT {
        for time in 1..times {
            prepared.check_crash("compact", &format!("{place}:{time}"));
        }
        // It comes there so many times and no more.
        let dir = prepared.copy();
        let output = verb_with_fault(dir.path(), "compact", &format!("{place}:{}", times + 1));
        assert!(output.status.success(), "{place}: {output:?}");
    }
}

#[test]
fn a_crash_at_each_place_of_rebuild() {
    let prepared = Prepared::new();
    for (place, times) in OF_REBUILD {
        for time in 1..=times {
            prepared.check_crash("rebuild", &format!("{place}:{time}"));
        }
    }
}

#[test]
fn a_crash_at_each_place_of_reindex() {
    let prepared = Prepared::new();
    for (place, times) in OF_REINDEX {
        for time in [1, times / 2, times] {
            prepared.check_crash("reindex", &format!("{place}:{}", time.max(1)));
        }
    }
}

/// One crash after the other, with no run between them that comes to its end.
#[test]
fn crashes_in_a_row() {
    let mut random = Random::new();
    let prepared = Prepared::new();
    let dir = prepared.copy();
    let (mut crashes, mut row) = (0, Vec::new());
    for _ in 0..12 {
        let (what, places) = random.pick(&[
            ("compact", &OF_COMPACT[..]),
            ("compact", &OF_COMPACT),
            ("compact", &OF_COMPACT),
            ("rebuild", &OF_REBUILD),
            ("reindex", &OF_REINDEX),
        ]);
        let (place, times) = random.pick(places);
        let fault = format!("{place}:{}", random.within(1..u64::from(times) + 1));
        let output = verb_with_fault(dir.path(), what, &fault);
        // What was done before isn't come to again.
        let crashed = output.status.signal() == Some(Signal::ABORT.as_raw());
        assert!(crashed || output.status.success(), "{row:?} {what} {fault}: {output:?}");
        crashes += u32::from(crashed);
        row.push(format!("{what} {fault}"));
        if random.one_in(3) {
            verify(dir.path(), &format!("{row:?}"));
        }
    }
    // The first one has everything before it.
    assert!(crashes > 0, "{row:?}");
    prepared.check_compacted(dir.path(), &format!("{row:?}"));
    prepared.check_exports(dir.path(), &format!("{row:?}"));
    let again = done(dir.path(), &["compact"]);
    assert!(again.starts_with("sealed=0\nmerged=0\nerased=0\n"), "nothing is left: {again}");
}

fn verb_with_fault(dir: &Path, what: &str, fault: &str) -> std::process::Output {
    let mut command = triggerly();
    command.args([what, "--data"]).arg(dir).env("TRIGGERLY_FAULT", fault);
    command.output().unwrap()
}

/// A store in which there is some of everything for the compactor to do, and what is known of it.
struct Prepared {
    dir: TempDir,
    /// What is to be there, too old or not.
    whole: BTreeMap<String, Content>,
}

/// What an account holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    /// Numbers of events in the order of the log, and whether they are too old.
    events: Vec<(u64, bool)>,
    users: BTreeMap<String, Map<String, Value>>,
}

impl Prepared {
    /// Two segments and a hot end, each with what stays, what was erased and what is too old.
    fn new() -> Prepared {
        let dir = tempfile::tempdir().unwrap();
        let mut prepared = Prepared { dir, whole: BTreeMap::new() };
        let mut server = Server::start(prepared.dir.path());
        let mut credentials = vec![(server.api_token.clone(), server.secret_key.clone())];
        for name in &ACCOUNTS[1..] {
            let made = verb(prepared.dir.path(), &["account", "add", name, "--json"]);
            let made: Value = serde_json::from_slice(&made.stdout).unwrap();
            let text = |key: &str| made[key].as_str().unwrap().to_owned();
            credentials.push((text("api_token"), text("secret_key")));
        }
        let mut number = 0;
        for part in 0..3 {
            for (name, credentials) in ACCOUNTS.iter().zip(&credentials) {
                (server.api_token, server.secret_key) = credentials.clone();
                prepared.track_some(&server, name, part, &mut number);
            }
            match part {
                0 => drop(done(prepared.dir.path(), &["compact"])),
                // So that it isn't merged, and a file is left behind.
                1 => {
                    server.terminate();
                    let output = verb_with_fault(prepared.dir.path(), "compact", "merge-files");
                    assert_eq!(output.status.signal(), Some(Signal::ABORT.as_raw()), "{output:?}");
                    server = server.again();
                }
                _ => prepared.erase_some(&mut server, &credentials, &mut number),
            }
        }
        server.terminate();
        prepared
    }

    fn track_some(&mut self, server: &Server, account: &str, part: u64, number: &mut u64) {
        let content = self.whole.entry(account.to_owned()).or_default();
        let mut track = |kind: &str, user: &str, old: bool| {
            *number += 1;
            let date = old.then_some("2001-07-04");
            let event = json!({"type": kind, "user_id": user, "date": date, "n": *number});
            server.track("events", &event.to_string());
            if ![user, kind].iter().any(|name| name.starts_with(GONE)) && user != BACK {
                content.events.push((*number, old));
            }
        };
        // One account has nothing but what is too old, so its segments go as a whole.
        if account == "brief" {
            (0..4).for_each(|_| track("old", "anybody", true));
            return;
        }
        for user in ["u1", "u2", "gone-user", BACK] {
            (0..3).for_each(|_| track("view", user, false));
            track("gone-type", user, false);
            track("view", user, account == "default");
        }
        for user in ["u1", "u2", &format!("u of {part}"), "gone-user", BACK] {
            *number += 1;
            let patch = json!({"n": *number, format!("n{part}"): *number, "a": {"b": part}});
            let mut said = patch.as_object().unwrap().clone();
            said.insert("id".to_owned(), user.into());
            server.track("users", &Value::Object(said).to_string());
            if !user.starts_with(GONE) && user != BACK {
                let user = content.users.entry(user.to_owned()).or_default();
                merge(user, patch.as_object().unwrap());
            }
        }
    }

    /// Erases users and events of two accounts, has one of the users come back, and sets how long
    /// events are kept. It is all in the log, and nothing of it is done at rest.
    fn erase_some(
        &mut self,
        server: &mut Server,
        credentials: &[(String, String)],
        number: &mut u64,
    ) {
        for (name, credentials) in ACCOUNTS[..2].iter().zip(credentials) {
            (server.api_token, server.secret_key) = credentials.clone();
            for target in ["users/gone-user", "users/back-user", "events?type=gone-type"] {
                let mut connection = Connection::open(server.address).unwrap();
                let secret = &server.secret_key;
                let request = format!(
                    "DELETE /v1/{target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {secret}\r\n\r\n"
                );
                connection.send(request).unwrap();
                assert_eq!(connection.reply().unwrap().unwrap().status, 200, "{target}");
            }
            *number += 1;
            server.track("users", &json!({"id": BACK, "n": *number}).to_string());
            let content = self.whole.get_mut(*name).unwrap();
            let user = json!({"n": *number}).as_object().unwrap().clone();
            content.users.insert(BACK.to_owned(), user);
        }
        for (name, days) in [("default", "30"), ("brief", "1")] {
            let _ = done(self.dir.path(), &["retention", "set", name, days]);
        }
    }

    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        files::copy(self.dir.path(), copy.path());
        copy
    }

    /// Has a verb crash, and looks at what comes of it.
    fn check_crash(&self, what: &str, fault: &str) {
        let dir = self.copy();
        let output = verb_with_fault(dir.path(), what, fault);
        assert_eq!(output.status.signal(), Some(Signal::ABORT.as_raw()), "{fault}: {output:?}");
        let case = format!("{what} {fault}");
        verify(dir.path(), &case);
        // Only compacting takes out what is too old, and that before anything else.
        self.check_content(dir.path(), what != "compact", &case);
        self.check_compacted(dir.path(), &case);
    }

    /// Compacts, and looks that everything was done.
    fn check_compacted(&self, dir: &Path, case: &str) {
        let output = verb(dir, &["compact", "--json"]);
        assert!(output.status.success(), "{case}: {output:?}");
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(done["left"], json!([]), "{case}");
        assert_eq!(done["segments"], 2, "{case}: one of each account that still has something");
        files::check_tidy(dir, 2);
        verify(dir, case);
        let stats = verb(dir, &["stats", "--json"]);
        let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
        assert_eq!((&stats["lag"], &stats["segments_unindexed"]), (&json!(0), &json!(0)), "{case}");
        self.check_content(dir, false, case);
        let bytes = files::texts_in(dir, GONE, "gone-user".len());
        assert_eq!(bytes, BTreeSet::new(), "{case}: bytes of what was erased");
    }

    fn check_content(&self, dir: &Path, with_old: bool, case: &str) {
        let store = Store::open(dir).unwrap();
        let mut found: BTreeMap<AccountId, Content> = BTreeMap::new();
        let mut visit = |_, record: &Record<'_>| {
            if let Change::Event(event) = record.change {
                let attributes: Value = serde_json::from_str(event.attributes).unwrap();
                let old = event.date.millis() < 1_000_000_000_000;
                let content = found.entry(event.account).or_default();
                content.events.push((attributes["n"].as_u64().unwrap(), old));
            }
            Ok(ControlFlow::Continue(()))
        };
        store.select(&Selection::of(1..=Seq::MAX), Order::Ascending, &mut visit).unwrap();
        for name in ACCOUNTS {
            let account = store.accounts().by_name(name).unwrap().id;
            let mut found = found.remove(&account).unwrap_or_default();
            let mut counted = 0;
            let mut count = |_: &str, _, count: Count| counted += count.people + count.nobodys;
            answers(&store, &Stop::never()).counts(account, None, None, None, &mut count).unwrap();
            assert_eq!(counted, found.events.len() as u64, "{case}: {name}");
            for user in store.users(account, None) {
                let (id, user) = user.unwrap();
                found.users.insert(id, user.attributes);
            }
            assert_eq!(found, self.known(name, with_old), "{case}: {name}");
        }
    }

    /// The same as a person sees it.
    fn check_exports(&self, dir: &Path, case: &str) {
        for name in ACCOUNTS {
            let mut found = Content::default();
            for line in done(dir, &["export", "events", "--account", name]).lines() {
                let event: Value = serde_json::from_str(line).unwrap();
                let old = event["date"].as_str().unwrap().starts_with("2001");
                found.events.push((event["attributes"]["n"].as_u64().unwrap(), old));
            }
            for line in done(dir, &["export", "users", "--account", name]).lines() {
                let user: Value = serde_json::from_str(line).unwrap();
                let attributes = user["attributes"].as_object().unwrap().clone();
                let id = user["id"].as_str().unwrap().to_owned();
                assert!(found.users.insert(id, attributes).is_none(), "{case}: {line}");
            }
            assert_eq!(found, self.known(name, false), "{case}: {name}");
        }
    }

    fn known(&self, account: &str, with_old: bool) -> Content {
        let mut known = self.whole[account].clone();
        // Those of the other account are kept for ever.
        known.events.retain(|(_, old)| with_old || !*old || account == "other");
        known
    }
}

/// Every byte is as it should be, and nothing is there that nobody knows of.
#[track_caller]
fn verify(dir: &Path, case: &str) {
    let output = verb(dir, &["verify"]);
    assert!(output.status.success(), "{case}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let segments = text.lines().find_map(|line| line.strip_prefix("segments=")).unwrap();
    files::check_tidy(dir, segments.parse().unwrap());
}

/// What a verb printed; it must have succeeded.
#[track_caller]
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
