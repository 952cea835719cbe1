//! Sites of an account, set and taken back while calls come.

use serde_json::Value;

use crate::support::Server;
use crate::{WAYS, Way, done};

const EVENT: &str = r#"{"type":"t"}"#;

fn refused(server: &Server) -> Vec<Value> {
    server.read("/v1/refused?limit=1000").json()["refused"].as_array().unwrap().clone()
}

#[test]
fn sites_are_in_force_as_soon_as_they_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let own = [("Origin", "https://a.example"), ("Referer", "https://a.example/x?y=1")];
    let below = [("Referer", "https://www.b.example:8443/")];
    let foreign = [("Origin", "https://c.example"), ("Referer", "https://a.example/")];
    let of_page = [("Referer", "https://c.example/page?a=1")];
    let apex = [("Origin", "http://b.example")];
    let hidden = [("Origin", "null")];
    let mut stored = 0;
    let mut check = |way: Way, headers: &[(&str, &str)], accepted: bool| {
        let reply = way.send(&server, "events", EVENT, headers);
        if accepted {
            stored += 1;
            way.check_accepted(&reply, 1);
        } else {
            way.check_refused(&reply, 403, "forbidden_site");
        }
        let origin =
            headers.iter().find(|(name, _)| *name == "Origin").map_or("*", |(_, value)| value);
        assert_eq!(
            reply.header("Access-Control-Allow-Origin"),
            Some(origin),
            "{way:?} {headers:?}"
        );
    };
    for round in 0..2 {
        for way in WAYS {
            for headers in [&own[..], &below, &foreign, &of_page, &apex, &hidden, &[]] {
                check(way, headers, true);
            }
        }
        let shown = done(dir.path(), &["account", "sites", "default", "a.example", "*.b.example"]);
        assert_eq!(shown, "name=default\nsites=a.example *.b.example\n");
        for way in WAYS {
            for (headers, allowed) in [
                (&own[..], true),
                (&below, true),
                (&foreign, false),
                (&of_page, false),
                (&apex, false),
                (&hidden, false),
                // A server's call has neither; a pixel is always a browser's.
                (&[], way != Way::Pixel),
            ] {
                check(way, headers, allowed);
            }
        }
        // In the next round from a server that was started with them in force.
        let told = refused(&server);
        let forbidden = told.iter().filter(|one| one["code"] == "forbidden_site").count();
        assert_eq!(forbidden, ((round + 1) * (4 * WAYS.len() + 1)).min(100));
        assert!(told.iter().all(|one| one["status"] == 403 && one["kind"] == "events"), "{told:?}");
        assert!(told.iter().any(|one| one["page"] == "https://c.example/page?a=1"), "{told:?}");
        done(dir.path(), &["account", "sites", "default", "off"]);
    }
    assert_eq!(server.all_events().len(), stored);
}

#[test]
fn sites_stay_in_force_over_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    done(dir.path(), &["account", "sites", "default", "a.example"]);
    server.kill();
    let server = server.again();
    for way in WAYS {
        let reply = way.send(&server, "users", r#"{"id":1}"#, &[("Referer", "https://b.example/")]);
        way.check_refused(&reply, 403, "forbidden_site");
        let reply = way.send(&server, "users", r#"{"id":2}"#, &[("Referer", "https://a.example/")]);
        way.check_accepted(&reply, 1);
    }
    assert_eq!((server.read("/v1/users/1").status, server.read("/v1/users/2").status), (404, 200));
    // Reading is not of browsers' calls, whatever headers it bears.
    assert_eq!(server.read("/v1/stats").status, 200);
}
