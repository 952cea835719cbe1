//! People, sessions and links as they lie in the log and in the keyed state.
//!
//! ```text
//! record   which (1 byte) · its fields (see [`PersonChange`])
//! "p" + person (8) -> e-mail · PHC string · made at · count · account* · count · session*
//! "l"              -> count · link*
//! session  hash (32) · began at · label
//! link     hash (32) · account · by the operator (1 byte) · made at
//! ```
//! A person's sessions stand with the person, in the order in which they began, as do the links among
//! themselves: there are few of either.

use std::sync::Arc;

use super::codec::{Input, Malformed, open_as, put_date, put_str, put_u64, seal_as};
use crate::model::person::{Link, Person, Session};
use crate::model::{AccountId, Email, PasswordHash, PersonChange, PersonId, TokenHash};

/// What the keys of people begin with.
pub(super) const PERSON: u8 = b'p';

/// The key of the links.
pub(super) const LINKS: &[u8] = b"l";

const FORMAT: u8 = 1;

const MADE: u8 = 1;
const EMAIL_SET: u8 = 2;
const PASSWORD_SET: u8 = 3;
const JOINED: u8 = 4;
const LEFT: u8 = 5;
const SESSION_BEGUN: u8 = 6;
const SESSION_ENDED: u8 = 7;
const SESSIONS_ENDED: u8 = 8;
const OTHER_SESSIONS_ENDED: u8 = 9;
const LINK_MADE: u8 = 10;
const LINK_USED: u8 = 11;

/// Writes a change, as a record's fields.
pub(super) fn put_person_change(out: &mut Vec<u8>, change: PersonChange<'_>) {
    match change {
        PersonChange::Made { email, password, account } => {
            out.push(MADE);
            put_str(out, email);
            put_str(out, password);
            put_u64(out, account.0);
        }
        PersonChange::EmailSet { person, email } => {
            out.push(EMAIL_SET);
            put_u64(out, person.0);
            put_str(out, email);
        }
        PersonChange::PasswordSet { person, password } => {
            out.push(PASSWORD_SET);
            put_u64(out, person.0);
            put_str(out, password);
        }
        PersonChange::Joined { person, account } => {
            out.push(JOINED);
            put_u64(out, person.0);
            put_u64(out, account.0);
        }
        PersonChange::Left { person, account } => {
            out.push(LEFT);
            put_u64(out, person.0);
            put_u64(out, account.0);
        }
        PersonChange::SessionBegun { person, hash, label } => {
            out.push(SESSION_BEGUN);
            put_u64(out, person.0);
            out.extend_from_slice(&hash.0);
            put_str(out, label);
        }
        PersonChange::SessionEnded { hash } => {
            out.push(SESSION_ENDED);
            out.extend_from_slice(&hash.0);
        }
        PersonChange::SessionsEnded { person, but } => {
            out.push(if but.is_some() { OTHER_SESSIONS_ENDED } else { SESSIONS_ENDED });
            put_u64(out, person.0);
            out.extend(but.iter().flat_map(|hash| hash.0));
        }
        PersonChange::LinkMade { hash, account, by_operator } => {
            out.push(LINK_MADE);
            out.extend_from_slice(&hash.0);
            put_u64(out, account.0);
            out.push(u8::from(by_operator));
        }
        PersonChange::LinkUsed { hash } => {
            out.push(LINK_USED);
            out.extend_from_slice(&hash.0);
        }
    }
}

/// Reads what [`put_person_change`] wrote. Whether an address is one, is found out when it is applied.
pub(super) fn take_person_change<'a>(input: &mut Input<'a>) -> Result<PersonChange<'a>, Malformed> {
    Ok(match input.byte()? {
        MADE => PersonChange::Made {
            email: input.str()?,
            password: input.str()?,
            account: AccountId(input.u64()?),
        },
        EMAIL_SET => PersonChange::EmailSet { person: PersonId(input.u64()?), email: input.str()? },
        PASSWORD_SET => {
            PersonChange::PasswordSet { person: PersonId(input.u64()?), password: input.str()? }
        }
        JOINED => PersonChange::Joined {
            person: PersonId(input.u64()?),
            account: AccountId(input.u64()?),
        },
        LEFT => {
            PersonChange::Left { person: PersonId(input.u64()?), account: AccountId(input.u64()?) }
        }
        SESSION_BEGUN => PersonChange::SessionBegun {
            person: PersonId(input.u64()?),
            hash: TokenHash(input.array()?),
            label: input.str()?,
        },
        SESSION_ENDED => PersonChange::SessionEnded { hash: TokenHash(input.array()?) },
        SESSIONS_ENDED => PersonChange::SessionsEnded { person: PersonId(input.u64()?), but: None },
        OTHER_SESSIONS_ENDED => PersonChange::SessionsEnded {
            person: PersonId(input.u64()?),
            but: Some(TokenHash(input.array()?)),
        },
        LINK_MADE => PersonChange::LinkMade {
            hash: TokenHash(input.array()?),
            account: AccountId(input.u64()?),
            by_operator: input.byte()? != 0,
        },
        LINK_USED => PersonChange::LinkUsed { hash: TokenHash(input.array()?) },
        _ => return Err(Malformed("a change of people is of an unknown kind")),
    })
}

