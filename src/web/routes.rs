//! Which page is where, and who may see it: one table, which tests are made from, so that no page can be forgotten.

use percent_encoding::percent_decode_str;

use super::pages::{
    event, events, exports, funnel, home, link, live, me, overview, profile, refused, retention,
    sign_in, types, user, users,
};
use super::visit::{Entrance, Visit};
use super::{Rooms, assets};
use crate::asking::Failure;
use crate::calls::Call;
use crate::http::{Answer, Method, Request, Response};
use crate::jobs::Weight;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Everyone,
    /// Who is signed in.
    Person,
    /// Who is signed in, and sees the account that the path names.
    Member,
}

/// What makes a page.
pub(super) type Page = fn(&Visit<'_>) -> Result<Response, Failure>;

/// How a page is made.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// At once: it reads nothing.
    Now(Page),
    /// By a job that reads so much.
    Job(fn(&Request) -> Weight, Page),
    /// By the few that check passwords.
    Password(Page),
    /// While it is sent.
    Stream(fn(&Rooms, &Request, &Entrance, Call, Answer)),
}

/// One way to call one path.
pub struct Route {
    /// What figures and the access log call it.
    pub name: &'static str,
    /// GET (and HEAD with it), or POST.
    pub method: Method,
    /// Its pieces; one as `{name}` stands for any. `{account}` is an account's number.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    pub(super) work: Work,
}

const fn get(name: &'static str, path: &'static str, access: Access, work: Work) -> Route {
    Route { name, method: Method::Get, path, access, work }
}

const fn post(name: &'static str, path: &'static str, access: Access, work: Work) -> Route {
    Route { name, method: Method::Post, path, access, work }
}

const fn light(page: Page) -> Work {
    Work::Job(|_| Weight::Light, page)
}

/// What may read everything.
const fn heavy(page: Page) -> Work {
    Work::Job(|_| Weight::Heavy, page)
}

use Access::{Everyone, Member, Person};
use Work::{Job, Now, Password, Stream};

/// All of them. Routes of one path stand together.
pub static ROUTES: &[Route] = &[
    get("page_asset", "/assets/{name}", Everyone, Now(assets::asset)),
    get("page_tag", "/t.js", Everyone, Now(assets::tag)),
    get("page_home", "/", Everyone, Now(home::home)),
    get("page_sign_in", "/sign-in", Everyone, Now(sign_in::form)),
    post("page_sign_in", "/sign-in", Everyone, Password(sign_in::sign_in)),
    post("page_sign_out", "/sign-out", Person, light(sign_in::sign_out)),
    get("page_link", "/link/{token}", Everyone, Now(link::form)),
    post("page_link", "/link/{token}", Everyone, Password(link::take)),
    get("page_me", "/me", Person, light(me::me)),
    post("page_me_email", "/me/email", Person, Password(me::set_email)),
    post("page_me_password", "/me/password", Person, Password(me::set_password)),
    post("page_me_session", "/me/sessions/end", Person, light(me::end_session)),
    get("page_overview", "/accounts/{account}/overview", Member, light(overview::overview)),
    get("page_live", "/accounts/{account}/live", Member, light(live::live)),
    get("page_live_rows", "/accounts/{account}/live/rows", Member, light(live::live_rows)),
    get("page_events", "/accounts/{account}/events", Member, Job(events::weight, events::events)),
    get("page_event", "/accounts/{account}/events/{seq}", Member, light(event::event)),
    get("page_funnel", "/accounts/{account}/funnel", Member, heavy(funnel::funnel)),
    get("page_retention", "/accounts/{account}/retention", Member, heavy(retention::retention)),
    get(
        "page_users",
        "/accounts/{account}/users",
        Member,
        Work::Job(users::of_users, users::users),
    ),
    get("page_user", "/accounts/{account}/users/{user}", Member, light(user::user)),
    get("page_user", "/accounts/{account}/user", Member, light(user::user)),
    get("page_user_export", "/accounts/{account}/user/export", Member, Stream(user::export)),
    get("page_user_erase", "/accounts/{account}/user/erase", Member, light(user::ask)),
    post("page_user_erase", "/accounts/{account}/user/erase", Member, heavy(user::erase)),
    get("page_types", "/accounts/{account}/types", Member, light(types::types)),
    get("page_type", "/accounts/{account}/types/one", Member, Work::Job(types::of_one, types::one)),
    post("page_type_set", "/accounts/{account}/types/set", Member, light(types::set)),
    post("page_type_unset", "/accounts/{account}/types/unset", Member, light(types::unset)),
    get("page_refused", "/accounts/{account}/refused", Member, light(refused::refused)),
    get(
        "page_profile",
        "/accounts/{account}/profile",
        Member,
        Work::Job(profile::weight, profile::profile),
    ),
    post("page_token", "/accounts/{account}/profile/token", Member, light(profile::rotate_token)),
    post("page_key", "/accounts/{account}/profile/key", Member, light(profile::rotate_key)),
    post("page_test", "/accounts/{account}/profile/test", Member, light(profile::send)),
    post("page_sites", "/accounts/{account}/profile/sites", Member, light(profile::set_sites)),
    post(
        "page_keep",
        "/accounts/{account}/profile/retention",
        Member,
        light(profile::set_retention),
    ),
    post("page_zone", "/accounts/{account}/profile/zone", Member, light(profile::set_zone)),
    post("page_invite", "/accounts/{account}/profile/invite", Member, light(profile::invite)),
    post(
        "page_remove",
        "/accounts/{account}/profile/people/remove",
        Member,
        light(profile::remove),
    ),
    get(
        "page_exports",
        "/accounts/{account}/exports",
        Member,
        Work::Job(exports::page_weight, exports::exports),
    ),
    get(
        "page_download",
        "/accounts/{account}/exports/download",
        Member,
        Work::Stream(exports::download),
    ),
    post(
        "page_delete",
        "/accounts/{account}/exports/delete",
        Member,
        Work::Job(|_| Weight::Heavy, exports::delete),
    ),
];

