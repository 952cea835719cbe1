//! Compacting, verifying, rebuilding: what keeps the store in order, by itself or when asked.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, Failure};
use crate::clock;
use crate::retention;
use crate::store::{Pace, Urgency};

/// How long a piece of work is followed by a rest while calls wait, at the most.
const REST_MAX: Duration = Duration::from_millis(20);

/// Bytes of the hot end beyond which there is no rest: it has to come down.
const HOT_BYTES_MAX: u64 = 4 * crate::store::SEAL_BYTES;

#[derive(Serialize)]
struct Shown {
    sealed: u64,
    merged: u64,
    erased: u64,
    renewed: bool,
    segments: usize,
    disk_bytes: u64,
    left: Vec<String>,
}

/// How often it is looked whether events have become too old.
const RETENTION_EVERY: Duration = Duration::from_secs(60 * 60);

/// Puts the erasures of what is too old into the log.
fn expire(context: &Context<'_>) -> Result<(), Failure> {
    let due = retention::due(context.store, clock::now())?;
    if !due.is_empty() {
        context.writer.submit_and_wait(due)?;
    }
    Ok(())
}

/// When it was last looked for events that are too old.
#[derive(Default)]
pub struct Kept(Option<Instant>);

/// Does what is due, going easy on calls, until `stopping`. Whether it could.
pub fn keep(context: &Context<'_>, kept: &mut Kept, stopping: &AtomicBool) -> bool {
    if kept.0.is_none_or(|at| at.elapsed() >= RETENTION_EVERY) {
        kept.0 = Some(Instant::now());
        if let Err(error) = expire(context) {
            log::error!("looking for events that are too old failed: {error}");
        }
    }
    let last = std::cell::Cell::new(Instant::now());
    let go_on = || {
        // As long a rest as there was work, where somebody waits.
        let worked = last.get().elapsed();
        if context.writer.is_busy() && context.store.hot_bytes() < HOT_BYTES_MAX {
            thread::sleep(worked.min(REST_MAX));
        }
        last.set(Instant::now());
        !stopping.load(SeqCst)
    };
    match context.store.compact(Urgency::InTime, clock::now(), &Pace { go_on: &go_on }) {
        Ok(compacted) => {
            let done = compacted.sealed + compacted.merged + compacted.erased;
            if done > 0 || compacted.renewed {
                log::debug!("compacted: {compacted:?}");
            }
            true
        }
        Err(error) => {
            log::error!("compacting failed: {error}");
            false
        }
    }
}

pub(super) fn compact(
    context: &Context<'_>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    expire(context)?;
    let pace = Pace { go_on: &|| true };
    let done = context.store.compact(Urgency::Now, clock::now(), &pace)?;
    let sizes = context.store.sizes()?;
    let shown = Shown {
        sealed: done.sealed,
        merged: done.merged,
        erased: done.erased,
        renewed: done.renewed,
        segments: sizes.segments,
        disk_bytes: sizes.disk_bytes,
        left: done.left,
    };
    if json {
        serde_json::to_writer(&mut *out, &shown).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let Shown { sealed, merged, erased, renewed, segments, disk_bytes, ref left } = shown;
        writeln!(out, "sealed={sealed}\nmerged={merged}\nerased={erased}\nrenewed={renewed}")?;
        writeln!(out, "segments={segments}\ndisk_bytes={disk_bytes}")?;
        for what in left {
            writeln!(out, "left={what}")?;
        }
    }
    out.flush()?;
    if shown.left.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!("not everything could be done: {}", shown.left.join("; "))))
}

pub(super) fn verify(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let pace = Pace { go_on: &|| true };
    let mut findings = Vec::new();
    let verified = context.store.verify(&pace, &mut |finding| findings.push(finding))?;
    for finding in &findings {
        let (place, what) = (&finding.place, &finding.what);
        writeln!(out, "damaged: {place}: {what}; {}; {}", finding.meaning, finding.advice)?;
    }
    writeln!(out, "segments={}\nsegment_bytes={}", verified.segments, verified.segment_bytes)?;
    writeln!(out, "records={}\nholes={}", verified.records, verified.holes)?;
    writeln!(out, "keys={}\ndamaged={}", verified.keys, findings.len())?;
    out.flush()?;
    match findings.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Refused(format!(
            "{} is damaged: {}; {}",
            first.place, first.what, first.advice
        ))),
    }
}

pub(super) fn rebuild(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    context.store.rebuild(&Pace { go_on: &|| true })?;
    writeln!(out, "applied={}", context.store.last_seq())?;
    Ok(())
}
