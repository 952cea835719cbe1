//! How fast calls may come, as clients behind a trusted proxy see it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::furnished::with_other_account;
use crate::support::{Reply, Server, post, request};
use crate::{WAYS, Way};

const EVENT: &str = r#"{"type":"t"}"#;

/// Calls of one address a second, and so many seconds' worth at once.
const PER_SECOND: usize = 5;
const AT_ONCE: usize = 50;

fn limited(dir: &std::path::Path, more: &[&str]) -> Server {
    Server::start_with(dir, &[&["--rate", "5,50"], more].concat())
}

const TRUSTING: [&str; 2] = ["--trust-proxy", "127.0.0.0/8"];

/// Makes calls as long as they are accepted; gives how many were, and the refusal.
fn until_refused(mut call: impl FnMut() -> Reply) -> (usize, Reply) {
    for accepted in 0..10 * AT_ONCE {
        let reply = call();
        if reply.status != 200 {
            return (accepted, reply);
        }
    }
    panic!("there is no limit");
}

fn retry_after(reply: &Reply) -> u64 {
    reply.header("Retry-After").expect("when to come again").parse().unwrap()
}

#[test]
fn an_address_has_its_burst_is_refused_and_may_come_again_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = limited(dir.path(), &TRUSTING);
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let call = |way: Way, address| way.send(&server, "events", EVENT, &from(address));

    let began = Instant::now();
    let (accepted, _) = until_refused(|| call(Way::Query, "192.0.2.1"));
    let refilled = (began.elapsed().as_secs_f64() * PER_SECOND as f64).ceil() as usize;
    assert!((AT_ONCE..=AT_ONCE + refilled).contains(&accepted), "{accepted}, {refilled}");
    // Whoever is refused takes nothing, so it is refused the same in each way, as long as it is too early.
    for way in WAYS {
        // So many calls as come in again while this way is tried.
        let (_, reply) = until_refused(|| call(way, "192.0.2.1"));
        way.check_refused(&reply, 429, "rate_limited");
        assert_eq!(reply.header("Retry-After"), Some("1"), "{way:?}");
    }
    // Other routes are of the same allowance, and say the same; health is told to everybody.
    let read = |target: &str| request(server.address, "GET", target, &from("192.0.2.1"));
    for target in ["/v1/events", "/metrics", "/nowhere", "/openapi.json", "/v1/refused"] {
        let reply = (0..10 * AT_ONCE).map(|_| read(target)).find(|reply| reply.status == 429);
        let reply = reply.expect("it is refused");
        assert_eq!((reply.code().as_str(), retry_after(&reply)), ("rate_limited", 1), "{target}");
        assert_eq!(reply.header("Access-Control-Allow-Origin"), None);
    }
    for _ in 0..2 * AT_ONCE {
        assert_eq!(read("/healthz").status, 200);
    }

    // Nobody else is harmed: not another, not the machine itself.
    assert_eq!(call(Way::Query, "192.0.2.2").status, 200);
    for _ in 0..3 * AT_ONCE {
        let reply = Way::Query.send(&server, "users", r#"{"id":1}"#, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    let (_, reply) = until_refused(|| call(Way::Query, "192.0.2.1"));
    thread::sleep(Duration::from_secs(retry_after(&reply)));
    assert_eq!(call(Way::Query, "192.0.2.1").status, 200);
}

/// An IPv6 client is its /64, by whichever header it is told; and the name of a port or quotes changes nothing.
#[test]
fn one_client_is_one_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = limited(dir.path(), &TRUSTING);
    let names = [
        ("X-Forwarded-For", "2001:db8:1:2::1"),
        ("X-Forwarded-For", "[2001:db8:1:2:ffff::9]:4711"),
        ("X-Forwarded-For", "192.0.2.9, 2001:db8:1:2::2, 127.0.0.9"),
        ("Forwarded", "for=\"[2001:db8:1:2:3:4:5:6]:80\";proto=https"),
        ("Forwarded", "for=192.0.2.8, for=\"[2001:db8:1:2::7]\", for=127.0.0.3"),
    ];
    let call = |name: (&str, &str)| Way::Query.send(&server, "events", EVENT, &[name]);
    let mut n = 0;
    let (accepted, _) = until_refused(|| {
        n += 1;
        call(names[n % names.len()])
    });
    assert!((AT_ONCE..2 * AT_ONCE).contains(&accepted), "{accepted}");
    for name in names {
        let (accepted, reply) = until_refused(|| call(name));
        assert!(accepted < AT_ONCE / 2, "{name:?}: {accepted}");
        assert_eq!(reply.status, 429, "{name:?}");
    }
    assert_eq!(call(("X-Forwarded-For", "2001:db8:1:3::1")).status, 200);
}

