//! Two requests on one connection, the first odd in some way: there must be one reading of the bytes.
//!
//! Each row is the first request; a plain one is sent right behind it. If the first is refused, that
//! is the one answer, the connection is closed, and nothing is stored, least of all what would be a
//! request in the bytes behind. If it is taken, what follows is read exactly where it ends.

use std::net::SocketAddr;
use std::time::Duration;

use crate::scene::{Seen, Setup, beside, for_a_while};
use crate::support::Server;
use crate::swarm::{Pace, SOURCE, Script, Swarm};

/// The first request, and all that the answers' statuses may be. In it `@1` is the target that is to
/// be answered by it, and `@3` one in a place where no request can be.
pub struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    allowed: &'static [&'static [u16]],
}

pub fn row(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    allowed: &'static [&'static [u16]],
) -> Row {
    Row { name, bytes: bytes.into(), allowed }
}

/// Both are answered, and in all other cases one refusal.
pub const TAKEN: &[&[u16]] = &[&[200, 200]];
pub const REFUSED: &[&[u16]] = &[&[400]];
/// The standard leaves it open.
pub const EITHER: &[&[u16]] = &[&[200, 200], &[400]];

/// Marks of what a row tracks.
fn mark(row: &Row, round: usize, number: usize) -> String {
    format!("{} {round} {number}", row.name)
}

fn bytes(server: &Server, row: &Row, round: usize) -> Vec<u8> {
    let mut bytes = row.bytes.clone();
    bytes.extend_from_slice(b"GET @2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    for number in 1..=3 {
        let event = serde_json::json!({"type": "attack", "mark": mark(row, round, number)});
        let target = server.target("events", &event.to_string());
        bytes = replace(&bytes, format!("@{number}").as_bytes(), target.as_bytes());
    }
    bytes
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut replaced, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(from) {
            replaced.extend_from_slice(to);
            at += from.len();
        } else {
            replaced.push(bytes[at]);
            at += 1;
        }
    }
    replaced
}

/// Sends all rows again and again, once whole and once in small pieces, beside good clients.
pub fn check(name: &str, rows: &[Row]) {
    let setup = Setup { arguments: &["--request-timeout", "2s"], ..Setup::default() };
    beside(name, setup, |server| {
        let mut seen = Seen::default();
        let mut wrong = Vec::new();
        for_a_while(|round| {
            // Seven bytes are no multiple of anything: a read ends in every kind of place.
            let pieces = round == 0;
            let swarm =
                send(server.address, pieces, rows.iter().map(|row| bytes(server, row, round)));
            for (row, peer) in rows.iter().zip(&swarm.peers) {
                let statuses = peer.statuses();
                let fits = row.allowed.contains(&&statuses[..]);
                if !fits || peer.ended.is_none() || !peer.rest().is_empty() {
                    wrong.push(format!(
                        "{}: {} (allowed {:?})",
                        row.name,
                        peer.fate(),
                        row.allowed
                    ));
                }
                for (number, status) in (1..).zip(statuses) {
                    if status == 200 {
                        seen.must.insert(mark(row, round, number));
                    }
                }
            }
            seen.line = swarm.tally();
        });
        wrong.sort();
        wrong.dedup();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
        seen
    });
}

fn send(server: SocketAddr, pieces: bool, requests: impl Iterator<Item = Vec<u8>>) -> Swarm {
    let patience = Duration::from_millis(4_000);
    if !pieces {
        let scripts = requests.map(|bytes| Script::new(bytes, ""));
        let mut swarm = Swarm::open(server, SOURCE, Pace::Full, scripts);
        swarm.run(patience);
        return swarm;
    }
    // What is long goes at once up to its last part, or it would be late.
    let scripts = requests.map(|bytes| {
        let (first, rest) = bytes.split_at(bytes.len().saturating_sub(900));
        Script { once: true, ..Script::new(first, rest) }
    });
    let pace = Pace::Pieces { bytes: 7, every: Duration::from_millis(10) };
    let mut swarm = Swarm::open(server, SOURCE, pace, scripts);
    swarm.run(patience);
    swarm
}
