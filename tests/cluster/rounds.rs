//! Faults at random under load, one after another: nothing that was acknowledged is lost, nothing is there twice,
//! and all servers hold the same at the end.

use std::thread;
use std::time::{Duration, Instant};

use super::equal::{equal_exports, stop_and_verify};
use super::faults::{Fault, Trouble};
use super::load::Load;
use super::site::{Site, wait_to_listen};
use crate::support::random::Random;

/// How long a fault lasts, in milliseconds: shorter and longer than it takes to be noticed.
const LASTS: std::ops::Range<u64> = 500..8_000;

/// How long all is well in between.
const REST: Duration = Duration::from_secs(2);

/// How long servers may take to acknowledge again, once all is well.
const RECOVERY: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn four_random_rounds() {
    random_rounds(4);
}

#[test]
#[ignore = "needs root, iproute2 and nats-server; takes minutes"]
fn twenty_random_rounds() {
    random_rounds(20);
}

fn random_rounds(rounds: u32) {
    let mut random = Random::new();
    let mut site = Site::start();
    let load = Load::start(&site, &mut random);
    let servers = site.addresses();
    load.wait_for(&servers, RECOVERY);
    for round in 1..=rounds {
        thread::sleep(REST);
        let trouble = Trouble::any(&mut random);
        let lasts = Duration::from_millis(random.within(LASTS));
        println!("round {round}: {trouble} for {lasts:.1?}");
        trouble.strike(&mut site);
        thread::sleep(lasts);
        trouble.heal(&mut site);
        let healed = Instant::now();
        if trouble.fault == Fault::Kill {
            site.servers.iter_mut().for_each(wait_to_listen);
        }
        load.wait_for(&servers, RECOVERY);
        println!("  all acknowledge again after {:.2?}", healed.elapsed());
    }
    let ledger = load.stop();
    println!("{}", ledger.summary());
    let exports = equal_exports(&site);
    if let Err(why) = ledger.check(&exports.events, &exports.users) {
        panic!("{why}");
    }
    stop_and_verify(&mut site);
}
