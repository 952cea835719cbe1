//! Answers computed in the simplest way that there is: from an export, one event after the other, on
//! JSON values. Written down apart from the code that it is to check, with which it shares nothing.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod questions;
pub mod values;
pub mod zones;

use serde_json::{Map, Value};

use crate::support::Server;
use crate::support::server::verb;
use zones::millis;

/// An event as an export has it.
#[derive(Clone, Debug)]
pub struct Event {
    pub seq: u64,
    pub kind: String,
    pub user: Option<String>,
    /// Milliseconds since 1970.
    pub date: i64,
    pub attributes: Map<String, Value>,
    pub context: Map<String, Value>,
}

impl Event {
    pub fn is_nobodys(&self) -> bool {
        ["bot", "prefetch"].iter().any(|name| self.context.get(*name) == Some(&Value::Bool(true)))
    }
}

/// All events of an account, oldest first.
pub fn exported(server: &Server) -> Vec<Event> {
    lines(server, &["export", "events", "--account", "default"]).iter().map(event).collect()
}

/// What a verb that exports prints, line by line.
pub fn lines(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let output = verb(&server.dir, arguments);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn event(line: &Value) -> Event {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let object = |name: &str| line[name].as_object().cloned().unwrap_or_default();
    Event {
        seq: line["seq"].as_u64().expect("a position"),
        kind: text("type").expect("a type"),
        user: text("user_id"),
        date: millis(&text("date").expect("a date")),
        attributes: object("attributes"),
        context: object("context"),
    }
}
