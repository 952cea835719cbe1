//! What strangers, neighbours and people of other accounts try at the web pages: answers that would tell them something,
//! links that would give more than they say, calls that would make the server work.

mod support;

use std::thread;

use support::Server;
use support::server::verb;
use support::web::{Visitor, form_with, link_in, new_link, path_of};

const PASSWORD: &str = "correct horse battery";

fn serve() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (Server::start(dir.path()), dir)
}

fn add_account(server: &Server, name: &str) {
    let added = verb(&server.dir, &["account", "add", name]);
    assert!(added.status.success(), "{added:?}");
}

/// Where a page leads after signing in: the account's number with it.
fn home(visitor: &mut Visitor) -> String {
    let reply = visitor.get("/");
    reply.header("Location").expect("an account").to_owned()
}

/// Uses a link with a form of its page, as somebody who isn't signed in.
fn take(server: &Server, link: &str, email: &str, password: &str) -> support::Reply {
    let (mut visitor, path) = (Visitor::new(server.address), path_of(link));
    let form = form_with(visitor.get(&path).text(), "password");
    visitor.send(&form, &path, &[("email", email), ("password", password)])
}

/// Tries to sign in, and gives the status.
fn signed_in(server: &Server, email: &str, password: &str) -> u16 {
    let mut visitor = Visitor::new(server.address);
    let form = form_with(visitor.get("/sign-in").text(), "password");
    visitor.send(&form, "/sign-in", &[("email", email), ("password", password)]).status
}

#[test]
fn a_link_to_one_account_is_no_way_into_others() {
    let (server, _dir) = serve();
    add_account(&server, "other");
    let first = link_in(&server.printed);
    let mut ada = Visitor::by_link(server.address, &first, "ada@example.com", PASSWORD);

    // A link of the server's owner to another account, in the hands of that account's people.
    let theirs = new_link(&server.dir, "other");
    let reply = take(&server, &theirs, "Ada@example.com", "chosen by a stranger");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.header("Set-Cookie").is_none_or(|cookie| !cookie.contains("session")));
    assert_eq!(ada.get("/me").status, 200, "her sessions go on");
    assert_eq!(signed_in(&server, "ada@example.com", "chosen by a stranger"), 403);
    let again = Visitor::new(server.address).get(&path_of(&theirs));
    assert_eq!(again.status, 404, "it is used up");

    // The same once she sees that account as well: she sees more than the link gives.
    let path = path_of(&new_link(&server.dir, "other"));
    let form = form_with(ada.get(&path).text(), "csrf");
    // The first form of a page signs out.
    let form = support::web::Form { action: path.clone(), ..form };
    assert_eq!(ada.send(&form, &path, &[]).status, 303);
    let reply = take(&server, &new_link(&server.dir, "other"), "ada@example.com", "a stranger's");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(signed_in(&server, "ada@example.com", PASSWORD), 303, "it is her password still");

    // Who sees nothing else comes back by it.
    let bob = "bob@example.com";
    drop(Visitor::by_link(server.address, &new_link(&server.dir, "other"), bob, PASSWORD));
    let mut bob_again =
        Visitor::by_link(server.address, &new_link(&server.dir, "other"), bob, "another password");
    assert!(home(&mut bob_again).starts_with("/accounts/"));
    assert_eq!(signed_in(&server, bob, PASSWORD), 403);
}

#[test]
fn a_link_lets_one_in_of_many_who_come_at_once() {
    let (server, _dir) = serve();
    let path = path_of(&link_in(&server.printed));
    let (server, path) = (&server, path.as_str());
    let statuses: Vec<u16> = thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn(move || {
                    let mut visitor = Visitor::new(server.address);
                    let page = visitor.get(path);
                    // Too late to see the form.
                    if page.status != 200 {
                        return page.status;
                    }
                    let form = form_with(page.text(), "password");
                    let email = format!("{n}@example.com");
                    visitor.send(&form, path, &[("email", &email), ("password", PASSWORD)]).status
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(303), count(400) + count(404)), (1, 7), "{statuses:?}");
}

#[test]
fn invitations_push_out_no_other_accounts_links() {
    let (server, _dir) = serve();
    add_account(&server, "other");
    let waiting = path_of(&new_link(&server.dir, "other"));
    let first = link_in(&server.printed);
    let mut ada = Visitor::by_link(server.address, &first, "ada@example.com", PASSWORD);
    let profile = home(&mut ada).replace("/overview", "/profile");
    let mark = form_with(ada.get(&profile).text(), "csrf").fields[0].value.clone();
    for _ in 0..110 {
        let made = ada.post(&format!("{profile}/invite"), &[("csrf", &mark)]);
        assert_eq!(made.status, 200, "{made:?}");
    }
    assert_eq!(Visitor::new(server.address).get(&waiting).status, 200);
}

