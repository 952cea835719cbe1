//! Answers are those that reading everything would give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use serde_json::Value;

use super::at_rest::Said;
use super::*;
use crate::context;
use crate::model::erasure::{Digest, Scope};
use crate::model::{DataType, Erasures};
use crate::store::index::Facet;

const DATES: [(Option<i64>, Option<i64>); 4] = [
    (None, None),
    (Some(0), Some(2 * HOUR_MILLIS)),
    (Some(HOUR_MILLIS + 1), None),
    (Some(DAY_MILLIS), Some(2 * DAY_MILLIS + 1)),
];

/// As much as there is, for as long as it takes.
fn answers(store: &Store) -> Answers<'_> {
    Answers { store, stop: Box::leak(Box::new(Stop::never())) }
}

/// Asks everything of a store whose account has sent this.
pub(super) fn assert_answers(store: &Store, account: AccountId, said: &[(Seq, Said)]) {
    let said: Vec<&Said> = said.iter().map(|(_, said)| said).collect();
    for kind in [None, Some("k1")] {
        for (from, to) in DATES {
            assert_counts(store, account, &said, kind, from, to);
            assert_sketches(store, account, &said, kind, from, to);
        }
    }
    for (from, to) in DATES {
        assert_facets(store, account, &said, from, to);
    }
    assert_event_counts(store, account, &said);
    assert_attributes(store, account, &said);
}

fn assert_facets(
    store: &Store,
    account: AccountId,
    said: &[&Said],
    from: Option<i64>,
    to: Option<i64>,
) {
    let mut expected: BTreeMap<(&str, String), Count> = BTreeMap::new();
    let events = said.iter().filter(|said| said.kind.is_some());
    for said in events.filter(|said| overlaps(said.date, from, to, DAY_MILLIS)) {
        let mut add = |facet: Facet, text: &str| {
            let count = expected.entry((facet.name(), text.to_owned())).or_default();
            *if is_nobodys(said) { &mut count.nobodys } else { &mut count.people } += 1;
        };
        Facet::of_attributes(&said.text, &mut add);
        said.context.as_deref().inspect(|context| Facet::of_context(context, &mut add));
    }
    let mut found: BTreeMap<(&str, String), Count> = BTreeMap::new();
    let (from, to) = (from.map(Date::from_millis), to.map(Date::from_millis));
    let missing = answers(store)
        .facets(account, &Facet::ALL, from, to, &mut |facet, text, count| {
            let sum = found.entry((facet.name(), text.to_owned())).or_default();
            sum.people += count.people;
            sum.nobodys += count.nobodys;
        })
        .unwrap();
    assert_eq!((found, missing), (expected, Missing::default()), "{from:?} {to:?}");
}

/// Whether an event is in an interval that overlaps.
fn overlaps(date: i64, from: Option<i64>, to: Option<i64>, millis: i64) -> bool {
    let number = date.div_euclid(millis);
    from.is_none_or(|from| from.div_euclid(millis) <= number)
        && to.is_none_or(|to| number * millis < to)
}

fn is_nobodys(said: &Said) -> bool {
    said.context.as_deref().is_some_and(context::is_nobodys)
}

fn assert_counts(
    store: &Store,
    account: AccountId,
    said: &[&Said],
    kind: Option<&str>,
    from: Option<i64>,
    to: Option<i64>,
) {
    let mut expected: BTreeMap<(String, i64), Count> = BTreeMap::new();
    for said in said {
        let Some(of) = &said.kind else { continue };
        if kind.is_none_or(|kind| kind == of) && overlaps(said.date, from, to, HOUR_MILLIS) {
            let hour = said.date.div_euclid(HOUR_MILLIS) * HOUR_MILLIS;
            let count = expected.entry((of.clone(), hour)).or_default();
            *if is_nobodys(said) { &mut count.nobodys } else { &mut count.people } += 1;
        }
    }
    let mut found: BTreeMap<(String, i64), Count> = BTreeMap::new();
    let (from, to) = (from.map(Date::from_millis), to.map(Date::from_millis));
    let missing = answers(store)
        .counts(account, kind, from, to, &mut |kind, hour, count| {
            let sum = found.entry((kind.to_owned(), hour.millis())).or_default();
            sum.people += count.people;
            sum.nobodys += count.nobodys;
        })
        .unwrap();
    assert_eq!((found, missing), (expected, Missing::default()), "{kind:?} {from:?} {to:?}");
}

