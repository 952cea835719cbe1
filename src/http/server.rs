//! Listening, and the pool of workers that handle what comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use super::answer::Back;
use super::dispatch::Dispatch;
use super::engine::{Engine, Link, Parcel};
use super::figures::Figures;
use super::gate::Gate;
use super::limits::{BACKLOG, Limits, SOCKET_BYTES, WORKERS_MAX};
use super::mailbox::{Mail, Mailbox};
use super::{Answer, Error, Fault, Request, Response};

/// What a server is for.
pub trait Handler: Send + Sync + 'static {
    /// Handles one request. It must not wait for long: `answer` can be sent later, from anywhere.
    fn handle(&self, request: Request, answer: Answer);

    /// What a request is answered that no handler sees, since it isn't whole, can't be understood or is
    /// too much. `request` has no body, and is there if its head was good. It must not wait at all.
    fn refuse(&self, fault: Fault, request: Option<&Request>) -> Response;
}

/// An address that is listened on; connections wait until [`Server::start`].
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    figures: Arc<Figures>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// [`Error::Bind`] with what to do about it.
    pub fn bind(address: SocketAddr) -> Result<Server, Error> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            // What is accepted has these from here (socket(7)).
            set_socket_recv_buffer_size(&listener, SOCKET_BYTES)?;
            set_socket_send_buffer_size(&listener, SOCKET_BYTES)?;
            rustix::net::listen(&listener, BACKLOG)?;
            let address = listener.local_addr()?;
            Ok(Server { listener, address, figures: Arc::default() })
        };
        bind().map_err(|source| Error::Bind { address, source })
    }

    /// Where it listens; the port is known even if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it counts, from now on.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Starts accepting, with so many workers (at least one).
    ///
    /// # Errors
    /// [`Error::Start`] if the engine or a thread won't.
    pub fn start(
        self,
        workers: usize,
        limits: Limits,
        handler: Arc<dyn Handler>,
    ) -> Result<Running, Error> {
        let start = || {
            let (engine, link) = Engine::start()?;
            self.start_on(engine, link, workers, limits, handler)
        };
        start().map_err(|error| Error::Start(error.to_string()))
    }

    fn start_on(
        self,
        engine: Engine,
        link: Link,
        workers: usize,
        limits: Limits,
        handler: Arc<dyn Handler>,
    ) -> std::io::Result<Running> {
        let mailbox = Arc::new(Mailbox::new()?);
        let engine = Arc::new(RwLock::new(Arc::new(engine)));
        let dispatch = Dispatch::new(Arc::clone(&handler), self.figures, Arc::clone(&engine), link);
        let gate = Gate::new(self.listener, Arc::clone(&mailbox), limits, dispatch)?;
        let gate = thread::Builder::new().name("gate".into()).spawn(move || gate.run())?;
        let pool = Arc::new(Pool {
            engine,
            mailbox: Arc::clone(&mailbox),
            handler,
            stopping: AtomicBool::new(false),
        });
        let workers = (0..workers.clamp(1, WORKERS_MAX))
            .map(|number| {
                let pool = Arc::clone(&pool);
                thread::Builder::new().name(format!("worker {number}")).spawn(move || pool.work())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Running { mailbox, gate, pool, workers })
    }
}

/// A server that accepts.
pub struct Running {
    mailbox: Arc<Mailbox>,
    gate: JoinHandle<()>,
    pool: Arc<Pool>,
    workers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Stops listening, has what was received handled and answered, and returns when that has been
    /// sent, or `within` has passed, as [`super::limits::STOP_WITHIN`].
    pub fn stop(self, within: Duration) {
        let Running { mailbox, gate, pool, workers } = self;
        mailbox.put(Mail::Stop { within });
        if gate.join().is_err() {
            log::error!("the gate panicked");
        }
        pool.stopping.store(true, SeqCst);
        for _ in &workers {
            pool.engine().unblock();
        }
        for worker in workers {
            if worker.join().is_err() {
                log::error!("a worker panicked");
            }
        }
    }
}

