//! The server as a whole: opens the rooms, joins their threads, shuts down in order.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::api::{Api, Rooms};
use crate::asking::{Desk, Waiting};
use crate::auth::attempts::Attempts;
use crate::calls::Figures;
use crate::clock;
use crate::commands::{self, Context, Failure, Imports};
use crate::config::Config;
use crate::config::stream::Stream;
use crate::context::Salts;
use crate::control;
use crate::door::Door;
use crate::front::Front;
use crate::heap;
use crate::http::limits::{CONNECTIONS_DEFAULT_MAX, DESCRIPTORS_APART, STOP_WITHIN};
use crate::http::{self, Limits, Running, Server};
use crate::jobs::{CLOSE_WITHIN, Jobs};
use crate::keeper::Keeper;
use crate::public_url::{PublicUrl, Whereabouts};
use crate::refused::{Refused, Saver};
use crate::store::{self, Belonging, Directory, SharedLog, Store, Writer};
use crate::ticker::Ticker;
use crate::web::{self, Web};

/// How long stopping may take: what is under way is answered and on disk long before, unless the
/// disk hangs.
pub const STOP_MAX: Duration = Duration::from_secs(10);

/// How long clients have to take their answers, at the end, if there are some who get none.
const LEFT_WITHIN: Duration = Duration::from_secs(1);

/// How long to wait for a directory that somebody holds without listening: a server that is starting
/// or stopping, or a command.
pub const BUSY_MAX: Duration = Duration::from_secs(10);

/// How long what is to be destroyed when a day ends may outlive it.
const TEND_EVERY: Duration = Duration::from_secs(30);

/// How long memory that is free may stay with the allocator. To give it back took 0.1 ms where nothing happens, and 2 ms
/// under load.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);

/// The account of the first run.
const FIRST_ACCOUNT: &str = "default";

/// What the pixel of the first run says.
const FIRST_EVENT: &str = r#"{"type":"page view"}"#;

/// Why a server doesn't start, or not end well.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is what it holds")]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    Command(#[from] Failure),
    #[error("can't listen for commands in {0}: {1}; is the directory on a disk that has sockets?")]
    Control(String, io::Error),
    #[error("can't start a thread: {0}; are there too many processes?")]
    Thread(io::Error),
    #[error(
        "this store shares its log with other servers by the stream {0}; serve it with --log nats://HOST:PORT --stream {0}, or \
         take it off by `triggerly log move`"
    )]
    Apart(String),
    #[error(
        "this store has records of its own; `triggerly log move` takes it onto a stream, and a new server begins with an \
         empty directory, or a backup of one that is on it"
    )]
    NotShared,
    #[cfg(feature = "jetstream")]
    #[error(transparent)]
    JetStream(#[from] crate::jetstream::Error),
    #[cfg(not(feature = "jetstream"))]
    #[error(
        "this triggerly was built without JetStream; build it by `cargo build --release --features jetstream`, or leave out \
         --log nats://..."
    )]
    WithoutJetStream,
    #[error("stopping failed or took longer than {} s; what was acknowledged is safe", STOP_MAX.as_secs())]
    Stuck,
}

/// An open store and its writer, without a server: what commands work on when no server runs.
pub struct Opened {
    /// To read.
    pub store: Arc<Store>,
    /// To change.
    pub writer: Arc<Writer>,
    /// The imports that are under way.
    pub imports: Arc<Imports>,
    /// The last refused calls.
    pub refused: Arc<Refused>,
    /// Where a server that has it is reached.
    pub whereabouts: Whereabouts,
}

