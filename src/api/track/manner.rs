//! How a tracking call wants to be answered: as JSON or as a pixel, and to which page.

use std::borrow::Cow;

use super::Call;
use crate::api::answer;
use crate::http::{Request, Response};
use crate::ingest::Reject;

/// A transparent GIF of one pixel: header, a palette of two, a graphic control extension that makes
/// the first of them transparent, and an image of one.
pub(super) const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\
    \0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

const OK: &[u8] = br#"{"status":"ok"}"#;

/// How a call wants to be answered, known before anything else of it.
pub(super) struct Manner {
    pub(super) image: bool,
    pub(super) origin: Option<String>,
}

impl Manner {
    pub(super) fn of(call: &Call<'_>) -> Manner {
        let is_one = |name| call.parameter(name).is_some_and(|value| value == "1");
        Manner { image: is_one("image") || is_one("img"), origin: origin(call.request) }
    }

    /// It is stored; of a batch, so many objects.
    pub(super) fn accepted(&self, count: Option<u64>) -> Response {
        let body = match count {
            None => Cow::Borrowed(OK),
            Some(count) => Cow::Owned(format!(r#"{{"status":"ok","accepted":{count}}}"#).into()),
        };
        self.dress(if self.image {
            pixel(200)
        } else {
            Response::new(200, "application/json", body)
        })
    }

    /// It is not; scripts of a page may see when to try again, and why.
    pub(super) fn refused(&self, reject: &Reject) -> Response {
        let refused = self.dress(if self.image {
            let pixel = pixel(reject.code.status());
            answer::with_hints(pixel, reject).with_header("X-Triggerly-Error", reject.code.name())
        } else {
            answer::problem(reject)
        });
        refused.with_header("Access-Control-Expose-Headers", "Retry-After, X-Triggerly-Error")
    }

    /// Lets pages of every origin see the answer, cookies or not (Fetch standard, CORS protocol), and have it also
    /// where they demand that what they embed says so: a beacon isn't asked by CORS.
    fn dress(&self, response: Response) -> Response {
        let response =
            self.allow_origin(response).with_header("Cross-Origin-Resource-Policy", "cross-origin");
        if self.origin.is_some() { response.with_header("Vary", "Origin") } else { response }
    }

    pub(super) fn allow_origin(&self, response: Response) -> Response {
        match &self.origin {
            Some(origin) => response
                .with_header("Access-Control-Allow-Origin", origin.clone())
                .with_header("Access-Control-Allow-Credentials", "true"),
            None => response.with_header("Access-Control-Allow-Origin", "*"),
        }
    }
}

/// Bytes of an origin: a scheme, a name of 255, a port, and room.
const ORIGIN_BYTES_MAX: usize = 512;

/// The page's origin; what can't be said back in a header is none.
fn origin(request: &Request) -> Option<String> {
    let fits = |origin: &&str| {
        (1..=ORIGIN_BYTES_MAX).contains(&origin.len())
            && origin.bytes().all(|byte| byte.is_ascii_graphic())
    };
    request.header("origin").filter(fits).map(str::to_owned)
}

/// The pixel, not to be kept by any cache.
fn pixel(status: u16) -> Response {
    Response::new(status, "image/gif", PIXEL)
        .with_header("Cache-Control", "no-store, no-cache, must-revalidate")
}
