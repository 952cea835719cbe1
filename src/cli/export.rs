//! `export`: everything to standard output.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::{self, Command, Exported, Format};
use crate::model::Date;

/// Writes events or users to standard output.
#[derive(FromArgs)]
#[argh(subcommand, name = "export")]
pub(super) struct Export {
    /// events or users
    #[argh(positional, from_str_fn(exported))]
    what: Exported,

    /// whose (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// jsonl (one JSON object a line), csv (for spreadsheets) or parquet (default: jsonl)
    #[argh(option, from_str_fn(format), default = "Format::default()")]
    format: Format,

    /// events from this date on
    #[argh(option, from_str_fn(date))]
    from: Option<Date>,

    /// events before this date
    #[argh(option, from_str_fn(date))]
    to: Option<Date>,

    /// events of this type
    #[argh(option, long = "type")]
    kind: Option<String>,

    /// events of this user, or this user
    #[argh(option)]
    user_id: Option<String>,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

pub(super) fn exported(text: &str) -> Result<Exported, String> {
    Exported::parse(text).ok_or_else(|| format!("it takes {}", Exported::NAMES))
}

fn format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| format!("it takes {}", Format::NAMES))
}

pub(super) fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| {
        "it takes a date: ISO 8601 with an offset, RFC 2822, yyyy-MM-dd or yyyy/MM/dd".to_owned()
    })
}

impl Export {
    pub(super) fn run(self) -> Result<(), Exit> {
        let Export { what, format, account, from, to, kind, user_id, data } = self;
        if what == Exported::Users && (from.is_some() || to.is_some() || kind.is_some()) {
            let why = "--from, --to and --type are for events; users have neither date nor type";
            return Err(Exit::Usage(why.to_owned()));
        }
        let command = Command::Export(commands::Export {
            what,
            format,
            account,
            from: from.map(Date::millis),
            to: to.map(Date::millis),
            kind,
            user_id,
        });
        run_command(&data_dir(data), &command, false)
    }
}
