//! Encoders and clients as the world has them, against the real binary: what they send is read back
//! to the character, and a page in a real browser sees the answers it should.
//!
//! The programs are not on everyone's machine, so what needs more than this crate is ignored unless
//! asked for: `cargo test --test clients -- --ignored`.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use support::outside::{self, browse, run, site};
use support::{Server, base64, escape};

const OK: &str = r#"{"status":"ok"}"#;

/// A server on a folder of its own; the folder goes last.
fn serve() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (Server::start(dir.path()), dir)
}

/// An object whose Base64 has both of the characters that URLs treat specially, whatever comes
/// before them, and has many lines. `name` tells it from others.
fn tricky(kind: &str, name: &str) -> String {
    let special =
        "???? >>>> ~~~~ ÿÿÿÿ Größe 12½ übermäßig, zoë & кот + ねこ = 100% <b>\\\"x\\\"</b> "
            .repeat(4);
    let named = if kind == "users" { "id" } else { "type" };
    format!(
        r#"{{"{named}":"{name}","z":1.0,"a":1234567890123456789012345678901234567890,"mood":"👍🏽🎉👨‍👩‍👧","text":"{special}","nested":{{"😀":[null,true,"\u00eb"]}}}}"#
    )
}

/// What the server has of `json`, which was sent as `kind` under the name `name`, has to be it:
/// number texts, key order and all.
fn assert_kept(server: &Server, kind: &str, name: &str, json: &str) {
    let mut sent: Value = serde_json::from_str(json).expect("JSON");
    let mut kept = if kind == "users" {
        server.read(&format!("/v1/users/{}", escape(name))).json()
    } else {
        let page = server.read(&format!("/v1/events?type={}", escape(name))).json();
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{name}: {page}");
        page["events"][0].clone()
    };
    let sent = sent.as_object_mut().expect("an object");
    let named = if kind == "users" { "id" } else { "type" };
    assert_eq!(sent.shift_remove(named).as_ref(), Some(&kept[named]), "{name}");
    for own in ["email", "user_id"] {
        if let Some(value) = sent.shift_remove(own) {
            assert_eq!(value, kept[own], "{name}");
        }
    }
    let sent = Value::Object(sent.clone()).to_string();
    assert_eq!(kept["attributes"].take().to_string(), sent, "{name}");
}

#[test]
fn the_documented_samples_with_and_without_padding() {
    let user = include_str!("../data/samples/user.json").trim_end();
    let event = include_str!("../data/samples/event.json").trim_end();
    for (kind, name, json) in [("users", "user13@gmail.com", user), ("events", "purchase", event)] {
        let padded = base64(json);
        assert!(padded.ends_with('='), "padding is what this is about: {padded}");
        for data in [escape(&padded), padded, STANDARD_NO_PAD.encode(json)] {
            // A server each, so that what is read back was sent this way.
            let (server, _dir) = serve();
            let token = &server.api_token;
            let reply = server.get(&format!("/v1/{kind}/track?api_token={token}&data={data}"));
            assert_eq!((reply.status, reply.text()), (200, OK), "{data}");
            assert_kept(&server, kind, name, json);
        }
    }
}

#[test]
fn connections_opened_at_once_and_kept_are_all_answered() {
    // A browser opens six to a server and keeps them; a popular page has many browsers.
    for connections in [6, 64] {
        let (server, _dir) = serve();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        let open = |_| TcpStream::connect(server.address).unwrap();
        let streams: Vec<TcpStream> = (0..connections).map(open).collect();
        for mut stream in &streams {
            stream.write_all(request.as_bytes()).unwrap();
        }
        for (number, mut stream) in streams.iter().enumerate() {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let answered = stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0);
            assert!(answered, "{number} of {connections} has no answer");
        }
    }
}

