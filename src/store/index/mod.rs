//! The index of a segment: a file beside it that answers what would else take reading all of its records.
//!
//! Promises that an answer is that of the very segment it was built of, that a byte that was altered is
//! found before it is decoded, and that nothing a file holds makes it panic or take memory without bound.
//! An index that is damaged or missing costs time, never an answer: whoever asks reads the segment instead.
//! Knows files and the domain; must not know sled, nor which segments there are.
//!
//! # What it takes
//! Of the first 2 million of ten million generated events (`benches/generator`, 200,000 users, two years), whose
//! segment has 18.56 bytes an event:
//!
//! | section | bytes an event |
//! | --- | --- |
//! | rows by user | 1.20 |
//! | users and visitors by type and day | 0.15 |
//! | the same by type and 32 days | 0.02 |
//! | events by type and hour | 0.03 |
//! | types by row group, types, attributes, pages, tail | 0.01 |
//! | all | 1.41, which is 7.6 % of the segment |
//!
//! What facets take is up to how many pages there are: of ten million events with contexts over two years, most of them views
//! of 600 pages, in 14 segments, 0.30 bytes an event, 0.9 % of the segments. Beyond 4 MB while they are collected, the
//! facet that takes most isn't kept.
//!
//! Of 4 million it is 1.37, of a million 1.47. A thread collects and writes 3.3 million events a second, 2.2 million
//! if each has a context, in some 18 MB. Of 4 million, the counts of all hours and types are read in 0.3 ms, the
//! sketches of all days in 0.8 ms and the distinct users of all of them in 0.8 ms, the rows of one user in 8 µs,
//! those of the busiest, who has 131,795, in 0.8 ms and the newest 500 of them in 30 µs, the number of events of
//! all 80,558 users in 7 ms.
//!
//! # Its parts
//! [`Builder`] is fed a segment's records and writes the file, [`Index`] answers from it. [`Hot`] gives the
//! same answers for records that lie in no segment yet, from memory.

mod attributes;
mod builder;
mod circumstances;
mod counts;
mod facets;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod groups;
mod hashes;
mod hot;
mod kinds;
mod layout;
mod members;
mod reader;
mod sketch;
mod sketches;
mod tally;
mod users;

pub use builder::Builder;
pub use circumstances::Circumstances;
pub use facets::{Facet, TEXT_BYTES_MAX, VisitFacets};
pub use hashes::{hash_of_user, hash_of_visitor};
pub use hot::Hot;
pub use reader::Index;
pub use sketch::Sketch;

use std::io;

/// The format that is written. An index of another one is [`IndexError::Unfit`]: it is built anew.
pub const FORMAT: u32 = 2;

/// Milliseconds of an hour (of UTC), by which events are counted. Hours are numbered from 1970 on.
pub const HOUR_MILLIS: i64 = 3_600_000;

/// Milliseconds of a day (of UTC), by which users and visitors are sketched. Days are numbered from 1970 on.
pub const DAY_MILLIS: i64 = 24 * HOUR_MILLIS;

/// Which segment an index is of: its length and the CRC-32 of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of {
    /// The segment's length.
    pub bytes: u64,
    /// CRC-32 of the whole segment.
    pub crc: u32,
}

/// What is known of a whole index file, and kept outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file's length.
    pub bytes: u64,
    /// CRC-32 of the whole file.
    pub crc: u32,
    /// How many bytes its tail has, which is what is read when it is opened.
    pub tail_bytes: u64,
    /// CRC-32 of these.
    pub tail_crc: u32,
}

/// What went wrong with an index. Whatever it is, the segment can be read instead.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The operating system refused.
    #[error("can't {doing} {place}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        place: String,
        /// The reason given.
        source: io::Error,
    },
    /// Something in the file isn't as it was written.
    #[error("{place} is damaged: {why}")]
    Damaged {
        /// Which file.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// It is of another format or of another segment: it is to be built anew.
    #[error("can't use {place}: {why}")]
    Unfit {
        /// Which file.
        place: String,
        /// What doesn't fit.
        why: String,
    },
    /// The records had more of what is asked for than an index keeps: to be answered by reading them.
    #[error("the index keeps none of it: {0}")]
    NotKept(&'static str),
}

/// Events of a type in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// What people did.
    pub people: u64,
    /// What bots did, and what was fetched ahead of time: see [`crate::context::is_nobodys`].
    pub nobodys: u64,
}

/// Rows of a segment that are a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// An event of the user, in this row, counted from 0.
    Event(u32),
    /// An update of the user.
    Update(u32),
}

/// An attribute and how many values of each type it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The type of the events that have it; none if it is one of users' updates.
    pub kind: Option<&'a str>,
    /// Its name; that of one within an object has the object's name and a dot in front. None stands for
    /// all those that are beyond what is kept (names of a kind, names in all, bytes of a name).
    pub name: Option<&'a str>,
    /// Values by type, in the order of [`DataType::ALL`](crate::model::DataType::ALL). Null is no value.
    pub values: [u64; 6],
}

/// Shown counts: a type, the number of an hour, and the events of that type in it. None comes twice.
pub type VisitCounts<'v> = &'v mut dyn FnMut(&str, i64, Count);

/// Shown sketches: a type, the number of a day, its users, its visitors. What people did and what nobody
/// did come apart, so a type and day may come twice: merged they count.
pub type VisitSketches<'v> = &'v mut dyn FnMut(&str, i64, &Sketch, &Sketch);

#[cfg(test)]
mod tests;
