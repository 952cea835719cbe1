//! Every format that there ever was is opened, and one that there isn't yet is refused.
//!
//! `format/store-N.tar.gz` are stores that were made by the program that wrote format N first, and are
//! never made anew. Each is used as its owner would use it after an update: by the verbs, by a server,
//! and by the verbs again, with nothing lost on the way.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use support::furnished::text;
use support::server::verb;
use support::{Server, request};
use triggerly::auth::{identify, password};
use triggerly::model::erasure::Digest;
use triggerly::model::{AccountId, DataType, Date, Email, PersonId, TokenHash};
use triggerly::query::answers;
use triggerly::store::segment::{Segment, SegmentError};
use triggerly::store::{Count, Directory, Draft, Receipt, Stop, Store, Submission, Writer};

/// A store that is kept.
struct Sample {
    name: &'static str,
    secret_key: &'static str,
    /// The first account's token.
    api_token: &'static str,
    /// Its accounts, as they are listed.
    accounts: &'static str,
    /// The merged user, as an export writes it.
    user: &'static str,
    /// The event that is hardest to keep, likewise.
    purchase: &'static str,
    /// Positions of the events of the type `tick`, whose `n` counts from 0.
    ticks: &'static [std::ops::RangeInclusive<u64>],
    /// Other events of the first account: position, type, attributes.
    others: &'static [(u64, &'static str, &'static str)],
    /// The positions of the events of the second account.
    second: &'static [u64],
    last_seq: u64,
    /// Positions that hold nothing once everything that was erased is gone at rest.
    holes: u64,
}

