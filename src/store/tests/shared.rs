//! Stores that share a log, in one process: the log is a list that all see, whose answers get lost at random.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;
use crate::model::erasure::Digest;
use crate::store::state::is_mark;
use crate::store::{
    Arrival, Belonging, Group, GroupId, LogId, OFFER_WAIT_MAX, Offer, Place, Position, Reply,
    SharedLog, What,
};

/// What all members of a log see.
#[derive(Default)]
struct Log {
    stored: Mutex<Stored>,
    /// How many offers there were; every so many have a fault.
    offers: AtomicU64,
    faults: bool,
}

#[derive(Default)]
struct Stored {
    /// Nothing is a message without a group.
    groups: Vec<Option<(Seq, Group)>>,
    members: Vec<Sender<Arrival>>,
}

fn next(at: Position, group: Option<(Seq, Group)>) -> Arrival {
    let what = match group {
        Some((first_seq, group)) => What::Group { first_seq, group },
        None => What::Nothing,
    };
    Arrival::Next { place: Place { at, stamp: at as i64 }, what }
}

impl Stored {
    /// Stores a group; its place.
    fn add(&mut self, group: Option<(Seq, Group)>) -> Position {
        self.groups.push(group.clone());
        let at = self.groups.len() as Position;
        for member in &self.members {
            let _ = member.send(next(at, group.clone()));
        }
        at
    }
}

struct Member {
    log: Arc<Log>,
    arrivals: Receiver<Arrival>,
}

impl Log {
    /// One that has nothing of it yet.
    fn member(self: &Arc<Log>) -> Box<Member> {
        let (tell, arrivals) = unbounded();
        let mut stored = self.stored.lock().unwrap();
        let end = stored.groups.len() as Position;
        tell.send(Arrival::Joined { from: Place::default(), end }).unwrap();
        for (index, group) in stored.groups.iter().enumerate() {
            tell.send(next(index as Position + 1, group.clone())).unwrap();
        }
        stored.members.push(tell);
        Box::new(Member { log: Arc::clone(self), arrivals })
    }
}

impl SharedLog for Member {
    fn arrivals(&self) -> &Receiver<Arrival> {
        &self.arrivals
    }

    fn offer(&self, offer: Offer) {
        let Offer { behind, first_seq, group, reply } = offer;
        let turn = self.log.offers.fetch_add(1, SeqCst);
        let fault = if self.log.faults { turn % 11 } else { 0 };
        let mut stored = self.log.stored.lock().unwrap();
        let offered = Some((first_seq, group));
        let at = match fault {
            // Somebody looks whether anything is stored at all.
            1 => {
                stored.add(None);
                stored.add(offered)
            }
            // Lost on the way there.
            3 => return drop(reply.send(Reply::Doubtful("lost".to_owned()))),
            // Stored, and nobody says so in time.
            5 => {
                stored.add(offered);
                return drop(reply.send(Reply::Doubtful("late".to_owned())));
            }
            // Stored, and sent again.
            7 => {
                stored.add(offered.clone());
                stored.add(offered)
            }
            _ => stored.add(offered),
        };
        let is_next = at == behind + 1;
        let _ = reply.send(if is_next { Reply::Next(at) } else { Reply::Kept(at) });
    }

    fn probe(&self) {
        let stored = self.log.stored.lock().unwrap();
        for member in &stored.members {
            let _ = member.send(Arrival::Trouble(None));
        }
    }

    fn applied(&self, _: Position, _: Seq) {}
}

struct Server {
    dir: TempDir,
    store: Arc<Store>,
    writer: Writer,
}

fn join(log: &Arc<Log>) -> Server {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let shared: Option<Box<dyn SharedLog>> = Some(log.member());
    let writer =
        Writer::sharing(Arc::clone(&store), store.flusher(), |answer| answer(), shared).unwrap();
    Server { dir, store, writer }
}

fn wait_for(server: &Server, seq: Seq) {
    let began = Instant::now();
    while server.store.last_seq() < seq {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", server.store.failure());
        thread::sleep(Duration::from_millis(1));
    }
}

/// All keys and values but the mark, which lags.
fn state(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let dump = store.tiers.hot().state.dump();
    dump.into_iter().filter(|(key, _)| !is_mark(key)).collect()
}

fn assert_equal(servers: &[Server]) {
    let last = servers.iter().map(|server| server.store.last_seq()).max().unwrap();
    let all = |server: &Server| names(&server.store, 1..=last, Order::Ascending);
    for server in servers {
        wait_for(server, last);
        assert_eq!(all(server), all(&servers[0]));
        assert_eq!(state(&server.store), state(&servers[0].store));
        assert_eq!(server.store.accounts().len(), servers[0].store.accounts().len());
    }
}

