//! One call to a server that may be dead, mute or cut off: what came of it, in bounded time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::{Reply, parse};

/// How long a server may take to accept a connection; the network is this machine's.
const CONNECT: Duration = Duration::from_millis(500);

/// How long an answer may be quiet: longer than a server tries to learn what became of what it published.
const ANSWER: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub enum Answer {
    Reply(Reply),
    /// Nobody was reached: nothing can have come of it.
    Unreachable,
    /// It was sent, in whole or in part, and no answer came.
    Lost,
}

/// GET.
pub fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, &request("GET", target, headers, None))
}

/// The bytes of a request, which ends its connection.
pub fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = body {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    [text.as_bytes(), body.unwrap_or_default()].concat()
}

/// Sends a request and reads until the other side closes.
pub fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, CONNECT) else {
        return Answer::Unreachable;
    };
    let mut answer = Vec::new();
    let sent = stream
        .set_read_timeout(Some(ANSWER))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER)))
        .and_then(|()| stream.write_all(request));
    // Its head counts, even if the connection breaks behind it.
    let _ = sent.and_then(|()| stream.read_to_end(&mut answer));
    parse(&answer).map_or(Answer::Lost, Answer::Reply)
}
