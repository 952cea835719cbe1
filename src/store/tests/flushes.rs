//! Flushes that fail, dawdle and count: what callers are told, and when.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// A flush that does what the test says before the real one, and counts.
struct Scripted<F> {
    real: Box<dyn Flush>,
    before: F,
    count: Arc<AtomicUsize>,
}

impl<F: Fn() -> io::Result<()> + Send> Flush for Scripted<F> {
    fn flush(&self) -> io::Result<()> {
        self.count.fetch_add(1, SeqCst);
        (self.before)()?;
        self.real.flush()
    }
}

pub(super) fn start_scripted(
    store: &Arc<Store>,
    before: impl Fn() -> io::Result<()> + Send + 'static,
) -> (Writer, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let flush = Scripted { real: store.flusher(), before, count: Arc::clone(&count) };
    (Writer::start(Arc::clone(store), Box::new(flush)).unwrap(), count)
}

/// A writer whose flushes wait until what is returned last is dropped.
pub(super) fn start_gated(
    store: &Arc<Store>,
) -> (Writer, Arc<AtomicUsize>, crossbeam_channel::Sender<()>) {
    let (go, gate) = crossbeam_channel::bounded(0);
    let (writer, flushes) = start_scripted(store, move || {
        let _ = gate.recv();
        Ok(())
    });
    (writer, flushes, go)
}

/// Submits without waiting; the outcome comes over the channel.
fn submit(writer: &Writer, drafts: Vec<Draft>) -> mpsc::Receiver<Result<Receipt, Refusal>> {
    let (tell, told) = mpsc::channel();
    writer.submit(drafts, Done::new(move |outcome| tell.send(outcome).unwrap()));
    told
}

#[test]
fn nobody_is_told_before_the_flush_and_one_flush_serves_many() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, flushes, go) = start_gated(&store);
    let first = submit(&writer, vec![event("first")]);
    while flushes.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    let others: Vec<_> = (0..100).map(|_| submit(&writer, vec![event("other")])).collect();
    assert!(first.recv_timeout(Duration::from_millis(50)).is_err(), "the flush hasn't returned");
    assert_eq!(store.last_seq(), 0, "and what isn't durable isn't shown");
    drop(go);
    assert_eq!(first.recv().unwrap().unwrap().first_seq, 1);
    let mut seqs: Vec<_> =
        others.iter().map(|told| told.recv().unwrap().unwrap().first_seq).collect();
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(2..=101));
    assert_eq!(flushes.load(SeqCst), 2);
}

#[test]
fn after_a_failed_flush_nothing_is_accepted_and_reading_goes_on() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let fail = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fail);
    let (writer, flushes) = start_scripted(&store, move || {
        if failing.load(SeqCst) { Err(io::Error::other("the disk is on fire")) } else { Ok(()) }
    });
    writer.submit_and_wait(vec![event("safe")]).unwrap();
    fail.store(true, SeqCst);
    let refused = writer.submit_and_wait(vec![event("unsafe")]);
    assert!(
        matches!(&refused, Err(Refusal::Failed(why)) if why.contains("on fire")),
        "{refused:?}"
    );
    assert!(store.failure().unwrap().contains("on fire"));
    // Even if the medium says it is well again: nobody knows what it kept.
    fail.store(false, SeqCst);
    let flushes_before = flushes.load(SeqCst);
    assert!(matches!(writer.submit_and_wait(vec![event("later")]), Err(Refusal::Failed(_))));
    assert_eq!(flushes.load(SeqCst), flushes_before, "it isn't tried again");
    assert_eq!(names(&store, 1..=Seq::MAX, Order::Ascending), [(1, "safe".to_owned())]);
}

#[test]
fn what_is_not_durable_is_not_shown_of_users_either() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, _) = start_scripted(&store, || Err(io::Error::other("no")));
    assert!(writer.submit_and_wait(vec![user("u", "{}")]).is_err());
    assert_eq!(user_text(&store, "u"), None);
}

#[test]
fn a_flush_that_hangs_can_be_seen() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, _, go) = start_gated(&store);
    assert_eq!(store.flushing_for(), None);
    let waiting = submit(&writer, vec![event("a")]);
    while store.flushing_for().is_none_or(|age| age < Duration::from_millis(20)) {
        std::thread::yield_now();
    }
    drop(go);
    waiting.recv().unwrap().unwrap();
    assert_eq!(store.flushing_for(), None);
}

#[test]
fn a_panic_in_the_engine_is_a_failure_like_any_other() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, _) = start_scripted(&store, || panic!("as an assertion in an engine would"));
    let waiting: Vec<_> = (0..10).map(|_| submit(&writer, vec![event("a")])).collect();
    for told in waiting {
        assert!(matches!(told.recv().unwrap(), Err(Refusal::Failed(_))));
    }
}

#[test]
fn a_slow_flush_makes_callers_wait_or_be_refused_within_bounds() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, _, go) = start_gated(&store);
    // By count.
    let small: Vec<_> =
        (0..2 * QUEUE_SUBMISSIONS_MAX).map(|_| submit(&writer, vec![event("small")])).collect();
    let refused: Vec<_> = small.iter().filter_map(|told| told.try_recv().ok()).collect();
    assert!(refused.iter().all(|outcome| *outcome == Err(Refusal::Overloaded)));
    let waiting = small.len() - refused.len();
    assert!(waiting <= QUEUE_SUBMISSIONS_MAX + GROUP_RECORDS_MAX + 1, "{waiting}");
    assert!(waiting >= QUEUE_SUBMISSIONS_MAX);
    drop(go);
    let accepted = small.iter().filter_map(|told| told.recv().ok()).filter(Result::is_ok).count();
    assert_eq!(accepted, waiting);
    assert_eq!(store.last_seq(), waiting as Seq, "every 200 is there, and nothing else");
}

#[test]
fn the_bytes_that_wait_are_bounded() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (writer, _, go) = start_gated(&store);
    let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(60_000));
    let large: Vec<_> = (0..QUEUE_BYTES_MAX / 60_000 + 50)
        .map(|_| submit(&writer, vec![event_with("large", &text)]))
        .collect();
    let refused = large.iter().filter(|told| told.try_recv() == Ok(Err(Refusal::Overloaded)));
    assert!(refused.count() >= 40);
    drop(go);
    drop(writer);
    assert!(store.last_seq() >= (QUEUE_BYTES_MAX / 60_000) as Seq - 1);
}

#[test]
fn closing_answers_all_that_was_taken_and_refuses_the_rest() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer = start(&store);
    let taken: Vec<_> = (0..2_000).map(|_| submit(&writer, vec![event("a")])).collect();
    writer.close();
    for told in &taken {
        assert!(told.try_recv().expect("answered before close returned").is_ok());
    }
    let late = submit(&writer, vec![event("late")]);
    assert_eq!(late.try_recv(), Ok(Err(Refusal::ShuttingDown)));
    assert_eq!(store.last_seq(), 2_000);
}
