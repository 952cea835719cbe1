//! What other threads have to tell the gate.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::line::Streaming;

/// A piece of news.
pub(super) enum Mail {
    /// The answer to a request, and what is part of the program of its body.
    Answer { to: Place, bytes: Vec<u8>, behind: &'static [u8] },
    /// An answer that is made while it is sent.
    Stream { to: Place, streaming: Streaming },
    /// There is more of it.
    More { connection: u64 },
    /// Take no more, and end when what is under way is answered.
    Stop {
        /// How long clients have to take their answers.
        within: Duration,
    },
}

thread_local! {
    /// Where this thread has put something that the gate was not woken for yet; none where it is woken at once.
    static TOGETHER: RefCell<Option<Vec<Arc<Mailbox>>>> = const { RefCell::new(None) };
}

/// Has `answer` send many answers, for which the gate is woken once, behind them. Woken by the first, it takes the
/// processor from who answers, finds one or two, and sleeps again: with 64 callers it woke for each 4 or 5 answers.
pub fn together(answer: &mut dyn FnMut()) {
    /// Wakes it, also if that panicked.
    struct Ringing;
    impl Drop for Ringing {
        fn drop(&mut self) {
            let boxes = TOGETHER.take();
            boxes.into_iter().flatten().for_each(|mailbox| mailbox.ring());
        }
    }
    TOGETHER.set(Some(Vec::new()));
    let _ringing = Ringing;
    answer();
}

/// Which request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub connection: u64,
    /// Its number on that connection.
    pub number: u64,
    /// Bytes that it was counted to hold while it was under way.
    pub held_bytes: usize,
}

/// The box. It is as large as what is under way, which is bounded.
pub(super) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    /// Whether the gate waits for events, and has to be woken.
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl Mailbox {
    pub fn new() -> io::Result<Mailbox> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Mailbox { mail: Mutex::default(), asleep: AtomicBool::new(false), bell })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mail>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it in, and wakes the gate if it sleeps: at once, or behind all of what is put [`together`].
    pub fn put(self: &Arc<Self>, mail: Mail) {
        self.lock().push(mail);
        let waits = TOGETHER.with_borrow_mut(|boxes| {
            let boxes = boxes.as_mut()?;
            if !boxes.iter().any(|other| Arc::ptr_eq(other, self)) {
                boxes.push(Arc::clone(self));
            }
            Some(())
        });
        if waits.is_none() {
            self.ring();
        }
    }

    fn ring(&self) {
        if self.asleep.swap(false, SeqCst) {
            // It can't be full: the gate empties it whenever it was woken.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// To be called before the gate sleeps; `false` if it must not, since there is mail.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        let empty = self.lock().is_empty();
        if !empty {
            self.asleep.store(false, SeqCst);
        }
        empty
    }

    /// To be called when it has slept.
    pub fn wake_up(&self) {
        self.asleep.store(false, SeqCst);
    }

    /// The bell was heard.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Takes all there is.
    pub fn take(&self, into: &mut VecDeque<Mail>) {
        into.extend(self.lock().drain(..));
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;
    use std::thread;

    /// Whoever sleeps by the rules is woken by whatever comes in, in whichever moment: nobody here would
    /// go on otherwise, since each waits for the other.
    #[test]
    fn no_news_is_slept_over() {
        const TOLD: u64 = 20_000;
        let mailbox = &Arc::new(Mailbox::new().unwrap());
        thread::scope(|scope| {
            let tellers: Vec<_> = (0..3)
                .map(|teller| {
                    let (taken, is_taken) = channel();
                    scope.spawn(move || {
                        for _ in 0..TOLD {
                            mailbox.put(Mail::More { connection: teller });
                            is_taken.recv().expect("the sleeper lives");
                        }
                        mailbox.put(Mail::Stop { within: Duration::ZERO });
                    });
                    taken
                })
                .collect();
            let (mut mail, mut stopped, mut taken) = (VecDeque::new(), 0, 0);
            while stopped < tellers.len() {
                if mailbox.fall_asleep() {
                    let mut bell = [PollFd::new(mailbox, PollFlags::IN)];
                    let longest = Timespec { tv_sec: 5, tv_nsec: 0 };
                    assert_eq!(
                        poll(&mut bell, Some(&longest)),
                        Ok(1),
                        "nobody rang, after {taken}"
                    );
                }
                mailbox.wake_up();
                mailbox.silence();
                mailbox.take(&mut mail);
                for piece in mail.drain(..) {
                    match piece {
                        Mail::More { connection } => {
                            taken += 1;
                            tellers[connection as usize].send(()).expect("the teller lives");
                        }
                        _ => stopped += 1,
                    }
                }
            }
            assert_eq!(taken, 3 * TOLD);
        });
    }

    /// What is put together rings once, behind all of it, also where who puts it panics on the way.
    #[test]
    fn what_is_put_together_rings_behind_it() {
        let mailbox = Arc::new(Mailbox::new().unwrap());
        let rings = || {
            let mut bell = [PollFd::new(&*mailbox, PollFlags::IN)];
            poll(&mut bell, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
        };
        let taken = || {
            let mut mail = VecDeque::new();
            mailbox.take(&mut mail);
            mail.len()
        };
        for panics in [false, true, false] {
            assert!(mailbox.fall_asleep() && !rings());
            let put = || {
                for connection in 0..3 {
                    mailbox.put(Mail::More { connection });
                    assert!(!rings(), "before all of it is there");
                }
                assert!(!panics, "as a test");
            };
            let done = catch_unwind(AssertUnwindSafe(|| together(&mut { put })));
            assert_eq!((done.is_err(), rings()), (panics, true));
            mailbox.silence();
            assert_eq!(taken(), 3);

            assert!(mailbox.fall_asleep());
            mailbox.put(Mail::More { connection: 0 });
            assert!(rings(), "alone it rings at once");
            mailbox.silence();
            assert_eq!(taken(), 1);
        }
    }
}
