//! Whole stores in temporary folders.

mod answers;
mod at_rest;
mod batches;
mod flushes;
mod keys;
mod people;
mod shared;
mod types;

use std::ops::{ControlFlow, RangeInclusive};

use proptest::prelude::*;
use tempfile::TempDir;

use super::batch::encode_record;
use super::*;
use crate::model::limits::{DEPTH_MAX, USER_BYTES_MAX};
use crate::model::record::{Event, UserPatch};
use crate::model::user::UserLimit;
use crate::model::{
    AccountId, AccountName, ApiToken, Change, Date, Id, Object, Record, SecretHash, Via, json,
};

const ACCOUNT: AccountId = AccountId(1);

fn open(dir: &TempDir) -> Arc<Store> {
    Arc::new(Store::open(dir.path()).unwrap())
}

fn rebuilt(dir: &TempDir) -> Store {
    Store::rebuild_in(Directory::lock(dir.path()).unwrap()).unwrap()
}

fn start(store: &Arc<Store>) -> Writer {
    Writer::start(Arc::clone(store), store.flusher()).unwrap()
}

fn object(text: &str) -> Object {
    json::parse_object(text, DEPTH_MAX).unwrap()
}

fn event(kind: &str) -> Draft {
    event_with(kind, "{}")
}

fn event_with(kind: &str, attributes: &str) -> Draft {
    let at = Date::from_millis(7);
    let (account, via, user_id, context) = (ACCOUNT, Via::Public, None, None);
    let event = Event { account, via, kind, user_id, date: at, attributes, context };
    Draft::event(event, at)
}

fn user(id: &str, patch: &str) -> Draft {
    let (id, at) = (Id::new(id).unwrap(), Date::from_millis(9));
    Draft::user(ACCOUNT, Via::Public, &id, &object(patch), None, at)
}

fn account(name: &str) -> Draft {
    let name = AccountName::new(name).unwrap();
    Draft::account(name, ApiToken([1; 16]), SecretHash([2; 32]), Date::from_millis(0))
}

fn user_text(store: &Store, id: &str) -> Option<String> {
    store.user(ACCOUNT, id).unwrap().map(|user| json::to_text(&user.attributes))
}

