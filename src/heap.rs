//! How the system's allocator keeps memory: little of what is free.
//!
//! glibc has an arena for each few threads, and whoever freed one large piece is from then on given
//! large pieces out of the arenas, which shrink at their ends alone. A server that reads row groups,
//! bodies and users by turns kept twice what it used. With large pieces straight from the system, which
//! has them back at once, and few arenas, a server of ten million events went from 70 MiB to 55 when it
//! was started, and from at most 159 to 99 after eight threads had asked it the heaviest questions;
//! the questions took as long as before, within what is measured twice.
//!
//! What is freed between pieces that stay is kept all the same: ten seconds after two hundred large bodies at once a
//! server held 1 to 22 MiB more than before. It holds as much as before since that is given back every so often.
//!
//! The only room with `unsafe`. Other C libraries have no such settings, and none of this happens.

/// Bytes from which on a piece of memory is the system's own, and goes back to it when it is freed. Naming
/// it ends glibc's habit of raising it.
#[cfg(target_env = "gnu")]
const OWN_BYTES: i32 = 256 * 1024;

/// Bytes that may lie free at an arena's end.
#[cfg(target_env = "gnu")]
const FREE_BYTES: i32 = 1024 * 1024;

/// Arenas: threads that allocate in the same moment wait for each other, which few do.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Sets it for this process. To be called before there are threads.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate sets it by a safe call")]
pub fn keep_little() {
    let settings = [
        (libc::M_MMAP_THRESHOLD, OWN_BYTES),
        (libc::M_TRIM_THRESHOLD, FREE_BYTES),
        (libc::M_ARENA_MAX, ARENAS),
    ];
    for (name, value) in settings {
        // SAFETY: mallopt(3) takes any two numbers, and touches nothing but the allocator's settings, under its
        // own lock; no thread but this one is there yet.
        let set = unsafe { libc::mallopt(name, value) };
        if set != 1 {
            // Memory is kept as it would have been.
            log::debug!("the allocator refused a setting ({name})");
        }
    }
}

/// Nothing is to be set.
#[cfg(not(target_env = "gnu"))]
pub fn keep_little() {}

/// Gives free memory back to the system, wherever it lies between what is used. Takes a millisecond or two
/// under load; who allocates meanwhile may wait for that.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate does it by a safe call")]
pub fn give_back() {
    // SAFETY: malloc_trim(3) takes any number, touches nothing but free memory, under the allocator's own locks, and may be
    // called by any thread at any time. Whether it gave anything back makes no difference.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// The system's allocator sees to it.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    /// Resident memory, in KiB.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Pieces that stay keep an arena from shrinking at its end.
    #[test]
    fn what_is_free_between_what_stays_goes_back() {
        const PIECES: usize = 16 * 1024;
        let pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![1; 4_000]).collect();
        let stay: Vec<_> = pieces.into_iter().step_by(256).collect();
        let before = resident();
        give_back();
        let after = resident();
        // Of 64 MiB; other tests take some meanwhile.
        assert!(
            after + 30 * 1024 < before,
            "{before} -> {after} KiB, with {} that stay",
            stay.len()
        );
    }
}
