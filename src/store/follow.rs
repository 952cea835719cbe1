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
use super::shared::{Arrival, Group, GroupId, Offer, Place, Position, Reply, SharedLog, What};
use super::space::Claim;
use super::{Error, Store};
use crate::model::Seq;

/// How long a group may wait for a place in the log. Who called is told then that nobody knows whether he will get one.
pub const OFFER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes of others' records that are written with one flush, unless a single group has more.
const APPLIED_BYTES_MAX: usize = 1024 * 1024;

/// How often it is looked whether the disk has room again.
pub(super) const ROOM_EVERY: Duration = Duration::from_secs(1);

/// How often it is noted how far the store has come: what lies behind that is read again when it is opened.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Arrivals that are taken in at once.
const TAKEN_MAX: usize = 16;

/// There is nobody left to speak to the log.
pub(super) const ENDED: &str = "what speaks to the shared log has ended";

/// The log goes elsewhere.
const LEFT: &str = "the log was moved off its stream, to the store of one server; start that one without --log nats://...";

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
            // Said once; `/healthz` has it as it is now.
            (Standing::Trouble(_), Standing::Trouble(_)) => {}
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
    fn apply_groups(&self, groups: &[Group], to: Place, flush: &dyn Flush) -> Result<(), Error> {
        let last_id = groups.last().map(|group| group.id);
        let batches: Vec<EncodedBatch> =
            groups.iter().flat_map(|group| group.batches.iter().cloned()).collect();
        let Some(last) = batches.last() else { return Ok(()) };
        let last_seq = last.first_seq() + last.count() - 1;
        let _committing = self.committing();
        let _writing = self.pulse.begin();
        let (tiers, hot) = (&self.tiers, self.tiers.hot());
        tiers.append(&batches)?;
        // With the same flush, so that a store knows where it stands.
        self.note_place(to, last_id)?;
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
    /// It counts.
    Accepted,
    /// It is to be put together anew, behind what came first.
    Overtaken,
    /// Nobody knows, and why.
    Doubtful(String),
}

/// What the committer knows of the shared log.
pub(super) struct Following {
    log: Box<dyn SharedLog>,
    /// What came and isn't applied yet.
    backlog: VecDeque<Arrival>,
    /// The last place whose group the store has, or knows to be void.
    at: Position,
    /// How far the log is known to reach.
    end: Position,
    /// The last place that was seen of those up to `at`.
    seen: Place,
    noted: (Place, Instant),
    /// The last group that counted, if one was seen.
    last: Option<GroupId>,
    joined: bool,
    trouble: Option<Arc<str>>,
    /// Why what came can't be applied yet: the disk has no room for it.
    full: Option<Arc<str>>,
    /// What offers of this process begin with, and how many there were.
    process: [u8; 8],
    offers: u64,
}

