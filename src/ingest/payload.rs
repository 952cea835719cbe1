//! What calls bring, taken apart into the texts of single objects.
//!
//! Promises each object's text as it was sent, and at most [`BATCH_OBJECTS_MAX`] of them, found in one
//! pass that keeps nothing but their places. Must not know what is in an object: whether its text is JSON
//! at all is for who reads it, one at a time.

use std::borrow::Cow;
use std::ops::Range;

use super::mend::BOM;
use super::text;
use super::{Code, Reject};
use crate::model::limits::BATCH_OBJECTS_MAX;

/// What a call brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The parameter `data` of the query, still percent-encoded: one object in Base64, or its JSON.
    Query(&'a str),
    /// The field `data` of a form, still percent-encoded: the same, or a list of objects.
    Form(&'a str),
    /// JSON: an object, or a list of objects.
    Json(&'a [u8]),
    /// JSON: an object on each line that isn't empty.
    Lines(&'a [u8]),
}

/// Bytes, and where each object is in them.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    bytes: Cow<'a, [u8]>,
    /// `None`: they are one object, which came alone.
    places: Option<Vec<Range<usize>>>,
    subject: &'static str,
}

impl Texts<'_> {
    /// Whether they came as a list or as lines.
    pub(super) fn is_batch(&self) -> bool {
        self.places.is_some()
    }

    /// What to call them in a sentence.
    pub(super) fn subject(&self) -> &'static str {
        self.subject
    }

    /// The text of each object, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let alone = self.places.is_none().then_some(&*self.bytes);
        let places = self.places.iter().flatten();
        alone.into_iter().chain(places.map(|place| &self.bytes[place.clone()]))
    }
}

impl<'a> Payload<'a> {
    /// Takes it apart.
    pub(super) fn texts(self) -> Result<Texts<'a>, Reject> {
        let (bytes, subject) = match self {
            Payload::Query(raw) => (parameter(raw, b"{")?, "the decoded `data`"),
            Payload::Form(raw) => (parameter(raw, b"{[")?, "the decoded `data`"),
            Payload::Json(bytes) | Payload::Lines(bytes) => (Cow::Borrowed(bytes), "the body"),
        };
        let begin = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let first = bytes[begin..].trim_ascii_start().first();
        let places = match self {
            Payload::Json(_) if first.is_none() => Some(Vec::new()),
            Payload::Lines(_) => Some(lines(&bytes, begin)?),
            Payload::Form(_) | Payload::Json(_) if first == Some(&b'[') => {
                Some(Scanner { bytes: &bytes, at: begin }.list()?)
            }
            _ => None,
        };
        if places.as_ref().is_some_and(Vec::is_empty) {
            let detail = format!("there is no object in {subject}; it takes one, or a batch");
            return Err(Reject::new(Code::MissingData, detail));
        }
        Ok(Texts { bytes, places, subject })
    }
}

/// What the parameter `data` says, if it does.
fn parameter(raw: &str, itself: &[u8]) -> Result<Cow<'static, [u8]>, Reject> {
    if raw.is_empty() {
        return Err(Reject::new(
            Code::MissingData,
            "the parameter `data` is missing or empty; it takes one JSON object in Base64",
        ));
    }
    let decoded = text::decode_param(raw, itself)
        .map_err(|error| Reject::new(Code::InvalidBase64, format!("`data`: {error}")))?;
    Ok(Cow::Owned(decoded))
}

/// The places of all lines that aren't empty.
fn lines(bytes: &[u8], begin: usize) -> Result<Vec<Range<usize>>, Reject> {
    let mut places = Vec::new();
    let mut start = begin;
    for line in bytes[begin..].split(|byte| *byte == b'\n') {
        let end = start + line.len();
        if !line.trim_ascii().is_empty() {
            push(&mut places, start..start + line.trim_ascii_end().len())?;
        }
        start = end + 1;
    }
    Ok(places)
}

