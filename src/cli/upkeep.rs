//! `compact`, `verify`, `rebuild`: keeping the store in order when asked.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command, run_rebuild};
use crate::commands::Command;

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
