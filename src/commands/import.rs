//! Import: lines that the caller sends, checked as calls are and stored by the group commit.
//!
//! ```text
//! caller ──chunks──> reading ──> parsing (some threads, in turn) ──> here ──> committer
//! caller <──answers────────────────────────────────────────────────── here <─────┘
//! ```
//! A chunk is one submission, and the last record of it says how far the import has come: what is
//! stored and what is known to be stored can't part. So that a chunk is never stored without those
//! before it, the next one is submitted only when nothing but a failure of the whole store can
//! still refuse the last one: of events when it waits for the committer, of users when it is stored.

mod dialogue;
mod turns;

pub use dialogue::{Answer, Chunk, ChunkBounds, Greeting, Known, Refused, chunk_bounds};
pub use turns::Imports;

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::{Context, Exported, Failure, Import, Input, accounts};
use crate::clock;
use crate::ingest::{CheckedLines, Kind, LINE_BYTES_MAX, Lines, Reject};
use crate::model::limits::USER_BYTES_MAX;
use crate::model::record::Progress;
use crate::model::{AccountId, Date};
use crate::store::{
    GROUP_BYTES_MAX, GROUP_USERS_MAX, HOT_BYTES_MAX, Outcome, QUEUE_BYTES_MAX, Receipt, Refusal,
};

/// Threads that parse, at the most.
const PARSERS_MAX: usize = 4;

/// Chunks of events that may wait for the committer or the disk.
const SUBMITTED_MAX: usize = 4;

/// How long a chunk waits for the hot end to be sealed. It goes on then: it may be that it can't be.
const SEALING_MAX: Duration = Duration::from_secs(30);

/// Before a chunk is submitted again that found too many others waiting.
const RETRY: Duration = Duration::from_millis(20);

const _: () = {
    let events = chunk_bounds(Exported::Events);
    let users = chunk_bounds(Exported::Users);
    // A chunk of users writes no more between two flushes than a group of single calls may.
    assert!(users.lines as usize <= GROUP_USERS_MAX);
    assert!(users.bytes + LINE_BYTES_MAX <= 3 * GROUP_BYTES_MAX);
    // Nor does one of events, beside them, by much: bytes of the log, and no user.
    assert!(events.bytes + LINE_BYTES_MAX < GROUP_USERS_MAX * USER_BYTES_MAX);
    // Any chunk finds room in an empty queue.
    assert!(SUBMITTED_MAX * (events.bytes + LINE_BYTES_MAX) < QUEUE_BYTES_MAX);
    assert!(users.bytes + LINE_BYTES_MAX < QUEUE_BYTES_MAX);
};

impl Import {
    pub(super) fn take_in(
        &self,
        context: &Context<'_>,
        input: Input<'_>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let account = accounts::named(context, self.account.as_deref())?.id;
        let users = self.what == Exported::Users;
        let turn = context.imports.turn(account, self.what)?;
        let known = context.store.imports(account, users)?;
        let known = known.iter().map(|known| Known { lines: known.lines, digest: known.digest });
        say(&Greeting { known: known.collect() }, out)?;
        let number = getrandom::u64().map_err(accounts::no_randomness)?;
        let kind = if users { Kind::User } else { Kind::Event };
        let taking = Taking { context, kind, account, users, number };
        let parsers = thread::available_parallelism().map_or(1, usize::from).min(PARSERS_MAX);
        let Input { mut bytes, hang_up } = input;
        let what = self.what;
        let done = thread::scope(|scope| -> Result<(), Failure> {
            let (to_parse, parsed) = (0..parsers)
                .map(|_| {
                    let (to_parse, chunks) = bounded(1);
                    let (tell, parsed) = bounded(1);
                    let parse = move || taking.parse_all(&chunks, &tell);
                    thread::Builder::new().name("import".into()).spawn_scoped(scope, parse)?;
                    Ok((to_parse, parsed))
                })
                .collect::<io::Result<(Vec<_>, Vec<_>)>>()
                .map_err(no_thread)?;
            let reading = thread::Builder::new()
                .name("import".into())
                .spawn_scoped(scope, move || read_all(&mut *bytes, what, &to_parse))
                .map_err(no_thread)?;
            let stored = taking.store_all(parsed, out);
            if stored.is_err() {
                // Whoever reads would wait for more otherwise, and so would the caller.
                hang_up();
            }
            let read =
                reading.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            stored?;
            read.map_err(|error| Failure::Refused(format!("the input broke off: {error}")))
        });
        drop(turn);
        done
    }
}

fn say(sentence: &impl serde::Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(sentence).map_err(io::Error::from)?;
    line.push(b'\n');
    out.write_all(&line)?;
    Ok(out.flush()?)
}

fn no_thread(error: io::Error) -> Failure {
    Failure::Refused(format!("can't start a thread: {error}; are there too many processes?"))
}

/// Hands chunks to the parsing threads in turn, until the last or until these end.
fn read_all(from: &mut dyn BufRead, what: Exported, parsers: &[Sender<Chunk>]) -> io::Result<()> {
    for parser in parsers.iter().cycle() {
        let Some(chunk) = Chunk::read_from(from, chunk_bounds(what))? else { break };
        if parser.send(chunk).is_err() {
            break;
        }
    }
    Ok(())
}

/// What is the same for all chunks.
#[derive(Clone, Copy)]
struct Taking<'a> {
    context: &'a Context<'a>,
    kind: Kind,
    account: AccountId,
    users: bool,
    number: u64,
}

