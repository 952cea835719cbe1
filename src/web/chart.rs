//! Charts, as geometry that `templates/charts.html` draws in SVG: no script, no colour, no style but by class.
//!
//! Promises that every coordinate is finite and within its box, whatever the numbers are, that labels don't
//! collide, and that a chart has at most [`POINTS_MAX`] points. Widths are in percent of the chart's, or in thousandths
//! of it where SVG has no percent (in paths), heights in pixels: so texts and lines are as thick on a phone as
//! on a wide screen.

mod cells;
mod scale;
#[cfg(test)]
mod tests;

use super::format::{Format, NOTHING};
use super::parts::cut;
use crate::model::Date;
use crate::schema::{Interval, Zone};

pub use cells::{Funnel, FunnelStep, Grid, GridCell, GridRow, Spark};
use scale::Scale;

/// Points of a chart; of more, the newest are drawn.
pub const POINTS_MAX: usize = 800;

/// Points that can be pointed at, to read their numbers; of more, only the table has them.
pub const HITS_MAX: usize = 200;

/// Series of a chart.
pub const SERIES_MAX: usize = 2;

/// Points that are bars; more are a line.
pub const BARS_MAX: usize = 40;

/// Height of the drawing, with its labels.
pub const HEIGHT: f64 = 232.0;

/// Where the greatest value is.
const TOP: f64 = 12.0;

/// Where the least value, or nothing, is.
const BOTTOM: f64 = 204.0;

/// Labels of points on a wide screen, and on a narrow one.
const LABELS_MAX: usize = 8;
const LABELS_NARROW_MAX: usize = 3;

/// Characters of names, which stand at each point.
const NAME_CHARS_MAX: usize = 60;

/// Pixels that a character of a label takes, at the most.
const CHARACTER: usize = 8;

/// What happened in an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When it begins.
    pub from: Date,
    /// A number for each series; what is no number is left out.
    pub values: Vec<f64>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// What the chart shows, as `Events and users`.
    pub title: &'a str,
    /// What is counted, at most [`SERIES_MAX`].
    pub series: &'a [&'a str],
    /// By time, without gaps.
    pub points: &'a [Point],
    /// How long each is.
    pub interval: Interval,
    /// Whether the last one isn't over.
    pub is_last_open: bool,
}

/// A chart of numbers over time.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// A sentence with what there is to see.
    pub summary: String,
    /// Names of the series.
    pub series: Vec<String>,
    /// Pixels of the labels at the left.
    pub axis_width: usize,
    /// Whether there is nothing but zeros.
    pub is_empty: bool,
    /// Lines across.
    pub lines: Vec<Line>,
    /// Where nothing is.
    pub base: String,
    /// Labels of points.
    pub ticks: Vec<Tick>,
    /// If the points are few.
    pub bars: Vec<Column>,
    /// If they are many.
    pub curves: Vec<Curve>,
    /// What can be pointed at.
    pub hits: Vec<Hit>,
    /// The numbers.
    pub rows: Vec<NumberRow>,
}

/// A line across, for a round number.
#[derive(Clone, Debug)]
pub struct Line {
    /// Pixels from above.
    pub y: String,
    /// The number.
    pub label: String,
}

/// The label of a point.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Percent from the left.
    pub x: String,
    /// The text.
    pub label: String,
    /// `middle` or `end`: which part of the text is there.
    pub anchor: &'static str,
    /// Whether there is only room for it on a wide screen.
    pub is_wide: bool,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Column {
    /// Percent from the left.
    pub x: String,
    /// Percent.
    pub width: String,
    /// Pixels from above.
    pub y: String,
    /// Pixels.
    pub height: String,
    /// Which series, from 1.
    pub series: usize,
    /// Whether its interval isn't over.
    pub is_open: bool,
}

/// The line of a series, in thousandths of the width.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The line, of what is over.
    pub line: String,
    /// What is beneath it, down to nothing; of the first series only.
    pub area: String,
    /// The line to the point that isn't over.
    pub open: String,
    /// Which series, from 1.
    pub series: usize,
}

/// Where a point can be pointed at.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Percent from the left.
    pub x: String,
    /// Percent.
    pub width: String,
    /// What is read there.
    pub title: String,
}

/// Numbers of a point.
#[derive(Clone, Debug)]
pub struct NumberRow {
    /// The point.
    pub name: String,
    /// For each series.
    pub values: Vec<String>,
}

