//! `compact`, `verify`, `rebuild`, `reindex`: keeping the store in order when asked.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use argh::FromArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Exit, data_dir, output_gone, run_command, run_command_into, run_rebuild};
use crate::commands::{Command, Progress};

/// Does now what the compactor does in time: seals, merges, and takes out at rest what was erased.
#[derive(FromArgs)]
#[argh(subcommand, name = "compact")]
pub(super) struct Compact {
    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Reads every byte at rest, checks it, and says what is wrong; exit status 1 if anything is.
#[derive(FromArgs)]
#[argh(subcommand, name = "verify")]
pub(super) struct Verify {
    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Builds users and accounts anew from the log.
#[derive(FromArgs)]
#[argh(subcommand, name = "rebuild")]
pub(super) struct Rebuild {
    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Builds the indexes that questions are answered from anew from the log.
#[derive(FromArgs)]
#[argh(subcommand, name = "reindex")]
pub(super) struct Reindex {
    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Compact {
    pub(super) fn run(self) -> Result<(), Exit> {
        run_command(&data_dir(self.data), &Command::Compact { json: self.json }, false)
    }
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Exit> {
        run_command(&data_dir(self.data), &Command::Verify, false)
    }
}

impl Rebuild {
    pub(super) fn run(self) -> Result<(), Exit> {
        run_rebuild(&data_dir(self.data))
    }
}

impl Reindex {
    pub(super) fn run(self) -> Result<(), Exit> {
        let mut watch = Watch::new();
        let done = run_command_into(&data_dir(self.data), &Command::Reindex, false, &mut watch);
        watch.bar.finish_and_clear();
        done?;
        let Some(Progress { records, bytes: Some(bytes), .. }) = watch.last else {
            return Err(Exit::Failed("it ended without saying how far it came".to_owned()));
        };
        writeln!(io::stdout(), "records={records}\nindex_bytes={bytes}").or_else(output_gone)
    }
}

/// Reads how far it has come, and shows it on standard error if that is a terminal.
struct Watch {
    bar: ProgressBar,
    line: Vec<u8>,
    last: Option<Progress>,
}

impl Watch {
    fn new() -> Watch {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} records")
        {
            bar.set_style(style);
        }
        Watch { bar, line: Vec::new(), last: None }
    }
}

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if !self.line.ends_with(b"\n") {
                continue;
            }
            let progress: Progress = serde_json::from_slice(&self.line)?;
            self.line.clear();
            self.bar.set_length(progress.of);
            self.bar.set_position(progress.records);
            self.last = Some(progress);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
