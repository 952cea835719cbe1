//! Values of attributes, as pages show them: whatever they are, a text of bounded length, which templates escape.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::format::Format;
use crate::model::limits::DEPTH_MAX;
use crate::schema::{self, OfKind, Path, Reading, Typed};

/// Letters of a value in a cell of a table.
pub(super) const CELL_CHARS_MAX: usize = 120;

/// Letters of a value where it is what a page is about.
pub(super) const WHOLE_CHARS_MAX: usize = 2_000;

/// As many letters of a text, and a sign that there are more.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A value, from its JSON text: a text without its quotes, anything else as it is.
pub(super) fn short(raw: &str, chars_max: usize) -> String {
    match serde_json::from_str::<String>(raw) {
        Ok(text) if raw.starts_with('"') => cut(&text, chars_max),
        _ => cut(raw, chars_max),
    }
}

/// A value that was read: a date as its zone's clocks show it.
pub(super) fn typed(value: &Typed<'_>, format: &Format, chars_max: usize) -> String {
    match value {
        Typed::Date(date) => format.exactly(*date).text,
        value => {
            let mut text = String::new();
            value.write_text(&mut text);
            cut(&text, chars_max)
        }
    }
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    /// Its name; one within an object has the object's name and a dot in front.
    pub name: String,
    /// The type that is set, else the one that it is recognised as; empty if it is null.
    pub data_type: &'static str,
    /// Whether that type was set.
    pub is_set: bool,
    /// The value as it is read.
    pub as_read: String,
    /// Its JSON text as it was sent.
    pub as_sent: String,
    /// It doesn't convert to the type that is set, and counts as it was sent.
    pub fails: bool,
}

/// The attributes of an object, its JSON text, in order; those within objects stand alone. At most `most`, and how many
/// there are beyond.
pub(super) fn attributes(
    object: &str,
    set: &OfKind,
    format: &Format,
    most: usize,
) -> (Vec<Attribute>, usize) {
    let mut walk = Walk { whole: object, set, format, most, found: Vec::new(), beyond: 0 };
    walk.within("", object, DEPTH_MAX);
    (walk.found, walk.beyond)
}

struct Walk<'w> {
    whole: &'w str,
    set: &'w OfKind,
    format: &'w Format,
    most: usize,
    found: Vec<Attribute>,
    beyond: usize,
}

impl Walk<'_> {
    fn within(&mut self, before: &str, object: &str, levels: usize) {
        for (key, value) in schema::members(object) {
            let name = format!("{before}{}", key.name());
            // A type is that of what is found by the name, which may be another.
            let is_meant = || {
                let found = schema::find(self.whole, &Path::new(&name));
                found.is_some_and(|found| std::ptr::eq(found, value))
            };
            let to = self.set.get(&name).filter(|_| is_meant());
            let is_empty = schema::members(value).next().is_none();
            if to.is_none() && value.starts_with('{') && !is_empty && levels > 1 {
                self.within(&format!("{name}."), value, levels - 1);
            } else if self.found.len() == self.most {
                self.beyond += 1;
            } else {
                self.found.push(attribute(name, value, to, self.format));
            }
        }
    }
}

fn attribute(
    name: String,
    raw: &str,
    set: Option<crate::model::DataType>,
    format: &Format,
) -> Attribute {
    let as_sent = cut(raw, WHOLE_CHARS_MAX);
    let is_set = set.is_some();
    let (data_type, as_read, fails) = match schema::read(Some(raw), set) {
        Reading::Typed(value) => {
            (value.data_type().name(), typed(&value, format, WHOLE_CHARS_MAX), false)
        }
        Reading::NotConverted(raw) => {
            let data_type = set.map_or("", |data_type| data_type.name());
            (data_type, short(raw, WHOLE_CHARS_MAX), true)
        }
        Reading::NotSet => ("", "null".to_owned(), false),
    };
    Attribute { name, data_type, is_set, as_read, as_sent, fails }
}

/// Reads a member that may be missing as well as null, which is a value.
pub(super) fn there<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataType, Date};
    use crate::schema::Zone;

    fn format() -> Format {
        let zone: Zone = "Europe/Zurich".parse().expect("a zone");
        Format { locale: Default::default(), zone, now: Date::from_millis(0) }
    }

    #[test]
    fn texts_are_cut_between_letters() {
        for (raw, chars, text) in [
            (r#""a\"b""#, 9, "a\"b"),
            (r#""ééé""#, 2, "éé…"),
            (r#""ééé""#, 3, "ééé"),
            ("[1,2,3]", 3, "[1,…"),
            ("1.50", 9, "1.50"),
            ("null", 9, "null"),
            ("\"", 9, "\""),
            ("", 9, ""),
        ] {
            assert_eq!(short(raw, chars), text, "{raw}");
        }
    }

    #[test]
    fn attributes_as_they_are_read_and_were_sent() {
        let sent = r#"{"n":"1.50","d":1700000000,"o":{"x":"yes","e":{},"y":[1]},"o.x":true,"z":null,"bad":"x"}"#;
        let set: OfKind = [
            ("n", DataType::Number),
            ("d", DataType::Date),
            ("o.x", DataType::String),
            ("bad", DataType::Number),
        ]
        .into_iter()
        .collect();
        let (found, beyond) = attributes(sent, &set, &format(), 99);
        let found: Vec<_> = found
            .iter()
            .map(|a| (&*a.name, a.data_type, &*a.as_read, &*a.as_sent, a.is_set, a.fails))
            .collect();
        let wanted = [
            ("n", "Number", "1.50", "\"1.50\"", true, false),
            ("d", "Date", "14 Nov 2023, 23:13:20", "1700000000", true, false),
            ("o.x", "String", "yes", "\"yes\"", false, false),
            ("o.e", "Object", "{}", "{}", false, false),
            ("o.y", "List", "[1]", "[1]", false, false),
            ("o.x", "String", "true", "true", true, false),
            ("z", "", "null", "null", false, false),
            ("bad", "Number", "x", "\"x\"", true, true),
        ];
        assert_eq!((found, beyond), (wanted.to_vec(), 0));
        let (found, beyond) = attributes(sent, &OfKind::default(), &format(), 3);
        assert_eq!((found.len(), beyond), (3, 5));
        assert_eq!(attributes("no object", &set, &format(), 9), (Vec::new(), 0));
    }
}
