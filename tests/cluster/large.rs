//! A batch that is larger than a message of NATS may be: it is stored whole at all servers.

use super::call::{self, Answer};
use super::equal::{equal_exports, stop_and_verify};
use super::site::Site;

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn a_batch_that_is_larger_than_a_message_is_whole() {
    const EVENTS: usize = 1000;
    let mut site = Site::start();
    // Of what doesn't compress to nothing; a body has at most 5 MiB.
    let lines: Vec<_> = (0..EVENTS)
        .map(|n| {
            let filler: String =
                (0..450).map(|at| format!("{:08x} ", (n * 7919 + at) * 2_654_435_761)).collect();
            format!(r#"{{"type":"large","n":{n},"filler":"{filler:.4800}"}}"#)
        })
        .collect();
    let bearer = format!("Bearer {}", site.api_token);
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/x-ndjson")];
    let body = lines.join("\n");
    let request = call::request("POST", "/v1/events/track", &headers, Some(body.as_bytes()));
    for server in site.addresses() {
        let answer = call::send(server, &request);
        assert!(matches!(&answer, Answer::Reply(reply) if reply.status == 200), "{answer:?}");
    }
    let exports = equal_exports(&site);
    let stored = exports.events.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(stored, 3 * EVENTS);
    stop_and_verify(&mut site);
}
