//! Which events a page shows, as its address has it: the bar of fields above the page, the links that change one
//! thing, and the sentence that says it.
//!
//! Promises that the address of a page and that of a call say the same in the same words (`type`, `user_id`, `from`,
//! `to`, `where`, `bots`), that a link changes what it is to change and nothing else, and that what makes no sense is
//! shown as it was written, with what would be right. Pages alone have `period`, for lengths of time that end now.

use std::collections::BTreeMap;

use super::period::{DAY_MILLIS, Period};
use crate::asking::{CLAUSES_MAX, Failure, Params};
use crate::http::Query;
use crate::ingest::Reject;
use crate::model::{AccountId, Date};
use crate::query::{self, Interval, Zone, answers};
use crate::schema::{CONTEXT, Clause};
use crate::store::Count;
use crate::web::answer::{escaped, sentence};
use crate::web::format::Format;
use crate::web::parts::Tab;
use crate::web::visit::Visit;

/// Types that are offered to be chosen from: those with the most events.
pub const TYPES_MAX: usize = 100;

/// Types that are counted to find them.
const TYPES_COUNTED_MAX: usize = 10_000;

/// Days whose types are offered.
const TYPES_DAYS: i64 = 30;

/// Parameters that are the filter's own, which forms don't have to keep.
const OWN: [&str; 7] = ["type", "user_id", "from", "to", "where", "bots", "period"];

/// What no link keeps: where a list goes on, and what was done before.
const PASSING: [&str; 2] = ["cursor", "done"];

/// Lengths of time that are offered.
const PERIODS: [Period; 6] = [
    Period::Last(24, Interval::Hour),
    Period::days(7),
    Period::days(30),
    Period::days(90),
    Period::days(365),
    Period::All,
];

/// A field of the bar, as it was filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// What stands in it.
    pub value: String,
    /// Why that makes no sense, if it doesn't.
    pub error: String,
    /// The type of a field that can show it.
    pub kind: &'static str,
}

/// One thing that the filter asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What stands before the text, as `of the type`.
    pub before: &'static str,
    /// What somebody wrote; may be empty.
    pub text: String,
    /// Where it isn't asked; empty if it always is.
    pub without: String,
}

/// What fields the bar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The type.
    pub kind: bool,
    /// The user.
    pub user: bool,
    /// Conditions on attributes.
    pub clauses: bool,
    /// Whether bots count too.
    pub bots: bool,
    /// Links to lengths of time.
    pub periods: bool,
}

impl Fields {
    /// All of them.
    pub const ALL: Fields =
        Fields { kind: true, user: true, clauses: true, bots: true, periods: true };
}

/// Which events a page shows.
pub struct Filter {
    /// The page's path, with the base.
    pub path: String,
    /// What fields the bar has.
    pub fields: Fields,
    /// The type; empty: any.
    pub kind: String,
    /// The user; empty: any.
    pub user: String,
    /// From when on.
    pub from: Input,
    /// Before when.
    pub to: Input,
    /// Conditions.
    pub clauses: Vec<Input>,
    /// Whether those of bots count too.
    pub bots: bool,
    /// Types to choose from, those with the most events first.
    pub types: Vec<String>,
    /// Parameters that the bar has fields for beside its own, in its body.
    others: &'static [&'static str],
    /// All parameters of the address that links keep.
    pairs: Vec<(String, String)>,
    /// The one that holds if there is neither `from` nor `to`.
    period: Period,
    default: Period,
    zone: Zone,
    now: Date,
    asked: Result<query::Filter, Reject>,
}

impl Filter {
    /// That of a visit's address; `below` is the page's path below the account's. Without a time it is of the
    /// period `default`.
    ///
    /// # Errors
    /// There is no account: see [`Visit::account`]. What makes no sense is an error of [`Filter::question`].
    pub(in crate::web) fn of(
        visit: &Visit<'_>,
        below: &str,
        default: Period,
    ) -> Result<Filter, Failure> {
        Filter::of_query(visit, visit.request().query(), below, default)
    }

