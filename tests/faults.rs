//! What callers see when the disk fails or dawdles: the whole server in this process, over a
//! socket, with a flush that does what the test says.

mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{base64, escape, request};
use triggerly::api::{Api, Rooms};
use triggerly::asking::{Desk, Waiting};
use triggerly::client::Proxies;
use triggerly::commands::{self, Context, Imports};
use triggerly::door::Door;
use triggerly::http::limits::{PIPELINED_MAX, STOP_WITHIN};
use triggerly::http::{Limits, Running, Server};
use triggerly::jobs::Jobs;
use triggerly::public_url::Whereabouts;
use triggerly::rate;
use triggerly::refused::Refused;
use triggerly::store::{Flush, Order, QUEUE_SUBMISSIONS_MAX, Selection, Store, Writer};

type Script = Box<dyn Fn() -> io::Result<()> + Send>;

/// Does what the script says, then the real thing.
struct Scripted(Box<dyn Flush>, Script);

impl Flush for Scripted {
    fn flush(&self) -> io::Result<()> {
        (self.1)()?;
        self.0.flush()
    }
}

struct Whole {
    store: Arc<Store>,
    writer: Arc<Writer>,
    running: Option<Running>,
    address: SocketAddr,
    token: String,
    secret: String,
}

impl Whole {
    fn start(dir: &Path, script: impl Fn() -> io::Result<()> + Send + 'static) -> Whole {
        let store = Arc::new(Store::open(dir).unwrap());
        let flush = Box::new(Scripted(store.flusher(), Box::new(script)));
        let writer = Arc::new(Writer::start(Arc::clone(&store), flush).unwrap());
        let imports = Imports::default();
        let refused = Arc::new(Refused::open(store.dir()));
        let context = Context {
            store: &store,
            writer: &writer,
            imports: &imports,
            refused: &refused,
            whereabouts: &Whereabouts::default(),
        };
        let account = commands::add(&context, "default").unwrap();
        let jobs = Arc::new(Jobs::start().unwrap());
        let exports = Arc::new(Jobs::start_exports().unwrap());
        let stopping = Arc::new(AtomicBool::new(false));
        let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let api = Api::new(Rooms {
            store: Arc::clone(&store),
            writer: Arc::clone(&writer),
            desk: Desk { jobs, stopping },
            waiting: Arc::new(Waiting::start(&store).unwrap()),
            exports,
            figures: Arc::default(),
            refused,
            door: Arc::new(Door::new(
                Proxies::default(),
                rate::Limits { address: None, account: None },
                Arc::default(),
            )),
            transport: server.figures(),
        });
        let address = server.local_addr();
        let running = Some(server.start(2, Limits::default(), Arc::new(api)).unwrap());
        let secret = account.secret_key.unwrap();
        Whole { store, writer, running, address, token: account.api_token, secret }
    }

    fn target(&self, json: &str) -> String {
        let data = escape(&base64(json));
        format!("/v1/events/track?api_token={}&data={data}", self.token)
    }

    fn track(&self, json: &str) -> support::Reply {
        request(self.address, "GET", &self.target(json), &[])
    }

    fn events(&self) -> Vec<serde_json::Value> {
        let bearer = format!("Bearer {}", self.secret);
        let target = "/v1/events?order=asc&limit=1000";
        let reply = request(self.address, "GET", target, &[("Authorization", &bearer)]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["events"].as_array().unwrap().clone()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(STOP_WITHIN);
        }
        self.writer.close();
    }
}

