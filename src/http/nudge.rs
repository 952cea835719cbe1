//! Keeps connections from starving within the engine.
//!
//! tiny_http 0.12 gives each connection a thread for as long as it lives. It takes a thread for idle
//! until that thread has woken up, so of connections that come at once (a browser opens six) some
//! are queued behind those that others keep, until these end: of six on a fresh server two got no
//! answer, of 64 seventeen. But a connection that comes when no thread is idle gets a new one, which
//! takes the queued ones after its own. So the server connects to itself, and hangs up: often while
//! requests come, and now and then when none do. This can go when the engine counts rightly, or
//! hands its connections over.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two looks at whether requests come.
const TICK: Duration = Duration::from_millis(50);

/// Ticks between two nudges while nothing comes.
const QUIET_TICKS: u32 = 20;

/// Connections of one nudge: so many starving ones are helped by it.
const NUDGES: usize = 2;

/// The thread that does it.
pub(super) struct Nudger {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    requests: AtomicU64,
    stopping: AtomicBool,
}

/// Tells the nudger that a request has come.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Shared>);

impl Pulse {
    pub fn beat(&self) {
        self.0.requests.fetch_add(1, Relaxed);
    }
}

impl Nudger {
    pub fn start(address: SocketAddr) -> std::io::Result<(Nudger, Pulse)> {
        let shared = Arc::new(Shared::default());
        let pulse = Pulse(Arc::clone(&shared));
        let thread = thread::Builder::new().name("nudge".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(reachable(address))
        })?;
        Ok((Nudger { shared, thread }, pulse))
    }

    pub fn stop(self) {
        self.shared.stopping.store(true, SeqCst);
        self.thread.thread().unpark();
        // It does nothing that could panic.
        let _ = self.thread.join();
    }
}

impl Shared {
    fn run(&self, address: SocketAddr) {
        let mut seen = 0;
        let mut quiet_ticks = 0;
        while !self.stopping.load(SeqCst) {
            let requests = self.requests.load(Relaxed);
            quiet_ticks += 1;
            if requests != seen || quiet_ticks >= QUIET_TICKS {
                (seen, quiet_ticks) = (requests, 0);
                for _ in 0..NUDGES {
                    // Without descriptors, say, nothing can be helped.
                    let _ = TcpStream::connect_timeout(&address, TICK);
                }
            }
            thread::park_timeout(TICK);
        }
    }
}

/// Where this machine itself reaches what listens on `address`: one that means every address is not
/// one to connect to.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
