//! Users, data types and refused calls as a person sees them: found whatever their ids are, taken along, erased; read as
//! another type from the first value on; and what came in wrong, with what would be right.

mod support;

use serde_json::{Value, json};

use support::web::{Visitor, form_with, forms, link_in, unescape};
use support::{Reply, Server, escape};

const USERS: &str = "/accounts/1/users";
const TYPES: &str = "/accounts/1/types";

/// Ids that paths, queries, browsers and pages could take for something else.
const IDS: [&str; 18] = [
    "u-1",
    ".",
    "..",
    "...",
    "/",
    "a/b",
    "../../me",
    "a\\b",
    "a b",
    "100%",
    "%2e",
    "%2F",
    "a?b#c",
    "a&b=c+d",
    "<script>x</script>",
    "\u{202e}e\u{301}😀",
    "line\nend",
    "\u{0}",
];

fn signed_in() -> (Server, Visitor, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let link = link_in(&server.printed);
    let visitor =
        Visitor::by_link(server.address, &link, "ada@example.com", "four words nobody knows");
    (server, visitor, dir)
}

fn track(server: &Server, kind: &str, object: &Value) {
    server.track(kind, &object.to_string());
}

/// Where the links of a page lead to that begin so.
fn links(page: &Reply, beginning: &str) -> Vec<String> {
    let all = page.text().split(" href=\"").skip(1);
    let all = all.filter_map(|text| text.split('"').next()).map(unescape);
    all.filter(|href| href.starts_with(beginning)).collect()
}

fn has(page: &Reply, text: &str) -> bool {
    unescape(page.text()).contains(text)
}

/// The page that a form that was sent leads to.
fn follow(visitor: &mut Visitor, reply: &Reply) -> Reply {
    assert_eq!(reply.status, 303, "{reply:?}");
    let page = visitor.get(reply.header("location").expect("a way on"));
    assert_eq!(page.status, 200, "{page:?}");
    page
}

