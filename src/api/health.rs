//! `GET /healthz`: whether calls can be accepted, for monitors and load balancers.

use super::{Api, answer};
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};

impl Api {
    /// 200 when a call would be accepted, else 503 with why.
    pub(super) fn health(&self, request: &Request) -> Response {
        if !matches!(request.method, Method::Get | Method::Head) {
            return answer::method_not_allowed(request.method, "GET, HEAD", answer::problem);
        }
        let reject = if let Some(why) = self.store.failure() {
            Reject::new(Code::StorageFailed, why)
        } else if self.is_stopping() {
            Reject::new(Code::ShuttingDown, "the server is stopping")
        } else {
            return Response::json(200, r#"{"status":"ok"}"#)
                .with_header("Cache-Control", "no-store");
        };
        answer::problem(&reject).with_header("Cache-Control", "no-store")
    }
}
