//! Asking the index of a segment.

use std::fs::File;
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::path::Path;

use super::layout::{Piece, Section, Source, Tail, may_hold};
use super::sketches::STRETCH_DAYS;
use super::users::{Head, decode_heads, decode_page, decode_rows, skip_rows};
use super::{
    Attribute, Count, Facet, IndexError, Of, Row, Sketch, Summary, VisitCounts, VisitFacets,
    VisitSketches, attributes, counts, groups, kinds, sketches,
};
use crate::store::codec::{Input, Malformed};

/// An open index. Every question reads what it needs of the file, from any thread; beside the file it holds where
/// the pieces lie, some 20 bytes for each 16 KB.
pub struct Index {
    source: Source,
    tail: Tail,
    summary: Summary,
}

const NO_KINDS: IndexError = IndexError::NotKept("there are too many types of events");

impl Index {
    /// Opens the index of that segment.
    ///
    /// # Errors
    /// [`IndexError`]; then there is none to be used.
    pub fn open(path: &Path, of: Of, summary: &Summary) -> Result<Index, IndexError> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(|source| {
            let place = place.clone();
            IndexError::Io { doing: "open", place, source }
        })?;
        let (source, tail) = Source::open(file, place, of, summary)?;
        Ok(Index { source, tail, summary: *summary })
    }

    /// Rows of the segment.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tail.rows
    }

    /// The types of events there are, with how many of each.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn kinds(&self, visit: &mut dyn FnMut(&str, Count)) -> Result<(), IndexError> {
        self.with_kinds(|kinds| {
            kinds.iter().for_each(|(name, count)| visit(name, *count));
            Ok(())
        })
    }

    /// How many events there are in each of these hours (hours that have none aren't shown), of one type or
    /// of each.
    ///
    /// # Errors
    /// [`IndexError`]; what was shown before is to be thrown away then.
    pub fn counts(
        &self,
        kind: Option<&str>,
        hours: Range<i64>,
        visit: VisitCounts<'_>,
    ) -> Result<(), IndexError> {
        let pieces = kept(&self.tail.counts, "there are too many hours with events")?;
        self.with_kinds(|kinds| {
            let Wanted::These(wanted) = Wanted::of(kind, kinds) else { return Ok(()) };
            self.each_of(pieces, wanted, &hours, &mut |bytes| {
                counts::decode(bytes, &mut |kind, hour, count| {
                    if wanted.is_none_or(|wanted| wanted == kind)
                        && hours.contains(&hour)
                        && let Some((name, _)) = kinds.get(kind as usize)
                    {
                        visit(name, hour, count);
                    }
                })
            })
        })
    }

    /// The distinct users and visitors of each of these days, of one type or of each; those of bots and
    /// prefetches only if `with_nobodys`.
    ///
    /// # Errors
    /// [`IndexError`]; what was shown before is to be thrown away then.
    pub fn sketches(
        &self,
        kind: Option<&str>,
        days: Range<i64>,
        with_nobodys: bool,
        visit: VisitSketches<'_>,
    ) -> Result<(), IndexError> {
        let pieces = kept(&self.tail.sketches, "there are too many days with events")?;
        self.sketches_in(pieces, kind, days, with_nobodys, visit)
    }

    fn sketches_in(
        &self,
        pieces: &[Piece],
        kind: Option<&str>,
        numbers: Range<i64>,
        with_nobodys: bool,
        visit: VisitSketches<'_>,
    ) -> Result<(), IndexError> {
        self.with_kinds(|kinds| {
            let Wanted::These(wanted) = Wanted::of(kind, kinds) else { return Ok(()) };
            let is_wanted = |kind: u32, number: i64, nobodys: bool| {
                wanted.is_none_or(|wanted| wanted == kind)
                    && numbers.contains(&number)
                    && (with_nobodys || !nobodys)
            };
            self.each_of(pieces, wanted, &numbers, &mut |bytes| {
                sketches::decode(bytes, &is_wanted, &mut |kind, number, users, visitors| {
                    if let Some((name, _)) = kinds.get(kind as usize) {
                        visit(name, number, users, visitors);
                    }
                })
            })
        })
    }

    /// The distinct users and visitors of all these days, of one type or of all, as sketches to be merged: the
    /// same as those of [`Index::sketches`], but fewer of them.
    ///
    /// # Errors
    /// [`IndexError`]; what was shown before is to be thrown away then.
    pub fn distinct(
        &self,
        kind: Option<&str>,
        days: Range<i64>,
        with_nobodys: bool,
        visit: &mut dyn FnMut(&Sketch, &Sketch),
    ) -> Result<(), IndexError> {
        let pieces = kept(&self.tail.stretches, "there are too many days with events")?;
        let [start, end] = [days.start, days.end];
        // The first that begins within, and the first that doesn't end within.
        let first = start.div_euclid(STRETCH_DAYS) + i64::from(start.rem_euclid(STRETCH_DAYS) > 0);
        let stretches = first..end.div_euclid(STRETCH_DAYS);
        let mut show = |_: &str, _: i64, users: &Sketch, visitors: &Sketch| visit(users, visitors);
        if stretches.is_empty() {
            return self.sketches(kind, days, with_nobodys, &mut show);
        }
        let [from, to] = [stretches.start, stretches.end].map(|of| of.saturating_mul(STRETCH_DAYS));
        self.sketches_in(pieces, kind, stretches, with_nobodys, &mut show)?;
        for rest in [start..from, to..end] {
            if !rest.is_empty() {
                self.sketches(kind, rest, with_nobodys, &mut show)?;
            }
        }
        Ok(())
    }

    /// How many events there are in these days with each text of some facets. No text comes twice.
    ///
    /// # Errors
    /// [`IndexError`]; nothing was shown then.
    pub fn facets(
        &self,
        facets: &[Facet],
        days: &Range<i64>,
        visit: VisitFacets<'_>,
    ) -> Result<(), IndexError> {
        use super::facets as stored;
        const WHY: &str = "there are no texts of facets";
        let malformed = self.source.malformed();
        let Some((first, texts)) = kept(&self.tail.texts, WHY)?.split_first() else {
            return Err(self.source.damaged("its texts have no beginning"));
        };
        let head = stored::decode_head(&self.source.read(first)?).map_err(&malformed)?;
        if !facets.iter().all(|facet| head.keeps(*facet)) {
            return Err(stored::TOO_MANY);
        }
        let is_all = days.start <= head.days.start && head.days.end <= days.end;
        let mut bytes = Vec::new();
        for facet in facets {
            let pieces = texts.iter().filter(|piece| stored::is_of(piece.key, *facet));
            let read: Result<Vec<_>, _> = pieces.map(|piece| self.source.read(piece)).collect();
            bytes.push(read?);
        }
        let mut all = Vec::new();
        for (facet, bytes) in facets.iter().zip(&bytes) {
            let mut texts = Vec::new();
            for bytes in bytes {
                stored::decode_texts(bytes, *facet, &mut texts).map_err(&malformed)?;
            }
            if !is_all {
                texts.iter_mut().for_each(|(_, count)| *count = Count::default());
                let pieces = kept(&self.tail.facets, WHY)?;
                self.each_of(pieces, Some(*facet as u32), days, &mut |bytes| {
                    stored::decode_days(bytes, *facet, days, &mut texts)
                })?;
            }
            all.push((*facet, texts));
        }
        for (facet, texts) in all {
            for (text, count) in texts {
                if count != Count::default() {
                    visit(facet, text, count);
                }
            }
        }
        Ok(())
    }

    /// For each row group of the segment, how many events of these types it has (of all if none are named).
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn rows_by_group(&self, names: Option<&[&str]>) -> Result<Vec<u32>, IndexError> {
        let pieces = kept(&self.tail.groups, "there are too many types in too many row groups")?;
        self.with_kinds(|kinds| {
            let is_wanted =
                |(name, _): &(&str, Count)| names.is_none_or(|names| names.contains(name));
            let wanted: Vec<bool> = kinds.iter().map(is_wanted).collect();
            let mut all = Vec::new();
            let is_wanted = |kind| wanted.get(kind as usize).copied().unwrap_or_default();
            for piece in pieces {
                let bytes = self.source.read(piece)?;
                groups::decode(&bytes, &is_wanted, &mut all).map_err(self.source.malformed())?;
                if all.len() > groups::BYTES_MAX {
                    return Err(self.source.damaged("it has too many row groups"));
                }
            }
            Ok(all)
        })
    }

    /// The rows among these that belong to the user with this [`hash_of_user`](super::hash_of_user), events and
    /// updates, from the first or from the last on, until told to stop.
    ///
    /// Two users may have the same hash: of a million, one time in 37 million. Whoever shows records looks at
    /// their `user_id`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn rows_of(
        &self,
        user: u64,
        rows: RangeInclusive<u32>,
        descending: bool,
        visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        let malformed = self.source.malformed();
        for page in in_order(around(kept_users(&self.tail)?, user), descending) {
            let listed = decode_page(&self.source.read(page)?).map_err(&malformed)?;
            for block in in_order(around(&listed, user), descending) {
                let bytes = self.source.read(block)?;
                let entries = rows_in(block, &bytes, user).map_err(&malformed)?;
                let all = in_order(&entries, descending);
                let all = all.flat_map(|entry| in_order(entry, descending));
                for (row, update) in all.filter(|(row, _)| rows.contains(row)) {
                    let row = if *update { Row::Update(*row) } else { Row::Event(*row) };
                    if visit(row).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// How many events each of these users has, by [`hash_of_user`](super::hash_of_user). Of many users, those
    /// whose rows lie together are read together.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn events_of(&self, users: &[u64]) -> Result<Vec<u64>, IndexError> {
        let mut sorted: Vec<(u64, usize)> = users.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let mut counts = vec![0; users.len()];
        let pages = kept_users(&self.tail)?;
        for (page, wanted) in with_wanted(pages, &sorted) {
            let listed = decode_page(&self.source.read(page)?).map_err(self.source.malformed())?;
            for (block, wanted) in with_wanted(&listed, wanted) {
                let bytes = self.source.read(block)?;
                let heads = decode_heads(block.key, &mut Input(&bytes));
                let heads = heads.map_err(self.source.malformed())?;
                for Head { user, events, .. } in heads {
                    let from = wanted.partition_point(|(wanted, _)| *wanted < user);
                    let same = wanted[from..].iter().take_while(|(wanted, _)| *wanted == user);
                    same.for_each(|(_, at)| counts[*at] += events);
                }
            }
        }
        Ok(counts)
    }

    /// All attributes there are, in no order; none comes twice.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn attributes(&self, visit: &mut dyn FnMut(Attribute<'_>)) -> Result<(), IndexError> {
        let pieces = self.tail.attributes.as_deref().ok_or(NO_KINDS)?;
        self.with_kinds(|kinds| {
            for piece in pieces {
                let bytes = self.source.read(piece)?;
                attributes::decode(&bytes, &mut |kind, name, values| {
                    let kind = kind.checked_sub(1).map(|kind| kinds.get(kind as usize));
                    let kind = match kind {
                        None => None,
                        Some(Some((kind, _))) => Some(*kind),
                        Some(None) => return Err(Malformed("an attribute is of no type")),
                    };
                    visit(Attribute { kind, name, values: *values });
                    Ok(())
                })
                .map_err(self.source.malformed())?;
            }
            Ok(())
        })
    }

    /// Reads all of it and checks every byte.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn verify(&self) -> Result<(), IndexError> {
        self.source.verify(&self.summary)
    }

    fn with_kinds<T>(
        &self,
        then: impl FnOnce(&[(&str, Count)]) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        match self.tail.kinds.as_deref().ok_or(NO_KINDS)? {
            [piece] => {
                let bytes = self.source.read(piece)?;
                then(&kinds::decode(&bytes).map_err(self.source.malformed())?)
            }
            _ => Err(self.source.damaged("its types are in several pieces")),
        }
    }

    /// Reads the pieces that may hold what is wanted.
    fn each_of(
        &self,
        pieces: &[Piece],
        kind: Option<u32>,
        numbers: &Range<i64>,
        read: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<(), IndexError> {
        for (n, piece) in pieces.iter().enumerate() {
            let end = pieces.get(n + 1).map(|next| next.key);
            if may_hold(piece.key, end, kind, numbers) {
                read(&self.source.read(piece)?).map_err(self.source.malformed())?;
            }
        }
        Ok(())
    }
}

