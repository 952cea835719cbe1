//! Who a credential belongs to, and making new ones. Knows accounts, not where they are kept.

use subtle::ConstantTimeEq;

use crate::model::account::write_hex;
use crate::model::{AccountId, Accounts, ApiToken, SecretHash, Via};

/// What every `secret_key` begins with, so that a person, or a scanner for leaked keys, can tell it
/// from a token.
const SECRET_PREFIX: &str = "sk_";

/// Who calls, and with which credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub account: AccountId,
    /// [`Via::Public`] with the `api_token`, [`Via::Secret`] with the `secret_key`.
    pub via: Via,
}

/// Finds the account that a credential belongs to.
///
/// A `secret_key` is looked up by its hash, so the time that takes says nothing about the key; what
/// is found is compared in constant time once more, as is an `api_token`, which is public anyway.
#[must_use]
pub fn identify(accounts: &Accounts, credential: &str) -> Option<Principal> {
    if credential.starts_with(SECRET_PREFIX) {
        let hash = SecretHash::of(credential);
        let account = accounts.by_secret(&hash)?;
        let same: bool = account.secret_hash.0.ct_eq(&hash.0).into();
        return same.then_some(Principal { account: account.id, via: Via::Secret });
    }
    let token = ApiToken::parse(credential)?;
    let account = accounts.by_token(&token)?;
    let same: bool = account.api_token.0.ct_eq(&token.0).into();
    same.then_some(Principal { account: account.id, via: Via::Public })
}

/// A new public credential from the operating system's randomness.
///
/// # Errors
/// The operating system's, if it has none to give.
pub fn new_api_token() -> Result<ApiToken, getrandom::Error> {
    random().map(ApiToken)
}

/// A new secret credential, to be shown once, and what is to be kept of it.
///
/// # Errors
/// The operating system's, if it has no randomness to give.
pub fn new_secret_key() -> Result<(String, SecretHash), getrandom::Error> {
    let mut key = SECRET_PREFIX.to_owned();
    // Writing to a String can't fail.
    let _ = write_hex(&mut key, &random::<32>()?);
    let hash = SecretHash::of(&key);
    Ok((key, hash))
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Account, AccountName, Date};

    #[test]
    fn each_credential_leads_to_its_account() {
        let mut accounts = Accounts::default();
        let mut made = Vec::new();
        for (id, name) in [(1, "a"), (2, "b")] {
            let api_token = new_api_token().expect("randomness");
            let (secret, secret_hash) = new_secret_key().expect("randomness");
            accounts.put(Account {
                id: AccountId(id),
                name: AccountName::new(name).expect("a good name"),
                api_token,
                secret_hash,
                created_at: Date::from_millis(0),
                retention_days: None,
                sites: None,
            });
            made.push((AccountId(id), api_token.to_string(), secret));
        }
        for (account, token, secret) in &made {
            let public = Principal { account: *account, via: Via::Public };
            assert_eq!(identify(&accounts, token), Some(public));
            let owner = Principal { account: *account, via: Via::Secret };
            assert_eq!(identify(&accounts, secret), Some(owner));
            assert_eq!(secret.len(), 67);
            for near in [&token[..31], &secret[..66], &secret[3..], &token.to_uppercase()] {
                assert_eq!(identify(&accounts, near), None, "{near}");
            }
        }
        assert_eq!(identify(&accounts, ""), None);
        assert_ne!(made[0].1, made[1].1);
        assert_ne!(made[0].2, made[1].2);
    }
}
