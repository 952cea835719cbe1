//! A shared log on NATS JetStream: a stream, kept by a quorum of NATS servers, in which each message is a group of
//! records.
//!
//! ```text
//! committer ──offer──> publish ──> stream ──consumer──> follow ──arrival──> committer
//!                         └────────reply───────────────────────────────────────┘
//! ```
//! Everything asynchronous is in here, on one thread behind two bounded channels. Knows NATS and the seam of the store
//! ([`crate::store::SharedLog`]); must not know what records say, nor HTTP.
//!
//! # What is in the stream
//! Stream `NAME` has the subject `triggerly.NAME.0.log`; 0 is the shard, of which there is one yet. A message has headers
//! (see `message`) and, as its body, batches exactly as they lie in a store's own log. A group that is larger than NATS
//! takes at once comes in parts, among which others may come.
//!
//! Two small streams are beside it: `NAME-servers` has how far each server has come, so that what they all have may go
//! (see `roster`, `trim`), and `NAME-salts`, in memory alone, the salt of the day (see `salt`).
//!
//! # Why an acknowledgement is true
//! JetStream acknowledges a message when a quorum of the stream's replicas has it. Whether its group counts follows from
//! where it is (see [`crate::store::SharedLog`]): right behind the place that it was put together for, it does; else what
//! came between tells.
//!
//! # What was measured of nats-server 2.9, and what follows
//! - It can be told to refuse a message (`Nats-Expected-Last-Sequence`, `Nats-Msg-Id`), and counts on each replica how many
//!   it has refused. Where many are, as when servers contend, a leader that is elected anew took no message for 5 to more
//!   than 30 s ("high message lag"). So nothing is left to it to be refused.
//! - A leader that was cut off from the others kept in its stream, for good, what it had been sent meanwhile and never agreed
//!   on with them. So nothing is published to find out whether it is taken, nor again without looking (`watch`); groups say
//!   behind which they were put together; and where reading begins anew, what comes is compared with what the leader has
//!   (`follow`). It happened all the same, in 5 of some 180 faults at random; in 100 with 2.10.27 and
//!   100 with 2.15.1 it did not (`SOUND_FROM`).

mod beside;
mod follow;
mod id;
mod message;
mod offer;
mod roster;
mod salt;
mod stream;
mod trim;
mod watch;

pub use roster::Follower;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::{Notify, mpsc, watch as latest};

use crate::config::stream::Stream;
use crate::context::Salts;
use crate::model::Seq;
use crate::store::{Arrival, LogId, Offer, Place, Position, SharedLog};

/// Groups that may wait to be applied; with [`crate::store::SUBMISSION_BYTES_MAX`] each, and mostly a thousandth of it.
const ARRIVALS_MAX: usize = 64;

/// Offers that may wait. The committer makes one at a time.
const OFFERS_MAX: usize = 4;

/// How long NATS may take to answer, before it is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How often a connection that is quiet is tried. One that gives no sign for two of these is given up for another.
const PING_EVERY: Duration = Duration::from_secs(1);

/// How long to wait for the first connection, where a server can't do without.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// Before something is tried once more.
const AGAIN: Duration = Duration::from_millis(200);

/// How a full queue of arrivals is looked at again.
const FULL_EVERY: Duration = Duration::from_millis(1);

/// The first nats-server of which no two were seen to hold something else.
const SOUND_FROM: (i64, i64, i64) = (2, 10, 27);

/// Why there is no shared log, for the person who runs it.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is what it holds")]
pub enum Error {
    #[error(
        "can't reach the stream {stream} at {servers}: {why}; are the NATS servers up, with JetStream, and two of three of them at the least?"
    )]
    Unreachable { servers: String, stream: String, why: String },
    #[error("the stream {stream} can't be used: {why}")]
    Unfit { stream: String, why: String },
    #[error("can't use {0}: {1}")]
    File(PathBuf, String),
    #[error("can't start the thread that speaks to NATS: {0}")]
    Thread(String),
}

