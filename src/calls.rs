//! What is kept of each call that was answered: figures, and the line of the access log. What is kept holds no address,
//! no credential, no query, and nothing that a path names.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

use crate::clock;
use crate::http::{Answer, Job, Method, Response, Stream};
use crate::model::Date;

/// The target of the access log's lines.
pub const ACCESS: &str = "access";

/// Seconds that answers are told apart by.
const SECONDS: [f64; 14] =
    [5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The figures since the server was started. Their labels are words of ours alone, of which there are
/// few, so that nothing a client sends makes them grow.
pub struct Figures {
    /// When the server was started.
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

/// What is known of a request. Dropped before its end it counts as a mistake of ours, which is what its
/// sender is answered then.
pub struct Call {
    began: Instant,
    route: &'static str,
    line: Option<Line>,
    figures: Arc<Figures>,
    ended: bool,
}

/// Of a call that is logged.
struct Line {
    method: &'static str,
    path: String,
}

impl Call {
    /// A request is there. `route` is what figures call it: one of few words, whatever the path was; `path` is
    /// how it may be logged.
    #[must_use]
    pub fn new(
        method: Method,
        route: &'static str,
        path: impl FnOnce() -> String,
        figures: &Arc<Figures>,
    ) -> Call {
        let line = log::log_enabled!(target: ACCESS, log::Level::Info)
            .then(|| Line { method: name(method), path: path() });
        Call { began: Instant::now(), route, line, figures: Arc::clone(figures), ended: false }
    }

    /// What figures call it.
    #[must_use]
    pub fn route(&self) -> &'static str {
        self.route
    }

    /// Sends the answer. It is counted before, so that whoever has it finds it counted.
    pub fn send(self, answer: Answer, response: &Response) {
        let reason = response.reason().map(|(code, _)| code);
        self.end(response.status(), reason.unwrap_or_default(), response.body().len() as u64);
        answer.send(response);
    }

    /// Sends an answer that is made meanwhile; see [`Answer::stream`].
    pub fn stream(self, answer: Answer, stream: Stream, run: impl FnOnce(Job) + Send + 'static) {
        let Stream { head, stop, make } = stream;
        let status = head.status();
        let make = Box::new(move |out: &mut dyn Write| {
            let mut out = Counter { out, bytes: 0 };
            let made = make(&mut out);
            let (status, reason) = match &made {
                Ok(()) => (status, ""),
                // The client has gone; nobody gets this answer.
                Err(response) if response.status() == 500 => (status, "broken_off"),
                Err(response) => {
                    (response.status(), response.reason().map_or("broken_off", |(code, _)| code))
                }
            };
            self.end(status, reason, out.bytes);
            made
        });
        answer.stream(Stream { head, stop, make }, run);
    }

    fn end(mut self, status: u16, reason: &'static str, bytes: u64) {
        self.ended = true;
        self.record(status, reason, bytes);
    }

    fn record(&self, status: u16, reason: &'static str, bytes: u64) {
        let took = self.began.elapsed();
        self.figures.answered(self.route, status, reason, took);
        if let Some(Line { method, path }) = &self.line {
            let code = if reason.is_empty() { "-" } else { reason };
            let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            log::info!(
                target: ACCESS, method, path, status, code, bytes, ms;
                "{method} {path} {status} {code} {bytes} B {ms} ms"
            );
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.record(500, "internal", 0);
        }
    }
}

/// Counts what goes through it.
struct Counter<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
}

impl Write for Counter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Other => "OTHER",
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
