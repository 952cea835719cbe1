//! How a batch of records lies in the log.
//!
//! ```text
//! batch    format (1 byte, 1) · CRC-32 (4, little-endian) · count · record*
//! record   length · [10 · key (16) · count] · kind (1 byte) · received_at · the kind's fields
//! ```
//! Numbers are LEB128, dates milliseconds in ZigZag, texts have their length in front. The checksum
//! covers the first `seq`, so that a batch under another's key is found out too. Records have the
//! `seq`s that follow from the first. Decoding never panics, whatever the bytes.

use super::codec::{Input, Malformed, put_date, put_str, put_u64};
use super::people::{put_person_change, take_person_change};
use crate::model::erasure::{Digest, Scope};
use crate::model::record::{Event, Keyed, Progress, UserPatch};
use crate::model::{AccountId, ApiToken, Change, DataType, Record, SecretHash, Seq, Via};

/// The format that this program writes.
const FORMAT: u8 = 1;

/// Bytes of one entry of the log: the largest that can't push a leaf of sled's out of its file.
pub const ENTRY_BYTES_MAX: usize = 96 * 1024;

const HEAD_BYTES: usize = 5;

const EVENT: u8 = 1;
const USER: u8 = 2;
const ACCOUNT_MADE: u8 = 3;
const ACCOUNT_ROTATED: u8 = 4;
const RETENTION_SET: u8 = 5;
const ERASED: u8 = 6;
const IMPORTED: u8 = 7;
// Since format 3 of the directory.
const EVENT_IN_CONTEXT: u8 = 8;
const USER_IN_CONTEXT: u8 = 9;
/// Stands before another kind: the first record of a submission that has a key.
const KEYED: u8 = 10;
const SITES_SET: u8 = 11;
// Since format 4 of the directory: a program that knows format 3 doesn't know it.
const TYPE_SET: u8 = 12;
// Since format 5 of the directory.
const PERSON: u8 = 13;
const ZONE_SET: u8 = 14;
/// As `ACCOUNT_ROTATED`, with until when the old token is still taken.
const ACCOUNT_ROTATED_LATER: u8 = 15;

const SCOPE_USER: u8 = 1;
const SCOPE_EVENTS: u8 = 2;
const SCOPE_EXPIRED: u8 = 3;

/// Bytes that the fields of a record take beside its texts, roughly: it is allotted only once.
const FIELDS_BYTES: usize = 64;

/// Bytes of a record's texts.
fn text_bytes(change: &Change<'_>) -> usize {
    match change {
        Change::Event(event) => {
            let texts = [event.user_id, Some(event.attributes), event.context];
            event.kind.len() + texts.iter().flatten().map(|text| text.len()).sum::<usize>()
        }
        Change::User(user) => user.id.len() + user.patch.len() + user.context.map_or(0, str::len),
        Change::AccountMade { name, .. } => name.len(),
        Change::SitesSet { sites, .. } => sites.map_or(0, str::len),
        Change::TypeSet { events, attribute, .. } => events.map_or(0, str::len) + attribute.len(),
        Change::ZoneSet { zone, .. } => zone.map_or(0, str::len),
        // An address, what is kept of a password, a token's hash: mostly one of them.
        Change::Person(_) => FIELDS_BYTES,
        _ => 0,
    }
}

