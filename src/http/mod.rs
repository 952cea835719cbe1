//! Transport: connections, requests, answers. Must not know what any path means.
//!
//! A [`Handler`] gets a plain [`Request`] and an [`Answer`] to be sent once, from any thread and at
//! any time, so that a call can wait for the disk without a thread waiting with it.
//!
//! ```text
//! clients ══ gate ──heads──> engine (tiny_http) ──requests──> workers ──> handler
//!    bytes     │ └──bodies, tickets──────────────────────────────┘          │
//!              └<──────────────────────── mail: answers ────────────────────┘
//! ```
//! The gate is one thread that owns the listener and all connections (`gate`); `inbox`, `head` and
//! `chunked` take apart what came, `line` puts answers in order, `engine` is all that knows tiny_http.
//!
//! # What the gate is for
//! tiny_http 0.12 was made for clients that mean well. Each row is something in it that those who don't can
//! use, and what is put in front of it. A row can go when the engine does the same by itself.
//!
//! | what the engine does | what answers it |
//! | --- | --- |
//! | a thread and two descriptors for each connection, however idle | one thread for all; a connection is some hundred bytes and one descriptor |
//! | no time-outs: who sends slowly, or takes nothing, stays for ever | [`Limits::request_timeout`], [`Limits::keep_alive`], looked at every 100 ms |
//! | request lines and headers of any length are read into memory | bounds in [`limits`], kept while a head comes in |
//! | a dropped request allocates its declared length: 200 GB abort the process | no length is handed on: the engine sees no bodies |
//! | out of descriptors, it stops accepting for good | the one that is quiet longest makes room, else accepting pauses for 100 ms |
//! | connections opened at once can be left without a thread, unanswered | it has its few connections before the first client comes |
//! | both Content-Length and Transfer-Encoding, two lengths, `+5`, bare CR, folded headers are read somehow; chunks aren't drained: what follows can be read in two ways (smuggling) | `head` and `chunked` refuse all that RFC 9112 leaves open, and end the connection |
//! | a byte above 127 ends the connection without an answer | such bytes are percent-encoded on the way in |
//! | its own 400, 408, 417, 505 have no problem body; HTTP/2.0 and 3.0 are never answered | refused here, in the handler's terms ([`Handler::refuse`]) |
//! | a thread that answers early sleeps until the answers before are written | `line` keeps what is early; nobody waits |
//! | no bound on requests that wait | [`limits::UNDER_WAY_MAX`], [`limits::HELD_BYTES_MAX`]: beyond, `Overloaded` at once |
//! | it is told to stop only by being dropped, and answers nothing then | the gate stops in order: see [`Running::stop`] |

mod admission;
mod answer;
mod chunked;
mod connection;
mod dispatch;
mod engine;
mod fault;
mod figures;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod head;
mod inbox;
pub mod limits;
mod line;
mod mailbox;
mod out;
mod outlet;
mod pipe;
mod request;
mod response;
mod server;
mod stream;

pub use answer::{Answer, Job, Reply};
pub use fault::Fault;
pub use figures::{Cut, Figures};
pub use limits::Limits;
pub use mailbox::together;
pub use request::{Method, Query, Request};
pub use response::{Framing, Response};
pub use server::{Handler, Running, Server, reachable};
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
