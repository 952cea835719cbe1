//! Following the stream: its messages in order and without a gap, put together to groups.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::message::{Assembly, Read};
use super::{AGAIN, ANSWER_MAX, Line, message, stream};
use crate::store::{Arrival, Place, Position, What};

/// The stamp of a message that wasn't seen yet.
const UNKNOWN: i64 = i64::MIN;

/// How long NATS keeps a consumer that nobody asks.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// How often NATS says that there is nothing to say. Without a sign for two of these it is asked anew.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long one request for messages holds.
const EXPIRES: Duration = Duration::from_secs(10);

/// Bytes that are asked for at once: what is received but not applied is bounded by it.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages that are compared with the leader's where reading begins anew, at the most. It takes some 0.3 ms each. What a
/// server has that others haven't is from when a leader lost the others, so near the end when reading begins anew for that.
const COMPARED_MAX: u64 = 256;

/// Tells the committer of everything behind a place, until it is gone or the log can't be followed.
pub async fn run(line: &Line, from: Place) {
    let begin = from.at.saturating_sub(message::PARTS_WITHIN);
    let last = if begin == 0 { Place::default() } else { Place { at: begin, stamp: UNKNOWN } };
    let mut follower =
        Follower { line, from, last, doubted: Range::default(), assembly: Assembly::default() };
    loop {
        let end = match follower.consumer().await {
            Ok(consumer) => {
                follower.doubt().await;
                follower.read(consumer).await
            }
            Err(why) => End::Again(why),
        };
        line.is_reading.store(false, SeqCst);
        match end {
            End::Gone => return,
            End::Unfit(why) => {
                line.tell(Arrival::Ended(line.unfit(why).to_string())).await;
                return;
            }
            End::Again(why) => {
                log::debug!("following the stream anew: {why}");
                sleep(AGAIN / 4).await;
            }
            End::Apart(at) => {
                log::warn!(
                    "a NATS server holds another message {at} of the stream than the one that leads; the stream is read anew"
                );
                sleep(ANSWER_MAX).await;
            }
        }
    }
}

/// Why reading ended.
enum End {
    Gone,
    Unfit(String),
    Again(String),
    /// Whoever was read from has something else at a place than who leads.
    Apart(Position),
}

struct Follower<'l> {
    line: &'l Line,
    /// The store has everything up to there; what is before it is read for the parts of groups that end behind it.
    from: Place,
    /// The last message that was read.
    last: Place,
    /// Places whose messages are compared with the leader's.
    doubted: Range<Position>,
    assembly: Assembly,
}

impl Follower<'_> {
    /// One that begins with the last message that was read, to see that it is still that one. It lives in memory on one NATS
    /// server: another is made where that is lost.
    async fn consumer(&self) -> Result<PullConsumer, String> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.last.at.max(1) },
            ack_policy: AckPolicy::None,
            inactive_threshold: FORGOTTEN_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = self.line.context.create_consumer_on_stream(config, &self.line.options.name);
        match timeout(2 * ANSWER_MAX, made).await {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(_) => Err("no consumer was made in time".to_owned()),
        }
    }

    /// Has the last messages of those that are there compared with the leader's: a consumer may be at a server that holds
    /// something else.
    async fn doubt(&mut self) {
        self.doubted = match stream::look(self.line).await {
            Ok((_, stream)) => {
                let end = stream.cached_info().state.last_sequence;
                end.saturating_sub(COMPARED_MAX) + 1..end + 1
            }
            Err(why) => {
                log::debug!("how far the stream reaches isn't known: {why}");
                Range::default()
            }
        };
    }

    /// Compares what came with what the one has who leads.
    async fn compare(&self, came: Place) -> Result<(), End> {
        match stream::message_at(self.line, came.at).await {
            Ok(Some(led)) if stream::stamp(led.time) != came.stamp => Err(End::Apart(came.at)),
            Ok(_) => Ok(()),
            Err(error) => Err(End::Again(error.to_string())),
        }
    }

    /// What to do where something else came than is known to be there.
    async fn differs(&self, came: Place) -> End {
        let compared = self.compare(came).await;
        compared.err().unwrap_or_else(|| End::Unfit(stream::REWRITTEN.to_owned()))
    }

    async fn read(&mut self, consumer: PullConsumer) -> End {
        let messages = consumer
            .stream()
            .max_bytes_per_batch(BYTES_MAX)
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages();
        let mut messages = match messages.await {
            Ok(messages) => messages,
            Err(error) => return End::Again(error.to_string()),
        };
        self.line.is_reading.store(true, SeqCst);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = self.line.reconnected.notified() => return End::Again("another connection".to_owned()),
            };
            match message {
                Some(Ok(message)) => {
                    if let Some(end) = self.take(&message).await {
                        return end;
                    }
                }
                Some(Err(error)) => return End::Again(error.to_string()),
                None => return End::Again("it ended".to_owned()),
            }
        }
    }

    async fn take(&mut self, message: &Message) -> Option<End> {
        let place = match message.info() {
            Ok(info) => Place { at: info.stream_sequence, stamp: stream::stamp(info.published) },
            Err(error) => return Some(End::Again(error.to_string())),
        };
        if place.at == self.last.at {
            let known = [UNKNOWN, place.stamp].contains(&self.last.stamp);
            return if known { None } else { Some(self.differs(place).await) };
        }
        if place.at < self.last.at {
            return None;
        }
        if place.at > self.last.at + 1 {
            match stream::is_gone(self.line, self.last.at + 1, place.at).await {
                // If what is gone counted, the next group gives it away.
                Ok(true) => {}
                Ok(false) => return Some(End::Again("a message was left out".to_owned())),
                Err(error) => return Some(End::Again(error.to_string())),
            }
        }
        if place.at == self.from.at && ![0, place.stamp].contains(&self.from.stamp) {
            return Some(self.differs(place).await);
        }
        if self.doubted.contains(&place.at)
            && let Err(end) = self.compare(place).await
        {
            return Some(end);
        }
        let read = match message::read(message.headers.as_ref()) {
            Ok(read) => read,
            Err(why) => return Some(End::Unfit(why)),
        };
        self.last = place;
        self.line.read.fetch_max(place.at, SeqCst);
        let what = match read {
            Read::Void => What::Nothing,
            Read::Left(next_seq) => What::Left { next_seq },
            Read::Part(part) => match self.assembly.take(place.at, &part, &message.payload) {
                Ok(None) => What::Nothing,
                Ok(Some(group)) => What::Group { first_seq: part.first_seq, group },
                Err(why) => return Some(End::Unfit(why)),
            },
        };
        if place.at <= self.from.at {
            return None;
        }
        (!self.line.tell(Arrival::Next { place, what }).await).then_some(End::Gone)
    }
}
