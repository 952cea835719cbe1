use askama::Template;
use proptest::prelude::*;

use super::*;
use crate::web::format::Locale;

fn format() -> Format {
    Format {
        locale: Locale::asked(Some("en-GB")),
        zone: Zone::UTC,
        now: date("2026-07-30T10:00:00Z"),
    }
}

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

fn points(interval: Interval, from: &str, values: &[&[f64]]) -> Vec<Point> {
    let mut from = date(from);
    let mut all = Vec::new();
    for values in values {
        all.push(Point { from, values: values.to_vec() });
        from = Zone::UTC.bucket(interval, from).end;
    }
    all
}

fn chart(points: &[Point], interval: Interval, series: &[&str]) -> Chart {
    let input = Input { title: "Events", series, points, interval, is_last_open: true };
    Chart::new(&input, &format())
}

#[test]
fn axes_have_round_numbers() {
    let cases: [(&[f64], &[&str]); 15] = [
        (&[], &["0", "1"]),
        (&[0.0], &["0", "1"]),
        (&[f64::NAN], &["0", "1"]),
        (&[1.0], &["0", "1"]),
        (&[3.0], &["0", "1", "2", "3"]),
        (&[4.0], &["0", "1", "2", "3", "4"]),
        (&[5.0], &["0", "2", "4", "6"]),
        (&[97.0], &["0", "50", "100"]),
        (&[1_234.0], &["0", "500", "1,000", "1,500"]),
        (&[38_000.0], &["0", "10k", "20k", "30k", "40k"]),
        (&[0.25], &["0.0", "0.1", "0.2", "0.3"]),
        (&[-3.0, 2.0], &["−4", "−2", "0", "2"]),
        (&[-5.0], &["−6", "−4", "−2", "0"]),
        (&[1.8e19], &["0", "5e18", "1e19", "1.5e19", "2e19"]),
        (&[3e-9], &["0", "1e-9", "2e-9", "3e-9"]),
    ];
    for (values, labels) in cases {
        let each: Vec<&[f64]> = values.chunks(1).collect();
        let points = points(Interval::Day, "2026-07-01", &each);
        let chart = chart(&points, Interval::Day, &["Events"]);
        let shown: Vec<&str> = chart.lines.iter().map(|line| line.label.as_str()).collect();
        assert_eq!(shown, labels, "{values:?}");
    }
}

#[test]
fn labels_stand_at_round_places() {
    let cases = [
        (
            Interval::Hour,
            "2026-07-04",
            24,
            "4 Jul 03:00 06:00 09:00 12:00 15:00 18:00 21:00",
            "4 Jul 12:00",
        ),
        (Interval::Hour, "2026-07-04", 49, "4 Jul 12:00 5 Jul 12:00 6 Jul", "4 Jul 5 Jul 6 Jul"),
        (Interval::Day, "2026-07-01", 1, "1 Jul", "1 Jul"),
        (
            Interval::Day,
            "2026-07-01",
            7,
            "1 Jul 2 Jul 3 Jul 4 Jul 5 Jul 6 Jul 7 Jul",
            "2 Jul 4 Jul 6 Jul",
        ),
        (Interval::Day, "2026-07-01", 30, "6 Jul 13 Jul 20 Jul 27 Jul", "6 Jul 20 Jul"),
        (Interval::Month, "2025-08-01", 12, "Sep Nov 2026 Mar May Jul", "2026 Jul"),
    ];
    for (interval, from, count, wide, narrow) in cases {
        let values: Vec<&[f64]> = vec![&[1.0]; count];
        let chart = chart(&points(interval, from, &values), interval, &["Events"]);
        let labels = |narrow_only: bool| {
            let some = chart.ticks.iter().filter(|tick| !narrow_only || !tick.is_wide);
            some.map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (labels(false).as_str(), labels(true).as_str()),
            (wide, narrow),
            "{count} {from}"
        );
    }
}

#[test]
fn few_points_are_bars_and_many_a_line() {
    for (count, is_bars) in [(1, true), (BARS_MAX, true), (BARS_MAX + 1, false)] {
        let values: Vec<&[f64]> = vec![&[2.0, 1.0]; count];
        let points = points(Interval::Day, "2026-01-01", &values);
        let chart = chart(&points, Interval::Day, &["Events", "Users"]);
        assert_eq!(chart.bars.len(), if is_bars { 2 * count } else { 0 });
        assert_eq!(chart.curves.len(), if is_bars { 0 } else { 2 });
        assert_eq!(chart.rows.len(), count);
        let open = chart.bars.iter().filter(|bar| bar.is_open).count();
        assert_eq!(open, if is_bars { 2 } else { 0 }, "the last one isn't over");
        assert!(chart.rows[count - 1].name.ends_with(", so far"));
    }
}

