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
