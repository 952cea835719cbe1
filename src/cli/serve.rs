//! `serve`: runs the server until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::thread;

use argh::FromArgs;
use crossbeam_channel::bounded;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Exit, logging};
use crate::app::App;
use crate::config::RawConfig;
use crate::config::stream::RawStream;

/// Runs the server. The first run makes the account `default` and shows its token and key.
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
#[argh(
    note = "Each option may come from the environment instead, as TRIGGERLY_LISTEN for --listen."
)]
pub(super) struct Serve {
    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,

    /// the address and port to listen on; port 0 takes a free one (default: 127.0.0.1:8080)
    #[argh(option)]
    listen: Option<String>,

    /// threads that decode and check calls (default: half as many as there are cores)
    #[argh(option)]
    workers: Option<String>,

    /// what is logged to standard error: off, error, warn, info, debug or trace, with `,json`
    /// behind it for one JSON object a line (default: info); or, besides, where the log of records is that is shared with
    /// other servers: nats://HOST:PORT,HOST:PORT
    #[argh(option)]
    log: Vec<String>,

    #[argh(option)]
    /// the name of the JetStream stream that holds the log of records, with --log nats://...
    stream: Option<String>,

    #[argh(option)]
    /// how long the stream keeps what all servers have, as 7d or 12h, or `all` (default: 7d)
    stream_keep: Option<String>,

    #[argh(option)]
    /// a file with credentials for NATS, as nsc makes it
    nats_creds: Option<PathBuf>,

    #[argh(option)]
    /// a file with the certificates (PEM) of who may sign those of NATS, where the system's don't do
    nats_ca: Option<PathBuf>,

    #[argh(option)]
    /// a file with a certificate (PEM) to show to NATS
    nats_cert: Option<PathBuf>,

    #[argh(option)]
    /// a file with the key of --nats-cert
    nats_key: Option<PathBuf>,

    /// log a line for each request: method, path, status, code, bytes, milliseconds; no address and
    /// nothing that was sent
    #[argh(switch)]
    access_log: bool,

    /// what is to stay free on the disk, as 256M or 1G; with less, tracking is refused until there is
    /// room again; 0 for none (default: 256M)
    #[argh(option)]
    reserve: Option<String>,

    /// how long a request may take to come in, head and body, and a client to take some of an
    /// answer, as 10s or 500ms (default: 10s)
    #[argh(option)]
    request_timeout: Option<String>,

    /// how long a connection is kept between two requests (default: 60s)
    #[argh(option)]
    keep_alive: Option<String>,

    /// connections at a time; when there are more, those that have been quiet the longest make room
    /// (default: what there are file descriptors for, at most 16384)
    #[argh(option)]
    max_connections: Option<String>,

    /// connections of one address at a time (default: a quarter of all; without bound for addresses of
    /// this machine itself)
    #[argh(option)]
    max_per_address: Option<String>,

    /// calls a second that one address may make (IPv6: one /64) and, behind a comma, objects a second
    /// that one account takes, each with ten seconds' worth at once, or `off`; the machine itself
    /// has no limit (default: 100,5000)
    #[argh(option)]
    rate: Option<String>,

    /// a network or address of proxies that are believed when they say whose call it is, by
    /// X-Forwarded-For or Forwarded; may be given several times (default: none)
    #[argh(option)]
    trust_proxy: Vec<String>,

    /// where it is reached from outside, if that isn't the address it listens on: https://HOST or https://HOST/PATH
    #[argh(option)]
    public_url: Option<String>,
}

/// Why a server ends.
enum End {
    Signal(i32),
    Fatal(String),
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Exit> {
        let raw = RawConfig {
            data: self.data,
            listen: self.listen,
            workers: self.workers,
            log: self.log,
            stream: RawStream {
                servers: None,
                stream: self.stream,
                stream_keep: self.stream_keep,
                nats_creds: self.nats_creds,
                nats_ca: self.nats_ca,
                nats_cert: self.nats_cert,
                nats_key: self.nats_key,
            },
            access_log: self.access_log,
            reserve: self.reserve,
            request_timeout: self.request_timeout,
            keep_alive: self.keep_alive,
            max_connections: self.max_connections,
            max_per_address: self.max_per_address,
            rate: self.rate,
            trust_proxy: self.trust_proxy,
            public_url: self.public_url,
        };
        let config = raw.check(|name| std::env::var_os(name))?;
        logging::start(config.log);
        // From before anything is announced, so that a signal right behind it isn't lost.
        let mut signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Exit::Failed(format!("can't wait for signals: {error}")))?;
        let app = App::start(&config, &mut io::stdout().lock())?;
        let (end, ended) = bounded(2);
        let fatal = end.clone();
        app.on_fatal(move |why| drop(fatal.try_send(End::Fatal(why.to_owned()))));
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    let _ = end.try_send(End::Signal(signal));
                }
            })
            .map_err(|error| Exit::Failed(format!("can't wait for signals: {error}")))?;
        match ended.recv() {
            Ok(End::Fatal(why)) => {
                // Who waits is told that nothing of his is safe; that this may fail as well is known.
                let _ = app.stop();
                Err(Exit::Failed(why))
            }
            Ok(End::Signal(signal)) => {
                log::info!("stopping on signal {signal}");
                Ok(app.stop()?)
            }
            Err(_) => Ok(app.stop()?),
        }
    }
}
