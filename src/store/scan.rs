//! Reading many events at once, column by column: what counts, breakdowns and the like are made of.
//!
//! Promises that every durable event of an account that a [`Scan`] asks for is shown once, ascending by
//! `seq`, unless it is erased or damaged; and that no more than one row group's columns are in memory.
//! Must not know what is asked of the events.

mod group;
mod piece;
mod user;

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::batch::BatchView;
use super::log::{Kind, Missing, Order, Step};
use super::manifest::{Sealed, View};
use super::sealed::Hints;
use super::segment::ColumnReader;
use super::tiers::{self, Reading};
use super::{Error, Stop, Store};
use crate::model::{AccountId, Change, Date, Erasures, Seq};
use group::GroupBlock;
use piece::Block;
pub use piece::Piece;

/// Rows of a piece that is gathered from records, and bytes of their attributes from which on it is shown.
const PIECE_ROWS: usize = 1024;
const PIECE_BYTES: usize = 1024 * 1024;

/// Which events are read, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Whose.
    pub account: AccountId,
    /// Those at these positions.
    pub range: RangeInclusive<Seq>,
    /// Those from this date on.
    pub from: Option<Date>,
    /// Those before this date.
    pub to: Option<Date>,
    /// Those of these types; all if there is none.
    pub kinds: Option<Vec<String>>,
    /// What is read of them.
    pub columns: Columns,
}

/// What is read of each event, beside its `seq`. A column that isn't read costs nothing, and is shown as
/// empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// When it happened.
    pub dates: bool,
    /// Its type.
    pub kinds: bool,
    /// Whose it is.
    pub users: bool,
    /// Its attributes, which are the most of it by far.
    pub attributes: bool,
    /// What a browser told beside.
    pub contexts: bool,
    /// When it came.
    pub received: bool,
    /// How it came.
    pub vias: bool,
}

impl Columns {
    /// All there is.
    pub const ALL: Columns = Columns {
        dates: true,
        kinds: true,
        users: true,
        attributes: true,
        contexts: true,
        received: true,
        vias: true,
    };
}

impl Scan {
    /// All events of an account, and nothing of them but where they stand.
    #[must_use]
    pub fn of(account: AccountId) -> Scan {
        let (range, columns) = (1..=Seq::MAX, Columns::default());
        Scan { account, range, from: None, to: None, kinds: None, columns }
    }

    fn wants(&self, kind: &str, date: Date) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|wanted| wanted == kind))
            && self.from.is_none_or(|from| from <= date)
            && self.to.is_none_or(|to| date < to)
    }
}

/// A scan that is under way.
struct Scanning<'s> {
    store: &'s Store,
    scan: &'s Scan,
    stop: &'s dyn Fn() -> bool,
    visit: &'s mut dyn FnMut(&Piece<'_>) -> Step,
    /// Rows of the hot end that weren't shown yet.
    hot: Block,
    reader: ColumnReader,
    group: GroupBlock,
    missing: Missing,
}

