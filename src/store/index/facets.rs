//! What most lists of events are by: the page, where one came from, the browser and its like; and how many events of
//! each day have which.
//!
//! These are texts at the first level of an event's attributes and of its context. Promises to find them as the JSON
//! says them, several times as fast as that is read. A value that is no text, or an empty one, or one of more than
//! [`TEXT_BYTES_MAX`], is none.
//!
//! There are two sections. Of the texts, the first piece is which facets are kept (bits) · the first day · the last; the
//! others are a facet · the number of its first text here · how many · and of each it · what people did with it in all · what
//! nobody did. Of the days, a piece is days of facets: the facet · the day · how many texts · and of each how far its
//! number is from the one before · what people did, times 2, plus 1 if nobody did some of it · what nobody did.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::layout::{PIECE_BYTES, Put, key};
use super::members::{Cursor, Seen, unescaped};
use super::{Count, IndexError};
use crate::store::codec::{Input, Malformed, put_i64, put_str, put_u64};

/// Bytes of a text.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Bytes of memory of all texts and counts that are kept; beyond, the facet that takes most isn't kept.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Counts of a text in a day that wait to be sorted in: some 800 KB.
const RECENT_MAX: usize = 16 * 1024;

/// What a text takes beside its bytes, about.
const TEXT_BYTES: usize = 24;

/// The key of texts is their facet's number and 1 in these bits, and the number of the first in those below.
const TEXTS_SHIFT: u32 = 56;

/// Why texts aren't kept.
pub(super) const TOO_MANY: IndexError = IndexError::NotKept("there are too many texts");

/// Bits of a text's number.
const NUMBER_BITS: u32 = 29;

/// What events are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// The attribute `page`, that of a page view.
    Page,
    /// The attribute `referrer`.
    Referrer,
    /// The page that the call was made from.
    ContextPage,
    /// The browser.
    Browser,
    /// The operating system.
    Os,
    /// The kind of device.
    Device,
}

impl Facet {
    /// All of them, by number.
    pub const ALL: [Facet; 6] = [
        Facet::Page,
        Facet::Referrer,
        Facet::ContextPage,
        Facet::Browser,
        Facet::Os,
        Facet::Device,
    ];

    /// What a question calls it, as `context:page`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Facet::Page => "page",
            Facet::Referrer => "referrer",
            Facet::ContextPage => "context:page",
            Facet::Browser => "context:browser",
            Facet::Os => "context:os",
            Facet::Device => "context:device",
        }
    }

    /// Whether it is found in contexts, not in attributes.
    #[must_use]
    pub fn is_of_context(self) -> bool {
        !matches!(self, Facet::Page | Facet::Referrer)
    }

    /// Shows the facets of an event's attributes.
    pub fn of_attributes(attributes: &str, show: &mut dyn FnMut(Facet, &str)) {
        texts(attributes, show, |name| match name {
            b"page" => Some(Facet::Page),
            b"referrer" => Some(Facet::Referrer),
            _ => None,
        });
    }

    /// Shows the facets of a context.
    pub fn of_context(context: &str, show: &mut dyn FnMut(Facet, &str)) {
        texts(context, show, |name| match name {
            b"page" => Some(Facet::ContextPage),
            b"browser" => Some(Facet::Browser),
            b"os" => Some(Facet::Os),
            b"device" => Some(Facet::Device),
            _ => None,
        });
    }
}

/// Shows the texts among an object's members that are facets. Of several of one name, the first counts.
fn texts(object: &str, show: &mut dyn FnMut(Facet, &str), facet: fn(&[u8]) -> Option<Facet>) {
    let mut cursor = Cursor::new(object);
    let mut shown = [false; Facet::ALL.len()];
    if cursor.enter().is_none() {
        return;
    }
    while let Some((name, value)) = cursor.member() {
        let found = match name.contains(&b'\\') {
            true => unescaped(name).and_then(|name| facet(name.as_bytes())),
            false => facet(name),
        };
        if let Some(facet) = found
            && !shown[facet as usize]
        {
            shown[facet as usize] = true;
            if let Seen::String(raw) = value
                && !raw.is_empty()
            {
                let text = match raw.contains(&b'\\') {
                    true => unescaped(raw).map(Cow::Owned),
                    false => std::str::from_utf8(raw).ok().map(Cow::Borrowed),
                };
                if let Some(text) = text.filter(|text| text.len() <= TEXT_BYTES_MAX) {
                    show(facet, &text);
                }
            }
        }
        if value == Seen::Object && cursor.skip().is_none() {
            return;
        }
    }
}

