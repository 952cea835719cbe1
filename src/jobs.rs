//! A few threads for what takes longer than a worker may be held up: reading the log.
//!
//! Bounded on both sides: so many at a time, so many waiting. Tracking has threads of its own, so
//! however many questions are asked, calls are taken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};

/// Jobs that run at a time.
const THREADS: usize = 2;

/// Jobs that may wait. One more is given back.
const WAITING_MAX: usize = 64;

/// What is to be done.
pub type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue.
pub struct Jobs {
    queue: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Jobs {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start() -> std::io::Result<Jobs> {
        let (queue, jobs) = bounded::<Job>(WAITING_MAX);
        let threads = (0..THREADS)
            .map(|number| {
                let jobs = jobs.clone();
                thread::Builder::new().name(format!("job {number}")).spawn(move || {
                    for job in jobs {
                        if catch_unwind(AssertUnwindSafe(job)).is_err() {
                            log::error!("a job panicked");
                        }
                    }
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Jobs { queue: Mutex::new(Some(queue)), threads: Mutex::new(threads) })
    }

    /// Queues a job; gives it back if too many wait, or after [`Jobs::close`].
    ///
    /// # Errors
    /// The job itself.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        match &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queue) => queue.try_send(job).map_err(|refused| refused.into_inner()),
            None => Err(job),
        }
    }

    /// Takes no more, and returns when all that were taken are done.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
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
        let jobs = Jobs::start().expect("threads");
        let (go, gate) = bounded::<()>(0);
        let (tell, told) = crossbeam_channel::unbounded();
        let job = || -> Job {
            let (gate, tell) = (gate.clone(), tell.clone());
            Box::new(move || {
                let _ = gate.recv();
                let _ = tell.send(());
            })
        };
        let mut taken = 0;
        while jobs.submit(job()).is_ok() {
            taken += 1;
            assert!(taken <= THREADS + WAITING_MAX, "the queue is bounded");
        }
        assert!(taken >= WAITING_MAX);
        drop(go);
        let _ = jobs.submit(Box::new(|| panic!("as a test of the threads")));
        jobs.close();
        assert!(told.len() >= taken);
        assert!(jobs.submit(job()).is_err(), "closed");
    }
}
