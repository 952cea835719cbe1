use proptest::prelude::*;

use super::*;

fn format(language: &str, zone: &str) -> Format {
    Format {
        locale: Locale::asked(Some(language)),
        zone: zone.parse().expect("a zone"),
        now: date("2026-07-10T10:00:00Z"),
    }
}

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

#[test]
fn places_write_differently() {
    // A number, with a fraction, a day, without its year, a time of day.
    let cases = [
        ("en-US", "1,234,567", "9,876.50", "Jul 4, 2026", "Jul 4", "2:05\u{a0}PM"),
        ("en-GB", "1,234,567", "9,876.50", "4 Jul 2026", "4 Jul", "14:05"),
        ("en-CA", "1,234,567", "9,876.50", "2026-07-04", "4 Jul", "2:05\u{a0}PM"),
        ("en-IN", "12,34,567", "9,876.50", "4 Jul 2026", "4 Jul", "2:05\u{a0}PM"),
        (
            "hi",
            "12,34,567",
            "9,876.50",
            "4 ज\u{941}ल॰ 2026",
            "4 ज\u{941}ल॰",
            "2:05\u{a0}अपराह\u{94d}न",
        ),
        ("de", "1.234.567", "9.876,50", "4. Jul 2026", "4. Jul", "14:05"),
        ("de-CH", "1’234’567", "9’876.50", "4. Jul 2026", "4. Jul", "14:05"),
        ("fr", "1\u{202f}234\u{202f}567", "9\u{202f}876,50", "4 juil. 2026", "4 juil.", "14:05"),
        ("sv", "1\u{202f}234\u{202f}567", "9\u{202f}876,50", "2026-07-04", "4 jul", "14:05"),
        ("fi", "1\u{202f}234\u{202f}567", "9\u{202f}876,50", "4. heinä 2026", "4. heinä", "14.05"),
        ("pt-BR", "1.234.567", "9.876,50", "4 jul 2026", "4 jul", "14:05"),
        ("pt-PT", "1\u{202f}234\u{202f}567", "9\u{202f}876,50", "4 jul 2026", "4 jul", "14:05"),
        ("es", "1.234.567", "9.876,50", "4 jul 2026", "4 jul", "14:05"),
        ("ru", "1\u{202f}234\u{202f}567", "9\u{202f}876,50", "4 июл 2026", "4 июл", "14:05"),
        ("ar", "1,234,567", "9,876.50", "4 يول 2026", "4 يول", "2:05\u{a0}م"),
        ("fa", "1,234,567", "9,876.50", "2026-07-04", "4 ژوئیه", "14:05"),
        ("ja", "1,234,567", "9,876.50", "2026年7月4日", "7月4日", "14:05"),
        ("zh-TW", "1,234,567", "9,876.50", "2026年7月4日", "7月4日", "14:05"),
        ("ko", "1,234,567", "9,876.50", "2026년 7월 4일", "7월 4일", "14:05"),
    ];
    let at = date("2026-07-04T14:05:56Z");
    for (language, number, fraction, day, short, hour) in cases {
        let format = format(language, "UTC");
        assert_eq!(format.count(1_234_567), number, "{language}");
        assert_eq!(format.decimal(9_876.5, 2), fraction, "{language}");
        assert_eq!(format.day(at), day, "{language}");
        assert_eq!(format.short_day(at), short, "{language}");
        assert_eq!(format.hour(at), hour, "{language}");
    }
}

#[test]
fn a_header_is_a_wish() {
    let long = format!("{}de", "xx-XX,".repeat(100));
    let cut = "é".repeat(HEADER_BYTES_MAX);
    let cases = [
        (None, "en_GB"),
        (Some(""), "en_GB"),
        (Some("*"), "en_GB"),
        (Some("tlh, xx-YY"), "en_GB"),
        (Some(&*long), "en_GB"),
        (Some(&*cut), "en_GB"),
        (Some("en"), "en_US"),
        (Some("en-US,en;q=0.9"), "en_US"),
        (Some("EN-gb"), "en_GB"),
        (Some("de-CH, fr;q=0.8, en;q=0.7"), "de_CH"),
        (Some("fr;q=0.3, de;q=0.9"), "de_DE"),
        (Some("fr; q=0.8 ,it;q=0.8"), "fr_FR"),
        (Some("da;q=0, sv;q=0.1"), "sv_SE"),
        (Some("da;q=NaN, sv;q=7, nb;q=-1, fi;q=inf"), "en_GB"),
        (Some("zz, ja;q=0.5"), "ja_JP"),
        (Some("de-1996-AT"), "de_AT"),
        (Some("de-LI"), "de_LI"),
        (Some("zh-Hant"), "zh_TW"),
        (Some("zh-Hant-HK"), "zh_HK"),
        (Some("zh-Hans"), "zh_CN"),
        (Some("fr-XX"), "fr_FR"),
        (Some("../../etc/passwd"), "en_GB"),
    ];
    for (header, name) in cases {
        assert_eq!(Locale::asked(header).name(), name, "{header:?}");
    }
}

