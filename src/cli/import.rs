//! `import`: lines of a file, or rows of a table as such, into the store.
//!
//! ```text
//! file ──source──> chunks ──feed──> the store's side (`commands::Import`)
//!                    └──in flight──> hear <──answers──┘ ──> FILE.rejected, progress
//! ```
//! This side reads and hashes; whoever holds the store parses and stores. An input is known again by
//! the digest of its beginning, so that what was stored of it is gone past.

mod bar;
mod chunks;
mod rejected;
mod rows;
mod source;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use argh::FromArgs;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::export::exported;
use super::{Exit, Reached, STREAM, call_failed, data_dir, reach};
use crate::commands::{self, Answer, Chunk, Command, Exported, Greeting, chunk_bounds};
use crate::control::{self, Call, CallError};
use crate::keeper::Keeper;
use bar::Bar;
use chunks::Chunks;
use rejected::Rejected;
use rows::Rows;
use source::{Input, Source};

/// Chunks that may be sent before the first of them is answered.
const AHEAD_MAX: usize = 8;

/// Takes in what export wrote, or one JSON object a line as a call would send it. Cut short and run
/// again, or run twice, it stores nothing twice.
#[derive(FromArgs)]
#[argh(subcommand, name = "import")]
#[argh(
    note = "A line that is refused goes to FILE.rejected with its number and the reason; the rest goes in."
)]
pub(super) struct Import {
    /// events or users
    #[argh(positional, from_str_fn(exported))]
    what: Exported,

    /// a file of JSON lines or in Parquet; - or nothing for standard input
    #[argh(positional)]
    file: Option<PathBuf>,

    /// whose they are to be (may be left out where there is only one account)
    #[argh(option)]
    account: Option<String>,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Import {
    pub(super) fn run(self) -> Result<(), Exit> {
        let Import { what, file, account, data } = self;
        let file = file.filter(|file| file.as_os_str() != STREAM);
        let name =
            file.as_deref().map_or("standard input".into(), |file| file.display().to_string());
        let unreadable = |error: io::Error| Exit::Failed(format!("can't read {name}: {error}"));
        let mut source: Box<dyn Source> = match Input::open(file.as_deref()).map_err(unreadable)? {
            Input::Lines(lines) => Box::new(lines),
            Input::Table(table) => Box::new(Rows::new(what, table)),
        };
        let command = Command::Import(commands::Import { what, account });
        let mut work = Work {
            what,
            source: source.as_mut(),
            rejected: Rejected::beside(file.as_deref().filter(|file| Input::is_file(file))),
        };
        let dir = data_dir(data);
        match reach(&dir, &command, false)? {
            Reached::Server(call) => work.run(&name, &dir, &call),
            Reached::Store(opened) => {
                // So much comes that it has to be sealed meanwhile.
                let keeper = Keeper::start(&opened.store, &opened.writer)
                    .map_err(|error| Exit::Failed(format!("can't start a thread: {error}")))?;
                let done = work.run_on(&name, &dir, &opened, &command);
                keeper.stop();
                opened.close();
                done
            }
        }
    }
}

/// An import that is about to begin.
struct Work<'s> {
    what: Exported,
    source: &'s mut dyn Source,
    rejected: Rejected,
}

