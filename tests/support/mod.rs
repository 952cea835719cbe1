//! What tests share: the real binary as a child process, and a plain HTTP client.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod connection;
pub mod files;
pub mod furnished;
pub mod outside;
pub mod random;
pub mod server;
pub mod small_disk;
pub mod web;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::net::{self, AddressFamily, SocketType};
use serde_json::{Map, Value};

#[allow(unused_imports, reason = "each test binary uses its part")]
pub use server::Server;

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The member `code` of a problem answer.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends one request on a connection of its own and reads the answer.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    exchange(address, method, target, headers, None)
}

/// The same by POST, with a body.
pub fn post(address: SocketAddr, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    exchange(address, "POST", target, headers, Some(body))
}

fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Reply {
    let mut text =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = body {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    let answer = raw(address, &[text.as_bytes(), body.unwrap_or_default()].concat());
    parse(&answer).unwrap_or_else(|| panic!("no answer to {method} {target:.200}: {answer:?}"))
}

/// Sends bytes and reads until the other side closes.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    exchange_raw(TcpStream::connect(address).expect("the server listens"), bytes)
}

/// The same from an address of this machine's own choice.
pub fn raw_from(own: Ipv4Addr, address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    net::bind(&socket, &SocketAddr::from((own, 0))).expect("an address of the loopback");
    net::connect(&socket, &address).expect("the server listens");
    exchange_raw(socket.into(), bytes)
}

fn exchange_raw(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(bytes).expect("the server takes bytes");
    let mut answer = Vec::new();
    // A reset behind the answer is as good as its end.
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Takes one answer apart; its body is whatever comes after its head.
pub fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Some(Reply { status, headers, body: answer[end + 4..].to_vec() })
}

/// Standard Base64 with padding.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Percent-encodes all but letters and digits.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Merges a patch as RFC 7396 says, written down apart from the code that it is to check.
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(name);
            }
            Value::Object(patch) => {
                let mut inner = target.get(name).and_then(Value::as_object).cloned();
                merge(inner.get_or_insert_default(), patch);
                target.insert(name.clone(), inner.into());
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}
