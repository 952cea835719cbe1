//! The one place where the world may fail to keep what it was given: making writes durable.
//!
//! The committer is written against [`Flush`], so that tests can let it fail, dawdle or count.

use std::io;
use std::sync::Arc;

use super::hot::Hot;
use super::tiers::Tiers;

/// Makes everything written so far durable.
pub trait Flush: Send {
    /// Returns once all that was written before the call survives a power cut.
    ///
    /// # Errors
    /// Whatever the medium says. Nothing is known about what was written then: the kernel may have
    /// dropped the dirty pages (fsync(2)), so trying again proves nothing.
    fn flush(&self) -> io::Result<()>;
}

/// The real thing: flushes the generation that is in force.
pub(super) struct HotFlush(pub Arc<Tiers>);

impl Flush for HotFlush {
    fn flush(&self) -> io::Result<()> {
        self.0.hot().flush()
    }
}

impl Flush for Hot {
    fn flush(&self) -> io::Result<()> {
        Hot::flush(self)
    }
}
