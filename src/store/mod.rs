//! Durability: the log, the keyed state that follows from it, and the one thread that writes both.
//!
//! Knows sled, files and the domain; must not know HTTP, pages or arguments.
//!
//! # What it promises
//! - A submission whose `done` got a [`Receipt`] is on disk and survives a crash or a power cut.
//! - A submission is in the log whole or not at all.
//! - `seq` starts at 1, has no gaps and is never used twice. Recovery drops only what nobody was
//!   told to be safe.
//! - The keyed state is a function of the log: [`Store::rebuild`] from nothing gives the same bytes.
//! - After a failed write or flush nothing more is promised: all that waits is refused, and
//!   [`Store::failure`] says why until the process starts anew. Reading goes on.
//!
//! What it assumes of the medium: that `fdatasync` returns only when the data can't be lost, and
//! that what was synced is read back as it was or fails the checksum.
//!
//! # At rest
//! ```text
//! DIR/FORMAT         "triggerly store N"; a newer N than ours is refused
//! DIR/lock           held (flock) by whoever has the store open
//! DIR/control.sock   where the commands reach the server that holds it
//! DIR/sled/          two trees in one file, so that one flush covers both
//!   log              first seq (8 bytes, big-endian) -> batch (see `batch`)
//!   state            "m" -> seq up to which the log is applied
//!                    "a" + account -> account          (see `state`)
//!                    "u" + account + user id -> user
//! ```
//! A batch and what it changes in the state are written one after the other and flushed together.
//! Whatever the log has beyond the mark when the store is opened is applied then; so it doesn't
//! matter which of the two writes a crash let through.
//!
//! # What was measured of sled 0.34.7, and what follows
//! - Its `flush` ends in `sync_file_range`, which on Linux neither empties the disk's own cache nor
//!   writes a grown file's length (sync_file_range(2)). So a flush here is sled's, then an
//!   `fdatasync` of its file: `flush`.
//! - A page over a quarter of its log segment goes to a file of its own that is never synced. A leaf
//!   holds up to 19 entries, so segments are 8 MiB and an entry has at most
//!   [`ENTRY_BYTES_MAX`].
//! - Its cache evicts only after 64 accesses to one of its 256 shards, so a scan that touches each
//!   page once keeps everything: 240 MB for a log of 256 MB. `walk` touches more often: 45 MB.

mod batch;
mod codec;
mod committer;
mod directory;
mod draft;
mod flush;
mod log;
mod outcome;
mod reader;
mod stage;
mod state;
mod walk;

pub use batch::{BatchView, ENTRY_BYTES_MAX, EncodedBatch};
pub use committer::{
    Done, GROUP_BYTES_MAX, GROUP_RECORDS_MAX, QUEUE_BYTES_MAX, QUEUE_SUBMISSIONS_MAX, Writer,
};
pub use directory::{Directory, FORMAT_VERSION};
pub use draft::Draft;
pub use flush::Flush;
pub use log::{Batches, Log, Order, Step};
pub use outcome::{Outcome, Receipt, Refusal};
pub use reader::Sizes;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::model::{Accounts, Seq};
use log::SledLog;
use state::State;

/// Bytes of pages that sled keeps in memory.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of one segment of sled's file: four times the largest page that isn't put aside into a
/// file of its own.
const SLED_SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// What went wrong with the store itself, for the person who runs it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it open.
    #[error("{} is in use by another triggerly process; stop that one or name another --data", .0.display())]
    Locked(PathBuf),
    /// There is nothing to open, and nobody asked to make it.
    #[error("there is no triggerly store in {}; `triggerly serve` makes one, or name another --data", .0.display())]
    Missing(PathBuf),
    /// A later program wrote it.
    #[error("{} was written by a newer triggerly (format {found}, this program knows {FORMAT_VERSION}); run that version or a later one", dir.display())]
    Newer {
        /// Where.
        dir: PathBuf,
        /// The format it names.
        found: u32,
    },
    /// The directory holds something else.
    #[error("{} does not look like a triggerly store ({why}); name another --data", dir.display())]
    NotAStore {
        /// Where.
        dir: PathBuf,
        /// What is odd about it.
        why: String,
    },
    /// The operating system refused.
    #[error("can't {doing} {}: {source}; check that it exists, that this user may write there and that the disk has room", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason given.
        source: io::Error,
    },
    /// sled refused.
    #[error("the store failed to {doing}: {why}; check the disk, then start again")]
    Sled {
        /// What was tried.
        doing: &'static str,
        /// The reason given.
        why: String,
    },
    /// Something at rest isn't as it was written.
    #[error(
        "the store is damaged at {place}: {why}; restore a backup, or ask for what can be saved"
    )]
    Damaged {
        /// Which entry.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    fn sled(doing: &'static str) -> impl Fn(sled::Error) -> Error {
        move |source| Error::Sled { doing, why: source.to_string() }
    }

    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { doing, path, source }
    }
}

