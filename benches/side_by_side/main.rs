//! The server beside what people would use instead, and beside what the disk alone would do: all in one run, in rounds by
//! turns, so that whatever else the machine does weighs on each alike. What counts is the ratio of medians.
//!
//! ```text
//! cargo bench --bench side_by_side -- [SECTION]... [--short] [--rounds 9] [--seconds 3] [--connections 64,256]
//!                                     [--minutes 10] [--events 10000000] [--imported 1000000] [--keep DIR] [--json FILE]
//! ```
//! A section is measured by the module that has its name below; without any, all are. Each prints a table, and the last one
//! is that of the goals: no figure makes the run fail, calls that failed do. The figures are kept as JSON in the folder of
//! the build, or in `--json FILE`, and stand in the next run's tables as `last`.
//!
//! `--short` shows within minutes that all of it runs; its figures say little. What needs a program that isn't there is left
//! out, and says how to come by it. Without cargo's `--bench`, as under `cargo test`, a tiny round of what needs
//! none shows that it works.

mod appended;
mod batches;
mod behind;
#[path = "../beside/mod.rs"]
mod beside;
#[path = "../beside/dataset.rs"]
mod dataset;
mod gate;
#[path = "../generator/mod.rs"]
mod generator;
mod goals;
mod latency;
#[cfg(feature = "jetstream")]
mod machines;
mod minutes;
mod one_core;
mod peers;
mod pixel;
mod report;
#[path = "../beside/ungated.rs"]
mod ungated;
mod wrk;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use beside::{Scratch, machine};
use report::Report;

/// What is measured together.
struct Section {
    name: &'static str,
    /// Outside programs, with Debian's packages.
    needs: &'static [(&'static str, &'static str)],
    run: fn(&Bench, &mut Report) -> Result<(), String>,
    /// Whether it runs when no section is named.
    usual: bool,
}

const fn section(
    name: &'static str,
    needs: &'static [(&'static str, &'static str)],
    run: fn(&Bench, &mut Report) -> Result<(), String>,
) -> Section {
    Section { name, needs, run, usual: true }
}

const WRK: (&str, &str) = ("wrk", "wrk");
const NGINX: (&str, &str) = ("nginx", "nginx-light");
const TASKSET: (&str, &str) = ("taskset", "util-linux");
#[cfg(feature = "jetstream")]
const NATS: (&str, &str) = ("nats-server", "nats-server");
const STRIP: (&str, &str) = ("strip", "binutils");

const SECTIONS: &[Section] = &[
    section("pixel", &[WRK, NGINX], pixel::kept),
    section("new", &[WRK, NGINX], pixel::new),
    section("latency", &[], latency::at_half_load),
    section("one", &[], appended::one),
    section("ndjson", &[], batches::ndjson),
    section("commits", &[], appended::commits),
    section("import", &[], batches::import),
    section("reads", &[], reads),
    section("rest", &[], behind::at_rest),
    section("start", &[], behind::start),
    section("idle", &[], behind::idle),
    section("memory", &[], behind::memory),
    section("behind", &[], behind::behind),
    section("minutes", &[], minutes::over_time),
    section("one-core", &[WRK, TASKSET], one_core::beside_all),
    section("binary", &[STRIP], behind::binary),
    #[cfg(feature = "jetstream")]
    section("machines", &[WRK, NATS], machines::beside_one),
    Section { usual: false, ..section("gate", &[], gate::beside_ungated) },
];

/// How much is measured.
struct Settings {
    rounds: usize,
    /// Of a round; `wrk` takes whole ones.
    seconds: f64,
    connections: Vec<usize>,
    /// Of the one long run.
    long_seconds: f64,
    idle_seconds: f64,
    /// Events that lie behind, and those of an import.
    events: u64,
    imported: u64,
    /// Where the events behind are kept for the next time.
    keep: Option<PathBuf>,
}

/// A run.
struct Bench {
    settings: Settings,
    scratch: Scratch,
}