fn assert_sketches(
    store: &Store,
    account: AccountId,
    said: &[&Said],
    kind: Option<&str>,
    from: Option<i64>,
    to: Option<i64>,
) {
    for with_nobodys in [false, true] {
        let mut expected: BTreeMap<(String, i64), [BTreeSet<String>; 2]> = BTreeMap::new();
        for said in said {
            let Some(of) = &said.kind else { continue };
            if kind.is_none_or(|kind| kind == of)
                && overlaps(said.date, from, to, DAY_MILLIS)
                && (with_nobodys || !is_nobodys(said))
            {
                let day = said.date.div_euclid(DAY_MILLIS) * DAY_MILLIS;
                let [users, visitors] = expected.entry((of.clone(), day)).or_default();
                users.extend(said.user.clone());
                let context = said.context.as_deref().unwrap_or("{}");
                let context: Value = serde_json::from_str(context).unwrap();
                visitors.extend(context["visitor"].as_str().map(str::to_owned));
            }
        }
        let mut found: BTreeMap<(String, i64), [Sketch; 2]> = BTreeMap::new();
        let (from, to) = (from.map(Date::from_millis), to.map(Date::from_millis));
        let missing = answers(store)
            .sketches(account, kind, from, to, with_nobodys, &mut |kind, day, users, visitors| {
                let both = found.entry((kind.to_owned(), day.millis())).or_default();
                both[0].merge(users);
                both[1].merge(visitors);
            })
            .unwrap();
        // So few are counted exactly.
        let expected: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(key, sets)| (key, sets.map(|set| set.len() as u64)))
            .filter(|(_, [users, visitors])| users + visitors > 0)
            .collect();
        let found: BTreeMap<_, _> = found
            .into_iter()
            .map(|(key, both)| (key, both.map(|sketch| sketch.estimate())))
            .filter(|(_, [users, visitors])| users + visitors > 0)
            .collect();
        assert_eq!((found, missing), (expected, Missing::default()), "{kind:?} {from:?} {to:?}");
    }
}

fn assert_event_counts(store: &Store, account: AccountId, said: &[&Said]) {
    let ids = ["u0", "u1", "nobody", "u2", "u3", "u1"];
    let of = |id: &str| {
        let events = said.iter().filter(|said| said.kind.is_some());
        events.filter(|said| said.user.as_deref() == Some(id)).count() as u64
    };
    let (found, missing) = answers(store).event_counts(account, &ids).unwrap();
    assert_eq!((found, missing), (ids.map(of).to_vec(), Missing::default()));
}

type Values = [u64; DataType::ALL.len()];

fn assert_attributes(store: &Store, account: AccountId, said: &[&Said]) {
    let mut expected: BTreeMap<(Option<String>, Option<String>), Values> = BTreeMap::new();
    for said in said {
        let value: Value = serde_json::from_str(&said.text).unwrap();
        each(&value, "", &mut |name, data_type| {
            let of = expected.entry((said.kind.clone(), Some(name))).or_default();
            of[data_type as usize] += 1;
        });
    }
    let (found, missing) = answers(store).attribute_statistics(account).unwrap();
    let found: Vec<_> = found.into_iter().map(|one| ((one.kind, one.name), one.values)).collect();
    assert_eq!((found, missing), (expected.into_iter().collect(), Missing::default()));
}

