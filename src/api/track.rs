//! Tracking: `GET /v1/events/track` and `GET /v1/users/track`.

use super::{Api, answer};
use crate::clock;
use crate::http::{Answer, Method, Request, Response};
use crate::ingest::{Kind, Reject, Submission};

/// A transparent GIF of one pixel: header, a palette of two, a graphic control extension that makes
/// the first of them transparent, and an image of one.
const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\
    \0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

const OK: &[u8] = br#"{"status":"ok"}"#;

/// How a call wants to be answered, known before anything else of it.
struct Manner {
    image: bool,
    origin: Option<String>,
}

impl Manner {
    fn of(request: &Request) -> Manner {
        let query = request.query();
        let is_one = |name| query.get(name).is_some_and(|value| value == "1");
        Manner {
            image: is_one("image") || is_one("img"),
            // What can't be said back in a header is no origin.
            origin: request
                .header("origin")
                .filter(|origin| {
                    !origin.is_empty() && origin.bytes().all(|byte| byte.is_ascii_graphic())
                })
                .map(str::to_owned),
        }
    }

    fn accepted(&self) -> Response {
        self.dress(if self.image { pixel(200) } else { Response::new(200, "application/json", OK) })
    }

    fn refused(&self, reject: &Reject) -> Response {
        self.dress(if self.image {
            let pixel = pixel(reject.code.status());
            answer::with_hints(pixel, reject).with_header("X-Triggerly-Error", reject.code.name())
        } else {
            answer::problem(reject)
        })
    }

    /// Lets pages of every origin see the answer, cookies or not (Fetch standard, CORS protocol).
    fn dress(&self, response: Response) -> Response {
        match &self.origin {
            Some(origin) => response
                .with_header("Access-Control-Allow-Origin", origin.clone())
                .with_header("Access-Control-Allow-Credentials", "true")
                .with_header("Vary", "Origin"),
            None => response.with_header("Access-Control-Allow-Origin", "*"),
        }
    }
}

/// The pixel, not to be kept by any cache, to be shown by any page.
fn pixel(status: u16) -> Response {
    Response::new(status, "image/gif", PIXEL)
        .with_header("Cache-Control", "no-store, no-cache, must-revalidate")
        .with_header("Cross-Origin-Resource-Policy", "cross-origin")
}

/// Refuses a tracking call before it is looked at.
pub(super) fn refuse(request: &Request, reject: &Reject, answer: Answer) {
    answer.send(&Manner::of(request).refused(reject));
}

impl Api {
    /// Takes a call. It is answered from here if it is refused, and when it is on disk if not.
    pub(super) fn track(&self, kind: Kind, request: &Request, answer: Answer) {
        let manner = Manner::of(request);
        if request.method != Method::Get {
            let refuse = |reject: &Reject| manner.refused(reject);
            return answer.send(&answer::method_not_allowed(request.method, "GET", refuse));
        }
        let batch =
            self.authorised(kind, request).and_then(|submission| submission.decode()?.validate());
        match batch {
            Err(reject) => answer.send(&manner.refused(&reject)),
            Ok(batch) => batch.submit(&self.writer, None, move |outcome| {
                answer.send(&match outcome {
                    Ok(_) => manner.accepted(),
                    Err(reject) => manner.refused(&reject),
                });
            }),
        }
    }

    /// Whose call it is; comes before the data is looked at.
    fn authorised<'r>(&self, kind: Kind, request: &'r Request) -> Result<Submission<'r>, Reject> {
        let principal = self.principal(request, true)?;
        Ok(Submission {
            kind,
            account: principal.account,
            via: principal.via,
            received_at: clock::now(),
            data: request.query().raw("data").unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Code;

    #[test]
    fn manners() {
        let reject = Reject::new(Code::InvalidBase64, "why");
        for (target, origin, image) in [
            ("/?image=1", None, true),
            ("/?img=1", Some("https://a.example"), true),
            ("/?image=0&image=1", None, false),
            ("/?image=true", Some("null"), false),
            ("/", None, false),
        ] {
            let mut request = Request::new(Method::Get, target);
            if let Some(origin) = origin {
                request = request.with_header("Origin", origin);
            }
            let manner = Manner::of(&request);
            let (good, bad) = (manner.accepted(), manner.refused(&reject));
            assert_eq!((good.status(), bad.status()), (200, 400));
            assert_eq!(good.body() == PIXEL, image, "{target}");
            assert_eq!(bad.body() == PIXEL, image, "{target}");
            assert_eq!(bad.header("X-Triggerly-Error"), image.then_some("invalid_base64"));
            for response in [good, bad] {
                let allowed = response.header("Access-Control-Allow-Origin");
                assert_eq!(allowed, Some(origin.unwrap_or("*")));
                let credentials = response.header("Access-Control-Allow-Credentials");
                assert_eq!(credentials, origin.map(|_| "true"));
                assert_eq!(response.header("Vary"), origin.map(|_| "Origin"));
            }
        }
    }
}
