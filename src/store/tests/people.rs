//! People, sessions and links: they hold at once and last, and what can't be is found out when it is
//! stored.

use std::sync::mpsc;

use super::*;
use crate::model::person::{Link, PersonChange::*};
use crate::model::{Email, People, PersonChange, PersonId, PersonRefusal, TokenHash};
use crate::store::people as at_rest;

const AT: Date = Date::from_millis(5);
const PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

fn hash(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

fn link(n: u8) -> PersonChange<'static> {
    LinkMade { hash: hash(n), account: ACCOUNT, by_operator: true }
}

fn made(email: &str) -> PersonChange<'_> {
    Made { email, password: PASSWORD, account: ACCOUNT }
}

fn drafts(changes: &[PersonChange<'_>]) -> Vec<Draft> {
    changes.iter().map(|change| Draft::person(*change, AT)).collect()
}

fn assert_verified(store: &Store) {
    let (mut findings, pace) = (Vec::new(), Pace { go_on: &|| true });
    store.verify(AT, &pace, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
}

#[test]
fn they_hold_at_once_and_last() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut wanted = People::default();
    let mut store = open(&dir);
    let mut writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    // The second time some is sealed, the third it is both.
    for round in 0..3_u8 {
        let email = format!("zoe{round}@example.com");
        let (one, two, three) = (hash(round * 9), hash(round * 9 + 1), hash(round * 9 + 2));
        let person = PersonId(store.last_seq() + 3);
        let label = "Firefox on Linux";
        for changes in [
            &[link(round * 9 + 3)][..],
            &[LinkUsed { hash: hash(round * 9 + 3) }, made(&email)],
            &[SessionBegun { person, hash: one, label }],
            &[SessionBegun { person, hash: two, label: "" }],
            &[SessionBegun { person, hash: three, label }, SessionEnded { hash: one }],
            &[SessionsEnded { person, but: Some(three) }],
            &[PasswordSet { person, password: "$other" }, link(round * 9 + 4)],
            &[EmailSet { person, email: &format!("max{round}@example.com") }],
        ] {
            let receipt = writer.submit_and_wait(drafts(changes)).unwrap();
            for (seq, change) in (receipt.first_seq..).zip(changes) {
                wanted.apply(seq, AT, *change).unwrap();
            }
            assert_eq!(*store.people(), wanted, "as soon as it is acknowledged");
        }
        assert_eq!(store.people().sessions_of(person).len(), 1);
        assert_verified(&store);
        if round > 0 {
            writer.submit_and_wait(vec![event("view")]).unwrap();
            let pace = Pace { go_on: &|| true };
            let compacted = store.compact(Urgency::Now, AT, &pace).unwrap();
            assert_eq!(compacted.left, Vec::<String>::new());
            assert_verified(&store);
        }
        store.rebuild(&Pace { go_on: &|| true }).unwrap();
        assert_eq!(*store.people(), wanted);
        assert_verified(&store);
        drop(writer);
        drop(store);
        store = open(&dir);
        writer = start(&store);
        assert_eq!(*store.people(), wanted, "after opening again");
    }
    let first = PersonId(4);
    assert_eq!(wanted.get(first).unwrap().email, Email::new("max0@example.com").unwrap());
    writer.submit_and_wait(drafts(&[Left { person: first, account: ACCOUNT }])).unwrap();
    wanted.apply(99, AT, Left { person: first, account: ACCOUNT }).unwrap();
    let mut backup = Vec::new();
    store.backup(&mut backup).unwrap();
    restore(other.path(), backup.as_slice()).unwrap();
    assert_eq!(*open(&other).people(), wanted, "after restoring");
    let state = store.tiers.hot().state.dump();
    drop((writer, store));
    let rebuilt = rebuilt(&dir);
    assert_eq!(*rebuilt.people(), wanted, "from the log alone");
    assert_eq!(rebuilt.tiers.hot().state.dump(), state);
}

#[test]
fn what_cannot_be_is_refused_with_all_that_comes_with_it() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    writer.submit_and_wait(drafts(&[made("zoe@b"), link(1)])).unwrap();
    let (people, state) = (store.people(), store.tiers.hot().state.dump());
    let nobodys = Made { email: "max@b", password: PASSWORD, account: AccountId(99) };
    let person = PersonId(2);
    for (change, refusal) in [
        (made("ZOE@b"), Refusal::Person(PersonRefusal::EmailTaken)),
        (LinkUsed { hash: hash(1) }, Refusal::Person(PersonRefusal::NoLink)),
        (nobodys, Refusal::NoAccount),
        (Joined { person, account: AccountId(99) }, Refusal::NoAccount),
        (LinkMade { hash: hash(2), account: AccountId(99), by_operator: true }, Refusal::NoAccount),
    ] {
        // The first two can be, and a user beside them: the third can't.
        let mut all = drafts(&[LinkUsed { hash: hash(1) }, made("max@b"), change]);
        all.insert(0, user("u", "{}"));
        assert_eq!(writer.submit_and_wait(all), Err(refusal), "{change:?}");
        assert_eq!(store.people(), people);
        assert_eq!(store.tiers.hot().state.dump(), state);
    }
    assert_eq!(store.last_seq(), 3);
    let said = Refusal::Person(PersonRefusal::NoLink).to_string();
    assert_eq!(said, "the link was used already, or is older than 24 hours");
}

