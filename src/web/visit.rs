//! A checked call of a page: who it is, which account it is of, and what the page is made from.
//!
//! Promises that a page never has an account that its reader doesn't see, and that nothing is changed but by a form
//! that bears the mark of its reader's session.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;

use super::answer::{self, Problem};
use super::format::{Format, Locale};
use super::frame::{AccountLink, Frame, Notice, Person as Shown, Section};
use super::routes::{Access, Route};
use super::{Rooms, assets, session};
use crate::asking::{Failure, Params};
use crate::auth;
use crate::http::{Method, Query, Request, Response};
use crate::ingest::{Code, Reject};
use crate::model::person::{Person, TokenHash};
use crate::model::{Account, AccountId, Date};
use crate::public_url::PublicUrl;
use crate::query::{READ_ROWS_MAX, Stop};
use crate::schema::Zone;
use crate::store::{Draft, Receipt};

/// What is found out of a call before its page is made.
pub(super) struct Entrance {
    /// What the path names, but for the account.
    pub values: Vec<String>,
    /// When the call came.
    pub at: Date,
    /// Where the browser has the pages.
    pub url: PublicUrl,
    /// Who it is, if anybody is signed in.
    pub who: Option<Who>,
    /// The account that the path names.
    account: Option<Arc<Account>>,
    /// What the browser's cookie holds, or shall hold.
    token: String,
    /// Whether it has to be told.
    is_new: bool,
}

/// Who is signed in.
pub(super) struct Who {
    /// The person.
    pub person: Arc<Person>,
    /// The session.
    pub session: TokenHash,
}

/// Where a browser has the pages: where the server was said to be reached, else the host that was asked for.
pub(super) fn url(rooms: &Rooms, request: &Request) -> PublicUrl {
    let is_secure = rooms.door.is_secure(request);
    let host = || request.header("host").and_then(|host| PublicUrl::of_host(host, is_secure));
    let listening = || PublicUrl::of_host(&rooms.address.to_string(), is_secure);
    let said = rooms.public_url.clone();
    said.or_else(host).or_else(listening).unwrap_or_else(PublicUrl::localhost)
}

/// Whether a browser says that a page of another origin sent it. A neighbouring host can set cookies of this one, and
/// so knows the mark of a form of who isn't signed in.
fn is_from_elsewhere(request: &Request) -> bool {
    matches!(request.header("sec-fetch-site"), Some("cross-site" | "same-site"))
}

impl Entrance {
    /// Who calls, and whether he may. Whoever may not is answered at once.
    pub fn of(
        rooms: &Rooms,
        route: &Route,
        mut values: Vec<String>,
        request: &Request,
        at: Date,
    ) -> Result<Entrance, Response> {
        let url = url(rooms, request);
        let who = session::cookie(request, session::SESSION, &url).and_then(|token| {
            let hash = TokenHash::of(token);
            let people = rooms.store.people();
            let (session, person) = people.session(&hash, at)?;
            Some((token.to_owned(), Who { person: Arc::clone(person), session: session.hash }))
        });
        let visitor = || session::cookie(request, session::VISITOR, &url).map(str::to_owned);
        let (token, is_new, who) = match (who, visitor()) {
            (Some((token, who)), _) => (token, false, Some(who)),
            (None, Some(token)) => (token, false, None),
            (None, None) => {
                let token = auth::new_token().map_err(|error| {
                    let detail = format!("The operating system has no randomness: {error}");
                    answer::plain(rooms, request, &Reject::new(Code::Internal, detail))
                })?;
                (token, true, None)
            }
        };
        let account = None;
        let mut entrance = Entrance { values: Vec::new(), at, url, who, account, token, is_new };
        if route.access != Access::Everyone && entrance.who.is_none() {
            return Err(entrance.turned_to_sign_in(rooms, request));
        }
        if route.access == Access::Member {
            let named = values.remove(0);
            entrance.account = entrance.sees(rooms, &named);
            if entrance.account.is_none() {
                // The same whether there is none or it is another's.
                let reject = Reject::new(Code::NotFound, "There is no page at this address.");
                return Err(Problem::of(&reject).page(entrance.frame(rooms, "")));
            }
        }
        entrance.values = values;
        if request.method == Method::Post {
            let form = std::str::from_utf8(request.body()).unwrap_or_default();
            let given = Query::of(form).get("csrf").unwrap_or_default();
            if is_from_elsewhere(request) || !session::is_marked(&entrance.token, &given) {
                let mut frame = entrance.frame(rooms, "");
                frame.title = "This form is out of date".to_owned();
                let problem = Problem {
                    status: 403,
                    code: "forged_form",
                    detail: "It was sent from another page than ours, or signing in or out has \
                             happened since it was shown. Nothing was changed. Go back, load the \
                             page anew, and send it again."
                        .to_owned(),
                    retry_after: None,
                };
                return Err(entrance.told(problem.page(frame)));
            }
        }
        Ok(entrance)
    }

