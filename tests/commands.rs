//! The command, as a shell sees it: arguments and environment in, output and exit status out.
//!
//! Promises that every verb does the same beside a running server as without one, that machine
//! output alone goes to standard output, that what fails says so on one line, and that the exit
//! status tells done (0), failed (1) and wrong usage (2) apart.

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::server::{triggerly, verb};
use support::{Server, files, request};
use tempfile::TempDir;
use triggerly::http::reachable;
use triggerly::model::{AccountId, Date, TokenHash};
use triggerly::store::Store;

/// How long a command that should end may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command that runs, its output going to files, so that it can be looked at any time.
struct Run {
    child: std::process::Child,
    files: TempDir,
}

impl Run {
    fn of(command: &mut Command) -> Run {
        let files = tempfile::tempdir().expect("a temporary folder");
        let file = |name| File::create(files.path().join(name)).expect("a file");
        let child = command.stdout(file("out")).stderr(file("err")).spawn();
        Run { child: child.expect("the command runs"), files }
    }

    fn stdout(&self) -> String {
        fs::read_to_string(self.files.path().join("out")).expect("text")
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.files.path().join("err")).expect("text")
    }

    /// Waits until a server says where it listens.
    fn listening(&mut self) -> std::net::SocketAddr {
        let began = Instant::now();
        loop {
            let said = self.stdout();
            let line = said
                .split_inclusive('\n')
                .find_map(|line| line.strip_prefix("listening on http://")?.strip_suffix('\n'));
            if let Some(address) = line {
                return address.parse().expect("an address");
            }
            let ended = self.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "it ended, {ended:?}: {}", self.stderr());
            assert!(began.elapsed() < PATIENCE, "it doesn't listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// Waits for the end: the exit status.
    fn end(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it doesn't end: {}", self.stdout());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` on a free port.
fn serve(dir: &Path) -> Command {
    let mut command = triggerly();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// What a verb printed; it must have succeeded, in silence.
fn done(output: &Output) -> &str {
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{output:?}");
    text(&output.stdout)
}

/// One line on standard error and nothing on standard output.
fn check_complaint(stdout: &str, stderr: &str) {
    assert_eq!(stdout, "");
    assert!(stderr.starts_with("triggerly: ") && stderr.len() > 30, "{stderr:?}");
    assert_eq!(stderr.find('\n'), Some(stderr.len() - 1), "one line: {stderr:?}");
}

/// The value of a `key=value` line.
fn value<'t>(lines: &'t str, key: &str) -> Option<&'t str> {
    lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// Whether `text` is so many lower-case hexadecimal digits.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Names that differ between runs taken out: long runs of hexadecimal digits.
fn shape(text: &str) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_hexdigit()).len();
        let (run, rest) = piece.split_at(digits);
        out += if digits >= 32 { "HEX" } else { run };
        out += rest;
    }
    out
}

