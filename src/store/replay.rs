//! Replaying: the keyed state as it follows from the log, from where it stopped or from nothing.
//!
//! Goes through [`Pending`], as the committer does, so that the two can't come to different results.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Error;
use super::batch::EncodedBatch;
use super::codec::Malformed;
use super::flush::Flush;
use super::log::{Kind, Log, Missing, Order, Selection};
use super::manifest::View;
use super::state::{MARK, Pending, State, damaged};
use crate::model::erasure::Scope;
use crate::model::limits::DEPTH_MAX;
use crate::model::{
    Account, AccountId, AccountName, Accounts, Change, Erasures, People, Record, Seq, Sites, json,
};

/// Bytes of users that a replay keeps in memory before it writes and flushes them: small beside what
/// sled writes before it uses space again.
const REPLAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who has to know of erasures, as they come.
pub(super) trait Registry {
    /// A record of the log that is an erasure.
    fn erased(&self, seq: Seq, record: &Record<'_>) -> Result<(), Error>;
}

/// Applies what the log has beyond the mark, flushing as it goes; returns the accounts as they are
/// then.
pub(super) fn replay(
    log: &dyn Log,
    registry: &dyn Registry,
    state: &State,
    flush: &dyn Flush,
) -> Result<Accounts, Error> {
    let marked = state.applied()?;
    if marked >= log.next_seq() {
        return Err(damaged(MARK, Malformed("it is ahead of the log")));
    }
    state.note_mark(marked);
    let mut replay = Replay::new(state, Some(registry), flush)?;
    replay.read(log, &Selection::of(marked + 1..=Seq::MAX), None)?;
    replay.end(marked)
}

/// Builds a state from the whole log, account by account where it is sealed, so that no more than one
/// row group is in memory. What is damaged is left out, and counted.
pub(super) fn rebuild<'s>(
    log: &dyn Log,
    view: &View,
    registry: Option<&'s dyn Registry>,
    state: &'s State,
    flush: &'s dyn Flush,
    go_on: &dyn Fn() -> bool,
) -> Result<(Accounts, Missing), Error> {
    let mut replay = Replay::new(state, None, flush)?;
    let sealed_through = view.position.sealed_through;
    let mut missing = Missing::default();
    if sealed_through > 0 {
        // Accounts first: whatever else is said is said of one of them.
        let controls = Selection { kind: Some(Kind::None), ..Selection::of(1..=sealed_through) };
        replay.read(log, &controls, Some(&view.erasures))?;
        for account in view.segments.keys() {
            if !go_on() {
                return Err(Error::Stopped);
            }
            let of_state = Selection {
                account: Some(*account),
                kind: Some(Kind::State),
                controls: false,
                ..Selection::of(1..=sealed_through)
            };
            missing.join(replay.read(log, &of_state, Some(&view.erasures))?);
        }
    }
    replay.last = replay.last.max(sealed_through);
    // What isn't sealed may not have been told to the registry before a crash.
    replay.registry = registry;
    replay.read(log, &Selection::of(sealed_through + 1..=Seq::MAX), None)?;
    Ok((replay.end(0)?, missing))
}

/// Applies what lies behind a state's mark, up to `last`.
pub(super) fn catch_up(
    log: &dyn Log,
    state: &State,
    flush: &dyn Flush,
    last: Seq,
) -> Result<(), Error> {
    let marked = state.applied()?;
    if marked >= last {
        return Ok(());
    }
    let mut replay = Replay::new(state, None, flush)?;
    replay.read(log, &Selection::of(marked + 1..=last), None)?;
    replay.end(marked).map(drop)
}

/// Applies records of the log to a state.
pub(super) struct Replay<'s> {
    state: &'s State,
    registry: Option<&'s dyn Registry>,
    flush: &'s dyn Flush,
    pending: Pending<'s>,
    accounts: Arc<Accounts>,
    /// Whether the accounts aren't as they are in the state.
    accounts_changed: bool,
    people: Arc<People>,
    last: Seq,
    touched: Touched,
}

/// What records have changed of what a store shows from memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touched {
    pub accounts: bool,
    pub overrides: bool,
    pub people: bool,
}

