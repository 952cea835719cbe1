//! That every usual way to send `data` arrives.

use super::*;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

#[test]
fn base64_of_every_kind() {
    let ruby = "eyJldmVudCI6ICJzaWduZWRfdXAiLCAidXNlciI6ICJ6b8OrQGV4YW1wbGUu\nY29tIiwgInBsYW4iOiAicHJvIn0=\n";
    let coreutils = "eyJldmVudCI6ICJzaWduZWRfdXAiLCAidXNlciI6ICJ6b8OrQGV4YW1wbGUuY29tIiwgInBsYW4i\nOiAicHJvIn0=\n";
    let openssl = "eyJldmVudCI6ICJzaWduZWRfdXAiLCAidXNlciI6ICJ6b8OrQGV4YW1wbGUuY29t\r\nIiwgInBsYW4iOiAicHJvIn0=\r\n";
    let signed_up = r#"{"event": "signed_up", "user": "zoë@example.com", "plan": "pro"}"#;
    let cases: [(&str, &[u8]); 22] = [
        (ruby, signed_up.as_bytes()),
        (coreutils, signed_up.as_bytes()),
        (openssl, signed_up.as_bytes()),
        ("", b""),
        (" \t\r\n", b""),
        ("=", b""),
        ("e30=", b"{}"),
        ("e30", b"{}"),
        ("e 3\n0 =\t", b"{}"),
        ("e3", b"{"),
        ("ew==", b"{"),
        ("ew=", b"{"),
        ("ew", b"{"),
        ("ew= =", b"{"),
        ("ew====", b"{"),
        // Left-over bits.
        ("ex==", b"{"),
        ("e31", b"{}"),
        // Both alphabets.
        ("+/+/", b"\xfb\xff\xbf"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("+_-/", b"\xfb\xff\xbf"),
        ("8J+YgA", "😀".as_bytes()),
        ("7aC97biA", b"\xED\xA0\xBD\xED\xB8\x80"),
    ];
    for (raw, bytes) in cases {
        assert_eq!(decode_base64(raw.as_bytes()).as_deref(), Ok(bytes), "{raw}");
    }
}

#[test]
fn not_base64() {
    let byte = |byte, position| Base64Error::Byte { byte, position };
    let cases: [(&[u8], Base64Error); 9] = [
        (b"!", byte(b'!', 0)),
        (b"e30=\n;", byte(b';', 5)),
        (b"ew==ew==", byte(b'=', 2)),
        (b"=e30", byte(b'=', 0)),
        (b"e3\xC3\xAB", byte(0xC3, 2)),
        (b"e30\0", byte(0, 3)),
        (b"e30\x0B", byte(0x0B, 3)),
        (b"e", Base64Error::Length { count: 1 }),
        (b" e30ee\n=", Base64Error::Length { count: 5 }),
    ];
    for (raw, error) in cases {
        assert_eq!(decode_base64(raw), Err(error));
    }
    let shown = byte(0, 3).to_string();
    assert!(shown.contains(r"`\x00` at offset 3"), "{shown}");
}

/// The Base64 of this has a `+`: `eyJhIjoi8J+YgD4+Pn4ifQ==`.
const SMILE: &str = r#"{"a":"😀>>>~"}"#;

#[test]
fn parameters() {
    let wide = r#"{"a":"😀>>>~","b":"😀>>>~"}"#;
    let cases = [
        // JSON itself.
        (r#"{"a":1}"#, r#"{"a":1}"#),
        ("%7B%22a%22%3A+%22b%2Bc%20d%22%7D", r#"{"a": "b+c d"}"#),
        ("+%0a{}", " \n{}"),
        ("%EF%BB%BF%7b%7D", "\u{feff}{}"),
        ("{%zz%4%}%", "{%zz%4%}%"),
        // Base64 as it should be, and as it is sent.
        ("eyJhIjoi8J%2BYgD4%2BPn4ifQ%3D%3D", SMILE),
        ("eyJhIjoi8J+YgD4+Pn4ifQ==", SMILE),
        ("eyJhIjoi8J-YgD4-Pn4ifQ", SMILE),
        ("eyJhIjoi8J%20YgD4%20Pn4ifQ==", SMILE),
        ("eyJhIjoi8J%252BYgD4%252BPn4ifQ%253D%253D", SMILE),
        ("eyJhIjoi8J%20YgD4+Pn4ifQ==", SMILE),
        // Wrapped.
        ("eyJhIjoi%0A8J+YgD4+%0D%0APn4ifQ==%0A", SMILE),
        ("eyJhIjoi%208J+YgD4+%20Pn4ifQ==", SMILE),
        ("eyJhIjoi%208J%2BYgD4%2B%20Pn4ifQ==", SMILE),
        ("eyJhIjoi+8J-YgD4-+Pn4ifQ==", SMILE),
        ("eyJhIjoi+8J%2BYgD4%2B+Pn4ifQ==+", SMILE),
        ("eyJhIjoi8J%2BYgD4%2BPn4iLCJi%0AIjoi8J%2BYgD4%2BPn4ifQ%3D%3D%0A", wide),
        ("eyJhIjoi8J%20YgD4%20Pn4iLCJi%0AIjoi8J%20YgD4%20Pn4ifQ%3D%3D%0A", wide),
        // Text, but no object: the usual reading stands.
        ("SGVsbG8+IHdvcmxk", "Hello> world"),
        ("SGVsbG8%20gd29ybGQ=", "Hello world"),
    ];
    for (raw, text) in cases {
        assert_eq!(decode_param(raw, b"{").as_deref(), Ok(text.as_bytes()), "{raw}");
    }
    let refused = [
        ("%%%", Base64Error::Byte { byte: b'%', position: 0 }),
        ("eyJ%21", Base64Error::Byte { byte: b'!', position: 3 }),
        ("a+b+c", Base64Error::Length { count: 5 }),
        ("e30+%zz", Base64Error::Byte { byte: b'%', position: 4 }),
        ("ë+", Base64Error::Byte { byte: 0xC3, position: 0 }),
    ];
    for (raw, error) in refused {
        assert_eq!(decode_param(raw, b"{"), Err(error), "{raw}");
    }
}

#[test]
fn a_list_is_json_itself_where_it_may_be() {
    assert_eq!(decode_param("+[{}]", b"{["), Ok(b" [{}]".to_vec()));
    assert!(decode_param("[{}]", b"{").is_err());
    // `[{"a":"~~?>~~?>"}]` with what was once a plus.
    let list = STANDARD.encode(r#"[{"a":"~~?>~~?>~"}]"#);
    assert!(list.contains('+'), "{list}");
    let spaced = list.replace('+', "%20");
    assert_eq!(decode_param(&spaced, b"{[").as_deref(), Ok(r#"[{"a":"~~?>~~?>~"}]"#.as_bytes()));
}

/// Base64 with a line ending after every `width` characters.
fn wrapped(text: &str, width: usize, ending: &str) -> String {
    let lines = text.as_bytes().chunks(width);
    lines.map(|line| String::from_utf8_lossy(line).into_owned() + ending).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(bytes: Vec<u8>, width in 1_usize..80) {
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            prop_assert_eq!(decode_base64(text.as_bytes()), Ok(bytes.clone()));
            for ending in ["\n", "\r\n", " "] {
                let text = wrapped(&text, width, ending);
                prop_assert_eq!(decode_base64(text.as_bytes()), Ok(bytes.clone()));
            }
        }
    }

    #[test]
    fn a_parameter_survives_its_journey(word in ".*", width in 60_usize..80) {
        let json = serde_json::json!({ "word": word }).to_string();
        let text = STANDARD.encode(&json);
        let escaped = text.replace('+', "%2B").replace('=', "%3D");
        let urls = [
            text.clone(),
            URL_SAFE_NO_PAD.encode(&json),
            escaped.clone(),
            text.replace('+', "%20"),
            wrapped(&text, width, "%0A"),
            wrapped(&text, width, "%20"),
            wrapped(&URL_SAFE.encode(&json), width, "+"),
        ];
        for url in urls {
            let decoded = decode_param(&url, b"{");
            prop_assert_eq!(decoded.as_deref(), Ok(json.as_bytes()), "{}", url);
        }
    }

    #[test]
    fn json_is_taken_as_it_is(word in "[^+%]*") {
        let json = serde_json::json!({ "word": word }).to_string();
        prop_assert_eq!(decode_param(&json, b"{"), Ok(json.clone().into_bytes()));
        let escaped: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(decode_param(&escaped, b"{"), Ok(json.clone().into_bytes()));
    }

    #[test]
    fn nothing_panics(bytes: Vec<u8>, text in ".*", near in "[A-Za-z0-9+/=%_ -]*") {
        let _ = decode_base64(&bytes);
        for raw in [text, near] {
            let _ = (decode_param(&raw, b"{"), decode_base64(raw.as_bytes()));
        }
    }
}
