//! Room for an export, and what is said when one can't be begun or brought to its end.

use super::stopping;
use crate::export::Error;
use crate::ingest::{Code, Reject};
use crate::jobs::{EXPORTS_MAX, Jobs, Room, Weight};

/// Room for one more export among those that run.
///
/// # Errors
/// As many run as may, or the server stops.
pub fn room_to_export(exports: &Jobs, is_stopping: bool) -> Result<Room, Reject> {
    exports.room(Weight::Heavy).ok_or_else(|| {
        if is_stopping {
            return stopping();
        }
        let detail =
            format!("{EXPORTS_MAX} exports are running, which is the most; ask again later");
        Reject::new(Code::Overloaded, detail)
    })
}

/// What is answered if an export fails before anything was sent.
#[must_use]
pub fn not_exported(error: Error) -> Reject {
    match error {
        Error::Store(error) => {
            log::error!("an export broke off: {error}");
            Reject::new(
                Code::StorageFailed,
                "the server can't read its data; its owner has to look into its log",
            )
        }
        Error::Stopped => stopping(),
        Error::Missing(missing) => {
            log::error!("an export broke off: {missing}");
            let detail = format!(
                "{missing}; `triggerly export` writes all the rest, and so does this call with filters \
                 that leave the damage out"
            );
            Reject::new(Code::StorageFailed, detail)
        }
        // The client has gone, or takes nothing.
        Error::Output(error) => Reject::new(Code::Internal, error.to_string()),
    }
}