#[test]
fn a_line_leaves_out_what_is_no_number() {
    let mut values: Vec<&[f64]> = vec![&[1.0]; 60];
    for at in [10, 12] {
        values[at] = &[f64::NAN];
    }
    values[20] = &[];
    let chart = chart(&points(Interval::Day, "2026-01-01", &values), Interval::Day, &["Events"]);
    let curve = &chart.curves[0];
    assert_eq!(curve.line.matches('M').count(), 4, "{}", curve.line);
    assert!(curve.line.contains("h0"), "one alone is a dot");
    assert!(curve.open.starts_with('M'));
    assert_eq!(chart.rows[10].values, ["–"]);
}

#[test]
fn a_chart_of_nothing_says_so() {
    let chart = chart(&[], Interval::Day, &["Events"]);
    assert_eq!(chart.summary, "Nothing in this time.");
    assert!(
        chart.is_empty && chart.bars.is_empty() && chart.hits.is_empty() && chart.ticks.is_empty()
    );
}

#[test]
fn what_there_is_to_see_is_said() {
    let points = points(Interval::Day, "2026-07-28", &[&[3.0], &[1_200.0], &[5.0]]);
    let chart = chart(&points, Interval::Day, &["Events"]);
    let summary = "From Tue 28 Jul to Thu 30 Jul, so far. Events: at most 1,200 (Wed 29 Jul).";
    assert_eq!(chart.summary, summary);
    assert_eq!(chart.hits[1].title, "Wed 29 Jul\nEvents: 1,200");
}

#[test]
fn beginnings_are_without_gaps() {
    let zurich: Zone = "Europe/Zurich".parse().expect("a zone");
    let (from, to) = (date("2026-03-28T12:00:00Z"), date("2026-03-30T12:00:00Z"));
    let days: Vec<String> =
        beginnings(zurich, Interval::Day, from, to).into_iter().map(|at| zurich.show(at)).collect();
    let expected = [
        "2026-03-28T00:00:00.000+01:00",
        "2026-03-29T00:00:00.000+01:00",
        "2026-03-30T00:00:00.000+02:00",
    ];
    assert_eq!(days, expected);
    assert_eq!(beginnings(zurich, Interval::Hour, from, to).len(), 48);
    assert_eq!(beginnings(zurich, Interval::Day, to, from), []);
    let all = beginnings(zurich, Interval::Hour, Date::MIN, Date::MAX);
    assert_eq!(all.len(), POINTS_MAX);
    let none = beginnings(zurich, Interval::Month, Date::from_millis(i64::MIN), Date::MIN);
    assert!(none.len() < 2, "{none:?}");
}

#[test]
fn a_funnel_tells_who_went_no_further() {
    let funnel = Funnel::new(&[("visit", 1_000), ("<b>cart", 250), ("order", 0)], &format());
    let steps: Vec<_> = funnel
        .steps
        .iter()
        .map(|step| {
            (
                step.users.as_str(),
                step.share.as_str(),
                step.length,
                step.lost.as_str(),
                step.lost_share.as_str(),
            )
        })
        .collect();
    let expected = [
        ("1,000", "100%", 1_000, "", ""),
        ("250", "25.0%", 250, "750", "75.0%"),
        ("0", "0%", 0, "250", "100%"),
    ];
    assert_eq!(steps, expected);
    assert!(Funnel::new(&[], &format()).steps.is_empty());
}

#[test]
fn cells_are_classed_by_their_share() {
    let back = [100, 75, 50, 35, 20, 8, 7, 1, 0];
    let rows = [("May".to_owned(), 100, &back[..]), ("June".to_owned(), 0, &[0, 5][..])];
    let grid = Grid::new(&rows, &format());
    let classes: Vec<&str> = grid.rows[0].cells.iter().map(|cell| cell.class).collect();
    assert_eq!(classes, ["h6", "h6", "h5", "h4", "h3", "h2", "h1", "h1", "h0"]);
    assert_eq!(grid.columns.len(), 9);
    assert_eq!(grid.rows[1].cells[1].share, "–");
    assert_eq!(grid.rows[0].cells[3].title, "35 of 100");
}

#[derive(Template)]
#[template(
    source = "{% import \"charts.html\" as c %}{{ c::chart(chart) }}{{ c::spark(spark) }}",
    ext = "html"
)]
struct Drawn {
    chart: Chart,
    spark: Spark,
}

