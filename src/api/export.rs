//! `GET /v1/export`: everything of an account, streamed. For the holder of a `secret_key` only.

use std::sync::Arc;

use super::{Api, Reply, answer};
use crate::asking::{Params, Plan};
use crate::http::{Method, Request, Stream};
use crate::ingest::Reject;

impl Api {
    /// Checks who asks and for what, and has it streamed by a thread of its own.
    pub(super) fn export(&self, request: &Request, answer: Reply) {
        if request.method != Method::Get {
            let refuse = answer::method_not_allowed(request.method, "GET", answer::problem);
            return answer.send(&refuse);
        }
        let account = match self.reader(request) {
            Ok(principal) => principal.account,
            Err(reject) => return answer.send(&answer::problem(&reject)),
        };
        let params = Params::of(request.query());
        let (store, desk) = (Arc::clone(&self.store), self.desk.clone());
        let exports = Arc::clone(&self.exports);
        // What makes no sense doesn't wait.
        let (plan, min_seq) = match Plan::of(&params, account) {
            Ok(plan) => (Ok(plan), params.min_seq()),
            Err(reject) => (Err(reject), Ok(None)),
        };
        self.when_seen(min_seq, move |seq, seen| {
            let refuse = move |reject: &Reject| answer::as_of(answer::problem(reject), seq);
            let started =
                seen.and(plan).and_then(|plan| plan.start(&store, &desk, &exports, refuse));
            match started {
                Ok((stream, run)) => {
                    let head = stream.head.with_header("Cache-Control", "no-store");
                    answer.stream(Stream { head: answer::as_of(head, seq), ..stream }, run);
                }
                Err(reject) => answer.send(&refuse(&reject)),
            }
        });
    }
}
