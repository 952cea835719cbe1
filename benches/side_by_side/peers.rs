//! What the server is measured beside: a bare tiny_http, and nginx. Neither stores what it is sent.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::beside::{Server, base64};

/// This very program, as [`serve_bare`].
pub fn bare(answer: &Path, workers: usize) -> Server {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command.arg("--bare").arg(answer).arg(workers.to_string());
    Server::start(format!("bare tiny_http, workers: {workers}"), &mut command)
}

/// The whole answer to one event, headers and all.
pub fn one_answer(server: &Server) -> Vec<u8> {
    let mut request = server.request_head().into_bytes();
    base64(br#"{"type":"view","user_id":"u0000"}"#, &mut request);
    let tail = server.request_tail().replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    request.extend_from_slice(tail.as_bytes());
    let mut stream = TcpStream::connect(server.addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(&request).expect("a request sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    answer
}

/// Serves the answer in a file, to whatever is asked, until standard input
/// ends: so that it does not outlive the bench, however that ends.
pub fn serve_bare(answer: &Path, workers: usize) -> ! {
    let answer = fs::read(answer).expect("the answer").leak();
    let blank = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let body = &answer[blank + 4..];
    let head = std::str::from_utf8(&answer[..blank]).expect("a head in text");
    // The date is left for tiny_http to tell, which it must for each answer.
    let headers: Vec<tiny_http::Header> = head
        .lines()
        .skip(1)
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"))
        .map(|line| line.parse().expect("a header"))
        .collect();
    let server = tiny_http::Server::http("127.0.0.1:0").expect("a port");
    let address = server.server_addr().to_ip().expect("an address");
    println!("listening on http://{address}");
    // Of connections that are opened at once the engine leaves some without a thread, until another
    // comes; the others are then answered the faster.
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(5));
            let _ = TcpStream::connect(address).and_then(|_| TcpStream::connect(address));
        }
    });
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                for request in server.incoming_requests() {
                    // That it ends a connection tiny_http doesn't tell by itself, and `wrk` has
                    // to know; the answer in the file does.
                    let ends = |header: &tiny_http::Header| {
                        header.field.equiv("Connection") && header.value == "close"
                    };
                    if request.headers().iter().any(ends) {
                        let mut out = request.into_writer();
                        let _ = out.write_all(answer).and_then(|()| out.flush());
                        continue;
                    }
                    let length = Some(body.len());
                    let headers = headers.clone();
                    let answer = tiny_http::Response::new(200.into(), headers, body, length, None);
                    // A client that has gone needs no answer.
                    let _ = request.respond(answer);
                }
            });
        }
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0)
    })
}

/// nginx with its `empty_gif`, and a log of each call that is written 64 KiB at a time.
pub struct Nginx {
    pub server: Server,
    log: PathBuf,
}

impl Nginx {
    /// `workers` as `worker_processes` takes them. Ends with this program, however that ends.
    pub fn start(dir: &Path, workers: &str) -> Nginx {
        let dir = dir.join(format!("nginx-{workers}"));
        fs::create_dir_all(&dir).expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = free.local_addr().expect("its address");
        drop(free);
        let (config, log) = (dir.join("nginx.conf"), dir.join("access.log"));
        fs::write(&config, configuration(&dir, &log, workers, addr)).expect("a file");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "nginx", "-e", "stderr", "-p"]).arg(&dir);
        command.arg("-c").arg(&config).stdin(Stdio::piped());
        let child = command.spawn().expect("nginx starts");
        let (name, token) = (format!("nginx, workers: {workers}"), String::new());
        // Killed, it would leave its workers behind.
        let server = Server { name, addr, token, child, end: Signal::TERM };
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "nginx doesn't listen");
            thread::sleep(Duration::from_millis(10));
        }
        Nginx { server, log }
    }

    /// Empties its log, which would come to gigabytes.
    pub fn forget(&self) {
        fs::File::create(&self.log).expect("a file that can be emptied");
    }
}

fn configuration(dir: &Path, log: &Path, workers: &str, addr: SocketAddr) -> String {
    let (dir, log) = (dir.display(), log.display());
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {dir}/{name};\n"))
        .collect();
    format!(
        "daemon off;
{user}worker_processes {workers};
pid {dir}/pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
{temporary}  access_log {log} combined buffer=64k flush=1s;
  keepalive_requests 1000000000;
  server {{
    listen {addr};
    location / {{ empty_gif; }}
  }}
}}
"
    )
}
