//! What is handed to the committer: a record as bytes, and what it changes.
//!
//! Encoding is done by whoever submits, on his own thread; the committer only joins bytes.

use super::batch::encode_record;
use crate::model::record::{Event, UserPatch};
use crate::model::{
    AccountId, AccountName, ApiToken, Change, Date, Id, Object, Record, SecretHash, Via, json,
};

/// A checked change, encoded for the log, with what the committer has to know of it.
pub struct Draft {
    /// The record for the log.
    pub(super) encoded: Vec<u8>,
    /// What follows from it for the state.
    pub(super) effect: Effect,
}

/// What a record changes in the state.
pub(super) enum Effect {
    None,
    Merge { account: AccountId, id: Id, patch: Object, at: Date },
    Make { name: AccountName, api_token: ApiToken, secret_hash: SecretHash, at: Date },
    Rotate { account: AccountId, api_token: Option<ApiToken>, secret_hash: Option<SecretHash> },
}

impl Draft {
    /// Something happened.
    #[must_use]
    pub fn event(event: Event<'_>, received_at: Date) -> Draft {
        Draft::new(Change::Event(event), received_at, Effect::None)
    }

    /// A user was tracked.
    #[must_use]
    pub fn user(account: AccountId, via: Via, id: Id, patch: Object, received_at: Date) -> Draft {
        let text = json::to_text(&patch);
        let change = UserPatch { account, via, id: id.as_str(), patch: &text };
        let encoded = encode_record(&Record { received_at, change: Change::User(change) });
        Draft { encoded, effect: Effect::Merge { account, id, patch, at: received_at } }
    }

    /// An account is to be made.
    #[must_use]
    pub fn account(
        name: AccountName,
        api_token: ApiToken,
        secret_hash: SecretHash,
        at: Date,
    ) -> Draft {
        let change = Change::AccountMade { name: name.as_str(), api_token, secret_hash };
        let encoded = encode_record(&Record { received_at: at, change });
        Draft { encoded, effect: Effect::Make { name, api_token, secret_hash, at } }
    }

    /// Credentials of an account are to be replaced.
    #[must_use]
    pub fn rotation(
        account: AccountId,
        api_token: Option<ApiToken>,
        secret_hash: Option<SecretHash>,
        at: Date,
    ) -> Draft {
        let change = Change::AccountRotated { account, api_token, secret_hash };
        Draft::new(change, at, Effect::Rotate { account, api_token, secret_hash })
    }

    fn new(change: Change<'_>, received_at: Date, effect: Effect) -> Draft {
        Draft { encoded: encode_record(&Record { received_at, change }), effect }
    }

    /// What it holds in memory, at the most and roughly: its bytes, and for a user the patch beside
    /// them, parsed. A short number in a list takes some 50 times its text then.
    pub(super) fn bytes(&self) -> usize {
        let parsed = if self.changes_user() { 50 } else { 0 };
        self.encoded.len() * (1 + parsed)
    }

    pub(super) fn changes_user(&self) -> bool {
        matches!(self.effect, Effect::Merge { .. })
    }
}
