//! The body of a `POST`: what it says it is, unpacked.
//!
//! Promises at most [`BODY_BYTES_MAX`] bytes, packed or not, and no more memory than that for whatever they
//! unpack to. Must not know what the parameters or objects in it mean.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Read;

use flate2::bufread::GzDecoder;
use percent_encoding::{CONTROLS, percent_encode};

use crate::http::Request;
use crate::ingest::{Code, Reject};
use crate::model::limits::BODY_BYTES_MAX;

/// Members of packed bodies. Each has to be set up, and a body of empty ones would take a second for that.
const GZIP_MEMBERS_MAX: usize = 1_000;

/// Parameters of a form; it has use for five.
const FORM_PARAMETERS_MAX: usize = 1_000;

/// A body, unpacked.
#[derive(Debug, PartialEq)]
pub(in crate::api) enum Body<'r> {
    None,
    /// Parameters as in a query.
    Form(Cow<'r, str>),
    /// An object, or a list of objects.
    Json(Cow<'r, [u8]>),
    /// An object on each line.
    Lines(Cow<'r, [u8]>),
}

/// What a body can be.
#[derive(Clone, Copy)]
enum Media {
    Form,
    Json,
    Lines,
}

impl<'r> Body<'r> {
    /// Whether it could be a form, by what it says.
    pub(super) fn may_be_form(request: &Request) -> bool {
        matches!(Media::of(request), None | Some(Ok(Media::Form)))
    }

    /// Unpacks a request's body. Nothing is not looked at: an empty body may say to be anything.
    pub(in crate::api) fn of(request: &'r Request) -> Result<Body<'r>, Reject> {
        if request.body().is_empty() {
            return Ok(Body::None);
        }
        let media = Media::of(request).transpose()?;
        let bytes = unpacked(request)?;
        if bytes.is_empty() {
            return Ok(Body::None);
        }
        Ok(match media.unwrap_or_else(|| Media::guess(&bytes)) {
            Media::Form => Body::Form(text(checked(bytes)?)),
            Media::Json => Body::Json(bytes),
            Media::Lines => Body::Lines(bytes),
        })
    }
}

impl Media {
    /// What a request says that its body is, if it does.
    fn of(request: &Request) -> Option<Result<Media, Reject>> {
        let given = request.header("content-type").map(str::trim)?;
        (!given.is_empty()).then(|| Media::parse(given))
    }

    /// What a `Content-Type` says (RFC 9110, section 8.3).
    fn parse(given: &str) -> Result<Media, Reject> {
        let mut parts = given.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let media = match essence.as_str() {
            "application/x-www-form-urlencoded" => Media::Form,
            // A page may send that without being asked first, and `navigator.sendBeacon` does.
            "application/json" | "text/plain" => Media::Json,
            "application/x-ndjson" | "application/ndjson" => Media::Lines,
            _ => {
                return Err(unsupported(format!(
                    "a body can't be {:.80}; it can be application/json, application/x-ndjson, \
                     text/plain with JSON in it, or application/x-www-form-urlencoded",
                    essence.escape_debug().to_string()
                )));
            }
        };
        let charset = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        let is_utf_8 = |charset: &str| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        };
        match charset.filter(|charset| !is_utf_8(charset)) {
            None => Ok(media),
            Some(other) => Err(unsupported(format!(
                "the text of a body can't be in {:.40}; it has to be in UTF-8",
                other.escape_debug().to_string()
            ))),
        }
    }

    /// What a body is that doesn't say: JSON if it looks like that.
    fn guess(bytes: &[u8]) -> Media {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
        if text.starts_with(b"{") || text.starts_with(b"[") { Media::Json } else { Media::Form }
    }
}

fn unsupported(detail: String) -> Reject {
    Reject::new(Code::UnsupportedMediaType, detail)
}

fn too_large() -> Reject {
    let detail = format!("the body has more than {BODY_BYTES_MAX} bytes, packed or unpacked");
    Reject::new(Code::PayloadTooLarge, detail)
}

/// The body as it was before its `Content-Encoding` (RFC 9110, section 8.4).
fn unpacked(request: &Request) -> Result<Cow<'_, [u8]>, Reject> {
    if request.body().len() > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let lines = request.header_lines("content-encoding");
    let codings = lines.flat_map(|line| line.split(',')).map(str::trim);
    let mut codings =
        codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(request.body().into()),
        (Some(coding), None)
            if ["gzip", "x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip)) =>
        {
            gunzip(request.body()).map(Cow::Owned)
        }
        (Some(coding), None) => Err(unsupported(format!(
            "a body can't be packed as {:.40}; it can be as gzip",
            coding.escape_debug().to_string()
        ))),
        _ => Err(unsupported("a body can't be packed more than once".to_owned())),
    }
}

thread_local! {
    /// Where a thread unpacks: one piece of memory for all bodies. As many pieces as bodies would leave the
    /// allocator with more than it gives back, or be slow to get.
    static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Unpacks gzip, which may have several members (RFC 1952, section 2.2), and nothing behind them.
fn gunzip(packed: &[u8]) -> Result<Vec<u8>, Reject> {
    UNPACKED.with_borrow_mut(|bytes| {
        bytes.clear();
        // A vector that grows by itself can take twice its bytes.
        bytes.reserve_exact(BODY_BYTES_MAX + 1);
        gunzip_to(packed, bytes)?;
        Ok(bytes.clone())
    })
}

fn gunzip_to(packed: &[u8], bytes: &mut Vec<u8>) -> Result<(), Reject> {
    let mut rest = packed;
    for _ in 0..GZIP_MEMBERS_MAX {
        let room = (BODY_BYTES_MAX + 1 - bytes.len()) as u64;
        let mut member = GzDecoder::new(&mut rest).take(room);
        member.read_to_end(bytes).map_err(|error| {
            let detail = format!("the body is not gzip, as it says, or not all of it: {error}");
            Reject::new(Code::InvalidJson, detail)
        })?;
        if bytes.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if rest.is_empty() {
            return Ok(());
        }
    }
    let detail = format!("the body is packed in more than {GZIP_MEMBERS_MAX} members");
    Err(Reject::new(Code::PayloadTooLarge, detail))
}

/// A form, unless it has so many parameters that looking for one takes its time.
fn checked(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, Reject> {
    let parameters = 1 + bytes.iter().filter(|byte| **byte == b'&').count();
    if parameters <= FORM_PARAMETERS_MAX {
        return Ok(bytes);
    }
    let detail =
        format!("the form has {parameters} parameters, at most {FORM_PARAMETERS_MAX} are taken");
    Err(Reject::new(Code::InvalidParameter, detail))
}

/// A form as text. Bytes that aren't UTF-8 are escaped, which says the same.
fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    let escaped = |bytes: &[u8]| percent_encode(bytes, CONTROLS).to_string();
    match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => escaped(bytes).into(),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => escaped(error.as_bytes()).into(),
        },
    }
}

#[cfg(test)]
mod tests;
