//! The room that the disk has left: who may still write, and what is kept for opening again.
//!
//! Knows the file system that the data directory lies on; must not know sled, the log or who asks.
//!
//! # What it promises
//! - While less than the reserve is free, tracking is refused before anything of it is written.
//!   What administers or takes out still goes through, as long as it fits.
//! - A store on a disk that is full, or that others have filled to the last byte, can be opened
//!   again: `DIR/ballast` holds blocks that are given up for it and taken again when there is room.
//!
//! # What was measured of sled 0.34.7, and what follows
//! - Opening overwrites the rest of the last segment ([`SLED_SEGMENT_BYTES`]) and any segment that a
//!   crash has torn, which takes blocks the first time, and writes a snapshot of its page table:
//!   [`BALLAST_BYTES`]. In 40 rounds of kill -9 under load it took up to 7.7 MiB.
//! - A snapshot that it could not finish is read by the next opening all the same, which then takes
//!   the store for damaged. So what is unfinished is removed first; the one before it is still there
//!   and whole, since sled removes that only behind the rename.
//! - Every tenth time that a page is written to it is written whole: a group of 64 KiB of events took up to
//!   1.2 MiB and 150 KiB on average, 5 users of 60 KiB up to 6.6 MiB: [`WEIGHT`]. A single submission
//!   with small updates of many large users takes more than its weight (64 of 60 KiB: up to 15 MiB);
//!   the reserve is for that. Of more than 64 users what they become is weighed too, by a quarter: it is
//!   written in pieces with a flush behind each (1,000 of 64 KiB: 8 to 90 MiB).
//! - Looking costs 1 µs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::committer::GROUP_BYTES_MAX;
use super::hot::SLED_SEGMENT_BYTES;
use super::outcome::Refusal;
use super::{Directory, Error};
use crate::config::RESERVE_BYTES_MIN;
use crate::model::limits::OBJECT_BYTES_MAX;

/// Bytes kept for opening: the rest of a segment, a torn one, and the snapshot.
pub const BALLAST_BYTES: u64 = 2 * SLED_SEGMENT_BYTES as u64 + 4 * MIB;

/// Bytes that stay free of whatever is written: a page and what belongs to it.
const FLOOR_BYTES: u64 = 2 * MIB;

/// What a byte that is handed over may become on disk at once: the page that it is in has up to 19
/// entries, and is written whole now and then.
const WEIGHT: u64 = 19;

/// With less, whatever has failed has failed for that.
const EXHAUSTED_BYTES: u64 = MIB;

const MIB: u64 = 1024 * 1024;

const _: () = {
    // What a group may write when the reserve is reached fits into it: a group of the largest events.
    assert!(GROUP_BYTES_MAX as u64 * WEIGHT + FLOOR_BYTES < RESERVE_BYTES_MIN);
    // And the largest object by itself.
    assert!(OBJECT_BYTES_MAX as u64 * WEIGHT + FLOOR_BYTES < RESERVE_BYTES_MIN);
};

const BALLAST: &str = "ballast";

/// How an unfinished snapshot of sled's ends.
const UNFINISHED: &str = ".generating";

/// The room of one data directory.
pub struct Space {
    path: PathBuf,
    /// Of the directory, so that a path that is moved away makes no difference.
    file: File,
    /// 0: nobody looks.
    reserve: AtomicU64,
    low: AtomicBool,
    holds_ballast: AtomicBool,
    /// Bytes that the ballast has.
    ballast: AtomicU64,
    /// The ballast was given up when the store was opened.
    given_up: bool,
}

/// Whose room it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// What makes the log grow.
    Tracking,
    /// What administers or takes out.
    Control,
}

/// The room as a group found it.
#[derive(Clone, Copy)]
pub(super) struct Room {
    free: u64,
    wanted: u64,
    low: bool,
}

/// Makes room for opening the store in a directory if there is too little, and takes away what an
/// opening that failed has left. Whether the ballast went for it.
pub(super) fn make_room_to_open(directory: &Directory) -> Result<bool, Error> {
    remove_unfinished(&directory.sled_path()?)?;
    let path = directory.path();
    let ballast = path.join(BALLAST);
    let free = File::open(path).map(|dir| free_bytes(&dir)).unwrap_or(u64::MAX);
    if free >= BALLAST_BYTES || !ballast.exists() {
        return Ok(false);
    }
    fs::remove_file(&ballast).map_err(Error::io("remove", ballast))?;
    log::info!("{} are free; the ballast was given up to open the store", Size(free));
    Ok(true)
}

