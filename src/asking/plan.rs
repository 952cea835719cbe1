//! An export as it is asked for.

use std::io::Write;
use std::sync::Arc;

use super::{Desk, Params, not_exported, stream};
use crate::export::{self, Exported, Format, Wanted};
use crate::http::{Job, Response, Stream};
use crate::ingest::{Code, Reject};
use crate::jobs::Jobs;
use crate::model::AccountId;
use crate::store::Store;

/// What is asked for.
#[derive(Debug)]
pub struct Plan {
    /// Of what.
    pub wanted: Wanted,
    /// How it is written.
    pub format: Format,
}

impl Plan {
    /// Reads it from `what`, `format`, and what questions have.
    ///
    /// # Errors
    /// Which parameter is wrong, and what would be right.
    pub fn of(params: &Params<'_>, account: AccountId) -> Result<Plan, Reject> {
        let what = params.read("what", Exported::NAMES, Exported::parse)?;
        let what = what.ok_or_else(|| {
            let detail = format!("the parameter `what` is required: {}", Exported::NAMES);
            Reject::new(Code::InvalidParameter, detail)
        })?;
        let format = params.read("format", Format::NAMES, Format::parse)?;
        let zone = params.zone()?;
        let filter = params.question(account, zone, true)?;
        if what == Exported::Users {
            for name in ["type", "from", "to", "bots"] {
                if params.text(name).is_some() {
                    let detail = format!(
                        "the parameter `{name}` is for events; users have neither date nor type"
                    );
                    return Err(Reject::new(Code::InvalidParameter, detail));
                }
            }
        }
        let raw = params.flag("raw")?.unwrap_or(false);
        let wanted = Wanted { what, filter, zone, raw };
        Ok(Plan { wanted, format: format.unwrap_or_default() })
    }

    fn head(&self) -> Response {
        let (what, format) = (self.wanted.what.name(), self.format.name());
        Response::new(200, self.format.content_type(), b"".as_slice())
            .with_header("Content-Disposition", format!("attachment; filename=\"{what}.{format}\""))
    }

    /// What is sent, made by a thread of its own, and where that is put. `refuse` makes the answer to what fails before
    /// anything was sent.
    ///
    /// # Errors
    /// [`EXPORTS_MAX`](crate::jobs::EXPORTS_MAX) run already, or the server stops.
    pub fn start(
        self,
        store: &Arc<Store>,
        desk: &Desk,
        exports: &Jobs,
        refuse: impl FnOnce(&Reject) -> Response + Send + 'static,
    ) -> Result<(Stream, impl FnOnce(Job) + Send + 'static), Reject> {
        let head = self.head();
        let write = move |store: &Store, stop: &dyn Fn() -> bool, out: &mut dyn Write| {
            let written = export::write(store, &self.wanted, self.format, stop, out);
            written.map(drop).map_err(not_exported)
        };
        stream(store, desk, exports, head, write, refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Method, Request};
    use crate::model::Date;
    use crate::query::Filter;
    use crate::schema::Zone;

    #[test]
    fn plans() {
        let account = AccountId(7);
        let plan = |query: &str| {
            let request = Request::new(Method::Get, &format!("/v1/export?{query}"));
            Plan::of(&Params::of(request.query()), account)
        };
        let all = Filter::of(account);
        let (events, users) = (Exported::Events, Exported::Users);
        let text = |text: &str| Some(text.to_owned());
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        for (query, what, filter, format) in [
            ("what=events", events, all.clone(), Format::Jsonl),
            ("what=events&format=csv&colour=red", events, all.clone(), Format::Csv),
            (
                "what=events&type=a&user_id=b&from=2001-07-04&to=&format=",
                events,
                Filter {
                    kind: text("a"),
                    user_id: text("b"),
                    from: Date::parse("2001-07-04"),
                    ..all.clone()
                },
                Format::Jsonl,
            ),
            (
                "what=events&from=2001-07-04&tz=Europe/Berlin&bots=0",
                events,
                Filter { from: Date::parse("2001-07-03T22:00:00Z"), bots: false, ..all.clone() },
                Format::Jsonl,
            ),
            ("what=users", users, all.clone(), Format::Jsonl),
            (
                "what=users&user_id=u&format=parquet&type=",
                users,
                Filter { user_id: text("u"), ..all.clone() },
                Format::Parquet,
            ),
        ] {
            let found = plan(query).expect(query);
            assert_eq!((found.wanted.what, found.format), (what, format), "{query}");
            let is_there = query.contains("tz=");
            assert_eq!(found.wanted.zone, if is_there { berlin } else { Zone::UTC }, "{query}");
            assert_eq!(format!("{:?}", found.wanted.filter), format!("{filter:?}"), "{query}");
        }
        let found = plan("what=users&where=plan%3Dpro&where=a+exists&raw=1").expect("it is right");
        assert_eq!((found.wanted.filter.clauses.len(), found.wanted.raw), (2, true));
        for (query, named) in [
            ("", "what"),
            ("what=", "what"),
            ("what=Events", "what"),
            ("what=events&format=xml", "format"),
            ("what=events&from=soon", "from"),
            ("what=users&to=yesterday", "to"),
            ("what=users&type=a", "type"),
            ("what=users&from=2001-07-04", "from"),
            ("what=users&to=2001-07-04", "to"),
            ("what=users&bots=1", "bots"),
            ("what=users&raw=yes", "raw"),
            ("what=events&tz=Mars", "tz"),
            ("what=events&where=plan", "where"),
        ] {
            let reject = plan(query).expect_err(query);
            assert_eq!(reject.code, Code::InvalidParameter, "{query}");
            assert!(reject.detail.contains(&format!("`{named}")), "{query}: {}", reject.detail);
        }
    }

    #[test]
    fn heads() {
        for (format, kind, file) in [
            (Format::Jsonl, "application/x-ndjson", "users.jsonl"),
            (Format::Csv, "text/csv; charset=utf-8", "users.csv"),
            (Format::Parquet, "application/vnd.apache.parquet", "users.parquet"),
        ] {
            let (filter, zone) = (Filter::of(AccountId(1)), Zone::UTC);
            let wanted = Wanted { what: Exported::Users, filter, zone, raw: false };
            let head = Plan { wanted, format }.head();
            assert_eq!(format.content_type(), kind);
            let disposition = head.header("content-disposition").expect("a name");
            assert_eq!(disposition, format!("attachment; filename=\"{file}\""));
        }
    }
}
