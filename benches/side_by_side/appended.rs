//! Beside plain appends to a file, each made durable with `fdatasync`: one call after another, and commits of 512.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use triggerly::model::record::Event;
use triggerly::model::{AccountId, Date, Via};
use triggerly::store::{Done, Draft, Store, Writer};

use crate::Bench;
use crate::beside::load::Histogram;
use crate::beside::{Server, drive};
use crate::report::{Report, Row, Unit};

/// What is in a pixel's record, and what a plain append writes of it.
const ATTRIBUTES: &str =
    r#"{"page":"/pricing","referrer":"https://www.example.com/","width":1280}"#;

/// Submissions in a commit, each of a caller of its own.
const GROUP: usize = 512;

/// Appends to a file beside the server's.
struct Plain {
    file: File,
    bytes: Vec<u8>,
}

impl Plain {
    fn of(dir: &Path, bytes: usize) -> Plain {
        Plain { file: File::create(dir.join("plain")).expect("a file"), bytes: vec![b'x'; bytes] }
    }

    /// Until it is on disk.
    fn append(&mut self) {
        self.file.write_all(&self.bytes).expect("a write");
        self.file.sync_data().expect("a flush");
    }

    /// Appends a second, for so long, and how long each took.
    fn round(&mut self, time: Duration) -> (f64, Histogram) {
        let (began, mut took, mut count) = (Instant::now(), Histogram::default(), 0);
        while began.elapsed() < time {
            let before = Instant::now();
            self.append();
            took.record(before.elapsed());
            count += 1;
        }
        (f64::from(count) / began.elapsed().as_secs_f64(), took)
    }
}

/// One connection, on which a call follows the answer to the last.
///
/// # Errors
/// In words, if calls failed.
pub fn one(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("one");
    let server = Server::named("triggerly", &dir.join("data"));
    let time = Duration::from_secs_f64(bench.settings.seconds);
    // What `drive` sends, without the Base64.
    let mut plain = Plain::of(&dir, 107);
    drive(&server, 1, time, || {});
    let (mut calls, mut appends) = (Vec::new(), Vec::new());
    let (mut of_calls, mut of_appends) = (Histogram::default(), Histogram::default());
    for _ in 0..bench.settings.rounds {
        let seen = drive(&server, 1, time, || {});
        if seen.failed() > 0 {
            return Err(format!("{} calls failed", seen.failed()));
        }
        // A call's time, so that the ratio is that of times.
        calls.push(1.0 / seen.calls_per_second());
        of_calls.add(&seen.latencies);
        let (rate, took) = plain.round(time);
        appends.push(1.0 / rate);
        of_appends.add(&took);
    }
    let row = |what, times: &[f64], all: &Histogram| {
        Row::new(what, Unit::Time, times).with("p50", Unit::Time, all.p50().as_secs_f64()).with(
            "p99",
            Unit::Time,
            all.p99().as_secs_f64(),
        )
    };
    let call = row("a call", &calls, &of_calls);
    let append = row("a plain append with fdatasync", &appends, &of_appends);
    let ratio = Row::ratio("call / append", &call, &append);
    report.table("one", &[call, append, ratio]);
    Ok(())
}

/// Commits of 512, within the program: no HTTP.
///
/// # Errors
/// None.
pub fn commits(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("commits");
    let store = Arc::new(Store::open(&dir.join("data")).expect("a store"));
    let writer = Writer::start(Arc::clone(&store), store.flusher()).expect("threads");
    let time = Duration::from_secs_f64(bench.settings.seconds);
    commit(&writer);
    // The same bytes as the log takes, beside which stand no keys and no checksums.
    let mut plain = Plain::of(&dir, GROUP * ("page view".len() + "u4711".len() + ATTRIBUTES.len()));
    let (mut committed, mut appended, mut events) = (Vec::new(), Vec::new(), 0);
    let before = store.figures().commits();
    for _ in 0..bench.settings.rounds {
        let (mut spent, mut count) = (Duration::ZERO, 0);
        let began = Instant::now();
        while began.elapsed() < time {
            spent += commit(&writer);
            count += GROUP;
        }
        events += count;
        committed.push(count as f64 / spent.as_secs_f64());
        appended.push(plain.round(time).0 * GROUP as f64);
    }
    let commits = store.figures().commits() - before;
    println!("{:.0} events in a commit", events as f64 / commits as f64);
    let own = Row::new("512 callers with an event each", Unit::PerSecond("events"), &committed);
    let append = Row::new("a plain append with fdatasync", Unit::PerSecond("events"), &appended);
    let ratio = Row::ratio("commits / appends", &own, &append);
    report.table("commits", &[own, append, ratio]);
    Ok(())
}

/// 512 submissions at once, until the last is told that it is on disk; how long that took.
fn commit(writer: &Writer) -> Duration {
    let now = Date::from_millis(1_700_000_000_000);
    let event = Event {
        account: AccountId(1),
        via: Via::Public,
        kind: "page view",
        user_id: Some("u4711"),
        date: now,
        attributes: ATTRIBUTES,
        context: None,
    };
    let submissions: Vec<_> = (0..GROUP).map(|_| vec![Draft::event(event, now)]).collect();
    let began = Instant::now();
    let (tell, told) = mpsc::channel();
    for drafts in submissions {
        let tell = tell.clone();
        writer.submit(drafts, Done::new(move |outcome| drop(tell.send(outcome))));
    }
    drop(tell);
    let stored: u64 = told.iter().map(|outcome| outcome.expect("it is stored").count).sum();
    assert_eq!(stored, GROUP as u64);
    began.elapsed()
}
