//! Distinct values, numbered as they are met.
//!
//! A value is known by its type and by what it means, not by how it was written: `1` and `1.0` are one, and so
//! are two texts of one instant. What a text means is worked out once, and remembered while there is room.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use serde_json::value::RawValue;

use crate::model::DataType;
use crate::query::Failure;
use crate::schema::{Number, Reading, Typed, read};

/// Distinct values, at the most.
pub const VALUES_MAX: usize = 100_000;

/// Bytes of all of them, at the most.
pub const VALUES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of the texts whose meaning is remembered, at the most; one that is longer than the second isn't.
const REMEMBERED_BYTES_MAX: usize = 4 * 1024 * 1024;
const REMEMBERED_TEXT_BYTES_MAX: usize = 1024;

/// What remembering one takes beside its bytes, about.
const REMEMBERED_BYTES: usize = 48;

/// The number of no value.
pub(super) const NOT_SET: u32 = 0;

/// The value of an event: its number ([`NOT_SET`] or from 1 on), and whether it is shown as it was sent because
/// it doesn't convert to the type that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) struct Found {
    pub number: u32,
    pub as_sent: bool,
}

impl Found {
    pub const NONE: Found = Found { number: NOT_SET, as_sent: false };
}

/// All values that were met.
#[derive(Default)]
pub(in crate::query) struct Values {
    hasher: DefaultHashBuilder,
    numbers: HashTable<u32>,
    /// By number, from 1 on: its type, and where its text begins.
    all: Vec<(DataType, usize)>,
    texts: String,
    /// What JSON texts are, by the type that is set for them: none, or one of all.
    remembered: [HashMap<Box<str>, Found>; 1 + DataType::ALL.len()],
    remembered_bytes: usize,
    /// For what is being worked out.
    scratch: String,
}

impl Values {
    /// How many there are, [`NOT_SET`] included.
    pub fn len(&self) -> usize {
        self.all.len() + 1
    }

    /// What a JSON text is.
    pub fn find(&mut self, raw: &str, set: Option<DataType>) -> Result<Found, Failure> {
        let place = set.map_or(0, |data_type| 1 + data_type as usize);
        if let Some(found) = self.remembered[place].get(raw) {
            return Ok(*found);
        }
        let found = match read(Some(raw), set) {
            Reading::NotSet => Found::NONE,
            Reading::Typed(typed) => Found { number: self.number(&typed)?, as_sent: false },
            Reading::NotConverted(raw) => match read(Some(raw), None) {
                Reading::Typed(typed) => Found { number: self.number(&typed)?, as_sent: true },
                _ => Found::NONE,
            },
        };
        if raw.len() <= REMEMBERED_TEXT_BYTES_MAX {
            self.remembered_bytes += raw.len() + REMEMBERED_BYTES;
            if self.remembered_bytes > REMEMBERED_BYTES_MAX {
                self.remembered = Default::default();
                self.remembered_bytes = raw.len() + REMEMBERED_BYTES;
            }
            self.remembered[place].insert(raw.into(), found);
        }
        Ok(found)
    }

    /// Bytes of the texts whose meaning is remembered.
    #[cfg(test)]
    pub fn remembered_bytes(&self) -> usize {
        self.remembered_bytes
    }

    fn number(&mut self, value: &Typed<'_>) -> Result<u32, Failure> {
        let data_type = value.data_type();
        self.scratch.clear();
        match value {
            Typed::Number(number) => self.scratch.push_str(&number.canonical()),
            _ => value.write_text(&mut self.scratch),
        }
        let Values { hasher, numbers, all, texts, scratch, .. } = self;
        let hash = hasher.hash_one((data_type as u8, scratch.as_str()));
        let same = |number: &u32| {
            all[*number as usize - 1].0 == data_type && text_of(all, texts, *number) == scratch
        };
        if let Some(number) = numbers.find(hash, same) {
            return Ok(*number);
        }
        if all.len() == VALUES_MAX || texts.len() + scratch.len() > VALUES_BYTES_MAX {
            return Err(Failure::TooLarge(format!(
                "there are more than the {VALUES_MAX} different values of at most {} MiB that can be told apart; \
                 narrow it with `from`, `to`, `type` and `where`",
                VALUES_BYTES_MAX >> 20
            )));
        }
        all.push((data_type, texts.len()));
        texts.push_str(scratch);
        let number = all.len() as u32;
        let rehash = |number: &u32| {
            hasher.hash_one((all[*number as usize - 1].0 as u8, text_of(all, texts, *number)))
        };
        numbers.insert_unique(hash, number, rehash);
        Ok(number)
    }

    /// The type of a value.
    pub fn data_type(&self, number: u32) -> DataType {
        self.all[number as usize - 1].0
    }

    /// A value as JSON: a number with the fewest digits, a date in UTC, others as they were sent.
    pub fn json(&self, number: u32) -> Box<RawValue> {
        let text = text_of(&self.all, &self.texts, number);
        let json = match self.data_type(number) {
            DataType::String | DataType::Date => serde_json::value::to_raw_value(text),
            _ => RawValue::from_string(text.to_owned()),
        };
        json.unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Values in their order: by type, then by what they mean.
    pub fn order(&self, a: u32, b: u32) -> Ordering {
        let text = |number| text_of(&self.all, &self.texts, number);
        let types = self.data_type(a).cmp(&self.data_type(b));
        types.then_with(|| match self.data_type(a) {
            DataType::Number => Number::new(text(a)).cmp(&Number::new(text(b))),
            _ => text(a).cmp(text(b)),
        })
    }
}

fn text_of<'t>(all: &[(DataType, usize)], texts: &'t str, number: u32) -> &'t str {
    let place = number as usize - 1;
    let end = all.get(place + 1).map_or(texts.len(), |(_, start)| *start);
    &texts[all[place].1..end]
}
