//! Accounts: made, shown, given new credentials.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use super::{Context, Credential, Failure};
use crate::model::{Account, AccountName, Date, Sites};
use crate::schema::Zone;
use crate::store::Draft;
use crate::{auth, clock};

/// An account as a person sees it. The secret is there only when it was just made.
#[derive(Serialize)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Its public credential.
    pub api_token: String,
    /// Its secret one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    /// The public one before, where it is still taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_token: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_token_until: Option<String>,
    /// Days for which its events are kept, where that isn't for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// Where calls of browsers may come from, where that isn't anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<String>>,
    /// The time zone in which it is looked at, where one was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Shown {
    fn of(account: &Account, secret_key: Option<String>) -> Shown {
        let old_token = account.old_token.filter(|(_, until)| clock::now() < *until);
        Shown {
            name: account.name.to_string(),
            api_token: account.api_token.to_string(),
            secret_key,
            old_token: old_token.map(|(token, _)| token.to_string()),
            old_token_until: old_token.map(|(_, until)| until.to_string()),
            retention_days: account.retention_days,
            sites: account.sites.as_ref().map(hosts),
            zone: account.zone.as_deref().map(str::to_owned),
        }
    }

    /// Writes it as `key=value` lines, or as one JSON object.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn write(&self, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
        if json {
            serde_json::to_writer(&mut *out, self).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "name={}", self.name)?;
            writeln!(out, "api_token={}", self.api_token)?;
            if let Some(secret_key) = &self.secret_key {
                writeln!(out, "secret_key={secret_key}")?;
            }
            if let (Some(token), Some(until)) = (&self.old_token, &self.old_token_until) {
                writeln!(out, "old_token={token}\nold_token_until={until}")?;
            }
            if let Some(days) = self.retention_days {
                writeln!(out, "retention_days={days}")?;
            }
            if let Some(sites) = &self.sites {
                writeln!(out, "sites={}", sites.join(" "))?;
            }
            if let Some(zone) = &self.zone {
                writeln!(out, "zone={zone}")?;
            }
        }
        Ok(())
    }
}

fn hosts(sites: &Sites) -> Vec<String> {
    sites.iter().map(str::to_owned).collect()
}

/// Makes an account with new credentials.
///
/// # Errors
/// If the name is no name or taken, or the account can't be stored.
pub fn add(context: &Context<'_>, name: &str) -> Result<Shown, Failure> {
    let name = AccountName::new(name).map_err(|error| Failure::Refused(error.to_string()))?;
    let api_token = auth::new_api_token().map_err(no_randomness)?;
    let (secret_key, secret_hash) = auth::new_secret_key().map_err(no_randomness)?;
    let draft = Draft::account(name.clone(), api_token, secret_hash, clock::now());
    context.writer.submit_and_wait(vec![draft])?;
    Ok(Shown {
        name: name.to_string(),
        api_token: api_token.to_string(),
        secret_key: Some(secret_key),
        old_token: None,
        old_token_until: None,
        retention_days: None,
        sites: None,
        zone: None,
    })
}

pub(super) fn list(context: &Context<'_>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let accounts = context.store.accounts().list();
    let shown: Vec<_> = accounts.iter().map(|account| Shown::of(account, None)).collect();
    if json {
        serde_json::to_writer(&mut *out, &shown).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    for (number, account) in shown.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        account.write(false, out)?;
    }
    Ok(())
}

pub(super) fn show(context: &Context<'_>, name: Option<&str>) -> Result<Shown, Failure> {
    Ok(Shown::of(&*named(context, name)?, None))
}

