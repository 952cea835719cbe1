//! What one user did, and how the user's attributes changed, newest first.

use super::{CURSOR, Desk, Failure};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::query::timeline::Question;

impl Desk<'_> {
    pub(super) fn timeline(&self, id: &str, params: &Params<'_>) -> Result<Response, Failure> {
        let zone = params.zone()?;
        let question = Question {
            account: self.account,
            user_id: id.to_owned(),
            from: params.date("from", zone)?,
            to: params.date("to", zone)?,
            before: params.read("cursor", CURSOR, |text| text.parse().ok())?,
            limit: params.limit()?,
        };
        let found = question.answer(self.store, self.stop)?;
        if found.timeline.is_empty() && found.next_cursor.is_none() && !self.is_known(id)? {
            let detail = format!("there is neither a user nor an event with the id {id:?}");
            return Err(Reject::new(Code::NotFound, detail).into());
        }
        Ok(answer::found(&found))
    }

    /// Whether there is such a user, or an event that names one.
    fn is_known(&self, id: &str) -> Result<bool, Failure> {
        if self.store.user(self.account, id)?.is_some() {
            return Ok(true);
        }
        let (count, missing) = self.event_count(id)?;
        Ok(count > 0 || !missing.is_nothing())
    }
}
