//! `GET /v1/export`: everything of an account, streamed. For the holder of a `secret_key` only.
//!
//! What is wrong with the call is told before anything is sent. Once the body has begun, an error
//! is told by breaking the connection off, so that what arrived is never taken for whole.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::query::Params;
use super::{Api, Reply, answer};
use crate::export::{self, Exported, Format, Wanted};
use crate::http::{Method, Request, Response, Stream};
use crate::ingest::{Code, Reject};
use crate::jobs::EXPORTS_MAX;
use crate::model::AccountId;

impl Api {
    /// Checks who asks and for what, and has it streamed by a thread of its own.
    pub(super) fn export(&self, request: &Request, answer: Reply) {
        if request.method != Method::Get {
            let refuse = answer::method_not_allowed(request.method, "GET", answer::problem);
            return answer.send(&refuse);
        }
        let checked = self
            .reader(request)
            .and_then(|principal| Plan::of(&Params(request), principal.account));
        let plan = match checked {
            Ok(plan) => plan,
            Err(reject) => return answer.send(&answer::problem(&reject)),
        };
        let Some(room) = self.exports.room() else {
            let reject = if self.is_stopping() {
                stopping()
            } else {
                let detail = format!(
                    "{EXPORTS_MAX} exports are running, which is the most; ask again later"
                );
                Reject::new(Code::Overloaded, detail)
            };
            return answer.send(&answer::problem(&reject));
        };
        let (store, stop) = (Arc::clone(&self.store), Arc::clone(&self.stopping));
        let head = plan.head();
        let make = Box::new(move |out: &mut dyn std::io::Write| {
            let stop = || stop.load(SeqCst);
            let written = export::write(&store, &plan.what, plan.format, &stop, out);
            written.map_err(|error| answer::problem(&reject(error)))
        });
        let stop = Arc::clone(&self.stopping);
        answer.stream(Stream { head, stop, make }, move |job| room.put(job));
    }
}

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Plan {
    what: Wanted,
    format: Format,
}

impl Plan {
    fn of(params: &Params<'_>, account: AccountId) -> Result<Plan, Reject> {
        let what = params.read("what", Exported::NAMES, Exported::parse)?;
        let what = what.ok_or_else(|| {
            let detail = format!("the parameter `what` is required: {}", Exported::NAMES);
            Reject::new(Code::InvalidParameter, detail)
        })?;
        let format = params.read("format", Format::NAMES, Format::parse)?;
        let filter = params.filter(account)?;
        let what = match what {
            Exported::Events => Wanted::Events(filter),
            Exported::Users => {
                for name in ["type", "from", "to"] {
                    if params.text(name).is_some() {
                        let detail = format!(
                            "the parameter `{name}` is for events; users have neither date nor type"
                        );
                        return Err(Reject::new(Code::InvalidParameter, detail));
                    }
                }
                Wanted::Users(account, filter.user_id)
            }
        };
        Ok(Plan { what, format: format.unwrap_or_default() })
    }

    fn head(&self) -> Response {
        let (what, format) = (self.what.kind().name(), self.format.name());
        Response::new(200, self.format.content_type(), b"".as_slice())
            .with_header("Content-Disposition", format!("attachment; filename=\"{what}.{format}\""))
            .with_header("Cache-Control", "no-store")
    }
}

fn stopping() -> Reject {
    Reject::new(Code::ShuttingDown, "the server is stopping; ask again soon")
}

/// What is answered if nothing was sent yet.
fn reject(error: export::Error) -> Reject {
    match error {
        export::Error::Store(error) => {
            log::error!("an export broke off: {error}");
            Reject::new(
                Code::StorageFailed,
                "the server can't read its data; its owner has to look into its log",
            )
        }
        export::Error::Stopped => stopping(),
        export::Error::Missing(missing) => {
            log::error!("an export broke off: {missing}");
            let detail = format!(
                "{missing}; `triggerly export` writes all the rest, and so does this call with filters \
                 that leave the damage out"
            );
            Reject::new(Code::StorageFailed, detail)
        }
        // The client has gone, or takes nothing.
        export::Error::Output(error) => Reject::new(Code::Internal, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Date, EventFilter};

    #[test]
    fn plans() {
        let account = AccountId(7);
        let plan = |query: &str| {
            let request = Request::new(Method::Get, &format!("/v1/export?{query}"));
            Plan::of(&Params(&request), account)
        };
        let all = EventFilter { account, kind: None, user_id: None, from: None, to: None };
        let events = |filter, format| Plan { what: Wanted::Events(filter), format };
        let users = |id: Option<&str>| Wanted::Users(account, id.map(str::to_owned));
        let text = |text: &str| Some(text.to_owned());
        for (query, wanted) in [
            ("what=events", events(all.clone(), Format::Jsonl)),
            ("what=events&format=csv&colour=red", events(all.clone(), Format::Csv)),
            (
                "what=events&type=a&user_id=b&from=2001-07-04&to=&format=",
                events(
                    EventFilter {
                        kind: text("a"),
                        user_id: text("b"),
                        from: Date::parse("2001-07-04"),
                        ..all.clone()
                    },
                    Format::Jsonl,
                ),
            ),
            ("what=users", Plan { what: users(None), format: Format::Jsonl }),
            (
                "what=users&user_id=u&format=parquet&type=",
                Plan { what: users(Some("u")), format: Format::Parquet },
            ),
        ] {
            assert_eq!(plan(query), Ok(wanted), "{query}");
        }
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
            let head = Plan { what: Wanted::Users(AccountId(1), None), format }.head();
            assert_eq!(format.content_type(), kind);
            let disposition = head.header("content-disposition").expect("a name");
            assert_eq!(disposition, format!("attachment; filename=\"{file}\""));
        }
    }
}
