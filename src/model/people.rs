//! All people, their sessions and the links, as the records about them have left them.
//!
//! Pure: [`People::apply`] gives the same for the same records, whoever calls it and however they were
//! batched; what has run out is taken out by the time that a record bears, never by a clock's. Whether an
//! account is there, the caller asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::limits::{
    ACCOUNTS_OF_PERSON_MAX, INVITATIONS_OF_ACCOUNT_MAX, LINKS_MAX, PEOPLE_MAX,
    SESSION_LABEL_BYTES_MAX, SESSIONS_OF_PERSON_MAX,
};
use super::person::{
    Email, Link, PasswordHash, Person, PersonChange, PersonId, PersonRefusal, Session, TokenHash,
};
use super::{AccountId, Date, Seq};

/// Everybody who may sign in, found by id, address or session. Small (see [`PEOPLE_MAX`]), kept in
/// memory, and copied when something changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    by_id: BTreeMap<PersonId, Entry>,
    by_email: HashMap<String, PersonId>,
    by_session: HashMap<TokenHash, PersonId>,
    /// In the order in which they were made.
    links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    person: Arc<Person>,
    /// In the order in which they began.
    sessions: Vec<Arc<Session>>,
}

/// What a change has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A person, or the person's sessions; the person may be gone.
    Person(PersonId),
    /// The links.
    Links,
}

impl People {
    /// The person with this id.
    #[must_use]
    pub fn get(&self, id: PersonId) -> Option<&Arc<Person>> {
        self.by_id.get(&id).map(|entry| &entry.person)
    }

    /// Who signs in with this address, however it is written.
    #[must_use]
    pub fn by_email(&self, email: &Email) -> Option<&Arc<Person>> {
        self.get(*self.by_email.get(&email.key())?)
    }

    /// The session whose token hashes to this, and whose it is; none if it has run out at `now`.
    #[must_use]
    pub fn session(&self, hash: &TokenHash, now: Date) -> Option<(&Arc<Session>, &Arc<Person>)> {
        let entry = self.by_id.get(self.by_session.get(hash)?)?;
        let session = entry.sessions.iter().find(|session| session.hash == *hash)?;
        (session.ends_at() > now).then_some((session, &entry.person))
    }

    /// A person's sessions, oldest first; those that have run out may be among them.
    #[must_use]
    pub fn sessions_of(&self, person: PersonId) -> &[Arc<Session>] {
        self.by_id.get(&person).map_or(&[], |entry| &entry.sessions)
    }

    /// The link whose token hashes to this; none if it has run out at `now`.
    #[must_use]
    pub fn link(&self, hash: &TokenHash, now: Date) -> Option<&Link> {
        self.links.iter().find(|link| link.hash == *hash).filter(|link| link.ends_at() > now)
    }

    /// The links, oldest first; those that have run out may be among them.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Who sees an account, oldest first.
    #[must_use]
    pub fn members(&self, account: AccountId) -> Vec<Arc<Person>> {
        let people = self.by_id.values().map(|entry| &entry.person);
        people.filter(|person| person.accounts.contains(&account)).cloned().collect()
    }

    /// Everybody, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Person>> {
        self.by_id.values().map(|entry| Arc::clone(&entry.person)).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is nobody yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds a person with sessions, or replaces the one with that id: for whoever keeps them.
    pub fn put(&mut self, person: Person, sessions: Vec<Session>) {
        self.remove(person.id);
        self.by_email.insert(person.email.key(), person.id);
        self.by_session.extend(sessions.iter().map(|session| (session.hash, person.id)));
        let sessions = sessions.into_iter().map(Arc::new).collect();
        self.by_id.insert(person.id, Entry { person: Arc::new(person), sessions });
    }

    /// Replaces the links: for whoever keeps them.
    pub fn put_links(&mut self, links: Vec<Link>) {
        self.links = links;
    }