/// What workers share.
struct Pool {
    engine: Arc<RwLock<Arc<Engine>>>,
    mailbox: Arc<Mailbox>,
    handler: Arc<dyn Handler>,
    stopping: AtomicBool,
}

impl Pool {
    fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn work(&self) {
        loop {
            let engine = self.engine();
            match engine.recv() {
                Some((request, parcel)) => {
                    let Parcel { head, body, to, .. } = parcel;
                    let request = request.with_body(body);
                    let mailbox = Arc::clone(&self.mailbox);
                    let back = Back { mailbox, to, framing: head.framing };
                    self.handle(request, Answer::to(back));
                }
                None if self.stopping.load(SeqCst) => return,
                // Another engine has taken its place, or will when one can be had.
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn handle(&self, request: Request, answer: Answer) {
        // The answer was moved in; when it is dropped by the panic it says 500. Where it panicked is
        // told by the process's hook.
        if catch_unwind(AssertUnwindSafe(|| self.handler.handle(request, answer))).is_err() {
            log::error!("handling a request panicked; it was answered with 500");
        }
    }
}

/// Where this machine itself reaches what listens on `address`: one that means every address is not
/// one to connect to.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::super::limits::STOP_WITHIN;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    /// Says the path.
    struct Echo;

    impl Handler for Echo {
        fn handle(&self, request: Request, answer: Answer) {
            answer.send(&Response::new(200, "text/plain", request.path().to_owned().into_bytes()));
        }

        fn refuse(&self, _: Fault, _: Option<&Request>) -> Response {
            Response::new(400, "text/plain", b"refused".as_slice())
        }
    }

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// No head that passes should make it close the link; should one, another takes its place.
    #[test]
    fn an_engine_that_gives_up_is_replaced() {
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = server.local_addr();
        let (engine, mut link) = Engine::start().unwrap();
        link.spoil();
        let running = server.start_on(engine, link, 2, Limits::default(), Arc::new(Echo)).unwrap();
        for number in 0..20 {
            let path = format!("/{number}");
            let answer = ask(address, &path);
            // Those that were on their way when it gave up are refused.
            assert!(answer.ends_with(&path) || answer.ends_with("refused"), "{answer}");
        }
        for number in 0..20 {
            let path = format!("/{number}");
            assert!(ask(address, &path).ends_with(&path));
        }
        running.stop(STOP_WITHIN);
    }

    /// Panics wherever a path says so, in a worker or in another thread.
    struct Panicky;

    impl Handler for Panicky {
        fn handle(&self, request: Request, answer: Answer) {
            match request.path() {
                "/in-a-worker" => panic!("as a test"),
                "/elsewhere" => drop(thread::spawn(move || {
                    let _answer = answer;
                    panic!("as a test");
                })),
                _ => answer.send(&Response::new(200, "text/plain", b"well".as_slice())),
            }
        }

        fn refuse(&self, _: Fault, _: Option<&Request>) -> Response {
            panic!("as a test");
        }
    }

    /// The statuses of all answers to these bytes, in their order, until the connection is closed.
    fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("it is closed in good order");
        answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
    }

    #[test]
    fn a_panic_is_answered_and_costs_no_worker() {
        const WORKERS: usize = 2;
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (address, figures) = (server.local_addr(), server.figures());
        let running = server.start(WORKERS, Limits::default(), Arc::new(Panicky)).unwrap();
        let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..5 * WORKERS {
            let (worker, elsewhere) = (get("/in-a-worker"), get("/elsewhere"));
            let all = [worker, get("/"), elsewhere, get("/")].concat().repeat(WORKERS);
            assert_eq!(statuses(address, all.as_bytes()), [500, 200, 500, 200].repeat(WORKERS));
            // The gate is the only one that refuses, and goes on.
            assert_eq!(statuses(address, b"no request\r\n\r\n"), [500]);
        }
        assert_eq!((figures.under_way(), figures.requests()), (0, 40 * WORKERS as u64));
        running.stop(STOP_WITHIN);
        assert!(TcpStream::connect(address).is_err());
    }
}
