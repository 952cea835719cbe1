//! The attributes that users and events were sent with, and their types: recognised, and set.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Failure, Stop, answers};
use crate::model::overrides::Kind;
use crate::model::{AccountId, DataType};
use crate::store::{AttributeCount, Store};
use crate::view::is_zero;

/// How many values were recognised as each type, in the order of [`DataType::ALL`].
type Values = [u64; DataType::ALL.len()];

/// An attribute, and its types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeType {
    /// `user`, or `event:` and a type.
    pub kind: String,
    /// Its name; one within an object has the object's name and a dot in front. None stands for all those of
    /// the kind that are too many, or whose names are too long, to be kept apart.
    pub attribute: Option<String>,
    /// How many values were sent.
    pub values: u64,
    /// How many of them are of which type, as sent.
    #[serde(serialize_with = "by_name")]
    pub recognised: BTreeMap<DataType, u64>,
    /// The one that holds: what is set, or else what most values are. None if there is neither.
    #[serde(serialize_with = "name")]
    pub r#type: Option<DataType>,
    /// The one that is set.
    #[serde(serialize_with = "name")]
    pub r#override: Option<DataType>,
}

/// All of an account's, users' first, then by the events' type, each by the attribute's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// One for each attribute that was sent or has a type set.
    pub types: Vec<AttributeType>,
    /// Records that no index has yet. They are counted all the same.
    pub lag: u64,
    /// Records that could not be read, at the most.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// All attributes of an account.
///
/// # Errors
/// [`Failure`].
pub fn all(store: &Store, account: AccountId, stop: &Stop<'_>) -> Result<Answer, Failure> {
    let overrides = store.overrides(account);
    let lag = store.lag().records;
    let (counted, missing) = answers(store, stop).attribute_statistics(account)?;
    let mut rows: BTreeMap<(Kind, Option<String>), AttributeType> = BTreeMap::new();
    for AttributeCount { kind, name, values } in counted {
        let kind = kind.map_or(Kind::User, Kind::Event);
        let set = name.as_ref().and_then(|name| overrides.get(&kind, name));
        let row = AttributeType::new(&kind, name.clone(), values, set);
        rows.insert((kind, name), row);
    }
    for (kind, name, set) in overrides.iter() {
        let name = Some(name.to_owned());
        let row = AttributeType::new(&kind, name.clone(), Values::default(), Some(set));
        rows.entry((kind, name)).or_insert(row);
    }
    Ok(Answer { types: rows.into_values().collect(), lag, missing: missing.records })
}

/// One attribute, as it is once its type is `set` or, without one, taken back.
///
/// # Errors
/// [`Failure`].
pub fn one(
    store: &Store,
    account: AccountId,
    kind: &Kind,
    attribute: &str,
    set: Option<DataType>,
    stop: &Stop<'_>,
) -> Result<AttributeType, Failure> {
    let event_kind = match kind {
        Kind::User => None,
        Kind::Event(of) => Some(of),
    };
    let (counted, _) = answers(store, stop).attribute_statistics(account)?;
    let values = counted
        .into_iter()
        .find(|one| one.kind.as_ref() == event_kind && one.name.as_deref() == Some(attribute))
        .map(|one| one.values);
    Ok(AttributeType::new(kind, Some(attribute.to_owned()), values.unwrap_or_default(), set))
}

impl AttributeType {
    fn new(
        kind: &Kind,
        attribute: Option<String>,
        values: Values,
        set: Option<DataType>,
    ) -> AttributeType {
        let counts = DataType::ALL.into_iter().zip(values);
        let recognised: BTreeMap<_, _> = counts.filter(|(_, count)| *count > 0).collect();
        // Of two that are as many, the first by declaration: `max_by_key` would give the last.
        let most = recognised.iter().rev().max_by_key(|(_, count)| **count);
        AttributeType {
            kind: kind.to_string(),
            attribute,
            values: values.iter().sum(),
            r#type: set.or(most.map(|(data_type, _)| *data_type)),
            r#override: set,
            recognised,
        }
    }
}

fn name<S: Serializer>(of: &Option<DataType>, serializer: S) -> Result<S::Ok, S::Error> {
    of.map(DataType::name).serialize(serializer)
}

fn by_name<S: Serializer>(
    counts: &BTreeMap<DataType, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(counts.len()))?;
    for (data_type, count) in counts {
        map.serialize_entry(data_type.name(), count)?;
    }
    map.end()
}
