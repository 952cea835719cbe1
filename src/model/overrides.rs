//! The data types that a person has set: for each kind, for each attribute.
//!
//! Promises at most one type for a kind and an attribute. Must not know values, nor convert any.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::DataType;
use super::limits::{OVERRIDE_ATTRIBUTE_BYTES_MAX, TYPE_BYTES_MAX};

/// What attributes are of: users, or the events of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `user`.
    User,
    /// `event:TYPE`.
    Event(String),
}

/// A text that is no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a kind: it should be `user`, or `event:` and an event's type of at most {TYPE_BYTES_MAX} bytes"
)]
pub struct UnknownKind(pub String);

const USER: &str = "user";
const EVENT: &str = "event:";

impl Kind {
    /// The type of the events, or none for users.
    #[must_use]
    pub fn events(&self) -> Option<&str> {
        match self {
            Kind::User => None,
            Kind::Event(of) => Some(of),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::User => f.write_str(USER),
            Kind::Event(of) => write!(f, "{EVENT}{of}"),
        }
    }
}

/// Reads what [`Display`](fmt::Display) shows.
impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        let of = text.strip_prefix(EVENT);
        match of.filter(|of| (1..=TYPE_BYTES_MAX).contains(&of.len())) {
            Some(of) => Ok(Kind::Event(of.to_owned())),
            None if text == USER => Ok(Kind::User),
            None => Err(UnknownKind(text.to_owned())),
        }
    }
}

/// The name of an attribute for which a type may be set: of at most [`OVERRIDE_ATTRIBUTE_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeName(Box<str>);

/// A name that is too long for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an attribute that is given a type has at most {OVERRIDE_ATTRIBUTE_BYTES_MAX} bytes, this one has {0}"
)]
pub struct AttributeNameTooLong(pub usize);

