//! `GET /healthz`: whether calls can be accepted, for monitors and load balancers.

use std::time::Duration;

use super::{Api, answer};
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};

/// A flush that takes longer means a disk that hangs.
const FLUSH_MAX: Duration = Duration::from_secs(5);

impl Api {
    /// 200 when a call would be accepted, else 503 with why.
    pub(super) fn health(&self, request: &Request) -> Response {
        if !matches!(request.method, Method::Get | Method::Head) {
            return answer::method_not_allowed(request.method, "GET, HEAD", answer::problem);
        }
        let reject = if let Some(why) = self.store.failure() {
            Reject::new(Code::StorageFailed, why)
        } else if let Some(hanging) = self.store.flushing_for().filter(|age| *age > FLUSH_MAX) {
            let detail = format!("a flush to disk has taken {} s so far", hanging.as_secs());
            Reject::new(Code::StorageFailed, detail)
        } else if let Some(shortage) = self.store.space().shortage() {
            Reject::new(Code::StorageFull, shortage)
        } else if self.is_stopping() {
            Reject::new(Code::ShuttingDown, "the server is stopping")
        } else {
            return Response::json(200, r#"{"status":"ok"}"#)
                .with_header("Cache-Control", "no-store");
        };
        answer::problem(&reject).with_header("Cache-Control", "no-store")
    }
}
