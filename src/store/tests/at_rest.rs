//! The log at rest: whatever is sealed, merged, erased or begun anew beneath it, it reads the same.

use std::collections::BTreeMap;

use super::*;
use crate::model::erasure::{Digest, Scope};
use crate::model::{EventFilter, People, PersonChange, PersonId, TokenHash};
use crate::store::log::Selection;

/// Milliseconds from one date to the next: a few hours have several.
const UNIT: i64 = 400_000;

const NOW: Date = Date::from_millis(1_000 * UNIT);

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
pub(super) struct Model {
    pub log: BTreeMap<Seq, Said>,
    /// Under which keys something was stored, and where.
    keys: BTreeMap<u64, Receipt>,
    people: People,
    last: Seq,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub account: AccountId,
    pub user: Option<String>,
    pub kind: Option<String>,
    pub date: i64,
    /// When it came.
    pub came: i64,
    pub text: String,
    pub context: Option<String>,
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
            came: record.received_at.millis(),
            text: event.attributes.to_owned(),
            context: event.context.map(str::to_owned),
        }),
        Change::User(user) => Some(Said {
            account: user.account,
            user: Some(user.id.to_owned()),
            kind: None,
            date: 0,
            came: record.received_at.millis(),
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

/// The same, each selection reading no more than costs `most` and the next going on where it stopped.
fn read_in_pages(
    store: &Store,
    selection: &Selection,
    order: Order,
    most: u64,
) -> Vec<(Seq, Said)> {
    let (mut all, mut range) = (Vec::new(), selection.range.clone());
    loop {
        let page = selection.clone().within(range.clone());
        let visit = &mut |seq, record: &Record<'_>| {
            all.extend(said(record).map(|said| (seq, said)));
            Ok(ControlFlow::Continue(()))
        };
        let (missing, rest) = store.select_some(&page, order, most, visit).unwrap();
        assert_eq!(missing, Missing::default());
        let Some(rest) = rest else { return all };
        let (start, end) = range.into_inner();
        range = match order {
            Order::Ascending => rest + 1..=end,
            Order::Descending => start..=rest - 1,
        };
        let left = range.end().min(&store.last_seq()) + 1 - range.start();
        let before = end.min(store.last_seq()) + 1 - start;
        assert!(left < before, "it goes on: {start}..={end}, {range:?}");
    }
}

fn assert_reads(store: &Store, model: &Model) {
    assert_eq!(*store.people(), model.people);
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
            from: Some(Date::from_millis(200 * UNIT)),
            to: Some(Date::from_millis(600 * UNIT)),
            ..Selection::of(1..=Seq::MAX).events_of(account)
        };
        let wanted = |said: &Said| {
            said.account == account
                && said.kind.is_some()
                && said.user.as_deref() == Some("u1")
                && (200 * UNIT..600 * UNIT).contains(&said.date)
        };
        let found: Vec<_> = read(store, &events, Order::Ascending)
            .into_iter()
            .filter(|(_, said)| wanted(said))
            .collect();
        let part: Vec<_> = of.iter().filter(|(_, said)| wanted(said)).cloned().collect();
        assert_eq!(found, part);
        for kind in ["k0", "k2", "nothing"] {
            let filter = EventFilter {
                account,
                kind: Some(kind.to_owned()),
                user_id: None,
                from: None,
                to: None,
            };
            let selection = Selection::matching(&filter);
            let is_wanted = |said: &Said| said.kind.as_deref() == Some(kind);
            let part: Vec<_> = of.iter().filter(|(_, said)| is_wanted(said)).cloned().collect();
            for order in [Order::Ascending, Order::Descending] {
                let mut found = read(store, &selection, order);
                found.retain(|(_, said)| said.account == account && is_wanted(said));
                for most in [1, 60, 400] {
                    let mut pages = read_in_pages(store, &selection, order, most);
                    pages.retain(|(_, said)| said.account == account && is_wanted(said));
                    assert_eq!(pages, found, "{kind} {order:?} {most}");
                }
                if order == Order::Descending {
                    found.reverse();
                }
                assert_eq!(found, part, "{kind} {order:?}");
            }
        }
        for order in [Order::Ascending, Order::Descending] {
            let events = Selection::of(1..=last).events_of(account);
            let mut found = read(store, &events, order);
            found.retain(|(_, said)| said.account == account);
            let mut pages = read_in_pages(store, &events, order, 300);
            pages.retain(|(_, said)| said.account == account);
            assert_eq!(pages, found, "{order:?}");
        }
        assert_scans(store, account, &of);
        let users: BTreeMap<_, _> = store
            .users(account, None)
            .map(|user| user.map(|(id, user)| (id, json::to_text(&user.attributes))).unwrap())
            .collect();
        assert_eq!(users, model.users(account));
        answers::assert_answers(store, account, &of);
    }
}

