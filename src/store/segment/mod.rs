//! Sealed stretches of the log: Parquet files, one for each account and stretch of `seq`, that are
//! written once and never changed, and that other programs open as they are.
//!
//! Promises that what was put in is what comes out, that a byte that was altered is found before it
//! is decoded, and that nothing a file holds makes it panic or take memory without bound. Must not
//! know which segments there are, nor why one is written. The only room that knows Parquet.
//!
//! # The file (format 2)
//! One row a record, ascending by `seq`; the columns are listed in `schema`. Texts are compressed with
//! Zstandard; there are statistics of `seq` and `date`, and a Bloom filter of `user_id` right behind
//! each row group. A row group is what is read at once: it has at most [`ROW_GROUP_ROWS_MAX`] rows and
//! little more than [`ROW_GROUP_BYTES_MAX`] of text.
//!
//! | key of the file's metadata | |
//! | --- | --- |
//! | `triggerly.format` | `2`; a file that names a greater one is refused ([`SegmentError::Newer`]), a lesser one is read |
//! | `triggerly.account` | the account's number |
//! | `triggerly.groups` | JSON: of each row group where it lies, its CRC-32, what it holds (see `footer`) |
//!
//! # Why damage is found
//! The row groups, Bloom filters and keys (`keys`) included, and the tail (all that comes after the last of them) lie end
//! to end and cover the file from its first byte, the magic number, to its last. The tail holds the
//! CRC-32 of each row group; that of the tail itself is in the [`Summary`], which is kept elsewhere.
//! [`Segment::open`] checks the tail, [`Segment::read`] and [`ColumnReader::enter`] a row group before either is
//! decoded, even if little of it is: to read its 350 KB and check them takes 20 µs.
//! A file that comes without a [`Summary`], as an export that is imported, can only be held to be what
//! it claims; what it may claim is bounded (`guard`, `thrift`), and a panic of the decoder is caught.
//!
//! # Three ways to read
//! - [`Segment::read`] gives the records of a row group, and finds them to be records. Parquet's own decoder
//!   does it.
//! - [`ColumnReader`] gives columns by themselves (`columns`): texts that recur once and by number, the
//!   attributes of the rows that are wanted. It undoes Parquet's encodings (`pages`, `encoding`) as far as
//!   segments use them; a file that uses others is said to be damaged.
//! - [`RowGroup::records_of`] gives one user's records among rows that an index names, [`RowGroup::events_of_type`]
//!   the events of a type that few are of, [`RowGroup::records_within`] the records of a few positions. They decompress
//!   only the pages that these are in, only as far as they have to.
//!
//! # Beside segments
//! [`UsersWriter`] writes users, and [`Table`] reads events or users out of any Parquet file that has the
//! right columns: what was exported, or what another program made of that.

mod columns;
mod decode;
mod encoding;
mod footer;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod keys;
mod pages;
mod reader;
mod rows;
mod schema;
mod table;
mod thrift;
mod users;
mod verify;
mod writer;

pub use columns::{ColumnReader, NO_WORD, Numbers, RowGroup, Texts, Words};
pub use reader::{Group, Segment, Tail};
pub use rows::Rows;
pub use schema::{Effort, FORMAT, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX};
pub use table::{EventRow, Moment, Table, UserRow};
pub use users::UsersWriter;
pub use writer::SegmentWriter;

use std::io;

use crate::model::{AccountId, Date, Seq};

/// What is known of a whole segment, and kept outside of it: whoever opens it again can tell whether
/// it is that very file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose records it holds.
    pub account: AccountId,
    /// The first record's place in the log; 0 if it holds none.
    pub first_seq: Seq,
    /// The last record's place in the log; 0 if it holds none.
    pub last_seq: Seq,
    /// How many of the records are events.
    pub events: u64,
    /// How many are updates of users.
    pub users: u64,
    /// From when to when its events are, both included: the earliest `date` or `received_at`, whichever
    /// came first, and the latest `date`.
    pub dates: Option<(Date, Date)>,
    /// The file's length.
    pub bytes: u64,
    /// CRC-32 of the whole file.
    pub crc: u32,
    /// How many bytes come after the last row group.
    pub tail_bytes: u64,
    /// CRC-32 of these.
    pub tail_crc: u32,
}

/// What went wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
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
    /// A later program wrote it.
    #[error(
        "{place} was written by a newer triggerly (segment format {found}, this program knows {FORMAT}); run that version or a later one"
    )]
    Newer {
        /// Which file.
        place: String,
        /// The format it names.
        found: u32,
    },
    /// Something in the file isn't as it was written.
    #[error("{place} is damaged: {why}")]
    Damaged {
        /// Which file, and where in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The file may be whole, but isn't one that can be read here.
    #[error("can't read {place}: {why}")]
    Unfit {
        /// Which file.
        place: String,
        /// What is missing.
        why: String,
    },
    /// A record was put where it doesn't belong, or a segment can't be encoded.
    #[error("can't write a segment: {0}")]
    Refused(String),
}

#[cfg(test)]
mod tests;
