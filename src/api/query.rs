//! The parameters of questions: checked once, refused by name.

use crate::http::Request;
use crate::ingest::{Code, Reject};
use crate::model::{AccountId, Date, EventFilter};

/// Rows of a page, unless the question says otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Rows of a page at the most.
pub(super) const LIMIT_MAX: usize = 1_000;

/// Characters of an unknown parameter's name that a refusal says back.
const NAME_CHARS_MAX: usize = 40;

/// A request's parameters, read as what they should be. An empty one is none.
pub(super) struct Params<'r>(pub &'r Request);

impl Params<'_> {
    pub fn text(&self, name: &str) -> Option<String> {
        let value = self.0.query().get(name)?;
        (!value.is_empty()).then(|| value.into_owned())
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
        for pair in self.0.query().all() {
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
        let dry_run =
            self.read("dry_run", "`1`, or `0` which means the same as none", |text| match text {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            })?;
        Ok(dry_run.unwrap_or(false))
    }

    /// The events that are asked about: `type`, `user_id`, and from `from` on, before `to`.
    pub fn filter(&self, account: AccountId) -> Result<EventFilter, Reject> {
        // A `+` that stands for itself (in `+02:00`) arrives as a space, which no offset begins with.
        let date = |text: &str| {
            Date::parse(text).or_else(|| {
                let at = text.rfind(' ')?;
                Date::parse(&format!("{}+{}", &text[..at], &text[at + 1..]))
            })
        };
        let forms = "a date: ISO 8601 with an offset, RFC 2822, yyyy-MM-dd or yyyy/MM/dd";
        Ok(EventFilter {
            account,
            kind: self.text("type"),
            user_id: self.text("user_id"),
            from: self.read("from", forms, date)?,
            to: self.read("to", forms, date)?,
        })
    }

    pub fn limit(&self) -> Result<usize, Reject> {
        let right = format!("a number from 1 to {LIMIT_MAX}");
        let limit = self.read("limit", &right, |text| {
            text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))
        })?;
        Ok(limit.unwrap_or(LIMIT_DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    fn with<T>(query: &str, read: impl Fn(&Params<'_>) -> Result<T, Reject>) -> Result<T, String> {
        let request = Request::new(Method::Get, &format!("/?{query}"));
        read(&Params(&request)).map_err(|reject| {
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
