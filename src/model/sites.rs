//! Sites: which hosts an account takes calls of browsers from.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::limits::{SITE_BYTES_MAX, SITES_MAX};

/// The hosts that calls of browsers may come from: at least one, in the order given, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sites(Vec<Site>);

/// A host: `www.example.com`, an address, or `*.example.com` for all that lies below.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site(Box<str>);

/// Why texts are no sites.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SitesError {
    /// One is no host.
    #[error(
        "{0:?} is no host; give the bare name of one, as in `www.example.com`, `*.example.com` for all \
         below it, `localhost` or an IP address: without `https://`, port or path"
    )]
    NoHost(String),
    /// There are more than [`SITES_MAX`].
    #[error(
        "an account takes at most {SITES_MAX} sites, these are {0}; `*.example.com` stands for many"
    )]
    TooMany(usize),
    /// There is none.
    #[error("name at least one site")]
    None,
}

impl Sites {
    /// Checks hosts, and makes them lower-case. Names beyond ASCII are given as browsers send them
    /// (`xn--…`).
    ///
    /// # Errors
    /// [`SitesError`] names the first that is wrong.
    pub fn new<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Result<Sites, SitesError> {
        let (mut sites, mut count): (Vec<Site>, usize) = (Vec::new(), 0);
        for host in hosts {
            count += 1;
            let site = Site::parse(host)
                .ok_or_else(|| SitesError::NoHost(host.chars().take(300).collect()))?;
            if !sites.contains(&site) && sites.len() <= SITES_MAX {
                sites.push(site);
            }
        }
        match sites.len() {
            0 => Err(SitesError::None),
            1..=SITES_MAX => Ok(Sites(sites)),
            _ => Err(SitesError::TooMany(count)),
        }
    }

    /// Whether a call may come from there: `host` is that of a URL, in any case, with or without a port
    /// and a dot at its end.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let host = bare(host);
        self.0.iter().any(|site| site.allows(host))
    }

    /// The hosts.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|site| &*site.0)
    }

    /// Takes apart what was shown as text.
    ///
    /// # Errors
    /// As [`Sites::new`].
    pub fn parse(text: &str) -> Result<Sites, SitesError> {
        Sites::new(text.split(' '))
    }
}

impl fmt::Display for Sites {
    /// With a space between two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, site) in self.iter().enumerate() {
            let space = if number > 0 { " " } else { "" };
            write!(f, "{space}{site}")?;
        }
        Ok(())
    }
}

impl Site {
    fn parse(host: &str) -> Option<Site> {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = address.unwrap_or(host).parse::<Ipv6Addr>() {
            return Some(Site(address.to_string().into()));
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let bounded = host.len() <= SITE_BYTES_MAX && name.split('.').all(is_label);
        // Where the last label is a number, browsers take it for an address or for nothing.
        let numeric =
            name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let is_host = bounded && (!numeric || host.parse::<Ipv4Addr>().is_ok());
        is_host.then(|| Site(host.into()))
    }

    fn allows(&self, host: &str) -> bool {
        if let Some(parent) = self.0.strip_prefix('*') {
            // The dot before the parent, and something before the dot.
            let at = host.len().checked_sub(parent.len());
            return at.is_some_and(|at| {
                at > 0 && host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(parent))
            });
        }
        if let (Ok(site), Ok(host)) = (self.0.parse::<Ipv6Addr>(), host.parse::<Ipv6Addr>()) {
            return site == host;
        }
        self.0.eq_ignore_ascii_case(host)
    }
}

/// A host without its port, brackets and the dot at its end.
fn bare(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return address;
    }
    let name = match host.split_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let long = format!("{}.example", vec!["a".repeat(60); 5].join("."));
        let longest = format!("{}a", "a.".repeat(126));
        for (given, taken) in [
            ("example.com", Some("example.com")),
            ("WWW.Example.COM.", Some("www.example.com")),
            ("*.example.com", Some("*.example.com")),
            ("localhost", Some("localhost")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("a_b.example", Some("a_b.example")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("::1")),
            ("2001:DB8::1", Some("2001:db8::1")),
            (&longest, Some(&*longest)),
            ("", None),
            (".", None),
            ("*", None),
            ("*.", None),
            ("a.*.example", None),
            ("**.example.com", None),
            ("https://example.com", None),
            ("example.com/", None),
            ("example.com:8080", None),
            ("a b", None),
            ("a\n", None),
            ("bücher.example", None),
            ("-a.example", None),
            ("a..example", None),
            ("1.2.3.4.5", None),
            ("*.1.2.3.4", None),
            ("256.0.0.1", None),
            ("user@example.com", None),
            (&long, None),
            (&"a".repeat(64), None),
        ] {
            let sites = Sites::new([given]);
            assert_eq!(sites.as_ref().ok().map(ToString::to_string).as_deref(), taken, "{given:?}");
            if let Err(error) = sites {
                assert!(error.to_string().contains("www.example.com"), "{error}");
            }
        }
    }

    #[test]
    fn as_many_as_may_be() {
        let hosts = |count: usize| (0..count).map(|n| format!("h{n}.example")).collect::<Vec<_>>();
        for (count, good) in [(0, false), (1, true), (SITES_MAX, true), (SITES_MAX + 1, false)] {
            let hosts = hosts(count);
            let sites = Sites::new(hosts.iter().map(String::as_str));
            assert_eq!(sites.is_ok(), good, "{count}");
            if let Ok(sites) = sites {
                assert_eq!(Sites::parse(&sites.to_string()), Ok(sites));
            }
        }
        let twice = Sites::new(["b.example", "A.example", "a.example."]).expect("hosts");
        assert_eq!(twice.iter().collect::<Vec<_>>(), ["b.example", "a.example"]);
    }

    #[test]
    fn who_is_allowed() {
        for (site, host, allowed) in [
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("example.com", "example.com:8443", true),
            ("example.com", "example.com.:8443", true),
            ("example.com", "www.example.com", false),
            ("example.com", "badexample.com", false),
            ("example.com", "example.com.evil.example", false),
            ("example.com", "example.com:x", false),
            ("example.com", "", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "a.b.Example.com:80", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.example.com", "www.example.com.evil.example", false),
            ("*.example.com", "é.example.com", true),
            ("*.example.com", "éxample.com", false),
            ("localhost", "localhost:3000", true),
            ("127.0.0.1", "127.0.0.1:3000", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("::1", "[::1]:3000", true),
            ("::1", "[0:0:0:0:0:0:0:1]", true),
            ("[::1]", "::1", true),
            ("::1", "[::2]", false),
        ] {
            let sites = Sites::new(["other.example", site]).expect("a host");
            assert_eq!(sites.allows(host), allowed, "{site} {host}");
        }
    }
}
