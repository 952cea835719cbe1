//! Having a group stored: sent until it is known what became of it.

use std::error::Error as _;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{AGAIN, ANSWER_MAX, Line, message, stream};
use crate::store::{OFFER_WAIT_MAX, Offer, Position, Reply};

/// Makes an offer, and says what became of it.
pub async fn make(line: Line, offer: Offer) {
    let until = Instant::now() + OFFER_WAIT_MAX;
    let max_payload = line.context.client().server_info().max_payload;
    let mut at = offer.behind;
    for (headers, body) in message::parts(&offer, max_payload) {
        let headers = message::behind(headers, &line.options.name, at);
        match publish(&line, headers, body, at, until).await {
            Reply::Accepted(stored) => at = stored,
            reply => {
                if matches!(reply, Reply::Doubtful(_)) {
                    line.doubt.notify_one();
                }
                return drop(offer.reply.try_send(reply));
            }
        }
    }
    let _ = offer.reply.try_send(Reply::Accepted(at));
}

/// Publishes one message until it is known whether it has its place.
async fn publish(
    line: &Line,
    headers: HeaderMap,
    body: Bytes,
    behind: Position,
    until: Instant,
) -> Reply {
    loop {
        let message = PublishMessage::build().payload(body.clone()).headers(headers.clone());
        let why = match send(line, message).await {
            Ok(at) if at == behind + 1 => return Reply::Accepted(at),
            // It can't be stored elsewhere; who sees the log's groups finds out.
            Ok(at) => format!("it was said to be stored at {at} instead of {}", behind + 1),
            Err(error) => match overtaken(&error) {
                Some(last) => return Reply::Overtaken(last),
                None => explain(&error),
            },
        };
        if Instant::now() + AGAIN > until {
            return Reply::Doubtful(format!("the NATS servers did not take it: {why}"));
        }
        log::debug!("NATS took nothing: {why}");
        sleep(AGAIN).await;
    }
}

/// Sends a message, and waits for its acknowledgement, which says where it is stored.
pub async fn send(line: &Line, message: PublishMessage) -> Result<Position, PublishError> {
    let acknowledged = async {
        let sent = line.context.send_publish(stream::subject(&line.options.name), message).await?;
        sent.await
    };
    match timeout(2 * ANSWER_MAX, acknowledged).await {
        Ok(stored) => Ok(stored?.sequence),
        Err(_) => Err(PublishError::new(PublishErrorKind::TimedOut)),
    }
}

/// How far the log reaches, if that is why a message was refused.
fn overtaken(error: &PublishError) -> Option<Position> {
    if error.kind() != PublishErrorKind::WrongLastSequence {
        return None;
    }
    // "wrong last sequence: 17 (code 400, …": the number is nowhere else. Without, what comes will tell.
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    let number = text.split("sequence: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Some(number.and_then(|number| number.parse().ok()).unwrap_or_default())
}

/// What went wrong, with what lies behind it.
pub fn explain(error: &PublishError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
