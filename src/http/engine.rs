//! tiny_http behind the gate: the only room that knows it.
//!
//! It is given the first lines of heads that were found good, over a connection of this process's own that stays
//! open, and makes requests of them for the workers. It never sees a client, a header, a body, or the answer,
//! which goes back to the gate. What is behind a request waits here under its ticket.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};

use super::head::{Head, TICKET};
use super::mailbox::Place;
use super::{Method, Request};

/// Bytes of heads that the engine has not read yet, from which on it is behind.
const UNREAD_BYTES_MAX: usize = 1024 * 1024;

/// How long the engine may take to start.
const START_WITHIN: Duration = Duration::from_secs(10);

/// What is behind a request, and where its answer goes.
pub(super) struct Parcel {
    pub head: Box<Head>,
    pub body: Vec<u8>,
    pub peer: IpAddr,
    pub to: Place,
}

/// One engine, as long as it works.
pub(super) struct Engine {
    /// Never dropped: it would look for the path of its socket then, which has none, and panic.
    server: std::mem::ManuallyDrop<tiny_http::Server>,
    parcels: Mutex<HashMap<u64, Parcel>>,
    tickets: AtomicU64,
    /// It is of no use any more.
    is_over: AtomicBool,
}

impl Engine {
    /// Starts one, and gives the connection to it, whose other end a thread of its own reads.
    ///
    /// It can only be handed a listener. So it gets one that has no place in the file system and a name
    /// nobody can guess, and as soon as the connection stands, nobody can connect to it any more.
    pub fn start() -> io::Result<(Engine, Link)> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let door = listener.try_clone()?;
        let server = tiny_http::Server::from_listener(listener, None)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let engine = Engine {
            server: std::mem::ManuallyDrop::new(server),
            parcels: Mutex::default(),
            tickets: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        let mut stream = UnixStream::connect_addr(&address)?;
        // It has been accepted when it is heard.
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        match engine.server.recv_timeout(START_WITHIN)? {
            Some(greeting) => drop(greeting.into_writer()),
            None => return Err(ErrorKind::TimedOut.into()),
        }
        stream.set_nonblocking(true)?;
        shutdown(&door, Shutdown::Both)?;
        // It says so, once, that it accepts no more.
        let _ = engine.server.recv_timeout(START_WITHIN);
        if UnixStream::connect_addr(&address).is_ok() {
            return Err(io::Error::other("its door can't be closed"));
        }
        Ok((engine, Link { stream, unread: Vec::new(), waits: false }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Parcel>> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request over, to be read with the next [`Link::flush`]. Its headers stay with what is behind it: each
    /// would be copied three times on the way.
    pub fn put(&self, link: &mut Link, parcel: Parcel) {
        let ticket = self.tickets.fetch_add(1, SeqCst);
        let out = &mut link.unread;
        out.extend_from_slice(parcel.head.line().as_bytes());
        // Writing to memory can't fail.
        let _ = write!(out, "{TICKET}: {ticket}\r\n\r\n");
        self.lock().insert(ticket, parcel);
    }

    /// Waits for a request. `None` if there is none for now, since it was told to stop waiting.
    pub fn recv(&self) -> Option<(Request, Parcel)> {
        if self.is_over.load(SeqCst) {
            return None;
        }
        let request = self.server.recv().ok()?;
        let ticket = request.headers().first().filter(|header| header.field.equiv(TICKET))?;
        let ticket = ticket.value.as_str().parse().ok()?;
        let parcel = self.lock().remove(&ticket)?;
        let head = &parcel.head;
        let whole = Request::new(Method::named(request.method().as_str()), request.url())
            .sized(head.target_bytes, head.headers_bytes)
            .with_lines(head.headers())
            .from_peer(parcel.peer);
        // The answer goes another way: a writer that is dropped unused writes nothing.
        drop(request.into_writer());
        Some((whole, parcel))
    }

    /// Lets one thread that waits go.
    pub fn unblock(&self) {
        self.server.unblock();
    }

    /// Gives it up: what it was handed and has not made a request of.
    pub fn abandon(&self) -> Vec<Parcel> {
        self.is_over.store(true, SeqCst);
        self.lock().drain().map(|(_, parcel)| parcel).collect()
    }
}

/// A connection to the engine.
pub(super) struct Link {
    stream: UnixStream,
    unread: Vec<u8>,
    /// Whether the gate waits for it to take more.
    pub waits: bool,
}

impl Link {
    /// Writes what the engine takes; whether anything is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        while !self.unread.is_empty() {
            match self.stream.write(&self.unread) {
                Ok(written) if written == self.unread.len() => self.unread.clear(),
                Ok(written) => drop(self.unread.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // A long head is no reason to keep so much for ever.
        if self.unread.is_empty() && self.unread.capacity() > UNREAD_BYTES_MAX {
            self.unread = Vec::new();
        }
        Ok(!self.unread.is_empty())
    }

    /// Has the engine close it, as after a head that it can't read.
    #[cfg(test)]
    pub fn spoil(&mut self) {
        self.stream.write_all(b"no head\r\n\r\n").expect("the engine reads");
    }

    /// Whether the engine has fallen behind.
    pub fn is_behind(&self) -> bool {
        self.unread.len() > UNREAD_BYTES_MAX
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::inbox::tests::nearly;
    use crate::http::inbox::{Inbox, Next};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    /// Hands a head over and takes what the engine makes of it.
    fn through(
        engine: &Engine,
        link: &mut Link,
        head: Box<Head>,
        number: u64,
    ) -> (Request, Parcel) {
        let to = Place { connection: 1, number, held_bytes: 0 };
        let peer = Ipv4Addr::new(192, 0, 2, 1).into();
        engine.put(link, Parcel { head, body: vec![1, 2, 3], peer, to });
        while link.flush().expect("the engine stays") {
            std::thread::yield_now();
        }
        engine.recv().expect("a request")
    }

    /// The gate's reading of a head is the engine's: no head that passes makes it close its connection,
    /// or read anything else than stands there.
    #[test]
    fn every_head_that_passes_is_read_as_it_is() {
        let (engine, link) = Engine::start().expect("an engine");
        let state = std::cell::RefCell::new((link, 0));
        let heads = (nearly(), any::<[u8; 8]>(), "[!-~]{1,40}", "[ -~\t\u{80}-\u{ff}]{0,60}");
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let checked = runner.run(&heads, |(bytes, noise, target, value)| {
            let (link, number) = &mut *state.borrow_mut();
            let name = String::from_utf8_lossy(&noise).into_owned();
            let dressed = format!(
                "GET /{target} HTTP/1.1\r\nHost: a\r\nX-{name}: {value}\r\nX-V: {value}\r\n\r\n"
            );
            for bytes in
                [bytes, dressed.into_bytes(), format!("GET {target} HTTP/1.0\r\n\r\n").into()]
            {
                let mut inbox = Inbox::default();
                inbox.push(&bytes);
                while let Next::Request(head, _) = inbox.next() {
                    let (request, parcel) = through(&engine, link, head.clone(), *number);
                    prop_assert_eq!((parcel.to.number, parcel.body.len()), (*number, 3));
                    prop_assert_eq!(request.peer, parcel.peer);
                    prop_assert_eq!(request.target_bytes(), head.target_bytes);
                    let expected = Request::of_head(&head.text);
                    prop_assert_eq!(
                        format!("{:?}", request.path()),
                        format!("{:?}", expected.path())
                    );
                    prop_assert_eq!(request.method, expected.method);
                    let headers = |request: &Request| {
                        request.headers().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(headers(&request), headers(&expected));
                    *number += 1;
                }
            }
            Ok(())
        });
        checked.expect("one reading");
        let number = state.borrow().1;
        assert!(number > 100, "only {number} heads were good");
    }

    #[test]
    fn what_was_not_read_is_given_back() {
        let (engine, mut link) = Engine::start().expect("an engine");
        let mut inbox = Inbox::default();
        inbox.push(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let Next::Request(head, _) = inbox.next() else { panic!("a request") };
        let (_, parcel) = through(&engine, &mut link, head, 7);
        engine.put(&mut link, parcel);
        let left = engine.abandon();
        assert_eq!(left.iter().map(|parcel| parcel.to.number).collect::<Vec<_>>(), [7]);
        assert!(engine.recv().is_none(), "it is over");
    }
}
