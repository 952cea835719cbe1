//! The log in its tiers: a hot end in sled, and sealed segments in files; one log to whoever reads.
//!
//! # How reading stays right while sealing goes on beneath it
//! A reader takes the [`View`] first, and reads what it says is sealed from its segments, whose files
//! stay as long as somebody holds the view. Then it goes on in the hot end. Batches are removed from
//! there only when a newer view holds them; since `seq` has no gaps in the hot end, a reader who finds
//! one knows that it was overtaken, takes the newer view and goes on where it was.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::Thread;

use lru::LruCache;
use rustix::io::Errno;
use sled::IVec;

use super::batch::{BatchView, EncodedBatch};
use super::compactor::SEAL_BYTES;
use super::hot::Hot;
use super::index::{self, Index, IndexError};
use super::log::{Log, Missing, Order, Selection, Step, Visit};
use super::manifest::{self, Edit, Sealed, View};
use super::sealed::Sources;
use super::segment::{Segment, SegmentError, Tail};
use super::{Error, walk};
use crate::model::{Record, Seq};

/// The log, and what else lies in the same generation of sled.
pub(super) struct Tiers {
    hot: RwLock<Arc<Hot>>,
    view: RwLock<Arc<View>>,
    next_seq: AtomicU64,
    /// Bytes of batches that were appended to the hot end since it was opened, less those removed.
    hot_bytes: AtomicU64,
    segments_dir: PathBuf,
    /// Who is woken when the hot end has grown enough to be sealed.
    wake: OnceLock<Thread>,
    /// Files that were found damaged, and why.
    damage: Mutex<BTreeMap<String, String>>,
    /// Indexes that are open, and bytes of the tail of each.
    indexes: Recent<(Arc<Index>, u64)>,
    /// Tails of segments that were read.
    tails: Recent<Tail>,
}

/// Those of recent use, by their segment's number and their checksum.
type Recent<T> = Mutex<LruCache<(u64, u32), T>>;

/// Tails of segments that are kept, and their row groups, each of which takes some 5 KB.
const TAILS_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("it is more than 0");
const TAIL_GROUPS_MAX: usize = 1_024;

/// Indexes that are kept open, and bytes of their tails, which are kept in memory.
const INDEXES_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("it is more than 0");
const INDEXES_BYTES_MAX: u64 = 8 * 1024 * 1024;

impl Tiers {
    /// Finds the end of the log.
    pub fn open(hot: Hot, segments_dir: PathBuf) -> Result<Tiers, Error> {
        let view = manifest::load(&hot.manifest, &segments_dir)?;
        let last = hot.log.last().map_err(Error::sled("read the log"))?;
        let hot_end = last.map(|(key, value)| batch(&key, &value).map(|batch| batch.end_seq()));
        let next_seq = hot_end.transpose()?.unwrap_or(1).max(view.position.sealed_through + 1);
        Ok(Tiers {
            hot: RwLock::new(Arc::new(hot)),
            view: RwLock::new(Arc::new(view)),
            next_seq: AtomicU64::new(next_seq),
            hot_bytes: AtomicU64::new(0),
            segments_dir,
            wake: OnceLock::new(),
            damage: Mutex::default(),
            indexes: Mutex::new(LruCache::new(INDEXES_MAX)),
            tails: Mutex::new(LruCache::new(TAILS_MAX)),
        })
    }

