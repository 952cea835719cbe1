//! The domain: what an account, a user, an event, a person and a date are, and how updates merge.
//!
//! Pure: nothing here reads a clock, a file, a socket or an environment variable, so that every
//! rule can be tried on a table of cases, and the state that the store keeps is a function of the
//! log alone.

pub mod account;
pub mod data_type;
pub mod date;
pub mod erasure;
pub mod filter;
pub mod id;
pub mod json;
pub mod limits;
pub mod merge;
pub mod overrides;
pub mod people;
pub mod person;
pub mod record;
pub mod sites;
pub mod user;

pub use account::{Account, AccountId, AccountName, Accounts, ApiToken, SecretHash};
pub use data_type::DataType;
pub use date::Date;
pub use erasure::Erasures;
pub use filter::EventFilter;
pub use id::Id;
pub use overrides::Overrides;
pub use people::People;
pub use person::{Email, PasswordHash, PersonChange, PersonId, PersonRefusal, TokenHash};
pub use record::{Change, Record, Seq, Via};
pub use sites::Sites;
pub use user::User;

/// A JSON object whose keys keep the order they were sent in.
pub type Object = serde_json::Map<String, serde_json::Value>;
