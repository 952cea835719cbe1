//! A few threads for what takes longer than a worker may be held up: reading the log.
//!
//! Bounded on both sides: so many at a time, so many waiting. Tracking has threads of its own, so
//! however many questions are asked, calls are taken. Exports last as long as their readers like, so
//! they have threads of their own too and never wait for one.
//!
//! Questions that read much ([`Weight::Heavy`]) take neither all threads nor all places: one thread and
//! the last places are for those that are answered at once. And all of these threads give way: where a
//! core is wanted by a call and by a question, the kernel gives it to the call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select, unbounded};

/// Questions that are answered at a time, whatever they read.
const THREADS: usize = 2;

/// Threads beside those that only answer questions that read little.
const LIGHT_THREADS: usize = 1;

/// Questions that are answered or wait, at the most.
const JOBS_MAX: usize = 64;

/// How many of those may read much.
const HEAVY_MAX: usize = 48;

/// Exports at a time; none waits.
pub const EXPORTS_MAX: usize = 4;

/// Passwords that wait to be looked at, or are; each takes some 30 ms.
pub const PASSWORDS_MAX: usize = 32;

/// How long closing waits for jobs that were told to stop, unless somebody says otherwise.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How far threads give way that aren't idle ones (see nice(2)).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;
type Waiting = (Option<Places>, Job);

/// How much a job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A page, an entry, what is counted already.
    Light,
    /// Perhaps everything.
    Heavy,
}

/// How far threads give way to all others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Giving {
    /// They run when no other wants to.
    Idle,
    /// They get less than others, but always something: whoever reads an export would take it for broken off.
    Nice,
}

/// The threads and their queues.
pub struct Jobs {
    queues: Mutex<Option<Queues>>,
    /// What waits, for who closes.
    waiting: [Receiver<Waiting>; 2],
    threads: Mutex<Vec<JoinHandle<()>>>,
    taken: Arc<AtomicUsize>,
    heavy: Arc<AtomicUsize>,
    jobs_max: usize,
    heavy_max: usize,
}

#[derive(Clone)]
struct Queues {
    light: Sender<Waiting>,
    heavy: Sender<Waiting>,
}

/// Room for one job. The queues themselves have no bound, since nothing gets into them without one of these.
pub struct Room {
    queue: Sender<Waiting>,
    places: Option<Places>,
}

/// A place among all, and for who reads much one among those too; free again when dropped.
pub struct Places(
    #[expect(dead_code, reason = "held until the job is done")] (Place, Option<Place>),
);

