//! What questions cost with ten million events behind: each beside DuckDB on the same segments, and what
//! tracking feels of those who ask.
//!
//! ```text
//! cargo bench --bench questions -- [--events 10000000] [--users 200000] [--rounds 7] [--only TEXT] [--keep DIR]
//! cargo bench --bench questions -- --tracking [--readers 8] [--connections 64] [--seconds 5] [--rounds 7] [--keep DIR]
//! ```
//! The server is the real program; its times are from a question's first byte sent, over HTTP on the
//! loopback, to the last one of its answer. DuckDB runs in Python with `threads = 1`, for triggerly answers
//! a question with one thread, and `memory_limit = '128MB'`; its times are those of the statement and the
//! fetching of its rows alone. Their rounds alternate, after one of each that isn't counted. Each answer is
//! compared with DuckDB's.
//!
//! Needs DuckDB from PyPI. Without cargo's `--bench`, as under `cargo test`, the server alone is asked, on a
//! few events.

#[path = "beside/asker.rs"]
mod asker;
mod beside;
#[path = "beside/dataset.rs"]
mod dataset;
mod generator;

use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use asker::{Asker, Duck, LIMIT, Took};
use beside::{Flags, Rounds, Scratch, Server, kilobytes, machine, millis};
use dataset::{Dataset, RARE, timed};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Thirty days of the two years.
const DAYS: &str = "&from=2025-06-01&to=2025-07-01";

/// The same in SQL.
const IN_DAYS: &str =
    "date >= timestamptz '2025-06-01 00:00:00+00' and date < timestamptz '2025-07-01 00:00:00+00'";

/// Where DuckDB looks up the other columns once it knows which rows are wanted: quicker where these lie
/// together, slower where they don't. Each question has the setting with which it is quicker.
const LATE: &str = "set late_materialization_max_rows = 1000; ";
const EARLY: &str = "set late_materialization_max_rows = 0; ";

/// Of a question of which DuckDB's rounds have taken so long, there are no more than so many.
const LONG: Duration = Duration::from_secs(20);
const ROUNDS_MIN: usize = 3;

type Rows = Vec<Vec<Value>>;

/// What is asked of both.
struct Question {
    name: String,
    /// What it may take, in milliseconds.
    bound: Option<u32>,
    target: String,
    sql: String,
    /// What an answer and DuckDB's rows come to when they are the same.
    same: fn(&Value, &Rows) -> Result<(), String>,
}

fn main() -> ExitCode {
    let flags = Flags::read();
    let events: u64 = flags.number("--events", 10_000_000, 20_000);
    let users: u64 = flags.number("--users", 200_000, 500);
    let rounds: usize = flags.number("--rounds", 7, 1);

    let scratch = Scratch::new();
    let dir = flags.folder(&scratch);
    println!("{}\n", machine(&scratch.0));
    let data = Dataset::at(&dir);
    data.make(events, users);
    let secret = &Server::secret(&data.store);

    let whole = flags.is_whole();
    if flags.has("--tracking") || !whole {
        let seconds: f64 = flags.number("--seconds", 5.0, 0.1);
        let readers: usize = flags.number("--readers", 8, 2);
        let connections: usize = flags.number("--connections", 64, 4);
        let time = Duration::from_secs_f64(seconds);
        tracking(&data, secret, readers, connections, time, rounds);
    }
    if !flags.has("--tracking") {
        if whole {
            timed("reindex", &["reindex"], &data.store);
        }
        let (bytes, indexes) = (data.bytes(), data.index_bytes());
        println!(
            "at rest: {bytes} bytes, of which {indexes} are indexes: {:.1} % on top of the rest\n",
            100.0 * indexes as f64 / (bytes - indexes) as f64
        );
        return ask(&data, secret, rounds, flags.value("--only").unwrap_or_default(), whole);
    }
    ExitCode::SUCCESS
}

