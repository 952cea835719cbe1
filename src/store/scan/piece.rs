//! Events in memory, by column; texts that recur are kept once and numbered.
//!
//! A [`Piece`] only borrows. What it shows lies in a [`Block`], into which records of the hot end are put,
//! or in the columns of a row group (`group`).

use std::collections::HashMap;

use super::{Columns, PIECE_BYTES, PIECE_ROWS};
use crate::model::record::Event;
use crate::model::{Date, Seq, Via};
use crate::store::segment::{NO_WORD, Words};

/// Columns that are being filled from records.
#[derive(Default)]
pub(super) struct Block {
    seq: Vec<i64>,
    dates: Vec<i64>,
    received: Vec<i64>,
    vias: Vec<Via>,
    kinds: Numbering,
    users: Numbering,
    contexts: Numbering,
    attributes: String,
    /// Where each ends.
    ends: Vec<u32>,
}

/// Texts, each once, and which of them each row has.
#[derive(Default)]
struct Numbering {
    words: Vec<String>,
    known: HashMap<String, u32>,
    numbers: Vec<u32>,
}

impl Numbering {
    fn push(&mut self, word: Option<&str>) {
        let number = match word {
            None => NO_WORD,
            Some(word) => self.known.get(word).copied().unwrap_or_else(|| {
                let number = self.words.len() as u32;
                self.words.push(word.to_owned());
                self.known.insert(word.to_owned(), number);
                number
            }),
        };
        self.numbers.push(number);
    }

    fn clear(&mut self) {
        self.words.clear();
        self.known.clear();
        self.numbers.clear();
    }

    fn column(&self) -> Column<'_> {
        Column { words: self.words.iter().map(String::as_str).collect(), numbers: &self.numbers }
    }
}

impl Block {
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// Whether it is time to show what was gathered.
    pub fn is_full(&self) -> bool {
        self.len() >= PIECE_ROWS || self.attributes.len() >= PIECE_BYTES
    }

    pub fn clear(&mut self) {
        self.seq.clear();
        self.dates.clear();
        self.received.clear();
        self.vias.clear();
        self.kinds.clear();
        self.users.clear();
        self.contexts.clear();
        self.attributes.clear();
        self.ends.clear();
    }

    pub fn push(&mut self, seq: Seq, received_at: Date, event: &Event<'_>, columns: Columns) {
        self.seq.push(seq as i64);
        if columns.dates {
            self.dates.push(event.date.millis());
        }
        if columns.received {
            self.received.push(received_at.millis());
        }
        if columns.vias {
            self.vias.push(event.via);
        }
        if columns.kinds {
            self.kinds.push(Some(event.kind));
        }
        if columns.users {
            self.users.push(event.user_id);
        }
        if columns.contexts {
            self.contexts.push(event.context);
        }
        if columns.attributes {
            self.attributes.push_str(event.attributes);
            self.ends.push(self.attributes.len() as u32);
        }
    }

    pub fn piece(&self) -> Piece<'_> {
        Piece {
            seq: &self.seq,
            dates: &self.dates,
            received: &self.received,
            vias: &self.vias,
            kinds: self.kinds.column(),
            users: self.users.column(),
            contexts: self.contexts.column(),
            attributes: &self.attributes,
            ends: &self.ends,
        }
    }
}

/// A column of texts that recur.
#[derive(Default)]
pub(super) struct Column<'p> {
    words: Vec<&'p str>,
    numbers: &'p [u32],
}

impl<'p> Column<'p> {
    pub fn of(words: &'p Words) -> Column<'p> {
        Column { words: words.iter().collect(), numbers: &words.numbers }
    }

    fn number(&self, row: usize) -> Option<u32> {
        self.numbers.get(row).copied().filter(|number| *number != NO_WORD)
    }
}

/// Rows of events, ascending by `seq`. Texts that recur are numbered: a number stands for one text within
/// the piece, but a text may have several numbers, or a number that no row has. What wasn't asked for is
/// empty.
pub struct Piece<'p> {
    pub(super) seq: &'p [i64],
    pub(super) dates: &'p [i64],
    pub(super) received: &'p [i64],
    pub(super) vias: &'p [Via],
    pub(super) kinds: Column<'p>,
    pub(super) users: Column<'p>,
    pub(super) contexts: Column<'p>,
    pub(super) attributes: &'p str,
    pub(super) ends: &'p [u32],
}

#[allow(clippy::len_without_is_empty, reason = "there is none without a row")]
impl<'p> Piece<'p> {
    /// How many rows. Below, `row` is less than that.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// An event's place in the log.
    #[must_use]
    pub fn seq(&self, row: usize) -> Seq {
        self.seq[row] as Seq
    }

    /// When it happened; 1970 if that wasn't asked for.
    #[must_use]
    pub fn date(&self, row: usize) -> Date {
        Date::from_millis(self.dates.get(row).copied().unwrap_or(0))
    }

    /// When it came; 1970 if that wasn't asked for.
    #[must_use]
    pub fn received_at(&self, row: usize) -> Date {
        Date::from_millis(self.received.get(row).copied().unwrap_or(0))
    }

    /// How it came; none if that wasn't asked for.
    #[must_use]
    pub fn via(&self, row: usize) -> Option<Via> {
        self.vias.get(row).copied()
    }

    /// Its type's number in [`Piece::kinds`]; 0 if types weren't asked for.
    #[must_use]
    pub fn kind(&self, row: usize) -> u32 {
        self.kinds.number(row).unwrap_or(0)
    }

    /// Types by number.
    #[must_use]
    pub fn kinds(&self) -> &[&'p str] {
        &self.kinds.words
    }

    /// The number in [`Piece::users`] of whose it is.
    #[must_use]
    pub fn user(&self, row: usize) -> Option<u32> {
        self.users.number(row)
    }

    /// Ids of users by number.
    #[must_use]
    pub fn users(&self) -> &[&'p str] {
        &self.users.words
    }

    /// Its attributes: one JSON object, compact.
    #[must_use]
    pub fn attributes(&self, row: usize) -> &'p str {
        let end = |row: usize| self.ends.get(row).map_or(0, |end| *end as usize);
        let start = row.checked_sub(1).map_or(0, end);
        self.attributes.get(start..end(row)).unwrap_or_default()
    }

    /// What a browser told beside: one JSON object, compact.
    #[must_use]
    pub fn context(&self, row: usize) -> Option<&'p str> {
        self.context_number(row)
            .and_then(|number| self.contexts.words.get(number as usize).copied())
    }

    /// The number in [`Piece::contexts`] of that.
    #[must_use]
    pub fn context_number(&self, row: usize) -> Option<u32> {
        self.contexts.number(row)
    }

    /// Contexts by number.
    #[must_use]
    pub fn contexts(&self) -> &[&'p str] {
        &self.contexts.words
    }
}
