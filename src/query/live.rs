//! What is going on: the newest events, and who was behind those of the last minutes.
//!
//! Goes back from the log's end, so it costs as much as came in lately, and no more than [`WALK_MAX`] records. What was
//! imported is among the newest events, but nobody came with it.

use std::ops::ControlFlow;

use super::{Failure, Stop};
use crate::context;
use crate::model::record::Event;
use crate::model::{AccountId, Change, Date, Record, Seq, Via};
use crate::store::index::{Circumstances, Facet, hash_of_user, hash_of_visitor};
use crate::store::{Order, Selection, Sketch, Store};

/// Records that are looked at, at the most.
pub const WALK_MAX: u64 = 20_000;

/// Positions at the log's end that are looked at first: few enough to be picked out of what is sealed.
const NEAR: u64 = 512;

/// Characters of a text that is shown; the rest is left out.
pub const TEXT_CHARS_MAX: usize = 300;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose events.
    pub account: AccountId,
    /// The time now.
    pub now: Date,
    /// Who came since, each; the earliest first.
    pub since: Vec<Date>,
    /// Events that are shown, at the most.
    pub limit: usize,
    /// Whether those of bots and prefetches count too.
    pub bots: bool,
}

/// What is going on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// The newest events, newest first.
    pub events: Vec<Arrived>,
    /// Who came, for each of [`Question::since`].
    pub who: Vec<Who>,
    /// Whether so much came in that not all of it was looked at: `who` is too little then.
    pub is_cut: bool,
    /// Records that could not be read, at the most.
    pub missing: u64,
}

/// An event that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its place in the log.
    pub seq: Seq,
    /// When it came.
    pub at: Date,
    /// Its type.
    pub kind: String,
    /// Whose it is.
    pub user_id: Option<String>,
    /// By the number of the facet: what it says of it.
    pub facets: [Option<String>; Facet::ALL.len()],
    /// Whether it is a bot's, or was fetched ahead of time.
    pub is_nobodys: bool,
}

impl Arrived {
    fn of(seq: Seq, at: Date, event: &Event<'_>, is_nobodys: bool) -> Arrived {
        let mut facets: [Option<String>; Facet::ALL.len()] = Default::default();
        let mut show = |facet: Facet, text: &str| facets[facet as usize] = Some(cut(text));
        Facet::of_attributes(event.attributes, &mut show);
        event.context.inspect(|context| Facet::of_context(context, &mut show));
        let (kind, user_id) = (event.kind.to_owned(), event.user_id.map(str::to_owned));
        Arrived { seq, at, kind, user_id, facets, is_nobodys }
    }

    /// What it says of a facet.
    #[must_use]
    pub fn facet(&self, facet: Facet) -> Option<&str> {
        self.facets[facet as usize].as_deref()
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Who came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Events.
    pub events: u64,
    /// Distinct users, about.
    pub users: u64,
    /// Distinct visitors, about.
    pub visitors: u64,
}

/// Who came, being counted.
#[derive(Default)]
struct Counted {
    events: u64,
    users: Sketch,
    visitors: Sketch,
}

impl Question {
    /// Looks.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn answer(&self, store: &Store, stop: &Stop<'_>) -> Result<Live, Failure> {
        // Mostly that is all there is to see.
        let near = store.last_seq().saturating_sub(NEAR) + 1;
        let (live, is_done) = self.look(store, stop, near)?;
        if is_done || near == 1 { Ok(live) } else { Ok(self.look(store, stop, 1)?.0) }
    }