/// One of the places; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of at most `max`.
    fn of(taken: &Arc<AtomicUsize>, max: usize) -> Option<Place> {
        let place = Place(Arc::clone(taken));
        let before = taken.fetch_add(1, SeqCst);
        (before < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Room {
    /// What it holds: for a job whose asker sees its end before the thread is done with it, who on a busy machine
    /// would find the place taken still when he asks again. Without, it is held until the job is done.
    pub fn take_places(&mut self) -> Option<Places> {
        self.places.take()
    }

    /// Has a job done when its turn comes.
    pub fn put(self, job: impl FnOnce() + Send + 'static) {
        // The threads end only when all who could send have gone, this one included.
        let _ = self.queue.send((self.places, Box::new(job)));
    }
}

impl Jobs {
    /// Starts the threads for questions.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start() -> std::io::Result<Jobs> {
        Jobs::start_threads("job", THREADS, LIGHT_THREADS, JOBS_MAX, HEAVY_MAX, Giving::Idle)
    }

    /// Starts the threads for exports: as many as there may be.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start_exports() -> std::io::Result<Jobs> {
        Jobs::start_threads("export", EXPORTS_MAX, 0, EXPORTS_MAX, EXPORTS_MAX, Giving::Nice)
    }

    /// Starts the thread for passwords: one, since each password takes 19 MiB, and few that wait.
    ///
    /// # Errors
    /// If the operating system has none left.
    pub fn start_passwords() -> std::io::Result<Jobs> {
        Jobs::start_threads("password", 1, 0, PASSWORDS_MAX, PASSWORDS_MAX, Giving::Nice)
    }

    fn start_threads(
        name: &str,
        threads: usize,
        light_threads: usize,
        jobs_max: usize,
        heavy_max: usize,
        giving: Giving,
    ) -> std::io::Result<Jobs> {
        let ((light, light_jobs), (heavy, heavy_jobs)) = (unbounded(), unbounded());
        let threads = (0..threads + light_threads)
            .map(|number| {
                let light = light_jobs.clone();
                let heavy = (number < threads).then(|| heavy_jobs.clone());
                thread::Builder::new().name(format!("{name} {number}")).spawn(move || {
                    give_way(giving);
                    work(light, heavy);
                })
            })
            .collect::<Result<_, _>>()?;
        let queues = Mutex::new(Some(Queues { light, heavy }));
        let (waiting, threads) = ([light_jobs, heavy_jobs], Mutex::new(threads));
        let (taken, heavy) = Default::default();
        Ok(Jobs { queues, waiting, threads, taken, heavy, jobs_max, heavy_max })
    }

    /// Room for a job, unless too many wait or [`Jobs::close`] was called.
    #[must_use]
    pub fn room(&self, weight: Weight) -> Option<Room> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let place = Place::of(&self.taken, self.jobs_max)?;
        Some(match weight {
            Weight::Light => Room { queue: queues.light, places: Some(Places((place, None))) },
            Weight::Heavy => {
                let heavy = Place::of(&self.heavy, self.heavy_max)?;
                Room { queue: queues.heavy, places: Some(Places((place, Some(heavy)))) }
            }
        })
    }

    /// Takes no more, and does what waits: the caller too, whom nothing keeps from it, while these threads may
    /// wait long for a processor. Returns when all that were taken are done, or at `until`, and says whether they
    /// are: a thread that has given way for so long is left to itself.
    pub fn close(&self, until: Instant) -> bool {
        /// How long it sleeps before it looks again.
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        drop(self.queues.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().for_each(give_way_no_more);
        loop {
            self.waiting.iter().flat_map(Receiver::try_iter).for_each(carry_out);
            if threads.iter().all(JoinHandle::is_finished) {
                // Jobs are caught; the loop around them doesn't panic.
                threads.drain(..).for_each(|thread| drop(thread.join()));
                return true;
            }
            if until <= Instant::now() {
                threads.clear();
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.close(Instant::now() + CLOSE_WITHIN);
    }
}

/// Does jobs until nobody can send any more.
fn work(light: Receiver<Waiting>, heavy: Option<Receiver<Waiting>>) {
    let mut queues = [Some(light), heavy];
    while queues.iter().any(Option::is_some) {
        let [light, heavy] = queues.each_ref().map(|queue| queue.clone().unwrap_or_else(never));
        // Of two that wait, one by chance: neither kind keeps the other waiting for ever.
        let (from, taken) = select! {
            recv(light) -> taken => (0, taken),
            recv(heavy) -> taken => (1, taken),
        };
        match taken {
            Ok(waiting) => carry_out(waiting),
            // All have gone who could send.
            Err(_) => queues[from] = None,
        }
    }
}

fn carry_out((places, job): Waiting) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        log::error!("a job panicked");
    }
    drop(places);
}

/// Has the kernel prefer other threads to this one. An idle one runs while no other wants to, and one that does
/// takes its place at once (`SCHED_IDLE`, see sched(7)). By niceness alone a call waits for the end of a
/// slice at each thread that it passes. Where neither can be had, questions are answered all the same.
///
/// Whoever waits for such a thread may wait as long as other programs keep the processors busy. So nobody does
/// who is behind a call, nor who seals.
#[cfg(target_os = "linux")]
fn give_way(giving: Giving) {
    use thread_priority::{
        NormalThreadSchedulePolicy::Idle, ThreadPriority, ThreadSchedulePolicy::Normal,
        set_thread_priority_and_policy, thread_native_id,
    };
    let is_idle = giving == Giving::Idle
        && set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, Normal(Idle))
            .is_ok();
    // Here it is said of the thread; elsewhere it would be of the whole process.
    if !is_idle && let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        log::debug!("a thread for questions has the priority of all: {error}");
    }
}

