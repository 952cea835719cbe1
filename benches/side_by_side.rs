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
//! cargo bench --bench side_by_side -- --minute [--seconds 60] [--connections 64]
//! ```
//!
//! Without cargo's `--bench`, as under `cargo test`, one tiny round shows that
//! it works.

#[path = "../tests/support/load.rs"]
mod load;

use load::{Histogram, Load, Report};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [bare, answer, workers] = &args[..]
        && bare == "--bare"
    {
        serve_bare(Path::new(answer), workers.parse().expect("workers"));
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
    } else {
        let answer = scratch.0.join("answer");
        fs::write(&answer, one_answer(&durable)).expect("a file for the answer");
        let bare = [1, 2, 4].map(|workers| Server::bare(&answer, workers));
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
            "| {connections} | **durable / bare** | **{:.2}** | | | | {:.2} | | | | |",
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

/// One server's rounds with one number of connections.
struct Rounds<'a> {
    server: &'a Server,
    rates: Vec<f64>,
    latencies: Histogram,
    calls: u64,
    failed: u64,
    starved: usize,
    cpu: f64,
    load_cpu: f64,
}

impl<'a> Rounds<'a> {
    fn of(server: &'a Server) -> Self {
        Rounds {
            server,
            rates: Vec::new(),
            latencies: Histogram::default(),
            calls: 0,
            failed: 0,
            starved: 0,
            cpu: 0.0,
            load_cpu: 0.0,
        }
    }

    fn run(&mut self, connections: usize, time: Duration) {
        let process = self.server.child.id();
        let before = (cpu(process), cpu(std::process::id()));
        let report = drive(self.server, connections, time, || {});
        self.cpu += cpu(process) - before.0;
        self.load_cpu += cpu(std::process::id()) - before.1;
        self.rates.push(report.calls_per_second());
        self.rates.sort_by(f64::total_cmp);
        self.latencies.add(&report.latencies);
        self.calls += report.calls;
        self.failed += report.failed();
        self.starved += report.starved;
    }

    /// The median of the rounds, in calls a second.
    fn rate(&self) -> f64 {
        self.rates[self.rates.len() / 2]
    }

    fn cpu_per_call(&self) -> f64 {
        self.cpu / self.calls as f64
    }

    fn row(&self) -> String {
        format!(
            "{} | {:.0} ({:.0} - {:.0}) | {} | {} | {} | {:.1} µs | {:.1} µs | {:.1} MiB | {} | {} |",
            self.server.name,
            self.rate(),
            self.rates[0],
            self.rates[self.rates.len() - 1],
            millis(self.latencies.p50()),
            millis(self.latencies.p99()),
            millis(self.latencies.max()),
            self.cpu_per_call() * 1e6,
            self.load_cpu / self.calls as f64 * 1e6,
            self.server.rss(),
            self.failed,
            self.starved,
        )
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// Sends page views as a browser's pixel does, from 10,000 users by turns.
fn drive(
    server: &Server,
    connections: usize,
    time: Duration,
    mut on_answer: impl FnMut(),
) -> Report {
    let (head, tail) = (server.request_head(), server.request_tail());
    let mut event = Vec::new();
    let load = Load { connections, time, ..Load::at(server.addr) };
    load.run(
        |request, connection, sequence| {
            let user = (connection as u64 * 157 + sequence) % 10_000;
            event.clear();
            write!(
                event,
                r#"{{"type":"view","user_id":"u{user:04}","page":"/pricing","referrer":"https://example.com/","width":1280}}"#
            )
            .expect("memory");
            request.extend_from_slice(head.as_bytes());
            base64(&event, request);
            request.extend_from_slice(tail.as_bytes());
        },
        |_, _, _| on_answer(),
    )
}

/// Base64 as a query holds it: what is not a letter or digit percent-encoded.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |at| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            match DIGITS[(bits >> (18 - 6 * at)) as usize & 63] {
                _ if at > group.len() => out.extend_from_slice(b"%3D"),
                b'+' => out.extend_from_slice(b"%2B"),
                b'/' => out.extend_from_slice(b"%2F"),
                digit => out.push(digit),
            }
        }
    }
}

/// A server in a child process, killed when dropped.
struct Server {
    name: String,
    addr: SocketAddr,
    token: String,
    child: Child,
}

impl Server {
    fn durable(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerly"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
        Server::start("durable".to_owned(), command.arg(data))
    }

    /// This very program, as [`serve_bare`].
    fn bare(answer: &Path, workers: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program's path"));
        command.arg("--bare").arg(answer).arg(workers.to_string());
        Server::start(format!("bare, workers: {workers}"), &mut command)
    }

    fn start(name: String, command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        // Reads to the end, or the server would one day wait to be read.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Server {
            name,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: String::new(),
            child,
        };
        loop {
            let line = lines
                .recv_timeout(Duration::from_secs(30))
                .expect("a server that says where it listens");
            if let Some(token) = line.strip_prefix("api_token=") {
                server.token = token.trim().to_owned();
            } else if let Some(addr) = line.strip_prefix("listening on http://") {
                server.addr = addr.trim().parse().expect("an address");
                return server;
            }
        }
    }

    fn request_head(&self) -> String {
        format!("GET /v1/events/track?api_token={}&data=", self.token)
    }

    fn request_tail(&self) -> String {
        format!(
            "&image=1 HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
             Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
             Accept-Language: en-US,en;q=0.5\r\n\
             Referer: https://example.com/pricing\r\n\r\n",
            self.addr
        )
    }

    /// Resident memory in MiB.
    fn rss(&self) -> f64 {
        kilobytes(&format!("/proc/{}/status", self.child.id()), "VmRSS:") / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// A folder on the disk that holds the build, for in memory an fsync is free.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("side_by_side-{}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).expect("a scratch folder");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the figures depend on most: cores, memory, and how long the disk takes
/// to make a small write durable.
fn machine(dir: &Path) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let memory = kilobytes("/proc/meminfo", "MemTotal:") / 1024.0 / 1024.0;
    let mut file = fs::File::create(dir.join("fsync")).expect("a file");
    let mut syncs = Histogram::default();
    for _ in 0..100 {
        file.write_all(&[0; 512]).expect("a write");
        let began = Instant::now();
        file.sync_data().expect("an fsync");
        syncs.record(began.elapsed());
    }
    format!(
        "{cores} cores, {memory:.1} GiB of memory; fsync p50 {}, p99 {}.",
        millis(syncs.p50()),
        millis(syncs.p99())
    )
}

/// Seconds of CPU that a process has used, by all its threads, those ended too.
fn cpu(process: u32) -> f64 {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(path).expect("a live process");
    // The name, in parentheses, may hold anything: fields count from its end.
    let (_, fields) = stat.rsplit_once(") ").expect("a process name");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: f64 = ticks.map(|n| n.parse::<f64>().expect("ticks")).sum();
    // Linux shows 100 ticks a second to programs, whatever it counts itself.
    ticks / 100.0
}

/// A line's number in one of /proc's files of names and kilobytes.
fn kilobytes(path: &str, name: &str) -> f64 {
    let text = fs::read_to_string(path).expect("a file of /proc");
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .expect("a line of this name")
}
