//! One generation of the hot end: the sled database with the newest part of the log, the keyed
//! state, and the manifest of what is sealed.
//!
//! sled never gives back what it once wrote: removed values stay in its file until something happens
//! to be written over them. So what was erased leaves it by copying what stays into a new database
//! (`compactor::renew`), a generation; the one before is removed when its last reader has gone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sled::Tree;

use super::Error;
use super::state::State;

/// Bytes of pages that sled keeps in memory.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How long sled's threads may keep its file after its store was closed.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Bytes of one segment of sled's file: four times the largest page that isn't put aside into a
/// file of its own.
pub(super) const SLED_SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// Changes of one entry by which sled is brought to tidy up: it moves a tenth as many pages, of some 2 KiB.
///
/// 200,000 users (43 MB of keys and values), copied with a flush after each 4 MiB: 117 MB of file without, 102 MB with
/// 10,000 changes, 101 MB with 20,000, and no less with more, since segments that are half full stay; a copy takes
/// a fifth longer.
const TIDY_CHANGES: u32 = 20_000;
const TIDY_KEY: &[u8] = b"t";

/// The trees of a generation. They lie in one file, so that one flush covers them all.
pub(super) struct Hot {
    /// First `seq` (8 bytes, big-endian) to batch.
    pub log: Tree,
    /// Users, accounts, imports, and how far the log is applied.
    pub state: State,
    /// What is sealed: see `manifest`.
    pub manifest: Tree,
    db: sled::Db,
    /// What it was opened with; it has sled's note of an error that nobody was there to be told.
    engine: sled::Config,
    file: File,
    path: PathBuf,
    retired: AtomicBool,
}

impl Hot {
    /// Opens the generation that lies at `path`, or makes it.
    pub fn open(path: &Path) -> Result<Hot, Error> {
        let (engine, db) = open_sled(path)?;
        let tree = |name: &str| db.open_tree(name).map_err(Error::sled("open a tree"));
        let (log, state, manifest) = (tree("log")?, State::new(tree("state")?), tree("manifest")?);
        let file = File::open(path.join("db")).map_err(Error::io("open", path.join("db")))?;
        let (path, retired) = (path.to_owned(), AtomicBool::new(false));
        Ok(Hot { log, state, manifest, db, engine, file, path, retired })
    }

    /// Returns once all that was written before the call survives a power cut.
    pub fn flush(&self) -> io::Result<()> {
        self.db.flush().map_err(|source| match source {
            sled::Error::Io(source) => source,
            other => io::Error::other(other.to_string()),
        })?;
        // sled stops at sync_file_range, which leaves the disk's cache and the file's length behind.
        self.file.sync_data()
    }

    /// Has sled move pages out of segments that are mostly empty, so that they serve again.
    ///
    /// sled moves one page each time it writes another anew. That is too few while a database is filled in the
    /// order of its keys: each leaf is split as it grows, and two thirds of what was written for it is garbage. An
    /// entry of the tree that sled has by itself, and that nobody reads, is written anew with every tenth change and takes
    /// no room.
    pub fn tidy(&self) -> Result<(), Error> {
        let failed = Error::sled("tidy up");
        for turn in 0..TIDY_CHANGES {
            self.db.insert(TIDY_KEY, &turn.to_be_bytes()).map_err(&failed)?;
        }
        self.db.remove(TIDY_KEY).map(drop).map_err(failed)
    }

    /// The error that sled has noted, if one of its own threads met one.
    pub fn noted_error(&self) -> sled::Result<()> {
        self.engine.global_error()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another generation has taken its place: its files go with its last reader.
    pub fn retire(&self) {
        self.retired.store(true, SeqCst);
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        if self.retired.load(SeqCst)
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            // The next opening removes it.
            log::warn!("can't remove {}: {error}", self.path.display());
        }
    }
}

/// Opens sled with settings that make its memory bounded and its flush ours to call.
fn open_sled(path: &Path) -> Result<(sled::Config, sled::Db), Error> {
    let config = sled::Config::default()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .segment_size(SLED_SEGMENT_BYTES)
        // Its own timed flush acknowledges nothing; ours does.
        .flush_every_ms(None);
    let began = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok((config, db)),
            // The directory is ours. Threads of whoever had it before may keep the file a little.
            Err(sled::Error::Io(error)) if is_locked(&error) && began.elapsed() < LINGER_MAX => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(sled::Error::Io(source)) => return Err(Error::io("open", path)(source)),
            Err(other) => {
                let place = path.display().to_string();
                return Err(Error::Damaged { place, why: other.to_string() });
            }
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidying_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let hot = Hot::open(&dir.path().join("sled-1")).expect("a generation");
        hot.manifest.insert("kept", "as it is").expect("room");
        hot.tidy().expect("tidied");
        assert!(hot.db.is_empty());
        assert_eq!(hot.manifest.get("kept").expect("readable").as_deref(), Some(&b"as it is"[..]));
    }
}
