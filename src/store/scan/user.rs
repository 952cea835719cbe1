//! One user's records, by way of the index, which knows the rows that they are in: of a row group no more is
//! decoded than the pages that hold these. Of the hot end the same is known in memory, so that no more of it is
//! read than the batches that hold them.

use std::ops::{ControlFlow, RangeInclusive};

use crate::model::{AccountId, Change, Record, Seq};
use crate::store::batch::BatchView;
use crate::store::index::{self, Index, IndexError, Row};
use crate::store::log::{Missing, Order, Selection, Step, Visit};
use crate::store::manifest::{Sealed, View};
use crate::store::sealed::Sources;
use crate::store::segment::{ColumnReader, Rows, Segment, SegmentError};
use crate::store::tiers::{self, Reading, Tiers};
use crate::store::{Error, Stop, Store};

impl Store {
    /// Shows `visit` the durable events and updates of one user at these positions, in order, until it says
    /// to stop. What is erased isn't among them, and keys of submissions aren't told. Says how much was left
    /// out because it is damaged. Where there is no index, or what lies in the hot end isn't known, records of others
    /// are read as well, as many as `stop` allows.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read or its hot end is damaged, [`Error::Stopped`], [`Error::TooMuch`], and
    /// whatever `visit` returns.
    pub fn of_user(
        &self,
        account: AccountId,
        id: &str,
        order: Order,
        range: RangeInclusive<Seq>,
        stop: &Stop<'_>,
        visit: Visit<'_>,
    ) -> Result<Missing, Error> {
        self.read_user(OfUser::new(&self.tiers, account, id, order, stop, visit), range)
    }

    /// The same of nothing but updates.
    ///
    /// # Errors
    /// As [`Store::of_user`].
    pub fn updates_of_user(
        &self,
        account: AccountId,
        id: &str,
        order: Order,
        range: RangeInclusive<Seq>,
        stop: &Stop<'_>,
        visit: Visit<'_>,
    ) -> Result<Missing, Error> {
        let reading = OfUser::new(&self.tiers, account, id, order, stop, visit);
        self.read_user(OfUser { updates_only: true, ..reading }, range)
    }

    fn read_user(
        &self,
        mut reading: OfUser<'_>,
        range: RangeInclusive<Seq>,
    ) -> Result<Missing, Error> {
        let range = *range.start()..=self.last_seq().min(*range.end());
        let OfUser { account, id, order, .. } = reading;
        let Some((base, seqs)) = self.newest_of_user(account, id, &range)? else {
            reading.walk(range)?;
            return Ok(reading.missing);
        };
        let (start, end) = range.into_inner();
        let (sealed, hot) = (start..=end.min(base), start.max(base + 1)..=end);
        match order {
            Order::Ascending => {
                reading.walk(sealed)?;
                reading.hot(hot, seqs.into_iter().rev())?;
            }
            Order::Descending => {
                reading.hot(hot, seqs.into_iter())?;
                reading.walk(sealed)?;
            }
        }
        Ok(reading.missing)
    }

    /// Where in the hot end records of a user are, newest first, and behind which position it begins; none if
    /// that isn't known. Those of another user may be among them whose id has the same hash.
    fn newest_of_user(
        &self,
        account: AccountId,
        id: &str,
        range: &RangeInclusive<Seq>,
    ) -> Result<Option<(Seq, Vec<Seq>)>, Error> {
        if *range.end() <= self.tiers.view().position.sealed_through {
            return Ok(None);
        }
        let mut seqs = Vec::new();
        // The hot end is soon read, so nobody need stop that.
        let asked = self.with_newest(account, &|| false, |hot| {
            let Some(hot) = hot else { return Ok(()) };
            hot.records_of(index::hash_of_user(account, id), &mut |seq| {
                if range.contains(&seq) {
                    seqs.push(seq);
                }
                let go_on = seq > *range.start();
                if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            Ok(())
        })?;
        let is_known = asked.answered.is_ok() && range.end() <= asked.range.end();
        Ok(is_known.then(|| (asked.range.start() - 1, seqs)))
    }
}

/// One user's records, as they are read.
struct OfUser<'s> {
    tiers: &'s Tiers,
    account: AccountId,
    id: &'s str,
    updates_only: bool,
    order: Order,
    /// The positions that weren't looked at yet.
    left: RangeInclusive<Seq>,
    stop: &'s Stop<'s>,
    visit: Visit<'s>,
    columns: ColumnReader,
    missing: Missing,
    /// Whether it was said to stop.
    stopped: bool,
}

/// Why a segment couldn't be read by its index to the end.
enum Failure {
    Index(IndexError),
    /// Whoever asked said so.
    Visit(Error),
}

impl<'s> OfUser<'s> {
    /// Of events and updates.
    fn new(
        tiers: &'s Tiers,
        account: AccountId,
        id: &'s str,
        order: Order,
        stop: &'s Stop<'s>,
        visit: Visit<'s>,
    ) -> OfUser<'s> {
        OfUser {
            tiers,
            account,
            id,
            updates_only: false,
            order,
            left: 1..=Seq::MAX,
            stop,
            visit,
            columns: ColumnReader::default(),
            missing: Missing::default(),
            stopped: false,
        }
    }

