//! The command line: arguments in, exit status out. The only room that knows argh.

mod account;
mod export;
mod import;
mod logging;
mod serve;
mod stats;

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
use crate::store::{self, Directory};

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
enum Verb {
    Serve(serve::Serve),
    Account(account::Account),
    Export(export::Export),
    Import(import::Import),
    Stats(stats::Stats),
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
        None => return usage("name a verb: serve, account, export, import or stats"),
        Some(Verb::Serve(verb)) => verb.run(),
        Some(Verb::Account(verb)) => verb.run(),
        Some(Verb::Export(verb)) => verb.run(),
        Some(Verb::Import(verb)) => verb.run(),
        Some(Verb::Stats(verb)) => verb.run(),
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
    let mut out = io::stdout().lock();
    match reach(dir, command, make)? {
        Reached::Store(opened) => {
            let done = command.run(&opened.context(), Input::none(), &mut out);
            opened.close();
            match done {
                Err(Failure::Output(error)) => output_gone(error),
                other => other.map_err(|failure| Exit::Failed(failure.to_string())),
            }
        }
        Reached::Server(call) => match call.hear(&mut out) {
            Ok(()) => out.flush().or_else(output_gone),
            Err(CallError::Output(error)) => output_gone(error),
            Err(error) => Err(call_failed(dir, error)),
        },
    }
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
    loop {
        let locked = if make { Directory::lock(dir) } else { Directory::lock_existing(dir) };
        match locked {
            Ok(directory) => return Ok(Reached::Store(Opened::open(directory)?)),
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
