//! Numbers and times as a person reads them: by locale and time zone, in English words.
//!
//! Promises short texts for every number and every instant, the extreme ones too, and that a number that isn't
//! nothing never shows as 0%. Must not know HTML; templates make of a [`Moment`] a `<time>`.

mod locale;
#[cfg(test)]
mod tests;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use super::parts::{Moment, Trend};
use crate::model::Date;
use crate::schema::{Interval, Zone};

use locale::Order;
pub use locale::{HEADER_BYTES_MAX, LANGUAGES_MAX, Locale};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What is shown where there is no number.
pub const NOTHING: &str = "–";

/// For whom and when something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How numbers and dates are written.
    pub locale: Locale,
    /// Where the clock is.
    pub zone: Zone,
    /// The time now.
    pub now: Date,
}

/// A change against before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As `+12.5%`; empty where nothing can be said.
    pub text: String,
    /// Which way.
    pub trend: Trend,
}

/// Numbers.
impl Format {
    /// A whole number with its groups: `12,345`.
    #[must_use]
    pub fn count(&self, number: u64) -> String {
        self.grouped(&number.to_string())
    }

    /// A number with so many digits behind the point, at most 9: `1,234.50`. [`NOTHING`] for what is no number.
    #[must_use]
    pub fn decimal(&self, number: f64, digits: usize) -> String {
        if !number.is_finite() {
            return NOTHING.to_owned();
        }
        let digits = digits.min(9);
        let text = format!("{:.digits$}", number.abs());
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let mut out = if number < 0.0 && !is_zero { "−".to_owned() } else { String::new() };
        // No more digits than can be meant, or than fit.
        match whole.len() {
            0..=21 => out += &self.grouped(whole),
            _ => return out + &format!("{:.2e}", number.abs()),
        }
        if !fraction.is_empty() {
            out += self.locale.point;
            out += fraction;
        }
        out
    }

    /// A whole number in at most three digits and a letter, from 10,000 on: `12.3k`, `4.56M`.
    #[must_use]
    pub fn compact(&self, number: u64) -> String {
        if number < 10_000 {
            return self.count(number);
        }
        self.scaled(u128::from(number), 1_000, &["", "k", "M", "B", "T", "Qa", "Qi"])
    }

    /// Bytes: `512 B`, `1.5 MB` (of 1,000 each).
    #[must_use]
    pub fn bytes(&self, number: u64) -> String {
        let units =
            ["\u{a0}B", "\u{a0}kB", "\u{a0}MB", "\u{a0}GB", "\u{a0}TB", "\u{a0}PB", "\u{a0}EB"];
        self.scaled(u128::from(number), 1_000, &units)
    }

    /// A part of a whole: `18.6%`, `<0.1%`, `100%` only for all of it. [`NOTHING`] of nothing.
    #[must_use]
    pub fn share(&self, part: u64, whole: u64) -> String {
        if whole == 0 {
            return NOTHING.to_owned();
        }
        let (part, whole) = (u128::from(part), u128::from(whole));
        let tenths = (part * 1_000 + whole / 2) / whole;
        match tenths {
            0 if part > 0 => format!("<{}%", self.decimal(0.1, 1)),
            1_000 if part < whole => format!(">{}%", self.decimal(99.9, 1)),
            0 | 1_000 => format!("{}%", tenths / 10),
            _ => {
                let whole = u64::try_from(tenths / 10).unwrap_or(u64::MAX);
                format!("{}{}{}%", self.count(whole), self.locale.point, tenths % 10)
            }
        }
    }

    /// A change: `+18.6%`, `−4%`, `×12` from eleven times on, `new` where there was nothing.
    #[must_use]
    pub fn change(&self, now: u64, before: u64) -> Change {
        let trend = match now.cmp(&before) {
            std::cmp::Ordering::Greater => Trend::Up,
            std::cmp::Ordering::Less => Trend::Down,
            std::cmp::Ordering::Equal => Trend::Level,
        };
        let text = match (now, before) {
            (0, 0) => String::new(),
            (_, 0) => "new".to_owned(),
            _ if now / 11 >= before => format!("×{}", self.compact(now / before)),
            _ if now == before => "±0%".to_owned(),
            _ => {
                let sign = if now > before { '+' } else { '−' };
                format!("{sign}{}", self.share(now.abs_diff(before), before))
            }
        };
        Change { text, trend }
    }

