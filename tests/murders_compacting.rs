//! Murders of a server that compacts, erases, expires, imports and takes calls, all at once: what was
//! acknowledged is there once, what was acknowledged to be erased is gone and never comes back, and
//! the state and the indexes are what the log says.
//!
//! Each thing done has a time at which it was begun and one at which it was known to be done, by a
//! clock that ticks with each. What was done before an erasure was begun is taken by it, what was
//! begun behind its end isn't, and of the rest nobody can tell.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;
mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value};
use support::connection::Connection;
use support::random::Random;
use support::server::verb;
use support::{Server, base64, escape, files, merge};
use triggerly::model::{Change, Record, Seq};
use triggerly::query::answers;
use triggerly::store::{Count, Order, Selection, Stop, Store};

const ACCOUNTS: [&str; 2] = ["default", "other"];

/// The one that keeps its events for so many days only.
const FORGETFUL: usize = 0;

const CONNECTIONS: usize = 24;

/// Lines of an import.
const LINES: usize = 150;

#[test]
fn five_murders() {
    murders(&mut Random::new(), 5);
}

/// On several stores, so that none grows so large that a round gets long.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_murders() {
    let mut random = Random::new();
    for store in 0..10 {
        println!("store {store}");
        murders(&mut random, 10);
    }
}

