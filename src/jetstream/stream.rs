//! The stream itself: its name and settings, and where in it a store's end lies.

use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    Config, Info, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use tokio::time::sleep;

use super::message::Read;
use super::{AGAIN, Error, Line, Store, id, message, offer};
use crate::model::{Date, Seq};
use crate::store::{LogId, Position, Stamp};

/// Servers that keep it.
pub const REPLICAS: usize = 3;

/// What a stream of ours says of itself: behind it come its log's id and first `seq`.
const DESCRIPTION: &str = "triggerly log ";

/// What to do for a store that the stream has left behind.
const PASSED_BY: &str = "what lies between is gone from the stream; take a backup of a server that follows it \
                         (`triggerly backup`), and restore it into an empty directory";

/// What it means if a message isn't the one that it was.
pub const REWRITTEN: &str = "it holds something else now than what this store has read from it: NATS has lost what it had acknowledged, as when all \
     of its servers lose power at once; keep the store that has most (`triggerly stats`), move its log onto a new stream \
     (`triggerly log move`), and restore a backup of it for the others";

/// Before it is believed that the stream ends before what was read from it: who has just become its leader may lag.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Messages that are looked through for the first group of the stream.
const LOOKED_THROUGH_MAX: u64 = 1_000;

/// What a store is told that has joined.
pub struct Found {
    pub id: LogId,
    /// How far the log reaches.
    pub end: Position,
}

/// When a message was stored.
pub fn stamp(time: DateTime) -> Stamp {
    i64::try_from(time.unix_timestamp_nanos()).unwrap_or_default()
}

/// When a message was stored, by NATS's clock.
pub fn time(message: &StreamMessage) -> Date {
    Date::from_millis(stamp(message.time).div_euclid(1_000_000))
}

/// Where the groups of a stream's log are published. The shard is part of it from the beginning.
pub fn subject(stream: &str) -> String {
    format!("triggerly.{stream}.0.log")
}

/// Joins a store to its log. The stream is made if there is none, for a store that belongs to no log yet.
pub async fn join(line: &Line, store: &Store) -> Result<Found, Error> {
    let stream = match (get(line).await?, store.known) {
        (Some(stream), _) => stream,
        (None, None) => {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map_err(|error| line.unreachable(error))?;
            make(line, LogId(bytes), 1).await?
        }
        (None, Some(_)) => {
            return Err(line.unfit(
                "it is gone; `triggerly log move` makes another, or takes this store off it",
            ));
        }
    };
    let payload = line.context.client().server_info().max_payload;
    if payload < message::PAYLOAD_BYTES_MIN {
        return Err(line.unfit(format!(
            "NATS takes no more than {payload} bytes at once; set its max_payload to {} or more",
            message::PAYLOAD_BYTES_MIN
        )));
    }
    let (id, begins) = identity(line, stream.cached_info())?;
    if store.known.is_some_and(|known| known != id) {
        return Err(line.unfit("it holds another log than the one that this store belongs to"));
    }
    let end = check_place(line, &stream, begins, store).await?;
    Ok(Found { id, end })
}

/// Makes a stream for a log whose next record is `next_seq`.
pub async fn found(line: &Line, id: LogId, next_seq: Seq) -> Result<(), Error> {
    let stream = match reached(line).await? {
        Some(stream) => stream,
        None => make(line, id, next_seq).await?,
    };
    match identity(line, stream.cached_info())? {
        made if made == (id, next_seq) => Ok(()),
        _ => {
            Err(line
                .unfit("there is one of this name already; name another, or have that one removed"))
        }
    }
}

/// Ends a log behind a store's last record.
pub async fn leave(line: &Line, store: &Store) -> Result<(), Error> {
    let end = loop {
        match join(line, store).await {
            Err(Error::Unreachable { .. }) => sleep(AGAIN).await,
            result => break result?.end,
        }
    };
    let further = || {
        line.unfit("its log reaches further than this store; serve it with --log until it has caught up, and try again")
    };
    if reaches(line, store, end).await? {
        return Err(further());
    }
    let message = PublishMessage::build().headers(message::leaving(store.next_seq));
    let sent = offer::send(line, message).await;
    let at = sent.map_err(|error| {
        line.unreachable(format!(
            "whether the log was ended isn't known ({}); try again",
            offer::explain(&error)
        ))
    })?;
    // Somebody may have been first: then it ended nothing.
    if reaches(line, store, at - 1).await? { Err(further()) } else { Ok(()) }
}

