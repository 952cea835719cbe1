//! What a call from a browser says of its circumstances, as the JSON that is kept beside it.
//!
//! Promises that no address, no cookie and no user agent is in it, and that it has at most
//! [`CONTEXT_BYTES_MAX`] bytes whatever a client sends. Must not know requests, only the values of
//! some headers; the time is told to it.
//!
//! Only a browser's call has a context: [`Headers::is_browser`]. Programs on servers are neither
//! described nor marked.

mod agent;
mod page;
mod rules;
mod salt;
mod visitor;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::model::{AccountId, Date};
use agent::Agents;
use visitor::Visitors;

/// Bytes of one context.
pub use crate::model::limits::CONTEXT_BYTES_MAX;

pub use agent::{AGENT_BYTES_MAX, NAME_BYTES_MAX};
pub use page::{PAGE_BYTES_MAX, page};
pub use salt::{Day, SALT_BYTES, Salts, day_of};

/// What is asked of a call's headers; of each, the first line counts.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "they are named as the headers are")]
pub struct Headers<'h> {
    pub origin: Option<&'h str>,
    pub referer: Option<&'h str>,
    pub user_agent: Option<&'h str>,
    pub sec_ch_ua: Option<&'h str>,
    pub sec_ch_ua_platform: Option<&'h str>,
    pub sec_ch_ua_mobile: Option<&'h str>,
    pub sec_purpose: Option<&'h str>,
    pub purpose: Option<&'h str>,
    pub x_moz: Option<&'h str>,
    pub x_purpose: Option<&'h str>,
    pub sec_gpc: Option<&'h str>,
    pub dnt: Option<&'h str>,
}

impl<'h> Headers<'h> {
    /// Asks for each by its name, in lower case.
    pub fn read(header: impl Fn(&str) -> Option<&'h str>) -> Headers<'h> {
        Headers {
            origin: header("origin"),
            referer: header("referer"),
            user_agent: header("user-agent"),
            sec_ch_ua: header("sec-ch-ua"),
            sec_ch_ua_platform: header("sec-ch-ua-platform"),
            sec_ch_ua_mobile: header("sec-ch-ua-mobile"),
            sec_purpose: header("sec-purpose"),
            purpose: header("purpose"),
            x_moz: header("x-moz"),
            x_purpose: header("x-purpose"),
            sec_gpc: header("sec-gpc"),
            dnt: header("dnt"),
        }
    }

    /// Whether a browser made the call: it says from where, or asks for an image.
    #[must_use]
    pub fn is_browser(&self, image: bool) -> bool {
        image || self.origin.is_some() || self.referer.is_some()
    }

    /// Whether the call was made ahead of time, for a page that nobody may come to see.
    fn prefetch(&self) -> bool {
        // `prefetch;prerender` too: what stands behind the word only says how.
        let begins = |value: Option<&str>, word: &str| {
            let first = value.and_then(|value| value.split([';', ',']).next());
            first.is_some_and(|first| first.trim().eq_ignore_ascii_case(word))
        };
        begins(self.sec_purpose, "prefetch")
            || begins(self.purpose, "prefetch")
            || begins(self.purpose, "preview")
            || begins(self.x_moz, "prefetch")
            || begins(self.x_purpose, "preview")
    }

    /// Whether whoever calls asks not to be followed (Global Privacy Control, Do Not Track).
    fn private(&self) -> bool {
        [self.sec_gpc, self.dnt].into_iter().flatten().any(|value| value.trim() == "1")
    }
}

/// The context as it is kept; what isn't known or isn't so is left out.
#[derive(Serialize)]
struct Context<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    browser: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    bot: bool,
    #[serde(skip_serializing_if = "is_false")]
    prefetch: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a call with this context was made by a bot, or ahead of time for somebody who may never look:
/// counts leave such calls out.
#[must_use]
pub fn is_nobodys(context: &str) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Marks {
        bot: bool,
        prefetch: bool,
    }
    // One that was imported may be anything.
    let marks: Marks = serde_json::from_str(context).unwrap_or_default();
    marks.bot || marks.prefetch
}

/// Makes contexts, from any thread. Holds the day's salt, so a server has one.
#[derive(Default)]
pub struct Contexts {
    agents: Agents,
    visitors: Visitors,
}

impl Contexts {
    /// With visitors under these salts.
    #[must_use]
    pub fn under(salts: Arc<Salts>) -> Contexts {
        Contexts { agents: Agents::default(), visitors: Visitors::under(salts) }
    }

    /// The context of a call as a compact JSON object; `None` if no browser made it, or if nothing
    /// is known. `client` is whose call it is, not a proxy in between.
    pub fn of(
        &self,
        headers: &Headers<'_>,
        image: bool,
        account: AccountId,
        client: IpAddr,
        now: Date,
    ) -> Option<String> {
        if !headers.is_browser(image) {
            return None;
        }
        let user_agent = headers.user_agent.map(agent::cut).filter(|text| !text.is_empty());
        let agent = self.agents.read(user_agent, headers);
        // Who hides behind a mail proxy can't be told from the others who do.
        let followed = !headers.private() && !agent.proxy;
        let context = Context {
            page: headers.referer.and_then(page),
            browser: agent.browser.as_deref(),
            os: agent.os.as_deref(),
            device: agent.device,
            visitor: followed
                .then(|| self.visitors.of(account, client, user_agent.unwrap_or_default(), now))
                .flatten(),
            bot: agent.bot,
            prefetch: headers.prefetch(),
        };
        let text = serde_json::to_string(&context).ok()?;
        let text = if text.len() <= CONTEXT_BYTES_MAX {
            text
        } else {
            // Only a page that is all quotes, each written as two characters, is so long.
            serde_json::to_string(&Context { page: None, ..context }).ok()?
        };
        (text != "{}").then_some(text)
    }

    /// A browser and its system in words, as `Firefox on Linux`; empty if it is neither known.
    #[must_use]
    pub fn in_words(&self, headers: &Headers<'_>) -> String {
        let user_agent = headers.user_agent.map(agent::cut).filter(|text| !text.is_empty());
        let agent = self.agents.read(user_agent, headers);
        match (agent.browser, agent.os) {
            (Some(browser), Some(os)) => format!("{browser} on {os}"),
            (Some(name), None) | (None, Some(name)) => name.into_owned(),
            (None, None) => String::new(),
        }
    }

    /// Destroys the salt of a day that is over, also if no call comes. To be called now and then.
    pub fn tend(&self, now: Date) {
        self.visitors.tend(now);
    }
}

#[cfg(test)]
mod tests;