fn murders(random: &mut Random, rounds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let made = verb(dir.path(), &["account", "add", ACCOUNTS[1], "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let of_other = |key: &str| made[key].as_str().unwrap().to_owned();
    let tokens = [server.api_token.clone(), of_other("api_token")];
    let secrets = [server.secret_key.clone(), of_other("secret_key")];
    done(dir.path(), &["retention", "set", ACCOUNTS[FORGETFUL], "30"]);
    let place = tempfile::tempdir().unwrap();
    let book = Mutex::new(Book::default());
    let mut imports = Vec::new();
    for round in 0..rounds {
        let scene = Scene { server: &server, tokens: &tokens, secrets: &secrets, book: &book };
        scene.round(round, random, &mut imports, place.path());
        server.kill();
        open(&book).nobody_is_left();
        // Whoever opens it first has to recover it.
        match random.within(0..5) {
            0 => drop(done(dir.path(), &["verify"])),
            1 => compact(dir.path(), &book, true),
            2 => {
                server = server.again();
                thread::sleep(Duration::from_millis(random.within(0..100)));
                server.kill();
            }
            3 => drop(done(dir.path(), &["reindex"])),
            _ => {}
        }
        println!("round {round}");
        open(&book).check(&Store::open(dir.path()).unwrap());
        done(dir.path(), &["verify"]);
        server = server.again();
    }
    server.track("events", r#"{"type":"last"}"#);
    server.terminate();
    for import in &imports {
        assert!(import.run(dir.path(), &book), "it goes on where it was cut short");
    }
    // What a crash has torn off lies around until something is erased the next time.
    done(dir.path(), &["delete", "events", "--type", "last", "--account", ACCOUNTS[0], "--yes"]);
    compact(dir.path(), &book, true);
    let text = done(dir.path(), &["verify"]);
    let segments = text.lines().find_map(|line| line.strip_prefix("segments=")).unwrap();
    files::check_tidy(dir.path(), segments.parse().unwrap());
    let mut book = book.into_inner().unwrap();
    book.nobody_is_left();
    let left = book.check(&Store::open(dir.path()).unwrap());
    for (prefix, len) in [("gone-", "gone-000-00".len()), ("kind-", "kind-000-0".len())] {
        let bytes = files::texts_in(dir.path(), prefix, len);
        let gone: Vec<_> = bytes.difference(&left).filter(|id| book.is_erased(id)).collect();
        assert!(gone.is_empty(), "bytes of what was erased: {gone:?}");
    }
    println!("{}", book.summary());
    assert!(book.calls.iter().filter(|call| call.fate == Fate::Stored).count() > 100);
    assert!(book.erasures.iter().any(|erasure| erasure.certain && erasure.what != What::Old));
}

fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap()
}

/// What a verb printed; it must have succeeded.
#[track_caller]
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compacts, after which what is too old is gone.
fn compact(dir: &Path, book: &Mutex<Book>, alone: bool) {
    let erasure = open(book).erase(FORGETFUL, What::Old);
    let output = verb(dir, &["compact"]);
    assert!(output.status.success() || !alone, "{output:?}");
    if output.status.success() {
        erasure.finish(book);
    }
}

/// What takes part in a round.
#[derive(Clone, Copy)]
struct Scene<'s> {
    server: &'s Server,
    tokens: &'s [String; 2],
    secrets: &'s [String; 2],
    book: &'s Mutex<Book>,
}

impl Scene<'_> {
    /// Everybody at work until the server is killed at some moment.
    fn round(&self, round: u64, random: &mut Random, imports: &mut Vec<Import>, place: &Path) {
        let moment = Duration::from_millis(random.within(150..900));
        let over = &AtomicBool::new(false);
        let (mut of_eraser, mut of_importer, mut of_load) =
            (random.split(), random.split(), random.split());
        let mut of_indexes = random.split();
        let scene = *self;
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(moment);
                over.store(true, SeqCst);
                scene.server.signal(Signal::KILL);
            });
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    compact(&scene.server.dir, scene.book, false);
                    if of_indexes.one_in(2) {
                        // It may be cut short.
                        verb(&scene.server.dir, &["reindex"]);
                    }
                }
            });
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    scene.erase_one(round, &mut of_eraser);
                }
            });
            scope.spawn(move || {
                // First those that the murders before have cut short.
                let mut number = 0;
                while !over.load(SeqCst) {
                    if imports.is_empty() {
                        let path = place.join(format!("{round}-{number}.jsonl"));
                        imports.push(Import::write(path, scene.book, round, &mut of_importer));
                        number += 1;
                    }
                    imports.retain(|import| !import.run(&scene.server.dir, scene.book));
                }
            });
            scene.load(round, &mut of_load);
        });
    }

    /// Calls over kept connections until the server is gone.
    fn load(&self, round: u64, random: &mut Random) {
        let load = load::Load {
            connections: CONNECTIONS,
            time: Duration::from_secs(30),
            ..load::Load::at(self.server.address)
        };
        let under_way = std::cell::RefCell::new([0; CONNECTIONS]);
        load.run(
            |request, connection, _| {
                let account = random.pick(&[0, 1]);
                let is_event = random.one_in(2);
                let (n, text) = open(self.book).begin(account, round, is_event, random);
                under_way.borrow_mut()[connection] = n;
                let kind = if is_event { "events" } else { "users" };
                let (token, data) = (&self.tokens[account], escape(&base64(text)));
                let target = format!("/v1/{kind}/track?api_token={token}&data={data}");
                write!(request, "GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            },
            |connection, _, status| {
                let fate = if status == 200 { Fate::Stored } else { Fate::Refused };
                open(self.book).end(under_way.borrow()[connection], fate);
            },
        );
    }

    /// Erases a user of this round, or its events of a type, over HTTP or by the verb.
    fn erase_one(&self, round: u64, random: &mut Random) {
        let account = random.pick(&[0, 1]);
        let what = if random.one_in(6) {
            What::Kind(a_kind(round, random))
        } else {
            What::User(a_user_to_erase(round, random))
        };
        let (arguments, target) = match &what {
            What::User(id) => (["delete", "user", "--yes", id], format!("users/{id}")),
            What::Kind(kind) => {
                (["delete", "events", "--type", kind], format!("events?type={kind}"))
            }
            What::Old => unreachable!("nobody asks for it"),
        };
        let erasure = open(self.book).erase(account, what.clone());
        let is_done = if random.one_in(4) {
            let more = ["--account", ACCOUNTS[account], "--yes"];
            let arguments: Vec<_> = arguments.iter().chain(&more).copied().collect();
            verb(&self.server.dir, &arguments).status.success()
        } else {
            let secret = &self.secrets[account];
            let request = format!(
                "DELETE /v1/{target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {secret}\r\n\r\n"
            );
            let reply = Connection::open(self.server.address).and_then(|mut connection| {
                connection.send(request)?;
                connection.reply()?.ok_or(ErrorKind::UnexpectedEof.into())
            });
            // Whoever isn't there has nothing that an answer before had acknowledged.
            reply.is_ok_and(|reply| match reply.status {
                200 | 404 => true,
                _ => panic!("{reply:?}"),
            })
        };
        if is_done {
            erasure.finish(self.book);
        }
    }
}

/// Fixed in length, so that none is the beginning of another.
fn a_user_to_erase(round: u64, random: &mut Random) -> String {
    format!("gone-{round:03}-{:02}", random.within(0..60))
}

fn a_kind(round: u64, random: &mut Random) -> String {
    format!("kind-{round:03}-{}", random.within(0..8))
}

/// A file of lines to import, into one account.
struct Import {
    path: PathBuf,
    what: &'static str,
    account: usize,
    /// The calls that its lines stand for.
    calls: Vec<usize>,
}

impl Import {
    fn write(path: PathBuf, book: &Mutex<Book>, round: u64, random: &mut Random) -> Import {
        let (account, is_event) = (random.pick(&[0, 1]), random.one_in(2));
        let mut book = open(book);
        let (calls, lines): (_, Vec<_>) =
            (0..LINES).map(|_| book.begin(account, round, is_event, random)).unzip();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        Import { path, what: if is_event { "events" } else { "users" }, account, calls }
    }

    /// Whether it came to its end.
    fn run(&self, dir: &Path, book: &Mutex<Book>) -> bool {
        let (path, account) = (self.path.to_str().unwrap(), ACCOUNTS[self.account]);
        let output = verb(dir, &["import", self.what, path, "--account", account]);
        if output.status.success() {
            let mut book = open(book);
            self.calls.iter().for_each(|call| book.end(*call, Fate::Stored));
        }
        output.status.success()
    }
}

/// What the clients know.
#[derive(Default)]
struct Book {
    now: u64,
    calls: Vec<Call>,
    erasures: Vec<Erasure>,
    /// What the log was seen to hold, by position, and how far it reached.
    log: BTreeMap<Seq, u64>,
    last_seq: Seq,
}

/// Something that was sent to be stored.
struct Call {
    account: usize,
    /// Of an event.
    kind: Option<String>,
    user: String,
    /// Too old to be kept by one of the accounts.
    old: bool,
    /// What the log is to hold of it: attributes of an event, patch of a user.
    kept: String,
    begun: u64,
    ended: Option<u64>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Unknown,
    Stored,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    User(String),
    Kind(String),
    Old,
}

struct Erasure {
    account: usize,
    what: What,
    begun: u64,
    ended: Option<u64>,
    certain: bool,
}

/// An erasure that is under way, by its number.
struct Begun(usize);

impl Begun {
    fn finish(self, book: &Mutex<Book>) {
        let mut book = open(book);
        let now = book.tick();
        let erasure = &mut book.erasures[self.0];
        (erasure.ended, erasure.certain) = (Some(now), true);
    }
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Makes up a call: its number and what is sent.
    fn begin(
        &mut self,
        account: usize,
        round: u64,
        is_event: bool,
        random: &mut Random,
    ) -> (usize, String) {
        let n = self.calls.len();
        let user = match random.within(0..3) {
            0 => format!("stay-{}", random.within(0..50)),
            _ => a_user_to_erase(round, random),
        };
        let (kind, old, head, kept) = if is_event {
            let kind = a_kind(round, random);
            let old = random.one_in(10);
            let date = if old { r#","date":"2001-07-04""# } else { "" };
            let pad = if random.one_in(100) { 5_000 } else { random.within(0..200) as usize };
            let kept = format!(r#"{{"n":{n},"pad":"{}"}}"#, "x".repeat(pad));
            let head = format!(r#""type":"{kind}","user_id":"{user}"{date}"#);
            (Some(kind), old, head, kept)
        } else {
            let deep = match random.within(0..3) {
                0 => "null".to_owned(),
                1 => format!(r#"{{"a{}":null}}"#, n % 3),
                _ => format!(r#"{{"a{}":{n}}}"#, n % 3),
            };
            let kept = format!(r#"{{"n":{n},"by{}":{n},"deep":{deep}}}"#, n % 20);
            (None, false, format!(r#""id":"{user}""#), kept)
        };
        let text = format!("{{{head},{}", &kept[1..]);
        let begun = self.tick();
        let (ended, fate) = (None, Fate::Unknown);
        self.calls.push(Call { account, kind, user, old, kept, begun, ended, fate });
        (n, text)
    }

    fn end(&mut self, call: usize, fate: Fate) {
        let now = self.tick();
        let call = &mut self.calls[call];
        (call.ended, call.fate) = (Some(now), fate);
    }

    fn erase(&mut self, account: usize, what: What) -> Begun {
        let begun = self.tick();
        self.erasures.push(Erasure { account, what, begun, ended: None, certain: false });
        Begun(self.erasures.len() - 1)
    }

    /// Whatever was under way can take place no more; but an import goes on when it is run again.
    fn nobody_is_left(&mut self) {
        let now = self.tick();
        for erasure in &mut self.erasures {
            erasure.ended.get_or_insert(now);
        }
    }

    fn is_erased(&self, id: &str) -> bool {
        self.erasures.iter().any(|erasure| match &erasure.what {
            What::User(one) | What::Kind(one) => erasure.certain && one == id,
            What::Old => false,
        })
    }

    fn summary(&self) -> String {
        let stored = self.calls.iter().filter(|call| call.fate == Fate::Stored).count();
        let certain = |old: bool| {
            let of = self.erasures.iter().filter(|one| (one.what == What::Old) == old);
            of.filter(|one| one.certain).count()
        };
        let (erased, compacted) = (certain(false), certain(true));
        format!(
            "{} calls, {stored} stored, {erased} erasures, {compacted} times compacted",
            self.calls.len()
        )
    }

    /// Compares what the clients know with what the store has. Gives the ids and types that occur.
    fn check(&mut self, store: &Store) -> BTreeSet<String> {
        let mut log = BTreeMap::new();
        let mut seqs = vec![None; self.calls.len()];
        let mut users: BTreeMap<(usize, String), Map<String, Value>> = BTreeMap::new();
        let mut left = BTreeSet::new();
        let mut events: BTreeMap<(usize, String), u64> = BTreeMap::new();
        let accounts: HashMap<_, _> = ACCOUNTS
            .iter()
            .enumerate()
            .map(|(number, name)| (store.accounts().by_name(name).unwrap().id, number))
            .collect();
        let mut visit = |seq: Seq, record: &Record<'_>| {
            let mut hasher = DefaultHasher::new();
            format!("{record:?}").hash(&mut hasher);
            log.insert(seq, hasher.finish());
            let (account, kind, user, kept) = match record.change {
                Change::Event(event) => {
                    (event.account, Some(event.kind), event.user_id.unwrap(), event.attributes)
                }
                Change::User(user) => (user.account, None, user.id, user.patch),
                _ => return Ok(ControlFlow::Continue(())),
            };
            left.extend(kind.into_iter().chain([user]).map(str::to_owned));
            let parsed: Value = serde_json::from_str(kept).unwrap();
            let n = parsed["n"].as_u64().unwrap() as usize;
            let call = &self.calls[n];
            let account = accounts[&account];
            let sent = (call.account, call.kind.as_deref(), &*call.user, &*call.kept);
            assert_eq!((account, kind, user, kept), sent, "as it was sent");
            assert_eq!(seqs[n].replace(seq), None, "call {n} is there twice");
            if kind.is_some() {
                *events.entry((account, user.to_owned())).or_default() += 1;
            } else {
                let state = users.entry((account, user.to_owned())).or_default();
                merge(state, parsed.as_object().unwrap());
            }
            Ok(ControlFlow::Continue(()))
        };
        store.select(&Selection::of(1..=Seq::MAX), Order::Ascending, &mut visit).unwrap();
        for (seq, record) in log.range(..=self.last_seq) {
            assert_eq!(self.log.get(seq), Some(record), "{seq} has changed, or has come back");
        }
        (self.log, self.last_seq) = (log, store.last_seq());
        self.check_calls(&seqs);
        self.check_order(&seqs);
        let mut shown = BTreeMap::new();
        for (account, number) in &accounts {
            for user in store.users(*account, None) {
                let (id, user) = user.unwrap();
                shown.insert((*number, id), user.attributes);
            }
        }
        for (account, number) in &accounts {
            let of = events.iter().filter(|((of, _), _)| of == number);
            let (ids, counts): (Vec<&str>, Vec<u64>) =
                of.map(|((_, user), count)| (user.as_str(), *count)).unzip();
            assert_eq!(
                answers(store, &Stop::never()).event_counts(*account, &ids).unwrap().0,
                counts
            );
            let mut counted = 0;
            let mut count = |_: &str, _, count: Count| counted += count.people + count.nobodys;
            answers(store, &Stop::never()).counts(*account, None, None, None, &mut count).unwrap();
            assert_eq!(counted, counts.iter().sum::<u64>(), "the indexes are what the log says");
        }
        let text = |users: BTreeMap<_, Map<String, Value>>| -> BTreeMap<(usize, String), String> {
            users.into_iter().map(|(key, user)| (key, Value::Object(user).to_string())).collect()
        };
        assert_eq!(text(shown), text(users), "the state is the log, replayed");
        left
    }

    /// What has to be there is there, and what has to be gone isn't.
    fn check_calls(&self, seqs: &[Option<Seq>]) {
        let mut erasures: HashMap<(usize, &What), Vec<&Erasure>> = HashMap::new();
        for erasure in &self.erasures {
            erasures.entry((erasure.account, &erasure.what)).or_default().push(erasure);
        }
        for (n, (call, seq)) in self.calls.iter().zip(seqs).enumerate() {
            let mut scopes = vec![What::User(call.user.clone())];
            scopes.extend(call.kind.clone().map(What::Kind));
            scopes.extend(call.old.then_some(What::Old));
            let of_it = |what| erasures.get(&(call.account, what)).into_iter().flatten();
            let mut of_it = scopes.iter().flat_map(of_it);
            let by = of_it
                .clone()
                .find(|one| one.certain && call.ended.is_some_and(|ended| ended < one.begun));
            let is_known = || format!("call {n} {:?} {} at {seq:?}", call.kind, call.user);
            if call.fate == Fate::Refused {
                assert!(seq.is_none(), "{} was refused", is_known());
            } else if let Some(by) = by {
                assert!(seq.is_none(), "{} was erased: {:?}", is_known(), by.what);
            } else if call.fate == Fate::Stored
                // The server also looks by itself for what is too old.
                && !(call.old && call.account == FORGETFUL)
                && of_it.all(|one| one.ended.is_some_and(|ended| ended < call.begun))
            {
                assert!(seq.is_some(), "{} was acknowledged and is gone", is_known());
            }
        }
    }

    /// What was acknowledged is before whatever was begun after that.
    fn check_order(&self, seqs: &[Option<Seq>]) {
        let mut earliest = vec![Seq::MAX; seqs.len() + 1];
        for n in (0..seqs.len()).rev() {
            earliest[n] = earliest[n + 1].min(seqs[n].unwrap_or(Seq::MAX));
        }
        for (n, call) in self.calls.iter().enumerate() {
            let (Some(ended), Some(seq)) = (call.ended, seqs[n]) else { continue };
            let later = self.calls.partition_point(|later| later.begun < ended);
            assert!(seq < earliest[later], "call {n} is behind a later one");
        }
    }
}
