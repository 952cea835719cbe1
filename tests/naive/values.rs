//! What a value is, what an override makes of it, and whether a clause holds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The texts that are dates, and which. No other text that is made up is one.
pub const DATES: [(&str, i64); 9] = [
    ("2025-03-30", 1_743_292_800_000),
    ("2025/03/30", 1_743_292_800_000),
    ("2025-03-30T02:30:00+02:00", 1_743_294_600_000),
    ("2025-03-30T00:30:00.000Z", 1_743_294_600_000),
    ("2025-07-04T12:08:56.235-0700", 1_751_656_136_235),
    ("Fri, 04 Jul 2025 12:08:56 -0700", 1_751_656_136_000),
    ("4 Jul 2025 19:08:56 GMT", 1_751_656_136_000),
    ("1969-12-31", -86_400_000),
    ("2001-07-04T19:08:56Z", 994_273_736_000),
];

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    String(String),
    Number(Decimal),
    Boolean(bool),
    Date(i64),
    List(Vec<Value>),
    Object(Map<String, Value>),
}

/// What stands at a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    NotSet,
    Typed(Typed),
    /// An override that it doesn't convert to.
    NotConverted(Value),
}

/// By kind (`user`, or `event:` and its type) and attribute: the type's name.
pub type Overrides = BTreeMap<(String, String), &'static str>;

pub const TYPES: [&str; 6] = ["String", "Number", "Boolean", "Date", "List", "Object"];

/// The value at a name: a member that is called so, or one within an object that the name's part in front
/// of a dot is that of, the longest such part first.
pub fn find<'v>(attributes: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    if let Some(value) = attributes.get(name) {
        return Some(value);
    }
    let dots = name.match_indices('.').map(|(at, _)| at).rev();
    let mut within =
        dots.filter_map(|at| find(attributes.get(&name[..at])?.as_object()?, &name[at + 1..]));
    within.next()
}

/// What an attribute has to say, with the overrides of its kind.
pub fn read(
    attributes: &Map<String, Value>,
    name: &str,
    kind: &str,
    overrides: &Overrides,
) -> Reading {
    let Some((value, typed)) = find(attributes, name).and_then(|v| Some((v, recognised(v)?)))
    else {
        return Reading::NotSet;
    };
    let Some(to) = overrides.get(&(kind.to_owned(), name.to_owned())) else {
        return Reading::Typed(typed);
    };
    match convert(value, &typed, to) {
        Some(typed) => Reading::Typed(typed),
        None => Reading::NotConverted(value.clone()),
    }
}

/// The conversion table.
pub fn convert(value: &Value, typed: &Typed, to: &str) -> Option<Typed> {
    let alone = || Typed::List(vec![value.clone()]);
    Some(match (typed, to) {
        (typed, to) if typed.name() == to => typed.clone(),
        (Typed::String(text), "Number") => Typed::Number(number(text)?),
        (Typed::String(text), "Boolean") => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => Typed::Boolean(true),
            "false" | "no" | "n" | "off" | "0" => Typed::Boolean(false),
            _ => return None,
        },
        (Typed::String(text), "Date") => match date(text.trim()) {
            Some(at) => Typed::Date(at),
            None => Typed::Date(instant(&number(text)?)?),
        },
        (Typed::String(text), "List") => match serde_json::from_str(text) {
            Ok(Value::Array(values)) => Typed::List(values),
            _ => alone(),
        },
        (Typed::String(text), "Object") => match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Typed::Object(map),
            _ => return None,
        },
        (Typed::Number(number), "Boolean") => {
            if *number == Decimal::of("1") {
                Typed::Boolean(true)
            } else if *number == Decimal::of("0") {
                Typed::Boolean(false)
            } else {
                return None;
            }
        }
        (Typed::Number(number), "Date") => Typed::Date(instant(number)?),
        (Typed::Boolean(truth), "Number") => {
            Typed::Number(Decimal::of(if *truth { "1" } else { "0" }))
        }
        (Typed::Date(at), "Number") => Typed::Number(Decimal::of(&format!("{at}e-3"))),
        (Typed::Date(_), "String") => Typed::String(value.as_str().expect("text").to_owned()),
        (_, "String") => Typed::String(value.to_string()),
        (_, "List") => alone(),
        _ => return None,
    })
}

