//! The head of a request: found, held against RFC 9112, and written anew for the engine.
//!
//! Promises that a head that passes can be read in one way only, here, by the engine and by any proxy
//! in front: lines end in CRLF and nowhere else, there is one length or one encoding of the body and
//! not both, no line is folded, names are tokens. What doesn't pass is refused, never mended. Pure:
//! bytes in, a [`Head`] or a [`Fault`] out; whole or in pieces, the outcome is the same.

use memchr::memchr;

use super::Fault;
use super::limits::{
    BODY_BYTES_MAX, HEADER_LINES_BYTES_MAX, HEADER_LINES_MAX, REQUEST_LINE_BYTES_MAX,
};
use super::response::Framing;

/// Empty lines in front of a request that are passed over (RFC 9112, section 2.2).
const EMPTY_LINES_MAX: usize = 4;

/// Bytes of a method. Those that exist are shorter.
const METHOD_BYTES_MAX: usize = 32;

/// Headers that are about the connection, or the length of the body, and not about the request. They end
/// here: behind it there is another connection, and bodies come by another way.
const NOT_FORWARDED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    TICKET,
];

/// The header that tells the engine's requests apart. Nobody outside can set it.
pub(super) const TICKET: &str = "triggerly-ticket";

/// Finds the end of a head as its bytes come, and what can't be one.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Bytes that were looked at.
    at: usize,
    /// Where the line that is looked at begins.
    line: usize,
    /// Bytes of empty lines in front, which are no part of it.
    skipped: usize,
    /// Where the request line ends, behind its CRLF; 0 until then.
    request_line: usize,
    lines: usize,
}

impl Scanner {
    /// Looks at what has been added to `bytes` since the last time. The head's end, once it is there.
    ///
    /// # Errors
    /// [`Fault`] as soon as what is there can't become a head.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        while let Some(&byte) = bytes.get(self.at) {
            let after_cr = self.at > self.line && bytes[self.at - 1] == b'\r';
            match byte {
                b'\n' if !after_cr => return Err(Fault::Malformed("a line ends in LF without CR")),
                b'\n' => {
                    self.at += 1;
                    if self.end_line()? {
                        return Ok(Some(self.at));
                    }
                    continue;
                }
                _ if after_cr => return Err(Fault::Malformed("there is a CR without LF")),
                b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
                _ => return Err(Fault::Malformed("there is a control character in the head")),
            }
            self.at += 1;
            if self.request_line == 0 {
                if self.at - self.line > REQUEST_LINE_BYTES_MAX {
                    return Err(Fault::LineTooLong);
                }
            } else if self.at - self.request_line > HEADER_LINES_BYTES_MAX {
                return Err(Fault::HeadersTooLarge);
            }
        }
        Ok(None)
    }

    /// Notes that a line has ended; whether it was the last of the head.
    fn end_line(&mut self) -> Result<bool, Fault> {
        let is_empty = self.at - self.line == 2;
        self.line = self.at;
        if self.request_line == 0 {
            if is_empty {
                self.skipped = self.at;
                let too_many = self.skipped > 2 * EMPTY_LINES_MAX;
                return if too_many { Err(Fault::Malformed("it is empty")) } else { Ok(false) };
            }
            self.request_line = self.at;
            return Ok(false);
        }
        self.lines += 1;
        if self.lines > HEADER_LINES_MAX && !is_empty {
            return Err(Fault::HeadersTooLarge);
        }
        Ok(is_empty)
    }

    /// Whether a request has begun, where there are so many bytes.
    pub fn has_begun(&self, bytes: usize) -> bool {
        bytes > self.skipped
    }

    /// Where the head begins.
    pub fn begin(&self) -> usize {
        self.skipped
    }
}

/// How the body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// So many bytes; none at all, mostly.
    Bytes(usize),
    /// In chunks.
    Chunked,
}

/// A head that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Request line and headers, canonical, in ASCII, without the empty line behind. Bytes beyond ASCII
    /// are percent-encoded, since the engine knows none: in a target that is what they mean.
    pub text: String,
    /// Where the request line ends in it, behind its CRLF.
    headers_at: usize,
    /// Bytes of the target, and of all names and values, as they were sent.
    pub target_bytes: usize,
    pub headers_bytes: usize,
    pub framing: Framing,
    pub body: BodyLength,
    /// Whether the client waits to be told that its body is wanted.
    pub expects_continue: bool,
    /// Whether the connection ends behind it.
    pub is_last: bool,
}

impl Head {
    /// The request line, with its end.
    pub fn line(&self) -> &str {
        &self.text[..self.headers_at]
    }

    /// The headers, each with the end of its line.
    pub fn headers(&self) -> &str {
        &self.text[self.headers_at..]
    }

    /// Reads a head, from its request line to the empty line at its end, that a [`Scanner`] has found.
    ///
    /// # Errors
    /// [`Fault`]: beside what is no head, a body that is declared to be too large (then with the head,
    /// so that the refusal can be in the caller's terms).
    pub fn read(bytes: &[u8]) -> Result<Head, (Fault, Option<Box<Head>>)> {
        let mut lines = Lines(bytes);
        let head = lines.read().map_err(|fault| (fault, None))?;
        match head {
            (head, Some(fault)) => Err((fault, Some(Box::new(head)))),
            (head, None) => Ok(head),
        }
    }
}

/// The lines of a head that are yet to be read.
struct Lines<'b>(&'b [u8]);

