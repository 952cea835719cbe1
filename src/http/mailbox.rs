//! What other threads have to tell the gate.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

    /// Puts it in, and wakes the gate if it sleeps.
    pub fn put(&self, mail: Mail) {
        self.lock().push(mail);
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
    use std::sync::mpsc::channel;
    use std::thread;

    /// Whoever sleeps by the rules is woken by whatever comes in, in whichever moment: nobody here would
    /// go on otherwise, since each waits for the other.
    #[test]
    fn no_news_is_slept_over() {
        const TOLD: u64 = 20_000;
        let mailbox = &Mailbox::new().unwrap();
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
}
