//! How a group travels: the headers of its messages, and the parts that a large one comes in.

use std::collections::HashMap;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::model::Seq;
use crate::store::{Group, GroupId, Offer, Position, SHARED_FORMAT_VERSION, SUBMISSION_BYTES_MAX};

/// The format of the records, as of the directory: who knows only older ones reads no further.
pub const FORMAT: &str = "Triggerly-Format";
/// The `seq` of the group's first record.
const SEQ: &str = "Triggerly-Seq";
/// How many records the group holds.
const COUNT: &str = "Triggerly-Count";
/// Which offer it was.
const GROUP: &str = "Triggerly-Group";
/// Which offer was the last one that counted for who made this one; left out where he hasn't seen any.
const AFTER: &str = "Triggerly-After";
/// Which part of how many, as `1/3`.
const PART: &str = "Triggerly-Part";
/// The log has ended: nobody adds anything, and nobody follows it any more.
const LEFT: &str = "Triggerly-Left";

/// Bytes that the headers take at the most.
const HEADERS_BYTES: usize = 1024;

/// Messages from the first part of a group on, among which all of them have to be. It is counted in messages, not in time,
/// so that all who follow let go of the same ones.
pub const PARTS_WITHIN: Position = 512;

/// Bytes that NATS has to take at once, at the least.
pub const PAYLOAD_BYTES_MIN: usize = 64 * 1024;

/// Parts of one group, at the most.
const PARTS_MAX: usize = 256;

const _: () = {
    // The largest submission, with what stands before each of its batches, is a group of that many parts at the most.
    assert!(SUBMISSION_BYTES_MAX / 16 * 17 / (PAYLOAD_BYTES_MIN - HEADERS_BYTES) < PARTS_MAX);
    assert!((PARTS_MAX as Position) < PARTS_WITHIN);
};

const ODD: &str = "a message's headers can't be right";

/// A message, read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Part of a group.
    Part(Part),
    /// Nothing of ours, or nothing at all.
    Void,
    /// The log goes elsewhere, if this is the next `seq`.
    Left(Seq),
}

/// Part of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub id: GroupId,
    pub after: Option<GroupId>,
    pub first_seq: Seq,
    pub count: u64,
    /// From 1.
    pub number: usize,
    pub of: usize,
}

/// What an offer's messages are.
pub fn parts(offer: &Offer, max_payload: usize) -> Vec<(HeaderMap, Bytes)> {
    let body = Bytes::from(offer.group.encode());
    let bytes = max_payload.max(PAYLOAD_BYTES_MIN) - HEADERS_BYTES;
    let of = body.len().div_ceil(bytes).max(1);
    (0..of)
        .map(|index| {
            let part = body.slice(index * bytes..body.len().min((index + 1) * bytes));
            let mut headers = plain();
            headers.insert(SEQ, offer.first_seq.to_string());
            headers.insert(COUNT, offer.group.count().to_string());
            headers.insert(GROUP, hex(offer.group.id));
            if let Some(after) = offer.group.after {
                headers.insert(AFTER, hex(after));
            }
            headers.insert(PART, format!("{}/{of}", index + 1));
            (headers, part)
        })
        .collect()
}

/// The headers of a message without a group.
pub fn plain() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(FORMAT, SHARED_FORMAT_VERSION.to_string());
    headers
}

/// The headers of the message that ends a log behind the record before this one.
pub fn leaving(next_seq: Seq) -> HeaderMap {
    let mut headers = plain();
    headers.insert(LEFT, next_seq.to_string());
    headers
}

/// Reads a message's headers.
///
/// # Errors
/// Why it can't be read by this program.
pub fn read(headers: Option<&HeaderMap>) -> Result<Read, String> {
    let Some(headers) = headers else { return Ok(Read::Void) };
    let text = |name: &str| headers.get(name).map(|value| value.as_str());
    let Some(format) = text(FORMAT) else { return Ok(Read::Void) };
    if format.parse::<u32>().is_ok_and(|format| format > SHARED_FORMAT_VERSION) {
        return Err(format!(
            "it has records of a newer triggerly (format {format}, this program knows {SHARED_FORMAT_VERSION}); \
             run that version or a later one"
        ));
    }
    if let Some(next_seq) = text(LEFT) {
        return next_seq.parse().map(Read::Left).map_err(|_| ODD.to_owned());
    }
    let Some(id) = text(GROUP) else { return Ok(Read::Void) };
    let part = || {
        let (number, of) = text(PART)?.split_once('/')?;
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        let is_one = (1..=of).contains(&number) && of <= PARTS_MAX;
        let (first_seq, count) = (text(SEQ)?.parse().ok()?, text(COUNT)?.parse().ok()?);
        let after = match text(AFTER) {
            Some(after) => Some(unhex(after)?),
            None => None,
        };
        is_one.then_some(Part { id: unhex(id)?, after, first_seq, count, number, of })
    };
    part().map(Read::Part).ok_or_else(|| ODD.to_owned())
}

/// Puts parts together as they come; those of several groups may come among each other.
#[derive(Default)]
pub struct Assembly(HashMap<GroupId, Begun>);

/// A group whose last part hasn't come yet.
struct Begun {
    /// Where its first part was.
    first_at: Position,
    /// Parts that have come.
    parts: usize,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes the part at a place; the group, if it was the last.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(
        &mut self,
        at: Position,
        part: &Part,
        body: &[u8],
    ) -> Result<Option<Group>, String> {
        self.0.retain(|_, begun| at < begun.first_at + PARTS_WITHIN);
        if part.of == 1 {
            return whole(part, body).map(Some);
        }
        if part.number == 1 && !self.0.contains_key(&part.id) {
            self.0.insert(part.id, Begun { first_at: at, parts: 0, bytes: Vec::new() });
        }
        let Some(begun) = self.0.get_mut(&part.id) else { return Ok(None) };
        // A part that was sent again has come before.
        if part.number != begun.parts + 1 {
            return Ok(None);
        }
        begun.parts += 1;
        begun.bytes.extend_from_slice(body);
        if part.number < part.of {
            return Ok(None);
        }
        let bytes = self.0.remove(&part.id).map(|begun| begun.bytes).unwrap_or_default();
        whole(part, &bytes).map(Some)
    }
}

