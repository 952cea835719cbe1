//! Whether anything can be stored, also where nobody calls: a balancer that was told no sends nobody to find out.

use async_nats::jetstream::message::PublishMessage;
use tokio::time::{sleep, timeout};

use super::{ANSWER_MAX, Line, message, offer};
use crate::store::Arrival;

/// Looks that fail before it is said that nothing can be stored. Where a leader is elected anew, one may.
const FAILED_MAX: u32 = 3;

/// Looks every second; says when nothing can be stored, and when something can again.
pub async fn run(line: &Line) {
    let mut failed = 0;
    loop {
        tokio::select! {
            () = sleep(ANSWER_MAX) => match has_leader(line).await {
                Ok(()) => failed = 0,
                Err(why) => {
                    failed += 1;
                    if failed >= FAILED_MAX {
                        failed = 0;
                        recover(line, why).await;
                    }
                }
            },
            () = line.doubt.notified() => {
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
    let mut said = false;
    loop {
        let probe = PublishMessage::build().headers(message::plain());
        match timeout(ANSWER_MAX, offer::send(line, probe)).await {
            Ok(Ok(_)) => {
                if said {
                    line.tell(Arrival::Trouble(None)).await;
                }
                return;
            }
            Ok(Err(error)) => {
                why = format!(
                    "the stream {} has no quorum: {}",
                    line.options.name,
                    offer::explain(&error)
                )
            }
            Err(_) => {}
        }
        if !said {
            said = line.tell(Arrival::Trouble(Some(why.clone()))).await;
        }
        sleep(ANSWER_MAX / 4).await;
    }
}

/// Whether the stream has a leader, who has to be one to answer.
async fn has_leader(line: &Line) -> Result<(), String> {
    let stream = line.context.get_stream_no_info(&line.options.name).await;
    let stream = stream.map_err(|error| error.to_string())?;
    match timeout(ANSWER_MAX, stream.get_info()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("there was no answer".to_owned()),
    }
}
