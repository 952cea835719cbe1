//! The web pages in a real browser, as people meet them: a journey from the first link to signing out, each page in both
//! themes and all widths, hostile text in every place that an outsider can fill, and two accounts that never meet.
//!
//! The scripts that drive the browser lie in `pages/`; what they need of npm is fetched once, as its lock file says, into
//! the folder of builds. They see each request, error and violation of a policy ([`pages/browser.mjs`]), and that they do
//! is a test of its own. `PAGES_PICTURES` names a folder for screenshots.
//!
//! All of it needs programs that aren't on everyone's machine: `cargo test --test pages -- --ignored`.

mod support;

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/places.rs"]
mod places;
#[path = "support/small_site.rs"]
mod small_site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use places::{Kind, Named, Place, filled};
use support::Server;
use support::outside::run;
use support::server::verb;
use support::web::{Visitor, asset_in, link_in, new_link, path_of};
use triggerly::web::routes::Access;

/// Where the scripts lie.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages")
}

/// The packages that the scripts need, fetched unless an earlier run has.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        fs::create_dir_all(&copy).expect("a folder");
        let lock = fs::read(scripts().join("package-lock.json")).expect("a file");
        // What npm writes last.
        let whole = copy.join("node_modules/.package-lock.json").exists();
        if whole && fs::read(copy.join("package-lock.json")).is_ok_and(|of| of == lock) {
            return copy;
        }
        for name in ["package.json", "package-lock.json"] {
            fs::copy(scripts().join(name), copy.join(name)).expect("a copy");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&copy);
        let installed = npm.output().expect("npm runs");
        assert!(installed.status.success(), "{installed:?}");
        copy
    })
}

/// Runs a script to its end, with what it has to know, and gives what it says. It has to succeed.
fn script(name: &str, known: &Value) -> String {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "900", "node"]).arg(scripts().join(name));
    command.env("PAGES_PACKAGES", packages());
    let told = run(&mut command, &known.to_string());
    println!("{told}");
    told
}

/// A server on a folder of its own; the folder goes last.
fn serve() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (Server::start(dir.path()), dir)
}

/// What paths name, of an account whose secret key the server bears.
fn named(server: &Server, account: u64, name: &str) -> Named {
    let users = server.read("/v1/users?limit=1").json();
    let events = server.read("/v1/events?limit=1").json();
    Named {
        account,
        user: users["users"][0]["id"].as_str().expect("a user").to_owned(),
        seq: events["events"][0]["seq"].as_u64().expect("a number"),
        link: path_of(&new_link(&server.dir, name)).trim_start_matches("/link/").to_owned(),
        asset: asset_in(server.get("/sign-in").text()),
    }
}

