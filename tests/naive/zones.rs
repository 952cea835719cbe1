//! Time zones and the beginnings of hours, days, weeks and months in them, by hand.

/// Some zones, with the rules that have been theirs since 2007.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Utc,
    Kolkata,
    Berlin,
    NewYork,
}

pub const ZONES: [Zone; 4] = [Zone::Utc, Zone::Kolkata, Zone::Berlin, Zone::NewYork];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Hour,
    Day,
    Week,
    Month,
}

pub const INTERVALS: [Interval; 4] =
    [Interval::Hour, Interval::Day, Interval::Week, Interval::Month];

impl Interval {
    pub fn name(self) -> &'static str {
        match self {
            Interval::Hour => "hour",
            Interval::Day => "day",
            Interval::Week => "week",
            Interval::Month => "month",
        }
    }
}

const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;

impl Zone {
    pub fn name(self) -> &'static str {
        match self {
            Zone::Utc => "UTC",
            Zone::Kolkata => "Asia/Kolkata",
            Zone::Berlin => "Europe/Berlin",
            Zone::NewYork => "America/New_York",
        }
    }

    /// What its clocks are ahead of UTC at an instant.
    pub fn ahead(self, at: i64) -> i64 {
        let (year, _, _) = civil(at.div_euclid(DAY));
        // The Sunday of a month that is the nth, or the last for 0, as a day since 1970.
        let sunday = |month: i64, nth: i64| {
            if nth == 0 {
                let last = day(year, month + 1, 1) - 1;
                last - (last + 4).rem_euclid(7)
            } else {
                let first = day(year, month, 1);
                first + (3 - first).rem_euclid(7) + 7 * (nth - 1)
            }
        };
        match self {
            Zone::Utc => 0,
            Zone::Kolkata => 5 * HOUR + HOUR / 2,
            Zone::Berlin => {
                let summer = sunday(3, 0) * DAY + HOUR..sunday(10, 0) * DAY + HOUR;
                if summer.contains(&at) { 2 * HOUR } else { HOUR }
            }
            Zone::NewYork => {
                let summer = sunday(3, 2) * DAY + 7 * HOUR..sunday(11, 1) * DAY + 6 * HOUR;
                if summer.contains(&at) { -4 * HOUR } else { -5 * HOUR }
            }
        }
    }

    /// The instant of a midnight.
    pub fn midnight(self, day: i64) -> i64 {
        let local = day * DAY;
        // Clocks aren't changed at midnight in any of these.
        local - self.ahead(local - self.ahead(local))
    }

    /// The beginning of the interval in which an instant lies.
    pub fn start(self, at: i64, interval: Interval) -> i64 {
        let local = at + self.ahead(at);
        let today = local.div_euclid(DAY);
        match interval {
            Interval::Hour => at - local.rem_euclid(HOUR),
            Interval::Day => self.midnight(today),
            Interval::Week => self.midnight(today - (today + 3).rem_euclid(7)),
            Interval::Month => {
                let (year, month, _) = civil(today);
                self.midnight(day(year, month, 1))
            }
        }
    }

    /// The beginning of the interval behind one that begins at `start`.
    pub fn next(self, start: i64, interval: Interval) -> i64 {
        let beyond = match interval {
            Interval::Hour => return start + HOUR,
            Interval::Day => 30 * HOUR,
            Interval::Week => 7 * DAY + 6 * HOUR,
            Interval::Month => 31 * DAY + 6 * HOUR,
        };
        self.start(start + beyond, interval)
    }
}

/// Year, month and day of a day since 1970, by counting.
pub fn civil(mut days: i64) -> (i64, i64, i64) {
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += year_days(year);
    }
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

/// The day since 1970 of a year, month and day; month 13 is the next year's first.
pub fn day(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = if year >= 1970 {
        (1970..year).map(year_days).sum()
    } else {
        -(year..1970).map(year_days).sum::<i64>()
    };
    years + (1..month).map(|month| month_days(year, month)).sum::<i64>() + day - 1
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn year_days(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The instant of `2001-07-04T12:08:56.235Z`, or with an offset as `+02:00` in place of `Z`.
#[track_caller]
pub fn millis(text: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| -> i64 {
        let part = text.get(range).and_then(|digits| digits.parse().ok());
        part.unwrap_or_else(|| panic!("{text:?} is no date"))
    };
    let days = day(number(0..4), number(5..7), number(8..10));
    let time = (number(11..13) * 60 + number(14..16)) * 60 + number(17..19);
    let mut at = days * DAY + time * 1000 + number(20..23);
    if !text.ends_with('Z') {
        let minutes = number(24..26) * 60 + number(27..29);
        at -= minutes * 60_000 * if text.as_bytes()[23] == b'-' { -1 } else { 1 };
    }
    at
}

/// An instant as `2001-07-04T12:08:56.235Z`.
pub fn text(at: i64) -> String {
    let (days, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hours, minutes) = (time / HOUR, time / 60_000 % 60);
    let (seconds, rest) = (time / 1000 % 60, time % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{rest:03}Z")
}
