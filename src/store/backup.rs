//! Backup and restore: the whole log, as it is at one `seq`, in one stream.
//!
//! ```text
//! "triggerly backup 1\n"
//! section*   kind (1) · length (8, little-endian) · so many bytes · CRC-32 of all that (4)
//!   H        the last `seq` · how many segments · their bytes, for who shows progress
//!   M        an entry of the manifest: length of the key · key · value
//!   B        a batch of the hot end: first seq (8, big-endian) · batch
//!   S        a segment: length of its name · name · file
//!   E        the end: SHA-256 of everything before
//! ```
//! The keyed state isn't in it: it follows from the log, and is built from it in restoring. Neither are
//! indexes, which are built behind everything else once the restored store is open. Segments
//! are taken as they lie, and stay until they are read, however they are merged meanwhile; the hot end
//! is put aside first, so that a reader who takes his time holds nobody up. In memory there is never
//! more than one entry, or a piece of a file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use sha2::{Digest, Sha256};

use super::batch::BatchView;
use super::directory::Directory;
use super::hot::Hot;
use super::log::Order;
use super::manifest::{self, Sealed, View};
use super::{Error, Store};
use crate::model::Seq;

const MAGIC: &[u8] = b"triggerly backup 1\n";

/// What every version begins with.
const MAGIC_OF_ALL: &[u8] = b"triggerly backup ";

const HEAD: u8 = b'H';
const ENTRY: u8 = b'M';
const BATCH: u8 = b'B';
const SEGMENT: u8 = b'S';
const END: u8 = b'E';

/// Bytes of a section that is held in memory; segments aren't.
const SECTION_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a segment's name.
const NAME_BYTES_MAX: usize = 128;

const PIECE_BYTES: usize = 256 * 1024;

/// Bytes that are written to sled between two flushes.
const FLUSH_BYTES: usize = 4 * 1024 * 1024;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The last record in it.
    pub last_seq: Seq,
    /// Segments.
    pub segments: u64,
    /// Bytes in all.
    pub bytes: u64,
}

