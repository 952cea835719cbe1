//! Browser, system and device by the user agent and client hints, and whether it is a bot.
//!
//! Two libraries' tables do the work: woothee names browsers, systems and crawlers, isbot knows
//! what only looks like a browser. Where a browser sends client hints (`Sec-CH-UA…`) and these
//! say more than its user agent, which is frozen, they win.

use std::sync::LazyLock;

use isbot::Bots;
use woothee::parser::{Parser, WootheeResult};

use super::Headers;

/// Bytes of a user agent, or a hint, that are looked at; real ones have some hundred.
pub const AGENT_BYTES_MAX: usize = 1024;

/// Bytes of the name of a browser or system; a hint with a longer one says nothing.
pub const NAME_BYTES_MAX: usize = 64;

/// Proxies that fetch the pictures of a mail when somebody opens it, as they call themselves, and
/// the reader that this is. Neither bots nor ahead of time: somebody is there, unseen. What
/// else they say of themselves (Firefox on Windows XP) isn't so.
const MAIL_PROXIES: [(&str, &str); 2] =
    [("GoogleImageProxy", "Gmail"), ("YahooMailProxy", "Yahoo Mail")];

/// What a call's agent is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agent<'h> {
    pub browser: Option<&'h str>,
    pub os: Option<&'h str>,
    /// `desktop`, `phone`, `tablet`, `tv` or `console`.
    pub device: Option<&'static str>,
    pub bot: bool,
    /// A mail proxy that stands for many.
    pub proxy: bool,
}

#[derive(Default)]
pub(super) struct Agents {
    parser: Parser,
    /// Made when the first browser calls: it takes milliseconds, and many a server has none.
    bots: LazyLock<Bots>,
}

/// As much of a user agent as is looked at.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(AGENT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Agents {
    /// Reads a user agent that was [`cut`], and the hints beside it.
    pub(super) fn read<'h>(&self, user_agent: Option<&'h str>, headers: &Headers<'h>) -> Agent<'h> {
        let text = user_agent.unwrap_or_default();
        if let Some((_, name)) = MAIL_PROXIES.iter().find(|(mark, _)| text.contains(mark)) {
            return Agent { browser: Some(name), proxy: true, ..Agent::default() };
        }
        let found = self.parser.parse(text).unwrap_or_default();
        if found.category == "crawler" {
            // A crawler's system, if it tells of one, is a pretence.
            let browser = known(found.name).filter(|name| *name != "misc crawler");
            return Agent { browser, bot: true, ..Agent::default() };
        }
        let brand = headers.sec_ch_ua.and_then(|hint| brand(cut(hint)));
        let platform = headers.sec_ch_ua_platform.and_then(platform);
        let is_program = found.category == "misc";
        let os = platform.or_else(|| system(found.os));
        Agent {
            browser: browser(&found, brand),
            os,
            device: device(text, &found, os, headers.sec_ch_ua_mobile),
            // isbot also means `curl` and its like; these don't look like a browser, and aren't
            // marked.
            bot: (!is_program && text.starts_with("Mozilla/") && self.bots.is_bot(text))
                || brand == Some("HeadlessChrome"),
            proxy: false,
        }
    }
}

/// woothee's word for nothing left out.
fn known(name: &str) -> Option<&str> {
    (!name.is_empty() && name != "UNKNOWN").then_some(name)
}

fn browser<'h>(found: &WootheeResult<'h>, brand: Option<&'h str>) -> Option<&'h str> {
    let by_agent = match found.category {
        "misc" | "appliance" => None,
        _ => known(found.name),
    };
    let by_agent = by_agent.map(|name| match name {
        "SamsungBrowser" => "Samsung Internet",
        "Webview" => "WebView",
        name => name,
    });
    let by_hint = brand.map(|name| match name {
        "Google Chrome" | "HeadlessChrome" => "Chrome",
        "Microsoft Edge" => "Edge",
        "Android WebView" => "WebView",
        "YaBrowser" => "Yandex Browser",
        name => name,
    });
    match by_hint {
        // Chrome's relatives may call themselves Chrome in hints and say who they are in the agent.
        Some("Chrome" | "Chromium") | None => by_agent.or(by_hint),
        _ => by_hint,
    }
}

fn system(os: &str) -> Option<&str> {
    match os {
        "Windows Phone OS" => Some("Windows Phone"),
        "Windows CE" => Some("Windows CE"),
        // The version has been frozen at 10 for years.
        os if os.starts_with("Windows") => Some("Windows"),
        "Mac OSX" => Some("macOS"),
        "Mac OS Classic" => Some("Mac OS"),
        "iPhone" | "iPod" => Some("iOS"),
        "iPad" => Some("iPadOS"),
        "ChromeOS" => Some("Chrome OS"),
        os => known(os),
    }
}

fn device(
    text: &str,
    found: &WootheeResult<'_>,
    os: Option<&str>,
    mobile: Option<&str>,
) -> Option<&'static str> {
    if ["PlayStation", "Nintendo", "Xbox"].iter().any(|console| text.contains(console)) {
        return Some("console");
    }
    if text.contains("TV") || found.category == "appliance" {
        return Some("tv");
    }
    match (os?, mobile.map(str::trim)) {
        ("iPadOS", _) => Some("tablet"),
        ("Android", Some("?0")) => Some("tablet"),
        (_, Some("?1")) | ("iOS" | "Windows Phone", _) => Some("phone"),
        // Androids say `Mobile` if they are small; Opera Mini says nothing, and is on phones.
        ("Android", _) if ["Mobile", "Opera Mini"].iter().any(|word| text.contains(word)) => {
            Some("phone")
        }
        ("Android", _) => Some("tablet"),
        _ => match found.category {
            "pc" => Some("desktop"),
            "smartphone" | "mobilephone" => Some("phone"),
            _ => None,
        },
    }
}

/// The browser among the brands of `Sec-CH-UA`, a list of strings with versions: the one that is
/// neither what all of Chrome's family say, nor there to keep servers from guessing
/// (`"Not?A_Brand"`).
fn brand(hint: &str) -> Option<&str> {
    let mut best: Option<&str> = None;
    for name in brands(hint) {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let letters = letters.to_ascii_lowercase();
        if letters.starts_with("not") && letters.ends_with("brand") || !is_name(name) {
            continue;
        }
        let rank = |name: &str| match name {
            "Chromium" => 0,
            "Google Chrome" => 1,
            _ => 2,
        };
        if best.is_none_or(|best| rank(name) > rank(best)) {
            best = Some(name);
        }
    }
    best
}

/// The first quoted text of each member of a list.
fn brands(hint: &str) -> impl Iterator<Item = &str> {
    // Quotes make every second piece a text; behind a brand comes its version, after `=`.
    let mut pieces = hint.split('"');
    let mut before = pieces.next();
    std::iter::from_fn(move || {
        let (text, behind) = (pieces.next()?, pieces.next()?);
        let is_parameter = before.is_some_and(|before| before.trim_end().ends_with('='));
        before = Some(behind);
        Some((!is_parameter).then_some(text))
    })
    .flatten()
}

/// The system that `Sec-CH-UA-Platform` names.
fn platform(hint: &str) -> Option<&str> {
    let name = hint.trim().strip_prefix('"')?.strip_suffix('"')?;
    match name {
        "Unknown" => None,
        "Chromium OS" => Some("Chrome OS"),
        name => is_name(name).then_some(name),
    }
}

/// Whether a text that anybody can send may stand for a name.
fn is_name(text: &str) -> bool {
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && byte != b'\\';
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(is_printable)
}
