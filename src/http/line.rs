//! The answers of one connection, in the order of its requests.
//!
//! A client may send requests ahead without waiting (RFC 9112, section 9.3.2); answers come in whatever
//! order the calls are done. One that is early waits here, and nobody waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::out::Out;
use super::pipe::{Pipe, Taken};

/// An answer, or what will be one.
enum Slot {
    Waiting,
    Ready(Vec<u8>, &'static [u8]),
    /// Made while it is sent.
    Streaming(Streaming),
}

/// An answer that is made while it is sent.
pub(super) struct Streaming {
    /// What it comes through.
    pub pipe: Arc<Pipe>,
    /// Whether its end is the connection's.
    pub ends: bool,
    /// Has it begun; called when its turn has come.
    pub begin: Option<Box<dyn FnOnce() + Send>>,
}

struct Entry {
    slot: Slot,
    /// Whether the connection ends behind it.
    is_last: bool,
}

/// What became of pulling.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// All that is there, or as much as was asked for.
    Some,
    /// The last answer of the connection is out.
    Last,
    /// An answer broke off in the middle.
    Broken,
}

/// The line.
#[derive(Default)]
pub(super) struct Line {
    /// The number of the first that is in it.
    first: u64,
    entries: VecDeque<Entry>,
    ready_bytes: usize,
}

impl Line {
    /// A request's place, to be named with its answer.
    pub fn enter(&mut self, is_last: bool) -> u64 {
        self.entries.push_back(Entry { slot: Slot::Waiting, is_last });
        self.first + self.entries.len() as u64 - 1
    }

    /// Puts an answer in its place; see [`Out`] for what stands `behind`.
    pub fn answer(&mut self, number: u64, bytes: Vec<u8>, behind: &'static [u8]) {
        let ready_bytes = bytes.len();
        if self.put(number, Slot::Ready(bytes, behind)) {
            self.ready_bytes += ready_bytes;
        }
    }

    /// Puts an answer in its place that is made while it is sent.
    pub fn stream(&mut self, number: u64, streaming: Streaming) {
        self.put(number, Slot::Streaming(streaming));
    }

    /// Whether there is such a place.
    fn put(&mut self, number: u64, slot: Slot) -> bool {
        let entry = number.checked_sub(self.first).and_then(|at| self.entries.get_mut(at as usize));
        let is_there = entry.is_some();
        if let Some(entry) = entry {
            entry.slot = slot;
        }
        is_there
    }

    /// Moves what can leave behind `out`, until that has `bytes_max`.
    pub fn pull(&mut self, out: &mut Out, bytes_max: usize) -> Pulled {
        while out.takes_more(bytes_max) {
            let Some(entry) = self.entries.front_mut() else { break };
            let mut is_last = entry.is_last;
            match &mut entry.slot {
                Slot::Waiting => break,
                Slot::Ready(bytes, behind) => {
                    self.ready_bytes -= bytes.len();
                    out.put(std::mem::take(bytes), behind);
                }
                Slot::Streaming(streaming) => {
                    if let Some(begin) = streaming.begin.take() {
                        begin();
                    }
                    match streaming.pipe.take(&mut out.bytes) {
                        Taken::Some => break,
                        Taken::Whole => is_last |= streaming.ends,
                        Taken::Broken => return Pulled::Broken,
                    }
                }
            }
            self.entries.pop_front();
            self.first += 1;
            if is_last {
                self.clear();
                return Pulled::Last;
            }
        }
        Pulled::Some
    }

    /// Requests that are not answered yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether what leaves now is made while it is sent.
    pub fn is_streaming(&self) -> bool {
        self.entries.front().is_some_and(|entry| matches!(entry.slot, Slot::Streaming(_)))
    }

    /// Whether what leaves now will never be whole.
    pub fn is_broken(&self) -> bool {
        let front = self.entries.front().map(|entry| &entry.slot);
        matches!(front, Some(Slot::Streaming(streaming)) if streaming.pipe.is_broken())
    }

    /// Bytes of answers that are ready.
    pub fn held_bytes(&self) -> usize {
        self.ready_bytes
    }
}

