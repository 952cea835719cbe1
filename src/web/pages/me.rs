//! `/me`: who one is here: e-mail, password, where one is signed in, which accounts one sees.

use askama::Template;

use super::super::frame::{Frame, Notice};
use super::sign_in;
use crate::asking::Failure;
use crate::auth::password;
use crate::http::Response;
use crate::model::person::{Email, PersonChange, PersonRefusal, TokenHash};
use crate::store::Draft;
use crate::web::answer::sentence;
use crate::web::parts::Moment;
use crate::web::visit::Visit;

/// Bytes of the hash that tell one session from another in a form: nobody has two sessions alike in them.
const HANDLE_BYTES: usize = 8;

#[derive(Template)]
#[template(path = "me.html")]
struct Page {
    frame: Frame,
    email: String,
    sessions: Vec<Session>,
}

/// A session, as it is shown.
struct Session {
    /// What the form sends to end it.
    handle: String,
    label: String,
    began: Moment,
    ends: Moment,
    is_this: bool,
}

const DONE: [(&str, &str); 4] = [
    ("email", "Your e-mail is set. Sign in with it from now on."),
    ("password", "Your password is set, and all other sessions are ended."),
    ("session", "The session is ended."),
    ("sessions", "All other sessions are ended."),
];

/// The page.
pub(in crate::web) fn me(visit: &Visit<'_>) -> Result<Response, Failure> {
    page(visit, 200, visit.done(&DONE))
}

fn page(visit: &Visit<'_>, status: u16, notice: Option<Notice>) -> Result<Response, Failure> {
    let who = visit.who()?;
    let people = visit.rooms.store.people();
    let mut sessions: Vec<_> = people.sessions_of(who.person.id).iter().collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.began_at));
    let format = visit.format();
    let shown = |session: &crate::model::person::Session| Session {
        handle: handle(&session.hash),
        label: session.label.to_string(),
        began: format.at(session.began_at),
        ends: format.at(session.ends_at()),
        is_this: session.hash == who.session,
    };
    let sessions = sessions.into_iter().map(|session| shown(session)).collect();
    let mut frame = visit.frame("You");
    frame.notice = notice;
    visit.page_as(status, &Page { frame, email: who.person.email.to_string(), sessions })
}

fn refused(visit: &Visit<'_>, text: String) -> Result<Response, Failure> {
    page(visit, 422, Some(Notice { is_error: true, text }))
}

fn done(visit: &Visit<'_>, word: &str) -> Result<Response, Failure> {
    Ok(visit.see(&format!("{}/me?done={word}", visit.url().base())))
}

/// Whether the password that was sent along is the person's: somebody else may sit at the screen. Who fails often
/// waits, as at signing in.
fn is_oneself(visit: &Visit<'_>) -> Result<Result<(), String>, Failure> {
    let person = &visit.who()?.person;
    let (key, client) = (person.email.key(), visit.rooms.door.client(visit.request()));
    let attempts = &visit.rooms.attempts;
    if let Some(seconds) = attempts.wait(&key, client, visit.at()) {
        return Ok(Err(too_many(seconds)));
    }
    if password::verify(Some(&person.password), &visit.field("current")) {
        attempts.succeeded(&key, client, visit.at());
        return Ok(Ok(()));
    }
    attempts.failed(&key, client, visit.at());
    Ok(Err("That is not your present password. Nothing was changed.".to_owned()))
}

fn too_many(seconds: u32) -> String {
    format!("There were too many wrong tries. Try again in {seconds} seconds.")
}

/// Sets the e-mail.
pub(in crate::web) fn set_email(visit: &Visit<'_>) -> Result<Response, Failure> {
    let person = visit.who()?.person.id;
    if let Err(text) = is_oneself(visit)? {
        return refused(visit, text);
    }
    let email = match Email::new(visit.field("email").trim()) {
        Ok(email) => email,
        Err(error) => return refused(visit, format!("{error}.")),
    };
    // Who tries many to find out which there are waits, as who tries passwords.
    let (key, client) =
        (format!("e-mail for {}", person.0), visit.rooms.door.client(visit.request()));
    if let Some(seconds) = visit.rooms.attempts.wait(&key, client, visit.at()) {
        return refused(visit, too_many(seconds));
    }
    if visit.rooms.store.people().by_email(&email).is_some_and(|other| other.id != person) {
        visit.rooms.attempts.failed(&key, client, visit.at());
        return refused(visit, sentence(&PersonRefusal::EmailTaken.to_string()));
    }
    let change = PersonChange::EmailSet { person, email: email.as_str() };
    visit.change(vec![Draft::person(change, visit.at())])?;
    done(visit, "email")
}

/// Sets the password, and ends all other sessions.
pub(in crate::web) fn set_password(visit: &Visit<'_>) -> Result<Response, Failure> {
    let who = visit.who()?;
    if let Err(text) = is_oneself(visit)? {
        return refused(visit, text);
    }
    let text = visit.field("password");
    if let Err(rule) = password::check(&text) {
        return refused(visit, format!("{rule}."));
    }
    let hash = password::hash(&text).map_err(sign_in::no_randomness)?;
    let (person, at) = (who.person.id, visit.at());
    visit.change(vec![
        Draft::person(PersonChange::PasswordSet { person, password: hash.as_str() }, at),
        Draft::person(PersonChange::SessionsEnded { person, but: Some(who.session) }, at),
    ])?;
    done(visit, "password")
}

/// Ends a session of the person's, or all but this one.
pub(in crate::web) fn end_session(visit: &Visit<'_>) -> Result<Response, Failure> {
    let who = visit.who()?;
    let (person, at, wanted) = (who.person.id, visit.at(), visit.field("session"));
    if wanted == "others" {
        let change = PersonChange::SessionsEnded { person, but: Some(who.session) };
        visit.change(vec![Draft::person(change, at)])?;
        return done(visit, "sessions");
    }
    let people = visit.rooms.store.people();
    let found = people.sessions_of(person).iter().find(|session| handle(&session.hash) == wanted);
    if let Some(session) = found {
        visit.change(vec![Draft::person(PersonChange::SessionEnded { hash: session.hash }, at)])?;
    }
    // One that isn't there has ended.
    done(visit, "session")
}

fn handle(hash: &TokenHash) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = crate::model::account::write_hex(&mut text, &hash.0[..HANDLE_BYTES]);
    text
}
