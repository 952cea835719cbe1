//! What the verbs do: one piece of code, whether the store is opened for it or a server holds it.

mod accounts;
mod export;
mod import;
mod stats;

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::{self, Refusal, Store, Writer};

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
        /// As JSON.
        json: bool,
    },
    /// Writes events or users as JSON lines.
    Export(Export),
    /// Takes events or users in, from lines that the caller sends.
    Import(Import),
    /// Shows counts, sizes and positions.
    Stats {
        /// As JSON.
        json: bool,
    },
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
}

/// What an import takes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Events or users.
    pub what: Exported,
    /// Whose they are to be; may be left out where there is only one account.
    pub account: Option<String>,
}

/// What can be exported, and imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exported {
    /// Every event, oldest first.
    Events,
    /// Every user, by id.
    Users,
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
    ) -> Result<(), Failure> {
        match self {
            Command::AccountAdd { name, json } => accounts::add(context, name)?.write(*json, out),
            Command::AccountList { json } => accounts::list(context, *json, out),
            Command::AccountShow { name, json } => {
                accounts::show(context, name.as_deref())?.write(*json, out)
            }
            Command::AccountRotate { name, only, json } => {
                accounts::rotate(context, name, *only)?.write(*json, out)
            }
            Command::Export(export) => export.write(context, out),
            Command::Import(import) => import.take_in(context, input, out),
            Command::Stats { json } => stats::write(context, *json, out),
        }
    }
}

pub use accounts::{Shown, add};
pub use import::{Answer, Chunk, ChunkBounds, Greeting, Imports, Known, Refused, chunk_bounds};
