//! The last refused calls of each account, for its owner to see what is wrong with a page.
//!
//! # What it promises
//! - So many of an account and so many in all ([`ACCOUNT_MAX`], [`ALL_MAX`]), however many are refused; an
//!   account that is called wrongly a lot takes no place of one that isn't. Older ones than [`AGE_MAX`] go.
//! - No address, no credential and no data, but for what `detail` quotes of it: a few words.
//! - They outlive the process in `DIR/refused.jsonl`, which is written now and then and never synced: nobody
//!   waits for it, and losing it is no harm. Whoever erases a user or events has all of that account's
//!   forgotten, since they may quote what is to be gone.
//!
//! Must not know HTTP, nor what is stored.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::model::{AccountId, Date};
use crate::ticker::Ticker;

/// Calls of one account.
pub const ACCOUNT_MAX: usize = 100;

/// Calls of all accounts.
pub const ALL_MAX: usize = 2_000;

/// How long one is shown.
pub const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Bytes that are kept of why a call was refused.
const DETAIL_BYTES_MAX: usize = 400;

/// What the file is called until it is whole.
const UNFINISHED: &str = "new";

/// Bytes of the file; a longer one isn't ours.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How often what has changed is written, at the most.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    #[serde(with = "date")]
    pub at: Date,
    /// The HTTP status it was answered with.
    pub status: u16,
    /// Why, for machines.
    pub code: String,
    /// Why, for people.
    pub detail: String,
    /// The page that it came from, if it said so, as a context has it: [`crate::context::page`].
    pub page: Option<String>,
    /// What was to be tracked: `users` or `events`.
    pub kind: String,
    /// Where it was sent, by the name that the metrics have for it.
    pub route: String,
}

/// Dates as they go out.
mod date {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Date;

    pub fn serialize<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(date)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        let text = String::deserialize(deserializer)?;
        Date::parse(&text).ok_or_else(|| D::Error::custom("no date"))
    }
}

/// As much of a text as so many bytes hold.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    text
}

/// A line of the file: whose, and what.
type Line = (u64, Refusal);

/// All of them.
pub struct Refused {
    path: PathBuf,
    rings: Mutex<Rings>,
    /// What is kept differs from the file.
    changed: AtomicBool,
    /// Held while the file changes.
    saving: Mutex<()>,
}

#[derive(Default)]
struct Rings {
    /// Oldest first; none is empty.
    of: HashMap<AccountId, VecDeque<Refusal>>,
    count: usize,
}

impl Rings {
    fn push(&mut self, account: AccountId, refusal: Refusal) {
        let ring = self.of.entry(account).or_default();
        ring.push_back(refusal);
        self.count += 1;
        if ring.len() > ACCOUNT_MAX {
            ring.pop_front();
            self.count -= 1;
        } else if self.count > ALL_MAX
            && let Some(longest) = self.of.values_mut().max_by_key(|ring| {
                // Of those that are equally long, the one whose first is oldest.
                (ring.len(), ring.front().map(|refusal| Reverse(refusal.at)))
            })
        {
            longest.pop_front();
            self.count -= 1;
            self.of.retain(|_, ring| !ring.is_empty());
        }
    }

    fn drop_older(&mut self, than: Date) -> bool {
        let before = self.count;
        for ring in self.of.values_mut() {
            ring.retain(|refusal| refusal.at >= than);
        }
        self.of.retain(|_, ring| !ring.is_empty());
        self.count = self.of.values().map(VecDeque::len).sum();
        self.count < before
    }
}

impl Refused {
    /// What the data directory `dir` has of them. A file that makes no sense counts as none.
    #[must_use]
    pub fn open(dir: &Path) -> Refused {
        let path = dir.join("refused.jsonl");
        let mut rings = Rings::default();
        if let Ok(file) = File::open(&path) {
            for line in BufReader::new(file.take(FILE_BYTES_MAX)).lines().map_while(Result::ok) {
                if let Ok((account, refusal)) = serde_json::from_str::<Line>(&line) {
                    rings.push(AccountId(account), refusal);
                }
            }
        }
        Refused {
            path,
            rings: Mutex::new(rings),
            changed: AtomicBool::new(false),
            saving: Mutex::default(),
        }
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a call that was refused.
    pub fn note(&self, account: AccountId, refusal: Refusal) {
        let detail = cut(refusal.detail, DETAIL_BYTES_MAX);
        self.rings().push(account, Refusal { detail, ..refusal });
        self.changed.store(true, SeqCst);
    }

    /// An account's, newest first.
    #[must_use]
    pub fn last(&self, account: AccountId, limit: usize, now: Date) -> Vec<Refusal> {
        let since = since(now);
        let rings = self.rings();
        let ring = rings.of.get(&account).into_iter().flatten().rev();
        ring.filter(|refusal| refusal.at >= since).take(limit).cloned().collect()
    }

    /// Forgets all of an account's, on disk too, for good: the file goes, and the others' are written again
    /// with the next one.
    ///
    /// # Errors
    /// If the file can't be taken away.
    pub fn forget(&self, account: AccountId) -> io::Result<()> {
        let _saving = self.saving();
        let mut rings = self.rings();
        if let Some(ring) = rings.of.remove(&account) {
            rings.count -= ring.len();
        }
        self.changed.store(true, SeqCst);
        drop(rings);
        // One that could not be written to its end may lie there too.
        let _ = fs::remove_file(self.path.with_extension(UNFINISHED));
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(self.path.parent().unwrap_or(&self.path))?.sync_all(),
        }
    }

