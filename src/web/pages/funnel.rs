//! `/accounts/{account}/funnel`: how many users did one thing after the other.
//!
//! The form has a field for each step, and one more; an address with the `steps` of the API is understood too.

mod steps;

use askama::Template;

use super::filter::{self, Fields, Filter, Said};
use super::period::Period;
use crate::asking::{Failure, Params};
use crate::http::{Query, Response};
use crate::ingest::{Code, Reject};
use crate::query::funnel::{self, STEPS_MIN};
use crate::web::chart;
use crate::web::format::Format;
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::Choice;
use crate::web::visit::Visit;
use steps::{FIELDS, Steps};

/// Of what time it is, unless the address says.
const PERIOD: Period = Period::days(7);

/// Steps that are begun with: the types with the most events.
const STEPS_BEGUN: usize = 3;

/// How long the steps may take, to be chosen from.
const WITHIN: [(&str, &str); 8] = [
    ("30m", "30 minutes"),
    ("1h", "1 hour"),
    ("12h", "12 hours"),
    ("1d", "1 day"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("365d", "365 days"),
];

const WITHIN_DEFAULT: &str = "7d";

#[derive(Template)]
#[template(path = "funnel.html")]
struct Page {
    frame: Frame,
    filter: Filter,
    said: Vec<Said>,
    steps: Vec<Field>,
    within: Vec<Choice>,
    found: Option<Result<Found, String>>,
    /// Whether the steps are chosen by what there is most of, not by a person.
    is_begun: bool,
    /// Whether the account has no event at all.
    is_new: bool,
}

/// A step of the form.
struct Field {
    number: usize,
    kind: String,
    /// Why that makes no sense, if it doesn't.
    error: String,
    clauses: Vec<String>,
}

/// How far they come.
struct Found {
    funnel: chart::Funnel,
    began: String,
    ended: String,
    share: String,
    notes: Vec<String>,
}

/// The page.
pub(in crate::web) fn funnel(visit: &Visit<'_>) -> Result<Response, Failure> {
    let account = visit.account()?.id;
    let types = filter::types(visit)?;
    let (mut steps, rest) = Steps::of(visit.request().query());
    let is_begun = steps.is_empty() && types.len() >= STEPS_MIN;
    if is_begun {
        steps = Steps::of_kinds(types.iter().take(STEPS_BEGUN).cloned());
    }
    let address = steps.for_page(&rest);
    let filter = Filter::of_query(visit, Query::of(&address), "funnel", PERIOD)?
        .with_types(types)
        .with_fields(Fields { kind: false, user: false, ..Fields::ALL })
        .with_others(&FIELDS);
    let format = visit.format();
    let mut frame = visit.frame_of(Section::Funnel, "Funnel", &[]);
    let (mut found, mut status) = (None, 200);
    if let Some(number) = steps.untyped() {
        let reject = Reject::new(Code::InvalidParameter, steps::untyped(number));
        frame.notice = Some(Notice::refused(&reject));
        status = 400;
    } else if steps.len() >= STEPS_MIN {
        let call = steps.for_call(&rest);
        let params = Params::of(Query::of(&call)).in_zone(visit.zone());
        let (from, to) = filter.span();
        let question = params.funnel(account).map(|asked| {
            let narrowed = crate::query::Filter { from, to, ..asked.filter };
            funnel::Question { filter: narrowed, ..asked }
        });
        match question.and_then(|question| filter.question().map(|_| question)) {
            Ok(question) => {
                let answer = question.answer(&visit.rooms.store, visit.stop);
                let answer = visit.part(answer.map_err(Failure::from))?;
                found = Some(answer.map(|answer| shown(&answer, &steps, &format)));
            }
            Err(reject) => {
                frame.notice = Some(Notice::refused(&reject));
                status = 400;
            }
        }
    }
    let within = visit.params().text("within").unwrap_or_else(|| WITHIN_DEFAULT.to_owned());
    let mut choices = Choice::of(&WITHIN, &within);
    if !choices.iter().any(|choice| choice.is_chosen) {
        choices.push(Choice { value: within.clone(), label: within, is_chosen: true });
    }
    let page = Page {
        said: filter.said(&format),
        steps: steps.fields(),
        within: choices,
        found,
        is_begun,
        is_new: filter.types.is_empty() && status == 200,
        filter,
        frame,
    };
    visit.page_as(status, &page)
}

fn shown(answer: &funnel::Answer, steps: &Steps, format: &Format) -> Found {
    let labels = steps.labels();
    let counts: Vec<(&str, u64)> = labels
        .iter()
        .zip(&answer.steps)
        .map(|(label, step)| (label.as_str(), step.users))
        .collect();
    let of = |step: Option<&(&str, u64)>| step.map_or(0, |step| step.1);
    let (began, ended) = (of(counts.first()), of(counts.last()));
    let mut notes = Vec::new();
    if answer.missing > 0 {
        notes.push(format!("Up to {} records could not be read.", format.count(answer.missing)));
    }
    Found {
        funnel: chart::Funnel::new(&counts, format),
        began: format.count(began),
        ended: format.count(ended),
        share: format.share(ended, began),
        notes,
    }
}
