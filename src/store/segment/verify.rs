//! Reading every byte of a segment, and finding that all that it tells of itself is true.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use parquet::file::statistics::Statistics;

use super::decode::{Fault, caught, each_text};
use super::footer::Entry;
use super::guard::Piece;
use super::reader::{MAGIC, Segment, bloom_place};
use super::schema::column;
use super::writer::span;
use super::{Rows, SegmentError, Summary};
use crate::model::Change;

/// Bytes that are read at once where only their checksum matters.
const READ_BYTES: u64 = 1024 * 1024;

impl Segment {
    /// Reads every byte, in pieces, decodes everything, and says what the file is. With a [`Summary`] to
    /// compare it to, that is the same.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be read, or [`SegmentError::Damaged`]: the first thing that is
    /// wrong, and where.
    pub fn verify(&self) -> Result<Summary, SegmentError> {
        let mut whole = Hasher::new();
        let mut name = None;
        for (group, entry) in self.tail.entries.iter().enumerate() {
            let bytes = self.bytes(entry.offset..entry.offset + entry.bytes)?;
            let mut hasher = Hasher::new();
            hasher.update(&bytes);
            whole.combine(&hasher);
            let damaged = |fault| self.damaged(Some(group), fault);
            if hasher.finalize() != entry.crc {
                return Err(damaged("its checksum is wrong".into()));
            }
            if group == 0 && !bytes.starts_with(MAGIC) {
                return Err(damaged("it doesn't begin as a Parquet file does".into()));
            }
            let bytes = Bytes::from(bytes);
            caught(|| self.verify_group(group, entry, &bytes, &mut name)).map_err(damaged)?;
        }
        let tail_start = self.tail.entries.last().map_or(0, |entry| entry.offset + entry.bytes);
        let tail = self.verify_tail(tail_start)?;
        whole.combine(&tail);
        let users = self.tail.entries.iter().map(|entry| entry.users).sum();
        let found = Summary {
            account: self.tail.account,
            first_seq: self.tail.entries.first().map_or(0, |entry| entry.first_seq),
            last_seq: self.tail.entries.last().map_or(0, |entry| entry.last_seq),
            events: self.tail.entries.iter().map(|entry| entry.rows).sum::<u64>() - users,
            users,
            dates: span(&self.tail.entries),
            bytes: self.tail.len,
            crc: whole.finalize(),
            tail_bytes: self.tail.len - tail_start,
            tail_crc: tail.finalize(),
        };
        if self.tail.expected.as_ref().is_some_and(|expected| *expected != found) {
            return Err(self.damaged(None, "it isn't what was written under this name".into()));
        }
        Ok(found)
    }

    /// Reads the tail again, as it is now, and finds the file to end with it.
    fn verify_tail(&self, start: u64) -> Result<Hasher, SegmentError> {
        let mut hasher = Hasher::new();
        let mut at = start;
        while at < self.tail.len {
            let end = self.tail.len.min(at + READ_BYTES);
            hasher.update(&self.bytes(at..end)?);
            at = end;
        }
        let now = self.file.metadata().map_err(|source| SegmentError::Io {
            doing: "read",
            place: "the length of a segment".to_owned(),
            source,
        })?;
        if now.len() != self.tail.len {
            return Err(self.damaged(None, "its length has changed".into()));
        }
        Ok(hasher)
    }

    fn verify_group(
        &self,
        group: usize,
        entry: &Entry,
        bytes: &Bytes,
        name: &mut Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let piece = Arc::new(self.piece(entry, bytes.clone()));
        let rows = self.decode(group, entry, &piece)?;
        self.verify_names(group, &piece, rows.len(), name)?;
        let (mut users, mut dates, mut own) = (0, None, None);
        for (_, record) in rows.iter() {
            match record.change {
                Change::Event(event) => {
                    let (date, received) = (event.date.millis(), record.received_at.millis());
                    let (from, to) = dates.unwrap_or((i64::MAX, i64::MIN));
                    dates = Some((from.min(date).min(received), to.max(date)));
                    let (from, to) = own.unwrap_or((date, date));
                    own = Some((from.min(date), to.max(date)));
                }
                _ => users += 1,
            }
        }
        if users != entry.users || dates != entry.dates {
            return Err("it isn't what the end of the file tells of it".into());
        }
        let seqs = (entry.first_seq as i64, entry.last_seq as i64);
        self.verify_statistics(group, column::SEQ, Some(seqs))?;
        self.verify_statistics(group, column::DATE, own)?;
        self.verify_bloom(group, entry, bytes, &rows)
    }

    /// Each row names the same account.
    fn verify_names(
        &self,
        group: usize,
        piece: &Arc<Piece>,
        rows: usize,
        name: &mut Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let metadata = self.tail.metadata.row_group(group);
        each_text(piece, metadata, column::ACCOUNT, rows, |text| {
            let text = text.unwrap_or_default();
            match name {
                None => *name = Some(text.to_vec()),
                Some(name) if name == text => {}
                Some(_) => return Err("it names more than one account".into()),
            }
            Ok(())
        })?;
        if name.as_deref().is_some_and(|name| std::str::from_utf8(name).is_err()) {
            return Err("a text isn't UTF-8".into());
        }
        Ok(())
    }

    fn verify_statistics(
        &self,
        group: usize,
        column: usize,
        ends: Option<(i64, i64)>,
    ) -> Result<(), Fault> {
        let chunk = self.tail.metadata.row_group(group).column(column);
        let said = match chunk.statistics() {
            Some(Statistics::Int64(said)) => said.min_opt().copied().zip(said.max_opt().copied()),
            Some(_) => return Err("its statistics are of another type".into()),
            None => return Err("it has no statistics".into()),
        };
        if said != ends { Err("its statistics are wrong".into()) } else { Ok(()) }
    }

    fn verify_bloom(
        &self,
        group: usize,
        entry: &Entry,
        bytes: &Bytes,
        rows: &Rows,
    ) -> Result<(), Fault> {
        let place =
            bloom_place(&self.tail.metadata, group, entry).ok_or("it has no Bloom filter")?;
        let within = |at: u64| (at - entry.offset) as usize;
        let filter = bytes.slice(within(place.start)..within(place.end));
        if crc32fast::hash(&filter) != entry.bloom_crc {
            return Err("the checksum of its Bloom filter is wrong".into());
        }
        let all = self.check_bloom(group, place.start, filter, |bloom| {
            rows.iter().all(|(_, record)| match record.change {
                Change::Event(event) => event.user_id.is_none_or(|id| bloom.check(id)),
                Change::User(user) => bloom.check(user.id),
                _ => true,
            })
        })?;
        if all { Ok(()) } else { Err("its Bloom filter denies a user that it holds".into()) }
    }
}
