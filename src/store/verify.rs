//! Verifying: every byte at rest is read and checked against what else is known of it.
//!
//! - Each segment: its length, its checksums, its structure, every row (`segment`).
//! - Each index: its checksums and its structure, and that it is of that segment (`index`).
//! - The manifest: its entries' checksums; that every position of the sealed part is in exactly one
//!   segment, is a control record, or is a recorded hole.
//! - The hot end: every batch's checksum, every record, and that it goes on where the sealed part ends.
//! - The keyed state: that it is what the log makes of it, byte for byte; but for keys of submissions that
//!   no longer count, or whose record was taken out.
//!
//! Calls are taken meanwhile; only the last look at what seemed to differ holds them up.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use sled::IVec;

use super::compactor::Pace;
use super::directory::SCRATCH;
use super::hot::Hot;
use super::index::Index;
use super::log::Order;
use super::manifest::{self, Sealed, View};
use super::segment::Segment;
use super::{Error, Store, once, replay, state, walk};
use crate::model::{Date, Seq};

/// Positions that are checked for holes at a time: a bit each, 8 MiB in all.
const WINDOW: u64 = 1 << 26;

/// Keys of the state that are looked at again, at the most. When more differ, it is beyond doubt.
const SUSPECTS_MAX: usize = 10_000;

/// Something at rest that isn't as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which file or part.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
    /// What follows from that.
    pub meaning: String,
    /// What to do.
    pub advice: &'static str,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Bytes of their indexes.
    pub index_bytes: u64,
    /// Records of the log, sealed or not.
    pub records: u64,
    /// Positions that were taken out.
    pub holes: u64,
    /// Keys of the state.
    pub keys: u64,
}

const RESTORE: &str = "restore a backup (`triggerly restore`), or go on without what it held";
const REINDEX: &str = "build the indexes anew from the log (`triggerly reindex`)";
const REBUILD: &str = "build the keyed state anew from the log (`triggerly rebuild`)";

impl Store {
    /// Reads everything, and tells `report` what is wrong at `now`.
    ///
    /// # Errors
    /// [`Error`] if it can't go on: what is in the hot end can't be read, or it was told to stop.
    pub fn verify(
        &self,
        now: Date,
        pace: &Pace<'_>,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, Error> {
        // Nothing is sealed or merged away meanwhile.
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut verified = Verified::default();
        let hot = self.tiers.hot();
        let view = manifest::load(&hot.manifest, self.tiers.segments_dir())?;
        let whole = self.verify_segments(&view, pace, &mut verified, report)?;
        self.verify_positions(&hot, &view, &whole, pace, &mut verified, report)?;
        self.verify_hot(&view, &mut verified, report)?;
        if whole.values().all(|whole| *whole) {
            self.verify_state(&view, now, pace, &mut verified, report)?;
        } else {
            report(Finding {
                place: "the keyed state".to_owned(),
                what: "it can't be compared with the log, since a part of that can't be read"
                    .to_owned(),
                meaning: "users are shown as they were last known".to_owned(),
                advice: RESTORE,
            });
        }
        Ok(verified)
    }

