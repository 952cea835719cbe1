//! Decisions: from what a call brought to a checked batch, or to the reason why not.
//!
//! ```text
//! Submission --decode--> RawBatch --validate--> Batch --submit--> Receipt
//! ```
//! Each step takes one type and gives the next, and none of them can be made elsewhere, so that no
//! step can be left out. A batch is taken apart by decoding, and its objects are read one at a time by
//! validating: five megabytes of JSON never become one tree, and most events become none, since their text is kept
//! as it came (`plain`). An import's [`Lines`] become [`CheckedLines`] by the same checks. Pure but for
//! [`Batch::submit`] and [`CheckedLines::submit`], which hand over to the store's writer.
//! Must not know HTTP: the caller takes parameters apart and turns a [`Reject`] into an answer.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lines;
mod mend;
mod payload;
mod plain;
mod reject;
mod submission;
mod text;

pub use lines::{CheckedLines, LINE_BYTES_MAX, Lines};
pub use payload::Payload;
pub use reject::{Code, Reject};
pub use submission::{Batch, Kind, RawBatch, Submission};
