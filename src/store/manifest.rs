//! The manifest: what of the log is sealed, where, and what has been taken out. A tree of its own, so
//! that one batch of sled's changes it from one whole state to the next.
//!
//! ```text
//! "z"                        -> how far the log is sealed · step · number of the next file
//! "s" + file number (8)      -> a segment (what `Summary` holds)
//! "i" + file number (8)      -> the index of that segment (its format, and what [`index::Summary`] holds); none while it has none
//! "k" + seq (8)              -> a control record that lay in a sealed part: a batch of one
//! "h" + first position (8)   -> holes: positions whose records were taken out
//! "e" + seq (8)              -> an erasure that isn't done at rest yet: a batch of one
//! "l"                        -> which log it shares with others (see `shared`); none while it is its own
//! "p"                        -> a place of that log up to which all is here, and the last group that counted
//! ```
//! Values have a format and a checksum in front ([`super::codec`]); batches have their own.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sled::{Batch, IVec, Tree};

use super::Error;
use super::batch::{BatchView, EncodedBatch, encode_record};
use super::codec::{Malformed, open_as, put_date, put_str, put_u64, seal_as};
use super::holes::Holes;
use super::index;
use super::segment::Summary;
use super::shared::{Belonging, GroupId, LogId, Place};
use crate::model::erasure::Scope;
use crate::model::{AccountId, Change, Erasures, Record, Seq};

const FORMAT: u8 = 1;

const SEALED: &[u8] = b"z";
const SEGMENT: u8 = b's';
const INDEX: u8 = b'i';
const CONTROL: u8 = b'k';
const HOLES: u8 = b'h';
const ERASURE: u8 = b'e';
const BELONGING: &[u8] = b"l";
const PLACE: &[u8] = b"p";

/// How the names of indexes end.
pub(super) const INDEX_EXTENSION: &str = "index";

/// Ranges of one entry of holes: some 10 KiB.
const HOLES_RANGES_MAX: usize = 4_096;

/// How far sealing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything up to here lies in segments, is a control record, or is a hole.
    pub sealed_through: Seq,
    /// Counts the changes of what is sealed.
    pub step: u64,
    /// The number of the next file.
    pub next_file: u64,
}

/// What is known of the erasures that may take something of a segment.
#[derive(Debug, Default)]
struct Touched {
    /// None of those up to this one does.
    through: Seq,
    /// This one does.
    by: Option<Seq>,
}

/// A sealed segment in its file, and its index beside it. The files go with the last reader once something
/// else has taken its place.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Its file's number; a later one is higher.
    pub number: u64,
    pub summary: Summary,
    pub path: PathBuf,
    /// Its index, if it has one: whoever finds none, or can't read it, reads the segment itself.
    index: RwLock<Option<index::Summary>>,
    /// Which erasures take something of it, as far as was looked.
    touched: Mutex<Touched>,
    retired: AtomicBool,
}

impl Sealed {
    pub fn new(number: u64, summary: Summary, index: Option<index::Summary>, dir: &Path) -> Sealed {
        let path = dir.join(file_name(number, &summary));
        let (index, touched) = (RwLock::new(index), Mutex::default());
        Sealed { number, summary, path, index, touched, retired: AtomicBool::new(false) }
    }

    /// Whether one of the erasures of its account takes something of it. Each that says `false` to `look` is looked
    /// at once, as long as those before it say so too.
    ///
    /// # Errors
    /// That of `look`, which is asked again then.
    pub fn touched_by<E>(
        &self,
        erasures: &Erasures,
        mut look: impl FnMut(Seq, Scope) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let account = self.summary.account;
        let newest = erasures.of_account(account).map(|(seq, _)| seq).max().unwrap_or_default();
        if let Some(by) = touched.by {
            // One that whoever asks doesn't know of yet is in force.
            if newest < by || erasures.of_account(account).any(|(seq, _)| seq == by) {
                return Ok(true);
            }
            *touched = Touched::default();
        }
        for (seq, scope) in erasures.of_account(account) {
            if seq > touched.through && look(seq, scope)? {
                touched.by = Some(seq);
                return Ok(true);
            }
        }
        touched.through = touched.through.max(newest);
        Ok(false)
    }

