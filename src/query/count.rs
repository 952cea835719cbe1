//! How many events a filter wants: from the counts that the store keeps by the hour where it asks for no more than type
//! and time, and by reading events for the hours that its bounds cut through, or where it asks for more. Exact.

use super::{Failure, Filter, Stop, answers};
use crate::model::Date;
use crate::store::{Columns, HOUR_MILLIS, Store};

impl Filter {
    /// Counts, and says of how many records it isn't known whether they count, for they are damaged.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn count(&self, store: &Store, stop: &Stop<'_>) -> Result<(u64, u64), Failure> {
        if !self.clauses.is_empty() || self.user_id.is_some() {
            return self.count_by_reading(store, stop);
        }
        let (mut count, mut cut) = (0, Vec::new());
        let (kind, bots) = (self.kind.as_deref(), self.bots);
        let mut add = |_: &str, hour: Date, many: crate::store::Count| {
            let end = Date::from_millis(hour.millis() + HOUR_MILLIS);
            let is_cut =
                self.from.is_some_and(|from| from > hour) || self.to.is_some_and(|to| to < end);
            if !is_cut {
                count += many.people + if bots { many.nobodys } else { 0 };
            } else if !cut.contains(&(hour, end)) {
                // The first hour and the last one.
                cut.push((hour, end));
            }
        };
        let counted = answers(store, stop).counts(self.account, kind, self.from, self.to, &mut add);
        let mut missing = counted?.records;
        for (start, end) in cut {
            let hour = Filter {
                from: Some(self.from.map_or(start, |from| from.max(start))),
                to: Some(self.to.map_or(end, |to| to.min(end))),
                ..self.clone()
            };
            let (more, unknown) = hour.count_by_reading(store, &stop.anew())?;
            count += more;
            missing = missing.max(unknown);
        }
        Ok((count, missing))
    }

    fn count_by_reading(&self, store: &Store, stop: &Stop<'_>) -> Result<(u64, u64), Failure> {
        let mut count = 0;
        let missing = self.read(store, self.scan(Columns::default()), stop, &mut |_, rows| {
            count += rows.len() as u64;
            Ok(())
        })?;
        Ok((count, missing.records))
    }
}
