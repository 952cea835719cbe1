//! One condition on one attribute, as a question states it: `plan=pro`, `price >= 10`, `note exists`; or on what an
//! event's browser told, `context:browser=Firefox`.
//!
//! Promises one answer for each text and value, and an error that says what is wrong and what would be
//! right. Must not know what the question is.

use std::borrow::Cow;
use std::cmp::Ordering;

use memchr::memmem::Finder;

use super::convert::number_of;
use super::find::{Path, elements, find};
use super::number::Number;
use super::typed::{Reading, Typed, read};
use super::zone::Zone;
use crate::model::limits::DEPTH_MAX;
use crate::model::overrides::OfKind;
use crate::model::{DataType, Date, json};

/// A condition on an attribute. It is written as one of
/// ```text
/// NAME=VALUE   NAME!=VALUE   NAME<VALUE   NAME<=VALUE   NAME>VALUE   NAME>=VALUE
/// NAME contains VALUE        NAME exists  NAME not exists
/// ```
/// NAME is a [`Path`], or `context:` and one of [`CONTEXTS`], which is a String always; a NAME that has such characters, or white space around it, or that begins with
/// `context:` and is an attribute's all the same, stands in double quotes, as JSON writes a string; so does a VALUE that begins with a sign. White space around NAME, the words and VALUE
/// doesn't count, but in a VALUE that is a JSON string.
///
/// What VALUE means is up to the attribute's value, of the type that it is recognised to be or that was
/// set: beside a Number it is a number and compared exactly, beside a Date an instant in any of the forms
/// of [`Zone::parse`], but that a day is midnight UTC as it is in a value, beside a Boolean `true` or `false` (false is less), beside a String its text, beside
/// a List or an Object JSON, which has no order. Where VALUE is nothing of the kind, the condition doesn't
/// hold; nor does it where the attribute isn't set, is null, or doesn't convert to the type that was set.
///
/// `!=` is the opposite of `=` always, `not exists` that of `exists`: there is a value, whether it converts
/// or not. `contains` is for a String, whatever the case of its letters, and for a List: one of its
/// elements is VALUE.
#[derive(Clone, Debug)]
pub struct Clause {
    path: Path,
    /// What of an event's context it is about, if it isn't about an attribute.
    context: Option<Path>,
    test: Test,
}

/// What of an event's context conditions and breakdowns can be about, each named with `context:` before it.
pub const CONTEXTS: [&str; 4] = ["page", "browser", "os", "device"];

/// What names of these begin with.
pub const CONTEXT: &str = "context:";

/// Why a text is no condition. Ready to be shown to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClauseError {
    /// There is none of the signs and words.
    #[error(
        "`{0}` is not a condition: it should be a name, then one of `=`, `!=`, `<`, `<=`, `>`, `>=` or ` contains ` and a value, or a name and ` exists` or ` not exists`"
    )]
    NoOperator(String),
    /// It begins with the sign.
    #[error("`{0}` has no name: the name of an attribute should stand first")]
    NoName(String),
    /// The name is in quotes, but not as JSON has them.
    #[error(
        "the name in `{0}` should be a JSON string: in double quotes, `\\\"` for one within it"
    )]
    BadName(String),
    /// The name begins with `context:`, and there is nothing of the kind.
    #[error(
        "there is no `{0:.100}`: there are `context:page`, `context:browser`, `context:os` and `context:device`, and the name of an attribute that begins so stands in double quotes"
    )]
    NoContext(String),
    /// Behind the sign stands another, and it can't be told whether that is a slip.
    #[error(
        "in `{text}` a sign follows `{operator}`: one that is meant stands alone, and a value that begins with one stands in double quotes"
    )]
    TwoSigns {
        /// The condition.
        text: String,
        /// The first sign.
        operator: &'static str,
    },
    /// The sign or word is the end.
    #[error("`{text}` has no value: one should stand behind `{operator}`")]
    NoValue {
        /// The condition.
        text: String,
        /// What wants a value.
        operator: &'static str,
    },
}

/// Characters of a condition that an error repeats.
const EXCERPT_CHARS_MAX: usize = 100;

#[derive(Clone, Debug)]
enum Test {
    Exists(bool),
    Equals(bool, Literal),
    Ordered(fn(Ordering) -> bool, Literal),
    Contains(Literal),
}

