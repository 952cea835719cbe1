//! Places where tests let the process end, as a crash would, to see what the next start makes of it.

/// Ends the process here if `TRIGGERLY_FAULT` names this place. Programs built for use have nothing
/// of it.
#[cfg(debug_assertions)]
pub(super) fn point(name: &str) {
    static NAMED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var("TRIGGERLY_FAULT").ok());
    if named.as_deref() == Some(name) {
        log::error!("crashing at {name}, as TRIGGERLY_FAULT asks");
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn point(_name: &str) {}