#[test]
#[ignore = "needs ruby, openssl, python3, coreutils and curl"]
fn what_encoders_make_arrives_through_curl() {
    const PYTHON: &str = "import base64, sys; print(base64.CALL(sys.stdin.buffer.read()).decode())";
    let python = |call| vec!["python3".to_owned(), "-c".to_owned(), PYTHON.replace("CALL", call)];
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // How long its lines are, if it breaks them, and how it writes 62 and 63.
    let encoders = [
        (words("ruby -rbase64 -e print(Base64.encode64(STDIN.read))"), Some(60), ['+', '/']),
        (words("base64"), Some(76), ['+', '/']),
        (words("openssl base64"), Some(64), ['+', '/']),
        (python("b64encode"), None, ['+', '/']),
        (python("urlsafe_b64encode"), None, ['-', '_']),
    ];
    let (server, _dir) = serve();
    let token = format!("api_token={}", server.api_token);
    for (encoder, line, special) in encoders {
        for kind in ["users", "events"] {
            let url = format!("http://{}/v1/{kind}/track", server.address);
            for left_plain in [false, true] {
                let name = format!("{} {left_plain}", encoder.join(" "));
                let json = tricky(kind, &name);
                let data = run(Command::new(&encoder[0]).args(&encoder[1..]), &json);
                assert!(special.iter().all(|&one| data.contains(one)), "{name}: {data}");
                let first = data.lines().next().unwrap();
                assert!(line.is_none_or(|length| first.len() == length), "{name}: {data}");
                assert_eq!(data.trim_end().contains('\n'), line.is_some(), "{name}: {data}");

                let mut curl = Command::new("curl");
                curl.args(["--silent", "--show-error", "--fail-with-body"]);
                if left_plain {
                    // A URL may hold anything of Base64 as it is, but no line break.
                    let data = data.replace('\n', "%0A");
                    curl.arg(format!("{url}?{token}&data={data}"));
                } else {
                    curl.args(["--get", &url, "--data-urlencode", &token]);
                    curl.args(["--data-urlencode", &format!("data={data}")]);
                }
                assert_eq!(run(&mut curl, ""), OK, "{name}");
                assert_kept(&server, kind, &name, &json);
            }
        }
    }
}

#[test]
#[ignore = "needs wget, ruby, python3 and node"]
fn what_http_clients_send_arrives() {
    let (server, _dir) = serve();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    for (program, script) in
        [("sh", "get.sh"), ("ruby", "get.rb"), ("python3", "get.py"), ("node", "get.mjs")]
    {
        for kind in ["users", "events"] {
            let json = tricky(kind, script);
            let mut command = Command::new(program);
            command.arg(scripts.join(script)).arg(format!("http://{}", server.address));
            let answer = run(command.args([&server.api_token, kind]), &json);
            assert_eq!(answer.trim_end(), OK, "{script}");
            assert_kept(&server, kind, script, &json);
        }
    }
}

#[test]
#[ignore = "needs curl, wget, gzip, ruby, python3 and node"]
fn what_http_clients_post_arrives() {
    let (server, _dir) = serve();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let scratch = tempfile::tempdir().unwrap();
    for (program, script, ways) in [
        ("sh", "post.sh", &["form", "json", "gzip", "wget-form", "wget-json"][..]),
        ("ruby", "post.rb", &["form", "json"]),
        ("python3", "post.py", &["form", "json", "gzip"]),
        ("node", "post.mjs", &["form", "json", "text", "gzip", "stream"]),
    ] {
        for (way, kind) in ways.iter().flat_map(|way| [(way, "users"), (way, "events")]) {
            let name = format!("{script} {way}");
            let json = tricky(kind, &name);
            let mut command = Command::new(program);
            command.arg(scripts.join(script)).arg(format!("http://{}", server.address));
            command.args([&server.api_token, kind, way]).arg(scratch.path().join("body"));
            assert_eq!(run(&mut command, &json).trim_end(), OK, "{name}");
            assert_kept(&server, kind, &name, &json);
        }
    }
}

/// A folder beside the clients' scripts, with its packages.
fn packages(name: &str) -> tempfile::TempDir {
    outside::packages(&format!("tests/clients/{name}"))
}

