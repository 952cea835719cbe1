//! Reading what is sealed: the segments of the selected accounts, and the control records that lay
//! between them, as one sequence by `seq`.
//!
//! One row group of each account is in memory at a time, so a walk over all accounts takes as many as
//! there are accounts; whoever reads everything does it account by account where order allows.

use std::collections::BinaryHeap;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::batch::encode_record;
use super::log::{Kind, Missing, Order, Selection, Step, Visit};
use super::manifest::{self, Sealed, View};
use super::segment::{ColumnReader, Group, Rows, Segment, SegmentError};
use super::tiers::Tiers;
use super::{Error, batch};
use crate::model::{AccountId, Change, Date, Record, Seq};

/// What it costs to open a segment, for each of its row groups, in records that are read. As a rule it is less,
/// for what is known of them is kept.
const GROUP_COST: u64 = 64;

/// A row group of which some rows are picked costs as much as if one in so many were read, beside these.
const ENTER_PART: u64 = 16;

/// Records at positions that are at most one in so many of a row group's are picked out of it.
const NARROW: u64 = 16;

/// Everything that is selected, from wherever it lies.
pub(super) struct Sources<'t> {
    order: Order,
    range: RangeInclusive<Seq>,
    sources: Vec<Source<'t>>,
}

/// One ascending or descending sequence.
enum Source<'t> {
    Segments(Box<Walk<'t>>),
    /// Encoded, in reading order, the next one last.
    Controls(Vec<(Seq, Vec<u8>)>),
}

impl<'t> Sources<'t> {
    /// Of each account, no more is read than costs as much as `most` records that are read one by one, but for
    /// the last row group.
    pub fn new(
        tiers: &'t Tiers,
        view: &View,
        selection: &Selection,
        order: Order,
        most: u64,
    ) -> Result<Sources<'t>, Error> {
        let mut sources = Vec::new();
        let accounts: Vec<AccountId> = match selection.account {
            Some(account) => vec![account],
            None => view.segments.keys().copied().collect(),
        };
        for account in accounts {
            let walk = Walk::new(tiers, view.of(account), selection, order, most);
            if !walk.segments.is_empty() {
                sources.push(Source::Segments(Box::new(walk)));
            }
        }
        if selection.controls {
            let mut controls = Vec::new();
            let manifest = &tiers.hot().manifest;
            manifest::controls(manifest, selection.range.clone(), &mut |seq, record| {
                if selection.account.is_none_or(|account| concerns(account, seq, record)) {
                    controls.push((seq, encode_record(record)));
                }
                Ok(())
            })?;
            if order == Order::Ascending {
                controls.reverse();
            }
            if !controls.is_empty() {
                sources.push(Source::Controls(controls));
            }
        }
        Ok(Sources { order, range: selection.range.clone(), sources })
    }

    /// Shows all of it in order.
    pub fn read(&mut self, visit: Visit<'_>) -> Step {
        let Sources { order, range, sources } = self;
        // So ordered that the greatest is the next to be read.
        let rank = |seq: Seq| match order {
            Order::Ascending => Seq::MAX - seq,
            Order::Descending => seq,
        };
        let mut heads = BinaryHeap::new();
        for (place, source) in sources.iter_mut().enumerate() {
            if let Some(seq) = source.head() {
                heads.push((rank(seq), place));
            }
        }
        while let Some((_, place)) = heads.pop() {
            let until = heads.peek().map(|(rank, _)| *rank);
            let Some(source) = sources.get_mut(place) else { continue };
            while let Some(seq) = source.head() {
                if until.is_some_and(|until| rank(seq) < until) {
                    heads.push((rank(seq), place));
                    break;
                }
                let mut show = |seq: Seq, record: &Record<'_>| {
                    if range.contains(&seq) {
                        visit(seq, record)
                    } else {
                        Ok(ControlFlow::Continue(()))
                    }
                };
                if source.show_next(&mut show)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What was left out.
    pub fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        for source in &self.sources {
            if let Source::Segments(walk) = source {
                missing.join(walk.missing.clone());
            }
        }
        missing
    }

    /// What of [`Sources::new`]'s bound is left, and, if there was too little for all of it, behind which
    /// position the rest lies: of one account.
    pub fn left(&self) -> (u64, Option<Seq>) {
        let walks = self.sources.iter().find_map(|source| match source {
            Source::Segments(walk) => Some((walk.left, walk.stopped_behind)),
            Source::Controls(_) => None,
        });
        walks.unwrap_or((u64::MAX, None))
    }
}