    fn grouped(&self, digits: &str) -> String {
        let mut sizes = self.locale.groups.iter().filter_map(|&size| usize::try_from(size).ok());
        let mut size = sizes.next().unwrap_or(3).max(1);
        let mut pieces = Vec::new();
        let mut rest = digits;
        while rest.len() > size {
            let (front, piece) = rest.split_at(rest.len() - size);
            pieces.push(piece);
            rest = front;
            size = sizes.next().unwrap_or(size).max(1);
        }
        pieces.push(rest);
        pieces.reverse();
        pieces.join(self.locale.separator)
    }

    /// Three digits and a unit; rounded down, so that a thousand of one unit never shows.
    fn scaled(&self, number: u128, step: u128, units: &[&str]) -> String {
        let mut unit = 0;
        let mut one = 1;
        while number / one >= step && unit + 1 < units.len() {
            one *= step;
            unit += 1;
        }
        let whole = number / one;
        let digits = match whole {
            _ if unit == 0 => 0,
            0..=9 => 2,
            10..=99 => 1,
            _ => 0,
        };
        let fraction = number % one * 10u128.pow(digits) / one;
        let mut text = format!("{fraction:0width$}", width = digits as usize);
        if digits == 0 {
            text.clear();
        }
        let text = text.trim_end_matches('0');
        let point = if text.is_empty() { "" } else { self.locale.point };
        format!("{whole}{point}{text}{}", units[unit])
    }
}

/// Times.
impl Format {
    /// A day: `4 Jul 2026`, in the order of the locale.
    #[must_use]
    pub fn day(&self, at: Date) -> String {
        self.dated(self.zone.clock(at).date(), true)
    }

    /// A day of a year that is known: `4 Jul`.
    #[must_use]
    pub fn short_day(&self, at: Date) -> String {
        self.dated(self.zone.clock(at).date(), false)
    }

    /// A time of day: `14:05`, or `2:05 PM`.
    #[must_use]
    pub fn hour(&self, at: Date) -> String {
        self.timed(self.zone.clock(at), false)
    }

    /// An instant: `4 Jul, 14:05`, with the year if it is another one.
    #[must_use]
    pub fn at(&self, at: Date) -> Moment {
        let clock = self.zone.clock(at);
        let day = self.dated(clock.date(), clock.year() != self.zone.clock(self.now).year());
        self.moment(at, format!("{day}, {}", self.timed(clock, false)))
    }

    /// An instant to the second: `4 Jul 2026, 14:05:56`.
    #[must_use]
    pub fn exactly(&self, at: Date) -> Moment {
        self.moment(at, self.second(at))
    }

    /// The day of an instant: `4 Jul 2026`.
    #[must_use]
    pub fn on(&self, at: Date) -> Moment {
        self.moment(at, self.day(at))
    }

    /// How long ago it is, up to a week (`3 min ago`, `in 2 h`); the day, if it is more.
    #[must_use]
    pub fn ago(&self, at: Date) -> Moment {
        let apart = self.now.millis().abs_diff(at.millis());
        let text = match apart {
            0..10_000 => "just now".to_owned(),
            _ if apart >= 7 * DAY => self.day(at),
            _ if at < self.now => format!("{} ago", coarse(apart)),
            _ => format!("in {}", coarse(apart)),
        };
        self.moment(at, text)
    }

    /// What a bucket of an interval is called: `4 Jul, 14:00`, `Sat 4 Jul`, `week of 4 Jul`, `Jul 2026`.
    #[must_use]
    pub fn bucket(&self, interval: Interval, from: Date) -> String {
        let clock = self.zone.clock(from);
        let is_other_year = clock.year() != self.zone.clock(self.now).year();
        let day = self.dated(clock.date(), is_other_year);
        match interval {
            Interval::Hour => format!("{day}, {}", self.timed(clock, false)),
            Interval::Day => self.with_weekday(clock.date(), day),
            Interval::Week => format!("week of {day}"),
            Interval::Month => self.month(from),
        }
    }

    /// The same in as little room as on an axis: `14:00`, `4 Jul`, `Jul`.
    #[must_use]
    pub fn tick(&self, interval: Interval, from: Date) -> String {
        let clock = self.zone.clock(from);
        match interval {
            Interval::Hour if clock.hour() > 0 => self.timed(clock, false),
            Interval::Month if clock.month0() > 0 => self.locale.month(clock.month0()).to_owned(),
            Interval::Month => clock.year().to_string(),
            _ => self.short_day(from),
        }
    }

