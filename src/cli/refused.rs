//! `refused`: what went wrong with calls.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::Command;

/// Shows the last calls that were refused, newest first, and why.
#[derive(FromArgs)]
#[argh(subcommand, name = "refused")]
#[argh(
    note = "Only calls that named an account's token are kept: 100 of an account, for 7 days.\nThe server's are on disk half a minute later, and when it has stopped."
)]
pub(super) struct Refused {
    /// the account's name (all accounts if left out)
    #[argh(option)]
    account: Option<String>,

    /// one JSON array instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Refused {
    pub(super) fn run(self) -> Result<(), Exit> {
        let Refused { account, json, data } = self;
        run_command(&data_dir(data), &Command::Refused { account, json }, false)
    }
}
