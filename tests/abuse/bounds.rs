//! The bounds that whoever runs a server can set: how many connections, of whom, and how long.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::scene::{ATTACK_MIN, Setup, beside, start};
use crate::support::Server;
use crate::swarm::{End, Pace, SOURCE, Script, Swarm};

const ASK: &str = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";

fn silent(server: &Server, source: Ipv4Addr, count: usize) -> Swarm {
    let scripts = (0..count).map(|_| Script::new("", ""));
    let mut swarm = Swarm::open(server.address, source, Pace::Full, scripts);
    swarm.run(Duration::from_millis(200));
    swarm
}

fn held(swarm: &Swarm) -> usize {
    swarm.peers.iter().filter(|peer| peer.ended.is_none()).count()
}

/// One that has its share is told so at once, and whoever has another address has a share of his own.
#[test]
fn an_address_has_its_share() {
    const SHARE: usize = 32;
    let setup = Setup { arguments: &["--max-per-address", "32"], ..Setup::default() };
    beside("a share for each address", setup, |server| {
        let mut shown = String::new();
        let began = Instant::now();
        while began.elapsed() < ATTACK_MIN {
            // Both hold what they have at the same time.
            let mut swarms = [2, 3].map(|n| silent(server, Ipv4Addr::new(127, 0, 0, n), 200));
            for swarm in &mut swarms {
                for peer in &swarm.peers {
                    match peer.ended {
                        None => assert!(peer.statuses().is_empty(), "{}", swarm.tally()),
                        Some(_) => assert_eq!(peer.statuses(), [503], "{}", swarm.tally()),
                    }
                }
                assert_eq!(held(swarm), SHARE, "{}", swarm.tally());
                // Those who got in are served like anybody.
                for key in 0..swarm.peers.len() {
                    swarm.say(key, ASK.as_bytes());
                }
                let served = swarm.until(Duration::from_secs(2), |peer| peer.statuses() == [200]);
                assert!(served, "{}", swarm.tally());
                shown = swarm.tally();
            }
            drop(swarms);
            // What was given up is free again.
            std::thread::sleep(Duration::from_millis(200));
        }
        shown
    });
}

/// Those who never asked for anything make room first, then those who are quiet the longest.
#[test]
fn the_quietest_make_room() {
    let dir = tempfile::tempdir().unwrap();
    // An eighth is kept for others than the one address that all of these have.
    let setup = Setup { arguments: &["--max-connections", "45"], ..Setup::default() };
    let server = start(setup, &dir.path().join("store"), &dir.path().join("log"));
    let ask = |swarm: &mut Swarm| {
        let asked = swarm.peers.first().map_or(0, |peer| peer.statuses().len()) + 1;
        for key in 0..swarm.peers.len() {
            swarm.say(key, ASK.as_bytes());
        }
        let served =
            swarm.until(Duration::from_secs(2), |peer| peer.statuses() == vec![200; asked]);
        assert!(served && held(swarm) == swarm.peers.len(), "{}", swarm.tally());
    };
    let silent = |count| silent(&server, SOURCE, count);
    // By their letters: which are held, and of which all are over, without a word.
    let check = |held_now: &mut [(&str, &mut Swarm)], over: &mut [(&str, &mut Swarm)]| {
        for (name, swarm) in held_now {
            swarm.run(Duration::from_millis(50));
            assert_eq!(held(swarm), swarm.peers.len(), "{name}: {}", swarm.tally());
        }
        for (name, swarm) in over {
            swarm.run(Duration::from_secs(1));
            let closed = |peer: &crate::swarm::Peer| matches!(peer.ended, Some((End::Closed, _)));
            assert!(swarm.peers.iter().all(closed), "{name}: {}", swarm.tally());
        }
    };
    let mut a = silent(10);
    ask(&mut a);
    let (mut b, mut c) = (silent(10), silent(20));
    let mut d = silent(10);
    check(&mut [("a", &mut a), ("c", &mut c), ("d", &mut d)], &mut [("b", &mut b)]);
    ask(&mut d);
    let mut e = silent(20);
    check(&mut [("a", &mut a), ("d", &mut d), ("e", &mut e)], &mut [("c", &mut c)]);
    let mut f = silent(20);
    check(&mut [("a", &mut a), ("d", &mut d), ("f", &mut f)], &mut [("e", &mut e)]);
    ask(&mut f);
    // All were served now; the first asks again, so the second is the quietest.
    ask(&mut a);
    let mut g = silent(10);
    check(&mut [("a", &mut a), ("f", &mut f), ("g", &mut g)], &mut [("d", &mut d)]);
}

/// Each ends when it is due, and less than a second later.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn time_outs_are_exact() {
    const REQUEST: Duration = Duration::from_secs(2);
    const KEPT: Duration = Duration::from_secs(4);
    const LATE_MAX: Duration = Duration::from_secs(1);
    const BEGINS: Duration = Duration::from_millis(1_500);
    let arguments = &["--request-timeout", "2s", "--keep-alive", "4s"];
    beside("time-outs", Setup { arguments, ..Setup::default() }, |server| {
        let half = "GET /healthz HTTP/1.1\r\nHost:";
        let body = format!(
            "POST /v1/events/track?api_token={} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n[",
            server.api_token
        );
        // What is said at first and what a while later, what it is answered, and when it ends.
        let rows = [
            ("nothing", "", "", &[][..], REQUEST),
            ("half a head", half, "", &[408], REQUEST),
            ("half a head, later more of it", half, " test\r\n", &[408], REQUEST),
            ("half a head, later", "", half, &[408], BEGINS + REQUEST),
            ("half a body", &body, "", &[408], REQUEST),
            ("half a body, later more of it", &body, " ", &[408], REQUEST),
            ("a request", ASK, "", &[200], KEPT),
            ("a request, later another", ASK, ASK, &[200, 200], BEGINS + KEPT),
            ("a request, later half a head", ASK, half, &[200, 408], BEGINS + REQUEST),
            ("a request, later half a body", ASK, &body, &[200, 408], BEGINS + REQUEST),
        ];
        let times = 20;
        let all = || rows.iter().cycle().take(times * rows.len());
        let scripts = all().map(|(_, first, ..)| Script::new(*first, ""));
        let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
        swarm.run(BEGINS);
        for (key, (_, _, later, ..)) in all().enumerate() {
            swarm.say(key, later.as_bytes());
        }
        swarm.run(BEGINS + KEPT + LATE_MAX);
        let mut latest = Duration::ZERO;
        for ((name, _, _, statuses, due), peer) in all().zip(&swarm.peers) {
            assert_eq!(peer.statuses(), *statuses, "{name}");
            let (_, at) = peer.ended.unwrap_or_else(|| panic!("{name}: it is held"));
            let late = at.checked_sub(*due);
            let late = late.unwrap_or_else(|| panic!("{name}: it ended after {at:?} already"));
            // Those who were answered may stay a while to read it.
            assert!(late <= LATE_MAX, "{name}: it ended after {at:?}");
            latest = latest.max(late);
        }
        format!("at most {latest:.1?} late: {}", swarm.tally())
    });
}
