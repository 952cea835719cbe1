//! Refused: the last calls that were refused, shown.

use std::io::{self, Write};

use serde::Serialize;

use super::{Context, Failure, accounts};
use crate::clock;
use crate::model::Account;
use crate::refused::{ACCOUNT_MAX, Refusal};

#[derive(Serialize)]
struct Row<'a> {
    account: &'a str,
    #[serde(flatten)]
    refusal: &'a Refusal,
}

/// Newest first.
pub(super) fn show(
    context: &Context<'_>,
    account: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let accounts = match account {
        Some(_) => vec![accounts::named(context, account)?],
        None => context.store.accounts().list(),
    };
    let now = clock::now();
    let last = |account: &Account| context.refused.last(account.id, ACCOUNT_MAX, now);
    let mut all: Vec<(&str, Refusal)> = Vec::new();
    for account in &accounts {
        all.extend(last(account).into_iter().map(|refusal| (account.name.as_str(), refusal)));
    }
    // Those of one moment stay as they are.
    all.sort_by_key(|(_, refusal)| std::cmp::Reverse(refusal.at));
    if json {
        let rows: Vec<_> = all.iter().map(|(account, refusal)| Row { account, refusal }).collect();
        serde_json::to_writer(&mut *out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    for (number, (account, refusal)) in all.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let Refusal { at, status, code, detail, page, kind, route } = refusal;
        writeln!(out, "account={account}\nat={at}\nstatus={status}\ncode={code}\nkind={kind}")?;
        writeln!(out, "route={route}")?;
        if let Some(page) = page {
            writeln!(out, "page={page}")?;
        }
        writeln!(out, "detail={}", detail.replace(char::is_control, " "))?;
    }
    Ok(())
}
