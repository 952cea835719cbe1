//! What an erasure takes out of the log, said without saying it.
//!
//! An erasure is a record of the log like any other, and stays when what it erased is gone. So it
//! names users and types by digests. Whoever holds the log can try guesses against a digest, so it
//! hides no more than that: the text itself isn't kept.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::record::{Change, Record};
use super::{AccountId, Date, Seq};

/// Stands for a text: the first half of a SHA-256 over the account, what the text is, and the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Stands for a user's id.
    #[must_use]
    pub fn of_user(account: AccountId, id: &str) -> Digest {
        Digest::of(account, b'u', id)
    }

    /// Stands for an event's type.
    #[must_use]
    pub fn of_kind(account: AccountId, kind: &str) -> Digest {
        Digest::of(account, b't', kind)
    }

    /// Stands for the key under which a call is to be stored once.
    #[must_use]
    pub fn of_idempotency_key(account: AccountId, key: &str) -> Digest {
        Digest::of(account, b'k', key)
    }

    fn of(account: AccountId, what: u8, text: &str) -> Digest {
        let mut hash = Sha256::new();
        hash.update(account.0.to_be_bytes());
        hash.update([what]);
        hash.update(text);
        let hash: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Digest(half)
    }
}

/// What an erasure takes out, of all that lies before it in its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A user, and all events of that user.
    User(Digest),
    /// The events that match all that is given.
    Events {
        /// Of this type.
        kind: Option<Digest>,
        /// Of this user.
        user_id: Option<Digest>,
        /// From this date on.
        from: Option<Date>,
        /// Before this date.
        to: Option<Date>,
    },
    /// The events that are older than this: by their date, or by their arrival if they claim to
    /// come from after it.
    Expired {
        /// The first date that stays.
        before: Date,
    },
}

/// Erasures that are in force: each takes what matches and has a lower `seq` than itself.
#[derive(Clone, Debug, Default)]
pub struct Erasures {
    by_account: HashMap<AccountId, OfAccount>,
}

#[derive(Clone, Debug, Default)]
struct OfAccount {
    users: HashMap<Digest, Seq>,
    events: Vec<(Seq, Scope)>,
    /// None of which another covers, that stands behind it and reaches as far.
    expired: Vec<(Seq, Date)>,
    /// Whether an event's type has to be looked at.
    kinds: bool,
}

impl Erasures {
    /// Adds the erasure that stands at `seq`.
    pub fn add(&mut self, seq: Seq, account: AccountId, scope: Scope) {
        let of = self.by_account.entry(account).or_default();
        match scope {
            Scope::User(user) => {
                let last = of.users.entry(user).or_default();
                *last = seq.max(*last);
            }
            Scope::Events { kind, .. } => {
                of.kinds |= kind.is_some();
                of.events.push((seq, scope));
            }
            // A later one reaches further, as time passes. If the days were made more it doesn't, and
            // takes what the earlier can't: old events that came after that one.
            Scope::Expired { before } => {
                let covers = |a: (Seq, Date), b: (Seq, Date)| a.0 >= b.0 && a.1 >= b.1;
                if !of.expired.iter().any(|other| covers(*other, (seq, before))) {
                    of.expired.retain(|other| !covers((seq, before), *other));
                    of.expired.push((seq, before));
                }
            }
        }
    }

