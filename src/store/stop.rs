//! When reading for an answer is given up: when nobody waits for it any more, or when it would take too much.

use std::cell::Cell;

use super::Error;

/// How far one walk through the log may go: all that is read for it counts together, however often the store is
/// asked.
pub struct Stop<'s> {
    asked: &'s dyn Fn() -> bool,
    rows_max: u64,
    rows: Cell<u64>,
}

impl<'s> Stop<'s> {
    /// Reads `rows_max` records at the most, those aside that an index leads to, and no more as soon as `asked` says
    /// that nobody waits for the answer.
    pub fn new(rows_max: u64, asked: &'s dyn Fn() -> bool) -> Stop<'s> {
        Stop { asked, rows_max, rows: Cell::new(0) }
    }

    /// Whoever asks waits as long as it takes, whatever is read.
    #[must_use]
    pub fn never() -> Stop<'static> {
        Stop::new(u64::MAX, &|| false)
    }

    /// How many records may be read at the most.
    #[must_use]
    pub fn rows_max(&self) -> u64 {
        self.rows_max
    }

    /// The same for another walk.
    #[must_use]
    pub fn anew(&self) -> Stop<'s> {
        Stop::new(self.rows_max, self.asked)
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_due(&self) -> bool {
        (self.asked)()
    }

    /// What says so.
    pub fn asked(&self) -> &'s dyn Fn() -> bool {
        self.asked
    }

    /// Fails if nobody waits any more.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn check(&self) -> Result<(), Error> {
        if self.is_due() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Counts records before they are read.
    ///
    /// # Errors
    /// [`Error::TooMuch`] if with those that were counted before, they are too many.
    pub fn take(&self, rows: u64) -> Result<(), Error> {
        let rows = self.rows.get().saturating_add(rows);
        self.rows.set(rows);
        if rows <= self.rows_max {
            return Ok(());
        }
        Err(Error::TooMuch { rows, rows_max: self.rows_max })
    }

    /// How many may yet be read.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.rows_max.saturating_sub(self.rows.get())
    }
}
