//! Every bound on what a connection may send, hold or wait for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use crate::config::WORKERS_MAX;
pub use crate::model::limits::BODY_BYTES_MAX;
use crate::model::limits::{HEADERS_BYTES_MAX, TARGET_BYTES_MAX};

/// Bytes of a request line. Handlers refuse targets beyond [`TARGET_BYTES_MAX`] in their own words;
/// what is so much longer isn't read to its end.
pub const REQUEST_LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + 16 * 1024;

/// Bytes of all header lines, likewise beyond [`HEADERS_BYTES_MAX`].
pub const HEADER_LINES_BYTES_MAX: usize = HEADERS_BYTES_MAX + 16 * 1024;

/// Header lines of one request.
pub const HEADER_LINES_MAX: usize = 256;

/// Requests of one connection that may be under way; further ones wait in its buffers. Many at once would
/// stand in front of those of others who send one at a time.
pub const PIPELINED_MAX: usize = 16;

/// Bytes of answers that a connection may leave unread before nothing more is read from it.
pub const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all connections' requests and answers together, from which on one that holds more than
/// [`SMALL_BYTES`] gets no more.
pub const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The same for connections that hold little.
pub const HELD_BYTES_ALL_MAX: usize = 64 * 1024 * 1024;

/// What a request holds that isn't large: nearly every one.
pub const SMALL_BYTES: usize = 16 * 1024;

/// Requests that may be under way together.
pub const UNDER_WAY_MAX: usize = 8 * 1024;

/// Bytes that the kernel may keep for one socket and direction; it takes twice as much. Left to itself
/// it grows to megabytes for each connection that sends ahead or doesn't read.
pub const SOCKET_BYTES: usize = 128 * 1024;

/// Connections that the kernel has ready while none is accepted.
pub const BACKLOG: i32 = 4_096;

/// How long a client may take nothing of an answer that is made while it is sent.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long what a client still sends is read and dropped, behind an answer that ends the connection:
/// were it closed at once, the answer could be lost to it (RFC 9112, section 9.6).
pub const LINGER: Duration = Duration::from_secs(1);

/// How long stopping waits for clients to take their answers.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Descriptors that the rest of the process needs: the store, its segments, exports, commands.
pub const DESCRIPTORS_APART: u64 = 128;

/// Connections, where there are descriptors for more. Each takes some memory of the kernel too.
pub const CONNECTIONS_DEFAULT_MAX: usize = 16 * 1024;

const _: () = {
    assert!(BODY_BYTES_MAX < HELD_BYTES_MAX && HELD_BYTES_MAX < HELD_BYTES_ALL_MAX);
    // A head that is within bounds is never taken for too much on its own.
    assert!(REQUEST_LINE_BYTES_MAX + HEADER_LINES_BYTES_MAX < HELD_BYTES_MAX);
};

/// What the person who runs the server can set.
#[derive(Clone)]
pub struct Limits {
    /// From the first byte of a request to its last, and how long a client may take nothing of an answer.
    pub request_timeout: Duration,
    /// Between an answer and the next request.
    pub keep_alive: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections of one address at a time: an IPv4 address, or the first 64 bits of an IPv6 one.
    pub address_connections_max: usize,
    /// Addresses that this bound is not for: proxies, behind which everybody has the same one.
    pub unbounded: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            connections_max: 1_024,
            address_connections_max: 256,
            unbounded: Arc::new(|address| address.is_loopback()),
        }
    }
}
