//! Imports, as a shell sees them.
//!
//! Promises that what was exported comes back as it was, that a file that is imported twice, or cut
//! short anywhere and imported again, is stored once, that what grew is read on, and that a line
//! that is refused is told with its number, the reason and itself while the rest goes in: with a
//! server and without.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::random::Random;
use support::server::{triggerly, verb};
use support::{Server, request};
use tempfile::TempDir;
use triggerly::model::Date;
use triggerly::store::segment::{Segment, UsersWriter};

/// A store with one account, with a server on it or without, and files beside it.
struct Place {
    dir: TempDir,
    server: Option<Server>,
}

impl Place {
    fn new(with_server: bool) -> Place {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = dir.path().join("store");
        let server = with_server.then(|| Server::start(&store));
        if !with_server {
            assert_eq!(verb(&store, &["account", "add", "default"]).status.code(), Some(0));
        }
        Place { dir, server }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("it can be written");
        path
    }

    fn run(&self, arguments: &[&str]) -> Output {
        verb(&self.store(), arguments)
    }

    /// Imports a file: what is said, in which times are left out.
    fn import(&self, what: &str, file: &Path) -> String {
        let output = self.run(&["import", what, path(file)]);
        said(&output)
    }

    /// Imports standard input, in the folder of the files.
    fn pipe(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = triggerly();
        command.args(arguments).arg("--data").arg(self.store()).current_dir(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    fn export(&self, what: &str) -> Vec<String> {
        self.export_of(&["export", what])
    }

    fn export_of(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The lines that were refused, as numbers and codes.
    fn rejected(&self, name: &str) -> Vec<(u64, String, String)> {
        let text = fs::read_to_string(self.dir.path().join(name)).expect("it is there");
        text.lines()
            .map(|line| {
                let entry: Value = serde_json::from_str(line).expect("JSON");
                assert!(entry["detail"].as_str().expect("a sentence").len() > 10, "{entry}");
                let member = |name: &str| entry[name].as_str().expect("text").to_owned();
                (entry["line"].as_u64().expect("a number"), member("code"), member("text"))
            })
            .collect()
    }

    fn is_there(&self, name: &str) -> bool {
        self.dir.path().join(name).exists()
    }
}

fn both(test: impl Fn(&Place)) {
    for with_server in [true, false] {
        test(&Place::new(with_server));
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// What an import that went well said.
fn said(output: &Output) -> String {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""), "{output:?}");
    text(&output.stderr).to_owned()
}

/// The one line that an import that failed said.
fn complaint(output: &Output) -> String {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{output:?}");
    let line = text(&output.stderr).strip_prefix("triggerly: ").expect("it says who it is");
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line}");
    line.to_owned()
}

/// Exported lines without what is given anew.
fn without_seq_and_via(lines: &[String]) -> Vec<String> {
    let strip = |line: &String| {
        let (_, rest) = line.split_once(r#","type":"#).expect("an event");
        let via = rest.rfind(r#","via":""#).expect("how it came");
        rest[..via].to_owned()
    };
    lines.iter().map(strip).collect()
}

/// Events with a number each, padded.
fn numbered(numbers: std::ops::Range<usize>) -> String {
    let pad = "x".repeat(100);
    numbers.map(|n| format!("{{\"type\":\"t\",\"n\":{n},\"pad\":\"{pad}\"}}\n")).collect()
}

/// The numbers of the events that are there.
fn numbers(place: &Place) -> Vec<usize> {
    let number = |line: &String| {
        let (_, rest) = line.split_once(r#""n":"#).expect("a number");
        rest[..rest.find(',').expect("more")].parse().expect("a number")
    };
    place.export("events").iter().map(number).collect()
}

#[test]
fn what_was_exported_comes_back_as_it_was() {
    let from = Place::new(true);
    let server = from.server.as_ref().unwrap();
    let deep = format!(r#"{{"type":"deep","v":{}1{}}}"#, "[".repeat(31), "]".repeat(31));
    let large = format!(r#"{{"type":"large","v":"{}"}}"#, "é".repeat(30_000));
    for event in [
        r#"{"type":"view","user_id":"u1","date":"2001-07-04","a":"😀","z":1.0,"b":1E5}"#,
        r#"{"big":1234567890123456789012345678901234567890,"type":"buy now","x":{"k":[null,{}]}}"#,
        r#"{"type":"\"quoted\"\n","user_id":5,"s":"\u0001\\ \u2028","":"","attributes":{"a":1}}"#,
        r#"{"type":"view","seq":1,"received_at":"x","date":"1999-12-31T23:59:59.999+01:00"}"#,
        r#"{"type":"same keys","seq":1,"attributes":{"a":1}}"#,
        &deep,
        &large,
    ] {
        server.track("events", event);
    }
    let many = (0..511).map(|n| format!(r#","a{n}":{n}"#)).collect::<String>();
    for user in [
        r#"{"id":"u1","email":"u1@example.com","n":1E5,"o":{"a":{"b":1.0}}}"#,
        r#"{"id":2,"big":1234567890123456789012345678901234567890,"s":"😀"}"#,
        r#"{"id":"bare"}"#,
        r#"{"id":"odd","email":["no","address"],"list":[null,{"x":null}]}"#,
        &format!(r#"{{"id":"many","email":"m"{many}}}"#),
    ] {
        server.track("users", user);
    }
    thread::sleep(Duration::from_millis(3));
    server.track("users", r#"{"id":"u1","later":true}"#);
    for what in ["events", "users"] {
        let exported = from.export(what);
        both(|to| {
            let file = to.file("exported.jsonl", exported.join("\n") + "\n");
            let said = to.import(what, &file);
            assert_eq!(said, format!("imported {} {what}\n", exported.len()));
            let again = to.export(what);
            match what {
                "users" => assert_eq!(again, exported),
                _ => {
                    assert_eq!(without_seq_and_via(&again), without_seq_and_via(&exported));
                    assert!(again.iter().all(|line| line.ends_with(r#","via":"import"}"#)));
                }
            }
            // And what is exported of that is the same input, but for `seq` and `via`.
            let file = to.file("again.jsonl", again.join("\n") + "\n");
            let third = Place::new(false);
            assert_eq!(third.import(what, &file), said);
            assert_eq!(third.export(what).len(), exported.len());
        });
    }
    let u1 = from.export("users").into_iter().find(|line| line.contains(r#""id":"u1""#)).unwrap();
    let u1: Value = serde_json::from_str(&u1).unwrap();
    assert_ne!(u1["created_at"], u1["updated_at"], "or the test shows less than it means to");
}

/// Writes an export in Parquet, and says where.
fn exported_parquet(from: &Place, what: &str) -> PathBuf {
    let output = from.run(&["export", what, "--format", "parquet"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    from.file(&format!("{what}.parquet"), output.stdout)
}

#[test]
fn what_was_exported_in_parquet_comes_back_as_it_was() {
    let from = Place::new(true);
    let server = from.server.as_ref().unwrap();
    let deep = format!(r#"{{"type":"deep","v":{}1{}}}"#, "[".repeat(31), "]".repeat(31));
    let large = format!(r#"{{"type":"large","v":"{}"}}"#, "é".repeat(30_000));
    for event in [
        r#"{"type":"view","user_id":"u1","date":"2001-07-04","a":"😀","z":1.0,"b":1E5}"#,
        r#"{"big":1234567890123456789012345678901234567890,"type":"buy now","x":{"k":[null,{}]}}"#,
        r#"{"type":"\"quoted\"\n","user_id":5,"s":"\u0001\\ \u2028","":"","attributes":{"a":1}}"#,
        r#"{"type":"view","seq":1,"received_at":"x","date":"1969-12-31T23:59:59.999Z"}"#,
        &deep,
        &large,
    ] {
        server.track("events", event);
    }
    for user in [
        r#"{"id":"u1","email":"u1@example.com","n":1E5,"o":{"a":{"b":1.0}}}"#,
        r#"{"id":2,"big":1234567890123456789012345678901234567890,"s":"😀"}"#,
        r#"{"id":"bare"}"#,
        r#"{"id":"odd","a":1,"email":["no","address",1.0],"list":[null,{"x":null}]}"#,
        r#"{"id":"names it","about":{"email":"within"}}"#,
    ] {
        server.track("users", user);
    }
    thread::sleep(Duration::from_millis(3));
    server.track("users", r#"{"id":"u1","later":true}"#);
    for what in ["events", "users"] {
        let lines = from.export(what);
        let parquet = exported_parquet(&from, what);
        let count = lines.len();
        let nothing_new =
            format!("{count} lines were imported before and are skipped\nimported 0 {what}\n");
        both(|to| {
            assert_eq!(to.import(what, &parquet), format!("imported {count} {what}\n"));
            let again = to.export(what);
            match what {
                "users" => assert_eq!(again, lines),
                _ => assert_eq!(without_seq_and_via(&again), without_seq_and_via(&lines)),
            }
            // Twice is once, whatever it comes through and however it is written.
            assert_eq!(to.import(what, &parquet), nothing_new);
            let piped = to.pipe(&["import", what, "-"], &fs::read(&parquet).unwrap());
            assert_eq!(said(&piped), nothing_new);
            let as_lines = to.file("exported.jsonl", lines.join("\n"));
            assert_eq!(to.import(what, &as_lines), nothing_new);
            assert_eq!(to.export(what), again);
        });
    }
}

#[test]
fn parquet_that_goes_on_is_read_on() {
    let from = Place::new(false);
    // So large that it takes more than one row group, of which the first is known.
    let large = |numbers: std::ops::Range<usize>| {
        let pad = "x".repeat(20_000);
        numbers
            .map(|n| format!("{{\"type\":\"t\",\"n\":{n},\"pad\":\"{pad}\"}}\n"))
            .collect::<String>()
    };
    let file = from.file("a.jsonl", large(0..300));
    assert_eq!(from.import("events", &file), "imported 300 events\n");
    let lines = from.export("events");
    let parquet = exported_parquet(&from, "events");
    assert_eq!(Segment::open(&parquet, None).unwrap().groups().len(), 2);
    for known in [1, 250] {
        let to = Place::new(false);
        let begin = to.file("begin.jsonl", lines[..known].join("\n") + "\n");
        assert_eq!(to.import("events", &begin), format!("imported {known} events\n"));
        let rest = 300 - known;
        assert_eq!(
            to.import("events", &parquet),
            format!("{known} lines were imported before and are skipped\nimported {rest} events\n")
        );
        assert_eq!(without_seq_and_via(&to.export("events")), without_seq_and_via(&lines));
        // What begins otherwise is something else, and is read from its beginning again.
        let other = Place::new(false);
        let begin = other.file("begin.jsonl", large(5..known + 5));
        assert_eq!(other.import("events", &begin), format!("imported {known} events\n"));
        assert_eq!(other.import("events", &parquet), "imported 300 events\n");
    }
}

/// A segment as it lies in a store: updates of users are passed over, as empty lines are.
#[test]
fn a_segment_is_a_table_of_events() {
    let from = Place::new(false);
    let users = from.file("users.jsonl", "{\"id\":\"u1\",\"a\":1}\n");
    let events = from.file("events.jsonl", numbered(0..3));
    from.import("users", &users);
    from.import("events", &events);
    assert_eq!(from.run(&["compact"]).status.code(), Some(0));
    let entries = fs::read_dir(from.store().join("segments")).unwrap();
    let segment = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "parquet"))
        .expect("a segment");
    let to = Place::new(false);
    assert_eq!(to.import("events", &segment), "imported 3 events\n");
    assert_eq!(
        without_seq_and_via(&to.export("events")),
        without_seq_and_via(&from.export("events"))
    );
    let users = complaint(&to.run(&["import", "users", path(&segment)]));
    assert!(users.contains("it has no column `id`"), "{users}");
}

#[test]
fn rows_that_are_refused_are_told_and_the_rest_goes_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.parquet");
    let mut out = fs::File::create(&file).unwrap();
    let mut users = UsersWriter::new(&mut out).unwrap();
    let at = Date::parse("2001-07-04").unwrap();
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(2_000_000));
    let rows = [
        ("good", None, "{\"a\":\n [1.0,\r\n2]}", None),
        ("", None, "{}", Some("invalid_id")),
        ("broken", None, "{", Some("invalid_json")),
        ("spliced", None, r#"{},"email":"a@example.com""#, Some("invalid_json")),
        ("list", None, "[1]", Some("invalid_json")),
        ("marked", None, "\u{feff}{}", Some("invalid_json")),
        ("broken e-mail", None, r#"{"email":"#, Some("invalid_json")),
        ("long", Some("e"), &long, Some("payload_too_large")),
        ("also good", Some("a@example.com"), r#"{"b":"\u0000"}"#, None),
    ];
    for (id, email, attributes, _) in &rows {
        users.put(id, *email, attributes, at, at).unwrap();
    }
    users.finish().unwrap();
    both(|place| {
        let copy = place.file("users.parquet", fs::read(&file).unwrap());
        let said = place.import("users", &copy);
        assert!(said.starts_with("imported 2 users; 7 lines were refused, see "), "{said}");
        let expected: Vec<_> = (1_u64..)
            .zip(&rows)
            .filter_map(|(line, row)| Some((line, row.3?.to_owned())))
            .collect();
        let rejected = place.rejected("users.parquet.rejected");
        let told: Vec<_> = rejected.iter().map(|(line, code, _)| (*line, code.clone())).collect();
        assert_eq!(told, expected);
        assert!(rejected[2].2.contains(r#"{},"email":"a@example.com""#), "{rejected:?}");
        let users = place.export("users");
        assert_eq!(users.len(), 2);
        assert!(users[1].contains(r#""attributes":{"a":[1.0,2]}"#), "{users:?}");
    });
}

/// A table that is cut short or bent isn't read to its end, and says so.
#[test]
fn damaged_tables_are_no_tables() {
    let from = Place::new(false);
    let file = from.file("a.jsonl", numbered(0..20_000));
    from.import("events", &file);
    let parquet = fs::read(exported_parquet(&from, "events")).unwrap();
    let cut = from.file("cut.parquet", &parquet[..parquet.len() - 1]);
    assert!(complaint(&from.run(&["import", "events", path(&cut)])).contains("cut.parquet"));
    // Pages of no known size: it ends there, with what was before it stored or not, and a reason.
    let mut bent = parquet.clone();
    bent[4..400].fill(0xff);
    let bent = from.file("bent.parquet", bent);
    let to = Place::new(false);
    let why = complaint(&to.run(&["import", "events", path(&bent)]));
    assert!(why.contains("bent.parquet, row 1"), "{why}");
    assert_eq!(to.export("events").len(), 0);
}

#[test]
fn objects_as_calls_send_them_are_received_now() {
    both(|place| {
        let lines = concat!(
            "\u{feff}{\"type\":\"first\",\"user_id\":7,\"date\":\"2001/07/04\",\"n\":1.0}\r\n",
            "\r\n",
            "  {\"type\":\"second\",\"user_id\":null,\"date\":null}  \n",
            "\n",
            " \t \n",
            // Nearly what an export writes, but not quite.
            "{\"seq\":\"1\",\"type\":\"third\",\"user_id\":null,\"date\":null,\"received_at\":\"x\",\"attributes\":{}}\n",
            "{\"seq\":1,\"type\":\"fourth\",\"date\":\"2001-07-04\",\"received_at\":\"2001-07-05\",\"attributes\":{}}\n",
            "{\"type\":\"last\",\"half\":\"\\ud83d\"}",
        );
        let before = triggerly::clock::now();
        let file = place.file("events.jsonl", lines);
        assert_eq!(place.import("events", &file), "imported 5 events\n");
        let events: Vec<Value> =
            place.export("events").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["first", "second", "third", "fourth", "last"]);
        assert_eq!(events[0]["user_id"], "7");
        assert_eq!(events[0]["date"], "2001-07-04T00:00:00.000Z");
        assert_eq!(events[2]["attributes"]["received_at"], "x");
        assert_eq!(events[3]["attributes"]["received_at"], "2001-07-05");
        assert_eq!(events[4]["attributes"]["half"], "\u{fffd}");
        for event in &events {
            let received = event["received_at"].as_str().unwrap();
            assert!(Date::parse(received).unwrap() >= before, "{event}");
        }
        assert_eq!(events[1]["date"], events[1]["received_at"]);

        let users = "{\"id\":1,\"a\":{\"x\":1,\"y\":2},\"b\":1}\n{\"id\":\"1\",\"a\":{\"x\":null},\"b\":null}\n";
        assert_eq!(place.import("users", &place.file("users.jsonl", users)), "imported 2 users\n");
        let user: Value = serde_json::from_str(&place.export("users")[0]).unwrap();
        assert_eq!(user["attributes"].to_string(), r#"{"a":{"y":2}}"#);
    });
}

#[test]
fn twice_is_once_and_what_grew_is_read_on() {
    both(|place| {
        let file = place.file("a.jsonl", numbered(0..2_500));
        assert_eq!(place.import("events", &file), "imported 2500 events\n");
        let nothing_new = "2500 lines were imported before and are skipped\nimported 0 events\n";
        assert_eq!(place.import("events", &file), nothing_new);
        // It is known by what is in it, whatever its name and its line ends.
        let renamed = place.file("b.jsonl", numbered(0..2_500).replace('\n', "\r\n"));
        assert_eq!(place.import("events", &renamed), nothing_new);
        let piped =
            place.pipe(&["import", "events", "-"], numbered(0..2_500).trim_end().as_bytes());
        assert_eq!(said(&piped), nothing_new);

        let grown = place.file("a.jsonl", numbered(0..4_000));
        assert_eq!(
            place.import("events", &grown),
            "2500 lines were imported before and are skipped\nimported 1500 events\n"
        );
        // An older copy is known still, and so is the whole.
        assert_eq!(place.import("events", &renamed), nothing_new);
        let said = place.import("events", &grown);
        assert_eq!(said, "4000 lines were imported before and are skipped\nimported 0 events\n");
        assert!(numbers(place).into_iter().eq(0..4_000));

        // What begins otherwise is another input, even if the rest is the same.
        let other = place.file("c.jsonl", format!("\n{}", numbered(0..10)));
        assert_eq!(place.import("events", &other), "imported 10 events\n");
        // As users it was never imported.
        let users = place.file("u.jsonl", "{\"id\":1,\"type\":\"t\"}\n");
        assert_eq!(place.import("users", &users), "imported 1 users\n");
        assert_eq!(place.import("events", &users), "imported 1 events\n");
    });
}

#[test]
fn a_last_line_that_is_still_being_written_is_taken_when_it_is_whole() {
    both(|place| {
        let line = r#"{"type":"t","n":1,"pad":""}"#;
        let half = format!("{}{}", numbered(0..1), &line[..line.len() - 5]);
        assert!(place.import("events", &place.file("log", &half)).contains("1 lines were refused"));
        assert!(place.import("events", &place.file("log", &half)).contains("1 lines were refused"));
        // Whole, but nothing ends it yet.
        let whole = format!("{}{line}", numbered(0..1));
        for (content, count) in [
            (whole.clone(), 1),
            (whole.clone(), 0),
            (format!("{whole}\n"), 0),
            (format!("{whole}\n{}", numbered(2..3)), 1),
        ] {
            let said = place.import("events", &place.file("log", &content));
            assert!(said.ends_with(&format!("imported {count} events\n")), "{said}");
        }
        assert_eq!(numbers(place), [0, 1, 2]);
    });
}

#[test]
fn accounts_are_apart() {
    both(|place| {
        let file = place.file("a.jsonl", numbered(0..10));
        assert_eq!(place.run(&["account", "add", "other"]).status.code(), Some(0));
        let vague = place.run(&["import", "events", path(&file)]);
        assert!(complaint(&vague).contains("say which account"));
        let nobody = place.run(&["import", "events", path(&file), "--account", "nobody"]);
        assert!(complaint(&nobody).contains("there is no account"));
        for account in ["other", "default"] {
            let import = ["import", "events", path(&file), "--account", account];
            assert_eq!(said(&place.run(&import)), "imported 10 events\n");
            assert!(said(&place.run(&import)).ends_with("imported 0 events\n"));
            let exported = place.export_of(&["export", "events", "--account", account]);
            assert_eq!(exported.len(), 10, "{account}");
        }
    });
}

/// Lines of events, and why they are refused; `None` is taken.
fn bad_events() -> Vec<(String, Option<&'static str>)> {
    let exported = |date: &str, received_at: &str, attributes: &str| {
        format!(
            r#"{{"seq":1,"type":"e","user_id":null,"date":{date},"received_at":{received_at},"attributes":{attributes},"via":"public"}}"#
        )
    };
    let lists = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""a{n}":{n}"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    let day = r#""2001-07-04""#;
    let text = |bytes: usize| "x".repeat(bytes);
    vec![
        (r#"{"type":"a"}"#.into(), None),
        (r#"{"type":"a""#.into(), Some("invalid_json")),
        (r#"{"type":"a"} {"type":"b"}"#.into(), Some("invalid_json")),
        ("type=a".into(), Some("invalid_json")),
        ("\u{feff}".into(), None),
        ("\u{feff}\u{feff}{}".into(), Some("invalid_json")),
        ("[]".into(), Some("not_an_object")),
        ("null".into(), Some("not_an_object")),
        ("{}".into(), Some("missing_type")),
        (r#"{"type":null}"#.into(), Some("missing_type")),
        (r#"{"type":5}"#.into(), Some("invalid_type")),
        (format!(r#"{{"type":"{}"}}"#, text(256)), Some("invalid_type")),
        (r#"{"type":"a","user_id":1.5}"#.into(), Some("invalid_user_id")),
        (r#"{"type":"a","date":"yesterday"}"#.into(), Some("invalid_date")),
        (format!(r#"{{"type":"a","v":{}}}"#, lists(31)), None),
        (format!(r#"{{"type":"a","v":{}}}"#, lists(32)), Some("too_deep")),
        (format!(r#"{{"type":"a","v":{}}}"#, lists(400)), Some("too_deep")),
        (format!(r#"{{"type":"a","{}":1}}"#, text(256)), Some("attribute_name_too_long")),
        (format!(r#"{{"type":"a","v":"{}"}}"#, text(65_517)), None),
        (format!(r#"{{"type":"a","v":"{}"}}"#, text(65_518)), Some("payload_too_large")),
        (format!(r#"{{"type":"a","v":"{}"}}"#, text(900_000)), Some("payload_too_large")),
        (format!(r#"{{"type":"a","v":"{}"}}"#, text(3_000_000)), Some("payload_too_large")),
        (exported(day, day, "{}"), None),
        (exported(day, r#""today""#, "{}"), Some("invalid_date")),
        (exported(day, "5", "{}"), Some("invalid_date")),
        (exported(day, "null", "{}"), Some("invalid_date")),
        (exported("1", day, "{}"), Some("invalid_date")),
        (exported(day, day, &many(512)), None),
        (exported(day, day, &many(513)), Some("too_many_attributes")),
        (exported(day, day, &format!(r#"{{"v":{}}}"#, lists(31))), None),
        (exported(day, day, &format!(r#"{{"v":{}}}"#, lists(32))), Some("too_deep")),
        (exported(day, day, &format!(r#"{{"v":"{}"}}"#, text(65_528))), None),
        (exported(day, day, &format!(r#"{{"v":"{}"}}"#, text(65_529))), Some("payload_too_large")),
        (exported(day, day, &format!(r#"{{"v":"{}"}}"#, text(80_000))), Some("payload_too_large")),
        (r#"{"type":"last"}"#.into(), None),
    ]
}

#[test]
fn lines_that_are_refused_are_told_and_the_rest_goes_in() {
    both(|place| {
        let cases = bad_events();
        let mut lines: Vec<u8> = Vec::new();
        for (line, _) in &cases {
            lines.extend_from_slice(line.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        lines.extend_from_slice(b"{\"type\":\"\xff\"}\n");
        let file = place.file("mixed.jsonl", &lines);
        let expected: Vec<_> = (1..)
            .zip(cases.iter().map(|(line, code)| (line.as_str(), *code)))
            .chain([(cases.len() as u64 + 1, ("{\"type\":\"\u{fffd}\"}", Some("invalid_json")))])
            .filter_map(|(number, (line, code))| Some((number, code?.to_owned(), line)))
            .collect();
        let stored = cases.iter().filter(|(line, code)| code.is_none() && line.len() > 3).count();
        let said = place.import("events", &file);
        assert_eq!(
            said,
            format!(
                "imported {stored} events; {} lines were refused, see {}.rejected\n",
                expected.len(),
                path(&file)
            )
        );
        let rejected = place.rejected("mixed.jsonl.rejected");
        assert_eq!(rejected.len(), expected.len());
        for ((number, code, line), (known, reason, text)) in rejected.iter().zip(&expected) {
            assert_eq!((number, code), (known, reason), "{text:.200}");
            // Of one that is too long to be held, the beginning.
            let whole = if text.len() > 1 << 20 { &text[..256] } else { text };
            assert!(line == whole, "{number}: {line:.200}");
        }
        let exported = place.export("events");
        assert_eq!(exported.len(), stored);
        assert!(exported.last().unwrap().contains(r#""type":"last""#));

        // What goes on in a file that grew is told behind what was told of it before.
        let grown = [&lines[..], b"{\"type\":\"new\"}\nnew\n"].concat();
        let said = place.import("events", &place.file("mixed.jsonl", grown));
        assert!(said.contains("imported 1 events; 1 lines were refused"), "{said}");
        let rejected = place.rejected("mixed.jsonl.rejected");
        assert_eq!(rejected.len(), expected.len() + 1);
        assert_eq!(rejected.last().unwrap().2, "new");
        // Another file of that name is told anew.
        place.import("events", &place.file("mixed.jsonl", "no\n"));
        assert_eq!(place.rejected("mixed.jsonl.rejected").len(), 1);
    });
}

#[test]
fn users_are_refused_one_by_one_where_they_would_grow_too_large() {
    both(|place| {
        let members = |range: std::ops::Range<u32>| {
            range.map(|n| format!(r#","a{n}":{n}"#)).collect::<String>()
        };
        let large = "x".repeat(60_000);
        let exported = |id: &str, attributes: &str| {
            format!(
                r#"{{"id":"{id}","email":null,"attributes":{attributes},"created_at":"2001-07-04","updated_at":"2002-07-04"}}"#
            )
        };
        let mut lines = vec![
            (r#"{"id":"before"}"#.to_owned(), None),
            (format!(r#"{{"id":"many"{}}}"#, members(0..500)), None),
            (format!(r#"{{"id":"many"{}}}"#, members(500..513)), Some("too_many_attributes")),
            (format!(r#"{{"id":"many"{}}}"#, members(500..512)), None),
            (format!(r#"{{"id":"large","a":"{large}"}}"#), None),
            (format!(r#"{{"id":"large","b":"{large}"}}"#), Some("payload_too_large")),
            (exported("large", &format!(r#"{{"c":"{large}"}}"#)), Some("payload_too_large")),
            (r#"{"id":"large","a":null}"#.to_owned(), None),
            (format!(r#"{{"id":"large","b":"{large}"}}"#), None),
            (exported("back", r#"{"email":"in its place"}"#), None),
            (exported("", "{}"), Some("invalid_id")),
            (r#"{"email":"nobody@example.com"}"#.to_owned(), Some("missing_id")),
            (r#"{"id":null}"#.to_owned(), Some("missing_id")),
            (exported("bad", "{}").replace("2001", "in 2001, "), Some("invalid_date")),
        ];
        // Refusals far apart, in chunks of their own.
        for n in 0..300 {
            lines.push((format!(r#"{{"id":"u{n}"}}"#), None));
            if n % 50 == 0 {
                let line = format!(r#"{{"id":"many","b{n}":1}}"#);
                lines.push((line, Some("too_many_attributes")));
            }
        }
        let all = lines.iter().map(|(line, _)| format!("{line}\n")).collect::<String>();
        let said = place.import("users", &place.file("users.jsonl", all));
        let refused: Vec<_> = (1..)
            .zip(&lines)
            .filter_map(|(number, (line, code))| Some((number, (*code)?.to_owned(), line.clone())))
            .collect();
        assert!(
            said.starts_with(&format!(
                "imported {} users; {} lines were refused, see ",
                lines.len() - refused.len(),
                refused.len()
            )),
            "{said}"
        );
        assert_eq!(place.rejected("users.jsonl.rejected"), refused);
        let users = place.export("users");
        assert_eq!(users.len(), 304);
        let find = |id: &str| -> Value {
            let line = users.iter().find(|line| line.starts_with(&format!(r#"{{"id":"{id}""#)));
            serde_json::from_str(line.expect("it is there")).expect("JSON")
        };
        assert_eq!(find("many")["attributes"].as_object().unwrap().len(), 512);
        assert_eq!(find("large")["attributes"].as_object().unwrap().len(), 1);
        assert_eq!(find("back")["email"], "in its place");
        assert_eq!(find("back")["created_at"], "2001-07-04T00:00:00.000Z");
        assert_eq!(find("back")["updated_at"], "2002-07-04T00:00:00.000Z");
    });
}

#[test]
fn standard_input_and_pipes() {
    both(|place| {
        for arguments in [&["import", "events"][..], &["import", "events", "-"]] {
            let piped = place.pipe(arguments, b"{\"type\":\"piped\"}\nno\n");
            let said = said(&piped);
            assert!(said.contains("stdin.rejected") || said.contains("skipped"), "{said}");
        }
        assert_eq!(place.rejected("stdin.rejected"), [(2, "invalid_json".into(), "no".into())]);
        let named =
            place.pipe(&["import", "events", "/dev/stdin"], b"{\"type\":\"named\"}\nstill no");
        assert!(said(&named).contains("see stdin.rejected"));
        assert_eq!(place.export("events").len(), 2);
    });
}

#[test]
fn inputs_that_are_none() {
    both(|place| {
        assert_eq!(place.import("events", &place.file("empty", "")), "imported 0 events\n");
        assert_eq!(place.import("users", &place.file("blank", "\n\r\n \n")), "imported 0 users\n");
        let mut random = Random::new();
        let bytes: Vec<u8> = (0..300_000).map(|_| random.within(0..256) as u8).collect();
        let said = place.import("events", &place.file("noise", &bytes));
        assert!(said.starts_with("imported 0 events; "), "{said}");
        assert!(place.rejected("noise.rejected").len() > 500);
        assert!(!place.is_there("empty.rejected") && !place.is_there("blank.rejected"));

        let missing = place.run(&["import", "events", "/nowhere/at/all"]);
        assert!(complaint(&missing).contains("can't read /nowhere/at/all"));
        let folder = place.run(&["import", "events", "/"]);
        assert!(complaint(&folder).contains("can't read /"));
        let parquet = place.file("events.parquet", b"PAR1\0\0PAR1");
        let parquet = place.run(&["import", "events", path(&parquet)]);
        assert!(complaint(&parquet).contains("Parquet"));
        let usage = place.run(&["import", "accounts", "x"]);
        assert_eq!(usage.status.code(), Some(2));
        assert_eq!(place.export("events").len(), 0);

        // Where the refused lines can't be written, it stops and says so.
        let stuck = place.file("stuck", "no\n");
        fs::create_dir(place.dir.path().join("stuck.rejected")).expect("a folder");
        assert!(complaint(&place.run(&["import", "events", path(&stuck)])).contains("can't write"));
    });
    let nowhere = tempfile::tempdir().unwrap();
    let store = nowhere.path().join("store");
    assert!(
        complaint(&verb(&store, &["import", "events", "/dev/null"])).contains("no triggerly store")
    );
}

fn begin(place: &Place, file: &Path) -> Child {
    let mut command = triggerly();
    command.args(["import", "events", path(file), "--data"]).arg(place.store());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it runs")
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}

const MANY: usize = 30_000;

/// Cuts imports short at points that are spread over their time, until one comes through; then all
/// is there once.
fn cut_short(place: &mut Place, mut cut: impl FnMut(&mut Place, &mut Child)) {
    let file = place.file("many.jsonl", numbered(0..MANY));
    let mut random = Random::new();
    let (mut cuts, mut after) = (0, 20);
    loop {
        let mut child = begin(place, &file);
        thread::sleep(Duration::from_millis(after + random.within(0..40)));
        if cuts < 8 && child.try_wait().expect("it can be waited for").is_none() {
            cut(place, &mut child);
            cuts += 1;
            after += 10;
        }
        let output = child.wait_with_output().expect("it ends");
        if output.status.success() {
            break;
        }
        // At once, while what was sent may still be on its way to the disk.
    }
    assert!(cuts > 1, "it came through too soon");
    let there = numbers(place);
    assert_eq!(there.len(), MANY, "after {cuts} cuts");
    assert!(there.into_iter().eq(0..MANY), "once each, in order");
    assert!(place.import("events", &file).ends_with("imported 0 events\n"));
}

#[test]
fn killed_without_a_server_it_goes_on() {
    let mut signals = [Signal::KILL, Signal::INT, Signal::TERM].into_iter().cycle();
    cut_short(&mut Place::new(false), |_, child| send(child, signals.next().expect("another")));
}

#[test]
fn killed_beside_a_server_it_goes_on() {
    let mut signals = [Signal::KILL, Signal::INT].into_iter().cycle();
    cut_short(&mut Place::new(true), |_, child| send(child, signals.next().expect("another")));
}

#[test]
fn when_the_server_is_killed_or_stopped_it_says_so_and_goes_on() {
    let mut kill = [true, false].into_iter().cycle();
    cut_short(&mut Place::new(true), |place, child| {
        let mut server = place.server.take().expect("it runs");
        if kill.next() == Some(true) {
            server.kill();
        } else {
            assert_eq!(server.terminate().code(), Some(0));
        }
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the import doesn't end");
            thread::sleep(Duration::from_millis(2));
        };
        // All may have been stored a moment before.
        assert!(matches!(status.code(), Some(0 | 1)));
        place.server = Some(server.again());
    });
}

#[test]
fn two_at_once_are_one_after_the_other() {
    let place = Place::new(true);
    let file = place.file("many.jsonl", numbered(0..10_000));
    let children: Vec<_> = (0..3).map(|_| begin(&place, &file)).collect();
    let mut imported = 0;
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let said = said(&output);
        let count = said.lines().last().and_then(|line| line.split(' ').nth(1));
        imported += count.and_then(|count| count.parse::<usize>().ok()).expect("a count");
    }
    assert_eq!(imported, 10_000);
    assert!(numbers(&place).into_iter().eq(0..10_000));
}

#[test]
fn tracking_goes_on_beside_it() {
    let place = Place::new(true);
    let server = place.server.as_ref().unwrap();
    let file = place.file("many.jsonl", numbered(0..20_000));
    let mut child = begin(&place, &file);
    let (mut tracked, mut slowest) = (0, Duration::ZERO);
    while child.try_wait().expect("it can be waited for").is_none() {
        let began = Instant::now();
        server.track("events", &format!(r#"{{"type":"live","n":{},"x":1}}"#, 1_000_000 + tracked));
        server.track("users", &format!(r#"{{"id":"u{}"}}"#, tracked % 7));
        slowest = slowest.max(began.elapsed());
        tracked += 1;
    }
    assert_eq!(child.wait().expect("it ended").code(), Some(0));
    assert!(tracked > 5, "{tracked} calls beside it");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let (live, imported): (Vec<_>, Vec<_>) =
        numbers(&place).into_iter().partition(|number| *number >= 1_000_000);
    assert_eq!(live.len(), tracked);
    assert!(imported.into_iter().eq(0..20_000));
    assert_eq!(request(server.address, "GET", "/healthz", &[]).status, 200);
}
