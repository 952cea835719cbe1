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
    goal(
        "memory under load",
        "pixel: memory of triggerly, at the most",
        Unit::Memory,
        Bound::AtMost(96.0),
    ),
];
