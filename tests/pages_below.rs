//! Pages below a path of another host, as `--public-url` says: no link, form, asset or cookie of any page leads out of it,
//! whether the proxy in front takes the path away or leaves it.

mod support;

#[path = "support/places.rs"]
mod places;

use places::{Kind, Named, places};
use support::furnished::furnish;
use support::web::{Visitor, asset_in, form_with, link_in, unescape};
use support::{Reply, Server, request};

const PUBLIC: &str = "https://pages.example/sub";

/// Where a page leads to, all of it.
fn addresses(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["href", "action", "src", "formaction"] {
        let start = format!(" {name}=\"");
        let pieces = html.split(&start).skip(1);
        found.extend(pieces.filter_map(|piece| piece.split('"').next()).map(unescape));
    }
    found
}

/// Somebody at a proxy that takes the path away, or doesn't.
fn get(visitor: &Visitor, path: &str, taken_away: bool) -> Reply {
    let path = if taken_away { path.to_owned() } else { format!("/sub{path}") };
    visitor.call("GET", &path, &[("Accept", "text/html"), ("X-Forwarded-Proto", "https")], None)
}

#[test]
fn everything_stays_below_the_path() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(dir.path(), &["--public-url", PUBLIC]);
    furnish(&server);
    let link = link_in(&server.printed);
    let path = link.strip_prefix(PUBLIC).unwrap_or_else(|| panic!("{link}"));
    let mut visitor = Visitor::new(server.address);
    let page = visitor.get(path);
    let form = form_with(page.text(), "password");
    assert_eq!(form.action, format!("/sub{path}"));
    let reply = visitor.send(
        &form,
        path,
        &[("email", "anna@example.com"), ("password", "four words nobody knows")],
    );
    assert_eq!(reply.status, 303, "{reply:?}");
    let cookies = page.headers.iter().chain(&reply.headers);
    let cookies = cookies.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let mut seen = 0;
    for (_, cookie) in cookies {
        for part in ["; Path=/sub/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        seen += 1;
    }
    assert!(seen >= 2, "cookies of the visit and of the session");
    assert!(reply.header("Location").is_some_and(|path| path.starts_with("/sub/")), "{reply:?}");

    let sign_in = request(server.address, "GET", "/sign-in", &[]);
    let named = Named {
        account: 1,
        user: "u1".to_owned(),
        seq: server.all_events()[0]["seq"].as_u64().expect("a number"),
        link: "none".to_owned(),
        asset: asset_in(sign_in.text()),
    };
    let mut looked = 0;
    for place in
        places(&named).iter().filter(|place| [Kind::Page, Kind::Elsewhere].contains(&place.kind))
    {
        let [whole, short] = [false, true].map(|taken| get(&visitor, &place.path, taken));
        assert_eq!((whole.status, short.status), (short.status, whole.status), "{}", place.path);
        for reply in [&whole, &short] {
            for address in addresses(reply.text()) {
                // One that is relative stays where it is, unless it goes up.
                let stays = match address.starts_with('/') {
                    true => address.starts_with("/sub/"),
                    false => !address.contains(".."),
                };
                assert!(stays, "{}: {address}", place.path);
            }
            let location = reply.header("Location").unwrap_or("/sub/");
            assert!(location.starts_with("/sub/"), "{}: {location}", place.path);
        }
        looked += 1;
    }
    assert!(looked > 3);
    // Who isn't signed in is sent to where to sign in, and back again.
    let nobody = Visitor::new(server.address);
    for taken in [false, true] {
        let reply = get(&nobody, "/me", taken);
        let location = reply.header("Location").unwrap_or_default();
        assert!(location.starts_with("/sub/sign-in?next="), "{location}");
        assert!(!location.contains("sub%2F"), "the path would be there twice: {location}");
    }
}
