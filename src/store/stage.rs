//! A group as it is put together: which submissions are taken, and what follows from them.
//!
//! A submission that is refused leaves no trace.

use std::collections::HashSet;
use std::sync::Arc;

use super::batch::{ENTRY_BYTES_MAX, EncodedBatch};
use super::committer::GROUP_USERS_MAX;
use super::draft::{Draft, Effect, Submission};
use super::flush::Flush;
use super::hot::Hot;
use super::log::Log;
use super::outcome::{Receipt, Refusal};
use super::replay::{Registry, catch_up};
use super::space::Claim;
use super::state::{Pending, Undo};
use super::types::AllOverrides;
use super::{Error, Store};
use crate::model::erasure::Scope;
use crate::model::limits::{ACCOUNTS_MAX, DEPTH_MAX, OVERRIDES_MAX};
use crate::model::record::UserPatch;
use crate::model::{Account, AccountId, Accounts, Change, Date, People, Record, Seq, User, json};

/// Users that one group writes at once. A submission that names more is merged from the log, in pieces,
/// when it is durable: whole users are large, and sled takes only so much between two flushes.
const USERS_AT_ONCE_MAX: usize = GROUP_USERS_MAX;

/// What was taken so far, and the state that follows from it.
pub(super) struct Stage<'s> {
    store: &'s Store,
    first_seq: Seq,
    encoded: Vec<Vec<u8>>,
    /// Bytes of these, which each submission asks for.
    encoded_bytes: usize,
    pending: Pending<'s>,
    accounts: Arc<Accounts>,
    accounts_changed: bool,
    overrides: Arc<AllOverrides>,
    overrides_changed: bool,
    people: Arc<People>,
    people_changed: bool,
    erasures: Vec<Erasure>,
    /// What was taken names more users than are written at once; it is alone in its group.
    large: bool,
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
    /// The types that accounts have set, if they changed.
    overrides: Option<Arc<AllOverrides>>,
    /// Who may sign in, if that changed.
    people: Option<Arc<People>>,
    erasures: Vec<Erasure>,
    large: bool,
}

