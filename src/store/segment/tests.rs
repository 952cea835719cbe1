use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::erasure::Digest;
use crate::model::record::{Event, Keyed, UserPatch};
use crate::model::{Change, Record, Via};

const ACCOUNT: AccountId = AccountId(7);

/// A record that owns its texts: an update of a user if there is no kind.
#[derive(Clone, Debug)]
struct Owned {
    gap: u64,
    received_at: i64,
    via: Via,
    kind: Option<(String, i64)>,
    user_id: Option<String>,
    attributes: String,
    context: Option<String>,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        let (account, via, attributes) = (ACCOUNT, self.via, self.attributes.as_str());
        let (user_id, context) = (self.user_id.as_deref(), self.context.as_deref());
        let change = match &self.kind {
            Some((kind, date)) => {
                let date = Date::from_millis(*date);
                Change::Event(Event { account, via, kind, user_id, date, attributes, context })
            }
            None => {
                let id = user_id.unwrap_or_default();
                Change::User(UserPatch { account, via, id, patch: attributes, context })
            }
        };
        Record { received_at: Date::from_millis(self.received_at), change, keyed: None }
    }
}

/// Writes records to a file in a folder of its own, and says what is in it.
fn written(records: &[Owned]) -> (TempDir, PathBuf, Summary) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("segment.parquet");
    let mut writer =
        SegmentWriter::new(fs::File::create(&path).expect("a file"), ACCOUNT, "shop").expect("new");
    let mut seq = 0;
    for record in records {
        seq += record.gap;
        writer.put(seq, &record.record()).expect("it fits");
    }
    let (_, summary) = writer.finish().expect("it is written");
    (dir, path, summary)
}

/// All records of a segment, as text that shows every part.
fn shown(segment: &Segment) -> Result<Vec<String>, SegmentError> {
    let (mut all, mut columns) = (Vec::new(), ColumnReader::default());
    for group in 0..segment.groups().len() {
        let rows = segment.read(group)?;
        all.extend(rows.iter().map(|(seq, record)| format!("{seq} {record:?}")));
        assert_columns(&rows, columns.enter(segment, group)?)?;
    }
    Ok(all)
}

