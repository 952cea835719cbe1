//! `log`: where the log of records is.

use std::io::{self, Write};
use std::path::PathBuf;

use argh::FromArgs;

use super::servers::{Forget, Servers};
use super::{Exit, data_dir, output_gone};
use crate::config::stream::{self, RawStream, Stream};

/// Moves the log of records between one machine and a stream that several share, and shows who follows that.
#[derive(FromArgs)]
#[argh(subcommand, name = "log")]
pub(super) struct Log {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Move(Move),
    Servers(Servers),
    Forget(Forget),
}

/// Moves the log onto a JetStream stream, which is made for it, or from there to this store alone. The server has to be
/// stopped; nothing is copied.
#[derive(FromArgs)]
#[argh(subcommand, name = "move")]
#[argh(
    note = "The options of NATS may come from the environment instead, as for serve.\nOther servers join the stream with a \
            backup of this store, taken afterwards."
)]
struct Move {
    /// where to: stream or here
    #[argh(option)]
    to: To,

    /// the NATS servers: nats://HOST:PORT,HOST:PORT
    #[argh(option)]
    log: Option<String>,

    /// the stream's name
    #[argh(option)]
    stream: Option<String>,

    /// a file with credentials for NATS, as nsc makes it
    #[argh(option)]
    nats_creds: Option<PathBuf>,

    /// a file with the certificates (PEM) of who may sign those of NATS, where the system's don't do
    #[argh(option)]
    nats_ca: Option<PathBuf>,

    /// a file with a certificate (PEM) to show to NATS
    #[argh(option)]
    nats_cert: Option<PathBuf>,

    /// a file with the key of --nats-cert
    #[argh(option)]
    nats_key: Option<PathBuf>,

    /// with --to here: the stream is lost; go on alone with what this store has, and ask nobody
    #[argh(switch)]
    stream_is_lost: bool,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Stream,
    Here,
}

impl std::str::FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<To, String> {
        match text {
            "stream" => Ok(To::Stream),
            "here" => Ok(To::Here),
            _ => Err(format!("the log goes to `stream` or `here`, not to {text:?}")),
        }
    }
}

/// The options of NATS that a verb was given: argh has no options that several verbs share.
macro_rules! nats_options {
    ($verb:ident) => {
        $crate::config::stream::RawStream {
            servers: $verb.log,
            stream: $verb.stream,
            stream_keep: None,
            nats_creds: $verb.nats_creds,
            nats_ca: $verb.nats_ca,
            nats_cert: $verb.nats_cert,
            nats_key: $verb.nats_key,
        }
    };
}
pub(super) use nats_options;

impl Log {
    pub(super) fn run(self) -> Result<(), Exit> {
        match self.verb {
            Verb::Move(verb) => verb.run(),
            Verb::Servers(verb) => verb.run(),
            Verb::Forget(verb) => verb.run(),
        }
    }
}

impl Move {
    fn run(self) -> Result<(), Exit> {
        let Move { to, stream_is_lost, .. } = self;
        if stream_is_lost && to != To::Here {
            return Err(Exit::Usage("--stream-is-lost goes with --to here".to_owned()));
        }
        let dir = data_dir(self.data);
        let stream = if stream_is_lost { None } else { Some(named(nats_options!(self))?) };
        let last_seq = moved(&dir, to, stream)?;
        let place = if to == To::Here { "here" } else { "stream" };
        writeln!(io::stdout(), "log={place}\nlast_seq={last_seq}").or_else(output_gone)
    }
}

/// The stream that is meant.
pub(super) fn named(raw: RawStream) -> Result<Stream, Exit> {
    let env = |name: &str| std::env::var_os(name);
    let from_env = || {
        let value = env("TRIGGERLY_LOG")?.into_string().ok()?;
        stream::is_engine(&value).then_some(value)
    };
    let raw = RawStream { servers: raw.servers.or_else(from_env), ..raw };
    raw.check(env)?.ok_or_else(|| {
        Exit::Usage("say where NATS is, by --log nats://HOST:PORT, and --stream NAME".to_owned())
    })
}

#[cfg(feature = "jetstream")]
fn moved(dir: &std::path::Path, to: To, stream: Option<Stream>) -> Result<u64, Exit> {
    use crate::moving;
    let moved = match (to, stream) {
        (To::Stream, Some(stream)) => moving::to_stream(dir, &stream),
        (_, stream) => moving::here(dir, stream.as_ref()),
    };
    moved.map_err(|error| Exit::Failed(error.to_string()))
}

#[cfg(not(feature = "jetstream"))]
fn moved(_: &std::path::Path, _: To, _: Option<Stream>) -> Result<u64, Exit> {
    Err(crate::app::Error::WithoutJetStream.into())
}