/// A connection to a stream, and the thread that has it.
pub struct JetStream {
    offers: mpsc::Sender<Offer>,
    arrivals: Receiver<Arrival>,
    applied: Arc<Applied>,
    doubt: Arc<Notify>,
    salts: Arc<Salts>,
    /// Gone, it ends the thread.
    _stop: latest::Sender<()>,
}

/// What is to be known of a store that joins.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// The log that it belongs to, if it has joined before.
    pub known: Option<LogId>,
    /// Its next `seq`.
    pub next_seq: Seq,
    /// A place up to which it has everything.
    pub from: Place,
}

/// What is known of a log when a store has joined it.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// Which log it is.
    pub id: LogId,
    /// Whether it holds anything.
    pub has_begun: bool,
}

/// How far the store has come.
#[derive(Default)]
struct Applied {
    at: AtomicU64,
    seq: AtomicU64,
}

impl Applied {
    fn note(&self, at: Position, last_seq: Seq) {
        self.at.store(at, SeqCst);
        self.seq.store(last_seq, SeqCst);
    }

    fn at(&self) -> Position {
        self.at.load(SeqCst)
    }

    fn seq(&self) -> Seq {
        self.seq.load(SeqCst)
    }
}

/// What the thread shares with the rest of the process, and what this server is called.
struct Server {
    own: roster::Own,
    applied: Arc<Applied>,
    doubt: Arc<Notify>,
    salts: Arc<Salts>,
}

/// Servers that follow a log, as `triggerly log servers` shows them.
#[derive(Clone, Debug)]
pub struct Roster {
    /// How far the log reaches.
    pub end: Position,
    /// All that are known, by their ids.
    pub servers: Vec<Follower>,
}

/// What all of the thread's tasks have in common.
#[derive(Clone)]
struct Line {
    context: Context,
    options: Arc<Stream>,
    arrivals: Sender<Arrival>,
    /// How far it was read.
    read: Arc<AtomicU64>,
    /// There is something to read it with.
    is_reading: Arc<AtomicBool>,
    /// The connection is another one.
    reconnected: Arc<Notify>,
}

impl Line {
    /// Hands something to the committer, in order, waiting for it if need be; whether it is still there.
    async fn tell(&self, arrival: Arrival) -> bool {
        let mut arrival = arrival;
        loop {
            match self.arrivals.try_send(arrival) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => {
                    arrival = back;
                    tokio::time::sleep(FULL_EVERY).await;
                }
            }
        }
    }

    fn unfit(&self, why: impl Into<String>) -> Error {
        Error::Unfit { stream: self.options.name.clone(), why: why.into() }
    }

    fn unreachable(&self, why: impl ToString) -> Error {
        unreachable(&self.options, why)
    }
}

