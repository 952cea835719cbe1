//! JSON objects, read and written exactly (RFC 8259).
//!
//! Promises that numbers keep their text, attributes their order and keys their spelling, in one
//! pass over the text. Must not know what an object is for.
//!
//! It has its own parser because that of `serde_json`, while keeping all digits, rewrites
//! exponents (`1E5` as `1e+5`) and takes an object with one of its private keys for a number.

use serde_json::{Map, Number, Value};

/// No text may nest deeper than this, whatever the caller allows: each level takes stack.
pub const DEPTH_CEILING: usize = 256;

/// Why a text is not an acceptable object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON.
    #[error("this is not JSON: at line {line}, column {column}, {what}")]
    Syntax {
        /// The line of the first character that does not fit, from 1.
        line: usize,
        /// Its place in that line, in characters, from 1.
        column: usize,
        /// What was expected there, and what was found.
        what: String,
    },
    /// The text is JSON, but no object.
    #[error("the JSON is {found}: it should be an Object")]
    NotAnObject {
        /// What it is, with its article: see [`kind`].
        found: &'static str,
    },
    /// The text, as far as it was read, is JSON, but nested too deep.
    #[error("the JSON is nested too deep: it should have at most {depth_max} levels")]
    TooDeep {
        /// The greatest number of levels, of which the outermost object is the first.
        depth_max: usize,
    },
}

/// Reads the object that is the whole of `text`, white space aside.
///
/// Objects and arrays may be nested `depth_max` levels deep (at most [`DEPTH_CEILING`]), of which
/// the outermost object is the first. When a key comes twice, its last value counts, in the place
/// of the first.
///
/// # Errors
///
/// See [`JsonError`]. What comes first in the text is told first; that the text is no object is
/// told last, when all of it is found to be JSON.
pub fn parse_object(text: &str, depth_max: usize) -> Result<Map<String, Value>, JsonError> {
    match parse(text, depth_max)? {
        Value::Object(map) => Ok(map),
        other => Err(JsonError::NotAnObject { found: kind(&other) }),
    }
}

/// As [`parse_object`], whatever the value is.
///
/// # Errors
///
/// See [`JsonError`], of which it is never `NotAnObject`.
pub fn parse(text: &str, depth_max: usize) -> Result<Value, JsonError> {
    let depth_max = depth_max.min(DEPTH_CEILING);
    let mut parser = Parser { text, at: 0 };
    parser.document(depth_max).map_err(|fault| match fault {
        Fault::TooDeep => JsonError::TooDeep { depth_max },
        Fault::Expected(expected) => parser.syntax_error(expected),
    })
}

/// The compact text of `map`, with numbers and order as they were read.
pub fn to_text(map: &Map<String, Value>) -> String {
    // Only keys that are no strings, and writers that fail, could make this fail.
    serde_json::to_string(map).expect("a map of String keys always has a text")
}

/// What `value` is, with its article, for use in a sentence.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a Boolean",
        Value::Number(_) => "a Number",
        Value::String(_) => "a String",
        Value::Array(_) => "a List",
        Value::Object(_) => "an Object",
    }
}

/// Why the parser stopped. The place is where it stands.
enum Fault {
    Expected(&'static str),
    TooDeep,
}

struct Parser<'a> {
    text: &'a str,
    /// The offset of the next byte to read: never beyond the end or inside a character.
    at: usize,
}

impl Parser<'_> {
    fn document(&mut self, room: usize) -> Result<Value, Fault> {
        let value = self.value(room)?;
        let ended = self.peek_after_space().is_none();
        ended.then_some(value).ok_or(Fault::Expected("the end of the text"))
    }

    /// Reads a value that may be nested `room` levels deep.
    fn value(&mut self, room: usize) -> Result<Value, Fault> {
        match self.peek_after_space() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(self.number()?)),
            Some(b'{') => self.object(room.checked_sub(1).ok_or(Fault::TooDeep)?),
            Some(b'[') => self.list(room.checked_sub(1).ok_or(Fault::TooDeep)?),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(Fault::Expected("a value")),
        }
    }

    fn object(&mut self, room: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut map = Map::new();
        if self.peek_after_space() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            if self.peek_after_space() != Some(b'"') {
                return Err(Fault::Expected("a key in double quotes"));
            }
            let key = self.string()?;
            if self.peek_after_space() != Some(b':') {
                return Err(Fault::Expected("`:`"));
            }
            self.at += 1;
            let value = self.value(room)?;
            map.insert(key, value);
            match self.peek_after_space() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(Fault::Expected("`,` or `}`")),
            }
        }
        self.at += 1;
        Ok(Value::Object(map))
    }

    fn list(&mut self, room: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        if self.peek_after_space() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(room)?);
            match self.peek_after_space() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(Fault::Expected("`,` or `]`")),
            }
        }
        self.at += 1;
        Ok(Value::Array(items))
    }

    fn literal(&mut self, word: &'static str, value: Value) -> Result<Value, Fault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(Fault::Expected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        self.eat(b"-");
        if !self.eat(b"0") {
            self.digits()?;
        }
        if self.eat(b".") {
            self.digits()?;
        }
        if self.eat(b"eE") {
            self.eat(b"+-");
            self.digits()?;
        }
        // The one way to a `Number` that does not rewrite exponents. Unchecked is fine: the text
        // has just been checked.
        let text = &self.text[start..self.at];
        Ok(Number::from_string_unchecked(text.to_owned()))
    }

    /// Reads at least one digit.
    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(()).ok_or(Fault::Expected("a digit"))
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut content = String::new();
        loop {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let rest = self.rest();
            let plain = rest.iter().position(special).unwrap_or(rest.len());
            content.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => content.push(self.escape()?),
                Some(_) => {
                    return Err(Fault::Expected("an escape in place of a control character"));
                }
                None => return Err(Fault::Expected("`\"`")),
            }
        }
        self.at += 1;
        Ok(content)
    }

    /// Reads the escape that begins here.
    fn escape(&mut self) -> Result<char, Fault> {
        let escaped = match self.rest().get(1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return self.unicode_escape(),
        };
        self.at += 2;
        Ok(escaped)
    }

    /// Reads `\uXXXX`, or two of them when they are a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let unit = |from: usize| {
            let escape = self.rest().get(from..from + 6)?.strip_prefix(b"\\u")?;
            escape.iter().try_fold(0, |unit, digit| {
                Some(unit * 16 + char::from(*digit).to_digit(16)? as u16)
            })
        };
        let first = unit(0).ok_or(Fault::Expected("a valid escape"))?;
        let second = unit(6);
        // The second is there to complete the first: what it means by itself is its own business.
        let units = [Some(first), second].into_iter().flatten();
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => {
                self.at += 6 * character.len_utf16();
                Ok(character)
            }
            _ => Err(Fault::Expected("a whole surrogate pair")),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn peek_after_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Reads one byte if it is among those `allowed`.
    fn eat(&mut self, allowed: &[u8]) -> bool {
        let eaten = self.peek().is_some_and(|byte| allowed.contains(&byte));
        self.at += usize::from(eaten);
        eaten
    }

    fn syntax_error(&self, expected: &str) -> JsonError {
        let (before, after) = self.text.split_at(self.at);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let found = match after.chars().next() {
            Some(c) if c.is_ascii_graphic() || c.is_alphanumeric() => format!("`{c}`"),
            Some(c) => format!("U+{:04X}", u32::from(c)),
            None => "the end of the text".to_owned(),
        };
        JsonError::Syntax {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: format!("expected {expected}, found {found}"),
        }
    }
}

#[cfg(test)]
mod tests;
