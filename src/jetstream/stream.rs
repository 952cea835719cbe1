//! The stream itself: its name and settings, and where in it a store's end lies.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{Config, Info, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, ErrorCode};
use tokio::time::sleep;

use super::message::{Part, Read};
use super::{AGAIN, Error, Line, id, message, offer};
use crate::model::Seq;
use crate::store::{LogId, Position};

/// Servers that keep it.
const REPLICAS: usize = 3;

/// What a stream of ours says of itself: behind it come its log's id and first `seq`.
const DESCRIPTION: &str = "triggerly log ";

/// What to do for a store that the stream has left behind.
pub const PASSED_BY: &str = "what lies between is gone from the stream; take a backup of a server that follows it \
                             (`triggerly backup`), and restore it into an empty directory";

/// Where a store stands in its log.
pub struct Place {
    pub id: LogId,
    pub at: Position,
    /// How far the log reaches.
    pub end: Position,
}

/// Where the groups of a stream's log are published. The shard is part of it from the beginning.
pub fn subject(stream: &str) -> String {
    format!("triggerly.{stream}.0.log")
}

/// Finds a store's place in its log. The stream is made if there is none, for a store that belongs to no log yet.
pub async fn join(line: &Line, known: Option<LogId>, next_seq: Seq) -> Result<Place, Error> {
    let stream = match (get(line).await?, known) {
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
    let info = stream.cached_info();
    let (id, from) = identity(line, info)?;
    if known.is_some_and(|known| known != id) {
        return Err(line.unfit("it holds another log than the one that this store belongs to"));
    }
    let (at, end) = place(line, &stream, from, next_seq).await?;
    Ok(Place { id, at, end })
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
pub async fn leave(line: &Line, known: LogId, next_seq: Seq) -> Result<(), Error> {
    let place = loop {
        match join(line, Some(known), next_seq).await {
            Err(Error::Unreachable { .. }) => sleep(AGAIN).await,
            result => break result?,
        }
    };
    if place.at < place.end {
        return Err(line.unfit(
            "its log reaches further than this store; serve it with --log until it has caught up, and try again",
        ));
    }
    let headers = message::behind(message::leaving(), &line.options.name, place.end);
    let sent = offer::send(line, PublishMessage::build().headers(headers)).await;
    sent.map(drop).map_err(|error| {
        line.unreachable(format!(
            "whether the log was ended isn't known ({}); try again",
            offer::explain(&error)
        ))
    })
}

/// The first and the last place that the stream has.
pub async fn reach(line: &Line) -> Result<(Position, Position), Error> {
    let stream = line.context.get_stream(&line.options.name).await;
    let stream = stream.map_err(|error| line.unreachable(error))?;
    let state = &stream.cached_info().state;
    Ok((state.first_sequence, state.last_sequence))
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

/// Behind which message a store goes on that ends before `next_seq`, and how far there is something.
async fn place(
    line: &Line,
    stream: &Stream,
    from: Seq,
    next_seq: Seq,
) -> Result<(Position, Position), Error> {
    let state = &stream.cached_info().state;
    let (first, end) = (state.first_sequence.max(1), state.last_sequence);
    let behind = |begins: Seq| {
        line.unfit(format!(
            "its log begins with record {begins} and this store ends before {next_seq}: {PASSED_BY}"
        ))
    };
    if end < first {
        // Nothing was ever stored, or nothing is left, which we never do.
        return match (end, next_seq) {
            (0, next) if next == from => Ok((0, 0)),
            (0, next) if next < from => Err(behind(from)),
            (0, _) => Err(ahead(line, from, next_seq)),
            _ => Err(line.unfit(
                "all of its messages were taken away, so that no store can find its place in it",
            )),
        };
    }
    // The first message that begins with what the store lacks. They begin with ever higher records.
    let (mut low, mut high) = (first, end + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match part_from(line, stream, middle, high).await? {
            Some((at, part)) if part.first_seq < next_seq => low = at + 1,
            _ => high = middle,
        }
    }
    // Before it is the last one that the store has, if that is still there.
    let before = last_part(line, stream, first, low).await?;
    match before {
        Some(part) if part.first_seq + part.count < next_seq => {
            Err(ahead(line, part.first_seq + part.count, next_seq))
        }
        Some(_) => Ok((low - 1, end)),
        None => {
            let begins =
                part_from(line, stream, low, end + 1).await?.map(|(_, part)| part.first_seq);
            match begins.unwrap_or(from) {
                begins if begins > next_seq => Err(behind(begins)),
                begins if begins < next_seq => Err(ahead(line, begins, next_seq)),
                _ => Ok((low - 1, end)),
            }
        }
    }
}

fn ahead(line: &Line, ends: Seq, next_seq: Seq) -> Error {
    line.unfit(format!(
        "its log ends before record {ends}, but this store before {next_seq}: it has records that the log has not, so \
         they don't belong together; restore a backup of a server that follows it into an empty directory"
    ))
}

/// The first message from a place on, and before another, that belongs to a group.
async fn part_from(
    line: &Line,
    stream: &Stream,
    from: Position,
    before: Position,
) -> Result<Option<(Position, Part)>, Error> {
    for at in from..before {
        if let Some(part) = part(line, stream, at).await? {
            return Ok(Some((at, part)));
        }
    }
    Ok(None)
}

/// The last message before a place that belongs to a group.
async fn last_part(
    line: &Line,
    stream: &Stream,
    first: Position,
    before: Position,
) -> Result<Option<Part>, Error> {
    for at in (first..before).rev() {
        if let Some(part) = part(line, stream, at).await? {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

async fn part(line: &Line, stream: &Stream, at: Position) -> Result<Option<Part>, Error> {
    let message: StreamMessage = match stream.get_raw_message(at).await {
        Ok(message) => message,
        Err(error) => match error.kind() {
            jetstream::stream::RawMessageErrorKind::NoMessageFound => return Ok(None),
            _ => return Err(line.unreachable(error)),
        },
    };
    match message::read(Some(&message.headers)) {
        Ok(Read::Part(part)) => Ok(Some(part)),
        Ok(Read::Void) => Ok(None),
        Ok(Read::Left) => Err(line.unfit("its log was moved off it, to the store of one server")),
        Err(why) => Err(line.unfit(why)),
    }
}
