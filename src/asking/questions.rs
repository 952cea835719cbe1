//! How each question is spelled as parameters, for calls and for the addresses of pages alike.

use percent_encoding::percent_decode_str;

use super::Params;
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::AccountId;
use crate::model::limits::TYPE_BYTES_MAX;
use crate::query::breakdown::{By, TOP_DEFAULT, TOP_MAX};
use crate::query::funnel::{STEPS_MAX, STEPS_MIN, Step, Within};
use crate::query::measure::Measure;
use crate::query::users::Sort;
use crate::query::{Interval, breakdown, events, funnel, retention, stats, timeline, users};
use crate::schema::{Clause, Zone};
use crate::store::Order;

/// What a count can be by.
const INTERVALS: [Interval; 4] = [Interval::Hour, Interval::Day, Interval::Week, Interval::Month];

/// What a cohort can be of.
const COHORTS: [Interval; 3] = [Interval::Day, Interval::Week, Interval::Month];

/// How long after the first step the last may be, unless the question says otherwise.
const WITHIN_DEFAULT: &str = "7d";

const CURSOR: &str = "what `next_cursor` of the page before said";

/// How much a question is likely to read that is light unless one of these parameters is given.
#[must_use]
pub fn weight(params: &Params<'_>, heavy: &[&str]) -> Weight {
    let is_given = |name: &&str| params.texts(name).next().is_some();
    if heavy.iter().any(is_given) { Weight::Heavy } else { Weight::Light }
}

impl Params<'_> {
    /// Events, page by page. Dates are shown in the zone `tz` of pages, in UTC in answers of the API.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn events(&self, account: AccountId) -> Result<events::Question, Reject> {
        Ok(events::Question {
            filter: self.question(account, self.zone()?, true)?,
            order: self.order()?.unwrap_or(Order::Descending),
            behind: self.read("cursor", CURSOR, |text| text.parse().ok())?,
            limit: self.limit()?,
            zone: Zone::UTC,
            with_via: false,
        })
    }

    /// Users, page by page.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn users(&self, account: AccountId) -> Result<users::Question, Reject> {
        Ok(users::Question {
            account,
            q: self.text("q"),
            clauses: self.clauses(self.zone()?)?,
            sort: self.text("sort").map_or(Sort::Id, |name| Sort::parse(&name)),
            descending: self.order()? == Some(Order::Descending),
            limit: self.limit()?,
            cursor: self.text("cursor"),
        })
    }

    /// What one user did.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn timeline(&self, account: AccountId, id: &str) -> Result<timeline::Question, Reject> {
        let zone = self.zone()?;
        Ok(timeline::Question {
            account,
            user_id: id.to_owned(),
            from: self.date("from", zone)?,
            to: self.date("to", zone)?,
            before: self.read("cursor", CURSOR, |text| text.parse().ok())?,
            limit: self.limit()?,
        })
    }

    /// Counts by type and interval.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn stats(&self, account: AccountId) -> Result<stats::Question, Reject> {
        let zone = self.zone()?;
        Ok(stats::Question {
            filter: self.question(account, zone, false)?,
            interval: self.interval(&INTERVALS)?.unwrap_or(Interval::Day),
            zone,
            by_type: true,
            who: stats::Who::Everybody,
        })
    }

    /// Events by a value.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn breakdown(&self, account: AccountId) -> Result<breakdown::Question, Reject> {
        let zone = self.zone()?;
        let by = self.read("by", By::FORMS, By::parse)?.ok_or_else(|| {
            let detail = format!("the parameter `by` is required: {}", By::FORMS);
            Reject::new(Code::InvalidParameter, detail)
        })?;
        let top = self.number("top", 1..=TOP_MAX)?.unwrap_or(TOP_DEFAULT);
        let measure = self.read("measure", Measure::FORMS, Measure::parse)?;
        Ok(breakdown::Question {
            filter: self.question(account, zone, false)?,
            by,
            measure: measure.unwrap_or(Measure::Count),
            top,
            interval: self.interval(&INTERVALS)?,
            zone,
        })
    }

    /// How many users did one thing after the other.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn funnel(&self, account: AccountId) -> Result<funnel::Question, Reject> {
        let zone = self.zone()?;
        let mut steps = steps_of(self)?;
        let within = self.read("within", Within::FORMS, Within::parse)?;
        let mut filter = self.question_without_clauses(account, zone, false)?;
        for (step, clause) in self.each_clause(|text| of_step(text, steps.len(), zone))? {
            match step {
                None => filter.clauses.push(clause),
                Some(number) => steps[number - 1].clauses.push(clause),
            }
        }
        let within = within
            .or_else(|| Within::parse(WITHIN_DEFAULT))
            .ok_or_else(|| Reject::new(Code::Internal, "the default of `within` can't be read"))?;
        Ok(funnel::Question { steps, within, filter })
    }

    /// How many users come back.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn retention(&self, account: AccountId) -> Result<retention::Question, Reject> {
        let zone = self.zone()?;
        let kind = |name| {
            self.text(name).ok_or_else(|| {
                let detail = format!("the parameter `{name}` is required: a type of events");
                Reject::new(Code::InvalidParameter, detail)
            })
        };
        Ok(retention::Question {
            first: kind("first")?,
            back: kind("back")?,
            interval: self.interval(&COHORTS)?.unwrap_or(Interval::Week),
            zone,
            filter: self.question(account, zone, false)?,
        })
    }
}

/// The types that `steps` names. A comma in one is percent-encoded, once more than all is.
fn steps_of(params: &Params<'_>) -> Result<Vec<Step>, Reject> {
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