    /// The same, where what the address says was put into other words.
    ///
    /// # Errors
    /// As [`Filter::of`].
    pub(in crate::web) fn of_query(
        visit: &Visit<'_>,
        query: Query<'_>,
        below: &str,
        default: Period,
    ) -> Result<Filter, Failure> {
        let account = visit.account()?.id;
        Ok(Filter::read(query, account, (visit.zone(), visit.at()), default)
            .of_page(visit.path(below)))
    }

    fn read(
        query: Query<'_>,
        account: AccountId,
        (zone, now): (Zone, Date),
        default: Period,
    ) -> Filter {
        let params = Params::of(query).in_zone(zone);
        let zone = params.zone().unwrap_or(zone);
        let date = |name| {
            let value = params.text(name).unwrap_or_default();
            let error = params.date(name, zone).err().map(|reject| sentence(&reject.detail));
            Input { kind: kind_of(&value), value, error: error.unwrap_or_default() }
        };
        let clause = |value: String| {
            let error = Clause::parse(&value, &zone).err().map(|why| sentence(&why.to_string()));
            Input { value, error: error.unwrap_or_default(), kind: "text" }
        };
        let pairs = query.all().flatten();
        let is_kept = |name: &str, value: &str| !value.is_empty() && !PASSING.contains(&name);
        let named = params.text("period").unwrap_or_default();
        let period = PERIODS.into_iter().find(|period| period.name() == named).unwrap_or(default);
        let (from, to) = (date("from"), date("to"));
        let has_dates = !from.value.is_empty() || !to.value.is_empty();
        let asked = params.zone().and_then(|zone| params.question(account, zone, false));
        let (first, end) = period.span(zone, now);
        let in_period = |asked| query::Filter { from: first, to: end, ..asked };
        Filter {
            path: String::new(),
            fields: Fields::ALL,
            kind: params.text("type").unwrap_or_default(),
            user: params.text("user_id").unwrap_or_default(),
            from,
            to,
            clauses: params.texts("where").take(CLAUSES_MAX).map(clause).collect(),
            bots: params.flag("bots").ok().flatten().unwrap_or(false),
            types: Vec::new(),
            others: &[],
            pairs: pairs.filter(|(name, value)| is_kept(name, value)).collect(),
            period,
            default,
            zone,
            now,
            asked: if has_dates { asked } else { asked.map(in_period) },
        }
    }

    fn of_page(self, path: String) -> Filter {
        Filter { path, ..self }
    }

    /// The same, with a bar of other fields.
    #[must_use]
    pub fn with_fields(self, fields: Fields) -> Filter {
        Filter { fields, ..self }
    }

    /// The same, with types to choose from.
    #[must_use]
    pub fn with_types(self, types: Vec<String>) -> Filter {
        Filter { types, ..self }
    }

    /// The same, with a bar whose body has fields for these parameters.
    #[must_use]
    pub fn with_others(self, others: &'static [&'static str]) -> Filter {
        Filter { others, ..self }
    }

    /// What is asked.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn question(&self) -> Result<query::Filter, Reject> {
        self.asked.clone()
    }

    /// From when to when the events are; without dates that of the period.
    pub fn span(&self) -> (Option<Date>, Option<Date>) {
        match &self.asked {
            Ok(asked) if self.has_dates() => (asked.from, asked.to),
            _ => self.period.span(self.zone, self.now),
        }
    }

    /// The zone that its dates are of.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// How long the stretches of a chart should be.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let (from, to) = self.span();
        let Some(from) = from else { return Interval::Month };
        let days = (to.unwrap_or(self.now).millis() - from.millis()) / DAY_MILLIS;
        match days {
            ..=2 => Interval::Hour,
            3..=100 => Interval::Day,
            101..=730 => Interval::Week,
            _ => Interval::Month,
        }
    }

    fn has_dates(&self) -> bool {
        !self.from.value.is_empty() || !self.to.value.is_empty()
    }
}