impl JetStream {
    /// Joins a store to its stream. Where it knows its log, NATS need not be reached for that at once; where it doesn't, the
    /// stream is made if there is none, and the log is what comes with it. To the others, this server is `server`.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn join(
        options: Stream,
        store: Store,
        server: String,
    ) -> Result<(JetStream, Joined), Error> {
        let (tell, told) = bounded(1);
        let (arrived, arrivals) = bounded(ARRIVALS_MAX);
        let (offers, to_offer) = mpsc::channel(OFFERS_MAX);
        let (stop, mut stopped) = latest::channel(());
        let (applied, doubt) = (Arc::new(Applied::default()), Arc::new(Notify::new()));
        let salts = Arc::new(Salts::agreed());
        let why = format!("there was no answer within {} s", FIRST_WITHIN.as_secs());
        let unreachable = unreachable(&options, why);
        let options = Arc::new(options);
        let server = Server {
            own: roster::Own::new(server),
            applied: Arc::clone(&applied),
            doubt: Arc::clone(&doubt),
            salts: Arc::clone(&salts),
        };
        thread(move || async move {
            let work = run(options, store, server, arrived, to_offer, tell);
            tokio::select! {
                () = work => {}
                _ = stopped.changed() => {}
            }
        })?;
        let joined = match told.recv_timeout(FIRST_WITHIN) {
            Ok(joined) => joined?,
            // It goes on trying, and meanwhile what is there can be read.
            Err(_) => Joined { id: store.known.ok_or(unreachable)?, has_begun: true },
        };
        Ok((JetStream { offers, arrivals, applied, doubt, salts, _stop: stop }, joined))
    }

    /// The salts that its servers agree on.
    #[must_use]
    pub fn salts(&self) -> Arc<Salts> {
        Arc::clone(&self.salts)
    }

    /// Makes a stream for the log of this id, which goes on with `next_seq`. Done again, it does nothing more.
    ///
    /// # Errors
    /// [`Error`], also if there is another stream of this name already.
    pub fn found(options: Stream, id: LogId, next_seq: Seq) -> Result<(), Error> {
        once(options, async move |line| stream::found(&line, id, next_seq).await)
    }

    /// The servers that follow a stream's log.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn servers(options: Stream) -> Result<Roster, Error> {
        once(options, async move |line| {
            until_reached(async || {
                let (log, stream) = stream::look(&line).await?;
                let end = stream.cached_info().state.last_sequence;
                Ok(Roster { end, servers: roster::all(&line, log).await? })
            })
            .await
        })
    }

    /// Takes a server off those that a stream waits for, by its id; whether it was among them. If it is there yet, it says so
    /// within the hour.
    ///
    /// # Errors
    /// [`Error`], ready to be shown to a person.
    pub fn forget(options: Stream, id: String) -> Result<bool, Error> {
        once(options, async move |line| {
            until_reached(async || {
                stream::look(&line).await?;
                roster::forget(&line, &id).await
            })
            .await
        })
    }

    /// Ends a stream's log behind the last record of a store: nobody adds anything from then on.
    ///
    /// # Errors
    /// [`Error`], also if the log goes on behind that record, or isn't that of the store.
    pub fn leave(options: Stream, store: Store) -> Result<(), Error> {
        once(options, async move |line| stream::leave(&line, &store).await)
    }
}

impl SharedLog for JetStream {
    fn arrivals(&self) -> &Receiver<Arrival> {
        &self.arrivals
    }

    fn offer(&self, offer: Offer) {
        // Dropped, its reply says enough.
        let _ = self.offers.try_send(offer);
    }

    fn probe(&self) {
        self.doubt.notify_one();
    }

    fn applied(&self, at: Position, last_seq: Seq) {
        self.applied.note(at, last_seq);
    }
}

fn unreachable(options: &Stream, why: impl ToString) -> Error {
    let (servers, stream) = (options.shown(), options.name.clone());
    Error::Unreachable { servers, stream, why: why.to_string() }
}

/// What runs asynchronous work on the thread that asks.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Thread(error.to_string()))
}

/// Runs something asynchronous on a thread of its own.
fn thread<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> Result<(), Error> {
    let runtime = runtime()?;
    std::thread::Builder::new()
        .name("nats".into())
        .spawn(move || runtime.block_on(work()))
        .map(drop)
        .map_err(|error| Error::Thread(error.to_string()))
}

/// Does one thing with a stream, and lets go of it.
fn once<T: Send + 'static>(
    options: Stream,
    work: impl AsyncFnOnce(Line) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let runtime = runtime()?;
    let (arrived, _) = bounded(1);
    runtime.block_on(async move {
        let options = Arc::new(options);
        let line = connect(&options, arrived).await?;
        let unreachable = line.unreachable("there was no answer in time");
        tokio::time::timeout(FIRST_WITHIN, work(line)).await.unwrap_or(Err(unreachable))
    })
}

/// Does it again until NATS is reached.
async fn until_reached<T>(work: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match work().await {
            Err(Error::Unreachable { .. }) => tokio::time::sleep(AGAIN).await,
            result => return result,
        }
    }
}

