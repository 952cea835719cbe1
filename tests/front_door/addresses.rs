//! No address of a client is ever written down, nor its user agent: every byte is looked at of what a server
//! leaves on disk, backs up, exports, answers and logs, after calls of every kind and outcome.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use triggerly::store::segment::Segment;

use crate::support::server::triggerly;
use crate::support::{Server, escape, files, post, raw, raw_from, request};
use crate::{WAYS, Way, done};

/// Whom the proxy names; no byte string of theirs comes up by chance. Each /64 is of one of them.
const NAMED: [&str; 6] = [
    "217.139.203.89",
    "178.201.93.211",
    "2a0d:9f3b:c7e1:5d83:b96f:e2a7:1c5b:8d4e",
    "94.183.221.157",
    "2c0f:e9b5:a3d7:71cb:9e6d:f58b:d2c7:3a9b",
    "185.217.167.229",
];

/// Where calls come from that no proxy made.
const PEER: Ipv4Addr = Ipv4Addr::new(127, 93, 201, 167);

const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0 qx-7731-mark";
const AGENT_PARTS: [&str; 3] = ["qx-7731-mark", "gecko/20100101", "rv:133"];

/// What an address could be written as.
fn needles() -> Vec<Vec<u8>> {
    let mut needles: Vec<Vec<u8>> =
        AGENT_PARTS.iter().map(|part| part.as_bytes().to_vec()).collect();
    let named = NAMED.iter().map(|address| address.parse().unwrap());
    for address in named.chain([IpAddr::V4(PEER)]) {
        let (bytes, mut texts) = match address {
            IpAddr::V4(address) => {
                let bytes = address.octets();
                let [a, b, c, d] = bytes;
                let parts = |by: &str| bytes.map(|byte| byte.to_string()).join(by);
                let texts = vec![
                    parts("."),
                    parts("-"),
                    parts("%2e"),
                    format!("{d}.{c}.{b}.{a}"),
                    address.to_bits().to_string(),
                    format!("{a:02x}{b:02x}:{c:02x}{d:02x}"),
                ];
                (bytes.to_vec(), texts)
            }
            IpAddr::V6(address) => {
                let segments = address.segments().map(|part| format!("{part:x}"));
                let texts = vec![
                    segments[..4].join(":"),
                    segments[4..].join(":"),
                    segments[..4].join("%3a"),
                    address.to_bits().to_string(),
                    segments[..4].concat(),
                ];
                (address.octets().to_vec(), texts)
            }
        };
        texts.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        needles.extend(texts.into_iter().map(String::into_bytes));
        // A /64 gives an address away as well.
        let halves: Vec<&[u8]> = bytes.chunks(8).collect();
        for part in halves.into_iter().chain([&*bytes]) {
            needles.push(part.to_vec());
            needles.push(part.iter().rev().copied().collect());
        }
    }
    needles
}

/// Which of them bytes hold, in text of either case.
fn found(bytes: &[u8]) -> Vec<String> {
    let needles = needles();
    // Nearly all that there is to look at are zeros, with which none begins.
    let mut by_first: Vec<Vec<&[u8]>> = vec![Vec::new(); 256];
    for needle in &needles {
        by_first[usize::from(needle[0])].push(needle);
        let upper = needle[0].to_ascii_uppercase();
        if upper != needle[0] {
            by_first[usize::from(upper)].push(needle);
        }
    }
    assert!(by_first[0].is_empty());
    let mut found = Vec::new();
    for (at, first) in bytes.iter().enumerate().filter(|(_, first)| **first != 0) {
        for needle in &by_first[usize::from(*first)] {
            let there = bytes.get(at..at + needle.len());
            if there.is_some_and(|there| there == *needle || there.to_ascii_lowercase() == *needle)
            {
                found.push(needle.escape_ascii().to_string());
            }
        }
    }
    found
}

