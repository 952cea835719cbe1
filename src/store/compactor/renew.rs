//! A new generation of sled: what is in force is copied into a new database, or the keyed state is
//! built anew from the log, while calls are taken; then it takes the place of the one before.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

use sled::Tree;

use super::{Compacted, Done, Error, Pace, SEAL_BYTES, Store, Urgency};
use crate::model::{Change, Seq};
use crate::store::fault;
use crate::store::hot::Hot;
use crate::store::log::{Log, Order};
use crate::store::{once, people, replay, state, types};

/// Where the keyed state of a new generation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// From the one before.
    Copy,
    /// From the log.
    Rebuild,
}

/// Entries, and bytes, that are copied at a time.
const PIECE_ENTRIES: usize = 256;
const PIECE_BYTES: usize = 512 * 1024;

/// Bytes that are written between two flushes: see what was measured of sled.
const FLUSH_BYTES: usize = 4 * 1024 * 1024;

/// Records behind the committer at which it is stopped for what is left.
const NEAR: Seq = 2_000;

/// Times that it is tried to come near.
const CATCH_UPS_MAX: u32 = 4;

/// Bytes from which on a file that is mostly empty is worth writing anew.
const BLOATED_BYTES: u64 = 32 * 1024 * 1024;

/// How many times what is in it such a file has: where it is asked for, and in time. One of 43 MB of users has 2.3 times
/// that when it was just written, so that twice had each `compact` write the same again.
const BLOATED_TIMES_NOW: u64 = 3;
const BLOATED_TIMES: u64 = 4;

/// Bytes of it that are too many in any case: a tenth of a small disk.
const BLOATED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

impl Store {
    /// Builds all keyed state anew from the log, while calls are taken.
    ///
    /// # Errors
    /// [`Error`]; the state that is in force stays as it is then.
    pub fn rebuild(&self, pace: &Pace<'_>) -> Result<(), Error> {
        let _compacting = self.compacting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.renew(Renewal::Rebuild, pace).map(drop).map_err(super::Halt::into_error)
    }

    /// Makes a new generation, of which a test needs to know no more than whether it is in force.
    #[cfg(test)]
    pub(in crate::store) fn is_renewed(&self, how: Renewal) -> bool {
        self.renew(how, &Pace { go_on: &|| true }).is_ok()
    }

    /// Makes a new generation; gives the one before, which may still be read.
    pub(super) fn renew(&self, how: Renewal, pace: &Pace<'_>) -> Done<Weak<Hot>> {
        let path = self.directory.next_sled_path()?;
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        let result = self.renew_at(&path, how, pace);
        if result.is_err() {
            // The next opening would remove it too.
            let _ = fs::remove_dir_all(&path);
        }
        result
    }

    fn renew_at(&self, path: &Path, how: Renewal, pace: &Pace<'_>) -> Done<Weak<Hot>> {
        let old = self.tiers.hot();
        let new = Hot::open(path)?;
        let mut copied = self.last_seq();
        copy(&old.manifest, &new.manifest, &new, pace)?;
        match how {
            Renewal::Copy => copy(old.state.tree(), new.state.tree(), &new, pace)?,
            Renewal::Rebuild => {
                let tiers = self.tiers.as_ref();
                let (_, missing) = replay::rebuild(
                    tiers,
                    &tiers.view(),
                    Some(tiers),
                    &new.state,
                    &new,
                    pace.go_on,
                )?;
                if missing.records > 0 {
                    let files = tiers.damage().into_iter().map(|(file, _)| file);
                    return Err(super::Halt::Failed(Error::Damaged {
                        place: format!(
                            "segments/{}",
                            files.collect::<Vec<_>>().join(", segments/")
                        ),
                        why: "what it says of users would be lost by building them anew".to_owned(),
                    }));
                }
            }
        }
        let from = self.tiers.view().position.sealed_through + 1;
        self.copy_log(&new, from..=copied)?;
        // What came meanwhile, until little is left, or more comes than can be copied.
        for _ in 0..CATCH_UPS_MAX {
            pace.check()?;
            let last = self.last_seq();
            self.catch_up(how, &old, &new, copied, last)?;
            new.flush().map_err(Error::io("sync", path))?;
            let left = last - copied;
            copied = last;
            if left < NEAR {
                break;
            }
        }
        fault::point("renew-copied");
        let _committing = self.committing();
        let last = self.last_seq();
        if self.failure().is_some() || last + 1 != self.tiers.next_seq() {
            return Err(super::Halt::Stopped);
        }
        self.catch_up(how, &old, &new, copied, last)?;
        replace_prefix(&old.manifest, &new.manifest, b"e")?;
        if how == Renewal::Copy {
            for prefix in [b"a", &[people::PERSON][..], people::LINKS] {
                replace_prefix(old.state.tree(), new.state.tree(), prefix)?;
            }
            new.state.write_mark(last)?;
        }
        new.flush().map_err(Error::io("sync", path))?;
        self.directory.sync_dir(path)?;
        fault::point("renew-flushed");
        self.directory.set_current(path)?;
        fault::point("renew-current");
        let before = self.tiers.replace_hot(Arc::new(new));
        drop(old);
        before.retire();
        Ok(Arc::downgrade(&before))
    }