impl Following {
    /// # Errors
    /// If the machine has no randomness to give, or the store can't be read.
    pub fn new(log: Box<dyn SharedLog>, store: &Store) -> std::io::Result<Following> {
        store.membership.set(Standing::Joining);
        store.figures.stands(0, 0, false);
        let mut process = [0; 8];
        getrandom::fill(&mut process).map_err(std::io::Error::other)?;
        let (_, last) = store.place().map_err(std::io::Error::other)?;
        Ok(Following {
            log,
            backlog: VecDeque::new(),
            at: 0,
            end: 0,
            seen: Place::default(),
            noted: (Place::default(), Instant::now()),
            last,
            joined: false,
            trouble: None,
            full: None,
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
        if let Some(why) = self.full.as_ref().or(self.trouble.as_ref()) {
            return Some(Arc::clone(why));
        }
        let left = self.end.saturating_sub(self.at);
        (left > 0).then(|| format!("this server is {left} groups of records behind").into())
    }

    /// Whether what came waits for room on the disk: nothing more is to be heard meanwhile, and [`Following::apply`] to be
    /// called every [`ROOM_EVERY`].
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Nothing more is offered, until the log is heard to take groups again.
    pub fn doubt(&mut self, store: &Store, why: &Arc<str>) {
        store.figures.doubtful();
        self.trouble = Some(Arc::clone(why));
        self.show(store);
        self.log.probe();
    }

    /// Says how it stands.
    fn show(&self, store: &Store) {
        let standing = match self.full.as_ref().or(self.trouble.as_ref()) {
            _ if !self.joined => Standing::Joining,
            Some(why) => Standing::Trouble(Arc::clone(why)),
            None if self.at < self.end => Standing::Joining,
            None => Standing::Member,
        };
        store.figures.stands(self.at, self.end, standing == Standing::Member);
        store.membership.set(standing);
    }

    /// Applies all that has come by now, as far as the disk has room.
    ///
    /// # Errors
    /// Why it can't go on: it ended, or the store failed.
    pub fn apply(&mut self, store: &Store, flush: &dyn Flush) -> Result<(), String> {
        self.full = None;
        loop {
            if self.backlog.is_empty() {
                self.backlog.extend(self.log.arrivals().try_iter().take(TAKEN_MAX));
            }
            let Some(arrival) = self.backlog.pop_front() else { break };
            if let Err(full) = has_room(store, &arrival) {
                self.full = Some(full);
                self.backlog.push_front(arrival);
                self.show(store);
                break;
            }
            match arrival {
                Arrival::Joined { from, end } => {
                    (self.at, self.seen, self.joined) = (from.at, from, true);
                    self.end = self.end.max(end);
                }
                Arrival::Trouble(why) => self.trouble = why.map(Arc::from),
                Arrival::Ended(why) => return Err(why),
                Arrival::Next { place, what } => {
                    let next_seq = store.tiers.next_seq();
                    match what {
                        What::Group { first_seq, group }
                            if place.at > self.at && counts(first_seq, next_seq)? =>
                        {
                            follows(self.last, &group, first_seq)?;
                            self.apply_from(store, flush, place, group)?;
                        }
                        What::Left { next_seq: left } if place.at > self.at && left == next_seq => {
                            return Err(LEFT.to_owned());
                        }
                        _ => {}
                    }
                    self.passed(place);
                    self.log.applied(self.at, store.last_seq());
                }
            }
            self.show(store);
        }
        self.note(store, NOTED_EVERY).map_err(|error| error.to_string())
    }

    /// Everything up to a place is applied, or void.
    fn passed(&mut self, place: Place) {
        self.at = self.at.max(place.at);
        self.seen = place;
    }

    /// Notes how far the store has come, if that is some time ago. All of it was flushed before.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn note(&mut self, store: &Store, every: Duration) -> Result<(), Error> {
        // What a group of one's own was stamped with is seen when it comes.
        let is_known = self.seen.at == self.at && self.seen != self.noted.0;
        if !is_known || self.noted.1.elapsed() < every {
            return Ok(());
        }
        self.noted = (self.seen, Instant::now());
        store.note_place(self.seen, self.last)
    }

    /// Applies a group that counts, and those that have come behind it.
    fn apply_from(
        &mut self,
        store: &Store,
        flush: &dyn Flush,
        place: Place,
        first: Group,
    ) -> Result<(), String> {
        let (mut last, mut bytes) = (place, first.bytes());
        let mut next_seq = store.tiers.next_seq() + first.count();
        let mut counted_last = first.id;
        let mut groups = vec![first];
        while let Some(Arrival::Next { what: What::Group { first_seq, group }, .. }) =
            self.backlog.front()
        {
            bytes += group.bytes();
            let counted = *first_seq == next_seq;
            let can_be = *first_seq <= next_seq
                && (!counted || follows(Some(counted_last), group, next_seq).is_ok());
            // What can't be is looked at by itself.
            if bytes > APPLIED_BYTES_MAX || !can_be {
                break;
            }
            if let Some(Arrival::Next { place, what: What::Group { group, .. } }) =
                self.backlog.pop_front()
            {
                last = place;
                if counted {
                    next_seq += group.count();
                    counted_last = group.id;
                    groups.push(group);
                }
            }
        }
        store.apply_groups(&groups, last, flush).map_err(|error| error.to_string())?;
        self.last = Some(counted_last);
        self.passed(last);
        self.log.applied(self.at, store.last_seq());
        Ok(())
    }

    /// Offers a group that was put together behind all that is applied, and waits for what becomes of it, until then.
    ///
    /// # Errors
    /// As [`Following::apply`].
    pub fn offer(&mut self, batches: &[EncodedBatch], until: Instant) -> Result<Offered, String> {
        let Some(first) = batches.first() else { return Ok(Offered::Accepted) };
        self.offers += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.process);
        id[8..].copy_from_slice(&self.offers.to_be_bytes());
        let (id, next_seq) = (GroupId(id), first.first_seq());
        let group = Group { id, after: self.last, batches: batches.to_vec() };
        let (reply, mut replied) = bounded(1);
        self.log.offer(Offer { behind: self.at, first_seq: next_seq, group, reply });
        let until = crossbeam_channel::at(until);
        let ended = || Ok(Offered::Doubtful(ENDED.to_owned()));
        loop {
            select! {
                recv(replied) -> reply => match reply {
                    Ok(Reply::Next(at)) => {
                        (self.at, self.last) = (at, Some(id));
                        return Ok(Offered::Accepted);
                    }
                    Ok(Reply::Kept(at)) => {
                        (self.end, replied) = (self.end.max(at), never());
                    }
                    Ok(Reply::Doubtful(why)) => return Ok(Offered::Doubtful(why)),
                    Err(_) => return ended(),
                },
                recv(self.log.arrivals()) -> arrival => match arrival {
                    Ok(arrival) => self.backlog.push_back(arrival),
                    Err(_) => return ended(),
                },
                recv(until) -> _ => {
                    return Ok(Offered::Doubtful("the log did not answer in time".to_owned()));
                }
            }
            if let Some(outcome) = self.outcome(id, next_seq)? {
                return Ok(outcome);
            }
        }
    }

