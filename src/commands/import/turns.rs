//! One import at a time into the users or the events of an account.
//!
//! Two of the same file beside each other could not know what the other one stores. And one whose
//! caller was killed may still have lines on their way to the disk when the next one asks how far it
//! came.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::commands::{Exported, Failure};
use crate::model::AccountId;

/// How long to wait for an import that is under way. What a dead caller left is stored long before.
const PATIENCE: Duration = Duration::from_secs(10);

type Into = (AccountId, bool);

/// The imports that are under way.
#[derive(Debug, Default)]
pub struct Imports {
    into: Mutex<HashSet<Into>>,
    ended: Condvar,
}

/// The right to import, until it is dropped.
pub(super) struct Turn<'a> {
    imports: &'a Imports,
    into: Into,
}

impl Imports {
    /// Waits until nobody else imports the same into the same account.
    pub(super) fn turn(&self, account: AccountId, what: Exported) -> Result<Turn<'_>, Failure> {
        let into = (account, what == Exported::Users);
        let taken = self.into.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, waited) = self
            .ended
            .wait_timeout_while(taken, PATIENCE, |taken| taken.contains(&into))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Failure::Refused(
                "another import of the same kind into this account is under way; \
                 wait for it to end"
                    .to_owned(),
            ));
        }
        taken.insert(into);
        Ok(Turn { imports: self, into })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.imports.into.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.into);
        self.imports.ended.notify_all();
    }
}
