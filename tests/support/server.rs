//! The real binary, started on a folder of the test's own and on a free port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Reply, base64, escape, request};

/// How long the server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs; killed when dropped.
pub struct Server {
    child: Child,
    pub dir: PathBuf,
    pub address: SocketAddr,
    /// What the first run printed; empty in later runs.
    pub printed: Vec<String>,
    pub api_token: String,
    pub secret_key: String,
}

/// The command, with nothing of ours in its environment.
pub fn triggerly() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerly"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIGGERLY_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a verb on a folder and waits for it.
pub fn verb(dir: &Path, arguments: &[&str]) -> Output {
    triggerly().args(arguments).arg("--data").arg(dir).output().expect("the command runs")
}

impl Server {
    /// Starts on a folder that has no store yet, or that an earlier one left. The credentials are
    /// known only in the first case; see [`Server::again`].
    pub fn start(dir: &Path) -> Server {
        Server::start_with(dir, &[])
    }

    /// The same with more arguments.
    pub fn start_with(dir: &Path, arguments: &[&str]) -> Server {
        let mut command = triggerly();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--data"]).arg(dir);
        command.args(arguments);
        Server::run(command, dir)
    }

    /// Starts by a command that serves `dir` on a free port.
    pub fn run(mut command: Command, dir: &Path) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut printed = Vec::new();
        let address = loop {
            let line = told.recv_timeout(PATIENCE).expect("the server says where it listens");
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse().expect("an address");
            }
            printed.push(line);
        };
        let value = |key: &str| {
            let line = printed.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        Server {
            child,
            dir: dir.to_owned(),
            address,
            api_token: value("api_token"),
            secret_key: value("secret_key"),
            printed,
        }
    }

    /// Starts anew on the same folder, after [`Server::kill`] or [`Server::terminate`].
    pub fn again(mut self) -> Server {
        self.kill();
        let mut again = Server::start(&self.dir);
        again.api_token = std::mem::take(&mut self.api_token);
        again.secret_key = std::mem::take(&mut self.secret_key);
        again
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// SIGKILL: the process is gone at once, whatever it was doing.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the server doesn't end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// GET without credentials.
    pub fn get(&self, target: &str) -> Reply {
        request(self.address, "GET", target, &[])
    }

    /// GET with the secret key.
    pub fn read(&self, target: &str) -> Reply {
        let bearer = format!("Bearer {}", self.secret_key);
        request(self.address, "GET", target, &[("Authorization", &bearer)])
    }

    /// The target that tracks `json` (`kind` is `events` or `users`) with the account's token.
    pub fn target(&self, kind: &str, json: &str) -> String {
        let data = escape(&base64(json));
        format!("/v1/{kind}/track?api_token={}&data={data}", self.api_token)
    }

    /// Tracks, and expects it to be accepted.
    pub fn track(&self, kind: &str, json: &str) {
        let reply = self.get(&self.target(kind, json));
        assert_eq!(reply.status, 200, "{json}: {reply:?}");
        assert_eq!(reply.text(), r#"{"status":"ok"}"#);
    }

    /// All events by pages, oldest first.
    pub fn all_events(&self) -> Vec<serde_json::Value> {
        let mut events = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.read(&format!("/v1/events?order=asc&limit=1000{cursor}")).json();
            events.extend(page["events"].as_array().expect("a list").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return events,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
