//! Time zones: hours, days, weeks and months as they are on a clock somewhere.
//!
//! Promises that the buckets of an interval follow each other without gaps or overlaps, whatever the clock
//! there does. Must not know the present time. The database of zones is [`chrono_tz`]'s, and known here
//! alone.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset,
    TimeZone, Utc,
};
use chrono_tz::Tz;

use crate::model::Date;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// What time is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// From full hour to full hour. Where the clock is set, an hour ends.
    Hour,
    /// From midnight to midnight, or from the first instant of a day that has no midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

/// A text that is no interval's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an interval: it should be `hour`, `day`, `week` or `month`")]
pub struct UnknownInterval(pub String);

impl Interval {
    /// The name, by which it can be parsed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Interval::Hour => "hour",
            Interval::Day => "day",
            Interval::Week => "week",
            Interval::Month => "month",
        }
    }
}

impl FromStr for Interval {
    type Err = UnknownInterval;

    fn from_str(text: &str) -> Result<Interval, UnknownInterval> {
        let all = [Interval::Hour, Interval::Day, Interval::Week, Interval::Month];
        let named = all.into_iter().find(|interval| interval.name() == text);
        named.ok_or_else(|| UnknownInterval(text.to_owned()))
    }
}

/// A time zone of the IANA database, with its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

/// A text that is no zone's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time zone: it should be `UTC` or a name of the IANA database, as `Europe/Zurich`"
)]
pub struct UnknownZone(pub String);

/// Reads a name of the IANA database: case counts.
impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Zone, UnknownZone> {
        text.parse().map(Zone).map_err(|_| UnknownZone(text.to_owned()))
    }
}

/// The name.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name())
    }
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::UTC
    }
}

impl Zone {
    /// The zone of Greenwich, without summer time.
    pub const UTC: Zone = Zone(Tz::UTC);

    /// The bucket in which an instant lies: from its first instant up to that of the next. An instant
    /// outside [`Date::MIN`]..=[`Date::MAX`] counts as the nearer of the two.
    #[must_use]
    pub fn bucket(&self, interval: Interval, at: Date) -> Range<Date> {
        let at = clamped(at);
        if interval == Interval::Hour {
            return self.hour(at);
        }
        let mut first = first_day(interval, self.local(at).date());
        // Where a clock is set back over midnight, a day has begun before it seems to end.
        while self.start_of(first) > at {
            first = first_day(interval, first - Days::new(1));
        }
        loop {
            let next = next_first(interval, first);
            let bucket = self.start_of(first)..self.start_of(next);
            if at < bucket.end {
                return bucket;
            }
            first = next;
        }
    }

    /// The date that a text says: as [`Date::parse`] reads it, but what names no offset is of this zone.
    /// That is a day, and also `2001-07-04T12:08:56.235`. Where the clock shows a time twice, it is the
    /// first; where it never shows it, the instant at which it is set.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Date> {
        // A day is the only form that names no offset, and the only one as short.
        if text.len() > "2001-07-04".len()
            && let Some(date) = Date::parse(text)
        {
            return Some(date);
        }
        let read = Date::parse(text).or_else(|| {
            let numeric = matches!(text.as_bytes().get(4), Some(b'-' | b'/'));
            Date::parse(&format!("{text}Z")).filter(|_| numeric)
        })?;
        let local = DateTime::from_timestamp_millis(read.millis())?.naive_utc();
        Some(clamped(self.instant(local)))
    }

    /// RFC 3339 with milliseconds and the zone's offset, as `2001-07-04T21:08:56.235+02:00`; `Z` in UTC
    /// itself, and where the offset was no whole number of minutes, as before there was a standard time.
    #[must_use]
    pub fn show(&self, date: Date) -> String {
        let date = clamped(date);
        let offset = self.offset(date);
        if self.0 == Tz::UTC || offset % (60 * SECOND) != 0 {
            return date.to_string();
        }
        let local = Date::from_millis(date.millis() + offset);
        if clamped(local) != local {
            return date.to_string();
        }
        let mut text = local.to_string();
        text.pop();
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / (60 * SECOND));
        text + &format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// An hour of the clock, between the instants at which it is set.
    fn hour(&self, at: Date) -> Range<Date> {
        let offset = self.offset(at);
        let start = (at.millis() + offset).div_euclid(HOUR) * HOUR - offset;
        let mut hour = start..start + HOUR;
        if self.0 != Tz::UTC {
            let same = |millis: i64| self.offset(Date::from_millis(millis)) == offset;
            if !same(hour.start) {
                hour.start = first_that(hour.start, at.millis(), same);
            }
            if !same(hour.end - 1) {
                hour.end = first_that(at.millis(), hour.end - 1, |millis| !same(millis));
            }
        }
        Date::from_millis(hour.start)..Date::from_millis(hour.end)
    }

    /// The first instant of a day.
    fn start_of(&self, day: NaiveDate) -> Date {
        self.instant(day.and_time(NaiveTime::MIN))
    }

    /// When the clock first shows this or more.
    fn instant(&self, local: NaiveDateTime) -> Date {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => {
                Date::from_millis(at.timestamp_millis())
            }
            LocalResult::None => {
                // It is set from before this to after it. A day before, it was not yet.
                let wanted = local.and_utc().timestamp_millis();
                let shows = |millis: i64| millis + self.offset(Date::from_millis(millis));
                let before = wanted - DAY - self.offset(Date::from_millis(wanted - DAY));
                Date::from_millis(first_that(before, before + 3 * DAY, |at| shows(at) >= wanted))
            }
        }
    }

    /// What the clock shows, if it is within [`Date::MIN`]..=[`Date::MAX`] that it does.
    #[must_use]
    pub fn clock(&self, at: Date) -> NaiveDateTime {
        self.local(clamped(at))
    }

    fn local(&self, at: Date) -> NaiveDateTime {
        let local = DateTime::<Utc>::from_timestamp_millis(at.millis() + self.offset(at));
        local.unwrap_or_default().naive_utc()
    }

    /// By how many milliseconds the clock is ahead of UTC.
    fn offset(&self, at: Date) -> i64 {
        if self.0 == Tz::UTC {
            return 0;
        }
        let at = DateTime::<Utc>::from_timestamp_millis(at.millis()).unwrap_or_default();
        let offset = self.0.offset_from_utc_datetime(&at.naive_utc());
        i64::from(offset.fix().local_minus_utc()) * SECOND
    }
}

fn clamped(date: Date) -> Date {
    date.clamp(Date::MIN, Date::MAX)
}

/// The first in `from..=to` that `holds`, where all behind one that does hold too, as `to` does.
fn first_that(mut from: i64, mut to: i64, holds: impl Fn(i64) -> bool) -> i64 {
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    to
}

fn first_day(interval: Interval, day: NaiveDate) -> NaiveDate {
    match interval {
        Interval::Hour | Interval::Day => day,
        Interval::Week => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
        Interval::Month => day - Days::new(u64::from(day.day0())),
    }
}

fn next_first(interval: Interval, first: NaiveDate) -> NaiveDate {
    match interval {
        Interval::Hour | Interval::Day => first + Days::new(1),
        Interval::Week => first + Days::new(7),
        Interval::Month => first + Months::new(1),
    }
}

#[cfg(test)]
mod tests;
