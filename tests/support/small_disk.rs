//! A small file system of a test's own, that can be filled to the last byte.
//!
//! It is mounted in a mount namespace that lives as long as the process that holds it, and that process
//! reads from a pipe of the test's: however the test ends, the mount goes with it. Everybody reaches
//! it through `/proc/PID/root`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub struct SmallDisk {
    holder: Child,
    path: PathBuf,
    /// Where it is mounted.
    _place: TempDir,
}

impl SmallDisk {
    /// A tmpfs of so many MiB.
    pub fn new(mebibytes: u64) -> SmallDisk {
        let place = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command
            .arg(format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$1\" && echo && exec cat"));
        command.arg("sh").arg(place.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare of util-linux");
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it can be read");
        assert_eq!(line, "\n", "no tmpfs can be mounted here");
        let path = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let below = place.path().strip_prefix("/").expect("an absolute path");
        SmallDisk { holder, path: path.join(below), _place: place }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.path).expect("a file system");
        stat.f_bavail * stat.f_frsize
    }

    /// Writes a file until only `left` bytes are free, or none at all.
    pub fn fill(&self, name: &str, left: u64) -> PathBuf {
        let path = self.path.join(name);
        let mut file = File::create(&path).expect("a file takes no room");
        while self.free_bytes() > left {
            let bytes = (self.free_bytes() - left).min(1 << 20) as usize;
            match file.write_all(&vec![b'x'; bytes]) {
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                written => written.expect("it can be written"),
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Bytes of blocks that a file has; none if there is no such file.
pub fn blocks(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.blocks() * 512)
}
