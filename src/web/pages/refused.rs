//! `/accounts/{account}/refused`: calls that came in wrong: what, why, from which page, and what would be right. What
//! goes wrong again and again stands there once, with how often; each call alone, if asked for.

use std::collections::BTreeMap;

use askama::Template;

use crate::asking::Failure;
use crate::http::Response;
use crate::ingest::Code;
use crate::model::Date;
use crate::refused::Refusal;
use crate::web::answer::{address, sentence};
use crate::web::frame::{Frame, Section};
use crate::web::parts::{Moment, Tab};
use crate::web::visit::Visit;

/// Calls that are looked at; as many as are kept.
const LOOKED_AT: usize = crate::refused::ACCOUNT_MAX;

#[derive(Template)]
#[template(path = "refused.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    /// Calls that are alike, or each alone.
    rows: Vec<Row>,
    is_alone: bool,
    snippets: String,
    sites: String,
}

struct Row {
    /// The last time.
    at: Moment,
    count: String,
    kind: &'static str,
    /// Why, in words and as answers name it.
    title: String,
    code: String,
    /// What is wrong with the last of them, and what would be right.
    detail: String,
    page: String,
    is_site: bool,
}

/// The page.
pub(in crate::web) fn refused(visit: &Visit<'_>) -> Result<Response, Failure> {
    let account = visit.account()?.id;
    let last = visit.rooms.refused.last(account, LOOKED_AT, visit.at());
    let is_alone = visit.params().text("view").as_deref() == Some("single");
    let rows: Vec<(Refusal, u64)> = match is_alone {
        true => last.into_iter().map(|refusal| (refusal, 1)).collect(),
        false => alike(last),
    };
    let path = visit.path("refused");
    let tab = |label: &str, view: &str, is_current| Tab {
        href: address(&path, &[("view", view)]),
        label: label.to_owned(),
        is_current,
    };
    let page = Page {
        frame: visit.frame_of(Section::Refused, "Refused calls", &[]),
        tabs: vec![tab("By cause", "", !is_alone), tab("One by one", "single", is_alone)],
        rows: rows.into_iter().map(|(refusal, count)| row(visit, refusal, count)).collect(),
        is_alone,
        snippets: visit.path("profile#snippets"),
        sites: visit.path("profile#sites"),
    };
    visit.page(&page)
}

/// Calls of one cause, page and kind together: the last of them, and how many there are. They come newest first, and so
/// do those of which the last came last.
fn alike(last: Vec<Refusal>) -> Vec<(Refusal, u64)> {
    let mut places: BTreeMap<(String, Option<String>, String), usize> = BTreeMap::new();
    let mut all: Vec<(Refusal, u64)> = Vec::new();
    for refusal in last {
        let cause = (refusal.code.clone(), refusal.page.clone(), refusal.kind.clone());
        let place = *places.entry(cause).or_insert(all.len());
        match all.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => all.push((refusal, 1)),
        }
    }
    all
}

fn row(visit: &Visit<'_>, refusal: Refusal, count: u64) -> Row {
    let Refusal { at, code, detail, page, kind, .. } = refusal;
    let known = Code::ALL.iter().find(|known| known.name() == code);
    Row {
        at: moment(visit, at),
        count: visit.format().count(count),
        kind: if kind == "users" { "a user" } else { "an event" },
        title: known.map_or_else(|| code.clone(), |known| known.title().to_owned()),
        is_site: known == Some(&Code::ForbiddenSite),

        detail: sentence(&detail),
        page: page.unwrap_or_default(),
        code,
    }
}

fn moment(visit: &Visit<'_>, at: Date) -> Moment {
    visit.format().ago(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_stands_once() {
        let refusal = |at, code: &str, page: Option<&str>, kind: &str| Refusal {
            at: Date::from_millis(at),
            status: 400,
            code: code.to_owned(),
            detail: format!("why {at}"),
            page: page.map(str::to_owned),
            kind: kind.to_owned(),
            route: "events_track".to_owned(),
        };
        let last = vec![
            refusal(9, "a", Some("p"), "events"),
            refusal(8, "b", Some("p"), "events"),
            refusal(7, "a", Some("p"), "events"),
            refusal(6, "a", None, "events"),
            refusal(5, "a", Some("p"), "users"),
            refusal(4, "b", Some("p"), "events"),
            refusal(3, "a", Some("p"), "events"),
        ];
        let found: Vec<_> = alike(last)
            .into_iter()
            .map(|(refusal, count)| (refusal.at.millis(), refusal.detail, count))
            .collect();
        let wanted = [(9, 3), (8, 2), (6, 1), (5, 1)];
        assert_eq!(found, wanted.map(|(at, count)| (at, format!("why {at}"), count)));
        assert!(alike(Vec::new()).is_empty());
    }
}
