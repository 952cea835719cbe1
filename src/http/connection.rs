//! One connection: its socket, what it has sent, what it is to be sent, and how long it may take.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::Fault;
use super::dispatch::Dispatch;
use super::figures::{Cut, add};
use super::inbox::{Inbox, Next};
use super::limits::{LINGER, Limits, PIPELINED_MAX, STREAM_SILENCE_MAX, UNREAD_BYTES_MAX};
use super::line::{Line, Pulled};
use super::out::Out;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    On,
    /// It is done with, one way or the other.
    Over,
    /// It is to be broken off, so that the other side sees an error and no end.
    Broken,
    Cut(Cut),
}

/// What of its life it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Requests are taken.
    Open,
    /// No further request is taken; it ends when all is answered. `lingers`: the client may still be
    /// sending.
    Ending { lingers: bool },
    /// Answered, and closed for writing; what still comes is dropped until then.
    Lingering(Instant),
}

pub(super) struct Connection {
    id: u64,
    socket: TcpStream,
    peer: IpAddr,
    stage: Stage,
    inbox: Inbox,
    line: Line,
    out: Out,
    /// The client has said that it sends no more.
    heard_end: bool,
    served: bool,
    opened_at: Instant,
    /// When it last sent or took anything.
    active_at: Instant,
    /// When it last took some of an answer, or the answer became ready.
    taken_at: Instant,
    /// When the request that isn't whole began.
    begun_at: Option<Instant>,
    /// What the kernel was asked to tell.
    pub interest: EventFlags,
    /// What it was counted to hold.
    pub held_bytes: usize,
}

