//! Group commit: many callers, one thread that writes, one flush for all that waited.
//!
//! ```text
//! workers --submit--> bounded queue --> committer --> bounded queue --> answering thread
//!                      (full: refused)   append, flush, merge             done(Ok | Err)
//! ```
//! While one group is flushed the next one gathers, so the slower the disk the larger the groups.
//! Answers are given by a thread of their own: a caller who doesn't take his answer must not hold
//! up anybody's commit for longer than the queue between the two.
//!
//! What is committed has to be sealed, and what isn't takes memory. Where records come faster than that for longer, as in
//! batches from several at once, the committer rests behind each group, the longer the more there is ([`rest`]), so that
//! both come to go equally fast.
//!
//! # Why an acknowledgement is true
//! `done` gets a [`Receipt`] only behind a flush that began after the group was appended and returned
//! without an error. What the group changes in the keyed state is merged behind the flush, so that
//! nothing is shown that could still be lost, and reaches the disk with a later flush; after a crash
//! it follows from the log again. One that came again under its key ([`Submission::once`]) is answered
//! behind the flush of the group that finds it, so behind that of the first. After any error nothing is
//! written and nobody is acknowledged any more, since nobody knows what the medium kept ([`super::flush`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, select};

use super::Store;
use super::batch::ENTRY_BYTES_MAX;
use super::compactor::HOT_BYTES_MAX;
use super::draft::{Draft, Submission};
use super::fatal;
use super::flush::Flush;
use super::follow::{ENDED, Following, OFFER_WAIT_MAX, Offered, ROOM_EVERY};
use super::hot::SLED_SEGMENT_BYTES;
use super::outcome::{Outcome, Receipt, Refusal};
use super::shared::SharedLog;
use super::space::{Claim, Room};
use super::stage::Stage;
use crate::model::limits::{
    BATCH_OBJECTS_MAX, BODY_BYTES_MAX, CONTEXT_BYTES_MAX, OBJECT_BYTES_MAX, USER_BYTES_MAX,
};

/// Submissions that may wait for the committer. One more is refused.
pub const QUEUE_SUBMISSIONS_MAX: usize = 4_096;

/// Bytes that waiting submissions may hold together. One that would go beyond is refused.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Records of one group.
pub const GROUP_RECORDS_MAX: usize = 512;

/// Updates of users in one group, unless a single submission has more. Each may write a whole user; of a
/// submission that names more, users are written in pieces (see `stage`).
pub const GROUP_USERS_MAX: usize = 64;

/// Bytes of one group's records, unless a single submission has more.
pub const GROUP_BYTES_MAX: usize = 64 * 1024;

/// Bytes that the largest submission takes: the largest body, and what stands beside each object in its
/// record and its draft.
pub const SUBMISSION_BYTES_MAX: usize =
    BODY_BYTES_MAX + BATCH_OBJECTS_MAX * (CONTEXT_BYTES_MAX + 1024);

/// Why a store doesn't change that shares its log, but isn't served with it.
const APART: &str = "this store shares its log with other servers, and nothing can be added to it while it isn't served \
                     with them; start the server with its --log, and ask again";

/// Submissions of a group from which on the next one is paced.
const PACED_FROM: usize = 4;

/// From one group's beginning to the next, at the least, where several callers are about. A commit
/// costs the same however many share it, and a fast disk would have many of few: with 64 callers
/// groups grew from 12 to 30 and calls/s by 15 % (median of 12 interleaved rounds). A lone caller
/// never waits, nor does anybody where a flush takes longer than this.
const PACE: Duration = Duration::from_micros(800);

/// Answers that are given together at the most: those behind them are not to wait for long.
const TOGETHER_MAX: usize = 64;

/// Calls what it is handed, which gives some answers.
pub type Together = fn(&mut dyn FnMut());

/// Groups that may wait to be answered. Behind them the committer waits.
const ANSWERS_MAX: usize = 64;

