//! What any file has to keep to that is taken for a segment or a table: nothing in it panics out, or takes
//! memory without bound. A panic of the decoder is caught where it is called.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::reader::bloom_place;
use super::schema::{COLUMNS, column, properties};
use super::writer::{Held, column as put};
use super::{
    ColumnReader, Effort, NO_WORD, Numbers, Segment, SegmentWriter, Table, Texts, UsersWriter,
    Words,
};
use crate::model::erasure::Digest;
use crate::model::record::{Event, Keyed, UserPatch};
use crate::model::{AccountId, Change, Date, Record, Via};

/// Rows of a table that are looked at.
const ROWS_MAX: usize = 5_000;

/// Reads bytes as a segment whose checksums are right, and as a table of events and of users.
pub(crate) fn segments(bytes: &[u8]) {
    let (_file, path) = in_memory(bytes);
    if let Ok(mut segment) = Segment::open(&path, None) {
        for group in 0..segment.tail.entries.len() {
            correct(&mut segment, group);
            if let Ok(rows) = segment.read(group) {
                let texts = rows.iter().map(|(seq, record)| format!("{seq} {record:?}").len());
                assert!(texts.count() as u64 == segment.groups()[group].rows);
                let _ = rows.iter_from(u64::MAX).count();
            }
            let _ = segment.may_hold_user(group, "zoe");
            columns(&segment, group);
        }
        let _ = segment.verify();
    }
    if let Ok(table) = Table::open(&path) {
        let mut left = ROWS_MAX;
        let mut go_on = || {
            left = left.saturating_sub(1);
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let _ = table.events(&mut |row| {
            let _ = format!("{row:?}");
            go_on()
        });
        let _ = table.users(&mut |row| {
            let _ = format!("{row:?}");
            go_on()
        });
        let _ = table.events_behind(table.rows() / 2, &mut |_| go_on());
    }
}

/// Reads all columns of a row group by themselves, and finds that none has more than there are rows.
pub(super) fn columns(segment: &Segment, group: usize) {
    let mut reader = ColumnReader::default();
    let Ok(mut group) = reader.enter(segment, group) else { return };
    let (rows, mut numbers, mut words) = (group.rows(), Vec::new(), Words::default());
    for column in [Numbers::Seq, Numbers::ReceivedAt, Numbers::Date] {
        assert!(group.numbers(column, &mut numbers).is_err() || numbers.len() == rows);
    }
    for column in [Texts::Type, Texts::UserId, Texts::Context] {
        if group.words(column, &mut words).is_ok() {
            assert!(words.numbers.len() == rows);
            let count = words.iter().map(|word| word.chars().count()).len();
            assert!(words.numbers.iter().all(|n| *n == NO_WORD || (*n as usize) < count));
        }
    }
    let mut vias = Vec::new();
    assert!(group.vias(&mut vias).is_err() || vias.len() == rows);
    let (mut attributes, mut ends) = (String::new(), Vec::new());
    for step in [1, 3] {
        let wanted: Vec<u32> = (0..rows as u32).step_by(step).collect();
        let read = group.attributes(&wanted, &mut attributes, &mut ends);
        assert!(read.is_err() || ends.len() == wanted.len());
        if let Ok(records) = group.records_of("u1", &wanted) {
            assert!(records.iter().count() <= wanted.len());
        }
    }
    let _ = group.records_of("u1", &[u32::MAX]);
    if let Ok(Some(records)) = group.records_within(&(5..=9)) {
        assert!(records.iter().count() <= rows);
    }
    for kind in ["", "page view"] {
        if let Ok(Some(records)) = group.events_of_type(kind, &(1..=u64::MAX)) {
            assert!(records.iter().count() <= rows);
        }
    }
}

/// A file that lies in memory, and what it can be opened by.
fn in_memory(bytes: &[u8]) -> (File, PathBuf) {
    let memory = rustix::fs::memfd_create("segment", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(memory.expect("a file in memory"));
    file.write_all(bytes).expect("memory takes it");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, path)
}

/// Has a row group's checksums be those of its bytes.
fn correct(segment: &mut Segment, group: usize) {
    let entry = segment.tail.entries[group].clone();
    if let Ok(bytes) = segment.bytes(entry.offset..entry.offset + entry.bytes) {
        Arc::make_mut(&mut segment.tail.entries)[group].crc = crc32fast::hash(&bytes);
        if let Some(place) = bloom_place(&segment.tail.metadata, group, &entry) {
            let [start, end] = [place.start, place.end].map(|at| (at - entry.offset) as usize);
            Arc::make_mut(&mut segment.tail.entries)[group].bloom_crc =
                crc32fast::hash(&bytes[start..end]);
        }
    }
}

/// Segments and tables that are whole, in what other programs write too.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let own = || properties(Effort::Quick).expect("they fit together").into_builder();
    let plain = || own().set_compression(Compression::UNCOMPRESSED);
    let text = |builder: parquet::file::properties::WriterPropertiesBuilder, encoding| {
        let texts = [column::TYPE, column::USER_ID, column::ATTRIBUTES, column::CONTEXT];
        texts.into_iter().fold(builder, |builder, column| {
            let path = ColumnPath::from(COLUMNS[column].name);
            builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, encoding)
        })
    };
    let of_numbers = |encoding| {
        let numbers = [column::SEQ, column::RECEIVED_AT, column::DATE];
        numbers.into_iter().fold(plain(), |builder, column| {
            builder.set_column_encoding(ColumnPath::from(COLUMNS[column].name), encoding)
        })
    };
    let version_2 = WriterVersion::PARQUET_2_0;
    vec![
        segment(own().build(), 4),
        segment(own().build(), 60),
        segment(plain().build(), 3),
        segment(plain().build(), 40),
        segment(plain().set_writer_version(version_2).build(), 9),
        segment(own().set_compression(Compression::SNAPPY).build(), 9),
        segment(text(plain(), Encoding::DELTA_BYTE_ARRAY).build(), 9),
        segment(text(plain(), Encoding::DELTA_LENGTH_BYTE_ARRAY).build(), 9),
        segment(text(plain().set_writer_version(version_2), Encoding::PLAIN).build(), 9),
        segment(of_numbers(Encoding::PLAIN).build(), 9),
        segment(of_numbers(Encoding::BYTE_STREAM_SPLIT).build(), 9),
        users(),
        table(Compression::UNCOMPRESSED),
        table(Compression::SNAPPY),
    ]
}

