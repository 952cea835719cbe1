//! Small streams beside the one that holds the log: each knows the last message of each of its subjects.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, RawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::jetstream::{self, ErrorCode};

use super::stream::REPLICAS;
use super::{Error, Line};

/// What such a stream is made with, but for where and for how long it keeps what.
pub fn config(name: String, subject: String) -> Config {
    Config {
        name,
        subjects: vec![subject],
        retention: RetentionPolicy::Limits,
        num_replicas: REPLICAS,
        max_messages_per_subject: 1,
        ..Config::default()
    }
}

/// The stream, which is made if there is none. One with other settings is refused.
pub async fn open(line: &Line, config: Config) -> Result<Stream, Error> {
    let name = &config.name;
    let unfit = |why: String| Error::Unfit { stream: name.clone(), why };
    let stream = match line.context.get_stream(name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => {
            let made = line.context.create_stream(config.clone()).await;
            made.map_err(|error| match error.kind() {
                jetstream::context::CreateStreamErrorKind::JetStream(why) if why.code() == 400 => {
                    unfit(format!("it can't be made: {why}"))
                }
                _ => line.unreachable(format!("{name} was not made: {error}")),
            })?
        }
        Err(error) => return Err(line.unreachable(error)),
    };
    let found = &stream.cached_info().config;
    let is_ours = found.storage == config.storage
        && found.retention == config.retention
        && found.num_replicas >= REPLICAS
        && found.max_messages_per_subject == 1
        && found.max_age == config.max_age
        && found.subjects == config.subjects
        && !found.no_ack;
    if !is_ours {
        return Err(unfit("it has other settings than triggerly makes it with; remove it".into()));
    }
    Ok(stream)
}

/// The last message of a subject, if there is one.
pub async fn last(
    line: &Line,
    stream: &Stream,
    subject: &str,
) -> Result<Option<StreamMessage>, Error> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(line.unreachable(error)),
    }
}

fn is_missing(why: &GetStreamErrorKind) -> bool {
    matches!(why, GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
