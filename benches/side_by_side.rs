//! What durability costs: the server beside a bare tiny_http one that gives
//! the same answer and stores nothing, at the same time on the same machine.
//!
//! Both are child processes that stay up throughout, and their rounds
//! alternate, so that whatever else the machine does weighs on both alike. The
//! bare one copies the answer that the server gives, and has as many workers as
//! make it fastest: the ratio is then the cost of all that lies between a
//! request and its answer, the fsync above all.
//!
//! ```text
//! cargo bench --bench side_by_side -- [--rounds 9] [--seconds 3] [--connections 64,256]
//! cargo bench --bench side_by_side -- --gate [--rounds 9] [--seconds 3] [--connections 64,256]
//! cargo bench --bench side_by_side -- --minute [--seconds 60] [--connections 64]
//! ```
//!
//! `--gate` tells what the gate costs: the server beside the same one whose
//! clients reach tiny_http itself.
//!
//! Without cargo's `--bench`, as under `cargo test`, one tiny round shows that
//! it works.

mod beside;
#[path = "beside/ungated.rs"]
mod ungated;

use beside::{Rounds, Scratch, Server, base64, drive, machine, millis};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [bare, answer, workers] = &args[..]
        && bare == "--bare"
    {
        serve_bare(Path::new(answer), workers.parse().expect("workers"));
    }
    if let [mode, data, workers] = &args[..]
        && mode == "--ungated"
    {
        ungated::serve(Path::new(data), workers.parse().expect("workers"));
    }
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let value = |name: &str, default: &str| {
        let at = args.iter().position(|arg| arg == name);
        let given = at.map(|at| args.get(at + 1).expect("a value after the flag").as_str());
        given.unwrap_or(default).to_owned()
    };
    let minute = has("--minute");
    let (rounds, seconds) = match (has("--bench") && !has("--test"), minute) {
        (false, _) => ("1", "0.1"),
        (true, false) => ("9", "3"),
        (true, true) => ("1", "60"),
    };
    let rounds: usize = value("--rounds", rounds).parse().expect("--rounds");
    let seconds: f64 = value("--seconds", seconds).parse().expect("--seconds");
    let time = Duration::from_secs_f64(seconds);
    let connections: Vec<usize> = value("--connections", if minute { "64" } else { "64,256" })
        .split(',')
        .map(|n| n.parse().expect("--connections"))
        .collect();

    let scratch = Scratch::new();
    println!("{}\n", machine(&scratch.0));
    let durable = Server::durable(&scratch.0.join("data"));
    let failed = if minute {
        over_time(&durable, connections[0], time)
    } else if has("--gate") {
        let ungated = [ungated(&scratch.0.join("ungated"))];
        side_by_side(&durable, &ungated, rounds, time, &connections)
    } else {
        let answer = scratch.0.join("answer");
        fs::write(&answer, one_answer(&durable)).expect("a file for the answer");
        let bare = [1, 2, 4].map(|workers| bare(&answer, workers));
        side_by_side(&durable, &bare, rounds, time, &connections)
    };
    // Figures from failed calls are no figures.
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("\n{failed} calls failed.");
        ExitCode::FAILURE
    }
}

