//! Caddy and nginx in front of the server, as the README has them: its own lines are taken, and changed
//! only in where to listen, without TLS.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use support::server::verb;
use support::{Reply, Server, base64, escape, parse, raw, raw_from, request};

const README: &str = include_str!("../README.md");

/// Where the README's server listens, and the name that it is reached by.
const UPSTREAM: &str = "127.0.0.1:8080";
const SITE: &str = "track.example.com";

/// What the README has in a language.
fn block(language: &str) -> String {
    let start = format!("```{language}\n");
    let (_, rest) = README.split_once(&start).expect("the README has it");
    let (block, _) = rest.split_once("```\n").expect("it ends");
    assert!(block.contains(UPSTREAM) && block.contains(SITE), "{block}");
    block.to_owned()
}

/// A proxy that runs; killed when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

impl Proxy {
    /// Starts one by a command, and waits until it listens.
    fn start(mut command: Command, address: SocketAddr, dir: tempfile::TempDir) -> Proxy {
        let child = command.stdin(Stdio::null()).spawn();
        let mut proxy = Proxy { child: child.expect("it starts"), address, _dir: dir };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = proxy.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "it ended: {ended:?}");
            assert!(began.elapsed() < Duration::from_secs(20), "it doesn't listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    fn caddy(upstream: SocketAddr) -> Proxy {
        Proxy::caddy_of(upstream, &block("caddyfile"))
    }

    /// One that believes the proxies in front of it, as nginx does by itself.
    fn caddy_behind(upstream: SocketAddr) -> Proxy {
        let inner = "flush_interval -1";
        let trusting = format!("{inner}\n\t\ttrusted_proxies 127.0.0.0/8");
        Proxy::caddy_of(upstream, &block("caddyfile").replace(inner, &trusting))
    }

    fn caddy_of(upstream: SocketAddr, site: &str) -> Proxy {
        let (dir, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let site = site
            .replace(UPSTREAM, &upstream.to_string())
            .replace(SITE, &format!("http://{address}"));
        let config = format!("{{\n\tadmin off\n\tlog {{\n\t\tlevel ERROR\n\t}}\n}}\n{site}");
        let path = write(dir.path(), "Caddyfile", &config);
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path);
        command.env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path());
        Proxy::start(command, address, dir)
    }

    fn nginx(upstream: SocketAddr) -> Proxy {
        let (dir, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let server: String = block("nginx")
            .replace(UPSTREAM, &upstream.to_string())
            .replace("listen 443 ssl http2;", &format!("listen {address};"))
            .lines()
            .filter(|line| !line.trim_start().starts_with("ssl_certificate"))
            .map(|line| format!("{line}\n"))
            .collect();
        let place = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr error;\nevents {{}}\n\
             http {{\n{temporary}access_log off;\n{server}}}\n"
        );
        let path = write(dir.path(), "nginx.conf", &config);
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(dir.path()).arg("-c").arg(path);
        Proxy::start(command, address, dir)
    }
}

fn write(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("it can be written");
    path
}

fn post(address: SocketAddr, target: &str, body: &str) -> Reply {
    parse(&raw(address, post_text(address, target, body).as_bytes())).expect("an answer")
}

fn post_text(address: SocketAddr, target: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The body of an answer that is sent in chunks.
fn dechunked(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"), "it isn't streamed");
    let (mut rest, mut body) = (&*reply.body, Vec::new());
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's head");
        let size = std::str::from_utf8(&rest[..end]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("digits");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

/// What arrives behind a proxy of a request in front of it.
fn arrives(start: fn(SocketAddr) -> Proxy, headers: &[(&str, &str)]) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = start(listener.local_addr().expect("an address"));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // Connections that were made only to see whether it listens say nothing.
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            if !head.is_empty() && tell.send(head).is_err() {
                return;
            }
        }
    });
    assert_eq!(request(proxy.address, "GET", "/", headers).status, 204);
    told.recv_timeout(Duration::from_secs(10)).expect("a request arrives")
}

