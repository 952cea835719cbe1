//! CSV (RFC 4180) that opens right in a spreadsheet.
//!
//! A byte order mark comes first, so that spreadsheets take it for UTF-8, then a line of names;
//! lines end in CRLF. Made for eyes and not for reading back: what a spreadsheet would take for
//! a formula gets an apostrophe in front, as OWASP's page on CSV injection advises, and control
//! characters, which some readers stop at, are shown by their pictures (U+2400 …). In JSON they are
//! escaped, so attributes are exact.

use std::borrow::Cow;
use std::io::Write;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Error, Exported, Sink, event_place, unwritten, user_place};
use crate::model::record::Event;
use crate::model::{Record, Seq, User};
use crate::schema::Zone;
use crate::view::{EMAIL, ShownIn, WithoutEmail};

const EVENT_COLUMNS: &[&str] =
    &["seq", "type", "user_id", "date", "received_at", "via", "attributes", "context"];

const USER_COLUMNS: &[&str] = &["id", "email", "created_at", "updated_at", "attributes"];

const BYTE_ORDER_MARK: &str = "\u{feff}";

pub(super) struct Csv<'o> {
    zone: Zone,
    table: csv::Writer<&'o mut dyn Write>,
}

impl<'o> Csv<'o> {
    pub fn new(what: Exported, zone: Zone, out: &'o mut dyn Write) -> Result<Csv<'o>, Error> {
        out.write_all(BYTE_ORDER_MARK.as_bytes())?;
        let mut builder = csv::WriterBuilder::new();
        let mut table = builder.terminator(csv::Terminator::CRLF).from_writer(out);
        table.write_record(match what {
            Exported::Events => EVENT_COLUMNS,
            Exported::Users => USER_COLUMNS,
        })?;
        Ok(Csv { zone, table })
    }

    fn row<const COLUMNS: usize>(&mut self, cells: [&str; COLUMNS]) -> Result<(), Error> {
        self.table.write_record(cells.map(harmless).iter().map(|cell| cell.as_bytes()))?;
        Ok(())
    }
}

impl From<csv::Error> for Error {
    fn from(error: csv::Error) -> Error {
        Error::Output(error.into())
    }
}

impl Sink for Csv<'_> {
    fn event(&mut self, seq: Seq, record: &Record<'_>, event: &Event<'_>) -> Result<(), Error> {
        // As in every format: what isn't JSON any more isn't what was stored.
        let json = |text| -> Result<&RawValue, Error> {
            serde_json::from_str(text).map_err(|error| unwritten(error, || event_place(seq)))
        };
        let attributes = json(event.attributes)?;
        let context = event.context.map(json).transpose()?;
        self.row([
            &seq.to_string(),
            event.kind,
            event.user_id.unwrap_or_default(),
            &ShownIn(event.date, self.zone).to_string(),
            &ShownIn(record.received_at, self.zone).to_string(),
            event.via.name(),
            attributes.get(),
            context.map_or("", RawValue::get),
        ])
    }

    fn user(&mut self, id: &str, user: &User) -> Result<(), Error> {
        let json = |error| unwritten(error, || user_place(id));
        let email = match user.attributes.get(EMAIL) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(email)) => Cow::Borrowed(email.as_str()),
            Some(other) => Cow::Owned(serde_json::to_string(other).map_err(json)?),
        };
        let attributes = serde_json::to_string(&WithoutEmail(&user.attributes)).map_err(json)?;
        let shown = |date| ShownIn(date, self.zone).to_string();
        let (created_at, updated_at) = (shown(user.created_at), shown(user.updated_at));
        self.row([id, &email, &created_at, &updated_at, &attributes])
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        self.table.flush()?;
        Ok(())
    }
}

/// The text as a cell that no spreadsheet runs and no reader stops at.
fn harmless(cell: &str) -> Cow<'_, str> {
    let (formula, control) = (may_be_formula(cell), cell.contains(is_shown_by_picture));
    if !formula && !control {
        return Cow::Borrowed(cell);
    }
    let apostrophe = formula.then_some('\'');
    Cow::Owned(apostrophe.into_iter().chain(cell.chars().map(picture)).collect())
}

/// Whether a spreadsheet could read it as a formula. What it might skip first doesn't count.
fn may_be_formula(cell: &str) -> bool {
    let skipped = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    // The forms of full width count in some places of the world.
    let first = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
    cell.starts_with(['\t', '\r', '\n']) || cell.trim_start_matches(skipped).starts_with(first)
}