/// Shown a facet, a text of it, and the events that have it.
pub type VisitFacets<'v> = &'v mut dyn FnMut(Facet, &str, Count);

#[derive(Clone, Copy, Default)]
struct Cell {
    people: u32,
    nobodys: u32,
}

impl Cell {
    fn add(&mut self, other: Cell) {
        self.people = self.people.saturating_add(other.people);
        self.nobodys = self.nobodys.saturating_add(other.nobodys);
    }

    fn count(self) -> Count {
        Count { people: u64::from(self.people), nobodys: u64::from(self.nobodys) }
    }

    fn put(self, out: &mut Vec<u8>) {
        put_u64(out, u64::from(self.people) << 1 | u64::from(self.nobodys > 0));
        if self.nobodys > 0 {
            put_u64(out, u64::from(self.nobodys));
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Cell, Malformed> {
        let word = input.u64()?;
        let nobodys = if word & 1 == 1 { input.u64()? } else { 0 };
        let number = |n: u64| u32::try_from(n).map_err(|_| Malformed("a count is too large"));
        Ok(Cell { people: number(word >> 1)?, nobodys: number(nobodys)? })
    }
}

/// Of what facet, day and text a count is: ascending by these.
fn cell_key(facet: Facet, day: i32, number: u32) -> u64 {
    let day = u64::from(day as u32 ^ 1 << 31);
    (facet as u64) << (32 + NUMBER_BITS) | day << NUMBER_BITS | u64::from(number)
}

/// The day and the text's number.
fn of_cell_key(key: u64) -> (i32, u32) {
    let number = key & ((1 << NUMBER_BITS) - 1);
    (((key >> NUMBER_BITS) as u32 ^ 1 << 31) as i32, number as u32)
}

/// Collects the facets of events.
pub(super) struct Facets {
    of: [OfFacet; Facet::ALL.len()],
    recent: HashMap<u64, Cell>,
    /// The first and the last.
    days: Option<(i32, i32)>,
}

impl Default for Facets {
    fn default() -> Facets {
        Facets { of: Default::default(), recent: HashMap::new(), days: None }
    }
}

/// What was collected of one facet.
#[derive(Default)]
struct OfFacet {
    hasher: DefaultHashBuilder,
    numbers: HashTable<u32>,
    texts: String,
    /// Where each text ends.
    ends: Vec<u32>,
    /// By text: in all.
    totals: Vec<Cell>,
    /// Counts of days, as they were sorted in: each of how far its key is from the one before, and the count.
    runs: Vec<Vec<u8>>,
    bytes: usize,
    /// There were more than are kept.
    full: bool,
}

fn text_of<'t>(texts: &'t str, ends: &[u32], number: u32) -> &'t str {
    let number = number as usize;
    let begin = number.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &texts[begin..ends[number] as usize]
}

impl OfFacet {
    fn number(&mut self, text: &str) -> u32 {
        let OfFacet { hasher, numbers, texts, ends, .. } = self;
        let hash = hasher.hash_one(text);
        if let Some(number) = numbers.find(hash, |number| text_of(texts, ends, *number) == text) {
            return *number;
        }
        let number = ends.len() as u32;
        texts.push_str(text);
        ends.push(texts.len() as u32);
        let rehash = |number: &u32| hasher.hash_one(text_of(texts, ends, *number));
        numbers.insert_unique(hash, number, rehash);
        self.totals.push(Cell::default());
        self.bytes += text.len() + TEXT_BYTES;
        number
    }

