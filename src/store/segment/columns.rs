//! Single columns of a row group, decoded as a whole, and nothing else of it: what is asked of many events
//! needs few columns, and texts that recur once only.

mod picked;

use super::decode::{Fault, NOT_UTF8, caught};
use super::footer::Entry;
use super::pages::{Holds, Page, Pages, Unpacker};
use super::reader::{PAGE_BYTES_MAX, Segment};
use super::rows::TEXT_BYTES_MAX;
use super::schema::{COLUMNS, column};
use super::writer::place;
use super::{SegmentError, encoding};
use crate::model::Via;
use picked::PickedColumns;

/// A column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Places in the log.
    Seq,
    /// When records came, in milliseconds.
    ReceivedAt,
    /// When events happened, in milliseconds.
    Date,
}

/// A column of texts that recur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// Types of events; updates of users have none.
    Type,
    /// Ids of users.
    UserId,
    /// What browsers told beside.
    Context,
}

/// Stands for no text in [`Words::numbers`].
pub const NO_WORD: u32 = u32::MAX;

/// Texts of a column, and which of them each row has. The same text may be there more than once.
#[derive(Debug, Default)]
pub struct Words {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    /// Of each row the text's number, or [`NO_WORD`].
    pub numbers: Vec<u32>,
}

impl Words {
    /// Texts by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            self.text.get(std::mem::replace(&mut start, end)..end).unwrap_or_default()
        })
    }
}

impl Words {
    /// What each word is if it says how a record came.
    fn vias(&self) -> Vec<Option<Via>> {
        let all = [Via::Public, Via::Secret, Via::Import];
        self.iter().map(|word| all.into_iter().find(|via| via.name() == word)).collect()
    }
}

fn via(vias: &[Option<Via>], number: u32) -> Result<Via, Fault> {
    let via = vias.get(number as usize).copied().flatten();
    via.ok_or_else(|| "a `via` is none that there is".into())
}

/// Reads columns of one row group after another, into memory that serves again: about twice the text of the
/// largest of them.
#[derive(Default)]
pub struct ColumnReader {
    bytes: Vec<u8>,
    unpacker: Unpacker,
    levels: Vec<u32>,
    picked: PickedColumns,
}

/// A row group that was found to be as it was written.
pub struct RowGroup<'r> {
    segment: &'r Segment,
    group: usize,
    entry: &'r Entry,
    bytes: &'r [u8],
    unpacker: &'r mut Unpacker,
    levels: &'r mut Vec<u32>,
    picked: &'r mut PickedColumns,
}

impl ColumnReader {
    /// Goes to a row group, and finds its checksum right.
    ///
    /// # Errors
    /// [`SegmentError::Io`] or [`SegmentError::Damaged`].
    pub fn enter<'r>(
        &'r mut self,
        segment: &'r Segment,
        group: usize,
    ) -> Result<RowGroup<'r>, SegmentError> {
        let entry = segment.checked_bytes_into(group, &mut self.bytes)?;
        let ColumnReader { bytes, unpacker, levels, picked } = self;
        Ok(RowGroup { segment, group, entry, bytes, unpacker, levels, picked })
    }
}

