//! A request as handlers see it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use percent_encoding::percent_decode_str;

/// The methods that handlers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as HTTP names them")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Other,
}

impl Method {
    /// The one of this name; names are told apart by case (RFC 9110, section 9.1).
    pub(super) fn named(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Who sent it: the other end of the connection, which may be a proxy.
    pub peer: IpAddr,
    body: Vec<u8>,
    target: String,
    target_bytes: usize,
    path_end: usize,
    headers: Headers,
    /// As they were sent, if that is known to differ.
    headers_bytes: Option<usize>,
}

impl Request {
    /// A request of this machine's, without headers or body. `target` is as it stands in the request line; the absolute form
    /// (RFC 9112, section 3.2.2) means its path.
    #[must_use]
    pub fn new(method: Method, target: &str) -> Request {
        let target_bytes = target.len();
        let target = match target.strip_prefix("http://").or(target.strip_prefix("https://")) {
            Some(rest) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
            None => target,
        };
        let target = target.split('#').next().unwrap_or_default().to_owned();
        let path_end = target.find('?').unwrap_or(target.len());
        Request {
            method,
            peer: Ipv4Addr::LOCALHOST.into(),
            body: Vec::new(),
            target,
            target_bytes,
            path_end,
            headers: Headers::default(),
            headers_bytes: None,
        }
    }

    /// The same from somebody else.
    #[must_use]
    pub fn from_peer(self, peer: IpAddr) -> Request {
        Request { peer, ..self }
    }

    /// The same with a body, as it was sent but for its framing.
    #[must_use]
    pub fn with_body(self, body: Vec<u8>) -> Request {
        Request { body, ..self }
    }

    /// The body; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// A request of which only its head is known: lines as they are sent, the first of them the request
    /// line. For refusing it in its own terms.
    #[must_use]
    pub(super) fn of_head(text: &str) -> Request {
        let (line, headers) = text.split_once("\r\n").unwrap_or((text, ""));
        let mut parts = line.split(' ');
        let method = Method::named(parts.next().unwrap_or_default());
        Request::new(method, parts.next().unwrap_or_default()).with_lines(headers)
    }

    /// The same with these headers, lines as they are in a head that was found good.
    #[must_use]
    pub(super) fn with_lines(mut self, lines: &str) -> Request {
        self.headers.text.reserve(lines.len());
        for line in lines.split_terminator("\r\n") {
            if let Some((name, value)) = line.split_once(": ") {
                self.headers.push(name, value);
            }
        }
        self
    }

    /// The same, where its target and headers had these bytes as they were sent.
    #[must_use]
    pub(super) fn sized(self, target_bytes: usize, headers_bytes: usize) -> Request {
        Request { target_bytes, headers_bytes: Some(headers_bytes), ..self }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Request {
        self.headers.push(name, value);
        self
    }

    /// The path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.target[..self.path_end]
    }

    /// Path and query, still percent-encoded.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The same below a path: without `base` at its beginning, if it begins with that.
    #[must_use]
    pub fn below(mut self, base: &str) -> Request {
        let rest = self.target.strip_prefix(base);
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        if !base.is_empty() && is_below {
            self.target.drain(..base.len());
            if !self.target.starts_with('/') {
                self.target.insert(0, '/');
            }
            self.path_end = self.target.find('?').unwrap_or(self.target.len());
        }
        self
    }

    /// The query's parameters.
    #[must_use]
    pub fn query(&self) -> Query<'_> {
        Query(self.target.get(self.path_end + 1..).unwrap_or_default())
    }

    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// All headers, names and values, in their order.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.headers.iter()
    }

    /// All headers of this name, in whatever case, in their order: a list may come in several.
    pub fn header_lines<'r>(&'r self, name: &'r str) -> impl DoubleEndedIterator<Item = &'r str> {
        let fits = move |(key, _): &(&str, &str)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(fits).map(|(_, value)| value)
    }

    /// Bytes of the target as it was sent.
    #[must_use]
    pub fn target_bytes(&self) -> usize {
        self.target_bytes
    }

    /// Bytes of all headers, names and values.
    #[must_use]
    pub fn headers_bytes(&self) -> usize {
        self.headers_bytes.unwrap_or(self.headers.text.len())
    }
}

/// Headers in one piece of memory, since there are many and most are never asked for.
#[derive(Clone, Debug, Default)]
struct Headers {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        (0..self.ends.len()).map(|at| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
            let (name_end, end) = self.ends[at];
            (&self.text[start..name_end], &self.text[name_end..end])
        })
    }
}

