//! Segments and exports as other programs see them: DuckDB, pandas, Polars and pyarrow open them as they
//! are, and what those write back is understood here.

#[path = "../benches/generator/mod.rs"]
mod generator;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use triggerly::model::record::{Event, UserPatch};
use triggerly::model::{AccountId, Change, Date, Record, Seq, Via};
use triggerly::store::segment::{
    EventRow, Moment, ROW_GROUP_ROWS_MAX, SegmentWriter, Table, UserRow, UsersWriter,
};

const ACCOUNT: AccountId = AccountId(1);

/// Texts that have been spoilt on the way before.
const ODD: [&str; 6] = [
    "{}",
    r#"{"n":1234567890123456789012345678901234567890,"e":1E5,"f":1.0,"z":-0}"#,
    r#"{"text":"Zürich 😀 👩‍👩‍👧 \u0000 \" \\ \n","":""}"#,
    r#"{"=cmd":"=1+1","null":null,"deep":{"a":[1,{"b":[]}]}}"#,
    r#"{"text":"東京 \ud83d\ude00"}"#,
    r#"{"quote":"it's","csv":"a,b\r\nc;d"}"#,
];

/// The interpreter that has the programs: that of `TRIGGERLY_PYTHON`, or one made here.
fn python(dir: &Path) -> PathBuf {
    if let Some(python) = std::env::var_os("TRIGGERLY_PYTHON") {
        return python.into();
    }
    let python = dir.join("venv/bin/python");
    run(Command::new("python3").arg("-m").arg("venv").arg(dir.join("venv")));
    let packages = ["duckdb", "pandas", "polars", "pyarrow"];
    run(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages));
    python
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

fn compare(python: &Path, files: &str, expected: &Value, out: &Path) {
    fs::create_dir_all(out).expect("a folder");
    let path = out.join("expected.json");
    fs::write(&path, expected.to_string()).expect("it is written");
    let script = "tests/support/segments.py";
    run(Command::new(python).arg(script).arg(files).arg(&path).arg(out));
}