/// When the intervals begin that lie at least partly in a time; of more than [`POINTS_MAX`], the newest.
#[must_use]
pub fn beginnings(zone: Zone, interval: Interval, from: Date, to: Date) -> Vec<Date> {
    let mut all = Vec::new();
    let mut end = to;
    while end > from && all.len() < POINTS_MAX {
        let bucket = zone.bucket(interval, Date::from_millis(end.millis() - 1));
        // Out of the calendar there is no bucket before.
        if bucket.start >= end {
            break;
        }
        all.push(bucket.start);
        end = bucket.start;
    }
    all.reverse();
    all
}

impl Chart {
    /// Draws numbers over time.
    #[must_use]
    pub fn new(input: &Input<'_>, format: &Format) -> Chart {
        let points = &input.points[input.points.len().saturating_sub(POINTS_MAX)..];
        let count = input.series.len().min(SERIES_MAX);
        let values = |at: usize| points.iter().map(move |point| value(point, at));
        let all = (0..count).flat_map(values).flatten();
        let scale = Scale::new(all, BOTTOM, TOP);
        let label = |number: f64| scale.label(number, format);
        let lines: Vec<Line> = scale
            .ticks()
            .into_iter()
            .map(|number| Line { y: pixels(scale.y(number)), label: label(number) })
            .collect();
        let longest = lines.iter().map(|line| line.label.chars().count()).max().unwrap_or(0);
        let mut chart = Chart {
            title: cut(input.title, NAME_CHARS_MAX).into_owned(),
            series: input
                .series
                .iter()
                .take(count)
                .map(|name| cut(name, NAME_CHARS_MAX).into_owned())
                .collect(),
            is_empty: (0..count).flat_map(values).flatten().all(|number| number == 0.0),
            axis_width: longest.min(16) * CHARACTER + 8,
            lines,
            base: pixels(scale.y(0.0)),
            ..Chart::default()
        };
        let open_from = points.len() - usize::from(input.is_last_open && !points.is_empty());
        if points.len() <= BARS_MAX {
            chart.bars = bars(points, count, open_from, &scale);
        } else {
            chart.curves = (0..count).map(|at| curve(points, at, open_from, &scale)).collect();
        }
        chart.ticks = ticks(points, input.interval, format);
        let shown = |point: &Point, is_open: bool| {
            let mut name = format.bucket(input.interval, point.from);
            if is_open {
                name += ", so far";
            }
            let values = (0..count).map(|at| number(value(point, at), format)).collect();
            NumberRow { name, values }
        };
        chart.rows =
            points.iter().enumerate().map(|(at, point)| shown(point, at >= open_from)).collect();
        if points.len() <= HITS_MAX {
            let width = 100.0 / points.len().max(1) as f64;
            let hit = |(at, row): (usize, &NumberRow)| {
                let of = row.values.iter().zip(&chart.series);
                let numbers: Vec<String> =
                    of.map(|(value, name)| format!("{name}: {value}")).collect();
                Hit {
                    x: percent(at as f64 * width),
                    width: percent(width),
                    title: format!("{}\n{}", row.name, numbers.join("\n")),
                }
            };
            chart.hits = chart.rows.iter().enumerate().map(hit).collect();
        }
        chart.summary = summary(points, &chart, format);
        chart
    }
}

/// The number of a point, if it has one; what is too large to be drawn is the largest that can be.
fn value(point: &Point, series: usize) -> Option<f64> {
    const LARGEST: f64 = 1e100;
    let number = point.values.get(series).copied().filter(|number| !number.is_nan())?;
    Some(number.clamp(-LARGEST, LARGEST))
}

/// A number as the table has it.
fn number(number: Option<f64>, format: &Format) -> String {
    match number {
        None => NOTHING.to_owned(),
        Some(number) => format.decimal(number, if number.fract() == 0.0 { 0 } else { 2 }),
    }
}

fn bars(points: &[Point], count: usize, open_from: usize, scale: &Scale) -> Vec<Column> {
    let slot = 100.0 / points.len().max(1) as f64;
    // A few points shouldn't be walls.
    let group = (slot * 0.74).min(9.0);
    let width = group / count.max(1) as f64;
    let mut all = Vec::new();
    for (at, point) in points.iter().enumerate() {
        for series in 0..count {
            let Some(number) = value(point, series).filter(|number| *number != 0.0) else {
                continue;
            };
            let (end, base) = (scale.y(number), scale.y(0.0));
            // What is there is seen.
            let height = (end - base).abs().max(1.5);
            let y = if number > 0.0 { base - height } else { base };
            let left = (at as f64 + 0.5) * slot - group / 2.0 + series as f64 * width;
            all.push(Column {
                x: percent(left),
                width: percent(width * 0.92),
                y: pixels(y),
                height: pixels(height),
                series: series + 1,
                is_open: at >= open_from,
            });
        }
    }
    all
}

