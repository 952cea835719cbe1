use proptest::prelude::*;

use super::*;
use crate::http::limits::{BODY_BYTES_MAX, HEADER_LINES_MAX, REQUEST_LINE_BYTES_MAX};

/// Everything that bytes come to, in pieces of these sizes by turns: each request's head and body, and
/// the fault at the end if there is one.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<(String, Vec<u8>)>, Option<Fault>) {
    let (mut inbox, mut requests) = (Inbox::default(), Vec::new());
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        inbox.push(now);
        rest = later;
        loop {
            match inbox.next() {
                Next::More => break,
                Next::Request(head, body) => requests.push((head.text, body)),
                Next::Fault(fault, _) => return (requests, Some(fault)),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (requests, None)
}

fn whole(text: &str) -> (Vec<(String, Vec<u8>)>, Option<Fault>) {
    read(text.as_bytes(), &[usize::MAX])
}

#[test]
fn good_requests() {
    for (text, head, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", ""),
        ("\r\n\r\nGET / HTTP/1.1\r\nhost:a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n", ""),
        ("GET /a?b=c HTTP/1.0\r\n\r\n", "GET /a?b=c HTTP/1.1\r\n", ""),
        ("GET / HTTP/1.7\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n", ""),
        (
            "BREW http://x.example/ HTTP/1.1\r\nHost: a\r\nX-A:  b c \t\r\nx-a: d\r\n\r\n",
            "BREW http://x.example/ HTTP/1.1\r\nHost: a\r\nX-A: b c\r\nx-a: d\r\n",
            "",
        ),
        (
            "GET /\u{eb} HTTP/1.1\r\nHost: a\r\nReferer: \u{20ac}\r\n\r\n",
            "GET /%C3%AB HTTP/1.1\r\nHost: a\r\nReferer: %E2%82%AC\r\n",
            "",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\n",
            "hello",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n",
            "hello",
        ),
        (
            "GET / HTTP/1.1\r\nTriggerly-Ticket: 1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "",
        ),
    ] {
        let twice = format!("{text}{text}");
        let once = (head.to_owned(), body.as_bytes().to_vec());
        for piece in [1, 2, 3, 7, 1_000] {
            let read = read(twice.as_bytes(), &[piece]);
            assert_eq!(read, (vec![once.clone(), once.clone()], None), "{text:?} {piece}");
        }
    }
}

/// What has two readings, or none, is refused as soon as it is seen, and what stands behind it is never
/// looked at.
#[test]
fn what_is_no_request() {
    let with = |header: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    let malformed = [
        "GET /\r\n\r\n".to_owned(),
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / http/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1x\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n".to_owned(),
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\0\x01\0\x01".to_owned(),
        "\r\n".repeat(5),
        with("Host: b"),
        with("no colon"),
        with(": x"),
        with("X : y"),
        with(" X: y"),
        with("X: y\r\n folded"),
        with("X\u{eb}: y"),
        with("X: \0"),
        with("X: \x7f"),
        with("Content-Length: -1"),
        with("Content-Length: +5"),
        with("Content-Length: 5, 5"),
        with("Content-Length: 0x5"),
        with("Content-Length: 5 5"),
        with("Content-Length:"),
        with("Content-Length: 5\r\nContent-Length: 5"),
        with("Content-Length: 5\r\ncontent-length: 6"),
        with("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding: chunked, identity"),
        with("Transfer-Encoding: identity"),
        with("Transfer-Encoding: xchunked"),
        with("Transfer-Encoding: \x0bchunked"),
        with("Transfer-Encoding:"),
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        with("Transfer-Encoding: chunked\r\n\r\nfive\r\n"),
    ];
    for text in &malformed {
        let behind = format!("{text}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        for piece in [1, 5, 1_000] {
            let (requests, fault) = read(behind.as_bytes(), &[piece]);
            assert!(matches!(fault, Some(Fault::Malformed(_))), "{text:?} {piece}: {requests:?}");
            assert_eq!(requests, [], "{text:?}");
        }
    }
    for (text, expected) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Fault::Version),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), Fault::Version),
        (with(&format!("Content-Length: {}", BODY_BYTES_MAX + 1)), Fault::BodyTooLarge),
        (with("Content-Length: 2147483648"), Fault::BodyTooLarge),
        (with("Content-Length: 18446744073709551615"), Fault::BodyTooLarge),
        (with("Content-Length: 99999999999999999999999999"), Fault::BodyTooLarge),
        (with("Transfer-Encoding: chunked\r\n\r\n500001"), Fault::BodyTooLarge),
        (format!("GET /{}", "x".repeat(REQUEST_LINE_BYTES_MAX)), Fault::LineTooLong),
        (with(&format!("X: {}", "x".repeat(50_000))), Fault::HeadersTooLarge),
        (with(&"X: y\r\n".repeat(HEADER_LINES_MAX)), Fault::HeadersTooLarge),
    ] {
        for piece in [1, 999] {
            assert_eq!(read(text.as_bytes(), &[piece]), (vec![], Some(expected)), "{text:.80}");
        }
    }
    let most = "POST / HTTP/1.1\r\nHost: a\r\n".to_owned() + &"X: y\r\n".repeat(255) + "\r\n";
    assert_eq!(whole(&most).1, None);
}

