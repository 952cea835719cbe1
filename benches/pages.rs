//! What the web pages cost with ten million events behind them: each loaded again and again over HTTP, by somebody who is
//! signed in, with other filters each time.
//!
//! ```text
//! cargo bench --bench pages -- [--events 10000000] [--users 200000] [--rounds 40] [--only TEXT] [--keep DIR]
//! ```
//! The server is the real program; times are from the first byte sent, on a connection that is kept, to the last one of
//! the answer. The pages are those of the table of routes. Ends with a failure if one takes more than [`P95_MAX`] at the
//! 95th percentile, or the overview with all that it loads more than [`OVERVIEW_BYTES_MAX`].
//!
//! Without cargo's `--bench`, as under `cargo test`, each is loaded once, on a few events, and nothing is demanded.

mod beside;
#[path = "beside/dataset.rs"]
mod dataset;
mod generator;
#[path = "../tests/support/places.rs"]
mod places;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use beside::{Flags, Scratch, Server, kilobytes, machine, millis, on_processors};
use dataset::Dataset;
use places::{Kind, Named, Place, filled, places};
use support::web::{Visitor, asset_in, link_in, path_of};
use triggerly::web::routes::Access;

/// What a page may take, at the 95th percentile.
const P95_MAX: Duration = Duration::from_millis(100);

/// What the overview and all that it loads may have, in bytes as they are sent.
const OVERVIEW_BYTES_MAX: usize = 50_000;

/// Filters beside those of the tests, of pages whose path ends so.
const VARIED: &[(&str, &[&str])] = &[
    (
        "/overview",
        &[
            "?period=30d",
            "?period=90d",
            "?period=12m",
            "?period=30d&bots=1",
            "?from=2026-03-01&to=2026-04-01",
            "?from=2025-06-10&to=2025-06-20",
            "?from=2025-01-01&to=2026-01-01",
        ],
    ),
    (
        "/events",
        &[
            "?period=24h",
            "?period=90d",
            "?period=365d",
            "?period=30d&type=purchase",
            "?period=90d&type=click&bots=1",
            "?period=all&type=refund",
            "?from=2026-02-01&to=2026-03-01&type=page%20view",
            "?period=30d&where=price%3E100",
            "?period=7d&where=page%3D%2F",
            "?by=query&type=search&period=30d",
            "?by=context%3Apage&period=7d",
            "?by=context%3Adevice&period=90d&measure=visitors",
            "?by=price&measure=sum%3Aprice&type=purchase&period=90d",
        ],
    ),
    (
        "/funnel",
        &[
            "?step1=page%20view&step2=purchase&within=1d&period=7d",
            "?step1=search&step2=product%20viewed&step3=added%20to%20cart&period=30d",
        ],
    ),
    (
        "/retention",
        &[
            "?first=sign%20up&back=page%20view&interval=month&period=365d",
            "?first=purchase&back=purchase",
        ],
    ),
    (
        "/users",
        &[
            "?sort=updated_at&order=desc",
            "?sort=created_at&order=asc",
            "?q=smith",
            "?q=zoe.tanaka",
            "?where=seats%3E10&where=plan%3Dpro",
            "?where=country%3DCH",
        ],
    ),
    (
        "/types/one",
        &[
            "?kind=event%3Apage%20view&attribute=load_ms",
            "?kind=event%3Apage%20view&attribute=width&to=String",
            "?kind=event%3Apurchase&attribute=total&to=String",
            "?kind=user&attribute=signed_up",
        ],
    ),
    ("/exports", &["?period=30d", "?period=90d&type=click", "?from=2026-01-01&to=2026-02-01"]),
    ("/profile", &["?days=365"]),
];

