//! The attributes of users and events, and their types.

use super::{Desk, Failure};
use crate::api::answer;
use crate::http::Response;
use crate::query::types;

impl Desk<'_> {
    pub(super) fn types(&self) -> Result<Response, Failure> {
        Ok(answer::found(&types::all(self.store, self.account, self.stop)?))
    }
}