    /// Shows a record if it is the user's, and there yet.
    fn show(&mut self, seq: Seq, record: &Record<'_>) -> Step {
        self.stop.check()?;
        let wanted = match &record.change {
            Change::Event(event) => {
                !self.updates_only
                    && event.account == self.account
                    && event.user_id == Some(self.id)
            }
            Change::User(user) => user.account == self.account && user.id == self.id,
            _ => false,
        };
        if !wanted || !self.left.contains(&seq) {
            return Ok(ControlFlow::Continue(()));
        }
        let (start, end) = (*self.left.start(), *self.left.end());
        self.left = match self.order {
            Order::Ascending => seq.saturating_add(1)..=end,
            Order::Descending => start..=seq.saturating_sub(1),
        };
        if self.tiers.view().erasures.take(seq, record) {
            return Ok(ControlFlow::Continue(()));
        }
        let flow = (self.visit)(seq, record)?;
        self.stopped = flow.is_break();
        Ok(flow)
    }

    /// Shows what there is at some positions, unless it was said to stop.
    fn walk(&mut self, range: RangeInclusive<Seq>) -> Result<(), Error> {
        if self.stopped {
            return Ok(());
        }
        self.left = range.clone();
        self.tiers.walk(range, self.order, self)
    }

    /// Shows the records at some positions in the hot end, which are given in order.
    fn hot(
        &mut self,
        range: RangeInclusive<Seq>,
        seqs: impl Iterator<Item = Seq>,
    ) -> Result<(), Error> {
        self.left = range;
        for seq in seqs {
            // It may have been shown together with the one before.
            if self.stopped || !self.left.contains(&seq) {
                continue;
            }
            let (tiers, mut is_there) = (self.tiers, false);
            tiers.hot_batches(seq..=seq, Order::Descending, &mut |batch, _| {
                is_there = batch.first_seq() <= seq;
                if is_there { self.batch(batch) } else { Ok(ControlFlow::Break(())) }
            })?;
            if !is_there {
                // Overtaken: it was sealed meanwhile.
                return self.walk(self.left.clone());
            }
        }
        Ok(())
    }

