//! Which attributes there are, and what types their values have.
//!
//! A piece is kinds with some of their attributes: 0 for users, else the type's number plus 1 · how many · and of
//! each 1 and its name, or 0 if it stands for what is beyond the bounds · six numbers of values.

use std::collections::HashMap;

use super::IndexError;
use super::layout::{PIECE_BYTES, Put};
use super::members::{Cursor, Seen, unescaped};
use crate::model::limits::DEPTH_MAX;
use crate::model::{DataType, Date};
use crate::store::codec::{Input, Malformed, put_str, put_u64};

/// Names of one kind that are kept; values of others are counted together.
pub(super) const NAMES_MAX: u32 = 1_000;

/// Names of all kinds that are kept.
pub(super) const NAMES_IN_ALL_MAX: usize = 20_000;

/// Bytes of memory that they take, about: one that is all escapes takes ten times as much as another.
const BYTES_MAX: usize = 12 * 1024 * 1024;

/// Bytes of a name, with those of the objects that it is in.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Values by type, in the order of [`DataType::ALL`].
pub(super) type Values = [u64; DataType::ALL.len()];

/// Shown a kind (0 for users, else the type's number plus 1), a name and its values.
pub(super) type VisitNames<'v, E> = &'v mut dyn FnMut(u32, Option<&str>, &Values) -> Result<(), E>;

const NONE: u32 = u32::MAX;

/// Collects attributes.
#[derive(Default)]
pub(super) struct Attributes {
    /// Users first, then each type of events.
    kinds: Vec<Kind>,
    slots: Vec<Slot>,
    /// What slots take.
    bytes: usize,
}

struct Kind {
    members: Members,
    names: u32,
    /// Of the attributes that are beyond the bounds.
    more: Values,
}

/// The attributes of a kind, or of an object.
struct Members {
    /// Which mostly comes first.
    first: u32,
    all: HashMap<Box<[u8]>, u32>,
}

impl Default for Members {
    fn default() -> Members {
        Members { first: NONE, all: HashMap::new() }
    }
}

/// An attribute.
struct Slot {
    kind: u32,
    /// As it lies between its quotes.
    raw: Box<[u8]>,
    name: Box<str>,
    values: Values,
    /// Which mostly comes behind it: those who send events of a type send the same attributes.
    next: u32,
    /// Made when it is an object.
    members: Option<Box<Members>>,
}

impl Attributes {
    /// Counts the attributes of an event of the type with this number, or of a user's update.
    pub fn add(&mut self, kind: Option<u32>, text: &str) {
        let kind = kind.map_or(0, |kind| kind + 1);
        while self.kinds.len() <= kind as usize {
            self.kinds.push(Kind {
                members: Members::default(),
                names: 0,
                more: Values::default(),
            });
        }
        let mut cursor = Cursor::new(text);
        if cursor.enter().is_some() {
            self.members(kind, NONE, &mut cursor, DEPTH_MAX);
        }
    }

    /// Counts the members of the object that the cursor is in: that of a kind, or that of a slot.
    fn members(&mut self, kind: u32, above: u32, cursor: &mut Cursor<'_>, depth: usize) {
        let mut before = NONE;
        while let Some((raw, value)) = cursor.member() {
            let data_type = match value {
                Seen::Null => continue,
                Seen::Boolean(_) => DataType::Boolean,
                Seen::Number => DataType::Number,
                Seen::String(raw) if is_date(raw) => DataType::Date,
                Seen::String(_) => DataType::String,
                Seen::List => DataType::List,
                Seen::Object => DataType::Object,
            };
            let slot = self.slot(kind, above, before, raw);
            let values = match slot {
                Some(slot) => &mut self.slots[slot as usize].values,
                None => &mut self.kinds[kind as usize].more,
            };
            values[data_type as usize] += 1;
            if data_type == DataType::Object {
                match (slot, depth.checked_sub(1)) {
                    (Some(slot), Some(depth)) => {
                        if cursor.enter().is_some() {
                            self.members(kind, slot, cursor, depth);
                        }
                    }
                    _ => {
                        if cursor.skip().is_none() {
                            return;
                        }
                    }
                }
            }
            before = slot.unwrap_or(before);
        }
    }