impl<'b> Lines<'b> {
    /// The next line, without its end; the empty one at the end of a head is none.
    fn next(&mut self) -> Option<&'b [u8]> {
        // A scanner has seen to it that none ends in anything but CRLF.
        let at = memchr(b'\n', self.0)?;
        let (line, rest) = self.0.split_at(at + 1);
        self.0 = rest;
        line.strip_suffix(b"\r\n").filter(|line| !line.is_empty())
    }

    fn read(&mut self) -> Result<(Head, Option<Fault>), Fault> {
        let line = self.next().unwrap_or_default();
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::Malformed(
                "the request line is not a method, an address and a version, with a space between each",
            ));
        };
        let minor = version_minor(version)?;
        if !is_token(method) || method.len() > METHOD_BYTES_MAX {
            return Err(Fault::Malformed("the method is none"));
        }
        if target.is_empty() || target.contains(&b'\t') {
            return Err(Fault::Malformed("the address is empty or has white space in it"));
        }
        let mut text = String::with_capacity(self.0.len() + line.len() + 16);
        put(&mut text, method);
        text.push(' ');
        put(&mut text, target);
        // Whether the connection goes on is decided here.
        text.push_str(" HTTP/1.1\r\n");
        let headers_at = text.len();

        let mut seen = Seen::default();
        let mut headers_bytes = 0;
        while let Some(line) = self.next() {
            let at = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(at.ok_or(Fault::Malformed("a header has no colon"))?);
            let value = value[1..].trim_ascii();
            if !is_token(name) {
                return Err(Fault::Malformed("a header's name has a character that none has"));
            }
            headers_bytes += name.len() + value.len();
            let is_apart = seen.take(name, value)?;
            if !is_apart {
                put(&mut text, name);
                text.push_str(": ");
                put(&mut text, value);
                text.push_str("\r\n");
            }
        }
        let (body, fault) = seen.body(minor)?;
        let is_last = seen.ends_connection(minor);
        let framing = Framing {
            head: method == b"HEAD",
            connection: match (is_last, minor) {
                (true, _) => Some("close"),
                (false, 0) => Some("keep-alive"),
                (false, _) => None,
            },
            chunks: minor >= 1,
        };
        let head = Head {
            text,
            headers_at,
            target_bytes: target.len(),
            headers_bytes,
            framing,
            body,
            expects_continue: seen.expects_continue && minor >= 1,
            is_last,
        };
        Ok((head, fault))
    }
}

/// What headers say of the message itself.
#[derive(Default)]
struct Seen {
    length: Option<Option<u64>>,
    is_chunked: bool,
    hosts: usize,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Seen {
    /// Notes a header; whether it ends here.
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Fault> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") {
            self.hosts += 1;
            return Ok(false);
        }
        if !NOT_FORWARDED.iter().any(|known| is(known)) {
            return Ok(false);
        }
        if is("content-length") {
            if self.length.is_some() {
                return Err(Fault::Malformed("Content-Length stands there twice"));
            }
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(Fault::Malformed("Content-Length is not a number"));
            }
            // Beyond 64 bits it is a number all the same, and too large.
            self.length = Some(std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()));
        } else if is("transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Malformed("Transfer-Encoding is not `chunked`, once"));
            }
            self.is_chunked = true;
        } else if is("connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("expect") {
            // Any other expectation may be ignored (RFC 9110, section 10.1.1).
            self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
        }
        Ok(true)
    }

    fn body(&self, minor: u8) -> Result<(BodyLength, Option<Fault>), Fault> {
        if self.hosts > 1 || (self.hosts == 0 && minor >= 1) {
            return Err(Fault::Malformed("HTTP/1.1 takes the header Host, once"));
        }
        match (self.is_chunked, self.length) {
            (true, Some(_)) => {
                Err(Fault::Malformed("there are both Content-Length and Transfer-Encoding"))
            }
            (true, None) if minor == 0 => {
                Err(Fault::Malformed("HTTP/1.0 has no Transfer-Encoding"))
            }
            (true, None) => Ok((BodyLength::Chunked, None)),
            (false, None) => Ok((BodyLength::Bytes(0), None)),
            (false, Some(length)) => {
                let length = length.and_then(|length| usize::try_from(length).ok());
                match length.filter(|length| *length <= BODY_BYTES_MAX) {
                    Some(length) => Ok((BodyLength::Bytes(length), None)),
                    None => Ok((BodyLength::Bytes(0), Some(Fault::BodyTooLarge))),
                }
            }
        }
    }

    fn ends_connection(&self, minor: u8) -> bool {
        self.close || (minor == 0 && !self.keep_alive)
    }
}

/// The second digit of HTTP/1.x.
fn version_minor(version: &[u8]) -> Result<u8, Fault> {
    match version {
        b"HTTP/1.0" => Ok(0),
        // A later minor version can be answered as 1.1 (RFC 9110, section 2.5).
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(1),
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => Err(Fault::Version),
        _ => Err(Fault::Malformed("the version is not HTTP/1.1 or HTTP/1.0")),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Puts bytes as ASCII.
fn put(text: &mut String, bytes: &[u8]) {
    if bytes.is_ascii()
        && let Ok(ascii) = std::str::from_utf8(bytes)
    {
        return text.push_str(ascii);
    }
    for &byte in bytes {
        if byte.is_ascii() {
            text.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}
