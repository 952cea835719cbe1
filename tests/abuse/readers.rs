//! Clients that ask and don't read, or slowly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::scene::{Seen, Setup, beside};
use crate::support::Server;
use crate::support::server::verb;
use crate::swarm::{Pace, SOURCE, Script, Swarm};
use crate::wire;

/// Pixels without end, and no answer is ever read. What fits into the sockets' buffers is taken, and
/// then they are cut.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn answers_that_nobody_reads() {
    beside("answers unread", Setup { peak_mib: Some(256), ..Setup::default() }, |server| {
        let mut seen = Seen::default();
        let scripts: Vec<_> = (0..50)
            .map(|number| {
                let mut first = String::new();
                for n in 0..20 {
                    let mark = format!("unread {number} {n}");
                    let event = format!(r#"{{"type":"attack","mark":"{mark}"}}"#);
                    let target = server.target("events", &event);
                    first += &format!("GET {target}&image=1 HTTP/1.1\r\nHost: test\r\n\r\n");
                    seen.may.insert(mark);
                }
                // Refused, so that it is not the disk that they wait for.
                let then =
                    "GET /v1/events/track?image=1 HTTP/1.1\r\nHost: test\r\n\r\n".repeat(100);
                Script { deaf: true, ..Script::new(first, then) }
            })
            .collect();
        let mut swarm = Swarm::open(server.address, SOURCE, Pace::Full, scripts);
        swarm.run(Duration::from_secs(25));
        let sent = swarm.peers.iter().map(|peer| peer.sent).max().unwrap_or_default();
        assert!(swarm.peers.iter().all(|peer| peer.ended.is_some()), "{}", swarm.tally());
        seen.line = format!("{}, at most {sent} bytes were taken", swarm.tally());
        seen
    });
}

/// Events of an export: as large as no socket's buffer.
const EXPORTED: usize = 20_000;

fn fill(server: &Server) {
    let file = server.dir.with_file_name("events.jsonl");
    let text = "x".repeat(900);
    let lines: String = (0..EXPORTED)
        .map(|n| {
            format!("{{\"type\":\"exported\",\"attributes\":{{\"n\":{n},\"text\":\"{text}\"}}}}\n")
        })
        .collect();
    std::fs::write(&file, lines).unwrap();
    let output = verb(&server.dir, &["import", "events", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

/// An export goes on for as long as it is taken, also by little at a time, and comes whole.
#[test]
#[ignore = "takes its time: with all of the battery, in release"]
fn an_export_that_is_read_slowly() {
    let setup = Setup { prepare: Some(fill), ..Setup::default() };
    beside("an export read slowly", setup, |server| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let key = &server.secret_key;
        let target = "/v1/export?what=events&format=jsonl&type=exported";
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        let began = std::time::Instant::now();
        // Slow for a time that is longer than any other answer may take to be read.
        while began.elapsed() < Duration::from_secs(6) {
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "it ended after {} bytes", answer.len());
            answer.extend_from_slice(&piece[..n]);
            std::thread::sleep(Duration::from_millis(300));
        }
        stream.read_to_end(&mut answer).unwrap();
        let (answers, rest) = wire::answers(&answer);
        assert!(rest.is_empty() && answers.len() == 1, "{} bytes are left", rest.len());
        let lines = answers[0].text().lines().count();
        assert_eq!((answers[0].status, lines), (200, EXPORTED));
        format!("{lines} lines in {} KB over {:.1?}", answer.len() / 1000, began.elapsed())
    });
}
