//! What the person who runs the server looks at: figures, refused calls, the access log, the unit.

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::furnished::{text, with_other_account};
use support::outside::run;
use support::server::{triggerly, verb};
use support::{Server, request};

/// Looks again until it is so: an answer is counted when it was sent.
#[track_caller]
fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A sample's value, by its name with labels.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

fn metrics(server: &Server) -> String {
    let reply = server.read("/metrics");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    reply.text().to_owned()
}

fn refused_by(server: &Server) -> Vec<Value> {
    server.read("/v1/refused").json()["refused"].as_array().expect("a list").clone()
}

/// Some calls of every kind.
fn calls(server: &Server) {
    for n in 0..5 {
        server.track("events", &json!({"type": "t", "n": n}).to_string());
    }
    server.track("users", r#"{"id": "jo@example.com"}"#);
    for target in [
        format!("/v1/events/track?api_token={}", server.api_token),
        format!("/v1/users/track?api_token={}&data=%7B", server.api_token),
        format!("/v1/users/track?api_token={}&data=%7B&image=1", server.api_token),
        "/v1/users/track?api_token=nobody%0A%7B%7D%22&data=%7B%7D".to_owned(),
        "/no/such\"path{}".to_owned(),
    ] {
        assert!(server.get(&target).status >= 400);
    }
    assert_eq!(server.read("/v1/users/jo@example.com").status, 200);
    assert_eq!(server.read("/v1/stats").status, 200);
    assert_eq!(server.get("/healthz").status, 200);
    let bearer = format!("Bearer {}", server.secret_key);
    let export =
        request(server.address, "GET", "/v1/export?what=events", &[("Authorization", &bearer)]);
    assert_eq!(export.status, 200);
}

#[test]
fn figures_count_what_was_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(dir.path());
    for (key, status) in [("", 401), (&*server.api_token, 401), (&*server.secret_key, 200)] {
        let bearer = format!("Bearer {key}");
        let reply = request(server.address, "GET", "/metrics", &[("Authorization", &bearer)]);
        assert_eq!(reply.status, status, "{key}");
    }
    calls(&server);
    let requests = |route: &str, code: u16, reason: &str| {
        format!("triggerly_requests_total{{code=\"{code}\",reason=\"{reason}\",route=\"{route}\"}}")
    };
    let figures = until(|| {
        let figures = metrics(&server);
        // The export is counted last, by a thread of its own.
        sample(&figures, &requests("export", 200, "")).map(|_| figures)
    });
    for (name, value) in [
        (&*requests("events_track", 200, ""), 5.0),
        (&requests("events_track", 400, "missing_data"), 1.0),
        (&requests("users_track", 400, "invalid_json"), 2.0),
        (&requests("users_track", 401, "unknown_token"), 1.0),
        (&requests("nowhere", 404, "not_found"), 1.0),
        (&requests("user", 200, ""), 1.0),
        (&requests("metrics", 401, "missing_token"), 1.0),
        ("triggerly_request_seconds_count{route=\"events_track\"}", 6.0),
        // The account, the link to sign in, and six calls.
        ("triggerly_log_last_seq", 8.0),
        ("triggerly_commit_records_sum", 8.0),
        ("triggerly_commit_submissions_sum", 8.0),
        ("triggerly_queue_submissions", 0.0),
        ("triggerly_queue_bytes", 0.0),
        ("triggerly_segments", 0.0),
        ("triggerly_segments_damaged", 0.0),
        ("triggerly_segments_unindexed", 0.0),
        ("triggerly_index_bytes", 0.0),
        ("triggerly_storage_failed", 0.0),
        ("triggerly_disk_reserve_bytes", 256.0 * 1024.0 * 1024.0),
    ] {
        assert_eq!(sample(&figures, name), Some(value), "{name}: {figures}");
    }
    let of = |name: &str| sample(&figures, name).unwrap_or_else(|| panic!("no {name}: {figures}"));
    assert_eq!(of("triggerly_commits_total"), of("triggerly_flush_seconds_count"));
    assert!(of("triggerly_accepted_bytes_total") > 50.0);
    assert!(of("process_resident_memory_bytes") > 1e6);
    assert!(of("process_open_fds") > 3.0 && of("process_threads") > 3.0);
    assert!(of("process_start_time_seconds") > 1.7e9);
    assert!(of("triggerly_disk_bytes") > 0.0 && of("triggerly_disk_free_bytes") > 0.0);
    // Nothing that a client sent is in it.
    assert!(!figures.contains("such") && !figures.contains("nobody") && !figures.contains("jo@"));
}

