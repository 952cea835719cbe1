//! What the verbs do: one piece of code, whether the store is opened for it or a server holds it.

mod accounts;
mod delete;
mod export;
mod import;
mod refused;
mod retention;
mod stats;
mod types;
mod upkeep;
mod web;

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::export::{Exported, Format};
use crate::keeper;
use crate::public_url::Whereabouts;
use crate::query;
use crate::refused::Refused as RefusedCalls;
use crate::store::{self, BackupError, Refusal, Store, Writer};

/// A command, as it travels to the server that holds the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an account.
    AccountAdd {
        /// Its name.
        name: String,
        /// As JSON.
        json: bool,
    },
    /// Shows all accounts.
    AccountList {
        /// As JSON.
        json: bool,
    },
    /// Shows one account.
    AccountShow {
        /// Its name; may be left out where there is only one.
        name: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Replaces an account's credentials.
    AccountRotate {
        /// Its name.
        name: String,
        /// Only one of them.
        only: Option<Credential>,
        /// For how many milliseconds the token before is still taken; not at all if there is none.
        old_for: Option<i64>,
        /// As JSON.
        json: bool,
    },
    /// Shows where an account's calls of browsers may come from, and sets it before.
    AccountSites {
        /// Its name.
        name: String,
        /// Only from these hosts from now on; from anywhere if there is none. Left out, it stays.
        change: Option<Vec<String>>,
        /// As JSON.
        json: bool,
    },
    /// Shows in which time zone an account is looked at, and sets it before.
    AccountZone {
        /// Its name.
        name: String,
        /// In this one from now on; none is chosen if it is empty. Left out, it stays.
        change: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Makes a link by which somebody comes to see an account, once.
    WebLink {
        /// Which; may be left out where there is only one account.
        account: Option<String>,
        /// Where the server is reached from outside, if it doesn't know itself.
        public_url: Option<String>,
        /// Where it would be reached otherwise.
        listening: String,
        /// As JSON.
        json: bool,
    },
    /// Writes events or users.
    Export(Export),
    /// Takes events or users in, from lines that the caller sends.
    Import(Import),
    /// Erases a user or events; its output is a [`Counted`] as JSON.
    Delete(Delete),
    /// Shows how long accounts keep their events.
    RetentionShow {
        /// Which account; all of them if none is named.
        name: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Sets how long an account keeps its events.
    RetentionSet {
        /// Which account.
        name: String,
        /// Days; for ever if there is none.
        days: Option<u32>,
        /// Only say how much would go now.
        dry_run: bool,
        /// As JSON.
        json: bool,
    },
    /// Shows the attributes of an account's users and events, and their types.
    TypesList {
        /// Whose; may be left out where there is only one account.
        account: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Sets the type of an attribute, or takes it back.
    TypesSet {
        /// Whose; may be left out where there is only one account.
        account: Option<String>,
        /// `user`, or `event:` and a type.
        kind: String,
        /// The attribute's name.
        attribute: String,
        /// The type's name; taken back if there is none.
        to: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Shows the last calls that were refused.
    Refused {
        /// Whose; those of all accounts if none is named.
        account: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Shows counts, sizes and positions.
    Stats {
        /// As JSON.
        json: bool,
    },
    /// Does now what the compactor does in time.
    Compact {
        /// As JSON.
        json: bool,
    },
    /// Reads every byte at rest, and says what is wrong.
    Verify,
    /// Builds the keyed state anew from the log.
    Rebuild,
    /// Builds the indexes anew from the log; its output is a [`Progress`] as JSON on each line.
    Reindex,
    /// Writes everything as it is now.
    Backup,
}

/// One of an account's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// The public one.
    Token,
    /// The secret one.
    Secret,
}

/// What an export writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Events or users.
    pub what: Exported,
    /// How it is written.
    pub format: Format,
    /// Whose; may be left out where there is only one account.
    pub account: Option<String>,
    /// Events from this date on, in milliseconds since the epoch.
    pub from: Option<i64>,
    /// Events before this date, likewise.
    pub to: Option<i64>,
    /// Events of this type.
    pub kind: Option<String>,
    /// Events of this user, or this user.
    pub user_id: Option<String>,
    /// All of these hold of the attributes, as [`Clause::parse`](crate::schema::Clause::parse) reads them.
    pub clauses: Vec<String>,
    /// The zone that dates are shown in, and that dates in clauses are of; UTC if there is none.
    pub tz: Option<String>,
    /// Not the events of bots and prefetches.
    pub without_bots: bool,
    /// Attributes as they were sent, whatever types are set for them.
    pub raw: bool,
}

/// What is to be erased, or only counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Whose; may be left out where there is only one account.
    pub account: Option<String>,
    /// What.
    pub what: Deleted,
    /// Only say how much it is.
    pub dry_run: bool,
}

/// What can be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deleted {
    /// The user with this id, and all events of that user.
    User(String),
    /// The events that match all that is given, which is something.
    Events {
        /// From this date on, in milliseconds since the epoch.
        from: Option<i64>,
        /// Before this date, likewise.
        to: Option<i64>,
        /// Of this type.
        kind: Option<String>,
        /// Of this user.
        user_id: Option<String>,
    },
}

/// What an import takes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Events or users.
    pub what: Exported,
    /// Whose they are to be; may be left out where there is only one account.
    pub account: Option<String>,
}

