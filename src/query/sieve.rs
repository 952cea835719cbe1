//! Which rows of a piece pass a filter.

use std::sync::Arc;

use super::{Failure, Filter, Visit};
use crate::model::Overrides;
use crate::schema::Clause;
use crate::store::index::Circumstances;
use crate::store::{Piece, Store};

/// A filter at work. What a scan has left out already isn't looked at again.
pub(super) struct Sieve<'f> {
    filter: &'f Filter,
    overrides: Arc<Overrides>,
    rows: Vec<u32>,
    /// By the number of a context: whether it is nobody's.
    nobodys: Vec<Option<bool>>,
}

impl<'f> Sieve<'f> {
    pub fn new(filter: &'f Filter, store: &Store) -> Sieve<'f> {
        let overrides = store.overrides(filter.account);
        Sieve { filter, overrides, rows: Vec::new(), nobodys: Vec::new() }
    }

    /// Shows `visit` the rows that pass, if any does.
    pub fn show(&mut self, piece: &Piece<'_>, visit: Visit<'_>) -> Result<(), Failure> {
        let Sieve { filter, overrides, rows, nobodys } = self;
        rows.clear();
        rows.extend(0..piece.len() as u32);
        if let Some(id) = &filter.user_id {
            // An id may have several numbers.
            let same: Vec<bool> = piece.users().iter().map(|user| user == id).collect();
            let is_same = |user: Option<u32>| user.is_some_and(|user| same[user as usize]);
            rows.retain(|row| is_same(piece.user(*row as usize)));
        }
        if !filter.bots && !piece.contexts().is_empty() {
            nobodys.clear();
            nobodys.resize(piece.contexts().len(), None);
            rows.retain(|row| {
                !piece.context_number(*row as usize).is_some_and(|number| {
                    let number = number as usize;
                    *nobodys[number]
                        .get_or_insert_with(|| Circumstances::of(piece.contexts()[number]).nobodys)
                })
            });
        }
        if !filter.clauses.is_empty() {
            let of_kinds: Vec<_> =
                piece.kinds().iter().map(|kind| overrides.of_events(kind)).collect();
            rows.retain(|row| {
                let row = *row as usize;
                let (attributes, of_kind) =
                    (piece.attributes(row), of_kinds[piece.kind(row) as usize]);
                let context = piece.context(row);
                let holds = |clause: &Clause| clause.holds_of_event(attributes, context, of_kind);
                filter.clauses.iter().all(holds)
            });
        }
        if rows.is_empty() { Ok(()) } else { visit(piece, rows) }
    }
}
