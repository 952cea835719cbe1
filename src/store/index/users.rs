//! Which rows are whose: collecting them by user, and the blocks in which they lie in the file.
//!
//! ```text
//! block   number of entries
//!         of each entry:  hash of the user, less that of the entry before (the first: less the fence's)
//!                         number of events, times 2, plus 1 if there are updates · number of updates
//!         of each entry:  rows of events, each less the one before and 1 · rows of updates, likewise
//! page    offset of its first block · of each block, the hash it begins with (8) · its length · its CRC-32
//! ```
//! Blocks lie end to end, ascending by hash and then by row. A user with more rows than [`ENTRY_ROWS_MAX`] has
//! several entries, so that the newest are found without reading all.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::IndexError;
use super::layout::{PIECE_BYTES, Piece, Put};
use crate::store::codec::{Input, Malformed, put_u64};

/// Rows of an entry.
pub(super) const ENTRY_ROWS_MAX: usize = 4_096;

/// Entries of a block.
const BLOCK_ENTRIES: usize = 128;

/// Blocks of a page.
const PAGE_BLOCKS: usize = 256;

/// Rows that wait to be sorted: 4 MiB.
const WAITING_MAX: usize = 256 * 1024;

/// Bytes of what was sorted that are kept in memory; the rest waits in a file.
const KEPT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Bytes of that file that are read at a time, of each run.
const READ_BYTES: usize = 32 * 1024;

/// Bytes of a number, at the most.
const NUMBER_BYTES_MAX: usize = 10;

/// Collects the rows of users. What was sorted is kept packed, some 2 or 3 bytes a row, 12 if each row is another
/// user's.
#[derive(Default)]
pub(super) struct Users {
    /// The hash of a user, and a row: times 2, plus 1 if it is an update.
    waiting: Vec<(u64, u32)>,
    /// Each of rows behind those of the one before.
    runs: Vec<Run>,
    /// Bytes of those that are in memory.
    kept: usize,
    spill: Spill,
}

/// Users, ascending by hash, each once: the hash, less that of the one before; how many rows; these, each less
/// the one before.
enum Run {
    Kept(Vec<u8>),
    /// With the CRC-32 of each [`READ_BYTES`].
    Spilled {
        offset: u64,
        bytes: u64,
        crcs: Vec<u32>,
    },
}

/// The file of the runs that aren't in memory.
#[derive(Default)]
struct Spill {
    /// Where it is made when it is needed; without, all are kept.
    path: Option<PathBuf>,
    /// It has no name any more, so that it goes with whoever has it.
    file: Option<File>,
    bytes: u64,
    /// Then there is no index.
    failed: Option<io::Error>,
}

