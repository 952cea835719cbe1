//! Counts of events by type and interval, with their users and visitors.

use super::{Desk, Failure, INTERVALS};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::query::Interval;
use crate::query::stats::Question;

impl Desk<'_> {
    pub(super) fn stats(&self, params: &Params<'_>) -> Result<Response, Failure> {
        let zone = params.zone()?;
        let question = Question {
            filter: params.question(self.account, zone, false)?,
            interval: params.interval(&INTERVALS)?.unwrap_or(Interval::Day),
            zone,
        };
        Ok(answer::found(&question.answer(self.store, self.stop)?))
    }
}
