use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::context;
use crate::model::record::{Event, UserPatch};
use crate::model::{AccountId, Change, DataType, Date, Record, Via, json};

const ACCOUNT: AccountId = AccountId(7);
const OF: Of = Of { bytes: 1_000, crc: 77 };

/// A row of a segment, to be made a record of.
#[derive(Clone, Debug)]
struct Made {
    kind: Option<String>,
    user: Option<String>,
    date: i64,
    attributes: String,
    context: Option<String>,
    ends_group: bool,
}

impl Made {
    fn record(&self) -> Record<'_> {
        let (account, via, context) = (ACCOUNT, Via::Public, self.context.as_deref());
        let (attributes, user_id) = (self.attributes.as_str(), self.user.as_deref());
        let date = Date::from_millis(self.date);
        let change = match &self.kind {
            Some(kind) => {
                Change::Event(Event { account, via, kind, user_id, date, attributes, context })
            }
            None => {
                let id = user_id.unwrap_or("nobody");
                Change::User(UserPatch { account, via, id, patch: attributes, context })
            }
        };
        Record { received_at: date, keyed: None, change }
    }

    fn id(&self) -> Option<&str> {
        let unnamed = self.kind.is_none().then_some("nobody");
        self.user.as_deref().or(unnamed)
    }

    fn is_nobodys(&self) -> bool {
        self.context.as_deref().is_some_and(context::is_nobodys)
    }
}