/// Why a backup could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It isn't one, or not one of ours.
    #[error("this is no backup of triggerly's{0}")]
    Unknown(&'static str),
    /// It isn't as it was written.
    #[error("the backup is cut short or was altered ({0}); nothing was restored, take another one")]
    Altered(String),
    /// There is something already.
    #[error("{} isn't empty; restore into a new directory, then put it in the place of the old one", .0.display())]
    NotEmpty(PathBuf),
    /// It can't be read.
    #[error("can't read the backup: {0}")]
    Read(io::Error),
    /// It can't be written.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why a backup could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// The output can't be written.
    #[error("can't write the backup: {0}")]
    Output(#[from] io::Error),
}

/// Writes sections, and keeps count and hash of what was written.
struct Sections<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl<W: Write> Sections<W> {
    fn new(out: W) -> io::Result<Sections<W>> {
        let mut sections =
            Sections { out, hash: Sha256::new(), bytes: 0, crc: crc32fast::Hasher::new() };
        sections.put(MAGIC)?;
        Ok(sections)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self, kind: u8, bytes: u64) -> io::Result<()> {
        self.crc = crc32fast::Hasher::new();
        self.put(&[kind])?;
        self.put(&bytes.to_le_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        let crc = self.crc.clone().finalize();
        self.put(&crc.to_le_bytes())
    }

    fn section(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        self.begin(kind, parts.iter().map(|part| part.len() as u64).sum())?;
        parts.iter().try_for_each(|part| self.put(part))?;
        self.end()
    }

    fn finish(mut self) -> io::Result<u64> {
        let hash = self.hash.clone().finalize();
        self.section(END, &[&hash])?;
        self.out.flush()?;
        Ok(self.bytes)
    }
}

/// The store as it is at one `seq`.
struct Snapshot {
    last_seq: Seq,
    view: Arc<View>,
    entries: Vec<manifest::Entry>,
    /// The hot end's batches as sections, and where they end.
    spool: File,
}

impl Store {
    /// Writes everything as it is now to `out`, while calls are taken.
    ///
    /// # Errors
    /// [`BackupError`]; what was written by then is no backup.
    pub fn backup(&self, out: &mut dyn Write) -> Result<BackedUp, BackupError> {
        let Snapshot { last_seq, view, entries, mut spool } = self.snapshot()?;
        let mut out = Sections::new(BufWriter::with_capacity(PIECE_BYTES, out))?;
        let segments = view.all().count() as u64;
        let segment_bytes: u64 = view.all().map(|sealed| sealed.summary.bytes).sum();
        let head = [last_seq, segments, segment_bytes].map(u64::to_le_bytes).concat();
        out.section(HEAD, &[&head])?;
        for (key, value) in entries {
            out.section(ENTRY, &[&[key.len() as u8], &key, &value])?;
        }
        spool.rewind()?;
        let mut spool = BufReader::with_capacity(PIECE_BYTES, spool);
        let mut length = [0; 4];
        while spool.read(&mut length[..1])? == 1 {
            spool.read_exact(&mut length[1..])?;
            let mut batch = vec![0; u32::from_le_bytes(length) as usize];
            spool.read_exact(&mut batch)?;
            out.section(BATCH, &[&batch])?;
        }
        for sealed in view.all() {
            self.put_segment(sealed, &mut out)?;
        }
        let bytes = out.finish()?;
        Ok(BackedUp { last_seq, segments, bytes })
    }

    fn snapshot(&self) -> Result<Snapshot, BackupError> {
        // Nothing is moved meanwhile; calls wait for no longer than it takes to read a few keys.
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let hot = self.tiers.hot();
        let (last_seq, view, mut entries) = {
            let _committing = self.committing();
            (self.last_seq(), self.tiers.view(), manifest::committed_entries(&hot.manifest)?)
        };
        entries.extend(manifest::other_entries(&hot.manifest)?);
        let path = self.dir().join("backup.new");
        let spooled = |source| BackupError::Store(Error::io("write", &path)(source));
        let spool = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let spool = spool.map_err(spooled)?;
        fs::remove_file(&path).map_err(spooled)?;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, &spool);
        let from = view.position.sealed_through + 1;
        let mut written = Ok(());
        if from <= last_seq {
            self.tiers.hot_batches(from..=last_seq, Order::Ascending, &mut |batch, _| {
                let first_seq = batch.first_seq().to_be_bytes();
                let value = hot.log.get(first_seq).map_err(Error::sled("read the log"))?;
                let value = value.unwrap_or_default();
                written = out
                    .write_all(&(8 + value.len() as u32).to_le_bytes())
                    .and_then(|()| out.write_all(&first_seq))
                    .and_then(|()| out.write_all(&value));
                Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
        }
        written.and_then(|()| out.flush()).map_err(spooled)?;
        drop(out);
        Ok(Snapshot { last_seq, view, entries, spool })
    }

    fn put_segment<W: Write>(
        &self,
        sealed: &Sealed,
        out: &mut Sections<W>,
    ) -> Result<(), BackupError> {
        let name = sealed.name();
        let damaged = |why: &str| {
            self.tiers.note_damage(name.clone(), why);
            let place = format!("segments/{name}");
            BackupError::Store(Error::Damaged { place, why: why.to_owned() })
        };
        let mut file = File::open(&sealed.path).map_err(|error| damaged(&error.to_string()))?;
        out.begin(SEGMENT, 1 + name.len() as u64 + sealed.summary.bytes)?;
        out.put(&[name.len() as u8])?;
        out.put(name.as_bytes())?;
        let mut crc = crc32fast::Hasher::new();
        let (mut left, mut piece) = (sealed.summary.bytes, vec![0; PIECE_BYTES]);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let read =
                file.read_exact(&mut piece[..wanted]).map_err(|error| damaged(&error.to_string()));
            read?;
            crc.update(&piece[..wanted]);
            out.put(&piece[..wanted])?;
            left -= wanted as u64;
        }
        if crc.finalize() != sealed.summary.crc {
            return Err(damaged("its checksum doesn't match"));
        }
        out.end()?;
        Ok(())
    }
}

/// Reads sections and checks them.
struct Reading<R> {
    input: R,
    hash: Sha256,
    crc: crc32fast::Hasher,
}

impl<R: Read> Reading<R> {
    fn new(mut input: R) -> Result<Reading<R>, RestoreError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Ok(()) if magic.starts_with(MAGIC_OF_ALL) => {
                return Err(RestoreError::Unknown(", or was made by a newer version of it"));
            }
            Ok(()) => return Err(RestoreError::Unknown("")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(RestoreError::Unknown(": it is too short"));
            }
            Err(error) => return Err(RestoreError::Read(error)),
        }
        let mut hash = Sha256::new();
        hash.update(magic);
        Ok(Reading { input, hash, crc: crc32fast::Hasher::new() })
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), RestoreError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => altered("it ends too early"),
            _ => RestoreError::Read(error),
        })?;
        self.hash.update(&*bytes);
        self.crc.update(bytes);
        Ok(())
    }

    /// The next section's kind and length, and the hash of all before it.
    fn begin(&mut self) -> Result<(u8, u64, [u8; 32]), RestoreError> {
        let before = self.hash.clone().finalize().into();
        self.crc = crc32fast::Hasher::new();
        let mut head = [0; 9];
        self.take(&mut head)?;
        let [kind, length @ ..] = head;
        Ok((kind, u64::from_le_bytes(length), before))
    }

    fn end(&mut self) -> Result<(), RestoreError> {
        let expected = self.crc.clone().finalize();
        let mut crc = [0; 4];
        self.take(&mut crc)?;
        if u32::from_le_bytes(crc) != expected {
            return Err(altered("a checksum doesn't match"));
        }
        Ok(())
    }

    /// A section that is small.
    fn small(&mut self, length: u64) -> Result<Vec<u8>, RestoreError> {
        if length > SECTION_BYTES_MAX {
            return Err(altered("a section is too long"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.take(&mut bytes)?;
        self.end()?;
        Ok(bytes)
    }

    /// Nothing may follow.
    fn finish(mut self) -> Result<(), RestoreError> {
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(altered("something follows its end")),
            Err(error) => Err(RestoreError::Read(error)),
        }
    }
}

fn altered(why: &str) -> RestoreError {
    RestoreError::Altered(why.to_owned())
}

/// What is done with the parts of a backup.
trait Sink {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError>;
    fn batch(&mut self, first_seq: [u8; 8], batch: &[u8]) -> Result<(), RestoreError>;
    fn segment(&mut self, name: &str) -> Result<(), RestoreError>;
    fn piece(&mut self, bytes: &[u8]) -> Result<(), RestoreError>;
    fn segment_end(&mut self) -> Result<(), RestoreError>;
}

/// Reads a whole backup into `sink`; says what it holds.
fn read(input: impl Read, sink: &mut dyn Sink) -> Result<BackedUp, RestoreError> {
    let mut reading = Reading::new(BufReader::with_capacity(PIECE_BYTES, input))?;
    let (mut head, mut segments, mut total) = (None, 0, MAGIC.len() as u64);
    loop {
        let (kind, length, before) = reading.begin()?;
        total = total.saturating_add(length).saturating_add(13);
        match kind {
            HEAD if head.is_none() => {
                let bytes = reading.small(length)?;
                let last_seq = bytes.first_chunk().copied().map(u64::from_le_bytes);
                let wanted = bytes.get(8..16).and_then(|bytes| bytes.try_into().ok());
                head = last_seq.zip(wanted.map(u64::from_le_bytes));
                if head.is_none() || bytes.len() != 24 {
                    return Err(altered("its head is odd"));
                }
            }
            _ if head.is_none() => return Err(altered("its head is missing")),
            ENTRY => {
                let bytes = reading.small(length)?;
                let entry = bytes
                    .split_first()
                    .and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)));
                let (key, value) = entry.ok_or_else(|| altered("an entry is odd"))?;
                sink.entry(key, value)?;
            }
            BATCH => {
                let bytes = reading.small(length)?;
                let parts = bytes.split_first_chunk::<8>();
                let (first_seq, batch) = parts.ok_or_else(|| altered("a batch is odd"))?;
                sink.batch(*first_seq, batch)?;
            }
            SEGMENT => {
                segments += 1;
                segment(&mut reading, length, sink)?;
            }
            END => {
                let hash = reading.small(length)?;
                if hash != before {
                    return Err(altered("its digest doesn't match"));
                }
                reading.finish()?;
                return match head {
                    Some((last_seq, wanted)) if wanted == segments => {
                        Ok(BackedUp { last_seq, segments, bytes: total })
                    }
                    _ => Err(altered("segments are missing")),
                };
            }
            _ => return Err(altered("a section is of an unknown kind")),
        }
    }
}

