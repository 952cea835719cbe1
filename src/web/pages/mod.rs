//! A file a page: what it shows, and what its forms do.

mod breakdown;
pub(super) mod event;
pub(super) mod events;
pub(super) mod exports;
pub(super) mod filter;
pub(super) mod funnel;
pub(super) mod home;
pub(super) mod link;
pub(super) mod live;
pub(super) mod me;
pub(super) mod overview;
mod period;
pub(super) mod profile;
pub(super) mod refused;
pub(super) mod retention;
pub(super) mod sign_in;
pub(super) mod types;
pub(super) mod user;
pub(super) mod users;
