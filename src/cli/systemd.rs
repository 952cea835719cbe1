//! `systemd`: the unit that runs the server, with no more rights than it needs.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use argh::FromArgs;

use super::{Exit, print};
use crate::app::STOP_MAX;
use crate::config::RawConfig;

/// Prints a systemd unit that runs the server with no more rights than it needs.
#[derive(FromArgs)]
#[argh(subcommand, name = "systemd")]
#[argh(
    note = "The unit runs this very file, as the user triggerly:\n  triggerly systemd | sudo tee /etc/systemd/system/triggerly.service"
)]
pub(super) struct Systemd {
    /// the directory that holds everything (default: /var/lib/triggerly)
    #[argh(option, default = "PathBuf::from(\"/var/lib/triggerly\")")]
    data: PathBuf,

    /// the address and port to listen on (default: 127.0.0.1:8080)
    #[argh(option)]
    listen: Option<String>,
}

/// Where systemd makes directories for services, and gives them to the service's user.
const STATE: &str = "/var/lib";

/// Beyond it the kernel ends the server, to save the machine. The most that was measured is an import of ten
/// million events through it, with 225 MiB.
const MEMORY_MAX: &str = "400M";

/// Seconds beyond its own bound until systemd ends it by force.
const STOP_SPARE_SECONDS: u64 = 5;

impl Systemd {
    pub(super) fn run(self) -> Result<(), Exit> {
        let data = std::path::absolute(&self.data)
            .map_err(|error| Exit::Failed(format!("{}: {error}", self.data.display())))?;
        let raw = RawConfig { listen: self.listen, ..RawConfig::default() };
        // What the unit says is what was said here, and not what is in this environment.
        let listen = raw.check(|_| None)?.listen;
        let binary = std::env::current_exe().map_err(|error| {
            Exit::Failed(format!("can't tell where this program lies: {error}"))
        })?;
        let place = place(&data)?;
        print(unit(&binary, &data, place.as_deref(), listen).trim_end());
        Ok(())
    }
}

/// The directory as systemd's own, by its name below [`STATE`]; `None` for one that an administrator made.
fn place(data: &Path) -> Result<Option<String>, Exit> {
    let refuse = |why: &str| Err(Exit::Usage(format!("--data {}: {why}", data.display())));
    let Some(text) = data.to_str().filter(|text| !text.contains(char::is_control)) else {
        return refuse("a unit can't name this path");
    };
    if data.components().any(|part| part == Component::ParentDir) {
        return refuse("say it without `..`");
    }
    for hidden in ["/home", "/root", "/run/user", "/tmp", "/var/tmp"] {
        if data.starts_with(hidden) {
            return refuse(
                "the unit hides homes and temporary files from the server; name a directory elsewhere",
            );
        }
    }
    let below = data.strip_prefix(STATE).ok().and_then(Path::to_str);
    let below = below.filter(|name| !name.is_empty()).map(str::to_owned);
    if data == Path::new("/") || data == Path::new(STATE) {
        return refuse("the server needs a directory of its own");
    }
    // Separators of systemd's lists and what it gives a meaning.
    if text.contains([':', '"', '\\', '\'']) {
        return refuse("name a directory without quotes, colons and backslashes");
    }
    Ok(below)
}

/// A word of a unit's command line, as it is (systemd.service(5), "Command lines").
fn word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%").replace('$', "$$"))
}

/// A path of a list of paths.
fn listed(path: &str) -> String {
    format!("\"{}\"", path.replace('%', "%%"))
}

fn unit(binary: &Path, data: &Path, state: Option<&str>, listen: std::net::SocketAddr) -> String {
    let data = data.display().to_string();
    let command =
        [&binary.display().to_string(), "serve", "--listen", &listen.to_string(), "--data", &data]
            .map(word)
            .join(" ");
    let directory = match state {
        Some(name) => format!("StateDirectory={}\nStateDirectoryMode=0700", listed(name)),
        None => {
            format!("# To be there, and to belong to the user.\nReadWritePaths={}", listed(&data))
        }
    };
    let privileged = (1..1024).contains(&listen.port());
    let rights = if privileged {
        "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE"
    } else {
        "CapabilityBoundingSet=\nPrivateUsers=yes"
    };
    let stop_seconds = STOP_MAX.as_secs() + STOP_SPARE_SECONDS;
    let mut unit = String::new();
    // Writing to a String can't fail.
    let _ = write!(
        unit,
        "\
[Unit]
Description=triggerly, users and events by plain GETs
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
User=triggerly
{directory}
UMask=0077
Restart=on-failure
RestartSec=2
# The server answers what it took and ends within {} s by itself.
KillSignal=SIGTERM
TimeoutStopSec={stop_seconds}
# The first run would print the secret key, and the journal would keep it.
# `triggerly account rotate default --only secret` shows a new one to you alone.
StandardOutput=null
StandardError=journal

MemoryMax={MEMORY_MAX}
LimitNOFILE=65536
# Threads for questions give way to all others; when it stops they may run as these do.
LimitNICE=+0
TasksMax=256
OOMPolicy=stop

NoNewPrivileges=yes
{rights}
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
",
        STOP_MAX.as_secs()
    );
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_for(data: &str, listen: &str) -> String {
        let data = Path::new(data);
        let Ok(state) = place(data) else { panic!("{data:?} is refused") };
        unit(
            Path::new("/opt/a b/trig%$"),
            data,
            state.as_deref(),
            listen.parse().expect("an address"),
        )
    }

    #[test]
    fn what_is_said_stands_in_it() {
        let unit = unit_for("/var/lib/triggerly", "127.0.0.1:8080");
        for line in [
            r#"ExecStart="/opt/a b/trig%%$$" "serve" "--listen" "127.0.0.1:8080" "--data" "/var/lib/triggerly""#,
            r#"StateDirectory="triggerly""#,
            "TimeoutStopSec=15",
            "CapabilityBoundingSet=",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
        }
        let unit = unit_for("/srv/100% data", "[::]:80");
        for line in
            [r#"ReadWritePaths="/srv/100%% data""#, "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
        {
            assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
        }
        assert!(!unit.contains("PrivateUsers") && !unit.contains("StateDirectory"));
    }

    #[test]
    fn directories_that_the_unit_could_not_reach_are_refused() {
        for data in [
            "/home/me/data",
            "/root/x",
            "/tmp/x",
            "/var/lib/../x",
            "/",
            "/var/lib/",
            "/var/lib/a\"b",
            "/srv/a\nb",
        ] {
            assert!(place(Path::new(data)).is_err(), "{data}");
        }
    }
}
