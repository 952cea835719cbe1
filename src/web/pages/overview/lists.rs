//! What comes up most, as lists whose lines lead to the events behind them.

use crate::query::tops::{Top, Tops};
use crate::schema::CONTEXT;
use crate::store::index::Facet;
use crate::web::answer::address;
use crate::web::pages::filter::{clause_of, clause_of_context};
use crate::web::pages::period::Stretch;
use crate::web::parts::{Bar, cut};
use crate::web::visit::Visit;

/// Lines of a list, at the most.
pub(super) const LIST_MAX: usize = 8;

/// Characters of a line that are shown.
const LABEL_CHARS_MAX: usize = 120;

/// Bytes of a text that a line leads to the events of: so that a page of nothing but long ones stays small.
const LINKED_BYTES_MAX: usize = 400;

/// One list.
pub(super) struct List {
    pub title: &'static str,
    pub bars: Vec<Bar>,
    /// What is said beneath it; may be empty.
    pub note: String,
}

/// All lists.
pub(super) fn all(
    visit: &Visit<'_>,
    period: &Stretch,
    bots: bool,
    tops: &Tops,
    events: u64,
) -> Vec<List> {
    let of = |title, top, by: &str| list(visit, period, bots, title, top, by, events);
    let facet = |title, facet: Facet| of(title, &tops.facets[facet as usize], facet.name());
    // What pages call themselves tells more than where a browser says it is, which is often no more than the site.
    let named = &tops.facets[Facet::Page as usize];
    let page = if named.events > 0 { Facet::Page } else { Facet::ContextPage };
    vec![
        of("Types", &tops.kinds, ""),
        facet("Pages", page),
        facet("Referrers", Facet::Referrer),
        facet("Browsers", Facet::Browser),
        facet("Operating systems", Facet::Os),
        facet("Devices", Facet::Device),
    ]
}

fn list(
    visit: &Visit<'_>,
    period: &Stretch,
    bots: bool,
    title: &'static str,
    top: &Top,
    by: &str,
    events: u64,
) -> List {
    let (format, zone) = (visit.format(), visit.zone());
    let (path, from, to) = (visit.path("events"), zone.show(period.from), zone.show(period.to));
    let events_of = |name: &str, value: &str| {
        let bots = if bots { "1" } else { "" };
        address(&path, &[(name, value), ("from", &from), ("to", &to), ("bots", bots)])
    };
    let greatest = top.rows.first().map_or(0, |(_, count)| *count);
    let bar = |(text, count): &(String, u64)| Bar {
        label: cut(text, LABEL_CHARS_MAX).into_owned(),
        href: match text.len() {
            _ if by.is_empty() => events_of("type", text),
            0..=LINKED_BYTES_MAX => events_of("where", &clause(by, text)),
            _ => String::new(),
        },
        value: format.compact(*count),
        share: format.share(*count, if by.is_empty() { events } else { top.events }),
        length: Bar::length(*count, greatest),
    };
    let others = top.texts.saturating_sub(top.rows.len());
    let note = match (top.is_too_much, others) {
        (true, _) => {
            "There are too many different ones in this time to tell apart; choose a shorter one."
                .to_owned()
        }
        (false, 0) => String::new(),
        (false, 1) => "and one other".to_owned(),
        (false, others) => {
            format!("and {} others", format.count(u64::try_from(others).unwrap_or(u64::MAX)))
        }
    };
    List { title, bars: top.rows.iter().map(bar).collect(), note }
}

/// The condition that a value is just this text.
fn clause(by: &str, text: &str) -> String {
    let value = serde_json::Value::from(text).to_string();
    match by.strip_prefix(CONTEXT) {
        Some(name) => clause_of_context(name, &value),
        None => clause_of(by, &value),
    }
}
