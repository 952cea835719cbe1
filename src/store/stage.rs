//! A group as it is put together: which submissions are taken, and what follows from them.
//!
//! A submission that is refused leaves no trace.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::batch::{ENTRY_BYTES_MAX, EncodedBatch};
use super::draft::{Draft, Effect};
use super::hot::Hot;
use super::log::Log;
use super::outcome::{Receipt, Refusal};
use super::replay::Registry;
use super::state::{Pending, Undo, rotated};
use super::{Error, Store};
use crate::model::erasure::Scope;
use crate::model::limits::ACCOUNTS_MAX;
use crate::model::{Account, AccountId, Accounts, Change, Date, Record, Seq};

/// What was taken so far, and the state that follows from it.
pub(super) struct Stage<'s> {
    store: &'s Store,
    first_seq: Seq,
    encoded: Vec<Vec<u8>>,
    pending: Pending<'s>,
    accounts: Arc<Accounts>,
    accounts_changed: bool,
    erasures: Vec<Erasure>,
}

/// An erasure that was taken.
struct Erasure {
    seq: Seq,
    account: AccountId,
    scope: Scope,
    at: Date,
}

/// A group that is in the log, but not yet in the state.
pub(super) struct Appended<'s> {
    store: &'s Store,
    last_seq: Seq,
    pending: Pending<'s>,
    /// The accounts as they are then, if they changed.
    accounts: Option<Arc<Accounts>>,
    erasures: Vec<Erasure>,
}

impl<'s> Stage<'s> {
    /// An empty group at the end of the log.
    pub fn new(store: &'s Store, hot: &'s Hot) -> Stage<'s> {
        Stage {
            store,
            first_seq: store.tiers.next_seq(),
            encoded: Vec::new(),
            pending: Pending::new(&hot.state),
            accounts: store.accounts(),
            accounts_changed: false,
            erasures: Vec::new(),
        }
    }

    /// Bytes of what was taken so far: records, and what follows for the state.
    pub fn bytes(&self) -> usize {
        self.taken().1 + self.pending.bytes()
    }

    /// Records that were taken so far, and their bytes.
    pub fn taken(&self) -> (usize, usize) {
        (self.encoded.len(), self.encoded.iter().map(Vec::len).sum())
    }

    /// Takes a submission in, whole or not at all.
    pub fn take(&mut self, drafts: Vec<Draft>) -> Result<Receipt, Refusal> {
        let taken = self.encoded.len();
        let first_seq = self.first_seq + taken as Seq;
        let count = drafts.len() as u64;
        let accounts = (Arc::clone(&self.accounts), self.accounts_changed);
        let (mut undo, erasures) = (Vec::new(), self.erasures.len());
        for (index, Draft { encoded, effect }) in drafts.into_iter().enumerate() {
            if let Err(refusal) = self.apply(effect, index, first_seq + index as Seq, &mut undo) {
                self.encoded.truncate(taken);
                undo.into_iter().rev().for_each(|undo| self.pending.undo(undo));
                (self.accounts, self.accounts_changed) = accounts;
                self.erasures.truncate(erasures);
                return Err(refusal);
            }
            self.encoded.push(encoded);
        }
        Ok(Receipt { first_seq, count })
    }

    fn apply(
        &mut self,
        effect: Effect,
        index: usize,
        seq: Seq,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        match effect {
            Effect::None => Ok(()),
            Effect::Merge { account, id, patch, at } => {
                let merged =
                    self.pending.merged(account, id.as_str(), patch, at).map_err(|error| {
                        log::error!("a user can't be updated: {error}");
                        Refusal::Unreadable(error.to_string().into())
                    })?;
                let text = merged.checked_text().map_err(|limit| Refusal::User { index, limit })?;
                undo.push(self.pending.put_user(merged, &text));
                Ok(())
            }
            Effect::Make { name, api_token, secret_hash, at } => {
                if self.accounts.by_name(name.as_str()).is_some() {
                    return Err(Refusal::NameTaken(name.as_str().to_owned()));
                }
                if self.accounts.len() >= ACCOUNTS_MAX {
                    return Err(Refusal::TooManyAccounts);
                }
                self.put_account(Account {
                    id: AccountId(seq),
                    name,
                    api_token,
                    secret_hash,
                    created_at: at,
                    retention_days: None,
                });
                Ok(())
            }
            Effect::Rotate { account, api_token, secret_hash } => {
                let old = self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let account = rotated(old, api_token, secret_hash);
                self.put_account(account);
                Ok(())
            }
            Effect::Retain { account, days } => {
                let old = self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let account = Account { retention_days: days, ..Account::clone(old) };
                self.put_account(account);
                Ok(())
            }
            Effect::Erase { account, scope, user, at } => {
                self.erasures.push(Erasure { seq, account, scope, at });
                if let Some(id) = user {
                    undo.push(self.pending.remove_user(account, id.as_str()));
                }
                Ok(())
            }
            Effect::Import { account, progress } => {
                undo.push(self.pending.put_import(account, &progress));
                Ok(())
            }
        }
    }

    fn put_account(&mut self, account: Account) {
        Arc::make_mut(&mut self.accounts).put(account);
        self.accounts_changed = true;
    }

    /// Appends to the log; durable after the next flush. `None` if nothing was taken.
    pub fn append(self) -> Result<Option<Appended<'s>>, Error> {
        let Stage { store, first_seq, encoded, pending, accounts, accounts_changed, erasures } =
            self;
        if encoded.is_empty() {
            return Ok(None);
        }
        store.tiers.append(&entries(first_seq, &encoded))?;
        let last_seq = first_seq + encoded.len() as Seq - 1;
        let accounts = accounts_changed.then_some(accounts);
        Ok(Some(Appended { store, last_seq, pending, accounts, erasures }))
    }
}

impl Appended<'_> {
    /// Merges into the state, and shows it. To be called when the log is durable.
    pub fn merge(self) -> Result<(), Error> {
        let Appended { store, last_seq, pending, accounts, erasures } = self;
        for Erasure { seq, account, scope, at } in erasures {
            // Before the mark can pass it.
            let change = Change::Erased { account, scope };
            store.tiers.erased(seq, &Record { received_at: at, change })?;
        }
        pending.write(last_seq, accounts.as_deref())?;
        if let Some(accounts) = accounts {
            store.publish(accounts);
        }
        store.durable.store(last_seq, SeqCst);
        store.high_water.note(last_seq);
        Ok(())
    }
}

/// Splits a group's records into entries of the log, in order and each within bounds.
fn entries(first_seq: Seq, encoded: &[Vec<u8>]) -> Vec<EncodedBatch> {
    let mut entries = Vec::with_capacity(1);
    let mut rest = encoded;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|record| {
            bytes += record.len();
            bytes <= ENTRY_BYTES_MAX
        });
        let (entry, behind) = rest.split_at(fitting.count().max(1));
        let seq = first_seq + (encoded.len() - rest.len()) as Seq;
        entries.push(EncodedBatch::of(seq, entry.iter().map(Vec::as_slice)));
        rest = behind;
    }
    entries
}
