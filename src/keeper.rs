//! The thread that keeps a store in order behind everything else: retention, and the compactor.
//!
//! Must not know who opened the store, nor what for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock;
use crate::retention;
use crate::store::{self, HOT_BYTES_MAX, Pace, Refusal, Store, Urgency, Writer};

/// How often it is looked whether something is to be sealed, merged or erased. A hot end that has
/// grown enough doesn't wait for it.
const EVERY: Duration = Duration::from_secs(1);

/// When it is tried again after it has failed.
const AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked whether events have become too old.
const RETENTION_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long a piece of work is followed by a rest while calls wait, at the most.
const REST_MAX: Duration = Duration::from_millis(20);

/// How far it stands behind everything else.
const NICENESS: i32 = 10;

/// The thread.
pub struct Keeper {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Why what is too old could not be told to the log.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is what it holds")]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// If the operating system has no threads left.
    pub fn start(store: &Arc<Store>, writer: &Arc<Writer>) -> io::Result<Keeper> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (store, writer) = (Arc::clone(store), Arc::clone(writer));
        let told = Arc::clone(&stopping);
        let thread = thread::Builder::new().name("compactor".into()).spawn(move || {
            // On Linux this is about the calling thread (setpriority(2), "C library/kernel
            // differences").
            if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                log::debug!("the compactor runs with ordinary priority: {error}");
            }
            store.wake_when_hot(thread::current());
            let mut looked_at = None;
            while !told.load(SeqCst) {
                let well = keep(&store, &writer, &mut looked_at, &told);
                thread::park_timeout(if well { EVERY } else { AGAIN });
            }
        })?;
        Ok(Keeper { stopping, thread })
    }

    /// Ends it, at the next good moment of what it does.
    pub fn stop(self) {
        self.stopping.store(true, SeqCst);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            log::error!("the compactor panicked");
        }
    }
}

/// Puts the erasures of what is too old into the log.
///
/// # Errors
/// [`Error`] if the log can't be read, or takes nothing.
pub fn expire(store: &Store, writer: &Writer) -> Result<(), Error> {
    let due = retention::due(store, clock::now())?;
    if !due.is_empty() {
        writer.submit_and_wait(due)?;
    }
    Ok(())
}

/// Does what is due, going easy on calls. Whether it could.
fn keep(
    store: &Store,
    writer: &Writer,
    looked_at: &mut Option<Instant>,
    stopping: &AtomicBool,
) -> bool {
    if looked_at.is_none_or(|at| at.elapsed() >= RETENTION_EVERY) {
        *looked_at = Some(Instant::now());
        match expire(store, writer) {
            // It is looked again after the next start.
            Ok(()) | Err(Error::Refused(Refusal::ShuttingDown)) => {}
            Err(error) => log::error!("looking for events that are too old failed: {error}"),
        }
    }
    let last = std::cell::Cell::new(Instant::now());
    let go_on = || {
        // As long a rest as there was work, where somebody waits; unless the hot end has to come down.
        let worked = last.get().elapsed();
        if writer.is_busy() && store.hot_bytes() < HOT_BYTES_MAX / 2 {
            thread::sleep(worked.min(REST_MAX));
        }
        last.set(Instant::now());
        !stopping.load(SeqCst)
    };
    match store.compact(Urgency::InTime, clock::now(), &Pace { go_on: &go_on }) {
        Ok(compacted) => {
            let done = compacted.sealed + compacted.merged + compacted.erased + compacted.indexed;
            if done > 0 || compacted.renewed {
                log::debug!("compacted: {compacted:?}");
            }
            true
        }
        Err(error) => {
            log::error!("compacting failed: {error}");
            false
        }
    }
}
