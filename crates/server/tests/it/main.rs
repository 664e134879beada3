//! The server's contract: SPEC.md's replies, over the router in process and over sockets.

#![expect(clippy::unwrap_used, reason = "in tests it is the assertion that a call succeeds")]

mod access;
mod app;
mod deliveries;
mod events;
mod guards;
mod health;
mod hostile;
mod payments;
mod refusals;
mod serving;
