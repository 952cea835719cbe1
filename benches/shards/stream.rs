//! Servers that write one stream: a simulation of its events.
//!
//! Each server puts a group together behind what it has applied and offers it for the next place. The stream takes offers
//! as they arrive: the first for a place has it, the others count for nothing and cost as much. Who has its place flushes it;
//! who has not applies what was first, flushes that, and puts its group together anew.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::costs::{Message, RECORD, Random, flush};

/// Groups of others within so many milliseconds mean that others write too.
const CROWD_MILLIS: f64 = 200.0;

/// Milliseconds below which times are the same.
const MOMENT: f64 = 1e-5;

/// Who writes, and how much.
#[derive(Clone, Copy)]
pub struct Scene {
    pub servers: usize,
    /// Bytes of a record.
    pub record_bytes: f64,
    /// Records of a group at the most.
    pub group_records: f64,
    /// Records a second that arrive at all servers together; as many as they take, if there is none.
    pub arriving: Option<f64>,
    /// Whether groups are written to disk, and put together: not so in the race that was measured.
    pub stores: bool,
    /// How many acknowledgements' times a server lets pass behind its own group while others write.
    pub gives_way: f64,
    pub seconds: f64,
}

/// What came of it.
pub struct Came {
    pub groups_a_second: f64,
    pub records_a_second: f64,
    pub offers_a_group: f64,
    /// The part of all groups that the server with the fewest has, and that with the most.
    pub shares: (f64, f64),
    /// Milliseconds from when a record came, or a group was first offered, to when it was acknowledged.
    pub waits: Vec<f64>,
}

impl Came {
    pub fn wait(&self, part: f64) -> f64 {
        let at = ((self.waits.len().max(1) - 1) as f64 * part) as usize;
        self.waits.get(at).copied().unwrap_or(f64::NAN)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A server has nothing else to do.
    Free(usize),
    /// An offer has come to the stream, for the place behind this one.
    Offer {
        of: usize,
        behind: u64,
        number: u64,
    },
    Acknowledged {
        of: usize,
        place: u64,
    },
    /// A group has come to a server that is another's.
    Seen {
        by: usize,
        place: u64,
        records: u64,
    },
}

#[derive(Default)]
struct Server {
    /// The last place that is applied.
    at: u64,
    busy_until: f64,
    /// The place that is offered for, if it isn't lost.
    offered: Option<u64>,
    has_place: bool,
    /// Others' groups that wait to be applied: how many records, and the last place.
    seen: Option<(f64, u64)>,
    seen_at: f64,
    last_seen: f64,
    /// What has come: when, and how many.
    queue: VecDeque<(f64, f64)>,
    looked_at: f64,
    /// The group that is offered: when its records came, and how many.
    group: Vec<(f64, f64)>,
    quiet_until: f64,
    groups: u64,
}

struct Run<'r> {
    scene: Scene,
    random: &'r mut Random,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    counter: u64,
    servers: Vec<Server>,
    last: u64,
    stream_free: f64,
    offers: u64,
    records: f64,
    waits: Vec<f64>,
}

/// Lets them write for a while.
pub fn run(scene: Scene, random: &mut Random) -> Came {
    let mut run = Run {
        scene,
        random,
        events: BinaryHeap::new(),
        counter: 0,
        servers: (0..scene.servers).map(|_| Server::default()).collect(),
        last: 0,
        stream_free: 0.0,
        offers: 0,
        records: 0.0,
        waits: Vec::new(),
    };
    for of in 0..scene.servers {
        run.at(of as f64 * 0.01, Event::Free(of));
    }
    let end = scene.seconds * 1e3;
    while let Some(Reverse((nanos, _, event))) = run.events.pop() {
        let now = nanos as f64 / 1e6;
        if now > end {
            break;
        }
        run.take(now, event);
    }
    let groups: Vec<_> = run.servers.iter().map(|server| server.groups as f64).collect();
    let total: f64 = groups.iter().sum();
    let of = |pick: fn(f64, f64) -> f64| groups.iter().copied().reduce(pick).unwrap_or(0.0) / total;
    run.waits.sort_by(f64::total_cmp);
    Came {
        groups_a_second: total / scene.seconds,
        records_a_second: run.records / scene.seconds,
        offers_a_group: run.offers as f64 / total,
        shares: (of(f64::min), of(f64::max)),
        waits: run.waits,
    }
}

