//! The overview and the live view over HTTP, as a browser without JavaScript has them: what they count is what the API
//! counts, each line leads to the events behind it, and nothing that an outsider sends is more than text.

mod support;

use support::web::{Visitor, link_in, unescape};
use support::{Server, post};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const HOSTILE: &str = r#"</bdi><script>alert("1")</script>&amp;'=\u202e"#;

/// A server with a fresh account, and its owner.
fn furnished() -> (Server, Visitor, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let link = link_in(&server.printed);
    let owner = Visitor::by_link(server.address, &link, "a@example.com", "four words nobody knows");
    (server, owner, dir)
}

/// Tracks events from a page, as a browser does.
fn track(server: &Server, user_agent: &str, events: &str) {
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", user_agent),
        ("Referer", "https://site.example/a?b=c"),
    ];
    let reply = post(server.address, &target, &headers, events.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn furnish(server: &Server) {
    let hostile = serde_json::to_string(HOSTILE).expect("a text");
    track(
        server,
        FIREFOX,
        &format!(
            r#"[{{"type":"page view","user_id":"u/1","page":"/one","referrer":"https://r.example/"}},
                {{"type":"page view","user_id":"u2","page":"/one"}},
                {{"type":"page view","user_id":"u2","page":{hostile},"referrer":{hostile}}},
                {{"type":{hostile},"user_id":{hostile}}}]"#
        ),
    );
    track(server, BOT, r#"[{"type":"page view","page":"/one"},{"type":"crawl"}]"#);
    // A program's, without a context.
    server.track("events", r#"{"type":"order","user_id":"u2"}"#);
}

/// Addresses of a page's links to events, each with the number behind it.
fn lines(html: &str) -> Vec<(String, u64)> {
    let lines = html.split("<a class=\"what\" href=\"").skip(1);
    lines
        .map(|line| {
            let (href, rest) = line.split_once('"').expect("an end");
            let many = rest.split("class=\"many\">").nth(1).expect("a number");
            let digits: String = many.chars().take_while(char::is_ascii_digit).collect();
            (unescape(href), digits.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn a_fresh_account_is_told_what_to_do() {
    let (_server, mut owner, _dir) = furnished();
    for page in ["overview", "live"] {
        let reply = owner.get(&format!("/accounts/1/{page}"));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.text().contains("href=\"/accounts/1/profile\""), "{page}");
    }
    for (query, says) in [
        ("period=8d", "`period`"),
        ("from=soon", "`from`"),
        ("from=2026-01-02&to=2026-01-01", "`to`"),
        ("bots=yes", "`bots`"),
    ] {
        let reply = owner.get(&format!("/accounts/1/overview?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text().contains(says) && reply.text().contains("name=\"from\""), "{query}");
    }
}

#[test]
fn each_line_leads_to_as_many_events_as_it_counts() {
    let (server, mut owner, _dir) = furnished();
    furnish(&server);
    for (query, least) in [("", 10), ("?period=24h", 10), ("?period=12m", 10), ("?bots=1", 11)] {
        let page = owner.get(&format!("/accounts/1/overview{query}"));
        assert_eq!(page.status, 200, "{page:?}");
        let lines = lines(page.text());
        assert!(lines.len() >= least, "{query}: {lines:#?}");
        for (href, many) in &lines {
            let (path, asked) = href.split_once('?').expect("a query");
            assert_eq!(path, "/accounts/1/events");
            let reply = server.read(&format!("/v1/stats?{asked}"));
            assert_eq!(reply.json()["count"], *many, "{query}: {href}: {reply:?}");
        }
        assert!(
            !page.text().contains("<script>") && !page.text().contains("</bdi><script"),
            "{query}"
        );
        assert!(lines.iter().any(|(href, _)| href.contains("context%3Abrowser%3DFirefox")));
    }
    // Bots are left out unless they are asked for.
    let text = owner.get("/accounts/1/overview").text().to_owned();
    assert!(!text.contains("crawl") && text.contains("bots=1"));
    let text = owner.get("/accounts/1/overview?bots=1").text().to_owned();
    assert!(text.contains("crawl"));
    // Of a time long ago there is nothing, but it isn't as if there was nothing at all.
    let text = owner.get("/accounts/1/overview?from=2001-01-01&to=2001-02-01").text().to_owned();
    assert!(text.contains("Nothing happened in this time"));
}

#[test]
fn what_arrives_is_seen_live() {
    let (server, mut owner, _dir) = furnished();
    furnish(&server);
    let page = owner.get("/accounts/1/live");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text().contains("data-poll=\"/accounts/1/live/rows\""));
    let rows = owner.get("/accounts/1/live/rows").text().to_owned();
    assert!(!rows.contains("<html") && !rows.contains("<script"), "{rows}");
    assert!(page.text().contains(rows.split("<tbody>").next().expect("a beginning").trim()));
    // Newest first; users lead to their pages, whatever is in their ids.
    let order = rows.find("order").expect("what came last");
    let view = rows.find("page view").expect("what came before");
    assert!(order < view && rows.contains("href=\"/accounts/1/user?id=u%2F1\""), "{rows}");
    // Three users, and one visitor; bots are nobody.
    let figures: Vec<&str> = rows
        .split("class=\"figure\"")
        .skip(1)
        .map(|rest| rest.split(['>', '<']).nth(1).unwrap_or_default())
        .collect();
    assert_eq!(figures, ["3", "1", "3", "1"], "{rows}");
    assert!(!rows.contains("crawl"));
    assert!(owner.get("/accounts/1/live/rows?bots=1").text().contains("crawl"));
    // What a script asks for after signing out is refused, and not another page.
    let refused = Visitor::new(server.address).call("GET", "/accounts/1/live/rows", &[], None);
    assert_eq!(refused.status, 401, "{refused:?}");
}
