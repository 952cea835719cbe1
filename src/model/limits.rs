//! Every bound on what an account may send or keep, in one place.
//!
//! The relations between them are asserted when the crate is compiled, so that one can't be moved
//! past another by accident.

/// Bytes of one object's JSON text, decoded. One more is refused as `payload_too_large`.
pub const OBJECT_BYTES_MAX: usize = 64 * 1024;

/// Objects of one batch. All of them are stored, or none.
pub const BATCH_OBJECTS_MAX: usize = 1_000;

/// Bytes of a call's body, and of what it unpacks to.
pub const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Bytes of a request's target: path and query, as sent.
pub const TARGET_BYTES_MAX: usize = 96 * 1024;

/// Bytes of a request's headers, names and values together.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the key under which a call is to be stored once.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 64;

/// Levels of arrays and objects in one object; the object itself is the first.
pub const DEPTH_MAX: usize = 32;

/// Attributes of one object, and of one user after merging.
pub const ATTRIBUTES_MAX: usize = 512;

/// Bytes of an attribute's name, at every level.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 255;

/// Bytes of an event's `type`.
pub const TYPE_BYTES_MAX: usize = 255;

/// Bytes of a user's merged attributes as compact JSON text. Without it, call after call could
/// grow one user for ever.
pub const USER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of what is kept of a browser beside one object, as compact JSON text. It stands in the record
/// of each object of a batch.
pub const CONTEXT_BYTES_MAX: usize = 2 * 1024;

/// Days for which such a key counts.
pub const IDEMPOTENCY_DAYS: i64 = 7;

/// Bytes of an account's name.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;

/// Hosts that an account may name as the sites it takes calls of browsers from.
pub const SITES_MAX: usize = 100;

/// Bytes of such a host: those of the longest name that there can be.
pub const SITE_BYTES_MAX: usize = 253;

/// Data types that an account may set. They are kept in memory and copied when one changes.
pub const OVERRIDES_MAX: usize = 1_000;

/// Bytes of the attribute's name for which one is set, its levels and the dots between them together.
pub const OVERRIDE_ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// Accounts of one server. They are kept in memory and copied when one changes.
pub const ACCOUNTS_MAX: usize = 10_000;

/// Bytes of the name of a time zone. The longest of those there are has 32.
pub const ZONE_BYTES_MAX: usize = 64;

/// People who may sign in to one server. They are kept in memory and copied when one changes.
pub const PEOPLE_MAX: usize = 1_000;

/// Bytes of a person's e-mail address: what RFC 5321 lets a path have, without its brackets.
pub const EMAIL_BYTES_MAX: usize = 254;

/// Characters that a password has at least, counted as Unicode code points.
pub const PASSWORD_CHARS_MIN: usize = 10;

/// Bytes of a password: it is hashed whole, and a sentence is welcome.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// Bytes of what is kept of a password: a PHC string.
pub const PASSWORD_HASH_BYTES_MAX: usize = 256;

/// Accounts that one person sees.
pub const ACCOUNTS_OF_PERSON_MAX: usize = 1_000;

/// Sessions of one person. The oldest ends when another begins.
pub const SESSIONS_OF_PERSON_MAX: usize = 20;

/// Days for which a session lasts.
pub const SESSION_DAYS: i64 = 30;

/// Bytes of the words for a session's browser.
pub const SESSION_LABEL_BYTES_MAX: usize = 128;

/// Links that wait to be used. The oldest dies when another is made.
pub const LINKS_MAX: usize = 100;

/// Of those, how many people made who see one account, so that no account's people push out the links of others. Of more
/// the account's oldest dies.
pub const INVITATIONS_OF_ACCOUNT_MAX: usize = 10;

/// Hours for which a link waits.
pub const LINK_HOURS: i64 = 24;

const _: () = {
    // The largest object fits into a target when it travels as Base64 (4 bytes for 3).
    assert!(OBJECT_BYTES_MAX.div_ceil(3) * 4 < TARGET_BYTES_MAX);
    // A batch can hold the largest object.
    assert!(OBJECT_BYTES_MAX < BODY_BYTES_MAX);
    // What one call may say of a user can be kept.
    assert!(USER_BYTES_MAX >= OBJECT_BYTES_MAX);
    // A data type can be set for every attribute of the first level.
    assert!(OVERRIDE_ATTRIBUTE_BYTES_MAX >= ATTRIBUTE_NAME_BYTES_MAX);
    // The parser's own guard of the stack stands behind it.
    assert!(DEPTH_MAX <= super::json::DEPTH_CEILING);
};
