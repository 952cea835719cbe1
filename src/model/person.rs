//! People: who may look at an account in a browser; their sessions, and the links by which they come.
//!
//! Tokens of sessions and links are kept as hashes alone, passwords as PHC strings that nothing here can
//! read. Making either takes randomness and time, which is [`crate::auth`]'s. Must not know which people
//! there are; that is [`People`](super::People)'s.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::limits::{
    ACCOUNTS_OF_PERSON_MAX, EMAIL_BYTES_MAX, LINK_HOURS, PASSWORD_HASH_BYTES_MAX, PEOPLE_MAX,
    SESSION_DAYS, SESSION_LABEL_BYTES_MAX,
};
use super::{AccountId, Date, Seq};

const HOUR_MILLIS: i64 = 3_600_000;

/// Names a person for as long as the log lives: the `seq` of the record that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub Seq);

/// An e-mail address, kept as it was typed: one `@` with something on both sides, at most
/// [`EMAIL_BYTES_MAX`] bytes, no white space, no control characters. Whether anything arrives there,
/// nobody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(Box<str>);

/// Why a text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EmailError {
    /// Not one `@` with something on both sides.
    #[error("an e-mail address has one @, with something before and after it")]
    Shape,
    /// Longer than [`EMAIL_BYTES_MAX`].
    #[error("an e-mail address has at most {EMAIL_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// White space or a control character.
    #[error("an e-mail address can't hold white space or control characters")]
    Character,
}

impl Email {
    /// Checks an address.
    ///
    /// # Errors
    /// [`EmailError`] says which rule it breaks.
    pub fn new(text: &str) -> Result<Email, EmailError> {
        if text.len() > EMAIL_BYTES_MAX {
            return Err(EmailError::TooLong(text.len()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(EmailError::Character);
        }
        match text.split_once('@') {
            Some((name, host)) if !name.is_empty() && !host.is_empty() && !host.contains('@') => {
                Ok(Email(text.into()))
            }
            _ => Err(EmailError::Shape),
        }
    }

    /// The address as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two addresses that mean the same have in common: the address in lower case.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of a password: a PHC string, as `$argon2id$v=19$m=…$salt$hash`, of at most
/// [`PASSWORD_HASH_BYTES_MAX`] bytes. It is not shown where values are printed for those who debug.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// Takes a PHC string; `None` if it can't be one.
    #[must_use]
    pub fn new(phc: &str) -> Option<PasswordHash> {
        let is_phc = phc.starts_with('$')
            && phc.len() <= PASSWORD_HASH_BYTES_MAX
            && phc.bytes().all(|byte| byte.is_ascii_graphic());
        is_phc.then(|| PasswordHash(phc.into()))
    }

    /// The PHC string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What is kept of the token of a session or a link: the SHA-256 of its text. As with a `secret_key`, the
/// token holds 256 random bits, so that a fast hash is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes a token as it was given out.
    #[must_use]
    pub fn of(token: &str) -> TokenHash {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The number in keys and records.
    pub id: PersonId,
    /// The address to sign in with: no other person's, however it is written.
    pub email: Email,
    /// What is kept of the password in force.
    pub password: PasswordHash,
    /// When the person was made.
    pub created_at: Date,
    /// The accounts that this person sees: one at least, [`ACCOUNTS_OF_PERSON_MAX`] at the most.
    pub accounts: BTreeSet<AccountId>,
}

/// A browser in which somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What is kept of its token.
    pub hash: TokenHash,
    /// Whose it is.
    pub person: PersonId,
    /// When it began; it ends by itself [`SESSION_DAYS`] later.
    pub began_at: Date,
    /// Browser and system in words, of at most [`SESSION_LABEL_BYTES_MAX`] bytes.
    pub label: Box<str>,
}

impl Session {
    /// When it ends by itself.
    #[must_use]
    pub fn ends_at(&self) -> Date {
        later(self.began_at, SESSION_DAYS * 24)
    }
}

/// A link that lets somebody in once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// What is kept of its token.
    pub hash: TokenHash,
    /// To which account it leads.
    pub account: AccountId,
    /// Whether whoever runs the server made it, else somebody who sees the account.
    pub by_operator: bool,
    /// When it was made; it dies by itself [`LINK_HOURS`] later.
    pub made_at: Date,
}

impl Link {
    /// When it dies by itself.
    #[must_use]
    pub fn ends_at(&self) -> Date {
        later(self.made_at, LINK_HOURS)
    }
}

fn later(date: Date, hours: i64) -> Date {
    Date::from_millis(date.millis().saturating_add(hours * HOUR_MILLIS))
}

/// What a record changes of people, sessions and links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PersonChange<'a> {
    /// Somebody was made, with a first account; the id is this record's `seq`.
    Made {
        /// The address, an [`Email`].
        email: &'a str,
        /// What is kept of the password, a [`PasswordHash`].
        password: &'a str,
        /// The account.
        account: AccountId,
    },
    /// Somebody's address was set.
    EmailSet {
        /// Whose.
        person: PersonId,
        /// The address, an [`Email`].
        email: &'a str,
    },
    /// Somebody's password was set. Sessions go on; [`PersonChange::SessionsEnded`] ends them.
    PasswordSet {
        /// Whose.
        person: PersonId,
        /// What is kept of it, a [`PasswordHash`].
        password: &'a str,
    },
    /// Somebody sees an account from now on. Who does already, still does.
    Joined {
        /// Who.
        person: PersonId,
        /// Which.
        account: AccountId,
    },
    /// Somebody doesn't see an account any more. Who sees none is gone, with all sessions.
    Left {
        /// Who.
        person: PersonId,
        /// Which.
        account: AccountId,
    },
    /// Somebody signed in. Of more than
    /// [`SESSIONS_OF_PERSON_MAX`](super::limits::SESSIONS_OF_PERSON_MAX) sessions the oldest ends.
    SessionBegun {
        /// Who.
        person: PersonId,
        /// What is kept of the session's token.
        hash: TokenHash,
        /// As in [`Session::label`].
        label: &'a str,
    },
    /// A session was ended.
    SessionEnded {
        /// Which.
        hash: TokenHash,
    },
    /// All sessions of somebody were ended, but for one where it is named.
    SessionsEnded {
        /// Whose.
        person: PersonId,
        /// Which one goes on.
        but: Option<TokenHash>,
    },
    /// A link was made. Of more than [`LINKS_MAX`](super::limits::LINKS_MAX) the oldest dies, and of more than
    /// [`INVITATIONS_OF_ACCOUNT_MAX`](super::limits::INVITATIONS_OF_ACCOUNT_MAX) to one account that its people made
    /// the oldest of those.
    LinkMade {
        /// What is kept of its token.
        hash: TokenHash,
        /// To which account it leads.
        account: AccountId,
        /// As in [`Link::by_operator`].
        by_operator: bool,
    },
    /// A link was used, and dies by it.
    LinkUsed {
        /// Which.
        hash: TokenHash,
    },
}

