//! Round numbers for axes.

use chrono::{Datelike, NaiveDateTime, Timelike};

use crate::schema::Interval;
use crate::web::format::Format;

/// Steps from nothing to the greatest value, at the most.
const STEPS_MAX: f64 = 4.0;

/// Between which round numbers values lie, and where that is on the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    step: f64,
    /// In steps from nothing.
    low: f64,
    high: f64,
    bottom: f64,
    top: f64,
}

impl Scale {
    /// For all of `values`, and nothing; whole numbers have whole steps. `bottom` and `top` are pixels from above.
    pub fn new(values: impl Iterator<Item = f64>, bottom: f64, top: f64) -> Scale {
        let (mut least, mut greatest, mut is_whole) = (0.0f64, 0.0f64, true);
        for value in values {
            least = least.min(value);
            greatest = greatest.max(value);
            is_whole &= value.fract() == 0.0;
        }
        let step = match greatest - least {
            0.0 => 1.0,
            range => round_up(range / STEPS_MAX),
        };
        let step = if is_whole { step.max(1.0) } else { step };
        let low = (least / step).floor();
        let high = (greatest / step).ceil().max(low + 1.0);
        Scale { step, low, high, bottom, top }
    }

    /// Pixels from above.
    pub fn y(&self, value: f64) -> f64 {
        let part = ((value / self.step - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.bottom + (self.top - self.bottom) * part
    }

    /// The round numbers, from below.
    pub fn ticks(&self) -> Vec<f64> {
        let steps = (self.high - self.low) as u32;
        (0..=steps).map(|at| (self.low + f64::from(at)) * self.step).collect()
    }

    /// A round number in little room.
    pub fn label(&self, number: f64, format: &Format) -> String {
        if number == 0.0 && self.step < 0.01 {
            return "0".to_owned();
        }
        let sign = if number < 0.0 { "−" } else { "" };
        match number.abs() {
            // Nobody counts so many, or measures so little.
            size if size >= 1e18 || self.step < 1e-4 => {
                format!("{sign}{}", format!("{size:.1e}").replace(".0e", "e"))
            }
            size if size >= 10_000.0 => format!("{sign}{}", format.compact(size as u64)),
            _ => {
                let digits = (-self.step.log10().floor()).clamp(0.0, 9.0);
                format.decimal(number, digits as usize)
            }
        }
    }
}

/// The next of 1, 2, 5, 10, 20 …
fn round_up(number: f64) -> f64 {
    let unit = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    // What arithmetic left over isn't a reason for a larger one.
    let fits = |step: &f64| step * unit >= number * (1.0 - 1e-9);
    steps.into_iter().find(fits).unwrap_or(10.0) * unit
}

/// Which one of all intervals it is, so that those at round places can be divided.
pub fn phase(interval: Interval, clock: NaiveDateTime) -> i64 {
    // The first day of all was a Monday.
    let day = i64::from(clock.num_days_from_ce()) - 1;
    match interval {
        Interval::Hour => day * 24 + i64::from(clock.hour()),
        Interval::Day => day,
        Interval::Week => day.div_euclid(7),
        Interval::Month => i64::from(clock.year()) * 12 + i64::from(clock.month0()),
    }
}

/// Of every how many intervals at most `most` are; a multiple of `of`.
pub fn every(interval: Interval, phases: &[i64], of: i64, most: usize) -> i64 {
    let round: &[i64] = match interval {
        Interval::Hour => &[1, 2, 3, 6, 12, 24, 48, 168],
        Interval::Day => &[1, 2, 7, 14, 28],
        Interval::Week => &[1, 2, 4],
        Interval::Month => &[1, 2, 3, 6, 12],
    };
    let last = round.last().copied().unwrap_or(1);
    let doubled = std::iter::successors(Some(last * 2), |size| size.checked_mul(2));
    let fits = |size: &i64| {
        size % of == 0 && phases.iter().filter(|&phase| phase % size == 0).count() <= most
    };
    round.iter().copied().chain(doubled).find(fits).unwrap_or(i64::MAX)
}
