//! Opening a segment and reading it, a row group at a time.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::decode::{Fault, caught};
use super::footer::{self, Entry, Footer, Unread};
use super::guard::Piece;
use super::keys;
use super::rows::Rows;
use super::schema::{COLUMNS, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX, column, schema};
use super::thrift;
use super::writer::place;
use super::{SegmentError, Summary};
use crate::model::{AccountId, Date, Seq};

/// Bytes of the tail of a file: that of a segment of ten million records is 0.5 MB.
pub(super) const TAIL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of one row group at rest: text that doesn't compress, and numbers, with room to spare.
const GROUP_BYTES_MAX: u64 = 4 * ROW_GROUP_BYTES_MAX as u64;

/// Bytes of one page, decompressed.
pub(super) const PAGE_BYTES_MAX: usize = 2 * GROUP_BYTES_MAX as usize;

/// What a Parquet file begins and ends with.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// The length of the footer and [`MAGIC`].
pub(super) const END_BYTES: u64 = 8;

/// What is known of a row group without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its first record's place in the log.
    pub first_seq: Seq,
    /// Its last record's.
    pub last_seq: Seq,
    /// How many records it has.
    pub rows: u64,
    /// From when to when its events are, as in [`Summary::dates`].
    pub dates: Option<(Date, Date)>,
    /// Whether there are updates of users among them.
    pub users: bool,
    /// Whether there are first records of submissions that have a key among them.
    pub keys: bool,
    /// Whether there are events among them.
    pub events: bool,
}

/// An open segment. Only its tail is in memory; reading it needs no lock and moves no position.
pub struct Segment {
    pub(super) file: File,
    path: PathBuf,
    pub(super) tail: Tail,
}

/// What the tail of a segment says, once it was found to be sound: some 5 KB for each row group. With it the
/// segment is opened again without reading and checking that anew; it keeps no file open.
#[derive(Clone)]
pub struct Tail {
    pub(super) len: u64,
    format: u32,
    pub(super) account: AccountId,
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) entries: Arc<Vec<Entry>>,
    groups: Arc<Vec<Group>>,
    pub(super) expected: Option<Summary>,
}

impl Tail {
    /// How many row groups it tells of.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }
}

impl Segment {
    /// Opens a file, and finds its length and tail to be what is expected, or at least its tail to be
    /// sound.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be read, [`SegmentError::Newer`], or [`SegmentError::Damaged`].
    pub fn open(path: &Path, expected: Option<&Summary>) -> Result<Segment, SegmentError> {
        let io = |source| io_error("open", path, source);
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let damaged = |Fault(why)| SegmentError::Damaged { place: path.display().to_string(), why };
        if let Some(expected) = expected
            && expected.bytes != len
        {
            let why = format!("it has {len} bytes, and had {} when it was written", expected.bytes);
            return Err(damaged(Fault(why)));
        }
        let tail = read_tail(&file, path, len, expected)?;
        let metadata = caught(|| parse_tail(&tail)).map_err(damaged)?;
        let keys = metadata.file_metadata().key_value_metadata();
        let Footer { format, account, groups: entries } =
            footer::read(keys).map_err(|unread| match unread {
                Unread::Wrong(why) => damaged(why.into()),
                Unread::Newer(found) => {
                    SegmentError::Newer { place: path.display().to_string(), found }
                }
            })?;
        let tail_bytes = expected.map(|expected| expected.tail_bytes);
        caught(|| check(&metadata, &entries, len, tail_bytes)).map_err(damaged)?;
        if expected.is_some_and(|expected| expected.account != account) {
            return Err(damaged("it is another account's".into()));
        }
        let groups = Arc::new(entries.iter().map(Group::of).collect());
        let (metadata, entries) = (Arc::new(metadata), Arc::new(entries));
        let expected = expected.cloned();
        let tail = Tail { len, format, account, metadata, entries, groups, expected };
        Ok(Segment { file, path: path.into(), tail })
    }

