//! What the transport counts, for whoever wants to look.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Fault;

/// Why a connection was ended from this side without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It was idle for too long.
    Idle,
    /// It took nothing of its answer for too long.
    Unread,
    /// It made room for another.
    Evicted,
    /// Its address has too many.
    AddressShare,
    /// There was no room, and none could be made.
    Full,
    /// Its answer broke off.
    Broken,
    /// The server ended before it took its answer.
    Stopped,
}

impl Cut {
    /// All of them, by name.
    pub const ALL: [(Cut, &'static str); 7] = [
        (Cut::Idle, "idle"),
        (Cut::Unread, "unread"),
        (Cut::Evicted, "evicted"),
        (Cut::AddressShare, "address_share"),
        (Cut::Full, "full"),
        (Cut::Broken, "broken"),
        (Cut::Stopped, "stopped"),
    ];
}

/// Counters since the start. Each is exact; together they are not of one moment.
#[derive(Default)]
pub struct Figures {
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) under_way: AtomicU64,
    pub(super) held_bytes: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) cuts: [AtomicU64; Cut::ALL.len()],
    pub(super) faults: [AtomicU64; Fault::KINDS.len()],
}

impl Figures {
    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Whole requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests that are not answered yet.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }

    /// Bytes of requests and answers that are in memory.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Relaxed)
    }

    /// Bytes that came.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Relaxed)
    }

    /// Bytes that went out.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    /// Connections that were ended from this side, by why.
    pub fn cuts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cut::ALL.iter().zip(&self.cuts).map(|((_, name), count)| (*name, count.load(Relaxed)))
    }

    /// Requests that were refused before a handler saw them, by why.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::KINDS.iter().zip(&self.faults).map(|(name, count)| (*name, count.load(Relaxed)))
    }

    pub(super) fn cut(&self, why: Cut) {
        add(&self.cuts[why as usize], 1);
    }

    pub(super) fn fault(&self, fault: Fault) {
        add(&self.faults[fault.kind()], 1);
    }
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
