//! Sixteen bytes as text.

use crate::model::account::write_hex;

/// As 32 hexadecimal digits.
pub fn hex(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(32);
    // Writing to a String can't fail.
    let _ = write_hex(&mut text, bytes);
    text
}

/// The other way.
pub fn unhex(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    Some(number.to_be_bytes())
}
