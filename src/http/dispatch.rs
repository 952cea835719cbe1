//! What connections need of the house behind the gate: handing requests over, refusing them, and
//! knowing whether there is room.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};

use super::engine::{Engine, Link, Parcel};
use super::figures::{Figures, add};
use super::head::Head;
use super::limits::{HELD_BYTES_ALL_MAX, HELD_BYTES_MAX, SMALL_BYTES, UNDER_WAY_MAX};
use super::mailbox::Place;
use super::{Fault, Framing, Handler, Request, Response};

/// An answer that nothing is known of but that it ends the connection.
const LAST: Framing = Framing { head: false, connection: Some("close"), chunks: true };

pub(super) struct Dispatch {
    pub handler: Arc<dyn Handler>,
    pub figures: Arc<Figures>,
    /// The engine in force; workers wait at it.
    pub engine: Arc<RwLock<Arc<Engine>>>,
    pub link: Option<Link>,
    /// Bytes that connections hold, and requests that are under way.
    held_bytes: usize,
    under_way: usize,
}

impl Dispatch {
    pub fn new(
        handler: Arc<dyn Handler>,
        figures: Arc<Figures>,
        engine: Arc<RwLock<Arc<Engine>>>,
        link: Link,
    ) -> Dispatch {
        Dispatch { handler, figures, engine, link: Some(link), held_bytes: 0, under_way: 0 }
    }

    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands a request to the workers, or gives what it is answered at once.
    pub fn forward(
        &mut self,
        connection: u64,
        number: u64,
        peer: IpAddr,
        head: Box<Head>,
        body: Vec<u8>,
    ) -> Option<Vec<u8>> {
        add(&self.figures.requests, 1);
        let held_bytes = head.text.len() + body.capacity();
        let has_room = self.under_way < UNDER_WAY_MAX && self.has_room(held_bytes, held_bytes);
        let engine = self.engine();
        let link = self.link.as_mut().filter(|link| has_room && !link.is_behind());
        let Some(link) = link else {
            let response = self.refusal(Fault::Overloaded, Some(&head));
            return Some(response.to_bytes(head.framing));
        };
        let to = Place { connection, number, held_bytes };
        engine.put(link, Parcel { head, body, peer, to });
        self.under_way += 1;
        self.held_bytes += held_bytes;
        self.tell();
        None
    }

    /// A request was answered, or its answer is begun.
    pub fn answered(&mut self, to: &Place) {
        self.under_way -= 1;
        self.held_bytes -= to.held_bytes;
        self.tell();
    }

    /// The last answer of a connection: why its request is refused.
    pub fn refuse(&mut self, fault: Fault, head: Option<&Head>) -> Vec<u8> {
        let framing =
            head.map_or(LAST, |head| Framing { connection: LAST.connection, ..head.framing });
        self.refusal(fault, head).to_bytes(framing)
    }

    /// What a request is answered that the engine has lost; its connection goes on.
    pub fn misunderstood(&mut self, framing: Framing) -> Vec<u8> {
        self.refusal(Fault::Malformed("it was not understood"), None).to_bytes(framing)
    }

    fn refusal(&mut self, fault: Fault, head: Option<&Head>) -> Response {
        self.figures.fault(fault);
        let request = head.map(|head| Request::of_head(&head.text));
        let refuse = || self.handler.refuse(fault, request.as_ref());
        catch_unwind(AssertUnwindSafe(refuse)).unwrap_or_else(|_| {
            log::error!("refusing a request panicked");
            Response::new(500, "", Vec::new())
        })
    }

    /// Whether a connection may hold so many bytes, of which some are counted already. One that holds
    /// little may more often.
    pub fn may_hold(&self, bytes: usize, counted: usize) -> bool {
        bytes <= counted || self.has_room(bytes, bytes - counted)
    }

    fn has_room(&self, bytes: usize, more: usize) -> bool {
        let held_max = if bytes > SMALL_BYTES { HELD_BYTES_MAX } else { HELD_BYTES_ALL_MAX };
        self.held_bytes + more <= held_max
    }

    /// Counts what a connection holds now in place of what it held.
    pub fn recount(&mut self, before: usize, now: usize) {
        self.held_bytes = self.held_bytes + now - before;
        self.tell();
    }

    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    fn tell(&self) {
        self.figures.under_way.store(self.under_way as u64, Relaxed);
        self.figures.held_bytes.store(self.held_bytes as u64, Relaxed);
    }
}