/// Whether a control record is about an account.
fn concerns(account: AccountId, seq: Seq, record: &Record<'_>) -> bool {
    match record.change {
        Change::AccountMade { .. } => account.0 == seq,
        Change::AccountRotated { account: of, .. }
        | Change::RetentionSet { account: of, .. }
        | Change::SitesSet { account: of, .. }
        | Change::TypeSet { account: of, .. }
        | Change::ZoneSet { account: of, .. }
        | Change::Erased { account: of, .. }
        | Change::Imported { account: of, .. } => of == account,
        Change::Person(change) => change.account() == Some(account),
        Change::Event(_) | Change::User(_) => false,
    }
}

impl Source<'_> {
    /// The position of the next record, if there is one more.
    fn head(&mut self) -> Option<Seq> {
        match self {
            Source::Segments(walk) => walk.head(),
            Source::Controls(controls) => controls.last().map(|(seq, _)| *seq),
        }
    }

    fn show_next(&mut self, visit: Visit<'_>) -> Step {
        match self {
            Source::Segments(walk) => walk.show_next(visit),
            Source::Controls(controls) => {
                let Some((seq, bytes)) = controls.pop() else {
                    return Ok(ControlFlow::Continue(()));
                };
                let record = batch::decode_record(&bytes).map_err(|error| Error::Damaged {
                    place: format!("the control record {seq}"),
                    why: error.0.to_owned(),
                })?;
                visit(seq, &record)
            }
        }
    }
}

/// The selected rows of one account's segments.
struct Walk<'t> {
    tiers: &'t Tiers,
    order: Order,
    hints: Hints,
    /// In reverse of the reading order, so that the next one is the last.
    segments: Vec<Arc<Sealed>>,
    open: Option<Open>,
    rows: Option<Window>,
    columns: ColumnReader,
    missing: Missing,
    /// What reading may cost yet, in records.
    left: u64,
    /// Behind which position nothing was read for that.
    stopped_behind: Option<Seq>,
}

/// What lets a segment or a row group be left out.
pub(super) struct Hints {
    pub range: RangeInclusive<Seq>,
    pub user_id: Option<String>,
    pub from: Option<Date>,
    pub to: Option<Date>,
    pub kind: Option<Kind>,
    /// Of nothing but events, their types.
    pub event_kinds: Option<Vec<String>>,
}