#[test]
fn an_account_counts_the_objects_of_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = limited(dir.path(), &TRUSTING);
    let batch = |server: &Server, from: &str, count: usize| {
        let bearer = format!("Bearer {}", server.api_token);
        let list: Vec<Value> = (0..count).map(|n| json!({"type": "t", "n": n})).collect();
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", from),
        ];
        post(server.address, "/v1/events/track", &headers, json!(list).to_string().as_bytes())
    };
    // Its burst is a full batch at least, though ten seconds' worth were 500.
    assert_eq!(batch(&server, "192.0.2.1", 900).status, 200);
    let reply = batch(&server, "192.0.2.2", 200);
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    assert!((1..=2).contains(&retry_after(&reply)), "{reply:?}");
    assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"));
    let reply = batch(&server, "192.0.2.2", 1_000);
    assert!((15..=18).contains(&retry_after(&reply)), "{reply:?}");
    // What fits still fits, since what was refused took nothing; the machine itself isn't counted.
    assert_eq!(batch(&server, "192.0.2.3", 90).status, 200);
    assert_eq!(batch(&server, "127.0.0.1", 1_000).status, 200);
    assert_eq!(server.all_events().len(), 1_990);
    with_other_account(&mut server, |server| {
        assert_eq!(batch(server, "192.0.2.2", 1_000).status, 200);
        assert_eq!(server.all_events().len(), 1_000);
    });
    // When it is told to come again, it fits.
    let reply = batch(&server, "192.0.2.4", 110);
    assert_eq!(reply.status, 429);
    thread::sleep(Duration::from_secs(retry_after(&reply)));
    assert_eq!(batch(&server, "192.0.2.4", 110).status, 200);
}

/// Who isn't trusted says whatever it likes: it stays who it is, here the machine itself, which has no limit.
#[test]
fn a_claim_of_somebody_who_is_not_trusted_counts_for_nothing() {
    for trusted in [&[][..], &["--trust-proxy", "10.0.0.0/8"]] {
        let dir = tempfile::tempdir().unwrap();
        let server = limited(dir.path(), trusted);
        for n in 0..3 * AT_ONCE {
            let name = ["X-Forwarded-For", "Forwarded"][n % 2];
            let value = ["192.0.2.1", "for=192.0.2.1"][n % 2];
            let reply = Way::Query.send(&server, "events", EVENT, &[(name, value)]);
            assert_eq!(reply.status, 200, "{n}: {reply:?}");
        }
    }
    // Nor can a client of a trusted proxy take another's allowance, or get one for each call.
    let dir = tempfile::tempdir().unwrap();
    let server = limited(dir.path(), &TRUSTING);
    let mut n = 0;
    let (accepted, _) = until_refused(|| {
        n += 1;
        let list = format!("198.51.100.{}, 192.0.2.1", n % 250);
        Way::Query.send(&server, "events", EVENT, &[("X-Forwarded-For", &list)])
    });
    assert!((AT_ONCE..2 * AT_ONCE).contains(&accepted), "{accepted}");
    let victim = [("X-Forwarded-For", "198.51.100.1")];
    assert_eq!(Way::Query.send(&server, "events", EVENT, &victim).status, 200);
}

#[test]
fn no_limit_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[&["--rate", "off"], &TRUSTING[..]].concat());
    for _ in 0..300 {
        let reply = Way::Query.send(&server, "events", EVENT, &[("X-Forwarded-For", "192.0.2.1")]);
        assert_eq!(reply.status, 200);
    }
}
