//! Stretches of time that events lie in, numbered as they are met.

use std::collections::BTreeMap;
use std::ops::Range;

pub use crate::schema::{Interval, Zone};

use crate::model::Date;
use crate::view::ShownIn;

/// Buckets of an interval in a zone: those that were met.
pub(super) struct Buckets {
    interval: Interval,
    zone: Zone,
    /// By beginning: end and number.
    known: BTreeMap<Date, (Date, u32)>,
    bounds: Vec<Range<Date>>,
    last: (Range<Date>, u32),
}

impl Buckets {
    pub fn new(interval: Interval, zone: Zone) -> Buckets {
        let (known, bounds) = (BTreeMap::new(), Vec::new());
        Buckets { interval, zone, known, bounds, last: (Date::MIN..Date::MIN, 0) }
    }

    /// Where a bucket begins, as its zone's clocks show it.
    pub fn begin(&self, number: u32) -> ShownIn {
        ShownIn(self.bounds(number).start, self.zone)
    }

    /// The number of the bucket that a moment lies in: 0, 1, 2 …
    pub fn number(&mut self, at: Date) -> u32 {
        let at = at.clamp(Date::MIN, Date::MAX);
        if !self.last.0.contains(&at) {
            let before = self.known.range(..=at).next_back();
            self.last = match before {
                Some((start, (end, number))) if at < *end => (*start..*end, *number),
                _ => {
                    let bucket = self.zone.bucket(self.interval, at);
                    let number = self.bounds.len() as u32;
                    self.known.insert(bucket.start, (bucket.end, number));
                    self.bounds.push(bucket.clone());
                    (bucket, number)
                }
            };
        }
        self.last.1
    }

    /// From when to when a bucket goes; its end is no part of it.
    pub fn bounds(&self, number: u32) -> Range<Date> {
        self.bounds[number as usize].clone()
    }
}
