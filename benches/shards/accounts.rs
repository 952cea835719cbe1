//! Which accounts lie on which stream.
//!
//! By rendezvous hashing: each account goes to the shard whose hash with it is the greatest. So it is known without a table,
//! and a shard that is added takes from all others, and nothing moves between those. What is of no account (names, people,
//! sessions, and who gets which id) stays on shard 0.

use super::costs::mixed;

/// The shard of an account, out of so many.
pub fn shard(account: u64, shards: u64) -> u64 {
    let weight = |shard: u64| mixed(mixed(account) ^ mixed(shard ^ 0x5bd1_e995_7265_6e64));
    (0..shards).max_by_key(|shard| weight(*shard)).unwrap_or(0)
}

/// The part of all calls that each account has: Zipf's law with this exponent, the heaviest first.
pub fn skewed(accounts: u64, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=accounts).map(|rank| (rank as f64).powf(-exponent)).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The part that each shard has, if account number `n` has an id of its own in `seed`'s world.
pub fn loads(parts: &[f64], shards: u64, seed: u64) -> Vec<f64> {
    let mut loads = vec![0.0; shards as usize];
    for (number, part) in parts.iter().enumerate() {
        loads[shard(id(number, seed), shards) as usize] += part;
    }
    loads
}

/// The part of accounts, and of calls, that move when one shard is added.
pub fn moved(parts: &[f64], shards: u64, seed: u64) -> (f64, f64) {
    let (mut accounts, mut calls) = (0.0, 0.0);
    for (number, part) in parts.iter().enumerate() {
        let account = id(number, seed);
        let (before, after) = (shard(account, shards), shard(account, shards + 1));
        if before != after {
            assert_eq!(after, shards, "what moves goes to the new one");
            accounts += 1.0 / parts.len() as f64;
            calls += part;
        }
    }
    (accounts, calls)
}

/// Ids are positions of a log, so they ascend and have gaps.
fn id(number: usize, seed: u64) -> u64 {
    seed * 1_000_003 + number as u64 * 17 + 1
}
