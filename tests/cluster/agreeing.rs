//! What may happen once happens once, whichever servers are asked for it at the same moment.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use serde_json::Value;

use super::call::{self, Answer};
use super::equal::{equal_exports, stop_and_verify};
use super::site::Site;
use crate::support::server::verb;
use crate::support::web::{Visitor, form_with, new_link, path_of};

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn accounts_and_names_agree() {
    let mut site = Site::start();
    for round in 0..5 {
        an_account_is_made_once(&site, &format!("shop {round}"));
        a_link_is_used_once(&site, round);
        a_key_counts_once(&site, round);
    }
    let exports = equal_exports(&site);
    assert_eq!(exports.events.iter().filter(|byte| **byte == b'\n').count(), 5);
    stop_and_verify(&mut site);
}

/// An account is added under one name at all servers at once: one makes it, and all know it.
fn an_account_is_made_once(site: &Site, name: &str) {
    let made = at_once(site, |number, _| {
        verb(&site.servers[number].dir, &["account", "add", name, "--json"])
    });
    let (won, lost): (Vec<_>, Vec<_>) = made.into_iter().partition(|done| done.status.success());
    assert_eq!(won.len(), 1, "{won:?} {lost:?}");
    for done in &lost {
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains(name), "{said}");
    }
    let made: Value = serde_json::from_slice(&won[0].stdout).unwrap();
    site.settle();
    for server in &site.servers {
        let shown = verb(&server.dir, &["account", "show", name, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["api_token"], made["api_token"], "{}", server.name);
    }
}

/// A link that was made at one server lets one person in, whoever is asked.
fn a_link_is_used_once(site: &Site, round: usize) {
    let link = new_link(&site.servers[round % 3].dir, "default");
    let path = path_of(&link);
    site.settle();
    let statuses = at_once(site, |number, address| {
        let mut visitor = Visitor::new(address);
        let page = visitor.get(&path);
        assert_eq!(page.status, 200, "{page:?}");
        let form = form_with(page.text(), "password");
        let email = format!("somebody-{round}-{number}@example.com");
        let values = [("email", &*email), ("password", "a long password of somebody's")];
        visitor.send(&form, &path, &values).status
    });
    let let_in = statuses.iter().filter(|status| **status == 303).count();
    assert_eq!(let_in, 1, "{statuses:?}");
}

/// A call with a key comes to all servers at once: all acknowledge it, and it is stored once.
fn a_key_counts_once(site: &Site, round: usize) {
    let bearer = format!("Bearer {}", site.api_token);
    let key = format!("key-{round}");
    let headers = [
        ("Authorization", &*bearer),
        ("Idempotency-Key", &*key),
        ("Content-Type", "application/json"),
    ];
    let body = br#"{"type":"once"}"#;
    let request = call::request("POST", "/v1/events/track", &headers, Some(body));
    for answer in at_once(site, |_, address| call::send(address, &request)) {
        assert!(matches!(&answer, Answer::Reply(reply) if reply.status == 200), "{answer:?}");
    }
}

/// Does something at all servers in the same moment.
fn at_once<T: Send>(site: &Site, run: impl Fn(usize, SocketAddr) -> T + Sync) -> Vec<T> {
    let addresses = site.addresses();
    let (run, barrier) = (&run, &Barrier::new(addresses.len()));
    thread::scope(|scope| {
        let threads: Vec<_> = addresses
            .into_iter()
            .enumerate()
            .map(|(number, address)| {
                scope.spawn(move || {
                    barrier.wait();
                    run(number, address)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
