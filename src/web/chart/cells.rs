//! Small drawings: a line in a cell, the steps of a funnel, the cells of coming back.

use super::{SERIES_MAX, Scale, pixels};
use crate::web::format::Format;
use crate::web::parts::{Bar, LISTED_CHARS_MAX, cut};

/// Points of a line in a cell; of more, the newest are drawn.
pub const SPARK_POINTS_MAX: usize = 120;

/// Rows and columns of a grid, each.
pub const GRID_MAX: usize = 101;

const _: () = assert!(SERIES_MAX < GRID_MAX);

/// A line in a cell, 100 wide and 24 high.
#[derive(Clone, Debug, Default)]
pub struct Spark {
    /// What it shows, in words.
    pub title: String,
    /// The line.
    pub line: String,
    /// What is beneath it.
    pub area: String,
}

impl Spark {
    /// Draws counts of intervals that follow each other.
    #[must_use]
    pub fn new(title: &str, counts: &[u64]) -> Spark {
        let counts = &counts[counts.len().saturating_sub(SPARK_POINTS_MAX)..];
        let scale = Scale::new(counts.iter().map(|&count| count as f64), 22.5, 1.5);
        let spots: Vec<String> = counts
            .iter()
            .enumerate()
            .map(|(at, &count)| {
                let x = (at as f64 + 0.5) * 100.0 / counts.len() as f64;
                format!("{} {}", pixels(x), pixels(scale.y(count as f64)))
            })
            .collect();
        let (Some(first), Some(last)) = (spots.first(), spots.last()) else {
            return Spark { title: cut(title, LISTED_CHARS_MAX).into_owned(), ..Spark::default() };
        };
        let x = |spot: &String| spot.split(' ').next().unwrap_or_default().to_owned();
        let path = spots.join("L");
        Spark {
            title: cut(title, LISTED_CHARS_MAX).into_owned(),
            line: if spots.len() == 1 { format!("M{path}h0") } else { format!("M{path}") },
            area: format!("M{} 24L{path}L{} 24Z", x(first), x(last)),
        }
    }
}

/// How far users come.
#[derive(Clone, Debug, Default)]
pub struct Funnel {
    /// In order.
    pub steps: Vec<FunnelStep>,
}

/// A step of a funnel.
#[derive(Clone, Debug)]
pub struct FunnelStep {
    /// Its place, from 1.
    pub number: usize,
    /// What it is.
    pub label: String,
    /// Users who come to it.
    pub users: String,
    /// Their share in those of the first step.
    pub share: String,
    /// How long the bar is, of 1,000.
    pub length: u16,
    /// Users who came to the step before and not to this one; empty of the first step.
    pub lost: String,
    /// Their share in those of the step before.
    pub lost_share: String,
}

impl Funnel {
    /// Draws steps of `(label, users)`; of a step no more come than to the one before.
    #[must_use]
    pub fn new(steps: &[(&str, u64)], format: &Format) -> Funnel {
        let first = steps.first().map_or(0, |step| step.1);
        let mut before = None;
        let step = |(at, &(label, users)): (usize, &(&str, u64))| {
            let lost = before.map(|before: u64| (before.saturating_sub(users), before));
            before = Some(users);
            FunnelStep {
                number: at + 1,
                label: cut(label, LISTED_CHARS_MAX).into_owned(),
                users: format.count(users),
                share: format.share(users, first),
                length: Bar::length(users, first),
                lost: lost.map(|(lost, _)| format.count(lost)).unwrap_or_default(),
                lost_share: lost.map(|(lost, of)| format.share(lost, of)).unwrap_or_default(),
            }
        };
        Funnel { steps: steps.iter().enumerate().map(step).collect() }
    }
}

/// Who comes back: a row for those who began together, a column for each interval after.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// Heads of the columns, from `0`.
    pub columns: Vec<String>,
    /// Those who began together.
    pub rows: Vec<GridRow>,
}

/// Users who began together.
#[derive(Clone, Debug)]
pub struct GridRow {
    /// When they began.
    pub name: String,
    /// How many they are.
    pub users: String,
    /// For each interval after.
    pub cells: Vec<GridCell>,
}

/// How many of them came back.
#[derive(Clone, Debug)]
pub struct GridCell {
    /// Their share.
    pub share: String,
    /// How many, and of whom.
    pub title: String,
    /// Its class: `h0` (nobody) to `h6` (nearly all).
    pub class: &'static str,
}

impl Grid {
    /// Draws rows of `(name, users, who came back in each interval)`, at most 101 of each (`GRID_MAX`).
    #[must_use]
    pub fn new(rows: &[(String, u64, &[u64])], format: &Format) -> Grid {
        let rows = &rows[..rows.len().min(GRID_MAX)];
        let width = rows.iter().map(|row| row.2.len()).max().unwrap_or(0).min(GRID_MAX);
        let row = |(name, users, back): &(String, u64, &[u64])| GridRow {
            name: name.clone(),
            users: format.count(*users),
            cells: back.iter().take(GRID_MAX).map(|&back| cell(back, *users, format)).collect(),
        };
        Grid {
            columns: (0..width).map(|at| at.to_string()).collect(),
            rows: rows.iter().map(row).collect(),
        }
    }
}

fn cell(back: u64, users: u64, format: &Format) -> GridCell {
    // The least percentage of each class; few come back often, so the lower ones are narrower.
    const CLASSES: [(u128, &str); 6] =
        [(75, "h6"), (50, "h5"), (35, "h4"), (20, "h3"), (8, "h2"), (0, "h1")];
    let part = (u128::from(back) * 100).checked_div(u128::from(users)).unwrap_or(0);
    let class = CLASSES.iter().find(|(least, _)| part >= *least).map_or("h1", |found| found.1);
    GridCell {
        share: format.share(back, users),
        title: format!("{} of {}", format.count(back), format.count(users)),
        class: if back == 0 { "h0" } else { class },
    }
}
