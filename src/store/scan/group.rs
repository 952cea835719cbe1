//! The events of a row group that a scan asks for, column by column: first those that tell which rows are
//! wanted, and the rest only if any is.

use std::ops::RangeInclusive;

use super::piece::{Column, Piece};
use super::{Columns, Scan};
use crate::model::record::Event;
use crate::model::{Change, Date, Erasures, Record, Seq, Via};
use crate::store::segment::{Group, Numbers, RowGroup, SegmentError, Texts, Words};

/// Columns of a row group; the memory serves again.
#[derive(Default)]
pub(super) struct GroupBlock {
    /// The rows that are wanted, as they lie in the row group.
    rows: Vec<u32>,
    seq: Vec<i64>,
    dates: Vec<i64>,
    received: Vec<i64>,
    vias: Vec<Via>,
    kinds: Words,
    users: Words,
    contexts: Words,
    attributes: String,
    ends: Vec<u32>,
}

impl GroupBlock {
    /// Reads what is wanted of a row group in a range, and says whether there is any of it.
    pub fn read(
        &mut self,
        group: &mut RowGroup<'_>,
        of: &Group,
        range: &RangeInclusive<Seq>,
        scan: &Scan,
        erasures: Option<&Erasures>,
    ) -> Result<bool, SegmentError> {
        let wanted = scan.columns;
        let timed = !of.dates.is_some_and(|(first, last)| {
            scan.from.is_none_or(|from| from <= first) && scan.to.is_none_or(|to| last < to)
        });
        let columns = Columns {
            kinds: wanted.kinds || scan.kinds.is_some() || group.users() > 0 || erasures.is_some(),
            dates: wanted.dates || timed || erasures.is_some(),
            users: wanted.users || erasures.is_some(),
            received: wanted.received || erasures.is_some(),
            ..wanted
        };
        self.rows.clear();
        if columns.kinds {
            group.words(Texts::Type, &mut self.kinds)?;
            if !self.select_kinds(scan) {
                return Ok(false);
            }
        } else {
            self.rows.extend(0..group.rows() as u32);
        }
        group.numbers(Numbers::Seq, &mut self.seq)?;
        self.select_range(range);
        if columns.dates {
            group.numbers(Numbers::Date, &mut self.dates)?;
        }
        if timed {
            let dates = &self.dates;
            self.rows.retain(|row| {
                let date = Date::from_millis(dates[*row as usize]);
                scan.from.is_none_or(|from| from <= date) && scan.to.is_none_or(|to| date < to)
            });
        }
        if self.rows.is_empty() {
            return Ok(false);
        }
        if columns.users {
            group.words(Texts::UserId, &mut self.users)?;
        }
        if columns.received {
            group.numbers(Numbers::ReceivedAt, &mut self.received)?;
        }
        if let Some(erasures) = erasures {
            self.erase(scan, erasures);
            if self.rows.is_empty() {
                return Ok(false);
            }
        }
        if columns.contexts {
            group.words(Texts::Context, &mut self.contexts)?;
        }
        if columns.vias {
            group.vias(&mut self.vias)?;
        }
        if columns.attributes {
            group.attributes(&self.rows, &mut self.attributes, &mut self.ends)?;
        }
        self.keep(wanted);
        Ok(true)
    }

    /// Selects the events of the types that are asked for, and says whether there is any.
    fn select_kinds(&mut self, scan: &Scan) -> bool {
        let wanted: Vec<bool> = self
            .kinds
            .iter()
            .map(|kind| scan.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|k| k == kind)))
            .collect();
        let numbers = self.kinds.numbers.iter().enumerate();
        // An update of a user has no type.
        let rows = numbers
            .filter(|(_, number)| wanted.get(**number as usize).copied().unwrap_or(false))
            .map(|(row, _)| row as u32);
        self.rows.extend(rows);
        !self.rows.is_empty()
    }

    fn select_range(&mut self, range: &RangeInclusive<Seq>) {
        let seq = |row: &u32| self.seq[*row as usize] as Seq;
        let start = self.rows.partition_point(|row| seq(row) < *range.start());
        let end = self.rows.partition_point(|row| seq(row) <= *range.end());
        self.rows.truncate(end);
        self.rows.drain(..start.min(end));
    }

    /// Leaves out what is erased.
    fn erase(&mut self, scan: &Scan, erasures: &Erasures) {
        let GroupBlock { rows, seq, dates, received, kinds, users, .. } = self;
        // No word has the number that stands for none.
        let (kind_words, user_words): (Vec<&str>, Vec<&str>) =
            (kinds.iter().collect(), users.iter().collect());
        rows.retain(|row| {
            let row = *row as usize;
            let event = Event {
                account: scan.account,
                via: Via::Public,
                kind: kind_words.get(kinds.numbers[row] as usize).copied().unwrap_or_default(),
                user_id: user_words.get(users.numbers[row] as usize).copied(),
                date: Date::from_millis(dates[row]),
                attributes: "",
                context: None,
            };
            let received_at = Date::from_millis(received[row]);
            let record = Record { received_at, keyed: None, change: Change::Event(event) };
            !erasures.take(seq[row] as Seq, &record)
        });
    }

    /// Lets go of the other rows, and of columns that were read for the selection's sake only.
    fn keep(&mut self, wanted: Columns) {
        let rows = &self.rows;
        keep(&mut self.seq, rows, true);
        keep(&mut self.dates, rows, wanted.dates);
        keep(&mut self.received, rows, wanted.received);
        keep(&mut self.vias, rows, wanted.vias);
        keep(&mut self.kinds.numbers, rows, wanted.kinds);
        keep(&mut self.users.numbers, rows, wanted.users);
        keep(&mut self.contexts.numbers, rows, wanted.contexts);
    }

    /// What is wanted of it.
    pub fn piece(&self, wanted: Columns) -> Piece<'_> {
        let words =
            |words, wanted: bool| if wanted { Column::of(words) } else { Column::default() };
        Piece {
            seq: &self.seq,
            dates: &self.dates,
            received: &self.received,
            vias: &self.vias,
            kinds: words(&self.kinds, wanted.kinds),
            users: words(&self.users, wanted.users),
            contexts: words(&self.contexts, wanted.contexts),
            attributes: if wanted.attributes { &self.attributes } else { "" },
            ends: if wanted.attributes { &self.ends } else { &[] },
        }
    }
}

/// Of a column that is wanted, the values of these rows, which ascend.
fn keep<T: Copy>(values: &mut Vec<T>, rows: &[u32], wanted: bool) {
    if !wanted {
        values.clear();
    } else if rows.len() != values.len() {
        for (place, row) in rows.iter().enumerate() {
            values[place] = values[*row as usize];
        }
        values.truncate(rows.len());
    }
}
