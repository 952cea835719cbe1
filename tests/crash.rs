//! Ends of the server under load, sudden and orderly: whatever was acknowledged is in the log once,
//! the log has no gaps and never changes behind itself, and the state is what the log says.
//!
//! A murder leaves what the kernel was handed, so it shows whether all was handed over, not whether
//! it was flushed: that takes a failing or counting flush, in the store's own tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;
mod support;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value};
use support::connection::Connection;
use support::random::Random;
use support::server::verb;
use support::{Server, base64, escape, files, merge};
use triggerly::commands::Command;
use triggerly::control;
use triggerly::model::limits::LINKS_MAX;
use triggerly::model::{Change, Seq, TokenHash};
use triggerly::store::{Directory, Missing, Order, Selection, Store};

/// Few enough that connections meet at the same user all the time.
const USERS: u64 = 200;

#[test]
fn ten_murders() {
    murders(10, 50..350);
}

#[test]
#[ignore = "takes minutes"]
fn fifty_murders() {
    murders(50, 50..600);
}

/// Kills the server so many times at a random moment under load, and looks at what it left.
fn murders(rounds: u64, millis: Range<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut ledger = Ledger::new(&server);
    for round in 0..rounds {
        let moment = Duration::from_millis(ledger.random.within(millis.clone()));
        let (report, links) = thread::scope(|scope| {
            let links = scope.spawn(|| links_until_dead(dir.path()));
            let report = ledger.load_until(&server, 32, moment, Signal::KILL);
            (report, links.join().unwrap())
        });
        assert_eq!(report.errors_by_status, BTreeMap::new(), "nothing was refused");
        server.kill();
        // The store reads a copy of what the murder left, the next server the thing itself, so each
        // has to recover on its own, and they have to agree.
        let copy = tempfile::tempdir().unwrap();
        files::copy(dir.path(), copy.path());
        let store = Store::open(copy.path()).unwrap();
        let (seen, people) = (ledger.check(&store), store.people());
        for link in links.iter().rev().take(LINKS_MAX / 2) {
            assert!(people.links().iter().any(|kept| kept.hash == *link), "round {round}");
        }
        drop(store);
        let rebuilt = Store::rebuild_in(lock(copy.path())).unwrap();
        assert_eq!(users_of(&rebuilt), seen.users, "built anew from the log alone");
        assert_eq!(rebuilt.people(), people);
        server = server.again();
        seen.check_shown_by(&server);
        // So that the log holds records of accounts among the others.
        ledger.add_account(&server, &format!("round {round}"));
    }
    assert!(ledger.acknowledged() > 10 * rounds, "{} calls", ledger.acknowledged());
}

/// Takes a directory. A process that another test starts just then has all descriptors for a moment, the one
/// that held the directory before too.
fn lock(dir: &Path) -> Directory {
    let began = Instant::now();
    loop {
        match Directory::lock(dir) {
            Err(triggerly::store::Error::Locked(_)) if began.elapsed().as_secs() < 10 => {
                thread::yield_now();
            }
            other => return other.unwrap(),
        }
    }
}

/// Has links made by the server until there is none; those that it acknowledged.
fn links_until_dead(dir: &Path) -> Vec<TokenHash> {
    let (account, listening) = (Some("default".to_owned()), "127.0.0.1:8080".to_owned());
    let command = Command::WebLink { account, public_url: None, listening, json: false };
    let mut links = Vec::new();
    let mut out = Vec::new();
    while control::call(dir, &command).is_ok_and(|call| call.hear(&mut out).is_ok()) {
        let token = std::str::from_utf8(&out).unwrap().trim_end().rsplit('/').next().unwrap();
        links.push(TokenHash::of(token));
        out.clear();
    }
    links
}

#[test]
fn an_orderly_end_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut ledger = Ledger::new(&server);
    for signal in [Signal::TERM, Signal::TERM, Signal::INT, Signal::TERM] {
        let moment = Duration::from_millis(ledger.random.within(100..500));
        let report = ledger.load_until(&server, 64, moment, signal);
        let refusals: Vec<_> = report.errors_by_status.keys().collect();
        assert!(refusals.iter().all(|status| **status == 503), "{report:?}");
        assert_eq!(server.wait().code(), Some(0), "{signal:?}");
        let seen = ledger.check(&Store::open(dir.path()).unwrap());
        server = server.again();
        seen.check_shown_by(&server);
    }
    assert!(ledger.acknowledged() > 100);
}

