//! What is handed to the committer: a record as bytes, and what it changes.
//!
//! Encoding is done by whoever submits, on his own thread; the committer only joins bytes.

use super::batch::{decode_record, encode_record, with_key};
use super::space::Claim;
use crate::model::erasure::{Digest, Scope};
use crate::model::overrides::{AttributeName, Kind};
use crate::model::record::{Event, Keyed, Progress, UserPatch};
use crate::model::{
    AccountId, AccountName, ApiToken, Change, DataType, Date, Id, Object, PersonChange, Record,
    SecretHash, Sites, Via, json,
};

/// A checked change, encoded for the log, with what the committer has to know of it.
#[derive(Clone)]
pub struct Draft {
    /// The record for the log.
    pub(super) encoded: Vec<u8>,
    /// What follows from it for the state.
    pub(super) effect: Effect,
}

/// What is to be stored together, or not at all.
#[derive(Clone)]
pub struct Submission {
    pub(super) drafts: Vec<Draft>,
    pub(super) is_keyed: bool,
}

impl Submission {
    /// To be stored once: if drafts came under the same key within
    /// [`IDEMPOTENCY_DAYS`](crate::model::limits::IDEMPOTENCY_DAYS), these aren't stored, and the receipt
    /// is that of those. `key` is made by [`Digest::of_idempotency_key`]; when these came is what the first
    /// of them says.
    #[must_use]
    pub fn once(mut drafts: Vec<Draft>, key: Digest) -> Submission {
        let keyed = Keyed { key, count: drafts.len() as u64 };
        if let Some(first) = drafts.first_mut() {
            first.encoded = with_key(&first.encoded, keyed);
        }
        Submission { drafts, is_keyed: true }
    }
}

impl From<Vec<Draft>> for Submission {
    fn from(drafts: Vec<Draft>) -> Submission {
        Submission { drafts, is_keyed: false }
    }
}

/// What a record changes in the state.
#[derive(Clone)]
pub(super) enum Effect {
    None,
    /// A user is merged into. The patch is in the record alone: parsed, it can take 50 times its text.
    Merge,
    Make {
        name: AccountName,
        api_token: ApiToken,
        secret_hash: SecretHash,
        at: Date,
    },
    Rotate {
        account: AccountId,
        api_token: Option<ApiToken>,
        secret_hash: Option<SecretHash>,
        old_token_until: Option<Date>,
    },
    Retain {
        account: AccountId,
        days: Option<u32>,
    },
    Allow {
        account: AccountId,
        sites: Option<Sites>,
    },
    SetType {
        account: AccountId,
        kind: Kind,
        attribute: AttributeName,
        data_type: Option<DataType>,
    },
    SetZone {
        account: AccountId,
        zone: Option<Box<str>>,
    },
    /// Something of people, sessions or links. What, is in the record alone.
    Person,
    Erase {
        account: AccountId,
        scope: Scope,
        user: Option<Id>,
        at: Date,
    },
    Import {
        account: AccountId,
        progress: Progress,
    },
}

impl Draft {
    /// Something happened.
    #[must_use]
    pub fn event(event: Event<'_>, received_at: Date) -> Draft {
        Draft::new(Change::Event(event), received_at, Effect::None)
    }

    /// A user was tracked. `context` is as in [`UserPatch::context`].
    #[must_use]
    pub fn user(
        account: AccountId,
        via: Via,
        id: &Id,
        patch: &Object,
        context: Option<&str>,
        received_at: Date,
    ) -> Draft {
        let text = json::to_text(patch);
        let change = UserPatch { account, via, id: id.as_str(), patch: &text, context };
        Draft::new(Change::User(change), received_at, Effect::Merge)
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
        let encoded = encode_record(&Record { received_at: at, change, keyed: None });
        Draft { encoded, effect: Effect::Make { name, api_token, secret_hash, at } }
    }

    /// Credentials of an account are to be replaced. With a new `api_token` the one before is still taken
    /// until `old_token_until`, if there is such.
    #[must_use]
    pub fn rotation(
        account: AccountId,
        api_token: Option<ApiToken>,
        secret_hash: Option<SecretHash>,
        old_token_until: Option<Date>,
        at: Date,
    ) -> Draft {
        let old_token_until = old_token_until.filter(|_| api_token.is_some());
        let change = Change::AccountRotated { account, api_token, secret_hash, old_token_until };
        let effect = Effect::Rotate { account, api_token, secret_hash, old_token_until };
        Draft::new(change, at, effect)
    }

    /// How long events are kept is to be set: so many days, or for ever.
    #[must_use]
    pub fn retention(account: AccountId, days: Option<u32>, at: Date) -> Draft {
        Draft::new(Change::RetentionSet { account, days }, at, Effect::Retain { account, days })
    }