    /// What is known of its index, if it has one.
    pub fn index(&self) -> Option<index::Summary> {
        *self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has an index from now on, or none.
    pub fn set_index(&self, index: Option<index::Summary>) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Which segment it is, to its index.
    pub fn of(&self) -> index::Of {
        index::Of { bytes: self.summary.bytes, crc: self.summary.crc }
    }

    /// Where its index lies, if it has one.
    pub fn index_path(&self) -> PathBuf {
        self.path.with_extension(INDEX_EXTENSION)
    }

    /// Its index's name.
    pub fn index_name(&self) -> String {
        let mut path = PathBuf::from(self.name());
        path.set_extension(INDEX_EXTENSION);
        path.to_string_lossy().into_owned()
    }

    /// Whether a file of this name belongs to it.
    pub fn has_file(&self, name: &str) -> bool {
        self.name() == name || self.index().is_some() && self.index_name() == name
    }

    /// Its file's name.
    pub fn name(&self) -> String {
        file_name(self.number, &self.summary)
    }

    pub fn rows(&self) -> u64 {
        self.summary.events + self.summary.users
    }

    /// Another one has taken its place.
    pub fn retire(&self) {
        self.retired.store(true, SeqCst);
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(SeqCst)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if !self.is_retired() {
            return;
        }
        for path in [self.path.clone(), self.index_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // The next opening removes it.
                    log::warn!("can't remove {}: {error}", path.display());
                }
                _ => {}
            }
        }
    }
}

/// Says whose it is, which stretch, and which of several that held the same stretch.
fn file_name(number: u64, summary: &Summary) -> String {
    let Summary { account, first_seq, last_seq, .. } = summary;
    format!("{}-{first_seq:012}-{last_seq:012}-{number}.parquet", account.0)
}

/// What readers go by: which segments there are, and which erasures are in force. Replaced as a whole.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub position: Position,
    /// Each account's, ascending and apart.
    pub segments: Arc<BTreeMap<AccountId, Vec<Arc<Sealed>>>>,
    pub erasures: Arc<Erasures>,
}

impl View {
    /// All segments.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Sealed>> {
        self.segments.values().flatten()
    }

    pub fn of(&self, account: AccountId) -> &[Arc<Sealed>] {
        self.segments.get(&account).map(Vec::as_slice).unwrap_or_default()
    }
}

/// An erasure that isn't done at rest yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingErasure {
    pub seq: Seq,
    pub account: AccountId,
    pub scope: crate::model::erasure::Scope,
    pub at: crate::model::Date,
}

/// Reads the whole manifest; `dir` is where segments lie.
pub(super) fn load(tree: &Tree, dir: &Path) -> Result<View, Error> {
    let position = position(tree)?;
    let mut segments: BTreeMap<AccountId, Vec<Arc<Sealed>>> = BTreeMap::new();
    for entry in tree.scan_prefix([SEGMENT]) {
        let (key, value) = entry.map_err(Error::sled("read the manifest"))?;
        let summary = decode_summary(&key, &value).map_err(|error| damaged(&key, error))?;
        let number = number_of(&key).map_err(|error| damaged(&key, error))?;
        let sealed = Arc::new(Sealed::new(number, summary, index(tree, number)?, dir));
        segments.entry(sealed.summary.account).or_default().push(sealed);
    }
    for (account, of) in &mut segments {
        of.sort_unstable_by_key(|sealed| sealed.summary.first_seq);
        let apart = |two: &[Arc<Sealed>]| two[0].summary.last_seq < two[1].summary.first_seq;
        if !of.windows(2).all(apart) {
            return Err(Error::Damaged {
                place: format!("the manifest's segments of account {}", account.0),
                why: "they lie over each other".to_owned(),
            });
        }
    }
    let mut erasures = Erasures::default();
    for pending in pending(tree)? {
        erasures.add(pending.seq, pending.account, pending.scope);
    }
    Ok(View { position, segments: Arc::new(segments), erasures: Arc::new(erasures) })
}

