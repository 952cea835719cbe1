//! Replacing the account's token, and its secret key.

use super::{Choice, Failure, Response, Visit, answer, done, page, told};
use crate::auth;
use crate::ingest::{Code, Reject};
use crate::model::Date;
use crate::store::Draft;
use crate::web::pages::sign_in::no_randomness;

const HOUR_MILLIS: i64 = 60 * 60 * 1000;

/// How long an old token may live on: what the form sends, what it says, and hours.
const KEEPS: [(&str, &str, i64); 5] = [
    ("none", "not at all", 0),
    ("1h", "for an hour", 1),
    ("1d", "for a day", 24),
    ("7d", "for 7 days", 7 * 24),
    ("30d", "for 30 days", 30 * 24),
];

pub(super) fn keeps() -> Vec<Choice> {
    Choice::of(&KEEPS.map(|(word, label, _)| (word, label)), "1d")
}

/// Makes a new token; the old one lives on as long as was chosen.
pub(in crate::web) fn rotate_token(visit: &Visit<'_>) -> Result<Response, Failure> {
    let chosen = visit.field("keep");
    let keep = KEEPS.iter().find(|(word, ..)| *word == chosen);
    let (_, _, hours) = keep.ok_or_else(|| {
        Reject::new(Code::InvalidParameter, "Choose how long the old token is taken still")
    })?;
    let until = (*hours > 0).then(|| Date::from_millis(visit.at().millis() + hours * HOUR_MILLIS));
    let token = auth::new_api_token().map_err(no_randomness)?;
    let draft = Draft::rotation(visit.account()?.id, Some(token), None, until, visit.at());
    visit.change(vec![draft])?;
    done(visit, "token")
}

/// Makes a new secret key, which is shown now and never again.
pub(in crate::web) fn rotate_key(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (key, hash) = auth::new_secret_key().map_err(no_randomness)?;
    let draft = Draft::rotation(visit.account()?.id, None, Some(hash), None, visit.at());
    visit.change(vec![draft])?;
    let mut page = page(visit)?;
    page.new_key = Some(key);
    told(&mut page, "The account has a new secret key. Copy it now: it isn't shown again.");
    answer(visit, page)
}
