//! Between a thread that makes an answer and the gate that sends it: a bounded piece of memory.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait to be sent, from which on the maker waits.
const WAITING_BYTES_MAX: usize = 128 * 1024;

/// How often a maker that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What taking came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All that is there so far.
    Some,
    /// All that there will be, and it is whole.
    Whole,
    /// All that there will be, and it isn't whole.
    Broken,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Whether it is whole, once there will be no more.
    end: Option<bool>,
    /// Nobody takes it any more.
    gone: bool,
}

/// One answer on its way.
#[derive(Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    taken: Condvar,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room, or `stop` is set; whether anybody takes what is put.
    pub fn wait(&self, stop: Option<&AtomicBool>) -> bool {
        let mut state = self.lock();
        while !state.gone && state.bytes.len() >= WAITING_BYTES_MAX {
            if stop.is_some_and(|stop| stop.load(SeqCst)) {
                break;
            }
            let waited = self.taken.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.gone
    }

    /// Puts bytes; whether anybody takes them.
    pub fn put(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.gone {
            state.bytes.extend_from_slice(bytes);
        }
        !state.gone
    }

    /// There will be no more. The first word counts.
    pub fn end(&self, whole: bool) {
        self.lock().end.get_or_insert(whole);
    }

    /// Whether it will never be whole.
    pub fn is_broken(&self) -> bool {
        self.lock().end == Some(false)
    }

    /// Moves what is there behind `out`.
    pub fn take(&self, out: &mut Vec<u8>) -> Taken {
        let mut state = self.lock();
        if out.is_empty() {
            *out = std::mem::take(&mut state.bytes);
        } else {
            out.append(&mut state.bytes);
        }
        self.taken.notify_one();
        match state.end {
            None => Taken::Some,
            Some(true) => Taken::Whole,
            Some(false) => Taken::Broken,
        }
    }

    /// Nobody takes it any more.
    pub fn hang_up(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.bytes = Vec::new();
        self.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_maker_waits_for_room_and_not_for_ever() {
        let pipe = Pipe::default();
        assert!(pipe.wait(None) && pipe.put(&[1; WAITING_BYTES_MAX]));
        let stop = AtomicBool::new(true);
        assert!(pipe.wait(Some(&stop)), "told to stop");
        thread::scope(|scope| {
            let maker = scope.spawn(|| pipe.wait(None) && pipe.put(b"more"));
            thread::sleep(Duration::from_millis(20));
            assert!(!maker.is_finished());
            let mut out = Vec::new();
            assert_eq!(pipe.take(&mut out), Taken::Some);
            assert!(maker.join().unwrap());
            pipe.end(true);
            assert_eq!(pipe.take(&mut out), Taken::Whole);
            assert_eq!(out.len(), WAITING_BYTES_MAX + 4);
        });
        let pipe = Pipe::default();
        pipe.put(&[1; WAITING_BYTES_MAX]);
        thread::scope(|scope| {
            let maker = scope.spawn(|| pipe.wait(None));
            pipe.hang_up();
            assert!(!maker.join().unwrap() && !pipe.put(b"x"));
        });
    }
}