fn segment<R: Read>(
    reading: &mut Reading<R>,
    length: u64,
    sink: &mut dyn Sink,
) -> Result<(), RestoreError> {
    let mut name_bytes = [0];
    reading.take(&mut name_bytes)?;
    let name_bytes = usize::from(name_bytes[0]);
    let mut name = vec![0; name_bytes];
    reading.take(&mut name)?;
    let name = String::from_utf8(name).map_err(|_| altered("a segment's name is odd"))?;
    // It becomes a path.
    if name_bytes > NAME_BYTES_MAX || !super::directory::is_segment_name(&name) {
        return Err(altered("a segment's name is odd"));
    }
    let left = length.checked_sub(1 + name_bytes as u64);
    let mut left = left.ok_or_else(|| altered("a segment is odd"))?;
    sink.segment(&name)?;
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        reading.take(&mut piece[..wanted])?;
        sink.piece(&piece[..wanted])?;
        left -= wanted as u64;
    }
    reading.end()?;
    sink.segment_end()
}

/// Only looks.
struct Check;

impl Sink for Check {
    fn entry(&mut self, _: &[u8], _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
    fn batch(&mut self, first_seq: [u8; 8], batch: &[u8]) -> Result<(), RestoreError> {
        let decoded = BatchView::decode(Seq::from_be_bytes(first_seq), batch);
        decoded.map(drop).map_err(|error| altered(error.0))
    }
    fn segment(&mut self, _: &str) -> Result<(), RestoreError> {
        Ok(())
    }
    fn piece(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
    fn segment_end(&mut self) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// Puts everything where it belongs.
struct Restore {
    hot: Hot,
    segments_dir: PathBuf,
    file: Option<(PathBuf, File)>,
    unflushed: usize,
}

impl Restore {
    fn wrote(&mut self, bytes: usize) -> Result<(), RestoreError> {
        self.unflushed += bytes;
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            self.hot.flush().map_err(Error::io("sync", self.hot.path()))?;
        }
        Ok(())
    }
}

impl Sink for Restore {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        self.hot.manifest.insert(key, value).map_err(Error::sled("write the manifest"))?;
        self.wrote(key.len() + value.len())
    }

    fn batch(&mut self, first_seq: [u8; 8], batch: &[u8]) -> Result<(), RestoreError> {
        Check.batch(first_seq, batch)?;
        self.hot.log.insert(first_seq, batch).map_err(Error::sled("write the log"))?;
        self.wrote(batch.len())
    }

    fn segment(&mut self, name: &str) -> Result<(), RestoreError> {
        let path = self.segments_dir.join(name);
        let file = File::create_new(&path).map_err(Error::io("make", &path))?;
        self.file = Some((path, file));
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        match &mut self.file {
            Some((path, file)) => Ok(file.write_all(bytes).map_err(Error::io("write", &*path))?),
            None => Ok(()),
        }
    }

    fn segment_end(&mut self) -> Result<(), RestoreError> {
        match self.file.take() {
            Some((path, file)) => Ok(file.sync_all().map_err(Error::io("sync", path))?),
            None => Ok(()),
        }
    }
}

/// Checks a backup without writing anything.
///
/// # Errors
/// [`RestoreError`] says what is wrong with it.
pub fn check(input: impl Read) -> Result<BackedUp, RestoreError> {
    read(input, &mut Check)
}

/// Makes a store in `dir`, which has to be empty or not there yet, from a backup. What comes from a
/// file should be checked first ([`check`]); in any case there is no store until all of it was read
/// and found whole.
///
/// # Errors
/// [`RestoreError`]; what was written by then is removed.
pub fn restore(dir: &Path, input: impl Read) -> Result<BackedUp, RestoreError> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RestoreError::NotEmpty(dir.to_owned()));
    }
    let directory = Directory::lock_unfinished(dir)?;
    let restored = restore_in(directory, input);
    if restored.is_err() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            if let Err(error) = removed {
                log::warn!("can't remove {}: {error}", path.display());
            }
        }
    }
    restored
}

fn restore_in(directory: Directory, input: impl Read) -> Result<BackedUp, RestoreError> {
    let segments_dir = directory.make_segments_dir()?;
    let hot = Hot::open(&directory.sled_path()?)?;
    let mut sink = Restore { hot, segments_dir, file: None, unflushed: 0 };
    let held = read(input, &mut sink)?;
    sink.hot.flush().map_err(Error::io("sync", sink.hot.path()))?;
    let view = manifest::load(&sink.hot.manifest, &sink.segments_dir)?;
    for sealed in view.all() {
        let there = fs::metadata(&sealed.path).is_ok_and(|meta| meta.len() == sealed.summary.bytes);
        if !there {
            return Err(altered("a segment is missing"));
        }
    }
    drop((view, sink));
    let store = Store::rebuild_in(directory)?;
    if store.last_seq() != held.last_seq {
        return Err(altered("records are missing at its end"));
    }
    store.directory.finish()?;
    Ok(held)
}
