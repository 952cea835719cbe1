//! Heads that have no end or are none, and other protocols.

use std::time::Duration;

use crate::scene::{Setup, beside, for_a_while};
use crate::support::random::Random;
use crate::swarm::{Pace, SOURCE, Script, Swarm};

const IMPATIENT: Setup<'_> = Setup {
    arguments: &["--request-timeout", "2s"],
    descriptors: None,
    peak_mib: None,
    prepare: None,
};

/// Until when all is answered or cut under that time-out.
const PATIENCE: Duration = Duration::from_millis(3_500);

/// Sends each of these at once, again and again, and expects that each is over in time, with nothing
/// but one of its statuses, or cut without an answer if that is among them as 0. Shows a tally.
fn throw(server: std::net::SocketAddr, garbage: &[(&str, Script, &[u16])]) -> String {
    let mut shown = String::new();
    for_a_while(|_| {
        let scripts = garbage.iter().map(|(_, script, _)| script.clone());
        let mut swarm = Swarm::open(server, SOURCE, Pace::Full, scripts);
        swarm.run(PATIENCE);
        for ((name, _, allowed), peer) in garbage.iter().zip(&swarm.peers) {
            let fate = peer.fate();
            assert!(peer.ended.is_some(), "{name}: {fate} after {} bytes", peer.sent);
            let fits = match peer.statuses()[..] {
                [] => allowed.contains(&0) && peer.rest().is_empty(),
                [status] => allowed.contains(&status),
                _ => false,
            };
            assert!(fits, "{name}: {fate}, not one of {allowed:?}");
            for reply in peer.answers() {
                // Each of our refusals says what is wrong.
                assert!(!reply.code().is_empty(), "{name}: {reply:?}");
            }
            // The server doesn't read what it can't want: sockets' buffers hold a few MiB.
            assert!(peer.sent < 32 << 20, "{name}: {} bytes were taken", peer.sent);
        }
        shown = swarm.tally();
    });
    shown
}

#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn heads_without_end() {
    let head = "GET /healthz HTTP/1.1\r\nHost: test\r\n";
    let letters = "a".repeat(10_000);
    let headers: String = (0..1_000).map(|n| format!("X-{n}: y\r\n")).collect();
    // What is sent on after a refusal may wipe it out, so each may be a mere cut.
    let mut garbage: Vec<(&str, Script, &[u16])> = Vec::new();
    for _ in 0..8 {
        garbage.extend([
            ("a header's value", Script::new(format!("{head}X: "), letters.clone()), &[431, 0][..]),
            ("a header's name", Script::new(head, letters.clone()), &[431, 400, 0]),
            ("headers", Script::new(head, headers.clone()), &[431, 0]),
            ("a target", Script::new("GET /", letters.clone()), &[414, 0]),
            ("a method", Script::new("", letters.clone()), &[400, 414, 0]),
            ("empty lines", Script::new("", "\r\n".repeat(1_000)), &[400, 408, 431, 414, 0]),
            ("spaces", Script::new("GET ", " ".repeat(10_000)), &[400, 414, 0]),
            ("zeros", Script::new("", vec![0; 10_000]), &[400, 414, 0]),
        ]);
    }
    beside("heads without end", IMPATIENT, |server| throw(server.address, &garbage));
}

