//! Who sees the account: one-time links for others, and taking somebody's access back.

use super::{Failure, Response, Visit, answer, done, page, told};
use crate::auth;
use crate::model::{PersonChange, PersonId, TokenHash};
use crate::store::Draft;
use crate::web::pages::sign_in::no_randomness;

/// Somebody who sees the account.
pub(super) struct Member {
    pub id: u64,
    pub email: String,
    pub is_oneself: bool,
}

pub(super) fn members(visit: &Visit<'_>) -> Result<Vec<Member>, Failure> {
    let oneself = visit.who()?.person.id;
    let members = visit.rooms.store.people().members(visit.account()?.id);
    let shown = members.iter().map(|person| Member {
        id: person.id.0,
        email: person.email.to_string(),
        is_oneself: person.id == oneself,
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by(|a, b| a.email.cmp(&b.email));
    Ok(shown)
}

/// Makes a link for somebody else.
pub(in crate::web) fn invite(visit: &Visit<'_>) -> Result<Response, Failure> {
    let token = auth::new_token().map_err(no_randomness)?;
    let (hash, account) = (TokenHash::of(&token), visit.account()?.id);
    let change = PersonChange::LinkMade { hash, account, by_operator: false };
    visit.change(vec![Draft::person(change, visit.at())])?;
    let mut page = page(visit)?;
    page.link = Some(visit.url().url(&format!("/link/{token}")));
    told(&mut page, "The link is made. Copy it now: it isn't shown again.");
    answer(visit, page)
}

/// Takes somebody's access back, perhaps one's own.
pub(in crate::web) fn remove(visit: &Visit<'_>) -> Result<Response, Failure> {
    let (account, at) = (visit.account()?.id, visit.at());
    let person = PersonId(visit.field("person").parse().unwrap_or_default());
    let people = visit.rooms.store.people();
    if people.members(account).iter().any(|member| member.id == person) {
        visit.change(vec![Draft::person(PersonChange::Left { person, account }, at)])?;
    }
    if person == visit.who()?.person.id {
        return Ok(visit.see(&format!("{}/", visit.url().base())));
    }
    // Who isn't there has gone already.
    done(visit, "removed")
}
