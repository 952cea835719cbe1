//! How many users come back.

use super::{Desk, Failure};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::query::Interval;
use crate::query::retention::Question;

/// What a cohort can be of.
const INTERVALS: [Interval; 3] = [Interval::Day, Interval::Week, Interval::Month];

impl Desk<'_> {
    pub(super) fn retention(&self, params: &Params<'_>) -> Result<Response, Failure> {
        let zone = params.zone()?;
        let kind = |name| {
            params.text(name).ok_or_else(|| {
                let detail = format!("the parameter `{name}` is required: a type of events");
                Reject::new(Code::InvalidParameter, detail)
            })
        };
        let question = Question {
            first: kind("first")?,
            back: kind("back")?,
            interval: params.interval(&INTERVALS)?.unwrap_or(Interval::Week),
            zone,
            filter: params.question(self.account, zone, false)?,
        };
        Ok(answer::found(&question.answer(self.store, self.stop)?))
    }
}
