//! The pixel of a server that has one core and 512 MB, beside one that has what the machine has. The load has all of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Bench;
use crate::beside::Server;
use crate::report::{Report, Row};
use crate::wrk::{Connections, Trial, Wrk};

const BYTES: u64 = 512 << 20;

/// # Errors
/// In words, if calls failed.
pub fn beside_all(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("one-core");
    let group = Group::new();
    match &group {
        Some(group) => println!("memory by a cgroup: {}", group.dir.display()),
        None => println!("memory without a limit, for no cgroup can be made here"),
    }
    let all = Server::named("all cores", &dir.join("all"));
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(env!("CARGO_BIN_EXE_triggerly"));
    command.args(["serve", "--log", "warn", "--listen", "127.0.0.1:0", "--data"]);
    let one = Server::start("one core, 512 MB".to_owned(), command.arg(dir.join("one")));
    if let Some(group) = &group {
        group.take(one.child.id());
    }
    let scripts = [&all, &one].map(|server| Wrk::of(&dir, &server.token));
    let mut rows = Vec::new();
    for &count in &bench.settings.connections {
        let connections = Connections::Kept(count);
        let mut trials = [&all, &one].map(Trial::of);
        for (trial, wrk) in trials.iter_mut().zip(&scripts) {
            Trial::of(trial.server).run(wrk, connections, bench.settings.whole_seconds())?;
        }
        for _ in 0..bench.settings.rounds {
            for (trial, wrk) in trials.iter_mut().zip(&scripts) {
                trial.run(wrk, connections, bench.settings.whole_seconds())?;
            }
        }
        let [all, one] = trials.map(|trial| trial.row(format!("{count}, {}", trial.server.name)));
        let ratio = Row::ratio(format!("{count}, one / all"), &one, &all);
        rows.extend([all, one, ratio]);
    }
    report.table("one-core", &rows);
    Ok(())
}

/// A cgroup with a limit of memory, removed when dropped.
struct Group {
    dir: PathBuf,
}

impl Group {
    /// Of version 2 or 1, whichever this system has and lets us make.
    fn new() -> Option<Group> {
        let name = format!("triggerly-bench-{}", std::process::id());
        let made =
            [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        made.iter().find_map(|(parent, limit)| {
            let dir = Path::new(parent).join(&name);
            fs::create_dir(&dir).ok()?;
            // Dropped, it goes, if it is none that limits memory.
            let group = Group { dir };
            let limit = group.dir.join(limit);
            (limit.exists() && fs::write(limit, BYTES.to_string()).is_ok()).then_some(group)
        })
    }

    fn take(&self, process: u32) {
        let moved = fs::write(self.dir.join("cgroup.procs"), process.to_string());
        moved.expect("a process can be moved into the group");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}
