//! One long run: whether speed sinks and memory grows while millions of events come in.

use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::beside::{Server, drive};
use crate::report::{Report, Row, Unit};

/// It is looked at in so many parts, which of ten minutes are 50 s.
const STEPS: u32 = 12;

const CONNECTIONS: usize = 64;

/// # Errors
/// In words, if calls failed.
pub fn over_time(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let server = Server::named("triggerly", &bench.folder("minutes").join("data"));
    let time = Duration::from_secs_f64(bench.settings.long_seconds);
    let step = time / STEPS;
    let mut calls = [0_u64; STEPS as usize];
    let (seen, memory) = thread::scope(|scope| {
        let began = Instant::now();
        let server = &server;
        let sampler = scope.spawn(move || {
            let sample = |n| {
                thread::sleep((step * n).saturating_sub(began.elapsed()));
                server.rss()
            };
            (1..=STEPS).map(sample).collect::<Vec<f64>>()
        });
        let seen = drive(server, CONNECTIONS, time, || {
            let at = began.elapsed().as_nanos() / step.as_nanos();
            if let Some(count) = calls.get_mut(at as usize) {
                *count += 1;
            }
        });
        (seen, sampler.join().expect("memory samples"))
    });
    if seen.failed() > 0 {
        return Err(format!("{} calls failed", seen.failed()));
    }

    let rates = calls.map(|count| count as f64 / step.as_secs_f64());
    println!(
        "{time:?} over {CONNECTIONS} connections\n| until | calls/s | memory |\n|--:|--:|--:|"
    );
    for (n, (rate, memory)) in (1..).zip(rates.iter().zip(&memory)) {
        println!("| {:.1?} | {rate:.0} | {memory:.1} MiB |", step * n);
    }
    println!();
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    let of = |duration: Duration| duration.as_secs_f64();
    let rows = [
        Row::new("triggerly", Unit::PerSecond("calls"), &[seen.calls_per_second()])
            .with("p50", Unit::Time, of(seen.latencies.p50()))
            .with("p99", Unit::Time, of(seen.latencies.p99()))
            .with("p99.9", Unit::Time, of(seen.latencies.p999()))
            .with("max", Unit::Time, of(seen.latencies.max()))
            .with("memory", Unit::Memory, memory[memory.len() - 1]),
        Row::new("last / first", Unit::Ratio, &[last / first]),
        Row::new("memory, last / first", Unit::Ratio, &[memory[memory.len() - 1] / memory[0]]),
    ];
    report.table("minutes", &rows);
    Ok(())
}
