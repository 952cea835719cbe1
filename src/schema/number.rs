//! A number with all its digits.
//!
//! Promises exact order and equality, whatever the number of digits. Must not compute: sums are made in
//! [`Number::as_f64`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Exponents beyond it, either way, count as it: numbers like these are no measure of anything, and the
/// digits of an exponent have no bound.
pub const EXPONENT_MAX: i64 = 1_000_000_000_000;

/// Integers of up to so many digits are written without an exponent.
const PLAIN_DIGITS_MAX: i64 = 21;

/// Fractions of up to so many zeros behind the point are written without an exponent.
const PLAIN_ZEROS_MAX: i64 = 6;

/// A number as JSON writes it. `1`, `1.0` and `10e-1` are equal.
#[derive(Clone, Debug)]
pub struct Number<'v> {
    text: Cow<'v, str>,
    negative: bool,
    /// Where in the text the digits that count begin and end; there are none in zero.
    from: usize,
    to: usize,
    /// It is 0.DIGITS times ten to the power of this.
    magnitude: i64,
}

impl<'v> Number<'v> {
    /// The number that a text is, by the grammar of JSON.
    #[must_use]
    pub fn new(text: impl Into<Cow<'v, str>>) -> Option<Number<'v>> {
        let text = text.into();
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let (mut at, mut digits, mut whole) = (start, 0_i64, None);
        let (mut from, mut to, mut before_first) = (0, 0, 0);
        loop {
            match bytes.get(at) {
                Some(digit @ b'0'..=b'9') => {
                    if *digit != b'0' {
                        if to == 0 {
                            (from, before_first) = (at, digits);
                        }
                        to = at + 1;
                    }
                    digits += 1;
                }
                Some(b'.') if whole.is_none() && digits > 0 => whole = Some(digits),
                _ => break,
            }
            at += 1;
        }
        let leading_zero = bytes.get(start) == Some(&b'0') && whole.unwrap_or(digits) > 1;
        if digits == 0 || whole == Some(digits) || leading_zero {
            return None;
        }
        let exponent = match bytes.get(at) {
            None => 0,
            Some(b'e' | b'E') => exponent(&bytes[at + 1..])?,
            Some(_) => return None,
        };
        let magnitude = if to == 0 { 0 } else { whole.unwrap_or(digits) - before_first + exponent };
        Some(Number { text, negative: negative && to > 0, from, to, magnitude })
    }

    /// Its text, as it was sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The nearest double; one beyond all doubles is the largest. Never infinite.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.text.parse::<f64>().unwrap_or_default().clamp(f64::MIN, f64::MAX)
    }

