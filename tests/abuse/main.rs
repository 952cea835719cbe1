//! The abuse battery: what the open internet may do to a server, done to the real binary on the
//! loopback, with good clients beside it.
//!
//! # The rule that each case is held to
//! Good clients ([`good`]) call at a modest, fixed pace, some on connections that they keep, one on a
//! new connection each time. They are watched for [`scene::BASELINE`] in peace, then for as long as the
//! attack lasts. Then:
//! - the 99th percentile of the kept connections during the attack is at most three times what it is
//!   in peace, or three times [`scene::P99_FLOOR`], whichever is more. What it is in peace is measured
//!   before, and if it seems to be exceeded, once more after, in case the machine has got busier
//!   meanwhile; the larger counts. A case that exceeds it is run again, twice at the most. That is what is shipped, so it holds for release builds (`cargo test
//!   --release --test abuse -- --include-ignored`); in debug ones, two seconds are allowed at any rate;
//! - no good call fails, and no new connection waits longer than [`scene::NEWCOMER_MAX`];
//! - `/healthz` answers 200 within 100 ms right after;
//! - the process is the same, none of its threads has panicked, and within a bounded time its memory
//!   is at most 20 MB above what it was before;
//! - it ends with status 0, and started anew has every event that was acknowledged, each once, and
//!   none of an attacker's that was not to be taken.
//!
//! What the attackers themselves are to see is for each case to say.
//!
//! Attackers come from other addresses of the loopback than the good clients, and yield the processor
//! to them and to the server: on the internet they would bring their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod bounds;
mod chunked;
mod floods;
mod framing;
mod garbage;
mod good;
mod pairs;
mod readers;
mod scene;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod swarm;
mod wire;
