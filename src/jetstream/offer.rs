//! Having a group stored: sent until it is known what became of it.

use std::error::Error as _;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{AGAIN, ANSWER_MAX, Line, message, stream, watch};
use crate::store::{OFFER_WAIT_MAX, Offer, Position, Reply};

/// Makes an offer, and says what became of it.
pub async fn make(line: Line, offer: Offer) {
    let until = Instant::now() + OFFER_WAIT_MAX;
    let max_payload = line.context.client().server_info().max_payload;
    let (mut last, mut is_next) = (offer.behind, true);
    for (headers, body) in message::parts(&offer, max_payload) {
        match publish(&line, headers, body, until).await {
            Ok(at) => {
                is_next &= at == last + 1;
                last = at;
            }
            Err(why) => return drop(offer.reply.try_send(Reply::Doubtful(why))),
        }
    }
    let reply = if is_next { Reply::Next(last) } else { Reply::Kept(last) };
    let _ = offer.reply.try_send(reply);
}

/// Publishes a message until it is acknowledged; where it is stored, at last.
async fn publish(
    line: &Line,
    headers: HeaderMap,
    body: Bytes,
    until: Instant,
) -> Result<Position, String> {
    loop {
        let message = PublishMessage::build().payload(body.clone()).headers(headers.clone());
        let why = match send(line, message).await {
            Ok(at) => return Ok(at),
            Err(error) => explain(&error),
        };
        log::debug!("NATS took nothing: {why}");
        // Not into the hands of a leader who is cut off from the others.
        loop {
            if Instant::now() + AGAIN > until {
                return Err(format!("the NATS servers did not take it: {why}"));
            }
            sleep(AGAIN).await;
            if watch::has_quorum(line).await.is_ok() {
                break;
            }
        }
    }
}

/// Sends a message, and waits for its acknowledgement, which says where it is stored.
pub async fn send(line: &Line, message: PublishMessage) -> Result<Position, PublishError> {
    send_to(line, stream::subject(&line.options.name), message).await
}

/// As [`send`], to another subject than that of the log.
pub async fn send_to(
    line: &Line,
    subject: String,
    message: PublishMessage,
) -> Result<Position, PublishError> {
    let acknowledged = async {
        let sent = line.context.send_publish(subject, message).await?;
        sent.await
    };
    match timeout(2 * ANSWER_MAX, acknowledged).await {
        Ok(stored) => Ok(stored?.sequence),
        Err(_) => Err(PublishError::new(PublishErrorKind::TimedOut)),
    }
}

/// What went wrong, with what lies behind it.
pub fn explain(error: &PublishError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