#[test]
fn an_orderly_end_while_callers_arrive() {
    const CALLERS: u64 = 8;
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut random = Random::new();
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let moment = Duration::from_millis(random.within(20..200));
        thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    let server = &server;
                    scope.spawn(move || call_until_refused(server, round * CALLERS + caller))
                })
                .collect();
            thread::sleep(moment);
            server.signal(Signal::TERM);
            for caller in callers {
                acknowledged.extend(caller.join().unwrap());
            }
        });
        assert_eq!(server.wait().code(), Some(0));
        server = server.again();
        let mut kept: Vec<_> = server.all_events().iter().map(number).collect();
        let count = kept.len();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(kept.len(), count, "none is there twice");
        for call in &acknowledged {
            assert!(kept.binary_search(call).is_ok(), "call {call} was acknowledged");
        }
    }
    assert!(acknowledged.len() > 50, "{} calls", acknowledged.len());
}

/// Tracks events, each on a connection of its own, until nobody listens; returns the numbers of
/// those that were acknowledged.
fn call_until_refused(server: &Server, caller: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for call in 0.. {
        let number = caller * 1_000_000 + call;
        let target = server.target("events", &format!(r#"{{"type":"e","n":{number}}}"#));
        let Ok(mut connection) = Connection::open(server.address) else { break };
        // A connection that is cut is no promise, and no refusal either.
        let Ok(Some(reply)) = connection.get(&target) else { continue };
        match reply.status {
            200 => acknowledged.push(number),
            503 => assert_eq!(reply.code(), "shutting_down"),
            _ => panic!("{reply:?}"),
        }
    }
    acknowledged
}

fn number(event: &Value) -> u64 {
    event["attributes"]["n"].as_u64().expect("each event has its number")
}

/// What the clients know: every call they began, by its number, and which were acknowledged.
struct Ledger {
    random: Random,
    /// Names of the accounts that were made, oldest first.
    accounts: Vec<String>,
    /// Of the first two.
    tokens: [String; 2],
    calls: Vec<Call>,
    /// A fingerprint of every record that the log is known to hold, in order.
    log: Vec<u64>,
}

struct Call {
    connection: usize,
    /// What the log is to hold of it: attributes of an event, patch of a user.
    kept: String,
    /// How many calls had begun when it was acknowledged.
    acknowledged_at: Option<usize>,
    refused: bool,
}

impl Ledger {
    /// For calls from two accounts that know nothing of each other but use the same ids.
    fn new(server: &Server) -> Ledger {
        let mut ledger = Ledger {
            random: Random::new(),
            accounts: vec!["default".to_owned()],
            tokens: [server.api_token.clone(), String::new()],
            calls: Vec::new(),
            log: Vec::new(),
        };
        ledger.tokens[1] = ledger.add_account(server, "other");
        ledger
    }

    /// Makes an account and returns its token.
    fn add_account(&mut self, server: &Server, name: &str) -> String {
        let shown = output(server, &["account", "add", name]);
        self.accounts.push(name.to_owned());
        let token = shown.lines().find_map(|line| line.strip_prefix("api_token="));
        token.unwrap_or_else(|| panic!("no token: {shown}")).to_owned()
    }

    fn acknowledged(&self) -> u64 {
        self.calls.iter().filter(|call| call.acknowledged_at.is_some()).count() as u64
    }

    /// Calls over kept connections until the server is gone, which a signal brings about.
    fn load_until(
        &mut self,
        server: &Server,
        connections: usize,
        moment: Duration,
        signal: Signal,
    ) -> load::Report {
        let load = load::Load {
            connections,
            time: Duration::from_secs(30),
            ..load::Load::at(server.address)
        };
        warm_up(server, connections);
        let mut under_way = vec![0; connections];
        let ledger = std::cell::RefCell::new((self, &mut under_way));
        thread::scope(|scope| {
            let signalled = scope.spawn(move || {
                thread::sleep(moment);
                server.signal(signal);
                Instant::now()
            });
            let report = load.run(
                |request, connection, _| {
                    let (ledger, under_way) = &mut *ledger.borrow_mut();
                    under_way[connection] = ledger.calls.len();
                    ledger.begin(request, connection);
                },
                |connection, _, status| {
                    let (ledger, under_way) = &mut *ledger.borrow_mut();
                    let begun = ledger.calls.len();
                    let call = &mut ledger.calls[under_way[connection]];
                    call.acknowledged_at = (status == 200).then_some(begun);
                    call.refused = status != 200;
                },
            );
            let took = signalled.join().unwrap().elapsed();
            assert!(took < Duration::from_secs(10), "it went on for {took:?}");
            report
        })
    }

    /// Writes the next call.
    fn begin(&mut self, request: &mut Vec<u8>, connection: usize) {
        let n = self.calls.len();
        let random = &mut self.random;
        let user = random.within(0..USERS);
        let (kind, head, kept) = if random.one_in(2) {
            let pad = if random.one_in(100) { 5_000 } else { random.within(0..300) as usize };
            let kept = format!(r#"{{"n":{n},"pad":"{}"}}"#, "x".repeat(pad));
            ("events", format!(r#""type":"e{}","user_id":"u{user}""#, n % 7), kept)
        } else {
            let flag = if random.one_in(3) { "null".to_owned() } else { n.to_string() };
            let deep = match random.within(0..4) {
                0 => "null".to_owned(),
                1 => n.to_string(),
                2 => format!(r#"{{"a{}":null}}"#, n % 3),
                _ => format!(r#"{{"a{}":{n}}}"#, n % 3),
            };
            let kept = format!(r#"{{"n":{n},"by{connection}":{n},"flag":{flag},"deep":{deep}}}"#);
            ("users", format!(r#""id":"u{user}""#), kept)
        };
        let data = escape(&base64(format!("{{{head},{}", &kept[1..])));
        let token = random.pick(&[0, 1]);
        let token = &self.tokens[token];
        write!(
            request,
            "GET /v1/{kind}/track?api_token={token}&data={data} HTTP/1.1\r\nHost: t\r\n\r\n"
        )
        .unwrap();
        self.calls.push(Call { connection, kept, acknowledged_at: None, refused: false });
    }

    /// Compares what the clients know with what the store has.
    fn check(&mut self, store: &Store) -> Seen {
        let mut seen = Seen::default();
        let mut log = Vec::new();
        let mut seqs = vec![None; self.calls.len()];
        let mut users = Users::new();
        let accounts: BTreeMap<_, _> = store
            .accounts()
            .list()
            .iter()
            .map(|account| (account.id, account.name.to_string()))
            .collect();
        assert!(accounts.values().eq(&self.accounts), "every account is there");
        let mut visit = |seq: Seq, record: &triggerly::model::Record<'_>| {
            log.push(fingerprint(record));
            assert_eq!(seq, log.len() as Seq, "positions have no gaps");
            let kept = match record.change {
                Change::Event(event) => {
                    let account = accounts[&event.account].clone();
                    seen.events
                        .entry(account)
                        .or_default()
                        .push((seq, event.attributes.to_owned()));
                    event.attributes
                }
                Change::User(user) => {
                    let key = (accounts[&user.account].clone(), user.id.to_owned());
                    let patch: Map<String, Value> = serde_json::from_str(user.patch).unwrap();
                    let now = record.received_at.millis();
                    let state = users.entry(key).or_insert_with(|| (Map::new(), now, now));
                    merge(&mut state.0, &patch);
                    state.2 = now;
                    user.patch
                }
                _ => return Ok(ControlFlow::Continue(())),
            };
            let n = serde_json::from_str::<Value>(kept).unwrap()["n"].as_u64().unwrap() as usize;
            assert_eq!(kept, self.calls[n].kept, "as it was sent");
            assert_eq!(seqs[n].replace(seq), None, "call {n} is there twice");
            Ok(ControlFlow::Continue(()))
        };
        let all = Selection::of(1..=Seq::MAX);
        let missing = store.select(&all, Order::Ascending, &mut visit).unwrap();
        assert_eq!(missing, Missing::default());
        assert!(log.starts_with(&self.log), "what was in the log once stays as it was");
        assert_eq!(store.last_seq(), log.len() as Seq);
        self.log = log;
        self.check_order(&seqs);

        assert_eq!(users_of(store), texts(&users), "the state is the log, replayed");
        seen.users = texts(&users);
        seen.last_seq = store.last_seq();
        seen
    }

    /// What was acknowledged is there, and before whatever began after the acknowledgement; what was
    /// refused is not.
    fn check_order(&self, seqs: &[Option<Seq>]) {
        let mut earliest = vec![Seq::MAX; seqs.len() + 1];
        for n in (0..seqs.len()).rev() {
            earliest[n] = earliest[n + 1].min(seqs[n].unwrap_or(Seq::MAX));
        }
        for (n, call) in self.calls.iter().enumerate() {
            assert!(!call.refused || seqs[n].is_none(), "call {n} was refused and is there");
            let Some(acknowledged_at) = call.acknowledged_at else { continue };
            let connection = call.connection;
            let seq = seqs[n].unwrap_or_else(|| {
                panic!("call {n} on connection {connection} was acknowledged and is gone")
            });
            assert!(seq < earliest[acknowledged_at], "call {n} is behind a later one");
        }
    }
}

/// Users by account and id: attributes, when made and when updated, in milliseconds.
type Users = BTreeMap<(String, String), (Map<String, Value>, i64, i64)>;

/// The same as text, in which the order of attributes counts.
type UserTexts = BTreeMap<(String, String), (String, i64, i64)>;

fn texts(users: &Users) -> UserTexts {
    let text = |user: &Map<String, Value>| serde_json::to_string(user).unwrap();
    users.iter().map(|(key, user)| (key.clone(), (text(&user.0), user.1, user.2))).collect()
}

fn users_of(store: &Store) -> UserTexts {
    let mut users = Users::new();
    for account in store.accounts().list() {
        for user in store.users(account.id, None) {
            let (id, user) = user.unwrap();
            let (made, updated) = (user.created_at.millis(), user.updated_at.millis());
            users.insert((account.name.to_string(), id), (user.attributes, made, updated));
        }
    }
    texts(&users)
}

/// What the store was seen to hold.
#[derive(Default)]
struct Seen {
    last_seq: Seq,
    /// By account: position and attributes of each event.
    events: BTreeMap<String, Vec<(Seq, String)>>,
    users: UserTexts,
}

impl Seen {
    /// A server on the same data shows the same.
    fn check_shown_by(&self, server: &Server) {
        let stats: Value = serde_json::from_str(&output(server, &["stats", "--json"])).unwrap();
        let events: usize = self.events.values().map(Vec::len).sum();
        assert_eq!(stats["last_seq"], self.last_seq);
        assert_eq!(stats["events"], events);
        assert_eq!(stats["users"], self.users.len());
        for account in ["default", "other"] {
            let lines = |what| output(server, &["export", what, "--account", account]);
            let shown: Vec<_> = lines("events")
                .lines()
                .map(|line| {
                    let event: Value = serde_json::from_str(line).unwrap();
                    (event["seq"].as_u64().unwrap(), event["attributes"].to_string())
                })
                .collect();
            assert_eq!(
                Some(&shown),
                self.events.get(account).or(shown.is_empty().then_some(&vec![]))
            );
            let shown: BTreeMap<_, _> = lines("users")
                .lines()
                .map(|line| {
                    let user: Value = serde_json::from_str(line).unwrap();
                    (user["id"].as_str().unwrap().to_owned(), user["attributes"].to_string())
                })
                .collect();
            let known = self.users.iter().filter(|((owner, _), _)| owner == account);
            assert_eq!(shown, known.map(|((_, id), user)| (id.clone(), user.0.clone())).collect());
        }
    }
}

fn fingerprint(record: &triggerly::model::Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{record:?}").hash(&mut hasher);
    hasher.finish()
}

fn output(server: &Server, arguments: &[&str]) -> String {
    let output = verb(&server.dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Opens so many connections one after the other, so that the engine has a thread for each. Of those
/// that come at once it leaves some waiting until others end, and this is to be load by all of them.
fn warm_up(server: &Server, connections: usize) {
    let open = |_| {
        let mut connection = Connection::open(server.address).unwrap();
        assert_eq!(connection.get("/healthz").unwrap().unwrap().status, 200);
        connection
    };
    drop((0..connections).map(open).collect::<Vec<_>>());
}
