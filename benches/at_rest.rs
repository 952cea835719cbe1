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
mod generator;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use beside::{Rounds, Scratch, Server, kilobytes, machine, millis};
use triggerly::model::Date;

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
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str, default: &str| {
        let at = args.iter().position(|arg| arg == name);
        let given = at.map(|at| args.get(at + 1).expect("a value after the flag").as_str());
        given.unwrap_or(default).to_owned()
    };
    let whole = args.iter().any(|arg| arg == "--bench");
    let number = |name: &str, whole_default: &str, short: &str| -> u64 {
        value(name, if whole { whole_default } else { short }).parse().expect(name)
    };
    let (events, users) =
        (number("--events", "10000000", "20000"), number("--users", "200000", "500"));
    let rounds = number("--rounds", "9", "1");
    let seconds: f64 =
        value("--seconds", if whole { "3" } else { "0.1" }).parse().expect("--seconds");

    let scratch = Scratch::new();
    let dir = match value("--keep", "").as_str() {
        "" => scratch.0.clone(),
        keep => PathBuf::from(keep),
    };
    fs::create_dir_all(&dir).expect("a folder");
    println!("{}\n", machine(&scratch.0));
    let store = dir.join("store");
    let lines = dir.join("events.jsonl");
    at_rest(&dir, &store, &lines, events, users);
    let failed = beside_an_empty_one(&store, &dir.join("empty"), rounds, seconds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn at_rest(dir: &Path, store: &Path, lines: &Path, events: u64, users: u64) {
    let user_lines = dir.join("users.jsonl");
    write_lines(lines, &user_lines, events, users);
    drop(Server::named("made", store));
    let per_event = |bytes: u64| bytes as f64 / events as f64;
    let took = |what: &str, count: u64, file: &Path| {
        let began = Instant::now();
        let memory = run_watched(&["import", what, &file.display().to_string()], store);
        let rate = count as f64 / began.elapsed().as_secs_f64();
        println!("import of {count} {what}: {rate:.0} a second, at most {memory:.0} MiB resident");
    };
    took("users", users, &user_lines);
    took("events", events, lines);
    println!("before compacting: {:.1} bytes an event", per_event(bytes_below(store)));
    let began = Instant::now();
    let memory = run_watched(&["compact"], store);
    println!("compact: {:.1} s, at most {memory:.0} MiB resident", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let memory = run_watched(&["verify"], store);
    println!("verify: {:.1} s, at most {memory:.0} MiB resident", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let memory = run_watched(&["backup", &dir.join("backup").display().to_string()], store);
    println!("backup: {:.1} s, at most {memory:.0} MiB resident", began.elapsed().as_secs_f64());

    let sqlite = dir.join("events.sqlite");
    let mut python = Command::new("python3");
    python.args(["-c", SQLITE]).arg(lines).arg(&sqlite);
    assert!(python.status().expect("python3 runs").success(), "python3 with sqlite3");
    let ballast = fs::metadata(store.join("ballast")).map_or(0, |meta| meta.len());
    println!("\n| at rest | bytes an event |\n| --- | --: |");
    let all = bytes_below(store) - ballast;
    println!("| triggerly, everything counted | {:.1} |", per_event(all));
    println!("| of it, the segments | {:.1} |", per_event(bytes_below(&store.join("segments"))));
    println!("| of it, {users} users and what isn't sealed | {:.1} |", {
        per_event(all - bytes_below(&store.join("segments")))
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

fn write_lines(lines: &Path, user_lines: &Path, events: u64, users: u64) {
    if lines.exists() && user_lines.exists() {
        return;
    }
    let create =
        |path: &Path| BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
    let mut out = create(lines);
    for event in generator::events(1, events, users) {
        let rest = event.attributes.strip_prefix('{').expect("an object");
        let comma = if rest == "}" { "" } else { "," };
        write!(out, r#"{{"type":"{}","date":"{}""#, event.kind, Date::from_millis(event.date))
            .expect("room");
        if let Some(id) = &event.user_id {
            write!(out, r#","user_id":"{id}""#).expect("room");
        }
        writeln!(out, "{comma}{rest}").expect("room");
    }
    out.flush().expect("room");
    let mut out = create(user_lines);
    for (id, patch) in generator::users(1, users) {
        let rest = patch.strip_prefix('{').expect("an object");
        let comma = if rest == "}" { "" } else { "," };
        writeln!(out, r#"{{"id":"{id}"{comma}{rest}"#).expect("room");
    }
    out.flush().expect("room");
}

/// Runs a verb, and gives the most memory that it was seen with, in MiB.
fn run_watched(arguments: &[&str], store: &Path) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerly"));
    command.args(arguments).arg("--data").arg(store).stdout(Stdio::null());
    let mut child: Child = command.spawn().expect("the verb starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most: f64 = 0.0;
    loop {
        // Gone between the two looks, it has no line of that name.
        if fs::read_to_string(&status).is_ok_and(|text| text.contains("VmHWM:")) {
            most =
                most.max(std::panic::catch_unwind(|| kilobytes(&status, "VmHWM:")).unwrap_or(0.0));
        }
        if let Some(ended) = child.try_wait().expect("it can be waited for") {
            assert!(ended.success(), "{arguments:?}: {ended}");
            return most / 1024.0;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes of a file, or of all files below a folder, as the disk counts them.
fn bytes_below(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // A dead server's socket, and what is being removed, have nothing.
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.blocks() * 512;
    }
    let entries = fs::read_dir(path).expect("a folder").flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}
