//! Good clients: they track one event after the other at a fixed pace, and know which were accepted.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Server;
use crate::support::connection::Connection;

/// Connections that are kept, and how often each calls. Together it is a small part of what the
/// server does on one core, so that the test measures it and not itself.
pub const KEPT: usize = 6;
const EVERY: Duration = Duration::from_millis(40);

/// How often the one calls that opens a connection for each call.
const NEWCOMER_EVERY: Duration = Duration::from_millis(100);

/// One call that was answered with 200.
#[derive(Clone, Copy)]
pub struct Call {
    pub began: Instant,
    pub took: Duration,
    pub newcomer: bool,
}

/// What the good clients have seen so far.
#[derive(Default)]
pub struct Good {
    next: AtomicU64,
    stop: AtomicBool,
    calls: Mutex<Vec<Call>>,
    acknowledged: Mutex<BTreeSet<u64>>,
    failures: Mutex<Vec<String>>,
}

/// Ends the clients when it is dropped, by a panic too.
pub struct Ending<'g>(pub &'g Good);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, SeqCst);
    }
}

impl Good {
    /// Starts the clients. They end soon after an [`Ending`] is dropped.
    pub fn spawn<'s>(&'s self, scope: &'s thread::Scope<'s, '_>, server: &'s Server) {
        for number in 0..KEPT {
            scope.spawn(move || {
                // Not all in the same moment.
                thread::sleep(EVERY * number as u32 / KEPT as u32);
                let mut kept = None;
                self.each(EVERY, || self.call(server, &mut kept, false));
            });
        }
        scope.spawn(move || self.each(NEWCOMER_EVERY, || self.call(server, &mut None, true)));
    }

    fn each(&self, every: Duration, mut call: impl FnMut()) {
        let mut due = Instant::now();
        while !self.stop.load(SeqCst) {
            call();
            // One that was late isn't made up for.
            due = (due + every).max(Instant::now());
            thread::sleep(due - Instant::now());
        }
    }

    fn call(&self, server: &Server, kept: &mut Option<Connection>, newcomer: bool) {
        let n = self.next.fetch_add(1, SeqCst);
        let target = server.target("events", &format!(r#"{{"type":"good","n":{n}}}"#));
        let began = Instant::now();
        let outcome = (|| {
            let connection = match kept {
                Some(connection) => connection,
                None => kept.insert(Connection::open(server.address)?),
            };
            connection.get(&target)
        })();
        match outcome {
            Ok(Some(reply)) if reply.status == 200 => {
                let took = began.elapsed();
                self.acknowledged.lock().unwrap().insert(n);
                self.calls.lock().unwrap().push(Call { began, took, newcomer });
            }
            other => {
                *kept = None;
                let took = began.elapsed();
                let said = format!("call {n} (newcomer: {newcomer}) after {took:?}: {other:?}");
                self.failures.lock().unwrap().push(said);
            }
        }
    }

    /// The calls that began within a time.
    pub fn between(&self, from: Instant, to: Instant, newcomer: bool) -> Vec<Duration> {
        let calls = self.calls.lock().unwrap();
        let within =
            |call: &&Call| call.newcomer == newcomer && call.began >= from && call.began < to;
        let mut took: Vec<_> = calls.iter().filter(within).map(|call| call.took).collect();
        took.sort_unstable();
        took
    }

    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }
}

/// The 99th percentile of sorted durations.
pub fn p99(sorted: &[Duration]) -> Duration {
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
