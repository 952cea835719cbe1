//! Indexes of segments that have none: those of directories of an older format and of restored backups, those
//! that were found damaged, and all of them after [`Store::reindex`].
//!
//! Until a segment has its index, questions read the segment itself. The newest is indexed first, since most
//! questions are about what came last.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::rewrite::{Syncing, failed};
use super::{Compacted, Done, Error, Halt, Pace, SEAL_BYTES, Store, Urgency};
use crate::store::fault;
use crate::store::index::{self, IndexError};
use crate::store::manifest::{Edit, Sealed};
use crate::store::segment::{Segment, SegmentError};

/// The part of a segment's bytes that room is looked for, for its index without the rows of users: more than it
/// takes.
const INDEX_PART: u64 = 6;

/// Bytes of a row that is another user's, in an index as in what waits to be merged.
const INDEX_ROW_BYTES: u64 = 12;

/// From one try to the next, where an index couldn't be written.
const INDEX_AGAIN: Duration = Duration::from_secs(10 * 60);

/// What indexing all anew has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reindexed {
    /// Sealed records that are in an index.
    pub records: u64,
    /// Sealed records.
    pub of: u64,
    /// Bytes of the indexes.
    pub bytes: u64,
    /// What could not be done, and why.
    pub left: Vec<String>,
}

