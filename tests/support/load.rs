//! A closed-loop HTTP load generator on one thread: each connection sends a
//! request, reads the whole answer, notes the time taken, sends the next.
//!
//! It shares the machine with the server it measures, so a call costs one
//! write, one read and no allocation: readiness polling wakes it, buffers are
//! reused, and of an answer only the status, the length and whether the
//! connection stays open are looked at. A run takes at most `time` and twice
//! `grace`, so a dead or silent server ends it, and no call is lost from sight:
//! each one begun is counted in `calls`, `io_errors` or `unanswered`.
//!
//! A closed loop waits for a slow server, so the latencies are those of N
//! patient clients; a stall is seen once for each connection. With a pace the
//! loop is open: calls fall due one after another, whatever became of those
//! before, and each counts from when it was due, so that a stall is seen by all
//! that fell due in it.

#![allow(dead_code, reason = "each test or bench that includes this file uses its part")]

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What to run. Begin from [`Load::at`] and change what differs.
#[derive(Clone, Debug)]
pub struct Load {
    pub addr: SocketAddr,
    pub connections: usize,
    /// No call is begun after this many...
    pub calls: u64,
    /// ... nor after this long.
    pub time: Duration,
    /// How long to wait for connections to open before the run, and for the
    /// answers still under way after it.
    pub grace: Duration,
    /// Off: a new connection for each call.
    pub keep_alive: bool,
    /// Calls that fall due in a second, on whichever connection is free; those
    /// due within `time` are all begun. `None`: each connection's next call is
    /// due with the answer to its last.
    pub pace: Option<f64>,
}

impl Load {
    /// One keep-alive connection for one second.
    pub fn at(addr: SocketAddr) -> Self {
        Load {
            addr,
            connections: 1,
            calls: u64::MAX,
            time: Duration::from_secs(1),
            grace: Duration::from_secs(5),
            keep_alive: true,
            pace: None,
        }
    }

    /// Runs to the end and reports.
    ///
    /// `next_request` writes a whole request into an empty buffer, given the
    /// connection's index and the sequence number of the call on it: 0, 1, 2
    /// and on, never used twice, even when the connection is opened anew. A
    /// call that fails is not sent again, since it may have been served.
    /// `on_answer` is told the connection, sequence and status of every whole
    /// answer, before the next request on that connection is made.
    ///
    /// A refused connection means that nobody listens: it is not tried again,
    /// and when none is left the run is over.
    pub fn run(
        &self,
        next_request: impl FnMut(&mut Vec<u8>, usize, u64),
        on_answer: impl FnMut(usize, u64, u16),
    ) -> Report {
        let mut slots: Vec<Slot> = (0..self.connections).map(Slot::new).collect();
        let mut events = Vec::with_capacity(self.connections.max(1));
        let opened = Instant::now();
        let mut run = Run {
            load: self,
            poller: epoll::create(epoll::CreateFlags::CLOEXEC).expect("a poller"),
            next_request,
            on_answer,
            start: opened,
            stop: opened,
            begun: 0,
            under_way: 0,
            last_answer: opened,
            free: Vec::new(),
            report: Report::default(),
        };
        // The clock starts once all are open, so that opening them is no part
        // of a keep-alive run.
        if self.keep_alive {
            for slot in &mut slots {
                run.open(slot);
            }
        }
        run.start = Instant::now();
        run.stop = run.start + self.time;
        run.last_answer = run.start;
        for slot in &mut slots {
            // In keep-alive mode, a slot without a stream was refused above.
            if slot.stream.is_some() || !self.keep_alive {
                run.begin(slot);
            }
        }

        let deadline = run.stop + self.grace;
        while (run.under_way > 0 || !run.free.is_empty()) && Instant::now() < deadline {
            // Those that are free take what has fallen due.
            while run.due() <= Instant::now()
                && let Some(key) = run.free.pop()
            {
                run.begin(&mut slots[key]);
            }
            events.clear();
            let until = if run.free.is_empty() { deadline } else { deadline.min(run.due()) };
            let left = until.saturating_duration_since(Instant::now());
            let left = left.try_into().expect("a time of some seconds");
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&run.poller, buffer, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("polling: {error}"),
            }
            for &epoll::Event { flags, data } in &events {
                // What isn't writing alone (an end, an error) is told by reading.
                run.advance(&mut slots[data.u64() as usize], flags != EventFlags::OUT);
            }
        }
        run.report.unanswered = run.under_way as u64;
        let starved = |slot: &&Slot| slot.opens > 0 && !slot.served;
        run.report.starved = slots.iter().filter(starved).count();
        for slot in &mut slots {
            run.close(slot);
        }
        // The grace spent on calls that are never answered is no part of the
        // time that the others took.
        let end = Instant::now().min(run.last_answer.max(run.stop));
        run.report.elapsed = end - run.start;
        run.report
    }
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whole answers, whatever their status.
    pub calls: u64,
    /// Of those, the ones of status 400 and above.
    pub errors_by_status: BTreeMap<u16, u64>,
    /// Calls that broke: cut short, or answered in no way understood.
    pub io_errors: u64,
    /// Connections that could not be opened.
    pub refused: u64,
    /// Calls still waiting for their answer when the run was ended.
    pub unanswered: u64,
    /// Connections that had no answer at all until `time` was over, though
    /// they may have had one then, once others closed. A server that leaves
    /// some unserved while it is busy with the rest looks fast otherwise.
    pub starved: usize,
    /// Connections opened beyond the first of each.
    pub reconnects: u64,
    pub elapsed: Duration,
    pub latencies: Histogram,
    /// Answers in each second since the start.
    pub per_second: Vec<u64>,
}

