//! Ten million events at rest: what they take on disk and in memory, how fast they come in, and what
//! they cost the calls that come after them.
//!
//! ```text
//! cargo bench --bench at_rest -- [--events 10000000] [--users 200000] [--rounds 9] [--seconds 3] [--keep DIR]
//! ```
//! The events are made up (`generator`), written as JSON lines, imported by the real program, and
//! beside that put into SQLite with the indexes that such a table would have, by Python's own
//! `sqlite3`. Then two servers take calls in rounds by turns: one on that store, one on an empty one.
//!
//! Without cargo's `--bench`, as under `cargo test`, a few events show that it works.

mod beside;
#[path = "beside/dataset.rs"]
mod dataset;
mod generator;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use beside::{Flags, Rounds, Scratch, Server, machine, millis};
use dataset::{Dataset, bytes_below, timed};

/// Puts JSON lines into SQLite: the file, the database.
const SQLITE: &str = r#"
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[2])
db.execute("pragma journal_mode = wal")
db.execute("""create table events (seq integer primary key, type text not null, user_id text,
    date integer not null, received_at integer not null, attributes text not null)""")
def rows():
    with open(sys.argv[1], encoding="utf-8") as lines:
        for seq, line in enumerate(lines, 1):
            event = json.loads(line)
            kind, user, date = event.pop("type"), event.pop("user_id", None), event.pop("date")
            text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
            # Milliseconds as an integer, as one would keep it: 8 bytes and no more.
            yield seq, kind, user, seq + 1704067200000, seq + 1704067200000, text
db.executemany("insert into events values (?, ?, ?, ?, ?, ?)", rows())
for name, columns in [("user", "user_id, date"), ("type", "type, date"), ("date", "date")]:
    db.execute(f"create index events_{name} on events ({columns})")
db.commit()
db.execute("pragma wal_checkpoint(truncate)")
db.close()
"#;

fn main() -> ExitCode {
    let flags = Flags::read();
    let events: u64 = flags.number("--events", 10_000_000, 20_000);
    let users: u64 = flags.number("--users", 200_000, 500);
    let rounds: u64 = flags.number("--rounds", 9, 1);
    let seconds: f64 = flags.number("--seconds", 3.0, 0.1);

    let scratch = Scratch::new();
    let dir = flags.folder(&scratch);
    println!("{}\n", machine(&scratch.0));
    let data = Dataset::at(&dir);
    at_rest(&data, events, users);
    let failed = beside_an_empty_one(&data.store, &dir.join("empty"), rounds, seconds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn at_rest(data: &Dataset, events: u64, users: u64) {
    data.make(events, users);
    let (dir, store, lines) = (&data.dir, &data.store, &data.lines);
    let per_event = |bytes: u64| bytes as f64 / events as f64;
    timed("verify", &["verify"], store);
    timed("backup", &["backup", &dir.join("backup").display().to_string()], store);
    timed("reindex", &["reindex"], store);

    let sqlite = dir.join("events.sqlite");
    let mut python = Command::new("python3");
    python.args(["-c", SQLITE]).arg(lines).arg(&sqlite);
    assert!(python.status().expect("python3 runs").success(), "python3 with sqlite3");
    println!("\n| at rest | bytes an event |\n| --- | --: |");
    let (all, indexes) = (data.bytes(), data.index_bytes());
    let segments = bytes_below(&store.join("segments")) - indexes;
    println!("| triggerly, everything counted | {:.1} |", per_event(all));
    println!("| of it, the segments | {:.1} |", per_event(segments));
    println!("| of it, their indexes | {:.1} |", per_event(indexes));
    println!("| of it, {users} users and what isn't sealed | {:.1} |", {
        per_event(all - segments - indexes)
    });
    println!("| SQLite with three indexes | {:.1} |", per_event(bytes_below(&sqlite)));
    println!("| JSON lines | {:.1} |\n", per_event(bytes_below(lines)));

    let opened: Vec<_> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let server = Server::named("opened", store);
            let opened = began.elapsed();
            (opened, server.rss())
        })
        .collect();
    let mut times: Vec<_> = opened.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    let memory = opened.iter().map(|(_, rss)| *rss).fold(0.0, f64::max);
    println!(
        "start, until it accepts: {} (median of 5); {memory:.0} MiB resident",
        millis(times[2])
    );
}

/// Calls in rounds by turns: with all those events behind, and with none.
fn beside_an_empty_one(full: &Path, empty: &Path, rounds: u64, seconds: f64) -> u64 {
    let time = Duration::from_secs_f64(seconds);
    let (full, empty) = (Server::named("full", full), Server::named("empty", empty));
    println!("\n{rounds} rounds each, alternating, of {time:?}, 64 connections.\n");
    println!(
        "| server | calls/s: median (min - max) | p50 | p99 | max | CPU/call | load's CPU/call | RSS | failed | starved |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for server in [&full, &empty] {
        Rounds::of(server).run(64, time);
    }
    let (mut behind, mut before) = (Rounds::of(&full), Rounds::of(&empty));
    for _ in 0..rounds {
        behind.run(64, time);
        before.run(64, time);
    }
    println!("| {}\n| {}", behind.row(), before.row());
    println!(
        "| **full / empty** | **{:.2}** | | **{:.2}** | | {:.2} | | | | |",
        behind.rate() / before.rate(),
        behind.latencies.p99().as_secs_f64() / before.latencies.p99().as_secs_f64(),
        behind.cpu_per_call() / before.cpu_per_call(),
    );
    behind.failed + before.failed
}