    /// One erasure of all that lies in the log, to ask what it would take.
    #[must_use]
    pub fn of(account: AccountId, scope: Scope) -> Erasures {
        let mut erasures = Erasures::default();
        erasures.add(Seq::MAX, account, scope);
        erasures
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    /// Whether there is one in an account.
    #[must_use]
    pub fn concern(&self, account: AccountId) -> bool {
        self.by_account.contains_key(&account)
    }

    /// Those of an account, each with its place in the log.
    pub fn of_account(&self, account: AccountId) -> impl Iterator<Item = (Seq, Scope)> {
        self.by_account.get(&account).into_iter().flat_map(|of| {
            let users = of.users.iter().map(|(user, seq)| (*seq, Scope::User(*user)));
            let expired =
                of.expired.iter().map(|(seq, before)| (*seq, Scope::Expired { before: *before }));
            users.chain(of.events.iter().copied()).chain(expired)
        })
    }

    /// Whether one of them takes this record.
    #[must_use]
    pub fn take(&self, seq: Seq, record: &Record<'_>) -> bool {
        if self.by_account.is_empty() {
            return false;
        }
        match &record.change {
            Change::User(user) => {
                let Some(of) = self.by_account.get(&user.account) else { return false };
                !of.users.is_empty()
                    && of
                        .users
                        .get(&Digest::of_user(user.account, user.id))
                        .is_some_and(|at| seq < *at)
            }
            Change::Event(event) => {
                let Some(of) = self.by_account.get(&event.account) else { return false };
                let came = event.date.min(record.received_at);
                if of.expired.iter().any(|(at, before)| seq < *at && came < *before) {
                    return true;
                }
                if of.users.is_empty() && of.events.is_empty() {
                    return false;
                }
                let user = event.user_id.map(|id| Digest::of_user(event.account, id));
                if user.and_then(|user| of.users.get(&user)).is_some_and(|at| seq < *at) {
                    return true;
                }
                let kind_of = of.kinds.then(|| Digest::of_kind(event.account, event.kind));
                of.events.iter().any(|(at, scope)| {
                    let Scope::Events { kind, user_id, from, to } = scope else { return false };
                    seq < *at
                        && from.is_none_or(|from| from <= event.date)
                        && to.is_none_or(|to| event.date < to)
                        && kind.is_none_or(|kind| Some(kind) == kind_of)
                        && user_id.is_none_or(|id| Some(id) == user)
                })
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Via;
    use crate::model::record::{Event, UserPatch};

    const ACCOUNT: AccountId = AccountId(1);

    fn event(kind: &'static str, user_id: Option<&'static str>, date: i64) -> Record<'static> {
        let event = Event {
            account: ACCOUNT,
            via: Via::Public,
            kind,
            user_id,
            date: Date::from_millis(date),
            attributes: "{}",
            context: None,
        };
        Record { received_at: Date::from_millis(100), change: Change::Event(event), keyed: None }
    }

    #[test]
    fn what_each_scope_takes() {
        let user = |id| Digest::of_user(ACCOUNT, id);
        let kind = |kind| Digest::of_kind(ACCOUNT, kind);
        let date = |millis| Some(Date::from_millis(millis));
        let all = Scope::Events { kind: None, user_id: None, from: None, to: None };
        let view = event("view", Some("u"), 10);
        for (scope, record, taken) in [
            (Scope::User(user("u")), view, true),
            (Scope::User(user("v")), view, false),
            (Scope::User(user("u")), event("view", None, 10), false),
            (Scope::User(kind("u")), view, false),
            (all, view, true),
            (
                Scope::Events { kind: Some(kind("view")), user_id: None, from: None, to: None },
                view,
                true,
            ),
            (
                Scope::Events { kind: Some(kind("buy")), user_id: None, from: None, to: None },
                view,
                false,
            ),
            (
                Scope::Events {
                    kind: Some(kind("view")),
                    user_id: Some(user("u")),
                    from: date(10),
                    to: date(11),
                },
                view,
                true,
            ),
            (
                Scope::Events { kind: None, user_id: Some(user("v")), from: None, to: None },
                view,
                false,
            ),
            (Scope::Events { kind: None, user_id: None, from: date(11), to: None }, view, false),
            (Scope::Events { kind: None, user_id: None, from: None, to: date(10) }, view, false),
            (Scope::Expired { before: Date::from_millis(11) }, view, true),
            (Scope::Expired { before: Date::from_millis(10) }, view, false),
            // It claims to come from after it came.
            (Scope::Expired { before: Date::from_millis(101) }, event("view", None, 900), true),
            (Scope::Expired { before: Date::from_millis(100) }, event("view", None, 900), false),
        ] {
            let mut erasures = Erasures::default();
            erasures.add(7, ACCOUNT, scope);
            assert_eq!(erasures.take(6, &record), taken, "{scope:?} {record:?}");
            assert!(!erasures.take(7, &record), "what came after it stays");
            let mut others = Erasures::default();
            others.add(7, AccountId(2), scope);
            assert!(!others.take(6, &record), "another account's");
        }
    }

    #[test]
    fn a_user_goes_with_its_updates_and_others_stay() {
        let update = |id| Record {
            keyed: None,
            received_at: Date::from_millis(0),
            change: Change::User(UserPatch {
                account: ACCOUNT,
                via: Via::Public,
                id,
                patch: "{}",
                context: None,
            }),
        };
        let mut erasures = Erasures::default();
        assert!(erasures.is_empty() && !erasures.concern(ACCOUNT));
        erasures.add(7, ACCOUNT, Scope::User(Digest::of_user(ACCOUNT, "u")));
        erasures.add(5, ACCOUNT, Scope::User(Digest::of_user(ACCOUNT, "u")));
        assert!(erasures.take(6, &update("u")));
        assert!(!erasures.take(8, &update("u")) && !erasures.take(6, &update("v")));
        assert!(erasures.concern(ACCOUNT) && !erasures.concern(AccountId(2)));
    }

    #[test]
    fn an_erasure_of_what_is_older_holds_beside_one_that_reached_further() {
        let before = |millis| Scope::Expired { before: Date::from_millis(millis) };
        // The days were made more, and old events came; or the clock was set back.
        for (first, second, third) in [(50, 20, 10), (50, 50, 50), (10, 20, 50), (20, 50, 10)] {
            let all = [(3, before(first)), (5, before(second)), (7, before(third))];
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let mut erasures = Erasures::default();
                order.iter().for_each(|n: &usize| erasures.add(all[*n].0, ACCOUNT, all[*n].1));
                for (seq, date) in (1..9).flat_map(|seq| [5, 15, 35, 60].map(|date| (seq, date))) {
                    let record = event("view", None, date);
                    let alone = |(at, scope): &(Seq, Scope)| {
                        seq < *at && Erasures::of(ACCOUNT, *scope).take(seq, &record)
                    };
                    let taken = erasures.take(seq, &record);
                    assert_eq!(taken, all.iter().any(alone), "{seq} {date} {all:?}");
                }
            }
        }
    }
}