    /// The slot of a member, which is made if there is none; none if there are too many.
    fn slot(&mut self, kind: u32, above: u32, before: u32, raw: &[u8]) -> Option<u32> {
        let guess = match (self.slots.get(before as usize), self.slots.get(above as usize)) {
            (Some(before), _) => before.next,
            (None, Some(above)) => above.members.as_ref().map_or(NONE, |of| of.first),
            (None, None) => self.kinds[kind as usize].members.first,
        };
        // What comes behind a member is one of the same object.
        if self.slots.get(guess as usize).is_some_and(|slot| *slot.raw == *raw) {
            return Some(guess);
        }
        let known = self.members_of(kind, above).all.get(raw).copied();
        let slot = match known {
            Some(slot) => slot,
            None => self.make(kind, above, raw)?,
        };
        match self.slots.get_mut(before as usize) {
            Some(before) => before.next = slot,
            None => self.members_of(kind, above).first = slot,
        }
        Some(slot)
    }

    fn members_of(&mut self, kind: u32, above: u32) -> &mut Members {
        match self.slots.get_mut(above as usize) {
            Some(slot) => slot.members.get_or_insert_default(),
            None => &mut self.kinds[kind as usize].members,
        }
    }

    fn make(&mut self, kind: u32, above: u32, raw: &[u8]) -> Option<u32> {
        let of = &self.kinds[kind as usize];
        let in_all = self.slots.len() >= NAMES_IN_ALL_MAX || self.bytes >= BYTES_MAX;
        if of.names >= NAMES_MAX || in_all {
            return None;
        }
        let name = unescaped(raw)?;
        let name = match self.slots.get(above as usize) {
            Some(above) => format!("{}.{name}", above.name),
            None => name,
        };
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let slot = self.slots.len() as u32;
        // Its text lies here and where it is looked up.
        self.bytes += 240 + raw.len() * 2 + name.len();
        self.slots.push(Slot {
            kind,
            raw: raw.into(),
            name: name.into(),
            values: Values::default(),
            next: NONE,
            members: None,
        });
        self.kinds[kind as usize].names += 1;
        self.members_of(kind, above).all.insert(raw.into(), slot);
        Some(slot)
    }

    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.kinds.len() * 160 + self.bytes
    }

    /// Shows each kind (0 for users, else the type's number plus 1), name and values, by kind. None comes twice.
    pub fn visit(&self, visit: VisitNames<'_, IndexError>) -> Result<(), IndexError> {
        // An attribute may have a dot in its name, or the same name with and without an escape.
        let mut all: HashMap<(u32, &str), Values> = HashMap::with_capacity(self.slots.len());
        for slot in &self.slots {
            let values = all.entry((slot.kind, &slot.name)).or_default();
            values.iter_mut().zip(slot.values).for_each(|(sum, values)| *sum += values);
        }
        let mut sorted: Vec<_> = all.into_iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let mut sorted = sorted.into_iter().peekable();
        for (kind, of) in (0..).zip(&self.kinds) {
            while let Some(((_, name), values)) = sorted.next_if(|((of, _), _)| *of == kind) {
                visit(kind, Some(name), &values)?;
            }
            if of.more.iter().any(|values| *values > 0) {
                visit(kind, None, &of.more)?;
            }
        }
        Ok(())
    }

    /// Gives each piece.
    pub fn encode(&self, piece: Put<'_>) -> Result<(), IndexError> {
        let mut out = Vec::new();
        self.visit(&mut |kind, name, values| {
            put_u64(&mut out, u64::from(kind));
            out.push(u8::from(name.is_some()));
            name.iter().for_each(|name| put_str(&mut out, name));
            values.iter().for_each(|values| put_u64(&mut out, *values));
            if out.len() >= PIECE_BYTES {
                piece(0, &out)?;
                out.clear();
            }
            Ok(())
        })?;
        if out.is_empty() { Ok(()) } else { piece(0, &out) }
    }
}

