//! A few threads for what takes longer than a worker may be held up: reading the log.
//!
//! Bounded on both sides: so many at a time, so many waiting. Tracking has threads of its own, so
//! however many questions are asked, calls are taken. Exports last as long as their readers like, so
//! they have threads of their own too and never wait for one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

/// Questions that are answered at a time.
const THREADS: usize = 2;

/// Questions that are answered or wait, at the most.
const JOBS_MAX: usize = 64;

/// Exports at a time; none waits.
pub const EXPORTS_MAX: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue.
pub struct Jobs {
    queue: Mutex<Option<Sender<(Place, Job)>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    taken: Arc<AtomicUsize>,
    jobs_max: usize,
}

/// Room for one job. The queue itself has no bound, since nothing gets into it without one of these.
pub struct Room {
    queue: Sender<(Place, Job)>,
    place: Place,
}

/// One of the places; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Room {
    /// Has a job done when its turn comes.
    pub fn put(self, job: impl FnOnce() + Send + 'static) {
        // The threads end only when all who could send have gone, this one included.
        let _ = self.queue.send((self.place, Box::new(job)));
    }
}

impl Jobs {
    /// Starts the threads for questions.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start() -> std::io::Result<Jobs> {
        Jobs::start_threads("job", THREADS, JOBS_MAX)
    }

    /// Starts the threads for exports: as many as there may be.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start_exports() -> std::io::Result<Jobs> {
        Jobs::start_threads("export", EXPORTS_MAX, EXPORTS_MAX)
    }

    fn start_threads(name: &str, threads: usize, jobs_max: usize) -> std::io::Result<Jobs> {
        let (queue, jobs) = unbounded::<(Place, Job)>();
        let threads = (0..threads)
            .map(|number| {
                let jobs = jobs.clone();
                thread::Builder::new().name(format!("{name} {number}")).spawn(move || {
                    for (place, job) in jobs {
                        if catch_unwind(AssertUnwindSafe(job)).is_err() {
                            log::error!("a job panicked");
                        }
                        drop(place);
                    }
                })
            })
            .collect::<Result<_, _>>()?;
        let (queue, threads) = (Mutex::new(Some(queue)), Mutex::new(threads));
        Ok(Jobs { queue, threads, taken: Arc::default(), jobs_max })
    }

    /// Room for a job, unless too many wait or [`Jobs::close`] was called.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let place = Place(Arc::clone(&self.taken));
        let before = self.taken.fetch_add(1, SeqCst);
        (before < self.jobs_max).then_some(Room { queue, place })
    }

    /// Takes no more, and returns when all that were taken are done.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // Jobs are caught; the loop around them doesn't panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_none_is_lost() {
        let jobs = Jobs::start().unwrap();
        let (go, gate) = crossbeam_channel::bounded::<()>(0);
        let (tell, told) = unbounded();
        for _ in 0..JOBS_MAX {
            let (gate, tell) = (gate.clone(), tell.clone());
            jobs.room().unwrap().put(move || {
                let _ = gate.recv();
                tell.send(()).unwrap();
            });
        }
        assert!(jobs.room().is_none(), "all places are taken");
        drop(go);
        for _ in 0..JOBS_MAX {
            told.recv().unwrap();
        }
        let last = loop {
            if let Some(room) = jobs.room() {
                break room;
            }
        };
        last.put(|| panic!("as a test of the threads"));
        let late = jobs.room().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| jobs.close());
            while jobs.room().is_some() {}
            late.put(move || tell.send(()).unwrap());
        });
        assert_eq!(told.len(), 1, "who had room is served after closing too");
    }
}
