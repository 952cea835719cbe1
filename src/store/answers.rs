//! What the store answers without showing records: how many events, how many users, which attributes.
//!
//! Promises that every answer holds what was durable when it was asked for, so that a call that was
//! acknowledged before is in it, and nothing that is erased. Knows nothing of what is made of answers.
//!
//! # Where an answer comes from
//! From the index of each segment, and from what is known of the hot end (`newest`). A segment is read
//! itself, in columns, where that can't be had: it has no index yet, the index is damaged or keeps none of
//! what is asked for, or an erasure that isn't done at rest yet takes something of what it holds; or it is damaged
//! itself, so that all answers leave out the same and say so. Of all that would be read so there is a most
//! ([`Stop`]), which is looked at before any of it is.

mod attributes;
mod by_facet;
mod by_time;
mod by_user;

use std::ops::{ControlFlow, RangeInclusive};

use super::index::{
    Count, DAY_MILLIS, Facet, HOUR_MILLIS, Hot, Index, IndexError, Sketch, VisitFacets,
};
use super::log::Missing;
use super::manifest::{Sealed, View};
use super::newest::Asked;
use super::segment::Summary;
use super::{Error, Stop, Store};
use crate::model::erasure::{Digest, Scope};
use crate::model::{AccountId, DataType, Date, Seq};
use attributes::Attributes;
use by_facet::Facets;
use by_time::{Counts, Distinct, Sketches, Span};
use by_user::EventCounts;

/// Attributes of an answer; those beyond count as one without a name.
pub const ATTRIBUTES_MAX: usize = 20_000;

/// An attribute, and the types that its values were recognised as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeCount {
    /// The type of the events that have it; none if users have it.
    pub kind: Option<String>,
    /// Its name; one within an object has the object's name and a dot in front. None stands for all those
    /// that are too many, or whose names are too long, to be kept.
    pub name: Option<String>,
    /// How many values were recognised as each type, in the order of [`DataType::ALL`].
    pub values: [u64; DataType::ALL.len()],
}

/// How far what answers questions is behind the log. Answers are right all the same, only slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records that no index has yet.
    pub records: u64,
    /// Segments that have no index.
    pub segments: usize,
}

/// What is shown counts: a type, the beginning of an hour, and the events in it. It must not ask the store
/// anything: others who ask may wait for it.
pub type VisitCount<'v> = &'v mut dyn FnMut(&str, Date, Count);

/// What is shown sketches: a type, the beginning of a day, its users and its visitors. It must not ask the
/// store anything: others who ask may wait for it.
pub type VisitSketches<'v> = &'v mut dyn FnMut(&str, Date, &Sketch, &Sketch);

/// What is shown sketches of users and of visitors, to be merged.
pub type VisitDistinct<'v> = &'v mut dyn FnMut(&Sketch, &Sketch);

/// Something that is asked of every part of the log.
trait Question {
    /// Whose.
    fn account(&self) -> AccountId;

    /// Whether a segment can matter, by what is known of it.
    fn concerns(&self, summary: &Summary) -> bool;

    /// Whether an erasure can take something of what is asked for, in whichever segment.
    fn is_touched_by(&self, scope: &Scope) -> bool;

    /// Takes what an index says. If it fails, what was taken before has to be of no harm.
    fn ask(&mut self, index: &Index) -> Result<(), IndexError>;

    /// The same of the hot end.
    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError>;

    /// How many records of a stretch that has `all` would have to be read instead, at the most.
    fn rows(&self, _: &Store, _: &RangeInclusive<Seq>, all: u64) -> u64 {
        all
    }

    /// Reads a stretch of the log instead.
    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error>;
}

/// What the store answers, and how far it may go for that.
#[derive(Clone, Copy)]
pub struct Answers<'s> {
    /// Of what.
    pub store: &'s Store,
    /// How many records may be read where they aren't counted already; and whether nobody waits for the answer
    /// any more, which is asked at each row group that is read.
    pub stop: &'s Stop<'s>,
}

