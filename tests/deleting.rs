//! Deleting from a shell: what is counted, what is asked, what an answer means.
//!
//! Promises that the verb does the same beside a running server as without one, that it erases only
//! what somebody said yes to, and that what it was not sure of is left as it was.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use support::Server;
use support::furnished::{
    furnish, last_seq, left, run, text, told, track_user, with_other_account,
};
use support::server::triggerly;

/// Runs a verb on a terminal, types an answer and tells the exit status, what it wrote on standard
/// output, and what the terminal showed.
fn run_on_terminal(dir: &Path, arguments: &[&str], typed: &str) -> (Option<i32>, String, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("it can be used");
    unlockpt(&master).expect("it can be used");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
    let side = || File::options().read(true).write(true).open(&name).expect("its other side");
    let mut command = triggerly();
    command.args(arguments).env("TRIGGERLY_DATA", dir).stdout(Stdio::piped());
    let child = command.stdin(side()).stderr(side()).spawn().expect("it runs");
    // The command's own copies of the terminal are closed with it.
    drop(command);
    let mut master = File::from(master);
    // What is typed before it is asked for waits in the terminal.
    master.write_all(typed.as_bytes()).expect("it takes what is typed");
    let output = child.wait_with_output().expect("it ends");
    let mut shown = Vec::new();
    // With nobody on the other side the terminal ends in an error.
    let _ = master.read_to_end(&mut shown);
    let shown = String::from_utf8(shown).expect("text");
    (output.status.code(), text(&output.stdout).to_owned(), shown)
}

