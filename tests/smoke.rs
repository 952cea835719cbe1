//! The thinnest thread through the whole: request, disk, answer, reading back, and again after a
//! restart.

mod support;

use support::Server;

#[test]
fn what_is_tracked_is_read_back_before_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.track("users", r#"{"id":"u1","email":"u1@example.com","plan":"free"}"#);
    server.track("events", r#"{"type":"view","user_id":"u1","page":"/"}"#);
    server.track("users", r#"{"id":"u1","plan":"pro"}"#);
    let before = (server.all_events(), server.read("/v1/users/u1").json());
    assert_eq!(before.0.len(), 1);
    assert_eq!(before.0[0]["attributes"]["page"], "/");
    assert_eq!(before.1["email"], "u1@example.com");
    assert_eq!(before.1["attributes"]["plan"], "pro");
    assert_eq!(before.1["event_count"], 1);
    let server = server.again();
    assert_eq!((server.all_events(), server.read("/v1/users/u1").json()), before);
}