impl PersonChange<'_> {
    /// The account that it is about, if it is about one.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self {
            PersonChange::Made { account, .. }
            | PersonChange::Joined { account, .. }
            | PersonChange::Left { account, .. }
            | PersonChange::LinkMade { account, .. } => Some(*account),
            _ => None,
        }
    }
}

/// Why a change of people can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PersonRefusal {
    /// The address is none.
    #[error("{0}")]
    Email(#[from] EmailError),
    /// Somebody has the address.
    #[error("somebody signs in with this e-mail address already")]
    EmailTaken,
    /// What should be kept of the password is no PHC string.
    #[error("the password's hash is malformed")]
    Password,
    /// There is no such person.
    #[error("there is no such person any more")]
    NoPerson,
    /// The person doesn't see the account.
    #[error("this person has no access to the account")]
    NotMember,
    /// The session isn't there: ended, or never begun.
    #[error("the session has ended already")]
    NoSession,
    /// The link isn't there: used, too old, or never made.
    #[error("the link was used already, or is older than {LINK_HOURS} hours")]
    NoLink,
    /// A session or a link has this token.
    #[error("the token is in use; make another")]
    TokenTaken,
    /// The words for a session are more than [`SESSION_LABEL_BYTES_MAX`].
    #[error("a session is described in at most {SESSION_LABEL_BYTES_MAX} bytes")]
    Label,
    /// There are [`PEOPLE_MAX`].
    #[error("{PEOPLE_MAX} people may sign in already, which is the most one server keeps")]
    TooManyPeople,
    /// The person sees [`ACCOUNTS_OF_PERSON_MAX`].
    #[error("this person has access to {ACCOUNTS_OF_PERSON_MAX} accounts, which is the most")]
    TooManyAccounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails() {
        let long = format!("{}@b", "a".repeat(EMAIL_BYTES_MAX - 2));
        for good in ["a@b", "Zoë@Exämple.com", "a+b@c.example", "\"<b>\"@x", long.as_str()] {
            assert_eq!(Email::new(good).expect(good).as_str(), good);
        }
        for (bad, why) in [
            ("", EmailError::Shape),
            ("a", EmailError::Shape),
            ("@b", EmailError::Shape),
            ("a@", EmailError::Shape),
            ("a@b@c", EmailError::Shape),
            ("a@@", EmailError::Shape),
            (" a@b", EmailError::Character),
            ("a@b\n", EmailError::Character),
            ("a\u{a0}@b", EmailError::Character),
            ("a\u{7f}@b", EmailError::Character),
            (&format!("{long}b"), EmailError::TooLong(EMAIL_BYTES_MAX + 1)),
        ] {
            assert_eq!(Email::new(bad), Err(why), "{bad:?}");
        }
        assert_eq!(Email::new("ZOË@B.Example").expect("good").key(), "zoë@b.example");
    }

    #[test]
    fn password_hashes() {
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
        let hash = PasswordHash::new(phc).expect("a PHC string");
        assert_eq!(hash.as_str(), phc);
        assert!(!format!("{hash:?}").contains("argon2"), "it isn't printed");
        for bad in
            ["", "secret", "$a b", "$ä", &format!("${}", "a".repeat(PASSWORD_HASH_BYTES_MAX))]
        {
            assert_eq!(PasswordHash::new(bad), None, "{bad}");
        }
    }
}
