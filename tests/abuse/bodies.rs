//! Bodies: lengths that can't be, ones that come slowly or from many at once, ones that unpack to
//! more than anybody has, and good ones between.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::scene::{Seen, Setup, beside, for_a_while};
use crate::support::Server;
use crate::swarm::{Pace, SOURCE, Script, Swarm};

/// The largest body, as the contract has it.
const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;

/// What a server on a machine of 512 MB may have had of memory at the most.
const PEAK_MIB_MAX: u64 = 256;

fn impatient(peak_mib: Option<u64>) -> Setup<'static> {
    Setup { arguments: &["--request-timeout", "2s"], peak_mib, ..Setup::default() }
}

/// The head of a call that posts JSON, with these lines in it.
fn post(server: &Server, lines: &str) -> String {
    let token = &server.api_token;
    format!(
        "POST /v1/events/track?api_token={token} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{lines}\r\n"
    )
}

/// Each is answered or cut within a second, whatever is declared and however little comes.
#[test]
fn declared_lengths() {
    const TOLD_MAX: Duration = Duration::from_secs(1);
    beside("declared lengths", impatient(Some(PEAK_MIB_MAX)), |server| {
        let get = server.target("events", r#"{"type":"attack","mark":"a length"}"#);
        let mut calls = Vec::new();
        for length in
            ["2147483648", "137438953472", "4611686018427387904", "18446744073709551615", "-1"]
        {
            let lines = format!("Content-Length: {length}\r\n");
            calls.push((length, post(server, &lines)));
            calls.push((length, post(server, &format!("Expect: 100-continue\r\n{lines}"))));
            for target in [&get, "/healthz", "/nowhere"] {
                calls.push((length, format!("GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")));
            }
        }
        let mut slowest = Duration::ZERO;
        let mut shown = String::new();
        for_a_while(|_| {
            for dripped in ["", "x"] {
                let scripts: Vec<_> = (0..5)
                    .flat_map(|_| calls.iter().map(|(_, call)| Script::new(call.as_str(), dripped)))
                    .collect();
                let pace = Pace::Pieces { bytes: 1, every: Duration::from_millis(50) };
                let mut swarm = Swarm::open(server.address, SOURCE, pace, scripts);
                swarm.until(Duration::from_secs(2), |peer| peer.is_told());
                for (peer, (length, _)) in swarm.peers.iter().zip(calls.iter().cycle()) {
                    let told = peer.told().unwrap_or(Duration::MAX);
                    assert!(told <= TOLD_MAX, "{length}: after {told:?}: {}", peer.fate());
                    slowest = slowest.max(told);
                    let fits = matches!(peer.statuses()[..], [] | [400 | 413]);
                    assert!(fits, "{length}: {}", peer.fate());
                }
                // The connection is of no use any more.
                swarm.run(Duration::from_secs(4));
                assert!(swarm.peers.iter().all(|peer| peer.ended.is_some()), "{}", swarm.tally());
                shown = swarm.tally();
            }
        });
        format!("told within {slowest:.1?}: {shown}")
    });
}

/// Bodies of a thousand bytes, a byte a second each.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn dripped_bodies() {
    beside("dripped bodies", impatient(Some(PEAK_MIB_MAX)), |server| {
        let known = post(server, "Content-Length: 1000\r\n");
        // What begins as a good chunk, and goes on like one.
        let chunked = post(server, "Transfer-Encoding: chunked\r\n");
        let scripts = (0..1_000).map(|n| match n % 2 {
            0 => Script::new(known.as_str(), "[ "),
            _ => Script::new(format!("{chunked}3e8\r\n"), "[ "),
        });
        let pace = Pace::Pieces { bytes: 1, every: Duration::from_secs(1) };
        let mut swarm = Swarm::open(server.address, SOURCE, pace, scripts);
        swarm.run(Duration::from_secs(5));
        for peer in &swarm.peers {
            assert!(peer.ended.is_some(), "{}", swarm.tally());
            assert!(matches!(peer.statuses()[..], [] | [408]), "{}", swarm.tally());
        }
        swarm.tally()
    });
}

/// From two hundred connections at once all but the last byte of the largest body, and held: a
/// gigabyte, if somebody kept it.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn large_bodies_from_many_at_once() {
    beside("large bodies", impatient(Some(PEAK_MIB_MAX)), |server| {
        let head = post(server, &format!("Content-Length: {BODY_BYTES_MAX}\r\n"));
        let mut bytes = head.into_bytes();
        let head_bytes = bytes.len();
        bytes.resize(head_bytes + BODY_BYTES_MAX - 1, b' ');
        // All share the same bytes, so that the test has room for them.
        let held = Script::new(bytes, "");
        let mut swarm =
            Swarm::open(server.address, SOURCE, Pace::Full, (0..200).map(|_| held.clone()));
        swarm.run(Duration::from_secs(8));
        for peer in &swarm.peers {
            assert!(peer.ended.is_some(), "{}", swarm.tally());
            assert!(matches!(peer.statuses()[..], [] | [408 | 413 | 503]), "{}", swarm.tally());
        }
        let mut shown = swarm.tally();
        // And whole ones, that turn out to be nothing but spaces.
        let mut bytes = held.first.to_vec();
        bytes.push(b' ');
        let whole = Script::new(bytes, "");
        let scripts = (0..64).map(|_| whole.clone());
        let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
        let told = swarm.until(Duration::from_secs(20), |peer| peer.is_told());
        assert!(told, "{}", swarm.tally());
        for peer in &swarm.peers {
            let fits = matches!(peer.statuses()[..], [] | [400 | 408 | 413 | 503]);
            assert!(fits, "{}", swarm.tally());
        }
        shown += &format!("; whole: {}", swarm.tally());
        shown
    });
}