/// What a scan shows, as what was said.
fn scanned(store: &Store, scan: &Scan) -> Vec<(Seq, Said)> {
    let mut all = Vec::new();
    let visit = &mut |piece: &Piece<'_>| {
        for row in 0..piece.len() {
            let user = piece.user(row).map(|number| piece.users()[number as usize].to_owned());
            let kind = piece.kinds().get(piece.kind(row) as usize).map(|kind| (*kind).to_owned());
            let (date, text) = (piece.date(row).millis(), piece.attributes(row).to_owned());
            let context = piece.context(row).map(str::to_owned);
            assert_eq!(piece.via(row), scan.columns.vias.then_some(Via::Secret));
            let came = if scan.columns.received { piece.received_at(row).millis() } else { 0 };
            let account = scan.account;
            all.push((piece.seq(row), Said { account, user, kind, date, came, text, context }));
        }
        Ok(ControlFlow::Continue(()))
    };
    assert_eq!(store.scan(scan, &|| false, visit).unwrap(), Missing::default());
    all
}

fn assert_scans(store: &Store, account: AccountId, of: &[(Seq, Said)]) {
    let date = |millis| Some(Date::from_millis(millis));
    let all = Scan { columns: Columns::ALL, ..Scan::of(account) };
    let kinds = Some(vec!["k1".to_owned(), "none".to_owned()]);
    let some = Columns { dates: true, users: true, ..Columns::default() };
    for scan in [
        all.clone(),
        Scan { from: date(200), to: date(600), ..all.clone() },
        Scan { kinds: kinds.clone(), ..all.clone() },
        Scan { kinds, to: date(300), columns: some, ..all.clone() },
        Scan { kinds: Some(vec!["none".to_owned()]), ..all.clone() },
        Scan { columns: Columns { attributes: true, ..Columns::default() }, ..all.clone() },
        Scan { columns: some, range: 7..=30, ..all.clone() },
        Scan { columns: Columns::default(), ..all.clone() },
    ] {
        let wanted = |(seq, said): &&(Seq, Said)| {
            said.kind.as_ref().is_some_and(|kind| {
                scan.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
                    && scan.from.is_none_or(|from| from.millis() <= said.date)
                    && scan.to.is_none_or(|to| said.date < to.millis())
                    && scan.range.contains(seq)
            })
        };
        let columns = scan.columns;
        let seen = |(seq, said): &(Seq, Said)| {
            let said = said.clone();
            (
                *seq,
                Said {
                    account,
                    user: said.user.filter(|_| columns.users),
                    kind: said.kind.filter(|_| columns.kinds),
                    date: if columns.dates { said.date } else { 0 },
                    came: if columns.received { said.came } else { 0 },
                    text: if columns.attributes { said.text } else { String::new() },
                    context: said.context.filter(|_| columns.contexts),
                },
            )
        };
        let expected: Vec<_> = of.iter().filter(wanted).map(seen).collect();
        assert_eq!(scanned(store, &scan), expected, "{scan:?}");
        assert!(store.rows_to_scan(&scan) >= expected.len() as u64, "{scan:?}");
        assert!(store.rows_to_scan(&scan) <= store.last_seq());
    }
    let k2 = Selection {
        event_type: Some("k2".to_owned()),
        ..Selection::of(1..=Seq::MAX).events_of(account)
    };
    let is_k2 = |said: &Said| said.account == account && said.kind.as_deref() == Some("k2");
    let found = read(store, &k2, Order::Descending).into_iter().filter(|(_, said)| is_k2(said));
    assert!(found.eq(of.iter().rev().filter(|(_, said)| is_k2(said)).cloned()));
    let of_user: Vec<_> =
        of.iter().filter(|(_, said)| said.user.as_deref() == Some("u1")).cloned().collect();
    for (order, range) in [(Order::Ascending, 1..=Seq::MAX), (Order::Descending, 5..=40)] {
        let mut found = Vec::new();
        let visit = &mut |seq, record: &Record<'_>| {
            found.extend(said(record).map(|said| (seq, said)));
            Ok(ControlFlow::Continue(()))
        };
        let missing =
            store.of_user(account, "u1", order, range.clone(), &Stop::never(), visit).unwrap();
        assert_eq!(missing, Missing::default());
        if order == Order::Descending {
            found.reverse();
        }
        let expected: Vec<_> =
            of_user.iter().filter(|(seq, _)| range.contains(seq)).cloned().collect();
        assert_eq!(found, expected, "{order:?} {range:?}");
        let mut updates = Vec::new();
        let visit = &mut |seq, record: &Record<'_>| {
            updates.extend(said(record).map(|said| (seq, said)));
            Ok(ControlFlow::Continue(()))
        };
        store
            .updates_of_user(account, "u1", Order::Ascending, range.clone(), &Stop::never(), visit)
            .unwrap();
        let is_update = |(_, said): &&(Seq, Said)| said.kind.is_none();
        assert!(updates.iter().eq(expected.iter().filter(is_update)), "{range:?}");
    }
}