fn any_rows() -> impl Strategy<Value = Vec<Made>> {
    let kind = prop_oneof![
        4 => "[a-c]".prop_map(Some),
        1 => Just(None),
        1 => "[d-z]{1,3}".prop_map(Some),
    ];
    let user = proptest::option::weighted(0.7, "[a-e]{1,2}");
    let date = prop_oneof![8 => 0..200_000_000i64, 1 => -900_000_000_000..4_000_000_000_000i64];
    let attributes = prop_oneof![
        Just("{}".to_owned()),
        Just(r#"{"a":1,"b":"x","c":{"d":true,"e":[{"f":1}],"g":null}}"#.to_owned()),
        Just(
            r#"{"a":"2001-07-04","b":null,"c":{"d":{"e":"Wed, 04 Jul 2001 12:08:56 -0700"}}}"#
                .to_owned()
        ),
        Just(r#"{"c.d":"\"}","c":"no","a\nb":-1.5e7,"":false}"#.to_owned()),
        "[a-c]{1,2}".prop_map(|name| format!(r#"{{"b":[],"{name}{name}":{{}},"a":1}}"#)),
        "[a-c]".prop_map(|page| format!(r#"{{"page":"/{page}","referrer":"\u0061{page}"}}"#)),
    ];
    let context = prop_oneof![
        Just(None),
        "[a-f]{1,2}".prop_map(|visitor| Some(format!(
            r#"{{"page":"/","os":"{visitor}","visitor":"{visitor}"}}"#
        ))),
        "[a-f]"
            .prop_map(|visitor| Some(format!(r#"{{"os":"a","visitor":"{visitor}","bot":true}}"#))),
        Just(Some(r#"{"prefetch":true}"#.to_owned())),
    ];
    let row = (kind, user, date, attributes, context, proptest::bool::weighted(0.1)).prop_map(
        |(kind, user, date, attributes, context, ends_group)| Made {
            kind,
            user,
            date,
            attributes,
            context,
            ends_group,
        },
    );
    proptest::collection::vec(row, 0..120)
}

struct Scene {
    _dir: TempDir,
    path: PathBuf,
    summary: Summary,
}

impl Scene {
    fn of(bytes: &[u8], summary: Summary) -> Scene {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("x.index");
        fs::write(&path, bytes).expect("it can be written");
        Scene { _dir: dir, path, summary }
    }

    fn open(&self) -> Result<Index, IndexError> {
        Index::open(&self.path, OF, &self.summary)
    }
}

fn built(rows: &[Made]) -> (Vec<u8>, Summary) {
    let mut builder = Builder::new(ACCOUNT);
    for row in rows {
        builder.put(&row.record());
        if row.ends_group {
            builder.end_group();
        }
    }
    builder.finish(OF, Vec::new()).expect("memory takes it")
}

fn hot(rows: &[Made]) -> Hot {
    let mut hot = Hot::new(ACCOUNT);
    for (seq, row) in (1..).zip(rows) {
        hot.put(seq, &row.record());
    }
    hot
}

type Counted = BTreeMap<(String, i64), Count>;

fn counted(ask: impl FnOnce(VisitCounts<'_>) -> Result<(), IndexError>) -> Counted {
    let mut all = Counted::new();
    let visited = ask(&mut |kind, hour, count| {
        assert_eq!(all.insert((kind.to_owned(), hour), count), None, "none comes twice");
    });
    visited.expect("it can be asked");
    all
}

type Sketched = BTreeMap<(String, i64), (u64, u64)>;

type Pairs = BTreeMap<(String, i64), (Sketch, Sketch)>;

fn sketches(ask: impl FnOnce(VisitSketches<'_>) -> Result<(), IndexError>) -> Pairs {
    let mut all = Pairs::new();
    let visited = ask(&mut |kind, day, users, visitors| {
        let of = all.entry((kind.to_owned(), day)).or_default();
        of.0.merge(users);
        of.1.merge(visitors);
    });
    visited.expect("it can be asked");
    all
}

fn sketched(ask: impl FnOnce(VisitSketches<'_>) -> Result<(), IndexError>) -> Sketched {
    let estimates = sketches(ask).into_iter();
    estimates.map(|(key, of)| (key, (of.0.estimate(), of.1.estimate()))).collect()
}

type Attributes = BTreeMap<(Option<String>, String), [u64; 6]>;

fn attributes(
    ask: impl FnOnce(&mut dyn FnMut(Attribute<'_>)) -> Result<(), IndexError>,
) -> Attributes {
    let mut all = Attributes::new();
    let visited = ask(&mut |of| {
        let key = (of.kind.map(str::to_owned), of.name.expect("within the bounds").to_owned());
        assert_eq!(all.insert(key, of.values), None, "none comes twice");
    });
    visited.expect("it can be asked");
    all
}

fn naive_counts(rows: &[Made], kind: Option<&str>, hours: &Range<i64>) -> Counted {
    let mut all = Counted::new();
    for row in rows {
        let (Some(of), hour) = (&row.kind, row.date.div_euclid(HOUR_MILLIS)) else { continue };
        if kind.is_none_or(|kind| kind == of) && hours.contains(&hour) {
            let count = all.entry((of.clone(), hour)).or_default();
            if row.is_nobodys() { count.nobodys += 1 } else { count.people += 1 }
        }
    }
    all
}

type Listed = BTreeMap<(&'static str, String), Count>;

fn listed(ask: impl FnOnce(VisitFacets<'_>) -> Result<(), IndexError>) -> Listed {
    let mut all = Listed::new();
    let visited = ask(&mut |facet, text, count| {
        assert_eq!(all.insert((facet.name(), text.to_owned()), count), None, "none comes twice");
    });
    visited.expect("it can be asked");
    all
}

fn naive_facets(rows: &[Made], facets: &[Facet], days: &Range<i64>) -> Listed {
    let mut all = Listed::new();
    let read = |text: Option<&str>| -> Value {
        text.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"))
    };
    for row in rows.iter().filter(|row| row.kind.is_some()) {
        let (attributes, context) = (read(Some(&row.attributes)), read(row.context.as_deref()));
        for facet in facets {
            let value = match facet.name().strip_prefix("context:") {
                Some(name) => &context[name],
                None => &attributes[facet.name()],
            };
            if let Some(text) = value.as_str().filter(|text| !text.is_empty())
                && days.contains(&row.date.div_euclid(DAY_MILLIS))
            {
                let count = all.entry((facet.name(), text.to_owned())).or_default();
                if row.is_nobodys() { count.nobodys += 1 } else { count.people += 1 }
            }
        }
    }
    all
}

fn naive_sketches(
    rows: &[Made],
    kind: Option<&str>,
    days: &Range<i64>,
    with_nobodys: bool,
) -> Sketched {
    let mut all: BTreeMap<(String, i64), (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for row in rows {
        let (Some(of), day) = (&row.kind, row.date.div_euclid(DAY_MILLIS)) else { continue };
        let asked = kind.is_none_or(|kind| kind == of) && days.contains(&day);
        if !asked || (row.is_nobodys() && !with_nobodys) {
            continue;
        }
        let context: Option<Value> =
            row.context.as_deref().map(|text| serde_json::from_str(text).expect("JSON"));
        let visitor = context.as_ref().and_then(|context| context["visitor"].as_str());
        if row.user.is_some() || visitor.is_some() {
            let (users, visitors) = all.entry((of.clone(), day)).or_default();
            users.extend(row.user.clone());
            visitors.extend(visitor.map(str::to_owned));
        }
    }
    let sizes = all.into_iter();
    sizes.map(|(key, of)| (key, (of.0.len() as u64, of.1.len() as u64))).collect()
}

fn naive_attributes(rows: &[Made]) -> Attributes {
    fn each(above: &str, object: &crate::model::Object, visit: &mut dyn FnMut(String, DataType)) {
        for (name, value) in object {
            let name = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            let Some(data_type) = DataType::of(value) else { continue };
            if let Value::Object(object) = value {
                each(&name, object, visit);
            }
            visit(name, data_type);
        }
    }
    let mut all = Attributes::new();
    for row in rows {
        let object = json::parse_object(&row.attributes, 32).expect("an object");
        each("", &object, &mut |name, data_type| {
            all.entry((row.kind.clone(), name)).or_default()[data_type as usize] += 1;
        });
    }
    all
}

fn rows_of(index: &Index, user: u64, rows: RangeInclusive<u32>, descending: bool) -> Vec<Row> {
    let mut all = Vec::new();
    let visited = index.rows_of(user, rows, descending, &mut |row| {
        all.push(row);
        ControlFlow::Continue(())
    });
    visited.expect("it can be asked");
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_it_answers_is_what_is_in_the_records(
        rows in any_rows(),
        kind in proptest::option::of("[a-d]"),
        (from, to) in (-2..60i64, -2..60i64),
        with_nobodys: bool,
        (first, last) in (0..120u32, 0..120u32),
    ) {
        let (bytes, summary) = built(&rows);
        let scene = Scene::of(&bytes, summary);
        let index = scene.open().expect("it was just written");
        index.verify().expect("it is whole");
        let mut hot = hot(&rows);
        let kind = kind.as_deref();

        for hours in [from..to, i64::MIN..i64::MAX] {
            let naive = naive_counts(&rows, kind, &hours);
            prop_assert_eq!(&counted(|visit| index.counts(kind, hours.clone(), visit)), &naive);
            prop_assert_eq!(&counted(|visit| hot.counts(kind, hours.clone(), visit)), &naive);
        }
        for days in [from / 24..to / 24, i64::MIN..i64::MAX] {
            let naive = naive_sketches(&rows, kind, &days, with_nobodys);
            let ask = |visit: VisitSketches<'_>| index.sketches(kind, days.clone(), with_nobodys, visit);
            // So few are counted exactly.
            prop_assert_eq!(&sketched(ask), &naive);
            let ask = |visit: VisitSketches<'_>| hot.sketches(kind, days.clone(), with_nobodys, visit);
            prop_assert_eq!(&sketched(ask), &naive);
        }
        for days in [from..to, from..from + 200, i64::MIN..i64::MAX] {
            let days = days.start.min(days.end)..days.end;
            let mut all = [Sketch::default(), Sketch::default()];
            for (_, pair) in sketches(|visit| index.sketches(kind, days.clone(), with_nobodys, visit)) {
                all.iter_mut().zip([pair.0, pair.1]).for_each(|(all, of)| all.merge(&of));
            }
            let mut distinct = [Sketch::default(), Sketch::default()];
            let asked = index.distinct(kind, days.clone(), with_nobodys, &mut |users, visitors| {
                distinct[0].merge(users);
                distinct[1].merge(visitors);
            });
            asked.expect("kept");
            prop_assert_eq!(distinct.map(|of| of.estimate()), all.map(|of| of.estimate()));
        }
        for days in [from / 24..to / 24, -200_000..2, i64::MIN..i64::MAX] {
            for facets in [&Facet::ALL[..], &[Facet::Os]] {
                let naive = naive_facets(&rows, facets, &days);
                prop_assert_eq!(&listed(|visit| index.facets(facets, &days, visit)), &naive);
                prop_assert_eq!(&listed(|visit| hot.facets(facets, &days, visit)), &naive);
            }
        }
        let naive = naive_attributes(&rows);
        prop_assert_eq!(&attributes(|visit| index.attributes(visit)), &naive);
        prop_assert_eq!(&attributes(|visit| hot.attributes(visit)), &naive);

        let mut kinds = BTreeMap::new();
        index.kinds(&mut |kind, count| { kinds.insert(kind.to_owned(), count); }).expect("kept");
        let mut totals: BTreeMap<String, Count> = BTreeMap::new();
        for ((kind, _), count) in naive_counts(&rows, None, &(i64::MIN..i64::MAX)) {
            let total = totals.entry(kind).or_default();
            total.people += count.people;
            total.nobodys += count.nobodys;
        }
        prop_assert_eq!(kinds, totals);

        let groups: Vec<&[Made]> = rows.split_inclusive(|row| row.ends_group).collect();
        for kinds in [None, Some(&["a", "c", "zz"][..]), Some(&[])] {
            let wanted = |row: &&Made| row.kind.as_deref().is_some_and(|kind| {
                kinds.is_none_or(|kinds| kinds.contains(&kind))
            });
            let naive: Vec<u32> =
                groups.iter().map(|group| group.iter().filter(wanted).count() as u32).collect();
            prop_assert_eq!(index.rows_by_group(kinds).expect("kept"), naive);
        }

        let users: BTreeSet<&str> = rows.iter().filter_map(Made::id).chain(["none"]).collect();
        let hashes: Vec<u64> = users.iter().map(|id| hash_of_user(ACCOUNT, id)).collect();
        let events: Vec<u64> = users.iter().map(|id| {
            rows.iter().filter(|row| row.kind.is_some() && row.id() == Some(id)).count() as u64
        }).collect();
        prop_assert_eq!(&index.events_of(&hashes).expect("kept"), &events);
        prop_assert_eq!(&hot.events_of(&hashes), &events);
        for (id, hash) in users.iter().zip(&hashes) {
            let own = (0u32..).zip(&rows).filter(|(_, row)| row.id() == Some(id));
            let own: Vec<Row> = own
                .map(|(n, row)| if row.kind.is_some() { Row::Event(n) } else { Row::Update(n) })
                .collect();
            prop_assert_eq!(&rows_of(&index, *hash, 0..=u32::MAX, false), &own);
            let mut seqs = Vec::new();
            hot.records_of(*hash, &mut |seq| { seqs.push(seq - 1); ControlFlow::Continue(()) });
            let number = |row: &Row| match row { Row::Event(n) | Row::Update(n) => *n };
            let within = first..=last;
            let mut own: Vec<Row> = own.into_iter().rev().collect();
            prop_assert_eq!(seqs, own.iter().map(|row| u64::from(number(row))).collect::<Vec<_>>());
            own.retain(|row| within.contains(&number(row)));
            prop_assert_eq!(&rows_of(&index, *hash, within, true), &own);
        }
        prop_assert_eq!(&built(&rows).0, &bytes, "the same records give the same file");
    }
}

/// Rows of many users, of whom one has most.
fn many_rows(count: u32) -> Vec<Made> {
    let row = |n: u32| {
        let scattered = n.wrapping_mul(0x9e37_79b9) >> 7;
        let user = if !n.is_multiple_of(3) {
            "busy".to_owned()
        } else {
            format!("u{}", scattered % 3_000)
        };
        Made {
            kind: (!n.is_multiple_of(50)).then(|| format!("kind {}", scattered % 40)),
            user: (!n.is_multiple_of(7)).then_some(user),
            date: i64::from(n) * 120_000 + i64::from(scattered % 100_000),
            attributes: format!(r#"{{"n{}":{n}}}"#, n % 30),
            context: (!n.is_multiple_of(2))
                .then(|| format!(r#"{{"visitor":"{}"}}"#, scattered % 9_999)),
            ends_group: n % 1_000 == 999,
        }
    };
    (0..count).map(row).collect()
}

#[test]
fn many_pieces_are_found_again() {
    let rows = many_rows(40_000);
    let (bytes, summary) = built(&rows);
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    for (kind, hours) in
        [(None, 20..90), (Some("kind 7"), 0..1_000), (None, 0..1_000), (Some("?"), 0..9)]
    {
        let naive = naive_counts(&rows, kind, &hours);
        assert_eq!(counted(|visit| index.counts(kind, hours.clone(), visit)), naive);
    }
    for (kind, days) in [(None, 3..9), (Some("kind 39"), 0..99), (Some("kind 3"), 4..5)] {
        let found = sketched(|visit| index.sketches(kind, days.clone(), true, visit));
        let naive = naive_sketches(&rows, kind, &days, true);
        assert_eq!(found.len(), naive.len());
        for (key, (users, visitors)) in naive {
            let of = found[&key];
            for (estimate, exact) in [(of.0, users), (of.1, visitors)] {
                let off = estimate.abs_diff(exact) as f64;
                assert!(off <= 1.0 + exact as f64 * 0.06, "{key:?}: {estimate} for {exact}");
            }
        }
    }
    let users: Vec<String> =
        (0..3_000).map(|n| format!("u{n}")).chain(["busy".to_owned()]).collect();
    let hashes: Vec<u64> = users.iter().map(|id| hash_of_user(ACCOUNT, id)).collect();
    let mut own: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for (n, row) in (0u32..).zip(&rows) {
        let row_is = if row.kind.is_some() { Row::Event(n) } else { Row::Update(n) };
        row.id().into_iter().for_each(|id| own.entry(id).or_default().push(row_is));
    }
    let counts = index.events_of(&hashes).expect("kept");
    for ((id, hash), count) in users.iter().zip(&hashes).zip(counts) {
        let all = own.remove(id.as_str()).unwrap_or_default();
        assert_eq!(count, all.iter().filter(|row| matches!(row, Row::Event(_))).count() as u64);
        assert_eq!(rows_of(&index, *hash, 0..=u32::MAX, false), all);
        let mut newest = rows_of(&index, *hash, 0..=u32::MAX, true);
        newest.reverse();
        assert_eq!(newest, all);
    }
}

#[test]
fn each_flipped_byte_is_found() {
    let rows = many_rows(120);
    let (bytes, summary) = built(&rows);
    let mut scene = Scene::of(&bytes, summary);
    let user = hash_of_user(ACCOUNT, "busy");
    let ask = |index: &Index| -> Result<(), IndexError> {
        index.counts(None, 0..i64::MAX, &mut |_, _, _| {})?;
        index.sketches(None, 0..i64::MAX, true, &mut |_, _, _, _| {})?;
        index.distinct(None, i64::MIN..i64::MAX, true, &mut |_, _| {})?;
        for days in [0..1, i64::MIN..i64::MAX] {
            index.facets(&Facet::ALL, &days, &mut |_, _, _| {})?;
        }
        index.rows_by_group(None)?;
        index.attributes(&mut |_| {})?;
        index.events_of(
            &(0..300).map(|n| hash_of_user(ACCOUNT, &format!("u{n}"))).collect::<Vec<_>>(),
        )?;
        index.rows_of(user, 0..=u32::MAX, true, &mut |_| ControlFlow::Continue(()))
    };
    ask(&scene.open().expect("it is whole")).expect("it is whole");
    let mut unseen = Vec::new();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&scene.path, &flipped).expect("it can be written");
        match scene.open() {
            Ok(index) => {
                index.verify().expect_err("a byte is another");
                if ask(&index).is_ok() {
                    unseen.push(at);
                }
            }
            Err(error) => assert!(matches!(error, IndexError::Damaged { .. }), "{error}"),
        }
    }
    // The magic number is of no use to whoever asks.
    assert!(unseen.iter().all(|at| *at < 8), "{unseen:?}");
    for length in [0, 8, bytes.len() - 1] {
        fs::write(&scene.path, &bytes[..length]).expect("it can be written");
        assert!(matches!(scene.open(), Err(IndexError::Damaged { .. })));
    }
    fs::write(&scene.path, &bytes).expect("it can be written");
    let other = Of { crc: 78, ..OF };
    assert!(matches!(Index::open(&scene.path, other, &summary), Err(IndexError::Unfit { .. })));
    scene.summary.tail_crc ^= 1;
    assert!(matches!(scene.open(), Err(IndexError::Damaged { .. })));
}

#[test]
fn what_is_beyond_the_bounds_is_not_kept_and_said_to_be_so() {
    let row = |kind: String, date: i64, attributes: String| Made {
        kind: Some(kind),
        user: Some("u".to_owned()),
        date,
        attributes,
        context: None,
        ends_group: false,
    };
    let many_kinds: Vec<Made> =
        (0..=tally::KINDS_MAX).map(|n| row(format!("k{n}"), 0, "{}".to_owned())).collect();
    let (bytes, summary) = built(&many_kinds);
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    let mut hot = hot(&many_kinds);
    assert!(matches!(index.counts(None, 0..9, &mut |_, _, _| {}), Err(IndexError::NotKept(_))));
    assert!(matches!(hot.counts(None, 0..9, &mut |_, _, _| {}), Err(IndexError::NotKept(_))));
    assert!(matches!(index.rows_by_group(None), Err(IndexError::NotKept(_))));
    let user = hash_of_user(ACCOUNT, "u");
    assert_eq!(index.events_of(&[user]).expect("kept"), [many_kinds.len() as u64]);

    let many_days: Vec<Made> = (0..=sketches::CELLS_MAX as i64)
        .map(|day| row("k".to_owned(), day * DAY_MILLIS, "{}".to_owned()))
        .collect();
    let (bytes, summary) = built(&many_days);
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    let asked = index.sketches(None, 0..9, true, &mut |_, _, _, _| {});
    assert!(matches!(asked, Err(IndexError::NotKept(_))));
    assert_eq!(counted(|visit| index.counts(None, 0..48, visit)).len(), 2);

    let long = "n".repeat(200);
    let mut many_names: Vec<Made> = (0..attributes::NAMES_MAX + 5)
        .map(|n| row("k".to_owned(), 0, format!(r#"{{"n{n}":1}}"#)))
        .collect();
    many_names.push(row("l".to_owned(), 0, format!(r#"{{"{long}":{{"{long}":"x","y":1}}}}"#)));
    let (bytes, summary) = built(&many_names);
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    let mut more = Vec::new();
    let asked = index.attributes(&mut |of| {
        if of.name.is_none() {
            more.push((of.kind.map(str::to_owned), of.values));
        }
    });
    asked.expect("kept");
    let of = |kind: &str, values| (Some(kind.to_owned()), values);
    assert_eq!(more, [of("k", [0, 5, 0, 0, 0, 0]), of("l", [1, 0, 0, 0, 0, 0])]);
}

/// More counts than wait at a time, of days in any order: each is there once all the same.
#[test]
fn facets_of_many_days_and_texts() {
    let mut rows = Vec::new();
    for n in 0..90_000_u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        rows.push(Made {
            kind: Some("k".to_owned()),
            user: None,
            date: (random % 40) as i64 * DAY_MILLIS,
            attributes: format!(r#"{{"page":"/{}"}}"#, (random >> 8) % 3_000),
            context: (n % 7 == 0).then(|| r#"{"device":"phone","bot":true}"#.to_owned()),
            ends_group: false,
        });
    }
    let (bytes, summary) = built(&rows);
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    let hot = hot(&rows);
    for days in [7..8, 0..39, 5..90, 0..40, 40..41] {
        let naive = naive_facets(&rows, &Facet::ALL, &days);
        assert_eq!(listed(|visit| index.facets(&Facet::ALL, &days, visit)), naive, "{days:?}");
        assert_eq!(listed(|visit| hot.facets(&Facet::ALL, &days, visit)), naive, "{days:?}");
    }
}

/// Where a facet has too many texts, it alone isn't kept, and memory stays within its bound.
#[test]
fn a_facet_of_too_many_texts_is_not_kept_and_others_are() {
    let long = "x".repeat(900);
    let row = |n: u32| Made {
        kind: Some("k".to_owned()),
        user: None,
        date: 0,
        attributes: format!(r#"{{"page":"/{n}{long}","referrer":"r"}}"#),
        context: Some(r#"{"os":"Linux"}"#.to_owned()),
        ends_group: false,
    };
    let (mut builder, mut most) = (Builder::new(ACCOUNT), 0);
    let mut hot = Hot::new(ACCOUNT);
    for n in 0..20_000 {
        builder.put(&row(n).record());
        hot.put(u64::from(n) + 1, &row(n).record());
        most = most.max(builder.memory());
    }
    assert!(most < 8 * 1024 * 1024, "{most}");
    let (bytes, summary) = builder.finish(OF, Vec::new()).expect("memory takes it");
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    let others = [Facet::Referrer, Facet::Os];
    let listed_of = listed(|visit| index.facets(&others, &(0..1), visit));
    assert!(listed_of.len() == 2 && listed_of.values().all(|count| count.people == 20_000));
    assert_eq!(listed(|visit| hot.facets(&others, &(0..1), visit)), listed_of);
    for facets in [&[Facet::Page][..], &Facet::ALL] {
        let mut unshown = |_: Facet, _: &str, _: Count| panic!("nothing is shown");
        let asked = index.facets(facets, &(0..1), &mut unshown);
        assert!(matches!(asked, Err(IndexError::NotKept(_))));
        let asked = hot.facets(facets, &(0..1), &mut unshown);
        assert!(matches!(asked, Err(IndexError::NotKept(_))));
    }
}

#[path = "../../../benches/generator/mod.rs"]
mod generator;

/// Prints what the index of the last of ten million generated events takes and how fast it is.
#[test]
#[ignore = "measures; to be run with --release --nocapture, takes 20 s"]
fn what_it_takes() {
    use crate::store::segment::{Effort, SegmentWriter};
    use std::time::Instant;

    let rows = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000);
    let events: Vec<_> = generator::events(1, 10_000_000, 200_000).take(rows).collect();
    let mut writer =
        SegmentWriter::with(Vec::new(), ACCOUNT, "shop", Effort::Thorough).expect("a segment");
    let record = |event: &generator::GeneratedEvent| {
        let (kind, date) = (event.kind, Date::from_millis(event.date));
        (kind, date)
    };
    let each = |visit: &mut dyn FnMut(u64, &Record<'_>)| {
        for (seq, event) in (1..).zip(&events) {
            let (kind, date) = record(event);
            let (user_id, attributes) = (event.user_id.as_deref(), event.attributes.as_str());
            let (account, via, context) = (ACCOUNT, Via::Public, None);
            let event = Event { account, via, kind, user_id, date, attributes, context };
            visit(seq, &Record { received_at: date, keyed: None, change: Change::Event(event) });
        }
    };
    let mut ends = Vec::new();
    each(&mut |seq, record| {
        if writer.put(seq, record).expect("it fits") {
            ends.push(seq);
        }
    });
    let (_, segment) = writer.finish().expect("memory takes it");
    let mut ends = ends.into_iter().peekable();
    let mut builder = Builder::new(ACCOUNT);
    let began = Instant::now();
    each(&mut |seq, record| {
        builder.put(record);
        if ends.next_if_eq(&seq).is_some() {
            builder.end_group();
        }
    });
    let collected = began.elapsed();
    let (bytes, summary) = builder.finish(OF, Vec::new()).expect("memory takes it");
    let built = began.elapsed();
    let per_event = |bytes: u64| bytes as f64 / rows as f64;
    println!(
        "segment {:.2} bytes an event, index {:.3} ({:.1} %); {:.2} million events a second, of {built:?} \
         {collected:?} collecting",
        per_event(segment.bytes),
        per_event(summary.bytes),
        summary.bytes as f64 * 100.0 / segment.bytes as f64,
        rows as f64 / built.as_secs_f64() / 1e6,
    );
    let scene = Scene::of(&bytes, summary);
    let index = scene.open().expect("it was just written");
    index.print_sizes(rows as f64);
    let timed = |what: &str, times: u32, ask: &mut dyn FnMut()| {
        let began = Instant::now();
        (0..times).for_each(|_| ask());
        println!("{what}: {:?}", began.elapsed() / times);
    };
    let mut sum = 0;
    timed("counts of all", 20, &mut || {
        index
            .counts(None, i64::MIN..i64::MAX, &mut |_, _, count| sum += count.people)
            .expect("kept");
    });
    timed("sketches of all", 5, &mut || {
        let all = i64::MIN..i64::MAX;
        index
            .sketches(None, all, false, &mut |_, _, users, _| sum += users.estimate())
            .expect("kept");
    });
    timed("distinct users of all", 5, &mut || {
        let (mut one, all) = (Sketch::default(), i64::MIN..i64::MAX);
        index.distinct(None, all, false, &mut |users, _| one.merge(users)).expect("kept");
        sum += one.estimate();
    });
    timed("sketches of all, merged", 5, &mut || {
        let (mut one, all) = (Sketch::default(), i64::MIN..i64::MAX);
        index.sketches(None, all, false, &mut |_, _, users, _| one.merge(users)).expect("kept");
        sum += one.estimate();
    });
    let mut of: BTreeMap<&str, u32> = BTreeMap::new();
    events
        .iter()
        .filter_map(|event| event.user_id.as_deref())
        .for_each(|id| *of.entry(id).or_default() += 1);
    let users: Vec<u64> = of.keys().map(|id| hash_of_user(ACCOUNT, id)).collect();
    let mut next = users.iter().cycle();
    timed("rows of one user", 2_000, &mut || {
        let user = *next.next().expect("one");
        index.rows_of(user, 0..=u32::MAX, true, &mut |_| ControlFlow::Continue(())).expect("kept");
    });
    let busiest = of.iter().max_by_key(|(_, count)| **count).expect("one");
    let user = hash_of_user(ACCOUNT, busiest.0);
    timed(&format!("all {} rows of the busiest", busiest.1), 50, &mut || {
        index.rows_of(user, 0..=u32::MAX, true, &mut |_| ControlFlow::Continue(())).expect("kept");
    });
    timed("the newest 500 of the busiest", 200, &mut || {
        let mut left = 500;
        let mut visit = |_| {
            left -= 1;
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        index.rows_of(user, 0..=u32::MAX, true, &mut visit).expect("kept");
    });
    timed(&format!("events of all {} users", users.len()), 3, &mut || {
        sum += index.events_of(&users).expect("kept").iter().sum::<u64>();
    });
    assert!(sum > 0);
    assert!(summary.bytes * 10 <= segment.bytes, "an index takes at most a tenth of its segment");
}
