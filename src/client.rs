//! Whose call it is, where proxies stand in between.
//!
//! Promises that nobody can choose the address that is taken for his: a header is believed only as
//! far as proxies that were named as trusted wrote it. Must not know requests, only the values of
//! headers.
//!
//! Each proxy adds, at the right end of a list, from whom it got the call. So the list is read from
//! there: the peer is trusted, so the last entry is true; if that one is trusted as well, so is the
//! one before; the first that isn't trusted is the client, and whatever stands left of it was in
//! its power to invent. An entry that is no address (`unknown`, `_hidden`, garbage) ends the walk
//! at the last one that is sure.
//!
//! There are two such lists, `X-Forwarded-For` and `Forwarded` (RFC 7239), and a proxy that writes
//! one passes the other on as the client sent it. Nearly all write the first, so where it is there,
//! it alone counts. Neither preferring the second nor having them agree is safe: a client behind
//! an ordinary proxy could then choose its address, or pass for the proxy, by a header of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Networks that can be named as trusted, at the most.
pub const NETS_MAX: usize = 64;

/// Entries of a list that are looked at, at the most; no honest chain of proxies is so long.
pub const HOPS_MAX: usize = 32;

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads networks or single addresses, separated by commas: `10.0.0.0/8, ::1`. `None` if one is
    /// neither, or if there are more than [`NETS_MAX`]. Nothing at all is no proxy.
    #[must_use]
    pub fn parse(text: &str) -> Option<Proxies> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        let nets: Vec<IpNet> = texts.map(net).collect::<Option<_>>()?;
        (nets.len() <= NETS_MAX).then_some(Proxies(nets))
    }

    /// Whether an address is that of a trusted proxy.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The client's address, IPv4 as such even where it came as a mapped IPv6 one.
    ///
    /// `peer` is the other end of the connection; of both headers all lines are given, in their
    /// order, since together they are one list.
    pub fn client<'h>(
        &self,
        peer: IpAddr,
        x_forwarded_for: impl DoubleEndedIterator<Item = &'h str>,
        forwarded: impl DoubleEndedIterator<Item = &'h str>,
    ) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trust(peer) {
            return peer;
        }
        let mut lines = x_forwarded_for.rev().peekable();
        if lines.peek().is_some() {
            self.walk(peer, lines.flat_map(|line| line.rsplit(',')).map(node))
        } else {
            let elements =
                forwarded.rev().flat_map(|line| Unquoted { rest: Some(line), mark: b',' });
            self.walk(peer, elements.map(forwarded_for))
        }
    }

    /// From the peer on towards the client, as long as each is trusted to name the next.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Hop>) -> IpAddr {
        let mut sure = peer;
        for hop in hops.take(HOPS_MAX) {
            match hop {
                Hop::Nothing => {}
                Hop::Unclear => break,
                Hop::At(address) => {
                    sure = address;
                    if !self.trust(address) {
                        break;
                    }
                }
            }
        }
        sure
    }
}

/// A network, or an address as the network of it alone. A mapped IPv4 address is the IPv4 one.
fn net(text: &str) -> Option<IpNet> {
    let address = |text: &str| text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
    text.parse::<IpNet>().ok().or_else(|| address(text))
}

/// One entry of a list.
#[derive(Debug, PartialEq, Eq)]
enum Hop {
    At(IpAddr),
    /// No address, or none that can be told.
    Unclear,
    /// An empty entry, which a list may have (RFC 9110, section 5.6.1).
    Nothing,
}

/// An address as it stands in either list: bare, or with a port, or in brackets.
fn node(text: &str) -> Hop {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Hop::Nothing;
    }
    let bracketed = |text: &str| -> Option<IpAddr> {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        address.parse::<Ipv6Addr>().ok().filter(|_| is_port).map(IpAddr::V6)
    };
    let with_port = |text: &str| -> Option<IpAddr> {
        let (address, port) = text.split_once(':')?;
        address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
    };
    let address = text.parse().ok().or_else(|| bracketed(text)).or_else(|| with_port(text));
    address.map_or(Hop::Unclear, |address| Hop::At(address.to_canonical()))
}

/// A number, or an obfuscated one (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix('_').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && (text.starts_with('_') || text.parse::<u16>().is_ok())
}

