//! `GET /v1/refused`: the last refused calls of an account. For the holder of its `secret_key` only.

use serde::Serialize;

use super::{Api, answer};
use crate::asking::Params;
use crate::clock;
use crate::http::{Method, Request, Response};
use crate::ingest::Reject;
use crate::refused::Refusal;

#[derive(Serialize)]
struct Page {
    refused: Vec<Refusal>,
}

impl Api {
    pub(super) fn last_refused(&self, request: &Request) -> Response {
        if request.method != Method::Get {
            return answer::method_not_allowed(request.method, "GET", answer::problem);
        }
        let found = || -> Result<Page, Reject> {
            let principal = self.reader(request)?;
            let limit = Params::of(request.query()).limit()?;
            let refused = self.records.refused.last(principal.account, limit, clock::now());
            Ok(Page { refused })
        };
        match found() {
            Ok(page) => answer::found(&page),
            Err(reject) => answer::problem(&reject),
        }
    }
}