    /// Looks back to a position, and says whether nothing before it matters.
    fn look(&self, store: &Store, stop: &Stop<'_>, to: Seq) -> Result<(Live, bool), Failure> {
        let Question { account, now, since, limit, bots } = self;
        let mut counted: Vec<Counted> = since.iter().map(|_| Counted::default()).collect();
        let earliest = since.iter().min().copied().unwrap_or(*now);
        let mut live = Live::default();
        let (mut looked_at, mut is_done) = (0, false);
        let selection = Selection::of(to..=Seq::MAX).events_of(*account);
        let mut show = |seq: Seq, record: &Record<'_>| {
            let Change::Event(event) = &record.change else { return Ok(ControlFlow::Continue(())) };
            if event.account != *account {
                return Ok(ControlFlow::Continue(()));
            }
            let is_full = live.events.len() >= *limit;
            let came = event.via != Via::Import;
            is_done = is_full && came && record.received_at < earliest;
            if is_done || looked_at == WALK_MAX || stop.is_due() {
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            let is_nobodys = event.context.is_some_and(context::is_nobodys);
            if is_nobodys && !bots {
                return Ok(ControlFlow::Continue(()));
            }
            if came && record.received_at >= earliest {
                let user = event.user_id.map(|id| hash_of_user(*account, id));
                let visitor = event.context.and_then(|context| Circumstances::of(context).visitor);
                let visitor = visitor.map(|visitor| hash_of_visitor(&visitor));
                for (counted, since) in counted.iter_mut().zip(since) {
                    if record.received_at >= *since {
                        counted.events += 1;
                        user.inspect(|user| counted.users.insert(*user));
                        visitor.inspect(|visitor| counted.visitors.insert(*visitor));
                    }
                }
            }
            if !is_full {
                live.events.push(Arrived::of(seq, record.received_at, event, is_nobodys));
            }
            Ok(ControlFlow::Continue(()))
        };
        let (missing, unread) =
            store.select_some(&selection, Order::Descending, WALK_MAX, &mut show)?;
        stop.check()?;
        let is_all = is_done || looked_at < WALK_MAX && unread.is_none();
        live.missing = missing.records;
        live.is_cut = !is_all;
        live.who = counted
            .into_iter()
            .map(|Counted { events, users, visitors }| Who {
                events,
                users: users.estimate().min(events),
                visitors: visitors.estimate().min(events),
            })
            .collect();
        Ok((live, is_done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Via;
    use crate::query::trial::{ACCOUNT, BOT, Trial};
    use crate::store::Draft;

    const MINUTE: i64 = 60_000;

    /// An event that came at so many milliseconds.
    fn came(n: u64, at: i64, via: Via, user: &str, context: &str) -> Draft {
        let (kind, date) = (format!("k{n}"), Date::from_millis(0));
        let (user_id, context) = (Some(user), Some(context).filter(|text| !text.is_empty()));
        let event = Event {
            account: ACCOUNT,
            via,
            kind: &kind,
            user_id,
            date,
            attributes: r#"{"page":"/a"}"#,
            context,
        };
        Draft::event(event, Date::from_millis(at))
    }

    /// The same whether the newest are sealed or not, few or many, beside looking at each.
    #[test]
    fn the_newest_and_who_came() {
        let now = 100 * MINUTE;
        for (count, sealed) in [(0, false), (3, false), (40, true), (700, false), (3_000, true)] {
            let trial = Trial::new();
            let users = ["a", "b", "c", "d", "e"];
            let of = |n: u64| {
                // Two of five within the last 30 minutes; every seventh is a bot's, every ninth imported.
                let at = now - (count - n) as i64 * 75 * MINUTE / count.max(1) as i64;
                let via = if n.is_multiple_of(9) { Via::Import } else { Via::Public };
                let context = match n % 7 {
                    0 => BOT.to_owned(),
                    _ => format!(r#"{{"page":"/b","os":"Linux","visitor":"v{}"}}"#, n % 4),
                };
                (at, via, users[n as usize % 5], context)
            };
            let draft = |n: u64| {
                let (at, via, user, context) = of(n);
                came(n, at, via, user, &context)
            };
            if count > 0 {
                trial.put((0..count).map(draft).collect());
            }
            if sealed {
                trial.seal();
            }
            for bots in [false, true] {
                let since =
                    vec![Date::from_millis(now - 30 * MINUTE), Date::from_millis(now - 5 * MINUTE)];
                let question = Question {
                    account: ACCOUNT,
                    now: Date::from_millis(now),
                    since,
                    limit: 10,
                    bots,
                };
                let live = question.answer(&trial.store, &Stop::never()).unwrap();
                let all: Vec<u64> = (0..count).rev().filter(|n| bots || n % 7 > 0).collect();
                let kinds: Vec<_> = live.events.iter().map(|event| event.kind.clone()).collect();
                let newest: Vec<_> = all.iter().take(10).map(|n| format!("k{n}")).collect();
                assert_eq!(kinds, newest, "{count} {sealed} {bots}");
                for (minutes, who) in [30, 5].into_iter().zip(&live.who) {
                    let lately = |n: &&u64| {
                        let (at, via, ..) = of(**n);
                        at >= now - minutes * MINUTE && via != Via::Import
                    };
                    let lately: Vec<u64> = all.iter().filter(lately).copied().collect();
                    let distinct = |of: &dyn Fn(u64) -> Option<u64>| {
                        let mut all: Vec<u64> = lately.iter().filter_map(|n| of(*n)).collect();
                        all.sort_unstable();
                        all.dedup();
                        all.len() as u64
                    };
                    let naive = Who {
                        events: lately.len() as u64,
                        users: distinct(&|n| Some(n % 5)),
                        visitors: distinct(&|n| (n % 7 > 0).then_some(n % 4)),
                    };
                    assert_eq!(*who, naive, "{count} {sealed} {bots} {minutes}");
                }
                assert!(!live.is_cut && live.missing == 0);
                for event in &live.events {
                    assert_eq!(event.facet(Facet::Page), Some("/a"));
                    assert_eq!(event.facet(Facet::Os), (!event.is_nobodys).then_some("Linux"));
                }
            }
        }
    }
}