impl AttributeName {
    /// Checks a name.
    ///
    /// # Errors
    /// It is too long.
    pub fn new(name: &str) -> Result<AttributeName, AttributeNameTooLong> {
        let fits = name.len() <= OVERRIDE_ATTRIBUTE_BYTES_MAX;
        fits.then(|| AttributeName(name.into())).ok_or(AttributeNameTooLong(name.len()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The types that were set for attributes of one kind. An attribute within an object is named by the
/// names of its levels with dots between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfKind(BTreeMap<String, DataType>);

/// No type is set.
pub static NONE: OfKind = OfKind(BTreeMap::new());

impl OfKind {
    /// The type that was set for an attribute.
    #[must_use]
    pub fn get(&self, attribute: &str) -> Option<DataType> {
        self.0.get(attribute).copied()
    }

    /// The same, with the attribute's name.
    #[must_use]
    pub fn entry(&self, attribute: &str) -> Option<(&str, DataType)> {
        let (attribute, data_type) = self.0.get_key_value(attribute)?;
        Some((attribute, *data_type))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by the attribute's name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, DataType)> {
        self.0.iter().map(|(attribute, data_type)| (attribute.as_str(), *data_type))
    }
}

impl<A: Into<String>> FromIterator<(A, DataType)> for OfKind {
    fn from_iter<I: IntoIterator<Item = (A, DataType)>>(all: I) -> OfKind {
        OfKind(
            all.into_iter().map(|(attribute, data_type)| (attribute.into(), data_type)).collect(),
        )
    }
}

/// All types that were set for one account. Few (see [`super::limits::OVERRIDES_MAX`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    users: OfKind,
    /// By the events' type; none of them is empty.
    events: BTreeMap<String, OfKind>,
}

impl Overrides {
    /// Sets a type for an attribute, or takes it back. Returns what was set before.
    pub fn set(
        &mut self,
        kind: &Kind,
        attribute: &str,
        data_type: Option<DataType>,
    ) -> Option<DataType> {
        let of_kind = match kind {
            Kind::User => &mut self.users,
            Kind::Event(of) => self.events.entry(of.clone()).or_default(),
        };
        let before = match data_type {
            Some(data_type) => of_kind.0.insert(attribute.to_owned(), data_type),
            None => of_kind.0.remove(attribute),
        };
        self.events.retain(|_, of_kind| !of_kind.is_empty());
        before
    }

    /// The type that was set for an attribute of a kind.
    #[must_use]
    pub fn get(&self, kind: &Kind, attribute: &str) -> Option<DataType> {
        self.of(kind).get(attribute)
    }

    /// Sets what a record says: `events` is the type of the events, or none for users.
    pub fn set_of(&mut self, events: Option<&str>, attribute: &str, data_type: Option<DataType>) {
        let kind = events.map_or(Kind::User, |of| Kind::Event(of.to_owned()));
        self.set(&kind, attribute, data_type);
    }

    /// Those of a kind.
    #[must_use]
    pub fn of(&self, kind: &Kind) -> &OfKind {
        match kind {
            Kind::User => self.of_users(),
            Kind::Event(of) => self.of_events(of),
        }
    }

    /// Those of users.
    #[must_use]
    pub fn of_users(&self) -> &OfKind {
        &self.users
    }

    /// Those of the events of one type.
    #[must_use]
    pub fn of_events(&self, of: &str) -> &OfKind {
        self.events.get(of).unwrap_or(&NONE)
    }

    /// All of them: users' first, then by the events' type, each by the attribute's name.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, DataType)> {
        let users = self.users.iter().map(|(attribute, to)| (Kind::User, attribute, to));
        let events = self.events.iter().flat_map(|(of, of_kind)| {
            of_kind.iter().map(|(attribute, to)| (Kind::Event(of.clone()), attribute, to))
        });
        users.chain(events)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.0.len() + self.events.values().map(|of_kind| of_kind.0.len()).sum::<usize>()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let event = |of: &str| Kind::Event(of.to_owned());
        let long = format!("event:{}", "x".repeat(TYPE_BYTES_MAX));
        for (text, kind) in [
            ("user", Kind::User),
            ("event:view", event("view")),
            ("event:event:a b", event("event:a b")),
            (&long, event(&long[6..])),
        ] {
            assert_eq!(text.parse(), Ok(kind.clone()));
            assert_eq!(kind.to_string(), text);
        }
        for text in ["", "User", "users", "event", "event:", " user", &format!("{long}x")] {
            assert_eq!(text.parse::<Kind>(), Err(UnknownKind(text.to_owned())));
        }
    }

    #[test]
    fn names_are_bounded() {
        let name = "x".repeat(OVERRIDE_ATTRIBUTE_BYTES_MAX);
        assert_eq!(AttributeName::new(&name).map(|name| name.as_str().len()), Ok(name.len()));
        let long = format!("{name}x");
        assert_eq!(AttributeName::new(&long), Err(AttributeNameTooLong(long.len())));
    }

    #[test]
    fn the_last_that_was_set_holds() {
        let (view, plan) = (Kind::Event("view".to_owned()), "plan");
        let mut overrides = Overrides::default();
        assert_eq!(overrides.set(&view, plan, Some(DataType::Date)), None);
        assert_eq!(overrides.set(&view, plan, Some(DataType::Number)), Some(DataType::Date));
        assert_eq!(overrides.set(&Kind::User, "a.b", Some(DataType::List)), None);
        assert_eq!(overrides.get(&view, plan), Some(DataType::Number));
        assert_eq!(overrides.get(&Kind::User, plan), None);
        assert_eq!(overrides.of_events("view").get(plan), Some(DataType::Number));
        assert!(overrides.of_events("buy").is_empty());
        let all: Vec<_> = overrides.iter().collect();
        let (list, number) = (DataType::List, DataType::Number);
        assert_eq!(all, [(Kind::User, "a.b", list), (view.clone(), plan, number)]);
        assert_eq!(overrides.len(), 2);
        assert_eq!(overrides.set(&view, plan, None), Some(number));
        assert_eq!(overrides.set(&view, plan, None), None);
        overrides.set(&Kind::User, "a.b", None);
        assert_eq!(overrides, Overrides::default());
    }
}