/// Has a thread share the processors with all others again, for nothing is left to give way to. That takes a right
/// (`LimitNICE=+0` in a unit of systemd, CAP_SYS_NICE): without it, it stays as it is.
#[cfg(target_os = "linux")]
fn give_way_no_more(thread: &JoinHandle<()>) {
    use std::os::unix::thread::JoinHandleExt;

    use thread_priority::{
        NormalThreadSchedulePolicy::Other, ThreadPriority, ThreadPriorityOsValue,
        ThreadSchedulePolicy::Normal, set_thread_priority_and_policy,
    };
    // Niceness 0, which is set for the thread that asks, and which it has.
    let niceness = ThreadPriority::Os(ThreadPriorityOsValue::default());
    let done = set_thread_priority_and_policy(thread.as_pthread_t(), niceness, Normal(Other));
    if let Err(error) = done {
        log::debug!("a thread for questions still gives way: {error:?}");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way(_: Giving) {}

#[cfg(not(target_os = "linux"))]
fn give_way_no_more(_: &JoinHandle<()>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_none_is_lost() {
        let jobs = Jobs::start().unwrap();
        let (go, gate) = crossbeam_channel::bounded::<()>(0);
        let (tell, told) = unbounded();
        let fill = |weight, count| {
            for _ in 0..count {
                let (gate, tell) = (gate.clone(), tell.clone());
                jobs.room(weight).unwrap().put(move || {
                    let _ = gate.recv();
                    tell.send(()).unwrap();
                });
            }
        };
        fill(Weight::Heavy, HEAVY_MAX);
        assert!(jobs.room(Weight::Heavy).is_none(), "all places for these are taken");
        let (quick, at_once) = unbounded();
        jobs.room(Weight::Light).unwrap().put(move || quick.send(()).unwrap());
        at_once.recv().unwrap();
        while jobs.taken.load(SeqCst) > HEAVY_MAX {}
        fill(Weight::Light, JOBS_MAX - HEAVY_MAX);
        assert!(jobs.room(Weight::Light).is_none(), "all places are taken");
        drop(go);
        for _ in 0..JOBS_MAX {
            told.recv().unwrap();
        }
        let last = loop {
            if let Some(room) = jobs.room(Weight::Heavy) {
                break room;
            }
        };
        last.put(|| panic!("as a test of the threads"));
        let late = jobs.room(Weight::Heavy).unwrap();
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| jobs.close(Instant::now() + Duration::from_secs(600)));
            while jobs.room(Weight::Heavy).is_some() {}
            late.put(move || tell.send(()).unwrap());
            assert!(closing.join().unwrap());
        });
        assert_eq!(told.len(), 1, "who had room is served after closing too");
    }

    /// Who sees a job's end before its thread is done with it finds the place free.
    #[test]
    fn places_may_be_free_before_the_end() {
        let exports = Jobs::start_exports().unwrap();
        let (go, gate) = crossbeam_channel::bounded::<()>(0);
        let (told, tells) = unbounded();
        for _ in 0..EXPORTS_MAX {
            let mut room = exports.room(Weight::Heavy).unwrap();
            let (places, gate, told) = (room.take_places(), gate.clone(), told.clone());
            room.put(move || {
                drop(places);
                told.send(()).unwrap();
                let _ = gate.recv();
            });
        }
        (0..EXPORTS_MAX).for_each(|_| tells.recv().unwrap());
        assert!(exports.room(Weight::Heavy).is_some());
        drop(go);
    }

    /// Who stops waits neither for a job that doesn't end nor for a thread to come to those behind it.
    #[test]
    fn closing_has_an_end() {
        let jobs = Jobs::start().unwrap();
        let (go, gate) = crossbeam_channel::bounded::<()>(0);
        let (began, begins) = unbounded();
        for _ in 0..THREADS + LIGHT_THREADS {
            let (gate, began) = (gate.clone(), began.clone());
            jobs.room(Weight::Light).unwrap().put(move || {
                began.send(()).unwrap();
                let _ = gate.recv();
            });
        }
        (0..THREADS + LIGHT_THREADS).for_each(|_| begins.recv().unwrap());
        let (tell, told) = unbounded();
        for weight in [Weight::Light, Weight::Heavy] {
            let tell = tell.clone();
            jobs.room(weight).unwrap().put(move || tell.send(thread::current().id()).unwrap());
        }
        assert!(!jobs.close(Instant::now()), "some are at it");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [thread::current().id(); 2]);
        drop(go);
        assert!(jobs.close(Instant::now()), "nobody is waited for any more");
    }
}