/// Attributes as they are shown where types are set: what doesn't convert as it was sent, as is what isn't the one
/// that is meant by its name.
pub fn shown(
    attributes: &Map<String, Value>,
    kind: &str,
    overrides: &Overrides,
) -> Map<String, Value> {
    let to = |name: &str| overrides.get(&(kind.to_owned(), name.to_owned())).copied();
    shown_within("", attributes, &|name, value| {
        to(name).filter(|_| find(attributes, name).is_some_and(|meant| std::ptr::eq(meant, value)))
    })
}

fn shown_within(
    within: &str,
    object: &Map<String, Value>,
    to: &dyn Fn(&str, &Value) -> Option<&'static str>,
) -> Map<String, Value> {
    let member = |(name, value): (&String, &Value)| {
        let full = format!("{within}{name}");
        let value = match (to(&full, value), value) {
            (Some(to), value) => recognised(value)
                .and_then(|typed| convert(value, &typed, to))
                .map_or_else(|| value.clone(), |typed| typed.json(value)),
            (None, Value::Object(inner)) => shown_within(&format!("{full}."), inner, to).into(),
            (None, value) => value.clone(),
        };
        (name.clone(), value)
    };
    object.iter().map(member).collect()
}

/// Each attribute, those within objects too.
pub fn each(within: &str, object: &Map<String, Value>, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, value) in object {
        let full = format!("{within}{name}");
        visit(&full, value);
        if let Value::Object(inner) = value {
            each(&format!("{full}."), inner, visit);
        }
    }
}

/// What a text is that reads as a number of JSON, white space and a plus aside.
pub fn number(text: &str) -> Option<Decimal> {
    let text = text.trim();
    let text = text.strip_prefix('+').filter(|rest| !rest.starts_with('-')).unwrap_or(text);
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) => Some(Decimal::of(&number.to_string())),
        _ => None,
    }
}

/// Unix seconds or, from 100,000,000,000 on, milliseconds.
fn instant(number: &Decimal) -> Option<i64> {
    let bound = Decimal::of("1e11");
    let is_seconds = *number < bound && *number > Decimal::of("-1e11");
    let millis = Decimal { power: number.power + if is_seconds { 3 } else { 0 }, ..number.clone() };
    // Beyond the years 0 to 9999.
    if millis > Decimal::of("253402300799999") || millis < Decimal::of("-62167219200000") {
        return None;
    }
    Some(millis.float().floor() as i64)
}

fn compare(reading: &Reading, literal: &str) -> Option<Ordering> {
    let Reading::Typed(value) = reading else { return None };
    match value {
        Typed::String(text) => Some(text.as_str().cmp(literal)),
        Typed::Number(value) => Some(value.cmp(&number(literal)?)),
        Typed::Boolean(truth) => Some(truth.cmp(&literal.parse().ok()?)),
        Typed::Date(at) => Some(at.cmp(&date(literal)?)),
        Typed::List(_) | Typed::Object(_) => {
            let json: Value = serde_json::from_str(literal).ok()?;
            let same = match value {
                Typed::List(values) => json == Value::from(values.clone()),
                Typed::Object(map) => json == Value::from(map.clone()),
                _ => false,
            };
            same.then_some(Ordering::Equal)
        }
    }
}

fn contains(reading: &Reading, literal: &str) -> bool {
    match reading {
        Reading::Typed(Typed::String(text)) => {
            text.to_lowercase().contains(&literal.to_lowercase())
        }
        Reading::Typed(Typed::List(values)) => values.iter().any(|value| {
            let reading = recognised(value).map_or(Reading::NotSet, Reading::Typed);
            compare(&reading, literal) == Some(Ordering::Equal)
        }),
        _ => false,
    }
}

/// The type that a value has by itself; null has none.
pub fn recognised(value: &Value) -> Option<Typed> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => Typed::Boolean(*value),
        Value::Number(number) => Typed::Number(Decimal::of(&number.to_string())),
        Value::String(text) => match date(text) {
            Some(at) => Typed::Date(at),
            None => Typed::String(text.clone()),
        },
        Value::Array(values) => Typed::List(values.clone()),
        Value::Object(map) => Typed::Object(map.clone()),
    })
}

pub fn date(text: &str) -> Option<i64> {
    DATES.iter().find(|(date, _)| *date == text).map(|(_, at)| *at)
}

