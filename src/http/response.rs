//! An answer as handlers make it, and its bytes.

use std::borrow::Cow;

use crate::clock;

/// Bytes of a body that is part of the program, from which on it isn't copied to be sent.
const SHARED_BODY_BYTES_MIN: usize = 4 * 1024;

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    reason: Option<(&'static str, String)>,
}

/// What becomes of the connection and the body when the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The answer to HEAD has no body.
    pub head: bool,
    /// What to say of the connection, where it isn't the version's default.
    pub connection: Option<&'static str>,
    /// Whether the version knows chunks.
    pub chunks: bool,
}

/// How the other side knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilClosed,
}

impl Response {
    /// An answer with a body. `content_type` may be empty where the body is.
    #[must_use]
    pub fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Response {
        Response { status, content_type, headers: Vec::new(), body: body.into(), reason: None }
    }

    /// An answer of JSON text.
    #[must_use]
    pub fn json(status: u16, text: impl Into<String>) -> Response {
        Response::new(status, "application/json", text.into().into_bytes())
    }

    /// The same with one more header. A value that can't stand in a header (a line break in it,
    /// say) is left out, header and all.
    #[must_use]
    pub fn with_header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Response {
        let value = value.into();
        if value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            self.headers.push((name, value));
        }
        self
    }

    /// The same, saying why it refuses: a word and a sentence for whoever keeps count of answers. They
    /// aren't sent.
    #[must_use]
    pub fn with_reason(self, word: &'static str, sentence: String) -> Response {
        Response { reason: Some((word, sentence)), ..self }
    }

    /// What [`Response::with_reason`] said.
    #[must_use]
    pub fn reason(&self) -> Option<(&'static str, &str)> {
        self.reason.as_ref().map(|(word, sentence)| (*word, sentence.as_str()))
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_ref())
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole answer, to be written at once.
    #[must_use]
    pub fn to_bytes(&self, framing: Framing) -> Vec<u8> {
        let mut out = self.head(Length::Bytes(self.body.len()), framing.connection);
        if !framing.head {
            out.extend_from_slice(&self.body);
        }
        out
    }

    /// The same in two parts: what has to be copied, and a body that is part of the program and large.
    pub(super) fn to_parts(&self, framing: Framing) -> (Vec<u8>, &'static [u8]) {
        match self.body {
            Cow::Borrowed(body) if body.len() >= SHARED_BODY_BYTES_MIN && !framing.head => {
                (self.head(Length::Bytes(body.len()), framing.connection), body)
            }
            _ => (self.to_bytes(framing), b""),
        }
    }

    /// The head of an answer whose body comes bit by bit, in chunks or until the connection ends.
    pub(super) fn to_stream_head(&self, framing: Framing) -> Vec<u8> {
        if framing.chunks {
            self.head(Length::Chunked, framing.connection)
        } else {
            self.head(Length::UntilClosed, Some("close"))
        }
    }

    fn head(&self, length: Length, connection: Option<&'static str>) -> Vec<u8> {
        let body_bytes = if let Cow::Owned(body) = &self.body { body.len() } else { 0 };
        let mut out = Vec::with_capacity(512 + body_bytes);
        let mut put = |parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        put(&["HTTP/1.1 ", &self.status.to_string(), " ", reason(self.status), "\r\n"]);
        put(&["Date: ", &clock::http_date(), "\r\n"]);
        if !self.content_type.is_empty() {
            put(&["Content-Type: ", self.content_type, "\r\n"]);
        }
        match length {
            // None of these has one, and a length of 304 would be that of what it stands for (RFC 9110, section 8.6).
            Length::Bytes(_) if matches!(self.status, 204 | 304) => {}
            Length::Bytes(bytes) => put(&["Content-Length: ", &bytes.to_string(), "\r\n"]),
            Length::Chunked => put(&["Transfer-Encoding: chunked\r\n"]),
            Length::UntilClosed => {}
        }
        for (name, value) in &self.headers {
            put(&[name, ": ", value, "\r\n"]);
        }
        if let Some(connection) = connection {
            put(&["Connection: ", connection, "\r\n"]);
        }
        put(&["\r\n"]);
        out
    }
}

/// The phrase behind a status, for those that are used here.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        let answer =
            Response::json(200, "{}").with_header("X-A", "b").with_header("X-Bad", "a\r\nb");
        let framing = Framing { head: false, connection: Some("close"), chunks: true };
        let whole = answer.to_bytes(framing);
        let whole = String::from_utf8(whole).expect("ASCII");
        let (head, body) = whole.split_once("\r\n\r\n").expect("an empty line");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{head}");
        assert!(head.ends_with(
            " GMT\r\nContent-Type: application/json\r\nContent-Length: 2\r\nX-A: b\r\nConnection: close"
        ));
        assert_eq!(body, "{}");
        let head = answer.to_bytes(Framing { head: true, connection: None, ..framing });
        assert!(head.ends_with(b"Content-Length: 2\r\nX-A: b\r\n\r\n"));
        for (chunks, connection, end) in [
            (true, None, "json\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"),
            (true, Some("close"), "chunked\r\nX-A: b\r\nConnection: close\r\n\r\n"),
            (false, None, "json\r\nX-A: b\r\nConnection: close\r\n\r\n"),
            (false, Some("keep-alive"), "json\r\nX-A: b\r\nConnection: close\r\n\r\n"),
        ] {
            let head = answer.to_stream_head(Framing { head: false, connection, chunks });
            assert!(head.ends_with(end.as_bytes()), "{}", String::from_utf8_lossy(&head));
        }
    }
}
