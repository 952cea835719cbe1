//! A store with some of everything in it, and ways to look at what is left of it.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::Server;
use super::server::{triggerly, verb};

/// A user whose id may be anything.
pub fn track_user(server: &Server, id: &str) {
    server
        .track("users", &json!({"id": id, "email": "a@example.com", "n": "as it was"}).to_string());
}

/// An event of a type, a user (none if empty) and a date.
pub fn track_event(server: &Server, kind: &str, user_id: &str, date: &str) {
    let user_id = if user_id.is_empty() { Value::Null } else { user_id.into() };
    server.track("events", &json!({"type": kind, "user_id": user_id, "date": date}).to_string());
}

/// Some of everything.
pub fn furnish(server: &Server) {
    for user in ["u1", "u2"] {
        track_user(server, user);
    }
    for (kind, user, date) in [
        ("view", "u1", "2001-07-04"),
        ("view", "u2", "2001-07-05"),
        ("buy", "u1", "2001-07-06"),
        ("view", "", "2001-07-07"),
        ("buy", "never tracked", "2001-07-08"),
    ] {
        track_event(server, kind, user, date);
    }
}

/// All that is told of an account: users, events, counts.
pub fn told(server: &Server) -> Vec<Value> {
    let mut told =
        vec![server.read("/v1/users?limit=1000").json(), server.read("/v1/stats").json()];
    told.extend(server.all_events());
    told
}

pub fn last_seq(dir: &Path) -> String {
    let stats = verb(dir, &["stats"]);
    let stats = text(&stats.stdout);
    stats.lines().find(|line| line.starts_with("last_seq=")).expect("a position").to_owned()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// What the events that are left are, as `type user day`.
pub fn left(server: &Server) -> Vec<String> {
    let one = |event: Value| {
        let date = event["date"].as_str().expect("a date");
        let user = event["user_id"].as_str().unwrap_or("-");
        format!("{} {user} {}", event["type"].as_str().expect("a type"), &date[8..10])
    };
    server.all_events().into_iter().map(one).collect()
}

/// Makes the server of another account out of one: the same process, other credentials.
pub fn with_other_account<T>(server: &mut Server, run: impl FnOnce(&Server) -> T) -> T {
    let output = verb(&server.dir, &["account", "add", "other", "--json"]);
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let own = (server.api_token.clone(), server.secret_key.clone());
    server.api_token = made["api_token"].as_str().expect("text").to_owned();
    server.secret_key = made["secret_key"].as_str().expect("text").to_owned();
    let done = run(server);
    (server.api_token, server.secret_key) = own;
    done
}

/// Runs a verb on a folder, with nobody to ask.
pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = triggerly();
    command.args(arguments).env("TRIGGERLY_DATA", dir).stdin(Stdio::null());
    command.output().expect("it runs")
}
