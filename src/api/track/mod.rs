//! Tracking: `GET`, `POST` and `OPTIONS` of `/v1/events/track` and `/v1/users/track`.
//!
//! Promises the contract's order of checks: method, token, site, the body's form, then what is in it; and
//! that each answer, a refusal too, may be read by the page that called. What the query, a form and a header
//! can say, the query says first, then the form.

pub(super) mod body;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod manner;
mod preflight;
mod site;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use super::reply::Reply;
use super::{Api, answer, bearer};
use crate::clock;
use crate::context::Headers;
use crate::http::{Method, Query, Request, Response};
use crate::ingest::{Code, Kind, Payload, Reject, Submission};
use crate::model::erasure::Digest;
use crate::model::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use body::Body;
use manner::Manner;

/// What answers to other methods say.
const METHODS: &str = "GET, POST, OPTIONS";

/// Refuses a tracking call before it is looked at.
pub(super) fn refuse(request: &Request, reject: &Reject, answer: Reply) {
    answer.send(&refusal(request, reject));
}

/// What such a call is answered.
pub(super) fn refusal(request: &Request, reject: &Reject) -> Response {
    let call = Call { request, body: Ok(Body::None).into() };
    Manner::of(&call).refused(reject)
}

/// A request and its body. That is unpacked when it is first asked for, since it costs far more than to see
/// that nobody has this token; why it isn't understood is told when its turn comes.
struct Call<'r> {
    request: &'r Request,
    body: OnceCell<Result<Body<'r>, Reject>>,
}

impl<'r> Call<'r> {
    fn of(request: &'r Request) -> Call<'r> {
        Call { request, body: OnceCell::new() }
    }

    fn body(&self) -> &Result<Body<'r>, Reject> {
        self.body.get_or_init(|| match self.request.method {
            Method::Post => Body::of(self.request),
            _ => Ok(Body::None),
        })
    }

    fn form(&self) -> Option<Query<'_>> {
        if !Body::may_be_form(self.request) {
            return None;
        }
        match self.body() {
            Ok(Body::Form(text)) => Some(Query::of(text)),
            _ => None,
        }
    }

    /// A parameter of the query or, where that has none, of the form; empty ones are none.
    fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let given = |value: &Cow<'_, str>| !value.is_empty();
        let in_query = self.request.query().get(name).filter(given);
        in_query.or_else(|| self.form()?.get(name).filter(given))
    }

    /// A key under which the call is stored once. Each that is given has to be one.
    fn idempotency_key(&self) -> Result<Option<String>, Reject> {
        const NAME: &str = "idempotency_key";
        let whole = |key: Cow<'_, str>| (key.len(), key.into_owned());
        let form = self.form().and_then(|form| form.get(NAME));
        let header = self.request.header("idempotency-key");
        let given = [
            self.request.query().get(NAME).map(whole),
            form.map(whole),
            header.map(|key| (bytes_as_sent(key), key.to_owned())),
        ];
        let mut given = given.into_iter().flatten().filter(|(_, key)| !key.is_empty());
        let is_key = |bytes: usize, key: &str| {
            bytes <= IDEMPOTENCY_KEY_BYTES_MAX
                && key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        if let Some((bytes, _)) = given.clone().find(|(bytes, key)| !is_key(*bytes, key)) {
            return Err(Reject::new(
                Code::InvalidParameter,
                format!(
                    "`idempotency_key` takes up to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII \
                     characters; this one has {bytes} bytes"
                ),
            ));
        }
        Ok(given.next().map(|(_, key)| key))
    }

    /// What is to be stored. A body that is JSON counts before the query's `data`.
    fn payload(&self) -> Result<Payload<'_>, Reject> {
        let in_query = self.request.query().raw("data").unwrap_or_default();
        match self.body().as_ref().map_err(Clone::clone)? {
            Body::Json(bytes) => Ok(Payload::Json(bytes)),
            Body::Lines(bytes) => Ok(Payload::Lines(bytes)),
            Body::Form(text) if in_query.is_empty() => match Query::of(text).raw("data") {
                Some(data) => Ok(Payload::Form(data)),
                None => Err(Reject::new(
                    Code::MissingData,
                    "the form has no `data`; a body that is JSON itself takes the header \
                     `Content-Type: application/json`",
                )),
            },
            Body::Form(_) | Body::None => Ok(Payload::Query(in_query)),
        }
    }
}

/// How many bytes a header's value had. Those beyond ASCII come percent-encoded, in capital letters; who wrote
/// them so himself is taken at the same count, as the two can't be told apart, and mean one key.
fn bytes_as_sent(value: &str) -> usize {
    let is_beyond_ascii = |escape: &&[u8]| {
        matches!(escape, [b'%', b'8' | b'9' | b'A'..=b'F', b'0'..=b'9' | b'A'..=b'F'])
    };
    value.len() - 2 * value.as_bytes().windows(3).filter(is_beyond_ascii).count()
}

impl Api {
    /// Takes a call. It is answered from here if it is refused, and when it is on disk if not.
    pub(super) fn track(&self, kind: Kind, request: &Request, mut answer: Reply) {
        let call = Call::of(request);
        let manner = Manner::of(&call);
        let client = self.door.client(request);
        match request.method {
            Method::Get | Method::Post => {}
            Method::Options => return answer.send(&preflight::answer(request, &manner)),
            method => {
                let refuse = |reject: &Reject| manner.refused(reject);
                return answer.send(&answer::method_not_allowed(method, METHODS, refuse));
            }
        }
        let batch =
            self.authorised(kind, &call, &manner, client, &mut answer).and_then(|submission| {
                let account = submission.account;
                let batch = submission.decode()?.validate()?;
                self.door.objects(client, account, batch.len())?;
                Ok(batch)
            });
        match batch {
            Err(reject) => answer.send(&manner.refused(&reject)),
            Ok(batch) => {
                let is_batch = batch.is_numbered();
                batch.submit(&self.writer, move |outcome| {
                    answer.send(&match outcome {
                        // Of what was stored: of two calls with the same key, the first's.
                        Ok(receipt) => {
                            let accepted = manner.accepted(is_batch.then_some(receipt.count));
                            answer::as_of(accepted, receipt.last_seq())
                        }
                        Err(reject) => manner.refused(&reject),
                    });
                });
            }
        }
    }

    /// Whose call it is, and whether from a site of theirs; comes before the data is looked at.
    fn authorised<'c>(
        &self,
        kind: Kind,
        call: &'c Call<'_>,
        manner: &Manner,
        client: IpAddr,
        answer: &mut Reply,
    ) -> Result<Submission<'c>, Reject> {
        let token = call.parameter("api_token");
        let token = token.as_deref().or_else(|| bearer(call.request));
        let principal = self.principal(
            token,
            "give `api_token=…` in the query or in a form, or the header `Authorization: Bearer …`",
        )?;
        answer.belongs_to(principal.account);
        let accounts = self.store.accounts();
        let sites = accounts.get(principal.account).and_then(|account| account.sites.as_ref());
        let allows = sites.map(|sites| |host: &str| sites.allows(host));
        let headers = Headers::read(|name| call.request.header(name));
        site::check(&headers, manner.image, allows)?;
        let now = clock::now();
        Ok(Submission {
            kind,
            account: principal.account,
            via: principal.via,
            received_at: now,
            payload: call.payload()?,
            idempotency_key: call
                .idempotency_key()?
                .map(|key| Digest::of_idempotency_key(principal.account, &key)),
            context: self.door.context(&headers, manner.image, principal.account, client, now),
        })
    }
}

#[cfg(test)]
mod tests;
