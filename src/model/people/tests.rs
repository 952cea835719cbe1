//! What people, sessions and links become by records about them.

use super::*;
use crate::model::limits::{LINK_HOURS, SESSION_DAYS};
use PersonChange::*;

const ACCOUNT: AccountId = AccountId(1);
const OTHER: AccountId = AccountId(2);
const PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
const HOUR: i64 = 3_600_000;

fn at(hours: i64) -> Date {
    Date::from_millis(hours * HOUR)
}

fn hash(n: u64) -> TokenHash {
    TokenHash::of(&n.to_string())
}

fn made(email: &str) -> PersonChange<'_> {
    Made { email, password: PASSWORD, account: ACCOUNT }
}

fn begun(person: u64, n: u64) -> PersonChange<'static> {
    SessionBegun { person: PersonId(person), hash: hash(n), label: "Firefox on Linux" }
}

fn email(text: &str) -> Email {
    Email::new(text).expect(text)
}

/// Applies changes, the first at position 1 and hour 0, each later one a position and an hour on.
fn people(changes: &[PersonChange<'_>]) -> People {
    let mut people = People::default();
    for (n, change) in changes.iter().enumerate() {
        people.apply(n as u64 + 1, at(n as i64), *change).expect("it can be");
    }
    people
}

#[test]
fn a_person_is_found_and_changed() {
    let mut people = people(&[made("Zoe@Example.com"), made("max@example.com")]);
    let (zoe, max) = (PersonId(1), PersonId(2));
    assert_eq!(people.by_email(&email("zoe@EXAMPLE.com")).expect("her").id, zoe);
    assert_eq!(people.get(zoe).expect("her").email.as_str(), "Zoe@Example.com");
    assert_eq!(people.members(ACCOUNT).len(), 2);
    assert_eq!(people.members(OTHER), []);

    // A different way to write one's own address is no other's.
    let own = EmailSet { person: zoe, email: "zoe@example.com" };
    assert_eq!(people.apply(3, at(3), own), Ok(Touched::Person(zoe)));
    let new = EmailSet { person: zoe, email: "zoe@new.example" };
    people.apply(4, at(4), new).expect("it is free");
    assert!(people.by_email(&email("zoe@example.com")).is_none());
    assert_eq!(people.by_email(&email("zoe@new.example")).expect("her").id, zoe);
    let freed = EmailSet { person: max, email: "ZOE@example.com" };
    people.apply(5, at(5), freed).expect("it is free now");

    let other = PASSWORD.replace("aGFzaA", "b3RoZXI");
    people.apply(6, at(6), PasswordSet { person: zoe, password: &other }).expect("a hash");
    assert_eq!(people.get(zoe).expect("her").password.as_str(), other);

    for _ in 0..2 {
        people.apply(7, at(7), Joined { person: zoe, account: OTHER }).expect("there is room");
        assert_eq!(people.get(zoe).expect("her").accounts, [ACCOUNT, OTHER].into());
    }
    assert_eq!(people.members(OTHER)[0].id, zoe);
    people.apply(8, at(8), begun(1, 1)).expect("a session");
    people.apply(9, at(9), Left { person: zoe, account: ACCOUNT }).expect("she sees it");
    assert!(people.session(&hash(1), at(9)).is_some());
    people.apply(10, at(10), Left { person: zoe, account: OTHER }).expect("she sees it");
    assert!(people.get(zoe).is_none(), "who sees nothing is gone");
    assert!(people.session(&hash(1), at(10)).is_none());
    assert!(people.by_email(&email("zoe@new.example")).is_none());
    assert_eq!(people.list().len(), 1);
}

#[test]
fn what_cannot_be_says_why_and_changes_nothing() {
    let label = "x".repeat(SESSION_LABEL_BYTES_MAX + 1);
    let nobody = PersonId(99);
    let zoe = PersonId(1);
    let link = LinkMade { hash: hash(50), account: ACCOUNT, by_operator: true };
    let before = people(&[made("zoe@b"), made("max@b"), begun(1, 1), link]);
    for (change, refusal) in [
        (made("ZOE@b"), PersonRefusal::EmailTaken),
        (made("b"), PersonRefusal::Email(crate::model::person::EmailError::Shape)),
        (Made { email: "c@b", password: "x", account: ACCOUNT }, PersonRefusal::Password),
        (EmailSet { person: zoe, email: "max@B" }, PersonRefusal::EmailTaken),
        (EmailSet { person: nobody, email: "c@b" }, PersonRefusal::NoPerson),
        (PasswordSet { person: nobody, password: PASSWORD }, PersonRefusal::NoPerson),
        (PasswordSet { person: zoe, password: "" }, PersonRefusal::Password),
        (Joined { person: nobody, account: ACCOUNT }, PersonRefusal::NoPerson),
        (Left { person: nobody, account: ACCOUNT }, PersonRefusal::NoPerson),
        (Left { person: zoe, account: OTHER }, PersonRefusal::NotMember),
        (begun(99, 9), PersonRefusal::NoPerson),
        (begun(2, 1), PersonRefusal::TokenTaken),
        (SessionBegun { person: zoe, hash: hash(9), label: &label }, PersonRefusal::Label),
        (SessionEnded { hash: hash(9) }, PersonRefusal::NoSession),
        (SessionsEnded { person: nobody, but: None }, PersonRefusal::NoPerson),
        (link, PersonRefusal::TokenTaken),
        (LinkUsed { hash: hash(9) }, PersonRefusal::NoLink),
    ] {
        let mut after = before.clone();
        assert_eq!(after.apply(9, at(9), change), Err(refusal), "{change:?}");
        assert_eq!(after, before, "{change:?}");
    }
}

#[test]
fn sessions_begin_and_end() {
    let mut people = people(&[made("zoe@b"), made("max@b"), begun(1, 1), begun(1, 2), begun(2, 3)]);
    let (session, person) = people.session(&hash(2), at(5)).expect("it goes on");
    assert_eq!((&*session.label, session.began_at), ("Firefox on Linux", at(3)));
    assert_eq!(person.id, PersonId(1));
    let end = 3 + SESSION_DAYS * 24;
    assert!(people.session(&hash(2), Date::from_millis(end * HOUR - 1)).is_some());
    assert!(people.session(&hash(2), at(end)).is_none(), "it has run out");

    people.apply(6, at(6), SessionEnded { hash: hash(2) }).expect("it goes on");
    assert!(people.session(&hash(2), at(6)).is_none());
    people.apply(7, at(7), begun(1, 4)).expect("another");
    let all_but = SessionsEnded { person: PersonId(1), but: Some(hash(4)) };
    people.apply(8, at(8), all_but).expect("she is there");
    assert!(people.session(&hash(1), at(8)).is_none());
    assert!(people.session(&hash(4), at(8)).is_some());
    // Another's session is none that may stay.
    let others = SessionsEnded { person: PersonId(1), but: Some(hash(3)) };
    people.apply(9, at(9), others).expect("she is there");
    assert_eq!(people.sessions_of(PersonId(1)), []);
    assert!(people.session(&hash(3), at(9)).is_some());
}

#[test]
fn sessions_are_bounded_and_run_out() {
    let mut people = people(&[made("zoe@b")]);
    let most = SESSIONS_OF_PERSON_MAX as u64;
    for n in 0..=most {
        people.apply(2 + n, at(1), begun(1, n)).expect("another");
    }
    assert_eq!(people.sessions_of(PersonId(1)).len(), SESSIONS_OF_PERSON_MAX);
    assert!(people.session(&hash(0), at(1)).is_none(), "the oldest has ended");
    assert!(people.session(&hash(1), at(1)).is_some());
    people.apply(100, at(2 + SESSION_DAYS * 24), begun(1, 99)).expect("another");
    assert_eq!(people.sessions_of(PersonId(1)).len(), 1, "the others had run out");
    assert_eq!(people.by_session.len(), 1);
}

#[test]
fn a_link_works_once_and_not_for_ever() {
    let link = |n| LinkMade { hash: hash(n), account: OTHER, by_operator: n != 2 };
    let mut people = people(&[link(1), link(2)]);
    let found = people.link(&hash(1), at(2)).expect("it waits");
    assert!((found.account, found.by_operator, found.made_at) == (OTHER, true, at(0)));
    people.apply(3, at(2), LinkUsed { hash: hash(1) }).expect("it waits");
    assert_eq!(people.apply(4, at(2), LinkUsed { hash: hash(1) }), Err(PersonRefusal::NoLink));
    let late = at(1 + LINK_HOURS);
    assert!(people.link(&hash(2), late).is_none());
    assert_eq!(people.apply(5, late, LinkUsed { hash: hash(2) }), Err(PersonRefusal::NoLink));
    assert_eq!(people.links().len(), 1);
    for n in 3..=3 + LINKS_MAX as u64 {
        people.apply(n + 3, late, link(n)).expect("another");
    }
    assert_eq!(people.links().len(), LINKS_MAX, "what had run out is gone, and the oldest");
    assert!(people.link(&hash(3), late).is_none());
    assert!(people.link(&hash(4), late).is_some());
}

#[test]
fn the_links_that_people_make_push_out_none_but_their_own() {
    let link = |n, account, by_operator| LinkMade { hash: hash(n), account, by_operator };
    let mut people = people(&[link(1, OTHER, true), link(2, OTHER, false), link(3, ACCOUNT, true)]);
    for n in 0..3 * LINKS_MAX as u64 {
        people.apply(10 + n, at(1), link(10 + n, ACCOUNT, false)).expect("another");
    }
    for n in 1..=3 {
        assert!(people.link(&hash(n), at(1)).is_some(), "{n}");
    }
    assert_eq!(people.links().len(), 3 + INVITATIONS_OF_ACCOUNT_MAX);
    let last = 10 + 3 * LINKS_MAX as u64;
    let first = last - INVITATIONS_OF_ACCOUNT_MAX as u64;
    assert!(people.link(&hash(first - 1), at(1)).is_none());
    assert!((first..last).all(|n| people.link(&hash(n), at(1)).is_some()));
}

#[test]
fn people_and_accounts_are_bounded() {
    let mut people = People::default();
    for n in 0..PEOPLE_MAX as u64 {
        people.apply(n + 1, at(0), made(&format!("p{n}@b"))).expect("there is room");
    }
    assert_eq!(people.apply(5_000, at(0), made("one@b")), Err(PersonRefusal::TooManyPeople));
    let person = PersonId(1);
    for n in 2..=ACCOUNTS_OF_PERSON_MAX as u64 {
        let joined = Joined { person, account: AccountId(n) };
        people.apply(n + 6_000, at(0), joined).expect("there is room");
    }
    let refused = PersonRefusal::TooManyAccounts;
    let joined = |n| Joined { person, account: AccountId(n) };
    assert_eq!(people.apply(9_000, at(0), joined(5_000)), Err(refused));
    assert_eq!(people.apply(9_001, at(0), joined(2)), Ok(Touched::Person(person)), "seen already");
}