#[test]
fn a_flush_that_fails_refuses_all_that_wait_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let fail = Arc::new(AtomicBool::new(false));
    let (waiting, fail_now) = (Arc::new(AtomicBool::new(false)), Arc::clone(&fail));
    let told = Arc::clone(&waiting);
    let whole = Arc::new(Whole::start(dir.path(), move || {
        if fail_now.load(SeqCst) {
            told.store(true, SeqCst);
            // Long enough for others to queue up behind.
            std::thread::sleep(Duration::from_millis(300));
            return Err(io::Error::other("the medium is gone"));
        }
        Ok(())
    }));
    assert_eq!(whole.track(r#"{"type":"safe"}"#).status, 200);
    assert_eq!(request(whole.address, "GET", "/healthz", &[]).status, 200);
    fail.store(true, SeqCst);
    let callers: Vec<_> = (0..20)
        .map(|i| {
            let whole = Arc::clone(&whole);
            std::thread::spawn(move || whole.track(&format!(r#"{{"type":"lost","i":{i}}}"#)))
        })
        .collect();
    for caller in callers {
        let reply = caller.join().unwrap();
        assert_eq!((reply.status, reply.code().as_str()), (503, "storage_failed"));
        assert!(reply.header("Retry-After").is_some());
        assert!(!reply.text().contains("medium"), "callers needn't know how");
    }
    assert!(waiting.load(SeqCst));
    let health = request(whole.address, "GET", "/healthz", &[]);
    assert_eq!((health.status, health.code().as_str()), (503, "storage_failed"));
    assert!(health.json()["detail"].as_str().unwrap().contains("the medium is gone"));
    // Once failed, a medium that says it is well again is not believed; reading goes on.
    fail.store(false, SeqCst);
    assert_eq!(whole.track(r#"{"type":"later"}"#).status, 503);
    let image = format!("{}&image=1", whole.target(r#"{"type":"pixel"}"#));
    let reply = request(whole.address, "GET", &image, &[]);
    assert_eq!((reply.status, reply.header("X-Triggerly-Error")), (503, Some("storage_failed")));
    let events = whole.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "safe");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The flush hangs for 2 s while far more calls come than may wait, on each connection more than may be
/// under way at once.
#[test]
fn a_flush_that_takes_two_seconds_makes_callers_wait_or_go_but_never_lies() {
    const CONNECTIONS: usize = QUEUE_SUBMISSIONS_MAX / PIPELINED_MAX + 64;
    const CALLS_EACH: usize = PIPELINED_MAX + 8;
    let dir = tempfile::tempdir().unwrap();
    let slow = Arc::new(AtomicBool::new(false));
    let slow_now = Arc::clone(&slow);
    let whole = Whole::start(dir.path(), move || {
        if slow_now.swap(false, SeqCst) {
            std::thread::sleep(Duration::from_secs(2));
        }
        Ok(())
    });
    slow.store(true, SeqCst);
    let began = Instant::now();
    let before = resident_bytes();
    let peak = AtomicU64::new(0);
    let acknowledged = Mutex::new(Vec::new());
    let overloaded = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (whole, acknowledged, overloaded, peak) =
                (&whole, &acknowledged, &overloaded, &peak);
            scope.spawn(move || {
                let mut stream = TcpStream::connect(whole.address).unwrap();
                let requests: String = (0..CALLS_EACH)
                    .map(|i| {
                        let json = format!(r#"{{"type":"{connection}-{i}"}}"#);
                        format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", whole.target(&json))
                    })
                    .collect();
                // So little that it fits on the way, read or not.
                stream.write_all(requests.as_bytes()).unwrap();
                let mut stream = io::BufReader::new(stream);
                for i in 0..CALLS_EACH {
                    match read_status(&mut stream) {
                        200 => acknowledged.lock().unwrap().push(format!("{connection}-{i}")),
                        503 => drop(overloaded.fetch_add(1, SeqCst)),
                        other => panic!("{other}"),
                    }
                    peak.fetch_max(resident_bytes(), SeqCst);
                }
            });
        }
    });
    assert!(began.elapsed() >= Duration::from_secs(2));
    let (accepted, refused) = (acknowledged.lock().unwrap().len() as u64, overloaded.load(SeqCst));
    assert_eq!(accepted + refused, (CONNECTIONS * CALLS_EACH) as u64, "each has an answer");
    assert!(accepted >= QUEUE_SUBMISSIONS_MAX as u64, "{accepted} waited and were accepted");
    assert!(refused > 0, "more came than may wait");
    let grown = peak.load(SeqCst).saturating_sub(before) >> 20;
    assert!(grown < 64, "{grown} MiB more while they waited");

    let mut stored = Vec::new();
    whole
        .store
        .select(&Selection::of(1..=u64::MAX), Order::Ascending, &mut |_, record| {
            if let triggerly::model::Change::Event(event) = record.change {
                stored.push(event.kind.to_owned());
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    let mut acknowledged = acknowledged.into_inner().unwrap();
    acknowledged.sort();
    stored.sort();
    assert_eq!(stored, acknowledged, "what got a 200 is there, and nothing else");
}

/// Reads one answer; its status.
fn read_status(stream: &mut impl io::BufRead) -> u16 {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    io::copy(&mut stream.take(length), &mut io::sink()).unwrap();
    status
}
