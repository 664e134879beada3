//! The engine on a real store: what was accepted becomes state, whatever happens.

#![expect(clippy::unwrap_used, reason = "in tests it is the assertion that a call succeeds")]

mod apply;
mod intake;
mod order;
mod poison;
mod rebuild;
mod scratch;
