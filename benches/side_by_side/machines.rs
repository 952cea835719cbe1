//! Several servers that share a log on NATS JetStream, beside one that has its own: all on this machine, so that what
//! comes on top is the agreeing, without a network, and with one disk and these processors for all.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::beside::Server;
use crate::report::{Report, Row, Unit};
use crate::wrk::{Connections, Trial, Wrk};

/// How long three `nats-server`s may take to be one cluster.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pixels, over one connection and over several, to one of the servers and to all.
///
/// # Errors
/// In words, if calls failed.
pub fn beside_one(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let dir = bench.folder("machines");
    let nats = Nats::start(&dir);
    let alone = Server::named("one machine", &dir.join("alone"));
    let mut shared: Vec<Server> = Vec::new();
    for number in 1..=3 {
        let mut server = nats.serve(&dir, number);
        if let Some(first) = shared.first() {
            server.token.clone_from(&first.token);
        }
        shared.push(server);
    }
    let wrk = [&alone, &shared[0]].map(|server| Wrk::of(&dir, &server.token));
    let (rounds, seconds) = (bench.settings.rounds, bench.settings.whole_seconds());
    let mut rows = Vec::new();
    let counts = [1].into_iter().chain(bench.settings.connections.iter().copied());
    for count in counts {
        let kept = Connections::Kept(count);
        let each = Connections::Kept(count.div_ceil(3));
        let (mut one, mut first) = (Trial::of(&alone), Trial::of(&shared[0]));
        let mut all: Vec<Trial> = shared.iter().map(Trial::of).collect();
        let mut sums = Vec::new();
        // The first round isn't counted.
        Trial::of(&alone).run(&wrk[0], kept, 1)?;
        Trial::of(&shared[0]).run(&wrk[1], kept, 1)?;
        for _ in 0..rounds {
            one.run(&wrk[0], kept, seconds)?;
            first.run(&wrk[1], kept, seconds)?;
            let rates: Result<Vec<f64>, String> = thread::scope(|scope| {
                let wrk = &wrk[1];
                let run = |trial| scope.spawn(move || last_rate(trial, wrk, each, seconds));
                let threads: Vec<_> = all.iter_mut().map(run).collect();
                threads.into_iter().map(|thread| thread.join().expect("it doesn't panic")).collect()
            });
            sums.push(rates?.iter().sum());
        }
        let row = |trial: &Trial, what: &str| trial.row(format!("{count}, {what}"));
        let (one, first) = (row(&one, "one machine"), row(&first, "all at one of three"));
        let worst = all.iter().map(Trial::p99).fold(0.0, f64::max);
        let sum = Row::new(format!("{count}, over all three"), Unit::PerSecond("calls"), &sums)
            .with("p99", Unit::Time, worst);
        let ratios = [
            Row::ratio(format!("{count}, one of three / one machine"), &first, &one),
            Row::ratio(format!("{count}, all three / one machine"), &sum, &one),
        ];
        rows.extend([one, first, sum]);
        rows.extend(ratios);
    }
    report.table("machines", &rows);
    Ok(())
}

fn last_rate(
    trial: &mut Trial<'_>,
    wrk: &Wrk,
    connections: Connections,
    seconds: u64,
) -> Result<f64, String> {
    trial.run(wrk, connections, seconds)?;
    Ok(trial.last_rate())
}

/// Three `nats-server`s, one cluster; killed when dropped.
struct Nats {
    addresses: Vec<SocketAddr>,
    children: Vec<Child>,
}

impl Nats {
    fn start(dir: &Path) -> Nats {
        let ports: Vec<SocketAddr> = {
            let listeners: Vec<_> = (0..6)
                .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"))
                .collect();
            listeners.iter().map(|listener| listener.local_addr().expect("a port")).collect()
        };
        let (addresses, routes) = ports.split_at(3);
        let all: Vec<_> = routes.iter().map(|route| format!("nats-route://{route}")).collect();
        let start = |number: usize| {
            let (address, route) = (addresses[number], routes[number]);
            let data = dir.join(format!("nats-{number}"));
            let config = dir.join(format!("nats-{number}.conf"));
            let text = format!(
                "server_name: n{number}\nlisten: \"{address}\"\njetstream {{ store_dir: \"{}\" }}\n\
                 cluster {{ name: bench, listen: \"{route}\", routes: [{}] }}\n",
                data.display(),
                all.join(", "),
            );
            fs::write(&config, text).expect("room");
            let mut command = Command::new("nats-server");
            command.arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("nats-server starts")
        };
        let children = (0..3).map(start).collect();
        for address in addresses {
            let began = Instant::now();
            while TcpStream::connect(address).is_err() {
                assert!(began.elapsed() < PATIENCE, "nats-server doesn't listen");
                thread::sleep(Duration::from_millis(50));
            }
        }
        Nats { addresses: addresses.to_vec(), children }
    }

    /// A server whose log is a stream of theirs.
    fn serve(&self, dir: &Path, number: usize) -> Server {
        let log: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerly"));
        command.args(["serve", "--log", "warn", "--listen", "127.0.0.1:0", "--stream", "bench"]);
        command.args(["--log", &format!("nats://{}", log.join(","))]);
        command.arg("--data").arg(dir.join(format!("shared-{number}")));
        Server::start(format!("server {number} of three"), &mut command)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