impl Opened {
    /// Opens the store in a directory that the caller has locked.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn open(directory: Directory) -> Result<Opened, Error> {
        let store = Arc::new(Store::open_in(directory)?);
        Opened::with(store, None)
    }

    fn with(store: Arc<Store>, shared: Option<Box<dyn SharedLog>>) -> Result<Opened, Error> {
        let writer = Writer::sharing(Arc::clone(&store), store.flusher(), http::together, shared)
            .map_err(Error::Thread)?;
        let refused = Arc::new(Refused::open(store.dir()));
        Ok(Opened {
            store,
            writer: Arc::new(writer),
            imports: Arc::default(),
            refused,
            whereabouts: Whereabouts::default(),
        })
    }

    /// What commands need of it.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        let Opened { store, writer, imports, refused, whereabouts } = self;
        Context { store, writer, imports, refused, whereabouts }
    }

    /// Ends the writer and lets go of the store, unless it has failed: sled would try to write once
    /// more, and after a failed write that may never return.
    pub fn close(self) {
        self.writer.close();
        self.refused.save(clock::now());
        if self.store.failure().is_some() {
            std::mem::forget(self);
        }
    }
}

/// A server that runs.
pub struct App {
    opened: Opened,
    waiting: Arc<Waiting>,
    jobs: Arc<Jobs>,
    exports: Arc<Jobs>,
    passwords: Arc<Jobs>,
    running: Running,
    stopping: Arc<AtomicBool>,
    keeper: Keeper,
    saver: Saver,
    tickers: [Ticker; 2],
}

impl App {
    /// Starts it, and tells on `out` what a person or a script waits for: on the first run the
    /// account's credentials, and then where it listens.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn start(config: &Config, out: &mut dyn Write) -> Result<App, Error> {
        // The address first: an account whose key nobody was shown would be of no use.
        let directory = lock(&config.data)?;
        let server = Server::bind(config.listen)?;
        let store = Arc::new(Store::open_in(directory)?);
        let Shared { log, has_begun, salts } = share(&store, config.stream.as_ref())?;
        let mut opened = Opened::with(store, log)?;
        let listening = http::reachable(server.local_addr()).to_string();
        opened.whereabouts = Whereabouts {
            public_url: config.public_url.clone(),
            listening: PublicUrl::of_host(&listening, false),
        };
        opened.store.space().keep_free(config.reserve_bytes);
        opened.store.space().hold_ballast();
        // Where others have begun a log, the accounts come with it.
        if opened.store.accounts().is_empty() && !has_begun {
            match first_run(&opened.context(), out) {
                Err(Error::Command(Failure::Refused(why))) if config.stream.is_some() => {
                    log::info!("the first account is another server's: {why}");
                }
                result => result?,
            }
        }
        let whereabouts = opened.whereabouts.clone();
        control::listen(
            &opened.store,
            &opened.writer,
            &opened.imports,
            &opened.refused,
            whereabouts,
        )
        .map_err(|error| Error::Control(config.data.display().to_string(), error))?;
        let jobs = Arc::new(Jobs::start().map_err(Error::Thread)?);
        let exports = Arc::new(Jobs::start_exports().map_err(Error::Thread)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let door = Arc::new(Door::new(config.trust_proxy.clone(), config.rate, salts));
        let desk = Desk { jobs: Arc::clone(&jobs), stopping: Arc::clone(&stopping) };
        let waiting = Arc::new(Waiting::start(&opened.store).map_err(Error::Thread)?);
        let figures = Arc::new(Figures::default());
        let passwords = Arc::new(Jobs::start_passwords().map_err(Error::Thread)?);
        let web = Web::new(web::Rooms {
            store: Arc::clone(&opened.store),
            writer: Arc::clone(&opened.writer),
            desk: desk.clone(),
            passwords: Desk { jobs: Arc::clone(&passwords), stopping: Arc::clone(&stopping) },
            exports: Arc::clone(&exports),
            refused: Arc::clone(&opened.refused),
            figures: Arc::clone(&figures),
            door: Arc::clone(&door),
            attempts: Attempts::new(),
            public_url: config.public_url.clone(),
            address: server.local_addr(),
        });
        let api = Api::new(Rooms {
            store: Arc::clone(&opened.store),
            writer: Arc::clone(&opened.writer),
            desk,
            waiting: Arc::clone(&waiting),
            exports: Arc::clone(&exports),
            figures: Arc::clone(&figures),
            refused: Arc::clone(&opened.refused),
            door: Arc::clone(&door),
            transport: server.figures(),
        });
        let address = server.local_addr();
        let base = config.public_url.as_ref().map_or("", PublicUrl::base).to_owned();
        let front = Arc::new(Front { api: Arc::new(api), web, base });
        let running = server.start(config.workers, transport_limits(config), front)?;
        // Whoever reads this may be gone; that is no reason not to serve.
        let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
        log::info!("listening on http://{address}, data in {}", config.data.display());
        let keeper = Keeper::start(&opened.store, &opened.writer).map_err(Error::Thread)?;
        let saver = Saver::start(&opened.refused).map_err(Error::Thread)?;
        let tend = move || door.tend(clock::now());
        let tickers = [
            Ticker::start("door", TEND_EVERY, tend).map_err(Error::Thread)?,
            Ticker::start("heap", GIVE_BACK_EVERY, heap::give_back).map_err(Error::Thread)?,
        ];
        Ok(App {
            opened,
            waiting,
            jobs,
            exports,
            passwords,
            running,
            stopping,
            keeper,
            saver,
            tickers,
        })
    }

