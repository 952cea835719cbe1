//! A value with its type, and how a raw one is read.
//!
//! Promises one reading for a value and a type. Values of one type have an order and are equal by what
//! they mean, not by how they were written.

use std::borrow::Cow;

use super::convert::convert;
use super::find::unescaped;
use super::number::Number;
use crate::model::{DataType, Date};

/// A value with its type. Ordered by type, in the order of [`DataType`]; within it by the value: texts by
/// their characters, false before true, lists and objects by their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Typed<'v> {
    /// A text.
    String(Cow<'v, str>),
    /// A number.
    Number(Number<'v>),
    /// True or false.
    Boolean(bool),
    /// An instant.
    Date(Date),
    /// The JSON text of a list.
    List(Cow<'v, str>),
    /// The JSON text of an object.
    Object(Cow<'v, str>),
}

/// What an attribute has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<'v> {
    /// There is no such attribute, or it is null.
    NotSet,
    /// A value.
    Typed(Typed<'v>),
    /// A value that doesn't convert to the type that was set: its JSON text as sent.
    NotConverted(&'v str),
}

/// Reads a value, from its JSON text as [`find`](super::find) gives it: as what it is recognised to be, or
/// as the type that was set.
#[must_use]
pub fn read(raw: Option<&str>, set: Option<DataType>) -> Reading<'_> {
    let Some((raw, value)) = raw.and_then(|raw| Some((raw, recognise(raw)?))) else {
        return Reading::NotSet;
    };
    match set {
        None => Reading::Typed(value),
        Some(to) => match convert(raw, value, to) {
            Some(value) => Reading::Typed(value),
            None => Reading::NotConverted(raw),
        },
    }
}

/// The type that a value is recognised to be of, from its JSON text; null has none.
#[must_use]
pub fn recognised(raw: &str) -> Option<DataType> {
    recognise(raw).map(|value| value.data_type())
}

/// As [`DataType::of`], from the text. What is no JSON has no type.
fn recognise(raw: &str) -> Option<Typed<'_>> {
    match raw.as_bytes().first()? {
        b'"' => {
            let text = text_of(raw);
            Some(match Date::parse(&text) {
                Some(date) => Typed::Date(date),
                None => Typed::String(text),
            })
        }
        b'{' => Some(Typed::Object(Cow::Borrowed(raw))),
        b'[' => Some(Typed::List(Cow::Borrowed(raw))),
        b't' => Some(Typed::Boolean(true)),
        b'f' => Some(Typed::Boolean(false)),
        _ => Number::new(raw).map(Typed::Number),
    }
}

/// The text of a JSON string.
pub(super) fn text_of(raw: &str) -> Cow<'_, str> {
    let within = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    unescaped(within.unwrap_or(raw))
}

impl Typed<'_> {
    /// Its type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Typed::String(_) => DataType::String,
            Typed::Number(_) => DataType::Number,
            Typed::Boolean(_) => DataType::Boolean,
            Typed::Date(_) => DataType::Date,
            Typed::List(_) => DataType::List,
            Typed::Object(_) => DataType::Object,
        }
    }

    /// Appends it as JSON: a date as the String of [`Date`]'s display, a number with the digits it has.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Typed::String(text) => push_json_string(out, text),
            Typed::Number(number) => out.push_str(number.text()),
            Typed::Boolean(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Typed::Date(date) => {
                out.push('"');
                date.write_to(out);
                out.push('"');
            }
            Typed::List(text) | Typed::Object(text) => out.push_str(text),
        }
    }

    /// Appends it as a person reads it: as JSON, but texts and dates without quotes.
    pub fn write_text(&self, out: &mut String) {
        match self {
            Typed::String(text) => out.push_str(text),
            Typed::Date(date) => date.write_to(out),
            _ => self.write_json(out),
        }
    }

    /// The same, on its own.
    #[must_use]
    pub fn into_owned(self) -> Typed<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Typed::String(text) => Typed::String(owned(text)),
            Typed::Number(number) => Typed::Number(number.into_owned()),
            Typed::Boolean(truth) => Typed::Boolean(truth),
            Typed::Date(date) => Typed::Date(date),
            Typed::List(text) => Typed::List(owned(text)),
            Typed::Object(text) => Typed::Object(owned(text)),
        }
    }
}

/// Appends a text as JSON.
pub(super) fn push_json_string(out: &mut String, text: &str) {
    let plain = |byte: u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}
