//! What uap-core's rules say of a user agent.
//!
//! One thread asks them, for whoever wants to know: each of the hundreds of patterns keeps some
//! memory for every thread that uses it. It makes the rules ready as soon as it starts, beside
//! everything else (50 ms, 14 MB), and who asks before waits for it. Answers to the last agents are
//! kept, in memory alone; one that isn't among them costs some hundredth of a millisecond, an odd one
//! a tenth, and thousands of odd ones make it 20 MB.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use lru::LruCache;
use ua_parser::{Error, Extractor, Regexes};

/// The agents whose answers are kept.
const RECENT_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("some");

/// How they came here, and which they are: `data/uap-core/README.md`.
const RULES: &str = include_str!("../../data/uap-core/rules.json");

/// What they say of an agent, in their words.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub browser: Option<String>,
    pub os: Option<String>,
    pub kind: Option<Kind>,
}

/// What they say that a device is, if it isn't simply a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bot,
    Phone,
    Tablet,
    Tv,
}

/// An agent, and where the answer is to go.
type Question = (String, Sender<Arc<Told>>);

pub(super) struct Rules {
    recent: Mutex<LruCache<String, Arc<Told>>>,
    questions: Sender<Question>,
}

impl Default for Rules {
    /// Starts the thread, which ends with this.
    fn default() -> Rules {
        // Nothing queues up: a question is put when the thread takes it.
        let (questions, asked) = bounded(0);
        let started = thread::Builder::new().name("agents".to_owned()).spawn(move || {
            if let Err(error) = answer(&asked) {
                log::error!("can't make the rules for user agents ready: {error}");
            }
        });
        if let Err(error) = started {
            log::error!("can't start the thread that reads user agents: {error}");
        }
        Rules { recent: Mutex::new(LruCache::new(RECENT_MAX)), questions }
    }
}

impl Rules {
    /// What they say of an agent; nothing without a thread that could ask them.
    pub(super) fn told(&self, agent: &str) -> Arc<Told> {
        // Not held while others' agents are read.
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = recent().get(agent) {
            return Arc::clone(told);
        }
        let (answer, answered) = bounded(1);
        let told = self.questions.send((agent.to_owned(), answer)).ok();
        let Some(told) = told.and_then(|()| answered.recv().ok()) else { return Arc::default() };
        recent().put(agent.to_owned(), Arc::clone(&told));
        told
    }
}

/// Makes the rules ready, and answers until nobody can ask any more.
fn answer(asked: &Receiver<Question>) -> Result<(), Error> {
    let rules: Regexes<'_> = serde_json::from_str(RULES).expect("`it_is_whole` sees to that");
    let rules = Extractor::try_from(rules)?;
    for (agent, answer) in asked {
        // Whoever asked waits.
        let _ = answer.send(Arc::new(told(&rules, &agent)));
    }
    Ok(())
}

fn told(rules: &Extractor<'_>, agent: &str) -> Told {
    let (browser, os, device) = rules.extract(agent);
    let kind = device.and_then(|device| {
        match (device.brand.as_deref().unwrap_or_default(), &*device.device) {
            ("Spider", _) => Some(Kind::Bot),
            ("Generic_Inettv", _) => Some(Kind::Tv),
            (_, "Generic Smartphone" | "Generic Feature Phone") => Some(Kind::Phone),
            (_, "Generic Tablet") => Some(Kind::Tablet),
            _ => None,
        }
    });
    Told {
        browser: browser.map(|browser| browser.family.into_owned()),
        os: os.map(|os| os.os.into_owned()),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole() {
        let rules: Regexes<'_> = serde_json::from_str(RULES).expect("JSON of rules");
        assert!(rules.user_agent_parsers.len() > 400);
        assert!(rules.os_parsers.len() > 200);
        let spiders = rules.device_parsers.iter();
        let spiders =
            spiders.filter(|rule| rule.brand_replacement.as_deref() == Some("Spider")).count();
        assert!(spiders >= 7 && Extractor::try_from(rules).is_ok());
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let rules = Rules::default();
        for n in 0..RECENT_MAX.get() + 10 {
            rules.told(&format!("a{n}"));
        }
        let recent = rules.recent.lock().expect("no panic");
        assert_eq!(recent.len(), RECENT_MAX.get());
        assert!(!recent.contains("a9") && recent.contains("a10"));
    }

    #[test]
    fn without_its_thread_nothing_is_told() {
        let (questions, asked) = bounded(0);
        drop(asked);
        let rules = Rules { questions, ..Rules::default() };
        assert!(rules.told("Mozilla/5.0 (Windows NT 10.0) Firefox/133.0").browser.is_none());
        assert!(rules.recent.lock().expect("no panic").is_empty());
    }
}
