//! Ends a connection whose client doesn't take its answers.
//!
//! The engine hands out no sockets, so the one that belongs to a peer is looked for among those of
//! this process. That is slow, and seldom: a write has waited for [`super::server::WRITE_MAX`] then.

use std::fs;
use std::net::SocketAddr;

use rustix::net::{Shutdown, getpeername, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Ends the connection to `peer`, both ways: who reads from it sees its end, who writes an error.
/// Whatever goes wrong leaves it as it is.
pub(super) fn hang_up(peer: SocketAddr) {
    let Ok(process) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers {
        // A duplicate: safe to ask whatever it is, and closed again by being dropped.
        let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { continue };
        let address = getpeername(&socket).ok().flatten();
        if address.and_then(|address| SocketAddr::try_from(address).ok()) == Some(peer) {
            // It may have ended by itself just now.
            let _ = shutdown(&socket, Shutdown::Both);
        }
    }
}
