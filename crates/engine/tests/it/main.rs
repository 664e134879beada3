//! The engine on a real store: what was accepted becomes state, whatever happens.

mod apply;
mod checkpoints;
mod intake;
mod order;
mod paypal;
mod poison;
mod rebuild;
mod scratch;
