//! Heads that two readers might read in two ways, and where a request ends by them.

use crate::pairs::{EITHER, REFUSED, Row, TAKEN, check, row};
use crate::scene::{Seen, Setup, beside, for_a_while};
use crate::swarm::{Pace, SOURCE, Script, Swarm};

/// A whole first request with these lines in its head, and these bytes for a body.
fn with(name: &'static str, lines: &str, body: &str, allowed: &'static [&'static [u16]]) -> Row {
    row(name, format!("GET @1 HTTP/1.1\r\nHost: test\r\n{lines}\r\n{body}"), allowed)
}

const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";
const HIDDEN: &str = "GET @3 HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn lengths_and_codings_that_disagree() {
    const OR_LARGE: &[&[u16]] = &[&[400], &[413]];
    let mut rows = vec![
        with("no body", "", "", TAKEN),
        with("a length", "Content-Length: 5\r\n", "hello", TAKEN),
        with("a length of 0", "Content-Length: 0\r\n", "", TAKEN),
        with("a length with spaces", "Content-Length: \t 5 \t\r\n", "hello", TAKEN),
        with("a length with zeros", "Content-Length: 0005\r\n", "hello", EITHER),
        with(
            "two lengths, the same",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "hello",
            EITHER,
        ),
        with("two lengths in one, the same", "Content-Length: 5, 5\r\n", "hello", EITHER),
        with("two lengths", "Content-Length: 5\r\nContent-Length: 0\r\n", "hello", REFUSED),
        with(
            "two lengths, the other way",
            "Content-Length: 0\r\nContent-Length: 5\r\n",
            "hello",
            REFUSED,
        ),
        with("two lengths in one", "Content-Length: 5, 0\r\n", "hello", REFUSED),
        with(
            "a length and a negative one",
            "Content-Length: 5\r\nContent-Length: -5\r\n",
            "hello",
            REFUSED,
        ),
        with("a length past 2^64", "Content-Length: 18446744073709551621\r\n", "hello", OR_LARGE),
        with("a length past 2^32", "Content-Length: 4294967301\r\n", "hello", OR_LARGE),
        with("both", "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", HELLO, REFUSED),
        with(
            "both, the other way",
            "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n",
            HELLO,
            REFUSED,
        ),
        with(
            "both, a length of 0",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            HELLO,
            REFUSED,
        ),
        with("chunked", "Transfer-Encoding: chunked\r\n", HELLO, TAKEN),
        with("chunked in capitals", "TRANSFER-ENCODING: CHUNKED\r\n", HELLO, TAKEN),
        with("chunked with spaces", "Transfer-Encoding:\t chunked\t \r\n", HELLO, TAKEN),
        with(
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            HELLO,
            REFUSED,
        ),
        with(
            "chunked and identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            HELLO,
            REFUSED,
        ),
    ];
    for (name, value) in [
        ("plus", "+5"),
        ("minus", "-5"),
        ("minus 0", "-0"),
        ("hex", "0x5"),
        ("exponent", "5e0"),
        ("a space inside", "5 5"),
        ("none", ""),
        ("spaces", "  "),
        ("a word", "five"),
        ("a fraction", "5.0"),
        ("a comma", "5,"),
        ("vertical tab", "\x0b5"),
        ("other digits", "\u{665}"),
        ("a tail", "5;a=b"),
    ] {
        let lines = format!("Content-Length: {value}\r\n");
        let head = format!("GET @1 HTTP/1.1\r\nHost: test\r\n{lines}\r\nhello");
        rows.push(row(name, head, REFUSED));
    }
    for (name, value) in [
        ("x", "xchunked"),
        ("chunked x", "chunkedx"),
        ("vt", "\x0bchunked"),
        ("ff", "chunked\x0c"),
        ("identity", "identity"),
        ("list", "chunked, identity"),
        ("list, the other way", "identity, chunked"),
        ("list of two", "chunked, chunked"),
        ("gzip", "gzip"),
        ("gzip, chunked", "gzip, chunked"),
        ("a parameter", "chunked;q=1"),
        ("quotes", "\"chunked\""),
        ("empty", ""),
        ("comma", ",chunked"),
        ("nul", "chunked\0"),
        ("a long s", "chun\u{212a}ed"),
        ("two words", "chunked chunked"),
    ] {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        rows.push(row(
            name,
            format!("GET @1 HTTP/1.1\r\nHost: test\r\n{lines}\r\n{HELLO}"),
            REFUSED,
        ));
    }
    let hidden = |line: &str| format!("{line}\r\n").replace('#', &hidden_length().to_string());
    // Whoever reads the one line sees a body, and whoever doesn't sees a request of its own.
    for (name, line) in [
        ("space before the colon", "Content-Length : #"),
        ("tab before the colon", "Content-Length\t: #"),
        ("space in front", " Content-Length: #"),
        ("folded", "X: y\r\n Content-Length: #"),
        ("folded length", "Content-Length:\r\n #"),
        ("folded coding", "Transfer-Encoding:\r\n chunked"),
        ("bare CR", "X: y\rContent-Length: #"),
        ("bare LF", "X: y\nContent-Length: #"),
        ("bare LF at the end", "X: y\n"),
        ("CR CR LF", "X: y\r\r\nContent-Length: #"),
        ("NUL in a value", "X: y\0\r\nContent-Length: 0"),
        ("NUL in a name", "Content-Length\0: 0"),
        ("no colon", "Content-Length 0"),
        ("no name", ": 0"),
        ("a name in quotes", "\"Content-Length\": 0"),
        ("a name beyond ASCII", "Content-L\u{e9}ngth: 0"),
    ] {
        let head = format!("GET @1 HTTP/1.1\r\nHost: test\r\n{}\r\n{HIDDEN}", hidden(line));
        rows.push(row(name, head, REFUSED));
    }
    check("lengths and codings", &rows);
}