    /// Opens a file whose tail was read before.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be read, or [`SegmentError::Damaged`] if its length is another.
    pub fn open_again(path: &Path, tail: Tail) -> Result<Segment, SegmentError> {
        let io = |source| io_error("open", path, source);
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        if len != tail.len {
            let why = format!("it has {len} bytes, and had {} before", tail.len);
            return Err(SegmentError::Damaged { place: path.display().to_string(), why });
        }
        Ok(Segment { file, path: path.into(), tail })
    }

    /// What its tail says.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Whose records it holds.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.tail.account
    }

    /// Its row groups, in the order of the log.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.tail.groups
    }

    /// Whether a row group may hold events or updates of a user. That it may is said in vain once in a
    /// hundred times; that it may not is always true.
    ///
    /// # Errors
    /// [`SegmentError::Io`] or [`SegmentError::Damaged`].
    pub fn may_hold_user(&self, group: usize, id: &str) -> Result<bool, SegmentError> {
        let entry = self.entry(group)?;
        let (at, bytes) = self.bloom(group, entry)?;
        if crc32fast::hash(&bytes) != entry.bloom_crc {
            return Err(
                self.damaged(Some(group), "the checksum of its Bloom filter is wrong".into())
            );
        }
        let held = || self.check_bloom(group, at, bytes, |bloom| bloom.check(id));
        caught(held).map_err(|fault| self.damaged(Some(group), fault))
    }

    /// Whether the bytes of a row group are those that were written, without decoding them.
    ///
    /// # Errors
    /// [`SegmentError::Io`] or [`SegmentError::Damaged`].
    pub fn check(&self, group: usize) -> Result<(), SegmentError> {
        self.checked_bytes(group).map(drop)
    }

    /// A row group as it lies, its checksum found right.
    fn checked_bytes(&self, group: usize) -> Result<Vec<u8>, SegmentError> {
        let mut bytes = Vec::new();
        self.checked_bytes_into(group, &mut bytes)?;
        Ok(bytes)
    }

    /// The same, into memory that serves again; and what is known of it.
    pub(super) fn checked_bytes_into(
        &self,
        group: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<&Entry, SegmentError> {
        let entry = self.entry(group)?;
        bytes.resize(usize::try_from(entry.bytes).unwrap_or(0), 0);
        let io = |source| io_error("read", &self.path, source);
        self.file.read_exact_at(bytes, entry.offset).map_err(io)?;
        if crc32fast::hash(bytes) != entry.crc {
            return Err(self.damaged(Some(group), "its checksum is wrong".into()));
        }
        Ok(entry)
    }

    /// The records of a row group, which are in memory from then on: 1 MB to [`ROW_GROUP_BYTES_MAX`] and
    /// a few more.
    ///
    /// # Errors
    /// [`SegmentError::Io`] or [`SegmentError::Damaged`].
    pub fn read(&self, group: usize) -> Result<Rows, SegmentError> {
        let entry = self.entry(group)?;
        let bytes = self.checked_bytes(group)?;
        let piece = Arc::new(self.piece(entry, bytes.into()));
        caught(|| self.decode(group, entry, &piece))
            .map_err(|fault| self.damaged(Some(group), fault))
    }

    /// Decodes a row group and finds its records to be those that the tail tells of.
    pub(super) fn decode(
        &self,
        group: usize,
        entry: &Entry,
        piece: &Arc<Piece>,
    ) -> Result<Rows, Fault> {
        let metadata = self.tail.metadata.row_group(group);
        let (rows, keys) = (entry.rows as usize, entry.key_bytes as usize);
        let keys_at = piece.bytes.len().checked_sub(keys).ok_or("it is shorter than its keys")?;
        let keys = keys::decode(&piece.bytes[keys_at..], rows)?;
        let rows =
            Rows::read(piece, metadata, self.tail.format, self.tail.account, rows)?.with_keys(keys);
        let ends = [rows.iter().next(), rows.iter().next_back()].map(|end| end.map(|(seq, _)| seq));
        if ends != [Some(entry.first_seq), Some(entry.last_seq)] {
            return Err("its records aren't those that the end of the file tells of".into());
        }
        Ok(rows)
    }

    pub(super) fn piece(&self, entry: &Entry, bytes: Bytes) -> Piece {
        Piece { offset: entry.offset, bytes, page_bytes_max: PAGE_BYTES_MAX }
    }

    fn bloom(&self, group: usize, entry: &Entry) -> Result<(u64, Vec<u8>), SegmentError> {
        let place = bloom_place(&self.tail.metadata, group, entry);
        let place =
            place.ok_or_else(|| self.damaged(Some(group), "it has no Bloom filter".into()))?;
        Ok((place.start, self.bytes(place)?))
    }

    /// Asks the Bloom filter of a row group, which is in these bytes.
    pub(super) fn check_bloom<T>(
        &self,
        group: usize,
        offset: u64,
        bytes: impl Into<Bytes>,
        ask: impl FnOnce(&Sbbf) -> T,
    ) -> Result<T, Fault> {
        let chunk = self.tail.metadata.row_group(group).column(column::USER_ID);
        let piece = Filter(Piece { offset, bytes: bytes.into(), page_bytes_max: 0 });
        let bloom = Sbbf::read_from_column_chunk(chunk, &piece)?;
        let bloom = bloom.ok_or("it has no Bloom filter")?;
        if bloom.num_blocks() == 0 {
            return Err("its Bloom filter is empty".into());
        }
        Ok(ask(&bloom))
    }

    pub(super) fn entry(&self, group: usize) -> Result<&Entry, SegmentError> {
        self.tail.entries.get(group).ok_or_else(|| SegmentError::Unfit {
            place: self.path.display().to_string(),
            why: format!("there is no row group {group}"),
        })
    }

    /// Reads a part of the file; never more than a row group or the tail.
    pub(super) fn bytes(&self, place: Range<u64>) -> Result<Vec<u8>, SegmentError> {
        read(&self.file, &self.path, place)
    }

    pub(super) fn damaged(&self, group: Option<usize>, Fault(why): Fault) -> SegmentError {
        let path = self.path.display();
        let place = match group.and_then(|group| Some((group, self.tail.entries.get(group)?))) {
            None => path.to_string(),
            Some((group, entry)) => {
                let end = entry.offset + entry.bytes;
                format!("{path}, row group {group} (bytes {} to {end})", entry.offset)
            }
        };
        SegmentError::Damaged { place, why }
    }
}