/// Bytes of the hot end from which on the committer rests. Where the compactor still goes easy on calls it would be too
/// early: from half of the bound on, an import was 0.82 times as fast.
///
/// Without, one to sixteen connections with batches of 1,000 events had a server at 226 to 438 MiB within nine seconds.
const RESTS_FROM: u64 = HOT_BYTES_MAX / 4 * 3;

/// How long it rests for each byte when there are [`HOT_BYTES_MAX`] more: 2 MB/s, which any machine seals.
const REST_NANOS_MAX: u64 = 500;

/// How long it rests behind one group, at the most: others who call wait for it.
const REST_MAX: Duration = Duration::from_millis(250);

/// The part of many users' bytes that is weighed as what is handed over is: with its weight, that is more
/// than the 4 times their bytes that users of one group took at the most (see `space`).
const MANY_USERS_PART: u64 = 4;

const _: () = {
    // The largest submission finds room in an empty queue, and in what sled writes at once.
    assert!(SUBMISSION_BYTES_MAX < QUEUE_BYTES_MAX && SUBMISSION_BYTES_MAX < SLED_SEGMENT_BYTES);
    // The largest object, with the texts that stand beside it, makes an entry of its own.
    assert!(OBJECT_BYTES_MAX + CONTEXT_BYTES_MAX + 4 * 1024 < ENTRY_BYTES_MAX);
    assert!(GROUP_BYTES_MAX < ENTRY_BYTES_MAX);
    // 19 entries, the most that a leaf can have, stay below a quarter of a segment.
    assert!(19 * (ENTRY_BYTES_MAX + 64) < SLED_SEGMENT_BYTES / 4);
    // What a group writes at once is small beside what sled writes before it uses space again.
    assert!(GROUP_BYTES_MAX + GROUP_USERS_MAX * USER_BYTES_MAX < SLED_SEGMENT_BYTES);
    // A queue of the largest submissions is bounded by its bytes long before its count.
    assert!(QUEUE_SUBMISSIONS_MAX * OBJECT_BYTES_MAX > QUEUE_BYTES_MAX);
};

/// What to do with the outcome of a submission. Called exactly once, also when it is dropped.
pub struct Done(Option<Box<dyn FnOnce(Outcome) + Send>>);

impl Done {
    /// Wraps what is to be called. It may take a moment, but must not wait for another submission.
    pub fn new(call: impl FnOnce(Outcome) + Send + 'static) -> Done {
        Done(Some(Box::new(call)))
    }

    fn call(mut self, outcome: Outcome) {
        if let Some(call) = self.0.take() {
            call(outcome);
        }
    }
}

impl Drop for Done {
    /// Only a submission that no committer took is dropped unanswered.
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call(Err(Refusal::ShuttingDown));
        }
    }
}

/// A submission in the queue.
struct Queued {
    submission: Submission,
    bytes: usize,
    done: Done,
}

impl Queued {
    fn size(&self) -> Size {
        Size {
            records: self.submission.drafts.len(),
            bytes: self.submission.drafts.iter().map(|draft| draft.encoded.len()).sum(),
            users: self.submission.drafts.iter().filter(|draft| draft.changes_user()).count(),
        }
    }
}

/// How much a group holds.
#[derive(Clone, Copy)]
struct Size {
    records: usize,
    bytes: usize,
    users: usize,
}

impl Size {
    fn add(&mut self, other: Size) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.users += other.users;
    }

    fn fits(&self) -> bool {
        self.records <= GROUP_RECORDS_MAX
            && self.bytes <= GROUP_BYTES_MAX
            && self.users <= GROUP_USERS_MAX
    }
}

/// What waits for the committer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Submissions in the queue, at most [`QUEUE_SUBMISSIONS_MAX`].
    pub submissions: usize,
    /// Bytes that they hold, at most [`QUEUE_BYTES_MAX`].
    pub bytes: usize,
}

