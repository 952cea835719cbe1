//! From one call's data to drafts for the log.

use serde_json::Value;

use super::payload::{Payload, Texts};
use super::plain::Members;
use super::reject::excerpt;
use super::text;
use super::{Code, Reject};
use crate::model::erasure::Digest;
use crate::model::id::IdError;
use crate::model::json::{self, JsonError};
use crate::model::limits::{
    ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX, DEPTH_MAX, OBJECT_BYTES_MAX, TYPE_BYTES_MAX,
};
use crate::model::record::Event;
use crate::model::user::UserLimit;
use crate::model::{AccountId, Date, Id, Object, Via};
use crate::store::{self, Done, Draft, Receipt, Refusal, Writer};

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something happened.
    Event,
    /// A user is described.
    User,
}

/// A call as it came in, its sender known.
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Whose it is.
    pub account: AccountId,
    /// How it came.
    pub via: Via,
    /// When it came.
    pub received_at: Date,
    /// What it brought.
    pub payload: Payload<'a>,
    /// Of calls of one account with the same key, one is stored.
    pub idempotency_key: Option<Digest>,
    /// What is known of the browser that made it, as compact JSON text.
    pub context: Option<String>,
}

impl<'a> Submission<'a> {
    /// Decodes Base64, and finds where each object begins and ends.
    ///
    /// # Errors
    /// [`Reject`]: `missing_data`, `invalid_base64`, `invalid_json` or `payload_too_large`.
    pub fn decode(self) -> Result<RawBatch<'a>, Reject> {
        let Submission { kind, account, via, received_at, payload, idempotency_key, context } =
            self;
        let sender = Sender { account, via, received_at, context };
        Ok(RawBatch { kind, sender, idempotency_key, texts: payload.texts()? })
    }
}

/// What every record of a call says of it.
#[derive(Clone, Debug)]
struct Sender {
    account: AccountId,
    via: Via,
    received_at: Date,
    context: Option<String>,
}

impl From<JsonError> for Reject {
    fn from(error: JsonError) -> Reject {
        let code = match error {
            JsonError::Syntax { .. } => Code::InvalidJson,
            JsonError::NotAnObject { .. } => Code::NotAnObject,
            JsonError::TooDeep { .. } => Code::TooDeep,
        };
        Reject::new(code, error.to_string())
    }
}

/// The texts of objects, not yet read.
#[derive(Debug)]
pub struct RawBatch<'a> {
    kind: Kind,
    sender: Sender,
    idempotency_key: Option<Digest>,
    texts: Texts<'a>,
}

impl RawBatch<'_> {
    /// Reads each object and checks every field of it. They are read one by one and not kept, since an
    /// object in memory takes many times the room of its text; most events need none.
    ///
    /// # Errors
    /// [`Reject`] for the first that is wrong, with its index in a batch.
    pub fn validate(self) -> Result<Batch, Reject> {
        let RawBatch { kind, sender, idempotency_key, texts } = self;
        let numbered = texts.is_batch();
        let check = |text: &[u8]| -> Result<Draft, Reject> {
            if kind == Kind::Event
                && let Some(draft) = plain_event(&sender, text)
            {
                return Ok(draft);
            }
            let object = object(text, texts.subject())?;
            match kind {
                Kind::User => user(&sender, object),
                Kind::Event => event(&sender, object),
            }
        };
        let check = |(index, text)| {
            check(text).map_err(|reject| if numbered { reject.at(index) } else { reject })
        };
        let drafts = texts.iter().enumerate().map(check).collect::<Result<Vec<_>, _>>()?;
        Ok(Batch { drafts, numbered, idempotency_key })
    }
}

/// Reads one object.
fn object(text: &[u8], subject: &str) -> Result<Object, Reject> {
    if text.len() > OBJECT_BYTES_MAX {
        return Err(Reject::new(
            Code::PayloadTooLarge,
            format!("the object has {} bytes, at most {OBJECT_BYTES_MAX} are taken", text.len()),
        ));
    }
    let text = text::mend(text.to_vec())
        .map_err(|error| Reject::new(Code::InvalidJson, format!("{subject}: {error}")))?;
    Ok(json::parse_object(&text, DEPTH_MAX)?)
}

/// A batch that may be stored.
pub struct Batch {
    drafts: Vec<Draft>,
    numbered: bool,
    idempotency_key: Option<Digest>,
}

