//! The questions, over a socket: breakdowns, funnels, coming back, timelines, types, and what all of them
//! share.
//!
//! Promises that a bad parameter is named, that a question is answered with whatever was acknowledged before
//! it, that a type which is set or taken back holds at once wherever values are looked at, and that an
//! `api_token` reads and sets none of it.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::server::verb;
use support::{Reply, Server, escape, request};

fn found(server: &Server, target: &str) -> Value {
    let reply = server.read(target);
    assert_eq!(reply.status, 200, "{target}: {reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/json"), "{target}");
    assert!(reply.text().matches("\"lag\"").count() <= 1, "{target}: {}", reply.text());
    reply.json()
}

/// All of an export. To a client of version 1.0 it comes in one piece.
fn export(server: &Server, query: &str) -> String {
    let head = format!("GET /v1/export?{query} HTTP/1.0\r\nHost: x\r\n");
    let text = format!("{head}Authorization: Bearer {}\r\n\r\n", server.secret_key);
    let answer = support::raw(server.address, text.as_bytes());
    let reply = support::parse(&answer).expect("an answer");
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    reply.text().to_owned()
}

/// `PUT` or `DELETE` of a type.
fn change(server: &Server, method: &str, path: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {}", server.secret_key);
    change_as(server, method, path, body, &[("Authorization", bearer.as_str())])
}

