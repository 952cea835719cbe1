//! Clients that go from one server to another and send what has numbers of its own, whatever happens to the servers.
//!
//! A call with a key is sent until somebody acknowledges it; one without is sent once. Now and then a client reads
//! at another server what was just acknowledged to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::call::{self, Answer};
use super::ledger::{Answers, Call, Ledger, Outcome, What};
use super::site::Site;
use crate::support::random::Random;
use crate::support::{Reply, base64, escape};

const CLIENTS: u64 = 6;

/// How long a client rests between two calls, at most, in milliseconds.
const REST: u64 = 20;

/// Users of each client, who are tracked again and again.
const USERS: u64 = 20;

/// How long a call with a key may go unacknowledged, with faults that heal on the way.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Call>>>,
}

struct Shared {
    api_token: String,
    secret_key: String,
    /// No further calls.
    stop: AtomicBool,
    /// Not even those that are still to be acknowledged.
    abandoned: AtomicBool,
    servers: Mutex<Vec<SocketAddr>>,
    /// By server and kind: `200`, `503 no_quorum`, `lost`.
    answers: Mutex<BTreeMap<(SocketAddr, String), Answers>>,
}

impl Load {
    /// Begins at all servers of a site.
    pub fn start(site: &Site, random: &mut Random) -> Load {
        let shared = Arc::new(Shared {
            api_token: site.api_token.clone(),
            secret_key: site.secret_key.clone(),
            stop: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            servers: Mutex::new(site.addresses()),
            answers: Mutex::default(),
        });
        let clients = (0..CLIENTS)
            .map(|number| {
                let (shared, random) = (shared.clone(), random.split());
                thread::spawn(move || Client { number, calls: Vec::new(), random, shared }.run())
            })
            .collect();
        Load { shared, clients }
    }

    /// Clients come to this server too from here on.
    pub fn add(&self, server: SocketAddr) {
        locked(&self.shared.servers).push(server);
    }

    /// How many calls a server has acknowledged.
    pub fn acknowledged_by(&self, server: SocketAddr) -> u64 {
        let answers = locked(&self.shared.answers);
        answers.get(&(server, "200".to_owned())).map_or(0, |answers| answers.count)
    }