impl Store {
    /// Builds the indexes that are missing, one by one.
    pub(super) fn index_due(
        &self,
        urgency: Urgency,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        let again = |at: &Instant| urgency == Urgency::InTime && at.elapsed() < INDEX_AGAIN;
        let mut failed = self.indexing_failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| again(at));
        while let Some(sealed) = self.next_unindexed(&failed) {
            pace.check()?;
            // Indexing can wait; what isn't sealed takes memory.
            if urgency == Urgency::InTime && self.tiers.hot_bytes() >= SEAL_BYTES {
                return Ok(());
            }
            if !self.has_room(index_room(sealed.summary.bytes, sealed.rows()), compacted) {
                return Ok(());
            }
            match self.index_segment(&sealed, pace, &mut |_| {}) {
                Ok(()) => compacted.indexed += sealed.rows(),
                // Noted, so that the next look passes it over.
                Err(Halt::Failed(Error::Damaged { .. })) => {
                    compacted.left.push(format!("{} was not indexed: it is damaged", sealed.name()))
                }
                // Nothing depends on it: the rest goes on, and it is tried again some time.
                Err(Halt::Failed(error)) if self.failure().is_none() => {
                    let left = format!("{} was not indexed: {error}", sealed.name());
                    log::warn!("{left}");
                    compacted.left.push(left);
                    failed.insert(sealed.number, Instant::now());
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// The newest segment that has no index, isn't damaged, and isn't one for which that has just failed.
    fn next_unindexed(&self, failed: &BTreeMap<u64, Instant>) -> Option<Arc<Sealed>> {
        let damaged = self.tiers.damage();
        let view = self.tiers.view();
        let unindexed = view.all().filter(|sealed| {
            let name = sealed.name();
            sealed.index().is_none()
                && !failed.contains_key(&sealed.number)
                && !damaged.iter().any(|(file, _)| *file == name)
        });
        unindexed.max_by_key(|sealed| sealed.summary.last_seq).cloned()
    }

    /// Builds one index. `read` is told of rows as they are read.
    fn index_segment(
        &self,
        sealed: &Arc<Sealed>,
        pace: &Pace<'_>,
        read: &mut dyn FnMut(u64),
    ) -> Done<()> {
        let damaged = |error: SegmentError| {
            self.tiers.note_unread(sealed, &error);
            failed(error, &sealed.path)
        };
        let segment = Segment::open(&sealed.path, Some(&sealed.summary)).map_err(&damaged)?;
        let fresh = fresh_index(&sealed.path, sealed.number);
        let mut builder = index::Builder::new(sealed.summary.account).spilling_to(fresh);
        for group in 0..segment.groups().len() {
            pace.check()?;
            let rows = segment.read(group).map_err(&damaged)?;
            for (_, record) in rows.iter() {
                builder.put(&record);
            }
            builder.end_group();
            read(rows.len() as u64);
        }
        let index = write_index(builder, sealed)?;
        self.sync_segments()?;
        fault::point("index-files");
        let mut edit = Edit::default();
        edit.add_index(sealed.number, &index);
        let hot = self.tiers.hot();
        edit.write(&hot.manifest)?;
        self.flush_or_fail(&hot)?;
        sealed.set_index(Some(index));
        Ok(())
    }

    /// Builds all indexes anew from the log, while calls are taken: first none has one, then one after the
    /// other gets it. `progress` is told how many of the sealed records are in one, and how many there are.
    /// Whoever is told to stop, or crashes, leaves the rest to the compactor.
    ///
    /// # Errors
    /// [`Error`]; what wasn't built is built behind everything else.
    pub fn reindex(
        &self,
        pace: &Pace<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Reindexed, Error> {
        self.reindex_here(pace, progress).map_err(Halt::into_error)
    }

    fn reindex_here(&self, pace: &Pace<'_>, progress: &mut dyn FnMut(u64, u64)) -> Done<Reindexed> {
        let mut compacted = Compacted::default();
        let compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_indexes()?;
        drop(compacting);
        // Who is at it for a question gives way to all others: nobody waits for him who holds up sealing.
        self.forget_newest();
        fault::point("reindex-dropped");
        let mut failed = BTreeMap::new();
        loop {
            // Others get in between, since what comes in has to be sealed.
            let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
            if self.tiers.hot_bytes() >= SEAL_BYTES {
                self.seal_all(pace, &mut compacted)?;
            }
            let (mut done, of) = self.indexed_records();
            progress(done, of);
            let Some(sealed) = self.next_unindexed(&failed) else { break };
            if !self.has_room(index_room(sealed.summary.bytes, sealed.rows()), &mut compacted) {
                break;
            }
            let built = self.index_segment(&sealed, pace, &mut |rows| {
                done += rows;
                progress(done, of);
            });
            match built {
                Ok(()) => {}
                // Noted, so that the next look passes it over.
                Err(Halt::Failed(Error::Damaged { place, .. })) => {
                    compacted.left.push(format!("{place} is damaged"));
                }
                Err(Halt::Failed(error)) if self.failure().is_none() => {
                    compacted.left.push(format!("{} was not indexed: {error}", sealed.name()));
                    failed.insert(sealed.number, Instant::now());
                }
                Err(other) => return Err(other),
            }
        }
        let (records, of) = self.indexed_records();
        let view = self.tiers.view();
        let bytes = view.all().filter_map(|sealed| Some(sealed.index()?.bytes)).sum();
        Ok(Reindexed { records, of, bytes, left: compacted.left })
    }

    /// From then on no segment has an index.
    fn drop_indexes(&self) -> Result<(), Error> {
        let (hot, view) = (self.tiers.hot(), self.tiers.view());
        let mut edit = Edit::default();
        view.all().for_each(|sealed| edit.remove_index(sealed.number));
        edit.write(&hot.manifest)?;
        self.flush_or_fail(&hot)?;
        for sealed in view.all() {
            let Some(index) = sealed.index() else { continue };
            sealed.set_index(None);
            self.tiers.close_index(sealed, &index);
            // Whoever reads it has it open. One that can't be removed is written over, or goes with the
            // next opening.
            let _ = fs::remove_file(sealed.index_path());
        }
        Ok(())
    }

    /// Sealed records that are in an index, and all of them.
    fn indexed_records(&self) -> (u64, u64) {
        let view = self.tiers.view();
        let indexed = view.all().filter(|sealed| sealed.index().is_some());
        (indexed.map(|sealed| sealed.rows()).sum(), view.all().map(|sealed| sealed.rows()).sum())
    }
}

/// Where the index of a segment lies while it is written, and before what it is made of.
pub(super) fn fresh_index(segment: &Path, number: u64) -> PathBuf {
    segment.with_file_name(format!("{number}.index.new"))
}

/// Bytes that room is looked for, for the index of segments of so many bytes and rows: each row may be another
/// user's, and some of it waits in a file before it is written.
pub(super) fn index_room(bytes: u64, rows: u64) -> u64 {
    bytes / INDEX_PART + 2 * rows * INDEX_ROW_BYTES
}

/// Writes a segment's index and makes it durable under its name, but for the name itself.
pub(super) fn write_index(
    builder: index::Builder,
    sealed: &Sealed,
) -> Result<index::Summary, Error> {
    let path = sealed.index_path();
    let fresh = fresh_index(&sealed.path, sealed.number);
    let write = || {
        let file = File::create(&fresh)?;
        let out = BufWriter::with_capacity(256 * 1024, Syncing::new(file));
        let (out, summary) = builder.finish(sealed.of(), out).map_err(|error| match error {
            IndexError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        fs::rename(&fresh, &path)?;
        Ok(summary)
    };
    write().map_err(|source| {
        // The next opening would remove it too.
        let _ = fs::remove_file(&fresh);
        Error::io("write", &path)(source)
    })
}
