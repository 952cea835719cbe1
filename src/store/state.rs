//! The keyed state: users and accounts as the log has left them, and how far it was applied.
//!
//! [`Pending`] holds what a batch of records changes, on top of what the tree has; the committer
//! and a replay both go through it, so that they can't come to different results.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use sled::{Batch, IVec, Tree};

use super::codec::{Input, Malformed, open_as, put_date, put_str, put_u64, seal_as};
use super::flush::Flush;
use super::log::{Order, Step};
use super::once::{self, Stored};
use super::types::{self, AllOverrides};
use super::{Error, people, walk};
use crate::model::erasure::Digest;
use crate::model::limits::DEPTH_MAX;
use crate::model::people::Touched;
use crate::model::record::{Keyed, Progress};
use crate::model::user::UserLimit;
use crate::model::{
    Account, AccountId, AccountName, Accounts, ApiToken, DataType, Date, Object, Overrides, People,
    SecretHash, Seq, Sites, User, json,
};

pub(super) const MARK: &[u8] = b"m";
const REBUILDING: &[u8] = b"r";
const ACCOUNT: u8 = b'a';
const USER: u8 = b'u';
const IMPORT: u8 = b'i';

/// The format of a value; the checksum behind it covers the key as well.
const FORMAT: u8 = 1;

/// The format of an account that says how long its events are kept.
const FORMAT_RETENTION: u8 = 2;

/// The format of an account that says where calls of browsers may come from.
const FORMAT_SITES: u8 = 3;

/// The format of an account that says its time zone, or which token lives on.
const FORMAT_ZONE: u8 = 4;

/// Records that the mark may lag behind the log, so that groups of nothing but events don't each
/// write it. So many are looked at again when the store is opened.
const MARK_LAG_MAX: Seq = 4_096;

/// The tree that holds it.
pub(super) struct State {
    tree: Tree,
    /// What the mark says, as far as this process wrote it.
    marked: AtomicU64,
}

/// A user in the tree: its id and its state.
pub(super) type UserEntry = (String, User);

/// A user as the state has it, not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserText<'s> {
    /// The id.
    pub id: &'s str,
    /// When the first call that named the user was accepted.
    pub created_at: Date,
    /// When the last one was.
    pub updated_at: Date,
    /// Every attribute, `email` among them, without `id`: one JSON object, compact.
    pub attributes: &'s str,
}

impl State {
    pub fn new(tree: Tree) -> State {
        State { tree, marked: AtomicU64::new(0) }
    }

