//! Where an answer is put while it is made: into a pipe, and the gate is told.

use std::sync::Arc;

use super::mailbox::{Mail, Mailbox};
use super::pipe::Pipe;

/// One answer's. Dropped before its end, it breaks the connection off.
pub(super) struct Outlet {
    pub pipe: Arc<Pipe>,
    mailbox: Arc<Mailbox>,
    connection: u64,
}

impl Outlet {
    pub fn new(pipe: Arc<Pipe>, mailbox: Arc<Mailbox>, connection: u64) -> Outlet {
        Outlet { pipe, mailbox, connection }
    }

    /// Puts bytes; whether anybody takes them.
    pub fn put(&self, bytes: &[u8]) -> bool {
        let taken = self.pipe.put(bytes);
        self.tell();
        taken
    }

    /// All of it was put.
    pub fn end(self) {
        self.pipe.end(true);
    }

    fn tell(&self) {
        self.mailbox.put(Mail::More { connection: self.connection });
    }

    /// One that leads nowhere but into a pipe.
    #[cfg(test)]
    pub fn to(pipe: Arc<Pipe>) -> Outlet {
        let mailbox = Arc::new(Mailbox::new().expect("an eventfd"));
        Outlet { pipe, mailbox, connection: 0 }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.pipe.end(false);
        self.tell();
    }
}