/// Links.
impl Filter {
    /// The page's address.
    #[must_use]
    pub fn href(&self) -> String {
        self.address(&self.path, self.pairs.clone())
    }

    /// The address with a parameter of another value; an empty one: without it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> String {
        self.with_all(&[(name, value)])
    }

    /// The same of several.
    #[must_use]
    pub fn with_all(&self, changes: &[(&str, &str)]) -> String {
        self.address(&self.path, self.changed(changes))
    }

    /// The address of a list with one condition more, and nothing else but the filter.
    #[must_use]
    pub fn and_at(&self, path: &str, clause: &str) -> String {
        let address = self.at(path, &[]);
        let mark = if address.contains('?') { '&' } else { '?' };
        format!("{address}{mark}where={}", escaped(clause))
    }

    /// The address of another page with the same filter, with changes, and nothing else of this page's address.
    #[must_use]
    pub fn at(&self, path: &str, changes: &[(&str, &str)]) -> String {
        let mut pairs = self.changed(changes);
        let is_changed = |name: &str| changes.iter().any(|change| change.0 == name);
        pairs.retain(|(name, _)| OWN.contains(&name.as_str()) || is_changed(name));
        // What is the default here may not be the default there.
        if !self.has_dates()
            && !pairs.iter().any(|(name, _)| ["period", "from", "to"].contains(&name.as_str()))
        {
            pairs.push(("period".to_owned(), self.period.name()));
        }
        self.address(path, pairs)
    }

    /// Whether there is room for one condition more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.clauses.len() < CLAUSES_MAX
    }

    /// What the fields are that are folded away.
    #[must_use]
    pub fn more(&self) -> &'static str {
        if self.fields.clauses { "Dates and conditions" } else { "Dates" }
    }

    /// Whether any of them says something.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_dates() || self.bots || !self.clauses.is_empty()
    }

    /// What the field of the next condition is called.
    #[must_use]
    pub fn next_clause(&self) -> &'static str {
        if self.clauses.is_empty() { "Where" } else { "And where" }
    }

    /// Links to lengths of time.
    #[must_use]
    pub fn periods(&self) -> Vec<Tab> {
        let tab = |period: Period| {
            let name = period.name();
            let value = if period == self.default { "" } else { &name };
            Tab {
                href: self.with_all(&[("period", value), ("from", ""), ("to", "")]),
                label: period.label(),
                is_current: !self.has_dates() && period == self.period,
            }
        };
        PERIODS.into_iter().map(tab).collect()
    }

    /// What the form has to send along: what of the address isn't one of its fields.
    #[must_use]
    pub fn hidden(&self) -> Vec<(String, String)> {
        let Fields { kind, user, clauses, bots, .. } = self.fields;
        let is_field = |name: &str| match name {
            "type" => kind,
            "user_id" => user,
            "where" => clauses,
            "bots" => bots,
            "from" | "to" => true,
            // With dates there is no period.
            "period" => self.has_dates(),
            name => self.others.contains(&name),
        };
        self.pairs.iter().filter(|(name, _)| !is_field(name)).cloned().collect()
    }

    fn changed(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut pairs = self.pairs.clone();
        for (name, value) in changes {
            // It stays where it was.
            let at = pairs.iter().position(|pair| pair.0 == *name).unwrap_or(pairs.len());
            pairs.retain(|pair| pair.0 != *name);
            if !value.is_empty() {
                pairs.insert(at.min(pairs.len()), ((*name).to_owned(), (*value).to_owned()));
            }
        }
        pairs
    }

    fn address(&self, path: &str, pairs: Vec<(String, String)>) -> String {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
            .collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{path}{mark}{}", pairs.join("&"))
    }
}