/// The types of events and the ids of users, in the order of the log.
fn names(store: &Store, range: RangeInclusive<Seq>, order: Order) -> Vec<(Seq, String)> {
    let mut names = Vec::new();
    store
        .select(&Selection::of(range), order, &mut |seq, record| {
            names.push((
                seq,
                match record.change {
                    Change::Event(event) => event.kind.to_owned(),
                    Change::User(user) => user.id.to_owned(),
                    _ => String::new(),
                },
            ));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    names
}

#[test]
fn what_was_acknowledged_is_there_after_opening_again() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(&dir);
        let writer = start(&store);
        let made = writer.submit_and_wait(vec![account("default")]).unwrap();
        assert_eq!(made, Receipt { first_seq: 1, count: 1 });
        let receipt = writer.submit_and_wait(vec![event("a"), user("u", r#"{"x":1.0}"#)]).unwrap();
        assert_eq!(receipt, Receipt { first_seq: 2, count: 2 });
        assert_eq!(store.last_seq(), 3);
    }
    let store = open(&dir);
    assert_eq!(store.last_seq(), 3);
    assert_eq!(store.accounts().by_name("default").unwrap().id, AccountId(1));
    assert_eq!(user_text(&store, "u").as_deref(), Some(r#"{"x":1.0}"#));
    let seen = names(&store, 2..=3, Order::Ascending);
    assert_eq!(seen, [(2, "a".to_owned()), (3, "u".to_owned())]);
    let receipt = start(&store).submit_and_wait(vec![event("b")]).unwrap();
    assert_eq!(receipt.first_seq, 4, "no position is used twice");
}

/// The writes of a group are two; this is the store when a crash let only the first through.
#[test]
fn a_crash_between_append_and_merge_is_mended_on_opening() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(&dir);
        start(&store)
            .submit_and_wait(vec![user("u", r#"{"n":1,"gone":true}"#), user("v", "{}")])
            .unwrap();
        let at = Date::from_millis(11);
        let patch = |id, patch| {
            let (account, via, context) = (ACCOUNT, Via::Public, None);
            let change = Change::User(UserPatch { account, via, id, patch, context });
            encode_record(&Record { received_at: at, change, keyed: None })
        };
        let made = encode_record(&Record {
            keyed: None,
            received_at: at,
            change: Change::AccountMade {
                name: "late",
                api_token: ApiToken([5; 16]),
                secret_hash: SecretHash([6; 32]),
            },
        });
        let records = [patch("u", r#"{"n":2,"gone":null}"#), patch("w", r#"{"new":1}"#), made];
        let batch = EncodedBatch::of(3, records.iter().map(Vec::as_slice));
        store.tiers.append(&[batch]).unwrap();
        store.flusher().flush().unwrap();
        assert_eq!(user_text(&store, "u").as_deref(), Some(r#"{"n":1,"gone":true}"#));
    }
    let store = open(&dir);
    assert_eq!(store.last_seq(), 5);
    assert_eq!(user_text(&store, "u").as_deref(), Some(r#"{"n":2}"#));
    assert_eq!(user_text(&store, "w").as_deref(), Some(r#"{"new":1}"#));
    assert_eq!(store.accounts().by_name("late").unwrap().id, AccountId(5));
    let before = store.tiers.hot().state.dump();
    drop(store);
    assert_eq!(rebuilt(&dir).tiers.hot().state.dump(), before);
}

/// What a crash in the middle of a rebuild leaves: the sign, and whichever keys weren't removed yet.
#[test]
fn a_rebuild_cut_short_is_begun_anew() {
    let dir = TempDir::new().unwrap();
    let whole = {
        let store = open(&dir);
        let writer = start(&store);
        writer.submit_and_wait(vec![account("default")]).unwrap();
        for patch in [r#"{"y":1}"#, r#"{"y":null}"#, r#"{"y":2}"#, r#"{"x":3}"#] {
            writer.submit_and_wait(vec![user("u", patch)]).unwrap();
        }
        store.tiers.hot().state.dump()
    };
    for removed in [b"a".as_slice(), b"m", b"u"] {
        {
            let store = open(&dir);
            let state = store.tiers.hot().state.tree().clone();
            state.insert("r", b"").unwrap();
            for key in state.scan_prefix(removed).keys() {
                state.remove(key.unwrap()).unwrap();
            }
        }
        let store = open(&dir);
        assert_eq!(store.tiers.hot().state.dump(), whole);
        assert_eq!(store.accounts().len(), 1);
    }
}

#[test]
fn a_mark_ahead_of_the_log_is_damage() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(&dir);
        start(&store).submit_and_wait(vec![user("u", "{}"), user("v", "{}")]).unwrap();
        let log = store.tiers.hot().log.clone();
        log.clear().unwrap();
    }
    std::fs::remove_file(dir.path().join("high-water")).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged { .. })));
}

/// sled takes damage for the end of its file and cuts there. That must not pass for a shorter log.
#[test]
fn a_log_that_lost_its_end_is_not_opened() {
    let whole = TempDir::new().unwrap();
    {
        let store = open(&whole);
        let writer = start(&store);
        for _ in 0..50 {
            writer.submit_and_wait(vec![event_with("a", r#"{"some":"attributes"}"#)]).unwrap();
        }
    }
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 4] = [
        ("a flipped byte", |sled| {
            let mut bytes = std::fs::read(sled.join("db")).unwrap();
            bytes[3_000] ^= 1;
            std::fs::write(sled.join("db"), bytes).unwrap();
        }),
        ("a file cut short", |sled| {
            std::fs::File::options()
                .write(true)
                .open(sled.join("db"))
                .unwrap()
                .set_len(2_000)
                .unwrap();
        }),
        ("a file that is gone", |sled| std::fs::remove_file(sled.join("db")).unwrap()),
        ("a folder that is gone", |sled| std::fs::remove_dir_all(sled).unwrap()),
    ];
    for (what, spoil) in spoil {
        let dir = TempDir::new().unwrap();
        copy(whole.path(), dir.path());
        spoil(&dir.path().join("sled"));
        for _ in 0..2 {
            let opened = Store::open(dir.path());
            assert!(matches!(opened, Err(Error::Damaged { .. })), "{what}: {:?}", opened.err());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_submission_is_stored_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![user("u", r#"{"a":1}"#)]).unwrap();
    let big = format!(r#"{{"big":"{}"}}"#, "x".repeat(USER_BYTES_MAX / 2));
    writer.submit_and_wait(vec![user("v", &big)]).unwrap();
    let bigger = format!(r#"{{"bigger":"{}"}}"#, "x".repeat(USER_BYTES_MAX / 2));
    let refused = writer.submit_and_wait(vec![
        event("lost"),
        user("u", r#"{"a":2}"#),
        user("new", r#"{"a":3}"#),
        user("v", &bigger),
    ]);
    assert!(matches!(
        refused,
        Err(Refusal::User { index: 3, limit: UserLimit::Bytes(n) }) if n > USER_BYTES_MAX
    ));
    assert!(writer.submit_and_wait(vec![account("lost"), user("v", &bigger)]).is_err());
    assert!(store.accounts().is_empty());
    let receipt = writer.submit_and_wait(vec![user("u", r#"{"b":1}"#)]).unwrap();
    assert_eq!(receipt.first_seq, 3, "the refused one took no position");
    assert_eq!(user_text(&store, "u").as_deref(), Some(r#"{"a":1,"b":1}"#));
    assert_eq!(user_text(&store, "new"), None);
    assert_eq!(user_text(&store, "v").as_deref(), Some(big.as_str()));
}

#[test]
fn account_rules() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("a")]).unwrap();
    let taken = writer.submit_and_wait(vec![account("a")]);
    assert_eq!(taken, Err(Refusal::NameTaken("a".to_owned())));
    let rotate = |account, token| {
        Draft::rotation(account, Some(ApiToken(token)), None, None, Date::from_millis(0))
    };
    assert_eq!(
        writer.submit_and_wait(vec![rotate(AccountId(99), [3; 16])]),
        Err(Refusal::NoAccount)
    );
    writer.submit_and_wait(vec![rotate(AccountId(1), [3; 16])]).unwrap();
    let accounts = store.accounts();
    assert!(accounts.by_token(&ApiToken([1; 16])).is_none());
    assert!(accounts.by_token(&ApiToken([3; 16])).is_some());
    assert!(accounts.by_secret(&SecretHash([2; 32])).is_some(), "the other stays");
}

#[test]
fn users_are_listed_by_account_and_behind_a_cursor() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let ids = ["a", "a\0", "aa", "b", "é", "😀"];
    let drafts: Vec<_> = ids.iter().map(|id| user(id, "{}")).collect();
    writer.submit_and_wait(drafts).unwrap();
    let other = Id::new("other").unwrap();
    let at = Date::from_millis(0);
    writer
        .submit_and_wait(vec![Draft::user(
            AccountId(2),
            Via::Public,
            &other,
            &Object::new(),
            None,
            at,
        )])
        .unwrap();
    let listed = |account, after| -> Vec<String> {
        store.users(account, after).map(|entry| entry.unwrap().0).collect()
    };
    assert_eq!(listed(ACCOUNT, None), ids);
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(listed(ACCOUNT, Some(id)), ids[at + 1..], "behind {id:?}");
    }
    assert_eq!(listed(AccountId(2), None), ["other"]);
    assert!(listed(AccountId(3), None).is_empty());
}

#[test]
fn a_large_submission_becomes_several_entries() {
    let dir = TempDir::new().unwrap();
    let attributes = format!(r#"{{"x":"{}"}}"#, "x".repeat(10_000));
    {
        let store = open(&dir);
        let writer = start(&store);
        let drafts: Vec<_> = (0..100).map(|i| event_with(&i.to_string(), &attributes)).collect();
        let receipt = writer.submit_and_wait(drafts).unwrap();
        assert_eq!(receipt, Receipt { first_seq: 1, count: 100 });
        let mut entries = 0;
        store
            .tiers
            .hot_batches(1..=Seq::MAX, Order::Ascending, &mut |_, _| {
                entries += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert!(entries > 100 * 10_000 / ENTRY_BYTES_MAX, "{entries}");
    }
    let seen = names(&open(&dir), 1..=Seq::MAX, Order::Ascending);
    assert!(seen.iter().map(|(seq, _)| *seq).eq(1..=100));
    let blobs = dir.path().join("sled/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0, "nothing lies beside sled's file");
}

/// Entries as large as they get fill sled's leaves; none may be put aside into a file that is never
/// synced.
#[test]
fn the_largest_entries_stay_in_sleds_file() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let text = "x".repeat(64 * 1024 - 100);
    for i in 0..60 {
        writer.submit_and_wait(vec![event_with("a", &format!(r#"{{"x":"{text}"}}"#))]).unwrap();
        let id = (i % 40).to_string();
        writer.submit_and_wait(vec![user(&id, &format!(r#"{{"x":"{text}"}}"#))]).unwrap();
    }
    let blobs = dir.path().join("sled/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any stretch, in either order, is what a plain list would give.
    #[test]
    fn scanning(
        submissions in proptest::collection::vec(1usize..8, 1..12),
        from in 0u64..40,
        to in 0u64..60,
        stop_after in proptest::option::of(0usize..20),
    ) {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let writer = start(&store);
        let mut all = Vec::new();
        for count in submissions {
            let drafts: Vec<_> = (0..count)
                .map(|_| {
                    let seq = all.len() as Seq + 1;
                    all.push((seq, seq.to_string()));
                    event(&seq.to_string())
                })
                .collect();
            writer.submit_and_wait(drafts).unwrap();
        }
        for order in [Order::Ascending, Order::Descending] {
            let mut expected: Vec<_> =
                all.iter().filter(|(seq, _)| (from..=to).contains(seq)).cloned().collect();
            if order == Order::Descending {
                expected.reverse();
            }
            prop_assert_eq!(&names(&store, from..=to, order), &expected);
            if let Some(stop_after) = stop_after {
                let mut seen = 0;
                store.select(&Selection::of(from..=to), order, &mut |_, _| {
                    seen += 1;
                    Ok(if seen > stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                }).unwrap();
                prop_assert_eq!(seen, expected.len().min(stop_after + 1));
            }
        }
    }

    /// The same updates, in whatever groups they are written, and whether merged as they come or
    /// replayed from nothing, give the same bytes.
    #[test]
    fn state_is_a_function_of_the_log(
        updates in proptest::collection::vec((0u8..4, 0u8..5, 0u8..6, 1usize..6), 1..40),
        reopen_at in 0usize..40,
    ) {
        let dir = TempDir::new().unwrap();
        let drafts = |updates: &[(u8, u8, u8, usize)]| -> Vec<Draft> {
            updates
                .iter()
                .map(|(who, name, value, _)| {
                    let value = match value {
                        0 => "null".to_owned(),
                        1 => r#"{"deep":1,"gone":null}"#.to_owned(),
                        2 => r#"{"gone":1}"#.to_owned(),
                        n => n.to_string(),
                    };
                    user(&who.to_string(), &format!(r#"{{"a{name}":{value}}}"#))
                })
                .collect()
        };
        let mut store = open(&dir);
        let mut rest = updates.as_slice();
        let mut done = 0;
        while let Some((_, _, _, group)) = rest.first() {
            let (now, later) = rest.split_at((*group).min(rest.len()));
            start(&store).submit_and_wait(drafts(now)).unwrap();
            done += now.len();
            rest = later;
            if done >= reopen_at {
                drop(store);
                store = open(&dir);
            }
        }
        let merged = store.tiers.hot().state.dump();
        drop(store);
        prop_assert_eq!(&rebuilt(&dir).tiers.hot().state.dump(), &merged);

        let at_once = TempDir::new().unwrap();
        let other = open(&at_once);
        start(&other).submit_and_wait(drafts(&updates)).unwrap();
        prop_assert_eq!(&other.tiers.hot().state.dump(), &merged);
    }
}

#[test]
fn a_damaged_entry_is_named_and_does_not_panic() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![event("a")]).unwrap();
    writer.submit_and_wait(vec![user("u", "{}")]).unwrap();
    let log = store.tiers.hot().log.clone();
    let (key, value) = log.first().unwrap().unwrap();
    let mut bent = value.to_vec();
    bent[7] ^= 1;
    log.insert(&key, bent).unwrap();
    let all = Selection::of(1..=9);
    let error = store.select(&all, Order::Ascending, &mut |_, _| Ok(ControlFlow::Continue(())));
    assert!(matches!(&error, Err(Error::Damaged { .. })), "{error:?}");
    log.insert(&key, value).unwrap();

    let state = store.tiers.hot().state.tree().clone();
    let (key, value) = state.scan_prefix("u").next().unwrap().unwrap();
    let mut bent = value.to_vec();
    bent[6] ^= 1;
    state.insert(&key, bent).unwrap();
    assert!(matches!(store.user(ACCOUNT, "u"), Err(Error::Damaged { .. })));
    let refused = writer.submit_and_wait(vec![user("u", r#"{"a":1}"#)]);
    assert!(
        matches!(refused, Err(Refusal::Unreadable(_))),
        "what isn't known can't be merged into"
    );
    assert!(writer.submit_and_wait(vec![user("v", "{}")]).is_ok(), "others go on");
}

/// sled would take it for the newest, and the store for damaged.
#[test]
fn a_snapshot_that_sled_could_not_finish_is_no_harm() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    start(&store).submit_and_wait(vec![event("a")]).unwrap();
    drop(store);
    drop(open(&dir));
    let unfinished = dir.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating");
    std::fs::write(&unfinished, "cut off").unwrap();
    let store = open(&dir);
    assert_eq!(store.last_seq(), 1);
    assert!(!unfinished.exists());
}
