//! What values come to in each stretch of time.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::{POINTS_MAX, Point, Question};
use crate::model::{Date, Overrides};
use crate::query::interval::{Buckets, Interval};
use crate::query::measure::{Groups, Measured};
use crate::store::Piece;

/// Points that are being measured: of each key, be it a value's number or a line of the answer, those of the
/// stretches in which it has an event.
pub(super) struct Points<'q> {
    buckets: Buckets,
    /// By key and bucket.
    places: HashMap<(u32, u32), usize>,
    pub groups: Groups<'q>,
}

/// There are more than [`POINTS_MAX`].
pub(super) struct TooMany;

impl<'q> Points<'q> {
    pub fn new(question: &'q Question, interval: Interval) -> Points<'q> {
        let buckets = Buckets::new(interval, question.zone);
        Points {
            buckets,
            places: HashMap::new(),
            groups: Groups::new(&question.measure, question.filter.account),
        }
    }

    pub fn measured<'p>(&self, piece: &'p Piece<'p>, overrides: &Overrides) -> Measured<'p> {
        self.groups.measured(piece, overrides)
    }

    /// Adds an event.
    pub fn add(
        &mut self,
        key: u32,
        date: Date,
        measured: &mut Measured<'_>,
        row: usize,
    ) -> Result<(), TooMany> {
        let bucket = self.buckets.number(date);
        let next = self.places.len();
        let group = *self.places.entry((key, bucket)).or_insert(next);
        if group >= POINTS_MAX {
            return Err(TooMany);
        }
        self.groups.grow(group + 1);
        self.groups.add(group, measured, row);
        Ok(())
    }

    /// The points of each of so many lines, ascending; `line` says to which one a key belongs.
    pub fn series(&self, lines: usize, line: impl Fn(u32) -> usize) -> Vec<Vec<Point>> {
        let mut groups: Vec<BTreeMap<Date, (u32, Vec<usize>)>> = vec![BTreeMap::new(); lines];
        for ((key, bucket), group) in &self.places {
            let start = self.buckets.bounds(*bucket).start;
            let (_, of_start) = groups[line(*key)].entry(start).or_insert((*bucket, Vec::new()));
            of_start.push(*group);
        }
        let point = |(_, (bucket, mut groups)): (Date, (u32, Vec<usize>))| {
            // Sums are the same however often it is asked.
            groups.sort_unstable();
            let (_, result) = self.groups.together(groups.into_iter());
            Point { from: self.buckets.begin(bucket), result }
        };
        groups.into_iter().map(|line| line.into_iter().map(point).collect()).collect()
    }
}