#[test]
fn owners_see_their_own_refused_calls() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(dir.path());
    calls(&server);
    let (track, too_long) = (server.target("events", "{}"), "x".repeat(97 * 1024));
    let referer = [("Referer", "https://me:secret@shop.example/basket?a=1#top")];
    assert_eq!(request(server.address, "GET", &track, &referer).code(), "missing_type");
    assert_eq!(request(server.address, "HEAD", &track, &referer).status, 405);
    let long = request(server.address, "GET", &format!("{track}&x={too_long}"), &[]);
    // The call may be refused before anybody is asked whose it is.
    assert_eq!(long.status, 414);

    let told = refused_by(&server);
    let codes: Vec<_> = told.iter().map(|one| one["code"].as_str().expect("text")).collect();
    let codes = codes.strip_prefix(&["uri_too_long"]).unwrap_or(&codes);
    assert_eq!(codes, ["missing_type", "invalid_json", "invalid_json", "missing_data"]);
    let one = &told[told.len() - 4];
    assert_eq!(one["page"], "https://shop.example/basket?a=1");
    assert_eq!((&one["status"], &one["kind"]), (&json!(400), &json!("events")));
    assert_eq!(one["route"], "events_track");
    assert!(one["detail"].as_str().expect("text").contains("type"), "{one}");
    assert!(one["at"].as_str().expect("text").ends_with('Z'), "{one}");
    let everything = json!(told).to_string();
    assert!(!everything.contains(&server.api_token) && !everything.contains("127.0.0.1"));
    assert_eq!(server.read("/v1/refused?limit=1").json()["refused"], json!([told[0]]));
    assert_eq!(server.read("/v1/refused?limit=0").status, 400);
    let token = format!("Bearer {}", server.api_token);
    let with_token = [("Authorization", &*token)];
    assert_eq!(request(server.address, "GET", "/v1/refused", &with_token).status, 401);

    // Nobody sees another's, and the verb says the same with a server and without.
    with_other_account(&mut server, |server| {
        assert_eq!(refused_by(server), [] as [Value; 0]);
        assert_eq!(server.get(&server.target("users", "[]")).code(), "not_an_object");
        assert_eq!(refused_by(server).len(), 1);
    });
    assert_eq!(refused_by(&server), told);
    let shown = |arguments: &[&str]| {
        let output = verb(dir.path(), &[&["refused"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).to_owned()
    };
    let of_all = shown(&["--json"]);
    let rows: Vec<Value> = serde_json::from_str(&of_all).expect("JSON");
    assert_eq!(rows.len(), told.len() + 1);
    assert_eq!((&rows[0]["account"], &rows[0]["code"]), (&json!("other"), &json!("not_an_object")));
    let lines = shown(&["--account", "other"]);
    assert!(lines.starts_with("account=other\nat=") && lines.contains("\ncode=not_an_object\n"));
    assert!(server.terminate().success());
    assert_eq!((shown(&["--json"]), shown(&["--account", "other"])), (of_all, lines));
    let nobody = verb(dir.path(), &["refused", "--account", "nobody"]);
    assert_eq!(nobody.status.code(), Some(1));

    // They are there again, until somebody erases: they may quote what is to be gone.
    let server = server.again();
    assert_eq!(refused_by(&server), told);
    let bearer = format!("Bearer {}", server.secret_key);
    let headers = [("Authorization", &*bearer)];
    let erased = request(server.address, "DELETE", "/v1/users/jo@example.com", &headers);
    assert_eq!(erased.status, 200);
    assert_eq!(refused_by(&server), [] as [Value; 0]);
    let server = server.again();
    assert_eq!(refused_by(&server), [] as [Value; 0]);
}

/// Serves with an access log, makes calls, and gives the lines and the credentials.
fn logged(arguments: &[&str]) -> (Vec<String>, [String; 2]) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let mut command = triggerly();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("store"));
    command.args(arguments).stderr(File::create(&path).expect("a file"));
    let mut server = Server::run(command, &dir.path().join("store"));
    calls(&server);
    assert!(server.terminate().success());
    let text = fs::read_to_string(path).expect("text");
    (
        text.lines().map(str::to_owned).collect(),
        [server.api_token.clone(), server.secret_key.clone()],
    )
}

