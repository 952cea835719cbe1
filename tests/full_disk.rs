//! A disk that is full, under the real binary: a small file system of each test's own, filled by the
//! server itself or by others, to the last byte.
//!
//! Promises that nothing is acknowledged that isn't kept, that nothing hangs, and that nothing has to
//! be mended by hand but the lack of room.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use support::connection::Connection;
use support::server::{triggerly, verb};
use support::small_disk::{SmallDisk, blocks};
use support::{Reply, Server};
use triggerly::model::record::Event;
use triggerly::model::{AccountId, AccountName, ApiToken, Date, SecretHash, Via};
use triggerly::store::{Done, Draft, Flush, Refusal, Store, Writer};

const MIB: u64 = 1 << 20;

/// How long what happens by itself may take.
const PATIENCE: Duration = Duration::from_secs(15);

const CONNECTIONS: u64 = 32;

/// A store on a small disk, and the server's log in a file elsewhere.
struct Small {
    disk: SmallDisk,
    logs: tempfile::TempDir,
    dir: PathBuf,
    reserve: &'static str,
    api_token: String,
    secret_key: String,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
}

impl Small {
    fn new(reserve: &'static str) -> Small {
        let disk = SmallDisk::new(64);
        Small {
            dir: disk.path().join("store"),
            disk,
            logs: tempfile::tempdir().expect("a folder"),
            reserve,
            api_token: String::new(),
            secret_key: String::new(),
            next: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        }
    }

    fn log(&self) -> PathBuf {
        self.logs.path().join("log")
    }

    fn logged(&self) -> String {
        fs::read_to_string(self.log()).expect("text")
    }

    fn serve(&mut self) -> Server {
        let mut command = triggerly();
        command.args(["serve", "--listen", "127.0.0.1:0", "--reserve", self.reserve, "--data"]);
        command.arg(&self.dir).stderr(File::create(self.log()).expect("a file"));
        let mut server = Server::run(command, &self.dir);
        if self.api_token.is_empty() {
            self.api_token.clone_from(&server.api_token);
            self.secret_key.clone_from(&server.secret_key);
        }
        server.api_token.clone_from(&self.api_token);
        server.secret_key.clone_from(&self.secret_key);
        server
    }

