//! Every way a call can be refused, once: its code, its status and its title.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// Why a call is refused, for machines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The word that answers carry.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// What it is called by people.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// There is no `data`, or it is empty.
    MissingData = "missing_data", 400, "The data is missing";
    /// `data` isn't Base64.
    InvalidBase64 = "invalid_base64", 400, "The data is not Base64";
    /// What Base64 held isn't JSON.
    InvalidJson = "invalid_json", 400, "The data is not JSON";
    /// The JSON isn't an object.
    NotAnObject = "not_an_object", 400, "The data is not a JSON object";
    /// A user without `id`.
    MissingId = "missing_id", 400, "The user's id is missing";
    /// A user whose `id` can't be one.
    InvalidId = "invalid_id", 400, "The user's id is not valid";
    /// An event without `type`.
    MissingType = "missing_type", 400, "The event's type is missing";
    /// An event whose `type` can't be one.
    InvalidType = "invalid_type", 400, "The event's type is not valid";
    /// An event whose `user_id` can't be one.
    InvalidUserId = "invalid_user_id", 400, "The event's user_id is not valid";
    /// An event whose `date` is in none of the forms.
    InvalidDate = "invalid_date", 400, "The event's date is not valid";
    /// Arrays and objects within each other beyond the bound.
    TooDeep = "too_deep", 400, "The object is too deep";
    /// More attributes than an object or a user may have.
    TooManyAttributes = "too_many_attributes", 400, "There are too many attributes";
    /// A name beyond the bound.
    AttributeNameTooLong = "attribute_name_too_long", 400, "An attribute's name is too long";
    /// A question whose parameter makes no sense.
    InvalidParameter = "invalid_parameter", 400, "A parameter is not valid";
    /// A question whose answer would take more than there is a bound for.
    QuestionTooLarge = "question_too_large", 400, "The question asks for too much";
    /// What came isn't HTTP, or could be read in two ways.
    BadRequest = "bad_request", 400, "The request can't be understood";
    /// No credential at all.
    MissingToken = "missing_token", 401, "The token is missing";
    /// A credential that nobody has, or not one for this.
    UnknownToken = "unknown_token", 401, "The token is not known";
    /// A page that the account doesn't take calls from.
    ForbiddenSite = "forbidden_site", 403, "The page is not one of the account's";
    /// Nothing is there.
    NotFound = "not_found", 404, "There is nothing here";
    /// Something is there, but not for this method.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request took too long";
    /// A body, or a batch, or one object, or a user after merging, beyond its bound.
    PayloadTooLarge = "payload_too_large", 413, "The data is too large";
    /// The request line beyond its bytes.
    UriTooLong = "uri_too_long", 414, "The address is too long";
    /// A body in a form or a coding that isn't understood.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body's form is not understood";
    /// More calls than are allowed.
    RateLimited = "rate_limited", 429, "There are too many calls";
    /// The headers beyond their bytes.
    HeadersTooLarge = "headers_too_large", 431, "The headers are too large";
    /// A fault of ours.
    Internal = "internal", 500, "The server made a mistake";
    /// Writing has failed.
    StorageFailed = "storage_failed", 503, "The storage has failed";
    /// The disk has too little room left.
    StorageFull = "storage_full", 503, "The storage is full";
    /// The server is about to end.
    ShuttingDown = "shutting_down", 503, "The server is stopping";
    /// Too few of the servers that keep the log together can be reached.
    NoQuorum = "no_quorum", 503, "The log has no quorum";
    /// The server hasn't seen yet what it is asked to have seen.
    Behind = "behind", 503, "The server is behind";
    /// A version of HTTP that isn't spoken here.
    VersionNotSupported = "version_not_supported", 505, "The version of HTTP is not supported";
    /// More is waiting than can be taken.
    Overloaded = "overloaded", 503, "The server has too much to do";
}

impl Code {
    /// Seconds after which trying again makes sense, for those where it does.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Code::Overloaded | Code::RateLimited | Code::NoQuorum | Code::Behind => Some(1),
            Code::ShuttingDown => Some(5),
            Code::StorageFull => Some(30),
            Code::StorageFailed => Some(60),
            _ => None,
        }
    }
}

/// A refusal: a code for machines, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Which rule.
    pub code: Code,
    /// What is wrong, where, and what would be right.
    pub detail: String,
    /// Which object of a batch, from 0.
    pub index: Option<usize>,
    /// Seconds after which trying again makes sense, if they are known better than by the code.
    pub retry_after_seconds: Option<u32>,
}

impl Reject {
    /// A refusal of a whole call.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Reject {
        Reject { code, detail: detail.into(), index: None, retry_after_seconds: None }
    }

    /// The same, to be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Reject {
        Reject { retry_after_seconds: Some(seconds), ..self }
    }

    /// The same, of one object of a batch.
    #[must_use]
    pub fn at(self, index: usize) -> Reject {
        Reject { index: Some(index), ..self }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Reject {}

/// Shortens what a client sent for showing it in a sentence.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{:?}…", &text[..at]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_retries_are_for_those_who_are_too_many() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(
                code.retry_after_seconds().is_some(),
                [429, 503].contains(&code.status()),
                "{code:?}"
            );
        }
    }
}
