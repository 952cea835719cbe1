//! Whether anything can be stored, also where nobody calls: a balancer that was told no sends nobody to find out.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{ANSWER_MAX, Line, stream};
use crate::store::{Arrival, Position};

/// Looks that fail before it is said that nothing can be stored. Where a leader is elected anew, one may.
const FAILED_MAX: u32 = 3;

/// Looks at which the stream ends before what was read from it, before that is believed: a leader may lag.
const LOST_MAX: u32 = 10;

/// How long a leader may not have heard of another: they tell each other every second that they are there.
const SILENT_MAX: Duration = Duration::from_millis(2_500);

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

/// Says that nothing can be stored, until the stream has a quorum.
async fn recover(line: &Line, why: String) {
    let mut why = why;
    loop {
        let said = format!("the stream {} has no quorum: {why}", line.options.name);
        line.tell(Arrival::Trouble(Some(said))).await;
        match end(line).await {
            Ok(_) => {
                line.tell(Arrival::Trouble(None)).await;
                return;
            }
            Err(now) => why = now,
        }
        sleep(ANSWER_MAX / 4).await;
    }
}

/// Whether a message could be kept by as many as it takes. It is looked at rather than tried: a leader that is cut off from
/// the others takes messages too, and nats-server 2.9 may keep in its stream what it was never agreed on.
///
/// # Errors
/// Why not.
pub async fn has_quorum(line: &Line) -> Result<(), String> {
    end(line).await.map(drop)
}

/// How far the stream reaches, if it has a leader, and he is in touch with enough others.
async fn end(line: &Line) -> Result<Position, String> {
    let stream = line.context.get_stream_no_info(&line.options.name).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let info = match timeout(ANSWER_MAX, stream.get_info()).await {
        Ok(info) => info.map_err(|error| error.to_string())?,
        Err(_) => return Err("there was no answer".to_owned()),
    };
    let others =
        info.cluster.as_ref().map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
    let there = others.iter().filter(|other| !other.offline && other.active < SILENT_MAX).count();
    // With whoever answers, who leads.
    if (there + 1) * 2 <= stream::REPLICAS {
        return Err(format!("its leader is in touch with {there} others, of {}", others.len()));
    }
    Ok(info.state.last_sequence)
}
