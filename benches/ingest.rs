//! What a call costs, step by step: decoding it, merging it, what is asked of it first, making it durable,
//! and all of that over HTTP.
//!
//! The first three need no disk. The others lie on the disk of the build, for in memory a flush is
//! free; how long that disk takes is what they show most of.
//!
//! Without cargo's `--bench`, as under `cargo test --benches`, each runs once to show that it works.

#[path = "../tests/support/load.rs"]
mod load;
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use load::Load;
use support::{Server, base64, escape};
use tempfile::TempDir;
use triggerly::context::{Contexts, Headers};
use triggerly::ingest::{Batch, Kind, Payload, Submission};
use triggerly::model::limits::DEPTH_MAX;
use triggerly::model::record::Event;
use triggerly::model::{AccountId, Date, Object, User, Via, json};
use triggerly::rate::{self, Rates};
use triggerly::store::{Done, Draft, Store, Writer};

/// 120 bytes, as a pixel on a page sends them.
const EVENT: &str = r#"{"type":"page view","user_id":"u4711","page":"/pricing","referrer":"https://www.example.com/","width":1280,"dark":false}"#;

/// A user as an application describes it when somebody signs in.
const USER: &str = r#"{"id":"u4711","email":"jo.doe@example.com","name":"Jo Doe","plan":"pro","seats":12,"trial":false,"signed_up":"2024-05-17","address":{"city":"Zürich","country":"CH"}}"#;

/// The same moment for all, so that no clock is measured.
fn noon() -> Date {
    Date::from_millis(1_700_000_000_000)
}

const ACCOUNT: AccountId = AccountId(1);

fn checked(kind: Kind, data: &str) -> Batch {
    let (account, via) = (ACCOUNT, Via::Public);
    let payload = Payload::Query(data);
    let (idempotency_key, context) = (None, None);
    let received_at = noon();
    let submission =
        Submission { kind, account, via, received_at, payload, idempotency_key, context };
    submission.decode().and_then(|raw| raw.validate()).expect("a good submission")
}

fn decode(criterion: &mut Criterion) {
    assert_eq!(EVENT.len(), 120);
    let mut group = criterion.benchmark_group("decode");
    for (name, kind, json) in [("event", Kind::Event, EVENT), ("user", Kind::User, USER)] {
        let data = escape(&base64(json));
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| checked(kind, black_box(&data))));
    }
}

fn merge(criterion: &mut Criterion) {
    let object = |text: &str| -> Object { json::parse_object(text, DEPTH_MAX).expect(text) };
    let attributes = (0..20).map(|i| format!(r#""attribute {i}":"value {i}""#));
    let mut user = User::new(noon());
    user.update(object(&format!("{{{}}}", attributes.collect::<Vec<_>>().join(","))), noon());
    // One is replaced, one removed, one nested, one new: each way there is.
    let patch = object(
        r#"{"attribute 7":"other","attribute 13":null,"attribute 19":{"a":1},"attribute 20":2.50}"#,
    );
    criterion.bench_function("merge/20 attributes", |bencher| {
        bencher.iter_batched(
            || (user.clone(), patch.clone()),
            |(mut user, patch)| {
                user.update(patch, noon());
                let text = user.checked_text().expect("it is within bounds");
                (user, text)
            },
            BatchSize::SmallInput,
        );
    });
}

/// What is asked of each call first: how often its address calls, and what its browser says of itself.
fn door(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("door");
    for addresses in [1_u32, 60_000, 600_000] {
        let limits = rate::Limits { address: NonZeroU32::new(1_000_000), account: None };
        let (rates, mut n) = (Rates::new(limits), 0);
        group.bench_function(format!("rate, addresses: {addresses}"), |bencher| {
            bencher.iter(|| {
                n = (n + 1) % addresses;
                rates.call(Ipv4Addr::from(0x0100_0000 + n).into())
            });
        });
    }
    let contexts = Contexts::default();
    for agents in [1_u32, 100_000] {
        let mut n = 0;
        group.bench_function(format!("context, agents: {agents}"), |bencher| {
            bencher.iter(|| {
                n = (n + 1) % agents;
                let agent = format!(
                    "Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0"
                );
                let headers = Headers {
                    referer: Some("https://www.example.com/pricing"),
                    user_agent: Some(&agent),
                    ..Headers::default()
                };
                contexts.of(&headers, true, ACCOUNT, Ipv4Addr::LOCALHOST.into(), noon())
            });
        });
    }
}

/// So many callers at once, each with one event, until the last of them is told that his is on disk.
fn commit(criterion: &mut Criterion) {
    let dir = folder();
    let store = Arc::new(Store::open(dir.path()).expect("a store"));
    let flusher = store.flusher();
    let writer = Writer::start(Arc::clone(&store), flusher).expect("threads");
    let event = Event {
        account: ACCOUNT,
        via: Via::Public,
        kind: "page view",
        user_id: Some("u4711"),
        date: noon(),
        attributes: r#"{"page":"/pricing","referrer":"https://www.example.com/","width":1280}"#,
        context: None,
    };
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for events in [1_u64, 16, 128, 512] {
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("events: {events}"), |bencher| {
            bencher.iter_batched(
                || (0..events).map(|_| vec![Draft::event(event, noon())]).collect::<Vec<_>>(),
                |submissions| {
                    let (tell, told) = mpsc::channel();
                    for drafts in submissions {
                        let tell = tell.clone();
                        writer.submit(drafts, Done::new(move |outcome| drop(tell.send(outcome))));
                    }
                    drop(tell);
                    let stored: u64 =
                        told.iter().map(|outcome| outcome.expect("it is stored").count).sum();
                    assert_eq!(stored, events);
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// Pixels against the real server, each connection with the next one as soon as its last is
/// answered, which is when it is on disk.
fn http(criterion: &mut Criterion) {
    let dir = folder();
    let server = Server::start(dir.path());
    let target = server.target("events", EVENT);
    let request = format!("GET {target}&image=1 HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let mut group = criterion.benchmark_group("http");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    for (connections, calls_each) in [(1, 16), (64, 64)] {
        let calls = connections as u64 * calls_each;
        group.throughput(Throughput::Elements(calls));
        group.bench_function(format!("kept connections: {connections}"), |bencher| {
            bencher.iter_custom(|times| {
                let load = Load {
                    connections,
                    calls: calls * times,
                    time: Duration::from_secs(60),
                    ..Load::at(server.address)
                };
                let report =
                    load.run(|out, _, _| out.extend_from_slice(request.as_bytes()), |_, _, _| {});
                assert_eq!((report.calls, report.failed()), (calls * times, 0));
                report.elapsed
            });
        });
    }
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the build's disk")
}

criterion_group!(benches, decode, merge, door, commit, http);
criterion_main!(benches);