impl Connection {
    pub fn new(id: u64, socket: TcpStream, peer: IpAddr, now: Instant) -> Connection {
        Connection {
            id,
            socket,
            peer,
            stage: Stage::Open,
            inbox: Inbox::default(),
            line: Line::default(),
            out: Out::default(),
            heard_end: false,
            served: false,
            opened_at: now,
            active_at: now,
            taken_at: now,
            begun_at: None,
            interest: EventFlags::empty(),
            held_bytes: 0,
        }
    }

    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    pub fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Takes what has come, once.
    pub fn read(&mut self, scratch: &mut [u8], dispatch: &Dispatch, now: Instant) -> Going {
        match (&self.socket).read(scratch) {
            Ok(0) => self.heard_end = true,
            Ok(bytes) => {
                add(&dispatch.figures.received_bytes, bytes as u64);
                self.active_at = now;
                if self.stage == Stage::Open {
                    self.inbox.push(&scratch[..bytes]);
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(_) => return Going::Over,
        }
        match self.stage {
            Stage::Lingering(_) if self.heard_end => Going::Over,
            _ => Going::On,
        }
    }

    /// Takes requests, sends answers, as far as both go now.
    pub fn advance(&mut self, dispatch: &mut Dispatch, now: Instant) -> Going {
        loop {
            let paused = self.take_requests(dispatch, now);
            let going = self.send(dispatch, now);
            if going != Going::On || !paused || !self.takes_more() {
                return going;
            }
        }
    }

    fn takes_more(&self) -> bool {
        self.stage == Stage::Open
            && self.line.len() < PIPELINED_MAX
            && self.unread_bytes() < UNREAD_BYTES_MAX
    }

    /// Takes requests; whether it stopped though there may be more.
    fn take_requests(&mut self, dispatch: &mut Dispatch, now: Instant) -> bool {
        let mut begun_at = self.begun_at;
        while self.takes_more() {
            match self.inbox.next() {
                Next::More => {
                    if self.heard_end {
                        return self.hear_end(dispatch);
                    }
                    // While answers are to come, it is no time for one that isn't.
                    if self.line.is_empty() && self.out.len() == 0 && self.inbox.take_continue() {
                        self.out.put(CONTINUE.to_vec(), b"");
                    }
                    let has_begun = self.inbox.has_begun();
                    self.begun_at = has_begun.then(|| begun_at.unwrap_or(now));
                    if !dispatch.may_hold(self.held_now(), self.held_bytes) {
                        self.refuse(Fault::Overloaded, dispatch);
                    }
                    return false;
                }
                Next::Request(head, body) => {
                    begun_at = None;
                    self.served = true;
                    if head.is_last {
                        self.stage = Stage::Ending { lingers: false };
                    }
                    let number = self.line.enter(head.is_last);
                    let bytes = dispatch.forward(self.id, number, self.peer, head, body);
                    if let Some(bytes) = bytes {
                        self.line.answer(number, bytes, b"");
                    }
                }
                Next::Fault(fault, head) => {
                    self.end_with(dispatch.refuse(fault, head.as_deref()));
                }
            }
        }
        self.begun_at = None;
        true
    }

    /// The client sends no more: half a request will never be whole.
    fn hear_end(&mut self, dispatch: &mut Dispatch) -> bool {
        if self.inbox.has_begun() {
            self.refuse(Fault::Malformed("it ends in the middle"), dispatch);
        } else if self.stage == Stage::Open {
            self.stage = Stage::Ending { lingers: false };
        }
        false
    }

    /// Refuses what is there of a request.
    fn refuse(&mut self, fault: Fault, dispatch: &mut Dispatch) {
        let (fault, head) = self.inbox.give_up(fault);
        self.end_with(dispatch.refuse(fault, head.as_deref()));
    }

    /// The last answer.
    fn end_with(&mut self, bytes: Vec<u8>) {
        let number = self.line.enter(true);
        self.line.answer(number, bytes, b"");
        self.stage = Stage::Ending { lingers: true };
        self.begun_at = None;
    }

    /// Sends what may leave, as far as the client takes it.
    fn send(&mut self, dispatch: &Dispatch, now: Instant) -> Going {
        loop {
            if self.out.len() == 0 {
                // Most connections are idle.
                self.out.clear();
                self.taken_at = now;
                match self.line.pull(&mut self.out, UNREAD_BYTES_MAX) {
                    Pulled::Broken => return Going::Broken,
                    Pulled::Last if self.stage == Stage::Open => {
                        self.stage = Stage::Ending { lingers: false };
                    }
                    Pulled::Last | Pulled::Some => {}
                }
                if self.out.len() == 0 {
                    return self.end_if_done(now);
                }
            }
            match (&self.socket).write(self.out.rest()) {
                Ok(bytes) => {
                    add(&dispatch.figures.sent_bytes, bytes as u64);
                    self.out.written(bytes);
                    (self.active_at, self.taken_at) = (now, now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What is still to be taken of one that broke off is of no use.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return if self.line.is_broken() { Going::Broken } else { Going::On };
                }
                Err(_) => return Going::Over,
            }
        }
    }

    /// All that there is has left.
    fn end_if_done(&mut self, now: Instant) -> Going {
        match self.stage {
            Stage::Ending { lingers } if self.line.is_empty() => {
                if !lingers || self.heard_end {
                    return Going::Over;
                }
                if self.socket.shutdown(std::net::Shutdown::Write).is_err() {
                    return Going::Over;
                }
                self.stage = Stage::Lingering(now + LINGER);
                Going::On
            }
            _ => Going::On,
        }
    }

    /// What is due by now.
    pub fn look(&mut self, limits: &Limits, dispatch: &mut Dispatch, now: Instant) -> Going {
        let is_longer =
            |since: Instant, longest: Duration| now.saturating_duration_since(since) > longest;
        if let Stage::Lingering(until) = self.stage {
            return if now >= until { Going::Over } else { Going::On };
        }
        if self.out.len() > 0 {
            let is_streaming = self.line.is_streaming();
            let longest = if is_streaming { STREAM_SILENCE_MAX } else { limits.request_timeout };
            if is_longer(self.taken_at, longest) {
                return Going::Cut(Cut::Unread);
            }
        }
        if self.begun_at.is_some_and(|at| is_longer(at, limits.request_timeout)) {
            self.refuse(Fault::Late, dispatch);
            return self.advance(dispatch, now);
        }
        let longest = if self.served { limits.keep_alive } else { limits.request_timeout };
        let is_idle = !self.owes() && self.begun_at.is_none();
        if is_idle && is_longer(self.active_at, longest) {
            Going::Cut(Cut::Idle)
        } else {
            Going::On
        }
    }

    /// The server ends: takes no more requests.
    pub fn stop(&mut self, dispatch: &mut Dispatch, now: Instant) -> Going {
        if self.stage == Stage::Open {
            if self.inbox.has_begun() {
                self.refuse(Fault::Stopping, dispatch);
            } else {
                self.stage = Stage::Ending { lingers: false };
            }
        }
        self.advance(dispatch, now)
    }

    /// What the kernel is to tell of it.
    pub fn wanted(&self) -> EventFlags {
        let mut wanted = EventFlags::empty();
        let reads = match self.stage {
            Stage::Open => self.takes_more(),
            Stage::Lingering(_) => true,
            Stage::Ending { .. } => false,
        };
        wanted.set(EventFlags::IN, reads && !self.heard_end);
        wanted.set(EventFlags::OUT, self.out.len() > 0);
        wanted
    }

    /// When it could make room for another, and how readily: one that was never served first, then the
    /// one that has been quiet the longest. `None` while something is under way.
    pub fn quiet_since(&self) -> Option<(bool, Instant)> {
        let since = if self.served { self.active_at } else { self.opened_at };
        (!self.owes()).then_some((self.served, since))
    }

    /// As if it had been answered something.
    #[cfg(test)]
    pub fn serve(&mut self, at: Instant) {
        (self.served, self.active_at) = (true, at);
    }

    /// Whether anything of an answer has not left yet.
    pub fn owes(&self) -> bool {
        self.out.len() > 0 || !self.line.is_empty()
    }

    fn unread_bytes(&self) -> usize {
        self.out.len() + self.line.held_bytes()
    }

    /// Bytes that it holds.
    pub fn held_now(&self) -> usize {
        self.inbox.held_bytes() + self.out.held_bytes() + self.line.held_bytes()
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
