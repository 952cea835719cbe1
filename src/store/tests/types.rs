//! Types that accounts set: they hold at once and last, and are bounded.

use super::*;
use crate::model::DataType;
use crate::model::limits::OVERRIDES_MAX;
use crate::model::overrides::{AttributeName, Kind, Overrides};

const AT: Date = Date::from_millis(5);

fn set(account: AccountId, kind: &str, attribute: &str, data_type: Option<DataType>) -> Draft {
    let attribute = AttributeName::new(attribute).unwrap();
    Draft::data_type(account, kind.parse().unwrap(), attribute, data_type, AT)
}

fn compact(store: &Store) {
    let compacted = store.compact(Urgency::Now, AT, &Pace { go_on: &|| true }).unwrap();
    assert_eq!(compacted.left, Vec::<String>::new());
}

fn assert_verified(store: &Store) {
    let (mut findings, pace) = (Vec::new(), Pace { go_on: &|| true });
    store.verify(AT, &pace, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
}

#[test]
fn they_hold_at_once_and_last() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (number, date) = (Some(DataType::Number), Some(DataType::Date));
    let mut wanted = Overrides::default();
    let mut store = open(&dir);
    let mut writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    // The second time it is sealed, the third it is both.
    for round in 0..3 {
        for (kind, attribute, data_type) in [
            ("user", "plan", number),
            ("event:view", "cart.é\0", date),
            ("event:view", "price", number),
            ("event:view", "price", date),
            ("event:buy", "price", number),
            ("event:buy", "price", None),
            ("event:buy", "never", None),
            ("user", "plan", if round == 1 { None } else { date }),
        ] {
            writer.submit_and_wait(vec![set(ACCOUNT, kind, attribute, data_type)]).unwrap();
            wanted.set(&kind.parse().unwrap(), attribute, data_type);
            assert_eq!(*store.overrides(ACCOUNT), wanted, "as soon as it is acknowledged");
        }
        assert_eq!(*store.overrides(AccountId(2)), Overrides::default());
        assert_verified(&store);
        if round > 0 {
            writer.submit_and_wait(vec![event("view")]).unwrap();
            compact(&store);
            assert_verified(&store);
        }
        store.rebuild(&Pace { go_on: &|| true }).unwrap();
        assert_eq!(*store.overrides(ACCOUNT), wanted);
        assert_verified(&store);
        drop(writer);
        drop(store);
        store = open(&dir);
        writer = start(&store);
        assert_eq!(*store.overrides(ACCOUNT), wanted, "after opening again");
    }
    let mut backup = Vec::new();
    store.backup(&mut backup).unwrap();
    restore(other.path(), backup.as_slice()).unwrap();
    assert_eq!(*open(&other).overrides(ACCOUNT), wanted, "after restoring");
    let state = store.tiers.hot().state.dump();
    drop((writer, store));
    let rebuilt = rebuilt(&dir);
    assert_eq!(*rebuilt.overrides(ACCOUNT), wanted, "from the log alone");
    assert_eq!(rebuilt.tiers.hot().state.dump(), state);
}

#[test]
fn one_more_than_the_most_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    let many = |from: usize, to: usize, data_type| {
        (from..to).map(|n| set(ACCOUNT, "user", &format!("a{n}"), data_type)).collect::<Vec<_>>()
    };
    let list = Some(DataType::List);
    writer.submit_and_wait(many(0, OVERRIDES_MAX, list)).unwrap();
    let before = store.overrides(ACCOUNT);
    let state = store.tiers.hot().state.dump();
    // None of what comes with it is taken either.
    let mut drafts = many(0, 2, Some(DataType::Date));
    drafts.extend(many(OVERRIDES_MAX, OVERRIDES_MAX + 1, list));
    let refusal = writer.submit_and_wait(drafts).unwrap_err();
    assert_eq!(refusal, Refusal::TooManyTypes);
    assert!(refusal.to_string().starts_with("1000 data types are set already"), "{refusal}");
    assert_eq!(store.overrides(ACCOUNT), before);
    assert_eq!(store.tiers.hot().state.dump(), state);
    // Another for one of them is no more, and one that was taken back leaves room.
    writer.submit_and_wait(many(0, 1, Some(DataType::Date))).unwrap();
    let mut drafts = many(5, 6, None);
    drafts.extend(many(OVERRIDES_MAX, OVERRIDES_MAX + 1, list));
    writer.submit_and_wait(drafts).unwrap();
    assert_eq!(store.overrides(ACCOUNT).len(), OVERRIDES_MAX);
    let nobodys = set(AccountId(99), "user", "a", list);
    assert_eq!(writer.submit_and_wait(vec![nobodys]), Err(Refusal::NoAccount));
}

/// What a crash between the two writes of a group leaves.
#[test]
fn a_crash_before_the_merge_is_mended() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(&dir);
        start(&store).submit_and_wait(vec![account("default")]).unwrap();
        let drafts = [
            set(ACCOUNT, "user", "a", Some(DataType::Date)),
            set(ACCOUNT, "user", "b", Some(DataType::List)),
            set(ACCOUNT, "user", "a", None),
        ];
        let batch = EncodedBatch::of(2, drafts.iter().map(|draft| draft.encoded.as_slice()));
        store.tiers.append(&[batch]).unwrap();
        store.flusher().flush().unwrap();
    }
    let overrides = open(&dir).overrides(ACCOUNT);
    let all: Vec<_> = overrides.iter().collect();
    assert_eq!(all, [(Kind::User, "b", DataType::List)]);
}