#[test]
fn the_verb_erases_with_and_without_a_server() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        furnish(&server);
        if !with_server {
            server.terminate();
        }
        let run = |arguments: &[&str]| {
            let output = run(dir.path(), arguments);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
            (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
        };
        let seq = last_seq(dir.path());
        for dry in [
            (&["delete", "user", "u1", "--dry-run"][..], "users=1\nevents=2\n"),
            (&["delete", "user", "u1", "--dry-run", "--json"], "{\"users\":1,\"events\":2}\n"),
            (&["delete", "events", "--type", "buy", "--dry-run"], "events=2\n"),
            (
                &["delete", "events", "--type", "buy", "--dry-run", "--json", "--yes"],
                "{\"events\":2}\n",
            ),
            (
                &["delete", "events", "--dry-run", "--from", "2001-07-05", "--to", "2001-07-08"],
                "events=3\n",
            ),
        ] {
            assert_eq!(run(dry.0), (dry.1.to_owned(), String::new()));
        }
        // Nothing there: told, and no failure.
        for none in [
            (&["delete", "user", "nobody", "--yes"][..], "users=0\nevents=0\n"),
            (&["delete", "events", "--type", "none", "--yes"], "events=0\n"),
            (&["delete", "events", "--type", "none", "--dry-run"], "events=0\n"),
        ] {
            let (stdout, stderr) = run(none.0);
            assert_eq!(stdout, none.1);
            assert!(
                stderr.contains("nothing was erased") && stderr.lines().count() == 1,
                "{stderr}"
            );
        }
        assert_eq!(last_seq(dir.path()), seq, "nothing was written so far");

        for (arguments, stdout) in [
            (&["delete", "user", "u1", "--yes"][..], "users=1\nevents=2\n"),
            (
                &["delete", "user", "never tracked", "--yes", "--account", "default"],
                "users=0\nevents=1\n",
            ),
            (
                &["delete", "events", "--yes", "--type", "view", "--user-id", "u2", "--json"],
                "{\"events\":1}\n",
            ),
        ] {
            let (out, err) = run(arguments);
            assert_eq!(out, stdout, "{arguments:?}");
            assert!(err.starts_with("triggerly: ") && err.lines().count() == 1, "{err}");
            for says in ["answer", "hour", "`triggerly compact`", "backups"] {
                assert!(err.contains(says), "{err}");
            }
        }
        if !with_server {
            server = server.again();
        }
        assert_eq!(left(&server), ["view - 07"]);
        assert_eq!(server.read("/v1/users").json()["users"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn the_verb_asks_and_takes_only_yes_for_yes() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        furnish(&server);
        if !with_server {
            server.terminate();
        }
        let user = &["delete", "user", "u1"][..];
        for no in ["n\n", "\n", "no\n", "yeah\n", "yes please\n", "\u{4}"] {
            let (status, stdout, shown) = run_on_terminal(dir.path(), user, no);
            assert_eq!((status, stdout.as_str()), (Some(1), ""), "{no:?} {shown}");
            let asks = r#"Erase user "u1" and 2 events? This can't be undone. [y/N] "#;
            assert!(shown.contains(asks), "{shown:?}");
            assert!(shown.contains("nothing was erased"), "{shown:?}");
        }
        for (arguments, typed, asks, stdout) in [
            (user, "y\n", r#"Erase user "u1" and 2 events? "#, "users=1\nevents=2\n"),
            (
                &["delete", "user", "never tracked"],
                " YES \n",
                r#"Erase 1 event of user "never tracked"? "#,
                "users=0\nevents=1\n",
            ),
            (&["delete", "events", "--type", "view"], "Y\n", "Erase 2 events? ", "events=2\n"),
        ] {
            let (status, out, shown) = run_on_terminal(dir.path(), arguments, typed);
            assert_eq!((status, out.as_str()), (Some(0), stdout), "{arguments:?} {shown}");
            assert!(shown.contains(asks), "{shown:?}");
        }
        // Nothing there: nothing to ask.
        let (status, stdout, shown) = run_on_terminal(dir.path(), user, "");
        assert_eq!((status, stdout.as_str()), (Some(0), "users=0\nevents=0\n"));
        assert!(shown.contains("nothing was erased") && !shown.contains("[y/N]"), "{shown:?}");
        if !with_server {
            server = server.again();
        }
        assert_eq!(left(&server), [""; 0]);
    }
}

/// An id is shown so that it can't move the cursor or pass for the program's own words.
#[test]
fn an_id_does_not_play_with_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let id = "a\u{1b}[2K\rb\n";
    track_user(&server, id);
    let (status, _, shown) = run_on_terminal(dir.path(), &["delete", "user", id], "n\n");
    assert_eq!(status, Some(1));
    assert!(shown.contains(r#"Erase user "a\u{1b}[2K\rb\n" and 0 events? "#), "{shown:?}");
}

#[test]
fn the_verb_wants_to_be_told_what_and_to_be_sure() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    furnish(&server);
    with_other_account(&mut server, furnish);
    let (before, seq) = (told(&server), last_seq(dir.path()));
    let long = "x".repeat(256);
    for (arguments, status, says) in [
        (&["delete"][..], 2, ""),
        (&["delete", "user"], 2, ""),
        (&["delete", "everything"], 2, ""),
        (&["delete", "user", "u1", "u2", "--yes"], 2, ""),
        (&["delete", "user", "", "--yes"], 2, "empty"),
        (&["delete", "user", &long, "--yes"], 2, "256"),
        // The account has to be known, and there are two.
        (&["delete", "user", "u1", "--yes"], 1, "other"),
        (&["delete", "user", "u1", "--account", "nobody", "--yes"], 1, "nobody"),
        (&["delete", "events", "--account", "default", "--yes"], 2, "--type"),
        (&["delete", "events", "--account", "default", "--dry-run"], 2, "--type"),
        (&["delete", "events", "--account", "default", "--yes", "--type", ""], 2, "--type"),
        (
            &[
                "delete",
                "events",
                "--account",
                "default",
                "--yes",
                "--type",
                "view",
                "--user-id",
                "",
            ],
            2,
            "--user-id",
        ),
        (&["delete", "events", "--account", "default", "--yes", "--from", "soon"], 2, "date"),
        (&["delete", "events", "--account", "default", "--yes", "--typ", "view"], 2, "--typ"),
        (&["delete", "events", "--account", "default", "--yes", "view"], 2, "view"),
        // Nobody to ask.
        (&["delete", "user", "u1", "--account", "default"], 2, "--yes"),
        (&["delete", "user", "nobody", "--account", "default"], 2, "--yes"),
        (&["delete", "events", "--type", "view", "--account", "default"], 2, "--yes"),
    ] {
        let output = run(dir.path(), arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), stdout), (Some(status), ""), "{arguments:?} {stderr}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
    assert_eq!(told(&server), before);
    assert_eq!(last_seq(dir.path()), seq);

    // One that begins with a dash.
    track_user(&server, "--yes");
    let dashed =
        run(dir.path(), &["delete", "user", "--account", "default", "--yes", "--", "--yes"]);
    assert_eq!(text(&dashed.stdout), "users=1\nevents=0\n", "{dashed:?}");
}