impl Bench {
    /// An empty folder on the disk of the build.
    fn folder(&self, name: &str) -> PathBuf {
        let dir = self.scratch.0.join(name);
        fs::create_dir_all(&dir).expect("a folder");
        dir
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, answer, workers] = &args[..]
        && mode == "--bare"
    {
        peers::serve_bare(Path::new(answer), workers.parse().expect("workers"));
    }
    if let [mode, data, workers] = &args[..]
        && mode == "--ungated"
    {
        ungated::serve(Path::new(data), workers.parse().expect("workers"));
    }
    let scratch = Scratch::new();
    let (arguments, extent) = match Arguments::read(args) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let file = match (&arguments.json, extent) {
        (Some(file), _) => file.clone(),
        (None, Extent::Whole) => build().join("side_by_side.json"),
        (None, Extent::Short) => build().join("side_by_side-short.json"),
        (None, Extent::Tiny) => scratch.0.join("side_by_side.json"),
    };
    let machine = machine(&scratch.0);
    println!("{machine}\n{}\n", arguments.settings.told());
    let bench = Bench { settings: arguments.settings, scratch };
    let mut report = Report::beside_last(&file);
    for section in SECTIONS {
        let named = arguments.sections.contains(section.name);
        if !(named || arguments.sections.is_empty() && section.usual) {
            continue;
        }
        if extent == Extent::Tiny && !section.needs.is_empty() {
            continue;
        }
        let missing = |(program, _): &&(&str, &str)| !is_there(program);
        if let Some((program, package)) = section.needs.iter().find(missing) {
            println!("{}: left out, for {program} isn't there: apt-get install {package}\n", {
                section.name
            });
            continue;
        }
        if let Err(why) = (section.run)(&bench, &mut report) {
            report.failed(format!("{}: {why}", section.name));
        }
    }
    report.goals();
    report.write(&file, &machine);
    if report.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nFigures from failed calls are no figures:\n{}", report.failures.join("\n"));
    ExitCode::FAILURE
}

/// What questions cost has a bench of its own, which takes DuckDB from PyPI.
fn reads(_: &Bench, _: &mut Report) -> Result<(), String> {
    println!("reads, beside DuckDB: cargo bench --bench questions\n");
    Ok(())
}

/// Cargo's folder of builds, by the one for temporary files in it.
fn build() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the folder of the build")
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Whole,
    Short,
    /// Under `cargo test`.
    Tiny,
}

/// What the run was asked for.
struct Arguments {
    sections: BTreeSet<String>,
    json: Option<PathBuf>,
    settings: Settings,
}

impl Arguments {
    fn read(args: Vec<String>) -> Result<(Arguments, Extent), String> {
        let has = |name: &str| args.iter().any(|arg| arg == name);
        let extent = match (has("--bench") && !has("--test"), has("--short")) {
            (false, _) => Extent::Tiny,
            (true, true) => Extent::Short,
            (true, false) => Extent::Whole,
        };
        let of = |whole: f64, short: f64, tiny: f64| match extent {
            Extent::Whole => whole,
            Extent::Short => short,
            Extent::Tiny => tiny,
        };
        let connections = if extent == Extent::Tiny { vec![4] } else { vec![64, 256] };
        let mut settings = Settings {
            rounds: of(9.0, 2.0, 1.0) as usize,
            seconds: of(3.0, 1.0, 0.1),
            connections,
            long_seconds: of(600.0, 6.0, 0.2),
            idle_seconds: of(10.0, 2.0, 0.1),
            events: of(10e6, 2e5, 2e3) as u64,
            imported: of(1e6, 1e5, 2e3) as u64,
            keep: None,
        };
        let (mut sections, mut json) = (BTreeSet::new(), None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} takes a value"));
            let number = |text: &String| {
                text.parse::<f64>().map_err(|_| format!("{arg}: {text} is no number"))
            };
            match arg.as_str() {
                "--bench" | "--test" | "--short" => {}
                "--rounds" => settings.rounds = number(value()?)?.max(1.0) as usize,
                "--seconds" => settings.seconds = number(value()?)?,
                "--connections" => {
                    let counts = value()?.split(',').map(|count| count.parse());
                    let counts: Result<_, _> = counts.collect();
                    settings.connections = counts.map_err(|why| format!("{arg}: {why}"))?;
                }
                "--minutes" => settings.long_seconds = 60.0 * number(value()?)?,
                "--events" => settings.events = number(value()?)?.max(100.0) as u64,
                "--imported" => settings.imported = number(value()?)?.max(100.0) as u64,
                "--keep" => settings.keep = Some(value()?.into()),
                "--json" => json = Some(value()?.into()),
                name if SECTIONS.iter().any(|section| section.name == name) => {
                    sections.insert(name.to_owned());
                }
                other => {
                    let names: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
                    return Err(format!("{other}: sections are {}", names.join(", ")));
                }
            }
        }
        Ok((Arguments { sections, json, settings }, extent))
    }
}

impl Settings {
    /// The same for `wrk`.
    fn whole_seconds(&self) -> u64 {
        self.seconds.ceil().max(1.0) as u64
    }

    fn told(&self) -> String {
        format!("{} rounds of each by turns, of {} s.", self.rounds, self.seconds)
    }
}
