//! Made-up events and users that look like those of a shop on the web: the same again for the same seed,
//! as many as wanted, more than a million a second.
//!
//! What makes it like the real thing, and so no easier to keep small:
//! - Visits. At any moment [`VISITS`] people are about; each looks at some six things and goes. What
//!   belongs to a visit (who, how wide the screen, where from) is the same in all of its events, which
//!   come interleaved with those of the others.
//! - Few do much. Visitors and pages are drawn log-uniformly, which is Zipf's law: of 200,000 users the
//!   busiest has 3 % of the events, most have a handful, some none.
//! - Six in ten visitors are known; half of the users have an e-mail address for an id, half a UUID.
//! - Eight types of events, of which page views are six in ten, each with attributes of its own: paths and
//!   titles that recur, queries of a few words, prices, and numbers that are nothing but noise.
//! - Dates ascend over two years ([`FROM`] to [`TO`]), more by day than by night, and some seconds off,
//!   for what is sent later arrives later. Umlauts and emoji turn up.
//! - What happens in a browser has a context ([`contexts`]): all but purchases and e-mails.
//!
//! Include it by `mod generator;`.

#![allow(dead_code, reason = "not everybody who includes it needs both kinds")]

mod contexts;

use std::fmt::Write;

/// People who are about at one time.
const VISITS: usize = 256;

/// 2024-01-01T00:00:00Z in milliseconds.
pub const FROM: i64 = 1_704_067_200_000;

/// 2026-01-01T00:00:00Z.
pub const TO: i64 = 1_767_225_600_000;

const DAY: i64 = 86_400_000;

/// How late, at most, an event is told of, in milliseconds.
const LATE_MAX: u64 = 4_000;

/// An event as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedEvent {
    /// Its type.
    pub kind: &'static str,
    /// Who did it.
    pub user_id: Option<String>,
    /// When, in milliseconds since 1970.
    pub date: i64,
    /// Everything else: compact JSON.
    pub attributes: String,
    /// What the server would say of its circumstances, as compact JSON.
    pub context: Option<String>,
}

/// So many events of so many users.
pub fn events(seed: u64, count: u64, users: u64) -> impl Iterator<Item = GeneratedEvent> {
    let mut random = Random::new(seed);
    let pages = pages();
    let mut begun = 0;
    let mut visit = move |random: &mut Random| {
        begun += 1;
        Visit::new(random, users, begun)
    };
    let mut visits: Vec<Visit> = (0..VISITS).map(|_| visit(&mut random)).collect();
    (0..count).map(move |n| {
        let current = &mut visits[random.below(VISITS as u64) as usize];
        if random.below(6) == 0 {
            *current = visit(&mut random);
        }
        let page = &pages[random.skewed(pages.len() as u64) as usize];
        let (kind, attributes) = current.next(&mut random, page, n);
        let date = moment(n, count) - random.below(LATE_MAX) as i64;
        let in_browser = !matches!(kind, "purchase" | "e-mail opened");
        let context =
            in_browser.then(|| contexts::context(current.number, current.width, &page.path, n));
        GeneratedEvent { kind, user_id: current.user_id.clone(), date, attributes, context }
    })
}

/// All users there are: the id of each and what is known of it, as a patch in compact JSON. Those are the
/// users whom [`events`] of the same number of users name.
pub fn users(seed: u64, count: u64) -> impl Iterator<Item = (String, String)> {
    let mut random = Random::new(seed ^ 0x5eed);
    (0..count).map(move |number| {
        let (id, (first, last)) = (user_id(number), name(number));
        let plan = ["free", "free", "free", "starter", "pro", "business"];
        let mut patch = format!(
            r#"{{"email":"{}","name":"{first} {last}","plan":"{}","country":"{}","signed_up":""#,
            email(number),
            random.pick(&plan),
            random.pick(&COUNTRIES),
        );
        let (year, month) = (2019 + random.below(7), 1 + random.below(12));
        let _ = write!(patch, "{year}-{month:02}-{:02}\"", 1 + random.below(28));
        let _ = write!(
            patch,
            r#","seats":{},"newsletter":{}"#,
            1 + random.skewed(50),
            random.below(3) == 0
        );
        if random.below(4) == 0 {
            let (city, street) = (random.pick(&CITIES), random.pick(&WORDS));
            let house = 1 + random.below(200);
            let _ = write!(
                patch,
                r#","address":{{"city":"{city}","street":"{street} street {house}"}}"#
            );
        }
        patch.push('}');
        (id, patch)
    })
}