impl<'s> Stage<'s> {
    /// An empty group at the end of the log.
    pub fn new(store: &'s Store, hot: &'s Hot) -> Stage<'s> {
        Stage {
            store,
            first_seq: store.tiers.next_seq(),
            encoded: Vec::new(),
            encoded_bytes: 0,
            pending: Pending::new(&hot.state),
            accounts: store.accounts(),
            accounts_changed: false,
            overrides: store.all_overrides(),
            overrides_changed: false,
            people: store.people(),
            people_changed: false,
            erasures: Vec::new(),
            large: false,
        }
    }

    /// Bytes of what was taken so far: records, and what follows for the state.
    pub fn bytes(&self) -> usize {
        self.taken().1 + self.pending.bytes()
    }

    /// Records that were taken so far, and their bytes.
    pub fn taken(&self) -> (usize, usize) {
        (self.encoded.len(), self.encoded_bytes)
    }

    /// Where a submission lies that came under the same key, in this group or before.
    pub fn stored_before(&self, submission: &Submission) -> Result<Option<Receipt>, Refusal> {
        let keyed = submission.drafts.first().filter(|_| submission.is_keyed);
        let Some((now, keyed)) = keyed.and_then(Draft::keyed) else { return Ok(None) };
        let stored = self.pending.stored_once(keyed.key, now).map_err(|error| {
            log::error!("a key can't be looked up: {error}");
            Refusal::Unreadable(error.to_string().into())
        })?;
        Ok(stored.map(|stored| stored.receipt()))
    }

    /// Takes a submission in, whole or not at all. `admit` is asked whether the disk has room for what
    /// many users become.
    pub fn take(
        &mut self,
        drafts: Vec<Draft>,
        admit: &dyn Fn(u64) -> Result<(), Refusal>,
    ) -> Result<Receipt, Refusal> {
        if names_many_users(&drafts) {
            return self.take_large(drafts, admit);
        }
        let (taken, taken_bytes) = self.taken();
        let first_seq = self.first_seq + taken as Seq;
        let count = drafts.len() as u64;
        let accounts = (Arc::clone(&self.accounts), self.accounts_changed);
        let overrides = (Arc::clone(&self.overrides), self.overrides_changed);
        let people = (Arc::clone(&self.people), self.people_changed);
        let (mut undo, erasures) = (Vec::new(), self.erasures.len());
        let keyed = drafts.first().and_then(Draft::keyed);
        for (index, draft) in drafts.into_iter().enumerate() {
            let seq = first_seq + index as Seq;
            let applied = self
                .merge(&draft, index, &mut undo)
                .and_then(|()| self.apply_to_people(&draft, seq, &mut undo));
            let Draft { encoded, effect } = draft;
            if let Err(refusal) = applied.and_then(|()| self.apply(effect, seq, &mut undo)) {
                self.encoded.truncate(taken);
                self.encoded_bytes = taken_bytes;
                undo.into_iter().rev().for_each(|undo| self.pending.undo(undo));
                (self.accounts, self.accounts_changed) = accounts;
                (self.overrides, self.overrides_changed) = overrides;
                (self.people, self.people_changed) = people;
                self.erasures.truncate(erasures);
                return Err(refusal);
            }
            self.encoded_bytes += encoded.len();
            self.encoded.push(encoded);
        }
        if let Some((at, keyed)) = keyed {
            self.pending.put_once(keyed, first_seq, at);
        }
        Ok(Receipt { first_seq, count })
    }

    /// Takes in a submission that names many users. Each of them is looked at by itself, so that one at
    /// a time is in memory; what becomes of them is written from the log (see [`Appended::merge`]).
    fn take_large(
        &mut self,
        drafts: Vec<Draft>,
        admit: &dyn Fn(u64) -> Result<(), Refusal>,
    ) -> Result<Receipt, Refusal> {
        // It is more than a group may have, so that it has come alone.
        if !self.encoded.is_empty() {
            return Err(Refusal::Overloaded);
        }
        let mut updates: Vec<_> = drafts
            .iter()
            .enumerate()
            .filter_map(|(index, draft)| draft.user_patch().map(|(user, at)| (user, at, index)))
            .collect();
        updates.sort_unstable_by_key(|(user, _, index)| (user.account, user.id, *index));
        let same = |a: &Update<'_>, b: &Update<'_>| (a.0.account, a.0.id) == (b.0.account, b.0.id);
        let (mut first_refused, mut merged_bytes) = (None, 0);
        for updates in updates.chunk_by(same) {
            match self.check_user(updates) {
                Ok(bytes) => merged_bytes += bytes,
                Err((index, refusal)) => {
                    // The one that comes first is named, as everywhere.
                    if first_refused.as_ref().is_none_or(|(first, _)| index < *first) {
                        first_refused = Some((index, refusal));
                    }
                }
            }
        }
        if let Some((_, refusal)) = first_refused {
            return Err(refusal);
        }
        admit(merged_bytes)?;
        let receipt = Receipt { first_seq: self.first_seq, count: drafts.len() as u64 };
        self.encoded = drafts.into_iter().map(|draft| draft.encoded).collect();
        self.encoded_bytes = self.encoded.iter().map(Vec::len).sum();
        self.large = true;
        Ok(receipt)
    }

    /// What a user becomes by these updates, in bytes; or which of them is refused, and why.
    fn check_user(&self, updates: &[Update<'_>]) -> Result<u64, (usize, Refusal)> {
        let Some((first, _, first_index)) = updates.first() else { return Ok(0) };
        let unreadable = |index: usize, error: String| {
            log::error!("a user can't be updated: {error}");
            (index, Refusal::Unreadable(error.into()))
        };
        let stored = self.pending.state().user(first.account, first.id);
        let mut user = stored.map_err(|error| unreadable(*first_index, error.to_string()))?;
        let mut bytes = 0;
        for (update, at, index) in updates {
            let patch = json::parse_object(update.patch, DEPTH_MAX)
                .map_err(|error| unreadable(*index, error.to_string()))?;
            let user = user.get_or_insert_with(|| User::new(*at));
            user.update(patch, *at);
            let text = user.checked_text();
            let text = text.map_err(|limit| (*index, Refusal::User { index: *index, limit }))?;
            bytes = text.len() as u64;
        }
        Ok(bytes)
    }

    /// Merges a draft's update into its user.
    fn merge(&mut self, draft: &Draft, index: usize, undo: &mut Vec<Undo>) -> Result<(), Refusal> {
        let Some((user, at)) = draft.user_patch() else { return Ok(()) };
        let merged = json::parse_object(user.patch, DEPTH_MAX)
            .map_err(|error| error.to_string())
            .and_then(|patch| {
                let merged = self.pending.merged(user.account, user.id, patch, at);
                merged.map_err(|error| error.to_string())
            })
            .map_err(|error| {
                log::error!("a user can't be updated: {error}");
                Refusal::Unreadable(error.into())
            })?;
        let text = merged.checked_text().map_err(|limit| Refusal::User { index, limit })?;
        undo.push(self.pending.put_user(merged, &text));
        Ok(())
    }

    /// Makes a draft's change of people, sessions or links.
    fn apply_to_people(
        &mut self,
        draft: &Draft,
        seq: Seq,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        let Some((change, at)) = draft.person_change() else { return Ok(()) };
        if change.account().is_some_and(|account| self.accounts.get(account).is_none()) {
            return Err(Refusal::NoAccount);
        }
        let touched = Arc::make_mut(&mut self.people).apply(seq, at, change)?;
        self.people_changed = true;
        undo.push(self.pending.put_people(&self.people, touched));
        Ok(())
    }

    fn apply(&mut self, effect: Effect, seq: Seq, undo: &mut Vec<Undo>) -> Result<(), Refusal> {
        match effect {
            Effect::None | Effect::Merge | Effect::Person => Ok(()),
            Effect::Make { name, api_token, secret_hash, at } => {
                if self.accounts.by_name(name.as_str()).is_some() {
                    return Err(Refusal::NameTaken(name.as_str().to_owned()));
                }
                if self.accounts.len() >= ACCOUNTS_MAX {
                    return Err(Refusal::TooManyAccounts);
                }
                self.put_account(Account::new(AccountId(seq), name, api_token, secret_hash, at));
                Ok(())
            }
            Effect::Rotate { account, api_token, secret_hash, old_token_until } => {
                let old = self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let account = old.rotated(api_token, secret_hash, old_token_until);
                self.put_account(account);
                Ok(())
            }
            Effect::Retain { account, days } => {
                let old = self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let account = Account { retention_days: days, ..Account::clone(old) };
                self.put_account(account);
                Ok(())
            }
            Effect::Allow { account, sites } => {
                let old = self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let account = Account { sites, ..Account::clone(old) };
                self.put_account(account);
                Ok(())
            }
            Effect::SetZone { account, zone } => {
                let old = self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let account = Account { zone, ..Account::clone(old) };
                self.put_account(account);
                Ok(())
            }
            Effect::SetType { account, kind, attribute, data_type } => {
                self.accounts.get(account).ok_or(Refusal::NoAccount)?;
                let attribute = attribute.as_str();
                let all = Arc::make_mut(&mut self.overrides);
                let of_account = Arc::make_mut(all.entry(account).or_default());
                of_account.set(&kind, attribute, data_type);
                if of_account.len() > OVERRIDES_MAX {
                    return Err(Refusal::TooManyTypes);
                }
                if of_account.is_empty() {
                    all.remove(&account);
                }
                self.overrides_changed = true;
                undo.push(self.pending.put_type(account, kind.events(), attribute, data_type));
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

    /// What was taken, as it goes into the log.
    pub fn batches(&self) -> Vec<EncodedBatch> {
        entries(self.first_seq, &self.encoded)
    }

    /// Appends to the log; durable after the next flush. `None` if nothing was taken.
    pub fn append(self) -> Result<Option<Appended<'s>>, Error> {
        let batches = self.batches();
        self.append_as(&batches)
    }

    /// The same, of what is in batches already.
    pub fn append_as(self, batches: &[EncodedBatch]) -> Result<Option<Appended<'s>>, Error> {
        let Stage {
            store,
            first_seq,
            encoded,
            encoded_bytes: _,
            pending,
            accounts,
            accounts_changed,
            overrides,
            overrides_changed,
            people,
            people_changed,
            erasures,
            large,
        } = self;
        if encoded.is_empty() {
            return Ok(None);
        }
        store.tiers.append(batches)?;
        let last_seq = first_seq + encoded.len() as Seq - 1;
        let accounts = accounts_changed.then_some(accounts);
        let overrides = overrides_changed.then_some(overrides);
        let people = people_changed.then_some(people);
        Ok(Some(Appended {
            store,
            last_seq,
            pending,
            accounts,
            overrides,
            people,
            erasures,
            large,
        }))
    }
}

impl Appended<'_> {
    /// Merges into the state, and shows it. To be called when the log is durable.
    ///
    /// What names many users is read back from the log and merged in pieces, each with the mark that
    /// belongs to it and a flush behind it, as when a store is opened: a crash on the way leaves a
    /// state that is a little behind, and the next opening goes on.
    pub fn merge(self, flush: &dyn Flush) -> Result<(), Error> {
        let Appended { store, last_seq, pending, accounts, overrides, people, erasures, large } =
            self;
        if large {
            let hot = store.tiers.hot();
            catch_up(store.tiers.as_ref(), &hot.state, flush, last_seq)?;
        }
        for Erasure { seq, account, scope, at } in erasures {
            // Before the mark can pass it.
            let change = Change::Erased { account, scope };
            store.tiers.erased(seq, &Record { received_at: at, change, keyed: None })?;
        }
        if !large {
            pending.write(last_seq, accounts.as_deref())?;
        }
        if let Some(accounts) = accounts {
            store.publish(accounts);
        }
        if let Some(overrides) = overrides {
            store.publish_overrides(overrides);
        }
        if let Some(people) = people {
            store.publish_people(people);
        }
        store.durable.reach(last_seq);
        store.high_water.note(last_seq);
        Ok(())
    }
}

/// An update of a user, when it came, and its place in a submission.
type Update<'d> = (UserPatch<'d>, Date, usize);

/// Whether a submission of tracking calls names more users than are written at once.
fn names_many_users(drafts: &[Draft]) -> bool {
    let updates = drafts.iter().filter(|draft| draft.changes_user()).count();
    if updates <= USERS_AT_ONCE_MAX || drafts.iter().any(|draft| draft.claim() == Claim::Control) {
        return false;
    }
    let users =
        drafts.iter().filter_map(Draft::user_patch).map(|(user, _)| (user.account, user.id));
    users.collect::<HashSet<_>>().len() > USERS_AT_ONCE_MAX
}

/// Splits a group's records into entries of the log, in order and each within bounds.
pub(super) fn entries(first_seq: Seq, encoded: &[Vec<u8>]) -> Vec<EncodedBatch> {
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