fn push(places: &mut Vec<Range<usize>>, place: Range<usize>) -> Result<(), Reject> {
    if places.len() == BATCH_OBJECTS_MAX {
        let detail =
            format!("the batch has more than {BATCH_OBJECTS_MAX} objects; send it in parts");
        return Err(Reject::new(Code::PayloadTooLarge, detail));
    }
    places.push(place);
    Ok(())
}

/// Finds the values of a list by its brackets and strings alone.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The places of a list's values; nothing but white space is around the list.
    fn list(mut self) -> Result<Vec<Range<usize>>, Reject> {
        let mut places = Vec::new();
        self.skip_space();
        // Its bracket, which the caller has seen.
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                push(&mut places, self.value()?)?;
                self.at += 1;
                if self.bytes.get(self.at - 1) == Some(&b']') {
                    break;
                }
            }
        }
        self.skip_space();
        match self.peek() {
            None => Ok(places),
            Some(_) => Err(self.unexpected("the end of the text")),
        }
    }

    /// The place of a value, and stops at the comma or bracket behind it.
    fn value(&mut self) -> Result<Range<usize>, Reject> {
        self.skip_space();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => depth += 1,
                Some(b',' | b']' | b'}') if depth == 0 => break,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
                None => return Err(self.unexpected("`]`")),
            }
            self.at += 1;
        }
        let text = self.bytes[start..self.at].trim_ascii_end();
        if text.is_empty() {
            return Err(self.unexpected("an object"));
        }
        if self.peek() == Some(b'}') {
            return Err(self.unexpected("`,` or `]`"));
        }
        Ok(start..start + text.len())
    }

    /// Goes on to the quote that ends the string that begins here.
    fn skip_string(&mut self) -> Result<(), Reject> {
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.at += 1,
                Some(_) => {}
                None => return Err(self.unexpected("`\"`")),
            }
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn unexpected(&self, expected: &str) -> Reject {
        let found = match self.peek() {
            Some(byte) => format!("`{}` at offset {}", byte.escape_ascii(), self.at),
            None => "the end of the text".to_owned(),
        };
        let detail = format!("the list is not JSON: expected {expected}, found {found}");
        Reject::new(Code::InvalidJson, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The objects' texts, or the code of the refusal.
    fn taken(payload: Payload<'_>) -> Result<(bool, Vec<String>), Code> {
        let texts = payload.texts().map_err(|reject| reject.code)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((texts.is_batch(), texts.iter().map(text).collect()))
    }

    fn batch(texts: &[&str]) -> Result<(bool, Vec<String>), Code> {
        Ok((true, texts.iter().map(|text| (*text).to_owned()).collect()))
    }

    #[test]
    fn bodies_of_json() {
        let alone = |text: &str| Ok((false, vec![text.to_owned()]));
        for (body, expected) in [
            ("{}", alone("{}")),
            (" {}\n", alone(" {}\n")),
            ("1", alone("1")),
            ("no JSON", alone("no JSON")),
            ("[{}]", batch(&["{}"])),
            ("\u{feff} [ {} ] \r\n", batch(&["{}"])),
            (
                "[{\"a\":[1,{}]}\n,\t{\"b\":\"]},{[\"} ]",
                batch(&["{\"a\":[1,{}]}", "{\"b\":\"]},{[\"}"]),
            ),
            (r#"[{"a\\":"\"]"},{}]"#, batch(&[r#"{"a\\":"\"]"}"#, "{}"])),
            ("[1.0, null,[2]]", batch(&["1.0", "null", "[2]"])),
            // Not what a list is made of, which is told by who reads it.
            ("[{]}]", Err(Code::InvalidJson)),
            ("[{],{}]", batch(&["{]", "{}"])),
            ("[}", Err(Code::InvalidJson)),
            ("[{}}", Err(Code::InvalidJson)),
            ("[{},]", Err(Code::InvalidJson)),
            ("[,{}]", Err(Code::InvalidJson)),
            ("[,]", Err(Code::InvalidJson)),
            ("[{},,{}]", Err(Code::InvalidJson)),
            ("[{}", Err(Code::InvalidJson)),
            ("[{},", Err(Code::InvalidJson)),
            ("[", Err(Code::InvalidJson)),
            ("[\"", Err(Code::InvalidJson)),
            ("[\"\\", Err(Code::InvalidJson)),
            ("[{}]x", Err(Code::InvalidJson)),
            ("[{}][{}]", Err(Code::InvalidJson)),
            ("[]", Err(Code::MissingData)),
            (" [ ] ", Err(Code::MissingData)),
            ("", Err(Code::MissingData)),
            (" \r\n", Err(Code::MissingData)),
            ("\u{feff}", Err(Code::MissingData)),
        ] {
            assert_eq!(taken(Payload::Json(body.as_bytes())), expected, "{body:?}");
        }
    }

    #[test]
    fn bodies_of_lines() {
        for (body, expected) in [
            ("{}", batch(&["{}"])),
            ("{}\n", batch(&["{}"])),
            ("\u{feff}{}\r\n\r\n  \n {\"a\":1} \n\n", batch(&["{}", " {\"a\":1}"])),
            ("[{}]", batch(&["[{}]"])),
            ("", Err(Code::MissingData)),
            ("\n \r\n", Err(Code::MissingData)),
        ] {
            assert_eq!(taken(Payload::Lines(body.as_bytes())), expected, "{body:?}");
        }
    }

    #[test]
    fn parameters() {
        let list = "W3sidHlwZSI6ImIifV0=";
        assert_eq!(taken(Payload::Form(list)), batch(&[r#"{"type":"b"}"#]));
        assert_eq!(taken(Payload::Form("[{},{}]")), batch(&["{}", "{}"]));
        assert_eq!(taken(Payload::Form("e30=")), Ok((false, vec!["{}".to_owned()])));
        assert_eq!(taken(Payload::Form("")), Err(Code::MissingData));
        assert_eq!(taken(Payload::Form("[]")), Err(Code::MissingData));
        // In the query it is one object, whatever it looks like.
        let alone = Ok((false, vec![r#"[{"type":"b"}]"#.to_owned()]));
        assert_eq!(taken(Payload::Query(list)), alone);
        assert_eq!(taken(Payload::Query("[{}]")), Err(Code::InvalidBase64));
        assert_eq!(taken(Payload::Query("")), Err(Code::MissingData));
    }

    #[test]
    fn a_thousand_and_one_more() {
        for (count, expected) in [(1_000, None), (1_001, Some(Code::PayloadTooLarge))] {
            let list = format!("[{}]", vec!["{}"; count].join(","));
            let lines = "{}\n".repeat(count);
            for payload in [
                Payload::Json(list.as_bytes()),
                Payload::Form(&list),
                Payload::Lines(lines.as_bytes()),
            ] {
                assert_eq!(taken(payload).err(), expected);
            }
        }
        // It isn't looked at further, nor are its brackets kept in mind.
        let many = vec![b'['; 5_000_000];
        assert_eq!(taken(Payload::Json(&many)).err(), Some(Code::InvalidJson));
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(serde_json::Value::from),
            ".{0,8}".prop_map(serde_json::Value::from),
            r#"[\[\]{},"\\]{0,8}"#.prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::vec(("[^\u{0}]{0,4}", inner), 0..4)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn each_value_of_a_list_comes_back(
            values in proptest::collection::vec(value(), 1..6),
            space in "[ \t\r\n]{0,3}",
        ) {
            let texts: Vec<String> = values.iter().map(|value| value.to_string()).collect();
            let list = format!("{space}[{space}{}{space}]{space}", texts.join(&format!("{space},{space}")));
            prop_assert_eq!(taken(Payload::Json(list.as_bytes())), Ok((true, texts)));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, near in r#"[\[\]{},"\\ a]*"#) {
            let near = format!("[{near}");
            for bytes in [bytes.as_slice(), near.as_bytes()] {
                let _ = (taken(Payload::Json(bytes)), taken(Payload::Lines(bytes)));
            }
            let _ = (taken(Payload::Form(&near)), taken(Payload::Query(&near)));
        }
    }
}