fn origin(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// Looks at each of these; pictures, if any are wanted, go into `below` the folder that is named for them.
fn look_at_each(server: &Server, places: &[Place], below: &str) {
    let pictures = std::env::var_os("PAGES_PICTURES").map(|folder| Path::new(&folder).join(below));
    script(
        "each.mjs",
        &json!({
            "origin": origin(server),
            "link": link_in(&server.printed),
            "places": places::told(places),
            "pictures": pictures,
        }),
    );
}

#[test]
fn the_small_site_has_some_of_everything() {
    let (server, _dir) = serve();
    small_site::furnish(&server, 1);
    let stats = server.read("/v1/stats?interval=day").json();
    let counts = stats["rows"].as_array().expect("rows").iter().map(|row| &row["count"]);
    let events: u64 = counts.map(|count| count.as_u64().expect("a count")).sum();
    // Those of bots and prefetches aren't counted.
    assert!((2_700..3_100).contains(&events), "{events}");
    let users = server.read("/v1/users?limit=1000").json();
    assert_eq!(users["users"].as_array().map(Vec::len), Some(small_site::USERS as usize));
    for by in ["page", "browser", "os", "device"] {
        let found = server.read(&format!("/v1/breakdown?by=context:{by}&top=50")).json();
        assert!(found["rows"].as_array().is_some_and(|rows| rows.len() > 2), "{by}: {found}");
    }
    let refused = server.read("/v1/refused").json();
    assert_eq!(refused["refused"].as_array().map(Vec::len), Some(6), "{refused}");
    let types = server.read("/v1/types").json().to_string();
    assert!(types.contains("String"), "{types:.300}");
}

#[test]
fn hostile_text_is_taken_or_refused_in_words() {
    let (server, _dir) = serve();
    let texts = hostile::texts();
    assert!(texts.len() >= 50, "{}", texts.len());
    let [events, users, refused] = hostile::furnish(&server);
    println!("of {} texts: {events} events, {users} users, {refused} refused", texts.len());
    assert!(events >= 60 && users >= 60 && refused >= 150);
    assert_eq!(server.all_events().len(), events);
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn each_fault_is_seen() {
    script("watching.mjs", &Value::Null);
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn each_page_is_right_in_all_widths_and_both_themes() {
    let (server, _dir) = serve();
    small_site::furnish(&server, 1);
    let places = places::places(&named(&server, 1, "default"));
    look_at_each(&server, &places, "");
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn an_account_with_nothing_in_it_has_pages_too() {
    let (server, _dir) = serve();
    server.track("users", r#"{"id":"anna"}"#);
    server.track("events", r#"{"type":"hello"}"#);
    let named = named(&server, 1, "default");
    for what in [&["events", "--type", "hello"][..], &["user", "anna"]] {
        let gone = verb(&server.dir, &[&["delete"], what, &["--yes"]].concat());
        assert!(gone.status.success(), "{gone:?}");
    }
    let places: Vec<Place> = places::places(&named)
        .into_iter()
        .filter(|place| !place.pattern.contains("{seq}") && !place.path.contains("anna"))
        .collect();
    look_at_each(&server, &places, "empty");
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn hostile_text_stays_text() {
    let (mut server, _dir) = serve();
    hostile::furnish(&server);
    let mut all = Vec::new();
    let first = named(&server, 1, "default");
    all.extend(places::places(&first));
    // Each event and each user of its own.
    for place in places::places(&first).iter().filter(|place| place.kind == Kind::Page) {
        let path = place.path.split_once('?').map_or("", |(_, query)| query);
        if !path.is_empty() {
            continue;
        }
        if place.pattern.contains("{seq}") {
            for event in server.all_events() {
                let seq = event["seq"].as_u64().expect("a number");
                let named = Named { seq, ..first.clone() };
                all.push(Place { path: filled(place.pattern, &named), ..place.clone() });
            }
        }
        if place.pattern.contains("{user}") {
            for hostile in hostile::texts() {
                let user = hostile::cut(&hostile.text, 255).to_owned();
                let named = Named { user, ..first.clone() };
                all.push(Place { path: filled(place.pattern, &named), ..place.clone() });
            }
        }
    }
    all.retain(|place| place.kind == Kind::Page && place.access != Access::Everyone);
    // Accounts by hostile names, for the one who sees them all.
    let mut links = Vec::new();
    for hostile in
        hostile::texts().iter().filter(|hostile| hostile.text.contains(['<', '"', '\u{202e}']))
    {
        let name = hostile::cut(&hostile.text, 64);
        let added = verb(&server.dir, &["account", "add", name]);
        if added.status.success() && links.len() < 8 {
            links.push(new_link(&server.dir, name));
        }
    }
    assert!(links.len() >= 5, "names of accounts may be nearly anything");
    let texts: Vec<Value> = hostile::texts()
        .iter()
        .map(|hostile| {
            let worst = ["a script", "out of double quotes", "an address with a script", "the end of a title"];
            json!({ "text": hostile::cut(&hostile.text, 400), "worst": worst.contains(&&*hostile.name) })
        })
        .collect();
    script(
        "hostile.mjs",
        &json!({
            "origin": origin(&server),
            "link": link_in(&server.printed),
            "links": links,
            "email": "\"><img/src=x/onerror=window.__pwned=1>'@</title><pwned/data-pwned>",
            "places": places::told(&all),
            "texts": texts,
        }),
    );
    assert!(server.terminate().success());
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn nothing_of_another_account_is_seen() {
    let (mut server, _dir) = serve();
    let mut sides = Vec::new();
    let first = side(&server, "default", "one");
    sides.push(first);
    support::furnished::with_other_account(&mut server, |other| {
        sides.push(side(other, "other", "two"))
    });
    script("apart.mjs", &json!({ "origin": origin(&server), "sides": sides }));
}

/// An account with all that its pages would tell of it.
fn side(server: &Server, name: &str, mark: &str) -> Value {
    let by_link = Visitor::by_link(
        server.address,
        &new_link(&server.dir, name),
        &format!("first-{mark}@example.com"),
        "four words nobody knows",
    );
    let account = by_link.home.split('/').nth(2).and_then(|number| number.parse().ok());
    let account = account.unwrap_or_else(|| panic!("{by_link:?}"));
    server.track(
        "users",
        &json!({ "id": format!("user-{mark}"), "email": format!("mail-{mark}@example.com"), format!("known-{mark}"): 1 }).to_string(),
    );
    let event = json!({ "type": format!("type-{mark}"), "user_id": format!("user-{mark}"), format!("attribute-{mark}"): format!("value-{mark}") });
    let headers = [
        ("Content-Type", "application/json"),
        ("Referer", &*format!("https://site.example/page-{mark}")),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ];
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let taken = support::post(server.address, &target, &headers, event.to_string().as_bytes());
    assert_eq!(taken.status, 200, "{taken:?}");
    let wrong = json!({ "type": "x", "date": format!("wrong-{mark}") }).to_string();
    assert_eq!(support::post(server.address, &target, &headers, wrong.as_bytes()).status, 400);
    let marks = ["user", "mail", "known", "type", "attribute", "value", "page", "wrong"];
    let mut marks: Vec<String> = marks.iter().map(|of| format!("{of}-{mark}")).collect();
    marks.push(server.api_token.clone());
    let email = format!("reader-{mark}@example.com");
    marks.push(email.clone());
    json!({
        "link": new_link(&server.dir, name),
        "email": email,
        "places": places::told(&places::places(&named(server, account, name))),
        "marks": marks,
    })
}

/// The way of somebody new, told by the script.
fn journey(javascript: bool) {
    let (server, _dir) = serve();
    let user = "erase.me@example.com";
    server.track("users", &json!({ "id": user, "email": user, "plan": "pro" }).to_string());
    script(
        "journey.mjs",
        &json!({
            "origin": origin(&server),
            "link": link_in(&server.printed),
            "javascript": javascript,
            "user": user,
        }),
    );
    assert_eq!(server.read(&format!("/v1/users/{user}")).status, 404, "the user is gone");
    assert!(!server.all_events().iter().any(|event| event["type"] == "of a user"));
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn the_journey_with_javascript() {
    journey(true);
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn the_journey_without_javascript() {
    journey(false);
}