    fn show_all(&mut self, rows: &Rows) -> Step {
        let count = rows.len();
        for n in 0..count {
            let row = if self.order == Order::Descending { count - 1 - n } else { n };
            let (seq, record) = rows.get(row);
            if self.show(seq, &record)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn segment(&mut self, view: &View, sealed: &Sealed) -> Step {
        self.stop.check()?;
        if let Some((summary, index)) = sealed.index().zip(self.tiers.index_of(sealed)) {
            match self.by_index(sealed, &index) {
                Ok(flow) => return Ok(flow),
                Err(Failure::Visit(error)) => return Err(error),
                // What was shown isn't left any more.
                Err(Failure::Index(error)) => self.tiers.index_failed(sealed, &summary, &error),
            }
        }
        let (first, last) = (sealed.summary.first_seq, sealed.summary.last_seq);
        let range = first.max(*self.left.start())..=last.min(*self.left.end());
        let selection = Selection {
            account: Some(self.account),
            user_id: Some(self.id.to_owned()),
            controls: false,
            ..Selection::of(range)
        };
        let most = self.stop.left();
        let mut sources = Sources::new(self.tiers, view, &selection, self.order, most)?;
        let flow = sources.read(&mut |seq, record| self.show(seq, record))?;
        self.missing.join(sources.missing());
        let (left, stopped_behind) = sources.left();
        // What wasn't read for that is one more than there may be, at least.
        self.stop.take(most.saturating_sub(left) + u64::from(stopped_behind.is_some()))?;
        Ok(flow)
    }

    fn by_index(&mut self, sealed: &Sealed, index: &Index) -> Result<ControlFlow<()>, Failure> {
        let segment = match self.tiers.open_segment(sealed) {
            Ok(segment) => segment,
            Err(error) => {
                self.lose(sealed, sealed.rows(), &error);
                return Ok(ControlFlow::Continue(()));
            }
        };
        let groups = Groups::of(&segment);
        let Some(rows) = groups.rows_within(&segment, &self.left) else {
            return Ok(ControlFlow::Continue(()));
        };
        let descending = self.order == Order::Descending;
        let hash = index::hash_of_user(self.account, self.id);
        // The rows of one row group, in order.
        let (mut of, mut picked): (_, Vec<u32>) = (0, Vec::new());
        let mut flow = Ok(ControlFlow::Continue(()));
        index
            .rows_of(hash, rows, descending, &mut |row| {
                let row = match row {
                    Row::Update(row) => row,
                    Row::Event(row) if !self.updates_only => row,
                    Row::Event(_) => return ControlFlow::Continue(()),
                };
                let Some((group, within)) = groups.place(row) else {
                    return ControlFlow::Continue(());
                };
                if group != of {
                    flow = self.group(sealed, &segment, of, &mut picked);
                    of = group;
                }
                picked.push(within);
                match flow {
                    Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })
            .map_err(Failure::Index)?;
        if flow.as_ref().map_err(|_| ()) == Ok(&ControlFlow::Continue(())) {
            flow = self.group(sealed, &segment, of, &mut picked);
        }
        flow.map_err(Failure::Visit)
    }

    /// Shows the user's records among some rows of a row group.
    fn group(
        &mut self,
        sealed: &Sealed,
        segment: &Segment,
        group: usize,
        rows: &mut Vec<u32>,
    ) -> Step {
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        rows.sort_unstable();
        let mut columns = std::mem::take(&mut self.columns);
        let read =
            columns.enter(segment, group).and_then(|mut group| group.records_of(self.id, rows));
        self.columns = columns;
        rows.clear();
        match read {
            Ok(records) => self.show_all(&records),
            Err(error) => {
                let rows = segment.groups().get(group).map_or(0, |group| group.rows);
                self.lose(sealed, rows, &error);
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    fn lose(&mut self, sealed: &Sealed, rows: u64, error: &SegmentError) {
        self.missing.add(rows, sealed.name());
        self.tiers.note_unread(sealed, error);
    }
}

impl Reading for OfUser<'_> {
    fn sealed(&mut self, view: &View, range: RangeInclusive<Seq>) -> Step {
        let segments = view.of(self.account);
        for n in 0..segments.len() {
            let descending = self.order == Order::Descending;
            let sealed = &segments[if descending { segments.len() - 1 - n } else { n }];
            let (first, last) = (sealed.summary.first_seq, sealed.summary.last_seq);
            let overlaps = first <= *range.end() && *range.start() <= last;
            if overlaps && self.segment(view, sealed)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn batch(&mut self, batch: BatchView<'_>) -> Step {
        self.stop.check()?;
        let range = self.left.clone();
        tiers::show(batch, &range, self.order, &mut |seq, record| self.show(seq, record))
    }
}

/// Where the row groups of a segment begin and end, in rows.
struct Groups {
    ends: Vec<u64>,
}

impl Groups {
    fn of(segment: &Segment) -> Groups {
        let sum = |sum: &mut u64, group: &crate::store::segment::Group| {
            *sum += group.rows;
            Some(*sum)
        };
        Groups { ends: segment.groups().iter().scan(0, sum).collect() }
    }

    fn start(&self, group: usize) -> u64 {
        group.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    /// The row group of a row, and the row within it.
    fn place(&self, row: u32) -> Option<(usize, u32)> {
        let group = self.ends.partition_point(|end| *end <= u64::from(row));
        let within = u64::from(row) - self.start(group);
        (group < self.ends.len()).then_some((group, within as u32))
    }

    /// The rows of the row groups that have positions of a range.
    fn rows_within(
        &self,
        segment: &Segment,
        range: &RangeInclusive<Seq>,
    ) -> Option<RangeInclusive<u32>> {
        let groups = segment.groups();
        let first = groups.partition_point(|group| group.last_seq < *range.start());
        let end = groups.partition_point(|group| group.first_seq <= *range.end());
        let last = self.start(end).checked_sub(1).filter(|_| first < end)?;
        let row = |row: u64| u32::try_from(row).unwrap_or(u32::MAX);
        Some(row(self.start(first))..=row(last))
    }
}
