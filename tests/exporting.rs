//! Exports: what comes out in each format, by the verb and over HTTP, and what long ones do to
//! everybody else: nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use serde_json::value::RawValue;
use support::outside::run;
use support::server::verb;
use support::{Reply, Server, escape, parse, request};
use triggerly::store::segment::{Moment, Segment, Table};

/// Texts that readers of tables stumble over, and what a cell shows of each.
fn hostile() -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = [
        ("plain", "plain"),
        ("a,b;c\td", "a,b;c\td"),
        (r#"say "hi""#, r#"say "hi""#),
        (r#"""#, r#"""#),
        ("two\r\nlines", "two\r\nlines"),
        ("ends in\n", "ends in\n"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("=1+1\",\"=2", "'=1+1\",\"=2"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        (" =1", "' =1"),
        ("a\0b", "a\u{2400}b"),
        ("\u{1a}\u{1b}[31m", "\u{241a}\u{241b}[31m"),
        ("Zoë 😀 \u{202e}x", "Zoë 😀 \u{202e}x"),
        ("\u{feff}bom", "\u{feff}bom"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
        ("'already", "'already"),
        ("\\\"", "\\\""),
        ("ID", "ID"),
    ]
    .map(|(sent, shown)| (sent.to_owned(), shown.to_owned()))
    .into();
    texts.push(("\"".repeat(255), "\"".repeat(255)));
    texts
}

/// A row of a table, or its head.
type Row = Vec<String>;

/// Reads a table as a spreadsheet does, and its first row apart.
fn table(bytes: &[u8]) -> (Row, Vec<Row>) {
    let text = std::str::from_utf8(bytes).unwrap().strip_prefix('\u{feff}').expect("a BOM");
    assert!(text.ends_with("\r\n"));
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(text.as_bytes());
    let row = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect();
    let head = row(reader.headers().unwrap());
    (head, reader.records().map(|record| row(&record.unwrap())).collect())
}

/// An export by the verb.
fn exported(server: &Server, arguments: &[&str]) -> Vec<u8> {
    let output = verb(&server.dir, &[&["export"], arguments].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output.stdout
}

/// An export over HTTP that has begun.
struct Download {
    stream: BufReader<TcpStream>,
    head: Reply,
    /// Bytes of the chunk that are still to come; none at the end.
    left: Option<usize>,
}

/// How much of what is sent a client keeps that doesn't read.
#[derive(Clone, Copy, PartialEq)]
enum Window {
    Usual,
    Small,
}

fn open(server: &Server, window: Window) -> TcpStream {
    let stream = match window {
        Window::Usual => TcpStream::connect(server.address).unwrap(),
        Window::Small => {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            sockopt::set_socket_recv_buffer_size(&socket, 256 * 1024).unwrap();
            connect(&socket, &server.address).unwrap();
            TcpStream::from(socket)
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// The request of an export.
fn asking(server: &Server, query: &str, version: &str, more: &str) -> String {
    let key = &server.secret_key;
    format!(
        "GET /v1/export?{query} HTTP/{version}\r\nHost: test\r\nAuthorization: Bearer {key}\r\n{more}\r\n"
    )
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    parse(&head).ok_or(ErrorKind::InvalidData.into())
}

impl Download {
    fn begin(server: &Server, query: &str, window: Window) -> Download {
        let mut stream = open(server, window);
        stream.write_all(asking(server, query, "1.1", "").as_bytes()).unwrap();
        Download::receive(BufReader::new(stream)).unwrap()
    }

    /// The answer that comes next on a connection.
    fn receive(mut stream: BufReader<TcpStream>) -> io::Result<Download> {
        let head = read_head(&mut stream)?;
        if head.status == 200 {
            assert_eq!(head.header("Transfer-Encoding"), Some("chunked"), "{head:?}");
            assert_eq!(head.header("Content-Length"), None);
        }
        Ok(Download { stream, head, left: Some(0) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or(ErrorKind::UnexpectedEof.into())
    }

    /// All that is still to come, and how it ended.
    fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let ended = self.read_to_end(&mut bytes).map(drop);
        (bytes, ended)
    }

    fn whole(mut self) -> Vec<u8> {
        let (bytes, ended) = self.rest();
        ended.unwrap();
        bytes
    }
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) {
            let length = usize::from_str_radix(&self.line()?, 16);
            self.left = Some(length.map_err(|_| ErrorKind::InvalidData)?);
            if self.left == Some(0) {
                assert_eq!(self.line()?, "");
                self.left = None;
            }
        }
        let Some(left) = self.left else { return Ok(0) };
        let end = left.min(out.len());
        let read = self.stream.read(&mut out[..end])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read);
        if left == read {
            assert_eq!(self.line()?, "");
        }
        Ok(read)
    }
}

/// Tracks so many MB of events, in large pieces.
fn fill(server: &Server, megabytes: usize) {
    const BYTES: usize = 60_000;
    thread::scope(|scope| {
        for quarter in 0..4 {
            scope.spawn(move || {
                let mut connection = support::connection::Connection::open(server.address).unwrap();
                for n in 0..megabytes * 1_000_000 / BYTES / 4 {
                    let text = "x".repeat(BYTES);
                    let event =
                        format!(r#"{{"type":"big","user_id":"{quarter}","n":{n},"x":"{text}"}}"#);
                    // JSON as it is takes less work than Base64.
                    let target = server.target("events", "") + &escape(&event);
                    let reply = connection.get(&target).unwrap().unwrap();
                    assert_eq!(reply.status, 200, "{reply:?}");
                }
            });
        }
    });
}

#[test]
fn tables_keep_what_is_hostile_within_its_cell() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let long = "\"=,\r\n".repeat(7_500);
    let attributes = |text: &str| {
        let text = serde_json::to_string(text).unwrap();
        let n = "-1234567890123456789012345678901234567890";
        format!(r#"{{"=k":{text},"n":{n},"e":1E5,"f":1.0,"nul":"\u0000"}}"#)
    };
    let mut texts = hostile();
    texts.push(("long".to_owned(), "long".to_owned()));
    for (sent, _) in &texts {
        let quoted = serde_json::to_string(sent).unwrap();
        let rest = attributes(if sent == "long" { &long } else { sent });
        server.track("events", &format!(r#"{{"type":{quoted},"user_id":{quoted},{}"#, &rest[1..]));
        server.track("users", &format!(r#"{{"id":{quoted},"email":{quoted},{}"#, &rest[1..]));
    }
    server.track("events", r#"{"type":"nobody"}"#);
    server.track("users", r#"{"id":"no e-mail"}"#);
    server.track("users", r#"{"id":"odd e-mail","email":[1,"=2"]}"#);

    let events = exported(&server, &["events", "--format", "csv"]);
    let (head, rows) = table(&events);
    let names = ["seq", "type", "user_id", "date", "received_at", "via", "attributes", "context"];
    assert_eq!(head, names);
    assert_eq!(rows.len(), texts.len() + 1);
    for (row, (sent, shown)) in rows.iter().zip(&texts) {
        assert_eq!((&row[1], &row[2], row[5].as_str()), (shown, shown, "public"));
        assert!(row[3] == row[4] && row[3].len() == 24 && row[3].ends_with('Z'), "{row:?}");
        assert_eq!(row[6], attributes(if sent == "long" { &long } else { sent }));
    }
    assert_eq!(rows[texts.len()][1..3], ["nobody", ""]);
    assert_eq!(rows[texts.len()][6], "{}");

    let users = exported(&server, &["users", "--format", "csv"]);
    let (head, rows) = table(&users);
    assert_eq!(head, ["id", "email", "created_at", "updated_at", "attributes"]);
    let mut wanted: Vec<(String, String, String)> = texts
        .iter()
        .map(|(sent, shown)| {
            let rest = attributes(if sent == "long" { &long } else { sent });
            (sent.clone(), shown.clone(), rest)
        })
        .collect();
    let odd = [("no e-mail", ""), ("odd e-mail", r#"[1,"=2"]"#)];
    wanted.extend(odd.map(|(id, email)| (id.into(), email.into(), "{}".into())));
    // By id, as bytes.
    wanted.sort();
    assert_eq!(rows.len(), wanted.len());
    for (row, (id, email, rest)) in rows.iter().zip(&wanted) {
        let is_hostile = texts.iter().find(|(sent, _)| sent == id);
        let id = is_hostile.map_or(id, |(_, shown)| shown);
        assert_eq!((&row[0], &row[1], &row[4]), (id, email, rest));
    }

    // What JSON lines say is what was sent.
    #[derive(serde::Deserialize)]
    struct Line {
        r#type: String,
        attributes: Box<RawValue>,
    }
    let lines = exported(&server, &["events"]);
    for (line, (sent, _)) in std::str::from_utf8(&lines).unwrap().lines().zip(&texts) {
        let line: Line = serde_json::from_str(line).unwrap();
        assert_eq!(&line.r#type, sent);
        let rest = attributes(if sent == "long" { &long } else { sent });
        assert_eq!(line.attributes.get(), rest);
    }
}

/// Another reader than the one that the writer belongs to.
#[test]
#[ignore = "needs python3"]
fn python_reads_tables_alike() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (sent, _) in hostile() {
        let quoted = serde_json::to_string(&sent).unwrap();
        server.track("events", &format!(r#"{{"type":{quoted},"user_id":{quoted},"a":{quoted}}}"#));
        server.track("users", &format!(r#"{{"id":{quoted},"email":{quoted},"a":{quoted}}}"#));
    }
    let script = "import csv, json, sys; \
                  print(json.dumps(list(csv.reader(open(sys.argv[1], encoding='utf-8-sig', newline='')))))";
    for what in ["events", "users"] {
        let bytes = exported(&server, &[what, "--format", "csv"]);
        let path = dir.path().join(what);
        std::fs::write(&path, &bytes).unwrap();
        let read = run(Command::new("python3").args(["-c", script]).arg(path), "");
        let mut read: Vec<Row> = serde_json::from_str(&read).unwrap();
        let (head, rows) = table(&bytes);
        assert_eq!(read.remove(0), head);
        assert_eq!(read, rows, "{what}");
        assert_eq!(rows.len(), hostile().len());
    }
}

/// The same bytes by the verb beside the server, over HTTP, and by the verb alone.
#[test]
fn each_way_of_asking_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","email":"u1@example.com","n":1E5}"#);
    server.track("users", r#"{"id":"u2","big":1234567890123456789012345678901234567890}"#);
    server
        .track("events", r#"{"type":"view","user_id":"u1","date":"2001-07-04","z":1.0,"a":"😀"}"#);
    server.track("events", r#"{"type":"buy now","user_id":"u1","date":"2001-07-05"}"#);
    server.track("events", r#"{"type":"view","user_id":"u2","date":"2001-07-06T12:00:00Z"}"#);
    let cases: &[(&str, &[&str], usize)] = &[
        ("events", &[], 3),
        ("events", &["type", "view"], 2),
        ("events", &["type", "buy now"], 1),
        ("events", &["type", "nothing"], 0),
        ("events", &["user_id", "u1"], 2),
        ("events", &["from", "2001-07-05"], 2),
        ("events", &["to", "2001-07-05"], 1),
        ("events", &["from", "2001-07-05T02:00:00+02:00", "to", "2001/07/07", "type", "view"], 1),
        ("users", &[], 2),
        ("users", &["user_id", "u2"], 1),
        ("users", &["user_id", "nobody"], 0),
    ];
    let verbs = |server: &Server| -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for (what, filters, _) in cases {
            for format in ["jsonl", "csv"] {
                let mut arguments = vec![(*what).to_owned(), "--format".into(), format.into()];
                for (n, word) in filters.iter().enumerate() {
                    let option = || format!("--{}", word.replace('_', "-"));
                    arguments.push(if n % 2 == 0 { option() } else { (*word).to_owned() });
                }
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                all.push(exported(server, &arguments));
            }
        }
        all
    };
    let mut over_http = Vec::new();
    for (what, filters, rows) in cases {
        for (format, kind, head) in
            [("jsonl", "application/x-ndjson", 0), ("csv", "text/csv; charset=utf-8", 1)]
        {
            let mut query = format!("what={what}&format={format}");
            for filter in filters.chunks(2) {
                query += &format!("&{}={}", filter[0], escape(filter[1]));
            }
            let download = Download::begin(&server, &query, Window::Usual);
            let header = |name| download.head.header(name).unwrap_or_default().to_owned();
            assert_eq!((download.head.status, header("Content-Type")), (200, kind.to_owned()));
            let file = format!("attachment; filename=\"{what}.{format}\"");
            assert_eq!(header("Content-Disposition"), file);
            assert_eq!(header("Cache-Control"), "no-store");
            let bytes = download.whole();
            let lines = std::str::from_utf8(&bytes).unwrap().lines().count();
            assert_eq!(lines, rows + head, "{query}");
            over_http.push(bytes);
        }
    }
    assert_eq!(verbs(&server), over_http);
    server.terminate();
    assert_eq!(verbs(&server), over_http);
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (query, named) in [
        ("", "what"),
        ("what=accounts", "what"),
        ("what=events&format=xml", "format"),
        ("what=events&from=soon", "from"),
        ("what=events&to=2001-02-30", "to"),
        ("what=users&type=view", "type"),
        ("what=users&from=2001-07-04", "from"),
        ("what=users&to=2001-07-04", "to"),
    ] {
        let reply = server.read(&format!("/v1/export?{query}"));
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_parameter"), "{query}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("`{named}`")), "{query}: {detail}");
    }
    let target = "/v1/export?what=events";
    assert_eq!(server.get(target).code(), "missing_token");
    let bearer = |key: &str| format!("Bearer {key}");
    let with = |method, key: &str| {
        request(server.address, method, target, &[("Authorization", &bearer(key))])
    };
    assert_eq!(with("GET", &server.api_token).code(), "unknown_token");
    let by_query = format!("{target}&api_token={}", server.secret_key);
    assert_eq!(server.get(&by_query).code(), "missing_token", "a key in the address is in logs");
    for method in ["HEAD", "POST", "DELETE"] {
        let reply = with(method, &server.secret_key);
        assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET")), "{method}");
    }
}

/// Versions before chunks: the body ends with the connection, also where the client would keep it.
#[test]
fn old_clients_get_it_until_the_connection_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, 1);
    let whole = Download::begin(&server, "what=events", Window::Usual).whole();
    for (version, more) in
        [("1.0", ""), ("1.0", "Connection: keep-alive\r\n"), ("1.0", "Connection: close\r\n")]
    {
        let answer =
            support::raw(server.address, asking(&server, "what=events", version, more).as_bytes());
        let reply = parse(&answer).unwrap();
        assert_eq!((reply.status, reply.header("Connection")), (200, Some("close")));
        assert_eq!(reply.header("Transfer-Encoding"), None);
        assert_eq!(reply.header("Content-Length"), None);
        assert!(reply.body == whole, "{version} {more}: {} bytes", reply.body.len());
    }
    // What is refused leaves the connection as it was.
    let mut stream = open(&server, Window::Usual);
    let wrong = asking(&server, "what=nothing", "1.0", "Connection: keep-alive\r\n");
    stream.write_all(wrong.repeat(2).as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    for _ in 0..2 {
        let reply = read_head(&mut stream).unwrap();
        assert_eq!((reply.status, reply.header("Connection")), (400, Some("keep-alive")));
        let bytes = reply.header("Content-Length").unwrap().parse().unwrap();
        stream.read_exact(&mut vec![0; bytes]).unwrap();
    }
}

/// Kilobytes of a line of `/proc/PID/status`.
fn kilobytes(server: &Server, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn a_large_export_takes_little_memory() {
    const MEGABYTES: usize = 60;
    const MORE_KILOBYTES_MAX: u64 = 32 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, MEGABYTES);
    let before = kilobytes(&server, "VmHWM:");
    let check = |doing: &str| {
        let more = kilobytes(&server, "VmHWM:") - before;
        println!("{doing}: {more} kB beyond {before} kB");
        assert!(more < MORE_KILOBYTES_MAX, "{doing}: {more} kB beyond {before} kB");
    };
    for format in ["jsonl", "csv"] {
        let query = format!("what=events&format={format}");
        let mut download = Download::begin(&server, &query, Window::Usual);
        let bytes = io::copy(&mut download, &mut io::sink()).unwrap();
        assert!(bytes > MEGABYTES as u64 * 990_000, "{format}: {bytes} bytes");
        check(format);
    }
    // Four times as much, if it were made before it is taken.
    let slow = [(); 4].map(|()| Download::begin(&server, "what=events", Window::Small));
    thread::sleep(Duration::from_secs(2));
    check("slow readers");
    for mut download in slow {
        let bytes = io::copy(&mut download, &mut io::sink()).unwrap();
        assert!(bytes > MEGABYTES as u64 * 990_000, "{bytes} bytes");
    }
    check("slow readers at the end");
}

/// Longer than a write may wait: the export goes on where it stopped.
#[test]
fn a_slow_reader_gets_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, 12);
    let whole = Download::begin(&server, "what=events", Window::Usual).whole();
    let mut slow = Download::begin(&server, "what=events", Window::Small);
    let mut bytes = vec![0; 100_000];
    slow.read_exact(&mut bytes).unwrap();
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(2_500));
        let mut more = vec![0; 100_000];
        slow.read_exact(&mut more).unwrap();
        bytes.extend(more);
    }
    let (rest, ended) = slow.rest();
    ended.unwrap();
    bytes.extend(rest);
    assert!(bytes == whole, "{} of {} bytes", bytes.len(), whole.len());
}

#[test]
#[ignore = "waits for longer than a minute"]
fn a_reader_that_takes_nothing_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, 12);
    let mut deaf = Download::begin(&server, "what=events", Window::Small);
    thread::sleep(Duration::from_secs(66));
    let (_, ended) = deaf.rest();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn two_at_a_time_beside_tracking() {
    let dir = tempfile::tempdir().unwrap();
    let server = &Server::start(dir.path());
    fill(server, 12);
    let kept = server.all_events().len();
    let exporting = &AtomicBool::new(true);
    thread::scope(|scope| {
        let tracker = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            let mut tracked = 0;
            while exporting.load(SeqCst) {
                let began = Instant::now();
                server.track("events", r#"{"type":"meanwhile"}"#);
                slowest = slowest.max(began.elapsed());
                tracked += 1;
            }
            (tracked, slowest)
        });
        let exports: Vec<_> = ["events", "events&type=big"]
            .map(|what| {
                scope.spawn(move || {
                    let query = format!("what={what}");
                    let mut download = Download::begin(server, &query, Window::Small);
                    let mut bytes = vec![0; 1_000_000];
                    download.read_exact(&mut bytes).unwrap();
                    // Stuck for a while, with the other and the tracking going on.
                    thread::sleep(Duration::from_millis(1_500));
                    bytes.extend(download.whole());
                    bytes
                })
            })
            .into_iter()
            .map(|export| export.join().unwrap())
            .collect();
        exporting.store(false, SeqCst);
        let (tracked, slowest) = tracker.join().unwrap();
        println!("{tracked} tracked meanwhile, the slowest in {slowest:?}");
        assert!(tracked > 10 && slowest < Duration::from_millis(900), "{tracked}, {slowest:?}");
        let lines = |bytes: &Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count();
        assert!(lines(&exports[0]) >= kept);
        assert_eq!(lines(&exports[1]), kept);
    });
}

#[test]
fn the_fifth_is_refused_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, 12);
    let begin = || {
        let mut download = Download::begin(&server, "what=events", Window::Small);
        download.read_exact(&mut [0; 10_000]).unwrap();
        download
    };
    let four = [begin(), begin(), begin(), begin()];
    for _ in 0..3 {
        let reply = server.read("/v1/export?what=users");
        assert_eq!((reply.status, reply.code().as_str()), (503, "overloaded"));
        assert!(reply.header("Retry-After").is_some());
        // Nobody else is held up.
        assert_eq!(server.read("/v1/events?limit=1").status, 200);
        server.track("events", r#"{"type":"meanwhile"}"#);
    }
    // Who goes away midway makes room, within what one write may wait.
    drop(four);
    let began = Instant::now();
    loop {
        let all: Vec<_> =
            (0..4).map(|_| Download::begin(&server, "what=events", Window::Usual)).collect();
        if all.iter().all(|download| download.head.status == 200) {
            assert!(all.into_iter().all(|download| !download.whole().is_empty()));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "there is no room");
        drop(all);
        thread::sleep(Duration::from_millis(20));
    }
}

/// What is sent behind an export is done at once and answered behind it.
#[test]
fn requests_behind_an_export_wait_for_it_and_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--workers", "1"]);
    fill(&server, 12);
    let whole = Download::begin(&server, "what=events", Window::Usual).whole();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let behind = server.target("users", r#"{"id":"behind"}"#);
    let big = asking(&server, "what=events&type=big", "1.1", "");
    let sent = [
        &*get(&server.target("users", r#"{"id":"before"}"#)),
        &big,
        &get(&behind),
        &get("/nowhere"),
        &big,
        &asking(&server, "what=users", "1.1", ""),
        &get("/healthz"),
    ]
    .concat();
    let mut stream = open(&server, Window::Small);
    stream.write_all(sent.as_bytes()).unwrap();
    let began = Instant::now();
    while server.read("/v1/users/behind").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "the one behind isn't stored");
    }
    let quick = |_| {
        let began = Instant::now();
        server.track("events", r#"{"type":"other"}"#);
        began.elapsed()
    };
    let slowest = (0..200).map(quick).max().unwrap();
    assert!(slowest < Duration::from_millis(900), "{slowest:?}");

    let mut stream = BufReader::new(stream);
    let short = |stream: &mut BufReader<TcpStream>| {
        let reply = read_head(stream).unwrap();
        let mut body = vec![0; reply.header("Content-Length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        (reply.status, String::from_utf8(body).unwrap())
    };
    assert_eq!(short(&mut stream), (200, r#"{"status":"ok"}"#.to_owned()));
    let long = |stream: BufReader<TcpStream>| {
        let mut download = Download::receive(stream).unwrap();
        let (bytes, ended) = download.rest();
        ended.unwrap();
        (bytes, download.stream)
    };
    let (bytes, mut stream) = long(stream);
    assert!(bytes == whole);
    assert_eq!(short(&mut stream), (200, r#"{"status":"ok"}"#.to_owned()));
    assert_eq!(short(&mut stream).0, 404);
    let (bytes, stream) = long(stream);
    assert!(bytes == whole);
    let (bytes, mut stream) = long(stream);
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 2, "before and behind");
    assert_eq!(short(&mut stream), (200, r#"{"status":"ok"}"#.to_owned()));
}

/// What is sent ahead behind an export waits where it was sent, and is answered in its turn.
#[test]
fn who_sends_ahead_without_end_waits() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, 12);
    let stream = open(&server, Window::Small);
    let mut sending = stream.try_clone().unwrap();
    sending.write_all(asking(&server, "what=events", "1.1", "").as_bytes()).unwrap();
    let mut download = Download::receive(BufReader::new(stream)).unwrap();
    let request = "GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n";
    sending.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    loop {
        match sending.write(&request.as_bytes()[sent % request.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
        assert!(sent < 32 << 20, "nothing stops it");
    }
    server.track("events", r#"{"type":"after"}"#);
    let (_, ended) = download.rest();
    ended.unwrap();
    for number in 0..sent / request.len() {
        let reply = read_head(&mut download.stream).unwrap();
        assert_eq!(reply.status, 404, "{number}");
        let length: u64 = reply.header("Content-Length").unwrap().parse().unwrap();
        std::io::copy(&mut (&mut download.stream).take(length), &mut std::io::sink()).unwrap();
    }
    assert_eq!(Download::begin(&server, "what=users", Window::Usual).head.status, 200);
}

/// Stopping waits for no export, and whoever got a part of it can tell.
#[test]
fn stopping_cuts_exports_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    fill(&server, 12);
    let mut download = Download::begin(&server, "what=events", Window::Small);
    download.read_exact(&mut [0; 10_000]).unwrap();
    let mut old = open(&server, Window::Small);
    old.write_all(asking(&server, "what=events&format=csv", "1.0", "").as_bytes()).unwrap();
    old.read_exact(&mut [0; 10_000]).unwrap();
    let mut behind = open(&server, Window::Small);
    let twice = asking(&server, "what=events", "1.1", "").repeat(2);
    behind.write_all(twice.as_bytes()).unwrap();
    behind.read_exact(&mut [0; 10_000]).unwrap();
    // All of them are stuck by then.
    thread::sleep(Duration::from_millis(1_500));
    let began = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    println!("stopped after {:?}", began.elapsed());
    let (bytes, ended) = download.rest();
    assert!(bytes.len() < 10_000_000, "more than a part");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut rest = Vec::new();
    let ended = old.read_to_end(&mut rest);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // All of it is there.
    let again = server.again();
    let lines = exported(&again, &["events"]);
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 200);
}

/// The rows of a table of events, each as the line that JSON lines have of it.
fn event_lines(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    let moment = |moment: Option<Moment<'_>>| match moment {
        Some(Moment::Date(date)) => date.to_string(),
        other => panic!("{other:?} is no instant"),
    };
    table
        .events(&mut |row| {
            let quoted = |text: Option<&str>| serde_json::to_string(&text).unwrap();
            assert_eq!(row.record, Some("event"));
            lines.push(format!(
                r#"{{"seq":{},"type":{},"user_id":{},"date":"{}","received_at":"{}","attributes":{},"via":{}}}"#,
                row.seq.unwrap(),
                quoted(row.kind),
                quoted(row.user_id),
                moment(row.date),
                moment(row.received_at),
                row.attributes.unwrap(),
                quoted(row.via),
            ));
            ControlFlow::Continue(())
        })
        .unwrap();
    lines
}

/// The same of users, whose e-mail addresses are texts.
fn user_lines(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    table
        .users(&mut |row| {
            let (Some(Moment::Date(created)), Some(Moment::Date(updated))) =
                (row.created_at, row.updated_at)
            else {
                panic!("{row:?} has no instants")
            };
            let quoted = |text: Option<&str>| serde_json::to_string(&text).unwrap();
            lines.push(format!(
                r#"{{"id":{},"email":{},"attributes":{},"created_at":"{created}","updated_at":"{updated}"}}"#,
                quoted(row.id),
                quoted(row.email),
                row.attributes.unwrap(),
            ));
            ControlFlow::Continue(())
        })
        .unwrap();
    lines
}

/// What bytes of Parquet hold, as lines.
fn parquet_lines(what: &str, bytes: &[u8]) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, bytes).unwrap();
    let table = Table::open(file.path()).unwrap();
    let lines = if what == "events" {
        // It is a segment, too.
        let segment = Segment::open(file.path(), None).unwrap();
        let rows: u64 = segment.groups().iter().map(|group| group.rows).sum();
        assert_eq!(rows, table.rows());
        event_lines(&table)
    } else {
        user_lines(&table)
    };
    assert_eq!(lines.len() as u64, table.rows());
    lines
}

fn lines(bytes: &[u8]) -> Vec<String> {
    std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn parquet_holds_what_json_lines_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    for (sent, _) in hostile() {
        let quoted = serde_json::to_string(&sent).unwrap();
        let rest =
            r#""n":-1234567890123456789012345678901234567890,"e":1E5,"f":1.0,"s":"😀\u0000""#;
        server.track(
            "events",
            &format!(r#"{{"type":{quoted},"user_id":{quoted},"a":{quoted},{rest}}}"#),
        );
        server
            .track("users", &format!(r#"{{"id":{quoted},"email":{quoted},"a":{quoted},{rest}}}"#));
    }
    server.track("events", r#"{"type":"view","date":"2001-07-04","user_id":7}"#);
    server.track("events", r#"{"type":"view","date":"1969-12-31T23:59:59.999Z"}"#);
    server.track("users", r#"{"id":"bare"}"#);
    let cases: &[(&str, &[&str])] = &[
        ("events", &[]),
        ("events", &["type", "view"]),
        ("events", &["user_id", "7", "from", "2001-07-04"]),
        ("events", &["to", "2001-07-04"]),
        ("events", &["type", "nothing"]),
        ("users", &[]),
        ("users", &["user_id", "bare"]),
        ("users", &["user_id", "nobody"]),
    ];
    let check = |server: &Server, over_http: bool| {
        for (what, filters) in cases {
            let of = |format: &str| {
                let mut arguments = vec![(*what).to_owned(), "--format".into(), format.into()];
                let mut query = format!("what={what}&format={format}");
                for filter in filters.chunks(2) {
                    arguments.push(format!("--{}", filter[0].replace('_', "-")));
                    arguments.push(filter[1].to_owned());
                    query += &format!("&{}={}", filter[0], escape(filter[1]));
                }
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                let bytes = exported(server, &arguments);
                if over_http {
                    let download = Download::begin(server, &query, Window::Usual);
                    assert_eq!(download.head.status, 200, "{query}: {:?}", download.head);
                    assert_eq!(download.whole(), bytes, "{query}");
                }
                bytes
            };
            assert_eq!(
                parquet_lines(what, &of("parquet")),
                lines(&of("jsonl")),
                "{what} {filters:?}"
            );
        }
    };
    check(&server, true);
    // What is no address stays what it is, among the attributes.
    server.track("users", r#"{"id":"odd e-mail","a":1,"email":[1.0,"=2"]}"#);
    let odd = exported(&server, &["users", "--user-id", "odd e-mail", "--format", "parquet"]);
    let odd = parquet_lines("users", &odd);
    let expected = r#"{"id":"odd e-mail","email":null,"attributes":{"a":1,"email":[1.0,"=2"]},"#;
    assert!(odd[0].starts_with(expected), "{odd:?}");
    server.track("users", r#"{"id":"odd e-mail","email":null}"#);
    server.terminate();
    check(&server, false);
    // Sealed or not, it is the same.
    assert_eq!(verb(&server.dir, &["compact"]).status.code(), Some(0));
    check(&server, false);
}

#[test]
fn parquet_of_another_account_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(verb(&server.dir, &["account", "add", "Zoë"]).status.code(), Some(0));
    let bytes = exported(&server, &["events", "--account", "Zoë", "--format", "parquet"]);
    assert_eq!(parquet_lines("events", &bytes), Vec::<String>::new());
    server.track("events", r#"{"type":"e"}"#);
    let bytes = exported(&server, &["events", "--account", "default", "--format", "parquet"]);
    let name = b"default";
    assert!(bytes.windows(name.len()).any(|window| window == name));
}

/// More than one row group, in pieces as they are finished.
#[test]
fn large_parquet_is_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    fill(&server, 20);
    let mut download = Download::begin(&server, "what=events&format=parquet", Window::Usual);
    let mut begin = [0; 4];
    download.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"PAR1");
    let (rest, ended) = download.rest();
    ended.unwrap();
    let bytes = [&begin[..], &rest].concat();
    let path = dir.path().join("large.parquet");
    std::fs::write(&path, &bytes).unwrap();
    assert!(Segment::open(&path, None).unwrap().groups().len() > 3);
    let over_http = Download::begin(&server, "what=events", Window::Usual).whole();
    assert!(parquet_lines("events", &bytes) == lines(&over_http), "they differ");
}