#[test]
fn who_tries_which_e_mails_there_are_waits() {
    let (server, _dir) = serve();
    let first = link_in(&server.printed);
    let mut ada = Visitor::by_link(server.address, &first, "ada@example.com", PASSWORD);
    let link = new_link(&server.dir, "default");
    drop(Visitor::by_link(server.address, &link, "bob@example.com", PASSWORD));
    let mark = form_with(ada.get("/me").text(), "csrf").fields[0].value.clone();
    let mut set = |email| {
        let fields = [("csrf", mark.as_str()), ("current", PASSWORD), ("email", email)];
        ada.post("/me/email", &fields)
    };
    let mut replies = (0..30).map(|_| set("Bob@example.com"));
    let first = replies.next().expect("an answer");
    assert_eq!((first.status, first.text().contains("too many")), (422, false));
    assert!(replies.any(|reply| reply.text().contains("too many")), "a wait");
}

#[test]
fn who_makes_links_to_find_out_which_e_mails_there_are_waits() {
    let (server, _dir) = serve();
    add_account(&server, "other");
    let first = link_in(&server.printed);
    drop(Visitor::by_link(server.address, &first, "ada@example.com", PASSWORD));
    // Each waits twice as long, so that it is too soon at some time, however slow the machine is.
    let refused = (0..30).find_map(|_| {
        let link = new_link(&server.dir, "other");
        let reply = take(&server, &link, "ada@example.com", PASSWORD);
        (reply.status == 422).then_some((link, reply))
    });
    let (link, reply) = refused.expect("a wait");
    assert!(reply.text().contains("too many"), "{:.900}", reply.text());
    let again = Visitor::new(server.address).get(&path_of(&link));
    assert_eq!(again.status, 200, "it waits still");
}

#[test]
fn a_form_of_a_neighbouring_host_is_refused() {
    let (server, _dir) = serve();
    let first = link_in(&server.printed);
    drop(Visitor::by_link(server.address, &first, "ada@example.com", PASSWORD));
    let mut visitor = Visitor::new(server.address);
    let form = form_with(visitor.get("/sign-in").text(), "password");
    let mark = &form.fields[0].value;
    let body = format!("csrf={mark}&email=ada%40example.com&password=correct+horse+battery");
    for (from, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 303)] {
        let headers = [("Sec-Fetch-Site", from)];
        let reply = visitor.call("POST", "/sign-in", &headers, Some(body.as_bytes()));
        assert_eq!(reply.status, status, "{from}");
    }
}

#[test]
fn long_addresses_and_forms_are_refused_before_anything_is_made_of_them() {
    let (server, _dir) = serve();
    let visitor = Visitor::new(server.address);
    let address = format!("/sign-in?next=/{}", "<".repeat(17 * 1024));
    let form = format!("email={}", "%3c".repeat(50 * 1024));
    for (method, path, body, status) in [
        ("GET", address.as_str(), None, 414),
        ("POST", "/sign-in", Some(form.as_bytes()), 413),
        ("POST", "/sign-in", Some(&vec![b'&'; 5 * 1024 * 1024]), 413),
    ] {
        let reply = visitor.call(method, path, &[("Accept", "text/html")], body);
        assert_eq!(reply.status, status, "{path:.40}");
        assert!(reply.text().len() < 4 * 1024, "{} bytes", reply.text().len());
    }
}

/// Also files, and whatever is refused at whatever stage.
#[test]
fn all_answers_are_guarded() {
    let (server, _dir) = serve();
    server.track("events", r#"{"type":"page"}"#);
    let first = link_in(&server.printed);
    let mut ada = Visitor::by_link(server.address, &first, "ada@example.com", PASSWORD);
    let below = |page: &str, home: &str| home.replace("overview", page);
    let home = home(&mut ada);
    let html = [("Accept", "text/html")];
    for (method, path, status) in [
        ("GET", below("exports/download?what=events&format=csv", &home), 200),
        ("GET", below("exports/download?what=users&format=jsonl", &home), 200),
        ("GET", below("exports/download?what=nothing", &home), 400),
        ("GET", home.clone(), 200),
        ("HEAD", home.clone(), 200),
        ("OPTIONS", home.clone(), 405),
        ("DELETE", "/sign-in".to_owned(), 405),
        ("GET", "/nowhere".to_owned(), 404),
        ("GET", "/assets/nothing".to_owned(), 404),
        ("GET", "/accounts/999/overview".to_owned(), 404),
        ("POST", "/sign-in".to_owned(), 403),
        ("GET", format!("/{}", "x".repeat(20 * 1024)), 414),
    ] {
        let reply = ada.call(method, &path, &html, None);
        assert_eq!(reply.status, status, "{method} {path:.60}");
        let header = |name| reply.header(name).unwrap_or_default();
        assert!(header("Content-Security-Policy").contains("default-src 'none'"), "{path:.60}");
        assert_eq!(header("X-Content-Type-Options"), "nosniff", "{path:.60}");
        assert_eq!(header("Cache-Control"), "no-store", "{path:.60}");
        assert_eq!(header("Referrer-Policy"), "same-origin", "{path:.60}");
    }
}
