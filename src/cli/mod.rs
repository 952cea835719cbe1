//! The command line: arguments in, exit status out. The only room that knows argh.

mod account;
mod backup;
mod delete;
mod export;
mod import;
mod log;
mod logging;
mod refused;
mod retention;
mod serve;
mod servers;
mod stats;
mod systemd;
mod types;
mod upkeep;
mod web;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use argh::FromArgs;

use crate::app::{self, BUSY_MAX, Opened};
use crate::commands::{Command, Failure, Input};
use crate::config;
use crate::control::{self, Call, CallError};
use crate::store::{self, Directory, Store};

/// Keeps users and events that sites and apps send by plain GETs, durably, on one machine.
#[derive(FromArgs)]
struct Arguments {
    /// print the version and exit
    #[argh(switch)]
    version: bool,

    #[argh(subcommand)]
    verb: Option<Verb>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, for a moment")]
enum Verb {
    Serve(serve::Serve),
    Account(account::Account),
    Export(export::Export),
    Delete(delete::Delete),
    Retention(retention::Retention),
    Import(import::Import),
    Types(types::Types),
    Web(web::Web),
    Stats(stats::Stats),
    Refused(refused::Refused),
    Compact(upkeep::Compact),
    Verify(upkeep::Verify),
    Rebuild(upkeep::Rebuild),
    Reindex(upkeep::Reindex),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Log(log::Log),
    Systemd(systemd::Systemd),
}

/// What stands for a lone `-`, standard input or output, among the arguments. No argument that comes
/// from outside holds it.
const STREAM: &str = "\0";

/// Why a verb failed, and how the process ends for it.
enum Exit {
    /// Status 1: it failed.
    Failed(String),
    /// Status 2: wrong usage.
    Usage(String),
}

impl From<app::Error> for Exit {
    fn from(error: app::Error) -> Exit {
        Exit::Failed(error.to_string())
    }
}

impl From<store::Error> for Exit {
    fn from(error: store::Error) -> Exit {
        Exit::Failed(error.to_string())
    }
}

impl From<config::Error> for Exit {
    fn from(error: config::Error) -> Exit {
        Exit::Usage(error.to_string())
    }
}

/// Runs the command that the arguments (the program's name first) ask for.
#[must_use]
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Result<Vec<String>, _> = arguments.skip(1).map(OsString::into_string).collect();
    let Ok(arguments) = arguments else {
        return usage("the arguments have to be UTF-8; name directories that aren't by a link");
    };
    // argh takes a dash for an option, wherever it stands.
    let dashless = |argument| if argument == "-" { STREAM } else { argument };
    let arguments: Vec<&str> = arguments.iter().map(|text| dashless(text.as_str())).collect();
    let parsed = match Arguments::from_args(&["triggerly"], &arguments) {
        Ok(parsed) => parsed,
        Err(early) if early.status.is_ok() => {
            print(early.output.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(early) => return usage(&early.output),
    };
    // Whatever is made from here on holds personal data, and is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let ended = match parsed.verb {
        _ if parsed.version => {
            print(concat!("triggerly ", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        None => return usage("name a verb; `triggerly --help` lists them"),
        Some(Verb::Serve(verb)) => verb.run(),
        Some(Verb::Account(verb)) => verb.run(),
        Some(Verb::Export(verb)) => verb.run(),
        Some(Verb::Import(verb)) => verb.run(),
        Some(Verb::Delete(verb)) => verb.run(),
        Some(Verb::Retention(verb)) => verb.run(),
        Some(Verb::Types(verb)) => verb.run(),
        Some(Verb::Web(verb)) => verb.run(),
        Some(Verb::Stats(verb)) => verb.run(),
        Some(Verb::Refused(verb)) => verb.run(),
        Some(Verb::Compact(verb)) => verb.run(),
        Some(Verb::Verify(verb)) => verb.run(),
        Some(Verb::Rebuild(verb)) => verb.run(),
        Some(Verb::Reindex(verb)) => verb.run(),
        Some(Verb::Backup(verb)) => verb.run(),
        Some(Verb::Restore(verb)) => verb.run(),
        Some(Verb::Log(verb)) => verb.run(),
        Some(Verb::Systemd(verb)) => verb.run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit::Failed(why)) => {
            complain(&why);
            ExitCode::FAILURE
        }
        Err(Exit::Usage(why)) => usage(&why),
    }
}

/// One line on standard error: what, and what to do.
fn usage(why: &str) -> ExitCode {
    let why = why.replace(STREAM, "-");
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let why = why.trim_end_matches("Run triggerly --help for more information.").trim_end();
    complain(&format!("{why}; `triggerly --help` tells more"));
    ExitCode::from(2)
}

fn complain(why: &str) {
    // With standard error gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "triggerly: {}", why.replace('\n', " "));
}

fn print(text: &str) {
    // Whoever reads the output may have heard enough.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Does a command on the store in `dir`: opens it, or asks the server that holds it. With `make` a
/// directory without a store gets one.
fn run_command(dir: &Path, command: &Command, make: bool) -> Result<(), Exit> {
    run_command_into(dir, command, make, &mut io::stdout().lock())
}

/// The same, with its output wherever it is wanted.
fn run_command_into(
    dir: &Path,
    command: &Command,
    make: bool,
    out: &mut dyn Write,
) -> Result<(), Exit> {
    let note = match reach(dir, command, make)? {
        Reached::Store(opened) => {
            let done = command.run(&opened.context(), Input::none(), out);
            opened.close();
            match done {
                Ok(note) => note,
                Err(Failure::Output(error)) => return output_gone(error),
                Err(failure) => return Err(Exit::Failed(failure.to_string())),
            }
        }
        Reached::Server(call) => match call.hear(out) {
            Ok(note) => note,
            Err(CallError::Output(error)) => return output_gone(error),
            Err(error) => return Err(call_failed(dir, error)),
        },
    };
    out.flush().or_else(output_gone)?;
    if let Some(note) = note {
        complain(&note);
    }
    Ok(())
}

/// Whoever can do a command.
enum Reached {
    /// Nobody else has the store.
    Store(Opened),
    /// A server has it, and was asked.
    Server(Call),
}

/// Opens the store in `dir`, or asks the server that holds it.
fn reach(dir: &Path, command: &Command, make: bool) -> Result<Reached, Exit> {
    let began = Instant::now();
    let reserve_bytes = config::reserve_bytes(None, |name| std::env::var_os(name))?;
    loop {
        let locked = if make { Directory::lock(dir) } else { Directory::lock_existing(dir) };
        match locked {
            Ok(directory) => {
                let opened = Opened::open(directory)?;
                opened.store.space().keep_free(reserve_bytes);
                opened.store.on_fatal(end_late);
                return Ok(Reached::Store(opened));
            }
            Err(store::Error::Locked(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match control::call(dir, command) {
            Ok(call) => return Ok(Reached::Server(call)),
            Err(CallError::Absent) if began.elapsed() > BUSY_MAX => {
                return Err(store::Error::Locked(dir.to_owned()).into());
            }
            Err(CallError::Absent) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(call_failed(dir, error)),
        }
    }
}

/// Rebuilds the keyed state of the store in `dir`. Where no server runs it isn't read first: it may be
/// what is damaged.
fn run_rebuild(dir: &Path) -> Result<(), Exit> {
    match Directory::lock_existing(dir) {
        Ok(directory) => {
            let store = Store::rebuild_in(directory)?;
            writeln!(io::stdout(), "applied={}", store.last_seq()).or_else(output_gone)
        }
        Err(store::Error::Locked(_)) => run_command(dir, &Command::Rebuild, false),
        Err(error) => Err(error.into()),
    }
}

/// How long a verb whose store has failed may take to find that out by itself.
const LATE: Duration = Duration::from_secs(5);

/// Ends the process when a verb hangs in a store that has failed.
fn end_late(why: &str) {
    let why = why.to_owned();
    // Without a thread there is only the hanging, which a signal ends as well.
    let _ = thread::Builder::new().spawn(move || {
        thread::sleep(LATE);
        complain(&why);
        std::process::exit(1);
    });
}

fn call_failed(dir: &Path, error: CallError) -> Exit {
    let why = match error {
        CallError::Failed(why) => return Exit::Failed(why),
        CallError::Absent => return store::Error::Locked(dir.to_owned()).into(),
        CallError::Broken(error) | CallError::Output(error) => error,
    };
    Exit::Failed(format!(
        "the connection to the server that holds {} broke: {why}; is it running well?",
        dir.display()
    ))
}

/// A reader that has heard enough (`| head`) is no failure.
fn output_gone(error: io::Error) -> Result<(), Exit> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Exit::Failed(format!("can't write the output: {error}"))),
    }
}

/// The data directory that a verb works on.
fn data_dir(given: Option<PathBuf>) -> PathBuf {
    config::data_dir(given, |name| std::env::var_os(name))
}
