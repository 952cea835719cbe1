//! With many events behind: what they take at rest, how long a start is, what is used while nobody calls, and what the
//! calls that come after them feel of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::beside::{Rounds, Server, drive, on_processors};
use crate::dataset::Dataset;
use crate::report::{Report, Row, Unit};

/// The events, made when they are first wanted.
fn events(bench: &Bench) -> Dataset {
    let dir = bench.settings.keep.clone().unwrap_or_else(|| bench.folder("behind"));
    let data = Dataset::at(&dir);
    data.make(bench.settings.events, (bench.settings.events / 50).max(10));
    data
}

/// # Errors
/// None.
pub fn at_rest(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let data = events(bench);
    let an_event = |bytes: u64| [bytes as f64 / bench.settings.events as f64];
    let rows = [
        Row::new("an event, everything counted", Unit::Bytes, &an_event(data.bytes())),
        Row::new("of it, indexes", Unit::Bytes, &an_event(data.index_bytes())),
    ];
    report.table("rest", &rows);
    Ok(())
}

/// # Errors
/// None.
pub fn start(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let data = events(bench);
    let empty = bench.folder("start").join("data");
    drop(Server::named("made", &empty));
    let times = |store: &Path| -> Vec<f64> {
        let time = || {
            let began = Instant::now();
            let server = Server::serve("started", store);
            let took = began.elapsed().as_secs_f64();
            drop(server);
            took
        };
        (0..bench.settings.rounds.max(3)).map(|_| time()).collect()
    };
    let rows = [
        Row::new("empty", Unit::Time, &times(&empty)),
        Row::new("with events behind", Unit::Time, &times(&data.store)),
    ];
    report.table("start", &rows);
    Ok(())
}

/// # Errors
/// None.
pub fn idle(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let data = events(bench);
    let empty = bench.folder("idle").join("data");
    let time = Duration::from_secs_f64(bench.settings.idle_seconds);
    let mut rows = Vec::new();
    for (name, store) in [("empty", &empty), ("with events behind", &data.store)] {
        let server = Server::named(name, store);
        // What a start leaves to be done is over by then.
        thread::sleep(time / 4);
        let before = on_processors(server.child.id());
        thread::sleep(time);
        let used = on_processors(server.child.id()).saturating_sub(before);
        let percent = 100.0 * used.as_secs_f64() / time.as_secs_f64();
        rows.push(Row::new(name, Unit::Percent, &[percent]).with(
            "memory",
            Unit::Memory,
            server.rss(),
        ));
    }
    report.table("idle", &rows);
    Ok(())
}

/// # Errors
/// In words, if calls failed.
pub fn memory(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let data = events(bench);
    let dir = bench.folder("memory").join("data");
    let idle = Server::named("idle", &dir);
    thread::sleep(Duration::from_secs_f64(bench.settings.idle_seconds / 10.0));
    let mut rows = vec![Row::new("idle", Unit::Memory, &[idle.rss()])];
    let connections = bench.settings.connections.iter().copied().max().unwrap_or(64);
    let time = Duration::from_secs_f64(bench.settings.seconds * 3.0);
    let seen = drive(&idle, connections, time, || {});
    if seen.failed() > 0 {
        return Err(format!("{} calls failed", seen.failed()));
    }
    rows.push(Row::new("under load, at the most", Unit::Memory, &[idle.peak()]));
    drop(idle);
    let behind = Server::named("behind", &data.store);
    thread::sleep(Duration::from_secs_f64(bench.settings.idle_seconds / 10.0));
    rows.push(Row::new("with events behind", Unit::Memory, &[behind.rss()]));
    report.table("memory", &rows);
    println!("With pages open: cargo bench --bench pages\n");
    Ok(())
}

/// Throughput with all of them behind and the compactor at work, beside an empty store.
///
/// # Errors
/// In words, if calls failed.
pub fn behind(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let data = events(bench);
    let empty = bench.folder("before").join("data");
    let (full, empty) = (Server::named("full", &data.store), Server::named("empty", &empty));
    let time = Duration::from_secs_f64(bench.settings.seconds);
    let (mut behind, mut before) = (Rounds::of(&full), Rounds::of(&empty));
    for server in [&full, &empty] {
        Rounds::of(server).run(64, time);
    }
    for _ in 0..bench.settings.rounds {
        while_compacting(&data.store, || behind.run(64, time));
        before.run(64, time);
    }
    let failed = behind.failed + before.failed;
    if failed > 0 {
        return Err(format!("{failed} calls failed"));
    }
    let [full, empty] =
        [("events behind, compacting", &behind), ("empty", &before)].map(|(name, rounds)| {
            Row::new(name, Unit::PerSecond("calls"), &rounds.rates)
                .with("p50", Unit::Time, rounds.latencies.p50().as_secs_f64())
                .with("p99", Unit::Time, rounds.latencies.p99().as_secs_f64())
                .with("CPU a call", Unit::Micros, rounds.cpu_per_call())
                .with("memory", Unit::Memory, rounds.server.rss())
        });
    let ratio = Row::ratio("behind / empty", &full, &empty);
    report.table("behind", &[full, empty, ratio]);
    Ok(())
}

/// Runs something while the server of a store seals and merges whatever there is, again and again.
fn while_compacting(store: &Path, mut run: impl FnMut()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                let mut compact = Command::new(env!("CARGO_BIN_EXE_triggerly"));
                compact.args(["compact", "--data"]).arg(store).stdout(Stdio::null());
                let status = compact.stderr(Stdio::null()).status().expect("the verb runs");
                assert!(status.success(), "compact: {status}");
                thread::sleep(Duration::from_millis(100));
            }
        });
        run();
        done.store(true, Relaxed);
    });
}

/// The program itself, as it was built for this bench, without what only a debugger reads; static, it is larger by the C
/// library.
///
/// # Errors
/// None.
pub fn binary(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let stripped = bench.folder("binary").join("triggerly");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_triggerly"));
    let status = strip.status().map_err(|why| format!("strip: {why}"))?;
    if !status.success() {
        return Err(format!("strip: {status}"));
    }
    let bytes = fs::metadata(&stripped).expect("a file").len() as f64 / 1e6;
    report.table("binary", &[Row::new("stripped", Unit::Megabytes, &[bytes])]);
    Ok(())
}
