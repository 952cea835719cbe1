//! Many at once: lines of 1,000 events by POST, and an import of a file.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use triggerly::model::Date;

use crate::Bench;
use crate::beside::Server;
use crate::beside::load::Load;
use crate::dataset::{Dataset, run_watched};
use crate::generator;
use crate::report::{Report, Row, Unit};

/// Events in a batch, as many as a call may have.
const BATCH: usize = 1_000;

/// Different batches, by turns.
const BATCHES: usize = 16;

/// # Errors
/// In words, if calls failed.
pub fn ndjson(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let server = Server::named("triggerly", &bench.folder("ndjson").join("data"));
    let lines: Vec<String> = generator::events(1, (BATCH * BATCHES) as u64, 10_000)
        .map(|event| {
            let mut line = String::new();
            let date = Date::from_millis(event.date);
            write!(line, r#"{{"type":"{}","date":"{date}""#, event.kind).expect("memory");
            if let Some(id) = &event.user_id {
                write!(line, r#","user_id":"{id}""#).expect("memory");
            }
            let rest = event.attributes.strip_prefix('{').expect("an object");
            line + if rest == "}" { "" } else { "," } + rest + "\n"
        })
        .collect();
    let requests: Vec<Vec<u8>> = lines
        .chunks(BATCH)
        .map(|lines| {
            let body = lines.concat();
            let head = format!(
                "POST /v1/events/track?api_token={} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
                server.token, server.addr, body.len()
            );
            (head + &body).into_bytes()
        })
        .collect();
    let mut rows = Vec::new();
    for connections in [1, 4, 16] {
        let load = Load {
            connections,
            time: Duration::from_secs_f64(bench.settings.seconds),
            ..Load::at(server.addr)
        };
        let (mut rates, mut p99, before, mut events) = (Vec::new(), Vec::new(), server.cpu(), 0);
        for _ in 0..bench.settings.rounds {
            let seen = load.run(
                |out, connection, sequence| {
                    let which = (connection as u64 * 5 + sequence) as usize % BATCHES;
                    out.extend_from_slice(&requests[which]);
                },
                |_, _, _| {},
            );
            if seen.failed() > 0 {
                return Err(format!("{} calls failed: {:?}", seen.failed(), seen.errors_by_status));
            }
            rates.push(seen.calls_per_second() * BATCH as f64);
            p99.push(seen.latencies.p99().as_secs_f64());
            events += seen.calls * BATCH as u64;
        }
        let row = Row::new(format!("{connections} connections"), Unit::PerSecond("events"), &rates);
        rows.push(
            row.with("p99", Unit::Time, crate::report::median(&p99))
                .with("CPU an event", Unit::Micros, (server.cpu() - before) / events as f64)
                .with("memory", Unit::Memory, server.rss()),
        );
    }
    let best = rows.iter().map(Row::median).fold(0.0, f64::max);
    rows.push(Row::new("the best of these", Unit::PerSecond("events"), &[best]));
    report.table("ndjson", &rows);
    Ok(())
}

/// Of JSON lines by the verb, into a store that is empty: sealing meanwhile.
///
/// # Errors
/// None.
pub fn import(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("import");
    let data = Dataset::at(&dir);
    let events = bench.settings.imported;
    data.write_lines(events, (events / 50).max(10));
    let (mut rates, mut memory) = (Vec::new(), 0.0_f64);
    for round in 0..bench.settings.rounds.min(3) {
        let store = dir.join(format!("store-{round}"));
        drop(Server::named("made", &store));
        let (time, most) = imported(&data.lines, &store);
        rates.push(events as f64 / time.as_secs_f64());
        memory = memory.max(most);
        std::fs::remove_dir_all(&store).expect("a folder that can go");
    }
    let row = Row::new("JSON lines", Unit::PerSecond("events"), &rates);
    println!("{events} events");
    report.table("import", &[row.with("memory", Unit::Memory, memory)]);
    Ok(())
}

fn imported(lines: &Path, store: &Path) -> (Duration, f64) {
    let began = Instant::now();
    let memory = run_watched(&["import", "events", &lines.display().to_string()], store);
    (began.elapsed(), memory)
}
