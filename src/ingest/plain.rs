//! Objects whose text is already what is kept of it, as that of most calls is.
//!
//! Promises what [`json::parse_object`] and [`json::to_text`] would give, without a tree between the two: a
//! text in UTF-8 without escapes, and without white space but between the members of the outermost object, has each
//! value as it is kept. Of any other text, of one that is wrong, and of one that may be beyond a bound, it says
//! nothing: that is for the parser, which knows why. Must not know what an object is for.

use serde_json::Value;

use crate::model::json;
use crate::model::limits::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX, DEPTH_MAX, OBJECT_BYTES_MAX};

/// Keys of one object: each is compared with all before it, since the last of two that are the same counts.
const KEYS_MAX: usize = 64;

const _: () = assert!(KEYS_MAX <= ATTRIBUTES_MAX);

/// The members of an object that is within all bounds: each key once, and the compact text of each value.
pub(super) struct Members<'t> {
    members: Vec<(&'t str, &'t str)>,
    bytes: usize,
}

impl<'t> Members<'t> {
    /// Those of a text, if it is one of these.
    pub fn of(text: &'t [u8]) -> Option<Members<'t>> {
        if text.len() > OBJECT_BYTES_MAX {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        let mut members = Vec::with_capacity(16);
        let mut scan = Scan { text, at: 0, keys: Vec::with_capacity(16) };
        scan.space();
        scan.object(DEPTH_MAX - 1, Some(&mut members))?;
        scan.space();
        (scan.at == text.len()).then_some(Members { members, bytes: text.len() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The text of a value.
    pub fn get(&self, key: &str) -> Option<&'t str> {
        self.members.iter().find(|(name, _)| *name == key).map(|(_, text)| *text)
    }

    /// A value; `null` if there is none.
    pub fn value(&self, key: &str) -> Value {
        // The parser reads whatever this one does.
        self.get(key).and_then(|text| json::parse(text, DEPTH_MAX).ok()).unwrap_or_default()
    }

    /// The compact text of an object of all but these.
    pub fn text_without(&self, keys: &[&str]) -> String {
        let mut text = String::with_capacity(self.bytes);
        text.push('{');
        for (key, value) in self.members.iter().filter(|(key, _)| !keys.contains(key)) {
            if text.len() > 1 {
                text.push(',');
            }
            for part in ["\"", key, "\":", value] {
                text.push_str(part);
            }
        }
        text.push('}');
        text
    }
}

struct Scan<'t> {
    text: &'t str,
    /// The offset of the next byte, never inside a character.
    at: usize,
    /// Those of all objects that it is in, one behind the other.
    keys: Vec<&'t str>,
}

impl<'t> Scan<'t> {
    /// Goes past an object whose values may be nested `room` levels deep. The outermost one's are wanted.
    fn object(
        &mut self,
        room: usize,
        mut outermost: Option<&mut Vec<(&'t str, &'t str)>>,
    ) -> Option<()> {
        let spaced = outermost.is_some();
        let (before, mut is_first) = (self.keys.len(), true);
        self.eat(b'{', spaced)?;
        while self.eat(b'}', false).is_none() {
            if !is_first {
                self.eat(b',', spaced)?;
            }
            is_first = false;
            let key = self.string()?;
            let others = &self.keys[before..];
            if key.len() > ATTRIBUTE_NAME_BYTES_MAX
                || others.len() == KEYS_MAX
                || others.contains(&key)
            {
                return None;
            }
            self.keys.push(key);
            if spaced {
                self.space();
            }
            self.eat(b':', spaced)?;
            let value = self.value(room)?;
            if let Some(members) = &mut outermost {
                members.push((key, value));
                self.space();
            }
        }
        self.keys.truncate(before);
        Some(())
    }

    fn list(&mut self, room: usize) -> Option<()> {
        self.eat(b'[', false)?;
        let mut is_first = true;
        while self.eat(b']', false).is_none() {
            if !is_first {
                self.eat(b',', false)?;
            }
            is_first = false;
            self.value(room)?;
        }
        Some(())
    }

    /// The text of a value.
    fn value(&mut self, room: usize) -> Option<&'t str> {
        let start = self.at;
        match self.peek()? {
            b'"' => drop(self.string()?),
            b'{' => self.object(room.checked_sub(1)?, None)?,
            b'[' => self.list(room.checked_sub(1)?)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            _ => self.number()?,
        }
        self.text.get(start..self.at)
    }

    /// What is between two quotes.
    fn string(&mut self) -> Option<&'t str> {
        self.eat(b'"', false)?;
        let rest = self.rest();
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        let content = self.text.get(self.at..self.at + end)?;
        self.at += end;
        self.eat(b'"', false)?;
        Some(content)
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.eat(b'-', false);
        if self.eat(b'0', false).is_none() {
            self.digits()?;
        }
        if self.eat(b'.', false).is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    /// Goes past this byte, and past the space behind it if there may be such.
    fn eat(&mut self, byte: u8, spaced: bool) -> Option<()> {
        if self.peek() != Some(byte) {
            return None;
        }
        self.at += 1;
        if spaced {
            self.space();
        }
        Some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::text;
    use proptest::prelude::*;

    /// Whether a text is one of these. It is what the parser makes of it then.
    fn is_plain(bytes: &[u8]) -> bool {
        let Some(members) = Members::of(bytes) else { return false };
        let mended = text::mend(bytes.to_vec()).expect("text");
        let object = json::parse_object(&mended, DEPTH_MAX).expect("an object");
        assert_eq!(members.text_without(&[]), json::to_text(&object));
        assert_eq!(members.len(), object.len());
        for (key, value) in &object {
            assert_eq!(members.value(key), *value);
            assert_eq!(members.get(key), Some(value.to_string().as_str()));
        }
        assert_eq!(members.value("no such key"), Value::Null);
        true
    }

    #[test]
    fn which_are_plain() {
        let (short, long) = ("k".repeat(255), "k".repeat(256));
        let nested = |levels: usize| {
            format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        let keys = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!(r#""k{n}":{n}"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        let large = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        for text in [
            "{}",
            " { } \r\n",
            r#"{"type":"page view","n":-0.5E+10,"ok":true,"no":false,"none":null}"#,
            "{ \"a\" : 1 , \"b\":\t[1,{\"c\":[]}]\n, \"d\": {} }",
            r#"{"Zürich":"😀","":"","/":"\u007f"}"#.replace(r"\u007f", "\u{7f}").as_str(),
            &format!(r#"{{"{short}":{{"{short}":1}}}}"#),
            &nested(DEPTH_MAX),
            &keys(KEYS_MAX),
            &large(OBJECT_BYTES_MAX),
            r#"{"a":{"x":1},"b":{"x":1},"x":1}"#,
        ] {
            assert!(is_plain(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            " ",
            "[]",
            "{",
            "{}x",
            "{}{}",
            "\u{feff}{}",
            r#"{"a":"\n"}"#,
            r#"{"\u0061":1}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[1, 2]}"#,
            r#"{"a":{"b": 1}}"#,
            r#"{"a":{ }}"#,
            r#"{,"a":1}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1 ]}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":tru}"#,
            r#"{"a":nulls}"#,
            r#"{"a":}"#,
            r#"{"a"}"#,
            r#"{a:1}"#,
            &format!(r#"{{"{long}":1}}"#),
            &format!(r#"{{"a":{{"{long}":1}}}}"#),
            &nested(DEPTH_MAX + 1),
            &keys(KEYS_MAX + 1),
            &format!(r#"{{"a":{}}}"#, keys(KEYS_MAX + 1)),
            &large(OBJECT_BYTES_MAX + 1),
        ] {
            assert!(!is_plain(text.as_bytes()), "{text}");
        }
        assert!(!is_plain(b"{\"a\":\"\xff\"}"));
        // Halves of surrogates, which are mended.
        assert!(!is_plain(b"{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}"));
    }

    proptest! {
        #[test]
        fn the_parser_gives_the_same(
            near in r#"\{("[a-c]?" ?: ?(1|-0\.5e3|"[a\\ é]"|\[\]|\{"b":[0-9]*\}|null|tru)[, ]){0,4}\}?"#,
            list in r#"[\[\]{},":a1 ]{0,24}"#,
            bytes: Vec<u8>,
        ) {
            let ended = near.replace(",}", "}");
            for text in [near.as_bytes(), ended.as_bytes(), list.as_bytes(), &bytes] {
                is_plain(text);
            }
            is_plain(format!(r#"{{"a":{list}}}"#).as_bytes());
        }
    }
}