#[test]
fn large_numbers_are_short() {
    let cases = [
        (0, "0"),
        (999, "999"),
        (9_999, "9,999"),
        (10_000, "10k"),
        (12_345, "12.3k"),
        (123_456, "123k"),
        (999_999, "999k"),
        (1_000_000, "1M"),
        (1_050_000, "1.05M"),
        (45_600_000_000, "45.6B"),
        (u64::MAX, "18.4Qi"),
    ];
    for (number, text) in cases {
        assert_eq!(format("en-GB", "UTC").compact(number), text);
    }
    assert_eq!(format("de", "UTC").compact(12_345), "12,3k");
    let cases = [(0, "0\u{a0}B"), (1_500, "1.5\u{a0}kB"), (u64::MAX, "18.4\u{a0}EB")];
    for (number, text) in cases {
        assert_eq!(format("en-GB", "UTC").bytes(number), text);
    }
}

#[test]
fn a_share_is_never_rounded_to_none_or_all() {
    let cases = [
        (0, 0, "–"),
        (0, 10, "0%"),
        (10, 10, "100%"),
        (1, 3, "33.3%"),
        (1, 1_000_000, "<0.1%"),
        (999_999, 1_000_000, ">99.9%"),
        (u64::MAX, u64::MAX, "100%"),
    ];
    for (part, whole, text) in cases {
        let shown = format("en-GB", "UTC").share(part, whole);
        assert_eq!(shown, text, "{part} of {whole}");
    }
    assert_eq!(format("fr", "UTC").share(1, 3), "33,3%");
}

#[test]
fn a_change_says_which_way() {
    let cases = [
        (0, 0, "", Trend::Level),
        (5, 0, "new", Trend::Up),
        (0, 5, "−100%", Trend::Down),
        (5, 5, "±0%", Trend::Level),
        (1_186, 1_000, "+18.6%", Trend::Up),
        (10_001, 10_000, "+<0.1%", Trend::Up),
        (109, 10, "+990.0%", Trend::Up),
        (120, 10, "×12", Trend::Up),
        (u64::MAX, 1, "×18.4Qi", Trend::Up),
    ];
    for (now, before, text, trend) in cases {
        let change = format("en-GB", "UTC").change(now, before);
        assert_eq!((change.text.as_str(), change.trend), (text, trend), "{now} after {before}");
    }
}

#[test]
fn the_clock_is_that_of_the_zone() {
    // Zurich's is set forward on 29 March and back on 25 October 2026; Lord Howe's by half an hour.
    let cases = [
        ("Europe/Zurich", "2026-03-29T00:59:59Z", "29 Mar 2026, 01:59:59"),
        ("Europe/Zurich", "2026-03-29T01:00:00Z", "29 Mar 2026, 03:00:00"),
        ("Europe/Zurich", "2026-10-25T00:30:00Z", "25 Oct 2026, 02:30:00"),
        ("Europe/Zurich", "2026-10-25T01:30:00Z", "25 Oct 2026, 02:30:00"),
        ("Australia/Lord_Howe", "2026-07-04T13:45:00Z", "5 Jul 2026, 00:15:00"),
        ("America/New_York", "2026-11-01T06:30:00Z", "1 Nov 2026, 01:30:00"),
        ("Asia/Kolkata", "2026-12-31T20:00:00Z", "1 Jan 2027, 01:30:00"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "31 Dec 2011, 00:00:00"),
    ];
    for (zone, at, text) in cases {
        let moment = format("en-GB", zone).exactly(date(at));
        assert_eq!(moment.text, text, "{zone} {at}");
        assert_eq!(Date::parse(&moment.datetime), Some(date(at)), "{}", moment.datetime);
    }
}

