//! All there is to look at: for each route of the table that is called by GET, paths with values in them. One that isn't
//! in here is found to be missing, so no page can be forgotten.
//!
//! Include it by `#[path = "support/places.rs"] mod places;` beside `mod support;`.
#![allow(dead_code, reason = "each test binary uses its part")]

use serde_json::{Value, json};
use triggerly::http::Method;
use triggerly::web::routes::{Access, ROUTES};

use crate::support::escape;

/// What paths name.
#[derive(Clone, Debug)]
pub struct Named {
    /// The number of an account.
    pub account: u64,
    /// A user of it.
    pub user: String,
    /// An event of it.
    pub seq: u64,
    /// A link that wasn't used.
    pub link: String,
    /// The name of an asset.
    pub asset: String,
}

/// What comes of a GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page.
    Page,
    /// Another page, told by a redirect.
    Elsewhere,
    /// Something that isn't HTML, and ends.
    File,
    /// Something that goes on.
    Stream,
}

/// One thing to look at.
#[derive(Clone, Debug)]
pub struct Place {
    /// The route's pattern.
    pub pattern: &'static str,
    pub access: Access,
    pub kind: Kind,
    /// The path, with a query.
    pub path: String,
    pub status: u16,
}

/// What is at each pattern, and with which queries it is looked at; behind a space the status that one is to have.
const PLACES: &[(&str, Kind, &[&str])] = &[
    ("/", Kind::Elsewhere, &[""]),
    ("/sign-in", Kind::Page, &["", "?next=%2Fme"]),
    ("/link/{token}", Kind::Page, &[""]),
    ("/me", Kind::Page, &[""]),
    ("/assets/{name}", Kind::File, &[""]),
    ("/t.js", Kind::File, &[""]),
    (
        "/accounts/{account}/overview",
        Kind::Page,
        &[
            "",
            "?period=24h",
            "?period=7d",
            "?period=12m&bots=1",
            "?from=2020-01-01&to=2020-02-01",
            "?from=nonsense 400",
        ],
    ),
    ("/accounts/{account}/live", Kind::Page, &["", "?bots=1"]),
    ("/accounts/{account}/live/rows", Kind::File, &["", "?bots=1"]),
    (
        "/accounts/{account}/events",
        Kind::Page,
        &[
            "",
            "?period=all",
            "?period=7d&type=page%20view&bots=1",
            "?user_id={user}&period=all",
            "?where=width%3E%3D1280&where=language%3Dde-CH",
            "?where=width%3E%3E 400",
            "?from=nonsense 400",
            "?type=nobody%20sends%20this",
            "?view=breakdown",
            "?by=page&type=page%20view",
            "?by=context%3Abrowser&measure=users&top=10&interval=day",
            "?by=price&measure=nonsense 400",
        ],
    ),
    ("/accounts/{account}/events/{seq}", Kind::Page, &[""]),
    (
        "/accounts/{account}/funnel",
        Kind::Page,
        &[
            "",
            "?step1=page%20view&step2=added%20to%20cart&step3=purchase&within=7d&period=all",
            "?step1=page%20view&where2=width%3E1 400",
        ],
    ),
    (
        "/accounts/{account}/retention",
        Kind::Page,
        &["", "?first=page%20view&back=page%20view&interval=week&period=90d", "?show=users"],
    ),
    (
        "/accounts/{account}/users",
        Kind::Page,
        &[
            "",
            "?q=anna",
            "?where=plan%3Dpro&sort=updated_at&order=asc",
            "?where=%3D 400",
            "?q=nobody%20is%20called%20so",
            "?done=erased",
        ],
    ),
    ("/accounts/{account}/users/{user}", Kind::Page, &["", "?from=2020-01-01&to=2020-02-01"]),
    ("/accounts/{account}/user", Kind::Page, &["?id={user}"]),
    ("/accounts/{account}/user/export", Kind::File, &["?id={user}"]),
    ("/accounts/{account}/user/erase", Kind::Page, &["?id={user}"]),
    (
        "/accounts/{account}/types",
        Kind::Page,
        &["", "?kind=user", "?q=pri", "?set=1", "?q=nothing%20is%20called%20so"],
    ),
    (
        "/accounts/{account}/types/one",
        Kind::Page,
        &[
            "?kind=event%3Apage%20view&attribute=width",
            "?kind=event%3Apage%20view&attribute=load_ms&to=Date",
            "?kind=user&attribute=plan",
            "?kind=user&attribute=nobody%20has%20this",
        ],
    ),
    ("/accounts/{account}/refused", Kind::Page, &[""]),
    (
        "/accounts/{account}/exports",
        Kind::Page,
        &["", "?period=7d", "?type=purchase&period=all", "?where=price%3E5", "?user_id=nobody"],
    ),
    (
        "/accounts/{account}/exports/download",
        Kind::File,
        &["?what=events&format=csv", "?what=users&format=jsonl"],
    ),
    ("/accounts/{account}/profile", Kind::Page, &["", "?days=7", "?days=-1 422", "?done=token"]),
];

/// All of them.
pub fn places(named: &Named) -> Vec<Place> {
    for (pattern, ..) in PLACES {
        let is_there = ROUTES.iter().any(|route| route.path == *pattern);
        assert!(is_there, "{pattern} isn't there any more");
    }
    let mut places = Vec::new();
    for route in ROUTES.iter().filter(|route| route.method == Method::Get) {
        let known = PLACES.iter().find(|(pattern, ..)| *pattern == route.path);
        let (_, kind, queries) = known.unwrap_or_else(|| {
            panic!("{} is looked at by nobody: add it to {}", route.path, file!())
        });
        let path = filled(route.path, named);
        places.extend(queries.iter().map(|query| {
            let (query, status) = query.split_once(' ').unwrap_or((query, "200"));
            let query = query.replace("{user}", &escape(&named.user));
            Place {
                pattern: route.path,
                access: route.access,
                kind: *kind,
                path: format!("{path}{query}"),
                status: status.parse().expect("a status"),
            }
        }));
    }
    places
}

/// A pattern with values in it.
pub fn filled(pattern: &str, named: &Named) -> String {
    let mut path = String::new();
    for piece in pattern.split('/').skip(1) {
        path.push('/');
        match piece {
            "{account}" => path += &named.account.to_string(),
            "{user}" => path += &escape(&named.user),
            "{seq}" => path += &named.seq.to_string(),
            "{token}" => path += &named.link,
            "{name}" => path += &named.asset,
            piece => {
                assert!(!piece.starts_with('{'), "{pattern}: what is {piece}?");
                path += piece;
            }
        }
    }
    path
}

/// As the scripts have them.
pub fn told(places: &[Place]) -> Value {
    let one = |place: &Place| {
        let Place { pattern, access, kind, path, status } = place;
        json!({ "pattern": pattern, "access": format!("{access:?}"), "kind": format!("{kind:?}"), "path": path, "status": status })
    };
    places.iter().map(one).collect()
}
