//! What any file has to keep to that is taken for an index: nothing in it panics out, or takes memory without
//! bound. Checksums are made right here, since no change of a byte would come behind one.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;

use super::layout::{Out, Piece, Tail};
use super::sketch::Sketch;
use super::users::{decode_page, pages};
use super::{Builder, Facet, Index, Of, Summary, hash_of_user};
use crate::model::record::{Event, UserPatch};
use crate::model::{AccountId, Change, Date, Record, Via};
use crate::store::codec::Input;

const ACCOUNT: AccountId = AccountId(7);
const OF: Of = Of { bytes: 5, crc: 6 };

/// Sections of a tail, and behind them the blocks of users, for which there are pages made.
const BLOCKS: u8 = 9;

/// Takes bytes for a tail, and for what [`sections`] makes of an index.
pub(crate) fn index(bytes: &[u8]) {
    if let Ok((of, tail)) = Tail::decode(bytes) {
        assert_eq!(Tail::decode(&tail.encode(of)), Ok((of, tail)));
    }
    let (mut input, mut all) = (Input(bytes), Sketch::default());
    while let Ok(sketch) = Sketch::decode(&mut input) {
        all.merge(&sketch);
        all.insert(5 << 32);
        let mut again = Vec::new();
        all.encode(&mut again);
        let again = Sketch::decode_whole(&again).expect("it was just written");
        assert_eq!(again.estimate(), all.estimate());
    }
    let (file, summary) = written(bytes);
    let memory = rustix::fs::memfd_create("index", rustix::fs::MemfdFlags::CLOEXEC);
    let mut held = File::from(memory.expect("a file in memory"));
    held.write_all(&file).expect("memory takes it");
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    let Ok(index) = Index::open(path.as_ref(), OF, &summary) else { return };
    ask(&index);
}

