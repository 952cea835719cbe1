//! What pages hand to the macros of `templates/macros.html`: plain values, ready to be shown.
//!
//! Whatever text is in them may be hostile: templates escape it, and `app.css` keeps it in its place.

use std::borrow::Cow;

/// Characters of what somebody else wrote that a list shows; the rest is on a page of its own.
pub const LISTED_CHARS_MAX: usize = 240;

/// The beginning of a text, with a mark where it was cut: so that no value of 64 KiB stands in a list twenty times.
/// Characters that no page may hold (controls and what isn't a character) are U+FFFD.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    let end = text.char_indices().nth(chars_max).map(|(end, _)| end);
    let kept = &text[..end.unwrap_or(text.len())];
    if end.is_none() && kept.chars().all(may_stand) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if may_stand(c) { c } else { char::REPLACEMENT_CHARACTER };
    let mut shown: String = kept.chars().map(shown).collect();
    if end.is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// Whether a character may stand in HTML (its section 13.2.3.5) and in XML.
fn may_stand(c: char) -> bool {
    let is_none = (c as u32) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    !is_none && (!c.is_control() || matches!(c, '\t' | '\n'))
}

/// A text that can be seen: one of nothing but spaces and invisible characters stands in quotes, so that there is
/// something to click on and to be read out. An empty one stays empty.
#[must_use]
pub fn visible<T: AsRef<str> + ?Sized>(text: &T) -> Cow<'_, str> {
    let text = text.as_ref();
    if text.is_empty() || !text.chars().all(is_unseen) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("\"{text}\""))
}

/// Whether a character leaves no ink: white space, control and format characters.
fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// One of a `<select>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What is sent.
    pub value: String,
    /// What is shown.
    pub label: String,
    /// Whether it is the one chosen.
    pub is_chosen: bool,
}

impl Choice {
    /// Choices of `(value, label)`, of which `chosen` is the value of one.
    #[must_use]
    pub fn of(all: &[(&str, &str)], chosen: &str) -> Vec<Choice> {
        let choice = |&(value, label): &(&str, &str)| Choice {
            value: value.to_owned(),
            label: label.to_owned(),
            is_chosen: value == chosen,
        };
        all.iter().map(choice).collect()
    }
}

/// One of several links, of which one is where one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub label: String,
    /// Whether it is the page that one is on.
    pub is_current: bool,
}

/// One of the top N.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// Where it leads; empty: nowhere.
    pub href: String,
    /// How many, as it is shown.
    pub value: String,
    /// What part of all, as it is shown; may be empty.
    pub share: String,
    /// How long the bar is, of 1,000.
    pub length: u16,
}

impl Bar {
    /// How long the bar of a value is beside that of the greatest, of 1,000: at least 1, if it is any.
    #[must_use]
    pub fn length(value: u64, greatest: u64) -> u16 {
        if value == 0 || greatest == 0 {
            return 0;
        }
        let part = u128::from(value.min(greatest)) * 1_000 / u128::from(greatest);
        u16::try_from(part).unwrap_or(1_000).max(1)
    }
}

/// How a number has changed against before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trend {
    /// It is more.
    Up,
    /// It is less.
    Down,
    /// It is the same, or nothing can be said.
    #[default]
    Level,
}

impl Trend {
    /// The name of its class, as `up`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Trend::Up => "up",
            Trend::Down => "down",
            Trend::Level => "level",
        }
    }
}

/// A number and how it has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// What is counted.
    pub label: String,
    /// How many, as it is shown.
    pub value: String,
    /// The exact number, if `value` is a shorter one; may be empty.
    pub exact: String,
    /// The change, as `+12%`; may be empty.
    pub change: String,
    /// Which way.
    pub trend: Trend,
    /// Against what, as `120 yesterday by this hour`; may be empty.
    pub before: String,
}

/// A time, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for programs.
    pub datetime: String,
    /// For people.
    pub text: String,
    /// The same to the second and with its zone, for those who look closer.
    pub title: String,
    /// The language of its names, as `de`; empty: that of the page.
    pub language: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cases = [
            ("", 3, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc…"),
            ("äöü日本", 3, "äöü…"),
            ("a", 0, "…"),
        ];
        for (text, most, shown) in cases {
            assert_eq!(cut(text, most), shown);
        }
    }

    #[test]
    fn what_cannot_be_seen_stands_in_quotes() {
        for (text, seen) in [
            ("", ""),
            (" a ", " a "),
            (" ", "\" \""),
            ("\u{a0}\u{3000}", "\"\u{a0}\u{3000}\""),
            ("\u{200b}\u{feff}\u{202e}", "\"\u{200b}\u{feff}\u{202e}\""),
            ("\u{200b}a", "\u{200b}a"),
        ] {
            assert_eq!(visible(text), seen, "{text:?}");
        }
    }

    #[test]
    fn bars_are_as_long_as_their_part() {
        let cases = [
            (0, 0, 0),
            (0, 10, 0),
            (10, 10, 1_000),
            (5, 10, 500),
            (1, u64::MAX, 1),
            (u64::MAX, u64::MAX, 1_000),
            (20, 10, 1_000),
        ];
        for (value, greatest, length) in cases {
            assert_eq!(Bar::length(value, greatest), length, "{value} of {greatest}");
        }
    }
}