/// Whoever looked before at whether a link waits, or an address is free, may be too late.
#[test]
fn of_two_at_the_same_instant_one_is_first() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = Arc::new(start(&store));
    writer.submit_and_wait(vec![account("default")]).unwrap();
    for round in 0..8 {
        writer.submit_and_wait(drafts(&[link(round)])).unwrap();
        let (tell, told) = mpsc::channel();
        for n in 0..8 {
            let tell = tell.clone();
            // Each has an address of its own in one round, all have the same in the next.
            let email =
                if round % 2 == 0 { format!("p{n}.{round}@b") } else { format!("{round}@b") };
            let use_it = LinkUsed { hash: hash(round) };
            let changes =
                if round % 2 == 0 { vec![use_it, made(&email)] } else { vec![made(&email)] };
            let (drafts, writer) = (drafts(&changes), Arc::clone(&writer));
            std::thread::spawn(move || tell.send(writer.submit_and_wait(drafts)).unwrap());
        }
        drop(tell);
        let outcomes: Vec<_> = told.iter().collect();
        assert_eq!(outcomes.len(), 8);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let why = if round % 2 == 0 { PersonRefusal::NoLink } else { PersonRefusal::EmailTaken };
        let refused = outcomes.iter().filter(|outcome| **outcome == Err(Refusal::Person(why)));
        assert_eq!(refused.count(), 7);
    }
    assert_eq!(store.people().len(), 8);
}

/// What changes while a new generation of sled is made is in that too.
#[test]
fn they_change_while_sled_is_begun_anew() {
    for how in [Renewal::Copy, Renewal::Rebuild] {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let writer = start(&store);
        writer.submit_and_wait(vec![account("default")]).unwrap();
        let mut renewed = 0;
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| {
                for n in 0..24 {
                    // Somebody comes, signs in, and leaves again every other time.
                    let person = PersonId(store.last_seq() + 3);
                    let email = format!("p{n}@b");
                    let began = SessionBegun { person, hash: hash(n), label: "Firefox" };
                    let left = Left { person, account: ACCOUNT };
                    let used = [link(n), LinkUsed { hash: hash(n) }, made(&email), began, left];
                    let count = if n % 2 == 0 { 5 } else { 3 };
                    writer.submit_and_wait(drafts(&used[..count])).unwrap();
                    writer.submit_and_wait(drafts(&[link(n)])).unwrap();
                    let used = if n % 3 == 0 { vec![] } else { vec![LinkUsed { hash: hash(n) }] };
                    writer.submit_and_wait(drafts(&used)).unwrap();
                }
            });
            while !changing.is_finished() {
                // While there is much that is new it gives up, and would be called again.
                renewed += u32::from(store.is_renewed(how));
            }
            changing.join().unwrap();
        });
        assert!(renewed > 1, "{renewed}");
        let people = store.people();
        assert_verified(&store);
        drop((writer, store));
        assert_eq!(*open(&dir).people(), *people, "{how:?}");
    }
}

/// What a crash between the two writes of a group leaves.
#[test]
fn a_crash_before_the_merge_is_mended() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(&dir);
        start(&store).submit_and_wait(vec![account("default")]).unwrap();
        let drafts = drafts(&[link(1), LinkUsed { hash: hash(1) }, made("zoe@b"), link(2)]);
        let batch = EncodedBatch::of(2, drafts.iter().map(|draft| draft.encoded.as_slice()));
        store.tiers.append(&[batch]).unwrap();
        store.flusher().flush().unwrap();
    }
    let people = open(&dir).people();
    assert_eq!(people.get(PersonId(4)).unwrap().email.as_str(), "zoe@b");
    let waits = Link { hash: hash(2), account: ACCOUNT, by_operator: true, made_at: AT };
    assert_eq!(people.links(), [waits]);
}

/// The fullest entries that there can be are within what sled takes.
#[test]
fn the_fullest_entries_are_small() {
    use crate::model::limits::*;
    let mut people = People::default();
    let (email, label) =
        (format!("{}@b", "e".repeat(EMAIL_BYTES_MAX - 2)), "l".repeat(SESSION_LABEL_BYTES_MAX));
    let password = format!("${}", "p".repeat(PASSWORD_HASH_BYTES_MAX - 1));
    let account = AccountId(u64::MAX);
    people.apply(1, AT, Made { email: &email, password: &password, account }).unwrap();
    let person = PersonId(1);
    for n in 1..ACCOUNTS_OF_PERSON_MAX as u64 {
        let joined = Joined { person, account: AccountId(u64::MAX - n) };
        people.apply(2, AT, joined).unwrap();
    }
    for n in 0..SESSIONS_OF_PERSON_MAX as u8 {
        people.apply(3, Date::MAX, SessionBegun { person, hash: hash(n), label: &label }).unwrap();
    }
    for n in 0..LINKS_MAX as u8 {
        let made = LinkMade { hash: hash(n), account, by_operator: true };
        people.apply(4, Date::MAX, made).unwrap();
    }
    let (key, whole) = (at_rest::key(person), people.get(person).unwrap());
    let value = at_rest::encode(&key, whole, people.sessions_of(person));
    assert!(value.len() < ENTRY_BYTES_MAX / 2, "{} bytes", value.len());
    let read = at_rest::decode(&key, &value).unwrap();
    assert_eq!((&read.0, read.1.len()), (&**whole, SESSIONS_OF_PERSON_MAX));
    let value = at_rest::encode_links(people.links());
    assert!(value.len() < ENTRY_BYTES_MAX / 2, "{} bytes", value.len());
    assert_eq!(at_rest::decode_links(&value).as_deref(), Ok(people.links()));
}
