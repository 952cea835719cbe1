//! The engine and the pool of workers that take requests from it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::hang_up::{Sockets, hang_up};
use super::nudge::{Nudger, Pulse};
use super::pipeline::{Lines, Place, Turn};
use super::response::Framing;
use super::{Error, Method, Request, Response, Stream};

/// Requests that a worker takes at a time, if so many wait.
const TAKEN_MAX: usize = 16;

/// How long a client may take nothing of an answer before it is hung up on. Meanwhile the thread that
/// writes to it does nothing else.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(1);

/// What a server is for.
pub trait Handler: Send + Sync + 'static {
    /// Handles one request. It must not wait for long: `answer` can be sent later, from anywhere.
    fn handle(&self, request: Request, answer: Answer);
}

/// An address that is listened on; connections wait until [`Server::start`].
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// [`Error::Bind`] with what to do about it.
    pub fn bind(address: SocketAddr) -> Result<Server, Error> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            // What is accepted has it from here (socket(7)); the engine hands out no sockets.
            set_socket_timeout(&listener, Timeout::Send, Some(WRITE_MAX))?;
            let address = listener.local_addr()?;
            Ok(Server { listener, address })
        };
        bind().map_err(|source| Error::Bind { address, source })
    }

    /// Where it listens; the port is known even if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts accepting, with so many workers (at least one).
    ///
    /// # Errors
    /// [`Error::Start`] if the engine or a thread won't.
    pub fn start(self, workers: usize, handler: Arc<dyn Handler>) -> Result<Running, Error> {
        let start = |error: &dyn std::fmt::Display| Error::Start(error.to_string());
        let engine =
            tiny_http::Server::from_listener(self.listener, None).map_err(|error| start(&error))?;
        let (nudger, pulse) = Nudger::start(self.address).map_err(|error| start(&error))?;
        let intake = Arc::new(Intake {
            engine,
            pulse,
            taking: Mutex::new(()),
            lines: Arc::default(),
            handler,
            stopping: AtomicBool::new(false),
        });
        let workers = (0..workers.max(1))
            .map(|number| {
                let intake = Arc::clone(&intake);
                thread::Builder::new().name(format!("worker {number}")).spawn(move || intake.work())
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| start(&error))?;
        Ok(Running { intake, workers, nudger })
    }
}

/// A server that accepts.
pub struct Running {
    intake: Arc<Intake>,
    workers: Vec<JoinHandle<()>>,
    nudger: Nudger,
}

impl Running {
    /// Hands over what was received already, stops listening, and returns when the workers have
    /// ended. Answers may be sent after that.
    pub fn stop(self) {
        self.intake.stopping.store(true, SeqCst);
        for _ in &self.workers {
            self.intake.engine.unblock();
        }
        self.nudger.stop();
        let workers = self.workers.len();
        for worker in self.workers {
            if worker.join().is_err() {
                log::error!("a worker panicked");
            }
        }
        self.intake.drain(workers);
    }
}

struct Intake {
    engine: tiny_http::Server,
    pulse: Pulse,
    /// Held while requests are taken, so that each connection's get their places in order.
    taking: Mutex<()>,
    lines: Arc<Lines>,
    handler: Arc<dyn Handler>,
    stopping: AtomicBool,
}

impl Intake {
    fn work(&self) {
        let mut taken = Vec::with_capacity(TAKEN_MAX);
        loop {
            let open = self.take(&mut taken);
            for (request, answer) in taken.drain(..) {
                self.handle(request, answer);
            }
            if !open {
                return;
            }
        }
    }

    fn handle(&self, request: Request, answer: Answer) {
        // The answer was moved in; when it is dropped by the panic it says 500.
        if catch_unwind(AssertUnwindSafe(|| self.handler.handle(request, answer))).is_err() {
            log::error!("handling a request panicked");
        }
    }

    /// Hands over what came while the workers ended. Each of them was told to stop by a mark in the
    /// engine's queue, and those that were not met lie between the requests.
    fn drain(&self, marks: usize) {
        for _ in 0..=marks {
            while let Ok(Some(request)) = self.engine.try_recv() {
                let (request, answer) = self.receive(request);
                self.handle(request, answer);
            }
        }
    }

    /// Waits for a request and takes those that wait with it. `false` when there will be no more.
    fn take(&self, taken: &mut Vec<(Request, Answer)>) -> bool {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stopping.load(SeqCst) {
            match self.engine.recv() {
                Ok(request) => taken.push(self.receive(request)),
                Err(error) if !self.stopping.load(SeqCst) => {
                    log::error!("the HTTP engine has stopped accepting: {error}");
                }
                Err(_) => {}
            }
        }
        while taken.len() < TAKEN_MAX {
            match self.engine.try_recv() {
                Ok(Some(request)) => taken.push(self.receive(request)),
                Ok(None) | Err(_) => return !self.stopping.load(SeqCst),
            }
        }
        true
    }