#[test]
#[ignore = "needs node, npm and the npm registry"]
fn batches_of_the_mixpanel_package_arrive() {
    let (server, _dir) = serve();
    let copy = packages("mixpanel");
    for (kind, named) in [("events", "type"), ("users", "id")] {
        // More than the 50 that it sends at once, by `track_batch` and by `import_batch`.
        let list: Vec<Value> = (0..120)
            .map(|n| json!({ named: format!("m{n}"), "text": "ÿ>>??~ 😀", "n": n }))
            .collect();
        let mut node = Command::new("node");
        let port = server.address.port().to_string();
        node.arg("batch.js").args([&port, &server.api_token, kind]).current_dir(copy.path());
        let told = run(&mut node, &json!(list).to_string());
        let mut told: Vec<&str> = told.lines().collect();
        told.sort_unstable();
        let said =
            |count| format!(r#"Mixpanel Server Error: {{"status":"ok","accepted":{count}}}"#);
        assert_eq!(told, [said(10), said(10), said(50), said(50)]);
        for mut object in list {
            let name = object[named].as_str().unwrap().to_owned();
            // What the package adds by itself.
            object["event"] = json!("e");
            object["properties"] = json!({ "time": 1, "token": "unused" });
            assert_kept(&server, kind, &name, &object.to_string());
        }
    }
}

#[test]
#[ignore = "needs python3 with venv, and PyPI"]
fn what_the_mixpanel_packages_for_python_post_arrives() {
    let (server, _dir) = serve();
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/mixpanel_posts.py");
    for version in ["4.11.1", "5.4.1"] {
        let venv = tempfile::tempdir().unwrap();
        let python = venv.path().join("bin/python");
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(venv.path());
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "-q", &format!("mixpanel=={version}")]);
        for command in [&mut make, &mut install] {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let mut command = Command::new(&python);
        command.arg(&script).arg(format!("http://{}", server.address));
        command.args([&server.api_token, version]);
        assert_eq!(run(&mut command, "").trim_end(), version);

        let events = server.read(&format!("/v1/events?type={version}%20one")).json();
        let event = &events["events"][0];
        assert_eq!(event["user_id"], "u1");
        assert_eq!(event["attributes"]["event"], "signed up");
        let properties = &event["attributes"]["properties"];
        assert_eq!((&properties["plan"], &properties["who"]), (&json!("pro"), &json!("zoë 😀")));
        assert_eq!(properties["$lib_version"], version);
        let user = server.read(&format!("/v1/users/{version}%20u1")).json();
        assert_eq!(user["attributes"]["$set"], json!({ "plan": "pro" }));
        let many = server.read(&format!("/v1/events?order=asc&type={version}%20many")).json();
        let many = many["events"].as_array().unwrap();
        let attributes: Vec<_> = many.iter().map(|event| &event["attributes"]).collect();
        let text = "a+b & c=d ÿ";
        assert_eq!(
            attributes,
            [
                json!({"n": 0, "text": text}),
                json!({"n": 1, "text": text}),
                json!({"n": 2, "text": "😀"})
            ]
            .each_ref()
        );
    }
}

#[test]
#[ignore = "needs chromium, npm and the npm registry"]
fn events_of_a_page_with_the_keen_package_arrive() {
    let copy = packages("keen");
    let script = copy.path().join("node_modules/keen-tracking/dist/keen-tracking.min.js");
    let script = std::fs::read_to_string(script).unwrap();
    // As a pixel, which is all that its image beacon takes for an answer, and as JSON.
    for (image, taken) in [("1", ["sent"; 3]), ("0", ["error", "sent", "sent"])] {
        let (server, _dir) = serve();
        let page = include_str!("clients/keen/page.html")
            .replace("{host}", &server.address.to_string())
            .replace("{token}", &server.api_token)
            .replace("{image}", image)
            .replace("{script}", &script);
        let dom = browse(&site(page));
        for (way, outcome) in ["img", "beaconAPI", "fetch"].into_iter().zip(taken) {
            assert_eq!(told(&dom, way), outcome, "{way}");
            let events = server.read(&format!("/v1/events?type=keen%20{way}")).json();
            let expected = json!({ "n": 1, "text": "a+b ??>> ÿ 😀", "list": [null, true] });
            assert_eq!(events["events"][0]["attributes"], expected, "{way}: {events}");
        }
        assert_eq!(server.all_events().len(), 3);
    }
}

#[test]
#[ignore = "needs node, npm and the npm registry"]
fn what_the_mixpanel_package_encodes_arrives() {
    let (server, _dir) = serve();
    let copy = packages("mixpanel");
    for kind in ["users", "events"] {
        // Without the numbers that JavaScript can't hold.
        let json = tricky(kind, "mixpanel")
            .replace(r#""z":1.0,"#, "")
            .replace("1234567890123456789012345678901234567890", "12.5");
        let mut node = Command::new("node");
        let port = server.address.port().to_string();
        node.arg("track.js").args([&port, &server.api_token, kind]).current_dir(copy.path());
        let told = run(&mut node, &json);
        assert_eq!(told.trim_end(), format!("Mixpanel Server Error: {OK}"));
        assert_kept(&server, kind, "mixpanel", &json);
    }
}

/// What a page said of `name`.
fn told<'d>(dom: &'d str, name: &str) -> &'d str {
    let start = format!("<p>{name}=");
    let found = dom.split_once(&start).and_then(|(_, rest)| rest.split_once("</p>"));
    found.unwrap_or_else(|| panic!("the page says nothing of {name}: {dom:.5000}")).0
}