/// About as long as the hidden request will be; it is never to be used.
fn hidden_length() -> usize {
    200
}

#[test]
fn lines_of_requests_and_headers() {
    const OLD: &[&[u16]] = &[&[400], &[505]];
    const NEWER: &[&[u16]] = &[&[505]];
    /// Answered alone, and closed: what follows is nobody's request.
    const ALONE: &[&[u16]] = &[&[200]];
    const HOST: &str = "Host: test\r\n\r\n";
    let line = |name, line: &str, allowed| row(name, format!("{line}\r\n{HOST}"), allowed);
    let with = |name, lines: &str, allowed| with(name, lines, "", allowed);
    let rows = [
        line("plain", "GET @1 HTTP/1.1", TAKEN),
        line("absolute", "GET http://test@1 HTTP/1.1", TAKEN),
        line("absolute, of another host", "GET http://other.example@1 HTTP/1.1", TAKEN),
        line("two spaces", "GET  @1 HTTP/1.1", REFUSED),
        line("two spaces behind", "GET @1  HTTP/1.1", REFUSED),
        line("a space in front", " GET @1 HTTP/1.1", REFUSED),
        line("a space at the end", "GET @1 HTTP/1.1 ", REFUSED),
        line("tabs", "GET\t@1\tHTTP/1.1", REFUSED),
        line("a space in the target", "GET @1 x HTTP/1.1", REFUSED),
        line("NUL in the target", "GET @1\0 HTTP/1.1", REFUSED),
        line("CR in the target", "GET @1\r HTTP/1.1", REFUSED),
        line("LF in the target", "GET @1\n HTTP/1.1", REFUSED),
        line("beyond ASCII", "GET @1&x=\u{eb} HTTP/1.1", EITHER),
        line("no target", "GET HTTP/1.1", REFUSED),
        line("no version", "GET @1", OLD),
        line("small letters", "GET @1 http/1.1", OLD),
        line("small method", "get @1 HTTP/1.1", &[&[405, 200], &[400]]),
        line("a method that is none", "G(T @1 HTTP/1.1", &[&[400], &[405, 200]]),
        line("a method of its own", "BREW @1 HTTP/1.1", &[&[405, 200]]),
        line("0.9", "GET @1 HTTP/0.9", OLD),
        line("1.2", "GET @1 HTTP/1.2", &[&[200, 200], &[400], &[505]]),
        line("2", "GET @1 HTTP/2", &[&[400], &[505]]),
        line("2.0", "GET @1 HTTP/2.0", NEWER),
        line("3.0", "GET @1 HTTP/3.0", NEWER),
        line("11", "GET @1 HTTP/11", OLD),
        line("1.10", "GET @1 HTTP/1.10", OLD),
        line("HTTPS", "GET @1 HTTPS/1.1", OLD),
        row("an empty line in front", format!("\r\nGET @1 HTTP/1.1\r\n{HOST}"), EITHER),
        row("LF alone", "GET @1 HTTP/1.1\nHost: test\n\n", REFUSED),
        row("CR alone", "GET @1 HTTP/1.1\rHost: test\r\r", REFUSED),
        row("no host", "GET @1 HTTP/1.1\r\n\r\n", REFUSED),
        row("no host in 1.0", "GET @1 HTTP/1.0\r\n\r\n", ALONE),
        line("1.0", "GET @1 HTTP/1.0", ALONE),
        row("1.0 kept", format!("GET @1 HTTP/1.0\r\nConnection: keep-alive\r\n{HOST}"), TAKEN),
        row("1.0 closed", format!("GET @1 HTTP/1.0\r\nConnection: close\r\n{HOST}"), ALONE),
        row(
            "1.0 chunked",
            format!(
                "GET @1 HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n{HOST}{HELLO}"
            ),
            REFUSED,
        ),
        with("closed", "Connection: close\r\n", ALONE),
        with("closed in a list", "Connection: TE, Close\r\n", ALONE),
        with("kept", "Connection: keep-alive\r\n", TAKEN),
        with(
            "an upgrade to HTTP/2",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            &[&[200], &[200, 200]],
        ),
        with("two hosts", "Host: other.example\r\n", REFUSED),
        with("a value beyond ASCII", "X: Zo\u{eb}\r\n", EITHER),
        with("a bell in a value", "X: \x07\r\n", EITHER),
        with("an empty value", "X:\r\n", TAKEN),
        with("no space", "X:y\r\n", TAKEN),
        with("a tab in a value", "X: y\tz\r\n", TAKEN),
        with("a length by another name", "Content_Length: 500\r\nX-Content-Length: 500\r\n", TAKEN),
        with("200 headers", &(0..200).map(|n| format!("X-{n}: y\r\n")).collect::<String>(), TAKEN),
    ];
    check("lines", &rows);
}

