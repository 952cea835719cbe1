//! What is collected of records one by one, for the index of a segment as for the hot end.

use std::collections::HashMap;

use super::attributes::Attributes;
use super::circumstances::Circumstances;
use super::counts::Counts;
use super::facets::Facets;
use super::hashes::{Recent, hash_of_user, hash_of_visitor};
use super::layout::number;
use super::sketches::{Sketches, Which};
use super::{Count, DAY_MILLIS, HOUR_MILLIS};
use crate::model::{AccountId, Change, Record};

/// Types of events that are kept, together with all that is kept by type.
pub(super) const KINDS_MAX: usize = 4_096;

/// What was collected.
pub(super) struct Tally {
    account: AccountId,
    pub kinds: Kinds,
    pub counts: Counts,
    pub sketches: Sketches,
    pub attributes: Attributes,
    pub facets: Facets,
    users: Recent,
    visitors: Recent,
}

/// What is to be known of a record beside what was collected.
pub(super) struct Put {
    /// The hash of its user.
    pub user: Option<u64>,
    /// The number of an event's type; none too if there are too many.
    pub kind: Option<u32>,
    pub update: bool,
}

impl Tally {
    pub fn new(account: AccountId) -> Tally {
        Tally {
            account,
            kinds: Kinds::default(),
            counts: Counts::default(),
            sketches: Sketches::default(),
            attributes: Attributes::default(),
            facets: Facets::default(),
            users: Recent::default(),
            visitors: Recent::default(),
        }
    }

    /// Adds an event or an update of a user of the account; of others, nothing is to be known.
    pub fn put(&mut self, record: &Record<'_>) -> Put {
        let account = self.account;
        let mut hash_of = |id: &str| self.users.of(id, |id| hash_of_user(account, id));
        let event = match &record.change {
            Change::Event(event) if event.account == account => event,
            Change::User(user) if user.account == account => {
                let hash = hash_of(user.id);
                self.attributes.add(None, user.patch);
                return Put { user: Some(hash), kind: None, update: true };
            }
            _ => return Put { user: None, kind: None, update: false },
        };
        let user = event.user_id.map(&mut hash_of);
        let kind = self.kinds.number(event.kind);
        let of = event.context.map(Circumstances::of).unwrap_or_default();
        let (hour, day) =
            [HOUR_MILLIS, DAY_MILLIS].map(|each| number(event.date.millis(), each)).into();
        self.facets.add(event.attributes, event.context, day, of.nobodys);
        if let Some(kind) = kind {
            self.kinds.count(kind, of.nobodys);
            self.counts.add(kind, hour, of.nobodys);
            let (users, visitors) = if of.nobodys {
                (Which::NobodysUsers, Which::NobodysVisitors)
            } else {
                (Which::Users, Which::Visitors)
            };
            if let Some(user) = user {
                self.sketches.add(kind, day, users, user);
            }
            if let Some(visitor) = of.visitor {
                let hash = self.visitors.of(&visitor, hash_of_visitor);
                self.sketches.add(kind, day, visitors, hash);
            }
            self.attributes.add(Some(kind), event.attributes);
        }
        Put { user, kind, update: false }
    }

    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.kinds.memory()
            + self.counts.len() * 24
            + self.sketches.memory()
            + self.attributes.memory()
            + self.facets.memory()
            + self.users.memory()
            + self.visitors.memory()
    }

    /// To be called before what was collected is asked for.
    pub fn settle(&mut self) {
        self.counts.settle();
        self.sketches.settle();
        self.facets.settle();
    }
}

/// The types of events, numbered as they came.
#[derive(Default)]
pub(super) struct Kinds {
    names: Vec<(Box<str>, Count)>,
    numbers: HashMap<Box<str>, u32>,
    recent: u32,
    /// Of all names.
    bytes: usize,
    /// There were more than are kept.
    pub full: bool,
}

impl Kinds {
    /// Bytes of memory, about: a name lies here and where it is looked up.
    fn memory(&self) -> usize {
        self.names.len() * 100 + self.bytes * 2
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        if self.names.get(self.recent as usize).is_some_and(|(recent, _)| **recent == *name) {
            return Some(self.recent);
        }
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None if self.names.len() >= KINDS_MAX => {
                self.full = true;
                return None;
            }
            None => {
                let number = self.names.len() as u32;
                self.names.push((name.into(), Count::default()));
                self.numbers.insert(name.into(), number);
                self.bytes += name.len();
                number
            }
        };
        self.recent = number;
        Some(number)
    }

    fn count(&mut self, kind: u32, nobodys: bool) {
        let count = &mut self.names[kind as usize].1;
        if nobodys {
            count.nobodys += 1
        } else {
            count.people += 1
        };
    }

    /// The number of a type that there is.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub fn name(&self, kind: u32) -> &str {
        self.names.get(kind as usize).map_or("", |(name, _)| name)
    }

    pub fn all(&self) -> &[(Box<str>, Count)] {
        &self.names
    }
}