/// Encodes one record; its `seq` comes from its place in a batch.
pub(super) fn encode_record(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text_bytes(&record.change) + FIELDS_BYTES);
    record.keyed.iter().for_each(|keyed| put_keyed(&mut out, *keyed));
    match record.change {
        Change::Event(event) => {
            out.push(if event.context.is_some() { EVENT_IN_CONTEXT } else { EVENT });
            put_date(&mut out, record.received_at);
            put_u64(&mut out, event.account.0);
            out.push(encode_via(event.via));
            put_str(&mut out, event.kind);
            // No user has an empty id, so the empty text is free to mean none.
            put_str(&mut out, event.user_id.unwrap_or_default());
            put_date(&mut out, event.date);
            put_str(&mut out, event.attributes);
            event.context.iter().for_each(|context| put_str(&mut out, context));
        }
        Change::User(user) => {
            out.push(if user.context.is_some() { USER_IN_CONTEXT } else { USER });
            put_date(&mut out, record.received_at);
            put_u64(&mut out, user.account.0);
            out.push(encode_via(user.via));
            put_str(&mut out, user.id);
            put_str(&mut out, user.patch);
            user.context.iter().for_each(|context| put_str(&mut out, context));
        }
        Change::AccountMade { name, api_token, secret_hash } => {
            out.push(ACCOUNT_MADE);
            put_date(&mut out, record.received_at);
            put_str(&mut out, name);
            out.extend_from_slice(&api_token.0);
            out.extend_from_slice(&secret_hash.0);
        }
        Change::AccountRotated { account, api_token, secret_hash, old_token_until } => {
            let lives_on = old_token_until.is_some();
            out.push(if lives_on { ACCOUNT_ROTATED_LATER } else { ACCOUNT_ROTATED });
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            out.push(u8::from(api_token.is_some()) | u8::from(secret_hash.is_some()) << 1);
            out.extend(api_token.iter().flat_map(|token| token.0));
            out.extend(secret_hash.iter().flat_map(|hash| hash.0));
            old_token_until.iter().for_each(|until| put_date(&mut out, *until));
        }
        Change::RetentionSet { account, days } => {
            out.push(RETENTION_SET);
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            // Nothing is kept for no days, so 0 is free to mean for ever.
            put_u64(&mut out, u64::from(days.unwrap_or_default()));
        }
        Change::SitesSet { account, sites } => {
            out.push(SITES_SET);
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            // No list is empty, so that the empty text is free to mean none.
            put_str(&mut out, sites.unwrap_or_default());
        }
        Change::TypeSet { account, events, attribute, data_type } => {
            out.push(TYPE_SET);
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            // No type of events is empty, so the empty text is free to mean users.
            put_str(&mut out, events.unwrap_or_default());
            put_str(&mut out, attribute);
            out.push(data_type.map_or(0, encode_type));
        }
        Change::ZoneSet { account, zone } => {
            out.push(ZONE_SET);
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            // No zone's name is empty, so the empty text is free to mean none.
            put_str(&mut out, zone.unwrap_or_default());
        }
        Change::Person(change) => {
            out.push(PERSON);
            put_date(&mut out, record.received_at);
            put_person_change(&mut out, change);
        }
        Change::Erased { account, scope } => {
            out.push(ERASED);
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            put_scope(&mut out, scope);
        }
        Change::Imported { account, progress } => {
            out.push(IMPORTED);
            put_date(&mut out, record.received_at);
            put_u64(&mut out, account.0);
            put_u64(&mut out, progress.import);
            out.push(u8::from(progress.users));
            put_u64(&mut out, progress.lines);
            out.extend_from_slice(&progress.digest);
        }
    }
    out
}

fn put_keyed(out: &mut Vec<u8>, keyed: Keyed) {
    out.push(KEYED);
    out.extend_from_slice(&keyed.key.0);
    put_u64(out, keyed.count);
}

/// The same record, as the first of a submission that has a key.
pub(super) fn with_key(encoded: &[u8], keyed: Keyed) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len() + FIELDS_BYTES);
    put_keyed(&mut out, keyed);
    out.extend_from_slice(encoded);
    out
}

fn put_scope(out: &mut Vec<u8>, scope: Scope) {
    match scope {
        Scope::User(digest) => {
            out.push(SCOPE_USER);
            out.extend_from_slice(&digest.0);
        }
        Scope::Events { kind, user_id, from, to } => {
            out.push(SCOPE_EVENTS);
            let given = [kind.is_some(), user_id.is_some(), from.is_some(), to.is_some()];
            out.push(given.iter().rev().fold(0, |bits, bit| bits << 1 | u8::from(*bit)));
            out.extend(kind.iter().chain(&user_id).flat_map(|digest| digest.0));
            from.iter().chain(&to).for_each(|date| put_date(out, *date));
        }
        Scope::Expired { before } => {
            out.push(SCOPE_EXPIRED);
            put_date(out, before);
        }
    }
}