impl Batch {
    /// Whether it came as a list or as lines, be it of one object.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// How many objects it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// What it is to be stored as.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn drafts(&self) -> &[Draft] {
        &self.drafts
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Hands it to the writer, which stores all of it or nothing; with a key, once (see
    /// [`store::Submission::once`]). `done` is called exactly once,
    /// from whichever thread knows the outcome.
    pub fn submit(
        self,
        writer: &Writer,
        done: impl FnOnce(Result<Receipt, Reject>) + Send + 'static,
    ) {
        let Batch { drafts, numbered, idempotency_key } = self;
        let reject = move |refusal| {
            let reject = Reject::from(refusal);
            Reject { index: reject.index.filter(|_| numbered), ..reject }
        };
        let submission = match idempotency_key {
            Some(key) => store::Submission::once(drafts, key),
            None => drafts.into(),
        };
        writer.submit(submission, Done::new(move |outcome| done(outcome.map_err(reject))));
    }
}

fn limit_code(limit: UserLimit) -> Code {
    match limit {
        UserLimit::Attributes(_) => Code::TooManyAttributes,
        UserLimit::Bytes(_) => Code::PayloadTooLarge,
    }
}

impl From<UserLimit> for Reject {
    fn from(limit: UserLimit) -> Reject {
        Reject::new(limit_code(limit), limit.to_string())
    }
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Reject {
        let code = match &refusal {
            Refusal::Overloaded => Code::Overloaded,
            Refusal::ShuttingDown => Code::ShuttingDown,
            Refusal::NoQuorum(_) => Code::NoQuorum,
            Refusal::Full { .. } => Code::StorageFull,
            Refusal::Failed(_) | Refusal::Unreadable(_) => Code::StorageFailed,
            Refusal::User { limit, .. } => limit_code(*limit),
            // No tracking call touches accounts or people.
            Refusal::NameTaken(_)
            | Refusal::NoAccount
            | Refusal::Person(_)
            | Refusal::TooManyAccounts
            | Refusal::TooManyTypes => Code::Internal,
        };
        let index = match refusal {
            Refusal::User { index, .. } => Some(index),
            _ => None,
        };
        // Callers learn that the disk failed, its owner learns how.
        let detail = match &refusal {
            Refusal::Failed(_) => {
                "the server can't write to its disk; its owner has to look".into()
            }
            Refusal::Full { .. } => {
                "the server's disk is full; it takes more when its owner has made room".into()
            }
            Refusal::NoQuorum(_) => {
                "the servers that keep the log together don't agree at the moment; try again soon"
                    .into()
            }
            other => other.to_string(),
        };
        Reject { index, ..Reject::new(code, detail) }
    }
}

fn user(sender: &Sender, mut object: Object) -> Result<Draft, Reject> {
    let id = user_id(&mut object)?;
    check_attributes(&object)?;
    let Sender { account, via, received_at, context } = sender;
    Ok(Draft::user(*account, *via, &id, &object, context.as_deref(), *received_at))
}

fn event(sender: &Sender, mut object: Object) -> Result<Draft, Reject> {
    let Sender { account, via, received_at, context } = sender;
    let special = Special::take(&mut object, *received_at)?;
    special.draft(*account, *via, *received_at, &object, context.as_deref())
}

/// The event that a plain text is, if nothing is wrong with it.
fn plain_event(sender: &Sender, text: &[u8]) -> Option<Draft> {
    let Sender { account, via, received_at, context } = sender;
    let members = Members::of(text)?;
    let special = Special::of_plain(&members, *received_at)?;
    let attributes = members.text_without(&Special::KEYS);
    Some(special.event(*account, *via, *received_at, &attributes, context.as_deref()))
}

/// Takes a user's `id` out of an object.
pub(super) fn user_id(object: &mut Object) -> Result<Id, Reject> {
    match object.shift_remove("id").unwrap_or_default() {
        Value::Null => Err(Reject::new(
            Code::MissingId,
            "a user needs an `id`: a String of 1 to 255 bytes, or an integer Number",
        )),
        value => id(&value, "id", Code::InvalidId),
    }
}

/// What an event has beside its attributes. `null` is none, as clients send it for what they lack.
pub(super) struct Special {
    kind: String,
    user_id: Option<Id>,
    date: Date,
}

impl Special {
    /// Where it is.
    pub(super) const KEYS: [&str; 3] = ["type", "user_id", "date"];

    /// Takes it out of an object; without a date, the event happened when it came.
    pub(super) fn take(object: &mut Object, received_at: Date) -> Result<Special, Reject> {
        let mut take = |name| object.shift_remove(name).unwrap_or_default();
        let [kind, user_id, happened] = Special::KEYS.map(&mut take);
        Special::of(kind, user_id, happened, received_at)
    }

    /// That of a plain object, if nothing is wrong with it.
    pub(super) fn of_plain(members: &Members<'_>, received_at: Date) -> Option<Special> {
        let [kind, user_id, happened] = Special::KEYS.map(|key| members.value(key));
        Special::of(kind, user_id, happened, received_at).ok()
    }

