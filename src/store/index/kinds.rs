//! The types of events of a segment: of each its name, what people did, what nobody did. Its place is its number.

use super::Count;
use super::tally::{KINDS_MAX, Kinds};
use crate::store::codec::{Input, Malformed, put_str, put_u64};

pub(super) fn encode(kinds: &Kinds) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, count) in kinds.all() {
        put_str(&mut out, name);
        put_u64(&mut out, count.people);
        put_u64(&mut out, count.nobodys);
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(&str, Count)>, Malformed> {
    let mut input = Input(bytes);
    let mut kinds = Vec::new();
    while input.end().is_err() {
        if kinds.len() >= KINDS_MAX {
            return Err(Malformed("there are too many types"));
        }
        let name = input.str()?;
        kinds.push((name, Count { people: input.u64()?, nobodys: input.u64()? }));
    }
    Ok(kinds)
}
