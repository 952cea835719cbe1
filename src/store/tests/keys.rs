//! Submissions that are stored once, whatever happens in between.

use std::io;
use std::sync::mpsc;

use super::flushes::{start_gated, start_scripted};
use super::*;
use crate::model::erasure::Digest;
use crate::model::limits::{BATCH_OBJECTS_MAX, IDEMPOTENCY_DAYS};

const DAY: i64 = 24 * 60 * 60 * 1_000;

fn key(text: &str) -> Digest {
    Digest::of_idempotency_key(ACCOUNT, text)
}

/// Events that came then.
fn events(count: usize, at: i64) -> Vec<Draft> {
    let (account, via, kind, at) = (ACCOUNT, Via::Public, "e", Date::from_millis(at));
    let (user_id, context, attributes) = (None, None, "{}");
    let event = Event { account, via, kind, user_id, date: at, attributes, context };
    (0..count).map(|_| Draft::event(event, at)).collect()
}

fn once(writer: &Writer, name: &str, count: usize, at: i64) -> Receipt {
    writer.submit_and_wait(Submission::once(events(count, at), key(name))).unwrap()
}

fn compact(store: &Store, now: i64) {
    let pace = Pace { go_on: &|| true };
    let compacted = store.compact(Urgency::Now, Date::from_millis(now), &pace).unwrap();
    assert_eq!(compacted.left, Vec::<String>::new());
}

fn rows(store: &Store) -> usize {
    store.tiers.hot().state.tree().scan_prefix("k").count()
}

fn assert_verified(store: &Store, now: i64) {
    let (mut findings, pace) = (Vec::new(), Pace { go_on: &|| true });
    store.verify(Date::from_millis(now), &pace, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
}

#[test]
fn what_comes_again_is_answered_as_the_first_time_and_not_stored() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Receipt { first_seq: 3, count: 2 };
    let check = |store: &Arc<Store>, what: &str| {
        let writer = start(store);
        // However many there are now, they are those of the first time.
        assert_eq!(once(&writer, "a", 7, 1_000), first, "{what}");
        assert_eq!(once(&writer, "a", 1, DAY), first, "{what}");
        assert_eq!(once(&writer, "many users", 1, 5).count, 1_000, "{what}");
        assert_eq!(store.last_seq(), 1_004, "{what}");
    };
    {
        let store = open(&dir);
        let writer = start(&store);
        writer.submit_and_wait(vec![event("x"), event("y")]).unwrap();
        assert_eq!(once(&writer, "a", 2, 5), first);
        let users = (0..BATCH_OBJECTS_MAX).map(|n| user(&n.to_string(), r#"{"a":1}"#)).collect();
        writer.submit_and_wait(Submission::once(users, key("many users"))).unwrap();
        drop(writer);
        check(&store, "at once");
    }
    check(&open(&dir), "after opening again");
    check(&Arc::new(rebuilt(&dir)), "after a rebuild");
    let store = open(&dir);
    compact(&store, DAY);
    check(&store, "sealed");
    store.rebuild(&Pace { go_on: &|| true }).unwrap();
    check(&store, "sealed and rebuilt");
    start(&store).submit_and_wait(vec![event("late")]).unwrap();
    compact(&store, DAY);
    assert_eq!(store.tiers.view().all().count(), 1, "merged");
    let mut backup = Vec::new();
    store.backup(&mut backup).unwrap();
    restore(other.path(), backup.as_slice()).unwrap();
    for store in [store, open(&other)] {
        let writer = start(&store);
        assert_eq!(once(&writer, "a", 1, 6), first);
        assert_eq!(store.last_seq(), 1_005);
        assert_verified(&store, DAY);
    }
}

#[test]
fn a_key_counts_for_days_and_for_its_account() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let (at, week) = (1_700_000_000_000, IDEMPOTENCY_DAYS * DAY);
    assert_eq!(once(&writer, "a", 1, at).first_seq, 1);
    assert_eq!(once(&writer, "a", 1, at + week - 1).first_seq, 1);
    assert_eq!(once(&writer, "a", 1, at - DAY / 2).first_seq, 1, "a clock was set back");
    assert_eq!(once(&writer, "a", 1, at + week).first_seq, 2);
    assert_eq!(once(&writer, "a", 1, at + 2 * week - 1).first_seq, 2);
    let other = Digest::of_idempotency_key(AccountId(2), "a");
    let submission = Submission::once(events(1, at + week), other);
    assert_eq!(writer.submit_and_wait(submission).unwrap().first_seq, 3);
}

#[test]
fn of_several_at_once_one_is_stored_and_nobody_is_told_before_it_is() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, flushes, go) = start_gated(&store);
    let submit = |drafts: Vec<Draft>, name: &str| {
        let (tell, told) = mpsc::channel();
        let submission = Submission::once(drafts, key(name));
        writer.submit(submission, Done::new(move |outcome| tell.send(outcome).unwrap()));
        told
    };
    let first = submit(events(1, 5), "a");
    while flushes.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let again: Vec<_> =
        (0..20).map(|n| submit(events(2, 5 + n % 2), ["a", "b"][n as usize % 2])).collect();
    let patience = std::time::Duration::from_millis(50);
    assert!(again.iter().all(|told| told.recv_timeout(patience / 20).is_err()));
    assert!(first.recv_timeout(patience).is_err(), "the flush hasn't returned");
    drop(go);
    assert_eq!(first.recv().unwrap(), Ok(Receipt { first_seq: 1, count: 1 }));
    for (n, told) in again.iter().enumerate() {
        let expected = [Receipt { first_seq: 1, count: 1 }, Receipt { first_seq: 2, count: 2 }];
        assert_eq!(told.recv().unwrap(), Ok(expected[n % 2]));
    }
    assert_eq!(store.last_seq(), 3);
}