/// Prints the table. Fails if an answer isn't DuckDB's.
fn ask(data: &Dataset, secret: &str, rounds: usize, only: &str, beside_duckdb: bool) -> ExitCode {
    let server = Server::named("triggerly", &data.store);
    let mut asker = Asker::of(&server, secret);
    let segments = format!("{}/segments/*.parquet", data.store.display());
    let mut duck = beside_duckdb.then(|| Duck::of(&segments, &data.dir));
    let busy = duck.as_mut().map_or_else(|| some_users(data), busy_users);
    let mut failed = false;
    println!(
        "| question | triggerly: median (min - max) | CPU | DuckDB: median (min - max) | CPU | ratio | of CPU | at most |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: |");
    for question in questions(&busy) {
        if !question.name.contains(only) {
            continue;
        }
        let (answer, first) = asker.answer(&question.target);
        if answer.get("missing").is_some() || answer["lag"].as_u64().is_some_and(|lag| lag > 0) {
            println!("{}: missing or behind: {answer:.300}", question.name);
            failed = true;
        }
        let (mut own, mut other) = (vec![first], Vec::new());
        let mut why_not = String::new();
        if let Some(duck) = &mut duck {
            let rows = duck.ask(&question.sql).or_else(|error| {
                why_not = error;
                // To compare with all the same.
                duck.ask("set memory_limit = '4GB'").and_then(|_| duck.ask(&question.sql))
            });
            let compared = rows.and_then(|(rows, _)| (question.same)(&answer, &rows));
            if let Err(why) = compared {
                println!("{}: not DuckDB's answer: {why}", question.name);
                failed = true;
            }
            let _ = duck.ask(LIMIT);
            own.clear();
            while own.len() < rounds
                && (own.len() < ROUNDS_MIN
                    || other.iter().map(|took: &Took| took.time).sum::<Duration>() < LONG)
            {
                own.push(asker.answer(&question.target).1);
                if why_not.is_empty() {
                    match duck.ask(&question.sql) {
                        Ok((_, took)) => other.push(took),
                        Err(error) => why_not = error,
                    }
                }
            }
        }
        let own = Spread::of(&own);
        let (told, cpu, ratio, ratio_of_cpu) = if other.is_empty() {
            (why_not, String::new(), String::new(), String::new())
        } else {
            let other = Spread::of(&other);
            let ratio =
                |own: Duration, other: Duration| format!("{:.3}", own.div_duration_f64(other));
            let ratios = (ratio(own.median, other.median), ratio(own.cpu, other.cpu));
            (other.told, millis(other.cpu), ratios.0, ratios.1)
        };
        let bound = question.bound.map_or_else(String::new, |bound| format!("{bound} ms"));
        println!(
            "| {} | {} | {} | {told} | {cpu} | {ratio} | {ratio_of_cpu} | {bound} |",
            question.name,
            own.told,
            millis(own.cpu)
        );
    }
    let most = kilobytes(&format!("/proc/{}/status", server.child.id()), "VmHWM:") / 1024.0;
    println!("\ntriggerly had at most {most:.0} MiB resident.");
    if let Some(duck) = &duck {
        println!("DuckDB had at most {:.0} MiB resident, Python included.", duck.mebibytes);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Several rounds of one question.
struct Spread {
    told: String,
    median: Duration,
    cpu: Duration,
}

impl Spread {
    fn of(took: &[Took]) -> Spread {
        let sorted = |of: fn(&Took) -> Duration| {
            let mut times: Vec<Duration> = took.iter().map(of).collect();
            times.sort_unstable();
            times
        };
        let (times, cpu) = (sorted(|took| took.time), sorted(|took| took.cpu));
        let (median, cpu) = (times[times.len() / 2], cpu[cpu.len() / 2]);
        let (min, max) = (millis(times[0]), millis(times[times.len() - 1]));
        Spread { told: format!("{} ({min} - {max})", millis(median)), median, cpu }
    }
}

/// The busiest user, and those with next to 2,000, 1,000 and 500 events.
fn busy_users(duck: &mut Duck) -> Vec<(String, u64)> {
    let counts = "select user_id, count(*) as n from log where kind = 'event' and user_id is not null group by 1";
    let mut busy = Vec::new();
    for sql in [
        format!("select user_id, n from ({counts}) order by n desc, 1 limit 1"),
        format!("select user_id, n from ({counts}) where n <= 2000 order by n desc, 1 limit 1"),
        format!("select user_id, n from ({counts}) where n <= 1000 order by n desc, 1 limit 1"),
        format!("select user_id, n from ({counts}) where n >= 500 order by n, 1 limit 1"),
    ] {
        let (rows, _) = duck.ask(&sql).expect("an answer");
        let [id, count] = &rows[0][..] else { panic!("two columns") };
        busy.push((id.as_str().expect("text").to_owned(), count.as_u64().expect("a count")));
    }
    busy
}

/// Two of the first who come.
fn some_users(data: &Dataset) -> Vec<(String, u64)> {
    let lines = fs::read_to_string(&data.user_lines).expect("a file");
    let ids = lines.lines().take(2).map(|line| {
        let user: Value = serde_json::from_str(line).expect("JSON");
        (user["id"].as_str().expect("text").to_owned(), 0)
    });
    ids.collect()
}

/// A question, in the words of both.
fn question(
    name: &str,
    bound: Option<u32>,
    target: impl Into<String>,
    sql: impl Into<String>,
    same: fn(&Value, &Rows) -> Result<(), String>,
) -> Question {
    Question { name: name.to_owned(), bound, target: target.into(), sql: sql.into(), same }
}

fn questions(busy: &[(String, u64)]) -> Vec<Question> {
    let day = "epoch_ms(date) // 86400000";
    let page = "json_extract_string(attributes, '$.page')";
    let views = "kind = 'event' and type = 'page view'";
    let mut questions = vec![
        question(
            "page views a day over two years",
            Some(20),
            "/v1/stats?type=page%20view",
            format!("select {day} as day, count(*) from log where {views} group by 1 order by 1"),
            |answer, rows| same_counts(answer, rows, &["from", "count"]),
        ),
        question(
            "events of each type a day over two years",
            None,
            "/v1/stats",
            format!(
                "select {day} as day, type, count(*) from log where kind = 'event' group by 1, 2 order by 1, 2"
            ),
            |answer, rows| same_counts(answer, rows, &["from", "type", "count"]),
        ),
        question(
            "distinct users a day, of page views, over two years (approx_count_distinct)",
            None,
            "/v1/stats?type=page%20view",
            format!(
                "select {day} as day, count(*), approx_count_distinct(user_id) from log where {views} group by 1 order by 1"
            ),
            |answer, rows| same_counts(answer, rows, &["from", "count"]),
        ),
        // Half an hour beside UTC's hours: users are counted from the events, and so is each day's rest.
        question(
            "the same by the days of Asia/Kolkata",
            None,
            "/v1/stats?type=page%20view&tz=Asia/Kolkata",
            format!(
                "select (epoch_ms(date) + 19800000) // 86400000 - 1 as day, count(*), approx_count_distinct(user_id) from log where {views} group by 1 order by 1"
            ),
            |answer, rows| same_counts(answer, rows, &["from", "count"]),
        ),
        question(
            "the same, to DuckDB's count(distinct)",
            None,
            "/v1/stats?type=page%20view",
            format!(
                "select {day} as day, count(*), count(distinct user_id) from log where {views} group by 1 order by 1"
            ),
            |answer, rows| {
                same_counts(answer, rows, &["from", "count"])?;
                near_distinct(answer, rows)
            },
        ),
        question(
            "sign-ups a day in 2025",
            None,
            "/v1/stats?type=sign%20up&from=2025-01-01&to=2026-01-01",
            format!(
                "select {day} as day, count(*) from log where kind = 'event' and type = 'sign up' and date >= timestamptz '2025-01-01 00:00:00+00' and date < timestamptz '2026-01-01 00:00:00+00' group by 1 order by 1"
            ),
            |answer, rows| same_counts(answer, rows, &["from", "count"]),
        ),
        question(
            "top 10 pages over 30 days",
            Some(100),
            format!("/v1/breakdown?type=page%20view&by=page&top=10{DAYS}"),
            format!(
                "select {page}, count(*) as n from log where {views} and {IN_DAYS} group by 1 order by n desc, 1 limit 10"
            ),
            same_top,
        ),
        question(
            "top 10 pages over two years",
            Some(2000),
            "/v1/breakdown?type=page%20view&by=page&top=10",
            format!(
                "select {page}, count(*) as n from log where {views} group by 1 order by n desc, 1 limit 10"
            ),
            same_top,
        ),
        question(
            "newest 100",
            Some(10),
            "/v1/events?limit=100",
            format!(
                "{LATE}select seq, type, date, attributes, user_id from log where kind = 'event' order by seq desc limit 100"
            ),
            |answer, rows| same_seqs(&answer["events"], rows),
        ),
        question(
            "newest 100 of a type (1 of 100)",
            Some(10),
            "/v1/events?limit=100&type=sign%20up",
            format!(
                "{EARLY}select seq, type, date, attributes, user_id from log where kind = 'event' and type = 'sign up' order by seq desc limit 100"
            ),
            |answer, rows| same_seqs(&answer["events"], rows),
        ),
        question(
            "newest 100 of a rare type (1 of 100,000)",
            Some(10),
            format!("/v1/events?limit=100&type={RARE}"),
            format!(
                "{EARLY}select seq, type, date, attributes, user_id from log where kind = 'event' and type = '{RARE}' order by seq desc limit 100"
            ),
            |answer, rows| same_seqs(&answer["events"], rows),
        ),
        question(
            "page views a day with `width>=1280`, 30 days",
            Some(200),
            format!("/v1/stats?type=page%20view&where={}{DAYS}", escape("width>=1280")),
            format!(
                "select {day} as day, count(*), approx_count_distinct(user_id) from log where {views} and {IN_DAYS} and cast(json_extract_string(attributes, '$.width') as double) >= 1280 group by 1 order by 1"
            ),
            |answer, rows| same_counts(answer, rows, &["from", "count"]),
        ),
        question(
            "page views a day with `page=/`, 30 days",
            Some(200),
            format!("/v1/stats?type=page%20view&where={}{DAYS}", escape("page=/")),
            format!(
                "select {day} as day, count(*), approx_count_distinct(user_id) from log where {views} and {IN_DAYS} and {page} = '/' group by 1 order by 1"
            ),
            |answer, rows| same_counts(answer, rows, &["from", "count"]),
        ),
        question(
            "funnel page view → added to cart → purchase within 7 days, 30 days",
            None,
            format!("/v1/funnel?steps=page%20view,added%20to%20cart,purchase&within=7d{DAYS}"),
            funnel(),
            same_funnel,
        ),
    ];
    for (id, count) in busy {
        questions.push(question(
            &format!("timeline of 500, of a user with {count} events"),
            Some(10),
            format!("/v1/users/{}/timeline?limit=500", escape(id)),
            format!(
                "{LATE}select seq, kind, type, date, received_at, attributes, via from log where user_id = '{id}' order by seq desc limit 500"
            ),
            |answer, rows| same_seqs(&answer["timeline"], rows),
        ));
    }
    questions
}

/// Who got how far: with each event goes the latest start from which the steps before it were made.
fn funnel() -> String {
    let steps = "select user_id, seq, date, type from log where kind = 'event' and user_id is not null and type in ('page view', 'added to cart', 'purchase')";
    let so_far = "over (partition by user_id order by date, seq)";
    format!(
        "with steps as ({steps} and {IN_DAYS}), \
         started as (select *, max(case when type = 'page view' then date end) {so_far} as start from steps), \
         filled as (select *, max(case when type = 'added to cart' and date - start <= interval 7 days then start end) {so_far} as cart from started) \
         select count(distinct case when type = 'page view' then user_id end), \
         count(distinct case when type = 'added to cart' and date - start <= interval 7 days then user_id end), \
         count(distinct case when type = 'purchase' and date - cart <= interval 7 days then user_id end) from filled"
    )
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn equal<T: PartialEq + std::fmt::Debug>(own: &T, other: &T) -> Result<(), String> {
    if own == other {
        Ok(())
    } else {
        Err(format!("{own:?} and {other:?}").chars().take(400).collect())
    }
}

/// Rows of counts, by these members. DuckDB's day is one since 1970.
fn same_counts(answer: &Value, rows: &Rows, members: &[&str]) -> Result<(), String> {
    let list = answer["rows"].as_array().ok_or("no rows")?;
    equal(&list.len(), &rows.len())?;
    for (own, other) in list.iter().zip(rows) {
        for (member, other) in members.iter().zip(other) {
            let own = match *member {
                "from" => {
                    let date = own["from"].as_str().and_then(triggerly::model::Date::parse);
                    Value::from(date.ok_or("no date")?.millis() / 86_400_000)
                }
                member => own[member].clone(),
            };
            equal(&own.to_string(), &other.to_string())?;
        }
    }
    Ok(())
}

/// Distinct users of each day, with the standard error that the README states: 1.5 %.
fn near_distinct(answer: &Value, rows: &Rows) -> Result<(), String> {
    let list = answer["rows"].as_array().ok_or("no rows")?;
    let mut errors: Vec<f64> = Vec::new();
    for (own, other) in list.iter().zip(rows) {
        let (own, other) = (own["users"].as_f64(), other[2].as_f64());
        let (own, other) = (own.ok_or("no number")?, other.ok_or("no number")?);
        errors.push((own / other - 1.0).abs());
    }
    errors.sort_by(f64::total_cmp);
    let square = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
    println!(
        "distinct users of {} days, the error: standard {:.2} %, at most {:.2} %",
        errors.len(),
        100.0 * square.sqrt(),
        100.0 * errors[errors.len() - 1]
    );
    if square.sqrt() > 0.015 { Err("more than is stated".to_owned()) } else { Ok(()) }
}

fn same_top(answer: &Value, rows: &Rows) -> Result<(), String> {
    let list = answer["rows"].as_array().ok_or("no rows")?;
    let own: Vec<_> =
        list.iter().map(|row| (row["value"].to_string(), row["result"].to_string())).collect();
    let other: Vec<_> = rows.iter().map(|row| (row[0].to_string(), row[1].to_string())).collect();
    equal(&own, &other)
}

fn same_seqs(list: &Value, rows: &Rows) -> Result<(), String> {
    let list = list.as_array().ok_or("no list")?;
    let own: Vec<_> = list.iter().map(|row| row["seq"].to_string()).collect();
    let other: Vec<_> = rows.iter().map(|row| row[0].to_string()).collect();
    equal(&own, &other)
}

fn same_funnel(answer: &Value, rows: &Rows) -> Result<(), String> {
    let steps = answer["steps"].as_array().ok_or("no steps")?;
    let own: Vec<_> = steps.iter().map(|step| step["users"].to_string()).collect();
    let other: Vec<_> = rows[0].iter().map(Value::to_string).collect();
    equal(&own, &other)
}

/// What is heaviest to answer: all events, or many of them, are read for it.
fn heaviest() -> [String; 4] {
    [
        "/v1/breakdown?type=page%20view&by=page&top=10".to_owned(),
        "/v1/breakdown?type=page%20view&by=title&measure=users&interval=month".to_owned(),
        format!("/v1/funnel?steps=page%20view,added%20to%20cart,purchase&within=7d{DAYS}"),
        format!("/v1/stats?type=page%20view&where={}", escape("width>=1280")),
    ]
}

/// Rounds of tracking by turns: while readers ask the heaviest questions without a pause, and while nobody
/// asks anything.
fn tracking(
    data: &Dataset,
    secret: &str,
    readers: usize,
    connections: usize,
    time: Duration,
    rounds: usize,
) {
    let server = &Server::named("tracking", &data.store);
    Rounds::of(server).run(connections, time);
    let (mut asked, mut quiet) = (Rounds::of(server), Rounds::of(server));
    let answered = AtomicU64::new(0);
    for _ in 0..rounds {
        quiet.run(connections, time);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for reader in 0..readers {
                let (over, answered) = (&over, &answered);
                scope.spawn(move || {
                    let mut asker = Asker::of(server, secret);
                    let heaviest = heaviest();
                    for question in heaviest.iter().cycle().skip(reader) {
                        if over.load(SeqCst) {
                            break;
                        }
                        let (status, body, _) = asker.ask(question);
                        // To be told that there are too many is an answer too.
                        let body = String::from_utf8_lossy(&body);
                        assert!([200, 503].contains(&status), "{question}: {body:.300}");
                        answered.fetch_add(u64::from(status == 200), SeqCst);
                    }
                });
            }
            // Until all of them have asked something.
            thread::sleep(Duration::from_millis(200).min(time));
            asked.run(connections, time);
            over.store(true, SeqCst);
        });
    }
    println!(
        "{rounds} rounds each, alternating, of {time:?}, {connections} connections, {readers} readers, {} of whose questions were answered.\n",
        answered.load(SeqCst)
    );
    println!(
        "| tracking | calls/s: median (min - max) | p50 | p99 | max | CPU/call | load's CPU/call | RSS | failed | starved |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    println!("| while they ask: {}\n| while nobody does: {}", asked.row(), quiet.row());
    println!(
        "| **ratio** | **{:.2}** | {:.2} | **{:.2}** | | | | | | |",
        asked.rate() / quiet.rate(),
        asked.latencies.p50().div_duration_f64(quiet.latencies.p50()),
        asked.latencies.p99().div_duration_f64(quiet.latencies.p99()),
    );
    let most = kilobytes(&format!("/proc/{}/status", server.child.id()), "VmHWM:") / 1024.0;
    println!("\nat most {most:.0} MiB resident\n");
}