impl Work<'_> {
    /// Speaks with the store's side in this process, as if it were another.
    fn run_on(
        &mut self,
        name: &str,
        dir: &Path,
        opened: &crate::app::Opened,
        command: &Command,
    ) -> Result<(), Exit> {
        let failed = |error: io::Error| Exit::Failed(format!("can't begin: {error}"));
        let (here, there) = UnixStream::pair().map_err(failed)?;
        thread::scope(|scope| {
            let serve = move || control::serve(&there, &opened.context());
            thread::Builder::new()
                .name("command".into())
                .spawn_scoped(scope, serve)
                .map_err(failed)?;
            let call = Call::over(here, command).map_err(|error| call_failed(dir, error))?;
            self.run(name, dir, &call)
        })
    }

    fn run(&mut self, name: &str, dir: &Path, call: &Call) -> Result<(), Exit> {
        let bar = Bar::new(self.source.end(), self.source.unit());
        let (greet, greeted) = bounded(1);
        let (send, sent) = bounded(AHEAD_MAX);
        let chunks = Chunks::new(self.source, chunk_bounds(self.what));
        let mut ear = Ear {
            line: Vec::new(),
            greet: Some(greet),
            sent,
            rejected: &mut self.rejected,
            bar: &bar,
            lines: 0,
            stored: 0,
        };
        let (fed, heard, lines, stored) = thread::scope(|scope| {
            let feed = || feed(chunks, &greeted, send, call, &bar);
            let feeding = thread::Builder::new().name("reader".into()).spawn_scoped(scope, feed);
            let feeding = feeding.map_err(|error| Exit::Failed(format!("can't begin: {error}")))?;
            let heard = call.hear(&mut ear);
            let (lines, stored) = (ear.lines, ear.stored);
            // Whatever the reader waits for will not come any more.
            drop(ear);
            call.hang_up();
            let fed = feeding.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            Ok::<_, Exit>((fed, heard, lines, stored))
        })?;
        bar.clear();
        let what = match self.what {
            Exported::Events => "events",
            Exported::Users => "users",
        };
        let rejected = &self.rejected;
        let mut summary = format!("imported {stored} {what}");
        if rejected.count > 0 {
            summary += &format!(
                "; {} lines were refused, see {}",
                rejected.count,
                rejected.path().display()
            );
        }
        let why = match (fed, heard) {
            (Err(error), _) => format!("can't read {name}: {error}"),
            (_, Err(CallError::Output(error))) => {
                format!("can't write {}: {error}", rejected.path().display())
            }
            (_, Err(error)) => match call_failed(dir, error) {
                Exit::Failed(why) | Exit::Usage(why) => why,
            },
            (Ok(()), Ok(_)) => {
                bar.say(&summary);
                return Ok(());
            }
        };
        let again = match lines {
            0 => "nothing was imported by this run".to_owned(),
            _ => format!(
                "it came to line {lines}: {summary}; run it again and it goes on from there"
            ),
        };
        Err(Exit::Failed(format!("{why}; {again}")))
    }
}

/// What goes from the reader to who hears the answers.
enum Sent {
    /// The first chunk comes behind these lines, which end here.
    Past { lines: u64, place: u64 },
    /// A chunk was sent, or is about to be.
    Chunk(chunks::Read),
}

/// Sends what isn't imported yet.
///
/// # Errors
/// Those of reading. When sending fails, the call's end tells why.
fn feed(
    mut chunks: Chunks<'_>,
    greeted: &Receiver<Greeting>,
    sent: Sender<Sent>,
    call: &Call,
    bar: &Bar,
) -> io::Result<()> {
    let Ok(Greeting { known }) = greeted.recv() else { return Ok(()) };
    let mut to = call.input()?;
    let mut feed_all = || -> io::Result<()> {
        chunks.go_past(&known)?;
        let (lines, place) = (chunks.lines(), chunks.place());
        if lines > 0 {
            bar.say(&format!("{lines} lines were imported before and are skipped"));
        }
        let mut heard = sent.send(Sent::Past { lines, place }).is_ok();
        while heard && let Some(read) = chunks.next()? {
            let chunk = Arc::clone(&read.chunk);
            heard = sent.send(Sent::Chunk(read)).is_ok() && chunk.write_to(&mut to).is_ok();
        }
        // If nobody hears it, the call has ended already.
        let _ = Chunk::write_end_to(&mut to);
        Ok(())
    };
    let fed = feed_all();
    // Without the end that wasn't announced, the other side would wait for more.
    call.end_input();
    fed
}

/// Hears the answers, line by line.
struct Ear<'a> {
    line: Vec<u8>,
    greet: Option<Sender<Greeting>>,
    sent: Receiver<Sent>,
    rejected: &'a mut Rejected,
    bar: &'a Bar,
    /// Up to which line the input is dealt with.
    lines: u64,
    /// Lines that were stored.
    stored: u64,
}

impl Ear<'_> {
    fn hear(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(greet) = self.greet.take() {
            // The reader ends early only if it can't read, and says so.
            let _ = greet.send(serde_json::from_slice(line)?);
            return Ok(());
        }
        let Answer { lines, stored, refused } = serde_json::from_slice(line)?;
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "the server answers otherwise");
        let read = loop {
            match self.sent.recv().map_err(|_| odd())? {
                Sent::Chunk(read) => break read,
                Sent::Past { lines, place } => {
                    self.rejected.goes_on(lines > 0);
                    self.bar.begin(place);
                }
            }
        };
        if read.chunk.last_line() != lines {
            return Err(odd());
        }
        self.rejected.write(&read, &refused)?;
        self.lines = lines;
        self.stored += stored;
        self.bar.advance(read.place, self.stored);
        Ok(())
    }
}

impl Write for Ear<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&bytes[..end]);
        self.hear(&line)?;
        Ok(end + 1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