impl Scanning<'_> {
    fn go_on(&self) -> Result<(), Error> {
        if (self.stop)() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Shows what was gathered of the hot end.
    fn show_hot(&mut self) -> Step {
        if self.hot.len() == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let flow = (self.visit)(&self.hot.piece());
        self.hot.clear();
        flow
    }

    /// The erasures that may take something of a segment, those that came meanwhile among them.
    fn erasures(&self, sealed: &Sealed) -> Result<Option<Arc<Erasures>>, Error> {
        let view = self.store.tiers.view();
        if !view.erasures.concern(self.scan.account) {
            return Ok(None);
        }
        let touched = match self.store.tiers.index_of(sealed) {
            Some(index) => self.store.is_touched(&view, sealed, &index, self.stop)?,
            None => true,
        };
        Ok(touched.then(|| Arc::clone(&view.erasures)))
    }

    fn segment(&mut self, sealed: &Sealed, hints: &Hints) -> Step {
        let segment = match self.store.tiers.open_segment(sealed) {
            Ok(segment) => segment,
            Err(error) => {
                self.missing.add(sealed.rows(), sealed.name());
                self.store.tiers.note_unread(sealed, &error);
                return Ok(ControlFlow::Continue(()));
            }
        };
        for number in hints.groups(&self.store.tiers, sealed, &segment) {
            let Some(group) = segment.groups().get(number) else { continue };
            self.go_on()?;
            let erasures = self.erasures(sealed)?;
            let read = self.reader.enter(&segment, number).and_then(|mut columns| {
                self.group.read(&mut columns, group, &hints.range, self.scan, erasures.as_deref())
            });
            match read {
                Ok(false) => {}
                Ok(true) => {
                    if (self.visit)(&self.group.piece(self.scan.columns))?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Err(error) => {
                    self.missing.add(group.rows, sealed.name());
                    self.store.tiers.note_unread(sealed, &error);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Reading for Scanning<'_> {
    fn sealed(&mut self, view: &View, range: RangeInclusive<Seq>) -> Step {
        if self.show_hot()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let Scan { account, from, to, .. } = *self.scan;
        let event_kinds = self.scan.kinds.clone();
        let kind = Some(Kind::Events);
        let hints = Hints { range, user_id: None, from, to, kind, event_kinds };
        for sealed in view.of(account).iter().filter(|sealed| hints.segment(sealed)) {
            if self.segment(sealed, &hints)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn batch(&mut self, batch: BatchView<'_>) -> Step {
        self.go_on()?;
        let (scan, hot) = (self.scan, &mut self.hot);
        let erasures = &self.store.tiers.view().erasures;
        let _ = tiers::show(batch, &scan.range, Order::Ascending, &mut |seq, record| {
            if let Change::Event(event) = &record.change
                && event.account == scan.account
                && scan.wants(event.kind, event.date)
                && !erasures.take(seq, record)
            {
                hot.push(seq, record.received_at, event, scan.columns);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if self.hot.is_full() { self.show_hot() } else { Ok(ControlFlow::Continue(())) }
    }
}

impl Store {
    /// Shows `visit` the durable events that are asked for, in pieces, ascending by `seq`, until it says to
    /// stop. A piece has at least one row and at most some 33,000, and is gone when `visit` returns. What
    /// is erased isn't among them. Says how much was left out because it is damaged. Whether to stop is asked
    /// also where nothing is to be shown: before each row group and each batch of the hot end.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or its hot end is damaged, [`Error::Stopped`], and whatever `visit`
    /// returns.
    pub fn scan(
        &self,
        scan: &Scan,
        stop: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(&Piece<'_>) -> Step,
    ) -> Result<Missing, Error> {
        let end = self.last_seq().min(*scan.range.end());
        let scan = Scan { range: *scan.range.start()..=end, ..scan.clone() };
        let mut scanning = Scanning {
            store: self,
            scan: &scan,
            stop,
            visit,
            hot: Block::default(),
            reader: ColumnReader::default(),
            group: GroupBlock::default(),
            missing: Missing::default(),
        };
        self.tiers.walk(scan.range.clone(), Order::Ascending, &mut scanning)?;
        // It is the last piece, whatever is said to it.
        let _ = scanning.show_hot()?;
        Ok(scanning.missing)
    }

    /// As [`Store::scan`], of one user's events alone.
    ///
    /// # Errors
    /// As [`Store::scan`], and [`Error::TooMuch`] as [`Store::of_user`].
    pub fn scan_of_user(
        &self,
        scan: &Scan,
        id: &str,
        stop: &Stop<'_>,
        visit: &mut dyn FnMut(&Piece<'_>) -> Step,
    ) -> Result<Missing, Error> {
        let (range, mut block, mut stopped) = (scan.range.clone(), Block::default(), false);
        let missing =
            self.of_user(scan.account, id, Order::Ascending, range, stop, &mut |seq, record| {
                if let Change::Event(event) = &record.change
                    && scan.wants(event.kind, event.date)
                {
                    block.push(seq, record.received_at, event, scan.columns);
                }
                if !block.is_full() {
                    return Ok(ControlFlow::Continue(()));
                }
                let flow = visit(&block.piece())?;
                block.clear();
                stopped = flow.is_break();
                Ok(flow)
            })?;
        if !stopped && block.len() > 0 {
            let _ = visit(&block.piece())?;
        }
        Ok(missing)
    }

    /// How many events such a scan would read at most, told from what is known of row groups without
    /// reading them: of those that have any of the types in the range and the time, all events; with an
    /// index, those of the types.
    #[must_use]
    pub fn rows_to_scan(&self, scan: &Scan) -> u64 {
        let last_seq = self.last_seq();
        let view = self.tiers.view();
        let range = *scan.range.start()..=last_seq.min(*scan.range.end());
        let Scan { account, from, to, .. } = *scan;
        let (event_kinds, kind) = (scan.kinds.clone(), Some(Kind::Events));
        let hints = Hints { range: range.clone(), user_id: None, from, to, kind, event_kinds };
        let sealed = view.of(account).iter().filter(|sealed| hints.segment(sealed));
        let sealed: u64 = sealed.map(|sealed| hints.rows(&self.tiers, sealed)).sum();
        let first = (view.position.sealed_through + 1).max(*range.start());
        sealed + (range.end() + 1).saturating_sub(first)
    }
}
