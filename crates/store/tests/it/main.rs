//! The contract of the store. A test is a function that takes a fresh store;
//! `on_each!` runs it on every database there is.

#![expect(clippy::unwrap_used, reason = "in tests it is the assertion that a call succeeds")]

#[macro_use]
mod scratch;

mod accept;
mod apply;
mod bookings;
mod chain;
mod contents;
mod distribute;
mod events;
mod failures;
mod inspect;
mod keys;
mod payments;
mod poison;
mod recorded;
mod registering;
mod renderings;
mod replay;
mod replicas;
mod restore;
mod retention;
mod schema;
mod sql_of_people;