/// Made by version 0.1, when the whole log lay in sled.
const FIRST: Sample = Sample {
    name: "store-1",
    secret_key: "sk_26af47016b8029cee6dcdab88f8c1aae0217b0a8aa5a48fc456ed1f611539fda",
    api_token: "096eb6e3b66fb967c1016c4c4d84039b",
    accounts: "name=default\napi_token=096eb6e3b66fb967c1016c4c4d84039b\n\n\
               name=second shop\napi_token=ee96b203cb469f714480604f072a9a15\n",
    user: r#"{"id":"zoe@example.com","email":"zoe@example.com","attributes":{"name":"Zoë","plan":"pro","address":{"city":"Zürich"}},"created_at":"2026-11-24T14:43:18.269Z","updated_at":"2026-11-24T14:43:18.270Z"}"#,
    purchase: r#"{"seq":3,"type":"purchase","user_id":"zoe@example.com","date":"2001-07-04T19:08:56.235Z","received_at":"2026-11-24T14:43:18.270Z","attributes":{"item":"Tea ☕","price":1.0,"big":1234567890123456789012345678901234567890},"via":"public"}"#,
    ticks: &[8..=27],
    others: &[(5, "page view", r#"{"page":"/"}"#)],
    second: &[],
    last_seq: 27,
    holes: 0,
};

/// The first with segments: one of them, a hot end behind it in a second generation of sled, one user
/// erased at rest and another only out of sight.
const SECOND: Sample = Sample {
    name: "store-2",
    secret_key: "sk_37101f30291a796016b56bad329ab9ec85bb0aefd7281f007376afde9a6759d1",
    api_token: "8a49eb9ecc4178641de1e5c6916e897d",
    accounts: "name=default\napi_token=8a49eb9ecc4178641de1e5c6916e897d\nretention_days=36500\n\n\
               name=second shop\napi_token=e2f5a23ee2c45e188e351ca1166176be\n",
    user: r#"{"id":"zoe@example.com","email":"zoe@example.com","attributes":{"name":"Zoë","plan":"pro","address":{"city":"Zürich"}},"created_at":"2026-11-24T16:04:54.459Z","updated_at":"2026-11-24T16:04:55.018Z"}"#,
    purchase: r#"{"seq":5,"type":"purchase","user_id":"zoe@example.com","date":"2001-07-04T19:08:56.000Z","received_at":"2026-11-24T16:04:54.506Z","attributes":{"item":"Tea ☕","price":1.0,"big":1234567890123456789012345678901234567890},"via":"public"}"#,
    ticks: &[8..=27, 31..=35],
    others: &[],
    second: &[36],
    last_seq: 38,
    holes: 4,
};

/// The first with contexts, keys of submissions and sites: one segment, and the rest in the hot end.
const THIRD: Sample = Sample {
    name: "store-3",
    secret_key: "sk_8f14e45fceea167a5a36dedd4bea2543aab3238922bcc25a6f606eb525ffdc56",
    api_token: "5be11e4d3c2a40f1b6d7e8f90a1b2c3d",
    accounts: "name=default\napi_token=5be11e4d3c2a40f1b6d7e8f90a1b2c3d\n\
               sites=shop.example.com *.shop.example.com\n\n\
               name=second shop\napi_token=0c9d8e7f6a5b4c3d2e1f00112233aabb\n",
    user: r#"{"id":"zoe@example.com","email":"zoe@example.com","attributes":{"name":"Zoë","plan":"pro","address":{"city":"Zürich"}},"created_at":"2026-11-24T12:00:02.000Z","updated_at":"2026-11-24T12:00:30.000Z"}"#,
    purchase: r#"{"seq":5,"type":"purchase","user_id":"zoe@example.com","date":"2001-07-04T19:08:56.000Z","received_at":"2026-11-24T12:00:03.000Z","attributes":{"item":"Tea ☕","price":1.0,"big":1234567890123456789012345678901234567890},"context":{"page":"https://shop.example.com/tea?q=☕","browser":"Firefox","visitor":"6f1d2c"},"via":"public"}"#,
    ticks: &[6..=10, 12..=16],
    others: &[],
    second: &[17],
    last_seq: 17,
    holes: 0,
};

/// The first with indexes and data types that are set: one segment and its index, and the rest in the hot end.
const FOURTH: Sample = Sample {
    name: "store-4",
    secret_key: "sk_4b1d6f0a9c3e57821f60b5d4c8a7e9120d3f5b6a7c8e9f01234567890abcdef1",
    api_token: "7c2e91f04ab84d6d9e3b1f5a6c8d0e42",
    accounts: "name=default\napi_token=7c2e91f04ab84d6d9e3b1f5a6c8d0e42\n\n\
               name=second shop\napi_token=d3b07384d113edec49eaa6238ad5ff00\n",
    user: r#"{"id":"zoe@example.com","email":"zoe@example.com","attributes":{"name":"Zoë","plan":"pro","address":{"city":"Zürich"}},"created_at":"2026-11-24T12:00:02.000Z","updated_at":"2026-11-24T12:00:30.000Z"}"#,
    purchase: r#"{"seq":4,"type":"purchase","user_id":"zoe@example.com","date":"2001-07-04T19:08:56.000Z","received_at":"2026-11-24T12:00:03.000Z","attributes":{"item":"Tea ☕","price":1.0,"big":1234567890123456789012345678901234567890},"context":{"page":"https://shop.example.com/tea?q=☕","browser":"Firefox","visitor":"6f1d2c"},"via":"public"}"#,
    ticks: &[5..=9, 12..=16],
    others: &[],
    second: &[17],
    last_seq: 18,
    holes: 0,
};

/// The first with people, a link that was used and one that waits, a zone and a token that lived on: one segment,
/// control records that are sealed, and the rest in the hot end.
const FIFTH: Sample = Sample {
    name: "store-5",
    secret_key: "sk_c5d1a97e0b3f48626d8e1f7a90b2c4d6e8f01a3b5c7d9e2f4a6b8c0d1e3f5a79",
    api_token: "2e1d0c9b8a7f46352413f0e1d2c3b4a5",
    accounts: "name=default\napi_token=2e1d0c9b8a7f46352413f0e1d2c3b4a5\nzone=Europe/Zurich\n\n\
               name=second shop\napi_token=a8b7c6d5e4f30123456789abcdef0918\n",
    user: r#"{"id":"zoe@example.com","email":"zoe@example.com","attributes":{"name":"Zoë","plan":"pro","address":{"city":"Zürich"}},"created_at":"2026-11-24T12:00:02.000Z","updated_at":"2026-11-24T12:00:30.000Z"}"#,
    purchase: r#"{"seq":7,"type":"purchase","user_id":"zoe@example.com","date":"2001-07-04T19:08:56.000Z","received_at":"2026-11-24T12:00:03.000Z","attributes":{"item":"Tea ☕","price":1.0,"big":1234567890123456789012345678901234567890},"context":{"page":"https://shop.example.com/tea?q=☕","browser":"Firefox","visitor":"6f1d2c"},"via":"public"}"#,
    ticks: &[8..=12, 19..=23],
    others: &[],
    second: &[24],
    last_seq: 25,
    holes: 0,
};

const SAMPLES: [Sample; 5] = [FIRST, SECOND, THIRD, FOURTH, FIFTH];

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format").join(name)
}

impl Sample {
    /// Unpacks it below a folder.
    fn unpack(&self, below: &Path) -> PathBuf {
        let archive = kept(&format!("{}.tar.gz", self.name));
        let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(below).output();
        let tar = tar.expect("tar is there");
        assert!(tar.status.success(), "{tar:?}");
        below.join(self.name)
    }

    /// Finds it to hold what it should, by the verbs.
    fn assert_held(&self, dir: &Path) {
        let run = |arguments: &[&str]| done(dir, arguments);
        assert_eq!(run(&["account", "list"]), self.accounts);
        assert_eq!(run(&["export", "users", "--account", "default"]), format!("{}\n", self.user));
        assert_eq!(run(&["export", "users", "--account", "second shop"]), "");

        let events = run(&["export", "events", "--account", "default"]);
        let mut events: Vec<&str> = events.lines().collect();
        let at = events.iter().position(|line| *line == self.purchase).expect(self.purchase);
        events.remove(at);
        // Where each begins and ends; between lie dates that are those of that day.
        let ticks = self.ticks.iter().cloned().flatten().zip(0..);
        let ticks = ticks.map(|(seq, n)| (seq, "tick", format!(r#"{{"n":{n}}}"#)));
        let others = self.others.iter().map(|(seq, kind, held)| (*seq, *kind, (*held).to_owned()));
        let mut expected: Vec<_> = others.chain(ticks).collect();
        expected.sort_unstable();
        assert_eq!(events.len(), expected.len());
        for (line, (seq, kind, attributes)) in events.iter().zip(expected) {
            let begins =
                format!(r#"{{"seq":{seq},"type":"{kind}","user_id":null,"date":"2026-11-24T"#);
            let ends = format!(r#""attributes":{attributes},"via":"public"}}"#);
            assert!(line.starts_with(&begins) && line.ends_with(&ends), "{line}");
        }
        let second = run(&["export", "events", "--account", "second shop"]);
        let seqs = second.lines().map(|line| {
            let seq = line.strip_prefix(r#"{"seq":"#).and_then(|rest| rest.split(',').next());
            seq.expect("a position").parse::<u64>().expect("a number")
        });
        assert_eq!(seqs.collect::<Vec<_>>(), self.second);
    }
}

/// What a verb printed; it has to succeed.
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

fn line(lines: &str, key: &str) -> u64 {
    let found = lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{key}: {lines}")).parse().expect("a number")
}

#[test]
fn every_format_is_opened_and_goes_on() {
    for sample in SAMPLES {
        let below = tempfile::tempdir().unwrap();
        let dir = sample.unpack(below.path());
        sample.assert_held(&dir);
        assert_eq!(fs::read_to_string(dir.join("FORMAT")).unwrap(), "triggerly store 5\n");
        assert_eq!(line(&done(&dir, &["stats"]), "last_seq"), sample.last_seq);
        let verified = done(&dir, &["verify"]);
        assert_eq!(line(&verified, "damaged"), 0, "{verified}");

        // Everything becomes a segment, and what was erased goes.
        done(&dir, &["compact"]);
        let stats = done(&dir, &["stats"]);
        assert_eq!(line(&stats, "sealed_through"), sample.last_seq, "{stats}");
        assert_eq!(line(&stats, "erasures_pending"), 0, "{stats}");
        let verified = done(&dir, &["verify"]);
        assert_eq!(line(&verified, "damaged"), 0, "{verified}");
        assert_eq!(line(&verified, "records") + sample.holes, sample.last_seq, "{verified}");
        assert_eq!(line(&verified, "holes"), sample.holes, "{verified}");
        sample.assert_held(&dir);
        done(&dir, &["rebuild"]);
        sample.assert_held(&dir);
        // What had no index has one.
        let stats = done(&dir, &["stats"]);
        assert_eq!((line(&stats, "lag"), line(&stats, "segments_unindexed")), (0, 0), "{stats}");
        assert!(line(&stats, "index_bytes") > 0, "{stats}");
        done(&dir, &["reindex"]);

        // A server knows the key that was given out then, and goes on counting.
        let mut server = Server::start(&dir);
        assert_eq!(server.printed, [""; 0], "it is no first run");
        sample.secret_key.clone_into(&mut server.secret_key);
        let user = server.read("/v1/users/zoe%40example.com");
        assert!(user.text().contains(r#""plan":"pro""#), "{user:?}");
        let bearer = format!("Bearer {}", sample.api_token);
        let target = format!("/v1/events/track?data={}", support::base64(r#"{"type":"later"}"#));
        let reply = request(server.address, "GET", &target, &[("Authorization", &bearer)]);
        assert_eq!(reply.status, 200, "{reply:?}");
        let events = server.all_events();
        assert_eq!(events.last().unwrap()["seq"], sample.last_seq + 1);
    }
}

/// Takes a directory. A process that another test starts just then has all descriptors for a moment, the one
/// that held the directory before too.
fn lock(dir: &Path) -> Directory {
    let began = Instant::now();
    loop {
        match Directory::lock(dir) {
            Err(triggerly::store::Error::Locked(_)) if began.elapsed().as_secs() < 10 => {
                std::thread::yield_now();
            }
            other => return other.unwrap(),
        }
    }
}

/// The index that was written then doesn't tell all that one does now, so it is built anew in time; answers are right
/// meanwhile, and the types that were set then hold.
#[test]
fn an_older_index_is_built_anew() {
    let below = tempfile::tempdir().unwrap();
    let dir = FOURTH.unpack(below.path());
    let store = Store::open(&dir).unwrap();
    assert_eq!(store.lag().segments, 1, "it is to be built anew");
    let (mut counted, account) = (0, AccountId(1));
    let mut count = |_: &str, _, count: Count| counted += count.people;
    answers(&store, &Stop::never()).counts(account, None, None, None, &mut count).unwrap();
    assert_eq!(counted, 11);
    assert_eq!(
        answers(&store, &Stop::never()).event_counts(account, &["zoe@example.com"]).unwrap().0,
        [1]
    );
    let overrides = store.overrides(account);
    let of_purchases = overrides.of_events("purchase");
    assert_eq!(of_purchases.get("coupon"), Some(DataType::Number));
    assert_eq!(overrides.of_users().get("address.floor"), Some(DataType::String));
}

/// Who could sign in then still can; what waited still waits; and a token lives on as long as it was to.
#[test]
fn people_are_still_known() {
    let below = tempfile::tempdir().unwrap();
    let dir = FIFTH.unpack(below.path());
    let (one, two) = (AccountId(1), AccountId(2));
    let now = Date::parse("2026-11-24T13:00:00Z").unwrap();
    for rebuild in [false, true] {
        let directory = lock(&dir);
        let open = if rebuild { Store::rebuild_in } else { Store::open_in };
        let store = open(directory).unwrap();
        let people = store.people();
        let zoe = people.by_email(&Email::new("zoe@example.com").unwrap()).expect("she is there");
        assert_eq!((zoe.id, zoe.email.as_str()), (PersonId(6), "Zoe@Example.com"));
        assert_eq!(zoe.accounts, [one, two].into());
        assert!(password::verify(Some(&zoe.password), "correct horse battery"));
        for (token, label) in
            [("a first session", "Firefox on Linux"), ("another session", "Safari on iOS")]
        {
            let (session, person) = people.session(&TokenHash::of(token), now).expect(token);
            assert_eq!((&*session.label, person), (label, zoe));
        }
        assert_eq!(people.link(&TokenHash::of("a link that was used"), now), None);
        let link = people.link(&TokenHash::of("a link that waits"), now).expect("it waits");
        assert_eq!((link.account, link.by_operator), (two, false));

        let (accounts, old) = (store.accounts(), "1f0e5d4c3b2a49586776a5b4c3d2e1f0");
        let until = Date::parse("2026-11-25T00:00:00Z").unwrap();
        let is_taken = |now| identify(&accounts, old, now).is_some_and(|by| by.account == one);
        assert!(is_taken(Date::from_millis(until.millis() - 1)) && !is_taken(until));
    }
}

/// What was stored under a key is known by it, in the hot end, sealed, and in a state that is built anew.
#[test]
fn keys_are_still_known() {
    let below = tempfile::tempdir().unwrap();
    let dir = THIRD.unpack(below.path());
    let account = AccountId(1);
    let next_day = Date::parse("2026-11-25T12:00:00Z").unwrap();
    for rebuild in [false, true] {
        let directory = lock(&dir);
        let open = if rebuild { Store::rebuild_in } else { Store::open_in };
        let store = Arc::new(open(directory).unwrap());
        let writer = Writer::start(Arc::clone(&store), store.flusher()).unwrap();
        for (key, first_seq, count) in [("order 1", 5, 1), ("ticks", 6, 5), ("more ticks", 12, 5)] {
            let drafts = vec![Draft::retention(account, None, next_day)];
            let key = Digest::of_idempotency_key(account, key);
            let receipt = writer.submit_and_wait(Submission::once(drafts, key));
            assert_eq!(receipt, Ok(Receipt { first_seq, count }));
        }
        assert_eq!(store.last_seq(), THIRD.last_seq);
    }
}

#[test]
fn every_format_is_backed_up_as_it_is() {
    for sample in SAMPLES {
        let below = tempfile::tempdir().unwrap();
        let dir = sample.unpack(below.path());
        let file = below.path().join("backup");
        let backup = done(&dir, &["backup", file.to_str().unwrap()]);
        let restored = below.path().join("restored");
        assert_eq!(done(&restored, &["restore", file.to_str().unwrap()]), backup);
        assert_eq!(line(&backup, "last_seq"), sample.last_seq);
        sample.assert_held(&restored);
    }
}

#[test]
fn what_is_newer_is_refused_and_left_alone() {
    let below = tempfile::tempdir().unwrap();
    let dir = SECOND.unpack(below.path());
    fs::write(dir.join("FORMAT"), "triggerly store 7\n").unwrap();
    let all = || {
        let mut all: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        let mut dirs = vec![dir.clone()];
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                match path.is_dir() {
                    true => dirs.push(path),
                    false => all.push((path.clone(), fs::read(path).unwrap())),
                }
            }
        }
        all.sort_unstable();
        all
    };
    let before = all();
    let file = below.path().join("backup").into_os_string().into_string().unwrap();
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["stats"],
        &["verify"],
        &["compact"],
        &["rebuild"],
        &["reindex"],
        &["backup", &file],
    ] {
        let output = verb(&dir, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("newer triggerly (format 7, this program knows 6)"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(all() == before, "nothing has changed");

    // A segment whose format nobody knows yet is no damaged one.
    let path = below.path().join("newer.parquet");
    let mut bytes = fs::read(kept("segment-1.parquet")).unwrap();
    let key = b"triggerly.format\x18\x011";
    let at = bytes.windows(key.len()).position(|window| window == key).expect("the format");
    assert!(Segment::open(&kept("segment-1.parquet"), None).is_ok());
    bytes[at + key.len() - 1] = b'3';
    fs::write(&path, bytes).unwrap();
    match Segment::open(&path, None) {
        Err(error @ SegmentError::Newer { found: 3, .. }) => {
            assert!(error.to_string().contains("newer triggerly (segment format 3"), "{error}");
        }
        other => panic!("{:?}", other.err()),
    }
}
