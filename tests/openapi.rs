//! What `/openapi.json` says, held against what the server does, by a program that isn't ours: Schemathesis
//! makes calls that keep to the description and calls that don't, and looks whether the answers do.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::outside::run;
use support::server::verb;
use support::{Server, request};

/// Calls of each kind and operation; those at the edges of what is described come on top.
const EXAMPLES_MAX: &str = "25";

/// The program: that of `TRIGGERLY_SCHEMATHESIS`, or one installed here.
fn schemathesis(dir: &Path) -> PathBuf {
    if let Some(program) = std::env::var_os("TRIGGERLY_SCHEMATHESIS") {
        return program.into();
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(dir);
    let mut install = Command::new(dir.join("bin/python"));
    install.args(["-m", "pip", "install", "-q", "schemathesis==4.32.5"]);
    for command in [&mut make, &mut install] {
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{output:?}");
    }
    dir.join("bin/schemathesis")
}

#[test]
fn the_description_is_served_to_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for path in ["/openapi.json", "/openapi.json/"] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some("application/json")));
        assert_eq!(reply.header("Cache-Control"), Some("public, max-age=3600"));
        assert_eq!(reply.header("Access-Control-Allow-Origin"), None);
        assert_eq!(reply.json()["openapi"], "3.1.0");
    }
    let head = request(server.address, "HEAD", "/openapi.json", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    let reply = request(server.address, "DELETE", "/openapi.json", &[]);
    assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, HEAD")));
}

/// Fails where a value has a member that its schema doesn't name.
fn check(description: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = match schema["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
        Some(pointer) => description.pointer(pointer).expect(pointer),
        None => schema,
    };
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| check(description, &schema["items"], item, place));
        }
        Value::Object(members) => {
            // Whatever it holds may be there.
            let Some(described) = schema["properties"].as_object() else { return };
            for (name, value) in members {
                let place = format!("{place}: {name}");
                check(description, described.get(name).expect(&place), value, &place);
            }
        }
        _ => {}
    }
}

#[test]
fn what_is_answered_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let description = server.get("/openapi.json").json();
    server.track("users", r#"{"id":"u","email":"a@b.c","n":"x"}"#);
    server.track("users", r#"{"id":"u","n":"y","m":null}"#);
    server.track("events", r#"{"type":"e","user_id":"u","n":"x","m":1}"#);
    for kind in ["user", "event:e"] {
        let output = verb(dir.path(), &["types", "set", kind, "n", "Number"]);
        assert!(output.status.success(), "{output:?}");
    }
    for (path, asked, not_converted) in [
        ("users/{id}", "users/u", true),
        ("users/{id}/timeline", "users/u/timeline", true),
        ("users", "users", true),
        ("events", "events", true),
        ("stats", "stats", false),
        ("breakdown", "breakdown?by=n&interval=day", true),
        ("breakdown", "breakdown?by=m&top=1&measure=sum:n&interval=day", true),
        ("funnel", "funnel?steps=e,e", false),
        ("retention", "retention?first=e&back=e", false),
        ("types", "types", false),
        ("refused", "refused", false),
    ] {
        let reply = server.read(&format!("/v1/{asked}"));
        assert_eq!(reply.status, 200, "{asked}: {reply:?}");
        let answered = &description["paths"][format!("/v1/{path}")]["get"]["responses"]["200"];
        let schema = &answered["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path}");
        check(&description, schema, &reply.json(), asked);
        assert_eq!(reply.json().get("not_converted").is_some(), not_converted, "{asked}");
    }
}

#[test]
#[ignore = "needs python3 with venv, and PyPI; takes minutes"]
fn the_server_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let tools = tempfile::tempdir().unwrap();
    let program = schemathesis(tools.path());
    // It leaves files where it runs.
    let at = tempfile::tempdir().unwrap();
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/schemathesis");
    for file in ["hooks.py", "schemathesis.toml"] {
        std::fs::copy(hooks.join(file), at.path().join(file)).unwrap();
    }
    let address = format!("http://{}", server.address);
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "900"]).arg(program).current_dir(at.path());
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", ".");
    command.args(["run", &format!("{address}/openapi.json"), "--url", &address]);
    command.args(["--header", &format!("Authorization: Bearer {}", server.secret_key)]);
    command.args(["--checks", "all", "--max-examples", EXAMPLES_MAX, "--seed", "1"]);
    command.args(["--no-color", "--continue-on-failure", "--output-truncate", "true"]);
    let told = run(&mut command, "");
    println!("{told}");
    assert_eq!(server.get("/healthz").status, 200);
}
