//! What benchmarks share: the server as a child process, rounds of calls against it, and what the
//! machine is.
#![allow(dead_code, reason = "each benchmark uses its part")]

#[path = "../../tests/support/load.rs"]
pub mod load;

use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use load::{Histogram, Load, Report};
use rustix::process::{Pid, Signal, kill_process};

/// One server's rounds with one number of connections.
pub struct Rounds<'a> {
    pub server: &'a Server,
    pub rates: Vec<f64>,
    pub latencies: Histogram,
    pub calls: u64,
    pub failed: u64,
    pub starved: usize,
    pub cpu: f64,
    pub load_cpu: f64,
}

impl<'a> Rounds<'a> {
    pub fn of(server: &'a Server) -> Self {
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

    pub fn run(&mut self, connections: usize, time: Duration) {
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
    pub fn rate(&self) -> f64 {
        self.rates[self.rates.len() / 2]
    }

    pub fn cpu_per_call(&self) -> f64 {
        self.cpu / self.calls as f64
    }

    pub fn row(&self) -> String {
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

pub fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// Sends page views as a browser's pixel does, from 10,000 users by turns.
pub fn drive(
    server: &Server,
    connections: usize,
    time: Duration,
    on_answer: impl FnMut(),
) -> Report {
    drive_by(server, &Load { connections, time, ..Load::at(server.addr) }, on_answer)
}

fn drive_by(server: &Server, load: &Load, mut on_answer: impl FnMut()) -> Report {
    let (head, tail) = (server.request_head(), server.request_tail());
    let mut event = Vec::new();
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

/// The same as an open loop: so many calls fall due in a second.
pub fn drive_paced(server: &Server, connections: usize, time: Duration, pace: f64) -> Report {
    let load = Load { connections, time, pace: Some(pace), ..Load::at(server.addr) };
    drive_by(server, &load, || {})
}

/// Base64 as a query holds it: what is not a letter or digit percent-encoded.
pub fn base64(bytes: &[u8], out: &mut Vec<u8>) {
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
pub struct Server {
    pub name: String,
    pub addr: SocketAddr,
    pub token: String,
    pub child: Child,
    /// What ends it.
    pub end: Signal,
}

impl Server {
    pub fn durable(data: &Path) -> Self {
        Server::named("durable", data)
    }

    /// The real thing, on a store that is there already or not.
    pub fn named(name: &str, data: &Path) -> Self {
        let mut server = Server::serve(name, data);
        if server.token.is_empty() {
            let mut show = Command::new(env!("CARGO_BIN_EXE_triggerly"));
            let shown = show.args(["account", "show", "default", "--data"]).arg(data).output();
            let shown = String::from_utf8(shown.expect("the verb runs").stdout).expect("text");
            let token = shown.lines().find_map(|line| line.strip_prefix("api_token="));
            server.token = token.expect("an account called default").to_owned();
        }
        server
    }

    /// The same, without its account's token where the store was there already.
    pub fn serve(name: &str, data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerly"));
        command.args(["serve", "--log", "warn", "--listen", "127.0.0.1:0", "--data"]);
        Server::start(name.to_owned(), command.arg(data))
    }

    /// A new secret key of the account, whose store it is.
    pub fn secret(data: &Path) -> String {
        let mut rotate = Command::new(env!("CARGO_BIN_EXE_triggerly"));
        rotate.args(["account", "rotate", "default", "--only", "secret", "--data"]).arg(data);
        let rotated = String::from_utf8(rotate.output().expect("it runs").stdout).expect("text");
        let secret = rotated.lines().find_map(|line| line.strip_prefix("secret_key="));
        secret.expect("an account called default").to_owned()
    }

    pub fn start(name: String, command: &mut Command) -> Self {
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
            end: Signal::KILL,
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

    pub fn request_head(&self) -> String {
        format!("GET /v1/events/track?api_token={}&data=", self.token)
    }

    pub fn request_tail(&self) -> String {
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

    /// Resident memory in MiB, that of its children too.
    pub fn rss(&self) -> f64 {
        let of = |process: &u32| kilobytes(&format!("/proc/{process}/status"), "VmRSS:");
        self.processes().iter().map(of).sum::<f64>() / 1024.0
    }

    /// The most resident memory that it had, in MiB.
    pub fn peak(&self) -> f64 {
        kilobytes(&format!("/proc/{}/status", self.child.id()), "VmHWM:") / 1024.0
    }

    /// Seconds of CPU that it and its children have used.
    pub fn cpu(&self) -> f64 {
        self.processes().into_iter().map(cpu).sum()
    }

    /// The process and its children.
    fn processes(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|id| id.parse().expect("a number"));
        std::iter::once(own).chain(children).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(process, self.end);
        }
        let _ = self.child.wait();
    }
}

/// What a benchmark is told on its command line.
pub struct Flags(Vec<String>);

impl Flags {
    pub fn read() -> Flags {
        Flags(std::env::args().skip(1).collect())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg == name)
    }

    /// Whether it is to measure, and not only to show that it works, as under `cargo test`.
    pub fn is_whole(&self) -> bool {
        self.has("--bench") && !self.has("--test")
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg == name)?;
        Some(self.0.get(at + 1).expect("a value after the flag"))
    }

    /// A number that was given, else the one for measuring or the one for trying.
    pub fn number<N: FromStr<Err: Debug>>(&self, name: &str, whole: N, short: N) -> N {
        let default = if self.is_whole() { whole } else { short };
        self.value(name).map_or(default, |value| value.parse().expect(name))
    }

    /// The folder that events are kept in for the next time, else one that goes.
    pub fn folder(&self, scratch: &Scratch) -> PathBuf {
        self.value("--keep").map_or_else(|| scratch.0.clone(), PathBuf::from)
    }
}

/// A folder on the disk that holds the build, for in memory an fsync is free.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let name = format!("bench-{}", std::process::id());
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
pub fn machine(dir: &Path) -> String {
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
pub fn cpu(process: u32) -> f64 {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(path).expect("a live process");
    // The name, in parentheses, may hold anything: fields count from its end.
    let (_, fields) = stat.rsplit_once(") ").expect("a process name");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: f64 = ticks.map(|n| n.parse::<f64>().expect("ticks")).sum();
    // Linux shows 100 ticks a second to programs, whatever it counts itself.
    ticks / 100.0
}

/// How long all threads of a process were on a processor.
pub fn on_processors(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a live process");
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// A line's number in one of /proc's files of names and kilobytes.
pub fn kilobytes(path: &str, name: &str) -> f64 {
    let text = fs::read_to_string(path).expect("a file of /proc");
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .expect("a line of this name")
}