    /// Shows the counts of days, ascending by key.
    fn merged(&self, show: &mut dyn FnMut(u64, Cell)) {
        let mut inputs: Vec<Input<'_>> = self.runs.iter().map(|run| Input(run)).collect();
        let mut next = BinaryHeap::new();
        // What was written here can be read.
        let take = |input: &mut Input<'_>, before: u64| {
            let key = before + input.u64().ok()?;
            Some((key, Cell::take(input).ok()?))
        };
        for (run, input) in inputs.iter_mut().enumerate() {
            if let Some((key, cell)) = take(input, 0) {
                next.push(Reverse((key, run, cell.people, cell.nobodys)));
            }
        }
        let mut last: Option<(u64, Cell)> = None;
        while let Some(Reverse((key, run, people, nobodys))) = next.pop() {
            let cell = Cell { people, nobodys };
            match &mut last {
                Some((same, sum)) if *same == key => sum.add(cell),
                _ => {
                    if let Some((key, cell)) = last.replace((key, cell)) {
                        show(key, cell);
                    }
                }
            }
            if let Some((key, cell)) = take(&mut inputs[run], key) {
                next.push(Reverse((key, run, cell.people, cell.nobodys)));
            }
        }
        if let Some((key, cell)) = last {
            show(key, cell);
        }
    }
}

impl Facets {
    /// Counts what an event has.
    pub fn add(&mut self, attributes: &str, context: Option<&str>, day: i32, nobodys: bool) {
        let (first, last) = self.days.unwrap_or((day, day));
        self.days = Some((first.min(day), last.max(day)));
        let one =
            if nobodys { Cell { people: 0, nobodys: 1 } } else { Cell { people: 1, nobodys: 0 } };
        let Facets { of, recent, .. } = self;
        let mut add = |facet: Facet, text: &str| {
            let of = &mut of[facet as usize];
            if of.full {
                return;
            }
            let number = of.number(text);
            of.totals[number as usize].add(one);
            recent.entry(cell_key(facet, day, number)).or_default().add(one);
        };
        Facet::of_attributes(attributes, &mut add);
        context.inspect(|context| Facet::of_context(context, &mut add));
        if self.recent.len() >= RECENT_MAX || self.kept_bytes() > BYTES_MAX {
            self.settle();
        }
    }

    fn kept_bytes(&self) -> usize {
        self.of.iter().map(|of| of.bytes).sum()
    }