/// Prints the table, two servers and their ratio for each number of
/// connections. Returns how many calls failed.
fn side_by_side(
    durable: &Server,
    bare: &[Server],
    rounds: usize,
    time: Duration,
    connections: &[usize],
) -> u64 {
    println!("{rounds} rounds each, alternating, of {time:?}.\n");
    println!(
        "| connections | server | calls/s: median (min - max) | p50 | p99 | max | CPU/call | load's CPU/call | RSS | failed | starved |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut failed = 0;
    for &connections in connections {
        // The trial that finds the best number of workers also warms up the
        // bare server, as one round that is not counted does the other.
        let mut trials: Vec<Rounds> = bare.iter().map(Rounds::of).collect();
        for _ in 0..rounds.min(3) {
            for trial in &mut trials {
                trial.run(connections, time);
            }
        }
        trials.sort_by(|a, b| b.rate().total_cmp(&a.rate()));
        Rounds::of(durable).run(connections, time);

        let mut stored = Rounds::of(durable);
        let mut unstored = Rounds::of(trials[0].server);
        for _ in 0..rounds {
            stored.run(connections, time);
            unstored.run(connections, time);
        }
        for trial in &trials {
            println!("| {connections} | trial: {}", trial.row());
        }
        println!("| {connections} | {}", stored.row());
        println!("| {connections} | {}", unstored.row());
        println!(
            "| {connections} | **first / second** | **{:.2}** | | | | {:.2} | | | | |",
            stored.rate() / unstored.rate(),
            stored.cpu_per_call() / unstored.cpu_per_call(),
        );
        failed += stored.failed + unstored.failed;
    }
    failed
}

/// One long run: speed and memory in each twelfth of it, which of a minute is
/// 5 s. Returns how many calls failed.
fn over_time(server: &Server, connections: usize, time: Duration) -> u64 {
    const STEPS: u32 = 12;
    let step = time / STEPS;
    let mut calls = [0_u64; STEPS as usize];
    let (report, rss) = thread::scope(|scope| {
        let began = Instant::now();
        let sampler = scope.spawn(move || {
            let sample = |n| {
                thread::sleep((step * n).saturating_sub(began.elapsed()));
                server.rss()
            };
            (1..=STEPS).map(sample).collect::<Vec<f64>>()
        });
        let report = drive(server, connections, time, || {
            let at = began.elapsed().as_nanos() / step.as_nanos();
            if let Some(count) = calls.get_mut(at as usize) {
                *count += 1;
            }
        });
        (report, sampler.join().expect("memory samples"))
    });

    let rates = calls.map(|count| count as f64 / step.as_secs_f64());
    println!("| until | calls/s | RSS |\n|--:|--:|--:|");
    for (n, (rate, rss)) in rates.iter().zip(&rss).enumerate() {
        println!("| {:.1?} | {rate:.0} | {rss:.1} MiB |", step * (n as u32 + 1));
    }
    println!(
        "| **last / first** | **{:.2}** | **{:.2}** |\n",
        rates[rates.len() - 1] / rates[0],
        rss[rss.len() - 1] / rss[0],
    );
    println!(
        "{connections} connections: {:.0} calls/s, p50 {}, p99 {}, p99.9 {}, max {}; {} starved.",
        report.calls_per_second(),
        millis(report.latencies.p50()),
        millis(report.latencies.p99()),
        millis(report.latencies.p999()),
        millis(report.latencies.max()),
        report.starved,
    );
    report.failed()
}

/// This very program, as [`serve_bare`].
fn bare(answer: &Path, workers: usize) -> Server {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command.arg("--bare").arg(answer).arg(workers.to_string());
    Server::start(format!("bare, workers: {workers}"), &mut command)
}

/// This very program, as [`ungated::serve`], with as many workers as the server has.
fn ungated(data: &Path) -> Server {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    let workers = thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
    command.arg("--ungated").arg(data).arg(workers.to_string());
    Server::start("without the gate".to_owned(), &mut command)
}

/// The whole answer to one event, headers and all.
fn one_answer(server: &Server) -> Vec<u8> {
    let mut request = server.request_head().into_bytes();
    base64(br#"{"type":"view","user_id":"u0000"}"#, &mut request);
    let tail = server.request_tail().replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    request.extend_from_slice(tail.as_bytes());
    let mut stream = TcpStream::connect(server.addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(&request).expect("a request sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    answer
}

/// Serves the answer in a file, to whatever is asked, until standard input
/// ends: so that it does not outlive the bench, however that ends.
fn serve_bare(answer: &Path, workers: usize) -> ! {
    let answer = fs::read(answer).expect("the answer").leak();
    let blank = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let body = &answer[blank + 4..];
    let head = std::str::from_utf8(&answer[..blank]).expect("a head in text");
    // The date is left for tiny_http to tell, which it must for each answer.
    let headers: Vec<tiny_http::Header> = head
        .lines()
        .skip(1)
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"))
        .map(|line| line.parse().expect("a header"))
        .collect();
    let server = tiny_http::Server::http("127.0.0.1:0").expect("a port");
    println!("listening on http://{}", server.server_addr());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                for request in server.incoming_requests() {
                    let length = Some(body.len());
                    let headers = headers.clone();
                    let answer = tiny_http::Response::new(200.into(), headers, body, length, None);
                    // A client that has gone needs no answer.
                    let _ = request.respond(answer);
                }
            });
        }
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0)
    })
}
