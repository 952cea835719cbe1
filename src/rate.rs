//! How fast calls may come: by address, and by account.
//!
//! Promises an answer in well under a microsecond, the same whichever thread asks, and memory with
//! a bound: who floods from more addresses than are remembered shares one allowance with the rest
//! of the unknown. Must not know HTTP, options or the wall clock.
//!
//! An allowance is a GCRA: so many a second, and [`BURST_SECONDS`] of them at once by who was
//! quiet before. An IPv6 client has a whole /64 to choose addresses from, so that is what counts.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::model::AccountId;

/// Calls a second from one address, unless somebody says otherwise.
pub const ADDRESS_DEFAULT: u32 = 100;

/// Objects a second for one account, unless somebody says otherwise.
pub const ACCOUNT_DEFAULT: u32 = 5_000;

/// The highest rate that can be set; beyond it, `off` says the same.
pub const PER_SECOND_MAX: u32 = 1_000_000;

/// Seconds' worth of calls that may come at once.
pub const BURST_SECONDS: u32 = 10;

/// Objects of an account that may come at once at any rate, so that a full batch can pass.
pub const ACCOUNT_BURST_MIN: u32 = 1_000;

/// Addresses, and accounts, that are remembered at once.
pub const REMEMBERED_MAX: usize = SHARDS * SHARD_MAX;

/// Parts with a lock of their own, so that threads seldom wait for each other and no one part takes
/// long to look through.
const SHARDS: usize = 64;

/// Remembered in one part.
const SHARD_MAX: usize = 1_024;

/// Every so many calls, one part forgets whom it need not remember.
const CALLS_PER_SWEEP: usize = 64;

/// What may come a second; `None` for as much as likes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls from one address.
    pub address: Option<NonZeroU32>,
    /// Objects for one account.
    pub account: Option<NonZeroU32>,
}

/// Too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Seconds until the same would pass, rounded up; at least 1.
    pub seconds: u64,
}

/// The allowances of all clients of a server.
#[derive(Debug)]
pub struct Rates<C: Clock = Steady> {
    addresses: Option<Limiter<IpAddr, C>>,
    /// What an address may have at once.
    address_burst: NonZeroU32,
    accounts: Option<Limiter<AccountId, C>>,
}

impl Rates {
    /// Allowances by the machine's steady clock, all unused.
    #[must_use]
    pub fn new(limits: Limits) -> Rates {
        Rates::with_clock(limits, &Steady(Instant::now()))
    }
}

impl<C: Clock + Clone> Rates<C> {
    /// The same by another clock.
    #[must_use]
    pub fn with_clock(limits: Limits, clock: &C) -> Rates<C> {
        let address_quota = |rate| quota(rate, 1);
        let burst = |rate| address_quota(rate).burst_size();
        let account_quota = |rate| quota(rate, ACCOUNT_BURST_MIN);
        Rates {
            addresses: limits.address.map(|rate| Limiter::new(address_quota(rate), clock)),
            address_burst: limits.address.map_or(NonZeroU32::MIN, burst),
            accounts: limits.account.map(|rate| Limiter::new(account_quota(rate), clock)),
        }
    }

    /// Takes one call out of a client's allowance. The machine itself has no limit.
    ///
    /// # Errors
    /// [`Wait`] if there is nothing left; then nothing is taken.
    pub fn call(&self, client: IpAddr) -> Result<(), Wait> {
        self.calls(client, 1)
    }

    /// Takes so many calls out of it, all or none, for one that makes as much work; never more than it may have
    /// at once.
    ///
    /// # Errors
    /// [`Wait`] if that many aren't left; then nothing is taken.
    pub fn calls(&self, client: IpAddr, count: u32) -> Result<(), Wait> {
        match (&self.addresses, NonZeroU32::new(count)) {
            (Some(addresses), Some(count)) if !is_loopback(client) => {
                addresses.take(&neighbourhood(client), count.min(self.address_burst))
            }
            _ => Ok(()),
        }
    }

    /// Takes so many objects out of an account's allowance, all or none. What the machine itself
    /// sends isn't counted.
    ///
    /// # Errors
    /// [`Wait`] if that many aren't left; then nothing is taken.
    pub fn objects(&self, client: IpAddr, account: AccountId, count: u32) -> Result<(), Wait> {
        match (&self.accounts, NonZeroU32::new(count)) {
            (Some(accounts), Some(count)) if !is_loopback(client) => accounts.take(&account, count),
            _ => Ok(()),
        }
    }
}

