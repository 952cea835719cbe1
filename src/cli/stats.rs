//! `stats`: how much there is.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::Command;

/// Shows counts, sizes on disk and positions.
#[derive(FromArgs)]
#[argh(subcommand, name = "stats")]
pub(super) struct Stats {
    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Stats {
    pub(super) fn run(self) -> Result<(), Exit> {
        run_command(&data_dir(self.data), &Command::Stats { json: self.json }, false)
    }
}
