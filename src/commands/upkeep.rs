//! Compacting, verifying, rebuilding: what keeps the store in order, by itself or when asked.

use std::io::Write;

use serde::Serialize;

use super::{Context, Failure};
use crate::clock;
use crate::keeper;
use crate::store::{Pace, Urgency};

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

pub(super) fn compact(
    context: &Context<'_>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    keeper::expire(context.store, context.writer)?;
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
    let verified =
        context.store.verify(clock::now(), &pace, &mut |finding| findings.push(finding))?;
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
