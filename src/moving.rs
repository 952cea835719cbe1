//! Moving a log between one machine and a stream that several share. Nothing is copied: what is said is who gives records
//! their place from then on.
//!
//! Must not know who asks for it. The store may not be open meanwhile.

use std::path::Path;

use crate::config::stream::Stream;
use crate::jetstream::{self, JetStream};
use crate::model::Seq;
use crate::store::{self, Belonging, Directory, LogId, Store};

/// Why a log could not be moved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is what it holds")]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    JetStream(#[from] jetstream::Error),
    #[error("this store shares its log by the stream {0} already; move it here first")]
    Shared(String),
    #[error("this store shares its log with nobody; there is nothing to be moved here")]
    Alone,
    #[error("the machine has no randomness to give: {0}")]
    Randomness(getrandom::Error),
}

/// Moves a store's log onto a stream, which is made for it: it goes on there behind the store's last record, which is what
/// comes back. Cut short, it may be done again.
///
/// # Errors
/// [`Error`], ready to be shown to a person.
pub fn to_stream(dir: &Path, stream: &Stream) -> Result<Seq, Error> {
    let store = Store::open_in(Directory::lock_existing(dir)?)?;
    let id = match store.belonging()? {
        Some(to) if to.name != stream.name => return Err(Error::Shared(to.name)),
        // It was begun before.
        Some(to) => to.id,
        None => {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map_err(Error::Randomness)?;
            LogId(bytes)
        }
    };
    // First here: a store that isn't on the stream, but thinks so, adds nothing, and nothing is lost.
    store.belong(Some(&Belonging { id, name: stream.name.clone() }))?;
    JetStream::found(stream.clone(), id, store.last_seq() + 1)?;
    Ok(store.last_seq())
}

/// Moves a log from its stream to a store that has all of it; no other server adds or follows from then on. Without a
/// stream nobody is asked: the store goes on alone with what it has.
///
/// # Errors
/// [`Error`], ready to be shown to a person; also if the log reaches further than the store.
pub fn here(dir: &Path, stream: Option<&Stream>) -> Result<Seq, Error> {
    let store = Store::open_in(Directory::lock_existing(dir)?)?;
    let belonging = store.belonging()?.ok_or(Error::Alone)?;
    if let Some(stream) = stream {
        let known = Some(belonging.id);
        let leaving =
            jetstream::Store { known, next_seq: store.last_seq() + 1, from: store.place()?.0 };
        JetStream::leave(stream.clone(), leaving)?;
    }
    store.belong(None)?;
    Ok(store.last_seq())
}