    /// Notes where the group of one's own is that counts, to be on disk with it.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn note_own(&self, store: &Store) -> Result<(), Error> {
        store.note_place(Place { at: self.at, stamp: 0 }, self.last)
    }

    /// A group of one's own that counts is on disk.
    pub fn written(&self, store: &Store) {
        self.log.applied(self.at, store.last_seq());
        self.show(store);
    }

    /// Whether it is seen which group counts: the one that was offered, or another.
    fn outcome(&mut self, id: GroupId, next_seq: Seq) -> Result<Option<Offered>, String> {
        for arrival in &self.backlog {
            let Arrival::Next { place, what } = arrival else { continue };
            let (first_seq, found) = match what {
                What::Group { first_seq, group } => (*first_seq, Some(group.id)),
                What::Left { next_seq } => (*next_seq, None),
                What::Nothing => continue,
            };
            if place.at <= self.at || !counts(first_seq, next_seq)? {
                continue;
            }
            if found != Some(id) {
                return Ok(Some(Offered::Overtaken));
            }
            // Whatever came before it is void.
            (self.at, self.last) = (place.at, Some(id));
            return Ok(Some(Offered::Accepted));
        }
        Ok(None)
    }

    /// Applies what comes until the store has all that the log is known to hold, unless it is in trouble: who calls had
    /// better be told so than wait for it to end.
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
            if self.at >= self.end || self.is_full() || self.trouble.is_some() {
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

/// Others go on while this disk is full: what they add is applied when it has room.
///
/// # Errors
/// Why it can't be now.
fn has_room(store: &Store, arrival: &Arrival) -> Result<(), Arc<str>> {
    let Arrival::Next { what: What::Group { .. }, .. } = arrival else { return Ok(()) };
    // With what comes behind it, it is no more than this, or one large group. Most of it tracks.
    let room = store.space.room().admit(Claim::Tracking, APPLIED_BYTES_MAX as u64);
    room.map_err(|full| full.to_string().into())
}

/// Checks that a group that counts was put together behind what counts here too.
///
/// # Errors
/// If it wasn't: the engine told two servers the same log in two ways.
fn follows(last: Option<GroupId>, group: &Group, first_seq: Seq) -> Result<(), String> {
    match (last, group.after) {
        (Some(last), Some(after)) if last != after => Err(format!(
            "record {first_seq} was added behind others than this server was told: the NATS servers don't hold the same log, \
             or didn't for a while; see \"When NATS servers disagree\" of the README; if the others run on, restore a backup of \
             one of them into an empty directory"
        )),
        _ => Ok(()),
    }
}

/// Whether a group counts where `next_seq` is next.
///
/// # Errors
/// If no group could begin there: what comes before it is missing.
fn counts(first_seq: Seq, next_seq: Seq) -> Result<bool, String> {
    if first_seq > next_seq {
        return Err(format!(
            "the shared log goes on with record {first_seq}, but this store ends before {next_seq}: what lies between is \
             gone from the log; take a backup of a server that follows it (`triggerly backup`), and restore it into an empty \
             directory"
        ));
    }
    Ok(first_seq == next_seq)
}