impl Report {
    pub fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// All that did not get a good answer.
    pub fn failed(&self) -> u64 {
        let refusals: u64 = self.errors_by_status.values().sum();
        refusals + self.io_errors + self.refused + self.unanswered
    }
}

/// Durations counted in buckets at most 1/32 wide of their value: exact
/// enough for percentiles, of a fixed size however many calls.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// Buckets for each power of two, as a power of two.
    const BITS: u32 = 5;

    pub fn record(&mut self, value: Duration) {
        let nanos = value.as_nanos() as u64;
        self.buckets[Self::bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The value that a fraction `q` of the durations do not exceed, rounded
    /// up to its bucket's end.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = ((q * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(Self::upper(bucket).min(self.max));
            }
        }
        self.max()
    }

    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    pub fn p999(&self) -> Duration {
        self.quantile(0.999)
    }

    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Below 2^BITS each value has its bucket; above, the leading bit says
    /// which row, and the BITS bits after it which bucket of the row.
    fn bucket(nanos: u64) -> usize {
        let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(Self::BITS + 1);
        ((u64::from(shift) << Self::BITS) + (nanos >> shift)) as usize
    }

    /// The largest value of a bucket.
    fn upper(bucket: usize) -> u64 {
        let shift = (bucket as u64 >> Self::BITS).saturating_sub(1);
        let lead = bucket as u64 - (shift << Self::BITS);
        (lead << shift) + ((1 << shift) - 1)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; Self::bucket(u64::MAX) + 1], count: 0, max: 0 }
    }
}

/// One connection's place: its stream comes and goes, its buffers stay.
struct Slot {
    key: usize,
    stream: Option<TcpStream>,
    opens: u64,
    served: bool,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    filled: usize,
    /// The number of the call under way, and of the one after it.
    sequence: u64,
    next_sequence: u64,
    began: Instant,
    /// Waiting for a call to fall due.
    idle: bool,
}

impl Slot {
    fn new(key: usize) -> Self {
        Slot {
            key,
            stream: None,
            opens: 0,
            served: false,
            request: Vec::with_capacity(2048),
            sent: 0,
            answer: vec![0; 4096],
            filled: 0,
            sequence: 0,
            next_sequence: 0,
            began: Instant::now(),
            idle: false,
        }
    }