/// Control characters but for tab and line breaks, which cells may hold.
fn is_shown_by_picture(c: char) -> bool {
    c < ' ' && !matches!(c, '\t' | '\r' | '\n')
}

fn picture(c: char) -> char {
    if is_shown_by_picture(c) { char::from_u32(0x2400 + u32::from(c)).unwrap_or(c) } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountId, Change, Date, Via, json};
    use proptest::prelude::*;

    #[test]
    fn cells() {
        for (cell, shown) in [
            ("", ""),
            ("plain", "plain"),
            ("a=b", "a=b"),
            ("'quoted'", "'quoted'"),
            ("=1+1", "'=1+1"),
            ("+49 30", "'+49 30"),
            ("-5", "'-5"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\ttab", "'\ttab"),
            ("\rreturn", "'\rreturn"),
            ("\nline", "'\nline"),
            ("  =1", "'  =1"),
            ("\0=1", "'\u{2400}=1"),
            ("\u{feff}=1", "'\u{feff}=1"),
            ("\u{a0}+1", "'\u{a0}+1"),
            ("＝1", "'＝1"),
            ("a\0b\u{1b}c\u{1f}", "a\u{2400}b\u{241b}c\u{241f}"),
            ("a\tb\r\nc", "a\tb\r\nc"),
            ("Zoë 😀", "Zoë 😀"),
        ] {
            assert_eq!(harmless(cell), shown, "{cell:?}");
        }
    }

    fn written(write: impl FnOnce(&mut Csv<'_>)) -> String {
        let mut out = Vec::new();
        let mut csv = Csv::new(Exported::Users, Zone::UTC, &mut out).unwrap();
        write(&mut csv);
        Box::new(csv).finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn users_to_the_byte() {
        let mut user = User::new(Date::from_millis(0));
        let text = r#"{"email":"a@b.c","z":1E5,"s":"a\"b\u0000","n":-1}"#;
        user.attributes = json::parse_object(text, 9).unwrap();
        let mut odd = User::new(Date::from_millis(1));
        odd.attributes = json::parse_object(r#"{"email":-5.0}"#, 9).unwrap();
        let lines = written(|csv| {
            csv.user("=u,1", &user).unwrap();
            csv.user("a\r\nb", &odd).unwrap();
        });
        assert_eq!(
            lines,
            "\u{feff}id,email,created_at,updated_at,attributes\r\n\
             \"'=u,1\",a@b.c,1970-01-01T00:00:00.000Z,1970-01-01T00:00:00.000Z,\
             \"{\"\"z\"\":1E5,\"\"s\"\":\"\"a\\\"\"b\\u0000\"\",\"\"n\"\":-1}\"\r\n\
             \"a\r\nb\",'-5.0,1970-01-01T00:00:00.001Z,1970-01-01T00:00:00.001Z,{}\r\n"
        );
    }

    #[test]
    fn damage_is_told() {
        let event = Event {
            account: AccountId(1),
            via: Via::Public,
            kind: "e",
            user_id: None,
            date: Date::from_millis(1),
            attributes: r#"{"a":"#,
            context: None,
        };
        let record =
            Record { received_at: Date::from_millis(0), change: Change::Event(event), keyed: None };
        let mut out = Vec::new();
        let mut csv = Csv::new(Exported::Events, Zone::UTC, &mut out).unwrap();
        let error = csv.event(7, &record, &event).expect_err("no JSON");
        assert!(matches!(error, Error::Store(_)) && error.to_string().contains("record 7"));
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_cell_it_is_read_back_as_one(
            cells in proptest::collection::vec(any::<[String; 5]>(), 1..5),
        ) {
            let lines = written(|csv| for row in &cells {
                csv.row(row.each_ref().map(String::as_str)).unwrap();
            });
            let text = lines.strip_prefix(BYTE_ORDER_MARK).unwrap();
            let read: Vec<_> = csv::Reader::from_reader(text.as_bytes())
                .into_records()
                .map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
                .collect();
            let shown: Vec<_> =
                cells.iter().map(|row| row.each_ref().map(|cell| harmless(cell).into_owned())).collect();
            prop_assert_eq!(read.len(), shown.len());
            for (read, shown) in read.iter().zip(&shown) {
                prop_assert_eq!(read, shown);
                prop_assert!(!read.iter().any(|cell| may_be_formula(cell)));
                prop_assert!(!read.iter().any(|cell| cell.contains(is_shown_by_picture)));
            }
        }
    }
}
