//! Whether a flush is under way, and since when: a disk that hangs returns no error.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since when a flush is under way.
#[derive(Default)]
pub(super) struct Pulse(Mutex<Option<Instant>>);

/// A flush that is under way, until it is dropped.
pub(super) struct Flushing<'p>(&'p Pulse);

impl Pulse {
    pub fn begin(&self) -> Flushing<'_> {
        self.set(Some(Instant::now()));
        Flushing(self)
    }

    pub fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|began| began.elapsed())
    }

    fn set(&self, began: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
