//! The pieces of code that the account's page offers do what they say: each is run as it stands against a real server,
//! and what it says it sends is read back.
//!
//! The programs aren't on everyone's machine: `cargo test --test snippets -- --ignored`.

mod support;

use std::process::Command;

use serde_json::{Value, json};

use support::outside::{browse, run, site};
use support::{Server, escape, request};
use triggerly::model::ApiToken;
use triggerly::web::snippets::{READER_ID, snippets};

/// A server on a folder of its own, and a snippet for its account; the folder goes last.
fn serve(slug: &str) -> (Server, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let token = ApiToken::parse(&server.api_token).expect("a token");
    let snippets = snippets(&format!("http://{}", server.address), &token);
    let found = snippets.into_iter().find(|snippet| snippet.slug == slug);
    (server, found.unwrap_or_else(|| panic!("no snippet {slug}")).code, dir)
}

/// An event as it was sent.
fn sent(mut event: Value) -> Value {
    let mut sent = event["attributes"].take();
    for name in ["type", "user_id"] {
        if !event[name].is_null() {
            sent[name] = event[name].take();
        }
    }
    sent
}

/// The user and the event that each of the programs sends are there, and no others.
fn assert_both_are_there(server: &Server) {
    let users = server.read("/v1/users").json()["users"].take();
    let names: Vec<_> = users.as_array().expect("a list").iter().map(|user| &user["id"]).collect();
    assert_eq!(names, ["zoe@example.com"]);
    assert_eq!(users[0]["attributes"], json!({"name": "Zoë", "plan": "pro"}));
    let events: Vec<_> = server.all_events().into_iter().map(sent).collect();
    let purchase =
        json!({"type": "purchase", "user_id": "zoe@example.com", "item": "Tea ☕", "price": 9.5});
    assert_eq!(events, [purchase]);
}

/// The target of the picture in a piece of HTML.
fn picture(server: &Server, html: &str) -> String {
    let start = format!("src=\"http://{}", server.address);
    let found = html.split_once(&start).and_then(|(_, rest)| rest.split_once('"'));
    let target = found.unwrap_or_else(|| panic!("no picture in {html}")).0;
    assert!(!target.replace("&amp;", "").contains('&'), "HTML writes & as &amp;: {target}");
    target.replace("&amp;", "&")
}

#[test]
fn pictures() {
    let reader = "zoë+news@example.com";
    for (slug, event) in [
        ("pixel", json!({"type": "page view"})),
        ("e-mail", json!({"type": "e-mail opened", "user_id": reader, "campaign": "welcome"})),
    ] {
        let (server, code, _dir) = serve(slug);
        assert_eq!(code.matches(READER_ID).count(), usize::from(slug == "e-mail"));
        let target = picture(&server, &code.replace(READER_ID, &escape(reader)));
        let reply = request(server.address, "GET", &target, &[]);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/gif")));
        assert_eq!(server.all_events().into_iter().map(sent).collect::<Vec<_>>(), [event]);
    }
}

#[test]
#[ignore = "needs chromium"]
fn pages_in_a_browser() {
    for slug in ["script", "pixel", "e-mail"] {
        let (server, code, _dir) = serve(slug);
        let address = site(format!("<!doctype html><title>Tea ☕</title>{code}<p>Tea</p>"));
        browse(&address);
        let mut events = server.all_events();
        assert_eq!(events.len(), 1, "{slug}: {events:?}");
        // A page on another site tells of its address what the snippet has it tell.
        let page = match slug {
            "script" => events[0]["attributes"]["page"].take(),
            _ => events[0]["context"]["page"].take(),
        };
        assert_eq!(page, json!(address), "{slug}");
    }
}

#[test]
#[ignore = "needs chromium"]
fn javascript_in_a_page() {
    let (server, code, _dir) = serve("javascript");
    browse(&site(format!("<!doctype html><meta charset=\"utf-8\"><script>\n{code}\n</script>")));
    assert_both_are_there(&server);
}

#[test]
#[ignore = "needs curl, node, python3 and ruby"]
fn programs() {
    for (slug, program, ending) in [
        ("curl", &["sh", "-eu"][..], "sh"),
        ("javascript", &["node"], "mjs"),
        ("python", &["python3", "-W", "error"], "py"),
        ("ruby", &["ruby", "-w"], "rb"),
    ] {
        let (server, code, dir) = serve(slug);
        let file = dir.path().join(format!("snippet.{ending}"));
        std::fs::write(&file, code).unwrap();
        let said = run(Command::new(program[0]).args(&program[1..]).arg(&file), "");
        let answers = if slug == "curl" { r#"{"status":"ok"}"#.repeat(2) } else { String::new() };
        assert_eq!(said, answers, "{slug}");
        assert_both_are_there(&server);
    }
}

#[test]
#[ignore = "needs curl, python3 and ruby"]
fn programs_that_are_refused_say_so() {
    for (slug, program) in [("curl", "sh"), ("python", "python3"), ("ruby", "ruby")] {
        let (server, code, dir) = serve(slug);
        let file = dir.path().join("snippet");
        std::fs::write(&file, code.replace(&server.api_token, &"0".repeat(32))).unwrap();
        let output = Command::new(program).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!output.status.success(), "{slug}");
        assert!(String::from_utf8_lossy(&said).contains("401"), "{slug}");
        assert!(server.all_events().is_empty());
    }
}
