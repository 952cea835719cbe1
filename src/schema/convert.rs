//! The one table of conversions: what a value counts as under each type.
//!
//! Promises that every cell is here and nowhere else. The README's section "Data types" says the same.

use std::borrow::Cow;

use serde_json::Value;

use super::number::Number;
use super::typed::{Typed, text_of};
use crate::model::limits::DEPTH_MAX;
use crate::model::{DataType, Date, json};

/// Numbers of up to so many digits before the point are Unix seconds, others Unix milliseconds: where it
/// changes, seconds have come to the year 5138 and milliseconds to 1973.
const SECONDS_DIGITS: i64 = 11;

/// Texts that are true, and texts that are false, in any case.
const TRUE: [&str; 5] = ["true", "yes", "y", "on", "1"];
const FALSE: [&str; 5] = ["false", "no", "n", "off", "0"];

/// What `value`, whose JSON text is `raw`, counts as where the type `to` was set.
pub(super) fn convert<'v>(raw: &'v str, value: Typed<'v>, to: DataType) -> Option<Typed<'v>> {
    use Typed::{Boolean, List, Number as Num, Object, String as Text};
    match (value, to) {
        (value @ Text(_), DataType::String)
        | (value @ Num(_), DataType::Number)
        | (value @ Boolean(_), DataType::Boolean)
        | (value @ Typed::Date(_), DataType::Date)
        | (value @ List(_), DataType::List)
        | (value @ Object(_), DataType::Object) => Some(value),

        (Text(text), DataType::Number) => Some(Num(number_of(text)?)),
        (Text(text), DataType::Boolean) => Some(Boolean(boolean_of(&text)?)),
        (Text(text), DataType::Date) => Some(Typed::Date(date_of(text)?)),
        (Text(text), DataType::List) => match json_of(&text, '[') {
            Some(list) => Some(List(list.into())),
            None => Some(List(alone(raw))),
        },
        (Text(text), DataType::Object) => Some(Object(json_of(&text, '{')?.into())),

        (Num(number), DataType::Boolean) => match &*number.canonical() {
            "1" => Some(Boolean(true)),
            "0" => Some(Boolean(false)),
            _ => None,
        },
        (Num(number), DataType::Date) => Some(Typed::Date(instant(&number)?)),

        (Boolean(truth), DataType::Number) => {
            Some(Num(Number::new(if truth { "1" } else { "0" })?))
        }

        (Typed::Date(date), DataType::Number) => Some(Num(seconds(date)?)),

        (Typed::Date(_), DataType::String) => Some(Text(text_of(raw))),
        (Num(_) | Boolean(_) | List(_) | Object(_), DataType::String) => {
            Some(Text(Cow::Borrowed(raw)))
        }
        (Num(_) | Boolean(_) | Typed::Date(_) | Object(_), DataType::List) => {
            Some(List(alone(raw)))
        }

        (Num(_) | List(_), DataType::Object)
        | (Boolean(_), DataType::Date | DataType::Object)
        | (Typed::Date(_), DataType::Boolean | DataType::Object)
        | (List(_) | Object(_), DataType::Number | DataType::Boolean | DataType::Date) => None,
    }
}

/// The number that a text is, white space around it aside; also with a plus.
pub(super) fn number_of(text: Cow<'_, str>) -> Option<Number<'_>> {
    match text {
        Cow::Borrowed(text) => Number::new(numeral(text)),
        Cow::Owned(text) => Number::new(numeral(&text).to_owned()),
    }
}

fn numeral(text: &str) -> &str {
    let text = text.trim_ascii();
    text.strip_prefix('+').filter(|rest| !rest.starts_with('-')).unwrap_or(text)
}

fn boolean_of(text: &str) -> Option<bool> {
    let text = text.trim_ascii();
    let among = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (among(&TRUE), among(&FALSE)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// A date with white space around it, or the text of a number that is one.
fn date_of(text: Cow<'_, str>) -> Option<Date> {
    Date::parse(text.trim_ascii()).or_else(|| instant(&number_of(text)?))
}

/// The instant that a number is: nearer to zero than ten to the power of [`SECONDS_DIGITS`] Unix seconds,
/// else Unix milliseconds. What it says beyond milliseconds is dropped, so that the instant moves towards
/// the past.
fn instant(number: &Number<'_>) -> Option<Date> {
    let seconds = number.is_below_ten_to(SECONDS_DIGITS);
    let millis = number.floor_times_ten_to(if seconds { 3 } else { 0 })?;
    let fits = (Date::MIN.millis()..=Date::MAX.millis()).contains(&millis);
    fits.then_some(Date::from_millis(millis))
}

/// Unix seconds, with a fraction where there are milliseconds.
fn seconds(date: Date) -> Option<Number<'static>> {
    let sign = if date.millis() < 0 { "-" } else { "" };
    let millis = date.millis().unsigned_abs();
    let text = format!("{sign}{}.{:03}", millis / 1000, millis % 1000);
    Number::new(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// The compact text of the list or object that a text holds as JSON.
fn json_of(text: &str, opening: char) -> Option<String> {
    if !text.trim_ascii_start().starts_with(opening) {
        return None;
    }
    // One level is that of the attributes.
    let value: Value = json::parse(text, DEPTH_MAX - 1).ok()?;
    Some(value.to_string())
}

/// A list of this value alone.
fn alone(raw: &str) -> Cow<'_, str> {
    Cow::Owned(format!("[{raw}]"))
}

#[cfg(test)]
mod tests;