#[test]
fn heads_that_are_too_large_are_told_so() {
    let head = "GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";
    let thousand: String = (0..1_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = "a".repeat(40_000);
    let line = "a".repeat(97 * 1024);
    let garbage: &[(&str, Script, &[u16])] = &[
        ("1,000 headers", Script::new(format!("{head}{thousand}\r\n"), ""), &[431]),
        ("a header of 40 KB", Script::new(format!("{head}X: {large}\r\n\r\n"), ""), &[431]),
        (
            "a target of 97 KiB",
            Script::new(
                format!("GET /{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
                "",
            ),
            &[414],
        ),
    ];
    beside("too large heads", IMPATIENT, |server| throw(server.address, garbage));
}

#[test]
fn other_protocols() {
    // A hello of TLS 1.3 as it begins, and a whole record of one, random and all.
    let hello = |length: u16| {
        let mut bytes = vec![0x16, 3, 1];
        bytes.extend(length.to_be_bytes());
        let [high, low] = (length - 4).to_be_bytes();
        bytes.extend([1, 0, high, low, 3, 3]);
        bytes.extend((0..length - 6).map(|n| (n * 37) as u8));
        bytes
    };
    let garbage: Vec<(&str, Script, &[u16])> = vec![
        ("HTTP/0.9", Script::new("GET /healthz\r\n", ""), &[400, 408, 505]),
        (
            "HTTP/0.9 with a header",
            Script::new("GET /healthz\r\nHost: test\r\n\r\n", ""),
            &[400, 505],
        ),
        ("HTTP/2", Script::new("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", ""), &[505]),
        (
            "HTTP/2.0 by name",
            Script::new("GET /healthz HTTP/2.0\r\nHost: test\r\n\r\n", ""),
            &[505],
        ),
        ("HTTP/3", Script::new("GET /healthz HTTP/3\r\nHost: test\r\n\r\n", ""), &[505, 400]),
        ("half of HTTP/2", Script::new("PRI * HT", ""), &[408]),
        ("TLS", Script::new(hello(512), ""), &[400, 0]),
        ("TLS, half", Script::new(&hello(512)[..100], ""), &[400, 408, 0]),
        ("TLS, the first byte", Script::new(vec![0x16], ""), &[400, 408, 0]),
        ("SSH", Script::new("SSH-2.0-OpenSSH_9.2\r\n", ""), &[400, 408, 0]),
        ("SMTP", Script::new("EHLO test\r\n", ""), &[400, 408, 0]),
        ("SOCKS", Script::new(vec![5, 1, 0], ""), &[400, 408, 0]),
        (
            "a proxy's greeting",
            Script::new("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /", ""),
            &[400, 408, 0],
        ),
        (
            "MQTT",
            Script::new(b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04test".to_vec(), ""),
            &[400, 408, 0],
        ),
        ("DNS", Script::new(vec![0, 29, 0, 1, 1, 0, 0, 1, 0, 0], ""), &[400, 408, 0]),
        ("JSON", Script::new("{\"type\":\"e\"}\r\n\r\n", ""), &[400, 0]),
    ];
    beside("other protocols", IMPATIENT, |server| throw(server.address, &garbage));
}

/// Some at random, some of them made of what HTTP is made of; some behind a good request.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn random_bytes() {
    const PARTS: &[&str] = &[
        "GET ",
        "POST ",
        "/healthz",
        "/",
        " ",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        ":",
        ": ",
        " HTTP/1.1\r\n",
        "Host: test\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Connection: ",
        "close",
        "5\r\nhello\r\n",
        "0\r\n",
        ",",
        ";",
        "\t",
        "\u{eb}",
        "9999999999",
    ];
    beside("random bytes", IMPATIENT, |server| {
        let mut random = Random::new();
        let mut fates = std::collections::BTreeMap::<String, usize>::new();
        for_a_while(|_| {
            let scripts: Vec<_> = (0..200)
                .map(|n| {
                    let mut bytes = Vec::new();
                    if n % 4 == 0 {
                        bytes.extend_from_slice(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
                    }
                    for _ in 0..random.within(1..40) {
                        if n % 2 == 0 {
                            bytes.extend_from_slice(random.pick(PARTS).as_bytes());
                        } else {
                            bytes.extend(
                                (0..random.within(1..50)).map(|_| random.within(0..256) as u8),
                            );
                        }
                    }
                    Script::new(bytes, "")
                })
                .collect();
            let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts.clone());
            // All but those that happen to be whole: they are kept for the next request.
            swarm.until(PATIENCE, |peer| peer.statuses().len() > 4);
            for (peer, script) in swarm.peers.iter().zip(&scripts) {
                *fates.entry(peer.fate()).or_default() += 1;
                let sent = script.first.escape_ascii();
                let statuses = peer.statuses();
                assert!(
                    !statuses.iter().any(|status| *status >= 500 && *status != 505),
                    "{sent}: {}",
                    peer.fate()
                );
                assert!(peer.rest().is_empty(), "{sent}: {}", peer.rest().escape_ascii());
                let kept = statuses.last().is_some_and(|status| *status < 400 || *status > 403);
                assert!(peer.ended.is_some() || kept, "{sent}: {}", peer.fate());
            }
        });
        format!("{fates:?}")
    });
}
