//! Answers in order, without anybody waiting.
//!
//! A client may send requests on one connection without waiting for answers, which then have to
//! leave in the order of the requests (RFC 9112, section 9.3.2). The engine sees to that by letting
//! the thread that writes the second answer sleep until the first is written. Where one thread
//! writes the answers of many connections that is a deadlock: the first may lie behind the second
//! in its own queue. So an answer that is early is put down here, and whoever writes the one before
//! it writes it too.
//!
//! An answer that takes its time is made on another thread, which holds the line till its end and
//! then writes those that wait behind it.
//!
//! Connections are told apart by the peer's address and port. Should two share them (by different
//! addresses of this machine), their answers wait for each other, and nothing worse. A line is remembered only while it has requests under way.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of answers that may wait behind one that takes its time, each with [`EARLY_BYTES`] added.
/// Others are waited for a moment only.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an answer that waits takes beside its bytes, roughly.
const EARLY_BYTES: usize = 1_024;

/// What is to be done when an answer's turn has come.
pub(super) enum Turn {
    /// It is written at once; it has so many bytes.
    Short(usize, Box<dyn FnOnce() + Send>),
    /// It takes its time, on another thread. The line stands until what is handed over is dropped.
    Long(Box<dyn FnOnce(Held) + Send>),
}

/// A request's place in its connection's line.
#[derive(Debug)]
pub(super) struct Place {
    peer: SocketAddr,
    number: u64,
}

impl Place {
    /// Whose line it is in.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// A line that stands while an answer takes its time. It moves on when this is dropped.
pub(super) struct Held {
    lines: Arc<Lines>,
    peer: SocketAddr,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(turn) = self.lines.next(self.peer) {
            self.lines.take(self.peer, turn);
        }
    }
}

/// More waits behind an answer than may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

#[derive(Default)]
struct Line {
    /// Requests that have come.
    entered: u64,
    /// Answers that have left.
    left: u64,
    /// Answers that are early.
    early: BTreeMap<u64, Turn>,
    /// What they take, while an answer takes its time.
    waiting_bytes: Option<usize>,
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
    ///
    /// # Errors
    /// [`Crowded`], once, when more waits behind an answer that takes its time than may. The turn
    /// will be taken all the same; the connection should be ended.
    pub fn leave(self: &Arc<Lines>, place: Place, turn: Turn) -> Result<(), Crowded> {
        let Place { peer, number } = place;
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(&peer) else { return Ok(()) };
        if line.left != number {
            let bytes = turn.bytes();
            line.early.insert(number, turn);
            return line.crowd(bytes);
        }
        drop(lines);
        // Nobody else can take a turn of this line until `left` is moved.
        self.take(peer, turn);
        Ok(())
    }

    /// Takes the turn of a line that has come, and those that waited for it.
    fn take(self: &Arc<Lines>, peer: SocketAddr, turn: Turn) {
        let mut turn = Some(turn);
        while let Some(now) = turn {
            let write = match now {
                Turn::Short(_, write) => write,
                Turn::Long(begin) => {
                    let held = self.hold(peer);
                    // By a panic the line moves on as well.
                    if catch_unwind(AssertUnwindSafe(|| begin(held))).is_err() {
                        log::error!("beginning an answer panicked");
                    }
                    return;
                }
            };
            if catch_unwind(AssertUnwindSafe(write)).is_err() {
                log::error!("writing an answer panicked");
            }
            turn = self.next(peer);
        }
    }

    fn hold(self: &Arc<Lines>, peer: SocketAddr) -> Held {
        if let Some(line) = self.lock().get_mut(&peer) {
            line.waiting_bytes = Some(line.early.values().map(Turn::bytes).sum());
        }
        Held { lines: Arc::clone(self), peer }
    }

    /// Moves a line on: the turn that has come, if its answer was early.
    fn next(&self, peer: SocketAddr) -> Option<Turn> {
        let mut lines = self.lock();
        let line = lines.get_mut(&peer)?;
        line.left += 1;
        line.waiting_bytes = None;
        let turn = line.early.remove(&line.left);
        if line.left == line.entered {
            lines.remove(&peer);
        }
        turn
    }
}

impl Turn {
    fn bytes(&self) -> usize {
        match self {
            Turn::Short(bytes, _) => bytes + EARLY_BYTES,
            Turn::Long(_) => EARLY_BYTES,
        }
    }
}

