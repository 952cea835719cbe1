//! Walking a sled tree in bounded memory.

use std::ops::RangeBounds;

use sled::{IVec, Tree};

/// Reads of an entry beyond the walk's own, so that the shard of sled's cache that its page lies in
/// counts 64 accesses before the walk leaves the page, and evicts. With 4 a walk over 256 MB of
/// batches took 45 MB and 150 ms, without 247 MB and 240 to 660 ms.
const TOUCHES: usize = 4;

/// The entries of `range`, ascending.
pub(super) fn ascending<K: AsRef<[u8]>, R: RangeBounds<K>>(
    tree: &Tree,
    range: R,
) -> impl Iterator<Item = sled::Result<(IVec, IVec)>> + use<K, R> {
    let tree = tree.clone();
    tree.range(range).map(move |entry| touch(&tree, entry))
}

/// The entries of `range`, descending.
pub(super) fn descending<K: AsRef<[u8]>, R: RangeBounds<K>>(
    tree: &Tree,
    range: R,
) -> impl Iterator<Item = sled::Result<(IVec, IVec)>> + use<K, R> {
    let tree = tree.clone();
    tree.range(range).rev().map(move |entry| touch(&tree, entry))
}

fn touch(tree: &Tree, entry: sled::Result<(IVec, IVec)>) -> sled::Result<(IVec, IVec)> {
    let (key, value) = entry?;
    for _ in 0..TOUCHES {
        tree.contains_key(&key)?;
    }
    Ok((key, value))
}