fn segment(properties: WriterProperties, rows: u64) -> Vec<u8> {
    let account = AccountId(7);
    let writer = SegmentWriter::with_properties(Vec::new(), account, "shop", properties);
    let mut writer = writer.expect("a segment").keeping_keys_from(Date::from_millis(0));
    for n in 0..rows {
        let (id, attributes) = (format!("u{}", n % 5), format!(r#"{{"n":{n}}}"#));
        let context = (n % 4 == 1).then_some(r#"{"os":"Linux"}"#);
        let via = [Via::Public, Via::Secret, Via::Import][n as usize % 3];
        let change = if n % 4 == 2 {
            Change::User(UserPatch { account, via, id: &id, patch: &attributes, context })
        } else {
            Change::Event(Event {
                account,
                via,
                kind: "view",
                user_id: (n % 3 > 0).then_some(&id),
                date: Date::from_millis(n as i64 * 1000),
                attributes: &attributes,
                context,
            })
        };
        let keyed = (n % 3 == 0).then_some(Keyed { key: Digest([n as u8; 16]), count: 1 });
        let received_at = Date::from_millis(1_000 + n as i64);
        writer.put(n * 2 + 1, &Record { received_at, keyed, change }).expect("it fits");
    }
    writer.finish().expect("memory takes it").0
}

fn users() -> Vec<u8> {
    let mut writer = UsersWriter::new(Vec::new()).expect("a file");
    for (id, email) in [("zoe", Some("zoe@a.example")), ("5", None)] {
        let date = Date::from_millis(5);
        writer.put(id, email, r#"{"plan":"free"}"#, date, date).expect("it fits");
    }
    writer.finish().expect("memory takes it")
}

/// A table of somebody else's: days, microseconds, nanoseconds, numbers in the place of texts.
fn table(compression: Compression) -> Vec<u8> {
    let schema = "message m {
        required int64 id;
        optional int64 user_id (INTEGER(64,false));
        required int64 date (TIMESTAMP(MICROS,true));
        optional int64 received_at (TIMESTAMP(NANOS,true));
        required int32 created_at (DATE);
        required binary type (UTF8);
        required int32 seq;
        optional binary attributes (JSON);
        optional binary email (ENUM);
    }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let file = SerializedFileWriter::new(Held::default(), schema, properties);
    let mut file = file.expect("a file");
    let numbers: Vec<i64> = (0..5).map(|n| n * 1_000_000_007).collect();
    let small: Vec<i32> = (0..5).collect();
    let texts: Vec<ByteArray> = ["a", "b", "a", "{}", "zoe"].map(ByteArray::from).into();
    let levels = [1, 0, 1, 1, 0];
    for _ in 0..2 {
        let mut group = file.next_row_group().expect("a row group");
        put::<Int64Type>(&mut group, &numbers, None)
            .and_then(|()| put::<Int64Type>(&mut group, &numbers[..3], Some(&levels)))
            .and_then(|()| put::<Int64Type>(&mut group, &numbers, None))
            .and_then(|()| put::<Int64Type>(&mut group, &numbers[..3], Some(&levels)))
            .and_then(|()| put::<Int32Type>(&mut group, &small, None))
            .and_then(|()| put::<ByteArrayType>(&mut group, &texts, None))
            .and_then(|()| put::<Int32Type>(&mut group, &small, None))
            .and_then(|()| put::<ByteArrayType>(&mut group, &texts[..3], Some(&levels)))
            .and_then(|()| put::<ByteArrayType>(&mut group, &texts[..3], Some(&levels)))
            .expect("memory takes it");
        group.close().expect("memory takes it");
    }
    file.into_inner().expect("memory takes it").0
}