/// Chunks are counted as they come, so nobody needs to declare too much to send too much.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn chunks_without_end() {
    beside("chunks without end", impatient(Some(PEAK_MIB_MAX)), |server| {
        let head = post(server, "Transfer-Encoding: chunked\r\n");
        let large = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        let mut shown = String::new();
        for_a_while(|_| {
            let scripts = (0..32).map(|n| match n % 2 {
                0 => Script::new(head.as_str(), large.as_str()),
                _ => Script::new(head.as_str(), "1\r\n \r\n".repeat(1_000)),
            });
            let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
            swarm.run(Duration::from_secs(6));
            for peer in &swarm.peers {
                assert!(peer.ended.is_some(), "{}", swarm.tally());
                let fits = matches!(peer.statuses()[..], [] | [400 | 408 | 413 | 503]);
                assert!(fits, "{}", swarm.tally());
            }
            shown = swarm.tally();
        });
        shown
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    let mut child =
        gzip.arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip runs");
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

/// One member can't be smaller than a thousandth of what it unpacks to, so a bomb of a gigabyte has a
/// megabyte; 16 KB unpack to 16 MB. Many are thrown at once.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn gzip_bombs() {
    let spaces = vec![b' '; 1 << 20];
    let member = gzip(&spaces);
    let small = gzip(&spaces.repeat(16));
    let large = member.repeat(1_024);
    let mut cut = small.clone();
    cut.truncate(small.len() / 2);
    assert!(small.len() < 20_000 && large.len() < BODY_BYTES_MAX);
    beside("gzip bombs", impatient(Some(PEAK_MIB_MAX)), |server| {
        let zipped = |body: &[u8]| {
            let lines = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
            [post(server, &lines).as_bytes(), body].concat()
        };
        let bombs: Vec<_> =
            [(&small, 413), (&large, 413), (&cut, 413), (&b"\x1f\x8b".to_vec(), 400)]
                .map(|(body, status)| (Script::new(zipped(body), ""), status))
                .into();
        let mut seen = Seen::default();
        for_a_while(|round| {
            let scripts = bombs.iter().cycle().take(32).map(|(script, _)| script.clone());
            let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
            let told = swarm.until(Duration::from_secs(10), |peer| peer.is_told());
            assert!(told, "{}", swarm.tally());
            for (peer, (_, status)) in swarm.peers.iter().zip(bombs.iter().cycle()) {
                let statuses = peer.statuses();
                assert!(statuses == [*status] || statuses == [503], "{status}: {}", peer.fate());
            }
            seen.line = swarm.tally();
            // What is packed as it should be is taken.
            let mark = format!("packed {round}");
            let body = gzip(format!(r#"{{"type":"attack","mark":"{mark}"}}"#).as_bytes());
            let script = Script::new(zipped(&body), "");
            let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, [script]);
            swarm.until(Duration::from_secs(5), |peer| peer.is_told());
            assert_eq!(swarm.peers[0].statuses(), [200], "{mark}");
            seen.must.insert(mark);
        });
        seen
    });
}

/// Bodies framed in every way, one behind the other on one connection: each is read exactly.
#[test]
fn good_bodies_are_read_exactly() {
    beside("good bodies", Setup::default(), |server| {
        let mut seen = Seen::default();
        for_a_while(|round| {
            let scripts: Vec<_> = (0..8)
                .map(|number| {
                    let mut bytes = Vec::new();
                    for n in 0..40_usize {
                        let mark = format!("{round} {number} {n}");
                        // Text that would be a request, if a body ended too early.
                        let body = format!(
                            r#"{{"type":"attack","mark":"{mark}","s":"\r\n\r\nGET / HTTP/1.1\r\n{}"}}"#,
                            "x".repeat(n * n)
                        );
                        seen.must.insert(mark);
                        if n % 2 == 0 {
                            let lines = format!("Content-Length: {}\r\n", body.len());
                            bytes.extend_from_slice(post(server, &lines).as_bytes());
                            bytes.extend_from_slice(body.as_bytes());
                        } else {
                            let lines = "Transfer-Encoding: chunked\r\n";
                            bytes.extend_from_slice(post(server, lines).as_bytes());
                            for chunk in body.as_bytes().chunks(n + number) {
                                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                                bytes.extend_from_slice(chunk);
                                bytes.extend_from_slice(b"\r\n");
                            }
                            bytes.extend_from_slice(b"0\r\n\r\n");
                        }
                    }
                    Script::new(bytes, "")
                })
                .collect();
            let source = Ipv4Addr::new(127, 0, 0, 4);
            let mut swarm = Swarm::open(server.address, source, Pace::Full, scripts);
            swarm.until(Duration::from_secs(10), |peer| peer.statuses().len() == 40);
            for peer in &swarm.peers {
                assert_eq!(peer.statuses(), [200; 40], "{:?}", peer.answers().last());
            }
            seen.line = swarm.tally();
            // What is stored fills the store's caches, and it is not their size that is looked at here.
            swarm.run(Duration::from_millis(250));
        });
        seen
    });
}
