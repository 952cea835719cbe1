//! What comes up most in a time: types of events, pages, referrers, browsers, systems, devices, all at once.
//!
//! Each list has the texts of a [`Facet`] as they were sent, whatever type a person set for an attribute of that name.
//! Promises exact counts in bounded memory: a list of more different texts than are told apart says so instead, and the
//! others are as they are. Days of UTC are counted by the store's indexes, and only what is left over at both ends is read.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::totals::{ends, whole};
use super::{Failure, Filter, Stop, answers};
use crate::model::{AccountId, Date};
use crate::store::index::Facet;
use crate::store::{Columns, Count, DAY_MILLIS, HOUR_MILLIS, Store};

/// Different texts of one list that are told apart.
pub const TEXTS_MAX: usize = 100_000;

/// Bytes of all texts of all lists, at the most.
pub const TEXTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a text takes beside its bytes, about.
const TEXT_BYTES: usize = 48;

/// Facets that are asked for together: where there are too many pages to be kept in an index, browsers are.
const TOGETHER: [&[Facet]; 4] = [
    &[Facet::Page],
    &[Facet::Referrer],
    &[Facet::ContextPage],
    &[Facet::Browser, Facet::Os, Facet::Device],
];

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Whose events.
    pub account: AccountId,
    /// From this date on.
    pub from: Date,
    /// Before this date.
    pub to: Date,
    /// Whether those of bots and prefetches count too.
    pub bots: bool,
    /// Rows of each list, at the most.
    pub top: usize,
}

/// What comes up most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tops {
    /// Types of events.
    pub kinds: Top,
    /// By the number of the facet.
    pub facets: [Top; Facet::ALL.len()],
    /// Records that could not be read, at the most.
    pub missing: u64,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// The texts that come up most and how often; of those as often, in their order.
    pub rows: Vec<(String, u64)>,
    /// Events that have a text.
    pub events: u64,
    /// How many different texts there are.
    pub texts: usize,
    /// Whether there are more different ones than are told apart; then there are no rows.
    pub is_too_much: bool,
}

/// A list in the making.
#[derive(Default)]
struct List {
    counts: HashMap<Box<str>, u64>,
    events: u64,
    is_too_much: bool,
}

/// All lists in the making.
#[derive(Default)]
struct Lists {
    lists: [List; Facet::ALL.len()],
    bytes: usize,
}

impl Lists {
    fn add(&mut self, facet: Facet, text: &str, events: u64) {
        let list = &mut self.lists[facet as usize];
        list.events += events;
        if list.is_too_much {
            return;
        }
        if let Some(count) = list.counts.get_mut(text) {
            *count += events;
            return;
        }
        let bytes = text.len() + TEXT_BYTES;
        if list.counts.len() < TEXTS_MAX && self.bytes + bytes <= TEXTS_BYTES_MAX {
            self.bytes += bytes;
            list.counts.insert(text.into(), events);
        } else {
            list.is_too_much = true;
            self.bytes -= list.counts.keys().map(|text| text.len() + TEXT_BYTES).sum::<usize>();
            list.counts = HashMap::new();
        }
    }
}

impl Top {
    fn of(counts: impl Iterator<Item = (Box<str>, u64)>, events: u64, top: usize) -> Top {
        let mut all: Vec<(Reverse<u64>, Box<str>)> =
            counts.map(|(text, count)| (Reverse(count), text)).collect();
        let texts = all.len();
        if texts > top {
            all.select_nth_unstable(top);
            all.truncate(top);
        }
        all.sort_unstable();
        let rows = all.into_iter().map(|(Reverse(count), text)| (text.into(), count)).collect();
        Top { rows, events, texts, is_too_much: false }
    }
}

impl Question {
    /// Lists.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Tops, Failure> {
        let (kinds, mut missing) = self.kinds(store, stop)?;
        let mut lists = Lists::default();
        let days = whole(self.from, self.to, DAY_MILLIS);
        if let Some((first, last)) = days {
            let (first, last) = (Some(first), Some(last));
            for facets in TOGETHER {
                let mut add = |facet: Facet, text: &str, count: Count| {
                    let events = count.people + if self.bots { count.nobodys } else { 0 };
                    if events > 0 {
                        lists.add(facet, text, events);
                    }
                };
                let answers = answers(store, stop);
                let counted = answers.facets(self.account, facets, first, last, &mut add)?;
                missing = missing.max(counted.records);
            }
        }
        for (start, end) in ends(self.from, self.to, days) {
            missing = missing.max(self.read(store, stop, start, end, &mut lists)?);
        }
        let facets = lists.lists.map(|List { counts, events, is_too_much }| Top {
            is_too_much,
            ..Top::of(counts.into_iter(), events, self.top)
        });
        Ok(Tops { kinds, facets, missing })
    }

    fn filter(&self, from: Date, to: Date) -> Filter {
        Filter { from: Some(from), to: Some(to), bots: self.bots, ..Filter::of(self.account) }
    }

    /// Types, from the store's counts of hours, and by reading what isn't a whole one.
    fn kinds(&self, store: &Store, stop: &Stop<'_>) -> Result<(Top, u64), Failure> {
        let mut counts: BTreeMap<Box<str>, u64> = BTreeMap::new();
        let mut missing = 0;
        let mut add = |kind: &str, count: u64| match counts.get_mut(kind) {
            _ if count == 0 => {}
            Some(events) => *events += count,
            None => drop(counts.insert(kind.into(), count)),
        };
        let hours = whole(self.from, self.to, HOUR_MILLIS);
        if let Some((first, last)) = hours {
            let (first, last) = (Some(first), Some(last));
            let counted = answers(store, stop).counts(
                self.account,
                None,
                first,
                last,
                &mut |kind, _, count| {
                    add(kind, count.people + if self.bots { count.nobodys } else { 0 });
                },
            )?;
            missing = counted.records;
        }
        for (start, end) in ends(self.from, self.to, hours) {
            let filter = self.filter(start, end);
            let scan = filter.scan(Columns { kinds: true, ..Columns::default() });
            let read = filter.read(store, scan, stop, &mut |piece, rows| {
                let mut of_kinds = vec![0; piece.kinds().len()];
                rows.iter().for_each(|row| of_kinds[piece.kind(*row as usize) as usize] += 1);
                piece.kinds().iter().zip(of_kinds).for_each(|(kind, count)| add(kind, count));
                Ok(())
            })?;
            missing = missing.max(read.records);
        }
        let events = counts.values().sum();
        Ok((Top::of(counts.into_iter(), events, self.top), missing))
    }

    /// Reads the events of a time, and says how many records could not be.
    fn read(
        &self,
        store: &Store,
        stop: &Stop<'_>,
        from: Date,
        to: Date,
        lists: &mut Lists,
    ) -> Result<u64, Failure> {
        let filter = self.filter(from, to);
        let columns = Columns { attributes: true, contexts: true, ..Columns::default() };
        let missing = filter.read(store, filter.scan(columns), stop, &mut |piece, rows| {
            let mut of_contexts = vec![0; piece.contexts().len()];
            for row in rows {
                let row = *row as usize;
                Facet::of_attributes(piece.attributes(row), &mut |facet, text| {
                    lists.add(facet, text, 1);
                });
                if let Some(context) = piece.context_number(row) {
                    of_contexts[context as usize] += 1;
                }
            }
            for (context, count) in piece.contexts().iter().zip(of_contexts) {
                if count > 0 {
                    Facet::of_context(context, &mut |facet, text| lists.add(facet, text, count));
                }
            }
            Ok(())
        })?;
        Ok(missing.records)
    }
}
