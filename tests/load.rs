//! The load generator, tried against servers of a few lines whose faults are
//! known: it must count each call once, and end whatever the server does.

#[path = "support/load.rs"]
mod load;

use load::{Histogram, Load};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Listens, and gives each connection a thread that answers a request's path
/// with the bytes that `answer` has for it; `None` ends the connection.
fn server(answer: impl Fn(&str) -> Option<Vec<u8>> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // Answers go out in parts, which must not wait for each other.
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(&stream, answer));
        }
    });
    addr
}

fn serve(stream: &TcpStream, answer: impl Fn(&str) -> Option<Vec<u8>>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        let Some(bytes) = answer(&path) else { return };
        // In two parts, so that answers are seen to be put together.
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let mut out = stream;
        if out.write_all(head).and_then(|()| out.flush()).is_err() || out.write_all(tail).is_err() {
            return;
        }
    }
}

fn get(request: &mut Vec<u8>, connection: usize, sequence: u64) {
    write!(request, "GET /{connection}/{sequence} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
}

#[test]
fn counts_each_call_once_over_kept_connections() {
    let load = Load {
        connections: 8,
        calls: 2000,
        time: Duration::from_secs(30),
        ..Load::at(server(|_| Some(OK.to_vec())))
    };
    let mut acknowledged = Vec::new();
    let report = load.run(get, |connection, sequence, status| {
        acknowledged.push((connection, sequence, status));
    });
    assert_eq!((report.calls, report.failed()), (2000, 0));
    assert_eq!((report.reconnects, report.starved), (0, 0));
    assert_eq!(report.per_second.iter().sum::<u64>(), 2000);
    assert!(report.elapsed < Duration::from_secs(30));
    assert!(report.latencies.p50() <= report.latencies.p999());
    assert!(report.latencies.p999() <= report.latencies.max());
    acknowledged.sort_unstable();
    acknowledged.dedup();
    assert_eq!(acknowledged.len(), 2000);
}

#[test]
fn stops_in_time_and_counts_statuses() {
    let refuses_odd = |path: &str| {
        let odd = path.ends_with(['1', '3', '5', '7', '9']);
        let status = if odd { "429 Slow" } else { "204 None" };
        let length = if odd { "Content-Length: 0\r\n" } else { "" };
        Some(format!("HTTP/1.1 {status}\r\n{length}\r\n").into_bytes())
    };
    let load =
        Load { connections: 2, time: Duration::from_millis(200), ..Load::at(server(refuses_odd)) };
    let mut refused = 0;
    let report = load.run(get, |_, sequence, status| {
        assert_eq!(status, if sequence % 2 == 1 { 429 } else { 204 });
        refused += u64::from(status == 429);
    });
    assert!(refused > 0);
    assert_eq!(report.errors_by_status, [(429, refused)].into());
    assert_eq!(report.failed(), refused);
    assert!(report.elapsed >= Duration::from_millis(200));
    assert!(report.elapsed < Duration::from_secs(3));
}

#[test]
fn opens_a_connection_for_each_call() {
    let load = Load {
        connections: 4,
        calls: 100,
        time: Duration::from_secs(30),
        keep_alive: false,
        ..Load::at(server(|_| Some(OK.to_vec())))
    };
    let report = load.run(get, |_, _, _| {});
    assert_eq!((report.calls, report.failed()), (100, 0));
    assert_eq!(report.reconnects, 96);
}

#[test]
fn comes_back_when_the_server_closes() {
    // Every tenth call is cut off; every tenth after it is the last, told so.
    let closing = |path: &str| {
        let last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        match path.as_bytes().last() {
            Some(b'3') => None,
            Some(b'7') => Some(last.to_vec()),
            _ => Some(OK.to_vec()),
        }
    };
    let load = Load { calls: 100, time: Duration::from_secs(30), ..Load::at(server(closing)) };
    let report = load.run(get, |_, _, _| {});
    assert_eq!((report.calls, report.io_errors), (90, 10));
    assert_eq!((report.reconnects, report.refused), (20, 0));
}

#[test]
fn sends_a_request_longer_than_the_socket_takes_at_once() {
    const BODY: usize = 16 << 20;
    let load = Load {
        connections: 2,
        calls: 4,
        time: Duration::from_secs(30),
        ..Load::at(server(|_| {
            let mut long = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
            long.resize(long.len() + 100_000, b'x');
            Some(long)
        }))
    };
    let post = |request: &mut Vec<u8>, _, _| {
        write!(request, "POST / HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n").unwrap();
        request.resize(request.len() + BODY, b'x');
    };
    let report = load.run(post, |_, _, _| {});
    assert_eq!((report.calls, report.failed()), (4, 0));
}

#[test]
fn a_silent_server_ends_the_run_by_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = Load {
        connections: 3,
        time: Duration::from_millis(100),
        grace: Duration::from_millis(100),
        ..Load::at(listener.local_addr().unwrap())
    };
    let began = Instant::now();
    let report = load.run(get, |_, _, _| {});
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((report.calls, report.unanswered, report.starved), (0, 3, 3));
    assert!(report.elapsed < Duration::from_millis(200));
}

