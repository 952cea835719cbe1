//! The log behind its narrow seam: append a batch, read batches from a `seq`.
//!
//! Everything above it (committer, state, readers) asks for no more than [`Log`], so that another
//! engine can hold it one day. Here it is a sled tree that is only ever appended to.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sled::{IVec, Tree};

use super::batch::{BatchView, EncodedBatch};
use super::{Error, walk};
use crate::model::Seq;

/// In which order records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// What a visitor of batches says after each: go on or stop, or what went wrong.
pub type Step = Result<ControlFlow<()>, Error>;

/// An append-only sequence of batches.
pub trait Log: Send + Sync {
    /// The `seq` that the next record will get.
    fn next_seq(&self) -> Seq;

    /// Puts batches behind all others, all of them or none. They are read from then on, and durable
    /// after the next flush.
    ///
    /// # Errors
    /// [`Error`] if they could not be written; then nothing is known about them.
    ///
    /// # Panics
    /// If they don't follow on [`Log::next_seq`]: there is one appending thread, and it knows.
    fn append(&self, batches: &[EncodedBatch]) -> Result<(), Error>;

    /// Shows `visit` every batch that holds a record of `range`, in either order, in bounded memory.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or is damaged, and whatever `visit` returns.
    fn read(
        &self,
        range: RangeInclusive<Seq>,
        order: Order,
        visit: Batches<'_>,
    ) -> Result<(), Error>;
}

/// What is shown each batch.
pub type Batches<'v> = &'v mut dyn FnMut(BatchView<'_>) -> Step;

/// The log as a sled tree: first `seq`, big-endian, to batch.
pub(super) struct SledLog {
    tree: Tree,
    next_seq: AtomicU64,
}

impl SledLog {
    /// Finds the end of what the tree holds.
    pub fn new(tree: Tree) -> Result<SledLog, Error> {
        let next_seq = match tree.last().map_err(Error::sled("read the log"))? {
            Some((key, value)) => view(&key, &value)?.end_seq(),
            None => 1,
        };
        Ok(SledLog { tree, next_seq: AtomicU64::new(next_seq) })
    }
}

impl Log for SledLog {
    fn next_seq(&self) -> Seq {
        self.next_seq.load(Relaxed)
    }

    fn append(&self, batches: &[EncodedBatch]) -> Result<(), Error> {
        let mut next_seq = self.next_seq();
        for batch in batches {
            assert_eq!(batch.first_seq(), next_seq, "one thread appends, and in order");
            next_seq += batch.count();
        }
        match batches {
            [one] => self.tree.insert(one.first_seq().to_be_bytes(), one.bytes()).map(drop),
            several => {
                let mut together = sled::Batch::default();
                for batch in several {
                    together.insert(&batch.first_seq().to_be_bytes(), batch.bytes());
                }
                self.tree.apply_batch(together)
            }
        }
        .map_err(Error::sled("append to the log"))?;
        self.next_seq.store(next_seq, Relaxed);
        Ok(())
    }

    fn read(
        &self,
        range: RangeInclusive<Seq>,
        order: Order,
        visit: Batches<'_>,
    ) -> Result<(), Error> {
        // The batch that `start` lies in may begin before it.
        let start_key = range.start().to_be_bytes();
        let start = match self.tree.range(..=start_key).next_back() {
            Some(entry) => entry.map_err(Error::sled("read the log"))?.0,
            None => IVec::from(&start_key),
        };
        let keys = start..=IVec::from(&range.end().to_be_bytes());
        if keys.is_empty() {
            return Ok(());
        }
        let mut show = |entry: sled::Result<(IVec, IVec)>| -> Step {
            let (key, value) = entry.map_err(Error::sled("read the log"))?;
            let batch = view(&key, &value)?;
            if batch.end_seq() <= *range.start() {
                return Ok(ControlFlow::Continue(()));
            }
            visit(batch)
        };
        let mut entries: Box<dyn Iterator<Item = _>> = match order {
            Order::Ascending => Box::new(walk::ascending(&self.tree, keys)),
            Order::Descending => Box::new(walk::descending(&self.tree, keys)),
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
}

fn view<'a>(key: &IVec, value: &'a IVec) -> Result<BatchView<'a>, Error> {
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
