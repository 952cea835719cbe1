//! Connections in numbers.

use std::time::Duration;

use crate::scene::{ATTACK_MIN, Setup, beside};
use crate::swarm::{Pace, SOURCE, Script, Swarm, resets};

/// Connections of a flood.
const MANY: usize = 5_000;

/// What a server of these cases gives a head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const IMPATIENT: Setup<'_> = Setup {
    arguments: &["--request-timeout", "3s"],
    descriptors: None,
    peak_mib: Some(200),
    prepare: None,
};

/// How long after its time-out a connection may be cut at the latest, thousands at once.
const CUT_LATE_MAX: Duration = Duration::from_secs(2);

const SECOND: Pace = Pace::Pieces { bytes: 1, every: Duration::from_secs(1) };

/// A head that never ends, byte by byte.
const HEAD: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Slowly: as slowly as can be";

/// All are over in time, and each has had one of these answers, or none.
fn all_cut(swarm: &mut Swarm, allowed: &[u16]) -> String {
    swarm.run(REQUEST_TIMEOUT + CUT_LATE_MAX);
    let tally = swarm.tally();
    for peer in &swarm.peers {
        let Some((_, at)) = peer.ended else { panic!("one is still held: {tally}") };
        assert!(at <= REQUEST_TIMEOUT + CUT_LATE_MAX, "{tally}");
        let statuses = peer.statuses();
        assert!(statuses.iter().all(|status| allowed.contains(status)), "{tally}");
        assert!(peer.rest().is_empty(), "{tally}");
    }
    tally
}

#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn five_thousand_dripping_a_byte_a_second() {
    beside("5,000 dripping", IMPATIENT, |server| {
        let scripts = (0..MANY).map(|_| Script::new("", HEAD));
        all_cut(&mut Swarm::open(server.address, SOURCE, SECOND, scripts), &[408])
    });
}

#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn five_thousand_idle() {
    beside("5,000 idle", IMPATIENT, |server| {
        let scripts = (0..MANY).map(|_| Script::new("", ""));
        let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
        let tally = all_cut(&mut swarm, &[]);
        // In silence, not by a reset.
        assert!(!tally.contains("reset"), "{tally}");
        tally
    });
}

/// Each is served within 2 s, though all came in the same moment, and again after a while of silence.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn two_hundred_and_fifty_six_opened_at_once_and_held() {
    beside("256 at once", Setup::default(), |server| {
        let mut shown = Vec::new();
        let scripts = (0..256).map(|_| Script::new("", ""));
        let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
        swarm.run(Duration::from_millis(200));
        for round in 1..=3 {
            for key in 0..swarm.peers.len() {
                swarm.say(key, b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
            }
            let began = std::time::Instant::now();
            let all =
                swarm.until(Duration::from_secs(2), |peer| peer.statuses() == vec![200; round]);
            let tally = swarm.tally();
            assert!(all && swarm.peers.iter().all(|peer| peer.ended.is_none()), "{tally}");
            shown.push(began.elapsed());
            swarm.run(ATTACK_MIN / 3);
        }
        format!("all 256 served in {shown:.1?}")
    });
}

/// Eight times as many connections as the server may have descriptors. They make room for each other, so
/// whoever else comes is served, and those who call stay.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn a_flood_under_256_descriptors() {
    let setup = Setup { descriptors: Some(256), ..Setup::default() };
    beside("flood, 256 descriptors", setup, |server| {
        // Most of them ask for something first.
        let ask = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
        let scripts = (0..2_048).map(|n| Script::new(if n % 8 != 0 { ask } else { "" }, ""));
        let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
        swarm.run(ATTACK_MIN);
        let held = swarm.peers.iter().filter(|peer| peer.ended.is_none()).count();
        assert!(held < 256, "{held} are held");
        for peer in &swarm.peers {
            // Those of a flood may have to go while all of it is busy.
            assert!(matches!(peer.statuses()[..], [] | [200] | [503]), "{}", swarm.tally());
        }
        swarm.tally()
    });
}

/// A connection that is reset before it is accepted, before a byte, and behind half a head.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn a_hundred_thousand_resets() {
    beside("100,000 resets", Setup::default(), |server| {
        let address = server.address;
        let before = std::time::Instant::now();
        resets(address, SOURCE, 50_000, 20_000, b"");
        resets(address, [127, 0, 0, 3].into(), 50_000, 20_000, b"GET /healthz HT");
        format!("100,000 in {:.1?}", before.elapsed())
    });
}
