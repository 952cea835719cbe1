//! Those who ask: the server over one kept connection, and DuckDB in a process beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::beside::{Server, on_processors};

/// What an answer took: by the clock, and of the processors, which others don't make longer.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub time: Duration,
    pub cpu: Duration,
}

/// Asks a server by GET, with its secret key.
pub struct Asker {
    stream: BufReader<TcpStream>,
    secret: String,
    process: u32,
}

impl Asker {
    pub fn of(server: &Server, secret: &str) -> Asker {
        let stream = TcpStream::connect(server.addr).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a timeout");
        let (stream, secret) = (BufReader::with_capacity(1 << 16, stream), secret.to_owned());
        Asker { stream, secret, process: server.child.id() }
    }

    /// The status, the body, and the time from the first byte sent to the last one read.
    pub fn ask(&mut self, target: &str) -> (u16, Vec<u8>, Duration) {
        let began = Instant::now();
        let secret = &self.secret;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {secret}\r\n\r\n"
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("it takes bytes");
        let mut line = String::new();
        let mut read = || {
            line.clear();
            self.stream.read_line(&mut line).expect("an answer");
            line.trim_end().to_owned()
        };
        let first = read();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut length = 0;
        loop {
            let header = read().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        (status.unwrap_or_else(|| panic!("{first:?}")), body, began.elapsed())
    }

    /// The answer, which has to be one.
    pub fn answer(&mut self, target: &str) -> (Value, Took) {
        let before = on_processors(self.process);
        let (status, body, time) = self.ask(target);
        let cpu = on_processors(self.process).saturating_sub(before);
        assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
        (serde_json::from_slice(&body).expect("JSON"), Took { time, cpu })
    }
}

/// Runs each line, a JSON text that is a statement, and tells its rows and how long they took.
const SCRIPT: &str = r#"
import json, resource, sys, time
import duckdb
db = duckdb.connect()
for setting in sys.argv[1:]:
    db.execute(setting)
for line in sys.stdin:
    began = time.perf_counter(), time.process_time()
    try:
        answer = {"rows": db.execute(json.loads(line)).fetchall()}
    except duckdb.Error as error:
        answer = {"error": str(error)}
    answer["seconds"] = time.perf_counter() - began[0]
    answer["cpu"] = time.process_time() - began[1]
    answer["kilobytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(answer, default=str), flush=True)
"#;

/// The memory that both have.
pub const LIMIT: &str = "set memory_limit = '128MB'";

/// DuckDB by its Python package, with one thread and 128 MB, as in `settings`.
pub struct Duck {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The most memory that it had, in MiB.
    pub mebibytes: f64,
}

impl Duck {
    /// `segments` is a pattern of Parquet files, which are the view `log`.
    pub fn of(segments: &str, dir: &Path) -> Duck {
        let settings = [
            LIMIT.to_owned(),
            "set threads = 1".to_owned(),
            // It would be written among the answers.
            "set enable_progress_bar = false".to_owned(),
            // With what it says of files kept from one question to the next.
            "set parquet_metadata_cache = true".to_owned(),
            format!("set temp_directory = '{}'", dir.join("duckdb").display()),
            "set TimeZone = 'UTC'".to_owned(),
            format!("create view log as select * from read_parquet('{segments}')"),
        ];
        let mut command = Command::new(python(dir));
        command.args(["-c", SCRIPT]).args(settings).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Duck {
            input: input.expect("a pipe"),
            output: BufReader::new(output.expect("a pipe")),
            child,
            mebibytes: 0.0,
        }
    }

    /// The rows, and how long they took.
    ///
    /// # Errors
    /// What DuckDB says, as that its memory doesn't do.
    pub fn ask(&mut self, sql: &str) -> Result<(Vec<Vec<Value>>, Took), String> {
        writeln!(self.input, "{}", json!(sql)).expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        let mut answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{sql}: {error}: {line:.300}"));
        self.mebibytes = answer["kilobytes"].as_f64().expect("a number") / 1024.0;
        if let Some(error) = answer["error"].as_str() {
            return Err(error.lines().next().unwrap_or_default().to_owned());
        }
        let seconds =
            |name: &str| Duration::from_secs_f64(answer[name].as_f64().expect("a number"));
        let took = Took { time: seconds("seconds"), cpu: seconds("cpu") };
        Ok((serde_json::from_value(answer["rows"].take()).expect("rows"), took))
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter that has DuckDB: that of `TRIGGERLY_PYTHON`, or one made in the folder.
fn python(dir: &Path) -> PathBuf {
    if let Some(python) = std::env::var_os("TRIGGERLY_PYTHON") {
        return python.into();
    }
    let python = dir.join("venv/bin/python");
    if !python.exists() {
        let run = |command: &mut Command| {
            assert!(command.status().expect("it starts").success(), "{command:?}");
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(dir.join("venv")));
        run(Command::new(&python).args(["-m", "pip", "install", "-q", "duckdb"]));
    }
    python
}
