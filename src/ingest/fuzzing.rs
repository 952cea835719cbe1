//! What any text of a client has to keep to, before and after it is taken for JSON.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Payload;
use super::plain::Members;
use super::text::{decode_base64, decode_param, mend};
use crate::model::json::{self, JsonError};
use crate::model::limits::{BATCH_OBJECTS_MAX, DEPTH_MAX};

/// Levels that both parsers read.
const DEPTH_BOTH_MAX: usize = 100;

/// Mending is done once, Base64 is what it was before, and JSON is what another parser reads too.
pub(crate) fn text(bytes: &[u8]) {
    for encoded in [STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)] {
        assert_eq!(decode_base64(encoded.as_bytes()).as_deref(), Ok(bytes));
        // A literal `+` has other readings, and may be a better one.
        if !encoded.contains('+') {
            assert_eq!(decode_param(&encoded, b"{").as_deref(), Ok(bytes));
        }
    }
    let Ok(text) = mend(bytes.to_vec()) else { return };
    if !text.starts_with('\u{feff}') {
        assert_eq!(mend(text.clone().into_bytes()).as_deref(), Ok(text.as_str()));
    }
    if let Some(members) = Members::of(bytes) {
        let parsed = json::parse_object(&text, DEPTH_MAX).map(|object| json::to_text(&object));
        assert_eq!(Ok(members.text_without(&[])), parsed);
    }
    let ours = json::parse_object(&text, DEPTH_BOTH_MAX);
    // It takes objects with keys of its own for something else.
    if text.contains("$serde_json") {
        return;
    }
    match (ours, serde_json::from_str::<Value>(&text)) {
        (Ok(ours), Ok(theirs)) => {
            assert!(is_same(&Value::Object(ours.clone()), &theirs), "{text}");
            let written = json::to_text(&ours);
            assert!(written.len() <= text.len(), "{written} is longer than {text}");
            assert_eq!(json::parse_object(&written, DEPTH_BOTH_MAX), Ok(ours));
        }
        (Err(JsonError::Syntax { .. }), Ok(_)) => panic!("only the other reads {text}"),
        (Ok(_) | Err(JsonError::NotAnObject { .. }), Err(error)) => {
            panic!("the other doesn't read {text}: {error}");
        }
        _ => {}
    }
    if let Ok(object) = json::parse_object(&text, DEPTH_MAX) {
        assert_eq!(json::parse_object(&text, DEPTH_BOTH_MAX), Ok(object));
    }
}

/// A list of objects is taken apart as another parser does.
pub(crate) fn list(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let ours = Payload::Json(bytes).texts();
    let whole = text.trim_matches([' ', '\t', '\n', '\r']);
    let theirs = serde_json::from_str::<Vec<&RawValue>>(whole);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if whole.starts_with('[') => {
            assert!(
                ours.is_batch() && ours.iter().eq(theirs.iter().map(|raw| raw.get().as_bytes()))
            );
        }
        (Err(reject), Ok(theirs)) => {
            let is_possible = theirs.is_empty() || theirs.len() > BATCH_OBJECTS_MAX;
            assert!(is_possible, "only the other reads {whole}: {reject}");
        }
        _ => {}
    }
}

/// Numbers are the same if only their exponents are written in another way.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => {
            let plain = |text: &str| text.replace('+', "").replace('E', "e");
            plain(ours.as_str()) == plain(theirs.as_str())
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|((a, b), (c, d))| a == c && is_same(b, d))
        }
        (ours, theirs) => ours == theirs,
    }
}
