//! Many connections of attackers on one thread: each sends what its script says, and keeps what it
//! is sent.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::support::Reply;
use crate::wire;

/// Where attackers call from, unless a case says otherwise.
pub const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What is kept of what one connection is sent.
const HEARD_MAX: usize = 512 * 1024;

/// What is written at a time.
const WRITTEN_MAX: usize = 64 * 1024;

/// What one connection sends: `first` as fast as it is taken, and `then` by the [`Pace`], again and
/// again for ever, if there is any.
#[derive(Clone)]
pub struct Script {
    pub first: Arc<[u8]>,
    pub then: Arc<[u8]>,
    /// It reads nothing, and has little room for what it is sent.
    pub deaf: bool,
    /// `then` is sent only once.
    pub once: bool,
}

impl Script {
    pub fn new(first: impl Into<Vec<u8>>, then: impl Into<Vec<u8>>) -> Script {
        Script { first: first.into().into(), then: then.into().into(), deaf: false, once: false }
    }
}

/// How fast `then` is sent.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As fast as it is taken.
    Full,
    /// So many bytes at a time.
    Pieces { bytes: usize, every: Duration },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

pub struct Peer {
    stream: TcpStream,
    script: Script,
    at: usize,
    /// What is watched for.
    flags: EventFlags,
    heard: Vec<u8>,
    opened: Instant,
    /// When the first byte came.
    pub first_heard: Option<Duration>,
    /// How it ended, and when.
    pub ended: Option<(End, Duration)>,
    /// Bytes that were taken of it.
    pub sent: u64,
}

impl Peer {
    /// The whole answers so far.
    pub fn answers(&self) -> Vec<Reply> {
        wire::answers(&self.heard).0
    }

    pub fn statuses(&self) -> Vec<u16> {
        self.answers().iter().map(|reply| reply.status).collect()
    }

    /// Bytes behind the last whole answer.
    pub fn rest(&self) -> &[u8] {
        wire::answers(&self.heard).1
    }

    /// Whether it is over, or was answered at all.
    pub fn is_told(&self) -> bool {
        self.ended.is_some() || !self.heard.is_empty()
    }

    /// When it was answered or cut.
    pub fn told(&self) -> Option<Duration> {
        self.first_heard.or(self.ended.map(|(_, at)| at))
    }

    /// In few words.
    pub fn fate(&self) -> String {
        let mut statuses = self.statuses();
        let shown = match statuses.len() {
            0 => "no answer".to_owned(),
            1..=4 => statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
            all => {
                statuses.sort_unstable();
                statuses.dedup();
                format!("{all} of {statuses:?}")
            }
        };
        let end = match self.ended {
            None => "held",
            Some((End::Closed, _)) => "closed",
            Some((End::Reset, _)) => "reset",
        };
        format!("{shown} {end}")
    }
}

pub struct Swarm {
    poller: OwnedFd,
    pace: Pace,
    pub peers: Vec<Peer>,
    /// Whose turn is when.
    due: VecDeque<(Instant, usize)>,
    over: usize,
}

impl Swarm {
    /// Opens a connection for each script, without waiting for any.
    pub fn open(
        server: SocketAddr,
        source: Ipv4Addr,
        pace: Pace,
        scripts: impl IntoIterator<Item = Script>,
    ) -> Swarm {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut swarm = Swarm { poller, pace, peers: Vec::new(), due: VecDeque::new(), over: 0 };
        for script in scripts {
            let stream = call_from(source, server, script.deaf);
            let key = swarm.peers.len();
            let flags = EventFlags::IN | EventFlags::OUT;
            epoll::add(&swarm.poller, &stream, EventData::new_u64(key as u64), flags).unwrap();
            swarm.peers.push(Peer {
                stream,
                script,
                at: 0,
                flags,
                heard: Vec::new(),
                opened: Instant::now(),
                first_heard: None,
                ended: None,
                sent: 0,
            });
        }
        if let Pace::Pieces { every, .. } = pace {
            // Spread, as those of many machines would be.
            let count = swarm.peers.len() as u32;
            let start = Instant::now();
            swarm.due = (0..count).map(|key| (start + every * key / count, key as usize)).collect();
        }
        swarm
    }

    /// Goes on until all are over, but no longer than this.
    pub fn run(&mut self, time: Duration) {
        self.until(time, |_| false);
    }