fn each(value: &Value, above: &str, visit: &mut dyn FnMut(String, DataType)) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let Some(data_type) = DataType::of(value) else { continue };
        each(value, &format!("{above}{name}."), visit);
        visit(format!("{above}{name}"), data_type);
    }
}

/// Whoever asks while calls come in and everything is sealed, merged and indexed anew beneath him is told of
/// all that was acknowledged before, and of nothing twice.
#[test]
fn answers_hold_what_was_acknowledged_before() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    let sum = |store: &Store| {
        let mut sum = 0;
        answers(store)
            .counts(ACCOUNT, None, None, None, &mut |_, _, count| sum += count.people)
            .unwrap();
        sum
    };
    let over = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let pace = Pace { go_on: &|| true };
            for round in 0.. {
                if over.load(SeqCst) {
                    break;
                }
                match round % 3 {
                    0 => drop(store.reindex(&pace, &mut |_, _| {}).unwrap()),
                    _ => drop(store.compact(Urgency::Now, Date::from_millis(9), &pace).unwrap()),
                }
            }
        });
        scope.spawn(|| {
            for _ in 0..200 {
                writer.submit_and_wait(vec![event("a"), event("b"), event("a")]).unwrap();
                acknowledged.fetch_add(3, SeqCst);
            }
            over.store(true, SeqCst);
        });
        while !over.load(SeqCst) {
            let before = acknowledged.load(SeqCst);
            let told = sum(&store);
            assert!((before..=acknowledged.load(SeqCst) + 3).contains(&told), "{before} {told}");
        }
    });
    assert_eq!(sum(&store), 600);
    assert_open_are_in_force(&store);
}

/// An index that was taken away isn't kept open: it would stay on disk.
fn assert_open_are_in_force(store: &Store) {
    let view = store.tiers.view();
    let keys = view.all().filter_map(|sealed| Some((sealed.number, sealed.index()?.crc)));
    let in_force: Vec<_> = keys.collect();
    for key in store.tiers.open_indexes() {
        assert!(in_force.contains(&key), "{key:?} of {in_force:?}");
    }
}

/// Whoever goes on with a segment that was replaced may read its index, and leaves nothing open behind him.
#[test]
fn the_index_of_a_replaced_segment_is_not_kept_open() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    let later = Date::from_millis(SEAL_AGE.as_millis() as i64 + 10);
    for _ in 0..2 {
        writer.submit_and_wait(vec![event("a")]).unwrap();
        store.compact(Urgency::InTime, later, &Pace { go_on: &|| true }).unwrap();
    }
    let before = store.tiers.view();
    assert_eq!(before.of(ACCOUNT).len(), 2);
    store.compact(Urgency::Now, later, &Pace { go_on: &|| true }).unwrap();
    assert_eq!(store.tiers.view().of(ACCOUNT).len(), 1);
    for sealed in before.of(ACCOUNT) {
        let index = store.tiers.index_of(sealed).expect("it lies there as long as it is read");
        index.counts(None, 0..1, &mut |_, _, _| {}).unwrap();
    }
    assert_open_are_in_force(&store);
}

