//! `delete`: shows how much it is, asks, and erases.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use argh::FromArgs;

use super::export::date;
use super::{Exit, complain, data_dir, output_gone, run_command_into};
use crate::commands::{self, Command, Counted, Deleted, Failure};
use crate::model::{Date, Id};

/// Erases a user with all events of that user, or events. This can't be undone.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
pub(super) struct Delete {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    User(User),
    Events(Events),
}

/// Erases a user and all events of that user, after asking on the terminal.
#[derive(FromArgs)]
#[argh(subcommand, name = "user")]
#[argh(note = "An id that begins with a dash is given behind `--`, as the last argument.")]
struct User {
    /// the user's id
    #[argh(positional)]
    id: String,

    /// whose (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// only say how much would be erased
    #[argh(switch)]
    dry_run: bool,

    /// don't ask
    #[argh(switch)]
    yes: bool,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Erases the events that match all that is given, after asking on the terminal.
#[derive(FromArgs)]
#[argh(subcommand, name = "events")]
struct Events {
    /// whose (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// events from this date on
    #[argh(option, from_str_fn(date))]
    from: Option<Date>,

    /// events before this date
    #[argh(option, from_str_fn(date))]
    to: Option<Date>,

    /// events of this type
    #[argh(option, long = "type")]
    kind: Option<String>,

    /// events of this user, who stays
    #[argh(option)]
    user_id: Option<String>,

    /// only say how much would be erased
    #[argh(switch)]
    dry_run: bool,

    /// don't ask
    #[argh(switch)]
    yes: bool,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// What both have in common.
struct Asked {
    what: Deleted,
    account: Option<String>,
    dry_run: bool,
    yes: bool,
    json: bool,
    data: PathBuf,
}

impl Delete {
    pub(super) fn run(self) -> Result<(), Exit> {
        match self.verb {
            Verb::User(User { id, account, dry_run, yes, json, data }) => {
                Id::new(&id).map_err(|error| Exit::Usage(error.to_string()))?;
                let what = Deleted::User(id);
                Asked { what, account, dry_run, yes, json, data: data_dir(data) }.run()
            }
            Verb::Events(Events {
                account,
                from,
                to,
                kind,
                user_id,
                dry_run,
                yes,
                json,
                data,
                ..
            }) => {
                // A variable of a script that happens to be empty would mean more than was meant.
                for (option, value) in [("--type", &kind), ("--user-id", &user_id)] {
                    if value.as_ref().is_some_and(String::is_empty) {
                        return Err(Exit::Usage(format!("{option} is empty; no event has such")));
                    }
                }
                if from.is_none() && to.is_none() && kind.is_none() && user_id.is_none() {
                    let why = "say which events: --type, --user-id, --from or --to";
                    return Err(Exit::Usage(why.to_owned()));
                }
                let (from, to) = (from.map(Date::millis), to.map(Date::millis));
                let what = Deleted::Events { from, to, kind, user_id };
                Asked { what, account, dry_run, yes, json, data: data_dir(data) }.run()
            }
        }
    }
}

impl Asked {
    fn run(&self) -> Result<(), Exit> {
        if !self.dry_run && !self.yes {
            if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
                let why = "there is no terminal to ask on; say --yes to erase without being asked, \
                           or --dry-run to see how much it is";
                return Err(Exit::Usage(why.to_owned()));
            }
            let counted = self.done(true)?;
            if !counted.is_nothing() && !agreed(&self.question(counted)) {
                return Err(Exit::Failed(
                    "nothing was erased, since you didn't say yes".to_owned(),
                ));
            }
        }
        let counted = self.done(self.dry_run)?;
        if counted.is_nothing() {
            complain("there is no such thing, so nothing was erased");
        } else if !self.dry_run {
            complain(
                "it is gone from every answer now, and from the disk within an hour, or at once with \
                 `triggerly compact`; backups that were made before keep it",
            );
        }
        match counted.write(self.json, &mut io::stdout().lock()) {
            Err(Failure::Output(error)) => output_gone(error),
            other => other.map_err(|failure| Exit::Failed(failure.to_string())),
        }
    }

    /// Has it counted, or erased.
    fn done(&self, dry_run: bool) -> Result<Counted, Exit> {
        let (account, what) = (self.account.clone(), self.what.clone());
        let command = Command::Delete(commands::Delete { account, what, dry_run });
        let mut out = Vec::new();
        run_command_into(&self.data, &command, false, &mut out)?;
        serde_json::from_slice(&out).map_err(|_| {
            Exit::Failed(
                "the server's answer makes no sense; are both the same version?".to_owned(),
            )
        })
    }

    fn question(&self, counted: Counted) -> String {
        let events = match counted.events {
            1 => "1 event".to_owned(),
            events => format!("{events} events"),
        };
        // Quoted, so that no id can play with the terminal.
        let what = match &self.what {
            Deleted::User(id) if counted.users == Some(0) => format!("{events} of user {id:?}"),
            Deleted::User(id) => format!("user {id:?} and {events}"),
            Deleted::Events { .. } => events,
        };
        let damaged = match counted.missing {
            0 => String::new(),
            missing => {
                format!(" ({missing} records are damaged and could not be looked at; see `verify`)")
            }
        };
        format!("Erase {what}{damaged}? This can't be undone. [y/N] ")
    }
}

/// Asks on the terminal. Whatever isn't yes is no.
fn agreed(question: &str) -> bool {
    let mut answer = String::new();
    let asked = io::stderr().write_all(question.as_bytes());
    let heard = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    heard.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}