/// Which types are asked for.
enum Wanted {
    /// One that there is, by its number, or all.
    These(Option<u32>),
    None,
}

impl Wanted {
    fn of(kind: Option<&str>, kinds: &[(&str, Count)]) -> Wanted {
        let Some(kind) = kind else { return Wanted::These(None) };
        match kinds.iter().position(|(name, _)| *name == kind) {
            Some(number) => Wanted::These(Some(number as u32)),
            None => Wanted::None,
        }
    }
}

fn kept<'t>(section: &'t Section, why: &'static str) -> Result<&'t [Piece], IndexError> {
    section.as_deref().ok_or(IndexError::NotKept(why))
}

fn kept_users(tail: &Tail) -> Result<&[Piece], IndexError> {
    kept(&tail.users, "there are no rows by user")
}

/// Those of ascending pieces in which a key may be: from the one before the first that begins with it.
fn around(pieces: &[Piece], key: u64) -> &[Piece] {
    let from = pieces.partition_point(|piece| piece.key < key).saturating_sub(1);
    let to = pieces.partition_point(|piece| piece.key <= key);
    pieces.get(from..to).unwrap_or_default()
}

/// Those of ascending pieces in which any of ascending keys may be, each with these.
fn with_wanted<'p, 'w>(
    pieces: &'p [Piece],
    wanted: &'w [(u64, usize)],
) -> impl Iterator<Item = (&'p Piece, &'w [(u64, usize)])> {
    pieces.iter().enumerate().filter_map(move |(n, piece)| {
        let from = wanted.partition_point(|(key, _)| *key < piece.key);
        // The next one may begin with a key that ends this one.
        let to = pieces
            .get(n + 1)
            .map_or(wanted.len(), |next| wanted.partition_point(|(key, _)| *key <= next.key));
        wanted.get(from..to).filter(|of| !of.is_empty()).map(|of| (piece, of))
    })
}

