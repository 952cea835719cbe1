//! `log servers` and `log forget`: who follows the log of a stream.

use std::io::{self, Write};
use std::path::PathBuf;

use argh::FromArgs;

use super::log::{named, nats_options};
use super::{Exit, output_gone};
use crate::config::stream::Stream;

/// Shows the servers that follow a stream, and how far each has come.
#[derive(FromArgs)]
#[argh(subcommand, name = "servers")]
#[argh(note = "The options of NATS may come from the environment instead, as for serve.")]
pub(super) struct Servers {
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

    /// a JSON array instead of lines
    #[argh(switch)]
    json: bool,
}

/// Says that a server is gone for good: the stream doesn't wait for it any more. One that is there yet says so within the
/// hour.
#[derive(FromArgs)]
#[argh(subcommand, name = "forget")]
#[argh(note = "The options of NATS may come from the environment instead, as for serve.")]
pub(super) struct Forget {
    /// its id, as `log servers` shows it
    #[argh(positional)]
    id: String,

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
}

impl Servers {
    pub(super) fn run(self) -> Result<(), Exit> {
        let Servers { json, .. } = self;
        let stream = named(nats_options!(self))?;
        io::stdout().write_all(shown(stream, json)?.as_bytes()).or_else(output_gone)
    }
}

impl Forget {
    pub(super) fn run(self) -> Result<(), Exit> {
        let id = self.id;
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Exit::Usage(format!(
                "{id:?} is no server's id; `triggerly log servers` shows them"
            )));
        }
        let stream = named(nats_options!(self))?;
        if !forgotten(stream, &id)? {
            return Err(Exit::Failed(format!(
                "no server {id} follows the stream; `triggerly log servers` shows them"
            )));
        }
        writeln!(io::stdout(), "forgotten={id}").or_else(output_gone)
    }
}

#[cfg(feature = "jetstream")]
fn shown(stream: Stream, json: bool) -> Result<String, Exit> {
    use std::fmt::Write;

    use serde_json::json;

    use crate::app;
    use crate::jetstream::{JetStream, Roster};

    let Roster { end, servers } = JetStream::servers(stream).map_err(app::Error::JetStream)?;
    let behind = |at| end.saturating_sub(at);
    if json {
        let servers: Vec<_> = servers
            .iter()
            .map(|server| {
                json!({
                    "id": server.id, "host": server.host, "seq": server.seq, "behind": behind(server.at),
                    "format": server.format, "heard": server.heard.to_string(),
                })
            })
            .collect();
        return Ok(format!("{}\n", json!(servers)));
    }
    let mut text = String::new();
    for (number, server) in servers.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "id={}\nhost={}\nseq={}\nbehind={}\nformat={}\nheard={}\n",
            server.id,
            server.host,
            server.seq,
            behind(server.at),
            server.format,
            server.heard
        );
    }
    Ok(text)
}

#[cfg(not(feature = "jetstream"))]
fn shown(_: Stream, _: bool) -> Result<String, Exit> {
    Err(crate::app::Error::WithoutJetStream.into())
}

#[cfg(feature = "jetstream")]
fn forgotten(stream: Stream, id: &str) -> Result<bool, Exit> {
    let forgotten = crate::jetstream::JetStream::forget(stream, id.to_owned());
    forgotten.map_err(|error| crate::app::Error::JetStream(error).into())
}

#[cfg(not(feature = "jetstream"))]
fn forgotten(_: Stream, _: &str) -> Result<bool, Exit> {
    Err(crate::app::Error::WithoutJetStream.into())
}