impl Answers<'_> {
    /// How many events there are in each hour (of UTC) that overlaps `from..to`, by type. The same type
    /// and hour may be shown several times, in any order: the sum counts.
    ///
    /// # Errors
    /// [`Error`] if what is asked for can't be read.
    pub fn counts(
        &self,
        account: AccountId,
        kind: Option<&str>,
        from: Option<Date>,
        to: Option<Date>,
        visit: VisitCount<'_>,
    ) -> Result<Missing, Error> {
        let span = Span::of(account, kind, from, to, HOUR_MILLIS);
        self.answer(&mut Counts { span, visit })
    }

    /// The distinct users and visitors in each day (of UTC) that overlaps `from..to`, by type, those of
    /// bots and prefetches only if `with_nobodys`. The same type and day may be shown several times, in any
    /// order, also with some of the same users: merged they count.
    ///
    /// # Errors
    /// [`Error`] if what is asked for can't be read.
    pub fn sketches(
        &self,
        account: AccountId,
        kind: Option<&str>,
        from: Option<Date>,
        to: Option<Date>,
        with_nobodys: bool,
        visit: VisitSketches<'_>,
    ) -> Result<Missing, Error> {
        let span = Span::of(account, kind, from, to, DAY_MILLIS);
        self.answer(&mut Sketches { span, with_nobodys, visit })
    }

    /// The distinct users and visitors of all days that overlap `from..to`, those of bots and prefetches only
    /// if `with_nobodys`: sketches that merged say how many there are, of which there are far fewer than those
    /// of [`Answers::sketches`].
    ///
    /// # Errors
    /// [`Error`] if what is asked for can't be read.
    pub fn distinct(
        &self,
        account: AccountId,
        kind: Option<&str>,
        from: Option<Date>,
        to: Option<Date>,
        with_nobodys: bool,
        visit: VisitDistinct<'_>,
    ) -> Result<Missing, Error> {
        let span = Span::of(account, kind, from, to, DAY_MILLIS);
        let mut show = |_: &str, _: Date, users: &Sketch, visitors: &Sketch| visit(users, visitors);
        self.answer(&mut Distinct(Sketches { span, with_nobodys, visit: &mut show }))
    }

    /// How many events there are with each text of some facets in all days (of UTC) that overlap `from..to`. The same
    /// text may be shown several times: the sum counts.
    ///
    /// Where an index keeps one of these facets not, the segment is read for all of them.
    ///
    /// # Errors
    /// [`Error`] if what is asked for can't be read.
    pub fn facets(
        &self,
        account: AccountId,
        facets: &[Facet],
        from: Option<Date>,
        to: Option<Date>,
        visit: VisitFacets<'_>,
    ) -> Result<Missing, Error> {
        let span = Span::of(account, None, from, to, DAY_MILLIS);
        self.answer(&mut Facets { span, facets, visit })
    }

    /// How many events each of some users has, those of bots and prefetches included.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read.
    pub fn event_counts(
        &self,
        account: AccountId,
        ids: &[&str],
    ) -> Result<(Vec<u64>, Missing), Error> {
        let mut question = EventCounts::of(account, ids);
        let missing = self.answer(&mut question)?;
        Ok((question.counts, missing))
    }

    /// The attributes that an account's users and events were sent with, and the types that their values
    /// were recognised as, as sent; by kind and name. At most [`ATTRIBUTES_MAX`], and one more.
    ///
    /// # Errors
    /// [`Error`] if the log can't be read.
    pub fn attribute_statistics(
        &self,
        account: AccountId,
    ) -> Result<(Vec<AttributeCount>, Missing), Error> {
        let mut question = Attributes::of(account);
        let missing = self.answer(&mut question)?;
        Ok((question.into_counts(), missing))
    }

    fn answer(&self, question: &mut dyn Question) -> Result<Missing, Error> {
        let Answers { store, stop } = *self;
        let account = question.account();
        let Asked { view, range, answered } = store.with_newest(account, stop.asked(), |hot| {
            hot.map_or(Ok(()), |hot| question.ask_hot(hot))
        })?;
        let mut unanswered = Vec::new();
        let mut rows = 0;
        if answered.is_err() && !range.is_empty() {
            let all = range.end() - range.start() + 1;
            rows += question.rows(store, &range, all);
            unanswered.push(range);
        }
        let mut scopes = view.erasures.of_account(account);
        let is_touched = scopes.any(|(_, scope)| question.is_touched_by(&scope));
        for sealed in view.of(account) {
            if !question.concerns(&sealed.summary) {
                continue;
            }
            stop.check()?;
            if let Some((summary, index)) = sealed.index().zip(store.tiers.index_of(sealed))
                && !store.tiers.is_damaged(sealed)
                && !(is_touched && store.is_touched(&view, sealed, &index, stop.asked())?)
            {
                match question.ask(&index) {
                    Ok(()) => continue,
                    Err(error) => store.tiers.index_failed(sealed, &summary, &error),
                }
            }
            let range = sealed.summary.first_seq..=sealed.summary.last_seq;
            rows += question.rows(store, &range, sealed.rows());
            unanswered.push(range);
        }
        stop.take(rows)?;
        let mut missing = Missing::default();
        for range in unanswered {
            missing.join(question.read(self, range)?);
        }
        Ok(missing)
    }
}