    /// Calls `tell` with the reason when it can't go on, as on a full disk: it is to be stopped then.
    pub fn on_fatal(&self, tell: impl FnOnce(&str) + Send + 'static) {
        self.opened.store.on_fatal(tell);
    }

    /// Ends it: takes no more, answers all that it took, and returns when that is on disk. Questions and exports
    /// that don't get on, for other programs keep the processors busy, are left after [`CLOSE_WITHIN`].
    ///
    /// # Errors
    /// [`Error::Stuck`] after [`STOP_MAX`].
    pub fn stop(self) -> Result<(), Error> {
        let App {
            opened,
            waiting,
            jobs,
            exports,
            passwords,
            running,
            stopping,
            keeper,
            saver,
            tickers,
        } = self;
        stopping.store(true, SeqCst);
        let began = Instant::now();
        let ending = thread::spawn(move || {
            control::unlink(opened.store.dir());
            keeper.stop();
            // Requests are taken till the end, to be told that the server is stopping.
            opened.writer.close();
            waiting.close();
            // They break off at the next row group or record. Where other programs keep the processors busy,
            // that may be long, and nothing depends on it.
            let until = Instant::now() + CLOSE_WITHIN;
            let [answered, exported, checked] =
                [&jobs, &exports, &passwords].map(|jobs| jobs.close(until));
            if !(answered && checked) {
                log::warn!("questions are left unanswered: their threads get no processor");
            }
            running.stop(if answered && exported && checked { STOP_WITHIN } else { LEFT_WITHIN });
            saver.stop();
            tickers.into_iter().for_each(Ticker::stop);
            opened.close();
        });
        while !ending.is_finished() {
            if began.elapsed() > STOP_MAX {
                return Err(Error::Stuck);
            }
            thread::sleep(Duration::from_millis(5));
        }
        if ending.join().is_err() {
            return Err(Error::Stuck);
        }
        log::info!("stopped after {:?}", began.elapsed());
        Ok(())
    }
}

/// How much the transport may take: as many connections as there are descriptors for, which are as many
/// as the system lets this process have.
fn transport_limits(config: &Config) -> Limits {
    let descriptors = {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // It may stay as it was; then there are fewer.
        let _ = setrlimit(Resource::Nofile, limit);
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    };
    let room = descriptors.saturating_sub(DESCRIPTORS_APART).max(DESCRIPTORS_APART / 4);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let connections_max = config.max_connections.map_or_else(
        || room.min(CONNECTIONS_DEFAULT_MAX),
        |wanted| {
            if wanted > room {
                log::warn!(
                    "--max-connections {wanted} is more than there are file descriptors for: {room} \
                     (the limit of {descriptors} less {DESCRIPTORS_APART} for the store); raise it \
                     (LimitNOFILE= of systemd, ulimit -n)"
                );
            }
            wanted.min(room)
        },
    );
    let (is_given, proxies) = (config.max_per_address.is_some(), config.trust_proxy.clone());
    Limits {
        request_timeout: config.request_timeout,
        keep_alive: config.keep_alive,
        connections_max,
        address_connections_max: config.max_per_address.unwrap_or(connections_max.div_ceil(4)),
        // A proxy on this machine, mostly, or one that is named.
        unbounded: Arc::new(move |address| {
            proxies.trust(address) || (address.is_loopback() && !is_given)
        }),
    }
}

