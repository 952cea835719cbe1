//! Every byte of a small store at rest is flipped, one at a time. Whatever matters is found, and nothing
//! panics, hangs, or shows what was never written.
//!
//! Segments are flipped beneath an open store, since `verify` reads them anew each time. Everything
//! else (sled's files, and the small ones beside them) is flipped in a copy of the store that is opened,
//! read whole, verified and closed. Then one of three things has to hold:
//! - it isn't opened, with a sentence, the second time neither;
//! - `verify` reports something;
//! - it reads as before, in every respect: the byte is one of those that don't matter.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use triggerly::model::record::Event;
use triggerly::model::{
    AccountId, AccountName, ApiToken, Date, Id, SecretHash, Seq, Sites, Via, erasure, json,
};
use triggerly::store::{
    Draft, Finding, Missing, Order, Pace, RestoreError, Selection, Store, Urgency, Writer,
    check_backup, restore,
};

/// How long one flip may take before that counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Threads that work on copies.
const THREADS: usize = 2;

const ACCOUNTS: [AccountId; 2] = [AccountId(1), AccountId(2)];

/// Long after what is erased by its age, long before anything is due again.
const NOW: Date = Date::from_millis(1_000_000_000);

fn pace() -> Pace<'static> {
    Pace { go_on: &|| true }
}

fn user(account: AccountId, id: &str, patch: &str) -> Draft {
    let patch = json::parse_object(patch, 32).expect("an object");
    Draft::user(account, Via::Public, &Id::new(id).expect("an id"), &patch, None, NOW)
}