/// Words.
impl Filter {
    /// What is asked, one thing after the other, to stand behind `Events`.
    #[must_use]
    pub fn said(&self, format: &Format) -> Vec<Said> {
        let said = |before, text: &str, without| Said { before, text: text.to_owned(), without };
        let mut all = Vec::new();
        if !self.kind.is_empty() {
            all.push(said("of the type", &self.kind, self.with("type", "")));
        }
        if !self.user.is_empty() {
            all.push(said("of the user", &self.user, self.with("user_id", "")));
        }
        if self.has_dates() {
            let asked = self.asked.as_ref().ok();
            let (from, to) = (asked.and_then(|it| it.from), asked.and_then(|it| it.to));
            let is_midnight = |at| self.zone.bucket(Interval::Day, at).start == at;
            let date = |at: Option<Date>, input: &Input| match at {
                Some(at) if is_midnight(at) => format.day(at),
                Some(at) => format.at(at).text,
                None => input.value.clone(),
            };
            if !self.from.value.is_empty() {
                all.push(said("from", &date(from, &self.from), self.with("from", "")));
            }
            if !self.to.value.is_empty() {
                all.push(said("before", &date(to, &self.to), self.with("to", "")));
            }
        } else {
            all.push(said("", &self.period.said(), String::new()));
        }
        for (at, clause) in self.clauses.iter().enumerate() {
            let before = if at == 0 { "where" } else { "and" };
            all.push(said(before, &clause.value, self.without_clause(at)));
        }
        if self.bots {
            all.push(said("", "with those of bots and prefetches", self.with("bots", "")));
        }
        all
    }

    fn without_clause(&self, at: usize) -> String {
        let mut pairs = self.pairs.clone();
        let mut clauses = pairs.iter().enumerate().filter(|(_, pair)| pair.0 == "where");
        if let Some((position, _)) = clauses.nth(at) {
            pairs.remove(position);
        }
        self.address(&self.path, pairs)
    }
}

/// The type of a field that can show a date as it is written.
fn kind_of(date: &str) -> &'static str {
    let is_day = date.len() == 10 && date.split('-').map(str::len).eq([4, 2, 2]);
    if date.is_empty() || is_day { "date" } else { "text" }
}

/// The types of an account's events of late, or else of all, those with the most events first; as many as are
/// offered.
///
/// # Errors
/// The store can't be read, or much of it isn't indexed.
pub(in crate::web) fn types(visit: &Visit<'_>) -> Result<Vec<String>, Failure> {
    let late = Date::from_millis(visit.at().millis() - TYPES_DAYS * DAY_MILLIS);
    let types = types_since(visit, Some(late))?;
    if types.is_empty() { types_since(visit, None) } else { Ok(types) }
}

fn types_since(visit: &Visit<'_>, from: Option<Date>) -> Result<Vec<String>, Failure> {
    let account = visit.account()?.id;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |kind: &str, _: Date, count: Count| {
        let events = count.people + count.nobodys;
        if let Some(sum) = counts.get_mut(kind) {
            *sum += events;
        } else if counts.len() < TYPES_COUNTED_MAX {
            counts.insert(kind.to_owned(), events);
        }
    };
    answers(&visit.rooms.store, visit.stop).counts(account, None, from, None, &mut add)?;
    let mut types: Vec<_> = counts.into_iter().collect();
    types.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    types.truncate(TYPES_MAX);
    Ok(types.into_iter().map(|(kind, _)| kind).collect())
}

/// The condition that an attribute is a value, given as JSON.
#[must_use]
pub fn clause_of(name: &str, value: &str) -> String {
    let is_plain = is_plain(name) && !name.starts_with(CONTEXT);
    let name = if is_plain { name.to_owned() } else { quoted(name) };
    format!("{name}={}", written(value))
}

/// The condition that what a browser told, as `page`, is a value, given as JSON.
#[must_use]
pub fn clause_of_context(name: &str, value: &str) -> String {
    format!("{CONTEXT}{name}={}", written(value))
}

/// Whether a name or a value can stand as it is.
fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.:/$@".contains(c);
    !text.is_empty() && text.chars().all(is_plain)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value, given as JSON, as it stands in a condition.
