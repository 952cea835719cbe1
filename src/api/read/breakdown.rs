//! Events by the values of an attribute, or by what is kept beside a call.

use super::{Desk, Failure, INTERVALS};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::query::breakdown::{By, Question, TOP_DEFAULT, TOP_MAX};
use crate::query::measure::Measure;

impl Desk<'_> {
    pub(super) fn breakdown(&self, params: &Params<'_>) -> Result<Response, Failure> {
        let zone = params.zone()?;
        let by = params.read("by", By::FORMS, By::parse)?.ok_or_else(|| {
            let detail = format!("the parameter `by` is required: {}", By::FORMS);
            Reject::new(Code::InvalidParameter, detail)
        })?;
        let top = params.number("top", 1..=TOP_MAX)?.unwrap_or(TOP_DEFAULT);
        let measure = params.read("measure", Measure::FORMS, Measure::parse)?;
        let question = Question {
            filter: params.question(self.account, zone, false)?,
            by,
            measure: measure.unwrap_or(Measure::Count),
            top,
            interval: params.interval(&INTERVALS)?,
            zone,
        };
        Ok(answer::found(&question.answer(self.store, self.stop)?))
    }
}
