//! Large submissions: a thousand objects at once are stored together, or nothing of them is.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::flushes::start_scripted;
use super::*;
use crate::model::limits::{BATCH_OBJECTS_MAX, BODY_BYTES_MAX};

/// Patches of so many users, some of whom are named again and again.
fn patches(count: usize, text: &str) -> Vec<Draft> {
    (0..count)
        .map(|n| {
            // Removed and put back, an attribute moves behind the others: the order matters.
            let patch = match n % 7 {
                0 => format!(r#"{{"a":null,"n":{n}}}"#),
                1 => format!(r#"{{"n":{n},"a":"{text}"}}"#),
                _ => format!(r#"{{"a":"{text}","b{}":{n}}}"#, n % 3),
            };
            user(&format!("u{}", (n * n) % 701), &patch)
        })
        .collect()
}

#[test]
fn the_largest_batch_is_stored_whole() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let attributes = format!(r#"{{"x":"{}"}}"#, "x".repeat(BODY_BYTES_MAX / BATCH_OBJECTS_MAX));
    let events = || (0..BATCH_OBJECTS_MAX).map(|n| event_with(&n.to_string(), &attributes));
    let drafts: Vec<_> = events().collect();
    let bytes: usize = drafts.iter().map(Draft::bytes).sum();
    assert!((BODY_BYTES_MAX..SUBMISSION_BYTES_MAX).contains(&bytes), "{bytes}");
    let receipt = writer.submit_and_wait(drafts).unwrap();
    assert_eq!(receipt, Receipt { first_seq: 1, count: BATCH_OBJECTS_MAX as u64 });
    // A refused one in the middle takes all others with it.
    let mut drafts: Vec<_> = events().collect();
    drafts[500] = user("u", &format!(r#"{{"x":"{}"}}"#, "x".repeat(USER_BYTES_MAX)));
    let refused = writer.submit_and_wait(drafts);
    assert!(matches!(refused, Err(Refusal::User { index: 500, .. })), "{refused:?}");
    assert_eq!((store.last_seq(), user_text(&store, "u")), (1_000, None));
    drop((writer, store));
    let seen = names(&open(&dir), 1..=Seq::MAX, Order::Ascending);
    assert!(seen.into_iter().eq((1..=1_000).map(|seq| (seq, (seq - 1).to_string()))));
    assert_eq!(std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count(), 0);
}

#[test]
fn many_users_become_in_one_batch_what_they_become_one_by_one() {
    let [at_once, one_by_one] = [(); 2].map(|()| TempDir::new().unwrap());
    let dumps = [(&at_once, 1_000), (&one_by_one, 16)].map(|(dir, size)| {
        let store = open(dir);
        let writer = start(&store);
        let mut drafts = patches(1_000, "some text").into_iter().peekable();
        while drafts.peek().is_some() {
            writer.submit_and_wait(drafts.by_ref().take(size).collect::<Vec<_>>()).unwrap();
        }
        store.tiers.hot().state.dump()
    });
    assert_eq!(dumps[0], dumps[1]);
    assert_eq!(rebuilt(&at_once).tiers.hot().state.dump(), dumps[0]);
}

#[test]
fn one_bad_update_of_many_is_named_and_nothing_is_stored() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let half = "x".repeat(USER_BYTES_MAX / 2);
    let mut drafts = patches(1_000, "");
    // Each by itself is small enough, both together aren't; and another bad one stands behind.
    drafts[300] = user("zoe", &format!(r#"{{"a":"{half}"}}"#));
    drafts[600] = user("zoe", &format!(r#"{{"b":"{half}"}}"#));
    drafts[800] = user("adam", &format!(r#"{{"a":"{half}{half}"}}"#));
    let refused = writer.submit_and_wait(drafts);
    assert!(
        matches!(refused, Err(Refusal::User { index: 600, limit: UserLimit::Bytes(_) })),
        "{refused:?}"
    );
    assert_eq!((store.last_seq(), store.users(ACCOUNT, None).count()), (0, 0));
    assert_eq!(writer.submit_and_wait(patches(1_000, "")).unwrap().first_seq, 1);
}

/// What is written between two flushes is bounded, and whichever of them is the last before a crash, the
/// batch is whole when the store is opened again.
#[test]
fn many_large_users_are_written_in_pieces_and_a_crash_between_two_is_no_harm() {
    let large = "x".repeat(USER_BYTES_MAX - 200);
    let whole = TempDir::new().unwrap();
    let flushes = |dir: &TempDir, fail_at: usize| {
        let store = open(dir);
        let passed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&passed);
        let (writer, _) = start_scripted(&store, move || match counted.fetch_add(1, SeqCst) {
            n if n == fail_at => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        });
        let stored = writer.submit_and_wait(patches(1_000, &large[..USER_BYTES_MAX / 8]));
        assert_eq!(stored.is_ok(), fail_at == usize::MAX);
        passed.load(SeqCst)
    };
    let all = flushes(&whole, usize::MAX);
    assert!(all > 2, "{all}");
    let expected = open(&whole).tiers.hot().state.dump();
    for fail_at in [1, all / 2, all - 1] {
        let dir = TempDir::new().unwrap();
        flushes(&dir, fail_at);
        let store = open(&dir);
        assert_eq!(store.last_seq(), 1_000);
        assert!(store.tiers.hot().state.dump() == expected, "{fail_at}");
    }
}
