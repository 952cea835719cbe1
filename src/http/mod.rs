//! Transport: connections, requests, answers. The only room that knows tiny_http; must not know
//! what any path means.
//!
//! A [`Handler`] gets a plain [`Request`] and an [`Answer`] to be sent once, from any thread and at
//! any time, so that a call can wait for the disk without a thread waiting with it.
//!
//! Pipelined requests of one connection are answered in their order, as HTTP asks, and nobody waits
//! for that either: see `pipeline`. An answer may also be made while it is sent: see `stream`.

mod hang_up;
mod nudge;
mod pipeline;
mod request;
mod response;
mod server;
mod stream;

pub use nudge::reachable;
pub use request::{Method, Query, Request};
pub use response::Response;
pub use server::{Answer, Handler, Job, Running, Server};
pub use stream::{Make, Stream};

use std::io;
use std::net::SocketAddr;

/// What went wrong with listening, for the person who runs the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; {}", advice(source))]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// The reason given.
        source: io::Error,
    },
    /// The engine, or a thread of it, would not start.
    #[error("can't start the HTTP server: {0}")]
    Start(String),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or name another --listen",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; name another --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; name another --listen"
        }
        _ => "name another --listen",
    }
}