#[test]
fn requests_are_logged_when_asked_for() {
    let (lines, credentials) = logged(&["--log", "error", "--access-log"]);
    assert_eq!(lines.len(), 15, "{lines:#?}");
    for part in [
        " access: GET /v1/events/track 200 - 15 B ",
        " access: GET /v1/events/track 400 missing_data ",
        " access: GET /v1/users/track 400 invalid_json 43 B ",
        " access: GET /v1/users/{id} 200 - ",
        " access: GET (nowhere) 404 not_found ",
        " access: GET /v1/export 200 - ",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }
    for hidden in [&*credentials[0], &credentials[1], "jo@", "127.0.0.1", "?"] {
        assert!(!lines.iter().any(|line| line.contains(hidden)), "{hidden}: {lines:#?}");
    }

    let (lines, _) = logged(&["--log", "error,json", "--access-log"]);
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let one = lines.iter().find(|line| line["code"] == "missing_data").expect("a line");
    assert_eq!((&one["method"], &one["status"]), (&json!("GET"), &json!(400)));
    assert_eq!((&one["path"], &one["target"]), (&json!("/v1/events/track"), &json!("access")));
    assert!(one["ms"].as_f64() > Some(0.0) && one["bytes"].as_u64() > Some(50), "{one}");

    assert_eq!(logged(&["--log", "error"]).0, [] as [String; 0]);
}

#[test]
#[ignore = "needs promtool and prometheus_client from PyPI"]
fn prometheus_understands_the_figures() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(&dir.path().join("store"));
    calls(&server);
    let text = metrics(&server);
    // It finds fault with names and missing help too, and says so with status 3.
    let said = run(Command::new("promtool").args(["check", "metrics"]), &text);
    assert_eq!(said, "");

    let python = python(dir.path());
    let script = "import sys, json\n\
        from prometheus_client.parser import text_string_to_metric_families as parse\n\
        families = list(parse(sys.stdin.read()))\n\
        print(json.dumps([[f.name, f.type, f.documentation, len(f.samples)] for f in families]))";
    let families: Vec<(String, String, String, usize)> =
        serde_json::from_str(&run(Command::new(python).args(["-c", script]), &text))
            .expect("what it parsed");
    assert!(families.len() > 20, "{families:?}");
    // What the transport counts is among them; the parser takes `_total` off a counter's name.
    for (name, kind, samples) in [
        ("connections", "gauge", 1),
        ("requests_under_way", "gauge", 1),
        ("connections_accepted", "counter", 1),
        ("received_bytes", "counter", 1),
        ("sent_bytes", "counter", 1),
        ("connections_cut", "counter", 7),
        ("requests_malformed", "counter", 8),
    ] {
        let name = format!("triggerly_{name}");
        let family = families.iter().find(|family| family.0 == name);
        let family = family.unwrap_or_else(|| panic!("no {name}: {families:?}"));
        assert_eq!((&*family.1, family.3), (kind, samples), "{name}");
    }
    for (name, kind, help, samples) in families {
        assert!(["counter", "gauge", "histogram"].contains(&&*kind), "{name} is {kind}");
        assert!(!help.is_empty() && samples > 0, "{name}");
    }
}

fn python(dir: &Path) -> std::path::PathBuf {
    let venv = dir.join("venv");
    run(Command::new("python3").arg("-m").arg("venv").arg(&venv), "");
    let python = venv.join("bin/python");
    let install =
        ["-m", "pip", "install", "-q", "--disable-pip-version-check", "prometheus_client"];
    run(Command::new(&python).args(install), "");
    python
}

#[test]
#[ignore = "needs systemd"]
fn systemd_finds_no_fault_with_the_unit() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("triggerly.service");
    for arguments in
        [&["systemd"][..], &["systemd", "--listen", "0.0.0.0:80", "--data", "/srv/50% of it/data"]]
    {
        let output = triggerly().args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        fs::write(&path, output.stdout).expect("it can be written");
        let output =
            Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("it runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
        // From 0, nothing to fear, to 10; in tenths.
        run(
            Command::new("systemd-analyze")
                .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
                .arg(&path),
            "",
        );
    }
    for data in ["/home/me/data", "/tmp/data", "/"] {
        let output = triggerly().args(["systemd", "--data", data]).output().expect("it runs");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{data}");
    }
}
