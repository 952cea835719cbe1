//! What bodies are taken for, and what unpacking costs.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::http::Method;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn post(body: &[u8], headers: &[(&str, &str)]) -> Request {
    let request = Request::new(Method::Post, "/").with_body(body.to_vec());
    headers.iter().fold(request, |request, (name, value)| request.with_header(name, value))
}

#[test]
fn media_types() {
    let json = |text: &'static str| Ok(Body::Json(text.as_bytes().into()));
    let form = |text: &'static str| Ok(Body::Form(text.into()));
    for (given, body, expected) in [
        ("application/json", "{}", json("{}")),
        ("Application/JSON; charset=UTF-8", "{}", json("{}")),
        ("application/json ;Charset=\"utf-8\"", "a=b", json("a=b")),
        ("application/json; charset=us-ascii; x=y", "{}", json("{}")),
        ("text/plain", "{}", json("{}")),
        ("text/plain;charset=UTF-8", "a=b", json("a=b")),
        ("application/x-ndjson", "{}", Ok(Body::Lines(b"{}".into()))),
        ("application/ndjson", "{}", Ok(Body::Lines(b"{}".into()))),
        ("application/x-www-form-urlencoded", "{}", form("{}")),
        ("application/x-www-form-urlencoded;charset=UTF-8", "a=b", form("a=b")),
        ("application/json; charset=latin1", "{}", Err(Code::UnsupportedMediaType)),
        ("text/plain; charset=utf-16", "{}", Err(Code::UnsupportedMediaType)),
        ("multipart/form-data; boundary=x", "--x", Err(Code::UnsupportedMediaType)),
        ("application/octet-stream", "{}", Err(Code::UnsupportedMediaType)),
        ("text/html", "{}", Err(Code::UnsupportedMediaType)),
        ("json", "{}", Err(Code::UnsupportedMediaType)),
        ("*/*", "{}", Err(Code::UnsupportedMediaType)),
        // Of nothing it doesn't matter what it is.
        ("multipart/form-data; boundary=x", "", Ok(Body::None)),
        // Not said.
        ("", "{}", json("{}")),
        ("  ", " \n[", json(" \n[")),
        ("", "\u{feff}{", json("\u{feff}{")),
        ("", "a=b", form("a=b")),
        ("", "x", form("x")),
    ] {
        let request = post(body.as_bytes(), &[("Content-Type", given)]);
        assert_eq!(Body::of(&request).map_err(|reject| reject.code), expected, "{given} {body}");
    }
    assert_eq!(Body::of(&post(b"[]", &[])), Ok(Body::Json(b"[]".into())));
}

#[test]
fn codings() {
    let packed = gzip(b"{}");
    let twice = [packed.as_slice(), &packed].concat();
    let bad = Err(Code::InvalidJson);
    let odd = Err(Code::UnsupportedMediaType);
    for (coding, body, expected) in [
        ("gzip", packed.as_slice(), Ok("{}")),
        ("GZIP", &packed, Ok("{}")),
        ("x-gzip", &packed, Ok("{}")),
        ("gzip, identity", &packed, Ok("{}")),
        ("identity", b"{}", Ok("{}")),
        ("", b"{}", Ok("{}")),
        ("gzip", &twice, Ok("{}{}")),
        ("gzip", b"{}", bad),
        ("gzip", &packed[..packed.len() - 1], bad),
        ("gzip", &packed[..5], bad),
        ("gzip", &[packed.as_slice(), b"more"].concat(), bad),
        ("gzip, gzip", &gzip(&packed), odd),
        ("deflate", b"{}", odd),
        ("br", b"{}", odd),
        ("zstd", b"{}", odd),
    ] {
        let request = post(body, &[("Content-Encoding", coding)]);
        let expected = expected.map(|text| Body::Json(text.as_bytes().into()));
        assert_eq!(Body::of(&request).map_err(|reject| reject.code), expected, "{coding}");
    }
    let flipped = |at: usize| {
        let mut packed = packed.clone();
        packed[at] ^= 1;
        packed
    };
    // Its checksum and its length are looked at.
    for at in [packed.len() - 8, packed.len() - 1] {
        let request = post(&flipped(at), &[("Content-Encoding", "gzip")]);
        assert_eq!(Body::of(&request).map_err(|reject| reject.code), Err(Code::InvalidJson));
    }
    // Two lines are a list.
    let request = post(&packed, &[("Content-Encoding", "gzip"), ("content-encoding", "gzip")]);
    assert_eq!(Body::of(&request).map_err(|reject| reject.code), Err(Code::UnsupportedMediaType));
    assert_eq!(Body::of(&post(b"", &[("Content-Encoding", "gzip")])), Ok(Body::None));
    assert_eq!(Body::of(&post(&gzip(b""), &[("Content-Encoding", "gzip")])), Ok(Body::None));
}

#[test]
fn a_body_may_have_its_bytes_and_not_one_more() {
    for (bytes, fits) in [(BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false), (200 << 20, false)] {
        let packed = gzip(&vec![b' '; bytes]);
        assert!(packed.len() < BODY_BYTES_MAX);
        let unpacked = gunzip(&packed);
        match &unpacked {
            Ok(body) => assert_eq!((body.len(), body.capacity()), (bytes, bytes)),
            Err(reject) => assert_eq!(reject.code, Code::PayloadTooLarge),
        }
        assert_eq!(unpacked.is_ok(), fits, "{bytes}");
    }
    let request = post(&vec![b' '; BODY_BYTES_MAX + 1], &[]);
    assert_eq!(Body::of(&request).map_err(|reject| reject.code), Err(Code::PayloadTooLarge));
}

#[test]
fn a_body_may_be_packed_in_so_many_members() {
    for (members, fits) in [(GZIP_MEMBERS_MAX, true), (GZIP_MEMBERS_MAX + 1, false)] {
        let unpacked = gunzip(&gzip(b"{}").repeat(members)).map_err(|reject| reject.code);
        let expected = if fits { Ok(b"{}".repeat(members)) } else { Err(Code::PayloadTooLarge) };
        assert_eq!(unpacked, expected);
    }
}

#[test]
fn a_form_that_is_not_utf_8_says_the_same_bytes() {
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let latin = b"data={\"type\":\"\xE9\"}";
    let form = Ok(Body::Form("data={\"type\":\"%E9\"}".into()));
    assert_eq!(Body::of(&post(latin, &[kind])), form);
    assert_eq!(Body::of(&post(&gzip(latin), &[kind, ("Content-Encoding", "gzip")])), form);
}
