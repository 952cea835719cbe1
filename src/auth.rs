//! Who a credential belongs to, and making new ones. Knows accounts, not where they are kept.

pub mod attempts;
pub mod password;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::model::account::write_hex;
use crate::model::{AccountId, Accounts, ApiToken, Date, SecretHash, Via};

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

/// Finds the account that a credential belongs to at `now`: a token that a rotation let live on is refused
/// from the moment that this named.
///
/// A `secret_key` is looked up by its hash, so the time that takes says nothing about the key; what
/// is found is compared in constant time once more, as is an `api_token`, which is public anyway.
#[must_use]
pub fn identify(accounts: &Accounts, credential: &str, now: Date) -> Option<Principal> {
    if credential.starts_with(SECRET_PREFIX) {
        let hash = SecretHash::of(credential);
        let account = accounts.by_secret(&hash)?;
        let same: bool = account.secret_hash.0.ct_eq(&hash.0).into();
        return same.then_some(Principal { account: account.id, via: Via::Secret });
    }
    let token = ApiToken::parse(credential)?;
    let account = accounts.by_token(&token)?;
    let old = account.old_token.filter(|(_, until)| now < *until).map(|(old, _)| old);
    let taken = [Some(account.api_token), old].into_iter().flatten();
    let same = taken.fold(false, |same, taken| same | bool::from(taken.0.ct_eq(&token.0)));
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

/// A new token for a session or a link: 256 random bits, as text for an address or a cookie. Its hash is what is kept.
///
/// # Errors
/// The operating system's, if it has no randomness to give.
pub fn new_token() -> Result<String, getrandom::Error> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
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
            let name = AccountName::new(name).expect("a good name");
            let (id, at) = (AccountId(id), Date::from_millis(0));
            accounts.put(Account::new(id, name, api_token, secret_hash, at));
            made.push((id, api_token.to_string(), secret));
        }
        let now = Date::from_millis(5);
        let identify = |accounts: &Accounts, credential: &str| identify(accounts, credential, now);
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

    #[test]
    fn an_old_token_is_refused_from_its_moment_on() {
        let name = AccountName::new("a").expect("a good name");
        let (old, new) = (ApiToken([1; 16]), ApiToken([2; 16]));
        let account =
            Account::new(AccountId(1), name, old, SecretHash::of("sk_1"), Date::from_millis(0));
        let mut accounts = Accounts::default();
        accounts.put(account.rotated(Some(new), None, Some(Date::from_millis(10))));
        for (now, old_is_taken) in [(0, true), (9, true), (10, false), (11, false)] {
            let now = Date::from_millis(now);
            let public = Principal { account: AccountId(1), via: Via::Public };
            let old = identify(&accounts, &old.to_string(), now);
            assert_eq!(old, Some(public).filter(|_| old_is_taken), "{now:?}");
            assert_eq!(identify(&accounts, &new.to_string(), now), Some(public));
        }
    }
}
