//! The gate: one thread that owns the listener and every connection.
//!
//! It waits for whatever can go on, and never for anybody in particular: a client that is slow, silent or
//! malicious costs what its connection holds, which is bounded, and no thread. Whole requests go to the
//! engine, answers come back as mail.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};
use rustix::net::{SocketFlags, accept_with, getpeername};

use super::Fault;
use super::admission::{Quiet, Shares};
use super::connection::{Connection, Going};
use super::dispatch::Dispatch;
use super::engine::Engine;
use super::figures::{Cut, add};
use super::limits::{BACKLOG, Limits};
use super::mailbox::{Mail, Mailbox};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(100);

/// Connections that are looked at before what is open has its turn.
const LOOKED_AT_MAX: usize = 128;

/// Connections that are accepted before what is open is looked at again.
const ACCEPTED_MAX: usize = 64;

/// Events that are taken at a time.
const EVENTS_MAX: usize = 128;

/// Bytes that are read from a connection before the next one's turn: the fewer, the sooner everybody has one.
const READ_BYTES: usize = 16 * 1024;

/// What an event is about: these, or a connection by its number.
const LISTENER: u64 = 0;
const MAIL: u64 = 1;
const LINK: u64 = 2;
const FIRST_CONNECTION: u64 = 3;

pub(super) struct Gate {
    epoll: OwnedFd,
    listener: Option<TcpListener>,
    /// Descriptors have run out, and the listener is left alone until then.
    accepts_from: Option<Instant>,
    mailbox: Arc<Mailbox>,
    limits: Limits,
    dispatch: Dispatch,
    connections: HashMap<u64, Connection>,
    next_connection: u64,
    shares: Shares,
    quiet: Quiet,
    scratch: Box<[u8]>,
    mail: VecDeque<Mail>,
    looked_at: Instant,
    /// Connections that are yet to be looked at.
    looking: Vec<u64>,
    /// The connection that is dealt with, to be given up should that panic.
    at: Option<u64>,
    /// Until when what is under way may be answered.
    stops_at: Option<Instant>,
}

