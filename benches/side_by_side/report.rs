//! What was measured: tables while it goes on, a file to compare the next run with, and the goals at the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::beside::millis;
use crate::goals::GOALS;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// So many of these a second.
    PerSecond(&'static str),
    Count,
    /// One median over another.
    Ratio,
    /// Seconds.
    Time,
    /// MiB.
    Memory,
    /// Seconds, shown as millionths.
    Micros,
    /// Of a hundred.
    Percent,
    Bytes,
    /// 10^6 bytes.
    Megabytes,
}

impl Unit {
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::PerSecond(what) => format!("{value:.0} {what}/s"),
            Unit::Count => format!("{value:.0}"),
            Unit::Ratio => format!("{value:.2}"),
            Unit::Time => millis(Duration::from_secs_f64(value)),
            Unit::Memory => format!("{value:.1} MiB"),
            Unit::Percent => format!("{value:.3} %"),
            Unit::Bytes => format!("{value:.1} B"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::Micros => format!("{:.1} µs", value * 1e6),
        }
    }
}

/// A line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub unit: Unit,
    /// A value for each round, in no order.
    pub rounds: Vec<f64>,
    /// Columns that only some have: a name, seconds or MiB as the unit says.
    pub beside: Vec<(&'static str, Unit, f64)>,
}

impl Row {
    pub fn new(what: impl Into<String>, unit: Unit, rounds: &[f64]) -> Row {
        assert!(!rounds.is_empty(), "a figure takes a round");
        Row { what: what.into(), unit, rounds: rounds.to_vec(), beside: Vec::new() }
    }

    /// The median of one's rounds over that of another's.
    pub fn ratio(what: impl Into<String>, one: &Row, other: &Row) -> Row {
        Row::new(what, Unit::Ratio, &[one.median() / other.median()])
    }

    pub fn with(mut self, name: &'static str, unit: Unit, value: f64) -> Row {
        self.beside.push((name, unit, value));
        self
    }

    pub fn median(&self) -> f64 {
        median(&self.rounds)
    }

    fn ends(&self) -> (f64, f64) {
        let all = || self.rounds.iter().copied();
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
    }

    fn json(&self) -> Value {
        let (min, max) = self.ends();
        let mut members = Map::new();
        members.insert("unit".to_owned(), json!(format!("{:?}", self.unit)));
        members.insert("median".to_owned(), json!(self.median()));
        members.insert("min".to_owned(), json!(min));
        members.insert("max".to_owned(), json!(max));
        members.insert("rounds".to_owned(), json!(self.rounds.len()));
        for (name, _, value) in &self.beside {
            members.insert((*name).to_owned(), json!(value));
        }
        Value::Object(members)
    }
}

/// The middle one, or the upper of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// All that a run has measured.
pub struct Report {
    /// The file's figures as the last runs left them.
    last: Map<String, Value>,
    figures: Map<String, Value>,
    medians: BTreeMap<String, f64>,
    /// Why figures are none: calls that failed, sections that broke off.
    pub failures: Vec<String>,
}

impl Report {
    /// Reads what the last run wrote, if there was one.
    pub fn beside_last(file: &Path) -> Report {
        let last = fs::read(file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let last = last.as_ref().and_then(|last| last["figures"].as_object()).cloned();
        Report {
            last: last.unwrap_or_default(),
            figures: Map::new(),
            medians: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Prints a table, and keeps its figures under `SECTION: WHAT`.
    pub fn table(&mut self, section: &str, rows: &[Row]) {
        let mut columns: Vec<&str> = Vec::new();
        for (name, ..) in rows.iter().flat_map(|row| &row.beside) {
            if !columns.contains(name) {
                columns.push(name);
            }
        }
        let heads: String = columns.iter().map(|name| format!(" {name} |")).collect();
        println!("| {section} | median | min - max | last |{heads}");
        println!("| --- | --: | --: | --: |{}", " --: |".repeat(columns.len()));
        for row in rows {
            let key = format!("{section}: {}", row.what);
            let show = |value| row.unit.show(value);
            let ends = if row.rounds.len() > 1 {
                let (min, max) = row.ends();
                format!("{} - {}", show(min), show(max))
            } else {
                String::new()
            };
            let last = self.last.get(&key).and_then(|last| last["median"].as_f64());
            let last = last.map(show).unwrap_or_default();
            let cells: String = columns
                .iter()
                .map(|column| {
                    let found = row.beside.iter().find(|(name, ..)| name == column);
                    let cell = found.map(|(_, unit, value)| unit.show(*value));
                    format!(" {} |", cell.unwrap_or_default())
                })
                .collect();
            println!("| {} | {} | {ends} | {last} |{cells}", row.what, show(row.median()));
            self.medians.insert(key.clone(), row.median());
            self.figures.insert(key, row.json());
        }
        println!();
    }

    /// The median of a row of this run.
    pub fn median(&self, key: &str) -> Option<f64> {
        self.medians.get(key).copied()
    }

    pub fn failed(&mut self, why: String) {
        println!("{why}\n");
        self.failures.push(why);
    }

    /// Prints each goal with what was measured. What wasn't is left open; nothing fails on a figure.
    pub fn goals(&self) {
        println!("| goal | wanted | measured | |");
        println!("| --- | --: | --: | --- |");
        for goal in GOALS {
            let (measured, reached) = match self.median(goal.figure) {
                Some(value) => (
                    goal.unit.show(value),
                    if goal.bound.holds(value) { "reached" } else { "**missed**" },
                ),
                None => (String::new(), "not measured"),
            };
            println!("| {} | {} | {measured} | {reached} |", goal.what, goal.bound.show(goal.unit));
        }
        println!();
    }

    /// Writes the figures, with those of earlier runs that this one has no others for.
    pub fn write(&self, file: &Path, machine: &str) {
        let mut figures = self.last.clone();
        figures.extend(self.figures.clone());
        let whole = json!({
            "triggerly": env!("CARGO_PKG_VERSION"),
            "at": triggerly::clock::now().to_string(),
            "machine": machine,
            "figures": figures,
        });
        let text = serde_json::to_string_pretty(&whole).expect("JSON");
        fs::write(file, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        println!("written to {}", file.display());
    }
}