#[test]
fn what_the_answer_says_of_the_connection() {
    for (version, connection, said, is_last) in [
        ("1.1", None, None, false),
        ("1.1", Some("keep-alive"), None, false),
        ("1.1", Some("close"), Some("close"), true),
        ("1.1", Some("TE, Close"), Some("close"), true),
        ("1.1", Some("enclosed"), None, false),
        ("1.1", Some("Upgrade, HTTP2-Settings"), None, false),
        ("1.0", None, Some("close"), true),
        ("1.0", Some("Keep-Alive"), Some("keep-alive"), false),
        ("1.0", Some("keep-alive, close"), Some("close"), true),
    ] {
        let header = connection.map_or(String::new(), |value| format!("Connection: {value}\r\n"));
        let mut inbox = Inbox::default();
        inbox.push(format!("GET / HTTP/{version}\r\nHost: a\r\n{header}\r\n").as_bytes());
        let Next::Request(head, _) = inbox.next() else { panic!("{version} {connection:?}") };
        assert_eq!((head.framing.connection, head.is_last), (said, is_last), "{connection:?}");
        assert_eq!(head.framing.chunks, version == "1.1");
    }
}

#[test]
fn a_client_is_told_to_go_on_when_it_waits() {
    let mut inbox = Inbox::default();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    inbox.push(head.as_bytes());
    assert_eq!(inbox.next(), Next::More);
    assert!(inbox.take_continue() && !inbox.take_continue() && inbox.has_begun());
    inbox.push(b"abc\r\n");
    assert!(matches!(inbox.next(), Next::Request(_, body) if body == b"abc"));
    assert_eq!(inbox.next(), Next::More);
    assert!(!inbox.has_begun(), "an empty line begins nothing");
    inbox.push(b"P");
    assert_eq!(inbox.next(), Next::More);
    assert!(inbox.has_begun());
    // One that is given up in the middle of its body is refused in its own terms.
    let mut inbox = Inbox::default();
    inbox.push(head.as_bytes());
    assert_eq!(inbox.next(), Next::More);
    let (fault, given_up) = inbox.give_up(Fault::Late);
    assert!(fault == Fault::Late && given_up.is_some_and(|head| head.text.starts_with("POST / ")));
    inbox.push(b"abc");
    assert_eq!((inbox.next(), inbox.held_bytes()), (Next::More, 0));
}

/// Bytes that are nearly requests.
pub(in crate::http) fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => proptest::sample::select(vec![
            "GET ", "POST ", "/", "/v1?a=b", " HTTP/1.1", " HTTP/1.0", "\r\n", "\r\n\r\n", "\n", "\r",
            "Host: a\r\n", "Content-Length: 3\r\n", "Content-Length: ", "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n", "X: y\r\n", ": ", "abc", "3\r\nabc\r\n", "0\r\n\r\n", ";x", " ", "\t",
            "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However bytes are cut on their way, there is one reading of them.
    #[test]
    fn one_reading(bytes in nearly(), pieces in proptest::collection::vec(1usize..20, 1..8)) {
        prop_assert_eq!(read(&bytes, &[usize::MAX]), read(&bytes, &pieces));
    }
}

/// What is declared costs nothing until it comes, and no more than that when it has.
#[test]
fn a_body_holds_what_has_come_of_it() {
    const LENGTH: usize = BODY_BYTES_MAX - 12_345;
    let mut inbox = Inbox::default();
    inbox
        .push(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
    assert_eq!((inbox.next(), inbox.held_bytes()), (Next::More, 0));
    for come in (1..LENGTH).step_by(7_777) {
        assert_eq!(inbox.next(), Next::More);
        let held = inbox.held_bytes();
        assert!(held <= LENGTH.min(2 * come + 7_777), "{held} of {come}");
        inbox.push(&[b'a'; 7_777]);
    }
    let Next::Request(_, body) = inbox.next() else { panic!("it is whole") };
    assert_eq!((body.len(), body.capacity()), (LENGTH, LENGTH));
}
