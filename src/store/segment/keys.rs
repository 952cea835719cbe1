//! Keys of submissions, behind a row group: bytes that Parquet passes over, and that belong to the row group
//! as its Bloom filter does. Of each key the row (how many behind the one before), its 16 bytes, and how
//! many records the submission became.

use super::decode::Fault;
use crate::model::erasure::Digest;
use crate::model::record::Keyed;
use crate::store::codec::{Input, Malformed, put_u64};

/// Keys with their rows, which ascend.
pub(super) fn encode(keys: &[(usize, Keyed)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(keys.len() * 20);
    let mut next = 0;
    for (row, keyed) in keys {
        put_u64(&mut out, (row - next) as u64);
        out.extend_from_slice(&keyed.key.0);
        put_u64(&mut out, keyed.count);
        next = row + 1;
    }
    out
}

/// The keys of so many rows.
pub(super) fn decode(bytes: &[u8], rows: usize) -> Result<Vec<(usize, Keyed)>, Fault> {
    let decode = || -> Result<Vec<(usize, Keyed)>, Malformed> {
        let (mut input, mut keys, mut next) = (Input(bytes), Vec::new(), 0_usize);
        while input.end().is_err() {
            let row = usize::try_from(input.u64()?).ok().and_then(|gap| next.checked_add(gap));
            let row = row.filter(|row| *row < rows).ok_or(Malformed("a key is of no row"))?;
            keys.push((row, Keyed { key: Digest(input.array()?), count: input.u64()? }));
            next = row + 1;
        }
        Ok(keys)
    };
    decode().map_err(|Malformed(why)| why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_come_back(keys in proptest::collection::btree_map(0..500_usize, any::<([u8; 16], u64)>(), 0..50)) {
            let keys: Vec<_> = keys
                .into_iter()
                .map(|(row, (key, count))| (row, Keyed { key: Digest(key), count }))
                .collect();
            let rows = keys.last().map_or(0, |(row, _)| row + 1);
            let bytes = encode(&keys);
            prop_assert_eq!(decode(&bytes, rows).ok(), Some(keys));
            prop_assert!(rows == 0 || decode(&bytes, rows - 1).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, rows in 0..9_usize) {
            let _ = decode(&bytes, rows);
        }
    }
}
