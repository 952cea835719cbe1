//! What any bytes at rest have to keep to: they are refused, or what they say is written as it was read.
//!
//! Checksums are made right here, since no change of a byte would come behind one.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use sha2::{Digest as _, Sha256};
use sled::IVec;

use super::batch::{BatchView, ENTRY_BYTES_MAX, EncodedBatch, decode_record, encode_record};
use super::codec::{Input, seal_as};
use super::holes::Holes;
use super::{Draft, Order, Pace, Selection, Store, Urgency, Writer};
use super::{backup, high_water, manifest, once, people, state, types};
use crate::model::erasure::{Digest, Scope};
use crate::model::limits::{ATTRIBUTES_MAX, CONTEXT_BYTES_MAX, DEPTH_MAX, TYPE_BYTES_MAX};
use crate::model::overrides::{AttributeName, Kind};
use crate::model::record::{Event, Keyed, Progress, UserPatch};
use crate::model::{
    Account, AccountId, AccountName, ApiToken, Change, DataType, Date, Id, People, PersonChange,
    PersonId, Record, SecretHash, Seq, Sites, TokenHash, User, Via, json,
};

/// Rows and users that are read of a store.
const ROWS_MAX: usize = 1_000;

/// Formats of values that there are, and one that there isn't.
const FORMATS: u8 = 5;

/// The record that a call's draft becomes, which is within all bounds.
pub(crate) fn stored(draft: &Draft) -> Record<'_> {
    let bytes = &draft.encoded;
    assert!(bytes.len() + 32 <= ENTRY_BYTES_MAX, "{} bytes", bytes.len());
    let record = decode_record(bytes).expect("it can be read");
    assert_eq!(&encode_record(&record), bytes);
    let (id, attributes, context) = match record.change {
        Change::Event(Event { kind, user_id, attributes, context, .. }) => {
            assert!((1..=TYPE_BYTES_MAX).contains(&kind.len()), "{kind}");
            (user_id, attributes, context)
        }
        Change::User(UserPatch { id, patch, context, .. }) => (Some(id), patch, context),
        _ => return record,
    };
    assert!(id.is_none_or(|id| Id::new(id).is_ok()), "{id:?}");
    let object = json::parse_object(attributes, DEPTH_MAX).expect("an object");
    assert!(object.len() <= ATTRIBUTES_MAX);
    assert_eq!(json::to_text(&object), attributes);
    assert!(context.is_none_or(|context| context.len() <= CONTEXT_BYTES_MAX));
    record
}

/// Takes bytes for what is at rest; the first says for what.
pub(crate) fn at_rest(bytes: &[u8]) {
    let Some((what, bytes)) = bytes.split_first() else { return };
    match what % 6 {
        0 => record(bytes),
        1 => batch(bytes),
        2 => value(bytes),
        3 => noted(bytes),
        4 => holes(bytes),
        _ => backed_up(bytes),
    }
}

fn record(bytes: &[u8]) {
    if let Ok(record) = decode_record(bytes) {
        let again = encode_record(&record);
        assert_eq!(decode_record(&again), Ok(record));
    }
}

fn batch(bytes: &[u8]) {
    let _ = BatchView::decode(1, bytes).map(|view| view.records().count());
    for first_seq in [1, Seq::MAX - 1] {
        // The format and the checksum, in front of what stands for itself.
        let sealed = seal_as(1, &first_seq.to_be_bytes(), |out| out.extend_from_slice(bytes));
        let Ok(view) = BatchView::decode(first_seq, &sealed) else { continue };
        let Ok(records) = view.records().collect::<Result<Vec<_>, _>>() else { continue };
        let texts: Vec<_> = records.iter().map(|(_, record)| encode_record(record)).collect();
        let again = EncodedBatch::of(first_seq, texts.iter().map(Vec::as_slice));
        let view = BatchView::decode(first_seq, again.bytes()).expect("it was just written");
        assert_eq!(view.records().collect::<Result<Vec<_>, _>>(), Ok(records));
    }
}