impl Gate {
    pub fn new(
        listener: TcpListener,
        mailbox: Arc<Mailbox>,
        limits: Limits,
        dispatch: Dispatch,
    ) -> io::Result<Gate> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let watch = |fd: &dyn AsFd, at, flags| {
            epoll::add(&epoll, fd.as_fd(), EventData::new_u64(at), flags)
        };
        watch(&listener, LISTENER, EventFlags::IN)?;
        watch(&*mailbox, MAIL, EventFlags::IN)?;
        if let Some(link) = &dispatch.link {
            watch(link, LINK, EventFlags::IN)?;
        }
        Ok(Gate {
            epoll,
            listener: Some(listener),
            accepts_from: None,
            mailbox,
            limits,
            dispatch,
            connections: HashMap::new(),
            next_connection: FIRST_CONNECTION,
            shares: Shares::default(),
            quiet: Quiet::default(),
            scratch: vec![0; READ_BYTES].into(),
            mail: VecDeque::new(),
            looked_at: Instant::now(),
            looking: Vec::new(),
            at: None,
            stops_at: None,
        })
    }

    /// Runs until it was told to stop and all is answered.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.is_done() {
            events.clear();
            self.wait(&mut events);
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&events)));
            if turn.is_err() {
                log::error!("the gate panicked; the connection it was at is given up");
                if let Some(id) = self.at.take() {
                    self.end(id, Going::Broken);
                }
            }
        }
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.end(id, Going::Cut(Cut::Stopped));
        }
    }

    fn is_done(&self) -> bool {
        self.stops_at.is_some_and(|until| {
            (self.connections.is_empty() && self.dispatch.is_idle()) || Instant::now() >= until
        })
    }

    fn wait(&self, events: &mut Vec<Event>) {
        let may_sleep = self.mailbox.fall_asleep();
        let is_busy =
            !self.connections.is_empty() || self.stops_at.is_some() || self.accepts_from.is_some();
        let may_sleep = may_sleep && self.looking.is_empty();
        let timeout = match (may_sleep, is_busy) {
            (false, _) => Some(Duration::ZERO),
            (true, true) => Some(LOOK),
            (true, false) => None,
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let waited =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref());
        self.mailbox.wake_up();
        if let Err(error) = waited
            && error != Errno::INTR
        {
            log::error!("waiting for connections failed: {error}");
            std::thread::sleep(LOOK);
        }
    }

    fn turn(&mut self, events: &[Event]) {
        let now = Instant::now();
        for event in events {
            // They are in a packed structure.
            let (flags, at) = (event.flags, event.data.u64());
            match at {
                LISTENER => self.accept(now),
                MAIL => self.mailbox.silence(),
                LINK => self.engine_event(flags),
                id => self.event(id, flags, now),
            }
        }
        self.take_mail(now);
        self.flush_link();
        if now.saturating_duration_since(self.looked_at) >= LOOK && self.looking.is_empty() {
            self.looked_at = now;
            self.begin_look(now);
        }
        self.look(now);
    }

    fn event(&mut self, id: u64, flags: EventFlags, now: Instant) {
        self.with(id, |connection, dispatch, scratch| {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                return Going::Over;
            }
            if flags.contains(EventFlags::IN) {
                let going = connection.read(scratch, dispatch, now);
                if going != Going::On {
                    return going;
                }
            }
            connection.advance(dispatch, now)
        });
    }

    /// Does something with a connection, and what follows from it.
    fn with(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Connection, &mut Dispatch, &mut [u8]) -> Going,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.at = Some(id);
        let mut going = act(connection, &mut self.dispatch, &mut self.scratch);
        let held_bytes = connection.held_now();
        self.dispatch.recount(connection.held_bytes, held_bytes);
        connection.held_bytes = held_bytes;
        let wanted = connection.wanted();
        if going == Going::On && wanted != connection.interest {
            connection.interest = wanted;
            let data = EventData::new_u64(id);
            if epoll::modify(&self.epoll, &*connection, data, wanted).is_err() {
                going = Going::Over;
            }
        }
        self.at = None;
        if going != Going::On {
            self.end(id, going);
        }
    }

    fn end(&mut self, id: u64, going: Going) {
        let Some(connection) = self.connections.remove(&id) else { return };
        match going {
            Going::Cut(why) => self.dispatch.figures.cut(why),
            Going::Broken => self.dispatch.figures.cut(Cut::Broken),
            Going::On | Going::Over => {}
        }
        if going == Going::Broken || (matches!(going, Going::Cut(_)) && connection.owes()) {
            // Closed now, it is reset: a body that ends with the connection would pass for whole otherwise.
            let _ = set_socket_linger(&connection, Some(Duration::ZERO));
        }
        self.dispatch.recount(connection.held_bytes, 0);
        self.shares.leave(connection.peer());
        // A descriptor that is closed leaves the epoll by itself, as it has no duplicates.
        drop(connection);
        self.dispatch.figures.open.store(self.connections.len() as u64, Relaxed);
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTED_MAX {
            let Some(listener) = &self.listener else { return };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match accept_with(listener, flags) {
                Ok(socket) => self.admit(socket.into(), now),
                Err(Errno::AGAIN) => return,
                // Out of descriptors, or of memory for them: one that is quiet gives its own.
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)) => {
                    log::debug!("can't accept a connection: {error}");
                    if !self.make_room(None, now) {
                        self.pause_accepting(now);
                        return;
                    }
                }
                // It was gone before it was accepted; accept(2) tells it like this.
                Err(_) => {}
            }
        }
    }

    fn admit(&mut self, socket: TcpStream, now: Instant) {
        add(&self.dispatch.figures.accepted, 1);
        let Some(peer) = getpeername(&socket)
            .ok()
            .flatten()
            .and_then(|address| std::net::SocketAddr::try_from(address).ok())
        else {
            // It has gone already.
            return;
        };
        let peer = peer.ip().to_canonical();
        if !self.shares.enter(peer, &self.limits) {
            return self.turn_away(&socket, Cut::AddressShare);
        }
        let is_full = self.shares.is_full(self.connections.len(), peer, &self.limits);
        if is_full && !self.make_room(Some(peer), now) {
            self.shares.leave(peer);
            return self.turn_away(&socket, Cut::Full);
        }
        // An answer is written at once, so there is nothing to gather.
        let _ = set_tcp_nodelay(&socket, true);
        let id = self.next_connection;
        self.next_connection += 1;
        let mut connection = Connection::new(id, socket, peer, now);
        connection.interest = EventFlags::IN;
        let data = EventData::new_u64(id);
        if epoll::add(&self.epoll, &connection, data, EventFlags::IN).is_err() {
            self.shares.leave(peer);
            return;
        }
        self.connections.insert(id, connection);
        self.dispatch.figures.open.store(self.connections.len() as u64, Relaxed);
    }

    /// Says why and closes, without waiting for anything.
    fn turn_away(&mut self, mut socket: &TcpStream, why: Cut) {
        self.dispatch.figures.cut(why);
        let bytes = self.dispatch.refuse(Fault::Overloaded, None);
        // There is room for so little, unless the other side has gone.
        let _ = io::Write::write(&mut socket, &bytes);
    }

    /// Ends a connection in favour of one of an address, which may not be known.
    fn make_room(&mut self, peer: Option<IpAddr>, now: Instant) -> bool {
        while let Some(id) = self.quiet.next(&self.connections, &self.shares, peer, now) {
            // Many come at once in a flood, and this one may have asked for something meanwhile.
            self.event(id, EventFlags::IN, now);
            let Some(connection) = self.connections.get(&id) else { return true };
            if connection.quiet_since().is_some() {
                self.end(id, Going::Cut(Cut::Evicted));
                return true;
            }
        }
        false
    }

    fn pause_accepting(&mut self, now: Instant) {
        if let Some(listener) = &self.listener {
            let _ = epoll::modify(
                &self.epoll,
                listener,
                EventData::new_u64(LISTENER),
                EventFlags::empty(),
            );
            self.accepts_from = Some(now + LOOK);
        }
    }

    fn accept_again(&mut self, now: Instant) {
        if self.accepts_from.is_none_or(|from| now < from) {
            return;
        }
        self.accepts_from = None;
        if let Some(listener) = &self.listener {
            let data = EventData::new_u64(LISTENER);
            let _ = epoll::modify(&self.epoll, listener, data, EventFlags::IN);
        }
    }

    fn take_mail(&mut self, now: Instant) {
        self.mailbox.take(&mut self.mail);
        // Whatever a piece brings about, those behind it come next.
        while let Some(piece) = self.mail.pop_front() {
            match piece {
                Mail::Answer { to, bytes, behind } => {
                    self.dispatch.answered(&to);
                    self.with(to.connection, |connection, dispatch, _| {
                        connection.line().answer(to.number, bytes, behind);
                        connection.advance(dispatch, now)
                    });
                }
                Mail::Stream { to, streaming } => {
                    self.dispatch.answered(&to);
                    self.with(to.connection, |connection, dispatch, _| {
                        connection.line().stream(to.number, streaming);
                        connection.advance(dispatch, now)
                    });
                }
                Mail::More { connection } => {
                    self.with(connection, |connection, dispatch, _| {
                        connection.advance(dispatch, now)
                    });
                }
                Mail::Stop { within } => self.stop(now, within),
            }
        }
    }

    /// Takes no more connections, and no more requests.
    fn stop(&mut self, now: Instant, within: Duration) {
        // Who waits to be accepted is told as well, and who has asked for something that was not heard yet.
        for _ in 0..=BACKLOG as usize / ACCEPTED_MAX {
            self.accept(now);
        }
        self.listener = None;
        self.stops_at = Some(now + within);
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.event(id, EventFlags::IN, now);
        }
        self.each(|connection, dispatch| connection.stop(dispatch, now));
    }

    fn begin_look(&mut self, now: Instant) {
        self.accept_again(now);
        if self.dispatch.link.is_none() {
            self.replace_engine();
        }
        self.looking.extend(self.connections.keys());
    }

    /// Looks at some of what is due. All that came at once are due at once, and ending thousands of connections
    /// takes its time, in which others have to have their turns.
    fn look(&mut self, now: Instant) {
        if self.looking.is_empty() {
            return;
        }
        let limits = self.limits.clone();
        for _ in 0..LOOKED_AT_MAX {
            let Some(id) = self.looking.pop() else { return };
            self.with(id, |connection, dispatch, _| connection.look(&limits, dispatch, now));
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Connection, &mut Dispatch) -> Going) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.with(id, |connection, dispatch, _| act(connection, dispatch));
        }
    }

    fn flush_link(&mut self) {
        let Some(link) = &mut self.dispatch.link else { return };
        let was_waiting = link.waits;
        let is_well = link.flush().is_ok_and(|waits| {
            link.waits = waits;
            let mut wanted = EventFlags::IN;
            wanted.set(EventFlags::OUT, waits);
            let data = EventData::new_u64(LINK);
            waits == was_waiting || epoll::modify(&self.epoll, &*link, data, wanted).is_ok()
        });
        if !is_well {
            self.replace_engine();
        }
    }

    /// The engine never says anything on its link, unless it could not read a head, and then it has closed
    /// it too.
    fn engine_event(&mut self, flags: EventFlags) {
        if flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP) {
            self.replace_engine();
        }
    }

    /// Takes another engine in place of one that has closed its link. That is a fault of this room, for no
    /// head that passes should be one the engine doesn't read; what was under way is refused.
    fn replace_engine(&mut self) {
        log::error!("the HTTP engine refused a head that was found good; it is replaced");
        let started = Engine::start().and_then(|(engine, link)| {
            epoll::add(&self.epoll, &link, EventData::new_u64(LINK), EventFlags::IN)?;
            Ok((engine, link))
        });
        let before = self.dispatch.engine();
        self.dispatch.link = None;
        match started {
            Ok((engine, link)) => {
                self.dispatch.link = Some(link);
                let mut current =
                    self.dispatch.engine.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                *current = Arc::new(engine);
            }
            // Everything is refused as too much from here on.
            Err(error) => log::error!("no other HTTP engine could be started: {error}"),
        }
        for parcel in before.abandon() {
            let bytes = self.dispatch.misunderstood(parcel.head.framing);
            self.mailbox.put(Mail::Answer { to: parcel.to, bytes, behind: b"" });
        }
        for _ in 0..super::limits::WORKERS_MAX {
            before.unblock();
        }
    }
}