/// The way into the log. Shared by all who submit.
pub struct Writer {
    /// Gone when it is closed: the committer ends when it has taken all there was.
    queue: RwLock<Option<Sender<Queued>>>,
    queued_bytes: Arc<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Looks after the store; ends when the sender is gone.
    watch: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Writer {
    /// Starts the committer and the answering thread on a store.
    ///
    /// # Errors
    /// If the operating system has no threads left.
    pub fn start(store: Arc<Store>, flush: Box<dyn Flush>) -> std::io::Result<Writer> {
        Writer::answering(store, flush, |answer| answer())
    }

    /// The same, with what calls [`Done`] of several submissions of one group: who is told of each can be so of all at
    /// once.
    ///
    /// # Errors
    /// As [`Writer::start`].
    pub fn answering(
        store: Arc<Store>,
        flush: Box<dyn Flush>,
        together: Together,
    ) -> std::io::Result<Writer> {
        Writer::sharing(store, flush, together, None)
    }

    /// The same, of a store that shares its log with others, if there is such.
    ///
    /// # Errors
    /// As [`Writer::start`], and if the machine has no randomness to give.
    pub fn sharing(
        store: Arc<Store>,
        flush: Box<dyn Flush>,
        together: Together,
        shared: Option<Box<dyn SharedLog>>,
    ) -> std::io::Result<Writer> {
        let is_apart =
            shared.is_none() && store.belonging().map_err(std::io::Error::other)?.is_some();
        let following = shared.map(|log| Following::new(log, &store)).transpose()?;
        let (queue, submissions) = bounded(QUEUE_SUBMISSIONS_MAX);
        let (answers, to_answer) = bounded::<Vec<Answer>>(ANSWERS_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let watch = Mutex::new(Some(fatal::watch(Arc::clone(&store))?));
        let committer = Committer {
            store,
            flush,
            submissions,
            queued_bytes: Arc::clone(&queued_bytes),
            answers,
            held_over: None,
            began: Instant::now(),
            paced: false,
            following,
            is_apart,
        };
        let threads = vec![
            thread::Builder::new().name("committer".into()).spawn(move || committer.run())?,
            thread::Builder::new()
                .name("answers".into())
                .spawn(move || answer_all(&to_answer, together))?,
        ];
        let (queue, threads) = (RwLock::new(Some(queue)), Mutex::new(threads));
        Ok(Writer { queue, queued_bytes, threads, watch })
    }

    /// Hands drafts to the committer, to be stored all or none. Never waits: `done` is called from
    /// another thread when they are durable, or from this one if they are refused at once.
    pub fn submit(&self, submission: impl Into<Submission>, done: Done) {
        let submission = submission.into();
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else {
            return done.call(Err(Refusal::ShuttingDown));
        };
        let bytes = submission.drafts.iter().map(Draft::bytes).sum();
        if self.queued_bytes.fetch_add(bytes, SeqCst) + bytes > QUEUE_BYTES_MAX {
            self.queued_bytes.fetch_sub(bytes, SeqCst);
            return done.call(Err(Refusal::Overloaded));
        }
        if let Err(refused) = queue.try_send(Queued { submission, bytes, done }) {
            self.queued_bytes.fetch_sub(bytes, SeqCst);
            let refusal = match refused {
                TrySendError::Full(_) => Refusal::Overloaded,
                TrySendError::Disconnected(_) => Refusal::ShuttingDown,
            };
            refused.into_inner().done.call(Err(refusal));
        }
    }

    /// What waits for the committer now.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        Waiting {
            submissions: queue.as_ref().map_or(0, Sender::len),
            bytes: self.queued_bytes.load(SeqCst),
        }
    }

