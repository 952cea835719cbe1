//! How fast events are read: whole, column by column, and one user's.
//!
//! ```text
//! cargo bench --bench reading                      # a million events, made up in a temporary folder
//! READING_STORE=DIR READING_EVENTS=2000000 …       # kept there for the next time
//! ```
//! Times are those that the thread was on a processor, so that what else runs on the machine doesn't count;
//! what is read was read before. Under `cargo test` a few thousand events show that it works.

mod generator;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput};
use rustix::time::{ClockId, clock_gettime};
use triggerly::model::record::Event;
use triggerly::model::{AccountId, AccountName, ApiToken, Date, SecretHash, Seq, Via};
use triggerly::store::{
    Columns, Draft, Order, Pace, Piece, Scan, Selection, Stop, Store, Urgency, Writer,
};

const ACCOUNT: AccountId = AccountId(1);

/// Events of one submission.
const TOGETHER: usize = 500;

/// The time that a thread was on a processor.
struct ProcessorTime;

fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        on_processor()
    }

    fn end(&self, start: Duration) -> Duration {
        on_processor() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

type Bench = Criterion<ProcessorTime>;

fn main() {
    let whole = std::env::args().any(|arg| arg == "--bench");
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |value| value.parse().expect(name))
    };
    let events = number("READING_EVENTS", if whole { 1_000_000 } else { 5_000 });
    let scratch = tempfile::tempdir().expect("a folder");
    let dir = std::env::var_os("READING_STORE").map_or(scratch.path().join("store"), PathBuf::from);
    if !dir.join("FORMAT").exists() {
        fill(&dir, events);
    }
    let store = Store::open(&dir).expect("a store");
    if store.lag().segments > 0 {
        let pace = Pace { go_on: &|| true };
        store.reindex(&pace, &mut |_, _| {}).expect("it has indexes");
    }
    let events = store.event_count().expect("events");
    let sizes = store.sizes().expect("sizes");
    let per_event = sizes.segment_bytes as f64 / events as f64;
    println!("{events} events in {} segments, {per_event:.2} bytes each", sizes.segments);
    let mut criterion = Criterion::default()
        .with_measurement(ProcessorTime)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(if whole { 500 } else { 1 }))
        .measurement_time(Duration::from_secs(if whole { 4 } else { 1 }))
        .configure_from_args();
    scans(&mut criterion, &store, events);
    one_by_one(&mut criterion, &store, events);
    of_users(&mut criterion, &store);
}

fn fill(dir: &Path, events: u64) {
    let store = Arc::new(Store::open(dir).expect("a store"));
    let writer = Writer::start(Arc::clone(&store), store.flusher()).expect("a writer");
    let at = Date::from_millis(generator::FROM);
    let name = AccountName::new("shop").expect("a name");
    let account = Draft::account(name, ApiToken([1; 16]), SecretHash([2; 32]), at);
    writer.submit_and_wait(vec![account]).expect("an account");
    let compact = || {
        let pace = Pace { go_on: &|| true };
        store.compact(Urgency::Now, at, &pace).expect("it is sealed");
    };
    let mut drafts = Vec::with_capacity(TOGETHER);
    let users = 200_000.min(events / 20);
    for (number, event) in generator::events(7, events, users).enumerate() {
        let date = Date::from_millis(event.date);
        let event = Event {
            account: ACCOUNT,
            via: Via::Import,
            kind: event.kind,
            user_id: event.user_id.as_deref(),
            date,
            attributes: &event.attributes,
            context: None,
        };
        drafts.push(Draft::event(event, Date::from_millis(event.date.millis() + 40)));
        if drafts.len() == TOGETHER {
            writer.submit_and_wait(std::mem::take(&mut drafts)).expect("they are stored");
        }
        if number % 100_000 == 99_999 {
            compact();
        }
    }
    if !drafts.is_empty() {
        writer.submit_and_wait(drafts).expect("they are stored");
    }
    compact();
}

fn scans(criterion: &mut Bench, store: &Store, events: u64) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(events));
    let light = Columns { dates: true, kinds: true, users: true, ..Columns::default() };
    let rare = Some(vec!["sign up".to_owned()]);
    for (name, columns, kinds) in [
        ("dates, types, users", light, None),
        ("with attributes", Columns { attributes: true, ..light }, None),
        ("attributes of a rare type", Columns { attributes: true, ..light }, rare),
    ] {
        let scan = Scan { columns, kinds, ..Scan::of(ACCOUNT) };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (mut sum, mut rows) = (0_u64, 0);
                let visit = &mut |piece: &Piece<'_>| {
                    let mut of_kind = vec![0_u32; piece.kinds().len()];
                    for row in 0..piece.len() {
                        of_kind[piece.kind(row) as usize] += 1;
                        sum = sum.wrapping_add(piece.date(row).millis() as u64);
                        sum += u64::from(piece.user(row).unwrap_or(0));
                        sum += piece.attributes(row).len() as u64;
                    }
                    rows += piece.len();
                    black_box(of_kind);
                    Ok(ControlFlow::Continue(()))
                };
                store.scan(&scan, &|| false, visit).expect("it is read");
                (sum, rows)
            });
        });
    }
    group.finish();
}

fn one_by_one(criterion: &mut Bench, store: &Store, events: u64) {
    let mut group = criterion.benchmark_group("select");
    group.throughput(Throughput::Elements(events));
    let selection = Selection::of(1..=Seq::MAX).events_of(ACCOUNT);
    group.bench_function("all", |bencher| {
        bencher.iter(|| {
            let mut last = 0;
            let visit = &mut |seq, _: &triggerly::model::Record<'_>| {
                last = seq;
                Ok(ControlFlow::Continue(()))
            };
            store.select(&selection, Order::Ascending, visit).expect("it is read");
            last
        });
    });
    group.finish();
}

fn of_users(criterion: &mut Bench, store: &Store) {
    let mut counts = std::collections::HashMap::<String, u64>::new();
    let scan = Scan { columns: Columns { users: true, ..Columns::default() }, ..Scan::of(ACCOUNT) };
    let visit = &mut |piece: &Piece<'_>| {
        let mut of = vec![0; piece.users().len()];
        (0..piece.len()).filter_map(|row| piece.user(row)).for_each(|user| of[user as usize] += 1);
        for (id, count) in piece.users().iter().zip(of) {
            *counts.entry((*id).to_owned()).or_default() += count;
        }
        Ok(ControlFlow::Continue(()))
    };
    store.scan(&scan, &|| false, visit).expect("it is read");
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), id.clone()));
    let mut group = criterion.benchmark_group("the newest 500 of a user");
    for least in [50_000, 5_000, 500, 50] {
        let Some((id, count)) = counts.iter().rev().find(|(_, count)| *count >= least) else {
            continue;
        };
        group.bench_function(format!("who has {count}"), |bencher| {
            bencher.iter(|| {
                let mut left = 500;
                let visit = &mut |_, _: &triggerly::model::Record<'_>| {
                    left -= 1;
                    let stop = left == 0;
                    Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                };
                store
                    .of_user(ACCOUNT, id, Order::Descending, 1..=Seq::MAX, &Stop::never(), visit)
                    .expect("read");
                left
            });
        });
    }
    group.finish();
}
