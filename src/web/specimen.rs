//! One page with all that `macros.html` and `charts.html` have, of hostile text, and what must hold of all templates.

use std::fs;
use std::path::Path;

use askama::Template;

use super::chart::{Chart, Funnel, Grid, Input, Point, Spark, beginnings};
use super::format::{Format, Locale};
use super::frame::{AccountLink, Frame, Notice, Person, Section};
use super::parts::{Bar, Choice, Moment, Stat, Tab, Trend};
use crate::model::Date;
use crate::schema::Interval;

#[derive(Template)]
#[template(path = "specimen.html")]
struct Specimen {
    frame: Frame,
    hostile: Vec<String>,
    stats: Vec<Stat>,
    bars: Vec<Bar>,
    choices: Vec<Choice>,
    tabs: Vec<Tab>,
    moment: Moment,
    charts: Vec<Chart>,
    spark: Spark,
    funnel: Funnel,
    grid: Grid,
}

/// What outsiders may send.
fn hostile() -> Vec<String> {
    let some = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "</title><h1>out",
        "{{ frame.title }}",
        "=HYPERLINK(\"http://example.com\")",
        "\u{202e}drawkcab \u{2066}isolated",
        "مرحبا بالعالم",
        "日本語のとても長い文字列",
        "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}",
    ];
    let mut all: Vec<String> = some.iter().map(|&text| text.to_owned()).collect();
    all.push("W".repeat(65_536));
    all
}

fn frame() -> Frame {
    let link = |id, name: &str, section| AccountLink { id, name: name.to_owned(), section };
    Frame {
        base: ".".to_owned(),
        title: "Specimen".to_owned(),
        css: "app.css",
        js: "app.js",
        icon: "icon.svg",
        person: Some(Person {
            email: "ada@example.com".to_owned(),
            csrf: "0123456789abcdef".to_owned(),
            accounts: vec![
                link(1, "default", Section::Overview),
                link(2, &hostile()[0], Section::Overview),
                link(3, &hostile()[10], Section::Overview),
            ],
        }),
        account: Some(link(1, "default", Section::Events)),
        notice: Some(Notice {
            is_error: false,
            text: "The time zone is Europe/Zurich.".to_owned(),
        }),
        zone: Some("Europe/Zurich".to_owned()),
    }
}

fn format() -> Format {
    let zone = "Europe/Zurich".parse().expect("a zone");
    Format { locale: Locale::asked(Some("de-CH")), zone, now: date("2026-07-30T12:00:00Z") }
}

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

/// Numbers as a site has them, by week.
fn wave(at: usize, size: usize) -> f64 {
    let weekday = if at % 7 > 4 { 0.45 } else { 1.0 };
    (size as f64 * weekday * (1.0 + 0.3 * (at as f64 * 0.9).sin() + at as f64 * 0.01)).round()
}

fn charts() -> Vec<Chart> {
    let of = |title: &str, series: &[&str], interval, from, size| {
        let from = date(from);
        let points: Vec<Point> = beginnings(format().zone, interval, from, format().now)
            .into_iter()
            .enumerate()
            .map(|(at, from)| Point { from, values: vec![wave(at, size), wave(at + 2, size / 3)] })
            .collect();
        let input = Input { title, series, points: &points, interval, is_last_open: true };
        Chart::new(&input, &format())
    };
    let both = ["Events", "Users"];
    let hostile = hostile();
    vec![
        of("Thirty days", &both, Interval::Day, "2026-07-01", 1_400),
        of("Ninety days", &both, Interval::Day, "2026-05-01", 23_000),
        of("Twelve hours", &["Events"], Interval::Hour, "2026-07-30T00:00:00Z", 3),
        of("One month", &["Events"], Interval::Month, "2026-07-02", 9),
        of("Nothing", &["Events"], Interval::Day, "2026-07-24", 0),
        of(&hostile[0], &[&hostile[1], &hostile[10]], Interval::Week, "2026-05-01", 12),
    ]
}

fn grid() -> Grid {
    let back: Vec<u64> = (0..10).map(|at| 900 / (1 + at * at)).collect();
    let rows: Vec<(String, u64, &[u64])> = (0..10)
        .map(|at| {
            let from = Date::from_millis(date("2026-05-04").millis() + at as i64 * 604_800_000);
            (format().day(from), 1_000, &back[..10 - at])
        })
        .collect();
    Grid::new(&rows, &format())
}

fn specimen() -> String {
    let stat = |label: &str, value: &str, change: &str, trend| Stat {
        label: label.to_owned(),
        value: value.to_owned(),
        exact: "12,345 in all".to_owned(),
        change: change.to_owned(),
        trend,
        before: "against 10,410 the week before".to_owned(),
    };
    let bar = |label: &str, value: u64| Bar {
        label: label.to_owned(),
        href: if value == 70 { String::new() } else { "#".to_owned() },
        value: value.to_string(),
        share: format!("{}%", value / 4),
        length: Bar::length(value, 345),
    };
    let tab =
        |label: &str, is_current| Tab { href: "#".to_owned(), label: label.to_owned(), is_current };
    let mut bars = vec![bar("/", 345), bar("/pricing", 210), bar("/docs/a?b=c", 70)];
    bars.extend(hostile().iter().map(|text| bar(text, 12)));
    let page = Specimen {
        frame: frame(),
        hostile: hostile(),
        stats: vec![
            stat("Events", "12.3k", "+18.6%", Trend::Up),
            stat("Users", "1,204", "-4.1%", Trend::Down),
            stat("Visitors", "3,961", "", Trend::Level),
            stat("Events each user", "10.2", "0%", Trend::Level),
        ],
        bars,
        choices: Choice::of(
            &[("", "all types"), ("signup", "signup"), ("order", &hostile()[10])],
            "signup",
        ),
        tabs: vec![tab("List", true), tab("Breakdown", false), tab(&hostile()[10], false)],
        moment: format().ago(date("2026-07-30T11:57:00Z")),
        charts: charts(),
        spark: Spark::new(
            "Events of 30 days",
            &(0..30).map(|at| wave(at, 40) as u64).collect::<Vec<_>>(),
        ),
        funnel: Funnel::new(
            &[("visit", 4_120), ("signup", 1_204), (&hostile()[10], 377)],
            &format(),
        ),
        grid: grid(),
    };
    page.render().expect("it is made")
}

#[test]
fn nothing_that_comes_from_outside_is_more_than_text() {
    let page = specimen();
    for bad in ["<script>alert", "<img", "href=\"javascript:", "<h1>out"] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("&#60;script&#62;alert(1)"), "the text itself is there");
}

#[test]
fn pages_keep_to_the_policy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/templates");
    let mut seen = 0;
    for file in fs::read_dir(folder).expect("templates").flatten() {
        let text = fs::read_to_string(file.path()).expect("text");
        for bad in ["style=", "<style", "|safe", "| safe", "javascript:", " onclick", " onchange"] {
            assert!(!text.contains(bad), "{bad} in {}", file.path().display());
        }
        let scripts = text.matches("<script").count();
        assert_eq!(scripts, text.matches("<script src=").count(), "{}", file.path().display());
        seen += 1;
    }
    assert!(seen >= 4, "{seen} templates");
}

#[test]
fn a_form_names_each_field_once() {
    let page = specimen();
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|t| t.split('"').next()).collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "{ids:?}");
    for of in page.split(" for=\"").skip(1).filter_map(|t| t.split('"').next()) {
        assert!(ids.contains(&of), "a label of {of}");
    }
}
