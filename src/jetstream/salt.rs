//! The salt of the day (see [`crate::context::Salts`]), agreed on by all servers of a stream.
//!
//! It must not be in the log, which is kept: a salt is destroyed when its day ends. It is in a second stream, `NAME-salts`,
//! which NATS has in memory alone and lets go of by itself, one message a day: `triggerly.NAME.salt.2001-07-04`. Whoever
//! publishes it first has made it, the others read it, and when its day is over any server erases it. Where NATS lost its
//! memory, all three servers of it at once, whoever still has the day's salt publishes it again.
//!
//! Who may read the stream can read the salt of today, as who may read the server's memory can. It is in no log line and no
//! error; what is held here is overwritten, what NATS's client has in its buffers isn't ours to overwrite.

use std::time::Duration;

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use zeroize::{Zeroize, Zeroizing};

use super::{AGAIN, Error, Line, beside, offer};
use crate::clock;
use crate::context::{Day, SALT_BYTES, Salts, day_of};
use crate::model::Date;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// After which NATS lets go of a salt, if nobody was there to erase it.
const GONE_AFTER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// How long before a day its salt is agreed on.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// How often it is looked whether the stream has what is held here, and for what is to be erased. No salt outlives its day
/// by more.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Before it is tried once more where it can't be agreed on.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Days before this one that may have left a salt.
const DAYS_BACK: Day = 2;

/// How long a server that starts waits for the salt before it takes calls: whoever calls first is a visitor too.
const FIRST_WITHIN: Duration = Duration::from_secs(2);

/// Asks for today's salt before anything is taken, for so long. Without one the server starts all the same.
pub async fn first(line: &Line, salts: &Salts) {
    let agreed = async {
        while let Err(why) = tend(line, salts, clock::now()).await {
            log::debug!("no salt of the day yet: {why}");
            sleep(AGAIN).await;
        }
    };
    let _ = timeout(FIRST_WITHIN, agreed).await;
}