    /// Sorts in what waits. To be called before what was collected is written.
    pub fn settle(&mut self) {
        let mut cells: Vec<(u64, Cell)> = self.recent.drain().collect();
        cells.sort_unstable_by_key(|(key, _)| *key);
        for cells in
            cells.chunk_by(|(a, _), (b, _)| a >> (32 + NUMBER_BITS) == b >> (32 + NUMBER_BITS))
        {
            let of = &mut self.of[(cells[0].0 >> (32 + NUMBER_BITS)) as usize];
            if of.full {
                continue;
            }
            let (mut run, mut before) = (Vec::new(), 0);
            for (key, cell) in cells {
                put_u64(&mut run, key - before);
                cell.put(&mut run);
                before = *key;
            }
            run.shrink_to_fit();
            of.bytes += run.len() + size_of::<Vec<u8>>();
            of.runs.push(run);
        }
        while self.kept_bytes() > BYTES_MAX
            && let Some(most) = self.of.iter_mut().max_by_key(|of| of.bytes)
        {
            *most = OfFacet { full: true, ..OfFacet::default() };
        }
    }

    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.kept_bytes() + self.recent.capacity() * (size_of::<(u64, Cell)>() + 1)
    }

    /// Shows what was collected of some facets in some days.
    ///
    /// # Errors
    /// [`IndexError::NotKept`]; nothing was shown then.
    pub fn visit(
        &self,
        facets: &[Facet],
        days: &Range<i64>,
        visit: VisitFacets<'_>,
    ) -> Result<(), IndexError> {
        let Some((first, last)) = self.days else { return Ok(()) };
        if facets.iter().any(|facet| self.of[*facet as usize].full) {
            return Err(TOO_MANY);
        }
        let is_all = days.start <= i64::from(first) && i64::from(last) < days.end;
        for facet in facets {
            let of = &self.of[*facet as usize];
            let held;
            let totals = if is_all {
                &of.totals
            } else {
                let mut totals = vec![Cell::default(); of.totals.len()];
                let mut add = |key: u64, cell: Cell| {
                    let (day, number) = of_cell_key(key);
                    if days.contains(&i64::from(day)) {
                        totals[number as usize].add(cell);
                    }
                };
                of.merged(&mut add);
                let is_of_facet = |key: &u64| *key >> (32 + NUMBER_BITS) == *facet as u64;
                let recent = self.recent.iter().filter(|(key, _)| is_of_facet(key));
                recent.for_each(|(key, cell)| add(*key, *cell));
                held = totals;
                &held
            };
            for (number, cell) in totals.iter().enumerate() {
                if cell.people > 0 || cell.nobodys > 0 {
                    visit(*facet, text_of(&of.texts, &of.ends, number as u32), cell.count());
                }
            }
        }
        Ok(())
    }

    /// Gives each piece of texts with its key.
    pub fn encode_texts(&self, piece: Put<'_>) -> Result<(), IndexError> {
        let mut out = Vec::new();
        let kept = self.of.iter().enumerate().filter(|(_, of)| !of.full);
        put_u64(&mut out, kept.fold(0, |bits, (facet, _)| bits | 1 << facet));
        // Without an event, the last day is before the first.
        let (first, last) = self.days.unwrap_or((1, 0));
        put_i64(&mut out, i64::from(first));
        put_i64(&mut out, i64::from(last));
        piece(0, &out)?;
        for (facet, of) in self.of.iter().enumerate() {
            let (mut number, mut texts) = (0, Vec::new());
            while number < of.ends.len() {
                let first = number;
                while number < of.ends.len() && texts.len() < PIECE_BYTES {
                    let cell = of.totals[number];
                    put_str(&mut texts, text_of(&of.texts, &of.ends, number as u32));
                    cell.put(&mut texts);
                    number += 1;
                }
                out.clear();
                put_u64(&mut out, facet as u64);
                put_u64(&mut out, first as u64);
                put_u64(&mut out, (number - first) as u64);
                out.append(&mut texts);
                piece((facet as u64 + 1) << TEXTS_SHIFT | first as u64, &out)?;
            }
        }
        Ok(())
    }

    /// The same of days. To be settled before.
    pub fn encode_days(&self, piece: Put<'_>) -> Result<(), IndexError> {
        for (facet, of) in self.of.iter().enumerate() {
            let mut out = Days { facet: facet as u32, ..Days::default() };
            let mut result = Ok(());
            of.merged(&mut |key, cell| {
                if result.is_ok() {
                    let (day, number) = of_cell_key(key);
                    result = out.put(day, number, cell, piece);
                }
            });
            result?;
            out.end(piece)?;
        }
        Ok(())
    }
}

/// Pieces of a facet's days in the making.
#[derive(Default)]
struct Days {
    facet: u32,
    out: Vec<u8>,
    begin: u64,
    /// The day that is under way, its texts, and how many.
    day: i32,
    texts: Vec<u8>,
    count: u64,
    before: u32,
}

impl Days {
    fn put(&mut self, day: i32, number: u32, cell: Cell, piece: Put<'_>) -> Result<(), IndexError> {
        if self.count > 0 && (day != self.day || self.texts.len() >= PIECE_BYTES) {
            self.end_day();
            if self.out.len() >= PIECE_BYTES {
                self.end(piece)?;
            }
        }
        if self.count == 0 {
            (self.day, self.before) = (day, 0);
        }
        put_u64(&mut self.texts, u64::from(number - self.before));
        cell.put(&mut self.texts);
        (self.before, self.count) = (number, self.count + 1);
        Ok(())
    }

    fn end_day(&mut self) {
        if self.out.is_empty() {
            self.begin = key(self.facet, self.day);
        }
        put_u64(&mut self.out, u64::from(self.facet));
        put_i64(&mut self.out, i64::from(self.day));
        put_u64(&mut self.out, self.count);
        self.out.append(&mut self.texts);
        self.count = 0;
    }

