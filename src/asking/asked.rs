//! Having something found out by a job, which may take long.
//!
//! Who asks says how much that is likely to read. Only who looks knows: without an index, or where something waits to
//! be erased, records are read that are counted otherwise. So what is light is tried with a small bound, and what
//! goes beyond it waits among what is heavy. Promises that the threads for light questions are soon free again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::Failure;
use crate::ingest::{Code, Reject};
use crate::jobs::{Jobs, Room, Weight};
use crate::query::{READ_ROWS_LIGHT, READ_ROWS_MAX, Stop};

/// Who has things found out.
#[derive(Clone)]
pub struct Desk {
    /// Threads for questions.
    pub jobs: Arc<Jobs>,
    /// Set when the server is about to end.
    pub stopping: Arc<AtomicBool>,
}

/// What is to be found out, and who is told.
struct Asked<F, T> {
    desk: Desk,
    find: F,
    then: T,
}

impl Desk {
    /// Has a job `find` something and tell it to `then`. `find` may be called twice: what is light and reads too much
    /// for that is begun again as heavy.
    pub fn ask<F, T, R>(&self, weight: Weight, find: F, then: T)
    where
        F: Fn(&Stop<'_>) -> Result<R, Failure> + Send + 'static,
        T: FnOnce(Result<R, Reject>) + Send + 'static,
    {
        Asked { desk: self.clone(), find, then }.put(weight);
    }

    /// Room for what walks through the log.
    ///
    /// # Errors
    /// Too many wait already, or the server stops.
    pub fn room(&self, weight: Weight) -> Result<Room, Reject> {
        self.jobs.room(weight).ok_or_else(|| {
            let is_stopping = self.is_stopping();
            let code = if is_stopping { Code::ShuttingDown } else { Code::Overloaded };
            Reject::new(code, "too many questions are being answered; ask again")
        })
    }

    /// Whether the server is about to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }
}

impl<F, T, R> Asked<F, T>
where
    F: Fn(&Stop<'_>) -> Result<R, Failure> + Send + 'static,
    T: FnOnce(Result<R, Reject>) + Send + 'static,
{
    fn put(self, weight: Weight) {
        match self.desk.room(weight) {
            Ok(room) => room.put(move || self.carry_out(weight)),
            Err(reject) => (self.then)(Err(reject)),
        }
    }

    fn carry_out(self, weight: Weight) {
        let rows_max = match weight {
            Weight::Light => READ_ROWS_LIGHT,
            Weight::Heavy => READ_ROWS_MAX,
        };
        let is_stopping = || self.desk.is_stopping();
        match (self.find)(&Stop::new(rows_max, &is_stopping)) {
            Err(Failure::TooMuch(_)) if weight == Weight::Light => self.put(Weight::Heavy),
            found => (self.then)(found.map_err(Failure::into_reject)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded, unbounded};

    use super::*;
    use crate::query;

    fn ask(
        jobs: &Arc<Jobs>,
        weight: Weight,
        find: impl Fn(&Stop<'_>) -> Result<u64, Failure> + Send + 'static,
    ) -> Receiver<Result<u64, Code>> {
        let (tell, told) = unbounded();
        let then = move |found: Result<u64, Reject>| {
            tell.send(found.map_err(|reject| reject.code)).unwrap();
        };
        let desk = Desk { jobs: Arc::clone(jobs), stopping: Arc::default() };
        desk.ask(weight, find, then);
        told
    }

    /// Reads so many records, and tells so.
    fn reads(rows: u64) -> impl Fn(&Stop<'_>) -> Result<u64, Failure> + Send + 'static {
        move |stop| {
            stop.take(rows).map_err(query::Failure::from)?;
            Ok(rows)
        }
    }

    #[test]
    fn what_reads_more_than_it_seemed_to_waits_for_a_heavy_thread() {
        let jobs = Arc::new(Jobs::start().unwrap());
        let (go, gate) = bounded::<()>(0);
        let (began, begins) = unbounded();
        let hold = || {
            let (gate, began) = (gate.clone(), began.clone());
            ask(&jobs, Weight::Heavy, move |_| {
                began.send(()).unwrap();
                let _ = gate.recv();
                Ok(0)
            })
        };
        // Questions until a light one would no longer find a thread, if they counted for what they seemed.
        let held = [hold(), hold()];
        (0..2).for_each(|_| begins.recv().unwrap());
        let much: Vec<_> = [READ_ROWS_LIGHT + 1, READ_ROWS_MAX, READ_ROWS_MAX + 1]
            .map(|rows| (rows, ask(&jobs, Weight::Light, reads(rows))))
            .into();
        for rows in [0, 1, READ_ROWS_LIGHT] {
            assert_eq!(ask(&jobs, Weight::Light, reads(rows)).recv(), Ok(Ok(rows)), "at once");
        }
        assert!(much.iter().all(|(_, told)| told.is_empty()), "both heavy threads are held");
        drop(go);
        assert!(held.iter().all(|told| told.recv() == Ok(Ok(0))));
        for (rows, told) in much {
            let expected =
                if rows > READ_ROWS_MAX { Err(Code::QuestionTooLarge) } else { Ok(rows) };
            assert_eq!(told.recv(), Ok(expected));
        }
        jobs.close(std::time::Instant::now() + crate::jobs::CLOSE_WITHIN);
        let late = ask(&jobs, Weight::Light, reads(0)).recv();
        assert_eq!(late, Ok(Err(Code::Overloaded)), "nobody said that it stops");
    }
}
