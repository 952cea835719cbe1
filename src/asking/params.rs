//! The parameters of questions: checked once, refused by name.

use std::ops::RangeInclusive;

use crate::http::Query;
use crate::ingest::{Code, Reject};
use crate::model::{AccountId, Date, EventFilter, Seq};
use crate::query::{Filter, Interval};
use crate::schema::{Clause, Zone};
use crate::store::Order;

/// Rows of a page, unless the question says otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Rows of a page at the most.
pub const LIMIT_MAX: usize = 1_000;

/// Clauses of one question, at the most.
pub const CLAUSES_MAX: usize = 16;

/// What flags take.
const FLAG: &str = "`1` or `0`";

/// Characters of an unknown parameter's name that a refusal says back.
const NAME_CHARS_MAX: usize = 40;

/// The parameters of a query, read as what they should be. An empty one is none.
#[derive(Clone, Copy)]
pub struct Params<'q> {
    query: Query<'q>,
    zone: Zone,
}

impl<'q> Params<'q> {
    /// Those of a query, whose dates are of UTC where it doesn't say.
    #[must_use]
    pub fn of(query: Query<'q>) -> Params<'q> {
        Params { query, zone: Zone::UTC }
    }

    /// The same, whose dates are of a zone where they don't say.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Params<'q> {
        Params { zone, ..self }
    }
    /// A parameter's value.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let value = self.query.get(name)?;
        (!value.is_empty()).then(|| value.into_owned())
    }

    /// All values of a parameter that may come several times, but for empty ones.
    pub fn texts<'n>(&self, name: &'n str) -> impl Iterator<Item = String> + use<'q, 'n> {
        self.query.each(name).map(|value| value.into_owned()).filter(|value| !value.is_empty())
    }

    /// Reads a parameter by `parse`; what it doesn't take is refused with `would_be_right`.
    pub fn read<T>(
        &self,
        name: &str,
        would_be_right: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Reject> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| {
            Reject::new(
                Code::InvalidParameter,
                format!("the parameter `{name}` takes {would_be_right}"),
            )
        })
    }

    /// Refuses what a question would pass over: parameters beyond those that are `known`, and ones
    /// that come twice, are empty or no text. For calls that can't be taken back, so that a slip of
    /// the pen doesn't make them mean more.
    pub fn only(&self, known: &[&str]) -> Result<(), Reject> {
        let refuse = |why: String| Err(Reject::new(Code::InvalidParameter, why));
        let mut seen = Vec::new();
        for pair in self.query.all() {
            let Some((name, value)) = pair else {
                return refuse("a parameter is not UTF-8, percent-encoded".to_owned());
            };
            if !known.contains(&name.as_str()) {
                let name: String = name.chars().take(NAME_CHARS_MAX).collect();
                return refuse(format!(
                    "there is no parameter `{name}` here; there are: {}",
                    known.join(", ")
                ));
            }
            if value.is_empty() {
                return refuse(format!(
                    "the parameter `{name}` is empty; give a value or leave it out"
                ));
            }
            if seen.contains(&name) {
                return refuse(format!("the parameter `{name}` is given twice; give it once"));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// Whether a call that changes something is only to say what it would.
    pub fn dry_run(&self) -> Result<bool, Reject> {
        Ok(self.flag("dry_run")?.unwrap_or(false))
    }

    /// The events that are asked about: `type`, `user_id`, and from `from` on, before `to`.
    pub fn filter(&self, account: AccountId) -> Result<EventFilter, Reject> {
        let forms = "a date: ISO 8601 with an offset, RFC 2822, yyyy-MM-dd or yyyy/MM/dd";
        let date = |text: &str| plus_restored(text, Date::parse);
        Ok(EventFilter {
            account,
            kind: self.text("type"),
            user_id: self.text("user_id"),
            from: self.read("from", forms, date)?,
            to: self.read("to", forms, date)?,
        })
    }

    /// The same for questions, whose dates are of a zone where they don't say, with `where` and `bots`.
    /// Without `bots` those of bots and prefetches pass if `with_bots`.
    pub fn question(
        &self,
        account: AccountId,
        zone: Zone,
        with_bots: bool,
    ) -> Result<Filter, Reject> {
        let filter = self.question_without_clauses(account, zone, with_bots)?;
        Ok(Filter { clauses: self.clauses(zone)?, ..filter })
    }

    /// The same without `where`.
    pub fn question_without_clauses(
        &self,
        account: AccountId,
        zone: Zone,
        with_bots: bool,
    ) -> Result<Filter, Reject> {
        Ok(Filter {
            account,
            kind: self.text("type"),
            user_id: self.text("user_id"),
            from: self.date("from", zone)?,
            to: self.date("to", zone)?,
            clauses: Vec::new(),
            bots: self.flag("bots")?.unwrap_or(with_bots),
        })
    }

    /// `min_seq`: how far whoever answers has to have seen the log, if it says.
    pub fn min_seq(&self) -> Result<Option<Seq>, Reject> {
        let right = "a number, as an answer's `X-Triggerly-Seq` says one";
        let is_digit = |byte: u8| byte.is_ascii_digit();
        self.read("min_seq", right, |text| {
            text.bytes().all(is_digit).then(|| text.parse().ok()).flatten()
        })
    }

    /// A number within bounds.
    pub fn number(
        &self,
        name: &str,
        bounds: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Reject> {
        let right = format!("a number from {} to {}", bounds.start(), bounds.end());
        self.read(name, &right, |text| text.parse().ok().filter(|number| bounds.contains(number)))
    }

    /// A date, of a zone where it doesn't say.
    pub fn date(&self, name: &str, zone: Zone) -> Result<Option<Date>, Reject> {
        let forms = "a date: yyyy-MM-dd or yyyy/MM/dd, ISO 8601 (without an offset it is of the zone `tz`), or \
                     RFC 2822";
        self.read(name, forms, |text| plus_restored(text, |text| zone.parse(text)))
    }

    /// The zone that `tz` names; where it names none, UTC or that of [`Params::in_zone`].
    pub fn zone(&self) -> Result<Zone, Reject> {
        Ok(self.zone_given()?.unwrap_or(self.zone))
    }

    /// The zone that `tz` names.
    pub fn zone_given(&self) -> Result<Option<Zone>, Reject> {
        let right = "a time zone of the IANA database, as `Europe/Berlin` or `UTC`";
        self.read("tz", right, |text| text.parse().ok())
    }

    /// What `where` asks of attributes, each time it is given.
    pub fn clauses(&self, zone: Zone) -> Result<Vec<Clause>, Reject> {
        self.each_clause(|text| Clause::parse(text, &zone).map_err(|error| error.to_string()))
    }

    /// What `where` asks, read by `parse`, which says what would be right.
    pub fn each_clause<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Reject> {
        let wrong = |why| {
            let detail = format!("the parameter `where` can't be read: {why}");
            Reject::new(Code::InvalidParameter, detail)
        };
        let mut clauses = Vec::new();
        for text in self.texts("where") {
            if clauses.len() == CLAUSES_MAX {
                let detail =
                    format!("the parameter `where` may be given {CLAUSES_MAX} times at the most");
                return Err(Reject::new(Code::InvalidParameter, detail));
            }
            clauses.push(parse(&text).map_err(wrong)?);
        }
        Ok(clauses)
    }

    /// Whether something is wanted or not, if it says.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Reject> {
        self.read(name, FLAG, |text| match text {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        })
    }

    /// `interval`, out of some.
    pub fn interval(&self, allowed: &[Interval]) -> Result<Option<Interval>, Reject> {
        let names: Vec<_> =
            allowed.iter().map(|interval| format!("`{}`", interval.name())).collect();
        let (last, others) = names.split_last().map_or(("", &[][..]), |(l, o)| (l.as_str(), o));
        let right = format!("{} or {last}", others.join(", "));
        self.read("interval", &right, |text| {
            text.parse().ok().filter(|interval| allowed.contains(interval))
        })
    }

    /// `order`.
    ///
    /// # Errors
    /// What would be right.
    pub fn order(&self) -> Result<Option<Order>, Reject> {
        self.read("order", "`asc` or `desc`", |text| match text {
            "asc" => Some(Order::Ascending),
            "desc" => Some(Order::Descending),
            _ => None,
        })
    }

    /// `limit`: how many rows a page has.
    ///
    /// # Errors
    /// What would be right.
    pub fn limit(&self) -> Result<usize, Reject> {
        Ok(self.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT))
    }
}

/// Reads a date. A `+` that stands for itself (in `+02:00`) arrives as a space, which no offset begins with.
fn plus_restored(text: &str, parse: impl Fn(&str) -> Option<Date>) -> Option<Date> {
    parse(text).or_else(|| {
        let at = text.rfind(' ')?;
        parse(&format!("{}+{}", &text[..at], &text[at + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Method, Request};

    fn with<T>(query: &str, read: impl Fn(&Params<'_>) -> Result<T, Reject>) -> Result<T, String> {
        let request = Request::new(Method::Get, &format!("/?{query}"));
        read(&Params::of(request.query())).map_err(|reject| {
            assert_eq!(reject.code, Code::InvalidParameter);
            reject.detail
        })
    }

    #[test]
    fn limits() {
        for (query, limit) in [("", 100), ("limit=", 100), ("limit=1", 1), ("limit=1000", 1000)] {
            assert_eq!(with(query, |params| params.limit()), Ok(limit), "{query}");
        }
        for bad in ["0", "1001", "-1", "x", "1.0", "99999999999999999999"] {
            let refused = with(&format!("limit={bad}"), |params| params.limit());
            assert!(refused.is_err_and(|detail| detail.contains("`limit`")), "{bad}");
        }
    }

    #[test]
    fn positions() {
        for (query, seq) in [
            ("", None),
            ("min_seq=", None),
            ("min_seq=0", Some(0)),
            ("min_seq=007", Some(7)),
            ("min_seq=18446744073709551615", Some(Seq::MAX)),
        ] {
            assert_eq!(with(query, |params| params.min_seq()), Ok(seq), "{query}");
        }
        for bad in ["-1", "%2B1", "+1", "1.0", "1e3", "x", "18446744073709551616", "%D9%A1"] {
            let refused = with(&format!("min_seq={bad}"), |params| params.min_seq());
            assert!(refused.is_err_and(|detail| detail.contains("`min_seq`")), "{bad}");
        }
    }

    #[test]
    fn calls_that_can_not_be_taken_back_know_all_their_parameters() {
        let known = ["type", "dry_run"];
        let long = format!("{}=1", "é".repeat(41));
        for query in ["", "&", "type=a", "type=a&dry_run=0", "%74ype=a", "type=+", "type=%"] {
            assert_eq!(with(query, |params| params.only(&known)), Ok(()), "{query}");
        }
        for (query, says) in [
            ("typ=a", "`typ`"),
            ("Type=a", "`Type`"),
            ("type%20=a", "`type `"),
            ("type[]=a", "`type[]`"),
            ("=a", "``"),
            ("type=a&api_token=x", "`api_token`"),
            ("type=a;dry_run=1&x", "`x`"),
            ("type=", "`type`"),
            ("type", "`type`"),
            ("type=a&type=a", "`type`"),
            ("type=a&dry_run=1&%74ype=b", "`type`"),
            ("type=%ff", "UTF-8"),
            (&long, &format!("`{}`", "é".repeat(40))),
        ] {
            let refused = with(query, |params| params.only(&known));
            assert!(refused.clone().is_err_and(|why| why.contains(says)), "{query}: {refused:?}");
        }
        for (query, dry_run) in [("", false), ("dry_run=1", true), ("dry_run=0", false)] {
            assert_eq!(with(query, |params| params.dry_run()), Ok(dry_run), "{query}");
        }
        for bad in ["true", "yes", "2", "-1", "01", "%201"] {
            assert!(with(&format!("dry_run={bad}"), |params| params.dry_run()).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters() {
        let account = AccountId(1);
        let date = |text: &str| Some(Date::parse(text).unwrap());
        let query = "type=a&user_id=&from=2001-07-04&to=2001-07-05T02:00:00+02:00";
        let filter = with(query, |params| params.filter(account));
        assert_eq!(
            filter.expect("a plus left as it is"),
            EventFilter {
                account,
                kind: Some("a".to_owned()),
                user_id: None,
                from: date("2001-07-04"),
                to: date("2001-07-05"),
            }
        );
        let refused = with("to=yesterday", |params| params.filter(account));
        assert!(refused.is_err_and(|detail| detail.contains("`to`")));
    }
}