#[test]
fn a_dead_server_ends_the_run_at_once() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for keep_alive in [true, false] {
        let load =
            Load { connections: 3, time: Duration::from_secs(60), keep_alive, ..Load::at(addr) };
        let report = load.run(get, |_, _, _| {});
        assert_eq!(
            (report.calls, report.io_errors, report.refused),
            (0, 0, 3),
            "keep_alive: {keep_alive}"
        );
        assert!(report.elapsed < Duration::from_secs(5));
    }
}

#[test]
fn an_answer_of_unknown_length_is_an_error() {
    let load = Load { calls: 3, ..Load::at(server(|_| Some(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()))) };
    let report = load.run(get, |_, _, _| {});
    assert_eq!((report.calls, report.io_errors), (0, 3));
}

#[test]
fn quantiles_are_within_a_bucket() {
    let mut low = Histogram::default();
    let mut high = Histogram::default();
    for micros in 1..=1000 {
        let half = if micros <= 500 { &mut low } else { &mut high };
        half.record(Duration::from_micros(micros));
    }
    low.add(&high);
    for (q, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
        let found = low.quantile(q).as_secs_f64() * 1e6;
        assert!(found >= micros && found <= micros * 33.0 / 32.0, "{q}: {found}");
    }
    assert_eq!(low.max(), Duration::from_millis(1));
    assert_eq!(low.quantile(1.0), low.max());
    assert_eq!(Histogram::default().p50(), Duration::ZERO);
    low.record(Duration::ZERO);
    low.record(Duration::MAX);
}

#[test]
fn with_a_pace_calls_count_from_when_they_were_due() {
    const STALL: Duration = Duration::from_millis(200);
    let addr = server(|path| {
        if path == "/0/0" {
            std::thread::sleep(STALL);
        }
        Some(OK.to_vec())
    });
    let load = Load { time: Duration::from_millis(300), pace: Some(100.0), ..Load::at(addr) };
    let report = load.run(get, |_, _, _| {});
    // All that fell due, though the one connection was held up by the first.
    assert_eq!((report.calls, report.failed()), (30, 0));
    // Of those, 20 fell due in the stall, 10 ms apart, and waited for its end: half of all about 50 ms or more.
    assert!(report.latencies.p50() >= Duration::from_millis(45), "{report:?}");
    assert!(report.latencies.max() >= STALL);

    // None is sent before it is due.
    let began = Instant::now();
    let report = Load { connections: 4, ..load }.run(get, |_, _, _| {});
    assert_eq!((report.calls, report.failed()), (30, 0));
    assert!(began.elapsed() >= Duration::from_millis(290));
}
