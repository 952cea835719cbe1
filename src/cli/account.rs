//! `account`: who may write and read.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::{Command, Credential};

/// Makes accounts, shows them, gives them new credentials.
#[derive(FromArgs)]
#[argh(subcommand, name = "account")]
pub(super) struct Account {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Add(Add),
    List(List),
    Show(Show),
    Rotate(Rotate),
    Sites(Sites),
}

/// Makes an account and shows its api_token and, this once, its secret_key.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the account's name
    #[argh(positional)]
    name: String,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Shows all accounts.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// one JSON array instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Shows an account; without a name, the only one there is.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// the account's name
    #[argh(positional)]
    name: Option<String>,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Gives an account a new api_token and secret_key; the old ones are refused from then on.
#[derive(FromArgs)]
#[argh(subcommand, name = "rotate")]
struct Rotate {
    /// the account's name
    #[argh(positional)]
    name: String,

    /// only one of the two: token or secret
    #[argh(option, from_str_fn(credential))]
    only: Option<Credential>,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Shows where an account takes calls of browsers from, or sets it: calls from other sites are refused then.
#[derive(FromArgs)]
#[argh(subcommand, name = "sites")]
struct Sites {
    /// the account's name
    #[argh(positional)]
    name: String,

    /// the hosts, as in www.example.com or *.example.com for all below it; off: from anywhere
    #[argh(positional, arg_name = "host|off")]
    hosts: Vec<String>,

    /// one JSON object instead of lines
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Sites {
    /// What is to be changed, if anything.
    fn change(hosts: Vec<String>) -> Option<Vec<String>> {
        match hosts.as_slice() {
            [] => None,
            [off] if off == "off" => Some(Vec::new()),
            _ => Some(hosts),
        }
    }
}

fn credential(text: &str) -> Result<Credential, String> {
    match text {
        "token" => Ok(Credential::Token),
        "secret" => Ok(Credential::Secret),
        _ => Err("it takes token or secret".to_owned()),
    }
}

impl Account {
    pub(super) fn run(self) -> Result<(), Exit> {
        // Only the first account makes a store where there is none.
        let (command, data, make) = match self.verb {
            Verb::Add(Add { name, json, data }) => (Command::AccountAdd { name, json }, data, true),
            Verb::List(List { json, data }) => (Command::AccountList { json }, data, false),
            Verb::Show(Show { name, json, data }) => {
                (Command::AccountShow { name, json }, data, false)
            }
            Verb::Rotate(Rotate { name, only, json, data }) => {
                (Command::AccountRotate { name, only, json }, data, false)
            }
            Verb::Sites(Sites { name, hosts, json, data }) => {
                let change = Sites::change(hosts);
                (Command::AccountSites { name, change, json }, data, false)
            }
        };
        run_command(&data_dir(data), &command, make)
    }
}
