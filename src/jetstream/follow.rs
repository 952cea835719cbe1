//! Following the stream: its messages in order and without a gap, put together to groups.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::message::{Assembly, Read};
use super::{AGAIN, ANSWER_MAX, Line, message};
use crate::store::{Arrival, Group, GroupId, Position};

/// How long NATS keeps a consumer that nobody asks.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// How often NATS says that there is nothing to say. Without a sign for two of these it is asked anew.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long the next part of a group may be missing. Sixteen of them came within 130 ms; who has sent one and is gone holds
/// up the others for so long.
const REST_WITHIN: Duration = Duration::from_millis(500);

/// How long one request for messages holds.
const EXPIRES: Duration = Duration::from_secs(10);

/// Bytes that are asked for at once: what is received but not applied is bounded by it.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Tells the committer of everything behind a place, until it is gone or the log can't be followed.
pub async fn run(line: &Line, at: Position) {
    let mut follower = Follower { line, at, told: at, assembly: Assembly::default() };
    loop {
        let end = match follower.consumer().await {
            Ok(consumer) => follower.read(consumer).await,
            Err(why) => End::Again(why),
        };
        match end {
            End::Gone => return,
            End::Unfit(why) => {
                line.tell(Arrival::Ended(line.unfit(why).to_string())).await;
                return;
            }
            End::Again(why) => log::debug!("following the stream anew: {why}"),
        }
        sleep(AGAIN / 4).await;
    }
}

/// Why reading ended.
enum End {
    Gone,
    Unfit(String),
    Again(String),
}

struct Follower<'l> {
    line: &'l Line,
    /// The last message that was read.
    at: Position,
    /// The last place that the committer was told of.
    told: Position,
    assembly: Assembly,
}

/// A message without a whole group takes a place all the same.
fn place_of(at: Position, part_of: Option<GroupId>) -> Arrival {
    let group = Group { id: part_of.unwrap_or(GroupId([0; 16])), batches: Vec::new() };
    Arrival::Group { at, first_seq: 0, group }
}

impl Follower<'_> {
    /// One that begins behind the last message that was read. It lives in memory on one NATS server: another is made
    /// where that is lost.
    async fn consumer(&self) -> Result<PullConsumer, String> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.at + 1 },
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
        loop {
            let begun = self.assembly.begun();
            let message = tokio::select! {
                message = messages.next() => message,
                // Whoever waits for the rest of a group doesn't offer one of his own; but not for ever.
                () = sleep(REST_WITHIN), if begun.is_some() && self.told < self.at => {
                    let arrival = place_of(self.at, begun);
                    self.told = self.at;
                    if !self.line.tell(arrival).await {
                        return End::Gone;
                    }
                    continue;
                }
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
        let at = match message.info() {
            Ok(info) => info.stream_sequence,
            Err(error) => return Some(End::Again(error.to_string())),
        };
        if at <= self.at {
            return None;
        }
        if at > self.at + 1 {
            return Some(self.gap().await);
        }
        let read = match message::read(message.headers.as_ref()) {
            Ok(read) => read,
            Err(why) => return Some(End::Unfit(why)),
        };
        self.at = at;
        let arrival = match read {
            Read::Left => {
                return Some(End::Unfit(
                    "its log was moved off it, to the store of one server; start that one without --log".to_owned(),
                ));
            }
            Read::Void => {
                self.assembly.clear();
                place_of(at, None)
            }
            Read::Part(part) => match self.assembly.take(&part, &message.payload) {
                Ok(None) if self.assembly.begun().is_some() => return None,
                Ok(None) => place_of(at, Some(part.id)),
                Ok(Some(group)) => Arrival::Group { at, first_seq: part.first_seq, group },
                Err(why) => return Some(End::Unfit(why)),
            },
        };
        self.told = at;
        (!self.line.tell(arrival).await).then_some(End::Gone)
    }

    /// Messages are missing: they are gone for good, or come if they are asked for anew.
    async fn gap(&self) -> End {
        match super::stream::reach(self.line).await {
            Ok((first, _)) if first > self.at + 1 => End::Unfit(format!(
                "it begins at message {first} and this store has only those up to {}: {}",
                self.at,
                super::stream::PASSED_BY
            )),
            Ok(_) => End::Again("a message was left out".to_owned()),
            Err(error) => End::Again(error.to_string()),
        }
    }
}