    /// Waits until each of these has acknowledged something from now on, and tells how long that took.
    #[track_caller]
    pub fn wait_for(&self, servers: &[SocketAddr], patience: Duration) -> Duration {
        let began = Instant::now();
        for server in servers {
            let before = self.acknowledged_by(*server);
            while self.acknowledged_by(*server) == before {
                let dead = self.clients.iter().find(|client| client.is_finished());
                assert!(dead.is_none(), "a client has failed, see above");
                if began.elapsed() >= patience {
                    let told = self.told_by(*server);
                    panic!("{server} takes nothing any more\nit told {told}");
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        began.elapsed()
    }

    /// What a server told so far, and tells of itself now.
    fn told_by(&self, server: SocketAddr) -> String {
        let health = call::get(server, "/healthz", &[]);
        let answers = locked(&self.shared.answers);
        let of_it = answers.iter().filter(|((whose, _), _)| *whose == server);
        let of_it: Vec<_> = of_it.map(|((_, kind), answers)| (kind, answers)).collect();
        format!("{of_it:?}, and of its health: {health:?}")
    }

    /// Ends when all calls with keys are acknowledged: what the clients know.
    pub fn stop(mut self) -> Ledger {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut calls = Vec::new();
        for client in self.clients.drain(..) {
            calls.extend(client.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        let mut answers = BTreeMap::new();
        for ((_, kind), some) in &*locked(&self.shared.answers) {
            let all: &mut Answers = answers.entry(kind.clone()).or_default();
            all.count += some.count;
            all.longest = all.longest.max(some.longest);
        }
        Ledger { calls, answers }
    }
}

/// A test that fails leaves no clients behind.
impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.abandoned.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

struct Client {
    number: u64,
    calls: Vec<Call>,
    random: Random,
    shared: Arc<Shared>,
}

impl Client {
    fn run(mut self) -> Vec<Call> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let (mut call, request) = self.next();
            let seq = self.send(&mut call, &request);
            if let (Some(seq), What::Events(numbers)) = (seq, &call.what)
                && self.random.one_in(8)
            {
                self.look_for(numbers, &seq);
            }
            self.calls.push(call);
            thread::sleep(Duration::from_millis(self.random.within(0..REST)));
        }
        self.calls
    }

    /// Sends a call as often as it may be sent; the position that was told with its acknowledgement.
    fn send(&mut self, call: &mut Call, request: &[u8]) -> Option<String> {
        let began = Instant::now();
        loop {
            let server = self.somewhere();
            let sent = Instant::now();
            let answer = call::send(server, request);
            self.count(server, &answer, sent.elapsed());
            match answer {
                Answer::Reply(reply) if reply.status == 200 && !call.wrong => {
                    call.outcome = Outcome::Acknowledged;
                    let seq = reply.header("X-Triggerly-Seq").map(str::to_owned);
                    return Some(seq.unwrap_or_else(|| panic!("no position: {reply:?}")));
                }
                Answer::Reply(reply) if reply.status == 400 && call.wrong => return None,
                Answer::Reply(reply) => {
                    check_refusal(&reply);
                    call.outcome = Outcome::Uncertain;
                }
                // What was never sent is as good as refused.
                Answer::Unreachable => {}
                Answer::Lost => call.outcome = Outcome::Uncertain,
            }
            let abandoned = self.shared.abandoned.load(Ordering::Relaxed);
            if !call.keyed || call.wrong || abandoned {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "{call:?} is acknowledged by nobody");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What was acknowledged is read at whatever server, or that one says that it isn't there yet.
    fn look_for(&mut self, numbers: &[u64], seq: &str) {
        let server = self.somewhere();
        let target = format!("/v1/events?user_id=c{}&limit=200&min_seq={seq}", self.number);
        let bearer = format!("Bearer {}", self.shared.secret_key);
        let answer = call::get(server, &target, &[("Authorization", &bearer)]);
        let Answer::Reply(reply) = answer else { return };
        if reply.status != 200 {
            return check_refusal(&reply);
        }
        let page = reply.json();
        let events = page["events"].as_array().expect("a list");
        for number in numbers {
            let found = events.iter().any(|event| event["attributes"]["n"] == *number);
            assert!(found, "event {number} of position {seq} isn't to be read at {server}: {page}");
        }
    }

    /// The next call, and the bytes that are sent for it.
    fn next(&mut self) -> (Call, Vec<u8>) {
        let first = self.number * 10_000_000 + 1_000 * self.calls.len() as u64;
        let key = self.random.one_in(2).then(|| format!("k{first}"));
        let own = self.number;
        let event =
            |number: &u64| json!({"type": "sent", "user_id": format!("c{own}"), "n": number});
        let (mut numbers, mut wrong) = (vec![first], false);
        let mut kind = "events";
        let mut user = None;
        let (content_type, body) = match self.random.within(0..10) {
            0..3 => ("", event(&first).to_string()),
            3 => ("application/json", event(&first).to_string()),
            4..6 => {
                numbers = (first..first + self.random.within(1..20)).collect();
                let events: Vec<_> = numbers.iter().map(event).collect();
                ("application/json", json!(events).to_string())
            }
            way @ 6..8 => {
                numbers = (first..first + self.random.within(1..20)).collect();
                let mut lines: Vec<_> =
                    numbers.iter().map(|number| event(number).to_string()).collect();
                if way == 7 && self.random.one_in(2) {
                    wrong = true;
                    lines.push(r#"{"n":"of no type"}"#.to_owned());
                }
                ("application/x-ndjson", lines.join("\n"))
            }
            way => {
                kind = "users";
                let id = format!("c{own}-{}", self.random.within(0..USERS));
                user = Some((id.clone(), first));
                let body = json!({"id": id, "n": first}).to_string();
                (if way == 8 { "" } else { "application/json" }, body)
            }
        };
        let bearer = format!("Bearer {}", self.shared.api_token);
        let mut headers = vec![("Authorization", &*bearer)];
        if let Some(key) = &key {
            headers.push(("Idempotency-Key", key));
        }
        let target = format!("/v1/{kind}/track");
        let request = if content_type.is_empty() {
            let target = format!("{target}?data={}", escape(&base64(body)));
            call::request("GET", &target, &headers, None)
        } else {
            headers.push(("Content-Type", content_type));
            call::request("POST", &target, &headers, Some(body.as_bytes()))
        };
        let what = match user {
            Some((id, n)) => What::User { id, n },
            None => What::Events(numbers),
        };
        (Call { what, keyed: key.is_some(), wrong, outcome: Outcome::NotTaken }, request)
    }

    fn somewhere(&mut self) -> SocketAddr {
        let servers = locked(&self.shared.servers).clone();
        self.random.pick(&servers)
    }

    fn count(&self, server: SocketAddr, answer: &Answer, took: Duration) {
        let kind = match answer {
            Answer::Reply(reply) if reply.status == 200 => "200".to_owned(),
            Answer::Reply(reply) => format!("{} {}", reply.status, reply.code()),
            Answer::Unreachable => "unreachable".to_owned(),
            Answer::Lost => "lost".to_owned(),
        };
        let mut answers = locked(&self.shared.answers);
        let answers = answers.entry((server, kind)).or_default();
        answers.count += 1;
        answers.longest = answers.longest.max(took);
    }
}

/// Whatever goes wrong, a client is told that it may come again.
#[track_caller]
pub fn check_refusal(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
