//! Visitors, told from each other for a day without being known.
//!
//! A visitor is a hash of account, address and user agent under a salt: 32 random bytes that are in
//! memory alone, change when a day ends (UTC) and are overwritten then. Without the salt nobody,
//! the owner of the machine included, can find by trying which address a hash came from, nor join
//! one day with the next or one account with another. A restart makes a new salt too.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::model::{AccountId, Date};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Bytes of the hash that are kept, written as twice as many hexadecimal digits.
const VISITOR_BYTES: usize = 16;

/// Where random bytes come from; it may fail.
type Source = fn(&mut [u8]) -> Result<(), getrandom::Error>;

pub(super) struct Visitors {
    salt: Mutex<Salt>,
    source: Source,
}

/// Never moved or copied, so that overwriting it leaves none behind.
struct Salt {
    /// Days since 1970 when it was made; `None` if there is none.
    day: Option<i64>,
    bytes: Box<[u8; 32]>,
}

impl Salt {
    /// Whether it is that of a day. One who began just before midnight may come just behind it, and
    /// finds the new one.
    fn holds(&self, day: i64) -> bool {
        self.day.is_some_and(|made| made == day || made == day + 1)
    }

    fn destroy(&mut self) {
        self.day = None;
        self.bytes.zeroize();
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.destroy();
    }
}

impl Default for Visitors {
    fn default() -> Visitors {
        Visitors::with_source(getrandom::fill)
    }
}

impl Visitors {
    fn with_source(source: Source) -> Visitors {
        Visitors { salt: Mutex::new(Salt { day: None, bytes: Box::new([0; 32]) }), source }
    }

    /// Who it is, for this account and day; `None` if the machine has no randomness to give.
    pub(super) fn of(
        &self,
        account: AccountId,
        client: IpAddr,
        user_agent: &str,
        now: Date,
    ) -> Option<String> {
        let address = match client {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let day = now.millis().div_euclid(DAY_MILLIS);
        // Half a salt has no day, so a panic in here can't leave one that is used.
        let mut salt = self.salt.lock().unwrap_or_else(PoisonError::into_inner);
        if !salt.holds(day) {
            salt.destroy();
            (self.source)(salt.bytes.as_mut_slice()).ok()?;
            salt.day = Some(day);
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(salt.bytes.as_slice()).ok()?;
        drop(salt);
        // The first two have a fixed length, so no two visitors are one text.
        mac.update(&account.0.to_be_bytes());
        mac.update(&address.octets());
        mac.update(user_agent.as_bytes());
        let mut text = String::with_capacity(2 * VISITOR_BYTES);
        for byte in mac.finalize().into_bytes().iter().take(VISITOR_BYTES) {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }

    /// Destroys the salt if its day is over.
    pub(super) fn tend(&self, now: Date) {
        let mut salt = self.salt.lock().unwrap_or_else(PoisonError::into_inner);
        if !salt.holds(now.millis().div_euclid(DAY_MILLIS)) {
            salt.destroy();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ONE: AccountId = AccountId(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(text: &str) -> Date {
        Date::parse(text).expect("a date")
    }

    #[test]
    fn a_visitor_is_one_for_a_day_an_account_an_address_and_an_agent() {
        let visitors = Visitors::default();
        let morning = at("2001-07-04T00:00:00Z");
        let of = |account, client, agent, now| {
            visitors.of(account, ip(client), agent, now).expect("randomness")
        };
        let one = of(ONE, "192.0.2.1", "a", morning);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_eq!(of(ONE, "192.0.2.1", "a", at("2001-07-04T23:59:59.999Z")), one);
        assert_eq!(of(ONE, "::ffff:192.0.2.1", "a", morning), one);
        let others = [
            of(AccountId(2), "192.0.2.1", "a", morning),
            of(ONE, "192.0.2.2", "a", morning),
            of(ONE, "192.0.2.1", "b", morning),
            of(ONE, "192.0.2.1", "a", at("2001-07-05")),
            // The old salt is gone: that day's visitors can't be found again.
            of(ONE, "192.0.2.1", "a", at("2001-07-03T12:00:00Z")),
            // Nor are they those of another start.
            Visitors::default().of(ONE, ip("192.0.2.1"), "a", morning).expect("randomness"),
            one,
        ];
        let distinct: HashSet<_> = others.iter().collect();
        assert_eq!(distinct.len(), others.len());
    }

    #[test]
    fn around_midnight_all_threads_see_one_salt() {
        let visitors = Visitors::default();
        let moments = [at("2001-07-04T23:59:59.999Z"), at("2001-07-05")];
        // The new day has begun for one of them.
        let new = visitors.of(ONE, ip("192.0.2.1"), "a", moments[1]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (visitors, new) = (&visitors, &new);
                scope.spawn(move || {
                    for call in 0..500 {
                        let now = moments[(thread + call) % 2];
                        assert_eq!(&visitors.of(ONE, ip("192.0.2.1"), "a", now), new);
                    }
                });
            }
        });
    }

    #[test]
    fn a_salt_is_overwritten_when_its_day_is_over() {
        let visitors = Visitors::default();
        let bytes = || *visitors.salt.lock().expect("no panic").bytes;
        visitors.of(ONE, ip("::1"), "a", at("2001-07-04"));
        let salt = bytes();
        assert_ne!(salt, [0; 32]);
        visitors.tend(at("2001-07-04T23:59:59Z"));
        assert_eq!(bytes(), salt);
        visitors.tend(at("2001-07-05"));
        assert_eq!(bytes(), [0; 32]);
        assert_eq!(visitors.salt.lock().expect("no panic").day, None);
    }

    #[test]
    fn without_randomness_there_is_no_visitor() {
        let visitors = Visitors::with_source(|_| Err(getrandom::Error::UNEXPECTED));
        assert_eq!(visitors.of(ONE, ip("::1"), "a", at("2001-07-04")), None);
        assert_eq!(visitors.salt.lock().expect("no panic").day, None);
    }
}