#[test]
fn addresses_would_be_found() {
    for address in NAMED {
        let ip: IpAddr = address.parse().unwrap();
        let raw = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let reversed: Vec<u8> = raw.iter().rev().copied().collect();
        for bytes in [address.as_bytes(), address.to_uppercase().as_bytes(), &raw, &reversed] {
            assert_ne!(found(&[b"\0\0\xff{", bytes, b"}\0"].concat()), [""; 0], "{bytes:?}");
        }
    }
    assert_ne!(found(AGENT.as_bytes()), [""; 0]);
    assert_eq!(found(b"127.0.0.1 Firefox 192.0.2.1 ::1"), [""; 0]);
}

/// Calls that are accepted, and refused at every step on the way, from one client.
fn calls(server: &Server, address: &str) {
    let forwarded = match address.contains(':') {
        true => format!("for=\"[{address}]:4711\";proto=https"),
        false => format!("for={address}"),
    };
    let referer = ("Referer", "https://a.example/page");
    let names = [("X-Forwarded-For", address), ("Forwarded", &*forwarded)];
    for name in names {
        let headers = [name, referer, ("User-Agent", AGENT)];
        let get = |target: &str| request(server.address, "GET", target, &headers).status;
        assert_eq!(get("/v1/events/track?api_token=nobody&data={}"), 401);
        assert_eq!(get("/nowhere"), 404);
        assert_eq!(get("/v1/events"), 401);
        assert_eq!(get(&format!("/v1/events/track?x={}", "x".repeat(97 * 1024))), 414);
        let mut large = headers.to_vec();
        let padding = "x".repeat(33 * 1024);
        large.push(("X-Padding", &padding));
        let target = server.target("events", r#"{"type":"t"}"#);
        assert_eq!(request(server.address, "GET", &target, &large).status, 431);
        let wrong = format!("{target}&idempotency_key={}", escape("ë"));
        assert_eq!(get(&wrong), 400);
        let zipped =
            [&headers[..], &[("Content-Type", "application/json"), ("Content-Encoding", "br")]];
        assert_eq!(post(server.address, &target, &zipped.concat(), b"{}").status, 415);
    }
    for rest in [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "Host : x\r\n\r\n",
        "Content-Length: 9\r\n\r\n{",
    ] {
        let target = server.target("events", r#"{"type":"t"}"#);
        let text = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\nUser-Agent: {AGENT}\r\n\
             Referer: https://a.example/\r\n{rest}"
        );
        assert!(raw(server.address, text.as_bytes()).starts_with(b"HTTP/1.1 4"), "{rest}");
    }
    // More than are taken in so short a time.
    for name in names {
        let headers = [name, referer, ("User-Agent", AGENT)];
        for way in WAYS {
            for (kind, json) in [
                ("events", r#"{"type":"t","user_id":"u"}"#),
                ("users", r#"{"id":"u","plan":"pro"}"#),
                ("events", "{}"),
                ("users", "["),
            ] {
                way.send(server, kind, json, &headers);
            }
            let elsewhere = [name, ("Origin", "https://c.example"), ("User-Agent", AGENT)];
            way.send(server, "events", r#"{"type":"t"}"#, &elsewhere);
            let keyed = [name, referer, ("User-Agent", AGENT), ("Idempotency-Key", "k")];
            way.send(server, "events", r#"{"type":"t"}"#, &keyed);
        }
    }
}

#[track_caller]
fn check_files(dir: &Path) -> usize {
    let mut looked_at = 0;
    for path in files::all(dir) {
        let bytes = fs::read(&path).unwrap();
        looked_at += bytes.len();
        assert_eq!(found(&bytes), [""; 0], "{}", path.display());
        if path.extension().is_some_and(|extension| extension == "parquet") {
            // What it holds is compressed.
            let segment = Segment::open(&path, None).unwrap();
            for group in 0..segment.groups().len() {
                let rows = segment.read(group).unwrap();
                let text: String = rows.iter().map(|(_, record)| format!("{record:?}\n")).collect();
                assert!(text.contains("Firefox"), "it has contexts");
                assert_eq!(found(text.as_bytes()), [""; 0], "{}", path.display());
            }
        }
    }
    looked_at
}

#[test]
fn no_address_and_no_agent_is_written_down() {
    let below = tempfile::tempdir().unwrap();
    let dir = below.path().join("store");
    let log = below.path().join("log");
    let serve = |log: &Path| {
        let mut command = triggerly();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "trace", "--access-log"]);
        command.args(["--rate", "3,100", "--request-timeout", "300ms"]);
        command.args(["--trust-proxy", "127.0.0.1", "--max-per-address", "64", "--data"]);
        command.arg(&dir).stderr(File::create(log).unwrap());
        Server::run(command, &dir)
    };
    let mut server = serve(&log);
    done(&dir, &["account", "sites", "default", "a.example"]);
    for address in NAMED {
        calls(&server, address);
    }
    // One that isn't trusted, whatever it says.
    let track = server.target("events", r#"{"type":"peer"}"#);
    let call = format!(
        "GET {track} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: {AGENT}\r\n\
         X-Forwarded-For: {}\r\nOrigin: https://a.example\r\n\r\n",
        NAMED[0]
    );
    assert!(raw_from(PEER, server.address, call.as_bytes()).starts_with(b"HTTP/1.1 200"));
    raw_from(PEER, server.address, b"GET / HTTP/1.1\r\nHost");
    raw_from(PEER, server.address, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");

    let answers = |server: &Server| {
        for target in [
            "/v1/events?limit=1000",
            "/v1/users",
            "/v1/refused?limit=1000",
            "/v1/stats",
            "/metrics",
            "/healthz",
            "/v1/export?what=events&format=jsonl",
            "/v1/export?what=events&format=csv",
            "/v1/export?what=users&format=jsonl",
        ] {
            let reply = server.read(target);
            assert_eq!(reply.status, 200, "{target}");
            assert_eq!(found(&reply.body), [""; 0], "{target}");
        }
    };
    answers(&server);
    let events = server.all_events();
    let visitors: std::collections::BTreeSet<_> =
        events.iter().filter_map(|event| event["context"]["visitor"].as_str()).collect();
    assert_eq!(visitors.len(), NAMED.len() + 1, "all of them were served");
    let refused = server.read("/v1/refused?limit=1000").json();
    let text = refused.to_string();
    assert!(text.contains("rate_limited") && text.contains("https://a.example/page"), "{text}");

    // While it runs and what came last lies in sled.
    assert!(check_files(&dir) > 8 * 1024 * 1024);
    done(&dir, &["compact"]);
    assert!(check_files(&dir) > 8 * 1024 * 1024);
    let backup = below.path().join("backup");
    done(&dir, &["backup", backup.to_str().unwrap()]);
    assert_eq!(found(&fs::read(&backup).unwrap()), [""; 0]);
    let restored = below.path().join("restored");
    done(&restored, &["restore", backup.to_str().unwrap()]);
    check_files(&restored);
    for what in ["events", "users"] {
        for format in ["jsonl", "csv", "parquet"] {
            let file = below.path().join("export");
            let mut export = triggerly();
            export.args(["export", what, "--format", format, "--data"]).arg(&dir);
            assert!(export.stdout(File::create(&file).unwrap()).status().unwrap().success());
            assert_eq!(found(&fs::read(&file).unwrap()), [""; 0], "{what} {format}");
        }
    }
    assert!(server.terminate().success());
    check_files(&dir);
    assert_eq!(found(done(&dir, &["refused", "--json"]).as_bytes()), [""; 0]);
    let logged = fs::read(&log).unwrap();
    assert!(
        String::from_utf8_lossy(&logged).contains(" access: GET /v1/events/track 429 rate_limited")
    );
    assert_eq!(found(&logged), [""; 0]);

    // The salt is not there either: after a start, nobody is who it was.
    let mut again = serve(&below.path().join("log again"));
    again.api_token.clone_from(&server.api_token);
    again.secret_key.clone_from(&server.secret_key);
    let headers = [
        ("X-Forwarded-For", NAMED[0]),
        ("Referer", "https://a.example/page"),
        ("User-Agent", AGENT),
    ];
    let reply = Way::Query.send(&again, "events", r#"{"type":"again"}"#, &headers);
    Way::Query.check_accepted(&reply, 1);
    let last = again.read("/v1/events?limit=1").json();
    let visitor = last["events"][0]["context"]["visitor"].as_str().unwrap();
    assert!(!visitors.contains(visitor));
}