/// The index of a segment, if it has one that this program can read. Any other is built anew, since it is worth
/// nothing that can't be had again.
fn index(tree: &Tree, number: u64) -> Result<Option<index::Summary>, Error> {
    let key = key(INDEX, number);
    let Some(value) = tree.get(&key).map_err(Error::sled("read the manifest"))? else {
        return Ok(None);
    };
    Ok(decode_index(&key, &value).unwrap_or_else(|error| {
        log::warn!(
            "the index of segment {number} is of no use and built anew: {}",
            damaged(&key, error)
        );
        None
    }))
}

fn decode_index(key: &[u8], value: &[u8]) -> Result<Option<index::Summary>, Malformed> {
    let mut input = open_as(FORMAT, key, value)?;
    let crc = |n: u64| u32::try_from(n).map_err(|_| Malformed("a checksum is too large"));
    if input.u64()? != u64::from(index::FORMAT) {
        return Ok(None);
    }
    let (bytes, whole, tail_bytes, tail) = (input.u64()?, input.u64()?, input.u64()?, input.u64()?);
    input.end()?;
    Ok(Some(index::Summary { bytes, crc: crc(whole)?, tail_bytes, tail_crc: crc(tail)? }))
}

fn position(tree: &Tree) -> Result<Position, Error> {
    let Some(value) = tree.get(SEALED).map_err(Error::sled("read the manifest"))? else {
        return Ok(Position { sealed_through: 0, step: 0, next_file: 1 });
    };
    let decode = || -> Result<Position, Malformed> {
        let mut input = open_as(FORMAT, SEALED, &value)?;
        let position =
            Position { sealed_through: input.u64()?, step: input.u64()?, next_file: input.u64()? };
        input.end()?;
        Ok(position)
    };
    decode().map_err(|error| damaged(SEALED, error))
}

/// The erasures that aren't done at rest yet, in the order of the log.
pub(super) fn pending(tree: &Tree) -> Result<Vec<PendingErasure>, Error> {
    let mut all = Vec::new();
    one_by_one(tree, ERASURE, 0..=Seq::MAX, &mut |seq, record| {
        if let Change::Erased { account, scope } = record.change {
            all.push(PendingErasure { seq, account, scope, at: record.received_at });
        }
        Ok(())
    })?;
    Ok(all)
}