#[test]
fn moments_are_as_long_as_they_must_be() {
    let format = format("en-GB", "Europe/Zurich");
    let at = format.at(date("2026-07-04T12:05:56Z"));
    assert_eq!(at.text, "4 Jul, 14:05");
    assert_eq!(at.datetime, "2026-07-04T14:05:56.000+02:00");
    assert_eq!(at.title, "Sat 4 Jul 2026, 14:05:56 (Europe/Zurich)");
    assert_eq!(at.language, "en");
    assert_eq!(format.at(date("2025-12-31T23:30:00Z")).text, "1 Jan, 00:30");
    assert_eq!(format.at(date("2025-12-31T22:30:00Z")).text, "31 Dec 2025, 23:30");

    let cases = [
        ("2026-07-10T10:00:00Z", "just now"),
        ("2026-07-10T09:59:50Z", "10\u{a0}s ago"),
        ("2026-07-10T09:57:00Z", "3\u{a0}min ago"),
        ("2026-07-10T05:00:00Z", "5\u{a0}h ago"),
        ("2026-07-09T09:00:00Z", "1\u{a0}day ago"),
        ("2026-07-04T09:00:00Z", "6\u{a0}days ago"),
        ("2026-07-03T09:00:00Z", "3 Jul 2026"),
        ("2026-07-10T12:00:00Z", "in 2\u{a0}h"),
        ("9999-12-31T22:59:59Z", "31 Dec 9999"),
    ];
    for (at, text) in cases {
        assert_eq!(format.ago(date(at)).text, text, "{at}");
    }
}

#[test]
fn buckets_are_named_by_their_interval() {
    let cases = [
        ("en-GB", Interval::Hour, "4 Jul, 14:00", "14:00"),
        ("en-GB", Interval::Day, "Sat 4 Jul", "4 Jul"),
        ("en-GB", Interval::Week, "week of 4 Jul", "4 Jul"),
        ("en-GB", Interval::Month, "Jul 2026", "Jul"),
        ("en-US", Interval::Day, "Sat, Jul 4", "Jul 4"),
        ("ja", Interval::Day, "7月4日 (土)", "7月4日"),
        ("ja", Interval::Month, "2026年7月", "7月"),
        ("ko", Interval::Month, "2026년 7월", "7월"),
    ];
    for (language, interval, name, tick) in cases {
        let format = format(language, "UTC");
        let from = date("2026-07-04T14:00:00Z");
        assert_eq!(format.bucket(interval, from), name, "{language}");
        assert_eq!(format.tick(interval, from), tick, "{language}");
    }
    let format = format("en-GB", "UTC");
    assert_eq!(format.tick(Interval::Hour, date("2026-07-04T00:00:00Z")), "4 Jul");
    assert_eq!(format.tick(Interval::Month, date("2026-01-01T00:00:00Z")), "2026");
}

#[test]
fn durations_have_two_units_at_most() {
    let cases = [
        (0, "0 ms"),
        (350, "350 ms"),
        (12_345, "12 s"),
        (60_000, "1 min"),
        (125_000, "2 min 5 s"),
        (7_500_000, "2 h 5 min"),
        (86_400_000, "1 day"),
        (u64::MAX, "213503982334 days"),
    ];
    for (millis, text) in cases {
        assert_eq!(duration(millis).replace('\u{a0}', " "), text);
    }
}

proptest! {
    #[test]
    fn any_header_number_and_instant_can_be_shown(
        header in ".{0,80}", number: u64, float: f64, digits in 0usize..40, millis: i64,
    ) {
        let format = Format {
            locale: Locale::asked(Some(&header)),
            zone: "America/St_Johns".parse().expect("a zone"),
            now: Date::from_millis(millis.wrapping_mul(31)),
        };
        let at = Date::from_millis(millis);
        for text in [
            format.count(number),
            format.compact(number),
            format.bytes(number),
            format.decimal(float, digits),
            format.change(number, number.rotate_left(9)).text,
            format.at(at).title,
            format.ago(at).text,
            format.bucket(Interval::Week, at),
        ] {
            prop_assert!(text.chars().count() < 80, "{}", text);
        }
        let digits: String = format.count(number).chars().filter(char::is_ascii_digit).collect();
        prop_assert_eq!(digits, number.to_string());
    }

    #[test]
    fn every_language_tag_is_a_locale(language in "[a-z]{2,3}", place in "[A-Z]{2}") {
        let locale = Locale::asked(Some(&format!("{language}-{place}")));
        prop_assert!((0..12).all(|at| !locale.month(at).is_empty()));
        prop_assert!((0..7).all(|at| !locale.weekday(at).is_empty()));
    }
}