    /// Which segments (by number) are whole.
    fn verify_segments(
        &self,
        view: &View,
        pace: &Pace<'_>,
        verified: &mut Verified,
        report: &mut dyn FnMut(Finding),
    ) -> Result<BTreeMap<u64, bool>, Error> {
        let mut whole = BTreeMap::new();
        for sealed in view.all() {
            check(pace)?;
            let Sealed { summary, .. } = sealed.as_ref();
            let read = Segment::open(&sealed.path, Some(summary)).and_then(|open| open.verify());
            let wrong = match &read {
                Ok(found) if found == summary => None,
                Ok(_) => Some("it isn't the one that was written".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            verified.segments += 1;
            verified.segment_bytes += summary.bytes;
            whole.insert(sealed.number, wrong.is_none());
            self.verify_index(sealed, verified, report);
            if let Some(what) = wrong {
                self.tiers.note_damage(sealed.name(), &what);
                report(Finding {
                    place: format!("segments/{}", sealed.name()),
                    what,
                    meaning: format!(
                        "some or all of {} events and {} updates of users between {} and {} can't \
                         be read; everything else can",
                        summary.events, summary.users, summary.first_seq, summary.last_seq
                    ),
                    advice: RESTORE,
                });
            }
        }
        Ok(whole)
    }

    /// Whether a segment's index is whole.
    fn verify_index(
        &self,
        sealed: &Sealed,
        verified: &mut Verified,
        report: &mut dyn FnMut(Finding),
    ) {
        let Some(summary) = sealed.index() else { return };
        verified.index_bytes += summary.bytes;
        let path = sealed.index_path();
        let opened = Index::open(&path, sealed.of(), &summary);
        let Err(error) = opened.and_then(|index| index.verify()) else { return };
        // Taken away meanwhile, to be built anew.
        if sealed.index() != Some(summary) {
            return;
        }
        if let Some(live) = self.tiers.view().all().find(|live| live.number == sealed.number) {
            self.tiers.index_failed(live, &summary, &error);
        }
        report(Finding {
            place: format!("segments/{}", sealed.index_name()),
            what: error.to_string(),
            meaning: "questions about that part of the log take longer; nothing is lost".to_owned(),
            advice: REINDEX,
        });
    }

    /// Whether each position of the sealed part is there once.
    fn verify_positions(
        &self,
        hot: &Hot,
        view: &View,
        whole: &BTreeMap<u64, bool>,
        pace: &Pace<'_>,
        verified: &mut Verified,
        report: &mut dyn FnMut(Finding),
    ) -> Result<(), Error> {
        let end = view.position.sealed_through;
        let mut start = 1;
        while start <= end {
            let last = end.min(start.saturating_add(WINDOW - 1));
            let mut window = Window::new(start, last);
            let mut unknown = Vec::new();
            for sealed in view.all() {
                let summary = &sealed.summary;
                if summary.last_seq < start || last < summary.first_seq {
                    continue;
                }
                if whole.get(&sealed.number) != Some(&true) {
                    unknown.push((summary.first_seq, summary.last_seq));
                    continue;
                }
                // It was read a moment ago; what has become of it since, the next time will tell.
                let Ok(segment) = Segment::open(&sealed.path, Some(summary)) else { continue };
                for (number, group) in segment.groups().iter().enumerate() {
                    check(pace)?;
                    if group.last_seq < start || last < group.first_seq {
                        continue;
                    }
                    let Ok(rows) = segment.read(number) else { continue };
                    (0..rows.len()).for_each(|row| window.put(rows.seq(row)));
                }
            }
            manifest::controls(&hot.manifest, start..=last, &mut |seq, _| {
                window.put(seq);
                Ok(())
            })?;
            verified.records += window.count;
            let records = window.count;
            manifest::holes(&hot.manifest, &mut |holes| {
                for range in holes.ranges() {
                    let (from, to) = ((*range.start()).max(start), (*range.end()).min(last));
                    (from..=to).for_each(|seq| window.put(seq));
                }
                Ok(())
            })?;
            verified.holes += window.count - records;
            if window.doubled > 0 {
                report(Finding {
                    place: format!("the log from {start} to {last}"),
                    what: format!("{} positions are there more than once", window.doubled),
                    meaning: "some events are counted twice, or were taken out and are still there"
                        .to_owned(),
                    advice: RESTORE,
                });
            }
            // Nobody can say which of these positions were in what can't be read.
            unknown.into_iter().for_each(|(first, last)| window.unknown(first, last));
            if let Some((first, missing)) = window.missing() {
                report(Finding {
                    place: format!("the log from {start} to {last}"),
                    what: format!("{missing} positions are missing, the first is {first}"),
                    meaning: "so many records were lost".to_owned(),
                    advice: RESTORE,
                });
            }
            start = last + 1;
        }
        Ok(())
    }

    /// Whether the hot end is whole and goes on where the sealed part ends.
    fn verify_hot(
        &self,
        view: &View,
        verified: &mut Verified,
        report: &mut dyn FnMut(Finding),
    ) -> Result<(), Error> {
        let mut next = view.position.sealed_through + 1;
        let mut gap = None;
        let read = self.tiers.hot_batches(next..=Seq::MAX, Order::Ascending, &mut |batch, _| {
            if batch.first_seq() != next {
                gap.get_or_insert((next, batch.first_seq()));
            }
            for entry in batch.records() {
                entry.map_err(|error| Error::Damaged {
                    place: format!("the batch that begins at {}", batch.first_seq()),
                    why: error.0.to_owned(),
                })?;
                verified.records += 1;
            }
            next = batch.end_seq();
            Ok(ControlFlow::Continue(()))
        });
        let wrong = match (read, gap) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(()), Some((at, goes_on))) => Some(format!("it lacks {at} to {}", goes_on - 1)),
            (Ok(()), None) if next <= self.last_seq() => Some(format!("it ends before {next}")),
            (Ok(()), None) => None,
        };
        if let Some(what) = wrong {
            report(Finding {
                place: "the hot end of the log".to_owned(),
                what,
                meaning: "records that were accepted last can't be read, and can't be sealed"
                    .to_owned(),
                advice: RESTORE,
            });
        }
        Ok(())
    }