    /// Events and users from many connections until every one of them was refused or cut off; what
    /// each refusal was.
    fn load(&self, server: &Server) -> Vec<Reply> {
        let refusals = Mutex::new(Vec::new());
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Reading goes on meanwhile; it makes the engine write what it is asked for.
            let reader = scope.spawn(|| {
                while !over.load(SeqCst) {
                    if Connection::open(server.address)
                        .and_then(|mut connection| self.read_a_little(&mut connection))
                        .is_err()
                    {
                        return;
                    }
                }
            });
            let writers: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = Connection::open(server.address).expect("it listens");
                        for refused in 0.. {
                            match self.load_until_refused(server, &mut connection) {
                                Some(reply) => refusals.lock().unwrap().push(reply),
                                None => return,
                            }
                            if refused > 5 {
                                return;
                            }
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().expect("no panic");
            }
            over.store(true, SeqCst);
            reader.join().expect("no panic");
        });
        refusals.into_inner().unwrap()
    }

    fn read_a_little(&self, connection: &mut Connection) -> io::Result<()> {
        for target in ["/v1/users?limit=5", "/v1/events?limit=5", "/v1/events?order=asc&limit=5"] {
            let bearer = format!("Authorization: Bearer {}", self.secret_key);
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n"))?;
            connection.reply()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        Ok(())
    }

    fn load_until_refused(&self, server: &Server, connection: &mut Connection) -> Option<Reply> {
        loop {
            let n = self.next.fetch_add(1, SeqCst);
            let filling = format!("{n:08}").repeat(750);
            let target = if n.is_multiple_of(16) {
                server.target("users", &format!(r#"{{"id":"{}","x":"{filling}"}}"#, n % 320))
            } else {
                server.target("events", &format!(r#"{{"type":"t","n":{n},"x":"{filling}"}}"#))
            };
            let reply = connection.get(&target).ok()??;
            if reply.status != 200 {
                return Some(reply);
            }
            if !n.is_multiple_of(16) {
                self.acknowledged.lock().unwrap().insert(n);
            }
        }
    }

    /// Every event that was acknowledged is there.
    fn check(&self, server: &Server) {
        let stored: BTreeSet<u64> = server
            .all_events()
            .iter()
            .filter_map(|event| event["attributes"]["n"].as_u64())
            .collect();
        let acknowledged = self.acknowledged.lock().unwrap();
        let missing: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(missing.is_empty(), "{} of {}: {missing:?}", missing.len(), acknowledged.len());
        assert!(acknowledged.len() > 100, "that is no load: {}", acknowledged.len());
    }

    fn ballast(&self) -> u64 {
        blocks(&self.dir.join("ballast"))
    }
}

fn assert_storage_full(reply: &Reply) {
    assert_eq!((reply.status, reply.code().as_str()), (503, "storage_full"), "{reply:?}");
    assert!(reply.header("Retry-After").is_some());
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} doesn't come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn one_line(output: &Output) -> &str {
    let text = std::str::from_utf8(&output.stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end()
}

/// The last bytes of the disk are taken by others, again and again, while it runs and while it stands.
#[test]
fn a_disk_filled_under_load_refuses_tracking_and_nothing_else() {
    let mut small = Small::new("8M");
    let others = small.disk.fill("others", 44 * MIB);
    let mut server = small.serve();
    eventually("a ballast", || small.ballast() > 16 * MIB);
    let refusals = small.load(&server);
    assert!(refusals.len() as u64 >= CONNECTIONS);
    refusals.iter().for_each(assert_storage_full);
    let free = small.disk.free_bytes();
    assert!((4 * MIB..9 * MIB).contains(&free), "{free} bytes are free");
    assert_storage_full(&server.get("/healthz"));
    let image = server.get(&format!("{}&image=1", server.target("events", r#"{"type":"t"}"#)));
    assert_eq!((image.status, image.header("X-Triggerly-Error")), (503, Some("storage_full")));
    small.check(&server);
    assert_eq!(server.read("/v1/users?limit=1").status, 200);
    rotate(&mut small, &mut server);
    assert_eq!(small.logged().matches("tracking is refused").count(), 1, "{}", small.logged());

    assert_eq!(server.terminate().code(), Some(0));
    let mut server = small.serve();
    assert_storage_full(&server.get("/healthz"));
    small.check(&server);

    // While it runs, and while it doesn't.
    let filler = small.disk.fill("filler", 0);
    assert_eq!(small.disk.free_bytes(), 0);
    assert_storage_full(&server.get(&server.target("events", r#"{"type":"t"}"#)));
    small.check(&server);
    let output = verb(&small.dir, &["account", "rotate", "default"]);
    assert!(one_line(&output).contains("0 KiB free"), "{output:?}");
    assert_eq!(server.terminate().code(), Some(0));
    let more = small.disk.fill("more", 0);
    assert!(verb(&small.dir, &["stats"]).status.success(), "a verb can open it");
    let more_still = small.disk.fill("more still", 0);
    let mut server = small.serve();
    small.check(&server);
    rotate(&mut small, &mut server);

    // Room again, and no restart.
    assert_eq!(small.logged().matches("tracking is refused").count(), 1, "{}", small.logged());
    for file in [filler, more, more_still] {
        fs::remove_file(file).expect("it can be removed");
    }
    assert_storage_full(&server.get("/healthz"));
    fs::remove_file(others).expect("it can be removed");
    assert_eq!(server.get("/healthz").status, 200);
    server.track("events", r#"{"type":"t","n":1000000000}"#);
    small.acknowledged.lock().unwrap().insert(1_000_000_000);
    eventually("a ballast", || small.ballast() > 16 * MIB);
    small.check(&server);
    let logged = small.logged();
    assert_eq!(logged.matches("tracking is refused").count(), 1, "{logged}");
    assert_eq!(logged.matches("tracking is accepted").count(), 1, "{logged}");
    assert_eq!(server.terminate().code(), Some(0));
}

/// With no reserve the engine meets the end of the disk.
#[test]
fn an_engine_that_meets_the_end_of_the_disk_ends_the_process_and_loses_nothing() {
    let mut small = Small::new("0");
    let others = small.disk.fill("others", 44 * MIB);
    let mut server = small.serve();
    assert_eq!(small.ballast(), 0);
    let refusals = small.load(&server);
    for reply in refusals {
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(["storage_failed", "shutting_down"].contains(&&*reply.code()), "{reply:?}");
    }
    assert_eq!(server.wait().code(), Some(1));
    let logged = small.logged();
    let last = logged.lines().last().expect("a line");
    assert!(last.starts_with("triggerly: the disk that holds "), "{logged}");
    assert!(last.contains("make room, then start again"), "{logged}");
    assert!(!logged.contains("panicked"), "{logged}");

    // It opens as it is, or says why not.
    let output = verb(&small.dir, &["stats"]);
    if !output.status.success() {
        assert_eq!(output.status.code(), Some(1));
        assert!(one_line(&output).contains("is full ("), "{output:?}");
    }
    fs::remove_file(others).expect("it can be removed");
    let mut server = small.serve();
    small.check(&server);
    server.track("events", r#"{"type":"t"}"#);
    assert_eq!(server.terminate().code(), Some(0));
}

/// A store that was cut off, opened with all kinds of room: it opens or says why, and is whole.
#[test]
fn opening_with_little_room_works_or_says_why_and_harms_nothing() {
    let mut small = Small::new("8M");
    let mut server = small.serve();
    small.load(&server);
    server.kill();
    fs::remove_file(small.dir.join("ballast")).expect("there is one");
    let (mut opened, mut refused) = (0, 0);
    let whole = tempfile::tempdir().expect("a folder");
    copy(&small.dir, &whole.path().join("store"));
    for kib in [0, 64, 1024, 4096, 8192, 20480] {
        fs::remove_dir_all(&small.dir).expect("it can be removed");
        copy(&whole.path().join("store"), &small.dir);
        let filler = small.disk.fill("filler", kib * 1024);
        let output = verb(&small.dir, &["stats"]);
        if output.status.success() {
            opened += 1;
        } else {
            refused += 1;
            assert_eq!(output.status.code(), Some(1));
            assert!(one_line(&output).contains("is full ("), "{output:?}");
        }
        fs::remove_file(filler).expect("it can be removed");
        let mut server = small.serve();
        small.check(&server);
        server.kill();
        let _ = fs::remove_file(small.dir.join("ballast"));
    }
    assert!(opened > 0 && refused > 0, "{opened} {refused}");
}

fn copy(from: &Path, to: &Path) {
    let mut command = std::process::Command::new("cp");
    assert!(command.arg("-a").args([from, to]).status().expect("cp").success());
}

/// A verb that administers works, and works on what calls see.
fn rotate(small: &mut Small, server: &mut Server) {
    let output = verb(&small.dir, &["account", "rotate", "default", "--only", "secret"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let key = text.lines().find_map(|line| line.strip_prefix("secret_key=")).expect("a new key");
    assert_eq!(server.read("/v1/users?limit=1").status, 401);
    small.secret_key = key.to_owned();
    server.secret_key = key.to_owned();
    assert_eq!(server.read("/v1/users?limit=1").status, 200);
}

/// A flush that the test says how to fail.
struct Scripted(Box<dyn Fn() -> io::Result<()> + Send>);

impl Flush for Scripted {
    fn flush(&self) -> io::Result<()> {
        (self.0)()
    }
}

#[test]
fn a_flush_that_hangs_ends_the_process_where_the_disk_is_full_and_only_there() {
    let disk = SmallDisk::new(64);
    let store = Arc::new(Store::open(&disk.path().join("store")).expect("a store"));
    let (go, gate) = mpsc::channel::<()>();
    let hanging = Scripted(Box::new(move || gate.recv().map_err(io::Error::other)));
    let writer = Writer::start(Arc::clone(&store), Box::new(hanging)).expect("threads");
    let (tell, told) = mpsc::channel();
    store.on_fatal(move |why| tell.send(why.to_owned()).expect("the test waits"));
    let (done, outcome) = mpsc::channel();
    let draft = Draft::retention(AccountId(1), None, Date::from_millis(0));
    // An account that isn't there is refused without a flush; events are for anybody.
    assert!(matches!(writer.submit_and_wait(vec![draft]), Err(Refusal::NoAccount)));
    let event = Event {
        account: AccountId(1),
        via: Via::Public,
        kind: "t",
        user_id: None,
        date: Date::from_millis(0),
        attributes: "{}",
        context: None,
    };
    let draft = Draft::event(event, Date::from_millis(0));
    writer.submit(vec![draft], Done::new(move |outcome| done.send(outcome).expect("it waits")));
    assert!(told.recv_timeout(Duration::from_secs(12)).is_err(), "a slow disk is no full one");
    disk.fill("others", 0);
    let why = told.recv_timeout(PATIENCE).expect("somebody is told");
    assert!(why.contains("is full (0 KiB free)"), "{why}");
    assert!(store.failure().is_some());
    // Whoever asks later is told as well.
    let (tell, told) = mpsc::channel();
    store.on_fatal(move |why| tell.send(why.to_owned()).expect("the test waits"));
    assert_eq!(told.try_recv(), Ok(why));
    drop(go);
    assert!(matches!(outcome.recv_timeout(PATIENCE), Ok(Err(Refusal::Failed(_)))));
}

#[test]
fn what_fails_beside_room_is_no_full_disk() {
    let disk = SmallDisk::new(64);
    let store = Arc::new(Store::open(&disk.path().join("store")).expect("a store"));
    let failing = Scripted(Box::new(|| Err(io::Error::other("the medium is gone"))));
    let writer = Writer::start(Arc::clone(&store), Box::new(failing)).expect("threads");
    let (tell, told) = mpsc::channel();
    store.on_fatal(move |why| tell.send(why.to_owned()).expect("the test waits"));
    let (name, hash) = (AccountName::new("a").expect("a name"), SecretHash([0; 32]));
    let draft = Draft::account(name, ApiToken([0; 16]), hash, Date::from_millis(0));
    assert!(matches!(writer.submit_and_wait(vec![draft]), Err(Refusal::Failed(_))));
    assert!(told.try_recv().is_err(), "reading goes on");
    drop(writer);
    // The engine's end would write.
    std::mem::forget(store);
}
