//! How far the log is durable and merged, and waiting until it is further.
//!
//! Whoever commits looks at one number more; only where somebody waits for what it just wrote does it wake him.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::Seq;

/// The newest record that a flush has covered and that is merged.
pub(super) struct Durable {
    seq: AtomicU64,
    /// The first position that somebody waits for; the greatest number while nobody does.
    wanted: AtomicU64,
    /// All of them.
    waiting: Mutex<Vec<Seq>>,
    further: Condvar,
}

impl Default for Durable {
    fn default() -> Durable {
        Durable {
            seq: AtomicU64::new(0),
            wanted: AtomicU64::new(Seq::MAX),
            waiting: Mutex::default(),
            further: Condvar::new(),
        }
    }
}

impl Durable {
    pub fn get(&self) -> Seq {
        self.seq.load(SeqCst)
    }

    /// It is as far now.
    pub fn reach(&self, seq: Seq) {
        self.seq.store(seq, SeqCst);
        // Who waits says so before looking how far it is: one of the two sees the other.
        if self.wanted.load(SeqCst) <= seq {
            // Whoever has the lock has looked and doesn't wait yet.
            drop(self.lock());
            self.further.notify_all();
        }
    }

    /// Waits until it is as far, or until then, and says whether it is.
    pub fn wait_for(&self, seq: Seq, until: Instant) -> bool {
        if self.get() >= seq {
            return true;
        }
        let mut waiting = self.lock();
        waiting.push(seq);
        self.wanted.fetch_min(seq, SeqCst);
        let is_there = loop {
            if self.get() >= seq {
                break true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            waiting =
                self.further.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        if let Some(own) = waiting.iter().position(|other| *other == seq) {
            waiting.swap_remove(own);
        }
        self.wanted.store(waiting.iter().copied().min().unwrap_or(Seq::MAX), SeqCst);
        is_there
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seq>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_waits_is_woken_when_it_is_as_far() {
        let durable = Durable::default();
        durable.reach(7);
        let (now, far) = (Instant::now(), Instant::now() + Duration::from_secs(600));
        for (seq, is_there) in [(0, true), (6, true), (7, true), (8, false), (Seq::MAX, false)] {
            assert_eq!(durable.wait_for(seq, now), is_there, "{seq}");
        }
        assert_eq!(durable.wanted.load(SeqCst), Seq::MAX, "nobody waits any more");
        let soon = Instant::now() + Duration::from_millis(1);
        assert!(!durable.wait_for(8, soon), "nobody writes");
        // Each waits for a position of its own, some for the same; whichever the writer's steps are, none is missed.
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..32)
                .map(|number| {
                    let durable = &durable;
                    scope.spawn(move || durable.wait_for(100 + number / 2 * 10, far))
                })
                .collect();
            let beyond = scope.spawn(|| durable.wait_for(5_000, far));
            for seq in 8..=1_000 {
                durable.reach(seq);
            }
            assert!(waiting.into_iter().all(|one| one.join().unwrap()));
            while durable.wanted.load(SeqCst) != 5_000 {}
            durable.reach(9_000);
            assert!(beyond.join().unwrap());
        });
        assert_eq!(durable.wanted.load(SeqCst), Seq::MAX);
    }
}