/// All numbers of a path.
fn numbers(path: &str) -> Vec<f64> {
    let pieces = path.split(|c: char| !matches!(c, '0'..='9' | '.' | '-' | 'e'));
    pieces.filter(|piece| !piece.is_empty()).map(|piece| piece.parse().expect(piece)).collect()
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0u32..2_000).prop_map(f64::from),
        2 => any::<f64>(),
        1 => -1e6f64..1e6,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::MIN_POSITIVE),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn everything_is_within_its_box(
        values in prop::collection::vec(prop::collection::vec(any_number(), 0..3), 0..1_000),
        from in -60_000_000_000_000i64..250_000_000_000_000,
        interval in prop_oneof![
            Just(Interval::Hour), Just(Interval::Day), Just(Interval::Week), Just(Interval::Month)
        ],
        is_last_open: bool,
    ) {
        // Without looking for buckets: about as long each.
        let size = match interval {
            Interval::Hour => 3_600_000,
            Interval::Day => 86_400_000,
            Interval::Week => 604_800_000,
            Interval::Month => 2_678_400_000i64,
        };
        let points: Vec<Point> = values
            .into_iter()
            .enumerate()
            .map(|(at, values)| Point { from: Date::from_millis(from + at as i64 * size), values })
            .collect();
        let input = Input {
            title: "t",
            series: &["Events", "Users", "More"],
            points: &points,
            interval,
            is_last_open,
        };
        let chart = Chart::new(&input, &format());

        prop_assert!((2..=8).contains(&chart.lines.len()), "{:?}", chart.lines);
        prop_assert!(chart.ticks.len() <= LABELS_MAX);
        prop_assert!(chart.bars.len() <= SERIES_MAX * BARS_MAX);
        prop_assert!(chart.curves.len() <= SERIES_MAX);
        prop_assert!(chart.hits.len() <= HITS_MAX);
        prop_assert!(chart.rows.len() <= POINTS_MAX);
        prop_assert!(chart.axis_width <= 16 * CHARACTER + 8);
        let percents = |text: &str| text.strip_suffix('%').expect("percent").parse::<f64>().expect("a number");
        let y = |text: &str| text.parse::<f64>().expect("a number");
        for line in &chart.lines {
            prop_assert!((TOP..=BOTTOM).contains(&y(&line.y)), "{line:?}");
        }
        for bar in &chart.bars {
            let right = percents(&bar.x) + percents(&bar.width);
            prop_assert!((0.0..=100.01).contains(&right), "{bar:?}");
            let (top, height) = (y(&bar.y), y(&bar.height));
            prop_assert!(height > 0.0 && top >= TOP - 2.0 && top + height <= BOTTOM + 2.0, "{bar:?}");
        }
        for tick in &chart.ticks {
            prop_assert!((0.0..=100.0).contains(&percents(&tick.x)), "{tick:?}");
        }
        for hit in &chart.hits {
            prop_assert!((0.0..=100.3).contains(&(percents(&hit.x) + percents(&hit.width))), "{hit:?}");
        }
        for curve in &chart.curves {
            for path in [&curve.line, &curve.area, &curve.open] {
                prop_assert!(!path.contains("NaN") && !path.contains("inf"));
                prop_assert!(numbers(path).iter().all(|number| (0.0..=1_000.0).contains(number)));
            }
        }
    }

    #[test]
    fn drawings_are_well_formed_whatever_things_are_called(
        names in prop::collection::vec("(.|[<>&\"']|\\PC){0,90}", 3),
        numbers in prop::collection::vec(any_number(), 0..60),
    ) {
        let each: Vec<Vec<f64>> = numbers.iter().map(|&number| vec![number, number]).collect();
        let each: Vec<&[f64]> = each.iter().map(Vec::as_slice).collect();
        let input = Input {
            title: &names[0],
            series: &[&names[1], &names[2]],
            points: &points(Interval::Day, "2026-01-01", &each),
            interval: Interval::Day,
            is_last_open: true,
        };
        let chart = Chart::new(&input, &format());
        let spark = Spark::new(&names[0], &[1, 2, 3]);
        let page = Drawn { chart, spark }.render().expect("it is drawn");
        let mut drawings = 0;
        for (at, _) in page.match_indices("<svg class=") {
            // The last of them that it may have within it isn't one of a class.
            let next = page[at + 1..].find("<svg class=").map_or(page.len(), |next| at + 1 + next);
            let end = page[at..next].rfind("</svg>").expect("an end") + at + "</svg>".len();
            let read = roxmltree::Document::parse(&page[at..end]);
            prop_assert!(read.is_ok(), "{:?}: {}", read, &page[at..end]);
            drawings += 1;
        }
        prop_assert_eq!(drawings, 3, "an axis, a chart, a spark");
    }

    #[test]
    fn sparks_are_within_their_box(counts in prop::collection::vec(any::<u64>(), 0..300)) {
        let spark = Spark::new("t", &counts);
        for path in [&spark.line, &spark.area] {
            prop_assert!(numbers(path).iter().all(|number| (0.0..=100.0).contains(number)));
            prop_assert!(path.matches('L').count() <= cells::SPARK_POINTS_MAX + 1);
        }
    }
}
