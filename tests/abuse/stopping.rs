//! Told to stop in the midst of it all.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use triggerly::app::STOP_MAX;

use crate::scene::{Seen, Setup, check_stored, start};
use crate::support::Server;
use crate::swarm::{Pace, SOURCE, Script, Swarm};

/// Connections, by turns of the kinds below.
const HELD: usize = 256;

/// Rounds, each stopped a little later into the run.
const ROUNDS: u64 = 4;

/// How often those who track send, and how many at a time.
const EVERY: Duration = Duration::from_millis(20);
const AHEAD: usize = 4;

fn mark(key: usize, n: usize) -> String {
    format!("stopping {key} {n}")
}

/// What a connection begins with, and drips then. The last two kinds track all the time.
fn script(server: &Server, key: usize) -> Script {
    let target = server.target("events", &format!(r#"{{"type":"attack","mark":"half {key}"}}"#));
    let get = format!("GET {target} HTTP/1.1\r\nHost: test\r\n");
    let token = &server.api_token;
    match key % 8 {
        0 => Script::new("", ""),
        1 => Script::new(&get[..get.len() / 2], ""),
        2 => Script::new(format!("{get}X-Slowly: "), "a"),
        3 => Script::new(
            format!(
                "POST /v1/events/track?api_token={token} HTTP/1.1\r\nHost: test\r\n\
                 Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"type\":"
            ),
            " ",
        ),
        4 => Script::new(
            format!(
                "POST /v1/events/track?api_token={token} HTTP/1.1\r\nHost: test\r\n\
                 Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"
            ),
            " ",
        ),
        5 => Script::new("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n", ""),
        _ => Script::new("", ""),
    }
}

fn tracks(key: usize) -> bool {
    key % 8 >= 6
}

/// It ends in time with status 0, and every 200 was true.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn sigterm_under_256_connections() {
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut server = start(Setup::default(), &dir.path().join("store"), &log);
        let scripts = (0..HELD).map(|key| script(&server, key));
        let pace = Pace::Pieces { bytes: 1, every: Duration::from_millis(100) };
        let mut swarm = Swarm::open(server.address, SOURCE, pace, scripts);
        let mut sent = vec![0; HELD];
        let mut say = |swarm: &mut Swarm| {
            for key in (0..HELD).filter(|key| tracks(*key)) {
                for _ in 0..AHEAD {
                    let event = format!(r#"{{"type":"attack","mark":"{}"}}"#, mark(key, sent[key]));
                    let target = server.target("events", &event);
                    sent[key] += 1;
                    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
                    swarm.say(key, request.as_bytes());
                }
            }
            swarm.run(EVERY);
        };
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(500 + 37 * round) {
            say(&mut swarm);
        }
        server.signal(rustix::process::Signal::TERM);
        let told = Instant::now();
        // They go on as if nothing had happened, some a while after the server has gone.
        while told.elapsed() < Duration::from_millis(300) {
            say(&mut swarm);
        }
        swarm.run(STOP_MAX);
        let over = told.elapsed();
        let status = server.wait();
        let ended = told.elapsed();
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(status.success() && ended <= STOP_MAX, "{status} after {ended:?}: {logged}");
        assert!(!logged.contains("panicked"), "{logged}");
        let tally = swarm.tally();
        assert!(swarm.peers.iter().all(|peer| peer.ended.is_some()), "{tally}");

        let (mut seen, mut others) = (Seen::default(), BTreeSet::new());
        for (key, peer) in swarm.peers.iter().enumerate() {
            for (n, status) in peer.statuses().into_iter().enumerate() {
                match (tracks(key), status) {
                    (true, 200) => {
                        seen.must.insert(mark(key, n));
                    }
                    (true, 503) | (false, 200 | 408 | 503) => {}
                    _ => panic!("{key}: {}", peer.fate()),
                }
                if status != 200 {
                    others.insert(status);
                }
            }
            // Sent whole; it may have been taken though no answer came.
            seen.may.extend((0..sent[key]).map(|n| mark(key, n)));
        }
        println!(
            "SIGTERM under {HELD}: {status} and all closed within {over:.1?}; {} acknowledged, also answered {others:?}",
            seen.must.len()
        );
        assert!(!seen.must.is_empty());
        check_stored("SIGTERM", &server.again(), &BTreeSet::new(), &seen);
    }
}
