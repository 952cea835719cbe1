//! `PUT` and `DELETE /v1/types/{kind}/{attribute}`: the type that a person says an attribute has. For the
//! holder of a `secret_key` only.
//!
//! What was sent stays as it is, and the type can be taken back, so these are records of the log like
//! any other change. The answer comes when it is on disk; what is asked after it obeys it.

use std::sync::Arc;

use serde_json::Value;

use super::track::body::Body;
use super::{Api, Reply, answer};
use crate::asking::Failure;
use crate::clock;
use crate::http::{Method, Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::overrides::{AttributeName, Kind};
use crate::model::{AccountId, DataType};
use crate::query::{Stop, types};
use crate::store::{Done, Draft, Refusal, Store, Writer};

/// Bytes of a body that names a type, at the most.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// What the path names, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overridden {
    pub kind: String,
    pub attribute: String,
}

/// A call that was checked.
#[derive(Clone)]
struct Change {
    account: AccountId,
    kind: Kind,
    attribute: AttributeName,
    /// None: it is taken back.
    to: Option<DataType>,
}

impl Api {
    /// Checks who calls and what for, and has it done by a job.
    pub(super) fn set_type(&self, overridden: Overridden, request: &Request, answer: Reply) {
        if !matches!(request.method, Method::Put | Method::Delete) {
            let allowed = "PUT, DELETE";
            let refuse = answer::method_not_allowed(request.method, allowed, answer::problem);
            return answer.send(&refuse);
        }
        let checked = self
            .reader(request)
            .and_then(|principal| Change::of(overridden, request, principal.account));
        match checked {
            Err(reject) => answer.send(&answer::problem(&reject)),
            Ok(change) => {
                let (store, writer) = (Arc::clone(&self.store), Arc::clone(&self.writer));
                let of = change.clone();
                let find = move |stop: &Stop<'_>| of.outcome(&store, stop);
                self.desk.ask(Weight::Light, find, move |found| match found {
                    Ok(found) => change.carry_out(found, &writer, answer),
                    Err(reject) => answer.send(&answer::problem(&reject)),
                });
            }
        }
    }
}

impl Change {
    fn of(overridden: Overridden, request: &Request, account: AccountId) -> Result<Change, Reject> {
        let Overridden { kind, attribute } = overridden;
        let wrong = |why: String| Reject::new(Code::InvalidParameter, why);
        let kind = kind.parse().map_err(|_| {
            wrong(
                "the path's `kind` is `user`, or `event:` and a type of at most 255 bytes"
                    .to_owned(),
            )
        })?;
        let attribute = AttributeName::new(&attribute)
            .map_err(|error| wrong(format!("the path's `attribute` is none: {error}")))?;
        let to = match request.method {
            Method::Put => Some(wanted(request)?),
            _ => None,
        };
        Ok(Change { account, kind, attribute, to })
    }

    /// What answers it once it is carried out: the attribute as it is then.
    fn outcome(&self, store: &Store, stop: &Stop<'_>) -> Result<Response, Failure> {
        let Change { account, kind, attribute, to } = self;
        let is_set = store.overrides(*account).get(kind, attribute.as_str()).is_some();
        if to.is_none() && !is_set {
            let detail = format!("no type is set for {:?} of {kind}", attribute.as_str());
            return Err(Reject::new(Code::NotFound, detail).into());
        }
        let row = types::one(store, *account, kind, attribute.as_str(), *to, stop)?;
        Ok(answer::found(&row))
    }

    /// Has it written down, and answers with what was `found` when it is.
    fn carry_out(self, found: Response, writer: &Writer, answer: Reply) {
        let Change { account, kind, attribute, to } = self;
        let done = Done::new(move |outcome| {
            answer.send(&match outcome {
                Ok(receipt) => answer::as_of(found, receipt.last_seq()),
                Err(refusal @ Refusal::TooManyTypes) => {
                    answer::problem(&Reject::new(Code::InvalidParameter, refusal.to_string()))
                }
                Err(refusal) => answer::problem(&Reject::from(refusal)),
            });
        });
        writer.submit(vec![Draft::data_type(account, kind, attribute, to, clock::now())], done);
    }
}

/// The type that the body names.
fn wanted(request: &Request) -> Result<DataType, Reject> {
    let form = r#"the body names the type: {"type":"Number"}"#;
    let bytes = match Body::of(request)? {
        Body::Json(bytes) => bytes,
        Body::None => return Err(Reject::new(Code::MissingData, form)),
        Body::Form(_) | Body::Lines(_) => {
            let detail = format!("the body is one object as application/json; {form}");
            return Err(Reject::new(Code::UnsupportedMediaType, detail));
        }
    };
    if bytes.len() > BODY_BYTES_MAX {
        let detail = format!("the body has more than {BODY_BYTES_MAX} bytes, which is the most");
        return Err(Reject::new(Code::PayloadTooLarge, detail));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Reject::new(Code::InvalidJson, format!("{error}; {form}")))?;
    let Value::Object(object) = value else {
        return Err(Reject::new(Code::NotAnObject, form));
    };
    object.get("type").and_then(Value::as_str).and_then(|name| name.parse().ok()).ok_or_else(|| {
        let names = DataType::ALL.map(DataType::name).join(", ");
        Reject::new(Code::InvalidParameter, format!("the body's `type` is one of: {names}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let put = |kind: &str, body: &str| {
            let request = Request::new(Method::Put, "/").with_body(body.as_bytes().to_vec());
            wanted(&if kind.is_empty() {
                request
            } else {
                request.with_header("Content-Type", kind)
            })
        };
        let json = "application/json";
        for data_type in DataType::ALL {
            let body = format!(r#"{{"type":"{data_type}","more":1}}"#);
            for kind in ["", json, "application/json; charset=utf-8", "text/plain"] {
                assert_eq!(put(kind, &body), Ok(data_type), "{kind}");
            }
        }
        let long = format!(r#"{{"type":"Number"{}}}"#, " ".repeat(BODY_BYTES_MAX));
        for (kind, body, code) in [
            (json, "", Code::MissingData),
            (json, "{", Code::InvalidJson),
            (json, "\u{0}", Code::InvalidJson),
            (json, "[]", Code::NotAnObject),
            (json, "\"Number\"", Code::NotAnObject),
            (json, "{}", Code::InvalidParameter),
            (json, r#"{"type":null}"#, Code::InvalidParameter),
            (json, r#"{"type":"number"}"#, Code::InvalidParameter),
            (json, r#"{"type":["Number"]}"#, Code::InvalidParameter),
            (json, &long, Code::PayloadTooLarge),
            ("", "type=Number", Code::UnsupportedMediaType),
            ("application/x-www-form-urlencoded", "type=Number", Code::UnsupportedMediaType),
            ("application/x-ndjson", r#"{"type":"Number"}"#, Code::UnsupportedMediaType),
            ("image/png", r#"{"type":"Number"}"#, Code::UnsupportedMediaType),
            (
                "application/json; charset=utf-16",
                r#"{"type":"Number"}"#,
                Code::UnsupportedMediaType,
            ),
        ] {
            assert_eq!(
                put(kind, body).map_err(|reject| reject.code),
                Err(code),
                "{kind} {body:.40}"
            );
        }
    }
}