#[test]
fn all_have_the_same_and_each_submission_is_there_once_however_answers_are_lost() {
    let log = Arc::new(Log { faults: true, ..Log::default() });
    let mut servers: Vec<_> = (0..3).map(|_| join(&log)).collect();
    // Whoever is refused for a fault of the log's tries again: a name is taken once.
    while let Err(Refusal::NoQuorum(_)) =
        servers[0].writer.submit_and_wait(vec![account("default")])
    {}
    let sent: Vec<(String, Outcome)> = thread::scope(|scope| {
        let servers: &[Server] = &servers;
        let threads: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn(move || {
                    let send = |n: usize| {
                        let name = format!("{number}-{n}");
                        let server = &servers[(number + n) % 3];
                        let drafts =
                            vec![event(&name), user("u", &format!(r#"{{"a{number}":{n}}}"#))];
                        (name, server.writer.submit_and_wait(drafts))
                    };
                    (0..60).map(send).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // One that comes late has all of it too.
    servers.push(join(&log));
    wait_for(&servers[3], servers[0].store.last_seq());
    // What was in doubt at last arrives without anybody asking.
    thread::sleep(Duration::from_millis(50));
    assert_equal(&servers);
    let stored = names(&servers[0].store, 1..=Seq::MAX, Order::Ascending);
    let (mut doubtful, mut accepted) = (0, 0);
    for (name, outcome) in sent {
        let places: Vec<_> =
            stored.iter().filter(|(_, kind)| *kind == name).map(|(seq, _)| *seq).collect();
        match outcome {
            Ok(receipt) => {
                assert_eq!(places, [receipt.first_seq], "{name}");
                accepted += 1;
            }
            Err(Refusal::NoQuorum(_)) => {
                assert!(places.len() <= 1, "{name}");
                doubtful += 1;
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert!(accepted > 200 && doubtful > 0, "{accepted} {doubtful}");
    // As it was applied, so it follows from the log.
    let Server { dir, store, writer } = servers.remove(1);
    let before = state(&store);
    writer.close();
    drop((writer, store));
    assert_eq!(state(&rebuilt(&dir)), before);
}

#[test]
fn what_is_checked_holds_for_the_place_that_is_given() {
    let log = Arc::new(Log::default());
    let servers: Vec<_> = (0..3).map(|_| join(&log)).collect();
    let everywhere = |submission: &(dyn Fn() -> Submission + Sync)| -> Vec<Outcome> {
        thread::scope(|scope| {
            let submit = |server: &'_ Server| server.writer.submit_and_wait(submission());
            let threads: Vec<_> =
                servers.iter().map(|server| scope.spawn(move || submit(server))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    for round in 0..20 {
        let name = format!("name-{round}");
        let outcomes = everywhere(&|| vec![account(&name)].into());
        let taken = outcomes.iter().filter(|it| matches!(it, Err(Refusal::NameTaken(_)))).count();
        assert_eq!((outcomes.iter().flatten().count(), taken), (1, 2), "{outcomes:?}");
        let key = Digest([round; 16]);
        let outcomes = everywhere(&|| Submission::once(vec![event("once"), event("once")], key));
        let first = outcomes[0].clone().unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(first)), "{outcomes:?}");
    }
    assert_equal(&servers);
    assert_eq!(servers[0].store.last_seq(), 20 * 3);
}

#[test]
fn a_full_disk_waits_for_room_and_holds_up_nobody() {
    let log = Arc::new(Log::default());
    let servers = [join(&log), join(&log)];
    servers[0].writer.submit_and_wait(vec![account("default")]).unwrap();
    wait_for(&servers[1], 1);
    servers[1].store.space().keep_free(u64::MAX / 8);
    for n in 0..100 {
        servers[0].writer.submit_and_wait(vec![event(&n.to_string())]).unwrap();
    }
    let refused = servers[1].writer.submit_and_wait(vec![event("refused")]);
    let Err(Refusal::NoQuorum(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("the disk is too full"), "{why}");
    assert_eq!(servers[1].store.standing(), Standing::Trouble(why));
    assert_eq!(servers[1].store.last_seq(), 1);
    servers[1].store.space().keep_free(0);
    wait_for(&servers[1], 101);
    servers[1].writer.submit_and_wait(vec![event("taken")]).unwrap();
    assert_equal(&servers);
    // Nor does it hold up the end.
    servers[1].store.space().keep_free(u64::MAX / 8);
    servers[0].writer.submit_and_wait(vec![event("more")]).unwrap();
    thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    servers[1].writer.close();
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_calls_is_not_kept_waiting_where_the_log_is_in_trouble() {
    let log = Arc::new(Log::default());
    let member = log.member();
    let tell = log.stored.lock().unwrap().members[0].clone();
    // It reaches further than the store, and what lies between doesn't come.
    tell.send(Arrival::Joined { from: Place::default(), end: 1 }).unwrap();
    tell.send(Arrival::Trouble(Some("it has no leader".to_owned()))).unwrap();
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let writer =
        Writer::sharing(Arc::clone(&store), store.flusher(), |answer| answer(), Some(member));
    let writer = writer.unwrap();
    let began = Instant::now();
    let refused = writer.submit_and_wait(vec![event("refused")]);
    assert_eq!(refused, Err(Refusal::NoQuorum("it has no leader".into())));
    assert!(began.elapsed() < OFFER_WAIT_MAX / 2, "{:?}", began.elapsed());
}

#[test]
fn a_store_ends_that_the_log_does_not_go_on_from() {
    let log = Arc::new(Log::default());
    let server = join(&log);
    server.writer.submit_and_wait(vec![account("default")]).unwrap();
    let group = Group {
        id: GroupId([9; 16]),
        after: None,
        batches: vec![EncodedBatch::of(7, [event("e").encoded.as_slice()].into_iter())],
    };
    log.stored.lock().unwrap().add(Some((7, group)));
    let (tell, told) = unbounded();
    server.store.on_fatal(move |why| tell.send(why.to_owned()).unwrap());
    let why = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(why.contains("goes on with record 7, but this store ends before 2"), "{why}");
    assert!(matches!(server.writer.submit_and_wait(vec![event("e")]), Err(Refusal::Failed(_))));
    assert_eq!(server.store.last_seq(), 1);
}

#[test]
fn a_store_ends_that_was_told_the_log_in_another_way() {
    let log = Arc::new(Log::default());
    let server = join(&log);
    server.writer.submit_and_wait(vec![account("default")]).unwrap();
    let own = log.stored.lock().unwrap().groups[0].as_ref().unwrap().1.id;
    let add = |seq, id, after| {
        let batches = vec![EncodedBatch::of(seq, [event("e").encoded.as_slice()].into_iter())];
        let group = Group { id: GroupId([id; 16]), after, batches };
        log.stored.lock().unwrap().add(Some((seq, group)));
    };
    let (tell, told) = unbounded();
    server.store.on_fatal(move |why| tell.send(why.to_owned()).unwrap());
    add(2, 7, Some(own));
    // Who has seen nothing yet doesn't say.
    add(3, 8, None);
    // What doesn't count may come after anything.
    add(2, 9, Some(GroupId([1; 16])));
    add(4, 10, Some(GroupId([7; 16])));
    let why = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(why.contains("record 4 was added behind others than this server was told"), "{why}");
    assert_eq!(server.store.last_seq(), 3);
}

#[test]
fn what_a_store_was_told_last_it_knows_when_it_is_opened_again() {
    let log = Arc::new(Log::default());
    let Server { dir, store, writer } = join(&log);
    writer.submit_and_wait(vec![account("default")]).unwrap();
    writer.close();
    drop((writer, store));
    let store = open(&dir);
    let shared: Option<Box<dyn SharedLog>> = Some(log.member());
    let writer =
        Writer::sharing(Arc::clone(&store), store.flusher(), |answer| answer(), shared).unwrap();
    let (tell, told) = unbounded();
    store.on_fatal(move |why| tell.send(why.to_owned()).unwrap());
    let batches = vec![EncodedBatch::of(2, [event("e").encoded.as_slice()].into_iter())];
    let group = Group { id: GroupId([3; 16]), after: Some(GroupId([7; 16])), batches };
    log.stored.lock().unwrap().add(Some((2, group)));
    let why = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(why.contains("record 2 was added behind others"), "{why}");
    writer.close();
}

#[test]
fn a_store_that_shares_its_log_takes_nothing_by_itself() {
    let dir = TempDir::new().unwrap();
    let to = Belonging { id: LogId([7; 16]), name: "site".to_owned() };
    {
        let store = open(&dir);
        assert_eq!(store.belonging().unwrap(), None);
        store.belong(Some(&to)).unwrap();
    }
    let format = || std::fs::read_to_string(dir.path().join("FORMAT")).unwrap();
    assert_eq!(format(), "triggerly store 6\n", "older programs don't open it");
    {
        let store = open(&dir);
        assert_eq!(store.belonging().unwrap(), Some(to));
        let refused = start(&store).submit_and_wait(vec![account("default")]);
        assert!(matches!(refused, Err(Refusal::NoQuorum(_))), "{refused:?}");
        store.belong(None).unwrap();
    }
    let store = open(&dir);
    start(&store).submit_and_wait(vec![account("default")]).unwrap();
}

#[test]
fn a_damaged_group_is_found_out() {
    let id = GroupId([1; 16]);
    let of = |seq, names: &[&str]| {
        let records: Vec<_> = names.iter().map(|name| event(name).encoded).collect();
        EncodedBatch::of(seq, records.iter().map(Vec::as_slice))
    };
    let group = Group { id, after: None, batches: vec![of(5, &["a", "b"]), of(7, &["c"])] };
    let bytes = group.encode();
    let read = Group::decode(id, 5, &bytes).unwrap();
    assert_eq!((read.encode(), read.count()), (bytes.clone(), 3));
    assert!(Group::decode(id, 6, &bytes).is_err(), "it belongs elsewhere");
    assert_eq!(Group::decode(id, 5, &[]).unwrap().count(), 0);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let read = Group::decode(id, 5, &bytes);
            assert!(read.is_err(), "bit {bit} of byte {at}");
        }
        // Cut between batches it is shorter, which its number of records gives away.
        let cut = Group::decode(id, 5, &bytes[..at]);
        assert!(cut.is_err() || cut.unwrap().count() < 3, "{at}");
    }
}
