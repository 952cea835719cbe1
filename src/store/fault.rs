//! Places where tests let the process end, as a crash would, to see what the next start makes of it.

/// Ends the process here if `TRIGGERLY_FAULT` names this place: the first time that it comes here, or
/// with `name:3` the third. Programs built for use have nothing of it.
#[cfg(debug_assertions)]
pub(super) fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    static NAMED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let named = NAMED.get_or_init(|| {
        let text = std::env::var("TRIGGERLY_FAULT").ok()?;
        match text.split_once(':') {
            Some((name, time)) => Some((name.to_owned(), time.parse().ok()?)),
            None => Some((text, 1)),
        }
    });
    let Some((_, time)) = named.as_ref().filter(|(named, _)| named == name) else { return };
    if PASSED.fetch_add(1, SeqCst) + 1 == *time {
        log::error!("crashing at {name}, as TRIGGERLY_FAULT asks");
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn point(_name: &str) {}
