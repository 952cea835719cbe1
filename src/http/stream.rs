//! Answers whose body is made while it is sent, in bounded memory, however slowly it is taken.
//!
//! The head goes out with the first piece, so that what fails before it can still be told by an
//! answer of its own. What fails later is told by breaking the connection off: a body that ends in
//! good order is whole. HTTP/1.1 gets the body in chunks, versions before it until the connection
//! ends.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::Response;
use super::hang_up::Sockets;
use super::response::Framing;
use super::server::WRITE_MAX;

/// Bytes of a piece, and of what is kept of a body at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a client may take nothing at all before it is hung up on.
const SILENCE_MAX: Duration = Duration::from_secs(60);

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
    /// Sends it all, or breaks off.
    pub(super) fn send(self, out: Box<dyn Write + Send>, framing: Framing, sockets: &Sockets) {
        let Stream { head, stop, make } = self;
        let mut body = Body {
            out,
            head: Some(head.to_stream_head(framing)),
            chunks: framing.chunks,
            piece: Vec::with_capacity(PIECE_BYTES),
            failed: None,
            stop: Some(&stop),
            silence_max: SILENCE_MAX,
        };
        // Dropped before the body lets go of the connection: the engine might end it in good order.
        let mut cut = Cut { sockets, armed: true };
        let ended = match make(&mut body) {
            Ok(()) => body.finish(),
            Err(response) if body.head.is_some() => body.answer(&response.to_bytes(framing)),
            Err(_) => {
                if sockets.is_empty() {
                    body.spoil();
                }
                Err(body.failed.take().unwrap_or_else(|| ErrorKind::Other.into()))
            }
        };
        match ended {
            Ok(whole) => {
                cut.armed = false;
                if whole && !framing.chunks {
                    sockets.end();
                }
            }
            Err(error) => log::debug!("an answer was broken off: {error}"),
        }
    }
}

/// Breaks the connection off, unless the answer has come to its end: by a panic too.
struct Cut<'s> {
    sockets: &'s Sockets,
    armed: bool,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.sockets.reset();
        }
    }
}

/// What a body is written to. Pieces go out when they are full.
struct Body<'s> {
    out: Box<dyn Write + Send>,
    /// Until it is sent.
    head: Option<Vec<u8>>,
    chunks: bool,
    piece: Vec<u8>,
    /// Nothing more goes out.
    failed: Option<io::Error>,
    stop: Option<&'s AtomicBool>,
    silence_max: Duration,
}