impl Spill {
    fn put(&mut self, run: &[u8]) -> Option<Run> {
        let path = self.path.as_ref()?;
        match write_run(&mut self.file, path, run) {
            Ok(()) => {
                let (offset, bytes) = (self.bytes, run.len() as u64);
                self.bytes += bytes;
                let crcs = run.chunks(READ_BYTES).map(crc32fast::hash).collect();
                Some(Run::Spilled { offset, bytes, crcs })
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }
}

fn write_run(file: &mut Option<File>, path: &PathBuf, run: &[u8]) -> io::Result<()> {
    let file = match file {
        Some(file) => file,
        None => {
            let mut options = File::options();
            let made = options.read(true).write(true).create(true).truncate(true).open(path)?;
            fs::remove_file(path)?;
            file.insert(made)
        }
    };
    file.write_all(run)
}

impl Users {
    /// What memory shall not hold waits in a file that is made here and removed at once.
    pub fn spill_to(&mut self, path: PathBuf) {
        self.spill.path = Some(path);
    }

    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.waiting.capacity() * size_of::<(u64, u32)>() + self.kept
    }

    pub fn add(&mut self, user: u64, row: u32, update: bool) {
        if self.spill.failed.is_some() {
            return;
        }
        self.waiting.push((user, row << 1 | u32::from(update)));
        if self.waiting.len() >= WAITING_MAX {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.waiting.sort_unstable();
        let mut run = Vec::with_capacity(self.waiting.len() * 2);
        let mut before = 0;
        for of in self.waiting.chunk_by(|a, b| a.0 == b.0) {
            put_u64(&mut run, of[0].0 - before);
            put_u64(&mut run, of.len() as u64);
            let mut row = 0;
            for (_, word) in of {
                put_u64(&mut run, u64::from(word - row));
                row = *word;
            }
            before = of[0].0;
        }
        self.waiting.clear();
        if self.spill.path.is_some() && self.kept + run.len() > KEPT_BYTES_MAX {
            self.runs.extend(self.spill.put(&run));
        } else {
            run.shrink_to_fit();
            self.kept += run.len();
            self.runs.push(Run::Kept(run));
        }
    }

    /// Gives each block with the hash that it begins with.
    pub fn encode(mut self, block: Put<'_>) -> Result<(), IndexError> {
        self.sort();
        self.waiting = Vec::new();
        if let Some(error) = self.spill.failed.take() {
            return Err(spill_failed("write", error));
        }
        let file = self.spill.file.as_ref();
        let mut readers: Vec<Reader<'_>> =
            self.runs.iter().map(|run| Reader::of(run, file)).collect();
        // The run with the lower rows comes first among those of a user.
        let mut heap = BinaryHeap::with_capacity(readers.len());
        for (run, reader) in readers.iter_mut().enumerate() {
            heap.extend(reader.next()?.map(|user| Reverse((user, run))));
        }
        let mut out =
            Blocks { user: 0, entry: Entry::default(), block: Block::default(), give: block };
        while let Some(Reverse((user, run))) = heap.pop() {
            out.user(user)?;
            let reader = &mut readers[run];
            let mut word = 0;
            while let Some(apart) = reader.row()? {
                word += apart;
                out.row(word)?;
            }
            heap.extend(reader.next()?.map(|user| Reverse((user, run))));
        }
        out.end_entry()?;
        out.end_block()
    }
}

fn spill_failed(doing: &'static str, source: io::Error) -> IndexError {
    IndexError::Io { doing, place: "rows that wait to be merged".to_owned(), source }
}

/// Goes through a run.
struct Reader<'r> {
    user: u64,
    rows: u64,
    /// What is in memory of it, and how far that was read.
    held: Cow<'r, [u8]>,
    at: usize,
    rest: Option<Rest<'r>>,
}

/// What of a run is in the file yet.
struct Rest<'r> {
    file: &'r File,
    offset: u64,
    end: u64,
    crcs: &'r [u32],
}

impl<'r> Reader<'r> {
    fn of(run: &'r Run, file: Option<&'r File>) -> Reader<'r> {
        let (held, rest) = match (run, file) {
            (Run::Kept(run), _) => (Cow::Borrowed(run.as_slice()), None),
            (Run::Spilled { offset, bytes, crcs }, Some(file)) => {
                let rest = Rest { file, offset: *offset, end: offset + bytes, crcs };
                (Cow::Borrowed(&[][..]), Some(rest))
            }
            // Without the file none is in it.
            (Run::Spilled { .. }, None) => (Cow::Borrowed(&[][..]), None),
        };
        Reader { user: 0, rows: 0, held, at: 0, rest }
    }

    /// The next user, if there is one.
    fn next(&mut self) -> Result<Option<u64>, IndexError> {
        self.fill()?;
        if self.at == self.held.len() {
            return Ok(None);
        }
        self.user += self.number()?;
        self.rows = self.number()?;
        Ok(Some(self.user))
    }

    fn row(&mut self) -> Result<Option<u32>, IndexError> {
        let Some(left) = self.rows.checked_sub(1) else { return Ok(None) };
        self.rows = left;
        Ok(Some(self.number()? as u32))
    }

    fn number(&mut self) -> Result<u64, IndexError> {
        self.fill()?;
        let mut input = Input(&self.held[self.at..]);
        let number = input.u64().map_err(|Malformed(why)| {
            spill_failed("read", io::Error::new(io::ErrorKind::InvalidData, why))
        })?;
        self.at = self.held.len() - input.0.len();
        Ok(number)
    }

    /// Has the next number in memory, if there is one.
    fn fill(&mut self) -> Result<(), IndexError> {
        let left = self.held.len() - self.at;
        let Some(rest) = self.rest.as_mut().filter(|_| left < NUMBER_BYTES_MAX) else {
            return Ok(());
        };
        let Some((crc, crcs)) = rest.crcs.split_first() else {
            self.rest = None;
            return Ok(());
        };
        let more = (rest.end - rest.offset).min(READ_BYTES as u64);
        let held = self.held.to_mut();
        held.drain(..self.at);
        self.at = 0;
        held.resize(left + more as usize, 0);
        let read = &mut held[left..];
        rest.file.read_exact_at(read, rest.offset).map_err(|error| spill_failed("read", error))?;
        if crc32fast::hash(read) != *crc {
            let error = io::Error::new(io::ErrorKind::InvalidData, "a checksum doesn't match");
            return Err(spill_failed("read", error));
        }
        (rest.offset, rest.crcs) = (rest.offset + more, crcs);
        Ok(())
    }
}

