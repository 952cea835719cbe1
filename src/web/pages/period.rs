//! Times that pages are of: those that have a name and end now, and the one of the overview, which is any.
//!
//! Promises that a period is of whole hours, days or months of a zone, the present one among them, however long the
//! zone's clocks make those.

use crate::asking::Params;
use crate::ingest::{Code, Reject};
use crate::model::Date;
use crate::schema::{Interval, Zone};

/// Milliseconds of a day of 24 hours.
pub(super) const DAY_MILLIS: i64 = 86_400_000;

/// Intervals of a stretch, at the most: as many as a chart has points.
const INTERVALS_MAX: i64 = 800;

/// A time that has a name, and ends with the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// So many of these intervals, the present one among them.
    Last(u16, Interval),
    /// All there is.
    All,
}

impl Period {
    /// So many days, today among them.
    #[must_use]
    pub const fn days(count: u16) -> Period {
        Period::Last(count, Interval::Day)
    }

    /// As it stands in addresses.
    pub(super) fn name(self) -> String {
        match self {
            Period::Last(count, interval) => {
                let unit = match interval {
                    Interval::Hour => 'h',
                    Interval::Day => 'd',
                    Interval::Week => 'w',
                    Interval::Month => 'm',
                };
                format!("{count}{unit}")
            }
            Period::All => "all".to_owned(),
        }
    }

    /// As links to it say.
    pub(super) fn label(self) -> String {
        match self {
            Period::Last(count, interval) => {
                let units = match interval {
                    Interval::Hour => "hours",
                    Interval::Day => "days",
                    Interval::Week => "weeks",
                    Interval::Month => "months",
                };
                format!("{count} {units}")
            }
            Period::All => "All".to_owned(),
        }
    }

    /// As it is said of events.
    pub(super) fn said(self) -> String {
        match self {
            Period::Last(1, Interval::Day) => "of today".to_owned(),
            Period::Last(..) => format!("of the last {}", self.label()),
            Period::All => "of all time".to_owned(),
        }
    }

    /// From when to when it goes at a moment.
    pub(super) fn span(self, zone: Zone, now: Date) -> (Option<Date>, Option<Date>) {
        match self {
            Period::Last(count, interval) => {
                let (from, to) = last(count, interval, zone, now);
                (Some(from), Some(to))
            }
            Period::All => (None, None),
        }
    }
}

/// A time, and how it is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The period that it is, if it is one.
    pub period: Option<Period>,
    /// Its first instant.
    pub from: Date,
    /// The first instant that is no part of it.
    pub to: Date,
    /// By what it is divided.
    pub interval: Interval,
    /// The same stretch before, as far as this one has come; none where the calendar begins.
    pub before: Option<(Date, Date)>,
    /// What that is called.
    pub before_name: &'static str,
    /// Whether it goes on now.
    pub is_open: bool,
}

/// What the overview offers.
const OFFERED: [(u16, Interval); 5] = [
    (24, Interval::Hour),
    (7, Interval::Day),
    (30, Interval::Day),
    (90, Interval::Day),
    (12, Interval::Month),
];

/// What it shows unless another is asked for.
const USUAL: (u16, Interval) = (7, Interval::Day);

impl Stretch {
    /// The periods that are offered.
    pub fn offered() -> impl Iterator<Item = Period> {
        OFFERED.into_iter().map(|(count, interval)| Period::Last(count, interval))
    }

    /// What an address asks for: `from` and `to`, or the name of a `period`.
    ///
    /// # Errors
    /// What would be right.
    pub fn asked(params: &Params<'_>, zone: Zone, now: Date) -> Result<Stretch, Reject> {
        let (from, to) = (params.date("from", zone)?, params.date("to", zone)?);
        if from.is_some() || to.is_some() {
            return Stretch::between(from, to, zone, now);
        }
        let names: Vec<_> = Stretch::offered().map(|it| format!("`{}`", it.name())).collect();
        let named = params.read("period", &format!("one of {}", names.join(", ")), |text| {
            OFFERED
                .into_iter()
                .find(|(count, interval)| Period::Last(*count, *interval).name() == text)
        })?;
        let (count, interval) = named.unwrap_or(USUAL);
        Ok(Stretch::of_last(count, interval, zone, now))
    }

    /// The last so many intervals, the present one among them.
    fn of_last(count: u16, interval: Interval, zone: Zone, now: Date) -> Stretch {
        let (from, to) = last(count, interval, zone, now);
        let start = back(zone, interval, from, count);
        let end = Date::from_millis(start.millis() + now.millis() - from.millis()).min(from);
        Stretch {
            period: Some(Period::Last(count, interval)),
            from,
            to,
            interval,
            before: Some((start, end)).filter(|(start, end)| start < end),
            before_name: match interval {
                Interval::Hour => "in the 24 hours before",
                _ => "in the same time before",
            },
            is_open: true,
        }
    }

