//! Which attributes were sent, and of which types their values were: from indexes, or by reading records as they are
//! while they are indexed.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

use super::{ATTRIBUTES_MAX, Answers, AttributeCount, Question};
use crate::model::erasure::Scope;
use crate::model::{AccountId, Seq};
use crate::store::Error;
use crate::store::index::{Attribute, Hot, Index, IndexError};
use crate::store::log::{Missing, Order, Selection};
use crate::store::segment::Summary;

/// Records whose attributes are held at a time while a segment is read: no more than there may be types.
const RECORDS_MAX: u32 = 4_096;

/// Of which kind, and its name.
type Named = (Option<String>, Option<String>);

pub(super) struct Attributes {
    account: AccountId,
    all: BTreeMap<Named, [u64; 6]>,
}

impl Attributes {
    pub fn of(account: AccountId) -> Attributes {
        Attributes { account, all: BTreeMap::new() }
    }

    /// All that was told, by kind and name.
    pub fn into_counts(self) -> Vec<AttributeCount> {
        let one = |((kind, name), values)| AttributeCount { kind, name, values };
        self.all.into_iter().map(one).collect()
    }

    fn add(&mut self, told: Vec<(Named, [u64; 6])>) {
        for (mut named, values) in told {
            if self.all.len() >= ATTRIBUTES_MAX && !self.all.contains_key(&named) {
                named = (None, None);
            }
            let all = self.all.entry(named).or_default();
            all.iter_mut().zip(values).for_each(|(all, more)| *all += more);
        }
    }
}

fn owned(attribute: &Attribute<'_>) -> (Named, [u64; 6]) {
    let Attribute { kind, name, values } = attribute;
    ((kind.map(str::to_owned), name.map(str::to_owned)), *values)
}

impl Question for Attributes {
    fn account(&self) -> AccountId {
        self.account
    }

    fn concerns(&self, _: &Summary) -> bool {
        true
    }

    fn is_touched_by(&self, _: &Scope) -> bool {
        true
    }

    fn ask(&mut self, index: &Index) -> Result<(), IndexError> {
        let mut told = Vec::new();
        index.attributes(&mut |attribute| told.push(owned(&attribute)))?;
        self.add(told);
        Ok(())
    }

    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError> {
        let mut told = Vec::new();
        hot.attributes(&mut |attribute| told.push(owned(&attribute)))?;
        self.add(told);
        Ok(())
    }

    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error> {
        let of = Selection { account: Some(self.account), controls: false, ..Selection::of(range) };
        let (mut hot, mut held) = (Hot::new(self.account), 0);
        let account = self.account;
        let failed = |error: IndexError| Error::Damaged {
            place: "what was read of attributes".to_owned(),
            why: error.to_string(),
        };
        let missing = from.store.select(&of, Order::Ascending, &mut |seq, record| {
            from.stop.check()?;
            if record.change.sender() == Some(account) {
                hot.put(seq, record);
                held += 1;
            }
            if held == RECORDS_MAX {
                self.ask_hot(&mut hot).map_err(failed)?;
                (hot, held) = (Hot::new(account), 0);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.ask_hot(&mut hot).map_err(failed)?;
        Ok(missing)
    }
}