/// Sees to it that there is a salt, and none of a day that is over, until it is dropped.
pub async fn run(line: &Line, salts: &Salts) {
    let mut warned = false;
    loop {
        let now = clock::now();
        let pause = match tend(line, salts, now).await {
            Ok(()) => {
                if warned {
                    log::info!("the salt of the day is agreed on; visitors are told apart again");
                }
                warned = false;
                LOOK_EVERY
            }
            Err(why) => {
                let lacks = salts.of(day_of(now)).is_none();
                if lacks && !warned {
                    warned = true;
                    log::warn!(
                        "no visitors are told apart until a salt of the day is agreed on: {why}"
                    );
                }
                AGAIN_AFTER
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = line.reconnected.notified() => sleep(AGAIN).await,
        }
    }
}

async fn tend(line: &Line, salts: &Salts, now: Date) -> Result<(), String> {
    let stream = stream(line).await.map_err(|error| error.to_string())?;
    for day in days(now) {
        agree(line, &stream, salts, day).await?;
    }
    let today = day_of(now);
    for day in today - DAYS_BACK..today {
        erase(line, &stream, day).await?;
    }
    Ok(())
}

/// The days whose salts are to be known: this one, and the next when it comes soon.
fn days(now: Date) -> impl Iterator<Item = Day> {
    let ahead = i64::try_from(AHEAD.as_millis()).unwrap_or_default();
    let soon = Date::from_millis(now.millis().saturating_add(ahead));
    day_of(now)..=day_of(soon)
}

/// Takes a day's salt from the stream, or puts it there.
async fn agree(line: &Line, stream: &Stream, salts: &Salts, day: Day) -> Result<(), String> {
    if let Some(message) = read(line, stream, day).await? {
        salts.give(day, &*taken(message)?);
        return Ok(());
    }
    let salt = match salts.of(day) {
        Some(held) => held,
        None => {
            let mut made = Zeroizing::new([0; SALT_BYTES]);
            getrandom::fill(made.as_mut_slice()).map_err(|error| error.to_string())?;
            made
        }
    };
    let message = PublishMessage::build()
        .header(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0")
        .payload(Bytes::copy_from_slice(salt.as_slice()));
    match offer::send_to(line, subject(&line.options.name, day), message).await {
        Ok(_) => {
            salts.give(day, &salt);
            Ok(())
        }
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
            Err("another server was first".to_owned())
        }
        // If it is there all the same, it is read the next time.
        Err(error) => Err(offer::explain(&error)),
    }
}

/// Has a day's salt overwritten, if the stream has it yet.
async fn erase(line: &Line, stream: &Stream, day: Day) -> Result<(), String> {
    let Some(message) = read(line, stream, day).await? else { return Ok(()) };
    let at = message.sequence;
    drop(taken(message));
    stream.delete_message(at).await.map(drop).map_err(|error| error.to_string())
}

async fn read(line: &Line, stream: &Stream, day: Day) -> Result<Option<StreamMessage>, String> {
    let read = beside::last(line, stream, &subject(&line.options.name, day)).await;
    read.map_err(|error| error.to_string())
}

/// The salt that a message holds, which is overwritten where it was.
fn taken(message: StreamMessage) -> Result<Zeroizing<[u8; SALT_BYTES]>, String> {
    let mut salt = Zeroizing::new([0; SALT_BYTES]);
    let fits = message.payload.len() == SALT_BYTES;
    if fits {
        salt.copy_from_slice(&message.payload);
    }
    // Nobody else has these bytes.
    if let Ok(mut payload) = message.payload.try_into_mut() {
        payload.zeroize();
    }
    fits.then_some(salt).ok_or_else(|| "what the stream has for one isn't a salt".to_owned())
}

/// Where the salt of a day is published.
fn subject(stream: &str, day: Day) -> String {
    let date = Date::from_millis(day.saturating_mul(DAY.as_millis() as i64)).to_string();
    format!("triggerly.{stream}.salt.{}", date.split('T').next().unwrap_or_default())
}

/// The stream, of which no disk ever has anything.
async fn stream(line: &Line) -> Result<Stream, Error> {
    let name = &line.options.name;
    let config = beside::config(format!("{name}-salts"), format!("triggerly.{name}.salt.*"));
    let config = Config { storage: StorageType::Memory, max_age: GONE_AFTER, ..config };
    beside::open(line, config).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tomorrows_salt_is_agreed_on_some_minutes_before() {
        let at = |text: &str| Date::parse(text).expect("a date");
        let today = day_of(at("2001-07-04"));
        for (now, expected) in [
            ("2001-07-04T00:00:00.000Z", vec![today]),
            ("2001-07-04T23:54:59.999Z", vec![today]),
            ("2001-07-04T23:55:00.000Z", vec![today, today + 1]),
            ("2001-07-04T23:59:59.999Z", vec![today, today + 1]),
            ("2001-07-05T00:00:00.000Z", vec![today + 1]),
        ] {
            assert_eq!(days(at(now)).collect::<Vec<_>>(), expected, "{now}");
        }
    }

    #[test]
    fn a_day_has_its_subject() {
        let day = day_of(Date::parse("2001-07-04T12:00:00Z").expect("a date"));
        assert_eq!(subject("site", day), "triggerly.site.salt.2001-07-04");
    }

    #[test]
    fn what_is_no_salt_is_refused_without_being_shown() {
        let message = |payload: &'static [u8]| StreamMessage {
            subject: "s".into(),
            sequence: 1,
            headers: async_nats::HeaderMap::new(),
            payload: Bytes::from(payload.to_vec()),
            time: std::time::SystemTime::UNIX_EPOCH.into(),
        };
        assert_eq!(*taken(message(&[7; 32])).expect("a salt"), [7; 32]);
        for wrong in [&[][..], b"secret", &[7; 31], &[7; 33]] {
            let error = taken(message(wrong)).expect_err("no salt");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
