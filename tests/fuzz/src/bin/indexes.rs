#![no_main]

use std::backtrace::Backtrace;
use std::collections::HashSet;
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::process;
use std::sync::{Mutex, PoisonError};

libfuzzer_sys::fuzz_target!(
    // Panics of the decoder are caught where it is called, and only one that gets out is a finding. The
    // fuzzer's own hook would end at the first.
    init: panic::set_hook(Box::new(note)),
    |bytes: &[u8]| triggerly::fuzzing::indexes(bytes)
);

/// Shows from where panics come, each place once, and ends at one of triggerly's own.
fn note(panic: &PanicHookInfo<'_>) {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(|root| root.join("src"));
    let is_own = own.is_some_and(|own| Path::new(&place).starts_with(own));
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.get_or_insert_default().insert(place) || is_own {
        eprintln!("{panic}\n{}", Backtrace::force_capture());
    }
    if is_own {
        process::abort();
    }
}