    /// The account of this number, if the reader sees it.
    fn sees(&self, rooms: &Rooms, named: &str) -> Option<Arc<Account>> {
        let id: u64 = named.parse().ok()?;
        // Each account has one address only.
        let is_plain = named == id.to_string();
        let is_seen = self.who.as_ref()?.person.accounts.contains(&AccountId(id));
        if is_plain && is_seen { rooms.store.accounts().get(AccountId(id)).cloned() } else { None }
    }

    fn turned_to_sign_in(&self, rooms: &Rooms, request: &Request) -> Response {
        let wants_page = request.header("accept").is_some_and(|types| types.contains("text/html"));
        if request.method == Method::Get && !wants_page {
            // A script of a page that was left open; what it asked for is not to be another page.
            let reject = Reject::new(Code::MissingToken, "You are signed out; sign in again.");
            return Problem::of(&reject).page(self.frame(rooms, ""));
        }
        let path = if request.method == Method::Get { request.target() } else { "/" };
        answer::see(&format!("{}/sign-in?next={}", self.url.base(), answer::escaped(path)))
    }

    /// The account that the path names.
    pub fn account(&self) -> Result<&Arc<Account>, Reject> {
        let none = || Reject::new(Code::NotFound, "There is no page at this address.");
        self.account.as_ref().ok_or_else(none)
    }

    /// The zone of the account, else UTC.
    pub fn zone(&self) -> Zone {
        let named = self.account.as_ref().and_then(|account| account.zone.as_deref());
        named.and_then(|name| name.parse().ok()).unwrap_or(Zone::UTC)
    }

    /// The frame of a page.
    pub fn frame(&self, rooms: &Rooms, title: &str) -> Frame {
        let accounts = rooms.store.accounts();
        let link = |account: &Account| AccountLink {
            id: account.id.0,
            name: account.name.to_string(),
            section: Section::Overview,
        };
        let person = self.who.as_ref().map(|Who { person, .. }| {
            let ids = person.accounts.iter();
            let mut seen: Vec<_> =
                ids.filter_map(|id| accounts.get(*id)).map(|account| link(account)).collect();
            seen.sort_by(|a, b| a.name.cmp(&b.name));
            Shown {
                email: person.email.to_string(),
                csrf: session::mark(&self.token),
                accounts: seen,
            }
        });
        Frame {
            base: self.url.base().to_owned(),
            title: title.to_owned(),
            css: assets::CSS.name(),
            js: assets::JS.name(),
            icon: assets::ICON.name(),
            person,
            account: self.account.as_deref().map(link),
            ..Frame::default()
        }
    }

    /// A page's answer, with the cookie that it needs.
    pub fn told(&self, response: Response) -> Response {
        if !self.is_new {
            return response;
        }
        let cookie = session::set_cookie(session::VISITOR, &self.token, &self.url);
        response.with_header("Set-Cookie", cookie)
    }
}

/// What a page is made from.
pub(super) struct Visit<'v> {
    /// The rooms below.
    pub rooms: &'v Rooms,
    /// When to stop, and how much may be read.
    pub stop: &'v Stop<'v>,
    request: &'v Request,
    entrance: &'v Entrance,
}