fn change_as(
    server: &Server,
    method: &str,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut text =
        format!("{method} /v1/types/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let kind = headers.iter().any(|(name, _)| *name == "Content-Type");
        text += if kind { "" } else { "Content-Type: application/json\r\n" };
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    let answer = support::raw(server.address, format!("{text}\r\n{body}").as_bytes());
    support::parse(&answer).expect("an answer")
}

fn set(server: &Server, path: &str, data_type: &str) -> Value {
    let reply = change(server, "PUT", path, &json!({"type": data_type}).to_string());
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

fn unset(server: &Server, path: &str) -> Value {
    let reply = change(server, "DELETE", path, "");
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

/// The values of one member of each row.
fn column<'v>(rows: &'v Value, member: &str) -> Vec<&'v Value> {
    rows.as_array().expect("a list").iter().map(|row| &row[member]).collect()
}

fn track(server: &Server, events: &[Value]) {
    for event in events {
        server.track("events", &event.to_string());
    }
}

/// Another account of the same server: its token and its key.
fn other_account(dir: &Path) -> (String, String) {
    let output = verb(dir, &["account", "add", "other", "--json"]);
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let value = |key: &str| made[key].as_str().expect("text").to_owned();
    (value("api_token"), value("secret_key"))
}

/// Every question, asked so that it is answered.
const QUESTIONS: [&str; 9] = [
    "/v1/stats?interval=month&tz=Europe/Berlin&where=a%3D1",
    "/v1/breakdown?by=a",
    "/v1/breakdown?by=context:page&measure=users&interval=day&top=1000&bots=1",
    "/v1/funnel?steps=a,b",
    "/v1/retention?first=a&back=b",
    "/v1/types",
    "/v1/users?where=a+exists&sort=a&order=desc",
    "/v1/events?where=a+exists&bots=0",
    "/v1/users/u1/timeline",
];

#[test]
fn a_parameter_that_makes_no_sense_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1"}"#);
    let many = "&where=a%3D1".repeat(17);
    let common =
        ["from=soon", "to=2001-13-01", "tz=Mars/Base", "tz=+01:00", "where=a", "where=%3D1"];
    let common = common.map(|bad| (bad.split('=').next().unwrap().to_owned(), bad.to_owned()));
    let with = |path: &str| -> Vec<(String, String)> {
        let joint = if path.contains('?') { "&" } else { "?" };
        let target = |(name, bad): &(String, String)| (name.clone(), format!("{path}{joint}{bad}"));
        common.iter().chain([&("where".to_owned(), many[1..].to_owned())]).map(target).collect()
    };
    let mut cases: Vec<(String, String)> = [
        ("interval", "/v1/stats?interval=year"),
        ("interval", "/v1/stats?interval=Day"),
        ("bots", "/v1/stats?bots=yes"),
        ("by", "/v1/breakdown"),
        ("by", "/v1/breakdown?by="),
        ("by", "/v1/breakdown?by=context:colour"),
        ("top", "/v1/breakdown?by=a&top=0"),
        ("top", "/v1/breakdown?by=a&top=1001"),
        ("top", "/v1/breakdown?by=a&top=-1"),
        ("top", "/v1/breakdown?by=a&top=ten"),
        ("measure", "/v1/breakdown?by=a&measure=median:a"),
        ("measure", "/v1/breakdown?by=a&measure=sum"),
        ("measure", "/v1/breakdown?by=a&measure=sum:"),
        ("interval", "/v1/breakdown?by=a&interval=minute"),
        ("bots", "/v1/breakdown?by=a&bots=2"),
        ("steps", "/v1/funnel"),
        ("steps", "/v1/funnel?steps=a"),
        ("steps", "/v1/funnel?steps=a,"),
        ("steps", "/v1/funnel?steps=,a,b"),
        ("steps", "/v1/funnel?steps=a,b,c,d,e,f,g,h,i,j,k"),
        ("within", "/v1/funnel?steps=a,b&within=7"),
        ("within", "/v1/funnel?steps=a,b&within=0d"),
        ("within", "/v1/funnel?steps=a,b&within=-1d"),
        ("within", "/v1/funnel?steps=a,b&within=1w"),
        ("within", "/v1/funnel?steps=a,b&within=99999999999999999999d"),
        ("where", "/v1/funnel?steps=a,b&where=3:a%3D1"),
        ("where", "/v1/funnel?steps=a,b&where=0:a%3D1"),
        ("where", "/v1/funnel?steps=a,b&where=99999999999999999999:a%3D1"),
        ("where", "/v1/funnel?steps=a,b&where=1:a"),
        ("first", "/v1/retention"),
        ("first", "/v1/retention?back=b"),
        ("back", "/v1/retention?first=a"),
        ("interval", "/v1/retention?first=a&back=b&interval=hour"),
        ("bots", "/v1/events?bots=no"),
        ("order", "/v1/users?order=up"),
        ("limit", "/v1/users/u1/timeline?limit=0"),
        ("cursor", "/v1/users/u1/timeline?cursor=x"),
        ("from", "/v1/users/u1/timeline?from=x"),
        ("tz", "/v1/users/u1/timeline?tz=x"),
        ("raw", "/v1/export?what=events&raw=x"),
        ("where", "/v1/export?what=users&where=x"),
        ("tz", "/v1/export?what=users&tz=x"),
    ]
    .map(|(name, target)| (name.to_owned(), target.to_owned()))
    .to_vec();
    cases.extend(with("/v1/stats"));
    cases.extend(with("/v1/events"));
    cases.extend(with("/v1/breakdown?by=a"));
    cases.extend(with("/v1/funnel?steps=a,b"));
    cases.extend(with("/v1/retention?first=a&back=b"));
    cases.extend(with("/v1/export?what=events"));
    for (name, target) in cases {
        let reply = server.read(&target);
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_parameter"), "{target}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("`{name}`")), "{target}: {detail}");
    }
    for target in QUESTIONS {
        found(&server, target);
        let joint = if target.contains('?') { "&" } else { "?" };
        found(&server, &format!("{target}{joint}unknown=1&type=&where=&tz=&from="));
    }
}

#[test]
fn only_a_secret_key_asks_or_sets() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","a":1}"#);
    let token = format!("Bearer {}", server.api_token);
    let body = r#"{"type":"String"}"#;
    for (headers, code) in
        [(vec![], "missing_token"), (vec![("Authorization", token.as_str())], "unknown_token")]
    {
        for target in QUESTIONS {
            let joint = if target.contains('?') { "&" } else { "?" };
            let target = format!("{target}{joint}api_token={}", server.secret_key);
            let reply = request(server.address, "GET", &target, &headers);
            assert_eq!((reply.status, reply.code().as_str()), (401, code), "{target}");
        }
        for method in ["PUT", "DELETE"] {
            let reply = change_as(&server, method, "user/a", body, &headers);
            assert_eq!((reply.status, reply.code().as_str()), (401, code), "{method}");
        }
    }
    assert_eq!(found(&server, "/v1/types")["types"][0]["override"], Value::Null);
    for method in ["GET", "HEAD", "POST"] {
        let reply = change(&server, method, "user/a", "");
        assert_eq!((reply.status, reply.header("Allow")), (405, Some("PUT, DELETE")), "{method}");
    }
    let bearer = format!("Bearer {}", server.secret_key);
    for target in QUESTIONS {
        for method in ["HEAD", "POST", "PUT", "DELETE"] {
            if method == "DELETE" && target.starts_with("/v1/events") {
                continue;
            }
            let headers = [("Authorization", bearer.as_str()), ("Origin", "https://shop.example")];
            let reply = request(server.address, method, target, &headers);
            assert_eq!(reply.status, 405, "{method} {target}");
            let open = reply.headers.iter().find(|(name, _)| name.starts_with("Access-Control"));
            assert_eq!(open, None);
        }
    }
}

