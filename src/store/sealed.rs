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
use super::segment::{Group, Rows, Segment, SegmentError};
use super::tiers::Tiers;
use super::{Error, batch};
use crate::model::{AccountId, Change, Date, Record, Seq};

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
    pub fn new(
        tiers: &'t Tiers,
        view: &View,
        selection: &Selection,
        order: Order,
    ) -> Result<Sources<'t>, Error> {
        let mut sources = Vec::new();
        let accounts: Vec<AccountId> = match selection.account {
            Some(account) => vec![account],
            None => view.segments.keys().copied().collect(),
        };
        for account in accounts {
            let walk = Walk::new(tiers, view.of(account), selection, order);
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
}

/// Whether a control record is about an account.
fn concerns(account: AccountId, seq: Seq, record: &Record<'_>) -> bool {
    match record.change {
        Change::AccountMade { .. } => account.0 == seq,
        Change::AccountRotated { account: of, .. }
        | Change::RetentionSet { account: of, .. }
        | Change::SitesSet { account: of, .. }
        | Change::Erased { account: of, .. }
        | Change::Imported { account: of, .. } => of == account,
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
    missing: Missing,
}

/// What lets a segment or a row group be left out.
struct Hints {
    range: RangeInclusive<Seq>,
    user_id: Option<String>,
    from: Option<Date>,
    to: Option<Date>,
    kind: Option<Kind>,
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

    fn group(&self, group: &Group) -> bool {
        let of_state = group.users || group.keys;
        self.may_match(group.first_seq, group.last_seq, group.dates, of_state)
    }

    fn segment(&self, sealed: &Sealed) -> bool {
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
    ) -> Walk<'t> {
        let hints = Hints {
            range: selection.range.clone(),
            user_id: selection.user_id.clone(),
            from: selection.from,
            to: selection.to,
            kind: selection.kind,
        };
        let mut segments: Vec<_> =
            segments.iter().filter(|sealed| hints.segment(sealed)).cloned().collect();
        if order == Order::Ascending {
            segments.reverse();
        }
        Walk { tiers, order, hints, segments, open: None, rows: None, missing: Missing::default() }
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

    /// Reads the next row group; `false` if there is none. What is damaged is noted and left out.
    fn load(&mut self) -> bool {
        loop {
            if self.open.is_none() {
                let Some(sealed) = self.segments.pop() else { return false };
                match Segment::open(&sealed.path, Some(&sealed.summary)) {
                    Ok(segment) => {
                        let groups = segment.groups().iter().enumerate();
                        let mut groups: Vec<_> = groups
                            .filter(|(_, group)| self.hints.group(group))
                            .map(|(number, _)| number)
                            .collect();
                        if self.order == Order::Ascending {
                            groups.reverse();
                        }
                        self.open = Some(Open { segment, sealed, groups });
                    }
                    Err(error) => {
                        if self.hints.misses(sealed.summary.users > 0) {
                            self.missing.add(sealed.rows(), sealed.name());
                        }
                        self.tiers.note_damage(sealed.name(), &error.to_string());
                        continue;
                    }
                }
            }
            let Some(open) = &mut self.open else { return false };
            let Some(group) = open.groups.pop() else {
                self.open = None;
                continue;
            };
            match read_group(&open.segment, group, self.hints.user_id.as_deref()) {
                Ok(Some(rows)) => {
                    let (next, end) = (0, rows.len());
                    self.rows = Some(Window { rows, next, end });
                    return true;
                }
                Ok(None) => {}
                Err(error) => {
                    let group = open.segment.groups().get(group);
                    if self.hints.misses(group.is_none_or(|group| group.users)) {
                        let rows = group.map_or(0, |group| group.rows);
                        self.missing.add(rows, open.sealed.name());
                    }
                    self.tiers.note_damage(open.sealed.name(), &error.to_string());
                }
            }
        }
    }
}

/// A group's rows, unless none can be of the user who is looked for.
fn read_group(
    segment: &Segment,
    group: usize,
    user_id: Option<&str>,
) -> Result<Option<Rows>, SegmentError> {
    if let Some(id) = user_id
        && !segment.may_hold_user(group, id)?
    {
        return Ok(None);
    }
    segment.read(group).map(Some)
}