impl<'v> Visit<'v> {
    pub fn new(
        rooms: &'v Rooms,
        request: &'v Request,
        entrance: &'v Entrance,
        stop: &'v Stop<'v>,
    ) -> Visit<'v> {
        Visit { rooms, stop, request, entrance }
    }

    /// The request itself.
    pub fn request(&self) -> &'v Request {
        self.request
    }

    /// When it came.
    pub fn at(&self) -> Date {
        self.entrance.at
    }

    /// Where the browser has the pages.
    pub fn url(&self) -> &'v PublicUrl {
        &self.entrance.url
    }

    /// Who is signed in. A page for [`Access::Person`] has somebody.
    pub fn who(&self) -> Result<&'v Who, Failure> {
        let nobody = || Reject::new(Code::MissingToken, "You are signed out; sign in again.");
        self.entrance.who.as_ref().ok_or_else(|| nobody().into())
    }

    /// Whether anybody is.
    pub fn is_signed_in(&self) -> bool {
        self.entrance.who.is_some()
    }

    /// The account. A page for [`Access::Member`] has one.
    pub fn account(&self) -> Result<&'v Arc<Account>, Failure> {
        Ok(self.entrance.account()?)
    }

    /// What the path names, but for the account.
    pub fn value(&self, at: usize) -> &'v str {
        self.entrance.values.get(at).map_or("", String::as_str)
    }

    /// The zone of the account, else UTC.
    pub fn zone(&self) -> Zone {
        self.entrance.zone()
    }

    /// How numbers and dates are written: as the browser's language does, in the account's zone.
    pub fn format(&self) -> Format {
        let locale = Locale::asked(self.request.header("accept-language"));
        Format { locale, zone: self.zone(), now: self.entrance.at }
    }

    /// What the address asks for, in the account's zone unless it says otherwise.
    pub fn params(&self) -> Params<'v> {
        Params::of(self.request.query()).in_zone(self.zone())
    }

    /// A field of the form; empty if it isn't there.
    pub fn field(&self, name: &str) -> Cow<'v, str> {
        let form = std::str::from_utf8(self.request.body()).unwrap_or_default();
        Query::of(form).get(name).unwrap_or_default()
    }

    /// The mark of forms.
    pub fn mark(&self) -> String {
        session::mark(&self.entrance.token)
    }

    /// The frame of a page.
    pub fn frame(&self, title: &str) -> Frame {
        self.entrance.frame(self.rooms, title)
    }

    /// The frame of an account's page. `done` has a sentence for each word that may stand in `done` of the address,
    /// where the page before leaves word of what it did.
    pub fn frame_of(&self, section: Section, title: &str, done: &[(&str, &str)]) -> Frame {
        let mut frame = self.frame(title);
        if let Some(account) = &mut frame.account {
            account.section = section;
        }
        frame.zone = self.entrance.account.as_ref().map(|_| self.zone().to_string());
        frame.notice = self.done(done);
        frame
    }

    /// The sentence of what the page before did.
    pub fn done(&self, sentences: &[(&str, &str)]) -> Option<Notice> {
        let word = self.request.query().get("done")?;
        let (_, sentence) = sentences.iter().find(|(known, _)| *known == word)?;
        Some(Notice { is_error: false, text: (*sentence).to_owned() })
    }

    /// A path below the account's pages, with the base.
    pub fn path(&self, below: &str) -> String {
        let account = self.entrance.account.as_ref().map_or(0, |account| account.id.0);
        format!("{}/accounts/{account}/{below}", self.url().base())
    }

    /// The path of a user's page, with the base. Ids may be of any characters: what a browser or a proxy could take for
    /// parts of a path goes by the query.
    pub fn user_path(&self, id: &str) -> String {
        let is_plain = !matches!(id, "." | "..")
            && !id.contains(|c: char| matches!(c, '/' | '\\') || c.is_control());
        let id = answer::escaped(id);
        if is_plain {
            self.path(&format!("users/{id}"))
        } else {
            self.path(&format!("user?id={id}"))
        }
    }

    /// The page.
    pub fn page(&self, template: &impl Template) -> Result<Response, Failure> {
        self.page_as(200, template)
    }

    /// The page, with another status.
    pub fn page_as(&self, status: u16, template: &impl Template) -> Result<Response, Failure> {
        Ok(self.entrance.told(answer::page(status, template)?))
    }

    /// Stores changes, all or none, and returns when they are on disk.
    pub fn change(&self, drafts: Vec<Draft>) -> Result<Receipt, Failure> {
        self.rooms.writer.submit_and_wait(drafts).map_err(|refusal| answer::refused(refusal).into())
    }

    /// A part of the page that may be left out: what was found for it, or a sentence why that can't be told.
    ///
    /// # Errors
    /// The whole page can't be made, or is begun again where more may be read.
    pub fn part<T>(&self, found: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
        let is_light = self.stop.rows_max() < READ_ROWS_MAX;
        match found {
            Ok(found) => Ok(Ok(found)),
            Err(Failure::TooMuch(reject)) if !is_light => Ok(Err(answer::sentence(&reject.detail))),
            Err(Failure::Reject(reject)) if reject.code.status() < 500 => {
                Ok(Err(answer::sentence(&reject.detail)))
            }
            Err(why) => Err(why),
        }
    }

    /// An answer that leads to what its header `Location` says.
    pub fn moved(&self) -> Response {
        answer::moved()
    }

    /// Has the browser go to a page, given as a path with the base.
    pub fn see(&self, path: &str) -> Response {
        answer::see(path)
    }
}
