//! From the lines of a file to drafts for the log.
//!
//! A line is one of two things: what an export wrote, to be kept as it was, or an object as a call
//! would send it, received now. Each is checked as a call is. What is wrong with one line is no
//! reason to refuse another.

use crossbeam_channel::{Receiver, bounded};
use serde_json::Value;

use super::plain::Members;
use super::submission::{Special, check_attributes, date, user_id};
use super::text;
use super::{Code, Kind, Reject};
use crate::model::json::{self, JsonError};
use crate::model::limits::{CONTEXT_BYTES_MAX, DEPTH_MAX, OBJECT_BYTES_MAX};
use crate::model::record::Progress;
use crate::model::{AccountId, Date, Object, Via};
use crate::store::{Done, Draft, Outcome, Writer};

/// Bytes of a line: the largest object and context, and what an export writes beside them.
pub const LINE_BYTES_MAX: usize = OBJECT_BYTES_MAX + CONTEXT_BYTES_MAX + 8 * 1024;

const ATTRIBUTES: &str = "attributes";
const EVENT_KEYS: [&str; 6] = ["seq", "type", "user_id", "date", "received_at", ATTRIBUTES];
/// What an exported event may have beside these.
const CONTEXT: &str = "context";
const VIA: &str = "via";
const EMAIL: &str = "email";
const USER_KEYS: [&str; 5] = ["id", EMAIL, ATTRIBUTES, "created_at", "updated_at"];

/// Some lines of a file.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// What they are about.
    pub kind: Kind,
    /// Whose they are to be.
    pub account: AccountId,
    /// Now.
    pub received_at: Date,
    /// The number of the first, from 1.
    pub first_line: u64,
    /// Lines, each with a line feed behind it.
    pub text: &'a [u8],
}

/// Lines that may be stored, and those that may not.
pub struct CheckedLines {
    account: AccountId,
    received_at: Date,
    drafts: Vec<Draft>,
    /// For each draft the line that it is from.
    lines: Vec<u64>,
    refused: Vec<(u64, Reject)>,
}