impl<'r> RowGroup<'r> {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.entry.rows as usize
    }

    /// How many of them are updates of users.
    #[must_use]
    pub fn users(&self) -> usize {
        self.entry.users as usize
    }

    /// All numbers of a column, in the place of a null 0.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn numbers(&mut self, column: Numbers, out: &mut Vec<i64>) -> Result<(), SegmentError> {
        let place = match column {
            Numbers::Seq => column::SEQ,
            Numbers::ReceivedAt => column::RECEIVED_AT,
            Numbers::Date => column::DATE,
        };
        self.checked(|group| {
            group.read_numbers(place, out)?;
            let of_group = [group.entry.first_seq, group.entry.last_seq].map(|seq| seq as i64);
            let ends = [out.first(), out.last()].map(|seq| seq.copied().unwrap_or(0));
            if column == Numbers::Seq && (ends != of_group || !out.is_sorted_by(|a, b| a < b)) {
                return Err("its records aren't those that the end of the file tells of".into());
            }
            Ok(())
        })
    }

    /// The texts of a column, and which row has which.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn words(&mut self, column: Texts, out: &mut Words) -> Result<(), SegmentError> {
        let place = match column {
            Texts::Type => column::TYPE,
            Texts::UserId => column::USER_ID,
            Texts::Context => column::CONTEXT,
        };
        self.checked(|group| {
            if column == Texts::Type { group.read_types(out) } else { group.read_words(place, out) }
        })
    }

    fn read_types(&mut self, out: &mut Words) -> Result<(), Fault> {
        self.read_words(column::TYPE, out)?;
        let nulls = out.numbers.iter().filter(|number| **number == NO_WORD).count();
        if nulls != self.users() {
            return Err("an event has no type, or an update of a user has one".into());
        }
        Ok(())
    }

    /// How each record came.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn vias(&mut self, out: &mut Vec<Via>) -> Result<(), SegmentError> {
        self.checked(|group| {
            let mut words = Words::default();
            group.read_words(column::VIA, &mut words)?;
            let vias = words.vias();
            out.clear();
            for number in &words.numbers {
                out.push(via(&vias, *number)?);
            }
            Ok(())
        })
    }

    /// The attributes of some rows, which ascend, end to end, and where each ends.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn attributes(
        &mut self,
        rows: &[u32],
        out: &mut String,
        ends: &mut Vec<u32>,
    ) -> Result<(), SegmentError> {
        self.checked(|group| group.read_attributes(rows, out, ends))
    }

    fn checked<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, SegmentError> {
        let (segment, group) = (self.segment, self.group);
        caught(|| read(self)).map_err(|fault| segment.damaged(Some(group), fault))
    }

    fn pages(&self, column: usize) -> Result<Pages<'r>, Fault> {
        let chunk = self.segment.tail.metadata.row_group(self.group).column(column);
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let within = |at: u64| usize::try_from(at.checked_sub(self.entry.offset)?).ok();
        let bytes = place(start, chunk.compressed_size())
            .and_then(|place| self.bytes.get(within(place.start)?..within(place.end)?));
        let bytes = bytes.ok_or("a column lies outside of its row group")?;
        Ok(Pages::of(bytes, chunk.compression(), PAGE_BYTES_MAX))
    }

    fn read_numbers(&mut self, column: usize, out: &mut Vec<i64>) -> Result<(), Fault> {
        let rows = self.rows();
        out.clear();
        out.reserve(rows);
        for page in self.pages(column)? {
            let page = page?;
            if page.holds != Holds::Deltas || page.values > rows - out.len() {
                return Err(ODD.into());
            }
            self.read_page(&page, column, out)?;
        }
        if out.len() == rows { Ok(()) } else { Err(FEWER.into()) }
    }

    /// Adds the numbers of a page.
    fn read_page(
        &mut self,
        page: &Page<'_>,
        column: usize,
        out: &mut Vec<i64>,
    ) -> Result<(), Fault> {
        let from = out.len();
        let mut bytes = self.unpacker.unpack(page)?;
        let there = levels(&mut bytes, COLUMNS[column].optional, page.values, self.levels)?;
        encoding::deltas(bytes, there, out)?;
        spread(out, from, self.levels, page.values, 0);
        Ok(())
    }

    fn read_words(&mut self, column: usize, out: &mut Words) -> Result<(), Fault> {
        let rows = self.rows();
        let mut text = std::mem::take(&mut out.text).into_bytes();
        text.clear();
        out.ends.clear();
        out.numbers.clear();
        out.numbers.reserve(rows);
        let mut dictionary = None;
        for page in self.pages(column)? {
            let page = page?;
            if page.holds == Holds::Dictionary {
                let bytes = self.unpacker.unpack(&page)?;
                if dictionary.is_some() || !out.numbers.is_empty() {
                    return Err(ODD.into());
                }
                encoding::texts(bytes, page.values, |word| add(&mut text, &mut out.ends, word))?;
                dictionary = Some(page.values);
                continue;
            }
            let from = out.numbers.len();
            if page.values > rows - from {
                return Err(ODD.into());
            }
            let mut bytes = self.unpacker.unpack(&page)?;
            let there = levels(&mut bytes, COLUMNS[column].optional, page.values, self.levels)?;
            match page.holds {
                // A column that isn't there at all has no numbers, and may not say how wide they are.
                Holds::Numbers if there > 0 => {
                    let (width, packed) = bytes.split_first().ok_or(FEWER)?;
                    encoding::runs(packed, u32::from(*width), there, &mut out.numbers)?;
                    let words = dictionary.unwrap_or(0);
                    if out.numbers[from..].iter().any(|number| *number as usize >= words) {
                        return Err("a text is none of its column's dictionary".into());
                    }
                }
                Holds::Numbers => {}
                // What the dictionary has no more room for.
                Holds::Plain => encoding::texts(bytes, there, |word| {
                    out.numbers.push(out.ends.len() as u32);
                    add(&mut text, &mut out.ends, word)
                })?,
                _ => return Err(ODD.into()),
            }
            spread(&mut out.numbers, from, self.levels, page.values, NO_WORD);
        }
        if out.numbers.len() != rows {
            return Err(FEWER.into());
        }
        out.text = utf8(text, &out.ends)?;
        Ok(())
    }

    fn read_attributes(
        &mut self,
        rows: &[u32],
        out: &mut String,
        ends: &mut Vec<u32>,
    ) -> Result<(), Fault> {
        let mut text = std::mem::take(out).into_bytes();
        text.clear();
        ends.clear();
        ends.reserve(rows.len());
        let (mut wanted, mut row) = (rows, 0);
        for page in self.pages(column::ATTRIBUTES)? {
            let page = page?;
            if page.holds != Holds::Plain || page.values > self.rows() - row as usize {
                return Err(ODD.into());
            }
            let end = row + page.values as u32;
            let here = wanted.partition_point(|wanted| *wanted < end);
            // To decompress is what takes the time: a page that isn't needed is passed over, and one of
            // which only the beginning is needed is left there.
            if let Some(last) = here.checked_sub(1).map(|last| wanted[last]) {
                let mut at = 0;
                let mut walk = |bytes: &[u8]| {
                    while row <= last {
                        let Some(one) = encoding::text_at(bytes, &mut at) else {
                            return Ok(false);
                        };
                        if wanted.first() == Some(&row) {
                            wanted = &wanted[1..];
                            add(&mut text, ends, one)?;
                        }
                        row += 1;
                    }
                    Ok(true)
                };
                let whole = (end - last) * 4 < page.values as u32;
                let enough = if whole {
                    walk(self.unpacker.unpack(&page)?)?
                } else {
                    self.unpacker.unpack_until(&page, &mut walk)?
                };
                if !enough {
                    return Err(FEWER.into());
                }
            }
            row = end;
        }
        if !wanted.is_empty() {
            return Err(FEWER.into());
        }
        *out = utf8(text, ends)?;
        Ok(())
    }
}

