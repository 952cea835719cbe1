//! What the world sends as `data`, decoded: Base64 of every kind, and query values.
//!
//! Promises the bytes the sender meant wherever only one meaning is likely. Must not know HTTP,
//! nor look into the bytes further than to see whether they could be a JSON object.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::mend::BOM;
pub use super::mend::mend;

/// Why bytes are not Base64.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// A byte belongs to no alphabet of Base64, or is a `=` before the end.
    #[error(
        "this is not Base64: `{}` at offset {position} should be a letter, a digit, or one of + / - _",
        byte.escape_ascii()
    )]
    Byte {
        /// The byte that does not belong.
        byte: u8,
        /// Its offset in what was given, from 0.
        position: usize,
    },
    /// The last group has but one character, which is less than a byte.
    #[error("this is not Base64: {count} characters are one too many or the end is missing")]
    Length {
        /// How many characters there are, white space and padding aside.
        count: usize,
    },
}

/// Takes the symbols of the standard alphabet, with what padding there is already removed.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes Base64 (RFC 4648), whoever encoded it.
///
/// The standard and the URL-safe alphabet may be mixed. ASCII space, tab, line feed and carriage
/// return are skipped. Any number of `=` may end the text, and bits left over after the last whole
/// byte are dropped.
///
/// # Errors
///
/// See [`Base64Error`].
pub fn decode_base64(raw: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let mut symbols = Vec::with_capacity(raw.len());
    let mut padding = None;
    for (position, &byte) in raw.iter().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'-' | b'_' => {
                if let Some(position) = padding {
                    return Err(Base64Error::Byte { byte: b'=', position });
                }
                symbols.push(match byte {
                    b'-' => b'+',
                    b'_' => b'/',
                    standard => standard,
                });
            }
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'=' => padding = padding.or(Some(position)),
            _ => return Err(Base64Error::Byte { byte, position }),
        }
    }
    // With only symbols of the alphabet and no padding, the length is all that can be wrong.
    let count = symbols.len();
    ENGINE.decode(symbols).map_err(|_| Base64Error::Length { count })
}

/// Decodes the value of the parameter `data`, given as it stands in the query or in a form.
///
/// A value that begins with one of the bytes in `itself`, percent-decoded and with `+` for a space, is the
/// JSON itself and becomes those bytes; any other is Base64. There, a `+` is usually one that the client did not
/// escape, and a space is skipped. But `+` can also be an encoded space, and a space what some
/// proxy made of a `+`. So when the usual reading is not the text of an object or list, another one that
/// is takes precedence:
///
/// 1. a literal `+` is itself, and spaces are skipped;
/// 2. a literal `+` is a space (`%2B` is a plus), and spaces are skipped;
/// 3. a space, however encoded, is a `+`.
///
/// A `%` without two hexadecimal digits stands for itself (WHATWG URL, percent-decode). Base64 that was
/// percent-encoded twice is decoded twice.
///
/// # Errors
///
/// That of the usual reading; see [`Base64Error`]. Offsets count percent-decoded bytes.
pub fn decode_param(raw: &str, itself: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let raw = raw.as_bytes();
    let form = percent_decode(raw, b' ');
    if begin(&form).first().is_some_and(|first| itself.contains(first)) {
        return Ok(form);
    }
    if form.contains(&b'%') {
        // Base64 has none: it was percent-encoded twice, as Keen's image beacon does.
        return decode_base64(&percent_decode(&percent_decode(raw, b'+'), b'+'));
    }
    if !form.contains(&b' ') {
        return decode_base64(&form);
    }
    let usual = decode_base64(&percent_decode(raw, b'+'));
    if is_object(&usual) {
        return usual;
    }
    let pluses = form.iter().map(|&b| if b == b' ' { b'+' } else { b });
    let pluses: Vec<u8> = pluses.collect();
    [form, pluses].iter().map(|reading| decode_base64(reading)).find(is_object).unwrap_or(usual)
}

/// The bytes that `raw` stands for, where each literal `+` is `plus`.
fn percent_decode(raw: &[u8], plus: u8) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => byte,
            },
            (b'+', _) => plus,
            _ => byte,
        });
    }
    decoded
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// `bytes` from where a text begins, after a byte order mark and white space.
fn begin(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start()
}

/// Whether what was decoded is text that looks like a JSON object, or a list of them.
fn is_object(decoded: &Result<Vec<u8>, Base64Error>) -> bool {
    decoded.as_ref().is_ok_and(|bytes| {
        let ends = (begin(bytes).first(), bytes.trim_ascii_end().last());
        matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
            && mend(bytes.clone()).is_ok()
    })
}

#[cfg(test)]
mod tests;