    /// All keys and values.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        for entry in walk::ascending::<&[u8], _>(&self.tree, ..) {
            let (key, value) = entry.map_err(Error::sled("read the state"))?;
            bytes += (key.len() + value.len()) as u64;
        }
        Ok(bytes)
    }

    /// How far the mark in the tree is known to reach: the slowest that reads the log.
    pub fn marked(&self) -> Seq {
        self.marked.load(SeqCst)
    }

    /// Notes what the mark in the tree was found to say.
    pub fn note_mark(&self, marked: Seq) {
        self.marked.store(marked, SeqCst);
    }

    /// Moves the mark. What it says is applied has to be in the tree.
    pub fn write_mark(&self, applied: Seq) -> Result<(), Error> {
        let written = self.tree.insert(MARK, encode_mark(applied));
        written.map_err(Error::sled("write the state"))?;
        self.marked.store(applied, SeqCst);
        Ok(())
    }

    /// Moves the mark when it lags too far. One key needs no batch, and a batch makes sled write its
    /// buffer to disk twice more.
    fn write_mark_lazily(&self, applied: Seq) -> Result<(), Error> {
        if applied.saturating_sub(self.marked()) > MARK_LAG_MAX {
            self.write_mark(applied)?;
        }
        Ok(())
    }

    /// Whether a rebuild was begun and not ended.
    pub fn is_being_rebuilt(&self) -> Result<bool, Error> {
        self.tree.contains_key(REBUILDING).map_err(Error::sled("read the state"))
    }

    /// Empties it for a rebuild. sled removes keys one by one, so a sign that lasts is put up first;
    /// whoever meets it begins anew.
    pub fn begin_rebuild(&self, flush: &dyn Flush) -> Result<(), Error> {
        let failed = Error::sled("clear the state");
        self.tree.insert(REBUILDING, b"").map_err(&failed)?;
        flush.flush().map_err(|error| failed(sled::Error::Io(error)))?;
        for key in self.tree.iter().keys() {
            let key = key.map_err(&failed)?;
            if key != REBUILDING {
                self.tree.remove(key).map_err(&failed)?;
            }
        }
        self.marked.store(0, SeqCst);
        flush.flush().map_err(|error| failed(sled::Error::Io(error)))
    }

    /// Takes the sign down; what was built has to be durable.
    pub fn end_rebuild(&self) -> Result<(), Error> {
        self.tree.remove(REBUILDING).map(drop).map_err(Error::sled("write the state"))
    }

    /// Up to which `seq` the log has been applied.
    pub fn applied(&self) -> Result<Seq, Error> {
        let mark = self.tree.get(MARK).map_err(Error::sled("read the state"))?;
        match mark {
            None => Ok(0),
            Some(value) => open(MARK, &value)
                .and_then(|mut input| input.u64())
                .map_err(|error| damaged(MARK, error)),
        }
    }

    pub fn user(&self, account: AccountId, id: &str) -> Result<Option<User>, Error> {
        let key = user_key(account, id);
        let value = self.tree.get(&key).map_err(Error::sled("read a user"))?;
        value.map(|value| decode_user(&key, &value)).transpose()
    }

    /// The users of an account whose id comes after `after`, by id.
    pub fn users(
        &self,
        account: AccountId,
        after: Option<&str>,
    ) -> impl Iterator<Item = Result<UserEntry, Error>> + use<> {
        let prefix_len = user_key(account, "").len();
        walk::ascending(&self.tree, users_after(account, after)).map(move |entry| {
            let (key, value) = entry.map_err(Error::sled("read users"))?;
            let id = std::str::from_utf8(&key[prefix_len..])
                .map_err(|_| damaged(&key, Malformed("its id isn't UTF-8")))?;
            Ok((id.to_owned(), decode_user(&key, &value)?))
        })
    }

    /// Shows `visit` the users of an account whose id comes behind `behind`, by id, until it says to stop.
    pub fn each_user(
        &self,
        account: AccountId,
        order: Order,
        behind: Option<&str>,
        visit: &mut dyn FnMut(&UserText<'_>) -> Step,
    ) -> Result<(), Error> {
        let prefix = user_key(account, "");
        let entries: Box<dyn Iterator<Item = _>> = match (order, behind) {
            (Order::Ascending, _) => {
                Box::new(walk::ascending(&self.tree, users_after(account, behind)))
            }
            (Order::Descending, Some(id)) => {
                Box::new(walk::descending(&self.tree, prefix.clone()..user_key(account, id)))
            }
            (Order::Descending, None) => {
                Box::new(walk::descending(&self.tree, users_after(account, None)))
            }
        };
        for entry in entries {
            let (key, value) = entry.map_err(Error::sled("read users"))?;
            let user =
                user_text(&key, prefix.len(), &value).map_err(|error| damaged(&key, error))?;
            if visit(&user)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    pub fn accounts(&self) -> Result<Accounts, Error> {
        let mut accounts = Accounts::default();
        for entry in self.tree.scan_prefix([ACCOUNT]) {
            let (key, value) = entry.map_err(Error::sled("read the accounts"))?;
            accounts.put(decode_account(&key, &value).map_err(|error| damaged(&key, error))?);
        }
        Ok(accounts)
    }

    /// The types that accounts have set.
    pub fn overrides(&self) -> Result<AllOverrides, Error> {
        let mut all: HashMap<AccountId, Overrides> = HashMap::new();
        for entry in self.tree.scan_prefix([types::PREFIX]) {
            let (key, value) = entry.map_err(Error::sled("read the types that were set"))?;
            let set = types::decode(&key, &value).map_err(|error| damaged(&key, error))?;
            let of_account = all.entry(set.account).or_default();
            of_account.set_of(set.events, set.attribute, Some(set.data_type));
        }
        Ok(all.into_iter().map(|(account, of_account)| (account, Arc::new(of_account))).collect())
    }

    /// Who may sign in, the sessions and the links.
    pub fn people(&self) -> Result<People, Error> {
        let failed = || Error::sled("read who may sign in");
        let mut all = People::default();
        for entry in self.tree.scan_prefix([people::PERSON]) {
            let (key, value) = entry.map_err(failed())?;
            let (person, sessions) =
                people::decode(&key, &value).map_err(|error| damaged(&key, error))?;
            all.put(person, sessions);
        }
        if let Some(value) = self.tree.get(people::LINKS).map_err(failed())? {
            let links = people::decode_links(&value);
            all.put_links(links.map_err(|error| damaged(people::LINKS, error))?);
        }
        Ok(all)
    }

    /// How far each import into an account has come, for those of users or of events.
    pub fn imports(&self, account: AccountId, users: bool) -> Result<Vec<Progress>, Error> {
        let mut imports = Vec::new();
        for entry in self.tree.scan_prefix(import_key(account, None)) {
            let (key, value) = entry.map_err(Error::sled("read the imports"))?;
            let progress = decode_import(&key, &value).map_err(|error| damaged(&key, error))?;
            if progress.users == users {
                imports.push(progress);
            }
        }
        Ok(imports)
    }

    /// The users of an account that a digest stands for: one, or none.
    pub fn users_of(&self, account: AccountId, digest: Digest) -> Result<Vec<Vec<u8>>, Error> {
        let prefix = user_key(account, "");
        let mut found = Vec::new();
        for key in self.tree.scan_prefix(&prefix).keys() {
            let key = key.map_err(Error::sled("read users"))?;
            if is_user(&key, account, digest) {
                found.push(key.to_vec());
            }
        }
        Ok(found)
    }

    /// Every key and value, to compare two states byte for byte.
    #[cfg(test)]
    pub fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.tree
            .iter()
            .map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())).expect("readable"))
            .collect()
    }
}