    /// Makes a change: the record at `seq`, which came at `at`.
    ///
    /// # Errors
    /// [`PersonRefusal`] says why it can't be; nothing has changed then.
    pub fn apply(
        &mut self,
        seq: Seq,
        at: Date,
        change: PersonChange<'_>,
    ) -> Result<Touched, PersonRefusal> {
        match change {
            PersonChange::Made { email, password, account } => {
                let person = Person {
                    id: PersonId(seq),
                    email: self.free(email, None)?,
                    password: PasswordHash::new(password).ok_or(PersonRefusal::Password)?,
                    created_at: at,
                    accounts: [account].into(),
                };
                if self.by_id.len() >= PEOPLE_MAX {
                    return Err(PersonRefusal::TooManyPeople);
                }
                self.put(person, Vec::new());
                Ok(Touched::Person(PersonId(seq)))
            }
            PersonChange::EmailSet { person, email } => {
                let email = self.free(email, Some(person))?;
                let key = email.key();
                let before = std::mem::replace(&mut self.person_mut(person)?.email, email).key();
                self.by_email.remove(&before);
                self.by_email.insert(key, person);
                Ok(Touched::Person(person))
            }
            PersonChange::PasswordSet { person, password } => {
                let password = PasswordHash::new(password).ok_or(PersonRefusal::Password)?;
                self.person_mut(person)?.password = password;
                Ok(Touched::Person(person))
            }
            PersonChange::Joined { person, account } => {
                let accounts = &mut self.person_mut(person)?.accounts;
                if accounts.len() >= ACCOUNTS_OF_PERSON_MAX && !accounts.contains(&account) {
                    return Err(PersonRefusal::TooManyAccounts);
                }
                accounts.insert(account);
                Ok(Touched::Person(person))
            }
            PersonChange::Left { person, account } => {
                let accounts = &mut self.person_mut(person)?.accounts;
                if !accounts.remove(&account) {
                    return Err(PersonRefusal::NotMember);
                }
                if accounts.is_empty() {
                    self.remove(person);
                }
                Ok(Touched::Person(person))
            }
            PersonChange::SessionBegun { person, hash, label } => {
                self.begin_session(at, person, hash, label)
            }
            PersonChange::SessionEnded { hash } => {
                let person = *self.by_session.get(&hash).ok_or(PersonRefusal::NoSession)?;
                self.keep_sessions(person, |session| session.hash != hash)?;
                Ok(Touched::Person(person))
            }
            PersonChange::SessionsEnded { person, but } => {
                self.keep_sessions(person, |session| Some(session.hash) == but)?;
                Ok(Touched::Person(person))
            }
            PersonChange::LinkMade { hash, account, by_operator } => {
                if self.links.iter().any(|link| link.hash == hash) {
                    return Err(PersonRefusal::TokenTaken);
                }
                self.links.retain(|link| link.ends_at() > at);
                if !by_operator {
                    self.make_room_for_invitation(account);
                }
                self.links.push(Link { hash, account, by_operator, made_at: at });
                let over = self.links.len().saturating_sub(LINKS_MAX);
                self.links.drain(..over);
                Ok(Touched::Links)
            }
            PersonChange::LinkUsed { hash } => {
                self.link(&hash, at).ok_or(PersonRefusal::NoLink)?;
                self.links.retain(|link| link.hash != hash);
                Ok(Touched::Links)
            }
        }
    }

    /// Takes out the oldest invitations to an account, so that there may be one more.
    fn make_room_for_invitation(&mut self, account: AccountId) {
        let is_one = |link: &Link| link.account == account && !link.by_operator;
        let waiting = self.links.iter().filter(|link| is_one(link)).count();
        let mut over = (waiting + 1).saturating_sub(INVITATIONS_OF_ACCOUNT_MAX);
        self.links.retain(|link| {
            let goes = over > 0 && is_one(link);
            over -= usize::from(goes);
            !goes
        });
    }

    fn begin_session(
        &mut self,
        at: Date,
        person: PersonId,
        hash: TokenHash,
        label: &str,
    ) -> Result<Touched, PersonRefusal> {
        if label.len() > SESSION_LABEL_BYTES_MAX {
            return Err(PersonRefusal::Label);
        }
        if self.by_session.contains_key(&hash) {
            return Err(PersonRefusal::TokenTaken);
        }
        self.keep_sessions(person, |session| session.ends_at() > at)?;
        let entry = self.by_id.get_mut(&person).ok_or(PersonRefusal::NoPerson)?;
        while entry.sessions.len() >= SESSIONS_OF_PERSON_MAX {
            self.by_session.remove(&entry.sessions.remove(0).hash);
        }
        let session = Session { hash, person, began_at: at, label: label.into() };
        entry.sessions.push(Arc::new(session));
        self.by_session.insert(hash, person);
        Ok(Touched::Person(person))
    }

    /// An address that nobody has, but perhaps `own`.
    fn free(&self, email: &str, own: Option<PersonId>) -> Result<Email, PersonRefusal> {
        let email = Email::new(email)?;
        match self.by_email.get(&email.key()) {
            Some(taken) if Some(*taken) != own => Err(PersonRefusal::EmailTaken),
            _ => Ok(email),
        }
    }

    fn person_mut(&mut self, id: PersonId) -> Result<&mut Person, PersonRefusal> {
        let entry = self.by_id.get_mut(&id).ok_or(PersonRefusal::NoPerson)?;
        Ok(Arc::make_mut(&mut entry.person))
    }

    fn keep_sessions(
        &mut self,
        person: PersonId,
        keep: impl Fn(&Session) -> bool,
    ) -> Result<(), PersonRefusal> {
        let entry = self.by_id.get_mut(&person).ok_or(PersonRefusal::NoPerson)?;
        entry.sessions.retain(|session| {
            let kept = keep(session);
            if !kept {
                self.by_session.remove(&session.hash);
            }
            kept
        });
        Ok(())
    }

    fn remove(&mut self, id: PersonId) {
        let Some(Entry { person, sessions }) = self.by_id.remove(&id) else { return };
        self.by_email.remove(&person.email.key());
        for session in sessions {
            self.by_session.remove(&session.hash);
        }
    }
}

#[cfg(test)]
mod tests;