impl Typed {
    pub fn name(&self) -> &'static str {
        match self {
            Typed::String(_) => "String",
            Typed::Number(_) => "Number",
            Typed::Boolean(_) => "Boolean",
            Typed::Date(_) => "Date",
            Typed::List(_) => "List",
            Typed::Object(_) => "Object",
        }
    }

    /// As it is shown; `sent` is the value that it was.
    pub fn json(&self, sent: &Value) -> Value {
        let numeral = |text: &str| serde_json::from_str(text).expect("a number");
        match (self, sent) {
            (Typed::String(text), _) => text.clone().into(),
            (Typed::Number(_), Value::Number(_)) => sent.clone(),
            // A text that is a number has the digits that it has.
            (Typed::Number(_), Value::String(text)) if date(text).is_none() => {
                numeral(text.trim().trim_start_matches('+'))
            }
            (Typed::Number(number), _) => numeral(&number.plain()),
            (Typed::Boolean(truth), _) => (*truth).into(),
            (Typed::Date(at), _) => super::zones::text(*at).into(),
            (Typed::List(values), _) => values.clone().into(),
            (Typed::Object(map), _) => map.clone().into(),
        }
    }
}

/// A number as it is written: its digits without zeros at either end, and of what power of ten they
/// are a multiple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: String,
    power: i64,
}

impl Decimal {
    pub fn of(text: &str) -> Decimal {
        let lower = text.to_lowercase();
        let (mantissa, power) = lower.split_once('e').unwrap_or((&lower, "0"));
        let power: i64 = power.trim_start_matches('+').parse().expect("a small exponent");
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let end = digits.trim_end_matches('0');
        let power = power - fraction.len() as i64 + (digits.len() - end.len()) as i64;
        let digits = end.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Decimal { negative: false, digits, power: 0 };
        }
        Decimal { negative, digits, power }
    }

    pub fn float(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        format!("{sign}{digits}e{}", self.power).parse().expect("a number")
    }

    /// With all its digits and a point among them where it has one; of few digits.
    fn plain(&self) -> String {
        let scaled = format!("{}{}", self.digits, "0".repeat(self.power.max(0) as usize));
        let behind = (-self.power).max(0) as usize;
        let scaled = format!("{scaled:0>width$}", width = behind + 1);
        let (whole, fraction) = scaled.split_at(scaled.len() - behind);
        let sign = if self.negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    fn size(&self, other: &Decimal) -> Ordering {
        let (own, theirs) = (self.digits.len() as i64, other.digits.len() as i64);
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Where the first digits stand tells; else they are compared as texts, the shorter one
            // as if zeros followed.
            (false, false) => (own + self.power)
                .cmp(&(theirs + other.power))
                .then_with(|| self.digits.cmp(&other.digits)),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.size(other),
            (true, true) => other.size(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

/// What is asked of an attribute.
#[derive(Clone, Debug)]
pub struct Clause {
    pub name: String,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Test {
    /// `=`, `!=`, `<`, `<=`, `>`, `>=` and what is behind it.
    Compare(&'static str, String),
    Contains(String),
    Exists,
    NotExists,
}

impl Clause {
    /// As it is written in a question.
    pub fn text(&self) -> String {
        let plain = |byte: char| byte.is_alphanumeric() || "._-".contains(byte);
        let name = if self.name.chars().all(plain) {
            self.name.clone()
        } else {
            Value::from(self.name.clone()).to_string()
        };
        // What would be taken for something else, or for nothing, stands in quotes.
        let written = |literal: &str| {
            let begins = literal.starts_with(['"', '=', '<', '>', '!']);
            let odd = literal.is_empty() || begins || literal.trim() != literal;
            if odd { Value::from(literal).to_string() } else { literal.to_owned() }
        };
        match &self.test {
            Test::Compare(sign, literal) => format!("{name}{sign}{}", written(literal)),
            Test::Contains(text) => format!("{name} contains {}", written(text)),
            Test::Exists => format!("{name} exists"),
            Test::NotExists => format!("{name} not exists"),
        }
    }

    /// Whatever the zone: a day is midnight UTC, as it is in a value.
    pub fn holds(&self, reading: &Reading) -> bool {
        match &self.test {
            Test::Exists => *reading != Reading::NotSet,
            Test::NotExists => *reading == Reading::NotSet,
            Test::Contains(text) => contains(reading, text),
            Test::Compare("=", literal) => compare(reading, literal) == Some(Ordering::Equal),
            Test::Compare("!=", literal) => compare(reading, literal) != Some(Ordering::Equal),
            // Lists and objects have no order.
            Test::Compare(..)
                if matches!(reading, Reading::Typed(Typed::List(_) | Typed::Object(_))) =>
            {
                false
            }
            Test::Compare(sign, literal) => match compare(reading, literal) {
                None => false,
                Some(Ordering::Less) => sign.starts_with('<'),
                Some(Ordering::Equal) => sign.ends_with('='),
                Some(Ordering::Greater) => sign.starts_with('>'),
            },
        }
    }
}
