//! A small store of one account, part sealed and part hot, for the tests of questions.

use std::sync::Arc;

use tempfile::TempDir;

use crate::model::limits::DEPTH_MAX;
use crate::model::overrides::AttributeName;
use crate::model::record::Event;
use crate::model::{
    AccountId, AccountName, ApiToken, DataType, Date, Id, SecretHash, Seq, Via, json,
};
use crate::store::{Draft, Pace, Store, Urgency, Writer};

/// Whose all of it is.
pub const ACCOUNT: AccountId = AccountId(1);

/// What a bot's call tells beside.
pub const BOT: &str = r#"{"bot":true}"#;

pub struct Trial {
    writer: Writer,
    pub store: Arc<Store>,
    _dir: TempDir,
}

impl Trial {
    pub fn new() -> Trial {
        let dir = TempDir::new().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let writer = Writer::start(Arc::clone(&store), store.flusher()).unwrap();
        let name = AccountName::new("default").unwrap();
        let at = Date::from_millis(0);
        let account = Draft::account(name, ApiToken([1; 16]), SecretHash([2; 32]), at);
        assert_eq!(writer.submit_and_wait(vec![account]).unwrap().first_seq, ACCOUNT.0);
        Trial { writer, store, _dir: dir }
    }

    /// Stores records, one behind the other; where the first lies.
    pub fn put(&self, drafts: Vec<Draft>) -> Seq {
        self.writer.submit_and_wait(drafts).unwrap().first_seq
    }

    /// Seals all that there is.
    pub fn seal(&self) {
        self.store.compact(Urgency::Now, Date::from_millis(0), &Pace { go_on: &|| true }).unwrap();
    }
}

/// An event that came right when it happened.
pub fn event(
    kind: &str,
    user_id: Option<&str>,
    millis: i64,
    attributes: &str,
    context: Option<&str>,
) -> Draft {
    let (account, via, date) = (ACCOUNT, Via::Public, Date::from_millis(millis));
    Draft::event(Event { account, via, kind, user_id, date, attributes, context }, date)
}

/// A user's update.
pub fn update(id: &str, patch: &str, millis: i64) -> Draft {
    let patch = json::parse_object(patch, DEPTH_MAX).unwrap();
    let at = Date::from_millis(millis);
    Draft::user(ACCOUNT, Via::Secret, &Id::new(id).unwrap(), &patch, None, at)
}

/// A type is set for an attribute.
pub fn set(kind: &str, attribute: &str, data_type: DataType) -> Draft {
    let (kind, attribute) = (kind.parse().unwrap(), AttributeName::new(attribute).unwrap());
    Draft::data_type(ACCOUNT, kind, attribute, Some(data_type), Date::from_millis(0))
}
