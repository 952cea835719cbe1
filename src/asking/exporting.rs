//! An answer that is made while it is sent, and what is said when one can't be begun or brought to its end.
//!
//! What is wrong with the call is told before anything is sent. Once the body has begun, an error
//! is told by breaking the connection off, so that what arrived is never taken for whole.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{Desk, stopping};
use crate::export::Error;
use crate::http::{Job, Response, Stream};
use crate::ingest::{Code, Reject};
use crate::jobs::{EXPORTS_MAX, Jobs, Room, Weight};
use crate::store::Store;

/// An answer that begins with `head`, whose body `write` makes by a thread of its own, told whether it is to stop; and
/// where that is put. `refuse` makes the answer to what fails before anything was sent.
///
/// # Errors
/// [`EXPORTS_MAX`] run already, or the server stops.
pub fn stream(
    store: &Arc<Store>,
    desk: &Desk,
    exports: &Jobs,
    head: Response,
    write: impl FnOnce(&Store, &dyn Fn() -> bool, &mut dyn Write) -> Result<(), Reject> + Send + 'static,
    refuse: impl FnOnce(&Reject) -> Response + Send + 'static,
) -> Result<(Stream, impl FnOnce(Job) + Send + 'static), Reject> {
    let mut room = room_to_export(exports, desk.is_stopping())?;
    let (store, stopping) = (Arc::clone(store), Arc::clone(&desk.stopping));
    let places = room.take_places();
    let make = Box::new(move |out: &mut dyn Write| {
        // Free before the last piece leaves.
        let _places = places;
        write(&store, &|| stopping.load(SeqCst), out).map_err(|reject| refuse(&reject))
    });
    let stop = Arc::clone(&desk.stopping);
    Ok((Stream { head, stop, make }, move |job| room.put(job)))
}

/// Room for one more export among those that run.
///
/// # Errors
/// As many run as may, or the server stops.
fn room_to_export(exports: &Jobs, is_stopping: bool) -> Result<Room, Reject> {
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
