//! Something that is done every so often, on a thread of its own, until it is told to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The thread.
pub struct Ticker {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Ticker {
    /// Starts it: `act` is called at once, and then so long after its last end.
    ///
    /// # Errors
    /// If the operating system has no threads left.
    pub fn start(
        name: &str,
        every: Duration,
        act: impl Fn() + Send + 'static,
    ) -> io::Result<Ticker> {
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while !told.load(SeqCst) {
                act();
                thread::park_timeout(every);
            }
        })?;
        Ok(Ticker { stopping, thread })
    }

    /// Ends it, and waits for that.
    pub fn stop(self) {
        self.stopping.store(true, SeqCst);
        let name = self.thread.thread().name().unwrap_or_default().to_owned();
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            log::error!("the thread {name:?} panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::Instant;

    #[test]
    fn it_ticks_and_stops() {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let tick = move || {
            counted.fetch_add(1, SeqCst);
        };
        let ticker = Ticker::start("a test", Duration::from_millis(1), tick).unwrap();
        while count.load(SeqCst) < 3 {
            thread::yield_now();
        }
        ticker.stop();
        let ticker = Ticker::start("a test", Duration::from_secs(600), || {}).unwrap();
        let began = Instant::now();
        ticker.stop();
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
