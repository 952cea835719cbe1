//! Latency as those feel it who don't wait for each other: calls fall due at half of what the server could take, and each
//! counts from when it was due, however late it could be sent. A bare tiny_http gets the same, for what the machine itself
//! makes of that: one that stands still for some milliseconds now and then makes no other figure than these.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Bench;
use crate::beside::{Server, drive, drive_paced};
use crate::peers;
use crate::report::{Report, Row, Unit, median};

const CONNECTIONS: usize = 64;

/// # Errors
/// In words, if calls failed.
pub fn at_half_load(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("latency");
    let data = dir.join("data");
    let server = Server::named("triggerly", &data);
    let answer = dir.join("answer");
    fs::write(&answer, peers::one_answer(&server)).expect("a file for the answer");
    let bare = peers::bare(&answer, 1);
    let secret = Server::secret(&data);
    let time = Duration::from_secs_f64(bench.settings.seconds);
    let fastest: Vec<f64> = (0..bench.settings.rounds.min(3))
        .map(|_| drive(&server, CONNECTIONS, time, || {}).calls_per_second())
        .collect();
    let pace = median(&fastest) / 2.0;

    let (mut rates, mut middle, mut late, mut later, mut flushes) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut bare_late = Vec::new();
    for _ in 0..bench.settings.rounds {
        let before = Flushes::of(&server, &secret);
        let seen = drive_paced(&server, CONNECTIONS, time, pace);
        let after = Flushes::of(&server, &secret);
        if seen.failed() > 0 {
            return Err(format!("{} calls failed", seen.failed()));
        }
        rates.push(seen.calls_per_second());
        middle.push(seen.latencies.p50().as_secs_f64());
        late.push(seen.latencies.p99().as_secs_f64());
        later.push(seen.latencies.p999().as_secs_f64());
        flushes.push((after.seconds - before.seconds) / (after.count - before.count).max(1.0));
        let seen = drive_paced(&bare, CONNECTIONS, time, pace);
        if seen.failed() > 0 {
            return Err(format!("{} calls of the bare one failed", seen.failed()));
        }
        bare_late.push(seen.latencies.p99().as_secs_f64());
    }
    let p99 = Row::new("p99", Unit::Time, &late);
    let commit = Row::new("flush of a commit, mean", Unit::Time, &flushes);
    let ratio = Row::ratio("p99 / flush of a commit", &p99, &commit);
    let bare = Row::new("p99 of a bare tiny_http", Unit::Time, &bare_late);
    let beside = Row::ratio("p99 / that of a bare tiny_http", &p99, &bare);
    let rows = [
        Row::new("calls that were due", Unit::PerSecond("calls"), &rates),
        Row::new("p50", Unit::Time, &middle),
        p99,
        Row::new("p99.9", Unit::Time, &later),
        commit,
        ratio,
        bare,
        beside,
    ];
    report.table("latency", &rows);
    Ok(())
}

/// What the server's metrics say of its commits.
struct Flushes {
    count: f64,
    seconds: f64,
}

impl Flushes {
    fn of(server: &Server, secret: &str) -> Flushes {
        let mut stream = TcpStream::connect(server.addr).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
        )
        .expect("it takes bytes");
        let mut text = String::new();
        BufReader::new(stream).read_to_string(&mut text).expect("an answer");
        let value = |name: &str| {
            let line = text.as_bytes().lines().map_while(Result::ok).find_map(|line| {
                line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok()
            });
            line.unwrap_or_else(|| panic!("{name} in {text:.200}"))
        };
        Flushes {
            count: value("triggerly_flush_seconds_count"),
            seconds: value("triggerly_flush_seconds_sum"),
        }
    }
}
