//! Erasing: `DELETE /v1/users/{id}` and `DELETE /v1/events`. For the holder of a `secret_key` only.
//!
//! It can't be taken back, so a call that could mean something else than it says is refused rather
//! than understood: see [`Params::only`]. Counting walks through the log and is a job; the answer
//! comes when the erasure is on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde::Serialize;

use super::read::Question;
use super::{Api, Reply, answer};
use crate::asking::{Params, unreadable};
use crate::clock;
use crate::erasing::{Count, Target};
use crate::http::{Request, Response};
use crate::ingest::{Code, Reject};
use crate::jobs::Weight;
use crate::model::{AccountId, Id};
use crate::refused::Refused;
use crate::store::{Done, Store, Writer};
use crate::view::is_zero;

/// How an erasure is answered.
#[derive(Serialize)]
struct Erased {
    status: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<u64>,
    events: u64,
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
}

/// A call that was checked.
struct Order {
    target: Target,
    dry_run: bool,
}

impl Api {
    /// Checks who calls and what for, and has it done by a job.
    pub(super) fn erase(&self, question: &Question, request: &Request, answer: Reply) {
        let checked = self.reader(request).and_then(|principal| {
            Ok((Order::of(question, request, principal.account)?, self.desk.room(Weight::Heavy)?))
        });
        match checked {
            Err(reject) => answer.send(&answer::problem(&reject)),
            Ok((order, room)) => {
                let (store, writer) = (Arc::clone(&self.store), Arc::clone(&self.writer));
                let stopping = Arc::clone(&self.desk.stopping);
                let records = Arc::clone(&self.records);
                room.put(move || match order.forget_refused(&records.refused) {
                    Ok(()) => order.carry_out(&store, &writer, &stopping, answer),
                    Err(reject) => answer.send(&answer::problem(&reject)),
                });
            }
        }
    }
}

impl Order {
    fn of(question: &Question, request: &Request, account: AccountId) -> Result<Order, Reject> {
        let params = Params::of(request.query());
        let target = match question {
            Question::User(id) => {
                params.only(&["dry_run"])?;
                let id = Id::new(id).map_err(|_| nobody(id))?;
                Target::User { account, id }
            }
            _ => {
                params.only(&["type", "user_id", "from", "to", "dry_run"])?;
                let filter = params.filter(account)?;
                if filter.is_of_all() {
                    return Err(Reject::new(
                        Code::InvalidParameter,
                        "say which events: give at least one of `type`, `user_id`, `from` and `to`; \
                         with `dry_run=1` they are only counted",
                    ));
                }
                Target::Events(filter)
            }
        };
        Ok(Order { target, dry_run: params.dry_run()? })
    }

    /// Forgets the account's refused calls: they may quote what is to be gone, if it was never taken too.
    fn forget_refused(&self, refused: &Refused) -> Result<(), Reject> {
        if self.dry_run {
            return Ok(());
        }
        refused.forget(self.target.account()).map_err(|error| {
            log::error!("refused calls can't be forgotten: {error}");
            Reject::new(
                Code::StorageFailed,
                "the server can't take files away; its owner has to look into its log",
            )
        })
    }

    /// Counts, erases if there is anything to, and answers.
    fn carry_out(self, store: &Store, writer: &Writer, stopping: &AtomicBool, answer: Reply) {
        let Order { target, dry_run } = self;
        let seq = store.last_seq();
        let reject = match target.count(store, &|| !stopping.load(SeqCst)) {
            Err(error) => unreadable(&error),
            Ok(None) => Reject::new(
                Code::ShuttingDown,
                "the server is stopping, nothing was erased; ask again soon",
            ),
            Ok(Some(count)) => match &target {
                Target::User { id, .. } if count.is_nothing() => nobody(id.as_str()),
                _ => {
                    let found = found(&target, count, dry_run);
                    if dry_run || count.is_nothing() {
                        return answer.send(&answer::as_of(found, seq));
                    }
                    let done = Done::new(move |outcome| {
                        answer.send(&match outcome {
                            Ok(receipt) => answer::as_of(found, receipt.last_seq()),
                            Err(refusal) => answer::problem(&Reject::from(refusal)),
                        });
                    });
                    return writer.submit(vec![target.draft(clock::now())], done);
                }
            },
        };
        answer.send(&answer::problem(&reject));
    }
}

fn found(target: &Target, count: Count, dry_run: bool) -> Response {
    let users = matches!(target, Target::User { .. }).then_some(count.users);
    answer::found(&Erased {
        status: "ok",
        dry_run,
        users,
        events: count.events,
        missing: count.missing,
    })
}

fn nobody(id: &str) -> Reject {
    Reject::new(Code::NotFound, format!("there is neither a user nor an event with the id {id:?}"))
}
