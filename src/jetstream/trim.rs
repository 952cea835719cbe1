//! Letting go of what is old in the stream: of what every server has on its own disk, and nobody joins from any more.
//!
//! NATS lets go of nothing by itself (see `stream`): it doesn't know who lacks what. Each server trims, every hour; what one
//! has done the others find done. A server that wasn't heard of for long holds it back, and is named.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::message::{PARTS_WITHIN, Read};
use super::roster::{self, Follower};
use super::{Error, Line, stream};
use crate::clock;
use crate::config::stream::Keep;
use crate::model::Date;
use crate::store::{LogId, Position};

/// After joining, for the first time: who joins at the same moment has said so by then.
const FIRST_AFTER: Duration = Duration::from_secs(20);

/// And from then on.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// How often one who holds it back is named.
const NAMED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Messages that are looked at for one that belongs to a group. Those that don't are rare.
const LOOKED_AT_MAX: u64 = 1000;

/// What is to be known of a message.
#[derive(Clone, Debug)]
struct Seen {
    time: Date,
    /// Whether it belongs to a group.
    is_part: bool,
}

/// Trims now and then, until it is dropped.
pub async fn run(line: &Line, log: LogId) {
    let Keep::For(keep) = line.options.keep else { return };
    let mut named = HashMap::new();
    sleep(FIRST_AFTER).await;
    loop {
        match trim(line, log, keep, &mut named).await {
            Ok(0) => {}
            Ok(gone) => {
                log::info!("{gone} messages are gone from the stream, which all servers have")
            }
            Err(error) => log::debug!("the stream was not trimmed: {error}"),
        }
        sleep(EVERY).await;
    }
}

/// Trims, and gives how many messages are gone.
async fn trim(
    line: &Line,
    log: LogId,
    keep: Duration,
    named: &mut HashMap<String, Instant>,
) -> Result<u64, Error> {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let old = Date::from_millis(clock::now().millis().saturating_sub(keep));
    let servers = roster::all(line, log).await?;
    let (found, stream) = stream::look(line).await?;
    if found != log {
        return Ok(0);
    }
    let state = &stream.cached_info().state;
    let (first, last) = (state.first_sequence.max(1), state.last_sequence);
    for server in servers.iter().filter(|server| holds_back(server, last, old)) {
        if named.get(&server.id).is_none_or(|at| at.elapsed() >= NAMED_EVERY) {
            named.insert(server.id.clone(), Instant::now());
            log::warn!("{}", complaint(server, last));
        }
    }
    // Nobody is known yet, this server included: who knows what they lack.
    let Some(applied) = servers.iter().map(|server| server.at).min() else { return Ok(0) };
    let read = async |at| seen(line, at).await;
    let Some(cut) = cut(read, first, applied.min(last), old).await? else { return Ok(0) };
    let Some(cut) = cut.checked_sub(PARTS_WITHIN).filter(|cut| *cut > first) else { return Ok(0) };
    let purged = stream.purge().sequence(cut).await;
    purged.map(|purged| purged.purged).map_err(|error| line.unreachable(error))
}

/// Whether a server lacks something and wasn't heard of since what is old was new.
fn holds_back(server: &Follower, last: Position, old: Date) -> bool {
    server.at < last && server.heard < old
}

fn complaint(server: &Follower, last: Position) -> String {
    let Follower { id, host, at, heard, .. } = server;
    format!(
        "server {id} ({host}) was last heard of on {heard} and lacks {} messages: it holds back the stream; if it is \
         gone for good, `triggerly log forget {id}`",
        last - at
    )
}

