//! Idempotency keys outlive whatever happens to a server and its store.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Reply, Server, post};
use crate::{Way, done};

/// Calls that were accepted under keys, to be sent again.
#[derive(Default)]
struct Sent {
    /// With how many objects each was sent, for a user or as events.
    calls: Vec<usize>,
    events: usize,
}

impl Sent {
    fn send(server: &Server, n: usize, count: usize) -> Reply {
        let key = format!("call {n}");
        let bearer = format!("Bearer {}", server.api_token);
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", &*key),
        ];
        // Every third is of a user, whose update counts what it was called with.
        if n % 3 == 2 {
            let user = json!({"id": format!("u{n}"), "first": true});
            return post(
                server.address,
                "/v1/users/track",
                &headers,
                json!([user]).to_string().as_bytes(),
            );
        }
        let list: Vec<Value> = (0..count).map(|at| json!({"type": key, "at": at})).collect();
        post(server.address, "/v1/events/track", &headers, json!(list).to_string().as_bytes())
    }

    /// Sends a call under a key of its own.
    fn first(&mut self, server: &Server) {
        let n = self.calls.len();
        let count = if n % 3 == 2 { 1 } else { 1 + n % 7 };
        let reply = Self::send(server, n, count);
        Way::List.check_accepted(&reply, count as u64);
        self.calls.push(count);
        self.events += if n % 3 == 2 { 0 } else { count };
    }

    /// Sends all again, with other data: each is told what the first was, and nothing is stored.
    #[track_caller]
    fn again(&self, server: &Server) {
        let last =
            |server: &Server| server.read("/v1/events?limit=1").json()["events"][0]["seq"].take();
        let before = last(server);
        for (n, count) in self.calls.iter().enumerate() {
            Way::List.check_accepted(&Self::send(server, n, 9), *count as u64);
        }
        assert_eq!(last(server), before);
        let events = server.all_events();
        assert_eq!(events.len(), self.events);
        assert_eq!(
            server.read("/v1/users?limit=1000").json()["users"].as_array().unwrap().len(),
            self.calls.len() / 3
        );
    }
}

#[test]
fn keys_outlive_ends_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut sent = Sent::default();
    for round in 0..6 {
        // The kill comes right behind the answer of the last.
        for _ in 0..4 {
            sent.first(&server);
        }
        if round % 2 == 0 {
            server.kill();
        } else {
            assert!(server.terminate().success());
        }
        server = server.again();
        sent.again(&server);
    }
    assert!(done(dir.path(), &["verify"]).contains("damaged=0\n"));
}

#[test]
fn keys_outlive_what_is_done_to_a_store() {
    let below = tempfile::tempdir().unwrap();
    let dir = below.path().join("store");
    let mut server = Server::start(&dir);
    let mut sent = Sent::default();
    let mut more = |server: &Server| {
        for _ in 0..4 {
            sent.first(server);
        }
        sent.again(server);
    };
    more(&server);
    // Beside the server, and without it; some of the log is sealed when it is built anew, some isn't.
    for verb in ["compact", "rebuild", "compact", "verify"] {
        done(&dir, &[verb]);
        more(&server);
    }
    assert!(server.terminate().success());
    for verb in ["rebuild", "compact", "rebuild"] {
        done(&dir, &[verb]);
    }
    server = server.again();
    more(&server);

    let file = below.path().join("backup");
    done(&dir, &["backup", file.to_str().unwrap()]);
    let mut restored = restored(&server, &file, &below.path().join("restored"));
    sent.again(&restored);
    assert!(restored.terminate().success());
    sent.again(&server);
}

/// The server of a backup, with the same credentials.
fn restored(server: &Server, file: &Path, dir: &Path) -> Server {
    done(dir, &["restore", file.to_str().unwrap()]);
    let mut restored = Server::start(dir);
    restored.api_token.clone_from(&server.api_token);
    restored.secret_key.clone_from(&server.secret_key);
    restored
}

/// What is erased or imported beside it takes no key away.
#[test]
fn an_import_and_an_erasure_leave_keys_of_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut sent = Sent::default();
    for _ in 0..5 {
        sent.first(&server);
    }
    let file = dir.path().with_extension("jsonl");
    std::fs::write(&file, "{\"type\":\"imported\"}\n").unwrap();
    done(dir.path(), &["import", "events", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    sent.events += 1;
    sent.again(&server);
    done(dir.path(), &["delete", "events", "--type", "imported", "--yes"]);
    done(dir.path(), &["compact"]);
    sent.events -= 1;
    sent.again(&server);
}