impl Line {
    /// Forgets what can't leave any more; who still makes an answer learns that nobody takes it.
    fn clear(&mut self) {
        for entry in self.entries.drain(..) {
            if let Slot::Streaming(streaming) = &entry.slot {
                streaming.pipe.hang_up();
            }
        }
        self.ready_bytes = 0;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    fn streaming(pipe: &Arc<Pipe>, ends: bool) -> Streaming {
        Streaming { pipe: Arc::clone(pipe), ends, begin: None }
    }

    fn text(number: u64) -> Vec<u8> {
        format!("<{number}>").into_bytes()
    }

    proptest! {
        #[test]
        fn however_answers_come_they_leave_in_order(
            order in Just((0..40u64).collect::<Vec<_>>()).prop_shuffle(),
            bytes_max in 1usize..40,
        ) {
            let mut line = Line::default();
            for number in 0..40 {
                prop_assert_eq!(line.enter(false), number);
            }
            let mut all = Vec::new();
            let mut pull = |line: &mut Line| loop {
                let mut out = Out::default();
                assert_eq!(line.pull(&mut out, bytes_max), Pulled::Some);
                if out.len() == 0 {
                    break;
                }
                all.extend(out.bytes);
            };
            for number in order {
                if number % 5 == 3 {
                    let pipe = Arc::new(Pipe::default());
                    pipe.put(&text(number));
                    line.stream(number, streaming(&pipe, false));
                    pull(&mut line);
                    pipe.end(true);
                } else {
                    line.answer(number, text(number), b"");
                }
                pull(&mut line);
            }
            prop_assert_eq!(all, (0..40).flat_map(text).collect::<Vec<_>>());
            prop_assert_eq!((line.len(), line.held_bytes()), (0, 0));
            prop_assert_eq!(line.enter(false), 40);
        }
    }

    #[test]
    fn the_last_is_the_last() {
        let mut line = Line::default();
        let numbers = [line.enter(false), line.enter(true), line.enter(false)];
        for number in numbers {
            line.answer(number, text(number), b"");
        }
        let mut out = Out::default();
        assert_eq!(line.pull(&mut out, usize::MAX), Pulled::Last);
        assert_eq!(out.bytes, b"<0><1>");
        // What has left, or was never in the line, is passed over.
        line.answer(0, text(0), b"");
        line.answer(9, text(9), b"");
        assert_eq!(line.held_bytes(), 0);

        let mut line = Line::default();
        let number = line.enter(false);
        let pipe = Arc::new(Pipe::default());
        line.stream(number, streaming(&pipe, true));
        assert_eq!(line.pull(&mut Out::default(), 9), Pulled::Some);
        pipe.end(true);
        assert_eq!(
            line.pull(&mut Out::default(), 9),
            Pulled::Last,
            "the body ends with the connection"
        );
    }

    #[test]
    fn an_answer_is_begun_when_its_turn_has_come() {
        let mut line = Line::default();
        let numbers = [line.enter(false), line.enter(false)];
        let (pipe, begun) = (Arc::new(Pipe::default()), Arc::new(AtomicBool::new(false)));
        let begin = Arc::clone(&begun);
        let begin: Box<dyn FnOnce() + Send> = Box::new(move || begin.store(true, SeqCst));
        line.stream(numbers[1], Streaming { begin: Some(begin), ..streaming(&pipe, false) });
        assert_eq!(line.pull(&mut Out::default(), 9), Pulled::Some);
        assert!(!begun.load(SeqCst));
        line.answer(numbers[0], text(0), b"");
        assert_eq!(line.pull(&mut Out::default(), 9), Pulled::Some);
        assert!(begun.load(SeqCst));
    }

    #[test]
    fn what_breaks_off_is_told_both_ways() {
        let mut line = Line::default();
        let number = line.enter(false);
        let pipe = Arc::new(Pipe::default());
        line.stream(number, streaming(&pipe, false));
        pipe.put(b"half");
        pipe.end(false);
        let mut out = Out::default();
        assert_eq!(line.pull(&mut out, 99), Pulled::Broken);
        assert_eq!(out.bytes, b"half");

        let mut line = Line::default();
        let number = line.enter(false);
        let pipe = Arc::new(Pipe::default());
        line.stream(number, streaming(&pipe, false));
        drop(line);
        assert!(!pipe.put(b"nobody takes it"));
    }
}
