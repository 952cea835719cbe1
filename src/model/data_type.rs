//! The data types that an attribute can have, and how a value shows its own.
//!
//! Promises one type for each value but null. Must not know what attributes are for, nor convert
//! any value.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::date::Date;

/// The type of an attribute's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// A JSON string that is not a date.
    String,
    /// A JSON number.
    Number,
    /// A JSON `true` or `false`.
    Boolean,
    /// A JSON string in one of the forms of [`Date::parse`].
    Date,
    /// A JSON array.
    List,
    /// A JSON object.
    Object,
}

/// A text that is no data type's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a data type: it should be String, Number, Boolean, Date, List or Object")]
pub struct UnknownDataType(pub String);

impl DataType {
    /// Every data type, in the order of their declaration.
    pub const ALL: [DataType; 6] = [
        DataType::String,
        DataType::Number,
        DataType::Boolean,
        DataType::Date,
        DataType::List,
        DataType::Object,
    ];

    /// The type of `value`; null has none.
    pub fn of(value: &Value) -> Option<DataType> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(DataType::Boolean),
            Value::Number(_) => Some(DataType::Number),
            Value::String(text) if Date::parse(text).is_some() => Some(DataType::Date),
            Value::String(_) => Some(DataType::String),
            Value::Array(_) => Some(DataType::List),
            Value::Object(_) => Some(DataType::Object),
        }
    }

    /// The name, by which it can be parsed.
    pub fn name(self) -> &'static str {
        match self {
            DataType::String => "String",
            DataType::Number => "Number",
            DataType::Boolean => "Boolean",
            DataType::Date => "Date",
            DataType::List => "List",
            DataType::Object => "Object",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads the exact [`DataType::name`]: case counts.
impl FromStr for DataType {
    type Err = UnknownDataType;

    fn from_str(text: &str) -> Result<DataType, UnknownDataType> {
        let named = |data_type: &DataType| data_type.name() == text;
        let found = DataType::ALL.into_iter().find(named);
        found.ok_or_else(|| UnknownDataType(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn types_of_values() {
        let cases = [
            (json!(null), None),
            (json!(""), Some(DataType::String)),
            (json!("true"), Some(DataType::String)),
            (json!("2001-7-4"), Some(DataType::String)),
            (json!("2001-07-04"), Some(DataType::Date)),
            (json!("Wed, 04 Jul 2001 12:08:56 -0700"), Some(DataType::Date)),
            (json!(0), Some(DataType::Number)),
            (json!(-1.5), Some(DataType::Number)),
            (json!(false), Some(DataType::Boolean)),
            (json!([]), Some(DataType::List)),
            (json!([null]), Some(DataType::List)),
            (json!({}), Some(DataType::Object)),
        ];
        for (value, data_type) in cases {
            assert_eq!(DataType::of(&value), data_type, "{value}");
        }
    }

    #[test]
    fn names() {
        for data_type in DataType::ALL {
            assert_eq!(data_type.name().parse(), Ok(data_type));
            assert_eq!(data_type.to_string(), data_type.name());
        }
        for text in ["", "string", "Null", "Array", " Date", "Objects"] {
            let refused = UnknownDataType(text.to_owned());
            assert_eq!(text.parse::<DataType>(), Err(refused));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_string_or_a_date(text in "\\PC*") {
            let is_date = Date::parse(&text).is_some();
            let expected = if is_date { DataType::Date } else { DataType::String };
            prop_assert_eq!(DataType::of(&Value::String(text)), Some(expected));
        }
    }
}
