//! Bodies that come in chunks (RFC 9112, section 7.1), as strictly as heads are read.
//!
//! Pure: bytes in, bytes of the body out. Extensions are passed over and trailers dropped, both within
//! bounds.

use super::Fault;
use super::limits::BODY_BYTES_MAX;

/// Bytes of a line that says how long a chunk is, extensions included.
const SIZE_LINE_BYTES_MAX: usize = 1_024;

/// Bytes of all trailers.
const TRAILERS_BYTES_MAX: usize = 8 * 1024;

/// Digits of a length; more than any body within bounds needs.
const SIZE_DIGITS_MAX: usize = 8;

/// Where in the body it is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// Of the line or the trailers that are read.
    line: Vec<u8>,
    trailers_bytes: usize,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Size,
    Data(usize),
    DataEnd(usize),
    Trailers,
}

impl Chunks {
    /// Takes what `bytes` has of the body, and puts it behind `body`. How many bytes were taken, and
    /// whether the body is whole; what comes behind it is not taken.
    ///
    /// # Errors
    /// [`Fault::Malformed`] and [`Fault::BodyTooLarge`].
    pub fn take(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<(usize, bool), Fault> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match self.at {
                At::Data(left) => {
                    let (data, after) = rest.split_at(left.min(rest.len()));
                    body.extend_from_slice(data);
                    rest = after;
                    self.at = if data.len() == left {
                        At::DataEnd(0)
                    } else {
                        At::Data(left - data.len())
                    };
                    continue;
                }
                At::DataEnd(seen) => {
                    if byte != b"\r\n"[seen] {
                        return Err(Fault::Malformed("a chunk is longer than it says"));
                    }
                    self.at = if seen == 1 { At::Size } else { At::DataEnd(1) };
                }
                At::Size => {
                    if self.end_line(byte, SIZE_LINE_BYTES_MAX)? {
                        let size = size(&std::mem::take(&mut self.line))?;
                        if body.len() + size > BODY_BYTES_MAX {
                            return Err(Fault::BodyTooLarge);
                        }
                        self.at = if size == 0 { At::Trailers } else { At::Data(size) };
                    }
                }
                At::Trailers => {
                    self.trailers_bytes += 1;
                    if self.trailers_bytes > TRAILERS_BYTES_MAX {
                        return Err(Fault::HeadersTooLarge);
                    }
                    if self.end_line(byte, TRAILERS_BYTES_MAX)? {
                        if self.line.is_empty() {
                            return Ok((bytes.len() - after.len(), true));
                        }
                        if !self.line.contains(&b':') {
                            return Err(Fault::Malformed("a trailer has no colon"));
                        }
                        self.line.clear();
                    }
                }
            }
            rest = after;
        }
        Ok((bytes.len(), false))
    }

    /// Takes a byte of a line; whether the line has ended.
    fn end_line(&mut self, byte: u8, bytes_max: usize) -> Result<bool, Fault> {
        match (self.line.last(), byte) {
            (Some(b'\r'), b'\n') => {
                self.line.pop();
                return Ok(true);
            }
            (Some(b'\r'), _) | (_, b'\n') => {
                return Err(Fault::Malformed("a line of the body's framing doesn't end in CRLF"));
            }
            (_, b'\r' | b'\t' | b' '..=b'~' | 0x80..) => self.line.push(byte),
            _ => {
                return Err(Fault::Malformed("there is a control character in the body's framing"));
            }
        }
        if self.line.len() > bytes_max {
            return Err(Fault::Malformed("a chunk's length doesn't end"));
        }
        Ok(false)
    }
}

/// Reads the length out of a line; what stands behind a `;` is passed over.
fn size(line: &[u8]) -> Result<usize, Fault> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // White space in front of a semicolon is tolerated nowhere else either.
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_hex {
        return Err(Fault::Malformed("a chunk's length is not a hexadecimal number"));
    }
    let digits = &digits[digits.iter().take_while(|digit| **digit == b'0').count()..];
    if digits.len() > SIZE_DIGITS_MAX {
        return Err(Fault::BodyTooLarge);
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    usize::from_str_radix(text, 16).map_err(|_| Fault::BodyTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and how many bytes it took, fed in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), Fault> {
        let (mut chunks, mut body, mut taken) = (Chunks::default(), Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            let (some, whole) = chunks.take(piece, &mut body)?;
            taken += some;
            if whole {
                return Ok((body, taken, true));
            }
        }
        Ok((body, taken, false))
    }

    #[test]
    fn bodies() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1_000));
        for (bytes, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("005\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", "hello!"),
            ("A\r\n0123456789\r\na;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
            ("1\r\n\r\r\n0\r\nA: b\r\nC: d\r\n\r\n", "\r"),
            ("000000000000000000000001\r\nx\r\n0\r\n\r\n", "x"),
            (&long, "hello"),
        ] {
            for piece in 1..bytes.len() + 10 {
                let text = format!("{bytes}GET");
                let read = read(text.as_bytes(), piece).expect(bytes);
                assert_eq!(
                    read,
                    (body.as_bytes().to_vec(), bytes.len(), true),
                    "{bytes:?} {piece}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_body() {
        let extension = format!("5;{}", "x".repeat(2_000));
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(2_000));
        for bytes in [
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "g\r\n",
            " 1\r\n",
            "1 \r\n",
            "1 ;x\r\n",
            ";x\r\n",
            "1\nx\r\n",
            "1\rx",
            "1\r\r\n",
            "1\r\nxy\r\n",
            "1\r\nx\n0\r\n\r\n",
            "1\r\nx\r0",
            "500001\r\n",
            "ffffffff\r\n",
            "100000000\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "1\0\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n\n",
            "0\r\na: b\n\r\n",
            "0\r\n\0: x\r\n\r\n",
            &extension,
            &trailers,
        ] {
            for piece in [1, 3, bytes.len()] {
                assert!(read(bytes.as_bytes(), piece).is_err(), "{bytes:?} {piece}");
            }
        }
        let many = "80000\r\n".to_owned() + &"x".repeat(0x80000) + "\r\n";
        assert_eq!(read(many.repeat(11).as_bytes(), 9_999), Err(Fault::BodyTooLarge));
    }
}
