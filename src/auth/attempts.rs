//! Slowing down those who try passwords, whether there is such a person or not.
//!
//! Wrong passwords are counted by e-mail and by address. Beyond a few, each makes the next try wait twice as long. From
//! where somebody signed in before, strangers' tries at that e-mail don't count, only those from there, so that nobody
//! can be kept out of his own account by others. Kept in memory, of a bounded number of either, as hashes with a key of this process.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::Date;

/// Wrong passwords that nobody waits for.
pub const FREE: u32 = 5;

/// Seconds that one waits at the most.
pub const WAIT_SECONDS_MAX: u32 = 15 * 60;

/// Seconds after the last wrong password, from which on none counts.
pub const FORGOTTEN_SECONDS: u32 = 60 * 60;

/// E-mails, addresses, and places where somebody has signed in, that are remembered at once; of more, those that were
/// seen longest ago are forgotten.
pub const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(8_192).expect("above 0");

/// Who failed how often.
pub struct Attempts {
    key: RandomState,
    known: Mutex<Known>,
}

struct Known {
    failed: LruCache<u64, Failed>,
    /// E-mails with an address from which somebody signed in.
    at_home: LruCache<u64, ()>,
}

#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    last: Date,
}

impl Failed {
    fn seconds_since(self, now: Date) -> u32 {
        let millis = now.millis().saturating_sub(self.last.millis());
        // A clock that was set back makes nobody wait for longer.
        u32::try_from(millis / 1_000).unwrap_or(if millis < 0 { 0 } else { u32::MAX })
    }

    /// Seconds that are left to wait.
    fn wait(self, now: Date) -> u32 {
        let beyond = self.count.saturating_sub(FREE);
        let wait = if beyond == 0 { 0 } else { 1_u32.checked_shl(beyond - 1).unwrap_or(u32::MAX) };
        wait.min(WAIT_SECONDS_MAX).saturating_sub(self.seconds_since(now))
    }
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts::new()
    }
}

