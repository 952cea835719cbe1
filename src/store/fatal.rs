//! What can't be mended while the process runs: who is told, and how it is found out.
//!
//! # Why anybody has to look
//! sled writes on threads of its own. When such a write fails, the thread notes the error; on one of
//! its two ways (`Log::exit_reservation` of 0.34.7, taken where a reader has the buffer written that the
//! committer is just filling) it wakes nobody, and a flush that waits would wait for ever. The next call
//! that comes finds the note, wakes all who wait, and returns it. So somebody looks for the note, and
//! makes that call. Where a page needs a file of its own and that can't be written, not even a note is
//! made; no page of ours does ([`super`]), and what hangs on a full disk all the same is taken for failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

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
    /// Calls `tell` with a sentence, once, when the disk is full all the same, or the store can't follow the log that
    /// it shares, and the process is to end: at once if that has happened already. It must not wait.
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
                self.tell(full);
            }
        }
        why
    }

    /// Accepts nothing more, and the process is to end: going on would make this store differ from others.
    pub(super) fn end(&self, why: &str) {
        self.fail(why.to_owned());
        self.tell(why.to_owned());
    }

    fn tell(&self, why: String) {
        let mut told = self.fatal.lock();
        if let Told::Asked(tell) = std::mem::replace(&mut *told, Told::Happened(why.clone())) {
            tell(&why);
        }
    }

    /// What nobody who waits would find out: to be called every [`TICK`].
    pub(super) fn look_after(&self) {
        self.space.tend();
        let hot = self.tiers.hot();
        if let Err(error) = hot.noted_error() {
            // It returns the error at once, and whoever waited is awake.
            let _ = hot.flush();
            self.fail(Error::sled("write")(error).to_string());
        }
        if self.flushing_for().is_some_and(|age| age > HANG_MAX) && self.space.is_exhausted() {
            self.fail(format!("a write has not returned within {} s", HANG_MAX.as_secs()));
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
