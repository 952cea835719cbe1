//! Durability: the log, the keyed state that follows from it, and the one thread that writes both.
//!
//! Knows sled, files and the domain; must not know HTTP, pages or arguments.
//!
//! # What it promises
//! - A submission whose `done` got a [`Receipt`] is on disk and survives a crash or a power cut.
//! - A submission is in the log whole or not at all.
//! - `seq` starts at 1, has no gaps and is never used twice. Recovery drops only what nobody was
//!   told to be safe.
//! - The keyed state is a function of the log: [`Store::rebuild_in`] from nothing gives the same users
//!   and accounts, byte for byte, and knows the same keys, but for those that no longer count and those
//!   whose record was erased at rest.
//! - Of submissions under the same key within 7 days one is stored, and each gets its receipt
//!   ([`Submission::once`]).
//! - After a failed write or flush nothing more is promised: all that waits is refused, and
//!   [`Store::failure`] says why until the process starts anew. Reading goes on.
//!
//! What it assumes of the medium: that `fdatasync` returns only when the data can't be lost, and
//! that what was synced is read back as it was or fails the checksum.
//!
//! # At rest
//! ```text
//! DIR/FORMAT         "triggerly store N"; a newer N than ours is refused (6 where the log is shared)
//! DIR/high-water     how far the log was known to reach (see `high_water`)
//! DIR/ballast        room for opening on a full disk (see `space`)
//! DIR/lock           held (flock) by whoever has the store open
//! DIR/control.sock   where the commands reach the server that holds it
//! DIR/segments/      the sealed part of the log (see `segment`), and beside each segment its index (see
//!                    `index`), a function of it: what of both there is, the manifest says
//! DIR/sled/          three trees in one file, so that one flush covers all
//!   manifest         what is sealed, and what was taken out (see `manifest`)
//!   log              first seq (8 bytes, big-endian) -> batch (see `batch`)
//!   state            "m" -> seq up to which the log is applied, at least
//!                    "r" -> there while the state is being rebuilt
//!                    "a" + account -> account          (see `state`)
//!                    "u" + account + user id -> user
//!                    "k" + day (8) + key (16) -> a submission that is stored once (see `once`)
//!                    "t" + account + kind + attribute -> data type that is set (see `types`)
//!                    "i" + account + number -> how far an import has come
//!                    "p" + person -> who may sign in, and the sessions  (see `people`)
//!                    "l" -> the links that wait to be used
//! ```
//! A batch is appended, flushed, and only then merged into the state, together with the mark; that
//! reaches the disk with a later flush. Whatever the log has beyond the mark when the store is opened
//! is applied then, so it doesn't matter how much of the state a crash let through. Groups of nothing
//! but events change no user, and move the mark only now and then.
//!
//! # What was measured of sled 0.34.7, and what follows
//! - Its `flush` ends in `sync_file_range`, which on Linux neither empties the disk's own cache nor
//!   writes a grown file's length (sync_file_range(2)). So a flush here is sled's, then an
//!   `fdatasync` of its file: `flush`.
//! - A page over a quarter of its log segment goes to a file of its own that is never synced. A leaf
//!   holds up to 19 entries, so segments are 8 MiB and an entry has at most
//!   [`ENTRY_BYTES_MAX`].
//! - It writes over a segment whose data has moved elsewhere and was handed to the kernel. So no more
//!   is written between two flushes than a small part of what it keeps apart: a group is bounded by
//!   [`GROUP_USERS_MAX`], and a replay flushes as it goes, as does a submission that names more users
//!   (its users are merged from the log, in pieces); the log of the largest submission is less than a
//!   segment ([`SUBMISSION_BYTES_MAX`]).
//! - Its cache evicts only after 64 accesses to one of its 256 shards, so a scan that touches each
//!   page once keeps everything: 240 MB for a log of 256 MB. `walk` touches more often: 45 MB.

mod answers;
mod backup;
mod batch;
mod codec;
mod committer;
mod compactor;
mod directory;
mod draft;
mod durable;
mod fatal;
mod fault;
mod figures;
mod flush;
mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod high_water;
mod holes;
mod hot;
pub mod index;
mod log;
mod manifest;
mod newest;
mod once;
mod outcome;
mod people;
mod pulse;
mod reader;
mod replay;
mod scan;
mod sealed;
pub mod segment;
mod shared;
mod space;
mod stage;
mod state;
mod stop;
mod tiers;
mod types;
mod verify;
mod walk;