    /// Any other one. Without an end it goes on until today is over, without a beginning it has seven days.
    fn between(
        from: Option<Date>,
        to: Option<Date>,
        zone: Zone,
        now: Date,
    ) -> Result<Stretch, Reject> {
        let to = to.unwrap_or_else(|| zone.bucket(Interval::Day, now).end);
        let from = from.unwrap_or_else(|| Date::from_millis(to.millis() - 7 * DAY_MILLIS));
        if to <= from {
            let detail = "the parameter `to` takes a date behind `from`";
            return Err(Reject::new(Code::InvalidParameter, detail));
        }
        let length = to.millis() - from.millis();
        let interval = match length / DAY_MILLIS {
            0..=2 => Interval::Hour,
            3..=92 => Interval::Day,
            93..=400 => Interval::Week,
            _ => Interval::Month,
        };
        if length / (28 * DAY_MILLIS) > INTERVALS_MAX {
            let detail = format!("`from` and `to` may be {INTERVALS_MAX} months apart at the most");
            return Err(Reject::new(Code::InvalidParameter, detail));
        }
        let is_open = from <= now && now < to;
        let passed = if is_open { now.millis() - from.millis() } else { length };
        let start = from.millis() - length;
        let before = (Date::from_millis(start), Date::from_millis(start + passed));
        Ok(Stretch {
            period: None,
            from,
            to,
            interval,
            before: Some(before).filter(|(start, end)| Date::MIN <= *start && start < end),
            before_name: "in as long a time before",
            is_open,
        })
    }
}

/// From when to when so many intervals go, of which the last one is the present one.
fn last(count: u16, interval: Interval, zone: Zone, now: Date) -> (Date, Date) {
    let present = zone.bucket(interval, now);
    (back(zone, interval, present.start, count.saturating_sub(1)), present.end)
}

/// The beginning of the interval that is so many before the one that begins here: a day may have 23 hours, or 25.
fn back(zone: Zone, interval: Interval, start: Date, count: u16) -> Date {
    (0..count)
        .fold(start, |start, _| zone.bucket(interval, Date::from_millis(start.millis() - 1)).start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Method, Request};

    fn asked(query: &str, zone: &str, now: &str) -> Result<Stretch, String> {
        let (zone, now) = (zone.parse().unwrap(), Date::parse(now).unwrap());
        let request = Request::new(Method::Get, &format!("/?{query}"));
        Stretch::asked(&Params::of(request.query()).in_zone(zone), zone, now)
            .map_err(|reject| reject.detail)
    }

    #[test]
    fn periods_are_whole_intervals_and_are_compared_as_far_as_they_have_come() {
        for (query, zone, now, from, to, interval, before) in [
            (
                "",
                "UTC",
                "2026-11-27T06:30:00Z",
                "2026-11-21",
                "2026-11-28",
                Interval::Day,
                ("2026-11-14", "2026-11-20T06:30:00Z"),
            ),
            (
                "period=24h",
                "UTC",
                "2026-11-27T06:30:00Z",
                "2026-11-26T07:00:00Z",
                "2026-11-27T07:00:00Z",
                Interval::Hour,
                ("2026-11-25T07:00:00Z", "2026-11-26T06:30:00Z"),
            ),
            (
                "period=12m",
                "UTC",
                "2026-11-27T06:30:00Z",
                "2025-12-01",
                "2026-12-01",
                Interval::Month,
                ("2024-12-01", "2025-11-27T06:30:00Z"),
            ),
            // Summer time ended on 25 October: a day of 25 hours is a day.
            (
                "period=30d",
                "Europe/Berlin",
                "2026-10-27T00:30:00+01:00",
                "2026-09-27T22:00:00Z",
                "2026-10-27T23:00:00Z",
                Interval::Day,
                ("2026-08-28T22:00:00Z", "2026-09-26T23:30:00Z"),
            ),
            (
                "from=2026-11-01&to=2026-11-03",
                "UTC",
                "2026-11-27T06:30:00Z",
                "2026-11-01",
                "2026-11-03",
                Interval::Hour,
                ("2026-10-30", "2026-11-01"),
            ),
            (
                "from=2026-11-25",
                "UTC",
                "2026-11-27T06:00:00Z",
                "2026-11-25",
                "2026-11-28",
                Interval::Day,
                ("2026-11-22", "2026-11-24T06:00:00Z"),
            ),
            (
                "to=2025-01-01",
                "UTC",
                "2026-11-27T06:00:00Z",
                "2024-12-25",
                "2025-01-01",
                Interval::Day,
                ("2024-12-18", "2024-12-25"),
            ),
            (
                "from=2020-01-01",
                "UTC",
                "2026-11-27T06:00:00Z",
                "2020-01-01",
                "2026-11-28",
                Interval::Month,
                ("2013-02-03", "2020-01-01"),
            ),
        ] {
            let period = asked(query, zone, now).unwrap();
            let date = |text: &str| Date::parse(text).unwrap();
            assert_eq!(
                (period.from, period.to, period.interval),
                (date(from), date(to), interval),
                "{query}"
            );
            let (start, end) = period.before.unwrap();
            assert_eq!(start, date(before.0), "{query}");
            // Of a long one, the end alone is of interest where it goes on.
            if query != "from=2020-01-01" {
                assert_eq!(end, date(before.1), "{query}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (query, says) in [
            ("period=8d", "`period`"),
            ("from=yesterday", "`from`"),
            ("from=2026-01-02&to=2026-01-02", "`to`"),
            ("from=2026-01-02&to=2026-01-01", "`to`"),
            ("from=0001-01-01&to=9999-01-01", "months"),
        ] {
            let refused = asked(query, "UTC", "2026-11-27T06:30:00Z");
            assert!(refused.clone().is_err_and(|why| why.contains(says)), "{query}: {refused:?}");
        }
        // At both ends of the calendar there is nothing to compare with, or nothing at all, but no panic.
        for now in [Date::MIN, Date::MAX] {
            for (count, interval) in OFFERED {
                Stretch::of_last(count, interval, Zone::UTC, now);
            }
        }
    }
}