struct Parsed {
    chunk: Chunk,
    received_at: Date,
    lines: CheckedLines,
}

/// A chunk that is on its way to the disk.
struct Submitted {
    parsed: Parsed,
    stored: u64,
    told: Receiver<Outcome>,
}

impl Taking<'_> {
    fn parse_all(&self, chunks: &Receiver<Chunk>, parsed: &Sender<Parsed>) {
        for chunk in chunks {
            let received_at = clock::now();
            let lines = self.lines(&chunk, received_at).check(Vec::new());
            if parsed.send(Parsed { chunk, received_at, lines }).is_err() {
                return;
            }
        }
    }

    fn lines<'c>(&self, chunk: &'c Chunk, received_at: Date) -> Lines<'c> {
        Lines {
            kind: self.kind,
            account: self.account,
            received_at,
            first_line: chunk.first_line,
            text: &chunk.text,
        }
    }

    /// Submits what was parsed, in order, and answers what is stored. Returns when nothing is under
    /// way any more.
    fn store_all(&self, parsed: Vec<Receiver<Parsed>>, out: &mut dyn Write) -> Result<(), Failure> {
        let mut submitted = VecDeque::new();
        let stored = self.store_in_order(&parsed, &mut submitted, out);
        for Submitted { told, .. } in submitted {
            // Each is told once; that nothing comes of it any more is what matters.
            let _ = told.recv();
        }
        stored
    }

    fn store_in_order(
        &self,
        parsed: &[Receiver<Parsed>],
        submitted: &mut VecDeque<Submitted>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let submitted_max = if self.users { 1 } else { SUBMITTED_MAX };
        let (nothing, no_outcome) = (never(), never());
        let mut parsers = parsed.iter().cycle();
        let mut next = parsers.next();
        loop {
            let told = submitted.front().map(|first: &Submitted| &first.told);
            if told.is_none() && next.is_none() {
                return Ok(());
            }
            let has_room = submitted.len() < submitted_max;
            select! {
                recv(next.filter(|_| has_room).unwrap_or(&nothing)) -> chunk => match chunk {
                    Ok(chunk) => {
                        submitted.push_back(self.submit(chunk));
                        next = parsers.next();
                    }
                    // The one whose turn it is has ended: so have all.
                    Err(_) => next = None,
                },
                recv(told.unwrap_or(&no_outcome)) -> outcome => {
                    let Some(first) = submitted.pop_front() else { continue };
                    match outcome.unwrap_or(Err(Refusal::ShuttingDown)) {
                        Ok(_) => answer(first, out)?,
                        // Only one chunk of users is under way at a time.
                        Err(Refusal::User { index, limit }) => {
                            submitted.push_front(self.without(first.parsed, index, limit.into()));
                        }
                        Err(refusal) => return Err(refusal.into()),
                    }
                }
            }
        }
    }

    /// Submits a chunk until it is one of those that wait for the committer.
    fn submit(&self, mut parsed: Parsed) -> Submitted {
        loop {
            let stored = parsed.lines.stored() as u64;
            if stored == 0 && parsed.chunk.open {
                return Submitted { parsed, stored, told: settled(Ok(NOTHING)) };
            }
            let progress = Progress {
                import: self.number,
                users: self.users,
                lines: parsed.chunk.last_line(),
                digest: parsed.chunk.digest,
            };
            self.let_hot_end_come_down();
            let told = parsed.lines.submit(self.context.writer, progress);
            // Who finds no room is told at once.
            match told.try_recv() {
                Ok(Err(Refusal::Overloaded)) => {
                    thread::sleep(RETRY);
                    let refused = parsed.lines.into_refused();
                    parsed.lines = self.lines(&parsed.chunk, parsed.received_at).check(refused);
                }
                Ok(outcome) => return Submitted { parsed, stored, told: settled(outcome) },
                Err(_) => return Submitted { parsed, stored, told },
            }
        }
    }

    /// Lines come faster than they are sealed, and what isn't sealed takes memory and room.
    fn let_hot_end_come_down(&self) {
        let (store, began) = (self.context.store, Instant::now());
        while store.hot_bytes() >= HOT_BYTES_MAX
            && store.failure().is_none()
            && began.elapsed() < SEALING_MAX
        {
            thread::sleep(RETRY);
        }
    }

    /// Submits a chunk again without the line of a draft.
    fn without(&self, parsed: Parsed, draft: usize, reject: Reject) -> Submitted {
        let Parsed { chunk, received_at, lines } = parsed;
        let refused = lines.without(draft, reject);
        let lines = self.lines(&chunk, received_at).check(refused);
        self.submit(Parsed { chunk, received_at, lines })
    }
}

/// What became of a chunk of which nothing is to be stored.
const NOTHING: Receipt = Receipt { first_seq: 0, count: 0 };

fn settled(outcome: Outcome) -> Receiver<Outcome> {
    let (tell, told) = bounded(1);
    // There is room for one, and the other end is here.
    let _ = tell.send(outcome);
    told
}

fn answer(submitted: Submitted, out: &mut dyn Write) -> Result<(), Failure> {
    let Submitted { parsed: Parsed { chunk, lines, .. }, stored, .. } = submitted;
    let refused = lines.refused().iter().map(|(line, reject)| Refused {
        line: *line,
        code: reject.code.name().to_owned(),
        detail: reject.detail.clone(),
    });
    say(&Answer { lines: chunk.last_line(), stored, refused: refused.collect() }, out)
}