fn written(value: &str) -> String {
    match serde_json::from_str::<String>(value) {
        Ok(text) if is_plain(&text) => text,
        Ok(text) => quoted(&text),
        // Numbers, true and false, lists and objects mean themselves.
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;
    use proptest::prelude::*;

    use super::*;
    use crate::http::{Method, Request};
    use crate::schema::OfKind;

    const NOW: Date = Date::from_millis(1_795_761_296_789); // 2026-11-27T06:34:56.789Z

    #[derive(Template)]
    #[template(
        source = r#"{% import "filter.html" as f %}{{ f::said(said) }}{% call f::bar(filter) %}<i>own</i>{% endcall %}"#,
        ext = "html"
    )]
    struct Bar<'a> {
        filter: &'a Filter,
        said: Vec<Said>,
    }

    fn filter(query: &str) -> Filter {
        let request = Request::new(Method::Get, &format!("/?{query}"));
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let filter = Filter::read(request.query(), AccountId(7), (zone, NOW), Period::days(30));
        filter.of_page("/p".to_owned())
    }

    fn format() -> Format {
        Format { locale: Default::default(), zone: "Europe/Berlin".parse().unwrap(), now: NOW }
    }

    #[test]
    fn what_is_asked() {
        for (query, from, to) in [
            ("", "2026-10-28T23:00:00Z", "2026-11-27T23:00:00Z"),
            ("period=7d", "2026-11-20T23:00:00Z", "2026-11-27T23:00:00Z"),
            ("period=24h", "2026-11-26T07:00:00Z", "2026-11-27T07:00:00Z"),
            ("period=nonsense", "2026-10-28T23:00:00Z", "2026-11-27T23:00:00Z"),
            ("period=all", "", ""),
            ("period=7d&from=2026-07-04", "2026-07-03T22:00:00Z", ""),
            ("to=2026-07-04T10:00:00", "", "2026-07-04T08:00:00Z"),
            ("tz=UTC&to=2026-07-04T10:00:00", "", "2026-07-04T10:00:00Z"),
        ] {
            let asked = filter(query).question().unwrap();
            let date = |text: &str| Date::parse(text);
            assert_eq!((asked.from, asked.to), (date(from), date(to)), "{query}");
            assert_eq!((asked.account, asked.bots), (AccountId(7), false), "{query}");
        }
        let asked =
            filter("type=a%26b&user_id=7&where=x%3D1&where=y%3E2&bots=1").question().unwrap();
        assert_eq!((asked.kind.as_deref(), asked.user_id.as_deref()), (Some("a&b"), Some("7")));
        assert_eq!((asked.clauses.len(), asked.bots), (2, true));
    }

    #[test]
    fn links_change_one_thing() {
        let asked =
            filter("by=plan&type=a%26b&where=x%3D1&where=y%3D%222%22&cursor=9&user_id=&period=7d");
        let same = "by=plan&type=a%26b&where=x%3D1&where=y%3D%222%22&period=7d";
        assert_eq!(asked.href(), format!("/p?{same}"));
        assert_eq!(asked.with("type", "c"), format!("/p?{}", same.replace("a%26b", "c")));
        assert_eq!(asked.with("type", ""), format!("/p?{}", same.replace("type=a%26b&", "")));
        assert_eq!(
            asked.and_at("/q", "z=1"),
            format!("/q?{}&where=z%3D1", &same["by=plan&".len()..])
        );
        assert_eq!(asked.without_clause(1), "/p?by=plan&type=a%26b&where=x%3D1&period=7d");
        assert_eq!(
            asked.at("/q", &[("type", ""), ("cursor", "5")]),
            "/q?where=x%3D1&where=y%3D%222%22&period=7d&cursor=5"
        );
        assert_eq!(filter("").at("/q", &[]), "/q?period=30d", "as it is here");
        assert_eq!(filter("").href(), "/p");
        let hrefs: Vec<_> = filter("from=2026-01-01&type=a").periods().into_iter().collect();
        assert!(hrefs.iter().all(|tab| !tab.is_current));
        assert_eq!(
            (hrefs[1].href.as_str(), hrefs[2].href.as_str()),
            ("/p?type=a&period=7d", "/p?type=a")
        );
        let current = |query| filter(query).periods().iter().position(|tab| tab.is_current);
        assert_eq!(
            (current(""), current("period=7d"), current("to=2026-01-01")),
            (Some(2), Some(1), None)
        );
    }

    #[test]
    fn words() {
        for (query, sentence) in [
            ("", "of the last 30 days"),
            ("period=all&type=a", "of the type a of all time"),
            (
                "period=24h&user_id=u&bots=1",
                "of the user u of the last 24 hours with those of bots and prefetches",
            ),
            ("from=2026-07-04&to=2026-07-05T12:00:00", "from 4 Jul 2026 before 5 Jul, 12:00"),
            ("where=a%3D1&where=b%3D2", "of the last 30 days where a=1 and b=2"),
        ] {
            let said = filter(query).said(&format());
            let words = said.iter().flat_map(|said| [said.before, &said.text]);
            let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
            assert_eq!(words.join(" "), sentence, "{query}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_shown_as_it_was_written() {
        let asked = filter("from=yesterday&to=2026-01-01&where=nonsense&where=a%3D1&by=x%22");
        assert!(asked.question().is_err());
        assert_eq!((asked.from.value.as_str(), asked.from.kind), ("yesterday", "text"));
        assert!(
            asked.from.error.starts_with("The parameter `from` takes a date"),
            "{asked:?}",
            asked = asked.from
        );
        assert!(asked.to.error.is_empty() && asked.clauses[1].error.is_empty());
        assert!(asked.clauses[0].error.starts_with("`nonsense` is not a condition"));
        let said = asked.said(&format());
        let page = Bar { filter: &asked, said }.render().unwrap();
        for part in [
            r#"value="yesterday""#,
            r#"aria-invalid="true""#,
            r#"name="by" value="x&#34;""#,
            "<i>own</i>",
            r#"type="date" value="2026-01-01""#,
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(page.matches(r#"name="where""#).count(), 3, "{page}");
    }

    #[test]
    fn how_long_stretches_are() {
        for (query, interval) in [
            ("period=24h", Interval::Hour),
            ("", Interval::Day),
            ("period=365d", Interval::Week),
            ("period=all", Interval::Month),
            ("from=2026-11-26", Interval::Hour),
            ("from=2020-01-01&to=2020-01-02", Interval::Hour),
        ] {
            assert_eq!(filter(query).interval(), interval, "{query}");
        }
    }

    #[test]
    fn attributes_and_what_browsers_told_are_kept_apart() {
        for (clause, attributes, context) in [
            (clause_of("context:page", r#""x y""#), r#"{"context:page":"x y"}"#, "{}"),
            (clause_of_context("page", r#""x y""#), "{}", r#"{"page":"x y"}"#),
            (clause_of_context("page", r#""a""#), "{}", r#"{"page":"a"}"#),
        ] {
            let parsed = Clause::parse(&clause, &Zone::UTC).unwrap();
            let holds = |attributes, context| {
                parsed.holds_of_event(attributes, Some(context), &OfKind::default())
            };
            assert!(holds(attributes, context), "{clause}");
            assert!(!holds("{}", "{}"), "{clause}");
        }
    }

    proptest! {
        /// Whatever an attribute is called and however its value is written, the link that asks for it finds it.
        #[test]
        fn a_clause_finds_its_value(name in "[^.]{1,12}", value in any::<String>(), number in any::<f64>()) {
            for value in [serde_json::json!(value), serde_json::json!(number), true.into(), serde_json::json!([1, "a"])] {
                prop_assume!(!value.is_null());
                let attributes = serde_json::json!({ (name.as_str()): value }).to_string();
                let clause = clause_of(&name, &value.to_string());
                let parsed = Clause::parse(&clause, &Zone::UTC);
                prop_assert!(parsed.is_ok(), "{clause}: {parsed:?}");
                prop_assert!(parsed.unwrap().holds(&attributes, &OfKind::default()), "{clause} in {attributes}");
            }
        }
    }
}