/// While an erasure waits to be done at rest, only what it touches is read instead of its index.
#[test]
fn an_erasure_touches_what_it_takes_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    let seal = || {
        let later = Date::from_millis(SEAL_AGE.as_millis() as i64 + 10);
        store.compact(Urgency::InTime, later, &Pace { go_on: &|| true }).unwrap();
    };
    for id in ["one", "two"] {
        writer.submit_and_wait(vec![user(id, "{}"), event("a")]).unwrap();
        seal();
    }
    assert_eq!(store.sizes().unwrap().segments, 2);
    let touched = || {
        let view = store.tiers.view();
        let touched = |sealed: &Arc<super::super::manifest::Sealed>| {
            let index = store.tiers.index_of(sealed).expect("it has one");
            store.is_touched(&view, sealed, &index, &|| false).unwrap()
        };
        view.of(ACCOUNT).iter().map(touched).collect::<Vec<_>>()
    };
    assert_eq!(touched(), [false, false]);
    let erase = |scope| {
        let at = Date::from_millis(9);
        writer.submit_and_wait(vec![Draft::event_erasure(ACCOUNT, scope, at)]).unwrap();
    };
    let kind = |kind| Some(Digest::of_kind(ACCOUNT, kind));
    let user = |id| Some(Digest::of_user(ACCOUNT, id));
    let scope = |kind, user_id| Scope::Events { kind, user_id, from: None, to: None };
    erase(scope(kind("b"), None));
    erase(scope(kind("a"), user("three")));
    erase(Scope::Events { kind: None, user_id: None, from: Some(Date::from_millis(8)), to: None });
    assert_eq!(touched(), [false, false], "nothing is taken");
    erase(scope(None, user("two")));
    assert_eq!(touched(), [false, true]);
    erase(scope(kind("a"), None));
    assert_eq!(touched(), [true, true]);
}

/// Where a user's erasure waits to be done at rest, others' events are still counted by the index.
#[test]
fn the_erasure_of_one_user_does_not_slow_down_others() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    let of = |id| {
        let (at, via) = (Date::from_millis(7), Via::Public);
        let (kind, attributes, context) = ("a", "{}", None);
        let user_id = Some(id);
        let of = Event { account: ACCOUNT, via, kind, user_id, date: at, attributes, context };
        Draft::event(of, at)
    };
    writer.submit_and_wait(vec![of("one"), of("two"), of("one")]).unwrap();
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    let two = Id::new("two").unwrap();
    let erasure = Draft::user_erasure(ACCOUNT, two, Date::from_millis(9));
    writer.submit_and_wait(vec![erasure]).unwrap();
    // Whoever reads it finds it damaged.
    for sealed in store.tiers.view().of(ACCOUNT) {
        let mut bytes = std::fs::read(&sealed.path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&sealed.path, bytes).unwrap();
    }
    let (counts, missing) = answers(&store).event_counts(ACCOUNT, &["one", "three"]).unwrap();
    assert_eq!((counts, missing.is_nothing()), (vec![2, 0], true));
    let (_, missing) = answers(&store).event_counts(ACCOUNT, &["one", "two"]).unwrap();
    assert!(!missing.is_nothing());
}

/// Where an index can't be written, the hot end is sealed all the same.
#[test]
fn an_index_that_cannot_be_written_holds_nothing_up() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default"), event("a")]).unwrap();
    let in_its_way = store.tiers.segments_dir().join("1.index.new");
    std::fs::create_dir(&in_its_way).unwrap();
    let compact = || store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true });
    let left = compact().unwrap().left;
    assert!(left.iter().any(|left| left.contains("was not indexed")), "{left:?}");
    let soon = store.compact(Urgency::InTime, Date::from_millis(9), &Pace { go_on: &|| true });
    assert!(soon.unwrap().left.iter().all(|left| left.contains("was not indexed")));
    let sizes = store.sizes().unwrap();
    assert_eq!((sizes.segments, sizes.segments_unindexed), (1, 1));
    assert_eq!(sizes.sealed_through, store.last_seq());
    std::fs::remove_dir(&in_its_way).unwrap();
    compact().unwrap();
    assert_eq!(store.sizes().unwrap().segments_unindexed, 0);
}

