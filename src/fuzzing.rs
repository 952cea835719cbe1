//! What whatever comes from outside or from disk has to keep to, for a fuzzer to try (`tests/fuzz`). Each
//! function takes any bytes, and panics if they make something not hold.
//!
//! It is there where `cfg(fuzzing)` is set, and for the test below, which tries the seeds and what was found
//! before (`tests/fuzz/seeds`).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;

use percent_encoding::{CONTROLS, percent_encode};

use crate::client::Proxies;
use crate::commands::{Chunk, Command, Exported, chunk_bounds};
use crate::context::{CONTEXT_BYTES_MAX, Contexts, Headers, PAGE_BYTES_MAX};
use crate::control::Call;
use crate::model::{AccountId, Date};
use crate::{api, http, schema, store};

/// Bytes that a socket takes while nobody reads.
const SOCKET_BYTES_MAX: usize = 64 * 1024;

/// Bytes on a connection.
pub fn connection(bytes: &[u8]) {
    http::fuzzing::connection(bytes);
}

/// A tracking call: query, Base64, headers, and a body of each kind.
pub fn tracking(bytes: &[u8]) {
    api::fuzzing::tracking(bytes);
}

/// What lies in the store, but for segments; and what commands and their server say to each other.
pub fn records(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'c', said)) => commands(said),
        _ => store::fuzzing::at_rest(bytes),
    }
}

/// Backups that are whole in themselves, to be restored.
pub fn backups(bytes: &[u8]) {
    store::fuzzing::restored(bytes);
}

/// Segments, and tables that somebody imports.
pub fn segments(bytes: &[u8]) {
    store::segment::fuzzing::segments(bytes);
}

/// Indexes of segments.
pub fn indexes(bytes: &[u8]) {
    store::index::fuzzing::index(bytes);
}

/// A condition of a question, and the attributes that it is about.
pub fn questions(bytes: &[u8]) {
    schema::fuzzing::questions(bytes);
}

/// Headers of a browser's call, one on each line, and those of proxies.
pub fn headers(bytes: &[u8]) {
    static CONTEXTS: LazyLock<Contexts> = LazyLock::new(Contexts::default);
    static PROXIES: LazyLock<Proxies> =
        LazyLock::new(|| Proxies::parse("127.0.0.1, 10.0.0.0/8, 2001:db8::/32").expect("nets"));

    // Heads that pass have nothing but ASCII in them.
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines: Vec<String> = lines.map(|line| percent_encode(line, CONTROLS).to_string()).collect();
    let headers: Vec<_> = lines.iter().filter_map(|line| line.split_once(':')).collect();
    let all = |name: &'static str| {
        let fits = move |(key, _): &&(&str, &str)| key.eq_ignore_ascii_case(name);
        headers.iter().filter(fits).map(|(_, value)| value.trim_ascii())
    };
    let is = |name: &str| {
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim_ascii())
    };

    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let client = |peer| PROXIES.client(peer, all("x-forwarded-for"), all("forwarded"));
    let found = client(local);
    let stranger = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    assert_eq!(client(stranger), stranger, "nobody believes a stranger");
    // What the proxy in front writes behind it all counts, whatever stands there.
    let written = stranger.to_string();
    let behind = |name| all(name).chain([written.as_str()]);
    let none = std::iter::empty::<&str>();
    assert_eq!(PROXIES.client(local, behind("x-forwarded-for"), none.clone()), stranger);
    let written = format!("for={stranger}");
    let behind = all("forwarded").chain([written.as_str()]);
    assert_eq!(PROXIES.client(local, none, behind), stranger);

    let now = Date::from_millis(1_700_000_000_000);
    let asked = Headers::read(is);
    let context = CONTEXTS.of(&asked, is("image").is_some(), AccountId(7), found, now);
    if let Some(context) = context {
        assert!(context.len() <= CONTEXT_BYTES_MAX, "{context}");
        let object = crate::model::json::parse_object(&context, 1).expect("a flat object");
        assert_eq!(crate::model::json::to_text(&object), context);
        let page = object.get("page").and_then(|page| page.as_str()).unwrap_or_default();
        assert!(page.len() <= PAGE_BYTES_MAX && !page.contains('#'), "{page}");
    }
}

/// What a command's server is told, and what it says.
fn commands(said: &[u8]) {
    if let Ok(command) = serde_json::from_slice::<Command>(said) {
        let again = serde_json::to_vec(&command).expect("it can be written");
        assert_eq!(serde_json::from_slice::<Command>(&again).ok(), Some(command));
    }
    for what in [Exported::Events, Exported::Users] {
        let (mut input, bounds) = (said, chunk_bounds(what));
        while let Ok(Some(chunk)) = Chunk::read_from(&mut input, bounds) {
            let mut again = Vec::new();
            chunk.write_to(&mut again).expect("memory takes it");
            let again = Chunk::read_from(&mut &*again, bounds).expect("it was just written");
            assert_eq!(again, Some(chunk));
        }
    }
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    theirs.write_all(&said[..said.len().min(SOCKET_BYTES_MAX)]).expect("it fits");
    theirs.shutdown(Shutdown::Write).expect("it is open");
    let command = Command::AccountList { json: true };
    let mut out = Vec::new();
    let heard = Call::over(ours, &command).expect("it is open").hear(&mut out);
    assert!(out.len() <= said.len());
    assert!(heard.is_err() || !said.is_empty());
    let _ = theirs.read(&mut [0; 64]);
}

/// Seeds that are made by code, for each target.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("records", records_seeds()),
        ("backups", store::fuzzing::backups()),
        ("segments", store::segment::fuzzing::seeds()),
        ("indexes", store::index::fuzzing::seeds()),
        ("questions", schema::fuzzing::seeds()),
    ]
}

fn records_seeds() -> Vec<Vec<u8>> {
    let said = |text: &str| [b"c", text.as_bytes()].concat();
    let mut seeds = store::fuzzing::seeds();
    seeds.extend([
        said(r#"{"AccountList":{"json":true}}"#),
        said(r#"{"AccountSites":{"name":"shop","change":["*.a.example"],"json":false}}"#),
        said("{\"first_line\":1,\"lines\":1,\"digest\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],\"open\":false,\"bytes\":3}\n{}\n\n"),
        said("\0\0\0\x03abc\0\0\0\0{\"failed\":null}\n"),
        said("\0\0\0\x01a\0\0\0\0{\"failed\":\"why\"}\n"),
    ]);
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A function that takes any bytes.
    type Target = fn(&[u8]);

    #[test]
    fn seeds_and_findings_hold() {
        let made = seeds();
        let targets: [(&str, Target); 8] = [
            ("connection", connection),
            ("tracking", tracking),
            ("records", records),
            ("backups", backups),
            ("segments", segments),
            ("indexes", indexes),
            ("headers", headers),
            ("questions", questions),
        ];
        for (name, target) in targets {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
            let kept = fs::read_dir(&dir).into_iter().flatten();
            let kept: Vec<_> = kept
                .map(|file| fs::read(file.expect("a file").path()).expect("it can be read"))
                .collect();
            let made = made.iter().filter(|(of, _)| *of == name).flat_map(|(_, seeds)| seeds);
            let all: Vec<_> = made.chain(&kept).collect();
            assert!(!all.is_empty(), "{name} has no seeds");
            for seed in all {
                target(seed);
                // The seeds may hold because nothing is looked at: a piece of one mostly comes far as well.
                target(&seed[..seed.len() / 2]);
            }
        }
    }
}
