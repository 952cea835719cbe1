//! A log that several servers share: where it is decided which group of records comes next.
//!
//! Each server has all of the log in its own store, as one machine alone would; what they share is a sequence of groups,
//! each offered by one of them. All see the same sequence, and read it by one rule: **a group counts if its first `seq` is
//! the next one when it comes; any other is void**. Whoever offers a group has put it together behind all that he knew of.
//! If somebody else was first, the group is void for everybody, and he puts it together anew behind that. So what was
//! checked (a name that is free, a key that didn't come before) holds where the group counts, and `seq` is the same
//! everywhere.
//!
//! # Why nothing is lost or there twice
//! An offer whose answer was lost may be made again as it is: of its copies the first one counts, or none, since behind it
//! another `seq` is next. An offer that is given up, in doubt, needs no remembering: if a copy of it comes after all, it
//! counts if nothing else came first, and is seen like the groups of others.
//!
//! The engine is asked for no more than a sequence that is the same for all and doesn't lose what it acknowledged. It is
//! not asked to refuse anything.
//!
//! Knows groups and places; must not know which engine keeps them.

use crossbeam_channel::{Receiver, Sender};

use super::batch::EncodedBatch;
use super::codec::Malformed;
use super::{Error, Store, manifest};
use crate::model::Seq;

/// A place in the shared log, as its engine counts them; 0 is before the first. It is not a `seq`: a group has one,
/// or a few, however many records it holds, and those that are void have places too.
pub type Position = u64;

/// When the engine stored what is at a place, in nanoseconds since 1970: whether what is there now is what was there.
pub type Stamp = i64;

/// A place, and what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub at: Position,
    /// What; 0 where that isn't known, and for the place before the first.
    pub stamp: Stamp,
}

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
    /// The last group that counted for who offers it, if he has seen one. Where another did, the log was told in two ways.
    pub after: Option<GroupId>,
    /// They follow on each other.
    pub batches: Vec<EncodedBatch>,
}

/// A group that is to be added.
pub struct Offer {
    /// Behind which place it was put together.
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
    /// It is kept by as many as it takes never to lose it, right behind the place it was put together for: it counts.
    Next(Position),
    /// It is kept, but something came before it: who sees what, sees whether it counts.
    Kept(Position),
    /// Nobody knows within bounds, and why. It may arrive yet.
    Doubtful(String),
}

/// What is heard of a shared log.
#[derive(Debug)]
pub enum Arrival {
    /// The store's place in it was found; behind that it reaches at least to `end`.
    Joined {
        /// From where on it is read.
        from: Place,
        /// How far the log reaches.
        end: Position,
    },
    /// What is at the next place. They come in order, one's own among them.
    Next {
        /// Which place.
        place: Place,
        /// What is there; nothing, if it is no group, or not all of one.
        what: What,
    },
    /// Nothing can be added for now, and why; or it can again.
    Trouble(Option<String>),
    /// It can't be followed any further, and why.
    Ended(String),
}

/// What is at a place.
#[derive(Debug)]
pub enum What {
    /// Nothing that counts, for whoever reads it.
    Nothing,
    /// A group, whole.
    Group {
        /// The `seq` of its first record.
        first_seq: Seq,
        /// What it holds.
        group: Group,
    },
    /// The log goes elsewhere from here, if this is the next `seq`.
    Left {
        /// Which.
        next_seq: Seq,
    },
}

/// The engine behind a shared log, as the one who commits sees it.
pub trait SharedLog: Send {
    /// What is heard of it, in order.
    fn arrivals(&self) -> &Receiver<Arrival>;

    /// Offers a group; never waits.
    fn offer(&self, offer: Offer);

    /// Finds out whether groups are taken; says so by [`Arrival::Trouble`] when they are, and meanwhile why not.
    fn probe(&self);

    /// The store has everything up to there in its own log.
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

    /// Takes apart what [`Group::encode`] put together, of records from `first_seq` on; what it comes after isn't among
    /// that. Never panics, whatever the bytes; each batch's checksum is checked.
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
        Ok(Group { id, after: None, batches })
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

    /// What tells this server from the others of its log: 32 hexadecimal digits, which are made the first time. They are in
    /// the directory and in no backup, so that a store put together from one is another server.
    ///
    /// # Errors
    /// [`Error`] if they can't be read, aren't any, or can't be made.
    pub fn server_id(&self) -> Result<String, Error> {
        self.directory.server_id()
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

    /// A place in its shared log up to which it certainly has everything, and the last group that counted up to there.
    ///
    /// # Errors
    /// [`Error`] if that can't be read.
    pub fn place(&self) -> Result<(Place, Option<GroupId>), Error> {
        manifest::place(&self.tiers.hot().manifest)
    }

    /// Notes how far it has everything. It is on disk with the next flush.
    pub(super) fn note_place(&self, place: Place, last: Option<GroupId>) -> Result<(), Error> {
        manifest::note_place(&self.tiers.hot().manifest, place, last)
    }
}