pub use answers::{
    ATTRIBUTES_MAX, Answers, AttributeCount, Lag, VisitCount, VisitDistinct, VisitSketches,
};
pub use backup::{BackedUp, BackupError, RestoreError, check as check_backup, restore};
pub use batch::{BatchView, ENTRY_BYTES_MAX, EncodedBatch};
pub use committer::{
    Done, GROUP_BYTES_MAX, GROUP_RECORDS_MAX, GROUP_USERS_MAX, QUEUE_BYTES_MAX,
    QUEUE_SUBMISSIONS_MAX, SUBMISSION_BYTES_MAX, Waiting, Writer,
};
pub use compactor::{
    Compacted, ERASED_WITHIN, HOT_BYTES_MAX, Pace, Reindexed, Renewal, SEAL_AGE, SEAL_BYTES,
    Urgency,
};
pub use directory::{Directory, FORMAT_VERSION, SHARED_FORMAT_VERSION};
pub use draft::{Draft, Submission};
pub use figures::Figures;
pub use flush::Flush;
pub use follow::{OFFER_WAIT_MAX, Standing};
pub use index::{Count, DAY_MILLIS, HOUR_MILLIS, Sketch};
pub use log::{Kind, Log, Missing, Order, Selection, Step, Visit};
pub use newest::NEWEST_BYTES_MAX;
pub use outcome::{Outcome, Receipt, Refusal};
pub use reader::Sizes;
pub use scan::{Columns, Piece, Scan};
pub use shared::{
    Arrival, Belonging, Group, GroupId, LogId, Offer, Place, Position, Reply, SharedLog, Stamp,
    What,
};
pub use space::{BALLAST_BYTES, Size, Space};
pub use state::UserText;
pub use stop::Stop;
pub use verify::{Finding, Verified};

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::model::{AccountId, Accounts, Overrides, People, Seq};
use durable::Durable;
use fatal::Fatal;
use follow::Membership;
use high_water::HighWater;
use hot::Hot;
use newest::Newest;
use pulse::Pulse;
use tiers::Tiers;
use types::AllOverrides;

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
    #[error("{} was written by a newer triggerly (format {found}, this program knows {SHARED_FORMAT_VERSION}); run that version or a later one", dir.display())]
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
    /// There is no room to open it.
    #[error("the disk that holds {} is full ({free} free), and the store could not be opened: {why}; make room, then start again; nothing is lost", dir.display())]
    Full {
        /// Where.
        dir: PathBuf,
        /// How much is free.
        free: Size,
        /// What did not work.
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
    /// It was told to stop before it was done.
    #[error("it was told to stop before it was done; start it again")]
    Stopped,
    /// More would have to be read than whoever asks allows.
    #[error(
        "up to {rows} records would have to be read that no index answers for yet, and {rows_max} are the most \
         that one question reads; ask for less, or when they are indexed"
    )]
    TooMuch {
        /// How much.
        rows: u64,
        /// What is allowed.
        rows_max: u64,
    },
}

impl Error {
    /// A record of the log isn't as it was written.
    #[must_use]
    pub fn damaged_record(seq: Seq, why: &dyn Display) -> Error {
        Error::Damaged { place: format!("record {seq} of the log"), why: why.to_string() }
    }

    /// A user isn't as it was written.
    #[must_use]
    pub fn damaged_user(id: &str, why: &dyn Display) -> Error {
        Error::Damaged { place: format!("user {id:?}"), why: why.to_string() }
    }

    fn sled(doing: &'static str) -> impl Fn(sled::Error) -> Error {
        move |source| Error::Sled { doing, why: source.to_string() }
    }

    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { doing, path, source }
    }
}