impl Lines<'_> {
    /// Checks each line but those already `refused`. Empty ones are neither stored nor refused.
    #[must_use]
    pub fn check(&self, refused: Vec<(u64, Reject)>) -> CheckedLines {
        let Lines { account, received_at, .. } = *self;
        let room = self.text.len() / 64;
        let mut checked = CheckedLines {
            account,
            received_at,
            drafts: Vec::with_capacity(room),
            lines: Vec::with_capacity(room),
            refused: Vec::new(),
        };
        let mut known = refused.into_iter().peekable();
        for (number, line) in (self.first_line..).zip(self.text.split(|byte| *byte == b'\n')) {
            if let Some(already) = known.next_if(|(refused, _)| *refused == number) {
                checked.refused.push(already);
            } else if let Err(reject) = self.line(line, &mut checked.drafts) {
                checked.refused.push((number, reject));
            }
            checked.lines.resize(checked.drafts.len(), number);
        }
        checked
    }

    fn line(&self, line: &[u8], drafts: &mut Vec<Draft>) -> Result<(), Reject> {
        let line = line.trim_ascii_end();
        if line.len() > LINE_BYTES_MAX {
            return Err(too_large("line", line.len(), LINE_BYTES_MAX));
        }
        if self.kind == Kind::Event
            && let Some(draft) = self.plain_event(line)
        {
            drafts.push(draft);
            return Ok(());
        }
        let text = text::mend(line.to_vec())
            .map_err(|error| Reject::new(Code::InvalidJson, error.to_string()))?;
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        let (object, too_deep) = match json::parse_object(&text, DEPTH_MAX) {
            Ok(object) => (object, None),
            // The attributes of an export lie one level down.
            Err(error @ JsonError::TooDeep { .. }) => {
                (json::parse_object(&text, DEPTH_MAX + 1)?, Some(error))
            }
            // There is one line of text, and the file has others.
            Err(JsonError::Syntax { column, what, .. }) => {
                let detail = format!("this is not JSON: at column {column}, {what}");
                return Err(Reject::new(Code::InvalidJson, detail));
            }
            Err(error) => return Err(error.into()),
        };
        let exported = match self.kind {
            Kind::Event => is_exported_event(&object),
            Kind::User => is_exported_user(&object),
        };
        match self.kind {
            _ if !exported && too_deep.is_some() => {
                Err(JsonError::TooDeep { depth_max: DEPTH_MAX }.into())
            }
            _ if !exported && text.len() > OBJECT_BYTES_MAX => {
                Err(too_large("object", text.len(), OBJECT_BYTES_MAX))
            }
            Kind::Event => self.event(object, exported, text.len(), drafts),
            Kind::User => self.user(object, exported, text.len(), drafts),
        }
    }

    /// The event that a plain line is, if nothing is wrong with it. What an export wrote is plain throughout.
    fn plain_event(&self, line: &[u8]) -> Option<Draft> {
        let (account, via) = (self.account, Via::Import);
        let members = Members::of(line)?;
        if !is_plain_export(&members) {
            let special = Special::of_plain(&members, self.received_at)?;
            let attributes = members.text_without(&Special::KEYS);
            return Some(special.event(account, via, self.received_at, &attributes, None));
        }
        let received_at = date(&members.value("received_at"), "received_at").ok()?;
        let context = members.get(CONTEXT);
        if context.is_some_and(|context| context.len() > CONTEXT_BYTES_MAX) {
            return None;
        }
        let special = Special::of_plain(&members, received_at)?;
        Some(special.event(account, via, received_at, members.get(ATTRIBUTES)?, context))
    }

    fn event(
        &self,
        mut object: Object,
        exported: bool,
        bytes: usize,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), Reject> {
        let (mut received_at, mut context) = (self.received_at, None);
        let special = if exported {
            // One pass, because this is what a large file is made of.
            let [mut kind, mut user_id, mut happened, mut received, mut attributes, mut told] =
                [const { Value::Null }; 6];
            for (key, value) in std::mem::take(&mut object) {
                match key.as_str() {
                    "type" => kind = value,
                    "user_id" => user_id = value,
                    "date" => happened = value,
                    "received_at" => received = value,
                    ATTRIBUTES => attributes = value,
                    CONTEXT => told = value,
                    _ => {}
                }
            }
            received_at = date(&received, "received_at")?;
            if let Value::Object(attributes) = attributes {
                object = attributes;
            }
            check_bytes(&object, bytes)?;
            if let Value::Object(told) = &told {
                let text = json::to_text(told);
                if text.len() > CONTEXT_BYTES_MAX {
                    return Err(too_large("context", text.len(), CONTEXT_BYTES_MAX));
                }
                context = Some(text);
            }
            Special::of(kind, user_id, happened, received_at)?
        } else {
            Special::take(&mut object, received_at)?
        };
        let context = context.as_deref();
        drafts.push(special.draft(self.account, Via::Import, received_at, &object, context)?);
        Ok(())
    }

    fn user(
        &self,
        mut object: Object,
        exported: bool,
        bytes: usize,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), Reject> {
        let id = user_id(&mut object)?;
        let (mut created_at, mut updated_at) = (self.received_at, self.received_at);
        if exported {
            created_at = taken_date(&mut object, "created_at")?;
            updated_at = taken_date(&mut object, "updated_at")?;
            let mut patch = Object::new();
            let email = object.shift_remove(EMAIL).filter(|email| !email.is_null());
            patch.extend(email.map(|email| (EMAIL.to_owned(), email)));
            if let Some(Value::Object(attributes)) = object.shift_remove(ATTRIBUTES) {
                patch.extend(attributes);
            }
            check_bytes(&patch, bytes)?;
            object = patch;
        }
        check_attributes(&object)?;
        // A user is as old as the first record, and was updated by the last.
        if created_at != updated_at {
            let nothing = Object::new();
            drafts.push(Draft::user(self.account, Via::Import, &id, &nothing, None, created_at));
        }
        drafts.push(Draft::user(self.account, Via::Import, &id, &object, None, updated_at));
        Ok(())
    }
}

impl CheckedLines {
    /// What they are to be stored as.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn drafts(&self) -> &[Draft] {
        &self.drafts
    }

    /// How many lines are to be stored.
    #[must_use]
    pub fn stored(&self) -> usize {
        // A line's drafts stand side by side.
        self.lines.chunk_by(|a, b| a == b).count()
    }

    /// Which lines are not, by number, and why.
    #[must_use]
    pub fn refused(&self) -> &[(u64, Reject)] {
        &self.refused
    }

    /// Hands the drafts to the writer, with how far the import has come by them: all or nothing.
    /// There is nothing left to be handed over then.
    #[must_use]
    pub fn submit(&mut self, writer: &Writer, progress: Progress) -> Receiver<Outcome> {
        let mut drafts = std::mem::take(&mut self.drafts);
        drafts.push(Draft::progress(self.account, progress, self.received_at));
        let (tell, told) = bounded(1);
        writer.submit(drafts, Done::new(move |outcome| drop(tell.send(outcome))));
        told
    }

    /// Which lines are not to be stored, for another [`Lines::check`] of the same lines.
    #[must_use]
    pub fn into_refused(self) -> Vec<(u64, Reject)> {
        self.refused
    }

    /// The same, and with them the line of a draft that the writer has refused.
    #[must_use]
    pub fn without(self, draft: usize, reject: Reject) -> Vec<(u64, Reject)> {
        let mut refused = self.refused;
        // Only a record of progress has no line, and nobody refuses that by number.
        if let Some(line) = self.lines.get(draft) {
            let place = refused.partition_point(|(number, _)| number < line);
            refused.insert(place, (*line, reject));
        }
        refused
    }
}