fn whole(part: &Part, bytes: &[u8]) -> Result<Group, String> {
    let group = Group::decode(part.id, part.first_seq, bytes).map_err(|error| error.to_string())?;
    let group = Group { after: part.after, ..group };
    if group.count() != part.count || group.count() == 0 {
        return Err(format!("the group at record {} has not as many as it says", part.first_seq));
    }
    Ok(group)
}

fn hex(id: GroupId) -> String {
    super::id::hex(&id.0)
}

fn unhex(text: &str) -> Option<GroupId> {
    super::id::unhex(text).map(GroupId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountName, ApiToken, Date, SecretHash};
    use crate::store::Draft;

    const ID: GroupId = GroupId([0xab; 16]);

    /// A group of many batches, as an offer.
    fn offer(records: u64) -> Offer {
        let drafts: Vec<_> = (0..records)
            .map(|number| {
                let name = AccountName::new(&format!("{number}-{}", "x".repeat(50))).unwrap();
                Draft::account(name, ApiToken([1; 16]), SecretHash([2; 32]), Date::from_millis(0))
            })
            .collect();
        let group =
            Group { id: ID, after: Some(GroupId([1; 16])), batches: Draft::batches(7, &drafts) };
        let (reply, _) = crossbeam_channel::bounded(1);
        Offer { behind: 0, first_seq: 7, group, reply }
    }

    /// Headers and bodies as they come out at the other end.
    fn sent(offer: &Offer) -> Vec<(Part, Bytes)> {
        let read = |(headers, body): (HeaderMap, Bytes)| match read(Some(&headers)) {
            Ok(Read::Part(part)) => (part, body),
            other => panic!("{other:?}"),
        };
        parts(offer, 0).into_iter().map(read).collect()
    }

    #[test]
    fn a_group_comes_out_as_it_went_in_however_large() {
        for records in [1, 10, 2_000, 5_000] {
            let offer = offer(records);
            let sent = sent(&offer);
            assert_eq!(sent.len() > 1, records >= 2_000, "{records}");
            let (mut assembly, mut whole) = (Assembly::default(), None);
            for (at, (part, body)) in sent.iter().enumerate() {
                assert!(whole.is_none() && body.len() < PAYLOAD_BYTES_MIN);
                whole = assembly.take(at as Position, part, body).unwrap();
            }
            let whole = whole.expect("it is whole");
            assert_eq!((whole.id, whole.after), (ID, offer.group.after));
            assert_eq!(whole.encode(), offer.group.encode());
        }
    }

    #[test]
    fn parts_come_twice_among_others_and_too_late() {
        let offer = offer(3_000);
        let mine = sent(&offer);
        let theirs: Vec<_> = mine
            .iter()
            .map(|(part, body)| (Part { id: GroupId([2; 16]), ..part.clone() }, body.clone()))
            .collect();
        assert!(mine.len() > 2);
        let mut assembly = Assembly::default();
        let (mut at, mut whole) = (0, 0);
        for index in 0..mine.len() {
            for (part, body) in [&mine[index], &theirs[index], &mine[index], &mine[0]] {
                at += 1;
                whole += usize::from(assembly.take(at, part, body).unwrap().is_some());
            }
        }
        assert_eq!(whole, 2, "each is whole once");
        // Without its first part, or with that too long ago, a group is none.
        assert!(assembly.take(1, &theirs[1].0, &theirs[1].1).unwrap().is_none());
        let mut assembly = Assembly::default();
        for (index, (part, body)) in mine.iter().enumerate() {
            let at = if index + 1 < mine.len() { index as Position } else { PARTS_WITHIN };
            assert!(assembly.take(at, part, body).unwrap().is_none());
        }
    }

    #[test]
    fn odd_headers_are_told_and_those_of_others_are_nothing() {
        let of = |pairs: &[(&str, &str)]| {
            let mut headers = plain();
            pairs.iter().for_each(|(name, value)| headers.insert(*name, *value));
            read(Some(&headers))
        };
        assert_eq!(read(None), Ok(Read::Void));
        assert_eq!(read(Some(&HeaderMap::new())), Ok(Read::Void));
        assert_eq!(read(Some(&plain())), Ok(Read::Void));
        assert_eq!(read(Some(&leaving(5))), Ok(Read::Left(5)));
        assert!(of(&[(FORMAT, "7")]).unwrap_err().contains("newer triggerly (format 7"));
        assert_eq!(of(&[(LEFT, "x")]), Err(ODD.to_owned()));
        let id = hex(ID);
        let good = [(GROUP, id.as_str()), (SEQ, "7"), (COUNT, "1"), (PART, "1/1")];
        assert!(matches!(of(&good), Ok(Read::Part(_))));
        for (name, value) in [
            (GROUP, "ab"),
            (SEQ, "-1"),
            (COUNT, ""),
            (PART, "1"),
            (PART, "0/1"),
            (PART, "2/1"),
            (PART, "1/257"),
            (AFTER, "zz"),
        ] {
            let mut pairs = good.to_vec();
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value));
            assert_eq!(of(&pairs), Err(ODD.to_owned()), "{name}: {value}");
        }
    }
}
