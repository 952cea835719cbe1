//! Asking: how questions are spelled as parameters, and having them found out by a job.
//!
//! What `api` and `web` have in common, so that the address of a page and that of a call say the same in the same
//! words. Knows queries of HTTP, but neither requests nor answers.

mod asked;
mod exporting;
mod params;
mod plan;
mod questions;
mod waiting;

pub use asked::Desk;
pub use exporting::{not_exported, stream};
pub use params::{CLAUSES_MAX, LIMIT_MAX, Params};
pub use plan::Plan;
pub use questions::weight;
pub use waiting::{MIN_SEQ_WAIT_MAX, WAITING_MAX, Waiting};

use crate::ingest::{Code, Reject};
use crate::query;
use crate::store::Error;

/// Why there is no answer.
pub enum Failure {
    /// It makes no sense, or can't be met.
    Reject(Reject),
    /// It would read more than it may.
    TooMuch(Reject),
    /// The store can't be read.
    Store(Error),
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Failure {
        Failure::Reject(reject)
    }
}

impl From<query::Failure> for Failure {
    fn from(failure: query::Failure) -> Failure {
        let code = match &failure {
            query::Failure::Parameter { .. } => Code::InvalidParameter,
            query::Failure::TooLarge(_) | query::Failure::TooMuch { .. } => Code::QuestionTooLarge,
            query::Failure::Stopping => return stopping().into(),
            query::Failure::Store(_) => Code::StorageFailed,
        };
        match failure {
            query::Failure::Store(error) => Failure::Store(error),
            query::Failure::TooMuch { .. } => {
                Failure::TooMuch(Reject::new(code, failure.to_string()))
            }
            other => Reject::new(code, other.to_string()).into(),
        }
    }
}

impl Failure {
    /// What is told of it to the caller, and to the owner where it is the owner's business.
    #[must_use]
    pub fn into_reject(self) -> Reject {
        match self {
            Failure::Reject(reject) | Failure::TooMuch(reject) => reject,
            Failure::Store(error) => unreadable(&error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        query::Failure::from(error).into()
    }
}

/// What whoever asks is told while the server stops.
#[must_use]
pub fn stopping() -> Reject {
    Reject::new(Code::ShuttingDown, "the server is stopping; ask again soon")
}

/// What a caller is told when the store can't be read; its owner is told why.
#[must_use]
pub fn unreadable(error: &Error) -> Reject {
    log::error!("a question could not be answered: {error}");
    Reject::new(
        Code::StorageFailed,
        "the server can't read its data; its owner has to look into its log",
    )
}
