//! `account`: who may write and read.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::{Command, Credential};

/// The longest that an old token may live on: a year.
const OLD_TOKEN_MILLIS_MAX: i64 = 365 * 24 * 60 * 60_000;

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
    Zone(Zone),
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

/// Gives an account a new api_token and secret_key; the old ones are refused from then on, or the token a
/// while later.
#[derive(FromArgs)]
#[argh(subcommand, name = "rotate")]
struct Rotate {
    /// the account's name
    #[argh(positional)]
    name: String,

    /// only one of the two: token or secret
    #[argh(option, from_str_fn(credential))]
    only: Option<Credential>,

    /// how long calls with the old api_token are still taken, as 30m, 24h or 7d (default: not at all)
    #[argh(option, from_str_fn(grace))]
    old_for: Option<i64>,

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

/// Shows in which time zone the web pages show an account, or sets it.
#[derive(FromArgs)]
#[argh(subcommand, name = "zone")]
struct Zone {
    /// the account's name
    #[argh(positional)]
    name: String,

    /// its IANA name, as Europe/Zurich; off: none
    #[argh(positional, arg_name = "zone|off")]
    zone: Option<String>,

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

/// Milliseconds of a time as 30m, 24h or 7d.
fn grace(text: &str) -> Result<i64, String> {
    const MINUTE: i64 = 60_000;
    let unit = match text.bytes().last() {
        Some(b'm') => MINUTE,
        Some(b'h') => 60 * MINUTE,
        Some(b'd') => 24 * 60 * MINUTE,
        _ => 0,
    };
    // `parse` would take a sign.
    let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let millis = digits.and_then(|digits| digits.parse::<i64>().ok()?.checked_mul(unit));
    millis
        .filter(|millis| (MINUTE..=OLD_TOKEN_MILLIS_MAX).contains(millis))
        .ok_or_else(|| "it takes a time as 30m, 24h or 7d, of a year at the most".to_owned())
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
            Verb::Rotate(Rotate { only: Some(Credential::Secret), old_for: Some(_), .. }) => {
                let why = "--old-for is for the api_token: an old secret_key is refused at once";
                return Err(Exit::Usage(why.to_owned()));
            }
            Verb::Rotate(Rotate { name, only, old_for, json, data }) => {
                (Command::AccountRotate { name, only, old_for, json }, data, false)
            }
            Verb::Zone(Zone { name, zone, json, data }) => {
                let off = |zone: String| if zone == "off" { String::new() } else { zone };
                (Command::AccountZone { name, change: zone.map(off), json }, data, false)
            }
            Verb::Sites(Sites { name, hosts, json, data }) => {
                let change = Sites::change(hosts);
                (Command::AccountSites { name, change, json }, data, false)
            }
        };
        run_command(&data_dir(data), &command, make)
    }
}
