//! The pixel: the server, which answers once it is on disk, beside a bare tiny_http and nginx, which store nothing.

use std::fs;
use std::thread;

use crate::Bench;
use crate::beside::Server;
use crate::peers::{self, Nginx};
use crate::report::{Report, Row};
use crate::wrk::{Connections, Trial, Wrk};

/// Over connections that stay open.
///
/// # Errors
/// In words, if calls failed.
pub fn kept(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let settings = bench.settings.connections.iter();
    let settings: Vec<_> = settings.map(|&count| Connections::Kept(count)).collect();
    beside_others(bench, report, "pixel", &settings)
}

/// Over a new one for each call, 64 at a time.
///
/// # Errors
/// In words, if calls failed.
pub fn new(bench: &Bench, report: &mut Report) -> Result<(), String> {
    beside_others(bench, report, "new", &[Connections::New(64)])
}

fn beside_others(
    bench: &Bench,
    report: &mut Report,
    section: &str,
    settings: &[Connections],
) -> Result<(), String> {
    let dir = bench.folder(section);
    let durable = Server::named("triggerly", &dir.join("data"));
    let answer = dir.join("answer");
    fs::write(&answer, peers::one_answer(&durable)).expect("a file for the answer");
    let bare = [1, 2, 4].map(|workers| peers::bare(&answer, workers));
    let several = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    let workers = if several { &["1", "auto"][..] } else { &["1"] };
    let nginx: Vec<Nginx> = workers.iter().map(|workers| Nginx::start(&dir, workers)).collect();
    let wrk = Wrk::of(&dir, &durable.token);

    let (rounds, seconds) = (bench.settings.rounds, bench.settings.whole_seconds());
    let mut rows = Vec::new();
    for &connections in settings {
        let count = match connections {
            Connections::Kept(count) | Connections::New(count) => count,
        };
        // The trials that find the best number of workers also warm up the
        // others, as one round that is not counted does the server.
        let tries = rounds.min(3);
        let best_bare = fastest(bare.iter(), |trial| trial.run(&wrk, connections, seconds), tries)?;
        let forget = || nginx.iter().for_each(Nginx::forget);
        let servers = nginx.iter().map(|nginx| &nginx.server);
        let run = |trial: &mut Trial| trial.run(&wrk, connections, seconds).inspect(|()| forget());
        let best_nginx = fastest(servers, run, tries)?;
        let mut trials = [&durable, best_bare, best_nginx].map(Trial::of);
        Trial::of(&durable).run(&wrk, connections, seconds)?;
        for _ in 0..rounds {
            for trial in &mut trials {
                trial.run(&wrk, connections, seconds)?;
            }
            forget();
        }
        let [own, bare, nginx] = trials.map(|trial| {
            // Which number of workers was best may change from run to run.
            let name = trial.server.name.split(',').next().unwrap_or_default().to_owned();
            println!("{count}: {}", trial.server.name);
            trial.row(format!("{count}, {name}"))
        });
        rows.push(Row::ratio(format!("{count}, triggerly / bare"), &own, &bare));
        rows.push(Row::ratio(format!("{count}, triggerly / nginx"), &own, &nginx));
        let at = rows.len() - 2;
        rows.splice(at..at, [own, bare, nginx]);
    }
    println!();
    report.table(section, &rows);
    Ok(())
}

/// The server that does best in a few rounds by turns.
fn fastest<'a>(
    servers: impl Iterator<Item = &'a Server>,
    run: impl Fn(&mut Trial<'a>) -> Result<(), String>,
    rounds: usize,
) -> Result<&'a Server, String> {
    let mut trials: Vec<Trial> = servers.map(Trial::of).collect();
    for _ in 0..rounds {
        for trial in &mut trials {
            run(trial)?;
        }
    }
    let best = trials.iter().max_by(|one, other| one.rate().total_cmp(&other.rate()));
    Ok(best.expect("a server").server)
}
