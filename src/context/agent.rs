//! Browser, system and device by the user agent and client hints, and whether it is a bot.
//!
//! uap-core's rules do the work ([`super::rules`]); here their words become those that a site's
//! owner expects: one name for a browser, wherever it runs. Where a browser sends client hints
//! (`Sec-CH-UA…`) and these say more than its user agent, which is frozen, they win.

use std::borrow::Cow;

use super::Headers;
use super::rules::{Kind, Rules, Told};

/// Bytes of a user agent, or a hint, that are looked at. Of 175,000 real ones one had more; what one
/// can cost grows with its length.
pub const AGENT_BYTES_MAX: usize = 512;

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
    pub browser: Option<Cow<'h, str>>,
    pub os: Option<Cow<'h, str>>,
    /// `desktop`, `phone`, `tablet`, `tv` or `console`.
    pub device: Option<&'static str>,
    pub bot: bool,
    /// A mail proxy that stands for many.
    pub proxy: bool,
}

#[derive(Default)]
pub(super) struct Agents {
    rules: Rules,
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
            return Agent { browser: Some((*name).into()), proxy: true, ..Agent::default() };
        }
        let told = self.rules.told(text);
        let by_agent = told.browser.as_deref().and_then(browser);
        // Bots tell in their agents where to read about them; browsers name no address.
        if told.kind == Some(Kind::Bot) || text.contains("://") {
            // A bot's system, if it tells of one, is a pretence.
            let browser = by_agent.map(|name| Cow::Owned(name.to_owned()));
            return Agent { browser, bot: true, ..Agent::default() };
        }
        let brand = headers.sec_ch_ua.and_then(|hint| brand(cut(hint)));
        let platform = headers.sec_ch_ua_platform.and_then(platform);
        // What doesn't call itself so is a program, as curl and okhttp are, and no browser.
        let is_browser = text.starts_with("Mozilla/") || text.starts_with("Opera/");
        let by_agent = by_agent.filter(|_| is_browser);
        let os = platform.or_else(|| system(text, told.os.as_deref()?));
        Agent {
            browser: match (by_agent, brand.map(by_brand)) {
                // Chrome's relatives may call themselves Chrome in hints and say who they are in the agent.
                (Some(name), Some("Chrome" | "Chromium") | None) => Some(name.to_owned().into()),
                (_, by_hint) => by_hint.map(Cow::Borrowed),
            },
            device: device(text, &told, os, headers.sec_ch_ua_mobile).filter(|_| is_browser),
            os: platform.map(Cow::Borrowed).or_else(|| os.map(|os| Cow::Owned(os.to_owned()))),
            bot: text.contains("HeadlessChrome") || brand == Some("HeadlessChrome"),
            proxy: false,
        }
    }
}

/// A browser's name of what the rules call it: they tell phones' from others.
fn browser(name: &str) -> Option<&str> {
    let name = match name {
        "Android" => "Android Browser",
        "Chrome Mobile WebView" | "Mobile Safari UI/WKWebView" => "WebView",
        "HeadlessChrome" => "Chrome",
        "IE" | "IE Mobile" => "Internet Explorer",
        name => {
            let name = name.strip_prefix("Mobile ").unwrap_or(name);
            [" iOS", " Android", " Mobile"]
                .iter()
                .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name))
        }
    };
    is_name(name).then_some(name)
}

/// A browser's name of its brand.
fn by_brand(brand: &str) -> &str {
    match brand {
        "Google Chrome" | "HeadlessChrome" => "Chrome",
        "Microsoft Edge" => "Edge",
        "Android WebView" => "WebView",
        "YaBrowser" => "Yandex Browser",
        name => name,
    }
}

/// A system's name of what the rules call it.
fn system<'t>(text: &str, name: &'t str) -> Option<&'t str> {
    match name {
        "Other" => None,
        "iOS" if text.contains("iPad") => Some("iPadOS"),
        "Mac OS X" => Some("macOS"),
        // Its distributions.
        _ if text.contains("X11;") && text.contains("Linux ") => Some("Linux"),
        name => is_name(name).then_some(name),
    }
}

fn device(text: &str, told: &Told, os: Option<&str>, mobile: Option<&str>) -> Option<&'static str> {
    if ["PlayStation", "Nintendo", "Xbox"].iter().any(|console| text.contains(console)) {
        return Some("console");
    }
    if text.contains("TV") || told.kind == Some(Kind::Tv) {
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
        ("Windows" | "macOS" | "Chrome OS", _) => Some("desktop"),
        _ => match told.kind {
            Some(Kind::Phone) => Some("phone"),
            Some(Kind::Tablet) => Some("tablet"),
            _ => text.contains("X11;").then_some("desktop"),
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

/// Whether a text that anybody can send may stand for a name; addresses may not.
fn is_name(text: &str) -> bool {
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && byte != b'\\';
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(is_printable)
        && !text.contains([':', '/', '@'])
        && !text.split('.').skip(1).any(|part| part.starts_with(|c: char| c.is_ascii_digit()))
}
