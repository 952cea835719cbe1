//! Parquet: for programs, typed and compressed. Events have the columns that segments have, so that
//! whoever reads those reads these; of users, too, all that JSON lines say.
//!
//! What is written comes in whole row groups, so that one of them is in memory. An e-mail address that
//! is no text has no place in the column `email`, and stays among the attributes.

use std::io::Write;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Error, Exported, Sink, event_place, unwritten, user_place};
use crate::model::record::Event;
use crate::model::{AccountId, Record, Seq, User, json};
use crate::store::segment::{SegmentError, SegmentWriter, UsersWriter};
use crate::view::{EMAIL, WithoutEmail};

pub(super) enum Parquet<'o> {
    Events(Box<SegmentWriter<&'o mut dyn Write>>),
    Users(Box<UsersWriter<&'o mut dyn Write>>),
}

impl<'o> Parquet<'o> {
    /// `name` is the account's.
    pub fn new(
        what: Exported,
        account: AccountId,
        name: &str,
        out: &'o mut dyn Write,
    ) -> Result<Parquet<'o>, Error> {
        Ok(match what {
            Exported::Events => Parquet::Events(Box::new(SegmentWriter::new(out, account, name)?)),
            Exported::Users => Parquet::Users(Box::new(UsersWriter::new(out)?)),
        })
    }
}

impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Error {
        Error::Output(match error {
            SegmentError::Io { source, .. } => source,
            other => std::io::Error::other(other),
        })
    }
}

/// A sink is told either events or users, as it was made for.
const WRONG_KIND: &str = "an export holds either events or users";

impl Sink for Parquet<'_> {
    fn event(&mut self, seq: Seq, record: &Record<'_>, event: &Event<'_>) -> Result<(), Error> {
        let Parquet::Events(writer) = self else { unreachable!("{WRONG_KIND}") };
        // As in every format: what isn't JSON any more isn't what was stored.
        for text in [Some(event.attributes), event.context].into_iter().flatten() {
            let _: &RawValue = serde_json::from_str(text)
                .map_err(|error| unwritten(error, || event_place(seq)))?;
        }
        writer.put(seq, record)?;
        Ok(())
    }

    fn user(&mut self, id: &str, user: &User) -> Result<(), Error> {
        let Parquet::Users(writer) = self else { unreachable!("{WRONG_KIND}") };
        let (email, attributes) = match user.attributes.get(EMAIL) {
            Some(Value::String(email)) => {
                let text = serde_json::to_string(&WithoutEmail(&user.attributes))
                    .map_err(|error| unwritten(error, || user_place(id)))?;
                (Some(email.as_str()), text)
            }
            _ => (None, json::to_text(&user.attributes)),
        };
        writer.put(id, email, &attributes, user.created_at, user.updated_at)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        match *self {
            Parquet::Events(writer) => writer.finish().map(drop)?,
            Parquet::Users(writer) => writer.finish().map(drop)?,
        }
        Ok(())
    }
}
