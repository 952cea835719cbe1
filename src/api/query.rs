//! The parameters of questions: checked once, refused by name.

use crate::http::Request;
use crate::ingest::{Code, Reject};
use crate::model::{AccountId, Date, EventFilter};

/// Rows of a page, unless the question says otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Rows of a page at the most.
pub(super) const LIMIT_MAX: usize = 1_000;

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