/// The `for` of one element of `Forwarded`: `for=192.0.2.1;proto=https`, `For="[2001:db8::1]:80"`.
fn forwarded_for(element: &str) -> Hop {
    if element.trim_matches([' ', '\t']).is_empty() {
        return Hop::Nothing;
    }
    let pairs = Unquoted { rest: Some(element), mark: b';' };
    let mut values = pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for").then_some(value)
    });
    // Two in one element are no less unclear than none.
    let (Some(value), None) = (values.next(), values.next()) else { return Hop::Unclear };
    let value = value.trim_matches([' ', '\t']);
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    };
    // An address has no use for escapes within quotes, so they aren't undone.
    match inner.map(node) {
        Some(Hop::At(address)) => Hop::At(address),
        _ => Hop::Unclear,
    }
}

/// Pieces between marks that don't stand within quotes, from the right: read from the left, a quote
/// that a client left open would swallow what the proxies wrote behind it.
struct Unquoted<'a> {
    rest: Option<&'a str>,
    mark: u8,
}

impl<'a> Iterator for Unquoted<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        let bytes = rest.as_bytes();
        let mut quoted = false;
        for at in (0..bytes.len()).rev() {
            match bytes[at] {
                b'"' => {
                    // Within quotes, a quote behind a backslash is a character of the text.
                    let escaped = quoted && at > 0 && bytes[at - 1] == b'\\';
                    quoted ^= !escaped;
                }
                byte if byte == self.mark && !quoted => {
                    self.rest = Some(&rest[..at]);
                    return Some(&rest[at + 1..]);
                }
                _ => {}
            }
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRUSTED: &str = "10.0.0.0/8, 127.0.0.1, 2001:db8:aa::/48,::1";

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn client(peer: &str, x_forwarded_for: &[&str], forwarded: &[&str]) -> String {
        let proxies = Proxies::parse(TRUSTED).expect("networks");
        let [x_forwarded_for, forwarded] =
            [x_forwarded_for, forwarded].map(|lines| lines.iter().copied());
        proxies.client(ip(peer), x_forwarded_for, forwarded).to_string()
    }

    #[test]
    fn networks() {
        for (text, count) in [
            ("", Some(0)),
            (" , ", Some(0)),
            ("10.0.0.0/8", Some(1)),
            ("10.0.0.1/8", Some(1)),
            ("192.0.2.1", Some(1)),
            ("::1, fd00::/8 ,0.0.0.0/0", Some(3)),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("10.0.0", None),
            ("localhost", None),
            ("10.0.0.0/8;::1", None),
            ("[::1]", None),
        ] {
            assert_eq!(Proxies::parse(text).map(|proxies| proxies.0.len()), count, "{text:?}");
        }
        assert!(Proxies::parse(&"10.0.0.1,".repeat(NETS_MAX)).is_some());
        assert!(Proxies::parse(&"10.0.0.1,".repeat(NETS_MAX + 1)).is_none());
        let mapped = Proxies::parse("::ffff:192.0.2.1").expect("an address");
        assert!(mapped.trust(ip("192.0.2.1")) && mapped.trust(ip("::ffff:192.0.2.1")));
        let loopback = Proxies::parse("127.0.0.0/8").expect("a network");
        assert!(loopback.trust(ip("::ffff:127.0.0.1")) && !loopback.trust(ip("::1")));
    }

    #[test]
    fn x_forwarded_for() {
        for (peer, lines, found) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:192.0.2.9", &[], "192.0.2.9"),
            ("127.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["192.0.2.1,10.1.2.3\t, 2001:db8:aa::7"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1", "10.1.2.3"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1, ,", ""], "192.0.2.1"),
            ("127.0.0.1", &["10.0.0.9"], "10.0.0.9"),
            // What a client invents stands left of what the proxy saw.
            ("127.0.0.1", &["198.51.100.1, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.1", "192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.1, 127.0.0.1, 192.0.2.1, 10.0.0.1"], "192.0.2.1"),
            ("192.0.2.9", &["198.51.100.1"], "192.0.2.9"),
            ("192.0.2.9", &["127.0.0.1"], "192.0.2.9"),
            // The last that is sure.
            ("127.0.0.1", &["unknown"], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1, unknown, 10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &["192.0.2.1, 10.0.0.300, 10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &["192.0.2.1 10.0.0.1"], "127.0.0.1"),
            ("127.0.0.1", &["[192.0.2.1]"], "127.0.0.1"),
            ("127.0.0.1", &["[2001:db8::1"], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1:99999"], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1:"], "127.0.0.1"),
            ("127.0.0.1", &["\u{fffd}\u{fffd}"], "127.0.0.1"),
        ] {
            assert_eq!(client(peer, lines, &[]), found, "{peer} {lines:?}");
        }
        let long = format!("192.0.2.1{}", ", 10.0.0.1".repeat(HOPS_MAX));
        assert_eq!(client("127.0.0.1", &[&long], &[]), "10.0.0.1");
    }

    #[test]
    fn forwarded() {
        for (lines, found) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["For=\"192.0.2.1:80\";proto=https; by=10.0.0.1"], "192.0.2.1"),
            (&["proto=http;FOR=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=\"[2001:db8::1]:_x.y-z\""], "2001:db8::1"),
            (&["for=198.51.100.1, for=192.0.2.1, for=10.0.0.1"], "192.0.2.1"),
            (&["for=198.51.100.1", "for=192.0.2.1;by=\"a,b;c\""], "192.0.2.1"),
            (&["for=192.0.2.1;by=\"a\\\",\\\"b\", for=10.0.0.1"], "192.0.2.1"),
            // A quote left open, or a list within quotes, takes nothing from the right.
            (&["for=\"198.51.100.1, for=192.0.2.1"], "192.0.2.1"),
            (&["for=\"", "for=192.0.2.1"], "192.0.2.1"),
            (&["for=\"198.51.100.1, for=192.0.2.1\""], "127.0.0.1"),
            (&["for=192.0.2.1, for=unknown"], "127.0.0.1"),
            (&["for=192.0.2.1, for=_hidden, for=10.0.0.1"], "10.0.0.1"),
            (&["for=192.0.2.1;for=198.51.100.1"], "127.0.0.1"),
            (&["by=192.0.2.1"], "127.0.0.1"),
            (&["192.0.2.1"], "127.0.0.1"),
            (&["for="], "127.0.0.1"),
            (&["for=\"\""], "127.0.0.1"),
            (&["for=\"192.0.2.1"], "127.0.0.1"),
        ] {
            assert_eq!(client("127.0.0.1", &[], lines), found, "{lines:?}");
        }
        assert_eq!(client("192.0.2.9", &[], &["for=127.0.0.1"]), "192.0.2.9");
        // What a client sends beside the header that its proxy writes is nothing.
        for invented in ["for=198.51.100.1", "for=127.0.0.1", "for=unknown", "\""] {
            assert_eq!(client("127.0.0.1", &["192.0.2.1"], &[invented]), "192.0.2.1");
        }
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_the_client_whatever_it_says(
            peer: [u8; 4],
            lines in proptest::collection::vec("[ -~]{0,40}|(for=)?10\\.0\\.0\\.1(, 127.0.0.1)?", 0..4),
        ) {
            let peer = IpAddr::from(peer);
            let proxies = Proxies::parse(TRUSTED).expect("networks");
            prop_assume!(!proxies.trust(peer));
            let lines = || lines.iter().map(String::as_str);
            prop_assert_eq!(proxies.client(peer, lines(), lines()), peer);
            prop_assert_eq!(Proxies::default().client(peer, lines(), lines()), peer);
        }

        #[test]
        fn what_stands_left_of_the_client_never_matters(
            left in "[ -~\u{80}-\u{2ff}]{0,80}",
            forwarded: bool,
        ) {
            let client: IpAddr = [192, 0, 2, 1].into();
            let proxies = Proxies::parse(TRUSTED).expect("networks");
            let one = if forwarded { "for=192.0.2.1;proto=https, for=10.0.0.1" } else { "192.0.2.1, 10.0.0.1" };
            let line = format!("{left}, {one}");
            let (x, f) = if forwarded { (None, Some(line.as_str())) } else { (Some(line.as_str()), None) };
            let found = proxies.client([127, 0, 0, 1].into(), x.into_iter(), f.into_iter());
            prop_assert_eq!(found, client);
        }
    }
}