/// What is at a path.
pub(super) struct At {
    /// One for each method.
    pub routes: &'static [Route],
    values: Vec<String>,
}

/// One route, and what its path names, decoded.
pub(super) struct Found {
    pub route: &'static Route,
    pub values: Vec<String>,
}

impl At {
    /// The route of a method, or which methods there are. HEAD is GET without a body.
    pub fn of(self, method: Method) -> Result<Found, &'static str> {
        let wanted = if method == Method::Head { Method::Get } else { method };
        let is_there = |method| self.routes.iter().any(|route| route.method == method);
        match self.routes.iter().find(|route| route.method == wanted) {
            Some(route) => Ok(Found { route, values: self.values }),
            None if is_there(Method::Get) && is_there(Method::Post) => Err("GET, HEAD, POST"),
            None if is_there(Method::Get) => Err("GET, HEAD"),
            None => Err("POST"),
        }
    }
}

/// What is at a path, if anything is.
pub(super) fn find(path: &str) -> Option<At> {
    let first = ROUTES.iter().position(|route| values(route.path, path).is_some())?;
    let count = ROUTES[first..].iter().take_while(|route| route.path == ROUTES[first].path).count();
    let values = values(ROUTES[first].path, path)?;
    Some(At { routes: &ROUTES[first..first + count], values })
}

/// What a path names, if it is of this pattern. What isn't text names nothing.
fn values(pattern: &str, path: &str) -> Option<Vec<String>> {
    let path = match path {
        "/" | "//" => path,
        _ => path.strip_suffix('/').unwrap_or(path),
    };
    let (mut pieces, mut values) = (path.split('/'), Vec::new());
    for part in pattern.split('/') {
        let piece = pieces.next()?;
        if part.starts_with('{') {
            let value = percent_decode_str(piece).decode_utf8().ok().filter(|v| !v.is_empty())?;
            values.push(value.into_owned());
        } else if part != piece {
            return None;
        }
    }
    pieces.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, named) in [
            ("/", "/", Some(vec![])),
            ("/", "", None),
            ("/", "//", None),
            ("/me", "/me", Some(vec![])),
            ("/me", "/me/", Some(vec![])),
            ("/me", "/me//", None),
            ("/me", "/m", None),
            ("/me", "/", None),
            ("/a/{id}/users/{user}", "/a/7/users/x%2Fy%20z", Some(vec!["7", "x/y z"])),
            ("/a/{id}/users/{user}", "/a/7/users/", None),
            ("/a/{id}/users/{user}", "/a/7/users/%ff", None),
            ("/a/{id}", "/a/7/users", None),
        ] {
            let named = named.map(|values| values.into_iter().map(str::to_owned).collect());
            assert_eq!(values(pattern, path), named, "{pattern} {path}");
        }
    }

    /// What stands together is found together, and no pattern hides another.
    #[test]
    fn each_route_is_reached() {
        for (at, route) in ROUTES.iter().enumerate() {
            let example = route.path.replace(['{', '}'], "");
            let found = find(&example).expect(route.path);
            let reached = found.of(route.method).unwrap_or_else(|allowed| panic!("{allowed}"));
            assert!(std::ptr::eq(reached.route, &ROUTES[at]), "{}", route.path);
            assert_eq!(route.access == Member, route.path.starts_with("/accounts/{account}/"));
        }
    }
}
