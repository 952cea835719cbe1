//! What the figures should come to.

use crate::report::Unit;

#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        }
    }

    pub fn show(self, unit: Unit) -> String {
        match self {
            Bound::AtLeast(least) => format!(">= {}", unit.show(least)),
            Bound::AtMost(most) => format!("<= {}", unit.show(most)),
        }
    }
}

pub struct Goal {
    pub what: &'static str,
    /// `SECTION: WHAT` of a row.
    pub figure: &'static str,
    pub unit: Unit,
    pub bound: Bound,
}

const fn goal(what: &'static str, figure: &'static str, unit: Unit, bound: Bound) -> Goal {
    Goal { what, figure, unit, bound }
}

pub const GOALS: &[Goal] = &[
    goal(
        "durable pixel / bare tiny_http, 64 connections",
        "pixel: 64, triggerly / bare",
        Unit::Ratio,
        Bound::AtLeast(0.85),
    ),
    goal(
        "durable pixel / bare tiny_http, 256 connections",
        "pixel: 256, triggerly / bare",
        Unit::Ratio,
        Bound::AtLeast(0.85),
    ),
    goal(
        "durable pixel / nginx's undurable one, 64 connections",
        "pixel: 64, triggerly / nginx",
        Unit::Ratio,
        Bound::AtLeast(0.55),
    ),
    goal(
        "durable pixel / nginx's undurable one, 256 connections",
        "pixel: 256, triggerly / nginx",
        Unit::Ratio,
        Bound::AtLeast(0.55),
    ),
    goal(
        "throughput over ten minutes, last / first",
        "minutes: last / first",
        Unit::Ratio,
        Bound::AtLeast(0.95),
    ),
    goal("memory under load", "memory: under load, at the most", Unit::Memory, Bound::AtMost(96.0)),
    goal(
        "p99 at half load, open loop, in commits",
        "latency: p99 / flush of a commit",
        Unit::Ratio,
        Bound::AtMost(3.0),
    ),
    goal(
        "one connection, one call after another / plain appends",
        "one: call / append",
        Unit::Ratio,
        Bound::AtMost(1.3),
    ),
    goal(
        "NDJSON of 1,000, durable",
        "ndjson: the best of these",
        Unit::PerSecond("events"),
        Bound::AtLeast(300_000.0),
    ),
    goal(
        "commits of 512 / plain appends",
        "commits: commits / appends",
        Unit::Ratio,
        Bound::AtLeast(0.7),
    ),
    goal("import", "import: JSON lines", Unit::PerSecond("events"), Bound::AtLeast(300_000.0)),
    goal(
        "throughput with events behind, compacting / empty",
        "behind: behind / empty",
        Unit::Ratio,
        Bound::AtLeast(0.95),
    ),
    goal("memory, idle", "memory: idle", Unit::Memory, Bound::AtMost(20.0)),
    goal(
        "memory, with events behind and pages open: `cargo bench --bench pages`",
        "memory: with pages open",
        Unit::Memory,
        Bound::AtMost(128.0),
    ),
    goal("start with events behind", "start: with events behind", Unit::Time, Bound::AtMost(0.2)),
    goal(
        "at rest, everything counted",
        "rest: an event, everything counted",
        Unit::Bytes,
        Bound::AtMost(30.0),
    ),
    goal("binary, stripped", "binary: stripped", Unit::Megabytes, Bound::AtMost(10.0)),
    goal("CPU when idle", "idle: with events behind", Unit::Percent, Bound::AtMost(0.1)),
    goal(
        "pixel on one core with 512 MB / on all, 64 connections",
        "one-core: 64, one / all",
        Unit::Ratio,
        Bound::AtLeast(0.45),
    ),
];
