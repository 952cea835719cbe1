//! Writing a segment, one row group at a time.

use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::footer::{self, Entry};
use super::keys;
use super::schema::{
    COLUMNS, Effort, KIND_EVENT, KIND_USER, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX, column,
    properties, refused, schema,
};
use super::{SegmentError, Summary};
use crate::model::record::Keyed;
use crate::model::{AccountId, Change, Date, Record, Seq, Via};

/// Values that are handed to the encoder at once.
const BATCH_ROWS: usize = 1024;

/// Writes the records of one account into one file.
///
/// It holds one row group in memory, as text and then as compressed; nothing but whole row groups
/// reaches what it writes to.
pub struct SegmentWriter<W: Write> {
    out: W,
    /// What isn't yet written to `out` is held in it: first a row group, in the end the tail.
    file: SerializedFileWriter<Held>,
    account: AccountId,
    name: ByteArray,
    pending: Pending,
    groups: Vec<Entry>,
    /// Where the row group that is being filled begins.
    offset: u64,
    /// Of all that was written.
    crc: Hasher,
    last_seq: Seq,
    /// From when on keys are kept; none if there is none.
    keys_from: Option<Date>,
}

impl<W: Write> SegmentWriter<W> {
    /// Begins a segment of an account, which is called so.
    ///
    /// # Errors
    /// None that are known of; what Parquet says would be passed on.
    pub fn new(out: W, account: AccountId, name: &str) -> Result<SegmentWriter<W>, SegmentError> {
        SegmentWriter::with(out, account, name, Effort::default())
    }

    /// The same, and how hard it is to be tried to keep it small.
    ///
    /// # Errors
    /// As [`SegmentWriter::new`].
    pub fn with(
        out: W,
        account: AccountId,
        name: &str,
        effort: Effort,
    ) -> Result<SegmentWriter<W>, SegmentError> {
        SegmentWriter::with_properties(out, account, name, properties(effort)?)
    }

    pub(super) fn with_properties(
        out: W,
        account: AccountId,
        name: &str,
        properties: WriterProperties,
    ) -> Result<SegmentWriter<W>, SegmentError> {
        let file = SerializedFileWriter::new(
            Held::default(),
            schema("record", &COLUMNS)?,
            Arc::new(properties),
        )
        .map_err(refused)?;
        Ok(SegmentWriter {
            out,
            file,
            account,
            name: name.into(),
            pending: Pending::default(),
            groups: Vec::new(),
            offset: 0,
            crc: Hasher::new(),
            last_seq: 0,
            keys_from: None,
        })
    }

    /// The same, and keeps keys of submissions that came from then on.
    #[must_use]
    pub fn keeping_keys_from(self, from: Date) -> SegmentWriter<W> {
        SegmentWriter { keys_from: Some(from), ..self }
    }

    /// Adds a record, and says whether that has finished a row group. The file has then become longer;
    /// else it stays as it is.
    ///
    /// # Errors
    /// [`SegmentError::Refused`] if it is another account's, neither an event nor an update of a user, or
    /// doesn't come after the one before it; [`SegmentError::Io`] if it can't be written: the segment is
    /// to be given up then.
    pub fn put(&mut self, seq: Seq, record: &Record<'_>) -> Result<bool, SegmentError> {
        let refused = |why: &str| Err(SegmentError::Refused(why.to_owned()));
        let account = match &record.change {
            Change::Event(event) => event.account,
            Change::User(user) => user.account,
            _ => return refused("only events and updates of users are sealed"),
        };
        if account != self.account {
            return refused("a record is another account's");
        }
        if seq <= self.last_seq || i64::try_from(seq).is_err() {
            return refused("a record doesn't come after the one before it");
        }
        self.last_seq = seq;
        if self.keys_from.is_some_and(|from| from <= record.received_at) {
            self.pending.keys.extend(record.keyed.map(|keyed| (self.pending.seq.len(), keyed)));
        }
        self.pending.push(seq, record);
        let full = self.pending.seq.len() >= ROW_GROUP_ROWS_MAX
            || self.pending.text_bytes() >= ROW_GROUP_BYTES_MAX;
        if full {
            self.finish_group()?;
        }
        Ok(full)
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.groups.iter().map(|group| group.rows).sum::<u64>() + self.pending.seq.len() as u64
    }

