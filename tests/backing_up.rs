//! Backups as people make them: while the server is busy, into files and through pipes, and restored
//! elsewhere, where everything has to be as it was at the backup's `last_seq`.

#[path = "support/load.rs"]
mod load;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use load::Load;
use serde_json::{Map, Value};
use support::furnished::{furnish, last_seq, run, text, track_event};
use support::server::{triggerly, verb};
use support::{Server, base64, escape, files, merge};
use triggerly::model::{AccountId, Change, Seq, json};
use triggerly::store::{Order, Selection, Store};

/// How long what has to come may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn done(output: &Output) -> &str {
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{output:?}");
    text(&output.stdout)
}

/// A verb that failed as it should: one line, and nothing on standard output.
fn refused(output: &Output) -> &str {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.starts_with("triggerly: ") && said.lines().count() == 1, "{said:?}");
    said
}

fn value(lines: &str, key: &str) -> u64 {
    let found = lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{key}: {lines}")).parse().expect("a number")
}

fn name(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// `restore -`, with these bytes on standard input.
fn restore_through_pipe(dir: &Path, bytes: &[u8]) -> Output {
    let mut command = triggerly();
    command.args(["restore", "-", "--data"]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // It may have seen enough before the end.
    let _ = child.stdin.take().expect("a pipe").write_all(bytes);
    child.wait_with_output().expect("it ends")
}

/// `backup -`, with its output on a pipe.
fn backup_into_pipe(dir: &Path) -> Child {
    let mut command = triggerly();
    command.args(["backup", "-", "--data"]).arg(dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

type Users = BTreeMap<String, (Map<String, Value>, i64, i64)>;

/// The users that the log makes up to a position: attributes, and when they came and changed.
fn replayed(store: &Store, last_seq: Seq) -> Users {
    let mut users = Users::new();
    let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).expect("an object");
    store
        .select(&Selection::of(1..=last_seq), Order::Ascending, &mut |_, record| {
            if let Change::User(patch) = record.change {
                let at = record.received_at.millis();
                let user = users.entry(patch.id.to_owned()).or_insert((Map::new(), at, at));
                merge(&mut user.0, &object(patch.patch));
                user.2 = at;
            }
            Ok(ControlFlow::Continue(()))
        })
        .expect("it can be read");
    users
}

/// The users that a store tells of.
fn told(store: &Store) -> Users {
    store
        .users(AccountId(1), None)
        .map(|entry| {
            let (id, user) = entry.expect("it can be read");
            let attributes = serde_json::from_str(&json::to_text(&user.attributes));
            let attributes = attributes.expect("an object");
            (id, (attributes, user.created_at.millis(), user.updated_at.millis()))
        })
        .collect()
}

#[test]
fn a_backup_under_load_is_the_log_at_its_seq() {
    let below = tempfile::tempdir().unwrap();
    let place = |name: &str| below.path().join(name);
    let dir = place("store");
    let mut server = Server::start(&dir);
    let token = server.api_token.clone();
    let load = Load {
        connections: 16,
        time: Duration::from_secs(4),
        grace: Duration::from_secs(20),
        ..Load::at(server.address)
    };
    let (answers, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // What was told of each backup, and where it is.
    let mut backups: Vec<(u64, PathBuf)> = Vec::new();
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let report = load.run(
                |request, connection, n| {
                    let (kind, object) = if n % 4 == 3 {
                        let user = format!(r#"{{"id":"u{connection}","n{}":{n}.0}}"#, n % 5);
                        ("users", user)
                    } else {
                        let event = format!(r#"{{"type":"t{}","n":{n}}}"#, connection % 3);
                        ("events", event)
                    };
                    let data = escape(&base64(object));
                    write!(
                        request,
                        "GET /v1/{kind}/track?api_token={token}&data={data} HTTP/1.1\r\nHost: t\r\n\r\n"
                    )
                    .unwrap();
                },
                |_, _, status| {
                    answers.fetch_add(1, SeqCst);
                    assert_eq!(status, 200);
                },
            );
            over.store(true, SeqCst);
            report
        });
        // Meanwhile the log is sealed over and over.
        let compacting = scope.spawn(|| {
            let mut sealed = 0;
            while !over.load(SeqCst) {
                sealed += value(done(&verb(&dir, &["compact"])), "sealed");
            }
            sealed
        });
        // Users are among the first so many.
        while answers.load(SeqCst) < 200 && !running.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        let mut round = 0;
        while !over.load(SeqCst) && round < 5 {
            let file = place(&format!("backup-{round}"));
            if round == 1 {
                let output = backup_into_pipe(&dir).wait_with_output().expect("it ends");
                assert!(output.status.success(), "{output:?}");
                fs::write(&file, &output.stdout).unwrap();
            } else {
                done(&verb(&dir, &["backup", name(&file)]));
            }
            backups.push((0, file));
            round += 1;
            thread::sleep(Duration::from_millis(100));
        }
        let report = running.join().expect("the load ends");
        assert_eq!(report.failed(), 0, "{report:?}");
        assert!(report.calls > 500, "{report:?}");
        assert!(compacting.join().expect("it goes on") > 0);
    });
    assert!(backups.len() >= 3, "{}", backups.len());
    server.terminate();
    // And one of a store that nobody serves.
    let file = place("backup-at-rest");
    done(&verb(&dir, &["backup", name(&file)]));
    backups.push((0, file));

    let restored = |n: usize| place(&format!("restored-{n}"));
    for (n, (last_seq, file)) in backups.iter_mut().enumerate() {
        let output = match n % 2 {
            0 => verb(&restored(n), &["restore", name(file)]),
            _ => restore_through_pipe(&restored(n), &fs::read(&file).unwrap()),
        };
        let said = done(&output);
        *last_seq = value(said, "last_seq");
        assert_eq!(value(said, "bytes"), fs::metadata(&file).unwrap().len());
        let mode = fs::metadata(restored(n)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let seqs: Vec<u64> = backups.iter().map(|(last_seq, _)| *last_seq).collect();
    assert!(
        seqs.is_sorted() && seqs[0] < seqs[seqs.len() - 1],
        "they were made under load: {seqs:?}"
    );

    let all = verb(&dir, &["export", "events"]);
    let all: Vec<&str> = done(&all).lines().collect();
    let original = Store::open(&dir).expect("it is whole");
    assert_eq!(original.last_seq(), seqs[seqs.len() - 1]);
    assert_eq!(told(&original), replayed(&original, Seq::MAX));
    for (n, last_seq) in seqs.into_iter().enumerate() {
        let seq = |line: &str| -> u64 {
            let rest = line.strip_prefix(r#"{"seq":"#).expect("a position");
            rest.split(',').next().expect("a position").parse().expect("a number")
        };
        let expected = &all[..all.partition_point(|line| seq(line) <= last_seq)];
        let events = verb(&restored(n), &["export", "events"]);
        let events: Vec<&str> = done(&events).lines().collect();
        assert!(events == expected, "backup {n} up to {last_seq}: {} events", events.len());
        let store = Store::open(&restored(n)).expect("it is whole");
        assert_eq!(store.last_seq(), last_seq);
        assert_eq!(store.accounts().list(), original.accounts().list());
        let users = told(&store);
        assert_eq!(users, replayed(&original, last_seq), "backup {n}");
        assert!(!users.is_empty());
        drop(store);
        assert_eq!(value(done(&verb(&restored(n), &["verify"])), "damaged"), 0);
    }
}

/// A restored store is served like any other: with its keys, and it goes on counting where it was.
#[test]
fn what_was_restored_is_served() {
    let below = tempfile::tempdir().unwrap();
    let (dir, other) = (below.path().join("store"), below.path().join("other"));
    let server = Server::start(&dir);
    furnish(&server);
    let mut backup = backup_into_pipe(&dir);
    let mut restore = triggerly();
    restore.args(["restore", "-", "--data"]).arg(&other).stdin(backup.stdout.take().unwrap());
    let restored = restore.output().expect("it runs");
    assert!(backup.wait().unwrap().success());
    let position = last_seq(&dir);
    assert!(done(&restored).starts_with(&position), "{restored:?}");
    track_event(&server, "after", "u1", "2001-07-09");

    let mut again = Server::start(&other);
    assert_eq!(again.printed, [""; 0], "it has its accounts");
    again.api_token.clone_from(&server.api_token);
    again.secret_key.clone_from(&server.secret_key);
    let (mut there, here) = (server.all_events(), again.all_events());
    let after = there.pop().expect("the one after");
    assert_eq!(here, there);
    track_event(&again, "after", "u1", "2001-07-09");
    assert_eq!(again.all_events().last().unwrap()["seq"], after["seq"]);
}

#[test]
fn what_is_not_a_whole_backup_of_ours_is_refused_and_writes_nothing() {
    let below = tempfile::tempdir().unwrap();
    let place = |name: &str| below.path().join(name);
    let dir = place("store");
    let server = Server::start(&dir);
    furnish(&server);
    done(&verb(&dir, &["compact"]));
    track_event(&server, "hot", "u1", "2001-07-09");
    done(&verb(&dir, &["backup", name(&place("good"))]));
    let good = fs::read(place("good")).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    let mut cases: Vec<(String, Vec<u8>, &str)> = vec![
        ("nothing".to_owned(), vec![], ""),
        (
            "something else".to_owned(),
            b"{\"type\":\"view\"}\n".repeat(99),
            "no backup of triggerly's",
        ),
        ("zeros".to_owned(), vec![0; 100_000], "no backup of triggerly's"),
        ("newer".to_owned(), with(17, b'1' ^ b'2'), "newer version"),
        ("longer".to_owned(), [&good[..], b"\n"].concat(), "altered"),
        ("twice".to_owned(), good.repeat(2), "altered"),
    ];
    for length in [1, 18, 19, 20, 40, good.len() / 3, good.len() / 2, good.len() - 1] {
        let why = if length < 19 { "too short" } else { "cut short" };
        cases.push((format!("cut at {length}"), good[..length].to_vec(), why));
    }
    for at in [25, 60, good.len() / 4, good.len() / 2, good.len() * 3 / 4, good.len() - 5] {
        cases.push((format!("altered at {at}"), with(at, 4), "altered"));
    }
    fs::create_dir(place("empty")).unwrap();
    for (case, bytes, says) in cases {
        fs::write(place("bad"), &bytes).unwrap();
        for target in ["empty", "absent"] {
            let output = verb(&place(target), &["restore", name(&place("bad"))]);
            assert!(refused(&output).contains(says), "{case}: {output:?}");
            assert!(target == "empty" || !place(target).exists(), "{case}");
            let output = restore_through_pipe(&place(target), &bytes);
            assert!(refused(&output).contains(says), "{case}: {output:?}");
            assert_eq!(count(&place(target)), 0, "{case}");
            // It may be made for what comes through a pipe, which can't be looked at first.
            let _ = fs::remove_dir(place("absent"));
        }
        fs::create_dir_all(place("empty")).unwrap();
    }
    // Where there is something, nothing is restored, whatever that is; a server may be at it.
    fs::create_dir(place("full")).unwrap();
    fs::write(place("full/note"), "mine").unwrap();
    for target in [&dir, &place("full")] {
        let before = count(target);
        for output in
            [verb(target, &["restore", name(&place("good"))]), restore_through_pipe(target, &good)]
        {
            assert!(refused(&output).contains("isn't empty"), "{output:?}");
        }
        assert_eq!(count(target), before);
    }
    assert_eq!(fs::read_to_string(place("full/note")).unwrap(), "mine");
    refused(&verb(&place("absent"), &["restore", name(&place("no such file"))]));
    assert!(!place("absent").exists());
    for target in ["/proc/store", name(&place("full/note"))] {
        refused(&verb(Path::new(target), &["restore", name(&place("good"))]));
    }
    // None of all that was because of the backup itself.
    done(&verb(&place("empty"), &["restore", name(&place("good"))]));
    assert_eq!(server.all_events().len(), 6);
}

#[test]
fn a_file_is_replaced_by_a_whole_backup_only() {
    let below = tempfile::tempdir().unwrap();
    let place = |name: &str| below.path().join(name);
    let dir = place("store");
    let mut server = Server::start(&dir);
    furnish(&server);
    done(&verb(&dir, &["compact"]));
    let file = place("backup");
    done(&verb(&dir, &["backup", name(&file)]));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read(&file).unwrap();
    track_event(&server, "later", "", "2001-07-09");
    done(&verb(&dir, &["backup", name(&file)]));
    let second = fs::read(&file).unwrap();
    assert_ne!(first, second, "a newer one takes the place of the one before");

    for with_server in [true, false] {
        if !with_server {
            server.terminate();
        }
        for unwritable in ["/proc/backup", name(&place("absent/backup")), name(&dir)] {
            refused(&verb(&dir, &["backup", unwritable]));
        }
        // A segment that can't be read: a backup without it would be none.
        let segment = files::segments(&dir).remove(0);
        let good = fs::read(&segment).unwrap();
        fs::write(&segment, &good[..good.len() - 1]).unwrap();
        let output = verb(&dir, &["backup", name(&file)]);
        let segment_name = segment.file_name().unwrap().to_str().unwrap();
        assert!(refused(&output).contains(segment_name), "{output:?}");
        assert!(fs::read(&file).unwrap() == second);
        fs::write(&segment, &good).unwrap();
    }
    refused(&verb(&place("absent"), &["backup", name(&file)]));
    assert!(fs::read(&file).unwrap() == second);
    let left: Vec<_> =
        fs::read_dir(below.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing half written stays: {left:?}");
    assert!(!Path::new(&format!("{}.new", dir.display())).exists());
}

/// So many megabytes of events that don't get smaller.
fn fill(server: &Server, megabytes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    let mut random = support::random::Random::new();
    for _ in 0..megabytes * 20 {
        let mut long = String::with_capacity(50_000);
        while long.len() < 50_000 {
            long += &format!("{:016x}", random.within(0..u64::MAX));
        }
        writeln!(file, r#"{{"type":"long","x":"{long}"}}"#).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    let output = verb(&server.dir, &["import", "events", name(&path)]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_slow_reader_of_a_backup_holds_nobody_up() {
    let below = tempfile::tempdir().unwrap();
    let (dir, other) = (below.path().join("store"), below.path().join("other"));
    let mut server = Server::start(&dir);
    fill(&server, 4);
    done(&verb(&dir, &["compact"]));
    fill(&server, 4);
    let position = last_seq(&dir);
    let mut backup = backup_into_pipe(&dir);
    let mut stdout = backup.stdout.take().unwrap();
    let mut begun = vec![0; 100_000];
    stdout.read_exact(&mut begun).expect("it begins");
    // It holds more than pipe and socket take, so it waits from here on.
    let began = Instant::now();
    for _ in 0..20 {
        track_event(&server, "meanwhile", "", "2001-07-09");
    }
    let compacted = verb(&dir, &["compact"]);
    assert!(value(done(&compacted), "sealed") >= 20, "{compacted:?}");
    let second = below.path().join("second");
    done(&verb(&dir, &["backup", name(&second)]));
    let verified = verb(&dir, &["verify"]);
    assert_eq!(value(done(&verified), "damaged"), 0);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(backup.try_wait().unwrap().is_none(), "it still waits to be read");

    let mut rest = begun;
    stdout.read_to_end(&mut rest).expect("it goes on");
    assert!(backup.wait().unwrap().success());
    let restored = restore_through_pipe(&other, &rest);
    assert!(done(&restored).starts_with(&position), "{restored:?}");
    let held = |dir: &Path| verb(dir, &["export", "events"]).stdout;
    assert!(held(&dir).starts_with(&held(&other)), "it is as it was when it began");

    // One that is never read doesn't keep a server from ending.
    let mut unread = backup_into_pipe(&dir);
    thread::sleep(Duration::from_millis(200));
    assert!(unread.try_wait().unwrap().is_none());
    assert_eq!(server.terminate().code(), Some(0));
    drop(unread.stdout.take());
    let _ = unread.wait();
    assert_eq!(run(&dir, &["verify"]).status.code(), Some(0));
}

#[test]
#[ignore = "takes half a minute"]
fn a_large_backup_takes_little_memory() {
    /// What it may take, whatever it holds.
    const MORE_KILOBYTES_MAX: u64 = 24 * 1024;
    let below = tempfile::tempdir().unwrap();
    let (dir, file) = (below.path().join("store"), below.path().join("backup"));
    let server = Server::start(&dir);
    fill(&server, 40);
    done(&verb(&dir, &["compact"]));
    fill(&server, 8);
    // Once before it counts, for what is taken once and kept.
    done(&verb(&dir, &["stats"]));
    // Kilobytes of a line of a process's status; nothing, once it has ended.
    let kilobytes = |pid: u32, name: &str| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
    };
    // From here on the peak is counted anew (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("it may be set back");
    let before = kilobytes(server.pid(), "VmRSS:");
    assert!(before > 0);
    for _ in 0..3 {
        done(&verb(&dir, &["backup", name(&file)]));
    }
    let more = kilobytes(server.pid(), "VmHWM:").saturating_sub(before);
    let bytes = fs::metadata(&file).unwrap().len();
    println!("{bytes} bytes, {more} KiB more");
    assert!(bytes > 20 * 1024 * 1024, "{bytes}");
    assert!(more < MORE_KILOBYTES_MAX, "{more} KiB");

    let mut command = triggerly();
    command.args(["restore", name(&file), "--data"]).arg(below.path().join("restored"));
    let mut child = command.stdout(Stdio::null()).spawn().expect("it runs");
    let mut peak = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        peak = kilobytes(child.id(), "VmHWM:").max(peak);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    println!("restoring: {peak} KiB");
    assert!((1..128 * 1024).contains(&peak), "{peak} KiB");
}
