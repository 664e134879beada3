//! The engine on a real store: what was accepted becomes state, whatever happens.

mod apply;
mod checkpoints;
mod intake;
mod order;
mod poison;
mod prove_stored;
mod rebuild;
mod restore;
pub mod scratch;
