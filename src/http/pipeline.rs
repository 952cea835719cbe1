//! Answers in order, without anybody waiting.
//!
//! A client may send requests on one connection without waiting for answers, which then have to
//! leave in the order of the requests (RFC 9112, section 9.3.2). The engine sees to that by letting
//! the thread that writes the second answer sleep until the first is written. Where one thread
//! writes the answers of many connections that is a deadlock: the first may lie behind the second
//! in its own queue. So an answer that is early is put down here, and whoever writes the one before
//! it writes it too.
//!
//! Connections are told apart by the peer's address and port. Should two share them (by different
//! addresses of this machine), their answers wait for each other, and nothing worse. A line is remembered only while it has requests under way.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is to be done when an answer's turn has come.
type Turn = Box<dyn FnOnce() + Send>;

/// A request's place in its connection's line.
#[derive(Debug)]
pub(super) struct Place {
    peer: SocketAddr,
    number: u64,
}

#[derive(Default)]
struct Line {
    /// Requests that have come.
    entered: u64,
    /// Answers that have left.
    left: u64,
    /// Answers that are early.
    early: BTreeMap<u64, Turn>,
}

/// The lines of all connections.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<SocketAddr, Line>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next place. Calls for one connection have to come in the order of its requests.
    pub fn enter(&self, peer: SocketAddr) -> Place {
        let mut lines = self.lock();
        let line = lines.entry(peer).or_default();
        let number = line.entered;
        line.entered += 1;
        Place { peer, number }
    }

    /// Takes a turn, now or when the ones before have been taken, and those that waited for it.
    /// Never waits for another turn.
    pub fn leave(&self, place: Place, turn: Turn) {
        let Place { peer, number } = place;
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(&peer) else { return };
        if line.left != number {
            line.early.insert(number, turn);
            return;
        }
        let mut turn = Some(turn);
        while let Some(now) = turn {
            // Nobody else can take a turn of this line until `left` is moved.
            drop(lines);
            if catch_unwind(AssertUnwindSafe(now)).is_err() {
                log::error!("writing an answer panicked");
            }
            lines = self.lock();
            let Some(line) = lines.get_mut(&peer) else { return };
            line.left += 1;
            turn = line.early.remove(&line.left);
            if line.left == line.entered {
                lines.remove(&peer);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #[test]
        fn however_answers_come_they_leave_in_order(
            order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let lines = Lines::default();
            let peers: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
            let written = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
            let mut places: Vec<_> =
                (0..40).map(|i| Some(lines.enter(peers[i % 2]))).collect();
            for i in order {
                let written = Arc::clone(&written);
                let place = places[i].take().expect("each leaves once");
                lines.leave(place, Box::new(move || {
                    written.lock().expect("no panic")[i % 2].push(i);
                }));
            }
            let written = written.lock().expect("no panic");
            prop_assert!(written[0].iter().copied().eq((0..40).step_by(2)));
            prop_assert!(written[1].iter().copied().eq((1..40).step_by(2)));
            prop_assert!(lines.lock().is_empty(), "no line is remembered");
        }
    }

    #[test]
    fn threads_at_once() {
        let lines = Arc::new(Lines::default());
        let peer: SocketAddr = ([127, 0, 0, 1], 9).into();
        let written = Arc::new(Mutex::new(Vec::new()));
        let places: Vec<_> = (0..1_000).map(|i| (i, lines.enter(peer))).collect();
        let mut hands: [Vec<_>; 4] = Default::default();
        for (i, place) in places {
            hands[i % 4].push((i, place));
        }
        std::thread::scope(|scope| {
            for hand in hands {
                scope.spawn(|| {
                    for (i, place) in hand.into_iter().rev() {
                        let written = Arc::clone(&written);
                        let write = move || written.lock().expect("no panic").push(i);
                        lines.leave(place, Box::new(write));
                    }
                });
            }
        });
        assert!(written.lock().expect("no panic").iter().copied().eq(0..1_000));
        assert!(lines.lock().is_empty());
    }
}
