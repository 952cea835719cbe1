//! Questions that wait until this server has seen what another one acknowledged.
//!
//! All of them are held by one thread, so that they keep neither workers nor threads for questions, and those who wait
//! for something that never comes delay nobody. Promises that each is told within [`MIN_SEQ_WAIT_MAX`] and a moment.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::stopping;
use crate::ingest::{Code, Reject};
use crate::model::Seq;
use crate::store::Store;

/// How long a question waits for the position that it asks for.
pub const MIN_SEQ_WAIT_MAX: Duration = Duration::from_secs(2);

/// Questions that wait at a time. One more is refused.
pub const WAITING_MAX: usize = 256;

/// How often is looked who has come meanwhile, while others wait for a later position.
const LOOK_EVERY: Duration = Duration::from_millis(5);

type Then = Box<dyn FnOnce(Result<(), Reject>) + Send>;

/// The thread, and who waits.
pub struct Waiting {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Arc<Store>,
    list: Mutex<List>,
    /// There is somebody, or it is closed.
    changed: Condvar,
}

#[derive(Default)]
struct List {
    waiting: Vec<One>,
    is_closed: bool,
}

struct One {
    seq: Seq,
    until: Instant,
    then: Then,
}

impl Waiting {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start(store: &Arc<Store>) -> std::io::Result<Waiting> {
        let (list, changed) = Default::default();
        let shared = Arc::new(Shared { store: Arc::clone(store), list, changed });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("waiting".into()).spawn(move || own.run())?;
        Ok(Waiting { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Calls `then` once the store has the record at `seq`: at once, or from another thread, which it must not hold up.
    /// It is told [`Code::Behind`] if that isn't there in time.
    pub fn put(&self, seq: Seq, then: impl FnOnce(Result<(), Reject>) + Send + 'static) {
        if self.shared.store.last_seq() >= seq {
            return then(Ok(()));
        }
        let mut list = self.shared.lock();
        let refused = if list.is_closed {
            stopping()
        } else if list.waiting.len() >= WAITING_MAX {
            let detail = format!(
                "{WAITING_MAX} questions wait for a position of the log already, which is the most; ask again"
            );
            Reject::new(Code::Overloaded, detail)
        } else {
            let until = Instant::now() + MIN_SEQ_WAIT_MAX;
            list.waiting.push(One { seq, until, then: Box::new(then) });
            self.shared.changed.notify_one();
            return;
        };
        drop(list);
        then(Err(refused));
    }

    /// Takes no more, and tells all who wait that the server stops.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread for questions that wait panicked");
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some((seq, until)) = self.next() {
            let look = Instant::now() + LOOK_EVERY;
            let _ = self.store.wait_for(seq, until.min(look));
            let (last_seq, now) = (self.store.last_seq(), Instant::now());
            let due = |one: &mut One| one.seq <= last_seq || one.until <= now;
            let told: Vec<_> = self.lock().waiting.extract_if(.., due).collect();
            for One { seq, then, .. } in told {
                tell(then, if seq <= last_seq { Ok(()) } else { Err(behind(seq, last_seq)) });
            }
        }
        let left = std::mem::take(&mut self.lock().waiting);
        left.into_iter().for_each(|one| tell(one.then, Err(stopping())));
    }

    /// The first position that is waited for and the first time that is over, as soon as somebody waits; none when it is
    /// closed.
    fn next(&self) -> Option<(Seq, Instant)> {
        let mut list = self.lock();
        loop {
            if list.is_closed {
                return None;
            }
            let seq = list.waiting.iter().map(|one| one.seq).min();
            let until = list.waiting.iter().map(|one| one.until).min();
            if let Some(next) = seq.zip(until) {
                return Some(next);
            }
            list = self.changed.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn tell(then: Then, outcome: Result<(), Reject>) {
    if catch_unwind(AssertUnwindSafe(|| then(outcome))).is_err() {
        log::error!("answering a question that waited panicked");
    }
}

/// What is told if a position isn't there in time.
fn behind(seq: Seq, last_seq: Seq) -> Reject {
    let detail = format!(
        "this server has seen the log up to record {last_seq}, and {seq} is asked for by `min_seq`; ask again in a \
         moment, or another server"
    );
    Reject::new(Code::Behind, detail)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, unbounded};

    use super::*;
    use crate::model::{AccountName, ApiToken, Date, SecretHash};
    use crate::store::{Draft, Writer};

    type Told = Receiver<Result<(), Code>>;

    fn put(waiting: &Waiting, seq: Seq) -> Told {
        let (tell, told) = unbounded();
        waiting.put(seq, move |outcome| {
            tell.send(outcome.map_err(|reject| reject.code)).unwrap();
        });
        told
    }

    #[test]
    fn each_is_told_when_its_turn_comes_and_none_keeps_another_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let writer = Writer::start(Arc::clone(&store), store.flusher()).unwrap();
        let waiting = Waiting::start(&store).unwrap();
        assert_eq!(put(&waiting, 0).try_recv(), Ok(Ok(())), "at once");
        let never: Vec<_> = (1..WAITING_MAX).map(|_| put(&waiting, Seq::MAX)).collect();
        let began = Instant::now();
        let first = put(&waiting, 1);
        assert_eq!(put(&waiting, 1).try_recv(), Ok(Err(Code::Overloaded)), "all places are taken");
        assert!(first.is_empty());
        let (name, at) = (AccountName::new("a").unwrap(), Date::from_millis(0));
        let account = Draft::account(name, ApiToken([1; 16]), SecretHash([2; 32]), at);
        assert_eq!(writer.submit_and_wait(vec![account]).unwrap().last_seq(), 1);
        assert_eq!(first.recv(), Ok(Ok(())));
        assert!(never.iter().all(|told| told.recv() == Ok(Err(Code::Behind))));
        assert!(began.elapsed() >= MIN_SEQ_WAIT_MAX);
        let late = put(&waiting, 2);
        waiting.close();
        assert_eq!(late.recv(), Ok(Err(Code::ShuttingDown)));
        assert_eq!(put(&waiting, 2).try_recv(), Ok(Err(Code::ShuttingDown)));
        assert_eq!(put(&waiting, 1).try_recv(), Ok(Ok(())));
    }
}
