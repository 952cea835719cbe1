//! Visitors, told from each other for a day without being known.
//!
//! A visitor is a hash of account, address and user agent under a salt: 32 random bytes that are in
//! memory alone, change when a day ends (UTC) and are overwritten then. Without the salt nobody,
//! the owner of the machine included, can find by trying which address a hash came from, nor join
//! one day with the next or one account with another. A restart makes a new salt too, where a server is by itself; servers
//! that share a log have one between them (see [`super::salt`]).

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::salt::{Salts, day_of};
use crate::model::{AccountId, Date};

/// Bytes of the hash that are kept, written as twice as many hexadecimal digits.
const VISITOR_BYTES: usize = 16;

#[derive(Default)]
pub(super) struct Visitors(Arc<Salts>);

impl Visitors {
    pub(super) fn under(salts: Arc<Salts>) -> Visitors {
        Visitors(salts)
    }

    /// Who it is, for this account and day; `None` if the machine has no randomness to give, or no salt was
    /// agreed on yet.
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
        let mac = self.0.with(day_of(now), |salt| Hmac::<Sha256>::new_from_slice(salt));
        let mut mac = mac?.ok()?;
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
        self.0.tend(now);
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
        let bytes = || visitors.0.bytes();
        visitors.of(ONE, ip("::1"), "a", at("2001-07-04"));
        let salt = bytes();
        assert_ne!(salt, [[0; 32]; 2]);
        visitors.tend(at("2001-07-04T23:59:59Z"));
        assert_eq!(bytes(), salt);
        visitors.tend(at("2001-07-05"));
        assert_eq!(bytes(), [[0; 32]; 2]);
        assert!(visitors.0.of(day_of(at("2001-07-04"))).is_none());
    }

    #[test]
    fn without_randomness_there_is_no_visitor() {
        let salts = Salts::with_source(Some(|_| Err(getrandom::Error::UNEXPECTED)));
        let visitors = Visitors::under(Arc::new(salts));
        assert_eq!(visitors.of(ONE, ip("::1"), "a", at("2001-07-04")), None);
        assert!(visitors.0.of(day_of(at("2001-07-04"))).is_none());
    }

    #[test]
    fn servers_with_one_salt_see_one_visitor() {
        let noon = at("2001-07-04T12:00:00Z");
        let servers = [(); 2].map(|()| {
            let salts = Arc::new(Salts::agreed());
            (Arc::clone(&salts), Visitors::under(salts))
        });
        let all = || {
            let of = |(_, visitors): &(_, Visitors)| visitors.of(ONE, ip("192.0.2.1"), "a", noon);
            servers.each_ref().map(of)
        };
        assert_eq!(all(), [None, None]);
        for (salts, _) in &servers {
            salts.give(day_of(noon), &[7; 32]);
        }
        let [one, other] = all();
        assert!(one.is_some() && one == other);
    }
}