/// What a server has in common with others.
#[derive(Default)]
struct Shared {
    log: Option<Box<dyn SharedLog>>,
    /// Whether the log holds something.
    has_begun: bool,
    salts: Arc<Salts>,
}

/// Joins a store to the log that it shares with others, if that is what is asked for.
#[cfg(feature = "jetstream")]
fn share(store: &Store, stream: Option<&Stream>) -> Result<Shared, Error> {
    use crate::jetstream::{JetStream, Store as Joining};
    let belonging = store.belonging()?;
    let Some(stream) = stream else { return alone(belonging) };
    let (known, next_seq) = (belonging.map(|to| to.id), store.last_seq() + 1);
    if known.is_none() && next_seq > 1 {
        return Err(Error::NotShared);
    }
    let joining = Joining { known, next_seq, from: store.place()?.0 };
    let (engine, joined) = JetStream::join(stream.clone(), joining, store.server_id()?)?;
    if known.is_none() {
        store.belong(Some(&Belonging { id: joined.id, name: stream.name.clone() }))?;
    }
    log::info!("the log is the stream {}", stream.name);
    let (has_begun, salts) = (joined.has_begun, engine.salts());
    Ok(Shared { log: Some(Box::new(engine)), has_begun, salts })
}

#[cfg(not(feature = "jetstream"))]
fn share(store: &Store, stream: Option<&Stream>) -> Result<Shared, Error> {
    match stream {
        Some(_) => Err(Error::WithoutJetStream),
        None => alone(store.belonging()?),
    }
}

/// A store without other servers.
fn alone(belonging: Option<Belonging>) -> Result<Shared, Error> {
    match belonging {
        Some(Belonging { name, .. }) => Err(Error::Apart(name)),
        None => Ok(Shared::default()),
    }
}

/// Takes the directory, waiting for a command that is at work in it, but not for a server.
fn lock(dir: &Path) -> Result<Directory, store::Error> {
    let began = Instant::now();
    loop {
        match Directory::lock(dir) {
            Err(store::Error::Locked(_))
                if began.elapsed() < BUSY_MAX && !control::is_served(dir) =>
            {
                thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// Makes the first account, and shows what to do with it.
fn first_run(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Error> {
    let Whereabouts { public_url, listening } = context.whereabouts;
    let nowhere = || Failure::Refused("where it listens is no address".to_owned());
    let reached = public_url.as_ref().or(listening.as_ref()).ok_or_else(nowhere)?;
    let account = commands::add(context, FIRST_ACCOUNT)?;
    let link = commands::link(context, Some(FIRST_ACCOUNT), reached);
    let token = &account.api_token;
    let data = STANDARD.encode(FIRST_EVENT);
    let shown = account.write(false, out).and_then(|()| {
        match &link {
            Ok(link) => writeln!(out, "web={link}")?,
            // The account is there, and its key has to be shown.
            Err(error) => log::warn!("no link could be made: {error}; `triggerly web link` does"),
        }
        writeln!(
            out,
            "<img src=\"{reached}/v1/events/track?api_token={token}&amp;data={data}&amp;image=1\" \
             width=\"1\" height=\"1\" alt=\"\">"
        )?;
        writeln!(
            out,
            "curl -G '{reached}/v1/events/track' --data-urlencode 'api_token={token}' \
             --data-urlencode 'data={data}'"
        )?;
        out.flush()?;
        Ok(())
    });
    if shown.is_err() {
        // Nobody has seen the key, and nobody can be shown it again.
        log::warn!(
            "the first account's key could not be shown; `triggerly account rotate default` makes another"
        );
    }
    Ok(())
}
