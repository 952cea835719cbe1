//! `/link/{token}`: a one-time link, which gives somebody an account to see. It dies with its use.
//!
//! One that was made on the server's machine also sets a new password for somebody who has one already and sees this
//! account alone: whoever has it gets no more than it gives. One that was made on a page doesn't: who was invited can't
//! take over somebody else's e-mail. Such a try uses the link up too, so that it can't be asked again and again which
//! e-mails there are.

use askama::Template;

use super::super::frame::{Frame, Notice};
use super::sign_in;
use crate::asking::Failure;
use crate::auth::password;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::model::person::{Email, Link, Person, PersonChange, TokenHash};
use crate::store::Draft;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "link.html")]
struct Page {
    frame: Frame,
    mark: String,
    /// Where the form goes.
    action: String,
    account: String,
    email: String,
    email_error: String,
    password_error: String,
    is_signed_in: bool,
    /// Where to sign in first.
    sign_in: String,
}

fn link(visit: &Visit<'_>) -> Result<(TokenHash, Link, String), Failure> {
    let hash = TokenHash::of(visit.value(0));
    let people = visit.rooms.store.people();
    let accounts = visit.rooms.store.accounts();
    let found = people.link(&hash, visit.at());
    let found = found.and_then(|link| Some((link, accounts.get(link.account)?)));
    let (link, account) = found.ok_or_else(|| {
        let detail = "This link was used already, or is too old. A new one is made by `triggerly web link` on the \
                      server's machine, or by somebody who sees the account, on its profile page.";
        Reject::new(Code::NotFound, detail)
    })?;
    Ok((hash, *link, account.name.to_string()))
}

fn page(
    visit: &Visit<'_>,
    account: String,
    email: &str,
    (email_error, password_error): (String, String),
) -> Result<Response, Failure> {
    let is_signed_in = visit.is_signed_in();
    let title = if is_signed_in { "One more account" } else { "Welcome" };
    let path = format!("/link/{}", visit.value(0));
    let base = visit.url().base();
    let status = if email_error.is_empty() && password_error.is_empty() { 200 } else { 422 };
    let page = Page {
        frame: visit.frame(title),
        mark: visit.mark(),
        action: format!("{base}{path}"),
        account,
        email: email.to_owned(),
        email_error,
        password_error,
        is_signed_in,
        sign_in: format!("{base}/sign-in?next={path}"),
    };
    visit.page_as(status, &page)
}

/// The form.
pub(in crate::web) fn form(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (_, _, account) = link(visit)?;
    page(visit, account, "", Default::default())
}

/// Uses the link.
pub(in crate::web) fn take(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (hash, link, account) = link(visit)?;
    let at = visit.at();
    let used = Draft::person(PersonChange::LinkUsed { hash }, at);
    if let Ok(who) = visit.who() {
        let joined = PersonChange::Joined { person: who.person.id, account: link.account };
        visit.change(vec![used, Draft::person(joined, at)])?;
        return Ok(visit.see(&format!(
            "{}/accounts/{}/overview",
            visit.url().base(),
            link.account.0
        )));
    }
    let (given, text) = (visit.field("email"), visit.field("password"));
    let email = Email::new(given.trim());
    let wrong = |error: Option<String>| error.unwrap_or_default();
    let errors = (
        wrong(email.as_ref().err().map(|error| format!("{error}."))),
        wrong(password::check(&text).err().map(|rule| format!("{rule}."))),
    );
    let (Ok(email), true) = (email, errors.1.is_empty()) else {
        return page(visit, account, &given, errors);
    };
    let known = visit.rooms.store.people().by_email(&email).cloned();
    // Whoever makes links to find out which e-mails there are waits, as who tries passwords.
    let (tries, client) =
        (format!("link to {}", link.account.0), visit.rooms.door.client(visit.request()));
    if let Some(seconds) = visit.rooms.attempts.wait(&tries, client, at) {
        let text = format!("There were too many wrong tries. Try again in {seconds} seconds.");
        return page(visit, account, &given, (text, String::new()));
    }
    // A link to one account is no way into others that somebody sees.
    let renews = |person: &Person| link.by_operator && person.accounts.iter().eq([&link.account]);
    let renewed = known.as_deref().filter(|person| renews(person)).map(|person| person.id);
    let password = password::hash(&text).map_err(sign_in::no_randomness)?;
    let password = password.as_str();
    let drafts = match (&known, renewed) {
        (None, _) => {
            let (email, account) = (email.as_str(), link.account);
            vec![used, Draft::person(PersonChange::Made { email, password, account }, at)]
        }
        (Some(_), Some(person)) => vec![
            used,
            Draft::person(PersonChange::PasswordSet { person, password }, at),
            Draft::person(PersonChange::SessionsEnded { person, but: None }, at),
        ],
        (Some(_), None) => vec![used],
    };
    visit.change(drafts)?;
    if known.is_some() && renewed.is_none() {
        visit.rooms.attempts.failed(&tries, client, at);
    }
    let people = visit.rooms.store.people();
    let person = people.by_email(&email).filter(|_| known.is_none() || renewed.is_some());
    match person {
        Some(person) => {
            let path = format!("{}/accounts/{}/profile", visit.url().base(), link.account.0);
            Ok(sign_in::begin(visit, person.id)?.with_header("Location", path))
        }
        None => {
            let mut frame = visit.frame("This link is used up");
            let text =
                "If you sign in here already, sign in and ask for another link, to be opened then.";
            frame.notice = Some(Notice { is_error: true, text: text.to_owned() });
            visit.page(&super::home::Nothing { frame })
        }
    }
}