#[test]
fn what_others_have_is_invisible() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","a":"1"}"#);
    track(
        &server,
        &[json!({"type":"a","user_id":"u1","a":"1"}), json!({"type":"b","user_id":"u1","a":"1"})],
    );
    set(&server, "event:a/a", "Number");
    set(&server, "user/a", "Number");
    // How far the indexes are is a matter of the moment.
    let answers = |server: &Server| {
        QUESTIONS.map(|target| {
            let mut answer = found(server, target);
            answer.as_object_mut().map(|members| members.remove("lag"));
            answer
        })
    };
    let ours = answers(&server);
    let (_, secret) = other_account(dir.path());
    let own = std::mem::replace(&mut server.secret_key, secret);
    assert_eq!(found(&server, "/v1/types")["types"], json!([]));
    assert_eq!(found(&server, "/v1/breakdown?by=a")["events"], 0);
    assert_eq!(column(&found(&server, "/v1/funnel?steps=a,b")["steps"], "users"), [0, 0]);
    assert_eq!(found(&server, "/v1/retention?first=a&back=b")["cohorts"], json!([]));
    assert_eq!(found(&server, "/v1/users?where=a+exists")["users"], json!([]));
    assert_eq!(found(&server, "/v1/events?where=a+exists")["events"], json!([]));
    assert_eq!(server.read("/v1/users/u1/timeline").status, 404);
    assert_eq!(change(&server, "DELETE", "user/a", "").status, 404);
    set(&server, "user/a", "Boolean");
    server.secret_key = own;
    assert_eq!(answers(&server), ours);
}

#[test]
fn what_was_acknowledged_is_in_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for n in 1..=30 {
        let id = format!("u{n}");
        server.track("users", &json!({"id": id, "n": n}).to_string());
        for kind in ["a", "b"] {
            track(&server, &[json!({"type": kind, "user_id": id, "n": n % 3})]);
        }
        let stats = found(&server, "/v1/stats");
        assert_eq!((&stats["count"], &stats["lag"]), (&json!(2 * n), &stats["lag"]));
        assert_eq!(found(&server, "/v1/breakdown?by=n&measure=count")["result"], 2 * n);
        assert_eq!(column(&found(&server, "/v1/funnel?steps=a,b")["steps"], "users"), [n, n]);
        let back = found(&server, "/v1/retention?first=a&back=b&interval=month");
        assert_eq!(back["cohorts"].as_array().unwrap().len(), 1, "in one month, but for midnight");
        assert_eq!(back["cohorts"][0]["back"], json!([n]));
        let timeline = found(&server, &format!("/v1/users/{id}/timeline"));
        assert_eq!(timeline["timeline"].as_array().unwrap().len(), 3);
        assert_eq!(found(&server, &format!("/v1/users?where=n%3D{n}"))["users"][0]["id"], id);
        let types = found(&server, "/v1/types");
        assert_eq!(column(&types["types"], "values"), [n, n, n]);
        if n % 10 == 0 {
            let output = verb(dir.path(), &["compact"]);
            assert!(output.status.success(), "{output:?}");
        }
    }
}

