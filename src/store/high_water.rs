//! How far the log was known to reach, kept apart from it.
//!
//! sled takes a damaged page for the torn end of its file, cuts there and goes on as if nothing had
//! been behind it. This is what finds that out: a file of its own that says how far the log reached
//! when it was last opened, closed or had grown by a stretch. A log that ends below it has lost what
//! was acknowledged, and is not to be written to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::Error;
use crate::model::Seq;

/// Records after which it is written anew.
const STRETCH: Seq = 4_096;

/// The file, and what it says.
pub(super) struct HighWater {
    path: PathBuf,
    noted: AtomicU64,
}

impl HighWater {
    /// Reads what was noted in a store's directory.
    pub fn open(dir: &Path) -> Result<HighWater, Error> {
        let path = dir.join("high-water");
        let noted = match fs::read_to_string(&path) {
            // A power cut may have left it empty; then it says nothing.
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(Error::io("read", path)(source)),
        };
        Ok(HighWater { path, noted: AtomicU64::new(noted) })
    }

    /// Whether a log that ends with `last_seq` can be whole.
    pub fn check(&self, last_seq: Seq) -> Result<(), Error> {
        let noted = self.noted.load(SeqCst);
        if last_seq >= noted {
            return Ok(());
        }
        Err(Error::Damaged {
            place: format!("record {} of the log", last_seq + 1),
            why: format!("it ends there, though it reached {noted}"),
        })
    }

    /// Notes `last_seq`, if it is a stretch beyond what is noted.
    pub fn note_lazily(&self, last_seq: Seq) {
        if last_seq.saturating_sub(self.noted.load(SeqCst)) >= STRETCH {
            self.note(last_seq);
        }
    }

    /// Notes `last_seq`. What can't be written is no harm by itself: less is noted then.
    pub fn note(&self, last_seq: Seq) {
        let fresh = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{last_seq}")?;
            file.sync_data()?;
            fs::rename(&fresh, &self.path)
        };
        match write() {
            Ok(()) => self.noted.store(last_seq, SeqCst),
            Err(error) => log::warn!("can't write {}: {error}", self.path.display()),
        }
    }
}