    /// Bytes of the row groups that are finished.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Writes what is left and the end of the file, and says what is in it. Whether it is on disk is up to
    /// the caller.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be written.
    pub fn finish(mut self) -> Result<(W, Summary), SegmentError> {
        if !self.pending.seq.is_empty() {
            self.finish_group()?;
        }
        for key in footer::write(self.account, &self.groups) {
            self.file.append_key_value_metadata(key);
        }
        let mut out = self.out;
        let tail = self.file.into_inner().map_err(refused)?.0;
        out.write_all(&tail).and_then(|()| out.flush()).map_err(unwritten)?;
        let tail_crc = crc_of(&tail);
        self.crc.combine(&tail_crc);
        let users = self.groups.iter().map(|group| group.users).sum();
        let summary = Summary {
            account: self.account,
            first_seq: self.groups.first().map_or(0, |group| group.first_seq),
            last_seq: self.groups.last().map_or(0, |group| group.last_seq),
            events: self.groups.iter().map(|group| group.rows).sum::<u64>() - users,
            users,
            dates: span(&self.groups),
            bytes: self.offset + tail.len() as u64,
            crc: self.crc.finalize(),
            tail_bytes: tail.len() as u64,
            tail_crc: tail_crc.finalize(),
        };
        Ok((out, summary))
    }

    fn finish_group(&mut self) -> Result<(), SegmentError> {
        let mut group = self.file.next_row_group().map_err(refused)?;
        let mut entry = self.pending.write(&mut group, &self.name).map_err(refused)?;
        group.close().map_err(refused)?;
        let keys = keys::encode(&self.pending.keys);
        self.pending.keys.clear();
        entry.key_bytes = keys.len() as u64;
        // By way of Parquet, which has to know how long its file is.
        self.file.write_all(&keys).and_then(|()| self.file.flush()).map_err(unwritten)?;
        let bloom = self.file.flushed_row_groups().last().and_then(|group| {
            let column = group.column(column::USER_ID);
            place(column.bloom_filter_offset()?, column.bloom_filter_length()?)
        });
        let held = &mut self.file.inner_mut().0;
        let bloom = bloom.and_then(|place| {
            let within = |at: u64| usize::try_from(at.checked_sub(self.offset)?).ok();
            held.get(within(place.start)?..within(place.end)?)
        });
        let Some(bloom) = bloom else {
            return Err(SegmentError::Refused("a row group has no Bloom filter".to_owned()));
        };
        entry.bloom_crc = crc32fast::hash(bloom);
        let crc = crc_of(held);
        entry.offset = self.offset;
        entry.bytes = held.len() as u64;
        entry.crc = crc.clone().finalize();
        self.out.write_all(held).map_err(unwritten)?;
        held.clear();
        self.crc.combine(&crc);
        self.offset += entry.bytes;
        self.groups.push(entry);
        Ok(())
    }
}

/// Where something lies in the file, if that can be.
pub(super) fn place(offset: i64, len: impl Into<i64>) -> Option<Range<u64>> {
    let start = u64::try_from(offset).ok()?;
    Some(start..start.checked_add(u64::try_from(len.into()).ok()?)?)
}

/// From when to when the events of these row groups are.
pub(super) fn span(groups: &[Entry]) -> Option<(Date, Date)> {
    let dates = groups.iter().filter_map(|group| group.dates);
    let (from, to) = dates.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    Some((Date::from_millis(from), Date::from_millis(to)))
}

fn crc_of(bytes: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher
}

pub(super) fn unwritten(source: io::Error) -> SegmentError {
    SegmentError::Io { doing: "write", place: "a segment".to_owned(), source }
}

/// What Parquet has written and the file hasn't got yet.
#[derive(Default)]
pub(super) struct Held(pub Vec<u8>);

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The records of the row group that is being filled, by column.
#[derive(Default)]
struct Pending {
    seq: Vec<i64>,
    received_at: Vec<i64>,
    /// Of events alone, as `dated` says.
    date: Vec<i64>,
    dated: Vec<i16>,
    via: Vec<Via>,
    kinds: Texts,
    user_ids: Texts,
    attributes: Texts,
    contexts: Texts,
    dates: Option<(i64, i64)>,
    /// Of which rows.
    keys: Vec<(usize, Keyed)>,
}

impl Pending {
    fn push(&mut self, seq: Seq, record: &Record<'_>) {
        let received_at = record.received_at.millis();
        let (via, user_id, attributes, context) = match &record.change {
            Change::Event(event) => {
                let date = event.date.millis();
                self.date.push(date);
                self.dated.push(1);
                self.kinds.push(Some(event.kind));
                let (from, to) = self.dates.unwrap_or((i64::MAX, i64::MIN));
                self.dates = Some((from.min(date).min(received_at), to.max(date)));
                (event.via, event.user_id, event.attributes, event.context)
            }
            Change::User(user) => {
                self.dated.push(0);
                self.kinds.push(None);
                (user.via, Some(user.id), user.patch, user.context)
            }
            _ => return,
        };
        self.seq.push(seq as i64);
        self.received_at.push(received_at);
        self.via.push(via);
        self.user_ids.push(user_id);
        self.attributes.push(Some(attributes));
        self.contexts.push(context);
    }

