//! A log moves from one machine onto a stream, is shared there, and comes back: nothing is lost, and nobody goes on
//! with it by mistake.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::site::{Site, position};
use crate::support::server::{Server, triggerly, verb};

const STREAM: &str = "moved";

/// How long a server may take to have what another took.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn moves_onto_a_stream_and_back() {
    let site = Site::without_servers();
    let nats: Vec<_> = site.nats.iter().map(|nats| nats.address.to_string()).collect();
    let nats = format!("nats://{}", nats.join(","));
    let shared = ["--log", &nats, "--stream", STREAM];
    let (one, two) = (site.dir.path().join("one"), site.dir.path().join("two"));
    let to = |dir: &Path, place: &str| {
        verb(dir, &[&["log", "move", "--to", place], &shared[..]].concat())
    };

    let server = Server::start(&one);
    let known = (server.api_token.clone(), server.secret_key.clone());
    let knowing = |mut server: Server| {
        (server.api_token, server.secret_key) = known.clone();
        server
    };
    for number in 0..10 {
        server.track("events", &format!(r#"{{"type":"alone","n":{number}}}"#));
    }
    fails(&to(&one, "stream"), "in use by another triggerly process");
    let began = Instant::now();
    stop(server);
    succeeds(&to(&one, "stream"));
    let server = knowing(Server::start_with(&one, &shared));
    println!("ingest stopped for {:.2?} on the way onto the stream", began.elapsed());
    server.track("events", r#"{"type":"shared","by":1}"#);

    // Servers of other logs don't come in between.
    let stray = site.dir.path().join("stray");
    stop(Server::start(&stray));
    fails(&serve(&stray, &shared), "this store has records of its own");
    fails(&serve(&site.dir.path().join("empty"), &shared), "its log begins with record");

    let backup = site.dir.path().join("backup");
    succeeds(&verb(&one, &["backup", &backup.display().to_string()]));
    let mut restore = triggerly();
    restore.arg("restore").arg(&backup).arg("--data").arg(&two);
    succeeds(&restore.output().expect("the command runs"));
    fails(&serve(&two, &[]), "this store shares its log with other servers by the stream moved");
    fails(&verb(&two, &["account", "add", "more"]), "this store shares its log with other servers");
    let second = knowing(Server::start_with(&two, &shared));
    wait_for(&two, position(&one));
    second.track("events", r#"{"type":"shared","by":2}"#);
    wait_for(&one, position(&two));
    assert_eq!(server.all_events(), second.all_events());
    stop(second);

    server.track("events", r#"{"type":"shared","by":1}"#);
    let began = Instant::now();
    stop(server);
    fails(&to(&two, "here"), "reaches further than this store");
    succeeds(&to(&one, "here"));
    let server = knowing(Server::start(&one));
    println!("ingest stopped for {:.2?} on the way back", began.elapsed());
    fails(&serve(&two, &shared), "the log was moved off its stream");
    server.track("events", r#"{"type":"alone again"}"#);
    assert_eq!(server.all_events().len(), 10 + 3 + 1);
    stop(server);
    succeeds(&verb(&one, &["verify"]));
    // Whoever has lost the stream for good goes on with what there is.
    succeeds(&verb(&two, &["log", "move", "--to", "here", "--stream-is-lost"]));
    stop(Server::start(&two));
}

fn stop(mut server: Server) {
    assert!(server.terminate().success());
}

/// A server that is expected not to start.
fn serve(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = triggerly();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "off"]).args(arguments);
    command.arg("--data").arg(dir).output().expect("the command runs")
}

#[track_caller]
fn fails(done: &Output, why: &str) {
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && said.contains(why), "{said}, not {why:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[track_caller]
fn succeeds(done: &Output) {
    assert!(done.status.success(), "{done:?}");
}

#[track_caller]
fn wait_for(dir: &Path, wanted: u64) {
    let began = Instant::now();
    while position(dir) < wanted {
        assert!(began.elapsed() < PATIENCE, "it has not come to {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