    /// The generation in force.
    pub fn hot(&self) -> Arc<Hot> {
        Arc::clone(&self.hot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another generation in force; gives the one before.
    pub fn replace_hot(&self, hot: Arc<Hot>) -> Arc<Hot> {
        std::mem::replace(&mut *self.hot.write().unwrap_or_else(PoisonError::into_inner), hot)
    }

    /// What is sealed, and which erasures are in force.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what readers go by from now on.
    pub fn change_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = View::clone(&view);
        change(&mut changed);
        *view = Arc::new(changed);
    }

    /// Where segments lie.
    pub fn segments_dir(&self) -> &PathBuf {
        &self.segments_dir
    }

    /// Bytes of the hot end's batches.
    pub fn hot_bytes(&self) -> u64 {
        self.hot_bytes.load(SeqCst)
    }

    /// Wakes a thread when the hot end has grown enough to be sealed. The first one to ask is it.
    pub fn wake_when_hot(&self, thread: Thread) {
        let _ = self.wake.set(thread);
    }

    /// Whether there is a thread that seals.
    pub fn is_kept(&self) -> bool {
        self.wake.get().is_some()
    }

    /// Counts bytes that lay there when it was opened.
    pub fn count_hot_bytes(&self, bytes: u64) {
        self.hot_bytes.fetch_add(bytes, SeqCst);
    }

    /// Notes that a file is damaged. Says so once.
    pub fn note_damage(&self, file: String, why: &str) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Vacant(place) = damage.entry(file) {
            let file = place.key();
            log::error!("segments/{file} is damaged and left out: {why}; see `triggerly verify`");
            place.insert(why.to_owned());
        }
    }

    /// A segment couldn't be read, and why. That of which there will soon be enough again is no damage.
    pub fn note_unread(&self, sealed: &Sealed, error: &SegmentError) {
        match error {
            SegmentError::Io { source, .. } if passes(source) => {
                log::warn!("segments/{} is left out this time: {error}", sealed.name());
            }
            _ => self.note_damage(sealed.name(), &error.to_string()),
        }
    }

    /// Whether a segment was found damaged.
    pub fn is_damaged(&self, sealed: &Sealed) -> bool {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        !damage.is_empty() && damage.contains_key(&sealed.name())
    }

    /// The damaged files that are still part of the log, and why.
    pub fn damage(&self) -> Vec<(String, String)> {
        let view = self.view();
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |file: &str| view.all().any(|sealed| sealed.name() == file);
        damage.iter().filter(|(file, _)| known(file)).map(|(f, w)| (f.clone(), w.clone())).collect()
    }

    /// Opens a segment.
    pub fn open_segment(&self, sealed: &Sealed) -> Result<Segment, SegmentError> {
        let key = (sealed.number, sealed.summary.crc);
        let tails = || self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tails().get(&key).cloned();
        if let Some(tail) = known {
            return Segment::open_again(&sealed.path, tail);
        }
        let segment = Segment::open(&sealed.path, Some(&sealed.summary))?;
        let mut tails = tails();
        tails.put(key, segment.tail().clone());
        let mut groups: usize = tails.iter().map(|(_, tail)| tail.groups()).sum();
        while groups > TAIL_GROUPS_MAX && tails.len() > 1 {
            groups -= tails.pop_lru().map_or(0, |(_, tail)| tail.groups());
        }
        Ok(segment)
    }

    /// A segment's index, if it has one that can be used.
    pub fn index_of(&self, sealed: &Sealed) -> Option<Arc<Index>> {
        let summary = sealed.index()?;
        let key = (sealed.number, summary.crc);
        let indexes = || self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((open, _)) = indexes().get(&key) {
            return Some(Arc::clone(open));
        }
        match Index::open(&sealed.index_path(), sealed.of(), &summary) {
            Ok(index) => {
                let index = Arc::new(index);
                let mut indexes = indexes();
                // Who takes it away says so before he closes it: from then on nobody else would.
                if sealed.is_retired() || sealed.index() != Some(summary) {
                    return Some(index);
                }
                indexes.put(key, (Arc::clone(&index), summary.tail_bytes));
                let mut bytes: u64 = indexes.iter().map(|(_, (_, bytes))| bytes).sum();
                while bytes > INDEXES_BYTES_MAX && indexes.len() > 1 {
                    bytes -= indexes.pop_lru().map_or(0, |(_, (_, bytes))| bytes);
                }
                Some(index)
            }
            Err(error) => {
                self.index_failed(sealed, &summary, &error);
                None
            }
        }
    }