/// A value as it was written, and all that it can mean.
#[derive(Clone, Debug)]
struct Literal {
    text: String,
    /// Finds it in lower case, in time that is linear in what is looked through.
    lower: Finder<'static>,
    number: Option<Number<'static>>,
    boolean: Option<bool>,
    date: Option<Date>,
    /// Compact, if it is a list or an object.
    json: Option<String>,
}

/// Signs, those that begin others behind them.
const SIGNS: [&str; 6] = ["!=", "<=", ">=", "=", "<", ">"];
const CONTAINS: &str = "contains";
const EXISTS: &str = "exists";
const NOT: &str = "not";

impl Clause {
    /// Reads a condition. Times that name no offset are of `zone`.
    ///
    /// # Errors
    /// [`ClauseError`] says what is wrong with it.
    pub fn parse(text: &str, zone: &Zone) -> Result<Clause, ClauseError> {
        let quoted = text.trim_ascii_start().strip_prefix('"');
        let (name, rest) = match quoted {
            Some(quoted) => {
                let (name, rest) =
                    quoted_name(quoted).ok_or_else(|| ClauseError::BadName(excerpt(text)))?;
                (name, rest)
            }
            None => {
                let at = operator(text).ok_or_else(|| ClauseError::NoOperator(excerpt(text)))?;
                (Cow::Borrowed(text[..at].trim_ascii()), &text[at..])
            }
        };
        if name.is_empty() {
            return Err(ClauseError::NoName(excerpt(text)));
        }
        let context = match name.strip_prefix(CONTEXT).filter(|_| quoted.is_none()) {
            Some(of) if CONTEXTS.contains(&of) => Some(Path::new(of)),
            Some(_) => return Err(ClauseError::NoContext(excerpt(&name))),
            None => None,
        };
        let test = test(rest, text, zone)?;
        Ok(Clause { path: Path::new(&name), context, test })
    }

    /// The attribute that it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is about an event's context, of which users have none.
    #[must_use]
    pub fn is_of_context(&self) -> bool {
        self.context.is_some()
    }

    /// Whether it holds for an event, of its attributes and its context, each one JSON object; the attributes of
    /// one for which it [`is of the context`](Clause::is_of_context) don't matter.
    #[must_use]
    pub fn holds_of_event(&self, attributes: &str, context: Option<&str>, set: &OfKind) -> bool {
        match &self.context {
            Some(path) => {
                let raw = context.and_then(|context| find(context, path));
                self.holds_of(&read(raw, Some(DataType::String)))
            }
            None => self.holds(attributes, set),
        }
    }

    /// Whether it holds for attributes, one JSON object, of a kind for which these types are set.
    #[must_use]
    pub fn holds(&self, attributes: &str, set: &OfKind) -> bool {
        let set = if set.is_empty() { None } else { set.get(self.path.name()) };
        self.holds_of(&read(find(attributes, &self.path), set))
    }

    fn holds_of(&self, reading: &Reading<'_>) -> bool {
        let value = match reading {
            Reading::Typed(value) => Some(value),
            Reading::NotSet | Reading::NotConverted(_) => None,
        };
        match &self.test {
            Test::Exists(wanted) => (*reading != Reading::NotSet) == *wanted,
            Test::Equals(wanted, literal) => {
                value.is_some_and(|value| literal.equals(value)) == *wanted
            }
            Test::Ordered(wanted, literal) => {
                value.and_then(|value| literal.order(value)).is_some_and(wanted)
            }
            Test::Contains(literal) => value.is_some_and(|value| literal.is_in(value)),
        }
    }
}

/// Where the sign or word begins that comes first, a word with the white space before it.
fn operator(text: &str) -> Option<usize> {
    let sign = SIGNS.iter().filter_map(|sign| text.find(sign)).min();
    let mut words = text.match_indices(CONTAINS);
    let word = words.find_map(|(at, word)| {
        let is_followed = text[at + word.len()..].starts_with(is_space);
        Some(behind_name(&text[..at])?.len()).filter(|_| is_followed)
    });
    let first = sign.into_iter().chain(word).min();
    first.or_else(|| {
        let before = behind_name(text.trim_ascii_end().strip_suffix(EXISTS)?)?;
        let name = before.strip_suffix(NOT).and_then(behind_name).unwrap_or(before);
        Some(name.len())
    })
}

