//! The made-up events and users that measurements rest on are what their generator says they are.

#[path = "../benches/generator/mod.rs"]
mod generator;

use std::collections::{HashMap, HashSet};

use triggerly::model::json;
use triggerly::model::limits::{CONTEXT_BYTES_MAX, DEPTH_MAX};

const COUNT: u64 = 30_000;
const USERS: u64 = 1_000;

#[test]
fn events() {
    let all: Vec<_> = generator::events(1, COUNT, USERS).collect();
    assert!(all.iter().cloned().eq(generator::events(1, COUNT, USERS)), "the same again");
    assert!(!all.iter().cloned().eq(generator::events(2, COUNT, USERS)), "others");
    assert_eq!(all.len() as u64, COUNT);

    let known: HashSet<_> = generator::users(1, USERS).map(|(id, _)| id).collect();
    assert_eq!(known.len() as u64, USERS, "no two are called the same");
    let (mut kinds, mut users) = (HashMap::new(), HashMap::new());
    let mut latest = 0;
    for event in &all {
        *kinds.entry(event.kind).or_insert(0) += 1;
        if let Some(id) = &event.user_id {
            assert!(known.contains(id), "{id}");
            *users.entry(id).or_insert(0) += 1;
        }
        let attributes = json::parse_object(&event.attributes, DEPTH_MAX).expect("JSON");
        assert_eq!(json::to_text(&attributes), event.attributes, "it is compact");
        assert!((generator::FROM - 4_000..generator::TO).contains(&event.date));
        assert!(event.date > latest - 4_000, "no more than some seconds late");
        latest = latest.max(event.date);
    }
    assert!(latest > generator::TO - 86_400_000);
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    let share = |count: u64| count * 100 / COUNT;
    assert!((58..64).contains(&share(kinds["page view"])), "{kinds:?}");
    assert!((55..65).contains(&share(users.values().sum())));
    let mut most: Vec<_> = users.values().copied().collect();
    most.sort_unstable_by(|a, b| b.cmp(a));
    assert!(most[0] > 10 * most[most.len() / 2], "few do much: {most:?}");
}

#[test]
fn contexts_are_as_the_server_would_tell_them() {
    let (mut visitors, mut bots, mut private) = (HashMap::new(), 0, 0);
    let mut with_context = 0;
    for event in generator::events(1, COUNT, USERS) {
        let Some(text) = &event.context else {
            assert!(["purchase", "e-mail opened"].contains(&event.kind), "{event:?}");
            continue;
        };
        with_context += 1;
        let context = json::parse_object(text, DEPTH_MAX).expect("JSON");
        assert_eq!(&json::to_text(&context), text, "it is compact");
        assert!(text.len() <= CONTEXT_BYTES_MAX);
        let page = context["page"].as_str().expect("text");
        assert_eq!(triggerly::context::page(page).as_deref(), Some(page));
        let known = ["page", "browser", "os", "device", "visitor", "bot", "prefetch"];
        assert!(context.keys().is_sorted_by_key(|key| known.iter().position(|name| name == key)));
        let is_bot = context.get("bot").is_some();
        assert_eq!(is_bot, context.get("device").is_none(), "{text}");
        bots += u32::from(is_bot);
        match context.get("visitor") {
            Some(visitor) => {
                let agent = ["browser", "os", "device"].map(|key| context.get(key).cloned());
                let first = visitors.entry(visitor.to_string()).or_insert(agent.clone());
                assert_eq!(*first, agent, "one visitor, one browser");
            }
            None => private += 1,
        }
    }
    assert!((20..50).contains(&(with_context / bots)), "{bots} of {with_context}");
    assert!((12..30).contains(&(with_context / private)), "{private} of {with_context}");
    assert!(visitors.len() > 1_000, "{}", visitors.len());
}

#[test]
fn users() {
    for (id, patch) in generator::users(1, USERS) {
        let patch = json::parse_object(&patch, DEPTH_MAX).expect("JSON");
        assert!(!id.is_empty() && patch["email"].as_str().is_some_and(|email| email.contains('@')));
    }
    let emails = generator::users(1, USERS).filter(|(id, _)| id.contains('@')).count() as u64;
    assert_eq!(emails, USERS / 2);
    assert!(generator::users(1, USERS).eq(generator::users(1, USERS)), "the same again");
}
