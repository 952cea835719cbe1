//! The wall clock. Nothing else in the house reads it, so that whatever depends on time takes it as
//! an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Date;

/// The time now, in whole milliseconds. A clock set before 1970 reads as 1970.
#[must_use]
pub fn now() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The time now as an HTTP date (RFC 9110, section 5.6.7).
#[must_use]
pub fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
