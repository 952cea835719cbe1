//! What was answered so far, in figures.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

use crate::clock;
use crate::model::Date;

/// Seconds that answers are told apart by.
const SECONDS: [f64; 14] =
    [5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The figures since the server was started. Their labels are words of ours alone, of which there are
/// few, so that nothing a client sends makes them grow.
pub(super) struct Figures {
    pub started: Date,
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl Default for Figures {
    fn default() -> Figures {
        let requests = Opts::new(
            "triggerly_requests_total",
            "Requests that were answered, by route, HTTP status and, where refused, the reason.",
        );
        let seconds = HistogramOpts::new(
            "triggerly_request_seconds",
            "Time from the whole request to its answer, by route.",
        );
        Figures {
            started: clock::now(),
            requests: IntCounterVec::new(requests, &["route", "code", "reason"])
                .expect("the names are some"),
            seconds: HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["route"])
                .expect("the names are some"),
        }
    }
}

impl Figures {
    /// A request was answered. `reason` is empty where it wasn't refused.
    pub fn answered(&self, route: &'static str, status: u16, reason: &'static str, took: Duration) {
        self.requests.with_label_values(&[route, digits(status), reason]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// All of them, to be written down.
    pub fn collect(&self) -> Vec<MetricFamily> {
        let mut all = self.requests.collect();
        all.extend(self.seconds.collect());
        all
    }
}

/// A status as text. Others than these aren't answered.
fn digits(status: u16) -> &'static str {
    match status {
        200 => "200",
        204 => "204",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        413 => "413",
        414 => "414",
        415 => "415",
        429 => "429",
        431 => "431",
        500 => "500",
        503 => "503",
        505 => "505",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Code;

    #[test]
    fn every_status_that_is_answered_has_its_digits() {
        for code in Code::ALL {
            assert_eq!(digits(code.status()), code.status().to_string());
        }
    }
}