    /// The one text of all numbers equal to it.
    #[must_use]
    pub fn canonical(&self) -> Cow<'_, str> {
        if self.is_canonical() {
            return Cow::Borrowed(&self.text);
        }
        let digits: String = self.digits().map(char::from).collect();
        let (count, magnitude) = (digits.len() as i64, self.magnitude);
        let sign = if self.negative { "-" } else { "" };
        Cow::Owned(if count == 0 {
            "0".to_owned()
        } else if (-PLAIN_ZEROS_MAX..=0).contains(&magnitude) {
            format!("{sign}0.{}{digits}", "0".repeat(-magnitude as usize))
        } else if (1..=PLAIN_DIGITS_MAX).contains(&magnitude) && count <= magnitude {
            format!("{sign}{digits}{}", "0".repeat((magnitude - count) as usize))
        } else if (1..=PLAIN_DIGITS_MAX).contains(&magnitude) {
            let (whole, fraction) = digits.split_at(magnitude as usize);
            format!("{sign}{whole}.{fraction}")
        } else {
            let (first, others) = digits.split_at(1);
            let point = if others.is_empty() { "" } else { "." };
            format!("{sign}{first}{point}{others}e{}", magnitude - 1)
        })
    }

    /// Whether its text is that already, as most are.
    fn is_canonical(&self) -> bool {
        let plain = (-PLAIN_ZEROS_MAX..=PLAIN_DIGITS_MAX).contains(&self.magnitude);
        if self.from == self.to || !plain {
            return false;
        }
        let mut others = self.text.bytes().filter(|byte| !matches!(byte, b'0'..=b'9' | b'-'));
        match others.next() {
            None => true,
            // The last digit counts, and no exponent follows.
            Some(b'.') => self.to == self.text.len() && others.next().is_none(),
            Some(_) => false,
        }
    }

    /// The greatest integer that isn't above it times ten to the power of `shift`, if that has at most 18
    /// digits.
    pub(super) fn floor_times_ten_to(&self, shift: i64) -> Option<i64> {
        let places = self.magnitude.saturating_add(shift);
        if places > 18 {
            return None;
        }
        let mut digits = self.digits();
        let mut whole = 0_i64;
        for _ in 0..places {
            whole = whole * 10 + digits.next().map_or(0, |digit| i64::from(digit - b'0'));
        }
        let rest = i64::from(digits.next().is_some());
        Some(if self.negative { -whole - rest } else { whole })
    }

    /// Whether it is nearer to zero than ten to this power.
    pub(super) fn is_below_ten_to(&self, power: i64) -> bool {
        self.magnitude <= power
    }

    /// The same, on its own.
    #[must_use]
    pub fn into_owned(self) -> Number<'static> {
        let Number { text, negative, from, to, magnitude } = self;
        Number { text: Cow::Owned(text.into_owned()), negative, from, to, magnitude }
    }

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.text.as_bytes()[self.from..self.to].iter().copied().filter(|byte| *byte != b'.')
    }

    fn sign(&self) -> i8 {
        match (self.from == self.to, self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

/// The exponent behind the `e`.
fn exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut exponent = 0_i64;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        exponent = (exponent * 10 + digit).min(EXPONENT_MAX);
    }
    (!digits.is_empty()).then_some(if negative { -exponent } else { exponent })
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sign().cmp(&other.sign()).then_with(|| {
            let size = self.magnitude.cmp(&other.magnitude);
            let size = size.then_with(|| self.digits().cmp(other.digits()));
            if self.negative { size.reverse() } else { size }
        })
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number<'_> {}

impl Hash for Number<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.sign(), self.magnitude).hash(state);
        self.digits().for_each(|digit| state.write_u8(digit));
        state.write_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        Number::new(text).expect(text)
    }

    #[test]
    fn in_order() {
        let ascending = [
            "-1e9999999999999",
            "-1e400",
            "-10.5",
            "-10.49999999999999999999999999999999999999999",
            "-1e-400",
            "0",
            "0.00000000000000000000000000000000000000000000001",
            "0.1",
            "1",
            "1.00000000000000000000000000000000000000001",
            "9007199254740992",
            "9007199254740993",
            "1234567890123456789012345678901234567890",
            "1234567890123456789012345678901234567891",
            "1e40",
            "1e400",
        ];
        for (n, a) in ascending.iter().enumerate() {
            for (m, b) in ascending.iter().enumerate() {
                assert_eq!(number(a).cmp(&number(b)), n.cmp(&m), "{a} {b}");
            }
        }
    }

    #[test]
    fn equal_ones_have_one_text() {
        for (canonical, texts) in [
            ("0", &["0", "-0", "0.0", "0e9", "-0.00E-5"][..]),
            ("1", &["1", "1.0", "10e-1", "0.01e2", "1E+0"]),
            ("-1.5", &["-1.5", "-15e-1", "-0.15e1", "-1.50"]),
            ("1200", &["1200", "1.2e3", "12E2"]),
            ("0.000001", &["0.000001", "1e-6"]),
            ("1e-8", &["0.00000001", "0.1e-7"]),
            ("123456789012345678901", &["123456789012345678901", "1.23456789012345678901e20"]),
            ("1e21", &["1e21", "1000000000000000000000"]),
            ("1.25e30", &["1.25e30", "125e28"]),
        ] {
            for text in texts {
                assert_eq!(number(text).canonical(), canonical, "{text}");
                assert_eq!(number(text), number(canonical));
                assert_eq!(number(text).text(), *text);
            }
        }
    }

    #[test]
    fn what_is_no_number() {
        let bad = [
            "", "-", "+1", "01", "-01", "00", "1.", ".1", "-.1", "1.e1", "1e", "1e+", "1e1.0",
            "1 ", " 1", "1_0", "0x1", "NaN", "1..1", "1.1.1", "--1", "e1", "١",
        ];
        for text in bad {
            assert!(Number::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn as_doubles() {
        for (text, double) in
            [("1.5", 1.5), ("1e400", f64::MAX), ("-1e400", f64::MIN), ("1e-400", 0.0), ("-0", 0.0)]
        {
            assert_eq!(number(text).as_f64(), double, "{text}");
        }
    }

    proptest! {
        #[test]
        fn as_integers(a in -1_000_000_i64..1_000_000, b in -1_000_i64..1_000, zeros in 0..4_usize) {
            let [x, y] = [a, b].map(|n| n.to_string());
            let scaled = format!("{x}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(number(&scaled).cmp(&number(&y)), a.cmp(&b));
            prop_assert_eq!(number(&format!("{x}e-3")).floor_times_ten_to(0), Some(a.div_euclid(1_000)));
            prop_assert_eq!(number(&scaled).floor_times_ten_to(2), Some(a * 100));
        }

        #[test]
        fn the_one_text_is_that_of_an_equal(text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?") {
            let sent = number(&text);
            let canonical = sent.canonical();
            let again = number(&canonical);
            prop_assert_eq!(&again, &sent);
            prop_assert_eq!(again.canonical(), canonical.clone());
            prop_assert!(text.parse::<f64>().is_ok());
        }

        #[test]
        fn the_grammar_is_that_of_json(text in "[-+0-9.eE]{0,8}") {
            let json = serde_json::from_str::<serde_json::Number>(&text).is_ok();
            prop_assert_eq!(Number::new(text.as_str()).is_some(), json);
        }
    }
}
