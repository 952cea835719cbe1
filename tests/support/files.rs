//! Looking at the files of a data directory, and copying them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Copies a folder's files, and those of folders in it; sockets are left out.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a kind");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            fs::create_dir(&target).expect("it can be made");
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

/// All files in a folder and those in it; sockets are left out.
pub fn all(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            found.extend(all(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found
}

/// The segments of a data directory, by name.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = all(&dir.join("segments"));
    found.retain(|path| path.extension().is_some_and(|end| end == "parquet"));
    found.sort_unstable();
    found
}

/// What files under a folder hold of texts that begin so and have so many bytes.
pub fn texts_in(dir: &Path, prefix: &str, len: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in all(dir) {
        let bytes = fs::read(&path).expect("it can be read");
        // Where else it may begin, next to nothing is looked at.
        let first = prefix.as_bytes()[0];
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == first) {
            if let Some(text) = bytes.get(at..at + len)
                && text.starts_with(prefix.as_bytes())
            {
                found.insert(String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    found
}

/// Checks that a data directory that nobody has open holds what belongs there and nothing else: one
/// generation of sled, so many segments, and no file half written.
#[track_caller]
pub fn check_tidy(dir: &Path, segments: u64) {
    let mut generations = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        match name.as_str() {
            "FORMAT" | "CURRENT" | "high-water" | "ballast" | "lock" | "segments"
            | "control.sock" | "refused.jsonl" => {}
            _ if name == "sled" || name.starts_with("sled-") => generations.push(name),
            _ => panic!("{name} is left behind"),
        }
    }
    assert_eq!(generations.len(), 1, "{generations:?}");
    if let Ok(current) = fs::read_to_string(dir.join("CURRENT")) {
        assert_eq!(current.trim_end(), generations[0]);
    }
    let names: Vec<_> = fs::read_dir(dir.join("segments"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    let (parquet, others): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.ends_with(".parquet"));
    assert_eq!(parquet.len() as u64, segments, "{names:?}");
    // Each has at most one index.
    for name in others {
        let of = name.strip_suffix(".index").map(|stem| format!("{stem}.parquet"));
        assert!(of.is_some_and(|of| names.contains(&of)), "{names:?}");
    }
}
