//! `GET /metrics`: the server in figures, in Prometheus's text format 0.0.4. For the holder of any
//! account's `secret_key`, since it tells of the server as a whole and of nobody's data.
//!
//! Each room keeps its own figures; here they are gathered and written down.

use std::fs;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Gauge, IntCounter, IntCounterVec, IntGaugeVec, Opts, TextEncoder};

use super::{Api, answer};
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is written down.
#[derive(Default)]
struct Page(Vec<MetricFamily>);

impl Page {
    fn add(&mut self, families: Vec<MetricFamily>) {
        // One that has counted nothing yet has nothing to say.
        self.0.extend(families.into_iter().filter(|family| !family.get_metric().is_empty()));
    }

    /// A number as it is now.
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::new(name, help).expect("the name is one");
        gauge.set(value);
        self.add(gauge.collect());
    }

    /// A number that only grows.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = IntCounter::new(name, help).expect("the name is one");
        counter.inc_by(value);
        self.add(counter.collect());
    }

    /// Numbers that only grow, one for each reason.
    fn counters(
        &mut self,
        (name, help): (&str, &str),
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        let counters =
            IntCounterVec::new(Opts::new(name, help), &["reason"]).expect("the name is one");
        for (reason, value) in values {
            counters.with_label_values(&[reason]).inc_by(value);
        }
        self.add(counters.collect());
    }

    fn write(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0, &mut text)?;
        Ok(text)
    }
}

impl Api {
    pub(super) fn metrics(&self, request: &Request) -> Response {
        if request.method != Method::Get {
            return answer::method_not_allowed(request.method, "GET", answer::problem);
        }
        if let Err(reject) = self.reader(request) {
            return answer::problem(&reject);
        }
        let mut page = Page::default();
        page.add(self.records.figures.collect());
        page.add(self.store.figures().collect());
        self.describe_store(&mut page);
        self.describe_process(&mut page);
        self.describe_connections(&mut page);
        match page.write() {
            Ok(text) => {
                Response::new(200, CONTENT_TYPE, text).with_header("Cache-Control", "no-store")
            }
            Err(error) => answer::problem(&Reject::new(Code::Internal, error.to_string())),
        }
    }

    fn describe_store(&self, page: &mut Page) {
        let store = &self.store;
        page.counter(
            "triggerly_commits_total",
            "Groups of submissions that were committed.",
            store.figures().commits(),
        );
        let waiting = self.writer.waiting();
        page.gauge(
            "triggerly_queue_submissions",
            "Submissions that wait for the committer.",
            waiting.submissions as f64,
        );
        page.gauge(
            "triggerly_queue_bytes",
            "Bytes that submissions in the queue hold.",
            waiting.bytes as f64,
        );
        page.gauge("triggerly_accounts", "Accounts of this server.", store.accounts().len() as f64);
        page.gauge(
            "triggerly_log_last_seq",
            "Position of the newest durable record.",
            store.last_seq() as f64,
        );
        // Without these there is still enough to see what is wrong.
        if let Ok(sizes) = store.sizes() {
            for (name, help, value) in [
                (
                    "triggerly_log_sealed_seq",
                    "Position up to which the log lies in segments.",
                    sizes.sealed_through,
                ),
                (
                    "triggerly_log_applied_seq",
                    "Position up to which users are brought up to date on disk.",
                    sizes.applied,
                ),
                ("triggerly_segments", "Sealed segments.", sizes.segments as u64),
                ("triggerly_segment_bytes", "Bytes of sealed segments.", sizes.segment_bytes),
                (
                    "triggerly_segments_unindexed",
                    "Segments that have no index yet.",
                    sizes.segments_unindexed as u64,
                ),
                ("triggerly_index_bytes", "Bytes of indexes of segments.", sizes.index_bytes),
                (
                    "triggerly_hot_bytes",
                    "Bytes of the hot end of the log and of the users.",
                    sizes.hot_bytes,
                ),
                ("triggerly_disk_bytes", "Bytes of the whole data directory.", sizes.disk_bytes),
                (
                    "triggerly_erasures_pending",
                    "Erasures that aren't done at rest yet.",
                    sizes.erasures_pending as u64,
                ),
            ] {
                page.gauge(name, help, value as f64);
            }
        }
        page.gauge(
            "triggerly_index_lag_records",
            "Records that no index has yet.",
            store.lag().records as f64,
        );
        page.gauge(
            "triggerly_segments_damaged",
            "Segments that were found damaged.",
            store.damage().len() as f64,
        );
        let space = store.space();
        page.gauge(
            "triggerly_disk_free_bytes",
            "Bytes that can be written where the data lies, the reserve included.",
            space.free_bytes() as f64,
        );
        page.gauge(
            "triggerly_disk_reserve_bytes",
            "Bytes that are to stay free there.",
            space.reserve_bytes() as f64,
        );
        page.gauge(
            "triggerly_storage_failed",
            "1 when writing has failed and nothing more is accepted.",
            f64::from(u8::from(store.failure().is_some())),
        );
    }

    /// What the transport counts. What it refuses by itself is in no other figure.
    fn describe_connections(&self, page: &mut Page) {
        let transport = &self.transport;
        for (name, help, value) in [
            ("triggerly_connections", "Connections that are open.", transport.open()),
            (
                "triggerly_requests_under_way",
                "Requests that are not answered yet.",
                transport.under_way(),
            ),
            (
                "triggerly_connections_held_bytes",
                "Bytes of requests and answers that connections hold.",
                transport.held_bytes(),
            ),
        ] {
            page.gauge(name, help, value as f64);
        }
        for (name, help, value) in [
            (
                "triggerly_connections_accepted_total",
                "Connections that were accepted.",
                transport.accepted(),
            ),
            ("triggerly_received_bytes_total", "Bytes that came.", transport.received_bytes()),
            ("triggerly_sent_bytes_total", "Bytes that went out.", transport.sent_bytes()),
        ] {
            page.counter(name, help, value);
        }
        page.counters(
            ("triggerly_connections_cut_total", "Connections that were ended without an answer."),
            transport.cuts(),
        );
        page.counters(
            (
                "triggerly_requests_malformed_total",
                "Requests that were refused before their call was looked at.",
            ),
            transport.faults(),
        );
    }

    /// The process, under the names that Prometheus's own libraries give; where the system doesn't tell
    /// (no `/proc`), they are left out.
    fn describe_process(&self, page: &mut Page) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        if let Some(kib) = number("VmRSS") {
            page.gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                kib * 1024.0,
            );
        }
        if let Some(threads) = number("Threads") {
            page.gauge("process_threads", "Number of OS threads in the process.", threads);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is for looking.
            let open = open.count().saturating_sub(1);
            page.gauge("process_open_fds", "Number of open file descriptors.", open as f64);
        }
        page.gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            self.records.figures.started.millis() as f64 / 1000.0,
        );
        let options = Opts::new("triggerly_build_info", "1; which program this is.");
        let build = IntGaugeVec::new(options, &["version"]).expect("the names are some");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        page.add(build.collect());
    }
}