const ODD: &str = "a column is encoded as none of a segment is";
const FEWER: &str = "a column has fewer rows than the row group";
const TOO_LONG: &str = "its texts are longer than those of a row group ever are";

/// Adds a text of a column.
fn add(text: &mut Vec<u8>, ends: &mut Vec<u32>, word: &[u8]) -> Result<(), Fault> {
    if word.len() > TEXT_BYTES_MAX - text.len() {
        return Err(TOO_LONG.into());
    }
    text.extend_from_slice(word);
    ends.push(text.len() as u32);
    Ok(())
}

/// Takes what says which values are there off a page, and gives how many are.
fn levels(
    bytes: &mut &[u8],
    optional: bool,
    values: usize,
    levels: &mut Vec<u32>,
) -> Result<usize, Fault> {
    levels.clear();
    if !optional {
        return Ok(values);
    }
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(FEWER)?;
    let (packed, rest) = usize::try_from(u32::from_le_bytes(*len))
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(FEWER)?;
    *bytes = rest;
    encoding::runs(packed, 1, values, levels)?;
    Ok(levels.iter().filter(|level| **level == 1).count())
}

/// Makes room for nulls among the values from there on, where there are any.
fn spread<T: Copy>(values: &mut Vec<T>, from: usize, levels: &[u32], count: usize, null: T) {
    let mut next = values.len();
    if next - from == count {
        return;
    }
    values.resize(from + count, null);
    for (row, level) in levels.iter().enumerate().rev() {
        values[from + row] = if *level == 1 {
            next -= 1;
            values[next]
        } else {
            null
        };
    }
}

/// The whole is UTF-8, so each text is if none begins within a character.
fn utf8(text: Vec<u8>, ends: &[u32]) -> Result<String, Fault> {
    let text = String::from_utf8(text).map_err(|_| NOT_UTF8)?;
    if ends.iter().all(|end| text.is_char_boundary(*end as usize)) {
        Ok(text)
    } else {
        Err(NOT_UTF8.into())
    }
}
