//! Whether anything can be stored, also where nobody calls: a balancer that was told no sends nobody to find out.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_nats::jetstream::stream::{ClusterInfo, PeerInfo};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{ANSWER_MAX, Line, stream};
use crate::store::{Arrival, Position};

/// Looks that may fail before it is said that nothing can be stored. Where a leader is elected anew, one may.
const FAILED_MAX: u32 = 3;

/// Looks at which the stream ends before what was read from it, before that is believed: a leader may lag.
const LOST_MAX: u32 = 10;

/// How long a leader may not have heard of another: they tell each other every second that they are there. Of whom he has
/// never heard, nats-server says that it was just now, to the nanosecond.
const SILENT_MAX: Duration = Duration::from_millis(2_500);

/// Looks every second; says when nothing can be stored, and when something can again.
pub async fn run(line: &Line, doubt: &Notify) {
    let (mut failed, mut lost) = (0, 0);
    loop {
        tokio::select! {
            () = sleep(ANSWER_MAX) => match look(line).await {
                Ok(end) => {
                    failed = 0;
                    lost = if end < line.read.load(SeqCst) { lost + 1 } else { 0 };
                    if lost > LOST_MAX {
                        line.tell(Arrival::Ended(line.unfit(stream::REWRITTEN).to_string())).await;
                        return;
                    }
                }
                Err(_) => {
                    failed += 1;
                    if failed > FAILED_MAX {
                        failed = 0;
                        recover(line).await;
                    }
                }
            },
            // Whoever doubts refuses calls until he is told.
            () = doubt.notified() => {
                failed = 0;
                recover(line).await;
            }
        }
    }
}

/// Says why nothing can be stored as long as that is so, and then that something can.
async fn recover(line: &Line) {
    while let Err(why) = look(line).await {
        line.tell(Arrival::Trouble(Some(why))).await;
        sleep(ANSWER_MAX / 4).await;
    }
    line.tell(Arrival::Trouble(None)).await;
}

/// How far the stream reaches, if messages can be kept and what becomes of them be seen.
///
/// # Errors
/// Why not, for a person.
async fn look(line: &Line) -> Result<Position, String> {
    let name = &line.options.name;
    let end = end(line).await.map_err(|why| format!("the stream {name} has no quorum: {why}"))?;
    // It may have a leader seconds before the NATS servers have one, whom it takes to make a consumer.
    if !line.is_reading.load(SeqCst) {
        return Err(format!("the stream {name} can't be followed yet: there is no consumer of it"));
    }
    Ok(end)
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
    is_led(info.cluster.as_ref())?;
    Ok(info.state.last_sequence)
}

/// Whether whoever answers leads, and is in touch with enough others.
///
/// # Errors
/// Why not.
fn is_led(cluster: Option<&ClusterInfo>) -> Result<(), String> {
    let cluster = cluster.ok_or("it is kept by one server alone")?;
    // Who follows answers too when he knows of no leader, and takes those for present that he never hears of.
    let leads = |leader: &String| cluster.replicas.iter().all(|other| other.name != *leader);
    if !cluster.leader.as_ref().is_some_and(leads) {
        return Err("it has no leader".to_owned());
    }
    let is_there =
        |other: &&PeerInfo| !other.offline && !other.active.is_zero() && other.active < SILENT_MAX;
    let there = cluster.replicas.iter().filter(is_there).count();
    if (there + 1) * 2 <= stream::REPLICAS {
        let others = cluster.replicas.len();
        return Err(format!("its leader is in touch with {there} others, of {others}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, active_millis: u64, offline: bool) -> PeerInfo {
        let active = Duration::from_millis(active_millis);
        PeerInfo { name: name.to_owned(), active, offline, ..PeerInfo::default() }
    }

    #[test]
    fn who_leads_in_touch_with_one_other_has_a_quorum() {
        let (present, silent) = (peer("b", 900, false), peer("c", 9_000, false));
        let cases = [
            (Some("a"), vec![present.clone(), silent.clone()], Ok(())),
            (Some("a"), vec![peer("b", 900, true), peer("c", 1, false)], Ok(())),
            (
                Some("a"),
                vec![silent.clone(), peer("b", 1, true)],
                Err("its leader is in touch with 0 others, of 2"),
            ),
            // As nats-server 2.9.10 answers that follows and has lost its leader: nobody was ever heard of.
            (None, vec![peer("b", 0, false), peer("c", 0, false)], Err("it has no leader")),
            (None, vec![present.clone(), present.clone()], Err("it has no leader")),
            (
                Some("a"),
                vec![peer("b", 0, false), silent],
                Err("its leader is in touch with 0 others, of 2"),
            ),
            // Another one leads than whoever answers.
            (Some("b"), vec![present, peer("c", 1, false)], Err("it has no leader")),
            (Some("a"), vec![], Err("its leader is in touch with 0 others, of 0")),
        ];
        for (leader, replicas, expected) in cases {
            let leader = leader.map(str::to_owned);
            let cluster = ClusterInfo { leader, replicas, ..ClusterInfo::default() };
            let found = is_led(Some(&cluster));
            assert_eq!(found, expected.map_err(str::to_owned), "{cluster:?}");
        }
        assert_eq!(is_led(None), Err("it is kept by one server alone".to_owned()));
    }
}
