use super::*;
use proptest::prelude::*;

const HALF_HOUR: i64 = HOUR / 2;

fn zone(name: &str) -> Zone {
    name.parse().expect(name)
}

fn date(text: &str) -> Date {
    Date::parse(text).expect(text)
}

#[test]
fn names() {
    for name in ["UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"] {
        assert_eq!(zone(name).to_string(), name);
    }
    assert_eq!(zone("UTC"), Zone::default());
    for name in ["", "utc", "Europe", "Europe/zurich", "+02:00", "CEST", " UTC"] {
        assert_eq!(name.parse::<Zone>(), Err(UnknownZone(name.to_owned())));
    }
    for interval in [Interval::Hour, Interval::Day, Interval::Week, Interval::Month] {
        assert_eq!(interval.name().parse(), Ok(interval));
    }
    assert!("Day".parse::<Interval>().is_err());
}

#[test]
fn buckets() {
    use Interval::{Day, Hour, Month, Week};
    for (name, interval, at, from, to) in [
        ("UTC", Hour, "2024-02-29T23:59:59.999Z", "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z"),
        ("UTC", Day, "2024-02-29T23:59:59.999Z", "2024-02-29", "2024-03-01"),
        ("UTC", Week, "2024-03-03T23:00:00Z", "2024-02-26", "2024-03-04"),
        ("UTC", Week, "2024-03-04", "2024-03-04", "2024-03-11"),
        ("UTC", Month, "2024-02-29T23:59:59.999Z", "2024-02-01", "2024-03-01"),
        ("UTC", Month, "2024-12-31", "2024-12-01", "2025-01-01"),
        // Days of 23 and 25 hours, and the weeks and months they are in.
        (
            "Europe/Zurich",
            Day,
            "2024-03-31T12:00:00Z",
            "2024-03-30T23:00:00Z",
            "2024-03-31T22:00:00Z",
        ),
        (
            "Europe/Zurich",
            Day,
            "2024-10-27T12:00:00Z",
            "2024-10-26T22:00:00Z",
            "2024-10-27T23:00:00Z",
        ),
        (
            "Europe/Zurich",
            Week,
            "2024-10-27T12:00:00Z",
            "2024-10-20T22:00:00Z",
            "2024-10-27T23:00:00Z",
        ),
        (
            "Europe/Zurich",
            Month,
            "2024-03-01T00:00:00Z",
            "2024-02-29T23:00:00Z",
            "2024-03-31T22:00:00Z",
        ),
        // The hour that the clock shows twice is two.
        (
            "Europe/Zurich",
            Hour,
            "2024-10-27T00:30:00Z",
            "2024-10-27T00:00:00Z",
            "2024-10-27T01:00:00Z",
        ),
        (
            "Europe/Zurich",
            Hour,
            "2024-10-27T01:30:00Z",
            "2024-10-27T01:00:00Z",
            "2024-10-27T02:00:00Z",
        ),
        // A day without a midnight, and one whose last hour comes twice.
        (
            "America/Sao_Paulo",
            Day,
            "2018-11-04T12:00:00Z",
            "2018-11-04T03:00:00Z",
            "2018-11-05T02:00:00Z",
        ),
        (
            "America/Sao_Paulo",
            Day,
            "2018-11-04T02:59:59Z",
            "2018-11-03T03:00:00Z",
            "2018-11-04T03:00:00Z",
        ),
        (
            "America/Sao_Paulo",
            Day,
            "2018-02-18T02:30:00Z",
            "2018-02-17T02:00:00Z",
            "2018-02-18T03:00:00Z",
        ),
        (
            "America/Sao_Paulo",
            Hour,
            "2018-02-18T02:30:00Z",
            "2018-02-18T02:00:00Z",
            "2018-02-18T03:00:00Z",
        ),
        (
            "America/Sao_Paulo",
            Month,
            "2018-11-04T12:00:00Z",
            "2018-11-01T03:00:00Z",
            "2018-12-01T02:00:00Z",
        ),
        (
            "Asia/Kathmandu",
            Hour,
            "2024-01-01T00:14:59Z",
            "2023-12-31T23:15:00Z",
            "2024-01-01T00:15:00Z",
        ),
        (
            "Asia/Kathmandu",
            Day,
            "2024-01-01T18:14:59Z",
            "2023-12-31T18:15:00Z",
            "2024-01-01T18:15:00Z",
        ),
        // In 1986 it went from 5:30 to 5:45.
        (
            "Asia/Kathmandu",
            Day,
            "1985-12-31T12:00:00Z",
            "1985-12-30T18:30:00Z",
            "1985-12-31T18:30:00Z",
        ),
        (
            "Asia/Kathmandu",
            Hour,
            "1985-12-31T18:35:00Z",
            "1985-12-31T18:30:00Z",
            "1985-12-31T19:15:00Z",
        ),
        // By half an hour.
        (
            "Australia/Lord_Howe",
            Hour,
            "2024-04-06T15:10:00Z",
            "2024-04-06T15:00:00Z",
            "2024-04-06T15:30:00Z",
        ),
        (
            "Australia/Lord_Howe",
            Hour,
            "2024-04-06T14:40:00Z",
            "2024-04-06T14:00:00Z",
            "2024-04-06T15:00:00Z",
        ),
        // A day that wasn't, and a midnight that was twice.
        (
            "Pacific/Apia",
            Day,
            "2011-12-30T12:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T10:00:00Z",
        ),
        (
            "Pacific/Apia",
            Day,
            "2011-12-30T09:59:59Z",
            "2011-12-29T10:00:00Z",
            "2011-12-30T10:00:00Z",
        ),
        (
            "America/St_Johns",
            Day,
            "2010-11-07T03:00:00Z",
            "2010-11-07T02:30:00Z",
            "2010-11-08T03:30:00Z",
        ),
    ] {
        let bucket = zone(name).bucket(interval, date(at));
        assert_eq!(bucket, date(from)..date(to), "{name} {interval:?} {at}");
    }
}

