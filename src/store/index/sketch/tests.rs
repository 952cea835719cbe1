use proptest::prelude::*;

use super::*;

/// What is promised: 0.693 / √2048.
const ERROR: f64 = 0.0153;

/// A hash for each number, others for each seed (SplitMix64).
fn hash(seed: u64, n: u64) -> u64 {
    let n = (seed << 40).wrapping_add(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn of(seed: u64, numbers: impl Iterator<Item = u64>) -> Sketch {
    let mut sketch = Sketch::default();
    numbers.for_each(|n| sketch.insert(hash(seed, n)));
    sketch
}

fn encoded(sketch: &Sketch) -> Vec<u8> {
    let mut bytes = Vec::new();
    sketch.encode(&mut bytes);
    bytes
}

/// By how many an estimate may be off. What a sketch loses of few are whole ones: two that share a row and a
/// column, which comes as seldom as coincidences do, and no share of the number bounds it.
fn bound(count: u64) -> f64 {
    if count <= EXACT_MAX as u64 { 0.0 } else { 4.0 * ERROR * count as f64 + 3.0 }
}

#[test]
fn the_error_is_what_is_promised() {
    // Of how many, in how many tries, and which part of these is to be exact.
    for (count, seeds, exact) in [
        (17, 2_000, 0.96),
        (20, 2_000, 0.95),
        (30, 2_000, 0.91),
        (50, 2_000, 0.79),
        (70, 1_000, 0.63),
        (100, 1_000, 0.0),
        (191, 400, 0.0),
        (300, 400, 0.0),
        (1_000, 100, 0.0),
        (3_000, 40, 0.0),
        (10_000, 40, 0.0),
        (60_000, 40, 0.0),
    ] {
        let (mut squares, mut right) = (0.0, 0);
        for seed in 0..seeds {
            let off = of(seed, 0..count).estimate() as f64 - count as f64;
            assert!(off.abs() <= bound(count), "{off} of {count}");
            squares += (off / count as f64).powi(2);
            right += u64::from(off == 0.0);
        }
        let error = (squares / seeds as f64).sqrt();
        // That of 40 tries has an error of its own, of a ninth of it.
        let most = if seeds > 40 { 0.012 } else { ERROR * 4.0 / 3.0 };
        assert!(error < most, "{error} at {count}");
        assert!(right as f64 >= exact * seeds as f64, "{right} of {seeds} right at {count}");
    }
}

#[test]
fn nothing_is_lost_however_small_the_parts_are_that_it_is_merged_from() {
    // Where forms change: 16, 3/32 of the rows, and from 27/8 of them on with each row more.
    let counts = [0, 1, 15, 16, 17, 18, 30, 33, 100, 191, 192, 193, 1_000, 6_911, 6_913, 20_000];
    let all = counts.into_iter().map(|count| (count, [1, 2, 5, 16, 17, 40, 200, 3_000].as_slice()));
    for (count, sizes) in all.chain([(100_000, [7, 300, 20_000].as_slice())]) {
        let whole = of(5, 0..count);
        let off = whole.estimate() as f64 - count as f64;
        assert!(off.abs() <= bound(count), "{off} of {count}");
        for size in sizes {
            let (mut merged, mut written, mut begin) = (Sketch::default(), Sketch::default(), 0);
            while begin < count {
                let end = (begin + size).min(count);
                // Some are in two parts.
                let part = of(5, begin - size.min(&begin) / 2..end);
                merged.merge(&part);
                written.merge(&Sketch::decode_whole(&encoded(&part)).expect("it was just written"));
                begin = end;
            }
            assert_eq!(merged.estimate(), whole.estimate(), "{count} in parts of {size}");
            assert_eq!(written.estimate(), whole.estimate(), "{count} in parts of {size}, written");
            assert_eq!(encoded(&merged), encoded(&whole), "{count} in parts of {size}");
            let mut turned = Sketch::default();
            turned.merge(&whole);
            turned.merge(&merged);
            assert_eq!(turned.estimate(), whole.estimate(), "{count} with itself");
        }
    }
}

#[test]
fn few_are_counted_exactly() {
    for count in 0..=EXACT_MAX as u64 {
        let sketch = of(3, (0..count).chain(0..count));
        assert_eq!(sketch.estimate(), count);
        assert_eq!(
            Sketch::decode_whole(&encoded(&sketch)).map(|again| again.estimate()),
            Ok(count)
        );
    }
}

proptest! {
    #[test]
    fn the_order_and_the_parts_that_are_merged_do_not_matter(
        count in 1..3_000u64,
        cuts in proptest::collection::vec(0..3_000u64, 0..9),
        turned: bool,
    ) {
        let whole = of(1, 0..count);
        prop_assert_eq!(&encoded(&of(1, (0..count).rev().chain(0..count / 2))), &encoded(&whole));
        let mut cuts: Vec<u64> = cuts.into_iter().filter(|cut| *cut < count).collect();
        cuts.extend([0, count]);
        cuts.sort_unstable();
        let mut parts: Vec<Sketch> = cuts.windows(2).map(|cut| of(1, cut[0]..cut[1])).collect();
        if turned {
            parts.reverse();
        }
        let mut merged = Sketch::default();
        for part in &parts {
            let again = Sketch::decode_whole(&encoded(part)).expect("it was just written");
            merged.merge(&again);
            merged.merge(part);
        }
        prop_assert_eq!(merged.estimate(), whole.estimate());
        prop_assert_eq!(encoded(&merged), encoded(&whole));
        merged.insert(hash(1, 0));
        merged.insert(hash(2, 0));
        let mut more = whole.clone();
        more.insert(hash(2, 0));
        prop_assert_eq!(merged.estimate(), more.estimate());
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
        let _ = Sketch::decode_whole(&bytes).map(|sketch| sketch.estimate());
    }
}

#[test]
fn what_was_written_once_is_read_for_ever() {
    // These bytes lie in files: another version of the library, or another hash, has to read them.
    let sketch = of(1, 0..20);
    assert_eq!(encoded(&sketch), KEPT, "the bytes of 20 hashes");
    assert_eq!(Sketch::decode_whole(KEPT).map(|sketch| sketch.estimate()), Ok(sketch.estimate()));
}

const KEPT: &[u8] = &[
    60, 4, 1, 16, 11, 0, 10, 204, 147, 20, 0, 0, 0, 7, 0, 0, 0, 12, 164, 33, 139, 163, 17, 175, 48,
    242, 244, 247, 210, 105, 95, 10, 249, 166, 31, 133, 65, 191, 75, 220, 159, 32, 0, 0, 0,
];
