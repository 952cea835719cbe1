//! What pages load, embedded: styles, their script, the mark; and `/t.js`, which other sites load.
//!
//! The name of what pages load holds a hash of its content, so that browsers may keep it for good. `/t.js` has one name
//! for ever, so it is kept for an hour and then asked for anew by its ETag (RFC 9110, section 8.8.3). All of it is sent
//! packed with gzip to whoever takes that.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::visit::Visit;
use crate::asking::Failure;
use crate::http::{Request, Response};
use crate::ingest::{Code, Reject};
use crate::model::account::write_hex;

/// Bytes of the hash that stands in names.
const HASH_BYTES: usize = 6;

/// One file.
pub(super) struct Asset {
    content_type: &'static str,
    made: LazyLock<Made>,
}

/// What is made of a file, once.
struct Made {
    content: &'static str,
    packed: Vec<u8>,
    name: String,
    hash: String,
}

impl Made {
    fn of(stem: &str, ending: &str, content: &'static str) -> Made {
        let (mut packer, mut hash) =
            (GzEncoder::new(Vec::new(), Compression::best()), String::new());
        // Writing to memory can't fail.
        let _ = packer.write_all(content.as_bytes());
        let _ = write_hex(&mut hash, &Sha256::digest(content)[..HASH_BYTES]);
        let packed = packer.finish().unwrap_or_default();
        Made { content, packed, name: format!("{stem}.{hash}.{ending}"), hash }
    }
}

impl Asset {
    /// What pages call it.
    pub fn name(&'static self) -> &'static str {
        &self.made.name
    }

    /// It, or that the caller has it; with how long it may be kept.
    fn answer(&'static self, request: &Request, caching: &'static str) -> Response {
        let accepted = request.header_lines("accept-encoding").any(takes_gzip);
        // Each form has a tag of its own: they are different bytes.
        let etag = format!("\"{}{}\"", self.made.hash, if accepted { "-gzip" } else { "" });
        let is_known = request
            .header_lines("if-none-match")
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag);
        let response = match (is_known, accepted) {
            (true, _) => Response::new(304, "", Vec::new()),
            (false, true) => Response::new(200, self.content_type, self.made.packed.as_slice())
                .with_header("Content-Encoding", "gzip"),
            (false, false) => Response::new(200, self.content_type, self.made.content.as_bytes()),
        };
        response
            .with_header("ETag", etag)
            .with_header("Vary", "Accept-Encoding")
            .with_header("Cache-Control", caching)
            .with_header("X-Content-Type-Options", "nosniff")
    }
}

/// Whether a line of `Accept-Encoding` names gzip, and not to refuse it (RFC 9110, section 12.5.3).
fn takes_gzip(line: &str) -> bool {
    line.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refuses = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse() == Ok(0.0))
        };
        is_gzip && !parts.any(refuses)
    })
}

pub(super) static CSS: Asset = Asset {
    content_type: "text/css; charset=utf-8",
    made: LazyLock::new(|| Made::of("app", "css", include_str!("assets/app.css"))),
};

pub(super) static JS: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    made: LazyLock::new(|| Made::of("app", "js", include_str!("assets/app.js"))),
};

pub(super) static ICON: Asset = Asset {
    content_type: "image/svg+xml",
    made: LazyLock::new(|| Made::of("icon", "svg", include_str!("assets/icon.svg"))),
};

static TAG: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    made: LazyLock::new(|| Made::of("t", "js", super::tag::script())),
};

/// `/assets/{name}`.
pub(super) fn asset(visit: &Visit<'_>) -> Result<Response, Failure> {
    let name = visit.value(0);
    let asset = [&CSS, &JS, &ICON].into_iter().find(|asset| asset.name() == name);
    let asset = asset.ok_or_else(|| Reject::new(Code::NotFound, "There is no such file."))?;
    Ok(asset.answer(visit.request(), "public, max-age=31536000, immutable"))
}

/// `/t.js`, for pages of every origin.
pub(super) fn tag(visit: &Visit<'_>) -> Result<Response, Failure> {
    Ok(TAG
        .answer(visit.request(), "public, max-age=3600")
        .with_header("Access-Control-Allow-Origin", "*")
        .with_header("Cross-Origin-Resource-Policy", "cross-origin"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::http::Method;

    #[test]
    fn who_takes_gzip() {
        for (line, takes) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("br, gzip ; q=1, *;q=0", true),
            ("deflate, gzip, br, zstd", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; Q=0.000", false),
            ("x-gzip-not", false),
            ("*", false),
        ] {
            assert_eq!(takes_gzip(line), takes, "{line}");
        }
    }

    #[test]
    fn each_form_is_known_by_its_own_tag() {
        let ask = |headers: &[(&str, &str)]| {
            let request = headers
                .iter()
                .fold(Request::new(Method::Get, "/t.js"), |request, (name, value)| {
                    request.with_header(name, value)
                });
            TAG.answer(&request, "public")
        };
        let (plain, packed) = (ask(&[]), ask(&[("Accept-Encoding", "gzip, br")]));
        let mut unpacked = String::new();
        GzDecoder::new(packed.body()).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked.as_bytes(), plain.body());
        assert_eq!(plain.body(), crate::web::tag::script().as_bytes());
        assert_eq!(
            (plain.header("Content-Encoding"), packed.header("Content-Encoding")),
            (None, Some("gzip"))
        );
        let (plain, packed) = (plain.header("ETag").unwrap(), packed.header("ETag").unwrap());
        assert_ne!(plain, packed);
        let weak = format!("\"other\", W/{plain}");
        for (encoding, tag, status) in [
            ("", plain, 304),
            ("gzip", packed, 304),
            ("", &weak, 304),
            ("", "*", 304),
            ("", packed, 200),
            ("gzip", plain, 200),
            ("", "\"other\"", 200),
        ] {
            let answer = ask(&[("Accept-Encoding", encoding), ("If-None-Match", tag)]);
            assert_eq!(
                (answer.status(), answer.body().is_empty()),
                (status, status == 304),
                "{tag}"
            );
            assert!(
                answer.header("ETag").is_some() && answer.header("Vary") == Some("Accept-Encoding")
            );
        }
    }
}