#[test]
fn what_was_refused_is_tried_again() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(USER_BYTES_MAX));
    let refused = Submission::once(vec![user("u", &large)], key("a"));
    assert!(matches!(writer.submit_and_wait(refused), Err(Refusal::User { index: 0, .. })));
    assert_eq!((once(&writer, "a", 1, 5).first_seq, rows(&store)), (1, 1));
}

/// A crash, or a disk that fails, between writing to the log and telling the caller: whether it was stored
/// is found out by trying again.
#[test]
fn what_nobody_was_told_of_is_known_after_a_crash() {
    for (name, drafts) in [
        ("events", events(3, 5)),
        ("many users", (0..300).map(|n| user(&n.to_string(), r#"{"a":1}"#)).collect()),
    ] {
        let dir = TempDir::new().unwrap();
        let count = drafts.len() as u64;
        {
            let store = open(&dir);
            let (writer, _) = start_scripted(&store, || Err(io::Error::other("no power")));
            let told = writer.submit_and_wait(Submission::once(drafts, key(name)));
            assert!(matches!(told, Err(Refusal::Failed(_))), "{told:?}");
            assert_eq!(rows(&store), 0, "the state has nothing that could still be lost");
        }
        let store = open(&dir);
        assert_eq!(once(&start(&store), name, 1, 6), Receipt { first_seq: 1, count });
        assert_eq!((store.last_seq(), rows(&store)), (count, 1));
    }
}

#[test]
fn keys_do_not_gather() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    const A_DAY: i64 = 20;
    for n in 0..A_DAY * 40 {
        once(&writer, &n.to_string(), 1, n * DAY / A_DAY);
        if n % 150 == 0 {
            compact(&store, n * DAY / A_DAY);
        }
        assert!(rows(&store) <= ((IDEMPOTENCY_DAYS + 3) * A_DAY) as usize, "{n}");
    }
    let now = 40 * DAY;
    assert_verified(&store, now);
    compact(&store, now);
    assert_verified(&store, now);
    // What is sealed has let go of them too, where it was written anew.
    store.rebuild(&Pace { go_on: &|| true }).unwrap();
    assert!(rows(&store) <= ((IDEMPOTENCY_DAYS + 3) * A_DAY) as usize, "{}", rows(&store));
    assert_verified(&store, now);
    assert_eq!(once(&writer, "799", 1, now).first_seq, 800);
}