/// Finds the columns of a row group to be those of its records.
fn assert_columns(rows: &Rows, mut group: RowGroup<'_>) -> Result<(), SegmentError> {
    let [mut seq, mut received_at, mut dates] = [(); 3].map(|()| Vec::new());
    group.numbers(Numbers::Seq, &mut seq)?;
    group.numbers(Numbers::ReceivedAt, &mut received_at)?;
    group.numbers(Numbers::Date, &mut dates)?;
    let [mut kinds, mut users, mut contexts] = [(); 3].map(|()| Words::default());
    group.words(Texts::Type, &mut kinds)?;
    group.words(Texts::UserId, &mut users)?;
    group.words(Texts::Context, &mut contexts)?;
    let (mut vias, mut attributes, mut ends) = (Vec::new(), String::new(), Vec::new());
    group.vias(&mut vias)?;
    let every = |step: usize| (0..rows.len() as u32).step_by(step).collect::<Vec<_>>();
    let word = |words: &Words, row: usize| {
        let number = words.numbers[row];
        (number != NO_WORD).then(|| words.iter().nth(number as usize).expect("a word").to_owned())
    };
    for step in [1, 3, 1000] {
        let wanted = every(step);
        group.attributes(&wanted, &mut attributes, &mut ends)?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let texts =
            starts.zip(&ends).map(|(start, end)| &attributes[start as usize..*end as usize]);
        for (row, text) in wanted.iter().zip(texts) {
            let record = rows.get(*row as usize).1;
            let of_record = match record.change {
                Change::Event(event) => event.attributes,
                Change::User(user) => user.patch,
                _ => unreachable!(),
            };
            assert_eq!(text, of_record);
        }
        assert_eq!(ends.len(), wanted.len());
    }
    for row in every(1 + rows.len() / 200) {
        let row = row as usize;
        let (at, record) = rows.get(row);
        let (kind, user, date, context, via) = match record.change {
            Change::Event(e) => (Some(e.kind), e.user_id, e.date.millis(), e.context, e.via),
            Change::User(u) => (None, Some(u.id), 0, u.context, u.via),
            _ => unreachable!(),
        };
        assert_eq!((seq[row] as Seq, received_at[row]), (at, record.received_at.millis()));
        assert_eq!((dates[row], vias[row]), (date, via));
        assert_eq!(word(&kinds, row).as_deref(), kind);
        assert_eq!(word(&users, row).as_deref(), user);
        assert_eq!(word(&contexts, row).as_deref(), context);
    }
    // The rows of some users, looked for among more.
    for row in every(1 + rows.len() / 5) {
        let Some(id) = word(&users, row as usize) else { continue };
        for step in [1, 7] {
            let among = every(step);
            let is_of = |row: &u32| word(&users, *row as usize).as_deref() == Some(&id);
            let expected: Vec<_> = if rows.len() > 2_000 { vec![] } else { among.clone() }
                .iter()
                .filter(|row| is_of(row))
                .map(|row| rows.get(*row as usize))
                .map(|(seq, record)| format!("{seq} {:?}", Record { keyed: None, ..record }))
                .collect();
            let found = group.records_of(&id, &among)?;
            let found: Vec<_> =
                found.iter().map(|(seq, record)| format!("{seq} {record:?}")).collect();
            assert!(rows.len() > 2_000 && !found.is_empty() || found == expected);
        }
    }
    // The events of each type that few are of, of all positions and of some.
    let mut types: Vec<_> = kinds.iter().map(str::to_owned).collect();
    types.push("none".to_owned());
    types.truncate(20);
    let middle = rows.len() / 2;
    for (kind, range) in types
        .iter()
        .flat_map(|kind| [(kind, 1..=Seq::MAX), (kind, rows.seq(middle / 2)..=rows.seq(middle))])
    {
        let is_of =
            |record: &Record<'_>| matches!(&record.change, Change::Event(e) if e.kind == kind);
        let few = rows.iter().filter(|(_, record)| is_of(record)).count() <= rows.len() / 8;
        let expected: Vec<_> = rows
            .iter()
            .filter(|(seq, record)| is_of(record) && range.contains(seq))
            .map(|(seq, record)| format!("{seq} {:?}", Record { keyed: None, ..record }))
            .collect();
        let found = group.events_of_type(kind, &range)?;
        let found = found.map(|found| -> Vec<String> {
            found.iter().map(|(seq, record)| format!("{seq} {record:?}")).collect()
        });
        assert_eq!(found, few.then_some(expected), "{kind} {range:?}");
    }
    // Those at some positions, where they are few: the first, the last, some between, all, and none.
    let (first, last) = (rows.seq(0), rows.seq(rows.len() - 1));
    let some = rows.seq(middle)..=rows.seq((middle + 5).min(rows.len() - 1));
    for range in [first..=first, last..=Seq::MAX, some, 1..=Seq::MAX, last + 1..=Seq::MAX] {
        let expected: Vec<_> = rows
            .iter()
            .filter(|(seq, _)| range.contains(seq))
            .map(|(seq, record)| format!("{seq} {:?}", Record { keyed: None, ..record }))
            .collect();
        let few = expected.len() <= rows.len() / 8;
        let found = group.records_within(&range)?;
        let found = found.map(|found| -> Vec<String> {
            found.iter().map(|(seq, record)| format!("{seq} {record:?}")).collect()
        });
        assert_eq!(found, few.then_some(expected), "{range:?}");
    }
    Ok(())
}

fn shown_before(records: &[Owned]) -> Vec<String> {
    let seq = |seq: &mut u64, record: &Owned| {
        *seq += record.gap;
        Some(*seq)
    };
    let seqs = records.iter().scan(0, seq);
    seqs.zip(records).map(|(seq, record)| format!("{seq} {:?}", record.record())).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("😀 \u{0}\n\"".to_owned()),
        Just(r#"{"n":1234567890123456789012345678901234567890,"e":1E5}"#.to_owned()),
        any::<String>(),
        "[a-z]{1,300}",
    ]
}