fn take_scope(input: &mut Input<'_>) -> Result<Scope, Malformed> {
    match input.byte()? {
        SCOPE_USER => Ok(Scope::User(Digest(input.array()?))),
        SCOPE_EVENTS => {
            let given = input.byte()?;
            let mut digest = |bit| (given & bit != 0).then(|| input.array()).transpose();
            let (kind, user_id) = (digest(1)?.map(Digest), digest(2)?.map(Digest));
            let mut date = |bit| (given & bit != 0).then(|| input.date()).transpose();
            Ok(Scope::Events { kind, user_id, from: date(4)?, to: date(8)? })
        }
        SCOPE_EXPIRED => Ok(Scope::Expired { before: input.date()? }),
        _ => Err(Malformed("an erasure has an unknown scope")),
    }
}

/// Takes one record apart that [`encode_record`] put together.
pub(super) fn decode_record(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut input = Input(bytes);
    let (mut kind, mut keyed) = (input.byte()?, None);
    if kind == KEYED {
        keyed = Some(Keyed { key: Digest(input.array()?), count: input.u64()? });
        kind = input.byte()?;
    }
    let received_at = input.date()?;
    let change = match kind {
        EVENT | EVENT_IN_CONTEXT => Change::Event(Event {
            account: AccountId(input.u64()?),
            via: decode_via(input.byte()?)?,
            kind: input.str()?,
            user_id: Some(input.str()?).filter(|id| !id.is_empty()),
            date: input.date()?,
            attributes: input.str()?,
            context: (kind == EVENT_IN_CONTEXT).then(|| input.str()).transpose()?,
        }),
        USER | USER_IN_CONTEXT => Change::User(UserPatch {
            account: AccountId(input.u64()?),
            via: decode_via(input.byte()?)?,
            id: input.str()?,
            patch: input.str()?,
            context: (kind == USER_IN_CONTEXT).then(|| input.str()).transpose()?,
        }),
        ACCOUNT_MADE => Change::AccountMade {
            name: input.str()?,
            api_token: ApiToken(input.array()?),
            secret_hash: SecretHash(input.array()?),
        },
        ACCOUNT_ROTATED | ACCOUNT_ROTATED_LATER => {
            let account = AccountId(input.u64()?);
            let which = input.byte()?;
            Change::AccountRotated {
                account,
                api_token: (which & 1 != 0).then(|| input.array()).transpose()?.map(ApiToken),
                secret_hash: (which & 2 != 0).then(|| input.array()).transpose()?.map(SecretHash),
                old_token_until: match kind {
                    ACCOUNT_ROTATED_LATER => Some(input.date()?),
                    _ => None,
                },
            }
        }
        RETENTION_SET => Change::RetentionSet {
            account: AccountId(input.u64()?),
            days: u32::try_from(input.u64()?)
                .map(|days| Some(days).filter(|days| *days > 0))
                .map_err(|_| Malformed("a number of days is too large"))?,
        },
        SITES_SET => Change::SitesSet {
            account: AccountId(input.u64()?),
            sites: Some(input.str()?).filter(|sites| !sites.is_empty()),
        },
        TYPE_SET => Change::TypeSet {
            account: AccountId(input.u64()?),
            events: Some(input.str()?).filter(|of| !of.is_empty()),
            attribute: input.str()?,
            data_type: match input.byte()? {
                0 => None,
                byte => Some(decode_type(byte)?),
            },
        },
        ZONE_SET => Change::ZoneSet {
            account: AccountId(input.u64()?),
            zone: Some(input.str()?).filter(|zone| !zone.is_empty()),
        },
        PERSON => Change::Person(take_person_change(&mut input)?),
        ERASED => {
            Change::Erased { account: AccountId(input.u64()?), scope: take_scope(&mut input)? }
        }
        IMPORTED => Change::Imported {
            account: AccountId(input.u64()?),
            progress: Progress {
                import: input.u64()?,
                users: input.byte()? != 0,
                lines: input.u64()?,
                digest: input.array()?,
            },
        },
        _ => return Err(Malformed("a record is of an unknown kind")),
    };
    input.end()?;
    Ok(Record { received_at, keyed, change })
}

