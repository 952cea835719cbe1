//! Bytes that are meant to be JSON in UTF-8, made so where it is clear what was meant.
//!
//! Promises valid UTF-8 whose `\u` escapes all denote characters, and bytes that need no mending
//! unchanged and uncopied. Must not know how the bytes were sent, nor whether they are JSON.

use std::str;

/// Why bytes are not text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A sequence of bytes stands for no character.
    #[error("the text is not UTF-8: byte 0x{byte:02x} at offset {position} begins no character")]
    NotUtf8 {
        /// The first byte of the sequence.
        byte: u8,
        /// Its offset in the bytes given, from 0.
        position: usize,
    },
}

/// U+FEFF in UTF-8, which some editors put in front of a text.
pub(super) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Makes text of `bytes`:
///
/// - A byte order mark in front is dropped.
/// - A character beyond U+FFFF whose two UTF-16 surrogates were each encoded as if they were
///   characters (CESU-8, Unicode Technical Report 26) is encoded as UTF-8.
/// - A `\u` escape of a surrogate without its other half becomes `\ufffd`, the replacement
///   character.
///
/// # Errors
///
/// [`TextError::NotUtf8`] for anything else that is not UTF-8, a single encoded surrogate included.
pub fn mend(mut bytes: Vec<u8>) -> Result<String, TextError> {
    let skipped = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    bytes.drain(..skipped);
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let bytes = error.into_bytes();
            join_surrogates(&bytes).map_err(|position| TextError::NotUtf8 {
                byte: bytes.get(position).copied().unwrap_or_default(),
                position: position + skipped,
            })?
        }
    };
    replace_lone_escapes(&mut text);
    Ok(text)
}

/// Decodes UTF-8 and CESU-8, or gives the offset of what is neither.
fn join_surrogates(bytes: &[u8]) -> Result<String, usize> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let valid = match str::from_utf8(rest) {
            Ok(last) => {
                text.push_str(last);
                return Ok(text);
            }
            Err(error) => error.valid_up_to(),
        };
        let (good, bad) = rest.split_at(valid);
        text.extend(str::from_utf8(good));
        match surrogate_pair(bad) {
            Some((character, after)) => {
                text.push(character);
                rest = after;
            }
            None => return Err(bytes.len() - bad.len()),
        }
    }
}

/// The character whose surrogates, of three bytes each, begin `bytes`, and what comes after.
fn surrogate_pair(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (pair, after) = bytes.split_first_chunk()?;
    match *pair {
        [0xED, a @ 0xA0..=0xAF, b @ 0x80..=0xBF, 0xED, c @ 0xB0..=0xBF, d @ 0x80..=0xBF] => {
            let unit = |x: u8, y: u8| 0xD000 | u16::from(x & 0x3F) << 6 | u16::from(y & 0x3F);
            let character = char::decode_utf16([unit(a, b), unit(c, d)]).next()?.ok()?;
            Some((character, after))
        }
        _ => None,
    }
}

/// Replaces the escape of each surrogate that is not half of a pair. A backslash that is itself
/// escaped begins no escape. Nothing moves: the replacement has the length of what it replaces.
fn replace_lone_escapes(text: &mut String) {
    let mut from = 0;
    while let Some(backslash) = text[from..].find('\\').map(|offset| from + offset) {
        let rest = &text.as_bytes()[backslash..];
        from = match (surrogate(rest), surrogate(rest.get(6..).unwrap_or_default())) {
            (Some(Half::High), Some(Half::Low)) => backslash + 12,
            (Some(_), _) => {
                text.replace_range(backslash..backslash + 6, "\\ufffd");
                backslash + 6
            }
            // Past the backslash and what it escapes, which is more than a byte if not ASCII.
            (None, _) => match rest.get(1) {
                Some(escaped) if escaped.is_ascii() => backslash + 2,
                _ => backslash + 1,
            },
        };
    }
}

#[derive(Clone, Copy)]
enum Half {
    High,
    Low,
}

