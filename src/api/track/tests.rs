//! What a call says, wherever it says it, and how it is answered.

use super::manner::PIXEL;
use super::*;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");

fn post(target: &str, body: &str, header: (&str, &str)) -> Request {
    let request = Request::new(Method::Post, target).with_header(header.0, header.1);
    request.with_body(body.into())
}

#[test]
fn manners() {
    let reject = Reject::new(Code::InvalidBase64, "why");
    for (target, form, origin, image) in [
        ("/?image=1", "", None, true),
        ("/?img=1", "", Some("https://a.example"), true),
        ("/?image=0&image=1", "", None, false),
        ("/?image=true", "", Some("null"), false),
        ("/", "", None, false),
        ("/", "image=1", None, true),
        ("/", "img=1", Some("https://a.example"), true),
        ("/?image=", "image=1", None, true),
        ("/?image=0", "image=1", None, false),
    ] {
        let mut request = post(target, form, FORM);
        if let Some(origin) = origin {
            request = request.with_header("Origin", origin);
        }
        let manner = Manner::of(&Call::of(&request));
        let (good, bad) = (manner.accepted(None), manner.refused(&reject));
        assert_eq!((good.status(), bad.status()), (200, 400));
        assert_eq!(good.body() == PIXEL, image, "{target} {form}");
        assert_eq!(bad.body() == PIXEL, image, "{target} {form}");
        assert_eq!(bad.header("X-Triggerly-Error"), image.then_some("invalid_base64"));
        let batch = manner.accepted(Some(7));
        let counted: &[u8] = br#"{"status":"ok","accepted":7}"#;
        assert_eq!(batch.body(), if image { PIXEL } else { counted });
        for response in [good, bad, batch] {
            let allowed = response.header("Access-Control-Allow-Origin");
            assert_eq!(allowed, Some(origin.unwrap_or("*")));
            let credentials = response.header("Access-Control-Allow-Credentials");
            assert_eq!(credentials, origin.map(|_| "true"));
            assert_eq!(response.header("Vary"), origin.map(|_| "Origin"));
        }
    }
}

#[test]
fn what_is_to_be_stored() {
    let bytes = |text: &'static str| text.as_bytes();
    for (target, header, body, expected) in [
        ("/?data=q", FORM, "", Ok(Payload::Query("q"))),
        ("/?data=q", JSON, "", Ok(Payload::Query("q"))),
        ("/", FORM, "", Ok(Payload::Query(""))),
        ("/", FORM, "x=y&data=f%2B", Ok(Payload::Form("f%2B"))),
        ("/", FORM, "data=", Ok(Payload::Form(""))),
        ("/?data=", FORM, "data=f&data=g", Ok(Payload::Form("f"))),
        ("/?data=q", FORM, "data=f", Ok(Payload::Query("q"))),
        ("/?data=q", FORM, "x=y", Ok(Payload::Query("q"))),
        ("/", FORM, "{}", Err(Code::MissingData)),
        ("/", JSON, "{}", Ok(Payload::Json(bytes("{}")))),
        ("/?data=q", JSON, "{}", Ok(Payload::Json(bytes("{}")))),
        ("/?data=q", LINES, "{}", Ok(Payload::Lines(bytes("{}")))),
        ("/?data=q", ("Content-Type", "image/gif"), "x", Err(Code::UnsupportedMediaType)),
    ] {
        let request = post(target, body, header);
        let call = Call::of(&request);
        let payload = call.payload().map_err(|reject| reject.code);
        assert_eq!(payload, expected, "{target} {header:?} {body}");
    }
    // The body of a GET means nothing (RFC 9110, section 9.3.1).
    let request = Request::new(Method::Get, "/?data=q").with_header(JSON.0, JSON.1);
    let request = request.with_body(b"{}".to_vec());
    let call = Call::of(&request);
    assert_eq!(call.payload(), Ok(Payload::Query("q")));
}

#[test]
fn keys() {
    let long = "k".repeat(65);
    let most = &long[1..];
    // How 64 bytes beyond ASCII come from a header.
    let beyond = "%C3%AB".repeat(32);
    for (target, form, header, expected) in [
        ("/".to_owned(), String::new(), "", Ok(None)),
        ("/".to_owned(), String::new(), "h", Ok(Some("h"))),
        ("/?idempotency_key=q".to_owned(), "idempotency_key=f".to_owned(), "h", Ok(Some("q"))),
        ("/?idempotency_key=".to_owned(), "idempotency_key=f".to_owned(), "h", Ok(Some("f"))),
        ("/?idempotency_key=".to_owned(), String::new(), "h", Ok(Some("h"))),
        ("/?idempotency_key=a+b%7E".to_owned(), String::new(), "", Ok(Some("a b~"))),
        (format!("/?idempotency_key={most}"), String::new(), "", Ok(Some(most))),
        (format!("/?idempotency_key={long}"), String::new(), "h", Err(Code::InvalidParameter)),
        ("/".to_owned(), format!("idempotency_key={long}"), "", Err(Code::InvalidParameter)),
        ("/".to_owned(), String::new(), &long, Err(Code::InvalidParameter)),
        ("/".to_owned(), String::new(), &beyond, Ok(Some(&beyond))),
        ("/".to_owned(), String::new(), &format!("{beyond}x"), Err(Code::InvalidParameter)),
        ("/".to_owned(), String::new(), &"%7E".repeat(22), Err(Code::InvalidParameter)),
        ("/?idempotency_key=q".to_owned(), String::new(), &long, Err(Code::InvalidParameter)),
        ("/?idempotency_key=a%0Ab".to_owned(), String::new(), "", Err(Code::InvalidParameter)),
        ("/?idempotency_key=z%C3%AB".to_owned(), String::new(), "", Err(Code::InvalidParameter)),
        ("/?idempotency_key=%FF".to_owned(), String::new(), "", Err(Code::InvalidParameter)),
    ] {
        let request = post(&target, &form, FORM).with_header("Idempotency-Key", header);
        let key = Call::of(&request).idempotency_key().map_err(|reject| reject.code);
        assert_eq!(key, expected.map(|key| key.map(str::to_owned)), "{target} {form} {header}");
    }
}

/// Unpacking costs far more than seeing that nobody has the token.
#[test]
fn a_body_is_unpacked_when_it_is_needed_and_not_before() {
    for (content_type, unpacked) in
        [("application/json", false), ("text/plain", false), ("image/gif", false), ("", true)]
    {
        let request = post("/?api_token=t&data=q", "[{}]", ("Content-Type", content_type));
        let call = Call::of(&request);
        let _ = (Manner::of(&call), call.parameter("api_token"), call.parameter("none"));
        assert_eq!(call.body.get().is_some(), unpacked, "{content_type}");
    }
    let request = post("/", "api_token=t", FORM);
    let call = Call::of(&request);
    assert_eq!(call.parameter("api_token").as_deref(), Some("t"));
}

#[test]
fn a_form_has_so_many_parameters() {
    for (count, taken) in [(1_000, true), (1_001, false), (500_000, false)] {
        let form = format!("data=x{}", "&%".repeat(count - 1));
        let request = post("/?api_token=t", &form, FORM);
        let call = Call::of(&request);
        assert_eq!(call.payload().is_ok(), taken, "{count}");
        assert_eq!(call.parameter("image"), None);
    }
}
