//! What the gate costs, or gains: the server beside the same one whose clients reach tiny_http itself.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::Bench;
use crate::beside::{Rounds, Server};
use crate::report::{Report, Row, Unit};

/// # Errors
/// In words, if calls failed.
pub fn beside_ungated(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("gate");
    let gated = Server::named("with the gate", &dir.join("gated"));
    let ungated = ungated(&dir.join("ungated"));
    let time = Duration::from_secs_f64(bench.settings.seconds);
    let mut rows = Vec::new();
    for &connections in &bench.settings.connections {
        for server in [&gated, &ungated] {
            Rounds::of(server).run(connections, time);
        }
        let mut trials = [&gated, &ungated].map(Rounds::of);
        for _ in 0..bench.settings.rounds {
            for trial in &mut trials {
                trial.run(connections, time);
            }
        }
        let failed: u64 = trials.iter().map(|trial| trial.failed).sum();
        if failed > 0 {
            return Err(format!("{failed} calls failed"));
        }
        let [with, without] = trials.map(|trial| {
            Row::new(
                format!("{connections}, {}", trial.server.name),
                Unit::PerSecond("calls"),
                &trial.rates,
            )
            .with("p50", Unit::Time, trial.latencies.p50().as_secs_f64())
            .with("p99", Unit::Time, trial.latencies.p99().as_secs_f64())
            .with("CPU a call", Unit::Micros, trial.cpu_per_call())
            .with("memory", Unit::Memory, trial.server.rss())
        });
        let ratio = Row::ratio(format!("{connections}, with / without"), &with, &without);
        rows.extend([with, without, ratio]);
    }
    report.table("gate", &rows);
    Ok(())
}

/// This very program, as [`crate::ungated::serve`], with as many workers as the server has.
fn ungated(data: &Path) -> Server {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    let workers = thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
    command.arg("--ungated").arg(data).arg(workers.to_string());
    Server::start("without the gate".to_owned(), &mut command)
}
