//! Hostile text in every place that an outsider can fill: `pages/hostile.json`, tracked, refused, told by browsers.
//!
//! Include it by `#[path = "support/hostile.rs"] mod hostile;` beside `mod support;`.

use serde_json::{Map, Value, json};
use triggerly::model::limits::{ATTRIBUTE_NAME_BYTES_MAX, OBJECT_BYTES_MAX, TYPE_BYTES_MAX};

use crate::support::server::Server;
use crate::support::{Reply, escape, parse, post, raw};

/// One text, and what is hostile about it.
pub struct Hostile {
    pub name: String,
    /// A string in JSON, as it is to be sent.
    pub json: String,
    /// What it means.
    pub text: String,
}

/// All of them.
pub fn texts() -> Vec<Hostile> {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../pages/hostile.json")).expect("JSON");
    let one = |of: Value| {
        let name = of["name"].as_str().expect("a name").to_owned();
        match of["json"].as_str() {
            Some(json) => {
                Hostile { name, json: json.to_owned(), text: json.trim_matches('"').to_owned() }
            }
            None => {
                let times = of["repeat"].as_u64().unwrap_or(1) as usize;
                let text = of["text"].as_str().expect("a text").repeat(times);
                Hostile { name, json: Value::from(text.as_str()).to_string(), text }
            }
        }
    };
    all.into_iter().map(one).collect()
}

/// As much of a text as fits into so many bytes.
pub fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Puts all of them everywhere; gives how many events and users were taken, and how many calls refused.
pub fn furnish(server: &Server) -> [usize; 3] {
    let mut counts = [0; 3];
    for hostile in texts() {
        for (taken, count) in [
            (event(server, &hostile), 0),
            (user(server, &hostile), 1),
            (wrong_date(server, &hostile), 2),
            (no_json(server, &hostile), 2),
            (no_type(server, &hostile), 2),
            (too_much(server, &hostile), 2),
        ] {
            // It may be refused, for what it is or for its size, but in words.
            assert!([200, 400, 413].contains(&taken.status), "{}: {taken:.500?}", hostile.name);
            let refused = taken.status != 200;
            counts[count] += usize::from(refused == (count == 2));
        }
    }
    counts
}

/// As type, user, name of an attribute, value, deep inside, page and browser.
fn event(server: &Server, hostile: &Hostile) -> Reply {
    let name = cut(&hostile.text, ATTRIBUTE_NAME_BYTES_MAX);
    let id = cut(&hostile.text, TYPE_BYTES_MAX);
    let mut object = Map::new();
    object.insert("type".into(), id.into());
    object.insert("user_id".into(), id.into());
    object.insert("text".into(), "HERE".into());
    object.insert(name.into(), name.into());
    object.insert("nested".into(), json!({ name: [name, { name: { name: name } }], "n": 1 }));
    let text = Value::Object(object).to_string();
    // As it is to be sent, not as serde_json would write it; as much of it as an object may hold.
    let room = OBJECT_BYTES_MAX - text.len();
    let json = if hostile.json.len() <= room {
        hostile.json.clone()
    } else {
        Value::from(cut(&hostile.text, room / 2)).to_string()
    };
    track(server, "events", &text.replacen("\"HERE\"", &json, 1), hostile)
}

/// As id, e-mail, name of an attribute and value.
fn user(server: &Server, hostile: &Hostile) -> Reply {
    let name = cut(&hostile.text, ATTRIBUTE_NAME_BYTES_MAX);
    let mut object = Map::new();
    object.insert("id".into(), cut(&hostile.text, TYPE_BYTES_MAX).into());
    object.insert("email".into(), cut(&hostile.text, 10_000).into());
    object.insert("name".into(), cut(&hostile.text, 10_000).into());
    object.insert(name.into(), json!({ name: [name] }));
    track(server, "users", &Value::Object(object).to_string(), hostile)
}

fn wrong_date(server: &Server, hostile: &Hostile) -> Reply {
    let text = cut(&hostile.text, 10_000);
    track(server, "events", &json!({ "type": "x", "date": text }).to_string(), hostile)
}

fn no_json(server: &Server, hostile: &Hostile) -> Reply {
    let text = cut(&hostile.text, 10_000);
    track(server, "events", &format!(r#"{{"type": {text}"#), hostile)
}

fn no_type(server: &Server, hostile: &Hostile) -> Reply {
    let text = cut(&hostile.text, 10_000);
    track(server, "events", &json!({ "type": { text: text } }).to_string(), hostile)
}

/// A name that is longer than names may be.
fn too_much(server: &Server, hostile: &Hostile) -> Reply {
    let name = cut(&hostile.text, 300).repeat(1 + ATTRIBUTE_NAME_BYTES_MAX);
    let name = cut(&name, ATTRIBUTE_NAME_BYTES_MAX * 4);
    track(server, "events", &json!({ "type": "x", name: 1 }).to_string(), hostile)
}

/// As a browser would, from a page and by a browser of that name.
fn track(server: &Server, kind: &str, object: &str, hostile: &Hostile) -> Reply {
    let target = format!("/v1/{kind}/track?api_token={}", server.api_token);
    // What a header can't hold is left out.
    let header: String = hostile.text.chars().filter(|c| !c.is_control()).collect();
    let header = cut(header.trim(), 900);
    let page = match object.len() % 3 {
        0 => header.to_owned(),
        1 => format!("https://site.example/{header}"),
        _ => format!("https://site.example/page?q={header}"),
    };
    let agent = format!("Mozilla/5.0 ({header}) {header}/1.0");
    let origin = format!("https://{}", cut(header, 100));
    let headers = [
        ("Content-Type", "application/json"),
        ("Referer", page.as_str()),
        ("Origin", origin.as_str()),
        ("User-Agent", agent.as_str()),
        ("Sec-CH-UA", agent.as_str()),
        ("Sec-CH-UA-Platform", header),
        ("Accept-Language", header),
    ];
    post(server.address, &target, &headers, object.as_bytes())
}

/// A page asked for by a hostile host, on behalf of one and from one.
#[allow(dead_code, reason = "who signs in needs it")]
pub fn from_host(server: &Server, path: &str, cookies: &str, hostile: &Hostile) -> Option<Reply> {
    let header: String = hostile.text.chars().filter(|c| !c.is_control()).collect();
    let header = cut(header.trim(), 200);
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {header}\r\nX-Forwarded-Host: {header}\r\nX-Forwarded-Proto: {header}\r\nX-Forwarded-Prefix: {header}\r\nForwarded: host=\"{header}\"\r\nAccept-Language: {header}\r\nReferer: {header}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n"
    );
    parse(&raw(server.address, text.as_bytes()))
}

/// A path with this text as the value of each of these parameters.
#[allow(dead_code, reason = "who signs in needs it")]
pub fn asked_with(path: &str, names: &[&str], hostile: &Hostile) -> String {
    let value = escape(cut(&hostile.text, 400));
    let query: Vec<String> = names.iter().map(|name| format!("{name}={value}")).collect();
    format!("{path}?{}", query.join("&"))
}
