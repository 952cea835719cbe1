//! That what is read is what was sent, and that `serde_json` agrees on what is JSON.

use super::*;
use proptest::prelude::*;

const DEPTH_MAX: usize = 32;

fn reread(text: &str) -> String {
    to_text(&parse_object(text, DEPTH_MAX).unwrap())
}

#[test]
fn numbers_keep_their_text() {
    let forty = "1234567890".repeat(4);
    let numbers = [
        "0",
        "-0",
        "1",
        "1.0",
        "0.10",
        "-0.0",
        "1e5",
        "1E5",
        "1e+5",
        "1E+5",
        "1e-5",
        "1E-05",
        "1.50E+00",
        "0e0",
        "-0E-0",
        "1e999999",
        "18446744073709551616",
        &forty,
    ];
    for number in numbers {
        let text = format!(r#"{{"n":{number},"list":[{number}]}}"#);
        assert_eq!(reread(&text), text);
        let map = parse_object(&text, DEPTH_MAX).unwrap();
        assert_eq!(map["n"].as_number().unwrap().as_str(), number);
    }
}

/// `serde_json` has private keys by which numbers and raw text travel through `serde`.
#[test]
fn private_keys_of_serde_json_are_plain_keys() {
    let cases = [
        r#"{"$serde_json::private::Number":"5"}"#,
        r#"{"$serde_json::private::RawValue":"[1]"}"#,
        r#"{"a":{"$serde_json::private::Number":"5"}}"#,
        r#"{"a":[{"$serde_json::private::RawValue":"{}"},{"$serde_json::private::Number":"x"}]}"#,
        r#"{"$serde_json::private::Number":{"$serde_json::private::Number":"5"},"b":1}"#,
    ];
    for text in cases {
        assert_eq!(reread(text), text);
        let escaped = text.replace("$serde", r"\u0024\u0073erde");
        assert_eq!(reread(&escaped), text);
    }
    let map = parse_object(cases[2], DEPTH_MAX).unwrap();
    assert_eq!(map["a"]["$serde_json::private::Number"], "5");
}

#[test]
fn text_that_is_read() {
    let cases = [
        (" \t\r\n{ \"a\" : [ ] , \"b\" : { } } \n", r#"{"a":[],"b":{}}"#),
        (r#"{"b":1,"a":2,"b":3}"#, r#"{"b":3,"a":2}"#),
        (r#"{"a":1,"\u0061":{"x":true}}"#, r#"{"a":{"x":true}}"#),
        (r#"{"":[null,true,false,"",0]}"#, r#"{"":[null,true,false,"",0]}"#),
        (r#"{"a":"\"\\\/\b\f\n\r\t"}"#, r#"{"a":"\"\\/\b\f\n\r\t"}"#),
        (r#"{"a":"zo\u00EB \ud83D\uDe00 \u0000"}"#, r#"{"a":"zoë 😀 \u0000"}"#),
        ("{\"a\":\"\u{7f}\u{2028}é\"}", "{\"a\":\"\u{7f}\u{2028}é\"}"),
    ];
    for (text, written) in cases {
        let read = parse_object(text, DEPTH_MAX).map(|map| to_text(&map));
        assert_eq!(read.unwrap_or_default(), written, "{text}");
    }
}

#[test]
fn text_that_is_refused() {
    let cases = [
        ("", 1, 1, "expected a value, found the end of the text"),
        ("{", 1, 2, "expected a key in double quotes, found the end of the text"),
        ("{'a':1}", 1, 2, "expected a key in double quotes, found `'`"),
        ("{\n \"é\" 1}", 2, 6, "expected `:`, found `1`"),
        (r#"{"a":1,}"#, 1, 8, "expected a key in double quotes, found `}`"),
        (r#"{"a":[1,]}"#, 1, 9, "expected a value, found `]`"),
        (r#"{"a":1 "b":2}"#, 1, 8, "expected `,` or `}`, found `\"`"),
        (r#"{"a":[1 2]}"#, 1, 9, "expected `,` or `]`, found `2`"),
        (r#"{"a":1}{}"#, 1, 8, "expected the end of the text, found `{`"),
        (r#"{"a":NaN}"#, 1, 6, "expected a value, found `N`"),
        (r#"{"a":nul}"#, 1, 6, "expected a value, found `n`"),
        (r#"{"a":01}"#, 1, 7, "expected `,` or `}`, found `1`"),
        (r#"{"a":+1}"#, 1, 6, "expected a value, found `+`"),
        (r#"{"a":-}"#, 1, 7, "expected a digit, found `}`"),
        (r#"{"a":1.}"#, 1, 8, "expected a digit, found `}`"),
        (r#"{"a":1e+}"#, 1, 9, "expected a digit, found `}`"),
        (r#"{"a":"b}"#, 1, 9, "expected `\"`, found the end of the text"),
        (
            "{\"a\":\"\n\"}",
            1,
            7,
            "expected an escape in place of a control character, found U+000A",
        ),
        (r#"{"a":"\x"}"#, 1, 7, "expected a valid escape, found `\\`"),
        (r#"{"a":"\u00+1"}"#, 1, 7, "expected a valid escape, found `\\`"),
        (r#"{"a":"\ud83d."}"#, 1, 7, "expected a whole surrogate pair, found `\\`"),
        (r#"{"a":"\ude00\ud83d"}"#, 1, 7, "expected a whole surrogate pair, found `\\`"),
        ("[1", 1, 3, "expected `,` or `]`, found the end of the text"),
        ("\u{feff}{}", 1, 1, "expected a value, found U+FEFF"),
    ];
    for (text, line, column, what) in cases {
        let what = what.to_owned();
        let refused = JsonError::Syntax { line, column, what };
        assert_eq!(parse_object(text, DEPTH_MAX), Err(refused), "{text}");
    }
    let others = [
        ("[1]", "a List"),
        (r#""x""#, "a String"),
        ("5", "a Number"),
        (" null ", "null"),
        ("true", "a Boolean"),
    ];
    for (text, found) in others {
        let refused = JsonError::NotAnObject { found };
        assert_eq!(parse_object(text, DEPTH_MAX), Err(refused), "{text}");
    }
}

#[test]
fn depth() {
    let nested =
        |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    for depth_max in [2, 3, 32, DEPTH_CEILING] {
        for text in [nested(depth_max), objects(depth_max)] {
            assert!(parse_object(&text, depth_max).is_ok());
        }
        for text in [nested(depth_max + 1), objects(depth_max + 1)] {
            assert_eq!(parse_object(&text, depth_max), Err(JsonError::TooDeep { depth_max }));
        }
    }
    assert_eq!(parse_object("{}", 0), Err(JsonError::TooDeep { depth_max: 0 }));
    assert!(parse_object("{}", 1).is_ok());
    let depth_max = DEPTH_CEILING;
    for text in ["[".repeat(60_000), "{\"a\":".repeat(60_000)] {
        assert_eq!(parse_object(&text, usize::MAX), Err(JsonError::TooDeep { depth_max }));
    }
}

/// The compact text of any value, as `serde_json` would write it, with numbers in every form.
fn any_text() -> impl Strategy<Value = String> {
    let string = ".{0,6}".prop_map(|text| Value::String(text).to_string());
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?",
        string.clone(),
    ];
    leaf.prop_recursive(5, 32, 4, move |inner| {
        let members = proptest::collection::hash_map(string.clone(), inner.clone(), 0..4);
        prop_oneof![
            proptest::collection::vec(inner, 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            members.prop_map(|members| {
                let written = members.iter().map(|(key, value)| format!("{key}:{value}"));
                format!("{{{}}}", written.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// Pieces of JSON in any order: mostly broken, sometimes not.
fn any_pieces() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "{", "}", "[", "]", ",", ":", "\"", "\"a\":", "{\"a\":", "1", "0", "-", ".5", "e+1", "E2",
        "true", "null", "\"x\"", " ", "\n", "\\n", "\\u00e9", "\\ud83d", "\\ude00", "é", "\u{1}",
    ];
    let piece = proptest::sample::select(PIECES);
    proptest::collection::vec(piece, 0..9)
        .prop_map(|chosen| format!("{{\"a\":{}}}", chosen.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn compact_text_is_kept(value in any_text()) {
        let text = format!("{{\"v\":{value}}}");
        let map = parse_object(&text, DEPTH_MAX).unwrap();
        prop_assert_eq!(&to_text(&map), &text);
        prop_assert_eq!(parse_object(&to_text(&map), DEPTH_MAX), Ok(map));
    }

    #[test]
    fn serde_json_agrees(text in prop_oneof![any_pieces(), any_text(), ".*"]) {
        let theirs = serde_json::from_str::<Value>(&text);
        match parse_object(&text, DEPTH_MAX) {
            Ok(map) => {
                let ours = serde_json::from_str::<Value>(&to_text(&map));
                prop_assert_eq!(ours.unwrap(), theirs.unwrap());
            }
            Err(JsonError::Syntax { .. }) => prop_assert!(theirs.is_err()),
            Err(JsonError::NotAnObject { .. }) => prop_assert!(!theirs.unwrap().is_object()),
            Err(JsonError::TooDeep { .. }) => prop_assert!(false),
        }
    }
}