fn ask(index: &Index) {
    let _ = index.verify();
    let all = i64::MIN..i64::MAX;
    let mut kinds = vec!["view".to_owned()];
    let _ = index.kinds(&mut |kind, _| kinds.push(kind.to_owned()));
    for kind in [None, kinds.last().map(String::as_str)] {
        let _ = index.counts(kind, all.clone(), &mut |_, _, _| {});
        let _ = index.counts(kind, 5..6, &mut |_, _, _| {});
        let mut one = Sketch::default();
        let _ = index.sketches(kind, all.clone(), true, &mut |_, _, users, visitors| {
            one.merge(users);
            one.merge(visitors);
        });
        let _ = index.distinct(kind, -90..90, true, &mut |users, _| one.merge(users));
        let _ = one.estimate();
    }
    for days in [all.clone(), 0..5] {
        let _ = index.facets(&Facet::ALL, &days, &mut |_, _, _| {});
    }
    let _ = index.rows_by_group(None);
    let _ = index.attributes(&mut |_| {});
    let users = ["a", "b", "c"].map(|id| hash_of_user(ACCOUNT, id));
    for user in users.into_iter().chain([0, u64::MAX]) {
        for descending in [false, true] {
            let mut left = 10_000;
            let _ = index.rows_of(user, 0..=u32::MAX, descending, &mut |_| {
                left -= 1;
                if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
    }
    let _ = index.events_of(&users);
}

/// An index of these pieces: of each its section, how far its key is from the one before, its length in two bytes,
/// and what is in it.
fn written(bytes: &[u8]) -> (Vec<u8>, Summary) {
    let mut bodies: Vec<(u8, u64, &[u8])> = Vec::new();
    let mut rest = bytes;
    while let [section, key, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        bodies.push((section % (BLOCKS + 1), u64::from(*key) << 56, &after[..length]));
        rest = &after[length..];
    }
    bodies.sort_by_key(|(section, ..)| *section);
    let mut out = Out::new(Vec::new()).expect("memory takes it");
    let mut sections: [Option<Vec<Piece>>; BLOCKS as usize + 1] = Default::default();
    for (section, key, body) in bodies {
        let pieces = sections[usize::from(section)].get_or_insert_default();
        let key = pieces.last().map_or(key, |before| before.key.saturating_add(key));
        pieces.push(out.piece(key, body).expect("memory takes it"));
    }
    let [kinds, counts, sketches, stretches, groups, attributes, texts, facets, mut users, blocks] =
        sections;
    if let Some(blocks) = blocks {
        let page = |(key, page): (u64, Vec<u8>)| out.piece(key, &page).expect("memory takes it");
        users = Some(pages(&blocks).map(page).collect());
    }
    let tail = Tail {
        rows: 9,
        kinds,
        counts,
        sketches,
        stretches,
        groups,
        attributes,
        users,
        texts,
        facets,
    };
    out.finish(&tail.encode(OF)).expect("memory takes it")
}

/// The pieces that [`written`] makes an index of, of one.
fn sections(file: &[u8], summary: &Summary) -> Vec<u8> {
    let tail = &file[file.len() - summary.tail_bytes as usize..];
    let (_, tail) = Tail::decode(tail).expect("it was just written");
    let body = |piece: &Piece| &file[piece.offset as usize..(piece.offset + piece.bytes) as usize];
    let mut out = Vec::new();
    let mut put = |section: u8, piece: &Piece, before: u64| {
        let body = body(piece);
        let length = u16::try_from(body.len()).expect("it is small").to_le_bytes();
        // Keys are as near as one byte can say.
        out.extend([section, ((piece.key - before) >> 56) as u8]);
        out.extend(length);
        out.extend_from_slice(body);
    };
    let Tail {
        rows: _,
        kinds,
        counts,
        sketches,
        stretches,
        groups,
        attributes,
        users,
        texts,
        facets,
    } = &tail;
    let mut of = |section: u8, pieces: &[Piece]| {
        let mut before = 0;
        for piece in pieces {
            put(section, piece, before);
            before = piece.key;
        }
    };
    for (section, pieces) in (0..).zip([kinds, counts, sketches, stretches, groups, attributes]) {
        of(section, pieces.as_deref().unwrap_or_default());
    }
    for (section, pieces) in (6..).zip([texts, facets]) {
        of(section, pieces.as_deref().unwrap_or_default());
    }
    for page in users.iter().flatten() {
        of(BLOCKS, &decode_page(body(page)).expect("it was just written"));
    }
    out
}

/// Indexes that are whole, tails and sketches.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for rows in [3, 40, 400] {
        let mut builder = Builder::new(ACCOUNT);
        for n in 0..rows {
            let (id, attributes) =
                (format!("u{}", n % 90), format!(r#"{{"n":{n},"o":{{"p":[]}},"page":"/{n}"}}"#));
            let visitor = format!(r#"{{"os":"a","visitor":"{n}","bot":{}}}"#, n % 5 == 1);
            let (account, via, context) = (ACCOUNT, Via::Public, Some(visitor.as_str()));
            let change = if n % 4 == 2 {
                Change::User(UserPatch { account, via, id: &id, patch: &attributes, context })
            } else {
                let date = Date::from_millis(n * 900_000);
                let (user_id, attributes) = (Some(id.as_str()), attributes.as_str());
                let kind = ["view", "click"][n as usize % 2];
                Change::Event(Event { account, via, kind, user_id, date, attributes, context })
            };
            let received_at = Date::from_millis(1_000 + n);
            builder.put(&Record { received_at, keyed: None, change });
            if n % 64 == 63 {
                builder.end_group();
            }
        }
        let (file, summary) = builder.finish(OF, Vec::new()).expect("memory takes it");
        seeds.push(sections(&file, &summary));
        seeds.push(file[file.len() - summary.tail_bytes as usize..].to_vec());
    }
    for hashes in [3u64, 17, 200, 5_000, 100_000] {
        let mut sketch = Sketch::default();
        (0..hashes).for_each(|n| sketch.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let mut bytes = Vec::new();
        sketch.encode(&mut bytes);
        seeds.push(bytes);
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_sections_answers_as_what_they_were_made_of() {
        for seed in seeds().iter().take(5).step_by(2) {
            let (file, summary) = written(seed);
            assert_eq!(sections(&file, &summary).len(), seed.len());
            let dir = tempfile::TempDir::new().expect("a folder");
            let path = dir.path().join("x.index");
            std::fs::write(&path, &file).expect("it can be written");
            let index = Index::open(&path, OF, &summary).expect("it is whole");
            let (mut counted, mut sketched) = (0, 0);
            let all = i64::MIN..i64::MAX;
            index.counts(None, all.clone(), &mut |_, _, _| counted += 1).expect("kept");
            index.sketches(None, all, true, &mut |_, _, _, _| sketched += 1).expect("kept");
            let mut listed = 0;
            index
                .facets(&Facet::ALL, &(i64::MIN..i64::MAX), &mut |_, _, _| listed += 1)
                .expect("kept");
            assert!(counted > 0 && sketched > 0 && listed > 0);
        }
    }
}