fn encode_via(via: Via) -> u8 {
    match via {
        Via::Public => 0,
        Via::Secret => 1,
        Via::Import => 2,
    }
}

fn decode_via(byte: u8) -> Result<Via, Malformed> {
    match byte {
        0 => Ok(Via::Public),
        1 => Ok(Via::Secret),
        2 => Ok(Via::Import),
        _ => Err(Malformed("a record came in an unknown way")),
    }
}

/// A data type in one byte, which is never 0.
pub(super) fn encode_type(data_type: DataType) -> u8 {
    match data_type {
        DataType::String => 1,
        DataType::Number => 2,
        DataType::Boolean => 3,
        DataType::Date => 4,
        DataType::List => 5,
        DataType::Object => 6,
    }
}

pub(super) fn decode_type(byte: u8) -> Result<DataType, Malformed> {
    let found = DataType::ALL.into_iter().find(|data_type| encode_type(*data_type) == byte);
    found.ok_or(Malformed("a data type is unknown"))
}

/// A batch as bytes, ready for the log.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    first_seq: Seq,
    count: u64,
    bytes: Vec<u8>,
}

impl EncodedBatch {
    /// Joins encoded records into the batch that begins at `first_seq`.
    pub(super) fn of<'a>(
        first_seq: Seq,
        records: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> EncodedBatch {
        let count = records.len() as u64;
        let bytes_estimate = records.clone().map(|record| record.len() + 4).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 9 + bytes_estimate);
        bytes.extend_from_slice(&[FORMAT, 0, 0, 0, 0]);
        put_u64(&mut bytes, count);
        for record in records {
            put_u64(&mut bytes, record.len() as u64);
            bytes.extend_from_slice(record);
        }
        let crc = checksum(first_seq, &bytes[HEAD_BYTES..]);
        bytes[1..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        EncodedBatch { first_seq, count, bytes }
    }

    /// Takes what another server has encoded as the batch that begins at `first_seq`.
    pub(super) fn decode(first_seq: Seq, bytes: &[u8]) -> Result<EncodedBatch, Malformed> {
        // The length before each record comes on top.
        if bytes.len() > ENTRY_BYTES_MAX + ENTRY_BYTES_MAX / 8 {
            return Err(Malformed("it is larger than a batch may be"));
        }
        let batch = BatchView::decode(first_seq, bytes)?;
        batch.records().try_for_each(|record| record.map(drop))?;
        let count = batch.count;
        Ok(EncodedBatch { first_seq, count, bytes: bytes.to_owned() })
    }

