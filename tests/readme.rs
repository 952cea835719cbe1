//! The README's samples do what they say: each is taken out of the text as it stands, given only the
//! address and the token of a real server, and run; what it says it sends has to be read back.
//!
//! The `json` blocks tell what every sample that is a program sends, in this order: a user, an event.

mod support;

use std::process::Command;

use serde_json::{Value, json};

use support::outside::{browse, run, site};
use support::{Server, request};
use triggerly::ingest::Code;

const README: &str = include_str!("../README.md");

/// What the samples say where the reader's own address and token belong.
const ADDRESS: &str = "127.0.0.1:8080";
const TOKEN: &str = "TOKEN";

/// The fenced blocks of a language, as written.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.strip_prefix("```") else { continue };
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        if found == language {
            blocks.push(text);
        }
    }
    blocks
}

/// Those of them that track something.
fn samples(language: &str) -> Vec<String> {
    let samples: Vec<String> =
        blocks(language).into_iter().filter(|block| block.contains(TOKEN)).collect();
    assert!(!samples.is_empty(), "the README has no sample in {language}");
    samples
}

#[test]
fn every_code_stands_in_the_table_beside_its_status() {
    for code in Code::ALL {
        let (status, name) = (code.status().to_string(), format!("`{}`", code.name()));
        let mut rows = README.lines().filter(|line| line.starts_with("| ") && line.contains(&name));
        let is_there = rows.any(|row| row.split('|').nth(1).is_some_and(|of| of.contains(&status)));
        assert!(is_there, "{status} {name}");
    }
}

/// Those that are pictures.
fn pictures() -> Vec<String> {
    samples("html").into_iter().filter(|sample| sample.contains("<img")).collect()
}

/// A server on a folder of its own, and what a sample has to be to reach it.
fn serve(sample: &str) -> (Server, String, tempfile::TempDir) {
    let tells = sample.contains("/v1/") || sample.contains("/t.js");
    assert!(sample.contains(ADDRESS) && tells, "{sample}");
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let sample =
        sample.replace(ADDRESS, &server.address.to_string()).replace(TOKEN, &server.api_token);
    (server, sample, dir)
}

/// Users and events as they were sent, without what the server adds.
fn kept(server: &Server) -> (Vec<Value>, Vec<Value>) {
    let as_sent = |mut one: Value, names: &[&str]| {
        let mut sent = one["attributes"].take();
        for name in names {
            if !one[name].is_null() {
                sent[name] = one[name].take();
            }
        }
        sent
    };
    let users = server.read("/v1/users").json()["users"].as_array().expect("a list").clone();
    let events = server.all_events();
    (
        users.into_iter().map(|user| as_sent(user, &["id", "email"])).collect(),
        events.into_iter().map(|event| as_sent(event, &["type", "user_id"])).collect(),
    )
}

/// Runs each sample of a language on a server of its own, and expects what the README promises.
fn assert_each_sends_what_it_says(language: &str, run: impl Fn(&str)) {
    let [user, event]: [Value; 2] = blocks("json")
        .iter()
        .map(|text| serde_json::from_str(text).expect("JSON"))
        .collect::<Vec<_>>()
        .try_into()
        .expect("a user and an event");
    for sample in samples(language) {
        let (server, sample, _dir) = serve(&sample);
        run(&sample);
        assert_eq!(kept(&server), (vec![user.clone()], vec![event.clone()]), "{sample}");
    }
}

/// A sample as its reader would keep it.
fn file(sample: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, sample).expect("it can be written");
    file
}

#[test]
fn pixels() {
    for sample in pictures() {
        let (server, sample, _dir) = serve(&sample);
        let between = |start, end| {
            let found = sample.split_once(start).and_then(|(_, rest)| rest.split_once(end));
            found.unwrap_or_else(|| panic!("no {start} in {sample}")).0
        };
        let says: Value = serde_json::from_str(between("<!--", "-->")).unwrap();
        let target = between(&format!("src=\"http://{}", server.address), "\"");
        assert!(!target.replace("&amp;", "").contains('&'), "HTML writes & as &amp;: {target}");
        let reply = request(server.address, "GET", &target.replace("&amp;", "&"), &[]);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/gif")));
        assert_eq!(kept(&server), (vec![], vec![says]));
    }
}