/// Changes that aren't in the tree yet: what keys will hold, or that they will be gone. Users are held
/// as text: parsed, one can take 50 times that.
pub(super) struct Pending<'s> {
    state: &'s State,
    entries: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// Behind the last row of a key that was taken away for being too old.
    cleared_to: Vec<u8>,
    /// Of what is held.
    pub bytes: usize,
}

impl<'s> Pending<'s> {
    pub fn new(state: &'s State) -> Pending<'s> {
        Pending { state, entries: HashMap::new(), cleared_to: Vec::new(), bytes: 0 }
    }

    /// What it is on top of.
    pub fn state(&self) -> &'s State {
        self.state
    }

    /// Bytes that were taken in, those that were taken back or replaced included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A user after one more update, to be taken in or not.
    pub fn merged(
        &self,
        account: AccountId,
        id: &str,
        patch: Object,
        at: Date,
    ) -> Result<Merged, Error> {
        let key = user_key(account, id);
        let stored = match self.entries.get(&key) {
            Some(value) => value.as_ref().map(|value| decode_user(&key, value)).transpose()?,
            None => {
                let value = self.state.tree.get(&key).map_err(Error::sled("read a user"))?;
                value.map(|value| decode_user(&key, &value)).transpose()?
            }
        };
        let mut user = stored.unwrap_or_else(|| User::new(at));
        user.update(patch, at);
        Ok(Merged { key, user })
    }

    /// Takes an update in; `text` is what its attributes are as JSON. Returns what it replaces, for
    /// [`Pending::undo`].
    pub fn put_user(&mut self, merged: Merged, text: &str) -> Undo {
        let Merged { key, user } = merged;
        let value = encode_user(&key, &user, text);
        self.put(key, Some(value))
    }

