//! What a browser's call says beside the event, as the server keeps it: page, browser, system, device and visitor.
//!
//! All of a visit's are of one browser, which goes with how wide its screen is. One visit in thirty is a bot's, one in
//! twenty asks not to be followed, and one event in a hundred was fetched ahead of time. It is drawn from numbers alone,
//! apart from the rest, which is therefore the same with contexts and without.

use std::fmt::Write;

use super::mixed;

/// Where the made-up pages are.
const SITE: &str = "https://cafe.example";

/// Browser and system, and how many of a hundred have them.
type Share = (&'static str, &'static str, u64);

const PHONES: [Share; 6] = [
    ("Safari", "iOS", 44),
    ("Chrome", "Android", 40),
    ("Samsung Internet", "Android", 8),
    ("Firefox", "Android", 3),
    ("WebView", "Android", 3),
    ("Chrome", "iOS", 2),
];

const TABLETS: [Share; 3] =
    [("Safari", "iPadOS", 70), ("Chrome", "Android", 25), ("Firefox", "Android", 5)];

const DESKTOPS: [Share; 8] = [
    ("Chrome", "Windows", 44),
    ("Edge", "Windows", 16),
    ("Chrome", "macOS", 12),
    ("Safari", "macOS", 13),
    ("Firefox", "Windows", 6),
    ("Firefox", "Linux", 4),
    ("Chrome", "Linux", 3),
    ("Opera", "Windows", 2),
];

const BOTS: [&str; 4] = ["Googlebot", "bingbot", "AhrefsBot", "Applebot"];

/// The context of event number `n`, of a visit by a screen so wide, from the page of this path.
pub(super) fn context(visit: u64, width: u16, path: &str, n: u64) -> String {
    let drawn = mixed(visit ^ 0xc0de);
    // Pieces of one number, which know nothing of each other.
    let (of_bots, of_private, of_agents) = (drawn % 30, (drawn >> 8) % 20, (drawn >> 16) % 100);
    let mut json = String::with_capacity(192);
    // Writing into a text doesn't fail.
    let _ = write!(json, r#"{{"page":"{SITE}{path}""#);
    let is_bot = of_bots == 0;
    let _ = if is_bot {
        write!(json, r#","browser":"{}""#, BOTS[of_agents as usize % BOTS.len()])
    } else {
        let (device, shares) = match width {
            0..600 => ("phone", &PHONES[..]),
            600..1000 => ("tablet", &TABLETS[..]),
            _ => ("desktop", &DESKTOPS[..]),
        };
        let (browser, os) = of(shares, of_agents);
        write!(json, r#","browser":"{browser}","os":"{os}","device":"{device}""#)
    };
    if of_private != 0 {
        let _ = write!(json, r#","visitor":"{:016x}{:016x}""#, mixed(drawn), mixed(!drawn));
    }
    if is_bot {
        json.push_str(r#","bot":true"#);
    }
    if mixed(n ^ 0xfe7c).is_multiple_of(100) {
        json.push_str(r#","prefetch":true"#);
    }
    json.push('}');
    json
}

/// Who has this percentile.
fn of(shares: &[Share], mut percentile: u64) -> (&'static str, &'static str) {
    for (browser, os, share) in shares {
        if percentile < *share {
            return (browser, os);
        }
        percentile -= share;
    }
    (shares[0].0, shares[0].1)
}