#[derive(Default)]
struct Entry {
    events: Vec<u32>,
    updates: Vec<u32>,
}

#[derive(Default)]
struct Block {
    entries: usize,
    first: u64,
    last: u64,
    heads: Vec<u8>,
    rows: Vec<u8>,
}

/// Makes blocks of users and rows that come in order.
struct Blocks<'b> {
    user: u64,
    entry: Entry,
    block: Block,
    give: Put<'b>,
}

impl Blocks<'_> {
    fn user(&mut self, user: u64) -> Result<(), IndexError> {
        if user != self.user {
            self.end_entry()?;
            self.user = user;
        }
        Ok(())
    }

    fn row(&mut self, word: u32) -> Result<(), IndexError> {
        let Entry { events, updates } = &mut self.entry;
        if word & 1 == 0 {
            events.push(word >> 1)
        } else {
            updates.push(word >> 1)
        };
        if events.len() + updates.len() >= ENTRY_ROWS_MAX { self.end_entry() } else { Ok(()) }
    }

    fn end_entry(&mut self) -> Result<(), IndexError> {
        let Entry { events, updates } = &mut self.entry;
        if events.is_empty() && updates.is_empty() {
            return Ok(());
        }
        let block = &mut self.block;
        if block.entries == 0 {
            (block.first, block.last) = (self.user, self.user);
        }
        put_u64(&mut block.heads, self.user - block.last);
        put_u64(&mut block.heads, (events.len() as u64) << 1 | u64::from(!updates.is_empty()));
        if !updates.is_empty() {
            put_u64(&mut block.heads, updates.len() as u64);
        }
        for rows in [events, updates] {
            let mut next = 0;
            for row in rows.drain(..) {
                put_u64(&mut block.rows, u64::from(row - next));
                next = row + 1;
            }
        }
        (block.entries, block.last) = (block.entries + 1, self.user);
        if block.entries >= BLOCK_ENTRIES || block.heads.len() + block.rows.len() >= PIECE_BYTES / 2
        {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), IndexError> {
        let Block { entries, first, heads, rows, .. } = std::mem::take(&mut self.block);
        if entries == 0 {
            return Ok(());
        }
        let mut out = Vec::with_capacity(heads.len() + rows.len() + 2);
        put_u64(&mut out, entries as u64);
        out.extend_from_slice(&heads);
        out.extend_from_slice(&rows);
        (self.give)(first, &out)
    }
}

/// Pages of these blocks, each with its key.
pub(super) fn pages(blocks: &[Piece]) -> impl Iterator<Item = (u64, Vec<u8>)> {
    blocks.chunks(PAGE_BLOCKS).map(|of| {
        let mut out = Vec::new();
        put_u64(&mut out, of[0].offset);
        for block in of {
            out.extend_from_slice(&block.key.to_le_bytes());
            put_u64(&mut out, block.bytes);
            out.extend_from_slice(&block.crc.to_le_bytes());
        }
        (of[0].key, out)
    })
}

/// The blocks that a page lists.
pub(super) fn decode_page(bytes: &[u8]) -> Result<Vec<Piece>, Malformed> {
    let mut input = Input(bytes);
    let mut offset = input.u64()?;
    let mut blocks: Vec<Piece> = Vec::new();
    while input.end().is_err() {
        let key = u64::from_le_bytes(input.array()?);
        if blocks.last().is_some_and(|before| key < before.key) {
            return Err(Malformed("blocks aren't in order"));
        }
        let bytes = input.u64()?;
        blocks.push(Piece { key, offset, bytes, crc: u32::from_le_bytes(input.array()?) });
        offset = offset.checked_add(bytes).ok_or(Malformed("a block is too long"))?;
    }
    Ok(blocks)
}

