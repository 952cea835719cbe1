//! The one place where the world may fail to keep what it was given: making writes durable.
//!
//! The committer is written against [`Flush`], so that tests can let it fail, dawdle or count.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes everything written so far durable.
pub trait Flush: Send {
    /// Returns once all that was written before the call survives a power cut.
    ///
    /// # Errors
    /// Whatever the medium says. Nothing is known about what was written then: the kernel may have
    /// dropped the dirty pages (fsync(2)), so trying again proves nothing.
    fn flush(&self) -> io::Result<()>;
}

/// The real thing.
pub(super) struct SledFlush {
    db: sled::Db,
    file: File,
}

impl SledFlush {
    /// `path` is sled's file.
    pub fn new(db: sled::Db, path: &Path) -> io::Result<SledFlush> {
        Ok(SledFlush { db, file: File::open(path)? })
    }
}

impl Flush for SledFlush {
    fn flush(&self) -> io::Result<()> {
        self.db.flush().map_err(|source| match source {
            sled::Error::Io(source) => source,
            other => io::Error::other(other.to_string()),
        })?;
        // sled stops at sync_file_range, which leaves the disk's cache and the file's length behind.
        self.file.sync_data()
    }
}