    /// Of these values.
    pub(super) fn of(
        kind: Value,
        user_id: Value,
        happened: Value,
        received_at: Date,
    ) -> Result<Special, Reject> {
        let kind = match kind {
            Value::Null => {
                return Err(Reject::new(
                    Code::MissingType,
                    "an event needs a `type`: a String of 1 to 255 bytes",
                ));
            }
            Value::String(kind) if (1..=TYPE_BYTES_MAX).contains(&kind.len()) => kind,
            Value::String(kind) => {
                return Err(Reject::new(
                    Code::InvalidType,
                    format!("`type` has {} bytes; it takes 1 to {TYPE_BYTES_MAX}", kind.len()),
                ));
            }
            other => {
                return Err(Reject::new(
                    Code::InvalidType,
                    format!("`type` is {}; it takes a String", excerpt(&other.to_string())),
                ));
            }
        };
        let user_id = match user_id {
            Value::Null => None,
            value => Some(id(&value, "user_id", Code::InvalidUserId)?),
        };
        let date = match happened {
            Value::Null => received_at,
            value => date(&value, "date")?,
        };
        Ok(Special { kind, user_id, date })
    }

    /// The event with these attributes, which are checked.
    pub(super) fn draft(
        &self,
        account: AccountId,
        via: Via,
        received_at: Date,
        attributes: &Object,
        context: Option<&str>,
    ) -> Result<Draft, Reject> {
        check_attributes(attributes)?;
        Ok(self.event(account, via, received_at, &json::to_text(attributes), context))
    }

    /// The event with these, which were checked.
    pub(super) fn event(
        &self,
        account: AccountId,
        via: Via,
        received_at: Date,
        attributes: &str,
        context: Option<&str>,
    ) -> Draft {
        let event = Event {
            account,
            via,
            kind: &self.kind,
            user_id: self.user_id.as_ref().map(Id::as_str),
            date: self.date,
            attributes,
            context,
        };
        Draft::event(event, received_at)
    }
}

fn id(value: &Value, field: &str, code: Code) -> Result<Id, Reject> {
    Id::from_value(value).map_err(|error: IdError| Reject::new(code, format!("`{field}`: {error}")))
}

/// What the field `field` says, as a date.
pub(super) fn date(value: &Value, field: &str) -> Result<Date, Reject> {
    value.as_str().and_then(Date::parse).ok_or_else(|| {
        Reject::new(
            Code::InvalidDate,
            format!(
                "`{field}` is {}; it takes a String as in RFC 2822, ISO 8601 with an offset, \
                 yyyy-MM-dd or yyyy/MM/dd",
                excerpt(&value.to_string())
            ),
        )
    })
}

pub(super) fn check_attributes(object: &Object) -> Result<(), Reject> {
    if object.len() > ATTRIBUTES_MAX {
        return Err(Reject::new(
            Code::TooManyAttributes,
            format!(
                "the object has {} attributes, at most {ATTRIBUTES_MAX} are taken",
                object.len()
            ),
        ));
    }
    check_names(object)
}

/// Recursion is bounded by [`DEPTH_MAX`], which the parser has enforced.
fn check_names(object: &Object) -> Result<(), Reject> {
    object.iter().try_for_each(|(name, value)| {
        if name.len() > ATTRIBUTE_NAME_BYTES_MAX {
            return Err(Reject::new(
                Code::AttributeNameTooLong,
                format!(
                    "the attribute name {} has {} bytes, at most {ATTRIBUTE_NAME_BYTES_MAX} are taken",
                    excerpt(name),
                    name.len()
                ),
            ));
        }
        check_value(value)
    })
}

fn check_value(value: &Value) -> Result<(), Reject> {
    match value {
        Value::Object(object) => check_names(object),
        Value::Array(values) => values.iter().try_for_each(check_value),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fuzzing::stored;

    #[test]
    fn a_plain_event_is_what_the_parser_makes_of_it() {
        let received_at = Date::from_millis(1_700_000_000_000);
        let context = Some(r#"{"page":"https://cafe.example/"}"#.to_owned());
        let sender = Sender { account: AccountId(7), via: Via::Public, received_at, context };
        for text in [
            r#"{"type":"a"}"#,
            r#"{ "type": "a", "n": 1.50, "user_id": "u", "date": "2024-02-29" }"#,
            r#"{"x":{"type":"b"},"date":"2024-01-01T00:00:00Z","type":"a","y":[1,"é"],"user_id":-0}"#,
            r#"{"type":"a","user_id":null,"date":null,"id":"u"}"#,
        ] {
            let plain = plain_event(&sender, text.as_bytes()).expect("it is plain");
            let parsed = event(&sender, object(text.as_bytes(), "it").expect("an object"));
            assert_eq!(stored(&plain), stored(&parsed.expect("an event")), "{text}");
        }
        // What is wrong with it, the parser's way tells.
        for text in [
            "{}",
            r#"{"type":""}"#,
            r#"{"type":1}"#,
            r#"{"type":{"a":1}}"#,
            r#"{"type":"a","user_id":1.5}"#,
            r#"{"type":"a","user_id":true}"#,
            r#"{"type":"a","date":"yesterday"}"#,
        ] {
            assert!(plain_event(&sender, text.as_bytes()).is_none(), "{text}");
            let parsed = event(&sender, object(text.as_bytes(), "it").expect("an object"));
            assert!(parsed.is_err(), "{text}");
        }
    }
}