    /// Whether submissions wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.queued_bytes.load(SeqCst) > 0
    }

    /// Submits and waits for the outcome.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn submit_and_wait(&self, submission: impl Into<Submission>) -> Outcome {
        let (tell, told) = bounded(1);
        self.submit(submission, Done::new(move |outcome| drop(tell.send(outcome))));
        told.recv().unwrap_or(Err(Refusal::ShuttingDown))
    }

    /// Refuses what comes from now on, and returns when all that was taken is durable and answered.
    pub fn close(&self) {
        drop(self.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a thread of the store panicked");
            }
        }
        // Only now: while the committer waits for the disk, somebody has to look.
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = watch {
            drop(stop);
            if thread.join().is_err() {
                log::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

type Answer = (Done, Outcome);

fn answer_all(answers: &Receiver<Vec<Answer>>, together: Together) {
    for group in answers {
        let mut group = group.into_iter();
        while group.len() > 0 {
            together(&mut || {
                for (done, outcome) in group.by_ref().take(TOGETHER_MAX) {
                    // What a caller does with his answer is no reason for others to go without.
                    if catch_unwind(AssertUnwindSafe(|| done.call(outcome))).is_err() {
                        log::error!("answering a call panicked");
                    }
                }
            });
        }
    }
}

struct Committer {
    store: Arc<Store>,
    flush: Box<dyn Flush>,
    submissions: Receiver<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    answers: Sender<Vec<Answer>>,
    /// Taken from the queue, but too large for the group that was gathered.
    held_over: Option<Queued>,
    /// When the last group was begun, and whether the next one has to wait for its time.
    began: Instant,
    paced: bool,
    /// The log that is shared with others, if it is.
    following: Option<Following>,
    /// It is shared, and nobody speaks to it here.
    is_apart: bool,
}

impl Committer {
    fn run(mut self) {
        while let Some(first) = self.first() {
            let group = self.gather(first);
            let bytes = group.iter().map(|one| one.size().bytes as u64).sum();
            let answers = self.commit(group);
            // The answering thread ends only when this one has.
            let _ = self.answers.send(answers);
            self.rest(bytes);
        }
        if self.store.failure().is_none() {
            self.leave();
            self.store.high_water.note(self.store.last_seq());
            self.store.high_water.sync();
            self.store.space.leave();
        }
    }

    /// Rests behind so many bytes, if what is committed is sealed at all.
    fn rest(&self, bytes: u64) {
        let tiers = &self.store.tiers;
        if tiers.is_kept() {
            thread::sleep(rest(bytes, tiers.hot_bytes()));
        }
    }

    /// The next that waits; `None` when there will be no more. Meanwhile, what others add is applied.
    fn first(&mut self) -> Option<Queued> {
        if let Some(submission) = self.held_over.take() {
            return Some(submission);
        }
        loop {
            let Some(following) =
                self.following.as_mut().filter(|_| self.store.failure().is_none())
            else {
                return self.submissions.recv().ok();
            };
            if following.is_full() {
                match self.submissions.recv_timeout(ROOM_EVERY) {
                    Ok(submission) => return Some(submission),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {
                        self.apply();
                        continue;
                    }
                }
            }
            select! {
                recv(self.submissions) -> submission => return submission.ok(),
                recv(following.arrivals()) -> arrival => match arrival {
                    Ok(arrival) => following.heard(arrival),
                    Err(_) => {
                        self.store.end(ENDED);
                        continue;
                    }
                },
            }
            let before = self.store.tiers.hot_bytes();
            self.apply();
            self.rest(self.store.tiers.hot_bytes().saturating_sub(before));
        }
    }

    /// Applies what others have added. If that can't be, nothing more is accepted, and the process ends.
    fn apply(&mut self) {
        let Some(following) = self.following.as_mut() else { return };
        let applied =
            catch_unwind(AssertUnwindSafe(|| following.apply(&self.store, self.flush.as_ref())));
        let applied =
            applied.unwrap_or_else(|_| Err("applying what others added panicked".to_owned()));
        if let Err(why) = applied {
            self.store.end(&why);
        }
    }

    /// Notes how far a shared log was followed, so that no more of it is read again than needs be.
    fn leave(&mut self) {
        let Some(following) = self.following.as_mut() else { return };
        let noted = following.note(&self.store, Duration::ZERO);
        let flushed = || self.flush.flush().map_err(|error| error.to_string());
        if let Err(error) = noted.map_err(|error| error.to_string()).and_then(|()| flushed()) {
            log::warn!("how far the shared log was followed can't be noted: {error}");
        }
    }

    /// What waits, up to the bounds of a group.
    fn gather(&mut self, first: Queued) -> Vec<Queued> {
        let mut size = first.size();
        let mut group = vec![first];
        if self.paced {
            thread::sleep(PACE.saturating_sub(self.began.elapsed()));
        }
        self.began = Instant::now();
        while let Ok(submission) = self.submissions.try_recv() {
            size.add(submission.size());
            if !size.fits() {
                self.held_over = Some(submission);
                break;
            }
            group.push(submission);
        }
        self.paced = group.len() >= PACED_FROM;
        let held = group.iter().map(|submission| submission.bytes).sum();
        self.queued_bytes.fetch_sub(held, SeqCst);
        group
    }

    /// Writes a group and says what became of each submission.
    fn commit(&mut self, group: Vec<Queued>) -> Vec<Answer> {
        let mut done = Vec::with_capacity(group.len());
        let mut submissions = Vec::with_capacity(group.len());
        for waiting in group {
            done.push(waiting.done);
            submissions.push(waiting.submission);
        }
        let outcomes = match self.store.failure() {
            Some(why) => vec![Err(Refusal::Failed(why.into())); done.len()],
            // sled asserts where others return; a panic in it is one more way to fail.
            None => catch_unwind(AssertUnwindSafe(|| self.write(submissions)))
                .unwrap_or_else(|_| Err("writing to the store panicked".to_owned()))
                .unwrap_or_else(|why| {
                    let why = self.store.fail(why);
                    vec![Err(Refusal::Failed(why.into())); done.len()]
                }),
        };
        done.into_iter().zip(outcomes).collect()
    }

    /// Appends, flushes and merges. An error means that nobody knows what is on disk.
    fn write(&mut self, group: Vec<Submission>) -> Result<Vec<Outcome>, String> {
        match self.following.as_mut() {
            Some(following) => write_shared(&self.store, self.flush.as_ref(), following, &group),
            None if self.is_apart => Ok(vec![Err(Refusal::NoQuorum(APART.into())); group.len()]),
            None => self.write_alone(group),
        }
    }

    fn write_alone(&self, group: Vec<Submission>) -> Result<Vec<Outcome>, String> {
        // Another generation of sled takes the place of this one only between two groups.
        let _committing = self.store.committing();
        let hot = self.store.tiers.hot();
        let mut stage = Stage::new(&self.store, &hot);
        let room = self.store.space.room();
        let outcomes: Vec<_> = group.into_iter().map(|one| take(&mut stage, &room, one)).collect();
        let (records, bytes) = stage.taken();
        // A full disk can make each of the three wait.
        let _writing = self.store.pulse.begin();
        if let Some(appended) = stage.append().map_err(|error| error.to_string())? {
            let began = Instant::now();
            self.flush.flush().map_err(|error| format!("flushing to disk failed: {error}"))?;
            self.store.figures.flushed(began.elapsed());
            appended.merge(self.flush.as_ref()).map_err(|error| error.to_string())?;
            self.store.figures.committed(&outcomes, records, bytes);
        }
        Ok(outcomes)
    }
}

/// As [`Committer::write_alone`], but the group is first given its place in the log that is shared with others. As long as
/// one of them is before it, it is put together anew behind that.
fn write_shared(
    store: &Store,
    flush: &dyn Flush,
    following: &mut Following,
    group: &[Submission],
) -> Result<Vec<Outcome>, String> {
    let until = Instant::now() + OFFER_WAIT_MAX;
    let end = |why: String| {
        store.end(&why);
        why
    };
    loop {
        following.catch_up(store, flush, until).map_err(end)?;
        if let Some(why) = following.trouble() {
            return Ok(vec![Err(Refusal::NoQuorum(why)); group.len()]);
        }
        // Another generation of sled takes the place of this one only between two groups.
        let committing = store.committing();
        let hot = store.tiers.hot();
        let mut stage = Stage::new(store, &hot);
        let room = store.space.room();
        let outcomes: Vec<_> =
            group.iter().map(|one| take(&mut stage, &room, one.clone())).collect();
        let (records, bytes) = stage.taken();
        let batches = stage.batches();
        match following.offer(&batches, until).map_err(end)? {
            Offered::Accepted => {}
            Offered::Overtaken => {
                store.figures.overtaken();
                drop(stage);
                drop(committing);
                continue;
            }
            Offered::Doubtful(why) => {
                let why: Arc<str> = why.into();
                // Who waits behind it had better not wait as long.
                following.doubt(store, &why);
                let refusal = Refusal::NoQuorum(why);
                // Those that were refused anyway were so for a reason of their own.
                return Ok(outcomes.into_iter().map(|it| it.and(Err(refusal.clone()))).collect());
            }
        }
        let _writing = store.pulse.begin();
        if let Some(appended) = stage.append_as(&batches).map_err(|error| error.to_string())? {
            following.note_own(store).map_err(|error| error.to_string())?;
            let began = Instant::now();
            flush.flush().map_err(|error| format!("flushing to disk failed: {error}"))?;
            store.figures.flushed(began.elapsed());
            appended.merge(flush).map_err(|error| error.to_string())?;
            store.figures.committed(&outcomes, records, bytes);
            following.written(store);
        }
        return Ok(outcomes);
    }
}

/// How long to rest behind a group of these bytes, so that the hot end stays about as large as it may be.
fn rest(bytes: u64, hot_bytes: u64) -> Duration {
    let beyond = hot_bytes.saturating_sub(RESTS_FROM).min(HOT_BYTES_MAX);
    let nanos = bytes.saturating_mul(beyond) / HOT_BYTES_MAX * REST_NANOS_MAX;
    Duration::from_nanos(nanos).min(REST_MAX)
}

/// Takes a submission into a group if the disk has room for it. One that was stored already needs none.
fn take(stage: &mut Stage<'_>, room: &Room, submission: Submission) -> Result<Receipt, Refusal> {
    if let Some(receipt) = stage.stored_before(&submission)? {
        return Ok(receipt);
    }
    let drafts = submission.drafts;
    let tracks = drafts.iter().any(|draft| draft.claim() == Claim::Tracking);
    let claim = if tracks { Claim::Tracking } else { Claim::Control };
    let bytes: usize = drafts.iter().map(|draft| draft.encoded.len()).sum();
    room.admit(claim, (stage.bytes() + bytes) as u64)?;
    stage.take(drafts, &|merged_bytes| room.admit(claim, merged_bytes / MANY_USERS_PART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_the_longer_the_more_is_to_be_sealed() {
        let (few, millis) = (100_000, Duration::from_millis);
        for (bytes, hot_bytes, expected) in [
            (few, 0, Duration::ZERO),
            (few, RESTS_FROM, Duration::ZERO),
            (few, RESTS_FROM + HOT_BYTES_MAX / 2, millis(25)),
            (few, RESTS_FROM + HOT_BYTES_MAX, millis(50)),
            (few, u64::MAX, millis(50)),
            (0, u64::MAX, Duration::ZERO),
            (u64::MAX, u64::MAX, REST_MAX),
        ] {
            assert_eq!(rest(bytes, hot_bytes), expected, "{bytes}, {hot_bytes}");
        }
    }
}
