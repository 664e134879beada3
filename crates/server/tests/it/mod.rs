//! The server's contract: SPEC.md's replies, over the router in process and over sockets.

#![expect(clippy::unwrap_used, reason = "in tests it is the assertion that a call succeeds")]

mod access;
pub mod app;
mod arrivals;
mod booking_sessions;
pub mod bookings;
pub mod built_in;
mod corpus;
mod deliveries;
mod events;
pub mod gateway;
mod guards;
mod health;
mod hostile;
mod interleavings;
mod log;
mod matching;
mod payments;
mod refusals;
mod registering;
mod replies;
mod serving;
mod systems;
