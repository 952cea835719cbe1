//! Export: everything of an account to the output, as [`crate::export`] writes it.

use std::io::{BufWriter, Write};

use super::{Context, Export, Exported, Failure, accounts};
use crate::export::{self, Wanted};
use crate::model::{Date, EventFilter};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

impl Export {
    pub(super) fn write(&self, context: &Context<'_>, out: &mut dyn Write) -> Result<(), Failure> {
        let account = accounts::named(context, self.account.as_deref())?.id;
        let what = match self.what {
            Exported::Events => Wanted::Events(EventFilter {
                account,
                kind: self.kind.clone(),
                user_id: self.user_id.clone(),
                from: self.from.map(Date::from_millis),
                to: self.to.map(Date::from_millis),
            }),
            Exported::Users => Wanted::Users(account, self.user_id.clone()),
        };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        // Whoever has enough of it closes the output.
        let written = export::write(context.store, &what, self.format, &|| false, &mut out);
        // What is there despite an error is of use.
        out.flush()?;
        Ok(written?)
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
