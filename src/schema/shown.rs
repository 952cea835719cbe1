//! Attributes as they are shown where types were set.
//!
//! Promises that order and everything without such a type stay as they were sent, byte for byte; and that the type
//! of an attribute is that of what [`find`](super::find()) finds by its name: of several values that the name could
//! mean the others stay as well.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::find::members;
use super::typed::{Reading, Typed, push_json_string, read};
use super::zone::Zone;
use crate::model::DataType;
use crate::model::limits::DEPTH_MAX;
use crate::model::overrides::OfKind;

/// What [`shown`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'t> {
    /// The attributes.
    pub text: Cow<'t, str>,
    /// Values that didn't convert, and are as they were sent.
    pub not_converted: u64,
}

/// Attributes, one JSON object, with each value for which a type was set as that type. A date is shown as
/// it is in `zone` (see [`Zone::show`]); other values as [`Typed::write_json`] does. Takes one walk through them,
/// however many types are set.
#[must_use]
pub fn shown<'t>(attributes: &'t str, set: &OfKind, zone: &Zone) -> Shown<'t> {
    let (mut out, mut done, mut not_converted) = (String::new(), 0, 0);
    // Behind the last one: within it, nothing is shown as something else.
    let mut end = 0;
    for (at, value, to) in typed(attributes, set) {
        if at < end {
            continue;
        }
        end = at + value.len();
        match read(Some(value), Some(to)) {
            Reading::NotSet => {}
            Reading::NotConverted(_) => not_converted += 1,
            Reading::Typed(typed) => {
                out.push_str(&attributes[done..at]);
                match typed {
                    Typed::Date(date) => push_json_string(&mut out, &zone.show(date)),
                    value => value.write_json(&mut out),
                }
                done = end;
            }
        }
    }
    let text = if done == 0 {
        Cow::Borrowed(attributes)
    } else {
        out.push_str(&attributes[done..]);
        Cow::Owned(out)
    };
    Shown { text, not_converted }
}

/// The values for which a type was set, each with where it begins, in order.
fn typed<'t>(attributes: &'t str, set: &OfKind) -> Vec<(usize, &'t str, DataType)> {
    if set.is_empty() {
        return Vec::new();
    }
    let deep = set.iter().any(|(attribute, _)| attribute.contains('.'));
    let (name, lengths, meant) = (String::new(), Vec::new(), BTreeMap::new());
    let mut walk = Walk { set, name, lengths, meant };
    walk.within(attributes, if deep { DEPTH_MAX } else { 1 });
    let at = |value: &str| value.as_ptr() as usize - attributes.as_ptr() as usize;
    let meant = walk.meant.into_values();
    let mut typed: Vec<_> = meant.map(|(_, value, to)| (at(value), value, to)).collect();
    typed.sort_unstable_by_key(|(at, ..)| *at);
    typed
}

/// Through an object, and the objects in it.
struct Walk<'t, 's> {
    set: &'s OfKind,
    /// Of the member that the walk is at: the names of its levels with dots between them, and their lengths.
    name: String,
    lengths: Vec<usize>,
    /// By name: of the values met so far that it could mean, the one that comes first, and those lengths. That is
    /// the one whose first part is the longest, as [`find`](super::find()) has it, then whose second part is.
    meant: BTreeMap<&'s str, (Vec<usize>, &'t str, DataType)>,
}

