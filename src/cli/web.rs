//! `web`: who may look at accounts in a browser.

use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, data_dir, run_command};
use crate::commands::Command;
use crate::{config, http};

/// Lets people into the web pages.
#[derive(FromArgs)]
#[argh(subcommand, name = "web")]
pub(super) struct Web {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Link(Link),
}

/// Makes a link that lets somebody in once, within 24 hours, to choose an e-mail address and a password.
#[derive(FromArgs)]
#[argh(subcommand, name = "link")]
#[argh(
    note = "Whoever has a sign-in already is given the account by it too. Making one needs no password:\nit is also the way back in for somebody who has forgotten it."
)]
struct Link {
    /// the account's name (may be left out where there is only one)
    #[argh(option)]
    account: Option<String>,

    /// where the server is reached from outside, if it wasn't told itself: https://HOST or https://HOST/PATH
    #[argh(option)]
    public_url: Option<String>,

    /// one JSON object instead of a line
    #[argh(switch)]
    json: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Web {
    pub(super) fn run(self) -> Result<(), Exit> {
        let Verb::Link(Link { account, public_url, json, data }) = self.verb;
        let env = |name: &str| std::env::var_os(name);
        let public_url = config::public_url(public_url, env)?.map(|url| url.to_string());
        let listening = http::reachable(config::listen(None, env)?).to_string();
        let command = Command::WebLink { account, public_url, listening, json };
        run_command(&data_dir(data), &command, false)
    }
}