/// What stands in a block of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub user: u64,
    pub events: u64,
    pub updates: u64,
}

/// Takes the heads of a block that begins with this hash, and leaves the rows.
pub(super) fn decode_heads(first: u64, input: &mut Input<'_>) -> Result<Vec<Head>, Malformed> {
    let count = input.u64()?;
    if count > BLOCK_ENTRIES as u64 {
        return Err(Malformed("a block has too many entries"));
    }
    let (mut heads, mut user) = (Vec::with_capacity(BLOCK_ENTRIES), first);
    for _ in 0..count {
        user = user.checked_add(input.u64()?).ok_or(Malformed("a user's hash is too large"))?;
        let word = input.u64()?;
        let updates = if word & 1 == 1 { input.u64()? } else { 0 };
        let head = Head { user, events: word >> 1, updates };
        if head.events.saturating_add(updates) > ENTRY_ROWS_MAX as u64 {
            return Err(Malformed("an entry has too many rows"));
        }
        heads.push(head);
    }
    Ok(heads)
}

/// Goes behind so many rows.
pub(super) fn skip_rows(input: &mut Input<'_>, rows: u64) -> Result<(), Malformed> {
    let mut left = rows;
    let end = input.0.iter().position(|byte| {
        left = left.saturating_sub(u64::from(byte & 0x80 == 0));
        left == 0
    });
    match end {
        _ if rows == 0 => Ok(()),
        Some(end) => input.bytes(end as u64 + 1).map(|_| ()),
        None => Err(Malformed("it ends too early")),
    }
}

/// Takes so many rows.
pub(super) fn decode_rows(input: &mut Input<'_>, count: u64) -> Result<Vec<u32>, Malformed> {
    let mut rows = Vec::with_capacity(count.min(ENTRY_ROWS_MAX as u64) as usize);
    let mut next = 0u64;
    for _ in 0..count {
        let row = next.checked_add(input.u64()?).and_then(|row| u32::try_from(row).ok());
        let row = row.ok_or(Malformed("a row's number is too large"))?;
        rows.push(row);
        next = u64::from(row) + 1;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn blocks(users: Users) -> Result<Vec<(u64, Vec<u8>)>, IndexError> {
        let mut all = Vec::new();
        users.encode(&mut |key, bytes| {
            all.push((key, bytes.to_vec()));
            Ok(())
        })?;
        Ok(all)
    }

    /// Rows that are each another user's, but for every seventh, which is one that has many.
    fn add(users: &mut Users, row: u32) {
        let hash = if row.is_multiple_of(7) {
            77
        } else {
            u64::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        users.add(hash, row, row.is_multiple_of(5));
    }

    #[test]
    fn what_memory_does_not_hold_comes_back_from_the_file() {
        const ROWS: u32 = 7 * WAITING_MAX as u32 + 12_345;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x");
        let (mut held, mut spilled) = (Users::default(), Users::default());
        spilled.spill_to(path.clone());
        for row in 0..ROWS {
            add(&mut held, row);
            add(&mut spilled, row);
            assert!(spilled.kept <= KEPT_BYTES_MAX);
        }
        assert!(held.kept > KEPT_BYTES_MAX && spilled.spill.bytes > 0 && !path.exists());
        assert!(blocks(held).unwrap() == blocks(spilled).unwrap());
    }

    #[test]
    fn what_was_altered_in_the_file_is_found() {
        let dir = TempDir::new().unwrap();
        let mut users = Users { kept: KEPT_BYTES_MAX, ..Users::default() };
        users.spill_to(dir.path().join("x"));
        (0..30_000).for_each(|row| add(&mut users, row));
        users.sort();
        let file = users.spill.file.as_ref().expect("it is needed");
        assert!(users.spill.bytes > 2 * READ_BYTES as u64);
        file.write_all_at(&[0xff], users.spill.bytes / 2).unwrap();
        assert!(matches!(blocks(users), Err(IndexError::Io { .. })));
    }

    #[test]
    fn where_no_file_can_be_made_there_is_no_index() {
        let dir = TempDir::new().unwrap();
        let mut users = Users { kept: KEPT_BYTES_MAX, ..Users::default() };
        users.spill_to(dir.path().join("none").join("x"));
        (0..100).for_each(|row| add(&mut users, row));
        assert!(matches!(blocks(users), Err(IndexError::Io { .. })));
    }
}