fn check(start: fn(SocketAddr) -> Proxy) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(&dir.path().join("store"));
    let proxy = start(server.address);

    // 90 KB of query, which is what a browser sends of an object of that size.
    let small = json!({"type": "small"}).to_string();
    let text = "x".repeat(45 * 1024);
    let large = json!({"type": "large", "text": text}).to_string();
    let target = |json: &str| {
        let data = escape(&base64(json));
        format!("/v1/events/track?api_token={}&image=1&data={data}", server.api_token)
    };
    let padded = format!("{}&pad={}", target(&large), "p".repeat(90_000 - target(&large).len()));
    for target in [target(&small), padded] {
        let reply = request(proxy.address, "GET", &target, &[("Referer", "https://a.example/")]);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/gif")));
    }
    let events = server.all_events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["attributes"]["text"], json!(text));

    // A refusal comes through as it is.
    let nobody = "/v1/events/track?api_token=nobody&data=%7B%7D";
    assert_eq!(request(proxy.address, "GET", nobody, &[]).code(), "unknown_token");
    assert_eq!(request(proxy.address, "GET", "/healthz", &[]).status, 200);

    // A body that fits.
    let track = format!("/v1/events/track?api_token={}", server.api_token);
    let most = json!({"type": "post", "text": "x".repeat(60 * 1024)});
    let batch = serde_json::Value::from(vec![most.clone(); 80]);
    for (body, answer) in [
        (&*small, r#"{"status":"ok"}"#),
        (&*most.to_string(), r#"{"status":"ok"}"#),
        // 4.7 of the 5 MiB that a body may have.
        (&*batch.to_string(), r#"{"status":"ok","accepted":80}"#),
    ] {
        let reply = post(proxy.address, &track, body);
        assert_eq!((reply.status, reply.text()), (200, answer), "{} bytes", body.len());
    }
    assert_eq!(server.all_events().len(), 2 + 82);
    // One that doesn't isn't taken. Who goes on sending it may lose the answer to a reset.
    let excess = "x".repeat(5 * 1024 * 1024 + 1);
    let text = post_text(proxy.address, &track, &excess);
    let mut stream = TcpStream::connect(proxy.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(parse(&answer).is_none_or(|reply| reply.status == 413), "{answer:?}");
    assert_eq!(server.all_events().len(), 2 + 82);

    // An export comes whole, in pieces.
    let lines: String = (0..20_000)
        .map(|n| format!("{}\n", json!({"type": "t", "n": n, "text": "y".repeat(100)})))
        .collect();
    let file = write(dir.path(), "events.jsonl", &lines);
    let imported = verb(&server.dir, &["import", "events", file.to_str().expect("text")]);
    assert!(imported.status.success(), "{imported:?}");
    let bearer = format!("Bearer {}", server.secret_key);
    let export = |address| {
        let headers = [("Authorization", &*bearer)];
        request(address, "GET", "/v1/export?what=events", &headers)
    };
    let (direct, passed) = (dechunked(&export(server.address)), dechunked(&export(proxy.address)));
    assert!(direct.len() > 4_000_000, "{}", direct.len());
    assert!(direct == passed, "{} and {} bytes", direct.len(), passed.len());

    // Who called stands rightmost, whatever the client claims.
    for claimed in [&[][..], &[("X-Forwarded-For", "192.0.2.1")]] {
        let head = arrives(start, claimed);
        let forwarded = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-forwarded-for").then_some(value)
        });
        let last = forwarded.and_then(|list| list.rsplit(", ").next());
        assert_eq!(last, Some("127.0.0.1"), "{head:?}");
    }
}

/// Who they are whose calls came, in their order, as far as they can be told apart.
fn visitors(server: &Server) -> usize {
    let of_event = |event: serde_json::Value| {
        event["context"]["visitor"].as_str().expect("a browser's call").to_owned()
    };
    let mut visitors: Vec<_> = server.all_events().into_iter().map(of_event).collect();
    visitors.dedup();
    visitors.len()
}

const REFERER: (&str, &str) = ("Referer", "https://a.example/");

/// With the proxy trusted, the client is whom it names, and has a visitor of its own.
fn check_clients(start: fn(SocketAddr) -> Proxy) {
    for (options, visitors_expected) in [(&["--trust-proxy", "127.0.0.1/32"][..], 3), (&[], 1)] {
        let dir = tempfile::tempdir().expect("a folder");
        let server = Server::start_with(dir.path(), options);
        let proxy = start(server.address);
        let target = server.target("events", r#"{"type":"t"}"#);
        for last in 1..=3 {
            for claimed in ["", "X-Forwarded-For: 192.0.2.1\r\n"] {
                let text = format!(
                    "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
                     Referer: https://a.example/\r\n{claimed}\r\n",
                    proxy.address
                );
                let answer = raw_from([127, 7, 0, last].into(), proxy.address, text.as_bytes());
                assert_eq!(parse(&answer).map(|reply| reply.status), Some(200));
            }
        }
        assert_eq!(visitors(&server), visitors_expected, "{options:?}");
    }
}

/// With another proxy in front of it, and both trusted, the client is whom that one names, and has an allowance
/// of its own.
fn check_allowances(start: fn(SocketAddr) -> Proxy) {
    let dir = tempfile::tempdir().expect("a folder");
    let options = ["--rate", "1", "--trust-proxy", "127.0.0.0/8"];
    let server = Server::start_with(dir.path(), &options);
    let proxy = start(server.address);
    let target = server.target("events", r#"{"type":"t"}"#);
    let call = |client: &str| {
        let headers = [("X-Forwarded-For", client), REFERER];
        request(proxy.address, "GET", &target, &headers).status
    };
    let clients = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
    for client in clients {
        let statuses: Vec<u16> = (0..14).map(|_| call(client)).collect();
        assert_eq!(statuses[..10], [200; 10], "{client}");
        assert!(statuses.contains(&429), "{client}: {statuses:?}");
        // Nobody has another allowance for what he invents left of it.
        let invented = (0..3).map(|n| call(&format!("203.0.113.{n}, {client}")));
        assert!(invented.collect::<Vec<_>>().contains(&429), "{client}");
    }
    assert_eq!(visitors(&server), clients.len());
}

#[test]
#[ignore = "needs caddy"]
fn caddy() {
    check(Proxy::caddy);
    check_clients(Proxy::caddy);
    check_allowances(Proxy::caddy_behind);
}

#[test]
#[ignore = "needs nginx"]
fn nginx() {
    check(Proxy::nginx);
    check_clients(Proxy::nginx);
    check_allowances(Proxy::nginx);
}
