//! An instant in UTC, to the millisecond, and the few texts that mean one.
//!
//! Promises that every text read is one of the documented forms, and that what was read can be
//! written and read back unchanged. Must not know the present time, local time zones or JSON.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

/// Names as in RFC 2822 section 3.3, in the order of `Weekday::num_days_from_monday`.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The zones that RFC 2822 section 4.3 gives a meaning, in hours east of UTC.
const ZONES: [(&str, i64); 10] = [
    ("GMT", 0),
    ("UT", 0),
    ("EDT", -4),
    ("EST", -5),
    ("CDT", -5),
    ("CST", -6),
    ("MDT", -6),
    ("MST", -7),
    ("PDT", -7),
    ("PST", -8),
];

impl Date {
    /// The earliest instant that can be written: `0000-01-01T00:00:00.000Z`.
    pub const MIN: Date = Date(-62_167_219_200_000);

    /// The latest instant that can be written: `9999-12-31T23:59:59.999Z`.
    pub const MAX: Date = Date(253_402_300_799_999);

    /// The instant `millis` milliseconds after (or, negative, before) the Unix epoch.
    ///
    /// Any number is an instant; those outside [`Date::MIN`]..=[`Date::MAX`] are only written as
    /// the nearer of the two.
    pub const fn from_millis(millis: i64) -> Date {
        Date(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads the whole of `text` as a date, or gives `None`. The forms are:
    ///
    /// - RFC 3339, as `2001-07-04T12:08:56.235-07:00`: also the offset without its colon (ISO
    ///   8601), lower-case `t` and `z`, a space for the `T`. A fraction has 1 to 9 digits; what it
    ///   says beyond milliseconds is dropped, so that the instant moves towards the past.
    /// - RFC 2822 section 3.3, as `Wed, 04 Jul 2001 12:08:56 -0700`: names in any case, runs of
    ///   blanks, and of section 4.3 the short years and North American zones; no comments.
    /// - `2001-07-04` and `2001/07/04`: midnight UTC.
    ///
    /// Second 60, in any minute, is second 0 of the minute that follows. A local time whose
    /// instant is outside [`Date::MIN`]..=[`Date::MAX`] is refused.
    pub fn parse(text: &str) -> Option<Date> {
        let mut scan = Scan(text.as_bytes());
        let millis = match scan.0.get(4) {
            Some(b'-' | b'/') => numeric(&mut scan)?,
            _ => rfc2822(&mut scan)?,
        };
        let fits = (Date::MIN.0..=Date::MAX.0).contains(&millis);
        (fits && scan.0.is_empty()).then_some(Date(millis))
    }

    /// Appends the text that [`Display`](fmt::Display) shows.
    pub fn write_to(&self, out: &mut String) {
        let millis = self.0.clamp(Date::MIN.0, Date::MAX.0);
        // The default is never used: the clamped range is well inside that of `DateTime`.
        let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
        out.reserve("0000-00-00T00:00:00.000Z".len());
        push_digits(out, time.year().unsigned_abs(), 1000);
        out.push('-');
        push_digits(out, time.month(), 10);
        out.push('-');
        push_digits(out, time.day(), 10);
        out.push('T');
        push_digits(out, time.hour(), 10);
        out.push(':');
        push_digits(out, time.minute(), 10);
        out.push(':');
        push_digits(out, time.second(), 10);
        out.push('.');
        push_digits(out, time.timestamp_subsec_millis(), 100);
        out.push('Z');
    }
}

/// RFC 3339 in UTC with three fraction digits: `2001-07-04T19:08:56.235Z`. An instant outside
/// [`Date::MIN`]..=[`Date::MAX`] shows as the nearer of the two.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_to(&mut text);
        f.pad(&text)
    }
}

/// Appends the digits of `number` from that worth `unit` (a power of ten) down to the ones.
fn push_digits(out: &mut String, number: u32, mut unit: u32) {
    while unit > 0 {
        out.push((b'0' + (number / unit % 10) as u8) as char);
        unit /= 10;
    }
}

/// Reads the forms whose month is a number.
fn numeric(scan: &mut Scan) -> Option<i64> {
    let year = scan.digits(4)?;
    let separator = scan.one_of(b"-/")?;
    let month = scan.digits(2)?;
    scan.one_of(&[separator])?;
    let day = scan.digits(2)?;
    let date = NaiveDate::from_ymd_opt(year as i32, month, day)?;
    if scan.0.is_empty() {
        return instant(date, 0, 0, 0, 0);
    }
    if separator == b'/' {
        return None;
    }
    scan.one_of(b"Tt ")?;
    let hour = scan.digits(2)?;
    scan.one_of(b":")?;
    let minute = scan.digits(2)?;
    scan.one_of(b":")?;
    let second = scan.digits(2)?;
    let millis = match scan.one_of(b".") {
        Some(_) => scan.fraction_millis()?,
        None => 0,
    };
    let offset = match scan.one_of(b"Zz") {
        Some(_) => 0,
        None => scan.offset(true)?,
    };
    Some(instant(date, hour, minute, second, offset)? + millis)
}