impl Hints {
    fn may_match(
        &self,
        first_seq: Seq,
        last_seq: Seq,
        dates: Option<(Date, Date)>,
        of_state: bool,
    ) -> bool {
        let dated = self.from.is_some() || self.to.is_some();
        let in_time = dates.is_some_and(|(first, last)| {
            self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first < to)
        });
        let of_kind = match self.kind {
            None => true,
            Some(Kind::State) => of_state,
            Some(Kind::Events) => dates.is_some(),
            Some(Kind::None) => false,
        };
        first_seq <= *self.range.end()
            && *self.range.start() <= last_seq
            && of_kind
            && (!dated || in_time)
    }

    /// Whether it matters that something can't be read. Without a key, a call that comes again is stored
    /// again; that is no reason to leave users as they are.
    fn misses(&self, users: bool) -> bool {
        users || self.kind != Some(Kind::State)
    }

    pub fn group(&self, group: &Group) -> bool {
        let of_state = group.users || group.keys;
        self.may_match(group.first_seq, group.last_seq, group.dates, of_state)
    }

    /// The row groups of a segment that may have something, by number.
    pub fn groups(&self, tiers: &Tiers, sealed: &Sealed, segment: &Segment) -> Vec<usize> {
        self.counted(tiers, sealed, segment).into_iter().map(|(number, _)| number).collect()
    }

    /// How many records a segment may have at most.
    pub fn rows(&self, tiers: &Tiers, sealed: &Sealed) -> u64 {
        // What can't be read is said by who reads it.
        let Ok(segment) = tiers.open_segment(sealed) else { return sealed.rows() };
        self.counted(tiers, sealed, &segment).into_iter().map(|(_, rows)| rows).sum()
    }

    /// The row groups of a segment that may have something, and how many records at most. Its index, if
    /// there is one, knows which types each has.
    fn counted(&self, tiers: &Tiers, sealed: &Sealed, segment: &Segment) -> Vec<(usize, u64)> {
        let within = |group: &Group| {
            let first = group.first_seq.max(*self.range.start());
            let last = group.last_seq.min(*self.range.end());
            group.rows.min((last + 1).saturating_sub(first))
        };
        let groups = segment.groups().iter().enumerate();
        let mut groups: Vec<(usize, u64)> = groups
            .filter(|(_, group)| self.group(group))
            .map(|(number, group)| (number, within(group)))
            .collect();
        if let Some(kinds) = &self.event_kinds
            && let Some((summary, index)) = sealed.index().zip(tiers.index_of(sealed))
        {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            match index.rows_by_group(Some(&kinds)) {
                Ok(rows) if rows.len() == segment.groups().len() => {
                    let of_kinds = |number: usize| u64::from(rows[number]);
                    groups.iter_mut().for_each(|(n, rows)| *rows = of_kinds(*n).min(*rows));
                    groups.retain(|(_, rows)| *rows > 0);
                }
                Ok(_) => {}
                Err(error) => tiers.index_failed(sealed, &summary, &error),
            }
        }
        groups
    }

    /// Whether a segment's index, if it has one, knows that none of its events are of the types.
    fn is_without(&self, tiers: &Tiers, sealed: &Sealed) -> bool {
        let Some(kinds) = &self.event_kinds else { return false };
        let Some((summary, index)) = sealed.index().zip(tiers.index_of(sealed)) else {
            return false;
        };
        let mut is_without = true;
        let asked = index.kinds(&mut |kind, _| is_without &= !kinds.iter().any(|k| k == kind));
        if let Err(error) = &asked {
            tiers.index_failed(sealed, &summary, error);
        }
        is_without && asked.is_ok()
    }

    /// Whether so few records of a row group can be asked for, by their positions, that they are picked out of it.
    fn is_narrow(&self, segment: &Segment, group: usize) -> bool {
        let Some(group) = segment.groups().get(group) else { return false };
        let first = group.first_seq.max(*self.range.start());
        let last = group.last_seq.min(*self.range.end());
        // Whoever asks for more than events may want the keys of submissions.
        self.kind == Some(Kind::Events) && (last + 1).saturating_sub(first) <= group.rows / NARROW
    }

    /// Reads what may be looked for of a row group: all, or of one type its events alone, or those at a few
    /// positions.
    fn read(
        &self,
        segment: &Segment,
        group: usize,
        columns: &mut ColumnReader,
    ) -> Result<Read, SegmentError> {
        if let Some(id) = &self.user_id
            && !segment.may_hold_user(group, id)?
        {
            return Ok(Read { rows: None, cost: GROUP_COST });
        }
        if let Some([kind]) = self.event_kinds.as_deref() {
            let mut group = columns.enter(segment, group)?;
            if let Some(rows) = group.events_of_type(kind, &self.range)? {
                let cost = group.rows() as u64 / ENTER_PART + rows.len() as u64;
                return Ok(Read { rows: Some(rows), cost });
            }
        }
        if self.is_narrow(segment, group) {
            let mut group = columns.enter(segment, group)?;
            if let Some(rows) = group.records_within(&self.range)? {
                let cost = group.rows() as u64 / ENTER_PART + rows.len() as u64;
                return Ok(Read { rows: Some(rows), cost });
            }
        }
        let rows = segment.read(group)?;
        let cost = rows.len() as u64;
        Ok(Read { rows: Some(rows), cost })
    }

    pub fn segment(&self, sealed: &Sealed) -> bool {
        let summary = &sealed.summary;
        // Only the file itself tells whether there are keys in it.
        self.may_match(summary.first_seq, summary.last_seq, summary.dates, true)
    }
}

/// A segment that is being read.
struct Open {
    segment: Segment,
    sealed: Arc<Sealed>,
    /// In reverse of the reading order.
    groups: Vec<usize>,
    /// Whether one of them was read: without, whoever is stopped for what it cost would come no further.
    is_entered: bool,
}

/// Rows of a group that weren't shown yet.
struct Window {
    rows: Rows,
    next: usize,
    end: usize,
}

