#![no_main]

use std::collections::HashSet;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

libfuzzer_sys::fuzz_target!(
    // Panics of the decoder are caught where it is called, and only one that gets out is a finding. The
    // fuzzer's own hook would end at the first.
    init: panic::set_hook(Box::new(note)),
    |bytes: &[u8]| triggerly::fuzzing::segments(bytes)
);

/// Shows from where panics come, each place once; the last shown is the finding, if there is one.
fn note(panic: &PanicHookInfo<'_>) {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.get_or_insert_default().insert(place) {
        eprintln!("{panic}");
    }
}