/// Indexes that together take too much memory while their segments are sealed are built one by one.
#[test]
fn indexes_of_several_accounts_are_bounded_while_they_are_sealed() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let made =
        writer.submit_and_wait((1..=8).map(|n| account(&format!("a{n}"))).collect::<Vec<_>>());
    let accounts: Vec<u64> = (0..8).map(|n| made.as_ref().unwrap().first_seq + n).collect();
    for account in &accounts {
        for n in 0..20 {
            let names: Vec<String> = (0..1_000).map(|m| format!("\"{n}_{m}\":1")).collect();
            let (kind, attributes) = (format!("k{n}"), format!("{{{}}}", names.join(",")));
            let (account, via, date) = (AccountId(*account), Via::Public, Date::from_millis(7));
            let (kind, attributes) = (kind.as_str(), attributes.as_str());
            let (user_id, context) = (None, None);
            let event = Event { account, via, kind, user_id, date, attributes, context };
            writer.submit_and_wait(vec![Draft::event(event, date)]).unwrap();
        }
    }
    let compacted =
        store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    // 20,000 names of each account take some 5 MB.
    assert!((20..160).contains(&compacted.indexed), "{}", compacted.indexed);
    assert_eq!(store.sizes().unwrap().segments_unindexed, 0);
    for account in accounts {
        let (counts, missing) = answers(&store).attribute_statistics(AccountId(account)).unwrap();
        assert!(counts.len() >= 20_000 && missing.is_nothing());
    }
}

/// Each erasure is looked at once for a segment, however many come, and all again when one that took something is
/// done.
#[test]
fn erasures_are_looked_at_once() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default"), event("a")]).unwrap();
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    let view = store.tiers.view();
    let sealed = &view.of(ACCOUNT)[0];
    let all = Scope::Events { kind: None, user_id: None, from: None, to: None };
    let looked = |erasures: &Erasures, takes: Option<Seq>| {
        let mut seqs = BTreeSet::new();
        let mut look = |seq, _| {
            seqs.insert(seq);
            Ok::<_, ()>(takes == Some(seq))
        };
        (sealed.touched_by(erasures, &mut look).unwrap(), seqs.into_iter().collect::<Vec<_>>())
    };
    let of = |seqs: &[Seq]| {
        let mut erasures = Erasures::default();
        seqs.iter().for_each(|seq| erasures.add(*seq, ACCOUNT, all));
        erasures
    };
    assert_eq!(looked(&of(&[]), None), (false, vec![]));
    assert_eq!(looked(&of(&[5, 6]), None), (false, vec![5, 6]));
    assert_eq!(looked(&of(&[5, 6]), None), (false, vec![]));
    assert_eq!(looked(&of(&[5, 6, 7]), None), (false, vec![7]));
    assert_eq!(looked(&of(&[5, 6, 7, 8]), Some(8)), (true, vec![8]));
    assert_eq!(looked(&of(&[5, 8, 9]), None), (true, vec![]));
    assert_eq!(looked(&of(&[5]), None), (true, vec![]), "it is in force, whoever knows of it");
    assert_eq!(looked(&of(&[7, 9]), None), (false, vec![7, 9]), "it is done");
    let failed = sealed.touched_by(&of(&[9, 10]), |_, _| Err(()));
    assert_eq!(failed, Err(()));
    assert_eq!(looked(&of(&[9, 10]), None), (false, vec![10]));
}

/// An index that nobody could say anything of keeps nothing from being opened.
#[test]
fn a_manifest_with_an_odd_index_is_opened() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(&dir);
        start(&store).submit_and_wait(vec![account("default"), event("a")]).unwrap();
        store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
        let hot = store.tiers.hot();
        let keys: Vec<_> = hot.manifest.scan_prefix(b"i").keys().map(Result::unwrap).collect();
        assert_eq!(keys.len(), 1);
        hot.manifest.insert(&keys[0], b"odd").unwrap();
        hot.flush().unwrap();
    }
    let store = open(&dir);
    assert_eq!(store.sizes().unwrap().segments_unindexed, 1);
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    assert_eq!(store.sizes().unwrap().segments_unindexed, 0);
}

