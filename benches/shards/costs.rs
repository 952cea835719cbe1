//! What was measured, and numbers that are spread as it was.
//!
//! On two virtual cores that others used too, with a load of three to four: nats-server 2.9.10 from Debian 12, three of
//! them on loopback with a stream of three replicas in files (no `fsync` at each message, see the README), and async-nats
//! 0.51. 400 to 2,000 messages of each size, one after another, each with the sequence that it expects.

/// Of a message of so many bytes: milliseconds until it is acknowledged through a server that doesn't lead the stream, p50
/// and p99; and how long it keeps the stream busy, by what came through with 16 of them under way.
const MESSAGES: [(f64, f64, f64, f64); 5] = [
    (1_024.0, 0.49, 2.0, 0.071),
    (4_096.0, 0.53, 4.5, 0.153),
    (16_384.0, 0.91, 7.9, 0.343),
    (65_536.0, 1.67, 12.0, 1.077),
    (262_144.0, 7.44, 23.5, 3.731),
];

/// The same through the leader, as a part of that: 0.34 of 0.49 ms, 1.15 of 1.67 ms.
const THROUGH_LEADER: f64 = 0.7;

/// Milliseconds from the acknowledgement until another server has the message, p50: 0.1 to 0.2 of a small one, 0.5 of one
/// of 64 KiB. One that comes too late for its place takes as long, and the stream as much.
const SEEN_LATER: f64 = 0.2;
const SEEN_LATER_A_BYTE: f64 = 0.3 / 65_536.0;

/// Milliseconds that a server takes to flush a group, p50 and p99: `triggerly_flush_seconds` of one machine that stored
/// 4,786 batches of 500 events.
const FLUSH: (f64, f64) = (0.35, 1.5);

/// Milliseconds that a record takes its committer beyond that: such a batch took 1.05 ms in all, 0.44 of them the flush.
pub const RECORD: f64 = 0.0012;

/// Standard deviations from the median to the 99th percentile.
const P99: f64 = 2.326;

/// What a message of some size costs.
#[derive(Clone, Copy)]
pub struct Message {
    pub acked: f64,
    busy: f64,
    seen_later: f64,
    /// Of the logarithm of whatever it takes.
    spread: f64,
}

impl Message {
    pub fn of(bytes: f64) -> Message {
        let at =
            MESSAGES.iter().rposition(|row| row.0 <= bytes).unwrap_or(0).min(MESSAGES.len() - 2);
        let (a, b) = (MESSAGES[at], MESSAGES[at + 1]);
        let part = (bytes - a.0) / (b.0 - a.0);
        let between = |a: f64, b: f64| (a + (b - a) * part).max(a.min(b) / 2.0);
        let (acked, p99) = (between(a.1, b.1), between(a.2, b.2));
        let seen_later = SEEN_LATER + SEEN_LATER_A_BYTE * bytes;
        Message { busy: between(a.3, b.3), acked, seen_later, spread: (p99 / acked).ln() / P99 }
    }

    /// To the stream's leader, or back.
    pub fn way(&self, random: &mut Random, is_leader: bool) -> f64 {
        let near = (self.acked * THROUGH_LEADER - self.busy_mostly()).max(0.05) / 2.0;
        let far = self.acked * (1.0 - THROUGH_LEADER) / 2.0;
        random.around(if is_leader { near } else { near + far }, self.spread)
    }

    /// At the stream.
    pub fn handled(&self, random: &mut Random) -> f64 {
        random.around(self.busy_mostly(), self.spread)
    }

    /// The median, where what was measured is a mean.
    fn busy_mostly(&self) -> f64 {
        self.busy / (self.spread * self.spread / 2.0).exp()
    }

    pub fn on_its_way(&self, random: &mut Random) -> f64 {
        random.around(self.seen_later, self.spread)
    }
}

/// What a flush takes.
pub fn flush(random: &mut Random) -> f64 {
    random.around(FLUSH.0, (FLUSH.1 / FLUSH.0).ln() / P99)
}

/// SplitMix64: the same again for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// From 0 to 1, without either.
    pub fn part(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Distributed lognormally.
    fn around(&mut self, median: f64, spread: f64) -> f64 {
        median * (spread * self.normal()).exp()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.part().ln()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }

    /// How many of what comes so often on average.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (mut count, mut product, end) = (0.0, self.part(), (-mean).exp());
        while product > end {
            (count, product) = (count + 1.0, product * self.part());
        }
        count
    }

    /// The time until the next of what comes at this rate.
    pub fn until_next(&mut self, rate: f64) -> f64 {
        -self.part().ln() / rate
    }
}

/// All bits of a number depend on all of another.
pub fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