/// When the event of this number happens: ascending, more than twice as many of them at noon as at midnight.
fn moment(n: u64, count: u64) -> i64 {
    let span = (TO - FROM) as u128;
    let even = (span * u128::from(n) / u128::from(count.max(1))) as i64;
    let (day, time) = (even / DAY, even % DAY);
    // A parabola: time t of 0 to 1 becomes t + (t - 3t² + 2t³) * 2/3, slow in the middle, ascending.
    let t = time as i128;
    let d = DAY as i128;
    let wave = t - 3 * t * t / d + 2 * t * t * t / (d * d);
    FROM + day * DAY + (t + wave * 2 / 3) as i64
}

/// Somebody who looks around.
struct Visit {
    number: u64,
    user_id: Option<String>,
    referrer: &'static str,
    width: u16,
    language: &'static str,
    order: u64,
}

impl Visit {
    fn new(random: &mut Random, users: u64, number: u64) -> Visit {
        let known = users > 0 && random.below(10) < 6;
        Visit {
            number,
            user_id: known.then(|| user_id(scattered(random.skewed(users), users))),
            referrer: REFERRERS[random.skewed(REFERRERS.len() as u64) as usize],
            width: random.pick(&WIDTHS),
            language: random.pick(&LANGUAGES),
            order: random.below(90_000_000) + 10_000_000,
        }
    }

