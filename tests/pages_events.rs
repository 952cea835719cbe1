//! The pages of events, as somebody without JavaScript meets them: the list and its filter, the breakdown, one event,
//! the funnel and who comes back.

mod support;

use serde_json::{Value, json};
use support::Server;
use support::web::{Visitor, forms, link_in, unescape};

/// The first account.
const ACCOUNT: &str = "accounts/1";

fn signed_in(server: &Server) -> Visitor {
    Visitor::by_link(
        server.address,
        &link_in(&server.printed),
        "ada@example.com",
        "correct horse battery",
    )
}

/// A page, which has to be there.
fn page(visitor: &mut Visitor, below: &str) -> String {
    let reply = visitor.get(&format!("/{ACCOUNT}/{below}"));
    assert_eq!(reply.status, 200, "{below}: {}", reply.text());
    assert!(reply.header("content-security-policy").is_some());
    reply.text().to_owned()
}

/// Text without tags, its white space as one space.
fn text(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some((before, behind)) = rest.split_once('<') {
        out.push_str(before);
        let (tag, behind) = behind.split_once('>').unwrap_or_default();
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
        if !["a", "bdi", "code", "span", "time"].contains(&name) {
            out.push(' ');
        }
        rest = behind;
    }
    let text = unescape(&(out + rest));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where links of this text lead.
fn links(html: &str, of: &str) -> Vec<String> {
    let pieces = html.split("<a ").skip(1).filter_map(|piece| {
        let (tag, rest) = piece.split_once('>')?;
        let inside = rest.split("</a>").next()?;
        let href = tag.split_once("href=\"")?.1.split('"').next()?;
        (text(inside) == of).then(|| unescape(href))
    });
    pieces.collect()
}

fn link(html: &str, of: &str) -> String {
    let found = links(html, of);
    found.into_iter().next().unwrap_or_else(|| panic!("no link {of}: {}", text(html)))
}

/// Tracks events.
fn track(server: &Server, events: &[Value]) {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    track_text(server, &lines.join("\n"));
}

fn track_text(server: &Server, lines: &str) {
    let target = format!("/v1/events/track?api_token={}", server.api_token);
    let headers = [("Content-Type", "application/x-ndjson")];
    let reply = support::post(server.address, &target, &headers, lines.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A date so many minutes ago.
fn ago(minutes: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    triggerly::model::Date::from_millis(now.as_millis() as i64 - minutes * 60_000).to_string()
}

/// Ten users who look, six who go on, three who buy.
fn shop(server: &Server) {
    let mut events = Vec::new();
    for user in 0..10 {
        let mut push = |minutes, kind: &str, plan: &str| {
            let user = format!("u{user}");
            events.push(json!({"type": kind, "user_id": user, "date": ago(minutes), "plan": plan, "price": user.len()}));
        };
        push(50, "view", if user < 4 { "pro" } else { "free" });
        if user < 6 {
            push(40, "cart", "free");
        }
        if user < 3 {
            push(30, "purchase", "a \"b\" <c>");
        }
    }
    track(server, &events);
}

#[test]
fn a_new_account_is_told_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let mut visitor = signed_in(&server);
    for below in ["events", "funnel", "retention"] {
        let page = page(&mut visitor, below);
        assert!(text(&page).contains("No events yet"), "{below}: {}", text(&page));
        assert!(link(&page, "Go to the profile").ends_with("/accounts/1/profile"));
    }
    assert!(
        text(&page(&mut visitor, "events?view=breakdown")).contains("Choose what to break down by")
    );
    for below in ["events/1", "events/0", "events/x", "events/99999999999999999999"] {
        assert_eq!(visitor.get(&format!("/{ACCOUNT}/{below}")).status, 404, "{below}");
    }
}

#[test]
fn events_are_found_counted_and_broken_down() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    shop(&server);
    let mut visitor = signed_in(&server);
    let all = page(&mut visitor, "events");
    assert!(text(&all).contains("19 events, of about 10 users"), "{}", text(&all));
    assert!(text(&all).contains("Events of the last 30 days."), "{}", text(&all));
    // The chart's numbers are in a table too, and each type leads to its own events.
    assert!(text(&all).contains("Numbers of this chart"));
    let purchases = visitor.get(&link(&all, "purchase"));
    assert!(
        text(purchases.text()).contains("3 events, of about 3 users"),
        "{}",
        text(purchases.text())
    );
    let without = link(purchases.text(), "remove of the type purchase");
    assert_eq!(text(visitor.get(&without).text()).matches("nobody named").count(), 0);

    // The form, as it would be sent.
    let form = forms(&all).into_iter().find(|form| form.fields.iter().any(|of| of.name == "where"));
    let form = form.expect("a filter");
    let names: Vec<_> = form.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["type", "user_id", "from", "to", "where"]);
    let narrow = page(&mut visitor, "events?type=view&where=plan%3Dpro&user_id=u1&period=24h");
    assert!(text(&narrow).contains("1 event, of about 1 user and 0 visitors"), "{}", text(&narrow));
    assert!(text(&narrow).contains("where plan=pro"), "{}", text(&narrow));

    // A breakdown leads back to the events of a value, whatever is in it.
    let choose = page(&mut visitor, "events?view=breakdown");
    let by_plan = visitor.get(&link(&choose, "plan"));
    let shown = text(by_plan.text());
    assert!(shown.contains("free 12 events63.2%"), "{shown}");
    assert!(shown.contains("pro 4 events21.1%"), "{shown}");
    let value = visitor.get(&link(by_plan.text(), "a \"b\" <c>"));
    assert!(text(value.text()).contains("3 events"), "{}", text(value.text()));
    let measured = page(&mut visitor, "events?by=plan&measure=sum:price&interval=day&type=view");
    assert!(text(&measured).contains("sum of price 20"), "{}", text(&measured));
    assert!(text(&measured).contains("Numbers over time"), "{}", text(&measured));
    let browsers = page(&mut visitor, "events?by=context:browser");
    assert!(text(&browsers).contains("Not set 19"), "{}", text(&browsers));
    let unset = visitor.get(&link(&browsers, "Not set"));
    assert!(text(unset.text()).contains("19 events, of about 10 users"), "{}", text(unset.text()));

    // What makes no sense is shown as it was written, with what would be right.
    for (query, says) in [
        ("from=yesterday", "takes a date"),
        ("where=nonsense", "is not a condition"),
        ("by=context:nonsense", "the name of an attribute"),
        ("by=plan&measure=nonsense", "`count`"),
        ("cursor=x", "next_cursor"),
        ("bots=x", "`1` or `0`"),
    ] {
        let reply = visitor.get(&format!("/{ACCOUNT}/events?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(text(reply.text()).contains(says), "{query}: {}", text(reply.text()));
        assert!(reply.text().contains("name=\"where\""), "{query}: the form is there");
    }
    let wrong = visitor.get(&format!("/{ACCOUNT}/events?where=%3Cb%3E"));
    assert!(wrong.text().contains("value=\"&#60;b&#62;\""), "{}", wrong.text());
}

#[test]
fn a_long_list_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let events: Vec<Value> =
        (0..120).map(|number| json!({"type": "n", "number": number})).collect();
    track(&server, &events);
    let mut visitor = signed_in(&server);
    let (mut seen, mut next) = (Vec::new(), format!("/{ACCOUNT}/events?type=n"));
    loop {
        let page = visitor.get(&next).text().to_owned();
        let table = page.split("<tbody>").last().expect("a table").to_owned();
        let numbers = table
            .split("<bdi>")
            .skip(1)
            .filter_map(|piece| piece.split('<').next()?.parse::<u32>().ok());
        seen.extend(numbers);
        match links(&page, "Older").pop() {
            Some(older) => next = older,
            None => break,
        }
    }
    assert_eq!(seen, (0..120).rev().collect::<Vec<_>>());
    assert!(!links(visitor.get(&next).text(), "Newest").is_empty());
}

#[test]
fn an_event_is_shown_as_it_was_sent_and_as_it_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    let attributes = r#""z":1.0,"a":1,"big":12345678901234567890123456789012345678901,"when":"2001-07-04T12:08:56.235-0700","price":"12.50","odd":"twelve","address":{"city":"Oslo","zip":"0150"},"nothing":null,"list":[1,{"b":2}]"#;
    track_text(&server, &format!(r#"{{"type":"buy","user_id":"ada",{attributes}}}"#));
    track(
        &server,
        &[json!({"type": "view", "user_id": "bob"}), json!({"type": "view", "user_id": "ada"})],
    );
    for (attribute, data_type) in
        [("price", "Number"), ("odd", "Number"), ("address.zip", "Number")]
    {
        let target = format!("/v1/types/event:buy/{attribute}");
        let authorization = format!("Bearer {}", server.secret_key);
        let body = json!({ "type": data_type }).to_string();
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let nobody = Visitor::new(server.address);
        let reply = nobody.call("PUT", &target, &headers, Some(body.as_bytes()));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let mut visitor = signed_in(&server);
    let list = page(&mut visitor, "events?type=buy");
    let event = links(&list, &first_time(&list)).pop().expect("a link to the event");
    let reply = visitor.get(&event);
    assert_eq!(reply.status, 200);
    let shown = text(reply.text());
    // As sent: digits, order and all; only line breaks are added.
    let sent = reply.text().split("<pre class=\"json\"").nth(1).expect("JSON");
    let sent = sent.split_once("<code>").expect("code").1.split("</code>").next().expect("an end");
    let bare: String = unescape(sent).split('\n').map(str::trim).collect();
    assert_eq!(bare.replace("\": ", "\":"), format!("{{{attributes}}}"));
    // As read.
    for part in [
        "z Number 1.0 1.0 a Number 1 1 big Number 1234",
        "price Number set 12.50 \"12.50\"",
        "odd Number set doesn't convert twelve \"twelve\"",
        "address.city String Oslo \"Oslo\" address.zip Number set doesn't convert",
        "when Date 4 Jul 2001, 19:08:56 \"2001-07-04T12:08:56.235-0700\"",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("2 not converted"), "{shown}");
    // The user's next event is not the one of somebody else between them.
    assert!(links(reply.text(), "The one before").is_empty());
    let after = visitor.get(&link(reply.text(), "The one after"));
    assert_eq!(link(after.text(), "The one before"), event);
    assert!(links(after.text(), "The one after").is_empty());

    // Somebody else's isn't there, as if there were none.
    let other = support::server::verb(dir.path(), &["account", "add", "other"]);
    assert!(other.status.success(), "{other:?}");
    let token = String::from_utf8_lossy(&other.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("api_token=").map(str::to_owned));
    let target = format!("/v1/events/track?api_token={}", token.expect("a token"));
    let reply = support::post(
        server.address,
        &target,
        &[("Content-Type", "application/json")],
        br#"{"type":"theirs"}"#,
    );
    assert_eq!(reply.status, 200);
    let last: u64 = event.rsplit('/').next().and_then(|seq| seq.parse().ok()).expect("a number");
    let theirs: Vec<_> = (last..last + 20)
        .map(|seq| visitor.get(&format!("/{ACCOUNT}/events/{seq}")))
        .filter(|reply| reply.status == 200)
        .map(|reply| text(reply.text()).contains("theirs"))
        .collect();
    assert_eq!(theirs, [false; 3]);
}

/// The first time of a list.
fn first_time(list: &str) -> String {
    let table = list.split("<tbody>").last().expect("a table");
    let time = table.split("<time").nth(1).and_then(|piece| piece.split_once('>')).expect("a time");
    text(time.1.split("</time>").next().expect("an end"))
}

#[test]
fn steps_and_coming_back_are_as_the_api_has_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    shop(&server);
    let mut visitor = signed_in(&server);
    // At once, of the most frequent types.
    let begun = text(&page(&mut visitor, "funnel"));
    assert!(begun.contains("3 of 10 users"), "{begun}");
    let asked = "step1=view&where1=plan%3Dpro&step2=purchase&within=1h";
    let called = "steps=view,purchase&where=1:plan%3Dpro&within=1h";
    for query in [asked, called] {
        let page = page(&mut visitor, &format!("funnel?{query}"));
        let shown = text(&page);
        assert!(shown.contains("75.0% of those who begin come to the end 3 of 4 users"), "{shown}");
        assert!(shown.contains("view where plan=pro"), "{shown}");
        for field in ["step1", "step2", "step3", "where1", "where2"] {
            assert!(page.contains(&format!("name=\"{field}\"")), "{query}: {field}");
        }
        // Another time asks the same steps.
        let longer = visitor.get(&link(&page, "30 days"));
        assert!(text(longer.text()).contains("3 of 4 users"), "{}", text(longer.text()));
    }
    for query in [
        "steps=view,purchase&within=x",
        "steps=view,purchase&where=9:a%3D1",
        "step1=a&step2=b&where1=x",
    ] {
        let reply = visitor.get(&format!("/{ACCOUNT}/funnel?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text().contains("name=\"step1\""), "{query}: the form is there");
    }
    // A condition is never left out without a word.
    for (query, number) in [
        ("step1=view&step2=purchase&where3=a%3D1", 3),
        ("step1=view&where2=a%3D1", 2),
        ("where1=a%3D1", 1),
    ] {
        let reply = visitor.get(&format!("/{ACCOUNT}/funnel?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        let shown = text(reply.text());
        assert_eq!(
            shown.matches(&format!("Step {number} has a condition but no type")).count(),
            2,
            "{shown}"
        );
        let field = format!("name=\"where{number}\" type=\"text\" value=\"a=1\"");
        assert!(reply.text().contains(&field), "{query}: as it was filled in");
    }
    assert!(text(&page(&mut visitor, "funnel?step1=view")).contains("Choose two steps or more"));

    let grid = page(&mut visitor, "retention?first=view&back=cart&interval=month");
    assert!(text(&grid).contains("10 users with a first view"), "{}", text(&grid));
    // The navigation has a link of this name too.
    let users = visitor.get(&links(&grid, "Users").pop().expect("a link"));
    assert!(users.text().contains("title=\"6 of 10\">6</td>"), "{}", users.text());
    assert!(text(&page(&mut visitor, "retention")).contains("10 users with a first view"));
    assert_eq!(visitor.get(&format!("/{ACCOUNT}/retention?interval=hour")).status, 400);
    assert!(text(&page(&mut visitor, "retention?first=none")).contains("Nobody began"));
}