fn event(account: AccountId, kind: &str, user_id: Option<&str>, attributes: &str) -> Draft {
    let date = Date::from_millis(NOW.millis() - 1_000);
    let context = user_id.map(|_| r#"{"page":"https://a.example/"}"#);
    let event = Event { account, via: Via::Secret, kind, user_id, date, attributes, context };
    Draft::event(event, NOW)
}

/// A store with some of everything: sealed, erased at rest, in the hot end, erased out of sight.
fn make(dir: &Path) {
    let store = Arc::new(Store::open(dir).expect("a new store"));
    let writer = Writer::start(Arc::clone(&store), store.flusher()).expect("a thread");
    let submit = |drafts| {
        writer.submit_and_wait(drafts).expect("it is accepted");
    };
    for (n, name) in (1..).zip(["default", "second shop"]) {
        let name = AccountName::new(name).expect("a name");
        submit(vec![Draft::account(name, ApiToken([n; 16]), SecretHash([n; 32]), NOW)]);
    }
    let [one, two] = ACCOUNTS;
    submit(vec![
        user(one, "zoe", r#"{"email":"zoe@example.com","plan":"free","n":1.0}"#),
        user(one, "gone", r#"{"email":"gone@example.com"}"#),
        user(one, "late", r#"{"email":"late@example.com"}"#),
        user(two, "zoe", r#"{"name":"Zoë ☕"}"#),
        event(one, "buy", Some("zoe"), r#"{"n":1234567890123456789012345678901234567890}"#),
        event(one, "view", Some("gone"), r#"{"page":"/gone"}"#),
        event(two, "view", None, r#"{"page":"/"}"#),
    ]);
    let compact = || {
        let compacted = store.compact(Urgency::Now, NOW, &pace()).expect("it can be sealed");
        assert_eq!(compacted.left, [""; 0]);
    };
    compact();
    let id = |id| Id::new(id).expect("an id");
    submit(vec![Draft::user_erasure(one, id("gone"), NOW)]);
    compact();
    submit(vec![user(one, "zoe", r#"{"plan":"pro"}"#), user(two, "max", "{}")]);
    submit((0..4).map(|n| event(one, "tick", Some("late"), &format!(r#"{{"n":{n}}}"#))).collect());
    submit(vec![
        event(two, "tick", None, "{}"),
        Draft::retention(two, Some(30), NOW),
        Draft::sites(two, Sites::new(["*.example.com"]).ok(), NOW),
    ]);
    let scope = erasure::Scope::Events {
        kind: Some(erasure::Digest::of_kind(one, "view")),
        user_id: None,
        from: None,
        to: None,
    };
    submit(vec![Draft::event_erasure(one, scope, NOW)]);
    submit(vec![Draft::user_erasure(one, id("late"), NOW)]);
    writer.close();
}

/// All that can be read of a store, as lines.
fn read(store: &Store) -> Result<(Vec<String>, Missing), triggerly::store::Error> {
    let mut lines = vec![format!("up to {}", store.last_seq())];
    lines.extend(store.accounts().list().iter().map(|account| format!("{account:?}")));
    for account in ACCOUNTS {
        for entry in store.users(account, None) {
            let (id, user) = entry?;
            lines.push(format!("{account:?} {id} {user:?}"));
        }
    }
    let all = Selection::of(1..=Seq::MAX);
    let missing = store.select(&all, Order::Ascending, &mut |seq, record| {
        lines.push(format!("{seq} {record:?}"));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((lines, missing))
}

fn verify(store: &Store) -> Result<Vec<Finding>, triggerly::store::Error> {
    let mut findings = Vec::new();
    store.verify(NOW, &pace(), &mut |finding| findings.push(finding))?;
    Ok(findings)
}

/// What came of a flip.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It isn't opened.
    Refused,
    /// It isn't read to its end, with a sentence.
    Unread,
    /// `verify` tells.
    Found,
    /// It doesn't matter.
    Same,
    /// The defects.
    Wrong(&'static str),
}

/// Opens a copy, looks at everything, closes it.
fn look(dir: &Path, before: &[String]) -> Outcome {
    let store = match Store::open(dir) {
        Ok(store) => store,
        Err(_) => {
            // What was found once isn't forgotten for having been looked at.
            return match Store::open(dir) {
                Err(_) => Outcome::Refused,
                Ok(store) => match read(&store) {
                    Ok((now, _)) if now == before => Outcome::Refused,
                    _ => Outcome::Wrong("refused once, opened the second time"),
                },
            };
        }
    };
    let read = read(&store);
    let findings = verify(&store);
    match (read, findings) {
        (Err(_), _) | (_, Err(_)) => Outcome::Unread,
        (Ok(_), Ok(findings)) if !findings.is_empty() => Outcome::Found,
        (Ok((now, missing)), Ok(_)) if now == before && missing == Missing::default() => {
            Outcome::Same
        }
        _ => Outcome::Wrong("it reads otherwise, and nothing is found"),
    }
}

/// A file as its pieces that aren't zero, so that a copy takes up and costs as little as it holds.
fn copy_sparse(from: &[u8], to: &Path) {
    const PIECE: usize = 4096;
    let file = File::create(to).expect("a file");
    file.set_len(from.len() as u64).expect("its length");
    for (at, piece) in from.chunks(PIECE).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, (at * PIECE) as u64).expect("it is written");
        }
    }
}

/// A store's files, held in memory.
struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    fn of(dir: &Path) -> Files {
        let (mut files, mut dirs) = (BTreeMap::new(), vec![dir.to_owned()]);
        while let Some(below) = dirs.pop() {
            for path in fs::read_dir(below).expect("a folder").map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let name = path.strip_prefix(dir).expect("it lies there").to_owned();
                    files.insert(name, fs::read(path).expect("it can be read"));
                }
            }
        }
        Files(files)
    }

    fn copy(&self, dir: &Path) {
        for (name, bytes) in &self.0 {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            copy_sparse(bytes, &path);
        }
    }
}

/// One byte of one file, and what it becomes.
type Flip = (PathBuf, usize, u8);

/// Tries flips on copies, and counts what came of them by file. A defect fails the test, and so does a
/// flip that hangs.
fn assert_each_is_found(files: &Files, before: &[String], flips: &[Flip]) {
    let next = AtomicUsize::new(0);
    let under_way: [Mutex<Option<(Instant, Flip)>>; THREADS] = Default::default();
    let counts: Mutex<BTreeMap<(String, Outcome), Vec<usize>>> = Mutex::default();
    let escaped: Mutex<Vec<String>> = Mutex::default();
    let worked = thread::scope(|scope| {
        let (next, counts, escaped) = (&next, &counts, &escaped);
        let workers: Vec<_> = under_way
            .iter()
            .map(|slot| {
                scope.spawn(move || {
                    while let Some(flip) = flips.get(next.fetch_add(1, SeqCst)) {
                        *slot.lock().unwrap() = Some((Instant::now(), flip.clone()));
                        let (name, at, becomes) = flip;
                        let dir = tempfile::tempdir().expect("a folder");
                        files.copy(dir.path());
                        let file = File::options().write(true).open(dir.path().join(name)).unwrap();
                        file.write_all_at(&[*becomes], *at as u64).unwrap();
                        drop(file);
                        let looked = catch_unwind(AssertUnwindSafe(|| look(dir.path(), before)));
                        let outcome = looked.unwrap_or_else(|panic| {
                            let why = panic.downcast_ref::<String>().cloned();
                            let why = why.or(panic.downcast_ref::<&str>().map(|t| t.to_string()));
                            escaped.lock().unwrap().push(format!("{flip:?}: {why:?}"));
                            Outcome::Wrong("it panics")
                        });
                        let name = name.display().to_string();
                        counts.lock().unwrap().entry((name, outcome)).or_default().push(*at);
                        *slot.lock().unwrap() = None;
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            for slot in &under_way {
                if let Some((since, flip)) = &*slot.lock().unwrap()
                    && since.elapsed() > PATIENCE
                {
                    // A thread that hangs can't be ended but with the process.
                    eprintln!("{flip:?} hangs");
                    std::process::exit(1);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        workers.into_iter().all(|worker| worker.join().is_ok())
    });
    assert!(worked);
    let counts = counts.into_inner().unwrap();
    let mut wrong = Vec::new();
    for ((name, outcome), places) in &counts {
        println!("{name}: {outcome:?} {}", places.len());
        if matches!(outcome, Outcome::Wrong(_)) {
            let mut places = places.clone();
            places.sort_unstable();
            wrong.push(format!("{name}: {outcome:?} at {places:?}"));
        }
    }
    for panic in escaped.lock().unwrap().iter().take(5) {
        println!("{panic}");
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(counts.values().map(Vec::len).sum::<usize>(), flips.len());
}

/// A made store, its files, and how it reads.
fn made() -> (tempfile::TempDir, Files, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    make(dir.path());
    // Once more, so that whatever an opening does by itself is done.
    drop(Store::open(dir.path()).expect("it is whole"));
    let files = Files::of(dir.path());
    let store = Store::open(dir.path()).expect("it is whole");
    assert_eq!(verify(&store).expect("it can be read"), []);
    let (before, missing) = read(&store).expect("it can be read");
    assert_eq!(missing, Missing::default());
    drop(store);
    // What is compared holds something of everything.
    for part in [
        "zoe",
        "1234567890123456789012345678901234567890",
        "Zoë ☕",
        "retention_days: Some(30)",
        "*.example.com",
    ] {
        assert!(before.iter().any(|line| line.contains(part)), "{part}: {before:#?}");
    }
    assert!(!before.iter().any(|line| line.contains("gone")), "{before:#?}");
    (dir, files, before)
}

fn is_sled(name: &Path) -> bool {
    name.starts_with("sled") || name.to_string_lossy().starts_with("sled-")
}

/// Flips of sled's files: of each byte that isn't zero and is the `step`-th, and of zeros here and there.
fn flips_of_sled(files: &Files, step: usize, zeros: usize) -> Vec<Flip> {
    let mut flips = Vec::new();
    let sled = files.0.iter().filter(|(name, _)| is_sled(name));
    for (name, bytes) in sled {
        let flip = |at: usize| (name.clone(), at, bytes[at] ^ 1 << (at % 8));
        let used = (0..bytes.len()).filter(|at| bytes[*at] != 0);
        flips.extend(used.step_by(step).map(flip));
        // Those next to what is used are more likely to be looked at.
        let near = (1..bytes.len()).filter(|at| bytes[*at] == 0 && bytes[at - 1] != 0);
        let near: Vec<_> = near.collect();
        flips.extend(near.iter().copied().step_by(near.len() / zeros + 1).map(flip));
        let far: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] == 0).collect();
        flips.extend(far.iter().copied().step_by(far.len() / zeros + 1).map(flip));
    }
    assert!(flips.iter().any(|(name, ..)| name.ends_with("db")), "sled's file is among them");
    flips
}

#[test]
fn the_small_files() {
    let (_dir, files, before) = made();
    let small = files.0.iter().filter(|(name, _)| !is_sled(name) && !name.starts_with("segments"));
    let flips: Vec<Flip> = small
        .filter(|(name, _)| !name.ends_with("ballast"))
        .flat_map(|(name, bytes)| {
            (0..bytes.len() * 8)
                .step_by(if bytes.len() < 40 { 1 } else { 7 })
                .map(|bit| (name.clone(), bit / 8, bytes[bit / 8] ^ 1 << (bit % 8)))
        })
        .collect();
    for name in ["FORMAT", "CURRENT", "high-water"] {
        assert!(flips.iter().any(|flip| flip.0 == Path::new(name)), "{name}");
    }
    assert_each_is_found(&files, &before, &flips);
}

#[test]
fn some_bytes_of_sled() {
    let (_dir, files, before) = made();
    assert_each_is_found(&files, &before, &flips_of_sled(&files, 61, 10));
}

#[test]
#[ignore = "takes minutes"]
fn each_byte_of_sled() {
    let (_dir, files, before) = made();
    assert_each_is_found(&files, &before, &flips_of_sled(&files, 1, 500));
}

#[test]
fn each_byte_of_the_segments() {
    let (dir, files, before) = made();
    let store = Store::open(dir.path()).expect("it is whole");
    let segments = files.0.iter().filter(|(name, _)| name.starts_with("segments"));
    let mut flipped = 0;
    for (name, bytes) in segments {
        let file = File::options().write(true).open(dir.path().join(name)).unwrap();
        for (at, byte) in bytes.iter().enumerate() {
            file.write_all_at(&[byte ^ 1 << (at % 8)], at as u64).unwrap();
            let findings = verify(&store).expect("it goes on");
            let told = findings.iter().any(|finding| Path::new(&finding.place) == name);
            assert!(told, "byte {at} of {name:?}: {findings:?}");
            // What is shown is true, and if it isn't all, that is told.
            let (now, missing) = read(&store).expect("the rest is shown");
            assert!(now == before || missing.records > 0, "byte {at} of {name:?}");
            assert!(
                now.iter().all(|line| before.contains(line)),
                "byte {at} of {name:?}: {now:#?}"
            );
            file.write_all_at(&[*byte], at as u64).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 2_000, "{flipped}");
    assert_eq!(verify(&store).expect("it goes on"), [], "all is as it was");
}

#[test]
fn each_byte_of_a_backup() {
    let (dir, _, before) = made();
    let store = Store::open(dir.path()).expect("it is whole");
    let mut backup = Vec::new();
    store.backup(&mut backup).expect("it can be backed up");
    check_backup(backup.as_slice()).expect("it is whole");
    let below = tempfile::tempdir().expect("a folder");
    let place = below.path().join("restored");
    let mut flipped = backup.clone();
    for at in 0..backup.len() {
        flipped[at] ^= 1 << (at % 8);
        assert!(check_backup(flipped.as_slice()).is_err(), "byte {at}");
        // As through a pipe, where it can't be looked at first: there is no store then either.
        if at % 211 == 0 {
            let error = restore(&place, flipped.as_slice()).expect_err("it was altered");
            assert!(!matches!(error, RestoreError::NotEmpty(_)), "byte {at}: {error}");
            assert!(fs::read_dir(&place).map_or(0, Iterator::count) == 0, "byte {at}");
        }
        flipped[at] = backup[at];
    }
    restore(&place, backup.as_slice()).expect("it is whole");
    let restored = Store::open(&place).expect("it is whole");
    assert_eq!(read(&restored).expect("it can be read").0, before);
    assert_eq!(verify(&restored).expect("it can be read"), []);
}
