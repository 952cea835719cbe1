//! Answers whose body is made while it is sent, in bounded memory, however slowly it is taken.
//!
//! The head goes out with the first piece, so that what fails before it can still be told by an
//! answer of its own. What fails later is told by breaking the connection off: a body that ends in
//! good order is whole. HTTP/1.1 gets the body in chunks, versions before it until the connection
//! ends.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::answer::Outlet;
use super::{Framing, Response};

/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Makes a body. What it returns on failure is answered if nothing was sent yet.
pub type Make = Box<dyn FnOnce(&mut dyn Write) -> Result<(), Response> + Send>;

/// An answer whose body is made while it is sent.
pub struct Stream {
    /// Its status and headers; it has no body of its own.
    pub head: Response,
    /// When set, the answer is broken off. [`Stream::make`] has to look at it too, since it may go
    /// for long without writing.
    pub stop: Arc<AtomicBool>,
    /// Makes the body.
    pub make: Make,
}

impl Stream {
    /// Sends it all, or breaks off: by a panic too, since the outlet is dropped then.
    pub(super) fn send(self, out: Outlet, framing: Framing) {
        let Stream { head, stop, make } = self;
        let mut body = Body {
            out,
            head: Some(head.to_stream_head(framing)),
            chunks: framing.chunks,
            piece: Vec::with_capacity(PIECE_BYTES),
            stop: &stop,
        };
        match make(&mut body) {
            Ok(()) if body.send_piece(b"0\r\n\r\n").is_ok() => body.out.end(),
            // That the server is stopping may be what it says.
            Err(response) if body.head.is_some() => {
                body.out.put(&response.to_bytes(framing));
                body.out.end();
            }
            Ok(()) | Err(_) => log::debug!("an answer was broken off"),
        }
    }
}

/// What a body is written to. Pieces go out when they are full.
struct Body<'s> {
    out: Outlet,
    /// Until it is sent.
    head: Option<Vec<u8>>,
    chunks: bool,
    piece: Vec<u8>,
    stop: &'s AtomicBool,
}

impl Write for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.send_piece(b"")?;
        }
        let room = PIECE_BYTES - self.piece.len();
        let (fitting, _) = bytes.split_at(room.min(bytes.len()));
        self.piece.extend_from_slice(fitting);
        Ok(fitting.len())
    }

    /// Does nothing: small pieces would only cost more.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body<'_> {
    /// Sends what was gathered, and what stands behind the last chunk.
    fn send_piece(&mut self, end: &[u8]) -> io::Result<()> {
        let is_taken = self.out.pipe.wait(Some(self.stop));
        if self.stop.load(SeqCst) {
            return Err(io::Error::other("the server is stopping"));
        }
        if !is_taken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut bytes = self.head.take().unwrap_or_default();
        if !self.chunks {
            bytes.append(&mut self.piece);
        } else {
            // An empty chunk would be the end.
            if !self.piece.is_empty() {
                bytes.extend_from_slice(format!("{:x}\r\n", self.piece.len()).as_bytes());
                bytes.append(&mut self.piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(end);
        }
        if self.out.put(&bytes) { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pipe::{Pipe, Taken};
    use super::*;
    use std::thread;

    const NEW: Framing = Framing { head: false, connection: None, chunks: true };
    const OLD: Framing = Framing { chunks: false, ..NEW };

    /// What arrives of an answer, and whether it came to its end; `gone` hangs up at once.
    fn sent(framing: Framing, stop: bool, gone: bool, make: Make) -> (Vec<u8>, bool) {
        let head = Response::new(200, "text/plain", b"".as_slice());
        let stop = Arc::new(AtomicBool::new(stop));
        let stream = Stream { head, stop, make };
        let pipe = Arc::new(Pipe::default());
        if gone {
            pipe.hang_up();
        }
        let out = Outlet::to(Arc::clone(&pipe));
        let maker = thread::spawn(move || stream.send(out, framing));
        let mut taken = Vec::new();
        let whole = loop {
            match pipe.take(&mut taken) {
                Taken::Some => thread::yield_now(),
                Taken::Whole => break true,
                Taken::Broken => break false,
            }
        };
        let _ = maker.join();
        (taken, whole)
    }

    /// The body that chunks hold.
    fn unchunked(answer: &[u8]) -> Vec<u8> {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        assert!(head.contains("\r\nTransfer-Encoding: chunked"), "{head}");
        let mut body = Vec::new();
        let (taken, whole) = super::super::chunked::Chunks::default()
            .take(&answer[end + 4..], &mut body)
            .expect("chunks");
        assert!(whole && taken == answer.len() - end - 4);
        body
    }

    fn text(bytes: usize) -> Vec<u8> {
        (b'a'..=b'z').cycle().take(bytes).collect()
    }

    #[test]
    fn bodies_of_all_sizes() {
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 30 * PIECE_BYTES] {
            let make = || -> Make {
                Box::new(move |out| {
                    text(bytes).chunks(999).try_for_each(|part| out.write_all(part)).unwrap();
                    out.flush().unwrap();
                    Ok(())
                })
            };
            let (answer, whole) = sent(NEW, false, false, make());
            assert!(whole);
            assert_eq!(unchunked(&answer), text(bytes), "{bytes}");
            let (answer, whole) = sent(OLD, false, false, make());
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(whole && head.ends_with("\r\nConnection: close"), "{head}");
            assert_eq!(body.as_bytes(), text(bytes));
        }
    }

    #[test]
    fn what_fails_is_told() {
        let fail = |bytes| -> Make {
            Box::new(move |out| {
                let _ = out.write_all(&text(bytes));
                Err(Response::new(503, "text/plain", b"why".as_slice()))
            })
        };
        // Nothing was sent yet, so it is another answer, also when the server is stopping.
        for (framing, stop) in [(NEW, false), (NEW, true), (OLD, false)] {
            let (answer, whole) = sent(framing, stop, false, fail(1_000));
            let answer = String::from_utf8(answer).unwrap();
            assert!(whole && answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("Content-Length: 3\r\n") && answer.ends_with("\r\n\r\nwhy"));
        }
        let (answer, whole) = sent(NEW, false, false, fail(PIECE_BYTES + 1));
        assert!(!whole && answer.len() > PIECE_BYTES);
        // One that takes no notice of the stop, or of errors, and one that panics.
        let careless = |bytes| -> Make {
            Box::new(move |out| {
                let _ = out.write_all(&text(bytes));
                Ok(())
            })
        };
        assert_eq!(sent(NEW, true, false, careless(2 * PIECE_BYTES)), (Vec::new(), false));
        assert_eq!(sent(NEW, false, true, careless(3 * PIECE_BYTES)), (Vec::new(), false));
        let (_, whole) = sent(NEW, false, false, Box::new(|_| panic!("as a test")));
        assert!(!whole);
    }
}
