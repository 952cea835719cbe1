//! The stream lets go of what all servers have, and of nothing that any of them lacks, however old; who was forgotten is
//! told when he comes back.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::{self, Answer};
use super::equal::{equal_exports, stop_and_verify};
use super::nats::Nats;
use super::site::{STREAM, Site, wait_to_listen};
use crate::support::server::triggerly;
use crate::support::{base64, escape};

/// How soon after a server has joined the stream is trimmed, at the latest.
const TRIMMED_WITHIN: Duration = Duration::from_secs(40);

/// Messages that stay in any case: among them are the parts of groups that aren't whole yet.
const KEPT: u64 = 512;

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn what_a_server_lacks_stays() {
    let mut site = Site::start();
    let mut nats = Nats::connect(site.nats[0].address).expect("NATS");
    let address = site.servers[0].address;
    track(&site, address, 700);
    site.settle();
    let listed = listed(&site);
    let mut ids: Vec<_> = site.servers.iter().map(|server| id(&server.dir)).collect();
    let absent = ids[2].clone();
    ids.sort();
    assert_eq!(listed.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    for one in &listed {
        assert_eq!(one["behind"], json!(0), "{one}");
        assert_eq!(one["seq"], listed[0]["seq"], "{one}");
    }

    for server in &site.servers {
        figures(&site, server.address);
        let stats = crate::support::server::verb(&server.dir, &["stats"]);
        let stats = String::from_utf8_lossy(&stats.stdout).into_owned();
        assert!(stats.contains("format=6\n"), "{stats}");
        assert!(stats.ends_with("stream=site\nstanding=member\n"), "{stats}");
    }

    // One is away, and lacks what comes meanwhile.
    site.servers[2].kill();
    let has = reach(&mut nats).1;
    track(&site, address, 20);
    again(&mut site, 0);
    let began = Instant::now();
    while reach(&mut nats).0 == 1 {
        assert!(began.elapsed() < TRIMMED_WITHIN, "it was not trimmed");
        thread::sleep(Duration::from_millis(200));
    }
    let (first, last) = reach(&mut nats);
    assert!(first + KEPT <= has, "it has {first} to {last}, and one has up to {has}");
    let named = format!("server {absent} (");
    let said = site.servers[0].said();
    let line = said.lines().find(|line| line.contains(&named)).expect("it is named").to_owned();
    assert!(line.contains("lacks 20 messages: it holds back the stream"), "{line}");
    let lacks = listed_one(&site, &absent);
    assert_eq!(lacks["behind"], json!(last - has), "{lacks}");

    // It comes back, has what it lacked, and holds back nothing any more.
    site.servers[2].start();
    wait_to_listen(&mut site.servers[2]);
    site.wait_to_take(site.servers[2].address);
    equal_exports(&site);
    again(&mut site, 0);
    let began = Instant::now();
    while reach(&mut nats).0 + KEPT <= has {
        assert!(began.elapsed() < TRIMMED_WITHIN, "it was not trimmed");
        thread::sleep(Duration::from_millis(200));
    }
    // Everybody finds his place in what is left.
    for number in 0..3 {
        again(&mut site, number);
    }
    track(&site, site.servers[1].address, 5);

    // One that was forgotten, and comes back too late, is told.
    site.servers[2].kill();
    assert_eq!(verb(&site, &["forget", &absent]).0, 0);
    let (status, said) = verb(&site, &["forget", &absent]);
    assert!(status == 1 && said.contains("follows the stream"), "{said}");
    assert!(!self::listed(&site).iter().any(|one| one["id"] == json!(absent)));
    let has = reach(&mut nats).1;
    track(&site, address, 700);
    again(&mut site, 0);
    let began = Instant::now();
    while reach(&mut nats).0 <= has + 1 {
        assert!(began.elapsed() < TRIMMED_WITHIN, "it was not trimmed");
        thread::sleep(Duration::from_millis(200));
    }
    site.servers[2].start();
    let status = site.servers[2].wait();
    let said = site.servers[2].said();
    assert!(!status.success() && said.contains("its log begins with record"), "{status}: {said}");
    site.servers.truncate(2);
    equal_exports(&site);
    stop_and_verify(&mut site);
}

/// A server that has all says so in its figures.
#[track_caller]
fn figures(site: &Site, address: SocketAddr) {
    let metrics = site.read(address, "/metrics");
    let text = metrics.text();
    let of = |name: &str| {
        let name = format!("triggerly_shared_log_{name} ");
        let found = text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    assert!(of("position") > 700.0, "{text}");
    assert_eq!(of("position"), of("end"));
    assert_eq!((of("writable"), of("doubtful_total")), (1.0, 0.0));
    of("overtaken_total");
}

/// Starts a server anew, which lets go of what is older than a second.
fn again(site: &mut Site, number: usize) {
    let server = &mut site.servers[number];
    server.kill();
    server.say_more(&["--stream-keep", "1s"]);
    server.start();
    wait_to_listen(server);
    let address = server.address;
    site.wait_to_take(address);
}

fn track(site: &Site, address: SocketAddr, count: usize) {
    for number in 0..count {
        let data = escape(&base64(format!(r#"{{"type":"view","n":{number}}}"#)));
        let target = format!("/v1/events/track?api_token={}&data={data}", site.api_token);
        match call::get(address, &target, &[]) {
            Answer::Reply(reply) => assert_eq!(reply.status, 200, "{reply:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// The first and the last message of the stream.
fn reach(nats: &mut Nats) -> (u64, u64) {
    let info = nats.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), &json!({})).expect("a stream");
    let state = &info["state"];
    (state["first_seq"].as_u64().unwrap(), state["last_seq"].as_u64().unwrap())
}

fn id(dir: &std::path::Path) -> String {
    fs::read_to_string(dir.join("server")).expect("an id").trim().to_owned()
}

fn listed(site: &Site) -> Vec<Value> {
    let (status, said) = verb(site, &["servers", "--json"]);
    assert_eq!(status, 0, "{said}");
    serde_json::from_str(&said).expect("JSON")
}

fn listed_one(site: &Site, id: &str) -> Value {
    let found = listed(site).into_iter().find(|one| one["id"] == json!(id));
    found.expect("it is listed")
}

/// Runs `log` with something behind it: its status and what it said.
fn verb(site: &Site, arguments: &[&str]) -> (i32, String) {
    let servers: Vec<_> = site.nats.iter().map(|nats| nats.address.to_string()).collect();
    let mut command = triggerly();
    command.arg("log").args(arguments);
    command.args(["--log", &format!("nats://{}", servers.join(",")), "--stream", STREAM]);
    let done = command.output().expect("the command runs");
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}
