//! Servers that come later, while clients go on: one from a backup of another, one from the stream alone. Both equal
//! the others in the end.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::equal::{equal_exports, stop_and_verify};
use super::load::Load;
use super::site::{Site, wait_to_listen};
use crate::support::random::Random;
use crate::support::server::{triggerly, verb};

/// How long one that has joined may take to be as far as the others.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn joins_during_load() {
    let mut random = Random::new();
    let mut site = Site::start();
    let load = Load::start(&site, &mut random);
    thread::sleep(Duration::from_secs(3));
    let backup = site.dir.path().join("backup");
    back_up(&site.servers[1].dir, &backup);
    thread::sleep(Duration::from_secs(2));
    site.add_server();
    restore(&backup, &site.servers[3].dir);
    site.add_server();
    for number in [3, 4] {
        let began = Instant::now();
        let server = &mut site.servers[number];
        server.start();
        wait_to_listen(server);
        let output = server.output();
        assert!(!output.contains("secret_key="), "{}: {output}", server.name);
        let address = server.address;
        site.wait_to_take(address);
        load.add(address);
        load.wait_for(&[address], PATIENCE);
        println!("server {} joined in {:.2?}", number + 1, began.elapsed());
    }
    thread::sleep(Duration::from_secs(3));
    let ledger = load.stop();
    println!("{}", ledger.summary());
    let exports = equal_exports(&site);
    if let Err(why) = ledger.check(&exports.events, &exports.users) {
        panic!("{why}");
    }
    stop_and_verify(&mut site);
}

#[track_caller]
fn back_up(dir: &Path, file: &Path) {
    let done = verb(dir, &["backup", &file.display().to_string()]);
    assert!(done.status.success(), "{done:?}");
}

#[track_caller]
fn restore(file: &Path, dir: &Path) {
    let mut command = triggerly();
    command.arg("restore").arg(file).arg("--data").arg(dir);
    let done = command.output().expect("the command runs");
    assert!(done.status.success(), "{done:?}");
}
