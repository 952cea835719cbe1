//! Who follows a log: each server says how far it has come, so that the stream keeps what any of them lacks.
//!
//! A second stream, `NAME-servers`, has the last word of each: `triggerly.NAME.server.ID`. Who is gone for good stays in
//! it, and holds the stream's trimming back, until somebody says so ([`forget`]).

use std::time::Duration;

use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::Stream;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Applied, Error, Line, beside, id, offer};
use crate::clock;
use crate::model::{Date, Seq};
use crate::store::{LogId, Position, SHARED_FORMAT_VERSION};

/// How often a server says how far it has come, if it has come further.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// How often it says so anyway.
const SAY_AT_LEAST_EVERY: Duration = Duration::from_secs(60 * 60);

/// Servers that are looked at, more than anybody runs.
const SERVERS_MAX: usize = 1000;

/// Bytes of the name of a host.
const HOST_BYTES_MAX: usize = 255;

/// A server, as it says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Word {
    id: String,
    host: String,
    /// Which log it follows: another may have had the stream's name before.
    log: String,
    at: Position,
    seq: Seq,
    format: u32,
    time: String,
}

/// A server that follows a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The machine's name.
    pub host: String,
    /// The last place in the stream that it has on its disk.
    pub at: Position,
    /// Its last record.
    pub seq: Seq,
    /// The newest format of records that it knows.
    pub format: u32,
    /// When it last said so, by NATS's clock.
    pub heard: Date,
}

/// What this server is called.
#[derive(Clone, Debug)]
pub struct Own {
    id: String,
    host: String,
}

impl Own {
    /// With the id that is in its directory, and the machine's name.
    pub fn new(id: String) -> Own {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).collect();
        Own { id, host: host.chars().take(HOST_BYTES_MAX).collect() }
    }
}

/// Says where this server stands.
pub async fn say(line: &Line, own: &Own, log: LogId, at: Position, seq: Seq) -> Result<(), Error> {
    stream(line).await?;
    publish(line, own, log, at, seq).await
}

async fn publish(line: &Line, own: &Own, log: LogId, at: Position, seq: Seq) -> Result<(), Error> {
    let word = Word {
        id: own.id.clone(),
        host: own.host.clone(),
        log: id::hex(&log.0),
        at,
        seq,
        format: SHARED_FORMAT_VERSION,
        time: clock::now().to_string(),
    };
    let body = serde_json::to_vec(&word).map_err(|error| line.unreachable(error))?;
    let message = PublishMessage::build().payload(body.into());
    let sent = offer::send_to(line, subject(&line.options.name, &own.id), message).await;
    sent.map(drop).map_err(|error| line.unreachable(offer::explain(&error)))
}

/// Goes on saying how far it has come, until it is dropped. The place it begins at was said.
pub async fn run(line: &Line, own: &Own, log: LogId, applied: &Applied) {
    let (mut said, mut since) = (applied.at(), Instant::now());
    loop {
        sleep(SAY_EVERY).await;
        let at = applied.at();
        if at == said && since.elapsed() < SAY_AT_LEAST_EVERY {
            continue;
        }
        match publish(line, own, log, at, applied.seq()).await {
            Ok(()) => (said, since) = (at, Instant::now()),
            Err(error) => log::debug!("how far this server has come could not be said: {error}"),
        }
    }
}

/// All that follow a log, as far as is known, by their ids.
pub async fn all(line: &Line, log: LogId) -> Result<Vec<Follower>, Error> {
    let stream = stream(line).await?;
    let found = stream.info_with_subjects(subject(&line.options.name, "*")).await;
    let mut found = found.map_err(|error| line.unreachable(error))?;
    let mut all = Vec::new();
    while let Some((subject, _)) =
        found.try_next().await.map_err(|error| line.unreachable(error))?
    {
        if all.len() == SERVERS_MAX {
            return Err(
                line.unfit(format!("more than {SERVERS_MAX} servers are said to follow it"))
            );
        }
        let message = beside::last(line, &stream, &subject).await?;
        all.extend(message.and_then(|message| read(&message, log)));
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(all)
}

/// Takes a server off; whether it was there.
pub async fn forget(line: &Line, id: &str) -> Result<bool, Error> {
    let stream = stream(line).await?;
    let purged = stream.purge().filter(subject(&line.options.name, id)).await;
    purged.map(|purged| purged.purged > 0).map_err(|error| line.unreachable(error))
}

/// What a message says, if it is of a server of this log.
fn read(message: &StreamMessage, log: LogId) -> Option<Follower> {
    let word: Word = serde_json::from_slice(&message.payload).ok()?;
    let is_its = message.subject.ends_with(&format!(".{}", word.id));
    (is_its && word.log == id::hex(&log.0)).then(|| Follower {
        id: word.id,
        host: word.host.chars().filter(|c| !c.is_control()).take(HOST_BYTES_MAX).collect(),
        at: word.at,
        seq: word.seq,
        format: word.format,
        heard: super::stream::time(message),
    })
}

/// Where a server says how far it has come.
fn subject(stream: &str, id: &str) -> String {
    format!("triggerly.{stream}.server.{id}")
}

async fn stream(line: &Line) -> Result<Stream, Error> {
    let name = &line.options.name;
    beside::open(line, beside::config(format!("{name}-servers"), subject(name, "*"))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId([7; 16]);

    fn message(subject: &str, body: &str) -> StreamMessage {
        StreamMessage {
            subject: subject.into(),
            sequence: 1,
            headers: async_nats::HeaderMap::new(),
            payload: body.to_owned().into(),
            time: std::time::SystemTime::UNIX_EPOCH.into(),
        }
    }

    #[test]
    fn what_a_server_says_is_read_if_it_is_of_this_log() {
        let (id, log) = ("0a".repeat(16), id::hex(&LOG.0));
        let subject = subject("site", &id);
        let word = |log: &str| {
            format!(
                r#"{{"id":"{id}","host":"a","log":"{log}","at":7,"seq":9,"format":6,"time":"","more":1}}"#
            )
        };
        let read = |subject: &str, body: &str| super::read(&message(subject, body), LOG);
        let expected = Follower {
            id: id.clone(),
            host: "a".into(),
            at: 7,
            seq: 9,
            format: 6,
            heard: Date::from_millis(0),
        };
        assert_eq!(read(&subject, &word(&log)), Some(expected));
        assert_eq!(read(&subject, &word(&"0".repeat(32))), None);
        assert_eq!(read("triggerly.site.server.another", &word(&log)), None);
        for body in ["", "{}", "[]", "null", r#"{"id":1}"#] {
            assert_eq!(read(&subject, body), None, "{body}");
        }
    }
}