/// Reads `[day-name ","] day month-name year hour ":" minute [":" second] zone`.
fn rfc2822(scan: &mut Scan) -> Option<i64> {
    let day_name = scan.word();
    let weekday = if day_name.is_empty() {
        None
    } else {
        scan.one_of(b",")?;
        scan.blanks();
        Some(index_of(day_name, &DAYS)?)
    };
    let (day, _) = scan.number(1, 2)?;
    scan.blanks()?;
    let month = index_of(scan.word(), &MONTHS)? + 1;
    scan.blanks()?;
    let year = match scan.number(2, 4)? {
        (year @ 0..50, 2) => year + 2000,
        (year, 2 | 3) => year + 1900,
        (year, _) => year,
    };
    let date = NaiveDate::from_ymd_opt(year as i32, month, day)?;
    if weekday.is_some_and(|named| named != date.weekday().num_days_from_monday()) {
        return None;
    }
    scan.blanks()?;
    let hour = scan.digits(2)?;
    scan.one_of(b":")?;
    let minute = scan.digits(2)?;
    let second = match scan.one_of(b":") {
        Some(_) => scan.digits(2)?,
        None => 0,
    };
    scan.blanks()?;
    let zone = scan.word();
    let offset = if zone.is_empty() {
        scan.offset(false)?
    } else {
        let known = |(name, _): &&(&str, i64)| zone.eq_ignore_ascii_case(name.as_bytes());
        ZONES.iter().find(known)?.1 * 60
    };
    instant(date, hour, minute, second, offset)
}

/// Milliseconds since the epoch of a local time `offset` minutes ahead of UTC.
fn instant(date: NaiveDate, hour: u32, minute: u32, second: u32, offset: i64) -> Option<i64> {
    let start = date.and_hms_opt(hour, minute, 0)?.and_utc().timestamp();
    (second <= 60).then_some((start + i64::from(second) - offset * 60) * 1000)
}

/// The place of `word` among `names`, whatever its case.
fn index_of(word: &[u8], names: &[&str]) -> Option<u32> {
    let same = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
    names.iter().position(same).map(|index| index as u32)
}

/// The bytes still to read.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    /// Takes the longest beginning, of at most `max` bytes, whose bytes all `belong`.
    fn take(&mut self, max: usize, belong: impl Fn(&u8) -> bool) -> &'a [u8] {
        let count = self.0.iter().take(max).take_while(|b| belong(b)).count();
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// Takes one byte if it is among those `allowed`.
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        allowed.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Takes `min` to `max` (at most 9, so that it fits) digits: their number and their count.
    fn number(&mut self, min: usize, max: usize) -> Option<(u32, usize)> {
        let digits = self.take(max, u8::is_ascii_digit);
        let number = digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
        (digits.len() >= min).then_some((number, digits.len()))
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        Some(self.number(count, count)?.0)
    }

    /// Takes 1 to 9 digits after a decimal point: the whole milliseconds in that part of a second.
    fn fraction_millis(&mut self) -> Option<i64> {
        let (number, count) = self.number(1, 9)?;
        let nanos = (count..9).fold(number, |n, _| n * 10);
        Some(i64::from(nanos / 1_000_000))
    }

    /// Takes `+hhmm` or `-hhmm`, where `colon` permits one in the middle: minutes east of UTC.
    fn offset(&mut self, colon: bool) -> Option<i64> {
        let sign = self.one_of(b"+-")?;
        let hours = self.digits(2).filter(|hours| *hours < 24)?;
        if colon {
            self.one_of(b":");
        }
        let minutes = self.digits(2).filter(|minutes| *minutes < 60)?;
        let east = i64::from(hours * 60 + minutes);
        Some(if sign == b'-' { -east } else { east })
    }

    /// Takes letters, perhaps none.
    fn word(&mut self) -> &'a [u8] {
        self.take(usize::MAX, u8::is_ascii_alphabetic)
    }

    /// Takes spaces and tabs, at least one.
    fn blanks(&mut self) -> Option<()> {
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        (!self.take(usize::MAX, blank).is_empty()).then_some(())
    }
}

#[cfg(test)]
mod tests;
