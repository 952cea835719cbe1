//! What any tracking call has to keep to.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::{CONTROLS, percent_encode};

use super::{Call, Manner, preflight, site};
use crate::context::Headers;
use crate::http::{Method, Request, Response};
use crate::ingest::{self, Batch, Kind, Lines, Payload, Reject, Submission};
use crate::model::limits::BATCH_OBJECTS_MAX;
use crate::model::record::{Event, UserPatch};
use crate::model::{AccountId, Change, Date, Record, Via};
use crate::store;
use crate::view::EventView;

const NOW: Date = Date::from_millis(1_700_000_000_123);
const ACCOUNT: AccountId = AccountId(7);

/// Bytes of a sentence that says why a call is refused: it quotes little.
const DETAIL_BYTES_MAX: usize = 1_000;

/// A header that asks for the body to be packed, which no change of its bytes would come to.
const PACK: &str = "pack";

/// Takes a call that is written as HTTP is, but that its lines end in LF and nothing needs to be there: it
/// is refused with a sentence, or what it brought can be stored and comes back as it was.
pub(crate) fn tracking(bytes: &[u8]) {
    let (request, kind) = request(bytes);
    ingest::fuzzing::text(request.body());
    ingest::fuzzing::list(request.body());
    let call = Call::of(&request);
    let manner = Manner::of(&call);
    answered(&preflight::answer(&request, &manner));
    let reject = |reject: Reject| {
        assert!(reject.detail.len() <= DETAIL_BYTES_MAX, "{reject}");
        answered(&manner.refused(&reject));
    };
    let headers = Headers::read(|name| request.header(name));
    let own = Some(|host: &str| host == "a.example");
    if let Err(refused) = site::check(&headers, manner.image, own) {
        reject(refused);
    }
    if let Err(refused) = call.idempotency_key() {
        reject(refused);
    }
    match call.payload().and_then(|payload| batch(kind, payload)) {
        Ok(batch) => {
            assert!((1..=BATCH_OBJECTS_MAX).contains(&batch.len()));
            answered(&manner.accepted(batch.is_numbered().then_some(batch.len() as u64)));
            batch.drafts().iter().for_each(stored);
        }
        Err(refused) => reject(refused),
    }
    let lines =
        Lines { kind, account: ACCOUNT, received_at: NOW, first_line: 1, text: request.body() };
    let checked = lines.check(Vec::new());
    for draft in checked.drafts() {
        let _ = store::fuzzing::stored(draft);
    }
    checked.refused().iter().for_each(|(_, refused)| reject(refused.clone()));
}

/// A request, which a head that passed has nothing but ASCII of.
fn request(bytes: &[u8]) -> (Request, Kind) {
    let blank = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = blank.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut ascii = || Some(percent_encode(lines.next()?, CONTROLS).to_string());
    let line = ascii().unwrap_or_default();
    let (method, target) = line.split_once(' ').unwrap_or_default();
    let method = match method {
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        _ => Method::Get,
    };
    let mut request = Request::new(method, target);
    while let Some(line) = ascii() {
        if let Some((name, value)) = line.split_once(':') {
            request = request.with_header(name, value.trim_ascii());
        }
    }
    let mut body = body.to_vec();
    if request.header(PACK).is_some() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&body).expect("memory takes it");
        body = packed.finish().expect("memory takes it");
        request = request.with_header("Content-Encoding", "gzip");
    }
    let kind = if request.path().contains("users") { Kind::User } else { Kind::Event };
    (request.with_body(body), kind)
}

fn batch(kind: Kind, payload: Payload<'_>) -> Result<Batch, Reject> {
    let submission = Submission {
        kind,
        account: ACCOUNT,
        via: Via::Public,
        received_at: NOW,
        payload,
        idempotency_key: None,
        context: Some(r#"{"browser":"Firefox"}"#.to_owned()),
    };
    submission.decode()?.validate()
}

/// Nothing that a client sent ends a line of an answer's head.
fn answered(response: &Response) {
    let bytes =
        response.to_bytes(crate::http::Framing { head: false, connection: None, chunks: true });
    let head = bytes.len() - response.body().len();
    let head = std::str::from_utf8(&bytes[..head]).expect("a head is text");
    let lines = head.strip_suffix("\r\n\r\n").expect("a head ends in an empty line").split("\r\n");
    for line in lines {
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
    }
    if response.header("content-type").is_some_and(|media| media.contains("json")) {
        serde_json::from_slice::<serde_json::Value>(response.body()).expect("JSON");
    }
}

/// What can be stored is what is exported, and what is exported is imported as it was.
fn stored(draft: &store::Draft) {
    let record = store::fuzzing::stored(draft);
    match record.change {
        Change::Event(event) => exported(&record, event),
        Change::User(UserPatch { account, id, patch, .. }) => {
            let object = format!(r#"{{"id":{},{}"#, serde_json::json!(id), &patch[1..]);
            let object = object.replace(",}", "}");
            let again = Payload::Json(object.as_bytes());
            // With its id in front of all else it may be a few bytes longer than it was, or have an id twice.
            if let Ok(again) = batch(Kind::User, again) {
                let Change::User(again) = store::fuzzing::stored(&again.drafts()[0]).change else {
                    panic!("an update of a user stays one");
                };
                assert_eq!((again.account, again.id), (account, id));
            }
        }
        other => panic!("{other:?} is no tracking call's"),
    }
}

fn exported(record: &Record<'_>, event: Event<'_>) {
    let view = EventView::new(1, record, &event).with_via(&event);
    let text = serde_json::to_string(&view).expect("it can be shown") + "\n";
    let lines = Lines {
        kind: Kind::Event,
        account: ACCOUNT,
        received_at: Date::from_millis(0),
        first_line: 1,
        text: text.as_bytes(),
    };
    let checked = lines.check(Vec::new());
    assert!(checked.refused().is_empty(), "{text}: {:?}", checked.refused());
    let again = store::fuzzing::stored(&checked.drafts()[0]);
    let expected = Change::Event(Event { via: Via::Import, ..event });
    assert_eq!((again.change, again.received_at), (expected, record.received_at));
}
