//! How a group travels: the headers of its messages, and the parts that a large one comes in.

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
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
/// Which part of how many, as `1/3`.
const PART: &str = "Triggerly-Part";
/// The log has ended: nobody adds anything, and nobody follows it any more.
const LEFT: &str = "Triggerly-Left";

/// Bytes that the headers take at the most, NATS's own included.
const HEADERS_BYTES: usize = 1024;

/// Parts of one group, at the most: the smallest `max_payload` that it makes sense to run NATS with is 64 KiB.
const PARTS_MAX: usize = 256;

/// A message, read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Part of a group.
    Part(Part),
    /// Nothing of ours, or nothing at all.
    Void,
    /// The log has ended.
    Left,
}

/// Part of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub id: GroupId,
    pub first_seq: Seq,
    pub count: u64,
    /// From 1.
    pub number: usize,
    pub of: usize,
}

/// What an offer's messages are, each with its headers but for the place it is for.
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
            headers.insert(PART, format!("{}/{of}", index + 1));
            headers.insert(NATS_MESSAGE_ID, format!("{}/{}", hex(offer.group.id), index + 1));
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

/// The headers of the message that ends a log.
pub fn leaving() -> HeaderMap {
    let mut headers = plain();
    headers.insert(LEFT, "1");
    headers
}

/// The same headers, of a message that is to be stored right behind a place.
pub fn behind(mut headers: HeaderMap, stream: &str, at: Position) -> HeaderMap {
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, at.to_string());
    headers.insert(NATS_EXPECTED_STREAM, stream);
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
    if text(LEFT).is_some() {
        return Ok(Read::Left);
    }
    let Some(id) = text(GROUP) else { return Ok(Read::Void) };
    let part = || {
        let (number, of) = text(PART)?.split_once('/')?;
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        let is_one = (1..=of).contains(&number) && of <= PARTS_MAX;
        let (first_seq, count) = (text(SEQ)?.parse().ok()?, text(COUNT)?.parse().ok()?);
        is_one.then_some(Part { id: unhex(id)?, first_seq, count, number, of })
    };
    part().map(Read::Part).ok_or_else(|| "a message's headers can't be right".to_owned())
}

/// Puts parts together as they come.
#[derive(Default)]
pub struct Assembly {
    group: Option<Part>,
    bytes: Vec<u8>,
}

impl Assembly {
    /// What has been put together is void: something else came.
    pub fn clear(&mut self) {
        *self = Assembly::default();
    }

    /// Which group is being put together.
    pub fn begun(&self) -> Option<GroupId> {
        self.group.as_ref().map(|part| part.id)
    }

    /// Takes the next part; the group, if it was the last.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, part: &Part, body: &[u8]) -> Result<Option<Group>, String> {
        if part.number == 1 {
            *self = Assembly { group: Some(part.clone()), bytes: body.to_owned() };
        } else {
            let goes_on = self.group.as_ref().is_some_and(|begun| {
                (begun.id, begun.of, begun.number + 1) == (part.id, part.of, part.number)
            });
            if !goes_on {
                // What went before it was refused its place, and so is what this belongs to.
                self.clear();
                return Ok(None);
            }
            if self.bytes.len() + body.len() > 2 * SUBMISSION_BYTES_MAX {
                return Err("a group is larger than any may be".to_owned());
            }
            self.bytes.extend_from_slice(body);
            self.group = Some(part.clone());
        }
        if part.number < part.of {
            return Ok(None);
        }
        let bytes = std::mem::take(self).bytes;
        let group = Group::decode(part.id, part.first_seq, &bytes);
        let group = group.map_err(|error| error.to_string())?;
        if group.count() != part.count {
            return Err(format!(
                "the group at record {} has not as many as it says",
                part.first_seq
            ));
        }
        Ok(Some(group))
    }
}

fn hex(id: GroupId) -> String {
    super::id::hex(&id.0)
}

fn unhex(text: &str) -> Option<GroupId> {
    super::id::unhex(text).map(GroupId)
}