    fn end(&mut self, piece: Put<'_>) -> Result<(), IndexError> {
        if self.count > 0 {
            self.end_day();
        }
        if !self.out.is_empty() {
            piece(self.begin, &self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// What the first piece of texts says.
pub(super) struct Head {
    kept: u64,
    /// The days there are.
    pub days: Range<i64>,
}

impl Head {
    pub fn keeps(&self, facet: Facet) -> bool {
        self.kept >> facet as u64 & 1 == 1
    }
}

/// Reads the first piece of texts.
pub(super) fn decode_head(bytes: &[u8]) -> Result<Head, Malformed> {
    let mut input = Input(bytes);
    let kept = input.u64()?;
    let (first, last) = (input.i64()?, input.i64()?);
    input.end()?;
    Ok(Head { kept, days: first..last.saturating_add(1) })
}

/// Whether a piece of texts is of a facet, by its key.
pub(super) fn is_of(key: u64, facet: Facet) -> bool {
    key >> TEXTS_SHIFT == facet as u64 + 1
}

/// Reads a piece of texts: those of a facet, which follow on so many.
pub(super) fn decode_texts<'b>(
    bytes: &'b [u8],
    facet: Facet,
    all: &mut Vec<(&'b str, Count)>,
) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    if input.u64()? != facet as u64 || input.u64()? != all.len() as u64 {
        return Err(Malformed("texts aren't in order"));
    }
    let count = input.u64()?;
    for _ in 0..count {
        let text = input.str()?;
        all.push((text, Cell::take(&mut input)?.count()));
    }
    input.end()
}

/// Adds up a piece of days: those of a facet that are wanted, by the number of the text.
pub(super) fn decode_days(
    bytes: &[u8],
    facet: Facet,
    days: &Range<i64>,
    all: &mut [(&str, Count)],
) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    while input.end().is_err() {
        let (of, day, count) = (input.u64()?, input.i64()?, input.u64()?);
        let is_wanted = of == facet as u64 && days.contains(&day);
        let mut number = 0u64;
        for _ in 0..count {
            number = number.saturating_add(input.u64()?);
            let count = Cell::take(&mut input)?.count();
            if is_wanted {
                let (_, sum) = usize::try_from(number)
                    .ok()
                    .and_then(|number| all.get_mut(number))
                    .ok_or(Malformed("there is no such text"))?;
                sum.people = sum.people.saturating_add(count.people);
                sum.nobodys = sum.nobodys.saturating_add(count.nobodys);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facets_are_texts_of_the_first_level() {
        type Of = fn(&str, &mut dyn FnMut(Facet, &str));
        let (attributes, context) = (Facet::of_attributes as Of, Facet::of_context as Of);
        for (of, object, found) in [
            (attributes, "{}", vec![]),
            (attributes, r#"{"page":"/a","x":1,"referrer":"b"}"#, vec!["page=/a", "referrer=b"]),
            (attributes, r#"{"x":{"page":"/a"},"page":"\u002fb\"\n"}"#, vec!["page=/b\"\n"]),
            (attributes, r#"{"\u0070age":"/c","browser":"d"}"#, vec!["page=/c"]),
            (attributes, r#"{"page":"","referrer":null}"#, vec![]),
            (attributes, r#"{"page":5,"referrer":["a"]}"#, vec![]),
            (attributes, r#"{"page":"a","page":"b"}"#, vec!["page=a"]),
            (attributes, r#"{"page":5,"page":"b"}"#, vec![]),
            (attributes, r#"["page"]"#, vec![]),
            (attributes, "", vec![]),
            (
                context,
                r#"{"page":"p","browser":"b","os":"o","device":"d","visitor":"v","bot":true}"#,
                vec!["context:page=p", "context:browser=b", "context:os=o", "context:device=d"],
            ),
            (context, r#"{"referrer":"r"}"#, vec![]),
        ] {
            let mut texts = Vec::new();
            of(object, &mut |facet, text| texts.push(format!("{}={text}", facet.name())));
            assert_eq!(texts, found, "{object}");
        }
    }
}
