//! What the committer has done so far, in figures.
//!
//! Recording costs an atomic addition or a few; nothing waits for it. Must not know who reads it.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge};

use super::outcome::Outcome;
use super::shared::Position;

/// Seconds that flushes are told apart by: from a disk that keeps its cache to one that hangs.
const FLUSH_SECONDS: [f64; 15] =
    [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Sizes that groups are told apart by, up to [`super::GROUP_RECORDS_MAX`] and one size beyond.
const GROUP_SIZES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The figures of one store since it was opened.
pub struct Figures {
    flush_seconds: Histogram,
    records: Histogram,
    submissions: Histogram,
    bytes: IntCounter,
    /// Once the log is shared with others.
    shared: OnceLock<Shared>,
}

/// The figures of a log that is shared with others.
struct Shared {
    position: IntGauge,
    end: IntGauge,
    writable: IntGauge,
    overtaken: IntCounter,
    doubtful: IntCounter,
}

impl Default for Shared {
    fn default() -> Shared {
        // Their names are ours, so they can be made.
        let gauge = |name, help| IntGauge::new(name, help).expect("the name is one");
        let counter = |name, help| IntCounter::new(name, help).expect("the name is one");
        Shared {
            position: gauge(
                "triggerly_shared_log_position",
                "Place in the shared log up to which this server has applied it.",
            ),
            end: gauge(
                "triggerly_shared_log_end",
                "Place up to which the shared log is known to reach.",
            ),
            writable: gauge(
                "triggerly_shared_log_writable",
                "1 if this server can add to the shared log, else 0.",
            ),
            overtaken: counter(
                "triggerly_shared_log_overtaken_total",
                "Groups that were put together anew, behind one of another server.",
            ),
            doubtful: counter(
                "triggerly_shared_log_doubtful_total",
                "Groups of which it was not known in time whether they are stored.",
            ),
        }
    }
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            flush_seconds: histogram(
                "triggerly_flush_seconds",
                "Time that flushes to disk took, one for each commit.",
                &FLUSH_SECONDS,
            ),
            records: histogram("triggerly_commit_records", "Records in a commit.", &GROUP_SIZES),
            submissions: histogram(
                "triggerly_commit_submissions",
                "Submissions that shared a commit; a call or a batch is one.",
                &GROUP_SIZES,
            ),
            bytes: IntCounter::new(
                "triggerly_accepted_bytes_total",
                "Bytes of records that were accepted, as they are written to the log.",
            )
            .expect("the name is one"),
            shared: OnceLock::new(),
        }
    }
}

impl Figures {
    /// The log is shared, and this is how this server stands to it.
    pub(super) fn stands(&self, position: Position, end: Position, is_writable: bool) {
        let shared = self.shared.get_or_init(Shared::default);
        let number = |position: Position| i64::try_from(position).unwrap_or(i64::MAX);
        shared.position.set(number(position));
        // One's own groups are seen to be there before it is heard of them.
        shared.end.set(number(end.max(position)));
        shared.writable.set(is_writable.into());
    }

    /// A group was offered, and another server's came before it.
    pub(super) fn overtaken(&self) {
        self.shared.get_or_init(Shared::default).overtaken.inc();
    }

    /// A group was offered, and nobody knows whether it is stored.
    pub(super) fn doubtful(&self) {
        self.shared.get_or_init(Shared::default).doubtful.inc();
    }

    /// A flush has returned well.
    pub(super) fn flushed(&self, took: Duration) {
        self.flush_seconds.observe(took.as_secs_f64());
    }

    /// A group is durable and merged: what became of its submissions, and what they added to the log.
    pub(super) fn committed(&self, outcomes: &[Outcome], records: usize, bytes: usize) {
        self.submissions.observe(outcomes.iter().flatten().count() as f64);
        self.records.observe(records as f64);
        self.bytes.inc_by(bytes as u64);
    }

    /// Groups that were committed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.records.get_sample_count()
    }

    /// All of them, to be written down.
    #[must_use]
    pub fn collect(&self) -> Vec<MetricFamily> {
        let Figures { flush_seconds, records, submissions, bytes, shared } = self;
        let own =
            [flush_seconds.collect(), records.collect(), submissions.collect(), bytes.collect()];
        let shared = shared.get().map(|shared| {
            let Shared { position, end, writable, overtaken, doubtful } = shared;
            let gauges = [position, end, writable].map(Collector::collect);
            gauges.into_iter().chain([overtaken, doubtful].map(Collector::collect))
        });
        own.into_iter().chain(shared.into_iter().flatten()).flatten().collect()
    }
}

/// Its name and bounds are ours, so it can be made.
fn histogram(name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    Histogram::with_opts(options).expect("the name is one, the bounds grow")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Receipt, Refusal};

    #[test]
    fn a_commit_counts_what_was_taken() {
        let figures = Figures::default();
        figures.flushed(Duration::from_millis(3));
        let receipt = |count| Ok(Receipt { first_seq: 1, count });
        figures.committed(&[receipt(5), Err(Refusal::Overloaded), receipt(1)], 6, 700);
        assert_eq!(figures.commits(), 1);
        assert_eq!(
            (figures.submissions.get_sample_sum(), figures.records.get_sample_sum()),
            (2.0, 6.0)
        );
        assert_eq!(figures.bytes.get(), 700);
        assert_eq!(figures.collect().len(), 4);
    }

    #[test]
    fn a_log_that_is_shared_has_figures_of_its_own() {
        let figures = Figures::default();
        figures.stands(7, 0, false);
        figures.overtaken();
        figures.stands(8, 9, true);
        let families = figures.collect();
        let found: Vec<_> = families
            .iter()
            .filter(|family| family.name().starts_with("triggerly_shared_log_"))
            .map(|family| {
                let metric = &family.get_metric()[0];
                (
                    &family.name()[21..],
                    metric.get_gauge().get_value() + metric.get_counter().get_value(),
                )
            })
            .collect();
        let expected = [
            ("position", 8.0),
            ("end", 9.0),
            ("writable", 1.0),
            ("overtaken_total", 1.0),
            ("doubtful_total", 0.0),
        ];
        assert_eq!(found, expected);
    }
}
