//! A user: attributes merged from every call that named it.

use thiserror::Error;

use super::limits::{ATTRIBUTES_MAX, USER_BYTES_MAX};
use super::{Date, Object, json, merge::merge};

/// One user's merged state.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// When the first call that named it was accepted.
    pub created_at: Date,
    /// When the last one was.
    pub updated_at: Date,
    /// Every attribute, `email` among them, without `id`.
    pub attributes: Object,
}

/// Why an update is refused though each part of it is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UserLimit {
    /// More than [`ATTRIBUTES_MAX`] after merging.
    #[error(
        "the user would have {0} attributes, at most {ATTRIBUTES_MAX} are kept; \
         send null for those that are no longer needed"
    )]
    Attributes(usize),
    /// More than [`USER_BYTES_MAX`] after merging.
    #[error(
        "the user's attributes would take {0} bytes as JSON, at most {USER_BYTES_MAX} are kept; \
         send null for those that are no longer needed"
    )]
    Bytes(usize),
}

impl User {
    /// A user that no call has described yet.
    #[must_use]
    pub fn new(created_at: Date) -> User {
        User { created_at, updated_at: created_at, attributes: Object::new() }
    }

    /// Merges one update, as RFC 7396 says. Pure: the same updates in the same order give the same
    /// user, however they were batched.
    pub fn update(&mut self, patch: Object, at: Date) {
        merge(&mut self.attributes, patch);
        self.updated_at = at;
    }

    /// The attributes as JSON text, if they are within bounds.
    ///
    /// # Errors
    /// [`UserLimit`] says which bound they break, and by how much.
    pub fn checked_text(&self) -> Result<String, UserLimit> {
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(UserLimit::Attributes(self.attributes.len()));
        }
        let text = json::to_text(&self.attributes);
        if text.len() > USER_BYTES_MAX {
            return Err(UserLimit::Bytes(text.len()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::DEPTH_MAX;

    fn object(text: &str) -> Object {
        json::parse_object(text, DEPTH_MAX).expect(text)
    }

    #[test]
    fn updates_merge_and_move_the_time() {
        let mut user = User::new(Date::from_millis(1));
        user.update(
            object(r#"{"email":"a@example.com","plan":"free","n":1.0}"#),
            Date::from_millis(1),
        );
        user.update(object(r#"{"plan":"pro","email":null,"seen":null}"#), Date::from_millis(9));
        assert_eq!(user.checked_text().as_deref(), Ok(r#"{"plan":"pro","n":1.0}"#));
        assert_eq!((user.created_at.millis(), user.updated_at.millis()), (1, 9));
    }

    #[test]
    fn a_user_stays_within_bounds() {
        let mut user = User::new(Date::from_millis(0));
        for i in 0..=ATTRIBUTES_MAX {
            assert!(user.checked_text().is_ok());
            user.update(object(&format!(r#"{{"a{i}":1}}"#)), Date::from_millis(0));
        }
        assert_eq!(user.checked_text(), Err(UserLimit::Attributes(ATTRIBUTES_MAX + 1)));
        let mut user = User::new(Date::from_millis(0));
        let big = "x".repeat(USER_BYTES_MAX / 2);
        user.update(object(&format!(r#"{{"a":"{big}"}}"#)), Date::from_millis(0));
        assert!(user.checked_text().is_ok());
        user.update(object(&format!(r#"{{"b":"{big}"}}"#)), Date::from_millis(0));
        assert!(matches!(user.checked_text(), Err(UserLimit::Bytes(n)) if n > USER_BYTES_MAX));
    }
}
