//! Ends connections from our side: of clients that don't take their answers, and of answers that
//! can't be given to their end.
//!
//! The engine hands out no sockets, so those that belong to a peer are looked for among those of
//! this process. That is slow, and seldom: a write has waited for [`super::server::WRITE_MAX`] then,
//! or an answer begins that takes its time. Where it isn't allowed (a container may forbid
//! pidfd_getfd(2)), none are found, and connections are left as they are.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::net::{Shutdown, connect_unspec, getpeername, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Ends the connection to `peer`, both ways: who reads from it sees its end, who writes an error.
/// Whatever goes wrong leaves it as it is.
pub(super) fn hang_up(peer: SocketAddr) {
    Sockets::of(peer).end();
}

/// The sockets of a connection, by duplicates.
#[derive(Default)]
pub(super) struct Sockets(Vec<OwnedFd>);

impl Sockets {
    /// Those that are connected to `peer`, if they can be had.
    pub fn of(peer: SocketAddr) -> Sockets {
        let Ok(process) = pidfd_open(getpid(), PidfdFlags::empty()) else {
            return Sockets::default();
        };
        let Ok(open) = fs::read_dir("/proc/self/fd") else { return Sockets::default() };
        let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // A duplicate: safe to ask whatever it is, and closed again by being dropped.
        let sockets =
            numbers.filter_map(|at| pidfd_getfd(&process, at, PidfdGetfdFlags::empty()).ok());
        let is_peers = |socket: &OwnedFd| {
            let address = getpeername(socket).ok().flatten();
            address.and_then(|address| SocketAddr::try_from(address).ok()) == Some(peer)
        };
        Sockets(sockets.filter(is_peers).collect())
    }

    /// Whether none were found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the connection in good order: what was written still goes out.
    pub fn end(&self) {
        for socket in &self.0 {
            // It may have ended by itself just now.
            let _ = shutdown(socket, Shutdown::Both);
        }
    }

    /// Breaks the connection off, so that the other side sees an error (a reset) and no end.
    pub fn reset(&self) {
        for socket in &self.0 {
            // Some kernels refuse to reset while a thread waits to read, as the engine's does.
            let _ = shutdown(socket, Shutdown::Read);
            for _ in 0..20 {
                match connect_unspec(socket) {
                    Err(rustix::io::Errno::BUSY) => thread::sleep(Duration::from_millis(1)),
                    _ => break,
                }
            }
            // Nothing is left of it, unless that was refused.
            let _ = shutdown(socket, Shutdown::Both);
        }
    }
}