fn curve(points: &[Point], series: usize, open_from: usize, scale: &Scale) -> Curve {
    let x = |at: usize| (at as f64 + 0.5) * 1_000.0 / points.len().max(1) as f64;
    let mut curve =
        Curve { line: String::new(), area: String::new(), open: String::new(), series: series + 1 };
    let base = pixels(scale.y(0.0));
    let mut run: Vec<(String, String)> = Vec::new();
    let mut last = None;
    for (at, point) in points.iter().enumerate() {
        let here = value(point, series).map(|number| (pixels(x(at)), pixels(scale.y(number))));
        if at >= open_from {
            if let (Some((x0, y0)), Some((x1, y1))) = (&last, &here) {
                curve.open = format!("M{x0} {y0}L{x1} {y1}");
            }
            break;
        }
        match &here {
            Some(spot) => run.push(spot.clone()),
            None => flush(&mut run, &mut curve, &base, series == 0),
        }
        last = here;
    }
    flush(&mut run, &mut curve, &base, series == 0);
    curve
}

/// Draws points that follow each other; one alone is a dot, by its round end.
fn flush(run: &mut Vec<(String, String)>, curve: &mut Curve, base: &str, with_area: bool) {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
    let spots: Vec<String> = run.iter().map(|(x, y)| format!("{x} {y}")).collect();
    let path = spots.join("L");
    curve.line += &format!("M{path}");
    if run.len() == 1 {
        curve.line += "h0";
    }
    if with_area {
        curve.area += &format!("M{} {base}L{path}L{} {base}Z", first.0, last.0);
    }
    run.clear();
}

/// Labels that don't collide: at round places, as many as there is room for.
fn ticks(points: &[Point], interval: Interval, format: &Format) -> Vec<Tick> {
    let phases: Vec<i64> =
        points.iter().map(|point| scale::phase(interval, format.zone.clock(point.from))).collect();
    let wide = scale::every(interval, &phases, 1, LABELS_MAX);
    let narrow = scale::every(interval, &phases, wide, LABELS_NARROW_MAX);
    let slot = 100.0 / points.len().max(1) as f64;
    let some = points.iter().zip(&phases).enumerate().filter(|(_, (_, phase))| *phase % wide == 0);
    let mut ticks: Vec<Tick> = some
        .map(|(at, (point, phase))| {
            let x = (at as f64 + 0.5) * slot;
            // At the left there is the axis for it to reach into; at the right there is nothing.
            let is_last = x > 94.0;
            Tick {
                x: percent(if is_last { (at as f64 + 1.0) * slot } else { x }),
                label: format.tick(interval, point.from),
                anchor: if is_last { "end" } else { "middle" },
                is_wide: phase % narrow != 0,
            }
        })
        .collect();
    if let Some(first) =
        ticks.first_mut().filter(|_| phases.iter().all(|phase| phase % narrow != 0))
    {
        first.is_wide = false;
    }
    ticks
}

/// As `Events: 1,234 in all, at most 120 (Sat 4 Jul).`
fn summary(points: &[Point], chart: &Chart, format: &Format) -> String {
    let (Some(first), Some(last)) = (chart.rows.first(), chart.rows.last()) else {
        return "Nothing in this time.".to_owned();
    };
    let mut text = format!("From {} to {}.", first.name, last.name);
    for (series, name) in chart.series.iter().enumerate() {
        let numbers =
            points.iter().enumerate().filter_map(|(at, point)| Some((at, value(point, series)?)));
        // Of equals the earlier.
        let most = numbers.reduce(|most, one| if one.1 > most.1 { one } else { most });
        if let Some((at, most)) = most {
            let most = number(Some(most), format);
            text += &format!(" {name}: at most {most} ({}).", chart.rows[at].name);
        }
    }
    text
}

fn percent(number: f64) -> String {
    format!("{}%", short(number.clamp(0.0, 100.0), 3))
}

fn pixels(number: f64) -> String {
    short(number, 1)
}

/// Without zeros that say nothing.
fn short(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
