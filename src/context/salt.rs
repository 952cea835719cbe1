//! What visitors are hashed under: 32 random bytes a day, in memory alone, overwritten when the day ends (UTC).
//!
//! A server by itself makes its own. Servers that share a log have to agree, for two salts would make two visitors of
//! one: theirs are given to them ([`Salts::give`]), and without one there is no visitor. Must not know who agrees, or how.
//! They never show themselves: nothing in here is `Debug`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::{Zeroize, Zeroizing};

use crate::model::Date;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;

/// Days since 1970 (UTC).
pub type Day = i64;

pub(super) const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Where random bytes come from; it may fail.
pub(super) type Source = fn(&mut [u8]) -> Result<(), getrandom::Error>;

/// The day that an instant is of.
#[must_use]
pub fn day_of(date: Date) -> Day {
    date.millis().div_euclid(DAY_MILLIS)
}

/// The salts that are known: today's, and for some minutes tomorrow's.
pub struct Salts {
    /// One day lies here, the next there.
    held: Mutex<[Salt; 2]>,
    /// Of one's own; none where they are given.
    source: Option<Source>,
}

/// Never moved or copied, so that overwriting it leaves none behind.
struct Salt {
    /// `None` if there is none. Half a salt has no day, so a panic can't leave one that is used.
    day: Option<Day>,
    bytes: Box<[u8; SALT_BYTES]>,
}

impl Salt {
    fn none() -> Salt {
        Salt { day: None, bytes: Box::new([0; SALT_BYTES]) }
    }

    fn destroy(&mut self) {
        self.day = None;
        self.bytes.zeroize();
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.destroy();
    }
}

impl Default for Salts {
    /// Those of a server by itself.
    fn default() -> Salts {
        Salts::with_source(Some(getrandom::fill))
    }
}

impl Salts {
    /// Those of a server that is given what others have too.
    #[must_use]
    pub fn agreed() -> Salts {
        Salts::with_source(None)
    }

    pub(super) fn with_source(source: Option<Source>) -> Salts {
        Salts { held: Mutex::new([Salt::none(), Salt::none()]), source }
    }

    /// Takes the salt of a day, in place of one that was taken before. What it is copied from is the caller's to overwrite.
    pub fn give(&self, day: Day, salt: &[u8; SALT_BYTES]) {
        let mut held = self.held();
        let place = &mut held[slot(day)];
        place.destroy();
        place.bytes.copy_from_slice(salt);
        place.day = Some(day);
    }

    /// That of a day, if it is held, to be overwritten when the caller is done with it.
    #[must_use]
    pub fn of(&self, day: Day) -> Option<Zeroizing<[u8; SALT_BYTES]>> {
        let held = self.held();
        let place = &held[slot(day)];
        (place.day == Some(day)).then(|| Zeroizing::new(*place.bytes))
    }

    /// Does something with the salt of a day; `None` if there is none. One who began just before midnight may come just
    /// behind it, and gets that of the new day.
    pub(super) fn with<T>(&self, day: Day, work: impl FnOnce(&[u8; SALT_BYTES]) -> T) -> Option<T> {
        let mut held = self.held();
        destroy_before(&mut held, day);
        let found = [day, day + 1].into_iter().find(|day| held[slot(*day)].day == Some(*day));
        if found.is_none() {
            let source = self.source?;
            held.iter_mut().for_each(Salt::destroy);
            let place = &mut held[slot(day)];
            source(place.bytes.as_mut_slice()).ok()?;
            place.day = Some(day);
        }
        Some(work(&held[slot(found.unwrap_or(day))].bytes))
    }

    /// Destroys those of days that are over.
    pub fn tend(&self, now: Date) {
        destroy_before(&mut self.held(), day_of(now));
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> [[u8; SALT_BYTES]; 2] {
        let held = self.held();
        [*held[0].bytes, *held[1].bytes]
    }

    fn held(&self) -> MutexGuard<'_, [Salt; 2]> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a day's lies.
fn slot(day: Day) -> usize {
    usize::from(day.rem_euclid(2) == 1)
}

fn destroy_before(held: &mut [Salt; 2], day: Day) {
    held.iter_mut().filter(|salt| salt.day.is_some_and(|made| made < day)).for_each(Salt::destroy);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; SALT_BYTES] = [1; SALT_BYTES];
    const TWO: [u8; SALT_BYTES] = [2; SALT_BYTES];

    #[test]
    fn a_salt_that_is_given_holds_for_its_day() {
        let first = |salts: &Salts, day| salts.with(day, |salt| salt[0]);
        let salts = Salts::agreed();
        assert_eq!(first(&salts, 10), None);
        salts.give(10, &ONE);
        // Whoever began before midnight and comes behind it has that of the new day; nobody else.
        for (day, expected) in [(8, None), (9, Some(1)), (10, Some(1))] {
            assert_eq!(first(&salts, day), expected, "{day}");
        }
        // Tomorrow's comes beside it.
        salts.give(11, &TWO);
        assert_eq!((first(&salts, 10), *salts.of(11).expect("held")), (Some(1), TWO));
        // Another one was agreed on.
        salts.give(10, &TWO);
        assert_eq!(first(&salts, 10), Some(2));
        salts.give(10, &ONE);
        // The new day's first call ends the old one.
        assert_eq!(first(&salts, 11), Some(2));
        assert_eq!(salts.bytes(), [[0; SALT_BYTES], TWO]);
        assert!(salts.of(10).is_none());
        // A day that nobody has a salt for has none of this server's own.
        assert_eq!(first(&salts, 12), None);
        assert_eq!(salts.bytes(), [[0; SALT_BYTES]; 2]);
    }

    #[test]
    fn what_is_over_is_overwritten() {
        let at = |text: &str| Date::parse(text).expect("a date");
        let salts = Salts::agreed();
        let day = day_of(at("2001-07-04"));
        salts.give(day, &ONE);
        salts.give(day + 1, &TWO);
        salts.tend(at("2001-07-04T23:59:59.999Z"));
        assert!(salts.of(day).is_some() && salts.of(day + 1).is_some());
        salts.tend(at("2001-07-05"));
        assert!(salts.of(day).is_none() && salts.of(day + 1).is_some());
        salts.tend(at("2001-07-06"));
        assert_eq!(salts.bytes(), [[0; SALT_BYTES]; 2]);
    }
}
