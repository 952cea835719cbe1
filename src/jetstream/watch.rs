//! Whether anything can be stored, also where nobody calls: a balancer that was told no sends nobody to find out.

use std::sync::atomic::Ordering::SeqCst;

use async_nats::jetstream::message::PublishMessage;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{ANSWER_MAX, Line, message, offer, stream};
use crate::store::{Arrival, Position};

/// Looks that fail before it is said that nothing can be stored. Where a leader is elected anew, one may.
const FAILED_MAX: u32 = 3;

/// Looks at which the stream ends before what was read from it, before that is believed: a leader may lag.
const LOST_MAX: u32 = 10;

/// Looks every second; says when nothing can be stored, and when something can again.
pub async fn run(line: &Line, doubt: &Notify) {
    let (mut failed, mut lost) = (0, 0);
    loop {
        tokio::select! {
            () = sleep(ANSWER_MAX) => match end(line).await {
                Ok(end) => {
                    failed = 0;
                    lost = if end < line.read.load(SeqCst) { lost + 1 } else { 0 };
                    if lost > LOST_MAX {
                        line.tell(Arrival::Ended(line.unfit(stream::REWRITTEN).to_string())).await;
                        return;
                    }
                }
                Err(why) => {
                    failed += 1;
                    if failed >= FAILED_MAX {
                        failed = 0;
                        recover(line, why).await;
                    }
                }
            },
            () = doubt.notified() => {
                failed = 0;
                recover(line, "a group of records was not acknowledged".to_owned()).await;
            }
        }
    }
}

/// Says that nothing can be stored, until an empty message was.
async fn recover(line: &Line, why: String) {
    let mut why = format!("the stream {} has no quorum: {why}", line.options.name);
    log::debug!("{why}");
    loop {
        let probe = PublishMessage::build().headers(message::plain());
        match timeout(ANSWER_MAX, offer::send(line, probe)).await {
            Ok(Ok(_)) => {
                line.tell(Arrival::Trouble(None)).await;
                return;
            }
            Ok(Err(error)) => {
                why = format!(
                    "the stream {} has no quorum: {}",
                    line.options.name,
                    offer::explain(&error)
                );
            }
            Err(_) => {}
        }
        line.tell(Arrival::Trouble(Some(why.clone()))).await;
        sleep(ANSWER_MAX / 4).await;
    }
}

/// How far the stream reaches. It has a leader, who has to be one to answer.
async fn end(line: &Line) -> Result<Position, String> {
    let stream = line.context.get_stream_no_info(&line.options.name).await;
    let stream = stream.map_err(|error| error.to_string())?;
    match timeout(ANSWER_MAX, stream.get_info()).await {
        Ok(Ok(info)) => Ok(info.state.last_sequence),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("there was no answer".to_owned()),
    }
}
