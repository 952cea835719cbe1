//! Reading: users and accounts by key, records by `seq`, always streamed.

use std::fs;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;

use super::log::{Order, Step};
use super::state::UserEntry;
use super::{Error, Store};
use crate::model::erasure::Scope;
use crate::model::record::Progress;
use crate::model::{AccountId, Date, Erasures, Record, Seq, User};

/// How much lies on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of every file in the data directory, as the file system accounts for them.
    pub disk_bytes: u64,
}

impl Store {
    /// A user's merged state.
    ///
    /// # Errors
    /// [`Error`] if it can't be read or is damaged.
    pub fn user(&self, account: AccountId, id: &str) -> Result<Option<User>, Error> {
        self.state.user(account, id)
    }

    /// An account's users in the order of their ids (as bytes), those behind `after` if given.
    pub fn users(
        &self,
        account: AccountId,
        after: Option<&str>,
    ) -> impl Iterator<Item = Result<UserEntry, Error>> + '_ {
        self.state.users(account, after)
    }

    /// How far imports of users, or of events, into an account have come.
    ///
    /// # Errors
    /// [`Error`] if it can't be read or is damaged.
    pub fn imports(&self, account: AccountId, users: bool) -> Result<Vec<Progress>, Error> {
        self.state.imports(account, users)
    }

    /// Shows `visit` the durable records of `range` in order, until it says to stop.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or is damaged, and whatever `visit` returns.
    pub fn scan(
        &self,
        range: RangeInclusive<Seq>,
        order: Order,
        visit: &mut dyn FnMut(Seq, &Record<'_>) -> Step,
    ) -> Result<(), Error> {
        let range = *range.start()..=(*range.end()).min(self.last_seq());
        if range.is_empty() {
            return Ok(());
        }
        let mut show = |seq: Seq, record: &Record<'_>| -> Step {
            if range.contains(&seq) { visit(seq, record) } else { Ok(ControlFlow::Continue(())) }
        };
        self.log.read(range.clone(), order, &mut |batch| {
            let records = batch.records().map(|entry| {
                entry.map_err(|error| Error::Damaged {
                    place: format!("the batch that ends before record {}", batch.end_seq()),
                    why: error.0.to_owned(),
                })
            });
            match order {
                Order::Ascending => {
                    for entry in records {
                        let (seq, record) = entry?;
                        if show(seq, &record)?.is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                Order::Descending => {
                    let records = records.collect::<Result<Vec<_>, _>>()?;
                    for (seq, record) in records.iter().rev() {
                        if show(*seq, record)?.is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Whether an account has an event that counts as older than a date: by its own date, or by its
    /// arrival if it claims to come from after it.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or is damaged.
    pub fn has_events_before(&self, account: AccountId, before: Date) -> Result<bool, Error> {
        let erasure = Erasures::of(account, Scope::Expired { before });
        let mut found = false;
        self.scan(1..=Seq::MAX, Order::Ascending, &mut |seq, record| {
            found = erasure.take(seq, record);
            Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// How much lies on disk.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { disk_bytes: disk_bytes(self.dir()) }
    }
}

/// What can't be looked at (removed a moment ago, say) counts as nothing.
fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| if meta.is_dir() { disk_bytes(&path) } else { meta.blocks() * 512 })
        .sum()
}
