//! What any bytes on a connection have to keep to.

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use super::engine::{Engine, Link, Parcel};
use super::head::{Head, TICKET};
use super::inbox::{Inbox, Next};
use super::limits::BODY_BYTES_MAX;
use super::mailbox::Place;
use super::{Fault, Request};

/// Bytes that a buffer may have beside twice of what is in it.
const SPARE_BYTES: usize = 256;

/// One engine for all, and how many heads it was handed.
static ENGINE: Mutex<Option<(Engine, Link, u64)>> = Mutex::new(None);

/// Takes bytes as a connection does: however they are cut, they are the same requests, or the same fault;
/// no more is kept of them than they are; and what passes is read by the engine as it stands.
pub(crate) fn connection(bytes: &[u8]) {
    let whole = read(bytes, bytes.len().max(1));
    for piece in [1, 2 + crc32fast::hash(bytes) as usize % 60] {
        assert_eq!(read(bytes, piece), whole, "in pieces of {piece}");
    }
    for (head, body) in &whole.requests {
        assert!(body.len() <= BODY_BYTES_MAX);
        check(head);
        handed_over(Box::new(head.clone()));
    }
    if let Some((_, Some(head))) = &whole.fault {
        check(head);
    }
}

/// What bytes come to.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<(Head, Vec<u8>)>,
    fault: Option<(Fault, Option<Head>)>,
    has_begun: bool,
}

fn read(bytes: &[u8], piece: usize) -> Outcome {
    let mut inbox = Inbox::default();
    let mut outcome = Outcome { requests: Vec::new(), fault: None, has_begun: false };
    for piece in bytes.chunks(piece) {
        inbox.push(piece);
        loop {
            match inbox.next() {
                Next::More => break,
                Next::Request(head, body) => outcome.requests.push((*head, body)),
                Next::Fault(fault, head) => {
                    assert!(outcome.fault.is_none(), "there is nothing behind a fault");
                    outcome.fault = Some((fault, head.map(|head| *head)));
                }
            }
        }
        assert!(inbox.held_bytes() <= 4 * bytes.len() + SPARE_BYTES);
    }
    outcome.has_begun = inbox.has_begun();
    assert!(!outcome.has_begun || outcome.fault.is_none());
    outcome
}

/// A head that passes is lines of ASCII, each a name and a value, and nothing that is for this connection.
fn check(head: &Head) {
    let (line, headers) = (head.line(), head.headers());
    assert!(line.ends_with(" HTTP/1.1\r\n") && line.split(' ').count() == 3, "{line:?}");
    assert!(headers.is_empty() || headers.ends_with("\r\n"), "{headers:?}");
    let is_text = |line: &str| line.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    for line in head.text.split_terminator("\r\n") {
        assert!(is_text(line), "{line:?}");
    }
    for line in headers.split_terminator("\r\n") {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        assert!(!name.is_empty() && !name.contains([' ', '\t', ':']), "{line:?}");
        assert_eq!(value.trim_ascii(), value);
        for own in [TICKET, "connection", "content-length", "transfer-encoding", "upgrade", "te"] {
            assert!(!name.eq_ignore_ascii_case(own), "{line:?}");
        }
    }
}

fn handed_over(head: Box<Head>) {
    let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    let (engine, link, number) = engine.get_or_insert_with(|| {
        let (engine, link) = Engine::start().expect("an engine");
        (engine, link, 0)
    });
    let expected = Request::of_head(&head.text);
    let to = Place { connection: 1, number: *number, held_bytes: 0 };
    let peer = Ipv4Addr::LOCALHOST.into();
    engine.put(link, Parcel { head, body: Vec::new(), peer, to });
    while link.flush().expect("the engine stays") {
        std::thread::yield_now();
    }
    let (request, parcel) = engine.recv().expect("a request");
    assert_eq!(parcel.to.number, *number);
    *number += 1;
    assert_eq!((request.method, request.path()), (expected.method, expected.path()));
    let (all, expected_all) = (request.query().all(), expected.query().all());
    assert_eq!(all.collect::<Vec<_>>(), expected_all.collect::<Vec<_>>());
    let (headers, expected) = (request.headers(), expected.headers());
    assert_eq!(headers.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
