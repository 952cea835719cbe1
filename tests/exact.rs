//! What goes in comes out: random users and events, good and bad, from several clients at once. What
//! was acknowledged is exported byte for byte, in each client's order, and nothing else is there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use support::connection::Connection;
use support::random::Random;
use support::server::verb;
use support::{Server, base64, escape, merge};
use triggerly::model::json;

const CLIENTS: u64 = 4;
const CALLS: u64 = 500;

/// An event as an export shows it. Texts are raw, since a parsed number might be written otherwise.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Exported {
    r#type: String,
    user_id: Option<String>,
    via: String,
    #[serde(deserialize_with = "text")]
    attributes: String,
}

/// A user as an export shows it.
#[derive(serde::Deserialize)]
struct ExportedUser {
    id: String,
    email: Option<Box<RawValue>>,
    #[serde(deserialize_with = "text")]
    attributes: String,
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    <Box<RawValue> as serde::Deserialize>::deserialize(deserializer).map(|raw| raw.get().to_owned())
}

/// What one client was told is stored.
#[derive(Default)]
struct Kept {
    events: Vec<Exported>,
    users: BTreeMap<String, Map<String, Value>>,
}

#[test]
fn the_export_is_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut random = Random::new();
    let kept: Vec<Kept> = thread::scope(|scope| {
        let server = &server;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let random = random.split();
                // One after the other, so that none has to wait for the end of another.
                let mut connection = Connection::open(server.address).unwrap();
                connection.get("/healthz").unwrap().expect("an answer");
                let client = Client { server, random, connection, number, calls: 0 };
                scope.spawn(|| client.run())
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    compare(&server, &kept);
    compare(&server.again(), &kept);
}

fn compare(server: &Server, kept: &[Kept]) {
    let lines = |what| {
        let output = verb(&server.dir, &["export", what]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut events: BTreeMap<String, Vec<Exported>> = BTreeMap::new();
    for line in lines("events").lines() {
        let event: Exported = serde_json::from_str(line).unwrap();
        events.entry(event.r#type.clone()).or_default().push(event);
    }
    assert_eq!(events.len(), kept.len(), "no other types");
    for (shown, kept) in events.values().zip(kept) {
        assert_eq!(shown, &kept.events);
    }
    let shown: BTreeMap<_, _> = lines("users")
        .lines()
        .map(|line| serde_json::from_str::<ExportedUser>(line).unwrap())
        .map(|user| (user.id, (user.email.map(|email| email.get().to_owned()), user.attributes)))
        .collect();
    let users = kept.iter().flat_map(|kept| &kept.users);
    let users = users.map(|(id, attributes)| {
        let mut attributes = attributes.clone();
        let email = attributes.shift_remove("email").map(|email| email.to_string());
        (id.clone(), (email, json::to_text(&attributes)))
    });
    assert_eq!(shown, users.collect());
}

struct Client<'s> {
    server: &'s Server,
    random: Random,
    connection: Connection,
    number: u64,
    calls: u64,
}

impl Client<'_> {
    fn run(mut self) -> Kept {
        let mut kept = Kept::default();
        while self.calls < CALLS {
            self.calls += 1;
            match self.random.within(0..5) {
                0 => self.refused(),
                1 | 2 => self.user(&mut kept),
                _ => self.event(&mut kept),
            }
        }
        kept
    }

    fn event(&mut self, kept: &mut Kept) {
        let r#type = format!("client {} ✓", self.number);
        let user_id = self.random.pick(&[None, Some("7"), Some("\"zo\\u00eb\""), Some("null")]);
        let date = self.random.pick(&["", r#","date":"2001-07-04""#, r#","date":null"#]);
        let (sent, attributes) = self.members(4);
        let user = user_id.map_or_else(String::new, |id| format!(r#","user_id":{id}"#));
        let via = self.call("events", &format!(r#"{{"type":"{type}"{user}{date}{sent}}}"#), Ok(()));
        let user_id = match user_id {
            Some("7") => Some("7".to_owned()),
            Some("null") | None => None,
            Some(_) => Some("zoë".to_owned()),
        };
        let attributes = format!("{{{}}}", attributes.trim_start_matches(','));
        kept.events.push(Exported { r#type, user_id, via: via.to_owned(), attributes });
    }

    fn user(&mut self, kept: &mut Kept) {
        // Ids are of this client alone, since only of one's own calls does one know the order.
        let id = format!("{} of {}", self.random.within(0..10), self.number);
        let (sent, patch) = self.members(4);
        self.call("users", &format!(r#"{{"id":"{id}"{sent}}}"#), Ok(()));
        let patch = format!("{{{}}}", patch.trim_start_matches(','));
        let patch = json::parse_object(&patch, 32).unwrap();
        merge(kept.users.entry(id).or_default(), &patch);
    }

    fn refused(&mut self) {
        let (kind, object, code) = self.random.pick(&[
            ("events", "", "missing_data"),
            ("events", "not JSON", "invalid_json"),
            ("events", r#"{"type":"bad","#, "invalid_json"),
            ("events", r#"{"type":"bad"} {}"#, "invalid_json"),
            ("events", r#"{"type":"bad","n":01}"#, "invalid_json"),
            ("events", r#"["bad"]"#, "not_an_object"),
            ("events", r#"{"n":1}"#, "missing_type"),
            ("events", r#"{"type":5}"#, "invalid_type"),
            ("events", r#"{"type":""}"#, "invalid_type"),
            ("events", r#"{"type":"bad","user_id":true}"#, "invalid_user_id"),
            ("events", r#"{"type":"bad","date":"soon"}"#, "invalid_date"),
            ("users", r#"{"plan":"pro"}"#, "missing_id"),
            ("users", r#"{"id":1.5}"#, "invalid_id"),
        ]);
        self.call(kind, object, Err(code));
    }

    /// Sends it with either credential, and returns how it came.
    fn call(&mut self, kind: &str, object: &str, expected: Result<(), &str>) -> &'static str {
        let server = self.server;
        let (token, via) =
            self.random.pick(&[(&server.api_token, "public"), (&server.secret_key, "secret")]);
        let data = escape(&base64(object));
        let target = format!("/v1/{kind}/track?api_token={token}&data={data}");
        let reply = self.connection.get(&target).unwrap().expect("an answer");
        match expected {
            Ok(()) => assert_eq!(reply.status, 200, "{object}: {reply:?}"),
            Err(code) => assert_eq!((reply.status, &*reply.code()), (400, code), "{object}"),
        }
        via
    }

    /// Members of an object, a comma in front of each: as they are sent, and as they are kept.
    fn members(&mut self, depth: u32) -> (String, String) {
        let (mut sent, mut kept) = (String::new(), String::new());
        let mut names = vec!["a", "b", "email", "Zoë", "", "a\nb", "$serde_json::private::Number"];
        for _ in 0..self.random.within(0..5) {
            let name = names.swap_remove(self.random.within(0..names.len() as u64) as usize);
            for text in [&mut sent, &mut kept] {
                write!(text, ",{}:", serde_json::to_string(name).unwrap()).unwrap();
            }
            self.value(depth, &mut sent, &mut kept);
        }
        (sent, kept)
    }

    fn value(&mut self, depth: u32, sent: &mut String, kept: &mut String) {
        *sent += self.random.pick(&["", "", " ", "\n\t"]);
        match self.random.within(0..if depth == 0 { 3 } else { 5 }) {
            0 => {
                let word = self.random.pick(&["null", "true", "false"]);
                *sent += word;
                *kept += word;
            }
            1 => {
                let number = self.random.pick(&[
                    "0",
                    "-0",
                    "1.0",
                    "1.10",
                    "1E5",
                    "1e+05",
                    "-2.5e-300",
                    "1e999",
                    "1234567890123456789012345678901234567890",
                    "0.1000000000000000055511151231",
                ]);
                *sent += number;
                *kept += number;
            }
            2 => self.string(sent, kept),
            3 => {
                *sent += "[";
                *kept += "[";
                for at in 0..self.random.within(0..4) {
                    let comma = if at > 0 { "," } else { "" };
                    *sent += comma;
                    *kept += comma;
                    self.value(depth - 1, sent, kept);
                }
                *sent += " ]";
                *kept += "]";
            }
            _ => {
                let (inner_sent, inner_kept) = self.members(depth - 1);
                *sent += &format!("{{{} }}", inner_sent.trim_start_matches(','));
                *kept += &format!("{{{}}}", inner_kept.trim_start_matches(','));
            }
        }
    }

    /// Text of which any character may be sent as an escape, and is kept as itself.
    fn string(&mut self, sent: &mut String, kept: &mut String) {
        let mut text = String::new();
        sent.push('"');
        for _ in 0..self.random.within(0..12) {
            let c = self
                .random
                .pick(&['a', ' ', '"', '\\', '/', '\n', '\0', '+', '=', 'ë', '\u{2028}', '😀']);
            text.push(c);
            if self.random.one_in(3) || c < ' ' || c == '"' || c == '\\' {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(sent, "\\u{unit:04X}").unwrap();
                }
            } else {
                sent.push(c);
            }
        }
        sent.push('"');
        *kept += &serde_json::to_string(&text).unwrap();
    }
}
