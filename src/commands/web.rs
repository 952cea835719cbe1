//! The web pages: links by which people come to see an account.

use std::io::{self, Write};

use serde::Serialize;

use super::{Context, Failure, accounts};
use crate::model::{PersonChange, TokenHash};
use crate::public_url::PublicUrl;
use crate::store::Draft;
use crate::{auth, clock};

/// Makes a link to an account, named or the only one, on a server that is reached at `url`; its address.
///
/// # Errors
/// If there is no such account, or the link can't be stored.
pub fn link(
    context: &Context<'_>,
    account: Option<&str>,
    url: &PublicUrl,
) -> Result<String, Failure> {
    let account = accounts::named(context, account)?;
    let token = auth::new_token().map_err(accounts::no_randomness)?;
    let (hash, account) = (TokenHash::of(&token), account.id);
    let made = PersonChange::LinkMade { hash, account, by_operator: true };
    context.writer.submit_and_wait(vec![Draft::person(made, clock::now())])?;
    Ok(url.url(&format!("/link/{token}")))
}

/// Makes a link and shows its address. Where the server is reached, it knows best; else what is given holds,
/// and if that is nothing, where it listens, or would.
pub(super) fn show_link(
    context: &Context<'_>,
    account: Option<&str>,
    (public_url, listening): (Option<&str>, &str),
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown {
        link: String,
    }
    let known = context.whereabouts;
    let given = || public_url.and_then(PublicUrl::parse);
    let url = known.public_url.clone().or_else(given).or_else(|| known.listening.clone());
    let url = url.or_else(|| PublicUrl::of_host(listening, false));
    let url = url.ok_or_else(|| Failure::Refused(format!("{listening} is no address")))?;
    let link = link(context, account, &url)?;
    if json {
        serde_json::to_writer(&mut *out, &Shown { link }).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{link}")?;
    }
    Ok(())
}