impl Write for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.kind().into());
        }
        let room = PIECE_BYTES - self.piece.len();
        let (fitting, _) = bytes.split_at(room.min(bytes.len()));
        self.piece.extend_from_slice(fitting);
        if self.piece.len() == PIECE_BYTES {
            self.send_piece(b"")?;
        }
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
        let mut bytes = self.head.take().unwrap_or_default();
        if !self.chunks {
            bytes.extend_from_slice(&self.piece);
        } else {
            // An empty chunk would be the end.
            if !self.piece.is_empty() {
                bytes.extend_from_slice(format!("{:x}\r\n", self.piece.len()).as_bytes());
                bytes.extend_from_slice(&self.piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(end);
        }
        self.piece.clear();
        self.push(&bytes).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }

    /// The body is whole.
    fn finish(&mut self) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.send_piece(b"0\r\n\r\n")?;
        self.patiently(|out| out.flush().map(|()| true))?;
        Ok(true)
    }

    /// Another answer, in place of the one that was not begun.
    fn answer(&mut self, bytes: &[u8]) -> io::Result<bool> {
        // That the server is stopping may be what it says.
        (self.stop, self.silence_max) = (None, WRITE_MAX);
        self.push(bytes)?;
        self.patiently(|out| out.flush().map(|()| true))?;
        Ok(false)
    }

    /// Makes sure that the body can't be taken for whole though the connection stays: this is no
    /// length of a chunk.
    fn spoil(&mut self) {
        if self.failed.is_none() && self.chunks {
            let _ = self.out.write_all(b"broken off\r\n").and_then(|()| self.out.flush());
        }
    }

    /// Writes all of it, for as long as the client takes some of it now and then.
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.patiently(|out| out.write(rest))?;
            if taken == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Tries again when the socket's time-out has passed, unless that lasts too long.
    fn patiently<T>(
        &mut self,
        mut attempt: impl FnMut(&mut dyn Write) -> io::Result<T>,
    ) -> io::Result<T> {
        let began = Instant::now();
        loop {
            if self.stop.is_some_and(|stop| stop.load(SeqCst)) {
                return Err(io::Error::other("the server is stopping"));
            }
            match attempt(&mut self.out) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if began.elapsed() >= self.silence_max {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A connection that takes so much at a time, and by turns nothing.
    #[derive(Clone, Default)]
    struct Wire {
        taken: Arc<Mutex<Vec<u8>>>,
        at_a_time: usize,
        refuses: Option<ErrorKind>,
        attempts: usize,
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.attempts += 1;
            match self.refuses {
                Some(kind) if self.attempts.is_multiple_of(2) => Err(kind.into()),
                _ => {
                    let (taken, _) = bytes.split_at(self.at_a_time.min(bytes.len()));
                    self.taken.lock().unwrap().extend_from_slice(taken);
                    Ok(taken.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const NEW: Framing = Framing { head: false, connection: None, chunks: true };
    const OLD: Framing = Framing { chunks: false, ..NEW };

    /// What arrives of an answer.
    fn sent(wire: &Wire, framing: Framing, stop: bool, make: Make) -> Vec<u8> {
        let head = Response::new(200, "text/plain", b"".as_slice());
        let stop = Arc::new(AtomicBool::new(stop));
        let stream = Stream { head, stop, make };
        stream.send(Box::new(wire.clone()), framing, &Sockets::default());
        std::mem::take(&mut *wire.taken.lock().unwrap())
    }

    /// Body and whether it came to its end.
    fn unchunked(answer: &[u8]) -> (Vec<u8>, bool) {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        assert!(head.contains("\r\nTransfer-Encoding: chunked"), "{head}");
        let (mut rest, mut body) = (&answer[end + 4..], Vec::new());
        loop {
            let Some(line) = rest.windows(2).position(|bytes| bytes == b"\r\n") else {
                return (body, false);
            };
            let length = std::str::from_utf8(&rest[..line]).unwrap();
            let Ok(length) = usize::from_str_radix(length, 16) else { return (body, false) };
            rest = &rest[line + 2..];
            body.extend_from_slice(&rest[..length]);
            assert_eq!(&rest[length..length + 2], b"\r\n");
            rest = &rest[length + 2..];
            if length == 0 {
                assert_eq!(rest, b"");
                return (body, true);
            }
        }
    }

    fn text(bytes: usize) -> Vec<u8> {
        (b'a'..=b'z').cycle().take(bytes).collect()
    }

    #[test]
    fn bodies_of_all_sizes_over_wires_of_all_kinds() {
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            for (at_a_time, refuses) in [
                (usize::MAX, None),
                (1_000, Some(ErrorKind::WouldBlock)),
                (70_000, Some(ErrorKind::Interrupted)),
            ] {
                let wire = Wire { at_a_time, refuses, ..Wire::default() };
                let make = || -> Make {
                    Box::new(move |out| {
                        text(bytes).chunks(999).try_for_each(|part| out.write_all(part)).unwrap();
                        out.flush().unwrap();
                        Ok(())
                    })
                };
                let answer = sent(&wire, NEW, false, make());
                assert_eq!(unchunked(&answer), (text(bytes), true), "{bytes} {at_a_time}");
                let answer = String::from_utf8(sent(&wire, OLD, false, make())).unwrap();
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                assert!(head.ends_with("\r\nConnection: close"), "{head}");
                assert_eq!(body.as_bytes(), text(bytes));
            }
        }
    }

    #[test]
    fn what_fails_is_told() {
        let wire = Wire { at_a_time: usize::MAX, ..Wire::default() };
        let fail = |bytes| -> Make {
            Box::new(move |out| {
                let _ = out.write_all(&text(bytes));
                Err(Response::new(503, "text/plain", b"why".as_slice()))
            })
        };
        // Nothing was sent yet, so it is another answer, also when the server is stopping.
        for (framing, stop) in [(NEW, false), (NEW, true), (OLD, false)] {
            let answer = String::from_utf8(sent(&wire, framing, stop, fail(1_000))).unwrap();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("Content-Length: 3\r\n") && answer.ends_with("\r\n\r\nwhy"));
        }
        let answer = sent(&wire, NEW, false, fail(PIECE_BYTES + 1));
        assert_eq!(unchunked(&answer), (text(PIECE_BYTES), false));
        // One that takes no notice of the stop, or of errors.
        let careless: Make = Box::new(|out| {
            let _ = out.write_all(&text(2 * PIECE_BYTES));
            Ok(())
        });
        assert_eq!(sent(&wire, NEW, true, careless), b"");
        let gone = Wire { refuses: Some(ErrorKind::BrokenPipe), ..wire };
        let careless: Make = Box::new(|out| {
            assert!(out.write_all(&text(3 * PIECE_BYTES)).is_err());
            assert!(out.write_all(b"more").is_err());
            Ok(())
        });
        assert_eq!(unchunked(&sent(&gone, NEW, false, careless)), (text(PIECE_BYTES), false));
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let began = Instant::now();
        let mut body = Body {
            out: Box::new(Wire { attempts: 1, ..Wire::default() }),
            head: None,
            chunks: true,
            piece: Vec::new(),
            failed: None,
            stop: None,
            silence_max: Duration::from_millis(20),
        };
        let mut attempts = 0;
        let refused = body.patiently(|_| {
            attempts += 1;
            std::thread::sleep(Duration::from_millis(5));
            io::Result::<()>::Err(ErrorKind::WouldBlock.into())
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(attempts >= 2 && began.elapsed() >= body.silence_max);
    }
}