/// A value of the state or of the manifest: the length of its key, its format, its key, and the rest.
fn value(bytes: &[u8]) {
    let [length, format, rest @ ..] = bytes else { return };
    let Some((key, body)) = rest.split_at_checked(usize::from(*length) % 40) else { return };
    let value = seal_as(format % FORMATS, key, |out| out.extend_from_slice(body));
    if let Ok(user) = state::decode_user(key, &value) {
        let text = json::to_text(&user.attributes);
        let again = state::encode_user(key, &user, &text);
        assert_eq!(state::decode_user(key, &again).ok(), Some(user));
    }
    if let Ok(account) = state::decode_account(key, &value) {
        let again = state::encode_account(key, &account);
        assert_eq!(state::decode_account(key, &again), Ok(account));
    }
    if let Ok(progress) = state::decode_import(key, &value) {
        let again = state::encode_import(key, &progress);
        assert_eq!(state::decode_import(key, &again), Ok(progress));
    }
    if let Ok((person, sessions)) = people::decode(key, &value) {
        let sessions: Vec<_> = sessions.into_iter().map(Arc::new).collect();
        let key = people::key(person.id);
        let again = people::encode(&key, &person, &sessions);
        let (same, sessions_again) = people::decode(&key, &again).expect("it was just written");
        assert_eq!((&same, sessions_again.len()), (&person, sessions.len()));
        assert!(sessions_again.iter().zip(&sessions).all(|(again, one)| *again == **one));
    }
    let value_of_links = seal_as(1, people::LINKS, |out| out.extend_from_slice(body));
    if let Ok(links) = people::decode_links(&value_of_links) {
        let again = people::encode_links(&links);
        assert_eq!(people::decode_links(&again), Ok(links));
    }
    if let Ok(set) = types::decode(key, &value) {
        let again = types::key(set.account, set.events, set.attribute);
        let value = types::encode(&again, set.data_type);
        assert_eq!(types::decode(&again, &value), Ok(set));
    }
    if let Ok(stored) = once::decode(key, &value) {
        let keyed = Keyed { key: Digest([0; 16]), count: stored.count };
        let again = once::encode(key, keyed, stored.first_seq, stored.received_at);
        assert_eq!(once::decode(key, &again), Ok(stored));
        let _ = stored.is_in_force(Date::from_millis(0));
    }
    let _ = manifest::decode_summary(&IVec::from(key), &IVec::from(value));
}

fn noted(bytes: &[u8]) {
    let (seq, step) = high_water::read(bytes);
    assert_eq!(high_water::read(high_water::line(seq, step).as_bytes()), (seq, step));
}

fn holes(bytes: &[u8]) {
    if let Ok(holes) = Holes::decode(&mut Input(bytes)) {
        let mut again = Vec::new();
        holes.encode(&mut again);
        let again = Holes::decode(&mut Input(&again)).expect("it was just written");
        assert_eq!(again.ranges(), holes.ranges());
        let _ = (holes.count(), holes.first());
    }
}

fn backed_up(bytes: &[u8]) {
    let _ = backup::check(bytes);
    let whole = backup_of(bytes);
    if let Ok(held) = backup::check(&*whole) {
        assert_eq!(held.bytes, whole.len() as u64);
    }
}