#[test]
#[ignore = "needs chromium"]
fn posts_and_beacons_of_a_page_in_a_browser() {
    let (server, _dir) = serve();
    let single = ["simple", "omit", "include", "bearer", "form", "gzip", "untold"];
    let batches = ["one", "two", "three", "four"];
    let beacons = ["beacon text", "beacon blob", "beacon form", "beacon bytes"];
    let all: Vec<&str> = single.into_iter().chain(batches).chain(beacons).collect();
    let events: serde_json::Map<String, Value> = all
        .iter()
        .chain(&["parts"])
        .map(|name| ((*name).to_owned(), tricky("events", name).into()))
        .collect();
    let page = include_str!("clients/posts.html")
        .replace(
            "{url}",
            &format!("http://{}/v1/events/track?api_token={}", server.address, server.api_token),
        )
        .replace("{token}", &server.api_token)
        // Nothing in it may end the script that it stands in.
        .replace("{events}", &Value::Object(events).to_string().replace('<', "\\u003c"));
    let dom = browse(&site(page));
    let accepted = format!("200 {OK}");
    for name in single {
        assert_eq!(told(&dom, name), accepted, "{name}");
    }
    for name in ["batch", "lines"] {
        assert_eq!(told(&dom, name), r#"200 {"status":"ok","accepted":2}"#, "{name}");
    }
    for (name, status, code, index) in [
        ("refused", "400 ", "missing_type", json!(0)),
        ("parts", "415 ", "unsupported_media_type", Value::Null),
    ] {
        let answer =
            told(&dom, name).strip_prefix(status).unwrap_or_else(|| panic!("{name}: {dom}"));
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!((&answer["code"], &answer["index"]), (&json!(code), &index), "{name}");
    }
    for name in beacons {
        assert_eq!(told(&dom, name), "true", "{name}");
    }
    for name in &all {
        assert_kept(&server, "events", name, &tricky("events", name));
    }
    assert_eq!(server.all_events().len(), all.len(), "nothing of what was refused is kept");
}

#[test]
#[ignore = "needs chromium"]
fn pixels_and_calls_of_a_page_in_a_browser() {
    let (server, _dir) = serve();
    let event = |name: &str| tricky("events", name);
    let user = tricky("users", "zoë");
    let url = |kind: &str, json: &str, more: &str| {
        format!("http://{}{}{more}", server.address, server.target(kind, json))
    };
    let pixel = |kind: &str, json: &str| url(kind, json, "&image=1").replace('&', "&amp;");
    let mut page = include_str!("clients/page.html").to_owned();
    for name in ["opened", "seen", "footer", "view"] {
        page = page.replace(&format!("{{{name}}}"), &pixel("events", &event(name)));
    }
    for name in ["omit", "include"] {
        page = page.replace(&format!("{{{name}}}"), &url("events", &event(name), ""));
    }
    let page = page
        .replace("{user}", &pixel("users", &user))
        .replace("{refused}", &pixel("events", "{}"))
        .replace("{refusal}", &url("events", "{}", ""))
        .replace("{reading}", &format!("http://{}/v1/events", server.address));

    let dom = browse(&site(page));
    let told = |name| told(&dom, name);
    for name in ["opened", "seen", "footer", "view", "user", "refused"] {
        assert_eq!(told(name), "1", "{name}");
    }
    assert_eq!(told("missing"), "0", "an image that isn't there is seen not to be");
    let accepted = format!("200 {OK}");
    assert_eq!((told("omit"), told("include")), (&*accepted, &*accepted));
    let refusal: Value =
        serde_json::from_str(told("refusal").strip_prefix("400 ").unwrap()).unwrap();
    assert_eq!(refusal["code"], json!("missing_type"), "a page can read why it was refused");
    assert_eq!(told("reading"), "TypeError", "a page can't read what the account has");

    for name in ["opened", "seen", "footer", "view", "omit", "include"] {
        assert_kept(&server, "events", name, &event(name));
    }
    assert_kept(&server, "users", "zoë", &user);
    assert_eq!(server.all_events().len(), 6, "nothing of what was refused is kept");
}
