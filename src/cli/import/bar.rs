//! How far it has come, for a person at a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::source::Unit;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(200);

/// How it looks, by what is counted.
fn template(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "{bar:32} {bytes}/{total_bytes}, {msg}, {left} left",
        Unit::Rows => "{bar:32} {human_pos}/{human_len} rows, {msg}, {left} left",
    }
}

/// A progress bar on standard error, if that is a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    began: Instant,
}

impl Bar {
    /// For so many bytes or rows.
    pub fn new(end: u64, unit: Unit) -> Bar {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(end), target);
        let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} s", state.eta().as_secs());
        };
        if let Ok(style) = ProgressStyle::with_template(template(unit)) {
            bar.set_style(style.with_key("left", left));
        }
        bar.enable_steady_tick(TICK);
        Bar { bar, began: Instant::now() }
    }

    /// From here on.
    pub fn begin(&self, place: u64) {
        self.bar.set_position(place);
        self.bar.reset_eta();
    }

    /// So far it has come, and so much was stored.
    pub fn advance(&self, place: u64, stored: u64) {
        let rate = stored as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        self.bar.set_position(place);
        self.bar.set_message(format!("{}/s", HumanCount(rate as u64)));
    }

    /// Says a line on standard error, above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| {
            // With standard error gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Takes it off the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