/// Restores a backup: it is refused, and nothing is left of it, or there is a store that opens again, reads,
/// is verified and goes on.
pub(crate) fn restored(bytes: &[u8]) {
    let folder = Folder::new();
    let dir = folder.0.as_path();
    let Ok(held) = backup::restore(dir, &*backup_of(bytes)) else {
        let left = fs::read_dir(dir).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left of what was refused");
        return;
    };
    let store = Store::open(dir).expect("what was restored can be opened");
    assert_eq!(store.last_seq(), held.last_seq);
    let accounts = store.accounts();
    for account in accounts.list() {
        let _ = store.users(account.id, None).take(ROWS_MAX).count();
    }
    let mut rows = 0;
    let _ = store.select(&Selection::of(1..=Seq::MAX), Order::Ascending, &mut |_, _| {
        rows += 1;
        Ok(if rows < ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    let (now, pace) = (Date::from_millis(1_700_000_000_000), Pace { go_on: &|| true });
    let _ = store.verify(now, &pace, &mut |_| {});
    let store = Arc::new(store);
    let writer = Writer::start(Arc::clone(&store), store.flusher()).expect("a thread");
    let account = accounts.list().first().map_or(AccountId(7), |account| account.id);
    let event = Event {
        account,
        via: Via::Secret,
        kind: "view",
        user_id: Some("zoe"),
        date: now,
        attributes: "{}",
        context: None,
    };
    let before = store.last_seq();
    if writer.submit_and_wait(vec![Draft::event(event, now)]).is_ok() {
        assert_eq!(Some(store.last_seq()), before.checked_add(1));
    }
    let _ = store.compact(Urgency::Now, now, &pace);
    writer.close();
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, SeqCst);
        let name = format!("triggerly-fuzz-{}-{number}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It need not have been made.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A backup of these sections: of each its kind, its length in two bytes, and what is in it. What has a
/// checksum of its own in there stands without: an entry as the length of its key, the key, a format and
/// a body; a batch as its first `seq` and its body.
fn backup_of(bytes: &[u8]) -> Vec<u8> {
    let mut whole = b"triggerly backup 1\n".to_vec();
    let mut section = |kind: u8, body: &[u8]| {
        let start = whole.len();
        whole.push(kind);
        whole.extend_from_slice(&(body.len() as u64).to_le_bytes());
        whole.extend_from_slice(body);
        let crc = crc32fast::hash(&whole[start..]);
        whole.extend_from_slice(&crc.to_le_bytes());
    };
    let mut rest = bytes;
    while let [kind, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let body = &after[..length];
        rest = &after[length..];
        let sealed = match (kind, body) {
            (b'M', [key_length, keyed @ ..]) => {
                let key = keyed.split_at_checked(usize::from(*key_length));
                key.and_then(|(key, value)| {
                    let (format, inner) = value.split_first()?;
                    let value = seal_as(*format, key, |out| out.extend_from_slice(inner));
                    Some([&[*key_length], key, &value].concat())
                })
            }
            (b'B', body) => body.split_first_chunk::<8>().map(|(first_seq, inner)| {
                let batch = seal_as(1, first_seq, |out| out.extend_from_slice(inner));
                [&first_seq[..], &batch].concat()
            }),
            _ => None,
        };
        section(*kind, sealed.as_deref().unwrap_or(body));
    }
    let hash = Sha256::digest(&whole);
    let start = whole.len();
    whole.extend_from_slice(b"E\x20\0\0\0\0\0\0\0");
    whole.extend_from_slice(&hash);
    let crc = crc32fast::hash(&whole[start..]);
    whole.extend_from_slice(&crc.to_le_bytes());
    whole
}

/// The sections that [`backup_of`] makes a backup of, of one.
fn sections(backup: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &backup[b"triggerly backup 1\n".len()..];
    while let [kind, length @ ..] = rest
        && *kind != b'E'
    {
        let (length, after) = length.split_first_chunk().expect("a length");
        let length = usize::try_from(u64::from_le_bytes(*length)).expect("it is small");
        let body = &after[..length];
        rest = &after[length + 4..];
        let body = match kind {
            b'M' => {
                let key_end = 1 + usize::from(body[0]);
                [&body[..=key_end], &body[key_end + 5..]].concat()
            }
            b'B' => [&body[..8], &body[13..]].concat(),
            _ => body.to_vec(),
        };
        out.push(*kind);
        out.extend_from_slice(&u16::try_from(body.len()).expect("it is small").to_le_bytes());
        out.extend_from_slice(&body);
    }
    out
}

/// Backups of a store with some of everything, as it grows.
pub(crate) fn backups() -> Vec<Vec<u8>> {
    let folder = Folder::new();
    let store = Arc::new(Store::open(&folder.0).expect("a new store"));
    let writer = Writer::start(Arc::clone(&store), store.flusher()).expect("a thread");
    let now = Date::from_millis(1_700_000_000_000);
    let submit = |drafts: Vec<Draft>| {
        writer.submit_and_wait(drafts).expect("it is accepted");
    };
    let backup = || {
        let mut out = Vec::new();
        store.backup(&mut out).expect("it can be read");
        sections(&out)
    };
    let compact = || {
        let compacted = store.compact(Urgency::Now, now, &Pace { go_on: &|| true });
        compacted.expect("it can be sealed");
    };
    let account = AccountId(1);
    let event = |n: i64| {
        let (via, date, context) = (Via::Public, Date::from_millis(n), None);
        let (kind, user_id, attributes) = ("view", Some("zoe"), "{}");
        let event = Event { account, via, kind, user_id, date, attributes, context };
        Draft::event(event, now)
    };
    let user = |id: &str| {
        let patch = json::parse_object(r#"{"plan":"free"}"#, 9).expect("an object");
        Draft::user(account, Via::Secret, &Id::new(id).expect("an id"), &patch, None, now)
    };
    let mut backups = vec![backup()];
    let name = AccountName::new("shop").expect("a name");
    submit(vec![Draft::account(name, ApiToken([1; 16]), SecretHash([2; 32]), now)]);
    submit(vec![event(1), user("zoe"), event(2)]);
    backups.push(backup());
    compact();
    backups.push(backup());
    submit(vec![user("max"), event(3), Draft::retention(account, Some(30), now)]);
    submit(vec![Draft::user_erasure(account, Id::new("zoe").expect("an id"), now), event(4)]);
    backups.push(backup());
    compact();
    let scope = Scope::Events { kind: None, user_id: None, from: None, to: Some(now) };
    submit(vec![Draft::event_erasure(account, scope, now), event(5)]);
    submit(vec![Draft::sites(account, Sites::parse("a.example").ok(), now)]);
    let attribute = AttributeName::new("n").expect("a name");
    submit(vec![Draft::data_type(account, Kind::User, attribute, Some(DataType::Number), now)]);
    submit(vec![Draft::zone(account, Some("Europe/Zurich"), now)]);
    let hash = TokenHash([3; 32]);
    let made = PersonChange::LinkMade { hash, account, by_operator: true };
    submit(vec![Draft::person(made, now)]);
    let (email, password) = ("zoe@a.example", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA");
    submit(vec![Draft::person(PersonChange::Made { email, password, account }, now)]);
    let person = PersonId(store.last_seq());
    let begun = PersonChange::SessionBegun { person, hash, label: "Firefox on Linux" };
    submit(vec![Draft::person(begun, now)]);
    backups.push(backup());
    writer.close();
    backups
}

/// What lies in a store, for each kind of it.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let account = AccountId(7);
    let event = Event {
        account,
        via: Via::Public,
        kind: "view",
        user_id: Some("zoe"),
        date: Date::from_millis(-5),
        attributes: r#"{"n":1.0}"#,
        context: Some(r#"{"os":"Linux"}"#),
    };
    let (via, id, patch) = (Via::Import, "zoe", r#"{"plan":null}"#);
    let digest = Some(Digest([1; 16]));
    let (from, to) = (Some(Date::from_millis(1)), Some(Date::from_millis(2)));
    let scope = Scope::Events { kind: digest, user_id: digest, from, to };
    let progress = Progress { import: 3, users: true, lines: 300, digest: [4; 16] };
    let (api_token, secret_hash) = (ApiToken([5; 16]), SecretHash([6; 32]));
    let rotated = |old_token_until| Change::AccountRotated {
        account,
        api_token: Some(api_token),
        secret_hash: None,
        old_token_until,
    };
    let changes = [
        Change::Event(event),
        Change::Event(Event { user_id: None, context: None, ..event }),
        Change::User(UserPatch { account, via, id, patch, context: None }),
        Change::User(UserPatch { account, via, id, patch, context: event.context }),
        Change::AccountMade { name: "shop", api_token, secret_hash },
        rotated(None),
        rotated(Some(Date::from_millis(9))),
        Change::ZoneSet { account, zone: Some("Europe/Zurich") },
        Change::RetentionSet { account, days: Some(30) },
        Change::SitesSet { account, sites: Some("*.a.example") },
        Change::TypeSet { account, events: None, attribute: "a.b", data_type: None },
        Change::TypeSet {
            account,
            events: Some("view"),
            attribute: "n",
            data_type: Some(DataType::Date),
        },
        Change::Erased { account, scope },
        Change::Erased { account, scope: Scope::User(Digest([2; 16])) },
        Change::Erased { account, scope: Scope::Expired { before: Date::from_millis(9) } },
        Change::Imported { account, progress },
    ];
    let received_at = Date::from_millis(1_700_000_000_000);
    let keyed = Some(Keyed { key: Digest([8; 16]), count: 2 });
    let encode = |(n, change): (usize, &Change<'_>)| {
        let keyed = keyed.filter(|_| n % 3 == 0);
        encode_record(&Record { received_at, keyed, change: *change })
    };
    let of_people: Vec<_> = people::samples().into_iter().map(Change::Person).collect();
    let changes = changes.iter().chain(&of_people);
    let records: Vec<Vec<u8>> = changes.enumerate().map(encode).collect();
    let of = |what: u8, body: &[u8]| [&[what][..], body].concat();
    let mut seeds: Vec<_> = records.iter().map(|record| of(0, record)).collect();
    let batch = EncodedBatch::of(1, records.iter().map(Vec::as_slice));
    seeds.push(of(1, batch.bytes()));
    seeds.push(of(1, &batch.bytes()[5..]));
    // Without the format and the checksum that are made here.
    let mut value = |format: u8, key: &[u8], sealed: &[u8]| {
        seeds.push([&[2, key.len() as u8, format], key, &sealed[5..]].concat());
    };
    let key = state::user_key(account, "zoe");
    let user = User::new(received_at);
    value(1, &key, &state::encode_user(&key, &user, patch));
    let key = state::import_key(account, Some(3));
    value(1, &key, &state::encode_import(&key, &progress));
    let key = types::key(account, Some("view"), "n");
    value(1, &key, &types::encode(&key, DataType::Number));
    let key = [b"a", &7_u64.to_be_bytes()[..]].concat();
    for (format, retention_days, sites, zone) in [
        (1, None, None, None),
        (2, Some(30), None, None),
        (3, None, Some("a.example"), None),
        (4, None, None, Some("Europe/Zurich")),
    ] {
        let name = AccountName::new("shop").expect("a name");
        let mut account = Account::new(account, name, api_token, secret_hash, received_at);
        account.retention_days = retention_days;
        account.sites = sites.and_then(|sites| Sites::parse(sites).ok());
        account.zone = zone.map(Box::from);
        account.old_token = zone.map(|_| (api_token, received_at));
        value(format, &key, &state::encode_account(&key, &account));
    }
    let mut all = People::default();
    let of_people = people::samples().into_iter().filter(|change| change.account().is_some());
    (1..).zip(of_people).for_each(|(seq, change)| {
        let _ = all.apply(seq, received_at, change);
    });
    let person = all.list().first().cloned().expect("one was made");
    let hash = TokenHash([9; 32]);
    let began = PersonChange::SessionBegun { person: person.id, hash, label: "Firefox on Linux" };
    all.apply(99, received_at, began).expect("it can begin");
    let key = people::key(person.id);
    value(1, &key, &people::encode(&key, &person, all.sessions_of(person.id)));
    value(1, people::LINKS, &people::encode_links(all.links()));
    let key = once::row_key(received_at, Digest([8; 16]));
    let keyed = Keyed { key: Digest([8; 16]), count: 2 };
    value(1, &key, &once::encode(&key, keyed, 5, received_at));
    let summary =
        seal_as(1, b"s", |out| out.extend_from_slice(&[7, 1, 9, 3, 4, 99, 5, 20, 6, 1, 2, 4]));
    value(1, b"s", &summary);
    seeds.push(of(3, high_water::line(70, 7).repeat(2).as_bytes()));
    seeds.push(of(3, b"77\n"));
    seeds.push(of(4, &[2, 1, 3, 5, 0]));
    let mut backup = Vec::new();
    let mut section = |kind: u8, body: &[u8]| {
        backup.push(kind);
        backup.extend_from_slice(&(body.len() as u16).to_le_bytes());
        backup.extend_from_slice(body);
    };
    section(b'H', &[12_u64, 1, 4].map(u64::to_le_bytes).concat());
    section(b'M', b"\x01p\x01value");
    section(b'B', &[&1_u64.to_be_bytes()[..], &batch.bytes()[5..]].concat());
    section(b'S', b"\x0f7-1-9-3.parquetPAR1");
    seeds.push(of(5, &backup));
    seeds
}