fn main() -> ExitCode {
    let flags = Flags::read();
    let events: u64 = flags.number("--events", 10_000_000, 20_000);
    let users: u64 = flags.number("--users", 200_000, 500);
    let rounds: usize = flags.number("--rounds", 40, 1);

    let scratch = Scratch::new();
    let dir = flags.folder(&scratch);
    println!("{}\n", machine(&scratch.0));
    let data = Dataset::with_contexts(&dir);
    data.make(events, users);
    let server = Server::named("pages", &data.store);
    let mut loader = Loader::signed_in(&server, &data);
    let named = loader.named();
    let only = flags.value("--only").unwrap_or_default();
    let mut failed = false;
    println!("| page | p50 | p95 | max | CPU: median | bytes at most |");
    println!("| --- | --: | --: | --: | --: | --: |");
    let mut patterns: Vec<(&str, Vec<Place>)> = Vec::new();
    let is_asked = |place: &Place| place.kind == Kind::Page && place.access != Access::Everyone;
    for place in places(&named).into_iter().filter(is_asked) {
        match patterns.iter_mut().find(|(pattern, _)| *pattern == place.pattern) {
            Some((_, of)) => of.push(place),
            None => patterns.push((place.pattern, vec![place])),
        }
    }
    for (pattern, places) in &mut patterns {
        let queries = VARIED.iter().filter(|(of, _)| pattern.ends_with(of));
        let queries = queries.flat_map(|(_, queries)| *queries);
        let plain = Place { path: filled(pattern, &named), ..places[0].clone() };
        places.extend(
            queries.map(|query| Place { path: format!("{}{query}", plain.path), ..plain.clone() }),
        );
    }
    for (pattern, places) in patterns.iter().filter(|(pattern, _)| pattern.contains(only)) {
        let loads: Vec<Load> = (0..rounds.max(places.len()))
            .map(|round| loader.load(&places[round % places.len()].path))
            .collect();
        let most = loads.iter().map(|load| load.bytes).max().unwrap_or_default();
        let times = sorted(&loads, |load| load.time);
        let slow = at(&times, 95) > P95_MAX;
        failed |= slow;
        println!(
            "| {pattern} | {} | {}{} | {} | {} | {most} |",
            millis(at(&times, 50)),
            millis(at(&times, 95)),
            if slow { " **too slow**" } else { "" },
            millis(at(&times, 100)),
            millis(at(&sorted(&loads, |load| load.cpu), 50)),
        );
        // Which of them it was, if it was one.
        for place in places.iter().filter(|_| slow) {
            let of: Vec<Load> =
                loads.iter().filter(|load| load.path == place.path).cloned().collect();
            let (times, cpu) = (sorted(&of, |load| load.time), sorted(&of, |load| load.cpu));
            if at(&times, 100) > P95_MAX {
                println!(
                    "| {}, the first {} | {} | | {} | {} | |",
                    place.path,
                    millis(of[0].time),
                    millis(at(&times, 50)),
                    millis(at(&times, 100)),
                    millis(at(&cpu, 50))
                );
            }
        }
    }
    if let Some((_, overview)) = patterns.iter().find(|(pattern, _)| pattern.ends_with("/overview"))
    {
        let bytes = loader.with_assets(&overview[0].path);
        println!("\nThe overview and all that it loads: {bytes} bytes.");
        failed |= bytes > OVERVIEW_BYTES_MAX;
    }
    let most = kilobytes(&format!("/proc/{}/status", server.child.id()), "VmHWM:") / 1024.0;
    println!("The server had at most {most:.0} MiB resident.");
    if flags.is_whole() && failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn sorted(loads: &[Load], of: fn(&Load) -> Duration) -> Vec<Duration> {
    let mut times: Vec<Duration> = loads.iter().map(of).collect();
    times.sort_unstable();
    times
}

/// What so many of a hundred are below.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// What one load of a page took.
#[derive(Clone)]
struct Load {
    path: String,
    time: Duration,
    /// Of the processors, which others who are busy on this machine don't make longer.
    cpu: Duration,
    /// The answer's, its head too.
    bytes: usize,
    body: Vec<u8>,
}

/// Loads pages as a browser does, on one connection.
struct Loader {
    stream: BufReader<TcpStream>,
    process: u32,
    cookies: String,
    account: u64,
}

impl Loader {
    /// Signs in by a new link.
    fn signed_in(server: &Server, data: &Dataset) -> Loader {
        let mut link = Command::new(env!("CARGO_BIN_EXE_triggerly"));
        let made = link.args(["web", "link", "--data"]).arg(&data.store).output();
        let made = String::from_utf8(made.expect("the verb runs").stdout).expect("text");
        let lines: Vec<String> = made.lines().map(str::to_owned).collect();
        let email = format!("bench-{}@example.com", std::process::id());
        let link = path_of(&link_in(&lines));
        let visitor = Visitor::by_link(server.addr, &link, &email, "four words nobody knows");
        let cookies: Vec<String> =
            visitor.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let stream = TcpStream::connect(server.addr).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a timeout");
        let stream = BufReader::with_capacity(1 << 16, stream);
        Loader { stream, process: server.child.id(), cookies: cookies.join("; "), account: 1 }
    }

    /// What paths name.
    fn named(&mut self) -> Named {
        let account = self.account;
        let page = |loader: &mut Loader, of: &str| {
            let load = loader.load(&format!("/accounts/{account}/{of}"));
            String::from_utf8_lossy(&load.body).into_owned()
        };
        let first = |html: &str, of: &str| {
            let start = format!("/accounts/{account}/{of}/");
            let at = html.split(&start).nth(1).and_then(|rest| rest.split(['"', '?']).next());
            at.unwrap_or_else(|| panic!("no link to one of {of}")).to_owned()
        };
        let (events, users) = (page(self, "live"), page(self, "users"));
        let user = percent_encoding::percent_decode_str(&first(&users, "users"))
            .decode_utf8_lossy()
            .into_owned();
        Named {
            account,
            user,
            seq: first(&events, "events").parse().expect("a number"),
            link: "none".to_owned(),
            asset: asset_in(&events),
        }
    }

    /// Loads a page, which has to be there.
    fn load(&mut self, path: &str) -> Load {
        let before = on_processors(self.process);
        let began = Instant::now();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\nAccept-Language: en-GB\r\nCookie: {}\r\n\r\n",
            self.cookies
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("it takes bytes");
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let start = head.len();
            self.stream.read_until(b'\n', &mut head).expect("an answer");
            let line = String::from_utf8_lossy(&head[start..]).trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        let (time, bytes) = (began.elapsed(), head.len() + body.len());
        let cpu = on_processors(self.process).saturating_sub(before);
        let head = String::from_utf8_lossy(&head);
        // What is asked for wrongly is answered by a page too.
        assert!(
            head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 4"),
            "{path}: {head}"
        );
        Load { path: path.to_owned(), time, cpu, bytes, body }
    }

    /// Bytes of a page and of all that it loads.
    fn with_assets(&mut self, path: &str) -> usize {
        let page = self.load(path);
        let html = String::from_utf8_lossy(&page.body).into_owned();
        let mut assets: Vec<String> = html
            .split('"')
            .filter(|text| text.contains("/assets/") && !text.contains([' ', '<']))
            .map(path_of)
            .collect();
        assets.sort_unstable();
        assets.dedup();
        assert!(assets.len() >= 2, "a page has a style and a script: {assets:?}");
        let mut bytes = page.bytes;
        println!("\n| {path} | {} |", page.bytes);
        for asset in assets {
            let load = self.load(&asset);
            println!("| {asset} | {} |", load.bytes);
            bytes += load.bytes;
        }
        bytes
    }
}
