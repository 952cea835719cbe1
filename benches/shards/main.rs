//! Far more machines: where one stream ends, and how accounts would lie on several. A model that is fed with measured costs
//! ([`costs`]); it stores nothing and sends nothing.
//!
//! What it says of these costs: one stream ends at some 190,000 small events or 30 MB a second. More servers that write it
//! don't add to that but take from it, since one group is under way over all of them and each that loses a place is offered
//! again: three have 0.6 to 0.8 of it, nine 0.2 to 0.3. Where each offers as soon as it can, the one beside the stream's leader
//! has most places and the others' groups wait, for seconds where a fourth of what one takes comes to three. One that lets the
//! time of two acknowledgements pass behind its own group, while others write, has all three about even, with 20 ms at p99.
//! What goes beyond one stream goes onto several, and is bounded by the heaviest account.
//!
//! It knows nothing of processors that are shared: of several writers on two cores, with three nats-servers, 0.4 to 0.8 of
//! what it says was measured. Three servers of ours on the same two cores, with their clients, stored 105 batches of 500
//! events a second, of which each had 24 to 40 %, where it says 280, of which each has 12 to 76 %: what takes its time by
//! chance, as threads do that wait for a processor, makes shares more even.
//!
//! `cargo bench --bench shards` takes a minute; as a test it is small, and looks whether the model does what it has to.

mod accounts;
mod costs;
mod stream;

use costs::Random;
use stream::{Came, Scene, run};

/// Records of a group, and its bytes, at the most.
const GROUP_RECORDS_MAX: f64 = triggerly::store::GROUP_RECORDS_MAX as f64;
const GROUP_BYTES_MAX: f64 = triggerly::store::GROUP_BYTES_MAX as f64;

/// Writers that race for places and do nothing else, as they were measured with the same three nats-servers.
struct Race {
    kib: f64,
    writers: usize,
    gives_way: f64,
    /// Groups a second, and offers for each.
    groups: f64,
    offers: f64,
    /// The least and the most that one of them had of all groups, in percent.
    shares: (f64, f64),
    /// Milliseconds until a group had its place, p99.
    p99: f64,
}

const fn raced(
    kib: f64,
    writers: usize,
    gives_way: f64,
    (groups, offers): (f64, f64),
    shares: (f64, f64),
    p99: f64,
) -> Race {
    Race { kib, writers, gives_way, groups, offers, shares, p99 }
}

const RACES: [Race; 18] = [
    raced(4.0, 1, 0.0, (2_182.0, 1.00), (100.0, 100.0), 1.9),
    raced(4.0, 2, 0.0, (1_404.0, 1.57), (7.0, 93.0), 18.6),
    raced(4.0, 3, 0.0, (811.0, 2.01), (5.0, 88.0), 75.8),
    raced(4.0, 5, 0.0, (558.0, 3.26), (3.0, 48.0), 161.0),
    raced(4.0, 9, 0.0, (494.0, 5.61), (1.0, 32.0), 300.0),
    raced(4.0, 2, 2.0, (492.0, 1.38), (45.0, 55.0), 6.9),
    raced(4.0, 3, 2.0, (758.0, 1.89), (30.0, 39.0), 7.5),
    raced(4.0, 5, 2.0, (587.0, 3.13), (13.0, 32.0), 34.2),
    raced(4.0, 9, 2.0, (358.0, 5.90), (6.0, 24.0), 128.0),
    raced(64.0, 1, 0.0, (221.0, 1.00), (100.0, 100.0), 23.9),
    raced(64.0, 2, 0.0, (180.0, 1.48), (4.0, 96.0), 136.0),
    raced(64.0, 3, 0.0, (154.0, 2.09), (1.0, 92.0), 361.0),
    raced(64.0, 5, 0.0, (104.0, 3.23), (1.0, 81.0), 569.0),
    raced(64.0, 9, 0.0, (79.0, 6.02), (0.0, 41.0), 1_448.0),
    raced(64.0, 2, 2.0, (152.0, 1.45), (42.0, 58.0), 24.0),
    raced(64.0, 3, 2.0, (153.0, 2.03), (26.0, 44.0), 40.4),
    raced(64.0, 5, 2.0, (96.0, 3.36), (11.0, 36.0), 248.0),
    raced(64.0, 9, 2.0, (43.0, 6.55), (4.0, 28.0), 1_375.0),
];

/// Milliseconds after which a caller is told that the log has no quorum.
const GIVEN_UP: f64 = 5_000.0;

fn main() {
    let is_whole = std::env::args().any(|arg| arg == "--bench");
    let seconds = if is_whole { 60.0 } else { 3.0 };
    let mut random = Random(1);
    race(seconds, &mut random);
    let alone = full(seconds, &mut random);
    under_load(alone, seconds, &mut random);
    sharded(alone, if is_whole { 200 } else { 20 });
}

/// The bounds of a group of such records.
fn scene(servers: usize, record_bytes: f64) -> Scene {
    let group_records = GROUP_RECORDS_MAX.min((GROUP_BYTES_MAX / record_bytes).floor());
    Scene {
        servers,
        record_bytes,
        group_records,
        arriving: None,
        stores: true,
        gives_way: 0.0,
        seconds: 0.0,
    }
}

/// The model beside what was measured.
fn race(seconds: f64, random: &mut Random) {
    println!("Writers that race and do nothing else: the model (measured)");
    println!(
        "KiB  writers  gives way       groups/s       offers       least        most          p99 ms"
    );
    for race in RACES {
        let scene = scene(race.writers, race.kib * 1024.0);
        let (stores, gives_way) = (false, race.gives_way);
        let came = run(Scene { group_records: 1.0, stores, gives_way, seconds, ..scene }, random);
        println!(
            "{:3}  {:7}  {gives_way:9}  {:5.0} ({:5.0})  {:4.2} ({:4.2})  {:3.0} % ({:3.0})  {:3.0} % ({:3.0})  {:6.1} ({:6.1})",
            race.kib,
            race.writers,
            came.groups_a_second,
            race.groups,
            came.offers_a_group,
            race.offers,
            came.shares.0 * 100.0,
            race.shares.0,
            came.shares.1 * 100.0,
            race.shares.1,
            came.wait(0.99),
            race.p99
        );
        check(&came, race.writers);
    }
}

