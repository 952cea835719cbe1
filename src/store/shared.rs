//! A log that several servers share: where it is decided which group of records comes next.
//!
//! Each server has all of the log in its own store, as one machine alone would; what they share is the order. Whoever
//! wants to add a group offers it for the place behind the last one he has applied. If somebody else has that place
//! already, he applies what is there and asks anew, so that what he checked (a name that is free, a key that didn't come
//! before) holds for the place that he gets, and `seq` is the same everywhere.
//!
//! # Why nothing is lost or there twice
//! A group is offered for one place alone, and that place is given away once. So an offer whose answer was lost may be
//! made again; and if it is left at that, the next group that is seen at that place says what became of it: it is that
//! one, or it will never be there. Nobody has to remember an offer in doubt: what was stored arrives like the groups
//! of others.
//!
//! Knows groups and places; must not know which engine keeps them.

use crossbeam_channel::{Receiver, Sender};

use super::batch::EncodedBatch;
use super::codec::Malformed;
use super::{Error, Store, manifest};
use crate::model::Seq;

/// A place in the shared log, as its engine counts them; 0 is before the first. It is not a `seq`: a group has one,
/// or a few, however many records it holds.
pub type Position = u64;

/// Tells offers apart, also those of several servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub [u8; 16]);

/// Which log it is, however the engine calls what holds it: two logs that are made under one name have two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

/// What a store that shares a log remembers of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belonging {
    /// Which log.
    pub id: LogId,
    /// What the engine called it.
    pub name: String,
}

/// Records that are added together, or not at all.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which offer it was.
    pub id: GroupId,
    /// They follow on each other. There are none where a place is taken by less than a whole group: somebody only wanted to
    /// know whether the log takes any, or the rest is missing.
    pub batches: Vec<EncodedBatch>,
}

/// A group that is to be added.
pub struct Offer {
    /// Behind which place, and no other.
    pub behind: Position,
    /// The `seq` of its first record.
    pub first_seq: Seq,
    /// What.
    pub group: Group,
    /// Where to say what became of it, once.
    pub reply: Sender<Reply>,
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is kept, at this place, by as many as it takes never to lose it.
    Accepted(Position),
    /// Another group has the place. The log is known to reach so far.
    Overtaken(Position),
    /// Nobody knows within bounds, and why. It may arrive yet.
    Doubtful(String),
}

/// What is heard of a shared log.
#[derive(Debug)]
pub enum Arrival {
    /// The store's place in it was found; behind that it reaches at least to `end`.
    Joined {
        /// Where the store stands.
        at: Position,
        /// How far the log reaches.
        end: Position,
    },
    /// The next group. They come in order, one's own among them.
    Group {
        /// Its place.
        at: Position,
        /// The `seq` of its first record.
        first_seq: Seq,
        /// What it holds.
        group: Group,
    },
    /// Nothing can be added for now, and why; or it can again.
    Trouble(Option<String>),
    /// It can't be followed any further, and why.
    Ended(String),
}

/// The engine behind a shared log, as the one who commits sees it.
pub trait SharedLog: Send {
    /// What is heard of it, in order.
    fn arrivals(&self) -> &Receiver<Arrival>;

    /// Offers a group; never waits.
    fn offer(&self, offer: Offer);

    /// The store has everything up to there on its own disk.
    fn applied(&self, at: Position, last_seq: Seq);
}

impl Group {
    /// Bytes of its records.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes().len()).sum()
    }

    /// How many records it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.batches.iter().map(EncodedBatch::count).sum()
    }

    /// Its records as they travel: each batch behind its length (4 bytes, little-endian).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes() + 4 * self.batches.len());
        for batch in &self.batches {
            // A batch is bounded by a few MiB.
            out.extend_from_slice(&(batch.bytes().len() as u32).to_le_bytes());
            out.extend_from_slice(batch.bytes());
        }
        out
    }

    /// Takes apart what [`Group::encode`] put together, of records from `first_seq` on. Never panics, whatever the bytes;
    /// each batch's checksum is checked.
    ///
    /// # Errors
    /// [`Error::Damaged`] names what is wrong.
    pub fn decode(id: GroupId, first_seq: Seq, mut bytes: &[u8]) -> Result<Group, Error> {
        let damaged = |seq: Seq, Malformed(why): Malformed| Error::Damaged {
            place: format!("the group at record {seq} of the shared log"),
            why: why.to_owned(),
        };
        let (mut batches, mut seq) = (Vec::new(), first_seq);
        while !bytes.is_empty() {
            let cut = || damaged(seq, Malformed("it is cut short"));
            let (length, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (batch, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
            let batch =
                EncodedBatch::decode(seq, batch).map_err(|malformed| damaged(seq, malformed))?;
            seq = seq
                .checked_add(batch.count())
                .ok_or_else(|| damaged(seq, Malformed("its number of records can't be right")))?;
            batches.push(batch);
            bytes = rest;
        }
        Ok(Group { id, batches })
    }
}

impl Store {
    /// Which log it shares with others, if it does.
    ///
    /// # Errors
    /// [`Error`] if that can't be read.
    pub fn belonging(&self) -> Result<Option<Belonging>, Error> {
        manifest::belonging(&self.tiers.hot().manifest)
    }

    /// It shares a log from now on, or no more. Nobody may be writing to it.
    ///
    /// # Errors
    /// [`Error`] if that can't be written.
    pub fn belong(&self, to: Option<&Belonging>) -> Result<(), Error> {
        if to.is_some() {
            // A program that knows of no such thing would add records of its own.
            self.directory.share()?;
        }
        let hot = self.tiers.hot();
        manifest::belong(&hot.manifest, to)?;
        hot.flush().map_err(Error::io("sync", hot.path()))
    }
}