fn is_exported_event(object: &Object) -> bool {
    let context = object.get(CONTEXT);
    let others = usize::from(context.is_some()) + usize::from(object.contains_key(VIA));
    has(object, &EVENT_KEYS, others)
        && context.is_none_or(Value::is_object)
        && object.get("seq").is_some_and(Value::is_number)
}

/// The same of a plain line. Its values' first bytes tell what they are.
fn is_plain_export(members: &Members<'_>) -> bool {
    let is = |key, first: fn(u8) -> bool| {
        members.get(key).and_then(|text| text.bytes().next()).is_some_and(first)
    };
    let others = [CONTEXT, VIA].iter().filter(|key| members.get(key).is_some()).count();
    is("seq", |first| first == b'-' || first.is_ascii_digit())
        && members.len() == EVENT_KEYS.len() + others
        && EVENT_KEYS.iter().all(|key| members.get(key).is_some())
        && is(ATTRIBUTES, |first| first == b'{')
        && (members.get(CONTEXT).is_none() || is(CONTEXT, |first| first == b'{'))
}

fn is_exported_user(object: &Object) -> bool {
    has(object, &USER_KEYS, 0)
}

/// Whether an object has these keys and so many others, and its attributes apart.
fn has(object: &Object, keys: &[&str], others: usize) -> bool {
    // Keys are different from each other, so that counting is enough, and cheaper than looking up.
    object.len() == keys.len() + others
        && object.keys().filter(|key| keys.contains(&key.as_str())).count() == keys.len()
        && object.get(ATTRIBUTES).is_some_and(Value::is_object)
}

fn taken_date(object: &mut Object, field: &str) -> Result<Date, Reject> {
    date(&object.shift_remove(field).unwrap_or_default(), field)
}

/// `bytes` is what the text had that the object was read from; written, it has no more.
fn check_bytes(object: &Object, bytes: usize) -> Result<(), Reject> {
    if bytes <= OBJECT_BYTES_MAX {
        return Ok(());
    }
    match json::to_text(object).len() {
        ..=OBJECT_BYTES_MAX => Ok(()),
        bytes => Err(too_large("object", bytes, OBJECT_BYTES_MAX)),
    }
}

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Reject {
    let detail = format!("the {what} has {bytes} bytes, at most {bytes_max} are taken");
    Reject::new(Code::PayloadTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fuzzing::stored;

    /// Its records, or why there are none.
    fn taken<'c>(checked: &'c CheckedLines) -> (Vec<crate::model::Record<'c>>, Vec<(u64, Code)>) {
        let refused = checked.refused().iter().map(|(line, reject)| (*line, reject.code));
        (checked.drafts().iter().map(stored).collect(), refused.collect())
    }

    #[test]
    fn a_plain_line_is_what_the_parser_makes_of_it() {
        let export = r#"{"seq":1,"type":"a","user_id":null,"date":"2024-01-01T00:00:00Z","received_at":"2024-01-02T00:00:00Z","attributes":{"n":1.50,"x":{"y":[]}}}"#;
        let with = |from: &str, to: &str| export.replace(from, to);
        let long = "x".repeat(CONTEXT_BYTES_MAX);
        let cases = [
            (export.to_owned(), true),
            (with("}}}", r#"}},"context":{"page":"/"}}"#), true),
            (with("}}}", r#"}},"via":"secret","context":{}}"#), true),
            // No exports, but objects that a call could send.
            (with("\"seq\":1", r#""seq":"1""#), true),
            (with("\"seq\":1", r#""sequence":1"#), true),
            (with("}}}", r#"}},"context":"page"}"#), true),
            (with("}}}", r#"}},"other":1}"#), true),
            (with(r#"{"n":1.50,"x":{"y":[]}}"#, "[]"), true),
            (r#"{"type":"a","date":"2024-01-01","n":1}"#.to_owned(), true),
            // To be refused.
            (with("}}}", &format!(r#"}},"context":{{"page":"{long}"}}}}"#)), false),
            (with("\"2024-01-02T00:00:00Z\"", "null"), false),
            (with("\"type\":\"a\"", r#""type":null"#), false),
            (r#"{"n":1}"#.to_owned(), false),
        ];
        for (line, is_plain) in cases {
            // A byte order mark is dropped, and makes no line plain.
            let (text, marked) = (line.clone() + "\n", format!("\u{feff}{line}\n"));
            let lines = |text| Lines {
                kind: Kind::Event,
                account: AccountId(7),
                received_at: Date::from_millis(1_700_000_000_000),
                first_line: 1,
                text,
            };
            assert_eq!(lines(&[]).plain_event(line.as_bytes()).is_some(), is_plain, "{line}");
            assert!(lines(&[]).plain_event(marked.trim_end().as_bytes()).is_none());
            let (plain, parsed) = (lines(text.as_bytes()), lines(marked.as_bytes()));
            let (plain, parsed) = (plain.check(Vec::new()), parsed.check(Vec::new()));
            assert_eq!(taken(&plain), taken(&parsed), "{line}");
            assert_eq!(taken(&plain).1.is_empty(), is_plain, "{line}");
        }
    }
}