    fn text_bytes(&self) -> usize {
        let texts = [&self.kinds, &self.user_ids, &self.attributes, &self.contexts];
        texts.iter().map(|texts| texts.bytes()).sum()
    }

    /// Writes all columns, and forgets them. Where they come to lie isn't known yet.
    fn write(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, Held>,
        name: &ByteArray,
    ) -> Result<Entry, ParquetError> {
        let rows = self.seq.len();
        let entry = Entry {
            offset: 0,
            bytes: 0,
            crc: 0,
            bloom_crc: 0,
            first_seq: self.seq.first().map_or(0, |seq| *seq as Seq),
            last_seq: self.seq.last().map_or(0, |seq| *seq as Seq),
            rows: rows as u64,
            users: (rows - self.date.len()) as u64,
            dates: self.dates.take(),
            key_bytes: 0,
        };
        let [event, user] = [KIND_EVENT, KIND_USER]
            .map(|word| ByteArray::from(Bytes::from_static(word.as_bytes())));
        let word = |via: &Via| Bytes::from_static(via.name().as_bytes()).into();
        // In the order of the schema.
        column::<Int64Type>(group, &self.seq, None)?;
        column::<Int64Type>(group, &self.received_at, None)?;
        column::<Int64Type>(group, &self.date, Some(&self.dated))?;
        words(group, &self.dated, |_| name.clone())?;
        words(group, &self.dated, |dated| if *dated == 1 { &event } else { &user }.clone())?;
        self.kinds.write(group, true)?;
        self.user_ids.write(group, true)?;
        self.attributes.write(group, false)?;
        self.contexts.write(group, true)?;
        words(group, &self.via, word)?;
        for numbers in [&mut self.seq, &mut self.received_at, &mut self.date] {
            numbers.clear();
        }
        self.dated.clear();
        self.via.clear();
        Ok(entry)
    }
}

pub(super) fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Held>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    next(group, |writer| writer.typed::<T>().write_batch(values, levels, None).map(|_| ()))
}

/// A column of a word for each row.
fn words<T>(
    group: &mut SerializedRowGroupWriter<'_, Held>,
    rows: &[T],
    word: impl FnMut(&T) -> ByteArray + Copy,
) -> Result<(), ParquetError> {
    next(group, |writer| {
        let writer = writer.typed::<ByteArrayType>();
        for rows in rows.chunks(BATCH_ROWS) {
            writer.write_batch(&rows.iter().map(word).collect::<Vec<_>>(), None, None)?;
        }
        Ok(())
    })
}

fn next(
    group: &mut SerializedRowGroupWriter<'_, Held>,
    write: impl FnOnce(
        &mut parquet::file::writer::SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let Some(mut writer) = group.next_column()? else {
        return Err(ParquetError::General("there are more columns than the schema has".to_owned()));
    };
    write(&mut writer)?;
    writer.close()
}

/// The texts of a column, end to end.
#[derive(Default)]
pub(super) struct Texts {
    bytes: BytesMut,
    /// Where each ends that is there.
    ends: Vec<usize>,
    /// Which are there.
    levels: Vec<i16>,
}

impl Texts {
    pub fn push(&mut self, text: Option<&str>) {
        self.levels.push(i16::from(text.is_some()));
        if let Some(text) = text {
            self.bytes.extend_from_slice(text.as_bytes());
            self.ends.push(self.bytes.len());
        }
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the column, and forgets it.
    pub fn write(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, Held>,
        optional: bool,
    ) -> Result<(), ParquetError> {
        let bytes = mem::take(&mut self.bytes).freeze();
        next(group, |writer| {
            let writer = writer.typed::<ByteArrayType>();
            let (mut ends, mut start) = (self.ends.iter(), 0);
            let mut values = Vec::with_capacity(BATCH_ROWS);
            for levels in self.levels.chunks(BATCH_ROWS) {
                let there = levels.iter().filter(|level| **level == 1).count();
                values.clear();
                values.extend(ends.by_ref().take(there).map(|end| {
                    let text = bytes.slice(start..*end);
                    start = *end;
                    ByteArray::from(text)
                }));
                writer.write_batch(&values, optional.then_some(levels), None)?;
            }
            Ok(())
        })?;
        // Nobody else has the bytes any more, so that their memory serves the next row group.
        self.bytes = bytes.try_into_mut().unwrap_or_default();
        self.bytes.clear();
        self.ends.clear();
        self.levels.clear();
        Ok(())
    }
}
