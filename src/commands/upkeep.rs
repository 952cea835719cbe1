//! Compacting, verifying, rebuilding: what keeps the store in order, by itself or when asked.

use std::io::Write;

use serde::{Deserialize, Serialize};

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
    indexed: u64,
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
        indexed: done.indexed,
        segments: sizes.segments,
        disk_bytes: sizes.disk_bytes,
        left: done.left,
    };
    if json {
        serde_json::to_writer(&mut *out, &shown).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let Shown { sealed, merged, erased, renewed, indexed, segments, disk_bytes, ref left } =
            shown;
        writeln!(out, "sealed={sealed}\nmerged={merged}\nerased={erased}\nrenewed={renewed}")?;
        writeln!(out, "indexed={indexed}\nsegments={segments}\ndisk_bytes={disk_bytes}")?;
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
    writeln!(out, "index_bytes={}", verified.index_bytes)?;
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

/// How far the indexes are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Sealed records that are in an index.
    pub records: u64,
    /// Sealed records.
    pub of: u64,
    /// Bytes of the indexes, when all are built.
    pub bytes: Option<u64>,
}

pub(super) fn reindex(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut told = Ok(());
    let tell = |out: &mut dyn Write, progress: Progress| {
        serde_json::to_writer(&mut *out, &progress).map_err(std::io::Error::from)?;
        writeln!(out)?;
        out.flush()
    };
    let built = context.store.reindex(&Pace { go_on: &|| true }, &mut |records, of| {
        // Nobody may listen any more: what was begun is done all the same.
        if told.is_ok() {
            told = tell(out, Progress { records, of, bytes: None });
        }
    })?;
    told?;
    tell(out, Progress { records: built.records, of: built.of, bytes: Some(built.bytes) })?;
    match built.left.first() {
        None => Ok(()),
        Some(left) => Err(Failure::Refused(format!("not everything could be indexed: {left}"))),
    }
}
