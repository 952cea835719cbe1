//! Some rows of a row group, a user's, those of a type or at some positions, out of the pages that they are in and no others.

use std::ops::RangeInclusive;

use super::{FEWER, ODD, RowGroup, Words, add, levels, spread, utf8, via};
use crate::model::Seq;
use crate::store::segment::decode::Fault;
use crate::store::segment::pages::{Holds, Page};
use crate::store::segment::rows::{Picked, Rows};
use crate::store::segment::schema::{COLUMNS, column};
use crate::store::segment::{NO_WORD, SegmentError, encoding};

/// Columns of some rows, with a value for each of these.
#[derive(Default)]
pub(super) struct PickedColumns {
    rows: Vec<u32>,
    seq: Vec<i64>,
    received_at: Vec<i64>,
    date: Vec<i64>,
    kinds: Words,
    users: Words,
    contexts: Words,
    vias: Words,
    attributes: String,
    ends: Vec<u32>,
}

/// Rows are picked where they are at most one in so many: where there are more, to read all is as quick.
const PICKED_OF: usize = 8;

/// Marks the number of a text that isn't in a dictionary; none of a dictionary is so large.
const PLAIN: u32 = 1 << 31;

impl RowGroup<'_> {
    /// The records among some rows, which ascend, that are events or updates of a user. The key of a
    /// submission isn't told.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn records_of(&mut self, id: &str, rows: &[u32]) -> Result<Rows, SegmentError> {
        self.picking(|group, columns| {
            let in_it = rows.last().is_none_or(|row| (*row as usize) < group.rows());
            if !in_it || !rows.is_sorted_by(|a, b| a < b) {
                return Err("it has fewer rows than are looked for".into());
            }
            columns.rows.clear();
            columns.rows.extend_from_slice(rows);
            group.pick_words(column::USER_ID, rows, &mut columns.users)?;
            columns.keep_user(id);
            group.pick(columns)
        })
    }

    /// The events of a type at some positions in the log; none if so many are of it that to read all of the row
    /// group is as quick. The key of a submission isn't told.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn events_of_type(
        &mut self,
        kind: &str,
        range: &RangeInclusive<Seq>,
    ) -> Result<Option<Rows>, SegmentError> {
        self.picking(|group, columns| {
            let PickedColumns { rows, seq, kinds, users, .. } = columns;
            group.read_types(kinds)?;
            let is_of: Vec<bool> = kinds.iter().map(|word| word == kind).collect();
            let is_of = |number: u32| is_of.get(number as usize).copied().unwrap_or(false);
            rows.clear();
            rows.extend((0..).zip(&kinds.numbers).filter(|(_, n)| is_of(**n)).map(|(row, _)| row));
            if rows.len() > group.rows() / PICKED_OF {
                return Ok(None);
            }
            group.pick_numbers(column::SEQ, rows, seq)?;
            let mut seqs = seq.iter();
            rows.retain(|_| seqs.next().is_some_and(|seq| range.contains(&(*seq as Seq))));
            group.pick_words(column::USER_ID, rows, users)?;
            group.pick(columns).map(Some)
        })
    }

    /// The records at some positions in the log; none if so many lie there that to read all of the row group is as
    /// quick. The key of a submission isn't told.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn records_within(
        &mut self,
        range: &RangeInclusive<Seq>,
    ) -> Result<Option<Rows>, SegmentError> {
        self.picking(|group, columns| {
            let PickedColumns { rows, seq, users, .. } = columns;
            rows.clear();
            rows.extend(0..group.rows() as u32);
            group.pick_numbers(column::SEQ, rows, seq)?;
            let mut seqs = seq.iter();
            rows.retain(|_| seqs.next().is_some_and(|seq| range.contains(&(*seq as Seq))));
            if rows.len() > group.rows() / PICKED_OF {
                return Ok(None);
            }
            group.pick_words(column::USER_ID, rows, users)?;
            group.pick(columns).map(Some)
        })
    }

    fn picking<T>(
        &mut self,
        read: impl FnOnce(&mut Self, &mut PickedColumns) -> Result<T, Fault>,
    ) -> Result<T, SegmentError> {
        self.checked(|group| {
            let mut columns = std::mem::take(group.picked);
            let read = read(group, &mut columns);
            *group.picked = columns;
            read
        })
    }

    /// Reads the numbers of some rows, which ascend: one for each of them, in the place of a null 0.
    fn pick_numbers(
        &mut self,
        column: usize,
        rows: &[u32],
        out: &mut Vec<i64>,
    ) -> Result<(), Fault> {
        out.clear();
        let (mut left, mut row) = (rows, 0);
        let mut numbers = Vec::new();
        for page in self.pages(column)? {
            let page = page?;
            if page.holds != Holds::Deltas || page.values > self.rows() - row {
                return Err(ODD.into());
            }
            let end = row + page.values;
            let (here, behind) = left.split_at(left.partition_point(|row| (*row as usize) < end));
            left = behind;
            if !here.is_empty() {
                numbers.clear();
                self.read_page(&page, column, &mut numbers)?;
                out.extend(here.iter().map(|wanted| numbers[*wanted as usize - row]));
            }
            row = end;
        }
        if out.len() == rows.len() { Ok(()) } else { Err(FEWER.into()) }
    }

    /// Reads the texts of some rows, which ascend, and no others: a number for each of them.
    fn pick_words(&mut self, column: usize, rows: &[u32], out: &mut Words) -> Result<(), Fault> {
        let mut text = std::mem::take(&mut out.text).into_bytes();
        text.clear();
        out.ends.clear();
        out.numbers.clear();
        let (mut dictionary, mut left, mut row) = (None, rows, 0);
        let mut numbers = Vec::new();
        for page in self.pages(column)? {
            let page = page?;
            if page.holds == Holds::Dictionary {
                dictionary = Some(page);
                continue;
            }
            if page.values > self.rows() - row {
                return Err(ODD.into());
            }
            let end = row + page.values;
            let (here, behind) = left.split_at(left.partition_point(|row| (*row as usize) < end));
            left = behind;
            if !here.is_empty() {
                let mut bytes = self.unpacker.unpack(&page)?;
                let optional = COLUMNS[column].optional;
                let there = levels(&mut bytes, optional, page.values, self.levels)?;
                let mut plain = Vec::new();
                numbers.clear();
                match page.holds {
                    Holds::Numbers if there > 0 => {
                        let (width, packed) = bytes.split_first().ok_or(FEWER)?;
                        encoding::runs(packed, u32::from(*width), there, &mut numbers)?;
                    }
                    Holds::Numbers => {}
                    Holds::Plain => encoding::texts(bytes, there, |word| {
                        numbers.push(plain.len() as u32);
                        plain.push(word);
                        Ok(())
                    })?,
                    _ => return Err(ODD.into()),
                }
                spread(&mut numbers, 0, self.levels, page.values, NO_WORD);
                for number in here.iter().map(|wanted| numbers[*wanted as usize - row]) {
                    out.numbers.push(match plain.get(number as usize) {
                        Some(word) => {
                            add(&mut text, &mut out.ends, word)?;
                            PLAIN | (out.ends.len() - 1) as u32
                        }
                        None if number & PLAIN == 0 || number == NO_WORD => number,
                        None => return Err(ODD.into()),
                    });
                }
            }
            row = end;
        }
        if out.numbers.len() != rows.len() {
            return Err(FEWER.into());
        }
        self.pick_of_dictionary(dictionary.as_ref(), &mut text, out)?;
        out.text = utf8(text, &out.ends)?;
        Ok(())
    }

    /// Takes the texts that numbers stand for out of a dictionary, as far as the last of them.
    fn pick_of_dictionary(
        &mut self,
        dictionary: Option<&Page<'_>>,
        text: &mut Vec<u8>,
        out: &mut Words,
    ) -> Result<(), Fault> {
        let mut needed = out.numbers.clone();
        needed.retain(|number| number & PLAIN == 0);
        needed.sort_unstable();
        needed.dedup();
        let first = out.ends.len();
        if !needed.is_empty() {
            let dictionary = dictionary.ok_or(ODD)?;
            let (mut left, mut at, mut number) = (&needed[..], 0, 0);
            let enough = self.unpacker.unpack_until(dictionary, &mut |bytes| {
                while let Some((next, others)) = left.split_first() {
                    let Some(word) = encoding::text_at(bytes, &mut at) else { return Ok(false) };
                    if number == *next {
                        add(text, &mut out.ends, word)?;
                        left = others;
                    }
                    number += 1;
                }
                Ok(true)
            })?;
            if !enough {
                return Err("a text is none of its column's dictionary".into());
            }
        }
        for number in &mut out.numbers {
            if *number != NO_WORD {
                let of_dictionary = needed.binary_search(number).map(|at| (first + at) as u32);
                *number = of_dictionary.unwrap_or(*number & !PLAIN);
            }
        }
        Ok(())
    }

    /// Reads the records of the rows that are picked, whose users were read.
    fn pick(&mut self, columns: &mut PickedColumns) -> Result<Rows, Fault> {
        let PickedColumns {
            rows,
            seq,
            received_at,
            date,
            kinds,
            users,
            contexts,
            vias,
            attributes,
            ends,
        } = columns;
        self.pick_numbers(column::SEQ, rows, seq)?;
        self.pick_numbers(column::RECEIVED_AT, rows, received_at)?;
        self.pick_numbers(column::DATE, rows, date)?;
        self.pick_words(column::TYPE, rows, kinds)?;
        self.pick_words(column::CONTEXT, rows, contexts)?;
        self.pick_words(column::VIA, rows, vias)?;
        self.read_attributes(rows, attributes, ends)?;
        let [kind_words, user_words, context_words] =
            [&*kinds, &*users, &*contexts].map(|words| words.iter().collect::<Vec<_>>());
        let word = |words: &[_], number: u32| words.get(number as usize).copied();
        let via_words = vias.vias();
        let mut records = Rows::of(self.segment.tail.account);
        let mut start = 0;
        for (place, end) in ends.iter().enumerate() {
            let end = *end as usize;
            let text = attributes.get(std::mem::replace(&mut start, end)..end);
            records.push(Picked {
                seq: seq[place],
                received_at: received_at[place],
                date: date[place],
                via: via(&via_words, vias.numbers[place])?,
                kind: word(&kind_words, kinds.numbers[place]),
                user_id: word(&user_words, users.numbers[place]),
                attributes: text.unwrap_or_default(),
                context: word(&context_words, contexts.numbers[place]),
            })?;
        }
        Ok(records)
    }
}

impl PickedColumns {
    /// Keeps the rows of a user alone.
    fn keep_user(&mut self, id: &str) {
        let PickedColumns { rows, users, .. } = self;
        let is_of: Vec<bool> = users.iter().map(|word| word == id).collect();
        let is_of = |number: u32| is_of.get(number as usize).copied().unwrap_or(false);
        let mut numbers = users.numbers.iter();
        rows.retain(|_| numbers.next().is_some_and(|number| is_of(*number)));
        users.numbers.retain(|number| is_of(*number));
    }
}
