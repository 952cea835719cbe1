//! Writing segments: a new file, and new ones in place of old.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::indexing::{fresh_index, write_index};
use super::{Done, Error, Pace, Store};
use crate::model::{AccountId, Date, Erasures, Record, Seq};
use crate::store::holes::Holes;
use crate::store::index;
use crate::store::manifest::Sealed;
use crate::store::once;
use crate::store::segment::{Effort, Segment, SegmentError, SegmentWriter, Summary};

/// Rows from which on a segment is large enough to stay as it is for long.
const THOROUGH_ROWS: u64 = 500_000;

/// Bytes after which a file's are handed to the disk, so that the last sync has little to do and
/// nobody else's sync waits for it.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;

/// A segment that is being written, under a name that isn't a segment's, and its index. Removed if it is
/// dropped.
pub(super) struct Output {
    /// Gone when it is finished.
    writer: Option<SegmentWriter<BufWriter<Syncing>>>,
    /// Gone when it is finished, or took too much memory.
    index: Option<index::Builder>,
    number: u64,
    fresh: PathBuf,
    dir: PathBuf,
}

/// A file that syncs as it grows.
pub(super) struct Syncing {
    file: File,
    unsynced: u64,
}

impl Syncing {
    pub fn new(file: File) -> Syncing {
        Syncing { file, unsynced: 0 }
    }

    /// All of it is on disk.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Write for Syncing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written as u64;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output {
    /// Adds a row; `true` when a good moment for a pause has come.
    pub fn put(&mut self, seq: Seq, record: &Record<'_>) -> Result<bool, Error> {
        let Some(writer) = &mut self.writer else { return Ok(false) };
        let full = writer.put(seq, record).map_err(|error| failed(error, &self.fresh))?;
        if let Some(index) = &mut self.index {
            index.put(record);
            if full {
                index.end_group();
            }
        }
        Ok(full)
    }

    /// Bytes of memory that its index takes meanwhile, about.
    pub fn index_memory(&self) -> usize {
        self.index.as_ref().map_or(0, index::Builder::memory)
    }

    /// Leaves the index to be built behind everything else.
    pub fn drop_index(&mut self) {
        self.index = None;
    }

    /// Makes it durable under its name, and its index, if that can be written.
    pub fn finish(mut self) -> Result<Sealed, Error> {
        let finish = |writer: SegmentWriter<BufWriter<Syncing>>| -> Result<Summary, SegmentError> {
            let (out, summary) = writer.finish()?;
            let synced =
                out.into_inner().map_err(io::IntoInnerError::into_error).and_then(Syncing::finish);
            synced.map(|()| summary).map_err(|source| SegmentError::Io {
                doing: "sync",
                place: self.fresh.display().to_string(),
                source,
            })
        };
        let Some(writer) = self.writer.take() else {
            return Err(Error::io("finish", &self.fresh)(io::ErrorKind::NotFound.into()));
        };
        let summary = finish(writer).map_err(|error| failed(error, &self.fresh))?;
        let sealed = Sealed::new(self.number, summary, None, &self.dir);
        match self.index.take().map(|index| write_index(index, &sealed)) {
            None => {}
            Some(Ok(index)) => sealed.set_index(Some(index)),
            // What is sealed has to become a segment all the same; its index is built behind everything else.
            Some(Err(error)) => {
                log::warn!("segments/{} is left without an index: {error}", sealed.name())
            }
        }
        fs::rename(&self.fresh, &sealed.path).map_err(Error::io("rename", &self.fresh))?;
        Ok(sealed)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Renamed, it is no longer there under this name.
        let _ = fs::remove_file(&self.fresh);
    }
}

pub(super) fn failed(error: SegmentError, path: &std::path::Path) -> Error {
    match error {
        SegmentError::Io { doing, source, .. } => Error::io(doing, path)(source),
        other => Error::Damaged { place: path.display().to_string(), why: other.to_string() },
    }
}

impl Store {
    /// Begins a segment of an account's.
    pub(super) fn new_output(
        &self,
        account: AccountId,
        next_file: &mut u64,
        effort: Effort,
    ) -> Result<Output, Error> {
        let number = *next_file;
        *next_file += 1;
        let dir = self.tiers.segments_dir().clone();
        let fresh = dir.join(format!("{number}.new"));
        let file = File::create(&fresh).map_err(Error::io("make", &fresh))?;
        let name = self.accounts().get(account).map(|account| account.name.as_str().to_owned());
        let out = BufWriter::with_capacity(256 * 1024, Syncing::new(file));
        let writer = SegmentWriter::with(out, account, &name.unwrap_or_default(), effort)
            .map_err(|error| failed(error, &fresh))?;
        let now = Date::from_millis(self.compacted_at.load(SeqCst));
        let writer = writer.keeping_keys_from(once::kept_from(now));
        let index = index::Builder::new(account).spilling_to(fresh_index(&fresh, number));
        Ok(Output { writer: Some(writer), index: Some(index), number, fresh, dir })
    }

    /// Makes the names of new segments durable.
    pub(super) fn sync_segments(&self) -> Result<(), Error> {
        let dir = self.tiers.segments_dir();
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
    }

    /// Writes adjacent segments of one account anew as one, without what `erasures` take. `None` if
    /// nothing is left, and which positions went.
    ///
    /// A damaged one is noted and is an error: it isn't replaced.
    pub(super) fn rewrite(
        &self,
        run: &[Arc<Sealed>],
        erasures: &Erasures,
        next_file: &mut u64,
        pace: &Pace<'_>,
    ) -> Done<(Option<Sealed>, Holes)> {
        let (mut output, mut holes) = (None, Holes::default());
        let rows: u64 = run.iter().map(|sealed| sealed.rows()).sum();
        let effort = if rows >= THOROUGH_ROWS { Effort::Thorough } else { Effort::Quick };
        for sealed in run {
            let damaged = |error: SegmentError| {
                self.tiers.note_unread(sealed, &error);
                failed(error, &sealed.path)
            };
            let segment = Segment::open(&sealed.path, Some(&sealed.summary)).map_err(&damaged)?;
            for group in 0..segment.groups().len() {
                pace.check()?;
                let rows = segment.read(group).map_err(&damaged)?;
                for (seq, record) in rows.iter() {
                    if erasures.take(seq, &record) {
                        holes.add(seq);
                        continue;
                    }
                    let output = match &mut output {
                        Some(output) => output,
                        None => output.insert(self.new_output(
                            sealed.summary.account,
                            next_file,
                            effort,
                        )?),
                    };
                    output.put(seq, &record)?;
                }
            }
        }
        Ok((output.map(Output::finish).transpose()?, holes))
    }

    /// How many rows of a segment `erasures` take.
    pub(super) fn count_taken(
        &self,
        sealed: &Sealed,
        erasures: &Erasures,
        pace: &Pace<'_>,
    ) -> Done<u64> {
        let damaged = |error: SegmentError| {
            self.tiers.note_unread(sealed, &error);
            failed(error, &sealed.path)
        };
        let segment = Segment::open(&sealed.path, Some(&sealed.summary)).map_err(&damaged)?;
        let mut taken = 0;
        for group in 0..segment.groups().len() {
            pace.check()?;
            let rows = segment.read(group).map_err(&damaged)?;
            let of = rows.iter().filter(|(seq, record)| erasures.take(*seq, record));
            taken += of.count() as u64;
        }
        Ok(taken)
    }
}
