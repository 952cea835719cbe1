//! `types`: the types of attributes.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::Command;
use crate::model::DataType;
use crate::model::overrides::Kind;

/// Shows the attributes of users and events with their types, and sets types.
#[derive(FromArgs)]
#[argh(subcommand, name = "types")]
#[argh(
    note = "A type says how values are shown, compared and counted. What was sent is never changed, and a type\ncan be taken back."
)]
pub(super) struct Types {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    List(List),
    Set(Set),
    Unset(Unset),
}

/// Shows all attributes, the types their values were recognised as, and those that are set.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// whose (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Sets an attribute's type, for old values and new ones.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// user, or event:TYPE
    #[argh(positional, from_str_fn(kind))]
    kind: Kind,

    /// the attribute's name; a dot leads into an object
    #[argh(positional)]
    attribute: String,

    /// its type: String, Number, Boolean, Date, List or Object
    #[argh(positional, arg_name = "type", from_str_fn(data_type))]
    to: DataType,

    /// whose (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Takes an attribute's type back: the recognised ones hold again.
#[derive(FromArgs)]
#[argh(subcommand, name = "unset")]
struct Unset {
    /// user, or event:TYPE
    #[argh(positional, from_str_fn(kind))]
    kind: Kind,

    /// the attribute's name; a dot leads into an object
    #[argh(positional)]
    attribute: String,

    /// whose (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|error: crate::model::overrides::UnknownKind| error.to_string())
}

fn data_type(text: &str) -> Result<DataType, String> {
    text.parse().map_err(|error: crate::model::data_type::UnknownDataType| error.to_string())
}

impl Types {
    pub(super) fn run(self) -> Result<(), Exit> {
        let (command, data) = match self.verb {
            Verb::List(List { account, json, data }) => {
                (Command::TypesList { account, json }, data)
            }
            Verb::Set(Set { kind, attribute, to, account, json, data }) => {
                let (kind, to) = (kind.to_string(), Some(to.name().to_owned()));
                (Command::TypesSet { account, kind, attribute, to, json }, data)
            }
            Verb::Unset(Unset { kind, attribute, account, json, data }) => {
                let kind = kind.to_string();
                (Command::TypesSet { account, kind, attribute, to: None, json }, data)
            }
        };
        run_command(&data_dir(data), &command, false)
    }
}
