//! Where a server is reached from outside: scheme, host, and the path that a proxy has it under.

use std::fmt;

/// Bytes of one, at the most.
const BYTES_MAX: usize = 1_024;

/// An address as `https://stats.example.com/sub`: without a query, and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    base: String,
}

impl PublicUrl {
    /// What [`PublicUrl::parse`] takes, for a sentence.
    pub const FORMS: &'static str =
        "an address as https://stats.example.com or https://example.com/stats";

    /// Reads one; `None` if it is none, or has more than scheme, host, port and path.
    #[must_use]
    pub fn parse(text: &str) -> Option<PublicUrl> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let host_end = rest.find('/').unwrap_or(rest.len());
        let (host, base) = rest.split_at(host_end);
        let is_path =
            base.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
        let is_relative = base.split('/').any(|piece| matches!(piece, "." | ".."));
        let fits = text.len() <= BYTES_MAX && is_host(host) && is_path && !is_relative;
        let origin_bytes = text.len() - base.len();
        (fits && !base.contains("//")).then(|| PublicUrl {
            origin: text[..origin_bytes].to_ascii_lowercase(),
            base: base.to_owned(),
        })
    }

    /// The one of a server that is reached at a host, as a `Host` header or an address names it.
    #[must_use]
    pub fn of_host(host: &str, is_secure: bool) -> Option<PublicUrl> {
        let scheme = if is_secure { "https" } else { "http" };
        let origin = || format!("{scheme}://{}", host.to_ascii_lowercase());
        is_host(host).then(|| PublicUrl { origin: origin(), base: String::new() })
    }

    /// This machine, where nothing better is known.
    #[must_use]
    pub fn localhost() -> PublicUrl {
        PublicUrl { origin: "http://localhost".to_owned(), base: String::new() }
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What all paths begin with: empty, or as `/sub`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether what travels there is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// The address of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

/// What a server knows of where it is reached.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// As whoever runs it says.
    pub public_url: Option<PublicUrl>,
    /// As it listens, without anything in front of it.
    pub listening: Option<PublicUrl>,
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.base)
    }
}

/// Whether a text is a host, by name or address, and perhaps a port (RFC 3986, section 3.2, without names that are
/// percent-encoded).
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    is_port
        && match name {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, origin, base) in [
            ("https://example.com", "https://example.com", ""),
            ("https://example.com/", "https://example.com", ""),
            ("http://Example.com:8080/a/b_c/", "http://example.com:8080", "/a/b_c"),
            ("http://[::1]:80", "http://[::1]:80", ""),
            ("http://127.0.0.1:0/~me", "http://127.0.0.1:0", "/~me"),
        ] {
            let url = PublicUrl::parse(text).expect(text);
            assert_eq!((url.origin(), url.base()), (origin, base), "{text}");
            assert_eq!(url.url("/x"), format!("{origin}{base}/x"));
            assert_eq!(url.is_secure(), text.starts_with("https"));
        }
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https:///a",
            "https://a b",
            "https://a?b",
            "https://a/b?c",
            "https://a/#b",
            "https://me@a",
            "https://a:b",
            "https://a:70000",
            "https://a/../b",
            "https://a//b",
            "https://[::1",
            "https://[x]",
            "https://a/b\"c",
            "https://a/%2e",
        ] {
            assert_eq!(PublicUrl::parse(bad), None, "{bad}");
        }
        for host in ["localhost:8080", "example.com", "[::1]:8080", "10.0.0.1"] {
            let url = PublicUrl::of_host(host, false).expect(host);
            assert_eq!(url.to_string(), format!("http://{host}"));
            let url = PublicUrl::of_host(host, true).expect(host);
            assert_eq!(url.to_string(), format!("https://{host}"));
        }
        for bad in ["", "a/b", "a\"", "a b", "a:b:c", "<a>"] {
            assert_eq!(PublicUrl::of_host(bad, false), None, "{bad}");
        }
    }
}