/// An open store. Everything may read through it; [`Writer`] alone adds to it, and
/// [`Store::compact`] moves what is there.
pub struct Store {
    tiers: Arc<Tiers>,
    accounts: RwLock<Arc<Accounts>>,
    overrides: RwLock<Arc<AllOverrides>>,
    people: RwLock<Arc<People>>,
    /// The newest record that a flush has covered and that is merged.
    durable: Durable,
    pulse: Pulse,
    high_water: HighWater,
    failure: OnceLock<String>,
    /// Held while a group is written.
    committing: Mutex<()>,
    /// Held while something is compacted.
    compacting: Mutex<()>,
    /// Up to where the hot end's bytes aren't counted yet.
    uncounted: Mutex<Option<Seq>>,
    /// Whether what is sealed was looked through since the store was opened.
    looked_through: AtomicBool,
    /// When it was last tried to erase at rest.
    erasing_tried: Mutex<Option<Instant>>,
    /// Segments whose index couldn't be written, and when.
    indexing_failed: Mutex<BTreeMap<u64, Instant>>,
    /// What was seen when expired events were last looked for: the newest erasure, how far it was sealed.
    expired_looked_at: Mutex<(Seq, Seq)>,
    /// When the compactor was last told to begin, in milliseconds: keys that are old then are let go of.
    compacted_at: AtomicI64,
    /// Bytes of sled's file when it was last looked at whether that is too much.
    bloat_looked_at: AtomicU64,
    /// What is known of the hot end.
    newest: Newest,
    membership: Membership,
    fatal: Fatal,
    figures: Figures,
    space: Space,
    /// Last, so that nobody else has the lock while sled still has its files.
    directory: Directory,
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
        Store::prepare(directory, false)
    }

    /// As [`Store::open_in`], but the keyed state is emptied first and built anew from the log alone.
    /// A crash on the way is no harm: the next opening goes on with it.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn rebuild_in(directory: Directory) -> Result<Store, Error> {
        Store::prepare(directory, true)
    }

    /// sled may panic on a damaged file; a person deserves a sentence.
    fn prepare(directory: Directory, rebuild: bool) -> Result<Store, Error> {
        let place = directory.path().join("sled").display().to_string();
        let dir = directory.path().to_owned();
        catch_unwind(AssertUnwindSafe(|| Store::prepare_here(directory, rebuild)))
            .unwrap_or_else(|_| {
                Err(Error::Damaged { place, why: "sled can't make sense of it".to_owned() })
            })
            .map_err(|error| space::explain(&dir, error))
    }

    fn prepare_here(directory: Directory, rebuild: bool) -> Result<Store, Error> {
        let given_up = space::make_room_to_open(&directory)?;
        let path = directory.sled_path()?;
        let hot = Hot::open(&path)?;
        directory.sync()?;
        let segments = directory.make_segments_dir()?;
        let tiers = Arc::new(Tiers::open(hot, segments)?);
        let last_seq = tiers.next_seq() - 1;
        let store = Store {
            tiers,
            accounts: RwLock::default(),
            overrides: RwLock::default(),
            people: RwLock::default(),
            durable: Durable::default(),
            pulse: Pulse::default(),
            high_water: HighWater::open(directory.path())?,
            failure: OnceLock::new(),
            committing: Mutex::default(),
            compacting: Mutex::default(),
            uncounted: Mutex::new(Some(last_seq)),
            looked_through: AtomicBool::new(false),
            erasing_tried: Mutex::default(),
            indexing_failed: Mutex::default(),
            expired_looked_at: Mutex::default(),
            compacted_at: AtomicI64::new(i64::MIN),
            bloat_looked_at: AtomicU64::new(0),
            newest: Newest::default(),
            membership: Membership::default(),
            fatal: Fatal::default(),
            figures: Figures::default(),
            space: Space::open(directory.path(), given_up)?,
            directory,
        };
        let (tiers, view) = (&store.tiers, store.tiers.view());
        store.high_water.check(last_seq, view.position.step)?;
        // Only now is it known that what nobody knows of is of no use.
        store.directory.tidy(&|name| view.all().any(|sealed| sealed.has_file(name)))?;
        let hot = tiers.hot();
        let flush = || hot.flush().map_err(Error::io("sync", &path));
        let accounts = if rebuild {
            store.durable.reach(last_seq);
            store.rebuild(&Pace { go_on: &|| true })?;
            tiers.hot().state.accounts()?
        } else if hot.state.is_being_rebuilt()? {
            // A program of the first format was cut short at it, and there was nothing sealed then.
            hot.state.begin_rebuild(hot.as_ref())?;
            let accounts =
                replay::replay(tiers.as_ref(), tiers.as_ref(), &hot.state, hot.as_ref())?;
            flush()?;
            hot.state.end_rebuild()?;
            accounts
        } else {
            replay::replay(tiers.as_ref(), tiers.as_ref(), &hot.state, hot.as_ref())?
        };
        // What a crash left in the kernel's hands only may be shown from here on.
        flush()?;
        store.publish_overrides(Arc::new(hot.state.overrides()?));
        store.publish_people(Arc::new(hot.state.people()?));
        drop(hot);
        store.high_water.note(last_seq);
        store.high_water.sync();
        store.durable.reach(last_seq);
        store.publish(Arc::new(accounts));
        if store.belonging()?.is_some() {
            // It may have been put together from a backup.
            store.directory.share()?;
        }
        Ok(store)
    }

    /// The accounts as of now.
    #[must_use]
    pub fn accounts(&self) -> Arc<Accounts> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, accounts: Arc<Accounts>) {
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }

    /// The types that an account has set for its attributes, as of now.
    #[must_use]
    pub fn overrides(&self, account: AccountId) -> Arc<Overrides> {
        self.all_overrides().get(&account).cloned().unwrap_or_default()
    }

    fn all_overrides(&self) -> Arc<AllOverrides> {
        self.overrides.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish_overrides(&self, overrides: Arc<AllOverrides>) {
        *self.overrides.write().unwrap_or_else(PoisonError::into_inner) = overrides;
    }

    /// Who may sign in, the sessions and the links, as of now.
    #[must_use]
    pub fn people(&self) -> Arc<People> {
        self.people.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish_people(&self, people: Arc<People>) {
        *self.people.write().unwrap_or_else(PoisonError::into_inner) = people;
    }

    /// Why nothing more is accepted, if a write or flush has failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// What was committed since it was opened, in figures.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The room that the disk has left.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// How long the write that is under way has taken, if one is. More than moments means that the
    /// disk hangs.
    #[must_use]
    pub fn flushing_for(&self) -> Option<Duration> {
        self.pulse.age()
    }

    /// The position of the newest durable record; 0 while there is none.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.durable.get()
    }

    /// Waits until [`Store::last_seq`] is as far, or until then, and says whether it is. Whoever waits costs the
    /// committer a moment when it is.
    #[must_use]
    pub fn wait_for(&self, seq: Seq, until: Instant) -> bool {
        self.durable.wait_for(seq, until)
    }

    /// Where it lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// What makes everything that was written durable.
    #[must_use]
    pub fn flusher(&self) -> Box<dyn Flush> {
        Box::new(flush::HotFlush(Arc::clone(&self.tiers)))
    }

    fn committing(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