fn remove_unfinished(sled: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(sled) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::io("read", sled)(source)),
    };
    for entry in entries {
        let path = entry.map_err(Error::io("read", sled))?.path();
        let is_unfinished = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("snap.") && name.ends_with(UNFINISHED));
        if is_unfinished {
            fs::remove_file(&path).map_err(Error::io("remove", path))?;
        }
    }
    Ok(())
}

/// What an error of the store in `dir` comes from, if that is a full disk.
pub(super) fn explain(dir: &Path, error: Error) -> Error {
    let already = matches!(error, Error::Full { .. } | Error::Locked(_) | Error::Missing(_));
    let free = File::open(dir).map(|dir| free_bytes(&dir)).unwrap_or(u64::MAX);
    let why = error.to_string();
    if already || !(free < EXHAUSTED_BYTES || tells_of_full_disk(&why)) {
        return error;
    }
    Error::Full { dir: dir.to_owned(), free: Size(free), why }
}

/// Whether a text that sled or the system gave says that a disk or a quota is full. sled keeps the
/// kind of an error only in its text.
fn tells_of_full_disk(text: &str) -> bool {
    ["StorageFull", "QuotaExceeded", "No space left", "quota exceeded"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// Bytes that this user may still write where `file` lies. What can't be said is no reason to refuse.
fn free_bytes(file: &File) -> u64 {
    fstatvfs(file).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Space {
    /// The room of a directory; nothing is kept free yet.
    pub(super) fn open(dir: &Path, given_up: bool) -> Result<Space, Error> {
        let path = dir.join(BALLAST);
        let file = File::open(dir).map_err(Error::io("open", dir))?;
        let ballast = AtomicU64::new(fs::metadata(&path).map_or(0, |meta| meta.blocks() * 512));
        Ok(Space {
            path,
            file,
            reserve: AtomicU64::new(0),
            low: AtomicBool::new(false),
            holds_ballast: AtomicBool::new(false),
            ballast,
            given_up,
        })
    }

    /// Keeps so much free from now on; 0 keeps nothing.
    pub fn keep_free(&self, reserve_bytes: u64) {
        self.reserve.store(reserve_bytes, SeqCst);
    }

    /// Bytes that are to stay free; 0 if nobody looks.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve.load(SeqCst)
    }

    /// Has a ballast for as long as something is kept free, and none if not. For who runs long.
    pub fn hold_ballast(&self) {
        self.holds_ballast.store(true, SeqCst);
        if self.reserve.load(SeqCst) == 0 && fs::remove_file(&self.path).is_ok() {
            self.ballast.store(0, SeqCst);
        }
        self.tend();
    }

    /// Bytes that can be written where the store lies, the reserve included.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        free_bytes(&self.file)
    }

    /// Whether tracking is refused for now, for want of room.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.room().low
    }

    /// Why tracking is refused for now, if it is.
    #[must_use]
    pub fn shortage(&self) -> Option<String> {
        let room = self.room();
        room.low.then(|| room.refusal().to_string())
    }

    /// Whether so many bytes can be written without using up what control needs. For whoever
    /// makes room by writing first, and may use the reserve for it.
    #[must_use]
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let room = self.room();
        room.wanted == 0 || room.free >= bytes.saturating_add(FLOOR_BYTES)
    }

    /// Looks how much is free, and says so in the log when that has changed what is accepted.
    pub(super) fn room(&self) -> Room {
        let reserve = self.reserve.load(SeqCst);
        if reserve == 0 {
            return Room { free: u64::MAX, wanted: 0, low: false };
        }
        let free = self.free_bytes();
        // What the ballast lacks is wanted beside the reserve, so that it comes first.
        let lacking = match self.holds_ballast.load(SeqCst) {
            true => BALLAST_BYTES.saturating_sub(self.ballast.load(SeqCst)),
            false => 0,
        };
        let was = self.low.load(SeqCst);
        // A little more to begin again, so that it isn't said at every other call.
        let wanted = reserve + lacking + if was { reserve / 16 } else { 0 };
        let low = free < wanted;
        let told = low != was && self.low.compare_exchange(was, low, SeqCst, SeqCst).is_ok();
        let room = Room { free, wanted, low };
        match (told, low) {
            (true, true) => log::warn!("{}; until then tracking is refused", room.refusal()),
            (true, false) => log::info!("{} are free again; tracking is accepted", Size(free)),
            _ => {}
        }
        room
    }

    /// Makes the ballast, or more of it, where there is room. To be called now and then.
    pub(super) fn tend(&self) {
        let reserve = self.reserve.load(SeqCst);
        // What opening was given is given back first; the reserve can come later.
        let left = if self.given_up { reserve.min(RESERVE_BYTES_MIN) } else { reserve };
        if reserve > 0 {
            let _ = self.room();
            if self.given_up || self.holds_ballast.load(SeqCst) {
                self.grow_ballast(left);
            }
        }
    }

    /// Keeps for the next opening what this one was given. To be called when no more is written.
    pub(super) fn leave(&self) {
        if self.given_up {
            // Where blocks are counted in other ways than bytes, the last of them can't be had.
            self.grow_ballast(MIB);
        }
    }

    /// Takes what is free, but for so many bytes, as far as the ballast lacks it.
    fn grow_ballast(&self, left: u64) {
        let held = self.ballast.load(SeqCst);
        let more =
            self.free_bytes().saturating_sub(left).min(BALLAST_BYTES.saturating_sub(held)) / MIB;
        if more == 0 {
            return;
        }
        match allocate(&self.path, held + more * MIB) {
            Ok(()) => self.ballast.store(held + more * MIB, SeqCst),
            Err(error) => {
                // It is tried again, and what this try has taken is not to be missing elsewhere.
                let _ = fs::remove_file(&self.path);
                self.ballast.store(0, SeqCst);
                log::debug!("can't make {}: {error}", self.path.display());
            }
        }
    }

    /// What a failure of the store comes from, if that is a full disk.
    pub(super) fn explain(&self, why: &str) -> Option<String> {
        let free = self.free_bytes();
        (free < EXHAUSTED_BYTES || tells_of_full_disk(why)).then(|| {
            let dir = self.path.parent().unwrap_or(&self.path).display();
            format!(
                "the disk that holds {dir} is full ({} free): {why}; make room, then start again; \
                 what was acknowledged is safe",
                Size(free)
            )
        })
    }

    /// Whether what is under way can only fail.
    pub(super) fn is_exhausted(&self) -> bool {
        self.free_bytes() < EXHAUSTED_BYTES
    }
}

