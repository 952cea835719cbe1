//! The identifier of a user, as a client chose it.
//!
//! Promises a text of 1 to 255 bytes, the same whether it was sent as a String or as an integer.
//! Must not know where identifiers are kept or which are taken.

use std::fmt;

use serde_json::Value;

use super::json;

/// A user's identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Box<str>);

/// Why something cannot identify a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The String is empty.
    #[error("the identifier is empty: it should have 1 to {max} bytes", max = Id::BYTES_MAX)]
    Empty,
    /// The String, or the digits of the integer, are too long.
    #[error("the identifier has {bytes} bytes: it should have at most {max}", max = Id::BYTES_MAX)]
    TooLong {
        /// The length in bytes of UTF-8.
        bytes: usize,
    },
    /// The value is neither a String nor an integer.
    #[error("the identifier is {found}: it should be a String or an integer Number")]
    NotAnId {
        /// What the value is, with its article.
        found: &'static str,
    },
}

impl Id {
    /// The greatest length, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 255;

    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// [`IdError::Empty`] or [`IdError::TooLong`].
    pub fn new(text: &str) -> Result<Id, IdError> {
        match text.len() {
            0 => Err(IdError::Empty),
            1..=Id::BYTES_MAX => Ok(Id(text.into())),
            bytes => Err(IdError::TooLong { bytes }),
        }
    }

    /// Takes a String as it is, and an integer as the String of its decimal digits.
    ///
    /// An integer is a Number written without fraction and exponent: `1.0` and `1e3` are refused.
    /// `-0` is `0`.
    ///
    /// # Errors
    ///
    /// Those of [`Id::new`], and [`IdError::NotAnId`] for any other value.
    pub fn from_value(value: &Value) -> Result<Id, IdError> {
        match value {
            Value::String(text) => Id::new(text),
            Value::Number(number) => match number.as_str() {
                "-0" => Id::new("0"),
                text if text.contains(['.', 'e', 'E']) => {
                    Err(IdError::NotAnId { found: "a Number with a fraction or an exponent" })
                }
                digits => Id::new(digits),
            },
            other => Err(IdError::NotAnId { found: json::kind(other) }),
        }
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Result<Id, IdError> {
        let map = json::parse_object(&format!(r#"{{"id":{value}}}"#), 8).unwrap();
        Id::from_value(&map["id"])
    }

    #[test]
    fn accepted() {
        let forty = "1234567890".repeat(4);
        let long = "9".repeat(255);
        let cases = [
            (r#""5""#, "5"),
            ("5", "5"),
            ("-5", "-5"),
            ("0", "0"),
            ("-0", "0"),
            (r#""-0""#, "-0"),
            (r#""1.0""#, "1.0"),
            (r#"" ""#, " "),
            (r#""zo\u00eb@example.com""#, "zoë@example.com"),
            (&forty, &forty),
            (&long, &long),
        ];
        for (value, id) in cases {
            assert_eq!(read(value).unwrap().as_str(), id, "{value}");
        }
    }

    #[test]
    fn refused() {
        let long = "9".repeat(256);
        let cases = [
            (r#""""#, "the identifier is empty: it should have 1 to 255 bytes"),
            (&long, "the identifier has 256 bytes: it should have at most 255"),
            (
                "1.0",
                "the identifier is a Number with a fraction or an exponent: \
                 it should be a String or an integer Number",
            ),
            ("null", "the identifier is null: it should be a String or an integer Number"),
            ("true", "the identifier is a Boolean: it should be a String or an integer Number"),
            ("[1]", "the identifier is a List: it should be a String or an integer Number"),
            ("{}", "the identifier is an Object: it should be a String or an integer Number"),
        ];
        for (value, sentence) in cases {
            assert_eq!(read(value).unwrap_err().to_string(), sentence, "{value}");
        }
        for number in ["1e3", "1E3", "-0.0", "1e+0", "-0e0"] {
            assert!(matches!(read(number), Err(IdError::NotAnId { .. })), "{number}");
        }
        let umlauts = "ü".repeat(128);
        assert_eq!(Id::new(&umlauts), Err(IdError::TooLong { bytes: 256 }));
    }

    proptest! {
        #[test]
        fn an_integer_is_its_string(number: i128) {
            prop_assert_eq!(read(&number.to_string()), Id::new(&number.to_string()));
        }

        #[test]
        fn any_text_is_kept_or_refused(text in "\\PC{0,300}") {
            match Id::new(&text) {
                Ok(id) => prop_assert_eq!(id.as_str(), text),
                Err(_) => prop_assert!(text.is_empty() || text.len() > Id::BYTES_MAX),
            }
        }
    }
}
