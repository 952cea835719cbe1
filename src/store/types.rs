//! The types that accounts have set, as they lie in the keyed state: one entry for each attribute.
//!
//! ```text
//! "t" + account (8) + length of the events' type + events' type, empty for users + attribute -> type
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::{decode_type, encode_type};
use super::codec::{Input, Malformed, open_as, put_str, seal_as};
use crate::model::{AccountId, DataType, Overrides};

/// What all keys of such entries begin with.
pub(super) const PREFIX: u8 = b't';

const FORMAT: u8 = 1;

/// The types that accounts have set; those without any have no entry. All are kept in memory.
pub(super) type AllOverrides = HashMap<AccountId, Arc<Overrides>>;

pub(super) fn key(account: AccountId, events: Option<&str>, attribute: &str) -> Vec<u8> {
    let mut key = vec![PREFIX];
    key.extend_from_slice(&account.0.to_be_bytes());
    put_str(&mut key, events.unwrap_or_default());
    key.extend_from_slice(attribute.as_bytes());
    key
}

pub(super) fn encode(key: &[u8], data_type: DataType) -> Vec<u8> {
    seal_as(FORMAT, key, |out| out.push(encode_type(data_type)))
}

/// What one entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeSet<'k> {
    pub account: AccountId,
    pub events: Option<&'k str>,
    pub attribute: &'k str,
    pub data_type: DataType,
}

pub(super) fn decode<'k>(key: &'k [u8], value: &[u8]) -> Result<TypeSet<'k>, Malformed> {
    let mut name = Input(key);
    if name.byte()? != PREFIX {
        return Err(Malformed("its key is odd"));
    }
    let account = AccountId(u64::from_be_bytes(name.array()?));
    let events = Some(name.str()?).filter(|of| !of.is_empty());
    let attribute = std::str::from_utf8(name.0).map_err(|_| Malformed("its key is odd"))?;
    let mut input = open_as(FORMAT, key, value)?;
    let data_type = decode_type(input.byte()?)?;
    input.end()?;
    Ok(TypeSet { account, events, attribute, data_type })
}
