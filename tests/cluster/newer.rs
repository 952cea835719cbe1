//! What a server of a newer version puts into the stream: an older one ends with a clear line rather than misread it.

use super::nats::Nats;
use super::site::{SUBJECT, Site};

#[test]
#[ignore = "needs root, iproute2 and nats-server"]
fn a_newer_format_stops_an_older_server() {
    let mut site = Site::start();
    let mut nats = Nats::connect(site.nats[0].address).unwrap();
    // What it holds is nothing that this version could know.
    let told = nats.publish(SUBJECT, &[("Triggerly-Format", "999")], b"from the future").unwrap();
    assert_eq!(told["stream"], super::site::STREAM, "{told}");
    for again in [false, true] {
        for server in &mut site.servers {
            if again {
                server.start();
            }
            let status = server.wait();
            let said = server.said();
            assert_eq!(status.code(), Some(1), "{}: {said}", server.name);
            // Besides what is logged.
            let lines: Vec<_> =
                said.lines().filter(|line| line.starts_with("triggerly: ")).collect();
            println!("{}: {lines:?}", server.name);
            assert_eq!(lines.len(), 1, "{}: {said}", server.name);
            assert!(lines[0].contains("newer triggerly (format 999"), "{}", lines[0]);
            assert!(!said.contains("panicked"), "{said}");
            assert_eq!(said.lines().last(), Some(lines[0]), "{}: {said}", server.name);
        }
    }
}
