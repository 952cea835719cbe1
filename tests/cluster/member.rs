//! One process of a site, on a host of its own: started, killed and started again on the same data, paused, cut
//! off. What it says is kept, and its last lines are shown when the test fails.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::network::Host;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Member {
    /// As it is called where it is spoken of: `nats-2`.
    pub name: String,
    pub host: Host,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// Its data.
    pub dir: PathBuf,
    program: String,
    arguments: Vec<String>,
    child: Option<Child>,
    /// Where in its standard error what it said before its last start ends.
    said_before: u64,
}

impl Member {
    /// One that doesn't run yet.
    pub fn new(
        name: String,
        host: Host,
        port: u16,
        dir: PathBuf,
        program: &str,
        arguments: Vec<String>,
    ) -> Member {
        let address = SocketAddr::from((host.address, port));
        let program = program.to_owned();
        Member { name, host, address, dir, program, arguments, child: None, said_before: 0 }
    }

    /// From its next start on it has these arguments too, unless it has them.
    pub fn say_more(&mut self, arguments: &[&str]) {
        if !self.arguments.iter().any(|argument| argument == arguments[0]) {
            self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        }
    }

    /// Starts it, anew if it ran before, and doesn't wait for anything.
    pub fn start(&mut self) {
        self.kill();
        let error = OpenOptions::new().create(true).append(true).open(self.error_path());
        let error = error.expect("a file");
        self.said_before = error.metadata().expect("a file").len();
        let mut command = self.host.command(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRIGGERLY_") {
                command.env_remove(name);
            }
        }
        let output = File::create(self.output_path()).expect("a file");
        command.args(&self.arguments).stdin(Stdio::null()).stdout(output).stderr(error);
        self.child = Some(command.spawn().expect("ip of iproute2"));
    }

    /// SIGKILL: gone at once, whatever it was doing.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{} doesn't end", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("it can be waited for")
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("it runs").id();
        let pid = Pid::from_raw(pid as i32).expect("a process");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// Its standard output since it was last started.
    pub fn output(&self) -> String {
        fs::read_to_string(self.output_path()).unwrap_or_default()
    }

    /// Its standard error since it was last started.
    pub fn said(&self) -> String {
        let all = fs::read(self.error_path()).unwrap_or_default();
        let since = all.get(self.said_before as usize..).unwrap_or_default();
        String::from_utf8_lossy(since).into_owned()
    }

    fn output_path(&self) -> PathBuf {
        self.dir.with_extension("out")
    }

    fn error_path(&self) -> PathBuf {
        self.dir.with_extension("err")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = fs::read(self.error_path()).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let lines: Vec<_> = said.lines().collect();
            println!("--- {} said at last:", self.name);
            for line in &lines[lines.len().saturating_sub(15)..] {
                println!("{line}");
            }
        }
    }
}