impl Line {
    /// So many bytes more wait.
    fn crowd(&mut self, bytes: usize) -> Result<(), Crowded> {
        let Some(waiting) = self.waiting_bytes.as_mut() else { return Ok(()) };
        let was_crowded = *waiting > WAITING_BYTES_MAX;
        *waiting += bytes;
        if was_crowded || *waiting <= WAITING_BYTES_MAX { Ok(()) } else { Err(Crowded) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;
    use std::time::Duration;

    const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

    /// Some turns take their time, on a thread of their own.
    fn turn(number: usize, write: impl FnOnce(Option<Held>) + Send + 'static) -> Turn {
        match number % 5 {
            3 => Turn::Long(Box::new(move |held| drop(thread::spawn(move || write(Some(held)))))),
            4 => Turn::Long(Box::new(move |held| write(Some(held)))),
            _ => Turn::Short(0, Box::new(move || write(None))),
        }
    }

    /// Waits until no line is remembered.
    fn settle(lines: &Lines) {
        while !lines.lock().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    proptest! {
        #[test]
        fn however_answers_come_they_leave_in_order(
            order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let lines = Arc::<Lines>::default();
            let peers: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
            let written = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
            let mut places: Vec<_> =
                (0..40).map(|i| Some(lines.enter(peers[i % 2]))).collect();
            for i in order {
                let written = Arc::clone(&written);
                let place = places[i].take().expect("each leaves once");
                let write = move |_: Option<Held>| written.lock().expect("no panic")[i % 2].push(i);
                lines.leave(place, turn(i, write)).expect("few wait");
            }
            settle(&lines);
            let written = written.lock().expect("no panic");
            prop_assert!(written[0].iter().copied().eq((0..40).step_by(2)));
            prop_assert!(written[1].iter().copied().eq((1..40).step_by(2)));
        }
    }

    #[test]
    fn threads_at_once() {
        let lines = Arc::<Lines>::default();
        let peer = PEER.into();
        let written = Arc::new(Mutex::new(Vec::new()));
        let places: Vec<_> = (0..1_000).map(|i| (i, lines.enter(peer))).collect();
        let mut hands: [Vec<_>; 4] = Default::default();
        for (i, place) in places {
            hands[i % 4].push((i, place));
        }
        thread::scope(|scope| {
            for hand in hands {
                scope.spawn(|| {
                    for (i, place) in hand.into_iter().rev() {
                        let written = Arc::clone(&written);
                        let write =
                            move |_: Option<Held>| written.lock().expect("no panic").push(i);
                        lines.leave(place, turn(i, write)).expect("few wait");
                    }
                });
            }
        });
        settle(&lines);
        assert!(written.lock().expect("no panic").iter().copied().eq(0..1_000));
    }

    #[test]
    fn a_line_that_stands_holds_so_much() {
        let lines = Arc::<Lines>::default();
        let (first, second) = (lines.enter(PEER.into()), lines.enter(PEER.into()));
        let held = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&held);
        // One that is early before the line stands counts as well.
        let big = |bytes| Turn::Short(bytes, Box::new(|| ()));
        assert_eq!(lines.leave(second, big(WAITING_BYTES_MAX / 2)), Ok(()));
        let begin = move |held| *keep.lock().expect("no panic") = Some(held);
        assert_eq!(lines.leave(first, Turn::Long(Box::new(begin))), Ok(()));
        let third = lines.enter(PEER.into());
        assert_eq!(lines.leave(third, big(WAITING_BYTES_MAX / 2)), Err(Crowded));
        let fourth = lines.enter(PEER.into());
        assert_eq!(lines.leave(fourth, big(0)), Ok(()), "it is told once");
        drop(held.lock().expect("no panic").take());
        assert!(lines.lock().is_empty());
    }

    #[test]
    fn panics_move_lines_on() {
        let lines = Arc::<Lines>::default();
        let places: Vec<_> = (0..3).map(|_| lines.enter(PEER.into())).collect();
        let turns = [
            Turn::Short(0, Box::new(|| panic!("as a test of turns"))),
            Turn::Long(Box::new(|_held| panic!("as a test of turns"))),
            Turn::Short(0, Box::new(|| ())),
        ];
        for (place, turn) in places.into_iter().zip(turns) {
            assert_eq!(lines.leave(place, turn), Ok(()));
        }
        assert!(lines.lock().is_empty());
    }
}