    /// A segment's index did not answer, and why. If it can't be used, the segment has none from now on, so
    /// that it gets another.
    pub fn index_failed(&self, sealed: &Sealed, summary: &index::Summary, error: &IndexError) {
        let passes = match error {
            IndexError::NotKept(_) => true,
            IndexError::Io { source, .. } => passes(source),
            IndexError::Damaged { .. } | IndexError::Unfit { .. } => false,
        };
        // Taken away meanwhile, it was right to be gone.
        if passes || sealed.index() != Some(*summary) {
            return;
        }
        log::warn!("segments/{} is of no use and built anew: {error}", sealed.index_name());
        sealed.set_index(None);
        self.close_index(sealed, summary);
    }

    /// An index isn't used any more, as was said before: of its segment, that it is retired, or has none.
    pub fn close_index(&self, sealed: &Sealed, summary: &index::Summary) {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.pop(&(sealed.number, summary.crc));
    }

    /// Those that are open: their segments' numbers and their checksums.
    #[cfg(test)]
    pub fn open_indexes(&self) -> Vec<(u64, u32)> {
        let indexes = self.indexes.lock().unwrap();
        indexes.iter().map(|(key, _)| *key).collect()
    }

    /// Shows the hot end's batches that hold a record of `range`.
    pub fn hot_batches(
        &self,
        range: RangeInclusive<Seq>,
        order: Order,
        visit: &mut dyn FnMut(BatchView<'_>, usize) -> Step,
    ) -> Result<(), Error> {
        let tree = &self.hot().log;
        // The batch that `start` lies in may begin before it.
        let start_key = range.start().to_be_bytes();
        let start = match tree.range(..=start_key).next_back() {
            Some(entry) => entry.map_err(Error::sled("read the log"))?.0,
            None => IVec::from(&start_key),
        };
        let keys = start..=IVec::from(&range.end().to_be_bytes());
        if keys.is_empty() {
            return Ok(());
        }
        let mut show = |entry: sled::Result<(IVec, IVec)>| -> Step {
            let (key, value) = entry.map_err(Error::sled("read the log"))?;
            let batch = batch(&key, &value)?;
            if batch.end_seq() <= *range.start() {
                return Ok(ControlFlow::Continue(()));
            }
            visit(batch, value.len())
        };
        let mut entries: Box<dyn Iterator<Item = _>> = match order {
            Order::Ascending => Box::new(walk::ascending(tree, keys)),
            Order::Descending => Box::new(walk::descending(tree, keys)),
        };
        entries
            .try_for_each(|entry| match show(entry) {
                Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
                Err(error) => ControlFlow::Break(Err(error)),
            })
            .break_value()
            .unwrap_or(Ok(()))
    }

    /// Removes what is sealed from the hot end.
    pub fn remove_sealed(&self) -> Result<(), Error> {
        /// Keys of one batch of sled's.
        const KEYS_MAX: usize = 64;
        let (hot, sealed_through) = (self.hot(), self.view().position.sealed_through);
        loop {
            let mut removal = sled::Batch::default();
            let (mut keys, mut bytes) = (0, 0);
            for entry in hot.log.range(..=sealed_through.to_be_bytes()).take(KEYS_MAX) {
                let (key, value) = entry.map_err(Error::sled("read the log"))?;
                removal.remove(key);
                keys += 1;
                bytes += value.len() as u64;
            }
            if keys == 0 {
                return Ok(());
            }
            hot.log.apply_batch(removal).map_err(Error::sled("remove what is sealed"))?;
            let less = |all: u64| Some(all.saturating_sub(bytes));
            // Never fails: the closure always gives a value.
            let _ = self.hot_bytes.fetch_update(SeqCst, SeqCst, less);
        }
    }

    /// As [`Log::read`], of one account's records, but reads no more than costs as much as `most` that are read one by
    /// one, but for the last row group or batch. Says behind which position it did not go on for that.
    pub fn read_some(
        &self,
        selection: &Selection,
        order: Order,
        most: u64,
        visit: Visit<'_>,
    ) -> Result<(Missing, Option<Seq>), Error> {
        let (missing, left) = (Missing::default(), most);
        let mut records =
            Records { tiers: self, selection, order, visit, missing, left, stopped_behind: None };
        self.walk(selection.range.clone(), order, &mut records)?;
        Ok((records.missing, records.stopped_behind))
    }

    /// Has somebody read a range in order: what is sealed by a view, the hot end batch by batch.
    pub fn walk(
        &self,
        range: RangeInclusive<Seq>,
        order: Order,
        reading: &mut dyn Reading,
    ) -> Result<(), Error> {
        let (start, end) = (*range.start(), *range.end());
        let range = start..=end.min(self.next_seq() - 1);
        match order {
            Order::Ascending => self.ascend(range, reading),
            Order::Descending => self.descend(range, reading),
        }
    }

    fn ascend(&self, range: RangeInclusive<Seq>, reading: &mut dyn Reading) -> Result<(), Error> {
        let (mut from, end) = range.into_inner();
        let mut stopped = false;
        while from <= end && !stopped {
            let view = self.view();
            let sealed_through = view.position.sealed_through;
            if from <= sealed_through {
                stopped = reading.sealed(&view, from..=end.min(sealed_through))?.is_break();
                from = sealed_through + 1;
                continue;
            }
            let before = from;
            self.hot_batches(from..=end, Order::Ascending, &mut |batch, _| {
                if batch.first_seq() > from {
                    // Overtaken: what lies between was sealed meanwhile.
                    return Ok(ControlFlow::Break(()));
                }
                from = batch.end_seq();
                let flow = reading.batch(batch)?;
                stopped = flow.is_break();
                Ok(flow)
            })?;
            if from <= end && !stopped && self.view().position.sealed_through < from {
                return Err(hole(from, before));
            }
        }
        Ok(())
    }

    fn descend(&self, range: RangeInclusive<Seq>, reading: &mut dyn Reading) -> Result<(), Error> {
        let (start, mut to) = range.into_inner();
        let mut stopped = false;
        loop {
            let view = self.view();
            let sealed_through = view.position.sealed_through;
            if start > to || stopped {
                return Ok(());
            }
            if to <= sealed_through {
                return reading.sealed(&view, start..=to).map(drop);
            }
            let (before, hot_start) = (to, start.max(sealed_through + 1));
            self.hot_batches(hot_start..=to, Order::Descending, &mut |batch, _| {
                if batch.end_seq() <= to {
                    return Ok(ControlFlow::Break(()));
                }
                to = batch.first_seq() - 1;
                let flow = reading.batch(batch)?;
                stopped = flow.is_break();
                Ok(flow)
            })?;
            if to >= hot_start && !stopped && self.view().position.sealed_through < to {
                return Err(hole(to, before));
            }
        }
    }
}

/// Whether there were too few descriptors, or too little memory.
fn passes(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Somebody who reads the log by way of [`Tiers::walk`].
pub(super) trait Reading {
    /// Reads what a view says is sealed of a range.
    fn sealed(&mut self, view: &View, range: RangeInclusive<Seq>) -> Step;

    /// Reads a batch of the hot end, which may reach beyond the range.
    fn batch(&mut self, batch: BatchView<'_>) -> Step;
}

/// Reads record by record.
pub(super) struct Records<'r> {
    pub tiers: &'r Tiers,
    pub selection: &'r Selection,
    pub order: Order,
    pub visit: Visit<'r>,
    pub missing: Missing,
    /// What reading may cost yet, in records that are read one by one.
    pub left: u64,
    /// Behind which position nothing was read for that.
    pub stopped_behind: Option<Seq>,
}

impl Reading for Records<'_> {
    fn sealed(&mut self, view: &View, range: RangeInclusive<Seq>) -> Step {
        let part = Selection { range, ..self.selection.clone() };
        let mut sources = Sources::new(self.tiers, view, &part, self.order, self.left)?;
        let flow = sources.read(self.visit)?;
        self.missing.join(sources.missing());
        let (left, stopped_behind) = sources.left();
        self.left = self.left.min(left);
        if flow.is_break() || stopped_behind.is_none() {
            return Ok(flow);
        }
        self.stopped_behind = stopped_behind;
        Ok(ControlFlow::Break(()))
    }

    fn batch(&mut self, batch: BatchView<'_>) -> Step {
        let (first, end) = (batch.first_seq(), batch.end_seq());
        if self.left == 0 {
            self.stopped_behind = Some(match self.order {
                Order::Ascending => first.saturating_sub(1),
                Order::Descending => end,
            });
            return Ok(ControlFlow::Break(()));
        }
        self.left = self.left.saturating_sub(end.saturating_sub(first));
        show(batch, &self.selection.range, self.order, self.visit)
    }
}

/// Shows a batch's records that are in a range.
pub(super) fn show(
    batch: BatchView<'_>,
    range: &RangeInclusive<Seq>,
    order: Order,
    visit: Visit<'_>,
) -> Step {
    let end_seq = batch.end_seq();
    let records = batch.records().map(|entry| {
        entry.map_err(|error| Error::Damaged {
            place: format!("the batch that ends before record {end_seq}"),
            why: error.0.to_owned(),
        })
    });
    let mut one = |seq: Seq, record: &Record<'_>| {
        if range.contains(&seq) { visit(seq, record) } else { Ok(ControlFlow::Continue(())) }
    };
    match order {
        Order::Ascending => {
            for entry in records {
                let (seq, record) = entry?;
                if one(seq, &record)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Order::Descending => {
            let records = records.collect::<Result<Vec<_>, _>>()?;
            for (seq, record) in records.iter().rev() {
                if one(*seq, record)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Log for Tiers {
    fn next_seq(&self) -> Seq {
        self.next_seq.load(SeqCst)
    }

    fn append(&self, batches: &[EncodedBatch]) -> Result<(), Error> {
        let mut next_seq = self.next_seq();
        let mut bytes = 0;
        for batch in batches {
            assert_eq!(batch.first_seq(), next_seq, "one thread appends, and in order");
            next_seq += batch.count();
            bytes += batch.bytes().len() as u64;
        }
        let tree = &self.hot().log;
        match batches {
            [one] => tree.insert(one.first_seq().to_be_bytes(), one.bytes()).map(drop),
            several => {
                let mut together = sled::Batch::default();
                for batch in several {
                    together.insert(&batch.first_seq().to_be_bytes(), batch.bytes());
                }
                tree.apply_batch(together)
            }
        }
        .map_err(Error::sled("append to the log"))?;
        self.next_seq.store(next_seq, SeqCst);
        let before = self.hot_bytes.fetch_add(bytes, SeqCst);
        if before < SEAL_BYTES
            && SEAL_BYTES <= before + bytes
            && let Some(thread) = self.wake.get()
        {
            thread.unpark();
        }
        Ok(())
    }

    fn read(
        &self,
        selection: &Selection,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<Missing, Error> {
        self.read_some(selection, order, u64::MAX, visit).map(|(missing, _)| missing)
    }
}

impl super::replay::Registry for Tiers {
    fn erased(&self, seq: Seq, record: &Record<'_>) -> Result<(), Error> {
        let crate::model::Change::Erased { account, scope } = record.change else { return Ok(()) };
        let mut edit = Edit::default();
        edit.erasure(seq, record);
        edit.write(&self.hot().manifest)?;
        self.change_view(|view| Arc::make_mut(&mut view.erasures).add(seq, account, scope));
        Ok(())
    }
}

fn hole(at: Seq, before: Seq) -> Error {
    Error::Damaged {
        place: format!("record {at} of the log"),
        why: format!("it is neither in the hot end nor sealed (reading went on from {before})"),
    }
}

/// Takes an entry of the hot end apart.
pub(super) fn batch<'a>(key: &IVec, value: &'a IVec) -> Result<BatchView<'a>, Error> {
    let damaged = |why: &str| Error::Damaged {
        place: format!(
            "the log's batch {}",
            key.iter().map(|b| format!("{b:02x}")).collect::<String>()
        ),
        why: why.to_owned(),
    };
    let first_seq = key.as_ref().try_into().map_err(|_| damaged("its key isn't a position"))?;
    BatchView::decode(Seq::from_be_bytes(first_seq), value).map_err(|error| damaged(error.0))
}
