//! Taking apart what a server has sent on one connection, as far as it has come.

use crate::support::{Reply, parse};

/// The whole answers that `bytes` begin with, and the bytes behind them. Interim answers (`100`) are
/// left out.
pub fn answers(bytes: &[u8]) -> (Vec<Reply>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some((reply, behind)) = answer(rest) {
        rest = behind;
        if reply.status >= 200 {
            found.push(reply);
        }
    }
    (found, rest)
}

fn answer(bytes: &[u8]) -> Option<(Reply, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let mut reply = parse(&bytes[..end])?;
    let rest = &bytes[end..];
    if reply.status < 200 || reply.status == 204 {
        return Some((reply, rest));
    }
    let chunked = reply.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let (body, rest) = if chunked {
        dechunk(rest)?
    } else {
        let length: usize = reply.header("content-length")?.parse().ok()?;
        let (body, rest) = rest.split_at_checked(length)?;
        (body.to_vec(), rest)
    };
    reply.body = body;
    Some((reply, rest))
}

/// A chunked body that has come whole, and what is behind it.
fn dechunk(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        let (chunk, behind) = rest[line + 2..].split_at_checked(length)?;
        body.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
        if length == 0 {
            return Some((body, rest));
        }
    }
}

#[test]
fn answers_are_told_apart() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nhal";
    let (found, rest) = answers(bytes);
    let found: Vec<_> = found.iter().map(|reply| (reply.status, reply.text())).collect();
    assert_eq!(found, [(200, "ok"), (200, "abc")]);
    assert!(rest.starts_with(b"HTTP/1.1 400"));
}