impl Run<'_> {
    fn at(&mut self, millis: f64, event: Event) {
        self.counter += 1;
        self.events.push(Reverse(((millis * 1e6) as u64, self.counter, event)));
    }

    fn message(&self, records: f64) -> Message {
        Message::of(records * self.scene.record_bytes)
    }

    /// Every third server is beside the stream's leader.
    fn is_leader(of: usize) -> bool {
        of.is_multiple_of(3)
    }

    fn take(&mut self, now: f64, event: Event) {
        match event {
            Event::Free(of) => self.go_on(of, now),
            Event::Offer { of, behind, number } => {
                let message = self.message(number as f64);
                let handled = message.handled(self.random);
                self.stream_free = self.stream_free.max(now) + handled;
                if behind != self.last {
                    return;
                }
                self.last += 1;
                let (place, decided) = (self.last, self.stream_free);
                if self.servers[of].offered == Some(behind) {
                    self.servers[of].has_place = true;
                }
                for by in 0..self.servers.len() {
                    let there = decided + message.way(self.random, Self::is_leader(by));
                    if by == of {
                        self.at(there, Event::Acknowledged { of, place });
                        continue;
                    }
                    let there = there + message.on_its_way(self.random);
                    // In order, whatever each takes.
                    let there = there.max(self.servers[by].seen_at);
                    self.servers[by].seen_at = there;
                    self.at(there, Event::Seen { by, place, records: number });
                }
            }
            Event::Acknowledged { of, place } => {
                let server = &mut self.servers[of];
                (server.at, server.offered, server.has_place) = (place, None, false);
                server.groups += 1;
                let group = std::mem::take(&mut server.group);
                let is_crowded = now - server.last_seen < CROWD_MILLIS;
                let records: f64 = group.iter().map(|(_, count)| count).sum();
                let written = now + self.writing(records);
                if is_crowded {
                    self.servers[of].quiet_until =
                        written + self.scene.gives_way * self.message(records).acked;
                }
                self.records += records;
                self.waits.extend(group.iter().map(|(came, _)| written - came));
                self.busy_until(of, written);
            }
            Event::Seen { by, place, records } => {
                let server = &mut self.servers[by];
                let before = server.seen.map_or(0.0, |(records, _)| records);
                server.seen = Some((before + records as f64, place));
                server.last_seen = now;
                if server.offered.is_some() && !server.has_place {
                    server.offered = None;
                }
                self.go_on(by, now);
            }
        }
    }

    fn busy_until(&mut self, of: usize, until: f64) {
        self.servers[of].busy_until = until;
        self.at(until, Event::Free(of));
    }

    fn writing(&mut self, records: f64) -> f64 {
        if self.scene.stores { flush(self.random) + records * RECORD / 2.0 } else { 0.0 }
    }

    /// What a server does next.
    fn go_on(&mut self, of: usize, now: f64) {
        if now + MOMENT < self.servers[of].busy_until || self.servers[of].offered.is_some() {
            return;
        }
        if let Some((records, place)) = self.servers[of].seen.take() {
            let written = now + self.writing(records);
            let server = &mut self.servers[of];
            server.at = server.at.max(place);
            return self.busy_until(of, written);
        }
        if now + MOMENT < self.servers[of].quiet_until {
            let until = self.servers[of].quiet_until;
            return self.at(until, Event::Free(of));
        }
        if self.servers[of].group.is_empty() && !self.gather(of, now) {
            return;
        }
        let server = &mut self.servers[of];
        let records: f64 = server.group.iter().map(|(_, count)| count).sum();
        let behind = server.at;
        server.offered = Some(behind);
        self.offers += 1;
        let staged = if self.scene.stores { records * RECORD / 2.0 } else { 0.0 };
        let way = self.message(records).way(self.random, Self::is_leader(of));
        let there = now + staged + way;
        self.at(there, Event::Offer { of, behind, number: records as u64 });
    }

    /// Takes what has come, up to the bounds of a group. If that is nothing, it is looked again when something has.
    fn gather(&mut self, of: usize, now: f64) -> bool {
        let server = &mut self.servers[of];
        let Some(arriving) = self.scene.arriving else {
            server.group.push((now, self.scene.group_records));
            return true;
        };
        if now + MOMENT < server.looked_at {
            return false;
        }
        let rate = arriving / 1e3 / self.scene.servers as f64;
        let (from, passed) = (server.looked_at, now - server.looked_at);
        server.looked_at = now;
        let came = self.random.poisson(rate * passed);
        if came > 0.0 {
            server.queue.push_back((from + passed * self.random.part(), came));
        }
        let mut room = self.scene.group_records;
        while room >= 1.0
            && let Some((when, count)) = server.queue.pop_front()
        {
            let taken = count.min(room);
            server.group.push((when, taken));
            room -= taken;
            if taken < count {
                server.queue.push_front((when, count - taken));
            }
        }
        if !server.group.is_empty() {
            return true;
        }
        // Its own one then, so that none comes at the same time twice.
        let next = now + self.random.until_next(rate);
        server.looked_at = next;
        server.queue.push_back((next, 1.0));
        self.at(next, Event::Free(of));
        false
    }
}
