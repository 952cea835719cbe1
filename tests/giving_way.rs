//! Questions where other programs keep all processors busy: their threads, which give way to all others, are
//! hardly run then.
//!
//! Promises that tracking goes on, that the server ends all the same when it is told to, and that all it has
//! acknowledged is there afterwards.

mod support;

use std::collections::BTreeSet;
use std::hint::spin_loop;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use support::Server;

/// Threads for each processor that do nothing but want it.
const BUSY_EACH: usize = 8;

/// Events that are asked about, and how many are sent at a time.
const EVENTS: usize = 20_000;
const AT_A_TIME: usize = 1_000;

/// Calls that are tracked meanwhile.
const CALLS: usize = 20;

const HEAVY: [&str; 8] = [
    "/v1/breakdown?by=plan",
    "/v1/breakdown?by=plan&measure=users",
    "/v1/breakdown?by=n&measure=sum:n",
    "/v1/funnel?steps=a,b&within=7d",
    "/v1/retention?first=a&back=b&interval=week",
    "/v1/stats?where=plan%3Dpro",
    "/v1/events?where=plan%3Dnone",
    "/v1/users?sort=n",
];

/// Has those who are busy end, however the test does.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn it_ends_while_nobody_lets_its_questions_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(&dir.path().join("store"), &["--rate", "off"]);
    for from in (0..EVENTS).step_by(AT_A_TIME) {
        let event = |n: usize| {
            let kind = if n.is_multiple_of(3) { "b" } else { "a" };
            format!(r#"{{"type":"{kind}","user_id":"u{}","plan":"pro","n":{n}}}"#, n % 999)
        };
        let body = (from..from + AT_A_TIME).map(event).collect::<Vec<_>>().join("\n");
        let head = format!(
            "POST /v1/events/track?api_token={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: \
             application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            server.api_token,
            body.len()
        );
        let answer = support::raw(server.address, format!("{head}{body}").as_bytes());
        assert_eq!(support::parse(&answer).expect("an answer").status, 200);
    }
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let over = AtomicBool::new(false);
    let status = thread::scope(|scope| {
        for _ in 0..BUSY_EACH * processors {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    spin_loop();
                }
            });
        }
        let _over = Over(&over);
        // Nobody waits for the answers.
        let asked: Vec<TcpStream> = HEAVY
            .iter()
            .map(|target| {
                let mut stream = TcpStream::connect(server.address).unwrap();
                let key = &server.secret_key;
                write!(
                    stream,
                    "GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
                )
                .unwrap();
                stream
            })
            .collect();
        for n in 0..CALLS {
            server.track("events", &format!(r#"{{"type":"meanwhile","n":{n}}}"#));
        }
        let status = server.terminate();
        drop(asked);
        status
    });
    // It says so if stopping has taken longer than it may.
    assert!(status.success(), "{status}");
    let server = server.again();
    let found = server.read("/v1/events?type=meanwhile&limit=1000").json();
    let found = found["events"].as_array().expect("a list").iter();
    let found: BTreeSet<u64> =
        found.filter_map(|event| event["attributes"]["n"].as_u64()).collect();
    assert_eq!(found, (0..CALLS as u64).collect());
}