/// Gives a file so many bytes of real blocks.
fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // A file system that knows no such thing; and one that may squeeze what is all alike.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let mut noise = vec![0; MIB as usize];
            getrandom::fill(&mut noise).map_err(|error| io::Error::other(error.to_string()))?;
            for _ in 0..bytes / MIB {
                file.write_all(&noise)?;
            }
            file.sync_all()
        }
        Err(error) => Err(error.into()),
    }
}

impl Room {
    /// Whether so many bytes may be written besides what was admitted before.
    pub fn admit(&self, claim: Claim, bytes: u64) -> Result<(), Refusal> {
        let most = bytes.saturating_mul(WEIGHT).saturating_add(FLOOR_BYTES);
        if claim == Claim::Tracking && self.low {
            Err(self.refusal())
        } else if self.wanted > 0 && most > self.free {
            Err(Refusal::Full { free: Size(self.free), wanted: Size(most) })
        } else {
            Ok(())
        }
    }

    fn refusal(&self) -> Refusal {
        Refusal::Full { free: Size(self.free), wanted: Size(self.wanted) }
    }
}

/// Bytes, shown for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            u64::MAX => write!(f, "an unknown number of bytes"),
            bytes if bytes < 10 * MIB => write!(f, "{} KiB", bytes / 1024),
            bytes => write!(f, "{} MiB", bytes / MIB),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn room(free: u64, reserve: u64) -> Room {
        Room { free, wanted: reserve, low: free < reserve }
    }

    #[test]
    fn who_may_write_how_much() {
        use Claim::{Control, Tracking};
        for (free, reserve, claim, bytes, admitted) in [
            (8 * MIB, 8 * MIB, Tracking, 100, true),
            (8 * MIB, 8 * MIB, Tracking, GROUP_BYTES_MAX as u64, true),
            (8 * MIB, 8 * MIB, Tracking, MIB, false),
            (32 * MIB, 8 * MIB, Tracking, MIB, true),
            (8 * MIB - 1, 8 * MIB, Tracking, 100, false),
            (8 * MIB - 1, 8 * MIB, Control, 100, true),
            (3 * MIB, 8 * MIB, Control, 100, true),
            (MIB, 8 * MIB, Control, 100, false),
            (0, 8 * MIB, Control, 0, false),
            (u64::MAX, 8 * MIB, Tracking, u64::MAX, true),
            // Nobody looks.
            (0, 0, Tracking, 100, true),
        ] {
            let found = room(free, reserve).admit(claim, bytes);
            assert_eq!(found.is_ok(), admitted, "{free} {reserve} {claim:?} {bytes}: {found:?}");
        }
        let refusal = room(3 * MIB, 64 * MIB).admit(Tracking, 1).expect_err("too little");
        let sentence = "the disk is too full: 3072 KiB free, 64 MiB wanted";
        assert!(refusal.to_string().starts_with(sentence), "{refusal}");
    }

    #[test]
    fn a_reserve_beyond_the_disk_is_a_shortage_until_it_is_lowered() {
        let dir = TempDir::new().unwrap();
        let space = Space::open(dir.path(), false).unwrap();
        assert!(!space.is_low() && space.has_room_for(u64::MAX), "nobody looks");
        space.keep_free(1 << 60);
        assert!(space.is_low() && !space.has_room_for(1 << 60));
        assert!(space.shortage().is_some_and(|why| why.contains(" MiB wanted")));
        assert!(space.has_room_for(1), "what makes room may use the reserve");
        space.keep_free(RESERVE_BYTES_MIN);
        assert_eq!(space.shortage(), None);
    }

    #[test]
    fn the_ballast_has_blocks_and_goes_with_the_reserve() {
        let dir = TempDir::new().unwrap();
        let blocks =
            || fs::metadata(dir.path().join(BALLAST)).map_or(0, |meta| meta.blocks() * 512);
        let space = Space::open(dir.path(), false).unwrap();
        space.keep_free(RESERVE_BYTES_MIN);
        space.tend();
        assert_eq!(blocks(), 0, "a command holds none");
        space.hold_ballast();
        assert!(blocks() >= BALLAST_BYTES);
        let again = Space::open(dir.path(), false).unwrap();
        again.keep_free(0);
        again.hold_ballast();
        assert_eq!(blocks(), 0);
        // Where there is no room beside the reserve, none is made.
        again.keep_free(1 << 60);
        again.tend();
        assert_eq!(blocks(), 0);
    }

    #[test]
    fn what_was_given_up_is_kept_again() {
        let dir = TempDir::new().unwrap();
        let space = Space::open(dir.path(), true).unwrap();
        space.keep_free(1 << 60);
        space.leave();
        assert!(dir.path().join(BALLAST).exists());
    }

    #[test]
    fn errors_of_a_full_disk_are_told_from_others() {
        let dir = TempDir::new().unwrap();
        let sled = |why: &str| Error::Sled { doing: "write", why: why.to_owned() };
        let full = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
        for (error, is_full) in [
            (Error::io("write", "x")(full), true),
            (sled("IO error: Custom { kind: StorageFull, error: \"…\" }"), true),
            (sled("IO error: Custom { kind: QuotaExceeded, error: \"…\" }"), true),
            (sled("IO error: Input/output error"), false),
            (Error::Missing("x".into()), false),
        ] {
            let shown = error.to_string();
            let explained = explain(dir.path(), error);
            assert_eq!(matches!(explained, Error::Full { .. }), is_full, "{shown}");
            assert!(explained.to_string().contains(&shown));
        }
    }
}