#[test]
fn each_user_is_found_taken_along_and_erased_whatever_the_id_is() {
    let (server, mut visitor, _dir) = signed_in();
    for id in IDS {
        track(&server, "users", &json!({ "id": id, "plan": "pro", "email": "<b>@x" }));
        track(&server, "events", &json!({ "type": "buy", "user_id": id, "price": id }));
    }
    let list = visitor.get(USERS);
    assert_eq!(list.status, 200);
    let mut left = links(&list, "/accounts/1/user").into_iter().filter(|href| {
        (href.starts_with("/accounts/1/users/") || href.starts_with("/accounts/1/user?id="))
            && !href.contains("sort=")
    });
    let mut ids = IDS;
    ids.sort_unstable();
    for id in ids {
        let href = left.next().expect("a link for each user");
        // What a browser would shorten is no path.
        let path = href.split('?').next().unwrap_or_default();
        assert!(!path.split('/').any(|piece| matches!(piece, "." | "..")), "{href}");
        let page = visitor.get(&href);
        assert!(page.status == 200 && has(&page, id) && has(&page, "buy"), "{href}: {page:?}");
        assert!(!page.text().contains("<script>x"), "{href}");

        let export = links(&page, "/accounts/1/user/export").remove(0);
        let file = visitor.get(&export);
        let kind = file.header("content-disposition").expect("a file").to_owned();
        assert!(
            kind.starts_with("attachment; filename=\"user") && kind.ends_with(".jsonl\""),
            "{kind}"
        );
        assert!(kind.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{kind}");
        // A short file comes in one chunk, behind which there is the last.
        assert!(file.text().ends_with("\r\n0\r\n\r\n"), "{file:?}");
        let lines = file.text().split('\n').filter(|line| line.starts_with('{'));
        let lines: Vec<Value> =
            lines.map(|line| serde_json::from_str(line.trim_end()).expect("JSON")).collect();
        assert_eq!(lines.len(), 2, "{export}");
        assert_eq!((&lines[0]["id"], &lines[1]["user_id"]), (&json!(id), &json!(id)));

        let erase = links(&page, "/accounts/1/user/erase").remove(0);
        let ask = visitor.get(&erase);
        let form = form_with(ask.text(), "confirm");
        let wrong = visitor.send(&form, &erase, &[("confirm", "u-2")]);
        assert!(wrong.status == 422 && has(&wrong, "This is not the id."), "{wrong:?}");
        assert_eq!(visitor.get(&href).status, 200, "it is still there");
        let typed = id.replace('\n', "").replace('\0', "\u{fffd}");
        let erased = visitor.send(&form, &erase, &[("confirm", &typed)]);
        assert!(!erased.header("location").expect("a way").contains(&escape(id)) || id == ".");
        let told = follow(&mut visitor, &erased);
        assert!(has(&told, "The user and 1 event have been erased"), "{told:?}");
        assert_eq!(visitor.get(&href).status, 404, "{href}");
        assert_eq!(visitor.get(&export).status, 404);
        assert_eq!(visitor.send(&form, &erase, &[("confirm", &typed)]).status, 404);
    }
    assert_eq!(left.next(), None);
    assert!(has(&visitor.get(USERS), "No users yet"));
    assert_eq!(server.all_events().len(), 0);
}

#[test]
fn users_are_searched_and_sorted_and_their_changes_told() {
    let (server, mut visitor, _dir) = signed_in();
    for n in 0..70 {
        let plan = if n % 2 == 0 { "free" } else { "pro" };
        let user = json!({ "id": format!("u-{n:02}"), "email": format!("p{n}@x.example"), "age": 70 - n, "plan": plan });
        track(&server, "users", &user);
    }
    track(&server, "users", &json!({ "id": "u-07", "plan": "team", "age": null }));
    let first = |page: &Reply| {
        let found = links(page, "/accounts/1/users/").into_iter();
        found.map(|href| href.rsplit('/').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let page = visitor.get(USERS);
    let ids = first(&page);
    assert_eq!((ids.len(), ids[0].as_str()), (50, "u-00"));
    let next = links(&page, USERS).into_iter().find(|href| href.contains("cursor=")).expect("more");
    let rest = first(&visitor.get(&next));
    assert_eq!((rest.len(), rest[0].as_str()), (20, "u-50"));
    for (query, found) in [
        ("q=P69", &["u-69"][..]),
        (
            "sort=age&q=u-0",
            &["u-09", "u-08", "u-06", "u-05", "u-04", "u-03", "u-02", "u-01", "u-00", "u-07"],
        ),
        ("where=plan%3Dteam", &["u-07"]),
        ("where=plan%3Dfree&where=age%3E68", &["u-00"]),
        ("sort=updated_at&order=desc&q=u-07", &["u-07"]),
        ("q=nobody", &[]),
    ] {
        assert_eq!(first(&visitor.get(&format!("{USERS}?{query}"))), found, "{query}");
    }
    for (query, why) in [
        ("where=nonsense", "`nonsense` is not a condition"),
        ("cursor=x", "`cursor`"),
        ("order=up", "`order`"),
    ] {
        let page = visitor.get(&format!("{USERS}?{query}"));
        assert!(page.status == 400 && has(&page, why), "{query}: {page:?}");
        let form = form_with(page.text(), "q");
        let kept = form.fields.iter().any(|field| field.value == "nonsense");
        assert_eq!(kept, query.contains("nonsense"), "the form is as it was filled in");
    }
    let user = visitor.get(&format!("{USERS}/u-07"));
    for told in ["<del><bdi>pro</bdi></del>", "<bdi>team</bdi>", "removed"] {
        assert!(user.text().contains(told), "{told}: {user:?}");
    }
    assert_eq!(visitor.get(&format!("{USERS}/u-07?from=soon")).status, 400);
    assert!(has(
        &visitor.get(&format!("{USERS}/u-07?to=2001-07-04")),
        "Nothing happened in this time"
    ));
}

#[test]
fn a_type_is_tried_set_and_taken_back() {
    let (server, mut visitor, _dir) = signed_in();
    assert!(has(&visitor.get(TYPES), "No attributes yet"));
    for price in ["9.50", "10", "free"] {
        track(&server, "events", &json!({ "type": "a \"b\"", "user_id": "u", "price": price }));
        track(&server, "users", &json!({ "id": format!("u{price}"), "seen": "1700000000" }));
    }
    let list = visitor.get(TYPES);
    assert!(has(&list, "free") && has(&list, "Events: <bdi>a \"b\"</bdi>"), "{list:?}");
    let one = links(&list, "/accounts/1/types/one").into_iter().find(|href| href.contains("price"));
    let one = one.expect("its page");
    let page = visitor.get(&one);
    let tried_at =
        links(&page, &one).into_iter().find(|href| href.ends_with("&to=Number")).expect("a way");
    let tried = visitor.get(&tried_at);
    for told in ["2 (66.7%)", "1 (33.3%)", "all values", "doesn't convert", "9.50"] {
        assert!(has(&tried, told), "{told}: {tried:?}");
    }
    let all = |server: &Server| -> Vec<Value> {
        server.all_events().into_iter().map(|event| event["attributes"]["price"].clone()).collect()
    };
    assert_eq!(all(&server), [json!("9.50"), json!("10"), json!("free")], "trying changes nothing");

    let set = forms(tried.text())
        .into_iter()
        .find(|form| form.action.contains("/types/set?"))
        .expect("a form");
    let reply = visitor.send(&set, &tried_at, &[]);
    let page = follow(&mut visitor, &reply);
    assert!(has(&page, "The type is set."), "{page:?}");
    let numbers = all(&server);
    assert_eq!(numbers[0].to_string(), "9.50");
    assert_eq!(numbers[2], json!("free"), "what doesn't convert stays");
    assert!(has(&visitor.get(&format!("{TYPES}?set=1")), "price"));

    let unset = forms(page.text())
        .into_iter()
        .find(|form| form.action.contains("/types/unset?"))
        .expect("a form");
    let reply = visitor.send(&unset, &one, &[]);
    assert!(has(&follow(&mut visitor, &reply), "The type is taken back."));
    assert_eq!(all(&server)[0], json!("9.50"));
    // Taken back twice it is as it was.
    let reply = visitor.send(&unset, &one, &[]);
    follow(&mut visitor, &reply);

    // What was sent before is read as the type on a user's page too.
    let own = format!("{TYPES}/one?kind=user&attribute=seen&to=Date");
    let set = forms(visitor.get(&own).text())
        .into_iter()
        .find(|form| form.action.contains("/types/set?"));
    let reply = visitor.send(&set.expect("a form"), &own, &[]);
    follow(&mut visitor, &reply);
    let user = visitor.get(&format!("{USERS}/ufree"));
    assert!(has(&user, "14 Nov 2023, 22:13:20") && has(&user, "\"1700000000\""), "{user:?}");

    let csrf = form_with(page.text(), "csrf").fields[0].value.clone();
    let long = format!("kind=user&attribute={}", "x".repeat(1_025));
    for (query, to, status) in [
        ("kind=user&attribute=seen", "number", 422),
        ("kind=users&attribute=seen", "Number", 404),
        (&long, "Number", 422),
    ] {
        let reply = visitor.post(&format!("{TYPES}/set?{query}"), &[("to", to), ("csrf", &csrf)]);
        assert_eq!(reply.status, status, "{query}");
    }
    assert_eq!(visitor.get(&format!("{TYPES}/one?kind=user&attribute=seen&to=Colour")).status, 400);
}

#[test]
fn refused_calls_stand_together_and_alone_until_somebody_is_erased() {
    let (server, mut visitor, _dir) = signed_in();
    let refused = "/accounts/1/refused";
    assert!(has(&visitor.get(refused), "Nothing was refused"));
    track(&server, "users", &json!({ "id": "u" }));
    for object in [r#"{"x":"<script>"#, r#"{"x":"<script>"#, r#"{"type":"<b>","date":"<i>soon"}"#] {
        assert_eq!(server.get(&server.target("events", object)).status, 400);
    }
    let page = visitor.get(refused);
    let rows = page.text().matches("<tr><td data-label=").count();
    assert_eq!(rows, 2, "{page:?}");
    for told in [
        "invalid_json",
        "The data is not JSON",
        "<td class=\"n\" data-label=\"Times\">2</td>",
        "invalid_date",
        "/profile#snippets",
    ] {
        assert!(has(&page, told), "{told}: {page:?}");
    }
    assert!(!page.text().contains("<i>soon"));
    let single = visitor.get(&format!("{refused}?view=single"));
    assert_eq!(single.text().matches("<tr><td data-label=").count(), 3);

    let erase = "/accounts/1/user/erase?id=u";
    let form = form_with(visitor.get(erase).text(), "confirm");
    let reply = visitor.send(&form, erase, &[("confirm", "u")]);
    assert!(has(&follow(&mut visitor, &reply), "The user and 0 events have been erased"));
    assert!(has(&visitor.get(refused), "Nothing was refused"));
}
