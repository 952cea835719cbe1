//! What a segment says of itself in the metadata of its file, beside what Parquet does.

use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use super::schema::FORMAT;
use crate::model::{AccountId, Seq};

const KEY_FORMAT: &str = "triggerly.format";
const KEY_ACCOUNT: &str = "triggerly.account";
const KEY_GROUPS: &str = "triggerly.groups";

/// One row group. The first begins with the file, each other where the one before it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Where it begins.
    pub offset: u64,
    /// How long it is, its Bloom filter included.
    pub bytes: u64,
    /// CRC-32 of these bytes.
    pub crc: u32,
    /// CRC-32 of its Bloom filter alone, which is read without the rest.
    pub bloom_crc: u32,
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// Records, updates of users among them.
    pub rows: u64,
    pub users: u64,
    /// Of its events, in milliseconds: the earliest `date` or `received_at`, and the latest `date`.
    pub dates: Option<(i64, i64)>,
    /// Bytes at its end that Parquet knows nothing of: keys of submissions (see `keys`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub key_bytes: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The keys of a segment and their values.
pub(super) fn write(account: AccountId, groups: &[Entry]) -> Vec<KeyValue> {
    // Only maps with keys that are no text could make this fail.
    let groups = serde_json::to_string(groups).unwrap_or_default();
    [(KEY_FORMAT, FORMAT.to_string()), (KEY_ACCOUNT, account.0.to_string()), (KEY_GROUPS, groups)]
        .map(|(key, value)| KeyValue::new(key.to_owned(), value))
        .to_vec()
}

/// Why the keys of a file aren't those of a segment.
pub(super) enum Unread {
    /// It isn't one, or it is damaged.
    Wrong(&'static str),
    /// It is one of this format, which is greater than ours.
    Newer(u32),
}

/// What the keys say.
pub(super) struct Footer {
    pub format: u32,
    pub account: AccountId,
    pub groups: Vec<Entry>,
}

/// Takes the keys apart again.
pub(super) fn read(keys: Option<&Vec<KeyValue>>) -> Result<Footer, Unread> {
    let keys = keys.map_or(&[][..], Vec::as_slice);
    let value = |key| keys.iter().find(|found| found.key == key)?.value.as_deref();
    let format = value(KEY_FORMAT).ok_or(Unread::Wrong("it isn't a segment of triggerly"))?;
    let format = match format.parse::<u32>() {
        Ok(format @ 1..=FORMAT) => format,
        Ok(newer) if newer > FORMAT => return Err(Unread::Newer(newer)),
        _ => return Err(Unread::Wrong("its format is none that there ever was")),
    };
    let account = value(KEY_ACCOUNT)
        .and_then(|text| text.parse().ok())
        .ok_or(Unread::Wrong("it doesn't say whose it is"))?;
    let groups = value(KEY_GROUPS)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or(Unread::Wrong("it doesn't say where its row groups are"))?;
    Ok(Footer { format, account: AccountId(account), groups })
}