    /// Takes in that a user is gone.
    pub fn remove_user(&mut self, account: AccountId, id: &str) -> Undo {
        self.put(user_key(account, id), None)
    }

    /// Takes in that whoever a digest stands for is gone.
    pub fn remove_users_of(&mut self, account: AccountId, digest: Digest) -> Result<(), Error> {
        let mut found = self.state.users_of(account, digest)?;
        found.extend(self.entries.keys().filter(|key| is_user(key, account, digest)).cloned());
        for key in found {
            self.put(key, None);
        }
        Ok(())
    }

    /// The submission that was stored under a key that is in force.
    pub fn stored_once(&self, key: Digest, now: Date) -> Result<Option<Stored>, Error> {
        for place in once::places(now, key) {
            let value = match self.entries.get(&place) {
                Some(value) => value.as_deref().map(IVec::from),
                None => self.state.tree.get(&place).map_err(Error::sled("read a key"))?,
            };
            let Some(value) = value else { continue };
            let stored = once::decode(&place, &value).map_err(|error| damaged(&place, error))?;
            if stored.is_in_force(now) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Takes in that a submission was stored under a key, and that a few are gone that are too old.
    pub fn put_once(&mut self, keyed: Keyed, first_seq: Seq, received_at: Date) {
        let key = once::row_key(received_at, keyed.key);
        let value = once::encode(&key, keyed, first_seq, received_at);
        self.put(key, Some(value));
        let too_old = once::too_old(received_at);
        let from = self.cleared_to.clone().max(too_old.start);
        if from >= too_old.end {
            return;
        }
        for key in self.state.tree.range(from..too_old.end).keys().take(once::REMOVED_MAX) {
            // What can't be read now stays until it can be.
            let Ok(key) = key else { return };
            self.cleared_to = [&key, &[0][..]].concat();
            self.put(key.to_vec(), None);
        }
    }

    /// Takes in how far an import has come.
    pub fn put_import(&mut self, account: AccountId, progress: &Progress) -> Undo {
        let key = import_key(account, Some(progress.import));
        let value = encode_import(&key, progress);
        self.put(key, Some(value))
    }

    /// Takes in that a type was set for an attribute, or taken back.
    pub fn put_type(
        &mut self,
        account: AccountId,
        events: Option<&str>,
        attribute: &str,
        data_type: Option<DataType>,
    ) -> Undo {
        let key = types::key(account, events, attribute);
        let value = data_type.map(|data_type| types::encode(&key, data_type));
        self.put(key, value)
    }

    /// Takes in what a change of people has changed; they are as they are after it.
    pub fn put_people(&mut self, all: &People, touched: Touched) -> Undo {
        match touched {
            Touched::Person(id) => {
                let key = people::key(id);
                let person = all.get(id);
                let value = person.map(|person| people::encode(&key, person, all.sessions_of(id)));
                self.put(key, value)
            }
            Touched::Links => {
                let links = Some(all.links()).filter(|links| !links.is_empty());
                self.put(people::LINKS.to_vec(), links.map(people::encode_links))
            }
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Undo {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        let before = self.entries.insert(key.clone(), value);
        Undo { key, before }
    }

    /// Takes an update back. Several are undone last first.
    pub fn undo(&mut self, undo: Undo) {
        match undo.before {
            Some(before) => self.entries.insert(undo.key, before),
            None => self.entries.remove(&undo.key),
        };
    }

    /// Writes all of it, accounts if they changed, and the mark, at once.
    pub fn write(self, applied: Seq, accounts: Option<&Accounts>) -> Result<(), Error> {
        if self.entries.is_empty() && accounts.is_none() {
            return self.state.write_mark_lazily(applied);
        }
        self.write_through(applied, accounts)
    }

    /// The same, the mark in any case.
    pub fn write_through(self, applied: Seq, accounts: Option<&Accounts>) -> Result<(), Error> {
        let mut batch = Batch::default();
        for (key, value) in self.entries {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        // There are few, and they change seldom: all are written when one has changed.
        for account in accounts.map(Accounts::list).unwrap_or_default() {
            let key = account_key(account.id);
            let value = encode_account(&key, &account);
            batch.insert(key, value);
        }
        batch.insert(MARK, encode_mark(applied));
        self.state.tree.apply_batch(batch).map_err(Error::sled("write the state"))?;
        self.state.marked.store(applied, SeqCst);
        Ok(())
    }
}

/// A user after an update that isn't taken in yet.
pub(super) struct Merged {
    key: Vec<u8>,
    pub user: User,
}

impl Merged {
    /// Its text, if it may be kept.
    pub fn checked_text(&self) -> Result<String, UserLimit> {
        self.user.checked_text()
    }
}

/// What an update replaced.
pub(super) struct Undo {
    key: Vec<u8>,
    /// Nothing, if it was the first change of its key.
    before: Option<Option<Vec<u8>>>,
}

pub(super) fn damaged(key: &[u8], error: Malformed) -> Error {
    Error::Damaged {
        place: format!("the state's entry {}", key.escape_ascii()),
        why: error.0.to_owned(),
    }
}

pub(super) fn user_key(account: AccountId, id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + id.len());
    key.push(USER);
    key.extend_from_slice(&account.0.to_be_bytes());
    key.extend_from_slice(id.as_bytes());
    key
}

/// The keys of an account's users, of those whose id comes after one.
fn users_after(account: AccountId, after: Option<&str>) -> Range<Vec<u8>> {
    let start = match after {
        // The key right behind: ids have no end mark, so a longer one follows a shorter.
        Some(id) => [user_key(account, id), vec![0]].concat(),
        None => user_key(account, ""),
    };
    start..user_key(AccountId(account.0.saturating_add(1)), "")
}

/// Whether a key says how far the log is applied, and not what follows from it.
pub(super) fn is_mark(key: &[u8]) -> bool {
    key == MARK || key == REBUILDING
}

/// Whether a key is that of the user whom a digest stands for.
fn is_user(key: &[u8], account: AccountId, digest: Digest) -> bool {
    let id = key.strip_prefix(user_key(account, "").as_slice());
    id.and_then(|id| std::str::from_utf8(id).ok())
        .is_some_and(|id| Digest::of_user(account, id) == digest)
}

/// Without an import, what all of an account's begin with.
pub(super) fn import_key(account: AccountId, import: Option<u64>) -> Vec<u8> {
    let mut key = vec![IMPORT];
    key.extend_from_slice(&account.0.to_be_bytes());
    key.extend(import.iter().flat_map(|import| import.to_be_bytes()));
    key
}

fn account_key(id: AccountId) -> Vec<u8> {
    let mut key = vec![ACCOUNT];
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

fn seal(key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    seal_as(FORMAT, key, write)
}

fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<Input<'a>, Malformed> {
    open_as(FORMAT, key, value)
}

fn encode_mark(applied: Seq) -> Vec<u8> {
    seal(MARK, |out| put_u64(out, applied))
}

pub(super) fn encode_user(key: &[u8], user: &User, text: &str) -> Vec<u8> {
    seal(key, |out| {
        put_date(out, user.created_at);
        put_date(out, user.updated_at);
        put_str(out, text);
    })
}

pub(super) fn decode_user(key: &[u8], value: &[u8]) -> Result<User, Error> {
    let decode = || {
        let mut input = open(key, value)?;
        let (created_at, updated_at) = (input.date()?, input.date()?);
        let attributes = json::parse_object(input.str()?, DEPTH_MAX)
            .map_err(|_| Malformed("its attributes aren't a JSON object"))?;
        input.end()?;
        Ok(User { created_at, updated_at, attributes })
    };
    decode().map_err(|error| damaged(key, error))
}

fn user_text<'s>(
    key: &'s [u8],
    prefix_len: usize,
    value: &'s [u8],
) -> Result<UserText<'s>, Malformed> {
    let id = key.get(prefix_len..).and_then(|id| std::str::from_utf8(id).ok());
    let id = id.ok_or(Malformed("its id isn't UTF-8"))?;
    let mut input = open(key, value)?;
    let (created_at, updated_at) = (input.date()?, input.date()?);
    let attributes = input.str()?;
    input.end()?;
    Ok(UserText { id, created_at, updated_at, attributes })
}

pub(super) fn encode_account(key: &[u8], account: &Account) -> Vec<u8> {
    // What an account had before it could have a retention, or sites, is written as it was then.
    let later = account.zone.is_some() || account.old_token.is_some();
    let format = match (&account.retention_days, &account.sites) {
        _ if later => FORMAT_ZONE,
        (None, None) => FORMAT,
        (Some(_), None) => FORMAT_RETENTION,
        (_, Some(_)) => FORMAT_SITES,
    };
    seal_as(format, key, |out| {
        put_str(out, account.name.as_str());
        out.extend_from_slice(&account.api_token.0);
        out.extend_from_slice(&account.secret_hash.0);
        put_date(out, account.created_at);
        if format > FORMAT {
            // Nothing is kept for no days, so 0 is free to mean for ever.
            put_u64(out, u64::from(account.retention_days.unwrap_or_default()));
        }
        if format < FORMAT_ZONE {
            account.sites.iter().for_each(|sites| put_str(out, &sites.to_string()));
            return;
        }
        // Neither is ever empty, so the empty text is free to mean none.
        put_str(out, &account.sites.as_ref().map(Sites::to_string).unwrap_or_default());
        put_str(out, account.zone.as_deref().unwrap_or_default());
        if let Some((token, until)) = account.old_token {
            out.extend_from_slice(&token.0);
            put_date(out, until);
        }
    })
}

pub(super) fn decode_account(key: &[u8], value: &[u8]) -> Result<Account, Malformed> {
    let id = key.get(1..).and_then(|id| id.try_into().ok()).ok_or(Malformed("its key is odd"))?;
    let format = value.first().copied().unwrap_or_default().clamp(FORMAT, FORMAT_ZONE);
    let mut input = open_as(format, key, value)?;
    let mut account = Account::new(
        AccountId(u64::from_be_bytes(id)),
        AccountName::new(input.str()?).map_err(|_| Malformed("its name is odd"))?,
        ApiToken(input.array()?),
        SecretHash(input.array()?),
        input.date()?,
    );
    if format >= FORMAT_RETENTION {
        let days = u32::try_from(input.u64()?).ok();
        account.retention_days = days.filter(|days| *days > 0);
    }
    if format >= FORMAT_SITES {
        let sites = Some(input.str()?).filter(|text| format == FORMAT_SITES || !text.is_empty());
        account.sites =
            sites.map(Sites::parse).transpose().map_err(|_| Malformed("its sites are odd"))?;
    }
    if format >= FORMAT_ZONE {
        account.zone = Some(input.str()?).filter(|zone| !zone.is_empty()).map(Box::from);
        if input.end().is_err() {
            account.old_token = Some((ApiToken(input.array()?), input.date()?));
        }
    }
    input.end()?;
    Ok(account)
}

pub(super) fn encode_import(key: &[u8], progress: &Progress) -> Vec<u8> {
    seal(key, |out| {
        out.push(u8::from(progress.users));
        put_u64(out, progress.lines);
        out.extend_from_slice(&progress.digest);
    })
}

pub(super) fn decode_import(key: &[u8], value: &[u8]) -> Result<Progress, Malformed> {
    let import = key.get(9..).and_then(|key| key.try_into().ok());
    let import = import.map(u64::from_be_bytes).ok_or(Malformed("its key is odd"))?;
    let mut input = open(key, value)?;
    let users = input.byte()? != 0;
    let progress = Progress { import, users, lines: input.u64()?, digest: input.array()? };
    input.end()?;
    Ok(progress)
}
