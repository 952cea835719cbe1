//! How a group travels: the headers of its messages, and the parts that a large one comes in.

use std::collections::HashMap;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::model::Seq;
use crate::store::{Group, GroupId, Offer, Position, SHARED_FORMAT_VERSION};

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

/// Parts of one group, at the most: the smallest `max_payload` that it makes sense to run NATS with is 64 KiB.
const PARTS_MAX: usize = 256;

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
    let bytes = max_payload.saturating_sub(HEADERS_BYTES).max(HEADERS_BYTES);
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
