//! The hashes by which users and visitors are told apart. They stand in files, so they never change.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use crate::model::AccountId;
use crate::model::erasure::Digest;

/// Stands for a user of an account: the first 8 bytes of [`Digest::of_user`].
#[must_use]
pub fn hash_of_user(account: AccountId, id: &str) -> u64 {
    first_8(&Digest::of_user(account, id).0)
}

/// Stands for a visitor: the first 8 bytes of the SHA-256 of what the context names it.
#[must_use]
pub fn hash_of_visitor(visitor: &str) -> u64 {
    first_8(&Sha256::digest(visitor))
}

fn first_8(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Texts that are remembered: those who are about at one time, and then some.
const TEXTS_MAX: usize = 4_096;

/// Bytes that they take: most are far shorter than they may be.
const TEXTS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a text beside itself: its hash, and its place.
const PLACE_BYTES: usize = 64;

/// Hashes of recent texts, since who does something does more soon after.
#[derive(Default)]
pub(super) struct Recent {
    hashes: HashMap<Box<str>, u64>,
    bytes: usize,
}

impl Recent {
    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// The hash of a text, as `hash` gives it.
    pub fn of(&mut self, text: &str, hash: impl FnOnce(&str) -> u64) -> u64 {
        if let Some(known) = self.hashes.get(text) {
            return *known;
        }
        if self.hashes.len() >= TEXTS_MAX || self.bytes >= TEXTS_BYTES_MAX {
            self.hashes.clear();
            self.bytes = 0;
        }
        let hash = hash(text);
        self.hashes.insert(text.into(), hash);
        self.bytes += PLACE_BYTES + text.len();
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_stay_what_they_are() {
        // They lie in files.
        assert_eq!(hash_of_user(AccountId(1), "zoe"), 0xe413_a279_846e_42d0);
        assert_eq!(hash_of_visitor("0123456789abcdef0123456789abcdef"), 0x3eb1_bd43_9947_eb76);
    }

    #[test]
    fn what_is_remembered_is_what_is_hashed() {
        let mut recent = Recent::default();
        for n in 0..3 * TEXTS_MAX {
            let text = (n % (TEXTS_MAX + 7)).to_string();
            assert_eq!(recent.of(&text, hash_of_visitor), hash_of_visitor(&text));
        }
        assert!(recent.hashes.len() <= TEXTS_MAX);
    }

    #[test]
    fn long_texts_are_counted_as_they_are() {
        let mut recent = Recent::default();
        for n in 0..2 * TEXTS_MAX {
            let text = format!("{n:02000}");
            assert_eq!(recent.of(&text, hash_of_visitor), hash_of_visitor(&text));
            let texts: usize = recent.hashes.keys().map(|text| text.len()).sum();
            assert!(texts <= recent.memory() && recent.memory() <= TEXTS_BYTES_MAX + 3_000);
        }
    }
}
