//! How many users did one thing after the other.

use percent_encoding::percent_decode_str;

use super::{Desk, Failure};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::model::limits::TYPE_BYTES_MAX;
use crate::query::funnel::{Question, STEPS_MAX, STEPS_MIN, Step, Within};
use crate::schema::{Clause, Zone};

/// How long after the first step the last may be, unless the question says otherwise.
const WITHIN_DEFAULT: &str = "7d";

impl Desk<'_> {
    pub(super) fn funnel(&self, params: &Params<'_>) -> Result<Response, Failure> {
        let zone = params.zone()?;
        let mut steps = steps(params)?;
        let within = params.read("within", Within::FORMS, Within::parse)?;
        let mut filter = params.question_without_clauses(self.account, zone, false)?;
        for (step, clause) in params.each_clause(|text| of_step(text, steps.len(), zone))? {
            match step {
                None => filter.clauses.push(clause),
                Some(number) => steps[number - 1].clauses.push(clause),
            }
        }
        let within = within
            .or_else(|| Within::parse(WITHIN_DEFAULT))
            .ok_or_else(|| Reject::new(Code::Internal, "the default of `within` can't be read"))?;
        let question = Question { steps, within, filter };
        Ok(answer::found(&question.answer(self.store, self.stop)?))
    }
}

/// The types that `steps` names. A comma in one is percent-encoded, once more than all is.
fn steps(params: &Params<'_>) -> Result<Vec<Step>, Reject> {
    let right = format!("{STEPS_MIN} to {STEPS_MAX} types of events, separated by commas");
    let steps = params.read("steps", &right, |text| {
        let kinds = text.split(',').map(|kind| {
            let kind = percent_decode_str(kind).decode_utf8().ok()?.into_owned();
            let is_kind = (1..=TYPE_BYTES_MAX).contains(&kind.len());
            is_kind.then_some(Step { kind, clauses: Vec::new() })
        });
        // Of more than there may be, none but one is looked at.
        let steps: Vec<Step> = kinds.take(STEPS_MAX + 1).collect::<Option<_>>()?;
        (STEPS_MIN..=STEPS_MAX).contains(&steps.len()).then_some(steps)
    })?;
    steps.ok_or_else(|| {
        let detail = format!("the parameter `steps` is required: {right}");
        Reject::new(Code::InvalidParameter, detail)
    })
}

/// A clause, and the number of the step that it is of alone, from 1: `2:price>10`.
fn of_step(text: &str, steps: usize, zone: Zone) -> Result<(Option<usize>, Clause), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (step, clause) = match text[digits..].strip_prefix(':') {
        Some(clause) if digits > 0 => {
            let step = text[..digits].parse().ok().filter(|step| (1..=steps).contains(step));
            let none = || format!("there is no step {:.10}; there are {steps}", &text[..digits]);
            (Some(step.ok_or_else(none)?), clause)
        }
        _ => (None, text),
    };
    Ok((step, Clause::parse(clause, &zone).map_err(|error| error.to_string())?))
}
