//! Passwords: which are taken, what is kept of one, and whether one is right.
//!
//! What is kept is argon2id (RFC 9106) with the first parameters that OWASP's cheat sheet on password storage
//! recommends: 19 MiB, two passes, one lane. One takes some 30 ms of a processor, so whoever calls this
//! bounds how many are made at a time.

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;

use super::random;
use crate::model::PasswordHash;
use crate::model::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};

/// KiB of memory that one takes.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over it.
const PASSES: u32 = 2;

/// What is looked at where there is nobody: a hash of nothing. It is written down, since one that was made when it is first
/// wanted would have the first answer of a process take twice as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$9rZs6m8wwajNrEcPpTF63A$VdnKBiwFL/IthYkfla0vPJNSWPHM99VlbL3OuwqZ0wY";

/// Why a text can't be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rule {
    /// Fewer than [`PASSWORD_CHARS_MIN`] characters.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
}

/// Why a password was not hashed: the system has no randomness or no memory.
#[derive(Clone, Debug, Error)]
#[error("a password can't be hashed: {0}")]
pub struct Error(String);

/// Whether a text can be a password.
///
/// # Errors
/// The [`Rule`] that it breaks.
pub fn check(text: &str) -> Result<(), Rule> {
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(Rule::TooLong);
    }
    if text.chars().count() < PASSWORD_CHARS_MIN { Err(Rule::TooShort) } else { Ok(()) }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// What is to be kept of a password.
///
/// # Errors
/// [`struct@Error`].
pub fn hash(text: &str) -> Result<PasswordHash, Error> {
    let salt = random::<16>().map_err(|error| Error(error.to_string()))?;
    let made: phc::PasswordHash = hasher()
        .hash_password_with_salt(text.as_bytes(), &salt)
        .map_err(|error| Error(error.to_string()))?;
    PasswordHash::new(&made.to_string()).ok_or_else(|| Error("its form is odd".to_owned()))
}

/// Whether a password is the one that this was kept of. Without any it is wrong, and takes as long to say so.
#[must_use]
pub fn verify(kept: Option<&PasswordHash>, text: &str) -> bool {
    // A longer one can't be anybody's.
    if text.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let known = kept.map_or(NOBODYS, PasswordHash::as_str);
    let is_it = phc::PasswordHash::new(known)
        .is_ok_and(|hash| hasher().verify_password(text.as_bytes(), &hash).is_ok());
    is_it && kept.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for (text, rule) in [
            ("".to_owned(), Err(Rule::TooShort)),
            ("ninechars".to_owned(), Err(Rule::TooShort)),
            ("äöüäöüäöü".to_owned(), Err(Rule::TooShort)),
            ("ten chars.".to_owned(), Ok(())),
            ("x".repeat(PASSWORD_BYTES_MAX), Ok(())),
            ("x".repeat(PASSWORD_BYTES_MAX + 1), Err(Rule::TooLong)),
        ] {
            assert_eq!(check(&text), rule, "{text}");
        }
    }

    #[test]
    fn only_the_right_one_is_right() {
        let kept = hash("correct horse").expect("randomness");
        assert!(kept.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "as OWASP says");
        assert_ne!(kept, hash("correct horse").expect("randomness"), "each has a salt of its own");
        assert!(verify(Some(&kept), "correct horse"));
        for wrong in ["", "correct", "correct horse ", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
            assert!(!verify(Some(&kept), wrong), "{wrong}");
        }
        assert!(!verify(None, ""), "nobody has none");
        // What is looked at in their place takes as long.
        let head = |text: &str| text.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!((head(NOBODYS), NOBODYS.len()), (head(kept.as_str()), kept.as_str().len()));
        assert!(phc::PasswordHash::new(NOBODYS).is_ok());
    }
}
