//! Connections as clients really use them: requests sent ahead are answered in their order, a
//! connection is kept or closed as the answer says, and nothing that one client does to its own
//! connection keeps the server from serving the others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use support::Server;
use support::connection::Connection;

/// Connections that send ahead at once, and requests that each sends.
const BURSTS: u64 = 4;
const BURST: u64 = 1_000;

/// What a request is to be answered with: the status, and a text in the body that tells this answer
/// from all others.
type Expected = (u16, String);

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = &Server::start(dir.path());
    server.track("users", r#"{"id":"known","plan":"pro"}"#);
    // One after the other, so that none has to wait for the end of another.
    let open = || Connection::open(server.address).and_then(greeted).unwrap();
    let bursts: Vec<_> = (0..BURSTS).map(|_| open()).collect();
    let others: Vec<_> = (0..4).map(|_| open()).collect();
    let bursting = &AtomicBool::new(true);
    let tracked: u64 = thread::scope(|scope| {
        let others: Vec<_> = others
            .into_iter()
            .map(|mut connection| {
                scope.spawn(move || {
                    let mut tracked = 0;
                    while bursting.load(SeqCst) {
                        let target = server.target("events", r#"{"type":"other"}"#);
                        assert_eq!(connection.get(&target).unwrap().unwrap().status, 200);
                        tracked += 1;
                    }
                    tracked
                })
            })
            .collect();
        let bursts: Vec<_> = (0..)
            .zip(bursts)
            .map(|(number, connection)| scope.spawn(move || burst(server, connection, number)))
            .collect();
        let outcomes: Vec<_> = bursts.into_iter().map(|burst| burst.join()).collect();
        bursting.store(false, SeqCst);
        assert!(outcomes.iter().all(Result::is_ok), "a burst failed");
        others.into_iter().map(|other| other.join().unwrap()).sum()
    });
    assert!(tracked > 0, "others went on meanwhile");
    let mut seen = vec![false; (BURSTS * BURST) as usize];
    let mut others = 0;
    for event in server.all_events() {
        match event["attributes"]["n"].as_u64() {
            Some(n) => {
                assert!(!std::mem::replace(&mut seen[n as usize], true), "{n} is there twice")
            }
            None => others += 1,
        }
    }
    assert_eq!(others, tracked);
    for n in 0..BURSTS * BURST {
        assert_eq!(seen[n as usize], is_tracked(n % BURST), "{n}");
    }
}

/// Sends all requests with one write, then reads all answers.
fn burst(server: &Server, mut connection: Connection, number: u64) {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for at in 0..BURST {
        let (request, answer) = numbered(server, number * BURST + at, at);
        bytes.extend_from_slice(request.as_bytes());
        expected.push(answer);
    }
    connection.send(bytes).unwrap();
    for (at, (status, text)) in expected.iter().enumerate() {
        let reply = connection.reply().unwrap().expect("an answer");
        assert_eq!(reply.status, *status, "answer {at} of burst {number}: {reply:?}");
        assert!(
            reply.text().contains(text),
            "answer {at} of burst {number} has no {text}: {reply:?}"
        );
    }
    connection.finish().unwrap();
    assert!(connection.reply().unwrap().is_none(), "no answer too many");
}

/// Most track; some are refused, at different steps of the way, and some read.
fn is_tracked(at: u64) -> bool {
    !matches!(at % 10, 3 | 6) && at % 100 != 50 && at % 100 != 75
}

fn numbered(server: &Server, n: u64, at: u64) -> (String, Expected) {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let read = |target: &str| {
        let key = &server.secret_key;
        format!("GET {target} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n\r\n")
    };
    match at % 100 {
        50 => (read(&format!("/v1/users/nobody-{n}.")), (404, format!("nobody-{n}."))),
        75 => (read("/v1/users/known"), (200, r#""plan":"pro""#.to_owned())),
        _ if at % 10 == 3 => {
            let target =
                server.target("events", &format!(r#"{{"type":"e","date":"no date {n}."}}"#));
            (get(&target), (400, format!("no date {n}.")))
        }
        _ if at % 10 == 6 => (get("/v1/events/track"), (401, "missing_token".to_owned())),
        _ => {
            let target = server.target("events", &format!(r#"{{"type":"e","n":{n}}}"#));
            (get(&target), (200, r#"{"status":"ok"}"#.to_owned()))
        }
    }
}

fn greeted(mut connection: Connection) -> std::io::Result<Connection> {
    assert_eq!(connection.get("/healthz")?.expect("an answer").status, 200);
    Ok(connection)
}

#[test]
fn a_connection_is_kept_or_closed_as_the_answer_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (version, asked, said, kept) in [
        ("1.1", None, None, true),
        ("1.1", Some("keep-alive"), None, true),
        ("1.1", Some("Keep-Alive, TE"), None, true),
        ("1.1", Some("close"), Some("close"), false),
        ("1.1", Some("TE, Close"), Some("close"), false),
        // An upgrade that isn't taken up.
        ("1.1", Some("Upgrade, HTTP2-Settings"), None, true),
        ("1.0", None, Some("close"), false),
        ("1.0", Some("close"), Some("close"), false),
        ("1.0", Some("keep-alive"), Some("keep-alive"), true),
        ("1.0", Some("Keep-Alive"), Some("keep-alive"), true),
    ] {
        let case = format!("HTTP/{version}, {asked:?}");
        let header = asked.map_or_else(String::new, |asked| format!("Connection: {asked}\r\n"));
        // An answer at once, one that waits for the disk, and a refusal.
        let tracked = server.target("events", r#"{"type":"e"}"#);
        for (target, status) in [("/healthz", 200), (&tracked, 200), ("/v1/events/track", 401)] {
            let request = format!("GET {target} HTTP/{version}\r\nHost: test\r\n{header}\r\n");
            let mut connection = Connection::open(server.address).unwrap();
            connection.send(&request).unwrap();
            let reply = connection.reply().unwrap().expect("an answer");
            assert_eq!(reply.status, status, "{case}");
            assert_eq!(reply.header("Connection"), said, "{case}");
            if kept {
                connection.send(&request).unwrap();
                assert_eq!(connection.reply().unwrap().map(|reply| reply.status), Some(status));
            } else {
                // What is sent behind may meet a closed door; it gets no answer either way.
                let _ = connection.send(&request);
                assert!(!matches!(connection.reply(), Ok(Some(_))), "{case}: it was closed");
            }
        }
    }
}

#[test]
fn every_form_of_target_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let track = server.target("events", r#"{"type":"e"}"#);
    let long = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes));
    let longest =
        server.target("events", &format!(r#"{{"type":"e","s":"{}"}}"#, "x".repeat(60_000)));
    for (target, status) in [
        (track.clone(), 200),
        (format!("http://{}{track}", server.address), 200),
        (format!("http://other.example:1{track}"), 200),
        (format!("https://other.example{track}"), 200),
        ("http://other.example".to_owned(), 303),
        ("/".to_owned(), 303),
        ("*".to_owned(), 404),
        ("//".to_owned(), 404),
        ("?".to_owned(), 404),
        (longest, 200),
        (long(90 * 1024), 200),
        (long(97 * 1024), 414),
        (long(300 * 1024), 414),
    ] {
        let reply = server.get(&target);
        assert_eq!(reply.status, status, "{target:.100}: {reply:?}");
    }
    assert_eq!(server.all_events().len(), 5);
}

#[test]
fn what_one_client_does_leaves_the_others_served() {
    type Deed = fn(&Server);
    let deeds: &[(&str, Deed)] = &[
        ("nothing at all, then gone", |server| drop(connect(server))),
        ("half a request line", |server| send(server, "GET /v1/eve")),
        ("half the headers", |server| send(server, "GET /healthz HTTP/1.1\r\nHost: te")),
        ("no empty line", |server| send(server, "GET /healthz HTTP/1.1\r\nHost: test\r\n")),
        ("an empty line", |server| send(server, "\r\n\r\n")),
        ("no HTTP", |server| send(server, "hello, is anybody there?\r\n\r\n")),
        ("zeros", |server| send(server, [0; 10_000])),
        ("bytes of TLS", |server| {
            send(server, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n")
        }),
        ("every byte there is", |server| send(server, (0..=255).collect::<Vec<u8>>().repeat(40))),
        ("a header that is none", |server| {
            send(server, "GET /healthz HTTP/1.1\r\nno colon here\r\n\r\n");
        }),
        ("a header beyond ASCII", |server| {
            send(server, "GET /healthz HTTP/1.1\r\nX-Name: Zo\u{eb}\r\n\r\n");
        }),
        ("versions of another time", |server| {
            for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/1.2", "HTTP/x", ""] {
                send(server, format!("GET /healthz {version}\r\nHost: test\r\n\r\n"));
            }
        }),
        ("an expectation", |server| {
            send(server, "GET /healthz HTTP/1.1\r\nExpect: the-impossible\r\n\r\n");
        }),
        ("a method of its own", |server| send(server, "BREW /healthz HTTP/1.1\r\n\r\n")),
        ("half a line of 90 KB", |server| {
            send(server, format!("GET /healthz?{}", "x".repeat(90_000)));
        }),
        ("garbage behind a good request", |server| {
            let target = server.target("events", r#"{"type":"garbled"}"#);
            let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
            send(server, [request.as_bytes(), &[0xff; 100]].concat());
        }),
        ("500 connections opened and closed", |server| {
            drop((0..500).map(|_| connect(server)).collect::<Vec<_>>());
        }),
        ("500 connections with half a request each", |server| {
            let half = |mut connection: Connection| connection.send("GET /he").map(|()| connection);
            drop((0..500).map(|_| half(connect(server)).unwrap()).collect::<Vec<_>>());
        }),
        ("200 requests sent ahead, no answer read", |server| {
            let target = server.target("events", r#"{"type":"unread"}"#);
            for _ in 0..10 {
                send(server, format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(200));
            }
        }),
        ("200 questions sent ahead, no answer read", |server| {
            let key = &server.secret_key;
            let question =
                format!("GET /v1/events HTTP/1.1\r\nAuthorization: Bearer {key}\r\n\r\n");
            send(server, question.repeat(200));
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (tracked, (name, deed)) in (1..).zip(deeds) {
        deed(&server);
        assert_eq!(server.get("/healthz").status, 200, "after {name}");
        server.track("events", r#"{"type":"after"}"#);
        // The questions of the deed may still be in the way of this one.
        let after = loop {
            let reply = server.read("/v1/events?type=after&limit=1000");
            if reply.status == 503 && reply.code() == "overloaded" {
                thread::yield_now();
                continue;
            }
            break reply.json()["events"].as_array().map(Vec::len);
        };
        assert_eq!(after, Some(tracked), "after {name}");
    }
}

fn connect(server: &Server) -> Connection {
    Connection::open(server.address).expect("the server listens")
}

/// Sends and goes away, whatever the server makes of it.
fn send(server: &Server, bytes: impl AsRef<[u8]>) {
    // The server may have hung up before the end of what it could not make sense of.
    let _ = connect(server).send(bytes);
}

/// Whoever declares a body and doesn't send it holds up himself and nobody else, and not for ever.
#[test]
fn a_body_that_never_comes_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--workers", "1", "--request-timeout", "1s"]);
    let good = server.target("events", r#"{"type":"with a body"}"#);
    let mut open = Vec::new();
    for (method, target, headers, status) in [
        ("GET", good.as_str(), "Content-Length: 5\r\nExpect: 100-continue", 100),
        ("GET", good.as_str(), "Content-Length: 2000", 408),
        ("GET", good.as_str(), "Transfer-Encoding: chunked", 408),
        ("POST", "/v1/events/track", "Content-Length: 100000", 408),
        ("POST", "/v1/events/track", "Content-Length: 100000000", 413),
        ("GET", "/healthz", "Content-Length: 2000", 408),
    ] {
        for _ in 0..3 {
            let mut connection = connect(&server);
            let request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n\r\n");
            connection.send(request).unwrap();
            open.push((connection, status));
        }
    }
    server.track("events", r#"{"type":"after"}"#);
    assert_eq!(server.all_events().len(), 1);
    for (mut connection, status) in open {
        if status == 100 {
            // It has no body, and isn't the answer yet.
            connection.send("hello").unwrap();
            assert_eq!(connection.head().unwrap().map(|head| head.status), Some(100));
            assert_eq!(connection.reply().unwrap().map(|reply| reply.status), Some(200));
        } else {
            let reply = connection.reply().unwrap().expect("an answer");
            assert_eq!(reply.status, status, "{reply:?}");
            assert_eq!(reply.header("Connection"), Some("close"));
            assert!(connection.reply().unwrap().is_none(), "it was closed");
        }
    }
    assert_eq!(server.all_events().len(), 4);
}

/// A client that sends ahead and never reads fills its socket. It holds up others for as long as one
/// write may take, and is hung up on then.
#[test]
fn a_client_that_never_reads_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--workers", "1"]);
    let mut deaf = std::net::TcpStream::connect(server.address).unwrap();
    let track = server.target("events", r#"{"type":"deaf"}"#);
    let requests: String = (0..20_000)
        .map(|n| {
            let target = if n % 2 == 0 { "/nowhere" } else { &track };
            format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
        })
        .collect();
    let sender = std::thread::spawn(move || {
        // Refused when the server has had enough, and that is fine.
        let _ = std::io::Write::write_all(&mut deaf, requests.as_bytes());
        deaf
    });
    for _ in 0..20 {
        server.track("events", r#"{"type":"good"}"#);
        assert_eq!(server.get("/healthz").status, 200);
    }
    drop(sender.join().unwrap());
}

/// Sends now and then, and takes nothing: that is no sign of life as far as its answers go.
#[test]
fn a_client_that_sends_on_and_never_reads_is_given_up() {
    use std::io::{ErrorKind, Write};
    use std::time::{Duration, Instant};

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--request-timeout", "1s"]);
    let mut deaf: Vec<_> = (1..=20)
        .map(|ahead| {
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
            let ask = "GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n".repeat(ahead * 4);
            stream.write_all(ask.as_bytes()).unwrap();
            stream.write_all(b"GET /").unwrap();
            stream
        })
        .collect();
    let began = Instant::now();
    while !deaf.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(15), "{} are still there", deaf.len());
        thread::sleep(Duration::from_millis(100));
        deaf.retain_mut(|stream| match stream.write(b"x") {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
    }
    assert_eq!(server.get("/healthz").status, 200);
}

/// What is large and the same for everybody is in memory once, however many ask for it and take nothing.
#[test]
fn asking_for_much_and_taking_nothing_takes_no_memory() {
    use std::io::Write;

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--request-timeout", "5s"]);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    assert_eq!(server.get("/openapi.json").status, 200);
    let before = resident();
    let ask = "GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n".repeat(16);
    let deaf: Vec<_> = (0..400)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            stream.write_all(ask.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(server.get("/healthz").status, 200);
        let grown = resident().saturating_sub(before);
        assert!(grown < 40, "{grown} MiB more for {} connections", deaf.len());
    }
}
