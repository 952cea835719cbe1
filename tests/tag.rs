//! `/t.js` in a real browser: pages of another site embed it, and what they do is read back.
//!
//! What the pages do, and what has to arrive of it, lies in `tag/visit.mjs`. The programs aren't on everyone's
//! machine: `cargo test --test tag -- --ignored`.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::json;

use support::outside::{packages, run};
use support::{Server, post, request};

/// A server on a folder of its own; the folder goes last.
fn serve() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (Server::start(dir.path()), dir)
}

/// What a proxy is that has a server under `/sub`, to the end of the test; gives its address.
fn proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || forward(&stream, server));
        }
    });
    address
}

/// Passes one request on, with its path below `/sub`, and the answer back.
fn forward(client: &TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let mut asked = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if asked.read_until(b'\n', &mut head)? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).replacen(" /sub/", " /", 1);
    let lines = head.split("\r\n");
    let (mut length, mut passed) = (0, String::new());
    for line in lines.filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name == "content-length" {
            length = line[name.len() + 1..].trim().parse().unwrap_or(0);
        }
        if name != "connection" {
            passed += &format!("{line}\r\n");
        }
    }
    let mut server = TcpStream::connect(server)?;
    write!(server, "{passed}Connection: close\r\n\r\n")?;
    std::io::copy(&mut asked.take(length), &mut server)?;
    std::io::copy(&mut server, &mut &*client)?;
    client.shutdown(Shutdown::Write)
}

#[test]
fn it_is_served_to_every_origin_and_asked_for_anew_by_its_tag() {
    let (server, _dir) = serve();
    for (encoding, packed) in [("identity", None), ("gzip, deflate, br", Some("gzip"))] {
        let headers =
            [("Accept-Encoding", encoding), ("Origin", "https://a.example"), ("Cookie", "a=b")];
        let reply = request(server.address, "GET", "/t.js?x", &headers);
        assert_eq!((reply.status, reply.header("Content-Encoding")), (200, packed));
        let content_type = reply.header("Content-Type");
        assert_eq!(content_type, Some("text/javascript; charset=utf-8"));
        assert_eq!(reply.header("Cache-Control"), Some("public, max-age=3600"));
        assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(reply.header("Cross-Origin-Resource-Policy"), Some("cross-origin"));
        assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(reply.header("Set-Cookie"), None);
        match packed {
            Some(_) => assert!(reply.body.len() < 1024, "{} bytes", reply.body.len()),
            None => assert_eq!(reply.text(), triggerly::web::tag::script()),
        }

        let etag = reply.header("ETag").expect("a tag");
        assert!(etag.starts_with('"'), "a strong one: {etag}");
        let head = request(server.address, "HEAD", "/t.js", &headers);
        assert_eq!((head.status, head.header("ETag"), head.body.len()), (200, Some(etag), 0));
        for (known, status) in [(etag, 304), ("\"another\"", 200)] {
            let headers = [("Accept-Encoding", encoding), ("If-None-Match", known)];
            let reply = request(server.address, "GET", "/t.js", &headers);
            assert_eq!((reply.status, reply.body.is_empty()), (status, status == 304));
            assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"));
            assert_eq!(reply.header("Content-Length").is_none(), status == 304);
        }
    }
    assert_eq!(request(server.address, "POST", "/t.js", &[]).status, 405);
}

#[test]
fn no_answer_to_it_sets_a_cookie() {
    let (server, _dir) = serve();
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let headers = [("Content-Type", "text/plain;charset=UTF-8"), ("Origin", "https://a.example")];
    for (body, status) in [(&br#"{"type":"page view"}"#[..], 200), (b"{}", 400)] {
        let reply = post(server.address, &target, &headers, body);
        assert_eq!((reply.status, reply.header("Set-Cookie")), (status, None));
        // Pages that embed only what says so have it too.
        assert_eq!(reply.header("Cross-Origin-Resource-Policy"), Some("cross-origin"));
    }
}

#[test]
#[ignore = "needs chromium, node, npm and the npm registry"]
fn what_pages_with_the_script_do_arrives() {
    let (server, _dir) = serve();
    let known = json!({
        "server": format!("http://{}", server.address),
        "below": format!("http://{}/sub", proxy(server.address)),
        "token": server.api_token,
        "secret": server.secret_key,
    });
    let scripts = packages("tests/tag");
    let mut node = Command::new("timeout");
    node.args(["--kill-after=5", "300", "node", "visit.mjs"]).current_dir(scripts.path());
    println!("{}", run(&mut node, &known.to_string()));
}
