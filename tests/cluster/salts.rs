//! One visitor is one visitor, whichever server his calls come to; and what that hangs on, the salt of the day, is on no
//! disk and gone when its day is over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::{self, Answer};
use super::equal::{equal_exports, stop_and_verify};
use super::nats::Nats;
use super::site::{Site, wait_to_listen};

/// How long a salt may take to be agreed on, or to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

const SALTS: &str = "site-salts";

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn a_visitor_is_one_at_all_servers() {
    let mut site = Site::start();
    let mut nats = Nats::connect(site.nats[0].address).expect("NATS");
    let today = wait_for("a salt", || salt(&mut nats));
    wait_for("visitors", || same_visitor(&site).then_some(()));
    let first = visitors(&site);
    nowhere(&site, &today);

    // All of NATS goes at once, and forgets; the servers don't.
    site.nats.iter_mut().for_each(|nats| nats.kill());
    site.nats.iter_mut().for_each(|nats| nats.start());
    let mut nats = wait_for("NATS", || Nats::connect(site.nats[0].address).ok());
    let again = wait_for("the salt", || salt(&mut nats));
    assert!(again == today, "another salt");
    for server in &site.servers {
        site.wait_to_take(server.address);
    }

    // One that is started anew has it from there.
    site.servers[2].kill();
    site.servers[2].start();
    wait_to_listen(&mut site.servers[2]);
    site.wait_to_take(site.servers[2].address);
    assert!(same_visitor(&site), "it took calls before it had the salt");
    let second = visitors(&site);
    assert_eq!(first.last(), second.last(), "a visitor changed within a day");

    for server in &site.servers {
        let said = server.said();
        for text in spelled(&today) {
            assert!(!contains(said.as_bytes(), &text), "{} told the salt", server.name);
        }
    }
    nowhere(&site, &today);
    equal_exports(&site);
    stop_and_verify(&mut site);
}

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn a_salt_is_erased_when_its_day_is_over() {
    let site = Site::start();
    let mut nats = Nats::connect(site.nats[0].address).expect("NATS");
    wait_for("a salt", || salt(&mut nats));
    let yesterday = subject(-1);
    nats.publish(&yesterday, &[], &[7; 32]).expect("stored");
    wait_for("an end of it", || {
        let gone = last(&mut nats, &yesterday).is_none();
        gone.then_some(())
    });
    assert!(salt(&mut nats).is_some(), "today's went too");
}

/// Calls of one browser at all servers, and whether they have one visitor.
fn same_visitor(site: &Site) -> bool {
    let headers = [("Referer", "https://shop.example.com/"), ("User-Agent", "Mozilla/5.0 (X11)")];
    let data = STANDARD.encode(r#"{"type":"view"}"#);
    let target =
        format!("/v1/events/track?api_token={}&data={}", site.api_token, data.replace('=', "%3D"));
    for server in &site.servers {
        match call::get(server.address, &target, &headers) {
            Answer::Reply(reply) => assert_eq!(reply.status, 200, "{reply:?}"),
            other => panic!("{}: {other:?}", server.name),
        }
    }
    let visitors = visitors(site);
    let last = &visitors[visitors.len() - site.servers.len()..];
    last.iter().all(|visitor| visitor.is_some() && *visitor == last[0])
}

/// The visitors of all events, in order.
fn visitors(site: &Site) -> Vec<Option<String>> {
    let exports = equal_exports(site);
    let lines = exports.events.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let event: Value = serde_json::from_slice(line).expect("JSON");
            event["context"]["visitor"].as_str().map(str::to_owned)
        })
        .collect()
}

/// Today's salt, as the stream has it.
fn salt(nats: &mut Nats) -> Option<Vec<u8>> {
    last(nats, &subject(0))
}

fn last(nats: &mut Nats, subject: &str) -> Option<Vec<u8>> {
    let found =
        nats.ask(&format!("$JS.API.STREAM.MSG.GET.{SALTS}"), &json!({"last_by_subj": subject}));
    let found = found.ok()?;
    STANDARD.decode(found["message"]["data"].as_str()?).ok()
}

/// Of the day so many days from now.
fn subject(days: i64) -> String {
    let now = triggerly::clock::now().millis() + days * 24 * 60 * 60 * 1000;
    let date = triggerly::model::Date::from_millis(now).to_string();
    format!("triggerly.site.salt.{}", &date[..10])
}

/// No file of any process has the salt.
#[track_caller]
fn nowhere(site: &Site, salt: &[u8]) {
    let mut files = 0;
    for path in below(site.dir.path()).expect("a folder") {
        let Ok(bytes) = fs::read(&path) else { continue };
        files += 1;
        for text in spelled(salt) {
            assert!(!contains(&bytes, &text), "{} has the salt", path.display());
        }
    }
    assert!(files > 20, "{files} files");
}

fn spelled(salt: &[u8]) -> [Vec<u8>; 4] {
    let hex: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = STANDARD.encode(salt).trim_end_matches('=').to_owned();
    let list: Vec<_> = salt.iter().map(u8::to_string).collect();
    [salt.to_vec(), hex.into_bytes(), base64.into_bytes(), list.join(", ").into_bytes()]
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "no {what} within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(200));
    }
}