pub(super) fn rotate(
    context: &Context<'_>,
    name: &str,
    only: Option<Credential>,
    old_for: Option<i64>,
) -> Result<Shown, Failure> {
    let account = named(context, Some(name))?;
    let api_token = match only {
        Some(Credential::Secret) => None,
        _ => Some(auth::new_api_token().map_err(no_randomness)?),
    };
    let secret = match only {
        Some(Credential::Token) => None,
        _ => Some(auth::new_secret_key().map_err(no_randomness)?),
    };
    let (secret_key, secret_hash) = secret.unzip();
    let now = clock::now();
    let until = old_for.map(|millis| Date::from_millis(now.millis().saturating_add(millis)));
    let draft = Draft::rotation(account.id, api_token, secret_hash, until, now);
    context.writer.submit_and_wait(vec![draft])?;
    let rotated = account.rotated(api_token, secret_hash, until);
    Ok(Shown { retention_days: None, sites: None, zone: None, ..Shown::of(&rotated, secret_key) })
}

/// Where an account's calls of browsers may come from, set before if `change` says to what, and shown.
pub(super) fn sites(
    context: &Context<'_>,
    name: &str,
    change: Option<&[String]>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        /// None: anywhere.
        sites: Option<Vec<String>>,
    }
    let account = named(context, Some(name))?;
    let mut sites = account.sites.clone();
    if let Some(hosts) = change {
        sites = match hosts {
            [] => None,
            hosts => Some(
                Sites::new(hosts.iter().map(String::as_str))
                    .map_err(|error| Failure::Refused(error.to_string()))?,
            ),
        };
        if sites != account.sites {
            let draft = Draft::sites(account.id, sites.clone(), clock::now());
            context.writer.submit_and_wait(vec![draft])?;
        }
    }
    if json {
        let shown = Shown { name: account.name.as_str(), sites: sites.as_ref().map(hosts) };
        serde_json::to_writer(&mut *out, &shown).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let sites = sites.map_or("off".to_owned(), |sites| sites.to_string());
        writeln!(out, "name={}\nsites={sites}", account.name)?;
    }
    Ok(())
}

/// In which time zone an account is looked at, set before if `change` says to what, and shown.
pub(super) fn zone(
    context: &Context<'_>,
    name: &str,
    change: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        /// None: none was chosen.
        zone: Option<&'a str>,
    }
    let account = named(context, Some(name))?;
    let change = change.map(|zone| match zone {
        "" => Ok(None),
        zone => zone.parse::<Zone>().map(|zone| Some(zone.to_string())),
    });
    let change = change.transpose().map_err(|error| Failure::Refused(error.to_string()))?;
    let zone = match &change {
        None => account.zone.as_deref(),
        Some(zone) => {
            let draft = Draft::zone(account.id, zone.as_deref(), clock::now());
            context.writer.submit_and_wait(vec![draft])?;
            zone.as_deref()
        }
    };
    if json {
        let shown = Shown { name: account.name.as_str(), zone };
        serde_json::to_writer(&mut *out, &shown).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(out, "name={}\nzone={}", account.name, zone.unwrap_or("off"))?;
    }
    Ok(())
}

/// The account of this name, or the only one there is.
pub(super) fn named(context: &Context<'_>, name: Option<&str>) -> Result<Arc<Account>, Failure> {
    let accounts = context.store.accounts();
    if let Some(name) = name {
        return accounts.by_name(name).cloned().ok_or_else(|| {
            let known: Vec<_> =
                accounts.list().iter().map(|account| account.name.to_string()).collect();
            Failure::Refused(format!(
                "there is no account {name:?}; there are: {}",
                known.join(", ")
            ))
        });
    }
    match accounts.list().as_slice() {
        [only] => Ok(Arc::clone(only)),
        [] => Err(Failure::Refused(
            "there is no account yet; `triggerly account add NAME` makes one".to_owned(),
        )),
        several => {
            let known: Vec<_> = several.iter().map(|account| account.name.to_string()).collect();
            Err(Failure::Refused(format!("say which account: {}", known.join(", "))))
        }
    }
}

pub(super) fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::Refused(format!("the operating system has no randomness to give: {error}"))
}
