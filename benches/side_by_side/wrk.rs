//! Driving servers with `wrk`: pixels of many users by turns, so that data differ, and what it tells of them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::beside::{Server, base64};
use crate::report::{Row, Unit, median};

/// Users by turns.
const USERS: u32 = 10_000;

/// Reads the paths once, and tells what it has seen in a line that a program can read.
const SCRIPT: &str = r#"
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
wrk.headers["Accept"] = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
wrk.headers["Accept-Language"] = "en-US,en;q=0.5"
wrk.headers["Referer"] = "https://example.com/pricing"

local requests, at = {}, 0

function init(args)
  if args[2] == "new" then wrk.headers["Connection"] = "close" end
  for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("seen %d %d %d %d %d %d %d %d %d %d\n", summary.duration, summary.requests,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"#;

/// The requests of one account.
pub struct Wrk {
    script: PathBuf,
    paths: PathBuf,
}

/// Whether connections stay open.
#[derive(Clone, Copy, PartialEq)]
pub enum Connections {
    Kept(usize),
    /// One for each call, so many at a time.
    New(usize),
}

/// What a round came to.
struct Seen {
    calls: u64,
    seconds: f64,
    /// In seconds.
    p50: f64,
    p99: f64,
    max: f64,
    /// Calls that took more than two seconds.
    late: u64,
}

impl Wrk {
    /// Pixels of the account whose token it is; other servers take them as they are.
    pub fn of(dir: &Path, token: &str) -> Wrk {
        let (script, paths) =
            (dir.join(format!("{token}.lua")), dir.join(format!("{token}.paths")));
        fs::write(&script, SCRIPT).expect("a file");
        let mut out = BufWriter::new(File::create(&paths).expect("a file"));
        for user in 0..USERS {
            let event = format!(
                r#"{{"type":"view","user_id":"u{user:04}","page":"/pricing","referrer":"https://example.com/","width":1280}}"#
            );
            let mut path = format!("/v1/events/track?api_token={token}&data=").into_bytes();
            base64(event.as_bytes(), &mut path);
            path.extend_from_slice(b"&image=1\n");
            out.write_all(&path).expect("room");
        }
        out.flush().expect("room");
        Wrk { script, paths }
    }

    /// One round.
    ///
    /// # Errors
    /// In words, if a call or a connection failed: what was measured then says nothing.
    fn run(&self, server: &Server, connections: Connections, seconds: u64) -> Result<Seen, String> {
        let (count, mode) = match connections {
            Connections::Kept(count) => (count, "kept"),
            Connections::New(count) => (count, "new"),
        };
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--connections", &count.to_string()]);
        command.args(["--duration", &format!("{seconds}s"), "--script"]).arg(&self.script);
        command.arg(format!("http://{}/", server.addr)).arg("--").arg(&self.paths).arg(mode);
        let output = command.output().expect("wrk starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let why = |what: &str| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("{}, {count} connections ({mode}): {what}: {text}{errors}", server.name)
        };
        if !output.status.success() {
            return Err(why(&output.status.to_string()));
        }
        let line = text.lines().find_map(|line| line.strip_prefix("seen "));
        let line = line.ok_or_else(|| why("no figures"))?;
        let numbers: Option<Vec<u64>> = line.split(' ').map(|number| number.parse().ok()).collect();
        let Some([micros, calls, p50, p99, max, errors @ ..]) = numbers.as_deref() else {
            return Err(why("figures of another form"));
        };
        let &[ref broken @ .., late] = errors else {
            return Err(why("figures of another form"));
        };
        // A bare tiny_http leaves connections waiting; that is told of it, and is no failure of ours.
        let ours = !server.token.is_empty();
        if broken != [0; 4] || ours && late > 0 {
            return Err(why("errors (connecting, reading, writing, of status, too late)"));
        }
        if *calls == 0 {
            return Err(why("no call was answered"));
        }
        let of_micros = |micros: u64| micros as f64 / 1e6;
        Ok(Seen {
            calls: *calls,
            seconds: of_micros(*micros),
            p50: of_micros(*p50),
            p99: of_micros(*p99),
            max: of_micros(*max),
            late,
        })
    }
}

/// One server's rounds.
pub struct Trial<'a> {
    pub server: &'a Server,
    rates: Vec<f64>,
    seen: Vec<Seen>,
    cpu: f64,
}

impl<'a> Trial<'a> {
    pub fn of(server: &'a Server) -> Trial<'a> {
        Trial { server, rates: Vec::new(), seen: Vec::new(), cpu: 0.0 }
    }

    /// One more round.
    ///
    /// # Errors
    /// As [`Wrk::run`].
    pub fn run(&mut self, wrk: &Wrk, connections: Connections, seconds: u64) -> Result<(), String> {
        let before = self.server.cpu();
        let seen = wrk.run(self.server, connections, seconds)?;
        self.cpu += self.server.cpu() - before;
        self.rates.push(seen.calls as f64 / seen.seconds);
        self.seen.push(seen);
        Ok(())
    }

    pub fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// That of the last round.
    #[cfg(feature = "jetstream")]
    pub fn last_rate(&self) -> f64 {
        self.rates.last().copied().unwrap_or_default()
    }

    /// In seconds, the median of those of the rounds.
    #[cfg(feature = "jetstream")]
    pub fn p99(&self) -> f64 {
        median(&self.seen.iter().map(|seen| seen.p99).collect::<Vec<_>>())
    }

    /// Percentiles are the medians of those of the rounds; of the longest time, it is the longest.
    pub fn row(&self, what: String) -> Row {
        let middle = |of: fn(&Seen) -> f64| median(&self.seen.iter().map(of).collect::<Vec<_>>());
        let calls: u64 = self.seen.iter().map(|seen| seen.calls).sum();
        let late: u64 = self.seen.iter().map(|seen| seen.late).sum();
        let max = self.seen.iter().map(|seen| seen.max).fold(0.0, f64::max);
        Row::new(what, Unit::PerSecond("calls"), &self.rates)
            .with("p50", Unit::Time, middle(|seen| seen.p50))
            .with("p99", Unit::Time, middle(|seen| seen.p99))
            .with("max", Unit::Time, max)
            .with("later than 2 s", Unit::Count, late as f64)
            .with("CPU a call", Unit::Micros, self.cpu / calls as f64)
            .with("memory", Unit::Memory, self.server.rss())
    }
}