    /// Where calls of browsers may come from is to be set: from these sites, or from anywhere.
    #[must_use]
    pub fn sites(account: AccountId, sites: Option<Sites>, at: Date) -> Draft {
        let text = sites.as_ref().map(Sites::to_string);
        let change = Change::SitesSet { account, sites: text.as_deref() };
        let encoded = encode_record(&Record { received_at: at, change, keyed: None });
        Draft { encoded, effect: Effect::Allow { account, sites } }
    }

    /// Which type an attribute's values have is to be set: this one, or what is recognised.
    #[must_use]
    pub fn data_type(
        account: AccountId,
        kind: Kind,
        attribute: AttributeName,
        data_type: Option<DataType>,
        at: Date,
    ) -> Draft {
        let (events, name) = (kind.events(), attribute.as_str());
        let change = Change::TypeSet { account, events, attribute: name, data_type };
        let encoded = encode_record(&Record { received_at: at, change, keyed: None });
        Draft { encoded, effect: Effect::SetType { account, kind, attribute, data_type } }
    }

    /// In which time zone an account is looked at is to be set: its IANA name, of at most
    /// [`ZONE_BYTES_MAX`](crate::model::limits::ZONE_BYTES_MAX); whoever drafts it knows that there is one.
    #[must_use]
    pub fn zone(account: AccountId, zone: Option<&str>, at: Date) -> Draft {
        let effect = Effect::SetZone { account, zone: zone.map(Box::from) };
        Draft::new(Change::ZoneSet { account, zone }, at, effect)
    }

    /// Something of people, sessions or links is to be changed. Whether it can be, is found out when it is
    /// stored: [`Refusal::Person`](super::Refusal::Person) says why not.
    #[must_use]
    pub fn person(change: PersonChange<'_>, at: Date) -> Draft {
        Draft::new(Change::Person(change), at, Effect::Person)
    }

    /// A user and all of that user's events are to be taken out.
    #[must_use]
    pub fn user_erasure(account: AccountId, id: Id, at: Date) -> Draft {
        let scope = Scope::User(Digest::of_user(account, id.as_str()));
        let effect = Effect::Erase { account, scope, user: Some(id), at };
        Draft::new(Change::Erased { account, scope }, at, effect)
    }

    /// Events are to be taken out. `scope` is of events.
    #[must_use]
    pub fn event_erasure(account: AccountId, scope: Scope, at: Date) -> Draft {
        debug_assert!(!matches!(scope, Scope::User(_)), "a user has its own way");
        let effect = Effect::Erase { account, scope, user: None, at };
        Draft::new(Change::Erased { account, scope }, at, effect)
    }

    /// An import has come so far with the drafts before this one.
    #[must_use]
    pub fn progress(account: AccountId, progress: Progress, at: Date) -> Draft {
        let effect = Effect::Import { account, progress };
        Draft::new(Change::Imported { account, progress }, at, effect)
    }

    fn new(change: Change<'_>, received_at: Date, effect: Effect) -> Draft {
        Draft { encoded: encode_record(&Record { received_at, change, keyed: None }), effect }
    }

    /// Drafts as they lie in the log from a `seq` on.
    #[cfg(test)]
    pub fn batches(first_seq: crate::model::Seq, drafts: &[Draft]) -> Vec<super::EncodedBatch> {
        let encoded: Vec<_> = drafts.iter().map(|draft| draft.encoded.clone()).collect();
        super::stage::entries(first_seq, &encoded)
    }

    /// When it came, and under which key, if it is the first of a submission that has one.
    pub(super) fn keyed(&self) -> Option<(Date, Keyed)> {
        let record = decode_record(&self.encoded).ok()?;
        Some((record.received_at, record.keyed?))
    }

    /// What it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Draft>() + self.encoded.capacity()
    }

    /// The user that is merged into: the update as it is in the record.
    pub(super) fn user_patch(&self) -> Option<(UserPatch<'_>, Date)> {
        if !self.changes_user() {
            return None;
        }
        let record = decode_record(&self.encoded).ok()?;
        match record.change {
            Change::User(user) => Some((user, record.received_at)),
            _ => None,
        }
    }

    /// What is to be changed of people, and when that came.
    pub(super) fn person_change(&self) -> Option<(PersonChange<'_>, Date)> {
        if !matches!(self.effect, Effect::Person) {
            return None;
        }
        let record = decode_record(&self.encoded).ok()?;
        match record.change {
            Change::Person(change) => Some((change, record.received_at)),
            _ => None,
        }
    }

    /// What room it may take: its own kind makes the log grow, or serves those who run it.
    pub(super) fn claim(&self) -> Claim {
        match self.effect {
            Effect::None | Effect::Merge | Effect::Import { .. } => Claim::Tracking,
            Effect::Make { .. }
            | Effect::Rotate { .. }
            | Effect::Retain { .. }
            | Effect::Allow { .. }
            | Effect::SetType { .. }
            | Effect::SetZone { .. }
            | Effect::Person
            | Effect::Erase { .. } => Claim::Control,
        }
    }

    pub(super) fn changes_user(&self) -> bool {
        matches!(self.effect, Effect::Merge)
    }
}