/// Which half of a surrogate pair the escape is that begins `bytes`, if it is one.
fn surrogate(bytes: &[u8]) -> Option<Half> {
    match bytes.first_chunk()? {
        [b'\\', b'u', b'd' | b'D', half, x, y]
            if x.is_ascii_hexdigit() && y.is_ascii_hexdigit() =>
        {
            match half {
                b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
                b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mended() {
        let cases: [(&[u8], &str); 20] = [
            (b"", ""),
            (b"{\"a\":1}", "{\"a\":1}"),
            (b"\xEF\xBB\xBF{\"a\":1}", "{\"a\":1}"),
            ("\u{feff}\u{feff}{}".as_bytes(), "\u{feff}{}"),
            ("zoë 😀".as_bytes(), "zoë 😀"),
            // CESU-8.
            (b"\xED\xA0\xBD\xED\xB8\x80", "😀"),
            (b"\xEF\xBB\xBF{\"a\":\"\xED\xA0\xBD\xED\xB8\x80\"}", "{\"a\":\"😀\"}"),
            (b"\xC3\xAB\xED\xA0\x80\xED\xB0\x80\xED\xAF\xBF\xED\xBF\xBF!", "ë\u{10000}\u{10ffff}!"),
            // Escapes of surrogates.
            (br"\ud83d\ude00", r"\ud83d\ude00"),
            (br"\uD83D\uDE00\uD83d\uDe00", r"\uD83D\uDE00\uD83d\uDe00"),
            (br#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (br"\ud83d", r"\ufffd"),
            (br"\uDE00\uD83D", r"\ufffd\ufffd"),
            (br"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
            (br"\ud83dA\ude00 \ud83d\u0041", r"\ufffdA\ufffd \ufffd\u0041"),
            (br"\\ud83d \\\ud83d \\\\ud83d", r"\\ud83d \\\ufffd \\\\ud83d"),
            (br"\ud83d\\ude00", r"\ufffd\\ude00"),
            (br"\ud7ff\ue000\u00eb", r"\ud7ff\ue000\u00eb"),
            // Not for this module to judge.
            (br"\ud83 \ud83g \uD", r"\ud83 \ud83g \uD"),
            (b"\\\xC3\xAB\\ud83d\\", "\\ë\\ufffd\\"),
        ];
        for (bytes, text) in cases {
            assert_eq!(mend(bytes.to_vec()).unwrap(), text);
        }
    }

    #[test]
    fn beyond_mending() {
        let cases: [(&[u8], u8, usize); 8] = [
            (b"\xFF", 0xFF, 0),
            (b"zo\xEB", 0xEB, 2),
            (b"\xEF\xBB\xBF{\xE9}", 0xE9, 4),
            (b"a\xED\xA0\xBD", 0xED, 1),
            (b"a\xED\xB8\x80\xED\xA0\xBD", 0xED, 1),
            (b"\xED\xA0\xBD\xED\xB8\x80\xED\xA0\xBD.", 0xED, 6),
            (b"\xC0\x80", 0xC0, 0),
            (b"ok \xF0\x9F\x98", 0xF0, 3),
        ];
        for (bytes, byte, position) in cases {
            let refused = TextError::NotUtf8 { byte, position };
            assert_eq!(mend(bytes.to_vec()), Err(refused));
        }
    }

    #[test]
    fn sound_bytes_are_not_copied() {
        let bytes = br#"{"a":"\u00eb"}"#.to_vec();
        let place = bytes.as_ptr();
        let text = mend(bytes).unwrap();
        assert_eq!(text.as_ptr(), place);
    }

    proptest! {
        #[test]
        fn text_without_backslash_is_kept(text in "[^\\\\\u{feff}]*") {
            prop_assert_eq!(mend(text.clone().into_bytes()), Ok(text));
        }

        #[test]
        fn cesu_8_is_decoded(text: String) {
            let mut cesu = Vec::new();
            for unit in text.encode_utf16() {
                match char::from_u32(unit.into()) {
                    Some(character) => cesu.extend(character.to_string().bytes()),
                    None => cesu.extend([0xED, (unit >> 6) as u8 & 0x3F | 0x80, unit as u8 & 0x3F | 0x80]),
                }
            }
            prop_assert_eq!(mend(cesu), mend(text.into_bytes()));
        }

        #[test]
        fn mending_is_done_once(bytes: Vec<u8>, escapes in "(\\\\|\\\\\\\\|u|[dD]|[89abcdefABCDEF]|00|\\\\ud8ab|\\\\udC00)*") {
            for bytes in [bytes, escapes.into_bytes()] {
                if let Ok(text) = mend(bytes) && !text.starts_with('\u{feff}') {
                    prop_assert_eq!(mend(text.clone().into_bytes()), Ok(text));
                }
            }
        }

        #[test]
        fn mended_strings_are_json(inside in "(\\\\\\\\|\\\\n|x|\\\\u[dD][89abcdefABCDEF][0-9a-f]{2})*") {
            let text = mend(format!("\"{inside}\"").into_bytes()).unwrap();
            prop_assert!(serde_json::from_str::<String>(&text).is_ok());
        }
    }
}