/// The last message of a group among those up to `applied`, which all servers have, that came before `old`. What is before
/// it may go, but for the [`PARTS_WITHIN`] messages among which the other parts of groups are that aren't whole yet. It stays
/// itself, so that who joins too late sees by it that something is gone.
async fn cut(
    read: impl AsyncFn(Position) -> Result<Option<Seen>, Error>,
    first: Position,
    applied: Position,
    old: Date,
) -> Result<Option<Position>, Error> {
    // The first one that is young, or behind all.
    let (mut low, mut high) = (first, applied + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match next(&read, middle, high).await? {
            Some((at, seen)) if seen.time < old => low = at + 1,
            _ => high = middle,
        }
    }
    for at in (first..low).rev().take(LOOKED_AT_MAX as usize) {
        if read(at).await?.is_some_and(|seen| seen.is_part) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The first message from a place on, and before another.
async fn next(
    read: &impl AsyncFn(Position) -> Result<Option<Seen>, Error>,
    from: Position,
    before: Position,
) -> Result<Option<(Position, Seen)>, Error> {
    for at in from..before.min(from.saturating_add(LOOKED_AT_MAX)) {
        if let Some(seen) = read(at).await? {
            return Ok(Some((at, seen)));
        }
    }
    Ok(None)
}

async fn seen(line: &Line, at: Position) -> Result<Option<Seen>, Error> {
    let Some(message) = stream::message_at(line, at).await? else { return Ok(None) };
    // Nothing is let go of that isn't understood.
    let is_part = matches!(stream::read(line, &message)?, Read::Part(_));
    Ok(Some(Seen { time: stream::time(&message), is_part }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream has, by its places from 1 on: `g` is of a group, `-` is void, a dot is missing. Behind a colon is when it
    /// came, in digits.
    fn stream(text: &str) -> Vec<Option<Seen>> {
        let (kinds, times) = text.split_once(':').expect("times");
        let seen = |(kind, time): (char, char)| {
            let time = Date::from_millis(time.to_digit(10).expect("a time").into());
            (kind != '.').then_some(Seen { time, is_part: kind == 'g' })
        };
        kinds.chars().zip(times.chars()).map(seen).collect()
    }

    #[test]
    fn what_may_go_is_old_and_applied_by_all_and_not_the_last_group() {
        for (text, first, applied, old, expected) in [
            // Nothing is old.
            ("gggg:5678", 1, 4, 5, None),
            // All is, and all have it.
            ("gggg:1234", 1, 4, 9, Some(4)),
            ("g:1", 1, 1, 9, Some(1)),
            // Somebody lacks some.
            ("gggg:1234", 1, 2, 9, Some(2)),
            ("gggg:1234", 1, 1, 9, Some(1)),
            ("gggg:1234", 1, 0, 9, None),
            // The young stays.
            ("ggggg:12349", 1, 5, 4, Some(3)),
            ("ggggg:12349", 1, 5, 5, Some(4)),
            ("ggggg:11111", 1, 5, 1, None),
            // Some is gone already.
            ("gggggg:123456", 3, 6, 5, Some(4)),
            ("gggggg:123456", 4, 6, 4, None),
            ("gggggg:123456", 4, 2, 9, None),
            // Void messages say nothing to who joins.
            ("g---:1111", 1, 4, 9, Some(1)),
            ("gg--g:11119", 1, 5, 5, Some(2)),
            ("----:1111", 1, 4, 9, None),
            // What somebody took away by hand is passed over.
            ("g..g.g:100109", 1, 6, 5, Some(4)),
            ("g.....:100000", 1, 6, 5, Some(1)),
            ("......:000000", 1, 6, 5, None),
        ] {
            let messages = stream(text);
            let read = async |at: Position| Ok(messages[at as usize - 1].clone());
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let found = runtime.block_on(cut(read, first, applied, Date::from_millis(old)));
            assert_eq!(found.expect("no error"), expected, "{text} {first} {applied} {old}");
        }
    }

    #[test]
    fn a_long_stream_is_not_walked() {
        let reads = std::cell::Cell::new(0);
        let read = async |at: Position| {
            reads.set(reads.get() + 1);
            Ok(Some(Seen { time: Date::from_millis(at as i64), is_part: true }))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let found = runtime.block_on(cut(read, 1, 1 << 40, Date::from_millis(12_345_678)));
        assert_eq!(found.expect("no error"), Some(12_345_677));
        assert!(reads.get() < 50, "{} reads", reads.get());
    }

    #[test]
    fn who_is_silent_and_lacks_something_is_named() {
        let server = |at, heard| Follower {
            id: "ab".into(),
            host: "east".into(),
            at,
            seq: 9,
            format: 6,
            heard: Date::from_millis(heard),
        };
        for (at, heard, expected) in [(7, 10, false), (7, 4, true), (10, 4, false), (7, 5, false)] {
            let held = holds_back(&server(at, heard), 10, Date::from_millis(5));
            assert_eq!(held, expected, "{at} {heard}");
        }
        assert_eq!(
            complaint(&server(7, 0), 10),
            "server ab (east) was last heard of on 1970-01-01T00:00:00.000Z and lacks 3 messages: it holds back the \
             stream; if it is gone for good, `triggerly log forget ab`"
        );
    }
}