fn quota(per_second: NonZeroU32, burst_min: u32) -> Quota {
    let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
    let burst = burst.max(NonZeroU32::MIN.saturating_add(burst_min - 1));
    Quota::per_second(per_second).allow_burst(burst)
}

fn is_loopback(client: IpAddr) -> bool {
    client.to_canonical().is_loopback()
}

/// Whom an address stands for: an IPv4 address itself, an IPv6 address its /64.
fn neighbourhood(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// A clock that only goes forward, from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Steady(Instant);

impl Clock for Steady {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One allowance a key, all of the same size.
#[derive(Debug)]
struct Limiter<K: Hash + Eq + Clone, C: Clock> {
    clock: C,
    inner: RateLimiter<K, Shards<K>, C, NoOpMiddleware<C::Instant>>,
    calls: AtomicUsize,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limiter<K, C> {
    fn new(quota: Quota, clock: &C) -> Limiter<K, C> {
        Limiter {
            clock: clock.clone(),
            inner: RateLimiter::new(quota, Shards::new(), clock.clone()),
            calls: AtomicUsize::new(0),
        }
    }

    fn take(&self, key: &K, count: NonZeroU32) -> Result<(), Wait> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % CALLS_PER_SWEEP == CALLS_PER_SWEEP - 1 {
            self.inner.retain_recent();
        }
        let wait = match self.inner.check_key_n(key, count) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(until)) => until.wait_time_from(self.clock.now()),
            // More than ever fits; no call can be so large.
            Err(_) => Duration::from_secs(BURST_SECONDS.into()),
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Err(Wait { seconds: seconds.max(1) })
    }
}

/// When each key's allowance will be whole again, in parts.
#[derive(Debug)]
struct Shards<K> {
    shards: Vec<Mutex<Shard<K>>>,
    hasher: RandomState,
    next_swept: AtomicUsize,
}

#[derive(Debug)]
struct Shard<K> {
    known: HashMap<K, Nanos>,
    /// What all share that came when the part was full.
    unknown: Option<Nanos>,
}

impl<K: Hash + Eq> Shards<K> {
    fn new() -> Shards<K> {
        let shard = || Mutex::new(Shard { known: HashMap::new(), unknown: None });
        Shards {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            next_swept: AtomicUsize::new(0),
        }
    }

    fn shard(&self, hash: usize) -> MutexGuard<'_, Shard<K>> {
        // Numbers alone are behind it, so none is half changed after a panic.
        self.shards[hash % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Shards<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(self.hasher.hash_one(key) as usize);
        if let Some(until) = shard.known.get_mut(key) {
            let (outcome, new) = measure(Some(*until))?;
            *until = new;
            Ok(outcome)
        } else if shard.known.len() < SHARD_MAX {
            let (outcome, new) = measure(None)?;
            shard.known.insert(key.clone(), new);
            Ok(outcome)
        } else {
            let (outcome, new) = measure(shard.unknown)?;
            shard.unknown = Some(new);
            Ok(outcome)
        }
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Shards<K> {
    /// Looks through one part, each time the next, so that nobody waits for all of them.
    fn retain_recent(&self, drop_below: Nanos) {
        let mut shard = self.shard(self.next_swept.fetch_add(1, Ordering::Relaxed));
        shard.known.retain(|_, until| *until > drop_below);
    }

    fn len(&self) -> usize {
        (0..SHARDS).map(|at| self.shard(at).known.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn rates(address: u32, account: u32) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limits =
            Limits { address: NonZeroU32::new(address), account: NonZeroU32::new(account) };
        (Rates::with_clock(limits, &clock), clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn passed(rates: &Rates<FakeRelativeClock>, client: IpAddr, tries: u32) -> usize {
        (0..tries).filter(|_| rates.call(client).is_ok()).count()
    }

    #[test]
    fn a_client_has_its_burst_and_then_its_rate() {
        let (rates, clock) = rates(3, 0);
        let client = ip("192.0.2.1");
        assert_eq!(passed(&rates, client, 100), 30);
        assert_eq!(rates.call(client), Err(Wait { seconds: 1 }));
        assert_eq!(passed(&rates, ip("192.0.2.2"), 100), 30, "another has its own");
        for _ in 0..5 {
            clock.advance(Duration::from_secs(1));
            assert_eq!(passed(&rates, client, 100), 3);
        }
        clock.advance(Duration::from_secs(1_000));
        assert_eq!(passed(&rates, client, 100), 30, "no more than a burst is saved up");
    }

    #[test]
    fn what_makes_more_work_counts_as_more_calls() {
        let (rates, clock) = rates(3, 0);
        let client = ip("192.0.2.1");
        assert_eq!(rates.calls(client, 20), Ok(()));
        assert!(rates.calls(client, 20).is_err());
        assert_eq!(rates.calls(client, 10), Ok(()));
        assert_eq!(
            rates.calls(client, 1_000),
            Err(Wait { seconds: 10 }),
            "as much as fits at once"
        );
        clock.advance(Duration::from_secs(10));
        assert_eq!(rates.calls(client, 1_000), Ok(()));
        assert_eq!(rates.calls(ip("127.0.0.1"), u32::MAX), Ok(()));
    }

    #[test]
    fn who_counts_as_one() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let (rates, _) = rates(1, 0);
            assert_eq!(passed(&rates, ip(one), 20), 10, "{one}");
            assert_eq!(rates.call(ip(other)).is_err(), same, "{one} {other}");
        }
        let (rates, _) = rates(1, 1);
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(passed(&rates, ip(own), 5_000), 5_000, "{own}");
            assert_eq!(rates.objects(ip(own), AccountId(1), u32::MAX), Ok(()));
        }
    }

    #[test]
    fn an_account_takes_a_batch_whole_or_not_at_all() {
        let (rates, clock) = rates(0, 1);
        let (client, account) = (ip("192.0.2.1"), AccountId(7));
        let objects = |count| rates.objects(client, account, count);
        assert_eq!(passed(&rates, client, 5_000), 5_000, "addresses have no limit here");
        assert_eq!(objects(0), Ok(()));
        assert_eq!(objects(1_000), Ok(()));
        assert_eq!(objects(1_000), Err(Wait { seconds: 1_000 }));
        assert_eq!(objects(3), Err(Wait { seconds: 3 }));
        assert_eq!(rates.objects(client, AccountId(8), 1_000), Ok(()));
        clock.advance(Duration::from_millis(2_500));
        assert_eq!(objects(3), Err(Wait { seconds: 1 }), "half a second is rounded up");
        assert_eq!(objects(2), Ok(()), "what was refused took nothing");
        assert_eq!(objects(1_001), Err(Wait { seconds: 10 }), "it never fits");
    }

    #[test]
    fn a_flood_from_everywhere_stays_within_memory_and_is_limited() {
        let (rates, clock) = rates(1, 0);
        let flood = |from: u32, to: u32| {
            (from..to).filter(|n| rates.call(IpAddr::V4((0x0100_0000 + n).into())).is_ok()).count()
        };
        let remembered = || rates.addresses.as_ref().expect("a limit").inner.len();
        let count = 4 * REMEMBERED_MAX as u32;
        let passed = flood(0, count);
        assert!(remembered() <= REMEMBERED_MAX, "{}", remembered());
        assert!(remembered() > REMEMBERED_MAX * 9 / 10, "{}", remembered());
        let shared = SHARDS * BURST_SECONDS as usize;
        assert!(passed <= REMEMBERED_MAX + shared, "{passed}");
        // Who is known has what is left of his own.
        assert_eq!(rates.call(ip("1.0.0.0")), Ok(()));
        // Once they are quiet, all are forgotten while others call.
        clock.advance(Duration::from_secs(u64::from(BURST_SECONDS) * 2));
        for _ in 0..SHARDS * CALLS_PER_SWEEP {
            let _ = rates.call(ip("192.0.2.1"));
        }
        assert!(remembered() <= 1, "{}", remembered());
        assert!(flood(count, count + 1_000) == 1_000);
    }

    #[test]
    fn threads_share_one_allowance() {
        let (rates, _) = rates(100, 0);
        let sum: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| passed(&rates, ip("192.0.2.1"), 1_000))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(sum, 1_000);
    }
}
