//! The log at rest: whatever is sealed, merged, erased or begun anew beneath it, it reads the same.

use std::collections::BTreeMap;

use super::*;
use crate::model::erasure::{Digest, Scope};
use crate::store::log::Selection;

const NOW: Date = Date::from_millis(1_000_000);

fn pace() -> Pace<'static> {
    Pace { go_on: &|| true }
}

fn compact(store: &Store, urgency: Urgency) -> Compacted {
    store.compact(urgency, NOW, &pace()).unwrap()
}

fn assert_verified(store: &Store) -> Verified {
    let mut findings = Vec::new();
    let verified = store.verify(NOW, &pace(), &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
    verified
}

/// What the log should show: by position, whose and what.
#[derive(Clone, Debug, Default)]
struct Model {
    log: BTreeMap<Seq, Said>,
    /// Under which keys something was stored, and where.
    keys: BTreeMap<u64, Receipt>,
    last: Seq,
}

#[derive(Clone, Debug, PartialEq)]
struct Said {
    account: AccountId,
    user: Option<String>,
    kind: Option<String>,
    date: i64,
    text: String,
    context: Option<String>,
}

impl Model {
    fn users(&self, account: AccountId) -> BTreeMap<String, String> {
        let mut users: BTreeMap<String, User> = BTreeMap::new();
        for said in self.log.values().filter(|said| said.account == account && said.kind.is_none())
        {
            let user = users.entry(said.user.clone().unwrap());
            user.or_insert_with(|| User::new(NOW)).update(object(&said.text), NOW);
        }
        users.into_iter().map(|(id, user)| (id, json::to_text(&user.attributes))).collect()
    }
}

use crate::model::User;

fn said(record: &Record<'_>) -> Option<Said> {
    match record.change {
        Change::Event(event) => Some(Said {
            account: event.account,
            user: event.user_id.map(str::to_owned),
            kind: Some(event.kind.to_owned()),
            date: event.date.millis(),
            text: event.attributes.to_owned(),
            context: event.context.map(str::to_owned),
        }),
        Change::User(user) => Some(Said {
            account: user.account,
            user: Some(user.id.to_owned()),
            kind: None,
            date: 0,
            text: user.patch.to_owned(),
            context: None,
        }),
        _ => None,
    }
}

fn read(store: &Store, selection: &Selection, order: Order) -> Vec<(Seq, Said)> {
    let mut all = Vec::new();
    let missing = store
        .select(selection, order, &mut |seq, record| {
            all.extend(said(record).map(|said| (seq, said)));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(missing, Missing::default());
    all
}

fn assert_reads(store: &Store, model: &Model) {
    let expected: Vec<_> = model.log.iter().map(|(seq, said)| (*seq, said.clone())).collect();
    let last = model.last;
    for range in [1..=Seq::MAX, 1..=last / 2, last / 3..=last / 2, last / 2..=Seq::MAX] {
        let part: Vec<_> =
            expected.iter().filter(|(seq, _)| range.contains(seq)).cloned().collect();
        let selection = Selection::of(range.clone());
        assert_eq!(read(store, &selection, Order::Ascending), part, "{range:?}");
        let back = read(store, &selection, Order::Descending);
        assert!(back.iter().rev().eq(part.iter()), "{range:?} backwards");
    }
    for account in [ACCOUNT, OTHER] {
        let of: Vec<_> =
            expected.iter().filter(|(_, said)| said.account == account).cloned().collect();
        let events = Selection {
            user_id: Some("u1".to_owned()),
            from: Some(Date::from_millis(200)),
            to: Some(Date::from_millis(600)),
            ..Selection::of(1..=Seq::MAX).events_of(account)
        };
        let wanted = |said: &Said| {
            said.account == account
                && said.kind.is_some()
                && said.user.as_deref() == Some("u1")
                && (200..600).contains(&said.date)
        };
        let found: Vec<_> = read(store, &events, Order::Ascending)
            .into_iter()
            .filter(|(_, said)| wanted(said))
            .collect();
        let part: Vec<_> = of.iter().filter(|(_, said)| wanted(said)).cloned().collect();
        assert_eq!(found, part);
        let users: BTreeMap<_, _> = store
            .users(account, None)
            .map(|user| user.map(|(id, user)| (id, json::to_text(&user.attributes))).unwrap())
            .collect();
        assert_eq!(users, model.users(account));
    }
}

const OTHER: AccountId = AccountId(2);

/// One thing that may happen to a store.
#[derive(Clone, Debug)]
enum Happening {
    Track { count: usize, seed: u64 },
    Seal,
    Keep,
    EraseUser(u8),
    EraseEvents { kind: Option<u8>, user: Option<u8>, from: Option<i64>, to: Option<i64> },
    Expire(i64),
    Reopen,
    Rebuild,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => (1_usize..40, any::<u64>()).prop_map(|(count, seed)| Happening::Track { count, seed }),
        3 => Just(Happening::Seal),
        1 => Just(Happening::Keep),
        2 => (0_u8..4).prop_map(Happening::EraseUser),
        1 => (
            prop::option::of(0_u8..3),
            prop::option::of(0_u8..4),
            prop::option::of(0_i64..1_000),
            prop::option::of(0_i64..1_000),
        )
            .prop_map(|(kind, user, from, to)| Happening::EraseEvents { kind, user, from, to }),
        1 => (0_i64..500).prop_map(Happening::Expire),
        1 => Just(Happening::Reopen),
        1 => Just(Happening::Rebuild),
    ];
    prop::collection::vec(one, 1..14)
}

struct Whole {
    dir: TempDir,
    store: Option<Arc<Store>>,
    writer: Option<Writer>,
    model: Model,
}

impl Whole {
    fn new() -> Whole {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let writer = start(&store);
        for name in ["one", "two"] {
            let token = ApiToken([name.len() as u8 + name.as_bytes()[0]; 16]);
            let hash = SecretHash([name.as_bytes()[0]; 32]);
            let draft = Draft::account(AccountName::new(name).unwrap(), token, hash, NOW);
            writer.submit_and_wait(vec![draft]).unwrap();
        }
        let model = Model { last: 2, ..Model::default() };
        Whole { dir, store: Some(store), writer: Some(writer), model }
    }

    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    fn submit(&mut self, drafts: Vec<Draft>) -> Seq {
        let receipt = self.writer.as_ref().unwrap().submit_and_wait(drafts).unwrap();
        self.model.last = receipt.first_seq + receipt.count - 1;
        receipt.first_seq
    }

    fn track(&mut self, count: usize, seed: u64) {
        let mut n = seed;
        let mut next = |below: u64| {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (n >> 33) % below
        };
        let (mut drafts, mut said) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let account = if next(3) == 0 { OTHER } else { ACCOUNT };
            let user = format!("u{}", next(4));
            if next(4) == 0 {
                let text = format!(r#"{{"a{}":{}}}"#, next(3), next(100));
                let id = Id::new(&user).unwrap();
                drafts.push(Draft::user(account, Via::Public, &id, &object(&text), None, NOW));
                let (user, kind, context) = (Some(user), None, None);
                said.push(Said { account, user, kind, date: 0, text, context });
                continue;
            }
            let user = Some(user).filter(|_| next(3) > 0);
            let (kind, date) = (format!("k{}", next(3)), next(1_000) as i64);
            let text = format!(r#"{{"n":{}.0,"s":"😀"}}"#, next(1_000_000));
            let context = (next(2) == 0).then(|| format!(r#"{{"visitor":{}}}"#, next(9)));
            let event = Event {
                account,
                via: Via::Secret,
                kind: &kind,
                user_id: user.as_deref(),
                date: Date::from_millis(date),
                attributes: &text,
                context: context.as_deref(),
            };
            drafts.push(Draft::event(event, NOW));
            said.push(Said { account, user, kind: Some(kind), date, text, context });
        }
        let first = match (next(2) == 0).then(|| next(4)) {
            None => self.submit(drafts),
            Some(key) => {
                let digest = Digest::of_idempotency_key(ACCOUNT, &key.to_string());
                let submission = Submission::once(drafts, digest);
                let receipt = self.writer.as_ref().unwrap().submit_and_wait(submission).unwrap();
                if let Some(before) = self.model.keys.get(&key) {
                    if receipt == *before {
                        return;
                    }
                    // With its record, a key may have been forgotten.
                    assert!(!self.model.log.contains_key(&before.first_seq), "{key} {receipt:?}");
                }
                self.model.keys.insert(key, receipt);
                self.model.last = receipt.first_seq + receipt.count - 1;
                receipt.first_seq
            }
        };
        self.model.log.extend((first..).zip(said));
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Track { count, seed } => self.track(*count, *seed),
            Happening::Seal => {
                let compacted = compact(self.store(), Urgency::Now);
                assert_eq!(compacted.left, Vec::<String>::new());
                assert_eq!(self.store().sizes().unwrap().sealed_through, self.model.last);
                assert_eq!(self.store().sizes().unwrap().erasures_pending, 0);
            }
            Happening::Keep => drop(compact(self.store(), Urgency::InTime)),
            Happening::EraseUser(user) => {
                let id = format!("u{user}");
                self.submit(vec![Draft::user_erasure(ACCOUNT, Id::new(&id).unwrap(), NOW)]);
                let taken =
                    |said: &Said| said.account == ACCOUNT && said.user.as_deref() == Some(&id);
                self.model.log.retain(|_, said| !taken(said));
            }
            Happening::EraseEvents { kind, user, from, to } => {
                let kind = kind.map(|kind| format!("k{kind}"));
                let user = user.map(|user| format!("u{user}"));
                let scope = Scope::Events {
                    kind: kind.as_deref().map(|kind| Digest::of_kind(ACCOUNT, kind)),
                    user_id: user.as_deref().map(|user| Digest::of_user(ACCOUNT, user)),
                    from: from.map(Date::from_millis),
                    to: to.map(Date::from_millis),
                };
                self.submit(vec![Draft::event_erasure(ACCOUNT, scope, NOW)]);
                self.model.log.retain(|_, said| {
                    !(said.account == ACCOUNT
                        && said.kind.is_some()
                        && (kind.is_none() || said.kind == kind)
                        && (user.is_none() || said.user == user)
                        && from.is_none_or(|from| from <= said.date)
                        && to.is_none_or(|to| said.date < to))
                });
            }
            Happening::Expire(before) => {
                let scope = Scope::Expired { before: Date::from_millis(*before) };
                self.submit(vec![Draft::event_erasure(OTHER, scope, NOW)]);
                self.model.log.retain(|_, said| {
                    !(said.account == OTHER && said.kind.is_some() && said.date < *before)
                });
            }
            Happening::Reopen => {
                drop(self.writer.take());
                drop(self.store.take());
                self.store = Some(open(&self.dir));
                self.writer = Some(start(self.store()));
            }
            Happening::Rebuild => self.store().rebuild(&pace()).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_it_reads_the_same(happenings in happenings()) {
        let mut whole = Whole::new();
        for happening in &happenings {
            whole.happen(happening);
            assert_reads(whole.store(), &whole.model);
        }
        assert_verified(whole.store());
        whole.happen(&Happening::Seal);
        assert_reads(whole.store(), &whole.model);
        let verified = assert_verified(whole.store());
        prop_assert_eq!(verified.records + verified.holes, whole.model.last);
    }
}

#[test]
fn small_segments_become_large_ones_and_files_go() {
    let mut whole = Whole::new();
    for round in 0..40 {
        whole.track(30, round);
        // As if it were sealed by age.
        let store = whole.store();
        let later = Date::from_millis(NOW.millis() + SEAL_AGE.as_millis() as i64);
        store.compact(Urgency::InTime, later, &pace()).unwrap();
        let files = std::fs::read_dir(whole.dir.path().join("segments")).unwrap().count();
        assert_eq!(files, store.sizes().unwrap().segments);
        assert!(files <= 2 * 15, "{files} in round {round}");
    }
    assert_reads(whole.store(), &whole.model);
    compact(whole.store(), Urgency::Now);
    assert_eq!(whole.store().sizes().unwrap().segments, 2);
    assert_reads(whole.store(), &whole.model);
}

/// A reader that is overtaken by sealing, merging and erasing sees each record once, or what was erased
/// meanwhile not at all.
#[test]
fn a_reader_is_overtaken() {
    for order in [Order::Ascending, Order::Descending] {
        let mut whole = Whole::new();
        for round in 0..20 {
            whole.track(40, round);
        }
        compact(whole.store(), Urgency::Now);
        for round in 20..40 {
            whole.track(40, round);
        }
        let expected: Vec<_> = whole.model.log.keys().copied().collect();
        let store = Arc::clone(whole.store());
        let (mut seen, mut count) = (Vec::new(), 0);
        store
            .select(&Selection::of(1..=Seq::MAX), order, &mut |seq, record| {
                count += 1;
                if count % 300 == 0 {
                    compact(&store, Urgency::Now);
                }
                seen.extend(said(record).map(|_| seq));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        if order == Order::Descending {
            seen.reverse();
        }
        assert_eq!(seen, expected, "{order:?}");
    }
}

#[test]
fn a_damaged_segment_is_left_out_and_told_of() {
    let mut whole = Whole::new();
    whole.track(200, 1);
    compact(whole.store(), Urgency::Now);
    whole.track(200, 2);
    let last = whole.model.last;
    let dir = whole.dir.path().join("segments");
    let path = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("1-"))
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    for spoil in ["flipped", "gone", "cut"] {
        match spoil {
            "flipped" => {
                let mut bytes = good.clone();
                bytes[good.len() / 3] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
            "cut" => std::fs::write(&path, &good[..good.len() - 1]).unwrap(),
            _ => std::fs::remove_file(&path).unwrap(),
        }
        whole.happen(&Happening::Reopen);
        let store = whole.store();
        assert_eq!(store.last_seq(), last, "{spoil}");
        let mut seen = Vec::new();
        let missing = store
            .select(&Selection::of(1..=Seq::MAX), Order::Ascending, &mut |seq, record| {
                seen.extend(said(record).map(|said| (seq, said)));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert!(missing.records > 0, "{spoil}");
        let of_other = |said: &Said| said.account == OTHER;
        let expected: Vec<_> = whole
            .model
            .log
            .iter()
            .filter(|(seq, said)| of_other(said) || **seq > 202)
            .map(|(seq, said)| (*seq, said.clone()))
            .collect();
        assert_eq!(seen, expected, "{spoil}: everything else is there");
        assert_eq!(store.damage().len(), 1, "{spoil}");
        let mut findings = Vec::new();
        store.verify(NOW, &pace(), &mut |finding| findings.push(finding)).unwrap();
        assert!(findings[0].place.starts_with("segments/1-"), "{spoil}: {findings:?}");
        // Nobody builds users anew from half a log, or writes over what may be mended.
        assert!(store.rebuild(&pace()).is_err(), "{spoil}");
        store.compact(Urgency::Now, NOW, &pace()).unwrap();
        if spoil != "gone" {
            assert!(path.exists());
        }
    }
    std::fs::write(&path, &good).unwrap();
    whole.happen(&Happening::Reopen);
    assert_reads(whole.store(), &whole.model);
    assert_verified(whole.store());
}

#[test]
fn a_backup_holds_what_was_there() {
    let mut whole = Whole::new();
    whole.track(300, 1);
    compact(whole.store(), Urgency::Now);
    whole.track(100, 2);
    whole.happen(&Happening::EraseUser(1));
    let (model, store) = (whole.model.clone(), Arc::clone(whole.store()));
    let mut bytes = Vec::new();
    let held = store.backup(&mut bytes).unwrap();
    assert_eq!((held.last_seq, held.bytes), (model.last, bytes.len() as u64));
    whole.track(50, 3);
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("restored");
    assert_eq!(restore(&target, bytes.as_slice()).unwrap(), held);
    let restored = Store::open(&target).unwrap();
    assert_eq!(restored.last_seq(), model.last);
    assert_reads(&restored, &model);
    assert_verified(&restored);
    assert!(matches!(restore(&target, bytes.as_slice()), Err(RestoreError::NotEmpty(_))));
    // Every byte counts.
    let other = dir.path().join("other");
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(check_backup(flipped.as_slice()).is_err(), "byte {at}");
    }
    for cut in [0, 1, 18, 19, 30, bytes.len() / 2, bytes.len() - 1] {
        assert!(restore(&other, &bytes[..cut]).is_err(), "cut at {cut}");
        assert_eq!(std::fs::read_dir(&other).map_or(0, Iterator::count), 0, "cut at {cut}");
    }
    assert!(check_backup([bytes.as_slice(), b"x"].concat().as_slice()).is_err());
}

/// Erasures gather for a while, are done in time, and what keeps one from being done isn't asked again
/// with every look.
#[test]
fn an_erasure_is_done_in_time() {
    let after = |minutes: i64| Date::from_millis(NOW.millis() + minutes * 60_000);
    let in_time = |store: &Store, now| store.compact(Urgency::InTime, now, &pace()).unwrap();
    let mut whole = Whole::new();
    whole.track(200, 1);
    compact(whole.store(), Urgency::Now);
    whole.happen(&Happening::EraseUser(1));
    let pending = |whole: &Whole| whole.store().sizes().unwrap().erasures_pending;
    in_time(whole.store(), after(44));
    assert_eq!(pending(&whole), 1, "it may wait for others");
    let done = in_time(whole.store(), after(46));
    assert!(done.erased > 0 && done.renewed, "{done:?}");
    assert_eq!(pending(&whole), 0);
    assert_reads(whole.store(), &whole.model);

    let segments = std::fs::read_dir(whole.dir.path().join("segments")).unwrap().flatten();
    for path in segments.map(|entry| entry.path()) {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[1..]).unwrap();
    }
    whole.happen(&Happening::Reopen);
    whole.happen(&Happening::EraseUser(2));
    let left = |urgency| {
        let store = whole.store();
        let compacted = store.compact(urgency, after(46), &pace()).unwrap();
        compacted.left.iter().filter(|what| what.contains("nothing was erased")).count()
    };
    assert!(left(Urgency::InTime) > 0, "what is damaged can't be written anew");
    assert_eq!(left(Urgency::InTime), 0, "and isn't tried again at once");
    assert!(left(Urgency::Now) > 0);
    assert_eq!(pending(&whole), 1);
}