/// Two accounts with some of everything.
fn furnished(dir: &Path) -> Server {
    let server = Server::start(dir);
    done(&verb(dir, &["account", "add", "my shop"]));
    server.track("users", r#"{"id":"u1","email":"u1@example.com","n":1E5}"#);
    server.track("users", r#"{"id":"u2","big":1234567890123456789012345678901234567890}"#);
    server
        .track("events", r#"{"type":"view","user_id":"u1","date":"2001-07-04","z":1.0,"a":"😀"}"#);
    server.track("events", r#"{"type":"buy now","user_id":"u1","date":"2001-07-05"}"#);
    server.track("events", r#"{"type":"view","user_id":"u2","date":"2001-07-06T12:00:00Z"}"#);
    server
}

#[test]
fn reading_verbs_say_the_same_with_and_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = furnished(dir.path());
    let cases: &[&[&str]] = &[
        &["account", "list"],
        &["account", "list", "--json"],
        &["account", "show", "my shop"],
        &["account", "show", "default", "--json"],
        &["account", "show"],
        &["account", "show", "nobody"],
        &["account", "rotate", "nobody"],
        &["account", "add", "my shop"],
        &["account", "add", " "],
        &["export", "events"],
        &["export", "events", "--account", "default"],
        &["export", "events", "--account", "default", "--type", "view", "--user-id", "u1"],
        &["export", "users", "--account", "default"],
        &["export", "users", "--account", "my shop"],
        &["export", "users", "--account", "nobody"],
    ];
    let run = || -> Vec<(Option<i32>, String, String)> {
        let outputs = cases.iter().map(|arguments| verb(dir.path(), arguments));
        outputs
            .map(|output| {
                let said = (text(&output.stdout).to_owned(), text(&output.stderr).to_owned());
                (output.status.code(), said.0, said.1)
            })
            .collect()
    };
    // Sizes, and how far the users were brought up to date durably, depend on who has it open.
    let sizeless = |stats: &Output| -> Vec<String> {
        let lines = done(stats).lines().map(str::to_owned);
        let varies = ["disk_bytes=", "hot_bytes=", "applied="];
        lines.filter(|line| !varies.iter().any(|key| line.starts_with(key))).collect()
    };
    let beside = (run(), sizeless(&verb(dir.path(), &["stats"])));
    assert_eq!(server.terminate().code(), Some(0));
    let alone = (run(), sizeless(&verb(dir.path(), &["stats"])));
    for (arguments, (beside, alone)) in cases.iter().zip(beside.0.iter().zip(&alone.0)) {
        assert_eq!(beside, alone, "{arguments:?}");
        match beside.0 {
            Some(0) => assert_eq!(beside.2, "", "{arguments:?}"),
            status => {
                assert_eq!(status, Some(1), "{arguments:?}");
                check_complaint(&beside.1, &beside.2);
            }
        }
    }
    assert_eq!(beside.1, alone.1);
    assert_eq!(
        beside.1,
        [
            "format=5",
            "accounts=2",
            "events=3",
            "users=2",
            "last_seq=8",
            "sealed_through=0",
            "segments=0",
            "segment_bytes=0",
            "index_bytes=0",
            "lag=0",
            "segments_unindexed=0",
            "erasures_pending=0",
            "damaged=0"
        ]
    );
}

#[test]
fn accounts_are_made_and_given_new_credentials_with_and_without_a_server() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        if !with_server {
            server.terminate();
        }
        let run = |arguments: &[&str]| done(&verb(dir.path(), arguments)).to_owned();

        let added = run(&["account", "add", "my shop"]);
        assert_eq!(shape(&added), "name=my shop\napi_token=HEX\nsecret_key=sk_HEX\n");
        assert!(is_hex(value(&added, "api_token").unwrap(), 32));
        let as_json = run(&["account", "add", "zoë", "--json"]);
        let made: Value = serde_json::from_str(&as_json).unwrap();
        assert_eq!(made["name"], "zoë");
        assert!(is_hex(made["api_token"].as_str().unwrap(), 32));
        assert_eq!(as_json.lines().count(), 1);

        // A secret is shown when it was made, and never again.
        let shown = run(&["account", "show", "my shop"]);
        assert_eq!(shape(&shown), "name=my shop\napi_token=HEX\n");
        assert_eq!(value(&shown, "api_token"), value(&added, "api_token"));
        let listed = run(&["account", "list"]);
        assert_eq!(
            shape(&listed),
            "name=default\napi_token=HEX\n\nname=my shop\napi_token=HEX\n\nname=zoë\napi_token=HEX\n"
        );
        let listed: Value = serde_json::from_str(&run(&["account", "list", "--json"])).unwrap();
        assert_eq!(listed[2]["api_token"], made["api_token"]);
        assert_eq!(listed[2].get("secret_key"), None);

        for (only, token_changes, secret_changes) in
            [(None, true, true), (Some("token"), true, false), (Some("secret"), false, true)]
        {
            let before = run(&["account", "show", "my shop"]);
            let mut arguments = vec!["account", "rotate", "my shop"];
            arguments.extend(only.iter().flat_map(|only| ["--only", only]));
            let rotated = run(&arguments);
            let token_changed = value(&before, "api_token") != value(&rotated, "api_token");
            assert_eq!(token_changed, token_changes, "{only:?}");
            assert_eq!(value(&rotated, "secret_key").is_some(), secret_changes, "{only:?}");
        }
        let rotated = run(&["account", "rotate", "zoë", "--only", "secret", "--json"]);
        let rotated: Value = serde_json::from_str(&rotated).unwrap();
        assert_eq!(rotated["api_token"], made["api_token"]);
        assert_ne!(rotated["secret_key"], made["secret_key"]);
    }
}

#[test]
fn what_was_rotated_is_refused_from_then_on() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        server.track("events", r#"{"type":"before"}"#);
        for only in ["token", "secret", "both"] {
            let old = (server.api_token.clone(), server.secret_key.clone());
            if !with_server {
                server.terminate();
            }
            let mut arguments = vec!["account", "rotate", "default"];
            if only != "both" {
                arguments.extend(["--only", only]);
            }
            let output = verb(dir.path(), &arguments);
            if !with_server {
                server = server.again();
            }
            let printed = done(&output);
            let new = (
                value(printed, "api_token").expect("always shown").to_owned(),
                value(printed, "secret_key").unwrap_or(&old.1).to_owned(),
            );
            for (credential, is_new) in
                [(&old.0, old.0 == new.0), (&old.1, old.1 == new.1), (&new.0, true), (&new.1, true)]
            {
                server.api_token.clone_from(credential);
                let reply = server.get(&server.target("events", r#"{"type":"after"}"#));
                assert_eq!(reply.status == 200, is_new, "{only}: writing with {credential}");
                server.secret_key.clone_from(credential);
                let may_read = is_new && credential.starts_with("sk_");
                let reply = server.read("/v1/events");
                assert_eq!(reply.status == 200, may_read, "{only}: reading with {credential}");
            }
            (server.api_token, server.secret_key) = new;
        }
        // The data stays the account's.
        assert_eq!(server.all_events()[0]["type"], "before");
    }
}

/// The token of a link on a server that is reached so.
fn link_token<'a>(link: &'a str, reached: &str) -> &'a str {
    let token = link.strip_prefix(reached).and_then(|rest| rest.strip_prefix("/link/"));
    let token = token.unwrap_or_else(|| panic!("{link} isn't on {reached}"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    assert!(token.chars().all(is_plain), "{token}");
    token
}

#[test]
fn links_are_made_with_and_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (elsewhere, own) = ("https://stats.example.com/sub", "https://own.example.com");
    let mut tokens = Vec::new();
    let mut link = |arguments: &[&str], reached: &str| {
        let output = verb(dir.path(), &[&["web", "link"][..], arguments].concat());
        let link = done(&output).strip_suffix('\n').expect("a line").to_owned();
        assert_eq!(link.lines().count(), 1);
        tokens.push(link_token(&link, reached).to_owned());
    };
    let mut server = Server::start(dir.path());
    let reached = format!("http://{}", server.address);
    let first = server.printed.iter().find_map(|line| line.strip_prefix("web=")).expect("a link");
    let first = link_token(first, &reached).to_owned();
    link(&[], &reached);
    link(&["--account", "default"], &reached);
    link(&["--public-url", "https://stats.example.com/sub/"], elsewhere);
    assert_eq!(server.terminate().code(), Some(0));

    // What the server says of itself counts.
    let mut server = Server::start_with(dir.path(), &["--public-url", own]);
    link(&[], own);
    link(&["--public-url", elsewhere], own);
    assert_eq!(server.terminate().code(), Some(0));

    link(&[], "http://127.0.0.1:8080");
    link(&["--public-url", elsewhere], elsewhere);
    for (name, value, reached) in [
        ("TRIGGERLY_PUBLIC_URL", elsewhere, elsewhere),
        ("TRIGGERLY_LISTEN", "0.0.0.0:81", "http://127.0.0.1:81"),
    ] {
        let mut command = triggerly();
        command.args(["web", "link", "--json", "--data"]).arg(dir.path()).env(name, value);
        let printed: Value = serde_json::from_str(done(&command.output().unwrap())).unwrap();
        tokens.push(link_token(printed["link"].as_str().unwrap(), reached).to_owned());
        assert_eq!(printed.as_object().unwrap().len(), 1);
    }
    done(&verb(dir.path(), &["account", "add", "other"]));
    for (arguments, status) in [
        (&[][..], 1),
        (&["--account", "nobody"], 1),
        (&["--account", "other", "--public-url", "example.com"], 2),
    ] {
        let output = verb(dir.path(), &[&["web", "link"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        check_complaint(text(&output.stdout), text(&output.stderr));
    }

    // All of them wait; of their tokens the hashes are kept.
    let people = Store::open(dir.path()).unwrap().people();
    let hashes =
        [first].iter().chain(&tokens).map(|token| TokenHash::of(token)).collect::<Vec<_>>();
    assert_eq!(people.links().iter().map(|link| link.hash).collect::<Vec<_>>(), hashes);
    assert!(people.links().iter().all(|link| link.by_operator && link.account == AccountId(1)));
    let files = Command::new("grep").args(["-rlF", &tokens[0]]).arg(dir.path()).output().unwrap();
    assert_eq!(text(&files.stdout), "", "no token is at rest");
}

#[test]
fn an_old_token_may_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let first = server.api_token.clone();
    let rotate = |arguments: &[&str]| {
        verb(dir.path(), &[&["account", "rotate", "default"][..], arguments].concat())
    };
    let taken = |server: &mut Server, token: &str| {
        token.clone_into(&mut server.api_token);
        server.get(&server.target("events", r#"{"type":"a"}"#)).status == 200
    };
    let printed = rotate(&["--only", "token", "--old-for", "24h"]);
    let printed = done(&printed);
    assert_eq!(value(printed, "old_token"), Some(&*first));
    assert_eq!(value(printed, "secret_key"), None);
    let second = value(printed, "api_token").unwrap().to_owned();
    let shown = done(&verb(dir.path(), &["account", "show"])).to_owned();
    assert_eq!(shown, printed, "it is shown as long as it lives");
    let until = value(printed, "old_token_until").and_then(Date::parse).expect("a date");
    let hours = (until.millis() - now_millis()) as f64 / 3_600_000.0;
    assert!((23.9..=24.0).contains(&hours), "{hours}");
    for _ in 0..2 {
        assert!(taken(&mut server, &first) && taken(&mut server, &second));
        server = server.again();
    }
    // Of the secret key none lives on, and the next rotation drops what did.
    let before = server.secret_key.clone();
    let printed = rotate(&["--old-for", "7d", "--json"]);
    let printed: Value = serde_json::from_str(done(&printed)).unwrap();
    assert_eq!(printed["old_token"], second);
    assert!(!taken(&mut server, &first) && taken(&mut server, &second));
    server.secret_key = before;
    assert_eq!(server.read("/v1/events").status, 401);
    done(&rotate(&["--only", "token"]));
    assert!(!taken(&mut server, &second));
    assert!(!taken(&mut server, printed["api_token"].as_str().unwrap()));
    for old_for in ["", "24", "0h", "-1h", "+1h", "366d", "9999999999999999999d", "1w", "h"] {
        let output = rotate(&["--old-for", old_for]);
        assert_eq!(output.status.code(), Some(2), "{old_for:?}");
        check_complaint(text(&output.stdout), text(&output.stderr));
    }
    let output = rotate(&["--only", "secret", "--old-for", "1h"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

#[test]
fn an_account_has_a_time_zone() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let run = |arguments: &[&str]| {
        done(&verb(dir.path(), &[&["account", "zone", "default"][..], arguments].concat()))
            .to_owned()
    };
    assert_eq!(run(&[]), "name=default\nzone=off\n");
    assert_eq!(run(&["Europe/Zurich"]), "name=default\nzone=Europe/Zurich\n");
    assert_eq!(run(&["--json"]), "{\"name\":\"default\",\"zone\":\"Europe/Zurich\"}\n");
    server.terminate();
    let shown = done(&verb(dir.path(), &["account", "show"])).to_owned();
    assert_eq!(value(&shown, "zone"), Some("Europe/Zurich"));
    let output = verb(dir.path(), &["account", "zone", "default", "Zurich"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    check_complaint(text(&output.stdout), text(&output.stderr));
    done(&verb(dir.path(), &["rebuild"]));
    assert_eq!(run(&[]), "name=default\nzone=Europe/Zurich\n");
    assert_eq!(run(&["off"]), "name=default\nzone=off\n");
}

#[test]
fn names_of_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path());
    for name in ["a", "my shop", "Ünïcode 😀", "Default", &"x".repeat(64)] {
        done(&verb(dir.path(), &["account", "add", name]));
    }
    for name in ["default", "a", "", " ", " b", "b ", "b\nc", "b\tc", "b\u{7f}", &"x".repeat(65)] {
        let output = verb(dir.path(), &["account", "add", name]);
        assert_eq!(output.status.code(), Some(1), "{name:?}");
        check_complaint(text(&output.stdout), text(&output.stderr));
    }
    let listed = verb(dir.path(), &["account", "list"]);
    assert_eq!(done(&listed).matches("name=").count(), 6, "default and the five that were made");
}

#[test]
fn an_account_can_be_made_before_the_first_server() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/there/yet");
    let added = verb(&dir, &["account", "add", "mine"]);
    let mut server = Server::start(&dir);
    assert_eq!(server.printed, [""; 0], "there is an account, so it isn't a first run");
    server.api_token = value(done(&added), "api_token").unwrap().to_owned();
    server.secret_key = value(done(&added), "secret_key").unwrap().to_owned();
    server.track("events", r#"{"type":"a"}"#);
    assert_eq!(server.all_events().len(), 1);
    // Without a name, show and export take the only one there is.
    assert_eq!(value(done(&verb(&dir, &["account", "show"])), "name"), Some("mine"));
    assert_eq!(done(&verb(&dir, &["export", "events"])).lines().count(), 1);
}

#[test]
fn exports_are_exact_and_can_be_narrowed() {
    let dir = tempfile::tempdir().unwrap();
    let _server = furnished(dir.path());
    let export = |arguments: &[&str]| -> Vec<String> {
        let mut all = vec!["export"];
        all.extend(arguments);
        all.extend(["--account", "default"]);
        done(&verb(dir.path(), &all)).lines().map(str::to_owned).collect()
    };
    let first = &export(&["events"])[0];
    let received_at = first.find(r#""received_at""#).expect("when it came");
    assert_eq!(
        &first[..received_at],
        r#"{"seq":6,"type":"view","user_id":"u1","date":"2001-07-04T00:00:00.000Z","#
    );
    assert!(first.ends_with(r#""attributes":{"z":1.0,"a":"😀"},"via":"public"}"#), "{first}");
    let users = export(&["users"]);
    assert!(
        users[0].starts_with(
            r#"{"id":"u1","email":"u1@example.com","attributes":{"n":1E5},"created_at":""#
        ) && users[1].contains(r#"{"big":1234567890123456789012345678901234567890}"#),
        "{users:?}"
    );
    assert_eq!(export(&["users", "--user-id", "u2"]), users[1..]);
    for (arguments, seqs) in [
        (&["events"][..], "678"),
        (&["events", "--format", "jsonl"], "678"),
        (&["events", "--type", "view"], "68"),
        (&["events", "--type", "buy now"], "7"),
        (&["events", "--type", "nothing"], ""),
        (&["events", "--user-id", "u1"], "67"),
        (&["events", "--from", "2001-07-05"], "78"),
        (&["events", "--to", "2001-07-05"], "6"),
        (&["events", "--from", "Wed, 04 Jul 2001 00:00:00 GMT", "--to", "2001/07/06"], "67"),
        (&["events", "--from", "2001-07-05T02:00:00+02:00", "--type", "view"], "8"),
        (&["users", "--user-id", "nobody"], ""),
    ] {
        let lines = export(arguments);
        let seq = |line: &String| serde_json::from_str::<Value>(line).unwrap()["seq"].to_string();
        assert_eq!(lines.iter().map(seq).collect::<String>(), seqs, "{arguments:?}");
    }
}

#[test]
fn stats_counts() {
    let dir = tempfile::tempdir().unwrap();
    let _server = furnished(dir.path());
    let output = verb(dir.path(), &["stats", "--json"]);
    let stats: Value = serde_json::from_str(done(&output)).unwrap();
    for (key, count) in [("accounts", 2), ("events", 3), ("users", 2), ("last_seq", 8)] {
        assert_eq!(stats[key], count, "{key}");
    }
    assert!(stats["disk_bytes"].as_u64() > Some(0));
    // What is sealed has left the hot end, and nothing else has changed.
    done(&verb(dir.path(), &["compact"]));
    let output = verb(dir.path(), &["stats", "--json"]);
    let after: Value = serde_json::from_str(done(&output)).unwrap();
    for (key, count) in [("segments", 1), ("sealed_through", 8), ("applied", 8), ("damaged", 0)] {
        assert_eq!(after[key], count, "{key}");
    }
    for key in ["format", "accounts", "events", "users", "last_seq", "erasures_pending"] {
        assert_eq!(after[key], stats[key], "{key}");
    }
    assert!(after["segment_bytes"].as_u64() > Some(0));
}

/// What keeps the store in order changes nothing that can be read, and says how it went.
#[test]
fn compacting_verifying_and_rebuilding() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = furnished(dir.path());
        if !with_server {
            server.terminate();
        }
        let run = |arguments: &[&str]| done(&verb(dir.path(), arguments)).to_owned();
        let told = || {
            ["events", "users"].map(|what| run(&["export", what, "--account", "default"])).concat()
        };
        let before = told();
        assert_eq!(before.lines().count(), 5);
        let verified = run(&["verify"]);
        assert_eq!(
            verified,
            "segments=0\nsegment_bytes=0\nindex_bytes=0\nrecords=8\nholes=0\nkeys=5\ndamaged=0\n"
        );
        let compacted = run(&["compact"]);
        let ["sealed=8", "merged=0", "erased=0", renewed, "indexed=0", "segments=1", disk_bytes] =
            compacted.lines().collect::<Vec<_>>()[..]
        else {
            panic!("{compacted}");
        };
        assert!(renewed.starts_with("renewed=") && disk_bytes.starts_with("disk_bytes="));
        assert_eq!(told(), before);
        let again: Value = serde_json::from_str(&run(&["compact", "--json"])).unwrap();
        for key in ["sealed", "merged", "erased"] {
            assert_eq!(again[key], 0, "{key}");
        }
        assert_eq!(again["left"], serde_json::json!([]));
        assert_eq!(again["segments"], 1);
        let verified = run(&["verify"]);
        assert_eq!(value(&verified, "segments"), Some("1"), "{verified}");
        assert_eq!(value(&verified, "records"), Some("8"), "{verified}");
        assert_eq!(value(&verified, "damaged"), Some("0"), "{verified}");
        assert_eq!(run(&["rebuild"]), "applied=8\n");
        assert_eq!(told(), before);
        let reindexed = run(&["reindex"]);
        // Two of the eight are of accounts, and one of a link.
        assert_eq!(value(&reindexed, "records"), Some("5"), "{reindexed}");
        let stats = run(&["stats"]);
        assert_eq!(value(&stats, "index_bytes"), value(&reindexed, "index_bytes"), "{stats}");
        assert_eq!(value(&stats, "lag"), Some("0"), "{stats}");
        assert_eq!(value(&run(&["verify"]), "damaged"), Some("0"));
    }
}

/// What was erased before it was sealed never gets into a segment; that counts as taken out too.
#[test]
fn compacting_says_how_much_it_took_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = furnished(dir.path());
    let run = |arguments: &[&str]| text(&verb(dir.path(), arguments).stdout).to_owned();
    run(&["delete", "user", "u2", "--account", "default", "--yes"]);
    assert_eq!(value(&run(&["stats"]), "erasures_pending"), Some("1"));
    let compacted = run(&["compact"]);
    assert_eq!(value(&compacted, "erased"), Some("2"), "{compacted}");
    assert_eq!(value(&run(&["stats"]), "erasures_pending"), Some("0"));
    run(&["delete", "user", "u1", "--account", "default", "--yes"]);
    let compacted = run(&["compact"]);
    assert_eq!(value(&compacted, "erased"), Some("3"), "{compacted}");
    assert_eq!(value(&run(&["verify"]), "holes"), Some("5"));
    assert_eq!(server.all_events(), [Value::Null; 0]);
}

/// A damaged segment stops neither the server nor the verbs: what it held is left out, and that is told.
#[test]
fn a_damaged_segment_is_told_of_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = furnished(dir.path());
    done(&verb(dir.path(), &["compact"]));
    server.track("events", r#"{"type":"after"}"#);
    let segment = files::segments(dir.path()).remove(0);
    let good = fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 3] ^= 1;
    fs::write(&segment, &bad).unwrap();
    let name = format!("segments/{}", segment.file_name().unwrap().to_str().unwrap());
    for with_server in [true, false] {
        let output = verb(dir.path(), &["verify"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        check_complaint("", complaint);
        assert!(complaint.contains(&name) && complaint.contains("restore"), "{complaint}");
        let line = said.lines().next().unwrap();
        assert!(line.starts_with(&format!("damaged: {name}: ")), "{said}");
        assert!(line.contains("3 events and 2 updates of users"), "{said}");
        assert!(value(said, "damaged").unwrap().parse::<u32>().unwrap() > 0, "{said}");
        // Whoever writes into a file or another program notices that it isn't all.
        let export = verb(dir.path(), &["export", "events", "--account", "default"]);
        assert_eq!(export.status.code(), Some(1), "{export:?}");
        assert!(text(&export.stdout).contains(r#""type":"after""#), "{export:?}");
        let backup = verb(dir.path(), &["backup", "-"]);
        assert_eq!(backup.status.code(), Some(1), "a backup of it would be none");
        assert!(text(&backup.stderr).contains(&name), "{:?}", text(&backup.stderr));
        let rebuild = verb(dir.path(), &["rebuild"]);
        assert_eq!(rebuild.status.code(), Some(1), "users would be lost");
        if !with_server {
            break;
        }
        assert!(server.read("/v1/users/u1").text().contains(r#""n":1E5"#));
        let health = server.get("/healthz");
        assert_eq!(health.status, 200, "{health:?}");
        assert!(
            health.text().contains(segment.file_name().unwrap().to_str().unwrap()),
            "{health:?}"
        );
        let stats = verb(dir.path(), &["stats"]);
        assert_eq!(value(done(&stats), "damaged"), Some("1"));
        server.track("events", r#"{"type":"after"}"#);
        assert_eq!(server.all_events().len(), 2);
        assert_eq!(server.terminate().code(), Some(0));
    }
    fs::write(&segment, good).unwrap();
    let server = server.again();
    done(&verb(dir.path(), &["verify"]));
    assert_eq!(server.all_events().len(), 5, "mended, it is part of the log again");
}

#[test]
fn a_reader_that_has_heard_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let long = "x".repeat(60_000);
    // More than a pipe holds, so that the export is still writing when its reader goes.
    for _ in 0..20 {
        server.track("events", &format!(r#"{{"type":"long","x":"{long}"}}"#));
    }
    let check = |arguments: &[&str], heard: usize| {
        let mut command = triggerly();
        command.args(arguments).arg("--data").arg(dir.path());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut vec![0; heard]).expect("so much is said");
        drop(stdout);
        done(&child.wait_with_output().expect("it ends"));
    };
    for with_server in [true, false] {
        if !with_server {
            server.terminate();
        }
        check(&["export", "events"], 10);
        check(&["export", "events"], 0);
        check(&["export", "users"], 0);
        check(&["account", "list"], 0);
        check(&["stats"], 0);
    }
}

#[test]
fn help_goes_to_standard_output() {
    for arguments in [
        &[][..],
        &["serve"],
        &["account"],
        &["account", "add"],
        &["account", "list"],
        &["account", "show"],
        &["account", "rotate"],
        &["export"],
        &["delete"],
        &["delete", "user"],
        &["delete", "events"],
        &["retention"],
        &["retention", "show"],
        &["retention", "set"],
        &["import"],
        &["stats"],
        &["compact"],
        &["verify"],
        &["rebuild"],
        &["reindex"],
        &["backup"],
        &["restore"],
    ] {
        let output = triggerly().args(arguments).arg("--help").output().unwrap();
        let help = done(&output);
        assert!(help.starts_with("Usage: triggerly"), "{arguments:?}: {help}");
        let has_more_verbs = [&[][..], &["account"], &["delete"], &["retention"]];
        if !has_more_verbs.contains(&arguments) {
            assert!(help.contains("--data"), "{arguments:?}: {help}");
        }
    }
    let version = triggerly().arg("--version").output().unwrap();
    assert_eq!(done(&version), concat!("triggerly ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["nothing"],
        &["--nothing"],
        &["serve", "--nothing"],
        &["serve", "something"],
        &["serve", "--listen"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--listen", "127.0.0.1:99999"],
        &["serve", "--workers", "0"],
        &["serve", "--workers", "65"],
        &["serve", "--log", "loud"],
        &["serve", "--log", "info,xml"],
        &["account"],
        &["account", "remove"],
        &["account", "add"],
        &["account", "add", "a", "b"],
        &["account", "show", "a", "b"],
        &["account", "rotate"],
        &["account", "rotate", "default", "--only", "both"],
        &["account", "list", "--only", "token"],
        &["export"],
        &["export", "everything"],
        &["export", "events", "--format", "xml"],
        &["export", "events", "--from", "soon"],
        &["export", "events", "--to", "2001-02-30"],
        &["export", "users", "--type", "view"],
        &["export", "users", "--from", "2001-07-04"],
        &["stats", "more"],
        &["stats", "--json", "--json=1"],
        &["compact", "now"],
        &["verify", "--json"],
        &["verify", "everything"],
        &["rebuild", "users"],
        &["reindex", "users"],
        &["backup"],
        &["backup", "a", "b"],
        &["backup", "--json", "a"],
        &["restore"],
        &["restore", "a", "b"],
    ] {
        let mut run = Run::of(triggerly().args(arguments).env("TRIGGERLY_DATA", dir.path()));
        assert_eq!(run.end(), Some(2), "{arguments:?}: {}", run.stderr());
        check_complaint(&run.stdout(), &run.stderr());
    }
    for (variable, value) in
        [("TRIGGERLY_LISTEN", "8080"), ("TRIGGERLY_WORKERS", "many"), ("TRIGGERLY_LOG", "loud")]
    {
        let mut command = triggerly();
        command.arg("serve").env("TRIGGERLY_DATA", dir.path()).env(variable, value);
        let mut run = Run::of(&mut command);
        assert_eq!(run.end(), Some(2), "{variable}");
        check_complaint(&run.stdout(), &run.stderr());
        assert!(run.stderr().contains(variable), "{}", run.stderr());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was begun");
}

#[test]
fn a_store_that_can_not_be_had_is_one_line_and_status_1() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    fs::write(place("file"), "").unwrap();
    for (name, format) in [("newer", "triggerly store 7\n"), ("other", "something else\n")] {
        fs::create_dir(place(name)).unwrap();
        fs::write(place(name).join("FORMAT"), format).unwrap();
    }
    fs::create_dir(place("empty")).unwrap();
    let backup = place("backup").into_os_string().into_string().unwrap();
    let all: &[&[&str]] = &[
        &["serve", "--listen", "127.0.0.1:0"],
        &["account", "add", "a"],
        &["account", "list"],
        &["account", "show"],
        &["account", "rotate", "default"],
        &["export", "events"],
        &["export", "users"],
        &["delete", "user", "u1", "--yes"],
        &["delete", "events", "--type", "view", "--dry-run"],
        &["retention", "show"],
        &["retention", "set", "default", "5"],
        &["stats"],
        &["compact"],
        &["verify"],
        &["rebuild"],
        &["reindex"],
        &["backup", "-"],
        &["backup", &backup],
    ];
    // Only a server and the first account make a store where there is none.
    let (making, asking) = all.split_at(2);
    for (path, verbs, says) in [
        (place("newer"), all, "newer"),
        (place("other"), all, "does not look like a triggerly store"),
        (place("file"), all, "file"),
        (place("file/below"), all, "below"),
        // Not even root can make anything here.
        (PathBuf::from("/proc/store"), making, "/proc/store"),
        (place("empty"), asking, "no triggerly store"),
        (place("missing"), asking, "no triggerly store"),
    ] {
        for arguments in verbs {
            let mut run = Run::of(triggerly().args(*arguments).arg("--data").arg(&path));
            assert_eq!(run.end(), Some(1), "{arguments:?} {path:?}: {}", run.stderr());
            check_complaint(&run.stdout(), &run.stderr());
            assert!(run.stderr().contains(says), "{arguments:?} {path:?}: {}", run.stderr());
        }
    }
    assert!(!place("missing").exists(), "asking makes nothing");
    assert!(!place("backup").exists() && !place("backup.new").exists(), "nor does it leave a file");
    assert_eq!(fs::read_dir(place("empty")).unwrap().count(), 0);
    let format = fs::read_to_string(place("newer").join("FORMAT")).unwrap();
    assert_eq!(format, "triggerly store 7\n", "what is refused is left as it was");
}

#[test]
fn one_server_on_a_directory_and_one_on_a_port() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut second = Run::of(&mut serve(dir.path()));
    assert_eq!(second.end(), Some(1));
    check_complaint(&second.stdout(), &second.stderr());
    assert!(second.stderr().contains("in use"), "{}", second.stderr());
    server.track("events", r#"{"type":"the first is not disturbed"}"#);
    done(&verb(dir.path(), &["account", "list"]));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let other = tempfile::tempdir().unwrap();
    let mut command = triggerly();
    command.args(["serve", "--listen", &address, "--data"]).arg(other.path());
    let mut run = Run::of(&mut command);
    assert_eq!(run.end(), Some(1));
    check_complaint(&run.stdout(), &run.stderr());
    assert!(run.stderr().contains(&address), "{}", run.stderr());
    // The key of an account would have been shown to nobody, so there is none yet.
    assert_ne!(Server::start(other.path()).api_token, "");
}

#[test]
fn the_first_run_prints_what_works_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let dir = dir.path().join(listen);
        let start = || {
            let mut command = triggerly();
            command.args(["serve", "--log", "off", "--listen", listen, "--data"]).arg(&dir);
            let mut run = Run::of(&mut command);
            let address = run.listening();
            (run, address)
        };
        let (mut run, address) = start();
        let printed = run.stdout();
        let lines: Vec<&str> = printed.lines().collect();
        let [name, api_token, secret_key, web, img, curl, listening] = lines[..] else {
            panic!("{printed}");
        };
        assert_eq!(name, "name=default");
        assert!(is_hex(api_token.strip_prefix("api_token=").unwrap(), 32), "{api_token}");
        assert!(secret_key.starts_with("secret_key=sk_") && secret_key.len() > 40, "{secret_key}");
        assert_eq!(listening, format!("listening on http://{address}"));
        let reached = format!("http://{}", reachable(address));
        assert_eq!(link_token(web.strip_prefix("web=").unwrap(), &reached).len(), 43, "{web}");

        // The tag, as a browser reads it.
        let src = img.strip_prefix("<img src=\"").and_then(|rest| rest.split_once('"')).unwrap().0;
        assert!(img.ends_with('>') && !src.replace("&amp;", "").contains('&'), "{img}");
        let src = src.replace("&amp;", "&");
        let rest = src.strip_prefix("http://").unwrap();
        let (host, target) = rest.split_at(rest.find('/').unwrap());
        let pixel = request(host.parse().unwrap(), "GET", target, &[]);
        assert_eq!((pixel.status, pixel.header("Content-Type")), (200, Some("image/gif")));

        // The line, as a shell runs it, where there is a curl.
        let mut tracked = 1;
        if Command::new("curl").arg("--version").output().is_ok() {
            let output = Command::new("sh").args(["-c", curl]).output().unwrap();
            assert_eq!(text(&output.stdout), r#"{"status":"ok"}"#, "{curl}");
            tracked += 1;
        }
        run.signal(Signal::TERM);
        assert_eq!(run.end(), Some(0));
        assert_eq!(run.stdout(), printed, "nothing more is said");

        let (again, address) = start();
        assert_eq!(again.stdout(), format!("listening on http://{address}\n"));
        assert_eq!(done(&verb(&dir, &["export", "events"])).lines().count(), tracked);
    }
}

#[test]
fn what_it_makes_is_for_its_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    let _server = Server::start(&dir);
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("control.sock")), 0o600);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
    }
}

#[test]
fn a_directory_may_lie_deeper_than_a_socket_s_name_is_long() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("zoë's store").join("e".repeat(100));
    let mut server = Server::start(&deep);
    server.track("events", r#"{"type":"a"}"#);
    let beside = verb(&deep, &["export", "events"]);
    assert_eq!(done(&beside).lines().count(), 1);
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(done(&verb(&deep, &["export", "events"])), done(&beside));
}

#[test]
fn options_have_twins_in_the_environment_and_win() {
    let dir = tempfile::tempdir().unwrap();
    let (by_variable, by_option) = (dir.path().join("variable"), dir.path().join("option"));
    // A thread takes its name when it first runs, which may be after the server listens.
    let await_workers = |run: &Run, expected: usize| {
        let began = Instant::now();
        loop {
            let tasks = fs::read_dir(format!("/proc/{}/task", run.child.id())).expect("it runs");
            let names = tasks.map(|task| {
                fs::read_to_string(task.expect("a task").path().join("comm")).unwrap_or_default()
            });
            let found = names.filter(|name| name.starts_with("worker")).count();
            if found == expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{found} workers, not {expected}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut command = triggerly();
    command
        .arg("serve")
        .env("TRIGGERLY_LISTEN", "127.0.0.1:0")
        .env("TRIGGERLY_DATA", &by_variable)
        .env("TRIGGERLY_WORKERS", "3")
        .env("TRIGGERLY_LOG", "info,json");
    let mut run = Run::of(&mut command);
    let address = run.listening();
    assert_eq!(address.ip().to_string(), "127.0.0.1");
    await_workers(&run, 3);
    assert!(by_variable.join("FORMAT").exists());

    // Other verbs find it by the same variable, and by the option against it.
    let list = |given: Option<&Path>| {
        let mut command = triggerly();
        command.args(["account", "list"]).env("TRIGGERLY_DATA", &by_variable);
        command.args(given.iter().flat_map(|dir| [Path::new("--data"), dir]));
        command.output().expect("it runs")
    };
    assert_eq!(value(done(&list(None)), "name"), Some("default"));
    assert_eq!(list(Some(&by_option)).status.code(), Some(1));

    command
        .args(["--listen", "127.0.0.2:0", "--workers", "5", "--log", "off", "--data"])
        .arg(&by_option)
        .env("TRIGGERLY_LISTEN", "nowhere")
        .env("TRIGGERLY_WORKERS", "none")
        .env("TRIGGERLY_LOG", "loud");
    let mut other = Run::of(&mut command);
    assert_eq!(other.listening().ip().to_string(), "127.0.0.2");
    await_workers(&other, 5);
    assert_eq!(other.stderr(), "");
    assert!(by_option.join("FORMAT").exists());

    run.signal(Signal::TERM);
    assert_eq!(run.end(), Some(0));
    let first: Value = serde_json::from_str(run.stderr().lines().next().expect("a line")).unwrap();
    assert_eq!(first["level"], "INFO");
}

#[test]
fn logs_are_json_and_stay_off_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::of(serve(dir.path()).args(["--log", "debug,json"]));
    let address = run.listening();
    for target in ["/healthz", "/nothing", "/v1/events/track", "/v1/users"] {
        request(address, "GET", target, &[]);
    }
    done(&verb(dir.path(), &["account", "add", "a\"b\\c"]));
    run.signal(Signal::TERM);
    assert_eq!(run.end(), Some(0));
    let logged = run.stderr();
    assert!(!logged.is_empty());
    for line in logged.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        for member in ["time", "level", "target", "message"] {
            assert!(line[member].is_string(), "{line}");
        }
    }
    let stdout = run.stdout();
    let keys: Vec<&str> =
        stdout.lines().map(|line| line.split(['=', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(keys, ["name", "api_token", "secret_key", "web", "<img", "curl", "listening"]);
    for secret in ["secret_key", "web"] {
        assert!(!logged.contains(value(&stdout, secret).unwrap()), "a secret is never logged");
    }
}

#[test]
fn signals_end_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        server.track("events", r#"{"type":"kept"}"#);
        server.signal(signal);
        let mut server = server;
        assert_eq!(server.wait().code(), Some(0), "{signal:?}");
        assert!(!dir.path().join("control.sock").exists());
        assert_eq!(server.again().all_events().len(), 1);
    }
}

#[test]
fn a_command_that_a_busy_server_turns_away_does_not_claim_success() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path());
    // Connections that say nothing, as many as the server takes.
    let connect = || UnixStream::connect(dir.path().join("control.sock")).expect("it listens");
    let _held: Vec<UnixStream> = (0..8).map(|_| connect()).collect();
    for _ in 0..20 {
        let output = verb(dir.path(), &["account", "list"]);
        match output.status.code() {
            Some(0) => assert_eq!(value(done(&output), "name"), Some("default")),
            _ => {
                assert_eq!(output.status.code(), Some(1));
                check_complaint(text(&output.stdout), text(&output.stderr));
            }
        }
    }
}