impl<'t> Walk<'t> {
    fn new(
        tiers: &'t Tiers,
        segments: &[Arc<Sealed>],
        selection: &Selection,
        order: Order,
        most: u64,
    ) -> Walk<'t> {
        let hints = Hints {
            range: selection.range.clone(),
            user_id: selection.user_id.clone(),
            from: selection.from,
            to: selection.to,
            kind: selection.kind,
            event_kinds: (selection.event_type.clone())
                .filter(|_| selection.kind == Some(Kind::Events))
                .map(|kind| vec![kind]),
        };
        let mut segments: Vec<_> =
            segments.iter().filter(|sealed| hints.segment(sealed)).cloned().collect();
        if order == Order::Ascending {
            segments.reverse();
        }
        Walk {
            tiers,
            order,
            hints,
            segments,
            open: None,
            rows: None,
            columns: ColumnReader::default(),
            missing: Missing::default(),
            left: most,
            stopped_behind: None,
        }
    }

    fn head(&mut self) -> Option<Seq> {
        loop {
            if let Some(window) = &self.rows {
                if window.next < window.end {
                    return Some(match self.order {
                        Order::Ascending => window.rows.seq(window.next),
                        Order::Descending => window.rows.seq(window.end - 1),
                    });
                }
                self.rows = None;
            }
            if !self.load() {
                return None;
            }
        }
    }

    fn show_next(&mut self, visit: Visit<'_>) -> Step {
        let Some(window) = &mut self.rows else { return Ok(ControlFlow::Continue(())) };
        let at = match self.order {
            Order::Ascending => {
                window.next += 1;
                window.next - 1
            }
            Order::Descending => {
                window.end -= 1;
                window.end
            }
        };
        let (seq, record) = window.rows.get(at);
        visit(seq, &record)
    }

    /// Whether nothing more may be read. What lies at these positions is next.
    fn is_spent(&mut self, first: Seq, last: Seq) -> bool {
        if self.left == 0 {
            self.stopped_behind = Some(match self.order {
                Order::Ascending => first.saturating_sub(1),
                Order::Descending => last.saturating_add(1),
            });
        }
        self.left == 0
    }

    fn pay(&mut self, cost: u64) {
        self.left = self.left.saturating_sub(cost);
    }

    /// Opens the next segment; `false` if there is none, or nothing more may be read.
    fn open(&mut self) -> bool {
        while let Some(sealed) = self.segments.pop() {
            let (first, last) = (sealed.summary.first_seq, sealed.summary.last_seq);
            if self.is_spent(first, last) {
                return false;
            }
            self.pay(GROUP_COST);
            if self.hints.is_without(self.tiers, &sealed) {
                continue;
            }
            match self.tiers.open_segment(&sealed) {
                Ok(segment) => {
                    self.pay(GROUP_COST * segment.groups().len() as u64);
                    let mut groups = self.hints.groups(self.tiers, &sealed, &segment);
                    if self.order == Order::Ascending {
                        groups.reverse();
                    }
                    self.open = Some(Open { segment, sealed, groups, is_entered: false });
                    return true;
                }
                Err(error) => {
                    if self.hints.misses(sealed.summary.users > 0) {
                        self.missing.add(sealed.rows(), sealed.name());
                    }
                    self.tiers.note_unread(&sealed, &error);
                }
            }
        }
        false
    }

    /// Reads the next row group; `false` if there is none, or nothing more may be read. What is damaged is noted
    /// and left out.
    fn load(&mut self) -> bool {
        loop {
            let Some(open) = &mut self.open else {
                if self.open() {
                    continue;
                }
                return false;
            };
            let Some(number) = open.groups.pop() else {
                self.open = None;
                continue;
            };
            let group = open.segment.groups().get(number).cloned();
            let was_entered = std::mem::replace(&mut open.is_entered, true);
            if let Some(Group { first_seq, last_seq, .. }) = group
                && was_entered
                && self.is_spent(first_seq, last_seq)
            {
                return false;
            }
            let Some(open) = &self.open else { return false };
            match self.hints.read(&open.segment, number, &mut self.columns) {
                Ok(Read { rows, cost }) => {
                    self.pay(cost);
                    if let Some(rows) = rows {
                        let (next, end) = (0, rows.len());
                        self.rows = Some(Window { rows, next, end });
                        return true;
                    }
                }
                Err(error) => {
                    if self.hints.misses(group.as_ref().is_none_or(|group| group.users)) {
                        let rows = group.map_or(0, |group| group.rows);
                        self.missing.add(rows, open.sealed.name());
                    }
                    self.tiers.note_unread(&open.sealed, &error);
                }
            }
        }
    }
}

/// What was read of a row group.
struct Read {
    /// None if it has nothing of what is looked for.
    rows: Option<Rows>,
    /// What that cost, in records.
    cost: u64,
}