/// Shows the control records that were sealed, in the order of the log.
pub(super) fn controls(
    tree: &Tree,
    range: std::ops::RangeInclusive<Seq>,
    visit: &mut dyn FnMut(Seq, &Record<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    one_by_one(tree, CONTROL, range, visit)
}

fn one_by_one(
    tree: &Tree,
    kind: u8,
    range: std::ops::RangeInclusive<Seq>,
    visit: &mut dyn FnMut(Seq, &Record<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    for entry in tree.range(key(kind, *range.start())..=key(kind, *range.end())) {
        let (key, value) = entry.map_err(Error::sled("read the manifest"))?;
        let seq = number_of(&key).map_err(|error| damaged(&key, error))?;
        let batch = BatchView::decode(seq, &value).map_err(|error| damaged(&key, error))?;
        for record in batch.records() {
            let (seq, record) = record.map_err(|error| damaged(&key, error))?;
            visit(seq, &record)?;
        }
    }
    Ok(())
}

/// Shows the holes, piece by piece.
pub(super) fn holes(
    tree: &Tree,
    visit: &mut dyn FnMut(Holes) -> Result<(), Error>,
) -> Result<(), Error> {
    for entry in tree.scan_prefix([HOLES]) {
        let (key, value) = entry.map_err(Error::sled("read the manifest"))?;
        let decode = || -> Result<Holes, Malformed> {
            let mut input = open_as(FORMAT, &key, &value)?;
            let holes = Holes::decode(&mut input)?;
            input.end()?;
            Ok(holes)
        };
        visit(decode().map_err(|error| damaged(&key, error))?)?;
    }
    Ok(())
}

/// A key and its value, as they lie.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

/// Which log is shared.
pub(super) fn belonging(tree: &Tree) -> Result<Option<Belonging>, Error> {
    let Some(value) = tree.get(BELONGING).map_err(Error::sled("read the manifest"))? else {
        return Ok(None);
    };
    let decode = || {
        let mut input = open_as(FORMAT, BELONGING, &value)?;
        let (id, name) = (LogId(input.array()?), input.str()?.to_owned());
        input.end()?;
        Ok(Some(Belonging { id, name }))
    };
    decode().map_err(|error| damaged(BELONGING, error))
}

/// Notes which log is shared from now on.
pub(super) fn belong(tree: &Tree, to: Option<&Belonging>) -> Result<(), Error> {
    let written = match to {
        Some(Belonging { id, name }) => tree.insert(
            BELONGING,
            seal_as(FORMAT, BELONGING, |out| {
                out.extend_from_slice(&id.0);
                put_str(out, name);
            }),
        ),
        None => tree.remove(PLACE).and_then(|_| tree.remove(BELONGING)),
    };
    written.map(drop).map_err(Error::sled("write the manifest"))
}

/// Up to which place of the shared log all is here, and the last group that counted.
pub(super) fn place(tree: &Tree) -> Result<(Place, Option<GroupId>), Error> {
    let Some(value) = tree.get(PLACE).map_err(Error::sled("read the manifest"))? else {
        return Ok((Place::default(), None));
    };
    let decode = || {
        let mut input = open_as(FORMAT, PLACE, &value)?;
        let (at, stamp) = (input.u64()?, i64::from_le_bytes(input.array()?));
        let last = if input.byte()? == 0 { None } else { Some(GroupId(input.array()?)) };
        input.end()?;
        Ok((Place { at, stamp }, last))
    };
    decode().map_err(|error| damaged(PLACE, error))
}

pub(super) fn note_place(tree: &Tree, place: Place, last: Option<GroupId>) -> Result<(), Error> {
    let value = seal_as(FORMAT, PLACE, |out| {
        put_u64(out, place.at);
        out.extend_from_slice(&place.stamp.to_le_bytes());
        out.push(u8::from(last.is_some()));
        last.iter().for_each(|last| out.extend_from_slice(&last.0));
    });
    tree.insert(PLACE, value).map(drop).map_err(Error::sled("write the manifest"))
}

/// The entries that go with the last record, as they lie: erasures that aren't done at rest yet, and the place in a shared
/// log. Whoever keeps others from committing gets those of one state.
pub(super) fn committed_entries(tree: &Tree) -> Result<Vec<Entry>, Error> {
    entries(tree, is_committed)
}

/// All other entries but those of indexes, as they lie. Whoever keeps others from compacting gets those of
/// one state.
pub(super) fn other_entries(tree: &Tree) -> Result<Vec<Entry>, Error> {
    entries(tree, |kind| !is_committed(kind) && kind != INDEX)
}

fn is_committed(kind: u8) -> bool {
    kind == ERASURE || PLACE == [kind]
}

fn entries(tree: &Tree, wanted: impl Fn(u8) -> bool) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for entry in tree.iter() {
        let (key, value) = entry.map_err(Error::sled("read the manifest"))?;
        if key.first().is_some_and(|kind| wanted(*kind)) {
            entries.push((key.to_vec(), value.to_vec()));
        }
    }
    Ok(entries)
}

/// Changes of the manifest, to be written at once.
#[derive(Default)]
pub(super) struct Edit(Batch);

impl Edit {
    pub fn position(&mut self, position: Position) {
        let value = seal_as(FORMAT, SEALED, |out| {
            put_u64(out, position.sealed_through);
            put_u64(out, position.step);
            put_u64(out, position.next_file);
        });
        self.0.insert(SEALED, value);
    }

    pub fn add(&mut self, number: u64, summary: &Summary) {
        let key = key(SEGMENT, number);
        let value = seal_as(FORMAT, &key, |out| {
            for n in [summary.account.0, summary.first_seq, summary.last_seq] {
                put_u64(out, n);
            }
            for n in [summary.events, summary.users, summary.bytes, u64::from(summary.crc)] {
                put_u64(out, n);
            }
            put_u64(out, summary.tail_bytes);
            put_u64(out, u64::from(summary.tail_crc));
            out.push(u8::from(summary.dates.is_some()));
            if let Some((first, last)) = summary.dates {
                put_date(out, first);
                put_date(out, last);
            }
        });
        self.0.insert(key, value);
    }

    /// Takes a segment out, and its index.
    pub fn remove(&mut self, number: u64) {
        self.0.remove(key(SEGMENT, number));
        self.remove_index(number);
    }

    pub fn add_index(&mut self, number: u64, index: &index::Summary) {
        let key = key(INDEX, number);
        let value = seal_as(FORMAT, &key, |out| {
            put_u64(out, u64::from(index::FORMAT));
            put_u64(out, index.bytes);
            put_u64(out, u64::from(index.crc));
            put_u64(out, index.tail_bytes);
            put_u64(out, u64::from(index.tail_crc));
        });
        self.0.insert(key, value);
    }

    pub fn remove_index(&mut self, number: u64) {
        self.0.remove(key(INDEX, number));
    }

    pub fn control(&mut self, seq: Seq, record: &Record<'_>) {
        self.one(CONTROL, seq, record);
    }

    pub fn erasure(&mut self, seq: Seq, record: &Record<'_>) {
        self.one(ERASURE, seq, record);
    }

    fn one(&mut self, kind: u8, seq: Seq, record: &Record<'_>) {
        let record = encode_record(record);
        let batch = EncodedBatch::of(seq, [record.as_slice()].into_iter());
        self.0.insert(key(kind, seq), batch.bytes());
    }

    pub fn erasure_done(&mut self, seq: Seq) {
        self.0.remove(key(ERASURE, seq));
    }

    pub fn holes(&mut self, holes: &Holes) {
        for piece in holes.pieces(HOLES_RANGES_MAX) {
            let key = key(HOLES, piece.first());
            let value = seal_as(FORMAT, &key, |out| piece.encode(out));
            self.0.insert(key, value);
        }
    }

    pub fn write(self, tree: &Tree) -> Result<(), Error> {
        tree.apply_batch(self.0).map_err(Error::sled("write the manifest"))
    }
}

pub(super) fn decode_summary(key: &IVec, value: &IVec) -> Result<Summary, Malformed> {
    let mut input = open_as(FORMAT, key, value)?;
    let crc = |n: u64| u32::try_from(n).map_err(|_| Malformed("a checksum is too large"));
    let (account, first_seq, last_seq) = (AccountId(input.u64()?), input.u64()?, input.u64()?);
    let (events, users, bytes) = (input.u64()?, input.u64()?, input.u64()?);
    let (whole, tail_bytes, tail_crc) = (input.u64()?, input.u64()?, input.u64()?);
    let dates = match input.byte()? {
        0 => None,
        _ => Some((input.date()?, input.date()?)),
    };
    input.end()?;
    let (crc, tail_crc) = (crc(whole)?, crc(tail_crc)?);
    Ok(Summary {
        account,
        first_seq,
        last_seq,
        events,
        users,
        dates,
        bytes,
        crc,
        tail_bytes,
        tail_crc,
    })
}

fn key(kind: u8, number: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn number_of(key: &[u8]) -> Result<u64, Malformed> {
    let number = key.get(1..).and_then(|number| number.try_into().ok());
    number.map(u64::from_be_bytes).ok_or(Malformed("its key is odd"))
}

fn damaged(key: &[u8], error: Malformed) -> Error {
    Error::Damaged {
        place: format!("the manifest's entry {}", key.escape_ascii()),
        why: error.0.to_owned(),
    }
}
