//! Several servers with one log, on NATS JetStream: three `nats-server`s and three servers of ours, each on a
//! host of its own, under load, while any of them is killed, paused and cut off.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

// What the tests stand on.
#[path = "cluster/call.rs"]
mod call;
#[path = "cluster/equal.rs"]
mod equal;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/ledger.rs"]
mod ledger;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/member.rs"]
mod member;
#[path = "cluster/nats.rs"]
mod nats;
#[path = "cluster/network.rs"]
mod network;
#[path = "cluster/site.rs"]
mod site;

// The tests.
#[path = "cluster/agreeing.rs"]
mod agreeing;
#[path = "cluster/joining.rs"]
mod joining;
#[path = "cluster/large.rs"]
mod large;
#[path = "cluster/moving.rs"]
mod moving;
#[path = "cluster/newer.rs"]
mod newer;
#[path = "cluster/outage.rs"]
mod outage;
#[path = "cluster/rounds.rs"]
mod rounds;
#[path = "cluster/salts.rs"]
mod salts;
#[path = "cluster/trimming.rs"]
mod trimming;
