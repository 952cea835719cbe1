//! How far the log was known to reach, kept apart from it.
//!
//! sled takes a damaged page for the torn end of its file, cuts there and goes on as if nothing had
//! been behind it. This is what finds that out: a file of its own that says how far the log, and the
//! manifest of what is sealed, were known to reach. A store that ends below it has lost what was
//! acknowledged, and is not to be written to.
//!
//! ```text
//! two lines, written in turn: seq (20 digits) step (20 digits) CRC-32 of both (8 digits)
//! ```
//! A line is written in place after each commit, which costs a microsecond and outlives the process,
//! and synced now and then for the power cut: whichever line is whole and reaches further counts.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::Error;
use crate::model::Seq;

/// Records after which it is synced.
const STRETCH: Seq = 4_096;

const LINE_BYTES: usize = 20 + 1 + 20 + 1 + 8 + 1;

/// The file, and what it says.
pub(super) struct HighWater {
    path: PathBuf,
    file: File,
    seq: AtomicU64,
    step: AtomicU64,
    synced: AtomicU64,
    lines: AtomicU64,
}

impl HighWater {
    /// Reads what was noted in a store's directory.
    pub fn open(dir: &Path) -> Result<HighWater, Error> {
        let path = dir.join("high-water");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(Error::io("open", &path))?;
        let mut bytes = Vec::new();
        // Two lines, and no more than that of whatever else it may hold.
        file.by_ref()
            .take(4 * LINE_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        let (seq, step) = read(&bytes);
        Ok(HighWater {
            path,
            file,
            seq: seq.into(),
            step: step.into(),
            synced: AtomicU64::new(0),
            lines: AtomicU64::new(0),
        })
    }

    /// Whether a store that ends with `last_seq` and whose manifest is at `step` can be whole.
    pub fn check(&self, last_seq: Seq, step: u64) -> Result<(), Error> {
        let damaged = |place: String, why| Err(Error::Damaged { place, why });
        let (noted_seq, noted_step) = (self.seq.load(SeqCst), self.step.load(SeqCst));
        if last_seq < noted_seq {
            let why = format!("it ends there, though it reached {noted_seq}");
            return damaged(format!("record {} of the log", last_seq + 1), why);
        }
        if step < noted_step {
            let why = format!("it ends with step {step}, though it reached {noted_step}");
            return damaged("the manifest of what is sealed".to_owned(), why);
        }
        Ok(())
    }

    /// Notes how far the log reaches, for the case that the process ends.
    pub fn note(&self, last_seq: Seq) {
        self.seq.fetch_max(last_seq, SeqCst);
        self.write();
        if last_seq.saturating_sub(self.synced.load(SeqCst)) >= STRETCH {
            self.sync();
        }
    }

    /// Notes how far the manifest has come, for the case that the power goes.
    pub fn note_step(&self, step: u64) {
        self.step.fetch_max(step, SeqCst);
        self.write();
        self.sync();
    }

    /// Makes durable what was noted. What can't be written is no harm by itself: less is noted then.
    pub fn sync(&self) {
        let seq = self.seq.load(SeqCst);
        match self.file.sync_data() {
            Ok(()) => self.synced.store(seq, SeqCst),
            Err(error) => self.complain(&error),
        }
    }

    fn write(&self) {
        let line = line(self.seq.load(SeqCst), self.step.load(SeqCst));
        let place = self.lines.fetch_add(1, SeqCst) % 2 * LINE_BYTES as u64;
        if let Err(error) = self.file.write_all_at(line.as_bytes(), place) {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &io::Error) {
        log::warn!("can't write {}: {error}", self.path.display());
    }
}

pub(super) fn line(seq: Seq, step: u64) -> String {
    let said = format!("{seq:020} {step:020}");
    format!("{said} {:08x}\n", crc32fast::hash(said.as_bytes()))
}

/// What whole lines say at the most; nothing, if a power cut left none.
pub(super) fn read(bytes: &[u8]) -> (Seq, u64) {
    // The first format was the bare number.
    if let Some(seq) = std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()) {
        return (seq, 0);
    }
    let whole = bytes.chunks_exact(LINE_BYTES).filter_map(|bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        let (seq, step) = (text.get(..20)?.parse().ok()?, text.get(21..41)?.parse().ok()?);
        (line(seq, step) == text).then_some((seq, step))
    });
    whole.fold((0, 0), |most, (seq, step)| (most.0.max(seq), most.1.max(step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_half_a_line_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let noted = |dir: &Path| {
            let open = HighWater::open(dir).unwrap();
            (open.seq.load(SeqCst), open.step.load(SeqCst))
        };
        assert_eq!(noted(dir.path()), (0, 0));
        let water = HighWater::open(dir.path()).unwrap();
        for seq in 1..=5 {
            water.note(seq);
            assert_eq!(noted(dir.path()), (seq, 0));
        }
        water.note_step(3);
        assert_eq!(noted(dir.path()), (5, 3));
        assert!(water.check(5, 3).is_ok() && water.check(9, 9).is_ok());
        assert!(water.check(4, 3).is_err() && water.check(5, 2).is_err());
        // Each line in turn is torn; the other one holds what was noted before.
        let path = dir.path().join("high-water");
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), 2 * LINE_BYTES);
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            let read = read(&torn);
            assert!(read == (5, 3) || read == (5, 0), "{at}: {read:?}");
        }
        for (content, seq) in [("23\n", 23), ("", 0), ("rubbish", 0)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(noted(dir.path()), (seq, 0), "{content:?}");
        }
    }
}
