//! `/accounts/{account}/profile`: the account's token and key, code to copy, a test event, and its settings.
//!
//! The page has a form for each setting. One that is filled in wrongly is shown again as it was, with what would
//! be right beside its field.

mod credentials;
mod people;
mod settings;
mod trial;

pub(in crate::web) use credentials::{rotate_key, rotate_token};
pub(in crate::web) use people::{invite, remove};
pub(in crate::web) use settings::{set_retention, set_sites, set_zone};
pub(in crate::web) use trial::send;

use askama::Template;

use crate::asking::Failure;
use crate::http::{Request, Response};
use crate::jobs::Weight;
use crate::model::limits::LINK_HOURS;
use crate::web::frame::{Frame, Notice, Section};
use crate::web::parts::{Choice, Moment};
use crate::web::snippets::{Snippet, snippets};
use crate::web::visit::Visit;

const DONE: [(&str, &str); 6] = [
    ("token", "The account has a new token. Put it into your pages."),
    ("sites", "Which sites calls may come from is set."),
    ("retention", "How long events are kept is set."),
    ("zone", "The time zone is set."),
    ("removed", "This person doesn't see the account any more."),
    ("left", "You don't see that account any more."),
];

/// Zones that the field proposes; any other of the IANA database can be typed.
const ZONES: [&str; 24] = [
    "UTC",
    "Africa/Cairo",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "America/Argentina/Buenos_Aires",
    "America/Chicago",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Dubai",
    "Asia/Jakarta",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Istanbul",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Paris",
    "Europe/Warsaw",
    "Pacific/Auckland",
];

#[derive(Template)]
#[template(path = "profile.html")]
struct Page {
    frame: Frame,
    /// What the paths of the forms begin with.
    path: String,
    token: String,
    /// The token before, and until when it is taken.
    old_token: Option<(String, Moment)>,
    /// How long it may live on.
    keeps: Vec<Choice>,
    /// The secret key, if it was just made.
    new_key: Option<String>,
    snippets: [Snippet; 7],
    trial: Option<trial::Arrived>,
    sites: Field,
    retention: Field,
    /// What a retention of so many days would take.
    dry_run: Option<String>,
    zone: Field,
    zones: [&'static str; 24],
    members: Vec<people::Member>,
    /// A link for somebody else, if one was just made.
    link: Option<String>,
    link_hours: i64,
}

/// What stands in a field, and what is wrong with it.
#[derive(Default)]
struct Field {
    value: String,
    error: String,
}

impl Field {
    fn new(value: impl Into<String>) -> Field {
        Field { value: value.into(), error: String::new() }
    }

    fn wrong(value: impl Into<String>, error: impl std::fmt::Display) -> Field {
        Field { value: value.into(), error: format!("{error}.") }
    }
}

/// How much the page reads: much only where it is asked what a retention would take.
pub(in crate::web) fn weight(request: &Request) -> Weight {
    if request.query().get("days").is_some() { Weight::Heavy } else { Weight::Light }
}

/// The page.
pub(in crate::web) fn profile(visit: &Visit<'_>) -> Result<Response, Failure> {
    let mut page = page(visit)?;
    if let Some(days) = visit.request().query().get("days") {
        settings::try_retention(visit, &days, &mut page)?;
    }
    page.trial = trial::arrived(visit)?;
    answer(visit, page)
}

/// The page as it is with nothing filled in.
fn page(visit: &Visit<'_>) -> Result<Page, Failure> {
    let account = visit.account()?;
    let format = visit.format();
    let old_token = account.old_token.filter(|(_, until)| *until > visit.at());
    Ok(Page {
        frame: visit.frame_of(Section::Profile, "Profile", &DONE),
        path: visit.path("profile"),
        token: account.api_token.to_string(),
        old_token: old_token.map(|(token, until)| (token.to_string(), format.at(until))),
        keeps: credentials::keeps(),
        new_key: None,
        snippets: snippets(&visit.url().to_string(), &account.api_token),
        trial: None,
        sites: Field::new(
            account
                .sites
                .as_ref()
                .map_or_else(String::new, |sites| sites.iter().collect::<Vec<_>>().join("\n")),
        ),
        retention: Field::new(
            account.retention_days.map_or_else(String::new, |days| days.to_string()),
        ),
        dry_run: None,
        zone: Field::new(account.zone.as_deref().unwrap_or("UTC")),
        zones: ZONES,
        members: people::members(visit)?,
        link: None,
        link_hours: LINK_HOURS,
    })
}

/// The page, as one that was filled in wrongly if a field says so.
fn answer(visit: &Visit<'_>, page: Page) -> Result<Response, Failure> {
    let fields = [&page.sites, &page.retention, &page.zone];
    let is_wrong = fields.iter().any(|field| !field.error.is_empty());
    visit.page_as(if is_wrong { 422 } else { 200 }, &page)
}

/// Back to the page, which says what was done.
fn done(visit: &Visit<'_>, word: &str) -> Result<Response, Failure> {
    Ok(visit.see(&format!("{}?done={word}", visit.path("profile"))))
}

fn told(page: &mut Page, text: &str) {
    page.frame.notice = Some(Notice { is_error: false, text: text.to_owned() });
}
