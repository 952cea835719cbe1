use super::*;
use crate::model::json;
use proptest::prelude::*;
use serde_json::{Map, Value};

#[test]
fn values() {
    let flat = r#"{"a":1,"b":"x\"y","c":[1,{"d":"]"}],"d":{"e":{"f":-1.5e3},"g":null},"":true}"#;
    let dotted = r#"{"a":{"b.c":1,"b":{"c":2}},"a.b":{"c":3},"x":{"y":4},"x.y":5}"#;
    let spaced = " {\t\"a\" :\r\n 1 , \"b\": [ 1 , 2 ] ,\n\"c\" : \"z\" } ";
    let odd = r#"{"\u0061":1,"q\"":2,"n\\":3,"\ud83d\ude00":4,"e.é":5,"o":{"\u0061b":6}}"#;
    for (text, name, value) in [
        (flat, "a", Some("1")),
        (flat, "b", Some(r#""x\"y""#)),
        (flat, "c", Some(r#"[1,{"d":"]"}]"#)),
        (flat, "d", Some(r#"{"e":{"f":-1.5e3},"g":null}"#)),
        (flat, "d.e.f", Some("-1.5e3")),
        (flat, "d.g", Some("null")),
        (flat, "d.f", None),
        (flat, "e", None),
        (flat, "c.d", None),
        (flat, "", Some("true")),
        (flat, ".", None),
        (dotted, "a.b.c", Some("3")),
        (dotted, "x.y", Some("5")),
        (dotted, "a.b", Some(r#"{"c":3}"#)),
        (r#"{"a":{"b":{"c":2},"b.c":1}}"#, "a.b.c", Some("1")),
        (r#"{"a.b":{"d":3},"a":{"b.c":1}}"#, "a.b.c", Some("1")),
        (r#"{"a":{"":1}}"#, "a.", Some("1")),
        (r#"{"":{"a":1}}"#, ".a", Some("1")),
        (spaced, "a", Some("1")),
        (spaced, "b", Some("[ 1 , 2 ]")),
        (spaced, "c", Some("\"z\"")),
        (odd, "a", Some("1")),
        (odd, "\\u0061", None),
        (odd, "q\"", Some("2")),
        (odd, "n\\", Some("3")),
        (odd, "n\\\\", None),
        (odd, "😀", Some("4")),
        (odd, "e.é", Some("5")),
        (odd, "o.ab", Some("6")),
        ("{}", "a", None),
    ] {
        assert_eq!(find(text, &Path::new(name)), value, "{name} in {text}");
    }
}

#[test]
fn what_is_no_object_has_nothing() {
    for text in [
        "",
        " ",
        "null",
        "1",
        "[",
        "[\"a\",1]",
        "\"a\"",
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":}",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\":[",
        "{,}",
        "}",
        "{\"a\\",
        "{\"b\":\"é\\é\":1",
    ] {
        for name in ["a", "a.b", ""] {
            assert_eq!(find(text, &Path::new(name)), None, "{name} in {text}");
        }
    }
}

#[test]
fn elements_of_lists() {
    for (text, wanted) in [
        ("[]", &[][..]),
        (r#"[1,"a,b",[2,3],{"c":4}]"#, &["1", "\"a,b\"", "[2,3]", "{\"c\":4}"]),
        (" [ 1 , true ] ", &["1", "true"]),
        ("{\"a\":1}", &[]),
        ("", &[]),
        ("[1,", &["1"]),
    ] {
        assert_eq!(elements(text).collect::<Vec<_>>(), wanted, "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
    let name = |levels: usize| vec!["a"; levels].join(".");
    let deep = nested(DEPTH_MAX + 1);
    assert_eq!(find(&deep, &Path::new(&name(DEPTH_MAX))), Some("{\"a\":1}"));
    assert_eq!(find(&deep, &Path::new(&name(DEPTH_MAX + 1))), None);
    let far = nested(100_000);
    assert_eq!(find(&far, &Path::new(&name(100_000))), None);
}

/// The same, on what a parser made of the text.
fn naive<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let dots = name.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| at);
    object.get(name).or_else(|| {
        dots.rev().find_map(|dot| naive(object.get(&name[..dot])?.as_object()?, &name[dot + 1..]))
    })
}

fn values_of_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c{}\\[\\]:,\"\\\\\u{1}é ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            objects(inner).prop_map(Value::from),
        ]
    })
}

fn objects(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let names = prop_oneof!["[a-b.]{0,3}", "[ab\"\\\\\n😀]{1,3}"];
    prop::collection::vec((names, of), 0..6).prop_map(|all| all.into_iter().collect())
}

/// Another text for the same object: white space wherever it may be, every letter of its keys escaped.
fn respelt(value: &Value, space: &str) -> String {
    let key =
        |name: &str| name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    match value {
        Value::Object(object) => {
            let members = object.iter().map(|(name, value)| {
                format!("{space}\"{}\"{space}:{space}{}{space}", key(name), respelt(value, space))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => {
            let elements =
                list.iter().map(|value| format!("{space}{}{space}", respelt(value, space)));
            format!("[{}]", elements.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn as_a_parser_finds_it(object in objects(values_of_json()), name in "[ab.]{0,6}|[ab\"\\\\\n😀]{1,3}") {
        let text = json::to_text(&object);
        let wanted = naive(&object, &name).map(Value::to_string);
        let path = Path::new(&name);
        prop_assert_eq!(find(&text, &path), wanted.as_deref());
        let respelt = respelt(&Value::Object(object.clone()), " \n\t\r");
        let found = find(&respelt, &path).map(|found| json::parse(found, 99).expect("JSON"));
        prop_assert_eq!(found.as_ref(), naive(&object, &name));
        let parsed: Map<String, Value> = members(&respelt)
            .map(|(key, value)| (key.name().into_owned(), json::parse(value, 99).expect("JSON")))
            .collect();
        prop_assert_eq!(parsed, object);
    }

    #[test]
    fn anything_is_survived(text in "[{}\\[\\]:,\"\\\\aé1 ]{0,40}", name in "[a.é]{0,4}") {
        let _ = find(&text, &Path::new(&name));
        let _ = elements(&text).count();
        let _ = elements(&format!("[{text}")).count();
    }
}
