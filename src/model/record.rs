//! Records: the sentences of the log. Whatever changes state is one of these.
//!
//! A record borrows its texts, since it is either about to be encoded from what a call brought or
//! was just decoded from a batch.

use super::erasure::{Digest, Scope};
use super::{AccountId, ApiToken, DataType, Date, PersonChange, SecretHash};

/// A position in the log: 1, 2, 3 … in the order accepted, across accounts and kinds alike.
pub type Seq = u64;

/// How a record came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// With an `api_token`, which anyone who reads a page knows.
    Public,
    /// With a `secret_key`.
    Secret,
    /// By an import.
    Import,
}

impl Via {
    /// The word that exports show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Via::Public => "public",
            Via::Secret => "secret",
            Via::Import => "import",
        }
    }
}

/// One record: when it came, and what it changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// When it was accepted.
    pub received_at: Date,
    /// The key of the submission whose first record this is, if it has one.
    pub keyed: Option<Keyed>,
    /// What it says.
    pub change: Change<'a>,
}

/// Under which key a submission was stored, to be stored once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Stands for account and key.
    pub key: Digest,
    /// How many records the submission became, this one and those right behind it.
    pub count: u64,
}

/// What a record changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change<'a> {
    /// Something happened.
    Event(Event<'a>),
    /// A user was tracked: a merge patch for that user.
    User(UserPatch<'a>),
    /// An account was made; its id is this record's `seq`.
    AccountMade {
        /// Its name.
        name: &'a str,
        /// Its public credential.
        api_token: ApiToken,
        /// What is kept of its secret one.
        secret_hash: SecretHash,
    },
    /// Credentials of an account were replaced.
    AccountRotated {
        /// Which account.
        account: AccountId,
        /// The new public credential, if that one changed.
        api_token: Option<ApiToken>,
        /// What is kept of the new secret one, if that one changed.
        secret_hash: Option<SecretHash>,
        /// Until when the public one before is still taken, if it is. Since format 5 of the directory.
        old_token_until: Option<Date>,
    },
    /// How long an account's events are kept was set.
    RetentionSet {
        /// Which account.
        account: AccountId,
        /// Days; for ever if there is none.
        days: Option<u32>,
    },
    /// Where calls of browsers may come from was set.
    SitesSet {
        /// Whose.
        account: AccountId,
        /// The hosts, as [`Sites`](super::Sites) shows them; from anywhere if there is none.
        sites: Option<&'a str>,
    },
    /// Which type an attribute's values have was set. Since format 4 of the directory.
    TypeSet {
        /// Whose.
        account: AccountId,
        /// Of the events of this type; of users if there is none.
        events: Option<&'a str>,
        /// The attribute.
        attribute: &'a str,
        /// The type; what is recognised if there is none.
        data_type: Option<DataType>,
    },
    /// In which time zone an account is looked at was set. Since format 5 of the directory.
    ZoneSet {
        /// Whose.
        account: AccountId,
        /// The zone's IANA name; none was chosen if there is none.
        zone: Option<&'a str>,
    },
    /// Something of people, sessions or links. Since format 5 of the directory.
    Person(PersonChange<'a>),
    /// Something that lies before this record was taken out.
    Erased {
        /// Whose.
        account: AccountId,
        /// What.
        scope: Scope,
    },
    /// An import has come so far, with the records that stand right before this one.
    Imported {
        /// Into which account.
        account: AccountId,
        /// How far.
        progress: Progress,
    },
}

/// How far an import has come. The input is known again by the digest of what was read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The import, by a number of its own.
    pub import: u64,
    /// Whether it is of users, else of events.
    pub users: bool,
    /// Lines of the input that were dealt with, stored or refused.
    pub lines: u64,
    /// What these lines hash to.
    pub digest: [u8; 16],
}

impl Change<'_> {
    /// Whose it is, if it is what an account sent.
    #[must_use]
    pub fn sender(&self) -> Option<AccountId> {
        match self {
            Change::Event(event) => Some(event.account),
            Change::User(user) => Some(user.account),
            _ => None,
        }
    }

    /// Whether it is about the store itself, and not what an account sent.
    #[must_use]
    pub fn is_control(&self) -> bool {
        !matches!(self, Change::Event(_) | Change::User(_))
    }
}

/// An event as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Whose.
    pub account: AccountId,
    /// How it came.
    pub via: Via,
    /// What happened.
    pub kind: &'a str,
    /// Who did it.
    pub user_id: Option<&'a str>,
    /// When it happened.
    pub date: Date,
    /// Everything else that was sent: one JSON object, compact.
    pub attributes: &'a str,
    /// What a browser's call told beside: one JSON object, compact, of at most
    /// [`CONTEXT_BYTES_MAX`](super::limits::CONTEXT_BYTES_MAX).
    pub context: Option<&'a str>,
}

/// A user's update as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UserPatch<'a> {
    /// Whose.
    pub account: AccountId,
    /// How it came.
    pub via: Via,
    /// Which user.
    pub id: &'a str,
    /// A merge patch (RFC 7396): one JSON object, compact, without `id`.
    pub patch: &'a str,
    /// What a browser's call told beside, as in [`Event::context`]. It is no part of the user.
    pub context: Option<&'a str>,
}