    /// Whether the keyed state is what the log makes of it.
    fn verify_state(
        &self,
        view: &View,
        now: Date,
        pace: &Pace<'_>,
        verified: &mut Verified,
        report: &mut dyn FnMut(Finding),
    ) -> Result<(), Error> {
        let path = self.dir().join(SCRATCH);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        let scratch = Hot::open(&path)?;
        scratch.retire();
        let tiers = self.tiers.as_ref();
        let live = self.tiers.hot();
        let rebuilt = replay::rebuild(tiers, view, None, &scratch.state, &scratch, pace.go_on);
        // Seldom asked, so that nothing of it is kept.
        let is_gone = |seq: Seq| {
            let mut gone = false;
            let read = manifest::holes(&live.manifest, &mut |holes| {
                gone |= holes.ranges().iter().any(|range| range.contains(&seq));
                Ok(())
            });
            read.is_ok() && gone
        };
        let is_irrelevant =
            |key: &[u8], value: &IVec| once::is_irrelevant(key, value, now, &is_gone);
        let mut suspects = match rebuilt {
            Ok(_) => compare(&live, &scratch, &is_irrelevant, pace, verified),
            Err(error) => Err(error),
        };
        if let Ok(keys) = &mut suspects {
            // Those that were changed between the two looks are no longer different then.
            let _committing = self.committing();
            replay::catch_up(tiers, &scratch.state, &scratch, self.last_seq())?;
            let mut still = Vec::new();
            for key in keys.drain(..) {
                let get = |hot: &Hot| hot.state.tree().get(&key).map_err(Error::sled("read a key"));
                if get(&live)? != get(&scratch)? {
                    still.push(key);
                }
            }
            *keys = still;
        }
        let what = match suspects {
            Ok(keys) if keys.is_empty() => return Ok(()),
            Ok(keys) => {
                let shown = keys.first().map(|key| key.escape_ascii().to_string());
                format!(
                    "{} of its entries aren't what the log says, the first is {}",
                    keys.len(),
                    shown.unwrap_or_default()
                )
            }
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => error.to_string(),
        };
        report(Finding {
            place: "the keyed state".to_owned(),
            what,
            meaning:
                "users or accounts are shown wrong, or can't be read; the log is not concerned"
                    .to_owned(),
            advice: REBUILD,
        });
        Ok(())
    }
}

/// Keys whose values differ, but for the mark.
fn compare(
    live: &Hot,
    scratch: &Hot,
    is_irrelevant: &dyn Fn(&[u8], &IVec) -> bool,
    pace: &Pace<'_>,
    verified: &mut Verified,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut suspects = Vec::new();
    let entries = |hot: &Hot| {
        walk::ascending::<&[u8], _>(hot.state.tree(), ..)
            .map(|entry| entry.map_err(Error::sled("read the state")))
            .filter(|entry| !entry.as_ref().is_ok_and(|(key, _)| state::is_mark(key)))
    };
    let (mut ours, mut theirs) = (entries(live), entries(scratch));
    let (mut one, mut other) = (ours.next().transpose()?, theirs.next().transpose()?);
    loop {
        if suspects.len() >= SUSPECTS_MAX {
            return Ok(suspects);
        }
        verified.keys += 1;
        if verified.keys.is_multiple_of(4_096) {
            check(pace)?;
        }
        let order = match (&one, &other) {
            (None, None) => {
                verified.keys -= 1;
                return Ok(suspects);
            }
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((ours, _)), Some((theirs, _))) => ours.cmp(theirs),
        };
        let differs = match (order, &one, &other) {
            (std::cmp::Ordering::Greater, _, Some((key, value)))
            | (std::cmp::Ordering::Less, Some((key, value)), _) => {
                (!is_irrelevant(key, value)).then_some(key)
            }
            (_, Some((key, ours)), Some((_, theirs))) => (ours != theirs).then_some(key),
            _ => None,
        };
        suspects.extend(differs.map(|key| key.to_vec()));
        if order.is_le() {
            one = ours.next().transpose()?;
        }
        if order.is_ge() {
            other = theirs.next().transpose()?;
        }
    }
}

fn check(pace: &Pace<'_>) -> Result<(), Error> {
    if (pace.go_on)() { Ok(()) } else { Err(Error::Stopped) }
}

/// A bit for each position from `start` to `last`.
struct Window {
    start: Seq,
    last: Seq,
    bits: Vec<u64>,
    count: u64,
    doubled: u64,
}

impl Window {
    fn new(start: Seq, last: Seq) -> Window {
        let words = (last - start) / 64 + 1;
        let bits = vec![0; usize::try_from(words).unwrap_or_default()];
        Window { start, last, bits, count: 0, doubled: 0 }
    }

    fn put(&mut self, seq: Seq) {
        if !(self.start..=self.last).contains(&seq) {
            return;
        }
        let at = seq - self.start;
        let bit = 1 << (at % 64);
        if let Some(word) = self.bits.get_mut(at as usize / 64) {
            if *word & bit != 0 {
                self.doubled += 1;
            } else {
                *word |= bit;
                self.count += 1;
            }
        }
    }

    /// Takes positions for present of which nobody knows.
    fn unknown(&mut self, first: Seq, last: Seq) {
        for seq in first.max(self.start)..=last.min(self.last) {
            let at = seq - self.start;
            if let Some(word) = self.bits.get_mut(at as usize / 64) {
                *word |= 1 << (at % 64);
            }
        }
    }

    /// The first position that isn't there, and how many aren't.
    fn missing(&self) -> Option<(Seq, u64)> {
        let all = self.start..=self.last;
        let is_missing = |seq: &Seq| {
            let at = seq - self.start;
            self.bits.get(at as usize / 64).is_some_and(|word| word & 1 << (at % 64) == 0)
        };
        let present: u64 = self.bits.iter().map(|word| u64::from(word.count_ones())).sum();
        let missing = self.last - self.start + 1 - present;
        (missing > 0).then(|| (all.into_iter().find(is_missing).unwrap_or(self.start), missing))
    }
}