    /// Held while the file changes.
    fn saving(&self) -> MutexGuard<'_, ()> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has changed since it was written last.
    pub fn save(&self, now: Date) {
        let _saving = self.saving();
        let mut rings = self.rings();
        let aged = rings.drop_older(since(now));
        if !self.changed.swap(false, SeqCst) && !aged {
            return;
        }
        let lines: Vec<Line> = rings
            .of
            .iter()
            .flat_map(|(account, ring)| ring.iter().map(|refusal| (account.0, refusal.clone())))
            .collect();
        drop(rings);
        if let Err(error) = self.write(&lines) {
            log::debug!("can't write {}: {error}", self.path.display());
            self.changed.store(true, SeqCst);
        }
    }

    /// A crash leaves the file before or this one, or one that is cut short, which is read as far as it goes.
    fn write(&self, lines: &[Line]) -> io::Result<()> {
        // The name is one that the store takes away if it is left behind.
        let fresh = self.path.with_extension(UNFINISHED);
        let options =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).to_owned();
        let mut file = BufWriter::new(options.open(&fresh)?);
        for line in lines {
            serde_json::to_writer(&mut file, line)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        fs::rename(&fresh, &self.path)
    }
}

/// What is older isn't shown.
fn since(now: Date) -> Date {
    let age = i64::try_from(AGE_MAX.as_millis()).unwrap_or(i64::MAX);
    Date::from_millis(now.millis().saturating_sub(age))
}

/// Writes them now and then, and at the end.
pub struct Saver {
    refused: Arc<Refused>,
    ticker: Ticker,
}

impl Saver {
    /// Starts it.
    ///
    /// # Errors
    /// If the operating system has no threads left.
    pub fn start(refused: &Arc<Refused>) -> io::Result<Saver> {
        let (refused, saved) = (Arc::clone(refused), Arc::clone(refused));
        let ticker = Ticker::start("refused", SAVE_EVERY, move || saved.save(clock::now()))?;
        Ok(Saver { refused, ticker })
    }

    /// Ends it, and writes what there is.
    pub fn stop(self) {
        self.ticker.stop();
        self.refused.save(clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: i64) -> Refusal {
        Refusal {
            at: Date::from_millis(at),
            status: 400,
            code: "invalid_json".to_owned(),
            detail: "why".to_owned(),
            page: None,
            kind: "events".to_owned(),
            route: "events_track".to_owned(),
        }
    }

    fn times(refused: &Refused, account: u64, now: i64) -> Vec<i64> {
        let last = refused.last(AccountId(account), usize::MAX, Date::from_millis(now));
        last.into_iter().map(|refusal| refusal.at.millis()).collect()
    }

    #[test]
    fn each_account_has_its_own_and_not_too_many() {
        let dir = tempfile::tempdir().expect("a folder");
        let refused = Refused::open(dir.path());
        for at in 0..1000 {
            refused.note(AccountId(1), refusal(at));
        }
        refused.note(AccountId(2), Refusal { detail: "é".repeat(1000), ..refusal(7) });
        assert_eq!(times(&refused, 1, 0), (900..1000).rev().collect::<Vec<_>>());
        assert_eq!(times(&refused, 2, 0), [7]);
        assert_eq!(times(&refused, 3, 0), [0; 0]);
        assert_eq!(refused.last(AccountId(1), 3, Date::from_millis(0)).len(), 3);
        let kept = &refused.last(AccountId(2), 1, Date::from_millis(0))[0];
        assert_eq!(kept.detail.len(), DETAIL_BYTES_MAX);

        // One that was called wrongly once keeps its place beside any number of others.
        for account in 10..40 {
            for at in 0..100 {
                refused.note(AccountId(account), refusal(at));
            }
        }
        assert_eq!(times(&refused, 2, 0), [7]);
        let rings = refused.rings();
        assert_eq!(rings.count, ALL_MAX);
        assert_eq!(rings.of.values().map(VecDeque::len).sum::<usize>(), ALL_MAX);
    }

    #[test]
    fn they_outlive_the_process_but_not_their_time_nor_an_erasure() {
        let dir = tempfile::tempdir().expect("a folder");
        let week = i64::try_from(AGE_MAX.as_millis()).expect("a week");
        let refused = Refused::open(dir.path());
        for at in [0, 5] {
            refused.note(AccountId(1), refusal(at));
        }
        refused.note(AccountId(2), refusal(6));
        assert_eq!(times(&refused, 1, week + 1), [5]);
        refused.save(Date::from_millis(week));
        assert_eq!(times(&Refused::open(dir.path()), 1, 0), [5, 0]);
        refused.note(AccountId(2), refusal(8));
        refused.save(Date::from_millis(week + 1));
        let refused = Refused::open(dir.path());
        assert_eq!((times(&refused, 1, 0), times(&refused, 2, 0)), (vec![5], vec![8, 6]));
        refused.forget(AccountId(1)).expect("the file can be removed");
        assert!(times(&Refused::open(dir.path()), 1, 0).is_empty());
        refused.forget(AccountId(1)).expect("there is nothing to be removed");
        refused.save(Date::from_millis(0));
        let refused = Refused::open(dir.path());
        assert_eq!((times(&refused, 1, 0), times(&refused, 2, 0)), (vec![], vec![8, 6]));

        let file = dir.path().join("refused.jsonl");
        let text = fs::read(&file).expect("a file");
        for spoilt in [&b"\xff\xfe{"[..], b"", b"{}\n", &text[..text.len() - 9]] {
            fs::write(&file, spoilt).expect("it can be written");
            assert!(times(&Refused::open(dir.path()), 2, 0).len() <= 1);
        }
    }
}