impl Group {
    fn of(entry: &Entry) -> Group {
        Group {
            first_seq: entry.first_seq,
            last_seq: entry.last_seq,
            rows: entry.rows,
            dates: super::writer::span(std::slice::from_ref(entry)),
            users: entry.users > 0,
            keys: entry.key_bytes > 0,
            events: entry.users < entry.rows,
        }
    }
}

/// A Bloom filter in memory: it has no pages to look at.
struct Filter(Piece);

impl parquet::file::reader::Length for Filter {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl parquet::file::reader::ChunkReader for Filter {
    type T = io::Empty;

    fn get_read(&self, _: u64) -> parquet::errors::Result<io::Empty> {
        Ok(io::empty())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

pub(super) fn bloom_place(
    metadata: &ParquetMetaData,
    group: usize,
    entry: &Entry,
) -> Option<Range<u64>> {
    let chunk = metadata.row_group(group).column(column::USER_ID);
    let place = place(chunk.bloom_filter_offset()?, chunk.bloom_filter_length()?)?;
    within(&place, entry).then_some(place)
}

fn within(place: &Range<u64>, entry: &Entry) -> bool {
    entry.offset <= place.start && place.end <= entry.offset.saturating_add(entry.bytes)
}

pub(super) fn io_error(doing: &'static str, path: &Path, source: io::Error) -> SegmentError {
    let place = path.display().to_string();
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return SegmentError::Damaged { place, why: "it ends too early".to_owned() };
    }
    SegmentError::Io { doing, place, source }
}

pub(super) fn read(file: &File, path: &Path, place: Range<u64>) -> Result<Vec<u8>, SegmentError> {
    let mut bytes = vec![0; usize::try_from(place.end - place.start).unwrap_or(0)];
    file.read_exact_at(&mut bytes, place.start).map_err(|source| io_error("read", path, source))?;
    Ok(bytes)
}

/// The end of the file: all after the last row group if that is known, else the footer alone.
pub(super) fn read_tail(
    file: &File,
    path: &Path,
    len: u64,
    expected: Option<&Summary>,
) -> Result<Vec<u8>, SegmentError> {
    let damaged = |why: &str| SegmentError::Damaged {
        place: path.display().to_string(),
        why: why.to_owned(),
    };
    let tail_bytes = match expected {
        Some(expected) => expected.tail_bytes,
        None => {
            let Some(at) = len.checked_sub(END_BYTES) else {
                return Err(damaged("it is too short to be a Parquet file"));
            };
            let end = read(file, path, at..len)?;
            let (footer, magic) =
                end.split_first_chunk::<4>().ok_or_else(|| damaged("it ends too early"))?;
            if magic != MAGIC {
                return Err(damaged("it doesn't end as a Parquet file does"));
            }
            u64::from(u32::from_le_bytes(*footer)) + END_BYTES
        }
    };
    if tail_bytes > len || tail_bytes > TAIL_BYTES_MAX {
        return Err(damaged("its footer claims to be longer than it can be"));
    }
    let tail = read(file, path, len - tail_bytes..len)?;
    if expected.is_some_and(|expected| crc32fast::hash(&tail) != expected.tail_crc) {
        return Err(damaged("the checksum of its end is wrong"));
    }
    Ok(tail)
}

/// Takes the footer at the end of these bytes apart.
pub(super) fn parse_tail(tail: &[u8]) -> Result<ParquetMetaData, Fault> {
    let (rest, end) =
        tail.split_last_chunk::<{ END_BYTES as usize }>().ok_or("it ends too early")?;
    let (len, magic) = end.split_first_chunk::<4>().ok_or("it ends too early")?;
    if magic != MAGIC {
        return Err("it doesn't end as a Parquet file does".into());
    }
    let start = rest.len().checked_sub(u32::from_le_bytes(*len) as usize);
    let footer = &rest[start.ok_or("its footer claims to be longer than it can be")?..];
    thrift::check(footer).map_err(|_| "its footer is garbled")?;
    Ok(ParquetMetaDataReader::decode_metadata(footer)?)
}

/// Finds what the two parts of the footer say to be possible, and the same.
fn check(
    metadata: &ParquetMetaData,
    entries: &[Entry],
    len: u64,
    tail_bytes: Option<u64>,
) -> Result<(), Fault> {
    let schema = schema("record", &COLUMNS).map_err(|error| Fault(error.to_string()))?;
    if *metadata.file_metadata().schema() != *schema {
        return Err("its columns aren't those of a segment".into());
    }
    if metadata.num_row_groups() != entries.len() {
        return Err("its row groups aren't those it tells of".into());
    }
    let (mut end, mut last_seq) = (0_u64, 0);
    for (entry, group) in entries.iter().zip(metadata.row_groups()) {
        let bounded = (1..=2 * ROW_GROUP_ROWS_MAX as u64).contains(&entry.rows)
            && (1..=GROUP_BYTES_MAX).contains(&entry.bytes);
        let placed = entry.offset == end && len - end >= entry.bytes;
        let ascending = last_seq < entry.first_seq
            && entry.first_seq <= entry.last_seq
            && entry.last_seq - entry.first_seq >= entry.rows - entry.rows.min(1)
            && i64::try_from(entry.last_seq).is_ok();
        let sums = entry.users <= entry.rows
            && entry.dates.is_some() == (entry.users < entry.rows)
            && entry.dates.is_none_or(|(from, to)| from <= to)
            && u64::try_from(group.num_rows()) == Ok(entry.rows);
        if !(bounded && placed && ascending && sums) {
            return Err("what it tells of its row groups can't be".into());
        }
        (end, last_seq) = (end + entry.bytes, entry.last_seq);
        for chunk in group.columns() {
            let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
            let inside = place(start, chunk.compressed_size()).is_some_and(|it| within(&it, entry));
            if !inside || u64::try_from(chunk.num_values()) != Ok(entry.rows) {
                return Err("a column lies outside of its row group".into());
            }
        }
    }
    // The tail begins where the last row group ends; without a row group it is the whole file.
    if tail_bytes.is_some_and(|tail_bytes| end + tail_bytes != len) || end > len {
        return Err("its row groups don't fill it".into());
    }
    Ok(())
}