/// Whether there is a group up to a place that a store doesn't have.
async fn reaches(line: &Line, store: &Store, end: Position) -> Result<bool, Error> {
    for at in store.from.at + 1..=end {
        match message_at(line, at).await?.map(|message| read(line, &message)).transpose()? {
            Some(Read::Part(part))
                if part.first_seq >= store.next_seq && part.number == part.of =>
            {
                return Ok(true);
            }
            Some(Read::Left(next_seq)) if next_seq == store.next_seq => {
                return Err(line.unfit(
                    "its log was moved off it already; if it was to this store, say --stream-is-lost",
                ));
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Whether the stream has no message at a place any more, of which a later one was seen. A server that was away may
/// still think that it leads, and doesn't have everything: it is believed only if it has come so far.
pub async fn is_gone(line: &Line, at: Position, seen: Position) -> Result<bool, Error> {
    let (_, stream) = look(line).await?;
    let state = &stream.cached_info().state;
    if state.last_sequence < seen {
        return Ok(false);
    }
    // Taken out by hand, perhaps.
    let may_lack = state.deleted_count.is_some_and(|count| count > 0);
    Ok(state.first_sequence > at || (may_lack && message_at(line, at).await?.is_none()))
}

/// As [`get`], and waits until somebody answers.
async fn reached(line: &Line) -> Result<Option<Stream>, Error> {
    loop {
        match get(line).await {
            Err(Error::Unreachable { .. }) => sleep(AGAIN).await,
            result => return result,
        }
    }
}

/// The stream as it is now, and which log it holds.
pub async fn look(line: &Line) -> Result<(LogId, Stream), Error> {
    let stream = get(line).await?.ok_or_else(|| line.unfit("there is none of this name"))?;
    let (id, _) = identity(line, stream.cached_info())?;
    Ok((id, stream))
}

async fn get(line: &Line) -> Result<Option<Stream>, Error> {
    match line.context.get_stream(&line.options.name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(why)
                if why.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => {
                Err(line.unfit(error.to_string()))
            }
            _ => Err(line.unreachable(error)),
        },
    }
}

async fn make(line: &Line, id: LogId, next_seq: Seq) -> Result<Stream, Error> {
    let config = Config {
        name: line.options.name.clone(),
        subjects: vec![subject(&line.options.name)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: REPLICAS,
        description: Some(format!("{DESCRIPTION}{} from {next_seq}", id::hex(&id.0))),
        ..Config::default()
    };
    match line.context.create_stream(config).await {
        Ok(stream) => Ok(stream),
        Err(error) => match error.kind() {
            // Somebody else was first.
            CreateStreamErrorKind::JetStream(why)
                if why.error_code() == ErrorCode::STREAM_NAME_EXIST =>
            {
                get(line).await?.ok_or_else(|| line.unreachable(error))
            }
            CreateStreamErrorKind::JetStream(why) if why.code() == 400 => {
                Err(line.unfit(format!("it can't be made with {REPLICAS} replicas: {why}")))
            }
            _ => Err(line.unreachable(error)),
        },
    }
}

/// Which log a stream holds, and the `seq` it begins with, if its settings are such that it is safe there.
fn identity(line: &Line, info: &Info) -> Result<(LogId, Seq), Error> {
    let config = &info.config;
    let weak = [
        (config.num_replicas < REPLICAS, "it has fewer than 3 replicas"),
        (config.storage != StorageType::File, "it is kept in memory, not in files"),
        (config.retention != RetentionPolicy::Limits, "it lets go of messages that were read"),
        (!config.max_age.is_zero(), "it lets go of what is old (max age)"),
        (config.max_bytes > 0, "it lets go of what is too much (max bytes)"),
        (config.max_messages > 0, "it lets go of what is too much (max messages)"),
        (
            config.max_messages_per_subject > 0,
            "it lets go of what is too much (max messages per subject)",
        ),
        (config.no_ack, "it acknowledges nothing"),
        (config.sealed, "it is sealed"),
        (config.mirror.is_some() || config.sources.is_some(), "it copies others"),
        (
            config.subjects != [subject(&config.name)],
            "its subject isn't that of a log of triggerly's",
        ),
    ];
    if let Some((_, why)) = weak.iter().find(|(is_weak, _)| *is_weak) {
        return Err(line.unfit(format!("{why}; remove that setting, or name another stream")));
    }
    let described = config.description.as_deref().and_then(|text| text.strip_prefix(DESCRIPTION));
    let parsed = described.and_then(|text| {
        let (log, from) = text.split_once(" from ")?;
        Some((LogId(id::unhex(log)?), from.parse().ok()?))
    });
    parsed.ok_or_else(|| line.unfit("it was not made by triggerly; name another stream"))
}

/// Whether a store can go on in its log; how far that reaches.
async fn check_place(
    line: &Line,
    stream: &Stream,
    begins: Seq,
    store: &Store,
) -> Result<Position, Error> {
    let (next_seq, from) = (store.next_seq, store.from);
    let mut state = stream.cached_info().state.clone();
    if state.last_sequence < from.at {
        sleep(LOST_AFTER).await;
        state = stream.get_info().await.map_err(|error| line.unreachable(error))?.state;
        if state.last_sequence < from.at {
            return Err(line.unfit(REWRITTEN));
        }
    }
    let behind = |begins: Seq| {
        line.unfit(format!(
            "its log begins with record {begins} and this store ends before {next_seq}: {PASSED_BY}"
        ))
    };
    let first = state.first_sequence.max(1);
    if from.at == 0 && begins > next_seq {
        return Err(behind(begins));
    }
    if from.at == 0 && begins < next_seq && state.last_sequence == 0 {
        return Err(
            line.unfit("its log has fewer records than this store: they don't belong together")
        );
    }
    if first > from.at + 1 {
        // Something is gone that the store was not known to have. It may have it all the same.
        for at in first..=state.last_sequence.min(first + LOOKED_THROUGH_MAX) {
            let Some(message) = message_at(line, at).await? else { continue };
            if let Read::Part(part) = read(line, &message)? {
                if part.first_seq > next_seq {
                    return Err(behind(part.first_seq));
                }
                break;
            }
        }
    }
    Ok(state.last_sequence)
}

/// The message at a place, if it is there.
pub async fn message_at(line: &Line, at: Position) -> Result<Option<StreamMessage>, Error> {
    let stream = line.context.get_stream_no_info(&line.options.name).await;
    let stream = stream.map_err(|error| line.unreachable(error))?;
    match stream.get_raw_message(at).await {
        Ok(message) => Ok(Some(message)),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            _ => Err(line.unreachable(error)),
        },
    }
}

/// What a message is.
pub fn read(line: &Line, message: &StreamMessage) -> Result<Read, Error> {
    message::read(Some(&message.headers)).map_err(|why| line.unfit(why))
}
