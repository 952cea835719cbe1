//! What becomes of a submission.

use std::sync::Arc;

use thiserror::Error;

use super::space::Size;
use crate::model::limits::{ACCOUNTS_MAX, OVERRIDES_MAX};
use crate::model::user::UserLimit;
use crate::model::{PersonRefusal, Seq};

/// Stored, or why not.
pub type Outcome = Result<Receipt, Refusal>;

/// Where an accepted submission lies, durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The position of its first record; the others follow.
    pub first_seq: Seq,
    /// How many records it became.
    pub count: u64,
}

impl Receipt {
    /// The position of its last record.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        (self.first_seq + self.count).saturating_sub(1)
    }
}

/// Why a submission was not accepted. Nothing of it was stored, but for [`Refusal::Failed`], of
/// which nobody can say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Too much is waiting already.
    #[error("more is arriving than can be written; try again in a moment")]
    Overloaded,
    /// The log that is shared with other servers takes nothing for now, and why. Where that was found out only when it had
    /// been offered, nobody knows whether it is stored.
    #[error("{0}")]
    NoQuorum(Arc<str>),
    /// The server is about to end.
    #[error("the server is stopping; try again in a moment")]
    ShuttingDown,
    /// Writing has failed, now or before.
    #[error("the disk failed, nothing more is accepted until the server is started again: {0}")]
    Failed(Arc<str>),
    /// What it is to be merged into can't be read. Others may be accepted.
    #[error("what is stored of this user is damaged: {0}")]
    Unreadable(Arc<str>),
    /// The disk has too little room left. It is taken again when there is more.
    #[error(
        "the disk is too full: {free} free, {wanted} wanted; make room, or set a smaller reserve"
    )]
    Full {
        /// What is free.
        free: Size,
        /// What has to be.
        wanted: Size,
    },
    /// An update would take a user out of bounds.
    #[error("{limit}")]
    User {
        /// Which object of the submission, from 0.
        index: usize,
        /// The bound.
        limit: UserLimit,
    },
    /// There is an account of that name.
    #[error("there is an account {0:?} already; choose another name")]
    NameTaken(String),
    /// There is no such account.
    #[error("the account is gone")]
    NoAccount,
    /// A change of people, sessions or links can't be.
    #[error("{0}")]
    Person(#[from] PersonRefusal),
    /// There are [`ACCOUNTS_MAX`].
    #[error("there are {ACCOUNTS_MAX} accounts already, which is the most one server keeps")]
    TooManyAccounts,
    /// The account has set [`OVERRIDES_MAX`].
    #[error(
        "{OVERRIDES_MAX} data types are set already, which is the most one account may set; take one back first"
    )]
    TooManyTypes,
}