/// A type holds at once, wherever values are looked at, for old values and new ones, and can be taken back.
#[test]
fn types_are_set_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","age":"9","nested":{"deep/er":"yes"}}"#);
    server.track("users", r#"{"id":"u2","age":"10"}"#);
    let price = |price: Value| json!({"type": "buy it", "user_id": "u1", "price": price, "n": 1});
    track(&server, &[price(json!("9")), price(json!("10")), price(json!("cheap"))]);
    let prices = |server: &Server, query: &str| -> Vec<Value> {
        let page = found(server, &format!("/v1/events?order=asc&{query}"));
        let events = page["events"].as_array().unwrap();
        events.iter().map(|event| event["attributes"]["price"].clone()).collect()
    };
    let exported = |server: &Server, query: &str| -> Vec<Value> {
        let text = export(server, &format!("what=events{query}"));
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|event| event["attributes"]["price"].clone()).collect()
    };
    let beyond = "where=price%3E9";
    let as_sent = [json!("9"), json!("10"), json!("cheap")];
    let price_row = |server: &Server| -> Value {
        let types = found(server, "/v1/types")["types"].clone();
        let rows = types.as_array().unwrap();
        rows.iter().find(|row| row["attribute"] == "price").unwrap().clone()
    };
    let untouched = |server: &Server| {
        assert_eq!(prices(server, ""), as_sent);
        // Texts are compared as texts.
        assert_eq!(prices(server, beyond), [json!("cheap")]);
        assert_eq!(exported(server, ""), as_sent);
        assert_eq!(found(server, "/v1/breakdown?by=price&measure=sum:price")["result"], 0);
        let row = price_row(server);
        assert_eq!((&row["type"], &row["override"]), (&json!("String"), &Value::Null), "{row}");
    };
    untouched(&server);

    let row = set(&server, "event:buy%20it/price", "Number");
    let expected = json!({
        "kind": "event:buy it", "attribute": "price", "values": 3, "recognised": {"String": 3},
        "type": "Number", "override": "Number",
    });
    assert_eq!(row, expected);
    assert_eq!(price_row(&server), expected);
    let converted = [json!(9), json!(10), json!("cheap")];
    let obeyed = |server: &Server| {
        assert_eq!(prices(server, ""), converted);
        assert_eq!(found(server, "/v1/events")["not_converted"], 1);
        assert_eq!(prices(server, beyond), [json!(10)]);
        assert_eq!(exported(server, ""), converted);
        assert_eq!(exported(server, &format!("&{beyond}")), [json!(10)]);
        assert_eq!(exported(server, "&raw=1"), as_sent);
        assert_eq!(exported(server, &format!("&raw=1&{beyond}")), [json!("10")]);
        for (query, result) in [("by=n&measure=sum:price", 19), ("by=price", 3)] {
            let broken = found(server, &format!("/v1/breakdown?{query}"));
            assert_eq!(broken["result"], result, "{broken}");
            assert_eq!(broken["not_converted"], 1, "{broken}");
        }
        let timeline = found(server, "/v1/users/u1/timeline?limit=1");
        assert_eq!(timeline["timeline"][0]["event"]["attributes"]["price"], "cheap");
        assert_eq!(timeline["not_converted"], 1, "{timeline}");
        let output = verb(&server.dir, &["export", "events", "--where", "price>9"]);
        let line: Value = serde_json::from_slice(&output.stdout).expect("one line");
        assert_eq!(line["attributes"]["price"], 10);
        assert!(output.stderr.is_empty(), "{output:?}");
        assert_eq!(noted(&server.dir, &["export", "events"]), "1 value doesn't");
        assert_eq!(noted(&server.dir, &["export", "events", "--raw"]), "");
    };
    obeyed(&server);
    assert!(verb(dir.path(), &["compact"]).status.success());
    obeyed(&server);
    server = server.again();
    obeyed(&server);
    unset(&server, "event:buy%20it/price");
    untouched(&server);
    let reply = change(&server, "DELETE", "event:buy%20it/price", "");
    assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"));

    // Users, by the verb; a name with a slash, nested.
    let by_age = |server: &Server| -> Vec<Value> {
        let page = found(server, "/v1/users?where=age%3E8&sort=age");
        column(&page["users"], "id").into_iter().cloned().collect()
    };
    assert_eq!(by_age(&server), ["u1"]);
    let output = verb(dir.path(), &["types", "set", "user", "age", "Number"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(by_age(&server), ["u1", "u2"]);
    let age = |server: &Server| found(server, "/v1/users/u2")["attributes"]["age"].clone();
    assert_eq!(age(&server), 10);
    assert_eq!(export(&server, "what=users&where=age%3E9").lines().count(), 1);
    assert_eq!(export(&server, "what=users&where=id%3Du2").lines().count(), 1);
    let listed = verb(dir.path(), &["types", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed, found(&server, "/v1/types"));
    let output = verb(dir.path(), &["types", "unset", "user", "age"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(age(&server), "10");
    assert_eq!(verb(dir.path(), &["types", "unset", "user", "age"]).status.code(), Some(1));
    set(&server, "user/nested.deep%2Fer", "Boolean");
    let nested = found(&server, "/v1/users/u1")["attributes"]["nested"].clone();
    assert_eq!(nested, json!({"deep/er": true}));
    let holds = format!("/v1/users?where={}", escape(r#"nested.deep/er=true"#));
    assert_eq!(column(&found(&server, &holds)["users"], "id"), ["u1"]);
}

/// What a verb says beside its output, as far as it counts.
fn noted(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    let told = told.strip_prefix("triggerly: ").unwrap_or(&told);
    told.split(" convert").next().unwrap_or_default().to_owned()
}

#[test]
fn what_does_not_convert_is_counted_wherever_it_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","age":"nine","o":{"n":true}}"#);
    server.track("users", r#"{"id":"u1","age":"ten","o":{"n":"1"}}"#);
    server.track("users", r#"{"id":"u2","age":"7","o":{"n":[]}}"#);
    track(&server, &[json!({"type": "e", "user_id": "u1", "age": "old", "n": {}})]);
    track(&server, &[json!({"type": "f", "user_id": "u1", "age": "old"})]);
    let as_sent = |server: &Server, target: &str| {
        let answer = found(server, &format!("/v1/{target}"));
        answer.get("not_converted").map_or(0, |count| count.as_u64().expect("a number"))
    };
    let targets = ["users/u1", "users/u2", "users", "users?q=u2", "events", "users/u1/timeline"];
    for target in targets {
        assert_eq!(as_sent(&server, target), 0, "{target}");
    }
    for path in ["user/age", "user/o.n", "event:e/age", "event:e/n"] {
        set(&server, path, "Number");
    }
    // In a timeline each value counts that is shown: two of the event, an old one, and a new one twice.
    let counts = [1, 1, 2, 1, 2, 5];
    for (target, count) in targets.into_iter().zip(counts) {
        assert_eq!(as_sent(&server, target), count, "{target}");
    }
    for page in ["users?limit=1", "users?limit=1&sort=age&order=desc", "users/u1/timeline?limit=1"]
    {
        assert_eq!(as_sent(&server, page), u64::from(page.starts_with("users?")), "{page}");
    }
    assert_eq!(as_sent(&server, "events?type=f"), 0);
    let told = |dir: &Path| {
        for format in ["jsonl", "csv", "parquet"] {
            let noted = |what| noted(dir, &["export", what, "--format", format]);
            assert_eq!(
                (noted("users"), noted("events")),
                ("2 values don't".into(), "2 values don't".into())
            );
        }
        assert_eq!(noted(dir, &["export", "users", "--user-id", "u2"]), "1 value doesn't");
        assert_eq!(noted(dir, &["export", "users", "--raw"]), "");
    };
    told(dir.path());
    assert!(server.terminate().success());
    told(dir.path());
}

/// What a parser of numbers with all their digits may rewrite, or take for one of its own.
#[test]
fn what_has_no_type_is_shown_as_it_was_sent_where_others_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let deep = format!("{}1{}", r#"{\"a\":"#.repeat(31), "}".repeat(31));
    let sent = |n: &str, deep: &str| {
        [
            r#""x":{"$serde_json::private::Number":"x"},"y":{"$serde_json::private::Number":"5"}"#,
            r#""z":{"$serde_json::private::RawValue":"5"},"e":[1E5,1e-400,-0.0]"#,
            &format!(r#""deep":{deep},"n":{n}"#),
        ]
        .join(",")
    };
    let attributes = sent("\"07.50\"", &format!("\"{deep}\""));
    server.track("users", &format!(r#"{{"id":"u",{attributes}}}"#));
    server.track("events", &format!(r#"{{"type":"t","user_id":"u",{attributes}}}"#));
    for kind in ["user", "event:t"] {
        set(&server, &format!("{kind}/n"), "List");
        set(&server, &format!("{kind}/deep"), "Object");
    }
    let shown = sent("[\"07.50\"]", &deep.replace('\\', ""));
    let shown = format!(r#""attributes":{{{shown}}}"#);
    for target in ["users/u", "users", "users?sort=n", "events", "events?user_id=u"] {
        let reply = server.read(&format!("/v1/{target}"));
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        assert!(reply.text().contains(&shown), "{target}: {}", reply.text());
    }
    let timeline = server.read("/v1/users/u/timeline");
    assert_eq!(timeline.status, 200, "{timeline:?}");
    assert!(timeline.text().contains(&shown), "{}", timeline.text());
    let set = r#""x":{"from":null,"to":{"$serde_json::private::Number":"x"}}"#;
    assert!(timeline.text().contains(set), "{}", timeline.text());
    for what in ["users", "events"] {
        assert!(export(&server, &format!("what={what}")).contains(&shown), "{what}");
        let table = export(&server, &format!("what={what}&format=csv")).replace("\"\"", "\"");
        assert!(table.contains(shown.trim_start_matches("\"attributes\":")), "{table}");
        let output = verb(dir.path(), &["export", what, "--format", "parquet"]);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn what_is_wrong_with_a_type_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let good = r#"{"type":"Number"}"#;
    let long = format!("user/{}", "x".repeat(1_025));
    for (path, body, status, code) in [
        ("users/a", good, 400, "invalid_parameter"),
        ("event:/a", good, 400, "invalid_parameter"),
        ("EVENT:a/a", good, 400, "invalid_parameter"),
        (long.as_str(), good, 400, "invalid_parameter"),
        ("user/a", "", 400, "missing_data"),
        ("user/a", "{", 400, "invalid_json"),
        ("user/a", "[]", 400, "not_an_object"),
        ("user/a", "{}", 400, "invalid_parameter"),
        ("user/a", r#"{"type":"number"}"#, 400, "invalid_parameter"),
        ("user/a/b", good, 404, "not_found"),
        ("user", good, 404, "not_found"),
    ] {
        let reply = change(&server, "PUT", path, body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path:.40} {body}");
    }
    let bearer = format!("Bearer {}", server.secret_key);
    for kind in ["application/x-www-form-urlencoded", "application/x-ndjson", "image/png"] {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        let reply = change_as(&server, "PUT", "user/a", good, &headers);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (415, "unsupported_media_type"),
            "{kind}"
        );
    }
    assert_eq!(found(&server, "/v1/types")["types"], json!([]));
    // What is set for what never came is there, and waits.
    let row = set(&server, "event:%F0%9F%98%80/%252F", "Date");
    assert_eq!(
        (&row["kind"], &row["attribute"], &row["values"]),
        (&json!("event:😀"), &json!("%2F"), &json!(0))
    );
    assert_eq!(found(&server, "/v1/types")["types"], json!([row]));
}

#[test]
fn where_asks_of_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (n, rest) in [
        ("1", r#""price":9.5,"plan":"pro","at":"2001-07-04","deep":{"a":true}"#),
        ("2", r#""price":10,"plan":"Free trial","at":"2001-07-04T12:00:00Z""#),
        ("3", r#""price":"10","tags":["new","hot"],"a=b":1"#),
        ("4", r#""plan":null,"price":123456789012345678901234567890"#),
    ] {
        server.track("events", &format!(r#"{{"type":"e","n":"{n}",{rest}}}"#));
        server.track("users", &format!(r#"{{"id":"{n}",{rest}}}"#));
    }
    for (clauses, expected) in [
        // A text is compared by its text, wherever the literal looks like a number.
        (&["price=10"][..], "23"),
        (&["price=10.0"], "2"),
        (&["price>9.5"], "24"),
        (&["price>=9.5", "price<=10"], "12"),
        (&["price>123456789012345678901234567889"], "4"),
        (&["price>123456789012345678901234567890"], ""),
        (&["plan=pro"], "1"),
        (&["plan!=pro"], "234"),
        (&["plan contains TRIAL"], "2"),
        (&["tags contains hot"], "3"),
        (&["plan exists"], "12"),
        (&["plan not exists"], "34"),
        (&["deep.a=true"], "1"),
        (&["at=2001-07-04"], "1"),
        (&["at>2001-07-04"], "2"),
        (&["at>=2001-07-04"], "12"),
        (&["\"a=b\"=1"], "3"),
        (&["price>0", "plan exists"], "12"),
    ] {
        let query: String = clauses.iter().map(|one| format!("&where={}", escape(one))).collect();
        let page = found(&server, &format!("/v1/events?order=asc{query}"));
        let seen: String = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["attributes"]["n"].as_str().unwrap())
            .collect();
        assert_eq!(seen, expected, "{clauses:?}");
        let page = found(&server, &format!("/v1/users?{}", &query[1..]));
        let ids: String =
            column(&page["users"], "id").iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{clauses:?}");
        let count = found(&server, &format!("/v1/stats?{}", &query[1..]))["count"].clone();
        assert_eq!(count, expected.len(), "{clauses:?}");
        let lines = export(&server, &format!("what=users{query}"));
        assert_eq!(lines.lines().count(), expected.len(), "{clauses:?}");
    }
    // A day is that of the value, whatever the zone; a time without an offset is of the zone.
    for zone in ["Europe/Berlin", "Pacific/Honolulu"] {
        for (clause, expected) in [
            ("at=2001-07-04", &["1"][..]),
            ("at=2001/07/04", &["1"]),
            ("at>=2001-07-04", &["1", "2"]),
            ("at<2001-07-04", &[]),
            ("at<=2001-07-04", &["1"]),
        ] {
            let query = format!("tz={zone}&where={}", escape(clause));
            let users = found(&server, &format!("/v1/users?{query}"));
            assert_eq!(column(&users["users"], "id"), expected, "{clause} in {zone}");
            let count = found(&server, &format!("/v1/stats?{query}"))["count"].clone();
            assert_eq!(count, expected.len(), "{clause} in {zone}");
            let arguments = ["export", "events", "--tz", zone, "--where", clause];
            let lines =
                verb(dir.path(), &arguments).stdout.split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(lines, expected.len(), "{clause} in {zone}");
        }
    }
    let at_two = |zone| {
        let query = format!("tz={zone}&where={}", escape("at=2001-07-04T14:00:00"));
        found(&server, &format!("/v1/stats?{query}"))["count"].clone()
    };
    assert_eq!((at_two("Europe/Berlin"), at_two("UTC")), (json!(1), json!(0)));
    for slip in ["price==10", "price=>10"] {
        let reply = server.read(&format!("/v1/events?where={}", escape(slip)));
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_parameter"), "{slip}");
        assert!(reply.text().contains("double quotes"), "{reply:?}");
    }
}

#[test]
fn days_are_those_of_the_zone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for date in ["2001-07-03T21:59:59.999Z", "2001-07-03T22:00:00Z", "2001-07-04T21:59:59Z"] {
        track(&server, &[json!({"type": "e", "user_id": "u1", "date": date})]);
    }
    let from_of =
        |rows: &Value| -> Vec<Value> { column(rows, "from").into_iter().cloned().collect() };
    let from = |target: &str, rows: &str| from_of(&found(&server, target)[rows]);
    let day = |text: &str| json!(format!("{text}.000Z"));
    assert_eq!(from("/v1/stats", "rows"), [day("2001-07-03T00:00:00"), day("2001-07-04T00:00:00")]);
    let berlin = "tz=Europe/Berlin";
    let days = ["2001-07-03T00:00:00.000+02:00", "2001-07-04T00:00:00.000+02:00"].map(Value::from);
    assert_eq!(from(&format!("/v1/stats?{berlin}"), "rows"), days);
    let cohorts = format!("/v1/retention?first=e&back=e&interval=day&{berlin}");
    assert_eq!(from(&cohorts, "cohorts"), days[..1]);
    let series = format!("/v1/breakdown?by=context:page&interval=day&{berlin}");
    assert_eq!(from_of(&found(&server, &series)["not_set"]["series"]), days);
    let count = |query: &str| found(&server, &format!("/v1/stats?{query}"))["count"].clone();
    assert_eq!(count("from=2001-07-04&to=2001-07-05"), 1);
    assert_eq!(count(&format!("from=2001-07-04&to=2001-07-05&{berlin}")), 2);
    assert_eq!(count(&format!("from=2001-07-04T00:00:00&{berlin}")), 2);
    assert_eq!(count("from=2001-07-04T00:00:00%2B02:00"), 2);
    assert_eq!(count("from=2001-07-04T00:00:00+02:00"), 2);
    assert_eq!(count("from=2001/07/04"), 1);

    let dates = |query: &str| -> Vec<String> {
        let text = export(&server, &format!("what=events{query}"));
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|event| event["date"].as_str().unwrap().to_owned()).collect()
    };
    let shown = [
        "2001-07-03T23:59:59.999+02:00",
        "2001-07-04T00:00:00.000+02:00",
        "2001-07-04T23:59:59.000+02:00",
    ];
    assert_eq!(dates(&format!("&{berlin}")), shown);
    assert_eq!(dates("&tz=UTC"), dates(""));
    let table = export(&server, &format!("what=events&format=csv&{berlin}"));
    assert!(table.contains(shown[1]), "{table}");
    let output =
        verb(dir.path(), &["export", "events", "--tz", "Europe/Berlin", "--from", "2001-07-04"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains(shown[1]));
    for (arguments, says) in
        [(["--tz", "Mars"], "--tz"), (["--where", "a"], "--where"), (["--from", "soon"], "--from")]
    {
        let output = verb(dir.path(), &[&["export", "events"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{output:?}");
    }
}

#[test]
fn steps_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (id, kinds) in
        [("u1", &["a,b", "50%", "c"][..]), ("u2", &["a,b", "50%"]), ("u3", &["50%", "a,b"])]
    {
        for (n, kind) in kinds.iter().enumerate() {
            let date = format!("2001-07-04T00:00:0{n}Z");
            track(&server, &[json!({"type": kind, "user_id": id, "date": date, "n": n})]);
        }
    }
    let users = |query: &str| -> Value {
        let found = found(&server, &format!("/v1/funnel?{query}"));
        json!(column(&found["steps"], "users"))
    };
    // Once for the list and once for the address.
    let steps = format!("steps={}", escape("a%2Cb,50%25,c"));
    assert_eq!(users(&steps), json!([3, 2, 1]));
    assert_eq!(users(&format!("{steps}&where=1:n%3D0")), json!([2, 2, 1]));
    assert_eq!(users(&format!("{steps}&where=2:n%3D0")), json!([3, 0, 0]));
    assert_eq!(users(&format!("{steps}&where=n%3C2")), json!([3, 2, 0]));
    assert_eq!(users(&format!("{steps}&where=n%3C2&where=3:n+exists")), json!([3, 2, 0]));
    assert_eq!(users(&format!("{steps}&user_id=u2")), json!([1, 1, 0]));
    let answer = found(&server, &format!("/v1/funnel?{steps}&within=30m"));
    assert_eq!(answer["within"], "30m");
    assert_eq!(column(&answer["steps"], "type"), ["a,b", "50%", "c"]);
    assert_eq!(answer["steps"][2]["of_previous"], 0.5);
}

#[test]
fn a_timeline_is_found_by_the_id_however_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for id in ["a", "a/timeline", "timeline", "track"] {
        server.track("users", &json!({"id": id, "who": id}).to_string());
        server.track("users", &json!({"id": id, "who": null, "more": 1}).to_string());
        track(&server, &[json!({"type": "e", "user_id": id})]);
    }
    for (path, id) in [
        ("a/timeline", "a"),
        ("a%2Ftimeline/timeline", "a/timeline"),
        ("timeline/timeline", "timeline"),
        ("track/timeline", "track"),
        ("%74rack/timeline/", "track"),
    ] {
        let timeline = found(&server, &format!("/v1/users/{path}"))["timeline"].clone();
        assert_eq!(timeline[0]["event"]["user_id"], id, "{path}");
        assert_eq!(timeline[1]["change"]["removed"]["who"], id, "{path}: {timeline}");
        assert_eq!(timeline[2]["change"]["set"]["who"]["to"], id, "{path}: {timeline}");
    }
    assert_eq!(found(&server, "/v1/users/a%2Ftimeline")["id"], "a/timeline");
    assert_eq!(found(&server, "/v1/users/timeline")["id"], "timeline");
    for nobody in ["nobody/timeline", "A/timeline", "a/timelines", "a//timeline"] {
        let reply = server.read(&format!("/v1/users/{nobody}"));
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{nobody}");
    }
    // By pages each entry once.
    let mut met = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = found(&server, &format!("/v1/users/a/timeline?limit=1{cursor}"));
        met.extend(column(&page["timeline"], "seq").into_iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let all = found(&server, "/v1/users/a/timeline")["timeline"].clone();
    assert_eq!(json!(met), json!(column(&all, "seq")));
}
