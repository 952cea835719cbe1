//! The few shapes that everything at rest is written in: numbers of variable length (LEB128) and
//! texts with their length in front. Reading never panics and never reads past the end.

use crate::model::Date;

/// The bytes end too early, or hold what was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

pub(super) fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Near zero, on both sides, takes few bytes (ZigZag).
pub(super) fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_u64(out, (n << 1 ^ n >> 63) as u64);
}

pub(super) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_date(out: &mut Vec<u8>, date: Date) {
    put_i64(out, date.millis());
}

/// Takes shapes off the front of some bytes.
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn bytes(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed("a length is too large"))?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Malformed("a number is too large"))
    }

    pub fn i64(&mut self) -> Result<i64, Malformed> {
        let n = self.u64()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u64()?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| Malformed("a text isn't UTF-8"))
    }

    pub fn date(&mut self) -> Result<Date, Malformed> {
        self.i64().map(Date::from_millis)
    }

    pub fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("there is more than was written")) }
    }
}

/// A value of a tree: a format and a checksum over key and body in front of what `write` puts.
pub(super) fn seal_as(format: u8, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut value = vec![format, 0, 0, 0, 0];
    write(&mut value);
    let crc = checksum(key, &value[5..]);
    value[1..5].copy_from_slice(&crc.to_le_bytes());
    value
}

/// Checks a value and takes format and checksum off.
pub(super) fn open_as<'a>(format: u8, key: &[u8], value: &'a [u8]) -> Result<Input<'a>, Malformed> {
    let mut input = Input(value);
    if input.byte()? != format {
        return Err(Malformed("it is in a format that this program doesn't know"));
    }
    let crc = u32::from_le_bytes(input.array()?);
    if checksum(key, input.0) != crc {
        return Err(Malformed("its checksum doesn't match"));
    }
    Ok(input)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_taken(n: u64, i: i64, text: String) {
            let mut out = Vec::new();
            put_u64(&mut out, n);
            put_i64(&mut out, i);
            put_str(&mut out, &text);
            let mut input = Input(&out);
            prop_assert_eq!(input.u64(), Ok(n));
            prop_assert_eq!(input.i64(), Ok(i));
            prop_assert_eq!(input.str(), Ok(text.as_str()));
            prop_assert_eq!(input.end(), Ok(()));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Input(&bytes).u64();
            let _ = Input(&bytes).i64();
            let _ = Input(&bytes).str();
            let _ = Input(&bytes).array::<8>();
        }
    }

    #[test]
    fn the_edges_of_numbers() {
        for n in [0, 0x7f, 0x80, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_u64(&mut out, n);
            assert_eq!(Input(&out).u64(), Ok(n));
        }
        assert!(Input(&[0xff; 10]).u64().is_err(), "more than 64 bits");
        assert!(Input(&[0x80; 11]).u64().is_err(), "never ends");
    }
}