fn owned() -> impl Strategy<Value = Owned> {
    let via = prop_oneof![Just(Via::Public), Just(Via::Secret), Just(Via::Import)];
    let kind = proptest::option::weighted(0.8, (text(), any::<i64>()));
    let user_id = proptest::option::of(text());
    let context = proptest::option::weighted(0.3, text());
    (1..1000_u64, any::<i64>(), via, kind, user_id, text(), context).prop_map(
        |(gap, received_at, via, kind, user_id, attributes, context)| {
            let user_id = if kind.is_none() { user_id.or(Some(String::new())) } else { user_id };
            Owned { gap, received_at, via, kind, user_id, attributes, context }
        },
    )
}

/// So many records, of some users.
fn plain(count: usize) -> Vec<Owned> {
    let event = |n: usize| Owned {
        gap: 1 + n as u64 % 3,
        received_at: 1_700_000_000_000 + n as i64 * 1000,
        via: Via::Public,
        kind: (n % 7 != 3).then(|| ("page view".to_owned(), 1_700_000_000_000 + n as i64 * 990)),
        user_id: (n % 7 == 3 || !n.is_multiple_of(5)).then(|| format!("user-{}", n % 1009)),
        attributes: format!(r#"{{"page":"/{}"}}"#, n % 13),
        context: n.is_multiple_of(11).then(|| format!(r#"{{"visitor":"{n}"}}"#)),
    };
    (0..count).map(event).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_put_in_comes_out(records in vec(owned(), 0..60)) {
        let (_dir, path, summary) = written(&records);
        prop_assert_eq!(summary.bytes, fs::metadata(&path)?.len());
        prop_assert_eq!(summary.crc, crc32fast::hash(&fs::read(&path)?));
        for expected in [None, Some(&summary)] {
            let segment = Segment::open(&path, expected).expect("it opens");
            prop_assert_eq!(shown(&segment).expect("it reads"), shown_before(&records));
            prop_assert_eq!(&segment.verify().expect("it is sound"), &summary);
            for id in records.iter().filter_map(|record| record.user_id.as_deref()) {
                prop_assert!(segment.may_hold_user(0, id).expect("it reads"));
            }
        }
    }
}

#[test]
fn row_groups() {
    let records = plain(ROW_GROUP_ROWS_MAX * 2 + 5);
    let (_dir, path, summary) = written(&records);
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    let rows: Vec<_> = segment.groups().iter().map(|group| group.rows as usize).collect();
    assert_eq!(rows, [ROW_GROUP_ROWS_MAX, ROW_GROUP_ROWS_MAX, 5]);
    assert_eq!(segment.groups()[0].first_seq, summary.first_seq);
    assert_eq!(segment.groups()[2].last_seq, summary.last_seq);
    assert_eq!(summary.events + summary.users, records.len() as u64);
    assert_eq!(segment.verify().expect("it is sound"), summary);
    assert_eq!(shown(&segment).expect("it reads"), shown_before(&records));
    for (group, found) in segment.groups().iter().enumerate() {
        let rows = segment.read(group).expect("it reads");
        let dates = rows.iter().filter_map(|(_, record)| match record.change {
            Change::Event(event) => Some((event.date.min(record.received_at), event.date)),
            _ => None,
        });
        let dates = dates.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        assert_eq!(found.dates, dates);
        let middle = found.first_seq + (found.last_seq - found.first_seq) / 2;
        assert!(rows.iter_from(middle).all(|(seq, _)| seq >= middle));
        let from_there = rows.iter().filter(|(seq, _)| *seq >= middle).count();
        assert_eq!(rows.iter_from(middle).len(), from_there);
        assert_eq!(rows.iter_from(found.last_seq + 1).len(), 0);
    }
    // Long texts fill a row group before many rows do.
    let mut long = plain(200);
    long.iter_mut().for_each(|record| record.attributes = "x".repeat(64 * 1024));
    let (_dir, path, summary) = written(&long);
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    assert_eq!(segment.groups().len(), 4, "a bit more than 12 MiB");
    assert_eq!(shown(&segment).expect("it reads"), shown_before(&long));
}

/// A dictionary takes 1 MiB; what comes after stands in the pages itself.
#[test]
fn more_texts_than_a_dictionary_takes() {
    let mut records = plain(900);
    for (n, record) in records.iter_mut().enumerate() {
        record.context = (n % 3 > 0).then(|| format!("{}{}", "c".repeat(2500), n % 700));
        record.user_id = record.user_id.take().map(|id| format!("{}{id}", "u".repeat(2000)));
    }
    let (_dir, path, summary) = written(&records);
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    assert_eq!(segment.groups().len(), 1);
    assert_eq!(shown(&segment).expect("it reads"), shown_before(&records));
}

#[test]
fn users_are_found_and_most_others_are_not() {
    let (_dir, path, summary) = written(&plain(5000));
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    let may = |id: &str| segment.may_hold_user(0, id).expect("it reads");
    assert!((0..1009).all(|n| may(&format!("user-{n}"))));
    let in_vain = (0..2000).filter(|n| may(&format!("other-{n}"))).count();
    assert!(in_vain < 60, "{in_vain} of 2000");
    // Nobody at all.
    let mut nobody = plain(3);
    nobody.iter_mut().for_each(|record| {
        record.kind = Some(("x".to_owned(), 0));
        record.user_id = None;
    });
    let (_dir, path, summary) = written(&nobody);
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    assert!(!segment.may_hold_user(0, "user-1").expect("it reads"));
    assert!(segment.may_hold_user(1, "user-1").is_err(), "there is no such row group");
    assert!(segment.read(1).is_err(), "there is no such row group");
}

#[test]
fn what_does_not_belong_is_refused() {
    let records = plain(2);
    let record = records[0].record();
    let mut writer = SegmentWriter::new(Vec::new(), ACCOUNT, "shop").expect("new");
    writer.put(5, &record).expect("it fits");
    for seq in [0, 4, 5, u64::MAX] {
        assert!(matches!(writer.put(seq, &record), Err(SegmentError::Refused(_))), "{seq}");
    }
    let mut other = SegmentWriter::new(Vec::new(), AccountId(8), "other").expect("new");
    assert!(matches!(other.put(1, &record), Err(SegmentError::Refused(_))));
    let control = Change::RetentionSet { account: ACCOUNT, days: None };
    let control = Record { received_at: Date::from_millis(0), change: control, keyed: None };
    assert!(matches!(writer.put(6, &control), Err(SegmentError::Refused(_))));
    assert_eq!(writer.records(), 1);
}

/// A disk that is full after some bytes.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told() {
    let records = plain(100);
    for room in [0, 100, 1500] {
        let mut writer = SegmentWriter::new(Full(room), ACCOUNT, "shop").expect("new");
        for (seq, record) in records.iter().enumerate() {
            writer.put(seq as u64 + 1, &record.record()).expect("it is held");
        }
        match writer.finish().map(|(_, summary)| summary) {
            Err(SegmentError::Io { source, .. }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            }
            other => panic!("{room}: {other:?}"),
        }
    }
}

/// One row group of a few rows: it has all the parts that a large one has.
fn small() -> (TempDir, PathBuf, Summary, Vec<u8>) {
    let (dir, path, summary) = written(&plain(20));
    let bytes = fs::read(&path).expect("it reads");
    (dir, path, summary, bytes)
}

fn is_damaged<T>(result: Result<T, SegmentError>) -> bool {
    match result {
        Ok(_) => false,
        Err(SegmentError::Damaged { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_byte_that_is_altered_is_found() {
    let (_dir, path, summary, bytes) = small();
    let whole = shown(&Segment::open(&path, Some(&summary)).expect("it opens")).expect("it reads");
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        fs::write(&path, &altered).expect("it is written");
        let verified = Segment::open(&path, Some(&summary)).and_then(|segment| segment.verify());
        assert!(is_damaged(verified), "byte {at}: verify");
        let read = Segment::open(&path, Some(&summary)).and_then(|segment| shown(&segment));
        assert!(is_damaged(read), "byte {at}: read");
        // Without the summary it may be taken for another file, but never makes anything panic, and
        // its rows are still checked.
        if let Ok(segment) = Segment::open(&path, None) {
            let _ = segment.may_hold_user(0, "user-1");
            if let Ok(rows) = shown(&segment) {
                assert!(
                    rows == whole || at as u64 >= summary.bytes - summary.tail_bytes,
                    "byte {at}"
                );
            }
            let _ = segment.verify();
        }
    }
}

#[test]
fn a_bloom_filter_that_was_altered_is_not_believed() {
    let (_dir, path, summary, bytes) = small();
    let start = (summary.bytes - summary.tail_bytes) as usize;
    let mut found = 0;
    for at in 0..start {
        let mut altered = bytes.clone();
        altered[at] ^= 0xff;
        fs::write(&path, &altered).expect("it is written");
        let segment = Segment::open(&path, Some(&summary)).expect("the tail is as it was");
        match segment.may_hold_user(0, "user-1") {
            Ok(may) => assert!(may, "byte {at}"),
            Err(SegmentError::Damaged { .. }) => found += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(found >= 32, "{found}");
}

#[test]
fn every_cut_and_every_growth_is_found() {
    let (_dir, path, summary, bytes) = small();
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).expect("it is written");
        for expected in [None, Some(&summary)] {
            assert!(is_damaged(Segment::open(&path, expected).map(drop)), "cut at {len}");
        }
    }
    let grown = [&bytes[..], b"x"].concat();
    fs::write(&path, &grown).expect("it is written");
    assert!(is_damaged(Segment::open(&path, Some(&summary)).map(drop)));
    // Cut while it is open.
    fs::write(&path, &bytes).expect("it is written");
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    fs::write(&path, &bytes[..9]).expect("it is written");
    assert!(is_damaged(segment.read(0)) && is_damaged(segment.verify()));
    assert!(is_damaged(segment.may_hold_user(0, "user-1")));
}

#[test]
fn another_whole_segment_is_not_taken_for_it() {
    let (_dir, path, summary, _) = small();
    let mut others = plain(20);
    others[0].attributes = r#"{"page":"/1"}"#.to_owned();
    let (_other_dir, other, _) = written(&others);
    fs::copy(other, &path).expect("it is copied");
    let opened = Segment::open(&path, Some(&summary)).and_then(|segment| segment.verify());
    assert!(is_damaged(opened));
}

/// Puts a text in the place of another of the same length, in the footer alone, and makes the file sound
/// again but for that.
fn retold(bytes: &[u8], summary: &Summary, old: &str, new: &str) -> (Vec<u8>, Summary) {
    assert_eq!(old.len(), new.len());
    let (mut bytes, mut summary) = (bytes.to_vec(), summary.clone());
    let start = (summary.bytes - summary.tail_bytes) as usize;
    let at = bytes[start..].windows(old.len()).position(|here| here == old.as_bytes());
    let at = start + at.expect(old);
    bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    summary.crc = crc32fast::hash(&bytes);
    summary.tail_crc = crc32fast::hash(&bytes[start..]);
    (bytes, summary)
}

#[test]
fn a_newer_format_is_refused() {
    let (_dir, path, summary, bytes) = small();
    let key = "triggerly.format\u{18}\u{1}2";
    for (format, newer) in [("3", Some(3)), ("9", Some(9)), ("0", None), ("x", None)] {
        let other = format!("triggerly.format\u{18}\u{1}{format}");
        let (bytes, summary) = retold(&bytes, &summary, key, &other);
        fs::write(&path, bytes).expect("it is written");
        for expected in [None, Some(&summary)] {
            let found = match Segment::open(&path, expected).map(drop) {
                Err(SegmentError::Newer { found, .. }) => Some(found),
                Err(SegmentError::Damaged { .. }) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, newer, "{format}");
        }
    }
}

#[test]
fn pages_are_looked_at_before_they_are_decompressed() {
    let (_dir, path, summary, bytes) = small();
    let segment = Segment::open(&path, Some(&summary)).expect("it opens");
    let entry = &segment.tail.entries[0];
    for (page_bytes_max, good) in [(2000, true), (20, false)] {
        let mut piece = segment.piece(entry, bytes.clone().into());
        piece.page_bytes_max = page_bytes_max;
        let decoded = segment.decode(0, entry, &std::sync::Arc::new(piece));
        assert_eq!(decoded.is_ok(), good, "{page_bytes_max}");
    }
}

/// A file that is sound in itself, but lies: somebody made it so.
#[test]
fn lies_are_found() {
    let (_dir, path, summary, bytes) = small();
    let entry = &Segment::open(&path, None).expect("it opens").tail.entries[0];
    for (old, new) in [
        ("\"rows\":20", "\"rows\":21"),
        ("\"rows\":20", "\"rows\":19"),
        ("\"users\":3", "\"users\":2"),
        ("\"users\":3", "\"users\":4"),
        ("\"offset\":0", "\"offset\":4"),
        ("\"first_seq\":1", "\"first_seq\":2"),
        (&format!("\"bytes\":{}", entry.bytes), &format!("\"bytes\":{}", entry.bytes - 1)),
        (
            &format!("\"last_seq\":{}", entry.last_seq),
            &format!("\"last_seq\":{}", entry.last_seq + 1),
        ),
        ("\"dates\":[17", "\"dates\":[16"),
        ("triggerly.groups", "triggerly.groupz"),
        ("triggerly.account", "triggerly.accounz"),
        ("attributes", "attributez"),
    ] {
        let (bytes, summary) = retold(&bytes, &summary, old, new);
        fs::write(&path, bytes).expect("it is written");
        let opened = Segment::open(&path, Some(&summary)).and_then(|segment| segment.verify());
        assert!(is_damaged(opened), "{old} -> {new}");
    }
}

#[test]
fn texts_do_not_stand_in_the_footer() {
    let mut records = plain(20);
    records.iter_mut().for_each(|record| {
        record.user_id = Some("a-private-user".to_owned());
        record.attributes = r#"{"a":"private attribute"}"#.to_owned();
    });
    let (_dir, path, summary) = written(&records);
    let bytes = fs::read(path).expect("it reads");
    let tail = &bytes[(summary.bytes - summary.tail_bytes) as usize..];
    assert!(!tail.windows(7).any(|here| here == b"private"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever stands in a file whose checksums are right: a stranger made it.
    #[test]
    fn no_content_panics(flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), head: bool) {
        let (_dir, path, summary, mut bytes) = small();
        let start = (summary.bytes - summary.tail_bytes) as usize;
        for (at, to) in flips {
            let at = if head { at.index(start) } else { start + at.index(bytes.len() - start) };
            bytes[at] = to;
        }
        let entry = Segment::open(&path, None).expect("it opens").tail.entries[0].clone();
        let crc = crc32fast::hash(&bytes[..start]);
        let old = format!("\"crc\":{},", entry.crc);
        let new = format!("\"crc\":{crc},");
        if old.len() == new.len() && head {
            (bytes, _) = retold(&bytes, &summary, &old, &new);
        }
        fs::write(&path, bytes)?;
        if let Ok(segment) = Segment::open(&path, None) {
            for group in 0..segment.groups().len() {
                let _ = segment.read(group);
                fuzzing::columns(&segment, group);
            }
            let _ = segment.verify();
        }
    }
}

/// Kept from when the format was new: what it holds is what was put in then.
#[test]
fn the_oldest_format_is_still_read() {
    let path = Path::new("tests/format/segment-1.parquet");
    let segment = Segment::open(path, None).expect("it opens");
    let summary = segment.verify().expect("it is sound");
    assert_eq!((summary.account, summary.events, summary.users), (ACCOUNT, 4, 1));
    assert_eq!(shown(&segment).expect("it reads"), shown_before(&sample()));
}

/// The first format with contexts and keys.
#[test]
fn the_second_format_is_read() {
    let segment = Segment::open(Path::new("tests/format/segment-2.parquet"), None);
    let segment = segment.expect("it opens");
    segment.verify().expect("it is sound");
    let rows = segment.read(0).expect("it reads");
    let of = |record: Record<'_>| match record.change {
        Change::Event(event) => event.context.map(str::to_owned),
        Change::User(user) => user.context.map(str::to_owned),
        _ => None,
    };
    let found: Vec<_> = rows.iter().map(|(seq, record)| (seq, record.keyed, of(record))).collect();
    let keyed = Some(Keyed { key: Digest([3; 16]), count: 2 });
    let context = |text: &str| Some(text.to_owned());
    assert_eq!(found, [(3, keyed, context(r#"{"page":"p"}"#)), (4, None, context("{}"))]);
}

/// Keys are kept from a time on, by whoever asks for it.
#[test]
fn keys_lie_behind_their_row_group() {
    let records = plain(ROW_GROUP_ROWS_MAX + 100);
    let keyed = |n: usize| {
        let key = Digest([n as u8; 16]);
        n.is_multiple_of(3).then_some(Keyed { key, count: n as u64 })
    };
    let dir = tempfile::tempdir().expect("a folder");
    let from = records[50].received_at;
    for (keep, first) in [(None, usize::MAX), (Some(from), 50), (Some(i64::MIN), 0)] {
        let path = dir.path().join(first.to_string());
        let file = fs::File::create(&path).expect("a file");
        let mut writer = SegmentWriter::new(file, ACCOUNT, "shop").expect("new");
        if let Some(from) = keep {
            writer = writer.keeping_keys_from(Date::from_millis(from));
        }
        for (n, record) in records.iter().enumerate() {
            let record = Record { keyed: keyed(n), ..record.record() };
            writer.put(n as u64 + 1, &record).expect("it fits");
        }
        let (_, summary) = writer.finish().expect("it is written");
        let segment = Segment::open(&path, Some(&summary)).expect("it opens");
        assert_eq!(segment.verify().expect("it is sound"), summary);
        assert!(segment.groups().iter().all(|group| group.keys == keep.is_some()));
        for group in 0..segment.groups().len() {
            for (seq, record) in segment.read(group).expect("it reads").iter() {
                let n = seq as usize - 1;
                assert_eq!(record.keyed, keyed(n).filter(|_| n >= first), "{n}");
            }
        }
        // Others pass them over.
        let mut rows = 0;
        let read = Table::open(&path).expect("it opens").events(&mut |_| {
            rows += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((read.is_ok(), rows), (true, records.len()));
    }
}

fn sample() -> Vec<Owned> {
    let event = |kind: &str, user_id: Option<&str>, attributes: &str| Owned {
        gap: 2,
        received_at: 1_700_000_000_123,
        via: Via::Public,
        kind: Some((kind.to_owned(), 994_273_736_235)),
        user_id: user_id.map(str::to_owned),
        attributes: attributes.to_owned(),
        context: None,
    };
    let mut records = vec![
        event("page view", Some("jo@example.com"), r#"{"page":"/pricing","dark":false}"#),
        event(
            "purchase",
            None,
            r#"{"n":1234567890123456789012345678901234567890,"e":1E5,"f":1.0}"#,
        ),
        event("😀", Some("4711"), r#"{"text":"Zürich 😀 \u0000 \"","deep":{"a":[1,null,{}]}}"#),
        event("jo@example.com", Some("jo@example.com"), r#"{"plan":"pro","gone":null}"#),
        event("before the epoch", Some(""), "{}"),
    ];
    records[1].via = Via::Secret;
    records[2].via = Via::Import;
    records[3].kind = None;
    records[4].kind = Some(("before the epoch".to_owned(), -1));
    records
}

#[test]
fn a_segment_is_a_table_too() {
    let records = plain(ROW_GROUP_ROWS_MAX + 3);
    let (_dir, path, _) = written(&records);
    let table = Table::open(&path).expect("it opens");
    assert_eq!(table.rows(), records.len() as u64);
    let (mut seq, mut rows) = (0, 0);
    let compared = table.events(&mut |row| {
        let record = &records[rows];
        seq += record.gap as i64;
        rows += 1;
        let moment = |millis| Some(Moment::Date(Date::from_millis(millis)));
        let expected = EventRow {
            row: rows as u64,
            seq: Some(seq),
            record: Some(if record.kind.is_some() { "event" } else { "user" }),
            kind: record.kind.as_ref().map(|(kind, _)| kind.as_str()),
            user_id: record.user_id.as_deref(),
            date: record.kind.as_ref().and_then(|(_, date)| moment(*date)),
            received_at: moment(record.received_at),
            attributes: Some(&record.attributes),
            context: record.context.as_deref(),
            via: Some("public"),
        };
        assert_eq!(row, expected);
        ControlFlow::Continue(())
    });
    compared.expect("it reads");
    assert_eq!(rows, records.len());
    let mut seen = 0;
    let broken_off = table.events(&mut |row| {
        seen = row.row;
        if seen == 2000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    broken_off.expect("it reads");
    assert_eq!(seen, 2000);
    match table.users(&mut |_| ControlFlow::Continue(())) {
        Err(SegmentError::Unfit { why, .. }) => assert!(why.contains("`id`"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn users_are_written_and_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("users.parquet");
    let attributes = |n: i64| format!(r#"{{"n":{n},"s":"😀"}}"#);
    let email = |n: i64| (n % 3 != 0).then(|| format!("user{n}@example.com"));
    for count in [0, 5, ROW_GROUP_ROWS_MAX as i64 + 5] {
        let mut writer = UsersWriter::new(fs::File::create(&path).expect("a file")).expect("new");
        for n in 0..count {
            let (created_at, updated_at) = (Date::from_millis(n - 3), Date::from_millis(n * 1000));
            let (id, email) = (format!("user-{n}"), email(n));
            writer
                .put(&id, email.as_deref(), &attributes(n), created_at, updated_at)
                .expect("it fits");
        }
        writer.finish().expect("it is written");
        let table = Table::open(&path).expect("it opens");
        assert_eq!(table.rows(), count as u64);
        let mut n = 0;
        let compared = table.users(&mut |row| {
            let moment = |millis| Some(Moment::Date(Date::from_millis(millis)));
            let (id, email, attributes) = (format!("user-{n}"), email(n), attributes(n));
            let expected = UserRow {
                row: n as u64 + 1,
                id: Some(&id),
                email: email.as_deref(),
                attributes: Some(&attributes),
                created_at: moment(n - 3),
                updated_at: moment(n * 1000),
            };
            assert_eq!(row, expected);
            n += 1;
            ControlFlow::Continue(())
        });
        compared.expect("it reads");
        assert_eq!(n, count);
        assert!(is_damaged(Segment::open(&path, None).map(drop)), "it is no segment");
    }
}

#[test]
fn a_table_that_was_altered_never_panics() {
    let (_dir, path, _, bytes) = small();
    for at in 0..bytes.len() {
        for to in [bytes[at] ^ 1 << (at % 8), 0xff, 0] {
            let mut altered = bytes.clone();
            altered[at] = to;
            fs::write(&path, &altered).expect("it is written");
            if let Ok(table) = Table::open(&path) {
                let mut rows = 0;
                let _ = table.events(&mut |_| {
                    rows += 1;
                    if rows < 100 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
            }
        }
    }
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).expect("it is written");
        assert!(is_damaged(Table::open(&path).map(drop)), "cut at {len}");
    }
}