impl Attempts {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new() -> Attempts {
        let known =
            Known { failed: LruCache::new(REMEMBERED_MAX), at_home: LruCache::new(REMEMBERED_MAX) };
        Attempts { key: RandomState::new(), known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts for a try: the e-mail, or where it signed in before, the e-mail from there; and the address. The machine itself stands for
    /// everybody behind a proxy.
    fn counted(&self, known: &mut Known, email: &str, client: IpAddr) -> [Option<u64>; 2] {
        let client = neighbourhood(client);
        let is_home = known.at_home.get(&self.key.hash_one(("home", email, client))).is_some();
        let email = match is_home {
            true => self.key.hash_one(("e-mail from", email, client)),
            false => self.key.hash_one(("email", email)),
        };
        let address = (!client.is_loopback()).then(|| self.key.hash_one(("address", client)));
        [Some(email), address]
    }

    /// Seconds to wait before a password is looked at, if any. `email` is as [`Email::key`](crate::model::Email::key)
    /// has it.
    #[must_use]
    pub fn wait(&self, email: &str, client: IpAddr, now: Date) -> Option<u32> {
        let mut known = self.known();
        let counted = self.counted(&mut known, email, client);
        let waits =
            counted.into_iter().flatten().filter_map(|who| known.failed.peek(&who).copied());
        waits.map(|failed| failed.wait(now)).max().filter(|seconds| *seconds > 0)
    }

    /// A password was wrong.
    pub fn failed(&self, email: &str, client: IpAddr, now: Date) {
        let mut known = self.known();
        for who in self.counted(&mut known, email, client).into_iter().flatten() {
            let failed = known.failed.get_or_insert_mut(who, || Failed { count: 0, last: now });
            if failed.seconds_since(now) > FORGOTTEN_SECONDS {
                failed.count = 0;
            }
            *failed = Failed { count: failed.count.saturating_add(1), last: now };
        }
    }

    /// A password was right. What others failed at that e-mail elsewhere still counts for them.
    pub fn succeeded(&self, email: &str, client: IpAddr, _now: Date) {
        let mut known = self.known();
        let client = neighbourhood(client);
        if !client.is_loopback() {
            known.at_home.put(self.key.hash_one(("home", email, client)), ());
            for from_here in self.counted(&mut known, email, client).into_iter().flatten() {
                known.failed.pop(&from_here);
            }
        }
    }
}

/// An IPv6 client has a whole /64 to choose addresses from, so that is what counts.
fn neighbourhood(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: &str = "192.0.2.1";

    fn at(seconds: i64) -> Date {
        Date::from_millis(seconds * 1_000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_beyond_a_few_waits_twice_as_long() {
        let attempts = Attempts::new();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..17 {
            attempts.failed("a@b", address(AWAY), at(now));
            let wait = attempts.wait("a@b", address(AWAY), at(now)).unwrap_or(0);
            waits.push(wait);
            assert_eq!(attempts.wait("a@b", address(AWAY), at(now + i64::from(wait))), None);
            now += i64::from(wait);
        }
        let expected = [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900];
        assert_eq!(waits, expected);
        // After an hour it begins anew.
        now += i64::from(FORGOTTEN_SECONDS) + 1;
        attempts.failed("a@b", address(AWAY), at(now));
        assert_eq!(attempts.wait("a@b", address(AWAY), at(now)), None);
        // A clock that is set back.
        assert_eq!(attempts.wait("a@b", address(AWAY), at(0)), None);
    }

    #[test]
    fn by_email_and_by_address() {
        let attempts = Attempts::new();
        for number in 0..=FREE {
            // One address, many e-mails.
            attempts.failed(&format!("{number}@b"), address("2001:db8::1"), at(0));
            // One e-mail, many addresses.
            attempts.failed("one@b", address(&format!("192.0.2.{number}")), at(0));
        }
        assert!(attempts.wait("new@b", address("2001:db8::2"), at(0)).is_some(), "the same /64");
        assert!(attempts.wait("new@b", address("2001:db8:0:1::1"), at(0)).is_none());
        assert!(attempts.wait("one@b", address("198.51.100.1"), at(0)).is_some());
        assert!(attempts.wait("two@b", address("192.0.2.1"), at(0)).is_none());
    }

    #[test]
    fn nobody_is_kept_out_by_strangers() {
        let attempts = Attempts::new();
        attempts.succeeded("a@b", address(AWAY), at(0));
        for _ in 0..20 {
            attempts.failed("a@b", address("198.51.100.1"), at(0));
        }
        assert!(attempts.wait("a@b", address("198.51.100.1"), at(0)).is_some());
        assert!(attempts.wait("a@b", address("203.0.113.1"), at(0)).is_some());
        assert!(attempts.wait("a@b", address(AWAY), at(0)).is_none(), "who was here before");
        for _ in 0..20 {
            attempts.failed("a@b", address(AWAY), at(0));
        }
        assert!(attempts.wait("a@b", address(AWAY), at(0)).is_some(), "who fails there waits too");
    }

    /// Whoever signs in himself makes his address count anew, and nobody else's password.
    #[test]
    fn a_neighbour_who_signs_in_guesses_no_faster() {
        let attempts = Attempts::new();
        attempts.succeeded("a@b", address(AWAY), at(0));
        for _ in 0..4 {
            for _ in 0..FREE {
                attempts.failed("a@b", address(AWAY), at(0));
            }
            attempts.succeeded("neighbour@b", address(AWAY), at(0));
        }
        assert!(attempts.wait("a@b", address(AWAY), at(0)).is_some());
        assert!(attempts.wait("neighbour@b", address(AWAY), at(0)).is_none());
        attempts.succeeded("a@b", address(AWAY), at(900));
        assert!(attempts.wait("a@b", address(AWAY), at(900)).is_none());
    }

    #[test]
    fn behind_a_proxy_of_this_machine_addresses_do_not_count() {
        let attempts = Attempts::new();
        for number in 0..100 {
            attempts.failed(&format!("{number}@b"), address("127.0.0.1"), at(0));
        }
        assert!(attempts.wait("new@b", address("127.0.0.1"), at(0)).is_none());
    }

    #[test]
    fn memory_has_a_bound() {
        let attempts = Attempts::new();
        for number in 0..20_000 {
            attempts.failed(&format!("{number}@b"), address("127.0.0.1"), at(0));
            attempts.succeeded(&format!("{number}@b"), address(AWAY), at(0));
        }
        let known = attempts.known();
        assert_eq!(known.failed.len(), REMEMBERED_MAX.get());
        assert_eq!(known.at_home.len(), REMEMBERED_MAX.get());
    }
}
