//! What can be wrong with a request before any handler sees it.

/// Why the transport refuses a request. Each ends the connection: where the next request would begin
/// is not known, or not to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It isn't HTTP, or could be read in two ways; the sentence says what is wrong.
    Malformed(&'static str),
    /// It is of HTTP/2 or later.
    Version,
    /// The request line is beyond its bound.
    LineTooLong,
    /// The header lines are beyond their bounds.
    HeadersTooLarge,
    /// The body is, or is declared to be, beyond its bound.
    BodyTooLarge,
    /// It wasn't there in time.
    Late,
    /// There is too much of everything.
    Overloaded,
    /// The server is about to end.
    Stopping,
}

impl Fault {
    /// All kinds of them, for figures; a sentence of its own makes no kind.
    pub const KINDS: [&'static str; 8] = [
        "malformed",
        "version",
        "line_too_long",
        "headers_too_large",
        "body_too_large",
        "late",
        "overloaded",
        "stopping",
    ];

    /// Which of [`Fault::KINDS`] it is.
    #[must_use]
    pub fn kind(self) -> usize {
        match self {
            Fault::Malformed(_) => 0,
            Fault::Version => 1,
            Fault::LineTooLong => 2,
            Fault::HeadersTooLarge => 3,
            Fault::BodyTooLarge => 4,
            Fault::Late => 5,
            Fault::Overloaded => 6,
            Fault::Stopping => 7,
        }
    }
}
