//! What is asked of a call before it is known whose it is for: from where it comes, whether that is too often,
//! and what its browser says of itself. The address ends here.

use std::net::IpAddr;
use std::sync::Arc;

use crate::client::Proxies;
use crate::context::{Contexts, Headers, Salts};
use crate::http::limits::HEADER_LINES_MAX;
use crate::http::{Fault, Request};
use crate::ingest::{Code, Reject};
use crate::model::limits::{BODY_BYTES_MAX, HEADERS_BYTES_MAX, TARGET_BYTES_MAX};
use crate::model::{AccountId, Date};
use crate::rate::{Limits, Rates, Wait};

/// Bytes of a body that count as one call more.
const BODY_BYTES_A_CALL: usize = 64 * 1024;

/// Calls more that a packed body counts as: some kilobytes may unpack to 5 MiB, which takes 10 ms and more.
const PACKED_CALLS: u32 = 20;

/// Knows proxies, counts calls, makes contexts.
pub struct Door {
    proxies: Proxies,
    rates: Rates,
    contexts: Contexts,
}

impl Door {
    /// Believes these proxies, takes calls so fast, and tells visitors apart under these salts.
    #[must_use]
    pub fn new(proxies: Proxies, rate: Limits, salts: Arc<Salts>) -> Door {
        Door { proxies, rates: Rates::new(rate), contexts: Contexts::under(salts) }
    }

    /// Whose call it is: the peer, or whom trusted proxies name.
    pub fn client(&self, request: &Request) -> IpAddr {
        let forwarded_for = request.header_lines("x-forwarded-for");
        self.proxies.client(request.peer, forwarded_for, request.header_lines("forwarded"))
    }

    /// Whether the client's way to a trusted proxy is encrypted, as that says. The server itself speaks no TLS.
    #[must_use]
    pub fn is_secure(&self, request: &Request) -> bool {
        let said = request.header("x-forwarded-proto").unwrap_or_default();
        said.trim().eq_ignore_ascii_case("https") && self.proxies.trust(request.peer)
    }

    /// Counts a call of an address, by the work that it may make: a large body, and one that is packed, count as
    /// several calls, before anything is made of them.
    pub fn call(&self, client: IpAddr, request: &Request) -> Result<(), Reject> {
        let is_packed = |coding: &str| coding.to_ascii_lowercase().contains("gzip");
        let packed = request.header_lines("content-encoding").any(is_packed);
        let packed = if packed { PACKED_CALLS } else { 0 };
        let large = request.body().len() / BODY_BYTES_A_CALL;
        let calls = u32::try_from(large).unwrap_or(u32::MAX).saturating_add(1 + packed);
        self.rates.calls(client, calls).map_err(|wait| limited(wait, "this address makes"))
    }

    /// Counts what a call has for an account.
    pub fn objects(&self, client: IpAddr, account: AccountId, count: usize) -> Result<(), Reject> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.rates.objects(client, account, count).map_err(|wait| limited(wait, "the account gets"))
    }

    /// What a browser's call says of its circumstances.
    pub fn context(
        &self,
        headers: &Headers<'_>,
        image: bool,
        account: AccountId,
        client: IpAddr,
        now: Date,
    ) -> Option<String> {
        self.contexts.of(headers, image, account, client, now)
    }

    /// The browser that a call comes from, in words.
    #[must_use]
    pub fn browser(&self, request: &Request) -> String {
        self.contexts.in_words(&Headers::read(|name| request.header(name)))
    }

    /// Destroys what is not to outlive its day. To be called now and then.
    pub fn tend(&self, now: Date) {
        self.contexts.tend(now);
    }
}

fn limited(wait: Wait, who: &str) -> Reject {
    let seconds = wait.seconds;
    let detail = format!("{who} more calls than it may; try again in {seconds} s");
    Reject::new(Code::RateLimited, detail).retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Why a request is too large to be looked at, if it is.
#[must_use]
pub fn too_large(request: &Request) -> Option<Reject> {
    let target_bytes = request.target_bytes();
    if target_bytes > TARGET_BYTES_MAX {
        return Some(Reject::new(
            Code::UriTooLong,
            format!("the address has {target_bytes} bytes, at most {TARGET_BYTES_MAX} are taken"),
        ));
    }
    let headers_bytes = request.headers_bytes();
    (headers_bytes > HEADERS_BYTES_MAX).then(|| {
        Reject::new(
            Code::HeadersTooLarge,
            format!(
                "the headers have {headers_bytes} bytes, at most {HEADERS_BYTES_MAX} are taken"
            ),
        )
    })
}

/// What the transport refuses, in the terms of calls.
#[must_use]
pub fn refusal(fault: Fault) -> Reject {
    match fault {
        Fault::Malformed(why) => Reject::new(
            Code::BadRequest,
            format!("this can't be read as one HTTP request (RFC 9112): {why}"),
        ),
        Fault::Version => {
            Reject::new(Code::VersionNotSupported, "this server speaks HTTP/1.1 and HTTP/1.0")
        }
        Fault::LineTooLong => Reject::new(
            Code::UriTooLong,
            format!("the address has more than {TARGET_BYTES_MAX} bytes, which is the most"),
        ),
        Fault::HeadersTooLarge => Reject::new(
            Code::HeadersTooLarge,
            format!(
                "the headers are more than {HEADERS_BYTES_MAX} bytes or {HEADER_LINES_MAX} lines, which is \
                 the most"
            ),
        ),
        Fault::BodyTooLarge => Reject::new(
            Code::PayloadTooLarge,
            format!(
                "the body has more than {BODY_BYTES_MAX} bytes, which is the most; send it in parts"
            ),
        ),
        Fault::Late => Reject::new(
            Code::RequestTimeout,
            "the request was not there in time; send it at once when it is begun",
        ),
        Fault::Overloaded => Reject::new(
            Code::Overloaded,
            "more is arriving than can be handled; try again in a moment",
        ),
        Fault::Stopping => {
            Reject::new(Code::ShuttingDown, "the server is stopping; try again in a moment")
        }
    }
}
