//! A store's part in a shared log (see `shared`): it applies what others have added, in order, and has its own groups
//! added.
//!
//! Called by the committer alone, so that the log and the state keep their one writing thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, never, select};

use super::batch::EncodedBatch;
use super::flush::Flush;
use super::log::Log;
use super::replay::Replay;
use super::shared::{Arrival, Group, GroupId, Offer, Position, Reply, SharedLog};
use super::space::Claim;
use super::{Error, Store};
use crate::model::Seq;

/// How long a group may wait for a place in the log. Who called is told then that nobody knows whether he will get one.
pub const OFFER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes of others' records that are written with one flush, unless a single group has more.
const APPLIED_BYTES_MAX: usize = 1024 * 1024;

/// How often it is looked whether the disk has room again.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// There is nobody left to speak to the log.
pub(super) const ENDED: &str = "what speaks to the shared log has ended";

/// How a store stands to its shared log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// There is none: the log is this store's alone.
    #[default]
    Alone,
    /// Its place in the log is looked for, or it catches up: it stands at `seq` and doesn't add anything yet.
    Joining,
    /// It has caught up, and adds what it gets.
    Member,
    /// Nothing can be added for now, and why.
    Trouble(Arc<str>),
}

/// How the store stands, for those who ask.
#[derive(Default)]
pub(super) struct Membership(Mutex<Standing>);

impl Membership {
    pub fn get(&self) -> Standing {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, standing: Standing) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*held, &standing) {
            (Standing::Trouble(was), Standing::Trouble(is)) if was == is => {}
            (_, Standing::Trouble(why)) => log::warn!("calls are refused: {why}"),
            (Standing::Trouble(_), Standing::Member) => log::info!("calls are accepted again"),
            _ => {}
        }
        *held = standing;
    }
}

impl Store {
    /// How it stands to the log that it shares with others, if it does.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.membership.get()
    }

    /// Puts the records of others behind those it has, durable and merged.
    fn apply_groups(&self, groups: &[Group], flush: &dyn Flush) -> Result<(), Error> {
        let batches: Vec<EncodedBatch> =
            groups.iter().flat_map(|group| group.batches.iter().cloned()).collect();
        let Some(last) = batches.last() else { return Ok(()) };
        let last_seq = last.first_seq() + last.count() - 1;
        let _committing = self.committing();
        let _writing = self.pulse.begin();
        let (tiers, hot) = (&self.tiers, self.tiers.hot());
        tiers.append(&batches)?;
        let began = Instant::now();
        flush.flush().map_err(|error| Error::sled("flush")(sled::Error::Io(error)))?;
        self.figures.flushed(began.elapsed());
        let (accounts, people) = (self.accounts(), self.people());
        let registry = Some(tiers.as_ref() as &dyn super::replay::Registry);
        let mut replay = Replay::on(&hot.state, registry, flush, accounts, people);
        replay.take_all(&batches)?;
        let (accounts, people, touched) = replay.end_group()?;
        if touched.accounts {
            self.publish(accounts);
        }
        if touched.overrides {
            self.publish_overrides(Arc::new(hot.state.overrides()?));
        }
        if touched.people {
            self.publish_people(people);
        }
        self.durable.reach(last_seq);
        self.high_water.note(last_seq);
        Ok(())
    }
}

/// What became of a group that was offered.
pub(super) enum Offered {
    /// It has its place.
    Accepted,
    /// It is to be put together anew, behind what came first.
    Overtaken,
    /// Nobody knows, and why.
    Doubtful(String),
}

/// What the committer knows of the shared log.
pub(super) struct Following {
    log: Box<dyn SharedLog>,
    /// What came while something else was waited for.
    backlog: VecDeque<Arrival>,
    /// The place of the last group that is applied.
    at: Position,
    /// How far the log is known to reach.
    end: Position,
    joined: bool,
    trouble: Option<Arc<str>>,
    /// What offers of this process begin with, and how many there were.
    process: [u8; 8],
    offers: u64,
}

impl Following {
    /// # Errors
    /// If the machine has no randomness to give.
    pub fn new(log: Box<dyn SharedLog>, store: &Store) -> std::io::Result<Following> {
        store.membership.set(Standing::Joining);
        let mut process = [0; 8];
        getrandom::fill(&mut process).map_err(std::io::Error::other)?;
        Ok(Following {
            log,
            backlog: VecDeque::new(),
            at: 0,
            end: 0,
            joined: false,
            trouble: None,
            process,
            offers: 0,
        })
    }

    /// What is heard of the log, to be handed to [`Following::heard`].
    pub fn arrivals(&self) -> &Receiver<Arrival> {
        self.log.arrivals()
    }

    /// Takes in what was heard; it is applied with [`Following::apply`].
    pub fn heard(&mut self, arrival: Arrival) {
        self.backlog.push_back(arrival);
    }

    /// Why nothing can be added now.
    pub fn trouble(&self) -> Option<Arc<str>> {
        if !self.joined {
            return Some("this server has not found its place in the log yet".into());
        }
        if let Some(why) = &self.trouble {
            return Some(Arc::clone(why));
        }
        let left = self.end.saturating_sub(self.at);
        (left > 0).then(|| format!("this server is {left} groups of records behind").into())
    }

    /// Says how it stands.
    fn show(&self, store: &Store) {
        store.membership.set(match &self.trouble {
            _ if !self.joined => Standing::Joining,
            Some(why) => Standing::Trouble(Arc::clone(why)),
            None if self.at < self.end => Standing::Joining,
            None => Standing::Member,
        });
    }