/// Goes through them from the first or from the last on.
fn in_order<T>(all: &[T], descending: bool) -> impl Iterator<Item = &T> {
    (0..all.len()).map(move |n| &all[if descending { all.len() - 1 - n } else { n }])
}

/// The rows of a user in a block, by entry, ascending, and whether each is an update.
fn rows_in(block: &Piece, bytes: &[u8], user: u64) -> Result<Vec<Vec<(u32, bool)>>, Malformed> {
    let mut input = Input(bytes);
    let heads = decode_heads(block.key, &mut input)?;
    let mut entries = Vec::new();
    for Head { user: of, events, updates } in heads {
        if of > user {
            break;
        }
        if of < user {
            skip_rows(&mut input, events + updates)?;
            continue;
        }
        let events = decode_rows(&mut input, events)?.into_iter().map(|row| (row, false));
        let updates = decode_rows(&mut input, updates)?;
        let mut rows: Vec<_> = events.collect();
        if !updates.is_empty() {
            rows.extend(updates.into_iter().map(|row| (row, true)));
            rows.sort_unstable();
        }
        entries.push(rows);
    }
    Ok(entries)
}

#[cfg(test)]
impl Index {
    pub(super) fn print_sizes(&self, rows: f64) {
        let Tail {
            kinds,
            counts,
            sketches,
            stretches,
            groups,
            attributes,
            users,
            texts,
            facets,
            ..
        } = &self.tail;
        let mut all = 0;
        for (name, section) in [
            ("types", kinds),
            ("counts", counts),
            ("sketches of days", sketches),
            ("sketches of stretches", stretches),
            ("row groups", groups),
            ("attributes", attributes),
            ("pages of users", users),
            ("texts of facets", texts),
            ("facets of days", facets),
        ] {
            let bytes: u64 = section.iter().flatten().map(|piece| piece.bytes).sum();
            all += bytes;
            println!("{name}: {:.3} bytes an event", bytes as f64 / rows);
        }
        let rest = self.summary.bytes - all - self.summary.tail_bytes;
        println!("blocks of users: {:.3}, tail: {}", rest as f64 / rows, self.summary.tail_bytes);
    }
}
