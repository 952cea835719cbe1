//! Who may connect: as many as there is room for, and no more of one address than its share.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::limits::Limits;

/// Connections that are looked out at once to make room, since looking at all of them takes a moment.
const LOOKED_OUT: usize = 64;

/// How long they stay the ones to look at: those who came since may never ask for anything, and go before
/// any that was served.
const LOOKED_OUT_FOR: Duration = Duration::from_millis(100);

/// Connections that one address may hold and still count as few: browsers open six, an office some more.
const FEW: usize = 16;

/// Connections by address.
#[derive(Default)]
pub(super) struct Shares(HashMap<IpAddr, usize>);

impl Shares {
    /// Counts one more, unless that is more than the address may have.
    pub fn enter(&mut self, peer: IpAddr, limits: &Limits) -> bool {
        let count = self.0.entry(net(peer)).or_default();
        let enters = *count < limits.address_connections_max || (limits.unbounded)(peer);
        if enters {
            *count += 1;
        }
        enters
    }

    /// Whether it has no more than anybody may well have.
    fn has_few(&self, peer: IpAddr) -> bool {
        self.count(peer) <= FEW
    }

    /// Whether there are so many connections that one more of this address needs room made for it. The last
    /// eighth is kept for those who have few, as a flood may be too busy to make room at once.
    pub fn is_full(&self, connections: usize, peer: IpAddr, limits: &Limits) -> bool {
        let max = limits.connections_max;
        let kept = if self.has_few(peer) { 0 } else { max / 8 };
        connections >= max - kept
    }

    /// How many it has.
    fn count(&self, peer: IpAddr) -> usize {
        self.0.get(&net(peer)).copied().unwrap_or_default()
    }

    /// Counts one less.
    pub fn leave(&mut self, peer: IpAddr) {
        let peer = net(peer);
        if let Some(count) = self.0.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&peer);
            }
        }
    }
}