impl Store {
    /// How far the indexes are behind the log.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let view = self.tiers.view();
        let unindexed = view.all().filter(|sealed| sealed.index().is_none());
        let (records, segments) =
            unindexed.fold((0, 0), |(records, n), sealed| (records + sealed.rows(), n + 1));
        Lag { records: records + self.unread(&view), segments }
    }

    /// Whether an erasure that isn't done at rest yet may take something of what a segment holds. Each erasure
    /// is looked at once for a segment, not again whenever another comes.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `stop` says so, which is asked at each erasure that is looked at.
    pub(super) fn is_touched(
        &self,
        view: &View,
        sealed: &Sealed,
        index: &Index,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        let account = sealed.summary.account;
        sealed.touched_by(&view.erasures, |seq, scope| {
            if stop() {
                return Err(Error::Stopped);
            }
            // What can't be told counts as taken.
            Ok(sealed.summary.first_seq < seq
                && may_take(account, scope, &sealed.summary, index).unwrap_or(true))
        })
    }
}

/// Whether an erasure can take something of a segment.
fn may_take(
    account: AccountId,
    scope: Scope,
    summary: &Summary,
    index: &Index,
) -> Result<bool, IndexError> {
    let has_user = |digest: &Digest| {
        let mut found = false;
        index.rows_of(hash_of_digest(digest), 0..=u32::MAX, false, &mut |_| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    };
    Ok(match scope {
        Scope::User(user) => has_user(&user)?,
        // The first of the dates is that of an arrival, if one was earlier.
        Scope::Expired { before } => summary.dates.is_some_and(|(first, _)| first < before),
        Scope::Events { kind, user_id, from, to } => {
            let in_time = summary.dates.is_some_and(|(first, last)| {
                from.is_none_or(|from| from <= last) && to.is_none_or(|to| first < to)
            });
            if !in_time {
                return Ok(false);
            }
            if let Some(wanted) = kind {
                let mut found = false;
                index.kinds(&mut |kind, _| {
                    found |= Digest::of_kind(account, kind) == wanted;
                })?;
                if !found {
                    return Ok(false);
                }
            }
            match user_id {
                Some(user) => has_user(&user)?,
                None => true,
            }
        }
    })
}

/// What [`index::hash_of_user`] makes of a digest.
fn hash_of_digest(digest: &Digest) -> u64 {
    digest.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
