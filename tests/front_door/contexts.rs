//! What a browser's call says of its circumstances, from the socket to every view of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use triggerly::model::Change;
use triggerly::store::segment::Segment;

use crate::support::furnished::with_other_account;
use crate::support::{Server, files};
use crate::{WAYS, Way, done};

const FIREFOX: (&str, &str) =
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0");
const CHROME: (&str, &str) = (
    "User-Agent",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
);
const GOOGLEBOT: (&str, &str) =
    ("User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)");
const GMAIL: (&str, &str) = (
    "User-Agent",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
);
const REFERER: (&str, &str) = ("Referer", "https://me:secret@a.example/shop?q=tea#top");
const ORIGIN: (&str, &str) = ("Origin", "https://a.example");

const PAGE: &str = "https://a.example/shop?q=tea";

type Headers = Vec<(&'static str, &'static str)>;

/// Headers, whether a visitor is to be told, and the rest of the context.
fn cases() -> Vec<(Headers, bool, Value)> {
    let firefox = json!({"browser": "Firefox", "os": "Linux", "device": "desktop"});
    let with = |base: &Value, more: Value| {
        let mut base = base.clone();
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let paged = with(&firefox, json!({"page": PAGE}));
    vec![
        (vec![FIREFOX, REFERER], true, paged.clone()),
        (vec![FIREFOX, ORIGIN], true, firefox.clone()),
        (vec![FIREFOX, REFERER, ("Sec-GPC", "1")], false, paged.clone()),
        (vec![FIREFOX, REFERER, ("DNT", "1")], false, paged.clone()),
        (vec![FIREFOX, REFERER, ("DNT", "0")], true, paged.clone()),
        (
            vec![FIREFOX, REFERER, ("Sec-Purpose", "prefetch;prerender")],
            true,
            with(&paged, json!({"prefetch": true})),
        ),
        (
            vec![
                CHROME,
                REFERER,
                (
                    "Sec-CH-UA",
                    "\"Not_A Brand\";v=\"99\", \"Google Chrome\";v=\"131\", \"Chromium\";v=\"131\"",
                ),
                ("Sec-CH-UA-Platform", "\"Android\""),
                ("Sec-CH-UA-Mobile", "?1"),
            ],
            true,
            json!({"page": PAGE, "browser": "Chrome", "os": "Android", "device": "phone"}),
        ),
        (
            vec![GOOGLEBOT, REFERER],
            true,
            json!({"page": PAGE, "browser": "Googlebot", "bot": true}),
        ),
        (vec![GMAIL, REFERER], false, json!({"page": PAGE, "browser": "Gmail"})),
    ]
}

/// A context without its visitor, which has to be one if it is to be there.
#[track_caller]
fn rest(context: &Value, visitor: bool) -> Value {
    let mut context = context.clone();
    let found = context.as_object_mut().expect("a context").shift_remove("visitor");
    let is_one = |found: &Value| {
        let text = found.as_str().unwrap_or_default();
        text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    assert_eq!(found.as_ref().map(is_one), visitor.then_some(true), "{found:?}");
    context
}

fn of_events(server: &Server) -> Vec<Value> {
    server.all_events().into_iter().map(|mut event| event["context"].take()).collect()
}

/// Contexts of events, and of users' updates, as the segments hold them in the order of the log.
fn of_segments(server: &Server) -> [Vec<Value>; 2] {
    let mut found = [BTreeMap::new(), BTreeMap::new()];
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "parquet");
    for path in files::all(&server.dir.join("segments")).into_iter().filter(is_segment) {
        let segment = Segment::open(&path, None).unwrap();
        for group in 0..segment.groups().len() {
            for (seq, record) in segment.read(group).unwrap().iter() {
                let (which, context) = match record.change {
                    Change::Event(event) => (0, event.context),
                    Change::User(patch) => (1, patch.context),
                    _ => continue,
                };
                let context = context.map(|text| serde_json::from_str(text).unwrap());
                found[which].insert(seq, context.unwrap_or_default());
            }
        }
    }
    found.map(|of| of.into_values().collect())
}

#[test]
fn a_browsers_call_keeps_its_context_in_every_view() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut expected = Vec::new();
    for (headers, visitor, context) in cases() {
        for way in WAYS {
            for kind in ["events", "users"] {
                let json = r#"{"type":"t","id":"u"}"#;
                way.check_accepted(&way.send(&server, kind, json, &headers), 1);
            }
            expected.push((visitor, context.clone()));
        }
    }
    let check = |contexts: Vec<Value>| {
        assert_eq!(contexts.len(), expected.len());
        for (context, (visitor, told)) in contexts.iter().zip(&expected) {
            assert_eq!(rest(context, *visitor), *told);
        }
        contexts
    };
    let contexts = check(of_events(&server));
    done(dir.path(), &["compact"]);
    assert_eq!(of_events(&server), contexts);
    let [of_events_sealed, of_users_sealed] = of_segments(&server);
    assert_eq!(of_events_sealed, contexts);
    // Made by the same calls, so they are the same visitors.
    assert_eq!(of_users_sealed, contexts);

    // Beside the attributes, not among them, in each format.
    let attributes: Vec<Value> =
        server.all_events().into_iter().map(|mut event| event["attributes"].take()).collect();
    assert!(attributes.iter().all(|own| *own == json!({"id": "u"})), "{attributes:?}");
    let exported = done(dir.path(), &["export", "events"]);
    let members = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(members.map(|mut event| event["context"].take()).collect::<Vec<_>>(), contexts);
    let table = done(dir.path(), &["export", "events", "--format", "csv"]);
    let rows = table.lines().skip(1).filter(|row| row.contains("\"\"browser\"\":\"\""));
    assert_eq!(rows.count(), contexts.len(), "{table}");
    let bearer = format!("Bearer {}", server.secret_key);
    let parquet = crate::request(
        server.address,
        "GET",
        "/v1/export?what=events&format=parquet",
        &[("Authorization", &bearer)],
    );
    assert_eq!(parquet.status, 200);
    assert!(parquet.body.windows(7).any(|bytes| bytes == b"context"));

    // A user has none: it is of calls.
    let mut user = server.read("/v1/users/u").json();
    assert_eq!(user["attributes"].take(), json!({"type": "t"}));
    assert!(
        user.get("context").is_none() && !done(dir.path(), &["export", "users"]).contains(PAGE)
    );

    server.kill();
    let server = server.again();
    assert_eq!(of_events(&server), contexts);
}