/// Two segments, and their rows as the columns show them.
fn segments(dir: &Path) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    let count = ROW_GROUP_ROWS_MAX as u64 + 2000;
    let mut events = generator::events(7, count, 5000);
    let mut users = generator::users(7, 5000);
    for (number, size) in [(1, count), (2, 100)] {
        let file = File::create(dir.join(format!("segment-{number}.parquet"))).expect("a file");
        let mut writer = SegmentWriter::new(file, ACCOUNT, "Café 😀").expect("new");
        for _ in 0..size {
            let seq = rows.len() as Seq * 2 + 1;
            let via = [Via::Public, Via::Secret, Via::Import][rows.len() % 3];
            let (received_at, row);
            let mut context = None;
            if rows.len() % 10 == 9 {
                let (id, mut patch) = users.next().expect("there are enough");
                if rows.len() % 100 == 99 {
                    patch = ODD[rows.len() / 100 % ODD.len()].to_owned();
                }
                received_at = Date::from_millis(1_767_225_600_000 + seq as i64);
                let change =
                    UserPatch { account: ACCOUNT, via, id: &id, patch: &patch, context: None };
                let record = Record { received_at, change: Change::User(change), keyed: None };
                writer.put(seq, &record).expect("it fits");
                row = (Value::Null, "user", Value::Null, json!(id), patch);
            } else {
                let Some(mut event) = events.next() else { break };
                if rows.len() % 100 == 0 {
                    event.attributes = ODD[rows.len() / 100 % ODD.len()].to_owned();
                }
                received_at = Date::from_millis(event.date + 1234);
                context = (rows.len() % 3 == 0).then(|| format!(r#"{{"visitor":"{seq}"}}"#));
                let change = Event {
                    account: ACCOUNT,
                    via,
                    kind: event.kind,
                    user_id: event.user_id.as_deref(),
                    date: Date::from_millis(event.date),
                    attributes: &event.attributes,
                    context: context.as_deref(),
                };
                let record = Record { received_at, change: Change::Event(change), keyed: None };
                writer.put(seq, &record).expect("it fits");
                row = (
                    json!(event.date),
                    "event",
                    json!(event.kind),
                    json!(event.user_id),
                    event.attributes,
                );
            }
            let (date, kind, of_type, user_id, attributes) = row;
            rows.push(vec![
                json!(seq),
                json!(received_at.millis()),
                date,
                json!("Café 😀"),
                json!(kind),
                of_type,
                user_id,
                json!(attributes),
                json!(context),
                json!(via.name()),
            ]);
        }
        writer.finish().expect("it is written");
    }
    rows
}

/// An instant in milliseconds, as the row of the file had it.
fn millis(moment: Option<Moment<'_>>) -> Value {
    match moment {
        Some(Moment::Date(date)) => json!(date.millis()),
        Some(Moment::Text(text)) => json!(text),
        None => Value::Null,
    }
}

#[test]
#[ignore = "needs DuckDB, pandas and Polars from PyPI"]
fn other_programs_open_what_is_written_and_write_what_is_understood() {
    let dir = tempfile::tempdir().expect("a folder");
    let python = python(dir.path());

    let rows = segments(dir.path());
    let columns: serde_json::Map<String, Value> = [
        ("seq", "integer"),
        ("received_at", "timestamp"),
        ("date", "timestamp"),
        ("account", "text"),
        ("kind", "text"),
        ("type", "text"),
        ("user_id", "text"),
        ("attributes", "text"),
        ("context", "text"),
        ("via", "text"),
    ]
    .map(|(name, kind)| (name.to_owned(), json!(kind)))
    .into_iter()
    .collect();
    let files = format!("{}/segment-*.parquet", dir.path().display());
    let out = dir.path().join("events");
    compare(&python, &files, &json!({"columns": columns, "rows": rows}), &out);
    for program in ["duckdb", "pandas", "polars", "pyarrow"] {
        let table = Table::open(&out.join(format!("{program}.parquet"))).expect(program);
        assert_eq!(table.rows(), rows.len() as u64, "{program}");
        let mut back = Vec::new();
        let read = table.events(&mut |row: EventRow<'_>| {
            let (date, received_at) = (millis(row.date), millis(row.received_at));
            back.push((
                row.seq,
                json!([
                    received_at,
                    date,
                    row.record,
                    row.kind,
                    row.user_id,
                    row.attributes,
                    row.context,
                    row.via
                ]),
            ));
            ControlFlow::Continue(())
        });
        read.expect(program);
        back.sort_by_key(|(seq, _)| *seq);
        assert_eq!(back.len(), rows.len(), "{program}");
        for ((seq, back), row) in back.iter().zip(&rows) {
            let row = [1, 2, 4, 5, 6, 7, 8, 9].map(|column| row[column].clone());
            assert_eq!(*back, json!(row), "{program}: seq {seq:?}");
        }
    }

    let path = dir.path().join("users.parquet");
    let mut writer = UsersWriter::new(File::create(&path).expect("a file")).expect("new");
    let mut users: Vec<_> = generator::users(3, 1000).collect();
    users.sort();
    let mut rows = Vec::new();
    for (n, (id, attributes)) in users.iter().enumerate() {
        let email = (n % 3 > 0).then_some("jo@exämple.com");
        let attributes = if n % 7 == 0 { ODD[n % ODD.len()] } else { attributes };
        let dates = [n as i64 * 1000, n as i64 * 1001];
        let [created_at, updated_at] = dates.map(Date::from_millis);
        writer.put(id, email, attributes, created_at, updated_at).expect("it fits");
        rows.push(json!([id, email, dates[0], dates[1], attributes]));
    }
    writer.finish().expect("it is written");
    let columns = json!({
        "id": "text", "email": "text", "created_at": "timestamp", "updated_at": "timestamp",
        "attributes": "text",
    });
    let out = dir.path().join("users");
    let expected = json!({"columns": columns, "rows": rows});
    compare(&python, &path.display().to_string(), &expected, &out);
    for program in ["duckdb", "pandas", "polars", "pyarrow"] {
        let table = Table::open(&out.join(format!("{program}.parquet"))).expect(program);
        let mut back = Vec::new();
        let read = table.users(&mut |row: UserRow<'_>| {
            let (created_at, updated_at) = (millis(row.created_at), millis(row.updated_at));
            back.push(json!([row.id, row.email, created_at, updated_at, row.attributes]));
            ControlFlow::Continue(())
        });
        read.expect(program);
        back.sort_by_key(|row| row[0].as_str().map(str::to_owned));
        assert!(back == rows, "{program}");
    }
}