/// A segment that is known to be damaged is left out by whoever counts as by whoever reads, and it is said.
#[test]
fn what_is_damaged_is_left_out_of_every_answer() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default"), event("a"), event("a")]).unwrap();
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    let count = || {
        let mut sum = 0;
        let visit = &mut |_: &str, _, count: Count| sum += count.people;
        let missing = answers(&store).counts(ACCOUNT, None, None, None, visit).unwrap();
        (sum, missing.is_nothing())
    };
    assert_eq!(count(), (2, true));
    for sealed in store.tiers.view().of(ACCOUNT) {
        let mut bytes = std::fs::read(&sealed.path).unwrap();
        bytes[4..200].fill(0xff);
        std::fs::write(&sealed.path, bytes).unwrap();
    }
    let all = Selection::of(1..=store.last_seq());
    let mut visit = |_: Seq, _: &Record<'_>| Ok(ControlFlow::Continue(()));
    let missing = store.select(&all, Order::Ascending, &mut visit).unwrap();
    assert!(!missing.is_nothing());
    assert_eq!(count(), (0, false));
}

/// That there are no more descriptors is no damage of what couldn't be opened.
#[test]
fn what_passes_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    start(&store).submit_and_wait(vec![account("default"), event("a")]).unwrap();
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    let view = store.tiers.view();
    let sealed = &view.of(ACCOUNT)[0];
    for (errno, damaged) in [(24, false), (23, false), (12, false), (5, true)] {
        let source = std::io::Error::from_raw_os_error(errno);
        let error =
            super::super::segment::SegmentError::Io { doing: "open", place: String::new(), source };
        store.tiers.note_unread(sealed, &error);
        assert_eq!(store.tiers.is_damaged(sealed), damaged, "{errno}");
    }
}

/// Asks for everything that the store answers by itself.
fn ask(from: &Answers<'_>, number: usize) -> Result<(), Error> {
    let (account, kind) = (ACCOUNT, Some("a"));
    match number {
        0 => from.counts(account, kind, None, None, &mut |_, _, _| {}).map(drop),
        1 => from.sketches(account, kind, None, None, false, &mut |_, _, _, _| {}).map(drop),
        2 => from.distinct(account, kind, None, None, false, &mut |_, _| {}).map(drop),
        3 => from.event_counts(account, &["one"]).map(drop),
        4 => from.facets(account, &Facet::ALL, None, None, &mut |_, _, _| {}).map(drop),
        _ => from.attribute_statistics(account).map(drop),
    }
}

/// Where records have to be read instead of an index, there is a most of them, and an end when it is told.
#[test]
fn what_is_read_instead_of_an_index_has_a_bound_and_an_end() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let records = vec![account("default"), user("one", "{}"), event("a"), event("a"), event("a")];
    writer.submit_and_wait(records).unwrap();
    let ask_within = |rows_max, stop: &dyn Fn() -> bool, number| {
        ask(&Answers { store: &store, stop: &Stop::new(rows_max, stop) }, number)
    };
    let check = |place: &str, rows: [u64; 6]| {
        for (number, rows) in rows.into_iter().enumerate() {
            let place = format!("{place}, question {number}");
            let refused = ask_within(rows - 1, &|| false, number);
            assert!(
                matches!(refused, Err(Error::TooMuch { rows: told, rows_max }) if told == rows && rows_max == rows - 1),
                "{place}: {refused:?}"
            );
            let asked = std::cell::Cell::new(0_u32);
            let count = || {
                asked.set(asked.get() + 1);
                false
            };
            ask_within(rows, &count, number).expect(&place);
            assert!(asked.get() > 0, "{place}: never asks whether to stop");
            for at in 0..asked.get() {
                let left = std::cell::Cell::new(at);
                let stop = || left.replace(left.get().saturating_sub(1)) == 0;
                let stopped = ask_within(u64::MAX, &stop, number);
                assert!(matches!(stopped, Err(Error::Stopped)), "{place}, at {at}: {stopped:?}");
            }
        }
    };
    for number in 0..6 {
        ask_within(0, &|| false, number).expect("what is known of the hot end is enough");
    }
    store.fill_newest();
    check("of the hot end that takes too much memory", [5; 6]);
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    for number in 0..6 {
        ask_within(0, &|| false, number).expect("there is an index");
    }
    let all = Scope::Expired { before: Date::from_millis(8) };
    let before = store.last_seq();
    writer.submit_and_wait(vec![Draft::event_erasure(ACCOUNT, all, Date::from_millis(9))]).unwrap();
    assert_eq!(store.last_seq(), before + 1);
    check("of what waits to be erased", [3, 3, 3, 4, 4, 4]);
    for sealed in store.tiers.view().of(ACCOUNT) {
        sealed.set_index(None);
    }
    check("of what has no index", [4; 6]);
}

