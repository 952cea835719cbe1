//! Erasing from a page: what is to be gone is counted, then gone, the same way as calls have it.

use super::visit::Visit;
use crate::asking::Failure;
use crate::clock;
use crate::erasing::{Count, Target};
use crate::ingest::{Code, Reject};

/// How much of a target there is.
pub(super) fn count(visit: &Visit<'_>, target: &Target) -> Result<Count, Failure> {
    let counted = target.count(&visit.rooms.store, &|| !visit.stop.is_due())?;
    let stopping = || {
        let detail = "The server is stopping, nothing was erased. Try again soon.";
        Reject::new(Code::ShuttingDown, detail).into()
    };
    counted.ok_or_else(stopping)
}

/// Erases a target, if there is anything of it, and says how much that was. The account's refused calls are forgotten
/// too: they may quote what is to be gone, if it was never taken.
pub(super) fn erase(visit: &Visit<'_>, target: Target) -> Result<Count, Failure> {
    visit.rooms.refused.forget(target.account()).map_err(|error| {
        log::error!("refused calls can't be forgotten: {error}");
        let detail = "the server can't take files away; its owner has to look into its log";
        Reject::new(Code::StorageFailed, detail)
    })?;
    let count = count(visit, &target)?;
    if !count.is_nothing() {
        visit.change(vec![target.draft(clock::now())])?;
    }
    Ok(count)
}
