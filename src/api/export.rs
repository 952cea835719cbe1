//! `GET /v1/export`: everything of an account, streamed. For the holder of a `secret_key` only.

use super::{Api, Reply, answer};
use crate::asking::{Params, Plan};
use crate::http::{Method, Request, Stream};

impl Api {
    /// Checks who asks and for what, and has it streamed by a thread of its own.
    pub(super) fn export(&self, request: &Request, answer: Reply) {
        if request.method != Method::Get {
            let refuse = answer::method_not_allowed(request.method, "GET", answer::problem);
            return answer.send(&refuse);
        }
        let started = self.reader(request).and_then(|principal| {
            let plan = Plan::of(&Params::of(request.query()), principal.account)?;
            plan.start(&self.store, &self.desk, &self.exports, answer::problem)
        });
        match started {
            Ok((stream, run)) => {
                let head = stream.head.with_header("Cache-Control", "no-store");
                answer.stream(Stream { head, ..stream }, run);
            }
            Err(reject) => answer.send(&answer::problem(&reject)),
        }
    }
}