/// What counts as one address: one person's network has 2^64 of IPv6.
fn net(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

/// Connections that could make room, the readiest last: those that were never served before those that were, and
/// of either the ones of the address that has most, so that a flood pushes itself out, whether it asks for
/// something or not; then whoever has been quiet the longest.
#[derive(Default)]
pub(super) struct Quiet {
    found: Vec<(u64, (bool, Instant))>,
    until: Option<Instant>,
}

impl Quiet {
    /// The one that is to make room for another of an address, if any can. One that calls and has few never makes
    /// room for one that has many.
    pub fn next(
        &mut self,
        connections: &HashMap<u64, Connection>,
        shares: &Shares,
        peer: Option<IpAddr>,
        now: Instant,
    ) -> Option<u64> {
        let is_one_of_many = peer.is_some_and(|peer| !shares.has_few(peer));
        if self.until.is_none_or(|until| now >= until) {
            self.found.clear();
        }
        for looked_again in [false, true] {
            if looked_again {
                self.look_out(connections, shares);
                self.until = Some(now + LOOKED_OUT_FOR);
            }
            while let Some((id, since)) = self.found.pop() {
                let Some(connection) = connections.get(&id) else { continue };
                // It may have been served since.
                if connection.quiet_since() != Some(since) {
                    continue;
                }
                if is_one_of_many && since.0 && shares.has_few(connection.peer()) {
                    // And so are all behind it.
                    self.found.push((id, since));
                    return None;
                }
                return Some(id);
            }
        }
        None
    }

    fn look_out(&mut self, connections: &HashMap<u64, Connection>, shares: &Shares) {
        let quiet = |(id, connection): (&u64, &Connection)| {
            let (served, since) = connection.quiet_since()?;
            let (peer, count) = (connection.peer(), shares.count(connection.peer()));
            // Of those who call, none is set back for the one connection more that it has.
            let count = if served && shares.has_few(peer) { 0 } else { count };
            Some(((served, Reverse(count), since), *id))
        };
        let mut found: Vec<_> = connections.iter().filter_map(quiet).collect();
        if found.len() > LOOKED_OUT {
            found.select_nth_unstable(LOOKED_OUT);
            found.truncate(LOOKED_OUT);
        }
        found.sort_unstable_by_key(|readiness| Reverse(*readiness));
        self.found =
            found.into_iter().map(|((served, _, since), id)| (id, (served, since))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn an_address_has_its_share() {
        let limits = Limits {
            address_connections_max: 2,
            unbounded: Arc::new(|address| address == Ipv4Addr::new(192, 0, 2, 9)),
            ..Limits::default()
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut shares = Shares::default();
        for (peer, enters) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::ffff:0:0:2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::3", true),
            ("192.0.2.9", true),
            ("192.0.2.9", true),
            ("192.0.2.9", true),
        ] {
            assert_eq!(shares.enter(address(peer), &limits), enters, "{peer}");
        }
        shares.leave(address("192.0.2.1"));
        assert!(shares.enter(address("192.0.2.1"), &limits));
        for peer in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"] {
            shares.leave(address(peer));
        }
        assert_eq!(shares.0.len(), 2, "who has none is forgotten");
    }

    #[test]
    fn the_one_that_never_asked_makes_room_first() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let begin = Instant::now();
        let (mut connections, mut shares) = (HashMap::new(), Shares::default());
        for id in 0..200 {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(listener.accept().unwrap());
            let opened = begin + Duration::from_millis((id * 7) % 200);
            // Every tenth is of somebody else.
            let peer = IpAddr::from([127, 0, 0, if id % 10 == 0 { 2 } else { 1 }]);
            shares.enter(peer, &Limits::default());
            connections.insert(id, Connection::new(id, socket, peer, opened));
        }
        let (mut quiet, mut last) = (Quiet::default(), (IpAddr::from([127, 0, 0, 1]), begin));
        for _ in 0..200 {
            let id = quiet.next(&connections, &shares, None, begin).expect("all are quiet");
            let connection = connections.remove(&id).unwrap();
            let (served, since) = connection.quiet_since().unwrap();
            let this = (connection.peer(), since);
            assert!(!served && this >= last, "those of whoever has most, the oldest first");
            last = this;
        }
        assert_eq!(quiet.next(&connections, &shares, None, begin), None);
    }
    /// A flood that asks for something pushes out its own connections, not those of somebody who calls less often;
    /// of those with few each, whoever has been quiet the longest goes, however many they have.
    #[test]
    fn a_flood_that_is_served_makes_room_for_others() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let begin = Instant::now();
        let (mut connections, mut shares) = (HashMap::new(), Shares::default());
        // Who has how many; the first ones have been quiet the longest.
        let peers = [(1, 10), (2, 1), (3, 100), (4, 5)];
        let each = peers.iter().flat_map(|(last, many)| std::iter::repeat_n(*last, *many));
        for (id, last) in (0..).zip(each) {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(listener.accept().unwrap());
            let peer = IpAddr::from([127, 0, 0, last]);
            shares.enter(peer, &Limits::default());
            let mut connection = Connection::new(id, socket, peer, begin);
            connection.serve(begin + Duration::from_millis(id));
            connections.insert(id, connection);
        }
        let (few, many) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 3]));
        let limits = Limits { connections_max: 120, ..Limits::default() };
        assert!(shares.is_full(105, many, &limits) && !shares.is_full(104, many, &limits));
        assert!(shares.is_full(120, few, &limits) && !shares.is_full(119, few, &limits));
        // Those who call and have few stay, though nobody else is quiet, however many come.
        let mut others = HashMap::new();
        for id in (0..11).chain(111..116) {
            others.insert(id, connections.remove(&id).unwrap());
        }
        let mut quiet = Quiet::default();
        assert_eq!(quiet.next(&others, &shares, Some(many), begin), None);
        assert_eq!(quiet.next(&others, &shares, Some(few), begin), Some(0));
        connections.extend(others);

        let mut quiet = Quiet::default();
        let mut went = Vec::new();
        while let Some(id) = quiet.next(&connections, &shares, None, begin) {
            let peer = connections.remove(&id).unwrap().peer();
            shares.leave(peer);
            went.push(id);
        }
        let first = went.iter().position(|id| !(11..111).contains(id)).unwrap();
        assert!(first >= 100 - FEW, "{went:?}");
        let others: Vec<_> = went.into_iter().filter(|id| !(11..111).contains(id)).collect();
        assert!(others.is_sorted(), "{others:?}");
    }
}
