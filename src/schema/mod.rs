//! What type a value has, and what it counts as: recognised, or as a person has set it.
//!
//! Reads attributes as they lie in the log, one JSON text, and touches no more of it than it has to.
//! Promises that nothing panics on any text, and that what was sent is never changed. Must not know the
//! store, HTTP or which questions there are; does no I/O.
//!
//! ```text
//! attributes ─find─> raw value ─read─> Reading ─┬─ Clause: does it hold?
//!                       (type set: Overrides)   └─ shown: as it is shown
//! ```

mod clause;
mod convert;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod number;
mod shown;
mod typed;
mod zone;

pub use crate::model::overrides::{Kind, OfKind, Overrides, UnknownKind};
pub use clause::{CONTEXT, CONTEXTS, Clause, ClauseError};
pub use find::{Key, Members, Path, elements, find, members};
pub use number::Number;
pub use shown::{Shown, shown};
pub use typed::{Reading, Typed, read, recognised};
pub use zone::{Interval, UnknownInterval, UnknownZone, Zone};
