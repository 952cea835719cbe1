//! Which events a question or an export is about.

use super::record::Event;
use super::{AccountId, Date};

/// A filter of events: of one account, and of whatever else is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    /// Whose.
    pub account: AccountId,
    /// Of this type.
    pub kind: Option<String>,
    /// Of this user.
    pub user_id: Option<String>,
    /// From this date on.
    pub from: Option<Date>,
    /// Before this date.
    pub to: Option<Date>,
}

impl EventFilter {
    /// Whether it narrows nothing: all of the account's events pass.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        let EventFilter { account: _, kind, user_id, from, to } = self;
        kind.is_none() && user_id.is_none() && from.is_none() && to.is_none()
    }

    /// Whether an event passes.
    #[must_use]
    pub fn wants(&self, event: &Event<'_>) -> bool {
        event.account == self.account
            && self.kind.as_deref().is_none_or(|kind| kind == event.kind)
            && self.user_id.as_deref().is_none_or(|id| Some(id) == event.user_id)
            && self.from.is_none_or(|from| from <= event.date)
            && self.to.is_none_or(|to| event.date < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Via;

    #[test]
    fn each_part_narrows() {
        let event = Event {
            account: AccountId(1),
            via: Via::Public,
            kind: "view",
            user_id: Some("u"),
            date: Date::from_millis(10),
            attributes: "{}",
            context: None,
        };
        let (account, text) = (AccountId(1), |text: &str| Some(text.to_owned()));
        let date = |millis| Some(Date::from_millis(millis));
        let all = EventFilter { account, kind: None, user_id: None, from: None, to: None };
        for (filter, wanted) in [
            (all.clone(), true),
            (EventFilter { account: AccountId(2), ..all.clone() }, false),
            (EventFilter { kind: text("view"), ..all.clone() }, true),
            (EventFilter { kind: text("View"), ..all.clone() }, false),
            (EventFilter { user_id: text("u"), ..all.clone() }, true),
            (EventFilter { user_id: text("v"), ..all.clone() }, false),
            (EventFilter { from: date(10), to: date(11), ..all.clone() }, true),
            (EventFilter { from: date(11), ..all.clone() }, false),
            (EventFilter { to: date(10), ..all.clone() }, false),
        ] {
            assert_eq!(filter.wants(&event), wanted, "{filter:?}");
            let narrows = EventFilter { account, ..filter.clone() } != all;
            assert_eq!(filter.is_of_all(), !narrows, "{filter:?}");
        }
        let filter = EventFilter { user_id: text("u"), ..all };
        assert!(!filter.wants(&Event { user_id: None, ..event }));
    }
}