#[test]
fn at_the_ends_of_time() {
    for name in ["UTC", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia"] {
        for interval in [Interval::Hour, Interval::Day, Interval::Week, Interval::Month] {
            for millis in [i64::MIN, Date::MIN.millis(), Date::MAX.millis(), i64::MAX] {
                let at = Date::from_millis(millis);
                let bucket = zone(name).bucket(interval, at);
                assert!(bucket.contains(&clamped(at)), "{name} {interval:?} {at}");
                assert!(!zone(name).show(at).is_empty());
            }
        }
    }
}

#[test]
fn texts() {
    for (name, text, instant) in [
        ("UTC", "2024-07-04", "2024-07-04T00:00:00Z"),
        ("Europe/Zurich", "2024-07-04", "2024-07-03T22:00:00Z"),
        ("Europe/Zurich", "2024/07/04", "2024-07-03T22:00:00Z"),
        ("Europe/Zurich", "2024-07-04T12:08:56.235", "2024-07-04T10:08:56.235Z"),
        ("Europe/Zurich", "2024-01-04 12:08:56", "2024-01-04T11:08:56Z"),
        ("Europe/Zurich", "2024-07-04T12:08:56Z", "2024-07-04T12:08:56Z"),
        ("Europe/Zurich", "Thu, 04 Jul 2024 12:08:56 GMT", "2024-07-04T12:08:56Z"),
        ("Europe/Zurich", "2024-10-27T02:30:00", "2024-10-27T00:30:00Z"),
        ("Europe/Zurich", "2024-03-31T02:30:00", "2024-03-31T01:00:00Z"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),
    ] {
        assert_eq!(zone(name).parse(text), Some(date(instant)), "{name} {text}");
    }
    for text in
        ["", "x", "Z", "2024-13-01", "2024-07-04T12", "4 Jul 2024 12:08:56 ", "2024-07-04ZZ"]
    {
        assert_eq!(zone("Europe/Zurich").parse(text), None, "{text}");
    }
    for (name, instant, text) in [
        ("UTC", "2024-07-04T10:08:56.235Z", "2024-07-04T10:08:56.235Z"),
        ("Europe/Zurich", "2024-07-04T10:08:56.235Z", "2024-07-04T12:08:56.235+02:00"),
        ("Europe/Zurich", "2024-01-04", "2024-01-04T01:00:00.000+01:00"),
        ("Europe/London", "2024-01-04", "2024-01-04T00:00:00.000+00:00"),
        ("Asia/Kathmandu", "2024-01-04", "2024-01-04T05:45:00.000+05:45"),
        ("America/St_Johns", "2024-01-04", "2024-01-03T20:30:00.000-03:30"),
        ("Europe/Zurich", "1850-01-01", "1850-01-01T00:00:00.000Z"),
        ("Asia/Kathmandu", "9999-12-31T23:00:00Z", "9999-12-31T23:00:00.000Z"),
    ] {
        assert_eq!(zone(name).show(date(instant)), text, "{name}");
    }
}

fn zones() -> impl Strategy<Value = Zone> {
    let names = [
        "UTC",
        "Europe/Zurich",
        "America/Sao_Paulo",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "America/St_Johns",
        "Africa/Casablanca",
        "Europe/Dublin",
        "Asia/Tehran",
    ];
    prop::sample::select(names.map(zone).to_vec())
}

fn intervals() -> impl Strategy<Value = Interval> {
    prop::sample::select(vec![Interval::Hour, Interval::Day, Interval::Week, Interval::Month])
}

proptest! {
    #[test]
    fn buckets_follow_each_other(
        zone in zones(),
        interval in intervals(),
        // 1880 to 2100.
        at in -2_840_140_800_000_i64..4_102_444_800_000,
        count in 1..40,
    ) {
        let mut at = Date::from_millis(at);
        for _ in 0..count {
            let bucket = zone.bucket(interval, at);
            prop_assert!(bucket.contains(&at));
            let end = Date::from_millis(bucket.end.millis() - 1);
            prop_assert_eq!(&zone.bucket(interval, bucket.start), &bucket);
            prop_assert_eq!(&zone.bucket(interval, end), &bucket);
            at = bucket.end;
        }
    }

    #[test]
    fn what_is_shown_reads_back(zone in zones(), at in Date::MIN.millis()..=Date::MAX.millis()) {
        let at = Date::from_millis(at);
        prop_assert_eq!(zone.parse(&zone.show(at)), Some(at));
    }

    #[test]
    fn reading_never_panics(zone in zones(), text in "\\PC*|[0-9TZ:+/. -]{0,30}") {
        let _ = zone.parse(&text);
        let _ = zone.parse(&format!("2024-07-04{text}"));
    }

    /// Whole days and more begin as the clock shows a new day, or right where it was set.
    #[test]
    fn days_begin_at_midnight(zone in zones(), at in 0_i64..4_102_444_800_000) {
        let start = zone.bucket(Interval::Day, Date::from_millis(at)).start;
        let shown = zone.local(start).time();
        let before = zone.offset(Date::from_millis(start.millis() - HALF_HOUR));
        prop_assert!(shown == NaiveTime::MIN || before != zone.offset(start));
    }
}
