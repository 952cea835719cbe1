//! A network of the test's own: hosts, each a network namespace with an address, plugged into a switch from which each
//! of them can be unplugged. The test itself stands in none of them and reaches all.
//!
//! Needs root and `ip`. There is one network at a time in a process; when it is dropped, whatever runs in its
//! hosts is killed and all of it is gone. What a run left that was killed itself, the next one clears away.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Namespaces of ours are called `triggerly-PID-HOST`, after the process of the test.
const PREFIX: &str = "triggerly-";

/// Where `ip` keeps namespaces that have names.
const NAMESPACES: &str = "/run/netns";

/// Hosts of one network; the last address but one of its sixteen is the test's.
const HOSTS_MAX: u8 = 13;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Network {
    /// The first of its sixteen addresses.
    base: u32,
    hosts: u8,
    _only: MutexGuard<'static, ()>,
}

/// A machine, as far as the network knows of it.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    pub address: Ipv4Addr,
}

impl Network {
    /// A switch, and the test plugged into it.
    pub fn new() -> Network {
        // Another test that failed has dropped its network all the same.
        let only = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        need_root_and_ip();
        sweep();
        // Of 198.18.0.0/15, which is set apart for tests of networks (RFC 2544).
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + std::process::id() % 8192 * 16;
        let network = Network { base, hosts: 0, _only: only };
        let switch = namespace("switch");
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "switch", "up"]);
        let own = own_link();
        ip(&["link", "add", &own, "type", "veth", "peer", "name", "test", "netns", &switch]);
        ip(&["-n", &switch, "link", "set", "test", "master", "switch", "up"]);
        let address = format!("{}/28", Ipv4Addr::from(base + u32::from(HOSTS_MAX) + 1));
        ip(&["address", "add", &address, "dev", &own]);
        ip(&["link", "set", &own, "up"]);
        network
    }

    /// One more host, plugged in. Its name is also that of its port: up to 15 bytes.
    pub fn host(&mut self, name: &str) -> Host {
        assert!(self.hosts < HOSTS_MAX, "a network of sixteen addresses is full");
        self.hosts += 1;
        let host = Host {
            name: name.to_owned(),
            address: Ipv4Addr::from(self.base + u32::from(self.hosts)),
        };
        let (switch, own) = (namespace("switch"), namespace(name));
        ip(&["netns", "add", &own]);
        ip(&[
            "-n", &switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
            &own,
        ]);
        ip(&["-n", &switch, "link", "set", name, "master", "switch", "up"]);
        let address = format!("{}/28", host.address);
        ip(&["-n", &own, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", &own, "link", "set", "eth0", "up"]);
        ip(&["-n", &own, "link", "set", "lo", "up"]);
        host
    }
}

impl Host {
    /// What runs a program on this host; the process is the program's own, not one that waits for it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace(&self.name), program]);
        command
    }

    /// Nothing gets to it or from it any more, and nobody is told so.
    pub fn unplug(&self) {
        ip(&["-n", &namespace("switch"), "link", "set", &self.name, "down"]);
    }

    pub fn plug(&self) {
        ip(&["-n", &namespace("switch"), "link", "set", &self.name, "up"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        clear(&format!("{PREFIX}{}-", std::process::id()));
        // It goes with its other end, but not at once.
        let _ =
            Command::new("ip").args(["link", "del", &own_link()]).stderr(Stdio::null()).status();
    }
}

fn namespace(host: &str) -> String {
    format!("{PREFIX}{}-{host}", std::process::id())
}

/// The test's end of the cable to the switch.
fn own_link() -> String {
    format!("trg{}", std::process::id())
}

fn need_root_and_ip() {
    assert!(rustix::process::geteuid().is_root(), "needs root, to make network namespaces");
    let found = Command::new("ip").arg("-V").stdout(Stdio::null()).status();
    assert!(found.is_ok(), "needs the program ip (Debian's package iproute2)");
}

/// Runs `ip`.
#[track_caller]
fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().expect("ip of iproute2");
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "network namespaces can't be made here: ip {arguments:?}: {why}"
    );
}

/// Clears away what processes left that are no more.
fn sweep() {
    for name in namespaces() {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            clear(&name);
        }
    }
}

/// Takes down all namespaces whose names begin so, and what runs in them.
fn clear(prefix: &str) {
    for name in namespaces().iter().filter(|name| name.starts_with(prefix)) {
        let inside = Command::new("ip").args(["netns", "pids", name]).output();
        let inside = inside.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&inside).lines() {
            if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = Command::new("ip").args(["netns", "del", name]).status();
    }
}

fn namespaces() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}
