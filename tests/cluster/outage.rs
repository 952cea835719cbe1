//! Two of three `nats-server`s gone, so that nothing can be acknowledged: calls are refused, what is there is read,
//! and all is well again soon after they are back.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::call::{self, Answer};
use super::equal::{equal_exports, stop_and_verify};
use super::load::{Load, check_refusal};
use super::nats::Nats;
use super::site::{SUBJECT, Site};
use crate::support::random::Random;
use crate::support::{Reply, base64, escape};

/// How soon servers say that they take nothing: longer than they try to learn what became of what they published.
const NOTICED: Duration = Duration::from_secs(15);

/// How soon after NATS is itself again calls are acknowledged again. How long NATS takes for that is its own affair: each of
/// its servers waits 4 to 9 s before it tries to lead, and sometimes more than once.
const BACK: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn two_of_three_gone() {
    let mut random = Random::new();
    let mut site = Site::start();
    let load = Load::start(&site, &mut random);
    let servers = site.addresses();
    load.wait_for(&servers, NOTICED);
    let gone = [[0, 1], [1, 2], [2, 0]][random.within(0..3) as usize];
    println!("gone: {gone:?}");
    for number in gone {
        site.nats[number].kill();
    }
    for server in &servers {
        wait_for_health(*server, 503, NOTICED);
    }
    let before: Vec<_> = servers.iter().map(|server| load.acknowledged_by(*server)).collect();
    for server in &servers {
        let began = Instant::now();
        let reply = track(&site, *server, 1).unwrap_or_else(|answer| panic!("{answer:?}"));
        check_refusal(&reply);
        assert_eq!(reply.code(), "no_quorum", "{reply:?}");
        println!("refused after {:.1?}", began.elapsed());
        let health = site.read(*server, "/healthz");
        println!("{server}: {}", health.text());
        for target in ["/v1/stats", "/v1/events?limit=10", "/v1/users?limit=10"] {
            let reply = site.read(*server, target);
            assert_eq!(reply.status, 200, "{target}: {reply:?}");
            assert!(reply.header("X-Triggerly-Seq").is_some(), "{target}: {reply:?}");
        }
    }
    thread::sleep(Duration::from_secs(3));
    let after: Vec<_> = servers.iter().map(|server| load.acknowledged_by(*server)).collect();
    assert_eq!(before, after, "somebody was told 200");
    for number in gone {
        site.nats[number].start();
    }
    for number in gone {
        wait_for_nats(site.nats[number].address);
    }
    let there = Instant::now();
    while let Err(why) = Nats::connect(site.nats[0].address).and_then(|mut nats| {
        // The stream may have a leader before the servers have one, whom it takes to read the stream.
        nats.ask("$JS.API.INFO", &json!({}))?;
        nats.publish(SUBJECT, &[], b"not a group")
    }) {
        assert!(there.elapsed() < 2 * NOTICED, "NATS takes nothing: {why}");
        thread::sleep(Duration::from_millis(20));
    }
    println!("NATS is itself again after {:.2?}", there.elapsed());
    let back = Instant::now();
    let took: Vec<_> = servers
        .iter()
        .map(|server| {
            while !track(&site, *server, 2).is_ok_and(|reply| reply.status == 200) {
                assert!(back.elapsed() < 6 * BACK, "{server} doesn't acknowledge again");
                thread::sleep(Duration::from_millis(20));
            }
            back.elapsed()
        })
        .collect();
    println!(
        "acknowledged again {took:.2?} later, {:.2?} after the servers were there",
        there.elapsed()
    );
    assert!(took.iter().all(|took| *took <= BACK), "longer than {BACK:?}: {took:?}");
    for server in &servers {
        wait_for_health(*server, 200, NOTICED);
    }
    let ledger = load.stop();
    println!("{}", ledger.summary());
    let exports = equal_exports(&site);
    // Those by hand are of a user of their own.
    let sent: Vec<u8> = exports
        .events
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !String::from_utf8_lossy(line).contains("by hand"))
        .flatten()
        .copied()
        .collect();
    if let Err(why) = ledger.check(&sent, &exports.users) {
        panic!("{why}");
    }
    stop_and_verify(&mut site);
}

/// An event that no ledger has.
fn track(site: &Site, server: SocketAddr, n: u64) -> Result<Reply, Answer> {
    let data = escape(&base64(format!(r#"{{"type":"by hand","n":{n}}}"#)));
    let target = format!("/v1/events/track?api_token={}&data={data}", site.api_token);
    match call::get(server, &target, &[]) {
        Answer::Reply(reply) => Ok(reply),
        other => Err(other),
    }
}

#[track_caller]
fn wait_for_health(server: SocketAddr, status: u16, patience: Duration) {
    let began = Instant::now();
    loop {
        let answer = call::get(server, "/healthz", &[]);
        if matches!(&answer, Answer::Reply(reply) if reply.status == status) {
            return;
        }
        assert!(began.elapsed() < patience, "{server} isn't at {status}: {answer:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until somebody can connect.
fn wait_for_nats(address: SocketAddr) {
    let began = Instant::now();
    while let Err(why) = Nats::connect(address) {
        assert!(began.elapsed() < NOTICED, "{address}: {why}");
        thread::sleep(Duration::from_millis(5));
    }
}