/// Connects; without an error also where nobody can be reached yet.
async fn connect(options: &Arc<Stream>, arrivals: Sender<Arrival>) -> Result<Line, Error> {
    let (read, is_reading, reconnected) = (Arc::default(), Arc::default(), Arc::new(Notify::new()));
    let told = Arc::clone(&reconnected);
    let mut connect = ConnectOptions::new()
        .name("triggerly")
        .retry_on_initial_connect()
        .ping_interval(PING_EVERY)
        .connection_timeout(ANSWER_MAX)
        .request_timeout(Some(ANSWER_MAX))
        .reconnect_delay_callback(|tries| AGAIN * u32::try_from(tries.min(5)).unwrap_or(5))
        .event_callback(move |event| {
            let told = Arc::clone(&told);
            async move {
                match event {
                    async_nats::Event::Connected => told.notify_waiters(),
                    async_nats::Event::Disconnected => log::info!("NATS: disconnected"),
                    other => log::warn!("NATS: {other}"),
                }
            }
        });
    let Stream { servers, credentials, authorities, certificate, .. } = options.as_ref();
    if let Some(path) = credentials {
        let read = connect.credentials_file(path).await;
        connect = read.map_err(|error| Error::File(path.clone(), error.to_string()))?;
    }
    if let Some(path) = authorities {
        connect = connect.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = certificate {
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    let client = connect.connect(servers.as_slice()).await;
    let client = client.map_err(|error| unreachable(options, error))?;
    let context = ContextBuilder::new().timeout(ANSWER_MAX).ack_timeout(ANSWER_MAX).build(client);
    let options = Arc::clone(options);
    Ok(Line { context, options, arrivals, read, is_reading, reconnected })
}

/// Joins a store to its log, and says so to the others before anything is read: what it lacks stays from then on.
async fn join(line: &Line, store: &Store, server: &Server) -> Result<stream::Found, Error> {
    let found = stream::join(line, store).await?;
    let (at, last_seq) = (store.from.at, store.next_seq - 1);
    server.applied.note(at, last_seq);
    roster::say(line, &server.own, found.id, at, last_seq).await?;
    // The very first time there are streams to be made, and nobody calls yet.
    if store.known.is_some() {
        salt::first(line, &server.salts).await;
    }
    Ok(found)
}

/// Joins, and then does all there is to do until it is told to stop.
async fn run(
    options: Arc<Stream>,
    store: Store,
    server: Server,
    arrivals: Sender<Arrival>,
    mut to_offer: mpsc::Receiver<Offer>,
    tell: Sender<Result<Joined, Error>>,
) {
    let line = match connect(&options, arrivals).await {
        Ok(line) => line,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let found = loop {
        match join(&line, &store, &server).await {
            Ok(found) => break found,
            Err(unfit @ (Error::Unfit { .. } | Error::File(..) | Error::Thread(_))) => {
                // Who waits is told; later on, whoever commits.
                let why = unfit.to_string();
                let _ = tell.try_send(Err(unfit));
                line.tell(Arrival::Ended(why)).await;
                return;
            }
            Err(unreachable) => {
                line.tell(Arrival::Trouble(Some(unreachable.to_string()))).await;
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let (major, minor, patch) = SOUND_FROM;
    if !line.context.client().is_server_compatible(major, minor, patch) {
        log::warn!(
            "nats-server {} can lose what it has acknowledged when its servers are cut off from each other; use {major}.{minor}.{patch} or \
             a later one (see \"When NATS servers disagree\" of the README)",
            line.context.client().server_info().version
        );
    }
    line.tell(Arrival::Trouble(None)).await;
    line.tell(Arrival::Joined { from: store.from, end: found.end }).await;
    let _ = tell.try_send(Ok(Joined { id: found.id, has_begun: found.end > 0 }));
    let offering = async {
        let mut last: Option<tokio::task::JoinHandle<()>> = None;
        while let Some(offer) = to_offer.recv().await {
            // Whoever offers another has given up the one before, or knows what became of it.
            if let Some(last) = last.take() {
                last.abort();
            }
            last = Some(tokio::spawn(offer::make(line.clone(), offer)));
        }
    };
    let Server { own, applied, doubt, salts } = &server;
    tokio::join!(
        offering,
        follow::run(&line, store.from),
        watch::run(&line, doubt),
        salt::run(&line, salts),
        roster::run(&line, own, found.id, applied),
        trim::run(&line, found.id),
    );
}
