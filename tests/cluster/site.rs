//! A site: three `nats-server`s that are one cluster, and triggerly servers whose log is its stream, each on a host
//! of its own.
//!
//! Needs root, `ip` and `nats-server`. All of it is gone when it is dropped.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::call::{self, Answer};
use super::member::Member;
use super::nats::Nats;
use super::network::Network;
use crate::support::server::verb;

/// Of either kind.
pub const SERVERS: usize = 3;

pub const STREAM: &str = "site";
/// Where the only shard's groups go.
pub const SUBJECT: &str = "triggerly.site.0.log";

const NATS_PORT: u16 = 4222;
const ROUTE_PORT: u16 = 6222;
const HTTP_PORT: u16 = 8080;

/// How long whatever is started may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Site {
    /// Processes go first, then what they stand on.
    pub nats: Vec<Member>,
    pub servers: Vec<Member>,
    network: Network,
    pub dir: TempDir,
    pub api_token: String,
    pub secret_key: String,
}

impl Site {
    /// Three of each, ready, and an account that the first of the servers made.
    pub fn start() -> Site {
        let mut site = Site::without_servers();
        for _ in 0..SERVERS {
            site.add_server();
        }
        // Whoever comes first makes the account.
        site.servers[0].start();
        wait_to_listen(&mut site.servers[0]);
        let printed = site.servers[0].output();
        let value = |key: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {key}: {printed}")).to_owned()
        };
        (site.api_token, site.secret_key) = (value("api_token"), value("secret_key"));
        for server in &mut site.servers[1..] {
            server.start();
        }
        for server in &mut site.servers[1..] {
            wait_to_listen(server);
            assert!(!server.output().contains("secret_key="), "{}: an account more", server.name);
        }
        for server in &site.servers {
            site.wait_to_take(server.address);
        }
        site
    }

    /// The three `nats-server`s alone, ready.
    pub fn without_servers() -> Site {
        let found = Command::new("nats-server").arg("--version").output();
        let found = found.expect("needs the program nats-server (Debian's package nats-server)");
        println!("{}", String::from_utf8_lossy(&found.stdout).trim());
        let dir = tempfile::tempdir().expect("a folder");
        let mut network = Network::new();
        let hosts: Vec<_> = (1..=SERVERS).map(|n| network.host(&format!("nats-{n}"))).collect();
        let routes: Vec<_> =
            hosts.iter().map(|host| format!("nats://{}:{ROUTE_PORT}", host.address)).collect();
        let mut nats = Vec::new();
        for (n, host) in hosts.into_iter().enumerate() {
            let name = format!("nats-{}", n + 1);
            let data = dir.path().join(&name);
            let config = dir.path().join(format!("{name}.conf"));
            let address = host.address;
            let text = format!(
                "server_name: {name}\nlisten: \"{address}:{NATS_PORT}\"\n\
                 jetstream {{ store_dir: \"{}\" }}\n\
                 cluster {{ name: site, listen: \"{address}:{ROUTE_PORT}\", routes: [{}] }}\n",
                data.display(),
                routes.join(", "),
            );
            fs::write(&config, text).expect("room");
            let arguments = vec!["--config".to_owned(), config.display().to_string()];
            nats.push(Member::new(name, host, NATS_PORT, data, "nats-server", arguments));
        }
        let (api_token, secret_key) = (String::new(), String::new());
        let mut site = Site { nats, servers: Vec::new(), network, dir, api_token, secret_key };
        site.start_nats();
        site
    }

    /// One triggerly server more, on an empty directory; it isn't started.
    pub fn add_server(&mut self) -> &mut Member {
        let name = format!("triggerly-{}", self.servers.len() + 1);
        let host = self.network.host(&name);
        let dir = self.dir.path().join(&name);
        let log: Vec<_> = self.nats.iter().map(|nats| nats.address.to_string()).collect();
        let log = format!("nats://{}", log.join(","));
        let (listen, data) = (format!("{}:{HTTP_PORT}", host.address), dir.display().to_string());
        let arguments = [
            "serve", "--listen", &listen, "--data", &data, "--log", &log, "--stream", STREAM,
            "--log", "info", "--rate", "off",
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        let program = env!("CARGO_BIN_EXE_triggerly");
        self.servers.push(Member::new(name, host, HTTP_PORT, dir, program, arguments));
        self.servers.last_mut().expect("it was added")
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// Starts NATS, until a stream of three replicas can be made. Where its servers start all at once on nothing, those of
    /// 2.10.27 once didn't become one cluster in half a minute, each of them waiting for another: then they start anew.
    fn start_nats(&mut self) {
        for _ in 0..3 {
            for nats in &mut self.nats {
                nats.kill();
                let _ = fs::remove_dir_all(&nats.dir);
            }
            self.nats.iter_mut().for_each(Member::start);
            let Err(why) = self.wait_for_nats() else { return };
            println!("no cluster: {why}");
        }
        panic!("no cluster of NATS");
    }

    /// Waits until a stream of three replicas can be made.
    fn wait_for_nats(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let stream = json!({"name": "ready", "subjects": ["ready"], "num_replicas": SERVERS});
        while let Err(why) = Nats::connect(self.nats[0].address)
            .and_then(|mut nats| nats.ask("$JS.API.STREAM.CREATE.ready", &stream))
        {
            for nats in &mut self.nats {
                assert!(nats.ended().is_none(), "{} ended: {}", nats.name, nats.said());
            }
            if began.elapsed() > PATIENCE / 2 {
                return Err(why);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut nats = Nats::connect(self.nats[0].address).expect("it was there");
        nats.ask("$JS.API.STREAM.DELETE.ready", &json!({})).map(drop)
    }

    /// Waits until a server says that it takes calls, and how long that took.
    #[track_caller]
    pub fn wait_to_take(&self, address: SocketAddr) -> Duration {
        let began = Instant::now();
        loop {
            let answer = call::get(address, "/healthz", &[]);
            if let Answer::Reply(reply) = &answer
                && reply.status == 200
            {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{address} isn't healthy: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// GET with the secret key, answered.
    #[track_caller]
    pub fn read(&self, address: SocketAddr, target: &str) -> crate::support::Reply {
        let bearer = format!("Bearer {}", self.secret_key);
        match call::get(address, target, &[("Authorization", &bearer)]) {
            Answer::Reply(reply) => reply,
            other => panic!("{target}: {other:?}"),
        }
    }

    /// Waits until all servers that run have come to the same position and stay there, and gives it.
    #[track_caller]
    pub fn settle(&self) -> u64 {
        /// Longer than a publish whose outcome isn't known is still tried.
        const QUIET: Duration = Duration::from_secs(6);
        let began = Instant::now();
        let mut since = Instant::now();
        let mut before = Vec::new();
        loop {
            let now: Vec<_> = self.servers.iter().map(|server| position(&server.dir)).collect();
            if now.iter().any(|position| *position != now[0]) || now != before {
                since = Instant::now();
            }
            if since.elapsed() >= QUIET {
                return now[0];
            }
            assert!(began.elapsed() < 2 * PATIENCE, "the servers don't meet: {now:?}");
            before = now;
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Waits until a server that was started says where it listens.
#[track_caller]
pub fn wait_to_listen(server: &mut Member) {
    let began = Instant::now();
    while !server.output().contains("listening on http://") {
        if let Some(status) = server.ended() {
            panic!("{} ended with {status}: {}", server.name, server.said());
        }
        assert!(began.elapsed() < PATIENCE, "{} doesn't listen", server.name);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last position that a server that runs has in its own log.
#[track_caller]
pub fn position(dir: &Path) -> u64 {
    let stats = verb(dir, &["stats"]);
    let text = String::from_utf8_lossy(&stats.stdout);
    let position = text.lines().find_map(|line| line.strip_prefix("last_seq=")?.parse().ok());
    position.unwrap_or_else(|| panic!("no position: {stats:?}"))
}
