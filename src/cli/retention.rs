//! `retention`: how long events are kept.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, complain, data_dir, run_command};
use crate::commands::Command;
use crate::retention::DAYS_MAX;

/// Shows or sets how long an account's events are kept: for ever, unless set.
#[derive(FromArgs)]
#[argh(subcommand, name = "retention")]
#[argh(
    note = "An event's age counts from its date, or from its arrival where its date lies behind that.\nUsers stay, with all that was merged into them."
)]
pub(super) struct Retention {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Show(Show),
    Set(Set),
}

/// Shows for how many days events are kept, or off where it is for ever.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// the account's name (all accounts if left out)
    #[argh(positional)]
    name: Option<String>,

    /// JSON instead of lines; null where it is for ever
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Sets for how many days events are kept. Older ones are erased, which can't be undone.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// the account's name
    #[argh(positional)]
    name: String,

    /// days from 1 to 36500, or off: for ever
    #[argh(positional, from_str_fn(days))]
    days: Days,

    /// set nothing; say how many events would go now, and how many bytes these are as an export in
    /// JSON lines
    #[argh(switch)]
    dry_run: bool,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// How many, or for ever.
struct Days(Option<u32>);

fn days(text: &str) -> Result<Days, String> {
    let days = || {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|days| digits && (1..=DAYS_MAX).contains(days))
    };
    match text {
        "off" => Ok(Days(None)),
        _ => days()
            .map(|days| Days(Some(days)))
            .ok_or_else(|| format!("it takes a number of days from 1 to {DAYS_MAX}, or off")),
    }
}

impl Retention {
    pub(super) fn run(self) -> Result<(), Exit> {
        match self.verb {
            Verb::Show(Show { name, json, data }) => {
                run_command(&data_dir(data), &Command::RetentionShow { name, json }, false)
            }
            Verb::Set(Set { name, days: Days(days), dry_run, json, data }) => {
                let command = Command::RetentionSet { name, days, dry_run, json };
                run_command(&data_dir(data), &command, false)?;
                if days.is_some() && !dry_run {
                    complain(
                        "older events go within an hour, or at once with `triggerly compact`; \
                         backups that were made before keep them",
                    );
                }
                Ok(())
            }
        }
    }
}