#[test]
fn a_pixel_is_a_browsers_without_any_header() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    Way::Pixel
        .check_accepted(&Way::Pixel.send(&server, "events", r#"{"type":"t"}"#, &[FIREFOX]), 1);
    let told = json!({"browser": "Firefox", "os": "Linux", "device": "desktop"});
    assert_eq!(rest(&of_events(&server)[0], true), told);
}

#[test]
fn calls_of_programs_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for headers in [
        &[("User-Agent", "curl/8.5.0")][..],
        &[FIREFOX],
        &[GOOGLEBOT, ("Sec-Purpose", "prefetch"), ("DNT", "0")],
        &[],
    ] {
        for way in WAYS.into_iter().filter(|way| !way.is_image()) {
            way.check_accepted(&way.send(&server, "events", r#"{"type":"t"}"#, headers), 1);
            way.check_accepted(&way.send(&server, "users", r#"{"id":"u"}"#, headers), 1);
        }
    }
    let events = server.all_events();
    assert!(events.iter().all(|event| event.get("context").is_none()), "{events:?}");
    done(dir.path(), &["compact"]);
    for of in of_segments(&server) {
        assert_eq!(of, vec![Value::Null; 4 * (WAYS.len() - 1)]);
    }
}

#[test]
fn visitors_are_told_apart_by_account_address_and_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(dir.path(), &["--trust-proxy", "127.0.0.0/8"]);
    let clients = [
        ("192.0.2.1", FIREFOX),
        ("192.0.2.2", FIREFOX),
        ("2001:db8::1", FIREFOX),
        ("192.0.2.1", CHROME),
        // The machine itself is somebody, too.
        ("127.0.0.1", FIREFOX),
    ];
    let send = |server: &Server| -> Vec<String> {
        for (address, agent) in clients {
            for way in WAYS {
                let headers = [REFERER, agent, ("X-Forwarded-For", address)];
                way.check_accepted(&way.send(server, "events", r#"{"type":"t"}"#, &headers), 1);
            }
            // The same client, as another proxy says it.
            let written = match address {
                "2001:db8::1" => "for=\"[2001:db8::1]:4711\"".to_owned(),
                address => format!("for={address};proto=https"),
            };
            let headers = [ORIGIN, agent, ("Forwarded", &*written)];
            let reply = Way::Query.send(server, "events", r#"{"type":"t"}"#, &headers);
            Way::Query.check_accepted(&reply, 1);
        }
        let visitor = |context: Value| context["visitor"].as_str().unwrap().to_owned();
        of_events(server).into_iter().map(visitor).collect()
    };
    let mut found = send(&server);
    found.extend(with_other_account(&mut server, send));
    let mut distinct = Vec::new();
    for of_client in found.chunks(WAYS.len() + 1) {
        assert!(of_client.iter().all(|visitor| *visitor == of_client[0]), "{of_client:?}");
        assert!(!distinct.contains(&of_client[0]));
        distinct.push(of_client[0].clone());
    }
    assert_eq!(distinct.len(), 2 * clients.len());
}

/// What bots do, and browsers ahead of time, is kept and shown, and no part of counts unless it is asked for.
#[test]
fn counts_leave_bots_and_prefetches_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let target = server.target("events", r#"{"type":"view","user_id":"u"}"#);
    for headers in [
        vec![FIREFOX, REFERER],
        vec![GOOGLEBOT, REFERER],
        vec![FIREFOX, REFERER, ("Sec-Purpose", "prefetch")],
        // No browser's call, so it can't be a bot's either.
        vec![GOOGLEBOT],
    ] {
        assert_eq!(crate::support::request(server.address, "GET", &target, &headers).status, 200);
    }
    assert_eq!(server.all_events().len(), 4);
    for (query, count) in [("", 2), ("?bots=0", 2), ("?bots=1", 4), ("?bots=", 2)] {
        let stats = server.read(&format!("/v1/stats{query}")).json();
        assert_eq!(stats["count"], json!(count), "{query}");
        assert_eq!(stats["rows"][0]["count"], json!(count), "{query}");
    }
    assert_eq!(server.read("/v1/stats?bots=yes").code(), "invalid_parameter");
}
