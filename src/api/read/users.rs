//! Users: one by its id, and pages of those that are searched for.

use super::{Desk, Failure};
use crate::api::answer;
use crate::api::query::Params;
use crate::http::Response;
use crate::ingest::{Code, Reject};
use crate::query::users::{Question, Sort};
use crate::schema::Zone;
use crate::store::{Error, Order};
use crate::view::{UserView, converted};

impl Desk<'_> {
    pub(super) fn user(&self, id: &str) -> Result<Response, Failure> {
        let Some(user) = self.store.user(self.account, id)? else {
            let detail = format!("there is no user with the id {id:?}");
            return Err(Reject::new(Code::NotFound, detail).into());
        };
        let overrides = self.store.overrides(self.account);
        let converted = converted(user, overrides.of_users(), &Zone::UTC);
        let (user, not_converted) = converted.map_err(|error| Error::damaged_user(id, &error))?;
        let (count, missing) = self.event_count(id)?;
        let view = UserView::new(id, &user).with_event_count(count);
        let view = view.with_not_converted(not_converted).with_missing(missing.records);
        Ok(answer::found(&view))
    }

    pub(super) fn users(&self, params: &Params<'_>) -> Result<Response, Failure> {
        let question = Question {
            account: self.account,
            q: params.text("q"),
            clauses: params.clauses(params.zone()?)?,
            sort: params.text("sort").map_or(Sort::Id, |name| Sort::parse(&name)),
            descending: params.order()? == Some(Order::Descending),
            limit: params.limit()?,
            cursor: params.text("cursor"),
        };
        Ok(answer::found(&question.answer(self.store, self.stop)?))
    }
}