    /// What it holds.
    pub(super) fn view(&self) -> Result<BatchView<'_>, Malformed> {
        BatchView::decode(self.first_seq, &self.bytes)
    }

    /// The `seq` of its first record.
    #[must_use]
    pub fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// How many records it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What goes to disk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn checksum(first_seq: Seq, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first_seq.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// A batch read back, its checksum verified, its records decoded one by one.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    first_seq: Seq,
    count: u64,
    body: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Takes the entry under `first_seq` apart.
    pub(super) fn decode(first_seq: Seq, bytes: &'a [u8]) -> Result<BatchView<'a>, Malformed> {
        let mut input = Input(bytes);
        let format = input.byte()?;
        if format != FORMAT {
            return Err(Malformed("it is in a format that this program doesn't know"));
        }
        let crc = u32::from_le_bytes(input.array()?);
        if checksum(first_seq, input.0) != crc {
            return Err(Malformed("its checksum doesn't match"));
        }
        let count = input.u64()?;
        // A record takes at least its length and its kind.
        if count == 0 || count > input.0.len() as u64 / 2 {
            return Err(Malformed("its number of records can't be right"));
        }
        Ok(BatchView { first_seq, count, body: input.0 })
    }

    /// The `seq` of its first record.
    #[must_use]
    pub fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// The `seq` behind its last record.
    #[must_use]
    pub fn end_seq(&self) -> Seq {
        self.first_seq.saturating_add(self.count)
    }

    /// Its records with their `seq`s, in order.
    pub(super) fn records(
        self,
    ) -> impl Iterator<Item = Result<(Seq, Record<'a>), Malformed>> + use<'a> {
        let mut input = Input(self.body);
        (self.first_seq..self.end_seq()).map(move |seq| {
            let len = input.u64()?;
            Ok((seq, decode_record(input.bytes(len)?)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Date;
    use proptest::prelude::*;

    fn view<'a>(first: Seq, bytes: &'a [u8]) -> Result<Vec<(Seq, Record<'a>)>, Malformed> {
        BatchView::decode(first, bytes)?.records().collect()
    }

    /// Those that there were from the beginning.
    fn oldest_samples() -> Vec<Record<'static>> {
        let at = Date::from_millis(1_700_000_000_123);
        let event = Event {
            account: AccountId(1),
            via: Via::Public,
            kind: "view",
            user_id: Some("u1"),
            date: Date::from_millis(-5),
            attributes: r#"{"n":1.0}"#,
            context: None,
        };
        [
            Change::Event(event),
            Change::Event(Event { user_id: None, via: Via::Secret, ..event }),
            Change::User(UserPatch {
                account: AccountId(300),
                via: Via::Import,
                id: "😀",
                patch: "{}",
                context: None,
            }),
            Change::AccountMade {
                name: "default",
                api_token: ApiToken([7; 16]),
                secret_hash: SecretHash([9; 32]),
            },
            Change::AccountRotated {
                account: AccountId(1),
                api_token: None,
                secret_hash: Some(SecretHash([8; 32])),
                old_token_until: None,
            },
            Change::AccountRotated {
                account: AccountId(1),
                api_token: Some(ApiToken([6; 16])),
                secret_hash: None,
                old_token_until: None,
            },
        ]
        .map(|change| Record { received_at: at, change, keyed: None })
        .to_vec()
    }

    /// Those that came with formats 3 and 4 of the directory.
    fn later_samples() -> Vec<Record<'static>> {
        let event = Event {
            account: AccountId(1),
            via: Via::Public,
            kind: "view",
            user_id: None,
            date: Date::from_millis(5),
            attributes: "{}",
            context: Some(r#"{"page":"https://a.example/"}"#),
        };
        let user = UserPatch {
            account: AccountId(2),
            via: Via::Secret,
            id: "u",
            patch: r#"{"a":null}"#,
            context: Some("{}"),
        };
        let received_at = Date::from_millis(7);
        let keyed = Some(Keyed { key: Digest([4; 16]), count: 1_000 });
        let mut samples = [Change::Event(event), Change::User(user)]
            .map(|change| Record { received_at, change, keyed: None })
            .to_vec();
        let account = AccountId(3);
        samples.extend([None, Some("a.example *.b.example")].map(|sites| Record {
            received_at,
            change: Change::SitesSet { account, sites },
            keyed: None,
        }));
        samples.extend(
            [Change::Event(Event { context: None, ..event }), Change::User(user)]
                .map(|change| Record { received_at, change, keyed }),
        );
        let types = DataType::ALL.into_iter().map(Some).chain([None]);
        samples.extend(types.zip([None, Some("view")].into_iter().cycle()).map(
            |(data_type, events)| Record {
                received_at,
                change: Change::TypeSet { account, events, attribute: "cart.é", data_type },
                keyed: None,
            },
        ));
        samples
    }

    /// Those that came with format 5 of the directory.
    fn samples_of_people() -> Vec<Record<'static>> {
        let account = AccountId(1);
        let (api_token, until) = (ApiToken([6; 16]), Some(Date::from_millis(-1)));
        let rotated = |api_token, secret_hash| Change::AccountRotated {
            account,
            api_token,
            secret_hash,
            old_token_until: until,
        };
        let more = [
            rotated(Some(api_token), None),
            rotated(Some(api_token), Some(SecretHash([8; 32]))),
            Change::ZoneSet { account, zone: Some("Europe/Zurich") },
            Change::ZoneSet { account, zone: None },
        ];
        let all = crate::store::people::samples().into_iter().map(Change::Person).chain(more);
        all.map(|change| Record { received_at: Date::from_millis(9), change, keyed: None })
            .collect()
    }

    fn samples() -> Vec<Record<'static>> {
        let account = AccountId(1);
        let (kind, user) = (Digest([1; 16]), Digest([2; 16]));
        let date = Some(Date::from_millis(-7));
        let events = |kind, user_id, from, to| Scope::Events { kind, user_id, from, to };
        let scopes = [
            Scope::User(user),
            events(None, None, None, None),
            events(Some(kind), None, None, date),
            events(None, Some(user), date, None),
            events(Some(kind), Some(user), date, date),
            Scope::Expired { before: Date::from_millis(8) },
        ];
        let progress = Progress { import: u64::MAX, users: true, lines: 9, digest: [3; 16] };
        let more = [
            Change::RetentionSet { account, days: None },
            Change::RetentionSet { account, days: Some(365) },
            Change::Imported { account, progress },
        ];
        let erased = scopes.map(|scope| Change::Erased { account, scope });
        let more = more.into_iter().chain(erased);
        let at = Date::from_millis(9);
        let more = more.map(|change| Record { received_at: at, change, keyed: None });
        let latest = later_samples().into_iter().chain(samples_of_people());
        oldest_samples().into_iter().chain(more).chain(latest).collect()
    }

    fn encoded(first: Seq, records: &[Record<'_>]) -> EncodedBatch {
        let records: Vec<_> = records.iter().map(encode_record).collect();
        EncodedBatch::of(first, records.iter().map(Vec::as_slice))
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        let batch = encoded(41, &samples());
        let read = view(41, batch.bytes()).expect("what was just encoded");
        let expected: Vec<_> = (41..).zip(samples()).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_out() {
        let batch = encoded(41, &samples());
        for at in 0..batch.bytes().len() {
            for bit in 0..8 {
                let mut bytes = batch.bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(view(41, &bytes).is_err(), "byte {at}, bit {bit}");
            }
            assert!(view(41, &batch.bytes()[..at]).is_err(), "cut at {at}");
        }
        assert!(view(42, batch.bytes()).is_err(), "under another key");
    }

    /// The bytes of format 1, so that a change to them can't go unnoticed.
    #[test]
    fn the_oldest_format_is_still_read() {
        let bytes = include_bytes!("../../tests/format/batch-1.bin");
        let expected: Vec<_> = (41..).zip(oldest_samples()).collect();
        assert_eq!(view(41, bytes).as_deref(), Ok(expected.as_slice()));
        assert_eq!(encoded(41, &oldest_samples()).bytes(), bytes);
    }

    proptest! {
        #[test]
        fn events_come_back(
            kind in ".{1,20}",
            user in proptest::option::of(".{1,20}"),
            date: i64,
            received: i64,
            attributes: String,
            context in proptest::option::of(".{0,20}"),
        ) {
            let record = Record {
                keyed: None,
            received_at: Date::from_millis(received),
                change: Change::Event(Event {
                    account: AccountId(9),
                    via: Via::Public,
                    kind: &kind,
                    user_id: user.as_deref(),
                    date: Date::from_millis(date),
                    attributes: &attributes,
                    context: context.as_deref(),
                }),
            };
            let batch = encoded(5, &[record]);
            prop_assert_eq!(view(5, batch.bytes()), Ok(vec![(5, record)]));
        }

        #[test]
        fn no_bytes_panic(first: u64, bytes: Vec<u8>) {
            let _ = view(first, &bytes);
            let _ = decode_record(&bytes);
            // Past the checksum too.
            let mut whole = vec![FORMAT];
            whole.extend(checksum(first, &bytes).to_le_bytes());
            whole.extend(&bytes);
            let _ = view(first, &whole);
        }
    }
}
