//! A store with millions of made-up events in it, by the real program: written as JSON lines, imported,
//! compacted. Kept in a folder, it is made once.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use triggerly::model::Date;

use crate::beside::{Server, kilobytes};
use crate::generator::{self, GeneratedEvent};

/// The type that one event in a hundredth of all has: a hundred of them, from the first to the last.
pub const RARE: &str = "refund";

/// Where it lies.
pub struct Dataset {
    pub dir: PathBuf,
    pub store: PathBuf,
    pub lines: PathBuf,
    pub user_lines: PathBuf,
    /// There once the store is whole.
    made: PathBuf,
    with_contexts: bool,
}

impl Dataset {
    pub fn at(dir: &Path) -> Dataset {
        fs::create_dir_all(dir).expect("a folder");
        Dataset {
            dir: dir.to_owned(),
            store: dir.join("store"),
            lines: dir.join("events.jsonl"),
            user_lines: dir.join("users.jsonl"),
            made: dir.join("READY"),
            with_contexts: false,
        }
    }

    /// The same events with what browsers told beside them, the last of them now: as pages show them.
    pub fn with_contexts(dir: &Path) -> Dataset {
        Dataset {
            store: dir.join("pages"),
            lines: dir.join("with-context.jsonl"),
            made: dir.join("PAGES_READY"),
            with_contexts: true,
            ..Dataset::at(dir)
        }
    }

    /// Writes the lines, unless they are there.
    pub fn write_lines(&self, events: u64, users: u64) {
        if self.lines.exists() && self.user_lines.exists() {
            return;
        }
        let create =
            |path: &Path| BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
        let mut out = create(&self.lines);
        let later =
            if self.with_contexts { triggerly::clock::now().millis() - generator::TO } else { 0 };
        for (n, event) in (0..).zip(generator::events(1, events, users)) {
            let date = Date::from_millis(event.date + later);
            if n % (events / 100).max(1) == 0 {
                writeln!(out, r#"{{"type":"{RARE}","date":"{date}","order":"A-{n}"}}"#)
                    .expect("room");
            }
            if self.with_contexts {
                write_exported(&mut out, n + 1, &event, date);
                continue;
            }
            let rest = event.attributes.strip_prefix('{').expect("an object");
            let comma = if rest == "}" { "" } else { "," };
            write!(out, r#"{{"type":"{}","date":"{date}""#, event.kind).expect("room");
            if let Some(id) = &event.user_id {
                write!(out, r#","user_id":"{id}""#).expect("room");
            }
            writeln!(out, "{comma}{rest}").expect("room");
        }
        out.flush().expect("room");
        let mut out = create(&self.user_lines);
        for (id, patch) in generator::users(1, users) {
            let rest = patch.strip_prefix('{').expect("an object");
            let comma = if rest == "}" { "" } else { "," };
            writeln!(out, r#"{{"id":"{id}"{comma}{rest}"#).expect("room");
        }
        out.flush().expect("room");
    }

    /// Makes the store, unless it is there, and tells how that went.
    pub fn make(&self, events: u64, users: u64) {
        if self.made.exists() {
            return;
        }
        let _ = fs::remove_dir_all(&self.store);
        self.write_lines(events, users);
        let import = |what: &str, count: u64, file: &Path| {
            let began = Instant::now();
            let memory = run_watched(&["import", what, &file.display().to_string()], &self.store);
            let rate = count as f64 / began.elapsed().as_secs_f64();
            println!(
                "import of {count} {what}: {rate:.0} a second, at most {memory:.0} MiB resident"
            );
        };
        drop(Server::named("made", &self.store));
        import("users", users, &self.user_lines);
        import("events", events, &self.lines);
        println!("before compacting: {:.1} bytes an event", {
            bytes_below(&self.store) as f64 / events as f64
        });
        timed("compact", &["compact"], &self.store);
        File::create(&self.made).expect("a file");
    }

    /// What the store takes, without the ballast.
    pub fn bytes(&self) -> u64 {
        bytes_below(&self.store) - bytes_below(&self.store.join("ballast"))
    }

    /// What of it the indexes beside the segments take.
    pub fn index_bytes(&self) -> u64 {
        let entries = fs::read_dir(self.store.join("segments")).expect("a folder").flatten();
        let indexes = entries.map(|entry| entry.path());
        let indexes = indexes.filter(|path| path.extension().is_none_or(|name| name != "parquet"));
        indexes.map(|path| bytes_below(&path)).sum()
    }
}

/// An event as an export has it, which is how a context comes in.
fn write_exported(out: &mut impl Write, seq: u64, event: &GeneratedEvent, date: Date) {
    let GeneratedEvent { kind, user_id, attributes, context, .. } = event;
    write!(out, r#"{{"seq":{seq},"type":"{kind}","user_id":"#).expect("room");
    match user_id {
        Some(id) => write!(out, r#""{id}""#),
        None => write!(out, "null"),
    }
    .expect("room");
    write!(out, r#","date":"{date}","received_at":"{date}","attributes":{attributes}"#)
        .expect("room");
    if let Some(context) = context {
        write!(out, r#","context":{context}"#).expect("room");
    }
    writeln!(out, "}}").expect("room");
}

/// Runs a verb, and tells how long it took and what memory.
pub fn timed(what: &str, arguments: &[&str], store: &Path) {
    let began = Instant::now();
    let memory = run_watched(arguments, store);
    println!("{what}: {:.1} s, at most {memory:.0} MiB resident", began.elapsed().as_secs_f64());
}

/// Runs a verb, and gives the most memory that it was seen with, in MiB.
pub fn run_watched(arguments: &[&str], store: &Path) -> f64 {
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
pub fn bytes_below(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // A dead server's socket, and what is being removed, have nothing.
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.blocks() * 512;
    }
    let entries = fs::read_dir(path).expect("a folder").flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}