    fn next(&self, random: &mut Random, page: &Page, n: u64) -> (&'static str, String) {
        let mut json = String::with_capacity(192);
        let (path, title) = (&page.path, &page.title);
        let product = random.skewed(2000);
        let price = (product * 7919 % 300) * 100 + 99;
        let (whole, cents) = (price / 100, price % 100);
        // Writing into a text doesn't fail.
        let (kind, _) = match random.below(100) {
            0..61 => {
                let (referrer, width, language) = (self.referrer, self.width, self.language);
                let ms = 80 + random.skewed(3000);
                let write = write!(
                    json,
                    r#"{{"page":"{path}","title":"{title}","referrer":"{referrer}","width":{width},"language":"{language}","load_ms":{ms}}}"#
                );
                ("page view", write)
            }
            61..73 => {
                let (button, x, y) = (
                    random.pick(&BUTTONS),
                    random.below(u64::from(self.width)),
                    random.below(4000),
                );
                (
                    "click",
                    write!(json, r#"{{"page":"{path}","element":"{button}","x":{x},"y":{y}}}"#),
                )
            }
            73..82 => {
                let name = WORDS[product as usize % WORDS.len()];
                let write = write!(
                    json,
                    r#"{{"sku":"SKU-{product:05}","name":"{name}","price":{whole}.{cents:02},"currency":"EUR"}}"#
                );
                ("product viewed", write)
            }
            82..89 => {
                let words = [(); 3].map(|()| WORDS[random.skewed(WORDS.len() as u64) as usize]);
                let query = words[..1 + random.below(3) as usize].join(" ");
                let results = random.skewed(500);
                ("search", write!(json, r#"{{"query":"{query}","results":{results},"page":1}}"#))
            }
            89..93 => {
                let quantity = 1 + random.skewed(5);
                let write = write!(
                    json,
                    r#"{{"sku":"SKU-{product:05}","quantity":{quantity},"price":{whole}.{cents:02},"currency":"EUR"}}"#
                );
                ("added to cart", write)
            }
            93..95 => {
                let order = self.order + n % 1000;
                let (quantity, coupon) = (1 + random.skewed(4), random.below(5) == 0);
                let total = price * quantity;
                let (total, rest) = (total / 100, total % 100);
                let write = write!(
                    json,
                    r#"{{"order":"A-{order}","total":{total}.{rest:02},"currency":"EUR","items":[{{"sku":"SKU-{product:05}","quantity":{quantity},"price":{whole}.{cents:02}}}],"coupon":{coupon}}}"#
                );
                ("purchase", write)
            }
            95..96 => {
                let (plan, source) = (random.pick(&["free", "starter", "pro"]), self.referrer);
                ("sign up", write!(json, r#"{{"plan":"{plan}","source":"{source}","trial":true}}"#))
            }
            _ => {
                let (campaign, word) = (n / 50_000, random.pick(&WORDS[..16]));
                let write = write!(
                    json,
                    r#"{{"campaign":"newsletter-{campaign}","subject":"Your {word} is waiting 😀","client":"{}"}}"#,
                    random.pick(&["Apple Mail", "Gmail", "Outlook", "Thunderbird"])
                );
                ("e-mail opened", write)
            }
        };
        (kind, json)
    }
}

/// A page of the site.
struct Page {
    path: String,
    title: String,
}

fn pages() -> Vec<Page> {
    let sections = ["blog", "docs", "products", "help", "pricing", "about", "guides", "changelog"];
    let mut random = Random::new(1);
    let page = |n: usize| {
        if n == 0 {
            return Page { path: "/".to_owned(), title: "Home · Café Zürich".to_owned() };
        }
        let section = random.pick(&sections);
        let words = [(); 3].map(|()| random.pick(&WORDS));
        Page {
            path: format!("/{section}/{}-{n}", words.join("-")),
            title: format!("{} · Café Zürich", words.join(" ")),
        }
    };
    (0..600).map(page).collect()
}

/// The users who do most aren't those with the lowest numbers. Each number has another.
fn scattered(number: u64, count: u64) -> u64 {
    // A prime, which divides no such count: so no two numbers meet.
    const PRIME: u64 = 2_147_483_647;
    if count.is_multiple_of(PRIME) { number } else { number * PRIME % count }
}

fn user_id(number: u64) -> String {
    if number.is_multiple_of(2) {
        return email(number);
    }
    let (high, low) = (mixed(number), mixed(!number));
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", low >> 50 | 0x8000, low & 0xffff_ffff_ffff)
}

fn email(number: u64) -> String {
    let (first, last) = name(number);
    let domain = DOMAINS[(mixed(number) >> 32) as usize % DOMAINS.len()];
    format!("{first}.{last}{number}@{domain}").to_lowercase()
}

fn name(number: u64) -> (&'static str, &'static str) {
    let mixed = mixed(number);
    (FIRST[mixed as usize % FIRST.len()], LAST[(mixed >> 16) as usize % LAST.len()])
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(mixed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number from 0 up to this one, without it.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// The same, but each twice as large half as likely (Zipf's law): log-uniform, without floating point,
    /// so that it is the same on every machine.
    fn skewed(&mut self, end: u64) -> u64 {
        let bits = u64::from(end.max(1).ilog2()) + 1;
        let size = 1 << self.below(bits);
        let number = size + self.below(size);
        // The last power of two is cut off; what falls there is drawn evenly.
        if number <= end { number - 1 } else { self.below(end) }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

const REFERRERS: [&str; 8] = [
    "",
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://news.ycombinator.com/item?id=39912345",
    "https://www.bing.com/search?q=coffee",
    "https://t.co/a1B2c3D4e5",
    "https://www.reddit.com/r/coffee/comments/1abcde/",
    "android-app://com.google.android.gm/",
];

const WIDTHS: [u16; 9] = [360, 390, 393, 412, 768, 1280, 1440, 1536, 1920];

const LANGUAGES: [&str; 6] = ["en-US", "en-GB", "de-CH", "de-DE", "fr-FR", "es-ES"];

const BUTTONS: [&str; 10] = [
    "buy now",
    "add to cart",
    "menu",
    "logo",
    "search",
    "next",
    "previous",
    "read more",
    "close",
    "share",
];

const COUNTRIES: [&str; 10] = ["CH", "DE", "AT", "FR", "US", "GB", "ES", "IT", "NL", "JP"];

const CITIES: [&str; 8] =
    ["Zürich", "Berlin", "Wien", "Paris", "München", "London", "Madrid", "東京"];

const DOMAINS: [&str; 6] =
    ["gmail.com", "example.com", "outlook.com", "bluewin.ch", "web.de", "proton.me"];

const FIRST: [&str; 24] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Finn", "Greta", "Hugo", "Ida", "Jan", "Kim", "Lea",
    "Max", "Nora", "Otto", "Paula", "Ravi", "Sofia", "Tim", "Uma", "Vera", "Will", "Yuki", "Zoe",
];

const LAST: [&str; 24] = [
    "Smith", "Meier", "Keller", "Garcia", "Rossi", "Dubois", "Tanaka", "Novak", "Jones", "Weber",
    "Fischer", "Brown", "Silva", "Kumar", "Moreau", "Huber", "Lopez", "Young", "Baker", "Steiner",
    "Frei", "Olsen", "Kowalski", "Nguyen",
];

const WORDS: [&str; 48] = [
    "coffee",
    "grinder",
    "espresso",
    "filter",
    "kettle",
    "mug",
    "roast",
    "beans",
    "milk",
    "foam",
    "scale",
    "press",
    "travel",
    "gift",
    "organic",
    "dark",
    "light",
    "decaf",
    "subscription",
    "guide",
    "brewing",
    "water",
    "temperature",
    "recipe",
    "morning",
    "office",
    "machine",
    "cleaning",
    "repair",
    "warranty",
    "summer",
    "winter",
    "sale",
    "new",
    "best",
    "compare",
    "review",
    "story",
    "farm",
    "ethiopia",
    "colombia",
    "brazil",
    "kenya",
    "blend",
    "single",
    "origin",
    "cold",
    "brew",
];
