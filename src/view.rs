//! How users and events look as JSON, wherever they are shown.

use std::fmt;

use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::json::{self, DEPTH_CEILING, JsonError};
use crate::model::record::Event;
use crate::model::{Date, Object, Record, Seq, User};
use crate::schema::{self, OfKind, Zone};

/// An event as it is shown.
#[derive(serde::Serialize)]
pub struct EventView<'a> {
    seq: Seq,
    r#type: &'a str,
    user_id: Option<&'a str>,
    date: ShownIn,
    received_at: ShownIn,
    #[serde(serialize_with = "as_json")]
    attributes: &'a str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json_if_any")]
    context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'static str>,
}

impl<'a> EventView<'a> {
    /// An event of the log. It can't be written if its attributes aren't JSON, which only damage can
    /// bring about.
    #[must_use]
    pub fn new(seq: Seq, record: &Record<'a>, event: &Event<'a>) -> EventView<'a> {
        EventView {
            seq,
            r#type: event.kind,
            user_id: event.user_id,
            date: ShownIn(event.date, Zone::UTC),
            received_at: ShownIn(record.received_at, Zone::UTC),
            attributes: event.attributes,
            context: event.context,
            via: None,
        }
    }

    /// The same, with its dates in a zone.
    #[must_use]
    pub fn with_zone(self, zone: Zone) -> EventView<'a> {
        let (date, received_at) = (self.date.within(zone), self.received_at.within(zone));
        EventView { date, received_at, ..self }
    }

    /// The same, saying how it came: for exports.
    #[must_use]
    pub fn with_via(self, event: &Event<'_>) -> EventView<'a> {
        EventView { via: Some(event.via.name()), ..self }
    }
}

/// Text that is JSON already.
fn as_json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let json: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
    json.serialize(serializer)
}

fn as_json_if_any<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => as_json(text, serializer),
        None => serializer.serialize_none(),
    }
}

/// A user as it is shown.
#[derive(serde::Serialize)]
pub struct UserView<'a> {
    id: &'a str,
    email: Option<&'a Value>,
    attributes: WithoutEmail<'a>,
    created_at: ShownIn,
    updated_at: ShownIn,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_count: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    not_converted: u64,
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
}

/// Whether a number needn't be shown.
pub fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> UserView<'a> {
    /// A user of the state.
    #[must_use]
    pub fn new(id: &'a str, user: &'a User) -> UserView<'a> {
        UserView {
            id,
            email: user.attributes.get(EMAIL),
            attributes: WithoutEmail(&user.attributes),
            created_at: ShownIn(user.created_at, Zone::UTC),
            updated_at: ShownIn(user.updated_at, Zone::UTC),
            event_count: None,
            not_converted: 0,
            missing: 0,
        }
    }

    /// The same, with its dates in a zone.
    #[must_use]
    pub fn with_zone(self, zone: Zone) -> UserView<'a> {
        let (created_at, updated_at) = (self.created_at.within(zone), self.updated_at.within(zone));
        UserView { created_at, updated_at, ..self }
    }

    /// The same, with the number of events that name the user.
    #[must_use]
    pub fn with_event_count(self, count: u64) -> UserView<'a> {
        UserView { event_count: Some(count), ..self }
    }

    /// The same, with how many values are as they were sent, though another type is set.
    #[must_use]
    pub fn with_not_converted(self, not_converted: u64) -> UserView<'a> {
        UserView { not_converted, ..self }
    }

    /// The same, with how many records could not be looked at to count its events.
    #[must_use]
    pub fn with_missing(self, missing: u64) -> UserView<'a> {
        UserView { missing, ..self }
    }
}

/// The attribute that has a place of its own in a user.
pub const EMAIL: &str = "email";

/// A user's attributes but for that one.
pub struct WithoutEmail<'a>(pub &'a Object);

impl Serialize for WithoutEmail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter().filter(|(name, _)| *name != EMAIL) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A date as it goes out: RFC 3339 in UTC with milliseconds.
#[derive(Debug)]
pub struct Shown(pub Date);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        self.0.write_to(&mut text);
        serializer.serialize_str(&text)
    }
}

/// The same as its zone's clocks show it, with their offset from UTC; as [`Shown`] where that is UTC.
#[derive(Clone, Copy, Debug)]
pub struct ShownIn(pub Date, pub Zone);

impl ShownIn {
    fn within(self, zone: Zone) -> ShownIn {
        ShownIn(self.0, zone)
    }
}

impl fmt::Display for ShownIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShownIn(date, zone) = *self;
        f.pad(&zone.show(date))
    }
}

impl Serialize for ShownIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A user as the types that are set have it: values that don't convert stay as they are. Says how many don't.
///
/// # Errors
/// If what was converted can't be read again, which only damage brings about.
pub fn converted(user: User, set: &OfKind, zone: &Zone) -> Result<(User, u64), JsonError> {
    if set.is_empty() {
        return Ok((user, 0));
    }
    let text = json::to_text(&user.attributes);
    let shown = schema::shown(&text, set, zone);
    // An object that a text holds may lie deeper than one that was sent.
    let attributes = json::parse_object(&shown.text, DEPTH_CEILING)?;
    Ok((User { attributes, ..user }, shown.not_converted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountId, Change, Via, json};

    #[test]
    fn what_was_sent_goes_out_as_it_was() {
        let event = Event {
            account: AccountId(1),
            via: Via::Public,
            kind: "a \"b\"",
            user_id: None,
            date: Date::from_millis(1),
            attributes: r#"{"z":1E5,"a":1.0,"s":"😀","$serde_json::private::Number":"1"}"#,
            context: None,
        };
        let record =
            Record { received_at: Date::from_millis(0), change: Change::Event(event), keyed: None };
        let view = EventView::new(7, &record, &event).with_via(&event);
        assert_eq!(
            serde_json::to_string(&view).expect("it can be written"),
            r#"{"seq":7,"type":"a \"b\"","user_id":null,"date":"1970-01-01T00:00:00.001Z","#
                .to_owned()
                + r#""received_at":"1970-01-01T00:00:00.000Z","attributes":"#
                + event.attributes
                + r#","via":"public"}"#
        );
        let told = Event { context: Some(r#"{"page":"p","bot":true}"#), ..event };
        let shown = serde_json::to_string(&EventView::new(7, &record, &told)).expect("written");
        let end = event.attributes.to_owned() + r#","context":{"page":"p","bot":true}}"#;
        assert!(shown.ends_with(&end), "{shown}");

        let mut user = User::new(Date::from_millis(0));
        let text = r#"{"big":1234567890123456789012345678901234567890,"email":"a@b.c","e":{"x":1E5,"email":1}}"#;
        user.attributes = json::parse_object(text, 9).expect("JSON");
        assert_eq!(
            serde_json::to_string(&UserView::new("u", &user).with_event_count(2)).expect("written"),
            r#"{"id":"u","email":"a@b.c","attributes":{"big":1234567890123456789012345678901234567890,"#
                .to_owned()
                + r#""e":{"x":1E5,"email":1}},"created_at":"1970-01-01T00:00:00.000Z","#
                + r#""updated_at":"1970-01-01T00:00:00.000Z","event_count":2}"#
        );
    }
}