/// However few records they are, names of attributes don't take more memory than what is known of the hot end may.
#[test]
fn what_is_known_of_the_hot_end_is_looked_at_while_it_grows() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    // Each is short, but of names that nobody else has.
    for account in 1..=25_u64 {
        writer.submit_and_wait(vec![self::account(&format!("a{account}"))]).unwrap();
        let of = |n: u64| {
            let names: Vec<String> = (0..1_000).map(|m| format!("\"{n}_{m}\":1")).collect();
            let (kind, attributes) = (format!("k{n}"), format!("{{{}}}", names.join(",")));
            let (account, via, date) = (AccountId(account), Via::Public, Date::from_millis(7));
            let (kind, attributes) = (kind.as_str(), attributes.as_str());
            let (user_id, context) = (None, None);
            let event = Event { account, via, kind, user_id, date, attributes, context };
            Draft::event(event, date)
        };
        writer.submit_and_wait((0..20).map(of).collect::<Vec<_>>()).unwrap();
    }
    let taken = store.read_newest_until_full().unwrap();
    let expected = NEWEST_BYTES_MAX..NEWEST_BYTES_MAX + 8 * 1024 * 1024;
    assert!(expected.contains(&taken), "{taken}");
    assert!(answers(&store).counts(AccountId(25), None, None, None, &mut |_, _, _| {}).is_ok());
}

/// Where there are more days than an index keeps sketches of, they are made of the events.
#[test]
fn days_beyond_the_bound_are_counted_all_the_same() {
    const DAYS: i64 = 64 * 1024 + 1;
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    let days: Vec<i64> = (0..DAYS).collect();
    for days in days.chunks(1_000) {
        let on = |day: &i64| {
            let (date, user_id) = (Date::from_millis(day * DAY_MILLIS), format!("u{}", day % 7));
            let (account, via, attributes, context) = (ACCOUNT, Via::Public, "{}", None);
            let user_id = Some(user_id.as_str());
            Draft::event(
                Event { account, via, kind: "a", user_id, date, attributes, context },
                date,
            )
        };
        writer.submit_and_wait(days.iter().map(on).collect::<Vec<_>>()).unwrap();
    }
    store.compact(Urgency::Now, Date::from_millis(9), &Pace { go_on: &|| true }).unwrap();
    let sizes = store.sizes().unwrap();
    assert_eq!((sizes.segments, sizes.segments_unindexed), (1, 0));
    let stop = Stop::new(0, &|| false);
    let none = Answers { store: &store, stop: &stop };
    assert!(none.event_counts(ACCOUNT, &["u1"]).is_ok());
    let refused = none.distinct(ACCOUNT, None, None, None, false, &mut |_, _| {});
    assert!(matches!(refused, Err(Error::TooMuch { rows, .. }) if rows == DAYS as u64));
    let (mut seen, mut all) = (BTreeMap::new(), Sketch::default());
    let each = &mut |_: &str, day: Date, users: &Sketch, _: &Sketch| {
        all.merge(users);
        seen.entry(day).or_insert_with(Sketch::default).merge(users);
    };
    answers(&store).sketches(ACCOUNT, None, None, None, false, each).unwrap();
    assert_eq!((seen.len(), all.estimate()), (DAYS as usize, 7));
    assert!(seen.values().all(|users| users.estimate() == 1));
}