pub(super) const OTHER: AccountId = AccountId(2);

/// One thing that may happen to a store.
#[derive(Clone, Debug)]
enum Happening {
    Track {
        count: usize,
        seed: u64,
    },
    Seal,
    Keep,
    EraseUser(u8),
    EraseEvents {
        kind: Option<u8>,
        user: Option<u8>,
        from: Option<i64>,
        to: Option<i64>,
    },
    Expire(i64),
    /// Somebody is made, signs in, sees more or less; a link is made, or used.
    People(u64),
    /// An account has another token or zone.
    Account(u64),
    Reopen,
    Rebuild,
    Reindex,
    Fill,
    Spoil(Spoiled, usize),
}

/// What becomes of an index.
#[derive(Clone, Copy, Debug)]
enum Spoiled {
    Flipped,
    Cut,
    Gone,
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
            prop::option::of((0_i64..1_000).prop_map(|n| n * UNIT)),
            prop::option::of((0_i64..1_000).prop_map(|n| n * UNIT)),
        )
            .prop_map(|(kind, user, from, to)| Happening::EraseEvents { kind, user, from, to }),
        1 => (0_i64..500).prop_map(|n| Happening::Expire(n * UNIT)),
        3 => any::<u64>().prop_map(Happening::People),
        1 => any::<u64>().prop_map(Happening::Account),
        1 => Just(Happening::Reopen),
        1 => Just(Happening::Rebuild),
        1 => Just(Happening::Reindex),
        1 => Just(Happening::Fill),
        2 => (
            prop::sample::select(vec![Spoiled::Flipped, Spoiled::Cut, Spoiled::Gone]),
            any::<usize>(),
        )
            .prop_map(|(spoiled, seed)| Happening::Spoil(spoiled, seed)),
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
                let (date, came) = (0, NOW.millis());
                said.push(Said { account, user, kind, date, came, text, context });
                continue;
            }
            let user = Some(user).filter(|_| next(3) > 0);
            let (kind, date) = (format!("k{}", next(3)), next(1_000) as i64 * UNIT);
            // It may claim to come from long after it came. The first tells when a key came.
            let is_late = next(3) == 0 && !drafts.is_empty();
            let came = if is_late { next(1_000) as i64 * UNIT } else { NOW.millis() };
            let text = match next(4) {
                0 => {
                    r#"{"n":"2001-07-04","o":{"s":true,"l":[1,{"x":2}],"o":{"n":null}}}"#.to_owned()
                }
                _ => format!(r#"{{"n":{}.0,"s":"😀"}}"#, next(1_000_000)),
            };
            let context = match next(8) {
                0..4 => None,
                4 => Some(format!(r#"{{"visitor":{}}}"#, next(9))),
                5 => Some(format!(r#"{{"os":"x","visitor":"v{}","bot":true}}"#, next(9))),
                _ => Some(format!(r#"{{"page":"/{0}","visitor":"v{0}"}}"#, next(9))),
            };
            let event = Event {
                account,
                via: Via::Secret,
                kind: &kind,
                user_id: user.as_deref(),
                date: Date::from_millis(date),
                attributes: &text,
                context: context.as_deref(),
            };
            drafts.push(Draft::event(event, Date::from_millis(came)));
            said.push(Said { account, user, kind: Some(kind), date, came, text, context });
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

    /// Changes people a few times. What can't be is refused, and what comes with it.
    fn change_people(&mut self, seed: u64) {
        for n in 0..4 + seed % 8 {
            let seed = seed.wrapping_add(n).wrapping_mul(6_364_136_223_846_793_005) >> 17;
            let people = &self.model.people;
            let some = people.list().get(seed as usize % 5).map(|person| person.id);
            let person = some.unwrap_or(PersonId(3));
            let account = if seed.is_multiple_of(3) { ACCOUNT } else { OTHER };
            let hash = TokenHash([seed as u8 % 7; 32]);
            let (email, password) = (format!("p{}@b", seed % 5), "$argon2id$x");
            let email = email.as_str();
            let change = match seed / 64 % 12 {
                0 | 1 => PersonChange::Made { email, password, account },
                2 => PersonChange::EmailSet { person, email },
                3 => PersonChange::PasswordSet { person, password },
                4 => PersonChange::Joined { person, account },
                5 => PersonChange::Left { person, account },
                6 | 7 => PersonChange::SessionBegun { person, hash, label: "Firefox" },
                8 => PersonChange::SessionEnded { hash },
                9 => PersonChange::SessionsEnded { person, but: Some(hash) },
                10 => PersonChange::LinkMade { hash, account, by_operator: true },
                _ => PersonChange::LinkUsed { hash },
            };
            // A few come as late as ends a link, or a session.
            let at = Date::from_millis(NOW.millis() + (seed % 40) as i64 * 86_400_000);
            let also = PersonChange::LinkMade {
                hash: TokenHash([n as u8 + 100; 32]),
                account,
                by_operator: false,
            };
            let mut model = self.model.people.clone();
            let drafts = vec![Draft::person(also, at), Draft::person(change, at)];
            let next = self.model.last + 1;
            let refused =
                model.apply(next, at, also).and_then(|_| model.apply(next + 1, at, change)).err();
            let outcome = self.writer.as_ref().unwrap().submit_and_wait(drafts);
            match refused {
                Some(refusal) => assert_eq!(outcome, Err(Refusal::Person(refusal))),
                None => {
                    assert_eq!(outcome, Ok(Receipt { first_seq: next, count: 2 }));
                    (self.model.people, self.model.last) = (model, next + 1);
                }
            }
            assert_eq!(*self.store().people(), self.model.people);
        }
    }

    /// Spoils an index, if there is one.
    fn spoil(&self, how: Spoiled, seed: usize) {
        let entries = std::fs::read_dir(self.dir.path().join("segments")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "index"));
        paths.sort_unstable();
        let Some(path) = paths.get(seed % paths.len().max(1)) else { return };
        let mut bytes = std::fs::read(path).unwrap();
        match how {
            Spoiled::Flipped => {
                let at = seed % bytes.len();
                bytes[at] ^= 1 << (seed % 8);
                std::fs::write(path, bytes).unwrap();
            }
            Spoiled::Cut => std::fs::write(path, &bytes[..seed % bytes.len()]).unwrap(),
            Spoiled::Gone => std::fs::remove_file(path).unwrap(),
        }
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
                    let is_older = said.date.min(said.came) < *before;
                    !(said.account == OTHER && said.kind.is_some() && is_older)
                });
            }
            Happening::People(seed) => self.change_people(*seed),
            Happening::Account(seed) => {
                let token = Some(ApiToken(seed.to_be_bytes().repeat(2).try_into().unwrap()));
                let until = Some(NOW).filter(|_| seed % 3 > 0);
                let zone = Some("Europe/Zurich").filter(|_| seed % 2 > 0);
                self.submit(vec![
                    Draft::rotation(OTHER, token, None, until, NOW),
                    Draft::zone(OTHER, zone, NOW),
                ]);
                let accounts = self.store().accounts();
                let account = accounts.get(OTHER).unwrap();
                assert_eq!((Some(account.api_token), account.zone.as_deref()), (token, zone));
                assert_eq!(account.old_token.map(|(_, until)| until), until);
            }
            Happening::Reopen => {
                drop(self.writer.take());
                drop(self.store.take());
                self.store = Some(open(&self.dir));
                self.writer = Some(start(self.store()));
            }
            Happening::Rebuild => self.store().rebuild(&pace()).unwrap(),
            Happening::Reindex => {
                let built = self.store().reindex(&pace(), &mut |_, _| {}).unwrap();
                assert_eq!((built.records, built.left), (built.of, vec![]));
                assert_eq!(self.store().lag().segments, 0);
            }
            Happening::Fill => self.store().fill_newest(),
            Happening::Spoil(how, seed) => self.spoil(*how, *seed),
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
        // What is wrong with an index is told, and mended.
        whole.store().verify(NOW, &pace(), &mut |finding| {
            assert!(finding.place.ends_with(".index"), "{finding:?}");
        }).unwrap();
        whole.happen(&Happening::Reindex);
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
        let files = std::fs::read_dir(whole.dir.path().join("segments")).unwrap().count() / 2;
        assert_eq!(files, store.sizes().unwrap().segments);
        assert!(files <= 2 * 15, "{files} in round {round}");
    }
    assert_reads(whole.store(), &whole.model);
    compact(whole.store(), Urgency::Now);
    assert_eq!(whole.store().sizes().unwrap().segments, 2);
    assert_reads(whole.store(), &whole.model);
}

/// Where an index knows that a segment has none of the type that is asked for, it isn't read.
#[test]
fn the_newest_of_a_type_is_found_without_reading_others() {
    let mut whole = Whole::new();
    let rare = whole.submit(vec![event("rare")]);
    compact(whole.store(), Urgency::Now);
    for _ in 0..50 {
        whole.submit(vec![event("often")]);
    }
    let store = whole.store();
    let later = Date::from_millis(NOW.millis() + SEAL_AGE.as_millis() as i64);
    store.compact(Urgency::InTime, later, &pace()).unwrap();
    assert_eq!(store.sizes().unwrap().segments, 2);
    let filter = EventFilter {
        account: ACCOUNT,
        kind: Some("rare".to_owned()),
        user_id: None,
        from: None,
        to: None,
    };
    let shown = read(store, &Selection::matching(&filter), Order::Descending);
    assert_eq!(shown.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [rare]);
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
fn a_scan_is_overtaken() {
    let mut whole = Whole::new();
    whole.track(400, 1);
    compact(whole.store(), Urgency::Now);
    for round in 2..18 {
        whole.track(400, round);
    }
    let store = Arc::clone(whole.store());
    let of_account = |said: &Said| said.account == ACCOUNT;
    let is_u1 = |said: &Said| of_account(said) && said.user.as_deref() == Some("u1");
    let log = whole.model.log.iter();
    let of_u1: Vec<Seq> = log.filter(|(_, said)| is_u1(said)).map(|(seq, _)| *seq).collect();
    let mut back = Vec::new();
    let range = 1..=Seq::MAX;
    store
        .of_user(ACCOUNT, "u1", Order::Descending, range, &Stop::never(), &mut |seq, _| {
            if back.len() == 3 {
                compact(&store, Urgency::Now);
            }
            back.push(seq);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert!(back.iter().rev().eq(&of_u1));
    let sealed = *of_u1.last().expect("u1 has some");
    for round in 0..16 {
        whole.track(400, 100 + round);
    }
    let (mut forth, mut is_overtaken) = (Vec::new(), false);
    store
        .of_user(ACCOUNT, "u1", Order::Ascending, 1..=Seq::MAX, &Stop::never(), &mut |seq, _| {
            // The first of the hot end.
            if seq > sealed && !is_overtaken {
                is_overtaken = true;
                compact(&store, Urgency::Now);
            }
            forth.push(seq);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let of_u1 = whole.model.log.iter().filter(|(_, said)| is_u1(said));
    assert!(is_overtaken && of_u1.map(|(seq, _)| *seq).eq(forth));
    let is_event = |said: &Said| of_account(said) && said.kind.is_some();
    let before = whole.model.log.values().filter(|said| is_event(said)).count();
    for round in 0..16 {
        whole.track(400, 200 + round);
    }
    let (mut seen, mut pieces) = (Vec::new(), 0);
    let scan = Scan { columns: Columns::ALL, ..Scan::of(ACCOUNT) };
    store
        .scan(&scan, &|| false, &mut |piece| {
            seen.extend((0..piece.len()).map(|row| piece.seq(row)));
            pieces += 1;
            // The first of the hot end.
            if seen.len() > before && pieces > 1 {
                compact(&store, Urgency::Now);
                pieces = i32::MIN;
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let log = whole.model.log.iter().filter(|(_, said)| is_event(said));
    assert!(pieces < 0 && log.map(|(seq, _)| *seq).eq(seen));
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
        .find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("1-") && name.ends_with(".parquet")
        })
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
        let hot: Vec<_> = expected.iter().filter(|(_, said)| !of_other(said)).collect();
        let mut rows = 0;
        let scan = Scan { columns: Columns::ALL, ..Scan::of(ACCOUNT) };
        let scanned = store.scan(&scan, &|| false, &mut |piece| {
            rows += piece.len();
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(scanned.unwrap(), missing, "{spoil}");
        assert_eq!(rows, hot.iter().filter(|(_, said)| said.kind.is_some()).count(), "{spoil}");
        let mut records = 0;
        let range = 1..=Seq::MAX;
        let of_user =
            store.of_user(ACCOUNT, "u1", Order::Descending, range, &Stop::never(), &mut |_, _| {
                records += 1;
                Ok(ControlFlow::Continue(()))
            });
        assert_eq!(of_user.unwrap(), missing, "{spoil}");
        let is_u1 = |(_, said): &&&(Seq, Said)| said.user.as_deref() == Some("u1");
        assert_eq!(records, hot.iter().filter(is_u1).count(), "{spoil}");
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

/// Where no index leads to one user's records, others are read as well: up to a bound, and until told to stop.
#[test]
fn one_user_without_an_index_has_a_bound_and_an_end() {
    let mut whole = Whole::new();
    whole.track(400, 1);
    compact(whole.store(), Urgency::Now);
    whole.track(400, 2);
    let store = Arc::clone(whole.store());
    let read = |order, rows_max, asked: &dyn Fn() -> bool| {
        let mut count = 0_u64;
        let stop = Stop::new(rows_max, asked);
        let each = &mut |_: Seq, _: &Record<'_>| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        };
        let read = store.of_user(ACCOUNT, "u1", order, 1..=Seq::MAX, &stop, each);
        read.map(|_| (count, rows_max - stop.left()))
    };
    let (all, rows) = read(Order::Ascending, u64::MAX, &|| false).unwrap();
    assert!(all > 0);
    assert_eq!(rows, 0, "the index leads to all of them");
    for sealed in store.tiers.view().of(ACCOUNT) {
        sealed.set_index(None);
    }
    for order in [Order::Ascending, Order::Descending] {
        let (found, rows) = read(order, u64::MAX, &|| false).unwrap();
        assert_eq!(found, all);
        assert!(rows > all, "those of others too: {rows}");
        assert_eq!(read(order, rows, &|| false).unwrap(), (all, rows));
        let refused = read(order, 0, &|| false);
        assert!(matches!(refused, Err(Error::TooMuch { rows: 1.., rows_max: 0 })), "{refused:?}");
        let asked = std::cell::Cell::new(0_u32);
        let count = || {
            asked.set(asked.get() + 1);
            false
        };
        read(order, u64::MAX, &count).unwrap();
        for at in 0..asked.get() {
            let left = std::cell::Cell::new(at);
            let stop = || left.replace(left.get().saturating_sub(1)) == 0;
            let stopped = read(order, u64::MAX, &stop);
            assert!(matches!(stopped, Err(Error::Stopped)), "{order:?} at {at}: {stopped:?}");
        }
    }
}