/// What stands before a word, which white space has to part from it.
fn behind_name(before: &str) -> Option<&str> {
    before.ends_with(is_space).then(|| before.trim_ascii_end())
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// The name that is in quotes, of which the first was taken, and what follows it.
fn quoted_name(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let name: String = serde_json::from_str(&format!("\"{}\"", &quoted[..end])).ok()?;
    Some((Cow::Owned(name), &quoted[end + 1..]))
}

/// Reads the sign or word and what follows it; `text` is the whole.
fn test(rest: &str, text: &str, zone: &Zone) -> Result<Test, ClauseError> {
    let no_value = |operator| ClauseError::NoValue { text: excerpt(text), operator };
    let signed = rest.trim_ascii_start();
    if rest.starts_with(is_space) {
        let (word, more) = signed.split_once(is_space).unwrap_or((signed, ""));
        match (word, more.trim_ascii()) {
            (EXISTS, "") => return Ok(Test::Exists(true)),
            (NOT, EXISTS) => return Ok(Test::Exists(false)),
            (CONTAINS, value) => {
                let literal = Literal::new(value, zone).ok_or_else(|| no_value(CONTAINS))?;
                return Ok(Test::Contains(literal));
            }
            _ => {}
        }
    }
    let sign = SIGNS.into_iter().find(|sign| signed.starts_with(sign));
    let sign = sign.ok_or_else(|| ClauseError::NoOperator(excerpt(text)))?;
    let value = signed[sign.len()..].trim_ascii_start();
    if SIGNS.iter().any(|sign| value.starts_with(sign)) {
        return Err(ClauseError::TwoSigns { text: excerpt(text), operator: sign });
    }
    let literal = Literal::new(value, zone);
    let ordered =
        |wanted| Ok(Test::Ordered(wanted, literal.clone().ok_or_else(|| no_value(sign))?));
    match sign {
        "<" => ordered(Ordering::is_lt),
        "<=" => ordered(Ordering::is_le),
        ">" => ordered(Ordering::is_gt),
        ">=" => ordered(Ordering::is_ge),
        // The empty text is a value too.
        sign => Ok(Test::Equals(
            sign == "=",
            literal.unwrap_or_else(|| Literal::of(String::new(), zone)),
        )),
    }
}

impl Literal {
    /// `None` if there is nothing.
    fn new(written: &str, zone: &Zone) -> Option<Literal> {
        let written = written.trim_ascii();
        let quoted = written.starts_with('"').then(|| serde_json::from_str(written).ok()).flatten();
        match quoted {
            Some(text) => Some(Literal::of(text, zone)),
            None => (!written.is_empty()).then(|| Literal::of(written.to_owned(), zone)),
        }
    }

    fn of(text: String, zone: &Zone) -> Literal {
        let nested = text.starts_with(['[', '{']);
        Literal {
            lower: Finder::new(text.to_lowercase().as_str()).into_owned(),
            number: number_of(Cow::Borrowed(&text)).map(Number::into_owned),
            boolean: text.parse().ok(),
            // Whatever is a value's date is the same here, so that each is equal to itself.
            date: Date::parse(&text).or_else(|| zone.parse(&text)),
            json: json::parse(&text, DEPTH_MAX - 1)
                .ok()
                .filter(|_| nested)
                .map(|value| value.to_string()),
            text,
        }
    }

    fn equals(&self, value: &Typed<'_>) -> bool {
        match value {
            Typed::List(text) | Typed::Object(text) => self.json.as_deref() == Some(text),
            value => self.order(value) == Some(Ordering::Equal),
        }
    }

    /// How a value stands to this.
    fn order(&self, value: &Typed<'_>) -> Option<Ordering> {
        match value {
            Typed::String(text) => Some(text.as_ref().cmp(&self.text)),
            Typed::Number(number) => Some(number.cmp(self.number.as_ref()?)),
            Typed::Boolean(truth) => Some(truth.cmp(&self.boolean?)),
            Typed::Date(date) => Some(date.cmp(&self.date?)),
            Typed::List(_) | Typed::Object(_) => None,
        }
    }

    fn is_in(&self, value: &Typed<'_>) -> bool {
        match value {
            Typed::String(text) => contains(text, &self.lower),
            Typed::List(list) => elements(list).any(|element| {
                matches!(read(Some(element), None), Reading::Typed(value) if self.equals(&value))
            }),
            _ => false,
        }
    }
}

/// Whether a text has in it what is looked for, which is in lower case, whatever its own case.
fn contains(text: &str, lower: &Finder<'_>) -> bool {
    let lowered = if !text.is_ascii() {
        Cow::Owned(text.to_lowercase())
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    };
    lower.find(lowered.as_bytes()).is_some()
}

/// As much of a text as an error repeats.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