#[test]
#[ignore = "needs chromium"]
fn pixels_in_a_browser() {
    for sample in pictures() {
        let (server, sample, _dir) = serve(&sample);
        let tell =
            "<script>onload = () => document.title = document.images[0].naturalWidth</script>";
        let dom = browse(&site(format!("<!doctype html><title></title>{tell}{sample}")));
        assert!(dom.contains("<title>1</title>"), "{dom}");
        assert_eq!(server.all_events().len(), 1);
    }
}

#[test]
#[ignore = "needs chromium"]
fn the_script_in_a_browser() {
    let script = samples("html").into_iter().find(|sample| sample.contains("/t.js")).unwrap();
    let (server, script, _dir) = serve(&script);
    let before = blocks("html").into_iter().find(|block| block.contains("q: []")).unwrap();
    let calls = blocks("js").into_iter().find(|block| block.contains("triggerly.")).unwrap();
    // The calls as the page is read, and again, when the script is there.
    let calls = format!("function calls() {{\n{calls}}}\ncalls();\nonload = calls;");
    let page = format!("<!doctype html><title>Tea</title>{before}{script}<script>{calls}</script>");
    let address = site(page);
    browse(&address);
    let (users, mut events) = kept(&server);
    assert_eq!(users, [json!({"plan": "pro", "id": "user13@gmail.com"})]);
    let at = events.iter().position(|event| event["type"] == "page view").unwrap();
    let view = events.remove(at);
    assert_eq!((&view["page"], &view["title"]), (&json!(address), &json!("Tea")));
    let purchase = json!({"type": "purchase", "item": "Tea ☕", "price": 9.5});
    assert_eq!(events, [purchase.clone(), purchase]);
}

#[test]
#[ignore = "needs coreutils and curl"]
fn shell() {
    // Also for a shell that stops at whatever fails.
    assert_each_sends_what_it_says("sh", |sample| {
        let answer = run(Command::new("sh").args(["-e", "-c", sample]), "");
        assert_eq!(answer, r#"{"status":"ok"}"#.repeat(2));
    });
}

#[test]
#[ignore = "needs chromium"]
fn javascript() {
    assert_each_sends_what_it_says("js", |sample| {
        let page = format!("<!doctype html><meta charset=\"utf-8\"><script>\n{sample}</script>");
        browse(&site(page));
    });
}

#[test]
#[ignore = "needs python3"]
fn python() {
    assert_each_sends_what_it_says("python", |sample| {
        run(Command::new("python3").arg(file(sample).path()), "");
    });
}

#[test]
#[ignore = "needs ruby"]
fn ruby() {
    assert_each_sends_what_it_says("ruby", |sample| {
        run(Command::new("ruby").arg("-w").arg(file(sample).path()), "");
    });
}

#[test]
#[ignore = "needs gzip and curl"]
fn batches() {
    for sample in samples("shell") {
        let (server, sample, dir) = serve(&sample);
        let lines = "{\"type\":\"line\",\"n\":1}\n{\"type\":\"line\",\"n\":2.0}\n";
        std::fs::write(dir.path().join("events.jsonl"), lines).unwrap();
        let mut command = Command::new("sh");
        let answer = run(command.args(["-e", "-c", &sample]).current_dir(dir.path()), "");
        assert_eq!(answer, r#"{"status":"ok","accepted":2}"#.repeat(2));
        let events = [
            json!({"type": "purchase", "item": "Tea ☕", "price": 9.5}),
            json!({"type": "purchase", "item": "Cup", "price": 4}),
            json!({"type": "line", "n": 1}),
            serde_json::from_str(r#"{"type":"line","n":2.0}"#).unwrap(),
        ];
        assert_eq!(kept(&server).1, events);
    }
}

#[test]
#[ignore = "needs chromium"]
fn beacons() {
    for sample in samples("javascript") {
        let (server, sample, _dir) = serve(&sample);
        let leave = "onload = () => { location = 'about:blank' }";
        browse(&site(format!("<!doctype html><script>\n{sample}{leave}</script>")));
        let events = kept(&server).1;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(
            (&events[0]["type"], events[0]["seconds"].is_u64()),
            (&json!("page left"), true)
        );
    }
}

/// The samples of programs would pass if nothing were compared; this one lies.
#[test]
fn what_a_sample_does_not_send_is_missed() {
    let (server, _, _dir) = serve("http://127.0.0.1:8080/v1/");
    server.track("events", r#"{"type":"purchase","price":9.50}"#);
    assert_ne!(kept(&server).1, [json!({"type": "purchase", "price": 9.5})]);
}
