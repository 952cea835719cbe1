//! What can't be mended while the process runs: who is told, and how it is found out.
//!
//! # Why anybody has to look
//! sled waits for a write that one of its threads does. If that fails, the thread notes the error
//! but, on one of its two ways, wakes nobody ([`Log::exit_reservation` of 0.34.7]), and a flush waits for
//! ever. Any later call finds the note, wakes all and returns it. So [`Waker`] looks for the note, and
//! makes that call.
//!
//! [`Log::exit_reservation` of 0.34.7]: https://docs.rs/sled/0.34.7/src/sled/pagecache/logger.rs.html

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Error, Store};

/// From one look to the next.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// A write that takes longer on a full disk will never end.
const HANG_MAX: Duration = Duration::from_secs(10);

/// Whom to tell that the process has to end, with the reason.
type Tell = Box<dyn FnOnce(&str) + Send>;

/// Who is told, and whether there was something to tell before anybody asked.
#[derive(Default)]
pub(super) struct Fatal(Mutex<Told>);

#[derive(Default)]
enum Told {
    #[default]
    Nobody,
    Asked(Tell),
    Happened(String),
}

impl Fatal {
    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Calls `tell` with a sentence, once, when the disk is full all the same and the process is to
    /// end: at once if that has happened already. It must not wait.
    pub fn on_fatal(&self, tell: impl FnOnce(&str) + Send + 'static) {
        let mut told = self.fatal.lock();
        match &*told {
            Told::Happened(why) => tell(why),
            _ => *told = Told::Asked(Box::new(tell)),
        }
    }

    /// Accepts nothing more from now on. Says why: the first reason is the one that counts.
    pub(super) fn fail(&self, why: String) -> &str {
        let mut first = false;
        let why = self.failure.get_or_init(|| {
            first = true;
            why
        });
        if first {
            log::error!("nothing more is accepted: {why}");
            if let Some(full) = self.space.explain(why) {
                let mut told = self.fatal.lock();
                if let Told::Asked(tell) =
                    std::mem::replace(&mut *told, Told::Happened(full.clone()))
                {
                    tell(&full);
                }
            }
        }
        why
    }

    /// What nobody who waits would find out: to be called every [`TICK`].
    pub(super) fn look_after(&self) {
        self.space.tend();
        if let Err(error) = self.waker.look() {
            self.fail(error.to_string());
        }
        if self.flushing_for().is_some_and(|age| age > HANG_MAX) && self.space.is_exhausted() {
            self.fail(format!("a write has not returned within {} s", HANG_MAX.as_secs()));
        }
    }
}

/// Wakes whoever waits in sled for a write that has failed, as long as it lives.
pub(super) struct Waker {
    config: sled::Config,
    /// Gone when the thread is to end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waker {
    /// `config` is what `db` was opened with; they share the note of the error.
    pub fn start(config: sled::Config, db: &sled::Db) -> Result<Waker, Error> {
        let (stop, stopped) = bounded(0);
        let (watched, db) = (config.clone(), db.clone());
        let thread = thread::Builder::new()
            .name("waker".into())
            .spawn(move || wake(&stopped, &watched, &db))
            .map_err(Error::io("start a thread for", "the store"))?;
        Ok(Waker { config, stop: Some(stop), thread: Some(thread) })
    }

    /// The error that sled has noted, if it has.
    pub fn look(&self) -> Result<(), Error> {
        self.config.global_error().map_err(Error::sled("write"))
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("a thread of the store panicked");
        }
    }
}

fn wake(stopped: &Receiver<()>, config: &sled::Config, db: &sled::Db) {
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if config.global_error().is_err() {
            // It returns the error at once; whoever waited meanwhile is awake now.
            let _ = db.flush();
        }
    }
}

/// Looks after a store on a thread of its own until the sender is dropped.
pub(super) fn watch(store: Arc<Store>) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = bounded::<()>(0);
    let thread = thread::Builder::new().name("watch".into()).spawn(move || {
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            store.look_after();
        }
    })?;
    Ok((stop, thread))
}
