//! Export: everything of an account to the output, as [`crate::export`] writes it.

use std::io::{BufWriter, Write};

use super::{Context, Export, Failure, Note, accounts};
use crate::export::{self, Wanted};
use crate::model::Date;
use crate::query::Filter;
use crate::schema::{Clause, UnknownZone, Zone};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

impl Export {
    pub(super) fn write(
        &self,
        context: &Context<'_>,
        out: &mut dyn Write,
    ) -> Result<Note, Failure> {
        let account = accounts::named(context, self.account.as_deref())?.id;
        let refused = |why: &dyn std::fmt::Display| Failure::Refused(why.to_string());
        let zone = match &self.tz {
            None => Zone::UTC,
            Some(name) => name.parse().map_err(|error: UnknownZone| refused(&error))?,
        };
        let clauses = self.clauses.iter().map(|text| Clause::parse(text, &zone));
        let filter = Filter {
            account,
            kind: self.kind.clone(),
            user_id: self.user_id.clone(),
            from: self.from.map(Date::from_millis),
            to: self.to.map(Date::from_millis),
            clauses: clauses.collect::<Result<_, _>>().map_err(|error| refused(&error))?,
            bots: !self.without_bots,
        };
        let wanted = Wanted { what: self.what, filter, zone, raw: self.raw };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        // Whoever has enough of it closes the output.
        let written = export::write(context.store, &wanted, self.format, &|| false, &mut out);
        // What is there despite an error is of use.
        out.flush()?;
        Ok(match written? {
            0 => None,
            1 => Some(
                "1 value doesn't convert to the type that is set, and is as it was sent".into(),
            ),
            n => Some(format!(
                "{n} values don't convert to the type that is set, and are as they were sent"
            )),
        })
    }
}

impl From<export::Error> for Failure {
    fn from(error: export::Error) -> Failure {
        match error {
            export::Error::Store(error) => Failure::Store(error),
            export::Error::Output(error) => Failure::Output(error),
            other => Failure::Refused(other.to_string()),
        }
    }
}