    /// Copies the hot end's batches that hold a record of `range`.
    fn copy_log(&self, new: &Hot, range: std::ops::RangeInclusive<Seq>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        let mut unflushed = 0;
        let old = self.tiers.hot();
        self.tiers.hot_batches(range, Order::Ascending, &mut |batch, bytes| {
            let key = batch.first_seq().to_be_bytes();
            let value = old.log.get(key).map_err(Error::sled("read the log"))?;
            let Some(value) = value else { return Ok(ControlFlow::Continue(())) };
            new.log.insert(key, value).map_err(Error::sled("copy the log"))?;
            unflushed += bytes;
            if unflushed >= FLUSH_BYTES {
                unflushed = 0;
                new.flush().map_err(Error::io("sync", new.path()))?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Copies what records behind `copied`, up to `last`, have changed.
    fn catch_up(
        &self,
        how: Renewal,
        old: &Hot,
        new: &Hot,
        copied: Seq,
        last: Seq,
    ) -> Result<(), Error> {
        if last <= copied {
            return Ok(());
        }
        self.copy_log(new, copied + 1..=last)?;
        if how == Renewal::Rebuild {
            return replay::catch_up(self.tiers.as_ref(), &new.state, new, last);
        }
        let mut keys = BTreeSet::new();
        self.tiers.hot_batches(copied + 1..=last, Order::Ascending, &mut |batch, _| {
            for entry in batch.records() {
                let (seq, record) = entry.map_err(|error| Error::Damaged {
                    place: format!("the batch that ends before record {}", batch.end_seq()),
                    why: error.0.to_owned(),
                })?;
                if seq <= copied {
                    continue;
                }
                keys.extend(record.keyed.map(|keyed| once::row_key(record.received_at, keyed.key)));
                match record.change {
                    Change::User(user) => {
                        keys.insert(state::user_key(user.account, user.id));
                    }
                    Change::Imported { account, progress } => {
                        keys.insert(state::import_key(account, Some(progress.import)));
                    }
                    Change::TypeSet { account, events, attribute, .. } => {
                        keys.insert(types::key(account, events, attribute));
                    }
                    Change::Erased { account, scope: crate::model::erasure::Scope::User(user) } => {
                        keys.extend(new.state.users_of(account, user)?);
                    }
                    _ => {}
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for key in keys {
            let value = old.state.tree().get(&key).map_err(Error::sled("read the state"))?;
            let written = match value {
                Some(value) => new.state.tree().insert(key, value),
                None => new.state.tree().remove(key),
            };
            written.map_err(Error::sled("copy the state"))?;
        }
        Ok(())
    }

    /// Writes sled's file anew when it is mostly empty.
    pub(super) fn renew_if_bloated(
        &self,
        urgency: Urgency,
        pace: &Pace<'_>,
        compacted: &mut Compacted,
    ) -> Done<()> {
        let hot = self.tiers.hot();
        let (least, times) = match urgency {
            Urgency::Now => (BLOATED_BYTES, BLOATED_TIMES_NOW),
            Urgency::InTime => (2 * BLOATED_BYTES, BLOATED_TIMES),
        };
        let bytes = crate::store::reader::disk_bytes(hot.path());
        // In the middle of an import it would soon be so again, and sealing would wait for it.
        let busy = self.tiers.hot_bytes() >= SEAL_BYTES;
        if urgency == Urgency::InTime && busy && bytes < BLOATED_BYTES_MAX {
            return Ok(());
        }
        // Looked at only where it can matter, since it takes reading all of the state.
        if compacted.renewed || bytes < least {
            return Ok(());
        }
        let looked_at = self.bloat_looked_at.swap(bytes, SeqCst);
        if urgency == Urgency::InTime && bytes < looked_at + looked_at / 4 {
            self.bloat_looked_at.store(looked_at, SeqCst);
            return Ok(());
        }
        let live = hot.state.bytes()? + self.tiers.hot_bytes();
        if bytes < live * times {
            return Ok(());
        }
        drop(hot);
        self.renew(Renewal::Copy, pace)?;
        compacted.renewed = true;
        Ok(())
    }
}

/// Copies a whole tree, in pieces.
fn copy(old: &Tree, new: &Tree, hot: &Hot, pace: &Pace<'_>) -> Done<()> {
    let (mut piece, mut entries, mut bytes) = (sled::Batch::default(), 0, 0);
    let mut unflushed = 0;
    for entry in crate::store::walk::ascending::<&[u8], _>(old, ..) {
        let (key, value) = entry.map_err(Error::sled("copy a tree"))?;
        entries += 1;
        bytes += key.len() + value.len();
        piece.insert(key, value);
        if entries < PIECE_ENTRIES && bytes < PIECE_BYTES {
            continue;
        }
        new.apply_batch(std::mem::take(&mut piece)).map_err(Error::sled("copy a tree"))?;
        unflushed += bytes;
        (entries, bytes) = (0, 0);
        if unflushed >= FLUSH_BYTES {
            unflushed = 0;
            pace.check()?;
            hot.flush().map_err(Error::io("sync", hot.path()))?;
            hot.tidy()?;
        }
    }
    new.apply_batch(piece).map_err(Error::sled("copy a tree"))?;
    Ok(())
}

/// Makes the keys under a prefix in `new` what they are in `old`. Little of it differs, and only that is
/// written.
fn replace_prefix(old: &Tree, new: &Tree, prefix: &[u8]) -> Result<(), Error> {
    let failed = Error::sled("copy a tree");
    let mut piece = sled::Batch::default();
    for key in new.scan_prefix(prefix).keys() {
        let key = key.map_err(&failed)?;
        if !old.contains_key(&key).map_err(&failed)? {
            piece.remove(key);
        }
    }
    for entry in old.scan_prefix(prefix) {
        let (key, value) = entry.map_err(&failed)?;
        if new.get(&key).map_err(&failed)?.as_ref() != Some(&value) {
            piece.insert(key, value);
        }
    }
    new.apply_batch(piece).map_err(failed)
}
