//! What a connection has sent, taken apart into requests.
//!
//! Pure: bytes in, [`Next`] out. However the bytes are cut on their way, the requests are the same.
//! Holds no more than one request and what came behind it with the same read.

use super::Fault;
use super::chunked::Chunks;
use super::head::{BodyLength, Head, Scanner};

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until more bytes come.
    More,
    /// A request, and its body.
    Request(Box<Head>, Vec<u8>),
    /// What can't be one. Nothing that comes behind it is looked at. There is a head if all of it was good.
    Fault(Fault, Option<Box<Head>>),
}

/// The bytes of a connection that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    at: At,
    body: Vec<u8>,
    /// The client waits to be told that its body is wanted.
    wants_continue: bool,
}

#[derive(Debug)]
enum At {
    Head(Scanner),
    Body(Box<Head>, usize),
    Chunks(Box<Head>, Chunks),
    /// Behind a fault.
    Lost,
}

impl Default for At {
    fn default() -> At {
        At::Head(Scanner::default())
    }
}

impl Inbox {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.at {
            At::Lost => {}
            // Bodies go where they belong, without waiting in between.
            At::Body(_, length) if self.bytes.is_empty() => {
                let left = *length - self.body.len();
                let (body, behind) = bytes.split_at(bytes.len().min(left));
                if body.len() > self.body.capacity() - self.body.len() {
                    // Doubled, as it would be anyway, but never beyond what was declared.
                    self.body.reserve_exact(left.min(body.len().max(self.body.len())));
                }
                self.body.extend_from_slice(body);
                self.bytes.extend_from_slice(behind);
            }
            _ => self.bytes.extend_from_slice(bytes),
        }
    }

    /// Takes the next request out.
    pub fn next(&mut self) -> Next {
        loop {
            let step = match std::mem::replace(&mut self.at, At::Lost) {
                At::Lost => Ok(None),
                At::Head(scanner) => self.head(scanner),
                At::Body(head, length) => Ok(self.body(head, length)),
                At::Chunks(head, chunks) => self.chunks(head, chunks),
            };
            match step {
                Ok(Some(Next::More)) => {}
                Ok(Some(next)) => return next,
                Ok(None) => return Next::More,
                Err((fault, head)) => {
                    (self.bytes, self.body) = (Vec::new(), Vec::new());
                    self.at = At::Lost;
                    return Next::Fault(fault, head);
                }
            }
        }
    }

    /// `None` is to wait, [`Next::More`] to go on at once.
    fn head(&mut self, mut scanner: Scanner) -> Step {
        let Some(end) = scanner.scan(&self.bytes).map_err(|fault| (fault, None))? else {
            self.at = At::Head(scanner);
            return Ok(None);
        };
        let head = Box::new(Head::read(&self.bytes[scanner.begin()..end])?);
        self.take(end);
        self.wants_continue = head.expects_continue && self.bytes.is_empty();
        self.at = match head.body {
            BodyLength::Bytes(0) => {
                self.at = At::default();
                return Ok(Some(Next::Request(head, Vec::new())));
            }
            BodyLength::Bytes(length) => At::Body(head, length),
            BodyLength::Chunked => At::Chunks(head, Chunks::default()),
        };
        Ok(Some(Next::More))
    }

    fn body(&mut self, head: Box<Head>, length: usize) -> Option<Next> {
        let here = self.bytes.len().min(length - self.body.len());
        self.body.extend_from_slice(&self.bytes[..here]);
        self.take(here);
        if self.body.len() < length {
            self.at = At::Body(head, length);
            return None;
        }
        Some(self.whole(head))
    }

    fn chunks(&mut self, head: Box<Head>, mut chunks: Chunks) -> Step {
        match chunks.take(&self.bytes, &mut self.body) {
            Ok((taken, whole)) => {
                self.take(taken);
                if whole {
                    return Ok(Some(self.whole(head)));
                }
                self.at = At::Chunks(head, chunks);
                Ok(None)
            }
            Err(fault) => Err((fault, Some(head))),
        }
    }

    fn whole(&mut self, head: Box<Head>) -> Next {
        self.at = At::default();
        self.wants_continue = false;
        Next::Request(head, std::mem::take(&mut self.body))
    }

    /// Drops what was taken, and the memory if nothing is left: most connections are idle.
    fn take(&mut self, bytes: usize) {
        if bytes == self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..bytes);
        }
    }

    /// Whether a client is to be told now, once, that its body is wanted (RFC 9110, section 10.1.1).
    pub fn take_continue(&mut self) -> bool {
        std::mem::take(&mut self.wants_continue)
    }

    /// Gives up on what is there: why it is refused, and its head if there is one.
    pub fn give_up(&mut self, fault: Fault) -> (Fault, Option<Box<Head>>) {
        (self.bytes, self.body) = (Vec::new(), Vec::new());
        match std::mem::replace(&mut self.at, At::Lost) {
            At::Body(head, _) | At::Chunks(head, _) => (fault, Some(head)),
            At::Head(_) | At::Lost => (fault, None),
        }
    }

    /// Whether a request has begun and isn't whole.
    pub fn has_begun(&self) -> bool {
        match &self.at {
            At::Head(scanner) => scanner.has_begun(self.bytes.len()),
            At::Body(..) | At::Chunks(..) => true,
            At::Lost => false,
        }
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.body.capacity()
    }
}

type Step = Result<Option<Next>, (Fault, Option<Box<Head>>)>;

#[cfg(test)]
pub(super) mod tests;
