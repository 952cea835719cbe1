//! Events by the texts of their facets: from indexes, or by reading what these don't answer.
//!
//! Promises sums of whole days of UTC. Knows nothing of zones.

use std::ops::{ControlFlow, RangeInclusive};

use super::by_time::Span;
use super::{Answers, Question};
use crate::model::erasure::Scope;
use crate::model::{AccountId, Seq};
use crate::store::index::{Circumstances, Count, Facet, Hot, Index, IndexError, VisitFacets};
use crate::store::log::Missing;
use crate::store::scan::Columns;
use crate::store::segment::Summary;
use crate::store::{Error, Store};

const PERSON: Count = Count { people: 1, nobodys: 0 };
const NOBODY: Count = Count { people: 0, nobodys: 1 };

pub(super) struct Facets<'q> {
    pub span: Span<'q>,
    pub facets: &'q [Facet],
    pub visit: VisitFacets<'q>,
}

impl Question for Facets<'_> {
    fn account(&self) -> AccountId {
        self.span.account
    }

    fn concerns(&self, summary: &Summary) -> bool {
        self.span.concerns(summary)
    }

    fn is_touched_by(&self, scope: &Scope) -> bool {
        self.span.is_touched_by(scope)
    }

    fn rows(&self, store: &Store, range: &RangeInclusive<Seq>, _: u64) -> u64 {
        store.rows_to_scan(&self.span.scan(range.clone(), Columns::default()))
    }

    fn ask(&mut self, index: &Index) -> Result<(), IndexError> {
        index.facets(self.facets, &self.span.numbers, self.visit)
    }

    fn ask_hot(&mut self, hot: &mut Hot) -> Result<(), IndexError> {
        hot.facets(self.facets, &self.span.numbers, self.visit)
    }

    fn read(&mut self, from: &Answers<'_>, range: RangeInclusive<Seq>) -> Result<Missing, Error> {
        let Facets { span, facets, visit } = self;
        let of_attributes = facets.iter().any(|facet| !facet.is_of_context());
        let columns = Columns { contexts: true, attributes: of_attributes, ..Columns::default() };
        from.store.scan(&span.scan(range, columns), from.stop.asked(), &mut |piece| {
            let mut show = |facet: Facet, text: &str, count: Count| {
                if facets.contains(&facet) {
                    visit(facet, text, count);
                }
            };
            let nobodys: Vec<bool> =
                piece.contexts().iter().map(|context| Circumstances::of(context).nobodys).collect();
            let mut counts = vec![0; piece.contexts().len()];
            for row in 0..piece.len() {
                let context = piece.context_number(row).map(|number| number as usize);
                let is_nobodys = context.is_some_and(|context| nobodys[context]);
                context.inspect(|context| counts[*context] += 1);
                let one = if is_nobodys { NOBODY } else { PERSON };
                Facet::of_attributes(piece.attributes(row), &mut |facet, text| {
                    show(facet, text, one);
                });
            }
            for ((context, count), nobodys) in piece.contexts().iter().zip(counts).zip(nobodys) {
                let (people, nobodys) = if nobodys { (0, count) } else { (count, 0) };
                if count > 0 {
                    Facet::of_context(context, &mut |facet, text| {
                        show(facet, text, Count { people, nobodys });
                    });
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}