/// An open store. Everything may read through it; [`Writer`] alone changes it.
pub struct Store {
    directory: Directory,
    db: sled::Db,
    log: Box<dyn Log>,
    state: State,
    accounts: RwLock<Arc<Accounts>>,
    /// The newest record that a flush has covered.
    durable: AtomicU64,
    failure: OnceLock<String>,
}

impl Store {
    /// Opens the store in `dir`, makes it if there is none, and applies what the log has beyond the
    /// mark.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn open(dir: &Path) -> Result<Store, Error> {
        Store::open_in(Directory::lock(dir)?)
    }

    /// As [`Store::open`], in a directory that the caller has locked already.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn open_in(directory: Directory) -> Result<Store, Error> {
        let path = directory.sled_path();
        let db = open_sled(&path)?;
        let log = SledLog::new(db.open_tree("log").map_err(Error::sled("open the log"))?)?;
        let state = State::new(db.open_tree("state").map_err(Error::sled("open the state"))?);
        directory.sync()?;
        let store = Store {
            directory,
            db,
            log: Box::new(log),
            state,
            accounts: RwLock::default(),
            durable: AtomicU64::new(0),
            failure: OnceLock::new(),
        };
        store.catch_up()?;
        Ok(store)
    }

    /// Applies what the log has beyond the mark.
    fn catch_up(&self) -> Result<(), Error> {
        let accounts = state::replay(self.log.as_ref(), &self.state)?;
        // What a crash left in the kernel's hands only may be shown from here on.
        self.flusher()?.flush().map_err(Error::io("sync", self.dir()))?;
        self.durable.store(self.log.next_seq() - 1, SeqCst);
        self.publish(Arc::new(accounts));
        Ok(())
    }

    /// Empties the keyed state and builds it anew from the log alone.
    ///
    /// # Errors
    /// [`Error`] if either can't be read or written; then it has to be called again.
    pub fn rebuild(&self) -> Result<(), Error> {
        self.state.clear()?;
        self.catch_up()
    }

    /// The accounts as of now.
    #[must_use]
    pub fn accounts(&self) -> Arc<Accounts> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, accounts: Arc<Accounts>) {
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }

    /// Why nothing more is accepted, if a write or flush has failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The position of the newest durable record; 0 while there is none.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.durable.load(SeqCst)
    }

    /// Where it lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// What makes everything that was written durable.
    ///
    /// # Errors
    /// [`Error::Io`] if sled's file can't be opened for syncing.
    pub fn flusher(&self) -> Result<Box<dyn Flush>, Error> {
        let path = self.directory.sled_path().join("db");
        flush::SledFlush::new(self.db.clone(), &path)
            .map(|flush| Box::new(flush) as Box<dyn Flush>)
            .map_err(Error::io("open", path))
    }
}

/// Opens sled with settings that make its memory bounded and its flush ours to call. sled may panic
/// on a damaged file; a person deserves a sentence.
fn open_sled(path: &Path) -> Result<sled::Db, Error> {
    let config = sled::Config::default()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .segment_size(SLED_SEGMENT_BYTES)
        // Its own timed flush acknowledges nothing; ours does.
        .flush_every_ms(None);
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) => Err(Error::io("open", path)(source)),
        Ok(Err(source)) => {
            Err(Error::Damaged { place: path.display().to_string(), why: source.to_string() })
        }
        Err(_) => Err(Error::Damaged {
            place: path.display().to_string(),
            why: "sled can't make sense of it".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