/// Why a command did not do what it was asked.
#[derive(Debug, Error)]
pub enum Failure {
    /// The request can't be met.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was to be written could not be.
    #[error("can't write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<keeper::Error> for Failure {
    fn from(error: keeper::Error) -> Failure {
        match error {
            keeper::Error::Store(error) => error.into(),
            keeper::Error::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<query::Failure> for Failure {
    fn from(failure: query::Failure) -> Failure {
        match failure {
            query::Failure::Store(error) => error.into(),
            other => Failure::Refused(other.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal.to_string())
    }
}

/// What commands work on.
pub struct Context<'a> {
    /// To read.
    pub store: &'a Store,
    /// To change.
    pub writer: &'a Writer,
    /// The imports that are under way.
    pub imports: &'a Imports,
    /// The last refused calls.
    pub refused: &'a RefusedCalls,
    /// Where the server that serves is reached; of no server, nothing is known.
    pub whereabouts: &'a Whereabouts,
}

/// What the caller of a command sends along.
pub struct Input<'a> {
    /// The bytes, as they come.
    pub bytes: Box<dyn BufRead + Send + 'a>,
    /// Says that no more is wanted: from then on there is nothing to be read.
    pub hang_up: Box<dyn Fn() + 'a>,
}

impl Input<'_> {
    /// Nothing.
    #[must_use]
    pub fn none() -> Input<'static> {
        Input { bytes: Box::new(io::empty()), hang_up: Box::new(|| {}) }
    }
}

/// What there is to be told beside the output, on standard error, on one line; mostly nothing.
pub type Note = Option<String>;

impl Command {
    /// Does it; machine output goes to `out`.
    ///
    /// # Errors
    /// [`Failure`], to be shown on one line.
    pub fn run(
        &self,
        context: &Context<'_>,
        input: Input<'_>,
        out: &mut dyn Write,
    ) -> Result<Note, Failure> {
        let done = match self {
            Command::AccountAdd { name, json } => accounts::add(context, name)?.write(*json, out),
            Command::AccountList { json } => accounts::list(context, *json, out),
            Command::AccountShow { name, json } => {
                accounts::show(context, name.as_deref())?.write(*json, out)
            }
            Command::AccountRotate { name, only, old_for, json } => {
                accounts::rotate(context, name, *only, *old_for)?.write(*json, out)
            }
            Command::AccountSites { name, change, json } => {
                accounts::sites(context, name, change.as_deref(), *json, out)
            }
            Command::AccountZone { name, change, json } => {
                accounts::zone(context, name, change.as_deref(), *json, out)
            }
            Command::WebLink { account, public_url, listening, json } => {
                let given = (public_url.as_deref(), listening.as_str());
                web::show_link(context, account.as_deref(), given, *json, out)
            }
            Command::Export(export) => return export.write(context, out),
            Command::Import(import) => import.take_in(context, input, out),
            Command::Delete(delete) => delete.run(context)?.write(true, out),
            Command::RetentionShow { name, json } => {
                retention::show(context, name.as_deref(), *json, out)
            }
            Command::RetentionSet { name, days, dry_run, json } => {
                let run = if *dry_run { retention::try_out } else { retention::set };
                run(context, name, *days, *json, out)
            }
            Command::TypesList { account, json } => {
                types::list(context, account.as_deref(), *json, out)
            }
            Command::TypesSet { account, kind, attribute, to, json } => {
                let account = account.as_deref();
                types::set(context, account, (kind, attribute), to.as_deref(), *json, out)
            }
            Command::Refused { account, json } => {
                refused::show(context, account.as_deref(), *json, out)
            }
            Command::Stats { json } => stats::write(context, *json, out),
            Command::Compact { json } => upkeep::compact(context, *json, out),
            Command::Verify => upkeep::verify(context, out),
            Command::Rebuild => upkeep::rebuild(context, out),
            Command::Reindex => upkeep::reindex(context, out),
            Command::Backup => match context.store.backup(out) {
                Ok(_) => Ok(()),
                Err(BackupError::Store(error)) => Err(error.into()),
                Err(BackupError::Output(error)) => Err(error.into()),
            },
        };
        done.map(|()| None)
    }
}

pub use accounts::{Shown, add};
pub use delete::Counted;
pub use import::{Answer, Chunk, ChunkBounds, Greeting, Imports, Known, Refused, chunk_bounds};
pub use upkeep::Progress;
pub use web::link;
