//! triggerly: a self-hosted server that is told, by plain GETs, who users are and what happens, and
//! keeps it in a durable log. This page is the map of the house.
//!
//! # One call
//! ```text
//! bytes ─http─> Request ─api::track─> Submission ─decode─> RawBatch ─validate─> Batch
//!                                                                                │ submit
//! bytes <─http─ Response <─api::track── Receipt or Reject <─answers── committer ─┘
//!                                             append · flush · merge, for all that waited
//! ```
//! Each step takes one type and gives the next; none can be left out, because its input can't be
//! made elsewhere. No thread waits for the disk but the committer: a worker hands the call over,
//! and the answer is made by the answering thread when the flush has returned. No thread waits for a
//! client either: one, the gate, has all connections ([`http`]).
//!
//! A question is a job, done by threads that give way to those of calls:
//! ```text
//! Request ─asking─> query's Question ─answer─> its Answer ─JSON─> Response
//! ```
//!
//! A page is a job too:
//! ```text
//! Request ─web::routes─> Route ─web::visit─> who, which account ─web::pages─> Response
//! ```
//!
//! An export is answered while it is made, in pieces, by a thread that does nothing else:
//! ```text
//! Request ─api::export─> Wanted, Format ─export::write─> pieces ─http─> bytes, as fast as they are taken
//! ```
//!
//! # Floors
//! Imports point down only.
//! ```text
//! 6  main  cli/                 arguments, exit codes
//! 5  app  control  front        wiring: start, stop · the commands' socket · whose call it is
//!    moving                     a log from one machine onto a stream, and back
//! 4  api/  web/  commands/      HTTP's calls · pages · what the verbs do
//! 3  ingest/  export/  jobs     decisions · everything in a format · threads for reading
//!    asking/  door              how questions are spelled, and having them found out · what is asked of a call first
//!    query/                     counts, breakdowns, steps, coming back (below `export`)
//!    erasing  retention  keeper what is to be gone, asked for or by its age · who sees to it
//! 2  auth  store/  http/  view  who · durability · transport · how things look as JSON
//!    jetstream/                 a log that several servers share, on NATS (above `store` and `context`)
//!    calls                      what is kept of each call
//!    refused                    the last calls that were refused
//!    context/                   what a browser's call says of its circumstances
//!    schema/                    what type a value has, and what it counts as (below `view`)
//! 1  model/  clock  client      leaves: what things are · the time · whose call it is ·
//!    rate  ticker  config       how fast calls may come · every so often · options, also of the others
//!    heap                       how much free memory is kept
//! ```
//! tiny_http is known in [`http`] alone, sled in [`store`], argh in [`cli`], the wall clock in
//! [`clock`], governor in [`rate`], ua_parser in [`context`], chrono_tz in [`schema`], argon2 in [`auth`], askama in
//! [`web`], async-nats and tokio in `jetstream`; HTTP ends in [`api`] and [`web`], which don't know each other. `model`
//! and `ingest` do no I/O. Each room keeps its own figures ([`store::Figures`], [`http::Figures`], [`calls::Figures`]),
//! and `GET /metrics` gathers them: there is no registry.
//!
//! # Invariants
//! 1. An acknowledged call survives any crash after the acknowledgement.
//! 2. A submission is in the log whole or not at all.
//! 3. `seq` has no gaps, only grows and is never used twice.
//! 4. One thread writes the log and the keyed state, also what other servers have added ([`store::SharedLog`]).
//! 5. The state is a function of the log: the same records give the same bytes, however batched; but for
//!    keys of calls that no longer count.
//! 6. Every queue, body, batch, depth and name has a named bound ([`model::limits`],
//!    [`http::limits`], [`store`], [`jobs`], [`asking`], [`rate`]).
//! 7. After a failed write or flush nothing is acknowledged any more.
//! 8. Our decoding of what came from outside or from disk never panics; where sled's might, it is
//!    caught.
//!
//! # What isn't here, on purpose
//! No async runtime: a thread pool and one committer keep up with the disk, and can be read; but for one thread where a log
//! is shared, which is built in on request. No second writer: group commit makes one thread faster than many. No global state:
//! everything hangs on the [`app`]. No trait for the sake of tests, but where the world fails ([`store::Flush`]), where the
//! log's reader needs no more ([`store::Log`]) and where another engine orders it ([`store::SharedLog`]).

// Nothing from outside may end a thread; tests may.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod api;
pub mod app;
pub mod asking;
pub mod auth;
pub mod calls;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod context;
pub mod control;
pub mod door;
pub mod erasing;
pub mod export;
pub mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod heap;
pub mod http;
pub mod ingest;
#[cfg(feature = "jetstream")]
pub mod jetstream;
pub mod jobs;
pub mod keeper;
pub mod model;
#[cfg(feature = "jetstream")]
pub mod moving;
pub mod public_url;
pub mod query;
pub mod rate;
pub mod refused;
pub mod retention;
pub mod schema;
pub mod store;
pub mod ticker;
pub mod view;
pub mod web;