    /// Sends what the socket takes. True once the whole request is sent.
    fn send(&mut self) -> io::Result<bool> {
        let mut stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        while self.sent < self.request.len() {
            match stream.write(&self.request[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Reads once, since polling tells again of what is left. The answer, if
    /// it is now whole.
    fn receive(&mut self) -> io::Result<Option<Answer>> {
        let mut stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        if self.filled == self.answer.len() {
            self.answer.resize(2 * self.filled, 0);
        }
        match stream.read(&mut self.answer[self.filled..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.filled += n;
                Answer::parse(&self.answer[..self.filled])
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

struct Run<'a, N, A> {
    load: &'a Load,
    poller: OwnedFd,
    next_request: N,
    on_answer: A,
    start: Instant,
    stop: Instant,
    begun: u64,
    under_way: usize,
    last_answer: Instant,
    /// Connections that wait for a call to fall due.
    free: Vec<usize>,
    report: Report,
}

impl<N: FnMut(&mut Vec<u8>, usize, u64), A: FnMut(usize, u64, u16)> Run<'_, N, A> {
    /// When the next call is due.
    fn due(&self) -> Instant {
        let after = self.load.pace.map_or(0.0, |pace| self.begun as f64 / pace);
        self.start + Duration::from_secs_f64(after)
    }

    /// Begins the slot's next call, or closes the slot when none is to be
    /// begun or nobody listens. Loops past calls that break at once. With a
    /// pace, a slot whose next call isn't due yet is left free.
    fn begin(&mut self, slot: &mut Slot) {
        let paced = self.load.pace.is_some();
        while self.begun < self.load.calls
            && (if paced { self.due() } else { Instant::now() }) < self.stop
        {
            let due = self.due();
            if paced && due > Instant::now() {
                slot.idle = true;
                self.free.push(slot.key);
                return;
            }
            slot.idle = false;
            if slot.stream.is_none() && !self.open(slot) {
                return;
            }
            slot.sequence = slot.next_sequence;
            slot.next_sequence += 1;
            slot.request.clear();
            (self.next_request)(&mut slot.request, slot.key, slot.sequence);
            slot.sent = 0;
            slot.filled = 0;
            slot.began = if paced { due } else { Instant::now() };
            self.begun += 1;
            match slot.send() {
                Ok(whole) => {
                    if !whole {
                        self.watch(slot, true);
                    }
                    self.under_way += 1;
                    return;
                }
                Err(_) => self.broken(slot),
            }
        }
        self.close(slot);
    }

    /// Takes a slot as far as its socket allows.
    fn advance(&mut self, slot: &mut Slot, readable: bool) {
        if slot.stream.is_none() {
            return;
        }
        // Ended by the server while it had nothing to do: opened again when it has.
        if slot.idle {
            self.close(slot);
            return;
        }
        // Reading comes first: a server may refuse a long request before its
        // end, and sending the rest would then only break the connection.
        let mut outcome = if readable { slot.receive() } else { Ok(None) };
        if let Ok(None) = outcome
            && slot.sent < slot.request.len()
        {
            outcome = slot.send().map(|whole| {
                if whole {
                    self.watch(slot, false);
                }
                None
            });
        }
        match outcome {
            Ok(None) => return,
            Ok(Some(answer)) => {
                self.answered(slot, answer.status);
                let unsent = slot.sent < slot.request.len();
                if answer.closes || unsent || !self.load.keep_alive {
                    self.close(slot);
                }
            }
            Err(_) => self.broken(slot),
        }
        self.under_way -= 1;
        self.begin(slot);
    }

    fn answered(&mut self, slot: &mut Slot, status: u16) {
        let now = Instant::now();
        let report = &mut self.report;
        report.calls += 1;
        report.latencies.record(now - slot.began);
        if status >= 400 {
            *report.errors_by_status.entry(status).or_default() += 1;
        }
        let second = (now - self.start).as_secs() as usize;
        if report.per_second.len() <= second {
            report.per_second.resize(second + 1, 0);
        }
        report.per_second[second] += 1;
        self.last_answer = now;
        slot.served |= now < self.stop;
        (self.on_answer)(slot.key, slot.sequence, status);
    }

    fn broken(&mut self, slot: &mut Slot) {
        self.report.io_errors += 1;
        self.close(slot);
    }

    fn open(&mut self, slot: &mut Slot) -> bool {
        // A wait here holds up the others too; on the loopback, which is what
        // this is for, it comes only of a full backlog.
        const PATIENCE: Duration = Duration::from_secs(2);
        let left = (self.stop + self.load.grace).saturating_duration_since(Instant::now());
        let connected =
            TcpStream::connect_timeout(&self.load.addr, left.min(PATIENCE)).and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                let key = EventData::new_u64(slot.key as u64);
                epoll::add(&self.poller, &stream, key, EventFlags::IN)?;
                Ok(stream)
            });
        match connected {
            Ok(stream) => {
                self.report.reconnects += u64::from(slot.opens > 0);
                slot.opens += 1;
                slot.stream = Some(stream);
                true
            }
            Err(_) => {
                self.report.refused += 1;
                false
            }
        }
    }

    /// Sets whether the slot also waits to write: only while a request is
    /// too long for the socket's buffer.
    fn watch(&self, slot: &Slot, writing: bool) {
        let flags = if writing { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        if let Some(stream) = &slot.stream {
            let key = EventData::new_u64(slot.key as u64);
            epoll::modify(&self.poller, stream, key, flags).expect("a stream that is polled");
        }
    }

    fn close(&self, slot: &mut Slot) {
        if let Some(stream) = slot.stream.take() {
            epoll::delete(&self.poller, &stream).expect("a stream that is polled");
        }
    }
}

/// What matters of an answer that has been read whole.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    closes: bool,
}

impl Answer {
    /// `None` until all of it is there. The length must be told, by
    /// `Content-Length` or a status that has no body; anything else, and any
    /// byte past the end, is an error, for the next answer could not be told
    /// from the rest of this one.
    fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
        let malformed = || io::Error::from(ErrorKind::InvalidData);
        let Some(blank) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut lines = bytes[..blank].split(|&b| b == b'\n');
        let first = lines.next().unwrap_or_default();
        let status: u16 = first
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| number(rest.get(2..5)?))
            .ok_or_else(malformed)?;
        let mut closes = first.starts_with(b"HTTP/1.0");
        let mut length = matches!(status, 204 | 304).then_some(0);
        for line in lines {
            if let Some(value) = header(line, b"content-length:") {
                // An answer without a body may still tell how long it would be.
                length = length.or(number(value));
            } else if let Some(value) = header(line, b"connection:") {
                closes |= value.eq_ignore_ascii_case(b"close");
            }
        }
        let length: usize = length.ok_or_else(malformed)?;
        match bytes.len().cmp(&(blank + 4 + length)) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => Ok(Some(Answer { status, closes })),
            std::cmp::Ordering::Greater => Err(malformed()),
        }
    }
}

/// The value of a header line, if it has this name (lower case, with colon).
fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value.trim_ascii())
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
