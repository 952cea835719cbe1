//! `GET /healthz`: whether calls can be accepted, for monitors and load balancers.

use std::time::Duration;

use serde::Serialize;

use super::{Api, answer};
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};
use crate::store::Standing;

/// A flush that takes longer means a disk that hangs.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// It accepts, though something that was sealed may be damaged.
#[derive(Serialize)]
struct Healthy {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<String>,
}

impl Api {
    /// Files that were found damaged, and why.
    fn damaged(&self) -> Vec<String> {
        self.store
            .damage()
            .into_iter()
            .map(|(file, why)| format!("segments/{file}: {why}"))
            .collect()
    }

    /// Why nothing can be added to the log that is shared with other servers, if it is.
    fn apart(&self) -> Option<String> {
        match self.store.standing() {
            Standing::Alone | Standing::Member => None,
            Standing::Joining => Some("this server is catching up with the others".to_owned()),
            Standing::Trouble(why) => Some(why.to_string()),
        }
    }

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
        } else if let Some(apart) = self.apart() {
            Reject::new(Code::NoQuorum, apart)
        } else if self.desk.is_stopping() {
            Reject::new(Code::ShuttingDown, "the server is stopping")
        } else {
            return answer::found(&Healthy { status: "ok", damaged: self.damaged() });
        };
        answer::problem(&reject).with_header("Cache-Control", "no-store")
    }
}