    /// A month: `Jul 2026`.
    #[must_use]
    pub fn month(&self, at: Date) -> String {
        let clock = self.zone.clock(at);
        let (year, month) = (clock.year(), self.locale.month(clock.month0()));
        match self.locale.order {
            Order::Han => format!("{year}年{month}"),
            Order::Hangul => format!("{year}년 {month}"),
            _ => format!("{month} {year}"),
        }
    }

    fn moment(&self, at: Date, text: String) -> Moment {
        let clock = self.zone.clock(at);
        let title = self.with_weekday(clock.date(), self.second(at));
        Moment {
            datetime: self.zone.show(at),
            text,
            title: format!("{title} ({})", self.zone),
            language: self.locale.language(),
        }
    }

    fn second(&self, at: Date) -> String {
        let clock = self.zone.clock(at);
        format!("{}, {}", self.dated(clock.date(), true), self.timed(clock, true))
    }

    fn with_weekday(&self, day: NaiveDate, text: String) -> String {
        let name = self.locale.weekday(day.weekday().num_days_from_monday());
        match self.locale.order {
            Order::Han | Order::Hangul => format!("{text} ({name})"),
            Order::MonthFirst => format!("{name}, {text}"),
            _ => format!("{name} {text}"),
        }
    }

    fn dated(&self, day: NaiveDate, with_year: bool) -> String {
        let (year, month, date) = (day.year(), self.locale.month(day.month0()), day.day());
        match (self.locale.order, with_year) {
            (Order::DayFirst, true) => format!("{date} {month} {year}"),
            (Order::DayFirst | Order::YearFirst, false) => format!("{date} {month}"),
            (Order::DottedDayFirst, true) => format!("{date}. {month} {year}"),
            (Order::DottedDayFirst, false) => format!("{date}. {month}"),
            (Order::MonthFirst, true) => format!("{month} {date}, {year}"),
            (Order::MonthFirst, false) => format!("{month} {date}"),
            (Order::YearFirst, true) => format!("{year:04}-{:02}-{date:02}", day.month()),
            (Order::Han, true) => format!("{year}年{month}{date}日"),
            (Order::Han, false) => format!("{month}{date}日"),
            (Order::Hangul, true) => format!("{year}년 {month} {date}일"),
            (Order::Hangul, false) => format!("{month} {date}일"),
        }
    }

    fn timed(&self, clock: NaiveDateTime, with_seconds: bool) -> String {
        let hours = self.locale.hours;
        let colon = hours.separator;
        let mut text = format!("{colon}{:02}", clock.minute());
        if with_seconds {
            text += &format!("{colon}{:02}", clock.second());
        }
        let Some(halves) = hours.halves else {
            return format!("{:02}{text}", clock.hour());
        };
        let (is_second, hour) = clock.hour12();
        let half = halves[usize::from(is_second)];
        // They stay together where a line ends.
        match hours.is_half_first {
            true => format!("{half}\u{a0}{hour}{text}"),
            false => format!("{hour}{text}\u{a0}{half}"),
        }
    }
}

/// What heads the column of an interval's beginnings.
#[must_use]
pub fn heading(interval: Interval) -> &'static str {
    match interval {
        Interval::Hour => "Hour",
        Interval::Day => "Day",
        Interval::Week => "Week",
        Interval::Month => "Month",
    }
}

/// How long something takes or took: `350 ms`, `12 s`, `2 h 5 min`, `3 days`.
#[must_use]
pub fn duration(millis: u64) -> String {
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}\u{a0}{unit}"),
        _ => format!("{large}\u{a0}{unit} {small}\u{a0}{small_unit}"),
    };
    match millis {
        0..SECOND => format!("{millis}\u{a0}ms"),
        SECOND..MINUTE => format!("{}\u{a0}s", millis / SECOND),
        MINUTE..HOUR => two(millis / MINUTE, "min", millis % MINUTE / SECOND, "s"),
        HOUR..DAY => two(millis / HOUR, "h", millis % HOUR / MINUTE, "min"),
        _ => coarse(millis),
    }
}

/// The greatest unit alone.
fn coarse(millis: u64) -> String {
    match millis {
        0..MINUTE => format!("{}\u{a0}s", millis / SECOND),
        MINUTE..HOUR => format!("{}\u{a0}min", millis / MINUTE),
        HOUR..DAY => format!("{}\u{a0}h", millis / HOUR),
        _ if millis / DAY == 1 => "1\u{a0}day".to_owned(),
        _ => format!("{}\u{a0}days", millis / DAY),
    }
}
