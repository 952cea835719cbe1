//! Whoever may not is refused on each way to call each page: from the table of routes itself, so that a new one can't be
//! forgotten. Nothing is changed by a call that is refused, nor by any GET.

mod support;

#[path = "support/places.rs"]
mod places;

use std::collections::BTreeMap;

use triggerly::http::Method;
use triggerly::web::routes::{Access, ROUTES, Route};

use places::{Named, filled, places};
use support::furnished::{furnish, last_seq, with_other_account};
use support::web::{Visitor, asset_in, form_with, link_in, new_link, path_of};
use support::{Reply, Server, request};

const PASSWORD: &str = "four words nobody knows";

/// The cookie of a session.
const SESSION: &str = "triggerly_session";

/// A server with two accounts, somebody who sees the first, somebody who sees the second, and somebody who has signed out.
struct Scene {
    server: Server,
    _dir: tempfile::TempDir,
    named: Named,
    own: Visitor,
    other: Visitor,
    gone: Visitor,
    /// What nobody but the first may see.
    marks: Vec<String>,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(dir.path());
    furnish(&server);
    let marks = vec![server.api_token.clone(), "never tracked".to_owned(), "2001-07-05".to_owned()];
    with_other_account(&mut server, |other| other.track("events", r#"{"type":"of the other"}"#));
    let own =
        Visitor::by_link(server.address, &link_in(&server.printed), "own@example.com", PASSWORD);
    let other = new_link(dir.path(), "other");
    let other = Visitor::by_link(server.address, &other, "other@example.com", PASSWORD);
    let mut gone = Visitor::by_link(
        server.address,
        &new_link(dir.path(), "default"),
        "gone@example.com",
        PASSWORD,
    );
    let kept = gone.clone();
    let me = gone.get("/me");
    let out = form_with(me.text(), "csrf");
    assert_eq!(out.action, "/sign-out");
    assert_eq!(gone.send(&out, "/me", &[]).status, 303);
    let page = Visitor::new(server.address).get("/sign-in");
    let named = Named {
        account: 1,
        user: "u1".to_owned(),
        seq: server.all_events()[0]["seq"].as_u64().expect("a number"),
        link: path_of(&new_link(dir.path(), "default")).trim_start_matches("/link/").to_owned(),
        asset: asset_in(page.text()),
    };
    Scene { server, _dir: dir, named, own, other, gone: kept, marks }
}

/// What a call of a page would send, as a browser does: `csrf` as the only field that matters to who may.
fn call(visitor: &Visitor, route: &Route, path: &str, csrf: Option<&str>) -> Reply {
    let mark = csrf.map(|csrf| format!("csrf={}", support::escape(csrf))).unwrap_or_default();
    match route.method {
        Method::Post => visitor.call(
            "POST",
            path,
            &[("Accept", "text/html"), ("Content-Type", "application/x-www-form-urlencoded")],
            Some(mark.as_bytes()),
        ),
        _ => visitor.call("GET", path, &[("Accept", "text/html")], None),
    }
}

/// The mark that forms have for somebody.
fn mark(visitor: &mut Visitor) -> String {
    let page = visitor.get(if visitor.cookies.contains_key(SESSION) { "/me" } else { "/sign-in" });
    let form = form_with(page.text(), "csrf");
    form.fields.into_iter().find(|field| field.name == "csrf").expect("a mark").value
}

fn with_cookie(server: &Server, value: &str) -> Visitor {
    let cookies = BTreeMap::from([(SESSION.to_owned(), value.to_owned())]);
    Visitor { cookies, ..Visitor::new(server.address) }
}

/// Whether nothing of the account is in an answer.
fn assert_tells_nothing(reply: &Reply, marks: &[String], what: &str) {
    let text = format!("{:?}{}", reply.headers, String::from_utf8_lossy(&reply.body));
    for mark in marks {
        assert!(!text.contains(mark.as_str()), "{what}: it tells {mark}: {text:.2000}");
    }
}

fn assert_sent_to_sign_in(reply: &Reply, what: &str) {
    let location = reply.header("Location").unwrap_or_default();
    assert!(reply.status == 303 && location.starts_with("/sign-in"), "{what}: {reply:?}");
}

#[test]
fn each_route_is_refused_to_whom_it_is_not_for() {
    let mut scene = scene();
    let session = scene.own.cookies[SESSION].clone();
    let changed = |at: usize, to: char| -> String {
        session.chars().enumerate().map(|(n, c)| if n == at { to } else { c }).collect()
    };
    let (secret, token) = (scene.server.secret_key.clone(), scene.server.api_token.clone());
    // Whoever isn't signed in, in each way not to be.
    let mut nobody = vec![
        ("no cookie".to_owned(), Visitor::new(scene.server.address)),
        ("a session that has ended".to_owned(), scene.gone.clone()),
    ];
    let last = if session.ends_with('A') { 'B' } else { 'A' };
    for forged in [
        changed(0, if session.starts_with('A') { 'B' } else { 'A' }),
        changed(session.len() - 1, last),
        session[1..].to_owned(),
        format!("{session}A"),
        session.to_lowercase(),
        session.to_uppercase(),
        "A".repeat(43),
        "x".repeat(10_000),
        "../../etc/passwd".to_owned(),
        "' or 1=1 --".to_owned(),
        "%00".to_owned(),
        secret.clone(),
        token.clone(),
        // What the store has of it is no credential.
        sha256_hex(&session),
    ] {
        nobody.push((format!("the cookie {forged:.60}"), with_cookie(&scene.server, &forged)));
    }
    let (own_mark, other_mark) = (mark(&mut scene.own), mark(&mut scene.other));
    let mut stranger = Visitor::new(scene.server.address);
    let stranger_mark = mark(&mut stranger);
    let before = last_seq(&scene.server.dir);
    let (mut of_everyone, mut of_person, mut of_member, mut forms) = (0, 0, 0, 0);
    for route in ROUTES {
        let path = filled(route.path, &scene.named);
        let what = |who: &str| format!("{:?} {path} by {who}", route.method);
        match route.access {
            Access::Everyone => of_everyone += 1,
            Access::Person => of_person += 1,
            Access::Member => of_member += 1,
        }
        if route.access != Access::Everyone {
            for (who, visitor) in &nobody {
                let reply = call(visitor, route, &path, Some(&own_mark));
                assert_sent_to_sign_in(&reply, &what(who));
                assert_tells_nothing(&reply, &scene.marks, &what(who));
            }
            // Credentials of programs open no page.
            for credential in [&secret, &token] {
                let bearer = format!("Bearer {credential}");
                let headers = [("Authorization", &*bearer), ("Accept", "text/html")];
                let reply = request(scene.server.address, "GET", &path, &headers);
                assert_ne!(reply.status, 200, "{}", what(credential));
                assert_tells_nothing(&reply, &scene.marks, &what(credential));
            }
        }
        if route.access == Access::Member {
            let reply = call(&scene.other, route, &path, Some(&other_mark));
            assert_eq!(reply.status, 404, "{}: {reply:?}", what("another"));
            assert_tells_nothing(&reply, &scene.marks, &what("another"));
            // As if there were no such account.
            for account in ["3", "0", "01", "+1", "1%20", "-1", "18446744073709551617", "one"] {
                let path = path.replacen("/accounts/1/", &format!("/accounts/{account}/"), 1);
                let none = call(&scene.own, route, &path, Some(&own_mark));
                assert_eq!(none.status, 404, "{path}");
            }
        }
        if route.method == Method::Post {
            forms += 1;
            let visitor = if route.access == Access::Everyone { &stranger } else { &scene.own };
            let right = if route.access == Access::Everyone { &stranger_mark } else { &own_mark };
            let forged = [
                None,
                Some(String::new()),
                Some("x".repeat(43)),
                Some(other_mark.clone()),
                Some(right[1..].to_owned()),
                Some(format!("{right}A")),
            ];
            for csrf in forged {
                let reply = call(visitor, route, &path, csrf.as_deref());
                assert_eq!(reply.status, 403, "{} with {csrf:?}: {reply:?}", what("its own"));
            }
            // Another's mark is none, nor is that of who wasn't signed in yet.
            let wrong = if route.access == Access::Everyone { &own_mark } else { &stranger_mark };
            assert_eq!(call(visitor, route, &path, Some(wrong)).status, 403, "{}", what("its own"));
            // In the address it would be in histories and logs.
            let reply = call(visitor, route, &format!("{path}?csrf={right}"), None);
            assert_eq!(reply.status, 403, "{}", what("its own"));
        }
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            let reply = scene.own.call(method, &path, &[], None);
            assert!([405, 404].contains(&reply.status), "{method} {path}: {reply:?}");
        }
    }
    assert_eq!(last_seq(&scene.server.dir), before, "something was changed");
    println!(
        "{of_everyone} routes for everyone, {of_person} for people, {of_member} for members; {forms} forms"
    );
    assert!(of_everyone > 0 && of_person > 0 && forms > 0);
    // It could have been: the same session, unharmed, is let in.
    assert_eq!(scene.own.get("/me").status, 200);
}

#[test]
fn to_look_changes_nothing() {
    let scene = scene();
    let before = last_seq(&scene.server.dir);
    let nobody = Visitor::new(scene.server.address);
    for place in places(&scene.named).iter().filter(|place| place.kind != places::Kind::Stream) {
        let visitor = if place.access == Access::Everyone { &nobody } else { &scene.own };
        for method in ["GET", "HEAD"] {
            let reply = visitor.call(method, &place.path, &[("Accept", "text/html")], None);
            let expected = if place.kind == places::Kind::Elsewhere { 303 } else { place.status };
            assert_eq!(reply.status, expected, "{method} {}: {reply:.2000?}", place.path);
            if place.kind == places::Kind::Page {
                assert_eq!(reply.header("Cache-Control"), Some("no-store"), "{}", place.path);
            }
        }
    }
    assert_eq!(last_seq(&scene.server.dir), before, "something was changed");
}

#[test]
fn a_session_opens_pages_alone() {
    let scene = scene();
    for path in ["/v1/events", "/v1/users", "/v1/stats", "/v1/export?what=events", "/metrics"] {
        assert_eq!(scene.own.call("GET", path, &[], None).status, 401, "{path}");
    }
}

/// Whoever is sent to elsewhere after signing in stays within the pages.
#[test]
fn signing_in_leads_to_our_pages_alone() {
    let scene = scene();
    for next in [
        "//evil.example/",
        "/\t/evil.example/",
        "/\r\n/evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "https://evil.example/",
        "javascript:alert(1)",
        " //evil.example/",
        "evil.example",
        "/\u{0}/evil.example",
    ] {
        let mut visitor = Visitor::new(scene.server.address);
        let path = format!("/sign-in?next={}", support::escape(next));
        let page = visitor.get(&path);
        let form = form_with(page.text(), "password");
        let reply =
            visitor.send(&form, &path, &[("email", "own@example.com"), ("password", PASSWORD)]);
        assert_eq!((reply.status, reply.header("Location")), (303, Some("/")), "{next:?}");
        // Who is signed in already is sent on at once.
        let again = visitor.get(&path);
        assert_eq!((again.status, again.header("Location")), (303, Some("/")), "{next:?}");
    }
    let mut visitor = Visitor::new(scene.server.address);
    let page = visitor.get("/sign-in?next=%2Fme");
    let form = form_with(page.text(), "password");
    let reply =
        visitor.send(&form, "/sign-in", &[("email", "own@example.com"), ("password", PASSWORD)]);
    assert_eq!((reply.status, reply.header("Location")), (303, Some("/me")));
}

fn sha256_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