/// The key of a person.
pub(super) fn key(id: PersonId) -> Vec<u8> {
    [&[PERSON][..], &id.0.to_be_bytes()].concat()
}

pub(super) fn encode(key: &[u8], person: &Person, sessions: &[Arc<Session>]) -> Vec<u8> {
    seal_as(FORMAT, key, |out| {
        put_str(out, person.email.as_str());
        put_str(out, person.password.as_str());
        put_date(out, person.created_at);
        put_u64(out, person.accounts.len() as u64);
        person.accounts.iter().for_each(|account| put_u64(out, account.0));
        put_u64(out, sessions.len() as u64);
        for session in sessions {
            out.extend_from_slice(&session.hash.0);
            put_date(out, session.began_at);
            put_str(out, &session.label);
        }
    })
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(Person, Vec<Session>), Malformed> {
    let mut name = Input(key);
    if name.byte()? != PERSON {
        return Err(Malformed("its key is odd"));
    }
    let id = PersonId(u64::from_be_bytes(name.array()?));
    name.end()?;
    let mut input = open_as(FORMAT, key, value)?;
    let email = Email::new(input.str()?).map_err(|_| Malformed("its address is odd"))?;
    let password = PasswordHash::new(input.str()?).ok_or(Malformed("its password is odd"))?;
    let created_at = input.date()?;
    // A count may say anything: what it says is only made room for as it comes.
    let mut accounts = std::collections::BTreeSet::new();
    for _ in 0..input.u64()? {
        accounts.insert(AccountId(input.u64()?));
    }
    let mut sessions = Vec::new();
    for _ in 0..input.u64()? {
        sessions.push(Session {
            hash: TokenHash(input.array()?),
            person: id,
            began_at: input.date()?,
            label: input.str()?.into(),
        });
    }
    input.end()?;
    Ok((Person { id, email, password, created_at, accounts }, sessions))
}

pub(super) fn encode_links(links: &[Link]) -> Vec<u8> {
    seal_as(FORMAT, LINKS, |out| {
        put_u64(out, links.len() as u64);
        for link in links {
            out.extend_from_slice(&link.hash.0);
            put_u64(out, link.account.0);
            out.push(u8::from(link.by_operator));
            put_date(out, link.made_at);
        }
    })
}

pub(super) fn decode_links(value: &[u8]) -> Result<Vec<Link>, Malformed> {
    let mut input = open_as(FORMAT, LINKS, value)?;
    let mut links = Vec::new();
    for _ in 0..input.u64()? {
        links.push(Link {
            hash: TokenHash(input.array()?),
            account: AccountId(input.u64()?),
            by_operator: input.byte()? != 0,
            made_at: input.date()?,
        });
    }
    input.end()?;
    Ok(links)
}

/// One of each kind, for those who try what is written.
#[cfg(any(test, fuzzing))]
pub(super) fn samples() -> Vec<PersonChange<'static>> {
    let (person, account, hash) = (PersonId(300), AccountId(7), TokenHash([5; 32]));
    let (email, password) = ("Zoë@example.com", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA");
    vec![
        PersonChange::Made { email, password, account },
        PersonChange::EmailSet { person, email },
        PersonChange::PasswordSet { person, password },
        PersonChange::Joined { person, account },
        PersonChange::Left { person, account },
        PersonChange::SessionBegun { person, hash, label: "Firefox on Linux" },
        PersonChange::SessionEnded { hash },
        PersonChange::SessionsEnded { person, but: None },
        PersonChange::SessionsEnded { person, but: Some(hash) },
        PersonChange::LinkMade { hash, account, by_operator: true },
        PersonChange::LinkUsed { hash },
    ]
}