/// Bytes that are no text at all, wherever they may stand.
#[test]
fn every_control_in_every_place() {
    type Make = fn(&str) -> String;
    let places: [(&str, Make); 4] = [
        ("method", |byte| format!("GE{byte}T @1 HTTP/1.1\r\nHost: test\r\n\r\n")),
        ("version", |byte| format!("GET @1 HTTP/1.{byte}1\r\nHost: test\r\n\r\n")),
        ("name", |byte| format!("GET @1 HTTP/1.1\r\nHost: test\r\nX{byte}Y: z\r\n\r\n")),
        ("host", |byte| format!("GET @1 HTTP/1.1\r\nHo{byte}st: test\r\n\r\n")),
    ];
    let rows: Vec<_> = places
        .iter()
        .flat_map(|(place, make)| {
            (0..=32u8).chain([127]).map(move |byte| {
                let name = format!("{byte} in {place}").leak();
                row(name, make(&char::from(byte).to_string()), &[&[400], &[505]])
            })
        })
        .collect();
    check("controls", &rows);
}

/// A thousand requests ahead: every answer is the right one, in its place.
#[test]
fn a_thousand_sent_ahead() {
    beside("1,000 sent ahead", Setup::default(), |server| {
        let mut seen = Seen::default();
        for_a_while(|round| {
            let mut expected = Vec::new();
            let scripts: Vec<_> = (0..4)
                .map(|burst| {
                    let (mut bytes, mut answers) = (String::new(), Vec::new());
                    for n in 0..1_000 {
                        let mark = format!("{round} {burst} {n}.");
                        let (target, answer) = match n % 10 {
                            3 => {
                                let event = format!(r#"{{"type":"e","date":"no date {mark}"}}"#);
                                (server.target("events", &event), (400, format!("no date {mark}")))
                            }
                            6 => ("/v1/events/track".to_owned(), (401, "missing_token".to_owned())),
                            9 => ("/healthz".to_owned(), (200, String::new())),
                            _ => {
                                let event = format!(r#"{{"type":"attack","mark":"{mark}"}}"#);
                                seen.must.insert(mark);
                                (
                                    server.target("events", &event),
                                    (200, r#"{"status":"ok"}"#.to_owned()),
                                )
                            }
                        };
                        let close = if n == 999 { "Connection: close\r\n" } else { "" };
                        bytes += &format!("GET {target} HTTP/1.1\r\nHost: test\r\n{close}\r\n");
                        answers.push(answer);
                    }
                    expected.push(answers);
                    Script::new(bytes, "")
                })
                .collect();
            let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
            swarm.run(std::time::Duration::from_secs(20));
            seen.line = swarm.tally();
            for (peer, expected) in swarm.peers.iter().zip(expected) {
                let answers = peer.answers();
                assert_eq!(answers.len(), expected.len(), "{}", swarm.tally());
                for (at, (reply, (status, text))) in answers.iter().zip(expected).enumerate() {
                    let right = reply.status == status && reply.text().contains(&text);
                    assert!(right, "answer {at} isn't {status} with {text}: {reply:?}");
                }
                assert!(peer.ended.is_some() && peer.rest().is_empty());
            }
        });
        seen
    });
}
