//! How a place writes numbers and dates, chosen by what a browser asks for.
//!
//! Promises a locale for whatever a header says, found in bounded time. The pages' words are English, and digits
//! are `0` to `9`, so of a locale only this is taken: separators, the names of months and days, the order
//! of a date and the clock of 12 or 24 hours. The data is glibc's ([`pure_rust_locales`], known here alone).

use pure_rust_locales::{Locale as Data, locale_match};

/// Bytes of `Accept-Language` that are read.
pub const HEADER_BYTES_MAX: usize = 512;

/// Languages of the header that are looked at.
pub const LANGUAGES_MAX: usize = 16;

/// Where a language is at home, if that isn't the place that is called as it is (`de_DE`).
const HOMES: [(&str, Data); 53] = [
    ("af", Data::af_ZA),
    ("am", Data::am_ET),
    ("ar", Data::ar_EG),
    ("be", Data::be_BY),
    ("bn", Data::bn_BD),
    ("bs", Data::bs_BA),
    ("ca", Data::ca_ES),
    ("cs", Data::cs_CZ),
    ("cy", Data::cy_GB),
    ("da", Data::da_DK),
    ("el", Data::el_GR),
    ("en", Data::en_US),
    ("et", Data::et_EE),
    ("eu", Data::eu_ES),
    ("fa", Data::fa_IR),
    ("fil", Data::fil_PH),
    ("fy", Data::fy_NL),
    ("ga", Data::ga_IE),
    ("gl", Data::gl_ES),
    ("gu", Data::gu_IN),
    ("he", Data::he_IL),
    ("hi", Data::hi_IN),
    ("hy", Data::hy_AM),
    ("iw", Data::he_IL),
    ("ja", Data::ja_JP),
    ("ka", Data::ka_GE),
    ("kk", Data::kk_KZ),
    ("km", Data::km_KH),
    ("kn", Data::kn_IN),
    ("ko", Data::ko_KR),
    ("lb", Data::lb_LU),
    ("ml", Data::ml_IN),
    ("mr", Data::mr_IN),
    ("ms", Data::ms_MY),
    ("my", Data::my_MM),
    ("nb", Data::nb_NO),
    ("ne", Data::ne_NP),
    ("nn", Data::nn_NO),
    ("no", Data::nb_NO),
    ("pa", Data::pa_IN),
    ("pt", Data::pt_BR),
    ("si", Data::si_LK),
    ("sl", Data::sl_SI),
    ("sq", Data::sq_AL),
    ("sr", Data::sr_RS),
    ("sv", Data::sv_SE),
    ("sw", Data::sw_KE),
    ("ta", Data::ta_IN),
    ("te", Data::te_IN),
    ("uk", Data::uk_UA),
    ("ur", Data::ur_PK),
    ("vi", Data::vi_VN),
    ("zh", Data::zh_CN),
];

/// Languages in which the number of a day has a dot behind it: `4. Jul`.
const DOTTED: [&str; 17] = [
    "bs", "cs", "da", "de", "et", "fi", "fo", "hr", "is", "lb", "lv", "nb", "nn", "sk", "sl", "sr",
    "hsb",
];

/// Places that group digits as 12,34,567, which glibc knows of some of their languages only.
const LAKHS: [&str; 3] = ["IN", "BD", "NP"];

/// In which order a date is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `4 Jul 2026`
    DayFirst,
    /// `4. Jul 2026`
    DottedDayFirst,
    /// `Jul 4, 2026`
    MonthFirst,
    /// `2026-07-04`
    YearFirst,
    /// `2026年7月4日`
    Han,
    /// `2026년 7월 4일`
    Hangul,
}

/// The clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    /// Between hours and minutes.
    pub separator: char,
    /// What the halves of a day are called, where the hours are 12.
    pub halves: Option<[&'static str; 2]>,
    /// Whether that stands in front.
    pub is_half_first: bool,
}

/// How a place writes numbers and dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locale {
    data: Data,
    /// Between whole numbers and their fraction.
    pub(super) point: &'static str,
    /// Between groups of digits.
    pub(super) separator: &'static str,
    /// Sizes of groups, from the right; the last one repeats.
    pub(super) groups: &'static [i64],
    pub(super) order: Order,
    pub(super) hours: Hours,
    months: &'static [&'static str],
    days: &'static [&'static str],
}

impl Default for Locale {
    /// That of those who ask for none: as in Britain, where no date is mistaken for another.
    fn default() -> Locale {
        Locale::from(Data::en_GB)
    }
}

