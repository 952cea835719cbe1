//! `export`: everything to standard output.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::{self, Command, Exported, Format};
use crate::model::Date;
use crate::schema::{Clause, UnknownZone, Zone};

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
    #[argh(option)]
    from: Option<String>,

    /// events before this date
    #[argh(option)]
    to: Option<String>,

    /// events of this type
    #[argh(option, long = "type")]
    kind: Option<String>,

    /// events of this user, or this user
    #[argh(option)]
    user_id: Option<String>,

    /// what holds of an attribute, as in 'price>=10' or 'plan=pro' (may be given several times: all of it
    /// holds)
    #[argh(option, long = "where")]
    clauses: Vec<String>,

    /// the time zone that dates are shown in, and that dates without an offset are of, as Europe/Berlin
    /// (default: UTC; in Parquet dates are instants)
    #[argh(option)]
    tz: Option<String>,

    /// leave out the events of bots and prefetches
    #[argh(switch)]
    no_bots: bool,

    /// attributes as they were sent, whatever types are set for them
    #[argh(switch)]
    raw: bool,

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
        let Export { what, format, account, kind, user_id, clauses, raw, data, .. } = self;
        let (tz, without_bots) = (self.tz, self.no_bots);
        let is_of_events = self.from.is_some() || self.to.is_some() || kind.is_some();
        if what == Exported::Users && (is_of_events || without_bots) {
            let why = "--from, --to, --type and --no-bots are for events; users have neither date nor type";
            return Err(Exit::Usage(why.to_owned()));
        }
        let zone = match &tz {
            None => Zone::UTC,
            Some(name) => {
                name.parse().map_err(|error: UnknownZone| Exit::Usage(format!("--tz: {error}")))?
            }
        };
        for text in &clauses {
            Clause::parse(text, &zone).map_err(|error| Exit::Usage(format!("--where: {error}")))?;
        }
        let millis = |option: &str, text: Option<String>| {
            let date = text.map(|text| zone.parse(&text).ok_or_else(|| no_date(option)));
            Ok::<_, Exit>(date.transpose()?.map(Date::millis))
        };
        let (from, to) = (millis("--from", self.from)?, millis("--to", self.to)?);
        let command = Command::Export(commands::Export {
            what,
            format,
            account,
            from,
            to,
            kind,
            user_id,
            clauses,
            tz,
            without_bots,
            raw,
        });
        run_command(&data_dir(data), &command, false)
    }
}

fn no_date(option: &str) -> Exit {
    Exit::Usage(format!(
        "{option} takes a date: yyyy-MM-dd, yyyy/MM/dd, ISO 8601 (without an offset it is of the zone \
         --tz) or RFC 2822"
    ))
}
