//! Programs that aren't ours: run to their end, and a browser with a site for it to visit.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program with `input` on its standard input, and gives its standard output. It has to
/// succeed.
pub fn run(command: &mut Command, input: &str) -> String {
    // A proxy of the environment would stand between the client and the server.
    for name in ["http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that doesn't read its input may be gone before it is written.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it can be waited for");
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{error}", output.status);
    text
}

/// A copy of a folder of scripts, with the packages of npm that it names.
pub fn packages(folder: &str) -> tempfile::TempDir {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let copy = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(folder).expect("a folder").map(Result::unwrap) {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("a copy");
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    // Unlike other programs, it may need the environment's proxy.
    let installed = npm.current_dir(copy.path()).output().expect("npm runs");
    assert!(installed.status.success(), "{installed:?}");
    copy
}

/// Opens a page in Chromium, waits until nothing of it is under way, and gives its DOM as HTML.
pub fn browse(url: &str) -> String {
    let profile = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "90", "chromium"]);
    // Root has no sandbox, a container hardly any shared memory.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--disable-quic", "--no-first-run", "--disable-background-networking"]);
    command.args(["--disable-component-update", "--disable-sync", "--no-proxy-server"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    // Virtual time stands still while a request is under way.
    command.args(["--virtual-time-budget=5000", "--dump-dom", url]);
    run(&mut command, "")
}

/// Serves one page from another site than the server's, to the end of the test; gives its address.
/// The page demands, by `Cross-Origin-Embedder-Policy`, that whatever it embeds says it may be.
pub fn site(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Browsers open connections that they may never use, so none may hold up the others.
            let page = page.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.next().unwrap_or_default();
                lines.find(String::is_empty);
                let (status, body) =
                    if asked.starts_with("GET / ") { ("200 OK", &*page) } else { ("404 None", "") };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n\
                     Cross-Origin-Embedder-Policy: require-corp\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            });
        }
    });
    format!("http://localhost:{}/", address.port())
}