/// What has to hold of whatever comes of it.
fn check(came: &Came, servers: usize) {
    let (least, most) = came.shares;
    assert!(came.groups_a_second > 0.0 && came.offers_a_group >= 0.99);
    assert!(least <= most && most <= 1.0 && most >= 0.99 / servers as f64);
    assert!(servers > 1 || (came.offers_a_group < 1.02 && most > 0.99), "nobody is in the way");
}

/// As much as they take. Returns the records a second of one server alone with small records.
fn full(seconds: f64, random: &mut Random) -> f64 {
    println!("\nAll have full groups, always (flushes and all)");
    println!(
        "bytes  servers  gives way  groups/s  events/s   MB/s  offers  least  most   p50 ms   p99 ms   longest"
    );
    let mut alone = 0.0;
    for record_bytes in [128.0, 1_024.0] {
        for servers in [1, 2, 3, 5, 9] {
            for gives_way in [0.0, 1.0, 2.0, 4.0] {
                if servers == 1 && gives_way > 0.0 {
                    continue;
                }
                let came =
                    run(Scene { gives_way, seconds, ..scene(servers, record_bytes) }, random);
                check(&came, servers);
                println!(
                    "{record_bytes:5}  {servers:7}  {gives_way:9}  {:8.0}  {:8.0}  {:5.1}  {:6.2}  {:3.0} %  {:3.0} %  {:7.1}  {:7.1}  {:8.1}",
                    came.groups_a_second,
                    came.records_a_second,
                    came.records_a_second * record_bytes / 1e6,
                    came.offers_a_group,
                    came.shares.0 * 100.0,
                    came.shares.1 * 100.0,
                    came.wait(0.5),
                    came.wait(0.99),
                    came.wait(1.0)
                );
                if servers == 1 && alone == 0.0 {
                    alone = came.records_a_second;
                } else if record_bytes < 1_000.0 {
                    assert!(
                        came.records_a_second < alone * 1.3,
                        "one stream is no faster by more servers"
                    );
                }
            }
        }
    }
    alone
}

fn under_load(alone: f64, seconds: f64, random: &mut Random) {
    println!("\nThree servers, events of 128 bytes, as parts of what one alone takes");
    println!(" part  gives way  came/s  stored/s  offers  least  most   p50 ms   p99 ms   longest");
    for part in [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9] {
        for gives_way in [0.0, 2.0] {
            let arriving = Some(alone * part);
            let came = run(Scene { arriving, gives_way, seconds, ..scene(3, 128.0) }, random);
            println!(
                "{:3.0} %  {gives_way:9}  {:6.0}  {:8.0}  {:6.2}  {:3.0} %  {:3.0} %  {:7.1}  {:7.1}  {:8.1}{}",
                part * 100.0,
                alone * part,
                came.records_a_second,
                came.offers_a_group,
                came.shares.0 * 100.0,
                came.shares.1 * 100.0,
                came.wait(0.5),
                came.wait(0.99),
                came.wait(1.0),
                if came.wait(1.0) > GIVEN_UP { "  (given up)" } else { "" }
            );
        }
    }
}

/// Accounts on several streams.
fn sharded(alone: f64, worlds: u64) {
    println!(
        "\n10,000 accounts on several streams, over {worlds} worlds of ids; a stream takes {alone:.0} events/s"
    );
    println!(
        "exponent  heaviest  shards  fullest (p50)  (p99)  events/s (p50)  at the most  moves: accounts  calls"
    );
    for exponent in [0.0, 0.8, 1.0, 1.2] {
        let parts = accounts::skewed(10_000, exponent);
        for shards in [1, 2, 4, 8, 16, 64] {
            let mut fullest: Vec<f64> = (0..worlds)
                .map(|seed| accounts::loads(&parts, shards, seed).into_iter().fold(0.0, f64::max))
                .collect();
            fullest.sort_by(f64::total_cmp);
            let at = |part: f64| fullest[((worlds - 1) as f64 * part) as usize];
            let (mut accounts, mut calls) = (0.0, 0.0);
            for seed in 0..worlds {
                let moved = accounts::moved(&parts, shards, seed);
                accounts += moved.0 / worlds as f64;
                calls += moved.1 / worlds as f64;
            }
            println!(
                "{exponent:8}  {:6.1} %  {shards:6}  {:11.1} %  {:3.0} %  {:14.0}  {:11.0}  {:13.1} %  {:3.1} %",
                parts[0] * 100.0,
                at(0.5) * 100.0,
                at(0.99) * 100.0,
                alone / at(0.5),
                // However many there are, one of them has the heaviest account.
                alone / parts[0].max(1.0 / shards as f64),
                accounts * 100.0,
                calls * 100.0
            );
            let even = 1.0 / shards as f64;
            assert!(at(1.0) >= parts[0].max(even) - 1e-9);
            let fair = 1.0 / (shards + 1) as f64;
            assert!((accounts - fair).abs() < 0.1 * fair + 0.002, "a new one takes its part");
            if exponent == 0.0 {
                // Six standard deviations of who draws how many.
                let most = even + 6.0 * (even / 10_000.0).sqrt();
                assert!(at(1.0) <= most, "{shards}: {} of {even}", at(1.0));
            }
        }
    }
}