    /// Goes on until each is over or `done`, but no longer than this. Says whether they are.
    pub fn until(&mut self, time: Duration, done: impl Fn(&Peer) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut events = Vec::with_capacity(1_024);
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            if self.over == self.peers.len() {
                return true;
            }
            if now >= looked {
                // Not at each event: there may be thousands to look at.
                looked = now + Duration::from_millis(10);
                if self.peers.iter().all(|peer| peer.ended.is_some() || done(peer)) {
                    return true;
                }
            }
            if now >= deadline {
                return false;
            }
            self.drip(now);
            let wake = self.due.front().map_or(deadline, |(due, _)| *due);
            let wake = wake.min(deadline).min(looked).saturating_duration_since(now);
            events.clear();
            let wait = wake.max(Duration::from_millis(1)).try_into().unwrap();
            match epoll::wait(
                &self.poller,
                rustix::buffer::spare_capacity(&mut events),
                Some(&wait),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("polling: {error}"),
            }
            for &epoll::Event { flags, data } in &events {
                self.advance(data.u64() as usize, flags);
            }
        }
    }

    /// Adds to what a connection sends at once.
    pub fn say(&mut self, key: usize, bytes: &[u8]) {
        let peer = &mut self.peers[key];
        let unsent = peer.script.first.get(peer.at..).unwrap_or_default();
        peer.script.first = [unsent, bytes].concat().into();
        peer.at = 0;
        if peer.ended.is_none() {
            self.write(key, false);
        }
    }

    /// How many had which fate.
    pub fn tally(&self) -> String {
        let mut fates = BTreeMap::<String, usize>::new();
        for peer in &self.peers {
            *fates.entry(peer.fate()).or_default() += 1;
        }
        let last = self.peers.iter().filter_map(|peer| Some(peer.ended?.1)).max();
        let last = last.map_or_else(String::new, |last| format!(", the last after {last:.1?}"));
        format!("{fates:?}{last}")
    }

    fn drip(&mut self, now: Instant) {
        let Pace::Pieces { every, .. } = self.pace else { return };
        while let Some(&(due, key)) = self.due.front()
            && due <= now
        {
            self.due.pop_front();
            if self.peers[key].ended.is_none() {
                self.write(key, true);
                self.due.push_back((due + every, key));
            }
        }
    }

    fn advance(&mut self, key: usize, flags: EventFlags) {
        if self.peers[key].ended.is_some() {
            return;
        }
        if !self.peers[key].script.deaf {
            // An error too: what came in front of a reset can still be read.
            if flags != EventFlags::OUT {
                self.read(key);
            }
        } else if flags.intersects(EventFlags::ERR) {
            self.end(key, End::Reset);
        } else if flags.intersects(EventFlags::HUP | EventFlags::RDHUP) {
            self.end(key, End::Closed);
        }
        if self.peers[key].ended.is_none() && flags.intersects(EventFlags::OUT) {
            self.write(key, false);
        }
    }

    fn read(&mut self, key: usize) {
        let peer = &mut self.peers[key];
        let mut buffer = [0; 16 * 1024];
        match peer.stream.read(&mut buffer) {
            Ok(0) => self.end(key, End::Closed),
            Ok(n) => {
                let room = HEARD_MAX - peer.heard.len();
                peer.heard.extend_from_slice(&buffer[..n.min(room)]);
                let now = peer.opened.elapsed();
                peer.first_heard.get_or_insert(now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end(key, End::Reset),
        }
    }

    /// Sends some: of `then` only if it is `due`, or the pace is no matter.
    fn write(&mut self, key: usize, due: bool) {
        let (full, piece) = match self.pace {
            Pace::Full => (true, WRITTEN_MAX),
            Pace::Pieces { bytes, .. } => (false, if due { bytes } else { 0 }),
        };
        let peer = &mut self.peers[key];
        let first = peer.script.first.get(peer.at..).unwrap_or_default();
        let then = &peer.script.then;
        let behind = peer.at.saturating_sub(peer.script.first.len());
        let bytes = if !first.is_empty() {
            &first[..first.len().min(WRITTEN_MAX)]
        } else if then.is_empty() || (peer.script.once && behind >= then.len()) {
            &[]
        } else {
            let bytes = &then[behind % then.len()..];
            &bytes[..bytes.len().min(piece)]
        };
        if !bytes.is_empty() {
            match peer.stream.write(bytes) {
                Ok(n) => {
                    peer.at += n;
                    peer.sent += n as u64;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
                // What was said before may still be read; if nothing is, reading tells how it ended.
                Err(_) if !peer.script.deaf => {
                    peer.script.then = Arc::default();
                    peer.at = peer.script.first.len();
                }
                Err(_) => return self.end(key, End::Reset),
            }
        }
        let peer = &mut self.peers[key];
        let more = peer.at < peer.script.first.len() || (full && !peer.script.then.is_empty());
        let mut flags = if peer.script.deaf { EventFlags::RDHUP } else { EventFlags::IN };
        flags.set(EventFlags::OUT, more);
        if flags != peer.flags {
            peer.flags = flags;
            let key = EventData::new_u64(key as u64);
            epoll::modify(&self.poller, &peer.stream, key, flags).unwrap();
        }
    }

    fn end(&mut self, key: usize, how: End) {
        let peer = &mut self.peers[key];
        peer.ended = Some((how, peer.opened.elapsed()));
        epoll::delete(&self.poller, &peer.stream).unwrap();
        self.over += 1;
    }
}

/// Begins to connect from an address.
fn call_from(source: Ipv4Addr, server: SocketAddr, deaf: bool) -> TcpStream {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    set_tcp_nodelay(&socket, true).unwrap();
    if deaf {
        set_socket_recv_buffer_size(&socket, 4 * 1024).unwrap();
    }
    bind(&socket, &SocketAddrV4::new(source, 0)).expect("the loopback has this address");
    match connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => panic!("connecting from {source}: {error}"),
    }
    socket.into()
}

/// Connects and resets, so many times, so many a second.
pub fn resets(server: SocketAddr, source: Ipv4Addr, count: u32, a_second: u32, bytes: &[u8]) {
    let began = Instant::now();
    for number in 0..count {
        let stream = call_from(source, server, false);
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        let _ = (&stream).write(bytes);
        drop(stream);
        if number % 64 == 0 {
            let due = began + Duration::from_secs(1) * number / a_second;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}
