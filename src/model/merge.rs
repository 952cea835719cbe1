//! JSON Merge Patch, RFC 7396.
//!
//! Promises the outcome of the RFC's pseudo-code, with attributes kept in the order in which they
//! first came. Must not know what the documents mean. Recurses as deep as the patch is nested,
//! which whoever parsed the patch has bounded.

use serde_json::{Map, Value};

/// Applies the members of `patch` to `target`.
///
/// A null removes its attribute, an object is merged into the one that is there, and anything
/// else, arrays included, takes its attribute's place whole. What is replaced stays where it was;
/// what is new goes to the end.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        if value.is_null() {
            // Unlike `remove`, which moves the last attribute into the gap.
            target.shift_remove(&name);
        } else {
            merge_value(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Applies `patch`, which can be any value, to `target`: `MergePatch` of RFC 7396 section 2.
///
/// A patch that is no object replaces the target. One that is an object first makes an empty
/// object of a target that is none, so that the nulls it contains leave no trace.
pub fn merge_value(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => merge(target, patch),
        (target, Value::Object(patch)) => {
            let mut fresh = Map::new();
            merge(&mut fresh, patch);
            *target = Value::Object(fresh);
        }
        (target, patch) => *target = patch,
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::{parse_object, to_text};
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn examples_of_the_rfc() {
        let cases = [
            // Appendix A.
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            // Section 3.
            (
                r#"{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}"#,
                r#"{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}"#,
                r#"{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}"#,
            ),
            // Order, and nulls that are not attributes.
            (r#"{"a":1,"b":2,"c":3}"#, r#"{"a":null}"#, r#"{"b":2,"c":3}"#),
            (r#"{"a":1,"b":2}"#, r#"{"c":3,"a":4}"#, r#"{"a":4,"b":2,"c":3}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":{"x":null}}"#, r#"{"a":{},"b":2}"#),
            (r#"{}"#, r#"{"a":[null,{"b":null}]}"#, r#"{"a":[null,{"b":null}]}"#),
        ];
        for (original, patch, result) in cases {
            let mut target = value(original);
            merge_value(&mut target, value(patch));
            assert_eq!(target.to_string(), result, "{original} with {patch}");
        }
    }

    /// Values with few names, so that patches meet.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(r#"null"#),
            Just(r#"true"#),
            Just(r#"1.0"#),
            Just(r#""x""#),
            Just(r#"1E5"#),
        ];
        let text = leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
            let members = proptest::collection::vec(("[a-e]", inner.clone()), 0..5);
            prop_oneof![
                3 => members.prop_map(|members| {
                    let written = members.iter().map(|(k, v)| format!("\"{k}\":{v}"));
                    format!("{{{}}}", written.collect::<Vec<_>>().join(","))
                }),
                1 => proptest::collection::vec(inner, 0..3)
                    .prop_map(|items| format!("[{}]", items.join(","))),
            ]
        });
        text.prop_map(|text| {
            let map = parse_object(&format!("{{\"v\":{text}}}"), 32).unwrap();
            map.into_iter().next().unwrap().1
        })
    }

    fn any_object() -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::vec(("[a-e]", any_value()), 0..5)
            .prop_map(|members| members.into_iter().collect())
    }

    /// Whether an attribute is null; the items of arrays are not looked at.
    fn has_null(map: &Map<String, Value>) -> bool {
        map.values().any(|value| match value {
            Value::Object(inner) => has_null(inner),
            other => other.is_null(),
        })
    }

    proptest! {
        #[test]
        fn merging_twice_is_merging_once(target in any_object(), patch in any_object()) {
            let mut once = target;
            merge(&mut once, patch.clone());
            let mut twice = once.clone();
            merge(&mut twice, patch);
            prop_assert_eq!(to_text(&twice), to_text(&once));
        }

        #[test]
        fn no_null_comes_from_a_patch(patches in proptest::collection::vec(any_object(), 1..4)) {
            let mut target = Map::new();
            for patch in patches {
                merge(&mut target, patch);
                prop_assert!(!has_null(&target));
            }
        }

        #[test]
        fn batches_leave_no_trace(
            patches in proptest::collection::vec((any_object(), any::<bool>()), 0..12),
        ) {
            let mut kept = Map::new();
            let mut reread = Map::new();
            for (patch, batch_ends) in patches {
                merge(&mut kept, patch.clone());
                merge(&mut reread, patch);
                if batch_ends {
                    reread = parse_object(&to_text(&reread), 32).unwrap();
                }
            }
            prop_assert_eq!(to_text(&kept), to_text(&reread));
        }
    }
}