/// Shows what is in a piece.
pub(super) fn decode(bytes: &[u8], visit: VisitNames<'_, Malformed>) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    while input.end().is_err() {
        let kind = u32::try_from(input.u64()?).map_err(|_| Malformed("a kind isn't one"))?;
        let name = if input.byte()? == 0 { None } else { Some(input.str()?) };
        let mut values = Values::default();
        for value in &mut values {
            *value = input.u64()?;
        }
        visit(kind, name, &values)?;
    }
    Ok(())
}

/// Whether a string between its quotes is a date. Most that aren't are told by their beginning.
fn is_date(raw: &[u8]) -> bool {
    let may_be = match raw {
        // `2001-07-04…`, `2001/07/04`
        [b'0'..=b'9', _, _, _, b'-' | b'/', ..] => raw.len() >= 10,
        // `4 Jul 2001 …`, and a blank may be a tab, which lies there escaped
        [b'0'..=b'9', b' ' | b'\\', ..] | [b'0'..=b'9', b'0'..=b'9', b' ' | b'\\', ..] => true,
        // `Wed, 04 Jul 2001 …`
        [first, _, _, b',', ..] => first.is_ascii_alphabetic(),
        _ => false,
    };
    may_be && unescaped(raw).is_some_and(|text| Date::parse(&text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn agree(text: &str) {
        let value = Value::String(text.to_owned());
        let raw = serde_json::to_string(&value).expect("a string");
        let is = DataType::of(&value) == Some(DataType::Date);
        assert_eq!(is_date(&raw.as_bytes()[1..raw.len() - 1]), is, "{text}");
    }

    #[test]
    fn dates_are_told_as_everywhere() {
        for text in [
            "2001-07-04",
            "2001/07/04",
            "2001-07-04T12:08:56.235-07:00",
            "2001-07-04t12:08:56z",
            "Wed, 04 Jul 2001 12:08:56 -0700",
            "wed,4 jul 01 12:08 EST",
            "4 Jul 2001 12:08:56 GMT",
            "04\tJul 2001 12:08:56 GMT",
            "4\tJul\t2001\t12:08:56\tGMT",
            "Wed,\t04 Jul 2001 12:08:56 -0700",
            " 2001-07-04",
            "",
            "2001",
            "12:08",
            "20010704",
        ] {
            agree(text);
        }
    }

    #[test]
    fn names_take_no_more_than_they_may() {
        let mut attributes = Attributes::default();
        for n in 0..NAMES_IN_ALL_MAX {
            let name = format!("{}{n}", "\\u0001".repeat(NAME_BYTES_MAX - 5));
            attributes.add(Some(n as u32 / NAMES_MAX), &format!("{{\"{name}\":1}}"));
        }
        let memory = attributes.memory();
        assert!((BYTES_MAX..BYTES_MAX + 16 * 1024).contains(&memory), "{memory}");
        let mut values = 0;
        let visited = attributes.visit(&mut |_, _, of| {
            values += of.iter().sum::<u64>();
            Ok(())
        });
        visited.expect("nothing fails");
        assert_eq!(values, NAMES_IN_ALL_MAX as u64);
    }

    proptest! {
        #[test]
        fn texts_that_look_like_dates(text in "([A-Za-z]{3},)?[ \t]?[0-9]{1,4}[-/ \t]([0-9]{2}|Jul)[-/ \t][0-9]{2,4}([ T][0-9:]{5,8}( GMT|Z|\\+0100)?)?") {
            agree(&text);
        }
    }
}