/// The parameters of a query: `name=value`, separated by `&`. Of one that is repeated, the first
/// counts.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Of a text that has them, such as a form.
    #[must_use]
    pub fn of(text: &'a str) -> Query<'a> {
        Query(text)
    }

    /// A parameter's value as it was sent, still percent-encoded.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Decoding only makes it shorter.
            let may_be = key.len() > name.len() && key.contains('%');
            (key == name || (may_be && decode(key) == name)).then_some(value)
        })
    }

    /// All values of a parameter, in their order, decoded as [`Query::get`] does.
    pub fn each<'n>(&self, name: &'n str) -> impl Iterator<Item = Cow<'a, str>> + use<'a, 'n> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    /// All parameters in their order, decoded as forms are; `None` where one isn't UTF-8.
    pub fn all(&self) -> impl Iterator<Item = Option<(String, String)>> + use<'a> {
        let strict = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
        };
        self.0.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((strict(name)?, strict(value)?))
        })
    }

    /// A parameter's value, decoded as forms are: `+` is a space, and what isn't UTF-8 becomes
    /// U+FFFD.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(decode)
    }
}

/// Decodes a piece of a query.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_path() {
        for (target, below) in [
            ("/sub/a?b=/sub", "/a?b=/sub"),
            ("/sub", "/"),
            ("/sub?a", "/?a"),
            ("/sub/", "/"),
            ("/subs/a", "/subs/a"),
            ("/a/sub", "/a/sub"),
            ("/sub/sub/a", "/sub/a"),
        ] {
            let request = Request::new(Method::Get, target).below("/sub");
            assert_eq!(request.target(), below);
            assert_eq!(request.path(), below.split('?').next().unwrap_or_default());
        }
        assert_eq!(Request::new(Method::Get, "/a?b").below("").target(), "/a?b");
    }

    #[test]
    fn targets() {
        for (target, path, a) in [
            ("/v1/x", "/v1/x", None),
            ("/v1/x?", "/v1/x", None),
            ("/v1/x?a", "/v1/x", Some("")),
            ("/v1/x?a=1&a=2", "/v1/x", Some("1")),
            ("/v1/x?b=2&a=1%202+3", "/v1/x", Some("1 2 3")),
            ("/v1/x?%61=1", "/v1/x", Some("1")),
            ("/v1/x?a=1=2", "/v1/x", Some("1=2")),
            ("/v1/x?a=%ff%zz", "/v1/x", Some("\u{fffd}%zz")),
            ("/v1/x?c=?&a=/#f", "/v1/x", Some("/")),
            ("http://example.com/v1/x?a=1", "/v1/x", Some("1")),
            ("https://example.com", "/", None),
            ("http://example.com?a=1", "", Some("1")),
            ("", "", None),
            ("*", "*", None),
        ] {
            let request = Request::new(Method::Get, target);
            assert_eq!(request.path(), path, "{target}");
            assert_eq!(request.query().get("a").as_deref(), a, "{target}");
        }
    }

    #[test]
    fn each_of_those_that_come_several_times_is_told() {
        let request = Request::new(Method::Get, "/?a=1&b=2&a=&%61=x%3Dy+z&a&aa=5");
        let each: Vec<_> = request.query().each("a").collect();
        assert_eq!(each, ["1", "", "x=y z", ""]);
        assert_eq!(request.query().each("c").count(), 0);
    }

    #[test]
    fn all_parameters_are_told_as_they_are() {
        let all = |query: &str| -> Vec<Option<(String, String)>> {
            Request::new(Method::Get, &format!("/?{query}")).query().all().collect()
        };
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(all(""), []);
        assert_eq!(all("&&"), []);
        assert_eq!(all("a=1+2&%61=%2B&b"), [pair("a", "1 2"), pair("a", "+"), pair("b", "")]);
        assert_eq!(all("=1&a=%zz=%"), [pair("", "1"), pair("a", "%zz=%")]);
        assert_eq!(all("a=%ff&%c3=1&b=%c3%ab"), [None, None, pair("b", "ë")]);
    }

    #[test]
    fn headers_are_found_in_any_case_and_the_first_counts() {
        let request = Request::new(Method::Get, "/")
            .with_header("Origin", "https://a.example")
            .with_header("X-Empty", "")
            .with_header("origin", "https://b.example");
        assert_eq!(request.header("ORIGIN"), Some("https://a.example"));
        assert_eq!(request.header("x-empty"), Some(""));
        assert_eq!(request.header("referer"), None);
        let origins: Vec<_> = request.header_lines("Origin").rev().collect();
        assert_eq!(origins, ["https://b.example", "https://a.example"]);
        assert_eq!(
            request.headers_bytes(),
            "Originhttps://a.exampleX-Emptyoriginhttps://b.example".len()
        );
    }
}