impl Locale {
    /// The first one known of those that the header `Accept-Language` (RFC 9110, section 12.5.4) asks for, by
    /// how much; [`Locale::default`] if none is.
    #[must_use]
    pub fn asked(accept_language: Option<&str>) -> Locale {
        let header = accept_language.unwrap_or_default();
        let mut end = header.len().min(HEADER_BYTES_MAX);
        while !header.is_char_boundary(end) {
            end -= 1;
        }
        let mut asked: Vec<(f32, Data)> = header[..end]
            .split(',')
            .take(LANGUAGES_MAX)
            .filter_map(|one| {
                let (tag, parameters) = one.split_once(';').unwrap_or((one, "q=1"));
                let weight = parameters.trim().strip_prefix("q=")?.trim().parse::<f32>().ok()?;
                (weight > 0.0 && weight <= 1.0).then_some((weight, find(tag.trim())?))
            })
            .collect();
        // The sort is stable: of equals the first stays the first.
        asked.sort_by(|a, b| b.0.total_cmp(&a.0));
        asked.first().map_or_else(Locale::default, |&(_, data)| Locale::from(data))
    }

    /// Its name, as `de_CH`.
    #[must_use]
    pub fn name(&self) -> String {
        self.data.to_string()
    }

    /// The language of the names, as `de`.
    #[must_use]
    pub fn language(&self) -> String {
        let name = self.data.to_string();
        name.split('_').next().unwrap_or_default().to_owned()
    }

    /// The name of a month (0 to 11), cut short.
    pub(super) fn month(&self, zero_based: u32) -> &'static str {
        let name = usize::try_from(zero_based).ok().and_then(|at| self.months.get(at));
        name.copied().unwrap_or_default().trim()
    }

    /// The name of a day of the week (0: Monday), cut short.
    pub(super) fn weekday(&self, from_monday: u32) -> &'static str {
        // Sunday is the first of glibc's.
        let name = usize::try_from((from_monday + 1) % 7).ok().and_then(|at| self.days.get(at));
        name.copied().unwrap_or_default().trim()
    }

    fn from(data: Data) -> Locale {
        let name = data.to_string();
        let (language, rest) = name.split_once('_').unwrap_or((&name, ""));
        let place = rest.split('@').next().unwrap_or_default();
        let (point, separator) = match locale_match!(data => LC_NUMERIC::DECIMAL_POINT) {
            // They belong to other digits.
            "٫" => (".", ","),
            point => (point, locale_match!(data => LC_NUMERIC::THOUSANDS_SEP)),
        };
        let groups: &'static [i64] = locale_match!(data => LC_NUMERIC::GROUPING);
        let is_grouped = !separator.is_empty() && groups.first().is_some_and(|&size| size > 1);
        Locale {
            data,
            point,
            // Everybody can read a thin space, and it isn't a point.
            separator: if is_grouped { separator } else { "\u{202f}" },
            groups: match place {
                place if LAKHS.contains(&place) => &[3, 2],
                _ if is_grouped => groups,
                _ => &[3],
            },
            order: order(language, locale_match!(data => LC_TIME::D_FMT)),
            hours: hours(
                locale_match!(data => LC_TIME::T_FMT),
                locale_match!(data => LC_TIME::AM_PM),
            ),
            months: locale_match!(data => LC_TIME::ABMON),
            days: locale_match!(data => LC_TIME::ABDAY),
        }
    }
}

/// The data of a language tag (RFC 5646), as of `de-CH-1996` or `zh-Hant`.
fn find(tag: &str) -> Option<Data> {
    let mut pieces = tag.split(['-', '_']).map(str::trim);
    let language = pieces.next().filter(|t| (2..=3).contains(&t.len()))?.to_ascii_lowercase();
    let mut place = None;
    for piece in pieces.take(3) {
        match piece {
            // Who writes so lives there.
            _ if piece.eq_ignore_ascii_case("hant") => place = place.or(Some("TW".to_owned())),
            _ if piece.len() == 2 => place = Some(piece.to_ascii_uppercase()),
            _ => {}
        }
    }
    let named = |place: &str| Data::try_from(format!("{language}_{place}").as_str()).ok();
    place
        .and_then(|place| named(&place))
        .or_else(|| HOMES.iter().find(|(name, _)| *name == language).map(|&(_, data)| data))
        .or_else(|| named(&language.to_ascii_uppercase()))
}

fn order(language: &str, pattern: &str) -> Order {
    if pattern.contains('年') {
        return Order::Han;
    }
    if pattern.contains('년') {
        return Order::Hangul;
    }
    let at = |letters: &[char]| pattern.find(letters).unwrap_or(usize::MAX);
    let (year, month, day) = (at(&['Y', 'y']), at(&['m', 'b', 'B']), at(&['d', 'e']));
    if year < month && year < day {
        Order::YearFirst
    } else if month < day {
        Order::MonthFirst
    } else if DOTTED.contains(&language) {
        Order::DottedDayFirst
    } else {
        Order::DayFirst
    }
}

fn hours(pattern: &str, halves: &'static [&'static str]) -> Hours {
    let halves = match halves {
        &[first, second] if !first.is_empty() && !second.is_empty() => Some([first, second]),
        _ => None,
    };
    let hour = pattern.find("%I").or(pattern.find("%l"));
    let half = pattern.find("%p");
    Hours {
        separator: if pattern.contains("%H.%M") { '.' } else { ':' },
        halves: halves.filter(|_| hour.is_some() && half.is_some()),
        is_half_first: half < hour,
    }
}