impl<'s> Replay<'s> {
    pub fn new(
        state: &'s State,
        registry: Option<&'s dyn Registry>,
        flush: &'s dyn Flush,
    ) -> Result<Replay<'s>, Error> {
        let (accounts, people) = (Arc::new(state.accounts()?), Arc::new(state.people()?));
        Ok(Replay::on(state, registry, flush, accounts, people))
    }

    /// The same, on accounts and people that are as the state has them.
    pub fn on(
        state: &'s State,
        registry: Option<&'s dyn Registry>,
        flush: &'s dyn Flush,
        accounts: Arc<Accounts>,
        people: Arc<People>,
    ) -> Replay<'s> {
        let pending = Pending::new(state);
        let (accounts_changed, touched) = (false, Touched::default());
        Replay {
            state,
            registry,
            flush,
            pending,
            accounts,
            accounts_changed,
            people,
            last: 0,
            touched,
        }
    }

    /// Applies what is selected, but for what `erased` takes. With it, what an erasure takes needs no
    /// looking for.
    pub fn read(
        &mut self,
        log: &dyn Log,
        selection: &Selection,
        erased: Option<&Erasures>,
    ) -> Result<Missing, Error> {
        log.read(selection, Order::Ascending, &mut |seq, record| {
            self.take(seq, record, erased).map(|()| ControlFlow::Continue(()))
        })
    }

    /// Applies the records of batches that are in the log already.
    pub fn take_all(&mut self, batches: &[EncodedBatch]) -> Result<(), Error> {
        for batch in batches {
            let first = batch.first_seq();
            let odd = |Malformed(why)| beyond(first, why);
            for entry in batch.view().map_err(odd)?.records() {
                let (seq, record) = entry.map_err(odd)?;
                self.take(seq, &record, None)?;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        seq: Seq,
        record: &Record<'_>,
        erased: Option<&Erasures>,
    ) -> Result<(), Error> {
        if let Some(keyed) = record.keyed {
            self.pending.put_once(keyed, seq, record.received_at);
        }
        if !erased.is_some_and(|erased| erased.take(seq, record)) {
            self.apply(seq, record, erased.is_none())?;
        }
        self.last = self.last.max(seq);
        if self.pending.bytes >= REPLAY_BYTES_MAX {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is left and gives the accounts. The log is applied up to the last record that was
    /// seen, or `marked` if there was none.
    pub fn end(mut self, marked: Seq) -> Result<Accounts, Error> {
        if self.last > marked {
            self.write()?;
        }
        Ok(Arc::unwrap_or_clone(self.accounts))
    }

    /// Writes what is left as a group is written, to be flushed with a later one; gives the accounts and people, and
    /// what of all has changed.
    pub fn end_group(self) -> Result<(Arc<Accounts>, Arc<People>, Touched), Error> {
        let Replay { pending, accounts, accounts_changed, people, last, touched, .. } = self;
        pending.write(last, Some(accounts.as_ref()).filter(|_| accounts_changed))?;
        Ok((accounts, people, touched))
    }

    fn write(&mut self) -> Result<(), Error> {
        let pending = std::mem::replace(&mut self.pending, Pending::new(self.state));
        let changed = std::mem::take(&mut self.accounts_changed);
        pending.write_through(self.last, Some(self.accounts.as_ref()).filter(|_| changed))?;
        self.flush.flush().map_err(|error| Error::sled("flush")(sled::Error::Io(error)))
    }

    fn put_account(&mut self, account: Account) {
        Arc::make_mut(&mut self.accounts).put(account);
        (self.accounts_changed, self.touched.accounts) = (true, true);
    }

    fn apply(&mut self, seq: Seq, record: &Record<'_>, seek: bool) -> Result<(), Error> {
        let made = |accounts: &Accounts, account| {
            let account = accounts.get(account).cloned();
            account.ok_or_else(|| beyond(seq, "it names an account that was never made"))
        };
        match record.change {
            Change::Event(_) => {}
            Change::User(user) => {
                let patch = json::parse_object(user.patch, DEPTH_MAX)
                    .map_err(|error| beyond(seq, &error.to_string()))?;
                // It was within bounds when it was accepted; that is not asked again.
                let merged =
                    self.pending.merged(user.account, user.id, patch, record.received_at)?;
                let text = json::to_text(&merged.user.attributes);
                self.pending.put_user(merged, &text);
            }
            Change::AccountMade { name, api_token, secret_hash } => {
                let name =
                    AccountName::new(name).map_err(|error| beyond(seq, &error.to_string()))?;
                let (id, at) = (AccountId(seq), record.received_at);
                self.put_account(Account::new(id, name, api_token, secret_hash, at));
            }
            Change::AccountRotated { account, api_token, secret_hash, old_token_until } => {
                let old = made(&self.accounts, account)?;
                self.put_account(old.rotated(api_token, secret_hash, old_token_until));
            }
            Change::RetentionSet { account, days } => {
                let old = made(&self.accounts, account)?;
                self.put_account(Account { retention_days: days, ..Account::clone(&old) });
            }
            Change::SitesSet { account, sites } => {
                let old = made(&self.accounts, account)?;
                let sites = sites.map(Sites::parse).transpose();
                let sites = sites.map_err(|error| beyond(seq, &error.to_string()))?;
                self.put_account(Account { sites, ..Account::clone(&old) });
            }
            Change::TypeSet { account, events, attribute, data_type } => {
                self.pending.put_type(account, events, attribute, data_type);
                self.touched.overrides = true;
            }
            Change::ZoneSet { account, zone } => {
                let old = made(&self.accounts, account)?;
                let zone = zone.map(Box::from);
                self.put_account(Account { zone, ..Account::clone(&old) });
            }
            Change::Person(change) => {
                change.account().map(|account| made(&self.accounts, account)).transpose()?;
                let people = Arc::make_mut(&mut self.people);
                let touched = people.apply(seq, record.received_at, change);
                let touched = touched.map_err(|refusal| beyond(seq, &refusal.to_string()))?;
                self.touched.people = true;
                self.pending.put_people(&self.people, touched);
            }
            Change::Erased { account, scope } => {
                if let Some(registry) = self.registry {
                    registry.erased(seq, record)?;
                }
                if let (Scope::User(digest), true) = (scope, seek) {
                    self.pending.remove_users_of(account, digest)?;
                }
            }
            Change::Imported { account, progress } => {
                self.pending.put_import(account, &progress);
            }
        }
        Ok(())
    }
}

fn beyond(seq: Seq, why: &str) -> Error {
    Error::Damaged { place: format!("record {seq} of the log"), why: why.to_owned() }
}