    /// Applies all that has come by now.
    ///
    /// # Errors
    /// Why it can't go on: it ended, or the store failed.
    pub fn apply(&mut self, store: &Store, flush: &dyn Flush) -> Result<(), String> {
        loop {
            self.backlog.extend(self.log.arrivals().try_iter().take(16));
            let Some(arrival) = self.backlog.pop_front() else { break };
            match arrival {
                Arrival::Joined { at, end } => {
                    (self.at, self.end, self.joined) = (at, self.end.max(end), true);
                }
                Arrival::Trouble(why) => self.trouble = why.map(Arc::from),
                Arrival::Ended(why) => return Err(why),
                Arrival::Group { at, first_seq, group } => {
                    if self.comes_next(store, at, first_seq, &group)? {
                        self.apply_from(store, flush, at, group)?;
                    }
                }
            }
            self.show(store);
        }
        Ok(())
    }

    /// Whether a group has records that the store doesn't.
    fn comes_next(
        &mut self,
        store: &Store,
        at: Position,
        first_seq: Seq,
        group: &Group,
    ) -> Result<bool, String> {
        let next_seq = store.tiers.next_seq();
        if at <= self.at || group.batches.is_empty() {
            self.at = self.at.max(at);
            return Ok(false);
        }
        if first_seq == next_seq {
            return Ok(true);
        }
        Err(format!(
            "the shared log goes on with record {first_seq}, but this store ends before {next_seq}: they \
             don't belong together; restore a backup of a server that follows it into an empty directory"
        ))
    }

    /// Applies a group, and those that have come behind it.
    fn apply_from(
        &mut self,
        store: &Store,
        flush: &dyn Flush,
        at: Position,
        first: Group,
    ) -> Result<(), String> {
        let (mut last, mut bytes) = (at, first.bytes());
        let mut next_seq = store.tiers.next_seq() + first.count();
        let mut groups = vec![first];
        while let Some(Arrival::Group { at, first_seq, group }) = self.backlog.front() {
            bytes += group.bytes();
            // What is odd is looked at by itself.
            if bytes > APPLIED_BYTES_MAX || *first_seq != next_seq || *at <= last {
                break;
            }
            (last, next_seq) = (*at, next_seq + group.count());
            if let Some(Arrival::Group { group, .. }) = self.backlog.pop_front() {
                groups.push(group);
            }
        }
        self.wait_for_room(store, bytes);
        store.apply_groups(&groups, flush).map_err(|error| error.to_string())?;
        self.at = last;
        self.log.applied(last, store.last_seq());
        Ok(())
    }

    /// Others go on while this disk is full: nothing is applied until it has room again.
    fn wait_for_room(&mut self, store: &Store, bytes: usize) {
        while let Err(full) = store.space.room().admit(Claim::Control, bytes as u64) {
            store.membership.set(Standing::Trouble(full.to_string().into()));
            std::thread::sleep(ROOM_EVERY);
        }
    }

    /// Offers a group, and waits for what becomes of it, until then.
    pub fn offer(&mut self, batches: &[EncodedBatch], until: Instant) -> Offered {
        let Some(first) = batches.first() else { return Offered::Accepted };
        self.offers += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.process);
        id[8..].copy_from_slice(&self.offers.to_be_bytes());
        let id = GroupId(id);
        let group = Group { id, batches: batches.to_vec() };
        let (reply, replied) = bounded(1);
        self.log.offer(Offer { behind: self.at, first_seq: first.first_seq(), group, reply });
        let (until, mut replied) = (crossbeam_channel::at(until), replied);
        let ended = || Offered::Doubtful(ENDED.to_owned());
        loop {
            select! {
                recv(replied) -> reply => match reply {
                    Ok(Reply::Accepted(at)) => {
                        self.at = at;
                        return Offered::Accepted;
                    }
                    // It may have been overtaken by itself, where an answer was lost: who was first is seen soon.
                    Ok(Reply::Overtaken(end)) => {
                        (self.end, replied) = (self.end.max(end), never());
                    }
                    Ok(Reply::Doubtful(why)) => return Offered::Doubtful(why),
                    Err(_) => return ended(),
                },
                recv(self.log.arrivals()) -> arrival => match arrival {
                    Ok(arrival) => self.backlog.push_back(arrival),
                    Err(_) => return ended(),
                },
                recv(until) -> _ => {
                    return Offered::Doubtful("the log did not answer in time".to_owned());
                }
            }
            if let Some(outcome) = self.seen(id) {
                return outcome;
            }
        }
    }

    /// A group of one's own that had its place is on disk.
    pub fn written(&self, last_seq: Seq) {
        self.log.applied(self.at, last_seq);
    }

    /// Whether the place that a group was offered for is seen to be taken: by it, or by another.
    fn seen(&mut self, id: GroupId) -> Option<Offered> {
        let (at, found) = self.backlog.iter().find_map(|arrival| match arrival {
            // The rest of its own may come yet.
            Arrival::Group { group, .. } if group.id == id && group.batches.is_empty() => None,
            Arrival::Group { at, group, .. } if *at > self.at => Some((*at, group.id)),
            _ => None,
        })?;
        if found != id {
            return Some(Offered::Overtaken);
        }
        self.at = at;
        Some(Offered::Accepted)
    }

    /// Applies what comes until the store has all that the log is known to hold.
    ///
    /// # Errors
    /// As [`Following::apply`].
    pub fn catch_up(
        &mut self,
        store: &Store,
        flush: &dyn Flush,
        until: Instant,
    ) -> Result<(), String> {
        loop {
            self.apply(store, flush)?;
            if self.at >= self.end {
                return Ok(());
            }
            match self.log.arrivals().recv_deadline(until) {
                Ok(arrival) => self.backlog.push_back(arrival),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(ENDED.to_owned()),
            }
        }
    }
}
