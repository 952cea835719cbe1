//! Whether servers hold the same, to the byte, and hold it soundly.

use super::member::Member;
use super::site::Site;
use crate::support::server::verb;

/// What a server exports of the account of a site, as it stands on the standard output of the verb.
#[derive(PartialEq, Eq)]
pub struct Exports {
    pub events: Vec<u8>,
    pub users: Vec<u8>,
}

/// Waits until all servers are at the same position, and checks that they export the same; that.
#[track_caller]
pub fn equal_exports(site: &Site) -> Exports {
    site.settle();
    let first = exports(&site.servers[0]);
    for server in &site.servers[1..] {
        let other = exports(server);
        for (what, one, other) in
            [("events", &first.events, &other.events), ("users", &first.users, &other.users)]
        {
            let (names, why) = ((&site.servers[0].name, &server.name), difference(one, other));
            assert!(one == other, "{what} of {names:?} differ: {why}");
        }
    }
    first
}

/// Ends all servers, each by SIGTERM, and has what they leave verified.
#[track_caller]
pub fn stop_and_verify(site: &mut Site) {
    for server in &mut site.servers {
        let status = server.terminate();
        assert!(status.success(), "{}: {status}: {}", server.name, server.said());
        let verified = verb(&server.dir, &["verify"]);
        assert!(verified.status.success(), "{}: {verified:?}", server.name);
    }
}

#[track_caller]
fn exports(server: &Member) -> Exports {
    let export = |what| {
        let done = verb(&server.dir, &["export", what, "--account", "default"]);
        assert!(done.status.success(), "{}: {done:?}", server.name);
        done.stdout
    };
    Exports { events: export("events"), users: export("users") }
}

/// The first line that isn't the same.
fn difference(one: &[u8], other: &[u8]) -> String {
    let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
    let (mut one, mut other) = (one.lines(), other.lines());
    for line in 1.. {
        let pair = (one.next(), other.next());
        if pair == (None, None) {
            break;
        }
        if pair.0 != pair.1 {
            return format!("line {line}: {pair:?}");
        }
    }
    "in line breaks alone".to_owned()
}
