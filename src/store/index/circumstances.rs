//! What an event's context says that counts: whose it is, and whether it is anybody's.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;
use serde::Deserialize;

use super::members::{Cursor, Seen, unescaped};
use crate::context;

/// What counts of a context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances<'c> {
    /// As [`context::is_nobodys`] says.
    pub nobodys: bool,
    /// The visitor that it names, if it names one and that is a text.
    pub visitor: Option<Cow<'c, str>>,
}

impl<'c> Circumstances<'c> {
    /// Reads a context, many times as fast as the JSON is read.
    #[must_use]
    pub fn of(context: &'c str) -> Circumstances<'c> {
        Circumstances::at_a_glance(context).unwrap_or_else(|| Circumstances::by_members(context))
    }

    /// Reads one as they mostly are: JSON of one object without another in it and without escapes, where a quoted name
    /// with a colon behind it can be nothing but the name of a member; and without marks, which are rare.
    fn at_a_glance(context: &'c str) -> Option<Circumstances<'c>> {
        static NAMES: LazyLock<[Finder<'static>; 3]> =
            LazyLock::new(|| ["\"visitor\"", "\"bot\"", "\"prefetch\""].map(Finder::new));
        let [visitor, bot, prefetch] = &*NAMES;
        let inside = context.strip_prefix('{')?.as_bytes();
        let is_marked = || bot.find(inside).is_some() || prefetch.find(inside).is_some();
        if memchr2(b'\\', b'{', inside).is_some() || is_marked() {
            return None;
        }
        let Some(at) = visitor.find(inside) else { return Some(Circumstances::default()) };
        let value = &inside[at + visitor.needle().len()..];
        if visitor.find(value).is_some() {
            return None;
        }
        let text = value.strip_prefix(b":\"")?;
        let end = memchr::memchr(b'"', text)?;
        let text = std::str::from_utf8(&text[..end]).ok()?;
        Some(Circumstances { nobodys: false, visitor: Some(Cow::Borrowed(text)) })
    }

    /// Reads one member by member.
    fn by_members(context: &'c str) -> Circumstances<'c> {
        let mut found = Circumstances::default();
        let mut cursor = Cursor::new(context);
        if cursor.enter().is_none() {
            return Circumstances::thoroughly(context);
        }
        while let Some((name, value)) = cursor.member() {
            match (name, value) {
                (b"visitor", Seen::String(raw)) if found.visitor.is_none() => {
                    let plain = std::str::from_utf8(raw).ok().filter(|_| !raw.contains(&b'\\'));
                    let visitor = plain.map(Cow::Borrowed);
                    found.visitor = visitor.or_else(|| unescaped(raw).map(Cow::Owned));
                }
                // Marks are rare; and what was imported may be anything.
                (b"visitor" | b"bot" | b"prefetch", _) => {
                    return Circumstances::thoroughly(context);
                }
                (name, _) if name.contains(&b'\\') => return Circumstances::thoroughly(context),
                (_, Seen::Object) if cursor.skip().is_none() => break,
                _ => {}
            }
        }
        found
    }

    fn thoroughly(context: &'c str) -> Circumstances<'c> {
        #[derive(Deserialize)]
        struct Named {
            visitor: Option<String>,
        }
        let visitor = serde_json::from_str::<Named>(context).ok().and_then(|named| named.visitor);
        Circumstances { nobodys: context::is_nobodys(context), visitor: visitor.map(Cow::Owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_read_the_same() {
        for context in [
            "{}",
            r#"{"page":"https://a.example/?q=\"visitor\":\"x\"","visitor":"0123abcd"}"#,
            r#"{"visitor":"0123","bot":true}"#,
            r#"{"visitor":"0123","prefetch":true}"#,
            r#"{"bot":false,"visitor":"a\"b"}"#,
            r#"{"visitor":"a\nb"}"#,
            r#"{"visitor":5}"#,
            r#"{"visitor":null}"#,
            r#"{"visitor":"a","visitor":"b"}"#,
            r#"{"bot":"yes"}"#,
            r#"{"\u0062ot":true}"#,
            r#"{"x":{"visitor":"a","bot":true},"y":[{"visitor":"b"}]}"#,
            r#"{"x":{"y":"}"},"visitor":"c"}"#,
            r#"{"page":"visitor","visitor":"x"}"#,
            r#"{"page":"visitor"}"#,
            r#"{"page":"bot","visitor":"x"}"#,
            r#"{"page":"{","visitor":"x"}"#,
            r#"{"pages":["visitor","bot"],"visitor":"x"}"#,
            r#"{"visitor" : "x"}"#,
            r#"{"visitor":"","browser":"é"}"#,
            r#"{"xvisitor":"a","browser":"b"}"#,
            "[true]",
            "",
            "5",
        ] {
            let by_members = Circumstances::by_members(context);
            assert_eq!(by_members, Circumstances::thoroughly(context), "{context}");
            assert_eq!(Circumstances::of(context), Circumstances::thoroughly(context), "{context}");
        }
    }
}