impl<'t> Walk<'t, '_> {
    fn within(&mut self, object: &'t str, levels: usize) {
        for (key, value) in members(object) {
            let (key, above) = (key.name(), self.name.len());
            if !self.lengths.is_empty() {
                self.name.push('.');
            }
            self.name.push_str(&key);
            self.lengths.push(key.len());
            if let Some((name, to)) = self.set.entry(&self.name) {
                let before = self.meant.get(name);
                if before.is_none_or(|(lengths, ..)| *lengths < self.lengths) {
                    self.meant.insert(name, (self.lengths.clone(), value, to));
                }
            }
            if levels > 1 && value.starts_with('{') {
                self.within(value, levels - 1);
            }
            self.lengths.pop();
            self.name.truncate(above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DataType::{self, Boolean, Date, List, Number, String as Text};
    use crate::model::json;
    use crate::schema::{Path, find};
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    #[test]
    fn values_with_a_type() {
        let sent =
            r#"{"n":"1.50","d":1700000000,"o":{"x":"yes","y":[1]},"é\"":true,"z":null,"bad":"x"}"#;
        for (set, zone, wanted, not_converted) in [
            (&[][..], "UTC", sent, 0),
            (&[("other", Number), ("z", Number)], "UTC", sent, 0),
            (&[("bad", Number)], "UTC", sent, 1),
            (
                &[("n", Number), ("d", Date), ("bad", Date)],
                "UTC",
                r#"{"n":1.50,"d":"2023-11-14T22:13:20.000Z","o":{"x":"yes","y":[1]},"é\"":true,"z":null,"bad":"x"}"#,
                1,
            ),
            (
                &[("d", Date), ("o.x", Boolean), ("é\"", Number)],
                "Europe/Zurich",
                r#"{"n":"1.50","d":"2023-11-14T23:13:20.000+01:00","o":{"x":true,"y":[1]},"é\"":1,"z":null,"bad":"x"}"#,
                0,
            ),
            (
                &[("o", Text), ("o.x", Boolean)],
                "UTC",
                r#"{"n":"1.50","d":1700000000,"o":"{\"x\":\"yes\",\"y\":[1]}","é\"":true,"z":null,"bad":"x"}"#,
                0,
            ),
            (
                &[("o", Number), ("bad", List)],
                "UTC",
                r#"{"n":"1.50","d":1700000000,"o":{"x":"yes","y":[1]},"é\"":true,"z":null,"bad":["x"]}"#,
                1,
            ),
        ] {
            let set: OfKind = set.iter().copied().collect::<OfKind>();
            let zone = zone.parse().expect("a zone");
            let shown = shown(sent, &set, &zone);
            assert_eq!((&*shown.text, shown.not_converted), (wanted, not_converted), "{set:?}");
        }
    }

    #[test]
    fn of_several_values_of_one_name_that_is_shown_as_a_type_which_is_found() {
        for (sent, name, wanted) in [
            (r#"{"a.b":"1","a":{"b":"2"}}"#, "a.b", r#"{"a.b":1,"a":{"b":"2"}}"#),
            (r#"{"a":{"b":"2"},"a.b":"1"}"#, "a.b", r#"{"a":{"b":"2"},"a.b":1}"#),
            (r#"{"a":{"b":"2"}}"#, "a.b", r#"{"a":{"b":2}}"#),
            // It is there, though it has no type.
            (r#"{"a.b":null,"a":{"b":"2"}}"#, "a.b", r#"{"a.b":null,"a":{"b":"2"}}"#),
            (r#"{"a.b":"x","a":{"b":"2"}}"#, "a.b", r#"{"a.b":"x","a":{"b":"2"}}"#),
            // What lies within the one that isn't meant has names of its own.
            (r#"{"a.b":"1","a":{"b":{"c":"2"}}}"#, "a.b.c", r#"{"a.b":"1","a":{"b":{"c":2}}}"#),
            // The longest first part.
            (
                r#"{"a":{"b.c":"1","b":{"c":"2"}},"a.b":{"c":"3"}}"#,
                "a.b.c",
                r#"{"a":{"b.c":"1","b":{"c":"2"}},"a.b":{"c":3}}"#,
            ),
            (r#"{"a":{"b":{"c":"2"},"b.c":"1"}}"#, "a.b.c", r#"{"a":{"b":{"c":"2"},"b.c":1}}"#),
            (
                r#"{"a":{"\u0062":"2"},"a\u002eb":"1"}"#,
                "a.b",
                r#"{"a":{"\u0062":"2"},"a\u002eb":1}"#,
            ),
            (r#"{"a":{"":"2"},"a.":"1"}"#, "a.", r#"{"a":{"":"2"},"a.":1}"#),
        ] {
            let set: OfKind = [(name, Number)].into_iter().collect();
            let shown = shown(sent, &set, &Zone::UTC);
            assert_eq!(shown.text, wanted, "{name}");
            let found = find(sent, &Path::new(name)).expect("it is there");
            let not_converted = matches!(read(Some(found), Some(Number)), Reading::NotConverted(_));
            assert_eq!(shown.not_converted, u64::from(not_converted), "{name} in {sent}");
        }
    }

    /// Objects whose names have dots, and are within each other, in any way.
    fn objects() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = any::<u8>().prop_map(|n| Value::from(n.to_string()));
        let of = |value: BoxedStrategy<Value>| {
            let one = ("[a.]{0,4}", value);
            proptest::collection::vec(one, 0..5).prop_map(|all| all.into_iter().collect())
        };
        let within = move |inner: BoxedStrategy<Value>| of(inner).prop_map(Value::Object).boxed();
        of(leaf.prop_recursive(4, 24, 4, within).boxed())
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_is_shown(object in objects(), name in "[a.]{0,6}") {
            let sent = json::to_text(&object);
            let set: OfKind = [(name.as_str(), Number)].into_iter().collect();
            let found = find(&sent, &Path::new(&name));
            let wanted = match found.map(|value| read(Some(value), Some(Number))) {
                Some(Reading::Typed(number)) => {
                    let at = found.map_or(0, |value| value.as_ptr() as usize - sent.as_ptr() as usize);
                    let mut text = sent[..at].to_owned();
                    number.write_json(&mut text);
                    text + &sent[at + found.map_or(0, str::len)..]
                }
                _ => sent.clone(),
            };
            prop_assert_eq!(&shown(&sent, &set, &Zone::UTC).text, &wanted, "{}", name);
        }
    }

    #[test]
    fn anything_is_survived() {
        let set: OfKind = [("a", DataType::Number), ("b.c", DataType::Date)].into_iter().collect();
        for text in ["", "{", "null", r#"{"a":"#, r#"{"a":"1"#, r#"{"a":"1","b":{"c":"#] {
            let _ = shown(text, &set, &Zone::UTC);
        }
        assert_eq!(shown(r#"{"a":"1","b":{"c":0}"#, &set, &Zone::UTC).not_converted, 0);
    }
}
