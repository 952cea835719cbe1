//! Accounts: who data belongs to, and the two credentials of each.
//!
//! The `api_token` stands in web pages, so it is public and kept as it is; of the `secret_key`
//! only a hash is kept. Making either takes randomness, which is [`crate::auth`]'s.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Date, Sites, limits::ACCOUNT_NAME_BYTES_MAX};

/// Names an account for as long as the log lives: the `seq` of the record that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u64);

/// What a person calls an account: 1 to [`ACCOUNT_NAME_BYTES_MAX`] bytes on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Box<str>);

/// Why a text is no account name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccountNameError {
    /// Nothing, or nothing but white space around it.
    #[error("an account's name can't be empty or begin or end with white space")]
    Blank,
    /// Longer than [`ACCOUNT_NAME_BYTES_MAX`].
    #[error("an account's name has at most {ACCOUNT_NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A line break or another control character, which would garble `name=…` lines.
    #[error("an account's name can't hold control characters")]
    Control,
}

impl AccountName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`AccountNameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<AccountName, AccountNameError> {
        if name.is_empty() || name.trim() != name {
            return Err(AccountNameError::Blank);
        }
        if name.len() > ACCOUNT_NAME_BYTES_MAX {
            return Err(AccountNameError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(AccountNameError::Control);
        }
        Ok(AccountName(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The public credential: 16 random bytes, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiToken(pub [u8; 16]);

impl ApiToken {
    /// Reads the 32 digits; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<ApiToken> {
        let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
        }
        Some(ApiToken(bytes))
    }
}

impl fmt::Display for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// What is kept of a `secret_key`: the SHA-256 of its text. The key itself holds 256 random bits,
/// so a fast hash is enough; there is no dictionary to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// Hashes a key as it was shown.
    #[must_use]
    pub fn of(secret_key: &str) -> SecretHash {
        SecretHash(Sha256::digest(secret_key.as_bytes()).into())
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number in keys and records.
    pub id: AccountId,
    /// Its name, unique on a server.
    pub name: AccountName,
    /// The public credential in force.
    pub api_token: ApiToken,
    /// What is kept of the secret one in force.
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created_at: Date,
    /// Days for which events are kept; for ever if there is none.
    pub retention_days: Option<u32>,
    /// Where calls of browsers may come from; from anywhere if there is none.
    pub sites: Option<Sites>,
    /// The time zone in which it is looked at, by its IANA name; none was chosen if there is none.
    pub zone: Option<Box<str>>,
    /// The public credential before the one in force, and until when it is still taken.
    pub old_token: Option<(ApiToken, Date)>,
}

impl Account {
    /// A new one, of which nothing is set yet.
    #[must_use]
    pub fn new(
        id: AccountId,
        name: AccountName,
        api_token: ApiToken,
        secret_hash: SecretHash,
        created_at: Date,
    ) -> Account {
        Account {
            id,
            name,
            api_token,
            secret_hash,
            created_at,
            retention_days: None,
            sites: None,
            zone: None,
            old_token: None,
        }
    }

    /// The same with new credentials, where one is given. The token before the new one lives on until
    /// `old_token_until`, or not at all; one before that is dropped.
    #[must_use]
    pub fn rotated(
        &self,
        api_token: Option<ApiToken>,
        secret_hash: Option<SecretHash>,
        old_token_until: Option<Date>,
    ) -> Account {
        let mut account = self.clone();
        if let Some(api_token) = api_token {
            account.old_token = old_token_until.map(|until| (self.api_token, until));
            account.api_token = api_token;
        }
        account.secret_hash = secret_hash.unwrap_or(self.secret_hash);
        account
    }
}

/// All accounts, found by name or credential. Small (see [`super::limits::ACCOUNTS_MAX`]), kept in
/// memory, and copied when one changes.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_id: HashMap<AccountId, Arc<Account>>,
    by_token: HashMap<ApiToken, AccountId>,
    by_secret: HashMap<SecretHash, AccountId>,
    by_name: HashMap<AccountName, AccountId>,
}

impl Accounts {
    /// Adds an account, or replaces the one with its id.
    pub fn put(&mut self, account: Account) {
        if let Some(old) = self.by_id.get(&account.id) {
            self.by_token.remove(&old.api_token);
            if let Some((token, _)) = &old.old_token {
                self.by_token.remove(token);
            }
            self.by_secret.remove(&old.secret_hash);
            self.by_name.remove(&old.name);
        }
        self.by_token.extend(account.old_token.map(|(token, _)| (token, account.id)));
        self.by_token.insert(account.api_token, account.id);
        self.by_secret.insert(account.secret_hash, account.id);
        self.by_name.insert(account.name.clone(), account.id);
        self.by_id.insert(account.id, Arc::new(account));
    }

    /// The account with this id.
    #[must_use]
    pub fn get(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.by_id.get(&id)
    }

    /// The account whose `api_token` this is, or was before the last rotation if that let it live on:
    /// until when, [`Account::old_token`] says.
    #[must_use]
    pub fn by_token(&self, token: &ApiToken) -> Option<&Arc<Account>> {
        self.get(*self.by_token.get(token)?)
    }

    /// The account whose `secret_key` hashes to this.
    #[must_use]
    pub fn by_secret(&self, hash: &SecretHash) -> Option<&Arc<Account>> {
        self.get(*self.by_secret.get(hash)?)
    }

    /// The account of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Account>> {
        self.get(*self.by_name.get(&AccountName(name.into()))?)
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Account>> {
        let mut all: Vec<_> = self.by_id.values().cloned().collect();
        all.sort_by_key(|account| account.id);
        all
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(ACCOUNT_NAME_BYTES_MAX);
        for good in ["default", "my shop", "Ünïcode", long.as_str()] {
            assert_eq!(AccountName::new(good).expect(good).as_str(), good);
        }
        for (bad, why) in [
            ("", AccountNameError::Blank),
            (" a", AccountNameError::Blank),
            ("a\n", AccountNameError::Blank),
            ("a\nb", AccountNameError::Control),
            ("a\u{7f}", AccountNameError::Control),
            (&"x".repeat(65), AccountNameError::TooLong(65)),
        ] {
            assert_eq!(AccountName::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn tokens() {
        let text = "00112233445566778899aabbccddeeff";
        let token = ApiToken::parse(text).expect("32 digits");
        assert_eq!(token.to_string(), text);
        for bad in [
            "",
            "00112233445566778899AABBCCDDEEFF",
            "00112233445566778899aabbccddeef",
            "00112233445566778899aabbccddeeff0",
            "0011223344556677889 aabbccddeeff",
            "é0112233445566778899aabbccddeef",
        ] {
            assert_eq!(ApiToken::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_rotated_credential_is_forgotten() {
        let mut accounts = Accounts::default();
        let name = AccountName::new("default").expect("a good name");
        let (token, secret) = (ApiToken([1; 16]), SecretHash::of("one"));
        let account = Account::new(AccountId(1), name, token, secret, Date::from_millis(0));
        accounts.put(account.clone());
        let (token, secret) = (ApiToken([2; 16]), SecretHash::of("two"));
        accounts.put(account.rotated(Some(token), Some(secret), None));
        assert_eq!(accounts.len(), 1);
        assert!(accounts.by_token(&ApiToken([1; 16])).is_none());
        assert!(accounts.by_secret(&SecretHash::of("one")).is_none());
        assert_eq!(accounts.by_token(&ApiToken([2; 16])).map(|a| a.id), Some(AccountId(1)));
        assert_eq!(accounts.by_secret(&SecretHash::of("two")).map(|a| a.id), Some(AccountId(1)));
        assert_eq!(accounts.by_name("default").map(|a| a.id), Some(AccountId(1)));
    }

    #[test]
    fn an_old_token_lives_on_until_the_next_rotation() {
        let name = AccountName::new("default").expect("a good name");
        let (secret, until) = (SecretHash::of("one"), Date::from_millis(9));
        let token = |n| ApiToken([n; 16]);
        let mut account = Account::new(AccountId(1), name, token(1), secret, Date::from_millis(0));
        let mut accounts = Accounts::default();
        let found = |accounts: &Accounts| {
            (1..=4).map(|n| accounts.by_token(&token(n)).is_some()).collect::<Vec<_>>()
        };
        for (new_token, new_secret, until, old_token, expected) in [
            (Some(2), None, Some(until), Some(1), [true, true, false, false]),
            // One of a secret key leaves the tokens alone.
            (None, Some("two"), Some(until), Some(1), [true, true, false, false]),
            (Some(3), None, Some(until), Some(2), [false, true, true, false]),
            (Some(4), None, None, None, [false, false, false, true]),
        ] {
            account = account.rotated(new_token.map(token), new_secret.map(SecretHash::of), until);
            accounts.put(account.clone());
            let old_token = old_token.zip(until).map(|(old, until)| (token(old), until));
            assert_eq!(account.old_token, old_token);
            assert_eq!(found(&accounts), expected, "{new_token:?}");
        }
        assert_eq!(account.secret_hash, SecretHash::of("two"));
    }
}