    fn receive(&self, mut engine_request: tiny_http::Request) -> (Request, Answer) {
        self.pulse.beat();
        let mut body = Vec::new();
        let bound = crate::model::limits::BODY_BYTES_MAX as u64 + 1;
        let mut reader = io::Read::take(engine_request.as_reader(), bound);
        let _ = io::Read::read_to_end(&mut reader, &mut body);
        let mut request = Request::new(Method::of(engine_request.method()), engine_request.url());
        for header in engine_request.headers() {
            request = request.with_header(header.field.as_str().as_str(), header.value.as_str());
        }
        request = request.with_body(body);
        // A TCP connection has an address; the engine can't be sure of that.
        let peer = engine_request.remote_addr().copied();
        let place = self.lines.enter(peer.unwrap_or_else(|| ([0; 4], 0).into()));
        let framing = Framing {
            head: request.method == Method::Head,
            connection: connection(&request, *engine_request.http_version() == (1, 0)),
            chunks: *engine_request.http_version() >= (1, 1),
        };
        let pending = Pending { place, lines: Arc::clone(&self.lines), framing, engine_request };
        (request, Answer(Some(pending)))
    }
}

/// What the answer says of the connection: the engine closes it, or keeps it, by the same rules.
fn connection(request: &Request, is_1_0: bool) -> Option<&'static str> {
    let asked = request.header("connection").unwrap_or_default().to_ascii_lowercase();
    // The engine reads nothing behind an upgrade, and nobody here takes one up.
    if asked.contains("close") || asked.contains("upgrade") {
        Some("close")
    } else if is_1_0 && asked.contains("keep-alive") {
        Some("keep-alive")
    } else {
        is_1_0.then_some("close")
    }
}

/// What is to be run on a thread of its own.
pub type Job = Box<dyn FnOnce() + Send>;

struct Pending {
    place: Place,
    lines: Arc<Lines>,
    framing: Framing,
    engine_request: tiny_http::Request,
}

impl Pending {
    fn send(self, response: &Response) {
        let Pending { place, lines, framing, engine_request } = self;
        let turn = if has_unread_body(&engine_request) {
            let response = response.to_engine();
            // The engine reads the rest of the body when the request is dropped, for as long as it
            // takes; that is nobody's business but this connection's. This can go when bodies are
            // read, within bounds, before they are answered.
            Turn::Short(
                response.data_length().unwrap_or_default(),
                Box::new(move || {
                    let answer = move || drop(engine_request.respond(response));
                    if let Err(error) = thread::Builder::new().name("aside".into()).spawn(answer) {
                        log::warn!("a request with a body was not answered: {error}");
                    }
                }),
            )
        } else {
            let bytes = response.to_bytes(framing);
            Turn::Short(
                bytes.len(),
                Box::new(move || {
                    let peer = engine_request.remote_addr().copied();
                    let mut writer = engine_request.into_writer();
                    match (writer.write_all(&bytes).and_then(|()| writer.flush()), peer) {
                        (Err(error), Some(peer)) if error.kind() == io::ErrorKind::WouldBlock => {
                            log::debug!("{peer} doesn't take its answers");
                            hang_up(peer);
                        }
                        // A caller who has gone away doesn't need the answer.
                        _ => {}
                    }
                }),
            )
        };
        leave(&lines, place, turn);
    }

    fn stream(self, stream: Stream, run: impl FnOnce(Job) + Send + 'static) {
        let Pending { place, lines, framing, engine_request } = self;
        let turn = Turn::Long(Box::new(move |held| {
            run(Box::new(move || {
                let sockets =
                    engine_request.remote_addr().copied().map(Sockets::of).unwrap_or_default();
                stream.send(engine_request.into_writer(), framing, &sockets);
                // The line moves on when all of it is done.
                drop(held);
            }));
        }));
        leave(&lines, place, turn);
    }
}

fn leave(lines: &Arc<Lines>, place: Place, turn: Turn) {
    let peer = place.peer();
    if lines.leave(place, turn).is_err() {
        log::debug!("{peer} sends ahead more than is kept");
        hang_up(peer);
    }
}

/// Whether dropping a request would wait for its sender: small bodies are read with the head.
fn has_unread_body(request: &tiny_http::Request) -> bool {
    const READ_AHEAD_BYTES: usize = 1_024;
    let has = |name| request.headers().iter().any(|header| header.field.equiv(name));
    has("Transfer-Encoding")
        || request
            .body_length()
            .is_some_and(|bytes| bytes > READ_AHEAD_BYTES || (bytes > 0 && has("Expect")))
}

/// The right to answer one request, once, from any thread. Dropped without an answer it says 500,
/// so that no caller waits for ever.
pub struct Answer(Option<Pending>);

impl Answer {
    /// Sends the answer.
    pub fn send(mut self, response: &Response) {
        if let Some(pending) = self.0.take() {
            pending.send(response);
        }
    }

    /// Whether [`Answer::stream`] may be called: not while the request's body is still to come, since
    /// that would have to be waited for.
    #[must_use]
    pub fn can_stream(&self) -> bool {
        self.0.as_ref().is_some_and(|pending| !has_unread_body(&pending.engine_request))
    }

    /// Sends an answer that is made meanwhile. When its turn has come, `run` is handed what may take
    /// any time, to have it done by a thread that has nothing else to do.
    pub fn stream(mut self, stream: Stream, run: impl FnOnce(Job) + Send + 'static) {
        if let Some(pending) = self.0.take() {
            pending.stream(stream, run);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            pending.send(&Response::new(500, "", Vec::new()));
        }
    }
}
